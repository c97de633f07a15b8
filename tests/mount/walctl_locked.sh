#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What walctl says when a mount has the store: who, where, and what to use instead.
. "$(dirname "$0")/common.sh"

# The mount point and the store have names that mountinfo writes with escapes.
mnt=$work/$'a mount\tpoint\\'
store=$work/'the store\040'
mkdir "$mnt"

# told WHAT VERB…: walctl says just this; control characters are masked in what it says
told() {
	local expected="walctl: $store: $1"

	shift
	gives 3 "$WALCTL" "$@" 2>"$work/said" </dev/null
	cat "$work/said"
	[ "$(grep '^walctl: ' "$work/said")" = "${expected//$'\t'/?}" ]
}

# instead COMMAND VERB…: it says who and where, and this command
instead() {
	local command=$1

	shift
	told "mounted by pid $(walfs_pid) on $mnt: use '$command'" "$@"
}

every_verb_that_writes() {
	mkdir "$mnt/s"
	echo entry >"$mnt/s/new"
	instead "cat FILE > $mnt/STREAM/new" append "$store" s
	instead "cat FILE > $mnt/STREAM/new" append "$store" made --create
	instead "cat FILE > $mnt/.shard/KEY/new" append "$store" --key k
	instead "echo > $mnt/STREAM/.rotate" rotate "$store" s
	instead "sync $mnt" sync "$store"
	instead "sync $mnt/STREAM" sync "$store" s
	instead "echo ID > $mnt/STREAM/.prune" prune "$store" s 1
	instead "echo NAME > $mnt/.checkpoints/.prune" prune "$store" --checkpoint=c
	instead "touch $mnt/.checkpoints/NAME" checkpoint create "$store" c
	instead "rm $mnt/.checkpoints/NAME" checkpoint rm "$store" c
	instead "echo N > $mnt/.checkpoints/.compact" checkpoint compact "$store" --keep=1
	told "mounted by pid $(walfs_pid) on $mnt: unmount it first with 'fusermount3 -u $mnt'" repair "$store"
	[ ! -e "$mnt/made" ]
	s=$mnt/s
	holds 'entry\n'
}

what_only_looks_works() {
	"$WALCTL" init "$store" 2>"$work/said"
	grep -F 'is a store already' "$work/said"
	gives 2 "$WALCTL" init --shards=2 "$store"
	"$WALCTL" checkpoint list "$store"
	gives 1 "$WALCTL" checkpoint show "$store"
	"$WALCTL" stat "$store"
}

# By another path to the same directory.
through_a_link() {
	ln -s "$store" "$work/link"
	store=$work/link
	instead "echo > $mnt/STREAM/.rotate" rotate "$store" s
}

# A mount whose source is not the store's path can't be found by it.
with_another_source() {
	remount fsname=elsewhere
	told "open by pid $(walfs_pid) ($(cat "/proc/$(walfs_pid)/comm"))" rotate "$store" s
}

# A read-only mount is not who has the lock, and what it offers would not work.
mounted_read_only() {
	local holder

	remount ro
	mkfifo "$work/fifo"
	"$WALCTL" append "$store" s "$work/fifo" >"$work/appended" &
	holder=$!
	exec 9>"$work/fifo"
	within 30 grep -q "^$holder *$" "$store/LOCK"
	told "open by pid $holder ($(cat "/proc/$holder/comm"))" rotate "$store" s
	exec 9>&-
	wait "$holder"
	[ "$(cat "$work/appended")" = 1 ]
}

# said VERB…: does what walctl says, with the words in capitals filled in
said() {
	local command

	gives 3 "$WALCTL" "$@" 2>"$work/said" </dev/null
	command=$(sed -n "s/^walctl: .*: use '\(.*\)'\$/\1/p" "$work/said")
	command=${command/STREAM/s} command=${command/FILE/$work/input} command=${command/KEY/k}
	command=${command/ID/10} command=${command/NAME/c} command=${command/ N / 1 }
	eval "$command"
}

what_it_says_works() {
	local _

	mkdir "$mnt/s"
	for _ in {1..10}; do echo x >"$mnt/s/new"; done
	echo given >"$work/input"
	said rotate "$store" s
	said append "$store" s
	[ "$(cat "$mnt/s/10")" = given ]
	said sync "$store"
	said sync "$store" s
	said checkpoint create "$store" c
	[ "$("$WALCTL" checkpoint show "$store" | tail -n 1)" = 's 11' ]
	[ "$("$WALCTL" checkpoint show "$store" c | tail -n +2)" = "$(cat "$mnt/.checkpoints/c")" ]
	touch "$mnt/.checkpoints/d"
	said prune "$store" --checkpoint=c
	[ "$("$WALCTL" ls "$store" | awk 'NR > 1 { print $2 }')" = 10 ]
	said checkpoint compact "$store" --keep=1
	[ "$("$WALCTL" checkpoint list "$store" | awk 'NR > 1 { print $3 }')" = d ]
	touch "$mnt/.checkpoints/c"
	said checkpoint rm "$store" c
	[ "$("$WALCTL" checkpoint list "$store" | awk 'NR > 1 { print $3 }')" = d ]
	said prune "$store" s 10
}

by_key() {
	local shard

	"$WALCTL" init --shards=4 "$store"
	mount_store
	echo given >"$work/input"
	said append "$store" --key k
	shard=$("$WALCTL" route "$store" k | cut -d ' ' -f 2)
	[ "$(cat "$mnt/$shard/0")" = given ]
}

mount_at_start
check "who has the store, where, and what to use instead" every_verb_that_writes
check "what only looks works" what_only_looks_works
check "through a symbolic link" through_a_link
check "a mount with another source" with_another_source
check "a read-only mount" mounted_read_only
check "unmount" unmount

# Where nothing needs quotes.
mnt=$work/plain
store=$work/plain-store
mkdir "$mnt"
mount_at_start
check "what it says works" what_it_says_works
check "unmount" unmount
store=$work/sharded
check "and in a sharded store" by_key
unmount_at_end
