#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# .at/NAME: the streams as of each checkpoint.
. "$(dirname "$0")/common.sh"

# The names in a directory, in a line.
names() {
	find "$1" -mindepth 1 -maxdepth 1 -printf '%f\n' | sort | tr '\n' ' '
}

at() {
	python3 -S "$here/at.py" "$@"
}

# Appends to these streams go on until stop_writers.
start_writers() {
	python3 -S "$here/at.py" write "$mnt" "$@" >"$work/writers.log" 2>&1 &
	echo $! >"$work/writers.pid"
}

stop_writers() {
	kill "$(cat "$work/writers.pid")"
	rm "$work/writers.pid"
}

exactly_what_is_covered() {
	local at=$mnt/.at/first

	mkdir "$mnt/orders" "$mnt/empty"
	printf 'one\n' >"$mnt/orders/new"
	printf 'two\n' >"$mnt/orders/new"
	refused ENOENT stat "$at"
	refused ENOENT stat "$mnt/.at/HEAD"
	[ -z "$(ls -A "$mnt/.at")" ]
	touch "$mnt/.checkpoints/first"
	printf 'three\n' >"$mnt/orders/new"
	mkdir "$mnt/later"
	[ "$(ls -A "$mnt/.at")" = first ]
	[ "$(readlink "$mnt/.at/HEAD")" = first ]
	[ "$(names "$at")" = 'empty orders ' ]
	[ "$(names "$at/orders")" = "$(entry 0) $(entry 1) " ]
	[ -z "$(ls -A "$at/empty")" ]
	[ "$(cat "$at"/orders/0*)" = $'one\ntwo' ]
	[ "$(cat "$at/orders/.log" "$at/orders/.from/1" "$at/orders/.from/last" "$at/orders/.from/next")" = $'one\ntwo\ntwo\ntwo' ]
	[ "$(stat -c %s "$at/orders/.log")" -eq 8 ]
	[ "$(cat "$at/orders/.first" "$at/orders/.last" "$at/orders/1")" = $'one\ntwo\ntwo' ]
	[ "$(cat "$mnt/orders/.log")" = $'one\ntwo\nthree' ]
	refused ENOENT stat "$at/orders/2"
	refused ENOENT stat "$at/orders/new"
	refused ENOENT stat "$at/orders/.prune"
	refused ENOENT stat "$at/orders/.from/3"
	refused ENOENT stat "$at/later"
	refused ENOENT stat "$at/none"
	refused ENOENT stat "$at/empty/.last"
	refused ENOENT stat "$mnt/.at/none"
	[ "$(stat -c %s "$at/empty/.log")" -eq 0 ]
	touch "$mnt/.checkpoints/second"
	[ "$(readlink "$mnt/.at/HEAD")" = second ]
	[ "$(cat "$mnt/.at/HEAD/orders/.log")" = $'one\ntwo\nthree' ]
	[ -d "$mnt/.at/HEAD/later" ]
	# not listed
	fails grep -qx .at <(ls -A "$mnt")
	[ "$(cd "$at/orders" && cd -P .. && names .)" = 'empty orders ' ]
}

attributes() {
	local at=$mnt/.at/first

	[ "$(stat -c '%F %a %h' "$mnt/.at")" = 'directory 555 1' ]
	[ "$(stat -c '%F %a %h' "$at")" = 'directory 555 1' ]
	[ "$(stat -c '%F %a %h' "$at/orders")" = 'directory 555 2' ]
	[ "$(stat -c '%F %a %h %i %s %y %z' "$at/orders/0")" = "$(stat -c '%F %a %h %i %s %y %z' "$mnt/orders/0")" ]
	[ "$(stat -c %y "$at")" = "$(stat -c %y "$mnt/.checkpoints/first")" ]
	[ "$(stat -c %y "$at/empty")" = "$(stat -c %y "$mnt/.checkpoints/first")" ]
	[ "$(stat -c %y "$at/orders")" = "$(stat -c %y "$mnt/orders/1")" ]
	[ "$(stat -c '%x %x' "$at/orders")" = "$(stat -c '%y %z' "$at/orders")" ]
	[ "$(stat -c '%x %x' "$at")" = "$(stat -c '%y %z' "$at")" ]
	stat -c %i "$mnt" "$mnt/orders" "$mnt/.at" "$mnt/.checkpoints" "$mnt/.checkpoints/first" "$at" "$at/orders" "$at/empty" "$mnt/.at/second" \
		"$mnt/.at/second/orders" "$mnt/orders/.log" "$at/orders/.log" "$mnt/.at/second/orders/.log" "$at/orders/.from/1" "$mnt/orders/.from/1" \
		>"$work/inodes"
	[ -z "$(sort "$work/inodes" | uniq -d)" ]
	# as readdir says it and as stat says it
	python3 - "$mnt/.at" "$at" "$at/orders" <<'END'
import os, sys
for d in sys.argv[1:]:
    for e in os.scandir(d):
        assert e.inode() == e.stat(follow_symlinks=False).st_ino, e.name
END
}

