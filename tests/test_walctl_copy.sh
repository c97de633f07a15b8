#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2086 # what is not quoted has no blanks
#
# walctl copy: test_walctl_copy.sh WALCTL [WALFS].
lib=$(cd "$(dirname "$0")/lib" && pwd)
. "$(dirname "$0")/lib/walctl_common.sh"
export LC_ALL=C

same() { # [--times=no] STORE1 STORE2: both hold the same, to the nanosecond
	local times=()

	[[ $1 == --* ]] && times=("$1") && shift
	python3 "$lib/same_stores.py" "${times[@]}" "$walctl" "$@"
}

# add STORE STREAM [OPTION]…: each line of standard input; the store is made if need be
add() {
	[ -d "$1" ] || "$walctl" init "$1" && "$walctl" append --create --lines --sync=async "${@:3}" "$1" "$2" >/dev/null
}

# make STORE: "s" with the ids 0 … 24 in segments of ten, "t" with one, a checkpoint
make() {
	rm -rf "$1" && seq 100 124 | add "$1" s --segment-entries=10 && echo other | add "$1" t && "$walctl" checkpoint create "$1" first
}

# copied TEXT: ./to is brought up to ./st
copied() {
	ctl 0 copy st to && said "$1 copied\n" && silent && same st to && "$walctl" verify -q to
}

again_and_again() {
	make st && rm -rf to && copied '26 entries and 1 checkpoint' && copied '0 entries and 0 checkpoints' && seq 3 | add st s && echo x | add st u && copied '4 entries and 0 checkpoints' &&
		"$walctl" checkpoint create st first && "$walctl" checkpoint create st '%00%ff' && copied '0 entries and 2 checkpoints' && ctl 0 copy -q st to && said '' &&
		seq 500 | "$walctl" append --batch --compression=lz4 st u >/dev/null && head -c 9000000 /dev/urandom | "$walctl" append --create st big >/dev/null && : | "$walctl" append st big >/dev/null &&
		copied '502 entries and 0 checkpoints' && ctl 0 copy --full st to
}

shards() {
	rm -rf st to && ctl 0 init --shards=4 st && echo x | add st shard_02 && "$walctl" checkpoint create st c && copied '1 entry and 1 checkpoint' && ctl 0 stat --json to && json 'd["shards"] == 4' &&
		rm -rf to && echo x | add to other && ctl 2 copy st to
}

# What was pruned before the first copy is not missed; what is pruned after it stays in the copy.
pruned_here_and_there() {
	make st && "$walctl" prune st s 10 >/dev/null && rm -rf to && copied '16 entries and 1 checkpoint' && ctl 0 ls --json to && json 'd["streams"][0]["first_id"] == 10' && seq 5 | add st s --segment-entries=5 &&
		"$walctl" prune st s 20 >/dev/null && ctl 0 copy st to && said '5 entries and 0 checkpoints copied\n' && ctl 0 cat -n to s 10 && said '110\n' && "$walctl" rotate to s && "$walctl" prune to s 99 >/dev/null &&
		seq 5 | add st s && ctl 0 copy st to --full && said '5 entries and 0 checkpoints copied\n' && ctl 0 ls --json to && json '(d["streams"][0]["first_id"], d["streams"][0]["next_id"]) == (30, 35)'
}

# What was pruned between two copies is nowhere.
pruned_between() {
	make st && rm -rf to && ctl 0 copy st to && seq 40 | add st s --segment-entries=10 && echo x | add st t && "$walctl" prune st s 50 >/dev/null && ctl 1 copy st to && said '1 entry and 0 checkpoints copied\n' &&
		complained "stream 's': entries 25 to 49 pruned, before it was copied" && complained 'are missing' && ctl 1 copy --allow-gaps st to && said '15 entries and 0 checkpoints copied\n' &&
		complained 'given up' && ctl 0 copy st to && ctl 0 cat to s 50 && ctl 1 cat to s 49 && "$walctl" verify -q to
}

# The first entry that differs is named, and nothing of its stream is copied.
diverged() {
	make st && rm -rf to && ctl 0 copy st to && seq 10 | add to s && ctl 1 copy st to && complained "stream 's': the stores have diverged: the next id is 35 here, and 25 in st" &&
		make st && rm -rf to && seq 100 112 | add to s && { echo X && seq 114 120; } | add to s && tree to >before && ctl 1 copy st to && complained "stream 's': entry 13 is there already, and is another: it has 1 bytes, what comes has 3" &&
		ctl 0 ls --json to && json '[s["next_id"] for s in d["streams"]] == [21, 1]' && ctl 0 cat to t && said other && rm -rf to && seq 100 111 | add to s && { echo 1x2 && seq 113 120; } | add to s &&
		ctl 1 copy --full st to && complained 'entry 12 is there already' && complained 'at offset 1 ' && ctl 2 copy st st && ctl 2 copy st ./st/ && ctl 1 copy nowhere to && ctl 2 copy st
}

