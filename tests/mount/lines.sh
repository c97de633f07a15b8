#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# `.lines`: every complete line is an entry as soon as it is written, whoever writes it and in whatever pieces.
# LINES_SYNC, the sync mode, may have further options after a comma.
. "$(dirname "$0")/common.sh"

# All entries of $s joined.
joined() {
	(cd "$s" && printf '%s\n' 0* | xargs cat)
}

# ---- Everyday writers ----

each_line_is_an_entry() {
	new_stream
	echo one >>"$s/.lines"
	printf 'two\nthree\n' >>"$s/.lines"
	printf '%s\n' four five >"$s/.lines"
	seq 6 8 | cat >>"$s/.lines"
	holds 'one\n' 'two\n' 'three\n' 'four\n' 'five\n' '6\n' '7\n' '8\n'
	[ "$(joined | md5sum)" = "$(printf '%s\n' one two three four five 6 7 8 | md5sum)" ]
}

last_line_is_committed_at_close() {
	new_stream
	printf 'a\nb' >>"$s/.lines"
	holds 'a\n' b
	printf c >>"$s/.lines"
	/bin/printf 'd\ne' >>"$s/.lines"
	holds 'a\n' b c 'd\n' e
}

writers_of_all_kinds() {
	new_stream
	printf 'x\ny\n' >"$work/xy"
	cat "$work/xy" >>"$s/.lines"
	cp "$work/xy" "$s/.lines"
	dd if="$work/xy" of="$s/.lines" status=none
	dd if="$work/xy" of="$s/.lines" oflag=append conv=notrunc,fsync status=none
	tee -a "$s/.lines" <"$work/xy" >/dev/null
	sed -n "w $s/.lines" "$work/xy"
	awk -v f="$s/.lines" '{ print >>f }' "$work/xy"
	perl -e 'open(my $f, ">>", $ARGV[0]) or die; print $f "x\ny\n"; close($f) or die' "$s/.lines"
	python3 -c 'import sys; open(sys.argv[1], "a").write("x\ny\n")' "$s/.lines"
	has_entries 18
	[ "$(joined | sort | uniq -c | tr -s ' \n' ' ')" = " 9 x 9 y " ]
}

app_and_its_errors_through_tee() {
	new_stream
	sh -c 'echo out; echo err >&2; echo out again' 2>&1 | tee -a "$s/.lines" >/dev/null
	holds 'out\n' 'err\n' 'out again\n'
}

# What a line-buffered program writes is there while it runs on.
there_at_once() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
fd = os.open(s + "/.lines", os.O_WRONLY | os.O_APPEND)
for i in range(20):
    os.write(fd, b"line %d\n" % i)
    assert open(f"{s}/{i}").read() == f"line {i}\n"
os.write(fd, b"unfinished")
assert not os.path.lexists(s + "/20")
os.write(fd, b" business\nand")
assert open(s + "/20").read() == "unfinished business\n"
assert not os.path.lexists(s + "/21")
os.close(fd)
assert open(s + "/21").read() == "and"
END
}

python_logging() {
	new_stream
	python3 - "$s/.lines" <<'END'
import logging, sys
handler = logging.FileHandler(sys.argv[1])
handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
log = logging.getLogger()
log.addHandler(handler)
log.setLevel(logging.INFO)
for i in range(3):
    log.info("message %d", i)
log.warning("last")
END
	holds 'INFO message 0\n' 'INFO message 1\n' 'INFO message 2\n' 'WARNING last\n'
}

# ---- Lines of all kinds ----

odd_lines_are_kept() {
	new_stream
	printf '\n\nx\r\n\0\0\n\xff\xfe\n\n' >>"$s/.lines"
	holds '\n' '\n' 'x\r\n' '\0\0\n' '\0377\0376\n' '\n'
}

# Whatever the pieces are: the lines, and the text.
dd_reproduces_the_text() {
	local size id=0

	new_stream
	python3 - "$work/text" <<'END'
import random, sys
random.seed(5)
with open(sys.argv[1], "wb") as f:
    for i in range(1500):
        n = random.choice([0, 1, 10, 80, 80, 80, 300, 5000])
        f.write(bytes(random.choices(b"abc\0\r\xff ", k=n)) + b"\n")
    f.write(b"the end")
END
	for size in 1000 7777 65536 1M; do
		dd if="$work/text" of="$s/.lines" bs="$size" status=none
	done
	dd if="$work/text" of="$s/.lines" bs=4097 oflag=append conv=notrunc status=none
	has_entries $((5 * 1501))
	cat "$work/text" "$work/text" "$work/text" "$work/text" "$work/text" >"$work/texts"
	joined | cmp - "$work/texts"
	cmp "$s/.log" "$work/texts"
	python3 - "$work/text" "$s" <<'END'
import sys
for i, line in enumerate(open(sys.argv[1], "rb")):
    if i % 50 == 0 or i >= 1495:
        assert open(f"{sys.argv[2]}/{i + 1501}", "rb").read() == line, i
END
}

