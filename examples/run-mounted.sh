#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Tries cron-log.sh, tee-log.sh, nightly.sh and warm-copy.sh on a mounted temporary store: run-mounted.sh WALFS WALCTL. Exit status 77, a skip, where nothing can be mounted.
set -eu

walfs=$1
WALCTL=$2
export WALCTL
here=$(cd "$(dirname "$0")" && pwd)
[ -w /dev/fuse ] || { echo "SKIP: /dev/fuse is missing or not accessible" >&2; exit 77; }

fail() {
	echo "FAIL: $*" >&2
	exit 1
}

dir=$(mktemp -d)
cleanup() {
	if mountpoint -q "$dir/mnt"; then
		fusermount3 -u "$dir/mnt" || fusermount3 -uz "$dir/mnt"
	fi
	# walfs may still be finishing its writing, and make a file in what is just being removed
	rm -rf --one-file-system "$dir" 2>/dev/null || { sleep 1; rm -rf --one-file-system "$dir"; }
}
trap cleanup EXIT
mkdir "$dir/mnt"
"$walfs" "$dir/store" "$dir/mnt"
mkdir "$dir/mnt/jobs" "$dir/mnt/builds"

"$here/cron-log.sh" "$dir/mnt/jobs" sh -c 'echo out; echo err >&2; cat /dev/null; exit 3' && fail "status 0 of a job that failed"
[ $? -eq 3 ] || fail "the job's status is lost"
"$here/cron-log.sh" "$dir/mnt/jobs" true || fail "status of a job that succeeded"
[ "$(find "$dir/mnt/jobs" -name '0*' | wc -l)" = 2 ] || fail "two jobs are not two entries"
tail -n +2 "$dir/mnt/jobs/0" >"$dir/got"
printf 'out\nerr\nexit status 3\n' | diff -u - "$dir/got"
[ "$(tail -n 1 "$dir/mnt/jobs/1")" = "exit status 0" ] || fail "the second entry"
"$here/cron-log.sh" "$dir/mnt/nowhere" true 2>"$dir/err" && fail "an entry that is lost is no failure"
[ $? -eq 74 ] || fail "an entry that is lost is not status 74"

printf 'one\ntwo\n' | "$here/tee-log.sh" "$dir/mnt/builds" >"$dir/shown"
cmp "$dir/shown" "$dir/mnt/builds/0"
printf 'one\ntwo\n' | cmp - "$dir/shown"

# A copy of the mounted store, and again when there is more.
"$here/warm-copy.sh" "$dir/store" - "$dir/copy"
echo four >"$dir/mnt/builds/new"
touch "$dir/mnt/.checkpoints/now"
"$here/warm-copy.sh" "$dir/store" - "$dir/copy"
"$WALCTL" cat "$dir/copy" builds | diff -u - "$dir/mnt/builds/.log"
"$WALCTL" checkpoint show "$dir/copy" | sed 1d | diff -u - "$dir/mnt/.checkpoints/now"
echo other | "$WALCTL" append "$dir/copy" builds >"$dir/got"
"$here/warm-copy.sh" "$dir/store" - "$dir/copy" 2>"$dir/err" && fail "stores that have diverged are no failure"
grep -q "stream 'builds': the stores have diverged" "$dir/err"
[ "$("$WALCTL" cat "$dir/copy" builds 2)" = other ] || fail "the entry that makes the difference"

# Two nights: what the first one's checkpoint covers is let go of in the second, and is in the first one's archive.
night=$(date +%F)
mkdir "$dir/backups"
"$here/nightly.sh" "$dir/mnt" "$dir/backups" 1
"$here/nightly.sh" "$dir/mnt" "$dir/backups" 1
[ "$(date +%F)" = "$night" ] || { echo "midnight has passed, the rest is not tried"; exit 0; }
archive=$dir/backups/nightly-$night.tar.gz
tar -xzOf "$archive" ./builds/00000000000000000000 | cmp - "$dir/shown"
yesterday=nightly-$(date -d "1 day ago" +%F)
touch "$dir/mnt/.checkpoints/$yesterday"
cp "$archive" "$dir/backups/$yesterday.tar.gz"
printf 'three
' >"$dir/mnt/builds/new"
"$here/nightly.sh" "$dir/mnt" "$dir/backups" 1
[ ! -e "$dir/mnt/builds/0" ] || fail "what yesterday's checkpoint covers is still there"
[ "$(cat "$dir/mnt/builds/2")" = three ] || fail "what came after yesterday's checkpoint is gone"
[ ! -e "$dir/mnt/.checkpoints/$yesterday" ] || fail "yesterday's checkpoint is still there"
echo "ok"
