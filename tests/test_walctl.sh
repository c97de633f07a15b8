#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Tries each verb of walctl: output, exit codes, errors, odd names: test_walctl.sh WALCTL [WALFS]. TAP output. With WALFS also on a mounted store.
# Needs bash and python3.
. "$(dirname "$0")/lib/walctl_common.sh"

usage_and_help() {
	ctl 2 && complained "no verb" &&
		ctl 2 frobnicate && complained "no such verb: 'frobnicate'" &&
		ctl 0 --help && grep -q '^  append ' out &&
		ctl 0 --version && grep -Eq '^walctl [0-9]+\.[0-9]+\.[0-9]+$' out
}

verb_help() {
	for verb in init ls stat append cat rotate sync prune "checkpoint create" "checkpoint show" "checkpoint list" "checkpoint rm" "checkpoint compact" route \
		verify repair; do
		# shellcheck disable=SC2086 # two words
		{ ctl 0 $verb --help && grep -q "^Usage: walctl $verb .*STORE" out && grep -q -- '--segment-size=' out && silent && cp out help &&
			ctl 0 help $verb && cmp out help; } || return 1
		# shellcheck disable=SC2086
		{ ctl 2 $verb && complained "too few arguments"; } || return 1
		ctl 0 help && grep -q "^  $verb STORE" out || return 1
	done
}

words_of_verbs() {
	ctl 2 checkpoint && complained "'checkpoint' is the first word" && ctl 2 checkpoint frobnicate && complained "no such verb: 'checkpoint frobnicate'" &&
		ctl 0 checkpoint --help && [ "$(grep -c '^  checkpoint ' out)" = 5 ] && ! grep -q '^  append' out && cp out help &&
		ctl 0 help checkpoint && cmp out help && ctl 2 help frobnicate && ctl 2 help checkpoint frobnicate && ctl 2 create && ctl 2 "checkpoint create" &&
		ctl 2 ''
}

init_makes_a_store() {
	ctl 0 init st && said '' && silent && ctl 0 ls --json st && json 'd["streams"] == []'
}

init_twice() {
	ctl 0 init st && complained "is a store already"
}

init_refuses() {
	mkdir full && echo x >full/file &&
		ctl 3 init full && complained "walctl: full: " && [ "$(ls full)" = file ] &&
		ctl 3 init full/file && ctl 3 init nowhere/st && [ ! -e nowhere ]
}

init_shards() {
	ctl 0 init --shards=3 sh && ctl 0 ls --json sh && json '[s["stream"] for s in d["streams"]] == ["shard_00", "shard_01", "shard_02"]'
}

no_store() {
	ctl 1 ls nowhere && complained "walctl: nowhere: " && ctl 1 cat nowhere s && [ ! -e nowhere ] &&
		ctl 1 append nowhere s </dev/null && [ ! -e nowhere ]
}

append_needs_create() {
	ctl 1 append st s </dev/null && complained "no stream 's'" && complained "--create"
}

append_one() {
	printf 'hello' | ctl 0 append --create st s && said '0\n' && silent && ctl 0 cat st s 0 && said 'hello'
}

append_empty() {
	ctl 0 append st s /dev/null && said '1\n' && ctl 0 ls --json st s --from 1 && json 'd["entries"][0]["size"] == 0'
}

append_file() {
	head -c 5000000 /dev/urandom >big && ctl 0 append st s big && said '2\n' && ctl 0 cat st s 2 && cmp out big
}

append_lines() {
	printf 'a\n\nb\0c\nlast' | ctl 0 append st s --lines && said '3\n4\n5\n6\n' && ctl 0 cat -n st s 3..6 && said 'a\n\nb\0c\nlast\n' &&
		ctl 0 append st s --lines --durable </dev/null && said ''
}

append_many_lines() {
	seq 1 5000 >lines && ctl 0 append --create --sync=async st many lines --lines && seq 0 4999 | cmp - out &&
		ctl 0 cat -n st many && cmp out lines
}

