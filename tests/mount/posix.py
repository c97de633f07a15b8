#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""posix.py CASE MOUNTPOINT: the tables of posix.sh of what is done by a path. See posix_rows.py."""
import ctypes
import os
import socket
import stat
import struct
import time

from os import (O_APPEND, O_CREAT, O_DIRECT, O_DIRECTORY, O_DSYNC, O_EXCL, O_NOATIME, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY, O_RDWR, O_SYNC,
                O_TMPFILE, O_TRUNC, O_WRONLY)

from posix_rows import AT_FDCWD, MAX, SIZE, Tree, c_call, content, libc, opening, run, try_rows, with_fd

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
        t.s + "/.follow": DIRECTORY,
        t.s + "/.follow/1": READ_ONLY_FILE,
        t.s + "/.follow/none": NEVER_MADE,
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
        ("EPERM", t.s + "/x"), ("EPERM", t.s + "/9"), ("EPERM", mnt + "/x"), ("EPERM", t.s + "/.from/x"), ("EPERM", t.s + "/.follow/x"), ("EROFS", t.at + "/x"),
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
                            (t.s + "/.follow/1", "OK", "EACCES", "EACCES"), (t.s + "/.follow", "OK", "EACCES", "OK"),
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


def case_removed(mnt):
    """What is open of a stream that has been removed: as of any removed file it has no link and no size; nothing can be done with it any more."""
    stream = mnt + "/removed"
    os.mkdir(stream)
    opening(mnt + "/.checkpoints/removed", O_WRONLY | O_CREAT)
    writing = ("/new", "/.lines", "/.batch", "/.prune", "/.rotate")
    reading = ("/.log", "/.from/next", "/.follow/next")
    directories = ("", "/.from", "/.follow")
    names = writing + reading + directories
    before = {name: os.stat(stream + name) for name in names}
    fds = {name: os.open(stream + name, (O_WRONLY if name in writing else O_RDONLY) | O_NONBLOCK) for name in names}
    os.rmdir(stream)
    rows = []
    for name in names:
        st = os.fstat(fds[name])
        rows.append(((before[name].st_ino, before[name].st_mode, before[name].st_uid, 0, 0), f"fstat of {name}",
                     lambda st=st: (st.st_ino, st.st_mode, st.st_uid, st.st_nlink, st.st_size)))
        rows.append(("ENOENT", f"stat of {name}", os.stat, stream + name))
        rows.append(("ESTALE", f"fchmod of {name}", os.fchmod, fds[name], 0o700))
        rows.append((True, f"a time of removal, {name}", lambda st=st: 0 <= time.time_ns() - st.st_mtime_ns < 60 * 10 ** 9))
    rows += [("ESTALE", f"write to {name}", os.write, fds[name], b"1\n") for name in writing if name != "/.prune"]
    rows += [("EINVAL", "write to .prune: no such id", os.write, fds["/.prune"], b"1\n")]
    rows += [("ESTALE", f"fsync of {name}", os.fsync, fds[name]) for name in ("/new", "/.lines", "/.batch", "/.log", "")]
    rows += [("ENOENT", f"read of {name}", os.read, fds[name], 10) for name in reading]
    rows += [([], f"listing of {name or 'the stream'}", os.listdir, fds[name]) for name in directories]
    rows += [("ENOENT", "a file in it", lambda: os.stat(".stats", dir_fd=fds[""]))]
    rows += [("ENOENT", "a new file in it", lambda: os.close(os.open("other", O_WRONLY | O_CREAT, dir_fd=fds[""])))]
    rows += [("OK", f"close of {name}", os.close, fds[name]) for name in names]
    # made again, it is another one
    rows += [("OK", "mkdir", os.mkdir, stream), (2, "nlink", lambda: os.stat(stream).st_nlink), ("OK", "rmdir", os.rmdir, stream)]
    rows += [("OK", "unlink", os.unlink, mnt + "/.checkpoints/removed")]
    try_rows(rows)


if __name__ == "__main__":
    run(globals())
