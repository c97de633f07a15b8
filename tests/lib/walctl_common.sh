# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What every test of walctl begins with: `. "$(dirname "$0")/lib/walctl_common.sh"`. Arguments of the test: WALCTL [WALFS]. Output is TAP. Needs bash and
# python3. A case is a function that ends with its result; it runs in a directory of the test's own, which is removed at the end. There:
#
#	out, err	what the last ctl() printed		mnt	an empty directory to mount at
set -u

walctl=$1
walfs=${2:-}
dir=$(mktemp -d) || exit 99
clean_up() {
	if mountpoint -q "$dir/mnt" 2>/dev/null; then
		fusermount3 -u "$dir/mnt" || fusermount3 -uz "$dir/mnt"
	fi
	chmod -R u+rwx "$dir" 2>/dev/null
	# walfs may still be finishing its writing, and make a file in what is just being removed
	rm -rf --one-file-system "$dir" 2>/dev/null || { sleep 1; rm -rf --one-file-system "$dir"; }
}
trap clean_up EXIT
cd "$dir" || exit 99
mkdir mnt

number=0
failures=0

# check NAME COMMAND…: one TAP line
check() {
	local name=$1

	shift
	number=$((number + 1))
	if "$@"; then
		echo "ok $number - $name"
	else
		echo "not ok $number - $name"
		for f in out err; do
			[ -s "$f" ] && head -c 2000 "$f" | sed "s/^/# $f: /"
		done
		failures=$((failures + 1))
	fi
}

# check_mounted NAME COMMAND…: likewise, where something can be mounted
check_mounted() {
	local reason=

	[ -w /dev/fuse ] || reason="/dev/fuse is missing or not accessible"
	[ -n "$walfs" ] || reason="no walfs given"
	if [ -n "$reason" ]; then
		echo "ok $((number += 1)) - $1 # SKIP $reason"
		return
	fi
	check "$@"
}

# The last line of a test.
finish() {
	echo "1..$number"
	exit $((failures > 0))
}

# ctl CODE ARGUMENT…: runs walctl into ./out and ./err and expects the exit code
ctl() {
	local expected=$1 code

	shift
	"$walctl" "$@" >out 2>err
	code=$?
	[ "$code" -eq "$expected" ] || { echo "# walctl $*: expected exit code $expected, got $code"; return 1; }
}

# said TEXT: the last ctl wrote this to standard output, and nothing else
said() {
	printf '%b' "$1" | cmp -s - out || { echo "# expected output: $1"; return 1; }
}

# printed REGEX…: standard output has just these lines
printed() {
	local line

	while IFS= read -r line; do
		[ $# -gt 0 ] || { echo "# one line too many: $line"; return 1; }
		grep -Eqx -- "$1" <<<"$line" || { echo "# expected: $1"; echo "# found: $line"; return 1; }
		shift
	done <out
	[ $# -eq 0 ] || { echo "# expected one line more: $1"; return 1; }
}

complained() {
	grep -qF -- "$1" err || { echo "# expected on stderr: $1"; return 1; }
}

silent() {
	[ ! -s err ] || { echo "# expected nothing on stderr"; return 1; }
}

# json EXPRESSION: ./out is JSON, and the Python expression on the document d holds
json() {
	python3 -m json.tool out >/dev/null && python3 - "$1" <<'END'
import json, sys
d = json.load(open("out", encoding="utf-8"))
if not eval(sys.argv[1]):
    print("# not true:", sys.argv[1])
    sys.exit(1)
END
}

# What a directory tree holds, times and all.
tree() {
	find "$1" -printf '%p %s %T@ %i ' \( -type f -exec cksum {} \; -o -print \) | sort
}

# within COMMAND…: until it succeeds
within() {
	local deadline=$((SECONDS + 30))

	until "$@"; do
		[ $SECONDS -lt $deadline ] || { echo "# in vain: $*"; return 1; }
		sleep 0.02
	done
}

# The process that has the store $1.
holder_of() {
	head -n 1 "$1/LOCK" | tr -dc 0-9
}

# hold STORE STREAM: an append that waits for its input keeps the store open; $holder is its pid. Until let_go().
hold() {
	rm -f fifo
	mkfifo fifo && { "$walctl" append --create "$1" "$2" fifo >/dev/null & holder=$!; } && exec 9<>fifo && within grep -qs "^$holder *\$" "$1/LOCK"
}

let_go() {
	exec 9>&-
	wait "$holder"
	rm fifo
}
