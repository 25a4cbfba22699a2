;;; trips.el --- Messages whose round trips are counted  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Sends two messages for each number of recipients in BENCH-RECIPIENTS, one
;; after the other.  trips.go starts this in a batch Emacs, with BENCH-WHO the
;; sender, `submission', `smtpmail' or `smtpmail-async', BENCH-PORT the port of
;; the server and BENCH-TLS whether TLS is there from the start.  BENCH-USER is
;; nil for a server that wants no password.  The server counts.

;;; Code:

(require 'message)
(require 'smtpmail)

(defvar bench-who)
(defvar bench-port)
(defvar bench-tls)
(defvar bench-user)
(defvar bench-recipients)
(defvar async-smtpmail-before-send-hook)

(setq user-full-name "Ann Writer"
      user-mail-address "ann@example.org"
      smtpmail-smtp-server "127.0.0.1"
      smtpmail-smtp-service bench-port
      smtpmail-smtp-user bench-user
      smtpmail-stream-type (if bench-tls 'ssl 'starttls)
      smtpmail-local-domain "example.org"
      auth-sources (list (expand-file-name "authinfo" "~"))
      nsm-settings-file (expand-file-name "network-security" "~")
      message-auto-save-directory nil
      inhibit-message t)

(defun bench-fill (recipients)
  "Make this buffer a message to so many RECIPIENTS."
  (insert "From: ann@example.org\nTo: "
          (mapconcat (lambda (n) (format "bob%03d@example.org" n))
                     (number-sequence 1 recipients) ",\n ")
          "\nSubject: Figures\nMessage-ID: <"
          (format "%d.%s" (random) (float-time)) "@example.org>\n"
          mail-header-separator "\n")
  (dotimes (_ 20)
    (insert (make-string 70 ?x) "\n")))

(pcase bench-who
  ('submission
   (require 'submission)
   (require 'submission-job)
   (submission-mode 1))
  ('smtpmail-async
   (require 'smtpmail-async)
   ;; The other Emacs is to trust the same server.
   (setq async-smtpmail-before-send-hook
         `((lambda () (setq gnutls-trustfiles ',gnutls-trustfiles
                            auth-sources ',auth-sources))))))

(defun bench-send ()
  "Send the message in this buffer, and wait until it is sent."
  (pcase bench-who
    ('smtpmail-async
     (let ((process (async-smtpmail-send-it)))
       (while (process-live-p process)
         (accept-process-output process 1))))
    (_ (smtpmail-send-it)
       (when (eq bench-who 'submission)
         (unless (submission-wait 600)
           (error "Still not sent"))))))

(dolist (recipients bench-recipients)
  ;; Another name makes another connection.
  (setq submission-ehlo-name (format "bench%d.example.org" recipients))
  (dotimes (_ 2)
    (with-temp-buffer
      (bench-fill recipients)
      (bench-send))))

;;; trips.el ends here
