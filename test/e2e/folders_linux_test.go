// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// gnus has Gnus run, with mail of its own in ~/Mail.
const gnus = `(setq gnus-home-directory "~/" gnus-directory "~/News/" message-directory "~/Mail/" gnus-init-file nil gnus-site-init-file nil
	gnus-select-method '(nnml "") gnus-secondary-select-methods nil gnus-read-active-file t gnus-verbose 3 gnus-use-full-window nil
	gnus-novice-user nil gnus-message-archive-group nil gnus-message-highlight-citation nil nnmail-spool-file nil mail-sources nil nnml-get-new-mail nil gnus-interactive-exit nil)
	(require 'gnus)
	`

// A folder is what is in a folder after a story: how many messages, and words
// that are there, or with a "!" before them aren't.
type folder struct {
	glob  string
	count int
	words []string
}

// folders are the ways to ask for copies. Each sends, and then the copies are
// where they belong. PORT in a story is the server's, ok@example.org is taken
// there, and no@example.org is refused.
var folders = []struct {
	name, lisp string
	want       []folder
	// sent is how many messages the server takes, if not one.
	sent int
}{
	{
		name: "several files",
		lisp: `(story-compose "ok@example.org" "x" "Once.\n" '(("Fcc" . "~/one")))
			(goto-char (point-min)) (insert "Fcc: ~/deep/er/two\nFcc: three\n")
			(message-send-and-exit) (story-wait)`,
		want: []folder{{glob: "one", count: 1}, {glob: "deep/er/two", count: 1}, {glob: "three", count: 1}},
	},
	{
		name: "a file that is there, and twice",
		lisp: `(write-region "From x Thu Jan  1 00:00:00 1970\nSubject: old\n\nold\n\n" nil "~/one")
			(story-send "ok@example.org" nil "From the start.\n" '(("Fcc" . "~/one")))
			(story-send "ok@example.org" nil nil '(("Fcc" . "~/one")))`,
		want: []folder{{glob: "one", count: 3, words: []string{">From the start."}}}, sent: 2,
	},
	{
		name: "a file that Rmail shows",
		lisp: `(write-region "From bob@example.org Thu Nov 19 10:00:00 2026\nFrom: bob@example.org\nSubject: old\n\nold\n\n" nil "~/RMAIL")
			` + rmail + `
			(story-send "ok@example.org" nil nil '(("Fcc" . "~/RMAIL")))
			(setq mail-user-agent 'sendmail-user-agent)
			(compose-mail "ok@example.org" "x") (goto-char (point-min)) (insert "Fcc: ~/RMAIL\n")
			(goto-char (point-max)) (insert "Once.\n") (mail-send-and-exit nil) (story-wait)
			(with-current-buffer rmail-buffer
			  (unless (equal rmail-total-messages 3) (error "Rmail has %s messages" rmail-total-messages))
			  (save-buffer))`,
		want: []folder{{glob: "RMAIL", count: 3}}, sent: 2,
	},
	{
		name: "a program",
		lisp: `(story-compose "ok@example.org" "x" "Once.\n" '(("Fcc" . "| cat >>one")))
			(goto-char (point-min)) (insert "Fcc: two\n")
			(message-send-and-exit) (story-wait)`,
		want: []folder{{glob: "one", count: 1}, {glob: "two", count: 1}},
	},
	{
		name: "a function",
		lisp: `(defun file-it (file) (write-region (point-min) (point-max) (concat file ".mine") t))
			(setq message-fcc-handler-function #'file-it)
			(story-send "ok@example.org" nil nil '(("Fcc" . "~/one")))
			(setq message-fcc-handler-function (lambda (file) (write-region (point-min) (point-max) (concat file ".too") t)))
			(story-send "ok@example.org" nil nil '(("Fcc" . "~/one")))`,
		want: []folder{{glob: "one", count: 0}, {glob: "one.mine", count: 1}, {glob: "one.too", count: 1}}, sent: 2,
	},
	{
		name: "attachments",
		lisp: `(setq message-fcc-externalize-attachments t)
			(write-region "what is attached" nil "~/attached.txt")
			(story-compose "ok@example.org" "x" "Once.\n" '(("Fcc" . "~/one")))
			(goto-char (point-max)) (mml-attach-file (expand-file-name "~/attached.txt") "text/plain" nil "attachment")
			(message-send-and-exit) (story-wait)`,
		want: []folder{{glob: "one", count: 1, words: []string{"external-body", "attached.txt", "!what is attached"}}},
	},
	{
		name: "nothing where it is refused, held or cancelled",
		lisp: `(story-send "no@example.org" nil nil '(("Fcc" . "~/one")))
			(let ((submission-security 'plain) (submission-sequence '((ipv4 . 9))))
			  (story-send "ok@example.org" nil nil '(("Fcc" . "~/one"))))
			(let ((submission-delay 3000))
			  (story-compose "ok@example.org" "x" "Once.\n" '(("Fcc" . "~/one")))
			  (message-send-and-exit))
			(require 'submission-act)
			(submission-entries-scan)
			(dolist (receipt (submission-messages))
			  (submission-act (plist-get receipt :id) "cancel"))
			(with-timeout (60 (error "Some are there: %S" (submission-messages)))
			  (while (submission-messages) (accept-process-output nil 0.05)))`,
		want: []folder{{glob: "one"}, {glob: "outbox/unfiled/*"}}, sent: -1,
	},
	{
		name: "the buffer stays as it was",
		lisp: `(setq message-kill-buffer-on-exit nil)
			(story-compose "ok@example.org" "x" "Once.\n" '(("Fcc" . "~/one")))
			(let ((buffer (current-buffer)))
			  (message-send-and-exit)
			  (story-wait)
			  (with-current-buffer buffer
			    (unless (equal (message-field-value "Fcc") "~/one") (error "The buffer is\n%s" (buffer-string)))
			    (when (buffer-modified-p) (error "It is modified"))
			    (let ((noninteractive nil)) (cl-letf (((symbol-function 'y-or-n-p) #'always)) (message-send)))
			    (story-wait)))`,
		want: []folder{{glob: "one", count: 2}}, sent: 2,
	},
	{
		name: "smtpmail's queue",
		lisp: `(setq smtpmail-queue-mail t smtpmail-queue-dir "~/queue/" message-kill-buffer-on-exit nil)
			(write-region "" nil "~/one")
			(story-compose "ok@example.org" "x" "Once.\n" '(("Fcc" . "~/one")))
			(message-send-and-exit)
			(setq smtpmail-queue-mail nil)
			(smtpmail-send-queued-mail)
			(story-wait)`,
		want: []folder{{glob: "one", count: 1}},
	},
	{
		name: "several groups, read, and one without attachments",
		lisp: gnus + `(setq gnus-gcc-mark-as-read t gnus-gcc-externalize-attachments "lean")
			(gnus-no-server)
			(write-region "what is attached" nil "~/attached.txt")
			(defun send ()
			  (gnus-group-mail) (message-goto-to) (insert "ok@example.org") (message-goto-subject) (insert "Grüße")
			  (message-add-header "Gcc: nnml:sent, \"nnml:lean one\", nnfolder+archive:third") (message-goto-body) (insert "Once.\n")
			  (mml-attach-file (expand-file-name "~/attached.txt") "text/plain" nil "attachment")
			  (message-send-and-exit) (story-wait))
			(send)
			(gnus-group-get-new-news)
			(dolist (group '("sent" "lean one")) (gnus-subscribe-group group))
			;; Of the groups that are there by now, as of those that aren't known.
			(let ((unread (gnus-group-unread "sent")))
			  (send)
			  (gnus-group-get-new-news)
			  (unless (equal (gnus-group-unread "sent") unread) (error "%S unread, and before %S" (gnus-group-unread "sent") unread)))`,
		sent: 2,
		want: []folder{
			{glob: "Mail/sent/1", count: 1, words: []string{"what is attached", "!external-body"}},
			{glob: "Mail/lean one/1", count: 1, words: []string{"external-body", "attached.txt", "!what is attached"}},
			{glob: "Mail/archive/third", count: 2, words: []string{"what is attached"}},
		},
	},
	{
		name: "Gnus, unplugged",
		lisp: gnus + `(setq gnus-plugged t gnus-agent-go-online t)
			(gnus-no-server)
			(gnus-agent-toggle-plugged nil)
			(gnus-group-mail) (message-goto-to) (insert "ok@example.org") (message-goto-subject) (insert "Later")
			(message-add-header "Gcc: nnml:sent") (message-goto-body) (insert "Once.\n")
			(message-send-and-exit) (story-wait)
			(when (or (submission-messages) (file-exists-p "~/receipts")) (error "It was sent"))
			(gnus-agent-toggle-plugged t)
			(cl-letf (((symbol-function 'gnus-y-or-n-p) #'always) ((symbol-function 'y-or-n-p) #'always))
			  (gnus-group-send-queue))
			(story-wait)`,
		want: []folder{{glob: "Mail/sent/1", count: 1}, {glob: "News/drafts/queue/[0-9]*"}},
	},
}