append_long_lines() {
	python3 -c 'import sys
for n in (5, 1 << 20, (1 << 20) - 1, 3000000, 7): sys.stdout.write("x" * n + "\n")
sys.stdout.write("y" * 2500000)' >long &&
		ctl 0 append --create st long --lines long && said '0\n1\n2\n3\n4\n5\n' &&
		ctl 0 ls --json st long && json '[e["size"] for e in d["entries"]] == [5, 1 << 20, (1 << 20) - 1, 3000000, 7, 2500000]' &&
		ctl 0 cat -n st long && { cat long; echo; } | cmp - out
}

append_batch() {
	printf 'one\ntwo\n\nfour' | ctl 0 append --create --batch st batch && said '0..3\n' && ctl 0 cat -n st batch && said 'one\ntwo\n\nfour\n' &&
		printf 'five\n' | ctl 0 append --batch st batch && said '4..4\n' && ctl 0 append --batch st batch </dev/null && said ''
}

append_wrong() {
	ctl 2 append --lines --batch st s </dev/null && complained "exclude" &&
		ctl 1 append st s missing && complained "missing" && ctl 3 append st s . && complained "reading '.'" &&
		ctl 2 append --create st .hidden </dev/null && ctl 2 append --create st a/b </dev/null &&
		ctl 2 append --create st "$(printf 'n%.0s' {1..256})" </dev/null && ctl 2 append st s a b && complained "too many"
}

cat_ranges() {
	seq 0 9 | ctl 0 append --create --lines st digits && ctl 0 cat st digits && said '0123456789' &&
		ctl 0 cat st digits 3 && said 3 && ctl 0 cat st digits 00000000000000000003 && said 3 &&
		ctl 0 cat st digits 3..5 && said 345 && ctl 0 cat st digits 7.. && said 789 && ctl 0 cat st digits ..2 && said 012 &&
		ctl 0 cat st digits first && said 0 && ctl 0 cat st digits last && said 9 && ctl 0 cat st digits 8..last && said 89 &&
		ctl 0 cat st digits first..1 && said 01 && ctl 0 cat st digits 10.. && said ''
}

cat_missing() {
	ctl 1 cat st digits 10 && said '' && complained "entry 10 not found" &&
		ctl 1 cat st digits 8..12 && said 89 && complained "entries 10 to 12 not found" &&
		ctl 1 cat st digits 11.. && complained "entry 11 not found" &&
		ctl 1 cat st digits 0..18446744073709551614 && said 0123456789 && ctl 1 cat st nothing && complained "no stream 'nothing'"
}

cat_wrong() {
	for range in x 1x -- '' .. 1...2 1..x 5..3 18446744073709551615 18446744073709551616 -1; do
		{ ctl 2 cat st digits -- "$range" && said ''; } || return 1
	done
}

cat_empty_stream() {
	ctl 0 append --create --lines st void </dev/null && ctl 0 cat st void && said '' && ctl 1 cat st void last && complained "has no entries"
}

ls_columns() {
	ctl 0 ls st && awk '
		NR == 1 { end = index($0, "NEXT") + 3; if ($0 !~ /^STREAM +FIRST +NEXT +ENTRIES +BYTES +SEGMENTS +LAST APPEND +STATE$/) bad = 1; next }
		substr($0, end, 2) !~ /^[0-9] $/ || $NF != "ok" || $(NF - 1) !~ /^20[0-9][0-9]-[01][0-9]-[0-3][0-9]T[0-9:]+Z$/ { bad = 1 }
		END { exit bad || NR < 5 }' out && grep -Eq '^digits +0 +10 +10 +10 +1 ' out
}

ls_human() {
	ctl 0 ls -h st && grep -Eq '^s .* 4\.8M ' out && ctl 0 ls -h st s --from 2 --count 1 && grep -Eq '^2 +4\.8M ' out
}

ls_entries() {
	ctl 0 ls st digits --from 3 --count 2 && [ "$(awk '{ print $1, $2 }' out | tr '\n' ';')" = 'ID SIZE;3 1;4 1;' ] &&
		ctl 0 ls st digits --from last && [ "$(wc -l <out)" = 2 ] && ctl 0 ls st digits --from=99 && [ "$(wc -l <out)" = 1 ] &&
		ctl 0 ls st digits --count 0 && [ "$(wc -l <out)" = 1 ] &&
		ctl 2 ls st digits --from x && ctl 2 ls st digits --from 1..2 && ctl 2 ls st digits --count -1 && ctl 2 ls st --count 3
}

