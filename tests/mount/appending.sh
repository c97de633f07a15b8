#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What makes an entry: everything that writes to `new`, in every way a program may write to a file.
. "$(dirname "$0")/common.sh"

# ---- Everyday writers ----

echo_makes_one() {
	new_stream
	echo one >"$s/new"
	echo two >>"$s/new"
	/bin/echo three >"$s/new"
	sh -c "echo four >'$s/new'"
	holds 'one\n' 'two\n' 'three\n' 'four\n'
}

# bash writes each line by itself
printf_of_lines_makes_one() {
	new_stream
	printf '%s\n' a b c >"$s/new"
	for i in 1 2 3; do echo "$i"; done >"$s/new"
	holds 'a\nb\nc\n' '1\n2\n3\n'
}

group_makes_one() {
	new_stream
	{ echo a; echo b; } >"$s/new"
	holds 'a\nb\n'
}

pipes_make_one() {
	new_stream
	{ echo a; echo b; } | cat >"$s/new"
	seq 3 | sed 's/^/n/' | sort -r >"$s/new"
	holds 'a\nb\n' 'n3\nn2\nn1\n'
}

# Several pieces of every size that they write in.
large_files_are_equal() {
	local id

	new_stream
	head -c 3145729 /dev/urandom >"$work/large"
	cat "$work/large" >"$s/new"
	cp "$work/large" "$s/new"
	cp --sparse=always "$work/large" "$s/new"
	dd if="$work/large" of="$s/new" bs=1000 status=none
	dd if="$work/large" of="$s/new" bs=4M status=none
	dd if="$work/large" of="$s/new" bs=64K oflag=append conv=notrunc status=none
	dd if="$work/large" of="$s/new" bs=64K conv=fsync status=none
	tee "$s/new" <"$work/large" >/dev/null
	tee -a "$s/new" <"$work/large" >/dev/null
	sed -n p "$work/large" >"$s/new"
	python3 -c 'import shutil, sys; shutil.copyfile(*sys.argv[1:])' "$work/large" "$s/new"
	perl -e 'open(my $in, "<", $ARGV[0]); open(my $out, ">", $ARGV[1]); print $out $_ while <$in>; close($out) or die' "$work/large" "$s/new"
	has_entries 12
	for ((id = 0; id < 12; id++)); do
		cmp "$work/large" "$s/$id"
	done
}

writers_that_say_how_it_went() {
	new_stream
	echo x >"$work/x"
	cp -p "$work/x" "$s/new"
	cp --no-preserve=mode "$work/x" "$s/new"
	python3 -c 'import sys; open(sys.argv[1], "w").write("x\n")' "$s/new"
	python3 -c 'import sys, pathlib; pathlib.Path(sys.argv[1]).write_bytes(b"x\n")' "$s/new"
	perl -e 'open(my $f, ">>", $ARGV[0]) or die; print $f "x\n"; close($f) or die' "$s/new"
	sed -n "w $s/new" "$work/x"
	awk -v f="$s/new" '{ print >f }' "$work/x"
	holds 'x\n' 'x\n' 'x\n' 'x\n' 'x\n' 'x\n' 'x\n'
}

binary_bytes_are_kept() {
	new_stream
	python3 -c 'import sys; sys.stdout.buffer.write(bytes(range(256)) * 3)' >"$work/bytes"
	cat "$work/bytes" >"$s/new"
	cmp "$work/bytes" "$s/0"
}

# ---- Whose the writes are ----

each_program_makes_its_own() {
	new_stream
	# shellcheck disable=SC2216 # both write to it
	(/bin/echo a; /bin/echo b) >"$s/new"
	holds 'a\n' 'b\n'
}

child_that_only_inherits_makes_none() {
	new_stream
	{ echo a; /bin/true; sh -c :; echo b; } >"$s/new"
	holds 'a\nb\n'
}

exec_keeps_the_writer() {
	new_stream
	sh -c 'echo a; exec /bin/echo b' >"$s/new"
	holds 'a\nb\n'
}

# The parent's end is not yet an entry when the child has closed its copy.
child_and_parent_write() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
fd = os.open(s + "/new", os.O_WRONLY)
os.write(fd, b"parent ")
if os.fork() == 0:
    os._exit(0)
