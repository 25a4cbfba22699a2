;;; submission-auth.el --- Passwords -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; Passwords come from auth-source.  The sending command looks there;
;; the module asks when a server wants a password that it doesn't have
;; (530), refuses one (535), or when a message is tried again later.
;;
;; A question to the user waits until Emacs has been idle for a second
;; with no minibuffer active.  Several messages that wait for the same
;; account lead to one question.  An answer is saved, as auth-source
;; does, after a server has accepted it and not before.
;;
;; An account is a plist with :hosts and :ports (lists of strings), :user
;; (a string or nil) and :mechanisms (a list of strings).  A token is what
;; auth-source returns: a plist with :user, :secret and maybe
;; :save-function.  Where the secret is a bearer token (OAuth 2.0) there is
;; also :bearer, which is `only' or, if it may be a password as well, `too'.

;;; Code:

(require 'auth-source)
(require 'subr-x)
(require 'submission)
(require 'submission-channel)

(declare-function submission-module-answer "ext:submission-module" (json) t)

(defvar submission-auth-account-function #'ignore
  "Function that returns the account of a message, or nil.
It is called with the id of the message and the directory of its
outbox.")

(defvar submission-auth-waiting nil
  "Non-nil while a command of the user's waits for messages.
Then a question can't get in the way.")

(defvar submission-auth--given (make-hash-table :test #'equal)
  "The tokens that each message was given, newest first, by its id.")

(defvar submission-auth--fresh nil
  "Tokens from the user that no server has accepted yet, by account.")

;;;; Looking up

(defun submission-auth-account (settings)
  "Return the account that SETTINGS, see `submission-settings-get', are for."
  (let ((port (plist-get settings :port))
        (standard '("587" "submission" "25" "smtp")))
    (list :hosts (delete-dups (list (plist-get settings :name)
                                    (plist-get settings :host)))
          :ports (pcase port
                   (465 '("465" "submissions" "smtps"))
                   (0 (delete-dups
                       (append standard
                               (mapcar (lambda (step)
                                         (number-to-string (cdr step)))
                                       (plist-get settings :steps)))))
                   ((or 25 587) standard)
                   (_ (list (number-to-string port))))
          :user (plist-get settings :user)
          :mechanisms (plist-get settings :mechanisms))))

(defun submission-auth--spec (account)
  "Return what `auth-source-search' takes to find ACCOUNT."
  `( :max 1
     :host ,(plist-get account :hosts)
     :port ,(plist-get account :ports)
     ,@(and (plist-get account :user) `(:user ,(plist-get account :user)))))

(defun submission-auth--search (account)
  "Return the token for ACCOUNT, or nil.
A look-up that fails or is cancelled returns (:failed t)."
  (or (submission-auth--call-for-token account (plist-get account :user))
      (let ((found (condition-case nil
                       (car (apply #'auth-source-search
                                   (submission-auth--spec account)))
                     ((error quit) '(:failed t)))))
        (or (and (null (plist-get account :user))
                 (submission-auth--call-for-token account
                                                  (plist-get found :user)))
            (submission-auth--mark-bearer account found)))))

(defvar submission-auth--refused nil
  "The bearer token that the server has just refused, or nil.")

(defun submission-auth--call-for-token (account user)
  "Return what `submission-oauth2-token-function' has for USER of ACCOUNT.
That is nil if there is no such function, or USER is nil."
  (when (and submission-oauth2-token-function user)
    (condition-case err
        (let ((token (funcall submission-oauth2-token-function
                              (car (plist-get account :hosts)) user
                              submission-auth--refused)))
          (and token
               (list :user user :bearer 'only
                     :secret (apply-partially #'identity token))))
      ((error quit)
       (message "submission: no token: %s" (car err))
       '(:failed t)))))

(defun submission-auth--mark-bearer (account token)
  "Return TOKEN with :bearer if it is for the bearer mechanisms of ACCOUNT.
Then the secret is called for here, once."
  (let* ((own (plist-get token :smtp-auth))
         (mechanisms (if own
                         (list (upcase own))
                       (plist-get account :mechanisms)))
         (others (cl-set-difference mechanisms '("OAUTHBEARER" "XOAUTH2")
                                    :test #'equal))
         (bearer (and (< (length others) (length mechanisms))
                      (if others 'too 'only)))
         (secret (and bearer (submission-auth--password token))))
    (if secret
        (append (list :bearer bearer
                      :secret (apply-partially #'identity secret))
                token)
      token)))

(defun submission-auth-lookup (account)
  "Return a token for ACCOUNT without asking the user, or nil.
A look-up that fails or is cancelled returns (:failed t): there may well
be an entry, so the message must not be sent with less protection."
  (or (cdr (assoc account submission-auth--fresh))
      (submission-auth--search account)))

(defun submission-auth--password (token)
  "Return the password in TOKEN, or nil."
  (let* ((secret (plist-get token :secret))
         (password (condition-case nil
                       (if (functionp secret) (funcall secret) secret)
                     ((error quit) nil))))
    (and (stringp password)
         (if (multibyte-string-p password)
             password
           (decode-coding-string password 'utf-8-unix)))))

(defun submission-auth-secret (token)
  "Return TOKEN as the module has it, for `json-serialize', or nil."
  (let ((user (plist-get token :user))
        (password (submission-auth--password token))
        (identity (plist-get token :identity)))
    (and (stringp user) (stringp password)
         (pcase (plist-get token :bearer)
           ('only `((user . ,user) (token . ,password)))
           ('too `((user . ,user) (token . ,password)
                   (password . ,password)))
           (_ `((user . ,user) (password . ,password)
                ,@(and identity `((identity . ,identity)))))))))

(defun submission-auth-call (function token directory &rest alist)
  "Call FUNCTION, one of the module's, with the secret of TOKEN.
DIRECTORY and ALIST are as in `submission-channel-argument'.  An error
is passed on from here, where no argument of any function shows the
secret: a backtrace would print it."
  (let ((failure nil)
        (result nil))
    (condition-case err
        (let ((json (apply #'submission-channel-argument directory
                           `(secret . ,(or (submission-auth-secret token)
                                           :null))
                           alist)))
          (unwind-protect
              (setq result (funcall function json))
            (clear-string json)))
      ((error quit) (setq failure err)))
    (if failure
        (signal (car failure) (cdr failure))
      result)))

(defun submission-auth-give (id token)
  "Note that the message with ID was given TOKEN."
  (push token (gethash id submission-auth--given)))

(defun submission-auth--same-p (token other)
  "Return non-nil if TOKEN and OTHER hold the same user and password."
  (and token other
       (equal (plist-get token :user) (plist-get other :user))
       (equal (submission-auth--password token)
              (submission-auth--password other))))

;;;; Questions from the module

(defvar submission-auth--work nil
  "What waits for a quiet moment, oldest first.
Elements are (ask . EVENT), (save ACCOUNT . TOKEN) and
\(call FUNCTION . ARGS).")

(defvar submission-auth--timer nil
  "The timer that looks for a quiet moment, or nil.")

(defvar submission-auth--busy nil
  "Non-nil while `submission-auth--work' is worked off.")

(defun submission-auth-ask (event)
  "Answer EVENT, a question from the module, in a quiet moment."
  (submission-auth--later (cons 'ask event)))

(defun submission-auth-when-quiet (function &rest args)
  "Call FUNCTION with ARGS in a moment when a question steals no keystrokes."
  (submission-auth--later (cons 'call (cons function args))))

(defun submission-auth--later (item)
  "Deal with ITEM, see `submission-auth--work', in a quiet moment."
  (setq submission-auth--work (nconc submission-auth--work (list item)))
  (cond (noninteractive
         (submission-channel-later #'submission-auth--work-off))
        ((null submission-auth--timer)
         (setq submission-auth--timer
               (run-with-timer 0.2 0.5 #'submission-auth--tick)))))

(defun submission-auth--tick ()
  "Work off what waits if this is a quiet moment."
  (cond ((null submission-auth--work)
         (when submission-auth--timer
           (cancel-timer submission-auth--timer)
           (setq submission-auth--timer nil)))
        ((submission-auth--quiet-p)
         (submission-auth--work-off))))

(defvar submission-auth--asked nil
  "When the last question ended: (NUMBER-OF-INPUT-EVENTS . TIME), or nil.
Emacs doesn't know that it is idle after a question from a timer, until
the next command.")

(defun submission-auth--idle-p ()
  "Return non-nil if the user has typed nothing for a second."
  (let ((idle (current-idle-time)))
    (cond (submission-auth-waiting)
          (idle (>= (float-time idle) 1))
          (submission-auth--asked
           (and (eql num-nonmacro-input-events (car submission-auth--asked))
                (>= (float-time
                     (time-since (cdr submission-auth--asked)))
                    1))))))

(defun submission-auth--quiet-p ()
  "Return non-nil if a question now steals no keystrokes."
  (and (submission-auth--idle-p)
       (zerop (minibuffer-depth))
       (not (active-minibuffer-window))
       (not cursor-in-echo-area)
       (not executing-kbd-macro)
       ;; A daemon without a frame has nobody to ask.
       (not (equal (terminal-name) "initial_terminal"))))

(defun submission-auth--work-off ()
  "Deal with all of `submission-auth--work'."
  (unless submission-auth--busy
    (let ((submission-auth--busy t)
          (inhibit-quit nil))
      (while submission-auth--work
        (pcase (pop submission-auth--work)
          (`(ask . ,event) (submission-auth--answer event))
          (`(save ,account . ,token)
           (submission-auth--save account token))
          (`(call . ,call) (apply #'submission-channel-call call))))
      (setq submission-auth--asked
            (cons num-nonmacro-input-events (current-time))))))

(defun submission-auth--answer (event)
  "Answer EVENT, a question from the module."
  (let* ((id (plist-get event :id))
         (account (submission-auth--account-of event))
         (token (submission-auth--find account event)))
    (when (and (null token) (not noninteractive)
               (not (member (plist-get event :why) '("again" "token"))))
      (setq token (submission-auth--mark-bearer
                   account (submission-auth--prompt account event)))
      (if token
          (setf (alist-get account submission-auth--fresh nil nil #'equal)
                token)
        (submission-auth--decline account)))
    (when (submission-auth-secret token) (submission-auth-give id token))
    (submission-auth--send event token)))

(defun submission-auth--send (event token)
  "Answer EVENT with the secret of TOKEN; nil is nothing."
  (submission-auth-call #'submission-module-answer token
                        (plist-get event :directory)
                        `(ask . ,(plist-get event :ask))))

(defun submission-auth--account-of (event)
  "Return the account that EVENT asks about."
  (or (funcall submission-auth-account-function
               (plist-get event :id) (plist-get event :directory))
      (let ((user (plist-get event :user))
            (host (plist-get event :host)))
        (submission-auth-account
         (list :host host :name host :port (plist-get event :port)
               :user (and user (not (string-empty-p user)) user))))))

(defun submission-auth--find (account event)
  "Return a token for ACCOUNT that answers EVENT without a question, or nil.
It is not one that the message was given before, unless EVENT only asks
for that again."
  (let* ((why (plist-get event :why))
         (again (equal why "again"))
         (used (gethash (plist-get event :id) submission-auth--given))
         (submission-auth--refused
          (and (equal why "token") (submission-auth--password (car used)))))
    (unless again
      (submission-auth--forget account)
      (when (and (member why '("535" "token"))
                 (submission-auth--same-p
                  (car used) (cdr (assoc account submission-auth--fresh))))
        (submission-auth--drop-fresh account)))
    (cl-find-if
     (lambda (token)
       (and (submission-auth--password token)
            (or again (not (cl-member token used
                                      :test #'submission-auth--same-p)))))
     (list (cdr (assoc account submission-auth--fresh))
           (submission-auth--search account)))))

(defun submission-auth--forget (account)
  "Make auth-source look at its files again for ACCOUNT."
  (dolist (host (plist-get account :hosts))
    (auth-source-forget+ :host host)))

(defun submission-auth--decline (account)
  "Answer all questions about ACCOUNT that wait with `no'."
  (dolist (item (prog1 submission-auth--work
                  (setq submission-auth--work nil)))
    (if (and (eq (car item) 'ask)
             (equal account (submission-auth--account-of (cdr item))))
        (submission-auth--send (cdr item) nil)
      (setq submission-auth--work
            (nconc submission-auth--work (list item))))))

(defun submission-auth-drop (id)
  "Forget the questions and the token of the message with ID."
  (remhash id submission-auth--given)
  (setq submission-auth--work
        (cl-remove-if (lambda (item)
                        (and (eq (car item) 'ask)
                             (equal id (plist-get (cdr item) :id))))
                      submission-auth--work)))

;;;; Asking the user

(defun submission-auth--prompt (account event)
  "Ask the user for a token for ACCOUNT because of EVENT.
Return nil if the user doesn't give one."
  (condition-case err
      (let* ((known (submission-auth--search account))
             (user (or (plist-get account :user) (plist-get known :user)))
             (why (if (equal (plist-get event :why) "535")
                      "The server refused the password.  "
                    ""))
             (used (car (gethash (plist-get event :id)
                                 submission-auth--given))))
        (if (submission-auth--password known)
            ;; auth-source would only return what was refused.
            (submission-auth--read account user why)
          (or (submission-auth--create account user why
                                       (plist-get used :user))
              (submission-auth--read account user why))))
    (quit nil)
    (error (message "submission: no password: %s" (car err)) nil)))

(defun submission-auth--create (account user why default)
  "Have auth-source ask for a token for USER at ACCOUNT, so it can be saved.
WHY comes before the prompts.  DEFAULT is the default user name, or nil."
  (let ((auth-source-creation-prompts
         `((user . ,(concat why "SMTP user name for %h: "))
           (secret . ,(concat why "SMTP password for %u@%h: "))))
        (auth-source-creation-defaults
         (if default
             (cons (cons 'user default) auth-source-creation-defaults)
           auth-source-creation-defaults)))
    (car (apply #'auth-source-search
                :max 1
                :host (car (plist-get account :hosts))
                :port (car (plist-get account :ports))
                :require '(:user :secret)
                :create t
                (and user (list :user user))))))

(defun submission-auth--read (account user why)
  "Read a token for USER at ACCOUNT; WHY comes before the prompt."
  (let* ((host (car (plist-get account :hosts)))
         (user (or user
                   (read-string (format "SMTP user name for %s: " host)
                                nil nil (user-login-name))))
         (password (read-passwd
                    (format "%sSMTP password for %s@%s: " why user host))))
    (and (not (string-empty-p password))
         ;; A lambda would print with the password in it where this file
         ;; isn't compiled.
         (list :user user :secret (apply-partially #'identity password)))))

;;;; After the server accepted a password

(defun submission-auth-accepted (id)
  "Note that the server accepted the password of the message with ID."
  (let* ((token (car (gethash id submission-auth--given)))
         (fresh (and token (rassq token submission-auth--fresh))))
    (when fresh
      (submission-auth--later `(save ,(car fresh) . ,token)))))

(defun submission-auth--save (account token)
  "Save TOKEN for ACCOUNT as the user wants; keep it for this session."
  (when (equal token (cdr (assoc account submission-auth--fresh)))
    (submission-auth--forget account)
    (let ((save (plist-get token :save-function)))
      (condition-case nil
          (if save
              (funcall save)
            (message "The password for %s in auth-source is not the right one; \
change it there"
                     (car (plist-get account :hosts))))
        ((error quit) nil)))
    (unless (submission-auth--same-p token (submission-auth--search account))
      (when auth-source-do-cache
        (auth-source-remember (submission-auth--spec account) (list token))))
    (submission-auth--drop-fresh account)))

(defun submission-auth--drop-fresh (account)
  "Forget the token from the user for ACCOUNT."
  (setf (alist-get account submission-auth--fresh nil 'remove #'equal) nil))

(provide 'submission-auth)

;;; submission-auth.el ends here
