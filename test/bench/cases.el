;;; cases.el --- How long the paper's cases take  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Prints a line for each server: the seconds until it was known what its port
;; 587 does, those until the first message was accepted, and those of a second
;; message.  cases_linux.go starts this in a batch Emacs at the client of the
;; network laboratory, with BENCH-HOSTS the servers, a vector, and BENCH-ALARM the alarm.

;;; Code:

(require 'submission)

(defvar bench-hosts)
(defvar bench-alarm)

(setq inhibit-message t
      auth-sources nil
      submission-connect-timeout bench-alarm)

(defun bench-deliver (host)
  "Send a message to HOST and return its receipt."
  (let ((last nil))
    (with-temp-buffer
      (insert "From: ann@example.org\nTo: bob@example.org\nSubject: Figures\n"
              (format "Message-ID: <%s@example.org>\n\n" (float-time)) "x\n")
      (submission-submit (current-buffer) :host host
                         :callback (lambda (receipt) (setq last receipt))))
    (submission-wait 60)
    (unless (eq (plist-get last :status) 'accepted)
      (error "The message to %s: %S" host last))
    last))

(dolist (host (append bench-hosts nil))
  (let ((first (bench-deliver host)))
    (princ (format "%f %f %f\n"
                   (plist-get (car (plist-get first :attempts)) :elapsed)
                   (plist-get first :elapsed)
                   (plist-get (bench-deliver host) :elapsed)))))

;;; cases.el ends here
