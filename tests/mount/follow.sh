#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# .follow/ID: reads that wait for the next entry.
. "$(dirname "$0")/common.sh"

# follow.py: what a shell has no words for. What it has measured goes to standard error, behind the cases.
follow() {
	python3 -S "$here/follow.py" "$@" 2> >(tee -a "$work/figures" >&2)
}

# A case of follow.py on a new stream.
try() {
	local name=$1

	shift
	new_stream
	follow "$name" "$s" "$@"
}

# The same, which wants to know walfs's pid.
try_with_pid() {
	try "$1" "$(walfs_pid)"
}

not_listed_not_written() {
	new_stream
	echo a >"$s/new"
	[ "$(find "$s" -mindepth 1 -printf '%f\n' | sort | tr '\n' ' ')" = "$(entry 0) new " ]
	[ -z "$(ls -A "$s/.follow")" ]
	[ "$(stat -c '%F %a' "$s/.follow")" = 'directory 555' ]
	[ "$(stat -c '%F %a %h %s' "$s/.follow/first" | uniq)" = 'regular empty file 444 1 0' ]
	[ "$(stat -c %i "$s" "$s/0" "$s/new" "$s/.log" "$s/.from" "$s/.from/0" "$s/.follow" "$s/.follow/0" "$s/.follow/next" | sort | uniq -d | wc -l)" -eq 0 ]
	[ "$(stat -c %i "$s/.follow/last" "$s/.follow/$(entry 0)" "$s/.follow/first" | uniq | wc -l)" -eq 1 ]
	refused ENOENT stat "$s/.follow/2"
	refused ENOENT stat "$s/.follow/x"
	refused EACCES open-write "$s/.follow/0"
	refused EACCES open-trunc "$s/.follow/0"
	refused EACCES open-rw "$s/.follow/next"
	refused EPERM truncate "$s/.follow/0" 0
	refused EPERM unlink "$s/.follow/0"
	refused EPERM chmod "$s/.follow/0" 600
	refused EPERM create "$s/.follow/7"
	works fsync "$s/.follow/0"
	touch "$mnt/.checkpoints/now"
	works stat "$mnt/.at/now/$(basename "$s")/.from"
	refused ENOENT stat "$mnt/.at/now/$(basename "$s")/.follow"
	refused ENOENT stat "$mnt/.at/now/$(basename "$s")/.follow/0"
}

# start NAME COMMAND…: in the background, its output to $work/NAME
start() {
	local name=$1

	shift
	"$@" >"$work/$name" 2>"$work/$name.err" &
	echo $! >"$work/$name.pid"
}

# stop NAME: by SIGTERM, which ends it at once
stop() {
	local pid status=0

	pid=$(cat "$work/$1.pid")
	kill "$pid"
	wait "$pid" || status=$?
	rm "$work/$1.pid"
	[ "$status" -eq 143 ]
}

tools() {
	new_stream
	printf 'begin x\n' >"$s/new"
	start cat cat "$s/.follow/first"
	start tail stdbuf -oL tail -n +1 -f "$s/.follow/0"
	start grep grep --line-buffered x "$s/.follow/first"
	start dd dd if="$s/.follow/0" bs=3 status=none
	start sed sed -un s/x/y/p "$s/.follow/first"
	within 20 grep -q begin "$work/cat"
	printf 'more y\n' >"$s/new"
	printf 'more x\n' >"$s/new"
	for name in cat tail grep sed dd; do
		within 20 grep -q 'more [xy]' "$work/$name"
	done
	within 20 cmp -s "$work/cat" "$s/.log"
	within 20 cmp -s "$work/tail" "$s/.log"
	within 20 cmp -s "$work/dd" "$s/.log"
	within 20 grep -qx 'more x' "$work/grep"
	[ "$(wc -l <"$work/grep")" -eq 2 ]
	for name in cat tail grep dd sed; do
		stop "$name"
	done
	cmp "$work/cat" "$s/.log"
	cmp "$work/dd" "$s/.log"
}