ls_json() {
	ctl 0 ls --json st digits && json '[e["id"] for e in d["entries"]] == list(range(10)) and d["stream"] == "digits"' &&
		json 'all(a["time_ns"] < b["time_ns"] for a, b in zip(d["entries"], d["entries"][1:]))' &&
		ctl 0 ls --json st && json '{s["stream"]: s["entries"] for s in d["streams"]}["many"] == 5000'
}

stat_text() {
	ctl 0 stat st digits && grep -Eq '^next id +10$' out && grep -Eq '^durable id +10$' out && grep -Eq '^tail +clean$' out && grep -Eq '^health +healthy$' out
}

stat_json() {
	ctl 0 stat --json st digits batch && json '[s["stream"] for s in d["streams"]] == ["digits", "batch"]' &&
		json 'd["streams"][0]["payload_bytes"] == 10 and d["streams"][0]["disk_bytes"] > 0 and d["streams"][0]["tail"] == "clean"' &&
		ctl 0 stat --json st && json 'len(d["streams"]) == 6' && ctl 1 stat --json st digits nothing && json 'len(d["streams"]) == 1'
}

rotate_starts_a_segment() {
	ctl 0 rotate st digits && said '' && ctl 0 stat --json st digits && json 'd["streams"][0]["active_segment_id"] == 10' &&
		echo more | ctl 0 append st digits && said '10\n' && ctl 0 stat --json st digits && json 'd["streams"][0]["segments"] == 2' &&
		ctl 0 cat st digits && said '0123456789more\n' && ctl 1 rotate st nothing
}

sync_works() {
	ctl 0 sync st && said '' && ctl 0 sync st digits && ctl 1 sync st nothing && complained "no stream 'nothing'"
}

engine_options() {
	seq 1 100 | ctl 0 append --create --lines --segment_entries=10 st small && ctl 0 stat --json st small && json 'd["streams"][0]["segments"] >= 10' &&
		seq 1 100 | ctl 0 append --lines --segment-entries 10 --sync batch --compression=lz4 st small &&
		ctl 0 cat -n st small && { seq 1 100; seq 1 100; } | cmp - out
}

engine_options_wrong() {
	ctl 2 ls --sync=sometimes st && complained "sync" && ctl 2 ls --segment-size=1 st && ctl 2 ls st --segment_size && complained "needs a value" &&
		ctl 2 ls --bogus st && complained "--bogus" && ctl 2 ls -x st && complained "-x" && ctl 2 ls --json=1 st && ctl 2 append --ro st s </dev/null
}

odd_names() {
	local tab newline latin backslash
	tab=$'tab\there' newline=$'new\nline' latin=$'caf\xe9' backslash='back\slash'
	ctl 0 init odd || return 1
	for name in "$tab" "$newline" "$latin" "$backslash" 'with space' $'\x7f\x01' 'grün' '-dash' '"quoted"' "it's"; do
		{ printf '%s' "$name" | ctl 0 append --create odd -- "$name" && ctl 0 cat odd -- "$name" && printf '%s' "$name" | cmp - out; } || return 1
	done
	ctl 0 ls odd && [ "$(wc -l <out)" = 11 ] && grep -q '^tab\\x09here ' out && grep -q '^new\\x0aline ' out && grep -q '^caf\\xe9 ' out &&
		grep -q '^back\\\\slash ' out && grep -q '^grün ' out && ! LC_ALL=C grep -q $'[\x01-\x09\x0b-\x1f\x7f]' out &&
		ctl 1 cat odd "$newline" 7 && [ "$(wc -l <err)" = 1 ] && complained 'new\x0aline' &&
		ctl 0 ls --json odd && json 'len(d["streams"]) == 10' &&
		json '{s["stream"]: s.get("stream_hex") for s in d["streams"]}["caf\\xe9"] == b"caf\xe9".hex()' &&
		json '{"tab\there", "new\nline", "gr\u00fcn", "\x7f\x01", "\"quoted\"", "back\\slash"} <= {s["stream"] for s in d["streams"] if "stream_hex" not in s}'
}

odd_store_path() {
	local path=$'st\xff\nore'
	ctl 0 init "$path" && ctl 0 ls --json "$path" && json 'd["store_hex"] == b"st\xff\nore".hex()' && ctl 1 cat "$path" s && [ "$(wc -l <err)" = 1 ]
}

