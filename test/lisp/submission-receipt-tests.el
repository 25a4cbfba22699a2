;;; submission-receipt-tests.el --- Receipts and what is said about them -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Code:

(require 'ert)
(require 'submission-receipt)
(require 'submission-report)

(defconst submission-receipt-tests--state
  "{\"version\":1,\"id\":\"20261121T221500-3f9a2c1b\",\"rev\":3,
\"status\":\"held\",\"reason\":\"auth\",\"message-id\":\"<a@b>\",
\"subject\":\"s\",\"size\":1,\"queued\":\"2026-11-21T22:15:00Z\",\"tries\":1,
\"next-try\":null,\"dot\":false,
\"envelope\":{\"from\":\"a@example.org\",\"to\":[\"x@example.org\"]},
\"receipt\":{\"host\":\"mail.example.org\",\"address\":\"192.0.2.1\",
\"family\":\"ipv4\",\"port\":25,\"tls\":\"verified\",\"reply\":\"535 no\",
\"accepted\":[\"y@example.org\"],\"refused\":[[\"z@example.org\",\"550 5.1.1 no\"]],
\"attempts\":[{\"family\":\"ipv4\",\"port\":587,\"address\":\"192.0.2.1\",
\"outcome\":\"timeout\",\"case\":5,\"detail\":\"no answer\",\"elapsed\":10},
{\"family\":\"ipv4\",\"port\":25,\"address\":\"192.0.2.1\",
\"outcome\":\"connected\",\"case\":1,\"detail\":\"\",\"elapsed\":0.25}],
\"elapsed\":11}}"
  "A state as the module writes it.")

(defconst submission-receipt-tests--receipt
  '( :id "20261121T221500-3f9a2c1b" :message-id "<a@b>" :status held
     :reason auth :host "mail.example.org" :address "192.0.2.1" :family ipv4
     :port 25 :tls verified :reply "535 no" :accepted ("y@example.org")
     :refused (("z@example.org" . "550 5.1.1 no"))
     :attempts (( :family ipv4 :port 587 :address "192.0.2.1" :outcome timeout
                  :case 5 :detail "no answer" :elapsed 10.0)
                ( :family ipv4 :port 25 :address "192.0.2.1" :outcome connected
                  :case 1 :detail nil :elapsed 0.25))
     :elapsed 11.0)
  "The receipt in that state.")

(ert-deftest submission-receipt-of-state ()
  (should (equal (submission-receipt-of
                  (submission-channel-decode submission-receipt-tests--state))
                 submission-receipt-tests--receipt)))

(ert-deftest submission-receipt-of-little ()
  "All keys are there when the module knows nothing yet."
  (should (equal (submission-receipt-of
                  (submission-channel-decode
                   "{\"id\":\"1\",\"status\":\"queued\",\"reason\":\"evil\"}"))
                 '( :id "1" :message-id nil :status queued :reason nil
                    :host nil :address nil :family nil :port nil :tls nil
                    :reply nil :accepted nil :refused nil :attempts nil
                    :elapsed 0.0))))

(ert-deftest submission-receipt-outbox ()
  "Only complete state files in the outbox are mail."
  (let ((submission-directory (make-temp-file "box" t)))
    (unwind-protect
        (progn
          (pcase-dolist (`(,name . ,text)
                         `(("2.json" . ,submission-receipt-tests--state)
                           ("1.json" . "{\"id\":\"1\",\"status\":\"queued\"}")
                           (".3.json" . "{\"id\":\"3\",\"status\":\"queued\"}")
                           ("4.json" . "{\"id\":\"4\",\"stat")
                           ("5.json" . "") ("6.json" . "[1]")
                           ("7.eml" . "To: a@b\n\n")))
            (write-region text nil
                          (expand-file-name name submission-directory)
                          nil 'silent))
          (should (equal (mapcar (lambda (receipt) (plist-get receipt :status))
                                 (submission-messages))
                         '(queued held))))
      (delete-directory submission-directory t))
    (should-not (submission-messages))))

(defun submission-receipt-tests--text (notice &rest changes)
  "Return what is said about the receipt with CHANGES, and NOTICE."
  (let ((receipt (copy-sequence submission-receipt-tests--receipt)))
    (while changes
      (setq receipt (plist-put receipt (pop changes) (pop changes))))
    (submission-report-text receipt notice)))

(ert-deftest submission-report-accepted ()
  (should (equal (submission-receipt-tests--text
                  nil :status 'accepted :reason nil :port 587 :refused nil
                  :accepted '("a" "b" "c") :reply "250 ok")
                 "Sent to 3 recipients by mail.example.org:587"))
  (should (equal (submission-receipt-tests--text
                  nil :status 'accepted :reason nil :host "::1"
                  :reply "250 ok")
                 "Sent to 1 recipient by [::1]:25, BUT refused: \
z@example.org (550 5.1.1 no)")))

(ert-deftest submission-report-failures ()
  "What happened, the server's words and what to do are all told."
  (pcase-dolist
      (`(,notice ,changes . ,texts)
       '((nil (:accepted nil :refused nil)
              "Held" "mail.example.org:25" "535 no" "`smtpmail-smtp-user'")
         ("auth: 535 no" (:accepted nil) "auth: 535 no")
         ("certificate expired" (:accepted nil :reason certificate :reply nil)
          "certificate expired" "`M-x submission-certificates'")
         (nil (:status deferred :reason nil :accepted nil :reply nil)
              "Not sent yet" "port 587: timeout (case 5)" "no answer"
              "submission-outbox")
         (nil (:status deferred :reason nil)
              "Sent to 1 recipient" "not sent yet")
         (nil (:status refused :reason size :accepted nil :reply "552 big")
              "Refused" "552 big" "larger")
         ("EOF" (:status uncertain :reason nil :accepted nil :reply "354 go")
          "Not known" "EOF" "not sent again by itself")))
    (let ((text (apply #'submission-receipt-tests--text notice changes)))
      (dolist (part texts)
        (ert-info (text)
          (should (string-search part text)))))))

(ert-deftest submission-report-every-outcome-has-advice ()
  (dolist (status '(deferred held refused uncertain))
    (dolist (reason '(nil tls certificate auth protocol recipients message size
                          utf8 8bit expired tunnel user))
      (should (stringp (submission-report--advice
                        (list :status status :reason reason)))))))

(ert-deftest submission-report-one-line ()
  "A server's words can't draw on the screen."
  (should (equal (submission-report-line "550 a\r\n550\e[2J b")
                 "550 a 550 [2J b")))

(ert-deftest submission-report-log-is-bounded ()
  (let ((submission-report--log-size 1000))
    (unwind-protect
        (progn
          (dotimes (i 100) (submission-report-log "id" "line %d" i))
          (with-current-buffer (submission-report--log-buffer)
            (should (<= (buffer-size) 1000))
            (should (string-match-p "line 99\n\\'" (buffer-string)))
            (should (string-match-p "\\`[0-9-]+ [0-9:]+ id line"
                                    (buffer-string)))))
      (kill-buffer (submission-report--log-buffer)))))

;;; submission-receipt-tests.el ends here
