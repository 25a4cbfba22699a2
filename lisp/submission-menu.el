;;; submission-menu.el --- A menu of the outbox -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; The menu of `submission-outbox', where transient is there.  This file
;; is only loaded when somebody asks for the menu.

;;; Code:

(require 'transient)
(require 'submission-outbox)

(transient-define-prefix submission-menu ()
  "Do something with messages in the outbox."
  [["Send"
    ("r" "now" submission-outbox-send)
    ("R" "all that is deferred" submission-outbox-send-all)
    ("h" "hold or release" submission-outbox-hold)
    ("a" "with another account" submission-outbox-account)]
   ["Change"
    ("e" "edit" submission-outbox-edit)
    ("k" "cancel" submission-outbox-cancel)
    ("d" "delete" submission-outbox-delete)
    ("i" "it arrived" submission-outbox-arrived)]
   ["Look"
    ("RET" "the whole story" submission-outbox-story)
    ("g" "read all anew" revert-buffer)
    ("m" "mark" submission-outbox-mark :transient t)
    ("u" "unmark" submission-outbox-unmark :transient t)
    ("U" "unmark all" submission-outbox-unmark-all)]])

(provide 'submission-menu)

;;; submission-menu.el ends here
