;;; memory.el --- How much memory sending a message takes  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Prints by how much the most memory that Emacs has had grows while it sends
;; one message: that in the file BENCH-FILE, or where this is nil one of
;; BENCH-BYTES in a buffer.  memory.go starts this after sender.el.

;;; Code:

(defvar bench-bytes)
(defvar bench-file)
(declare-function submission-submit "submission" (message &rest plist))

(unless bench-file
  (bench-compose 1 bench-bytes))
(garbage-collect)
(let ((before (bench-peak)))
  (if bench-file
      (submission-submit bench-file)
    (bench-send))
  (bench-wait)
  (bench-print "memory" (- (bench-peak) before)))

;;; memory.el ends here
