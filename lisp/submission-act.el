;;; submission-act.el --- What a person does with a message -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; To cancel, hold, send again and so on.  The module does it and tells of
;; it by events, for with a message that is being sent it may be too late.

;;; Code:

(require 'smtpmail)
(require 'subr-x)
(require 'submission)
(require 'submission-accounts)
(require 'submission-channel)
(require 'submission-entries)
(require 'submission-file)
(require 'submission-job)
(require 'submission-settings)
(require 'submission-signs)
(require 'submission-start)

(declare-function submission-module-act "ext:submission-module" (json) t)
(declare-function submission-module-send-all "ext:submission-module" (json) t)
(declare-function submission-module-take-over "ext:submission-module" (json) t)

(defun submission-act (id action &rest alist)
  "Do ACTION, a string, with the message with ID; ALIST belongs to it.
An error says why nothing could be done."
  (let* ((directory (submission-channel-open))
         (job (submission-job-find id directory)))
    (submission-start-arm)
    (setf (submission-job-wish job)
          (pcase action ("cancel" 'cancel) ("hold" 'hold)))
    (condition-case err
        (apply #'submission-module-act
               (list (apply #'submission-channel-argument directory
                            `(id . ,id) `(action . ,action) alist)))
      (error
       (setf (submission-job-wish job) nil)
       (signal (car err) (cdr err))))
    ;; Another server has another password.
    (when (equal action "settings")
      (setf (submission-job-account job) nil))
    ;; `submission-wait' waits for it from now on.
    (when (member action '("send" "accept"))
      (setf (submission-job-status job) 'queued
            (submission-job-due job) nil))
    (submission-signs-changed id)))

(defun submission-act-stop (id function)
  "See to it that the message with ID is not sent, then call FUNCTION with it.
That is at once if the message rests, and else when it is known that it
has not been sent."
  (submission-entries-look id)
  (let* ((entry (submission-entries-get id))
         (status (and entry (submission-entry-status entry))))
    (pcase status
      ('nil (user-error "The message is not in the outbox any more"))
      ((or 'accepted 'cancelled)
       (user-error "It is too late: the message is %s" status))
      ((or 'queued 'deferred 'sending)
       (submission-act--hold-then id function))
      (_ (funcall function id)))))

(defun submission-act--hold-then (id function)
  "Hold the message with ID and call FUNCTION with it when it rests."
  (let ((job (submission-job-find id (submission-channel-directory))))
    (setf (submission-job-then job)
          (lambda (receipt)
            (pcase (plist-get receipt :status)
              ((and status (or 'accepted 'cancelled))
               (message "It is too late: the message is %s" status))
              (_ (submission-act-stop id function)))))
    (condition-case err
        (submission-act id "hold")
      (error
       (setf (submission-job-then job) nil)
       (signal (car err) (cdr err))))
    ;; What rested is held by now.
    (submission-entries-look id)
    (let ((entry (submission-entries-get id)))
      (when (and entry (eq (submission-entry-status entry) 'held)
                 (submission-job-then job))
        (setf (submission-job-then job) nil)
        (funcall function id)))))

(defun submission-act-newest-waiting ()
  "Return the id of the newest message that waits for its time, or nil."
  (let ((newest nil))
    (dolist (job (submission-job-all))
      (when (and (eq (submission-job-status job) 'queued)
                 (submission-job-due job)
                 (time-less-p nil (submission-job-due job)))
        (setq newest (submission-job-id job))))
    newest))

(defun submission-act-delete (entry)
  "Remove ENTRY from the outbox, whatever it is."
  (let ((id (submission-entry-id entry)))
    (if (assq (submission-entry-status entry) submission-entries-problems)
        (submission-act--delete-files id)
      (submission-act id "cancel"))))

(defun submission-act--delete-files (id)
  "Delete the files of the message with ID, which the module can't deal with."
  (dolist (suffix '(".eml" ".draft" ".json"))
    (let ((file (submission-entries-file id suffix)))
      (when (file-exists-p file)
        (delete-file file t))))
  (submission-signs-changed id))

;;;; Other settings

;; What a message is sent with is kept with it in the outbox.  Where that
;; is wrong, a person can give it other settings.

(defun submission-act-read-settings ()
  "Ask the user for the settings of a message, for `json-serialize'.
They are those of one of `submission-accounts', where there are any, or
else are read one by one; the defaults are what mail is sent with now."
  (let ((name (and submission-accounts
                   (completing-read
                    "Account (empty: other settings): "
                    (mapcar #'submission-act--account-name
                            submission-accounts)
                    nil t))))
    (if (or (null name) (string-empty-p name))
        (submission-act--read-each)
      (submission-act--settings
       (cl-find name submission-accounts :test #'equal
                :key #'submission-act--account-name)
       nil))))

(defun submission-act--account-name (account)
  "Return who ACCOUNT, one of `submission-accounts', is for, as text."
  (format "%s" (car account)))

(defun submission-act--read-each ()
  "Ask the user for each setting of a message; return them as JSON has them."
  (let* ((now (ignore-errors (submission-settings-get nil)))
         (host (read-string "Server: " (or (plist-get now :name)
                                           smtpmail-smtp-server)))
         (port (read-string "Port (empty: as `submission-sequence' says): "
                            (let ((port (plist-get now :port)))
                              (and port (/= port 0)
                                   (number-to-string port)))))
         (user (read-string "User name (empty: none): "
                            (plist-get now :user)))
         (security (completing-read
                    "Security (empty: by the account): "
                    '("starttls" "opportunistic" "tls" "plain") nil t
                    (and (plist-get now :security)
                         (symbol-name (plist-get now :security))))))
    (submission-act--settings
     nil
     `( :host ,(string-trim host)
        :port ,(submission-receipt-text (string-trim port))
        :user ,(submission-receipt-text (string-trim user))
        ,@(and (not (string-empty-p security))
               `(:security ,(intern security)))))))

(defun submission-act--settings (account plist)
  "Return the settings of ACCOUNT and PLIST, for `json-serialize'.
ACCOUNT is one of `submission-accounts' or nil, PLIST is as in
`submission-submit'."
  (when account (submission-accounts-check account))
  (submission-accounts-call
   (lambda (plist) (car (submission-job-account-settings plist)))
   account plist))

;;;; All that waits

(defun submission-act-send-all ()
  "Try now to send all that waits; return the ids, if they are known soon."
  (submission-file-make-directory)
  (let* ((directory (submission-channel-open))
         (text (submission-module-send-all
                (submission-channel-argument directory)))
         (ids (and text (submission-channel-decode text))))
    (submission-start-arm)
    (cond (text
           (submission-job-take ids directory)
           (submission-channel-later
            #'message "Sending %d message%s from the outbox"
            (length ids) (if (= (length ids) 1) "" "s")))
          (t
           (setq submission-job--taking t)
           (submission-channel-later
            #'message "Sending what waits in the outbox")))
    ids))

(defun submission-act-take-over ()
  "Have all that waits tried now, in the background.
What this Emacs has to do with already is left alone."
  (let ((directory (submission-channel-open)))
    (submission-start-arm)
    (setq submission-job--taking t)
    (submission-module-take-over
     (submission-channel-argument
      directory
      `(skip . ,(vconcat (mapcar #'submission-job-id
                                 (submission-job-all))))))))

(provide 'submission-act)

;;; submission-act.el ends here
