#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What a service manager and a log see of walfs: readiness by datagram, levels in the journal, one line an event in syslog.
. "$(dirname "$0")/as_user.sh"
. "$(dirname "$0")/common.sh"

is_mounted() {
	grep -F " $mnt fuse.walfs " /proc/self/mounts
}

# receive SOCKET: what comes there goes to $work/received
receive() {
	rm -f "$work/received"
	python3 -S "$here/service.py" "$1" "$work/received" &
	echo $! >"$work/receiver.pid"
	within 60 grep -qx ready "$work/received"
}

received() {
	within 60 grep -F -- "$1" "$work/received"
}

receiver_ends() {
	kill "$(cat "$work/receiver.pid")"
	rm "$work/receiver.pid"
}

tells_when_it_is_ready() {
	receive "$1"
	NOTIFY_SOCKET=$1 mount_store
	received "\"READY=1\nSTATUS='$store' is mounted at '$mnt'\""
	fails grep STOPPING "$work/received"
	kill -TERM "$(walfs_pid)"
	walfs_ends 0
	received '"STOPPING=1\nSTATUS=writing what is left"'
	[ "$(wc -l <"$work/received")" -eq 3 ]
	receiver_ends
}

# Whoever waits for it must not begin before.
mounted_when_it_says_so() {
	mkfifo "$work/answer"
	python3 -S - "$work/early.socket" "$mnt" <<'END' >"$work/answer" &
import os, socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1])
s.settimeout(60)
print("bound", flush=True)
assert s.recv(4096).startswith(b"READY=1\n")
print(os.path.ismount(sys.argv[2]), os.listdir(sys.argv[2]), flush=True)
END
	exec 5<"$work/answer"
	read -r line <&5
	[ "$line" = bound ]
	NOTIFY_SOCKET=$work/early.socket run_walfs "$store" "$mnt" -f
	read -r line <&5
	[ "$line" = "True ['.checkpoints']" ]
	unmount
}

# Not before it is, and not instead of failing.
silent_when_it_fails() {
	receive "$work/notify.2"
	mkdir -p "$work/full"
	: >"$work/full/file"
	NOTIFY_SOCKET=$work/notify.2 gives 32 "$WALFS" "$store" "$work/full" -f
	NOTIFY_SOCKET=$work/notify.2 gives 1 "$WALFS" "$work/full" "$mnt" -f
	[ "$(cat "$work/received")" = ready ]
	receiver_ends
}

# A newline would begin an assignment of its own.
odd_names() {
	mkdir "$work/a"$'\n'"MAINPID=1"
	receive "$work/notify.3"
	NOTIFY_SOCKET=$work/notify.3 run_walfs "$store" "$work/a"$'\n'"MAINPID=1" -f
	received "/a?MAINPID=1"
	kill -TERM "$(walfs_pid)"
	walfs_ends 0
	receiver_ends
}

# Nobody there, nothing that could be, too long: it is mounted all the same, with a word about it.
wrong_sockets() {
	local socket

	for socket in "$work/nobody" relative "vsock:2:1234" "/$(printf '%0200d' 0)"; do
		: >"$log"
		NOTIFY_SOCKET=$socket mount_store
		grep -F "'$socket' (\$NOTIFY_SOCKET) cannot be told of it: " "$log"
		unmount
	done
	: >"$log"
	NOTIFY_SOCKET='' mount_store
	unmount
	fails grep NOTIFY_SOCKET "$log"
}

one_line_an_event() {
	: >"$log"
	mount_store
	unmount
	[ "$(cat "$log")" = "walfs: '$store' is mounted at '$mnt'"$'\n'"walfs: unmounted" ]
}

# $JOURNAL_STREAM says which file the journal is; here it is a file, and then another one.
levels_for_the_journal() {
	local journal

	: >"$work/journal"
	journal=$(stat -c %d:%i "$work/journal")
	JOURNAL_STREAM=$journal "$WALFS" "$store" "$mnt" -f 2>"$work/journal" &
	echo $! >"$work/background.pid"
	within 60 is_mounted
	fusermount3 -u "$mnt"
	wait "$(cat "$work/background.pid")"
	rm "$work/background.pid"
	[ "$(cat "$work/journal")" = "<6>'$store' is mounted at '$mnt'"$'\n'"<6>unmounted" ]
	JOURNAL_STREAM=$journal gives 1 "$WALFS" "$work/full" "$mnt" -f 2>"$work/other"
	grep '^walfs: ' "$work/other"
	JOURNAL_STREAM=$journal gives 1 "$WALFS" "$work/full" "$mnt" -f 2>"$work/journal"
	grep '^<3>' "$work/journal"
}

# In the background: /dev/log, one datagram an event, <DAEMON facility * 8 + level>.
syslog_in_the_background() {
	local dev=$work/dev

	mkdir "$dev"
	mount -t tmpfs -o mode=755 tmpfs "$dev"
	mknod -m 666 "$dev/null" c 1 3
	mknod -m 666 "$dev/urandom" c 1 9
	mknod -m 666 "$dev/fuse" c 10 229
	receive "$dev/log"
	mount --bind "$dev" /dev
	"$WALFS" "$store" "$mnt" >"$work/out" 2>&1
	note_holder
	[ ! -s "$work/out" ]
	received "is mounted at"
	fusermount3 -u "$mnt"
	holder_ends
	received unmounted
	umount /dev
	receiver_ends
	sed -n '2,$p' "$work/received" >"$work/lines"
	[ "$(wc -l <"$work/lines")" -eq 2 ]
	# <30>Nov 20 10:00:00 walfs[123]: …
	[ "$(grep -Ec "^\"<30>[A-Z][a-z]{2} [ 0-9]{2} [0-9:]{8} walfs\[[0-9]+\]: [^\\\\]*" "$work/lines")" -eq 2 ]
}

check "tells when it is ready" tells_when_it_is_ready "$work/notify.1"
check "at an abstract socket" tells_when_it_is_ready "@walfs-test-$$"
rm -rf --one-file-system "$store"
check "it is mounted then" mounted_when_it_says_so
check "a failure is not ready" silent_when_it_fails
check "odd names" odd_names
check "wrong sockets" wrong_sockets
check "one line an event" one_line_an_event
check "levels for the journal" levels_for_the_journal
check "syslog in the background" syslog_in_the_background
finish
