// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// row is a row of the tables of steps and verdicts: what the server does, how
// Emacs is set up, and what the sender must be told.
type row struct {
	name   string
	server smtpd.Behaviour  // of the port that answers
	first  *smtpd.Behaviour // of the port before it; nil: closed
	alone  bool             // there is no port before it
	users  bool             // the server has a user, and auth-source the password
	lisp   string           // settings
	to     string           // "bob@example.org" if empty

	status, reason, tls, steps string
	accepted                   string // recipients, with spaces between
	refused                    int
	left                       bool // the message is still in the outbox
	delivered                  int  // messages that the server took
}

const (
	starttls      = "(setq submission-security 'starttls)"
	opportunistic = "(setq submission-security 'opportunistic)"
	plain         = "(setq submission-security 'plain)"
	bob           = "bob@example.org"
)

func on(verb, reply string) smtpd.Rule {
	return smtpd.Rule{On: verb, Reply: smtpd.Lines{reply}}
}

func rules(r ...smtpd.Rule) smtpd.Behaviour { return smtpd.Behaviour{Rules: r} }

func behaves(r ...smtpd.Rule) *smtpd.Behaviour { return &smtpd.Behaviour{Rules: r} }

func with(certificate smtpd.Kind) smtpd.Behaviour { return smtpd.Behaviour{Certificate: certificate} }

// sent is a row that ends well.
func sent(name string, change func(*row)) row {
	r := row{name: name, alone: true, status: "accepted", tls: "verified", steps: "connected", accepted: bob, delivered: 1}
	change(&r)
	return r
}

// failed is a row in which the message stays.
func failed(name, status, reason string, change func(*row)) row {
	r := row{name: name, alone: true, status: status, reason: reason, steps: "connected", left: true}
	change(&r)
	return r
}

var steps = []row{
	sent("the first step answers", func(r *row) {}),
	sent("reset", func(r *row) { r.alone = false; r.steps = "reset connected" }),
	sent("closed before the greeting", func(r *row) {
		r.alone, r.first = false, behaves(smtpd.Rule{On: "GREETING", Instead: smtpd.CloseConn})
		r.steps = "closed connected"
	}),
	sent("reset before the greeting", func(r *row) {
		r.alone, r.first = false, behaves(smtpd.Rule{On: "GREETING", Instead: smtpd.Reset})
		r.steps = "closed connected"
	}),
	sent("accepted and reset at once", func(r *row) {
		r.alone, r.first = false, behaves(smtpd.Rule{On: "CONNECT", Instead: smtpd.Reset})
		r.steps = "closed connected"
	}),
	sent("greeted with 554", func(r *row) {
		r.alone, r.first = false, behaves(on("GREETING", "554 5.3.2 no service"))
		r.steps = "greeting connected"
	}),
	sent("greeted with 421", func(r *row) {
		r.alone, r.first = false, behaves(on("GREETING", "421 4.3.2 later"))
		r.steps = "greeting connected"
	}),
	sent("greeted with something else", func(r *row) {
		r.alone, r.first = false, behaves(on("GREETING", "SSH-2.0-OpenSSH_9.2"))
		r.steps = "greeting connected"
	}),
	sent("silent beyond the limit", func(r *row) {
		r.alone, r.first = false, behaves(smtpd.Rule{On: "GREETING", Instead: smtpd.Silence})
		r.lisp = "(setq submission-greeting-timeout 1)"
		r.steps = "silent connected"
	}),
	failed("a greet pause is waited for, and the alarm has no part in it", "refused", "message", func(r *row) {
		// The refusal shows that it was this port that got the message.
		r.alone, r.first = false, behaves(
			smtpd.Rule{On: "GREETING", Delay: smtpd.Duration(3e9)}, on("MAIL", "550 5.7.1 no"))
		r.lisp = "(setq submission-connect-timeout 1)"
		r.steps, r.tls = "connected", "verified"
	}),
	failed("no step answers", "deferred", "", func(r *row) {
		r.alone, r.server = false, rules(on("GREETING", "554 5.3.2 no service"))
		r.steps = "reset greeting"
	}),
	failed("after 220 the server has the word", "deferred", "", func(r *row) {
		r.alone, r.first = false, behaves(smtpd.Rule{On: "EHLO", Instead: smtpd.CloseConn})
	}),
}

