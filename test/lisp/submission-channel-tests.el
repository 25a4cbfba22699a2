;;; submission-channel-tests.el --- Events from the module -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Code:

(require 'ert)
(require 'submission-channel)

(defmacro submission-channel-tests--with-events (events &rest body)
  "Evaluate BODY; EVENTS is a function that returns what was dispatched.
`feed' in BODY gives a string to the filter."
  (declare (indent 1))
  `(let* ((seen nil)
          (submission-channel-handlers
           (list (cons "good" (lambda (event) (push event seen)))
                 (cons "bad" (lambda (_event) (error "A broken handler")))))
          (process (make-pipe-process :name "test" :buffer nil :noquery t)))
     (process-put process 'directory "/box/")
     (unwind-protect
         (cl-flet ((feed (text) (submission-channel--filter process text))
                   (,events () (reverse seen)))
           ,@body)
       (delete-process process))))

(ert-deftest submission-channel-cut-lines ()
  "Lines arrive whole, however they are cut."
  (let ((text "{\"event\":\"good\",\"n\":1}\n{\"event\":\"good\",\"n\":2}\n"))
    (dolist (size (number-sequence 1 (length text)))
      (submission-channel-tests--with-events events
        (let ((rest text))
          (while (not (string-empty-p rest))
            (let ((cut (min size (length rest))))
              (feed (substring rest 0 cut))
              (setq rest (substring rest cut)))))
        (should (equal (events)
                       '((:event "good" :n 1 :directory "/box/")
                         (:event "good" :n 2 :directory "/box/"))))))))

(ert-deftest submission-channel-bad-lines ()
  "A line or a handler that is broken stops no other."
  (submission-channel-tests--with-events events
    (let ((inhibit-message t))
      (feed (concat "nonsense\n\n[]\n3\n{\"event\":\"unknown\"}\n"
                    "{\"event\":\"bad\"}\n{\"event\":\"good\"}\n")))
    (should (= (length (events)) 1))))

(ert-deftest submission-channel-json-is-ascii ()
  (dolist (text '("plain" "ä" "€" "😀" "a\n\t\"\\" "\x7f" "\u2028" "ä😀ö"))
    (let ((json (submission-channel-encode `((text . ,text)))))
      (should (string-match-p "\\`[[:ascii:]]*\\'" json))
      (should (equal (submission-channel-decode json) (list :text text))))))

(ert-deftest submission-channel-json-error-keeps-secrets ()
  "What can't be encoded is not part of the error."
  (let ((err (should-error
              (submission-channel-encode
               (list (cons 'password (concat "s3cr3t" (string #x3fffc0)))))
              :type 'submission-error)))
    (should-not (string-search "s3cr3t" (format "%S" err)))))

(ert-deftest submission-channel-later-is-guarded ()
  "What was put off is done in order, and an error stops nothing."
  (let ((submission-channel--later nil)
        (submission-channel--timer nil)
        (inhibit-message t)
        (done nil))
    (submission-channel-later (lambda () (push 1 done)))
    (submission-channel-later (lambda () (error "Broken")))
    (submission-channel-later
     (lambda (n) (push n done)
       (submission-channel-later (lambda () (push 3 done))))
     2)
    (should-not (submission-channel-idle-p))
    (should-not done)
    (submission-channel-catch-up)
    (should (submission-channel-idle-p))
    (should (equal done '(3 2 1)))))

(ert-deftest submission-channel-later-survives-quit ()
  "After \\`C-g' in one call the others are made when Emacs next waits."
  (let ((submission-channel--later nil)
        (submission-channel--timer nil)
        (done nil))
    (submission-channel-later (lambda () (signal 'quit nil)))
    (submission-channel-later (lambda () (push 1 done)))
    (should (eq 'quit (condition-case nil (submission-channel-catch-up)
                        (quit 'quit))))
    (should submission-channel--timer)
    (submission-channel-catch-up)
    (should (equal done '(1)))))

;;; submission-channel-tests.el ends here
