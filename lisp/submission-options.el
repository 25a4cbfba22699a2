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

(defcustom submission-accounts nil
  "Accounts by the address in the From header, an alist; nil is none.
Each element is (WHO . SETTINGS), and the first that fits counts.  WHO is
an address; a domain, as \"@example.org\"; a regexp for the address, that
is a string with one of \\, [, ^, $ or * in it; or a function that is
called with the address and returns non-nil if it fits.  The address is
that of Resent-From, if there is one; where From names several, that of
Sender comes first, and then each of them.

SETTINGS is a plist with any of these:
:server         the server's name
:port           its port, or nil for the sequence
:user           the user name
:security       as in `submission-security'
:sequence       as in `submission-sequence'
:ssh-host       the host for a tunnel, as in `submission-ssh-host'
:ehlo-name      as in `submission-ehlo-name'
:envelope-from  the address that failures are reported to

What is left out is as without accounts, by smtpmail's variables and our
options; but with :server, the port and the user name are not taken from
smtpmail's variables.  A server that is named for one message, by an
X-Message-SMTP-Method header or `submission-submit', comes before all
this.  A message that waits keeps its settings when this is changed.
\\[submission-check] says what holds for the current buffer."
  :type '(alist
          :key-type (choice :tag "Who"
                            (string :tag "Address or @domain")
                            (regexp :tag "Regexp")
                            (function :tag "Function"))
          :value-type
          (plist
           :tag "Settings"
           :options
           ((:server (string :tag "Server"))
            (:port (choice :tag "Port" (const :tag "The sequence" nil)
                           (natnum :tag "Port")))
            (:user (choice :tag "User name" (const :tag "As in auth-source" nil)
                           (string :tag "Name")))
            (:security (choice
                        :tag "Security"
                        (const :tag "By the account" nil)
                        (const :tag "STARTTLS, verified" starttls)
                        (const :tag "STARTTLS if offered" opportunistic)
                        (const :tag "TLS from the start" tls)
                        (const :tag "No TLS (insecure)" plain)))
            (:sequence (choice
                        :tag "Sequence"
                        (const mew) (const ipv6-first) (const symmetric)
                        (repeat :tag "Steps"
                                (cons (choice (const ipv4) (const ipv6)
                                              (const any))
                                      (natnum :tag "Port")))))
            (:ssh-host (choice :tag "SSH host" (const :tag "No tunnel" nil)
                               (string :tag "Host")))
            (:ehlo-name (choice :tag "EHLO name"
                                (const :tag "The address" nil)
                                (string :tag "Host name")))
            (:envelope-from (string :tag "Envelope from")))))
  :risky t
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-file-copies 'accepted
  "When the copy that Fcc or Gcc asks for is filed.
`accepted' (the default): when a server has accepted the message, once,
even if that is in another Emacs; so what is in the folder was sent.
`queued': when the message is in the outbox, as the mail reader does it.

A copy that can't be filed is told and kept, and
\\[submission-copies-again] tries it again."
  :type '(choice (const :tag "When a server has accepted it" accepted)
                 (const :tag "When it is in the outbox" queued))
  :group 'submission
  :package-version '(submission . "0.1.0"))

(provide 'submission-options)

;;; submission-options.el ends here
