#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Mounting as an administrator does: mount(8) and a line in fstab, with all the options that are not for a filesystem; and the same from an installation in /usr/local.
. "$(dirname "$0")/as_user.sh"
. "$(dirname "$0")/common.sh"

"$WALCTL" init "$store"
printf x | "$WALCTL" append --create "$store" s >/dev/null

is_mounted() {
	grep -E " $mnt fuse.walfs $1[, ]" /proc/self/mounts
}

unmounts() {
	umount "$mnt"
	holder_ends
}

# by_fstab OPTIONS [PATTERN OF THE MOUNT'S OPTIONS]
by_fstab() {
	printf '# a comment\n%s %s fuse.walfs %s 0 0\n' "$store" "$mnt" "$1" >"$work/fstab"
	mount --fstab "$work/fstab" "$mnt"
	note_holder
	is_mounted "${2:-rw}"
	[ "$(cat "$mnt/s/0")" = x ]
	unmounts
}

lines_of_fstab() {
	by_fstab defaults
	by_fstab noauto,user,_netdev,nofail,x-systemd.automount,x-systemd.requires=network-online.target,x-gvfs-hide rw,nosuid,nodev,noexec
	by_fstab rw,auto,users,exec,suid,dev,comment=hello
	by_fstab owner,group,noatime,nodiratime,lazytime,iversion,silent
	by_fstab strictatime,mand,loud,sync
	by_fstab defaults,allow_other,sync=batch,segment_size=16M,compression=lz4
}

# Of the two columns at the end, fsck has nothing to do with it.
all_of_fstab() {
	printf '%s %s fuse.walfs allow_other,nofail 0 2\n' "$store" "$mnt" >"$work/fstab"
	mount --all --fstab "$work/fstab"
	note_holder
	is_mounted rw
	# it is there already: nothing is done, and that is no failure
	mount --all --fstab "$work/fstab"
	[ "$(grep -c " $mnt fuse.walfs " /proc/self/mounts)" -eq 1 ]
	unmounts
}

read_only() {
	printf '%s %s fuse.walfs ro 0 0\n' "$store" "$mnt" >"$work/fstab"
	mount --fstab "$work/fstab" "$mnt"
	is_mounted ro
	refused EROFS open-write "$mnt/s/new"
	umount "$mnt"
	mount --read-only -t fuse.walfs "$store" "$mnt"
	is_mounted ro
	umount "$mnt"
}

# With spaces, which fstab has as \040.
spaces() {
	mkdir "$work/a store" "$work/a mount"
	printf '%s/a\\040store %s/a\\040mount fuse.walfs defaults 0 0\n' "$work" "$work" >"$work/fstab"
	mount --fstab "$work/fstab" "$work/a mount"
	tr -dc '0-9\n' <"$work/a store/LOCK" >"$work/background.pid"
	mkdir "$work/a mount/t"
	umount "$work/a mount"
	holder_ends
}

# Each by itself: nothing that mount(8) may hand on makes walfs refuse, called by hand either.
every_general_option() {
	local option

	for option in rw defaults auto noauto user user=nobody nouser users nousers owner noowner group nogroup nofail _netdev async sync dirsync atime noatime \
		relatime norelatime strictatime nostrictatime diratime nodiratime lazytime nolazytime iversion noiversion mand nomand silent loud suid nosuid dev nodev \
		exec noexec comment=x uhelper=udisks2 helper=x x-systemd.automount X-mount.mkdir; do
		walfs "$store" "$mnt" -o "$option"
		note_holder
		unmounts
	done
}

failures_are_told() {
	gives 32 mount -t fuse.walfs "$store" "$work/nowhere" 2>"$work/out"
	gives 1 mount -t fuse.walfs "$work/no/store" "$mnt" 2>"$work/out"
	grep -F "store '$work/no/store' does not exist" "$work/out"
	gives 2 mount -t fuse.walfs "$store" "$mnt" -o nonsense 2>"$work/out"
	grep -F "nonsense" "$work/out"
	fails is_mounted rw
}

# Options of a mount that is there cannot be changed by walfs; the kernel's own can, without it.
remount() {
	mount -t fuse.walfs "$store" "$mnt"
	note_holder
	fails mount -o remount,sync=batch "$mnt" 2>"$work/out"
	grep -F "unmount it and mount it" "$work/out"
	is_mounted rw
	mount -i -o remount,ro "$mnt"
	is_mounted ro
	refused EROFS open-write "$mnt/s/new"
	mount -i -o remount,rw "$mnt"
	echo z >"$mnt/s/new"
	unmounts
}

# A second one at the same place, by the same line.
twice() {
	mount -t fuse.walfs "$store" "$mnt"
	note_holder
	fails mount -t fuse.walfs "$store" "$mnt" 2>"$work/out"
	cat "$work/out"
	[ "$(grep -c " $mnt fuse.walfs " /proc/self/mounts)" -eq 1 ]
	unmounts
}

check "lines of fstab" lines_of_fstab
check "mount -a" all_of_fstab
check "ro" read_only
check "spaces" spaces
check "every option of mount(8)" every_general_option
check "failures" failures_are_told
check "remount" remount
check "twice" twice
finish
