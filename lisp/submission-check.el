;;; submission-check.el --- What will happen to a message -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; `submission-check' says in plain words with what a message from this
;; buffer would be sent, and what is missing for that.  It looks at the
;; same things as the sending command does, and talks to no server.

;;; Code:

(require 'message)
(require 'smtpmail)
(require 'subr-x)
(require 'submission)
(require 'submission-accounts)
(require 'submission-auth)
(require 'submission-channel)
(require 'submission-loader)
(require 'submission-settings)

(defmacro submission-check--with-header (&rest body)
  "Evaluate BODY in a copy of the header of this buffer, if it has mail."
  (declare (indent 0) (debug t))
  `(when (derived-mode-p 'message-mode 'mail-mode)
     (let ((header (save-excursion
                     (save-restriction
                       (widen)
                       (message-narrow-to-headers-or-head)
                       (buffer-substring-no-properties (point-min)
                                                       (point-max))))))
       (with-temp-buffer
         (insert header)
         (unless (bolp) (insert "\n"))
         (insert mail-header-separator "\n")
         (goto-char (point-min))
         ,@body))))

(defun submission-check--from ()
  "Return the addresses that the current buffer's mail would be from."
  (or (submission-check--with-header
        (message-narrow-to-headers-or-head)
        (ignore-errors (submission-settings-header-senders)))
      (list user-mail-address)))

(defun submission-check--method ()
  "Return what the X-Message-SMTP-Method field of this mail buffer has, or nil.
That is also what Emacs 29 and later put there."
  (submission-check--with-header
    (when (and (bound-and-true-p message-server-alist)
               (fboundp 'message-update-smtp-method-header))
      (ignore-errors (message-update-smtp-method-header)))
    (message-field-value "X-Message-SMTP-Method")))

(defun submission-check--call-with-method (method function)
  "Call FUNCTION with smtpmail's variables as METHOD has them.
METHOD is the value of an X-Message-SMTP-Method field, or nil."
  (pcase (split-string (or method ""))
    (`("smtp" ,server ,service . ,rest)
     (let* ((port (string-to-number service))
            (smtpmail-smtp-server server)
            (smtpmail-smtp-service (if (> port 0) port service))
            (smtpmail-stream-type (if (= port 465) 'tls smtpmail-stream-type))
            (smtpmail-smtp-user (or (car rest) smtpmail-smtp-user)))
       (funcall function)))
    (_ (funcall function))))

(defun submission-check--words (err)
  "Return the words of the error ERR, without its name."
  (if (and (stringp (cadr err)) (null (cddr err)))
      (cadr err)
    (error-message-string err)))

(defun submission-check--module ()
  "Return (t . TEXT) if the module can be used, else (nil . TEXT)."
  (condition-case err
      (progn
        (submission-loader-ensure)
        (cons t (format-message "the module is loaded and fits (version %s)"
                        submission-version)))
    (error (cons nil (submission-check--words err)))))

(defun submission-check--outbox ()
  "Return (t . TEXT) if the outbox can be written, else (nil . TEXT)."
  (let ((directory (submission-channel-directory)))
    (if (if (file-exists-p directory)
            (and (file-directory-p directory) (file-writable-p directory))
          (file-writable-p (or (locate-dominating-file directory
                                                       #'file-directory-p)
                               "/")))
        (cons t (abbreviate-file-name directory))
      (cons nil (format-message "%s can't be written; set `submission-directory'"
                        (abbreviate-file-name directory))))))

(defun submission-check--way (method)
  "Return nil if we send the mail of this buffer, or else a sentence about it.
METHOD is as in `submission-check--call-with-method'."
  (let* ((variable (if (derived-mode-p 'message-mode)
                       'message-send-mail-function
                     'send-mail-function))
         (function (symbol-value variable)))
    (when (memq function '(nil message-use-send-mail-function
                               message--default-send-mail-function))
      (setq variable 'send-mail-function
            function send-mail-function))
    (cond ((and submission-mode (string-prefix-p "smtp " (or method "")))
           nil)
          ((eq function 'submission-send-it) nil)
          ((not submission-mode)
           (format-message "mail from this buffer does not go through \
submission; turn on `submission-mode'"))
          ((memq function '(smtpmail-send-it message-smtpmail-send-it)) nil)
          ((and (symbolp function)
                (memq function '(sendmail-send-it mailclient-send-it
                                 sendmail-query-once
                                 message-send-mail-with-sendmail
                                 message-send-mail-with-qmail
                                 message-send-mail-with-mh
                                 message-send-mail-with-mailclient)))
           (format-message "`%s' sends the mail of this buffer, and not submission; \
set `%s' to `smtpmail-send-it'" function variable))
          (t
           (format-message "`%s' sends the mail of this buffer; submission has to do \
with it only if that calls `smtpmail-send-it'"
                   (if (symbolp function) function variable))))))

