#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# .stats of a stream and of the store: what everyday tools make of the files, that Prometheus would take them, and that they tell what has happened.
. "$(dirname "$0")/common.sh"

exposition() {
	python3 -S "$here/exposition.py" "$@"
}

# look FILE: takes a copy of it to $work/stats, which is valid
look() {
	cat "$1" >"$work/stats"
	exposition check "$work/stats"
}

# figure NAME [KEY=VALUE]…: of what was last looked at
figure() {
	exposition get "$work/stats" "$@"
}

# is VALUE NAME [KEY=VALUE]…
is() {
	local expected=$1

	shift
	[ "$(figure "$@")" = "$expected" ]
}

# ---- The files ----

attributes_and_listing() {
	new_stream
	[ "$(stat -c '%a %s %F' "$mnt/.stats" "$s/.stats" | sort -u)" = "444 0 regular empty file" ]
	[ "$(stat -c %i "$mnt/.stats")" -ne "$(stat -c %i "$s/.stats")" ]
	# shellcheck disable=SC2010
	fails grep -F .stats <(ls -a "$mnt" "$s")
	refused EACCES open-write "$s/.stats"
	refused EACCES open-rw "$mnt/.stats"
	refused EPERM unlink "$mnt/.stats"
	fails touch "$s/.stats"
	fails mkdir "$mnt/.stats"
	# the time of modification is that of the figures
	[ $(($(date +%s) - $(stat -c %Y "$mnt/.stats"))) -le 60 ]
}

every_tool_reads_all_of_it() {
	local size

	new_stream
	echo entry >"$s/new"
	cat "$s/.stats" >"$work/cat"
	size=$(stat -c %s "$work/cat")
	[ "$size" -gt 1000 ]
	# Nothing changes in between but the handles, which are not in a stream's.
	cp "$s/.stats" "$work/cp"
	cmp "$work/cat" "$work/cp"
	dd if="$s/.stats" of="$work/dd" bs=100 2>/dev/null
	cmp "$work/cat" "$work/dd"
	python3 -c 'import sys; sys.stdout.write(open(sys.argv[1]).read())' "$s/.stats" | cmp "$work/cat" -
	[ "$(wc -c <"$s/.stats")" -eq "$size" ]
	[ "$(wc -c "$s/.stats" | cut -d ' ' -f 1)" -eq "$size" ]
	[ "$(grep -c . "$s/.stats")" -eq "$(grep -c . "$work/cat")" ]
	[ "$(tail -n 1 "$s/.stats")" = "$(tail -n 1 "$work/cat")" ]
	sed -n 3p "$s/.stats" | cmp - <(sed -n 3p "$work/cat")
	if type curl >/dev/null; then
		curl -sS "file://$s/.stats" | cmp "$work/cat" -
	fi
	# a link to it is what node_exporter's textfile collector is pointed at
	ln -s "$mnt/.stats" "$work/walfs.prom"
	cat "$work/walfs.prom" >"$work/stats"
	exposition check "$work/stats"
}

an_open_file_stays_as_it_was() {
	new_stream
	echo one >"$s/new"
	exec 9<"$s/.stats"
	echo two >"$s/new"
	cat <&9 >"$work/stats"
	is 1 walfs_stream_appends_total "stream=$(basename "$s")"
	python3 - "/proc/self/fd/9" 9 <<'END'
import os, sys
fd = int(sys.argv[2])
whole = os.pread(fd, 1 << 20, 0)
assert os.pread(fd, 100, 50) == whole[50:150]
assert os.pread(fd, 100, len(whole)) == b""
assert os.pread(fd, 100, len(whole) - 10) == whole[-10:]
END
	exec 9<&-
	look "$s/.stats"
	is 2 walfs_stream_appends_total "stream=$(basename "$s")"
}

# ---- What they tell ----

