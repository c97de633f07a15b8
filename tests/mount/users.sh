#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Users other than root: mounting by fusermount3, who is let in, whose the files are.
. "$(dirname "$0")/as_user.sh"
. "$(dirname "$0")/common.sh"

chmod 755 "$work"
mkdir "$store"
chown "$user:$user" "$store" "$mnt"

# says TEXT STATUS COMMAND…
says() {
	local text=$1

	shift
	gives "$@" >"$work/out" 2>&1 </dev/null
	grep -F -- "$text" "$work/out"
}

# Root too cannot see more of it than this.
is_mounted() {
	grep -F " $mnt fuse.walfs " /proc/self/mounts
}

mount_as_user() {
	as "$user" walfs "$store" "$mnt" ${1:+-o "$1"}
	note_holder
	is_mounted
}

unmount_as_user() {
	as "$user" fusermount3 -u "$mnt"
	holder_ends
}

mounts_appends_unmounts() {
	mount_as_user
	as "$user" mkdir "$mnt/s"
	as "$user" sh -c "echo 'by a user' >'$mnt/s/new'"
	[ "$(as "$user" cat "$mnt/s/0")" = "by a user" ]
	as "$user" touch "$mnt/.checkpoints/c"
	[ "$(as "$user" cat "$mnt/.at/c/s/0")" = "by a user" ]
	# so fusermount3 mounts it for a user
	grep -F " $mnt fuse.walfs rw,nosuid,nodev," /proc/self/mounts
	unmount_as_user
	# and everything in the store is the user's
	[ -z "$(find "$store" ! -uid "$user")" ]
}

files_are_the_users() {
	mount_as_user
	[ "$(as "$user" stat -c '%u:%g %a' "$mnt/s/0" "$mnt/s" "$mnt/s/new" "$mnt" | tr '\n' ' ')" = "$user:$user 444 $user:$user 755 $user:$user 644 $user:$user 755 " ]
	unmount_as_user
	mount_as_user uid=1234,gid=4321,umask=027
	[ "$(as "$user" stat -c '%u:%g %a' "$mnt/s/0" "$mnt/s" "$mnt/s/new" | tr '\n' ' ')" = "1234:4321 440 1234:4321 750 1234:4321 640 " ]
	unmount_as_user
}

# The kernel lets nobody else in, root neither.
others_are_kept_out() {
	mount_as_user
	fails as "$stranger" ls "$mnt" 2>"$work/out"
	grep -F "Permission denied" "$work/out"
	refused EACCES stat "$mnt/s"
	unmount_as_user
}

# With allow_other, which root may use: as far as the mode goes; and root as ever.
others_are_let_in() {
	as 0 walfs "$store" "$mnt" -o "allow_other,uid=$user,gid=$user,umask=027"
	note_holder
	[ "$(as "$user" cat "$mnt/s/0")" = "by a user" ]
	as "$user" sh -c "echo second >'$mnt/s/new'"
	as "$user" mkdir "$mnt/theirs"
	as "$user" rmdir "$mnt/theirs"
	fails as "$stranger" cat "$mnt/s/0" 2>"$work/out"
	grep -F "Permission denied" "$work/out"
	fails as "$stranger" sh -c "echo x >'$mnt/s/new'"
	fails as "$stranger" mkdir "$mnt/s2"
	fails as "$stranger" ls "$mnt/s"
	[ "$(cat "$mnt/s/1")" = second ]
	umount "$mnt"
	holder_ends
	walfs "$store" "$mnt" -o "allow_other,uid=$user,umask=777"
	note_holder
	[ "$(cat "$mnt/s/1")" = second ]
	fails as "$user" cat "$mnt/s/1"
	umount "$mnt"
	holder_ends
	chown -R "$user:$user" "$store"
}

# In the words of fusermount3.
allow_other_is_refused() {
	: >"$work/fuse.conf"
	mount --bind "$work/fuse.conf" /etc/fuse.conf
	says "option allow_other only allowed if 'user_allow_other' is set in /etc/fuse.conf" 32 as "$user" walfs "$store" "$mnt" -o allow_other
	fails is_mounted
	echo user_allow_other >"$work/fuse.conf"
	mount_as_user allow_other
	[ "$(as "$stranger" cat "$mnt/s/1")" = second ]
	fails as "$stranger" sh -c "echo x >'$mnt/s/new'"
	[ "$(cat "$mnt/s/1")" = second ]
	unmount_as_user
	umount /etc/fuse.conf
}

