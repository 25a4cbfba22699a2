;;; story.el --- what each story starts from  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Loaded by a batch Emacs that tells a story: it has a home of its own, sends
;; through message-mode as a person does, and writes each receipt as a line of
;; JSON into the file that STORY_RECEIPTS names.

;;; Code:

(require 'json)
(require 'message)
(require 'submission)

(defvar story-receipts (getenv "STORY_RECEIPTS"))

(defun story--note (receipt)
  "Append RECEIPT as a line of JSON to the file of receipts."
  (let ((coding-system-for-write 'utf-8-unix)
        (attempts (vconcat (plist-get receipt :attempts))))
    (write-region (concat (json-encode (plist-put (copy-sequence receipt) :attempts attempts)) "\n")
                  nil story-receipts t 'quiet)))

(add-hook 'submission-finished-functions #'story--note)

(setq user-full-name "Ann Writer"
      user-mail-address "ann@example.org"
      mail-host-address "example.org"
      ;; Message-IDs of Emacsen that start in the same second can be the same.
      message-user-fqdn (format "s%x.example.org" (random #x7fffffff))
      message-kill-buffer-on-exit t
      message-confirm-send nil
      message-auto-save-directory nil
      message-default-mail-headers ""
      ;; A name for the server that the tests know, and quick limits.
      smtpmail-smtp-server "127.0.0.1"
      submission-directory (expand-file-name "outbox/" (getenv "HOME")))

(defun story-compose (to subject body &optional headers)
  "Fill a message buffer: to TO, with SUBJECT, BODY and the alist HEADERS."
  (let ((message-setup-hook nil))
    (message-mail to subject headers))
  (message-goto-body)
  (insert body))

(defun story-send (to &optional subject body headers)
  "Send a message to TO with \\`C-c C-c' and wait until all is done.
SUBJECT, BODY and HEADERS have defaults."
  (story-compose to (or subject "A story") (or body "Once upon a time.\n") headers)
  (call-interactively #'message-send-and-exit)
  (story-wait))

(defun story-wait ()
  "Let events run until nothing is queued or sending any more."
  (unless (submission-wait 120)
    (error "Still not done after two minutes: %S" (submission-messages))))

(submission-mode 1)

;;; story.el ends here
