// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// TestMewFallback goes through the paper's cases that loopback can make.
func TestMewFallback(t *testing.T) {
	for _, tt := range []struct {
		name   string
		first  smtpd.Listen
		second smtpd.Listen
		queue  string
		said   string
	}{
		{"the first answers", smtpd.Listen{}, smtpd.Listen{}, "#1", "done"},
		{"reset", smtpd.Listen{Closed: true}, smtpd.Listen{}, "#1", "done"},
		{"closed before the greeting", smtpd.Listen{Behaviour: behaves(smtpd.Rule{On: "GREETING", Instead: smtpd.CloseConn})},
			smtpd.Listen{}, "#1", "done"},
		{"another greeting", smtpd.Listen{Behaviour: behaves(on("GREETING", "554 no"))}, smtpd.Listen{}, "#1", "done"},
		{"accepts and never speaks", smtpd.Listen{Behaviour: behaves(smtpd.Rule{On: "GREETING", Instead: smtpd.Silence})},
			smtpd.Listen{}, "#1", "done"},
		{"both dead", smtpd.Listen{Closed: true}, smtpd.Listen{Closed: true}, "1", "reset (case 2)"},
		{"nothing after 220", smtpd.Listen{Behaviour: behaves(on("MAIL", "451 4.3.0 later"))}, smtpd.Listen{}, "1", "451 4.3.0 later"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				tt.first.Name, tt.second.Name = "first", "second"
				server := start(t, smtpd.Script{Listen: []smtpd.Listen{tt.first, tt.second}})
				n := m.tell(m.falling(server, server.Port("first"), server.Port("second")) + `
					(setq submission-greeting-timeout 1)
					(mew-story-send "bob@example.org")
					(mew-story-note)`)
				n.has(tt.queue)
				n.said(tt.said)
				if want := strings.Count(tt.queue, "#"); len(server.Messages()) != want {
					t.Errorf("%d messages, want %d", len(server.Messages()), want)
				}
				m.log()
			})
		})
	}
}

// TestMewTLS: TLS, STARTTLS and what Mew does itself.
func TestMewTLS(t *testing.T) {
	for _, tt := range []struct {
		name    string
		listen  smtpd.Listen
		lisp    string // with the port twice
		trusted bool
		queue   string
		said    string
	}{
		{"STARTTLS", smtpd.Listen{}, "(setq mew-smtp-ssl t mew-smtp-port %d mew-smtp-ssl-port \"%d\")", true, "#1", "done"},
		{"STARTTLS, not trusted", smtpd.Listen{}, "(setq mew-smtp-ssl t mew-smtp-port %d mew-smtp-ssl-port %d)", false, "1", "certificate"},
		{"STARTTLS, not offered", smtpd.Listen{Behaviour: &smtpd.Behaviour{EHLO: []string{"SIZE"}}},
			"(setq mew-smtp-ssl t mew-smtp-port %d mew-smtp-ssl-port %d)", true, "1", "STARTTLS"},
		{"TLS", smtpd.Listen{TLS: true}, "(setq mew-smtp-ssl t mew-smtp-port 25 mew-smtp-ssl-port %d) %d", true, "#1", "done"},
		{"TLS, refused", smtpd.Listen{Closed: true}, "(setq mew-smtp-ssl t mew-smtp-port 25 mew-smtp-ssl-port %d) %d", true, "1", "reset"},
		{"left to Mew", smtpd.Listen{TLS: true}, "(setq mew-smtp-ssl 'tunnel submission-mew-tls nil mew-prog-ssl \"no-stunnel\" mew-smtp-ssl-port %d) %d", true, "1", "no-stunnel"},
		{"through a unix socket", smtpd.Listen{}, `(setq mew-smtp-port "/nowhere/%d") %d`, true, "1", "itself"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				server := start(t, smtpd.Script{Listen: []smtpd.Listen{tt.listen}})
				port := server.Port("")
				lisp := ""
				if tt.trusted {
					lisp = m.account(server, false, port)
				}
				n := m.tell(lisp + fmt.Sprintf(tt.lisp, port, port) + `
					(mew-story-send "bob@example.org")
					(mew-story-note)
					(princ (with-current-buffer "*submission log*" (buffer-string)))`)
				n.said(tt.said)
				if tt.name == "left to Mew" || tt.name == "through a unix socket" {
					n.said("Mew sends to 127.0.0.1 itself")
					return
				}
				n.has(tt.queue)
				log := m.log()
				if flag := regexp.MustCompile("SSL/TLS|TLS/STARTTLS"); !flag.MatchString(log) {
					t.Errorf("Mew's log:\n%s", log)
				}
				for _, message := range server.Messages() {
					if !message.TLS {
						t.Error("sent without TLS")
					}
				}
			})
		})
	}
}

// TestMewPassword: a wrong password is forgotten, and asked for by the next
// flush; a mechanism that Mew doesn't like is not used.
func TestMewPassword(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"kazu": "secret"},
			EHLO: []string{"AUTH PLAIN LOGIN"},
		}})
		n := m.tell(m.on(server.Port("")) + `
			(setq mew-smtp-user "kazu" mew-smtp-auth-list '("LOGIN" "PLAIN") mew-story-passwords '("wrong" "" "secret"))
			(mew-story-send "bob@example.org")
			(mew-story-note)
			(mew-story-flush)
			(mew-story-flush)
			(mew-story-send "carol@example.org")
			(mew-story-note)`)
		n.said("SMTP LOGIN password is wrong!", "NOTE +queue/1\n", "NOTE prompt SMTP LOGIN password (kazu): ")
		if n := strings.Count(n.output, "NOTE prompt"); n != 3 {
			t.Errorf("%d prompts", n)
		}
		if got := server.Messages(); len(got) != 2 || got[0].User != "kazu" {
			t.Errorf("sent %+v", got)
		}
		if log := m.log(); !strings.Contains(log, "SMTP LOGIN password is wrong!") || strings.Count(log, "status=sent") != 2 {
			t.Errorf("Mew's log:\n%s", log)
		}
	})
}

// TestMewIdentity: PLAIN with an authorization identity, as Mew can send it.
func TestMewIdentity(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"kazu": "secret"}, EHLO: []string{"AUTH PLAIN"},
		}})
		m.tell(m.on(server.Port("")) + `
			(setq mew-smtp-user "kazu" mew-smtp-auth-plain-authorize-id t mew-smtp-helo-domain "ann.example.org"
			      mew-story-passwords '("secret"))
			(mew-story-send "bob@example.org")`)
		sessions := server.Sessions()
		if len(sessions) != 1 || len(server.Messages()) != 1 {
			t.Fatalf("%+v", sessions)
		}
		var said []string
		for _, line := range sessions[0].Lines {
			said = append(said, line.Text)
		}
		// kazu NUL kazu NUL secret
		if !slices.Contains(said, "EHLO ann.example.org") || !slices.Contains(said, "AUTH PLAIN a2F6dQBrYXp1AHNlY3JldA==") {
			t.Errorf("the client said %q", said)
		}
	})
}