os.wait()
assert sorted(os.listdir(s)) == ["new"], os.listdir(s)
if os.fork() == 0:
    os.write(fd, b"child")
    os._exit(0)
os.wait()
assert open(s + "/0").read() == "parent child"
os.write(fd, b"later")
os.close(fd)
assert open(s + "/1").read() == "later"
END
	has_entries 2
}

each_open_is_its_own() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
a = os.open(s + "/new", os.O_WRONLY)
b = os.open(s + "/new", os.O_WRONLY)
os.write(a, b"a1 ")
os.write(b, b"b1 ")
os.write(a, b"a2")
os.write(b, b"b2")
assert os.listdir(s) == ["new"]
os.close(b)
assert open(s + "/0").read() == "b1 b2"
os.close(a)
assert open(s + "/1").read() == "a1 a2"
END
}

close_of_a_duplicate_commits() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
fd = os.open(s + "/new", os.O_WRONLY)
os.write(fd, b"one")
os.close(os.dup(fd))
assert open(s + "/0").read() == "one"
os.close(os.dup(fd))
os.write(fd, b"two")
os.close(fd)
END
	holds one two
}

killed_writer_has_committed() {
	new_stream
	python3 - "$s" <<'END'
import os, signal, sys
s = sys.argv[1]
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    fd = os.open(s + "/new", os.O_WRONLY)
    os.write(fd, b"last words")
    os.write(w, b"!")
    signal.pause()
os.read(r, 1)
assert os.listdir(s) == ["new"]
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
assert open(s + "/0").read() == "last words"
END
	has_entries 1
}

parallel_writers_lose_nothing() {
	local pids=() w i

	new_stream
	for ((w = 0; w < 20; w++)); do
		(
			set +x
			for ((i = 0; i < 25; i++)); do echo "$w $i" >"$s/new"; done
		) &
		pids+=($!)
	done
	wait "${pids[@]}"
	has_entries 500
	for ((w = 0; w < 20; w++)); do for ((i = 0; i < 25; i++)); do echo "$w $i"; done; done >"$work/expected"
	cat "$s"/0* | sort -n -k 1,1 -k 2,2 | cmp - "$work/expected"
	# of each writer in its order
	for w in 0 7 19; do cat "$s"/0* | grep "^$w " | sort -c -n -k 2,2; done
}

# ---- Nothing written ----

nothing_written_makes_none() {
	new_stream
	: >"$s/new"
	true >>"$s/new"
	/bin/true >"$s/new"
	cat /dev/null >"$s/new"
	cp /dev/null "$s/new"
	touch "$s/new"
	truncate -s 0 "$s/new"
	dd if=/dev/null of="$s/new" status=none
	python3 -c 'import os, sys; fd = os.open(sys.argv[1], os.O_RDWR | os.O_TRUNC); os.write(fd, b""); os.fsync(fd); os.close(fd)' "$s/new"
	has_entries 0
	[ -z "$(cat "$s/new")" ]
}

invisible_before_the_close() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
before = os.stat(s)
fd = os.open(s + "/new", os.O_WRONLY)
os.write(fd, b"x" * 3000000)
assert os.listdir(s) == ["new"]
assert not os.path.lexists(s + "/0") and not os.path.lexists(s + "/.last")
assert os.stat(s).st_mtime_ns == before.st_mtime_ns
assert os.stat(s + "/new").st_size == 0
os.close(fd)
assert os.stat(s + "/0").st_size == 3000000
END
}

# ---- The private file before the commit ----

