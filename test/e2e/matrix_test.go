// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// A weakness is what a server, or somebody between, may do to get at a password
// or a message, and with each security what becomes of the message, as status,
// reason and TLS. Package session has the same table without Emacs, with every
// variation.
type weakness struct {
	name   string
	change func(*smtpd.Behaviour)

	starttls, opportunistic, plain, tls string // "": not a matter of that security
	plainAtOnce, tlsAtOnce              bool   // what is listening isn't what belongs there
}

// The ends of a message.
const (
	verified   = "accepted verified"
	unverified = "accepted unverified"
	inClear    = "accepted"
	deferred   = "deferred"
	heldTLS    = "held tls"
	heldCert   = "held certificate"
	heldAuth   = "held auth verified"
)

var weaknesses = []weakness{
	{name: "none", starttls: verified, opportunistic: verified, plain: inClear, tls: verified},
	{name: "STARTTLS not offered", change: func(b *smtpd.Behaviour) { b.EHLO = []string{"AUTH PLAIN LOGIN"} },
		starttls: heldTLS, opportunistic: inClear, plain: inClear},
	{name: "STARTTLS 454", change: answers("STARTTLS", "454 4.7.0 later"), starttls: heldTLS, opportunistic: inClear, plain: inClear},
	{name: "STARTTLS 500", change: answers("STARTTLS", "500 5.5.1 what"), starttls: heldTLS, opportunistic: inClear},
	{name: "STARTTLS 502", change: answers("STARTTLS", "502 5.5.1 no"), starttls: heldTLS, opportunistic: inClear},
	{name: "STARTTLS 530", change: answers("STARTTLS", "530 5.7.0 no"), starttls: heldTLS, opportunistic: inClear},
	{name: "STARTTLS 235", change: answers("STARTTLS", "235 2.7.0 go ahead"), starttls: heldTLS, opportunistic: "held protocol"},
	{name: "STARTTLS answered with what is no reply", change: answers("STARTTLS", "ok"), starttls: heldTLS, opportunistic: "held protocol"},
	{name: "STARTTLS, and then no TLS", change: answers("TLS", "250 let's go on like this"), starttls: heldTLS, tls: heldTLS},
	{name: "injected after 220", change: func(b *smtpd.Behaviour) {
		b.Rules = []smtpd.Rule{{On: "STARTTLS", Raw: "220 go\r\n250-mail.test\r\n250 AUTH PLAIN\r\n235 ok\r\n"}}
	}, starttls: heldTLS, opportunistic: heldTLS, plain: inClear},
	{name: "lost in the handshake", change: func(b *smtpd.Behaviour) { b.Rules = []smtpd.Rule{{On: "WIRE", After: 500, Then: smtpd.Reset}} },
		starttls: deferred, opportunistic: deferred, tls: deferred},
	{name: "certificate for another name", change: shows(smtpd.OtherName), starttls: heldCert, opportunistic: unverified, tls: heldCert},
	{name: "certificate expired", change: shows(smtpd.Expired), starttls: heldCert, opportunistic: unverified, tls: heldCert},
	{name: "certificate not yet valid", change: shows(smtpd.NotYet), starttls: heldCert, opportunistic: unverified, tls: heldCert},
	{name: "certificate self-signed", change: shows(smtpd.SelfSigned), starttls: heldCert, opportunistic: unverified, tls: heldCert},
	{name: "certificate of unknown issuer", change: shows(smtpd.UnknownIssuer), starttls: heldCert, opportunistic: unverified, tls: heldCert},
	{name: "TLS 1.0 only", change: func(b *smtpd.Behaviour) { b.TLSMin, b.TLSMax = "1.0", "1.0" },
		starttls: heldTLS, opportunistic: deferred, tls: heldTLS},
	{name: "AUTH before TLS only", change: func(b *smtpd.Behaviour) { b.EHLOTLS = []string{} },
		starttls: verified, opportunistic: verified, plain: inClear, tls: verified},
	{name: "AUTH nowhere", change: func(b *smtpd.Behaviour) { b.EHLO, b.EHLOTLS = []string{"STARTTLS"}, []string{} },
		starttls: verified, opportunistic: verified, plain: inClear, tls: verified},
	{name: "AUTH wanted and not offered", change: func(b *smtpd.Behaviour) {
		b.EHLO, b.EHLOTLS, b.RequireAuth = []string{"STARTTLS"}, []string{}, true
	}, starttls: heldAuth, opportunistic: heldAuth, plain: heldTLS, tls: heldAuth},
	{name: "TLS wanted", change: func(b *smtpd.Behaviour) { b.RequireTLS, b.EHLO = true, []string{"STARTTLS"} },
		starttls: verified, opportunistic: verified, plain: heldTLS, tls: verified},
	{name: "a port that speaks plain", plainAtOnce: true, tls: heldTLS},
	{name: "a port that speaks TLS at once", tlsAtOnce: true, starttls: deferred, opportunistic: deferred, plain: deferred},
}

func answers(on, reply string) func(*smtpd.Behaviour) {
	return func(b *smtpd.Behaviour) { b.Rules = []smtpd.Rule{{On: on, Reply: smtpd.Lines{reply}}} }
}

func shows(kind smtpd.Kind) func(*smtpd.Behaviour) {
	return func(b *smtpd.Behaviour) { b.Certificate = kind }
}

// matrixPassword is in auth-source, whatever the security.
const matrixPassword = "Fr1day-the-13th"

