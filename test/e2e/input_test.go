// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// note is what probe.el has noted.
type note struct {
	Name   string   `json:"name"`
	Symbol string   `json:"symbol"` // of what was signalled, "" for nothing
	Ours   bool     `json:"ours"`   // it is a submission-error
	User   bool     `json:"user"`   // it is a user-error
	Text   string   `json:"text"`
	Outbox []string `json:"outbox"`
	Values []string `json:"values"`
}

// probe runs Lisp that has to succeed, after probe.el, and returns what it
// noted.
func (h *home) probe(lisp string) []note {
	h.t.Helper()
	os.Remove(h.path("notes"))
	o := h.emacs(`(load (expand-file-name "probe.el"))` + "\n" + lisp)
	notes := h.notes()
	if o.err != nil {
		h.t.Fatalf("%v; noted %+v; Emacs said:\n%s", o.err, notes, o.output)
	}
	if len(notes) == 0 {
		h.t.Fatalf("nothing was noted; Emacs said:\n%s", o.output)
	}
	return notes
}

func (h *home) notes() []note { return jsonLines[note](h, "notes") }

// refusal is input that is refused before anything is written.
type refusal struct {
	name, lisp   string
	symbol, text string // of the error; text is a part of it
}

// submitting is a call of submission-submit on a good message, but for what
// args say.
func submitting(args string) string {
	return `(submission-submit (probe-file "good.eml") ` + args + `)`
}