byte_by_byte() {
	new_stream
	printf 'ab\ncd\n\nef' | dd of="$s/.lines" bs=1 status=none
	holds 'ab\n' 'cd\n' '\n' ef
}

# Beyond what is joined with other lines, and beyond what is kept in memory.
long_lines() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
sizes = [65535, 65536, 65537, 200000, 1 << 20, (1 << 20) + 1, 5000000]
fd = os.open(s + "/.lines", os.O_WRONLY)
def put(data, piece):
    for at in range(0, len(data), piece):
        part = data[at:at + piece]
        assert os.write(fd, part) == len(part)
id = 0
for piece in (50000, 1 << 20):
    for size in sizes:
        line = bytes([97 + size % 26]) * size + b"\n"
        put(b"before\n" + line + b"a\nb\nbe", piece)
        assert os.write(fd, b"hind\n") == 5
        for want in (b"before\n", line, b"a\n", b"b\n", b"behind\n"):
            assert open(f"{s}/{id}", "rb").read() == want, (piece, size, id)
            id += 1
os.write(fd, b"x" * 3000000)
os.close(fd)
assert os.stat(f"{s}/{id}").st_size == 3000000
END
}

one_write_of_many_lines() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
fd = os.open(s + "/.lines", os.O_WRONLY)
assert os.write(fd, b"\n" * 100000) == 100000
os.close(fd)
END
	[ "$(readlink "$s/.last")" = "$(entry 99999)" ]
	[ "$(stat -c %s "$s/99999")" -eq 1 ]
}

# ---- Whose the unfinished line is ----

group_finishes_one_line() {
	new_stream
	# shellcheck disable=SC2129 # each is one open file
	{ printf a; printf 'b\n'; } >>"$s/.lines"
	{ /bin/printf c; /bin/printf 'd\n'; } >>"$s/.lines"
	(/bin/printf e; /bin/printf f) >>"$s/.lines"
	{ /bin/printf g; /bin/true; printf 'h\n'; /bin/printf i; } >>"$s/.lines"
	holds 'ab\n' 'cd\n' ef 'gh\n' i
}

# What the shell itself writes to an open descriptor it closes again, as it does with its duplicate; programs end no line of the shell's.
descriptor_kept_open() {
	new_stream
	exec 3>>"$s/.lines"
	/bin/printf a >&3
	/bin/printf 'b\nc' >&3
	echo d >&3
	/bin/printf e >&3
	has_entries 2
	exec 3>&-
	holds 'ab\n' 'cd\n' e
}

# A child has the line still in the making when the program that opened the file is gone.
child_finishes_its_own_line() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
fd = os.open(s + "/.lines", os.O_WRONLY)
os.write(fd, b"parent\n")
written, parent_writes, wait_parent, parent_closed = *os.pipe(), *os.pipe()
if os.fork() == 0:
    os.write(fd, b"child")
    os.write(parent_writes, b"!")
    os.read(wait_parent, 1)
    os.write(fd, b"'s line\nand its last")
    os._exit(0)
os.read(written, 1)
os.close(fd)
assert not os.path.lexists(s + "/1")
os.write(parent_closed, b"!")
os.wait()
END
	within 10 has_entries 3
	holds 'parent\n' "child's line\n" 'and its last'
}

each_open_has_its_own() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
a = os.open(s + "/.lines", os.O_WRONLY | os.O_APPEND)
b = os.open(s + "/.lines", os.O_WRONLY | os.O_APPEND)
os.write(a, b"a1 ")
os.write(b, b"b1 ")
os.write(a, b"a2\na3")
os.write(b, b"b2\nb3")
os.close(b)
os.close(a)
END
	holds 'a1 a2\n' 'b1 b2\n' b3 a3
}