appends_are_counted() {
	local label

	new_stream
	label=stream=$(basename "$s")
	look "$s/.stats"
	is 0 walfs_stream_appends_total "$label"
	is 0 walfs_stream_append_duration_seconds_count "$label"
	echo 1234567 >"$s/new"
	printf abc >"$s/new"
	look "$s/.stats"
	is 2 walfs_stream_appends_total "$label"
	is 11 walfs_stream_append_bytes_total "$label"
	is 2 walfs_stream_frames_total "$label"
	is 83 walfs_stream_frame_bytes_total "$label"
	is 2 walfs_stream_syncs_total "$label"
	is 2 walfs_stream_synced_appends_total "$label"
	is 2 walfs_stream_append_duration_seconds_count "$label"
	is 2 walfs_stream_sync_duration_seconds_count "$label"
	is 0 walfs_stream_first_id "$label"
	is 2 walfs_stream_next_id "$label"
	is 2 walfs_stream_durable_id "$label"
	is 2 walfs_stream_entries "$label"
	is 11 walfs_stream_payload_bytes "$label"
	is 1 walfs_stream_segments "$label"
	is 1 walfs_stream_health "$label" state=healthy
	is 0 walfs_stream_health "$label" state=stopped
	is 1 walfs_stream_tail "$label" state=clean
	[ "$(figure walfs_stream_last_append_timestamp_seconds "$label")" = "$(stat -c %.9Y "$s/1")" ]
	# the store's has the same, among those of all streams
	figure walfs_stream_append_duration_seconds_sum "$label" >"$work/sum"
	look "$mnt/.stats"
	is 2 walfs_stream_appends_total "$label"
	is "$(cat "$work/sum")" walfs_stream_append_duration_seconds_sum "$label"
}

reads_are_counted() {
	local label

	new_stream
	label=stream=$(basename "$s")
	echo 1234567 >"$s/new"
	cat "$s/0"
	look "$s/.stats"
	is 1 walfs_stream_reads_total "$label"
	is 8 walfs_stream_read_bytes_total "$label"
}

prunes_and_rotations_are_counted() {
	local label

	new_stream
	label=stream=$(basename "$s")
	for _ in 1 2 3; do
		echo x >"$s/new"
		echo >"$s/.rotate"
	done
	echo 2 >"$s/.prune"
	look "$s/.stats"
	is 3 walfs_stream_rotations_total "$label"
	is 2 walfs_stream_pruned_segments_total "$label"
	is 2 walfs_stream_first_id "$label"
	is 1 walfs_stream_entries "$label"
	is 2 walfs_stream_segments "$label"
}

checkpoints_are_counted() {
	local made
	look "$mnt/.stats"
	made=$(figure walfs_store_checkpoints_made_total)
	touch "$mnt/.checkpoints/one"
	touch "$mnt/.checkpoints/two"
	look "$mnt/.stats"
	is $((made + 2)) walfs_store_checkpoints_made_total
	is $((made + 2)) walfs_store_checkpoint_duration_seconds_count
	is 2 walfs_store_checkpoints
	[ "$(figure walfs_store_latest_checkpoint_timestamp_seconds)" = "$(stat -c %.9Y "$mnt/.checkpoints/two")" ]
	rm "$mnt/.checkpoints/one"
	look "$mnt/.stats"
	is 1 walfs_store_checkpoints
}

what_there_is_once() {
	look "$mnt/.stats"
	is 1 walfs_build_info "version=$("$WALCTL" --version | cut -d ' ' -f 2)"
	# shellcheck disable=SC2012
	is "$(ls "$mnt" | wc -l)" walfs_store_streams
	is 0 walfs_store_shards
	is 0 walfs_store_readonly
	[ "$(figure walfs_store_free_bytes)" -gt 0 ]
	[ "$(figure walfs_store_size_bytes)" -eq $(($(stat -f -c '%b * %S' "$store"))) ]
}

open_files_are_counted() {
	new_stream
	look "$mnt/.stats"
	is 0 walfs_mount_open_handles kind=new
	is 1 walfs_mount_open_handles kind=stats
	exec 8>"$s/new" 9>"$s/new"
	look "$mnt/.stats"
	is 2 walfs_mount_open_handles kind=new
	exec 8>&- 9>&-
	within 10 handles_are_closed
}

requests_are_counted() {
	local made lookups refused missing

	new_stream
	look "$mnt/.stats"
	made=$(figure walfs_mount_requests_total operation=mkdir)
	lookups=$(figure walfs_mount_requests_total operation=lookup)
	missing=$(figure walfs_mount_request_errors_total errno=ENOENT || echo 0)
	refused=$(figure walfs_mount_request_errors_total errno=EPERM || echo 0)
	mkdir "$s-1" "$s-2"
	refused ENOENT stat "$s/nothing"
	refused EPERM unlink "$s/new"
	look "$mnt/.stats"
	is $((made + 2)) walfs_mount_requests_total operation=mkdir
	[ "$(figure walfs_mount_requests_total operation=lookup)" -gt "$lookups" ]
	# those of names that mkdir looks for too
	[ "$(figure walfs_mount_request_errors_total errno=ENOENT)" -ge $((missing + 1)) ]
	is $((refused + 1)) walfs_mount_request_errors_total errno=EPERM
	fails figure walfs_mount_request_errors_total errno=ELOOP
}

