;;; queue.el --- Many messages that wait  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Does one of three things, as BENCH-WHAT says, and prints the figures:
;; `queue' puts BENCH-COUNT messages of 10 KB into the queue, the server being
;; down; `flush' sends what waits; `send' sends BENCH-COUNT messages.  queue.go
;; starts this after sender.el.

;;; Code:

(defvar bench-what)
(defvar bench-count)
(declare-function mew-draft-make-message "ext:mew-draft" (&optional _privacy-method signer))
(declare-function mew-smtp-flush-queue "ext:mew-smtp" (case &optional qfld))
(declare-function submission-outbox-send-all "submission" ())
(defvar mew-case-default)

;; As it is in an Emacs that somebody sits before.
(setq write-region-inhibit-fsync (>= emacs-major-version 29)
      smtpmail-queue-mail (and (eq bench-who 'smtpmail) (eq bench-what 'queue)))

(defun bench-one ()
  "Send a message, or put it into the queue."
  (bench-compose 1 10000)
  (if (and (eq bench-who 'mew) (eq bench-what 'queue))
      (mew-draft-make-message)
    (let ((buffer (current-buffer)))
      (bench-send)
      (unless (eq bench-who 'mew)
        (kill-buffer buffer)))))

(let ((start (float-time))
      (longest 0))
  (if (eq bench-what 'flush)
      (bench-watch (bench-wait)
        (pcase bench-who
          ('mew (mew-smtp-flush-queue mew-case-default))
          ('smtpmail (smtpmail-send-queued-mail))
          (_ (submission-outbox-send-all))))
    (dotimes (_ bench-count)
      (setq longest (max longest (car (benchmark-run 1 (bench-one))))))
    (bench-print "queued" (- (float-time) start))
    (bench-wait)
    (setq bench-longest longest))
  (bench-print "seconds" (- (float-time) start))
  (bench-print "longest" bench-longest)
  (bench-print "total" bench-total)
  (bench-print "memory" (bench-peak)))

;;; queue.el ends here
