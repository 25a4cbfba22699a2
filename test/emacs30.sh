#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# emacs30.sh ARGUMENT...
#
# Run the Emacs 30 of Debian's backports, which is unpacked and not installed.
# The first time it is downloaded (43 MB).

set -eu
root=$(sh "$(dirname "$0")/unpack.sh" emacs30 backports emacs-nox emacs-common emacs-bin-common emacs-el)
one() {
    [ -e "$1" ] || { echo "emacs30.sh: there is no $1" >&2; exit 1; }
    echo "$1"
}
share=$(one "$root"/usr/share/emacs/[0-9]*)
LD_LIBRARY_PATH=$(one "$root"/usr/lib/*-linux-gnu)${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
EMACSLOADPATH=$share/lisp EMACSDATA=$share/etc EMACSDOC=$share/etc
EMACSPATH=$(one "$root"/usr/libexec/emacs/*/*-linux-gnu)
dump=$(one "$EMACSPATH"/*.pdmp)
export LD_LIBRARY_PATH EMACSLOADPATH EMACSDATA EMACSDOC EMACSPATH
exec "$root/usr/bin/emacs-nox" --dump-file="$dump" "$@"
