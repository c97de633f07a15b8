#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Starting and stopping walfs: what it says and returns, in the background and in the foreground, by signals, by mount(8).
. "$(dirname "$0")/common.sh"

# walfs STATUS TEXT ARGUMENT…: ends by itself with that status, and says the text
walfs_says() {
	local status=$1 text=$2

	shift 2
	gives "$status" timeout 60 "$WALFS" "$@" >"$work/out" 2>&1 </dev/null
	cat "$work/out"
	grep -qF -- "$text" "$work/out"
}

nothing_mounted() {
	fails grep -F " $work/" /proc/self/mounts
}

# For clean_up, if the case fails.
note_background_pid() {
	tr -dc '0-9\n' <"$store/LOCK" >"$work/background.pid"
	[ -s "$work/background.pid" ]
}

background_ends() {
	within 60 fails kill -0 "$(cat "$work/background.pid")"
	rm "$work/background.pid"
}

# Without -f: it is mounted when the command returns, and the store is free again when the process is gone.
in_background() {
	"$WALFS" "$store" "$mnt"
	mountpoint "$mnt"
	mkdir "$mnt/s"
	echo x >"$mnt/s/new"
	[ "$(cat "$mnt/s/0")" = x ]
	note_background_pid
	grep -qa walfs "/proc/$(cat "$work/background.pid")/cmdline"
	# it keeps no directory and no terminal of ours
	[ "$(readlink "/proc/$(cat "$work/background.pid")/cwd")" = / ]
	[ "$(readlink "/proc/$(cat "$work/background.pid")/fd/0")" = /dev/null ]
	fusermount3 -u "$mnt"
	background_ends
	mount_store
	[ "$(cat "$mnt/s/0")" = x ]
	unmount
}

relative_paths() {
	cd "$work"
	mkdir -p here
	"$WALFS" store here
	note_background_pid
	[ "$(cat here/s/0)" = x ]
	fusermount3 -u here
	background_ends
	rmdir here
}

help_and_version() {
	walfs_says 0 "usage: walfs STORE MOUNTPOINT" -h
	walfs_says 0 "sync=strict|batch|async" --help
	walfs_says 0 "walfs 0." -V
}

wrong_command_lines() {
	walfs_says 2 "STORE and MOUNTPOINT are missing"
	walfs_says 2 "MOUNTPOINT is missing" "$store"
	walfs_says 2 "'third'" "$store" "$mnt" third
	walfs_says 2 "'-x'" -x "$store" "$mnt"
	walfs_says 2 "no_such_option" "$store" "$mnt" -o no_such_option
	walfs_says 2 "sync" "$store" "$mnt" -o sync=sometimes
	walfs_says 2 "segment_size" "$store" "$mnt" -o segment_size=12x
	walfs_says 2 "segment_size" "$store" "$mnt" -o segment_size=1
	walfs_says 2 "umask" "$store" "$mnt" -o umask=999
	walfs_says 2 "uid" "$store" "$mnt" -o uid=root
	walfs_says 2 "" "$store" "$mnt" -o
	nothing_mounted
}

# The background changes nothing about it: each with and without -f.
wrong_stores() {
	local f

	mkdir -p "$work/foreign/dir"
	echo mine >"$work/foreign/file"
	echo x >"$work/file"
	for f in "" -f; do
		walfs_says 1 "$work/no/such/parent" "$work/no/such/parent" "$mnt" ${f:+"$f"}
		walfs_says 1 "$work/foreign" "$work/foreign" "$mnt" ${f:+"$f"}
		walfs_says 1 "$work/file" "$work/file" "$mnt" ${f:+"$f"}
		walfs_says 1 "$work/absent" "$work/absent" "$mnt" -o no_create ${f:+"$f"}
		walfs_says 1 "$work/absent" "$work/absent" "$mnt" -o ro ${f:+"$f"}
	done
	nothing_mounted
	[ ! -e "$work/absent" ]
	[ "$(cd "$work/foreign" && find . | sort | tr '\n' ' ')" = '. ./dir ./file ' ]
}

