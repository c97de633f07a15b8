#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The system calls one by one, with every flag on every kind of node. The tables are in posix.py and posix_files.py.
. "$(dirname "$0")/common.sh"

posix() {
	python3 -S -B "$here/posix.py" "$1" "$mnt"
}

posix_files() {
	python3 -S -B "$here/posix_files.py" "$1" "$mnt"
}

# What one who is neither owner nor root may do.
strangers() {
	chmod 711 "$work"
	posix strangers
}

mount_at_start
for c in open refused times access removed; do
	check "$c" posix $c
done
for c in read map write descriptors readdir; do
	check "$c" posix_files $c
done
if [ "$(id -u)" -eq 0 ]; then
	check "handles" posix handles
	check "mount with allow_other" remount allow_other
	check "another user" strangers
else
	skip "handles, another user" "only root may"
fi
unmount_at_end
