;;; submission-diagnose-words.el --- What a diagnosis says of a server -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; A row is what the module has found out about one server.  Here it
;; becomes text: the cells of a table, a sentence, and all about one step.

;;; Code:

(require 'subr-x)

(defun submission-diagnose-words--outcome (row place)
  "Return in a word or two how the step of ROW at PLACE ended."
  (let* ((step (nth place (plist-get row :steps)))
         (state (plist-get step :state))
         (case (plist-get step :case)))
    (cond ((null step)
           (if (equal (plist-get row :state) "done") "" (plist-get row :state)))
          ((equal state "skipped") "")
          ((not (equal state "done")) state)
          (case (format "%d %s" case (plist-get step :outcome)))
          (t (plist-get step :outcome)))))

(defun submission-diagnose-words--seen (row)
  "Return the step of ROW whose server is shown, or nil if none answered.
Port 587 comes before 465 and 25, and IPv4 before IPv6."
  (let ((steps (plist-get row :steps))
        (places '(1 0 4 3 2))
        (seen nil))
    (while (and places (not seen))
      (let ((step (nth (pop places) steps)))
        (when (plist-get step :greeting)
          (setq seen step))))
    seen))

(defun submission-diagnose-words--starttls (step)
  "Return whether STEP found STARTTLS, and how good the certificate is."
  (let ((certificate (plist-get step :certificate))
        (tls (plist-get step :tls)))
    (concat (cond ((null step) "")
                  ((eql (plist-get step :port) 465) "implicit TLS")
                  ((plist-get step :starttls) "yes")
                  (t "no"))
            (cond ((equal tls "verified") ", certificate good")
                  ((equal tls "unverified")
                   (concat ", certificate bad: " certificate))
                  ((plist-get step :starttls)
                   (concat ", but: " (plist-get step :problem)))))))

(defun submission-diagnose-words--refusal (row)
  "Return whether port 587 of ROW refuses mail without AUTH."
  (let ((answers (mapcar (lambda (place)
                           (let ((step (nth place (plist-get row :steps))))
                             (cons (/ (or (plist-get step :mail) 0) 100)
                                   (plist-get step :mail-reply))))
                         '(1 0))))
    (cond ((assq 2 answers) "no, or this network is authorised")
          ((assq 5 answers) "yes")
          ((assq 4 answers) (concat "not known: " (cdr (assq 4 answers))))
          (t ""))))

(defun submission-diagnose-words-server (row)
  "Return the server of ROW as its line has it."
  (pcase (plist-get row :way)
    ("ssl" (concat (plist-get row :host) ":465"))
    ("ssh" (format "%s ssh:%s" (plist-get row :host) (plist-get row :gate)))
    (_ (plist-get row :host))))

(defun submission-diagnose-words--aside (row)
  "Return why ROW does not count in the summary, or \"\" if it does."
  (let ((repeat (plist-get row :repeat)))
    (cond ((plist-get row :local) "local")
          ((not (zerop repeat)) (format "repeats line %d" repeat))
          (t ""))))

(defun submission-diagnose-words--names (names)
  "Return NAMES, a list of strings, as one."
  (mapconcat #'identity names " "))

(defconst submission-diagnose-words-columns
  '(("Server" . 28) ("Kind" . 10) ("Set aside" . 10)
    ("587 IPv6" . 11) ("587 IPv4" . 11) ("25 IPv6" . 11) ("25 IPv4" . 11)
    ("465" . 11) ("Refuses mail without AUTH" . 12) ("STARTTLS" . 21)
    ("AUTH before TLS" . 15) ("AUTH under TLS" . 20) ("SIZE" . 10)
    ("EHLO name" . 24) ("Seconds" . 8) ("Greeting" . 0))
  "The names of the columns and how wide they are in the buffer.")

(defun submission-diagnose-words-cells (row)
  "Return what is in the columns for ROW, a vector of strings."
  (let ((seen (submission-diagnose-words--seen row)))
    (vector (submission-diagnose-words-server row)
            (plist-get row :kind)
            (submission-diagnose-words--aside row)
            (submission-diagnose-words--outcome row 0)
            (submission-diagnose-words--outcome row 1)
            (submission-diagnose-words--outcome row 2)
            (submission-diagnose-words--outcome row 3)
            (submission-diagnose-words--outcome row 4)
            (submission-diagnose-words--refusal row)
            (submission-diagnose-words--starttls seen)
            (submission-diagnose-words--names (plist-get seen :auth-clear))
            (submission-diagnose-words--names (plist-get seen :auth-secure))
            (or (plist-get seen :size) "")
            (or (plist-get seen :name) "")
            (format "%.2f" (plist-get row :seconds))
            (or (plist-get seen :greeting) ""))))

(defun submission-diagnose-words-sentence (row)
  "Return a sentence on ROW and submission."
  (format "%s offers submission as RFC 6409 asks: %s."
          (plist-get row :host) (plist-get row :words)))

(defun submission-diagnose-words-headline (summary)
  "Return a line on what SUMMARY counts, and what it does not."
  (let ((lines (plist-get summary :lines))
        (local (plist-get summary :local)))
    (format "%d reports, less %d local: %d, less %d repeats: %d servers"
            lines local (- lines local)
            (plist-get summary :repeats) (plist-get summary :servers))))

(defun submission-diagnose-words-step (step)
  "Return all that is known of STEP."
  (concat
   (format "\nPort %d, %s: %s" (plist-get step :port)
           (pcase (plist-get step :family)
             ("ipv4" "IPv4") ("ipv6" "IPv6") (_ "IPv6 or IPv4"))
           (if (equal (plist-get step :state) "done")
               (plist-get step :outcome)
             (plist-get step :state)))
   (and (plist-get step :case)
        (format " (case %d)" (plist-get step :case)))
   (and (equal (plist-get step :state) "done")
        (format " after %.2f seconds" (plist-get step :seconds)))
   "\n"
   (mapconcat
    (pcase-lambda (`(,name . ,value))
      (if (member value '(nil "")) "" (format "  %-18s %s\n" name value)))
    (list
     (cons "address" (plist-get step :address))
     (cons "seen" (plist-get step :detail))
     (cons "greeting" (plist-get step :greeting))
     (cons "EHLO name" (plist-get step :name))
     (and (plist-get step :greeting)
          (cons "STARTTLS" (submission-diagnose-words--starttls step)))
     (cons "AUTH before TLS" (string-join (plist-get step :auth-clear) " "))
     (cons "AUTH under TLS" (string-join (plist-get step :auth-secure) " "))
     (cons "SIZE" (plist-get step :size))
     (cons "MAIL without AUTH" (plist-get step :mail-reply))
     (cons "problem" (plist-get step :problem)))
    "")))

(provide 'submission-diagnose-words)

;;; submission-diagnose-words.el ends here