killed_writer_has_committed() {
	new_stream
	python3 - "$s" <<'END'
import os, signal, sys
s = sys.argv[1]
r, w = os.pipe()
pid = os.fork()
if pid == 0:
    fd = os.open(s + "/.lines", os.O_WRONLY)
    os.write(fd, b"one\ntwo\nlast wor")
    os.write(w, b"!")
    signal.pause()
os.read(r, 1)
assert open(s + "/1").read() == "two\n" and not os.path.lexists(s + "/2")
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
assert open(s + "/2").read() == "last wor"
END
	has_entries 3
}

# ---- What is allowed, and does nothing ----

offsets_and_truncation_mean_nothing() {
	new_stream
	python3 - "$s/.lines" <<'END'
import os, sys
fd = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
os.pwrite(fd, b"a\nb", 100000)
os.ftruncate(fd, 0)
os.pwrite(fd, b"c\n", 0)
os.lseek(fd, 1 << 40, os.SEEK_SET)
os.write(fd, b"d\n")
os.close(fd)
os.truncate(sys.argv[1], 0)
END
	: >"$s/.lines"
	touch "$s/.lines"
	holds 'a\n' 'bc\n' 'd\n'
	refused EPERM truncate "$s/.lines" 1
	refused EPERM chmod "$s/.lines" 0666
	refused EPERM unlink "$s/.lines"
	has_entries 3
}

fsync_commits() {
	new_stream
	python3 - "$s" <<'END'
import os, sys
s = sys.argv[1]
fd = os.open(s + "/.lines", os.O_WRONLY)
os.fsync(fd)
os.write(fd, b"a\nb")
os.fsync(fd)
assert open(s + "/1").read() == "b"
os.fdatasync(fd)
os.write(fd, b"c\n")
os.fsync(fd)
os.close(fd)
fd = os.open(s + "/.lines", os.O_WRONLY | os.O_SYNC)
os.write(fd, b"d\ne")
assert open(s + "/3").read() == "d\n" and not os.path.lexists(s + "/4")
os.write(fd, b"f\n")
os.close(fd)
END
	holds 'a\n' b 'c\n' 'd\n' 'ef\n'
}

cannot_be_read() {
	new_stream
	refused EACCES open-read "$s/.lines"
	refused EACCES open-rw "$s/.lines"
	works open-write "$s/.lines"
	works open-trunc "$s/.lines"
	fails cat "$s/.lines"
	[ "$(stat -c '%a %s %F' "$s/.lines")" = "200 0 regular empty file" ]
	[ "$(stat -c %i "$s/.lines")" = "$(stat -c %i "$s/.lines")" ]
	touch "$mnt/.checkpoints/now"
	fails [ -e "$mnt/.at/now/${s##*/}/.lines" ]
	fails [ -e "$mnt/.at/now/${s##*/}/.batch" ]
	[ "$(ls -A "$s")" = new ]
}

# ---- Several at once ----

many_writers() {
	new_stream
	python3 - "$s" 16 150 <<'END'
import os, sys, time
s, writers, n = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def write(w, fd=None):
    """Lines of all lengths, some in pieces, several at once."""
    fd = os.open(s + "/.lines", os.O_WRONLY | os.O_APPEND) if fd is None else fd
    i = 0
    while i < n:
        text = b""
        for _ in range(1 + (i + w) % 3):
            if i < n:
                text += b"%d %d %s\n" % (w, i, b"x" * (i * 37 % 2000))
                i += 1
        cut = len(text) * 2 // 3 if i % 5 == 0 else 0
        for part in (text[:cut], text[cut:]):
            if part:
                assert os.write(fd, part) == len(part)

def run(count):
    begin, pids = time.monotonic(), []
    for w in range(count):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                write(w)
                status = 0
            finally:
                os._exit(status)
        pids.append(pid)
    assert all(os.waitpid(pid, 0)[1] == 0 for pid in pids)
    return count * n / (time.monotonic() - begin)

def check(count, start):
    names = sorted(f for f in os.listdir(s) if f != "new")[start:]
    assert len(names) == count * n, len(names)
    nexts = [0] * count
    for name in names:
        line = open(f"{s}/{name}", "rb").read()
        w, i, x = line[:-1].split(b" ")
        w, i = int(w), int(i)
        assert line[-1:] == b"\n" and x == b"x" * (i * 37 % 2000), name
        assert i == nexts[w], (name, w, i)
        nexts[w] += 1

alone = run(1)
check(1, 0)
together = run(writers)
check(writers, n)
print(f"# 1 writer: {alone:.0f} lines/s, {writers} writers: {together:.0f} lines/s", file=open("/dev/fd/7", "w"))
END
} 7>"$work/figures"

