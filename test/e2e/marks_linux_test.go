// SPDX-License-Identifier: GPL-3.0-or-later

package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"submission/test/smtpd"
)

// incoming is a message that is answered and forwarded; mbox is it in a file.
const (
	incoming = "From: Bob <bob@example.org>\nTo: ann@example.org\nSubject: A question\nDate: Thu, 19 Nov 2026 10:00:00 +0000\nMessage-ID: <question@example.org>\n\nWhat is it?\n"
	mbox     = "From bob@example.org Thu Nov 19 10:00:00 2026\n" + incoming + "\n"
)

// marks are the mail readers' ways to answer and to forward a message. Each
// signals an error unless the mark is there when the sending command returns:
// nothing is sent before the story ends.
var marks = []struct {
	name   string
	reader string // of readers, for what it needs
	files  map[string]string
	lisp   string
	// want is a file that is there afterwards: a pattern.
	want string
}{
	{
		name: "message-mode",
		lisp: `(setq message-kill-buffer-on-exit nil)
			(defvar done nil)
			(switch-to-buffer "before")
			(message-mail "bob@example.org" "x" nil nil nil nil (list (list (lambda () (push 'sent done)))))
			(add-to-list 'message-exit-actions (lambda () (push 'exit done)))
			(add-hook 'message-sent-hook (lambda () (push 'hook done)) nil t)
			(message-goto-body) (insert "Once.\n")
			(let ((buffer (current-buffer)))
			  (call-interactively #'message-send-and-exit)
			  (unless (equal done '(exit sent hook)) (error "Done: %S" done))
			  (unless (and (buffer-live-p buffer) (not (eq (window-buffer) buffer))) (error "It is not buried"))
			  (unless (string-prefix-p "*sent mail" (buffer-name buffer)) (error "It is %s" buffer)))`,
	},
	{
		name:  "Rmail, with message-mode",
		files: map[string]string{"RMAIL": mbox},
		lisp: rmail + `(rmail-reply t) (message-goto-body) (insert "That.\n") (call-interactively #'message-send-and-exit)
			(marked "answered")
			(rmail-forward nil) (message-goto-to) (insert "carol@example.org") (call-interactively #'message-send-and-exit)
			(marked "forwarded")`,
	},
	{
		name:  "Rmail, with mail-mode",
		files: map[string]string{"RMAIL": mbox},
		lisp: `(setq mail-user-agent 'sendmail-user-agent) ` + rmail + `
			(rmail-reply t) (goto-char (point-max)) (insert "That.\n") (call-interactively #'mail-send-and-exit)
			(marked "answered")
			(rmail-forward nil) (mail-to) (insert "carol@example.org") (call-interactively #'mail-send-and-exit)
			(marked "forwarded")`,
	},
	{
		name:  "Gnus",
		files: map[string]string{"Mail/in/1": incoming, "Mail/active": "in 1 1 y\n"},
		lisp: gnus + `(setq gnus-large-newsgroup nil gnus-summary-display-arrow nil)
			(gnus-no-server 5)
			(require 'nnml)
			(nnml-open-server "") (nnml-generate-nov-databases)
			(gnus-activate-group "in")
			(unless (gnus-get-info "in") (gnus-subscribe-group "in"))
			(gnus-group-read-group t nil "in")
			(gnus-summary-goto-article 1)
			(gnus-summary-reply) (message-goto-body) (insert "That.\n") (call-interactively #'message-send-and-exit)
			(set-buffer gnus-summary-buffer)
			(unless (memq 1 gnus-newsgroup-replied) (error "Not replied to"))
			(gnus-summary-mail-forward) (message-goto-to) (insert "carol@example.org") (call-interactively #'message-send-and-exit)
			(set-buffer gnus-summary-buffer)
			(unless (memq 1 gnus-newsgroup-forwarded) (error "Not forwarded"))`,
	},
	{
		name: "notmuch", reader: "notmuch",
		files: map[string]string{"Maildir/cur/1:2,S": incoming, "Maildir/new/.x": "", "Maildir/tmp/.x": ""},
		lisp: `(call-process notmuch-command nil nil nil "new")
			(defun tagged (tag)
			  (let ((tags (process-lines notmuch-command "search" "--output=tags" "id:question@example.org")))
			    (unless (member tag tags) (error "The tags are %S" tags))))
			(notmuch-show "id:question@example.org")
			(notmuch-show-reply-sender) (message-goto-body) (insert "That.\n") (call-interactively #'notmuch-mua-send-and-exit)
			(tagged "replied")
			(notmuch-show "id:question@example.org")
			(notmuch-show-forward-message) (message-goto-to) (insert "carol@example.org") (call-interactively #'notmuch-mua-send-and-exit)
			(tagged "forwarded")`,
	},
	{
		name: "mu4e", reader: "mu4e",
		files: map[string]string{"Maildir/in/cur/1:2,S": incoming, "Maildir/in/new/.x": "", "Maildir/in/tmp/.x": ""},
		lisp: `(call-process mu4e-mu-binary nil nil nil "index")
			(mu4e t)
			(while (null mu4e--server-props) (accept-process-output mu4e--server-process 1))
			(defun composed (type)
			  (mu4e--server-compose type nil 1)
			  (with-timeout (60 (error "mu4e has not begun to %s" type))
			    (while (not (derived-mode-p 'mu4e-compose-mode))
			      (accept-process-output nil 0.05)
			      (let ((new (cl-find-if (lambda (buffer) (eq (buffer-local-value 'major-mode buffer) 'mu4e-compose-mode)) (buffer-list))))
			        (when new (set-buffer new))))))
			(defun flagged (flag)
			  (with-timeout (60 (error "The files are %S" (directory-files "~/Maildir/in/cur")))
			    (while (not (directory-files "~/Maildir/in/cur" nil (concat ":2,.*" flag)))
			      (accept-process-output nil 0.05))))
			(composed 'reply) (message-goto-body) (insert "That.\n") (call-interactively #'message-send-and-exit)
			(flagged "R")
			(set-buffer "*scratch*")
			(composed 'forward) (message-goto-to) (insert "carol@example.org") (call-interactively #'message-send-and-exit)
			(flagged "P")`,
		want: "Maildir/in/cur/*:2,PRS",
	},
}

