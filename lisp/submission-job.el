;;; submission-job.el --- The life of a message, as Lisp sees it -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; A message is checked, written to a file in the outbox and handed to
;; the module, which answers with an id.  Each change of its state comes
;; back as an event with a revision; one that is not newer than what was
;; handled is dropped.  Where the status is one that people wait for, the
;; callback and the hook run, outside the filter; after that an accepted
;; or cancelled message is settled, which removes it from disk.

;;; Code:

(require 'subr-x)
(require 'submission)
(require 'submission-auth)
(require 'submission-certificate)
(require 'submission-channel)
(require 'submission-fallback)
(require 'submission-receipt)
(require 'submission-report)
(require 'submission-settings)
(require 'submission-transcript)
(require 'submission-tunnel)

(declare-function submission-module-submit "ext:submission-module" (json) t)
(declare-function submission-module-settle "ext:submission-module" (json) t)
(declare-function submission-module-act "ext:submission-module" (json) t)
(declare-function submission-module-send-all "ext:submission-module" (json) t)

(cl-defstruct submission-job
  "A message that this Emacs has to do with."
  id
  directory  ; of its outbox
  (rev 0)    ; of the state that was handled last
  status     ; a symbol
  callback   ; what the caller gave us, or nil
  account)   ; see submission-auth.el, or nil

(defvar submission-job--table (make-hash-table :test #'equal)
  "The jobs of this Emacs, by id.")

(defconst submission-job--told
  '(accepted refused held deferred uncertain cancelled)
  "The statuses at which the hook and the callback run.")

;;;; Submitting

(defun submission-job-submit (message plist &optional coding)
  "Submit MESSAGE with PLIST and CODING, see `submission-submit'.
Return its id."
  (submission-job--check-arguments message plist)
  (let* ((envelope (submission-job--envelope message plist))
         (settings (submission-settings-get plist))
         (account (submission-auth-account settings))
         ;; So that a bad option is told before a password is looked up.
         (_ (submission-settings-json settings 'starttls nil)))
    (submission-job--make-directory)
    (let* ((directory (submission-channel-open))
           (token (submission-auth-lookup account))
           (user (or (plist-get settings :user) (plist-get token :user)))
           (security (or (plist-get settings :security)
                         (if (or user token) 'starttls 'opportunistic)))
           (id (submission-job--hand-over
                directory message coding envelope
                (submission-settings-json settings security user token)
                token)))
      (submission-auth-give id token)
      (puthash id (make-submission-job
                   :id id :directory directory :status 'queued :account account
                   :callback (plist-get plist :callback))
               submission-job--table)
      (submission-report-queued id (plist-get settings :name)
                                (cdr envelope))
      (submission-channel-later #'submission-job--tell-sending
                                id (plist-get settings :name))
      id)))

(defun submission-job--check-arguments (message plist)
  "Signal an error unless MESSAGE and PLIST fit `submission-submit'."
  (unless (or (and (bufferp message) (buffer-live-p message))
              (and (stringp message) (file-regular-p message)
                   (file-readable-p message)))
    (signal 'submission-envelope-error
            (list (format-message
                   "`%s' is neither a buffer nor a file that can be read"
                   message))))
  (let ((rest plist))
    (while rest
      (unless (memq (car rest) '( :from :to :host :port :user :security
                                  :sequence :callback))
        (signal 'submission-settings-error
                (list (format-message "`%s' is not a keyword of `submission-submit'"
                              (car rest)))))
      (setq rest (cddr rest))))
  (unless (or (null (plist-get plist :callback))
              (functionp (plist-get plist :callback)))
    (signal 'submission-settings-error (list "The callback is not a function")))
  (unless (proper-list-p (plist-get plist :to))
    (signal 'submission-envelope-error
            (list "The recipients are not a list of addresses"))))

(defun submission-job--envelope (message plist)
  "Return the envelope of MESSAGE, as (FROM . RECIPIENTS), PLIST first."
  (let ((from (plist-get plist :from))
        (to (plist-get plist :to)))
    (unless (and from (plist-member plist :to))
      (submission-settings-with-header message
        (unless from
          (setq from (submission-settings-header-sender)))
        (unless (plist-member plist :to)
          (setq to (submission-settings-header-recipients)))))
    (submission-settings-envelope from to)))

(defun submission-job--hand-over (directory message coding envelope
                                            settings token)
  "Put MESSAGE into the outbox in DIRECTORY and return its id.
CODING, ENVELOPE, SETTINGS and TOKEN belong to it."
  (let ((file (submission-job--write-draft directory message coding))
        (id nil))
    (unwind-protect
        (setq id (submission-auth-call
                  #'submission-module-submit token directory
                  `(file . ,file)
                  `(envelope . ((from . ,(car envelope))
                                (to . ,(vconcat (cdr envelope)))))
                  `(settings . ,settings)))
      (unless id
        (ignore-errors (delete-file file))))
    id))

;;;; The message file

(defmacro submission-job--with-outbox (&rest body)
  "Evaluate BODY, which writes to the outbox, with only plain files in it.
An error of a file becomes a `submission-outbox-error'."
  (declare (indent 0) (debug t))
  `(condition-case err
       (let ((file-name-handler-alist nil))
         ,@body)
     (file-error
      (signal 'submission-outbox-error
              (list (format "The outbox %s can't be written (%s); mend that \
or set `submission-directory'"
                            (submission-channel-directory)
                            (error-message-string err)))))))

(defun submission-job--make-directory ()
  "Create the directory of the outbox if it is not there."
  (submission-job--with-outbox
    (with-file-modes #o700
      (make-directory (submission-channel-directory) t))))

(defun submission-job--write-draft (directory message coding)
  "Write MESSAGE, in CODING if it is a multibyte buffer, to DIRECTORY.
Return the name of the file, which is the module's from then on."
  (let ((source (and (stringp message) (or (file-local-copy message) message)))
        (file nil)
        (complete nil))
    (submission-job--with-outbox
      (unwind-protect
          (with-file-modes #o600
            (setq file (make-temp-file
                        (expand-file-name ".draft-" directory)))
            (if source
                (copy-file source file t nil nil nil)
              (submission-job--write-buffer message coding file))
            (set-file-modes file #o600)
            (setq complete t)
            file)
        (when (and source (not (equal source message)))
          (delete-file source))
        (when (and file (not complete))
          (ignore-errors (delete-file file)))))))

(defun submission-job--write-buffer (buffer coding file)
  "Write BUFFER to FILE as it is, in CODING if it is multibyte.
Line ends and syncing are the module's work."
  (with-current-buffer buffer
    (let ((coding-system-for-write
           (if (submission-job--bytes-p)
               'no-conversion
             (coding-system-change-eol-conversion (or coding 'utf-8) 'unix)))
          (write-region-inhibit-fsync t)
          (write-region-annotate-functions nil)
          (write-region-post-annotation-function nil)
          (buffer-file-format nil))
      (write-region (point-min) (point-max) file nil 0))))

(defun submission-job--bytes-p ()
  "Return non-nil if nothing in this buffer needs to be encoded.
Writing is some five times faster then."
  (or (not enable-multibyte-characters)
      (= (- (position-bytes (point-max)) (position-bytes (point-min)))
         (- (point-max) (point-min)))))

;;;; Events

(defun submission-job--find (id directory)
  "Return the job with ID in DIRECTORY, a new one if there is none yet."
  (or (gethash id submission-job--table)
      (puthash id (make-submission-job :id id :directory directory)
               submission-job--table)))

(defun submission-job--state-event (event)
  "Handle EVENT, the state of a message."
  (submission-job--handle (submission-job--find (plist-get event :id)
                                                (plist-get event :directory))
                          (plist-get event :state)))

(defun submission-job--handle (job state)
  "Take over STATE of the message of JOB unless it is old news."
  (let ((rev (plist-get state :rev))
        (status (submission-receipt-symbol (plist-get state :status))))
    (when (and status (integerp rev) (> rev (submission-job-rev job)))
      (setf (submission-job-rev job) rev
            (submission-job-status job) status)
      (when (memq status submission-job--told)
        (submission-job--finish job state)))))

(defun submission-job--finish (job state)
  "Tell the world about STATE of JOB, outside the filter."
  (let* ((id (submission-job-id job))
         (receipt (submission-receipt-of state))
         (status (plist-get receipt :status))
         (notice (submission-receipt-text (plist-get state :detail)))
         ;; Nothing could be tried, so a name is wrong or the network is
         ;; down.  That is worth a warning, but not each time.
         (loud (and (null (plist-get receipt :attempts))
                    (eql (plist-get state :tries) 1))))
    (submission-report-finished receipt notice)
    (when (eq status 'accepted)
      (submission-auth-accepted id))
    (submission-auth-drop id)
    (submission-channel-later #'submission-report-tell receipt notice loud)
    (when (submission-job-callback job)
      (submission-channel-later (submission-job-callback job) receipt))
    (submission-channel-later #'submission-job--run-hook receipt)
    (when (eq (plist-get receipt :reason) 'certificate)
      (submission-channel-later #'submission-certificate-held
                                (plist-get state :certificate)))
    (when (memq status '(accepted cancelled))
      (setf (submission-job-callback job) nil)
      (submission-channel-later #'submission-job--settle job))))

(defun submission-job--run-hook (receipt)
  "Run `submission-finished-functions' with RECEIPT.
An error in one function is told and keeps no other from running."
  (run-hook-wrapped
   'submission-finished-functions
   (lambda (function)
     (submission-channel-call function receipt)
     nil)))

(defun submission-job--settle (job)
  "Let the module remove the message of JOB from the outbox."
  (submission-module-settle
   (submission-channel-argument (submission-job-directory job)
                                `(id . ,(submission-job-id job)))))

(defun submission-job--tell-sending (id host)
  "Say that the message with ID is on its way to HOST, unless it is done."
  (let ((job (gethash id submission-job--table)))
    (when (and job (memq (submission-job-status job) '(queued sending)))
      (message "Sending to %s…" host))))

(defun submission-job--ask-event (event)
  "Have EVENT, a question from the module, answered."
  (if (equal (plist-get event :why) "tunnel")
      (submission-tunnel-ask event)
    (submission-auth-ask event)))

(defun submission-job--attempt-event (event)
  "Write down the attempt in EVENT."
  (submission-report-attempt (plist-get event :id)
                             (submission-receipt-attempt
                              (plist-get event :attempt))))

(defun submission-job--reply-event (event)
  "Write down the words of the server in EVENT."
  (let ((id (plist-get event :id))
        (line (plist-get event :line)))
    (submission-report-log id "%s" line)
    ;; 235: the server has accepted the password.
    (when (string-prefix-p "235" line)
      (submission-auth-accepted id))))

(defun submission-job--error-event (event)
  "Tell of the fault in the module that is in EVENT.
The message it is about, if it names one, is waited for no longer."
  (let* ((id (plist-get event :id))
         (text (plist-get event :text))
         (job (gethash id submission-job--table)))
    (submission-report-log id "%s" text)
    (when job (setf (submission-job-status job) nil))
    (submission-channel-later #'submission-report-fault text)))

(defun submission-job--warning-event (event)
  "Tell of the trouble in EVENT, which stops no mail."
  (let ((text (plist-get event :text)))
    (submission-report-log nil "%s" text)
    (submission-channel-later #'submission-report-fault text)))

(defun submission-job--account (id directory)
  "Return the account of the message with ID in DIRECTORY, or nil."
  (let ((job (submission-job--find id directory)))
    (or (submission-job-account job)
        (let ((settings (plist-get
                         (submission-receipt-read-state
                          (submission-receipt-state-file id directory))
                         :settings)))
          (when settings
            (setf (submission-job-account job)
                  (submission-auth-account
                   (list :host (plist-get settings :host)
                         :name (plist-get settings :host)
                         :port (plist-get settings :port)
                         :user (submission-receipt-text
                                (plist-get settings :user))
                         :mechanisms (plist-get settings :auth-mechanisms)
                         :steps (mapcar (lambda (step)
                                          (cons nil (plist-get step :port)))
                                        (plist-get settings :sequence))))))))))

(defun submission-job--look-again ()
  "Look on disk what became of the messages that were being sent."
  (maphash (lambda (id job)
             (when (memq (submission-job-status job) '(queued sending))
               (let ((state (submission-receipt-read-state
                             (submission-receipt-state-file
                              id (submission-job-directory job)))))
                 (when state (submission-job--handle job state)))))
           submission-job--table))

(setq submission-channel-handlers
      '(("state" . submission-job--state-event)
        ("attempt" . submission-job--attempt-event)
        ("reply" . submission-job--reply-event)
        ("ask" . submission-job--ask-event)
        ("line" . submission-transcript-line)
        ("error" . submission-job--error-event)
        ("learned" . submission-fallback-learned)
        ("warning" . submission-job--warning-event)
        ("closed" . submission-channel-closed)))
(add-hook 'submission-channel-broken-functions #'submission-job--look-again)
(setq submission-auth-account-function #'submission-job--account
      submission-tunnel-busy-function #'submission-job--busy-p)

;;;; Waiting, and sending what waits

(defun submission-job--busy-p ()
  "Return non-nil if a message is queued or sending."
  (cl-loop for job being the hash-values of submission-job--table
           thereis (memq (submission-job-status job) '(queued sending))))

(defun submission-job--quiet-p ()
  "Return non-nil if nothing is queued or sending and all hooks have run."
  (and (submission-channel-idle-p)
       (not (submission-job--busy-p))))

(defun submission-job-wait (seconds)
  "Wait for at most SECONDS, see `submission-wait'."
  (let ((end (and seconds (time-add nil seconds)))
        (submission-auth-waiting t)
        (quiet nil))
    (submission-channel-catch-up)
    (while (and (not (setq quiet (submission-job--quiet-p)))
                (or (null end) (time-less-p nil end)))
      (submission-channel-accept 0.05))
    quiet))

(defun submission-job-act (id directory action &rest alist)
  "Do ACTION, a string, with the message with ID in the outbox in DIRECTORY.
ALIST is what the action takes beside that, for `json-serialize'.  Signal
an error if that can't be done now."
  (let ((job (submission-job--find id directory)))
    (submission-module-act
     (apply #'submission-channel-argument directory
            `(id . ,id) `(action . ,action) alist))
    (when (equal action "send")
      (setf (submission-job-status job) 'queued))))

(defun submission-job-send-all ()
  "Try now to send all that waits; return the ids."
  (submission-job--make-directory)
  (let* ((directory (submission-channel-open))
         (ids (submission-channel-decode
               (submission-module-send-all
                (submission-channel-argument directory)))))
    (dolist (id ids)
      (setf (submission-job-status (submission-job--find id directory))
            'queued))
    (submission-channel-later #'message "Sending %d message%s from the outbox"
                              (length ids) (if (= (length ids) 1) "" "s"))
    ids))

(provide 'submission-job)

;;; submission-job.el ends here