# One open file, inherited by all: no line is torn, for each is one write.
one_open_file_many_processes() {
	local pids=() w

	new_stream
	exec 5>>"$s/.lines"
	for ((w = 0; w < 8; w++)); do
		(
			{ set +x; } 2>/dev/null
			for ((i = 0; i < 40; i++)); do echo "$w $i" >&5; done
		) &
		pids+=($!)
	done
	exec 5>&-
	wait "${pids[@]}"
	has_entries 320
	for ((w = 0; w < 8; w++)); do for ((i = 0; i < 40; i++)); do echo "$w $i"; done; done >"$work/expected"
	joined | sort -n -k 1,1 -k 2,2 | cmp - "$work/expected"
	for w in 0 7; do joined | grep "^$w " | sort -c -n -k 2,2; done
}

# Beside `new`, and by threads that write to one open file at any offset.
threads_on_one_open_file() {
	new_stream
	python3 - "$s" <<'END'
import os, sys, threading
s = sys.argv[1]
fd = os.open(s + "/.lines", os.O_WRONLY)
def lines(t):
    for i in range(50):
        os.pwrite(fd, b"%d %d\n" % (t, i), i)
def entries():
    for i in range(50):
        with open(s + "/new", "w") as f:
            f.write(f"new {i}")
threads = [threading.Thread(target=lines, args=(t,)) for t in range(4)] + [threading.Thread(target=entries)]
for t in threads: t.start()
for t in threads: t.join()
os.close(fd)
names = [f for f in os.listdir(s) if f != "new"]
found = sorted(open(f"{s}/{f}").read() for f in names)
assert found == sorted([f"{t} {i}\n" for t in range(4) for i in range(50)] + [f"new {i}" for i in range(50)])
END
}

# Closes and writes that meet: lines may be cut where a close came, and nothing is lost or out of order.
closing_while_writing() {
	local file

	for file in .lines .batch; do
		s=$mnt/case-$number$file
		mkdir "$s"
		python3 - "$s" "$file" <<'END'
import os, sys, threading
s, file = sys.argv[1:]
fd = os.open(f"{s}/{file}", os.O_WRONLY)
text = b"".join(b"%d %s\n" % (i, b"x" * (i * 7 % 300)) for i in range(1500))
def write():
    at = 0
    while at < len(text):
        at += os.write(fd, text[at:at + 217])
done = threading.Event()
def synchronize():
    while not done.is_set():
        os.fsync(fd)
threads = [threading.Thread(target=write), threading.Thread(target=synchronize)]
for t in threads: t.start()
while threads[0].is_alive():
    os.close(os.dup(fd))
done.set()
for t in threads: t.join()
os.close(fd)
joined = b"".join(open(f"{s}/{n}", "rb").read() for n in sorted(os.listdir(s)) if n != "new")
assert joined == text
END
	done
}

read_only() {
	remount ro
	s=$(echo "$mnt"/case-* | cut -d ' ' -f 1)
	refused EROFS open-write "$s/.lines"
	refused EROFS open-write "$s/.batch"
	remount
}

mount_at_start sync="${LINES_SYNC:-strict}"
check "each line is an entry" each_line_is_an_entry
check "a last line without newline is committed at close" last_line_is_committed_at_close
check "writers of all kinds" writers_of_all_kinds
check "app 2>&1 | tee -a" app_and_its_errors_through_tee
check "a line is there at once, an unfinished one is not" there_at_once
check "python's logging" python_logging
check "empty lines, CRLF, NUL" odd_lines_are_kept
check "dd in odd blocks" dd_reproduces_the_text
check "byte by byte" byte_by_byte
check "long lines" long_lines
check "100,000 lines by one write" one_write_of_many_lines
check "programs that share the file finish each other's line" group_finishes_one_line
check "a descriptor that is kept open" descriptor_kept_open
check "a child that outlives its parent finishes its line" child_finishes_its_own_line
check "each open file has its own unfinished line" each_open_has_its_own
check "a killed writer has committed" killed_writer_has_committed
check "offsets and truncation mean nothing" offsets_and_truncation_mean_nothing
check "fsync, O_SYNC" fsync_commits
check "it cannot be read, and is not listed" cannot_be_read
check "16 writers" many_writers
cat "$work/figures"
check "one open file, 8 processes" one_open_file_many_processes
check "threads on one open file" threads_on_one_open_file
check "closing while writing" closing_while_writing
check "read-only" read_only
unmount_at_end
