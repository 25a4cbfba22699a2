;;; submission-transcript.el --- The dialogue with the server -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; With `submission-transcript' every message has a buffer that shows what
;; was said to the server and what it answered.  The module has blotted
;; passwords and tokens out before a line comes here.

;;; Code:

(require 'submission)

(defconst submission-transcript--size 500000
  "How many characters a transcript keeps.")

(define-derived-mode submission-transcript-mode special-mode
  "Submission Transcript"
  "Mode of the buffers with the dialogue of a message and the server.")

(defun submission-transcript--buffer (id)
  "Return the buffer for the dialogue of the message with ID."
  (let ((name (format "*submission transcript %s*" id)))
    (or (get-buffer name)
        (with-current-buffer (get-buffer-create name)
          (submission-transcript-mode)
          (buffer-disable-undo)
          (current-buffer)))))

(defun submission-transcript-line (event)
  "Write down the line of the dialogue that is in EVENT."
  (with-current-buffer (submission-transcript--buffer (plist-get event :id))
    (let ((inhibit-read-only t)
          (at-end (= (point) (point-max))))
      (save-excursion
        (goto-char (point-max))
        (when (> (buffer-size) submission-transcript--size)
          (delete-region (point-min) (- (point) (/ submission-transcript--size
                                                   2))))
        (insert (format-time-string "%T ")
                (if (plist-get event :client) "C: " "S: ")
                (replace-regexp-in-string "[[:cntrl:]\x7f]" " "
                                          (plist-get event :line))
                "\n"))
      (when at-end (goto-char (point-max))))))

(provide 'submission-transcript)

;;; submission-transcript.el ends here