output_errors() {
	"$walctl" ls st >/dev/full 2>err
	[ $? -eq 3 ] && complained "No space left" || return 1
	"$walctl" cat st s 2 >/dev/full 2>err
	[ $? -eq 3 ] && complained "No space left" && [ "$(wc -l <err)" = 1 ] || return 1
	"$walctl" ls st many >/dev/full 2>err
	[ $? -eq 3 ] && complained "No space left" && [ "$(wc -l <err)" = 1 ] || return 1
	"$walctl" --help >/dev/full 2>err
	[ $? -eq 3 ] || return 1
	"$walctl" cat st s 0 >&- 2>err
	[ $? -eq 3 ] || return 1
	# The entry is in the stream although its id could not be told, and only once.
	echo x | "$walctl" append --create st told >/dev/full 2>err
	[ $? -eq 3 ] && ctl 0 ls --json st told && json 'len(d["entries"]) == 1'
}

closed_descriptors() {
	# A file of the store must not become standard output or standard error.
	"$walctl" append st told big >&- 2>&- <&-
	[ $? -eq 3 ] && ctl 0 cat st told 1 && cmp out big && ctl 0 stat st
}

reader_has_enough() {
	# Both dispositions of SIGPIPE; nothing on stderr in either.
	[ "$("$walctl" cat st long 2>err | head -c 3)" = xxx ] && silent &&
		[ "$( (trap '' PIPE; "$walctl" cat st long 2>err; echo "code $?" >&2) 2>code | head -c 3)" = xxx ] && silent && grep -qx 'code 0' code &&
		[ "$( (trap '' PIPE; "$walctl" ls st many 2>err; echo "code $?" >&2) 2>code | head -c 3)" = "  I" ] && silent && grep -qx 'code 0' code
}