// rmail has Rmail show a message.
const rmail = `(setq rmail-file-name "~/RMAIL" rmail-primary-inbox-list nil rmail-display-summary nil rmail-enable-mime nil)
	(rmail)
	(defun marked (name)
	  (with-current-buffer rmail-buffer
	    (let ((names (rmail-get-attr-names 1))) (unless (member name (split-string names "[ ,]+")) (error "The marks are %s" names)))))
	`

func TestMarks(t *testing.T) {
	t.Parallel()
	for _, m := range marks {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			h, setup := homeOf(t, readerOf(m.reader))
			for name, text := range m.files {
				h.mail(name, text)
			}
			server := start(t, smtpd.Script{})
			o := h.emacs(h.account(server, false, server.Port("")) + setup + `
				(setq submission-delay 3600)
				(advice-add 'y-or-n-p :override #'always)
				` + m.lisp)
			if o.err != nil || len(o.receipts) != 0 || len(h.outbox()) == 0 || len(server.Messages()) != 0 {
				t.Fatalf("%v, %d receipts, the outbox holds %v; Emacs said:\n%s", o.err, len(o.receipts), h.outbox(), o.output)
			}
			if m.want != "" {
				if found, err := filepath.Glob(h.path(m.want)); err != nil || len(found) != 1 {
					all, _ := filepath.Glob(h.path(filepath.Dir(m.want) + "/*"))
					t.Errorf("no %s: %v, but %s", m.want, err, strings.Join(all, " "))
				}
			}
		})
	}
}

// mail writes a file with a message in it, or none.
func (h *home) mail(name, text string) {
	h.t.Helper()
	if err := os.MkdirAll(filepath.Dir(h.path(name)), 0o700); err != nil {
		h.t.Fatal(err)
	}
	h.write(name, text)
}
