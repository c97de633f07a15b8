#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# A sharded store: links from keys to shards, the streams that are fixed, and the checkpoints of the original.
. "$(dirname "$0")/common.sh"

fixture=${WALFS_FIXTURES:-${WALFS_FIXTURES_DEFAULT:-}}/ironwal/sharded

links() {
	local long

	[ "$(readlink "$mnt/.shard/user_1")" = ../shard_04 ]
	[ "$(stat -c '%F %a %s' "$mnt/.shard/user_1")" = 'symbolic link 777 11' ]
	echo value >"$mnt/.shard/user_1/new"
	[ "$(cat "$mnt/shard_04/.last")" = value ]
	[ "$(cat "$mnt/.shard/user_1/.last")" = value ]
	[ "$(realpath "$mnt/.shard/user_1")" = "$mnt/shard_04" ]
	# the same key by other spellings
	[ "$(readlink "$mnt/.shard/%75ser%5f1")" = ../shard_04 ]
	[ "$(stat -c %i "$mnt/.shard/%75ser_1")" = "$(stat -c %i "$mnt/.shard/user_1")" ]
	long=$(printf 'k%.0s' {1..255})
	[[ "$(readlink "$mnt/.shard/$long")" =~ ^\.\./shard_0[0-7]$ ]]
	[[ "$(readlink "$mnt/.shard/ *$(printf '\377\n')")" =~ ^\.\./shard_0[0-7]$ ]]
	[[ "$(readlink "$mnt/.shard/new")" =~ ^\.\./shard_0[0-7]$ ]]
	refused ENAMETOOLONG stat "$mnt/.shard/${long}x"
}

directory() {
	[ "$(stat -c '%F %a' "$mnt/.shard")" = 'directory 555' ]
	[ "$(find "$mnt/.shard")" = "$mnt/.shard" ]
	[ "$(ls -a "$mnt/.shard")" = $'.\n..' ]
	[ "$(grep -v '^shard_0[0-7]$' <(ls -A "$mnt"))" = .checkpoints ]
	refused EPERM rmdir "$mnt/.shard"
	refused EPERM unlink "$mnt/.shard/user_1"
	refused EPERM symlink x "$mnt/.checkpoints/link"
	refused EEXIST create "$mnt/.shard/user_1"
	refused EEXIST mkdir "$mnt/.shard/user_1"
	refused EPERM rename "$mnt/.shard/a" "$mnt/.shard/b"
	stat -c '%i %y' "$mnt/.shard" "$mnt/.shard/user_1" >"$work/before"
	remount
	stat -c '%i %y' "$mnt/.shard" "$mnt/.shard/user_1" | diff "$work/before" -
}

streams_are_fixed() {
	refused EPERM mkdir "$mnt/orders"
	refused EPERM mkdir "$mnt/shard_08"
	refused EPERM rmdir "$mnt/shard_03"
	refused EEXIST mkdir "$mnt/shard_03"
	refused EINVAL mkdir "$mnt/.hidden"
	[ "$(find "$mnt" -mindepth 1 -maxdepth 1 -name 'shard_*' | wc -l)" -eq 8 ]
}

checkpoint_of_shards() {
	touch "$mnt/.checkpoints/x"
	[ "$(tail -n +2 "$mnt/.checkpoints/x" | cut -d ' ' -f 1 | tr '\n' ' ')" = "$(printf 'shard_%02d ' {0..7})" ]
	[ "$(awk '/^shard_04/ { print $2 }' "$mnt/.checkpoints/x")" -eq 1 ]
	echo a >"$mnt/shard_04/.rotate"
	echo x >"$mnt/.checkpoints/.prune"
	fails [ -e "$mnt/shard_04/0" ]
	remount
	[ "$(awk '/^shard_04/ { print $2 }' "$mnt/.checkpoints/x")" -eq 1 ]
	rm "$mnt/.checkpoints/x"
}

not_sharded() {
	refused ENOENT stat "$mnt/.shard"
	refused ENOENT stat "$mnt/.shard/key"
	refused EINVAL mkdir "$mnt/.shard"
	works mkdir "$mnt/orders"
	refused EPERM mkdir "$mnt/shard_00"
}

