// SPDX-License-Identifier: GPL-3.0-or-later

package session

import (
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"submission/test/smtpd"
)

// outcome is how a session ends: with the message taken under "verified" or
// "unverified" TLS or in the "clear", or with an error of a kind.
type outcome string

// weaknesses are what a server, or somebody between, may do to get at a secret
// or a message, and what becomes of it with each security. Where no TLS is
// wanted the passwords that the server asks for aren't given to it.
var weaknesses = []struct {
	name   string
	change func(*smtpd.Behaviour)

	starttls, opportunistic, plain, implicit outcome // "": not a matter of that security
	plainAtOnce, tlsAtOnce                   bool    // what is listening isn't what belongs there
	noAuthUnderTLS                           bool    // nor could there be
}{
	{name: "none", starttls: "verified", opportunistic: "verified", plain: "auth", implicit: "verified"},
	{name: "STARTTLS not offered", change: func(b *smtpd.Behaviour) { b.EHLO = []string{"AUTH PLAIN LOGIN XOAUTH2"} },
		starttls: "tls", opportunistic: "clear", plain: "auth", implicit: "verified"},
	{name: "STARTTLS and all else not offered", change: func(b *smtpd.Behaviour) { b.EHLO = []string{} },
		starttls: "tls", opportunistic: "clear", plain: "clear", implicit: "verified"},
	{name: "EHLO refused", change: in("EHLO", "502 5.5.1 what"), starttls: "tls", opportunistic: "clear", plain: "clear", implicit: "verified", noAuthUnderTLS: true},
	{name: "STARTTLS 454", change: in("STARTTLS", "454 4.7.0 later"), starttls: "tls", opportunistic: "clear", plain: "auth", implicit: "verified"},
	{name: "STARTTLS 500", change: in("STARTTLS", "500 5.5.1 what"), starttls: "tls", opportunistic: "clear", plain: "auth", implicit: "verified"},
	{name: "STARTTLS 502", change: in("STARTTLS", "502 5.5.1 no"), starttls: "tls", opportunistic: "clear", plain: "auth", implicit: "verified"},
	{name: "STARTTLS 530", change: in("STARTTLS", "530 5.7.0 no"), starttls: "tls", opportunistic: "clear", plain: "auth", implicit: "verified"},
	{name: "STARTTLS 235", change: in("STARTTLS", "235 2.7.0 go ahead"), starttls: "tls", opportunistic: "protocol", plain: "auth", implicit: "verified"},
	{name: "STARTTLS 334", change: in("STARTTLS", "334 UGFzc3dvcmQ6"), starttls: "tls", opportunistic: "protocol", plain: "auth", implicit: "verified"},
	{name: "STARTTLS answered with what is no reply", change: in("STARTTLS", "ok"), starttls: "tls", opportunistic: "protocol", plain: "auth", implicit: "verified"},
	{name: "STARTTLS, and then no TLS", change: in("TLS", "250 let's go on like this"), starttls: "tls", plain: "auth", implicit: "tls"},
	{name: "injected after 220", change: func(b *smtpd.Behaviour) {
		b.Rules = []smtpd.Rule{{On: "STARTTLS", Raw: "220 go\r\n250-mail.test\r\n250 AUTH PLAIN\r\n235 ok\r\n"}}
	}, starttls: "tls", opportunistic: "tls", plain: "auth", implicit: "verified"},
	{name: "lost in the handshake", change: func(b *smtpd.Behaviour) { b.Rules = []smtpd.Rule{{On: "WIRE", After: 500, Then: smtpd.Reset}} },
		starttls: "handshake", opportunistic: "handshake", plain: "auth", implicit: "handshake"},
	{name: "certificate for another name", change: shows(smtpd.OtherName), starttls: "certificate", opportunistic: "unverified", plain: "auth", implicit: "certificate"},
	{name: "certificate expired", change: shows(smtpd.Expired), starttls: "certificate", opportunistic: "unverified", plain: "auth", implicit: "certificate"},
	{name: "certificate not yet valid", change: shows(smtpd.NotYet), starttls: "certificate", opportunistic: "unverified", plain: "auth", implicit: "certificate"},
	{name: "certificate self-signed", change: shows(smtpd.SelfSigned), starttls: "certificate", opportunistic: "unverified", plain: "auth", implicit: "certificate"},
	{name: "certificate of unknown issuer", change: shows(smtpd.UnknownIssuer), starttls: "certificate", opportunistic: "unverified", plain: "auth", implicit: "certificate"},
	{name: "TLS 1.0 only", change: func(b *smtpd.Behaviour) { b.TLSMin, b.TLSMax = "1.0", "1.0" },
		starttls: "tls", opportunistic: "handshake", plain: "auth", implicit: "tls"},
	{name: "TLS 1.1 only", change: func(b *smtpd.Behaviour) { b.TLSMin, b.TLSMax = "1.0", "1.1" },
		starttls: "tls", opportunistic: "handshake", plain: "auth", implicit: "tls"},
	{name: "AUTH before TLS only", change: func(b *smtpd.Behaviour) { b.EHLOTLS = []string{} },
		starttls: "verified", opportunistic: "verified", plain: "auth", implicit: "verified", noAuthUnderTLS: true},
	{name: "AUTH nowhere", change: func(b *smtpd.Behaviour) { b.EHLO, b.EHLOTLS = []string{"STARTTLS"}, []string{} },
		starttls: "verified", opportunistic: "verified", plain: "clear", implicit: "verified", noAuthUnderTLS: true},
	{name: "AUTH wanted and not offered", change: func(b *smtpd.Behaviour) {
		b.EHLO, b.EHLOTLS, b.RequireAuth = []string{"STARTTLS"}, []string{}, true
	}, starttls: "auth", opportunistic: "auth", plain: "tls", implicit: "auth", noAuthUnderTLS: true},
	{name: "TLS wanted", change: func(b *smtpd.Behaviour) { b.RequireTLS, b.EHLO = true, []string{"STARTTLS"} },
		starttls: "verified", opportunistic: "verified", plain: "tls", implicit: "verified"},
	{name: "a port that speaks plain", plainAtOnce: true, implicit: "tls"},
	{name: "a port that speaks TLS at once", tlsAtOnce: true, starttls: "silent", opportunistic: "silent", plain: "silent"},
}

