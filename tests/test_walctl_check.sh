#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2086 # what is not quoted has no blanks
#
# walctl verify and repair: what they print, their exit codes, and on a mounted store: test_walctl_check.sh WALCTL [WALFS]. TAP output. Needs bash and python3.
. "$(dirname "$0")/lib/walctl_common.sh"
export LC_ALL=C

# make STORE: "s" with the ids 0 … 24, each of 7 bytes in a frame of 43, in segments of ten; "t" with one
make() {
	rm -rf "$1"
	"$walctl" init "$1" && seq 1000000 1000024 | "$walctl" append --create --lines --segment-entries=10 "$1" s >/dev/null &&
		echo other | "$walctl" append --create "$1" t >/dev/null
}

# overwrite FILE OFFSET BYTES
overwrite() {
	printf '%s' "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none
}

# damage STORE: the entries 13 and 14 are bad
damage() {
	overwrite "$1/s/00000000000000000010.wal" $((3 * 43 + 40)) X && overwrite "$1/s/00000000000000000010.wal" $((4 * 43)) XXXX
}

summary='2 streams, 4 segments, 26 frames, 26 entries, [0-9]+ bytes read: '
seg=00000000000000000010.wal

clean_store() {
	make st && ctl 0 verify st && printed "${summary}clean" && silent &&
		ctl 0 verify -q st && printed && silent && ctl 0 verify st s && printed '1 streams, 3 segments, 25 frames, 25 entries, [0-9]+ bytes read: clean' &&
		ctl 0 repair st && printed "${summary}clean" && ctl 0 repair -n st && printed "${summary}clean"
}

clean_store_json() {
	make st && ctl 0 verify --json st && json 'd["store"] == "st" and d["findings"] == [] and d["clean"] is True' &&
		json 'd["counts"] == {"note": 0, "cache": 0, "torn": 0, "damage": 0, "error": 0}' &&
		json '(d["streams"], d["segments"], d["frames"], d["entries"]) == (2, 4, 26, 26) and d["bytes"] > 26 * 32'
}

damage_is_named() {
	make st && damage st && ctl 1 verify st && silent &&
		printed "damage: s/$seg: offset 129, 86 bytes, ids 13 to 14: expected the frame of id 13, found checksum mismatch \(id 13, 1 entries, 11 bytes, crc [0-9a-f]{8}\)" \
			'2 streams, 4 segments, 24 frames, 24 entries, [0-9]+ bytes read: 1 damage' &&
		ctl 1 verify -q st s && printed "damage: s/$seg: offset 129, 86 bytes, ids 13 to 14: .*" && ctl 0 verify st t
}

damage_in_json() {
	make st && damage st && ctl 1 verify --json st && json 'd["clean"] is False and d["counts"]["damage"] == 1 and len(d["findings"]) == 1' &&
		json '{k: v for k, v in d["findings"][0].items() if k != "found"} == {"kind": "damage", "stream": "s", "file": "00000000000000000010.wal", "offset": 129, "bytes": 86, "first_id": 13, "ids": 2, "expected": "the frame of id 13"}' &&
		ctl 1 repair -n --json st && json 'd["findings"][0]["action"] and d["clean"] is False'
}

dry_run_changes_nothing() {
	make st && damage st && tree st >before && ctl 1 repair -n st && printed "damage: s/$seg: .*; set aside in a .damaged file, the segment split around it" '.*: 1 damage' &&
		ctl 1 repair --dry-run st && ctl 1 verify st && tree st | diff before -
}

repair_mends() {
	make st && damage st && cp "st/s/$seg" old && ctl 0 repair st && printed "damage: s/$seg: .*; set aside in .*" '.*: 1 damage' &&
		ctl 0 verify st && printed "note: s/$seg: .*, ids 13 to 14: .*lost earlier.*" '2 streams, 5 segments, 24 frames, 24 entries, .*: 1 note' &&
		ctl 0 verify -q st && printed && ctl 0 repair st && ctl 0 verify st && ctl 1 cat -n st s && complained 'entries 13 to 14 damaged' &&
		{ seq 1000000 1000012; seq 1000015 1000024; } | cmp - out &&
		tail -c 86 st/s/"$seg".damaged.0 | cmp - <(tail -c +130 old | head -c 86) && head -n 1 "st/s/$seg.damaged.0" | grep -aq '^libwal: damaged bytes of segment' &&
		echo more | ctl 0 append st s && printed 25 && ctl 0 verify st
}

torn_tail() {
	make st && printf 'half a frame' >>st/s/00000000000000000020.wal && ctl 0 verify st &&
		printed 'torn: s/00000000000000000020.wal: offset 215, 12 bytes: expected .*, found .*' "${summary}1 torn" &&
		ctl 0 repair st && printed 'torn: .*; set aside in a .torn file and cut off' "${summary}1 torn" &&
		[ "$(cat st/s/00000000000000000020.wal.torn.0)" = 'half a frame' ] && ctl 0 verify st && printed "${summary}clean"
}

caches() {
	make st && rm st/s/00000000000000000000.meta && : >st/s/head.state && ctl 0 verify st && printed 'cache: s/head.state: expected .*' \
		'cache: s/00000000000000000000.meta: expected the sidecar of a sealed segment, found none' "${summary}2 cache" &&
		ctl 0 repair st && ctl 0 verify st && ! grep -q head.state out && ctl 0 cat -n st s && seq 1000000 1000024 | cmp - out
}

