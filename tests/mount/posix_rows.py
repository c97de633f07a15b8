# SPDX-License-Identifier: Apache-2.0
"""What posix.py and posix_files.py share: a table's rows, and the tree that each case finds. A row is what a call is to give (OK, a value, or an errno's
name), what it is called, the call, and its arguments. All rows of a case are tried; those that come out otherwise are printed."""
import ctypes
import errno
import os
import sys

libc = ctypes.CDLL(None, use_errno=True)
SIZE = 5000  # of the stream's entry 0
MAX = (1 << 63) - 1
AT_FDCWD = -100


def result_of(call, *arguments):
    try:
        result = call(*arguments)
    except OSError as e:
        return errno.errorcode[e.errno].replace("EOPNOTSUPP", "ENOTSUP")  # one number
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
    fd = os.open(stream + "/new", os.O_WRONLY)
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
                opening(self.c, os.O_WRONLY | os.O_CREAT | os.O_EXCL)


def run(cases):
    """The case that the command line names: case_NAME(MOUNTPOINT)."""
    cases["case_" + sys.argv[1]](*sys.argv[2:])
