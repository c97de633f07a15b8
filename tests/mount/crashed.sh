#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What is left when walfs dies, and every way to be rid of it: the mount that answers with ENOTCONN, and auto_unmount.
. "$(dirname "$0")/common.sh"

is_mounted() {
	grep -F " $mnt fuse.walfs " /proc/self/mounts
}

dies() {
	kill -KILL "$(walfs_pid)"
	walfs_ends 137
}

# walfs STATUS TEXT ARGUMENT…
walfs_says() {
	local status=$1 text=$2

	shift 2
	gives "$status" timeout 60 "$WALFS" "$@" >"$work/out" 2>&1 </dev/null
	grep -F -- "$text" "$work/out"
	[ "$(grep -vc '^+' "$work/out")" -eq 1 ] # besides this test's own trace
}

# What was acknowledged is there again, and the store takes appends.
goes_on() {
	local count

	mount_store
	count=$(find "$mnt/s" -name '[0-9]*' | wc -l)
	[ "$(cat "$mnt/s/0")" = first ]
	[ "$count" -eq "$1" ]
	unmount
}

all_of_it_is_dead() {
	mount_store
	mkdir "$mnt/s"
	echo first >"$mnt/s/new"
	dies
	is_mounted
	refused ENOTCONN stat "$mnt"
	refused ENOTCONN open-read "$mnt/s/0"
	refused ENOTCONN open-write "$mnt/s/new"
	fails ls "$mnt" 2>"$work/out"
	grep -F "Transport endpoint is not connected" "$work/out"
	fusermount3 -u "$mnt"
	goes_on 1
}

# Before it waits for anything, and in the words that help.
the_next_one_says_what_to_do() {
	mount_store
	dies
	walfs_says 32 "mount point '$mnt' is the remains of a mount whose program died: clear it by 'fusermount3 -u $mnt'" "$store" "$mnt"
	walfs_says 32 "fusermount3 -u $mnt" "$store" "$mnt" -f
	walfs_says 32 "fusermount3 -u $mnt" "$store" "$mnt" -o nonempty,ro
	# and that is what helps
	fusermount3 -u "$mnt"
	goes_on 1
}

# The dead one keeps nothing but its mount point.
the_store_is_free() {
	mount_store
	dies
	mkdir -p "$work/other"
	"$WALFS" "$store" "$work/other"
	tr -dc '0-9\n' <"$store/LOCK" >"$work/background.pid"
	[ "$(cat "$work/other/s/0")" = first ]
	echo second >"$work/other/s/new"
	fusermount3 -u "$work/other"
	within 60 fails kill -0 "$(cat "$work/background.pid")"
	rm "$work/background.pid"
	fusermount3 -u "$mnt"
	goes_on 2
}

by_umount() {
	mount_store
	dies
	umount "$mnt"
	goes_on 2
}

# Who was in it then holds it up: with -z, or by umount -l, the name is free all the same.
while_it_is_in_use() {
	local lazily

	for lazily in "fusermount3 -uz" "umount -l"; do
		mount_store
		exec 3<"$mnt/s/0" 4>"$mnt/s/new"
		cd "$mnt/s"
		dies
		fails fusermount3 -u "$mnt" 2>"$work/out"
		grep -F busy "$work/out"
		$lazily "$mnt"
		fails cat 0 2>"$work/out"
		grep -F "Transport endpoint is not connected" "$work/out"
		fails cat <&4
		cd "$work"
		goes_on 2
		exec 3<&- 4>&-
	done
}

# fusermount3 looks once whether the mount is dead. While the kernel is still taking the connection down it sees ECONNABORTED, and leaves it (libfuse 3.14: one
# time in thirty under a sanitizer).
unmounts_itself() {
	local attempt cleared=

	for attempt in 1 2 3 4 5; do
		mount_store "$@"
		is_mounted
		dies
		if within 5 fails is_mounted; then
			cleared=$attempt
			break
		fi
		fusermount3 -u "$mnt"
	done
	[ -n "$cleared" ]
	goes_on 2
	# an ordinary end is one as ever
	mount_store "$@"
	unmount
	within 60 fails is_mounted
	mount_store "$@"
	kill -TERM "$(walfs_pid)"
	walfs_ends 0
	within 60 fails is_mounted
}

check "everything is ENOTCONN" all_of_it_is_dead
mountpoint -q "$mnt" && finish
check "the next walfs says what to do" the_next_one_says_what_to_do
check "the store is free" the_store_is_free
check "umount" by_umount
check "while it is in use" while_it_is_in_use
if [ "$(id -u)" -eq 0 ]; then
	check "auto_unmount" unmounts_itself auto_unmount
	check "auto_unmount with allow_other" unmounts_itself auto_unmount allow_other
else
	skip "auto_unmount" "for users other than root only with allow_other, see users.sh"
fi
finish
