;;; bench.el --- How long the sending command keeps Emacs  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Prints a line for each measurement: WHO WHAT BYTES SECONDS.  main.go starts
;; this in a batch Emacs, with BENCH-PORT the port of the server and BENCH-WHO
;; the sender, `submission' or `smtpmail'.

;;; Code:

(require 'message)
(require 'smtpmail)
(require 'submission)

(defvar bench-port)
(defvar bench-who)
(defvar bench-sizes)
(defvar bench-runs)

(setq user-full-name "Ann Writer"
      user-mail-address "ann@example.org"
      smtpmail-smtp-server "127.0.0.1"
      smtpmail-smtp-service bench-port
      smtpmail-stream-type 'starttls
      message-auto-save-directory nil
      nsm-settings-file (expand-file-name "network-security" "~")
      inhibit-message t
      gc-cons-threshold (* 512 1024 1024))

(when (eq bench-who 'submission)
  (submission-mode 1)
  (require 'submission-job)
  (submission-channel-open))            ; loading is not what is measured

(defun bench-print (what bytes seconds)
  "Print that WHAT took SECONDS for a message of BYTES."
  (princ (format "%s %s %d %f\n" bench-who what bytes seconds)))

(defun bench-fill (bytes)
  "Make this buffer a finished message of about BYTES."
  (set-buffer-multibyte nil)
  (insert "From: ann@example.org\nTo: bob@example.org\nSubject: Figures\n"
          "Message-ID: <" (format "%d.%s" (random) (float-time)) "@example.org>\n"
          mail-header-separator "\n")
  (let ((line (concat (make-string 75 ?x) "\n")))
    (dotimes (_ (/ bytes 76))
      (insert line))))

(defun bench-peak ()
  "Return the most memory that Emacs has had so far, in bytes, or nil."
  (with-temp-buffer
    (when (file-readable-p "/proc/self/status")
      ;; The file is Emacs's own: \"self\" is who reads it.
      (insert-file-contents "/proc/self/status")
      (and (re-search-forward "^VmHWM:\\s-*\\([0-9]+\\)" nil t)
           (* 1024 (string-to-number (match-string 1)))))))

(defun bench-submit (bytes)
  "Measure our own part with BYTES: the message file and the module's call."
  (with-temp-buffer
    (bench-fill bytes)
    (goto-char (point-min))
    (search-forward (concat mail-header-separator "\n"))
    (replace-match "\n")
    (garbage-collect)
    (let ((before (bench-peak)))
      (bench-print "submit" bytes
                   (car (benchmark-run 1 (submission-submit (current-buffer)))))
      (submission-wait 600)
      (when before
        (bench-print "memory" bytes (/ (- (bench-peak) before) 1048576.0))))))

(defun bench-send (bytes)
  "Measure with BYTES what C-c C-c calls once the message is encoded."
  (with-temp-buffer
    (bench-fill bytes)
    (garbage-collect)
    (bench-print "send" bytes (car (benchmark-run 1 (smtpmail-send-it))))
    (submission-wait 600)))

(dolist (bytes bench-sizes)
  (dotimes (_ bench-runs)
    ;; First, so that memory is not what smtpmail's copy has taken before.
    (when (eq bench-who 'submission)
      (bench-submit bytes))
    (bench-send bytes)))

;;; bench.el ends here
