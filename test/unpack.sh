#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# unpack.sh NAME RELEASE PACKAGE...
#
# Unpack Debian packages, and what they need that this machine doesn't have,
# into test/.cache/NAME, without installing anything, and print that directory.
# RELEASE is "" or a part of the archive beside the machine's own, such as
# backports. The packages are downloaded once; it is there as a whole or not at
# all.

set -eu
name=$1 release=$2
shift 2

fail() {
    echo "unpack.sh: $*" >&2
    exit 1
}

cache=$(cd "$(dirname "$0")" && pwd)/.cache
root=$cache/$name
mkdir -p "$cache"
exec 9>"$cache/$name.lock"
flock 9
if [ -d "$root" ]; then
    echo "$root"
    exit
fi
for command in apt-get dpkg; do
    command -v $command >/dev/null || fail "$* can't be had: there is no $command here, so this is no Debian system"
done

apt=$root.apt
rm -rf "$apt" "$root.new"
trap 'rm -rf "$apt" "$root.new"' EXIT
mkdir -p "$apt/archives/partial" "$apt/lists/partial" "$apt/sources" "$root.new"
wanted=$*
for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -f "$list" ] || continue
    to=$apt/sources/${list##*/}
    # In a directory only .list and .sources count.
    [ "$list" != /etc/apt/sources.list ] || to=$to.list
    if [ -n "$release" ]; then
        sed "s/-updates\>/-$release/g" "$list" >"$to"
    else
        cp "$list" "$to"
    fi
done
if [ -n "$release" ]; then
    # shellcheck disable=SC1091 # it is the system's
    codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    wanted=
    for package; do wanted="$wanted $package/$codename-$release"; done
fi

quietly() {
    "$@" >"$apt/output" 2>&1 || { cat "$apt/output" >&2; return 1; }
}
# What is installed is the machine's; what is downloaded is ours.
apt_get() {
    quietly apt-get -qq -y -o Dir::State="$apt" -o Dir::State::status=/var/lib/dpkg/status \
        -o Dir::Cache="$apt" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$apt/sources" \
        -o APT::Sandbox::User=root -o Acquire::Languages=none -o Acquire::Retries=3 \
        -o Debug::NoLocking=1 "$@"
}
# A list that can't be had may be one that isn't needed: the install decides.
apt_get update || true
# shellcheck disable=SC2086 # a list of words
apt_get install --download-only --reinstall --no-install-recommends $wanted ||
    fail "$* can't be downloaded"
for deb in "$apt"/archives/*.deb; do
    dpkg -x "$deb" "$root.new"
done
mv "$root.new" "$root"
echo "$root"