var refusals = []refusal{
	{"LF in a recipient", submitting(`:to '("bob@example.org\nRCPT TO:<eve@example.org>")`), "submission-envelope-error", "control character"},
	{"CR in a recipient", submitting(`:to '("bob@example.org\r")`), "submission-envelope-error", "control character"},
	{"NUL in a recipient", submitting(`:to '("bob\0@example.org")`), "submission-envelope-error", "control character"},
	{"DEL in a recipient", submitting(`:to '("bob\177@example.org")`), "submission-envelope-error", "control character"},
	{"a space in a recipient", submitting(`:to '("bob smith@example.org")`), "submission-envelope-error", "space"},
	{"a tab in a recipient", submitting(`:to '("bob@example.org\t")`), "submission-envelope-error", "control character"},
	{"an angle bracket in a recipient", submitting(`:to '("bob@example.org> SIZE=1")`), "submission-envelope-error", "angle bracket"},
	{"brackets around a recipient", submitting(`:to '("<bob@example.org>")`), "submission-envelope-error", "angle bracket"},
	{"not UTF-8 in a recipient", submitting(`:to '("b\377b@example.org")`), "submission-envelope-error", "UTF-8"},
	{"LF in the sender", submitting(`:from "ann@example.org\nDATA"`), "submission-envelope-error", "control character"},
	{"NUL in the sender", submitting(`:from "ann\0@example.org"`), "submission-envelope-error", "control character"},
	{"a space in the sender", submitting(`:from "ann writer@example.org"`), "submission-envelope-error", "space"},
	{"the second recipient is bad", submitting(`:to '("bob@example.org" "carol @example.org")`), "submission-envelope-error", "carol"},
	{"no domain after the @", submitting(`:to '("bob@")`), "submission-envelope-error", "not complete"},
	{"nobody before the @", submitting(`:to '("@example.org")`), "submission-envelope-error", "not complete"},
	{"an empty recipient", submitting(`:to '("")`), "submission-envelope-error", "not complete"},
	{"a recipient that is a symbol", submitting(`:to '(bob)`), "submission-envelope-error", "bob"},
	{"recipients that are no list", submitting(`:to "bob@example.org"`), "submission-envelope-error", "list"},
	{"no recipients", submitting(`:to nil`), "submission-envelope-error", "No recipients"},
	{"no recipients in the header", `(submission-submit (probe-file "nobody.eml"))`, "submission-envelope-error", "No recipients"},
	{"no From", `(submission-submit (probe-file "nofrom.eml"))`, "submission-envelope-error", "No sender"},
	{"an empty sender", submitting(`:from ""`), "submission-envelope-error", "No sender"},
	{"a file that isn't there", `(submission-submit (probe-file "missing.eml") :from "a@b" :to '("c@d"))`, "submission-envelope-error", "missing.eml"},
	{"a directory", `(submission-submit (getenv "HOME") :from "a@b" :to '("c@d"))`, "submission-envelope-error", "neither"},
	{"a killed buffer", `(submission-submit (let ((b (generate-new-buffer "x"))) (kill-buffer b) b) :from "a@b" :to '("c@d"))`, "submission-envelope-error", "killed"},
	{"nil", `(submission-submit nil :from "a@b" :to '("c@d"))`, "submission-envelope-error", "nil"},
	{"a number", `(submission-submit 5 :from "a@b" :to '("c@d"))`, "submission-envelope-error", "5"},
	{"no server", `(let ((smtpmail-smtp-server nil)) ` + submitting("") + `)`, "submission-settings-error", "smtpmail-smtp-server"},
	{"an empty server", `(let ((smtpmail-smtp-server "")) ` + submitting("") + `)`, "submission-settings-error", "smtpmail-smtp-server"},
	{"a space in the server", submitting(`:host "mail example.org"`), "submission-settings-error", "mail example.org"},
	{"LF in the server", submitting(`:host "mail.example.org\n"`), "submission-settings-error", "server"},
	{"NUL in the server", submitting(`:host "mail\0.example.org"`), "submission-settings-error", "server"},
	{"a URL as server", submitting(`:host "smtp://mail.example.org"`), "submission-settings-error", "server"},
	{"a port in the server", submitting(`:host "mail.example.org:587"`), "submission-settings-error", "server"},
	{"a label of 64 bytes", submitting(`:host (concat (make-string 64 ?m) ".example.org")`), "submission-settings-error", "server"},
	{"an empty label", submitting(`:host "mail..example.org"`), "submission-settings-error", "server"},
	{"a hyphen in front", submitting(`:host "-mail.example.org"`), "submission-settings-error", "server"},
	{"not quite an address", submitting(`:host "127.0.0.256"`), "submission-settings-error", "server"},
	{"a server that is a symbol", submitting(`:host 'mail`), "submission-settings-error", "server"},
	{"port 0", submitting(`:port 0`), "submission-settings-error", "port"},
	{"port 65536", submitting(`:port 65536`), "submission-settings-error", "port"},
	{"a port by an unknown name", submitting(`:port "gopher"`), "submission-settings-error", "gopher"},
	{"a service by an unknown name", `(let ((smtpmail-smtp-service "gopher")) ` + submitting("") + `)`, "submission-settings-error", "smtpmail-smtp-service"},
	{"an unknown security", submitting(`:security 'some`), "submission-settings-error", "submission-security"},
	{"an unknown stream type", `(let ((smtpmail-stream-type 'some)) ` + submitting("") + `)`, "submission-settings-error", "smtpmail-stream-type"},
	{"an unknown sequence", submitting(`:sequence 'some`), "submission-settings-error", "submission-sequence"},
	{"a sequence with a bad family", submitting(`:sequence '((ipv5 . 587))`), "submission-settings-error", "submission-sequence"},
	{"a sequence with a bad port", submitting(`:sequence '((ipv4 . 587) (ipv4 . 0))`), "submission-settings-error", "submission-sequence"},
	{"a sequence that is no list", `(let ((submission-sequence '((ipv4 . 587) . ipv4))) ` + submitting("") + `)`, "submission-settings-error", "submission-sequence"},
	{"a time limit of 0", `(let ((submission-data-timeout 0)) ` + submitting("") + `)`, "submission-settings-error", "submission-data-timeout"},
	{"a time limit that is a string", `(let ((submission-connect-timeout "10")) ` + submitting("") + `)`, "submission-settings-error", "submission-connect-timeout"},
	{"a time limit without end", `(let ((submission-data-timeout 1.0e+INF)) ` + submitting("") + `)`, "submission-settings-error", "submission-data-timeout"},
	{"a user name that is a symbol", submitting(`:user 'kazu`), "submission-settings-error", "smtpmail-smtp-user"},
	{"an unknown keyword", submitting(`:subject "x"`), "submission-settings-error", ":subject"},
	{"a callback that can't be called", submitting(`:callback "x"`), "submission-settings-error", "callback"},
	{"LF in the name for EHLO", `(let ((submission-ehlo-name "me\r\nMAIL FROM:<>")) ` + submitting("") + `)`, "submission-settings-error", "submission-ehlo-name"},
	{"Emacs 27", `(let ((emacs-version "27.1")) ` + submitting("") + `)`, "submission-module-missing", "28.1"},
}

