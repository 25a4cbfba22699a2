;;; submission-accounts.el --- The account of a message -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; Which of `submission-accounts' a message belongs to, by its From header,
;; and what it is submitted with then.  The outbox keeps the settings with
;; the message, so this is asked once.

;;; Code:

(require 'smtpmail)
(require 'subr-x)
(require 'submission)
(require 'submission-settings)

(defconst submission-accounts--keys
  '( :server :port :user :security :sequence :ssh-host :ehlo-name
     :envelope-from)
  "What the settings of an account are made of.")

(defun submission-accounts-find (address)
  "Return the element of `submission-accounts' for ADDRESS, or nil.
Signal an error if its settings can't be read."
  (let ((account (and address
                      (cl-find-if (lambda (account)
                                    (submission-accounts--fits-p
                                     (car-safe account) address))
                                  submission-accounts))))
    (when account
      (submission-accounts-check account))
    account))

(defun submission-accounts--fits-p (who address)
  "Return non-nil if WHO, of an account, is ADDRESS."
  (let ((case-fold-search t)
        (at (submission-settings--last-at address)))
    (cond ((functionp who) (funcall who address))
          ((not (stringp who)) nil)
          ((string-equal (downcase who) (downcase address)))
          ((string-match-p "[[\\^$*]" who) (string-match-p who address))
          ((string-prefix-p "@" who)
           (and at (string-equal (downcase who)
                                 (downcase (substring address at))))))))

(defun submission-accounts-check (account)
  "Signal an error unless the settings of ACCOUNT are a plist that we know."
  (let ((settings (cdr account)))
    (unless (and (proper-list-p settings)
                 (zerop (% (length settings) 2)))
      (submission-settings--fail
       "The settings of `%s' are not a plist; set `submission-accounts'"
       (car account)))
    (while settings
      (unless (memq (car settings) submission-accounts--keys)
        (submission-settings--fail
         "`%s' is not a setting of an account; set `submission-accounts'"
         (car settings)))
      (setq settings (cddr settings)))))

(defun submission-accounts-chosen-p (plist)
  "Return non-nil if a server was named for this one message.
That is in PLIST, see `submission-submit', or by binding smtpmail's
variables, as is done for an X-Message-SMTP-Method header."
  (or (plist-member plist :host)
      (cl-some (lambda (variable)
                 (not (equal (symbol-value variable)
                             (default-toplevel-value variable))))
               '(smtpmail-smtp-server smtpmail-smtp-service
                                      smtpmail-smtp-user))))

(defun submission-accounts-of (message plist)
  "Return the element of `submission-accounts' for MESSAGE, or nil.
MESSAGE is a buffer or a file name, PLIST is for `submission-submit'."
  (and submission-accounts
       (if (bufferp message)
           (buffer-live-p message)
         (and (stringp message) (file-regular-p message)
              (file-readable-p message)))
       (not (submission-accounts-chosen-p plist))
       (cl-some #'submission-accounts-find
                (submission-settings-with-header message
                  (submission-settings-header-senders)))))

(defun submission-accounts-plist (account plist)
  "Return PLIST, see `submission-submit', completed from ACCOUNT."
  (let ((settings (cdr account))
        (result plist))
    (cl-flet ((add (keyword value)
                (unless (plist-member plist keyword)
                  (setq result (append result (list keyword value))))))
      (pcase-dolist (`(,key . ,keyword)
                     '((:server . :host) (:port . :port) (:user . :user)
                       (:security . :security) (:sequence . :sequence)))
        (when (or (plist-member settings key)
                  (and (memq key '(:port :user))
                       (plist-member settings :server)))
          (add keyword (plist-get settings key)))))
    result))

(defun submission-accounts-call (function account plist &optional mail)
  "Call FUNCTION with PLIST completed from ACCOUNT, under its options.
MAIL is non-nil if the sender in PLIST was only taken from a mail buffer."
  (let* ((settings (cdr account))
         (submission-ssh-host (if (plist-member settings :ssh-host)
                                  (plist-get settings :ssh-host)
                                submission-ssh-host))
         ;; That somebody wanted no TLS is about the other server.
         (smtpmail-stream-type (if (and (plist-member settings :server)
                                        (eq smtpmail-stream-type 'plain))
                                   nil
                                 smtpmail-stream-type))
         (submission-ehlo-name (if (plist-member settings :ehlo-name)
                                   (plist-get settings :ehlo-name)
                                 submission-ehlo-name)))
    (when (and (plist-get settings :envelope-from)
               (or mail (not (plist-member plist :from))))
      (setq plist (plist-put (copy-sequence plist)
                             :from (plist-get settings :envelope-from))))
    (funcall function (submission-accounts-plist account plist))))

(provide 'submission-accounts)

;;; submission-accounts.el ends here
