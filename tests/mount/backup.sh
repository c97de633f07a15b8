#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# restic and borg: what a second backup takes, and whether all comes back; of the streams as they are, and as of a checkpoint.
#
# Both know a file again by its path, inode number, size and times. So a checkpoint that is backed up every night is best removed and made again under one
# name, by which `.at` then has it.
. "$(dirname "$0")/common.sh"

for program in restic borg; do
	command -v $program >/dev/null || skip_all "$program is missing"
done
export HOME=$work RESTIC_PASSWORD=known RESTIC_REPOSITORY=$work/restic RESTIC_CACHE_DIR=$work/cache BORG_BASE_DIR=$work/borg-base
export BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK=yes BORG_RELOCATED_REPO_ACCESS_IS_OK=yes

fill() {
	local size

	"$WALCTL" init "$store"
	seq -f 'order number %g' 500 | "$WALCTL" append "$store" orders --create --lines --sync=async >/dev/null
	mount_store
	mkdir "$mnt/letters" "$mnt/none"
	for size in 1 4096 100000 3000000; do head -c "$size" /dev/urandom >"$mnt/letters/new"; done
	restic init -q
	borg init -e none "$work/borg"
}

# field NAME: of the summary of the backup
field() {
	python3 -c 'import json, sys; print(next(m[sys.argv[1]] for m in map(json.loads, sys.stdin) if m["message_type"] == "summary"))' "$1" <"$work/summary"
}

restic_backs_up() {
	(cd "$1" && restic backup --json . >"$work/summary")
}

# restic_took NEW UNMODIFIED
restic_took() {
	[ "$(field files_new) $(field files_changed) $(field files_unmodified)" = "$1 0 $2" ]
}

restored_by_restic() {
	rm -rf "$work/restored"
	restic restore -q latest --target "$work/restored"
	diff -r "$1" "$work/restored"
	(cd "$1" && find . -name '0*' -printf '%p %s %m %T@\n' | sort) >"$work/attributes"
	(cd "$work/restored" && find . -name '0*' -printf '%p %s %m %T@\n' | sort) | diff "$work/attributes" -
}

# 504 entries, and `new` of three streams
restic_twice() {
	restic_backs_up "$mnt"
	restic_took 507 0
	remount
	restic_backs_up "$mnt"
	restic_took 0 507
	echo 'one more' >"$mnt/orders/new"
	echo 'two more' >"$mnt/orders/new"
	restic_backs_up "$mnt"
	restic_took 2 507
	restored_by_restic "$mnt"
}

# borg_backs_up ARCHIVE DIRECTORY: the names of what was read go to $work/read
borg_backs_up() {
	(cd "$2" && borg create --list --filter AMCE "$work/borg::$1" .) 2>"$work/err"
	cat "$work/err"
	sed -n 's/^[AMCE] //p' "$work/err" >"$work/read"
}

restored_by_borg() {
	rm -rf "$work/restored"
	mkdir "$work/restored"
	(cd "$work/restored" && borg extract "$work/borg::$1")
	diff -r "$2" "$work/restored"
	(cd "$2" && find . -name '0*' -printf '%p %s %m %T@\n' | sort) >"$work/attributes"
	(cd "$work/restored" && find . -name '0*' -printf '%p %s %m %T@\n' | sort) | diff "$work/attributes" -
}

# It always reads once more what was the newest of all at the last time, because that may have been changed within the same tick of a clock.
borg_twice() {
	local newest

	borg_backs_up a "$mnt"
	[ "$(wc -l <"$work/read")" -eq 509 ]
	newest="orders/$(readlink "$mnt/orders/.last")"
	remount
	echo 'three more' >"$mnt/letters/new"
	echo 'four more' >"$mnt/letters/new"
	borg_backs_up b "$mnt"
	sort "$work/read" >"$work/read.sorted"
	printf '%s\n' "$newest" "letters/$(entry 4)" "letters/$(entry 5)" | sort | diff - "$work/read.sorted"
	restored_by_borg b "$mnt"
}

checkpoint() {
	rm -f "$mnt/.checkpoints/nightly"
	touch "$mnt/.checkpoints/nightly"
}

write_beside() {
	local i

	{ set +x; } 2>/dev/null
	for ((i = 0; i < 300; i++)); do
		echo "number $i" >"$mnt/orders/new"
	done
}

ids() {
	find "$mnt/.at/nightly" -name '0*' | wc -l
}

# Streams grow meanwhile: not what is backed up. The second time only what has come between the checkpoints is taken.
as_of_a_checkpoint() {
	local writer before after

	write_beside &
	writer=$!
	echo "$writer" >"$work/writer.pid"
	checkpoint
	before=$(ids)
	restic_backs_up "$mnt/.at/nightly"
	restic_took "$before" 0
	restored_by_restic "$mnt/.at/nightly"
	borg_backs_up at-a "$mnt/.at/nightly"
	[ "$(wc -l <"$work/read")" -eq "$before" ]
	restored_by_borg at-a "$mnt/.at/nightly"
	[ "$(ids)" -eq "$before" ]
	wait "$writer"
	rm "$work/writer.pid"
	echo 'the last' >"$mnt/orders/new"
	checkpoint
	after=$(ids)
	[ "$after" -gt "$before" ]
	restic_backs_up "$mnt/.at/nightly"
	restic_took $((after - before)) "$before"
	restored_by_restic "$mnt/.at/nightly"
	borg_backs_up at-b "$mnt/.at/nightly"
	[ "$(wc -l <"$work/read")" -eq $((after - before + 1)) ]
	restored_by_borg at-b "$mnt/.at/nightly"
}

check "fill" fill
check "restic twice, and over a remount" restic_twice
check "borg twice, and over a remount" borg_twice
check "restic and borg, as of a checkpoint" as_of_a_checkpoint
unmount_at_end