# Every key of the original goes where it went there.
routed_as_by_the_original() {
	python3 -S - "$fixture/KEYS.txt" "$mnt" <<'END'
import os, sys
keys, mnt = sys.argv[1:]
count = 0
for line in open(keys):
    if line[0] in "#@":
        continue
    key, shard, id = line.split()
    raw = bytes.fromhex(key[4:]) if key.startswith("hex:") else key.encode()
    name = b"".join(b"%%%02X" % b if b in b"/\0%." else bytes([b]) for b in raw)
    path = os.fsencode(mnt) + b"/.shard/" + name
    assert os.readlink(path) == b"../shard_%02d" % int(shard), line
    assert os.readlink(os.fsencode(mnt) + b"/.shard/" + b"".join(b"%%%02x" % b for b in raw)) == os.readlink(path), line
    if count % 50 == 0:
        assert os.path.isfile(path + b"/" + id.encode()), line
    count += 1
assert count >= 2000
END
}

checkpoints_of_the_original() {
	python3 -S - "$fixture/MANIFEST.txt" "$mnt/.checkpoints" <<'END'
import datetime, os, sys
manifest, c = sys.argv[1:]
wanted = {}
for line in open(manifest):
    if line.startswith("@checkpoint "):
        _, id, time, cuts = line.split()
        raw = bytes.fromhex(id[4:]) if id.startswith("hex:") else id.encode()
        name = b"".join(b"%%%02X" % b if b in b"/\0" else bytes([b]) for b in raw)
        wanted[name] = (int(time), [int(n) for n in cuts.split(",")])
last = name
c = os.fsencode(c)
assert set(os.listdir(c)) == set(wanted) | {b"HEAD"}, os.listdir(c)
assert os.readlink(c + b"/HEAD") == last
for name, (time, cuts) in wanted.items():
    st = os.stat(c + b"/" + name)
    seconds = datetime.datetime.fromtimestamp(time // 10**9, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")
    text = f"created {seconds}.{time % 10**9:09}Z\n" + "".join(f"shard_{i:02} {n}\n" for i, n in enumerate(cuts))
    assert open(c + b"/" + name).read() == text, name
    assert st.st_mtime_ns == time and st.st_size == len(text), name
END
}

binary_ids_are_removed() {
	local c=$mnt/.checkpoints

	[ "$(find "$c" -type f -printf '%f\n' | sort | head -n 1)" = "$(printf '%%00\001\002\377')" ]
	rm "$c/$(printf '%%00\001\002\377')"
	touch "$c/%00%ff"
	[ "$(readlink "$c/HEAD")" = "$(printf '%%00\377')" ]
	remount
	[ "$(find "$c" -type f | wc -l)" -eq 3 ]
	[ "$(readlink "$c/HEAD")" = "$(printf '%%00\377')" ]
	echo snapshot%2F4 >"$c/.prune"
	echo 1 >"$c/.compact"
	[ "$(find "$c" -type f | wc -l)" -eq 1 ]
}

check "mount with shards=8" mount_store shards=8
mountpoint -q "$mnt" || finish
check ".shard/KEY" links
check ".shard" directory
check "mkdir and rmdir: EPERM" streams_are_fixed
check "a checkpoint lists the shards" checkpoint_of_shards
check "unmount" unmount
rm -rf "$store"
check "mount of named streams" mount_store
check "no .shard" not_sharded
check "unmount" unmount
rm -rf "$store"
if [ -d "$fixture" ]; then
	cp -r "$fixture/store" "$store"
	chmod -R u+w "$store"
	check "mount of the original's, read-only" mount_store ro
	check "routing, read-only" routed_as_by_the_original
	check "checkpoints, read-only" checkpoints_of_the_original
	check "mount of the original's" remount
	check "routing" routed_as_by_the_original
	check "checkpoints" checkpoints_of_the_original
	check "ids of any bytes" binary_ids_are_removed
	check "unmount" unmount
else
	skip "a store of the original" "no '$fixture' (see WALFS_FIXTURES)"
fi
finish
