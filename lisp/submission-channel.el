;;; submission-channel.el --- Events from the module -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; The module writes its events into a pipe process, one JSON object a
;; line.  The filter keeps a cut line for the next chunk and hands each
;; whole line to the function in `submission-channel-handlers' for its
;; kind.  Handlers only update tables; what the user gave us is put on a
;; list with `submission-channel-later' and run afterwards, outside the
;; filter.
;;
;; An event is a hint to look: the state of a message is on disk.  So a
;; channel that breaks loses nothing, and is opened again.

;;; Code:

(require 'submission)
(require 'submission-loader)

(declare-function submission-module-open "ext:submission-module" (process json) t)

(defvar submission-channel-handlers nil
  "Alist of kinds of events (strings) and functions to call with them.
An event is a plist, with nil for JSON's null and false.")

(defvar submission-channel-broken-functions nil
  "Functions to call with no argument when a broken channel is back.")

(defvar submission-channel-transient nil
  "Outbox directories whose messages are kept by another mailer.
What is in them is not sent again by itself.")

(defvar submission-channel--processes nil
  "Alist of outbox directories and the pipe processes that bring events.")

;;;; JSON

(defun submission-channel-encode (object)
  "Return OBJECT as JSON in ASCII, see `json-serialize'.
An error names neither OBJECT nor a part of it."
  (let ((json (condition-case nil
                  (json-serialize object)
                (error (signal 'submission-envelope-error
                               (list "Text with an invalid character"))))))
    (unless (multibyte-string-p json)
      (setq json (decode-coding-string json 'utf-8-unix)))
    (replace-regexp-in-string
     "[^[:ascii:]]"
     (lambda (char)
       (mapconcat (lambda (unit) (format "\\u%04x" unit))
                  (submission-channel--utf-16 (aref char 0)) ""))
     json t t)))

(defun submission-channel--utf-16 (char)
  "Return the UTF-16 code units of CHAR, a list."
  (if (< char #x10000)
      (list char)
    (let ((rest (- char #x10000)))
      (list (+ #xd800 (ash rest -10)) (+ #xdc00 (logand rest #x3ff))))))

(defun submission-channel-decode (json)
  "Return the object that JSON, a string, stands for.
Objects become plists, arrays lists, null and false nil."
  (json-parse-string json :object-type 'plist :array-type 'list
                     :null-object nil :false-object nil))

;;;; The channel

(defun submission-channel-directory ()
  "Return the name of the directory of the outbox, in full."
  (expand-file-name (file-name-as-directory submission-directory)))

(defun submission-channel-open ()
  "Make sure that the module is loaded and the events of the outbox arrive.
Return the directory of the outbox."
  (submission-loader-ensure)
  (let ((directory (submission-channel-directory)))
    (unless (process-live-p
             (cdr (assoc directory submission-channel--processes)))
      (submission-channel--start directory))
    directory))

(defun submission-channel-argument (directory &rest alist)
  "Return DIRECTORY and ALIST as what a function of the module takes."
  (submission-channel-encode `((directory . ,directory) ,@alist)))

(defun submission-channel-pipe (sentinel)
  "Return a new pipe process that hands events to their handlers.
SENTINEL is its sentinel."
  (let ((process-adaptive-read-buffering nil))
    (make-pipe-process :name "submission" :buffer nil :noquery t
                       :coding 'utf-8-unix
                       :filter #'submission-channel--filter
                       :sentinel sentinel)))

(defun submission-channel--start (directory)
  "Open a channel for the outbox in DIRECTORY."
  (let ((process (submission-channel-pipe #'submission-channel--sentinel))
        (ok nil))
    (process-put process 'directory directory)
    (unwind-protect
        (progn
          (submission-module-open
           process
           (submission-channel-argument
            directory
            `(memory . ,(expand-file-name submission-fallback-file))
            `(interactive . ,(if noninteractive :false t))
            `(transient . ,(if (member directory submission-channel-transient)
                               t :false))))
          (setf (alist-get directory submission-channel--processes
                           nil nil #'equal)
                process)
          (setq ok t))
      (unless ok
        (set-process-sentinel process #'ignore)
        (delete-process process)))))

(defun submission-channel--filter (process chunk)
  "Handle the lines that CHUNK completes on PROCESS; keep the rest."
  (let ((pending (cons chunk (process-get process 'pending))))
    (if (not (string-search "\n" chunk))
        (process-put process 'pending pending)
      (let ((lines (split-string
                    (mapconcat #'identity (nreverse pending) "") "\n")))
        (process-put process 'pending (last lines))
        (dolist (line (butlast lines))
          (submission-channel--dispatch
           line (process-get process 'directory)))))))

(defun submission-channel--dispatch (line directory)
  "Hand the event in LINE, from the outbox in DIRECTORY, to its handler.
No error leaves this function: in a filter it would block the keyboard,
and it would end a batch Emacs."
  (condition-case err
      (let* ((event (submission-channel-decode line))
             (handler (cdr (assoc (plist-get event :event)
                                  submission-channel-handlers))))
        (when handler
          (funcall handler (plist-put event :directory directory))))
    (error (message "submission: an event was not understood: %S"
                    (car err)))))

(defun submission-channel--sentinel (process _change)
  "Tell that the channel broke and open it again, if PROCESS has ended."
  (let ((channel (rassq process submission-channel--processes)))
    (when (and channel (not (process-live-p process)))
      (setf (cdr channel) nil)
      (submission-channel-later #'submission-channel--reopen (car channel)))))

(defun submission-channel--reopen (directory)
  "Open the channel for the outbox in DIRECTORY again after it broke."
  (message "submission: the channel to the module broke; opening it again")
  (submission-channel--start directory)
  (run-hooks 'submission-channel-broken-functions))

(defun submission-channel-closed (event)
  "Close our end of the channel of EVENT, which is at its end."
  (let ((process (cdr (assoc (plist-get event :directory)
                             submission-channel--processes))))
    ;; The sentinel does the rest.
    (when process (delete-process process))))

;;;; What is done outside the filter

(defvar submission-channel--later nil
  "What to call outside the filter, oldest first: lists (FUNCTION ARG…).")

(defvar submission-channel--timer nil
  "The timer for `submission-channel-catch-up', or nil.")

(defun submission-channel-later (function &rest args)
  "Call FUNCTION with ARGS soon, after what was put off before.
An error in it is told and stops nothing else."
  (setq submission-channel--later
        (nconc submission-channel--later (list (cons function args))))
  (submission-channel--arm))

(defun submission-channel-catch-up ()
  "Do what was put off."
  (when submission-channel--timer
    (cancel-timer submission-channel--timer)
    (setq submission-channel--timer nil))
  (unwind-protect
      (while submission-channel--later
        (apply #'submission-channel-call (pop submission-channel--later)))
    ;; After C-g, the rest is for later.
    (when submission-channel--later (submission-channel--arm))))

(defun submission-channel-call (function &rest args)
  "Call FUNCTION with ARGS; tell of an error in it and return nil then."
  (condition-case err
      (save-current-buffer (apply function args))
    (error (message "submission: error in %s: %s"
                    (if (symbolp function) function "a function")
                    (error-message-string err))
           nil)))

(defun submission-channel--arm ()
  "Have what was put off done when Emacs waits next."
  (unless submission-channel--timer
    (setq submission-channel--timer
          (run-at-time 0 nil #'submission-channel-catch-up))))

(defun submission-channel-idle-p ()
  "Return non-nil if nothing is put off."
  (null submission-channel--later))

(defun submission-channel-accept (seconds)
  "Let events arrive for at most SECONDS, then do what was put off."
  (accept-process-output nil seconds)
  (submission-channel-catch-up))

(provide 'submission-channel)

;;; submission-channel.el ends here
