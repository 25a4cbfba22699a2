;;; probe.el --- what stories about errors and shapes note  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; A story that looks at more than receipts loads this file and writes what it
;; sees as lines of JSON into the file "notes" in its home.

;;; Code:

(require 'json)

(defun probe-file (name)
  "Return the file NAME in the home of the story."
  (expand-file-name name (getenv "HOME")))

(defun probe-note (name &rest plist)
  "Note PLIST, of strings, numbers, t, nil and vectors of those, as NAME."
  (let ((coding-system-for-write 'utf-8-unix))
    (write-region (concat (json-encode `(:name ,name ,@plist)) "\n")
                  nil (probe-file "notes") t 'quiet)))

(defun probe-outbox ()
  "Return the names of all files in the outbox, a vector."
  (vconcat (and (file-directory-p submission-directory)
                (directory-files submission-directory nil
                                 directory-files-no-dot-files-regexp))))

(defmacro probe-error (name &rest body)
  "Evaluate BODY and note as NAME what it signals and leaves behind."
  (declare (indent 1))
  `(let ((err (condition-case err (progn ,@body nil) ((error quit) err))))
     (probe-note ,name
                 :symbol (if err (symbol-name (car err)) "")
                 :ours (if (memq 'submission-error
                                 (get (car err) 'error-conditions))
                           t json-false)
                 :user (if (memq 'user-error (get (car err) 'error-conditions))
                           t json-false)
                 :text (if err (error-message-string err) "")
                 :outbox (probe-outbox))))

(defun probe-shape (value)
  "Return the shape of VALUE, a part of a receipt, as a string."
  (pcase value
    ('nil "nil")
    ((pred symbolp) (symbol-name value))
    ((pred stringp) "string")
    ((pred floatp) "float")
    ((pred integerp) "integer")
    ((pred proper-list-p)
     (format "(%s)" (mapconcat #'probe-shape value " ")))
    (`(,a . ,b) (format "(%s . %s)" (probe-shape a) (probe-shape b)))
    (_ "something else")))

(provide 'probe)

;;; probe.el ends here
