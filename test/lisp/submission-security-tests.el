;;; submission-security-tests.el --- TLS, AUTH and tunnels -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Code:

(require 'ert)
(require 'submission-auth)
(require 'submission-certificate)
(require 'submission-settings)
(require 'submission-transcript)
(require 'submission-tunnel)

;;;; Settings

(defun submission-security-tests--json (key &optional token)
  "Return what the settings for mail.example.org have as KEY.
TOKEN is what auth-source has."
  (let ((submission-pins-file "/nonexistent/pins.json")
        (smtpmail-stream-type nil)
        (smtpmail-smtp-user nil)
        (smtpmail-smtp-service nil))
    (alist-get key (submission-settings-json
                    (submission-settings-get '(:host "mail.example.org"))
                    'starttls nil token))))

(ert-deftest submission-security-mechanisms ()
  (pcase-dolist (`(,option ,own . ,names)
                 '((nil nil . [])
                   (("xoauth2" "PLAIN") nil . ["XOAUTH2" "PLAIN"])
                   (("PLAIN") "cram-md5" . ["CRAM-MD5"])))
    (let ((submission-auth-mechanisms option))
      (should (equal names (submission-security-tests--json
                            'auth-mechanisms (list :smtp-auth own))))))
  (dolist (bad '("PLAIN" ("GSSAPI") (plain) ("PLAIN" . "LOGIN")))
    (let ((submission-auth-mechanisms bad))
      (should-error (submission-security-tests--json 'auth-mechanisms)
                    :type 'submission-settings-error))))

(ert-deftest submission-security-ssh-host ()
  (pcase-dolist (`(,option . ,host)
                 '((nil . "") ("hop" . "hop") ("ann@hop" . "ann@hop")
                   ((("mail.example.org" . "hop")) . "hop")
                   ((("MAIL.example.org" . "hop")) . "hop")
                   ((("mail.example.com" . "hop")) . "")))
    (let ((submission-ssh-host option))
      (should (equal host (submission-security-tests--json 'ssh-host)))))
  (dolist (bad '("-oProxyCommand=x" "hop -v" "hop\n" hop 3 "h\0p"))
    (let ((submission-ssh-host bad))
      (should-error (submission-security-tests--json 'ssh-host)
                    :type 'submission-settings-error))))

(ert-deftest submission-security-proxy ()
  (dolist (good '("socks5://localhost:9050" "socks5h://proxy" "socks5://[::1]:1080"
                  "socks5://127.0.0.1:1080/"))
    (let ((submission-proxy good))
      (should (equal good (submission-security-tests--json 'proxy)))))
  ;; A password would be written to the outbox.
  (dolist (bad '("localhost:9050" "http://proxy:80" "socks5://u:p@proxy" "socks5://"
                 "socks5://a b" proxy))
    (let ((submission-proxy bad))
      (should-error (submission-security-tests--json 'proxy)
                    :type 'submission-settings-error)))
  (let ((submission-proxy "socks5://proxy")
        (submission-ssh-host "hop"))
    (should-error (submission-security-tests--json 'proxy)
                  :type 'submission-settings-error)))

(ert-deftest submission-security-dsn ()
  (pcase-dolist (`(,option . ,words)
                 '((nil . []) (never . ["NEVER"])
                   ((success delay) . ["SUCCESS" "DELAY"])))
    (let ((submission-dsn-notify option))
      (should (equal words (alist-get 'notify (submission-security-tests--json
                                               'dsn))))))
  (dolist (bad '((never) success "FAILURE" (sometimes)))
    (let ((submission-dsn-notify bad))
      (should-error (submission-security-tests--json 'dsn)
                    :type 'submission-settings-error))))

(ert-deftest submission-security-client-certificate ()
  (let* ((file (make-temp-file "key"))
         (pair (lambda (option &optional token)
                 (let ((submission-tls-client-certificate option))
                   (let ((json (submission-security-tests--json
                                'client-certificate token)))
                     (list (alist-get 'key json)
                           (alist-get 'certificate json)))))))
    (unwind-protect
        (progn
          (should (equal (funcall pair t) '("" "")))
          (should (equal (funcall pair t (list :key file :cert file))
                         (list file file)))
          (should (equal (funcall pair t (list :key file :cert "/nonexistent"))
                         '("" "")))
          (should (equal (funcall pair nil (list :key file :cert file))
                         '("" "")))
          (should (equal (funcall pair (list file file)) (list file file)))
          (dolist (bad (list (list file "/nonexistent") (list file) file 'yes))
            (should-error (funcall pair bad) :type 'submission-settings-error)))
      (delete-file file))))

;;;; Bearer tokens

(defun submission-security-tests--secret (mechanisms token)
  "Return what the module gets of TOKEN for an account with MECHANISMS."
  (submission-auth-secret
   (submission-auth--mark-bearer (list :mechanisms mechanisms) token)))

(ert-deftest submission-security-bearer ()
  (let* ((calls 0)
         (token (list :user "u" :secret (lambda ()
                                          (setq calls (1+ calls))
                                          (format "t%d" calls)))))
    (should (equal (submission-security-tests--secret '("XOAUTH2") token)
                   '((user . "u") (token . "t1"))))
    ;; Each look-up has a new one.
    (should (equal (submission-security-tests--secret '("OAUTHBEARER") token)
                   '((user . "u") (token . "t2"))))
    (should (equal (submission-security-tests--secret '("PLAIN" "XOAUTH2") token)
                   '((user . "u") (token . "t3") (password . "t3"))))
    (should (equal (submission-security-tests--secret
                    '("PLAIN") (append '(:smtp-auth "xoauth2") token))
                   '((user . "u") (token . "t4"))))
    (should (equal (submission-security-tests--secret nil token)
                   '((user . "u") (password . "t5"))))
    (should-not (submission-security-tests--secret
                 '("XOAUTH2") '(:user "u" :secret nil)))))

;;;; Pins

(defmacro submission-security-tests--with-pins (text &rest body)
  "Evaluate BODY with a file of pins that has TEXT, or none if that is nil."
  (declare (indent 1))
  `(let* ((directory (make-temp-file "pins" t))
          (submission-directory (expand-file-name "outbox/" directory))
          (submission-pins-file (expand-file-name "new/pins.json" directory))
          (inhibit-message t))
     (unwind-protect
         (progn
           (when ,text
             (make-directory (file-name-directory submission-pins-file) t)
             (write-region ,text nil submission-pins-file nil 'silent))
           ,@body)
       (delete-directory directory t))))

(defconst submission-security-tests--fingerprint (make-string 64 ?a))

(ert-deftest submission-security-pins ()
  (submission-security-tests--with-pins nil
    (should-not (submission-certificate-pins "mail.example.org"))
    (should-error (submission-certificate-accept "mail.example.org" "aa")
                  :type 'submission-settings-error)
    (should-not (submission-certificate-pins "mail.example.org"))
    (should-not (submission-certificate-accept
                 "mail.example.org" submission-security-tests--fingerprint t))
    (should-not (submission-certificate-pins "mail.example.org"))
    (should-not (submission-certificate-accept
                 "mail.example.org"
                 (upcase (submission-certificate--fingerprint
                          submission-security-tests--fingerprint))))
    (should (equal (submission-certificate-pins "MAIL.example.org")
                   (list submission-security-tests--fingerprint)))
    (should-not (submission-certificate-pins "mail.example.com"))
    (should (= #o600 (file-modes submission-pins-file)))
    ;; A new one comes in place of the old one.
    (submission-certificate-accept "mail.example.com" (make-string 64 ?b))
    (submission-certificate-accept "mail.example.org" (make-string 64 ?c))
    (should (equal (submission-certificate-pins "mail.example.org")
                   (list (make-string 64 ?c))))
    (submission-certificate-forget "mail.example.org")
    (should-not (submission-certificate-pins "mail.example.org"))
    (should (submission-certificate-pins "mail.example.com"))
    (should (equal '("pins.json")
                   (directory-files (file-name-directory submission-pins-file)
                                    nil directory-files-no-dot-files-regexp)))))

(ert-deftest submission-security-bad-pins ()
  "A file that is damaged makes nobody trusted."
  (dolist (text '("" "{" "[]" "{\"pins\":3}" "{\"pins\":[3]}" "\0"
                  "{\"pins\":[{\"host\":\"mail.example.org\"}]}"
                  "{\"pins\":[{\"host\":\"mail.example.org\",\"fingerprint\":3}]}"
                  "{\"pins\":[{\"host\":\"mail.example.org\",\"fingerprint\":\"\"}]}"))
    (ert-info (text)
      (submission-security-tests--with-pins text
        (should-not (submission-certificate-pins "mail.example.org"))))))

(ert-deftest submission-security-certificate-text ()
  (let ((text (submission-certificate-text
               (list :host "mail.example.org"
                     :problems '("name" "expired" "changed" "something new")
                     :subject "CN=other" :names '("a.example" "b.example")
                     :issuer "CN=issuer" :not-before "2026-01-01T00:00:00Z"
                     :not-after "2026-02-01T00:00:00Z"
                     :fingerprint (make-string 64 ?a)
                     :pins (list (make-string 64 ?b))))))
    (dolist (part '("mail.example.org" "CN=other" "a.example, b.example"
                    "CN=issuer" "2026-01-01" "2026-02-01" "AA:AA" "BB:BB"
                    "NOT the one" "Its time is over"))
      (should (string-search part text)))))

;;;; Tunnels and transcripts

(ert-deftest submission-security-tunnel-command ()
  (let* ((submission-ssh-program "ssh")
         (command (submission-tunnel--command '("hop" "::1" 587 25) '(1001 1002))))
    (should (equal (last command 6)
                   '("-L" "127.0.0.1:1001:[::1]:587"
                     "-L" "127.0.0.1:1002:[::1]:25" "--" "hop")))
    (should (member "BatchMode=yes" command))))

(ert-deftest submission-security-free-ports ()
  (let ((ports (submission-tunnel--free-ports 3)))
    (should (= 3 (length (delete-dups (copy-sequence ports)))))
    (should (cl-every (lambda (port) (< 0 port 65536)) ports))))

(ert-deftest submission-security-transcript-is-bounded ()
  (let ((submission-transcript--size 2000))
    (unwind-protect
        (with-current-buffer (submission-transcript--buffer "test")
          (dotimes (n 100)
            (submission-transcript-line
             (list :id "test" :client (cl-evenp n)
                   :line (format "line %d\n\e%s" n (make-string 50 ?x)))))
          (should (< (buffer-size) 2200))
          (should (string-search "S: line 99" (buffer-string)))
          (should-not (string-search "\e" (buffer-string))))
      (kill-buffer (submission-transcript--buffer "test")))))

;;; submission-security-tests.el ends here
