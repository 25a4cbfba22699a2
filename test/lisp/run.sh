#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# run.sh: the Lisp tests in a batch Emacs, on this machine's Emacs and, where
# that is older, on Emacs 30, with some of the stories. ERT exits with 0 when no test ran, so the count
# is checked as well.

set -eu
: "${EMACS:=emacs}"
cd "$(dirname "$0")/../.."

loads=''
for file in test/lisp/*-tests.el; do
    loads="$loads -l $file"
done

# tests EMACS...
tests() {
    echo "test-lisp: $("$@" --version | head -n 1)"
    # shellcheck disable=SC2086 # a list of words
    "$@" -Q --batch -L lisp -L test/lisp -l ert $loads --eval '
(let ((stats (ert-run-tests-batch t)))
  (message "%d passed, %d failed, %d skipped"
           (ert-stats-completed-expected stats)
           (ert-stats-completed-unexpected stats)
           (ert-stats-skipped stats))
  (kill-emacs (if (or (zerop (ert-stats-completed stats))
                      (> (ert-stats-completed-unexpected stats) 0))
                  1
                0)))'
}

# shellcheck disable=SC2086 # it may have arguments
tests $EMACS

# shellcheck disable=SC2086 # it may have arguments
major=$($EMACS -Q --batch --eval '(princ emacs-major-version)')
if [ "$major" -ge 30 ]; then
    echo "test-lisp: this machine's Emacs is recent; the tests ran on it alone"
elif [ -e /etc/debian_version ]; then
    tests sh test/emacs30.sh
    # And some of the stories, with the mail readers.
    EMACS=$PWD/test/emacs30.sh ${GO:-go} test -count=1 \
        -run 'TestSteps|TestReceiptShape|TestHooksAndCallbacks|TestMode|TestWaysToSend|TestAccounts|TestFolders|TestMarks|TestMewFlush|TestCopies/.*/(accepted|refused)' ./test/e2e
else
    echo "test-lisp: the tests did NOT run on Emacs 30, which can only be had on Debian here; set EMACS to one" >&2
    [ -z "${CI:-}" ] || exit 1
fi
