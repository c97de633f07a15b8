#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs examples/quickstart.sh in both its forms with an existing build, and looks at what it prints and leaves behind: test_quickstart.sh SOURCE BUILD.
# Exit status 77, a skip, where nothing can be mounted.
set -eu

source=$1
build=$2
[ -w /dev/fuse ] || { echo "SKIP: /dev/fuse is missing or not accessible" >&2; exit 77; }

dir=$(mktemp -d)
cleanup() {
	if mountpoint -q "$dir/mnt"; then
		fusermount3 -u "$dir/mnt" || fusermount3 -uz "$dir/mnt"
	fi
	# walfs may still be finishing its writing, and make a file in what is just being removed
	rm -rf --one-file-system "$dir" 2>/dev/null || { sleep 1; rm -rf --one-file-system "$dir"; }
}
trap cleanup EXIT
mkdir "$dir/tmp"

fail() {
	echo "FAIL: $*" >&2
	[ ! -f "$dir/output" ] || sed 's/^/  | /' "$dir/output" >&2
	exit 1
}

quickstart() {
	WALFS_BUILD=$build TMPDIR=$dir/tmp "$source/examples/quickstart.sh" "$@" >"$dir/output" 2>&1 </dev/null
}

quickstart || fail "the session ended with status $?"
for line in '$ walfs store mnt' '$ mkdir mnt/orders' "\$ echo 'two apples' > mnt/orders/new" '$ cp letter.txt mnt/orders/new' 'two apples' '100000' \
	'$ tar -cf orders.tar -C mnt orders' '$ fusermount3 -u mnt' 'the same as in the archive' 'one apple back'; do
	grep -qxF -- "$line" "$dir/output" || fail "the session does not show: $line"
done
[ "$(grep -cxF 'two apples' "$dir/output")" -ge 2 ] || fail "what was appended is not shown again from the unmounted store"
[ "$(grep -cE ' 00000000000000000002$' "$dir/output")" -ge 2 ] || fail "entry 2 is not listed before and after the remount"
[ -z "$(ls -A "$dir/tmp")" ] || fail "the session leaves something behind: $(ls -A "$dir/tmp")"
if grep -F "$dir/tmp" /proc/self/mounts >&2; then fail "the session leaves a mount behind"; fi

(cd "$dir" && quickstart store mnt) || fail "mounting a store that stays ended with status $?"
mountpoint -q "$dir/mnt" || fail "$dir/mnt is not mounted"
mkdir "$dir/mnt/s"
echo kept >"$dir/mnt/s/new"
[ "$(cat "$dir/mnt/s/0")" = kept ] || fail "the mounted store does not keep an entry"
quickstart "$dir/store" "$dir/mnt2" && fail "the store is mounted twice"
grep -Eq 'process [0-9]+' "$dir/output" || fail "who has the store is not said"
quickstart one 2>/dev/null && fail "one argument is taken"
echo "ok"
