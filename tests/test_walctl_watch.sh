#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# walctl stat --watch, on a store that is mounted and on one that is not.
. "$(dirname "$0")/lib/walctl_common.sh"

header='STREAM +NEXT ID +APPENDS/S +BYTES/S +SYNCS/S +GROUP +APPEND P50 +P99 +SYNC P50 +P99 +STATE'

usage() {
	ctl 0 init store &&
		ctl 2 stat --watch=x store && complained "--watch: expected a number of seconds" &&
		ctl 2 stat --watch=0 store && ctl 2 stat --watch=1e9 store && ctl 2 stat --watch=nan store && ctl 2 stat --watch=1x store &&
		ctl 2 stat --watch --count=0 store && complained "--count: expected a number" &&
		ctl 2 stat --watch --count=x store &&
		ctl 2 stat --count=1 store && complained "--count goes with --watch" &&
		ctl 1 stat --watch --count=1 missing &&
		ctl 0 stat --help && grep -qF -- '--watch[=SECONDS]' out && grep -qF -- '--count=N' out
}

# The holder of the lock is no mount: ids and bytes are seen all the same.
of_files() {
	ctl 0 init files && "$walctl" append --create files s <<<x >/dev/null || return 1
	rm -f fifo && mkfifo fifo || return 1
	"$walctl" append --lines files s fifo >/dev/null &
	holder=$!
	exec 9>fifo
	within grep -qs "^$holder *\$" files/LOCK || return 1
	# no interval is too short for what was there before, and a long one sees what came in it
	ctl 0 stat --watch=0.1 --count=1 files && printed "$header" 's +1 +0 +0 +- +- +- +- +- +- +ok' || return 1
	"$walctl" stat --watch=0.2 --json files >json.out &
	watcher=$!
	within grep -qs '"next_id": 1, "appends": 0' json.out || return 1
	printf '12345678\nabcdefgh\n' >&9
	within grep -q '"next_id": 3, "appends": 0' json.out || return 1
	kill -INT "$watcher"
	wait "$watcher" || return 1
	exec 9>&-
	wait "$holder" || return 1
	python3 - <<'END'
import json
decoder, text, pages = json.JSONDecoder(), open("json.out").read().strip(), []
while text:
    page, end = decoder.raw_decode(text)
    pages.append(page)
    text = text[end:].lstrip()
assert all(page["mounted"] is False and page["seconds"] >= 0.19 for page in pages), pages
rows = [page["streams"][0] for page in pages]
assert sum(row["appends"] for row in rows) == 2 and sum(row["append_bytes"] for row in rows) == 16, rows
assert not any("syncs" in row or "append_p50_seconds" in row for row in rows), rows
END
}

is_mounted() {
	mountpoint -q mnt
}

mount_here() {
	"$walfs" "$1" mnt && within is_mounted
}

# What comes between two looks is counted once, by whichever two looks: the sum over all of them is all.
of_a_mount() {
	ctl 0 init mounted && mount_here mounted && mkdir mnt/busy mnt/idle || return 1
	"$walctl" stat --watch=0.3 --json mounted >json.out &
	watcher=$!
	within grep -qs '"busy"' json.out || return 1
	for _ in {1..50}; do
		echo 123456789 >mnt/busy/new
	done
	within grep -qE '"busy", "next_id": 50, "appends": 0' json.out || return 1
	kill -INT "$watcher"
	wait "$watcher" || { echo "# a signal is no failure"; return 1; }
	python3 - <<'END'
import json, math
decoder, text, pages = json.JSONDecoder(), open("json.out").read().strip(), []
while text:
    page, end = decoder.raw_decode(text)
    pages.append(page)
    text = text[end:].lstrip()
rows = [row for page in pages for row in page["streams"] if row["stream"] == "busy"]
assert all(page["mounted"] and page["store"] == "mounted" for page in pages)
assert sum(row["appends"] for row in rows) == 50, rows
assert sum(row["append_bytes"] for row in rows) == 500, rows
assert sum(row["syncs"] for row in rows) == 50, rows
for row, page in [(r, p) for p in pages for r in p["streams"]]:
    assert math.isclose(row["appends_per_second"], row["appends"] / page["seconds"], rel_tol=1e-6)
    assert ("append_p50_seconds" in row) == (row["appends"] > 0), row
    if row["appends"]:
        assert row["group_size"] == row["appends"] / row["syncs"]
        assert 0 < row["append_p50_seconds"] <= row["append_p99_seconds"] < 17, row
        assert row["sync_p50_seconds"] <= row["append_p99_seconds"], row
END
}

