;;; submission-start.el --- Starting and leaving Emacs -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; When Emacs starts, what waits in the outbox is tried.  When it ends
;; while a message is being sent, the user is asked once; where nobody can
;; be asked, Emacs waits a little.  What is not sent stays in the outbox.

;;; Code:

(require 'subr-x)
(require 'submission)

(declare-function submission-act-take-over "submission-act" ())
(declare-function submission-copies-idle-p "submission-copies" ())
(declare-function submission-job-all "submission-job" ())
(declare-function submission-job-busy-p "submission-job" (job &optional soon))
(declare-function submission-job-wait "submission-job" (seconds &optional soon))
(declare-function submission-signs-start "submission-signs" ())

;;;; Starting

(defvar submission-start--timer nil
  "The timer for `submission-start-now', or nil.")

(defun submission-start-soon ()
  "Try what waits in the outbox as soon as Emacs is up."
  (if (or after-init-time noninteractive)
      (submission-start--after-init)
    (add-hook 'emacs-startup-hook #'submission-start--after-init)))

(defun submission-start--after-init ()
  "Try what waits in the outbox when Emacs waits next."
  (unless submission-start--timer
    (setq submission-start--timer
          (run-at-time 0 nil #'submission-start-now))))

(defun submission-start-now ()
  "Try what waits in the outbox, if that is still to be done."
  (when submission-start--timer
    (cancel-timer submission-start--timer)
    (setq submission-start--timer nil)
    (submission-start--take-over)))

(defun submission-start--take-over ()
  "Try what waits in the outbox, if there is anything.
Nothing is loaded where it is empty."
  (when (and submission-mode (submission-start--outbox-p))
    (condition-case err
        (progn
          (require 'submission-act)
          (submission-act-take-over))
      (submission-error
       (message "The mail in the outbox can't be sent: %s"
                (error-message-string err))))))

(defun submission-start--outbox-p ()
  "Return non-nil if there is a message in the outbox."
  (let ((file-name-handler-alist nil))
    (and (file-directory-p submission-directory)
         (directory-files submission-directory nil "\\`[0-9].*\\.json\\'"
                          t 1))))

;;;; Leaving

(defvar submission-start--asked nil
  "Non-nil if the user wants to leave what is being sent for next time.")

(defun submission-start-arm ()
  "Show what waits, and think of it when Emacs ends."
  (require 'submission-signs)
  (submission-signs-start)
  (add-hook 'kill-emacs-query-functions #'submission-start-query)
  (add-hook 'kill-emacs-hook #'submission-start-wait))

(defun submission-start--busy ()
  "Return how many messages are being sent, but for what waits for its time."
  (cl-count-if (lambda (job) (submission-job-busy-p job 0))
               (submission-job-all)))

(defun submission-start-query ()
  "Ask what to do about messages that are being sent, if there are any.
Return nil if Emacs is not to end.  \\[keyboard-quit] while it waits
keeps Emacs, too."
  (setq submission-start--asked nil)
  (let ((count (submission-start--busy)))
    (or (zerop count)
        (pcase (car (read-multiple-choice
                     (if (= count 1)
                         "A message is being sent"
                       (format "%d messages are being sent" count))
                     '((?w "wait" "Wait until they are sent, then end Emacs")
                       (?l "leave" "End Emacs; they stay in the outbox and \
are sent when Emacs runs again (Mew's: in its queue)")
                       (?b "back" "Don't end Emacs"))))
          (?w (message "Waiting for the mail; C-g stays in Emacs")
              (submission-job-wait nil 0))
          (?l (setq submission-start--asked t))
          (_ nil)))))

(defun submission-start-wait ()
  "Wait for messages that are being sent, but not long.
This is for batch, for signals and for whatever else ends Emacs without
a question."
  (unless (or submission-start--asked
              (and (zerop (submission-start--busy))
                   (or (not (featurep 'submission-copies))
                       (submission-copies-idle-p))))
    (unless (submission-job-wait (max 0 (or submission-exit-wait 0)) 0)
      (message "Mail that is not sent yet stays in %s"
               (abbreviate-file-name submission-directory)))))

(provide 'submission-start)

;;; submission-start.el ends here
