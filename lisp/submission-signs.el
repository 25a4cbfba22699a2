;;; submission-signs.el --- Signs of what waits -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; A part of the mode line: how many messages wait, how far a large one
;; is, whether there is a network, whether a person is needed.  Nothing if
;; the outbox is empty.  And a notice on the desktop.
;;
;; An event only says which message to look at; one timer then brings the
;; mode line and the list up to date.

;;; Code:

(require 'subr-x)
(require 'submission)
(require 'submission-entries)
(require 'submission-report)

(declare-function notifications-notify "notifications" (&rest params))

(defface submission-waiting '((t :inherit mode-line-emphasis))
  "Face of the mode line part where messages wait to be sent."
  :group 'submission)

(defface submission-offline '((t :inherit shadow))
  "Face of the mode line part where messages wait for a network."
  :group 'submission)

(defface submission-needs-person '((t :inherit error))
  "Face of the mode line part where a message needs a person."
  :group 'submission)

(defvar submission-signs-functions nil
  "Functions to call with no argument when what is in the outbox has changed.")

(defvar submission-signs-mode-line ""
  "What the mode line shows of the outbox.")
(put 'submission-signs-mode-line 'risky-local-variable t)

(defvar submission-signs--progress (make-hash-table :test #'equal)
  "How far messages that are being sent are: (SENT . SIZE), by id.")

(defvar submission-signs--news nil
  "The ids of messages that there is news of.")

(defvar submission-signs--timer nil
  "The timer that brings the signs up to date, or nil.")

(defvar submission-signs--watch nil
  "The timer that looks for what another Emacs has changed, or nil.")

(defconst submission-signs--large 200000
  "How many bytes a message has whose progress the mode line shows.")

(defvar submission-signs-map
  (let ((map (make-sparse-keymap)))
    (define-key map [mode-line mouse-1] #'submission-outbox)
    map)
  "What clicks on the mode line part do.")

;;;; News

(defun submission-signs-start ()
  "Show what is in the outbox, from now on."
  (unless noninteractive
    (or global-mode-string (setq global-mode-string '("")))
    (add-to-list 'global-mode-string 'submission-signs-mode-line t)
    (unless submission-signs--watch
      (setq submission-signs--watch
            (run-with-timer 30 30 #'submission-signs-soon)))
    (submission-signs-soon)))

(defun submission-signs-stop ()
  "Show nothing any more."
  (setq global-mode-string
        (if (listp global-mode-string)
            (remq 'submission-signs-mode-line global-mode-string)
          global-mode-string))
  (when submission-signs--watch
    (cancel-timer submission-signs--watch)
    (setq submission-signs--watch nil)))

(defun submission-signs-changed (id)
  "Note that there is news of the message with ID."
  (unless noninteractive
    (remhash id submission-signs--progress)
    (cl-pushnew id submission-signs--news :test #'equal)
    (submission-signs-soon)))

(defun submission-signs-progress (id sent size)
  "Note that SENT of the SIZE bytes of the message with ID were sent."
  (unless noninteractive
    (puthash id (cons sent size) submission-signs--progress)
    (submission-signs-soon)))

(defun submission-signs-soon ()
  "Bring the signs up to date soon, once for all that happens until then."
  (unless submission-signs--timer
    (setq submission-signs--timer
          (run-with-timer 0.2 nil #'submission-signs-update))))

(defun submission-signs-update ()
  "Bring the mode line and the list up to date."
  (when submission-signs--timer
    (cancel-timer submission-signs--timer)
    (setq submission-signs--timer nil))
  (let ((news submission-signs--news))
    (setq submission-signs--news nil)
    ;; To look at a few files is cheaper than to look at all.
    (if (and news (< (length news) 50))
        (mapc #'submission-entries-look news)
      (submission-entries-scan)))
  (let ((text (submission-signs-text (submission-entries-all))))
    (unless (equal-including-properties text submission-signs-mode-line)
      (setq submission-signs-mode-line text)
      (force-mode-line-update t)))
  (run-hooks 'submission-signs-functions))

;;;; The mode line

(defun submission-signs-text (entries)
  "Return the part of the mode line for an outbox with ENTRIES."
  (let* ((waiting (cl-remove-if-not #'submission-entries-waits-p entries))
         (needy (cl-count-if #'submission-entries-needs-person-p entries))
         (offline (and waiting
                       (cl-every #'submission-entries-offline-p waiting)))
         (count (cl-count-if-not
                 (lambda (entry)
                   (memq (submission-entry-status entry)
                         '(accepted cancelled)))
                 entries)))
    (if (zerop count)
        ""
      (concat
       " "
       (propertize
        (concat (format "Mail:%d" count)
                (if (> needy 0) "!" "")
                (submission-signs--large-progress)
                (if offline " offline" ""))
        'face (cond ((> needy 0) 'submission-needs-person)
                    (offline 'submission-offline)
                    (t 'submission-waiting))
        'help-echo (format "%d message%s in the outbox, %d to be looked at
mouse-1: show the outbox"
                           count (if (= count 1) "" "s") needy)
        'mouse-face 'mode-line-highlight
        'local-map submission-signs-map)))))

(defun submission-signs--large-progress ()
  "Return how far a large message is that is being sent, or \"\"."
  (let ((text ""))
    (maphash (lambda (_id progress)
               (when (> (cdr progress) submission-signs--large)
                 (setq text (concat " " (submission-signs-percent progress)
                                    ;; In a mode line, % is a construct.
                                    "%%"
                                    " of "
                                    (file-size-human-readable
                                     (cdr progress))))))
             submission-signs--progress)
    text))

(defun submission-signs-percent (progress)
  "Return PROGRESS, (SENT . SIZE), as a number of percent, a string."
  (number-to-string (/ (* 100 (car progress)) (max 1 (cdr progress)))))

(defun submission-signs-progress-of (id)
  "Return how far the message with ID is, (SENT . SIZE), or nil."
  (gethash id submission-signs--progress))

;;;; The desktop

(defun submission-signs-notify (receipt &optional notice)
  "Tell the desktop about RECEIPT and NOTICE, see `submission-notify'."
  (let* ((status (plist-get receipt :status))
         (needy (or (memq status '(held refused uncertain))
                    (plist-get receipt :refused))))
    (when (and submission-notify (not noninteractive)
               (or needy
                   (and (eq submission-notify 'all) (eq status 'accepted)))
               (submission-signs--desktop-p))
      ;; Trouble with the desktop is none of the mail's.
      (ignore-errors
        (notifications-notify
         :title (if needy "Mail needs you" "Mail sent")
         :body (submission-signs--escape
                (submission-report-text receipt notice))
         :app-name "Emacs"
         :urgency (if needy 'critical 'normal))))))

(defun submission-signs--desktop-p ()
  "Return non-nil if there is a D-Bus to speak to."
  (and (featurep 'dbusbind)
       (or (getenv "DBUS_SESSION_BUS_ADDRESS")
           (file-exists-p (expand-file-name
                           "bus" (or (getenv "XDG_RUNTIME_DIR") "/nowhere"))))
       (require 'notifications nil t)))

(defun submission-signs--escape (text)
  "Return TEXT with what is markup to a desktop escaped."
  (replace-regexp-in-string
   "[<>&]" (lambda (char)
             (pcase char ("<" "&lt;") (">" "&gt;") (_ "&amp;")))
   text t t))

(provide 'submission-signs)

;;; submission-signs.el ends here
