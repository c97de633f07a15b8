#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""attempt.py OPERATION ARGUMENT...: tries one system call, and prints OK or the name of the errno that it gives."""
import errno
import os
import sys


def with_file(path, flags, action):
    fd = os.open(path, flags)
    try:
        action(fd)
    finally:
        os.close(fd)


OPERATIONS = {
    "chmod": lambda path, mode: os.chmod(path, int(mode, 8)),
    "chown": lambda path, uid: os.chown(path, int(uid), -1),
    "create": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)),
    "ftruncate": lambda path, size: with_file(path, os.O_WRONLY, lambda fd: os.ftruncate(fd, int(size))),
    "fsync": lambda path: with_file(path, os.O_RDONLY, os.fsync),
    "link": os.link,
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "mknod": lambda path: os.mknod(path, 0o100644),
    "open-append": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_APPEND)),
    "open-read": lambda path: os.close(os.open(path, os.O_RDONLY)),
    "open-rw": lambda path: os.close(os.open(path, os.O_RDWR)),
    "open-trunc": lambda path: os.close(os.open(path, os.O_WRONLY | os.O_TRUNC)),
    "open-write": lambda path: os.close(os.open(path, os.O_WRONLY)),
    "pwrite": lambda path, text, offset: with_file(path, os.O_WRONLY, lambda fd: os.pwrite(fd, text.encode(), int(offset))),
    "read": lambda path: with_file(path, os.O_RDONLY, lambda fd: os.read(fd, 1 << 20)),
    "rename": os.rename,
    "rmdir": os.rmdir,
    "setxattr": lambda path: os.setxattr(path, b"user.x", b"y"),
    "stat": os.lstat,
    "symlink": os.symlink,
    "truncate": lambda path, size: os.truncate(path, int(size)),
    "unlink": os.unlink,
    "utime": lambda path: os.utime(path, (1, 1)),
    "write": lambda path, text: with_file(path, os.O_WRONLY, lambda fd: os.write(fd, text.encode())),
}

try:
    OPERATIONS[sys.argv[1]](*map(os.fsencode, sys.argv[2:3]), *sys.argv[3:])
    print("OK")
except OSError as e:
    print(errno.errorcode[e.errno])
