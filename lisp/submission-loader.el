;;; submission-loader.el --- Find, load and build the module -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;; This file is part of submission; see submission.el for its terms.

;;; Commentary:

;; The dynamic module is looked for on `load-path', so that a
;; distribution can ship it, and then beside this file.  It is loaded
;; when it is first needed, once, and never built without being asked.
;;
;; This file must not be called submission-module.el: with the module
;; on `load-path', (require 'submission-module) would load the module.

;;; Code:

(require 'compile)
(require 'subr-x)
(require 'submission)

(declare-function submission-module-protect "ext:submission-module" () t)
(declare-function submission-module-version "ext:submission-module" () t)

(defconst submission-loader--directory
  (file-name-directory (or load-file-name buffer-file-name default-directory))
  "The directory of this file.")

(defun submission-loader--fail (format &rest args)
  "Signal that the module can't be used, for the reason FORMAT with ARGS."
  (signal 'submission-module-missing
          (list (apply #'format-message format args))))

(defun submission-loader--find ()
  "Return the file name of the module, or nil."
  (locate-file "submission-module"
               (append load-path (list submission-loader--directory))
               (list module-file-suffix)))

(defun submission-loader-ensure ()
  "Load the module unless it is loaded; signal an error if that fails.
The error is a `submission-module-missing', which says what to do."
  (unless (fboundp 'submission-module-version)
    (unless (and (boundp 'module-file-suffix) module-file-suffix
                 (fboundp 'module-load))
      (submission-loader--fail
       "This Emacs was built without dynamic modules; use one that has them"))
    (let ((file (submission-loader--find)))
      (unless file
        (submission-loader--fail
         "The module has not been built; type `M-x submission-module-compile'"))
      (condition-case err
          (module-load file)
        (error
         (submission-loader--fail
          "%s can't be loaded (%s); type `M-x submission-module-compile'"
          file (error-message-string err)))))
    (advice-add 'profiler-start :after #'submission-loader--protect))
  (submission-loader--check-version))

(defun submission-loader--check-version ()
  "Signal an error unless the module and the Lisp files fit together."
  (let ((version (submission-module-version)))
    (unless (equal version submission-version)
      (submission-loader--fail
       "The module is version %s, and the Lisp files are %s; type `M-x \
submission-module-compile' and restart Emacs"
       version submission-version))))

(defun submission-loader--protect (&rest _)
  "Keep the profiler's signals off the module's stacks."
  (submission-module-protect))

;;;; Building

(defun submission-loader--source-directory ()
  "Return the directory with the sources of the module, or nil."
  (let ((parent (file-name-directory
                 (directory-file-name submission-loader--directory))))
    (cl-find-if (lambda (directory)
                  (and (file-exists-p (expand-file-name "Makefile" directory))
                       (file-directory-p
                        (expand-file-name "module" directory))))
                (list parent submission-loader--directory))))

;;;###autoload
(defun submission-module-compile ()
  "Build the dynamic module in the background, in a compilation buffer.
This needs make, Go 1.25 or later and a C compiler; what is missing is
named in the buffer that comes up.  Return that buffer."
  (interactive)
  (let ((directory (or (submission-loader--source-directory)
                       (submission-loader--fail
                        "The sources of the module are not here: no Makefile \
beside or above %s"
                        submission-loader--directory))))
    (unless (executable-find "make")
      (submission-loader--fail
       "Building the module needs `make', which is not in `exec-path'"))
    (let ((buffer (compilation-start
                   (format "make -C %s" (shell-quote-argument directory))
                   nil
                   (lambda (_mode) "*submission-module-compile*"))))
      (with-current-buffer buffer
        (add-hook 'compilation-finish-functions
                  #'submission-loader--built nil t))
      buffer)))

(defun submission-loader--built (_buffer outcome)
  "Tell about the end of the build; OUTCOME is compilation's word for it."
  (cond ((not (string-prefix-p "finished" outcome))
         (message "The module was not built: %s" (string-trim outcome)))
        ((not (fboundp 'submission-module-version))
         (message "The module is built; mail can be sent now"))
        (t
         (message "The module is built; restart Emacs to use the new one"))))

(provide 'submission-loader)

;;; submission-loader.el ends here
