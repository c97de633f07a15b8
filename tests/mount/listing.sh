#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Listing streams: by the usual tools, while others append, and at every position.
. "$(dirname "$0")/common.sh"

ways_to_list() {
	local i

	new_stream
	[ "$(ls "$s")" = new ]
	for ((i = 0; i < 12; i++)); do echo "$i" >"$s/new"; done
	for ((i = 0; i < 12; i++)); do entry "$i"; echo; done >"$work/expected"
	echo new >>"$work/expected"
	# shellcheck disable=SC2012 # ls is what is tested
	{
		ls "$s" | cmp - "$work/expected"
		ls -U "$s" | sort | cmp - "$work/expected"
		ls -A "$s" | cmp - "$work/expected"
		ls -l "$s" | awk 'NR > 1 { print $NF }' | cmp - "$work/expected"
	}
	[ "$(find "$s" -mindepth 1 -printf '%f\n' | sort)" = "$(cat "$work/expected")" ]
	[ "$(find "$s" -type f -name '0*' -size -3c | wc -l)" -eq 10 ]
	(cd "$s" && printf '%s\n' *) | cmp - "$work/expected"
	cat "$s"/0* | cmp - <(seq 0 11)
	[ "$(python3 -c 'import os, sys; print(len(os.listdir(sys.argv[1])))' "$s")" -eq 13 ]
	# shellcheck disable=SC2012
	[ "$(ls -1a "$s" | head -n 2 | tr '\n' ' ')" = '. .. ' ]
}

names_that_are_not_listed() {
	new_stream
	echo a >"$s/new"
	echo b >"$s/new"
	[ "$(cat "$s/0" "$s/01" "$s/00000000000000000001")" = $'a\nb\nb' ]
	[ "$(cat "$s/.first" "$s/.last")" = $'a\nb' ]
	[ "$(readlink -f "$s/.last")" = "$s/$(entry 1)" ]
	fails grep -F . <(ls -A "$s")
	[ "$(find "$s" | wc -l)" -eq 4 ]
}

root() {
	new_stream
	mkdir "$mnt/a" "$mnt/b c" "$mnt/Z"
	[ "$(find "$mnt" -mindepth 1 -maxdepth 1 -name '.*' -printf '%f %y\n')" = '.checkpoints d' ]
	find "$mnt" -mindepth 1 -maxdepth 1 -type d -name '[!.]*' -printf '%f\n' | sort >"$work/found"
	find "$store" -mindepth 1 -maxdepth 1 -type d -printf '%f\n' | sort | cmp - "$work/found"
	rmdir "$mnt/a"
	fails [ -e "$mnt/a" ]
	fails grep -qx a <(ls "$mnt")
	rmdir "$mnt/b c" "$mnt/Z"
}

# The others are there, each once, whatever comes while the listing is under way.
while_others_append() {
	new_stream
	python3 - "$s" <<'END'
import os, sys, threading
s = sys.argv[1]

def append(count):
    fd = os.open(s + "/new", os.O_WRONLY | os.O_SYNC | os.O_APPEND)
    for _ in range(count):
        os.write(fd, b"x")
    os.close(fd)

append(1000)
stop = threading.Event()
def writer():
    while not stop.is_set():
        append(10)
thread = threading.Thread(target=writer)
thread.start()
try:
    last = 1000
    for _ in range(30):
        names = sorted(e.name for e in os.scandir(s) if e.name != "new")
        ids = [int(n) for n in names]
        assert len(set(ids)) == len(ids), "an entry twice"
        assert ids == list(range(len(ids))), "an entry is missing"
        assert len(ids) >= last, "an entry has gone"
        last = len(ids)
finally:
    stop.set()
    thread.join()
assert len(os.listdir(s)) > last
END
}

streams_come_and_go() {
	new_stream
	python3 - "$mnt" <<'END'
import os, sys
root = sys.argv[1]
for i in range(400):
    os.mkdir(f"{root}/many-{i:03}")
before = set(os.listdir(root))
seen = []
with os.scandir(root) as it:
    for n, e in enumerate(it):
        seen.append(e.name)
        if n < 200:
            os.rmdir(f"{root}/many-{2 * n + 1:03}")
            os.mkdir(f"{root}/more-{n:03}")
assert len(seen) == len(set(seen)), "a stream twice"
stay = {n for n in before if not n.startswith("many-") or int(n[5:]) % 2 == 0}
assert stay <= set(seen), stay - set(seen)
for n in os.listdir(root):
    if n.startswith(("many-", "more-")):
        os.rmdir(f"{root}/{n}")
END
}

