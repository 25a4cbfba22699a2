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
(require 'submission-file)
(require 'submission-fallback)
(require 'submission-receipt)
(require 'submission-report)
(require 'submission-settings)
(require 'submission-signs)
(require 'submission-start)
(require 'submission-transcript)
(require 'submission-tunnel)

(declare-function submission-copies-file "submission-copies" (id directory then))
(declare-function submission-copies-forget "submission-copies" (id))
(declare-function submission-copies-idle-p "submission-copies" ())
(declare-function submission-module-submit "ext:submission-module" (json) t)
(declare-function submission-module-settle "ext:submission-module" (json) t)
(declare-function submission-module-act "ext:submission-module" (json) t)

(cl-defstruct submission-job
  "A message that this Emacs has to do with."
  id
  directory  ; of its outbox
  (rev 0)    ; of the state that was handled last
  status     ; a symbol
  callback   ; what the caller gave us, or nil
  due        ; the time before which it is not tried, or nil
  then       ; a function to call with a receipt once it rests, or nil
  wish       ; `cancel', `hold', `replace' or `keep', if that was asked for
  told       ; what the user was told last of it
  owner      ; see `submission-job-lend', or nil
  account)   ; see submission-auth.el, or nil

(defvar submission-job--table (make-hash-table :test #'equal)
  "The jobs of this Emacs, by id.")

(defvar submission-job--taking nil
  "Non-nil while the module goes through what is in the outbox.")

(defconst submission-job--told
  '(accepted refused held deferred uncertain cancelled)
  "The statuses at which the hook and the callback run.")

;;;; Submitting

(defun submission-job-submit (message plist &optional coding extras)
  "Submit MESSAGE with PLIST and CODING, see `submission-submit'.
EXTRAS, a plist, has what only a mail buffer has: :draft, the text to be
kept beside the message, :due, the time before which it is not to be
tried, :replaces, the message that goes in its stead, as (ID . DIRECTORY),
and :done, a function to call with its id when it is in the outbox.
Return the id of the message."
  (submission-job--check-arguments message plist)
  (let ((envelope (submission-job--envelope message plist))
        (due (plist-get extras :due)))
    (pcase-let* ((`(,settings . ,plan) (submission-job-account-settings plist))
                 (directory (plist-get plan :directory))
                 (name (plist-get plan :name))
                 (id (submission-job--hand-over
                      directory message coding envelope settings
                      (plist-get plan :token) extras)))
      (submission-auth-give id (plist-get plan :token))
      (puthash id (make-submission-job
                   :id id :directory directory :status 'queued
                   :account (plist-get plan :account) :due due
                   :callback (plist-get plist :callback))
               submission-job--table)
      (submission-report-queued id name (cdr envelope))
      (submission-channel-later #'submission-job--tell-sending id name)
      (submission-start-arm)
      (when (plist-get extras :done)
        (funcall (plist-get extras :done) id))
      (pcase (plist-get extras :replaces)
        (`(,old . ,(pred (equal directory)))
         (submission-channel-later #'submission-job--replace old directory)))
      id)))

(defun submission-job-lend (directory message envelope settings note owner)
  "Submit MESSAGE, a buffer kept by another mailer, and return its id.
DIRECTORY is an outbox that is in `submission-channel-transient',
ENVELOPE is (FROM . RECIPIENTS), SETTINGS are for `json-serialize', and
NOTE is a temporary file there, to be kept beside the message.

OWNER is (FINISHED . ANSWER), two functions.  FINISHED is called with a
receipt and what the module says beside it when the message was tried;
unless the message was accepted, the owner then takes it back with
`submission-job-take-back'.  It tells the user.  ANSWER is called with
the questions of the module."
  (let ((id (submission-job--hand-over directory message nil envelope settings
                                       nil (list :note note))))
    (puthash id (make-submission-job :id id :directory directory
                                     :status 'queued :owner owner)
             submission-job--table)
    (submission-report-queued id (alist-get 'host settings) (cdr envelope))
    (submission-start-arm)
    id))

(defun submission-job-take-back (id directory)
  "Let the message with ID leave DIRECTORY, as its owner has it."
  (let ((job (submission-job-find id directory)))
    (setf (submission-job-owner job) (cons #'ignore #'ignore))
    (submission-job-interrupt id directory)
    ;; Until it is.
    (setf (submission-job-status job) 'sending)))

(defun submission-job-keep (id directory)
  "Let the message with ID stay in DIRECTORY, though it was accepted.
This is for its owner, who could not do what follows."
  (setf (submission-job-wish (submission-job-find id directory)) 'keep))

(defun submission-job-settle-left (id directory)
  "Let the message with ID, which is done with, leave DIRECTORY."
  (submission-job--settle (submission-job-find id directory)))

(defun submission-job-interrupt (id directory)
  "Cancel the message with ID in DIRECTORY, if it is not too late."
  (submission-module-act
   (submission-channel-argument directory
                                `(id . ,id) '(action . "cancel"))))

(defun submission-job-account-settings (plist)
  "Return (SETTINGS . PLAN) for PLIST, see `submission-submit'.
SETTINGS are for `json-serialize'.  PLAN has :directory, :name (of the
server), :account and :token, see submission-auth.el."
  (let* ((settings (submission-settings-get plist))
         (account (submission-auth-account settings))
         ;; So that a bad option is told before a password is looked up.
         (_ (submission-settings-json settings 'starttls nil))
         (_ (submission-file-make-directory))
         (directory (submission-channel-open))
         (token (submission-auth-lookup account))
         (user (or (plist-get settings :user) (plist-get token :user)))
         (security (or (plist-get settings :security)
                       (if (or user token) 'starttls 'opportunistic))))
    (cons (submission-settings-json settings security user token)
          (list :directory directory :name (plist-get settings :name)
                :account account :token token))))

(defun submission-job--replace (id directory)
  "Let the message with ID in DIRECTORY go; another one is sent in its stead."
  (setf (submission-job-wish (submission-job-find id directory)) 'replace)
  (submission-module-act
   (submission-channel-argument directory
                                `(id . ,id) '(action . "cancel"))))

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
                                            settings token extras)
  "Put MESSAGE into the outbox in DIRECTORY and return its id.
CODING, ENVELOPE, SETTINGS, TOKEN and EXTRAS belong to it."
  (let ((files (list (submission-file-message directory message coding)))
        (draft (plist-get extras :draft))
        (due (plist-get extras :due))
        (id nil))
    (unwind-protect
        (progn
          (when draft
            (push (setq draft (submission-file-draft directory draft)) files))
          (setq draft (or draft (plist-get extras :note)))
          (setq id (apply #'submission-auth-call
                          #'submission-module-submit token directory
                          `((file . ,(car (last files)))
                            (envelope . ((from . ,(car envelope))
                                         (to . ,(vconcat (cdr envelope)))))
                            (settings . ,settings)
                            ,@(and draft `((draft . ,draft)))
                            ,@(and due `((not-before
                                          . ,(submission-receipt-time-string
                                              due))))))))
      (unless id
        (dolist (file files)
          (ignore-errors (delete-file file)))))
    id))

;;;; Events

(defun submission-job-find (id directory)
  "Return the job with ID in DIRECTORY, a new one if there is none yet."
  (or (gethash id submission-job--table)
      (puthash id (make-submission-job :id id :directory directory)
               submission-job--table)))

(defun submission-job--state-event (event)
  "Handle EVENT, the state of a message."
  (submission-job--handle (submission-job-find (plist-get event :id)
                                                (plist-get event :directory))
                          (plist-get event :state)))

(defun submission-job--handle (job state)
  "Take over STATE of the message of JOB unless it is old news."
  (let ((rev (plist-get state :rev))
        (status (submission-receipt-symbol (plist-get state :status))))
    (when (and status (integerp rev) (> rev (submission-job-rev job)))
      (setf (submission-job-rev job) rev
            (submission-job-status job) status
            (submission-job-due job)
            (and (eq status 'queued)
                 (submission-receipt-time (plist-get state :next-try))))
      (submission-signs-changed (submission-job-id job))
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
    (submission-report-finished receipt notice (submission-job-owner job))
    (when (eq status 'accepted)
      (submission-auth-accepted id))
    (submission-auth-drop id)
    (if (submission-job-owner job)
        (submission-channel-later (car (submission-job-owner job))
                                  receipt notice)
      (submission-job--tell job receipt notice loud))
    (when (submission-job-then job)
      (submission-channel-later (submission-job-then job) receipt)
      (setf (submission-job-then job) nil))
    (when (submission-job-callback job)
      (submission-channel-later (submission-job-callback job) receipt))
    (unless (submission-job--back-p job)
      (submission-channel-later #'submission-job--run-hook receipt))
    (when (eq (plist-get receipt :reason) 'certificate)
      (submission-channel-later #'submission-certificate-held
                                (plist-get state :certificate)
                                (submission-job-owner job)))
    (when (memq status '(accepted cancelled))
      (setf (submission-job-callback job) nil))
    (submission-channel-later #'submission-job--close job status
                              (plist-get receipt :accepted))))

(defun submission-job--close (job status accepted)
  "File the copies of JOB and settle it, as far as STATUS asks for that.
ACCEPTED is non-nil if a server has accepted the message for somebody."
  (let* ((id (submission-job-id job))
         (directory (submission-job-directory job))
         (kept (expand-file-name (concat id ".draft") directory))
         (settle (and (memq status '(accepted cancelled))
                      (not (eq (submission-job-wish job) 'keep))
                      (lambda () (submission-job--settle job)))))
    (cond ((and (or accepted (eq status 'accepted))
                (not (eq status 'cancelled))
                (not (submission-job-owner job))
                (file-exists-p kept))
           (require 'submission-copies)
           (submission-copies-file id directory settle))
          (settle (funcall settle)))))

(defun submission-job--tell (job receipt notice loud)
  "Tell the user about RECEIPT of JOB, with NOTICE, LOUD or not.
What the user asked for is told in a word, and what was told before is
not told again: a message that waits for the network would be a nuisance."
  (let* ((status (plist-get receipt :status))
         (wish (submission-job-wish job))
         (words (cons status (submission-report-gist receipt notice)))
         (known (equal words (submission-job-told job))))
    (setf (submission-job-told job) words
          (submission-job-wish job) nil)
    (cond ((or (and (eq wish 'replace) (eq status 'cancelled))
               (and (eq wish 'hold) (eq status 'held))
               (and known (eq status 'deferred))))
          (t
           (when (and wish (not (memq status '(held cancelled))))
             (submission-channel-later #'message "Too late to %s it"
                                       (if (eq wish 'hold) "hold" "cancel")))
           (submission-channel-later #'submission-report-tell
                                     receipt notice loud)
           (submission-channel-later #'submission-signs-notify
                                     receipt notice)))))

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
                                `(id . ,(submission-job-id job))
                                `(log . ,(if (and submission-log-file
                                                  (not (submission-job--back-p
                                                        job)))
                                             (expand-file-name
                                              submission-log-file)
                                           ""))))
  (when (featurep 'submission-copies)
    (submission-copies-forget (submission-job-id job)))
  (submission-signs-changed (submission-job-id job)))

(defun submission-job--back-p (job)
  "Return non-nil if JOB went back to its owner."
  (and (submission-job-owner job)
       (eq (submission-job-status job) 'cancelled)))

(defun submission-job--tell-sending (id host)
  "Say that the message with ID is on its way to HOST, unless it is done."
  (let* ((job (gethash id submission-job--table))
         (due (and job (submission-job-due job)))
         (seconds (if due (float-time (time-subtract due nil)) 0)))
    (cond ((> seconds 600)
           (message "%s" (substitute-command-keys
                          (format-time-string
                           "Sending at %H:%M on %F; \\[submission-undo] brings it back"
                           due))))
          ((> seconds 0)
           (message "%s" (substitute-command-keys
                          (format "Sending in %d s; \\[submission-undo] brings it back"
                                  (ceiling seconds)))))
          ((and job (memq (submission-job-status job) '(queued sending)))
           (message "Sending to %s…" host)))))

(defun submission-job--ask-event (event)
  "Have EVENT, a question from the module, answered."
  (let ((job (gethash (plist-get event :id) submission-job--table)))
    (cond ((equal (plist-get event :why) "tunnel")
           (submission-tunnel-ask event))
          ((and job (submission-job-owner job))
           (funcall (cdr (submission-job-owner job)) event))
          (t (submission-auth-ask event)))))

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
         (text (submission-receipt-text (plist-get event :text)))
         (job (gethash id submission-job--table)))
    (when job
      (setf (submission-job-status job) nil)
      (when (submission-job-owner job)
        (submission-channel-later (car (submission-job-owner job))
                                  (submission-job--as-it-is job) text)))
    (when text
      (submission-report-log id "%s" text)
      (submission-channel-later #'submission-report-fault text))))

(defun submission-job--as-it-is (job)
  "Return a receipt of JOB, which ended in a fault, as it is on disk."
  (let* ((state (submission-receipt-read-state
                 (submission-receipt-state-file
                  (submission-job-id job) (submission-job-directory job))))
         (receipt (submission-receipt-of state)))
    (plist-put receipt :id (submission-job-id job))
    (plist-put receipt :status
               (if (or (plist-get state :dot)
                       (memq (plist-get receipt :status)
                             '(accepted uncertain)))
                   'uncertain
                 'deferred))))

(defun submission-job--progress-event (event)
  "Show how far the message in EVENT is."
  (submission-signs-progress (plist-get event :id) (plist-get event :sent)
                             (plist-get event :size)))

(defun submission-job--taken-event (event)
  "Note that this Emacs sends the messages in EVENT, which were waiting."
  (setq submission-job--taking nil)
  (submission-job-take (plist-get event :ids) (plist-get event :directory)))

(defun submission-job-take (ids directory)
  "Note that the messages with IDS in DIRECTORY are sent now."
  (dolist (id ids)
    (let ((job (submission-job-find id directory)))
      (setf (submission-job-status job) 'queued
            (submission-job-due job) nil))))

(defun submission-job--warning-event (event)
  "Tell of the trouble in EVENT, which stops no mail."
  (let ((text (plist-get event :text)))
    (submission-report-log nil "%s" text)
    (submission-channel-later #'submission-report-fault text)))

(defun submission-job--account (id directory)
  "Return the account of the message with ID in DIRECTORY, or nil."
  (let ((job (submission-job-find id directory)))
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
        ("progress" . submission-job--progress-event)
        ("taken" . submission-job--taken-event)
        ("warning" . submission-job--warning-event)
        ("closed" . submission-channel-closed)))
(add-hook 'submission-channel-broken-functions #'submission-job--look-again)
(setq submission-auth-account-function #'submission-job--account
      submission-tunnel-busy-function #'submission-job-any-busy-p)

;;;; Waiting

(defun submission-job-busy-p (job &optional soon)
  "Return non-nil if JOB is being sent, or about to be.
One that waits for its time is if that comes within SOON seconds
\(default: a minute, or `submission-delay' if that is more)."
  (and (memq (submission-job-status job) '(queued sending))
       (or (null (submission-job-due job))
           (time-less-p (submission-job-due job)
                        (time-add nil (or soon
                                          (max 60 (or submission-delay 0))))))))

(defun submission-job-all ()
  "Return all jobs of this Emacs, oldest first."
  (hash-table-values submission-job--table))

(defun submission-job-any-busy-p (&optional soon)
  "Return non-nil if a message is being sent, or about to be.
SOON is as in `submission-job-busy-p'."
  (cl-some (lambda (job) (submission-job-busy-p job soon))
           (submission-job-all)))

(defun submission-job-quiet-p (&optional soon)
  "Return non-nil if nothing is queued or sending and all hooks have run.
SOON is as in `submission-job-busy-p'."
  (and (submission-channel-idle-p)
       (not submission-job--taking)
       (or (not (featurep 'submission-copies))
           (submission-copies-idle-p))
       (not (submission-job-any-busy-p soon))))

(defun submission-job-wait (seconds &optional soon)
  "Wait for at most SECONDS, see `submission-wait'.
SOON is as in `submission-job-busy-p'."
  (let ((end (and seconds (time-add nil seconds)))
        (submission-auth-waiting t)
        (quiet nil))
    (submission-channel-catch-up)
    (while (and (not (setq quiet (submission-job-quiet-p soon)))
                (or (null end) (time-less-p nil end)))
      (submission-channel-accept 0.05))
    quiet))

(provide 'submission-job)

;;; submission-job.el ends here
