#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""posix.py CASE MOUNTPOINT [ARGUMENT]...: the tables of posix.sh. A row is a system call on a node and what it is to give: OK, a
value, or an errno's name. All rows of a case are tried; those that come out otherwise are printed."""
import ctypes
import errno
import fcntl
import mmap
import os
import socket
import stat
import struct
import sys
import tempfile
import termios

from os import (O_APPEND, O_CREAT, O_DIRECT, O_DIRECTORY, O_DSYNC, O_EXCL, O_NOATIME, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_SYNC,
                O_TMPFILE, O_TRUNC, O_WRONLY)

libc = ctypes.CDLL(None, use_errno=True)
SIZE = 5000  # of the stream's entry 0
MAX = (1 << 63) - 1
AT_FDCWD = -100


def result_of(call, *arguments):
    try:
        result = call(*arguments)
    except OSError as e:
        return errno.errorcode[e.errno].replace("ENOTSUP", "ENOTSUP")  # one number
    return "OK" if result is None else result


def try_rows(rows):
    wrong = 0
    for number, (expected, what, call, *arguments) in enumerate(rows):
        found = result_of(call, *arguments)
        if found != expected:
            wrong += 1
            print(f"row {number}: {what}: expected {expected!r}, found {found!r}", file=sys.stderr)
    assert rows
    sys.exit(1 if wrong else 0)


def c_call(name, *arguments):
    """A system call that Python has no function for."""
    result = getattr(libc, name)(*(ctypes.c_long(a) if isinstance(a, int) else a for a in arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), name)
    return None if result == 0 else result


def opening(path, flags):
    os.close(os.open(path, flags, 0o644))


def with_fd(path, flags, call, *arguments):
    fd = os.open(path, flags)
    try:
        return call(fd, *arguments)
    finally:
        os.close(fd)


def append(stream, data):
    fd = os.open(stream + "/new", O_WRONLY)
    try:
        assert os.write(fd, data) == len(data)
    finally:
        os.close(fd)


def content(i, size=SIZE):
    return (b"%d " % i * size)[:size]


class Tree:
    """What every case finds: a stream S of 4 entries, the checkpoint C that covers 3 of them, and an empty stream."""

    def __init__(self, mnt):
        self.mnt = mnt
        self.s = mnt + "/S"
        self.checkpoints = mnt + "/.checkpoints"
        self.c = self.checkpoints + "/C"
        self.at = mnt + "/.at/C/S"
        if os.path.exists(self.s):
            return
        os.mkdir(self.s)
        os.mkdir(mnt + "/empty")
        for i in range(4):
            append(self.s, content(i))
            if i == 2:
                opening(self.c, O_WRONLY | O_CREAT | O_EXCL)


# ---- open(2) ----

FLAGS = {
    "RDONLY": O_RDONLY, "WRONLY": O_WRONLY, "RDWR": O_RDWR, "RDONLY|TRUNC": O_RDONLY | O_TRUNC, "WRONLY|TRUNC": O_WRONLY | O_TRUNC,
    "RDONLY|APPEND": O_RDONLY | O_APPEND, "WRONLY|APPEND": O_WRONLY | O_APPEND, "RDONLY|CREAT": O_RDONLY | O_CREAT, "WRONLY|CREAT": O_WRONLY | O_CREAT,
    "WRONLY|CREAT|EXCL": O_WRONLY | O_CREAT | O_EXCL, "RDONLY|CREAT|EXCL": O_RDONLY | O_CREAT | O_EXCL, "DIRECTORY": O_DIRECTORY,
    "NOFOLLOW": O_NOFOLLOW,
    "PATH": O_PATH, "PATH|DIRECTORY": O_PATH | O_DIRECTORY, "PATH|NOFOLLOW": O_PATH | O_NOFOLLOW, "TMPFILE": O_TMPFILE | O_RDWR, "DIRECT": O_DIRECT,
    "NONBLOCK": O_NONBLOCK, "NOATIME": O_NOATIME, "SYNC": O_SYNC,
    "WRONLY|SYNC": O_WRONLY | O_SYNC, "WRONLY|DSYNC|APPEND": O_WRONLY | O_DSYNC | O_APPEND,
}

# Each kind of node: what differs from OK.
FILE = {"WRONLY|CREAT|EXCL": "EEXIST", "RDONLY|CREAT|EXCL": "EEXIST", "DIRECTORY": "ENOTDIR", "PATH|DIRECTORY": "ENOTDIR", "TMPFILE": "ENOTDIR"}
WRITING = ("WRONLY", "RDWR", "WRONLY|APPEND", "WRONLY|CREAT", "WRONLY|SYNC", "WRONLY|DSYNC|APPEND", "WRONLY|TRUNC", "RDONLY|TRUNC")
READ_ONLY_FILE = FILE | dict.fromkeys(WRITING, "EACCES")
DIRECTORY = dict.fromkeys(WRITING + ("RDONLY|CREAT",), "EISDIR") | {
    "WRONLY|CREAT|EXCL": "EEXIST", "RDONLY|CREAT|EXCL": "EEXIST", "TMPFILE": "ENOTSUP", "RDONLY|TRUNC": "EISDIR", "DIRECT": "EINVAL"}
CHECKPOINT = FILE | {"WRONLY|TRUNC": "EPERM", "RDONLY|TRUNC": "EPERM"}
CONTROL = FILE | {f: "EACCES" for f in FLAGS if f not in FILE and not f.startswith("PATH") and (f not in WRITING or f in ("RDWR", "RDONLY|TRUNC"))}
MISSING = dict.fromkeys(FLAGS, "ENOENT")
CREATING = ("RDONLY|CREAT", "WRONLY|CREAT", "WRONLY|CREAT|EXCL", "RDONLY|CREAT|EXCL")
NEVER_MADE = MISSING | dict.fromkeys(CREATING, "EPERM")
NEVER_MADE_AT = MISSING | dict.fromkeys(CREATING, "EROFS")


