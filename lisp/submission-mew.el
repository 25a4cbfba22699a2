;;; submission-mew.el --- Mew sends in the background -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; With `submission-mew-mode', Mew (6.8 and later) sends through us.  Its
;; queue, Fcc, Bcc, Dcc, logging, locks, passwords, cases and commands
;; stay its own.
;;
;; Three functions of Mew's are advised, and nothing of its state machine
;; is copied.  `mew-smtp-send-message' starts a session: a pipe process
;; with the name that Mew's locks look for, and Mew's info vector filled
;; as Mew does.  Then Mew claims the first message (N becomes N.wrk), and
;; its `mew-smtp-command-mail-from', which we stand around, tells the
;; envelope sender; the message goes to the module.  What the module says
;; of it leads to `mew-smtp-command-done', and so to the next message or,
;; through `mew-smtp-command-quit', to the end; or the message goes back
;; to the queue as Mew puts it there.
;;
;; The queue is the truth: who owns a message is said by Mew's files, and
;; `submission-mew-directory' has a copy only for as long as it is being
;; sent.  Nothing there is sent again, by nobody, at no time.  Beside each
;; copy is a note that names N.wrk and the Emacs that claimed it.  When
;; that Emacs is gone, submission-mew-recover.el puts N.wrk back.

;;; Code:

