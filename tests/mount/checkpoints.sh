#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Checkpoints as files of .checkpoints: made by creating them, shown, listed, removed.
. "$(dirname "$0")/common.sh"

c=$mnt/.checkpoints

# None is left, whatever a case before has made.
without_checkpoints() {
	find "$c" -type f -delete
	[ -z "$(ls -A "$c")" ]
}

names() {
	find "$c" -mindepth 1 -printf '%f\n' | sort
}

# Puts records into the log of a store that is not mounted: ids are the arguments, with python's escapes, or from a file with a line each.
write_records() {
	python3 -S - "$store" "$@" <<'END'
import os, struct, sys, time, zlib
store, ids = sys.argv[1], [a.encode().decode("unicode_escape").encode("latin-1") for a in sys.argv[2:]]
if ids[0].startswith(b"@"):
    ids = open(ids[0][1:], "rb").read().splitlines()
with open(store + "/checkpoints.log", "ab") as log:
    for i, id in enumerate(ids):
        payload = struct.pack("<BH", 2, len(id)) + id + struct.pack("<QI", 1_700_000_000_000_000_000 + i, 1) + b"\6orders" + struct.pack("<Q", i)
        log.write(b"CKPT" + struct.pack("<II", zlib.crc32(payload), len(payload)) + payload)
END
}

directory() {
	[ "$(stat -c '%F %a %h' "$c")" = 'directory 755 2' ]
	[ -z "$(ls -A "$c")" ]
	grep -qx .checkpoints <(ls -A "$mnt")
	refused ENOENT stat "$c/HEAD"
	refused ENOENT stat "$c/none"
	refused EISDIR open-write "$c"
	refused EPERM rmdir "$c"
	refused EPERM rename "$c" "$mnt/elsewhere"
	refused EPERM chmod "$c" 700
	refused EEXIST mkdir "$c"
	works fsync "$c"
	[ "$(stat -c %h "$mnt")" -eq $((2 + $(find "$mnt" -mindepth 1 -maxdepth 1 -type d | wc -l))) ]
}

made_and_shown() {
	local before after

	mkdir "$mnt/orders" "$mnt/invoices" "$mnt/with space"$'\t'"and 100%"
	for i in 1 2 3; do echo "$i" >"$mnt/orders/new"; done
	before=$(date +%s)
	touch "$c/before-upgrade"
	after=$(date +%s)
	echo 4 >"$mnt/orders/new"
	[ "$(tail -n +2 "$c/before-upgrade")" = $'invoices 0\norders 3\nwith%20space%09and%20100%25 0' ]
	[ "$(awk '$1 == "orders" { print $2 }' "$c/before-upgrade")" -eq 3 ]
	head -n 1 "$c/before-upgrade" | grep -Eqx 'created [0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z'
	[ "$(date -ud "$(awk '$1 == "created" { print $2 }' "$c/before-upgrade")" +%s.%N)" = "$(date -d "$(stat -c %y "$c/before-upgrade")" +%s.%N)" ]
	[ "$(stat -c %Y "$c/before-upgrade")" -ge "$before" ]
	[ "$(stat -c %Y "$c/before-upgrade")" -le "$after" ]
	[ "$(stat -c '%F %a %h %s' "$c/before-upgrade")" = "regular file 444 1 $(wc -c <"$c/before-upgrade")" ]
	[ "$(stat -c '%x %x %x' "$c/before-upgrade")" = "$(stat -c '%y %z %y' "$c/before-upgrade")" ]
	[ "$(stat -c '%u %g' "$c/before-upgrade")" = "$(id -u) $(id -g)" ]
	[ "$(stat -c %y "$c")" = "$(stat -c %y "$c/before-upgrade")" ]
	[ "$(stat -c %N "$c/HEAD")" = "'$c/HEAD' -> 'before-upgrade'" ]
	[ "$(stat -c %s "$c/HEAD")" -eq 14 ]
	cmp "$c/HEAD" "$c/before-upgrade"
	dd if="$c/before-upgrade" bs=1 skip=8 count=4 status=none | cmp - <(date -u +%Y | tr -d '\n')
}

