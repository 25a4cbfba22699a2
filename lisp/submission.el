;;; submission.el --- Background mail submission -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; Version: 0.1.0
;; Package-Requires: ((emacs "28.1"))
;; Keywords: mail

;; This program is free software; you can redistribute it and/or modify
;; it under the terms of the GNU General Public License as published by
;; the Free Software Foundation, either version 3 of the License, or
;; (at your option) any later version.

;; This program is distributed in the hope that it will be useful,
;; but WITHOUT ANY WARRANTY; without even the implied warranty of
;; MERCHANTABILITY or FITNESS FOR A PARTICULAR PURPOSE.  See the
;; GNU General Public License for more details.

;; You should have received a copy of the GNU General Public License
;; along with this program.  If not, see <https://www.gnu.org/licenses/>.

;;; Commentary:

;; Mail leaves Emacs in the background: the Submission port (587)
;; first, then the SMTP port (25) where 587 is not available.  Emacs
;; never waits for the network, and a message is on disk before the
;; sending command returns.
;;
;; With smtpmail set up, this in the init file is enough:
;;
;;     (require 'submission)
;;     (submission-mode 1)
;;
;; The work is done by a dynamic module, which
;; `submission-module-compile' builds in the background.
;;
;; This file has the options, the commands and the public functions.
;; The others are loaded when they are needed.  In each name,
;; "submission-" goes before:
;;
;; a message on its way    job (its life), settings (what it is sent
;;   with), accounts (by its sender), file (how it goes to the module),
;;   receipt (what came of it), report (what the user sees)
;; the connection          security (options), auth (passwords),
;;   certificate, tunnel (SSH), transcript (the dialogue), fallback
;;   (what is remembered of servers)
;; the module              loader (finding and building it), channel
;;   (its events)
;; the outbox              options, outbox (the list), table (its
;;   lines), entries (what is on disk), act (what a person does), menu,
;;   story (all about one message), signs (mode line), start (starting
;;   and leaving Emacs)
;; what the writer keeps   draft (editing again, undo, sending later),
;;   copies (Fcc and Gcc)
;; questions               check (what will happen), diagnose, with
;;   diagnose-words and diagnose-save (what a server is)
;; Mew                     mew, mew-settings, mew-queue, mew-recover

;;; Code:

(require 'cl-lib)
(require 'subr-x)
(require 'submission-security)

(declare-function message-narrow-to-headers "message" ())
(declare-function mail-envelope-from "sendmail" ())
(declare-function smtpmail-send-it "smtpmail" ())
(declare-function smtpmail-user-mail-address "smtpmail" ())
(declare-function smtpmail-maybe-append-domain "smtpmail" (recipient))
(declare-function submission-accounts-call "submission-accounts" (function account plist &optional mail))
(declare-function submission-accounts-of "submission-accounts" (message plist))
(declare-function submission-act-send-all "submission-act" ())
(declare-function submission-draft-extras "submission-draft" (message))
(declare-function submission-job-submit "submission-job" (message plist &optional coding extras))
(declare-function submission-job-wait "submission-job" (seconds &optional soon))
(declare-function submission-receipt-messages "submission-receipt" ())
(declare-function submission-settings-header-sender "submission-settings" ())
(declare-function submission-signs-stop "submission-signs" ())
(declare-function submission-start-now "submission-start" ())
(declare-function submission-start-soon "submission-start" ())

(defvar mail-envelope-from)
(defvar mail-specify-envelope-from)
(defvar message-send-mail-function)
(defvar send-mail-function)
(defvar smtpmail-code-conv-from)
(defvar smtpmail-mail-address)

(defconst submission-version "0.1.0"
  "The version of this package, and of the module that it needs.")

;;;; Errors

;; Each is a child of `submission-error'.  Those that the user can mend
;; now are `user-error's too.
(define-error 'submission-error "Mail not sent")
(define-error 'submission-user-error "Mail not sent"
  '(submission-error user-error))
(define-error 'submission-envelope-error "Mail not sent"
  '(submission-user-error))
(define-error 'submission-settings-error "Mail not sent"
  '(submission-user-error))
(define-error 'submission-outbox-error "Mail not sent"
  '(submission-user-error))
(define-error 'submission-module-missing "Mail not sent"
  '(submission-user-error))
(define-error 'submission-module-error "Mail not sent" '(submission-error))

;;;; Options

(defgroup submission nil
  "Background mail submission."
  :group 'mail
  :prefix "submission-")

(require 'submission-options)

(defcustom submission-sequence 'mew
  "Ports that are tried, in order, until a server answers.
`mew' (the default) tries port 587 and then port 25, over IPv4.
`ipv6-first' tries 587 over IPv6, 587 over IPv4 and 25 over IPv4.
`symmetric' tries 587 over IPv6 and IPv4, then 25 over IPv6 and
IPv4.  A list of (FAMILY . PORT) is tried as written; FAMILY is
`ipv4', `ipv6' or `any'.

A server with a port of its own (`smtpmail-smtp-service' other than
25 and 587) is tried on that port alone."
  :type '(choice
          (const :tag "IPv4: 587, then 25" mew)
          (const :tag "587 over IPv6 and IPv4, then 25 over IPv4" ipv6-first)
          (const :tag "587, then 25, each over IPv6 and IPv4" symmetric)
          (repeat :tag "Steps"
                  (cons (choice :tag "Address family"
                                (const :tag "IPv4" ipv4)
                                (const :tag "IPv6" ipv6)
                                (const :tag "Either" any))
                        (natnum :tag "Port"))))
  :package-version '(submission . "0.1.0"))

(defcustom submission-ehlo-name nil
  "The name that is told to the server in EHLO, or nil.
nil (the default) tells the address of this machine, which gives
nothing else away.  Set it to a host name for a server that wants
one."
  :type '(choice (const :tag "The address" nil) (string :tag "Host name"))
  :package-version '(submission . "0.1.0"))

(defcustom submission-remember-fallback t
  "Whether the step that worked is where the next message starts.
That is: if the steps before it were refused or did not answer, it is
remembered for a day, for the server anywhere or on this network.
t (the default) remembers it.  `ask' asks first, once for each server
and network.  nil starts each message at the first step, with its
alarm.  `submission-forget-fallbacks' clears what is remembered."
  :type '(choice (const :tag "Remember for a day" t)
                 (const :tag "Ask" ask)
                 (const :tag "Never" nil))
  :package-version '(submission . "0.1.0"))

(defcustom submission-fallback-file
  (locate-user-emacs-file "submission/fallbacks.json")
  "The file with what `submission-remember-fallback' remembers.
Default: submission/fallbacks.json in `user-emacs-directory'."
  :type 'file
  :package-version '(submission . "0.1.0"))

(defcustom submission-directory
  (locate-user-emacs-file "submission/outbox/")
  "The directory where messages wait until a server has accepted them.
It is created with mode 0700.  Default: submission/outbox/ in
`user-emacs-directory'."
  :type 'directory
  :package-version '(submission . "0.1.0"))

(defcustom submission-connect-timeout 10
  "Seconds until a step that got no answer is given up (default 10)."
  :type 'number
  :package-version '(submission . "0.1.0"))

(defcustom submission-tls-timeout 30
  "Seconds that a TLS handshake may take (default 30)."
  :type 'number
  :package-version '(submission . "0.1.0"))

(defcustom submission-greeting-timeout 300
  "Seconds to wait for a server's greeting (default 300).
Some servers make everyone wait on purpose."
  :type 'number
  :package-version '(submission . "0.1.0"))

(defcustom submission-command-timeout 300
  "Seconds to wait for the reply to a command (default 300)."
  :type 'number
  :package-version '(submission . "0.1.0"))

(defcustom submission-data-initiation-timeout 120
  "Seconds to wait for the reply to DATA (default 120)."
  :type 'number
  :package-version '(submission . "0.1.0"))

(defcustom submission-data-block-timeout 180
  "Seconds that the server may take to read a block (default 180)."
  :type 'number
  :package-version '(submission . "0.1.0"))

(defcustom submission-data-timeout 600
  "Seconds to wait for the reply to a whole message (default 600).
A message that got no reply may have arrived, so a short time makes
messages end as `uncertain'."
  :type 'number
  :package-version '(submission . "0.1.0"))

(defcustom submission-keep-connection 5
  "Seconds for which a connection is kept after a message (default 5).
The next message to that account's server needs no new connection and
no new login then.  0 means that connections are closed at once.  A
server sees a client that rests that long; it may close the connection,
which does no harm.  Nothing waits for it, Emacs's end neither."
  :type 'number
  :package-version '(submission . "0.1.0"))

(defcustom submission-chunking t
  "Whether messages go out with BDAT where the server offers it.
t (the default) saves a round trip: a message of up to 256 KB goes out
together with its envelope.  nil means DATA, for a server that offers
CHUNKING and gets it wrong."
  :type 'boolean
  :package-version '(submission . "0.1.0"))

(defcustom submission-finished-functions nil
  "Functions to call when it is known how a message went.
Each is called with one argument, a receipt, whenever a message
becomes accepted, refused, held, deferred, uncertain or cancelled.

A receipt is a plist with the keys `:id', `:message-id', `:status',
`:reason', `:host', `:address', `:family', `:port', `:tls', `:reply',
`:accepted', `:refused', `:attempts' and `:elapsed'."
  :type 'hook
  :package-version '(submission . "0.1.0"))

;;;; Sending through smtpmail

(defvar submission--replaced nil
  "Variables that `submission-mode' has set, each with its old value.")

(defun submission--via-smtp (recipients buffer &rest _)
  "Submit the message in BUFFER to RECIPIENTS.
This stands in for `smtpmail-via-smtp'.  Return nil, which means
success, once the message is in the outbox; signal an error if it
can't be put there."
  (with-current-buffer buffer
    (submission--check-header)
    (require 'submission-settings)
    (submission-submit--internal
     buffer
     (list :from (submission--smtpmail-sender)
           :to (submission--smtpmail-recipients recipients))
     smtpmail-code-conv-from
     (progn
       (require 'submission-draft)
       (submission-draft-extras buffer))))
  nil)

(defun submission--check-header ()
  "Signal an error if an address header of this buffer can't be trusted.
smtpmail drops control characters from addresses, which makes other
addresses of them."
  (save-excursion
    (save-restriction
      (message-narrow-to-headers)
      (goto-char (point-min))
      (let ((case-fold-search t))
        (when (re-search-forward
               "^\\(resent-\\)?\\(to\\|cc\\|from\\):\\(.*\n[ \t]\\)*.*[\0\r]"
               nil t)
          (signal 'submission-envelope-error
                  (list "There is a control character in an address; \
take it out")))))))

(defun submission--smtpmail-recipients (recipients)
  "Return RECIPIENTS, smtpmail's list, in the order of the header.
What is left of the syntax of a group is taken out of it."
  (delq nil
        (mapcar (lambda (recipient)
                  (let ((address (string-trim-right recipient ";+")))
                    (unless (string-suffix-p ":" address)
                      (smtpmail-maybe-append-domain address))))
                ;; smtpmail has collected them in reverse.
                (reverse recipients))))

(defun submission--smtpmail-sender ()
  "Return the envelope sender that smtpmail would use, or nil.
But a message that is resent is from who resends it, and not from who
wrote it, unless `mail-envelope-from' names somebody."
  (save-restriction
    (message-narrow-to-headers)
    (or (and (mail-fetch-field "resent-from")
             (not (and mail-specify-envelope-from
                       (stringp mail-envelope-from)))
             (submission-settings-header-sender))
        smtpmail-mail-address
        (and mail-specify-envelope-from (mail-envelope-from))
        (let ((from (mail-fetch-field "from")))
          (and from (cadr (mail-extract-address-components from))))
        (smtpmail-user-mail-address))))

;;;###autoload
(defun submission-send-it ()
  "Send the mail in the current buffer in the background.
This is for `message-send-mail-function' and `send-mail-function'.  The
message is prepared by `smtpmail-send-it' with smtpmail's variables,
and is in the outbox when this returns."
  (require 'smtpmail)
  (cl-letf (((symbol-function 'smtpmail-via-smtp) #'submission--via-smtp))
    (submission-copies-around-smtpmail #'smtpmail-send-it)))

;;;###autoload
(define-minor-mode submission-mode
  "Send mail in the background, wherever smtpmail would send it.
All that sends through smtpmail goes through `submission-submit'
instead, with smtpmail's variables, auth-source, queue and
X-Message-SMTP-Method headers.  Where nobody has chosen how mail is
sent (`sendmail-query-once'), smtpmail is used as long as the mode is
on."
  :global t
  :group 'submission
  (if submission-mode
      (submission--turn-on)
    (submission--turn-off)))

(defun submission--turn-on ()
  "Put ourselves in smtpmail's place."
  (advice-add 'smtpmail-via-smtp :override #'submission--via-smtp)
  (advice-add 'smtpmail-send-it :around #'submission-copies-around-smtpmail)
  ;; By the time of `message-send-hook' the header has been sorted.
  (advice-add 'message-send :before #'submission-draft-note)
  (advice-add 'message-send :around #'submission-copies-around-send)
  (require 'submission-start)
  (submission-start-soon)
  (dolist (variable '(send-mail-function message-send-mail-function))
    (when (and (boundp variable)
               (eq (default-value variable) 'sendmail-query-once))
      (push (cons variable 'sendmail-query-once) submission--replaced)
      (set-default variable 'smtpmail-send-it))))

(defun submission--turn-off ()
  "Undo what `submission--turn-on' did, unless it was changed since."
  (advice-remove 'smtpmail-via-smtp #'submission--via-smtp)
  (advice-remove 'smtpmail-send-it #'submission-copies-around-smtpmail)
  (advice-remove 'message-send #'submission-draft-note)
  (advice-remove 'message-send #'submission-copies-around-send)
  (when (featurep 'submission-signs)
    (submission-signs-stop))
  (pcase-dolist (`(,variable . ,value) submission--replaced)
    (when (eq (default-value variable) 'smtpmail-send-it)
      (set-default variable value)))
  (setq submission--replaced nil))

;;;; Sending from Lisp

(defun submission-submit (message &rest plist)
  "Submit MESSAGE in the background and return its id at once.
MESSAGE is a buffer or a file name: a complete message, header and
body, as it is to be sent.  A Bcc header is left out.  PLIST is made of
these keywords and values:

:from      the sender's address (default: that of Resent-From or From)
:to        a list of addresses (default: those of To, Cc and Bcc, or
           of Resent-To, Resent-Cc and Resent-Bcc)
:host      the server (default: `smtpmail-smtp-server')
:port      its port, or nil for the sequence (default: what
           `smtpmail-smtp-service' means)
:user      the user name (default: `smtpmail-smtp-user')
:security  as in `submission-security'
:sequence  as in `submission-sequence'
:callback  a function to call with the receipt, at the moments
           `submission-finished-functions' are called; it is lost when
           Emacs ends

When this returns, the message is in the outbox, on disk.  Errors are
children of `submission-error'; then nothing was submitted."
  (submission-submit--internal message plist))

(defun submission-submit--internal (message plist &optional coding extras)
  "Submit MESSAGE with PLIST, see `submission-submit'; return its id.
CODING is the coding system of a multibyte buffer (default UTF-8).
EXTRAS are for `submission-job-submit'."
  (when (version< emacs-version "28.1")
    (signal 'submission-module-missing
            (list (format "This needs Emacs 28.1 or later, and this is %s"
                          emacs-version))))
  (require 'submission-job)
  (require 'submission-accounts)
  (let ((account (and submission-accounts
                      (submission-accounts-of message plist))))
    (submission-accounts-call
     (lambda (plist) (submission-job-submit message plist coding extras))
     account plist (and extras t))))

(defun submission-wait (&optional seconds)
  "Wait until nothing is being sent, at most SECONDS (default: for ever).
Events are handled in the meantime.  Return t when no message is queued
or sending and every hook and callback has run, nil when the time was
up.  Messages that are deferred, held or uncertain don't count."
  (when (featurep 'submission-start)
    (submission-start-now))
  (or (not (featurep 'submission-job))
      (submission-job-wait seconds)))

(defun submission-messages ()
  "Return the receipts of all messages in the outbox, oldest first.
`submission-finished-functions' says what a receipt is."
  (require 'submission-receipt)
  (submission-receipt-messages))

;;;###autoload
(defun submission-outbox-send-all ()
  "Try now to send all that waits in the outbox.
That is what is deferred, and what is queued or sending but whose Emacs
is gone; not what is held or uncertain.  Return the ids; with some
thousand messages it takes longer to find them, and it returns nil."
  (interactive)
  (require 'submission-act)
  (submission-act-send-all))

(autoload 'submission-forget-fallbacks "submission-fallback" nil t)
(autoload 'submission-certificates "submission-certificate" nil t)
(autoload 'submission-certificate-accept "submission-certificate")
(autoload 'submission-module-compile "submission-loader" nil t)
(autoload 'submission-outbox "submission-outbox" nil t)
(autoload 'submission-mew-mode "submission-mew" nil t)
(autoload 'submission-mew-release "submission-mew-queue" nil t)
(autoload 'submission-undo "submission-draft" nil t)
(autoload 'submission-send-later "submission-draft" nil t)
(autoload 'submission-draft-note "submission-draft")
(autoload 'submission-copies-around-send "submission-copies")
(autoload 'submission-copies-around-smtpmail "submission-copies")
(autoload 'submission-check "submission-check" nil t)
(autoload 'submission-copies-again "submission-copies" nil t)
(autoload 'submission-diagnose "submission-diagnose" nil t)

(provide 'submission)

;;; submission.el ends here
