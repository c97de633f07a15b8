#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Archivers, copiers and searchers on streams, and what would like to destroy them.
. "$(dirname "$0")/common.sh"

# Three streams with entries of all sizes, for all cases.
fill() {
	local i

	mkdir "$mnt/orders" "$mnt/letters" "$mnt/none"
	for ((i = 0; i < 40; i++)); do echo "order $i" >"$mnt/orders/new"; done
	for i in 1 4096 100000 3000000; do head -c "$i" /dev/urandom >"$mnt/letters/new"; done
	(cd "$mnt" && find . -name '0*' -type f -exec sha256sum {} + | sort -k 2) >"$work/sums"
	[ "$(wc -l <"$work/sums")" -eq 44 ]
}

intact() {
	(cd "$mnt" && find . -name '0*' -type f -exec sha256sum {} + | sort -k 2) | diff "$work/sums" -
	[ -d "$mnt/none" ]
}

tar_makes_and_compares() {
	tar -cf "$work/all.tar" -C "$mnt" .
	tar -df "$work/all.tar" -C "$mnt"
	mkdir "$work/extracted"
	tar -xf "$work/all.tar" -C "$work/extracted"
	(cd "$work/extracted" && sha256sum --quiet -c "$work/sums")
	[ "$(stat -c %y "$work/extracted/orders/$(entry 39)" | cut -c 1-19)" = "$(stat -c %y "$mnt/orders/39" | cut -c 1-19)" ]
	# what has been packed is found unchanged by time and size: nothing is packed again
	tar -cf "$work/more.tar" --newer-mtime "$(stat -c %y "$mnt/letters/3")" -C "$mnt" orders letters 2>"$work/err"
	fails grep -q 'orders/0' <(tar -tf "$work/more.tar")
}

tar_extracts_into_a_stream_only_by_new() {
	fails tar -xf "$work/all.tar" -C "$mnt" "./orders/$(entry 3)"
	intact
	tar -xOf "$work/all.tar" "./orders/$(entry 3)" >"$mnt/none/new"
	[ "$(cat "$mnt/none/0")" = "order 3" ]
}

tar_incremental() {
	tar -c --no-check-device --listed-incremental="$work/snapshot" -f "$work/inc0.tar" -C "$mnt" orders
	remount
	echo "order 40" >"$mnt/orders/new"
	tar -c --no-check-device --listed-incremental="$work/snapshot" -f "$work/inc1.tar" -C "$mnt" orders
	tar -tf "$work/inc1.tar" >"$work/list"
	[ "$(grep -v '/$' "$work/list")" = "orders/$(entry 40)" ]
}

rsync_sends_nothing_twice() {
	rsync -a "$mnt/" "$work/mirror/"
	rsync -ai "$mnt/" "$work/mirror/" >"$work/sent"
	[ ! -s "$work/sent" ]
	rsync -aic "$mnt/" "$work/mirror/" >"$work/sent"
	[ ! -s "$work/sent" ]
	remount
	rsync -ai "$mnt/" "$work/mirror/" >"$work/sent"
	[ ! -s "$work/sent" ]
	echo "order 41" >"$mnt/orders/new"
	rsync -ai "$mnt/" "$work/mirror/" >"$work/sent"
	[ "$(grep -c '^>f' "$work/sent")" -eq 1 ]
	grep -qF "orders/$(entry 41)" "$work/sent"
}

cp_copies_all() {
	cp -a "$mnt/orders" "$work/copy"
	diff -r "$mnt/orders" "$work/copy"
	cp -r "$mnt/letters" "$work/copy-of-letters"
	diff -r "$mnt/letters" "$work/copy-of-letters"
	[ "$(stat -c '%a %s %y' "$work/copy/$(entry 7)")" = "$(stat -c '%a %s %y' "$mnt/orders/7")" ]
}

