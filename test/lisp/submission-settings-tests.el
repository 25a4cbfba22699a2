;;; submission-settings-tests.el --- What a message is sent with -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Code:

(require 'ert)
(require 'submission-settings)

(defmacro submission-settings-tests--with (bindings &rest body)
  "Evaluate BODY with smtpmail's and our options at their defaults.
BINDINGS are made on top of that."
  (declare (indent 1))
  `(let ((smtpmail-smtp-server "mail.example.org")
         (smtpmail-smtp-service 25)
         (smtpmail-smtp-user nil)
         (smtpmail-stream-type nil)
         (submission-sequence 'mew)
         (submission-security nil))
     (let ,bindings ,@body)))

(defun submission-settings-tests--get (keys &rest plist)
  "Return the values of KEYS in the settings for PLIST."
  (let ((settings (submission-settings-get plist)))
    (mapcar (lambda (key) (plist-get settings key)) keys)))

(ert-deftest submission-settings-service ()
  "smtpmail's service and stream type are a port and a security."
  (pcase-dolist
      (`(,service ,type ,port ,security)
       '((nil nil 0 nil) (25 nil 0 nil) ("smtp" nil 0 nil) (587 nil 0 nil)
         ("587" nil 0 nil) ("submission" nil 0 nil) (465 nil 465 tls)
         ("465" nil 465 tls) ("submissions" nil 465 tls) ("smtps" nil 465 tls)
         (465 starttls 465 tls) (465 plain 465 tls)
         (2525 nil 2525 nil) ("2525" nil 2525 nil)
         (25 starttls 0 starttls) (25 plain 0 plain) (2525 plain 2525 plain)
         (nil ssl 465 tls) (25 ssl 465 tls) (587 tls 465 tls)
         (2525 tls 2525 tls)))
    (submission-settings-tests--with ((smtpmail-smtp-service service)
                                      (smtpmail-stream-type type))
      (ert-info ((format "%S %S" service type))
        (should (equal (submission-settings-tests--get '(:port :security))
                       (list port security)))))))

