// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// screen starts an Emacs with Mew in a terminal.
func (m *mew) screen(lisp string) *terminal {
	m.t.Helper()
	here, err := filepath.Abs("mew.el")
	if err != nil {
		m.t.Fatal(err)
	}
	path := strings.TrimPrefix(m.env[len(m.env)-1], "PATH=")
	return m.interactive(fmt.Sprintf(`
		(setenv "PATH" %q)
		(setq exec-path (parse-colon-path (getenv "PATH")))
		(push %q load-path)
		(load %q nil t)
		(define-mail-user-agent 'mew-user-agent #'mew-user-agent-compose #'mew-draft-send-message #'mew-draft-kill)
		(setq mail-user-agent 'mew-user-agent mew-ask-send t)
		`, path, m.lisp, here) + lisp)
}

// draft writes a draft as a person does, and sends it.
func (x *terminal) draft(to, subject string) {
	x.t.Helper()
	x.keys("C-x", "m")
	x.see("X-Mailer:")
	x.text(to)
	x.keys("C-n", "C-e")
	x.text(subject)
	x.keys("M->")
	x.text("Once upon a time.")
	x.see("Once upon a time.")
	x.keys("C-c", "C-c")
	x.see("Really send this message?")
	x.text("y")
}

// TestMewOnScreen sends drafts with the keys of Mew, and works on meanwhile: the
// password is asked for in a quiet moment, and what is refused is told.
func TestMewOnScreen(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"ann@example.org": "r1ght-passw0rd"}, EHLO: []string{"AUTH PLAIN"},
			Rules: []smtpd.Rule{{On: "RCPT", Match: "nope@", Reply: smtpd.Lines{"550 5.1.1 no such user"}}},
		}})
		g := newGate(t, server.Addr(""))
		x := m.screen(m.on(g.port))
		x.draft("bob@example.org", "A story")
		x.see("Sending in background...")
		x.other("work")
		<-g.arrived
		x.text("This is typed while the message is on its way.")
		x.see("This is typed while the message is on its way.")
		if len(server.Sessions()) > 0 {
			t.Error("the server was not silent")
		}
		g.open()
		x.see("SMTP PLAIN password (ann@example.org):")
		x.text("r1ght-passw0rd")
		x.keys("Enter")
		x.see("Sending in background...done")
		x.draft("nope@example.org", "Another")
		x.see("550 5.1.1 no such user")
		x.see("This mail has been queued")
		if sentTo(server) != "bob@example.org" {
			t.Errorf("sent to %s", sentTo(server))
		}
		log, err := os.ReadFile(m.path("Mail/Smtplog"))
		if err != nil || strings.Count(string(log), "status=sent") != 1 || strings.Contains(string(log), "passw0rd") {
			t.Errorf("Mew's log: %v\n%s", err, log)
		}
	})
}

// TestMewCertificateQuestion: a certificate that is not good is shown, and once
// it is accepted, the queue is flushed to its server.
func TestMewCertificateQuestion(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{Certificate: smtpd.SelfSigned}})
		x := m.screen(m.on(server.Port("")) + `
			(setq mew-smtp-ssl t mew-smtp-ssl-port mew-smtp-port)
			(global-set-key [f9] (lambda () (interactive) (mew-smtp-flush-queue mew-case-default)))`)
		x.draft("bob@example.org", "A story")
		x.see("Accept this certificate of 127.0.0.1?")
		x.see("Nobody vouches for it but itself.")
		x.text("no")
		x.keys("Enter")
		x.see("Mail to 127.0.0.1 stays in the queue")
		x.keys("F9")
		x.see("Accept this certificate of 127.0.0.1?")
		x.text("always")
		x.keys("Enter")
		x.see("Accepted; the mail to 127.0.0.1 can be sent now")
		x.keys("F9")
		x.see("Sending in background...done")
		if messages := server.Messages(); len(messages) != 1 || !messages[0].TLS {
			t.Errorf("the server took %+v", messages)
		}
	})
}