def case_open(mnt):
    t = Tree(mnt)
    link = {"NOFOLLOW": "ELOOP"}
    table = {
        t.s + "/0": READ_ONLY_FILE,
        t.s + "/00000000000000000001": READ_ONLY_FILE,
        t.s + "/.first": READ_ONLY_FILE | link,
        t.s + "/.log": READ_ONLY_FILE,
        t.s + "/.from/1": READ_ONLY_FILE,
        t.at + "/0": READ_ONLY_FILE,
        t.at + "/.log": READ_ONLY_FILE | dict.fromkeys(WRITING, "EROFS"),
        t.s + "/new": FILE,
        t.s + "/.lines": CONTROL,
        t.s + "/.batch": CONTROL,
        t.s + "/.stats": READ_ONLY_FILE,
        mnt + "/.stats": READ_ONLY_FILE,
        t.s + "/.prune": CONTROL,
        t.s + "/.rotate": CONTROL,
        t.checkpoints + "/.prune": CONTROL,
        t.checkpoints + "/.compact": CONTROL,
        t.c: CHECKPOINT,
        t.checkpoints + "/HEAD": CHECKPOINT | link,
        t.s: DIRECTORY,
        mnt: DIRECTORY,
        t.checkpoints: DIRECTORY,
        t.s + "/.from": DIRECTORY,
        mnt + "/.at": DIRECTORY,
        mnt + "/.at/C": DIRECTORY,
        t.at: DIRECTORY,
        t.s + "/none": NEVER_MADE,
        t.s + "/77": NEVER_MADE,
        t.s + "/.none": NEVER_MADE,
        mnt + "/none": NEVER_MADE,
        t.s + "/.from/none": NEVER_MADE,
        t.at + "/none": NEVER_MADE_AT,
        t.at + "/new": NEVER_MADE_AT,
        t.at + "/3": NEVER_MADE_AT,
        mnt + "/.at/none": NEVER_MADE_AT,
        t.s + "/0/x": dict.fromkeys(FLAGS, "ENOTDIR"),
        mnt + "/none/x": MISSING,
    }
    for name, kind in (("0", READ_ONLY_FILE), ("new", FILE)):
        # a slash behind a file's name
        table[f"{t.s}/{name}/"] = dict.fromkeys(FLAGS, "ENOTDIR") | dict.fromkeys(CREATING, "EISDIR")
    for name in ("x" * 256, "x" * 4000):
        for parent in (mnt, t.s, t.checkpoints, t.at, mnt + "/.at", t.s + "/.from"):
            table[f"{parent}/{name}"] = dict.fromkeys(FLAGS, "ENAMETOOLONG")
    rows = [(kind.get(flags, "OK"), f"open {path.removeprefix(mnt):.60} O_{flags}", opening, path, FLAGS[flags])
            for path, kind in table.items() for flags in FLAGS]
    # checkpoints are made by these
    for number, flags in enumerate(CREATING):
        rows.append(("OK", f"open a new checkpoint with {flags}", opening, f"{t.checkpoints}/made{number}", FLAGS[flags]))
        rows.append(("OK", "unlink it", os.unlink, f"{t.checkpoints}/made{number}"))
    rows.append((["new"], "what was opened left nothing", os.listdir, mnt + "/empty"))
    rows.append((5, "and nothing here", lambda: len(os.listdir(t.s))))
    try_rows(rows)


# ---- What is changed by name ----

