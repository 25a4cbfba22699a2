;;; submission-mew-recover.el --- What an Emacs has left of Mew's -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; Before Mew claims a message, a note is written into our directory for
;; Mew.  It goes with the copy there as ID.draft, and when that is gone, so
;; is the note.  A note of an Emacs that is gone tells which N.wrk it has
;; left, and the state of the copy tells what became of the message: it was
;; not sent, it was, or nobody knows.
;;
;;     note alone, queued, sending, deferred, …   N.wrk becomes N again
;;     sending with the dot marked, uncertain     N, marked
;;     accepted                                   #N; Fcc and log are made up
;;                                                for; what is left for Bcc
;;                                                becomes N

;;; Code:

(require 'subr-x)
(require 'submission)
(require 'submission-channel)
(require 'submission-file)
(require 'submission-job)
(require 'submission-mew-queue)
(require 'submission-receipt)
(require 'submission-settings)

(declare-function mew-expand-folder "ext:mew-func" (folder) t)
(declare-function mew-expand-new-msg "ext:mew-func" (folder msg) t)
(declare-function mew-folder-imap-to-fcc "ext:mew-imap2" (case folder) t)
(declare-function mew-folder-imapp "ext:mew-syntax" (folder) t)
(declare-function mew-net-fcc-message "ext:mew-net" (case fcc file) t)
(declare-function mew-prepend-prefix "ext:mew-func" (file prefix) t)
(declare-function mew-queue-backup "ext:mew-net" (work suffix) t)
(declare-function mew-smtp-get-bcc "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-case "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-fcc "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-orig-recipients "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-get-msgid "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-log "ext:mew-smtp" (pnm &optional err) t)
(declare-function mew-smtp-set-bcc "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-fcc "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-orig-recipients "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-port "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-recipients "ext:mew-smtp" (pnm value) t)
(declare-function mew-smtp-set-server "ext:mew-smtp" (pnm value) t)
(declare-function mew-touch-folder "ext:mew-func" (folder) t)

(defvar mew-backup-prefix)
(defvar mew-conf-path)
(defvar mew-queue-info-suffix)
(defvar mew-smtp-info-list)
(defvar mew-smtp-info-list-save-length)
(defvar mew-smtp-log-file)

;;;; Notes

(defun submission-mew-recover--age (pid)
  "Return how many seconds after the system the process PID was started.
Unlike the time of day at that moment, that stays the same when the clock
is set.  Return nil where the system doesn't tell."
  (let ((start (alist-get 'start (process-attributes pid)))
        (first (alist-get 'start (process-attributes 1))))
    (and start (float-time (if first (time-subtract start first) start)))))

(defun submission-mew-recover-note (directory folder work)
  "Note in DIRECTORY that this Emacs claims WORK of FOLDER.
Return the name of the file."
  (let ((print-length nil)
        (print-level nil))
    (submission-file-draft
     directory
     (encode-coding-string
      (prin1-to-string
       (list :folder folder :work work :time (float-time)
             :host (system-name) :emacs (emacs-pid)
             :age (submission-mew-recover--age (emacs-pid))))
      'utf-8-emacs-unix))))

(defun submission-mew-recover--read-note (file)
  "Return the note in FILE, a plist, or nil."
  (ignore-errors
    (with-temp-buffer
      (let ((coding-system-for-read 'utf-8-emacs-unix))
        (insert-file-contents file))
      (let ((note (read (current-buffer))))
        (and (stringp (plist-get note :folder))
             (stringp (plist-get note :work))
             (numberp (plist-get note :time))
             (integerp (plist-get note :emacs))
             note)))))

(defun submission-mew-recover--gone-p (note)
  "Return non-nil if the Emacs that wrote NOTE is there no more.
That of another machine that has the same files may be there."
  (let* ((pid (plist-get note :emacs))
         (then (plist-get note :age))
         (now (submission-mew-recover--age pid)))
    (cond ((not (equal (plist-get note :host) (system-name))) nil)
          (now (and then (> (abs (- now then)) 2)))
          ((submission-mew-recover--age (emacs-pid)) t)
          (t (not (eql (signal-process pid 0) 0))))))

;;;; After an Emacs that is gone

(defun submission-mew-recover ()
  "Put back into Mew's queues what an Emacs that is gone was sending."
  (let ((directory (submission-mew-queue-directory)))
    (when (cl-some #'submission-mew-recover--gone-p
                   (submission-mew-recover--notes directory))
      (submission-mew-recover--alone directory
        (lambda ()
          (let ((works nil))
            ;; Where there are several about a file, the others are of what
            ;; is done with: a message before its copy for Bcc, or one that
            ;; was put back and then sent again.
            (dolist (note (submission-mew-recover--notes directory))
              (when (submission-mew-recover--gone-p note)
                (submission-channel-call
                 #'submission-mew-recover--put-right note
                 (member (plist-get note :work) works)))
              (push (plist-get note :work) works))))))))

(defun submission-mew-recover--notes (directory)
  "Return the notes in DIRECTORY, newest first, each with its :file."
  (when (file-directory-p directory)
    (sort (cl-loop for file in (directory-files
                                directory t
                                "\\`\\.draft-\\|\\`[^.].*\\.draft\\'")
                   for note = (submission-mew-recover--read-note file)
                   when note collect (append (list :file file) note))
          (lambda (one other)
            (> (plist-get one :time) (plist-get other :time))))))

(defun submission-mew-recover--alone (directory function)
  "Call FUNCTION unless another Emacs is busy with what is in DIRECTORY."
  (declare (indent 1))
  (let ((create-lockfiles t)
        (file (expand-file-name "recovery" directory)))
    (when (condition-case nil
              (cl-letf (((symbol-function 'ask-user-about-lock)
                         (lambda (&rest _) (signal 'file-locked nil))))
                (lock-file file)
                t)
            (file-error nil))
      (unwind-protect
          (funcall function)
        (unlock-file file)))))

(defun submission-mew-recover--put-right (note done)
  "Put right what NOTE is about, unless it is DONE, and let its copy go."
  (let* ((file (plist-get note :file))
         (id (and (not (string-prefix-p "." (file-name-nondirectory file)))
                  (file-name-base file)))
         (state (and id (submission-receipt-read-state
                         (submission-receipt-state-file
                          id (file-name-directory file)))))
         (status (plist-get state :status))
         (work (plist-get note :work)))
    (cond (done)
          ((and (equal status "accepted") (file-exists-p work))
           (submission-mew-recover--accepted note state))
          ((equal status "accepted")
           (submission-mew-recover--filed note state))
          ((file-exists-p work)
           (submission-mew-recover--unsent note state))
          ((submission-mew-recover--uncertain-p state)
           (submission-mew-recover--mark-late work state)))
    (unless done
      (mew-touch-folder (plist-get note :folder)))
    ;; Now, so that this is done once.
    (delete-file file)
    (cond ((null state))
          ((member status '("accepted" "cancelled"))
           (submission-job-settle-left id (submission-mew-queue-open)))
          (t (submission-job-take-back id (submission-mew-queue-open))))))

;;;; What was not sent

(defconst submission-mew-recover--lost
  "Emacs ended when the server's answer was still to come."
  "Why a message that an Emacs has left may have arrived.")

(defun submission-mew-recover--uncertain-p (state)
  "Return non-nil if a message whose copy has STATE may have arrived."
  (and state (or (plist-get state :dot)
                 (equal (plist-get state :status) "uncertain"))))

(defun submission-mew-recover--mark-late (work state)
  "Mark what WORK has become, for STATE, if that was not done any more."
  (let* ((base (submission-mew-queue-base work))
         (data (submission-mew-queue-load (submission-mew-queue-info base))))
    (when (and data (submission-mew-recover--same-p base state))
      (submission-mew-queue-mark base submission-mew-recover--lost)
      (submission-mew-recover--log data nil submission-mew-recover--lost))))

(defun submission-mew-recover--unsent (note state)
  "Put back the message of NOTE, whose copy has STATE or nil."
  (let* ((work (plist-get note :work))
         (data (submission-mew-recover--data work)))
    (when data
      (submission-mew-recover--set-recipients
       data (submission-mew-queue-left
             (mew-smtp-get-orig-recipients data)
             (and state (submission-receipt-of state)))))
    (submission-mew-recover--put-back
     note data (and (submission-mew-recover--uncertain-p state)
                    submission-mew-recover--lost))))

(defun submission-mew-recover--data (work)
  "Return Mew's info about WORK, a claimed message, or nil."
  (or (submission-mew-queue-load (submission-mew-queue-claimed-info work))
      (submission-mew-queue-load
       (submission-mew-queue-info (submission-mew-queue-base work)))))

(defun submission-mew-recover--set-recipients (data recipients)
  "Make RECIPIENTS those of DATA."
  (mew-smtp-set-recipients data recipients)
  (mew-smtp-set-orig-recipients data recipients))

(defun submission-mew-recover--same-p (file state)
  "Return non-nil if FILE is the message that STATE is about."
  (and (file-readable-p file)
       (equal (plist-get state :message-id)
              (submission-mew-recover--message-id file))))

(defun submission-mew-recover--message-id (file)
  "Return what stands in Message-Id in FILE."
  (submission-settings-with-header file
    (or (mail-fetch-field "Message-Id") "")))

(defun submission-mew-recover--put-back (note data why)
  "Make the message of NOTE, with DATA, one that waits; marked if there is WHY.
Each step can be done again if Emacs ends after it."
  (let* ((work (plist-get note :work))
         (base (submission-mew-queue-base work))
         (number (string-to-number (file-name-nondirectory base))))
    (while (file-exists-p base)
      (setq number (1+ number)
            base (mew-expand-new-msg (plist-get note :folder)
                                     (number-to-string number))))
    (when data
      (submission-mew-queue-save (submission-mew-queue-info base) data why))
    (rename-file work base)
    (ignore-errors
      (delete-file (submission-mew-queue-claimed-info work)))
    (when data
      (submission-mew-recover--log
       data nil (or why "Emacs ended before it was sent.")))
    (message "Mew: message %s is back in %s%s" (file-name-nondirectory base)
             (plist-get note :folder)
             (if why ", and may have arrived" ""))))

;;;; What was sent

(defun submission-mew-recover--accepted (note state)
  "Do for the message of NOTE, with STATE, what Mew does once it is sent."
  (let* ((work (plist-get note :work))
         (data (submission-mew-recover--data work))
         (receipt (submission-receipt-of state)))
    (cond ((not (submission-mew-recover--same-p work state))
           ;; The copy for Bcc, of a message that was filed already.
           (submission-mew-recover--for-bcc
            note (submission-mew-queue-load
                  (mew-prepend-prefix
                   (submission-mew-queue-info (submission-mew-queue-base work))
                   mew-backup-prefix))))
          ((and data (mew-smtp-get-bcc data))
           ;; It is filed when it has gone to them, too.
           (submission-mew-recover--log data receipt)
           (submission-mew-recover--for-bcc note data))
          (t
           (let ((backup (mew-queue-backup work mew-queue-info-suffix)))
             (when data
               (submission-mew-recover--log data receipt)
               (submission-mew-recover--file data backup)))))))

(defun submission-mew-recover--filed (note state)
  "Do what is left to do for the message of NOTE, with STATE.
Mew has made it #N, and Emacs ended before it was in the Fcc folders, or
before it went to those in Bcc."
  (let* ((work (plist-get note :work))
         (base (submission-mew-queue-base work))
         (backup (mew-prepend-prefix base mew-backup-prefix))
         (data (submission-mew-queue-load
                (mew-prepend-prefix (submission-mew-queue-info base)
                                    mew-backup-prefix))))
    (when (and data (submission-mew-recover--same-p backup state))
      (submission-mew-recover--file data backup)
      (unless (submission-mew-recover--logged-p data)
        (submission-mew-recover--log data (submission-receipt-of state)))
      (when (mew-smtp-get-bcc data)
        (copy-file backup (concat work "~") t)
        (rename-file (concat work "~") work t)
        (mew-smtp-set-fcc data nil)
        (submission-mew-recover--for-bcc note data)))))

(defun submission-mew-recover--for-bcc (note data)
  "Put back the message of NOTE, with DATA, for those in Bcc alone."
  (when (and data (mew-smtp-get-bcc data))
    (submission-mew-recover--set-recipients data (mew-smtp-get-bcc data))
    (mew-smtp-set-bcc data nil)
    (submission-mew-recover--put-back note data nil)))

(defun submission-mew-recover--file (data backup)
  "File BACKUP, the message of DATA, in those of its Fcc folders that lack it."
  (let* ((case (mew-smtp-get-case data))
         (folders (cl-remove-if
                   (lambda (folder)
                     (submission-mew-recover--in-p
                      (if (mew-folder-imapp folder)
                          (mew-folder-imap-to-fcc case folder)
                        folder)
                      backup))
                   (mew-smtp-get-fcc data))))
    (when folders
      (mew-net-fcc-message case folders backup))))

(defun submission-mew-recover--in-p (folder file)
  "Return non-nil if FOLDER has a message that is FILE."
  (let ((directory (mew-expand-folder folder))
        (size (file-attribute-size (file-attributes file)))
        (id (submission-mew-recover--message-id file)))
    (and (file-directory-p directory)
         (cl-loop for (name . attributes) in (directory-files-and-attributes
                                              directory t "\\`[1-9]")
                  thereis (and (eql size (file-attribute-size attributes))
                               (equal id (submission-mew-recover--message-id
                                          name)))))))

(defun submission-mew-recover--log (data receipt &optional why)
  "Write a line about DATA to Mew's log: it was sent with RECEIPT, or WHY not."
  (let ((info (make-vector (length mew-smtp-info-list) nil)))
    (dotimes (i mew-smtp-info-list-save-length)
      (aset info i (aref data i)))
    (when receipt
      (mew-smtp-set-server info (plist-get receipt :host))
      (mew-smtp-set-port info (format "%s" (plist-get receipt :port))))
    (mew-smtp-log info why)))

(defun submission-mew-recover--logged-p (data)
  "Return non-nil if it is in Mew's log that the message of DATA was sent."
  (let ((log (expand-file-name mew-smtp-log-file mew-conf-path)))
    (and (file-readable-p log)
         (with-temp-buffer
           (insert-file-contents-literally log)
           (re-search-forward
            (format " id=%s .*status=sent$"
                    (regexp-quote (or (mew-smtp-get-msgid data) "")))
            nil t)))))

(provide 'submission-mew-recover)

;;; submission-mew-recover.el ends here
