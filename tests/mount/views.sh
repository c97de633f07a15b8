#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# .log and .from/ID: a stream as one file that grows.
. "$(dirname "$0")/common.sh"

# views.py: what a shell has no words for.
views() {
	python3 -S "$here/views.py" "$@"
}

# To the stream $s entries of the sizes that make trouble: none, around buffers and windows, larger than a run, batches.
fill_with_all_sizes() {
	local size

	: >"$work/nothing"
	for size in 1 0 0 100 4095 4096 4097 0 262144 262143 1048576 1048577 3000000 7 0 5000000 1; do
		head -c "$size" /dev/urandom >"$work/piece"
		# a text compresses
		[ $((size % 2)) -eq 0 ] || seq 1000000 | head -c "$size" >"$work/piece"
		if [ "$size" -eq 0 ]; then
			python3 -c 'import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY); os.ftruncate(fd, 0); os.fsync(fd)' "$s/new"
		else
			cat "$work/piece" >"$s/new"
		fi
	done
	unmount
	seq -f 'line %06g of a batch' 3000 >"$work/lines"
	"$WALCTL" append "$store" "$(basename "$s")" "$work/lines" --batch --compression="$1" >/dev/null
	seq -f 'line %06g' 3000 >"$work/lines"
	"$WALCTL" append "$store" "$(basename "$s")" "$work/lines" --lines --compression="$1" --sync=async >/dev/null
}

entries_joined() {
	new_stream
	[ "$(stat -c '%F %a %h %s' "$s/.log")" = 'regular empty file 444 1 0' ]
	[ "$(wc -c <"$s/.log")" -eq 0 ]
	printf 'one\n' >"$s/new"
	printf 'two' >"$s/new"
	printf 'three\n' >"$s/new"
	[ "$(cat "$s/.log")" = $'one\ntwothree' ]
	[ "$(stat -c '%F %a %h %s %b' "$s/.log")" = 'regular file 444 1 13 1' ]
	[ "$(stat -c %y "$s/.log")" = "$(stat -c %y "$s/2")" ]
	[ "$(cat "$s/.from/first")" = $'one\ntwothree' ]
	[ "$(cat "$s/.from/1" "$s/.from/$(entry 1)")" = $'twothree\ntwothree' ]
	[ "$(cat "$s/.from/last")" = three ]
	[ "$(stat -c %s "$s/.from/next" "$s/.from/3")" = $'0\n0' ]
	refused ENOENT stat "$s/.from/4"
	refused ENOENT stat "$s/.from/x"
	refused ENOENT stat "$s/.from/-1"
	refused ENOENT stat "$s/.from/.log"
	refused ENOTDIR stat "$s/.log/x"
}

not_listed_not_written() {
	new_stream
	echo a >"$s/new"
	[ "$(find "$s" -mindepth 1 -printf '%f\n' | sort | tr '\n' ' ')" = "$(entry 0) new " ]
	[ -z "$(find "$s/.from" -mindepth 1)" ]
	[ "$(stat -c '%F %a' "$s/.from")" = 'directory 555' ]
	refused EACCES open-write "$s/.log"
	refused EACCES open-trunc "$s/.log"
	refused EACCES open-rw "$s/.from/0"
	refused EPERM truncate "$s/.log" 0
	refused EPERM unlink "$s/.log"
	refused EPERM chmod "$s/.log" 600
	refused EPERM create "$s/.from/7"
	refused EPERM mkdir "$s/.from/x"
	refused EPERM unlink "$s/.from/0"
	refused EPERM rename "$s/.log" "$s/.log2"
	# each file has a number of its own, or cmp(1) and cp(1) would take two for one
	[ "$(stat -c %i "$s" "$s/0" "$s/new" "$s/.log" "$s/.from" "$s/.from/0" "$s/.first" "$s/.from/next" | sort | uniq -d | wc -l)" -eq 0 ]
	stat -c %i "$s/.log" "$s/.from/0" "$s/.from" >"$work/inodes"
	remount
	stat -c %i "$s/.log" "$s/.from/0" "$s/.from" | cmp - "$work/inodes"
}