foreign_file() {
	make st && echo mine >st/s/notes && ctl 0 verify st && printed 'note: s/notes: expected only files of the store, found another file' "${summary}1 note" &&
		ctl 0 verify -q st && printed && ctl 0 repair st && [ "$(cat st/s/notes)" = mine ]
}

unreadable() {
	make st && mv "st/s/$seg" aside && mkdir "st/s/$seg" && ctl 3 verify st && printed "error: s/$seg: expected a file that can be read, found .*" '.*: 1 error' &&
		ctl 3 repair st && ctl 3 verify --json st && json 'd["clean"] is False and d["counts"]["error"] == 1' && ctl 0 verify st t
}

odd_names() {
	local name=$'new\nline \xff'

	make st && mv st/s "st/$name" && overwrite "st/$name/$seg" 40 X && ctl 1 verify st && printed 'damage: new.x0aline .xff/00000000000000000010.wal: .*' '.*: 1 damage' &&
		ctl 1 verify --json st && json 'd["findings"][0]["stream_hex"] == b"new\nline \xff".hex()' && ctl 1 verify st "$name" && ctl 0 repair st "$name" && ctl 0 verify -q st
}

nothing_there() {
	ctl 1 verify nowhere && complained 'walctl: nowhere: ' && ctl 1 repair nowhere && [ ! -e nowhere ] &&
		make st && ctl 1 verify st nothing && complained "there is no stream 'nothing'" && ctl 1 repair st nothing &&
		ctl 1 verify --json st nothing && python3 -m json.tool out >/dev/null && mkdir -p full && echo x >full/file && ctl 3 repair full && [ "$(ls full)" = file ]
}

usage() {
	ctl 2 verify && complained 'too few arguments' && ctl 2 repair && ctl 2 verify st s x && complained 'too many' && ctl 2 verify -n st && complained '-n' &&
		ctl 2 verify --bogus st && for verb in verify repair; do ctl 0 $verb --help && grep -q "^Usage: walctl $verb " out || return 1; done
}

output_errors() {
	make st && damage st || return 1
	"$walctl" verify st >/dev/full 2>err
	[ $? -eq 3 ] && complained 'No space left'
}

verify_changes_nothing() {
	make st && damage st && printf 'half a frame' >>st/s/00000000000000000020.wal && rm st/s/00000000000000000000.meta && tree st >before &&
		ctl 1 verify st && ctl 1 verify --json st s && tree st | diff before -
}

# While writers append: never any damage, and a repair is refused with the pid of who has the store.
mounted() {
	local holder writer result=1

	make st && "$walfs" st mnt -o sync=async,segment_entries=50 || return 1
	holder=$(holder_of st)
	(i=0; while [ ! -e stop ]; do echo "entry $i" >mnt/s/new || exit 1; i=$((i + 1)); done) &
	writer=$!
	for _ in 1 2 3 4 5 6 7 8; do
		ctl 0 verify st || break
		result=0
	done
	[ $result -eq 0 ] && ctl 3 repair st && complained "mounted by pid $holder on $dir/mnt: unmount it first with 'fusermount3 -u $dir/mnt'" && ctl 0 repair -n st || result=1
	touch stop
	wait $writer || result=1
	rm stop
	fusermount3 -u mnt || result=1
	[ $result -eq 0 ] && within flock -n st/LOCK true && ctl 0 verify st && ctl 0 repair st
}

# The records of "one" and "two" have 12 + 38 bytes each.
bad_checkpoints() {
	make st && ctl 0 checkpoint create st one && ctl 0 checkpoint create st two && ctl 0 verify -q st && printed || return 1
	overwrite st/checkpoints.log 16 X && ctl 1 verify -q st && silent &&
		printed 'damage: checkpoints.log: offset 0, 50 bytes: expected a record, found a record of 38 bytes with checksum [0-9a-f]{8} instead of [0-9a-f]{8}' &&
		ctl 1 verify --json st && json 'd["counts"]["damage"] == 1 and d["findings"][0]["file"] == "checkpoints.log" and "stream" not in d["findings"][0]' &&
		ctl 0 verify st t && ctl 0 repair st && printed 'damage: checkpoints.log: .*; set aside in a .damaged file and taken out' '.*: 1 damage' &&
		ctl 0 verify st && printed 'note: checkpoints.log.damaged.0: .*' '.*: 1 note' && ctl 0 checkpoint show st two || return 1
	rm st/HEAD && ctl 0 verify -q st && printed && ctl 0 verify st &&
		printed 'note: HEAD: expected the id of the latest checkpoint, unless the store is open, found no such file' 'note: checkpoints.log.damaged.0: .*' '.*: 2 note' || return 1
	truncate -s -3 st/checkpoints.log && ctl 0 verify -q st &&
		printed 'torn: checkpoints.log: offset 0, 47 bytes: expected a record, or the end of the file, found a record of 38 bytes of which 35 are there'
}

check "a clean store" clean_store
check "a clean store in JSON" clean_store_json
check "damage is named, exit status 1" damage_is_named
check "damage in JSON" damage_in_json
check "repair --dry-run changes nothing" dry_run_changes_nothing
check "repair sets damage aside and keeps the rest" repair_mends
check "a torn tail" torn_tail
check "caches that are wrong" caches
check "checkpoints" bad_checkpoints
check "a foreign file" foreign_file
check "what can't be read, exit status 3" unreadable
check "stream names of any bytes" odd_names
check "stores and streams that are not there" nothing_there
check "usage" usage
check "output that cannot be written" output_errors
check "verify changes nothing" verify_changes_nothing
check_mounted "a mounted store" mounted
finish
