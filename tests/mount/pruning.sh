#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The control files: .prune and .rotate of a stream, .prune and .compact of .checkpoints. What is pruned is gone for everybody at once.
. "$(dirname "$0")/common.sh"

c=$mnt/.checkpoints

# append_to STREAM COUNT: that many entries of one byte, quickly
append_to() {
	python3 -S - "$@" <<'END'
import os, sys
fd = os.open(sys.argv[1] + "/new", os.O_WRONLY | os.O_SYNC | os.O_APPEND)
for _ in range(int(sys.argv[2])):
    os.write(fd, b"x")
os.close(fd)
END
}

# A stream of $1 entries, in segments of ten.
new_filled_stream() {
	new_stream
	append_to "$s" "$1"
}

first_is() {
	[ "$(readlink "$s/.first")" = "$(entry "$1")" ]
}

# A line of the log that holds all the arguments.
log_tells() {
	local word

	cp "$log" "$work/lines"
	for word in "$@"; do
		grep -F -- "$word" "$work/lines" >"$work/fewer"
		mv "$work/fewer" "$work/lines"
	done
}

control_files() {
	local f

	new_stream
	for f in "$s/.prune" "$s/.rotate" "$c/.prune" "$c/.compact"; do
		[ "$(stat -c '%F %a %h %s' "$f")" = 'regular empty file 200 1 0' ]
		refused EACCES open-read "$f"
		refused EACCES open-rw "$f"
		works open-write "$f"
		works open-append "$f"
		works open-trunc "$f"
		works truncate "$f" 0
		refused EPERM truncate "$f" 1
		refused EPERM unlink "$f"
		refused EPERM chmod "$f" 644
		refused EPERM rename "$f" "$f.other"
		refused EEXIST create "$f"
		refused ENOTSUP setxattr "$f"
		stat -c '%i %y' "$f"
	done >"$work/before"
	[ "$(ls -A "$s")" = new ]
	[ "$(find "$mnt" -name .prune -o -name .rotate -o -name .compact | wc -l)" -eq 0 ]
	remount segment_entries=10
	for f in "$s/.prune" "$s/.rotate" "$c/.prune" "$c/.compact"; do stat -c '%i %y' "$f"; done | diff - "$work/before"
	refused ENOENT stat "$mnt/.prune"
	refused ENOENT stat "$mnt/.compact"
	refused ENOENT stat "$c/.rotate"
	refused ENOENT stat "$s/.compact"
}

prune_by_id() {
	local id

	new_filled_stream 35
	echo 9 >"$s/.prune"
	first_is 0
	echo 10 >"$s/.prune"
	first_is 10
	echo " 29 " >"$s/.prune"
	first_is 20
	has_entries 15
	printf 30 >"$s/.prune"
	first_is 30
	echo 5 >"$s/.prune"
	first_is 30
	for id in 36 18446744073709551615; do
		# shellcheck disable=SC2016 # the inner shell expands it
		gives 1 bash -c 'echo "$1" >"$0"' "$s/.prune" "$id"
		log_tells .prune "$id" "beyond the next id"
	done
	# shellcheck disable=SC2016 # for the inner shell
	gives 1 bash -c 'printf "next\0" >"$0"' "$s/.prune"
	first_is 30
	echo 35 >"$s/.prune"
	first_is 30
	[ "$(find "$store/case-$number" -name '*.wal' | wc -l)" -eq 1 ]
	echo >"$s/.prune"
	printf '  ' >"$s/.prune"
	: >"$s/.prune"
	first_is 30
	echo more >"$s/new"
	[ "$(cat "$s/.last")" = more ]
	[ "$(cat "$s/35")" = more ]
	remount segment_entries=10
	first_is 30
	has_entries 6
	ls -l "$s" >/dev/null
}

everything_by_rotate_and_next() {
	new_filled_stream 15
	echo next >"$s/.prune"
	first_is 10
	echo now >"$s/.rotate"
	echo next >"$s/.prune"
	has_entries 0
	refused ENOENT stat "$s/.first"
	refused ENOENT read "$s/14"
	echo >"$s/.rotate"
	echo again >"$s/new"
	[ "$(ls "$s")" = $'00000000000000000015\nnew' ]
	[ "$(cat "$s/15")" = again ]
	echo 16 >"$s/.prune"
	has_entries 1
	printf x >>"$s/.rotate"
	echo 16 >"$s/.prune"
	has_entries 0
	rmdir "$s"
	mkdir "$s"
}