// TestRefusals sees that bad input is refused with a clear error, and that
// nothing reaches the outbox or the server.
func TestRefusals(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	h.write("good.eml", header+"\nx\n")
	h.write("nobody.eml", "From: ann@example.org\nSubject: x\n\nTo: bob@example.org\n")
	h.write("nofrom.eml", "To: bob@example.org\n\nFrom: ann@example.org\n")
	var lisp strings.Builder
	lisp.WriteString(h.account(server, false, server.Port("")))
	for i, r := range refusals {
		fmt.Fprintf(&lisp, "(probe-error %q %s)\n", fmt.Sprint(i), r.lisp)
	}
	lisp.WriteString("(story-wait)")
	notes := h.probe(lisp.String())
	for i, r := range refusals {
		t.Run(r.name, func(t *testing.T) { notes[i].check(t, r.symbol, r.text) })
	}
	if sessions := server.Sessions(); len(sessions) > 0 {
		t.Errorf("the server was reached: %q", sessions[0].Commands())
	}
}

// check compares what was signalled, and sees that nothing was left behind.
func (n note) check(t *testing.T, symbol, text string) {
	t.Helper()
	ours := symbol != "error" // that one is Emacs's own
	if n.Symbol != symbol || n.Ours != ours || n.User != ours || !strings.Contains(n.Text, text) {
		t.Errorf("%s (a submission-error: %t, a user-error: %t): %.300q; want %s with %q", n.Symbol, n.Ours, n.User, n.Text, symbol, text)
	}
	if strings.ContainsAny(n.Text, "\r\x00") || len(n.Text) > 600 {
		t.Errorf("the error is not fit to be read: %d bytes, %.300q", len(n.Text), n.Text)
	}
	if len(n.Outbox) > 0 {
		t.Errorf("the outbox holds %v", n.Outbox)
	}
}

// drafts are messages in message-mode that can't be sent.
var drafts = []refusal{
	{"no server", `(setq smtpmail-smtp-server nil) (draft "bob@example.org")`, "submission-settings-error", "smtpmail-smtp-server"},
	{"not a server", `(setq smtpmail-smtp-server "mail example") (draft "bob@example.org")`, "submission-settings-error", "mail example"},
	{"not a service", `(setq smtpmail-smtp-service "gopher") (draft "bob@example.org")`, "submission-settings-error", "gopher"},
	// This one is found by message-mode, before us.
	{"no recipients", `(draft "") (message-remove-header "To")`, "error", "No methods specified"},
	{"a sender with a space", `(setq mail-specify-envelope-from t mail-envelope-from "ann writer@example.org") (draft "bob@example.org")`, "submission-envelope-error", "space"},
	{"no sender", `(setq mail-specify-envelope-from t mail-envelope-from "") (draft "bob@example.org")`, "submission-envelope-error", "No sender"},
	{"the outbox is a file", `(setq submission-directory (probe-file "good.eml")) (draft "bob@example.org")`, "submission-outbox-error", "good.eml"},
	{"the outbox is in a file", `(setq submission-directory (probe-file "good.eml/outbox/")) (draft "bob@example.org")`, "submission-outbox-error", "good.eml"},
	{"Emacs 27", `(setq emacs-version "27.1") (draft "bob@example.org")`, "submission-module-missing", "28.1"},
}

