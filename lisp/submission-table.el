;;; submission-table.el --- The lines of the list -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; What the list in submission-outbox.el shows of each message, and how it
;; is kept up to date: only the lines that differ are written anew, so
;; that point, marks and windows stay where they are.

;;; Code:

(require 'subr-x)
(require 'tabulated-list)
(require 'submission)
(require 'submission-entries)
(require 'submission-signs)

(defvar-local submission-table-rows nil
  "What is shown: a list of (ID . COLUMNS), in order.")

(defvar-local submission-table-marks nil
  "The ids of the marked messages.")

;;;; Columns

(defun submission-table-entries ()
  "Return what `tabulated-list-entries' is to be."
  (mapcar (lambda (entry)
            (list (submission-entry-id entry)
                  (submission-table--columns entry)))
          (submission-entries-all)))

(defun submission-table--columns (entry)
  "Return the columns for ENTRY, a vector.
But for the times and the size they stay the same as long as ENTRY does."
  (pcase-let* ((`(,queued ,due . ,columns)
                (or (submission-entry-columns entry)
                    (setf (submission-entry-columns entry)
                          (submission-table--constant entry))))
               (columns (copy-sequence columns)))
    (aset columns 1 (if queued
                        (submission-table-duration (time-since queued))
                      ""))
    (aset columns 2 (cond ((null due) "")
                          ((time-less-p due nil) "now")
                          (t (submission-table-duration
                              (time-subtract due nil)))))
    (when (eq (submission-entry-status entry) 'sending)
      (aset columns 7 (submission-table--size entry)))
    columns))

(defun submission-table--constant (entry)
  "Return (QUEUED DUE . COLUMNS) of ENTRY, but for times."
  (let* ((state (submission-entry-state entry))
         (envelope (plist-get state :envelope)))
    (cons (submission-receipt-time (plist-get state :queued))
          (cons (submission-entries-due entry)
                (vector
                 (submission-table--state entry) "" ""
                 (submission-table-plain (plist-get envelope :from))
                 (submission-table-plain (string-join (plist-get envelope :to)
                                                      ", "))
                 (submission-table-plain (submission-entries-subject entry))
                 (submission-table-server state)
                 (submission-table--size entry)
                 (submission-table--words entry))))))

(defun submission-table-plain (text)
  "Return TEXT on one line, \"\" for nil."
  (replace-regexp-in-string "[[:cntrl:]]+" " " (or text "")))

(defun submission-table--state (entry)
  "Return the column with the status of ENTRY."
  (propertize (symbol-name (submission-entry-status entry))
              'font-lock-face
              (cond ((submission-entries-needs-person-p entry)
                     'submission-needs-person)
                    ((submission-entries-offline-p entry) 'submission-offline)
                    ((eq (submission-entry-status entry) 'sending)
                     'success)
                    (t 'default))))

(defun submission-table-duration (time)
  "Return TIME, a span, in a few characters."
  (let ((seconds (max 0 (truncate (float-time time)))))
    (cond ((< seconds 60) (format "%ds" seconds))
          ((< seconds 3600) (format "%dm" (/ seconds 60)))
          ((< seconds 86400) (format "%dh" (/ seconds 3600)))
          (t (format "%dd" (/ seconds 86400))))))

(defun submission-table-server (state)
  "Return the server and port in STATE."
  (let* ((settings (plist-get state :settings))
         (port (plist-get settings :port)))
    (concat (plist-get settings :host)
            (and port (/= port 0) (format ":%d" port)))))

(defun submission-table--size (entry)
  "Return the size of ENTRY, or how much of it was sent."
  (let ((size (plist-get (submission-entry-state entry) :size))
        (progress (and (eq (submission-entry-status entry) 'sending)
                       (submission-signs-progress-of
                        (submission-entry-id entry)))))
    (cond (progress
           (format "%s%%/%s" (submission-signs-percent progress)
                   (file-size-human-readable (cdr progress))))
          (size (file-size-human-readable size))
          (t ""))))

(defun submission-table--words (entry)
  "Return the last words of the server about ENTRY, or what is the matter."
  (let* ((state (submission-entry-state entry))
         (receipt (plist-get state :receipt)))
    (submission-table-plain
     (or (cdr (assq (submission-entry-status entry)
                    submission-entries-problems))
         (submission-receipt-text (plist-get receipt :reply))
         (submission-receipt-text (plist-get state :detail))
         (mapconcat (lambda (attempt)
                      (format "%s %s" (plist-get attempt :port)
                              (plist-get attempt :outcome)))
                    (plist-get receipt :attempts) ", ")))))

(defun submission-table-older-p (a b)
  "Return non-nil if the row A is of an older message than B."
  (string< (car a) (car b)))

;;;; Drawing

(defun submission-table-redraw (&optional anew)
  "Bring this list up to date, by writing it ANEW or only what differs."
  (let* ((gc-cons-threshold (max gc-cons-threshold submission-entries-garbage))
         (entries (submission-table-entries))
         (rows (mapcar (lambda (row) (cons (car row) (cadr row))) entries)))
    (setq submission-table-marks
          (cl-remove-if-not (lambda (id) (assoc id rows))
                            submission-table-marks))
    (if (or anew tabulated-list-sort-key (null submission-table-rows)
            (not (submission-table--patch rows)))
        (let ((tabulated-list-entries entries))
          (tabulated-list-print t)
          (mapc #'submission-table-tag submission-table-marks)))
    (setq submission-table-rows rows)))

(defun submission-table--patch (rows)
  "Change the lines that differ between what is shown and ROWS.
Return nil if the order is another one, so that this can't be done."
  (let ((inhibit-read-only t)
        (places (submission-table--places))
        (old submission-table-rows)
        (possible t)
        (wanted (make-hash-table :test #'equal)))
    (dolist (row rows) (puthash (car row) t wanted))
    (with-silent-modifications
      (save-excursion
        (goto-char (point-min))
        (while (and possible (or old rows))
          (cond
           ((and old (not (gethash (caar old) wanted)))
            (delete-region (point) (line-beginning-position 2))
            (pop old))
           ((and old rows (equal (caar old) (caar rows)))
            (if (equal (cdar old) (cdar rows))
                (forward-line 1)
              (delete-region (point) (line-beginning-position 2))
              (submission-table--print (car rows)))
            (pop old)
            (pop rows))
           ((and rows (or (null old) (string< (caar rows) (caar old))))
            (submission-table--print (pop rows)))
           (t (setq possible nil))))))
    (mapc #'submission-table--return places)
    possible))

(defun submission-table--places ()
  "Return where point is in this buffer and in its windows.
That is a list of (WINDOW ID COLUMN), with nil for the buffer itself."
  (mapcar (lambda (window)
            (save-excursion
              (when window (goto-char (window-point window)))
              (list window (tabulated-list-get-id)
                    (- (point) (line-beginning-position)))))
          (cons nil (get-buffer-window-list nil nil t))))

(defun submission-table--return (place)
  "Go back to the column in PLACE if that line was written anew.
Point is at its start then."
  (pcase-let* ((`(,window ,id ,column) place)
               (start (if window (window-point window) (point))))
    (save-excursion
      (goto-char start)
      (when (and id (bolp) (equal id (tabulated-list-get-id)))
        (setq start (min (+ start column) (line-end-position)))))
    (if window
        (set-window-point window start)
      (goto-char start))))

(defun submission-table--print (row)
  "Insert the line for ROW before point."
  (tabulated-list-print-entry (car row) (cdr row))
  (when (member (car row) submission-table-marks)
    (forward-line -1)
    (tabulated-list-put-tag "*" t)))

(defun submission-table-tag (id)
  "Show whether the message with ID is marked."
  (save-excursion
    (goto-char (point-min))
    (while (not (or (eobp) (equal id (tabulated-list-get-id))))
      (forward-line 1))
    (unless (eobp)
      (tabulated-list-put-tag (if (member id submission-table-marks) "*" "")))))

(provide 'submission-table)

;;; submission-table.el ends here
