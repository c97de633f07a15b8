#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""reexport.py CASE MOUNTPOINT [ARGUMENT]...: what reexport.sh tries by system calls. An assertion that fails says what."""
import ctypes
import errno
import os
import struct
import sys
import threading

libc = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100


def call(name, *arguments):
    result = getattr(libc, name)(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return result


def handle_of(path):
    """What a server of NFS gives its client for a file."""
    buffer = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
    call("name_to_handle_at", AT_FDCWD, os.fsencode(path), buffer, ctypes.byref(ctypes.c_int()), 0)
    return buffer


def open_handle(mnt, handle, flags=os.O_RDONLY):
    mount = os.open(mnt, os.O_RDONLY)
    try:
        return call("open_by_handle_at", mount, handle, flags)
    finally:
        os.close(mount)


def kernel_forgets():
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("2")


def errno_of(action, *arguments):
    try:
        action(*arguments)
    except OSError as e:
        return errno.errorcode[e.errno]
    return "OK"


def closes(mnt, handle):
    os.close(open_handle(mnt, handle))


def write(path, data):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def touch(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


def look(fd):
    """Inode number and content, of a file or a directory."""
    if os.path.isdir(f"/proc/self/fd/{fd}"):
        return os.fstat(fd).st_ino, sorted(os.listdir(fd))
    return os.fstat(fd).st_ino, os.pread(fd, 1 << 20, 0)


def look_at(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        return look(fd)
    finally:
        os.close(fd)


def case_handles(mnt, stream):
    """Whatever the kernel forgets, a handle leads to what it was of."""
    for n in range(5):
        write(f"{mnt}/{stream}/new", b"entry %d\n" % n)
    touch(f"{mnt}/.checkpoints/handles")
    write(f"{mnt}/{stream}/new", b"after\n")
    at = f"{mnt}/.at/handles"
    names = ["", stream, f"{stream}/3", f"{stream}/new", f"{stream}/.log", f"{stream}/.from", f"{stream}/.from/2", f"{stream}/.follow", ".checkpoints", ".checkpoints/handles",
             ".at", ".at/handles", f".at/handles/{stream}", f".at/handles/{stream}/1", f".at/handles/{stream}/.log", f".at/handles/{stream}/.from",
             f".at/handles/{stream}/.from/2"]
    given = {name: (handle_of(f"{mnt}/{name}"), look_at(f"{mnt}/{name}")) for name in names}
    assert given[f".at/handles/{stream}/.log"][1][1] == b"".join(b"entry %d\n" % n for n in range(5))
    for turn in range(3):
        for name in names:
            handle, before = given[name]
            kernel_forgets()
            fd = open_handle(mnt, handle)
            assert look(fd) == before, (name, look(fd), before)
            if os.path.isdir(f"/proc/self/fd/{fd}"):
                # it is part of the tree, and so are those above
                assert os.readlink(f"/proc/self/fd/{fd}") == os.path.realpath(mnt) + ("/" + name if name else ""), name
                if name:
                    os.stat("..", dir_fd=fd)
            os.close(fd)
    # no listing was changed by that
    assert sorted(os.listdir(mnt)) == given[""][1][1]
    assert sorted(os.listdir(f"{mnt}/{stream}")) == given[stream][1][1]
    # what is gone is stale
    os.unlink(f"{mnt}/.checkpoints/handles")
    kernel_forgets()
    for name in names:
        expected = ("ESTALE",) if name.startswith(".at/handles") and not name.endswith("/1") or name == ".checkpoints/handles" else ("OK",)
        assert errno_of(closes, mnt, given[name][0]) in expected, name
    touch(f"{mnt}/.checkpoints/handles")
    assert errno_of(closes, mnt, given[".at/handles"][0]) == "ESTALE"
    assert errno_of(closes, mnt, handle_of(at)) == "OK"


def case_many_handles(mnt, width):
    """Of directories of checkpoints the last that were looked at are kept, and any number can be looked at. Streams 0 to `width`, and as many checkpoints."""
    handles = []
    for n in range(int(width)):
        touch(f"{mnt}/.checkpoints/many-{n}")
        handles.append((f"many-{n}", handle_of(f"{mnt}/.at/many-{n}")))
        for m in range(int(width)):
            handles.append((f"many-{n}/{m}", handle_of(f"{mnt}/.at/many-{n}/{m}")))
        if n % 10 == 9:
            kernel_forgets()
    kernel_forgets()
    inodes = set()
    for name, handle in handles[:-4000:-7]:
        fd = open_handle(mnt, handle)
        inodes.add(os.fstat(fd).st_ino)
        assert os.readlink(f"/proc/self/fd/{fd}").endswith(f"/.at/{name}"), name
        os.close(fd)
    assert len(inodes) == len(handles[:-4000:-7])
    # 4096 are kept
    assert len(handles) > 4200
    assert errno_of(closes, mnt, handles[1][1]) == "ESTALE"
    assert errno_of(os.stat, f"{mnt}/.at/many-0/0") == "OK"


def case_forgetting(mnt, stream):
    """While the kernel forgets all the time."""
    stop = threading.Event()

    def forget():
        while not stop.is_set():
            kernel_forgets()

    for n in range(4):
        touch(f"{mnt}/.checkpoints/forgetting-{n}")
    names = [f".at/forgetting-{n}{rest}" for n in range(4) for rest in ("", f"/{stream}", f"/{stream}/.log", f"/{stream}/.from")] + [f"{stream}/.follow", ".at"]
    given = [(name, handle_of(f"{mnt}/{name}"), look_at(f"{mnt}/{name}")) for name in names]
    thread = threading.Thread(target=forget)
    thread.start()
    try:
        for turn in range(20):
            for name, handle, before in given:
                fd = open_handle(mnt, handle)
                assert look(fd) == before, name
                os.close(fd)
    finally:
        stop.set()
        thread.join()


def case_keep_handles(mnt, file):
    os.mkdir(f"{mnt}/kept")
    write(f"{mnt}/kept/new", b"kept\n")
    with open(file, "wb") as f:
        for name in ("", "kept", f"kept/{0:020}", "kept/new", ".checkpoints"):
            f.write(handle_of(f"{mnt}/{name}").raw)


def case_kept_handles(mnt, file):
    with open(file, "rb") as f:
        handles = [ctypes.create_string_buffer(handle, 136) for handle in iter(lambda: f.read(136), b"")]
    # the root is always the same
    assert [errno_of(closes, mnt, handle) for handle in handles] == ["OK"] + ["ESTALE"] * 4
    assert look_at(f"{mnt}/kept/{0:020}")[1] == b"kept\n"


globals()["case_" + sys.argv[1]](*sys.argv[2:])
