#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What is refused, and how exactly.
. "$(dirname "$0")/common.sh"

entries_cannot_be_changed() {
	local before

	new_stream
	printf 'stays' >"$s/new"
	echo x >"$work/file"
	before=$(stat -c '%a %u %s %y %i' "$s/0")
	refused EPERM truncate "$s/0" 0
	refused EPERM truncate "$s/0" 100
	refused EPERM chmod "$s/0" 644
	refused EPERM chown "$s/0" 12345
	refused EPERM utime "$s/0"
	refused EPERM unlink "$s/0"
	refused EPERM unlink "$s/$(entry 0)"
	refused EPERM rename "$s/0" "$s/1"
	refused EPERM rename "$s/0" "$s/new"
	refused EPERM link "$s/0" "$s/1"
	refused EXDEV rename "$s/0" "$work/out"
	refused EACCES open-write "$s/0"
	refused EACCES open-append "$s/0"
	refused EACCES open-rw "$s/0"
	refused EACCES open-trunc "$s/0"
	[ "$(stat -c '%a %u %s %y %i' "$s/0")" = "$before" ]
	holds stays
}

nothing_else_is_made_in_a_stream() {
	new_stream
	refused EPERM create "$s/file"
	refused EPERM create "$s/1"
	refused EPERM create "$s/$(entry 7)"
	refused EPERM mkdir "$s/dir"
	refused EPERM mkfifo "$s/fifo"
	refused EPERM symlink target "$s/link"
	refused EPERM create "$mnt/file"
	refused EPERM mkfifo "$mnt/fifo"
	refused EPERM symlink target "$mnt/link"
	[ "$(ls -A "$s")" = new ]
}

new_stays() {
	new_stream
	refused EPERM unlink "$s/new"
	refused EPERM rename "$s/new" "$s/old"
	refused EPERM link "$s/new" "$s/old"
	works chmod "$s/new" 600
	works chown "$s/new" 12345
	[ "$(stat -c '%a %u' "$s/new")" = "644 $(id -u)" ]
	refused EPERM truncate "$s/new" 5
	works truncate "$s/new" 0
	works chmod "$s/new" 644
	works utime "$s/new"
	has_entries 0
}

streams_and_their_names() {
	local long

	new_stream
	long=$(printf 'x%.0s' {1..255})
	refused EINVAL mkdir "$mnt/.hidden"
	refused EINVAL mkdir "$mnt/LOCK"
	refused EINVAL mkdir "$mnt/HEAD"
	refused EINVAL mkdir "$mnt/checkpoints.log"
	refused ENAMETOOLONG mkdir "$mnt/${long}x"
	refused EEXIST mkdir "$s"
	refused EPERM rename "$s" "$mnt/other"
	refused ENOENT rmdir "$mnt/none"
	refused ENOENT stat "$mnt/none"
	works mkdir "$mnt/$long"
	works rmdir "$mnt/$long"
	works mkdir "$mnt/ with spaces, *, \\ and ä"
	echo x >"$mnt/ with spaces, *, \\ and ä/new"
	works mkdir "$mnt/$(printf 'new\nline\377')"
	works rmdir "$mnt/$(printf 'new\nline\377')"
	echo x >"$s/new"
	refused ENOTEMPTY rmdir "$s"
	works mkdir "$mnt/empty"
	works rmdir "$mnt/empty"
	refused ENOENT stat "$mnt/empty"
	refused ENOENT stat "$mnt/empty/new"
	works mkdir "$mnt/empty"
	works rmdir "$mnt/empty"
}

stream_that_goes_while_new_is_open() {
	mkdir "$mnt/going"
	python3 - "$mnt/going" <<'END'
import os, sys
s = sys.argv[1]
fd = os.open(s + "/new", os.O_WRONLY)
os.rmdir(s)
try:
    os.write(fd, b"x")
    os.fsync(fd)
    sys.exit("appended to a stream that is gone")
except OSError:
    pass
try:
    os.close(fd)
except OSError:
    pass
END
	refused ENOENT stat "$mnt/going"
}

what_is_not_there() {
	new_stream
	echo x >"$s/new"
	refused ENOENT read "$s/1"
	refused ENOENT read "$s/$(entry 1)"
	refused ENOENT stat "$s/00"x
	refused ENOENT stat "$s/-1"
	refused ENOENT stat "$s/+0"
	refused ENOENT stat "$s/ 0"
	refused ENOENT stat "$s/0x0"
	refused ENOENT stat "$s/18446744073709551615"
	refused ENOENT stat "$s/18446744073709551616"
	refused ENOENT stat "$s/99999999999999999999"
	refused ENOENT stat "$s/000000000000000000000"
	refused ENOENT stat "$s/1099511627776"
	refused ENOENT stat "$s/New"
	refused ENAMETOOLONG stat "$s/$(printf '0%.0s' {1..256})"
	refused ENOTDIR stat "$s/0/x"
	refused EISDIR open-write "$s"
	works read "$s/0000000000"
}

