;;; submission-options.el --- Options of the outbox -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; How messages wait, how the user learns of them, and what happens when
;; Emacs ends.  What a message is sent with is in submission.el.

;;; Code:

(defcustom submission-retry-minutes '(1 5 15 30 60)
  "Minutes after which a message that is deferred is tried again.
The first number is the wait after the first try, and so on; the last
one holds for all further tries.  Default: 1, 5, 15, 30 and then every
60.  A change of network or \\[submission-outbox-send-all] tries at once.
Short waits trouble the server, and some answer with longer ones."
  :type '(repeat number)
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-delay 0
  "Seconds between the sending command and the first try (default 0).
In the meantime \\[submission-undo] brings the draft back.  The message
is in the outbox from the start; should Emacs end, it is sent when Emacs
runs again.  This is for mail that is sent from a mail buffer, and not
for `submission-submit'."
  :type 'number
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-refresh-date nil
  "Whether a message that is sent late gets a new Date header.
nil (the default) leaves the Date as it was when the message was
written.  Any other value renews it just before the message is sent, if
it is more than a minute off, and only until a server has asked for the
message for the first time.  The Message-ID stays."
  :type 'boolean
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-notify t
  "Whether the desktop is told about messages, where there is D-Bus.
t (the default): those that need a person, as they are held, refused or
uncertain, or as a recipient was refused.
`all': those, and each message that was accepted.
nil: none."
  :type '(choice (const :tag "What needs a person" t)
                 (const :tag "Also what was accepted" all)
                 (const :tag "Nothing" nil))
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-exit-wait 5
  "Seconds for which Emacs waits for its mail when it ends (default 5).
That is in batch, and when a signal ends Emacs; otherwise you are asked.
What is not sent by then stays in the outbox for the next time.  What
had been sent but for the server's answer is uncertain then, so a very
short time makes that more likely."
  :type 'number
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-log-file (locate-user-emacs-file "submission/log")
  "A file with a line for each message that left the outbox, or nil.
Default: submission/log in `user-emacs-directory'.  Each line has, with
tabs between them: the time (UTC), `accepted' or `cancelled', the id,
the Message-ID, the account, the recipients, the server, the port and
the server's reply.  Whoever can read this file knows whom you wrote to;
it is made with mode 0600."
  :type '(choice (const :tag "No log" nil) file)
  :group 'submission
  :package-version '(submission . "0.1.0"))

(provide 'submission-options)

;;; submission-options.el ends here