def case_refused(mnt):
    t = Tree(mnt)
    entry, new, empty = t.s + "/0", t.s + "/new", mnt + "/empty"
    long = "x" * 256
    rows = []

    def row(expected, call, *arguments):
        shown = ", ".join(str(a).removeprefix(mnt)[:60] for a in arguments)
        rows.append((expected, f"{getattr(call, '__name__', call)} {shown}", call, *arguments))

    def rename2(old, new, flags):
        return c_call("renameat2", AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags)

    def bind(path):
        # a socket's address is short
        with socket.socket(socket.AF_UNIX) as s:
            directory = os.open(os.path.dirname(path), O_PATH)
            try:
                s.bind(f"/proc/self/fd/{directory}/{os.path.basename(path)}")
            finally:
                os.close(directory)

    def mknod(path, mode, device=0):
        os.mknod(path, mode | 0o600, device)

    made = (
        ("EPERM", t.s + "/x"), ("EPERM", t.s + "/9"), ("EPERM", mnt + "/x"), ("EPERM", t.s + "/.from/x"), ("EROFS", t.at + "/x"),
        ("EROFS", mnt + "/.at/x"),
        ("EROFS", mnt + "/.at/C/x"), ("EEXIST", entry), ("EEXIST", new), ("EEXIST", t.s), ("EEXIST", t.checkpoints), ("EEXIST", t.c),
        ("EEXIST", t.s + "/.log"),
        ("EEXIST", t.s + "/.first"), ("EEXIST", t.at), ("EEXIST", t.at + "/0"), ("ENOENT", mnt + "/none/x"), ("ENOTDIR", entry + "/x"),
        ("ENAMETOOLONG", f"{t.s}/{long}"), ("ENAMETOOLONG", f"{mnt}/{long}"), ("ENAMETOOLONG", f"{t.checkpoints}/{long}"),
        ("ENAMETOOLONG", f"{t.at}/{long}"),
    )
    for expected, path in made:
        row(expected, os.symlink, "target", path)
        row(expected, mknod, path, stat.S_IFREG)
        row(expected, mknod, path, stat.S_IFIFO)
        row(expected, os.link, entry, path)
        if expected in ("EPERM", "EROFS", "EEXIST"):
            row("EADDRINUSE" if expected == "EEXIST" else expected, bind, path)
        if path != mnt + "/x":
            row(expected, os.mkdir, path)
    for call in ((os.symlink, "target"), (os.link, t.c)):
        row("EPERM", *call, t.checkpoints + "/x")
    row("EPERM", mknod, t.checkpoints + "/x", stat.S_IFIFO)
    row("EPERM", os.mkdir, t.checkpoints + "/x")
    if os.getuid() == 0:
        row("EPERM", mknod, t.s + "/x", stat.S_IFCHR, os.makedev(1, 3))
        row("EPERM", mknod, t.s + "/x", stat.S_IFBLK, os.makedev(7, 0))
    row("EINVAL", os.mkdir, mnt + "/.x")
    row("EINVAL", os.mkdir, mnt + "/LOCK")

    # rmdir, unlink
    for expected, path in (("ENOTEMPTY", t.s), ("EPERM", t.checkpoints), ("EPERM", mnt + "/.at"), ("EROFS", mnt + "/.at/C"), ("EROFS", t.at),
                           ("EPERM", t.s + "/.from"),
                           ("ENOTDIR", entry), ("ENOTDIR", new), ("ENOTDIR", t.c), ("ENOTDIR", t.s + "/.first"), ("ENOENT", mnt + "/none"),
                           ("ENOENT", t.s + "/none"),
                           ("EBUSY", mnt), ("EINVAL", t.s + "/."), ("ENOTEMPTY", t.s + "/..")):
        row(expected, os.rmdir, path)
    for expected, path in (("EPERM", entry), ("EPERM", new), ("EPERM", t.s + "/.log"), ("EPERM", t.s + "/.first"), ("EPERM", t.s + "/.from/0"),
                           ("EROFS", t.at + "/0"),
                           ("EISDIR", t.s), ("EISDIR", t.checkpoints), ("EISDIR", mnt + "/.at"), ("ENOENT", t.s + "/none"),
                           ("ENOENT", t.checkpoints + "/none"),
                           ("ENOTDIR", entry + "/"), ("ENOTDIR", entry + "/x")):
        row(expected, os.unlink, path)

    # rename
    row("EPERM", os.rename, t.s, mnt + "/renamed")
    row("EPERM", os.rename, t.s, empty)
    row("EPERM", os.rename, empty, t.s)
    row("EPERM", os.rename, empty, t.s + "/x")
    row("EINVAL", os.rename, t.s, t.s + "/x")
    row("EPERM", os.rename, entry, t.s + "/x")
    row("EPERM", os.rename, entry, t.s + "/1")
    row("EPERM", os.rename, entry, empty + "/0")
    row("EPERM", os.rename, entry, new)
    row("EPERM", os.rename, new, t.s + "/x")
    row("EPERM", os.rename, t.c, t.checkpoints + "/x")
    row("EPERM", os.rename, t.c, t.s + "/x")
    row("EPERM", os.rename, t.s + "/.first", t.s + "/x")
    row("EPERM", os.rename, t.checkpoints, mnt + "/x")
    row("EISDIR", os.rename, entry, empty)
    row("ENOTDIR", os.rename, empty, entry)
    row("ENOENT", os.rename, t.s + "/none", t.s + "/x")
    row("EROFS", os.rename, t.at + "/0", t.at + "/x")
    row("EROFS", os.rename, entry, t.at + "/x")
    row("EROFS", os.rename, t.at + "/0", empty + "/x")
    row("ENAMETOOLONG", os.rename, entry, f"{t.s}/{long}")
    row("OK", os.rename, entry, entry)  # one file under both names: nothing is to be done
    row("OK", os.rename, t.s, t.s)
    row("EPERM", rename2, entry, t.s + "/x", 1)  # RENAME_NOREPLACE
    row("EEXIST", rename2, entry, t.s + "/1", 1)
    row("EPERM", rename2, entry, t.s + "/1", 2)  # RENAME_EXCHANGE
    row("ENOENT", rename2, entry, t.s + "/x", 2)

    # modes, owners, sizes
    for path in (entry, t.s, t.checkpoints, t.c, t.s + "/.log", t.s + "/.from", t.s + "/.from/0"):
        row("EPERM", os.chmod, path, 0o700)
        row("EPERM", os.chown, path, 12345, -1)
        row("EPERM", os.chown, path, -1, 12345)
    row("EROFS", os.chmod, t.at, 0o700)
    row("EPERM", os.chmod, entry, 0o444)
    row("OK", os.chmod, t.s, 0o755)
    row("OK", os.chown, new, 12345, 12345)
    row("OK", os.chmod, new, 0o600)
    for path in (entry, t.s + "/.log"):
        for size in (0, 1, SIZE, SIZE + 1, MAX):
            row("EPERM", os.truncate, path, size)
    row("OK", os.truncate, new, 0)
    row("EPERM", os.truncate, new, 1)
    row("EPERM", os.truncate, t.c, 0)
    row("EISDIR", os.truncate, t.s, 0)
    row("EINVAL", with_fd, entry, O_RDONLY, os.ftruncate, 0)

    # not that kind
    row("ENOTDIR", os.chdir, entry)
    row("ENOTDIR", os.stat, entry + "/")
    row("ENOTDIR", os.stat, entry + "/.")
    row("EINVAL", os.readlink, entry)
    row("EINVAL", os.readlink, t.s)
    row("ENOTDIR", os.listdir, new)
    row("EISDIR", with_fd, t.s, O_RDONLY, os.read, 10)
    row("EBADF", with_fd, t.s, O_RDONLY, os.write, b"x")
    row("EBADF", with_fd, new, O_WRONLY, os.read, 10)
    row("EBADF", with_fd, entry, O_RDONLY, os.write, b"x")
    row("EBADF", with_fd, entry, O_PATH, os.read, 10)
    row("EACCES", os.execv, entry, ["x"])
    row("ENOTBLK" if os.getuid() == 0 else "EPERM", c_call, "mount", os.fsencode(entry), os.fsencode(empty), b"ext4", 0, None)
    for i in range(4):
        row(content(i), with_fd, f"{t.s}/{i}", O_RDONLY, os.read, 1 << 20)
    row((0o100644, os.getuid(), 0), lambda: (lambda st: (st.st_mode, st.st_uid, st.st_size))(os.stat(new)))
    try_rows(rows)


# ---- Times ----