handles_are_closed() {
	look "$mnt/.stats" && is 0 walfs_mount_open_handles kind=new
}

an_entry_over_the_limit_is_an_error() {
	local label

	new_stream
	label=stream=$(basename "$s")
	fails dd if=/dev/zero of="$s/new" bs=1 count=1 seek=4294967295 conv=notrunc
	look "$s/.stats"
	[ "$(figure walfs_stream_errors_total "$label" kind=append_size)" -ge 1 ]
	is 0 walfs_stream_appends_total "$label"
}

# ---- Names ----

odd_names() {
	local name
	local names=('a "quoted" one' 'back\slash' $'new\nline' $'tab\tand\eescape' '100%' '%41' $'not \xff utf-8' $'cut \xe2\x82' 'größer' '€ 𐍈' $'surrogate \xed\xa0\x80' '{a="b"}' ' '
		"$(printf 'x%.0s' {1..255})")

	for name in "${names[@]}"; do
		mkdir "$mnt/$name"
		echo x >"$mnt/$name/new"
	done
	look "$mnt/.stats"
	exposition values "$work/stats" stream >"$work/found"
	for name in "${names[@]}"; do
		grep -zqxF -- "$name" "$work/found" || [ "$name" = $'new\nline' ]
		is 1 walfs_stream_appends_total "stream=$name"
	done
	# in letters: what is escaped, what is encoded, and what is left as it is
	grep -qF 'stream="a \"quoted\" one"' "$work/stats"
	grep -qF 'stream="back\\slash"' "$work/stats"
	grep -qF 'stream="new\nline"' "$work/stats"
	grep -qF 'stream="tab%09and%1Bescape"' "$work/stats"
	grep -qF 'stream="100%"' "$work/stats"
	grep -qF 'stream="%2541"' "$work/stats"
	grep -qF 'stream="not %FF utf-8"' "$work/stats"
	grep -qF 'stream="größer"' "$work/stats"
	for name in "${names[@]}"; do
		look "$mnt/$name/.stats"
		is 1 walfs_stream_entries "stream=$name"
	done
}

a_deleted_stream_is_not_told_of() {
	new_stream
	rmdir "$s"
	look "$mnt/.stats"
	fails figure walfs_stream_entries "stream=$(basename "$s")"
}

# ---- What is wrong ----

damage() {
	local segment

	new_stream
	echo "good entry" >"$s/new"
	echo "bad entry" >"$s/new"
	echo "good entry" >"$s/new"
	basename "$s" >"$work/damaged"
	unmount
	segment=$store/$(cat "$work/damaged")/$(entry 0).wal
	printf X | dd of="$segment" bs=1 seek=90 conv=notrunc
	rm "${segment%.wal}.meta" # so that opening looks at all of it
	mount_store
	s=$mnt/$(cat "$work/damaged")
	look "$s/.stats"
	is 0 walfs_stream_health "stream=$(basename "$s")" state=healthy
	is 1 walfs_stream_health "stream=$(basename "$s")" state=readonly
	is 1 walfs_stream_tail "stream=$(basename "$s")" state=damaged
	grep -E '^walfs_stream_unhealthy_info\{stream="[^"]*",reason="[^"]{10,}"\} 1$' "$work/stats"
	fails cat "$s/1"
	fails sh -c "echo x >'$s/new'"
	look "$s/.stats"
	[ "$(figure walfs_stream_errors_total "stream=$(basename "$s")" kind=read_damaged)" -ge 1 ]
	[ "$(figure walfs_stream_errors_total "stream=$(basename "$s")" kind=append_io)" -ge 1 ]
	look "$mnt/.stats"
	is 1 walfs_stream_health "stream=$(basename "$s")" state=readonly
}

