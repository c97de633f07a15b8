#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# `.lines` and `.batch` when things go wrong: walfs is killed, the disk is full, the stream goes away. The disk is a small tmpfs, which wants root, or a
# user namespace.
if [ "$(id -u)" -ne 0 ] && [ -z "${IN_NAMESPACE:-}" ] && unshare -Urm true 2>/dev/null; then
	IN_NAMESPACE=1 exec unshare -Urm "$0"
fi
. "$(dirname "$0")/common.sh"

writers=4

# ---- walfs is killed ----

# Appends until the mount is gone: what it is about to append goes to $2.tried, what was acknowledged to $2.acked. One write is of several lines, and by
# some writers leaves a line unfinished. A writer of batches makes one entry-wise recognizable batch after the other.
write_until_gone() {
	python3 -S - "$@" <<'END'
import os, sys
stream, log, who, kind = sys.argv[1:]
tried, acked = open(log + ".tried", "a"), open(log + ".acked", "a")
n = sum(1 for _ in open(log + ".tried"))
try:
    fd = os.open(stream + ("/.batch" if kind == "batch" else "/.lines"), os.O_WRONLY | os.O_APPEND)
    rest, unfinished = b"", []
    while True:
        lines = [f"{who} {i} {n} " + "x" * (i * 37 % 3000) for i in range(n, n + 1 + n % 4)]
        n += len(lines)
        print("\n".join(lines), file=tried, flush=True)
        text = rest + "".join(line + "\n" for line in lines).encode()
        whole = unfinished + lines
        rest, unfinished = b"", []
        if kind == "pieces" and n % 2:
            rest, unfinished = text[-5:], [whole.pop()]
            text = text[:-5]
        assert os.write(fd, text) == len(text)
        if kind == "batch":
            os.fsync(fd)
        print("\n".join(whole), file=acked, flush=True)
except OSError:
    pass
END
}

kill_while_writing() {
	local w pids=() kinds=(lines pieces lines batch)

	mount_store "$@"
	mkdir -p "$mnt/s"
	for ((w = 0; w < writers; w++)); do
		touch "$work/log.$w.tried"
		wc -l <"$work/log.$w.tried" >"$work/log.$w.before"
		write_until_gone "$mnt/s" "$work/log.$w" "$w" "${kinds[$w]}" &
		pids+=($!)
	done
	for ((w = 0; w < writers; w++)); do
		within 60 eval "[ \$(wc -l <'$work/log.$w.tried') -gt $(($(cat "$work/log.$w.before") + 40 + RANDOM % 100)) ]"
	done
	kill -KILL "$(walfs_pid)"
	walfs_ends 137
	wait "${pids[@]}"
	fusermount3 -u "$mnt"
}

compare() {
	python3 -S - "$mnt/s" "$work" "$writers" <<'END'
import os, sys
s, work, writers = sys.argv[1], sys.argv[2], int(sys.argv[3])
names = sorted(n for n in os.listdir(s) if n != "new")
assert names == ["%020d" % i for i in range(len(names))], "ids have gaps"
there = [open(f"{s}/{n}", newline="").read() for n in names]
assert all(line.endswith("\n") for line in there), "an unfinished line"
there = [line[:-1] for line in there]
assert len(there) == len(set(there)), "a line twice"
last = {}
for line in there:
    who, i = map(int, line.split(" ")[:2])
    assert i > last.get(who, -1), f"{who}'s line {i} comes after {last.get(who)}"
    last[who] = i
acked, tried = set(), set()
for w in range(writers):
    acked |= set(filter(None, open(f"{work}/log.{w}.acked").read().split("\n")))
    tried |= set(filter(None, open(f"{work}/log.{w}.tried").read().split("\n")))
print(len(acked), "acknowledged", len(there), "there", len(tried), "tried")
there = set(there)
assert len(acked) >= 30 * writers
assert not acked - there, f"acknowledged, and missing: {sorted(acked - there)[:3]}"
assert not there - tried, f"written by nobody: {sorted(there - tried)[:3]}"
# of a write, and so of a batch: all lines or none
groups = {}
for line in tried:
    groups.setdefault(tuple(line.split(" ")[i] for i in (0, 2)), set()).add(line)
for (who, n), lines in groups.items():
    assert who == "1" or not lines & there or lines <= there, f"a part of {who}'s write {n}"
END
}

