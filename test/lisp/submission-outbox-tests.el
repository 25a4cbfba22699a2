;;; submission-outbox-tests.el --- What waits, and how it is shown -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Code:

(require 'ert)
(require 'submission-draft)
(require 'submission-outbox)
(require 'submission-signs)
(require 'submission-story)

(defun submission-outbox-tests--entry (n status &rest state)
  "Return an entry number N with STATUS and what STATE adds."
  (make-submission-entry
   :id (format "20261121T2215%02d-00000000" n) :status status
   :state `( :id "x" :status ,(symbol-name status) :size 2000 ,@state)))

(defmacro submission-outbox-tests--with (&rest body)
  "Evaluate BODY with an outbox of its own, and nobody else's entries."
  (declare (indent 0))
  `(let ((submission-directory (file-name-as-directory
                                (make-temp-file "box" t)))
         (submission-entries--table (make-hash-table :test #'equal))
         (submission-entries--seen nil))
     (unwind-protect (progn ,@body)
       (delete-directory submission-directory t))))

(defun submission-outbox-tests--write (name text)
  "Write TEXT to the file NAME in the outbox."
  (write-region text nil (expand-file-name name submission-directory) nil 0))

(defconst submission-outbox-tests--id "20261121T221500-3f9a2c1b")

(defun submission-outbox-tests--state (status)
  "Return a state file with STATUS."
  (format "{\"version\":1,\"id\":%S,\"rev\":1,\"status\":%S}"
          submission-outbox-tests--id status))

(ert-deftest submission-entries-statuses ()
  "Each state of the files shows, and nothing that is not mail."
  (let ((id submission-outbox-tests--id))
    (pcase-dolist
        (`(,files ,status)
         `((((".eml" "x") (".json" ,(submission-outbox-tests--state "held")))
            held)
           (((".eml" "x") (".json" "{")) damaged)
           (((".eml" "x") (".json" "[]")) damaged)
           (((".eml" "x") (".json" ,(submission-outbox-tests--state "odd")))
            damaged)
           (((".eml" "x") (".json" "{\"version\":2}")) newer)
           (((".eml" "x")) stateless)
           (((".json" ,(submission-outbox-tests--state "queued"))) bodiless)
           (((".json" ,(submission-outbox-tests--state "accepted"))) nil)
           (((".draft" "x")) nil)))
      (submission-outbox-tests--with
        (pcase-dolist (`(,suffix ,text) files)
          (submission-outbox-tests--write (concat id suffix) text))
        (submission-entries-scan)
        (let ((scanned (submission-entries-get id)))
          (should (eq status (and scanned (submission-entry-status scanned)))))
        ;; A look at one file finds the same.
        (submission-entries-look id)
        (let ((looked (submission-entries-get id)))
          (should (eq status (and looked (submission-entry-status looked)))))))))

(ert-deftest submission-entries-half-added ()
  "A message whose bytes are about to get their name is whole."
  (submission-outbox-tests--with
    (let ((id submission-outbox-tests--id))
      (submission-outbox-tests--write (concat "." id ".eml") "x")
      (submission-entries-scan)
      (should-not (submission-entries-all))
      (submission-outbox-tests--write
       (concat id ".json") (submission-outbox-tests--state "queued"))
      (setq submission-entries--seen nil)
      (submission-entries-scan)
      (should (eq 'queued (submission-entry-status
                           (submission-entries-get id)))))))

(ert-deftest submission-entries-changes ()
  "What changes and what goes is seen."
  (submission-outbox-tests--with
    (let ((id submission-outbox-tests--id))
      (submission-outbox-tests--write (concat id ".eml") "x")
      (dolist (status '("queued" "deferred" "held"))
        (submission-outbox-tests--write
         ".new" (submission-outbox-tests--state status))
        (rename-file (expand-file-name ".new" submission-directory)
                     (submission-entries-file id ".json") t)
        (submission-entries-scan)
        (should (equal status (symbol-name (submission-entry-status
                                            (submission-entries-get id))))))
      (delete-file (submission-entries-file id ".json"))
      (delete-file (submission-entries-file id ".eml"))
      (submission-entries-scan)
      (should-not (submission-entries-all)))))

(ert-deftest submission-signs-text ()
  "The mode line tells how many wait, and whether a person or a network is needed."
  (let ((submission-signs--progress (make-hash-table :test #'equal))
        (queued (submission-outbox-tests--entry 1 'queued))
        (offline (submission-outbox-tests--entry
                  2 'deferred :receipt '(:attempts ((:outcome "local")))))
        (deferred (submission-outbox-tests--entry
                   3 'deferred :receipt '(:reply "451 later")))
        (refused (submission-outbox-tests--entry 4 'refused))
        (ours (submission-outbox-tests--entry 5 'held :reason "user"))
        (damaged (make-submission-entry :id "x" :status 'damaged))
        (gone (submission-outbox-tests--entry 6 'accepted)))
    (cl-flet ((text (&rest entries)
                (substring-no-properties (submission-signs-text entries)))
              (face (&rest entries)
                (get-text-property 1 'face (submission-signs-text entries))))
      (should (equal (text) ""))
      (should (equal (text gone) ""))
      (should (equal (text queued) " Mail:1"))
      (should (equal (text queued deferred ours) " Mail:3"))
      (should (equal (text offline) " Mail:1 offline"))
      (should (equal (text offline deferred) " Mail:2"))
      (should (equal (text queued refused) " Mail:2!"))
      (should (equal (text damaged) " Mail:1!"))
      (should (eq (face queued) 'submission-waiting))
      (should (eq (face offline) 'submission-offline))
      (should (eq (face offline refused) 'submission-needs-person))
      (puthash "x" '(3000000 . 10000000) submission-signs--progress)
      (should (equal (text queued) " Mail:1 30%% of 9.5M")))))

(ert-deftest submission-signs-notify ()
  "The desktop is told what `submission-notify' says, and never fails."
  (let ((noninteractive nil) (told nil))
    (cl-letf (((symbol-function 'submission-signs--desktop-p) #'always)
              ((symbol-function 'notifications-notify)
               (lambda (&rest plist) (push plist told) (error "No desktop"))))
      (cl-flet ((count (option status)
                  (setq told nil)
                  (let ((submission-notify option))
                    (submission-signs-notify `(:status ,status)))
                  (length told)))
        (should (= 1 (count t 'held)))
        (should (= 0 (count t 'accepted)))
        (should (= 0 (count t 'deferred)))
        (should (= 1 (count 'all 'accepted)))
        (should (= 0 (count nil 'held)))))))

(ert-deftest submission-table-patch ()
  "Only what differs is written, and point, marks and order stay."
  (submission-outbox-tests--with
    (with-temp-buffer
      (submission-outbox-mode)
      (let ((put (lambda (n status &rest state)
                   (let ((entry (apply #'submission-outbox-tests--entry
                                       n status state)))
                     (puthash (submission-entry-id entry) entry
                              submission-entries--table))))
            (words (lambda ()
                     (mapcar (lambda (line) (car (split-string line)))
                             (split-string (buffer-string) "\n" t)))))
        (dolist (n '(1 3 5)) (funcall put n 'queued))
        (submission-table-redraw t)
        (should (equal (funcall words) '("queued" "queued" "queued")))
        (goto-char (point-min))
        (forward-line 1)
        (submission-outbox-mark)
        (forward-line -1)
        (forward-char 7)
        (let ((column (current-column)))
          (funcall put 3 'sending)
          (funcall put 2 'held)
          (remhash "20261121T221505-00000000" submission-entries--table)
          (funcall put 6 'deferred)
          (submission-table-redraw)
          (should (equal (funcall words) '("queued" "held" "*" "deferred")))
          (should (= column (current-column)))
          (should (equal (tabulated-list-get-id) "20261121T221503-00000000"))
          ;; As it would be if all were written.
          (let ((patched (buffer-string)))
            (submission-table-redraw t)
            (should (equal patched (buffer-string)))))))))

(ert-deftest submission-table-durations ()
  "A span is shown in a few characters."
  (pcase-dolist (`(,seconds ,text) '((0 "0s") (-5 "0s") (59.9 "59s") (60 "1m")
                                     (3599 "59m") (7200 "2h") (200000 "2d")))
    (should (equal text (submission-table-duration seconds)))))

(ert-deftest submission-story-verdicts ()
  "Each status is explained in a sentence."
  (dolist (status '( queued sending deferred held refused uncertain
                     damaged newer stateless bodiless))
    (let ((text (submission-story-verdict
                 (submission-outbox-tests--entry 1 status))))
      (should (> (length text) 10))
      (when (eq status 'uncertain)
        (should (string-match-p "may have arrived" text))))))

(ert-deftest submission-draft-times ()
  "Times for `submission-send-later'."
  (let ((in (lambda (string)
              (round (float-time (time-subtract
                                  (submission-draft-parse-time string) nil))))))
    (should (= 600 (funcall in "10 min")))
    (should (= 7200 (funcall in "2 hours")))
    (should (<= 0 (funcall in "18:00") 90000))
    (should (equal (format-time-string "%F %H:%M"
                                       (submission-draft-parse-time
                                        "2036-12-24 18:00"))
                   "2036-12-24 18:00"))
    (dolist (bad '("" "soon" "25:00" "12:60" "Monday" "10 parsecs"))
      (should-error (submission-draft-parse-time bad) :type 'user-error))))

(ert-deftest submission-report-gist ()
  "What is told of a deferral doesn't depend on how long it took."
  (let ((receipt (lambda (elapsed)
                   `( :status deferred :host "h"
                      :attempts ((:family ipv4 :port 587 :outcome timeout
                                          :case 5 :elapsed ,elapsed))))))
    (should (equal (submission-report-gist (funcall receipt 10.01))
                   (submission-report-gist (funcall receipt 9.99))))
    (should-not (equal (submission-report-gist (funcall receipt 10.01))
                       (submission-report-gist '(:status deferred :host "h"))))))

(provide 'submission-outbox-tests)

;;; submission-outbox-tests.el ends here
