;;; submission-outbox.el --- What waits to be sent -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; `submission-outbox' lists the messages that are in the outbox, and is
;; up to date as long as it is shown.  Here are its keys; the lines are
;; made in submission-table.el.

;;; Code:

(require 'subr-x)
(require 'tabulated-list)
(require 'submission)
(require 'submission-entries)
(require 'submission-signs)
(require 'submission-table)

(declare-function submission-act "submission-act" (id action &rest alist))
(declare-function submission-act-delete "submission-act" (entry))
(declare-function submission-act-read-settings "submission-act" ())
(declare-function submission-draft-edit "submission-draft" (id))
(declare-function submission-menu "submission-menu" nil t)
(declare-function submission-story "submission-story" (id))

(defconst submission-outbox--name "*submission outbox*"
  "The name of the buffer with the list.")

(defvar submission-outbox--clock nil
  "The timer that keeps ages right while the list is shown, or nil.")

;;;; The mode

(defvar submission-outbox-mode-map
  (let ((map (make-sparse-keymap)))
    (set-keymap-parent map tabulated-list-mode-map)
    (define-key map (kbd "RET") #'submission-outbox-story)
    (define-key map "r" #'submission-outbox-send)
    (define-key map "R" #'submission-outbox-send-all)
    (define-key map "k" #'submission-outbox-cancel)
    (define-key map "e" #'submission-outbox-edit)
    (define-key map "h" #'submission-outbox-hold)
    (define-key map "d" #'submission-outbox-delete)
    (define-key map "i" #'submission-outbox-arrived)
    (define-key map "a" #'submission-outbox-account)
    (define-key map "m" #'submission-outbox-mark)
    (define-key map "u" #'submission-outbox-unmark)
    (define-key map "U" #'submission-outbox-unmark-all)
    (define-key map "?" #'submission-outbox-menu)
    map)
  "The keys of `submission-outbox-mode'.")

