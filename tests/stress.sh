#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A mount under load for minutes: 64 writers and 64 readers of all kinds, 2,000 open handles on `new`, pruning, checkpoints, pipelines, and programs killed by
# SIGKILL all the time; with stress-ng and fio beside it where they are installed. Afterwards everything that was acknowledged must be there. Not part of
# tests/run.sh:
#
#	WALFS=build/gcc/fs/walfs WALCTL=build/gcc/src/walctl/walctl tests/stress.sh [SECONDS]
#
# SECONDS is 300 if it is not given. TMPDIR says where the store is: some gigabytes.
seconds=${1:-300}
# shellcheck source=tests/mount/common.sh
. "$(dirname "$0")/mount/common.sh"
here=$(cd "$(dirname "$0")" && pwd)
exec 3>&1

stress() {
	python3 -S "$here/stress.py" "$@" >&3
}

# What else the machine has to do.
beside() {
	mkdir "$work/beside"
	if command -v stress-ng >/dev/null; then
		stress-ng --quiet --cpu 1 --cpu-load 30 --io 1 --hdd 1 --hdd-bytes 64M --vm 1 --vm-bytes 128M --temp-path "$work/beside" --timeout "$seconds" >&3 2>&3 &
		echo "# stress-ng runs beside" >&3
	fi
	if command -v fio >/dev/null; then
		mkdir "$mnt/fio"
		head -c 64M /dev/urandom >"$mnt/fio/new"
		fio --name=entry --filename="$mnt/fio/$(entry 0)" --rw=randread --bs=16k --readonly --time_based --runtime="$seconds" --rate_iops=300 \
			--output="$work/fio.entry" &
		fio --name=log --filename="$mnt/fio/.log" --rw=randread --bs=64k --readonly --time_based --runtime="$seconds" --rate_iops=100 --output="$work/fio.log" &
		echo "# fio reads an entry and .log" >&3
	fi
}

under_load() {
	mkdir "$work/notes"
	beside
	stress load "$mnt" "$work/notes" "$seconds"
	wait
	[ ! -f "$work/fio.log" ] || grep -h 'IOPS=' "$work"/fio.* | sed 's/^/#/' >&3
	[ "$(cat "$work"/fio.* 2>/dev/null | grep -c 'err= *[1-9]')" -eq 0 ]
}

all_is_there() {
	stress verify "$mnt" "$work/notes"
}

figures() {
	grep -E '^walfs_mount_request(s|_errors)_total|^walfs_stream_errors_total.* [1-9]' "$mnt/.stats" | grep -v ' 0$' | sed 's/^/# /' >&3
	grep -E 'VmHWM|VmRSS|Threads' "/proc/$(walfs_pid)/status" | sed 's/^/# /' >&3
	cat "$mnt/.stats" >"$work/stats"
	within 20 no_handles_are_open
	# no stream has stopped, and nothing was damaged
	fails grep -E '^walfs_stream_health.*state="(readonly|stopped)"\} 1' "$work/stats"
	fails grep -E '^walfs_stream_errors_total.*kind="(append_io|sync|read_damaged)"\} [1-9]' "$work/stats"
	[ "$SANITIZED" -eq 1 ] || [ "$(awk '/VmRSS/ { print $2 }' "/proc/$(walfs_pid)/status")" -lt 300000 ]
}

no_handles_are_open() {
	[ "$(grep '^walfs_mount_open_handles' "$mnt/.stats" | grep -v 'kind="stats"' | grep -vc ' 0$')" -eq 0 ]
}

verifies() {
	"$WALCTL" verify "$store" >"$work/verified"
}

mount_at_start sync=batch segment_size=1M
check "$seconds seconds of load" under_load
check "all that was acknowledged is there" all_is_there
check "figures" figures
check "unmount" unmount
check "walctl verify" verifies
check "mount again" mount_store
check "all is there after mounting again" all_is_there
unmount_at_end
