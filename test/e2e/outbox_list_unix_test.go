// SPDX-License-Identifier: GPL-3.0-or-later

//go:build unix

package e2e

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"submission/test/smtpd"
)

// gone waits until a text is not on the screen.
func (x *terminal) gone(text string) {
	x.t.Helper()
	limit := time.After(time.Minute)
	for strings.Contains(x.screen(), text) {
		select {
		case <-x.changed:
		case <-limit:
			x.t.Fatalf("%q stays on the screen", text)
		}
	}
}

// line returns the line of the screen with a text.
func (x *terminal) line(text string) string {
	for _, line := range strings.Split(x.screen(), "\n") {
		if strings.Contains(line, text) {
			return line
		}
	}
	return ""
}

// ends types what ends Emacs and waits until it has ended. What Emacs writes in
// its last moment would be in the way when its home is removed.
func (x *terminal) ends(leave func()) {
	x.t.Helper()
	x.tmux("set-option", "-g", "remain-on-exit", "on")
	pid := strings.TrimSpace(x.tmux("display-message", "-p", "#{pane_pid}"))
	leave()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	limit := time.After(time.Minute)
	// tmux may be slow to notice, so that a zombie is left for a while.
	for state := "?"; state != "" && state[0] != 'Z'; {
		select {
		case <-look.C:
			out, _ := exec.Command("ps", "-o", "stat=", "-p", pid).Output() // it fails if there is none
			state = strings.TrimSpace(string(out))
		case <-limit:
			x.t.Fatal("Emacs doesn't end")
		}
	}
}

// command types M-x and a command.
func (x *terminal) command(name string) {
	x.t.Helper()
	x.keys("M-x")
	x.text(name)
	x.keys("Enter")
}

// TestList drives the list of what waits, and its keys, in a terminal.
func TestList(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{Listen: []smtpd.Listen{
		{Name: "closed", Closed: true},
		{Name: "open", Behaviour: behaves(smtpd.Rule{On: "RCPT", Match: "refused@", Reply: smtpd.Lines{"550 5.1.1 no such user"}})},
	}})
	g := newGate(t, server.Addr("open"))
	x := h.interactive(h.account(server, false, server.Port("closed")) + fmt.Sprintf(`
		(defun queue (to subject port)
		  (setq submission-sequence (list (cons 'ipv4 port)))
		  (story-compose to subject "Once upon a time.\n")
		  (call-interactively #'message-send-and-exit))
		(defun queue-three ()
		  (interactive)
		  (queue "one@example.org" "Grüße" %d)
		  (story-wait)
		  (queue "refused@example.org" "Second" %d)
		  (story-wait)
		  (queue "slow@example.org" "Third" %d)
		  (setq submission-sequence '((ipv4 . %[2]d))))`, server.Port("closed"), server.Port("open"), g.port))
	// Those of one second have no order.
	find := func(subject string) {
		t.Helper()
		x.keys("M-<", "C-s")
		x.text(subject)
		x.keys("Enter")
	}
	x.command("queue-three")
	<-g.arrived
	x.keys("C-x", "1")
	x.command("submission-outbox")
	x.see("Third")
	x.see("sending")
	x.see("Mail:3!")
	for subject, words := range map[string][]string{
		"Grüße":  {"deferred", "ann@example.org", "one@example.org", "127.0.0.1", "reset"},
		"Second": {"refused", "550 5.1.1"},
		"Third":  {"sending", "slow@example.org"},
	} {
		for _, word := range words {
			if line := x.line(subject); !strings.Contains(line, word) {
				t.Errorf("%q is not in the line %q", word, line)
			}
		}
	}

	find("Grüße")
	x.keys("Enter")
	x.see("[Send now]")
	x.keys("C-x", "1")
	x.see("What happened")
	x.see("reset (case 2)")
	x.keys("q")
	x.gone("What happened")

	// What is being sent can be cancelled at once.
	find("Third")
	x.keys("k")
	x.gone("Third")
	x.see("Mail:2!")

	// Hold and release; a release is a try.
	find("Grüße")
	x.keys("h")
	x.see("held  ")
	x.keys("h")
	x.see("deferred")

	// Marks outlast what changes.
	x.keys("m")
	x.see("* deferred")
	x.keys("g")
	x.see("* deferred")
	x.keys("U")
	x.gone("* deferred")
	find("Grüße")
	x.keys("i")
	x.see("only of a message whose fate is uncertain")
	x.keys("?")
	x.see("the whole story")
	x.keys("g")
	x.gone("the whole story")

	// Edit, and send it to the right address.
	find("Second")
	x.keys("e")
	x.see("To: refused@example.org")
	x.keys("M-<")
	x.command("replace-string")
	x.text("refused@")
	x.keys("Enter")
	x.text("bob@")
	x.keys("Enter")
	x.see("To: bob@example.org")
	x.keys("C-c", "C-c")
	x.see("Sent to 1 recipient")
	x.command("submission-outbox")
	x.gone("Second")
	x.see("Mail:1")
	x.see("Outbox")

	// Another account, whose server takes it.
	find("Grüße")
	x.keys("a")
	x.see("Server: 127.0.0.1")
	x.keys("Enter")
	x.see("Port (empty")
	x.keys("Enter")
	x.see("User name")
	x.keys("Enter")
	x.see("Security")
	x.keys("Enter")
	x.see("Send it now?")
	x.text("y")
	x.gone("Grüße")
	x.gone("Mail:")
	x.ends(func() { x.keys("C-x", "C-c") })
	if got := byRecipient(server); len(got) != 2 || got["bob@example.org"].Data == nil || got["one@example.org"].Data == nil {
		t.Errorf("the server took %d messages", len(got))
	}
}

// TestUndoInTime takes a message back within the delay, and lets another go.
func TestUndoInTime(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	x := h.interactive(h.account(server, false, server.Port("")) + "(setq submission-delay 500)")
	x.compose("A hasty one")
	x.keys("C-c", "C-c")
	x.see("M-x submission-undo brings it back")
	x.see("Mail:1")
	x.command("submission-undo")
	x.see("Subject: A hasty one")
	x.see("Once upon a time.")
	x.keys("M-:")
	x.text("(setq submission-delay 1)")
	x.keys("Enter")
	x.keys("C-c", "C-c")
	x.see("Sending in 1 s")
	x.see("Sent to 1 recipient")
	x.gone("Mail:1")
	x.ends(func() { x.keys("C-x", "C-c") })
	if n := len(server.Messages()); n != 1 {
		t.Errorf("the server took %d messages", n)
	}
}

// TestLeavingIsAsked ends Emacs while a message is being sent.
func TestLeavingIsAsked(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	g := newGate(t, server.Addr(""))
	x := h.interactive(h.account(server, false, g.port))
	x.compose("A story")
	x.keys("C-c", "C-c")
	<-g.arrived
	x.keys("C-x", "C-c")
	x.see("A message is being sent")
	x.text("b")
	x.gone("A message is being sent")
	x.other("work")
	x.keys("C-x", "C-c")
	x.see("A message is being sent")
	x.text("w")
	x.see("Waiting for the mail")
	x.keys("C-g")
	x.see("Quit")
	x.other("more")
	x.ends(func() {
		x.keys("C-x", "C-c")
		x.see("A message is being sent")
		x.text("w")
		x.see("Waiting for the mail")
		g.open()
	})
	if n := len(server.Messages()); n != 1 || len(h.outbox()) != 0 {
		t.Errorf("the server took %d messages, and the outbox has %q", n, h.outbox())
	}
}
