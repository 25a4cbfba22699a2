#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# lint.sh: what can be found wrong without running anything. The tools that
# exit with 0 on a finding (gofmt, checkdoc) are judged by what they print.

set -eu
: "${GO:=go}" "${EMACS:=emacs}"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
    echo "lint: $*" >&2
    exit 1
}

unformatted=$(gofmt -l fallback family module test)
[ -z "$unformatted" ] || fail "not formatted with gofmt: $unformatted"

$GO vet ./...
# What builds without cgo is checked for other systems too.
for os in darwin windows; do
    GOOS=$os CGO_ENABLED=0 $GO vet ./fallback ./family ./module/internal/...
done
$GO run honnef.co/go/tools/cmd/staticcheck@v0.7.0 ./...

sh test/manual.sh
shellcheck test/*.sh test/*/*.sh .ci/run

# Byte-compile away from the sources, warnings being errors.
cp lisp/*.el "$work"
$EMACS -Q --batch -L "$work" --eval '(setq byte-compile-error-on-warn t)' \
    -f batch-byte-compile "$work"/*.el
# Without the sources beside it, nothing may be declared that isn't there.
$EMACS -Q --batch -L lisp --eval '(check-declare-directory "lisp")' >"$work/declare" 2>&1 ||
    { cat "$work/declare" >&2; fail "check-declare"; }
! grep -n 'Warning' "$work/declare" || fail "check-declare"
for file in lisp/*.el; do
    $EMACS -Q --batch -L lisp --eval "(progn (require 'checkdoc) (checkdoc-file \"$file\"))" >>"$work/checkdoc" 2>&1
done
[ ! -s "$work/checkdoc" ] || { cat "$work/checkdoc" >&2; fail "checkdoc"; }

! git grep -nI -E ' +$' -- '*.go' '*.el' '*.sh' Makefile || fail "spaces at the end of a line"
echo "lint: nothing found"
