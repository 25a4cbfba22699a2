;;; submission-job-tests.el --- The life of a message, and the mode -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Code:

(require 'ert)
(require 'message)
(require 'smtpmail)
(require 'submission-job)

(defvar submission-job-tests--calls nil
  "What the module was called with, newest first.")

(defmacro submission-job-tests--with (bindings &rest body)
  "Evaluate BODY with a module that only notes what it is called with.
The outbox is a new directory; BINDINGS are made on top."
  (declare (indent 1))
  `(let* ((submission-directory (file-name-as-directory
                                 (make-temp-file "box" t)))
          (submission-job-tests--calls nil)
          (submission-job--table (make-hash-table :test #'equal))
          (submission-auth--given (make-hash-table :test #'equal))
          (submission-auth--fresh nil)
          (submission-auth--work nil)
          (submission-channel--later nil)
          (submission-channel--timer nil)
          (submission-finished-functions nil)
          (submission-log-file "/nowhere/log")
          (submission-sequence 'mew)
          (submission-security nil)
          (smtpmail-smtp-server "mail.example.org")
          (smtpmail-smtp-service 25)
          (smtpmail-smtp-user nil)
          (smtpmail-stream-type nil)
          (user-mail-address "ann@example.org")
          (auth-sources nil)
          (inhibit-message t))
     (cl-letf (((symbol-function 'submission-channel-open)
                #'submission-channel-directory)
               ((symbol-function 'submission-module-submit)
                (lambda (json)
                  (let ((call (submission-channel-decode json)))
                    (push (append (list :text
                                        (submission-job-tests--bytes
                                         (plist-get call :file)))
                                  call)
                          submission-job-tests--calls)
                    (delete-file (plist-get call :file))
                    (format "id-%d" (length submission-job-tests--calls)))))
               ((symbol-function 'submission-module-settle)
                (lambda (json)
                  (push (submission-channel-decode json)
                        submission-job-tests--calls)
                  nil)))
       (unwind-protect
           (let ,bindings ,@body)
         (when submission-channel--timer
           (cancel-timer submission-channel--timer))
         (delete-directory submission-directory t)))))

(defun submission-job-tests--bytes (file)
  "Return the bytes in FILE."
  (with-temp-buffer
    (set-buffer-multibyte nil)
    (insert-file-contents-literally file)
    (buffer-string)))

(defun submission-job-tests--event (id rev status &rest receipt)
  "Let the event arrive that ID is STATUS at REV, with RECEIPT."
  (submission-channel--dispatch
   (submission-channel-encode
    `((event . "state") (id . ,id)
      (state . ((id . ,id) (rev . ,rev) (status . ,status)
                (receipt . ,receipt)))))
   submission-directory))

(defun submission-job-tests--submit (text &rest plist)
  "Submit TEXT with PLIST from a buffer; return what the module got."
  (with-temp-buffer
    (insert text)
    (apply #'submission-submit (current-buffer) plist))
  (car submission-job-tests--calls))

(ert-deftest submission-job-bytes ()
  "A message reaches the module as it is."
  (submission-job-tests--with ((header "From: a@b\nTo: c@d\n\n"))
    (dolist (body (list "" "x" "x\n" "a\r\nb\nc\rd" "\0\n" "\377\200\n"
                        (make-string 2000 ?x)))
      ;; A unibyte buffer, as message-mode has it.
      (with-temp-buffer
        (set-buffer-multibyte nil)
        (insert header body)
        (submission-submit (current-buffer)))
      (should (equal (plist-get (car submission-job-tests--calls) :text)
                     (concat header body)))
      ;; The same bytes in a multibyte buffer, as smtpmail makes it.
      (with-temp-buffer
        (insert header (string-to-multibyte body))
        (submission-submit (current-buffer)))
      (should (equal (plist-get (car submission-job-tests--calls) :text)
                     (concat header body)))
      ;; And from a file, which stays.
      (let ((file (make-temp-file "message")))
        (unwind-protect
            (progn
              (let ((coding-system-for-write 'no-conversion))
                (write-region (concat header body) nil file nil 'silent))
              (submission-submit file)
              (should (equal (plist-get (car submission-job-tests--calls)
                                        :text)
                             (concat header body)))
              (should (file-exists-p file)))
          (delete-file file))))
    (should (equal (plist-get (submission-job-tests--submit
                               (concat header "Grüße\n"))
                              :text)
                   (encode-coding-string (concat header "Grüße\n") 'utf-8)))))

(ert-deftest submission-job-request ()
  "The module gets envelope, settings and no secret that isn't there."
  (submission-job-tests--with ()
    (let ((call (submission-job-tests--submit
                 "From: A <a@b>\nTo: c@d, c@d\nBcc: é@bücher.example\n\nx")))
      (should (equal (plist-get call :envelope)
                     '( :from "a@b" :to ("c@d" "é@xn--bcher-kva.example"))))
      (should (equal (plist-get call :directory) submission-directory))
      (should-not (plist-get call :secret))
      (should (equal (plist-get (plist-get call :settings) :security)
                     "opportunistic")))
    (should (equal (plist-get (plist-get (submission-job-tests--submit
                                          "x" :from "a@b" :to '("c@d")
                                          :user "kazu")
                                         :settings)
                              :security)
                   "starttls"))))

(ert-deftest submission-job-private ()
  "What is written to the outbox is the user's alone."
  (submission-job-tests--with ((modes nil))
    (let ((submission-directory
           (expand-file-name "new/box/" submission-directory)))
      (cl-letf (((symbol-function 'submission-module-submit)
                 (lambda (json)
                   (let ((file (plist-get (submission-channel-decode json)
                                          :file)))
                     (push (file-modes file) modes)
                     (push (file-modes (file-name-directory file)) modes)
                     "id"))))
        (with-file-modes #o777
          (submission-job-tests--submit "x" :from "a@b" :to '("c@d"))))
      (should (equal modes '(#o700 #o600))))))

(ert-deftest submission-job-nothing-left-after-error ()
  "When the module takes nothing, no draft is left and the error is told."
  (submission-job-tests--with ()
    (cl-letf (((symbol-function 'submission-module-submit)
               (lambda (_json) (signal 'submission-outbox-error '("Full")))))
      (should-error (submission-job-tests--submit "x" :from "a@b" :to '("c@d"))
                    :type 'submission-outbox-error))
    (should-not (directory-files submission-directory nil
                                 directory-files-no-dot-files-regexp))
    (let ((submission-directory "/dev/null/box/"))
      (should-error (submission-job-tests--submit "x" :from "a@b" :to '("c@d"))
                    :type 'submission-outbox-error))
    (should (= 0 (hash-table-count submission-job--table)))))

(ert-deftest submission-job-bad-arguments ()
  "Bad arguments are errors of ours, before anything is written."
  (submission-job-tests--with ()
    (let ((killed (generate-new-buffer "x")))
      (kill-buffer killed)
      (pcase-dolist (`(,message . ,plist)
                     `((,killed) ("/nonexistent") (nil) ("/")
                       (t :to nil) (t :to ("a b@c")) (t :to "c@d")
                       (t :from "a\nb") (t :from nil) (t :host "a b")
                       (t :port 0) (t :port 65536) (t :security foo)
                       (t :sequence foo) (t :callback 3) (t :user 3)
                       (t :nonsense 1)))
        (with-temp-buffer
          (insert "To: c@d\n\n")
          (unless (memq :from plist)
            (goto-char (point-min)) (insert "From: a@b\n"))
          (ert-info ((format "%S %S" message plist))
            (let ((err (should-error
                        (apply #'submission-submit
                               (if (eq message t) (current-buffer) message)
                               plist)
                        :type 'submission-error)))
              (should (memq 'user-error
                            (get (car err) 'error-conditions))))))))
    (should-not submission-job-tests--calls)))

(ert-deftest submission-job-hooks ()
  "The hook and the callback run once for each revision, then it settles."
  (submission-job-tests--with ((seen nil))
    (let ((note (lambda (who)
                  (lambda (receipt)
                    (push (cons who (plist-get receipt :status)) seen)))))
      (add-hook 'submission-finished-functions (lambda (_) (error "Broken")))
      (add-hook 'submission-finished-functions (funcall note 'hook) t)
      (submission-job-tests--submit "x" :from "a@b" :to '("c@d")
                                    :callback (funcall note 'callback)))
    (should-not (submission-wait 0))
    (submission-job-tests--event "id-1" 1 "queued")
    (submission-job-tests--event "id-1" 2 "sending")
    (submission-job-tests--event "id-1" 3 "deferred")
    (should-not seen)
    (should (submission-wait 0))
    (should (equal (reverse seen) '((callback . deferred) (hook . deferred))))
    (submission-job-tests--event "id-1" 3 "deferred")
    (submission-job-tests--event "id-1" 2 "sending")
    (should (submission-wait 0))
    (should (= (length seen) 2))
    (submission-job-tests--event "id-1" 4 "sending")
    (should-not (submission-wait 0))
    (should (= 1 (length submission-job-tests--calls)))
    (submission-job-tests--event "id-1" 5 "accepted")
    (should (submission-wait 0))
    (should (equal (seq-take seen 2) '((hook . accepted)
                                       (callback . accepted))))
    (should (equal (car submission-job-tests--calls)
                   (list :directory submission-directory :id "id-1"
                         :log "/nowhere/log")))
    (submission-job-tests--event "id-1" 5 "accepted")
    (should (submission-wait 0))
    (should (= (length seen) 4))
    (should (= 2 (length submission-job-tests--calls)))))

(ert-deftest submission-job-settles-after-hooks ()
  "A message leaves the outbox after the hooks have seen it."
  (submission-job-tests--with ((calls 0))
    (add-hook 'submission-finished-functions
              (lambda (_) (setq calls (length submission-job-tests--calls))))
    (submission-job-tests--submit "x" :from "a@b" :to '("c@d"))
    (submission-job-tests--event "id-1" 2 "accepted")
    (should (submission-wait 0))
    (should (= calls 1))
    (should (= (length submission-job-tests--calls) 2))))

(ert-deftest submission-job-fault-ends-waiting ()
  (submission-job-tests--with ()
    (submission-job-tests--submit "x" :from "a@b" :to '("c@d"))
    (submission-channel--dispatch
     "{\"event\":\"error\",\"id\":\"id-1\",\"text\":\"a fault\\nmore\"}"
     submission-directory)
    (should (submission-wait 0))))

(ert-deftest submission-job-looks-again ()
  "After the channel broke, the disk says how it went."
  (submission-job-tests--with ((seen nil))
    (add-hook 'submission-finished-functions
              (lambda (receipt) (push (plist-get receipt :status) seen)))
    (submission-job-tests--submit "x" :from "a@b" :to '("c@d"))
    (write-region "{\"id\":\"id-1\",\"rev\":4,\"status\":\"accepted\"}" nil
                  (expand-file-name "id-1.json" submission-directory)
                  nil 'silent)
    (submission-job--look-again)
    (should (submission-wait 0))
    (should (equal seen '(accepted)))))

(ert-deftest submission-job-send-all-counts ()
  "What is taken over is waited for."
  (submission-job-tests--with ((given nil))
    (cl-letf (((symbol-function 'submission-module-send-all)
               (lambda (json) (setq given json) "[\"id-7\",\"id-8\"]")))
      (should (equal (submission-outbox-send-all) '("id-7" "id-8"))))
    (should (equal (submission-channel-decode given)
                   (list :directory submission-directory)))
    (should-not (submission-wait 0))
    (submission-job-tests--event "id-7" 9 "deferred")
    (should-not (submission-wait 0))
    (submission-job-tests--event "id-8" 9 "held")
    (should (submission-wait 0))
    ;; Where it takes some time, an event tells what was taken.
    (cl-letf (((symbol-function 'submission-module-send-all) #'ignore))
      (should-not (submission-outbox-send-all)))
    (should-not (submission-wait 0))
    (submission-job--taken-event
     (list :directory submission-directory :ids '("id-7")))
    (should-not (submission-wait 0))
    (submission-job-tests--event "id-7" 10 "deferred")
    (should (submission-wait 0))))

;;;; Through smtpmail

(defun submission-job-tests--mail (mode text)
  "Fill a buffer of MODE with a mail of TEXT, as if ready to be sent."
  (let ((buffer (generate-new-buffer "mail")))
    (with-current-buffer buffer
      (insert "To: Bob <bob@example.org>, c@d\nBcc: e@f\nSubject: s\n"
              "From: Ann <ann@example.org>\n"
              mail-header-separator "\n" text)
      (funcall mode))
    buffer))

(ert-deftest submission-job-through-smtpmail ()
  "The mode and `submission-send-it' do the same, in both mail modes."
  (dolist (mode '(message-mode mail-mode))
    (dolist (on '(t nil))
      (submission-job-tests--with ((mail-specify-envelope-from nil)
                                   (smtpmail-sendto-domain nil))
        (with-current-buffer (submission-job-tests--mail mode "Hello\n")
          (unwind-protect
              (if on
                  (unwind-protect
                      (progn (submission-mode 1) (smtpmail-send-it))
                    (submission-mode -1))
                (submission-send-it))
            (kill-buffer)))
        (let ((call (car submission-job-tests--calls)))
          (should (equal (plist-get call :envelope)
                         '( :from "ann@example.org"
                            :to ("bob@example.org" "c@d" "e@f"))))
          (should (string-match-p "^Subject: s$" (plist-get call :text)))
          (should (string-suffix-p "\n\nHello\n" (plist-get call :text)))
          (should-not (string-match-p "^Bcc" (plist-get call :text))))))))

(ert-deftest submission-job-charset-of-mail-mode ()
  "A mail that says it is in Latin 1 is sent in Latin 1."
  (submission-job-tests--with ((mail-send-nonascii 'mime)
                               (sendmail-coding-system 'iso-latin-1))
    (with-current-buffer (submission-job-tests--mail 'mail-mode "Grüße\n")
      (unwind-protect
          (progn
            (setq buffer-file-coding-system 'iso-latin-1)
            (submission-send-it))
        (kill-buffer)))
    (let ((text (plist-get (car submission-job-tests--calls) :text)))
      (should (string-match-p "charset=iso-8859-1" text))
      (should (string-suffix-p "Gr\374\337e\n" text)))))

(ert-deftest submission-job-envelope-sender ()
  "The envelope sender is what smtpmail would say."
  (pcase-dolist (`(,specify ,envelope-from ,sender)
                 '((nil "bounce@example.org" "ann@example.org")
                   (t "bounce@example.org" "bounce@example.org")
                   (t header "ann@example.org")))
    (submission-job-tests--with ((mail-specify-envelope-from specify)
                                 (mail-envelope-from envelope-from))
      (with-current-buffer (submission-job-tests--mail 'message-mode "x\n")
        (unwind-protect (submission-send-it) (kill-buffer)))
      (should (equal (plist-get (plist-get (car submission-job-tests--calls)
                                           :envelope)
                                :from)
                     sender)))))

(ert-deftest submission-job-no-server ()
  "Without a server the error says so, and nobody is asked."
  (submission-job-tests--with ((smtpmail-smtp-server nil))
    (with-current-buffer (submission-job-tests--mail 'message-mode "x\n")
      (unwind-protect
          (let ((before (buffer-string)))
            (should (string-search "smtpmail-smtp-server"
                                   (cadr (should-error
                                          (submission-send-it)
                                          :type 'user-error))))
            (should (equal (buffer-string) before)))
        (kill-buffer)))))

(ert-deftest submission-mode-leaves-no-trace ()
  "The mode changes only what nobody chose, and puts it back."
  (let ((send-mail-function 'sendmail-query-once)
        (message-send-mail-function 'message-use-send-mail-function))
    (submission-mode 1)
    (should (eq send-mail-function 'smtpmail-send-it))
    (should (eq message-send-mail-function 'message-use-send-mail-function))
    (submission-mode 1)
    (submission-mode -1)
    (should (eq send-mail-function 'sendmail-query-once))
    (submission-mode 1)
    (setq send-mail-function 'feedmail-send-it)
    (submission-mode -1)
    (should (eq send-mail-function 'feedmail-send-it))
    (submission-mode 1)
    (submission-mode -1)
    (should (eq send-mail-function 'feedmail-send-it))
    (should-not (advice-member-p #'submission--via-smtp 'smtpmail-via-smtp))))

;;; submission-job-tests.el ends here