def case_times(mnt):
    t = Tree(mnt)
    entry, new = t.s + "/0", t.s + "/new"
    before = [os.stat(p) for p in (entry, new, t.s, t.c)]
    OMIT, NOW = (1 << 30) - 2, (1 << 30) - 1

    def utimens(path, *nanoseconds, flags=0):
        times = struct.pack("qqqq", 0, nanoseconds[0], 0, nanoseconds[1]) if nanoseconds else None
        return c_call("utimensat", AT_FDCWD, os.fsencode(path), times, flags)

    def futimens(fd, *nanoseconds):
        return c_call("futimens", fd, struct.pack("qqqq", 0, nanoseconds[0], 0, nanoseconds[1]) if nanoseconds else None)

    rows = []
    for name, path, expected in (("entry", entry, "EPERM"), ("log", t.s + "/.log", "EPERM"), ("stream", t.s, "EPERM"), ("root", mnt, "EPERM"),
        ("new", new, "OK"),
                                 ("checkpoint", t.c, "OK"), ("checkpoints", t.checkpoints, "EPERM"), ("stream at", t.at, "EROFS"),
                                 ("missing", t.s + "/x", "ENOENT")):
        rows += [(expected, f"utimensat now, {name}", utimens, path), (expected, f"utimensat, {name}", utimens, path, 1, 2),
                 (expected, f"utimensat of one, {name}", utimens, path, OMIT, 5),
                 (expected, f"utimensat of one to now, {name}", utimens, path, NOW, OMIT),
                 ("ENOENT" if expected == "ENOENT" else "EINVAL", f"utimensat of what is no time, {name}", utimens, path, 1000000000, 0)]
    rows += [("OK", "utimensat of nothing", utimens, entry, OMIT, OMIT),
             ("EPERM", "utimensat of a link", lambda: utimens(t.s + "/.first", 1, 1, flags=0x100)),
             ("EPERM", "futimens of an entry", with_fd, entry, O_RDONLY, futimens), ("OK", "futimens of new", with_fd, new, O_WRONLY, futimens),
             ("OK", "futimens of new", with_fd, new, O_WRONLY, futimens, 1, 1)]
    after = lambda: [os.stat(p) for p in (entry, new, t.s, t.c)]
    rows.append(([s.st_mtime_ns for s in before], "the times are as they were", lambda: [s.st_mtime_ns for s in after()]))
    rows.append(([s.st_ctime_ns for s in before], "the times are as they were", lambda: [s.st_ctime_ns for s in after()]))
    try_rows(rows)


# ---- Reading ----

def case_read(mnt):
    t = Tree(mnt)
    path, whole = t.s + "/0", content(0)
    fd = os.open(path, O_RDONLY)
    out = tempfile.TemporaryFile()
    rows = [(whole[at:at + n], f"pread {n} at {at}", os.pread, fd, n, at) for n in (1, 10, 4096, 70000) for at in (0, 1, 4095, SIZE - 1)]
    rows += [(b"", f"pread at {at}", os.pread, fd, 100, at)
             for at in (SIZE, SIZE + 1, 8191, 8192, 1 << 20, 1 << 32, (1 << 40) + 1, 1 << 62, MAX - 8192, MAX - 100)]
    rows += [("EINVAL", "pread at the largest offset", os.pread, fd, 100, MAX), ("EINVAL", "pread at -1", os.pread, fd, 1, -1),
             (b"", "pread of nothing", os.pread, fd, 0, 0),
             (b"", "pread of nothing, far", os.pread, fd, 0, MAX)]
    for name in ("/.log", "/.from/0", "/.from/3"):
        log = os.open(t.s + name, O_RDONLY)
        size = os.fstat(log).st_size
        rows += [(b"", f"pread of {name} at {at}", os.pread, log, 100, at) for at in (size, size + 1, size + 4096, 1 << 40, 1 << 62, MAX - 100)]
        rows += [("EINVAL", f"pread of {name} at the largest offset", os.pread, log, 100, MAX), (size, "its end", os.lseek, log, 0, os.SEEK_END)]
    SEEK_DATA, SEEK_HOLE = os.SEEK_DATA, os.SEEK_HOLE
    rows += [(SIZE, "SEEK_END", os.lseek, fd, 0, os.SEEK_END), (0, "SEEK_END back", os.lseek, fd, -SIZE, os.SEEK_END),
             ("EINVAL", "SEEK_END too far back", os.lseek, fd, -SIZE - 1, os.SEEK_END),
             (MAX, "SEEK_SET to the largest offset", os.lseek, fd, MAX, os.SEEK_SET), ("EINVAL", "read there", os.read, fd, 10),
             (1 << 50, "SEEK_SET", os.lseek, fd, 1 << 50, os.SEEK_SET), (b"", "read there", os.read, fd, 10),
             (0, "SEEK_DATA", os.lseek, fd, 0, SEEK_DATA), (77, "SEEK_DATA", os.lseek, fd, 77, SEEK_DATA),
             (SIZE, "SEEK_HOLE", os.lseek, fd, 0, SEEK_HOLE), (SIZE, "SEEK_HOLE", os.lseek, fd, 77, SEEK_HOLE),
             ("ENXIO", "SEEK_DATA at the end", os.lseek, fd, SIZE, SEEK_DATA), ("ENXIO", "SEEK_HOLE at the end", os.lseek, fd, SIZE, SEEK_HOLE),
             ("ENXIO", "SEEK_DATA at -1", os.lseek, fd, -1, SEEK_DATA),
             ("EINVAL", "seek by what is no way", os.lseek, fd, 0, 99)]

    def sent(offset, count):
        out.seek(0)
        out.truncate()
        n = os.sendfile(out.fileno(), fd, offset, count)
        return os.pread(out.fileno(), n + 1, 0)

    def spliced(offset, count):
        r, w = os.pipe()
        try:
            n = os.splice(fd, w, count, offset_src=offset)
            return os.read(r, n) if n else b""
        finally:
            os.close(r), os.close(w)

    def splice(source, target, count):
        r, w = os.pipe()
        try:
            n = os.splice(source, w, count)
            return os.splice(r, target, n)
        finally:
            os.close(r), os.close(w)

    rows += [(whole[at:at + n], f"sendfile {n} at {at}", sent, at, n) for at, n in ((0, SIZE), (0, 70000), (1, 10), (4095, 3), (SIZE, 10),
             (1 << 40, 10))]
    if hasattr(os, "splice"):
        rows += [(whole[at:at + n], f"splice {n} at {at}", spliced, at, n) for at, n in ((0, SIZE), (1, 10), (4095, 3), (SIZE, 10), (1 << 40, 10))]

    def into_new(how):
        """A copy of the entry is the next entry."""
        target = os.open(mnt + "/empty/new", O_WRONLY)
        os.lseek(fd, 0, os.SEEK_SET)
        done = 0
        try:
            while done < SIZE and (n := how(fd, target, SIZE - done)):
                done += n
        finally:
            os.close(target)
        with open(mnt + "/empty/.last", "rb") as f:
            return f.read()

    rows += [(whole, "sendfile into new", into_new, lambda source, target, n: os.sendfile(target, source, None, n)),
             (whole, "copy_file_range into new", into_new, os.copy_file_range)]
    if hasattr(os, "splice"):
        rows.append((whole, "splice into new", into_new, splice))

    def direct(offset):
        block = mmap.mmap(-1, 8192)
        f = os.open(path, O_RDONLY | O_DIRECT)
        try:
            n = os.preadv(f, [block], offset)
            return block[:n]
        finally:
            os.close(f)

    rows += [(whole[at:at + 8192], f"O_DIRECT at {at}", direct, at) for at in (0, 512, 4096, 8192, 1 << 30)]
    try_rows(rows)


