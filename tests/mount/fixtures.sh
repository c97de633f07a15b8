#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Every store that the original ironwal wrote mounts as it is, and every entry of its manifest is there. They are kept outside of the source tree:
# WALFS_FIXTURES says where, else WALFS_FIXTURES_DEFAULT.
. "$(dirname "$0")/common.sh"

fixtures=${WALFS_FIXTURES:-${WALFS_FIXTURES_DEFAULT:-}}
[ -d "$fixtures/ironwal" ] || skip_all "no stores of the original in '$fixtures' (see WALFS_FIXTURES)"

# matches MANIFEST: by reading each entry through the mount; and nothing else is listed
matches() {
	python3 -S - "$1" "$mnt" <<'END'
import os, sys, zlib
manifest, mnt = sys.argv[1:]
count, ids = 0, {}
for line in open(manifest):
    if line[0] in "#@":
        continue
    stream, id, size, crc = line.split()
    path = f"{mnt}/{stream}/{int(id):020}"
    data = open(path, "rb").read()
    assert len(data) == int(size) == os.stat(path).st_size, line
    assert zlib.crc32(data) == int(crc, 16), line
    ids.setdefault(stream, set()).add(int(id))
    count += 1
assert count > 0
for stream, wanted in ids.items():
    listed = {int(n) for n in os.listdir(f"{mnt}/{stream}") if n != "new"}
    assert listed == wanted, (stream, sorted(listed ^ wanted)[:10])
print(count, "entries")
END
}

mounts_and_matches() {
	local from=$fixtures/ironwal/$1

	rm -rf "$store"
	cp -r "$from/store" "$store"
	chmod -R u+w "$store"
	mount_store ro
	matches "$from/MANIFEST.txt"
	remount
	matches "$from/MANIFEST.txt"
	for s in "$mnt"/*/; do
		echo "appended" >"$s/new"
		[ "$(cat "$s/.last")" = appended ]
	done
	unmount
}

for store_dir in "$fixtures"/ironwal/*/store; do
	name=$(basename "$(dirname "$store_dir")")
	check "$name" mounts_and_matches "$name"
done
[ "$number" -gt 0 ] || skip_all "'$fixtures/ironwal' is empty"
finish
