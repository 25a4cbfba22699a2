// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// emptying is Lisp that defines a function which lets events run until the
// outbox is empty.
const emptying = `(defun story-empty ()
	(with-timeout (120 (error "Still there: %S" (submission-messages)))
	  (while (submission-messages) (accept-process-output nil 0.05)))
	(story-wait))
`

func statuses(receipts []receipt) string {
	var words []string
	for _, r := range receipts {
		words = append(words, r.Status)
	}
	return strings.Join(words, " ")
}

// TestRetry has a server say no for now: the message goes out when it is due,
// a person is told once, and the log has one line.
func TestRetry(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "MAIL", Reply: smtpd.Lines{"451 4.3.0 later"}, Times: 3})})
	o := h.emacs(h.account(server, false, server.Port("")) + emptying + `
		(setq submission-retry-minutes '(0.05))
		(story-send "bob@example.org")
		(message "Waited: %S" (mapcar (lambda (r) (plist-get r :status)) (submission-messages)))
		(story-empty)`)
	if o.err != nil || statuses(o.receipts) != "deferred deferred deferred accepted" {
		t.Errorf("%v, %s; Emacs said:\n%s", o.err, statuses(o.receipts), o.output)
	}
	if n := strings.Count(o.output, "Not sent yet"); n != 1 {
		t.Errorf("told %d times; Emacs said:\n%s", n, o.output)
	}
	if !strings.Contains(o.output, "Waited: (deferred)") {
		t.Errorf("a deferred message was waited for; Emacs said:\n%s", o.output)
	}
	log, err := os.ReadFile(h.path(".emacs.d/submission/log"))
	fields := strings.Split(strings.TrimSuffix(string(log), "\n"), "\t")
	if err != nil || len(fields) != 9 {
		t.Fatalf("the log: %q, %v", log, err)
	}
	last := o.receipts[3]
	want := []string{"accepted", last.ID, last.MessageID, "127.0.0.1", bob, "127.0.0.1", fmt.Sprint(server.Port("")), last.Reply}
	if got := fields[1:]; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("the log has %q, want %q", got, want)
	}
}

// typed is Lisp that writes a draft with all that is not sent as it stands.
const typed = `(story-compose "Bob Böser <bob@example.org>" "Grüße" "Once upon a time…\n"
		(list (cons "Fcc" (probe-file "sent")) (cons "Bcc" "eve@example.org")))
	(goto-char (point-max))
	(insert "<#part type=\"text/plain\" filename=\"" (probe-file "attached.txt") "\" disposition=attachment>\n<#/part>\n")
	(message-goto-subject)
	(backward-char 2)
`

// TestUndo takes a message back, edits it and sends it, once.
func TestUndo(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	h.write("attached.txt", "What is attached.\n")
	h.write("sent", "") // Fcc asks before it makes one
	server := start(t, smtpd.Script{})
	notes := h.probe(h.account(server, false, server.Port("")) + `
		(setq submission-delay 3600)
		` + typed + `
		(let ((before (list (buffer-string) (point) major-mode mail-header-separator)))
		  (call-interactively #'message-send-and-exit)
		  (probe-note "queued" :values (vector (mapconcat (lambda (r) (symbol-name (plist-get r :status))) (submission-messages) " ")))
		  (accept-process-output nil 0.2)
		  (submission-undo)
		  (let ((after (list (buffer-substring-no-properties (point-min) (point-max)) (point) major-mode mail-header-separator)))
		    (probe-note "before" :values (vector (format "%S" before)))
		    (probe-note "after" :values (vector (format "%S" after)))))
		(probe-note "held" :values (vector (mapconcat (lambda (r) (format "%s %s" (plist-get r :status) (plist-get r :reason))) (submission-messages) " ")))
		(goto-char (point-max))
		(insert "An afterthought.\n")
		(setq submission-delay 0)
		(call-interactively #'message-send-and-exit)
		(story-wait)
		(probe-note "left" :values (vector (format "%S" (submission-messages))) :outbox (probe-outbox))`)
	if got := value(t, notes, "queued"); got != "queued" {
		t.Errorf("within the delay it is %s", got)
	}
	same(t, value(t, notes, "after"), value(t, notes, "before"))
	if got := value(t, notes, "held"); got != "held user" {
		t.Errorf("while it is edited it is %s", got)
	}
	if got := named(notes, "left")[0]; got.Values[0] != "nil" || len(got.Outbox) != 0 {
		t.Errorf("left in the outbox: %s, %q", got.Values[0], got.Outbox)
	}
	if got := statuses(h.receipts()); got != "held cancelled accepted" && got != "held accepted cancelled" {
		t.Errorf("receipts: %s", got)
	}
	messages := server.Messages()
	if len(messages) != 1 {
		t.Fatalf("the server took %d messages", len(messages))
	}
	text := string(messages[0].Data)
	for _, want := range []string{"afterthought", "attached.txt", "Message-ID: <"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the message:\n%s", want, text)
		}
	}
	if got := addresses(messages[0]); strings.Join(got, " ") != "bob@example.org eve@example.org" {
		t.Errorf("recipients: %q", got)
	}
}

