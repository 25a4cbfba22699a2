// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"submission/test/smtpd"
)

// TestMewFlush flushes several messages: one connection, one login, in order.
func TestMewFlush(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"ann@example.org": "secret"},
			EHLO: []string{"PIPELINING", "8BITMIME", "AUTH CRAM-MD5 PLAIN LOGIN"},
		}})
		n := m.tell(m.on(server.Port("")) + `
			(setq mew-story-passwords '("secret"))
			(mew-story-make "b1@example.org")
			(mew-story-make "b2@example.org" "Two" "2\n" '(("Bcc:" . "eve@example.org")))
			(mew-story-make "b3@example.org")
			(delete-file (concat (mew-expand-new-msg "+queue" "3") ".mqi"))
			(mew-story-make "b4@example.org")
			(mew-story-flush)
			(mew-story-note)`)
		n.has("#1", "#2", "#4", "3")
		var to []string
		for _, message := range server.Messages() {
			to = append(to, addresses(message)...)
		}
		if got := strings.Join(to, " "); got != "b1@example.org b2@example.org eve@example.org b4@example.org" {
			t.Errorf("sent to %s", got)
		}
		sessions := server.Sessions()
		if len(sessions) != 1 || len(sessions[0].Auth) != 1 {
			t.Errorf("%d connections: %+v", len(sessions), sessions)
		}
		if strings.Count(n.output, "NOTE prompt") != 1 {
			t.Errorf("prompts: %v", n.list)
		}
		if log := m.log(); strings.Count(log, "status=sent") != 4 || strings.Contains(log, "secret") {
			t.Errorf("Mew's log:\n%s", log)
		}
	})
}

// sentTo returns who has got a message, in order of their names.
func sentTo(server *smtpd.Server) string {
	var to []string
	for _, message := range server.Messages() {
		to = append(to, addresses(message)...)
	}
	slices.Sort(to)
	return strings.Join(to, " ")
}

// TestMewLongFlush flushes many messages over one connection, with one login.
func TestMewLongFlush(t *testing.T) {
	const many = 20
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"kazu": "secret"}, EHLO: []string{"AUTH PLAIN"},
			Rules: []smtpd.Rule{{On: "RCPT", Match: "b7@", Reply: smtpd.Lines{"550 5.1.1 no such user"}}},
		}})
		n := m.tell(m.on(server.Port("")) + fmt.Sprintf(`
			(setq mew-smtp-user "kazu" mew-story-passwords '("secret"))
			(dotimes (i %d) (mew-story-make (format "b%%d@example.org" (1+ i))))
			(mew-story-flush)
			(mew-story-note)`, many))
		var want []string
		for i := 1; i <= many; i++ {
			if i != 7 {
				want = append(want, fmt.Sprintf("b%d@example.org", i))
			}
		}
		slices.Sort(want)
		if got := sentTo(server); got != strings.Join(want, " ") {
			t.Errorf("sent to %s", got)
		}
		if s := server.Sessions(); len(s) != 1 || len(s[0].Auth) != 1 {
			t.Errorf("%d connections: %+v", len(s), s)
		}
		if strings.Count(n.output, "NOTE prompt") != 1 || !slices.Contains(n.list, "+queue/7") || !slices.Contains(n.list, "locked nil nil") {
			t.Errorf("%q", n.list)
		}
		m.log()
	})
}

