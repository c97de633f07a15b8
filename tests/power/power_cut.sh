#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Writers on a store, on a real file system in a file, whose power goes at a random moment: what was not synced is gone, directory entries included. Then it is
# mounted again, and what the store holds is compared with what was acknowledged. The same store goes through several cuts; the log of what was acknowledged
# stands on another file system.
#
#	--fs=ext4|xfs		--by=library|mount	--sync=strict|batch|async
#	--cut=power|kill	kill: not the power goes but kill -9 ends the program, walfs or the writers: then all that came back is there, in every mode
#	--cuts=N		how many (5)
#	--seed=N		of all that is random here (the time)
#	--lie=fdatasync|fsync	that call does nothing; losses are then expected, and it is a failure if none is found
#	--keep			leaves everything as it is after a failure, for a look at it
#
# POWER and WALFS name the programs. Exit status: 0 all as acknowledged, 1 not so, 77 skipped, 99 the test itself went wrong.
set -u

: "${POWER:?}" "${WALFS:?}"
fs=ext4 by=library sync=strict cut=power cuts=5 seed=$(date +%s) lie='' keep=0
for option; do
	case $option in
	--fs=*) fs=${option#*=} ;;
	--by=*) by=${option#*=} ;;
	--sync=*) sync=${option#*=} ;;
	--cut=*) cut=${option#*=} ;;
	--cuts=*) cuts=${option#*=} ;;
	--seed=*) seed=${option#*=} ;;
	--lie=*) lie=${option#*=} ;;
	--keep) keep=1 ;;
	*) echo "unknown option: $option" >&2; exit 99 ;;
	esac
done
[ -z "$lie" ] || [ "$by" = library ] || { echo "only the library can be lied to" >&2; exit 99; }

skip() {
	echo "SKIPPED: $fs by $by: $*" >&2
	exit 77
}

[ "$(id -u)" -eq 0 ] || skip "mounting needs root"
[ "$cut" = kill ] || command -v "mkfs.$fs" >/dev/null || skip "mkfs.$fs is not installed"
[ "$cut" = kill ] || [ -e /dev/loop-control ] || skip "there are no loop devices"
# Not seen by others: whoever makes a mount namespace of his own meanwhile would keep the file system from ending.
if [ -z "${POWER_CUT_UNSHARED-}" ]; then
	unshare -m --propagation private true || skip "there are no mount namespaces"
	POWER_CUT_UNSHARED=1 exec unshare -m --propagation private "$0" "$@"
fi
[ "$by" = library ] || { [ -r /dev/fuse ] && [ -w /dev/fuse ]; } || skip "/dev/fuse is missing or not accessible"

# $disk is where the file system that loses its power is mounted, $mnt where walfs is.
work=$(mktemp -d "${TMPDIR:-/tmp}/walfs-power.XXXXXX") || exit 99
disk=$work/disk mnt=$work/mnt store=$work/disk/store log=$work/acknowledged
mkdir "$disk" "$mnt"
pids=()

clean_up() {
	local pid

	for pid in "${pids[@]}"; do
		kill -KILL "$pid" 2>/dev/null
	done
	if [ "$keep" -eq 1 ]; then
		echo "kept: $work" >&2
		return
	fi
	is_mounted "$mnt" && umount -l "$mnt"
	is_mounted "$disk" && { umount "$disk" || umount -l "$disk"; }
	rm -rf --one-file-system "$work"
}
trap clean_up EXIT
trap 'exit 99' INT TERM HUP

wrong() {
	echo "round $round: $*" >&2
	exit 99
}

# within SECONDS COMMAND…: until it succeeds
within() {
	local deadline=$((SECONDS + $1))

	shift
	until "$@" 2>/dev/null; do
		[ "$SECONDS" -lt "$deadline" ] || return 1
		sleep 0.01
	done
}

gone() {
	! kill -0 "$1"
}

# One that doesn't end by itself hangs, and that is a failure of what is tested.
ends() {
	within 30 gone "$1" && return
	echo "round $round: FAULT: $2 hangs" >&2
	faults=$((faults + 1))
	kill -KILL "$1"
	within 30 gone "$1" || wrong "$2 can't be killed"
}

make_disk() {
	local size=64M options=()

	[ "$fs" = xfs ] && size=300M
	rm -rf "$work/image" "$log" "$store"
	: >"$log"
	[ "$cut" = power ] || return
	truncate -s "$size" "$work/image"
	# Blocks smaller than a page are torn in more ways.
	[ "$fs" = ext4 ] && options=(-b $((1024 << RANDOM % 2 * 2)))
	"mkfs.$fs" -q "${options[@]}" "$work/image" >"$work/mkfs" 2>&1 || { cat "$work/mkfs" >&2; skip "mkfs.$fs failed"; }
	power_on
	power_off
}

power_on() {
	[ "$cut" = power ] || return 0
	mount -o loop "$work/image" "$disk" 2>"$work/mount.err" && return
	# The first time it may be that this machine can't.
	[ "$round" -gt 0 ] && wrong "mount: $(cat "$work/mount.err")"
	skip "cannot mount it: $(cat "$work/mount.err")"
}

