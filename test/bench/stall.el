;;; stall.el --- How long sending a message keeps Emacs  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Prints for each size of BENCH-SIZES how long the command that sends took, and
;; for how long Emacs didn't listen until the message was sent: of a first
;; message of the least size, and of several, BENCH-RUNS says how many of the
;; others.  Messages of more than BENCH-PATIENCE are not waited for.  stall.go
;; starts this after sender.el.

;;; Code:

(defvar bench-sizes)
(defvar bench-runs)
(defvar bench-patience)

(defun bench-stall (name bytes)
  "Measure with a message of BYTES, and print under NAME."
  (bench-compose 1 bytes)
  (let ((buffer (current-buffer))
        (waits (<= bytes bench-patience)))
    (garbage-collect)
    (bench-watch (when waits (bench-wait))
      (bench-print (format "command-%s" name)
                   (car (benchmark-run 1 (bench-send)))))
    (when waits
      (bench-print (format "total-%s" name) bench-total))
    (when (buffer-live-p buffer)
      (with-current-buffer buffer (set-buffer-modified-p nil))
      (kill-buffer buffer))))

(bench-stall "first" (car bench-sizes))
(dolist (bytes bench-sizes)
  (dotimes (_ (if (eq bytes (car bench-sizes)) 3 bench-runs))
    (bench-stall bytes bytes)))

(kill-emacs)                            ; which doesn't wait either

;;; stall.el ends here