checksums() {
	(cd "$mnt/letters" && sha256sum ./* >"$work/letters.sums" && sha256sum --quiet -c "$work/letters.sums")
	[ "$(wc -l <"$work/letters.sums")" -eq 5 ]
	cmp "$mnt/letters/3" "$mnt/letters/$(entry 3)"
}

searches() {
	[ "$(grep -rl 'order 17$' "$mnt/orders")" = "$mnt/orders/$(entry 17)" ]
	[ "$(grep -rc . "$mnt/orders" | grep -c ':1$')" -eq 42 ]
	[ "$(find "$mnt/orders" -name '0*' -newer "$mnt/orders/30" | wc -l)" -eq 11 ]
	[ "$(find "$mnt" -type f -size +2900k -printf '%f\n')" = "$(entry 3)" ]
	[ "$(tail -c 3 "$mnt/orders/9")" = " 9" ]
	[ "$(head -c 5 "$mnt/orders/9")" = order ]
	[ "$(dd if="$mnt/orders/12" bs=1 skip=6 count=2 status=none)" = 12 ]
}

disk_usage() {
	local size

	size=$(find "$mnt/letters" -name '0*' -printf '%s\n' | awk '{ sum += $1 } END { print sum }')
	[ "$(find "$mnt/letters" -name '0*' -exec du -b --total {} + | tail -n 1 | cut -f 1)" -eq "$size" ]
	# blocks are sizes rounded up
	[ "$(find "$mnt/letters" -name '0*' -exec du -B 512 --total {} + | tail -n 1 | cut -f 1)" -eq \
		"$(find "$mnt/letters" -name '0*' -printf '%s\n' | awk '{ sum += int(($1 + 511) / 512) } END { print sum }')" ]
}

# mmap(2), sendfile(2), pread(2)
other_ways_to_read() {
	python3 - "$mnt/letters/3" "$work/sent" <<'END'
import mmap, os, sys
whole = open(sys.argv[1], "rb").read()
fd = os.open(sys.argv[1], os.O_RDONLY)
assert mmap.mmap(fd, 0, prot=mmap.PROT_READ)[:] == whole
out = os.open(sys.argv[2], os.O_RDWR | os.O_CREAT)
at = 0
while at < len(whole):
    n = os.sendfile(out, fd, at, len(whole) - at)
    assert n > 0
    at += n
assert open(sys.argv[2], "rb").read() == whole
for at in (0, 1, 4095, 4096, 131071, 2999999, 3000000, 5000000):
    assert os.pread(fd, 5000, at) == whole[at:at + 5000], at
END
}

destroyers_are_refused() {
	fails rm -f "$mnt/orders/0"
	fails rm -rf "$mnt/orders"
	fails rm -rf "$mnt/letters"
	fails mv "$mnt/orders/0" "$work/stolen"
	fails mv "$mnt/orders" "$work/stolen-orders"
	fails mv "$mnt/orders" "$mnt/renamed"
	fails mv -f "$work/copy/$(entry 0)" "$mnt/orders/new"
	fails install "$work/copy/$(entry 0)" "$mnt/orders/new"
	fails cp "$work/copy/$(entry 0)" "$mnt/orders/other"
	fails sed -i s/order/x/ "$mnt/orders/0"
	fails chmod -R u+w "$mnt/orders"
	fails truncate -s 0 "$mnt/orders/0"
	fails dd if=/dev/zero of="$mnt/orders/0" count=1 status=none
	fails bash -c "echo x >'$mnt/orders/0'"
	fails bash -c "echo x >>'$mnt/orders/0'"
	fails shred "$mnt/orders/0"
	fails ln "$mnt/orders/0" "$mnt/orders/link"
	fails find "$mnt/orders" -name '0*' -delete
	{ cat "$work/sums"; (cd "$mnt" && sha256sum "./none/$(entry 0)" "./orders/$(entry 40)" "./orders/$(entry 41)"); } | sort -k 2 >"$work/now"
	mv "$work/now" "$work/sums"
	intact
	remount
	intact
}

# An empty stream is a directory like any other.
rm_takes_an_empty_stream() {
	mkdir "$mnt/spare"
	rmdir "$mnt/spare"
	[ ! -e "$mnt/spare" ]
}

inotify_is_told() {
	python3 - "$mnt/orders" <<'END'
import ctypes, os, select, sys
libc = ctypes.CDLL(None, use_errno=True)
IN_CLOSE_WRITE = 8
fd = libc.inotify_init()
assert libc.inotify_add_watch(fd, (sys.argv[1] + "/new").encode(), IN_CLOSE_WRITE) >= 0
with open(sys.argv[1] + "/new", "w") as f:
    f.write("order 42\n")
assert select.select([fd], [], [], 20)[0], "no event"
END
}

mount_at_start
check "fill" fill
check "tar -c, -d, -x" tar_makes_and_compares
check "tar -x into a stream" tar_extracts_into_a_stream_only_by_new
check "tar --listed-incremental over a remount" tar_incremental
check "rsync sends nothing twice" rsync_sends_nothing_twice
check "cp -a and cp -r" cp_copies_all
check "checksums" checksums
check "grep, find, head, tail, dd" searches
check "du" disk_usage
check "mmap, sendfile, pread" other_ways_to_read
check "rm, mv, sed -i, shred and the like are refused" destroyers_are_refused
check "rmdir of an empty stream" rm_takes_an_empty_stream
check "inotify is told of appends" inotify_is_told
unmount_at_end