tools() {
	local i

	new_stream
	for ((i = 0; i < 500; i++)); do echo "line $i of this stream"; done >"$work/text"
	unmount
	"$WALCTL" append "$store" "$(basename "$s")" "$work/text" --lines --sync=async >/dev/null
	mount_store
	tr -d '\n' <"$work/text" >"$work/joined"
	cmp "$s/.log" "$work/joined"
	cat "$s"/0* | cmp "$s/.log" -
	[ "$(wc -c <"$s/.log")" -eq "$(wc -c <"$work/joined")" ]
	[ "$(grep -o 'line 33[0-9] ' "$s/.log" | wc -l)" -eq 10 ]
	tail -c +4711 "$s/.log" | cmp - <(tail -c +4711 "$work/joined")
	tail -c 333 "$s/.log" | cmp - <(tail -c 333 "$work/joined")
	head -c 5000 "$s/.log" | cmp - <(head -c 5000 "$work/joined")
	dd if="$s/.log" bs=37 skip=100 count=11 status=none | cmp - <(dd if="$work/joined" bs=37 skip=100 count=11 status=none)
	split -b 3000 "$s/.log" "$work/part."
	cat "$work"/part.* | cmp - "$work/joined"
	cp "$s/.log" "$work/copy"
	cmp "$work/copy" "$work/joined"
	[ "$(stat -c %Y "$s/.log")" -eq "$(stat -c %Y "$s/.last" -L)" ]
	# into another stream, perhaps by copy_file_range(2)
	mkdir "$mnt/copy-$number"
	cp "$s/.log" "$mnt/copy-$number/new"
	cmp "$mnt/copy-$number/0" "$work/joined"
	sha256sum "$s/.log" | cut -c 1-64 | cmp - <(sha256sum "$work/joined" | cut -c 1-64)
}

# any_offset COMPRESSION [OPTION]…
any_offset() {
	local compression=$1

	shift
	remount "$@"
	new_stream
	fill_with_all_sizes "$compression"
	mount_store "$@"
	views random "$s"
	cat "$s"/0* | cmp - "$s/.log"
	[ "$(stat -c %s "$s/.log")" -eq "$(cat "$s"/0* | wc -c)" ]
}

read_on() {
	new_stream
	views going_on "$s"
}

# Large and compressed: each read at random takes long, and always in the pool.
others_are_served_beside_readers() {
	remount compression=lz4
	new_stream
	seq 4000000 | head -c 24000000 >"$work/piece"
	mkdir "$s-other"
	cat "$work/piece" >"$s/new"
	cat "$work/piece" >"$s-other/new"
	views crowd "$s" "$s-other"
	remount segment_size=4K
}

# It is not held in memory for the few bytes at its end.
end_of_a_large_entry() {
	remount
	new_stream
	head -c 100000000 /dev/zero >"$s/new"
	echo end >"$s/new"
	[ "$(tail -c 3000 "$s/.log" | tr -d '\0')" = end ]
	[ "$SANITIZED" -eq 1 ] || [ "$(awk '/^VmHWM/ { print $2 }' "/proc/$(walfs_pid)/status")" -lt 80000 ]
	remount segment_size=4K
}

grows_while_open() {
	new_stream
	views grows "$s"
}

follow() {
	local i

	new_stream
	echo begin >"$s/new"
	tail -f -c +1 -s 0.1 "$s/.log" >"$work/followed" 2>&1 &
	echo $! >"$work/tail.pid"
	within 20 grep -q begin "$work/followed"
	for i in 1 2 3; do
		echo "more $i" >"$s/new"
		within 20 grep -q "more $i" "$work/followed"
	done
	kill "$(cat "$work/tail.pid")"
	rm "$work/tail.pid"
	cmp "$work/followed" "$s/.log"
}

# Every read beside writers is a part of what is there at the end.
beside_writers() {
	new_stream
	views writers "$s"
}