wrong_mount_points() {
	local f

	mkdir -p "$work/full"
	echo x >"$work/full/thing"
	for f in "" -f; do
		walfs_says 32 "'$work/none' does not exist" "$store" "$work/none" ${f:+"$f"}
		walfs_says 32 "'$work/file' is not a directory" "$store" "$work/file" ${f:+"$f"}
		walfs_says 32 "'$work/full' is not empty" "$store" "$work/full" ${f:+"$f"}
		walfs_says 32 "one inside the other" "$store" "$store/s" ${f:+"$f"}
		walfs_says 32 "one inside the other" "$store" "$store" ${f:+"$f"}
	done
	nothing_mounted
}

nonempty_mount_point() {
	"$WALFS" "$store" "$work/full" -o nonempty
	[ "$(cat "$work/full/s/0")" = x ]
	fusermount3 -u "$work/full"
	[ "$(cat "$work/full/thing")" = x ]
	within 60 "$WALCTL" sync "$store"
}

locked_store() {
	mkdir -p "$work/other"
	mount_store
	walfs_says 1 "$(walfs_pid)" "$store" "$work/other"
	walfs_says 1 "$(walfs_pid)" "$store" "$work/other" -f
	# to read it is free
	"$WALFS" "$store" "$work/other" -o ro
	[ "$(cat "$work/other/s/0")" = x ]
	fusermount3 -u "$work/other"
	[ "$(cat "$mnt/s/0")" = x ]
	unmount
}

# Also in a mount namespace of its own.
no_dev_fuse() {
	mount -t tmpfs tmpfs /dev
	: >/dev/null # makes it: an ordinary file does here
	walfs_says 32 /dev/fuse "$store" "$mnt"
	walfs_says 32 /dev/fuse "$store" "$mnt" -f
}

stops_by_signal() {
	mount_store sync=async
	echo "$1" >"$mnt/s/new"
	kill -"$1" "$(walfs_pid)"
	walfs_ends 0
	nothing_mounted
	mount_store
	[ "$(cat "$mnt/s/.last")" = "$1" ]
	unmount
}

# An unmount by signal is lazy: what is open does not hold it up, and who waits is answered.
stops_with_open_files() {
	mount_store
	exec 3>"$mnt/s/new" 4<"$mnt/s/0"
	kill -TERM "$(walfs_pid)"
	walfs_ends 0
	exec 3>&- 4<&-
	mount_store
	unmount
}

stops_while_others_write() {
	local pids=() i

	mount_store
	for i in 1 2 3; do
		python3 - "$mnt/s" "$work/acked.$i" "$i" <<'END' &
import sys, os
n = 0
try:
    with open(sys.argv[2], "w") as acked:
        while True:
            fd = os.open(sys.argv[1] + "/new", os.O_WRONLY)
            os.write(fd, b"w%s %d" % (sys.argv[3].encode(), n))
            os.close(fd)
            print(f"w{sys.argv[3]} {n}", file=acked, flush=True)
            n += 1
except OSError:
    pass
END
		pids+=($!)
	done
	within 30 [ -s "$work/acked.3" ]
	kill -INT "$(walfs_pid)"
	walfs_ends 0
	wait "${pids[@]}"
	mount_store
	python3 -c 'import os, sys; s = sys.argv[1]; [print(open(f"{s}/{n}").read().rstrip("\n")) for n in os.listdir(s) if n != "new"]' "$mnt/s" | sort >"$work/there"
	sort "$work"/acked.* >"$work/acked"
	[ -s "$work/acked" ]
	[ -z "$(comm -23 "$work/acked" "$work/there")" ]
	unmount
}

left_over_mount() {
	mount_store
	kill -KILL "$(walfs_pid)"
	walfs_ends 137
	refused ENOTCONN stat "$mnt/s"
	walfs_says 32 "fusermount3 -u" "$store" "$mnt"
	fusermount3 -u "$mnt"
	mount_store
	[ "$(cat "$mnt/s/0")" = x ]
	unmount
}

# mount(8) takes PATH away, and sh(1) then looks in these: this case goes on in a mount namespace of its own that has walfs there.
install_in_namespace() {
	mount -t tmpfs tmpfs /usr/local/bin
	ln -s "$WALFS" /usr/local/bin/walfs
}

