#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""caching.py CASE PATH: what caching.sh tries by system calls. An assertion that fails says what."""
import ctypes
import os
import subprocess
import sys


def append(stream, data):
    fd = os.open(stream + "/new", os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def name(i):
    return f"{i:020}"


def case_fill(stream, count):
    fd = os.open(stream + "/new", os.O_WRONLY | os.O_SYNC | os.O_APPEND)
    for _ in range(int(count)):
        os.write(fd, b"x")
    os.close(fd)


def case_in_core(path):
    """All pages of the file are in the page cache before anybody touches them."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mincore.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p]
    size, page = os.stat(path).st_size, os.sysconf("SC_PAGESIZE")
    fd = os.open(path, os.O_RDONLY)
    address = libc.mmap(None, size, 1, 1, fd, 0)
    assert address != ctypes.c_void_p(-1).value
    pages = ctypes.create_string_buffer(-(-size // page))
    assert libc.mincore(address, size, pages) == 0
    assert all(b & 1 for b in pages.raw[:-(-size // page)]), pages.raw


LOOKER = r"""
import os, sys
s = sys.argv[1]
for line in sys.stdin:
    i = int(line)
    name = f"{i:020}"
    listed = os.listdir(s)
    try:
        found = "%d %d" % (os.stat(f"{s}/{name}").st_size, os.stat(f"{s}/{i}").st_size)
        fd = os.open(f"{s}/{name}", os.O_RDONLY)
        found += " " + os.read(fd, 100).decode()
        os.close(fd)
    except FileNotFoundError:
        found = "none"
    print(found, name in listed, len(listed), os.readlink(s + "/.last") if len(listed) > 1 else "", flush=True)
"""


def case_processes(s):
    """Four others look for each entry, and list, before it is there and right after the writer's close; so does the writer."""
    lookers = [subprocess.Popen([sys.executable, "-S", "-c", LOOKER, s], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)]

    def all_say(i, expected):
        for looker in lookers:
            looker.stdin.write(f"{i}\n")
            looker.stdin.flush()
        for looker in lookers:
            found = looker.stdout.readline().rstrip("\n")
            assert found == expected, (i, found, expected)

    for i in range(60):
        last = name(i - 1) if i else ""
        assert not os.path.exists(f"{s}/{name(i)}") and not os.path.exists(f"{s}/{i}")
        all_say(i, f"none False {i + 1} {last}")
        text = f"entry {i}"
        append(s, text.encode())
        assert os.stat(f"{s}/{name(i)}").st_size == len(text)
        all_say(i, f"{len(text)} {len(text)} {text} True {i + 2} {name(i)}")
    for looker in lookers:
        looker.stdin.close()
        assert looker.wait() == 0


if __name__ == "__main__":
    globals()["case_" + sys.argv[1]](*sys.argv[2:])
