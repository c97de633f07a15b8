#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# walctl on a store that is mounted: what reads works, what writes says who has it.
. "$(dirname "$0")/common.sh"

fill() {
	mkdir "$mnt/orders" "$mnt/empty"
	echo "two apples" >"$mnt/orders/new"
	echo "one pear" >"$mnt/orders/new"
}

cat_agrees() {
	[ "$("$WALCTL" cat "$store" orders 0)" = "two apples" ]
	[ "$("$WALCTL" cat "$store" orders 1)" = "one pear" ]
	"$WALCTL" cat "$store" orders | cmp - <(cat "$mnt"/orders/0*)
	gives 1 "$WALCTL" cat "$store" orders 2
	echo "a plum" >"$mnt/orders/new"
	[ "$("$WALCTL" cat "$store" orders 2)" = "a plum" ]
}

ls_and_stat_agree() {
	"$WALCTL" ls "$store" --json >"$work/ls"
	"$WALCTL" stat "$store" orders --json >"$work/stat"
	python3 - "$work/stat" <<'END'
import json, sys
d = json.load(open(sys.argv[1]))
text = json.dumps(d)
print(text)
d = d[0] if isinstance(d, list) else d
d = d.get("streams", [d])[0] if "entries" not in d else d
assert d["entries"] == 3 and d["next_id"] == 3, d
assert d["payload_bytes"] == len("two apples\none pear\na plum\n"), d
END
	grep -q '"orders"' "$work/ls"
	grep -q '"empty"' "$work/ls"
}

writing_is_refused() {
	local verb

	for verb in "append $store orders" "append $store made --create" "rotate $store orders" "sync $store"; do
		# shellcheck disable=SC2086 # words
		gives 3 "$WALCTL" $verb >"$work/out" 2>&1 <<<x
		cat "$work/out"
		grep -qw "$(walfs_pid)" "$work/out"
	done
	s=$mnt/orders
	has_entries 3
	[ ! -e "$mnt/made" ]
}

what_walctl_appends_is_mounted() {
	unmount
	printf 'a\nb\nc\n' | "$WALCTL" append "$store" orders - --batch
	: | "$WALCTL" append "$store" orders
	mount_store
	[ "$(cat "$mnt/orders/3" "$mnt/orders/4" "$mnt/orders/5")" = abc ]
	[ "$(stat -c %s "$mnt/orders/6")" -eq 0 ]
	[ -z "$(cat "$mnt/orders/6")" ]
	# times of a batch's entries differ too
	[ "$(stat -c %y "$mnt/orders/3" "$mnt/orders/4" "$mnt/orders/5" | sort -u | wc -l)" -eq 3 ]
}

mount_at_start
check "fill" fill
check "cat" cat_agrees
check "ls, stat" ls_and_stat_agree
check "append, rotate and sync name the pid" writing_is_refused
check "what walctl appends" what_walctl_appends_is_mounted
unmount_at_end
