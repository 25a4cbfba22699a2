;;; submission-story.el --- The whole story of a message -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; What happened to a message: what that means in a sentence, each step
;; with its case of the paper, what the server said, and the message.

;;; Code:

(require 'button)
(require 'subr-x)
(require 'submission)
(require 'submission-entries)
(require 'submission-outbox)
(require 'submission-report)
(require 'submission-table)

(defvar-local submission-story--id nil
  "The id of the message that this buffer is about.")

(defconst submission-story--limit 200000
  "How many bytes of a message are shown.")

(defvar submission-story-mode-map
  (let ((map (make-sparse-keymap)))
    (set-keymap-parent map (make-composed-keymap button-buffer-map
                                                 special-mode-map))
    (define-key map "r" #'submission-story-send)
    (define-key map "e" #'submission-story-edit)
    (define-key map "k" #'submission-story-cancel)
    (define-key map "i" #'submission-story-arrived)
    map)
  "The keys of `submission-story-mode'.")

(define-derived-mode submission-story-mode special-mode "Mail Story"
  "Mode of the buffer with what happened to a message.

\\{submission-story-mode-map}"
  (setq-local revert-buffer-function
              (lambda (&rest _) (submission-story--draw))))

(defun submission-story (id)
  "Show what happened to the message with ID."
  (with-current-buffer (get-buffer-create "*submission story*")
    (submission-story-mode)
    (setq submission-story--id id)
    (submission-story--draw)
    (pop-to-buffer (current-buffer))))

(defun submission-story--draw ()
  "Write the story, or that there is none any more."
  (submission-entries-look submission-story--id)
  (let ((entry (submission-entries-get submission-story--id))
        (inhibit-read-only t))
    (erase-buffer)
    (cond ((null entry)
           (insert "The message is not in the outbox any more.\n"))
          (t
           (submission-story--head entry)
           (submission-story--buttons entry)
           (submission-story--happened entry)
           (submission-story--log (submission-entry-id entry))
           (submission-story--message (submission-entry-id entry))))
    (goto-char (point-min))))

;;;; Parts

(defun submission-story--title (text)
  "Insert TEXT as the title of a part."
  (insert "\n" (propertize text 'face 'bold) "\n"))

(defun submission-story--line (name value)
  "Insert a line with NAME and VALUE, unless VALUE is nil or empty."
  (when (submission-receipt-text value)
    (insert (propertize (format "%-12s" name) 'face 'shadow)
            (submission-table-plain value) "\n")))

(defun submission-story--time (time)
  "Return TIME, a Lisp time or nil, with how far it is from now."
  (when time
    (concat (format-time-string "%F %T" time)
            (if (time-less-p nil time)
                (format " (in %s)" (submission-table-duration
                                    (time-subtract time nil)))
              (format " (%s ago)" (submission-table-duration
                                   (time-since time)))))))

(defun submission-story--head (entry)
  "Insert what there is to know about ENTRY."
  (let* ((state (submission-entry-state entry))
         (envelope (plist-get state :envelope))
         (settings (plist-get state :settings)))
    (submission-story--line "Subject" (submission-entries-subject entry))
    (submission-story--line "From" (plist-get envelope :from))
    (submission-story--line "To" (string-join (plist-get envelope :to) ", "))
    (submission-story--line "State" (symbol-name
                                     (submission-entry-status entry)))
    (submission-story--line "Queued" (submission-story--time
                                      (submission-receipt-time
                                       (plist-get state :queued))))
    (submission-story--line "Next try" (submission-story--time
                                        (submission-entries-due entry)))
    (when state
      (submission-story--line "Tries" (format "%s" (plist-get state :tries))))
    (submission-story--line
     "Account" (and settings
                    (format "%s%s, security %s"
                            (let ((user (submission-receipt-text
                                         (plist-get settings :user))))
                              (if user (concat user " at ") ""))
                            (submission-table-server state)
                            (plist-get settings :security))))
    (submission-story--line "Size" (and (plist-get state :size)
                                        (file-size-human-readable
                                         (plist-get state :size))))
    (submission-story--line "Message-ID" (plist-get state :message-id))
    (submission-story--line "File" (abbreviate-file-name
                                    (submission-entries-file
                                     (submission-entry-id entry) ".eml")))))

(defun submission-story--buttons (entry)
  "Insert buttons for what can be done with ENTRY."
  (let ((status (submission-entry-status entry)))
    (insert "\n")
    (pcase-dolist (`(,label ,statuses ,command)
                   `(("Send now" (queued deferred held refused)
                      submission-story-send)
                     ("Send again" (uncertain) submission-story-send)
                     ("It arrived" (uncertain) submission-story-arrived)
                     ("Edit" (queued deferred held refused uncertain sending
                                     stateless)
                      submission-story-edit)
                     ("Cancel" (queued deferred held refused uncertain sending)
                      submission-story-cancel)))
      (when (memq status statuses)
        (insert-text-button (concat "[" label "]")
                            'action (lambda (_) (call-interactively command))
                            'follow-link t)
        (insert " ")))
    (insert "\n")))

(defun submission-story--happened (entry)
  "Insert what happened to ENTRY and what it means."
  (submission-story--title "What happened")
  (insert (submission-story-verdict entry) "\n")
  (let ((receipt (submission-entries-receipt entry)))
    (when (plist-get receipt :attempts)
      (submission-story--title "The last try, step by step")
      (dolist (attempt (plist-get receipt :attempts))
        (insert "- " (submission-report-attempt-text attempt) "\n")))
    (submission-story--line "TLS" (and (plist-get receipt :tls)
                                       (symbol-name (plist-get receipt :tls))))
    (submission-story--line "Reply" (plist-get receipt :reply))
    (when (plist-get receipt :refused)
      (submission-story--title "Recipients that were refused")
      (pcase-dolist (`(,address . ,reply) (plist-get receipt :refused))
        (insert "- " address ": " (submission-table-plain reply) "\n")))
    (when (plist-get receipt :accepted)
      (submission-story--title "Recipients that it was accepted for")
      (dolist (address (plist-get receipt :accepted))
        (insert "- " address "\n")))))

(defun submission-story-verdict (entry)
  "Return in a sentence or two what is the matter with ENTRY."
  (let* ((status (submission-entry-status entry))
         (state (submission-entry-state entry))
         (due (submission-entries-due entry)))
    (or (cdr (assq status submission-entries-problems))
        (pcase status
          ('queued (cond ((and due (time-less-p nil due))
                          "It waits for the time that was set.")
                         (t "It waits for its turn.")))
          ('sending "It is being sent."))
        (concat (submission-report-text
                 (submission-receipt-of state)
                 (submission-receipt-text (plist-get state :detail)))
                "."))))

(defun submission-story--log (id)
  "Insert what the log of this Emacs has about the message with ID."
  (let ((lines nil)
        (log (get-buffer "*submission log*")))
    (when log
      (with-current-buffer log
        (save-excursion
          (goto-char (point-min))
          (while (search-forward (concat " " id " ") nil t)
            (push (buffer-substring (line-beginning-position)
                                    (line-end-position))
                  lines)))))
    (when lines
      (submission-story--title "The log")
      (dolist (line (nreverse lines))
        (insert (string-replace (concat " " id) "" line) "\n")))))

(defun submission-story--message (id)
  "Insert the message with ID itself."
  (let ((file (submission-entries-file id ".eml"))
        (file-name-handler-alist nil)
        (coding-system-for-read 'utf-8))
    (when (file-readable-p file)
      (submission-story--title "The message")
      (let ((size (file-attribute-size (file-attributes file))))
        (goto-char (+ (point)
                      (cadr (insert-file-contents
                             file nil 0 submission-story--limit))))
        (when (> size submission-story--limit)
          (insert (format "\n[%s more]\n"
                          (file-size-human-readable
                           (- size submission-story--limit)))))))))

;;;; Keys

(declare-function submission-act "submission-act" (id action &rest alist))
(declare-function submission-draft-edit "submission-draft" (id))

(defun submission-story--do (function)
  "Call FUNCTION with the entry of this story, then tell it anew."
  (let ((entry (submission-entries-get submission-story--id))
        (buffer (current-buffer)))
    (unless entry
      (user-error "The message is not in the outbox any more"))
    (require 'submission-act)
    (funcall function entry)
    (submission-signs-update)
    (when (buffer-live-p buffer)
      (with-current-buffer buffer
        (submission-story--draw)))))

(defun submission-story-send ()
  "Try now to send this message."
  (interactive nil submission-story-mode)
  (submission-story--do #'submission-outbox-send-entry))

(defun submission-story-cancel ()
  "Cancel this message, after asking."
  (interactive nil submission-story-mode)
  (submission-story--do
   (lambda (entry)
     (when (y-or-n-p "Cancel this message for good? ")
       (submission-act (submission-entry-id entry) "cancel")))))

(defun submission-story-edit ()
  "Edit this message, which is replaced when the draft is sent."
  (interactive nil submission-story-mode)
  (require 'submission-draft)
  (submission-draft-edit submission-story--id))

(defun submission-story-arrived ()
  "Say that this message has arrived although no answer came."
  (interactive nil submission-story-mode)
  (submission-story--do #'submission-outbox-arrived-entry))

(provide 'submission-story)

;;; submission-story.el ends here
