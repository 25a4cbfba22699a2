;;; submission-draft.el --- Drafts, undo, and sending later -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; What the user has typed is kept beside the message, in ID.draft: a line
;; of JSON that says which mode it came from, and the text, with its MML,
;; Bcc, Fcc and Gcc; submission-copies.el says what else is there.  So a
;; message that waits can be taken back and edited as if it had not been
;; sent.  The entry in the outbox stays, held, until the draft is sent again.
;;
;; `submission-mode' notes the text before `message-send' sorts the header
;; and adds to it.  Which buffer a message comes from is known by the
;; Message-ID.

;;; Code:

(require 'message)
(require 'mm-util)
(require 'subr-x)
(require 'submission)
(require 'submission-act)
(require 'submission-channel)
(require 'submission-copies)
(require 'submission-entries)

(declare-function mime-to-mml "mml" (&optional handles))
(declare-function mu4e "ext:mu4e" (&optional background))
(declare-function mu4e-get-drafts-folder "ext:mu4e-folders" (&optional msg))
(declare-function mu4e-root-maildir "ext:mu4e-helpers" ())
(declare-function mu4e-running-p "ext:mu4e-server" ())
(declare-function org-read-date "org" (&optional with-time to-time from-string
                                                 prompt default-time
                                                 default-input inactive))
(declare-function parse-time-string "parse-time" (string))
(declare-function timer-duration "timer" (string))

(defvar-local submission-draft--noted nil
  "The draft of this buffer as it was when the user sent it, or nil.
It is a plist with :text, :point, :mode, :directory and :separator.")
(put 'submission-draft--noted 'permanent-local t)

(defvar-local submission-draft--replaces nil
  "The message that goes when this draft is sent: (ID . DIRECTORY), or nil.")
(put 'submission-draft--replaces 'permanent-local t)

(defvar submission-draft--later nil
  "The time before which what is sent now is not to be tried, or nil.")

;;;; Keeping

(defun submission-draft-note (&rest _)
  "Note the draft in this buffer as it is now; for `message-send'."
  (setq submission-draft--noted (submission-draft--here)))

(defun submission-draft--here ()
  "Return this buffer as a draft."
  (save-restriction
    (widen)
    (list :text (buffer-substring-no-properties (point-min) (point-max))
          :point (point)
          :mode (symbol-name major-mode)
          :directory default-directory
          :separator mail-header-separator)))

(defun submission-draft-buffer (message-id)
  "Return the buffer of a draft with MESSAGE-ID in its header, or nil."
  (and message-id
       (cl-find-if (lambda (buffer)
                     (with-current-buffer buffer
                       (and (derived-mode-p 'message-mode)
                            (equal message-id (submission-draft--id)))))
                   (buffer-list))))

(defun submission-draft--id ()
  "Return the Message-ID in the header of this buffer, or nil."
  (save-excursion
    (save-restriction
      (widen)
      (message-narrow-to-headers)
      (message-fetch-field "message-id"))))

(defun submission-draft-extras (message)
  "Return what belongs to MESSAGE, the buffer with a message to be sent.
That is a plist for `submission-job-submit', with :draft, :due and
:replaces where there is such a thing."
  (let* ((id (with-current-buffer message
               (save-restriction
                 (message-narrow-to-headers)
                 (message-fetch-field "message-id"))))
         ;; What smtpmail has queued may have a buffer still.
         (origin (and submission-copies-sending
                      (or (submission-draft-buffer id)
                          submission-copies-origin)))
         (copy (submission-copies-taken origin))
         (draft (and origin
                     (with-current-buffer origin
                       (or submission-draft--noted
                           (submission-draft--cleaned))))))
    (nconc
     (and (or draft copy)
          (list :draft (submission-draft--text draft copy)
                :replaces (and origin
                               (buffer-local-value
                                'submission-draft--replaces origin))
                :done (lambda (id)
                        (submission-copies-note id copy)
                        (when (buffer-live-p origin)
                          (with-current-buffer origin
                            (setq submission-draft--noted nil
                                  submission-draft--replaces nil))))))
     (list :due (cond (submission-draft--later)
                      ((> (or submission-delay 0) 0)
                       (time-add nil submission-delay)))))))

(defun submission-draft--cleaned ()
  "Return this buffer as a draft, without headers that were generated.
This is where nobody noted it before."
  (let ((draft (submission-draft--here)))
    (plist-put
     draft :text
     (save-excursion
       (save-restriction
         (widen)
         (let ((text nil) (start (point-min)))
           (goto-char start)
           (while (not (eobp))
             (when (get-text-property (point) 'message-deletable)
               (push (buffer-substring-no-properties start (point)) text)
               (setq start (line-beginning-position 2)))
             (forward-line 1))
           (push (buffer-substring-no-properties start (point-max)) text)
           (string-join (nreverse text))))))))

(defun submission-draft--text (draft copy)
  "Return DRAFT and COPY, one of which may be nil, as the content of a file."
  (submission-copies-pack
   (and draft `((mode . ,(plist-get draft :mode))
                (separator . ,(plist-get draft :separator))
                (directory . ,(plist-get draft :directory))
                (point . ,(plist-get draft :point))))
   (plist-get draft :text) copy))

(defun submission-draft--read (file)
  "Return the draft that is in FILE, or nil if there is none."
  (let ((kept (submission-copies-unpack file)))
    (and (plist-get kept :text) kept)))

;;;; Bringing back

(defun submission-draft-edit (id)
  "Bring back the draft of the message with ID, to be edited and sent again.
The message is held in the meantime.  It leaves the outbox when the
draft is sent."
  (submission-act-stop id #'submission-draft--open))

(defun submission-draft--open (id)
  "Pop to a buffer with the draft of the message with ID.
Return the buffer."
  (let* ((directory (submission-channel-directory))
         (draft (submission-draft--read
                 (submission-entries-file id ".draft")))
         (buffer (cl-find-if
                  (lambda (buffer)
                    (equal (cons id directory)
                           (buffer-local-value 'submission-draft--replaces
                                               buffer)))
                  (buffer-list))))
    (if buffer
        (pop-to-buffer buffer)
      (setq buffer (generate-new-buffer "*unsent mail*"))
      (pop-to-buffer buffer)
      (if draft
          (submission-draft--insert draft)
        (submission-draft--insert-message id))
      (setq submission-draft--replaces (cons id directory))
      (set-buffer-modified-p nil)
      (setq buffer-undo-list nil)
      (submission-draft--warn id)
      buffer)))

(defconst submission-draft--features
  '((mu4e-compose-mode . mu4e) (notmuch-message-mode . notmuch))
  "The features that have the modes of mail readers.")

(defun submission-draft--insert (draft)
  "Fill this buffer with DRAFT, in the mode that it came from."
  (insert (plist-get draft :text))
  (condition-case nil
      (submission-draft--enter (intern-soft (or (plist-get draft :mode) "")))
    (error (message-mode)))
  (let ((directory (plist-get draft :directory)))
    (when (and directory
               (or (file-remote-p directory) (file-directory-p directory)))
      (setq default-directory directory)))
  (unless (equal mail-header-separator (plist-get draft :separator))
    (setq-local mail-header-separator (plist-get draft :separator)))
  (when (derived-mode-p 'message-mode)
    ;; Gnus does this where it makes the buffer.
    (add-hook 'message-sent-hook #'submission-copies-do-gcc nil t))
  (goto-char (min (point-max) (or (plist-get draft :point) 1))))

(defun submission-draft--enter (mode)
  "Enter MODE, that of a mail reader, or `message-mode' if it isn't here."
  (let ((feature (cdr (assq mode submission-draft--features))))
    (when feature (require feature)))
  (if (and mode (commandp mode) (get mode 'derived-mode-parent))
      (funcall mode)
    (message-mode))
  (when (derived-mode-p 'mu4e-compose-mode)
    (submission-draft--visit-for-mu4e)))

(defun submission-draft--visit-for-mu4e ()
  "Have this buffer visit a new file, as mu4e needs it for a draft.
Signal an error if mu4e doesn't say where its folders are."
  (unless (mu4e-running-p) (mu4e t))
  (let ((name (buffer-name))
        (change-major-mode-with-file-name nil)
        (inhibit-message t))
    (with-timeout (5 (error "No word from mu4e"))
      (while (not (ignore-errors (mu4e-root-maildir)))
        (accept-process-output nil 0.1)))
    (set-visited-file-name
     (expand-file-name
      (format "%s.%s:2,DS" (format-time-string "%s") (abs (random)))
      (expand-file-name
       "cur" (concat (mu4e-root-maildir) (mu4e-get-drafts-folder))))
     t)
    (rename-buffer name t)
    ;; mu4e keeps one that is there.
    (save-restriction
      (message-narrow-to-headers)
      (message-remove-header "Date"))))

(defun submission-draft--insert-message (id)
  "Fill this buffer with a draft made from the message with ID itself."
  (let ((file (submission-entries-file id ".eml"))
        (text nil))
    (with-temp-buffer
      (set-buffer-multibyte nil)
      (let ((file-name-handler-alist nil))
        (insert-file-contents-literally file))
      (goto-char (point-min))
      (while (search-forward "\r\n" nil t) (replace-match "\n"))
      (setq text (buffer-string)))
    (insert text)
    (message-mode)
    (mime-to-mml)
    (message-narrow-to-head-1)
    (dolist (header '("Message-ID" "Date" "Lines"))
      (message-remove-header header))
    (submission-draft--restore-bcc id)
    (goto-char (point-max))
    (insert mail-header-separator)
    (widen)
    (message-goto-body)))

(defun submission-draft--restore-bcc (id)
  "Add the recipients of the message with ID that its header doesn't name."
  (let* ((entry (submission-entries-get id))
         (envelope (plist-get (and entry (submission-entry-state entry))
                              :envelope))
         (named (mapcan (lambda (name)
                          (mapcar (lambda (address)
                                    (downcase (or (cadr address) "")))
                                  (mail-extract-address-components
                                   (or (message-fetch-field name) "") t)))
                        (list "To" "Cc" "Resent-To" "Resent-Cc")))
         (others (cl-remove-if (lambda (address)
                                 (member (downcase address) named))
                               (plist-get envelope :to))))
    (when others
      (goto-char (point-max))
      (insert "Bcc: " (string-join others ", ") "\n"))))

(defun submission-draft--warn (id)
  "Say that the message with ID has been sent to some, if it has."
  (let* ((entry (submission-entries-get id))
         (done (and entry (plist-get (submission-entries-receipt entry)
                                     :accepted))))
    (if done
        (display-warning
         'submission
         (format "%s already got this message; remove them before you send \
it again" (string-join done ", "))
         :warning)
      (message "%s" (substitute-command-keys
                     "Edit and send it again, and the old message goes")))))

;;;###autoload
(defun submission-undo ()
  "Bring back the draft of the message that was sent last.
This is for a message that has not been tried yet: one that waits for
`submission-delay' or, sent with `submission-send-later', for its time."
  (interactive)
  (let ((id (submission-act-newest-waiting)))
    (unless id
      (user-error "Nothing waits to be sent; `submission-outbox' has the rest"))
    (submission-draft-edit id)))

;;;; Later

;;;###autoload
(defun submission-send-later (time)
  "Send the mail in this buffer at TIME, a Lisp time or a string.
The string is a date and a time, as in `2026-12-24 18:00', a time of the
day, as in `18:00', or a duration, as in `2 hours'.  The message is in
the outbox until then, and is sent by whichever Emacs runs at that time,
or else by the next one."
  (interactive (list (submission-draft--read-time)))
  (let ((submission-draft--later
         (if (stringp time) (submission-draft-parse-time time) time)))
    (when (time-less-p submission-draft--later nil)
      (user-error "That time has passed"))
    (call-interactively (or (key-binding (kbd "C-c C-c"))
                            #'message-send-and-exit))))

(defun submission-draft--read-time ()
  "Ask the user for a time."
  (if (featurep 'org)
      (org-read-date t t nil "Send at: ")
    (read-string "Send at (date and time, time, or duration): ")))

(defun submission-draft-parse-time (string)
  "Return the time in the future that STRING means, as a Lisp time."
  (let ((text (string-trim string)) seconds)
    (cond
     ((string-match "\\`\\([0-9]\\{1,2\\}\\):\\([0-9]\\{2\\}\\)\\'" text)
      (submission-draft--time-of-day
       (string-to-number (match-string 1 text))
       (string-to-number (match-string 2 text))))
     ((and (string-match-p "\\`[0-9.]+ *[a-z]+\\'" text)
           (setq seconds (timer-duration text)))
      (time-add nil seconds))
     (t
      (let ((decoded (parse-time-string text)))
        (unless (and (nth 3 decoded) (nth 4 decoded) (nth 5 decoded))
          (user-error "`%s' is no time" string))
        (setq decoded (mapcar (lambda (part) (or part 0))
                              (cl-subseq decoded 0 6)))
        (encode-time (append decoded '(nil -1 nil))))))))

(defun submission-draft--time-of-day (hour minute)
  "Return when it is HOUR:MINUTE next."
  (unless (and (< hour 24) (< minute 60))
    (user-error "There is no such time of the day as %d:%02d" hour minute))
  (let* ((now (decode-time))
         (time (encode-time (list 0 minute hour (nth 3 now) (nth 4 now)
                                  (nth 5 now) nil -1 nil))))
    (if (time-less-p nil time)
        time
      (encode-time (list 0 minute hour (1+ (nth 3 now)) (nth 4 now)
                         (nth 5 now) nil -1 nil)))))

(provide 'submission-draft)

;;; submission-draft.el ends here