latest() {
	without_checkpoints
	touch "$c/b" "$c/a"
	[ "$(readlink "$c/HEAD")" = a ]
	touch "$c/c"
	[ "$(readlink "$c/HEAD")" = c ]
	stat -c %y "$c" >"$work/before"
	rm "$c/c"
	[[ "$(stat -c %y "$c")" > "$(cat "$work/before")" ]]
	[ "$(stat -c %y "$c")" = "$(stat -c %z "$c")" ]
	[ "$(readlink "$c/HEAD")" = a ]
	rm "$c/b"
	[ "$(readlink "$c/HEAD")" = a ]
	[ "$(names)" = $'HEAD\na' ]
	rm "$c/a"
	refused ENOENT stat "$c/HEAD"
	[ -z "$(names)" ]
}

ways_to_make() {
	without_checkpoints
	touch "$c/touch"
	: >"$c/truncated"
	: >>"$c/appended"
	works create "$c/exclusive"
	works mknod "$c/node"
	cp /dev/null "$c/copied"
	dd of="$c/dd" if=/dev/null status=none
	works create "$c/with space"
	works create "$c/$(printf 'new\nline\377')"
	works create "$c/-"
	[ "$(find "$c" -type f | grep -c .)" -ge 9 ]
	[ "$(find "$c" -type f -size +20c -printf x)" = xxxxxxxxxx ]
	refused EEXIST create "$c/touch"
	refused EEXIST mknod "$c/touch"
}

never_moved() {
	local before

	without_checkpoints
	mkdir -p "$mnt/orders"
	touch "$c/stays"
	before=$(stat -c '%y %z %s %i' "$c/stays"; cat "$c/stays")
	echo more >"$mnt/orders/new"
	touch "$c/stays"
	touch -d 2001-01-01 "$c/stays"
	works utime "$c/stays"
	: >>"$c/stays"
	works open-write "$c/stays"
	works open-append "$c/stays"
	works open-rw "$c/stays"
	refused EPERM open-trunc "$c/stays"
	refused EPERM truncate "$c/stays" 0
	refused EPERM truncate "$c/stays" 9
	refused EPERM ftruncate "$c/stays" 0
	refused EPERM write "$c/stays" text
	refused EPERM write "$c/HEAD" text
	refused EPERM chmod "$c/stays" 600
	refused EPERM chown "$c/stays" 12345
	works chmod "$c/stays" 444
	fails cp /etc/passwd "$c/stays"
	# shellcheck disable=SC2016 # for the inner shell
	gives 1 bash -c 'echo text >>"$0"' "$c/stays"
	[ "$(stat -c '%y %z %s %i' "$c/stays"; cat "$c/stays")" = "$before" ]
	[ "$(names)" = $'HEAD\nstays' ]
}

what_is_refused() {
	local long

	without_checkpoints
	touch "$c/x"
	long=$(printf 'x%.0s' {1..255})
	refused EPERM mkdir "$c/dir"
	refused EPERM mkfifo "$c/fifo"
	refused EPERM symlink target "$c/link"
	refused EPERM link "$c/x" "$c/y"
	refused EPERM rename "$c/x" "$c/y"
	refused EPERM unlink "$c/HEAD"
	refused EPERM unlink "$c/.prune"
	refused EPERM unlink "$c/.compact"
	refused EINVAL create "$c/.hidden"
	refused EINVAL create "$c/short%~0123456789abcdef"
	refused ENAMETOOLONG create "$c/${long}x"
	refused ENAMETOOLONG unlink "$c/${long}x"
	refused ENAMETOOLONG stat "$c/${long}x"
	refused ENOENT unlink "$c/none"
	refused ENOENT read "$c/none"
	refused ENOENT stat "$c/.hidden"
	refused ENOTDIR rmdir "$c/x"
	refused ENOTDIR stat "$c/x/y"
	refused ENOTSUP setxattr "$c/x"
	rm "$c/x"
	refused EPERM create "$c/HEAD"
	works create "$c/$long"
	[ "$(readlink "$c/HEAD")" = "$long" ]
	works unlink "$c/$long"
}