def case_map(mnt):
    t = Tree(mnt)
    path, whole = t.s + "/1", content(1)

    def mapped(length, flags, prot, offset=0, open_flags=O_RDONLY, action=lambda m: m[:]):
        f = os.open(path, open_flags)
        try:
            m = mmap.mmap(f, length, flags=flags, prot=prot, offset=offset)
        finally:
            os.close(f)
        try:
            return action(m)
        finally:
            m.close()

    def write(m):
        m[0:5] = b"dirty"
        return m[:5]

    READ, WRITE = mmap.PROT_READ, mmap.PROT_WRITE
    rows = [(whole, "shared", mapped, 0, mmap.MAP_SHARED, READ), (whole, "private", mapped, 0, mmap.MAP_PRIVATE, READ),
            (whole[4096:], "shared, second page", mapped, SIZE - 4096, mmap.MAP_SHARED, READ, 4096),
            ("EACCES", "shared for writing", mapped, SIZE, mmap.MAP_SHARED, READ | WRITE),
            (b"dirty", "private for writing", lambda: mapped(SIZE, mmap.MAP_PRIVATE, READ | WRITE, action=write)),
            (whole, "which the entry does not see", with_fd, path, O_RDONLY, os.read, SIZE + 1),
            ("EINVAL", "at no page's begin", lambda: os_mmap(path, SIZE, READ, mmap.MAP_SHARED, 100)),
            (whole[:100] , "kept after close", mapped, 100, mmap.MAP_SHARED, READ), ("EACCES", "made writable later", lambda: protect_later(path)),
            ("ENODEV", "a directory", lambda: os_mmap(t.s, 4096, READ, mmap.MAP_SHARED, 0)),
            (b"\0" * (8192 - SIZE), "zeros behind the end", lambda: behind_the_end(path))]
    try_rows(rows)


libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
FAILED = ctypes.c_void_p(-1).value


def os_mmap(path, length, prot, flags, offset, action=lambda address: None):
    fd = os.open(path, O_RDONLY)
    try:
        address = libc.mmap(None, length, prot, flags, fd, offset)
        error = ctypes.get_errno()
    finally:
        os.close(fd)
    if address == FAILED:
        raise OSError(error, "mmap")
    try:
        return action(address)
    finally:
        libc.munmap(address, length)


def protect_later(path):
    def protect(address):
        if libc.mprotect(address, 4096, mmap.PROT_READ | mmap.PROT_WRITE) < 0:
            raise OSError(ctypes.get_errno(), "mprotect")
    return os_mmap(path, 4096, mmap.PROT_READ, mmap.MAP_SHARED, 0, protect)


def behind_the_end(path):
    return os_mmap(path, 8192, mmap.PROT_READ, mmap.MAP_SHARED, 0, lambda address: ctypes.string_at(address + SIZE, 8192 - SIZE))


# ---- Writing ----

RWF_NOWAIT, RWF_APPEND = 0x8, 0x10


