;;; submission-copies.el --- Copies of sent mail -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; Fcc and Gcc are filed when a server has accepted the message.  For that
;; they are taken out of the mail buffer when the message is in the outbox,
;; so that the mail reader finds none, and kept in ID.draft, beside what
;; the mail reader would have filed.  When the message is accepted, the
;; mail reader's own function files it, with that text for its mail buffer.
;;
;; ID.draft is a line of JSON, the draft, the text of the copy, and then a
;; line for each thing that was done: `begin N' before the Nth folder and
;; `done N' after it.  Should Emacs die in between, the next one looks
;; whether the copy is in the folder.
;;
;; Where that can't be known, as after a pipe, the copy counts as one that
;; can't be filed: nothing is filed twice unless a person asks for it.
;;
;; A copy that can't be filed leaves the outbox, for the message is done
;; with: it waits in the directory "unfiled" there.

;;; Code:

(require 'message)
(require 'sendmail)
(require 'subr-x)
(require 'submission)
(require 'submission-auth)
(require 'submission-channel)
(require 'submission-report)

(declare-function gnus-alive-p "gnus-util" ())
(declare-function gnus-read-init-file "gnus-start" (&optional inhibit-next))
(declare-function gnus-group-prefixed-name "gnus" (group method &optional full))
(declare-function gnus-check-server "gnus-int" (&optional method silent))
(declare-function gnus-group-real-prefix "gnus" (group))
(declare-function gnus-inews-do-gcc "gnus-msg" (&optional gcc))
(declare-function gnus-inews-group-method "gnus-msg" (group))
(declare-function gnus-request-accept-article "gnus-int" (group &optional gnus-command-method last no-encode))
(declare-function gnus-request-group "gnus-int" (group &optional dont-check gnus-command-method info))
(declare-function gnus-request-head "gnus-int" (article group))
(declare-function nnheader-init-server-buffer "nnheader" ())
(declare-function mu4e--server-add "ext:mu4e-server" (path))
(declare-function mu4e-running-p "ext:mu4e-server" ())
(declare-function notmuch-maildir-message-do-fcc "ext:notmuch-maildir-fcc" ())

(defvar notmuch-command)
(defvar gnus-active-hashtb)
(defvar gnus-newsrc-hashtb)
(defvar gnus-secondary-select-methods)
(defvar gnus-select-method)
(defvar nntp-server-buffer)
(defvar gnus-gcc-externalize-attachments)
(defvar mml-externalize-attachments)
(defvar message-fcc-handler-function)
(defvar smtpmail-queue-mail)
(defvar smtpmail-code-conv-from)

(defvar submission-copies--handlers (make-hash-table :test #'equal)
  "By id, the value of `message-fcc-handler-function' in the mail buffer.
It may be a closure, which only this Emacs has.")

(defvar submission-copies--waiting 0
  "How many messages have copies that wait for a quiet moment.")

(defvar submission-copies-sending nil
  "Non-nil while a mail buffer is being sent, and not what smtpmail queued.")

(defun submission-copies-idle-p ()
  "Return non-nil if no copy waits to be filed now."
  (zerop submission-copies--waiting))

;;;; Taking them out of a mail buffer

(defun submission-copies-take (buffer)
  "Return the copy that BUFFER, a mail buffer that is being sent, asks for.
That is a plist with :head, for `json-serialize', :bytes, a unibyte
string, and :done, a function to call when both are in the outbox.
Return nil if BUFFER asks for none, or if it is to be filed at once."
  (and (eq submission-file-copies 'accepted)
       (with-current-buffer buffer
         (let ((fcc (submission-copies--fields "fcc"))
               (gcc (submission-copies--fields "gcc")))
           (and (or fcc gcc)
                (bound-and-true-p message-encoded-mail-cache)
                (submission-copies--make buffer fcc gcc))))))

(defmacro submission-copies--with-header (&rest body)
  "Evaluate BODY with this buffer, a mail buffer, narrowed to its header."
  (declare (indent 0) (debug t))
  `(save-excursion
     (save-restriction
       (widen)
       (message-narrow-to-headers)
       ,@body)))

(defun submission-copies--fields (name)
  "Return the values of the fields with NAME in the header of this buffer."
  (submission-copies--with-header
    (submission-copies--fields-here name)))

(defun submission-copies--fields-here (name)
  "Return the values of the fields with NAME in this header."
  (let ((case-fold-search t) (values nil))
    (goto-char (point-min))
    (while (re-search-forward
            (format "^%s:[ \t]*\\(.*\\(?:\n[ \t].*\\)*\\)" name) nil t)
      (let ((value (string-trim (match-string-no-properties 1))))
        (unless (string-empty-p value)
          (push value values))))
    (nreverse values)))

(defun submission-copies--make (buffer fcc gcc)
  "Return the copy of this buffer, BUFFER, for the folders FCC and GCC.
These are values of fields; the value is as in `submission-copies-take'."
  (let* ((text (submission-copies--encoded message-encoded-mail-cache))
         (groups (mapcan (lambda (value)
                           (message-tokenize-header value " ,\n\t"))
                         gcc))
         (lean (cl-remove-if-not #'submission-copies--lean-p groups))
         (lean-fcc (and fcc message-fcc-externalize-attachments))
         (second (and (or lean lean-fcc)
                      (submission-copies--encoded
                       (submission-copies--externalized buffer)))))
    (list :head `((way . ,(submission-copies--way))
                  (separator . ,mail-header-separator)
                  (directory . ,default-directory)
                  (coding . ,(car text))
                  (fcc . ,(vconcat fcc))
                  (gcc . ,(vconcat groups))
                  ,@(and second
                         `((lean . ((fcc . ,(if lean-fcc t :false))
                                    (groups . ,(vconcat lean))
                                    (coding . ,(car second))
                                    (start . ,(length (cdr text))))))))
          :bytes (concat (cdr text) (cdr second))
          :handler message-fcc-handler-function
          :done (apply-partially #'submission-copies--remove buffer))))

(defun submission-copies--lean-p (group)
  "Return non-nil if a copy in GROUP, one of Gnus, has no attachments in it.
It only names their files then."
  (let ((which (bound-and-true-p gnus-gcc-externalize-attachments)))
    (if (stringp which)
        (string-match-p which (car (message-unquote-tokens (list group))))
      which)))

(defun submission-copies--externalized (buffer)
  "Return the message in BUFFER, encoded, without its attachments."
  (with-temp-buffer
    (insert (with-current-buffer buffer
              (save-restriction
                (widen)
                (buffer-substring-no-properties (point-min) (point-max)))))
    (message-clone-locals buffer)
    (let ((mml-externalize-attachments t))
      (message-encode-message-body))
    (buffer-string)))

(defun submission-copies--way ()
  "Return how this buffer's mail reader files copies, a string."
  (cond ((eq (symbol-function 'message-do-fcc)
             'notmuch-maildir-message-do-fcc)
         "notmuch")
        ((derived-mode-p 'mu4e-compose-mode) "mu4e")
        ((and (symbolp message-fcc-handler-function)
              message-fcc-handler-function)
         (symbol-name message-fcc-handler-function))
        (t "")))

(defun submission-copies--encoded (text)
  "Return TEXT, an encoded message, as (CODING . BYTES), both strings.
Its header is encoded here."
  (with-temp-buffer
    (insert text)
    (save-restriction
      (message-narrow-to-headers-or-head)
      (mail-encode-encoded-word-buffer))
    (goto-char (point-min))
    (if (re-search-forward "[^[:ascii:]\x3fff80-\x3fffff]" nil t)
        (cons "utf-8-emacs-unix"
              (encode-coding-string (buffer-string) 'utf-8-emacs-unix))
      (cons "" (encode-coding-string (buffer-string) 'no-conversion)))))

(defvar-local submission-copies--lifted nil
  "The lines with Fcc and Gcc that were taken out of this buffer, or nil.")
(put 'submission-copies--lifted 'permanent-local t)

(defun submission-copies--remove (buffer)
  "Take Fcc and Gcc out of BUFFER; they are with the message.
Where `message-send' calls us they come back when it is done."
  (when (buffer-live-p buffer)
    (with-current-buffer buffer
      (let ((inhibit-read-only t)
            (lines nil))
        (submission-copies--with-header
          (goto-char (point-min))
          (while (re-search-forward "^[FfGg][Cc][Cc]:.*\n\\(?:[ \t].*\n\\)*"
                                    nil t)
            (push (match-string 0) lines)
            (replace-match "" t t)))
        (setq submission-copies--lifted
              (string-join (nreverse lines)))))))

(defun submission-copies-around-send (function &rest args)
  "Call FUNCTION, which is `message-send', with ARGS.
Afterwards the buffer asks for the same copies as before, and what mu4e
has set for this one copy is as it was."
  (let ((submission-copies-sending t)
        (buffer (current-buffer))
        (before (submission-copies--fields "fcc"))
        (handler (default-value 'message-fcc-handler-function))
        (sent nil))
    (setq submission-copies--lifted nil)
    (unwind-protect
        (setq sent (apply function args))
      (when (buffer-live-p buffer)
        (with-current-buffer buffer
          (let ((lifted submission-copies--lifted))
            (setq submission-copies--lifted nil)
            (with-silent-modifications
              (cond (lifted
                     (submission-copies--with-header
                       (goto-char (point-max))
                       (insert lifted)))
                    ;; Or it would ask for two when it is sent again.
                    ((and (not sent) (derived-mode-p 'mu4e-compose-mode)
                          (not before))
                     (submission-copies--with-header
                       (message-remove-header "fcc")))))
            (when (and (or lifted (not sent))
                       (derived-mode-p 'mu4e-compose-mode))
              (set-default 'message-fcc-handler-function handler))))))))

;;;; Taking them out of what smtpmail sends for mail-mode

(defvar submission-copies--mail nil
  "The copy that `mail-do-fcc' was to file, or nil.")

(defvar submission-copies-origin nil
  "The buffer in `mail-mode' that is being sent, or nil.")

(defun submission-copies-around-smtpmail (function &rest args)
  "Call FUNCTION, which is `smtpmail-send-it', with ARGS.
A copy that it would file is kept for `submission-copies-taken'."
  (let ((submission-copies--mail nil)
        (submission-copies-sending t)
        (submission-copies-origin (and (derived-mode-p 'mail-mode)
                                       (current-buffer)))
        (file (symbol-function 'mail-do-fcc)))
    (cl-letf (((symbol-function 'mail-do-fcc)
               (lambda (header-end)
                 (if (or smtpmail-queue-mail
                         (not (eq submission-file-copies 'accepted)))
                     (funcall file header-end)
                   (submission-copies--lift header-end)))))
      (apply function args))))

(defun submission-copies--lift (header-end)
  "Take Fcc out of this buffer, whose header ends at HEADER-END."
  (let ((fcc nil))
    (save-restriction
      (narrow-to-region (point-min) header-end)
      (setq fcc (submission-copies--fields-here "fcc"))
      (message-remove-header "fcc"))
    (setq submission-copies--mail
          (list :head `((way . "mail")
                        (directory . ,default-directory)
                        (header . ,(marker-position header-end))
                        (write . ,(symbol-name
                                   (or coding-system-for-write 'utf-8-unix)))
                        (coding . "utf-8-emacs-unix")
                        (fcc . ,(vconcat fcc)))
                :bytes (encode-coding-string (buffer-string)
                                             'utf-8-emacs-unix)))))

(defun submission-copies-taken (buffer)
  "Return the copy of the message that is being sent, or nil.
BUFFER is the mail buffer it comes from, or nil."
  (or submission-copies--mail
      (and buffer (submission-copies-take buffer))))

(defun submission-copies-note (id copy)
  "Note that COPY, see `submission-copies-take', is of the message with ID."
  (when (functionp (plist-get copy :handler))
    (puthash id (plist-get copy :handler) submission-copies--handlers))
  (when (plist-get copy :done)
    (funcall (plist-get copy :done))))

;;;; What is kept

(defun submission-copies-pack (head draft copy)
  "Return the content of ID.draft, a unibyte string.
HEAD is an alist for `json-serialize', DRAFT the text of the draft and
COPY as in `submission-copies-take'; each may be nil."
  (let ((draft (encode-coding-string (or draft "") 'utf-8-emacs-unix)))
    (concat (encode-coding-string
             (submission-channel-encode
              `(,@head
                (size . ,(length draft))
                ,@(and copy
                       `((copy . (,@(plist-get copy :head)
                                  (size . ,(length (plist-get copy :bytes)))))))))
             'us-ascii)
            "\n" draft (plist-get copy :bytes) (and copy "\n"))))

(defun submission-copies-unpack (file)
  "Return what is in FILE, written by `submission-copies-pack', or nil.
It is a plist with the keys of its first line and :text, the draft, or
nil if there is none.  The copy, as :copy, is a plist, too, with :bytes
and :log, the lines after it."
  (ignore-errors
    (with-temp-buffer
      (set-buffer-multibyte nil)
      (let ((file-name-handler-alist nil))
        (insert-file-contents-literally file))
      (let* ((head (submission-channel-decode
                    (buffer-substring (point-min) (line-end-position))))
             (start (line-beginning-position 2))
             (end (+ start (plist-get head :size)))
             (copy (plist-get head :copy)))
        (append
         (list :text (and (> end start)
                          (decode-coding-string (buffer-substring start end)
                                                'utf-8-emacs-unix)))
         (and copy
              (let ((stop (+ end (plist-get copy :size))))
                (list :copy
                      (append (list :bytes (buffer-substring end stop)
                                    :log (split-string
                                          (buffer-substring stop (point-max))
                                          "\n" t))
                              copy))))
         head)))))

;;;; Filing

(defun submission-copies-file (id directory then)
  "File what copies of the message with ID, in DIRECTORY, are to be filed.
Afterwards call THEN with no argument, if it is not nil."
  (let* ((file (expand-file-name (concat id ".draft") directory))
         (copy (and (file-exists-p file)
                    (plist-get (submission-copies-unpack file) :copy))))
    (if (and copy (not noninteractive))
        ;; The mail reader may talk to a server, or to the user.
        (progn
          (setq submission-copies--waiting (1+ submission-copies--waiting))
          (submission-auth-when-quiet
           (lambda ()
             (setq submission-copies--waiting
                   (1- submission-copies--waiting))
             (submission-copies--file-all id file then))))
      (submission-copies--file-all id file then))))

(defun submission-copies-forget (id)
  "Forget what is known of the message with ID; it is about to go."
  (remhash id submission-copies--handlers))

(defun submission-copies--file-all (id file then)
  "File the copies that are kept in FILE of the message with ID.
What can't be filed is kept elsewhere and told.  Then call THEN."
  (let* ((copy (plist-get (submission-copies-unpack file) :copy))
         (shown (current-message))
         (failures (and copy (submission-copies--each id file copy))))
    ;; What a mail reader says is not shown, but clears what is.
    (when (and shown (not (current-message)))
      (let ((message-log-max nil))
        (message "%s" shown)))
    (when failures
      (submission-copies--keep file failures))
    (when then (funcall then))))

(defun submission-copies--targets (copy)
  "Return where COPY is to be filed: a list of (KIND . FOLDER).
KIND is `fcc' or `gcc'."
  (append (mapcar (lambda (folder) (cons 'fcc folder)) (plist-get copy :fcc))
          (mapcar (lambda (group) (cons 'gcc group)) (plist-get copy :gcc))))

(defun submission-copies--each (id file copy &optional again)
  "File COPY, of the message with ID, in each folder it is not in yet.
What is done is written to FILE.  With AGAIN, also where it can't be
known whether it is there.  Return the failures, (FOLDER . WHY)."
  (let ((log (plist-get copy :log))
        (since (time-subtract (file-attribute-modification-time
                               (file-attributes file))
                              60))
        (number 0)
        (failures nil))
    (dolist (target (submission-copies--targets copy))
      (setq number (1+ number))
      (let ((begin (format "begin %d" number))
            (done (format "done %d" number)))
        (unless (member done log)
          (condition-case err
              (let ((there (and (member begin log)
                                (submission-copies--there target copy since))))
                (when (and (eq there 'unknown) (not again))
                  (error "Emacs ended while it was filed; it may be there"))
                (unless (eq there t)
                  (submission-copies--log file begin)
                  (submission-copies--one id target copy))
                (submission-copies--log file done))
            ((error quit)
             (push (cons (cdr target) (error-message-string err))
                   failures))))))
    (nreverse failures)))

(defun submission-copies--log (file line)
  "Add LINE to FILE, and see that it is on the disk."
  (let ((file-name-handler-alist nil)
        (coding-system-for-write 'utf-8-unix)
        (write-region-inhibit-fsync nil)
        (write-region-annotate-functions nil))
    (write-region (concat line "\n") nil file t 0)))

(defun submission-copies--text (target copy)
  "Return the text of COPY for TARGET, a multibyte string."
  (let* ((bytes (plist-get copy :bytes))
         (lean (plist-get copy :lean))
         (start (plist-get lean :start))
         (mine (if (eq (car target) 'gcc)
                   (member (cdr target) (plist-get lean :groups))
                 (plist-get lean :fcc)))
         (text (decode-coding-string
                (if mine (substring bytes start) (substring bytes 0 start))
                (intern (if (string-empty-p
                             (plist-get (if mine lean copy) :coding))
                            "no-conversion"
                          "utf-8-emacs-unix")))))
    (if (multibyte-string-p text) text (string-to-multibyte text))))

(defun submission-copies--one (id target copy)
  "File COPY, of the message with ID, in TARGET.  Signal an error if not."
  (let ((enable-local-variables nil)
        (inhibit-message t)
        ;; This text is the right one already.
        (message-fcc-externalize-attachments nil))
    (with-temp-buffer
      (setq default-directory (or (plist-get copy :directory)
                                  default-directory))
      (insert (submission-copies--text target copy))
      (goto-char (point-min))
      (pcase (list (car target) (plist-get copy :way))
        (`(fcc "mail") (submission-copies--file-mail (cdr target) copy))
        (`(fcc ,way)
         (submission-copies--prepare copy (concat "Fcc: " (cdr target)))
         (setq-local message-fcc-handler-function
                     (submission-copies--handler id way))
         (if (equal way "notmuch")
             (submission-copies--file-notmuch)
           (when (memq message-fcc-handler-function
                       '(nil rmail-output message-output))
             (submission-copies--create (cdr target)))
           (message-do-fcc)))
        (`(gcc ,_)
         (submission-copies--prepare copy nil)
         (submission-copies--file-gcc (cdr target)))))))

(defun submission-copies--file-notmuch ()
  "File this buffer as notmuch does, but for its question when it can't."
  (require 'notmuch)
  (require 'notmuch-maildir-fcc)
  (cl-letf (((symbol-function 'read-char-choice)
             (lambda (&rest _) (error "Notmuch could not store it"))))
    (notmuch-maildir-message-do-fcc)))

(defun submission-copies--create (folder)
  "Create FOLDER if it is a file that isn't there; Rmail would ask first."
  (unless (or (string-match-p "\\`[ \t]*|" folder)
              (file-exists-p folder))
    (make-directory (file-name-directory (expand-file-name folder)) t)
    (write-region "" nil folder nil 0)))

(defun submission-copies--prepare (copy field)
  "Make this buffer, with the text of COPY, look as it did when it was sent.
FIELD is the one field that says where to file it, or nil."
  (setq-local mail-header-separator (plist-get copy :separator))
  (save-restriction
    (message-narrow-to-headers)
    (message-remove-header "^[FfGg][Cc][Cc]:" t)
    (when field
      (goto-char (point-min))
      (insert field "\n")))
  ;; The mail readers don't encode what they find there.
  (setq-local message-encoded-mail-cache (buffer-string))
  (goto-char (point-min)))

(defun submission-copies--handler (id way)
  "Return what to bind `message-fcc-handler-function' to.
ID is that of the message, WAY what was noted in `submission-copies--way'."
  (cond ((equal way "mu4e") #'submission-copies--mu4e)
        ((gethash id submission-copies--handlers))
        ((member way '("" "notmuch"))
         (default-value 'message-fcc-handler-function))
        (t (let ((function (intern-soft way)))
             (if (functionp function)
                 function
               (error "There is no function `%s' here" way))))))

(defun submission-copies--mu4e (file)
  "Write this buffer to FILE, in a maildir, and tell a running mu4e."
  (let ((maildir (file-name-directory
                  (directory-file-name (file-name-directory file))))
        (coding-system-for-write 'utf-8-emacs-unix))
    (dolist (name '("cur" "new" "tmp"))
      (make-directory (expand-file-name name maildir) t))
    (let ((new (expand-file-name (concat "tmp/" (file-name-nondirectory file))
                                 maildir)))
      (write-region (point-min) (point-max) new nil 0)
      (rename-file new file t)))
  (when (and (fboundp 'mu4e-running-p) (mu4e-running-p))
    (mu4e--server-add file)))

(defun submission-copies--file-mail (folder copy)
  "File this buffer, with the text of COPY, in FOLDER, as `mail-mode' would."
  (let ((end (copy-marker (plist-get copy :header)))
        (coding-system-for-write
         (let ((coding (intern-soft (or (plist-get copy :write) ""))))
           (if (coding-system-p coding) coding 'utf-8-unix))))
    (goto-char (point-min))
    (insert "Fcc: " folder "\n")
    (mail-do-fcc end)))

(defun submission-copies--file-gcc (group)
  "File this buffer in GROUP, one of Gnus."
  (submission-copies--load-gnus)
  (let ((stored nil)
        (gnus-gcc-externalize-attachments nil))
    (unwind-protect
        (progn
          (advice-add 'gnus-request-accept-article :filter-return
                      (lambda (result) (setq stored result))
                      '((name . submission-copies)))
          (submission-copies--with-gnus #'gnus-inews-do-gcc group))
      (advice-remove 'gnus-request-accept-article 'submission-copies))
    (unless stored
      (error "Gnus could not store it"))))

(defun submission-copies-do-gcc ()
  "File this mail buffer in the groups that its Gcc names."
  (when (submission-copies--fields "gcc")
    (submission-copies--with-gnus #'gnus-inews-do-gcc)))

(defvar submission-copies--gnus-read nil
  "Non-nil if we have read the user's init file of Gnus.")

(defun submission-copies--load-gnus ()
  "Load what of Gnus is needed to file something, and the user's settings."
  (require 'gnus)
  (require 'gnus-msg)
  (require 'gnus-start)
  (unless (or (gnus-alive-p) submission-copies--gnus-read)
    (gnus-read-init-file)
    (setq submission-copies--gnus-read t))
  ;; The servers put there what they say.
  (unless (buffer-live-p nntp-server-buffer)
    (nnheader-init-server-buffer)))

(defun submission-copies--with-gnus (function &rest args)
  "Call FUNCTION with ARGS where Gnus knows the user's groups.
It need not run; then it has no tables, and empty ones will do."
  (submission-copies--load-gnus)
  (let ((gnus-active-hashtb (or gnus-active-hashtb
                                (make-hash-table :test #'equal)))
        (gnus-newsrc-hashtb (or gnus-newsrc-hashtb
                                (make-hash-table :test #'equal)))
        (method (symbol-function 'gnus-inews-group-method)))
    (cl-letf (((symbol-function 'gnus-inews-group-method)
               (lambda (group)
                 (or (and (not (gnus-alive-p))
                          (submission-copies--group-method group))
                     (funcall method group)))))
      (apply function args))))

(defun submission-copies--group-method (group)
  "Return the select method that the prefix of GROUP names, or nil.
Gnus knows only those of the servers that it has opened."
  (let ((prefix (gnus-group-real-prefix group)))
    (cl-find-if (lambda (method)
                  (and (not (equal prefix ""))
                       (equal prefix (gnus-group-prefixed-name "" method))))
                (cons gnus-select-method gnus-secondary-select-methods))))

;;;; After a crash

(defun submission-copies--there (target copy since)
  "Return t if COPY is in TARGET already, and nil if not.
Return `unknown' where that can't be known.  It was filed after SINCE,
if it was."
  (let ((message-id (with-temp-buffer
                      (insert (plist-get copy :bytes))
                      (goto-char (point-min))
                      (message-narrow-to-headers-or-head)
                      (message-fetch-field "message-id")))
        (folder (cdr target))
        (way (plist-get copy :way)))
    (cond ((null message-id) 'unknown)
          ((eq (car target) 'gcc)
           (condition-case nil
               (and (submission-copies--with-gnus
                     #'submission-copies--in-group-p message-id folder)
                    t)
             (error 'unknown)))
          ((and (string-match-p "\\`[ \t]*|" folder) (not (equal way "mail")))
           'unknown)
          ((submission-copies--in-file-p
            message-id
            (expand-file-name folder (plist-get copy :directory))
            (length (plist-get copy :bytes)) since)
           t)
          ((equal way "notmuch")
           (submission-copies--in-notmuch message-id folder))
          ;; Another function may have put it elsewhere.
          ((member way '("" "mail" "mu4e" "rmail-output" "message-output"))
           nil)
          (t 'unknown))))

(defun submission-copies--in-notmuch (message-id folder)
  "Return t if notmuch has a message with MESSAGE-ID in FOLDER, else nil.
If it can't be asked, return `unknown'.  FOLDER may have tags after it."
  (require 'notmuch)
  (with-temp-buffer
    (if (eql 0 (call-process notmuch-command nil t nil "count"
                             "--exclude=false"
                             (format "id:%s and folder:\"%s\""
                                     (string-trim message-id "<" ">")
                                     (or (car (split-string-and-unquote
                                               folder))
                                         ""))))
        (> (string-to-number (buffer-string)) 0)
      'unknown)))

(defun submission-copies--in-group-p (message-id group)
  "Return non-nil if a message with MESSAGE-ID is in GROUP, one of Gnus."
  (let* ((group (car (message-unquote-tokens (list group))))
         (method (gnus-inews-group-method group)))
    (unless (gnus-check-server method)
      (error "The server of %s can't be reached" group))
    ;; One that isn't there yet has nothing in it.
    (and (gnus-request-group group t method)
         (gnus-request-head message-id
                            (if (string-search ":" group)
                                group
                              (gnus-group-prefixed-name group method))))))

(defun submission-copies--in-file-p (message-id file size since)
  "Return non-nil if a message with MESSAGE-ID is at the end of FILE.
It has SIZE bytes.  If FILE is a maildir, look at what is there SINCE."
  (let ((folders (mapcar (lambda (name) (expand-file-name name file))
                         '("new" "cur"))))
    (cond ((cl-every #'file-directory-p folders)
           (cl-some (lambda (file)
                      (and (time-less-p since
                                        (file-attribute-modification-time
                                         (cdr file)))
                           (submission-copies--in-file-p
                            message-id (car file) size since)))
                    (mapcan (lambda (folder)
                              (directory-files-and-attributes
                               folder t directory-files-no-dot-files-regexp))
                            folders)))
          ((file-regular-p file)
           (with-temp-buffer
             (set-buffer-multibyte nil)
             (let ((length (file-attribute-size (file-attributes file)))
                   (case-fold-search t))
               (insert-file-contents-literally
                file nil (max 0 (- length size 100000)) length)
               (re-search-forward (concat "^Message-ID:[ \t\r\n]*"
                                          (regexp-quote message-id))
                                  nil t)))))))

;;;; What could not be filed

(defun submission-copies--keep (file failures)
  "Keep the content of FILE and tell of FAILURES, a list of (FOLDER . WHY)."
  (let* ((directory (expand-file-name "unfiled" (file-name-directory file)))
         (kept (expand-file-name (file-name-nondirectory file) directory)))
    (unless (equal file kept)
      (with-file-modes #o700
        (make-directory directory t))
      (copy-file file kept t)
      (submission-copies--log kept "kept")
      (pcase-dolist (`(,number . ,_)
                     (submission-copies--numbered file))
        (submission-copies--log file (format "done %d" number))))
    (submission-copies--tell
     (format "The message was sent, but its copy could not be filed: %s.  \
It is kept in %s; `M-x submission-copies-again' tries again"
             (mapconcat (lambda (failure)
                          (format "%s (%s)" (car failure) (cdr failure)))
                        failures ", ")
             (abbreviate-file-name kept)))))

(defun submission-copies--numbered (file)
  "Return the targets of the copy in FILE, each as (NUMBER KIND . FOLDER)."
  (let ((number 0))
    (mapcar (lambda (target) (cons (setq number (1+ number)) target))
            (submission-copies--targets
             (plist-get (submission-copies-unpack file) :copy)))))

(defun submission-copies--tell (text)
  "Tell the user TEXT, loudly."
  (submission-report-log nil "%s" text)
  (if noninteractive
      (message "submission: %s" text)
    (display-warning 'submission text :warning)))

;;;###autoload
(defun submission-copies-again ()
  "Try again to file the copies of sent mail that could not be filed.
Return how many messages have all their copies now."
  (interactive)
  (let ((directory (expand-file-name "unfiled" (submission-channel-directory)))
        (count 0))
    (dolist (file (and (file-directory-p directory)
                       (directory-files directory t "\\`[0-9].*\\.draft\\'")))
      (let* ((copy (plist-get (submission-copies-unpack file) :copy))
             (failures (and copy (submission-copies--each
                                  (file-name-base file) file copy t))))
        (cond (failures (submission-copies--keep file failures))
              (copy (delete-file file)
                    (setq count (1+ count))))))
    (message "Copies of %d message%s filed" count (if (= count 1) "" "s"))
    count))

(provide 'submission-copies)

;;; submission-copies.el ends here