// TestDraftsStay sees that a message that can't be sent is still a draft: as
// it was, modified, in message-mode.
func TestDraftsStay(t *testing.T) {
	t.Parallel()
	h := newHome(t)
	server := start(t, smtpd.Script{})
	h.write("good.eml", header+"\nx\n")
	var lisp strings.Builder
	lisp.WriteString(h.account(server, false, server.Port("")) + `
		(advice-add 'y-or-n-p :override (lambda (&rest _) t))
		;; message-mode's own question about characters that it doubts.
		(advice-add 'read-multiple-choice :override (lambda (&rest _) '(?s "send")))
		(defun draft (to) (story-compose to "A draft" "Grüße\n.\n"))
		(defmacro keeping (&rest body)
		  "Evaluate BODY and put the settings back."
		  (let ((list '(smtpmail-smtp-server smtpmail-smtp-service submission-directory emacs-version
			            mail-specify-envelope-from mail-envelope-from)))
		    ` + "`(let ((old (list ,@list))) ,@body (cl-mapc #'set ',list old))" + `))
		(require 'smtpmail)
		`)
	for i, d := range drafts {
		// message-mode itself completes the header when it is told to send.
		fmt.Fprintf(&lisp, `(keeping
			%s
			(let ((buffer (current-buffer))
			      (body (lambda () (save-excursion (message-goto-body) (buffer-substring (point) (point-max))))))
			  (let ((before (funcall body)))
			    (probe-error %q (call-interactively #'message-send-and-exit))
			    (probe-note "draft" :values
			      (vector (if (buffer-live-p buffer) "live" "gone")
			              (if (equal before (funcall body)) "same" "changed")
			              (if (save-excursion (save-restriction (message-narrow-to-headers) (equal (message-fetch-field "subject") "A draft"))) "subject" "no subject")
			              (if (buffer-modified-p) "modified" "not modified")
			              (symbol-name major-mode)))
			    (set-buffer-modified-p nil)
			    (kill-buffer buffer))))
			`, d.lisp, fmt.Sprint(i))
	}
	notes := h.probe(lisp.String() + "(story-wait)")
	for i, d := range drafts {
		t.Run(d.name, func(t *testing.T) {
			notes[2*i].check(t, d.symbol, d.text)
			if got := strings.Join(notes[2*i+1].Values, ", "); got != "live, same, subject, modified, message-mode" {
				t.Errorf("the draft is %s", got)
			}
		})
	}
	if sessions := server.Sessions(); len(sessions) > 0 {
		t.Errorf("the server was reached: %q", sessions[0].Commands())
	}
}

// TestModule sees what is said of a module that can't be used.
func TestModule(t *testing.T) {
	t.Parallel()
	const another = `(submission-submit (probe-file "good.eml"))`
	for _, tt := range []struct {
		name   string
		module func(t *testing.T, path string)
		text   string
	}{
		{"missing", func(*testing.T, string) {}, "submission-module-compile"},
		{"not a library", func(t *testing.T, path string) {
			if err := os.WriteFile(path, []byte("not a library"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "submission-module-compile"},
		{"not a module", func(t *testing.T, path string) { compile(t, path, "int nothing;") }, "submission-module-compile"},
		{"for another Emacs", func(t *testing.T, path string) {
			// What a module says whose emacs_module_init finds an Emacs that
			// is too old for it.
			compile(t, path, "int plugin_is_GPL_compatible; int emacs_module_init(void *runtime) { return 1; }")
		}, "submission-module-compile"},
		{"another version", func(t *testing.T, path string) {
			cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags", "-s -w -X main.version=0.0.9", "-o", path, "./module")
			cmd.Dir = "../.."
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
		}, "version 0.0.9"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			h.write("good.eml", header+"\nx\n")
			h.lisp("../../lisp/*.el")
			tt.module(t, h.path("lisp/submission-module.so"))
			notes := h.probe(`(probe-error "submit" ` + another + `)
				(probe-error "again" ` + another + `)
				(story-compose "bob@example.org" "A draft" "x\n")
				(probe-error "message" (call-interactively #'message-send-and-exit))
				(probe-note "draft" :values (vector (symbol-name major-mode) (if (buffer-modified-p) "modified" "")))
				(probe-note "messages" :values (vconcat (mapcar #'prin1-to-string (submission-messages))))`)
			for _, n := range notes[:3] {
				n.check(t, "submission-module-missing", tt.text)
			}
			if got := strings.Join(notes[3].Values, " "); got != "message-mode modified" {
				t.Errorf("the draft is %s", got)
			}
		})
	}
}

// lisp gives Emacs a directory of its own with the Lisp files that pattern
// names, in place of the one with the module.
func (h *home) lisp(pattern string) {
	h.t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		h.t.Fatalf("%s: %v", pattern, err)
	}
	if err := os.Mkdir(h.path("lisp"), 0o700); err != nil {
		h.t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			h.t.Fatal(err)
		}
		h.write("lisp/"+filepath.Base(file), string(text))
	}
	h.command = func(name string, args ...string) *exec.Cmd {
		for i, arg := range args {
			if arg == "../../lisp" {
				args[i] = h.path("lisp")
			}
		}
		return exec.Command(name, args...)
	}
}

// compile makes a library of C.
func compile(t *testing.T, path, source string) {
	t.Helper()
	cc := os.Getenv("CC")
	if cc == "" {
		cc = "cc"
	}
	cmd := exec.Command(cc, "-shared", "-fPIC", "-o", path, "-x", "c", "-")
	cmd.Stdin = strings.NewReader(source + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
