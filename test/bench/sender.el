;;; sender.el --- Those who are measured  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; How each sender is set up, and how it sends.  The programs of this directory
;; start this in a batch Emacs before what they measure, with BENCH-WHO the
;; sender, `submission', `smtpmail', `smtpmail-async', `msmtp' or `mew',
;; BENCH-PORT the port of the server and BENCH-SECURITY `starttls', `tls' or
;; `plain'.  BENCH-USER is nil for a server that wants no password.  msmtp is
;; set up already, in ~/msmtp.  For Mew, ../e2e/mew.el was loaded before.

;;; Code:

(require 'message)
(require 'sendmail)
(require 'smtpmail)

(defvar bench-who)
(defvar bench-port)
(defvar bench-security)
(defvar bench-user)

(defvar async-smtpmail-before-send-hook)
(defvar mew-prog-ssl)
(defvar mew-prog-ssl-arg)
(defvar mew-smtp-auth-list)
(defvar mew-smtp-port)
(defvar mew-smtp-ssl)
(defvar mew-smtp-ssl-port)
(defvar mew-smtp-user)
(defvar mew-ssl-checkhost)
(defvar mew-story-passwords)
(defvar mew-use-smtp-auth)
(declare-function async-smtpmail-send-it "ext:smtpmail-async" ())
(declare-function mew-draft-send-message "ext:mew-draft" ())
(declare-function mew-ssl-setup "ext:mew-ssl" ())
(declare-function mew-story-draft "ext:mew" (to subject body &optional headers))
(declare-function mew-story-wait "ext:mew" ())
(declare-function submission-channel-open "submission-channel" ())
(declare-function submission-wait "submission-job" (&optional seconds))

(setq user-full-name "Ann Writer"
      user-mail-address "ann@example.org"
      smtpmail-smtp-server "127.0.0.1"
      smtpmail-smtp-service bench-port
      smtpmail-smtp-user bench-user
      smtpmail-stream-type (if (eq bench-security 'tls) 'ssl bench-security)
      smtpmail-local-domain "example.org"
      smtpmail-queue-dir (expand-file-name "queue/" "~")
      sendmail-program (expand-file-name "msmtp" "~")
      auth-sources (list (expand-file-name "authinfo" "~"))
      nsm-settings-file (expand-file-name "network-security" "~")
      message-auto-save-directory nil
      inhibit-message t)

(pcase bench-who
  ('submission
   (require 'submission)
   (require 'submission-job)
   (submission-mode 1)
   (submission-channel-open))           ; loading is not what is measured
  ('smtpmail-async
   (require 'smtpmail-async)
   ;; The other Emacs is to trust the same server.
   (setq async-smtpmail-before-send-hook
         `((lambda () (setq gnutls-trustfiles ',gnutls-trustfiles
                            auth-sources ',auth-sources)))))
  ('mew
   (setq mew-smtp-port bench-port
         mew-smtp-user bench-user
         mew-smtp-auth-list '("PLAIN")
         mew-use-smtp-auth (and bench-user t)
         mew-story-passwords (make-list 10 "secret"))
   (unless (eq bench-security 'plain)
     ;; With the port of TLS that of SMTP, Mew says STARTTLS there.
     (setq mew-smtp-ssl t
           mew-smtp-ssl-port bench-port
           mew-smtp-port (if (eq bench-security 'tls) "smtp" bench-port)
           mew-prog-ssl (expand-file-name "stunnel" "~")
           mew-prog-ssl-arg (format "CAfile=%s\ncheckIP=127.0.0.1\n"
                                    (car gnutls-trustfiles)))
     (make-directory "~/.certs" t)
     (mew-ssl-setup)
     (setq mew-ssl-checkhost nil))))     ; it is no name

(defun bench-compose (recipients bytes)
  "Make a message of about BYTES to so many RECIPIENTS the current buffer."
  (let ((to (mapconcat (lambda (n) (format "bob%03d@example.org" n))
                       (number-sequence 1 recipients) ", "))
        (line (concat (make-string 75 ?x) "\n")))
    (if (eq bench-who 'mew)
        (mew-story-draft to "Figures" "")
      (set-buffer (generate-new-buffer " *bench*"))
      (set-buffer-multibyte nil)
      (insert "From: ann@example.org\nTo: " to "\nSubject: Figures\n"
              (format "Message-ID: <%d.%s@example.org>\n" (random) (float-time))
              mail-header-separator "\n"))
    (dotimes (_ (/ bytes 76))
      (insert line))))

(defvar bench-process nil "The other Emacs of smtpmail-async.")

(defun bench-send ()
  "Call what C-c C-c calls to send the message in the current buffer."
  (pcase bench-who
    ('mew (mew-draft-send-message))
    ('msmtp (sendmail-send-it))
    ('smtpmail-async (setq bench-process (async-smtpmail-send-it)))
    (_ (smtpmail-send-it))))

(defun bench-wait ()
  "Wait until all is sent."
  (pcase bench-who
    ('mew (mew-story-wait))
    ('smtpmail-async (while (process-live-p bench-process)
                       (accept-process-output bench-process 1)))
    ('submission (unless (submission-wait 600)
                   (error "Still not sent")))))

(defun bench-print (what figure)
  "Print FIGURE, a number, as WHAT."
  (princ (format "BENCH %s %f\n" what figure)))

;;;; How long Emacs doesn't listen

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

(defmacro bench-watch (wait &rest body)
  "Measure for how long Emacs doesn't listen while BODY and then WAIT run.
Within BODY timers may run, but nobody can do anything else."
  (declare (indent 1))
  `(let ((timer nil)
         (start (float-time)))
     ,@body
     (setq bench-last (float-time)
           bench-total (- bench-last start)
           bench-longest bench-total
           timer (run-at-time 0 bench-tick #'bench-listen))
     ,wait
     (accept-process-output nil 0.02)
     (cancel-timer timer)))

(defun bench-peak ()
  "Return the most memory that Emacs has had so far, in MB."
  (with-temp-buffer
    ;; The file is Emacs's own: \"self\" is who reads it.
    (if (and (file-readable-p "/proc/self/status")
             (progn (insert-file-contents "/proc/self/status")
                    (re-search-forward "^VmHWM:\\s-*\\([0-9]+\\)" nil t)))
        (/ (string-to-number (match-string 1)) 1024.0)
      0)))

;;; sender.el ends here
