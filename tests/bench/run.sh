#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Builds for speed, runs every program that measures, and writes into build/bench/:
#	tables.txt	what they printed
#	summary.txt	each comparison with its target
#	summary.svg	the same as a plot
#	results.json	lines of JSON, see bench.c
#
#	tests/bench/run.sh [NAME…]	only these programs: append, get …
#
# WALFS_BENCH_DIR is where the files go (TMPDIR, then /tmp, unless it is set); a tmpfs says nothing about a disk. bench.h has the other variables. WALFS_BENCH_SCALE is 10 here unless it is
# set: 10 million entries, 10,000 streams. Takes a good quarter of an hour and a few gigabytes. Other load on the machine makes the figures worthless.
set -eu

top=$(cd "$(dirname "$0")/../.." && pwd)
build=$top/build/release
out=$top/build/bench
export WALFS_BENCH_SCALE=${WALFS_BENCH_SCALE:-10}
export WALFS_BENCH_JSON=$out/results.json

mkdir -p "$out"
if [ ! -f "$build/build.ninja" ]; then
	meson setup "$build" "$top" -Dbuildtype=release -Doptimization=2
fi
ninja -C "$build"

rm -f "$WALFS_BENCH_JSON"
{
	date -u '+%Y-%m-%d %H:%M UTC'
	uname -srm
	sed -n 's/^model name[[:space:]]*: //p' /proc/cpuinfo | head -n 1
	echo "$(nproc) processors, load $(cut -d ' ' -f 1-3 /proc/loadavg), $(git -C "$top" describe --always --dirty 2>/dev/null || echo 'no commit')"
} | tee "$out/machine.txt"

# One at a time, and whatever one of them says the others are run.
failed=0
meson test -C "$build" --no-rebuild --benchmark --num-processes 1 --verbose "$@" >"$out/tables.txt" 2>&1 || failed=1
cat "$out/tables.txt"
python3 "$top/tests/bench/report.py" "$out"
echo "in $out: tables.txt, summary.txt, summary.svg, results.json"
exit "$failed"