killed() {
	local i

	for ((i = 0; i < 3; i++)); do
		kill_while_writing "$@"
		mount_store
		compare
		echo "after" >>"$mnt/s/.lines"
		unmount
		mount_store
		[ "$(cat "$mnt/s/.last")" = after ]
		unmount
		rm -rf "$store" "$work"/log.[0-9].*
	done
}

# ---- The disk is full ----

small_disk() {
	mkdir "$work/disk"
	mount -t tmpfs -o size=6M,mode=0755 tmpfs "$work/disk"
	store=$work/disk/store
	mount_store segment_size=256K
	mkdir "$mnt/full"
	echo first >>"$mnt/full/.lines"
}

on_small_disk() {
	store=$work/disk/store
	s=$mnt/full
}

fill_disk() {
	rm -f "$work/disk/ballast"
	head -c 100M /dev/zero >"$work/disk/ballast" 2>/dev/null || true
	fails bash -c "head -c 65536 /dev/zero >>'$work/disk/ballast'" 2>/dev/null
}

# Every line that write(2) took is there, none that it refused, and the unfinished one at close.
lines_meet_a_full_disk() {
	on_small_disk
	fill_disk
	python3 - "$s" <<'END'
import errno, os, sys
s = sys.argv[1]
fd = os.open(s + "/.lines", os.O_WRONLY)
text, refused = b"first\n", 0
for i in range(10000):
    part = b"line %d %s\nand %d" % (i, b"x" * 1000, i)
    try:
        assert os.write(fd, part) == len(part)
        text += part
        refused = 0
    except OSError as e:
        assert e.errno == errno.ENOSPC, e
        refused += 1
        if refused == 10:
            break
assert refused == 10
try:
    while True:
        os.write(fd, b".")
        text += b"."
except OSError as e:
    assert e.errno == errno.ENOSPC, e
os.close(fd)				# what was taken has its room
names = sorted(n for n in os.listdir(s) if n != "new")
assert b"".join(open(f"{s}/{n}", "rb").read() for n in names) == text
open(s + "/../../count", "w").write(str(len(names)))
END
}

shell_sees_it() {
	on_small_disk
	# the last byte of room goes to single bytes
	fails bash -c "head -c 100000 /dev/zero | tr '\\0' x >>'$s/.lines'"
	fails bash -c "printf '%10000d\n' 7 >>'$s/.lines'"
	fails bash -c "seq 30000 >'$s/.batch'"
	fails bash -c "printf '%100000d\n' 7 >'$s/.batch'"
	fails cp "$WALFS" "$s/.batch"
	fails grep -l 'not a line' "$s"/0*
}

