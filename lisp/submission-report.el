;;; submission-report.el --- What the user sees -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; The echo area, warnings, and the buffer *submission log*, which has
;; every attempt and the server's words.  What went wrong is said with
;; the server's words and with what to do, from one table.  Nothing here
;; asks a question.

;;; Code:

(require 'subr-x)
(require 'submission)

;;;; Sentences

(defconst submission-report--advice
  '((deferred
     nil "It is tried again by itself; `M-x submission-outbox' shows what waits")
    (held
     tls "The TLS that was asked for is not to be had there; check the \
server's name and port, then `submission-security'"
     certificate "The server's certificate can't be trusted; check the \
server's name.  `M-x submission-certificates' shows it and can accept it"
     auth "The server wants a user name and a password that it accepts; \
check `smtpmail-smtp-user' and your auth-source entry"
     protocol "What answers there does not speak SMTP; check the server's \
name and port"
     utf8 "The server takes no addresses with characters outside ASCII"
     8bit "The server takes only 7-bit messages"
     expired "It was tried for too long"
     tunnel "ssh must get to the host without asking; try it in a shell, \
and then send the message again"
     user "You held it"
     nil "It waits in the outbox")
    (refused
     recipients "No recipient was accepted; check the addresses"
     size "The message is larger than the server takes"
     nil "The server does not take this message; see its words")
    (uncertain
     nil "The whole message was sent and no answer came, so it may have \
arrived.  It is not sent again by itself; ask a recipient"))
  "What to do, by status and reason: lists (STATUS REASON SENTENCE …).
The sentence for the reason nil is for all other reasons.")

(defconst submission-report--words
  '((deferred . "Not sent yet")
    (held . "Held in the outbox")
    (refused . "Refused")
    (uncertain . "Not known whether sent")
    (cancelled . "Cancelled"))
  "What happened, by status.")

(defun submission-report--advice (receipt)
  "Return what to do about RECEIPT, or nil."
  (let ((sentences (cdr (assq (plist-get receipt :status)
                              submission-report--advice))))
    (or (plist-get sentences (plist-get receipt :reason))
        (plist-get sentences nil))))

(defun submission-report-line (text)
  "Return TEXT on one line, without control characters."
  (replace-regexp-in-string "[[:cntrl:]\x7f]+" " " (or text "")))

(defun submission-report--server (receipt)
  "Return the server and port that RECEIPT names."
  (let ((host (or (plist-get receipt :host) "the server"))
        (port (plist-get receipt :port)))
    (cond ((not port) host)
          ((string-search ":" host) (format "[%s]:%d" host port))
          (t (format "%s:%d" host port)))))

(defun submission-report--refused (receipt)
  "Return what RECEIPT has to say about refused recipients."
  (mapconcat (lambda (pair)
               (format "%s (%s)" (car pair)
                       (submission-report-line (cdr pair))))
             (plist-get receipt :refused) ", "))

(defun submission-report-attempt-text (attempt)
  "Return ATTEMPT, from a receipt, as words."
  (let ((case (plist-get attempt :case))
        (detail (plist-get attempt :detail)))
    (concat
     (pcase (plist-get attempt :family)
       ('ipv4 "IPv4 ") ('ipv6 "IPv6 "))
     (format "port %s: %s"
             (plist-get attempt :port) (plist-get attempt :outcome))
     (and case (format " (case %d)" case))
     (format " after %.2f s" (plist-get attempt :elapsed))
     (and detail (format ", %s" (submission-report-line detail))))))