var tlsVerdicts = []row{
	failed("starttls, not offered", "held", "tls", func(r *row) {
		r.lisp, r.server = starttls, smtpd.Behaviour{EHLO: []string{"8BITMIME"}}
	}),
	failed("starttls, 454", "held", "tls", func(r *row) {
		r.lisp, r.server = starttls, rules(on("STARTTLS", "454 4.7.0 not now"))
	}),
	failed("starttls, 502", "held", "tls", func(r *row) {
		r.lisp, r.server = starttls, rules(on("STARTTLS", "502 5.5.1 no"))
	}),
	failed("starttls, an answer of another kind", "held", "tls", func(r *row) {
		r.lisp, r.server = starttls, rules(on("STARTTLS", "250 2.0.0 fine"))
	}),
	failed("starttls, plaintext slipped in", "held", "tls", func(r *row) {
		r.lisp, r.server = starttls, rules(smtpd.Rule{On: "STARTTLS", Raw: "220 go\r\n250 mail.test\r\n"})
	}),
	failed("starttls, another name", "held", "certificate", func(r *row) {
		r.lisp, r.server = starttls, with(smtpd.OtherName)
	}),
	failed("starttls, expired", "held", "certificate", func(r *row) { r.lisp, r.server = starttls, with(smtpd.Expired) }),
	failed("starttls, not yet valid", "held", "certificate", func(r *row) { r.lisp, r.server = starttls, with(smtpd.NotYet) }),
	failed("starttls, self-signed", "held", "certificate", func(r *row) { r.lisp, r.server = starttls, with(smtpd.SelfSigned) }),
	failed("starttls, unknown issuer", "held", "certificate", func(r *row) {
		r.lisp, r.server = starttls, with(smtpd.UnknownIssuer)
	}),
	failed("starttls, no common version", "held", "tls", func(r *row) {
		r.lisp, r.server = starttls, smtpd.Behaviour{TLSMin: "1.0", TLSMax: "1.1"}
	}),
	failed("starttls, lost in the handshake", "deferred", "", func(r *row) {
		r.lisp, r.server = starttls, rules(smtpd.Rule{On: "TLS", Instead: smtpd.Cut})
	}),
	failed("starttls, a bad certificate is no reason for another step", "held", "certificate", func(r *row) {
		r.lisp, r.alone = starttls, false
		r.first = &smtpd.Behaviour{Certificate: smtpd.SelfSigned}
	}),
	sent("opportunistic, an unverifiable certificate", func(r *row) {
		r.lisp, r.server, r.tls = opportunistic, with(smtpd.SelfSigned), "unverified"
	}),
	sent("opportunistic, not offered", func(r *row) {
		r.lisp, r.server, r.tls = opportunistic, smtpd.Behaviour{EHLO: []string{"8BITMIME"}}, ""
	}),
	sent("opportunistic, refused: goes on in the clear", func(r *row) {
		r.lisp, r.server, r.tls = opportunistic, rules(on("STARTTLS", "454 4.7.0 not now")), ""
	}),
	failed("opportunistic, a handshake that fails: never a new connection in the clear", "deferred", "", func(r *row) {
		r.lisp, r.server = opportunistic, rules(smtpd.Rule{On: "TLS", Instead: smtpd.Cut})
	}),
	sent("plain", func(r *row) { r.lisp, r.tls = plain, "" }),
	failed("530 that means STARTTLS", "held", "tls", func(r *row) {
		r.lisp, r.server = plain, rules(on("MAIL", "530 5.7.0 must issue a STARTTLS command first"))
	}),
}

var authVerdicts = []row{
	sent("a password from auth-source", func(r *row) {
		r.users, r.server.RequireAuth = true, true
	}),
	sent("a server that offers no AUTH gets the mail without", func(r *row) {
		r.users, r.server.EHLOTLS = true, []string{"8BITMIME"}
	}),
	failed("a wrong password, in batch", "held", "auth", func(r *row) {
		r.users, r.tls, r.server = true, "verified", rules(on("AUTH", "535 5.7.8 bad credentials"))
	}),
	failed("534", "held", "auth", func(r *row) {
		r.users, r.tls, r.server = true, "verified", rules(on("AUTH", "534 5.7.9 mechanism too weak"))
	}),
	failed("no common mechanism", "held", "auth", func(r *row) {
		r.users, r.tls, r.server = true, "verified", smtpd.Behaviour{EHLOTLS: []string{"AUTH GSSAPI"}}
	}),
	failed("AUTH is wanted and there is no password", "held", "auth", func(r *row) {
		r.server, r.tls = smtpd.Behaviour{RequireAuth: true, Users: map[string]string{"kazu": "secret"}}, "verified"
	}),
	failed("a user name and no password", "held", "auth", func(r *row) {
		r.lisp, r.steps = `(setq smtpmail-smtp-user "kazu")`, ""
	}),
	failed("530 to RCPT", "held", "auth", func(r *row) {
		r.server, r.tls = rules(on("RCPT", "530 5.7.0 authentication required")), "verified"
	}),
	sent("opportunistic and no verified TLS: no AUTH of any kind", func(r *row) {
		r.users, r.lisp, r.tls, r.server = true, opportunistic, "unverified", with(smtpd.SelfSigned)
	}),
}