// TestSendLater sends at a time: not before, and nobody waits for it.
func TestSendLater(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	notes := h.probe(h.account(server, false, server.Port("")) + `
		(story-compose "far@example.org" "Later" "x\n")
		(submission-send-later "2 hours")
		(probe-note "wait" :values (vector (format "%S" (submission-wait 60))))
		(story-compose "soon@example.org" "Soon" "x\n")
		(submission-send-later (time-add nil 2))
		(submission-wait 60)
		(probe-note "status" :values (vconcat (mapcar (lambda (r) (symbol-name (plist-get r :status))) (submission-messages))))
		(probe-note "past" :values (vector (condition-case err
		                                       (progn (story-compose "past@example.org" "Past" "x\n")
		                                              (submission-send-later (time-subtract nil 60)))
		                                     (user-error (error-message-string err)))))`)
	if got := value(t, notes, "wait"); got != "t" {
		t.Errorf("a message for another time was waited for: %s", got)
	}
	if got := value(t, notes, "status"); got != "queued" {
		t.Errorf("left: %s", got)
	}
	if got := value(t, notes, "past"); got != "That time has passed" {
		t.Errorf("a time in the past: %s", got)
	}
	// Another Emacs doesn't hurry it either.
	h.probe(h.account(server, false, server.Port("")) + `
		(submission-wait 60)
		(probe-note "sent" :values (vector (format "%S" (submission-outbox-send-all))))`)
	if got := byRecipient(server); len(got) != 1 || got["soon@example.org"].Data == nil {
		t.Errorf("sent: %v", got)
	}
}

// TestStart has an Emacs find what another one has left.
func TestStart(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{Listen: []smtpd.Listen{{Name: "closed", Closed: true}, {Name: "open"}}})
	account := h.account(server, false, server.Port("closed"))
	notes := h.probe(account + `
		(submission-wait 1)
		(sit-for 0)
		(probe-note "loaded" :values (vector (format "%S %S" (featurep 'submission-job) (fboundp 'submission-module-version))))`)
	if got := value(t, notes, "loaded"); got != "nil nil" {
		t.Errorf("with an empty outbox these are loaded: %s", got)
	}
	if r := h.story(account + `(story-send "bob@example.org")`); r.Status != "deferred" {
		t.Fatalf("%+v", r)
	}
	// The settings are those it was queued with, so the server has to change.
	if r := h.story(account + `(story-wait)`); r.Status != "deferred" {
		t.Errorf("tried at start: %+v", r)
	}
	files := h.outbox()
	state, err := os.ReadFile(h.path("outbox/" + files[1]))
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Replace(string(state), fmt.Sprintf(`"port": %d`, server.Port("closed")), fmt.Sprintf(`"port": %d`, server.Port("open")), 1)
	if err := os.WriteFile(h.path("outbox/"+files[1]), []byte(other), 0o600); err != nil {
		t.Fatal(err)
	}
	if r := h.story(account + `(story-wait)`); r.Status != "accepted" {
		t.Errorf("tried at start: %+v", r)
	}
	if left := h.outbox(); len(left) != 0 {
		t.Errorf("left: %q", left)
	}
}

// TestExit has Emacs end while a message is being sent.
func TestExit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		seconds string
		open    bool // the server answers meanwhile
		left    int
	}{
		{"answered in time", "100", true, 0},
		{"no time", "0", false, 2},
		{"a little time", "0.2", false, 2},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			server := start(t, smtpd.Script{})
			g := newGate(t, server.Addr(""))
			o := h.background(h.account(server, false, g.port)+"(setq submission-exit-wait "+tt.seconds+")\n"+leaving, func() {
				if tt.open {
					<-g.arrived
					g.open()
				}
			})
			// A temporary file may be left of a state that was being written.
			left := slices.DeleteFunc(h.outbox(), func(name string) bool { return name[0] == '.' })
			if o.err != nil || len(left) != tt.left {
				t.Errorf("%v; the outbox has %v; Emacs said:\n%s", o.err, left, o.output)
			}
			if said := strings.Contains(o.output, "Mail that is not sent yet stays in"); said != (tt.left > 0) {
				t.Errorf("Emacs said:\n%s", o.output)
			}
		})
	}
}