by_store_and_by_mount_point() {
	for place in mounted mnt mnt/. "$dir/mnt"; do
		ctl 0 stat --watch=0.05 --count=1 "$place" && printed "$header" 'busy +50 +0 +0 +0 +- +- +- +- +- +ok' 'idle +0 +0 +0 +0 +- +- +- +- +- +ok' || return 1
	done
	ctl 0 stat --watch=0.05 --count=1 mnt idle && printed "$header" 'idle +0 .*' &&
		ctl 1 stat --watch=0.05 --count=1 mnt idle none && complained "no stream 'none'"
}

one_block_after_the_other() {
	ctl 0 stat --watch=0.05 --count=3 mnt idle && printed "$header" 'idle .*' '' "$header" 'idle .*' '' "$header" 'idle .*' && silent || return 1
	! grep -q $'\033' out
}

odd_names() {
	mkdir $'mnt/new\nline' $'mnt/bad\xff' "mnt/%41\"\\" && echo x >$'mnt/bad\xff/new' &&
		ctl 0 stat --watch=0.05 --count=1 mnt $'new\nline' $'bad\xff' "%41\"\\" &&
		printed "$header" 'new\\x0aline +0 .*' 'bad\\xff +1 .*' '%41"\\\\ +0 .*' &&
		ctl 0 stat --watch=0.05 --count=1 --json mnt $'bad\xff' && json 'd["streams"][0]["stream_hex"] == "626164ff"'
}

# terminal ROWS COLUMNS COMMAND…: runs it on one, into ./out
terminal() {
	python3 - "$@" <<'END'
import fcntl, os, pty, struct, sys, termios
rows, columns = int(sys.argv[1]), int(sys.argv[2])
pid, fd = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    os.execvp(sys.argv[3], sys.argv[3:])
out = b""
while True:
    try:
        data = os.read(fd, 65536)
    except OSError:
        break
    if not data:
        break
    out += data
open("out", "wb").write(out)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
END
}

on_a_terminal() {
	TERM=xterm terminal 4 40 env -u NO_COLOR "$walctl" stat --watch=0.05 --count=2 mnt || return 1
	# drawn in place, in bold, cut to the width, and to one row less than there are
	python3 - <<'END'
import re
out = open("out", "rb").read().decode("utf-8")
assert out.count("\033[2J") == 1 and out.count("\033[H") == 2 and "\033[1mSTREAM" in out, out
pages = out.split("\033[H")[1:]
for page in pages:
    lines = re.sub("\033\\[[0-9]*[A-Za-z]", "", page).splitlines()
    assert len([line for line in lines if line]) == 3, lines
    assert all(len(line) <= 40 for line in lines), lines
END
	NO_COLOR=1 TERM=xterm terminal 24 200 "$walctl" stat --watch=0.05 --count=1 mnt || return 1
	! grep -qF $'\033[1m' out || return 1
	TERM=dumb terminal 24 200 "$walctl" stat --watch=0.05 --count=1 mnt || return 1
	! grep -qF $'\033' out
}

interrupted() {
	"$walctl" stat --watch=3600 mnt >out &
	watcher=$!
	# until it has blocked just these two, to wait for them
	within grep -qsE '^SigBlk:[[:space:]]*0*4002$' "/proc/$watcher/status" || return 1
	kill -TERM "$watcher"
	wait "$watcher" && [ ! -s out ]
}

# A reader that has seen enough ends it.
a_closed_pipe() {
	"$walctl" stat --watch=0.05 mnt 2>err | head -n 1 >out && printed "$header" && silent
}

unmounted_meanwhile() {
	"$walctl" stat --watch=0.2 --json mounted >json.out 2>err &
	watcher=$!
	within grep -qs '"mounted": true' json.out && fusermount3 -u mnt && within grep -q '"mounted": false' json.out || return 1
	kill -INT "$watcher"
	wait "$watcher"
}

check "usage" usage
check "a store that is not mounted" of_files
check_mounted "a mount" of_a_mount
check_mounted "by store and by mount point" by_store_and_by_mount_point
check_mounted "not on a terminal: one block after the other" one_block_after_the_other
check_mounted "odd names" odd_names
check_mounted "on a terminal" on_a_terminal
check_mounted "SIGTERM" interrupted
check_mounted "a closed pipe" a_closed_pipe
check_mounted "unmounted meanwhile" unmounted_meanwhile
finish
