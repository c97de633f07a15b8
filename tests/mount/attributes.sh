#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What stat(2) and statfs(2) say of entries, streams and the root.
. "$(dirname "$0")/common.sh"

entry_attributes() {
	local before after

	new_stream
	before=$(date +%s)
	printf '12345' >"$s/new"
	head -c 100000 /dev/zero >"$s/new"
	after=$(date +%s)
	[ "$(stat -c '%F %a %h %s %b' "$s/0")" = 'regular file 444 1 5 1' ]
	[ "$(stat -c '%F %a %h %s %b' "$s/1")" = 'regular file 444 1 100000 196' ]
	[ "$(stat -c '%u %g' "$s/0")" = "$(id -u) $(id -g)" ]
	[ "$(stat -c %Y "$s/0")" -ge "$before" ]
	[ "$(stat -c %Y "$s/1")" -le "$after" ]
	[ "$(stat -c '%x %x' "$s/0")" = "$(stat -c '%y %z' "$s/0")" ]
}

# Each size around a block's and a buffer's edge.
sizes_are_exact() {
	local size id=0

	new_stream
	for size in 1 511 512 513 4095 4096 4097 131071 131072 131073 1048575 1048576 1048577; do
		head -c "$size" /dev/zero >"$s/new"
		[ "$(stat -c '%s %b' "$s/$id")" = "$size $(((size + 511) / 512))" ]
		[ "$(wc -c <"$s/$id")" -eq "$size" ]
		id=$((id + 1))
	done
}

mtimes_increase() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
fd = os.open(s + "/new", os.O_WRONLY | os.O_SYNC | os.O_APPEND)
for i in range(300):
    os.write(fd, b"x")
os.close(fd)
times = [os.stat(f"{s}/{i}").st_mtime_ns for i in range(300)]
assert all(a < b for a, b in zip(times, times[1:])), times
assert os.stat(s).st_mtime_ns == times[-1]
END
	[ "$(find "$s" -name '0*' -newer "$s/297" | wc -l)" -eq 2 ]
}

# All streams have the mode that the mount's options give, whatever mkdir(2) asks for; who asks for another by chmod(2) hears that.
modes_of_streams() {
	new_stream
	(umask 077 && mkdir "$s-1")
	python3 -S -c 'import os, sys; os.mkdir(sys.argv[1], 0o1700)' "$s-2"
	mkdir -m 755 "$s-3"
	fails mkdir -m 700 "$s-4"
	[ "$(stat -c %a "$s" "$s-1" "$s-2" "$s-3" "$s-4" | sort -u)" = 755 ]
	remount umask=077
	[ "$(stat -c %a "$s" "$s-1" | sort -u)" = 700 ]
	mkdir -m 700 "$s-5"
	mkdir -p "$s-6"
	[ "$(stat -c %a "$s-5" "$s-6" "$mnt" | sort -u)" = 700 ]
	# who can look into the store is another matter, and not changed by that
	[ "$(stat -c %a "$store/$(basename "$s-3")")" = "$(stat -c %a "$store/$(basename "$s-1")")" ]
	remount
}

# Of the whole mount: type, mode, inode, size, blocks, times.
table() {
	(cd "$mnt" && find . -printf '%p %y %m %n %i %s %b %T@ %C@ %U %G\n' | grep -v '^\. ' | sort)
}

all_the_same_after_remount() {
	table >"$work/before"
	remount "$@"
	table >"$work/after"
	diff "$work/before" "$work/after"
}