(defun submission-report-text (receipt &optional notice bare)
  "Return RECEIPT as what the user is told.
NOTICE is what the module has to say beside it, or nil.  With BARE,
don't say what to do."
  (let* ((status (plist-get receipt :status))
         (count (length (plist-get receipt :accepted)))
         (refused (submission-report--refused receipt))
         (why (and (not (eq status 'accepted))
                   (submission-report--why receipt notice)))
         (server (submission-report--server receipt)))
    (concat (and (or (eq status 'accepted) (> count 0))
                 (format "Sent to %d recipient%s by %s" count
                         (if (= count 1) "" "s") server))
            (cond ((eq status 'accepted) nil)
                  ((> count 0)
                   (format ", but to others: %s"
                           (downcase
                            (cdr (assq status submission-report--words)))))
                  (t (format "%s (%s)"
                             (if (and bare (memq status '(deferred held)))
                                 "Not sent"
                               (cdr (assq status submission-report--words)))
                             server)))
            (cond ((string-empty-p refused)
                   (and why (concat ": " why)))
                  ((eq (plist-get receipt :reason) 'recipients)
                   (concat ": " refused))
                  (t (concat (and why (concat ": " why))
                             (if (eq status 'accepted) ", BUT " "; ")
                             "refused: " refused)))
            (let ((advice (and (not bare)
                               (submission-report--advice receipt))))
              (and advice (concat ".  " advice))))))

(defun submission-report--why (receipt notice)
  "Return why the message of RECEIPT was not accepted, or nil.
That is NOTICE and the server's last words, or how each step ended."
  (let ((notice (submission-report-line notice))
        (reply (submission-report--failure receipt))
        (attempts (plist-get receipt :attempts)))
    (cond ((and (string-empty-p notice) (string-empty-p reply))
           (and attempts
                (mapconcat #'submission-report-attempt-text attempts "; ")))
          ((string-empty-p notice) reply)
          ((string-search reply notice) notice)
          (t (concat notice "; last reply: " reply)))))

(defun submission-report--failure (receipt)
  "Return the last reply in RECEIPT if it is a failure, else \"\"."
  (let ((reply (submission-report-line (plist-get receipt :reply))))
    (if (string-match-p "\\`[23]" reply) "" reply)))

(defun submission-report-gist (receipt &optional notice)
  "Return what RECEIPT and NOTICE say, without what differs each time."
  (replace-regexp-in-string " after [0-9.]+ s" ""
                            (submission-report-text receipt notice)))

;;;; Telling

(defun submission-report-tell (receipt &optional notice loud)
  "Tell the user about RECEIPT and NOTICE, see `submission-report-text'.
What needs a person is a warning too, and so is what is LOUD."
  (let ((text (submission-report-text receipt notice)))
    (message "%s" text)
    (when (and (not noninteractive)
               (or loud
                   (memq (plist-get receipt :status) '(held refused uncertain))
                   (plist-get receipt :refused)))
      (display-warning 'submission text :warning))))

(defun submission-report-fault (text)
  "Tell the user about a fault of ours, described by TEXT."
  (let ((line (car (split-string text "\n"))))
    (if noninteractive
        (message "submission: %s" line)
      (display-warning 'submission line :error))))

;;;; The log

(defconst submission-report--log-size 500000
  "How many characters the log buffer keeps.")

(define-derived-mode submission-log-mode special-mode "Submission Log"
  "Mode of the buffer with what happened to each message."
  (setq-local truncate-lines nil))

(defun submission-report--log-buffer ()
  "Return the log buffer."
  (or (get-buffer "*submission log*")
      (with-current-buffer (get-buffer-create "*submission log*")
        (submission-log-mode)
        (buffer-disable-undo)
        (current-buffer))))

(defun submission-report-log (id format &rest args)
  "Write a line about the message with ID to the log: FORMAT with ARGS.
A window that shows the end of the log stays there."
  (with-current-buffer (submission-report--log-buffer)
    (let ((inhibit-read-only t)
          (at-end (= (point) (point-max)))
          (windows (cl-remove-if-not
                    (lambda (window)
                      (= (window-point window) (point-max)))
                    (get-buffer-window-list nil nil t))))
      (save-excursion
        (goto-char (point-max))
        (insert (format-time-string "%F %T ") (or id "-") " "
                (submission-report-line (apply #'format format args)) "\n")
        (when (> (buffer-size) submission-report--log-size)
          (goto-char (- (point-max) (/ submission-report--log-size 2)))
          (forward-line 1)
          (delete-region (point-min) (point))))
      (when at-end (goto-char (point-max)))
      (dolist (window windows)
        (set-window-point window (point-max))))))

(defun submission-report-queued (id host recipients)
  "Log that the message with ID waits for HOST, for RECIPIENTS."
  (submission-report-log id "queued for %s: %s" host
                         (string-join recipients ", ")))

(defun submission-report-attempt (id attempt)
  "Log ATTEMPT, as in a receipt, of the message with ID."
  (submission-report-log id "%s" (submission-report-attempt-text attempt)))

(defun submission-report-finished (receipt &optional notice bare)
  "Log RECEIPT and NOTICE, BARE or not, see `submission-report-text'."
  (submission-report-log (plist-get receipt :id) "%s: %s"
                         (plist-get receipt :status)
                         (submission-report-text receipt notice bare))
  (when (and (eq (plist-get receipt :status) 'accepted)
             (plist-get receipt :reply))
    (submission-report-log (plist-get receipt :id) "%s"
                           (plist-get receipt :reply))))

(provide 'submission-report)

;;; submission-report.el ends here