places_of_others() {
	mkdir "$work/roots"
	says "'$work/roots'" 32 as "$user" walfs "$store" "$work/roots"
	fails grep -F " $work/roots " /proc/self/mounts
	mkdir -m 700 "$work/private"
	"$WALCTL" init "$work/private/store"
	says "'$work/private/store'" 1 as "$user" walfs "$work/private/store" "$mnt"
	"$WALCTL" init "$work/theirs"
	printf x | "$WALCTL" append --create "$work/theirs" s
	chmod -R a+rX "$work/theirs"
	as "$user" walfs "$work/theirs" "$mnt" -o ro
	[ "$(as "$user" cat "$mnt/s/0")" = x ]
	fails as "$user" sh -c "echo y >'$mnt/s/new'"
	as "$user" fusermount3 -u "$mnt"
}

others_cannot_unmount() {
	mount_as_user
	fails as "$stranger" fusermount3 -u "$mnt"
	fails as "$stranger" kill "$(cat "$work/background.pid")"
	is_mounted
	unmount_as_user
}

ends_by_signal() {
	mount_as_user
	as "$user" kill -TERM "$(holder)"
	holder_ends
	fails is_mounted
}

clears_up_after_a_crash() {
	local attempt cleared=

	mount_as_user
	as "$user" kill -KILL "$(holder)"
	holder_ends
	says "fusermount3 -u $mnt" 32 as "$user" walfs "$store" "$mnt"
	as "$user" fusermount3 -u "$mnt"
	# fusermount3 looks whether the mount is dead, and without allow_other the kernel does not let it: then it leaves it alone
	echo user_allow_other >"$work/fuse.conf"
	mount --bind "$work/fuse.conf" /etc/fuse.conf
	for attempt in 1 2 3 4 5; do # it misses some, see crashed.sh
		mount_as_user auto_unmount,allow_other
		as "$user" kill -KILL "$(holder)"
		holder_ends
		if within 5 fails is_mounted; then
			cleared=$attempt
			break
		fi
		as "$user" fusermount3 -u "$mnt"
	done
	[ -n "$cleared" ]
	umount /etc/fuse.conf
	mount_as_user
	[ "$(as "$user" cat "$mnt/s/0")" = "by a user" ]
	unmount_as_user
}

# A line with `user` in fstab: mount(8) and umount(8) are for the user too.
by_fstab() {
	printf '%s %s fuse.walfs noauto,user,nofail,_netdev,sync=batch,x-systemd.requires=network.target 0 0\n' "$store" "$mnt" >"$work/fstab"
	mount --bind "$work/fstab" /etc/fstab
	as "$user" mount "$mnt"
	note_holder
	[ "$(stat -c %u "/proc/$(holder)")" -eq "$user" ]
	[ "$(as "$user" cat "$mnt/s/0")" = "by a user" ]
	fails as "$stranger" umount "$mnt"
	as "$user" umount "$mnt"
	holder_ends
	umount /etc/fstab
}

# Root mounts, and the program runs as someone else.
setuid_by_mount() {
	mount -t fuse.walfs "$store" "$mnt" -o "setuid=$(id -un "$user")"
	note_holder
	[ "$(stat -c %u "/proc/$(holder)")" -eq "$user" ]
	[ "$(as "$user" cat "$mnt/s/0")" = "by a user" ]
	umount "$mnt"
	holder_ends
}

check "a user mounts, appends, unmounts" mounts_appends_unmounts
check "uid, gid, umask" files_are_the_users
check "others are kept out" others_are_kept_out
check "allow_other: as far as the mode goes" others_are_let_in
check "allow_other of a user: user_allow_other" allow_other_is_refused
check "places of others" places_of_others
check "others cannot unmount" others_cannot_unmount
check "SIGTERM" ends_by_signal
check "after a crash" clears_up_after_a_crash
# Another one is put in its place: where there is none, as in some containers, that cannot be.
if [ -f /etc/fstab ]; then
	check "user in fstab" by_fstab
fi
check "-o setuid" setuid_by_mount
finish
