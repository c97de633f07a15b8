#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# shellcheck disable=SC2086 # what is not quoted has no blanks
#
# walctl checkpoint, prune, route, init --shards and append --key: test_walctl_checkpoint.sh WALCTL [WALFS].
. "$(dirname "$0")/lib/walctl_common.sh"
export LC_ALL=C

time='20[0-9]{2}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]\.[0-9]{9}Z'

# make STORE: "s" with the ids 0 … 24 in segments of ten, "t" with one
make() {
	rm -rf "$1"
	"$walctl" init "$1" && seq 100 124 | "$walctl" append --create --lines --segment-entries=10 "$1" s >/dev/null &&
		echo other | "$walctl" append --create "$1" t >/dev/null
}

# add STORE STREAM COUNT
add() {
	seq "$3" | "$walctl" append --create --lines --segment-entries=10 "$1" "$2" >/dev/null
}

# names NAME…: the store st has just these checkpoints, in this order, and HEAD names the last
names() {
	local expected=() name

	for name in "$@"; do
		expected+=("$time  [-*]     $name")
	done
	ctl 0 checkpoint list st && printed 'CREATED +HEAD  NAME' "${expected[@]}" && [ "$(grep -c "Z  \*" out)" = $(($# > 0)) ] &&
		{ [ $# = 0 ] || tail -n 1 out | grep -q 'Z  \*'; }
}

create_and_show() {
	make st && ctl 0 checkpoint create st before && said '' && silent &&
		ctl 0 checkpoint show st before && printed 'checkpoint before' "created $time" 's 25' 't 1' && silent && cp out before &&
		add st s 5 && add st u 1 && ctl 0 checkpoint create st after &&
		ctl 0 checkpoint show st after && printed 'checkpoint after' "created $time" 's 30' 't 1' 'u 1' && cp out after &&
		ctl 0 checkpoint show st && cmp out after && ctl 0 checkpoint show st before && cmp out before
}

list_in_order() {
	make st && names && for name in b a c; do ctl 0 checkpoint create st $name || return 1; done && names b a c &&
		ctl 0 checkpoint create st b && names a c b
}

list_and_show_json() {
	make st && ctl 0 checkpoint list --json st && json 'd == {"store": "st", "checkpoints": []}' &&
		ctl 0 checkpoint create st a && ctl 0 checkpoint create st 'b c/d' && ctl 0 checkpoint list --json st &&
		json '[(c["id"], c["id_hex"], c["head"]) for c in d["checkpoints"]] == [("a", "61", False), ("b%20c%2Fd", b"b c/d".hex(), True)]' &&
		json 'd["checkpoints"][0]["created_ns"] < d["checkpoints"][1]["created_ns"] and d["checkpoints"][0]["created"].endswith("Z")' &&
		ctl 0 checkpoint show --json st a && json 'd["id"] == "a" and d["id_hex"] == "61" and isinstance(d["created_ns"], int)' &&
		json 'd["streams"] == [{"stream": "s", "next_id": 25}, {"stream": "t", "next_id": 1}]'
}

none_there() {
	make st && ctl 1 checkpoint show st && complained "there is no checkpoint" && ctl 1 checkpoint show st nope && complained "no checkpoint 'nope'" &&
		ctl 1 checkpoint rm st nope && complained "no checkpoint 'nope'" && ctl 0 checkpoint compact st --keep 3 && said '0 checkpoints removed, 0 kept\n' &&
		ctl 1 prune st --checkpoint nope && complained "no checkpoint 'nope'" && ctl 1 checkpoint create nowhere x && ctl 1 checkpoint list nowhere &&
		[ ! -e nowhere ]
}

moved_or_exclusive() {
	make st && ctl 0 checkpoint create st x && add st t 4 && ctl 3 checkpoint create st x --exclusive && complained "there is a checkpoint 'x' already" &&
		ctl 0 checkpoint show st x && grep -qx 't 1' out && ctl 0 checkpoint create st x && ctl 0 checkpoint show st x && grep -qx 't 5' out && names x &&
		ctl 0 checkpoint create --exclusive st y && names x y
}

empty_store() {
	rm -rf st && ctl 0 init st && ctl 0 checkpoint create st x && ctl 0 checkpoint show st && printed 'checkpoint x' "created $time"
}

# roundtrip TYPED PRINTED HEX: a checkpoint made by the first is listed as the second, and is found and removed by that
roundtrip() {
	ctl 0 checkpoint create st -- "$1" && ctl 0 checkpoint list --json st && [[ $(<out) == *"\"id_hex\": \"$3\","* ]] &&
		ctl 0 checkpoint list st && [ "$(tail -n 1 out | cut -d ' ' -f 8-)" = "$2" ] && ctl 0 checkpoint show st -- "$2" &&
		[ "$(head -n 1 out)" = "checkpoint $2" ] && ctl 0 checkpoint create st -- "$2" && ctl 0 checkpoint rm st -- "$2" && names
}

# shellcheck disable=SC1003 # a backslash is meant
ids_of_any_bytes() {
	make st && roundtrip plain plain 706c61696e && roundtrip 'a/b' 'a%2Fb' 612f62 && roundtrip '%00%01%02%ff' '%00%01%02%FF' 000102ff &&
		roundtrip $'new\nline' 'new%0Aline' 6e65770a6c696e65 && roundtrip .hidden %2Ehidden 2e68696464656e && roundtrip a.b a.b 612e62 &&
		roundtrip '100%' '100%' 31303025 && roundtrip '%2541' '%2541' 253431 && roundtrip '%4g' '%4g' 253467 && roundtrip '%%41' '%A' 2541 &&
		roundtrip '%' '%' 25 && roundtrip HEAD %48EAD 48454144 && roundtrip HEADS HEADS 4845414453 && roundtrip $'\xc3\xbc' '%C3%BC' c3bc &&
		roundtrip 'two words' 'two%20words' 74776f20776f726473 && roundtrip -dash -dash 2d64617368 && roundtrip 'q"\' 'q"\' 71225c
}

ids_of_any_length() {
	local name

	make st && name=$(printf 'n%.0s' {1..65535}) && roundtrip "$name" "$name" "$(printf '6e%.0s' {1..65535})" && ctl 2 checkpoint create st "${name}n" &&
		complained 'expected 1 to 65535 bytes, found 65536' && ctl 2 checkpoint create st '' && complained 'found 0' && ctl 2 checkpoint show st '' &&
		ctl 2 checkpoint rm st '' && ctl 2 prune st --checkpoint= && names
}

odd_stream_names() {
	local name

	rm -rf st && ctl 0 init st || return 1
	for name in 'with space' $'tab\t' $'\xff' 'grün' '100%' 'back\slash' $'\xc2\x9b'; do
		echo x | "$walctl" append --create st "$name" >/dev/null || return 1
	done
	ctl 0 checkpoint create st x && ctl 0 checkpoint show st && tail -n +3 out | diff - <(printf '%s 1\n' '100%25' 'back\slash' 'grün' 'tab%09' 'with%20space' '%C2%9B' '%FF') &&
		ctl 0 checkpoint show --json st && json '[s["stream_hex"] for s in d["streams"] if "stream_hex" in s] == ["ff"]'
}

removing() {
	make st && for name in a b c d; do ctl 0 checkpoint create st $name || return 1; done && ctl 0 checkpoint rm st b && said '' && silent && names a c d &&
		ctl 1 checkpoint rm st nope a neither c && complained "no checkpoint 'nope'" && complained "no checkpoint 'neither'" && names d &&
		ctl 0 checkpoint create st e && ctl 0 checkpoint rm st e && names d && ctl 0 checkpoint rm st d && names &&
		ctl 1 checkpoint show st && ctl 0 cat -n st s && seq 100 124 | cmp - out
}

compacting() {
	make st && for name in a b c d e; do ctl 0 checkpoint create st $name || return 1; done && ctl 0 checkpoint compact st --keep 4 &&
		said '1 checkpoint removed, 4 kept\n' && names b c d e && ctl 0 checkpoint compact --keep=9 st && said '0 checkpoints removed, 4 kept\n' &&
		ctl 0 checkpoint compact --json --keep=1 st && json 'd == {"store": "st", "removed": 3, "kept": 1}' && names e && ctl 0 checkpoint show st e
}

compacting_wrong() {
	make st && ctl 0 checkpoint create st a && ctl 2 checkpoint compact st && complained '--keep=N is missing' &&
		for keep in 0 -1 x '' 18446744073709551616; do ctl 2 checkpoint compact st --keep="$keep" && complained 'expected a number above 0' || return 1; done &&
		ctl 2 checkpoint compact st 3 && names a
}

pruning_a_stream() {
	make st && ctl 0 prune st s 10 && said '1 segment of 1 stream dropped\n' && silent && ctl 0 cat -n st s && seq 110 124 | cmp - out &&
		ctl 1 cat st s 3 && complained 'pruned' && ctl 0 prune st s 19 && said '0 segments of 0 streams dropped\n' &&
		ctl 0 prune st s 20 --json && json 'd == {"store": "st", "streams": 1, "segments": 1}' &&
		ctl 0 prune st s 18446744073709551615 && said '0 segments of 0 streams dropped\n' && ctl 0 cat -n st s && seq 120 124 | cmp - out &&
		ctl 0 rotate st s && ctl 0 prune st s 25 && said '1 segment of 1 stream dropped\n' && ctl 0 cat st s && said '' &&
		echo next | ctl 0 append st s && said '25\n' && ctl 0 verify -q st && ctl 0 cat st t && said 'other\n'
}

pruning_to_a_checkpoint() {
	make st && add st other 15 && ctl 0 checkpoint create st 'a b' && add st s 20 && add st later 35 && ctl 0 prune st --checkpoint 'a%20b' &&
		said '3 segments of 2 streams dropped\n' && ctl 0 ls st && grep -Eq '^s +20 +45 ' out && grep -Eq '^later +0 +35 ' out && grep -Eq '^other +10 +15 ' out &&
		ctl 0 prune --json --checkpoint='a b' st && json 'd == {"store": "st", "streams": 0, "segments": 0}' && ctl 0 checkpoint show st && ctl 0 verify -q st
}

pruning_wrong() {
	make st && ctl 0 checkpoint create st c && find st -name '*.wal' | sort >before &&
		ctl 2 prune st && complained 'too few' && ctl 2 prune st s && complained 'too few' && ctl 2 prune st s 1 2 && complained 'too many' &&
		for id in x '' -- 1x 0x10 18446744073709551616 ' 1'; do ctl 2 prune st s -- "$id" || return 1; done &&
		ctl 2 prune st s 1 --checkpoint c && complained 'every stream is pruned' && ctl 1 prune st nothing 1 && complained "no stream 'nothing'" &&
		ctl 1 prune nowhere s 1 && [ ! -e nowhere ] && find st -name '*.wal' | sort | diff before -
}

looking_changes_nothing() {
	make st && ctl 0 checkpoint create st a && ctl 0 checkpoint create st b && tree st >before && ctl 0 checkpoint show st && ctl 0 checkpoint show --json st a &&
		ctl 0 checkpoint list st && ctl 0 stat st && ctl 1 route st key && tree st | diff before -
}

stat_of_the_store() {
	make st && ctl 0 stat st && grep -Eqx 'shards +none' out && grep -Eqx 'checkpoints +0' out && ! grep -q '^latest' out &&
		ctl 0 stat --json st && json '(d["shards"], d["checkpoints"]) == (0, 0) and "latest_checkpoint" not in d and len(d["streams"]) == 2' &&
		ctl 0 checkpoint create st a && ctl 0 checkpoint create st 'b c' && ctl 0 stat st && grep -Eqx 'checkpoints +2' out &&
		grep -Eqx "latest +b%20c, of $time" out && ctl 0 stat --json st && json 'd["checkpoints"] == 2 and d["latest_checkpoint"]["id_hex"] == b"b c".hex()' &&
		ctl 0 stat st s && ! grep -q checkpoints out && rm -rf sh && ctl 0 init --shards 3 sh && ctl 0 stat sh && grep -Eqx 'shards +3' out &&
		ctl 0 stat --json sh && json 'd["shards"] == 3'
}

shards_at_init() {
	rm -rf sh && ctl 0 init --shards 8 sh && said '' && silent && ctl 0 init sh && complained 'is a store already, with 8 shards' && ctl 0 init sh --shards=8 &&
		ctl 2 init --shards 4 sh && complained 8 && complained 4 && [ "$(wc -l <err)" = 1 ] && ctl 2 ls sh --shards=9 && ctl 0 ls sh --shards=8 &&
		make st && ctl 2 init --shards 4 st && complained 4 && ctl 0 stat --json st && json 'd["shards"] == 0' &&
		for shards in 65536 -1 x ''; do ctl 2 init --shards="$shards" new && [ ! -e new ] || return 1; done &&
		echo x | ctl 3 append --create sh more && complained shard && ctl 3 prune --shards=8 sh/shard_00 s 1
}

shards_keep_their_checkpoints() {
	rm -rf sh && ctl 0 init --shards 3 sh && add sh shard_01 4 && ctl 0 checkpoint create sh '%00bin' && ctl 0 checkpoint show sh &&
		printed 'checkpoint %00bin' "created $time" 'shard_00 0' 'shard_01 4' 'shard_02 0' && add sh shard_01 21 && ctl 0 checkpoint create sh b &&
		ctl 0 prune sh --checkpoint b && said '2 segments of 1 stream dropped\n' && ctl 0 verify -q sh && ctl 0 checkpoint show sh %00bin
}

# The shards of keys as the original gives them.
routing() {
	rm -rf sh && ctl 0 init --shards 8 sh && ctl 0 route sh '' a key1 user_123 user_1000 order:00000001 01234567 0123456789abcdef naïve-ключ && said \
		'5 shard_05\n4 shard_04\n2 shard_02\n3 shard_03\n5 shard_05\n2 shard_02\n6 shard_06\n5 shard_05\n2 shard_02\n' && silent &&
		ctl 0 route sh --hex 00ff10 2dd83b 2DD83B '' 61 && said '4 shard_04\n5 shard_05\n5 shard_05\n5 shard_05\n4 shard_04\n' &&
		ctl 0 route sh --json a $'\xff' && json 'd["shards"] == 8 and [k["key_hex"] for k in d["keys"]] == ["61", "ff"]' &&
		json 'd["keys"][0] == {"key": "a", "key_hex": "61", "shard": 4, "stream": "shard_04"}' &&
		ctl 0 route sh --json --hex 61 && json 'd["keys"] == [{"key_hex": "61", "shard": 4, "stream": "shard_04"}]' &&
		rm -rf sh && ctl 0 init --shards 16 sh && ctl 0 route sh user_1000 user_123 && said '13 shard_13\n3 shard_03\n'
}

routing_wrong() {
	rm -rf sh && ctl 0 init --shards 8 sh && ctl 2 route sh && ctl 2 route --hex sh 0 && complained "found '0'" && ctl 2 route --hex sh 0g && ctl 2 route --hex sh 61 'é' &&
		make st && ctl 1 route st a && complained 'is not sharded' && ctl 1 route nowhere a && [ ! -e nowhere ]
}

append_by_key() {
	rm -rf sh && ctl 0 init --shards 8 sh && echo one | ctl 0 append sh --key user_123 && said 'shard_03 0\n' && silent &&
		printf 'two\nthree' | ctl 0 append --lines sh --key=user_123 - && said 'shard_03 1\nshard_03 2\n' &&
		printf 'four\nfive\n' >lines && ctl 0 append --batch --key user_123 sh lines && said 'shard_03 3..4\n' &&
		printf zero | ctl 0 append --key 00ff10 --hex sh && said 'shard_04 0\n' && printf e | ctl 0 append --key= sh && said 'shard_05 0\n' &&
		ctl 0 cat -n sh shard_03 && said 'one\n\ntwo\nthree\nfour\nfive\n' && ctl 0 cat sh shard_04 && said zero && ctl 0 append sh shard_00 lines && said '0\n'
}

append_by_key_wrong() {
	make st && ctl 1 append st --key k </dev/null && complained 'is not sharded' && rm -rf sh && ctl 0 init --shards 2 sh &&
		ctl 2 append sh --key k lines more && complained "too many arguments from 'more' on" && ctl 2 append sh --key k --create lines && ctl 2 append sh --hex shard_00 lines &&
		complained '--hex needs --key' && ctl 2 append sh --key xyz --hex lines && ctl 2 append sh && complained 'too few' && ctl 0 ls --json sh &&
		json 'sum(s["entries"] for s in d["streams"]) == 0'
}

# Every verb that writes, on a store that is open and not mounted.
held_by_another() {
	local found=1

	make st && ctl 0 checkpoint create st a && hold st held || return 1
	ctl 3 checkpoint create st b && complained "walctl: st: open by pid $holder (" && ctl 3 checkpoint rm st a && complained "open by pid $holder" &&
		ctl 3 checkpoint compact st --keep 1 && complained "open by pid $holder" && ctl 3 prune st s 1 && complained "open by pid $holder" &&
		ctl 3 prune st --checkpoint a && complained "open by pid $holder" && ctl 3 repair st && complained "open by pid $holder" &&
		ctl 0 checkpoint show st a && ctl 0 checkpoint list st && ctl 0 stat st && silent && found=0
	let_go
	return $found && names a
}

output_errors() {
	make st && ctl 0 checkpoint create st a || return 1
	for command in "checkpoint show st" "checkpoint list st" "prune st s 10"; do
		# shellcheck disable=SC2086 # words
		"$walctl" $command >/dev/full 2>err
		[ $? -eq 3 ] && complained "No space left" && [ "$(wc -l <err)" = 1 ] || return 1
	done
}

fixture=${WALFS_FIXTURES:-${WALFS_FIXTURES_DEFAULT:-}}/ironwal/sharded

# What is intact of checkpoints.log is shown, and what is not is named; without HEAD the newest is the latest.
damaged() {
	make st && for name in a b c; do ctl 0 checkpoint create st $name || return 1; done && printf X | dd of=st/checkpoints.log bs=1 seek=15 conv=notrunc status=none &&
		names b c && complained 'checkpoints.log: offset 0: ' && ctl 1 checkpoint show st a && complained "no checkpoint 'a'" && rm st/HEAD && names b c &&
		ctl 0 checkpoint show st && grep -qx 'checkpoint c' out && ctl 0 checkpoint create st a && names b c a && silent
}

# A store of the original with shards, checkpoints and binary ids: read, continued, pruned.
original() {
	rm -rf orig && cp -r "$fixture/store" orig && chmod -R u+w orig && ctl 0 checkpoint list orig && printed 'CREATED +HEAD  NAME' \
		"$time  -     %00%01%02%FF" "$time  -     snapshot%2F4" "$time  \*     final" && ctl 0 checkpoint show orig %00%01%02%ff &&
		printed 'checkpoint %00%01%02%FF' "created $time" 'shard_00 141' 'shard_01 149' 'shard_02 163' 'shard_03 152' 'shard_04 134' 'shard_05 147' \
			'shard_06 161' 'shard_07 153' &&
		ctl 0 checkpoint show --json orig && json 'd["created_ns"] == 1795150527187172523' &&
		ctl 0 route orig user_400 k3 && said '3 shard_03\n6 shard_06\n' &&
		awk '!/^#|^hex:/ { print $1 }' "$fixture/KEYS.txt" | xargs "$walctl" route orig | awk '{ print $1 }' | diff - <(awk '!/^#|^hex:/ { print $2 }' "$fixture/KEYS.txt") &&
		awk '/^hex:/ { print substr($1, 5) }' "$fixture/KEYS.txt" | xargs "$walctl" route --hex orig | awk '{ print $1 }' | diff - <(awk '/^hex:/ { print $2 }' "$fixture/KEYS.txt") &&
		echo more | ctl 0 append orig --key user_400 && ctl 0 checkpoint create orig ours && ctl 0 checkpoint compact orig --keep 2 &&
		said '2 checkpoints removed, 2 kept\n' && ctl 0 prune orig --checkpoint final && ctl 0 verify -q orig
}

check "create and show" create_and_show
check "list, from the oldest to the newest" list_in_order
check "list and show in JSON" list_and_show_json
check "checkpoints that are not there" none_there
check "a name used again moves, or with --exclusive does not" moved_or_exclusive
check "a store without streams" empty_store
check "ids of any bytes" ids_of_any_bytes
check "ids of any length" ids_of_any_length
check "stream names of any bytes" odd_stream_names
check "rm" removing
check "compact" compacting
check "compact refuses" compacting_wrong
check "prune of a stream" pruning_a_stream
check "prune to a checkpoint" pruning_to_a_checkpoint
check "prune refuses" pruning_wrong
check "what looks changes nothing" looking_changes_nothing
check "stat" stat_of_the_store
check "init --shards" shards_at_init
check "checkpoints of a sharded store" shards_keep_their_checkpoints
check "route" routing
check "route refuses" routing_wrong
check "append --key" append_by_key
check "append --key refuses" append_by_key_wrong
check "a store that another process has" held_by_another
check "a damaged record, HEAD missing" damaged
check "output that cannot be written" output_errors
if [ -d "$fixture/store" ]; then
	check "a store of the original" original
else
	echo "ok $((number += 1)) - a store of the original # SKIP no '$fixture' (see WALFS_FIXTURES)"
fi
finish
