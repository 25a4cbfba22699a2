#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# tools.sh PURPOSE GO-WANTED GO
#
# See that what PURPOSE (build, demo or test) needs is there. On a Debian
# system, as root, Debian packages that are missing are installed; otherwise
# say in a sentence what to install, and fail.

purpose=$1 wanted=$2 go=$3

fail() {
    echo "submission: $*" >&2
    exit 1
}

# older A B: is version A older than B?
older() { [ "$1" != "$2" ] && [ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

check_go() {
    command -v "$go" >/dev/null 2>&1 ||
        fail "Go $wanted or later is needed and '$go' was not found; see 'What you need' in README.md"
    have=$("$go" env GOVERSION 2>/dev/null) && have=${have#go} && have=${have%% *}
    [ -n "$have" ] || have=$("$go" version | sed 's/.*go\([0-9.]*\).*/\1/')
    ! older "$have" "$wanted" ||
        fail "Go $wanted or later is needed, and '$go' is Go $have; see 'What you need' in README.md"
}

# The command or file that tells that a package is there, and the package.
packages_for() {
    case $1 in
        build) echo "cc:gcc make:make" ;;
        demo) echo "cc:gcc make:make emacs:emacs-nox" ;;
        test) echo "cc:gcc make:make emacs:emacs-nox ip:iproute2 unshare:util-linux" \
                   "nft:nftables tmux:tmux openssl:openssl ssh:openssh-client makeinfo:texinfo shellcheck:shellcheck" ;;
    esac
}

missing=''
for pair in $(packages_for "$purpose"); do
    command=${pair%%:*}
    case $command in
        cc) command=${CC:-$("$go" env CC 2>/dev/null || echo cc)} ;;
        emacs) command=${EMACS:-emacs} ;;
    esac
    PATH=$PATH:/usr/sbin:/sbin command -v "${command%% *}" >/dev/null 2>&1 || missing="$missing ${pair#*:}"
done

if [ -n "$missing" ]; then
    if [ "$purpose" != build ] && [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ]; then
        echo "submission: installing$missing"
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq || fail "could not update the list of packages"
        # shellcheck disable=SC2086 # a list of words
        apt-get install -qq -y --no-install-recommends $missing >/dev/null || fail "could not install$missing"
    else
        fail "to $purpose, these packages are missing:$missing (on Debian, as root: apt-get install$missing)"
    fi
fi
check_go