goes_on_when_there_is_room() {
	local last

	on_small_disk
	rm "$work/disk/ballast"
	echo after >>"$s/.lines"
	seq 30000 >"$s/.batch"
	last=$(readlink "$s/.last")
	[ "$(cat "$s/$((10#$last - 30000))" "$s/.last" | xargs)" = "after 30000" ]
	echo "$last" >"$work/last"
}

# A batch takes what room there is, all of it but for a little.
batch_fits_where_its_bytes_do() {
	on_small_disk
	head -c 2000000 /dev/zero | tr '\0' x >"$work/large"
	echo >>"$work/large"
	fill_disk
	truncate -s -2200000 "$work/disk/ballast"
	cp "$work/large" "$s/.batch"
	fails cp "$work/large" "$s/.batch"
	cmp "$work/large" "$s/.last"
	rm "$work/disk/ballast"
}

# A line too long to be joined with what comes after it is there, and what comes after it is not: the write says so.
short_write() {
	on_small_disk
	fill_disk
	truncate -s -500000 "$work/disk/ballast"
	python3 - "$s" <<'END'
import errno, os, sys
s = sys.argv[1]
fd = os.open(s + "/.lines", os.O_WRONLY)
line = b"l" * 100000
assert os.write(fd, line) == len(line)
more = b"the end\n" + (b"m" * 999 + b"\n") * 800
assert os.write(fd, more) == 8
assert open(s + "/.last", "rb").read() == line + b"the end\n"
try:
    os.write(fd, more[8:])
except OSError as e:
    assert e.errno == errno.ENOSPC, e
else:
    raise AssertionError("it fits")
assert os.write(fd, more[8:1008]) == 1000
os.close(fd)
assert open(s + "/.last", "rb").read() == more[8:1008]
END
	rm "$work/disk/ballast"
	cp "$work/large" "$s/.batch"
}

same_after_remount() {
	on_small_disk
	unmount
	mount_store
	cmp "$work/large" "$s/.last"
	[ "$(cat "$s/$(cat "$work/last")")" = 30000 ]
	unmount
	umount "$work/disk"
}

# ---- A line that is too long ----

# What the writer was told was refused is gone, with the rest of its line; the next line is one as any other.
line_over_the_limit() {
	mount_store sync=async
	new_stream
	python3 - "$s" <<'END'
import errno, os, sys
s, mib, limit = sys.argv[1], b"x" * (1 << 20), (1 << 32) - 5
fd = os.open(s + "/.lines", os.O_WRONLY)
os.write(fd, b"before\n")
taken = 0
def refused(data):
    try:
        os.write(fd, data)
    except OSError as e:
        assert e.errno == errno.EFBIG, e
    else:
        raise AssertionError(data[:20])
try:
    while True:
        taken += os.write(fd, mib)
except OSError as e:
    assert e.errno == errno.EFBIG, e
assert limit - len(mib) < taken <= limit, taken
refused(b"more")
assert len(os.listdir(s)) == 2
assert os.write(fd, b"the rest\nnext\nand ") == 18
os.write(fd, b"next\n")
os.close(fd)
END
	holds 'before\n' 'next\n' 'and next\n'
	unmount
}

# ---- The stream goes, the mount goes ----

stream_is_removed() {
	mount_store
	new_stream
	python3 - "$s" <<'END'
import errno, os, sys
s = sys.argv[1]
lines = os.open(s + "/.lines", os.O_WRONLY)
batch = os.open(s + "/.batch", os.O_WRONLY)
os.write(lines, b"a")
os.write(batch, b"b")
os.rmdir(s)
def fails(call, *args):
    try:
        call(*args)
    except OSError as e:
        assert e.errno in (errno.ENOENT, errno.ESTALE), e
    else:
        raise AssertionError((call, args))
fails(os.write, lines, b"a\n")
fails(os.write, batch, b"b\n")
fails(os.close, lines)
fails(os.close, batch)
END
	mkdir "$s"
	echo x >>"$s/.lines"
	holds 'x\n'
}

# A file that is open when walfs is stopped: whole lines are there, the unfinished one and the batch are not, and the log says so.
walfs_is_stopped() {
	new_stream
	coproc python3 -c '
import os, sys
fds = [os.open(sys.argv[1] + name, os.O_WRONLY) for name in ("/.lines", "/.batch")]
for fd in fds: os.write(fd, b"c\nde")
print("written", flush=True)
sys.stdin.read()' "$s"
	read -r _ <&"${COPROC[0]}"
	kill -TERM "$(walfs_pid)"
	walfs_ends 0
	grep -F "an unfinished line of 2 bytes written to '.lines' was not appended: the mount ended" "$log"
	grep -F "a batch of 2 lines, 4 bytes, written to '.batch' was not appended: the mount ended" "$log"
	mount_store
	has_entries 1
	[ "$(cat "$s/.last")" = c ]
	unmount
}

check "killed: strict" killed sync=strict
check "killed: batch" killed sync=batch
check "killed: async, small segments" killed sync=async,segment_size=16K
if [ "$(id -u)" -eq 0 ] && check "a small disk" small_disk && mountpoint -q "$work/disk"; then
	check "lines meet a full disk" lines_meet_a_full_disk
	check "the shell sees it" shell_sees_it
	check "goes on when there is room" goes_on_when_there_is_room
	check "a batch fits where its bytes do" batch_fits_where_its_bytes_do
	check "a short write" short_write
	check "the same after a remount" same_after_remount
else
	skip "a full disk" "a small one can be mounted by root only"
fi
# Not under a sanitizer, where 4 GiB take too long.
if [ "$SANITIZED" = 0 ]; then
	if [ "$(df --output=avail -B 1G "$work" | tail -n 1)" -lt 6 ]; then
		skip "a line over the limit" "it takes 5 GiB"
	else
		check "a line over the limit" line_over_the_limit
	fi
fi
check "the stream is removed" stream_is_removed
check "walfs is stopped" walfs_is_stopped
finish