by_mount_8() {
	install_in_namespace
	mount -t fuse.walfs "$store" "$mnt" -o sync=batch,allow_other,nofail,_netdev,noatime,x-systemd.automount
	note_background_pid
	grep -F "$store $mnt fuse.walfs rw" /proc/self/mounts
	echo "by mount" >"$mnt/s/new"
	[ "$(cat "$mnt/s/.last")" = "by mount" ]
	umount "$mnt"
	background_ends
	mount -t fuse.walfs -o ro,defaults,noauto,user "$store" "$mnt"
	grep -F "$store $mnt fuse.walfs ro" /proc/self/mounts
	refused EROFS open-write "$mnt/s/new"
	[ "$(cat "$mnt/s/.last")" = "by mount" ]
	umount "$mnt"
	fails mount -t fuse.walfs "$store" "$mnt" -o no_such_option 2>"$work/out"
	grep -F no_such_option "$work/out"
}

by_fstab() {
	install_in_namespace
	printf '%s %s fuse.walfs noauto,nofail,_netdev,allow_other 0 0\n' "$store" "$mnt" >"$work/fstab"
	mount --fstab "$work/fstab" "$mnt"
	note_background_pid
	grep -F "$store $mnt fuse.walfs rw" /proc/self/mounts
	echo "by fstab" >"$mnt/s/new"
	[ "$(cat "$mnt/s/.last")" = "by fstab" ]
	umount "$mnt"
	background_ends
}

other_users_are_let_in() {
	mount_store allow_other
	chmod 755 "$work"
	[ "$(setpriv --reuid 65534 --clear-groups cat "$mnt/s/0")" = x ]
	fails setpriv --reuid 65534 --clear-groups sh -c "echo x >'$mnt/s/new'"
	fails setpriv --reuid 65534 --clear-groups mkdir "$mnt/theirs"
	unmount
	mount_store
	fails setpriv --reuid 65534 --clear-groups ls "$mnt"
	unmount
}

one_thread_and_debug() {
	run_walfs "$store" "$mnt" -s -f
	within 60 mountpoint -q "$mnt"
	head -c 5000000 /dev/urandom >"$work/large"
	cp "$work/large" "$mnt/s/new"
	cmp "$work/large" "$mnt/s/.last"
	unmount
	run_walfs "$store" "$mnt" -d
	within 60 mountpoint -q "$mnt"
	ls "$mnt/s" >"$work/out"
	unmount
	grep -q READDIR "$log"
	: >"$log"
}

every_option_of_the_log() {
	mount_store sync=batch,segment_size=64K,segment_entries=10,compression=lz4,min_compression_size=16,read=mmap,block_cache=1M,max_open_segments=8
	mkdir "$mnt/options"
	s=$mnt/options
	for i in {0..49}; do printf '%5000d\n' "$i" >"$s/new"; done
	for i in {0..49}; do [ "$(cat "$s/$i")" -eq "$i" ]; done
	[ "$(find "$store/options" -name '*.wal' | wc -l)" -eq 5 ]
	remount on_corruption=error,write_buffer=64K,read_buffer=64K,block_cache=none,compression=none
	for i in {0..49}; do [ "$(cat "$s/$i")" -eq "$i" ]; done
	unmount
	walfs_says 1 shards "$store" "$mnt" -o shards=4
}

sharded_store() {
	walfs_says 0 "" "$work/sharded" "$mnt" -o shards=4
	[ "$(ls "$mnt")" = $'shard_00\nshard_01\nshard_02\nshard_03' ]
	echo x >"$mnt/shard_02/new"
	[ "$(cat "$mnt/shard_02/0")" = x ]
	fusermount3 -u "$mnt"
	within 60 "$WALCTL" sync "$work/sharded"
}

# One that does not end would keep the store from the next.
unmounted_at_once() {
	local i

	for ((i = 0; i < 60; i++)); do
		timeout 60 "$WALFS" "$store" "$mnt"
		note_background_pid
		fusermount3 -u "$mnt"
	done
	background_ends
}

