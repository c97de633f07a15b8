#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# `.batch`: each line is an entry, and all that one program writes between open and close are there at once, or not at all.
. "$(dirname "$0")/common.sh"

each_line_is_an_entry() {
	new_stream
	printf '%s\n' one two three >"$s/.batch"
	seq 2 >>"$s/.batch"
	printf 'a\n\nb\r\n\0\nlast' >"$s/.batch"
	holds 'one\n' 'two\n' 'three\n' '1\n' '2\n' 'a\n' '\n' 'b\r\n' '\0\n' last
}

writers_of_all_kinds() {
	new_stream
	printf 'x\ny\n' >"$work/xy"
	cat "$work/xy" >"$s/.batch"
	cp "$work/xy" "$s/.batch"
	dd if="$work/xy" of="$s/.batch" bs=1 status=none
	tee -a "$s/.batch" <"$work/xy" >/dev/null
	python3 -c 'import sys; open(sys.argv[1], "w").write("x\ny\n")' "$s/.batch"
	has_entries 10
	[ "$(cat "$s"/0* | sort | uniq -c | tr -s ' \n' ' ')" = " 5 x 5 y " ]
}

nothing_before_the_close() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
fd = os.open(s + "/.batch", os.O_WRONLY)
for i in range(1000):
    os.write(fd, b"line %d\n" % i)
assert os.listdir(s) == ["new"] and not os.path.lexists(s + "/0")
os.close(fd)
assert open(s + "/999").read() == "line 999\n" and not os.path.lexists(s + "/1000")
END
}