// TestMewTwoEmacsen has two of them flush one queue at once, of which a third
// that was killed has a message: each goes once, and none is left.
func TestMewTwoEmacsen(t *testing.T) {
	const many = 30
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{})
		var want []string
		for i := range many {
			want = append(want, fmt.Sprintf("b%d@example.org", i))
		}
		slices.Sort(want)
		m.tell(fmt.Sprintf(`(dotimes (i %d) (mew-story-make (format "b%%d@example.org" i)))`, many))
		m.killed(m.on(server.Port(""))+`
			(advice-add 'submission-mew--transmit :before (lambda (&rest _) (signal-process (emacs-pid) 9) (sleep-for 60)))
			(mew-story-flush)`, func(ended <-chan struct{}) { <-ended })
		var both sync.WaitGroup
		for i := range 2 {
			other := &mew{home: newHome(t)}
			other.command = m.command
			other.env = append(slices.Clone(m.env), "STORY_MAIL="+m.dir)
			both.Go(func() {
				o := other.emacs(m.on(server.Port("")) + fmt.Sprintf(`
					(write-region "" nil (expand-file-name "ready-%d" mew-story-home))
					(let ((end (+ (float-time) 60)))
					  (while (not (file-exists-p (expand-file-name "ready-%d" mew-story-home)))
					    (when (> (float-time) end) (error "The other Emacs doesn't come"))
					    (accept-process-output nil 0.001)))
					(mew-story-flush)`, i, 1-i))
				if o.err != nil {
					t.Errorf("%v; Emacs said:\n%s", o.err, o.output)
				}
			})
		}
		both.Wait()
		n := m.tell("(mew-story-note)")
		if got := sentTo(server); got != strings.Join(want, " ") {
			t.Errorf("sent to %s", got)
		}
		for _, note := range n.list {
			if strings.HasPrefix(note, "+queue/") && !strings.HasPrefix(note, "+queue/#") {
				t.Errorf("left: %s", note)
			}
		}
		m.log() // where Emacsen that write at once may lose a line of each other's
		if len(server.Sessions()) != 2 {
			t.Errorf("%d connections", len(server.Sessions()))
		}
	})
}

// TestMewTwoCases sends with two cases at once, to one server with a user each:
// no message goes in the name of the other. A case sends one after the other.
func TestMewTwoCases(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{
			RequireAuth: true, Users: map[string]string{"kazu": "secret", "ann": "other"}, EHLO: []string{"AUTH CRAM-MD5"},
		}})
		n := m.tell(m.on(server.Port("")) + `
			(setq mew-smtp-user "kazu"
			      mew-config-alist '(("second" ("smtp-user" "ann"))))
			(mew-config-setup)
			(advice-add 'mew-read-passwd :override
			            (lambda (prompt) (if (string-match-p "kazu" prompt) "secret" "other")))
			(dolist (round '("1" "2"))
			  (mew-story-case "default" (concat "kazu" round "@example.org"))
			  (mew-story-case "second" (concat "ann" round "@example.org"))
			  (mew-story-case "default" "never@example.org")
			  (set-buffer-modified-p nil)
			  (kill-buffer)
			  (mew-story-wait))
			(mew-story-note)`)
		n.said("Another message is being sent. Try later")
		if got := sentTo(server); got != "ann1@example.org ann2@example.org kazu1@example.org kazu2@example.org" {
			t.Errorf("sent to %s", got)
		}
		for _, message := range server.Messages() {
			if to := message.To[0].Address; !strings.HasPrefix(to, message.User) {
				t.Errorf("%s sent to %s", message.User, to)
			}
		}
		m.log()
	})
}

// TestMewSuffix has messages called N.mew. While one is being sent, Mew forgets
// that for the next.
func TestMewSuffix(t *testing.T) {
	eachMew(t, func(t *testing.T, m *mew) {
		first := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "DOT", Times: 1, Instead: smtpd.CloseConn})})
		second := start(t, smtpd.Script{})
		g := newGate(t, first.Addr(""))
		settings := fmt.Sprintf(`
			(setq mew-use-suffix t mew-smtp-port %d
			      mew-config-alist '(("second" ("smtp-port" %d))))
			(mew-config-setup)`, g.port, second.Port(""))
		g.open()
		n := m.tell(settings + `
			(mew-story-draft "bob@example.org" "A story" "B\n" '(("Bcc:" . "eve@example.org") ("Fcc:" . "+archive")))
			(mew-draft-send-message)
			(mew-story-case "second" "carol@example.org")
			(mew-story-wait)
			(mew-story-note)`)
		n.has("#2.mew", "1.mew")
		n.said("may have arrived")
		n = m.tell(settings + `
			(mew-story-flush)
			(submission-mew-release "+queue" "1")
			(mew-story-flush)
			(mew-story-note)`)
		n.has("#1.mew", "#2.mew")
		if got := sentTo(second) + ", " + sentTo(first); got != "carol@example.org, bob@example.org eve@example.org" {
			t.Errorf("sent to %s", got)
		}
		if !slices.Contains(n.list, "+archive/1.mew") {
			t.Errorf("not filed: %q", n.list)
		}
		m.log()
	})
}