# telldir(3) and seekdir(3) at every position, also after others have been added.
seekdir_and_telldir() {
	new_stream
	python3 - "$s" <<'END'
import ctypes, os, sys
s = sys.argv[1].encode()
libc = ctypes.CDLL(None, use_errno=True)
libc.opendir.restype = libc.readdir.restype = ctypes.c_void_p
libc.telldir.restype = ctypes.c_long
for f, args in (("readdir", [ctypes.c_void_p]), ("telldir", [ctypes.c_void_p]), ("seekdir", [ctypes.c_void_p, ctypes.c_long]),
                ("rewinddir", [ctypes.c_void_p]), ("closedir", [ctypes.c_void_p])):
    getattr(libc, f).argtypes = args

D_NAME = 19  # of struct dirent on 64-bit Linux

def read(d):
    e = libc.readdir(d)
    return ctypes.string_at(e + D_NAME) if e else None

def append(n):
    fd = os.open(s + b"/new", os.O_WRONLY | os.O_SYNC | os.O_APPEND)
    for _ in range(n):
        os.write(fd, b"x")
    os.close(fd)

append(500)
d = libc.opendir(s)
at = []
while True:
    position = libc.telldir(d)
    name = read(d)
    if name is None:
        break
    at.append((position, name))
assert len(at) == 503, len(at)
append(50)
for position, name in at[::-7] + at[::13]:
    libc.seekdir(d, position)
    assert read(d) == name, name
libc.rewinddir(d)
count = 0
while read(d):
    count += 1
assert count == 553, count
libc.closedir(d)
END
}

twenty_thousand() {
	local count=20000

	new_stream
	seq "$count" >"$work/lines"
	unmount
	"$WALCTL" append "$store" "case-$number" "$work/lines" --lines --sync=async >/dev/null
	mount_store
	has_entries "$count"
	[ "$(find "$s" -name '0*' | wc -l)" -eq "$count" ]
	[ "$(find "$s" -name '0*' -size -3c -printf x | wc -c)" -eq 99 ]
	# shellcheck disable=SC2012
	[ "$(ls -l "$s" | awk '{ sum += $5 } END { print sum }')" -eq "$(("$(wc -c <"$work/lines")" - count))" ]
	[ "$(cat "$s/19999")" = 20000 ]
	[ "$(readlink "$s/.last")" = "$(entry 19999)" ]
	echo one more >"$s/new"
	has_entries $((count + 1))
}

# So many that attributes are not given without being asked for. Who lists them again after having asked gets them with the names, and asks for none.
forty_thousand() {
	local count=40000

	new_stream
	[ "$(stat -c %o "$s")" -eq 4096 ]
	seq "$count" >"$work/lines"
	unmount
	"$WALCTL" append "$store" "case-$number" "$work/lines" --lines --sync=async >/dev/null
	mount_store
	[ "$(stat -c %o "$s")" -eq 262144 ]
	python3 - "$s" "$mnt" "$count" <<'END'
import os, re, sys
s, mnt, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

def lookups():
    with open(mnt + "/.stats") as f:
        return int(re.search(r'^walfs_mount_requests_total\{operation="lookup"\} (\d+)$', f.read(), re.M)[1])

def listed():
    with os.scandir(s) as it:
        return [(e.name, e.inode()) for e in it if e.name != "new"]

def ask(names):
    before = lookups()
    for name, inode in names:
        st = os.stat(f"{s}/{name}")
        assert (st.st_ino, st.st_size) == (inode, len(str(int(name) + 1))), name
    return lookups() - before

half = count // 2 + 100
first = listed()
assert [n for n, _ in first] == [f"{i:020}" for i in range(count)]
assert ask(first[:half]) >= half, "attributes were given in vain"
# Somebody else may make the kernel forget all names at any moment.
for attempt in range(3):
    again = listed()
    assert again == first
    if ask(again[half:]) < 100:
        break
else:
    sys.exit("attributes were not given")
END
}

mount_at_start
check "ls, find, globs" ways_to_list
check "plain digits, .first, .last" names_that_are_not_listed
check "the root" root
check "while others append" while_others_append
check "streams that come and go meanwhile" streams_come_and_go
check "seekdir and telldir" seekdir_and_telldir
check "20,000 entries" twenty_thousand
check "40,000 entries, and who asks for attributes" forty_thousand
unmount_at_end
