#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A disk that is full, and then is not: errors show at write(2), nothing is broken. The disk is a small tmpfs, which wants root, or a user namespace.
if [ "$(id -u)" -ne 0 ] && [ -z "${IN_NAMESPACE:-}" ] && unshare -Urm true 2>/dev/null; then
	IN_NAMESPACE=1 exec unshare -Urm "$0"
fi
. "$(dirname "$0")/common.sh"

[ "$(id -u)" -eq 0 ] || skip_all "a small disk can be mounted by root only"
mkdir "$work/disk"
mount -t tmpfs -o size=4M,mode=0755 tmpfs "$work/disk" || skip_all "no tmpfs can be mounted here"
store=$work/disk/store

# Fills up all that is free.
fill_disk() {
	rm -f "$work/disk/ballast"
	head -c 100M /dev/zero >"$work/disk/ballast" 2>/dev/null || true
	fails bash -c "head -c 65536 /dev/zero >>'$work/disk/ballast'" 2>/dev/null
}

make_room() {
	rm "$work/disk/ballast"
}

# Until the space that is reserved ahead is used up too.
append_until_refused() {
	local n=1

	{ set +x; } 2>/dev/null
	while bash -c "printf '%1000d\n' $n >'$s/new'" 2>"$work/err"; do
		n=$((n + 1))
		[ "$n" -lt 10000 ] || return 1
	done
	set -x
	grep -F 'No space left on device' "$work/err"
	echo "$n" >"$work/count"
}

counts() {
	local i n

	n=$(cat "$work/count")
	has_entries "$n"
	for ((i = 0; i < n; i += n / 20 + 1)); do
		[ "$(cat "$s/$i")" -eq "$i" ]
	done
}

shell_sees_it() {
	new_stream
	echo "$s" >"$work/stream"
	printf '%1000d\n' 0 >"$s/new"
	fill_disk
	append_until_refused
	counts
}

every_writer_sees_it() {
	s=$(cat "$work/stream")
	head -c 200000 /dev/zero >"$work/large"
	refused ENOSPC write "$s/new" "$(head -c 100000 /dev/zero | tr '\0' x)"
	fails cp "$work/large" "$s/new"
	fails bash -c "cat '$work/large' >'$s/new'"
	fails dd if="$work/large" of="$s/new" status=none
	fails tee "$s/new" <"$work/large" >/dev/null
	counts
}

what_is_there_can_be_read() {
	s=$(cat "$work/stream")
	counts
	cat "$s"/0* >/dev/null
	refused ENOSPC mkdir "$mnt/more"
}

goes_on_when_there_is_room() {
	local n

	s=$(cat "$work/stream")
	n=$(cat "$work/count")
	make_room
	echo after >"$s/new"
	[ "$(cat "$s/$n")" = after ]
	cp "$work/large" "$s/new"
	cmp "$work/large" "$s/$((n + 1))"
	mkdir "$mnt/more"
	echo x >"$mnt/more/new"
}

same_after_remount() {
	local n

	remount
	s=$(cat "$work/stream")
	n=$(cat "$work/count")
	has_entries $((n + 2))
	[ "$(cat "$s/$((n - 1))")" -eq $((n - 1)) ]
	[ "$(cat "$s/$n")" = after ]
	cmp "$work/large" "$s/$((n + 1))"
}

# Closing and opening want room as well.
unmount_and_mount_while_full() {
	s=$(cat "$work/stream")
	fill_disk
	refused ENOSPC write "$s/new" "$(head -c 100000 /dev/zero | tr '\0' x)"
	unmount
	fill_disk
	mount_store
	has_entries $(($(cat "$work/count") + 2))
	make_room
	echo "room again" >"$s/new"
	[ "$(cat "$s/.last")" = "room again" ]
}

larger_than_the_disk() {
	s=$(cat "$work/stream")
	fails bash -c "head -c 20M /dev/zero >'$s/new'"
	[ "$(cat "$s/.last")" = "room again" ]
	echo "and still" >"$s/new"
	[ "$(cat "$s/.last")" = "and still" ]
}

# The one thing that helps must not need what is missing.
pruning_makes_room() {
	local n first

	unmount
	[ ! -e "$work/disk/ballast" ] || make_room
	mount_store segment_size=16K
	new_stream
	for ((n = 0; n < 100; n++)); do
		printf '%1000d\n' "$n" >"$s/new"
	done
	fill_disk
	append_until_refused
	fill_disk
	echo 50 >"$s/.prune"
	first=$(readlink "$s/.first")
	[ $((10#$first)) -gt 0 ] && [ $((10#$first)) -le 50 ]
	[ "$(cat "$s/50")" -eq 50 ]
	echo more >"$s/new"
	[ "$(cat "$s/.last")" = more ]
	make_room
	unmount
	"$WALCTL" verify "$store"
	mount_store
}


mount_at_start segment_size=256K
check "the shell sees it" shell_sees_it
check "cp, cat, dd, tee see it" every_writer_sees_it
check "what is there can be read" what_is_there_can_be_read
check "goes on when there is room" goes_on_when_there_is_room
check "the same after a remount" same_after_remount
check "unmount and mount on a full disk" unmount_and_mount_while_full
check "an entry larger than the disk" larger_than_the_disk
check "pruning makes room" pruning_makes_room
unmount_at_end