// TestMatrix sends a message with each security to each weakness: on the first
// port, on the second after the first was closed, and on one with TLS from the
// start. One Emacs does all of one security. What counts beside the verdicts is
// the servers' own record.
func TestMatrix(t *testing.T) {
	t.Parallel()
	for _, security := range []string{"starttls", "opportunistic", "plain", "tls"} {
		t.Run(security, func(t *testing.T) {
			t.Parallel()
			var rows []matrixRow
			for _, w := range weaknesses {
				want := map[string]string{"starttls": w.starttls, "opportunistic": w.opportunistic, "plain": w.plain, "tls": w.tls}[security]
				if want == "" {
					continue
				}
				rows = append(rows, matrixRow{w, security, want, false})
				if security != "tls" {
					rows = append(rows, matrixRow{w, security, want, true})
				}
			}
			matrix(t, rows)
		})
	}
}

type matrixRow struct {
	weakness
	security, want string
	second         bool // its port comes after one that is closed
}

func (r matrixRow) title() string {
	if r.second {
		return r.name + ", on the second port"
	}
	return r.name
}

// matrix sends the messages of all rows at once, and looks at each.
func matrix(t *testing.T, rows []matrixRow) {
	h := newHome(t)
	listen := []smtpd.Listen{{Name: "closed", Closed: true}}
	for i, r := range rows {
		b := &smtpd.Behaviour{
			EHLO:    []string{"STARTTLS", "AUTH PLAIN LOGIN"},
			EHLOTLS: []string{"AUTH PLAIN LOGIN"},
			Users:   map[string]string{"kazu": matrixPassword},
		}
		if r.change != nil {
			r.change(b)
		}
		implicit := r.security == "tls" && !r.plainAtOnce || r.tlsAtOnce
		listen = append(listen, smtpd.Listen{Name: fmt.Sprint(i), TLS: implicit, Behaviour: b})
	}
	server := start(t, smtpd.Script{Listen: listen})
	lisp := h.account(server, false, server.Port("0")) + `
		(defun matrix-send (name security sequence port greeting)
		  (let ((submission-security security)
		        (submission-greeting-timeout greeting)
		        (message (generate-new-buffer " message")))
		    (with-current-buffer message
		      (insert "Message-ID: <" name "@example.org>\nSubject: matrix\n\nOnce upon a time.\n"))
		    (submission-submit message :from "ann@example.org" :to '("bob@example.org")
		                       :sequence sequence :port port)
		    (kill-buffer message)))
		`
	h.write("authinfo", "machine 127.0.0.1 login kazu password "+matrixPassword+"\n")
	for i, r := range rows {
		sequence, port, greeting := fmt.Sprintf("((ipv4 . %d))", server.Port(fmt.Sprint(i))), "nil", 120
		if r.second {
			sequence = fmt.Sprintf("((ipv4 . %d) (ipv4 . %d))", server.Port("closed"), server.Port(fmt.Sprint(i)))
		}
		if r.security == "tls" {
			port = fmt.Sprint(server.Port(fmt.Sprint(i)))
		}
		if r.tlsAtOnce {
			greeting = 1
		}
		lisp += fmt.Sprintf("(matrix-send \"%d\" '%s '%s %s %d)\n", i, r.security, sequence, port, greeting)
	}
	o := h.emacs(lisp + "(story-wait)")
	if o.err != nil {
		t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
	}
	got := map[string]receipt{}
	for _, r := range o.receipts {
		got[r.MessageID] = r
	}
	for i, r := range rows {
		t.Run(r.title(), func(t *testing.T) {
			r.check(t, got[fmt.Sprintf("<%d@example.org>", i)])
			for _, s := range server.Sessions() {
				if s.Port == fmt.Sprint(i) {
					r.checkFloor(t, s)
				}
			}
		})
	}
}

// check compares what the sender was told.
func (r matrixRow) check(t *testing.T, got receipt) {
	t.Helper()
	if end := strings.Join(strings.Fields(got.Status+" "+got.Reason+" "+got.TLS), " "); end != r.want {
		t.Errorf("%q, want %q; last reply %q, steps %+v", end, r.want, got.Reply, got.Attempts)
	}
	steps := "connected"
	if r.tlsAtOnce {
		steps = "silent"
	}
	if r.second {
		steps = "reset " + steps
	}
	if got.steps() != steps {
		t.Errorf("steps %q, want %q", got.steps(), steps)
	}
}

// checkFloor sees from the server's side that nothing came with less
// protection than was asked for.
func (r matrixRow) checkFloor(t *testing.T, s smtpd.Session) {
	t.Helper()
	accepted := strings.HasPrefix(r.want, "accepted")
	for _, m := range s.Messages {
		switch {
		case !accepted:
			t.Errorf("a message came: %+v", m)
		case !m.TLS && r.want != inClear, m.TLS && r.security == "plain":
			t.Errorf("a message came with TLS %v", m.TLS)
		}
	}
	for _, a := range s.Auth {
		if r.security != "plain" && (!a.TLS || r.want != verified) {
			t.Errorf("AUTH %s below the floor: %+v", a.Mechanism, a)
		}
	}
	if r.security == "plain" {
		return // to this machine, a password may be sent in the clear
	}
	for _, l := range s.Lines {
		if !l.Client || l.TLS {
			continue
		}
		for _, secret := range []string{matrixPassword, base64.StdEncoding.EncodeToString([]byte(matrixPassword)),
			base64.StdEncoding.EncodeToString([]byte("\x00kazu\x00" + matrixPassword))} {
			if strings.Contains(l.Text, secret) {
				t.Errorf("the password in the clear: %q", l.Text)
			}
		}
		if verb, _, _ := strings.Cut(l.Text, " "); verb == "MAIL" && r.want != inClear {
			t.Errorf("an envelope in the clear: %q", l.Text)
		}
	}
}
