// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// TestMewFailures has messages go back to the queue, with the reason, and go
// out with the next flush.
func TestMewFailures(t *testing.T) {
	for _, tt := range []struct {
		name   string
		server smtpd.Behaviour
		send   string // "" sends one to bob and nope
		queue  string // what is in it afterwards
		said   string // by Emacs, and in Mew's log
		then   string // who got it after the next flush, from a server that is well
	}{
		{"all refused", rules(on("RCPT", "550 5.1.1 no such 100% user")), "", "1", "550 5.1.1 no such 100% user", "bob@example.org nope@example.org"},
		{"one refused", rules(smtpd.Rule{On: "RCPT", Match: "nope@", Reply: smtpd.Lines{"550 5.1.1 no such user"}}),
			"", "#1", "BUT refused: nope@example.org (550 5.1.1 no such user)", "bob@example.org"},
		{"one later", rules(smtpd.Rule{On: "RCPT", Match: "nope@", Reply: smtpd.Lines{"451 4.7.1 greylisted"}}),
			"", "1", "still to be sent to nope@example.org", "bob@example.org nope@example.org"},
		{"refused", rules(on("DOT", "554 5.6.0 spam")), "", "1", "554 5.6.0 spam", "bob@example.org nope@example.org"},
		{"lost", rules(smtpd.Rule{On: "DATA", Instead: smtpd.CloseConn}), "", "1", "Not sent", "bob@example.org nope@example.org"},
		{"the first of two", rules(smtpd.Rule{On: "MAIL", Times: 1, Reply: smtpd.Lines{"550 5.7.1 not you"}}),
			`(mew-story-make "bob@example.org")(mew-story-make "carol@example.org")(mew-story-flush)`,
			"#2 1", "550 5.7.1 not you", "carol@example.org bob@example.org"},
		{"8 bits", smtpd.Behaviour{EHLO: []string{"PIPELINING"}},
			`(let ((mew-charset-m17n "utf-8") (mew-use-8bit t)) (mew-story-make "bob@example.org" "Bytes" "b\n"))
			(write-region "X: \303\244\n" nil (mew-expand-new-msg "+queue" "1") t)(mew-story-flush)`,
			"1", "Not sent", "bob@example.org"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				server := start(t, smtpd.Script{Behaviour: tt.server})
				send := tt.send
				if send == "" {
					send = `(mew-story-send "bob@example.org, nope@example.org")`
				}
				n := m.tell(m.on(server.Port("")) + send + "(mew-story-note)")
				n.has(strings.Fields(tt.queue)...)
				n.said(tt.said)
				logged := tt.said
				if tt.name == "one refused" {
					logged = "recipients=nope@example.org status=(550 5.1.1 no such user)"
				}
				if log := m.log(); !strings.Contains(log, logged) {
					t.Errorf("Mew's log:\n%s", log)
				}
				if err := server.Update(smtpd.Script{}); err != nil {
					t.Fatal(err)
				}
				m.tell(m.on(server.Port("")) + "(mew-story-flush)(mew-story-note)")
				var to []string
				for _, message := range server.Messages() {
					to = append(to, addresses(message)...)
				}
				if got := strings.Join(to, " "); got != tt.then {
					t.Errorf("sent to %s, want %s", got, tt.then)
				}
			})
		})
	}
}

// TestMewUncertain: what may have arrived is in the queue, and a flush leaves
// it there until a person has said so.
func TestMewUncertain(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "DOT", Times: 1, Instead: smtpd.CloseConn})})
		n := m.tell(m.on(server.Port("")) + `
			(mew-story-send "bob@example.org")
			(mew-story-note)
			(mew-story-flush)`)
		n.has("1")
		n.said("may have arrived", "submission-mew-release")
		n = m.tell(m.on(server.Port("")) + `
			(mew-story-make "carol@example.org")
			(mew-story-flush)
			(mew-story-note)`)
		n.has("#2", "1")
		n.said("1 of +queue may have arrived")
		if got := server.Messages(); len(got) != 1 || got[0].To[0].Address != "carol@example.org" {
			t.Errorf("sent %+v", got)
		}
		n = m.tell(m.on(server.Port("")) + `
			(submission-mew-release "+queue" "1")
			(mew-story-flush)
			(mew-story-note)`)
		n.has("#1", "#2")
		if log := m.log(); len(server.Messages()) != 2 || !strings.Contains(log, "may have arrived") {
			t.Errorf("%d messages; Mew's log:\n%s", len(server.Messages()), log)
		}
	})
}

