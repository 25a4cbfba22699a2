// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// waiting has an Emacs put messages into the outbox that a server which is down
// defers, and returns their ids, in the order of their recipients r0, r1, ….
func (h *home) waiting(server *smtpd.Server, account string, count int) []string {
	h.t.Helper()
	if err := server.Update(smtpd.Script{Listen: []smtpd.Listen{{Closed: true}}}); err != nil {
		h.t.Fatal(err)
	}
	notes := h.probe(account + fmt.Sprintf(`
		(let ((ids nil))
		  (dotimes (n %d)
		    (story-compose (format "r%%d@example.org" n) "A story" "Once upon a time.\n")
		    (call-interactively #'message-send-and-exit)
		    (submission-wait 60)
		    (let ((new (cl-set-difference (mapcar (lambda (r) (plist-get r :id)) (submission-messages)) ids :test #'equal)))
		      (setq ids (append ids new))))
		  (probe-note "ids" :values (vconcat ids)))`, count))
	ids := named(notes, "ids")[0].Values
	if len(ids) != count {
		h.t.Fatalf("%d messages wait, not %d", len(ids), count)
	}
	if err := server.Update(smtpd.Script{Listen: []smtpd.Listen{{}}}); err != nil {
		h.t.Fatal(err)
	}
	return ids
}

// takingOver is Lisp that tries what waits, and notes what is left then.
const takingOver = `
	(submission-outbox-send-all)
	(story-wait)
	(probe-note "left" :outbox (probe-outbox)
	            :values (vconcat (mapcar (lambda (r) (format "%s %s" (plist-get r :id) (plist-get r :status))) (submission-messages))))`

// TestHarm does something to the files of one of three messages that wait, and
// sees that the others are sent, that it is told by its name, and that nothing
// of it is changed or deleted.
func TestHarm(t *testing.T) {
	t.Parallel()
	replace := func(suffix, old, new string) func(*testing.T, string) {
		return func(t *testing.T, base string) {
			text, err := os.ReadFile(base + suffix)
			if err != nil || !bytes.Contains(text, []byte(old)) {
				t.Fatalf("%v: %s", err, text)
			}
			write(t, base+suffix, strings.Replace(string(text), old, new, 1))
		}
	}
	with := func(suffix, text string) func(*testing.T, string) {
		return func(t *testing.T, base string) { write(t, base+suffix, text) }
	}
	without := func(suffix string) func(*testing.T, string) {
		return func(t *testing.T, base string) {
			if err := os.Remove(base + suffix); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		name  string
		harm  func(t *testing.T, base string)
		told  string // in what Emacs says; "" if the message is sent like the others
		shown bool   // it is among submission-messages
	}{
		{"an empty state", with(".json", ""), "damaged", false},
		{"half a state", func(t *testing.T, base string) {
			info, err := os.Stat(base + ".json")
			if err == nil {
				err = os.Truncate(base+".json", info.Size()/2)
			}
			if err != nil {
				t.Fatal(err)
			}
		}, "damaged", false},
		{"zeros for a state", with(".json", strings.Repeat("\x00", 600)), "damaged", false},
		{"a state that is a list", with(".json", "[]\n"), "damaged", false},
		{"a status that is none", replace(".json", `"deferred"`, `"lost"`), "damaged", false},
		{"the state of another", replace(".json", `"id": "2`, `"id": "3`), "damaged", true},
		{"a newer version", replace(".json", `"version": 1`, `"version": 2`), "newer version", true},
		{"no message", without(".eml"), "message file is missing", true},
		{"no state", without(".json"), "no state file", false},
		{"a try far in the future", replace(".json", `"next-try": "2`, `"next-try": "9`), "", false},
		{"a try long ago", replace(".json", `"next-try": "2`, `"next-try": "0`), "", false},
		{"queued in the future", replace(".json", `"queued": "2`, `"queued": "9`), "", false},
		{"queued long ago", replace(".json", `"queued": "2`, `"queued": "0`), "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			server := start(t, smtpd.Script{})
			account := h.account(server, false, server.Port(""))
			ids := h.waiting(server, account, 3)
			tt.harm(t, filepath.Join(h.path("outbox"), ids[1]))
			before := h.files(ids[1])

			o := h.emacs(`(load (expand-file-name "probe.el"))` + "\n" + account + takingOver)
			notes := named(h.notes(), "left")
			if o.err != nil || len(notes) != 1 {
				t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
			}
			got := byRecipient(server)
			for n, id := range ids {
				to := fmt.Sprintf("r%d@example.org", n)
				if _, sent := got[to]; sent != (n != 1 || tt.told == "") {
					t.Errorf("%s, message %d: sent %t", id, n, sent)
				}
			}
			if len(got) != len(server.Messages()) {
				t.Errorf("%d messages came to %d recipients", len(server.Messages()), len(got))
			}
			left := notes[0]
			shown := strings.Contains(strings.Join(left.Values, "\n"), "deferred")
			t.Logf("submission-messages: %q; files %q", left.Values, left.Outbox)
			if tt.told == "" {
				if len(left.Outbox) > 0 {
					t.Errorf("the outbox holds %q", left.Outbox)
				}
				return
			}
			if shown != tt.shown {
				t.Errorf("submission-messages: %q", left.Values)
			}
			if !says(o.output, ids[1], tt.told) {
				t.Errorf("nothing tells of %s: %q; Emacs said:\n%s", ids[1], tt.told, o.output)
			}
			if after := h.files(ids[1]); !slices.Equal(after, before) {
				t.Errorf("its files are now %q, were %q", after, before)
			}
		})
	}
}