func TestFolders(t *testing.T) {
	t.Parallel()
	for _, f := range folders {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			h := newHome(t)
			server := start(t, smtpd.Script{Behaviour: rules(smtpd.Rule{On: "RCPT", Match: "no@", Reply: smtpd.Lines{"550 5.1.1 no such user"}})})
			o := h.emacs(h.account(server, false, server.Port("")) + `(cd "~/")` + "\n" + f.lisp)
			if o.err != nil {
				t.Fatalf("%v; Emacs said:\n%s", o.err, o.output)
			}
			if sent := max(f.sent, 0); len(server.Messages()) != sent && (f.sent != 0 || len(server.Messages()) != 1) {
				t.Errorf("the server took %d messages; Emacs said:\n%s", len(server.Messages()), o.output)
			}
			if files := h.outbox(); len(files) != 0 {
				t.Errorf("the outbox holds %v", files)
			}
			for _, want := range f.want {
				h.holds(want)
			}
			if t.Failed() {
				t.Logf("Emacs said:\n%s", o.output)
			}
		})
	}
}

// holds sees that a folder holds what it should.
func (h *home) holds(want folder) {
	h.t.Helper()
	files, err := filepath.Glob(h.path(want.glob))
	if err != nil {
		h.t.Fatal(err)
	}
	var text []byte
	for _, file := range files {
		part, err := os.ReadFile(file)
		if err != nil {
			h.t.Fatal(err)
		}
		text = append(text, part...)
	}
	if n := bytes.Count(bytes.ToLower(text), []byte("\nsubject: ")); n != want.count {
		h.t.Errorf("%d messages in %s, want %d:\n%s", n, want.glob, want.count, text)
	}
	for _, word := range want.words {
		word, not := strings.CutPrefix(word, "!")
		if bytes.Contains(text, []byte(word)) == not {
			h.t.Errorf("%q in %s is not (%v) in\n%s", word, want.glob, not, text)
		}
	}
}
