;;; submission-security.el --- Options of TLS, AUTH and tunnels -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; The options that decide how a connection is protected, who we say we
;; are, and which way it goes.  submission.el loads this file.

;;; Code:

;;;; TLS

(defcustom submission-security nil
  "How connections are protected.
nil (the default): as `smtpmail-stream-type' says if that is set;
otherwise `starttls' where a user name is set or auth-source has an
entry for the server, and else `opportunistic'.
`starttls': STARTTLS with a verified certificate, or the message is
held.
`opportunistic': STARTTLS if the server offers it, with any
certificate.  Someone on the way can read the mail.  No password is
sent unless the certificate was verified.
`tls': TLS from the start, on port 465 unless the server has another
port.
`plain': no TLS.  Everyone on the way can read the mail."
  :type '(choice
          (const :tag "By the account" nil)
          (const :tag "STARTTLS, verified" starttls)
          (const :tag "STARTTLS if offered" opportunistic)
          (const :tag "TLS from the start (port 465)" tls)
          (const :tag "No TLS (insecure)" plain))
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-tls-trust-files t
  "Files with certificates that are trusted as roots, in PEM format.
t (the default) is what the function `gnutls-trustfiles' returns; a
list of files is used instead of that.  The roots of the system are
always trusted.  Whoever can write one of these files can read your
mail and password."
  :type '(choice (const :tag "Those of GnuTLS" t)
                 (repeat :tag "Files" file))
  :risky t
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-pins-file
  (locate-user-emacs-file "submission/pins.json")
  "The file with the certificates that you have accepted.
Each is kept as its fingerprint and good for one server;
`submission-certificates' lists them.  Whoever can write this file can
read your mail and password.  Default: submission/pins.json in
`user-emacs-directory'."
  :type 'file
  :risky t
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-tls-client-certificate t
  "The certificate that is shown to a server that asks for one.
t (the default) shows what auth-source has for the server as :cert and
:key, as smtpmail does; without these, none.  A list (KEY CERTIFICATE)
of files in PEM format is shown to every server that asks.  nil shows
none.  Only a server whose own certificate is good sees it."
  :type '(choice (const :tag "As in auth-source" t)
                 (const :tag "None" nil)
                 (list :tag "Files" (file :tag "Key")
                       (file :tag "Certificate")))
  :risky t
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-require-tls nil
  "Whether every server on the way must use TLS (REQUIRETLS, RFC 8689).
nil (the default) doesn't ask for it.  With any other value a message
is held if the server doesn't promise it, and returned if a later one
doesn't; few servers know it."
  :type 'boolean
  :group 'submission
  :package-version '(submission . "0.1.0"))

;;;; AUTH

(defcustom submission-auth-mechanisms nil
  "The mechanisms of AUTH that may be used, in order of preference.
nil (the default) uses the best that the server offers and that there is
something to show for.  A list of names uses only these.  Where it has
OAUTHBEARER or XOAUTH2, the secret in auth-source is taken for a bearer
token as well.  An entry in auth-source that has `smtp-auth' names the
one mechanism for its server, whatever stands here.

What reveals the password or token goes only through verified TLS, see
`submission-allow-cleartext-auth'."
  :type '(choice
          (const :tag "The best" nil)
          (repeat :tag "These"
                  (choice (const "EXTERNAL")
                          (const "SCRAM-SHA-256-PLUS")
                          (const "SCRAM-SHA-256")
                          (const "SCRAM-SHA-1")
                          (const "OAUTHBEARER")
                          (const "XOAUTH2")
                          (const "CRAM-MD5")
                          (const "PLAIN")
                          (const "LOGIN"))))
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-oauth2-token-function nil
  "Function that returns a bearer token (OAuth 2.0), or nil.
It is called with three arguments when a message is sent, and again when
the server refuses the token: the server's name, the user name
\(`smtpmail-smtp-user', or that of the entry in auth-source), and the
token that was refused or nil.  With the latter it should get a new one.
It returns the token as a string, or nil for a server that it has none
for; then auth-source is asked.  Emacs waits for it, so it should be
quick."
  :type '(choice (const :tag "None" nil) function)
  :risky t
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-allow-cleartext-auth nil
  "Whether passwords may be sent over the network without TLS.
nil (the default) allows that only to this machine.  Any other value
lets everyone on the way to the server read the password, and matters
only where `submission-security' is `plain'."
  :type 'boolean
  :risky t
  :group 'submission
  :package-version '(submission . "0.1.0"))

;;;; Which way

(defcustom submission-ssh-host nil
  "The host that an SSH tunnel to the mail server goes through, or nil.
nil (the default) makes no tunnel.  A string is a host as ssh takes it,
also one from your ~/.ssh/config.  An alist of mail servers and such
hosts makes tunnels to these servers only.

The tunnel takes all ports of the sequence, and TLS works as without it.
ssh must get in without asking: with a key that has no passphrase or is
in an agent, and a host key that it knows."
  :type '(choice (const :tag "No tunnel" nil)
                 (string :tag "Host")
                 (alist :key-type (string :tag "Mail server")
                        :value-type (string :tag "Host")))
  :risky t
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-ssh-program "ssh"
  "The program that makes tunnels (default \"ssh\").
It takes the options of OpenSSH."
  :type 'string
  :risky t
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-ssh-timeout 30
  "Seconds until an SSH tunnel must be there (default 30)."
  :type 'number
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-ssh-idle-timeout 60
  "Seconds that an SSH tunnel is kept after it was last needed (default 60)."
  :type 'number
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-proxy nil
  "The SOCKS5 proxy that connections go through, or nil.
nil (the default) uses none.  A string such as
\"socks5://localhost:9050\" (Tor) names it.  An alist of mail servers
and such strings uses proxies for these servers only.  The proxy looks
up the server's name; this machine doesn't."
  :type '(choice (const :tag "None" nil)
                 (string :tag "Proxy")
                 (alist :key-type (string :tag "Mail server")
                        :value-type (string :tag "Proxy")))
  :risky t
  :group 'submission
  :package-version '(submission . "0.1.0"))

;;;; What else to ask of a server, and what to show

(defcustom submission-dsn-notify nil
  "What the servers on the way are to report (DSN, RFC 3461).
nil (the default) leaves that to them, which mostly means failures.
`never' asks for no reports.  A list of `success', `failure' and `delay'
asks for reports of these.  A server that doesn't offer DSN isn't
asked."
  :type '(choice (const :tag "As the servers do" nil)
                 (const :tag "Never" never)
                 (set :tag "These"
                      (const :tag "Delivery" success)
                      (const :tag "Failure" failure)
                      (const :tag "Delay" delay)))
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defcustom submission-transcript nil
  "Whether to keep the dialogue with the server, for each message.
nil (the default) doesn't.  Any other value shows it in a buffer
*submission transcript ID*, with passwords and tokens blotted out."
  :type 'boolean
  :group 'submission
  :package-version '(submission . "0.1.0"))

(provide 'submission-security)

;;; submission-security.el ends here