# Files of the store that took the numbers 0 to 2 would be replaced by /dev/null, the lock too.
without_standard_descriptors() {
	"$WALFS" "$store" "$mnt" <&- >&- 2>&-
	note_background_pid
	walfs_says 1 "open for writing by process $(cat "$work/background.pid")" "$store" "$work/other"
	fusermount3 -u "$mnt"
	background_ends
}

fsyncs_are() {
	grep -qx 'walfs_mount_requests_total{operation="fsync"} '"$1" "$mnt/.stats"
}

# strace makes each sync take half a minute; when it lets go they end. Each is waited for alone, and by the thread that was the loop until then; others are served, and the signal is seen.
stops_during_a_slow_sync() {
	local writer

	mount_store sync=async
	echo before >"$mnt/s/new"
	strace -f -qq -o /dev/null -e trace=fdatasync -e inject=fdatasync:delay_enter=30000000 -p "$(walfs_pid)" &
	echo $! >"$work/strace.pid"
	within 10 grep -q "^TracerPid:[[:space:]]*[1-9]" "/proc/$(walfs_pid)/status"
	python3 -c 'import os, sys; fd = os.open(sys.argv[1], os.O_WRONLY); os.write(fd, b"slow"); os.fsync(fd)' "$mnt/s/new" &
	writer=$!
	within 10 fsyncs_are 1
	[ "$(cat "$mnt/s/.last")" = before ]
	[ "$(find "$mnt/s" -name new)" = "$mnt/s/new" ]
	kill -0 "$writer"
	kill -TERM "$(walfs_pid)"
	kill -TERM "$(cat "$work/strace.pid")"
	wait "$(cat "$work/strace.pid")" || true
	rm "$work/strace.pid"
	wait "$writer"
	walfs_ends 0
	mount_store
	cat "$mnt"/s/0* | grep -q slow
	unmount
}

# What is inherited and would be in the way: a limit of file sizes, a blocked signal, a descriptor.
odd_parents() {
	local program=$WALFS

	(ulimit -f 100 && "$WALFS" "$store" "$mnt")
	note_background_pid
	mkdir "$mnt/limited"
	fails dd if=/dev/zero of="$mnt/limited/new" bs=1M count=5
	echo fits >"$mnt/limited/new"
	[ "$(cat "$mnt/limited/0")" = fits ]
	fusermount3 -u "$mnt"
	background_ends
	WALFS=$(command -v env)
	run_walfs --block-signal=USR1 "$program" -f "$store" "$mnt"
	WALFS=$program
	within 60 mountpoint -q "$mnt"
	kill -TERM "$(walfs_pid)"
	walfs_ends 0
	("$WALFS" "$store" "$mnt") 3>&1 | timeout 60 cat
	note_background_pid
	fusermount3 -u "$mnt"
	background_ends
}

# It waits for the lock when its parent is killed, as at a prompt; then it gets the lock.
abandoned_while_it_opens() {
	local parent child

	mkfifo "$work/release"
	(flock 9 && exec cat "$work/release") 9<"$store/LOCK" &
	echo $! >"$work/holder.pid"
	within 60 fails flock -n "$store/LOCK" true
	"$WALFS" "$store" "$mnt" &
	parent=$!
	within 60 pgrep -P "$parent" >"$work/background.pid"
	child=$(cat "$work/background.pid")
	kill -KILL "$parent"
	gives 137 wait "$parent"
	: >"$work/release"
	within 60 fails kill -0 "$child"
	rm "$work/background.pid" "$work/holder.pid" "$work/release"
	nothing_mounted
	mount_store
	unmount
}

mounted_already() {
	mount_store
	walfs_says 32 "'$mnt' is already a mount of '$store': unmount it with 'fusermount3 -u $mnt'" "$store" "$mnt" -o ro
	walfs_says 32 "is already a mount" "$store" "$mnt" -o ro,nonempty
	unmount
}