damaged_entry() {
	# A byte in the middle of a sealed segment: what is intact comes out, the rest is named.
	ctl 0 init bad && seq 100 119 | ctl 0 append --create --lines bad s && ctl 0 rotate bad s && echo more | ctl 0 append bad s || return 1
	printf 'X' | dd of=bad/s/00000000000000000000.wal bs=1 seek=$((39 * 7 + 37)) conv=notrunc status=none
	ctl 1 cat -n bad s && grep -qx 106 out && ! grep -qx 107 out && grep -qx 108 out && grep -qx more out && complained "entry 7 damaged" &&
		ctl 1 cat bad s 7 && said '' && ctl 0 cat bad s 8 && said 108 || return 1
	# Without its sidecar it is found by listing too.
	rm bad/s/*.meta
	ctl 1 ls bad && grep -Eq '^s +0 +21 +21 +62 +2 ' out && complained "ids 7 to 7" &&
		ctl 1 ls bad s && grep -Eq '^ 7 +-  damaged$' out && grep -Eq '^ 8 +3  ' out &&
		ctl 1 ls --json bad s --from 7 --count 1 && json 'd["entries"] == [{"id": 7, "count": 1, "damaged": True}]' &&
		ctl 1 stat --json bad && json 'd["streams"][0]["entries"] == 21' && ctl 0 ls bad s --from 8
}

damaged_stream() {
	# Entries that later ones vouch for, in the active segment: the stream takes no appends.
	ctl 0 init worse || return 1
	for i in 0 1 2; do echo "$i" | ctl 0 append --create worse s || return 1; done
	echo good | ctl 0 append --create worse other
	printf 'X' | dd of=worse/s/00000000000000000000.wal bs=1 seek=36 conv=notrunc status=none
	rm worse/s/*.meta
	ctl 1 ls worse && grep -Eq '^s .* (damaged|read-only)$' out && grep -Eq '^other .* ok$' out &&
		ctl 1 stat worse s && grep -Eq '^health +read-only: ..' out && grep -Eq '^tail +damaged at offset 0, [0-9]+ bytes$' out &&
		ctl 1 stat --json worse s && json 'd["streams"][0]["health"] == "read-only" and len(d["streams"][0]["reason"]) > 10' &&
		ctl 0 stat worse other && ctl 0 cat worse other && said 'good\n' && ctl 1 cat worse s && said '1\n2\n' &&
		echo x | ctl 1 append worse s && complained "takes no changes"
}

read_only_leaves_it_alone() {
	ctl 0 sync st || return 1
	find st -printf '%p %s %T@ %i\n' | sort >before
	ctl 0 ls st && ctl 0 ls st many && ctl 0 stat st && ctl 0 cat st many && find st -printf '%p %s %T@ %i\n' | sort | diff before -
}

held_by_another() {
	local found=1

	hold st held || return 1
	ctl 3 append st s /dev/null && complained "walctl: st: open by pid $holder (" && ctl 3 rotate st s && ctl 3 sync st && ctl 0 init st && ctl 0 ls st &&
		ctl 0 cat st digits 3 && said 3 && found=0
	let_go
	return "$found"
}

mounted() {
	"$walfs" st mnt || return 1
	echo through >mnt/s/new
	ctl 3 append st s /dev/null && complained "mounted by pid $(holder_of st) on $dir/mnt: use 'cat FILE > $dir/mnt/STREAM/new'" &&
		ctl 0 ls st && ctl 0 stat st && ctl 0 cat st s last && said 'through\n' && fusermount3 -u mnt
}

# named_mount TEXT ARGUMENT…: a mount is taken for a store, and the complaint names the store and says what to do
named_mount() {
	local text=$1

	shift
	ctl 3 "$@" && complained "walctl: mnt: it is a mount of the store '$dir/sp ace': $text" && ! grep -q 'no store' err
}

# A mount in the place of the store, with streams and without.
mount_as_store() {
	local found=0 instead="name that instead" unmount="name that instead ('fusermount3 -u mnt' unmounts it"

	rm -rf 'sp ace' && ctl 0 init 'sp ace' && "$walfs" 'sp ace' mnt || return 1
	for _ in 1 2; do
		named_mount "use 'cat FILE > mnt/STREAM/new'" append --create mnt s /dev/null && named_mount "use 'sync mnt'" sync mnt && named_mount "$instead" ls mnt && named_mount "$instead" cat mnt s &&
			named_mount "$instead" export --to tar mnt && named_mount "$instead" verify mnt && named_mount "$unmount" repair mnt && named_mount "$unmount" init mnt &&
			named_mount "$unmount" restore mnt mnt/.at && named_mount "$unmount" import --from=lines /dev/null mnt && named_mount "$instead" copy mnt none && named_mount "$instead" copy st mnt &&
			[ ! -e none ] || found=1
		mkdir -p mnt/s
	done
	[ "$(ls -A mnt)" = "$(printf '.checkpoints\ns')" ] || found=1
	fusermount3 -u mnt && return "$found"
}

check "usage, help, version" usage_and_help
check "help and usage of each verb" verb_help
check "verbs of two words" words_of_verbs
check "init makes an empty store" init_makes_a_store
check "init of a store is no failure" init_twice
check "init refuses what is no place for a store" init_refuses
check "init --shards" init_shards
check "a missing store is not made" no_store
check "append makes a stream only with --create" append_needs_create
check "append one entry" append_one
check "append an empty entry" append_empty
check "append a file" append_file
check "append --lines" append_lines
check "append many lines" append_many_lines
check "append lines longer than the buffer" append_long_lines
check "append --batch" append_batch
check "append refuses" append_wrong
check "cat of ranges" cat_ranges
check "cat of entries that are not there" cat_missing
check "cat of what is no range" cat_wrong
check "cat of a stream without entries" cat_empty_stream
check "ls in columns" ls_columns
check "ls -h" ls_human
check "ls of entries" ls_entries
check "ls --json" ls_json
check "stat" stat_text
check "stat --json" stat_json
check "rotate" rotate_starts_a_segment
check "sync" sync_works
check "engine options in both spellings" engine_options
check "engine options that are wrong" engine_options_wrong
check "stream names of any bytes" odd_names
check "a store path of any bytes" odd_store_path
check "output that cannot be written" output_errors
check "standard descriptors closed" closed_descriptors
check "a reader that has enough" reader_has_enough
check "a damaged entry" damaged_entry
check "a damaged stream" damaged_stream
check "ls, stat and cat change nothing" read_only_leaves_it_alone
check "a store that another process has" held_by_another
check_mounted "a mounted store" mounted
check_mounted "a mount in the place of a store" mount_as_store
finish
