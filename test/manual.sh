#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# manual.sh: the manual is whole and true, as far as names go. It has every
# command and option of lisp/ in its indexes; no name in it, in README.md or in
# the rest of doc/ is one that doesn't exist; it is of the same version; and makeinfo
# has nothing to say about it.

set -eu
manual=doc/submission.texi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Each line that comes in is a finding.
complain() {
    while read -r name; do
        echo "manual: $1 $name" >&2
        echo >"$work/failed"
    done
}

# Definitions: what kind, and its name. A command is what says that it is
# interactive, or what a macro makes one.
for file in lisp/*.el; do
    [ "$file" = lisp/submission-autoloads.el ] || cat "$file"
done >"$work/lisp"
awk '
    { sub(/[()]+$/, "", $2); sub(/^\047/, "", $2) }
    $1 ~ /^\((defcustom)$/ { print "option", $2 }
    $1 ~ /^\((define-minor-mode|define-derived-mode|transient-define-prefix)$/ { print "command", $2 }
    $1 ~ /^\((cl-)?def[a-z-]+$/ || $1 ~ /^\(transient-define-prefix$/ { name = $2; print "name", name }
    /^  \(interactive/ { print "command", name }
' "$work/lisp" | grep ' submission-' | grep -Ev '^(option|command) .*--' | sort -u >"$work/defined"
of() { sed -n "s/^$1 //p" "$work/defined" | sort -u; }

# A way of writing that is not known here must not look as if all were well.
grep '(defcustom' "$work/lisp" | grep -v '^(defcustom ' | complain "not understood as an option:"
grep -E '\(interactive( [^.]|\)|$)' "$work/lisp" | grep -v '^  (interactive' | complain "not understood as a command:"
for what in option command; do
    [ -n "$(of "$what")" ] || echo "$what" | complain "there is not one"
done

# A user option has a variable's place in the indexes, a command a function's.
index() { sed -n -E "s/^$1 (Command )?(submission-[a-z0-9-]+).*/\\$2/p" "$manual" | sort -u; }
index '@(defopt|defoptx|vindex)' 3 >"$work/options"
index '@(deffn|deffnx|defun|defunx|findex)' 3 >"$work/functions"

of option >"$work/is-option"
of command >"$work/is-command"
comm -23 "$work/is-option" "$work/options" | complain "there is no @defopt for the option"
comm -23 "$work/is-command" "$work/functions" | complain "there is no @deffn or @findex for the command"
index '@defopt' 2 | comm -23 - "$work/is-option" | complain "this is no option:"
index '@deffn Command' 2 | comm -23 - "$work/is-command" | complain "this is no command:"

# Whatever looks like a name of ours must be one: of Lisp, of a file of Lisp or
# of a function of the module.
{
    of name
    for file in lisp/*.el; do basename "$file" .el; done
    sed -n 's/.*"\(submission-module-[a-z-]*\)".*/\1/p' module/*.go
    echo submission-module
} | sort -u >"$work/names"
{
    cat "$work/options" "$work/functions"
    grep -oE '@(code|var|kbd)\{[^}]*\}' "$manual" | grep -oE 'submission-[a-z0-9-]+'
    # shellcheck disable=SC2016 # backquotes of Markdown
    grep -ohE '(`|M-x +)submission-[a-z0-9-]+' README.md doc/*.md doc/NEWS | grep -oE 'submission-[a-z0-9-]+'
} | sort -u | comm -23 - "$work/names" | complain "there is nothing that is called"

version=$(sed -n 's/^;; Version: *//p' lisp/submission.el)
grep -qx "@set VERSION $version" "$manual" || echo "$version" | complain "the manual is not of version"
grep -q "^\* Version $version" doc/NEWS || echo "$version" | complain "NEWS says nothing of version"

for format in --info --html; do
    makeinfo "$format" --no-split -o "$work/out" "$manual" 2>&1
done | complain "makeinfo says:"

[ ! -e "$work/failed" ]