ways_to_say_ro() {
	local options

	for options in ro ro=1 rw,ro=yes ro=0,ro; do
		"$WALFS" "$store" "$mnt" -o "$options"
		grep -F "$store $mnt fuse.walfs ro," /proc/self/mounts
		fusermount3 -u "$mnt"
	done
	for options in rw ro=0 ro,rw ro=1,ro=0; do
		"$WALFS" "$store" "$mnt" -o "$options"
		note_background_pid
		grep -F "$store $mnt fuse.walfs rw," /proc/self/mounts
		fusermount3 -u "$mnt"
		background_ends
	done
}

# Nobody asked for `ro`, so the kernel does not know. In a mount namespace of its own.
unwritable_store() {
	local attempt

	mount --bind "$store" "$store"
	mount -o remount,bind,ro "$store"
	"$WALFS" "$store" "$mnt"
	[ "$(cat "$mnt/s/0")" = x ]
	for attempt in "open-write $mnt/s/new" "open-rw $mnt/s/new" "open-write $mnt/s/0" "truncate $mnt/s/new 0" "create $mnt/s/x" \
		"create $mnt/x" "mkfifo $mnt/s/x" "mkdir $mnt/x" "mkdir $mnt/s/x" "unlink $mnt/s/0" "rename $mnt/s/0 $mnt/s/x" \
		"rename $mnt/s $mnt/t" "link $mnt/s/0 $mnt/s/x" "symlink x $mnt/s/y" "rmdir $mnt/s" "chmod $mnt/s/0 644" "utime $mnt/s/new"; do
		# shellcheck disable=SC2086 # words, without spaces in them
		refused EROFS $attempt
	done
	fusermount3 -u "$mnt"
}

# This script runs itself again in the namespace, for one case: lifecycle.sh --case FUNCTION WORK
if [ "${1:-}" = --case ]; then
	rmdir "$mnt"; rm -f "$log"; rmdir "$work"
	trap - EXIT
	work=$3 store=$3/store mnt=$3/mnt log=$3/log
	while read -r _ place type _; do
		[ "$type" != fuse.walfs ] || umount -l "$(printf '%b' "$place")"
	done </proc/self/mounts
	set -eux
	"$2"
	exit 0
fi

# A walfs does not end while a copy of its mount is left: those of the tests beside this one are let go of in the new namespace.
in_namespace() {
	unshare -m --propagation private "$here/lifecycle.sh" --case "$1" "$work"
}

check "in the background" in_background
check "relative paths" relative_paths
check "-h, --help, -V" help_and_version
check "wrong command lines: 2" wrong_command_lines
check "stores that cannot be opened: 1" wrong_stores
check "mount points that cannot be used: 32" wrong_mount_points
check "nonempty" nonempty_mount_point
check "a store that another has: 1, and its pid" locked_store
check "SIGTERM" stops_by_signal TERM
check "SIGINT" stops_by_signal INT
check "SIGHUP" stops_by_signal HUP
check "a signal while files are open" stops_with_open_files
check "a signal while others write" stops_while_others_write
if type strace >/dev/null 2>&1; then
	check "a signal during a slow sync" stops_during_a_slow_sync
else
	skip "a signal during a slow sync" "strace is missing"
fi
check "the mount of a killed walfs" left_over_mount
if [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
	check "mount -t fuse.walfs" in_namespace by_mount_8
	check "fstab" in_namespace by_fstab
	check "no /dev/fuse: 32" in_namespace no_dev_fuse
	check "allow_other" other_users_are_let_in
else
	skip "mount -t fuse.walfs, fstab, no /dev/fuse, allow_other" "only root may, with mount namespaces"
fi
check "-s, -d" one_thread_and_debug
check "every option of the log" every_option_of_the_log
check "a sharded store" sharded_store
check "unmounted at once" unmounted_at_once
check "descriptors 0 to 2 closed" without_standard_descriptors
check "odd parents" odd_parents
check "a parent that is killed too early" abandoned_while_it_opens
check "mounted already: 32" mounted_already
check "ro, rw, ro=1" ways_to_say_ro
if [ "$(id -u)" -eq 0 ] && unshare -m true 2>/dev/null; then
	check "a store that cannot be written" in_namespace unwritable_store
else
	skip "a store that cannot be written" "only root may, with mount namespaces"
fi
finish