# Of the whole checkpoint: all that stat(2) says but st_dev.
table() {
	(cd "$1" && find . -printf '%p %y %m %n %i %s %b %T@ %C@ %A@ %U %G\n' | sort)
}

same_after_remount() {
	table "$mnt/.at/first" >"$work/before"
	[ "$(wc -l <"$work/before")" -eq 5 ]
	stat -c '%i %s %y' "$mnt/.at/first/orders/.log" "$mnt/.at/first/orders/.from/1" "$mnt/.at" >>"$work/before"
	remount "$@"
	table "$mnt/.at/first" >"$work/after"
	stat -c '%i %s %y' "$mnt/.at/first/orders/.log" "$mnt/.at/first/orders/.from/1" "$mnt/.at" >>"$work/after"
	diff "$work/before" "$work/after"
}

nothing_is_written() {
	local at=$mnt/.at/first dir

	for dir in "$mnt/.at" "$at" "$at/orders" "$at/orders/.from"; do
		refused EROFS create "$dir/x"
		refused EROFS mkdir "$dir/x"
		refused EROFS mkfifo "$dir/x"
		refused EROFS symlink x "$dir/x"
		refused EROFS utime "$dir"
		refused EROFS chmod "$dir" 777
		refused EROFS rename "$mnt/orders" "$dir/x"
	done
	refused EROFS rmdir "$at"
	refused EROFS rmdir "$at/orders"
	refused EROFS unlink "$at/orders/$(entry 0)"
	refused EROFS unlink "$at/orders/.log"
	refused EROFS unlink "$mnt/.at/HEAD"
	refused EROFS rename "$at/orders" "$mnt/orders2"
	refused EROFS rename "$at" "$mnt/.at/x"
	refused EROFS link "$mnt/orders/0" "$at/orders/7"
	refused EROFS open-write "$at/orders/.log"
	refused EROFS truncate "$at/orders/.log" 0
	refused EACCES open-write "$at/orders/0"
	works fsync "$at"
	works fsync "$at/orders"
	fails rm -rf "$at"
	cmp "$at/orders/.log" <(printf 'one\ntwo\n')
}

# What a backup tool makes of a checkpoint is the same whenever it is made.
backups_while_others_write() {
	local i tree=$mnt/.at/backup

	mkdir "$mnt/busy-1" "$mnt/busy-2" "$mnt/busy-3"
	start_writers busy-1 busy-2 busy-3
	for i in 1 2 3; do within 30 [ -e "$mnt/busy-$i/100" ]; done
	touch "$mnt/.checkpoints/backup"
	table "$tree" >"$work/table.1"
	tar -C "$tree" --sort=name -cf "$work/backup.1.tar" .
	rsync -a "$tree/" "$work/rsync.1/"
	cp -a "$tree" "$work/copy.1"
	for i in 1 2 3; do within 30 [ -e "$mnt/busy-$i/400" ]; done
	# one of them ends in a segment that is long sealed
	[ "$(find "$store/busy-1" -name '*.wal' | wc -l)" -gt 3 ]
	table "$tree" >"$work/table.2"
	tar -C "$tree" --sort=name -cf "$work/backup.2.tar" .
	rsync -ai "$tree/" "$work/rsync.1/" >"$work/sent"
	cp -a "$tree" "$work/copy.2"
	stop_writers
	[ ! -s "$work/sent" ]
	diff "$work/table.1" "$work/table.2"
	cmp "$work/backup.1.tar" "$work/backup.2.tar"
	diff -r "$work/copy.1" "$work/copy.2"
	diff -r "$tree" "$work/rsync.1"
	diff <(cd "$work/copy.1" && find . -printf '%p %m %s %T@\n' | sort) <(cd "$work/copy.2" && find . -printf '%p %m %s %T@\n' | sort)
	remount segment_size=64K
	table "$tree" | diff "$work/table.1" -
	tar -C "$tree" --sort=name -cf "$work/backup.3.tar" .
	cmp "$work/backup.1.tar" "$work/backup.3.tar"
	# the text is that of the files
	for i in 1 2 3; do cat "$work/copy.1/busy-$i"/0* | cmp - "$tree/busy-$i/.log"; done
}

