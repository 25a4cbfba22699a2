// SPDX-License-Identifier: GPL-3.0-or-later

//go:build unix

package e2e

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"submission/test/smtpd"
)

// TestTypingGoesOn sends a message from message-mode to a server that doesn't
// say a word, and works on in Emacs meanwhile.
func TestTypingGoesOn(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	g := newGate(t, server.Addr(""))
	x := h.interactive(h.account(server, false, g.port))
	x.compose("A story")
	x.keys("C-c", "C-c")
	x.see("Sending to 127.0.0.1")
	x.other("work")
	<-g.arrived
	x.text("This is typed while the message is on its way.")
	x.see("This is typed while the message is on its way.")
	if len(server.Sessions()) > 0 {
		t.Error("the server was not silent")
	}
	g.open()
	x.see("Sent to 1 recipient by 127.0.0.1:" + strconv.Itoa(g.port))
	if messages := server.Messages(); len(messages) != 1 || !strings.Contains(string(messages[0].Data), "Once upon a time.") {
		t.Errorf("the server took %+v", messages)
	}
}

// TestPasswordPrompt is asked for a password: not before it is quiet, again
// after a wrong one, and not at all after C-g.
func TestPasswordPrompt(t *testing.T) {
	t.Parallel()
	const wrong, right = "wr0ng-passw0rd", "r1ght-passw0rd"
	h := newHome(t)
	server := start(t, smtpd.Script{Behaviour: smtpd.Behaviour{RequireAuth: true, Users: map[string]string{"kazu": right}}})
	g := newGate(t, server.Addr(""))
	x := h.interactive(h.account(server, false, g.port) + dumping + `
		;; How long nothing was typed when a question came that nobody has asked
		;; for. Emacs doesn't count after a question from a timer.
		(defvar last-answer 0)
		(add-hook 'minibuffer-exit-hook (lambda () (setq last-answer (float-time))))
		(add-hook 'minibuffer-setup-hook
		          (lambda ()
		            (when (string-match-p "SMTP user" (minibuffer-prompt))
		              (write-region (format "%s\n" (float-time (or (current-idle-time) (- (float-time) last-answer))))
		                            nil (expand-file-name "idle" (getenv "HOME")) t 'quiet))))`)

	x.compose("First")
	x.keys("C-c", "C-c")
	x.see("Sending to")
	x.other("work")
	g.open()
	limit, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if _, err := server.Wait(limit, said("MAIL")); err != nil {
		t.Fatal(err)
	}
	// The server wants a password by now. What is typed goes where it was going.
	typed := ""
	for range 20 {
		x.text("x")
		typed += "x"
		if x.see(typed, "SMTP user") == "SMTP user" {
			break
		}
	}
	x.see("SMTP user")
	if screen := x.screen(); !strings.Contains(screen, typed) {
		t.Errorf("keys went elsewhere: %d were typed, and the screen is\n%s", len(typed), screen)
	}
	x.keys("C-g")
	x.see("Held in the outbox")

	x.keys("C-x", "1")
	x.compose("Second")
	x.keys("C-c", "C-c")
	x.see("SMTP user")
	x.text("kazu")
	x.keys("Enter")
	x.see("SMTP password")
	x.text(wrong)
	x.keys("Enter")
	x.see("refused the password.  SMTP user name")
	x.keys("Enter")
	x.see("SMTP password for kazu")
	x.text(right)
	x.keys("Enter")
	x.see("Sent to 1 recipient by")
	if x.see("Save auth info", "*unsent mail*", "work") == "Save auth info" {
		x.text("n")
	}

	messages := server.Messages()
	if len(messages) != 1 || messages[0].User != "kazu" || !strings.Contains(string(messages[0].Data), "Subject: Second") {
		t.Errorf("the server took %+v", messages)
	}
	idle, err := os.ReadFile(h.path("idle"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Fields(string(idle)) {
		if seconds, err := strconv.ParseFloat(line, 64); err != nil || seconds < 1 {
			t.Errorf("a question came after %s seconds without a key", line)
		}
	}
	x.keys("F12")
	x.see("All is written down")
	if receipts, err := os.ReadFile(h.path("receipts")); err != nil || !strings.Contains(string(receipts), `"status":"held","reason":"auth"`) {
		t.Errorf("after C-g the receipts are %s (%v)", receipts, err)
	}
	h.checkSecrets(t, wrong, right)
}