(defun submission-check--secret (settings)
  "Return how we say who we are with SETTINGS: (TOKEN . TEXT).
TOKEN is nil if auth-source has nothing, and (:failed t) if it could not
be asked."
  (let* ((account (submission-auth-account settings))
         (token (let ((submission-oauth2-token-function nil))
                  (submission-auth-lookup account)))
         (user (or (plist-get settings :user) (plist-get token :user)))
         (sources (mapconcat (lambda (source)
                               (format-message "%s" (or (plist-get
                                                 (ensure-list source) :source)
                                                source)))
                             (or auth-sources '("no source")) ", ")))
    (cons token
          (cond ((and submission-oauth2-token-function user)
                 (format-message "a token for `%s' comes from \
`submission-oauth2-token-function'" user))
                ((plist-get token :failed)
                 (format-message "auth-source (%s) could not be read" sources))
                (token
                 (format-message "the password of `%s' comes from auth-source (%s)"
                         user sources))
                ((plist-get settings :user)
                 (format-message "auth-source (%s) has no entry for `%s' at %s; you \
are asked for the password" sources (plist-get settings :user)
                         (plist-get settings :name)))
                (t
                 (format-message "none, unless the server asks for one: auth-source \
(%s) has no entry for %s"
                         sources (plist-get settings :name)))))))

(defconst submission-check--securities
  '((starttls . "STARTTLS with a verified certificate, or the message is held")
    (opportunistic . "STARTTLS if the server offers it; someone on the way \
may read the mail; no password without a verified certificate")
    (tls . "TLS from the start, with a verified certificate")
    (plain . "none; everyone on the way can read the mail, and a password is \
used only where that doesn't show it"))
  "What each security means.")

(defun submission-check--steps (settings)
  "Return what is tried with SETTINGS, as text."
  (let ((port (plist-get settings :port)))
    (if (/= port 0)
        (format-message "port %d alone" port)
      (mapconcat (lambda (step)
                   (format-message "%d%s" (cdr step)
                           (pcase (car step)
                             ('ipv4 " over IPv4") ('ipv6 " over IPv6")
                             (_ ""))))
                 (plist-get settings :steps) ", then "))))

(defun submission-check--gather ()
  "Return the value of `submission-check'."
  (let* ((from (submission-check--from))
         (module (submission-check--module))
         (outbox (submission-check--outbox))
         (method (submission-check--method))
         (way (submission-check--way method))
         (missing (delq nil (list (and (not (car module)) (cdr module))
                                  (and (not (car outbox)) (cdr outbox)))))
         (result (list :from (car from) :module (cdr module) :outbox (cdr outbox))))
    (when way (push way missing))
    (condition-case err
        (let ((account (and (null method)
                            (cl-some #'submission-accounts-find from))))
          (setq result (nconc result
                              (list :account
                                    (cond (method "the one that \
X-Message-SMTP-Method names")
                                          (account
                                           (format-message "the one for `%s' in \
`submission-accounts'" (car account)))
                                          (t "the one of smtpmail's \
variables")))))
          (submission-check--call-with-method
           method
           (lambda ()
             (submission-accounts-call
              (lambda (plist)
                (setq result (nconc result
                                    (submission-check--settings plist))))
              account nil))))
      (error (push (submission-check--words err) missing)))
    (when (plist-get result :failed)
      (push (plist-get result :password) missing))
    (append result (list :missing (nreverse missing)))))

(defun submission-check--settings (plist)
  "Return the part of the value that is about a message with PLIST."
  (let* ((settings (submission-settings-get plist))
         (secret (submission-check--secret settings))
         (user (or (plist-get settings :user)
                   (plist-get (car secret) :user)))
         (security (or (plist-get settings :security)
                       (if (or user (car secret)) 'starttls 'opportunistic)))
         (json (submission-settings-json settings security user)))
    (list :server (plist-get settings :name)
          :user user
          :sequence (submission-check--steps settings)
          :security security
          :envelope-from (plist-get plist :from)
          :ssh-host (let ((host (alist-get 'ssh-host json)))
                      (and (not (string-empty-p host)) host))
          :proxy (let ((proxy (alist-get 'proxy json)))
                   (and (not (string-empty-p proxy)) proxy))
          :ehlo-name (or submission-ehlo-name "the address of this machine")
          :password (cdr secret)
          :failed (and (plist-get (car secret) :failed) t))))

(defun submission-check-text (check)
  "Return CHECK, the value of `submission-check', as plain words."
  (let ((lines nil))
    (cl-flet ((add (label value)
                (when value
                  (push (format "%-13s %s" (concat label ":") value) lines))))
      (add "From" (plist-get check :from))
      (add "Account" (plist-get check :account))
      (add "Server" (plist-get check :server))
      (add "Ports" (plist-get check :sequence))
      (add "Security" (cdr (assq (plist-get check :security)
                                 submission-check--securities)))
      (add "User" (plist-get check :user))
      (add "Password" (plist-get check :password))
      (add "SSH tunnel" (plist-get check :ssh-host))
      (add "Proxy" (plist-get check :proxy))
      (add "Failures to" (plist-get check :envelope-from))
      (add "EHLO name" (plist-get check :ehlo-name))
      (add "Module" (plist-get check :module))
      (add "Outbox" (plist-get check :outbox)))
    (concat (string-join (nreverse lines) "\n") "\n\n"
            (if (plist-get check :missing)
                (concat "What is missing:\n"
                        (mapconcat (lambda (text) (concat "- " text))
                                   (plist-get check :missing) "\n"))
              "Nothing is missing on this side; no server was asked.")
            "\n")))

;;;###autoload
(defun submission-check ()
  "Say what a message from this buffer would be sent with.
That is for its From header or, where it has none, for
`user-mail-address': the account, the server, the ports, the security,
where the password comes from, whether the module can be used, and what
is missing.  No server is asked, and no password is shown.

Return a plist with :from, :account, :server, :user, :sequence,
:security (a symbol), :password (where it comes from), :envelope-from,
:ssh-host, :proxy, :ehlo-name, :module, :outbox and :missing, a list of
sentences that is nil if all is well."
  (interactive)
  (let ((check (submission-check--gather)))
    (when (called-interactively-p 'any)
      (with-help-window "*submission check*"
        (princ (submission-check-text check))))
    check))

(provide 'submission-check)

;;; submission-check.el ends here
