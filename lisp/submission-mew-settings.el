;;; submission-mew-settings.el --- What Mew sends with -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; The settings of a case, read through Mew's own functions, as the module
;; has them.  Options of ours that Mew has nothing for hold as well.

;;; Code:

(require 'gnutls)
(require 'submission)
(require 'submission-settings)

(declare-function mew-*-to-string "ext:mew-net" (any) t)
(declare-function mew-gnutls-p "ext:mew-gnutls" (type) t)
(declare-function mew-serv-to-port "ext:mew-net" (serv) t)
(declare-function mew-smtp-auth-list "ext:mew-config" (case) t)
(declare-function mew-smtp-helo-domain "ext:mew-config" (case) t)
(declare-function mew-smtp-port "ext:mew-config" (case) t)
(declare-function mew-smtp-server "ext:mew-config" (case) t)
(declare-function mew-smtp-ssh-server "ext:mew-config" (case) t)
(declare-function mew-smtp-ssl "ext:mew-config" (case) t)
(declare-function mew-smtp-ssl-port "ext:mew-config" (case) t)
(declare-function mew-smtp-user "ext:mew-config" (case) t)
(declare-function mew-ssl-cert-directory "ext:mew-config" (case) t)
(declare-function mew-ssl-client-keycert-list "ext:mew-config" (case) t)
(declare-function mew-ssl-proxy-server "ext:mew-config" (case) t)
(declare-function mew-ssl-trustfiles "ext:mew-config" (case) t)
(declare-function mew-ssl-verify-level "ext:mew-config" (case) t)
(declare-function mew-use-smtp-auth "ext:mew-config" (case) t)

(defvar mew-smtp-submission-family)
(defvar mew-smtp-submission-timeout)
(defvar mew-use-submission)

(defcustom submission-mew-tls t
  "Whether Mew's TLS is done by us.
t (the default) does it: `mew-smtp-ssl' and `mew-smtp-ssl-port' mean what
they mean in Mew, on the same ports, and stunnel is not needed.  The
server's certificate must be good, or one that you have accepted, even
where `mew-ssl-verify-level' asks for less.  Where that is 3 for stunnel,
the connection is left to stunnel.
nil leaves all connections with TLS to Mew's own code."
  :type 'boolean
  :group 'submission
  :package-version '(submission . "0.1.0"))

(defconst submission-mew-settings--linger 5
  "Seconds for which a connection waits for the next message of a flush.")

(defun submission-mew-settings-foreign (case)
  "Return why the settings of CASE are left to Mew's own code, or nil."
  (let ((port (mew-smtp-port case)))
    (cond ((mew-smtp-ssh-server case) "an SSH server is set")
          ((and (stringp port) (string-prefix-p "/" port))
           "the port is a unix socket")
          ((null (mew-smtp-ssl case)) nil)
          ((not submission-mew-tls) "`submission-mew-tls' is nil")
          ((and (fboundp 'mew-ssl-proxy-server) (mew-ssl-proxy-server case))
           "a TLS proxy is set")
          ((and (eql (mew-ssl-verify-level case) 3)
                (not (and (fboundp 'mew-gnutls-p)
                          (mew-gnutls-p (mew-smtp-ssl case)))))
           ;; We would take what a known issuer vouches for.
           "`mew-ssl-verify-level' is 3"))))

(defun submission-mew-settings--port (port)
  "Return the number of PORT, which is as Mew has it."
  (let ((number (and (or (stringp port) (integerp port))
                     (mew-serv-to-port (mew-*-to-string port)))))
    (unless (and (integerp number) (<= 1 number 65535))
      (signal 'submission-settings-error
              (list (format-message "`%s' is not a port; set `mew-smtp-port' \
or `mew-smtp-ssl-port'"
                                    port))))
    number))

(defun submission-mew-settings--security (case)
  "Return the security that CASE asks for: `plain', `starttls' or `tls'."
  (cond ((null (mew-smtp-ssl case)) 'plain)
        ((= (submission-mew-settings--port (mew-smtp-port case))
            (submission-mew-settings--port (mew-smtp-ssl-port case)))
         'starttls)
        (t 'tls)))

(defun submission-mew-settings--fallback-p (case)
  "Return non-nil if CASE asks for port 587 and then port 25.
In Mew 6.8 that is `mew-use-submission' with the port \"smtp\".  Mew 6.11
has no such variable, and the port \"submission\" by default: that asks
for it, unless the user has set the variable to nil."
  (let ((port (mew-*-to-string (mew-smtp-port case)))
        ;; The variables of old may be set in an init file of today.
        (old (fboundp 'mew-smtp-submission-timeout)))
    (and (or (not (boundp 'mew-use-submission)) mew-use-submission)
         (or (and (equal port "smtp") (boundp 'mew-use-submission))
             (and (not old) (member port '("submission" "587")))))))

(defun submission-mew-settings--steps (case security)
  "Return a list of the port of CASE with SECURITY, and its sequence.
That is (PORT NAME . STEPS), with the port 0 where the sequence counts;
its name may be empty."
  (let ((family (if (boundp 'mew-smtp-submission-family)
                    mew-smtp-submission-family
                  'ipv4)))
    (cond ((eq security 'tls)
           `(,(submission-mew-settings--port (mew-smtp-ssl-port case)) ""))
          ((not (submission-mew-settings--fallback-p case))
           `(,(submission-mew-settings--port (mew-smtp-port case)) ""))
          ((not (eq submission-sequence 'mew))
           `(0 ,(if (symbolp submission-sequence)
                    (symbol-name submission-sequence)
                  "")
               ,@(submission-settings-steps submission-sequence)))
          ((eq family 'ipv4)
           `(0 "mew" ,@(submission-settings-steps 'mew)))
          (t
           `(0 "" (,(if (eq family 'ipv6) 'ipv6 'any) . 587) (any . 25))))))

(defun submission-mew-settings--trust-files (case)
  "Return the files with roots that are trusted in CASE.
In a directory of Mew's they are named after their hash, as OpenSSL and
stunnel want it.  Those of the system need not be listed."
  (let ((directory (mew-ssl-cert-directory case)))
    (append (if (eq submission-tls-trust-files t)
                (gnutls-trustfiles)
              submission-tls-trust-files)
            (and (fboundp 'mew-ssl-trustfiles) (mew-ssl-trustfiles case))
            (and directory (file-directory-p directory)
                 (not (file-equal-p directory "/etc/ssl/certs"))
                 (directory-files directory t
                                  "\\`[0-9a-fA-F]\\{8\\}\\.[0-9]+\\'")))))

(defun submission-mew-settings--client-certificate (case)
  "Return what `submission-tls-client-certificate' is for CASE."
  (let ((pair (and (fboundp 'mew-ssl-client-keycert-list)
                   (car (mew-ssl-client-keycert-list case)))))
    (if (consp pair)
        (list (car pair) (cadr pair))
      submission-tls-client-certificate)))

(defun submission-mew-settings (case)
  "Return the settings of CASE, for `json-serialize'."
  (pcase-let* ((security (submission-mew-settings--security case))
               (server (mew-smtp-server case))
               (`(,port ,name . ,steps)
                (submission-mew-settings--steps case security))
               (auth (mew-use-smtp-auth case))
               (submission-ehlo-name (mew-smtp-helo-domain case))
               (submission-connect-timeout
                (if (boundp 'mew-smtp-submission-timeout)
                    mew-smtp-submission-timeout
                  submission-connect-timeout))
               (submission-tls-trust-files
                (submission-mew-settings--trust-files case))
               (submission-tls-client-certificate
                (submission-mew-settings--client-certificate case))
               (submission-auth-mechanisms nil)
               (settings (submission-settings-json
                          (list :host (submission-settings-host server)
                                :name server :port port :steps steps
                                :sequence name)
                          security nil)))
    ;; What the first place of a key says counts.
    `((auth-mechanisms . ,(vconcat (mapcar #'upcase (mew-smtp-auth-list case))))
      (ask-when-offered . ,(if auth t :false))
      (keep-connection . ,submission-mew-settings--linger)
      ;; The module has one connection for what has the same settings, and
      ;; Mew says who we are only when it is asked for the password.
      (mew-account . ,(format "%s %s" case (mew-smtp-user case)))
      (refresh-date . :false)
      ,@(cl-remove-if (lambda (pair)
                        (memq (car pair) '(auth-mechanisms refresh-date)))
                      settings))))

(defun submission-mew-settings-port-name (case settings port)
  "Return Mew's name of PORT, a number, where SETTINGS of CASE are used.
It is what Mew's log and the tags of its passwords have.  With nil,
return what Mew would try first."
  (let* ((security (alist-get 'security settings))
         (native (fboundp 'mew-smtp-set-secure))
         (sequence (eql (alist-get 'port settings) 0))
         ;; Mew 6.11 goes by this one with TLS, too.
         (own (mew-*-to-string (if (or native (equal security "plain"))
                                   (mew-smtp-port case)
                                 (mew-smtp-ssl-port case)))))
    (cond ((not sequence) own)
          ((null port) (if native own "submission"))
          ((= port (mew-serv-to-port own)) own)
          ((= port 587) "submission")
          ((= port 25) "smtp")
          (t (number-to-string port)))))

(provide 'submission-mew-settings)

;;; submission-mew-settings.el ends here
