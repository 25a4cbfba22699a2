;;; submission-certificate.el --- Certificates that a person accepts -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; A message that is held because of the server's certificate has in its
;; state what is wrong with it.  A person can accept that one certificate
;; for that one server, for good or for the messages that wait for it.
;; What is accepted for good is kept as a fingerprint, a pin, in
;; `submission-pins-file', and goes with every message to that server
;; from then on.  A server that then shows another bad one leads to a new
;; question.
;;
;; A certificate is a plist, as the module tells it: :host, :problems,
;; :subject, :names, :issuer, :not-before, :not-after, :fingerprint, and
;; :pins, the fingerprints that were accepted before.

;;; Code:

(require 'seq)
(require 'subr-x)
(require 'submission)
(require 'submission-auth)
(require 'submission-channel)
(require 'submission-receipt)

(declare-function submission-act "submission-act" (id action &rest alist))

(defvar submission-certificate--asked nil
  "What was asked about in this session: lists (HOST FINGERPRINT).")

;;;; What was accepted for good

(defun submission-certificate--read ()
  "Return what `submission-pins-file' has, a list of plists.
A file that can't be read counts as empty: then nothing is trusted that
was accepted, and that is asked again."
  (when (file-exists-p submission-pins-file)
    (condition-case err
        (with-temp-buffer
          (let ((file-name-handler-alist nil)
                (coding-system-for-read 'utf-8-unix))
            (insert-file-contents submission-pins-file))
          (let ((pins (plist-get (submission-channel-decode (buffer-string))
                                 :pins)))
            (cl-remove-if-not
             (lambda (pin)
               (and (stringp (plist-get pin :host))
                    (string-match-p "\\`[0-9a-f]\\{64\\}\\'"
                                    (or (plist-get pin :fingerprint) ""))))
             pins)))
      (error (message "submission: %s can't be read (%s)" submission-pins-file
                      (error-message-string err))
             nil))))

(defun submission-certificate--write (pins)
  "Make PINS what `submission-pins-file' has."
  (let ((file (expand-file-name submission-pins-file))
        (file-name-handler-alist nil)
        (coding-system-for-write 'utf-8-unix)
        (new nil))
    (with-file-modes #o700
      (make-directory (file-name-directory file) t))
    (unwind-protect
        (with-file-modes #o600
          (setq new (make-temp-file (concat file ".new")))
          (write-region
           (concat (submission-channel-encode
                    `((version . 1)
                      (pins . ,(vconcat (mapcar #'submission-certificate--pin
                                                pins)))))
                   "\n")
           nil new nil 'quiet)
          (rename-file new file t)
          (setq new nil))
      (when new (ignore-errors (delete-file new))))))

(defun submission-certificate--pin (pin)
  "Return PIN, a plist, for `json-serialize'."
  (mapcar (lambda (key)
            (cons (intern (substring (symbol-name key) 1))
                  (or (plist-get pin key) "")))
          '(:host :fingerprint :accepted :subject :issuer :not-after)))

(defun submission-certificate--same-host-p (host other)
  "Return non-nil if HOST and OTHER name the same server."
  (string-equal (downcase host) (downcase other)))

(defun submission-certificate-pins (host)
  "Return the fingerprints that were accepted for good for HOST."
  (cl-loop for pin in (submission-certificate--read)
           when (submission-certificate--same-host-p host (plist-get pin :host))
           collect (plist-get pin :fingerprint)))

(defun submission-certificate--pin-for-good (certificate)
  "Accept CERTIFICATE from now on, in place of others of its server."
  (submission-certificate-forget (plist-get certificate :host))
  (submission-certificate--write
   (append (submission-certificate--read)
           (list (append (list :accepted (format-time-string "%FT%TZ" nil t))
                         certificate)))))

(defun submission-certificate-forget (host)
  "Accept no certificate of HOST any more that can't be verified.
What waits in the outbox keeps what was accepted for it."
  (let* ((pins (submission-certificate--read))
         (others (cl-remove-if
                  (lambda (pin)
                    (submission-certificate--same-host-p
                     host (plist-get pin :host)))
                  pins)))
    (unless (equal others pins)
      (submission-certificate--write others))))

;;;; The messages that wait

(defun submission-certificate--held ()
  "Return what is held because of a certificate: lists (ID CERTIFICATE)."
  (let ((directory (submission-channel-directory)))
    (delq nil
          (mapcar
           (lambda (file)
             (let ((state (submission-receipt-read-state file)))
               (and (equal (plist-get state :status) "held")
                    (equal (plist-get state :reason) "certificate")
                    (plist-get state :certificate)
                    (list (plist-get state :id)
                          (plist-get state :certificate)))))
           (and (file-directory-p directory)
                (directory-files directory t "\\`[^.].*\\.json\\'"))))))

(defun submission-certificate--waiting (host fingerprint)
  "Return what is held because HOST showed the certificate with FINGERPRINT.
The value is as that of `submission-certificate--held'."
  (cl-remove-if-not
   (lambda (held)
     (let ((certificate (cadr held)))
       (and (submission-certificate--same-host-p
             host (plist-get certificate :host))
            (equal fingerprint (plist-get certificate :fingerprint)))))
   (submission-certificate--held)))

(defun submission-certificate--send (id fingerprint)
  "Send the message with ID to the server with FINGERPRINT.
Return ID, or nil if it can't be sent now."
  (require 'submission-act)
  (condition-case err
      (progn (submission-act id "accept" `(pin . ,fingerprint))
             id)
    ;; Another Emacs has it, or it is gone.
    (submission-error
     (message "submission: %s" (error-message-string err))
     nil)))

;;;###autoload
(defun submission-certificate-accept (host fingerprint &optional once)
  "Accept the certificate with FINGERPRINT as that of HOST.
FINGERPRINT is the SHA-256 of the certificate in hexadecimal.  With ONCE
that holds for the messages that wait for it, and else for all messages
to HOST from now on.  Send the messages that wait for it, and return
their ids."
  (let* ((fingerprint (downcase (replace-regexp-in-string "[: ]" ""
                                                          fingerprint)))
         (waiting (submission-certificate--waiting host fingerprint)))
    (unless (string-match-p "\\`[0-9a-f]\\{64\\}\\'" fingerprint)
      (signal 'submission-settings-error
              (list (format-message "`%s' is not a SHA-256 fingerprint"
                                    fingerprint))))
    (unless once
      (submission-certificate--pin-for-good
       (or (cadar waiting) (list :host host :fingerprint fingerprint))))
    (delq nil (mapcar (lambda (held)
                        (submission-certificate--send (car held) fingerprint))
                      waiting))))

;;;; The question

(defun submission-certificate-held (certificate &optional elsewhere)
  "Deal with a message that is held because of CERTIFICATE.
If that was accepted since it was queued, it is sent.  Otherwise the
user is asked in a quiet moment, once.  With ELSEWHERE the message is in
another mailer's queue: the user, who sends it from there, is asked each
time."
  (let ((host (plist-get certificate :host))
        (fingerprint (plist-get certificate :fingerprint)))
    (cond ((member fingerprint (plist-get certificate :pins)))
          ((member fingerprint (submission-certificate-pins host))
           (dolist (held (submission-certificate--waiting host fingerprint))
             (submission-certificate--send (car held) fingerprint)))
          (noninteractive)
          (elsewhere
           (submission-auth-when-quiet #'submission-certificate--ask-elsewhere
                                       certificate))
          ((member (list host fingerprint) submission-certificate--asked))
          (t
           (push (list host fingerprint) submission-certificate--asked)
           (submission-auth-when-quiet #'submission-certificate--ask
                                       certificate)))))

(defun submission-certificate--ask (certificate)
  "Ask whether to accept CERTIFICATE, if a message still waits for it."
  (let ((host (plist-get certificate :host))
        (fingerprint (plist-get certificate :fingerprint)))
    (when (submission-certificate--waiting host fingerprint)
      (pcase (submission-certificate--read-answer
              certificate
              '(("always" ?a "for all messages to this server")
                ("once" ?o "for the messages that wait for it")
                ("no" ?n "leave them in the outbox")))
        ("always" (submission-certificate-accept host fingerprint))
        ("once" (submission-certificate-accept host fingerprint t))
        (_ (message "Mail to %s stays in the outbox; \
`M-x submission-certificates' asks again" host))))))

(defun submission-certificate--ask-elsewhere (certificate)
  "Ask whether to accept CERTIFICATE, for a message in another's queue."
  (let ((host (plist-get certificate :host))
        (fingerprint (plist-get certificate :fingerprint)))
    (unless (member fingerprint (submission-certificate-pins host))
      (pcase (submission-certificate--read-answer
              certificate '(("always" ?a "for all messages to this server")
                            ("no" ?n "don't")))
        ("always"
         (submission-certificate-accept host fingerprint)
         (message "Accepted; the mail to %s can be sent now" host))
        (_ (message "Mail to %s stays in the queue" host))))))

(defun submission-certificate--read-answer (certificate answers)
  "Show CERTIFICATE and ask whether to accept it; return one of ANSWERS.
The answer is a word, so that no key can give it by accident."
  (save-window-excursion
    (submission-certificate--show certificate)
    (condition-case nil
        (let ((read-answer-short nil))
          (read-answer (format "Accept this certificate of %s? "
                               (plist-get certificate :host))
                       answers))
      (quit nil))))

(defun submission-certificate--show (certificate)
  "Show CERTIFICATE in a buffer of its own."
  (with-current-buffer (get-buffer-create "*submission certificate*")
    (let ((inhibit-read-only t))
      (erase-buffer)
      (insert (submission-certificate-text certificate)))
    (special-mode)
    (goto-char (point-min))
    (display-buffer (current-buffer))))

(defun submission-certificate--problem (problem certificate)
  "Return PROBLEM of CERTIFICATE, a word of the module, as a sentence."
  (pcase problem
    ("name" (format "It is not for %s." (plist-get certificate :host)))
    ("expired" "Its time is over.")
    ("not-yet" "Its time has not begun.")
    ("self-signed" "Nobody vouches for it but itself.")
    ("issuer" "Who issued it is not trusted here.")
    ("changed" "It is NOT the one that was accepted before.")
    (_ "It can't be verified.")))

(defun submission-certificate--fingerprint (fingerprint)
  "Return FINGERPRINT as other programs print it."
  (mapconcat #'identity
             (seq-partition (upcase (or fingerprint "")) 2) ":"))

(defun submission-certificate-text (certificate)
  "Return what a person needs to know about CERTIFICATE."
  (cl-flet ((line (label value)
              (if (and value (not (equal value "")))
                  (format "%-15s %s\n" label value)
                "")))
    (concat
     (format "%s shows a certificate that can't be trusted:\n\n"
             (plist-get certificate :host))
     (mapconcat (lambda (problem)
                  (concat "  " (submission-certificate--problem
                                problem certificate)
                          "\n"))
                (plist-get certificate :problems) "")
     "\n"
     (line "Subject" (plist-get certificate :subject))
     (line "For" (string-join (plist-get certificate :names) ", "))
     (line "Issued by" (plist-get certificate :issuer))
     (line "Valid from" (plist-get certificate :not-before))
     (line "Valid until" (plist-get certificate :not-after))
     (line "SHA-256" (submission-certificate--fingerprint
                      (plist-get certificate :fingerprint)))
     (mapconcat (lambda (pin)
                  (line "Accepted before"
                        (submission-certificate--fingerprint pin)))
                (plist-get certificate :pins) "")
     "\nAccept it only if you know that it is the server's: whoever shows it\n"
     "reads your mail and password.  Compare the fingerprint with one that\n"
     "you have from the server's owner.\n")))

;;;; The list

(defvar submission-certificates-mode-map
  (let ((map (make-sparse-keymap)))
    (define-key map (kbd "RET") #'submission-certificates-show)
    (define-key map "a" #'submission-certificates-accept)
    (define-key map "o" #'submission-certificates-accept-once)
    (define-key map "d" #'submission-certificates-forget)
    map)
  "Keys in the list of certificates.")

(define-derived-mode submission-certificates-mode tabulated-list-mode
  "Certificates"
  "Mode of the list of certificates that need a person.
\\{submission-certificates-mode-map}"
  (setq tabulated-list-format [("Server" 30 t) ("Status" 24 t)
                               ("SHA-256" 20 t) ("Subject" 0 t)]
        tabulated-list-entries #'submission-certificate--entries)
  (tabulated-list-init-header))

(defun submission-certificate--entries ()
  "Return the entries of the list; the id of each is a certificate."
  (let ((seen nil) (entries nil))
    (pcase-dolist (`(,_ ,certificate) (submission-certificate--held))
      (let* ((host (plist-get certificate :host))
             (fingerprint (plist-get certificate :fingerprint))
             (waiting (length (submission-certificate--waiting
                               host fingerprint))))
        (unless (member (list host fingerprint) seen)
          (push (list host fingerprint) seen)
          (push (submission-certificate--entry
                 certificate (format "holds %d message%s" waiting
                                     (if (= waiting 1) "" "s")))
                entries))))
    (dolist (pin (submission-certificate--read))
      (push (submission-certificate--entry
             pin (format "accepted %.10s" (plist-get pin :accepted)))
            entries))
    (nreverse entries)))

(defun submission-certificate--entry (certificate status)
  "Return the entry of CERTIFICATE, whose STATUS is a string."
  (list certificate
        (vector (plist-get certificate :host) status
                (concat (substring (plist-get certificate :fingerprint) 0 16)
                        "…")
                (or (plist-get certificate :subject) ""))))

;;;###autoload
(defun submission-certificates ()
  "List the certificates that hold messages, and those you have accepted.
\\<submission-certificates-mode-map>\
\\[submission-certificates-show] shows one, \
\\[submission-certificates-accept] accepts it for its server from now on,
\\[submission-certificates-accept-once] only for the messages that wait \
for it, and \\[submission-certificates-forget] forgets an accepted one."
  (interactive)
  (let ((buffer (get-buffer-create "*submission certificates*")))
    (with-current-buffer buffer
      (submission-certificates-mode)
      (tabulated-list-print))
    (pop-to-buffer buffer)))

(defun submission-certificate--at-point ()
  "Return the certificate at point."
  (or (tabulated-list-get-id)
      (user-error "No certificate on this line")))

(defun submission-certificates-show ()
  "Show all about the certificate at point."
  (interactive)
  (submission-certificate--show (submission-certificate--at-point)))

(defun submission-certificate--accept-at-point (question once)
  "Ask QUESTION, a format, and accept the certificate at point.
ONCE is as in `submission-certificate-accept'."
  (let* ((certificate (submission-certificate--at-point))
         (host (plist-get certificate :host)))
    (when (save-window-excursion
            (submission-certificate--show certificate)
            (let ((use-short-answers nil))
              (yes-or-no-p (format question host))))
      (submission-certificate-accept
       host (plist-get certificate :fingerprint) once)
      (tabulated-list-print t))))

(defun submission-certificates-accept ()
  "Accept the certificate at point for its server from now on."
  (interactive)
  (submission-certificate--accept-at-point
   "Accept this certificate of %s from now on? " nil))

(defun submission-certificates-accept-once ()
  "Accept the certificate at point for the messages that wait for it."
  (interactive)
  (submission-certificate--accept-at-point
   "Accept this certificate of %s for what waits now? " t))

(defun submission-certificates-forget ()
  "Forget what was accepted for the server at point."
  (interactive)
  (let ((host (plist-get (submission-certificate--at-point) :host)))
    (when (yes-or-no-p (format "Accept no such certificate of %s any more? "
                               host))
      (submission-certificate-forget host)
      (tabulated-list-print t))))

(provide 'submission-certificate)

;;; submission-certificate.el ends here