# Those that end by themselves.
ends_when_it_has_enough() {
	new_stream
	printf 'one\ntwo\n' >"$s/new"
	start head head -n 3 "$s/.follow/first"
	start grep grep -m 1 four "$s/.follow/first"
	start dd dd if="$s/.follow/first" bs=1 count=14 status=none
	within 20 grep -q two "$work/dd"
	printf 'three\nfour\nfive\n' >"$s/new"
	for name in head grep dd; do
		within 20 fails kill -0 "$(cat "$work/$name.pid")"
	done
	[ "$(cat "$work/head")" = $'one\ntwo\nthree' ]
	[ "$(cat "$work/grep")" = four ]
	[ "$(cat "$work/dd")" = $'one\ntwo\nthree' ]
	rm "$work"/{head,grep,dd}.pid
	head -c 5 "$s/.follow/1" | cmp - <(printf three)
	gives 124 timeout 0.2 cat "$s/.follow/next"
	gives 137 timeout -s KILL 0.2 cat "$s/.follow/next"
	gives 130 timeout -s INT --preserve-status 0.2 python3 -S -c 'import signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); open(sys.argv[1]).read()' "$s/.follow/next"
}

shell_loop() {
	local line count=0

	new_stream
	(
		for word in alpha beta gamma end; do
			printf '%s 1\n%s 2\n' "$word" "$word" >"$s/new"
		done
	) &
	while read -r line; do
		echo "$line" >>"$work/lines"
		count=$((count + 1))
		[ "$line" != 'end 2' ] || break
	done <"$s/.follow/first"
	[ "$count" -eq 8 ]
	cmp "$work/lines" "$s/.log"
	wait
}

# A job that is stopped and goes on.
stopped_and_continued() {
	new_stream
	start cat cat "$s/.follow/first"
	echo a >"$s/new"
	within 20 grep -q a "$work/cat"
	kill -STOP "$(cat "$work/cat.pid")"
	within 20 grep -q '^State:.T' "/proc/$(cat "$work/cat.pid")/status"
	kill -CONT "$(cat "$work/cat.pid")"
	echo b >"$s/new"
	within 20 grep -q b "$work/cat"
	stop cat
}

# What the next read does that waits is to be seen by strict readers: durable.
modes() {
	local mode

	for mode in strict batch async; do
		remount "sync=$mode" segment_size=4K
		s=$mnt/$mode
		mkdir "$s"
		follow waits "$s"
		follow nonblocking "$s"
	done
}

all_sizes() {
	remount "$@"
	new_stream
	follow sizes "$s"
	follow returns_what_there_is "$s"
}

single_threaded() {
	unmount
	run_walfs "$store" "$mnt" -f -s -o segment_size=4K
	within 60 mounted_or_dead
	new_stream
	for name in waits nonblocking poll epoll signals shared; do
		follow "$name" "$s"
	done
	remount segment_size=4K
}

# Reads that the kernel asks for in small pieces.
small_reads() {
	remount max_write=8192
	try sizes
	follow returns_what_there_is "$s"
	remount segment_size=4K
}

damaged() {
	local file

	new_stream
	follow fill_lines "$s" 40
	unmount
	file=$(find "$store/$(basename "$s")" -name '*.wal' | sort | head -n 1)
	# a byte of the third entry's payload
	printf X | dd of="$file" bs=1 seek="$(grep -abo 'line 00002' "$file" | head -n 1 | cut -d : -f 1)" conv=notrunc status=none
	mount_store segment_size=4K
	follow damaged "$s"
	grep -q "stream '$(basename "$s")': id 2 can't be read" "$log"
}

kill_walfs() {
	kill -KILL "$(walfs_pid)"
	walfs_ends 137
	fusermount3 -uz "$mnt"
}