after_a_prune() {
	new_stream
	views prune "$s"
	grep -q "stream '$(basename "$s")': .*pruned meanwhile" "$log"
}

race_with_prunes() {
	new_stream
	views race "$s"
}

# tail -F opens the name again and again: it must not take the file for another one.
follow_a_name_over_a_prune() {
	local i

	new_stream
	for ((i = 0; i < 40; i++)); do printf '%04d %0500d\n' "$i" 0 >"$s/new"; done
	tail -F -c +1 -s 0.1 "$s/.log" >"$work/followed" 2>"$work/tail.err" &
	echo $! >"$work/tail.pid"
	within 20 grep -q '^0039 ' "$work/followed"
	echo 30 >"$s/.prune"
	[ "$(head -c 4 "$s/.log")" -gt 20 ]
	for ((i = 40; i < 50; i++)); do printf '%04d %0500d\n' "$i" 0 >"$s/new"; done
	within 20 grep -q '^0049 ' "$work/followed"
	kill "$(cat "$work/tail.pid")"
	rm "$work/tail.pid"
	[ "$(cut -c 1-4 "$work/followed")" = "$(seq -w 0000 0049)" ]
}

deleted_while_open() {
	new_stream
	views deleted "$s"
	fails [ -e "$s" ]
}

# The text is read up to the damage, and behind it.
damaged() {
	local file

	new_stream
	views fill_lines "$s" 40
	unmount
	file=$(find "$store/$(basename "$s")" -name '*.wal' | sort | head -n 1)
	# a byte of the third entry's payload
	printf X | dd of="$file" bs=1 seek="$(grep -abo 'line 00002' "$file" | head -n 1 | cut -d : -f 1)" conv=notrunc status=none
	mount_store segment_size=4K
	views damaged "$s"
	fails cat "$s/.log" >"$work/before"
	[ "$(head -n 1 "$work/before" | cut -c 1-10)" = 'line 00000' ]
	grep -q "stream '$(basename "$s")': id 2 can't be read" "$log"
}

read_only() {
	local stream

	remount ro
	for stream in "$mnt"/case-*; do
		case $(cat "$stream"/0* 2>/dev/null | cmp - "$stream/.log" 2>&1) in
		'') ;;
		*) grep -q "stream '$(basename "$stream")': id" "$log" ;;
		esac
	done
	refused EROFS open-write "$mnt/case-2/.log"
	remount
}

many_open() {
	new_stream
	views many "$s"
}

in_a_sharded_store() {
	unmount
	store=$work/sharded
	mount_store shards=3
	s=$mnt/shard_01
	echo a >"$s/new"
	echo b >"$s/new"
	[ "$(cat "$mnt"/shard_*/.log)" = $'a\nb' ]
	[ "$(cat "$s/.from/1")" = b ]
	echo c >"$mnt/.shard/key/new"
	[ "$(cat "$mnt/.shard/key/.from/last")" = c ]
}

mount_at_start segment_size=4K
check "all entries joined" entries_joined
check "not listed, not written" not_listed_not_written
check "cat, grep, tail, head, dd, split, cmp, cp" tools
check "any offset, any size" any_offset none
check "read on, in pieces of any size" read_on
check "others beside readers who want more and more" others_are_served_beside_readers
check "the end of a large entry" end_of_a_large_entry
check "any offset, small segments" any_offset none segment_size=4K
check "any offset, compressed" any_offset lz4 compression=lz4 min_compression_size=64
check "any offset, mapped" any_offset lz4 compression=lz4 read=mmap segment_size=64K
check "grows while it is open" grows_while_open
check "tail -f" follow
check "beside writers" beside_writers
check "remount with small segments" remount segment_size=4K
check "prunes" after_a_prune
check "readers, writers and prunes at once" race_with_prunes
check "tail -F over a prune" follow_a_name_over_a_prune
check "the stream is deleted" deleted_while_open
check "a damaged entry" damaged
check "a hundred handles" many_open
check "read-only" read_only
check "a sharded store" in_a_sharded_store
unmount_at_end
