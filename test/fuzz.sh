#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# fuzz.sh: each fuzz test for FUZZTIME (default: 20 s), one after the other.

set -eu
: "${GO:=go}" "${FUZZTIME:=20s}"

git grep -lE '^func Fuzz' -- '*_test.go' | while read -r file; do
    sed -n 's/^func \(Fuzz[A-Za-z0-9]*\)(.*/\1/p' "$file" | while read -r name; do
        echo "fuzz: $name in $(dirname "$file")"
        $GO test -run '^$' -fuzz "^$name\$" -fuzztime "$FUZZTIME" "./$(dirname "$file")" </dev/null
    done
done
