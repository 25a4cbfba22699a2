;;; submission-auth-tests.el --- Passwords -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Code:

(require 'ert)
(require 'submission-auth)

(defvar submission-auth-tests--answers nil
  "What the module was answered, oldest first: lists (NUMBER USER PASSWORD).")

(defvar submission-auth-tests--prompts nil
  "The prompts that were shown, oldest first.")

(defvar submission-auth-tests--typed nil
  "What the user types at the next prompts; `quit' is \\`C-g'.")

(defun submission-auth-tests--type (prompt &rest _)
  "Show PROMPT and return what the user types."
  (setq submission-auth-tests--prompts
        (append submission-auth-tests--prompts (list prompt)))
  (let ((typed (pop submission-auth-tests--typed)))
    (cond ((eq typed 'quit) (signal 'quit nil))
          (typed)
          (t (error "Nobody was to be asked: %s" prompt)))))

(defmacro submission-auth-tests--with (authinfo &rest body)
  "Evaluate BODY in an interactive Emacs with AUTHINFO as ~/.authinfo.
`file' in BODY is its name, and `account' is mail.example.org's."
  (declare (indent 1))
  `(let* ((file (make-temp-file "authinfo"))
          (auth-sources (list file))
          (auth-source-save-behavior t)
          (submission-auth-tests--answers nil)
          (submission-auth-tests--prompts nil)
          (submission-auth-tests--typed nil)
          (account (submission-auth-account
                    '( :name "mail.example.org" :host "mail.example.org"
                       :port 0 :steps ((ipv4 . 587) (ipv4 . 25)))))
          (submission-auth-account-function (lambda (&rest _) account))
          (submission-auth--given (make-hash-table :test #'equal))
          (submission-auth--fresh nil)
          (submission-auth--work nil)
          (submission-auth--timer t) ; none is to be started
          (noninteractive nil)
          (inhibit-message t))
     (ignore account)
     (auth-source-forget-all-cached)
     (cl-letf (((symbol-function 'read-passwd) #'submission-auth-tests--type)
               ((symbol-function 'read-string) #'submission-auth-tests--type)
               ((symbol-function 'submission-module-answer)
                (lambda (json)
                  (let* ((call (submission-channel-decode json))
                         (secret (plist-get call :secret)))
                    (setq submission-auth-tests--answers
                          (append submission-auth-tests--answers
                                  (list (list (plist-get call :ask)
                                              (plist-get secret :user)
                                              (plist-get secret :password)))))
                    nil))))
       (unwind-protect
           (progn
             (write-region ,authinfo nil file nil 'silent)
             ,@body)
         (delete-file file)
         (auth-source-forget-all-cached)))))

(defun submission-auth-tests--ask (number id why)
  "Let the module ask question NUMBER about the message ID because of WHY."
  (submission-auth-ask
   (list :ask number :id id :why why :directory "/box/"
         :host "mail.example.org" :port 587 :user "" :reply "")))

(defun submission-auth-tests--secret (account)
  "Return the user and password that are found for ACCOUNT."
  (let ((token (submission-auth-lookup account)))
    (list (plist-get token :user) (submission-auth--password token))))

(ert-deftest submission-auth-ports ()
  "auth-source is searched with the ports that belong to the account."
  (pcase-dolist (`(,port ,steps . ,ports)
                 '((0 ((ipv4 . 587) (ipv4 . 25))
                      "587" "submission" "25" "smtp")
                   (0 ((any . 10587)) "587" "submission" "25" "smtp" "10587")
                   (465 nil "465" "submissions" "smtps")
                   (587 nil "587" "submission" "25" "smtp")
                   (2525 nil "2525")))
    (should (equal (plist-get (submission-auth-account
                               (list :name "a" :host "a" :port port
                                     :steps steps))
                              :ports)
                   ports))))

