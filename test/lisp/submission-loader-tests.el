;;; submission-loader-tests.el --- Finding and loading the module -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: GPL-3.0-or-later

;;; Code:

(require 'ert)
(require 'submission-loader)

(defmacro submission-loader-tests--without (&rest body)
  "Evaluate BODY as if the module had not been loaded."
  `(let ((loaded (and (fboundp 'submission-module-version)
                      (symbol-function 'submission-module-version))))
     (unwind-protect
         (progn (fmakunbound 'submission-module-version) ,@body)
       (if loaded
           (fset 'submission-module-version loaded)
         (fmakunbound 'submission-module-version)))))

(defun submission-loader-tests--error ()
  "Return the text of the error that loading the module ends in."
  (let ((err (should-error (submission-loader-ensure)
                           :type 'submission-module-missing)))
    (should (memq 'user-error (get (car err) 'error-conditions)))
    (cadr err)))

(ert-deftest submission-loader-missing ()
  "Each way in which the module can be missing has its own words."
  (submission-loader-tests--without
   (let ((module-file-suffix nil))
     (should (string-search "without dynamic modules"
                            (submission-loader-tests--error))))
   (let ((load-path nil)
         (submission-loader--directory "/nonexistent/"))
     (should (string-search "submission-module-compile"
                            (submission-loader-tests--error))))
   (let* ((directory (make-temp-file "lib" t))
          (load-path (list directory))
          (file (expand-file-name (concat "submission-module"
                                          module-file-suffix)
                                  directory)))
     (unwind-protect
         (progn
           (write-region "not a library" nil file nil 'silent)
           (let ((text (submission-loader-tests--error)))
             (should (string-search file text))
             (should (string-search "submission-module-compile" text))))
       (delete-directory directory t)))))

(ert-deftest submission-loader-version ()
  "A module of another version is refused, with what to do."
  (submission-loader-tests--without
   (fset 'submission-module-version (lambda () "0.0.7"))
   (let ((text (submission-loader-tests--error)))
     (should (string-search "0.0.7" text))
     (should (string-search submission-version text))
     (should (string-search "restart Emacs" text)))
   (fset 'submission-module-version (lambda () submission-version))
   (submission-loader-ensure)))

(ert-deftest submission-loader-old-emacs ()
  "Emacs 27 is told what it needs before anything is loaded."
  (let ((emacs-version "27.1"))
    (should (string-search
             "Emacs 28.1"
             (cadr (should-error (submission-submit "/nonexistent")
                                 :type 'submission-module-missing))))))

(ert-deftest submission-loader-order ()
  "A module on `load-path' comes before the one beside the Lisp files."
  (let* ((one (make-temp-file "one" t))
         (two (make-temp-file "two" t))
         (name (concat "submission-module" module-file-suffix))
         (load-path (list one))
         (submission-loader--directory two))
    (unwind-protect
        (progn
          (should-not (submission-loader--find))
          (write-region "" nil (expand-file-name name two) nil 'silent)
          (should (equal (submission-loader--find)
                         (expand-file-name name two)))
          (write-region "" nil (expand-file-name name one) nil 'silent)
          (should (equal (submission-loader--find)
                         (expand-file-name name one))))
      (delete-directory one t)
      (delete-directory two t))))

(ert-deftest submission-version-is-that-of-the-header ()
  "The version in the header, which the module is built with, is ours."
  (require 'lisp-mnt)
  (should (equal submission-version
                 (lm-version (locate-library "submission.el")))))

;;; submission-loader-tests.el ends here