// says reports whether a line of output has both words in it.
func says(output, a, b string) bool {
	for line := range strings.Lines(output) {
		if strings.Contains(line, a) && strings.Contains(line, b) {
			return true
		}
	}
	return false
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// files returns the names and the bytes of the files of a message.
func (h *home) files(id string) []string {
	h.t.Helper()
	names, err := filepath.Glob(filepath.Join(h.path("outbox"), id+".*"))
	if err != nil {
		h.t.Fatal(err)
	}
	var list []string
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			h.t.Fatal(err)
		}
		list = append(list, filepath.Base(name)+"="+string(text))
	}
	return list
}

// TestDiskFillsWhileMessagesWait: with the disk full, messages that wait go all
// the same, as that needs no room. With a disk that is read-only they stay what
// they are; that is told once and not for each; when it can be written again, they
// go. Nothing is sent twice.
func TestDiskFillsWhileMessagesWait(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, harm, mend string
		told             string // nothing: they go
	}{
		{"full", "dd if=/dev/zero of=outbox/fill bs=4k 2>/dev/null", "rm outbox/fill", ""},
		{"read-only", "mount -o remount,ro outbox", "mount -o remount,rw outbox", "read-only"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			server := start(t, smtpd.Script{})
			account := h.account(server, false, server.Port(""))
			const count = 5
			ids := h.waiting(server, account, count)
			// The outbox goes onto a small disk, which lasts as long as this Emacs.
			h.mounting("cd \"$HOME\"\nmkdir disk\nmount -t tmpfs -o size=256k,mode=700 tmpfs disk\ncp -p outbox/* disk/\nmount --move disk outbox\ncd - >/dev/null")
			shell := func(command string) string {
				return fmt.Sprintf("(let ((default-directory (expand-file-name \"~/\"))) (call-process-shell-command %q))\n", command)
			}
			o := h.emacs(`(load (expand-file-name "probe.el"))` + account +
				shell(tt.harm) + `
				(probe-error "first" (submission-outbox-send-all))
				(probe-note "first-done" :values (vector (if (submission-wait 60) "t" "nil")))
				(probe-note "while" :values (vconcat (mapcar (lambda (r) (format "%s %s" (plist-get r :id) (plist-get r :status))) (submission-messages))))
				(probe-error "submit" (story-compose "new@example.org" "A story" "x\n") (message-send))
				` + shell(tt.mend) + `(message "--- mended")` + takingOver)
			notes := h.notes()
			if o.err != nil || len(named(notes, "left")) != 1 {
				t.Fatalf("%v; noted %+v; Emacs said:\n%s", o.err, notes, o.output)
			}
			harmed, _, _ := strings.Cut(o.output, "--- mended")
			still := named(notes, "while")[0].Values
			got := byRecipient(server)
			if len(got) != len(server.Messages()) {
				t.Errorf("%d messages came to %d recipients: %v", len(server.Messages()), len(got), still)
			}
			delete(got, "new@example.org") // there may be room again when those that waited have gone
			if len(got) != count {
				t.Errorf("messages came to %d recipients: %v", len(got), still)
			}
			if tt.told == "" {
				if len(still) > 0 {
					t.Errorf("on a full disk these did not go: %q; Emacs said:\n%s", still, harmed)
				}
				if n := strings.Count(harmed, "Sent to 1 recipient"); n < count {
					t.Errorf("%d were told to be sent; Emacs said:\n%s", n, harmed)
				}
			} else {
				if n := strings.Count(harmed, tt.told); n == 0 || n > 4 {
					t.Errorf("%q is told %d times", tt.told, n)
				}
				for _, id := range ids {
					if !slices.ContainsFunc(still, func(s string) bool { return strings.HasPrefix(s, id) }) {
						t.Errorf("%s is not among the messages: %q", id, still)
					}
				}
				if n := named(notes, "submit")[0]; n.Symbol != "submission-outbox-error" {
					t.Errorf("a new message: %s %s", n.Symbol, n.Text)
				}
			}
			if left := named(notes, "left")[0]; len(left.Values) > 0 {
				t.Errorf("left: %q", left.Values)
			}
		})
	}
}