consistent_cuts() {
	at order "$mnt"
}

removed_and_made_again() {
	new_stream
	at moved "$mnt" "$(basename "$s")"
}

pruned() {
	new_stream
	at pruned "$mnt" "$(basename "$s")"
}

used_again() {
	new_stream
	at many "$mnt" "$(basename "$s")"
}

# Another stream of the name is not what the checkpoint tells of.
stream_deleted_and_made_again() {
	local name

	new_stream
	name=$(basename "$s")
	touch "$mnt/.checkpoints/before"
	[ -d "$mnt/.at/before/$name" ]
	cd "$mnt/.at/before"
	rmdir "$s"
	within 10 fails [ -e "$mnt/.at/before/$name" ]
	fails grep -qx "$name" <(ls "$mnt/.at/before")
	mkdir "$s"
	echo x >"$s/new"
	fails [ -e "$mnt/.at/before/$name" ]
	fails grep -qx "$name" <(ls)
	# it is the same checkpoint still, and who is inside stays inside
	[ -d orders ]
	[ -f orders/0 ]
}

odd_names() {
	local name

	new_stream
	for name in 'two words' 'ä' '100%' $'new\nline' '%48EAD' '%2Ehidden' "$(printf 'x%.0s' {1..255})"; do
		touch "$mnt/.checkpoints/$name"
		[ "$(readlink "$mnt/.at/HEAD")" = "$(readlink "$mnt/.checkpoints/HEAD")" ]
		[ -d "$mnt/.at/$(readlink "$mnt/.at/HEAD")/$(basename "$s")" ]
	done
	diff <(find "$mnt/.at/" -mindepth 1 -maxdepth 1 -printf '%f\0' | sort -z | tr '\0' '|') \
		<(find "$mnt/.checkpoints" -mindepth 1 ! -name HEAD -printf '%f\0' | sort -z | tr '\0' '|')
	refused ENAMETOOLONG stat "$mnt/.at/$(printf 'x%.0s' {1..256})"
	# one name each
	refused ENOENT stat "$mnt/.at/%66irst"
	refused ENOENT stat "$mnt/.at/.."/none
}

read_only() {
	remount ro uid=1234 gid=5678 umask=027
	[ "$(stat -c '%u %g %a' "$mnt/.at/first")" = '1234 5678 550' ]
	[ "$(stat -c '%u %g %a' "$mnt/.at/first/orders")" = '1234 5678 550' ]
	[ "$(stat -c '%u %g %a' "$mnt/.at/first/orders/.log")" = '1234 5678 440' ]
	[ "$(cat "$mnt/.at/first/orders/.log")" = $'one\ntwo' ]
	refused EROFS mkdir "$mnt/.at/x"
	remount segment_size=4K
}

sharded() {
	local i

	unmount
	store=$work/sharded
	mount_store shards=4 segment_size=4K
	for ((i = 0; i < 200; i++)); do echo "entry $i" >"$mnt/.shard/key-$i/new"; done
	touch "$mnt/.checkpoints/cut"
	table "$mnt/.at/cut" >"$work/before"
	for ((i = 200; i < 300; i++)); do echo "entry $i" >"$mnt/.shard/key-$i/new"; done
	table "$mnt/.at/cut" | diff "$work/before" -
	[ "$(names "$mnt/.at/cut")" = 'shard_00 shard_01 shard_02 shard_03 ' ]
	[ "$(cat "$mnt"/.at/cut/*/.log | sort -k 2n)" = "$(seq -f 'entry %g' 0 199)" ]
	remount
	table "$mnt/.at/cut" | diff "$work/before" -
}

mount_at_start segment_size=64K
check "exactly what is covered" exactly_what_is_covered
check "attributes" attributes
check "nothing is written" nothing_is_written
check "the same after a remount" same_after_remount segment_size=64K
check "the same read-only" same_after_remount ro
check "remount" remount segment_size=64K
check "backups while others write" backups_while_others_write
check "cuts are consistent" consistent_cuts
check "a checkpoint is removed and made again" removed_and_made_again
check "remount with small segments" remount segment_size=4K
check "pruned" pruned
check "a stream is deleted and made again" stream_deleted_and_made_again
check "odd names" odd_names
check "checkpoints come and go" used_again
check "read-only, uid, gid, umask" read_only
check "a sharded store" sharded
unmount_at_end
