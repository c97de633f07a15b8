#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# What the kernel remembers: never that a name is missing, always what an entry says. The cases that count requests mount with -d, which shows each of them.
. "$(dirname "$0")/common.sh"

caching() {
	python3 -S "$here/caching.py" "$@"
}

# A stream that was looked for before it was made, in all ways; and that goes and comes again.
streams_appear_and_go() {
	local i path=$mnt/appears

	for i in 1 2 3; do
		refused ENOENT stat "$path"
		refused ENOENT stat "$path/new"
		refused ENOENT open-read "$path/0"
		refused ENOENT rmdir "$path"
		mkdir "$path"
		works stat "$path"
		[ "$(ls "$path")" = new ]
		# shellcheck disable=SC2010
		ls "$mnt" | grep -qx appears
		refused EEXIST mkdir "$path"
		rmdir "$path"
	done
	refused ENOENT stat "$path"
	# shellcheck disable=SC2010
	fails grep -qx appears <(ls "$mnt")
}

checkpoints_appear_and_go() {
	local i path=$mnt/.checkpoints/appears

	new_stream
	for i in 0 1 2; do
		refused ENOENT stat "$path"
		refused ENOENT stat "$mnt/.at/appears"
		refused ENOENT stat "$mnt/.at/appears/case-$number/0"
		echo "$i" >"$s/new"
		touch "$path"
		works stat "$path"
		[ "$(cat "$mnt/.at/appears/case-$number/$i")" = "$i" ]
		refused ENOENT stat "$mnt/.at/appears/case-$number/$((i + 1))"
		[ "$(readlink "$mnt/.checkpoints/HEAD")" = appears ]
		grep -q "^case-$number $((i + 1))\$" "$path"
		rm "$path"
	done
	refused ENOENT stat "$path"
}

# Entries with names in full and in short, in files of many segments.
pruned_entries_go_away() {
	local first

	new_stream
	seq 200 | while read -r _; do head -c 500 /dev/zero >"$s/new"; done
	# all of it is remembered: by name, by listing, by content
	cat "$s"/0* >/dev/null
	cat "$s/3" "$s/.first" "$s/.log" >/dev/null
	ls -l "$s" >/dev/null
	exec 7<"$s/$(entry 1)" 8<"$s/$(entry 199)"
	echo 150 >"$s/.prune"
	first=$(readlink "$s/.first")
	[ "$first" \> "$(entry 50)" ]
	refused ENOENT stat "$s/$(entry 0)"
	refused ENOENT stat "$s/3"
	refused ENOENT open-read "$s/$(entry 3)"
	refused ENOENT open-read "$s/3"
	[ "$(find "$s" -name '0*' | sort | head -n 1)" = "$s/$first" ]
	[ "$(find "$s" -name '0*' -size -501c | wc -l)" -eq $((200 - 10#$first)) ]
	[ "$(wc -c <"$s/.log")" -eq $(((200 - 10#$first) * 500)) ]
	[ "$(cat "$s"/0* | wc -c)" -eq $(((200 - 10#$first) * 500)) ]
	cat <&8 | cmp - <(head -c 500 /dev/zero)
	exec 7<&- 8<&-
}

# Requests of that kind that -d has shown so far.
requests() {
	grep -c "opcode: $1 " "$log" || true
}

# asks KIND NUMBER COMMAND…: for how many of them the command makes the kernel ask
asks() {
	local kind=$1 expected=$2 before

	shift 2
	before=$(requests "$kind")
	"$@" >/dev/null
	[ $(("$(requests "$kind")" - before)) -eq "$expected" ]
}

content_is_remembered() {
	new_stream
	head -c 300000 /dev/urandom >"$work/content"
	cat "$work/content" >"$s/new"
	cmp "$s/0" "$work/content"
	asks READ 0 cmp "$s/0" "$work/content"
	asks READ 0 cat "$s/0" "$s/$(entry 0)"
	asks READ 0 sha256sum "$s/$(entry 0)"
	caching in_core "$s/0"
	# by another name for the same
	touch "$mnt/.checkpoints/c"
	asks READ 0 cmp "$mnt/.at/c/case-$number/0" "$work/content"
	# new and the views of what grows are another thing
	asks READ 1 cat "$s/new"
}

names_and_attributes_are_remembered() {
	new_stream
	echo x >"$s/new"
	stat "$s/$(entry 0)"
	asks LOOKUP 0 stat "$s/$(entry 0)"
	asks GETATTR 0 stat "$s/$(entry 0)"
	asks LOOKUP 1 fails stat "$s/$(entry 1)"
	asks LOOKUP 1 fails stat "$s/$(entry 1)"
	echo x >"$s/new"
	asks LOOKUP 1 stat "$s/$(entry 1)"
	asks LOOKUP 0 stat "$s/$(entry 1)"
}

# The listing brings what would be asked for next.
listing_with_attributes() {
	new_stream
	caching fill "$s" 3000
	# shellcheck disable=SC2012 # ls is what is tested
	asks LOOKUP 0 ls -U "$s"
	asks LOOKUP 0 find "$s" -name '0*' -size -3c
	asks GETATTR 0 stat "$s/$(entry 2999)"
}

# Of many it does so when they are asked for: ls -l asks for each name as it reads them.
long_listing_with_attributes() {
	local before

	new_stream
	seq 40000 >"$s/.lines"
	before=$(requests LOOKUP)
	# shellcheck disable=SC2012
	[ "$(ls -lU "$s" | awk '$5 == 5 || $5 == 6' | wc -l)" -gt 30000 ]
	[ $(("$(requests LOOKUP)" - before)) -lt 1000 ]
	before=$(requests LOOKUP)
	[ "$(find "$s" -name '0*' -size -2 | wc -l)" -eq 40000 ]
	[ $(("$(requests LOOKUP)" - before)) -lt 10 ]
}

in_another_process() {
	new_stream
	caching processes "$s"
}

inode_numbers() {
	(cd "$mnt" && find . -printf '%i %p\n' | sort) >"$work/inodes"
	(cd "$mnt" && stat -c '%i %n' .checkpoints .checkpoints/* .at .at/c .at/c/* case-*/.log case-*/.first) >>"$work/inodes" 2>/dev/null || true
	remount
	(cd "$mnt" && find . -printf '%i %p\n' | sort) >"$work/again"
	(cd "$mnt" && stat -c '%i %n' .checkpoints .checkpoints/* .at .at/c .at/c/* case-*/.log case-*/.first) >>"$work/again" 2>/dev/null || true
	diff "$work/inodes" "$work/again"
	# not one number for two files
	[ -z "$(find "$mnt" -printf '%i\n' | sort | uniq -d)" ]
}

mount_at_start segment_size=4K
check "streams that were missing appear, and go" streams_appear_and_go
check "checkpoints that were missing appear, and go" checkpoints_appear_and_go
check "entries appear to every process at once" in_another_process
check "pruned entries go away" pruned_entries_go_away
check "mount with -d" remount debug
check "content is remembered" content_is_remembered
check "names and attributes are remembered" names_and_attributes_are_remembered
check "a listing with attributes" listing_with_attributes
check "a long listing with attributes" long_listing_with_attributes
check "inode numbers stay over a remount" inode_numbers
unmount_at_end
