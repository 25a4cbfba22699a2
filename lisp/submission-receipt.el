;;; submission-receipt.el --- Receipts, and the outbox on disk -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; The state of a message is a JSON object, in its file in the outbox and
;; in events alike.  Here it becomes a receipt.

;;; Code:

(require 'parse-time)
(require 'submission)
(require 'submission-channel)

;;;; Receipts

(defconst submission-receipt--words
  '("queued" "sending" "accepted" "deferred" "refused" "held" "uncertain"
    "cancelled" "ipv4" "ipv6" "any" "verified" "pinned" "unverified" "tls"
    "certificate" "auth" "protocol" "recipients" "message" "size" "utf8" "8bit"
    "expired" "tunnel" "user" "connected" "reset" "hard" "soft" "timeout"
    "local" "closed" "greeting" "silent")
  "The words of the module that are symbols in a receipt.")

(defun submission-receipt-symbol (word)
  "Return WORD as a symbol, or nil if it is not one of the module's words."
  (and (member word submission-receipt--words) (intern word)))

(defun submission-receipt-text (string)
  "Return STRING, or nil if it is empty."
  (and (stringp string) (not (string-empty-p string)) string))

(defun submission-receipt-time (string)
  "Return STRING, a time as the module writes it, as a Lisp time, or nil."
  (and (stringp string) (ignore-errors (parse-iso8601-time-string string))))

(defun submission-receipt-time-string (time)
  "Return TIME, a Lisp time, as the string that the module takes."
  (format-time-string "%FT%TZ" time t))

(defun submission-receipt--number (number)
  "Return NUMBER, or nil if it is zero."
  (and (numberp number) (/= number 0) number))

(defun submission-receipt-attempt (attempt)
  "Return ATTEMPT, as the module has it, as it is in a receipt."
  (list :family (submission-receipt-symbol (plist-get attempt :family))
        :port (submission-receipt--number (plist-get attempt :port))
        :address (submission-receipt-text (plist-get attempt :address))
        :outcome (submission-receipt-symbol (plist-get attempt :outcome))
        :case (submission-receipt--number (plist-get attempt :case))
        :detail (submission-receipt-text (plist-get attempt :detail))
        :elapsed (float (or (plist-get attempt :elapsed) 0))))

(defun submission-receipt-of (state)
  "Return the receipt that is in STATE, the state of a message."
  (let ((receipt (plist-get state :receipt)))
    (list :id (plist-get state :id)
          :message-id (submission-receipt-text (plist-get state :message-id))
          :status (submission-receipt-symbol (plist-get state :status))
          :reason (submission-receipt-symbol (plist-get state :reason))
          :host (submission-receipt-text (plist-get receipt :host))
          :address (submission-receipt-text (plist-get receipt :address))
          :family (submission-receipt-symbol (plist-get receipt :family))
          :port (submission-receipt--number (plist-get receipt :port))
          :tls (submission-receipt-symbol (plist-get receipt :tls))
          :reply (submission-receipt-text (plist-get receipt :reply))
          :accepted (plist-get receipt :accepted)
          :refused (mapcar (lambda (pair) (cons (car pair) (cadr pair)))
                           (plist-get receipt :refused))
          :attempts (mapcar #'submission-receipt-attempt
                            (plist-get receipt :attempts))
          :elapsed (float (or (plist-get receipt :elapsed) 0)))))

;;;; The outbox on disk

(defun submission-receipt-read-state (file)
  "Return the state of a message that is in FILE, or nil."
  (ignore-errors
    (let* ((file-name-handler-alist nil)
           (state (submission-receipt-load file)))
      (and (submission-receipt-state-p state) state))))

(defun submission-receipt-load (file)
  "Return the content of FILE, a state file; signal an error if it is no JSON.
The module may be writing there just now, so what is not a state is read
a second time."
  (let ((state (ignore-errors (submission-receipt--load file))))
    (if (submission-receipt-state-p state)
        state
      (submission-receipt--load file))))

(defun submission-receipt--load (file)
  "Return the content of FILE as it is at this moment."
  (with-temp-buffer
    (insert-file-contents-literally file)
    ;; The module writes ASCII; a person who edits it may not.
    (submission-channel-decode
     (decode-coding-string (buffer-string) 'utf-8-unix))))

(defun submission-receipt-state-p (state)
  "Return non-nil if STATE, read from a file, is the state of a message."
  (and (stringp (plist-get state :id))
       (submission-receipt-symbol (plist-get state :status))))

(defun submission-receipt-state-file (id directory)
  "Return the file with the state of the message with ID in DIRECTORY."
  (expand-file-name (concat id ".json") directory))

(defun submission-receipt-messages ()
  "Return the receipts of all messages in the outbox, oldest first."
  (let ((directory (submission-channel-directory)))
    (and (file-directory-p directory)
         (mapcar #'submission-receipt-of
                 (delq nil (mapcar #'submission-receipt-read-state
                                   (directory-files
                                    directory t "\\`[^.].*\\.json\\'")))))))

(provide 'submission-receipt)

;;; submission-receipt.el ends here
