;;; submission-accounts-tests.el --- Tests of accounts and copies -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Code:

(require 'ert)
(require 'cus-edit)
(require 'submission)
(require 'submission-accounts)
(require 'submission-check)
(require 'submission-copies)

(defconst submission-accounts-tests--accounts
  '(("ann@example.org" :server "a.example.org" :user "ann" :port 2525)
    ("@example.org" :server "o.example.org")
    ("\\`.*@\\(lists\\|news\\)\\." :security tls)
    (submission-accounts-tests--long-p :sequence ipv6-first :ehlo-name "long.example"))
  "One account of each kind.")

(defun submission-accounts-tests--long-p (address)
  "Return non-nil if ADDRESS is long."
  (> (length address) 30))

(ert-deftest submission-accounts-find ()
  "The first account that fits counts."
  (let ((submission-accounts submission-accounts-tests--accounts))
    (pcase-dolist (`(,address . ,number)
                   '(("ann@example.org" . 0) ("Ann@Example.ORG" . 0)
                     ("joanna@example.org" . 1) ("ann@example.org.uk")
                     ("bob@sub.example.org") ("bob@lists.example.net" . 2)
                     ("somebody.with.a.long.name@example.net" . 3)
                     ("bob@example.net") ("ann") (nil)))
      (ert-info ((format "%s" address))
        (should (equal (submission-accounts-find address)
                       (and number
                            (nth number
                                 submission-accounts-tests--accounts))))))))

(ert-deftest submission-accounts-type ()
  "The type of the option takes what the manual shows."
  (should (widget-apply (widget-convert (get 'submission-accounts 'custom-type))
                        :match submission-accounts-tests--accounts))
  (dolist (bad '(("ann@example.org" . "a.example.org") "ann@example.org"))
    (should-not (widget-apply
                 (widget-convert (get 'submission-accounts 'custom-type))
                 :match (list bad)))))

(ert-deftest submission-accounts-bad ()
  "A setting that is not one is an error that names it."
  (let ((submission-accounts '(("a@b.c" :sever "x"))))
    (should (string-search ":sever"
                           (cadr (should-error
                                  (submission-accounts-find "a@b.c")
                                  :type 'submission-settings-error))))))

(ert-deftest submission-accounts-of ()
  "The account is that of who sends it."
  (let ((submission-accounts '(("work@example.org" :user "w")
                               ("@example.net" :user "n"))))
    (pcase-dolist (`(,header . ,user)
                   '(("From: Ann <work@example.org>" . "w")
                     ("From: bob@example.com (at), Ann <ann@example.net>" . "n")
                     ("From: ann@example.net, work@example.org" . "n")
                     ("From: ann@example.net, work@example.org\nSender: work@example.org" . "w")
                     ("From: ann@example.net\nSender: work@example.org" . "n")
                     ("From: carl@example.net\nResent-From: work@example.org" . "w")
                     ("From: carl@example.net\nResent-From: me@example.com")
                     ("Sender: work@example.org") ("Subject: x")))
      (ert-info (header)
        (with-temp-buffer
          (insert header "\n\nFrom: work@example.org\n")
          (should (equal (plist-get (cdr (submission-accounts-of
                                          (current-buffer) nil))
                                    :user)
                         user)))))))

(ert-deftest submission-accounts-plist ()
  "An account completes what was asked for, and does not override it."
  (let ((account (car submission-accounts-tests--accounts)))
    (should (equal (submission-accounts-plist account nil)
                   '(:host "a.example.org" :port 2525 :user "ann")))
    (should (equal (submission-accounts-plist account '(:user "x"))
                   '(:user "x" :host "a.example.org" :port 2525))))
  ;; A server of its own has neither the port nor the user of another.
  (should (equal (submission-accounts-plist
                  (nth 1 submission-accounts-tests--accounts) nil)
                 '(:host "o.example.org" :port nil :user nil)))
  (should (equal (submission-accounts-plist nil '(:port 1)) '(:port 1))))

(ert-deftest submission-accounts-chosen ()
  "A server that is named for one message comes before an account."
  (should-not (submission-accounts-chosen-p nil))
  (should (submission-accounts-chosen-p '(:host "x")))
  (let ((smtpmail-smtp-server "other.example.org"))
    (should (submission-accounts-chosen-p nil))))

(ert-deftest submission-copies-pack ()
  "A draft and a copy come back as they were."
  (let ((file (make-temp-file "submission"))
        (bytes "Subject: x\n\n\351 \303\251\n"))
    (unwind-protect
        (pcase-dolist (`(,draft ,copy)
                       `(("Grüße 😀\n" nil) (nil (:head ((way . "")) :bytes ,bytes))
                         ("d\n" (:head ((fcc . ["a" "b"]) (gcc . [])) :bytes ,bytes))))
          (let ((coding-system-for-write 'no-conversion))
            (write-region (submission-copies-pack '((mode . "m")) draft copy)
                          nil file nil 0))
          (when copy
            (submission-copies--log file "begin 1")
            (submission-copies--log file "done 1"))
          (let ((kept (submission-copies-unpack file)))
            (should (equal (plist-get kept :text) draft))
            (should (equal (plist-get kept :mode) "m"))
            (should (equal (plist-get (plist-get kept :copy) :bytes)
                           (and copy bytes)))
            (should (equal (plist-get (plist-get kept :copy) :log)
                           (and copy '("begin 1" "done 1"))))))
      (delete-file file))))

(ert-deftest submission-copies-there ()
  "After a crash it is seen whether the copy is in a folder."
  (let* ((directory (file-name-as-directory (make-temp-file "submission" t)))
         (copy (list :bytes "From: a\nMessage-ID: <one@example.org>\n\nx\n"
                     :way "" :directory directory))
         (before (time-subtract nil 60)))
    (unwind-protect
        (cl-flet ((there (folder &optional way since)
                    (submission-copies--there
                     (cons 'fcc folder)
                     (append (list :way (or way "")) copy) (or since before))))
          (should-not (there "box"))
          ;; An answer to it is not it.
          (write-region "From x\nReferences: <one@example.org>\n\nx\n" nil
                        (concat directory "box") nil 0)
          (should-not (there "box"))
          (should (eq (there "box" "my-function") 'unknown))
          (write-region (concat "From x\n" (plist-get copy :bytes)) nil
                        (concat directory "box") nil 0)
          (should (eq (there "box") t))
          (should (eq (there "box" "my-function") t))
          (should (eq (there "| cat") 'unknown))
          (dolist (name '("cur" "new" "tmp"))
            (make-directory (concat directory "dir/" name) t))
          (should-not (there "dir"))
          (write-region (plist-get copy :bytes) nil
                        (concat directory "dir/cur/1") nil 0)
          (should (eq (there "dir") t))
          ;; What is older was not filed just now.
          (should-not (there "dir" nil (time-add nil 60))))
      (delete-directory directory t))))

(ert-deftest submission-copies-text ()
  "A group that wants no attachments gets the second text."
  (let ((copy (list :bytes "with\303\244without" :coding ""
                    :lean '(:groups ("nnml:b") :coding "" :start 6))))
    (should (equal (submission-copies--text '(gcc . "nnml:b") copy) "without"))
    (dolist (target '((gcc . "nnml:a") (fcc . "nnml:b")))
      (should (equal (submission-copies--text target copy)
                     (string-to-multibyte "with\303\244"))))))

(ert-deftest submission-check ()
  "What would happen is said in words, and the password is not."
  (let* ((authinfo (make-temp-file "authinfo" nil nil
                                   "machine a.example.org login ann password s3cret\n"))
         (auth-sources (list authinfo))
         (auth-source-do-cache nil)
         (smtpmail-smtp-server "mail.example.net")
         (submission-accounts submission-accounts-tests--accounts)
         (user-mail-address "ann@example.org"))
    (set-default-toplevel-value 'smtpmail-smtp-server "mail.example.net")
    (unwind-protect
        (with-temp-buffer
          (let* ((check (submission-check))
                 (text (submission-check-text check)))
            (should (equal (plist-get check :server) "a.example.org"))
            (should (equal (plist-get check :user) "ann"))
            (should (equal (plist-get check :sequence) "port 2525 alone"))
            (should (eq (plist-get check :security) 'starttls))
            (dolist (part '("a.example.org" "auth-source" "STARTTLS" "submission-mode"))
              (should (string-search part text)))
            (should-not (string-search "s3cret" text)))
          (message-mode)
          (insert "From: bob@elsewhere.example\n")
          (let ((check (submission-check)))
            (should (equal (plist-get check :server) "mail.example.net"))
            (should (eq (plist-get check :security) 'opportunistic))
            (should (equal (plist-get check :sequence)
                           "587 over IPv4, then 25 over IPv4"))))
      (set-default-toplevel-value 'smtpmail-smtp-server nil)
      (delete-file authinfo))))

(ert-deftest submission-check-method ()
  "A server that is named for one message comes first."
  (let ((auth-sources nil)
        (submission-accounts '(("ann@example.org" :server "a.example.org"))))
    (with-temp-buffer
      (message-mode)
      (insert "From: ann@example.org\n" mail-header-separator "\n"
              "X-Message-SMTP-Method: smtp no.example.org 25\n")
      (should (equal (plist-get (submission-check) :server) "a.example.org"))
      (goto-char (point-min))
      (insert "X-Message-SMTP-Method: smtp m.example.org 465 kazu\n")
      (let ((check (submission-check)))
        (should (equal (plist-get check :server) "m.example.org"))
        (should (equal (plist-get check :user) "kazu"))
        (should (eq (plist-get check :security) 'tls)))
      (when (boundp 'message-server-alist)
        (erase-buffer)
        (insert "From: ann@example.org\n" mail-header-separator "\n")
        (let ((message-server-alist
               '(("ann@example.org" . "smtp l.example.org 2525"))))
          (should (equal (plist-get (submission-check) :server)
                         "l.example.org"))
          (should-not (message-fetch-field "X-Message-SMTP-Method")))))))

(ert-deftest submission-check-way ()
  "It is told who sends the mail of a buffer."
  (with-temp-buffer
    (message-mode)
    (pcase-dolist (`(,mode ,message ,send . ,words)
                   '((nil smtpmail-send-it smtpmail-send-it "turn on")
                     (nil submission-send-it smtpmail-send-it)
                     (t smtpmail-send-it sendmail-send-it)
                     (t message-smtpmail-send-it sendmail-send-it)
                     (t message--default-send-mail-function smtpmail-send-it)
                     (t message--default-send-mail-function sendmail-send-it
                        "sendmail-send-it" "not submission")
                     (t message-send-mail-with-sendmail smtpmail-send-it
                        "message-send-mail-function")
                     (t my-function smtpmail-send-it "my-function" "only if")))
      (ert-info ((format "%s" (list mode message send)))
        (let* ((submission-mode mode)
               (message-send-mail-function message)
               (send-mail-function send)
               (way (submission-check--way nil)))
          (should (eq (null words) (null way)))
          (dolist (word words)
            (should (string-search word way))))))))

;;; submission-accounts-tests.el ends here