// TestEditWithoutDraft edits a message that no mail buffer has sent.
func TestEditWithoutDraft(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{Listen: []smtpd.Listen{{Name: "closed", Closed: true}, {Name: "open"}}})
	h.write("mime.eml", "From: ann@example.org\nTo: Bob <bob@example.org>\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe?=\nMessage-ID: <1@example.org>\nDate: Sat, 21 Nov 2026 22:15:00 +0000\n"+
		"MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: quoted-printable\n\nEs war einmal ein K=C3=B6nig.\n")
	notes := h.probe(h.account(server, false, server.Port("closed")) + fmt.Sprintf(`
		(submission-submit (probe-file "mime.eml") :to '("bob@example.org" "eve@example.org"))
		(story-wait)
		(require 'submission-draft)
		(submission-draft-edit (plist-get (car (submission-messages)) :id))
		(probe-note "text" :values (vector (buffer-substring-no-properties (point-min) (point-max)) (symbol-name major-mode)))
		(setq submission-sequence '((ipv4 . %d)))
		(call-interactively #'message-send-and-exit)
		(story-wait)
		(probe-note "left" :values (vector (format "%%S" (submission-messages))))`, server.Port("open")))
	text := named(notes, "text")[0].Values
	for _, want := range []string{"Subject: Grüße\n", "Es war einmal ein König.", "Bcc: eve@example.org\n", "--text follows this line--"} {
		if !strings.Contains(text[0], want) {
			t.Errorf("%q is not in the draft:\n%s", want, text[0])
		}
	}
	if strings.Contains(text[0], "Message-ID") || text[1] != "message-mode" {
		t.Errorf("%s in %s", text[0], text[1])
	}
	if got := value(t, notes, "left"); got != "nil" {
		t.Errorf("left: %s", got)
	}
	if messages := server.Messages(); len(messages) != 1 || strings.Join(addresses(messages[0]), " ") != "bob@example.org eve@example.org" {
		t.Errorf("the server took %+v", messages)
	}
}

// TestBrokenEntries shows what is wrong with files, and deletes only what a
// person wants deleted.
func TestBrokenEntries(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{Listen: []smtpd.Listen{{Name: "closed", Closed: true}}})
	const id = "20261121T22150%d-00000000"
	account := h.account(server, false, server.Port("closed"))
	h.story(account + `(story-send "bob@example.org" "A whole one")`)
	state, err := os.ReadFile(h.path("outbox/" + h.outbox()[1]))
	if err != nil {
		t.Fatal(err)
	}
	put := func(n int, suffix, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(h.path("outbox"), fmt.Sprintf(id, n)+suffix), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put(1, ".eml", "x")
	put(1, ".json", "{")
	put(2, ".eml", "x")
	put(2, ".json", strings.Replace(string(state), `"version": 1`, `"version": 2`, 1))
	put(3, ".eml", "Subject: lost\n\nx\n")
	put(4, ".json", strings.Replace(string(state), strings.TrimSuffix(h.outbox()[0], ".eml"), fmt.Sprintf(id, 4), 1))
	const look = `(submission-outbox)
		(probe-note "list" :values (vconcat (split-string (buffer-string) "\n" t)))
		`
	notes := h.probe(account + look + `
		(require 'submission-story)
		(dolist (entry (submission-entries-all))
		  (save-window-excursion
		    (submission-story (submission-entry-id entry))
		    (probe-note "story" :values (vector (buffer-string)))))
		(require 'submission-act)
		(dolist (entry (submission-entries-all))
		  (unless (eq (submission-entry-status entry) 'deferred)
		    (submission-act-delete entry)))
		(submission-outbox)
		(probe-note "then" :values (vconcat (split-string (buffer-string) "\n" t)) :outbox (probe-outbox))`)
	lines := named(notes, "list")[0].Values
	var shown []string
	for _, line := range lines {
		shown = append(shown, strings.Fields(line)[0])
	}
	if len(lines) != 5 || !strings.Contains(strings.Join(shown, " "), "damaged newer stateless bodiless") {
		t.Errorf("the list:\n%s", strings.Join(lines, "\n"))
	}
	if n := len(named(notes, "story")); n != 5 {
		t.Errorf("%d stories", n)
	}
	then := named(notes, "then")[0]
	if len(then.Values) != 1 || !strings.Contains(then.Values[0], "A whole one") || len(then.Outbox) != 3 {
		t.Errorf("in the end:\n%s\n%q", strings.Join(then.Values, "\n"), then.Outbox)
	}
}
