;;; mew.el --- what each story of Mew's starts from  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Loaded after story.el by an Emacs that has Mew on its `load-path'.  Mail
;; folders are in Mail/ of the home directory, or of that which STORY_MAIL
;; names.  With STORY_STOCK set, Mew sends by itself.

;;; Code:

(defvar mew-story-home (or (getenv "STORY_MAIL") (getenv "HOME"))
  "Where the mail is.")

(setq submission-mew-directory (expand-file-name "mew/" mew-story-home)
      mew-rc-file (expand-file-name "no-rc" mew-story-home)
      mew-mail-path (expand-file-name "Mail" mew-story-home)
      mew-name "Ann Writer"
      mew-user "ann"
      mew-mail-domain "example.org"
      mew-smtp-server "127.0.0.1"
      mew-fcc nil
      mew-ask-send nil
      mew-ask-flush-queue nil
      mew-ask-subject nil
      mew-auto-get nil
      mew-use-cached-passwd t
      mew-use-master-passwd nil
      mew-visit-queue-after-sending nil
      mew-auto-flush-queue nil
      mew-use-highlight-url nil
      mew-demo nil)

(require 'mew)
(mew-init)
(unless (getenv "STORY_STOCK")
  (submission-mew-mode 1))

(defun mew-story-done-p ()
  "Return non-nil if Mew is not sending."
  (and (not (cl-some (lambda (process)
                       (string-prefix-p "mew-smtp-info-" (process-name process)))
                     (process-list)))
       (or (not (featurep 'submission-mew)) (submission-wait 0))))

(defun mew-story-wait ()
  "Wait until Mew has sent what it sends."
  (let ((end (+ (float-time) 120)))
    (while (not (mew-story-done-p))
      (when (> (float-time) end)
        (error "Mew is still sending: %S" (process-list)))
      (accept-process-output nil 0.02))))

(defun mew-story-draft (to subject body &optional headers)
  "Compose a draft to TO with SUBJECT, BODY and the alist HEADERS."
  (mew-user-agent-compose to subject headers)
  (goto-char (point-max))
  (insert body))

(defun mew-story-send (to &optional subject body headers)
  "Send a message to TO, with SUBJECT, BODY and HEADERS, and wait."
  (mew-story-draft to (or subject "A story") (or body "Once upon a time.\n")
                   headers)
  (mew-draft-send-message)
  (mew-story-wait))

(defun mew-story-make (to &optional subject body headers)
  "Put a message to TO, with SUBJECT, BODY and HEADERS, into the queue."
  (mew-story-draft to (or subject "A story") (or body "Once upon a time.\n")
                   headers)
  (mew-draft-make-message))

(defun mew-story-flush ()
  "Flush the queue as Mew's command does, and wait."
  (mew-smtp-flush-queue mew-case-default)
  (mew-story-wait))

(defun mew-story-note ()
  "Print what is in the folders, and who holds locks."
  (dolist (folder '("+queue" "+draft" "+backup" "+archive"))
    (let ((directory (mew-expand-folder folder)))
      (when (file-directory-p directory)
        (dolist (file (directory-files directory nil "[0-9]"))
          (princ (format "NOTE %s/%s\n" folder file))))))
  (dolist (buffer (buffer-list))
    (when (buffer-file-name buffer)
      (princ (format "NOTE buffer %s\n" (buffer-file-name buffer)))))
  (princ (format "NOTE locked %s %s\n"
                 (and (get-process (mew-smtp-info-name mew-case-default)) t)
                 (and (mew-smtp-get-server (mew-smtp-info-name mew-case-default)) t))))

(defun mew-story-case (case to &optional subject)
  "Send a message to TO with the settings of CASE, and don't wait.
SUBJECT has a default."
  (mew-story-draft to (or subject "A story") "Once upon a time.\n")
  (mew-tinfo-set-case case)
  (mew-draft-send-message))

;;;; Messages that are there

(defun mew-story-inbox ()
  "Have a message in +inbox, and go to it in its Summary."
  (with-temp-file (expand-file-name "1" (mew-expand-folder "+inbox"))
    (insert "From: eve@example.net\nTo: ann@example.org\n"
            "Cc: carol@example.org\nSubject: An old story\n"
            "Message-Id: <old@example.net>\n"
            "Date: Sat, 21 Nov 2026 10:00:00 +0000\n\n"
            "Long ago.\n.\n..far away\n"))
  (mew-summary-visit-folder "+inbox")
  (unless (process-live-p mew-summary-buffer-process)
    (mew-local-retrieve 'scan "+inbox" nil t))
  (let ((end (+ (float-time) 60)))
    (while (or (process-live-p mew-summary-buffer-process)
               (= (point-min) (point-max)))
      (when (> (float-time) end) (error "The Summary stays empty"))
      (accept-process-output nil 0.02)))
  (goto-char (point-min)))

(defun mew-story-reply (body)
  "Reply to the message in +inbox with BODY, and wait."
  (set-buffer "+inbox")
  (mew-summary-reply)
  (goto-char (point-max))
  (insert body)
  (mew-draft-send-message)
  (mew-story-wait))

(defun mew-story-fill (field text)
  "Insert TEXT into the empty FIELD of this draft."
  (goto-char (point-min))
  (when (re-search-forward (concat "^" field " *$") nil t)
    (insert text)))

(defun mew-story-forward (to)
  "Forward the message in +inbox to TO, and wait."
  (set-buffer "+inbox")
  (mew-summary-forward)
  (mew-story-fill "To:" (concat " " to))
  (mew-draft-send-message)
  (mew-story-wait))

(defun mew-story-attach (to subject)
  "Send a message to TO with SUBJECT and a file of all bytes, and wait."
  (let ((file (expand-file-name "bytes" (getenv "HOME")))
        (coding-system-for-write 'no-conversion))
    (write-region (apply #'unibyte-string (number-sequence 0 255)) nil file)
    (mew-story-draft to subject "See there.\n")
    (mew-draft-prepare-attachments t)
    (mew-attach-copy file "bytes.bin")
    (mew-draft-send-message)
    (mew-story-wait)))

(defun mew-story-resend (to)
  "Resend the message in +inbox to TO, and wait."
  (set-buffer "+inbox")
  (cl-letf (((symbol-function 'mew-input-address) (lambda (&rest _) to)))
    (mew-summary-resend))
  (mew-story-fill "Resent-To:" to)
  (mew-header-send-message)
  (mew-story-wait))

;;;; Passwords

(defvar mew-story-passwords nil
  "What is typed at Mew's prompts, one after the other.")

(when noninteractive
  (advice-add 'mew-read-passwd :override
              (lambda (prompt)
                (princ (format "NOTE prompt %s\n" prompt))
                (or (pop mew-story-passwords) ""))))

;;; mew.el ends here
