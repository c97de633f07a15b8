#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# An entry much larger than any buffer goes in by cp and comes out equal, and walfs stays small.
. "$(dirname "$0")/common.sh"

mib=1024
rss_max_kib=65536
if [ "$SANITIZED" = 1 ]; then
	mib=64
	rss_max_kib= # its own memory is not what is measured then
fi

rss_stays_small() {
	local peak

	peak=$(awk '/^VmHWM:/ { print $2 }' "/proc/$(walfs_pid)/status")
	echo "peak: $peak KiB"
	[ -z "$rss_max_kib" ] || [ "$peak" -lt "$rss_max_kib" ]
}

goes_in() {
	head -c "${mib}M" /dev/urandom >"$work/big"
	mkdir "$mnt/s"
	cp "$work/big" "$mnt/s/new"
	[ "$(stat -c '%s %b' "$mnt/s/0")" = "$((mib << 20)) $((mib << 11))" ]
	rss_stays_small
}

comes_out() {
	cmp "$work/big" "$mnt/s/0"
	rss_stays_small
}

comes_out_after_remount() {
	remount
	cmp -n $((mib << 19)) -i $((mib << 19)) "$work/big" "$mnt/s/0"
	tail -c 5000 "$mnt/s/0" | cmp - <(tail -c 5000 "$work/big")
	rss_stays_small
}

# What stands in front of it and after it in the log.
others_beside_it() {
	echo small >"$mnt/s/new"
	[ "$(cat "$mnt/s/1")" = small ]
	[ "$(readlink "$mnt/s/.last")" = "$(entry 1)" ]
}

two_at_once_within_bounds() {
	local pids=()

	head -c "$((mib / 8))M" "$work/big" >"$work/part"
	mv "$work/part" "$work/big"
	cp "$work/big" "$mnt/s/new" &
	pids=($!)
	cp "$work/big" "$mnt/s/new" &
	pids+=($!)
	wait "${pids[0]}"
	wait "${pids[1]}"
	cmp "$work/big" "$mnt/s/2"
	cmp "$work/big" "$mnt/s/3"
	rss_stays_small
}

[ "$(df -Pk "$work" | awk 'NR == 2 { print $4 }')" -gt $((mib * 1024 * 4)) ] || skip_all "less than $((mib * 4)) MiB free in '${TMPDIR:-/tmp}'"
mount_at_start
check "$mib MiB go in" goes_in
check "and come out equal" comes_out
check "after a remount too" comes_out_after_remount
check "small entries beside it" others_beside_it
check "two large ones at once" two_at_once_within_bounds
unmount_at_end
