;;; submission-entries.el --- The outbox, as it is on disk -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; What the list and the mode line show.  It is read from the disk, which
;; is the truth also about messages of another Emacs and about files that
;; are damaged; the module is not needed.  A file that has not changed is
;; not read again, so that a thousand messages cost next to nothing.

;;; Code:

(require 'subr-x)
(require 'submission)
(require 'submission-channel)
(require 'submission-receipt)

(declare-function rfc2047-decode-string "rfc2047" (string &optional address-mime))

(cl-defstruct submission-entry
  "A message in the outbox."
  id
  status   ; a symbol; `damaged', `newer', `stateless' or `bodiless' beside a receipt's
  state    ; what its state file says, or nil
  stamp    ; by which a change of the state file is seen
  subject  ; decoded, once somebody wanted it
  columns) ; of the list, see submission-table.el

(defconst submission-entries-problems
  '((damaged . "Its state file is damaged.  Nothing is done with it; \
mend the file or delete the message")
    (newer . "Its state file was written by a newer version of submission, \
which can deal with it")
    (stateless . "There is a message but no state file, so it is not sent.  \
You may edit it and send that, or delete it")
    (bodiless . "Its message file is missing, so it can't be sent; \
bring the file back or delete this"))
  "What is wrong with an entry, by its status.")

(defvar submission-entries--table (make-hash-table :test #'equal)
  "The entries by id.")

(defvar submission-entries--seen nil
  "(DIRECTORY . STAMP) of the last look at the directory, or nil.")

(defconst submission-entries-garbage 50000000
  "The `gc-cons-threshold' for work on the whole outbox.
With a thousand messages, half the time would go into collecting.")

(defconst submission-entries--id
  "[0-9]\\{8\\}T[0-9]\\{6\\}-[0-9a-f]\\{8\\}"
  "What an id looks like.")

(defun submission-entries-all ()
  "Return all entries, oldest first."
  (sort (hash-table-values submission-entries--table)
        (lambda (a b)
          (string< (submission-entry-id a) (submission-entry-id b)))))

(defun submission-entries-get (id)
  "Return the entry with ID, or nil."
  (gethash id submission-entries--table))

(defun submission-entries-file (id suffix)
  "Return the name of the file of the message with ID that has SUFFIX."
  (expand-file-name (concat id suffix) (submission-channel-directory)))

;;;; Looking

(defun submission-entries-scan ()
  "Look at the directory of the outbox if it has changed since last time."
  (let* ((file-name-handler-alist nil)
         (directory (submission-channel-directory))
         (time (file-attribute-modification-time (file-attributes directory)))
         (seen (cons directory time))
         (gc-cons-threshold (max gc-cons-threshold submission-entries-garbage)))
    (unless (and time (equal seen submission-entries--seen))
      (unless (equal directory (car submission-entries--seen))
        (clrhash submission-entries--table))
      (submission-entries--scan directory)
      ;; The clock of a disk is coarse: what changes at the same moment
      ;; shows only later.
      (setq submission-entries--seen
            (if (and time (< (float-time (time-since time)) 2))
                (list directory)
              seen)))))

(defun submission-entries--scan (directory)
  "Bring the table of entries up to date with DIRECTORY."
  (let ((stamps (make-hash-table :test #'equal))
        (bodies (make-hash-table :test #'equal)))
    (when (file-directory-p directory)
      (pcase-dolist (`(,name . ,attributes)
                     (directory-files-and-attributes
                      directory nil
                      (concat "\\`\\.?" submission-entries--id
                              "\\.\\(?:json\\|eml\\)\\'")
                      t))
        (let ((id (substring name (if (eq (aref name 0) ?.) 1 0)
                             (string-search "." name 1))))
          (if (string-suffix-p ".eml" name)
              (push (eq (aref name 0) ?.) (gethash id bodies))
            (unless (eq (aref name 0) ?.)
              (puthash id (submission-entries--stamp attributes) stamps))))))
    (dolist (id (hash-table-keys submission-entries--table))
      (unless (or (gethash id stamps) (gethash id bodies))
        (remhash id submission-entries--table)))
    (maphash (lambda (id stamp)
               (submission-entries--note id stamp (gethash id bodies)))
             stamps)
    (maphash (lambda (id body)
               (unless (or (gethash id stamps) (not (memq nil body)))
                 (puthash id (make-submission-entry
                              :id id :status 'stateless)
                          submission-entries--table)))
             bodies)))

(defun submission-entries--stamp (attributes)
  "Return the part of ATTRIBUTES that is never the same after a change."
  (list (file-attribute-modification-time attributes)
        (file-attribute-inode-number attributes)
        (file-attribute-size attributes)))

(defun submission-entries--note (id stamp body)
  "Note that the state file of ID has STAMP.
BODY is non-nil if its message is there."
  (let* ((entry (submission-entries-get id))
         (known (and entry (equal stamp (submission-entry-stamp entry)))))
    (unless (and known
                 (eq (not body) (eq (submission-entry-status entry) 'bodiless)))
      (let* ((file (submission-entries-file id ".json"))
             (state (if known
                        (submission-entry-state entry)
                      (submission-entries--read file)))
             (status (if (symbolp state)
                         state
                       (submission-receipt-symbol (plist-get state :status)))))
        (if (or (eq status 'gone)
                ;; It is about to go.
                (and (not body) (memq status '(accepted cancelled))))
            (remhash id submission-entries--table)
          (puthash id (make-submission-entry
                       :id id :stamp stamp
                       :state (and (consp state) state)
                       :status (cond (body status)
                                     ((consp state) 'bodiless)
                                     (t status)))
                   submission-entries--table))))))

(defun submission-entries--read (file)
  "Return the state that is in FILE, or the symbol for what is wrong with it."
  (condition-case nil
      (let* ((state (submission-receipt-load file))
             (version (plist-get state :version)))
        (cond ((not (integerp version)) 'damaged)
              ((> version 1) 'newer)
              ((submission-receipt-state-p state) state)
              (t 'damaged)))
    (file-missing 'gone)
    (error 'damaged)))

(defun submission-entries-look (id)
  "Look again at the message with ID, of which there is news."
  (let* ((file-name-handler-alist nil)
         (attributes (file-attributes (submission-entries-file id ".json"))))
    (if (null attributes)
        (if (file-exists-p (submission-entries-file id ".eml"))
            (puthash id (make-submission-entry :id id :status 'stateless)
                     submission-entries--table)
          (remhash id submission-entries--table))
      (submission-entries--note
       id (submission-entries--stamp attributes)
       (or (file-exists-p (submission-entries-file id ".eml"))
           (file-exists-p (submission-entries-file (concat "." id) ".eml")))))))

;;;; What an entry says

(defun submission-entries-receipt (entry)
  "Return the receipt of ENTRY, or nil if its state can't be read."
  (and (submission-entry-state entry)
       (submission-receipt-of (submission-entry-state entry))))

(defun submission-entries-due (entry)
  "Return when ENTRY is tried next, as a Lisp time, or nil."
  (let ((next (plist-get (submission-entry-state entry) :next-try)))
    (and next (submission-receipt-time next))))

(defun submission-entries-waits-p (entry)
  "Return non-nil if ENTRY is sent by itself, now or later."
  (memq (submission-entry-status entry) '(queued sending deferred)))

(defun submission-entries-needs-person-p (entry)
  "Return non-nil if nothing happens with ENTRY until a person acts.
What a person has held is not among those."
  (not (or (memq (submission-entry-status entry)
                 '(queued sending deferred accepted cancelled))
           (and (eq (submission-entry-status entry) 'held)
                (equal (plist-get (submission-entry-state entry) :reason)
                       "user")))))

(defun submission-entries-offline-p (entry)
  "Return non-nil if ENTRY was deferred as there was no way to any server."
  (let ((receipt (plist-get (submission-entry-state entry) :receipt)))
    (and (eq (submission-entry-status entry) 'deferred)
         (not (submission-receipt-text (plist-get receipt :reply)))
         (cl-every (lambda (attempt)
                     (equal (plist-get attempt :outcome) "local"))
                   (plist-get receipt :attempts)))))

(defun submission-entries-subject (entry)
  "Return the subject of ENTRY, decoded, \"\" if there is none."
  (or (submission-entry-subject entry)
      (setf (submission-entry-subject entry)
            (let ((subject (or (plist-get (submission-entry-state entry)
                                          :subject)
                               "")))
              (if (and (string-search "=?" subject) (require 'rfc2047))
                  (or (ignore-errors (rfc2047-decode-string subject)) subject)
                subject)))))

(provide 'submission-entries)

;;; submission-entries.el ends here