errors_are_told() {
	new_filled_stream 25
	touch "$c/there"
	for text in first -1 1x 0x1 '1 2' 18446744073709551616 next2 "$(printf '1%.0s' {1..5000})"; do
		refused EINVAL write "$s/.prune" "$text"
	done
	log_tells "case-$number" .prune 0x1 "not an id"
	for text in 0 -1 x '1 2' 99999999999999999999; do
		refused EINVAL write "$c/.compact" "$text"
	done
	log_tells .compact 99999999999999999999 "not a number"
	for text in none .hidden there/ 'short%~0123456789abcdef'; do
		refused ENOENT write "$c/.prune" "$text"
	done
	refused ENAMETOOLONG write "$c/.prune" "$(printf 'x%.0s' {1..300})"
	log_tells "checkpoints" .prune none "no such checkpoint"
	# shellcheck disable=SC2016 # for the inner shell
	gives 1 bash -c 'echo none >"$0"' "$c/.prune"
	first_is 0
	has_entries 25
	[ -e "$c/there" ]
	rm "$c/there"
}

# For who has looked at them before, by any name; in the same and in another process.
names_go_at_once() {
	new_filled_stream 30
	python3 -S - "$s" <<'END'
import os, subprocess, sys
s = sys.argv[1]
other = subprocess.Popen(["bash", "-c", 'cd "$0" && while read -r n; do stat -c %s "$n" 2>/dev/null || echo gone; done', s],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
def ask(name):
    other.stdin.write(name + "\n")
    other.stdin.flush()
    return other.stdout.readline().strip()
names = [n for i in range(30) for n in (f"{i:020}", f"{i}", f"{i:04}")]
os.chdir(s)
for n in names:
    assert os.stat(n).st_size == 1 and ask(n) == "1"
os.listdir(".")
with open(".prune", "w") as f:
    f.write("20\n")
for n in names:
    there = int(n) >= 20
    assert os.path.exists(n) == there, n
    assert ask(n) == ("1" if there else "gone"), n
    if not there:
        try:
            open(n)
            sys.exit("opened " + n)
        except FileNotFoundError:
            pass
assert len(os.listdir(".")) == 11
other.stdin.close()
other.wait()
END
}

open_while_it_is_pruned() {
	new_stream
	head -c 3000000 /dev/urandom >"$work/large"
	cat "$work/large" >"$s/new"
	append_to "$s" 20
	python3 -S - "$s" "$work/large" <<'END'
import errno, os, sys
s, large = sys.argv[1:]
whole = open(large, "rb").read()
untouched, begun, small = (os.open(f"{s}/{i}", os.O_RDONLY) for i in (0, 0, 3))
assert os.pread(begun, 1000, 0) == whole[:1000]
with open(s + "/.prune", "w") as f:
    f.write("next")
assert not os.path.exists(s + "/0")
for fd, content in ((begun, whole), (untouched, whole), (small, b"x")):
    for offset in (0, len(content) // 2):
        try:
            assert os.pread(fd, 4096, offset) == content[offset:offset + 4096]
        except OSError as e:
            assert e.errno in (errno.EIO, errno.ESTALE), e
    try:
        assert os.fstat(fd).st_size == len(content)
    except OSError as e:
        assert e.errno == errno.ESTALE, e
    os.close(fd)
END
	first_is 20
}

prune_to_a_checkpoint() {
	local a b

	a=$mnt/case-$number-a b=$mnt/case-$number-b
	mkdir "$a" "$b"
	append_to "$a" 25
	append_to "$b" 5
	touch "$c/here%2Fnow"
	append_to "$a" 30
	append_to "$b" 30
	mkdir "$mnt/case-$number-later"
	append_to "$mnt/case-$number-later" 25
	# so that the kernel knows them
	ls -l "$a" "$b" >/dev/null
	stat "$a"/0* >/dev/null
	echo "here%2Fnow" >"$c/.prune"
	[ "$(readlink "$a/.first")" = "$(entry 20)" ]
	[ "$(readlink "$b/.first")" = "$(entry 0)" ]
	[ "$(readlink "$mnt/case-$number-later/.first")" = "$(entry 0)" ]
	refused ENOENT stat "$a/$(entry 19)"
	works stat "$a/$(entry 20)"
	touch "$c/z"
	printf HEAD >"$c/.prune"
	[ "$(readlink "$a/.first")" = "$(entry 50)" ]
	[ "$(readlink "$b/.first")" = "$(entry 30)" ]
	refused ENOENT stat "$b/$(entry 29)"
	works stat "$b/$(entry 30)"
	echo >"$c/.prune"
	rm "$c/here%2Fnow" "$c/z"
}

compact() {
	find "$c" -type f -delete
	(cd "$c" && touch 1 2 3 4 5)
	stat "$c"/[0-9] >/dev/null
	echo 7 >"$c/.compact"
	echo >"$c/.compact"
	[ "$(ls "$c")" = $'1\n2\n3\n4\n5\nHEAD' ]
	echo 2 >"$c/.compact"
	[ "$(ls "$c")" = $'4\n5\nHEAD' ]
	refused ENOENT stat "$c/1"
	[ "$(readlink "$c/HEAD")" = 5 ]
	echo 18446744073709551615 >"$c/.compact"
	printf 1 >"$c/.compact"
	[ "$(ls "$c")" = $'5\nHEAD' ]
	rm "$c/5"
	echo 1 >"$c/.compact"
}

# many COUNT: a stream of so many entries whose names the kernel knows
many() {
	new_stream
	unmount
	head -c "$1" /dev/zero | tr '\0' '\n' >"$work/lines"
	"$WALCTL" append "$store" "case-$number" "$work/lines" --lines --sync=async >/dev/null
	mount_store
	find "$s" -name '0*' -size +100c
	echo end >"$s/.rotate"
}

all_gone() {
	[ "$(python3 -S -c 'import os, sys; print(sum(os.path.exists(f"{sys.argv[1]}/{i:020}") for i in range(int(sys.argv[2]))))' "$s" "$1")" -eq 0 ]
}

more_than_are_waited_for() {
	many 40000
	echo next >"$s/.prune"
	has_entries 0
	refused ENOENT read "$s/$(entry 39999)"
	refused ENOENT stat "$s/$(entry 9999)"
	within 60 all_gone 40000
}

ended_while_names_go() {
	many 60000
	echo next >"$s/.prune"
	unmount
	mount_store segment_entries=10
	has_entries 0
}

signalled_while_names_go() {
	many 60000
	# somebody who is in the directory all the time
	python3 -S - "$s" <<'END' 2>/dev/null &
import os, sys
try:
    while True:
        os.listdir(sys.argv[1])
        os.path.exists(sys.argv[1] + "/none")
        open(sys.argv[1] + "/x", "w")
except PermissionError:
    while True:
        try:
            open(sys.argv[1] + "/x", "w")
        except PermissionError:
            pass
        except OSError:
            break
END
	within 60 kill -0 $!
	echo next >"$s/.prune"
	kill -TERM "$(walfs_pid)"
	walfs_ends 0
	kill $! 2>/dev/null || true
	wait
	mount_store segment_entries=10
	has_entries 0
}

# Nobody waits for ever for somebody else, and what is read is right.
pruned_while_others_work() {
	new_stream
	timeout 100 python3 -S - "$s" <<'END'
import os, sys, threading
s = sys.argv[1]
stop, faults = threading.Event(), []
def guard(work):
    def run():
        try:
            while not stop.is_set():
                work()
        except Exception as e:
            faults.append(repr(e))
            stop.set()
    return threading.Thread(target=run)
def append():
    fd = os.open(s + "/new", os.O_WRONLY | os.O_SYNC | os.O_APPEND)
    for _ in range(25):
        os.write(fd, b"x")
    os.close(fd)
def look():
    for n in os.listdir(s):
        try:
            assert open(f"{s}/{n}").read() in ("x", "") or n == "new"
        except OSError as e:
            assert e.errno in (2, 5, 116), e
def create():
    try:
        os.mkdir(s + "/no")
    except PermissionError:
        pass
    try:
        os.unlink(s + "/.last")
    except OSError:
        pass
threads = [guard(w) for w in (append, append, look, look, create)]
for t in threads:
    t.start()
for i in range(60):
    with open(s + "/.prune", "w") as f:
        f.write("next")
    with open(s + "/.rotate", "w") as f:
        f.write("x")
stop.set()
for t in threads:
    t.join()
assert not faults, faults
END
}

with_one_thread() {
	unmount
	run_walfs "$store" "$mnt" -f -s -o segment_entries=10
	within 60 mounted_or_dead
	mountpoint -q "$mnt"
	touch "$c/x"
	grep -q created "$c/x"
	rm "$c/x"
}

read_only() {
	new_filled_stream 25
	remount ro
	for f in "$s/.prune" "$s/.rotate" "$c/.prune" "$c/.compact"; do
		refused EROFS write "$f" 1
	done
	has_entries 25
	remount segment_entries=10
}

mount_at_start segment_entries=10
check "the files" control_files
check "prune by id" prune_by_id
check "everything, by rotate and next" everything_by_rotate_and_next
check "errors are the write's, and in the log" errors_are_told
check "names go at once, for everybody" names_go_at_once
check "open while it is pruned" open_while_it_is_pruned
check "prune to a checkpoint" prune_to_a_checkpoint
check "compact" compact
check "while others append, read and try what is refused" pruned_while_others_work
check "more names than are waited for" more_than_are_waited_for
check "unmounted while names go" ended_while_names_go
check "a signal while names go" signalled_while_names_go
check "read-only" read_only
check "mount with -s" with_one_thread
check "names go at once, with -s" names_go_at_once
check "while others append, read and try what is refused, with -s" pruned_while_others_work
unmount_at_end