no_loop() {
	[ -z "$(losetup -j "$work/image")" ]
}

power_off() {
	[ "$cut" = power ] || return 0
	within 30 umount "$disk" || wrong "cannot unmount $disk: $(umount "$disk" 2>&1)"
	within 30 no_loop || wrong "somebody keeps the file system: $(losetup -j "$work/image")"
}

mounted_or_dead() {
	mountpoint -q "$mnt" || gone "$walfs"
}

# Also one whose program is dead, which mountpoint(1) can't look at.
is_mounted() {
	grep -qF " $1 " /proc/self/mounts
}

not_mounted() {
	! is_mounted "$mnt"
}

start_walfs() {
	"$WALFS" "$store" "$mnt" -f -o "sync=$sync,segment_size=$((16384 << RANDOM % 4))" >>"$work/walfs.log" 2>&1 &
	walfs=$!
	pids+=("$walfs")
	disown "$walfs"
}

# $1: KILL, or TERM for one that is allowed to end in order
stop_walfs() {
	kill "-$1" "$walfs" 2>/dev/null
	ends "$walfs" walfs
	is_mounted "$mnt" && umount -l "$mnt"
	within 10 not_mounted || wrong "cannot unmount $mnt"
}

writers_end() {
	ends "$writer" "a writer"
	wait "$writer" && return
	echo "round $round: FAULT: a writer's exit status" >&2
	tail -n 5 "$work/write.log" >&2
	faults=$((faults + 1))
}

# Milliseconds from the start of the writers to the cut: the store may not even be open by then.
write_and_cut() {
	local delay=$((RANDOM % 4 == 0 ? RANDOM % 20 : RANDOM % 300)) flag=2 scramble='' target=$store writer=''

	[ $((RANDOM % 4)) -eq 0 ] && flag=1
	power_on
	if [ "$by" = mount ]; then
		target=$mnt
		start_walfs
	fi
	# Some cuts come while walfs opens the store.
	if [ "$by" = library ] || { [ $((RANDOM % 8)) -gt 0 ] && within 30 mountpoint -q "$mnt"; }; then
		"$POWER" write "$by" "$target" "$log" "$sync" "$RANDOM" "$round" ${lie:+"$lie"} >>"$work/write.log" 2>&1 &
		writer=$!
		pids+=("$writer")
	fi
	if [ "$cut" = power ] && [ $((RANDOM % 3)) -gt 0 ]; then
		"$POWER" scramble "$store" "$RANDOM" &
		scramble=$!
		pids+=("$scramble")
	fi
	sleep "$(printf '0.%03d' "$delay")"
	if [ "$cut" = power ]; then
		"$POWER" cut "$disk" "$log" "$flag" || wrong "the file system does not lose its power"
	elif [ "$by" = library ]; then
		kill -KILL "$writer"
		wait "$writer" 2>/dev/null
		writer=''
	else
		stop_walfs KILL
	fi
	# With some, the kernel's end of the mount goes first.
	[ "$by" = library ] || [ $((RANDOM % 2)) -eq 0 ] || stop_walfs KILL
	[ -z "$writer" ] || writers_end
	[ "$by" = library ] || gone "$walfs" 2>/dev/null || stop_walfs TERM
	if [ "$scramble" ]; then
		kill "$scramble" 2>/dev/null
		wait "$scramble" 2>/dev/null
	fi
	pids=()
	power_off
}

failed_to_mount() {
	echo "round $round: FAULT: walfs does not mount"
	tail -n 5 "$work/walfs.log"
	exit 1
}

check() {
	local target=$store status

	power_on
	rm -rf "$work/before"
	[ -d "$store" ] && cp -a --sparse=always "$store" "$work/before"
	if [ "$by" = mount ]; then
		target=$mnt
		start_walfs
		within 30 mounted_or_dead
		mountpoint -q "$mnt" || failed_to_mount
	fi
	"$POWER" check "$by" "$target" "$log" "$sync" "$RANDOM" "$round" "$cut" >"$work/check.log" 2>&1
	status=$?
	[ "$by" = library ] || stop_walfs TERM
	echo "round $round: $(tail -n 1 "$work/check.log")"
	if [ "$status" -ne 0 ]; then
		head -n 30 "$work/check.log"
		faults=$((faults + 1))
	fi
	pids=()
	power_off
}

RANDOM=$((seed % 32768))
faults=0 round=0
[ "$cut" = power ] || fs="any file system"
echo "$fs by $by, $cut, sync=$sync${lie:+, $lie does nothing}: $cuts cuts, seed $seed"
while [ "$round" -lt "$cuts" ]; do
	# A fresh one now and then, so that neither it nor the time that a check takes grows for ever.
	[ $((round % 8)) -ne 0 ] || make_disk
	round=$((round + 1))
	write_and_cut
	check
	[ "$faults" -eq 0 ] || break
done
if [ "$lie" ]; then
	[ "$faults" -gt 0 ] && { echo "found out"; exit 0; }
	echo "the lie was not found out in $round cuts"
	exit 1
fi
[ "$faults" -eq 0 ] || exit 1
keep=0