encoded_names() {
	without_checkpoints
	touch "$c/a%2fb" "$c/%2E%2e" "$c/%48EAD" "$c/%00" "$c/100%" "$c/%2541"
	[ "$(names)" = $'%00\n%2541\n%2E.\n%48EAD\n100%\nHEAD\na%2Fb' ]
	cat "$c/a%2Fb" "$c/%2E." "$c/%48EAD" "$c/%00" "$c/%2541" >"$work/all"
	[ "$(grep -c '^created' "$work/all")" -eq 5 ]
	# another spelling of the same
	cmp "$c/a%2Fb" "$c/%61%2fb"
	refused EEXIST create "$c/%61%2fb"
	refused ENOENT stat "$c/A"
	remount
	[ "$(names)" = $'%00\n%2541\n%2E.\n%48EAD\n100%\nHEAD\na%2Fb' ]
	[ "$(readlink "$c/HEAD")" = %2541 ]
	rm "$c/a%2Fb" "$c/%2E." "$c/%48EAD" "$c/%00" "$c/%2541"
	[ "$(names)" = $'100%\nHEAD' ]
}

ids_longer_than_names() {
	without_checkpoints
	unmount
	write_records "$(printf 'x%.0s' {1..300})" "$(printf 'x%.0s' {1..301})" "$(printf '/%.0s' {1..200})" 'ends%~0123456789ABCDEF' '\x00\xff\x2f'
	mount_store
	[ "$(find "$c" -type f | wc -l)" -eq 5 ]
	find "$c" -type f -printf '%f\n' >"$work/names"
	[ "$(LC_ALL=C awk '{ print length($0) }' "$work/names" | sort -n | tail -n 3 | tr '\n' ' ')" = '255 255 255 ' ]
	grep -Eqx 'x{237}%~[0-9A-F]{16}' "$work/names"
	grep -Eqx '(%2F){79}%~[0-9A-F]{16}' "$work/names"
	grep -qx 'ends%25~0123456789ABCDEF' "$work/names"
	while read -r name; do
		grep -q '^orders [0-4]$' "$c/$name"
		[ "$(stat -c %s "$c/$name")" -eq "$(wc -c <"$c/$name")" ]
	done <"$work/names"
	refused ENOENT stat "$c/$(printf 'x%.0s' {1..237})%~0123456789ABCDEF"
	name=$(grep -m 1 x "$work/names")
	grep -qx 'orders 0' "$c/$name"
	rm "$c/$name"
	refused ENOENT stat "$c/$name"
	[ "$(find "$c" -type f | wc -l)" -eq 4 ]
	rm -rf "$c" 2>"$work/err" || true
	[ -z "$(names)" ]
}

