#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
#
# ssh.sh ROOT DIR: an sshd for one connection, which is standard input and
# output. It runs in a mount namespace of its own, on an overlay of the unpacked
# packages in ROOT, with the keys and the configuration in DIR.

set -eu
root=$1 dir=$2

# The overlay gets short names: in ROOT's there may be a colon or a comma.
mkdir -p "$dir/frame"
mount -t tmpfs -o mode=755 tmpfs "$dir/frame"
cd "$dir/frame"
mkdir packages upper work top
mount --bind "$root" packages
mount -t overlay -o lowerdir=packages,upperdir=upper,workdir=work overlay top
cd top
mkdir -p etc/ssh run/sshd dev proc root
printf '%s\n' root:x:0:0::/root:/bin/sh sshd:x:100:65534::/run/sshd:/usr/sbin/nologin >etc/passwd
echo nogroup:x:65534: >etc/group
cp "$dir/host_key" etc/ssh/host_key
cp "$dir/key.pub" etc/ssh/authorized_keys
cp "$dir/config" etc/ssh/sshd_config
chmod 600 etc/ssh/host_key
mount -t proc proc proc
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom; do
    : >dev/$device
    mount --bind /dev/$device dev/$device
done
exec chroot . /usr/sbin/sshd -i -e