# strace lets a sync fail, as a dying disk would.
stopped() {
	local label=stream=stopping

	mkdir "$mnt/stopping"
	echo x >"$mnt/stopping/new"
	strace -f -qq -o "$work/strace" -e trace=fdatasync -e inject=fdatasync:error=EIO -p "$(walfs_pid)" &
	echo $! >"$work/strace.pid"
	within 10 grep -q "^TracerPid:[[:space:]]*[1-9]" "/proc/$(walfs_pid)/status"
	fails sh -c "echo y >'$mnt/stopping/new'; cat '$mnt/stopping/1'"
	kill -TERM "$(cat "$work/strace.pid")"
	wait "$(cat "$work/strace.pid")" || true
	rm "$work/strace.pid"
	look "$mnt/stopping/.stats"
	is 1 walfs_stream_health "$label" state=stopped
	is 1 walfs_stream_errors_total "$label" kind=sync
	[ "$(figure walfs_stream_errors_total "$label" kind=append_io)" -ge 1 ]
	grep -F 'reason="syncing the active segment failed: ' "$work/stats"
	# what was not durable is lost, and it ends with a failure because of that
	fusermount3 -u "$mnt"
	walfs_ends 1
	mount_store
	look "$mnt/stopping/.stats"
	is 1 walfs_stream_health "$label" state=healthy
}

# ---- All of it ----

the_manual_page_has_every_name() {
	look "$mnt/.stats"
	exposition names "$work/stats" >"$work/names"
	exposition man "$here/../../man/walfs.1" >"$work/man"
	diff "$work/man" "$work/names"
	cat "$mnt"/case-*/.stats | grep -h '^# TYPE' | cut -d ' ' -f 3 | sort -u >"$work/names"
	grep '^walfs_stream_' "$work/man" | diff - "$work/names"
}

# More than is kept in memory: the text goes through a file.
many_streams() {
	local i

	for i in {1..200}; do
		mkdir "$mnt/many-$i"
		echo >"$mnt/many-$i/new"
	done
	look "$mnt/.stats"
	[ "$(stat -c %s "$work/stats")" -gt $(((1 << 20) + 5000)) ]
	is 1 walfs_stream_appends_total stream=many-200
	# at any offset, too
	exec 9<"$mnt/.stats"
	cat <&9 >"$work/whole"
	python3 - "$work/whole" 9 <<'END'
import os, sys
whole = open(sys.argv[1], "rb").read()
for offset in (0, 1, 1 << 20, (1 << 20) + 1, len(whole) - 5, len(whole), len(whole) + 5):
    assert os.pread(int(sys.argv[2]), 3000, offset) == whole[offset:offset + 3000], offset
END
	exec 9<&-
}

# Those who ask for the store's figures at once get them one after the other, and all of them.
many_readers() {
	local i pids=()

	for i in {1..12}; do
		cat "$mnt/.stats" >"$work/reader.$i" &
		pids+=($!)
	done
	for i in "${pids[@]}"; do
		wait "$i"
	done
	for i in {1..12}; do
		exposition check "$work/reader.$i"
	done
}

# Readers, writers, mkdir and rmdir at once: every copy is valid, and counters never go back.
while_writers_run() {
	local i pids=()

	new_stream
	(while [ ! -e "$work/enough" ]; do echo x >"$s/new"; done) &
	pids+=($!)
	(while [ ! -e "$work/enough" ]; do mkdir "$mnt/comes-and-goes"; rmdir "$mnt/comes-and-goes"; done) &
	pids+=($!)
	echo 0 >"$work/last"
	for i in {1..20}; do
		look "$mnt/.stats"
		[ "$(figure walfs_stream_appends_total "stream=$(basename "$s")")" -ge "$(cat "$work/last")" ]
		figure walfs_stream_appends_total "stream=$(basename "$s")" >"$work/last"
	done
	touch "$work/enough"
	wait "${pids[@]}"
}

read_only() {
	remount ro
	look "$mnt/.stats"
	is 1 walfs_store_readonly
	is 0 walfs_stream_appends_total stream=many-1
	is 1 walfs_stream_entries stream=many-1
}

mount_at_start
check "attributes, and it is not listed" attributes_and_listing
check "every tool reads all of it" every_tool_reads_all_of_it
check "an open file stays as it was" an_open_file_stays_as_it_was
check "appends" appends_are_counted
check "reads" reads_are_counted
check "rotations and prunes" prunes_and_rotations_are_counted
check "checkpoints" checkpoints_are_counted
check "what there is once" what_there_is_once
check "open files" open_files_are_counted
check "requests and errors" requests_are_counted
check "an entry over the limit" an_entry_over_the_limit_is_an_error
check "odd names" odd_names
check "a deleted stream" a_deleted_stream_is_not_told_of
check "a damaged stream" damage
if type strace >/dev/null 2>&1; then
	check "a stopped stream" stopped
else
	skip "a stopped stream" "strace is missing"
fi
check "the manual page has every name" the_manual_page_has_every_name
check "while writers run" while_writers_run
check "many streams" many_streams
check "many readers" many_readers
check "a read-only mount" read_only
unmount_at_end