any_offset_may_be_written() {
	new_stream
	python3 - "$s/new" <<'END'
import os, sys
new = sys.argv[1]

fd = os.open(new, os.O_WRONLY)		# 0: backwards
os.pwrite(fd, b"world", 6)
os.pwrite(fd, b"hello ", 0)
os.close(fd)

fd = os.open(new, os.O_WRONLY)		# 1: a hole
os.write(fd, b"a")
os.lseek(fd, 100000, os.SEEK_SET)
os.write(fd, b"z")
os.close(fd)

fd = os.open(new, os.O_WRONLY)		# 2: written over
os.write(fd, b"abcdef")
os.lseek(fd, 2, os.SEEK_SET)
os.write(fd, b"CD")
os.close(fd)

fd = os.open(new, os.O_WRONLY)		# 3: cut, and longer again
os.write(fd, b"abcdef")
os.ftruncate(fd, 3)
os.ftruncate(fd, 5)
os.close(fd)

fd = os.open(new, os.O_WRONLY)		# 4: begun again
os.write(fd, b"x" * 3000000)
os.ftruncate(fd, 0)
os.lseek(fd, 0, os.SEEK_SET)
os.write(fd, b"short")
os.close(fd)

fd = os.open(new, os.O_WRONLY)		# 5: past the part that is kept in memory, and back
os.write(fd, b"y" * 3000000)
os.pwrite(fd, b"START", 0)
os.pwrite(fd, b"END", 3000000)
os.close(fd)
END
	has_entries 6
	python3 - "$s" <<'END'
import sys
s = sys.argv[1]
expected = [b"hello world", b"a" + bytes(99999) + b"z", b"abCDef", b"abc\0\0", b"short", b"START" + b"y" * 2999995 + b"END"]
for i, e in enumerate(expected):
    assert open(f"{s}/{i}", "rb").read() == e, i
END
}

o_append_writes_at_the_end() {
	new_stream
	python3 - "$s/new" <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND)
os.write(fd, b"a")
os.lseek(fd, 0, os.SEEK_SET)
os.write(fd, b"b")
os.write(fd, b"c")
os.fsync(fd)
os.write(fd, b"d")
os.write(fd, b"e")
os.close(fd)
END
	{ echo 1; /bin/true; echo 2; } >>"$s/new"
	holds abc de '1\n2\n'
}

# ---- fsync ----

fsync_ends_an_entry() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
fd = os.open(s + "/new", os.O_WRONLY)
for i, sync in enumerate([os.fsync, os.fdatasync, os.fsync]):
    os.write(fd, b"part %d" % i)
    os.write(fd, b".")
    sync(fd)
    assert open(f"{s}/{i}").read() == f"part {i}."
os.fsync(fd)
os.write(fd, b"rest")
os.close(fd)
END
	holds 'part 0.' 'part 1.' 'part 2.' rest
}

offsets_begin_anew_with_each_entry() {
	new_stream
	python3 - "$s/new" <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
os.write(fd, b"first")
os.fsync(fd)
os.write(fd, b"second")	# the running offset is 5, and no hole comes of it
os.fsync(fd)
os.ftruncate(fd, 0)
os.lseek(fd, 0, os.SEEK_SET)
os.write(fd, b"third")
os.pwrite(fd, b"T", 0)
os.close(fd)
END
	holds first second Third
}

truncate_and_fsync_make_an_empty_one() {
	new_stream
	python3 - "$s/new" <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
os.ftruncate(fd, 0)
os.fsync(fd)
os.write(fd, b"x")
os.ftruncate(fd, 0)
os.fsync(fd)
os.fsync(fd)
os.ftruncate(fd, 0)
os.close(fd)
END
	holds '' ''
	[ "$(stat -c %s "$s/0")" -eq 0 ]
}

o_sync_makes_each_write_an_entry() {
	new_stream
	dd if=/dev/zero of="$s/new" bs=3 count=2 oflag=sync status=none
	dd if=/dev/zero of="$s/new" bs=4 count=2 oflag=dsync status=none
	python3 - "$s" <<'END'
import os, sys
fd = os.open(sys.argv[1] + "/new", os.O_WRONLY | os.O_SYNC | os.O_APPEND)
os.write(fd, b"a")
os.write(fd, b"b")
assert open(sys.argv[1] + "/5").read() == "b"
os.close(fd)
END
	holds '\0\0\0' '\0\0\0' '\0\0\0\0' '\0\0\0\0' a b
}

fsync_of_the_directory() {
	new_stream
	echo x >"$s/new"
	works fsync "$s"
	works fsync "$mnt"
	works fsync "$s/0"
}

# ---- Reading back ----

