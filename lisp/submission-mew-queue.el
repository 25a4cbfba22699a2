;;; submission-mew-queue.el --- Mew's queue -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; In a queue of Mew's a message is N, with N.mqi, a vector of what Mew
;; needs to know; while it is being sent N.wrk, with N.mqi.wrk; and after
;; that #N.  A message that may have arrived is marked: its N.mqi has one
;; element more, a string, which Mew doesn't look at.

;;; Code:

(require 'subr-x)
(require 'submission)
(require 'submission-channel)
(require 'submission-file)
(require 'submission-settings)

(declare-function mew-expand-msg "ext:mew-func" (folder msg) t)
(declare-function mew-expand-new-msg "ext:mew-func" (folder msg) t)
(declare-function mew-info "ext:mew-func" (name) t)
(declare-function mew-lisp-load "ext:mew-func" (file) t)
(declare-function mew-lisp-save "ext:mew-func" (file lisp) t)
(declare-function mew-queue-folder "ext:mew-config" (case) t)
(declare-function mew-smtp-get-orig-recipients "ext:mew-smtp" (pnm) t)
(declare-function mew-smtp-queue "ext:mew-smtp" (case err &optional pnm) t)
(declare-function mew-smtp-set-recipients "ext:mew-smtp" (pnm value) t)
(declare-function mew-summary-folder-name "ext:mew-syntax" (&optional ext) t)
(declare-function mew-summary-message-number2 "ext:mew-syntax" () t)

(defvar mew-backup-suffix)
(defvar mew-queue-info-suffix)
(defvar mew-queue-work-suffix)
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

(defun submission-mew-queue-directory ()
  "Return the full name of `submission-mew-directory'."
  (expand-file-name (file-name-as-directory submission-mew-directory)))

(defun submission-mew-queue-open ()
  "Open our directory for Mew, and return its name."
  (let ((submission-directory (submission-mew-queue-directory)))
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

(defun submission-mew-queue-base (work)
  "Return the file that WORK was before it was claimed."
  (string-remove-suffix mew-queue-work-suffix work))

(defun submission-mew-queue-info (base)
  "Return the file of Mew's info about BASE, a message in a queue."
  (concat base mew-queue-info-suffix))

(defun submission-mew-queue-claimed-info (work)
  "Return the file of Mew's info about WORK, a claimed message."
  (concat (submission-mew-queue-info (submission-mew-queue-base work))
          mew-queue-work-suffix))

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
       (submission-mew-queue--rename (mew-expand-msg folder message) base)
       (and (file-readable-p base)
            (submission-mew-queue-load (submission-mew-queue-info base)))))
   messages))

(defun submission-mew-queue--rename (file base)
  "Have FILE, a message in a queue, be BASE, its name for Mew.
With `mew-use-suffix' Mew itself may call it otherwise."
  (when (and (not (equal file base)) (file-exists-p file))
    (ignore-errors
      (rename-file (submission-mew-queue-info file)
                   (submission-mew-queue-info base)))
    (ignore-errors
      (rename-file file base))))

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
  (let ((data (submission-mew-queue-load (submission-mew-queue-info base))))
    (and (> (length data) mew-smtp-info-list-save-length)
         (aref data mew-smtp-info-list-save-length))))

(defun submission-mew-queue-mark (base why)
  "Mark BASE, a message in a queue, as one that may have arrived.
WHY is a string, the reason; with nil, take a mark away."
  (let ((info (submission-mew-queue-info base)))
    (submission-mew-queue-save info (submission-mew-queue-load info) why)))

(defun submission-mew-queue-load (info)
  "Return what Mew has in the file INFO, a vector, or nil."
  (let ((data (and (file-readable-p info) (mew-lisp-load info))))
    (and (vectorp data)
         (>= (length data) mew-smtp-info-list-save-length)
         data)))

(defun submission-mew-queue-save (info data &optional why)
  "Save DATA, a vector, in the file INFO, marked if there is WHY."
  (let ((saved (cl-subseq data 0 mew-smtp-info-list-save-length)))
    (mew-lisp-save info (if why (vconcat saved (list why)) saved))
    (submission-mew-queue-tidy info)))

(defun submission-mew-queue-tidy (info)
  "Delete the old version of the file INFO, which Mew has kept."
  (ignore-errors (delete-file (concat info mew-backup-suffix))))

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
         (why (submission-mew-queue--mark base)))
    (unless why
      (user-error "Message %s of %s doesn't wait for that" message folder))
    (when (or (not (called-interactively-p 'any))
              (yes-or-no-p (format "%s  Send it again, so that some may get \
it twice? "
                                   why)))
      (submission-mew-queue-mark base nil)
      (message "The next flush sends message %s of %s" message folder))))

;;;; Claiming

(defun submission-mew-queue-claim (pnm work)
  "See to it that WORK, a claimed message with Mew's info PNM, has its info.
Return non-nil if it had none, as a copy for Bcc has not."
  (let ((info (submission-mew-queue-claimed-info work)))
    (unless (file-exists-p info)
      (submission-mew-queue-save info (mew-info pnm))
      t)))

(defun submission-mew-queue-forget (work)
  "Delete the info that `submission-mew-queue-claim' made for WORK."
  (delete-file (submission-mew-queue-claimed-info work)))

(defun submission-mew-queue-taken-p (folder message error)
  "Return non-nil if ERROR means that MESSAGE of FOLDER is there no more.
Then another Emacs has claimed it."
  (and message
       (eq (car error) 'file-missing)
       (member (mew-expand-new-msg folder message) error)))

(defun submission-mew-queue-unclaim (folder message)
  "Undo what there is of a claim of MESSAGE of FOLDER."
  (when message
    (let* ((base (mew-expand-new-msg folder message))
           (info (submission-mew-queue-info base)))
      (unless (file-exists-p base)
        (ignore-errors
          (rename-file (concat info mew-queue-work-suffix) info))
        (ignore-errors
          (rename-file (concat base mew-queue-work-suffix) base))))))

(defun submission-mew-queue-requeue (case pnm work text mark)
  "Put WORK, in this buffer, back as Mew does, with its CASE, PNM and TEXT.
Mark it as one that may have arrived if MARK is non-nil.  Whenever Emacs
ends here, it is known whom the message is for and whether it is marked."
  (let* ((base (submission-mew-queue-base work))
         (there (file-exists-p base))
         (info (submission-mew-queue-info base)))
    (mew-smtp-set-recipients pnm (mew-smtp-get-orig-recipients pnm))
    (unless there
      (submission-mew-queue-save info (mew-info pnm) mark))
    (let ((name (mew-smtp-queue case text pnm)))
      (when there
        (setq base (mew-expand-msg (mew-queue-folder case) name)
              info (submission-mew-queue-info base)))
      (submission-mew-queue-tidy info)
      (when mark
        (submission-mew-queue-mark base mark)))))

(defun submission-mew-queue-left (recipients receipt)
  "Return those of RECIPIENTS who are still to be reached after RECEIPT."
  (if (null (plist-get receipt :accepted))
      recipients
    (let ((done (append (plist-get receipt :accepted)
                        (mapcar #'car (plist-get receipt :refused)))))
      (cl-remove-if (lambda (address)
                      (member (submission-settings-address address) done))
                    recipients))))

(provide 'submission-mew-queue)

;;; submission-mew-queue.el ends here