func in(on, reply string) func(*smtpd.Behaviour) {
	return func(b *smtpd.Behaviour) { b.Rules = []smtpd.Rule{{On: on, Reply: smtpd.Lines{reply}}} }
}

func shows(kind smtpd.Kind) func(*smtpd.Behaviour) {
	return func(b *smtpd.Behaviour) { b.Certificate = kind }
}

// Every security against every weakness, on 587, on 25 after 587 was closed,
// and on 465. What counts is the server's own record: no secret in the clear or
// to a peer that isn't proved, no message below the floor.
func TestMatrix(t *testing.T) {
	ca, err := smtpd.NewCA()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range weaknesses {
		for _, c := range []struct {
			security Security
			want     outcome
		}{{STARTTLS, w.starttls}, {Opportunistic, w.opportunistic}, {Plain, w.plain}, {ImplicitTLS, w.implicit}} {
			ports := []string{"submission", "smtp"}
			if c.security == ImplicitTLS {
				ports = []string{"submissions"}
			}
			for _, port := range ports {
				if c.want == "" {
					continue
				}
				t.Run(w.name+"/"+string(c.security)+" "+port, func(t *testing.T) {
					t.Parallel()
					b := smtpd.Behaviour{
						EHLO:    []string{"STARTTLS", "AUTH PLAIN LOGIN XOAUTH2"},
						EHLOTLS: []string{"AUTH PLAIN LOGIN"},
						Users:   map[string]string{"kazu": thePass},
					}
					if w.change != nil {
						w.change(&b)
					}
					server := serve(t, smtpd.Script{Behaviour: b, CA: ca, Listen: []smtpd.Listen{
						{Name: "submission", TLS: w.tlsAtOnce, Closed: port == "smtp"},
						{Name: "smtp", TLS: w.tlsAtOnce},
						{Name: "submissions", TLS: !w.plainAtOnce},
					}})
					got := attempt(t, server, port, c.security, ca.Pool(), w.tlsAtOnce)
					if got != c.want {
						t.Errorf("%q, want %q", got, c.want)
					}
					floor(t, record(t, server), c.security, got, w.noAuthUnderTLS)
				})
			}
		}
	}
}

// attempt has a session on a port, after another one refused where it is the
// second of the sequence.
func attempt(t *testing.T, server *smtpd.Server, port string, security Security, roots *x509.CertPool, silent bool) outcome {
	if port == "smtp" {
		if conn, err := net.Dial("tcp", server.Addr("submission")); err == nil {
			conn.Close()
			t.Error("the first port is open")
		}
	}
	limits := patient()
	if silent {
		limits.Greeting = 100 * time.Millisecond // it won't come, however long we wait
	}
	cfg := Config{Host: "mail.test", Security: security, EHLO: "me", Roots: roots, Tunnelled: true, Timeouts: limits}
	result, protection, err := deliver(t.Context(), dial(t, server.Addr(port)), cfg, &Credentials{User: "kazu", Password: thePass},
		Envelope{}, "secret text\n", nil)
	if err == nil {
		if result.Reply.Code != 250 {
			t.Errorf("taken with %v", result.Reply)
		}
		if protection == "" {
			return "clear"
		}
		return outcome(protection)
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatal(err)
	}
	return outcome(e.Kind)
}

// floor checks what the server came to see.
func floor(t *testing.T, seen smtpd.Session, security Security, got outcome, noAuth bool) {
	t.Helper()
	for _, line := range seen.Lines {
		if !line.Client || line.TLS {
			continue
		}
		verb, _, _ := strings.Cut(line.Text, " ")
		secret := strings.Contains(line.Text, thePass) || strings.Contains(line.Text, b64("\x00kazu\x00"+thePass))
		message := verb == "MAIL" || verb == "RCPT" || verb == "DATA" || strings.Contains(line.Text, "secret text")
		if verb == "AUTH" || secret || message && (security == STARTTLS || security == ImplicitTLS) {
			t.Errorf("in the clear the server was told %q", line.Text)
		}
	}
	authenticated := got == "verified" && !noAuth
	if len(seen.Auth) > 0 != authenticated {
		t.Errorf("AUTH: %+v, want %v", seen.Auth, authenticated)
	}
	taken := got == "verified" || got == "unverified" || got == "clear"
	if len(seen.Messages) > 0 != taken {
		t.Errorf("the server has %d messages", len(seen.Messages))
	}
	for _, m := range seen.Messages {
		if m.TLS == (got == "clear") || (security == STARTTLS || security == ImplicitTLS) && got != "verified" {
			t.Errorf("a message came through with %s: %s", security, got)
		}
	}
}