var dialogueVerdicts = []row{
	sent("EHLO refused, HELO does", func(r *row) {
		r.lisp, r.tls, r.server = opportunistic, "", rules(on("EHLO", "502 5.5.1 what?"))
	}),
	failed("EHLO and HELO refused", "held", "protocol", func(r *row) {
		r.server = rules(on("EHLO", "502 5.5.1 what?"), on("HELO", "502 5.5.1 what?"))
	}),
	failed("not SMTP", "held", "protocol", func(r *row) {
		r.lisp, r.server = plain, rules(on("MAIL", "HTTP/1.1 400 Bad Request"))
	}),
	sent("some refused with 5xx", func(r *row) {
		r.to, r.accepted, r.refused = "bob@example.org, bad@example.org, carol@example.org", "bob@example.org carol@example.org", 1
		r.server = rules(smtpd.Rule{On: "RCPT", Match: "bad@", Reply: smtpd.Lines{"550 5.1.1 no such user"}})
	}),
	failed("some refused with 4xx", "deferred", "", func(r *row) {
		r.to, r.accepted, r.delivered, r.tls = "bob@example.org, slow@example.org", bob, 1, "verified"
		r.server = rules(smtpd.Rule{On: "RCPT", Match: "slow@", Reply: smtpd.Lines{"450 4.2.1 later"}})
	}),
	failed("all refused, one of them for now", "deferred", "", func(r *row) {
		r.to, r.refused, r.tls = "bad@example.org, slow@example.org", 1, "verified"
		r.server = rules(smtpd.Rule{On: "RCPT", Match: "slow@", Reply: smtpd.Lines{"450 4.2.1 later"}},
			on("RCPT", "550 5.1.1 no such user"))
	}),
	failed("all refused for good", "refused", "recipients", func(r *row) {
		r.refused, r.tls, r.server = 1, "verified", rules(on("RCPT", "550 5.1.1 no such user"))
	}),
	failed("4xx to MAIL", "deferred", "", func(r *row) { r.tls, r.server = "verified", rules(on("MAIL", "451 4.3.0 later")) }),
	failed("4xx to DATA", "deferred", "", func(r *row) { r.tls, r.server = "verified", rules(on("DATA", "451 4.3.0 later")) }),
	failed("4xx to the message", "deferred", "", func(r *row) { r.tls, r.server = "verified", rules(on("DOT", "451 4.3.0 later")) }),
	failed("5xx to MAIL", "refused", "message", func(r *row) { r.tls, r.server = "verified", rules(on("MAIL", "550 5.7.1 no")) }),
	failed("5xx to DATA", "refused", "message", func(r *row) { r.tls, r.server = "verified", rules(on("DATA", "554 5.5.1 no")) }),
	failed("5xx to the message", "refused", "message", func(r *row) { r.tls, r.server = "verified", rules(on("DOT", "554 5.7.1 spam")) }),
	failed("552 to the message", "refused", "size", func(r *row) { r.tls, r.server = "verified", rules(on("DOT", "552 5.3.4 too big")) }),
	failed("larger than SIZE", "refused", "size", func(r *row) {
		r.tls, r.server = "verified", smtpd.Behaviour{EHLOTLS: []string{"SIZE 20"}}
	}),
	failed("lost after MAIL", "deferred", "", func(r *row) {
		r.tls, r.server = "verified", rules(smtpd.Rule{On: "RCPT", Instead: smtpd.Reset})
	}),
	failed("lost within the message", "deferred", "", func(r *row) {
		r.tls, r.server = "verified", rules(smtpd.Rule{On: "BODY", After: 20, Instead: smtpd.Reset})
	}),
	failed("silence before the final dot", "deferred", "", func(r *row) {
		r.lisp, r.tls, r.server = "(setq submission-command-timeout 1)", "verified", rules(smtpd.Rule{On: "RCPT", Instead: smtpd.Silence})
	}),
	failed("lost after the final dot", "uncertain", "", func(r *row) {
		r.tls, r.server, r.delivered = "verified", rules(smtpd.Rule{On: "DOT", Instead: smtpd.CloseConn}), -1
	}),
	failed("silence after the final dot", "uncertain", "", func(r *row) {
		r.lisp, r.tls = "(setq submission-data-timeout 1)", "verified"
		r.server, r.delivered = rules(smtpd.Rule{On: "DOT", Instead: smtpd.Silence}), -1
	}),
	failed("nonsense after the final dot", "uncertain", "", func(r *row) {
		r.tls, r.server, r.delivered = "verified", rules(on("DOT", "999 what")), -1
	}),
}

