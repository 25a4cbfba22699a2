;;; queue.el --- A thousand messages that wait  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Prints a line for each measurement: WHAT FIGURE.  queue.go starts this in a
;; batch Emacs twice for each sender, with BENCH-WHO `submission' or `smtpmail':
;; with BENCH-COUNT to put so many messages into the queue, while the server is
;; down; and with BENCH-COUNT nil to send what waits.

;;; Code:

(require 'message)
(require 'smtpmail)
(require 'submission)

(defvar bench-port)
(defvar bench-who)
(defvar bench-count)

(setq user-full-name "Ann Writer"
      user-mail-address "ann@example.org"
      auth-sources nil
      smtpmail-smtp-server "127.0.0.1"
      smtpmail-smtp-service bench-port
      smtpmail-queue-mail (and bench-count t)
      smtpmail-queue-dir (expand-file-name "queue/" "~")
      nsm-settings-file (expand-file-name "network-security" "~")
      submission-directory (expand-file-name "outbox/" "~")
      submission-security 'opportunistic
      ;; What the security costs is no matter here.
      smtpmail-stream-type 'plain
      inhibit-message t)

(defun bench-print (what figure)
  "Print FIGURE, a number, as WHAT."
  (princ (format "%s %f\n" what figure)))

(defun bench-peak ()
  "Return the most memory that Emacs has had so far, in MB."
  (with-temp-buffer
    (insert-file-contents "/proc/self/status")
    (if (re-search-forward "^VmHWM:\\s-*\\([0-9]+\\)" nil t)
        (/ (string-to-number (match-string 1)) 1024.0)
      0)))

(defvar bench-last nil "When Emacs last listened.")
(defvar bench-longest 0 "The longest time for which it didn't.")
(defvar bench-total 0 "For how long it didn't altogether.")
(defconst bench-tick 0.005 "Emacs is asked so often, in seconds.")

(defun bench-listen ()
  "Note how long Emacs did not listen."
  (let* ((now (float-time))
         (gap (- now bench-last bench-tick)))
    (when (> gap 0)
      (setq bench-longest (max bench-longest gap)
            bench-total (+ bench-total gap)))
    (setq bench-last now)))

(defun bench-queue ()
  "Put a message of 10 KB into the queue."
  (with-temp-buffer
    (insert "From: ann@example.org\nTo: bob@example.org\nSubject: Figures\n"
            "Message-ID: <" (format "%d.%s" (random) (float-time)) "@example.org>\n"
            mail-header-separator "\n")
    (dotimes (_ 130)
      (insert (make-string 75 ?x) "\n"))
    (smtpmail-send-it)))

(when (eq bench-who 'submission)
  (submission-mode 1)
  (setq smtpmail-queue-mail nil))

(let ((start (float-time))
      (longest 0))
  (if bench-count
      (progn
        (dotimes (_ bench-count)
          (setq longest (max longest (car (benchmark-run 1 (bench-queue))))))
        (bench-print "queue" (- (float-time) start))
        (bench-print "queue-longest" longest)
        (submission-wait 600))
    (setq bench-last start)
    (run-at-time 0 bench-tick #'bench-listen)
    (if (eq bench-who 'smtpmail)
        (smtpmail-send-queued-mail)
      (submission-outbox-send-all)
      (submission-wait 600))
    (accept-process-output nil 0.02)
    (bench-print "send" (- (float-time) start))
    ;; Timers run within smtpmail's command, but nobody can do anything else.
    (bench-print "longest" (if (eq bench-who 'smtpmail)
                               (- (float-time) start)
                             bench-longest))
    (bench-print "total" (if (eq bench-who 'smtpmail)
                             (- (float-time) start)
                           bench-total))
    (bench-print "memory" (bench-peak))))

;;; queue.el ends here
