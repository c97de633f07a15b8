#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""nfs.py PORT EXPORT MOUNTPOINT: a client of NFS 4 (libnfs, through ctypes) at a server on this machine that exports the mount. For servers.sh."""
import ctypes
import errno
import os
import sys
import time

Pointer = ctypes.c_void_p
libnfs = ctypes.CDLL("libnfs.so.13")
libnfs.nfs_init_context.restype = Pointer
libnfs.nfs_get_error.restype = ctypes.c_char_p
libnfs.nfs_get_error.argtypes = [Pointer]
libnfs.nfs_parse_url_dir.restype = Pointer
libnfs.nfs_parse_url_dir.argtypes = [Pointer, ctypes.c_char_p]
libnfs.nfs_write.argtypes = [Pointer, Pointer, ctypes.c_uint64, ctypes.c_char_p]
libnfs.nfs_pread.argtypes = [Pointer, Pointer, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_char_p]


class Dirent(ctypes.Structure):
    pass


Dirent._fields_ = [("next", ctypes.POINTER(Dirent)), ("name", ctypes.c_char_p)]
libnfs.nfs_readdir.restype = ctypes.POINTER(Dirent)


class Client:
    def __init__(self, port, export):
        self.nfs = Pointer(libnfs.nfs_init_context())
        assert libnfs.nfs_parse_url_dir(self.nfs, f"nfs://127.0.0.1{export}?version=4&nfsport={port}&uid=0&gid=0".encode())
        self.call("nfs_mount", b"127.0.0.1", export.encode())

    def call(self, name, *arguments):
        result = getattr(libnfs, name)(self.nfs, *arguments)
        if result < 0:
            raise OSError(-result, libnfs.nfs_get_error(self.nfs).decode(errors="replace"))
        return result

    def open(self, path, flags):
        file = Pointer()
        self.call("nfs_open", path.encode(), flags, ctypes.byref(file))
        return file

    def close(self, file):
        self.call("nfs_close", file)

    def read(self, path):
        file, text, buffer = self.open(path, os.O_RDONLY), b"", ctypes.create_string_buffer(4096)
        while size := self.call("nfs_pread", file, len(text), 4096, buffer):
            text += buffer.raw[:size]
        self.close(file)
        return text

    def write(self, path, *pieces, flags=os.O_WRONLY):
        file = self.open(path, flags)
        try:
            for piece in pieces:
                for at in range(0, len(piece), 2048):
                    self.call("nfs_write", file, len(piece[at:at + 2048]), piece[at:at + 2048])
        finally:
            self.close(file)

    def names(self, path):
        found, directory = [], Pointer()
        self.call("nfs_opendir", path.encode(), ctypes.byref(directory))
        while entry := libnfs.nfs_readdir(self.nfs, directory):
            found.append(entry.contents.name.decode())
        libnfs.nfs_closedir(self.nfs, directory)
        return sorted(found)

    def link(self, path):
        buffer = ctypes.create_string_buffer(4096)
        self.call("nfs_readlink", path.encode(), buffer, 4096)
        return buffer.value[:20]


def errno_of(action, *arguments):
    try:
        action(*arguments)
    except OSError as e:
        return errno.errorcode[e.errno]
    return "OK"


def kernel_forgets():
    with open("/proc/sys/vm/drop_caches", "w") as f:
        f.write("2")


def main():
    port, export, mnt = sys.argv[1:]
    nfs = Client(port, export)

    def step(call, *arguments):
        # the client keeps the pointers that it is given
        return nfs.call(call, *(a.encode() if isinstance(a, str) else a for a in arguments))

    step("nfs_mkdir", "/s")
    for n in range(3):
        nfs.write("/s/new", b"entry ", b"%d\n" % n)
    nfs.write("/s/.lines", b"line 1\nline 2\n")
    nfs.write("/s/.batch", b"line 3\nline 4\n")
    big = os.urandom(300000)
    nfs.write("/s/new", big)
    text = b"".join(b"entry %d\n" % n for n in range(3)) + b"".join(b"line %d\n" % n for n in range(1, 5)) + big
    with open(mnt + "/s/.log", "rb") as f:
        assert f.read() == text
    time.sleep(1.2)  # what the server keeps
    assert nfs.names("/s") == ["%020d" % n for n in range(8)] + ["new"]
    assert nfs.read("/s/.log") == text
    assert nfs.read("/s/2") == b"entry 2\n"
    assert nfs.read("/s/.from/3")[:7] == b"line 1\n"
    assert nfs.link("/s/.last") == b"%020d" % 7
    # a checkpoint, and what is below it, whatever the kernel forgets
    nfs.close(nfs.open("/.checkpoints/by-nfs", os.O_WRONLY | os.O_CREAT))
    with open(mnt + "/s/new", "wb") as f:
        f.write(b"after\n")
    for _ in range(10):
        kernel_forgets()
        assert nfs.names("/.at/by-nfs") == ["s"]
        assert nfs.names("/.at/by-nfs/s") == ["%020d" % n for n in range(8)]
        kernel_forgets()
        assert nfs.read("/.at/by-nfs/s/.log") == text
        assert nfs.read("/.at/by-nfs/s/%020d" % 1) == b"entry 1\n"
    time.sleep(1.2)
    assert nfs.read("/s/%020d" % 8) == b"after\n"
    # an entry takes as long as its file is open
    file = nfs.open("/s/new", os.O_WRONLY)
    step("nfs_write", file, 2, b"ab")
    kernel_forgets()
    step("nfs_write", file, 2, b"cd")
    assert not os.path.exists(mnt + "/s/9")
    nfs.close(file)
    with open(mnt + "/s/9", "rb") as f:
        assert f.read() == b"abcd"
    # what is refused
    assert errno_of(step, "nfs_unlink", "/s/%020d" % 0) == "EPERM"
    assert errno_of(nfs.write, "/s/%020d" % 0, b"x") == "EACCES"
    assert errno_of(step, "nfs_rmdir", "/s") == "ENOTEMPTY"
    assert errno_of(nfs.read, "/s/%020d" % 99) == "ENOENT"
    # pruning
    nfs.write("/s/.rotate", b"x")
    nfs.write("/s/.prune", b"next")
    time.sleep(1.2)
    assert nfs.names("/s") == ["new"]
    assert nfs.read("/s/.log") == b""
    step("nfs_rmdir", "/s")
    step("nfs_unlink", "/.checkpoints/by-nfs")
    time.sleep(1.2)
    assert nfs.names("/") == [".checkpoints"]


main()
