;;; submission-settings.el --- What a message is sent with -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; The envelope and the settings of a message, from what the caller
;; gave, our options and smtpmail's.  Everything is checked here, before
;; anything is written: each error names what to mend.

;;; Code:

(require 'gnutls)
(require 'mail-utils)
(require 'puny)
(require 'smtpmail)
(require 'subr-x)
(require 'submission)
(require 'submission-certificate)

(defun submission-settings--fail (format &rest args)
  "Signal a `submission-settings-error' with the text FORMAT and ARGS."
  (signal 'submission-settings-error
          (list (apply #'format-message format
                       (mapcar #'submission-settings--quote args)))))

(defun submission-settings--bad-envelope (format &rest args)
  "Signal a `submission-envelope-error' with the text FORMAT and ARGS."
  (signal 'submission-envelope-error
          (list (apply #'format-message format
                       (mapcar #'submission-settings--quote args)))))

(defun submission-settings--quote (object)
  "Return OBJECT as text for an error, without control characters."
  (replace-regexp-in-string
   "[[:cntrl:]\x7f]" (lambda (char) (text-char-description (aref char 0)))
   (format "%s" object) t t))

;;;; The envelope

(defun submission-settings-address (address)
  "Return ADDRESS as the envelope has it.
Its domain becomes A-labels.  Signal an error if it can't be sent to."
  (unless (stringp address)
    (submission-settings--bad-envelope "`%s' is not an address" address))
  (let* ((text (submission-settings--decode address))
         (at (submission-settings--last-at text)))
    (when (string-match-p "\\`\\(@\\|\\'\\)\\|[[:cntrl:]\x7f <>]\\|@\\'" text)
      (submission-settings--bad-envelope
       "`%s' is not an address: it is not complete, or has a space, an angle \
bracket or a control character in it" text))
    (if at
        (concat (substring text 0 (1+ at))
                (submission-settings-a-labels (substring text (1+ at))))
      text)))

(defun submission-settings--decode (string)
  "Return STRING with raw bytes decoded as UTF-8."
  (if (string-match-p "\\`[[:ascii:]]*\\'" string)
      string
    (let ((decoded (decode-coding-string
                    (encode-coding-string string 'utf-8-unix) 'utf-8-unix)))
      (when (cl-some (lambda (char) (>= char #x3fff80)) decoded)
        (submission-settings--bad-envelope
         "`%s' is not an address: it is not valid UTF-8" string))
      decoded)))

(defun submission-settings--last-at (string)
  "Return the position of the last @ in STRING, or nil."
  (cl-position ?@ string :from-end t))

(defun submission-settings-a-labels (domain)
  "Return DOMAIN with what is not ASCII as A-labels."
  (if (string-match-p "\\`[[:ascii:]]*\\'" domain)
      domain
    (puny-encode-domain (downcase domain))))

(defun submission-settings-envelope (from recipients)
  "Return the checked envelope, as (FROM . RECIPIENTS).
RECIPIENTS that are equal become one."
  (when (or (null from) (equal from ""))
    (submission-settings--bad-envelope
     "No sender; add a From header or set `user-mail-address'"))
  (unless recipients
    (submission-settings--bad-envelope
     "No recipients; add a To, Cc or Bcc header"))
  (cons (submission-settings-address from)
        (delete-dups (mapcar #'submission-settings-address recipients))))

;;;; The envelope from the header of a message

(defmacro submission-settings-with-header (message &rest body)
  "Evaluate BODY in a temporary buffer with the header of MESSAGE.
MESSAGE is a buffer or a file name."
  (declare (indent 1) (debug t))
  `(with-temp-buffer
     (submission-settings--insert-header ,message)
     ,@body))

(defun submission-settings--insert-header (message)
  "Insert the header of MESSAGE, a buffer or file name, with LF line ends."
  (if (bufferp message)
      (insert (with-current-buffer message
                (save-excursion
                  (goto-char (point-min))
                  (re-search-forward "^\r?$" nil 'move)
                  (buffer-substring-no-properties (point-min) (point)))))
    (insert-file-contents-literally message nil 0 1000000))
  (goto-char (point-min))
  (when (re-search-forward "^\r?$" nil t)
    (delete-region (match-beginning 0) (point-max)))
  (goto-char (point-min))
  (while (re-search-forward "\r+$" nil t)
    (replace-match "")))

(defun submission-settings-header-senders ()
  "Return the addresses of who sends the message whose header is here.
That is Resent-From or else From.  Where that names several, the one in
Sender is the first (RFC 5322, section 3.6.2)."
  (let* ((resent (mail-fetch-field "Resent-From"))
         (from (or resent (mail-fetch-field "From")))
         (addresses (and from (submission-settings--addresses from)))
         (sender (and (cdr addresses)
                      (mail-fetch-field (if resent "Resent-Sender"
                                          "Sender")))))
    (append (and sender (submission-settings--addresses sender)) addresses)))

(defun submission-settings-header-sender ()
  "Return the address of who sends the message whose header is here, or nil."
  (car (submission-settings-header-senders)))

(defun submission-settings-header-recipients ()
  "Return the addresses of the recipients in the header in this buffer.
These are those of the Resent headers where there are any."
  (let ((case-fold-search t)
        (prefix ""))
    (goto-char (point-min))
    (when (re-search-forward "^Resent-\\(To\\|Cc\\|Bcc\\):" nil t)
      (setq prefix "Resent-"))
    (mapcan (lambda (name)
              (let ((value (mail-fetch-field (concat prefix name) nil t)))
                (and value (submission-settings--addresses value))))
            (list "To" "Cc" "Bcc"))))

(defun submission-settings--addresses (value)
  "Return the addresses in VALUE, the value of an address header (RFC 5322).
Names, comments, routes and the syntax of groups are left out.  What is
not an address after that is returned as well, to be complained about."
  (with-temp-buffer
    (insert value)
    (goto-char (point-min))
    (let ((quoted "\"\\(?:\\\\\\(?:.\\|\n\\)\\|[^\"\\]\\)*\"?")
          (text "") (angle nil) (addresses nil))
      (while (not (and (eobp) (string-empty-p text) (null angle)))
        (cond ((or (eobp) (memq (char-after) '(?, ?\;)))
               (let ((address (or angle (string-trim text))))
                 (when (or angle (not (string-empty-p address)))
                   (push address addresses)))
               (setq text "" angle nil)
               (unless (eobp) (forward-char)))
              ((eq (char-after) ?:)
               (setq text "")
               (forward-char))
              ((eq (char-after) ?\()
               (submission-settings--skip-comment))
              ((looking-at (format "<\\(\\(?:%s\\|[^>\"]\\)*\\)>?" quoted))
               (goto-char (match-end 0))
               (setq angle (replace-regexp-in-string
                            "\\`@[^:]*:" ""
                            (string-trim (match-string 1)))))
              ((looking-at (concat quoted "\\|\\[[^]]*\\]?\\|\\\\\\(?:.\\|\n\\)"
                                   "\\|[^],;:(<\"[\\]+\\|."))
               (goto-char (match-end 0))
               (setq text (concat text (match-string 0))))))
      (nreverse addresses))))

(defun submission-settings--skip-comment ()
  "Move over the comment that begins at point; comments nest."
  (let ((depth 0))
    (while (and (re-search-forward "\\\\.\\|[()]" nil 'move)
                (pcase (match-string 0)
                  ("(" (setq depth (1+ depth)))
                  (")" (< 0 (setq depth (1- depth))))
                  (_ t))))))

;;;; The server

(defconst submission-settings--services
  '((nil . 0) ("smtp" . 0) ("submission" . 0)
    ("submissions" . 465) ("smtps" . 465))
  "What `smtpmail-smtp-service' can be beside a number; 0 is the sequence.")

(defun submission-settings-host (host)
  "Return HOST as A-labels, or signal an error if it can't be a server."
  (unless (and (stringp host) (not (string-empty-p host)))
    (submission-settings--fail
     "No server; set `smtpmail-smtp-server' to the name of your mail server"))
  (let ((name (condition-case nil
                  (submission-settings-a-labels host)
                (error ""))))
    (unless (or (submission-settings--host-name-p name)
                (submission-settings--ip-p name))
      (submission-settings--fail
       "`%s' can't be the name of a server; set `smtpmail-smtp-server'" host))
    (replace-regexp-in-string "\\`\\[\\(.*\\)\\]\\'" "\\1" name)))

(defun submission-settings--host-name-p (name)
  "Return non-nil if NAME can be that of a host, in ASCII."
  (let ((labels (split-string (string-remove-suffix "." name) "\\.")))
    (and (<= (length name) 254)
         (cl-every (lambda (label)
                     (string-match-p
                      "\\`[0-9A-Za-z_]\\([0-9A-Za-z_-]\\{0,61\\}\
[0-9A-Za-z_]\\)?\\'"
                      label))
                   labels)
         (not (string-match-p "\\`[0-9]+\\'" (car (last labels)))))))

(defun submission-settings--ip-p (name)
  "Return non-nil if NAME is an IP address, maybe in brackets."
  (let* ((byte "\\(25[0-5]\\|2[0-4][0-9]\\|1[0-9][0-9]\\|[1-9]?[0-9]\\)")
         (ipv4 (format "%s\\.%s\\.%s\\.%s" byte byte byte byte))
         (name (replace-regexp-in-string "\\`\\[\\(.*\\)\\]\\'" "\\1" name)))
    (or (string-match-p (concat "\\`" ipv4 "\\'") name)
        (let* ((name (replace-regexp-in-string "%[^]% /]+\\'" "" name))
               (name (replace-regexp-in-string (concat ":" ipv4 "\\'")
                                               ":0:0" name))
               (short (string-search "::" name))
               (groups (split-string name ":" t)))
          (and (string-match-p "\\`[0-9A-Fa-f:]+\\'" name)
               (not (string-match-p ":::\\|::.*::\\|\\`:[^:]\\|[^:]:\\'" name))
               (cl-every (lambda (group) (<= (length group) 4)) groups)
               (if short
                   (<= (length groups) 7)
                 (= (length groups) 8)))))))

(defun submission-settings-port (service)
  "Return the port that SERVICE is, 0 for the sequence.
SERVICE is as in `smtpmail-smtp-service'."
  (let* ((name (if (stringp service) (downcase service) service))
         (known (assoc name submission-settings--services))
         (port (cond (known (cdr known))
                     ((integerp service) service)
                     ((and (stringp service)
                           (string-match-p "\\`[0-9]\\{1,5\\}\\'" service))
                      (string-to-number service)))))
    (unless (and port (or known (<= 1 port 65535)))
      (submission-settings--fail
       "`%s' is not a port; set `smtpmail-smtp-service'" service))
    (if (memq port '(25 587)) 0 port)))

(defun submission-settings--keyword-port (port)
  "Return PORT, a number or nil for the sequence, as the module has it."
  (cond ((null port) 0)
        ((and (integerp port) (<= 1 port 65535)) port)
        ((stringp port) (submission-settings-port port))
        (t (submission-settings--fail "`%s' is not a port" port))))

;;;; The sequence

(defconst submission-settings--sequences
  '((mew (ipv4 . 587) (ipv4 . 25))
    (ipv6-first (ipv6 . 587) (ipv4 . 587) (ipv4 . 25))
    (symmetric (ipv6 . 587) (ipv4 . 587) (ipv6 . 25) (ipv4 . 25)))
  "The sequences that have a name.")

(defun submission-settings-steps (sequence)
  "Return the list of (FAMILY . PORT) that SEQUENCE stands for."
  (let ((steps (if (consp sequence)
                   sequence
                 (cdr (assq sequence submission-settings--sequences)))))
    (unless (and steps (proper-list-p steps)
                 (cl-every (lambda (step)
                             (and (consp step)
                                  (memq (car step) '(ipv4 ipv6 any))
                                  (integerp (cdr step))
                                  (<= 1 (cdr step) 65535)))
                           steps))
      (submission-settings--fail
       "`%s' is not a sequence; set `submission-sequence'" sequence))
    steps))

;;;; All settings

(defun submission-settings-get (plist)
  "Return the settings that PLIST and the options ask for, checked.
PLIST has the keywords of `submission-submit'.  The value is a plist
with :host, :name (the host as the user wrote it), :port (0 for the
sequence), :steps, :sequence (its name, a string), :user, :security
\(nil if that depends on whether there is a password) and :mechanisms."
  (let* ((name (if (plist-member plist :host)
                   (plist-get plist :host)
                 smtpmail-smtp-server))
         (host (submission-settings-host name))
         (sequence (or (plist-get plist :sequence) submission-sequence))
         (port (cond ((plist-member plist :port)
                      (submission-settings--keyword-port
                       (plist-get plist :port)))
                     ((plist-get plist :sequence) 0)
                     (t (submission-settings-port smtpmail-smtp-service))))
         (security (submission-settings--security
                    (or (plist-get plist :security) submission-security)
                    port)))
    (list :host host
          :name name
          :port (if (and (eq security 'tls) (eql port 0)) 465 port)
          :steps (submission-settings-steps sequence)
          :sequence (if (symbolp sequence) (symbol-name sequence) "")
          :user (submission-settings--user
                 (if (plist-member plist :user)
                     (plist-get plist :user)
                   smtpmail-smtp-user))
          :security security
          :mechanisms (submission-settings-mechanisms))))

(defun submission-settings--user (user)
  "Return USER, or nil if it is empty; signal an error if it can't be one."
  (unless (string-or-null-p user)
    (submission-settings--fail
     "`%s' is not a user name; set `smtpmail-smtp-user'" user))
  (and user (not (string-empty-p user)) user))

(defun submission-settings--security (ours port)
  "Return the security on PORT, or nil if a password decides.
OURS is what our own option or the caller says, or nil."
  (unless (memq ours '(nil starttls opportunistic tls plain))
    (submission-settings--fail
     "`%s' is not a security; set `submission-security'" ours))
  (cond ((eql port 465) 'tls)
        (ours)
        (t (pcase smtpmail-stream-type
             ('nil nil)
             ((or 'ssl 'tls) 'tls)
             ((or 'starttls 'plain) smtpmail-stream-type)
             (other (submission-settings--fail
                     "`%s' is not a type of stream; set `smtpmail-stream-type'"
                     other))))))

(defun submission-settings-json (settings security user &optional token)
  "Return SETTINGS with SECURITY and USER, for `json-serialize'.
TOKEN is what auth-source has for the server, or nil."
  `((host . ,(plist-get settings :host))
    (port . ,(plist-get settings :port))
    (sequence . ,(vconcat (mapcar (lambda (step)
                                    `((family . ,(symbol-name (car step)))
                                      (port . ,(cdr step))))
                                  (plist-get settings :steps))))
    (sequence-name . ,(plist-get settings :sequence))
    (security . ,(symbol-name security))
    (user . ,(or user ""))
    (allow-cleartext-auth . ,(if submission-allow-cleartext-auth t :false))
    (remember . ,(symbol-name submission-remember-fallback))
    (retry-minutes . ,(submission-settings--retry-minutes))
    (refresh-date . ,(if submission-refresh-date t :false))
    (keep-connection . ,(submission-settings--keep))
    (chunking . ,(if submission-chunking t :false))
    ,@(submission-settings--identity settings token)
    ,@(submission-settings--way settings)
    ,@(submission-settings--requests)
    ,@(submission-settings-connection)))

(defun submission-settings--retry-minutes ()
  "Return `submission-retry-minutes', for `json-serialize'."
  (unless (and (consp submission-retry-minutes)
               (cl-every (lambda (minutes)
                           (and (numberp minutes) (< 0 minutes 1.0e6)))
                         submission-retry-minutes))
    (submission-settings--fail
     "`submission-retry-minutes' must be a list of numbers, not `%s'"
     submission-retry-minutes))
  (vconcat submission-retry-minutes))

(defun submission-settings--keep ()
  "Return `submission-keep-connection', for `json-serialize'."
  (unless (and (numberp submission-keep-connection)
               (<= 0 submission-keep-connection 3600))
    (submission-settings--fail
     "`submission-keep-connection' must be at most 3600 seconds, not `%s'"
     submission-keep-connection))
  submission-keep-connection)

(defun submission-settings-connection ()
  "Return what is the same for every server, for `json-serialize'."
  `((ehlo-name . ,(submission-settings--ehlo-name))
    (trust-files . ,(vconcat (submission-settings--trust-files)))
    (timeouts . ,(submission-settings--timeouts))))

(defun submission-settings--trust-files ()
  "Return the absolute names of the files that `submission-tls-trust-files' is."
  (mapcar #'expand-file-name
          (if (eq submission-tls-trust-files t)
              (gnutls-trustfiles)
            submission-tls-trust-files)))

(defun submission-settings--ehlo-name ()
  "Return `submission-ehlo-name', \"\" for nil, if it can be said in EHLO."
  (let ((name (or submission-ehlo-name "")))
    (unless (and (stringp name) (string-match-p "\\`[!-~]*\\'" name))
      (submission-settings--fail
       "`%s' can't be said in EHLO; set `submission-ehlo-name'" name))
    name))

(defun submission-settings--timeouts ()
  "Return the time limits, for `json-serialize'."
  (mapcar (pcase-lambda (`(,key . ,option))
            (let ((seconds (symbol-value option)))
              ;; What is more than the module can count would be no time.
              (unless (and (numberp seconds) (< 0 seconds 1.0e9))
                (submission-settings--fail
                 "`%s' must be a number of seconds, not `%s'" option seconds))
              (cons key seconds)))
          '((connect . submission-connect-timeout)
            (tls . submission-tls-timeout)
            (greeting . submission-greeting-timeout)
            (command . submission-command-timeout)
            (data-initiation . submission-data-initiation-timeout)
            (data-block . submission-data-block-timeout)
            (data . submission-data-timeout))))

;;;; Who we are, and which way

(defconst submission-settings--mechanisms
  '("EXTERNAL" "SCRAM-SHA-256-PLUS" "SCRAM-SHA-256" "SCRAM-SHA-1"
    "OAUTHBEARER" "XOAUTH2" "CRAM-MD5" "PLAIN" "LOGIN")
  "The mechanisms of AUTH that the module knows.")

(defun submission-settings-mechanisms (&optional token)
  "Return the names of the mechanisms that may be used; nil is all.
TOKEN is what auth-source has for the server, or nil."
  (let ((own (plist-get token :smtp-auth)))
    (if own
        (list (upcase own))
      (unless (proper-list-p submission-auth-mechanisms)
        (submission-settings--bad-mechanism submission-auth-mechanisms))
      (mapcar (lambda (name)
                (let ((known (and (stringp name) (upcase name))))
                  (unless (member known submission-settings--mechanisms)
                    (submission-settings--bad-mechanism name))
                  known))
              submission-auth-mechanisms))))

(defun submission-settings--bad-mechanism (name)
  "Signal that NAME is not a mechanism of AUTH."
  (submission-settings--fail
   "`%s' is not a mechanism; set `submission-auth-mechanisms'" name))

(defun submission-settings--identity (settings token)
  "Return how SETTINGS let us prove who we are, for `json-serialize'.
TOKEN is what auth-source has for the server, or nil."
  (let ((pair (submission-settings--client-certificate token)))
    `((auth-mechanisms . ,(vconcat (submission-settings-mechanisms token)))
      (client-certificate . ((key . ,(or (car pair) ""))
                             (certificate . ,(or (cadr pair) ""))))
      (pins . ,(vconcat (submission-certificate-pins
                         (plist-get settings :host)))))))

(defun submission-settings--client-certificate (token)
  "Return the files (KEY CERTIFICATE) to show to a server, or nil.
TOKEN is what auth-source has for the server, or nil."
  (pcase submission-tls-client-certificate
    ('nil nil)
    ('t (let ((key (plist-get token :key))
              (certificate (plist-get token :cert)))
          (and key certificate
               (file-readable-p key) (file-readable-p certificate)
               (list (expand-file-name key) (expand-file-name certificate)))))
    (`(,(and (pred stringp) key) ,(and (pred stringp) certificate))
     (dolist (file (list key certificate))
       (unless (file-readable-p file)
         (submission-settings--fail
          "`%s' can't be read; set `submission-tls-client-certificate'" file)))
     (list (expand-file-name key) (expand-file-name certificate)))
    (other
     (submission-settings--fail
      "`%s' is not a key and a certificate; set \
`submission-tls-client-certificate'" other))))

(defun submission-settings--for-server (value settings)
  "Return VALUE, or what it has for the server of SETTINGS if it is an alist."
  (if (consp value)
      (cdr (cl-find-if (lambda (pair)
                         (cl-some (lambda (name)
                                    (and (stringp (car-safe pair))
                                         (string-equal (downcase (car pair))
                                                       (downcase name))))
                                  (list (plist-get settings :host)
                                        (plist-get settings :name))))
                       value))
    value))

(defun submission-settings--way (settings)
  "Return the way to the server of SETTINGS, for `json-serialize'."
  (let ((ssh (or (submission-settings--for-server submission-ssh-host settings)
                 ""))
        (proxy (or (submission-settings--for-server submission-proxy settings)
                   "")))
    ;; Neither an option of ssh, nor more than one word.
    (unless (and (stringp ssh)
                 (string-match-p "\\`\\([^][:space:][:cntrl:]-][^[:space:][:cntrl:]]*\\)?\\'"
                                 ssh))
      (submission-settings--fail
       "`%s' is not a host for ssh; set `submission-ssh-host'" ssh))
    ;; A password here would end up in the outbox.
    (unless (and (stringp proxy)
                 (string-match-p "\\`\\(socks5h?://[^]@/[:space:][:cntrl:]]+/?\\|\
socks5h?://\\[[0-9A-Fa-f:.]+]\\(:[0-9]+\\)?/?\\)?\\'"
                                 proxy))
      (submission-settings--fail
       "`%s' is not a proxy such as socks5://localhost:9050, without a user \
name; set `submission-proxy'"
       proxy))
    (unless (or (string-empty-p ssh) (string-empty-p proxy))
      (submission-settings--fail
       "There is both a tunnel and a proxy; set `submission-ssh-host' or \
`submission-proxy' to nil"))
    `((ssh-host . ,ssh)
      (proxy . ,proxy))))

(defun submission-settings--requests ()
  "Return what else is asked of a server, for `json-serialize'."
  (let ((notify submission-dsn-notify))
    (unless (or (eq notify 'never)
                (and (proper-list-p notify)
                     (cl-every (lambda (word)
                                 (memq word '(success failure delay)))
                               notify)))
      (submission-settings--fail
       "`%s' can't be reported; set `submission-dsn-notify'" notify))
    `((dsn . ((notify . ,(vconcat (mapcar (lambda (word)
                                            (upcase (symbol-name word)))
                                          (ensure-list notify))))
              (return . "")))
      (require-tls . ,(if submission-require-tls t :false))
      (transcript . ,(if submission-transcript t :false)))))

(provide 'submission-settings)

;;; submission-settings.el ends here