def case_write(mnt):
    """Ways to write that few programs know. A row's value is the entries that they make."""
    s = mnt + "/written"
    os.mkdir(s)

    def made(how, flags=O_WRONLY):
        before = len(os.listdir(s)) - 1
        fd = os.open(s + "/new", flags)
        try:
            how(fd)
        finally:
            os.close(fd)
        found = []
        for i in range(before, len(os.listdir(s)) - 1):
            with open(f"{s}/{i}", "rb") as f:
                found.append(f.read())
        return found

    def appends_from_then_on(fd):
        os.write(fd, b"one ")
        fcntl.fcntl(fd, fcntl.F_SETFL, O_APPEND)
        os.lseek(fd, 0, os.SEEK_SET)
        os.write(fd, b"two")

    def appends_no_more(fd):
        os.write(fd, b"one ")
        fcntl.fcntl(fd, fcntl.F_SETFL, 0)
        os.pwrite(fd, b"two", 0)

    def appends_each(fd):
        os.write(fd, b"one ")
        os.pwritev(fd, [b"two "], 0, RWF_APPEND)
        os.pwritev(fd, [b"three"], 0, RWF_APPEND)

    def syncs_each(fd):
        os.pwritev(fd, [b"one"], 0, os.RWF_DSYNC)
        os.pwritev(fd, [b"two"], 3, os.RWF_SYNC)

    def seeks(fd):
        os.write(fd, b"abc")
        os.lseek(fd, 5, os.SEEK_CUR)
        os.write(fd, b"x")

    def vectors(fd):
        os.writev(fd, [b"a", b"", b"b" * 100000, b"c"])

    def direct(fd):
        block = mmap.mmap(-1, 8192)
        block[:] = b"d" * 8192
        os.write(fd, block)
        os.write(fd, block)

    def through_a_pipe(fd):
        r, w = os.pipe()
        for piece in (b"one ", b"two"):
            os.write(w, piece)
            os.splice(r, fd, 100)
        os.close(r), os.close(w)

    rows = [([b"one two"], "F_SETFL O_APPEND", made, appends_from_then_on),
            ([b"two "], "F_SETFL without it", made, appends_no_more, O_WRONLY | O_APPEND),
            ([b"one two three"], "RWF_APPEND", made, appends_each), ([b"one", b"two"], "RWF_DSYNC, RWF_SYNC", made, syncs_each),
            ("ENOTSUP", "RWF_NOWAIT", made, lambda fd: os.pwritev(fd, [b"x"], 0, RWF_NOWAIT)), ([b"abc" + b"\0" * 5 + b"x"], "SEEK_CUR", made, seeks),
            ([b"a" + b"b" * 100000 + b"c"], "writev", made, vectors), ([b"d" * 16384], "O_DIRECT", made, direct, O_WRONLY | O_DIRECT),
            ([b"abc"], "O_DIRECT of no block", made, lambda fd: os.write(fd, b"abc"), O_WRONLY | O_DIRECT),
            ([], "nothing", made, lambda fd: os.write(fd, b"")),
            ("EFBIG", "near the largest offset", made, lambda fd: os.pwrite(fd, b"x", MAX - 1)),
            ("EINVAL", "at the largest offset", made, lambda fd: os.pwrite(fd, b"x", MAX)),
            ("EINVAL", "at -1", made, lambda fd: os.pwrite(fd, b"x", -1)), ("EINVAL", "seek to -1", made, lambda fd: os.lseek(fd, -1, os.SEEK_SET))]
    if hasattr(os, "splice"):
        rows.append(([b"one two"], "splice", made, through_a_pipe))
    rows += [("ENODEV", "a shared map of it", os_mmap, s + "/new", 4096, mmap.PROT_READ, mmap.MAP_SHARED, 0),
             ("EACCES", "running it", os.execv, s + "/new", ["x"])]
    try_rows(rows)


# ---- Everything else on descriptors ----