inodes_are_distinct() {
	find "$mnt" -printf '%i\n' | sort | uniq -d >"$work/twice"
	[ ! -s "$work/twice" ]
	new_stream
	echo x >"$s/new"
	# as readdir says it and as stat says it
	python3 - "$s" <<'END'
import os, sys
for e in os.scandir(sys.argv[1]):
    assert e.inode() == e.stat(follow_symlinks=False).st_ino, e.name
END
	[ "$(stat -c %i "$s/0")" = "$(stat -c %i "$s/$(entry 0)")" ]
	# a stream that is made again under its name after another one
	mkdir "$mnt/z-one" "$mnt/z-two"
	stat -c %i "$mnt/z-two" >"$work/inode"
	rmdir "$mnt/z-one" "$mnt/z-two"
	mkdir "$mnt/z-two"
	stat -c %i "$mnt/z-two" | cmp - "$work/inode"
}

new_never_changes() {
	local before

	new_stream
	before=$(stat -c '%F %a %h %s %b %i %x %y %z' "$s/new")
	[[ $before = 'regular empty file 644 1 0 0 '* ]]
	echo x >"$s/new"
	touch "$s/new"
	[ "$(stat -c '%F %a %h %s %b %i %x %y %z' "$s/new")" = "$before" ]
	remount
	[ "$(stat -c '%F %a %h %s %b %i %x %y %z' "$s/new")" = "$before" ]
}

directories() {
	local links

	new_stream
	[ "$(stat -c '%F %a %h' "$s")" = 'directory 755 2' ]
	[ "$(stat -c %b "$s")" -ge 1 ]
	echo x >"$s/new"
	[ "$(stat -c %y "$s")" = "$(stat -c %y "$s/0")" ]
	[ "$(stat -c '%F %a' "$mnt")" = 'directory 755' ]
	[ "$(stat -c %b "$mnt")" -ge 1 ]
	# find(1) counts on a directory's links
	links=$(stat -c %h "$mnt")
	mkdir "$mnt/one-more"
	[ "$(stat -c %h "$mnt")" -eq $((links + 1)) ]
	rmdir "$mnt/one-more"
	[ "$(stat -c %h "$mnt")" -eq "$links" ]
}

links_to_first_and_last() {
	new_stream
	fails readlink "$s/.first"
	fails readlink "$s/.last"
	refused ENOENT stat "$s/.last"
	echo a >"$s/new"
	echo b >"$s/new"
	[ "$(stat -c '%F %N' "$s/.first")" = "symbolic link '$s/.first' -> '$(entry 0)'" ]
	[ "$(stat -c '%F %N' "$s/.last")" = "symbolic link '$s/.last' -> '$(entry 1)'" ]
	[ "$(cat "$s/.first" "$s/.last")" = $'a\nb' ]
}

statfs_is_that_of_the_disk() {
	[ "$(stat -f -c '%b %S' "$mnt")" = "$(stat -f -c '%b %S' "$store")" ]
	[ "$(stat -f -c %l "$mnt")" -eq 255 ]
	df "$mnt" >/dev/null
	grep -qF "$store $mnt fuse.walfs " /proc/self/mounts
}

given_owner_and_modes() {
	[ "$(stat -c '%u %g %a' "$mnt")" = '1234 5678 750' ]
	[ "$(stat -c '%u %g %a' "$mnt/case-2")" = '1234 5678 750' ]
	[ "$(stat -c '%u %g %a' "$mnt/case-2/0")" = '1234 5678 440' ]
	[ "$(stat -c '%u %g %a' "$mnt/case-2/new")" = '1234 5678 640' ]
}

mount_at_start
check "an entry's" entry_attributes
check "sizes and blocks" sizes_are_exact
check "times of appends increase" mtimes_increase
check "inode numbers are distinct, and as readdir says" inodes_are_distinct
check "new looks the same for ever" new_never_changes
check "directories" directories
check "modes of streams" modes_of_streams
check ".first and .last" links_to_first_and_last
check "statfs" statfs_is_that_of_the_disk
check "the same after a remount" all_the_same_after_remount
check "the same read-only" all_the_same_after_remount ro
check "mount with uid, gid, umask" remount uid=1234 gid=5678 umask=027
check "uid, gid, umask" given_owner_and_modes
unmount_at_end
