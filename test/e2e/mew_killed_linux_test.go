// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// TestMewKilled kills Emacs with SIGKILL at each point of a message's way, and
// sees what the next one makes of it.
func TestMewKilled(t *testing.T) {
	quiet := func(on string, from int) smtpd.Script {
		return smtpd.Script{Behaviour: rules(smtpd.Rule{On: on, From: from, Instead: smtpd.Silence})}
	}
	const suicide = "(lambda (&rest _) (signal-process (emacs-pid) 9) (sleep-for 60))"
	const ofWork = "(lambda (file &rest _) (when (string-suffix-p \".wrk\" file) (funcall " + suicide + ")))"
	for _, tt := range []struct {
		name    string
		script  smtpd.Script
		until   func([]smtpd.Session) bool // the server sees that it is time
		lisp    string                     // or Emacs kills itself
		headers string
		queue   string // what the next Emacs has in the end
		to      string // whom the server has taken messages for
	}{
		{"claimed", smtpd.Script{}, nil, "(advice-add 'submission-mew--transmit :before " + suicide + ")", "", "#1", "bob@example.org"},
		{"half claimed", smtpd.Script{}, nil, "(advice-add 'mew-find-file-noselect :before " + ofWork + ")", "", "#1", "bob@example.org"},
		{"before the greeting", quiet("GREETING", 1), func(s []smtpd.Session) bool { return len(s) > 0 }, "", "", "#1", "bob@example.org"},
		{"after RCPT", quiet("RCPT", 1), said("RCPT"), "", "", "#1", "bob@example.org"},
		{"after DATA", quiet("DATA", 1), said("DATA"), "", "", "#1", "bob@example.org"},
		{"after the final dot", quiet("DOT", 1), took, "", "", "1", ""},
		{"before it is filed", smtpd.Script{}, nil, "(advice-add 'mew-smtp-command-done :before " + suicide + ")",
			`(("Fcc:" . "+archive"))`, "#1", "bob@example.org"},
		{"before Fcc", smtpd.Script{}, nil, "(advice-add 'mew-net-fcc-message :before " + suicide + ")",
			`(("Fcc:" . "+archive"))`, "#1", "bob@example.org"},
		{"after Fcc", smtpd.Script{}, nil, "(advice-add 'mew-net-fcc-message :after " + suicide + ")",
			`(("Fcc:" . "+archive"))`, "#1", "bob@example.org"},
		{"between Fcc and Bcc", smtpd.Script{}, nil, "(advice-add 'mew-smtp-bcc :before " + suicide + ")",
			`(("Fcc:" . "+archive") ("Bcc:" . "eve@example.org"))`, "#1", "bob@example.org eve@example.org"},
		{"before it is back", smtpd.Script{Behaviour: rules(smtpd.Rule{On: "MAIL", Times: 1, Reply: smtpd.Lines{"451 later"}})}, nil,
			"(advice-add 'submission-mew--failed :before " + suicide + ")", "", "#1", "bob@example.org"},
		{"half back", smtpd.Script{Behaviour: rules(smtpd.Rule{On: "MAIL", Times: 1, Reply: smtpd.Lines{"451 later"}})}, nil,
			"(advice-add 'mew-queue-enqueue :after " + ofWork + ")", "", "#1", "bob@example.org"},
		{"half back, uncertain", smtpd.Script{Behaviour: rules(smtpd.Rule{On: "DOT", Times: 1, Instead: smtpd.CloseConn})}, nil,
			"(advice-add 'mew-queue-enqueue :after " + ofWork + ")", "", "1", ""},
		{"before it is marked", smtpd.Script{Behaviour: rules(smtpd.Rule{On: "DOT", Times: 1, Instead: smtpd.CloseConn})}, nil,
			"(advice-add 'submission-mew-queue-tidy :before " + suicide + ")", "", "1", ""},
		{"before the copy for Bcc", smtpd.Script{}, nil, "(advice-add 'mew-smtp-bcc :before " + suicide + ")",
			`(("Bcc:" . "eve@example.org"))`, "#1", "bob@example.org eve@example.org"},
		{"before Bcc", smtpd.Script{}, nil, "(advice-add 'mew-smtp-command-done :before " + suicide + ")",
			`(("Bcc:" . "eve@example.org"))`, "#1", "bob@example.org eve@example.org"},
		{"with the copy for Bcc", quiet("RCPT", 2), func(s []smtpd.Session) bool {
			return len(s) > 0 && len(s[0].Messages) > 0 && said("RCPT TO:<eve")(s)
		}, "", `(("Bcc:" . "eve@example.org"))`, "#1", "bob@example.org eve@example.org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				server := start(t, tt.script)
				account := m.on(server.Port(""))
				headers := tt.headers
				if headers == "" {
					headers = "nil"
				}
				m.killed(account+tt.lisp+fmt.Sprintf(`(mew-story-send "bob@example.org" nil nil '%s)`, headers), func(ended <-chan struct{}) {
					if tt.until != nil {
						if sessions, err := server.Wait(t.Context(), tt.until); err != nil {
							t.Errorf("%v: %+v", err, sessions)
						}
						return
					}
					<-ended
				})
				if err := server.Update(smtpd.Script{}); err != nil {
					t.Fatal(err)
				}
				n := m.tell(account + "(mew-story-flush)(mew-story-flush)(mew-story-note)")
				n.has(tt.queue)
				var to []string
				for _, message := range server.Messages() {
					to = append(to, addresses(message)...)
				}
				if got := strings.Join(to, " "); got != tt.to {
					t.Errorf("sent to %q, want %q", got, tt.to)
				}
				m.log()
				if filed := strings.Count(n.output, "NOTE +archive/"); filed != strings.Count(headers, "Fcc") {
					t.Errorf("filed %d times: %v", filed, n.list)
				}
			})
		})
	}
}

// TestMewLeft ends Emacs as a person does, while a message is being sent.
func TestMewLeft(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "DATA", Instead: smtpd.Silence})})
		m.tell(m.on(server.Port("")) + `
			(setq submission-exit-wait 0)
			(mew-story-draft "bob@example.org" "A story" "Once upon a time.\n")
			(mew-draft-send-message)
			(kill-emacs 0)`)
		if err := server.Update(smtpd.Script{}); err != nil {
			t.Fatal(err)
		}
		n := m.tell(m.on(server.Port("")) + "(mew-story-flush)(mew-story-note)")
		n.has("#1")
		if messages := server.Messages(); len(messages) != 1 {
			t.Errorf("%d messages", len(messages))
		}
		m.log()
	})
}

// killed runs an Emacs that is killed when meanwhile returns, which is given a
// channel that is closed when Emacs is dead.
func (m *mew) killed(lisp string, meanwhile func(ended <-chan struct{})) {
	m.t.Helper()
	var cmd *exec.Cmd
	started, ended := make(chan struct{}), make(chan struct{})
	command := m.command
	m.command = func(name string, args ...string) *exec.Cmd {
		cmd = command(name, args...)
		close(started)
		return cmd
	}
	defer func() { m.command = command }()
	var o outcome
	go func() {
		defer close(ended)
		o = m.emacs(lisp)
	}()
	<-started
	meanwhile(ended)
	cmd.Process.Kill()
	<-ended
	if o.err == nil || o.err.Error() != "signal: killed" {
		m.t.Fatalf("Emacs was not killed: %v; it said:\n%s", o.err, o.output)
	}
}
