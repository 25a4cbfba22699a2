;;; submission-diagnose-save.el --- A diagnosis in a file -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; What a diagnosis has found, as CSV for a spreadsheet or as tables of Org.

;;; Code:

(require 'subr-x)
(require 'submission-diagnose)
(require 'submission-diagnose-words)

(defun submission-diagnose-save (file)
  "Save this diagnosis in FILE: as Org if it ends in .org, else as CSV."
  (interactive "FSave as (.csv or .org): " submission-diagnose-mode)
  (when (and (called-interactively-p 'any) (file-exists-p file)
             (not (y-or-n-p (format "Overwrite %s? " file))))
    (user-error "Not saved"))
  (if (string-suffix-p ".org" file t)
      (submission-diagnose-save-org file)
    (submission-diagnose-save-csv file)))

(defun submission-diagnose-save-csv (file &optional buffer)
  "Save the table in BUFFER (default: the current one) in FILE, as CSV."
  (submission-diagnose-save--write
   file buffer
   (lambda (rows _summary)
     (mapconcat (lambda (cells)
                  (concat (mapconcat #'submission-diagnose-save--csv cells ",")
                          "\n"))
                rows ""))))

(defun submission-diagnose-save--csv (text)
  "Return TEXT as a field of CSV (RFC 4180).
What a server says must not become a formula, so there is an apostrophe
before what a spreadsheet would take for one."
  (when (string-match-p "\\`[-=+@]" text)
    (setq text (concat "'" text)))
  (if (string-match-p "[\",\r\n]" text)
      (concat "\"" (string-replace "\"" "\"\"" text) "\"")
    text))

(defun submission-diagnose-save-org (file &optional buffer)
  "Save the diagnosis in BUFFER (default: the current one) in FILE, as Org.
That is the table, and the two of the summary."
  (submission-diagnose-save--write
   file buffer
   (lambda (rows summary)
     (concat
      (submission-diagnose-save--org rows)
      "\n" (submission-diagnose-words-headline summary) "\n\n"
      (submission-diagnose-save--org
       (cons '("Kind" "Servers")
             (submission-diagnose-save--counts (plist-get summary :kinds))))
      "\n"
      (submission-diagnose-save--org
       (cons '("Case" "Servers")
             (submission-diagnose-save--counts
              (plist-get summary :cases))))))))

(defun submission-diagnose-save--counts (counts)
  "Return COUNTS as rows of a table."
  (mapcar (lambda (count)
            (list (plist-get count :name)
                  (number-to-string (plist-get count :count))))
          counts))

(defun submission-diagnose-save--org (rows)
  "Return ROWS, the first of which is the header, as a table of Org."
  (let ((lines (mapcar (lambda (cells)
                         (format "| %s |\n"
                                 (mapconcat (lambda (cell)
                                              (string-replace
                                               "|" "\\vert{}" cell))
                                            cells " | ")))
                       rows)))
    (concat (car lines) "|-\n" (string-join (cdr lines)))))

(defun submission-diagnose-save--write (file buffer format)
  "Write the diagnosis in BUFFER into FILE, in FORMAT.
That is called with a list of rows, which are lists of strings, the
first with the names of the columns; and with the summary."
  (let* ((results (submission-diagnose-results buffer))
         (columns (append (mapcar #'car submission-diagnose-words-columns)
                          '("Offers submission as RFC 6409 asks")))
         (rows (mapcar (lambda (row)
                         (append (submission-diagnose-words-cells row)
                                 (list (plist-get row :words))))
                       (plist-get results :rows)))
         (coding-system-for-write 'utf-8-unix))
    (write-region (funcall format (cons columns rows)
                           (plist-get results :summary))
                  nil file nil 'quiet)))

(provide 'submission-diagnose-save)

;;; submission-diagnose-save.el ends here