over_the_limit() {
	new_stream
	python3 - "$s/new" <<'END'
import errno, os, sys
limit = 4294967291

def expect(wanted, call, *args):
    try:
        call(*args)
    except OSError as e:
        assert e.errno == wanted, (e, call)
    else:
        sys.exit(f"{call} {args[1:]} was to fail")

fd = os.open(sys.argv[1], os.O_WRONLY)
expect(errno.EFBIG, os.pwrite, fd, b"x", limit)
expect(errno.EFBIG, os.pwrite, fd, b"xy", limit - 1)
expect(errno.EFBIG, os.ftruncate, fd, limit + 1)
expect(errno.EFBIG, os.pwrite, fd, b"x", 1 << 40)
expect(errno.EINVAL, os.ftruncate, fd, -1)
os.ftruncate(fd, 0)
os.close(fd)
END
	has_entries 0
	echo fits >"$s/new"
	holds 'fits\n'
}

extended_attributes() {
	new_stream
	echo x >"$s/new"
	refused ENOTSUP setxattr "$s/0"
	refused ENOTSUP setxattr "$s/new"
}

# The bytes of a payload, changed in the segment behind the mount's back.
damaged_entry() {
	local segment offset

	new_stream
	echo "before" >"$s/new"
	echo "the victim of this case" >"$s/new"
	echo "after" >"$s/new"
	segment=$(find "$store/case-$number" -name '*.wal')
	offset=$(grep -abo "the victim" "$segment" | cut -d : -f 1)
	printf 'X' | dd of="$segment" bs=1 seek="$offset" conv=notrunc status=none
	refused EIO read "$s/1"
	[ "$(cat "$s/0" "$s/2")" = $'before\nafter' ]
	[ "$(stat -c %s "$s/1")" -eq 24 ]
	grep -F "'case-$number'" "$log" >"$work/lines"
	cat "$work/lines"
	[ "$(wc -l <"$work/lines")" -eq 1 ]
	grep -qE '\b(entry|id) 1\b' "$work/lines"
	grep -qF "$(basename "$segment")" "$work/lines"
	grep -qE 'offset [0-9]+' "$work/lines"
	grep -qE 'expected (0x)?[0-9a-f]+.*found (0x)?[0-9a-f]+' "$work/lines"
	echo "$number" >"$work/damaged"
}

# Opening after a clean end does not read it all again.
damaged_entry_after_remount() {
	remount
	s=$mnt/case-$(cat "$work/damaged")
	refused EIO read "$s/1"
	[ "$(cat "$s/0" "$s/2")" = $'before\nafter' ]
}

# Opening without the sidecar does. It had been durable, so it is damage and no torn end: nothing is cut, and nothing is added.
damage_found_at_mount() {
	local segment offset

	new_stream
	echo "before" >"$s/new"
	echo "the victim of this case" >"$s/new"
	echo "after" >"$s/new"
	segment=$(find "$store/case-$number" -name '*.wal')
	kill -KILL "$(walfs_pid)"
	walfs_ends 137
	fusermount3 -u "$mnt"
	offset=$(grep -abo "the victim" "$segment" | cut -d : -f 1)
	printf 'X' | dd of="$segment" bs=1 seek="$offset" conv=notrunc status=none
	rm "$store/case-$number"/*.meta
	mount_store
	[ "$(cat "$s/0" "$s/2")" = $'before\nafter' ]
	refused EIO read "$s/1"
	refused EIO write "$s/new" more
	gives 1 bash -c "echo more >'$s/new'"
	has_entries 3
	gives 1 "$WALCTL" stat "$store" "case-$number" >"$work/stat"
	cat "$work/stat"
	grep -qi 'damage' "$work/stat"
	works write "$mnt/case-2/new" "other streams go on"
}

read_only_mount() {
	remount ro
	s=$mnt/case-2
	holds stays 'other streams go on'
	refused EROFS mkdir "$mnt/more"
	refused EROFS rmdir "$s"
	refused EROFS open-write "$s/new"
	refused EROFS open-trunc "$s/new"
	refused EROFS truncate "$s/new" 0
	refused EROFS chmod "$s/0" 644
	refused EROFS unlink "$s/0"
	refused EROFS create "$s/file"
	refused EROFS rename "$s/0" "$s/1"
	refused EROFS utime "$s/0"
	works open-read "$s/new"
}

# Read-only opening changes nothing on disk and takes no lock: both can be there at once.
read_only_mount_changes_nothing() {
	unmount
	find "$store" -printf '%P %s %T@ %C@ %i\n' | sort >"$work/before"
	mount_store ro
	cat "$mnt"/case-2/* >"$work/out"
	ls -l "$mnt/case-2" >>"$work/out"
	unmount
	find "$store" -printf '%P %s %T@ %C@ %i\n' | sort | diff "$work/before" -
}

mount_at_start
check "entries cannot be changed" entries_cannot_be_changed
check "nothing else is made in a stream, nor beside them" nothing_else_is_made_in_a_stream
check "new stays as it is" new_stays
check "streams and their names" streams_and_their_names
check "a stream removed while new is open" stream_that_goes_while_new_is_open
check "what is not there" what_is_not_there
check "an entry over the limit" over_the_limit
check "extended attributes" extended_attributes
check "a damaged entry" damaged_entry
check "a damaged entry after a remount" damaged_entry_after_remount
check "damage that is found at mount" damage_found_at_mount
check "a read-only mount refuses" read_only_mount
check "a read-only mount changes nothing" read_only_mount_changes_nothing
check "mount again" mount_store
unmount_at_end
