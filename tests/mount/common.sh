# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# What every mount test begins with: `. "$(dirname "$0")/common.sh"`. Output is TAP.
#
# The environment says what is tested: WALFS and WALCTL, the programs; SANITIZED=1, built with a sanitizer: slower and fatter.
#
# A case is a function that `check` runs in a subshell with -e and -x: every command is an assertion, and its trace is what a failure shows. (So a case
# never uses `!` or `&&` to assert: -e does not look there. `fails` and `gives` are for that.) What a case leaves for the next one it leaves in files,
# under $work, or in the mount.
#
#	$work	a directory of this test's own, removed at the end		$store, $mnt	of the mount
#	$log	what walfs has written to standard error			$s		the stream of this case, see new_stream
set -u

: "${WALFS:?}" "${WALCTL:?}"
here=$(cd "$(dirname "$0")" && pwd)
WALFS=$(realpath "$WALFS")
WALCTL=$(realpath "$WALCTL")
SANITIZED=${SANITIZED:-0}
export LC_ALL=C

number=0
failures=0

skip_all() {
	echo "1..0 # SKIP $*"
	echo "$(basename "$0") SKIPPED: $*" >&2
	exit 0
}

if [ ! -c /dev/fuse ] || [ ! -r /dev/fuse ] || [ ! -w /dev/fuse ]; then
	skip_all "/dev/fuse is missing or not accessible"
fi

work=$(mktemp -d "${TMPDIR:-/tmp}/walfs-$(basename "$0" .sh).XXXXXX") || exit 99
store=$work/store
mnt=$work/mnt
log=$work/log
mkdir "$mnt"
: >"$log"

clean_up() {
	local pid

	cd /
	while read -r pid; do
		kill -KILL "$pid" 2>/dev/null
	done < <(cat "$work"/*.pid 2>/dev/null)
	while grep -qF " $work/" /proc/self/mounts; do
		grep -F " $work/" /proc/self/mounts | cut -d ' ' -f 2 | tac | while read -r pid; do
			umount "$pid" 2>/dev/null || fusermount3 -u "$pid" 2>/dev/null || fusermount3 -uz "$pid" || umount -l "$pid"
		done || break
	done
	rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 1' INT TERM HUP

# ---- Cases ----

# check NAME FUNCTION [ARGUMENT]…
check() {
	local name=$1 status

	shift
	number=$((number + 1))
	(
		set -eux
		"$@"
	) >"$work/trace" 2>&1 </dev/null
	status=$?
	if [ "$status" -eq 0 ]; then
		echo "ok $number - $name"
		return
	fi
	failures=$((failures + 1))
	echo "not ok $number - $name"
	tail -n 40 "$work/trace" | cut -c 1-400 | sed 's/^/# /'
	[ ! -s "$log" ] || tail -n 10 "$log" | sed 's/^/# log: /'
}

# For a case that cannot be tried here.
skip() {
	number=$((number + 1))
	echo "ok $number - $1 # SKIP $2"
	echo "$(basename "$0"): SKIPPED: $1: $2" >&2
}

# The last line of a test.
finish() {
	echo "1..$number"
	exit $((failures > 0))
}

# ---- Assertions ----

fails() {
	if "$@"; then
		echo "succeeded, and was to fail: $*"
		return 1
	fi
}

# gives STATUS COMMAND…
gives() {
	local expected=$1 status=0

	shift
	"$@" || status=$?
	[ "$status" -eq "$expected" ]
}

# within SECONDS COMMAND…: until it succeeds
within() {
	local deadline=$((SECONDS + $1))

	shift
	{ set +x; } 2>/dev/null
	until "$@" 2>/dev/null; do
		if [ "$SECONDS" -ge "$deadline" ]; then
			echo "in vain: $*"
			return 1
		fi
		sleep 0.02
	done
	set -x
}

# refused ERRNO OPERATION…: as attempt.py says
refused() {
	local errno=$1 found

	shift
	found=$(python3 -S "$here/attempt.py" "$@")
	[ "$found" = "$errno" ]
}

works() {
	refused OK "$@"
}

# ---- Mounts ----

# run_walfs ARGUMENT…: in the foreground of a background process; its pid goes to $work/walfs.pid, its exit status to $work/walfs.status at the end
run_walfs() {
	rm -f "$work/walfs.status" "$work/walfs.pid"
	(
		{ set +ex; } 2>/dev/null
		# Whoever runs the tests may ignore a signal (nohup does), and walfs would go on ignoring it.
		# shellcheck disable=SC2016 # for the inner shell
		sh -c 'echo $$ >"$0"; exec env --default-signal=HUP,INT,TERM "$@"' "$work/walfs.pid" "$WALFS" "$@"
		echo $? >"$work/walfs.status.tmp"
		mv "$work/walfs.status.tmp" "$work/walfs.status"
	) >>"$log" 2>&1 </dev/null &
}

mounted_or_dead() {
	mountpoint -q "$mnt" || [ -f "$work/walfs.status" ]
}

# mount_store [OPTION]…: with these `-o` options
mount_store() {
	local options=()

	[ $# -eq 0 ] || options=(-o "$(IFS=,; echo "$*")")
	run_walfs "$store" "$mnt" -f "${options[@]}"
	within 60 mounted_or_dead
	mountpoint -q "$mnt"
}

walfs_pid() {
	cat "$work/walfs.pid"
}

# Until walfs has ended, and with exit status $1.
walfs_ends() {
	within 120 [ -f "$work/walfs.status" ]
	rm -f "$work/walfs.pid"
	[ "$(cat "$work/walfs.status")" -eq "${1:-0}" ]
}

unmount() {
	fusermount3 -u "$mnt"
	walfs_ends 0
}

remount() {
	unmount
	mount_store "$@"
}

# As the first and the last case of most tests.
mount_at_start() {
	check "mount${*:+ with $*}" mount_store "$@"
	mountpoint -q "$mnt" || { finish; }
}

unmount_at_end() {
	check "unmount" unmount
	finish
}

# ---- Streams ----

# A stream for this case: $s.
new_stream() {
	s=$mnt/case-$number
	mkdir "$s"
}

count_entries() {
	# shellcheck disable=SC2010,SC2012 # names are digits
	ls "$s" | grep -c '^[0-9]' || true
}

has_entries() {
	[ "$(count_entries)" -eq "$1" ]
}

# holds CONTENT…: $s has just these entries; with printf's escapes
holds() {
	local id=0 content

	has_entries $#
	for content in "$@"; do
		printf '%b' "$content" | cmp - "$s/$id"
		id=$((id + 1))
	done
}

# The name of an entry's file.
entry() {
	printf '%020d' "$1"
}