takes_no_appends() {
	local file

	remount
	new_stream
	follow fill_lines "$s" 5
	kill_walfs
	file=$(find "$store/$(basename "$s")" -name '*.wal')
	rm "$store/$(basename "$s")"/*.meta # so that the segment is looked through
	printf X | dd of="$file" bs=1 seek="$(grep -abo 'line 00002' "$file" | head -n 1 | cut -d : -f 1)" conv=notrunc status=none
	mount_store segment_size=4K
	refused EIO pwrite "$s/new" x 0
	follow stopped "$s"
}

pruned() {
	new_stream
	follow prune "$s"
	[ "$(grep -c "stream '$(basename "$s")': a follower" "$log")" -eq 2 ]
}

read_only() {
	new_stream
	printf 'one\ntwo\n' >"$s/new"
	remount ro
	[ "$(cat "$s/.follow/first")" = $'one\ntwo' ]
	[ -z "$(cat "$s/.follow/next")" ]
	follow read_only "$s"
	remount segment_size=4K
}

# while_many_wait ERRNO,… COMMAND…: which makes their reads end with one of these
while_many_wait() {
	local expected=$1

	shift
	rm -f "$work/ready"
	new_stream
	start many python3 -S "$here/follow.py" wait_for_end "$s" 200 "$expected" "$work/ready"
	within 60 [ -f "$work/ready" ]
	"$@"
	wait "$(cat "$work/many.pid")" || { cat "$work/many.err"; return 1; }
	rm "$work/many.pid"
}

terminate_walfs() {
	kill -TERM "$(walfs_pid)"
	walfs_ends 0
}

end_by_sigterm() {
	while_many_wait ENOTCONN terminate_walfs
	mount_store segment_size=4K
}

# A mount that is in use stays; it is what the option -f of umount(8) is for.
busy() {
	fails fusermount3 -u "$mnt"
	fails umount "$mnt"
	mountpoint -q "$mnt"
	echo still there >"$s/new"
}

abort_mount() {
	umount -f "$mnt" || true
	walfs_ends 0
	fusermount3 -uz "$mnt" # it had been in use
}

end_by_force() {
	while_many_wait ENOTCONN,ECONNABORTED abort_mount
	fails mountpoint -q "$mnt"
	mount_store segment_size=4K
}

end_by_kill() {
	while_many_wait ENOTCONN,ECONNABORTED kill_walfs
	mount_store segment_size=4K
}

stays_while_followed() {
	new_stream
	start cat cat "$s/.follow/first"
	echo one >"$s/new"
	within 20 grep -q one "$work/cat"
	busy
	within 20 grep -q 'still there' "$work/cat"
	# it goes on until the last follower has gone
	umount -l "$mnt"
	[ ! -f "$work/walfs.status" ]
	stop cat
	walfs_ends 0
	mount_store segment_size=4K
}

in_a_sharded_store() {
	unmount
	store=$work/sharded
	mount_store shards=3
	s=$mnt/shard_01
	echo a >"$s/new"
	[ "$(head -n 1 "$s/.follow/first" 2>/dev/null)" = a ]
	follow waits "$mnt/shard_02"
}

mount_at_start segment_size=4K
check "not listed, not written" not_listed_not_written
check "cat, tail, grep, dd, sed" tools
check "head, grep -m, dd count=, timeout" ends_when_it_has_enough
check "while read" shell_loop
check "SIGSTOP and SIGCONT" stopped_and_continued
check "a read waits for an entry" try waits
check "it is a stream" try stream
check "all sizes" all_sizes segment_size=4K
check "all sizes, compressed" all_sizes compression=lz4 min_compression_size=64 segment_size=1M
check "remount with small segments" remount segment_size=4K
check "O_NONBLOCK" try nonblocking
check "poll and select" try poll
check "epoll" try epoll
check "signals" try signals
check "threads at one open file" try shared
check "kill -9 in masses" try_with_pid killed
check "1,000 that wait" try_with_pid thousand
check "1,000 in one epoll set" try epoll_many
check "sync modes" modes
check "with -s" single_threaded
check "small reads of the kernel's" small_reads
check "a prune overtakes a follower" pruned
check "a damaged entry" damaged
check "a stream that takes no appends" takes_no_appends
check "the stream is deleted" try deleted
check "read-only" read_only
check "SIGTERM while 200 wait" end_by_sigterm
check "umount -f while 200 wait" end_by_force
check "kill -9 of walfs while 200 wait" end_by_kill
check "umount while one follows" stays_while_followed
check "a sharded store" in_a_sharded_store
check "unmount" unmount
sort -u "$work/figures" | grep '^#' || true
finish
