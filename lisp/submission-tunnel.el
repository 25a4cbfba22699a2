;;; submission-tunnel.el --- SSH tunnels to the mail server -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; The module asks for a tunnel when an account has an SSH host.  One ssh
;; for each host and server forwards a local port to each port of the
;; sequence.  It is kept for the messages that follow, and ended when no
;; message has needed it for a while.
;;
;; ssh says itself that it is ready: it runs a local command once it is
;; logged in and the ports are open.  It never asks anything, unless there
;; is a program to ask with (SSH_ASKPASS).  What it complains about goes to
;; the user in its own words, and decides what becomes of the message:
;; after a refused key or an unknown host key it is held, after trouble on
;; the network it is tried again.

;;; Code:

(require 'subr-x)
(require 'submission)
(require 'submission-channel)
(require 'submission-report)

(declare-function submission-module-answer "ext:submission-module" (json) t)

(defvar submission-tunnel-busy-function #'ignore
  "Function that returns non-nil while messages are being sent.")

(cl-defstruct submission-tunnel
  "An SSH tunnel that is there, or that is being set up."
  key        ; a list (SSH-HOST HOST PORT…)
  ports      ; the local ones, in the order of the others
  process    ; ssh
  (output "") ; what ssh said
  ready      ; non-nil once the ports are open
  failed     ; what to tell in place of ssh's words, or nil
  again      ; non-nil if this is the second try
  questions  ; events that wait until it is ready
  timer)     ; the limit of setting it up, or of idling

(defvar submission-tunnel--table (make-hash-table :test #'equal)
  "The tunnels, by key.")

(defconst submission-tunnel--word "submission-tunnel-ready"
  "The word of the local command of ssh.")

(defconst submission-tunnel--person
  (concat "Permission denied (\\|Host key verification failed\\|"
          "IDENTIFICATION HAS CHANGED\\|authentication failures\\|"
          "[Bb]ad configuration option\\|Bad owner or permissions\\|"
          "no matching \\|unknown option\\|illegal option\\|[Uu]sage: ")
  "Regexp for words of ssh that mean that a person has to mend something.")

;;;; Questions of the module

(defun submission-tunnel-ask (event)
  "Answer EVENT, which asks for a tunnel, when there is one."
  (let* ((key (append (list (plist-get event :ssh-host) (plist-get event :host))
                      (plist-get event :ports)))
         (tunnel (gethash key submission-tunnel--table)))
    (cond ((null tunnel)
           (submission-channel-later #'submission-tunnel--dig key (list event)))
          ((submission-tunnel-ready tunnel)
           (submission-tunnel--rest tunnel)
           (submission-tunnel--answer event (submission-tunnel-ports tunnel)))
          (t (push event (submission-tunnel-questions tunnel))))))

(defun submission-tunnel--answer (event ports &optional text held)
  "Answer EVENT with PORTS, or with TEXT, the reason why there are none.
HELD is non-nil if a person has to mend something."
  (submission-module-answer
   (submission-channel-argument
    (plist-get event :directory)
    `(ask . ,(plist-get event :ask))
    `(tunnel . ,(vconcat ports))
    `(error . ,(or text ""))
    `(held . ,(if held t :false)))))

;;;; Setting one up

(defun submission-tunnel--free-ports (count)
  "Return COUNT local ports that are free."
  (let ((listeners nil))
    (unwind-protect
        (progn
          (dotimes (_ count)
            (push (make-network-process :name "submission-port" :server t
                                        :host "127.0.0.1" :service t
                                        :family 'ipv4 :noquery t)
                  listeners))
          (mapcar (lambda (listener) (process-contact listener :service))
                  listeners))
      (mapc #'delete-process listeners))))

(defun submission-tunnel--command (key ports)
  "Return the command for the tunnel of KEY from the local PORTS."
  (pcase-let ((`(,ssh-host ,host . ,far) key))
    (append
     (list submission-ssh-program "-N" "-T" "-n"
           ;; No connection that is there already: its end would not be ours.
           "-S" "none"
           "-o" "ControlMaster=no"
           "-o" "ExitOnForwardFailure=yes"
           "-o" "ServerAliveInterval=15"
           "-o" "PermitLocalCommand=yes"
           "-o" (concat "LocalCommand=echo " submission-tunnel--word))
     (unless (and (getenv "SSH_ASKPASS") (not noninteractive))
       (list "-o" "BatchMode=yes"))
     (cl-mapcan (lambda (local port)
                  (list "-L" (format "127.0.0.1:%d:%s:%d" local
                                     (if (string-search ":" host)
                                         (format "[%s]" host)
                                       host)
                                     port)))
                ports far)
     (list "--" ssh-host))))

(defun submission-tunnel--dig (key questions &optional again)
  "Set up the tunnel of KEY, for QUESTIONS; AGAIN if it is the second try."
  (if (gethash key submission-tunnel--table)
      ;; One has been begun in the meantime.
      (mapc #'submission-tunnel-ask questions)
    (submission-tunnel--start
     (puthash key (make-submission-tunnel :key key :questions questions
                                          :again again)
              submission-tunnel--table))))

(defun submission-tunnel--start (tunnel)
  "Start the ssh of TUNNEL."
  (let ((key (submission-tunnel-key tunnel))
        (default-directory temporary-file-directory))
    (condition-case err
        (progn
          (setf (submission-tunnel-ports tunnel)
                (submission-tunnel--free-ports (length (cddr key)))
                (submission-tunnel-process tunnel)
                (make-process
                 :name "submission-ssh" :buffer nil :noquery t
                 :connection-type 'pipe :coding 'utf-8-unix
                 :command (submission-tunnel--command
                           key (submission-tunnel-ports tunnel))
                 :filter (lambda (_ chunk)
                           (submission-tunnel--heard tunnel chunk))
                 :sentinel (lambda (process _)
                             (unless (process-live-p process)
                               (submission-tunnel--ended tunnel))))
                (submission-tunnel-timer tunnel)
                (run-at-time submission-ssh-timeout nil
                             #'submission-tunnel--late tunnel)))
      (error (submission-tunnel--fail
              tunnel
              ;; Not every Emacs says which program it couldn't run.
              (format "%s: %s" submission-ssh-program
                      (error-message-string err))
              t)))))

(defun submission-tunnel--heard (tunnel chunk)
  "Note CHUNK, which the ssh of TUNNEL has said."
  (let ((text (concat (submission-tunnel-output tunnel) chunk)))
    ;; Such as that a port refuses, which shows as closed to the module.
    (when (submission-tunnel-ready tunnel)
      (dolist (line (split-string chunk "[\r\n]+" t))
        (submission-report-log nil "ssh %s: %s"
                               (car (submission-tunnel-key tunnel)) line)))
    (setf (submission-tunnel-output tunnel)
          (substring text (max 0 (- (length text) 8000))))
    (when (and (not (submission-tunnel-ready tunnel))
               (string-match-p (concat "^" submission-tunnel--word "\r?$")
                               text))
      (setf (submission-tunnel-ready tunnel) t
            (submission-tunnel-output tunnel) "")
      (submission-tunnel--rest tunnel)
      (dolist (event (submission-tunnel--take-questions tunnel))
        (submission-tunnel--answer event (submission-tunnel-ports tunnel))))))

(defun submission-tunnel--take-questions (tunnel)
  "Return the questions that wait for TUNNEL, oldest first; none wait then."
  (prog1 (reverse (submission-tunnel-questions tunnel))
    (setf (submission-tunnel-questions tunnel) nil)))

(defun submission-tunnel--late (tunnel)
  "Give up TUNNEL, which was not there in time."
  (setf (submission-tunnel-failed tunnel)
        (format "ssh was not ready within %s s" submission-ssh-timeout))
  (delete-process (submission-tunnel-process tunnel)))

;;;; The end of one

(defun submission-tunnel--words (tunnel)
  "Return the last words of the ssh of TUNNEL, on one line."
  (let ((lines (cl-remove-if
                (lambda (line)
                  (or (string-blank-p line)
                      (string-match-p "\\`@+\\'\\|\\`debug[0-9]:" line)))
                (mapcar #'string-trim
                        (split-string (submission-tunnel-output tunnel)
                                      "[\r\n]+")))))
    (truncate-string-to-width
     (submission-report-line (string-join (last lines 4) "; ")) 500 nil nil t)))

(defun submission-tunnel--ended (tunnel)
  "Deal with the end of the ssh of TUNNEL."
  (let ((words (submission-tunnel--words tunnel))
        (failed (submission-tunnel-failed tunnel)))
    (cond ((submission-tunnel-ready tunnel)
           (submission-tunnel--forget tunnel)
           (submission-report-log nil "the SSH tunnel through %s ended%s"
                                  (car (submission-tunnel-key tunnel))
                                  (cond (failed (concat ": " failed))
                                        ((string-empty-p words) "")
                                        (t (concat ": " words)))))
          ;; Somebody else took a port of ours in the meantime.
          ((and (not failed) (not (submission-tunnel-again tunnel))
                (string-search "Address already in use" words))
           (submission-tunnel--forget tunnel)
           (submission-channel-later #'submission-tunnel--dig
                                     (submission-tunnel-key tunnel)
                                     (submission-tunnel--take-questions tunnel)
                                     t))
          (t
           (submission-tunnel--fail
            tunnel
            (cond ((and failed (string-empty-p words)) failed)
                  (failed (concat failed "; it said: " words))
                  ((string-empty-p words) "ssh ended and said nothing")
                  (t (concat "ssh said: " words)))
            (or (string-match-p submission-tunnel--person words)
                ;; It could not be run.
                (memq (process-exit-status (submission-tunnel-process tunnel))
                      '(126 127))))))))

(defun submission-tunnel--forget (tunnel)
  "Take TUNNEL, which has ended, off the table."
  (when (submission-tunnel-timer tunnel)
    (cancel-timer (submission-tunnel-timer tunnel)))
  (remhash (submission-tunnel-key tunnel) submission-tunnel--table))

(defun submission-tunnel--fail (tunnel text held)
  "Tell those who wait for TUNNEL why there is none: TEXT.
HELD is non-nil if a person has to mend something."
  (submission-tunnel--forget tunnel)
  (submission-report-log nil "no SSH tunnel through %s: %s"
                         (car (submission-tunnel-key tunnel)) text)
  (dolist (event (submission-tunnel--take-questions tunnel))
    (submission-tunnel--answer event nil text held)))

(defun submission-tunnel--rest (tunnel)
  "Let the idle time of TUNNEL begin now."
  (when (submission-tunnel-timer tunnel)
    (cancel-timer (submission-tunnel-timer tunnel)))
  (setf (submission-tunnel-timer tunnel)
        (run-at-time submission-ssh-idle-timeout nil
                     #'submission-tunnel--idle tunnel)))

(defun submission-tunnel--idle (tunnel)
  "End TUNNEL unless messages are being sent, maybe through it."
  (if (funcall submission-tunnel-busy-function)
      (submission-tunnel--rest tunnel)
    (setf (submission-tunnel-failed tunnel) "it was idle")
    (delete-process (submission-tunnel-process tunnel))))

(provide 'submission-tunnel)

;;; submission-tunnel.el ends here