racing_creators() {
	without_checkpoints
	python3 -S - "$c" <<'END'
import os, sys, threading
c = sys.argv[1]
for round in range(20):
    for flags, winners_wanted in ((0, 8), (os.O_EXCL, 1)):
        path = f"{c}/race-{round}-{winners_wanted}"
        start, won, texts, lock = threading.Barrier(8), [], set(), threading.Lock()
        def create():
            start.wait()
            try:
                fd = os.open(path, os.O_RDWR | os.O_CREAT | flags)
            except FileExistsError:
                return
            with lock:
                won.append(fd)
                texts.add(os.read(fd, 4096))
        threads = [threading.Thread(target=create) for _ in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(won) == winners_wanted, (flags, len(won))
        assert len(texts) == 1, texts
        for fd in won:
            os.close(fd)
END
	[ "$(find "$c" -type f | wc -l)" -eq 40 ]
}

removed_and_made_again() {
	without_checkpoints
	python3 -S - "$c" "$mnt" <<'END'
import os, sys
c, mnt = sys.argv[1:]
os.makedirs(mnt + "/orders", exist_ok=True)
path, last = c + "/again", None
ino = None
for i in range(20):
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
    text = os.read(fd, 4096)
    st = os.stat(path)
    assert text != last and st.st_size == len(text) == len(open(path, "rb").read())
    assert ino in (None, st.st_ino)
    ino = st.st_ino
    os.unlink(path)
    assert not os.path.lexists(path) and not os.path.lexists(c + "/HEAD")
    assert os.listdir(c) == []
    # who has it open has it still
    assert os.pread(fd, 4096, 0) == text
    assert os.fstat(fd).st_size == len(text) and os.fstat(fd).st_nlink == 0
    assert os.pread(fd, 100, 1 << 40) == b""
    os.close(fd)
    last = text
    open(mnt + "/orders/new", "w").write("x")
END
}

a_stream_that_is_deleted() {
	without_checkpoints
	mkdir -p "$mnt/orders" "$mnt/going"
	touch "$c/x"
	grep -qx 'going 0' "$c/x"
	rmdir "$mnt/going"
	fails grep going "$c/x"
	[ "$(stat -c %s "$c/x")" -eq "$(wc -c <"$c/x")" ]
}

listing_while_names_go() {
	without_checkpoints
	(cd "$c" && touch {1..300})
	python3 -S - "$c" <<'END'
import os, sys
c = sys.argv[1]
seen = []
with os.scandir(c) as it:
    for e in it:
        seen.append(e.name)
        assert e.inode() == e.stat(follow_symlinks=False).st_ino
        if e.name not in ("HEAD", "300"):
            os.unlink(e.path)
            if len(seen) % 10 == 0:
                open(f"{c}/more-{len(seen)}", "w").close()
assert seen == [str(i) for i in range(1, 301)] + ["HEAD"], seen
assert len(os.listdir(c)) == 2 + 29
END
	(cd "$c" && rm [0-9]* more*)
	[ -z "$(names)" ]
}

rewound_and_sought() {
	without_checkpoints
	(cd "$c" && touch {1..200})
	python3 -S - "$c" <<'END'
import ctypes, os, sys
c = sys.argv[1].encode()
libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
for f, args in (("readdir", [ctypes.c_void_p]), ("telldir", [ctypes.c_void_p]), ("seekdir", [ctypes.c_void_p, ctypes.c_long]),
                ("rewinddir", [ctypes.c_void_p])):
    getattr(libc, f).argtypes = args
def read(d):
    e = libc.readdir(d)
    return ctypes.string_at(e + 19) if e else None
d = libc.opendir(c)
at = []
while True:
    position = libc.telldir(d)
    name = read(d)
    if name is None:
        break
    at.append((position, name))
assert len(at) == 203
os.unlink(c + b"/7")
for position, name in at[::-7] + at[1::13]:
    libc.seekdir(d, position)
    assert read(d) == name
libc.rewinddir(d)
names = []
while (name := read(d)):
    names.append(name)
assert len(names) == 202 and b"7" not in names
END
}

removed_by_rm_r() {
	without_checkpoints
	touch "$c/a" "$c/b" "$c/c"
	fails rm -rf "$c" 2>"$work/err"
	grep -q "'$c': Operation not permitted" "$work/err"
	[ "$(grep -c "^rm: " "$work/err")" -eq 1 ]
	[ -z "$(ls -A "$c")" ]
	[ -d "$c" ]
	touch "$c/a"
	rm -r "$c/a"
	[ -z "$(ls -A "$c")" ]
}

copied_and_packed() {
	without_checkpoints
	mkdir -p "$mnt/orders"
	touch "$c/one" "$c/two%2F"
	cp -a "$c" "$work/copy"
	diff -r "$c" "$work/copy"
	[ "$(readlink "$work/copy/HEAD")" = two%2F ]
	[ "$(stat -c %y "$work/copy/one")" = "$(stat -c %y "$c/one")" ]
	tar -cf "$work/all.tar" -C "$mnt" .
	tar -df "$work/all.tar" -C "$mnt"
	rsync -a "$c/" "$work/mirror/"
	remount
	rsync -ai "$c/" "$work/mirror/" >"$work/sent"
	[ ! -s "$work/sent" ]
	[ "$(find "$mnt" -path '*/.checkpoints/*' | wc -l)" -eq 3 ]
	[ "$(find "$mnt" -newer "$c/one" -path '*/.checkpoints/*' -type f -printf '%f')" = two%2F ]
}

table() {
	(cd "$mnt" && find .checkpoints -printf '%p %y %m %n %i %s %b %T@ %C@ %U %G %l\n' | sort)
}

the_same_after_remount() {
	table >"$work/before"
	[ "$(wc -l <"$work/before")" -ge 4 ]
	remount "$@"
	table | diff "$work/before" -
}

read_only() {
	remount ro
	[ "$(stat -c %a "$c")" -eq 755 ]
	refused EROFS create "$c/new"
	refused EROFS mknod "$c/new"
	refused EROFS unlink "$c/one"
	refused EROFS write "$c/one" x
	refused EROFS write "$c/.prune" one
	refused EROFS write "$c/.compact" 1
	refused EROFS utime "$c/one"
	refused EROFS rmdir "$c"
	grep -q created "$c/one"
	[ "$(readlink "$c/HEAD")" = two%2F ]
	remount
}

killed_after_it_was_made() {
	local i

	without_checkpoints
	mkdir -p "$mnt/orders"
	for i in 1 2 3; do
		echo "$i" >"$mnt/orders/new"
		touch "$c/kept-$i"
		cat "$c/kept-$i" >"$work/kept-$i"
		kill -KILL "$(walfs_pid)"
		walfs_ends 137
		fusermount3 -u "$mnt"
		mount_store sync=async
		[ "$(readlink "$c/HEAD")" = "kept-$i" ]
		cmp "$work/kept-$i" "$c/kept-$i"
	done
	[ "$(find "$c" -type f | wc -l)" -eq 3 ]
	rm "$c/kept-3"
	kill -KILL "$(walfs_pid)"
	walfs_ends 137
	fusermount3 -u "$mnt"
	mount_store
	[ "$(names)" = $'HEAD\nkept-1\nkept-2' ]
}

# The limits are generous: what they are to catch costs a hundred times as much.
ten_thousand() {
	without_checkpoints
	unmount
	seq -f 'many-%05g' 10000 >"$work/ids"
	write_records "@$work/ids"
	mount_store
	[ "$(find "$c" | wc -l)" -eq 10002 ]
	SECONDS=0
	[ "$(grep -c many- <(ls -l "$c"))" -eq 10001 ]
	[ "$(cat "$c"/many-0123* | grep -c created)" -eq 10 ]
	[ "$(readlink "$c/HEAD")" = many-10000 ]
	for i in {1..20}; do
		touch "$c/one-more-$i"
		[ -e "$c/one-more-$i" ]
		rm "$c/one-more-$i"
	done
	[ "$SECONDS" -lt 60 ]
	echo 3 >"$c/.compact"
	[ "$(names)" = $'HEAD\nmany-09998\nmany-09999\nmany-10000' ]
}

given_owner_and_modes() {
	remount uid=1234 gid=5678 umask=027
	touch "$c/x"
	[ "$(stat -c '%u %g %a' "$c" "$c/x" | tr '\n' ' ')" = '1234 5678 750 1234 5678 440 ' ]
	remount
}

while_others_append() {
	without_checkpoints
	mkdir -p "$mnt/orders" "$mnt/invoices"
	python3 -S - "$mnt" <<'END'
import os, sys, threading
mnt = sys.argv[1]
stop, acked = threading.Event(), {"orders": 0, "invoices": 0}
for s in acked:
    acked[s] = len(os.listdir(f"{mnt}/{s}")) - 1
def append(stream):
    while not stop.is_set():
        with open(f"{mnt}/{stream}/new", "w") as f:
            f.write("x")
        acked[stream] += 1
threads = [threading.Thread(target=append, args=(s,)) for s in acked]
for t in threads:
    t.start()
try:
    for i in range(50):
        before = dict(acked)
        path = f"{mnt}/.checkpoints/busy-{i}"
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
        after = dict(acked)
        cut = dict((l.split()[0], int(l.split()[1])) for l in open(path).read().splitlines()[1:])
        for s in acked:
            assert before[s] <= cut[s] <= after[s] + 1, (before, cut, after)
finally:
    stop.set()
    for t in threads:
        t.join()
END
}

mount_at_start
check "the directory, when there are none" directory
check "made by touch, shown by cat and ls -l" made_and_shown
check "HEAD is the latest" latest
check "ways to make one" ways_to_make
check "not moved by another touch, nor written" never_moved
check "what is refused" what_is_refused
check "ids that are no file names" encoded_names
check "ids longer than a file name" ids_longer_than_names
check "racing creators" racing_creators
check "removed and made again" removed_and_made_again
check "a stream that is deleted" a_stream_that_is_deleted
check "while others append" while_others_append
check "listing while names go" listing_while_names_go
check "rewinddir and seekdir" rewound_and_sought
check "rm -r" removed_by_rm_r
check "cp, tar, rsync, find" copied_and_packed
check "the same after a remount" the_same_after_remount
check "the same read-only" the_same_after_remount ro
check "read-only: EROFS" read_only
check "uid, gid, umask" given_owner_and_modes
check "killed after it was made" killed_after_it_was_made
check "10,000" ten_thousand
unmount_at_end