# By what it takes on the disk: one header, and a length for each entry.
one_frame() {
	local bytes

	remount
	new_stream
	seq 1000 >"$s/.batch"
	bytes=$(($(stat -c %s "$s"/0* | paste -sd +)))
	unmount
	[ "$(stat -c %s "$store/${s##*/}/"*.wal)" -eq $((32 + 4 * 1000 + bytes)) ]
	mount_store
}

fsync_commits() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
fd = os.open(s + "/.batch", os.O_WRONLY)
os.fsync(fd)
os.write(fd, b"a\nb")
os.fsync(fd)
assert open(s + "/1").read() == "b"
os.write(fd, b"c\n")
assert not os.path.lexists(s + "/2")
os.fdatasync(fd)
os.fsync(fd)
assert open(s + "/2").read() == "c\n"
os.close(fd)
END
	has_entries 3
}

each_program_makes_its_own() {
	new_stream
	{ echo a; echo b; } >"$s/.batch"
	(/bin/printf c; /bin/echo d) >"$s/.batch"
	{ /bin/true; printf 'e'; } >"$s/.batch"
	: >"$s/.batch"
	touch "$s/.batch"
	holds 'a\n' 'b\n' c 'd\n' e
}

killed_writer_has_committed() {
	new_stream
	python3 - "$s" <<'END'
import os, signal, sys
s = sys.argv[1]
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    fd = os.open(s + "/.batch", os.O_WRONLY)
    os.write(fd, b"one\ntwo\nlast wor")
    os.write(w, b"!")
    signal.pause()
os.read(r, 1)
assert os.listdir(s) == ["new"]
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
assert open(s + "/2").read() == "last wor"
END
	has_entries 3
}

# Writers that come and go at the same time: each batch has consecutive ids.
batches_do_not_mix() {
	local pids=() w

	new_stream
	for ((w = 0; w < 8; w++)); do
		(
			set +x
			for ((i = 0; i < 10; i++)); do seq -f "$w $i %g" 20 >"$s/.batch"; done
		) &
		pids+=($!)
	done
	for ((w = 0; w < 100; w++)); do echo "line $w" >>"$s/.lines"; done
	wait "${pids[@]}"
	has_entries 1700
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
entries = [open(f"{s}/{n}").read().split() for n in sorted(os.listdir(s)) if n != "new"]
entries = [e for e in entries if e[0] != "line"]
seen = set()
for at in range(0, len(entries), 20):
    batch = entries[at:at + 20]
    assert [int(e[2]) for e in batch] == list(range(1, 21)), at
    assert len({(e[0], e[1]) for e in batch}) == 1, at
    seen.add((batch[0][0], batch[0][1]))
assert len(seen) == 80
END
}

# What does not fit is refused by write(2), and nothing of the batch is there.
too_large() {
	new_stream
	fails bash -c "head -c 65M /dev/zero | tr '\\0' x >'$s/.batch'"
	gives 1 dd if=/dev/zero of="$s/.batch" bs=1M count=65 status=none 2>"$work/err"
	grep -F 'File too large' "$work/err"
	has_entries 0
	python3 - "$s/.batch" <<'END'
import errno, os, sys
fd = os.open(sys.argv[1], os.O_WRONLY)
assert os.write(fd, b"\n" * (1 << 20)) == 1 << 20
def fails(code, call, *args):
    try:
        call(*args)
    except OSError as e:
        assert e.errno == code, e
    else:
        raise AssertionError(args)
fails(errno.EFBIG, os.write, fd, b"x")
fails(errno.EFBIG, os.write, fd, b"x")	# what failed once is not committed without it
fails(errno.EFBIG, os.fsync, fd)
os.write(fd, b"next\n")			# and then it begins anew
os.close(fd)
END
	holds 'next\n'
	grep -F "a batch of 1048576 lines, 1048576 bytes, written to '.batch' was not appended: File too large" "$log"
}

large() {
	new_stream
	head -c 64M /dev/zero | tr '\0' x >"$s/.batch"
	[ "$(stat -c %s "$s/0")" -eq $((64 << 20)) ]
	python3 -c 'import sys; sys.stdout.buffer.write(b"\n" * (1 << 20))' >"$s/.batch"
	[ "$(readlink "$s/.last")" = "$(entry $((1 << 20)))" ]
	seq 200000 | split -b 3000000 - "$work/piece."
	cat "$work"/piece.* >"$s/.batch"
	[ "$(cat "$s/$((1 << 20 | 1))" "$s/.last" | xargs)" = "1 200000" ]
}

# All open files together are bounded too; those that are there can still be committed.
many_large_ones() {
	new_stream
	python3 - "$s/.batch" <<'END'
import errno, os, sys
fds = [os.open(sys.argv[1], os.O_WRONLY) for _ in range(5)]
data = b"x" * ((1 << 20) - 1) + b"\n"
for fd in fds[:4]:
    for _ in range(64):
        assert os.write(fd, data) == len(data)
try:
    os.write(fds[4], data)
except OSError as e:
    assert e.errno == errno.ENOMEM, e
else:
    raise AssertionError("a fifth")
for fd in fds[1:4]:
    os.ftruncate(fd, 0)			# no effect
os.close(fds[0])
try:
    os.close(fds[4])
except OSError as e:
    assert e.errno == errno.ENOMEM, e
else:
    raise AssertionError("a batch of which a write failed")
fd = os.open(sys.argv[1], os.O_WRONLY)
assert os.write(fd, data) == len(data)
os.close(fd)
for fd in fds[1:4]:
    os.close(fd)
END
	has_entries $((4 * 64 + 1))
}

cannot_be_read() {
	new_stream
	refused EACCES open-read "$s/.batch"
	refused EACCES open-rw "$s/.batch"
	refused EPERM truncate "$s/.batch" 1
	refused EPERM chmod "$s/.batch" 0666
	refused EPERM unlink "$s/.batch"
	works truncate "$s/.batch" 0
	[ "$(stat -c '%a %s %F' "$s/.batch")" = "200 0 regular empty file" ]
	[ "$(ls -A "$s")" = new ]
}

mount_at_start
check "each line is an entry" each_line_is_an_entry
check "writers of all kinds" writers_of_all_kinds
check "nothing before the close" nothing_before_the_close
check "one frame" one_frame
check "fsync" fsync_commits
check "each program makes its own" each_program_makes_its_own
check "a killed writer has committed" killed_writer_has_committed
check "batches do not mix" batches_do_not_mix
check "too large" too_large
check "as large as can be" large
check "many large ones" many_large_ones
check "it cannot be read, and is not listed" cannot_be_read
unmount_at_end
