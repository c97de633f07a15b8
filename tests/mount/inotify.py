#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""inotify.py MOUNTPOINT STREAM: what inotify(7) tells of a mount, and what it does not."""
import ctypes
import os
import select
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
MODIFY, CLOSE_WRITE, CREATE, DELETE, IS_DIRECTORY = 0x2, 0x8, 0x100, 0x200, 0x40000000
mnt, name = sys.argv[1:]
s = f"{mnt}/{name}"
notifier = libc.inotify_init1(os.O_NONBLOCK)
watched = {}


def watch(path, mask=MODIFY | CLOSE_WRITE | CREATE | DELETE):
    wd = libc.inotify_add_watch(notifier, os.fsencode(path), mask)
    assert wd > 0, path
    watched[wd] = os.path.relpath(path, mnt)


def write(path, data=b"x\n"):
    fd = os.open(path, os.O_WRONLY)
    os.write(fd, data)
    os.close(fd)


def events_of(action, *arguments):
    """Up to an event that is caused last, at the end."""
    action(*arguments)
    os.close(os.open(f"{mnt}/.checkpoints/end", os.O_WRONLY | os.O_CREAT))
    os.unlink(f"{mnt}/.checkpoints/end")
    found = []
    while not found or found[-1] != (".checkpoints", "end", DELETE):
        assert select.select([notifier], [], [], 30)[0], f"nothing more comes after {found}"
        data = os.read(notifier, 65536)
        while data:
            wd, mask, _, size = struct.unpack_from("iIII", data)
            found.append((watched[wd], data[16:16 + size].rstrip(b"\0").decode(), mask))
            data = data[16 + size:]
    end = [event for event in found if event[:2] == (".checkpoints", "end")]
    assert end == [(".checkpoints", "end", mask) for mask in (CREATE, CLOSE_WRITE, DELETE)], end
    return [event for event in found if event not in end]


def closed():
    """When the event has come, the entry is there."""
    write(s + "/new", b"one\n")
    assert select.select([notifier], [], [], 30)[0]
    assert open(s + "/.last", "rb").read() == b"one\n"


watch(f"{mnt}/.checkpoints")
watch(s)
watch(s + "/.log")
watch(f"{mnt}")
# of the files that are written to; neither of the entries that come of it, nor of those who read all of it
assert events_of(closed) == [(name, "new", MODIFY), (name, "new", CLOSE_WRITE)]
assert events_of(write, s + "/.lines", b"a\nb\n") == [(name, ".lines", MODIFY), (name, ".lines", CLOSE_WRITE)]
assert events_of(write, s + "/.batch", b"a\nb\n") == [(name, ".batch", MODIFY), (name, ".batch", CLOSE_WRITE)]
# of commands, but not of what they remove
write(s + "/.rotate")
os.listdir(s)
os.stat(s + "/%020d" % 0)
assert events_of(write, s + "/.prune", b"next\n")[-2:] == [(name, ".prune", MODIFY), (name, ".prune", CLOSE_WRITE)]
assert not os.path.exists(s + "/%020d" % 0)
# of streams and checkpoints
assert events_of(os.mkdir, f"{mnt}/inotify") == [(".", "inotify", CREATE | IS_DIRECTORY)]
assert events_of(os.rmdir, f"{mnt}/inotify") == [(".", "inotify", DELETE | IS_DIRECTORY)]
