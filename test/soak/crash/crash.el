;;; crash.el --- an Emacs that sends until it dies  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Run by a batch Emacs with a home of its own.  In the environment:
;; CRASH_LIFE names this Emacs, CRASH_COUNT is how many messages it sends, and
;; CRASH_FOREVER is set if it is not to end by itself.

;;; Code:

(require 'message)
(require 'submission)

(setq user-full-name "Ann Writer"
      user-mail-address "ann@example.org"
      mail-host-address "example.org"
      message-kill-buffer-on-exit t
      message-confirm-send nil
      message-auto-save-directory nil
      message-default-mail-headers ""
      message-send-mail-partially-limit nil
      auth-sources nil
      smtpmail-smtp-server "127.0.0.1"
      submission-sequence
      (list (cons 'ipv4 (string-to-number (getenv "CRASH_PORT"))))
      submission-directory (expand-file-name "outbox/" (getenv "HOME")))

(defun crash-note (file &rest words)
  "Append WORDS to FILE as a line, and have it on disk before returning."
  (let ((write-region-inhibit-fsync nil)
        (create-lockfiles nil))
    (write-region (concat (string-join words " ") "\n") nil
                  (expand-file-name file (getenv "HOME")) t 'quiet)))

(defun crash-send (id recipients body)
  "Send BODY to RECIPIENTS with C-c C-c, under the Message-ID ID."
  (apply #'crash-note "begun" id recipients)
  (let ((message-setup-hook nil))
    (message-mail (string-join recipients ", ") id `((Message-ID . ,id))))
  (message-goto-body)
  (insert body)
  (call-interactively #'message-send-and-exit)
  (apply #'crash-note "submitted" id recipients))

(defun crash-accepted-p ()
  "Return non-nil if a message that was accepted is still in the outbox."
  (cl-loop for receipt in (submission-messages)
           thereis (eq (plist-get receipt :status) 'accepted)))

(defun crash-live (life count forever)
  "Take over what LIFE's forerunner left, send COUNT messages, and end.
With FOREVER, go on until somebody ends this."
  (random life)
  (submission-mode 1)
  (submission-outbox-send-all)
  (dotimes (n count)
    (crash-send (format "<%s.%d@crash.test>" life n)
                (if (= (random 3) 0)
                    '("bob@example.org" "carol@example.org")
                  '("bob@example.org"))
                (make-string (if (= (random 20) 0) (random 100000) (random 2000)) ?x))
    (when (= (random 6) 0)
      (submission-outbox-send-all))
    (accept-process-output nil (/ (random 8) 1000.0)))
  (while forever
    (accept-process-output nil 1))
  ;; What was accepted before an earlier Emacs died is only told of.
  (with-timeout (120 (error "Not settled: %S" (submission-messages)))
    (while (or (not (submission-wait 60)) (crash-accepted-p))
      (accept-process-output nil 0.05))))

(let ((count (string-to-number (getenv "CRASH_COUNT"))))
  (crash-live (getenv "CRASH_LIFE") count (getenv "CRASH_FOREVER")))

;;; crash.el ends here
