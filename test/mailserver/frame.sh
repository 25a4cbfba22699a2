#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# frame.sh ROOT RUN HOSTNAME
#
# The first process of a server's namespaces. ROOT holds unpacked packages; RUN
# holds files (what comes over ROOT), out (the server's /srv: mailboxes and
# logs), top (where all is put together), addresses and firewall. It starts the
# server with its /etc/start, says 'started', and stays until its standard input
# ends; then the kernel ends whatever else is left in here.

set -eu
root=$1 run=$2 host=$3
PATH=$PATH:/usr/sbin:/sbin

echo "$host" >/proc/sys/kernel/hostname
ip link set lo up
while read -r address; do
    ip address add "$address/32" dev lo
done <"$run/addresses"
nft -f "$run/firewall"

# The overlay gets short names: in ROOT's there may be a colon or a comma.
mount -t tmpfs -o mode=755 tmpfs "$run/top"
cd "$run/top"
mkdir packages files upper work root
mount --bind "$root" packages
mount --bind "$run/files" files
mount -t overlay -o lowerdir=files:packages,upperdir=upper,workdir=work overlay root
cd root
mkdir -p srv proc dev
mount --bind "$run/out" srv
mount -t proc proc proc
# Its own: on /dev/log of the machine the machine's own log listens.
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom; do
    : >dev/$device
    mount --bind /dev/$device dev/$device
done

chroot . /bin/sh /etc/start >srv/start.log 2>&1 </dev/null
echo started
# Nothing is ever written to it: this ends with the test.
read -r _ || exit 0