// TestMewOtherTrouble: a killed process, an Fcc that fails, cases, a mode that
// is off.
func TestMewOtherTrouble(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		first := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "RCPT", Times: 1, Instead: smtpd.Silence})})
		second := start(t, smtpd.Script{})
		n := m.tell(m.on(first.Port("")) + fmt.Sprintf(`
			(setq mew-config-alist '(("other" ("smtp-port" %d) ("mail-domain" "example.net"))))
			(mew-config-setup)
			(mew-story-draft "bob@example.org" "Killed" "K\n")
			(mew-draft-send-message)
			(let ((end (+ (float-time) 60)))
			  (while (and (< (float-time) end)
			              (not (with-current-buffer "*submission log*"
			                     (save-excursion (goto-char (point-min)) (search-forward "220" nil t)))))
			    (accept-process-output nil 0.02)))
			(mew-smtp-flush-queue mew-case-default)
			(mew-summary-kill-subprocess t)
			(mew-story-wait)
			(mew-story-note)
			(princ "NEXT\n")
			(mew-story-flush)
			(advice-add 'mew-net-fcc-message :before (lambda (_case fcc &rest _) (when fcc (error "No space"))))
			(mew-story-draft "carol@example.org" "No place" "N\n" '(("Fcc:" . "+archive")))
			(mew-draft-send-message)
			(mew-story-wait)
			(mew-story-draft "dave@example.org" "Another case" "A\n")
			(mew-tinfo-set-case "other")
			(mew-draft-send-message)
			(mew-story-wait)
			(submission-mew-mode -1)
			(mew-story-send "eve@example.org")
			(mew-story-note)
			(princ (format "NOTE advised %%s\n" (advice--p (symbol-function 'mew-smtp-command-quit))))`, second.Port("")))
		before, _, _ := strings.Cut(n.output, "NEXT")
		if !strings.Contains(before, "NOTE +queue/1\n") || !strings.Contains(before, "NOTE locked nil nil") {
			t.Errorf("after the kill:\n%s", before)
		}
		n.said("+queue is locked", "the copy could not be filed", "NOTE advised nil")
		n.has("1", "#1")
		if got := first.Messages(); len(got) != 3 {
			t.Errorf("%d messages at the first server", len(got))
		}
		if got := second.Messages(); len(got) != 1 || got[0].To[0].Address != "dave@example.org" {
			t.Errorf("at the second server: %+v", got)
		}
	})
}

// TestMewErrors: whatever fails in Mew or here, nothing stays locked, and the
// message is sent once, by the next Emacs if need be.
func TestMewErrors(t *testing.T) {
	const fail = `(lambda (&rest _) (error "No space on device"))`
	const ofWork = `(lambda (file &rest _) (when (string-suffix-p ".wrk" file) (error "No space on device")))`
	for _, tt := range []struct{ name, lisp string }{
		{"claiming", "(advice-add 'mew-queue-insert-file :before " + fail + ")"},
		{"half claimed", "(advice-add 'mew-find-file-noselect :before " + ofWork + ")"},
		{"noting", "(advice-add 'submission-mew-recover-note :before " + fail + ")"},
		{"handing over", "(advice-add 'submission-job-lend :before " + fail + ")"},
		{"refused, and putting back", "(setq mew-smtp-mail-from \"nobody@example.org\") (advice-add 'mew-queue-enqueue :before " + ofWork + ")"},
		{"making #N", "(advice-add 'mew-queue-backup :before " + fail + ")"},
		{"logging", "(advice-add 'mew-smtp-log :before " + fail + ")"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachMew(t, func(t *testing.T, m *mew) {
				server := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "MAIL", Match: "nobody@", Reply: smtpd.Lines{"451 4.3.0 later"}})})
				n := m.tell(m.on(server.Port("")) + `
					(mew-story-make "bob@example.org" nil nil '(("Fcc:" . "+archive")))
					` + tt.lisp + `
					(mew-story-flush)
					(mew-story-note)`)
				n.said("No space on device", "NOTE locked nil nil")
				n = m.tell(m.on(server.Port("")) + "(mew-story-flush)(mew-story-note)")
				n.has("#1")
				if sentTo(server) != "bob@example.org" || strings.Count(n.output, "NOTE +archive/") != 1 {
					t.Errorf("sent to %s; %q", sentTo(server), n.list)
				}
				m.log()
			})
		})
	}
}