(define-derived-mode submission-outbox-mode tabulated-list-mode "Outbox"
  "Mode of the list of messages that wait to be sent.
\\<submission-outbox-mode-map>\
The list changes by itself as messages do; \\[revert-buffer] reads all anew.

\\[submission-outbox-story]	the whole story of a message
\\[submission-outbox-send]	try to send it now, whatever became of it before
\\[submission-outbox-send-all]	try to send all that is deferred
\\[submission-outbox-cancel]	cancel it: it is not sent and leaves the outbox
\\[submission-outbox-edit]	edit it: it is held, and its draft comes back
\\[submission-outbox-hold]	hold it, or release what you have held
\\[submission-outbox-delete]	delete it
\\[submission-outbox-arrived]	say that a message whose fate was uncertain has arrived
\\[submission-outbox-account]	send it with another account
\\[submission-outbox-mark]	mark it; \\[submission-outbox-unmark] and \
\\[submission-outbox-unmark-all] take marks off
\\[submission-outbox-menu]	all this as a menu
\\[quit-window]	leave

Where messages are marked, the keys are about those, else about the one
at point.  A key that makes no sense for a message says why.

The states:
queued	waits for its turn or its time
sending	is being sent; the size shows how far it is
deferred	was tried, and is tried again by itself at \"Next\"
held	waits for you, for the reason that \\[submission-outbox-story] tells
refused	the server said no for good; edit or delete it
uncertain	was sent whole, and no answer came: it may have arrived
damaged, newer, stateless, bodiless	its files are not as they should be

\\{submission-outbox-mode-map}"
  (setq tabulated-list-format
        [("State" 9 t) ("Age" 3 submission-table-older-p :right-align t)
         ("Next" 4 nil :right-align t) ("From" 15 t) ("To" 17 t)
         ("Subject" 20 t) ("Server" 14 t)
         ("Size" 8 nil :right-align t) ("Last words" 0 nil)]
        tabulated-list-padding 2
        tabulated-list-entries #'submission-table-entries)
  (setq-local revert-buffer-function #'submission-outbox--revert)
  (add-hook 'submission-signs-functions #'submission-outbox--news)
  (add-hook 'window-buffer-change-functions #'submission-outbox--shown nil t)
  (tabulated-list-init-header))

;;;###autoload
(defun submission-outbox ()
  "List what is in the outbox, with keys to act on it.
`submission-outbox-mode' says which."
  (interactive)
  (let ((buffer (get-buffer-create submission-outbox--name)))
    (with-current-buffer buffer
      (unless (derived-mode-p 'submission-outbox-mode)
        (submission-outbox-mode))
      (submission-outbox--revert))
    (submission-outbox--start-clock)
    (pop-to-buffer-same-window buffer)
    (unless submission-table-rows
      (message "The outbox is empty"))))

(defun submission-outbox--revert (&rest _)
  "Read the outbox and show all of it."
  (submission-entries-scan)
  (submission-table-redraw t))

;;;; Staying up to date

(defun submission-outbox--news ()
  "Bring the list up to date if somebody may see it."
  (let ((buffer (get-buffer submission-outbox--name)))
    (when (and buffer (get-buffer-window buffer 'visible))
      (with-current-buffer buffer
        (submission-table-redraw)))))

(defun submission-outbox--start-clock ()
  "Keep the ages in the list right, while it is shown."
  (unless submission-outbox--clock
    (setq submission-outbox--clock
          (run-with-timer 1 1 #'submission-outbox--tick))))

(defun submission-outbox--tick ()
  "Look at the disk and the clock, or end the timer where nobody sees it."
  (cond ((get-buffer-window submission-outbox--name 'visible)
         (submission-signs-update))
        (t (cancel-timer submission-outbox--clock)
           (setq submission-outbox--clock nil))))

(defun submission-outbox--shown (window)
  "Bring the list up to date if WINDOW is one that has it again."
  (when (eq (window-buffer window) (get-buffer submission-outbox--name))
    (submission-outbox--start-clock)
    (submission-signs-soon)))

;;;; The messages that a key is about

(defun submission-outbox--here ()
  "Return the entry at point; it is a `user-error' if there is none."
  (or (submission-entries-get (tabulated-list-get-id))
      (user-error "There is no message on this line")))

(defun submission-outbox--chosen ()
  "Return the entries that are marked, or else the one at point."
  (or (delq nil (mapcar #'submission-entries-get
                        (reverse submission-table-marks)))
      (list (submission-outbox--here))))

(defun submission-outbox--each (function)
  "Call FUNCTION with each chosen entry.
One that fails keeps no other back; the first error is told in the end."
  (require 'submission-act)
  (let ((trouble nil))
    (dolist (entry (submission-outbox--chosen))
      (condition-case err
          (funcall function entry)
        (error (unless trouble (setq trouble err)))))
    (setq submission-table-marks nil)
    (submission-signs-update)
    (submission-outbox--revert)
    (when trouble
      (signal (car trouble) (cdr trouble)))))

(defun submission-outbox--check (entry statuses what)
  "Signal a `user-error' unless ENTRY has one of STATUSES, saying WHAT."
  (let ((status (submission-entry-status entry)))
    (unless (memq status statuses)
      (user-error "%s; this message is %s" what status))))

(defun submission-outbox--name-of (entries)
  "Return ENTRIES as the object of a question."
  (if (cdr entries)
      (format "these %d messages" (length entries))
    (let ((subject (submission-entries-subject (car entries))))
      (if (string-empty-p subject)
          "this message"
        (format-message "`%s'" (truncate-string-to-width subject 40 nil nil
                                                         t))))))

;;;; Keys

(defun submission-outbox-story ()
  "Show the whole story of the message at point."
  (interactive nil submission-outbox-mode)
  (require 'submission-story)
  (submission-story (submission-entry-id (submission-outbox--here))))

(defun submission-outbox-send ()
  "Try now to send the message at point, or those that are marked.
You are asked first about one whose fate is uncertain."
  (interactive nil submission-outbox-mode)
  (submission-outbox--each #'submission-outbox-send-entry))

(defun submission-outbox-send-entry (entry)
  "Try now to send ENTRY."
  (submission-outbox--check
   entry '(queued deferred held refused uncertain sending)
   "Only a whole message can be sent")
  (when (or (not (eq (submission-entry-status entry) 'uncertain))
            (yes-or-no-p (format "It may have arrived; send %s once more? "
                                 (submission-outbox--name-of (list entry)))))
    (submission-act (submission-entry-id entry) "send")))

(defun submission-outbox-cancel ()
  "Cancel the message at point, or those that are marked.
They are not sent and leave the outbox.  What is being sent is stopped
at once; you are told if that was too late.  You are asked about what
only waits."
  (interactive nil submission-outbox-mode)
  (let ((entries (submission-outbox--chosen)))
    (when (or (cl-every (lambda (entry)
                          (memq (submission-entry-status entry)
                                '(queued sending)))
                        entries)
              (y-or-n-p (format "Cancel %s for good? "
                                (submission-outbox--name-of entries))))
      (submission-outbox--each
       (lambda (entry)
         (submission-outbox--check
          entry '(queued sending deferred held refused uncertain)
          "Only a whole message can be cancelled (`d' deletes)")
         (submission-act (submission-entry-id entry) "cancel"))))))

(defun submission-outbox-delete ()
  "Delete the message at point, or those that are marked, after asking once.
This works for what is damaged, too."
  (interactive nil submission-outbox-mode)
  (let ((entries (submission-outbox--chosen)))
    (when (yes-or-no-p (format "Delete %s, unsent? "
                               (submission-outbox--name-of entries)))
      (submission-outbox--each #'submission-act-delete))))

(defun submission-outbox-edit ()
  "Edit the message at point.
It is held, and its draft comes back as it was.  The message leaves the
outbox when the draft is sent."
  (interactive nil submission-outbox-mode)
  (let ((entry (submission-outbox--here)))
    (submission-outbox--check
     entry '(queued sending deferred held refused uncertain stateless)
     "Only a message whose text is there can be edited")
    (require 'submission-draft)
    (submission-draft-edit (submission-entry-id entry))))

(defun submission-outbox-hold ()
  "Hold the message at point, or those that are marked; release what is held.
What is held is not sent by itself, and what is released is tried now."
  (interactive nil submission-outbox-mode)
  (submission-outbox--each
   (lambda (entry)
     (submission-outbox--check entry '(queued sending deferred held)
                               "Only what would be sent can be held")
     (submission-act (submission-entry-id entry)
                     (if (eq (submission-entry-status entry) 'held)
                         "send"
                       "hold")))))

(defun submission-outbox-arrived ()
  "Say that the message at point has arrived although no answer came.
This is for one whose fate was uncertain.  It leaves the outbox."
  (interactive nil submission-outbox-mode)
  (submission-outbox--each #'submission-outbox-arrived-entry))

(defun submission-outbox-arrived-entry (entry)
  "Note that ENTRY, whose fate was uncertain, has arrived."
  (submission-outbox--check
   entry '(uncertain)
   "You can say that only of a message whose fate is uncertain")
  (submission-act (submission-entry-id entry) "arrived"))

(defun submission-outbox-account ()
  "Send the message at point, or those that are marked, with another account.
That is one of `submission-accounts', or you are asked for the server,
its port, the user name and the security; the defaults are what mail is
sent with now.  The envelope of a message stays as it is."
  (interactive nil submission-outbox-mode)
  (require 'submission-act)
  (let ((entries (submission-outbox--chosen)))
    (dolist (entry entries)
      (submission-outbox--check
       entry '(queued deferred held refused uncertain)
       "Only what is not being sent can get another account"))
    (let ((settings (submission-act-read-settings))
          (now (and (cl-some #'submission-outbox--tried-p entries)
                    (y-or-n-p "Send it now? "))))
      (submission-outbox--each
       (lambda (entry)
         (let ((id (submission-entry-id entry)))
           (submission-act id "settings" `(settings . ,settings))
           (when (and now (submission-outbox--tried-p entry))
             (submission-act id "send"))))))))

(defun submission-outbox--tried-p (entry)
  "Return non-nil if ENTRY was tried, and trying it again does no harm."
  (memq (submission-entry-status entry) '(deferred held refused)))

(defun submission-outbox-mark ()
  "Mark the message at point and move on."
  (interactive nil submission-outbox-mode)
  (cl-pushnew (submission-entry-id (submission-outbox--here))
              submission-table-marks :test #'equal)
  (with-silent-modifications
    (tabulated-list-put-tag "*" t)))

(defun submission-outbox-unmark ()
  "Take the mark off the message at point and move on."
  (interactive nil submission-outbox-mode)
  (setq submission-table-marks
        (delete (submission-entry-id (submission-outbox--here))
                submission-table-marks))
  (with-silent-modifications
    (tabulated-list-put-tag "" t)))

(defun submission-outbox-unmark-all ()
  "Unmark all messages."
  (interactive nil submission-outbox-mode)
  (setq submission-table-marks nil)
  (with-silent-modifications
    (tabulated-list-clear-all-tags)))

(defun submission-outbox-menu ()
  "Choose from a menu what to do with the message at point."
  (interactive nil submission-outbox-mode)
  (if (require 'transient nil t)
      (progn
        (require 'submission-menu)
        (submission-menu))
    (let* ((keys (mapcar (lambda (key)
                           (let ((command (lookup-key submission-outbox-mode-map
                                                      key)))
                             (cons (format "%s  %s" key
                                           (car (split-string
                                                 (documentation command)
                                                 "\n")))
                                   command)))
                         '("r" "R" "k" "e" "h" "d" "i" "a" "m" "u" "U")))
           (choice (completing-read "Outbox: " keys nil t)))
      (call-interactively (cdr (assoc choice keys))))))

(provide 'submission-outbox)

;;; submission-outbox.el ends here
