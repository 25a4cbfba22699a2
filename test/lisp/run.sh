#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# run.sh: the Lisp tests in one batch Emacs. ERT exits with 0 when no test
# ran, so the count is checked as well.

set -eu
: "${EMACS:=emacs}"
cd "$(dirname "$0")/../.."

loads=''
for file in test/lisp/*-tests.el; do
    loads="$loads -l $file"
done
# shellcheck disable=SC2086 # a list of words
$EMACS -Q --batch -L lisp -L test/lisp -l ert $loads --eval '
(let ((stats (ert-run-tests-batch t)))
  (message "%d passed, %d failed, %d skipped"
           (ert-stats-completed-expected stats)
           (ert-stats-completed-unexpected stats)
           (ert-stats-skipped stats))
  (kill-emacs (if (or (zerop (ert-stats-completed stats))
                      (> (ert-stats-completed-unexpected stats) 0))
                  1
                0)))'
