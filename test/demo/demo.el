;;; demo.el --- One message, and what became of it  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; What an init file has, then a message as a person writes it, and the
;; receipt in words.  main.go sets the ports and starts this in a batch Emacs.

;;; Code:

(require 'message)
(require 'submission)

;; What stands in an init file.
(setq user-full-name "Ann Writer"
      user-mail-address "ann@example.org"
      smtpmail-smtp-server "127.0.0.1")
(submission-mode 1)

(setq auth-sources nil
      message-auto-save-directory nil
      inhibit-message t)                ; what batch Emacs says on the way

(defun demo-say (format &rest args)
  "Print FORMAT with ARGS on a line."
  (princ (concat "   " (apply #'format format args) "\n")))

(defun demo-tell (receipt)
  "Print RECEIPT in words."
  (let ((n 0))
    (dolist (attempt (plist-get receipt :attempts))
      (demo-say "Step %d: %s %s port %d  ->  %s%s, %.1f ms%s"
                (setq n (1+ n))
                (if (eq (plist-get attempt :family) 'ipv6) "IPv6" "IPv4")
                (plist-get attempt :address)
                (plist-get attempt :port)
                (plist-get attempt :outcome)
                (if (plist-get attempt :case)
                    (format " (case %d of the paper)" (plist-get attempt :case))
                  "")
                (* 1000 (plist-get attempt :elapsed))
                (if (plist-get attempt :detail)
                    (format ": %s" (plist-get attempt :detail))
                  ""))))
  (demo-say "Receipt: %s by %s:%s, TLS %s"
            (upcase (symbol-name (plist-get receipt :status)))
            (plist-get receipt :host) (plist-get receipt :port)
            (or (plist-get receipt :tls) "none"))
  (demo-say "         the server's last words: %s" (plist-get receipt :reply))
  (demo-say "         accepted for: %s"
            (string-join (plist-get receipt :accepted) ", ")))

(add-hook 'submission-finished-functions #'demo-tell)

;; C-x m, a few words, C-c C-c.
(let ((message-setup-hook nil))
  (message-mail "bob@example.org" "Hello"))
(message-goto-body)
(insert "Hello Bob,\n\nthis left Emacs in the background.\n")
(let ((start (current-time)))
  (call-interactively #'message-send-and-exit)
  (demo-say "C-c C-c gave Emacs back after %.0f ms (it was the first message: \
most of that is loading Lisp)."
            (* 1000 (float-time (time-since start)))))

(unless (submission-wait 30)
  (demo-say "After 30 seconds it is still being sent.")
  (kill-emacs 1))

;;; demo.el ends here
