#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Many streams, many handles, many processes at once; odd names; and files that lose their ground while they are read.
. "$(dirname "$0")/common.sh"

streams=1000
[ "$SANITIZED" -eq 0 ] || streams=200
copies=2 # of them all
written=$((streams / 100)) # have an entry
exec 3>&1

large() {
	python3 -S "$here/large.py" "$@"
}

rss_kib() {
	awk '/^VmRSS/ { print $2 }' "/proc/$(walfs_pid)/status"
}

# Says how long it took, and how much memory walfs has.
mount_timed() {
	local begin=${EPOCHREALTIME/./} took

	mount_store
	took=$(((${EPOCHREALTIME/./} - begin) / 1000))
	echo "# $(find "$store" -mindepth 1 -maxdepth 1 -type d | wc -l) streams: mounted within $took ms, $(rss_kib) KiB" >&3
}

many_streams() {
	local i

	seq -f "$mnt/few-%05g" "$streams" | xargs mkdir
	for ((i = 1; i <= streams; i += 100)); do echo "of $i" >"$mnt/$(printf 'few-%05d' "$i")/new"; done
	# shellcheck disable=SC2012 # ls is what is tested
	[ "$(ls "$mnt" | wc -l)" -eq "$streams" ]
	[ "$(find "$mnt" -mindepth 1 -maxdepth 1 -type d -name 'few-*' | wc -l)" -eq "$streams" ]
	touch "$mnt/.checkpoints/all"
	[ "$(grep -c '^few-' "$mnt/.checkpoints/all")" -eq "$streams" ]
	# shellcheck disable=SC2012
	[ "$(ls "$mnt/.at/all" | wc -l)" -eq "$streams" ]
	[ "$(cat "$mnt"/few-*/0 2>/dev/null | wc -l)" -eq "$written" ]
	unmount
	mount_timed
	[ "$(cat "$mnt"/few-*/0 2>/dev/null | wc -l)" -eq "$written" ]
	[ "$(find "$mnt" -name '0*' | wc -l)" -eq "$written" ]
}

# told_of COUNT: .stats has values of that many streams, and leaves the others out where there are more than 1,000
told_of() {
	local all=$((streams * (copies + 1))) told=$1

	[ "$all" -gt 1000 ] || told=$all
	cat "$mnt/.stats" >"$work/stats"
	grep -qx "walfs_store_streams $all" "$work/stats"
	grep -qx "walfs_store_streams_left_out $((all - told))" "$work/stats"
	[ "$(grep -c '^walfs_stream_next_id{' "$work/stats")" -eq "$told" ]
	[ "$(grep -c '^walfs_stream_appends_total{' "$work/stats")" -eq "$told" ]
}

# A stream's directory may be copied while it is not mounted.
many_more() {
	local i held

	unmount
	for ((i = 1; i <= copies; i++)); do
		mkdir "$work/copy"
		cp -r "$store"/few-* "$work/copy"
		large rename "$work/copy" "$store" "few-" "c$i-"
		rmdir "$work/copy"
	done
	mount_timed
	held=$(rss_kib)
	told_of 0
	# shellcheck disable=SC2012
	[ "$(ls "$mnt" | wc -l)" -eq $((streams * (copies + 1))) ]
	echo more >"$mnt/c1-00001/new"
	[ "$(cat "$mnt/c1-00001"/0*)" = $'of 1\nmore' ]
	told_of 1
	[ "$SANITIZED" -eq 1 ] || grep -qxF 'walfs_stream_appends_total{stream="c1-00001"} 1' "$mnt/.stats"
	find "$mnt" -maxdepth 2 -name '0*' >"$work/found"
	[ "$(wc -l <"$work/found")" -eq $((written * (copies + 1) + 1)) ]
	echo "# listed all: $(rss_kib) KiB" >&3
	# 2 KiB a stream that nobody has used, at most, and 8 MiB
	[ "$SANITIZED" -eq 1 ] || [ "$held" -lt $((8192 + streams * (copies + 1) * 2)) ]
	unmount
	# what the mount found is told of, though nothing has happened to the stream since
	printf 'torn off' >>"$store/few-00101/$(entry 0).wal"
	mount_store
	told_of 1
	grep -qxF 'walfs_stream_tail{stream="few-00101",state="truncated"} 1' "$mnt/.stats"
	unmount
	rm -r "$store"
	mount_store
}

odd_names() {
	large names "$mnt"
	remount
	large names_again "$mnt"
	mkdir "$work/tar" "$work/rsync"
	tar -cf - --exclude=.checkpoints -C "$mnt" . | tar -xf - -C "$work/tar"
	diff -r --exclude=.checkpoints "$mnt" "$work/tar"
	rsync -a --exclude=.checkpoints "$mnt/" "$work/rsync"
	diff -r --exclude=.checkpoints "$mnt" "$work/rsync"
	large names_away "$mnt"
}

thousand_handles() {
	new_stream
	large handles "$s"
}

read_while_pruned() {
	remount "$@" segment_size=256K
	new_stream
	large pruned "$s"
}

sixty_four() {
	remount sync="$1" segment_size=1M
	new_stream
	large crowd "$s" "$([ "$SANITIZED" -eq 0 ] && echo 3 || echo 2)" >&3
	"$WALCTL" stat "$store" >/dev/null 2>&1 || true
}

after_the_crowd() {
	remount
	for s in "$mnt"/case-*; do
		[ -z "$(find "$s" -name '0*' -size 0)" ]
	done
	unmount
	"$WALCTL" verify "$store"
	mount_store
}

mount_at_start
check "$streams streams" many_streams
check "$((streams * (copies + 1))) streams" many_more
check "odd names" odd_names
check "a thousand handles of new" thousand_handles
check "a segment is pruned while it is read" read_while_pruned
check "a mapped segment is pruned while it is read" read_while_pruned read=mmap
check "64 at once, strict" sixty_four strict
check "64 at once, batch" sixty_four batch
check "all is well afterwards" after_the_crowd
unmount_at_end
