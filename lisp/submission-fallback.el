;;; submission-fallback.el --- What is remembered of servers -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; The module remembers for a day which step of the sequence worked, so
;; that a port that drops every packet is paid for once.  Where
;; `submission-remember-fallback' is `ask', it asks here before it does:
;; this is the dialog of Kazu Yamamoto's paper.  The question comes in a
;; quiet moment, once for each server and network, and nothing waits for
;; the answer.

;;; Code:

(require 'submission)
(require 'submission-auth)
(require 'submission-channel)

(declare-function submission-module-forget "ext:submission-module" (json) t)
(declare-function submission-module-remember "ext:submission-module" (json) t)

(defvar submission-fallback--asked nil
  "What was asked about in this session: lists (HOST NETWORK PORT).")

(defun submission-fallback-learned (event)
  "Ask whether to remember the lesson in EVENT.
Without a person to ask, nothing is remembered."
  (let* ((lesson (plist-get event :lesson))
         (key (list (plist-get lesson :host) (plist-get lesson :network)
                    (plist-get (plist-get lesson :step) :port))))
    (unless (or noninteractive (member key submission-fallback--asked))
      (push key submission-fallback--asked)
      (submission-auth-when-quiet #'submission-fallback--ask event))))

(defun submission-fallback--ask (event)
  "Ask the question that EVENT is about, and pass on a yes."
  (let ((lesson (plist-get event :lesson)))
    (when (condition-case nil
              (y-or-n-p (submission-fallback--question
                         lesson (plist-get event :outcome)))
            (quit nil))
      (submission-module-remember
       (submission-channel-argument
        (plist-get event :directory)
        `(lesson . ,(submission-fallback--lesson lesson)))))))

(defun submission-fallback--question (lesson outcome)
  "Return the question about LESSON, the first step having had OUTCOME."
  (let ((first (car (plist-get lesson :steps)))
        (step (plist-get lesson :step)))
    (format "Port %d of %s %s; use %d%s from now on? "
            (plist-get first :port) (plist-get lesson :host)
            (pcase outcome
              ("reset" "refused the connection")
              ("hard" "was blocked")
              (_ "did not answer"))
            (plist-get step :port)
            ;; Scope 2 is about this network, 1 about the server anywhere.
            (if (eql (plist-get lesson :scope) 2) " on this network" ""))))

(defun submission-fallback--lesson (lesson)
  "Return LESSON, a plist from an event, for `json-serialize'."
  (cl-flet ((step (step)
              `((family . ,(plist-get step :family))
                (port . ,(plist-get step :port)))))
    `((host . ,(plist-get lesson :host))
      (network . ,(plist-get lesson :network))
      (steps . ,(vconcat (mapcar #'step (plist-get lesson :steps))))
      (step . ,(step (plist-get lesson :step)))
      (scope . ,(plist-get lesson :scope))
      (forget . :false))))

;;;###autoload
(defun submission-forget-fallbacks ()
  "Forget which ports worked.
The next message to each server begins with the first step of its
sequence."
  (interactive)
  (let ((directory (submission-channel-open)))
    (submission-module-forget (submission-channel-argument directory))
    (when (called-interactively-p 'interactive)
      (message "Every message starts at the first step of its sequence \
again"))))

(provide 'submission-fallback)

;;; submission-fallback.el ends here
