#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The example of a journal: killed with SIGKILL at random moments, over and over, it comes back with the vectors that it had acknowledged; and journals as
# `walctl cat --journal` shows them: test_vector_store.sh WALCTL WALFS VECTOR_STORE. TAP output. Needs bash and python3.
. "$(dirname "$0")/lib/walctl_common.sh"

vector_store=$3
rounds=6
seconds_max=60

# Prints how many changes were acknowledged before it was killed.
kill_in_the_midst() {
	local from=$1 target=$((RANDOM % 150 + 1)) deadline=$((SECONDS + seconds_max)) pid

	: >numbers
	"$vector_store" --fill "$from" 1000000 vectors >numbers 2>err &
	pid=$!
	while [ "$(wc -l <numbers)" -lt "$target" ] && [ "$SECONDS" -lt "$deadline" ]; do
		sleep 0.005
	done
	kill -9 "$pid"
	wait "$pid" 2>/dev/null
	[ "$(wc -l <numbers)" -ge "$target" ] && tail -n 1 numbers
}

survives_kills() {
	local there=0 acknowledged

	for ((round = 0; round < rounds; round++)); do
		acknowledged=$(kill_in_the_midst "$there") && there=$("$vector_store" --check "$acknowledged" vectors 2>err) || return 1
	done
	echo "# $there changes"
	"$walctl" verify vectors/log >out 2>err && "$vector_store" --check "$there" vectors >out 2>err
}

# Its checkpoints have dropped what they cover, and no more.
drops_what_is_covered() {
	ctl 0 cat --journal vectors/log vectors && head -n 1 out | grep -qv '"sequence": 0,' && [ -s vectors/snapshot ]
}

lines_of_its_journal() {
	python3 - out <<-'END'
		import json, sys
		lines = [json.loads(line) for line in open(sys.argv[1])]
		assert [line["sequence"] for line in lines] == list(range(lines[0]["sequence"], lines[0]["sequence"] + len(lines)))
		for line in lines:
		    if line["type"] in ("insert", "update"):
		        assert len(line["vector"]) == 3 and line["vector"][2] == -1, line
		checkpoints = [line for line in lines if line["type"] == "checkpoint"]
		assert checkpoints and all(0 <= line["covers"] < line["sequence"] for line in checkpoints)
		assert lines[0]["sequence"] <= checkpoints[-1]["covers"] + 1
	END
}

mounted_it_is_the_same() {
	ctl 0 cat --journal vectors/log vectors && cp out before && "$walfs" vectors/log mnt || return 1
	ctl 0 cat --journal vectors/log vectors && cmp before out && cat mnt/vectors/.first >bytes && fusermount3 -u mnt &&
		ctl 0 cat vectors/log vectors first && cmp bytes out
}

append_bytes() {
	# shellcheck disable=SC2059 # escapes
	printf "$1" | "$walctl" append --create st j >>ids
}

records_of_all_kinds() {
	"$walctl" init st &&
		append_bytes '\372\002h"\005' &&
		append_bytes '\372\002\377\000\005' &&
		append_bytes '\003\002\002\001a\001\003\001\005\007\002\003\004' &&
		append_bytes '\001\002b\000\010\000\000\300\177\001\000\300\377\000\000\200\377\000\000\000\200\315\314\314\075\001\000\000\000\377\377\177\177\000\000\200\077\001\001\001k\001v\007' &&
		append_bytes 'garbage' &&
		append_bytes '\004\373\000\001\006' &&
		ctl 1 cat --journal st j && complained "1 entries are no records" && python3 - out <<-'END'
			import json, math, struct, sys
			lines = [json.loads(line) for line in open(sys.argv[1])]
			def without(line):
			    assert line.pop("appended").endswith("Z")
			    return line
			assert without(lines[0]) == {"sequence": 0, "type": "opaque", "data": "h\"", "time": 5}
			assert without(lines[1]) == {"sequence": 1, "type": "opaque", "data_hex": "ff00", "time": 5}
			inner = [{"type": "delete", "id": "a", "time": 1}, {"type": "batch", "records": [{"type": "begin", "transaction": 7, "time": 2}], "time": 3}]
			assert without(lines[2]) == {"sequence": 2, "type": "batch", "records": inner, "time": 4}
			vector = lines[3]["vector"]
			assert vector[:3] == ["NaN", "NaN(0xffc00001)", "-Infinity"], vector
			bits = [struct.unpack("<I", struct.pack("<f", value))[0] for value in vector[3:]]
			assert bits == [0x80000000, 0x3dcccccd, 0x00000001, 0x7f7fffff, 0x3f800000], vector
			assert (lines[3]["id"], lines[3]["metadata"], lines[3]["time"]) == ("b\0", {"k": "v"}, 7)
			assert lines[4]["type"] == "undecodable" and lines[4]["size"] == 7 and bytes.fromhex(lines[4]["data_hex"]) == b"garbage"
			assert lines[4]["error"].startswith("byte 0: expected a type of record"), lines[4]
			assert without(lines[5]) == {"sequence": 5, "type": "checkpoint", "covers": 256, "time": 6}
			assert len(lines) == 6
		END
}

ranges_of_it() {
	ctl 0 cat --journal st j 1..2 && [ "$(wc -l <out)" = 2 ] && ctl 0 cat -j st j last && grep -q '"sequence": 5' out && [ "$(wc -l <out)" = 1 ] && ctl 1 cat -j st j 6
}

# One bit of a record of a stream that has more behind it.
damaged_records() {
	"$walctl" init bad && for id in a b c; do printf '\002\001%s\001' "$id" | "$walctl" append --create bad j >ids || return 1; done
	python3 - bad/j/00000000000000000000.wal <<-'END' || return 1
		import sys
		with open(sys.argv[1], "r+b") as f:
		    data = f.read()
		    f.seek(data.index(b"\x02\x01b\x01"))
		    f.write(b"\x03")
	END
	ctl 1 cat --journal bad j && complained "entry 1 damaged" && python3 - out <<-'END'
		import json, sys
		lines = [json.loads(line) for line in open(sys.argv[1])]
		assert [line["type"] for line in lines] == ["delete", "damaged", "delete"]
		assert lines[1] == {"sequence": 1, "type": "damaged", "entries": 1}
	END
}

# A record over a MiB is read another way.
large_records() {
	python3 -c 'import sys; sys.stdout.buffer.write(b"\xfa\xfc\x00\x00\x20\x00" + b"x" * 0x200000 + b"\x09")' >large &&
		"$walctl" append --create st large large >ids && ctl 0 cat --journal st large && json 'd["type"] == "opaque" and d["data"] == "x" * 0x200000 and d["time"] == 9'
}

check "SIGKILL at random moments" survives_kills
check "checkpoints drop what they cover" drops_what_is_covered
check "its journal as lines" lines_of_its_journal
check_mounted "its journal, mounted" mounted_it_is_the_same
check "records of all kinds as lines" records_of_all_kinds
check "ranges of a journal" ranges_of_it
check "damaged records" damaged_records
check "large records" large_records
finish
