#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# walfs is killed while several programs append, again and again. What was acknowledged is there afterwards, whatever the sync mode, because the page
# cache has survived; and nothing is there that nobody wrote.
. "$(dirname "$0")/common.sh"

writers=4

# Appends until the mount is gone: what it is about to append goes to $2.tried, what was acknowledged to $2.acked.
write_until_gone() {
	python3 -S - "$@" <<'END'
import os, sys
stream, log, who, mode = sys.argv[1:]
tried = open(log + ".tried", "a")
acked = open(log + ".acked", "a")
n = sum(1 for _ in open(log + ".tried"))
try:
    fd = os.open(stream + "/new", os.O_WRONLY)
    while True:
        text = f"{who} {n} " + "x" * (n * 37 % 5000)
        print(text, file=tried, flush=True)
        os.write(fd, text.encode())
        if mode == "fsync":
            os.fsync(fd)
        else:
            os.close(fd)
            fd = os.open(stream + "/new", os.O_WRONLY)
        print(text, file=acked, flush=True)
        n += 1
except OSError:
    pass
END
}

kill_while_writing() {
	local w pids=()

	mount_store "$@"
	mkdir -p "$mnt/s" "$mnt/t"
	for ((w = 0; w < writers; w++)); do
		touch "$work/log.$w.tried"
		wc -l <"$work/log.$w.tried" >"$work/log.$w.before"
		write_until_gone "$mnt/$([ $((w % 2)) -eq 0 ] && echo s || echo t)" "$work/log.$w" "$w" "$([ "$w" -lt 2 ] && echo close || echo fsync)" &
		pids+=($!)
	done
	for ((w = 0; w < writers; w++)); do
		within 60 eval "[ \$(wc -l <'$work/log.$w.tried') -gt $(($(cat "$work/log.$w.before") + 20 + RANDOM % 50)) ]"
	done
	kill -KILL "$(walfs_pid)"
	walfs_ends 137
	wait "${pids[@]}"
	fusermount3 -u "$mnt"
}

compare() {
	python3 -S - "$mnt" "$work" "$writers" <<'END'
import os, sys
mnt, work, writers = sys.argv[1], sys.argv[2], int(sys.argv[3])
there = []
for s in ("s", "t"):
    names = sorted(n for n in os.listdir(f"{mnt}/{s}") if n != "new")
    assert names == ["%020d" % i for i in range(len(names))], "ids have gaps"
    there += [open(f"{mnt}/{s}/{n}").read() for n in names]
assert len(there) == len(set(there)), "an entry twice"
there = set(there)
acked, tried = set(), set()
for w in range(writers):
    acked |= set(open(f"{work}/log.{w}.acked").read().splitlines())
    tried |= set(open(f"{work}/log.{w}.tried").read().splitlines())
print(len(acked), "acknowledged", len(there), "there", len(tried), "tried")
assert len(acked) >= 20 * writers
assert not acked - there, f"acknowledged, and missing: {sorted(acked - there)[:3]}"
assert not there - tried, f"written by nobody: {sorted(there - tried)[:3]}"
END
}

round() {
	kill_while_writing "$@"
	mount_store
	compare
	# it can be read again as it is, and goes on
	echo "after" >"$mnt/s/new"
	[ "$(cat "$mnt/s/.last")" = after ]
	echo after >>"$work/log.0.tried"
	unmount
	# `after` stands there once for each round: away with what has been compared
	rm -rf "$store" "$work"/log.[0-9].*
}

# One store through many deaths.
many_deaths() {
	local i

	for ((i = 0; i < 5; i++)); do
		kill_while_writing segment_size=32K
	done
	mount_store
	compare
	unmount
}

check "strict" round sync=strict
check "batch" round sync=batch
check "async" round sync=async
check "async, small segments, lz4" round sync=async,segment_size=16K,compression=lz4,min_compression_size=100
check "strict, five times" many_deaths
finish
