;;; submission-diagnose.el --- The paper's field test -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; `submission-diagnose' finds out which case of the paper "Fallback from
;; the Submission port to the SMTP port" a server is, or each server of a
;; list, and what it offers.  The module tries ports 587 and 25 over IPv6
;; and IPv4, and port 465, all at once and without sending mail; here is
;; the table that fills in as the answers come.
;;
;; A list has a server on each line: HOST, HOST:465 or HOST ssh:GATE, and
;; maybe its kind (ISP, ASP, company or university).

;;; Code:

(require 'smtpmail)
(require 'subr-x)
(require 'submission)
(require 'submission-channel)
(require 'submission-diagnose-words)
(require 'submission-job)
(require 'submission-settings)
(require 'tabulated-list)

(declare-function submission-module-diagnose
                  "ext:submission-module" (process json) t)
(declare-function submission-module-diagnose-cancel
                  "ext:submission-module" (json) t)

(defcustom submission-diagnose-finished-functions nil
  "Functions to call when a diagnosis is finished or was cancelled.
Each is called with one argument, the buffer of the diagnosis;
`submission-diagnose-results' returns what was found."
  :type 'hook
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defvar-local submission-diagnose--lines nil
  "The list that is diagnosed here, a list of strings.")
(defvar-local submission-diagnose--id nil
  "The module's id of the diagnosis, or nil when it has ended.")
(defvar-local submission-diagnose--process nil
  "The pipe process that brings the events of the diagnosis.")
(defvar-local submission-diagnose--rows nil
  "Alist of lines, counted from 1, and the rows of the table for them.")
(defvar-local submission-diagnose--summary nil
  "The summary of the rows, as it is now.")
(defvar-local submission-diagnose--complaints nil
  "What was not understood in the list, a list of strings.")
(defvar-local submission-diagnose--cells nil
  "Hash table of rows and their cells, so as to make them once.")
(defvar-local submission-diagnose--timer nil
  "The timer that shows the table again, or nil.")

(defvar submission-diagnose--buffers nil
  "Alist of the ids of diagnoses under way and their buffers.")

;;;; The command

;;;###autoload
(defun submission-diagnose (servers)
  "Diagnose SERVERS: which case of the paper each is, and what it has.
SERVERS is a list of strings, or a string with a server on each line:
HOST, HOST:465 or HOST ssh:GATE, and maybe a kind (ISP, ASP, company or
university).  Interactively these are the lines of the region if it is
active, those of a file with a prefix argument, and else one server,
which is asked for.

Nothing but these servers is connected to, once for each port and
address family, and no mail is sent.  Port 587 is asked whether it
takes mail without AUTH (the MAIL command).  Return at once the buffer
in which the answers show as they come."
  (interactive (list (submission-diagnose--read)))
  (let ((lines (if (listp servers)
                   (append servers nil)
                 (split-string servers "\n")))
        (buffer (get-buffer-create "*submission-diagnose*")))
    (when (rassq buffer submission-diagnose--buffers)
      (setq buffer (generate-new-buffer "*submission-diagnose*")))
    (with-current-buffer buffer
      (submission-diagnose-mode)
      (setq submission-diagnose--lines
            (mapcar (lambda (line)
                      (if (stringp line)
                          (substring-no-properties line)
                        (signal 'wrong-type-argument (list 'stringp line))))
                    lines))
      (submission-diagnose-again))
    (unless noninteractive (pop-to-buffer buffer))
    buffer))

(defun submission-diagnose--read ()
  "Return the servers that the user wants to have diagnosed."
  (cond (current-prefix-arg
         (with-temp-buffer
           (insert-file-contents (read-file-name "File with servers: " nil nil t))
           (buffer-string)))
        ((use-region-p)
         (buffer-substring-no-properties (region-beginning) (region-end)))
        (t
         (let ((default (and (stringp smtpmail-smtp-server)
                             smtpmail-smtp-server)))
           (read-string (format-prompt "Server" default) nil nil default)))))

(defun submission-diagnose-again ()
  "Diagnose the servers of this buffer again."
  (interactive nil submission-diagnose-mode)
  (when (rassq (current-buffer) submission-diagnose--buffers)
    (user-error "This diagnosis is still under way; cancel it with `k'"))
  (submission-loader-ensure)
  (let ((settings (submission-settings-connection))
        (process (submission-channel-pipe #'submission-diagnose--sentinel))
        (ok nil))
    (unwind-protect
        (setq submission-diagnose--cells
              (make-hash-table :test #'eq :weakness 'key)
              submission-diagnose--rows nil
              submission-diagnose--summary nil
              submission-diagnose--complaints nil
              submission-diagnose--process process
              submission-diagnose--id
              (submission-module-diagnose
               process
               (submission-channel-encode
                `((lines . ,(vconcat submission-diagnose--lines))
                  ,@settings)))
              ok t)
      (unless ok (delete-process process))))
  (process-put submission-diagnose--process 'buffer (current-buffer))
  (push (cons submission-diagnose--id (current-buffer))
        submission-diagnose--buffers)
  (let ((inhibit-read-only t))
    (erase-buffer))
  (submission-diagnose--show))

(defun submission-diagnose-cancel ()
  "Cancel the diagnosis in this buffer.
What is known by now stays in the table."
  (interactive nil submission-diagnose-mode)
  (when submission-diagnose--id
    (submission-module-diagnose-cancel
     (submission-channel-encode `((id . ,submission-diagnose--id))))))

(defun submission-diagnose-wait (&optional seconds)
  "Wait until every diagnosis is finished, at most SECONDS.
Without SECONDS wait for ever.  Events are handled in the meantime.
Return t when all are finished and their hooks have run, nil when the
time was up."
  (let ((end (and seconds (+ (float-time) seconds))))
    (while (and (or submission-diagnose--buffers
                    (not (submission-channel-idle-p)))
                (or (null end) (< (float-time) end)))
      (submission-channel-accept
       (if end (max 0 (min 1 (- end (float-time)))) 1)))
    (and (null submission-diagnose--buffers)
         (submission-channel-idle-p))))

(defun submission-diagnose-results (&optional buffer)
  "Return what is known in BUFFER (default: the current one), a plist.
`:rows' is a list of one plist for each server, in the order of the
list: `:line' (counted from 1), `:host', `:way' (\"\", \"ssl\" or
\"ssh\"), `:gate', `:kind', `:state' (\"waiting\", \"trying\", \"done\" or
\"cancelled\"), `:local' (set aside as on this machine or in a home),
`:repeat' (the line that has the same server before, or 0), `:detail',
`:words' (whether it offers submission as RFC 6409 asks, and why),
`:seconds' and `:steps', a list of one plist for each port and family:
`:family' (\"ipv6\", \"ipv4\" or \"any\"), `:port', `:state' (\"waiting\",
\"done\", \"skipped\" or \"cancelled\"), `:outcome' (as in a receipt, but a
string), `:case', `:address', `:detail', `:seconds', and what was seen
of a server: `:greeting', `:name', `:starttls', `:tls', `:certificate'
\(what is wrong with it), `:auth-clear', `:auth-secure', `:size',
`:mail' (the code of the answer to MAIL), `:mail-reply' and `:problem'.
What is not there is nil.
`:summary' is a plist of `:lines', `:local', `:repeats', `:servers',
`:kinds' and `:cases'; the last two are lists of plists of `:name' and
`:count'.
`:complaints' is a list of strings: what was not understood in the list.
`:finished' is non-nil if nothing more will come."
  (with-current-buffer (or buffer (current-buffer))
    (list :rows (submission-diagnose--all-rows)
          :summary submission-diagnose--summary
          :complaints submission-diagnose--complaints
          :finished (null submission-diagnose--id))))

(defun submission-diagnose--all-rows ()
  "Return the rows in the order of the list."
  (mapcar #'cdr (sort (copy-sequence submission-diagnose--rows)
                      #'car-less-than-car)))

;;;; Events

(defun submission-diagnose--event (event)
  "Take over the rows and the summary in EVENT."
  (let ((buffer (cdr (assoc (plist-get event :id)
                            submission-diagnose--buffers))))
    (when (buffer-live-p buffer)
      (with-current-buffer buffer
        (dolist (row (plist-get event :rows))
          (setf (alist-get (plist-get row :line) submission-diagnose--rows)
                row))
        (setq submission-diagnose--summary (plist-get event :summary)
              submission-diagnose--complaints (plist-get event :complaints))
        (if (plist-get event :finished)
            (submission-diagnose--end)
          (submission-diagnose--show-soon))))))

(defun submission-diagnose--end ()
  "Note that the diagnosis in this buffer has ended."
  (setq submission-diagnose--id nil)
  (delete-process submission-diagnose--process)
  (submission-channel-later #'submission-diagnose--finish (current-buffer)))

(defun submission-diagnose--finish (buffer)
  "Show the diagnosis in BUFFER, which has ended, and then run the hook."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (if (not (submission-diagnose--show))
          (run-at-time 0.02 nil #'submission-diagnose--finish buffer)
        (submission-diagnose--forget)
        (run-hook-wrapped 'submission-diagnose-finished-functions
                          (lambda (function)
                            (submission-channel-call function buffer)
                            nil))))))

(defun submission-diagnose--sentinel (process _change)
  "Note that no more events will come from PROCESS, if it has ended."
  (let ((buffer (process-get process 'buffer)))
    (when (and (not (process-live-p process)) (buffer-live-p buffer))
      (with-current-buffer buffer
        (when (and submission-diagnose--id
                   (eq process submission-diagnose--process))
          (push "the channel to the module broke"
                submission-diagnose--complaints)
          (submission-diagnose--end))))))

(setf (alist-get "diagnosis" submission-channel-handlers nil nil #'equal)
      #'submission-diagnose--event)

;;;; The buffer

(defvar submission-diagnose-mode-map
  (let ((map (make-sparse-keymap)))
    (define-key map "k" #'submission-diagnose-cancel)
    (define-key map "s" #'submission-diagnose-save)
    (define-key map (kbd "RET") #'submission-diagnose-details)
    (dolist (command '(tabulated-list-sort
                       tabulated-list-col-sort
                       tabulated-list-widen-current-column
                       tabulated-list-narrow-current-column))
      (define-key map (vector 'remap command) #'submission-diagnose-rearrange))
    map)
  "Keys in the buffer of a diagnosis.")

(define-derived-mode submission-diagnose-mode tabulated-list-mode "Diagnosis"
  "Major mode for the table of `submission-diagnose'.
A column for a port has the case of the paper and a word for it: 1
connected, 2 reset (TCP RST), 3 hard and 4 soft (ICMP errors), 5 timeout
\(no answer).  What the paper does not have: local (trouble on this
machine), closed (before a greeting), greeting (not 220), silent (no
greeting).  The columns after that are about port 587 if it answered,
else 465 or 25.

\\{submission-diagnose-mode-map}"
  :group 'submission
  (setq tabulated-list-format
        (vconcat (mapcar (lambda (column)
                           (list (car column) (cdr column) t))
                         submission-diagnose-words-columns))
        tabulated-list-padding 1
        tabulated-list-entries #'submission-diagnose--entries
        revert-buffer-function (lambda (&rest _) (submission-diagnose-again)))
  (add-hook 'kill-buffer-hook #'submission-diagnose--forget nil t)
  (tabulated-list-init-header))

(defun submission-diagnose--forget ()
  "End the diagnosis of this buffer: all is shown, or it is killed."
  (when submission-diagnose--timer
    (cancel-timer submission-diagnose--timer)
    (setq submission-diagnose--timer nil))
  (submission-diagnose-cancel)
  (setq submission-diagnose--buffers
        (rassq-delete-all (current-buffer) submission-diagnose--buffers)))

(defun submission-diagnose--entries ()
  "Return the table, for `tabulated-list-entries'."
  (mapcar (lambda (row)
            (list (plist-get row :line) (submission-diagnose--cells-of row)))
          (submission-diagnose--all-rows)))

(defun submission-diagnose--show-soon ()
  "Show the table again, together with what else comes soon."
  (unless submission-diagnose--timer
    (setq submission-diagnose--timer
          (run-at-time 0.2 nil #'submission-diagnose--show-in
                       (current-buffer)))))

(defun submission-diagnose--show-in (buffer)
  "Show the table in BUFFER, if there still is one."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (unless (submission-diagnose--show)
        (submission-diagnose--show-soon)))))

(defun submission-diagnose--show ()
  "Show the table and the summary in this buffer, point staying in its line.
Return nil if that would take too long; then a part of it is shown."
  (when submission-diagnose--timer
    (cancel-timer submission-diagnose--timer)
    (setq submission-diagnose--timer nil))
  (let ((places (mapcar (lambda (window)
                          (list window
                                (line-number-at-pos (window-point window))
                                (line-number-at-pos (window-start window))))
                        (get-buffer-window-list nil nil t)))
        (line (line-number-at-pos))
        (column (current-column))
        (complete (submission-diagnose--print)))
    (submission-diagnose--insert-summary)
    (pcase-dolist (`(,window ,point ,start) places)
      (set-window-point window (submission-diagnose--line point))
      (set-window-start window (submission-diagnose--line start) t))
    (goto-char (submission-diagnose--line line))
    (move-to-column column)
    complete))

(defun submission-diagnose--print ()
  "Print again the rows that changed, and those that are new.
Rows stay in their order.  What is below the table goes.  Return nil if
the time for it was up before all was done."
  (let* ((inhibit-read-only t)
         (end (+ (float-time) 0.05))
         (rows (submission-diagnose--all-rows))
         (print (lambda (row)
                  (tabulated-list-print-entry
                   (plist-get row :line) (submission-diagnose--cells-of row))
                  (< (float-time) end)))
         (more t))
    (goto-char (point-min))
    (let ((left rows))
      (while (tabulated-list-get-id)
        (pop left)
        (let ((row (alist-get (tabulated-list-get-id)
                              submission-diagnose--rows)))
          (if (or (not more)
                  (eq (submission-diagnose--cells-of row)
                      (tabulated-list-get-entry)))
              (forward-line)
            (delete-region (point) (line-beginning-position 2))
            (setq more (funcall print row)))))
      (delete-region (point) (point-max))
      (while (and left more)
        (setq more (funcall print (pop left))))
      more)))

(defun submission-diagnose--line (number)
  "Return the position of line NUMBER of this buffer."
  (save-excursion
    (goto-char (point-min))
    (forward-line (1- number))
    (point)))

(defun submission-diagnose-rearrange ()
  "Do with the table what the key does elsewhere, and keep the summary."
  (interactive)
  (let ((window (posn-window (event-start last-nonmenu-event))))
    (call-interactively this-original-command)
    (with-current-buffer (if (windowp window)
                             (window-buffer window)
                           (current-buffer))
      (submission-diagnose--insert-summary))))

(defun submission-diagnose--insert-summary ()
  "Put the summary below the table."
  (let ((inhibit-read-only t))
    (save-excursion
      (goto-char (point-max))
      (insert "\n" (submission-diagnose--summary-text) "\n")
      (dolist (row (submission-diagnose--all-rows))
        (when (zerop (plist-get row :repeat))
          (insert (submission-diagnose-words-sentence row) "\n")))
      (set-buffer-modified-p nil))))

(defun submission-diagnose--cells-of (row)
  "Return what is in the columns for ROW, a vector of strings."
  (or (gethash row submission-diagnose--cells)
      (puthash row (submission-diagnose-words-cells row)
               submission-diagnose--cells)))

(defun submission-diagnose--progress ()
  "Return a line on how far the diagnosis is, or nil when it has ended."
  (let ((open (cl-count-if (lambda (row)
                             (member (plist-get (cdr row) :state)
                                     '("waiting" "trying")))
                           submission-diagnose--rows)))
    (and submission-diagnose--id
         (format "Not finished: %d of %d lines; `k' cancels." open
                 (length submission-diagnose--rows)))))

(defun submission-diagnose--summary-text ()
  "Return the paper's summary as text."
  (let ((progress (submission-diagnose--progress))
        (table (lambda (counts)
                 (mapconcat (lambda (count)
                              (format "%-24s%4d\n" (plist-get count :name)
                                      (plist-get count :count)))
                            counts ""))))
    (concat
     (and progress (concat progress "\n\n"))
     (mapconcat (lambda (complaint)
                  (concat "Not understood: " complaint "\n"))
                submission-diagnose--complaints "")
     (and submission-diagnose--summary
          (concat
           (submission-diagnose-words-headline
            submission-diagnose--summary) "\n\n"
           (funcall table (plist-get submission-diagnose--summary :kinds)) "\n"
           (funcall table
                    (plist-get submission-diagnose--summary :cases)))))))

;;;; Details

(defun submission-diagnose-details ()
  "Show all that is known of the server at point."
  (interactive nil submission-diagnose-mode)
  (let ((row (alist-get (tabulated-list-get-id) submission-diagnose--rows)))
    (unless row
      (user-error "There is no server on this line"))
    (with-help-window "*submission-diagnose-server*"
      (princ (format "%s\n\n%s\n" (submission-diagnose-words-server row)
                     (submission-diagnose-words-sentence row)))
      (unless (string-empty-p (plist-get row :detail))
        (princ (concat (plist-get row :detail) "\n")))
      (dolist (step (plist-get row :steps))
        (princ (submission-diagnose-words-step step))))))

(autoload 'submission-diagnose-save "submission-diagnose-save" nil t)
(autoload 'submission-diagnose-save-csv "submission-diagnose-save")
(autoload 'submission-diagnose-save-org "submission-diagnose-save")

(provide 'submission-diagnose)

;;; submission-diagnose.el ends here
