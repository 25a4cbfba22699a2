;;; submission-file.el --- Files for the module, in the outbox -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; A message goes to the module as a file in the directory of the outbox,
;; and so does the draft that is kept beside it.  A name that begins with
;; a dot is not mail yet.

;;; Code:

(require 'submission)
(require 'submission-channel)

(defmacro submission-file--with-outbox (&rest body)
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

(defun submission-file-make-directory ()
  "Create the directory of the outbox if it is not there."
  (submission-file--with-outbox
    (with-file-modes #o700
      (make-directory (submission-channel-directory) t))))

(defun submission-file-message (directory message coding)
  "Write MESSAGE, in CODING if it is a multibyte buffer, to DIRECTORY.
Return the name of the file, which is the module's from then on."
  (let ((source (and (stringp message) (or (file-local-copy message) message)))
        (file nil)
        (complete nil))
    (submission-file--with-outbox
      (unwind-protect
          (with-file-modes #o600
            (setq file (make-temp-file
                        (expand-file-name ".draft-" directory)))
            (if source
                (copy-file source file t nil nil nil)
              (submission-file--write-buffer message coding file))
            (set-file-modes file #o600)
            (setq complete t)
            file)
        (when (and source (not (equal source message)))
          (delete-file source))
        (when (and file (not complete))
          (ignore-errors (delete-file file)))))))

(defun submission-file--write-buffer (buffer coding file)
  "Write BUFFER to FILE as it is, in CODING if it is multibyte.
Line ends and syncing are the module's work."
  (with-current-buffer buffer
    (let ((coding-system-for-write
           (if (submission-file--bytes-p)
               'no-conversion
             (coding-system-change-eol-conversion (or coding 'utf-8) 'unix)))
          (write-region-inhibit-fsync t)
          (create-lockfiles nil)
          (write-region-annotate-functions nil)
          (write-region-post-annotation-function nil)
          (buffer-file-format nil))
      (write-region (point-min) (point-max) file nil 0))))

(defun submission-file--bytes-p ()
  "Return non-nil if nothing in this buffer needs to be encoded.
Writing is some five times faster then."
  (or (not enable-multibyte-characters)
      (= (- (position-bytes (point-max)) (position-bytes (point-min)))
         (- (point-max) (point-min)))))

(defun submission-file-draft (directory text)
  "Write TEXT, a unibyte string, to DIRECTORY.
Return the name of the file, which is the module's from then on."
  (submission-file--with-outbox
    (with-file-modes #o600
      (let ((coding-system-for-write 'no-conversion)
            (write-region-inhibit-fsync t)
            (create-lockfiles nil)
            (write-region-annotate-functions nil)
            (write-region-post-annotation-function nil)
            (file (make-temp-file (expand-file-name ".draft-" directory))))
        (write-region text nil file nil 0)
        file))))

(provide 'submission-file)

;;; submission-file.el ends here
