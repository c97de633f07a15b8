#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""posix_files.py CASE MOUNTPOINT: the tables of posix.sh of what is done with an open file or directory. See posix_rows.py."""
import ctypes
import fcntl
import mmap
import os
import stat
import struct
import tempfile
import termios

from os import O_APPEND, O_DIRECT, O_DIRECTORY, O_RDONLY, O_WRONLY

from posix_rows import AT_FDCWD, MAX, SIZE, Tree, append, c_call, content, libc, result_of, run, try_rows, with_fd

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

    for path, count in ((s, 101), (t.s, 5), (mnt, 5), (t.checkpoints, 2), (mnt + "/.at", 1), (mnt + "/.at/C", 2), (t.at, 3), (t.s + "/.from", 0), (t.s + "/.follow", 0)):
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


if __name__ == "__main__":
    run(globals())