id_can_be_read_back() {
	new_stream
	echo x >"$s/new"
	python3 - "$s/new" <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
assert os.read(fd, 100) == b""
for i in range(1, 13):
    os.write(fd, b"entry")
    os.fsync(fd)
    assert os.read(fd, 100) == b"%d\n" % i, i
    assert os.read(fd, 100) == b""
    assert os.pread(fd, 100, 0) == b"%d\n" % i
os.close(fd)
END
	exec 3<>"$s/new"
	echo y >&3
	exec 4>&3 4>&-
	read -r id <&3
	exec 3>&-
	[ "$id" -eq 13 ]
	[ "$(cat "$s/13")" = y ]
}

# ---- Entries are at once everywhere ----

next_reader_sees_it() {
	local i

	new_stream
	for ((i = 0; i < 50; i++)); do
		fails [ -e "$s/$i" ]
		echo "$i" >"$s/new"
		[ "$(cat "$s/$i")" = "$i" ]
		[ "$(cat "$s/.last")" = "$i" ]
		[ "$(readlink "$s/.last")" = "$(entry "$i")" ]
	done
	[ "$(readlink "$s/.first")" = "$(entry 0)" ]
}

# What these do to the file after its data is accepted, so they say that they worked, and did.
copies_with_attributes_make_one() {
	new_stream
	echo x >"$work/copied"
	chmod 750 "$work/copied"
	[ "$(id -u)" -ne 0 ] || chown 12:34 "$work/copied"
	cp -p "$work/copied" "$s/new"
	cp -a "$work/copied" "$s/new"
	rsync -a --inplace "$work/copied" "$s/new"
	holds 'x\n' 'x\n' 'x\n'
	rm -f "$work/copied"
}

# Nobody has written, but the file has a size: the close commits it.
truncate_to_a_size_makes_one() {
	new_stream
	truncate -s 5 "$s/new"
	holds '\0\0\0\0\0'
	truncate -s 0 "$s/new"
	has_entries 1
}

everything_is_there_after_a_remount() {
	(cd "$mnt" && find . -name '0*' -type f -exec sha256sum {} + | sort) >"$work/before"
	[ -s "$work/before" ]
	remount "$1"
	(cd "$mnt" && find . -name '0*' -type f -exec sha256sum {} + | sort) >"$work/after"
	cmp "$work/before" "$work/after"
}

all_ways() {
	check "$1echo makes one entry" echo_makes_one
	check "$1printf of lines makes one" printf_of_lines_makes_one
	check "$1{ …; } makes one" group_makes_one
	check "$1a pipe makes one" pipes_make_one
	check "$1large files, by cat, cp, dd, tee, sed, python3, perl" large_files_are_equal
	check "$1writers that look at each result" writers_that_say_how_it_went
	check "$1all 256 bytes" binary_bytes_are_kept
	check "$1two programs make two" each_program_makes_its_own
	check "$1a child that only inherits makes none" child_that_only_inherits_makes_none
	check "$1exec goes on with the entry" exec_keeps_the_writer
	check "$1child and parent write" child_and_parent_write
	check "$1each open has its own" each_open_is_its_own
	check "$1closing a duplicate commits" close_of_a_duplicate_commits
	check "$1a killed writer has committed" killed_writer_has_committed
	check "${1}20 writers at once" parallel_writers_lose_nothing
	check "$1nothing written makes none" nothing_written_makes_none
	check "$1invisible before the close" invisible_before_the_close
	check "$1writing at any offset, and truncating" any_offset_may_be_written
	check "$1O_APPEND" o_append_writes_at_the_end
	check "$1fsync ends an entry" fsync_ends_an_entry
	check "$1offsets begin anew with each entry" offsets_begin_anew_with_each_entry
	check "$1truncate and fsync make an entry of no bytes" truncate_and_fsync_make_an_empty_one
	check "$1O_SYNC and O_DSYNC make each write one" o_sync_makes_each_write_an_entry
	check "$1fsync of directories and entries" fsync_of_the_directory
	check "$1the id is read back" id_can_be_read_back
	check "$1the next reader sees it" next_reader_sees_it
	check "$1cp -p, cp -a, rsync -a --inplace" copies_with_attributes_make_one
	check "$1truncate to a size" truncate_to_a_size_makes_one
}

mount_at_start
all_ways "strict: "
check "all is there after a remount, now async" everything_is_there_after_a_remount sync=async
all_ways "async: "
check "all is there after a remount, now lz4" everything_is_there_after_a_remount compression=lz4
unmount_at_end