def case_descriptors(mnt):
    t = Tree(mnt)
    entry, new = t.s + "/2", t.s + "/new"
    fd, directory, root, checkpoints = (os.open(p, O_RDONLY) for p in (entry, t.s, mnt, t.checkpoints))
    writer = os.open(new, O_WRONLY)
    nothing = bytearray(64)
    rows = []
    for f, name in ((fd, "entry"), (directory, "stream"), (root, "root"), (checkpoints, ".checkpoints"), (writer, "new")):
        rows += [("OK", f"fsync {name}", os.fsync, f), ("OK", f"fdatasync {name}", os.fdatasync, f), ("OK", f"syncfs {name}", c_call, "syncfs", f)]
        rows += [("ENOTTY", f"ioctl {name}", fcntl.ioctl, f, termios.TIOCGWINSZ, nothing),
                 ("ENOTTY", f"FS_IOC_GETFLAGS {name}", fcntl.ioctl, f, 0x80086601, nothing)]
        rows += [("ENOTSUP", f"fgetxattr {name}", os.getxattr, f, "user.x"), ("ENOTSUP", f"fsetxattr {name}", os.setxattr, f, "user.x", b"y"),
                 ("ENOTSUP", f"fremovexattr {name}", os.removexattr, f, "user.x")]
        rows += [("ENOTSUP", f"flistxattr {name}", os.listxattr, f)]
    rows += [(os.fstat(fd).st_size, "FIONREAD", lambda: struct.unpack("i", fcntl.ioctl(fd, termios.FIONREAD, b"\0" * 4))[0])]
    rows += [("EBADF", "fallocate of an entry", c_call, "fallocate", fd, 0, 0, 100),
             ("ENOTSUP", "fallocate of new", c_call, "fallocate", writer, 0, 0, 100),
             ("ENOTSUP", "punch a hole into new", c_call, "fallocate", writer, 3, 0, 100)]
    rows += [("OK", f"fadvise {advice}", os.posix_fadvise, fd, 0, 0, advice) for advice in range(6)]
    rows += [("OK", "readahead", c_call, "readahead", fd, 0, 4096)]
    for path, what in ((entry, "an entry"), (t.s, "a stream"), (new, "new"), (mnt, "the root")):
        rows += [((0x65735546, 255), f"statfs of {what}", statfs, path)]
    rows += [((True, True), "statx of an entry", statx, entry), ((True, True), "statx of a stream", statx, t.s)]
    rows += [((os.fstat(fd).st_size + 511) // 512, "blocks", lambda: os.fstat(fd).st_blocks),
             (4096, "the best size of a read", lambda: os.fstat(fd).st_blksize)]
    rows += lock_rows(entry, fd)
    try_rows(rows)


def statfs(path):
    buffer = ctypes.create_string_buffer(256)
    if libc.statfs(os.fsencode(path), buffer) < 0:
        raise OSError(ctypes.get_errno(), "statfs")
    return struct.unpack_from("q", buffer)[0], os.statvfs(path).f_namemax


def statx(path):
    """Whether it says what stat(2) does, and claims no time of birth that it does not have."""
    buffer = ctypes.create_string_buffer(256)
    if libc.statx(AT_FDCWD, os.fsencode(path), 0, 0xfff, buffer) < 0:
        raise OSError(ctypes.get_errno(), "statx")
    mask, _, _, links, uid, gid, mode, _, ino, size, blocks, _ = struct.unpack_from("IIQIIIHHQQQQ", buffer)
    st = os.stat(path)
    same = (links, uid, gid, mode, ino, size, blocks) == (st.st_nlink, st.st_uid, st.st_gid, st.st_mode, st.st_ino, st.st_size, st.st_blocks)
    return same and mask & 0x7ff == 0x7ff, not mask & 0x800


def lock_rows(entry, fd):
    other = os.open(entry, O_RDONLY)

    def in_child(call, *arguments):
        """fcntl(2) locks are a process's."""
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(w, str(result_of(call, *arguments)).encode())
            os._exit(0)
        os.close(w)
        found = os.read(r, 100).decode()
        os.close(r)
        os.waitpid(pid, 0)
        return found

    def other_reads():
        f = os.open(entry, O_RDONLY)
        try:
            fcntl.lockf(f, fcntl.LOCK_SH | fcntl.LOCK_NB)
        finally:
            os.close(f)

    new = os.path.dirname(entry) + "/new"
    writer = os.open(new, O_WRONLY)

    def lock_new():
        f = os.open(new, O_WRONLY)
        try:
            fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        finally:
            os.close(f)

    return [("OK", "flock", fcntl.flock, fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
            ("EAGAIN", "flock of another", fcntl.flock, other, fcntl.LOCK_SH | fcntl.LOCK_NB),
            ("OK", "unlock", fcntl.flock, fd, fcntl.LOCK_UN), ("OK", "flock now", fcntl.flock, other, fcntl.LOCK_SH | fcntl.LOCK_NB),
            ("OK", "flock shared", fcntl.flock, fd, fcntl.LOCK_SH | fcntl.LOCK_NB),
            ("EBADF", "write lock of what is read", fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB),
            ("OK", "read lock", fcntl.lockf, fd, fcntl.LOCK_SH | fcntl.LOCK_NB),
            ("OK", "read lock of another", in_child, other_reads), ("OK", "write lock of new", fcntl.lockf, writer, fcntl.LOCK_EX | fcntl.LOCK_NB),
            ("EAGAIN", "write lock of another", in_child, lock_new)]


# ---- readdir(3) ----

def getdents(fd, size=1000):
    """[(inode, cookie, type, name)]"""
    buffer = ctypes.create_string_buffer(size)
    n = libc.syscall(ctypes.c_long({"x86_64": 217, "aarch64": 61, "riscv64": 61}[os.uname().machine]), fd, buffer, size)
    if n < 0:
        raise OSError(ctypes.get_errno(), "getdents64")
    found, at = [], 0
    while at < n:
        ino, cookie, length, kind = struct.unpack_from("<QqHB", buffer, at)
        found.append((ino, cookie, kind, buffer.raw[at + 19:at + length].split(b"\0")[0].decode()))
        at += length
    return found


def listing(fd):
    found = []
    while piece := getdents(fd):
        found += piece
    return found


def case_readdir(mnt):
    t = Tree(mnt)
    s = mnt + "/listed"
    os.mkdir(s)
    for i in range(100):
        append(s, b"x")
    types = {4: stat.S_IFDIR, 8: stat.S_IFREG, 10: stat.S_IFLNK}
    rows = []

    def honest(path):
        """Types and numbers are as stat(2) says, cookies go up, each name is there once."""
        fd = os.open(path, O_RDONLY | O_DIRECTORY)
        found = listing(fd)
        os.close(fd)
        for ino, cookie, kind, name in found:
            if name == ".." and path == mnt:
                continue
            st = os.lstat(f"{path}/{name}")
            assert types[kind] == stat.S_IFMT(st.st_mode), (path, name, kind)
            assert ino == st.st_ino, (path, name, ino, st.st_ino)
        cookies = [cookie for _, cookie, _, _ in found]
        assert cookies == sorted(set(cookies)), cookies
        names = [name for _, _, _, name in found]
        assert len(names) == len(set(names)) and {".", ".."} <= set(names), names
        return len(names) - 2

    for path, count in ((s, 101), (t.s, 5), (mnt, 5), (t.checkpoints, 2), (mnt + "/.at", 1), (mnt + "/.at/C", 2), (t.at, 3), (t.s + "/.from", 0)):
        rows.append((count, f"listing of {path.removeprefix(mnt)}", honest, path))

    fd = os.open(s, O_RDONLY | O_DIRECTORY)
    full = listing(fd)

    def from_cookie(position):
        os.lseek(fd, position, os.SEEK_SET)
        return [e[3] for e in listing(fd)]

    names = [e[3] for e in full]
    rows += [(names[i + 1:], f"after seekdir behind {names[i]}", from_cookie, full[i][1]) for i in (0, 1, 2, 3, 50, 100, 101)]
    rows += [(names, "from the begin", from_cookie, 0), ([], "from far behind", from_cookie, 1 << 45),
             ([], "from the largest place", from_cookie, MAX), ("EINVAL", "from -1", from_cookie, -1)]
    rows += [([], "again at the end", lambda: from_cookie(full[-1][1])),
             ("EINVAL", "into too little room", lambda: (os.lseek(fd, 0, os.SEEK_SET), getdents(fd, 10)))]

    def appended_meanwhile():
        """A listing that is under way need not show it, and shows all else; one that is begun again does."""
        os.lseek(fd, 0, os.SEEK_SET)
        head = getdents(fd, 500)
        for i in range(30):
            append(s, b"y")
        rest = listing(fd)
        seen = [e[3] for e in head + rest]
        assert len(seen) == len(set(seen)) and set(names) <= set(seen), seen
        os.lseek(fd, 0, os.SEEK_SET)
        return len(listing(fd))

    rows += [(133, "appended meanwhile", appended_meanwhile), (131, "another listing", lambda: len(os.listdir(s)))]
    try_rows(rows)


# ---- access(2) ----

def case_access(mnt):
    t = Tree(mnt)

    def access(path, mode):
        return c_call("access", os.fsencode(path), mode)

    R, W, X = os.R_OK, os.W_OK, os.X_OK
    rows = []
    for path, *expected in ((t.s + "/0", "OK", "EACCES", "EACCES"), (t.s + "/.log", "OK", "EACCES", "EACCES"),
                            (t.s + "/.from/0", "OK", "EACCES", "EACCES"), (t.at + "/0", "OK", "EACCES", "EACCES"),
                            (t.at + "/.log", "OK", "EROFS", "EACCES"), (t.s + "/new", "OK", "OK", "EACCES"),
                            (t.s + "/.lines", "EACCES", "OK", "EACCES"), (t.s + "/.batch", "EACCES", "OK", "EACCES"),
                            (t.s + "/.prune", "EACCES", "OK", "EACCES"),
                            (t.s + "/.stats", "OK", "EACCES", "EACCES"), (t.s, "OK", "OK", "OK"), (mnt, "OK", "OK", "OK"),
                            (t.at, "OK", "EROFS", "OK"),
                            (t.s + "/.from", "OK", "EACCES", "OK"), (t.c, "OK", "EACCES", "EACCES"), (t.s + "/x", "ENOENT", "ENOENT", "ENOENT")):
        rows += [(e, f"access {path.removeprefix(mnt)} {name}", access, path, mode) for e, name, mode in zip(expected, "RWX", (R, W, X))]
        rows.append(("ENOENT" if path.endswith("x") else "OK", f"access {path.removeprefix(mnt)} F", access, path, 0))
    try_rows(rows)


def case_strangers(mnt):
    """With allow_other; as another user."""
    t = Tree(mnt)
    os.setgroups([])
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)

    def access(path, mode):
        return c_call("access", os.fsencode(path), mode)

    R, W, X = os.R_OK, os.W_OK, os.X_OK
    rows = []
    for path, *expected in ((t.s + "/0", "OK", "EACCES", "EACCES"), (t.s + "/.log", "OK", "EACCES", "EACCES"),
                            (t.s + "/new", "OK", "EACCES", "EACCES"), (t.s, "OK", "EACCES", "OK"), (mnt, "OK", "EACCES", "OK"),
                            (t.c, "OK", "EACCES", "EACCES")):
        rows += [(e, f"access {path.removeprefix(mnt)} {name}", access, path, mode) for e, name, mode in zip(expected, "RWX", (R, W, X))]
    rows += [("EACCES", "open new", opening, t.s + "/new", O_WRONLY), ("EACCES", "open new", opening, t.s + "/new", O_WRONLY | O_APPEND | O_CREAT),
             ("OK", "read new", opening, t.s + "/new", O_RDONLY),
             ("OK", "read an entry", opening, t.s + "/0", O_RDONLY), ("EACCES", "write an entry", opening, t.s + "/0", O_WRONLY),
             ("EPERM", "O_NOATIME", opening, t.s + "/0", O_NOATIME),
             ("EACCES", "mkdir", os.mkdir, mnt + "/x"), ("EACCES", "rmdir", os.rmdir, mnt + "/empty"), ("EACCES", "unlink", os.unlink, t.s + "/0"),
             ("EACCES", "create", opening, t.s + "/x", O_WRONLY | O_CREAT),
             ("EACCES", "make a checkpoint", opening, t.checkpoints + "/x", O_WRONLY | O_CREAT), ("EACCES", "remove a checkpoint", os.unlink, t.c),
             ("EACCES", "rename", os.rename, t.s, mnt + "/x"),
             ("EPERM", "chmod", os.chmod, t.s + "/0", 0o777), ("EPERM", "chmod", os.chmod, t.s + "/new", 0o777),
             ("EPERM", "chown", os.chown, t.s + "/new", 65534, 65534), ("EPERM", "utimes", os.utime, t.s + "/0", (1, 1)),
             ("EACCES", "touch", os.utime, t.s + "/0"), ("EACCES", "prune", opening, t.s + "/.prune", O_WRONLY),
             ("EACCES", "rotate", opening, t.s + "/.rotate", O_WRONLY), ("EACCES", "truncate", os.truncate, t.s + "/new", 0),
             (content(0), "its content", with_fd, t.s + "/0", O_RDONLY, os.read, SIZE + 1),
             (sorted(os.listdir(t.s)), "listing", lambda: sorted(os.listdir(t.s)))]
    try_rows(rows)


# ---- By handles, as a server of NFS does ----

def case_handles(mnt):
    t = Tree(mnt)
    libc.open_by_handle_at.restype = ctypes.c_int

    def handle_of(path):
        buffer = ctypes.create_string_buffer(struct.pack("Ii", 128, 0), 136)
        mount_id = ctypes.c_int()
        if libc.name_to_handle_at(AT_FDCWD, os.fsencode(path), buffer, ctypes.byref(mount_id), 0) < 0:
            raise OSError(ctypes.get_errno(), "name_to_handle_at")
        return buffer

    def open_handle(handle, flags=O_RDONLY):
        root = os.open(mnt, O_RDONLY)
        fd = libc.open_by_handle_at(root, handle, flags)
        error = ctypes.get_errno()
        os.close(root)
        if fd < 0:
            raise OSError(error, "open_by_handle_at")
        return fd

    def read_all(path):
        fd = open_handle(handle_of(path))
        try:
            return os.read(fd, 1 << 20)
        finally:
            os.close(fd)

    def list_by_handle(path):
        fd = open_handle(handle_of(path))
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def gone():
        """Made again, it is another one."""
        os.mkdir(mnt + "/gone")
        handle = handle_of(mnt + "/gone")
        os.rmdir(mnt + "/gone")
        os.mkdir(mnt + "/gone")
        os.close(open_handle(handle))

    rows = [(content(i), "an entry by its handle", read_all, f"{t.s}/{i}") for i in range(4)]
    rows += [(sorted(os.listdir(p)), "a directory by its handle", list_by_handle, p) for p in (t.s, mnt, t.checkpoints)]
    rows += [("ESTALE", "a stream that was removed and made again", gone)]
    rows += [("ESTALE", "a handle that was never given", open_handle, ctypes.create_string_buffer(struct.pack("Ii", 12, 0x81) + b"\xff" * 12, 136))]
    try_rows(rows)


if __name__ == "__main__":
    globals()["case_" + sys.argv[1]](*sys.argv[2:])