(ert-deftest submission-settings-ours-wins ()
  "What is set here wins over smtpmail, and a keyword over both."
  (submission-settings-tests--with ((smtpmail-stream-type 'plain)
                                    (submission-security 'starttls))
    (should (equal (submission-settings-tests--get '(:security)) '(starttls)))
    (should (equal (submission-settings-tests--get
                    '(:security) :security 'opportunistic)
                   '(opportunistic))))
  (submission-settings-tests--with ((smtpmail-smtp-service 2525)
                                    (submission-sequence 'symmetric))
    (should (equal (submission-settings-tests--get '(:port)) '(2525)))
    (should (equal (submission-settings-tests--get '(:port) :port nil) '(0)))
    (should (equal (submission-settings-tests--get '(:port) :port 587)
                   '(587)))
    (should (equal (submission-settings-tests--get
                    '(:port :sequence :steps) :sequence '((any . 10587)))
                   '(0 "" ((any . 10587))))))
  (submission-settings-tests--with ((submission-security 'tls))
    (should (equal (submission-settings-tests--get '(:port)) '(465)))
    (should (equal (submission-settings-tests--get '(:port) :port 10465)
                   '(10465)))))

(ert-deftest submission-settings-sequences ()
  (pcase-dolist (`(,sequence . ,steps)
                 '((mew (ipv4 . 587) (ipv4 . 25))
                   (ipv6-first (ipv6 . 587) (ipv4 . 587) (ipv4 . 25))
                   (symmetric (ipv6 . 587) (ipv4 . 587)
                              (ipv6 . 25) (ipv4 . 25))
                   (((any . 26)) (any . 26))))
    (should (equal (submission-settings-steps sequence) steps)))
  (dolist (bad '(nil foo "mew" ((ipv5 . 25)) ((ipv4 . 0)) ((ipv4 . 65536))
                     ((ipv4 . "25")) (ipv4 . 25) ((ipv4 . 25) . 3)))
    (ert-info ((format "%S" bad))
      (should-error (submission-settings-steps bad)
                    :type 'submission-settings-error))))

(ert-deftest submission-settings-bad-options ()
  "A setting that can't be used is an error that the user can mend."
  (dolist (binding '((smtpmail-smtp-server . nil) (smtpmail-smtp-server . "")
                     (smtpmail-smtp-service . "nntp")
                     (smtpmail-smtp-service . 0) (smtpmail-smtp-service . "0")
                     (smtpmail-smtp-service . 70000)
                     (smtpmail-stream-type . foo) (smtpmail-smtp-user . 3)
                     (submission-security . foo) (submission-sequence . foo)))
    (ert-info ((format "%S" binding))
      (submission-settings-tests--with ()
        (cl-progv (list (car binding)) (list (cdr binding))
          (let ((err (should-error (submission-settings-get nil)
                                   :type 'submission-error)))
            (should (memq 'user-error
                          (get (car err) 'error-conditions)))
            (should (string-search (symbol-name (car binding))
                                   (cadr err)))))))))

(ert-deftest submission-settings-hosts ()
  (pcase-dolist (`(,host . ,result)
                 '(("mail.example.org" . "mail.example.org")
                   ("mail.example.org." . "mail.example.org.")
                   ("localhost" . "localhost") ("mx_1.example" . "mx_1.example")
                   ("Bücher.example" . "xn--bcher-kva.example")
                   ("127.0.0.1" . "127.0.0.1") ("[127.0.0.1]" . "127.0.0.1")
                   ("::1" . "::1") ("[::1]" . "::1")
                   ("fe80::1%eth0" . "fe80::1%eth0")
                   ("2001:db8:0:0:0:0:0:1" . "2001:db8:0:0:0:0:0:1")
                   ("::ffff:192.0.2.1" . "::ffff:192.0.2.1")))
    (ert-info (host)
      (should (equal (submission-settings-host host) result))))
  (dolist (bad (list nil "" " " 3 "mail example" "mail.example:587" "a..b" "-a"
                     "a-" "http://mail.example" "user@mail.example" "1.2.3"
                     "1.2.3.256" "12345" "::1::2" ":::" "1:2:3" "[::1" "a\nb"
                     "a\0b" (make-string 64 ?a) (make-string 300 ?a)))
    (ert-info ((format "%S" bad))
      (should-error (submission-settings-host bad)
                    :type 'submission-settings-error))))

(ert-deftest submission-settings-addresses ()
  (pcase-dolist (`(,address . ,result)
                 `(("a@example.org" . "a@example.org")
                   ("A@example.org" . "A@example.org")
                   ("root" . "root") ("a@[127.0.0.1]" . "a@[127.0.0.1]")
                   ("\"a@b\"@example.org" . "\"a@b\"@example.org")
                   ("a@Bücher.example" . "a@xn--bcher-kva.example")
                   ("é@example.org" . "é@example.org")
                   ;; As it comes out of a buffer of encoded text.
                   (,(concat "a@b" (string-to-multibyte "\303\274")
                             "cher.example")
                    . "a@xn--bcher-kva.example")
                   ("a@b\303\274cher.example" . "a@xn--bcher-kva.example")))
    (ert-info (address)
      (should (equal (submission-settings-address address) result))))
  (dolist (bad '(nil 3 "" "@" "a@" "@b" "a b@example.org" "a@exam ple.org"
                     "a@b\r" "a@b\n" "a@b\nRCPT TO:<c@d>" "a\0@b" "<a@b>"
                     "a@b>" "a\t@b" "a\x7f@b" "a@\377.org"))
    (ert-info ((format "%S" bad))
      (should-error (submission-settings-address bad)
                    :type 'submission-envelope-error))))

(ert-deftest submission-settings-recipients-once ()
  "Equal recipients become one, and case matters."
  (should (equal (submission-settings-envelope
                  "a@b" '("c@d" "C@d" "c@d" "e@bücher.example"
                          "e@xn--bcher-kva.example"))
                 '("a@b" "c@d" "C@d" "e@xn--bcher-kva.example")))
  (should-error (submission-settings-envelope "a@b" nil)
                :type 'submission-envelope-error)
  (dolist (from '(nil ""))
    (should-error (submission-settings-envelope from '("a@b"))
                  :type 'submission-envelope-error)))

(defun submission-settings-tests--header (text)
  "Return the sender and the recipients that the message TEXT names."
  (with-temp-buffer
    (insert text)
    (let ((buffer (current-buffer)))
      (submission-settings-with-header buffer
        (cons (submission-settings-header-sender)
              (submission-settings-header-recipients))))))

(ert-deftest submission-settings-header ()
  (pcase-dolist
      (`(,header . ,envelope)
       '(("From: A B <a@b>\nTo: c@d,\n e@f\nCc: \"X, Y\" <g@h>\nBcc: i@j\n\nTo: k@l\n"
          "a@b" "c@d" "e@f" "g@h" "i@j")
         ("From: a@b (A B)\r\nTo: c@d\r\n\r\nCc: e@f\r\n" "a@b" "c@d")
         ("From: a@b\nTo: c@d\nTo: e@f\n" "a@b" "c@d" "e@f")
         ("From: a@b\nTo: c@d\nResent-To: e@f\nResent-Bcc: g@h\n\n"
          "a@b" "e@f" "g@h")
         ("From: a@b\nTo: Group one: c@d, E <e@f>;, g@h\n\n"
          "a@b" "c@d" "e@f" "g@h")
         ("From: a@b\nTo: undisclosed-recipients:;\nBcc: c@d\n\n" "a@b" "c@d")
         ("From: a@b\nTo: \"A: B\" <c@d>, x (see: y; z) <e@[IPv6:::1]>\n\n"
          "a@b" "c@d" "e@[IPv6:::1]")
         ("From: (c (d) e\\)) a@b\nTo: <@r1,@r2:c@d>, \"x>, y\"@e, f g@h, I <>\n"
          "a@b" "c@d" "\"x>, y\"@e" "f g@h" "")
         ("From: <a@b\nTo: \"c@d\n" "a@b" "\"c@d")
         ("Subject: none\n\nTo: a@b\n" nil)))
    (ert-info (header)
      (should (equal (submission-settings-tests--header header) envelope)))))

(ert-deftest submission-settings-json ()
  (submission-settings-tests--with ((submission-ehlo-name nil)
                                    (submission-tls-trust-files '("/a/b.pem"))
                                    (submission-connect-timeout 0.5)
                                    (submission-remember-fallback nil))
    (let ((json (submission-settings-json (submission-settings-get nil)
                                          'opportunistic "kazu")))
      (pcase-dolist (`(,key . ,value)
                     '((host . "mail.example.org") (port . 0)
                       (sequence-name . "mew") (security . "opportunistic")
                       (user . "kazu") (ehlo-name . "") (remember . "nil")
                       (trust-files . ["/a/b.pem"])
                       (allow-cleartext-auth . :false)
                       (keep-connection . 5) (chunking . t)
                       (sequence . [((family . "ipv4") (port . 587))
                                    ((family . "ipv4") (port . 25))])))
        (should (equal (alist-get key json) value)))
      (should (equal (alist-get 'timeouts json)
                     '((connect . 0.5) (tls . 30) (greeting . 300)
                       (command . 300) (data-initiation . 120)
                       (data-block . 180) (data . 600)))))
    (dolist (bad '(-1 4000 "10" nil))
      (let ((submission-keep-connection bad))
        (should-error (submission-settings-json (submission-settings-get nil)
                                                'starttls nil)
                      :type 'submission-settings-error)))
    (dolist (bad '(0 -1 "10" nil))
      (let ((submission-connect-timeout bad))
        (should-error (submission-settings-json (submission-settings-get nil)
                                                'starttls nil)
                      :type 'submission-settings-error)))))

;;; submission-settings-tests.el ends here
