;;; trips.el --- Messages whose round trips are counted  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Commentary:

;; Sends two messages for each number of recipients in BENCH-RECIPIENTS, one
;; after the other.  trips.go starts this after sender.el.  The server counts.

;;; Code:

(defvar bench-recipients)

(dolist (recipients bench-recipients)
  ;; Another name makes another connection.
  (setq submission-ehlo-name (format "bench%d.example.org" recipients))
  (dotimes (_ 2)
    (bench-compose recipients 1500)
    (bench-send)
    (bench-wait)))

;;; trips.el ends here