checkpoints_diverged() {
	make st && rm -rf to && ctl 0 copy st to && "$walctl" checkpoint create to first && ctl 1 copy st to && complained "checkpoint 'first': the one that is there is newer" && "$walctl" checkpoint create st first &&
		"$walctl" checkpoint rm to first && ctl 0 copy st to && same st to && "$walctl" checkpoint create to own && ctl 0 copy st to && ctl 0 checkpoint list to && grep -q ' own$' out
}

damaged() {
	make st && rm -rf to && at=$(grep -abo 113 st/s/*10.wal | cut -d : -f 1) && printf X | dd of=st/s/00000000000000000010.wal bs=1 seek="$at" conv=notrunc status=none && ctl 1 copy st to &&
		complained "stream 's': entry 13 damaged" && complained 'entries 13 to 13 are missing' && ctl 0 cat to t && said 'other' && ctl 1 copy --allow-gaps st to && said '11 entries and 1 checkpoint copied\n' &&
		ctl 1 cat -n to s && seq 100 124 | grep -v 113 | cmp - out && "$walctl" verify -q to && ctl 0 copy st to && ctl 1 copy --full st to
}

# has_checkpoint STORE NAME
has_checkpoint() {
	"$walctl" checkpoint list "$1" | grep -q " $2\$"
}

# has STORE STREAM NEXT
has() {
	"$walctl" ls "$1" 2>/dev/null | grep -Eq "^$2 +[0-9]+ +$3 "
}

# followed COMMAND…: while ./st is followed by ./to; $pid is who follows
followed() {
	local found=1

	"$walctl" copy --follow --interval=0.05 st to >followed 2>err &
	pid=$!
	"$@" && found=0
	kill -TERM $pid && wait $pid || found=1
	return $found
}

growing() {
	within has to s 25 && for i in 1 2 3; do seq 5 | add st s && within has to s $((25 + 5 * i)) || return; done && echo x | add st new && within has to new 1 && seq 3 | add st new && within has to new 4 &&
		"$walctl" checkpoint create st second && within has_checkpoint to second
}

following() {
	make st && rm -rf to && followed growing && [ ! -s err ] && same st to && head -n 1 followed | grep -qx '26 entries and 1 checkpoint copied'
}

# Beside a mount that is being written to, and a copy that ends and begins again.
# (The mount is not asked to sync, and at rest: the times of its last entries are in its memory only.)
written() {
	local i

	within has to s 25 && for i in $(seq 60); do
		seq "$i" >mnt/s/.lines && echo "$i" >mnt/t/new && { [ $((i % 20)) != 0 ] || touch "mnt/.checkpoints/c$i"; } || return
	done && within has to t 61
}

beside_a_mount() {
	make st && rm -rf to && "$walfs" -o segment_entries=100,sync=batch st mnt && followed written && seq 10 >mnt/s/.lines && ctl 0 copy st to && ctl 0 copy st to --full && silent
	local found=$?

	fusermount3 -u mnt && within "$walctl" repair -q st && [ $found = 0 ] && same --times=no st to && "$walctl" verify -q to
}

# Killed at any moment, and run again.
killed() {
	local i pid

	rm -rf st to && for i in 1 2 3; do seq -f %4000.0f 2000 | add st s$i && "$walctl" checkpoint create st c$i || return; done
	for i in 1 2 3 4 5; do
		"$walctl" copy st to >out 2>err &
		pid=$!
		within eval "! kill -0 $pid 2>/dev/null || has to s$(((i + 1) / 2)) '[1-9][0-9]*'"
		kill -9 $pid 2>/dev/null
		wait $pid 2>/dev/null
	done
	ctl 0 copy --full st to && same st to && "$walctl" verify -q to
}

# As one that was killed between a checkpoint and HEAD leaves it.
not_the_latest() {
	make st && "$walctl" checkpoint create st second && "$walctl" checkpoint create st third && rm -rf to && copied '26 entries and 3 checkpoints' && printf '\006\000second' >to/HEAD &&
		copied '0 entries and 1 checkpoint' && copied '0 entries and 0 checkpoints'
}

held() {
	local found=1

	make st && rm -rf to && ctl 0 copy st to && hold to held || return 1
	ctl 3 copy st to && complained "to: open by pid $holder (" && found=0
	let_go
	rm -rf to
	hold st held || return 1
	ctl 0 copy st to || found=1
	let_go
	return $found
}

usage() {
	make st && for value in 0 0.01 x '' 1e9; do ctl 2 copy --follow --interval="$value" st to && complained '--interval: expected' || return; done && ctl 2 copy --interval 1 st to && complained 'needs --follow' &&
		ctl 2 copy st to more && ctl 0 help copy && grep -q -- --follow out
}

check "again and again" again_and_again
check "shards" shards
check "pruned here and there" pruned_here_and_there
check "pruned between two copies" pruned_between
check "stores that have diverged" diverged
check "checkpoints that have diverged" checkpoints_diverged
check "a damaged store" damaged
check "following" following
check_mounted "following a mount" beside_a_mount
check "killed" killed
check "killed before the last checkpoint was the latest" not_the_latest
check "stores that are open elsewhere" held
check "wrong usage" usage
finish
