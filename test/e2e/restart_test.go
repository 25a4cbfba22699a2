// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"testing"
	"time"

	"submission/test/smtpd"
)

// leaving is Lisp that sends a message with C-c C-c and doesn't wait for it.
const leaving = `(story-compose "bob@example.org" "A story" "Once upon a time.\n")
	(call-interactively #'message-send-and-exit)`

// took says whether a server has all of a message, answered or not.
func took(sessions []smtpd.Session) bool {
	for _, s := range sessions {
		for _, m := range s.Messages {
			if m.Complete {
				return true
			}
		}
	}
	return false
}

// said says whether a server has heard a line that begins so.
func said(start string) func([]smtpd.Session) bool {
	return func(sessions []smtpd.Session) bool {
		for _, s := range sessions {
			for _, l := range s.Lines {
				if l.Client && strings.HasPrefix(l.Text, start) {
					return true
				}
			}
		}
		return false
	}
}

// TestEmacsEnds has an Emacs end or die at each point of a message's way, and
// sees what the next one makes of it.
func TestEmacsEnds(t *testing.T) {
	t.Parallel()
	silent := func(on string) smtpd.Script {
		return smtpd.Script{Behaviour: rules(smtpd.Rule{On: on, Instead: smtpd.Silence})}
	}
	connected := func(s []smtpd.Session) bool { return len(s) > 0 }
	for _, tt := range []struct {
		name   string
		script smtpd.Script
		until  func([]smtpd.Session) bool // the server sees that it is time
		kill   bool                       // -9; else Emacs leaves at once
		after  string                     // the status after sending all
		sent   string                     // what sending all took: "1" or "0"
	}{
		{"it leaves at once", silent("GREETING"), nil, false, "gone", "1"},
		{"killed before the greeting", silent("GREETING"), connected, true, "gone", "1"},
		{"killed after EHLO", silent("EHLO"), said("EHLO"), true, "gone", "1"},
		{"killed in the handshake", silent("TLS"), said("STARTTLS"), true, "gone", "1"},
		{"killed after RCPT", silent("RCPT"), said("RCPT"), true, "gone", "1"},
		{"killed after DATA", silent("DATA"), said("DATA"), true, "gone", "1"},
		{"killed within the message", smtpd.Script{Behaviour: rules(smtpd.Rule{On: "BODY", After: 1 << 20, Instead: smtpd.Stall})},
			said("DATA"), true, "gone", "1"},
		{"killed after the final dot", silent("DOT"), took, true, "uncertain", "0"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			server := start(t, tt.script)
			account := h.account(server, false, server.Port(""))
			lisp := account
			if strings.Contains(tt.name, "within") {
				// More than a connection's buffers hold.
				lisp += `(setq message-send-mail-partially-limit nil)
					(story-compose "bob@example.org" "A story" (apply #'concat (make-list 400000 "Once upon a time, and more than once.\n")))
					(call-interactively #'message-send-and-exit)`
			} else {
				lisp += leaving
			}
			if tt.kill {
				h.killed(lisp+"\n(submission-wait)", func() {
					limit, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					if sessions, err := server.Wait(limit, tt.until); err != nil {
						t.Errorf("%v: %+v", err, sessions)
					}
				})
			} else if o := h.emacs(lisp); o.err != nil {
				t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
			}
			if files := h.outbox(); len(files) != 2 {
				t.Fatalf("the outbox holds %v", files)
			}

			if err := server.Update(smtpd.Script{}); err != nil {
				t.Fatal(err)
			}
			notes := h.probe(account + `
				(probe-note "found" :values (vconcat (mapcar (lambda (r) (plist-get r :message-id)) (submission-messages))))
				(probe-note "sent" :values (vector (number-to-string (length (submission-outbox-send-all)))))
				(story-wait)
				(probe-note "after" :values (vconcat (or (mapcar (lambda (r) (symbol-name (plist-get r :status))) (submission-messages)) '("gone"))))
				(probe-note "second" :values (vector (number-to-string (length (submission-outbox-send-all)))))
				(story-wait)`)
			if got := named(notes, "found"); len(got) != 1 || len(got[0].Values) != 1 {
				t.Errorf("a new Emacs finds %+v", got)
			}
			if got := value(t, notes, "sent"); got != tt.sent {
				t.Errorf("sending all took %s, want %s", got, tt.sent)
			}
			if got := value(t, notes, "after"); got != tt.after {
				t.Errorf("the message is %s, want %s", got, tt.after)
			}
			if got := value(t, notes, "second"); got != "0" {
				t.Errorf("sending all took %s a second time", got)
			}
			want := map[string]int{"gone": 1, "uncertain": 0}[tt.after]
			if got := len(server.Messages()); got != want {
				t.Errorf("the server took %d messages, want %d", got, want)
			}
		})
	}
}

// TestTwoEmacsen sees that what one Emacs is busy with is left to it by
// another.
func TestTwoEmacsen(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	g := newGate(t, server.Addr(""))
	account := h.account(server, false, g.port)
	other := &home{t: t, dir: t.TempDir(), command: exec.Command}
	o := h.background(account+leaving+"\n(story-wait)", func() {
		<-g.arrived
		notes := other.probe(fmt.Sprintf("(setq submission-directory %q)", h.path("outbox/")) + `
			(probe-note "found" :values (vconcat (mapcar (lambda (r) (symbol-name (plist-get r :status))) (submission-messages))))
			(probe-note "sent" :values (vector (number-to-string (length (submission-outbox-send-all)))))
			(story-wait)`)
		if got := value(t, notes, "found") + " " + value(t, notes, "sent"); got != "sending 0" {
			t.Errorf("another Emacs finds and takes: %s", got)
		}
		g.open()
	})
	if o.err != nil || len(o.receipts) != 1 || o.receipts[0].Status != "accepted" || len(server.Messages()) != 1 {
		t.Errorf("%v, receipts %+v, %d messages; Emacs said:\n%s", o.err, o.receipts, len(server.Messages()), o.output)
	}
}

// background runs an Emacs as emacs does, and meanwhile in meanwhile.
func (h *home) background(lisp string, meanwhile func()) outcome {
	done := make(chan outcome, 1)
	go func() { done <- h.emacs(lisp) }()
	meanwhile()
	return <-done
}

// killed starts an Emacs and kills it with SIGKILL when meanwhile returns.
func (h *home) killed(lisp string, meanwhile func()) {
	h.t.Helper()
	var cmd *exec.Cmd
	started := make(chan struct{})
	command := h.command
	h.command = func(name string, args ...string) *exec.Cmd {
		cmd = command(name, args...)
		close(started)
		return cmd
	}
	o := h.background(lisp, func() {
		<-started
		meanwhile()
		cmd.Process.Kill()
	})
	h.command = command
	if o.err == nil || o.err.Error() != "signal: killed" {
		h.t.Fatalf("Emacs was not killed: %v; it said:\n%s", o.err, o.output)
	}
}
