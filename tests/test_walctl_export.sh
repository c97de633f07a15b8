#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2086 # what is not quoted has no blanks
#
# walctl export and restore: test_walctl_export.sh WALCTL [WALFS].
lib=$(cd "$(dirname "$0")/lib" && pwd)
. "$(dirname "$0")/lib/walctl_common.sh"
export LC_ALL=C

# same [OPTION]… STORE1 STORE2 [STREAM]…: both hold the same, to the nanosecond
same() {
	local options=()

	while [[ $1 == --* ]]; do
		options+=("$1")
		shift
	done
	python3 "$lib/same_stores.py" "${options[@]}" "$walctl" "$@"
}

sound() {
	"$walctl" verify -q "$1"
}

# append STORE STREAM [OPTION]…: lines from standard input
append() {
	add "$1" "$2" --lines "${@:3}"
}

# add STORE STREAM [OPTION]…: standard input as one entry; the store is made if need be
add() {
	local store=$1 stream=$2

	shift 2
	[ -d "$store" ] || "$walctl" init "$store" && "$walctl" append --create --sync=async "$@" "$store" -- "$stream" >/dev/null
}

long_name=$(printf 'n%.0s' {1..255})
long_id=$(printf 'i%.0s' {1..300})

# All that is odd in one store, ./rich: names of any bytes, streams that are empty or don't begin with 0, entries of no bytes and of many, batches, LZ4, checkpoints of any id.
make_rich() {
	local name

	"$walctl" init rich && seq 40 | append rich orders --segment-entries=10 && "$walctl" checkpoint create rich first &&
		for name in 'with space' $'new\nline' $'\xc3\xbc' $'bad\xff' "$long_name" -dash '100%' 'a%20b' new 00000000000000000007; do
			printf 'one\n\nthree\n' | append rich "$name" || return
		done
	: | add rich empties && : | add rich empties && seq 500 | add rich packed --batch --compression=lz4 &&
		yes "the same again and again" | head -c 300000 | add rich packed --compression=lz4 && head -c 6000000 /dev/urandom | add rich large && head -c 2000000 /dev/zero | add rich large &&
		seq 3 | append rich pruned && "$walctl" rotate rich pruned && "$walctl" prune rich pruned 3 >/dev/null && "$walctl" prune rich orders 25 >/dev/null &&
		for name in '%00%01%02%ff' HEAD .hidden a/b 'new%0Aline' $'\xc3\xbc' 'two words' '100%' "$long_id"; do
			"$walctl" checkpoint create rich -- "$name" || return
			echo x | append rich orders || return
		done
	: | add rich never && "$walctl" rotate rich never && "$walctl" prune rich never 1 >/dev/null && "$walctl" checkpoint create rich last
}

# restored [ARGUMENT]…: ./back is made by this, and is as rich
restored() {
	rm -rf back && ctl 0 restore back "$@" && grep -q ' entries appended, 0 were there, [0-9]* checkpoints made, 0 were there$' out && silent && same rich back && sound back
}

by_archive() {
	ctl 0 export --to tar rich -o rich.tar && silent && said '' && [ ! -e rich.tar.part ] && restored --from=rich.tar && same --thorough rich back &&
		restored < <(cat rich.tar) && ctl 0 export rich --to=tar && cmp out rich.tar
}