(require 'subr-x)
(require 'submission)
(require 'submission-auth)
(require 'submission-file)
(require 'submission-job)
(require 'submission-mew-queue)
(require 'submission-mew-recover)
(require 'submission-mew-settings)
(require 'submission-report)

(declare-function mew-find-file-noselect "ext:mew" (file) t)
(declare-function mew-auth-select2 "ext:mew-auth" (auths lst) t)
(declare-function mew-info-clean-up "ext:mew-func" (arg &optional start) t)
(declare-function mew-passwd-set-passwd "ext:mew-passwd" (key val) t)
(declare-function mew-remove-buffer "ext:mew" (buf) t)
(declare-function mew-smtp-auth-get-func "ext:mew-smtp" (auth) t)
(declare-function mew-smtp-auth-list "ext:mew-config" (case) t)
(declare-function mew-smtp-auth-plain-authorize-id "ext:mew-config" (case) t)
(declare-function mew-smtp-command-done "ext:mew-smtp" (pro pnm) t)
(declare-function mew-smtp-command-next "ext:mew-smtp" (pro pnm) t)
(declare-function mew-smtp-get-auth-user "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-auth-selected "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-bcc "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-messages "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-orig-recipients "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-recipients "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-sender "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-helo-domain "ext:mew-config" (case) t)
(declare-function mew-smtp-info-name "ext:mew-smtp" (case) t)
(declare-function mew-smtp-input-passwd "ext:mew-smtp" (prompt pnm) t)
(declare-function mew-smtp-log "ext:mew-smtp" (pnm &optional err) t)
(declare-function mew-smtp-passtag "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-sentinel "ext:mew-smtp" (process event) t)
(declare-function mew-smtp-server "ext:mew-config" (case) t)
(declare-function mew-smtp-set-auth-list "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-auth-selected "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-auth-user "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-case "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-done "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-error "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-helo-domain "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-messages "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-orig-recipients "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-port "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-process "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-qfld "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-secure "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-sender "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-server "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-ssl-process "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-status "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-user "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-user "ext:mew-config" (case) t)
(declare-function mew-smtp-user-only "ext:mew-config" (case) t)
(declare-function mew-xoauth2-auth-string "ext:mew-oauth2" (user tag case) t)
(declare-function submission-module-answer "ext:submission-module" (json) t)

(defvar mew-smtp-info-list-clean-length)

;;;; The mode

;;;###autoload
(define-minor-mode submission-mew-mode
  "Have Mew send its mail in the background.
Mew's variables, cases, queue and commands stay as they are, and so do
its fallback from port 587 to port 25 (`mew-use-submission') and its
passwords; only the connection is ours.  What goes through an SSH
server, a unix socket or a TLS proxy is left to Mew's own code, and TLS
too if `submission-mew-tls' is nil; the buffer *submission log* says so.

A message that was sent but for the server's answer may have arrived:
it goes back to the queue, where a flush leaves it alone until
\\[submission-mew-release] says that it is to be sent again."
  :global t
  :group 'submission
  (if submission-mew-mode
      (progn
        (advice-add 'mew-smtp-send-message :around
                    #'submission-mew--send-message)
        (advice-add 'mew-smtp-command-mail-from :around
                    #'submission-mew--mail-from)
        (advice-add 'mew-smtp-command-quit :around #'submission-mew--quit)
        (add-hook 'mew-status-update-hook #'submission-mew-recover)
        (when (bound-and-true-p mew-init-p)
          (submission-mew-recover)))
    (advice-remove 'mew-smtp-send-message #'submission-mew--send-message)
    (remove-hook 'mew-status-update-hook #'submission-mew-recover)
    ;; A session that is there needs the others to come to its end.
    (unless (cl-some #'submission-mew--of (process-list))
      (advice-remove 'mew-smtp-command-mail-from #'submission-mew--mail-from)
      (advice-remove 'mew-smtp-command-quit #'submission-mew--quit))))

;;;; Sessions

(cl-defstruct submission-mew-session
  "One use of Mew's SMTP for some messages of a queue."
  case
  pnm        ; the name of Mew's info, and of the process
  folder     ; the queue, such as +queue
  process    ; Mew's lock
  directory  ; our outbox
  settings   ; for the module
  messages   ; the rest of the queue, while Mew is done with one
  note       ; the file that says what is being claimed, or nil
  id         ; of the message that is being sent, or nil
  work       ; its file, N.wrk
  wrapped    ; non-nil if it is a copy for Bcc
  asked)     ; non-nil if Mew was asked for the password

(defun submission-mew--of (process)
  "Return the session that PROCESS belongs to, or nil."
  (and (processp process) (process-get process 'submission-mew)))

(defun submission-mew--send-message (original case folder messages &rest rest)
  "Send MESSAGES of FOLDER with the settings of CASE.
This stands around ORIGINAL, `mew-smtp-send-message', and calls it with
REST where Mew is to do it itself."
  (let* ((why (submission-mew-settings-foreign case))
         (sendable (submission-mew-queue-sendable folder messages)))
    (cond ((null sendable))
          ((or why rest)
           (submission-report-log nil "Mew sends to %s itself: %s"
                                  (mew-smtp-server case) why)
           (apply original case folder sendable rest))
          ((get-process (mew-smtp-info-name case))
           (message "Another message is being sent. Try later"))
          (t
           (condition-case err
               (submission-mew--start case folder sendable)
             (submission-error
              (submission-mew--warn
               "%s  This mail has been queued to %s"
               (error-message-string err) folder)))))))

(defun submission-mew--warn (format &rest args)
  "Tell the user loudly, in the words of FORMAT and ARGS."
  (let ((text (apply #'format-message format args)))
    (message "%s" text)
    (unless noninteractive
      (display-warning 'submission text :warning))))

(defun submission-mew--start (case folder messages)
  "Start to send MESSAGES of FOLDER with the settings of CASE."
  (let* ((settings (submission-mew-settings case))
         (directory (submission-mew-queue-open))
         (pnm (mew-smtp-info-name case))
         (session (make-submission-mew-session
                   :case case :pnm pnm :folder folder
                   :directory directory :settings settings)))
    (submission-mew-recover)
    ;; C-g would leave the lock.
    (let ((inhibit-quit t))
      (submission-mew--lock session nil)
      (submission-mew--fill-info session messages)
      (message "Sending in background...")
      (submission-mew--next session))))

(defun submission-mew--lock (session buffer)
  "Make the process of SESSION, with BUFFER, that Mew takes for its own."
  (let ((process (make-pipe-process
                  :name (submission-mew-session-pnm session)
                  :buffer nil :noquery t :filter #'ignore
                  :sentinel #'submission-mew--sentinel)))
    (process-put process 'submission-mew session)
    (set-process-buffer process buffer)
    (setf (submission-mew-session-process session) process)))

(defun submission-mew--fill-info (session messages)
  "Fill Mew's info with what SESSION, for MESSAGES, has, as Mew does."
  (let* ((case (submission-mew-session-case session))
         (pnm (submission-mew-session-pnm session))
         (settings (submission-mew-session-settings session))
         (secure (not (equal (alist-get 'security settings) "plain"))))
    (mew-info-clean-up pnm mew-smtp-info-list-clean-length)
    (mew-smtp-set-case pnm case)
    (mew-smtp-set-qfld pnm (submission-mew-session-folder session))
    (mew-smtp-set-messages pnm messages)
    (mew-smtp-set-server pnm (mew-smtp-server case))
    (mew-smtp-set-port pnm (submission-mew-settings-port-name
                            case settings nil))
    (mew-smtp-set-process pnm (submission-mew-session-process session))
    (mew-smtp-set-helo-domain pnm (mew-smtp-helo-domain case))
    (mew-smtp-set-user pnm (mew-smtp-user-only case))
    (mew-smtp-set-auth-user pnm (mew-smtp-user case))
    (mew-smtp-set-auth-list pnm (mew-smtp-auth-list case))
    (mew-smtp-set-status pnm "greeting")
    ;; For Mew's log.
    (if (fboundp 'mew-smtp-set-secure)
        (mew-smtp-set-secure pnm secure)
      (mew-smtp-set-ssl-process pnm secure))))

(defun submission-mew--next (session)
  "Have Mew claim the next message of SESSION, or end it if there is none."
  (let* ((process (submission-mew-session-process session))
         (pnm (submission-mew-session-pnm session))
         (folder (submission-mew-session-folder session))
         (again t)
         (messages nil))
    (while again
      (setq again nil
            messages (submission-mew-queue-there
                      folder (mew-smtp-get-messages pnm)))
      (mew-smtp-set-messages pnm messages)
      (condition-case err
          (progn
            (when messages
              (submission-mew--note session (submission-mew-queue-work
                                             folder (car messages))))
            ;; Where a message can't be claimed, Mew takes the current buffer.
            (with-temp-buffer
              (mew-smtp-command-next process pnm)))
        (error
         (if (submission-mew-queue-taken-p folder (car messages) err)
             (setq again t)
           (submission-mew-queue-unclaim folder (car messages))
           (mew-smtp-set-error pnm (submission-mew--as-format
                                    (error-message-string err)))
           (submission-mew--end session)))))))

(defun submission-mew--note (session work)
  "Note, for the next Emacs, that SESSION is about the file WORK."
  (submission-mew--drop-note session)
  (setf (submission-mew-session-note session)
        (submission-mew-recover-note (submission-mew-session-directory session)
                                   (submission-mew-session-folder session)
                                   work)))

(defun submission-mew--drop-note (session)
  "Delete the note of SESSION, if there is one."
  (when (submission-mew-session-note session)
    (ignore-errors (delete-file (submission-mew-session-note session)))
    (setf (submission-mew-session-note session) nil)))

;;;; The end of a session

(defun submission-mew--quit (original process pnm)
  "End the session of PROCESS, with Mew's info PNM.
This stands around ORIGINAL, `mew-smtp-command-quit'."
  (let ((session (submission-mew--of process)))
    (cond ((null session)
           (funcall original process pnm))
          ((submission-mew-session-messages session)
           (mew-smtp-set-messages pnm (submission-mew-session-messages session))
           (setf (submission-mew-session-messages session) nil)
           (submission-mew--next session))
          (t
           (mew-smtp-set-done pnm t)
           (submission-mew--end session)))))

(defun submission-mew--end (session)
  "Give Mew back its lock on what SESSION was for."
  (let ((process (submission-mew-session-process session)))
    (submission-mew--drop-note session)
    (process-put process 'submission-mew-over t)
    (delete-process process)))

(defun submission-mew--sentinel (process event)
  "Tell Mew of EVENT, that PROCESS has ended; or undo that.
Where the user has killed it, the message is cancelled.  What came of
that is known in a moment, and until then the lock is needed."
  (let ((session (submission-mew--of process)))
    (if (process-get process 'submission-mew-over)
        (submission-mew--pass-on process event)
      (submission-channel-later #'submission-mew--killed session
                                (process-buffer process)))))

(defun submission-mew--pass-on (process event)
  "Tell Mew of EVENT, that PROCESS has ended.
Mew uses the text of an error as a format.  So a percent sign is doubled
in it, but not in Mew's log.  And Mew shows it in a dialog, which keeps
Emacs, and takes what is being typed, until it is answered."
  (let ((log (symbol-function 'mew-smtp-log)))
    (cl-letf (((symbol-function 'mew-smtp-log)
               (lambda (pnm &optional error)
                 (funcall log pnm (and error
                                       (string-replace "%%" "%" error)))))
              ((symbol-function 'message-box) #'submission-mew--warn))
      (mew-smtp-sentinel process event))))

(defun submission-mew--as-format (text)
  "Return TEXT as a format, which Mew takes the text of an error for."
  (string-replace "%" "%%" text))

(defun submission-mew--killed (session buffer)
  "Take SESSION, whose process with BUFFER was killed, to its end."
  (submission-mew--lock session buffer)
  (mew-smtp-set-process (submission-mew-session-pnm session)
                        (submission-mew-session-process session))
  (if (submission-mew-session-id session)
      (submission-job-interrupt (submission-mew-session-id session)
                                (submission-mew-session-directory session))
    (submission-mew--end session)))

;;;; A message

(defun submission-mew--mail-from (original process pnm)
  "Send the message that Mew has claimed for PROCESS, with its info PNM.
This stands around ORIGINAL, `mew-smtp-command-mail-from', which says
who the sender is."
  (let ((session (submission-mew--of process)))
    (cond ((null session)
           (funcall original process pnm))
          ((not (submission-mew--claimed-p session))
           ;; Another Emacs was quicker.
           (set-process-buffer process nil)
           (submission-mew--next session))
          (t
           (condition-case err
               (submission-mew--transmit
                session (submission-mew--sender original process pnm))
             (error
              (submission-channel-later
               #'submission-mew--finished session
               '(:status held) (error-message-string err))))))))

(defun submission-mew--claimed-p (session)
  "Return non-nil if this buffer has a message that SESSION has claimed."
  (and buffer-file-name
       (eq (current-buffer)
           (process-buffer (submission-mew-session-process session)))
       (submission-mew-queue-work-p buffer-file-name)
       (file-exists-p buffer-file-name)))

(defun submission-mew--sender (original process pnm)
  "Return the envelope sender, by ORIGINAL with PROCESS and PNM."
  (let ((line ""))
    (cl-letf (((symbol-function 'mew-smtp-process-send-string)
               (lambda (_process &rest args)
                 (setq line (apply #'format args)))))
      (funcall original process pnm))
    (if (string-match "\\`MAIL FROM:<\\(.*\\)>" line)
        (match-string 1 line)
      (signal 'submission-envelope-error (list "Mew names no sender")))))

(defun submission-mew--transmit (session sender)
  "Submit the message in this buffer, from SENDER, for SESSION."
  (let* ((pnm (submission-mew-session-pnm session))
         (directory (submission-mew-session-directory session))
         (header (mew-smtp-get-sender pnm))
         (message (current-buffer)))
    (setf (submission-mew-session-work session) buffer-file-name
          (submission-mew-session-id session) nil
          (submission-mew-session-wrapped session)
          (submission-mew-queue-claim pnm buffer-file-name))
    (unless (submission-mew-session-note session)
      (submission-mew--note session buffer-file-name))
    (mew-smtp-set-sender pnm nil)
    (let ((envelope (submission-mew--envelope
                     sender (mew-smtp-get-recipients pnm))))
      (with-temp-buffer
        (set-buffer-multibyte nil)
        (when header
          (insert (encode-coding-string
                   (format "%s %s\n" (car header) (cdr header)) 'utf-8)))
        (insert-buffer-substring message)
        (unless (bolp) (insert "\n"))
        (setf (submission-mew-session-id session)
              (submission-job-lend
               directory (current-buffer) envelope
               (submission-mew-session-settings session)
               (submission-mew-session-note session)
               (cons (apply-partially #'submission-mew--finished session)
                     (apply-partially #'submission-mew--ask session)))
              ;; It belongs to the outbox now.
              (submission-mew-session-note session) nil)))))

(defun submission-mew--envelope (sender recipients)
  "Return the checked envelope from SENDER to RECIPIENTS.
An empty SENDER is the null reverse-path."
  (cons (if (equal sender "") "" (submission-settings-address sender))
        (delete-dups (mapcar #'submission-settings-address recipients))))

;;;; What became of it

(defun submission-mew--finished (session receipt notice)
  "Go on with SESSION, for RECEIPT and NOTICE."
  (let ((id (submission-mew-session-id session))
        (pnm (submission-mew-session-pnm session)))
    (setf (submission-mew-session-id session) nil)
    (when (plist-get receipt :port)
      (mew-smtp-set-port pnm (submission-mew-settings-port-name
                              (submission-mew-session-case session)
                              (submission-mew-session-settings session)
                              (plist-get receipt :port))))
    (if (eq (plist-get receipt :status) 'accepted)
        (submission-mew--accepted session id receipt)
      (when (and (submission-mew--failed session receipt notice)
                 id (not (eq (plist-get receipt :status) 'cancelled)))
        (submission-job-take-back
         id (submission-mew-session-directory session))))))

(defun submission-mew--buffer (session)
  "Return the buffer with the message of SESSION."
  (let* ((process (submission-mew-session-process session))
         (buffer (process-buffer process)))
    (unless (buffer-live-p buffer)
      (setq buffer (mew-find-file-noselect
                    (submission-mew-session-work session)))
      (set-process-buffer process buffer))
    buffer))

(defun submission-mew--accepted (session id receipt)
  "Have Mew file what SESSION has sent, with ID and RECEIPT, and go on.
Whatever goes wrong now, it doesn't go back to the queue: the next Emacs
does what is left to do."
  (let ((process (submission-mew-session-process session))
        (pnm (submission-mew-session-pnm session))
        (file (symbol-function 'mew-net-fcc-message))
        (buffer (submission-mew--buffer session)))
    (submission-mew--tell-refused session receipt)
    (when (submission-mew-session-wrapped session)
      ;; Mew has none for a copy, and would keep it as that of the original.
      (submission-mew-queue-forget (submission-mew-session-work session)))
    (condition-case err
        (cl-letf (((symbol-function 'mew-net-fcc-message)
                   (lambda (&rest args)
                     (condition-case err
                         (apply file args)
                       (error
                        (submission-mew--warn
                         "Sent, but the copy could not be filed: %s"
                         (error-message-string err))
                        nil)))))
          ;; What comes next is ours to say, and making a copy for Bcc Mew
          ;; 6.11 forgets the rest.
          (when (mew-smtp-get-messages pnm)
            (setf (submission-mew-session-messages session)
                  (mew-smtp-get-messages pnm))
            (mew-smtp-set-messages pnm nil))
          (with-current-buffer buffer
            (mew-smtp-command-done process pnm)))
      (error
       (submission-job-keep id (submission-mew-session-directory session))
       (submission-mew--warn "Sent, but Mew could not go on: %s"
                             (error-message-string err))
       (submission-mew--let-go session)
       (mew-smtp-set-done pnm t)
       (submission-mew--end session)))))

(defun submission-mew--tell-refused (session receipt)
  "Tell and log whom RECEIPT, of the message of SESSION, was refused for.
In Mew's log the line of the message itself then has the others."
  (let ((pnm (submission-mew-session-pnm session))
        (refused (plist-get receipt :refused)))
    (when refused
      (submission-mew--warn "%s" (submission-report-text receipt nil t))
      (pcase-dolist (`(,address . ,reply) refused)
        (mew-smtp-set-orig-recipients pnm (list address))
        (mew-smtp-log pnm (submission-report-line reply)))
      (mew-smtp-set-orig-recipients pnm (plist-get receipt :accepted)))))

(defun submission-mew--let-go (session)
  "Remove the buffer of SESSION."
  (let* ((process (submission-mew-session-process session))
         (buffer (process-buffer process)))
    (set-process-buffer process nil)
    (when (buffer-live-p buffer)
      (mew-remove-buffer buffer))))

(defun submission-mew--failed (session receipt notice)
  "Have Mew put the message of SESSION back, for RECEIPT and NOTICE.
Then go on, if the trouble is that of this message alone.  Return
non-nil if the message is back."
  (let* ((pnm (submission-mew-session-pnm session))
         (text (submission-mew--text session receipt notice))
         (trouble (submission-mew--requeue session receipt text)))
    (when (and (eq (plist-get receipt :reason) 'auth)
               (submission-mew-session-asked session))
      (mew-passwd-set-passwd (mew-smtp-passtag pnm) nil))
    (submission-mew--let-go session)
    (cond ((and (null trouble) (submission-mew--its-own-p receipt))
           (mew-smtp-log pnm text)
           (submission-mew--warn "%s  This mail has been queued to %s" text
                                 (submission-mew-session-folder session))
           (submission-mew--next session))
          (t
           (mew-smtp-set-error pnm (submission-mew--as-format
                                    (concat text trouble)))
           (submission-mew--end session)))
    (null trouble)))

(defun submission-mew--its-own-p (receipt)
  "Return non-nil if the trouble in RECEIPT is that of one message alone."
  (let ((reply (or (plist-get receipt :reply) "")))
    (pcase (plist-get receipt :status)
      ('refused t)
      ('held (memq (plist-get receipt :reason) '(8bit utf8 size)))
      ('deferred (and (string-match-p "\\`4[0-9][0-9]" reply)
                      (not (string-prefix-p "421" reply)))))))

(defun submission-mew--requeue (session receipt text)
  "Put the message of SESSION back into Mew's queue, because of TEXT.
RECEIPT says whom it is still for, and whether it may have arrived.
Return nil, or what is in the way: then the next Emacs puts it back."
  (let ((pnm (submission-mew-session-pnm session)))
    (condition-case err
        (with-current-buffer (submission-mew--buffer session)
          (mew-smtp-set-orig-recipients
           pnm (submission-mew-queue-left (mew-smtp-get-orig-recipients pnm)
                                          receipt))
          (submission-mew-queue-requeue
           (submission-mew-session-case session) pnm
           (submission-mew-session-work session) text
           (and (eq (plist-get receipt :status) 'uncertain) text))
          nil)
      (error
       (format "  It could not be put back (%s) before Emacs starts again."
               (error-message-string err))))))

(defun submission-mew--text (session receipt notice)
  "Return RECEIPT and NOTICE of SESSION as text for Mew, with a full stop."
  (let* ((pnm (submission-mew-session-pnm session))
         (auth (mew-smtp-get-auth-selected pnm))
         (text (submission-report-line
                (concat
                 (and (null auth) (eq (plist-get receipt :reason) 'auth)
                      (string-empty-p (or (plist-get receipt :reply) ""))
                      "No SMTP AUTH available! ")
                 (and auth (eq (plist-get receipt :reason) 'auth)
                      (string-prefix-p "535" (or (plist-get receipt :reply) ""))
                      (format "SMTP %s password is wrong! " auth))
                 (submission-report-text receipt notice t)
                 (and (plist-get receipt :accepted)
                      (format "; still to be sent to %s"
                              (string-join
                               (submission-mew-queue-left
                                (mew-smtp-get-orig-recipients pnm) receipt)
                               ", ")))
                 (and (eq (plist-get receipt :status) 'uncertain)
                      ".  It may have arrived, and is not sent again \
before M-x submission-mew-release")))))
    (if (string-match-p "[.!]\\'" text) text (concat text "."))))

;;;; Passwords

(defun submission-mew--ask (session event)
  "Answer EVENT, a question of the module about the message of SESSION."
  (if (equal (plist-get event :why) "offered")
      (submission-auth-when-quiet #'submission-mew--answer session event)
    ;; What Mew has was refused.  It asks again when it sends again.
    (submission-mew--reply session event nil)))

(defun submission-mew--reply (session event token)
  "Answer EVENT, about SESSION, with TOKEN, see submission-auth.el."
  (submission-auth-call #'submission-module-answer token
                        (submission-mew-session-directory session)
                        `(ask . ,(plist-get event :ask))))

(defun submission-mew--answer (session event)
  "Answer EVENT, an offer of AUTH, as Mew does for SESSION."
  (let ((token nil))
    (unwind-protect
        (setq token (submission-mew--offered session event))
      (submission-mew--reply session event token))))

(defun submission-mew--offered (session event)
  "Return what Mew has for the offer of AUTH in EVENT, for SESSION, or nil."
  (let* ((case (submission-mew-session-case session))
         (pnm (submission-mew-session-pnm session))
         (auth (mew-auth-select2 (split-string (plist-get event :reply))
                                 (mew-smtp-auth-list case))))
    (unless (and auth (fboundp (mew-smtp-auth-get-func auth)))
      (setq auth nil))
    (mew-smtp-set-port pnm (submission-mew-settings-port-name
                            case (submission-mew-session-settings session)
                            (plist-get event :port)))
    (mew-smtp-set-auth-selected pnm auth)
    (when auth
      (setf (submission-mew-session-asked session) t)
      (submission-mew--token pnm case auth (mew-smtp-user case)))))

(defun submission-mew--token (pnm case auth user)
  "Return the token of USER for AUTH, from Mew, for PNM and CASE; or nil."
  (if (equal (upcase auth) "XOAUTH2")
      (let ((text (base64-decode-string
                   (mew-xoauth2-auth-string user (mew-smtp-passtag pnm) case))))
        (and (string-match "\1auth=Bearer \\([^\1]+\\)" text)
             (list :user user :bearer 'only :secret (match-string 1 text))))
    (let ((password (mew-smtp-input-passwd
                     (format "SMTP %s password (%s): " auth user) pnm)))
      (and (stringp password) (not (string-empty-p password))
           (list :user user :secret password
                 :identity (and (mew-smtp-auth-plain-authorize-id case)
                                user))))))

(provide 'submission-mew)

;;; submission-mew.el ends here