(ert-deftest submission-auth-entries ()
  (pcase-dolist (`(,entry . ,found)
                 '(("machine mail.example.org port 587 login u password p"
                    "u" "p")
                   ("machine mail.example.org port smtp login u password p"
                    "u" "p")
                   ("machine mail.example.org login u password p" "u" "p")
                   ("machine mail.example.org port 465 login u password p"
                    nil nil)
                   ("machine mail.example.org port imap login u password p"
                    nil nil)
                   ("machine imap.example.org login u password p" nil nil)
                   ("" nil nil)))
    (submission-auth-tests--with entry
      (ert-info (entry)
        (should (equal (submission-auth-tests--secret account) found))))))

(ert-deftest submission-auth-failed-look-up-counts ()
  "A look-up that fails or is cancelled is not `no entry'."
  (dolist (condition '(error quit file-error))
    (submission-auth-tests--with ""
      (cl-letf (((symbol-function 'auth-source-search)
                 (lambda (&rest _) (signal condition nil))))
        (let ((token (submission-auth-lookup account)))
          (should token)
          (should-not (submission-auth-secret token)))))))

(ert-deftest submission-auth-one-question ()
  "Messages that wait for one account lead to one question."
  (submission-auth-tests--with ""
    (setq submission-auth-tests--typed '("kazu" "secret"))
    (dolist (n '(1 2 3))
      (submission-auth-tests--ask n (format "id-%d" n) "530"))
    (submission-auth--work-off)
    (should (equal submission-auth-tests--answers
                   '((1 "kazu" "secret") (2 "kazu" "secret")
                     (3 "kazu" "secret"))))
    (should (= 2 (length submission-auth-tests--prompts)))
    ;; Nothing is saved before a server has accepted it.
    (should (= 0 (file-attribute-size (file-attributes file))))
    (submission-auth-accepted "id-2")
    (submission-auth-accepted "id-1")
    (submission-auth--work-off)
    (with-temp-buffer
      (insert-file-contents file)
      (should (= 1 (count-lines (point-min) (point-max))))
      (should (string-search "login kazu" (buffer-string))))
    (should-not submission-auth--fresh)
    (should (equal (submission-auth-tests--secret account)
                   '("kazu" "secret")))))

(ert-deftest submission-auth-not-saved ()
  "What the user doesn't want to save serves this session."
  (submission-auth-tests--with ""
    (setq auth-source-save-behavior nil
          submission-auth-tests--typed '("kazu" "secret"))
    (cl-letf (((symbol-function 'read-string)
               (lambda (&rest _) (pop submission-auth-tests--typed))))
      (setq account (plist-put account :user "kazu")
            submission-auth-tests--typed '("secret"))
      (submission-auth-tests--ask 1 "id-1" "missing")
      (submission-auth--work-off)
      (submission-auth-accepted "id-1")
      (submission-auth--work-off))
    (should (= 0 (file-attribute-size (file-attributes file))))
    (should (equal (submission-auth-tests--secret account)
                   '("kazu" "secret")))))

(ert-deftest submission-auth-cancelled ()
  "\\`C-g' answers all questions about the account, and no others."
  (submission-auth-tests--with ""
    (setq submission-auth-tests--typed '(quit "ann" "hers"))
    (let* ((other (submission-auth-account
                   '(:name "b.org" :host "b.org" :port 587)))
           (mine account)
           (submission-auth-account-function
            (lambda (id _) (if (equal id "other") other mine))))
      (submission-auth-tests--ask 1 "id-1" "530")
      (submission-auth-tests--ask 2 "other" "530")
      (submission-auth-tests--ask 3 "id-3" "530")
      (submission-auth--work-off))
    (should (equal submission-auth-tests--answers
                   '((3 nil nil) (1 nil nil) (2 "ann" "hers"))))))

(ert-deftest submission-auth-refused ()
  "A refused password is asked for again, and is not used again."
  (submission-auth-tests--with
      "machine mail.example.org login kazu password old"
    (submission-auth-give "id-1" (submission-auth-lookup account))
    (submission-auth-give "id-2" (submission-auth-lookup account))
    (setq submission-auth-tests--typed '("wrong"))
    (submission-auth-tests--ask 1 "id-1" "535")
    (submission-auth--work-off)
    (should (string-match-p "refused.*kazu@mail.example.org"
                            (car submission-auth-tests--prompts)))
    ;; The other message gets the answer without a question,
    (submission-auth-tests--ask 2 "id-2" "535")
    (submission-auth--work-off)
    ;; and when that was wrong as well, there is a question again.
    (setq submission-auth-tests--typed '("right"))
    (submission-auth-tests--ask 3 "id-1" "535")
    (submission-auth-tests--ask 4 "id-2" "535")
    (submission-auth--work-off)
    (should (equal submission-auth-tests--answers
                   '((1 "kazu" "wrong") (2 "kazu" "wrong")
                     (3 "kazu" "right") (4 "kazu" "right"))))
    (should (= 2 (length submission-auth-tests--prompts)))
    (submission-auth-accepted "id-1")
    (submission-auth--work-off)
    (should (equal (submission-auth-tests--secret account)
                   '("kazu" "right")))))

(ert-deftest submission-auth-mended-file ()
  "A password that was put right in the file is used without a question."
  (submission-auth-tests--with
      "machine mail.example.org login kazu password old"
    (submission-auth-give "id-1" (submission-auth-lookup account))
    (set-file-times file (time-subtract nil 60))
    (write-region "machine mail.example.org login kazu password new" nil file
                  nil 'silent)
    (submission-auth-tests--ask 1 "id-1" "535")
    (submission-auth--work-off)
    (should (equal submission-auth-tests--answers '((1 "kazu" "new"))))))

(ert-deftest submission-auth-again ()
  "A later try gets what is in auth-source, and asks nobody."
  (submission-auth-tests--with
      "machine mail.example.org login kazu password secret"
    (submission-auth-tests--ask 1 "id-1" "again")
    (submission-auth--work-off)
    (submission-auth-tests--ask 2 "id-1" "again")
    (submission-auth--work-off)
    (should (equal submission-auth-tests--answers
                   '((1 "kazu" "secret") (2 "kazu" "secret")))))
  (submission-auth-tests--with ""
    (submission-auth-tests--ask 1 "id-1" "again")
    (submission-auth--work-off)
    (should (equal submission-auth-tests--answers '((1 nil nil))))))

(ert-deftest submission-auth-batch ()
  "A batch Emacs asks nobody."
  (submission-auth-tests--with ""
    (let ((noninteractive t)
          (submission-channel--later nil)
          (submission-channel--timer nil))
      (dolist (why '("530" "535" "missing" "again"))
        (submission-auth-tests--ask 1 "id-1" why))
      (submission-channel-catch-up)
      (should (equal submission-auth-tests--answers
                     (make-list 4 '(1 nil nil)))))))

(ert-deftest submission-auth-no-question-for-the-dead ()
  "A message that has ended is asked about no more."
  (submission-auth-tests--with ""
    (submission-auth-tests--ask 1 "id-1" "530")
    (submission-auth-drop "id-1")
    (submission-auth--work-off)
    (should-not submission-auth-tests--answers)))

(ert-deftest submission-auth-quiet ()
  "A question comes only to an idle Emacs."
  (let ((submission-auth-waiting nil)
        (submission-auth--asked nil))
    (pcase-dolist (`(,idle ,depth ,quiet)
                   '((nil 0 nil) (0.5 0 nil) (1.5 0 t) (1.5 1 nil)))
      (cl-letf (((symbol-function 'current-idle-time)
                 (lambda () (and idle (seconds-to-time idle))))
                ((symbol-function 'minibuffer-depth) (lambda () depth))
                ((symbol-function 'terminal-name) (lambda (&rest _) "/dev/tty")))
        (should (eq quiet (and (submission-auth--quiet-p) t)))
        (let ((submission-auth-waiting t))
          (should (eq (= depth 0) (and (submission-auth--quiet-p) t))))))))

;;; submission-auth-tests.el ends here