func TestSteps(t *testing.T)            { table(t, steps) }
func TestTLSVerdicts(t *testing.T)      { table(t, tlsVerdicts) }
func TestAuthVerdicts(t *testing.T)     { table(t, authVerdicts) }
func TestDialogueVerdicts(t *testing.T) { table(t, dialogueVerdicts) }

func table(t *testing.T, rows []row) {
	for _, r := range rows {
		t.Run(r.name, func(t *testing.T) {
			t.Parallel()
			r.check(t)
		})
	}
}

func (r row) check(t *testing.T) {
	h := newHome(t)
	if r.users {
		r.server.Users = map[string]string{"kazu": "secret"}
	}
	listen := []smtpd.Listen{{Name: "second", Behaviour: &r.server}}
	if !r.alone {
		listen = append([]smtpd.Listen{{Name: "first", Closed: r.first == nil, Behaviour: r.first}}, listen...)
	}
	server, err := smtpd.Start(smtpd.Script{Listen: listen})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()

	to := r.to
	if to == "" {
		to = bob
	}
	ports := []int{server.Port("second")}
	if !r.alone {
		ports = []int{server.Port("first"), ports[0]}
	}
	got := h.story(h.account(server, r.users, ports...) + r.lisp + fmt.Sprintf("\n(story-send %q)", to))

	if got.Status != r.status || got.Reason != r.reason || got.TLS != r.tls {
		t.Errorf("%s (%s), TLS %q; want %s (%s), TLS %q; last reply %q",
			got.Status, got.Reason, got.TLS, r.status, r.reason, r.tls, got.Reply)
	}
	if got.steps() != r.steps {
		t.Errorf("steps %q, want %q: %+v", got.steps(), r.steps, got.Attempts)
	}
	if accepted := strings.Join(got.Accepted, " "); accepted != r.accepted || len(got.Refused) != r.refused {
		t.Errorf("accepted %q, refused %v; want %q and %d", accepted, got.Refused, r.accepted, r.refused)
	}
	want := []string(nil)
	if r.left {
		want = []string{got.ID + ".eml", got.ID + ".json"}
	}
	if files := h.outbox(); !slices.Equal(files, want) {
		t.Errorf("the outbox holds %v, want %v", files, want)
	}
	if n := len(server.Messages()); r.delivered >= 0 && n != r.delivered {
		t.Errorf("the server took %d messages, want %d", n, r.delivered)
	}
	r.checkFloor(t, server)
}

// checkFloor sees from the server's side that no password came in the clear.
func (r row) checkFloor(t *testing.T, server *smtpd.Server) {
	for _, s := range server.Sessions() {
		for _, a := range s.Auth {
			if !a.TLS || r.lisp == opportunistic {
				t.Errorf("AUTH %s came below the floor", a.Mechanism)
			}
		}
	}
}

// account returns Lisp that sets Emacs up for a server: ports as the sequence,
// its CA trusted, and the password in auth-source if wanted.
func (h *home) account(server *smtpd.Server, password bool, ports ...int) string {
	h.t.Helper()
	ca, err := server.CA().Write(h.dir)
	if err != nil {
		h.t.Fatal(err)
	}
	var sequence strings.Builder
	for _, port := range ports {
		fmt.Fprintf(&sequence, "(ipv4 . %d)", port)
	}
	authinfo := ""
	if password {
		authinfo = "machine 127.0.0.1 login kazu password secret\n"
	}
	return fmt.Sprintf("(setq submission-sequence '(%s) gnutls-trustfiles '(%q) auth-sources '(%q))\n",
		&sequence, ca, h.write("authinfo", authinfo))
}