# The second time everything is there, and a store that another tool reads can be read as the mount can.
by_archive_again() {
	ctl 0 restore back rich.tar && printed '0 entries appended, [0-9]+ were there, 0 checkpoints made, 11 were there' && same rich back && rm -rf tree && mkdir tree &&
		tar -xf rich.tar -C tree 2>err && [ "$(<tree/orders/00000000000000000031)" = 32 ] && [ "$(cat "tree/with space/00000000000000000002")" = three ] &&
		[ "$(stat -c '%a %y' tree/orders/00000000000000000031)" = "444 $("$walctl" ls --json --from=31 --count=1 rich orders |
			python3 -c 'import json, sys, time
ns = json.load(sys.stdin)["entries"][0]["time_ns"]
print(time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ns // 10**9)) + f".{ns % 10**9:09d} " + time.strftime("%z"))')" ] && restored tree
}

# unpacked FILE: as it is, and from a pipe
unpacked() {
	rm -rf none && ctl 0 restore none "$1" && same few none && rm -rf none && ctl 0 restore none - < <(cat "$1") && same few none
}

compressed() {
	seq 2000 | append few s && "$walctl" export --to tar few >few.tar && gzip <few.tar >few.gz && unpacked few.gz && { ! command -v xz >found || { xz -0 <few.tar >few.xz && unpacked few.xz; }; } &&
		{ ! command -v zstd >found || { zstd -q <few.tar >few.zst && unpacked few.zst; }; } &&
		{ ! command -v bzip2 >found || { bzip2 <few.tar >few.bz2 && rm -rf none && ctl 1 restore none few.bz2 && [ ! -e none ]; }; }
}

by_files() {
	rm -rf files && ctl 0 export --to files -o files rich && silent && said '' && [ ! -e files/.walfs.part ] && tree files | grep /0 >before &&
		ctl 0 export --to=files --output=files rich && tree files | grep /0 | diff before - && restored files && tar --sort=name --format=pax -cf files.tar -C files . && restored files.tar
}

# ---- From the mount ----

# What a mount can't show: the id of a checkpoint that is longer than a name, and that a stream goes on elsewhere than where its entries end.
mounted_copies() {
	"$walfs" rich mnt && rm -rf cp rsync && cp -a mnt cp 2>err && rsync -a mnt/ rsync && tar --format=pax -cf mount.tar mnt && tar --format=pax -cf dot.tar -C mnt . &&
		tar --format=gnu -cf gnu.tar mnt && tar --format=pax -cf at.tar -C mnt/.at/last . && cp -a mnt/.at/last at && tar --format=pax -cf some.tar -C mnt orders large &&
		{ ! command -v bsdtar >found || bsdtar -cf bsd.tar mnt; }
	local found=$?

	fusermount3 -u mnt && within "$walctl" repair -q rich && [ $found = 0 ] && "$walctl" checkpoint rm rich "$long_id" && cp -r rich plain
}

# came_back [ARGUMENT]…
came_back() {
	rm -rf back && ctl 1 restore back "$@" && complained 'its id is longer than the name of a file can be' && [ "$(wc -l <err)" = 1 ] && same rich back && sound back
}

by_copies() {
	came_back cp && came_back rsync && came_back mount.tar && came_back dot.tar && came_back < <(cat mount.tar) && { [ ! -e bsd.tar ] || came_back bsd.tar; }
}

# GNU's own format has whole seconds.
by_gnu_tar() {
	rm -rf back && ctl 1 restore back gnu.tar && complained 'all times are whole seconds' && complained '--format=pax' && same --times=no rich back && sound back
}

# Neither archive has checkpoints, which also tell where empty streams go on.
of_a_checkpoint() {
	rm -rf back && ctl 0 restore back at.tar && silent && ctl 0 checkpoint list back && [ "$(wc -l <out)" = 1 ] && mv back back.1 && ctl 0 restore back at && silent &&
		same back back.1 && same rich back orders large packed 'with space' empties "$long_name" $'bad\xff' && rm -rf back.1
}

some_streams() {
	rm -rf back && ctl 0 restore back some.tar && same rich back orders large && ctl 0 ls --json back && json 'len(d["streams"]) == 2'
}

# ---- Parts ----

one_stream() {
	rm -rf back && "$walctl" export --to tar rich orders | ctl 0 restore back && same rich back orders && ctl 0 ls --json back && json '[s["stream"] for s in d["streams"]] == ["orders"]'
}

ranges() {
	ctl 0 export --to jsonl --from-id 30 --to-id 31 rich orders && [ "$(wc -l <out)" = 2 ] && ctl 0 export --to jsonl --from-id=49 rich orders && said '' && silent &&
		ctl 1 export --to lines --from-id=50 rich orders && said '' && complained 'entry 50 not found' && ctl 1 export --to lines --from-id 5 --to-id=20 rich orders && said '21\n' &&
		complained 'entry 5 pruned' && ctl 1 export --to lines --from-id 47 --to-id 60 rich orders && said 'x\nx\n' && complained 'entry 60 not found' &&
		ctl 2 export --to lines --from-id 5 --to-id 4 rich orders && ctl 2 export --to tar --from-id 5 rich && ctl 2 export --to lines --from-id x rich orders
}

# A part goes on where a store ends, and nowhere else.
by_parts() {
	rm -rf back && "$walctl" export --to tar --to-id 29 rich orders | ctl 0 restore back && "$walctl" export --to tar --from-id 35 rich orders >part.tar &&
		ctl 1 restore back part.tar && complained "stream 'orders': entries 30 to 34 are missing" && ctl 1 restore none part.tar && complained 'entries 0 to 34 are missing' && rm -rf none &&
		"$walctl" export --to tar --from-id 30 rich orders | ctl 0 restore back && same rich back orders
}

of_a_checkpoint_exported() {
	rm -rf back && "$walctl" export --to tar --checkpoint .hidden rich | ctl 0 restore back && ctl 0 checkpoint list --json back &&
		json '[c["id"] for c in d["checkpoints"]] == ["first", "%00%01%02%FF", "%48EAD", "%2Ehidden"]' && ctl 0 ls --json back &&
		json '[(s["first_id"], s["next_id"]) for s in d["streams"] if s["stream"] == "orders"] == [(20, 42)] and len(d["streams"]) == 15' &&
		ctl 0 export --to lines --checkpoint=.hidden rich orders && [ "$(wc -l <out)" = 22 ] && ctl 1 export --to tar --checkpoint=nope rich && complained "no checkpoint 'nope'" &&
		ctl 1 export --to lines --checkpoint=first rich packed && complained "doesn't know the stream 'packed'"
}

# What another store lacks, as often as it is asked for; first of all everything.
incremental() {
	rm -rf from back && cp -r plain from && ctl 0 restore --state back && said 'walfs state 1\n' && [ ! -e back ] &&
		for i in 1 2 3; do
			"$walctl" restore --state back >state && "$walctl" export --after=state --to tar from >part.tar && ctl 0 restore back - <part.tar && same from back || return
			seq "$i" 7 | append from orders && echo x | append from "new $i" && "$walctl" checkpoint create from "c$i" && "$walctl" checkpoint create from moving || return
		done
	grep -Eqx '[0-9]+ entries appended, 0 were there, 2 checkpoints made, 0 were there' out && "$walctl" restore --state back | ctl 0 export --after - --to tar from && mv out part.tar &&
		[ "$(tar -tf part.tar 2>err | grep -c '/0')" = 6 ] && ctl 0 restore -q back part.tar && said '' && same from back && sound back
}

incremental_refuses() {
	rm -rf other && seq 2 31 | append other orders && "$walctl" restore --state other >state && ctl 1 export --after state --to tar rich && said '' &&
		complained "stream 'orders': the stores have diverged: entry 29 has 2 bytes (crc" && rm -rf other && seq 70 | append other orders && "$walctl" restore --state other >state &&
		ctl 1 export --after state --to tar rich && complained 'there the next id is 70, here it is 49' && rm -rf other && seq 11 | append other orders &&
		"$walctl" restore --state other >state && ctl 1 export --after state --to tar rich -o part.tar && complained 'entries 11 to 19 have been pruned here' && ctl 1 restore other part.tar &&
		complained 'entries 11 to 19 are missing' && ctl 0 restore other part.tar --allow-gaps && complained 'given up' && ctl 1 cat other orders 11 && ctl 0 cat other orders 20 && said 21 &&
		sound other && for state in '' nonsense 'walfs state 1' $'walfs state 1\nstream x 1\n' $'walfs state 1\nstream x 5 1 1 00000000\n' $'walfs export 1\n'; do
		printf '%s' "$state" >state && ctl 1 export --after state --to tar rich && complained "'state' is no output of" || return
	done
}

sharded() {
	rm -rf sh back && ctl 0 init --shards 8 sh && for key in a b c d; do echo $key | "$walctl" append --key $key sh >/dev/null || return; done && "$walctl" checkpoint create sh x &&
		"$walctl" export --to tar sh | ctl 0 restore back && same sh back && ctl 0 stat --json back && json 'd["shards"] == 8' && rm -rf back && ctl 0 export --to files -o shfiles sh && ctl 0 restore back shfiles &&
		same sh back && rm shfiles/.walfs && rm -rf back && ctl 0 restore back shfiles && same sh back && tar --sort=name --format=pax -cf sh.tar shfiles && rm -rf back && ctl 0 restore back sh.tar && same sh back &&
		rm -rf back && ctl 3 restore back < <(cat sh.tar) && complained '--shards=N' && rm -rf back && ctl 0 restore --shards=8 back < <(cat sh.tar) && same sh back && ctl 2 restore rich sh.tar
}

# ---- What is refused ----

# refused ARCHIVE TEXT: and nothing is made
refused() {
	rm -rf none && ctl 1 restore none "$1" && complained "$2" && [ ! -e none ]
}

# An archive in the order that a directory on disk happens to have is put in order by unpacking it.
orders_and_gaps() {
	rm -rf t && mkdir -p t/s && for i in 0 1 2 3; do echo $i >t/s/0000000000000000000$i || return; done && tar -cf t.tar t/s/00000000000000000000 t/s/00000000000000000002 t/s/00000000000000000001 &&
		refused t.tar "stream 's': entry 1 comes after 2: entries must come in the order" && rm -rf none && ctl 1 restore none < <(cat t.tar) && complained 'entries 1 to 1 are missing' &&
		rm t/s/*1 && tar --sort=name -cf t.tar t && refused t.tar 'entries 1 to 1 are missing' && refused t 'entries 1 to 1 are missing' && ctl 0 restore --allow-gaps none t &&
		printed '3 entries appended, 0 were there, 1 is lost, 0 checkpoints made, 0 were there' && ctl 1 cat none s && said '0\n2\n3\n' && sound none && rm -rf none &&
		tar -cf t.tar t/s/00000000000000000002 t/s/00000000000000000003 && ctl 0 restore none t.tar && ctl 0 ls --json none && json '(d["streams"][0]["first_id"], d["streams"][0]["next_id"]) == (2, 4)' &&
		tar --sort=name -cf t.tar t && ctl 1 restore --allow-gaps none t.tar && complained "entry 0 is older than what the store has: that begins with 2"
}

# Through a pipe, the entry that comes again while the first still waits to be appended is compared with it.
twice() {
	rm -rf none p && mkdir -p p/s && echo 0 >p/s/00000000000000000000 && tar -cf one.tar p && echo 1 >p/s/00000000000000000000 && tar -cf other.tar p && cat one.tar >both.tar &&
		tar --concatenate -f both.tar one.tar && ctl 0 restore none < <(cat both.tar) && printed '1 entry appended, 1 was there, 0 checkpoints made, 0 were there' && ctl 0 cat none s && said '0\n' && rm -rf none &&
		tar --concatenate -f both.tar other.tar && ctl 1 restore none < <(cat both.tar) && complained "entry 0 is there already, and is another" && ctl 0 cat none s && said '0\n'
}

# The first one that differs is named.
other_entries() {
	rm -rf none && ctl 0 restore --allow-gaps none t && for what in "2 XX" "3 4"; do
		cp -r t changed && echo "${what#* }" >"changed/s/0000000000000000000${what%% *}" && ctl 1 restore --allow-gaps none changed && complained "stream 's': entry ${what%% *} is there already, and is another" && rm -r changed || return
	done
	complained 'both have 2 bytes, the one at offset 0' && rm -rf big && mkdir -p big/s && head -c 9000000 /dev/zero >big/s/00000000000000000000 && rm -rf none && ctl 0 restore none big &&
		ctl 0 restore none big && printf X | dd of=big/s/00000000000000000000 bs=1 seek=7654321 conv=notrunc status=none && ctl 1 restore none big && complained 'the one at offset 7654321'
}

foreign() {
	rm -rf none && cp -r t odd && echo x >odd/README && echo x >odd/s/readme && mkdir odd/s/sub && ln -s x odd/s/00000000000000000004 && echo x >odd/s/5 && ctl 1 restore --allow-gaps none odd &&
		complained "'README' is no part of a store" && complained "'s/readme'" && complained "'s/00000000000000000004'" && complained "'s/5'" && complained '4 files are left out' && ctl 1 cat none s && said '0\n2\n3\n' &&
		tar --sort=name -cf odd.tar odd && ctl 1 restore --allow-gaps none odd.tar && complained '4 files are left out' && rm -rf odd && mkdir -p odd/s && echo x >odd/s/00000000000000000000 &&
		ln odd/s/00000000000000000000 odd/s/00000000000000000001 && tar --sort=name -cf odd.tar odd && rm -rf none && ctl 1 restore none odd.tar && complained "00000000000000000001' is no part" &&
		tar --sort=name -cf odd.tar t odd && refused odd.tar "'odd/s/00000000000000000000' is not below 't/'" && mkdir -p e/none && refused e/none 'there are no streams' ; rm -rf odd odd.tar e
	[ "$(grep -c 'no streams' err)" = 1 ]
}

# Every archive that is cut short is told from a whole one, whatever its length; so is one with a byte that is not as it was.
broken_archives() {
	local size at

	rm -rf small && for i in 1 2 3; do echo $i | add small s || return; done && "$walctl" checkpoint create small c && "$walctl" export --to tar small >small.tar && size=$(stat -c %s small.tar) &&
		printf '1\n2\n3\n' >text && echo '3 entries appended, 0 were there, 1 checkpoint made, 0 were there' >whole && "$walctl" export --to lines small s | cmp - text &&
		for ((at = 0; at < size - 1024; at += 512)); do
			head -c $at small.tar >cut.tar && rm -rf none && "$walctl" restore none cut.tar >out 2>err
			[ $? = 1 ] && [ -s err ] || { cmp out whole && "$walctl" cat none s | cmp - text && "$walctl" checkpoint list none | grep -q ' c$'; } || { echo "# cut at $at"; return 1; }
		done
	for text in '' 'not an archive' "$(head -c 3000 /dev/zero | tr '\0' x)"; do printf '%s' "$text" >cut.tar && refused cut.tar cut.tar || return; done
	ctl 1 restore none nowhere.tar && complained "nowhere.tar: No such file" && [ ! -e none ]
}

broken_texts() {
	local text

	rm -rf t2 && mkdir -p t2/.checkpoints t2/s && echo x >t2/s/00000000000000000000 || return
	for text in '' created $'created x\n' $'created 2026-11-20T09:00:00.123456789Z' $'created 2026-13-20T09:00:00.123456789Z\n' $'created 2026-11-20T09:00:00.123456789Z\ns\n' \
		$'created 2026-11-20T09:00:00.123456789Z\ns 18446744073709551616\n' $'created 2026-11-20T09:00:00.123456789Z\n.s 1\n' $'created 2026-11-20T09:00:00.123456789Z\na%00b 1\n'; do
		printf '%s' "$text" >t2/.checkpoints/c && rm -rf none && ctl 1 restore none t2 && complained "'.checkpoints/c' is no checkpoint: line" && ctl 0 cat none s && said 'x\n' || return
	done
	printf 'created 2026-11-20T09:00:00.123456789Z\ns 2\n' >t2/.checkpoints/c && rm -rf none && ctl 1 restore none t2 &&
		complained "checkpoint 'c': it covers entries of stream 's' below id 2, the store has those below 1" && printf 'created 2026-11-20T09:00:00.123456789Z\nt 2\n' >t2/.checkpoints/c && rm -rf none &&
		ctl 1 restore none t2 && complained "stream 't' below id 2" && printf 'created 2026-11-20T09:00:00.123456789Z\ns 1\n' >t2/.checkpoints/c && rm -rf none && ctl 0 restore none t2 &&
		ctl 0 checkpoint show none c && printed 'checkpoint c' 'created 2026-11-20T09:00:00.123456789Z' 's 1' && rm t2/.checkpoints/c &&
		for text in '' $'walfs export 2\n' $'walfs export 1\nshards\n' $'walfs export 1\nshards 65536\n' $'walfs export 1\nstream s 0 0\n' $'walfs export 1\nstream .s 0 0 1\n' \
			$'walfs export 1\nstream s 2 0 1\n' $'walfs export 1\nstream s 0 0 1\nstream s 0 0 1\n' $'walfs export 1\ncheckpoint x 6\n' $'walfs export 1\nwhat 1\n' $'walfs export 1\ncheckpoints x\n' $'walfs export 1\nshards 0'; do
			printf '%s' "$text" >t2/.walfs && refused t2 ".walfs': line" || return
		done
}

# What is intact of a damaged store comes, and goes back into a store with the same ids where the gap is wanted.
damaged() {
	rm -rf bad back && seq 100 130 | append bad s --segment-entries=10 && "$walctl" checkpoint create bad c && at=$(grep -abo 113 bad/s/*10.wal | cut -d : -f 1) &&
		printf X | dd of=bad/s/00000000000000000010.wal bs=1 seek="$at" conv=notrunc status=none && ctl 1 export --to lines bad s && complained 'entry 13 damaged' && seq 100 130 | grep -v 113 | cmp - out &&
		ctl 1 export --to jsonl bad && [ "$(wc -l <out)" = 30 ] && ctl 1 export --to tar bad && complained 'entry 13 damaged' && mv out bad.tar && ctl 1 restore back bad.tar && complained 'entries 13 to 13 are missing' &&
		ctl 0 restore --allow-gaps back bad.tar && ctl 1 cat -n back s && seq 100 130 | grep -v 113 | cmp - out && ctl 0 checkpoint list back && grep -q ' c$' out && sound back &&
		head -c 9000000 /dev/urandom | add bad big && printf XXXX | dd of="$(echo bad/big/*.wal)" bs=1 seek=5000000 conv=notrunc status=none &&
		ctl 1 export --to tar bad big && complained "stream 'big': entry 0 damaged" && ! tar -tf out | grep -q big/0
}

# ---- Killed ----

# begun STORE STREAM: there are entries
begun() {
	"$walctl" ls "$1" "$2" 2>/dev/null | grep -q '^ *1 '
}

# A restore that is killed in the middle, and run again.
killed() {
	local pid

	rm -rf many back && seq -f %12000.0f 1000 | append many s &&
		seq 10 | append many t && "$walctl" checkpoint create many c && "$walctl" export --to tar many >many.tar && rm -f fifo && mkfifo fifo || return
	"$walctl" restore back fifo >out 2>err &
	pid=$!
	exec 8>fifo && head -c 9000000 many.tar >&8 && within begun back s && ! "$walctl" ls back s | grep -q '^ *999 '
	local found=$?
	kill -9 $pid
	wait $pid 2>/dev/null
	exec 8>&-
	rm fifo
	[ $found = 0 ] && ctl 0 restore back many.tar && grep -Eq '^[0-9]+ entries appended, [1-9][0-9]* were there, 1 checkpoint made' out && same many back && sound back
}

# ---- As text ----

as_lines() {
	rm -rf lines && printf 'one\n' | add lines s && printf two | add lines s && : | add lines s && ctl 0 export --to lines lines s &&
		said 'one\ntwo\n\n' && silent && printf 'a\nb' | add lines s && printf '\n\n' | add lines s && ctl 1 export --to=lines lines s -o text &&
		[ "$(<text)" = $'one\ntwo\n\na\nb' ] && complained '2 entries are several lines, the first one is 3' && ctl 2 export --to lines lines && ctl 1 export --to lines lines nope
}

as_json() {
	rm -rf j && printf 'a "b" \\ \n\t\001\177 \xc3\xbc \xf0\x9f\x98\x80' | add j $'bad\xff' && for bytes in '' '\xff' 'x\xc3' '\xed\xa0\x80' '\xc0\x80' '\xf4\x90\x80\x80' '\xe2\x82' 'fo\xffob'; do
		printf '%b' "$bytes" | add j $'bad\xff' || return
	done
	head -c 2500000 /dev/urandom >noise && add j random <noise && yes $'\xc3\xbc\xe2\x82\xac' | head -c 3000000 >utf8 && add j random <utf8 &&
		ctl 0 export --to jsonl j && python3 - <<'END'
import base64, json
rows = [json.loads(line) for line in open("out", encoding="utf-8")]
data = [row["data"].encode() if "data" in row else base64.b64decode(row["data_base64"], validate=True) for row in rows]
assert data[:9] == [b'a "b" \\ \n\t\001\177 \xc3\xbc \xf0\x9f\x98\x80', b"", b"\xff", b"x\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"fo\xffob"], data[:9]
assert ["data" in row for row in rows] == [True, True] + [False] * 8 + [rows[10].get("data") is not None]
assert data[9] == open("noise", "rb").read() and data[10] == open("utf8", "rb").read()
assert rows[0]["stream"] == "bad\\xff" and rows[0]["stream_hex"] == "626164ff" and [row["id"] for row in rows] == [*range(9), 0, 1]
assert all(row["time"].endswith("Z") and row["time_ns"] > 0 for row in rows)
END
}

# ---- Usage ----

wrong_usage() {
	ctl 2 export rich && complained '--to: expected tar, files, lines or jsonl' && ctl 2 export --to zip rich && ctl 2 export --to files rich && complained '--output=DIR' && ctl 2 export --to tar &&
		ctl 2 export --to tar rich orders more && ctl 1 export --to tar nowhere && ctl 1 export --to tar rich nope && said '' && ctl 2 export --to tar --after=- --from-id=1 rich orders &&
		ctl 2 restore && ctl 2 restore a b c && ctl 2 restore --from x a b && ctl 2 restore --state a b && ctl 1 export --to tar --after=nowhere rich &&
		ctl 1 export --to tar -o nowhere/x rich && [ ! -e nowhere ] && ctl 0 help export && grep -q -- --from-id out && ctl 0 restore --help && grep -q -- --allow-gaps out && ctl 0 help copy
}

output_errors() {
	local to

	for to in tar jsonl; do
		"$walctl" export --to $to rich >/dev/full 2>err
		[ $? = 3 ] && complained 'No space left' && [ "$(wc -l <err)" = 1 ] || return
	done
	"$walctl" export --to jsonl rich 2>err | head -n 1 >out && [ "${PIPESTATUS[0]}" = 0 ] && silent && { "$walctl" export --to tar rich 2>err; echo $? >code; } | head -c 1000 >out && [ "$(<code)" = 3 ]
}

held_by_another() {
	local found=1

	rm -rf held && seq 3 | append held s && "$walctl" export --to tar held >held.tar && hold held s || return
	ctl 3 restore held held.tar && complained "open by pid $holder" && ctl 0 export --to lines held s && said '1\n2\n3\n' && found=0
	let_go
	return $found
}

make_rich || { echo "Bail out! the store can't be made"; exit 1; }
check "export to an archive, and restore" by_archive
check "restored again, and unpacked by tar" by_archive_again
check "compressed archives" compressed
check "export to files, and restore" by_files
check_mounted "copies of a mount" mounted_copies
if [ -d plain ]; then
	check "restore from cp -a, rsync and tar of a mount" by_copies
	check "restore from GNU's format" by_gnu_tar
	check "restore from .at/NAME" of_a_checkpoint
	check "restore of some streams" some_streams
else
	"$walctl" checkpoint rm rich "$long_id" && cp -r rich plain
fi
check "one stream" one_stream
check "ranges of ids" ranges
check "a stream in parts" by_parts
check "as of a checkpoint" of_a_checkpoint_exported
check "only what another store lacks" incremental
check "only what another store lacks: refused" incremental_refuses
check "shards" sharded
check "ids out of order, and missing" orders_and_gaps
check "entries that are there and others" other_entries
check "things that are no part of a store" foreign
check "archives cut short" broken_archives
check "texts that are none" broken_texts
check "a damaged store" damaged
check "an entry that comes twice" twice
check "a restore that is killed" killed
check "as lines" as_lines
check "as JSON" as_json
check "wrong usage" wrong_usage
check "output errors" output_errors
check "a store that is open elsewhere" held_by_another
finish
