;;; submission-mew-queue.el --- Mew's queue, and who owns what -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; In a queue of Mew's a message is N, with N.mqi, a vector of what Mew
;; needs to know; while it is being sent N.wrk, with N.mqi.wrk; and after
;; that #N.  A message that may have arrived is marked: its N.mqi has one
;; element more, a string, which Mew doesn't look at.
;;
;; Before Mew claims a message, a note is written into our directory for
;; Mew.  It goes with the copy there as ID.draft, and when that is gone, so
;; is the note.  A note of an Emacs that is gone tells which N.wrk it has
;; left, and the state of the copy tells what became of the message: it was
;; not sent, it was, or nobody knows.
;;
;;     note alone, queued, sending, deferred, …   N.wrk becomes N again
;;     sending with the dot marked, uncertain     N, marked
;;     accepted                                   #N, Fcc and log are made up
;;                                                for; what is left for Bcc
;;                                                becomes N

;;; Code:

(require 'subr-x)
(require 'submission)
(require 'submission-channel)
(require 'submission-file)
(require 'submission-job)
(require 'submission-receipt)
(require 'submission-report)
(require 'submission-settings)

(declare-function mew-expand-new-msg "ext:mew-func" (folder msg) t)
(declare-function mew-info "ext:mew-func" (name) t)
(declare-function mew-lisp-load "ext:mew-func" (file) t)
(declare-function mew-lisp-save "ext:mew-func" (file lisp) t)
(declare-function mew-net-fcc-message "ext:mew-net" (case fcc file) t)
(declare-function mew-prepend-prefix "ext:mew-func" (file prefix) t)
(declare-function mew-queue-backup "ext:mew-net" (work suffix) t)
(declare-function mew-smtp-get-bcc "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-case "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-fcc "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-msgid "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-orig-recipients "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-log "ext:mew-smtp" (pnm &optional err) t)
(declare-function mew-smtp-set-bcc "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-orig-recipients "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-port "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-recipients "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-server "ext:mew-smtp" (pnm value) t)
(declare-function mew-summary-folder-name "ext:mew-syntax" (&optional ext) t)
(declare-function mew-summary-message-number2 "ext:mew-syntax" () t)
(declare-function mew-touch-folder "ext:mew-func" (folder) t)

(defvar mew-backup-prefix)
(defvar mew-queue-info-suffix)
(defvar mew-queue-work-suffix)
(defvar mew-smtp-info-list)
(defvar mew-smtp-info-list-save-length)

(defcustom submission-mew-directory
  (locate-user-emacs-file "submission/mew/")
  "The directory with copies of what Mew is sending just now.
It is created with mode 0700.  What is in it is not sent by itself; the
messages are in Mew's queue.  Default: submission/mew/ in
`user-emacs-directory'."
  :type 'directory
  :group 'submission
  :package-version '(submission . "0.1.0"))

;;;; The directory

(defun submission-mew-queue--directory ()
  "Return the full name of `submission-mew-directory'."
  (expand-file-name (file-name-as-directory submission-mew-directory)))

(defun submission-mew-queue-open ()
  "Open our directory for Mew, and return its name."
  (let ((submission-directory (submission-mew-queue--directory)))
    (cl-pushnew submission-directory submission-channel-transient
                :test #'equal)
    (submission-file-make-directory)
    (submission-channel-open)))

;;;; Names

(defun submission-mew-queue-work (folder message)
  "Return the file that MESSAGE of FOLDER is while it is being sent."
  (concat (mew-expand-new-msg folder message) mew-queue-work-suffix))

(defun submission-mew-queue-work-p (file)
  "Return non-nil if FILE is a message that is being sent."
  (string-suffix-p mew-queue-work-suffix file))

(defun submission-mew-queue--base (work)
  "Return the file that WORK was before it was claimed."
  (string-remove-suffix mew-queue-work-suffix work))

(defun submission-mew-queue--info (base)
  "Return the file of Mew's info about BASE, a message in a queue."
  (concat base mew-queue-info-suffix))

;;;; What can be sent

(defun submission-mew-queue-there (folder messages)
  "Return those of MESSAGES that are in FOLDER to be sent and not marked."
  (cl-remove-if (lambda (message)
                  (submission-mew-queue--mark (mew-expand-new-msg folder message)))
                (submission-mew-queue--complete folder messages)))

(defun submission-mew-queue--complete (folder messages)
  "Return those of MESSAGES that are in FOLDER with all their files.
Mew goes astray at others."
  (cl-remove-if-not
   (lambda (message)
     (let ((base (mew-expand-new-msg folder message)))
       (and (file-readable-p base)
            (file-readable-p (submission-mew-queue--info base)))))
   messages))

(defun submission-mew-queue-sendable (folder messages)
  "Return those of MESSAGES of FOLDER that can be sent; tell of the others."
  (let* ((complete (submission-mew-queue--complete folder messages))
         (sendable (submission-mew-queue-there folder complete))
         (marked (cl-set-difference complete sendable :test #'equal)))
    (when marked
      (message "%s of %s may have arrived and %s not sent again before \
M-x submission-mew-release"
               (string-join marked ", ") folder
               (if (cdr marked) "are" "is")))
    (unless (or sendable marked)
      (message "Nothing to send in %s" folder))
    sendable))

;;;; The mark of what may have arrived

(defun submission-mew-queue--mark (base)
  "Return why BASE, a message in a queue, is not to be sent, or nil."
  (let ((data (mew-lisp-load (submission-mew-queue--info base))))
    (and (vectorp data)
         (> (length data) mew-smtp-info-list-save-length)
         (aref data mew-smtp-info-list-save-length))))

(defun submission-mew-queue-mark (folder message why)
  "Mark MESSAGE of FOLDER as one that may have arrived, because of WHY."
  (let ((info (submission-mew-queue--info (mew-expand-new-msg folder message))))
    (submission-mew-queue--save info (mew-lisp-load info) why)))

(defun submission-mew-queue--save (info data &optional why)
  "Save DATA, a vector, in the file INFO, marked if there is WHY."
  (let ((saved (cl-subseq data 0 mew-smtp-info-list-save-length)))
    (mew-lisp-save info (if why (vconcat saved (list why)) saved))))

(defun submission-mew-release (folder message)
  "Let MESSAGE of FOLDER be sent again, though it may have arrived.
This is for the message at point in the Summary of a queue, and the next
flush sends it."
  (interactive
   (if (derived-mode-p 'mew-summary-mode)
       (list (mew-summary-folder-name 'ext)
             (or (mew-summary-message-number2)
                 (user-error "No message here")))
     (user-error "Go to the message in the Summary of the queue")))
  (let* ((base (mew-expand-new-msg folder message))
         (info (submission-mew-queue--info base))
         (why (and (file-readable-p info) (submission-mew-queue--mark base))))
    (unless why
      (user-error "Message %s of %s doesn't wait for that" message folder))
    (when (or (not (called-interactively-p 'any))
              (yes-or-no-p (format "%s  Send it again, so that some may get \
it twice? "
                                   why)))
      (submission-mew-queue--save info (mew-lisp-load info))
      (message "The next flush sends message %s of %s" message folder))))

;;;; Claiming

(defun submission-mew-queue-claim (pnm work)
  "See to it that WORK, a claimed message with Mew's info PNM, has its info.
Return non-nil if it had none, as a copy for Bcc has not."
  (let ((info (concat (submission-mew-queue--info
                       (submission-mew-queue--base work))
                      mew-queue-work-suffix)))
    (unless (file-exists-p info)
      (submission-mew-queue--save info (mew-info pnm))
      t)))

(defun submission-mew-queue-forget (work)
  "Delete the info that `submission-mew-queue-claim' made for WORK."
  (delete-file (concat (submission-mew-queue--info
                        (submission-mew-queue--base work))
                       mew-queue-work-suffix)))

(defun submission-mew-queue-left (recipients receipt)
  "Return those of RECIPIENTS who are still to be reached after RECEIPT."
  (if (null (plist-get receipt :accepted))
      recipients
    (let ((done (append (plist-get receipt :accepted)
                        (mapcar #'car (plist-get receipt :refused)))))
      (cl-remove-if (lambda (address)
                      (member (submission-settings-address address) done))
                    recipients))))

;;;; Notes

(defun submission-mew-queue--started (pid)
  "Return when the process PID was started, in seconds, or nil."
  (let ((start (alist-get 'start (process-attributes pid))))
    (and start (float-time start))))

(defun submission-mew-queue-note (directory folder work)
  "Note in DIRECTORY that this Emacs claims WORK of FOLDER.
Return the name of the file."
  (let ((print-length nil)
        (print-level nil))
    (submission-file-draft
     directory
     (prin1-to-string
      (list :folder folder :work work :emacs (emacs-pid)
            :started (submission-mew-queue--started (emacs-pid)))))))

(defun submission-mew-queue--read-note (file)
  "Return the note in FILE, a plist, or nil."
  (ignore-errors
    (with-temp-buffer
      (let ((coding-system-for-read 'utf-8-emacs-unix))
        (insert-file-contents file))
      (let ((note (read (current-buffer))))
        (and (stringp (plist-get note :folder))
             (stringp (plist-get note :work))
             (integerp (plist-get note :emacs))
             note)))))

(defun submission-mew-queue--alive-p (note)
  "Return non-nil if the Emacs that wrote NOTE is there."
  (let ((started (submission-mew-queue--started (plist-get note :emacs))))
    (and started
         ;; What is computed from clocks differs a little each time.
         (< (abs (- started (or (plist-get note :started) started))) 5))))

;;;; After an Emacs that is gone

(defun submission-mew-queue-recover ()
  "Put back into Mew's queues what an Emacs that is gone was sending."
  (let ((directory (submission-mew-queue--directory)))
    (when (file-directory-p directory)
      (dolist (file (directory-files
                     directory t
                     "\\`\\.draft-\\|\\`[^.].*\\.draft\\'"))
        (let ((note (submission-mew-queue--read-note file)))
          (when (and note (not (submission-mew-queue--alive-p note)))
            (submission-channel-call #'submission-mew-queue--put-right
                                     note file)))))))

(defun submission-mew-queue--put-right (note file)
  "Put right what NOTE, in FILE, is about, and let its copy go."
  (let* ((id (and (not (string-prefix-p "." (file-name-nondirectory file)))
                  (file-name-base file)))
         (state (and id (submission-receipt-read-state
                         (submission-receipt-state-file
                          id (file-name-directory file)))))
         (work (plist-get note :work)))
    (cond ((file-exists-p work)
           (submission-mew-queue--restore note state)
           (mew-touch-folder (plist-get note :folder)))
          ((submission-mew-queue--uncertain-p state)
           (submission-mew-queue--mark-late work state)))
    (cond ((null state) (delete-file file))
          ((member (plist-get state :status) '("accepted" "cancelled"))
           (submission-job-settle-left id (submission-mew-queue-open)))
          (t (submission-job-take-back id (submission-mew-queue-open))))))

(defconst submission-mew-queue--lost
  "Emacs ended when the server's answer was still to come."
  "Why a message that an Emacs has left may have arrived.")

(defun submission-mew-queue--uncertain-p (state)
  "Return non-nil if a message whose copy has STATE may have arrived."
  (and state (or (plist-get state :dot)
                 (equal (plist-get state :status) "uncertain"))))

(defun submission-mew-queue--mark-late (work state)
  "Mark what WORK has become, for STATE, if that was not done any more."
  (let* ((info (submission-mew-queue--info
                (submission-mew-queue--base work)))
         (data (mew-lisp-load info)))
    (when (and data (equal (mew-smtp-get-msgid data)
                           (plist-get state :message-id)))
      (submission-mew-queue--save info data submission-mew-queue--lost)
      (submission-mew-queue--log data nil submission-mew-queue--lost))))

(defun submission-mew-queue--restore (note state)
  "Restore the message of NOTE, whose copy has STATE or nil."
  (let* ((work (plist-get note :work))
         (base (submission-mew-queue--base work))
         (info (submission-mew-queue--info base))
         (data (or (mew-lisp-load (concat info mew-queue-work-suffix))
                   (mew-lisp-load info)))
         (receipt (and state (submission-receipt-of state))))
    (cond ((not (and state (equal (plist-get state :status) "accepted")))
           (when data
             (submission-mew-queue--set-recipients
              data (submission-mew-queue-left
                    (mew-smtp-get-orig-recipients data) receipt))
             (submission-mew-queue--put-back
              note data
              (and (submission-mew-queue--uncertain-p state)
                   submission-mew-queue--lost))))
          ((submission-mew-queue--other-p work state)
           ;; The copy for Bcc, of a message that was filed already.
           (submission-mew-queue--for-bcc
            note (mew-lisp-load (mew-prepend-prefix info mew-backup-prefix))))
          ((and data (mew-smtp-get-bcc data))
           (submission-mew-queue--for-bcc note data))
          (t
           (submission-mew-queue--file work data receipt)))))

(defun submission-mew-queue--set-recipients (data recipients)
  "Make RECIPIENTS those of DATA."
  (mew-smtp-set-recipients data recipients)
  (mew-smtp-set-orig-recipients data recipients))

(defun submission-mew-queue--other-p (work state)
  "Return non-nil if WORK is not the message that STATE is about."
  (let ((id (plist-get state :message-id)))
    (not (equal id (submission-settings-with-header work
                     (or (mail-fetch-field "Message-Id") ""))))))

(defun submission-mew-queue--for-bcc (note data)
  "Put back the message of NOTE, with DATA, for those in Bcc alone."
  (when (and data (mew-smtp-get-bcc data))
    (submission-mew-queue--set-recipients data (mew-smtp-get-bcc data))
    (mew-smtp-set-bcc data nil)
    (submission-mew-queue--put-back note data nil)))

(defun submission-mew-queue--put-back (note data why)
  "Make the message of NOTE, with DATA, one that waits; marked if there is WHY.
Each step can be done again if Emacs ends after it."
  (let* ((work (plist-get note :work))
         (old (submission-mew-queue--base work))
         (base old)
         (number (string-to-number (file-name-nondirectory old))))
    (while (file-exists-p base)
      (setq number (1+ number)
            base (mew-expand-new-msg (plist-get note :folder)
                                     (number-to-string number))))
    (submission-mew-queue--save (submission-mew-queue--info base) data why)
    (rename-file work base)
    (ignore-errors
      (delete-file (concat (submission-mew-queue--info old)
                           mew-queue-work-suffix)))
    (submission-mew-queue--log data nil (or why "Emacs ended before it was sent."))
    (message "Mew: message %s is back in %s%s" (file-name-nondirectory base)
             (plist-get note :folder)
             (if why ", and may have arrived" ""))))

(defun submission-mew-queue--file (work data receipt)
  "File WORK, with DATA, which was sent with RECEIPT."
  (let ((backup (mew-queue-backup work mew-queue-info-suffix)))
    (when data
      (submission-mew-queue--log data receipt)
      (mew-net-fcc-message (mew-smtp-get-case data) (mew-smtp-get-fcc data)
                           backup))))

(defun submission-mew-queue--log (data receipt &optional why)
  "Write a line about DATA to Mew's log: it was sent with RECEIPT, or WHY not."
  (let ((info (make-vector (length mew-smtp-info-list) nil)))
    (dotimes (i mew-smtp-info-list-save-length)
      (aset info i (aref data i)))
    (when receipt
      (mew-smtp-set-server info (plist-get receipt :host))
      (mew-smtp-set-port info (format "%s" (plist-get receipt :port))))
    (mew-smtp-log info why)))

(provide 'submission-mew-queue)

;;; submission-mew-queue.el ends here
