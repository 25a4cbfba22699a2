;;; submission-account.el --- Another account for a message -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; What a message is sent with is kept with it in the outbox.  Where that
;; is wrong, a person can give it other settings here.

;;; Code:

(require 'smtpmail)
(require 'subr-x)
(require 'submission)
(require 'submission-job)
(require 'submission-settings)

(defun submission-account-read ()
  "Ask the user for an account; return its settings, for `json-serialize'.
The defaults are those of a message that is sent now."
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
    (submission-account-settings host port user security)))

(defun submission-account-settings (host port user security)
  "Return the settings for HOST, PORT, USER and SECURITY, strings.
All but HOST may be empty."
  (car (submission-job-account-settings
        `( :host ,(string-trim host)
           :port ,(submission-receipt-text (string-trim port))
           :user ,(submission-receipt-text (string-trim user))
           ,@(and (not (string-empty-p security))
                  `(:security ,(intern security)))))))

(provide 'submission-account)

;;; submission-account.el ends here
