#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""at.py CASE MOUNTPOINT [ARGUMENT]...: what at.sh tries by system calls. An assertion that fails says what."""
import errno
import os
import random
import sys
import threading
import time


def write(path, data):
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, data)
    finally:
        os.close(fd)


def whole(path):
    with open(path, "rb", buffering=0) as f:
        pieces = []
        while piece := f.read(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)


def errno_of(action):
    try:
        action()
    except OSError as e:
        return errno.errorcode[e.errno]
    return "OK"


def touch(path):
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


def case_write(mnt, *streams):
    """Appends to the streams, entries of all sizes, until it is killed."""
    def run(stream):
        rng = random.Random(stream)
        fd = os.open(f"{mnt}/{stream}/new", os.O_WRONLY | os.O_SYNC | os.O_APPEND)
        n = 0
        while True:
            os.write(fd, b"%s %d " % (stream.encode(), n) + b"x" * rng.choice((1, 100, 2000, 20000)))
            n += 1

    for s in streams:
        threading.Thread(target=run, args=(s,), daemon=True).start()
    while True:
        time.sleep(1)


def case_order(mnt):
    """An entry of b is made after the one of the same number of a: so no cut may have more of b than of a. Each cut is found again as it was taken."""
    stop = threading.Event()

    def run():
        while not stop.is_set():
            write(f"{mnt}/order-a/new", b"a")
            write(f"{mnt}/order-b/new", b"b")

    os.mkdir(f"{mnt}/order-a")
    os.mkdir(f"{mnt}/order-b")
    writer = threading.Thread(target=run)
    writer.start()
    try:
        for n in range(30):
            touch(f"{mnt}/.checkpoints/order-{n}")
    finally:
        stop.set()
        writer.join()
    for n in range(30):
        cut = dict(line.rsplit(" ", 1) for line in whole(f"{mnt}/.checkpoints/order-{n}").decode().splitlines()[1:])
        at = f"{mnt}/.at/order-{n}"
        a, b = len(os.listdir(at + "/order-a")), len(os.listdir(at + "/order-b"))
        assert a in (b, b + 1), (n, a, b)
        assert (a, b) == (int(cut["order-a"]), int(cut["order-b"])), (n, a, b, cut)
        assert os.stat(at + "/order-a/.log").st_size == a


def case_moved(mnt, stream):
    """A checkpoint is removed and made again while someone is inside."""
    at = f"{mnt}/.at/moving"
    write(f"{mnt}/{stream}/new", b"one\n")
    touch(f"{mnt}/.checkpoints/moving")
    count = len(os.listdir(f"{at}/{stream}"))
    inode = os.stat(at).st_ino
    text = os.open(f"{at}/{stream}/.log", os.O_RDONLY)
    inside = os.open(at, os.O_RDONLY | os.O_DIRECTORY)
    deeper = os.open(f"{at}/{stream}", os.O_RDONLY | os.O_DIRECTORY)
    os.unlink(f"{mnt}/.checkpoints/moving")
    assert errno_of(lambda: os.stat(at)) == "ENOENT"
    assert errno_of(lambda: os.stat(stream, dir_fd=inside)) in ("ENOENT", "OK")
    assert errno_of(lambda: os.stat("none", dir_fd=inside)) == "ENOENT"
    deadline = time.monotonic() + 10
    while errno_of(lambda: os.stat(stream, dir_fd=inside)) == "OK":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert os.pread(text, 4, count * 4 - 4) == b"one\n"
    write(f"{mnt}/{stream}/new", b"two\n")
    touch(f"{mnt}/.checkpoints/moving")
    assert os.stat(at).st_ino == inode
    assert len(os.listdir(f"{at}/{stream}")) == count + 1
    assert whole(f"{at}/{stream}/.log").endswith(b"one\ntwo\n")
    # the old one
    assert errno_of(lambda: os.stat(stream, dir_fd=inside)) == "ENOENT"
    assert len(os.listdir(deeper)) == count
    assert os.fstat(text).st_size == os.lseek(text, 0, os.SEEK_END) == 4 * count
    assert os.pread(text, 100, 4 * count - 4) == b"one\n"
    for fd in (text, inside, deeper):
        os.close(fd)


def case_pruned(mnt, stream):
    path = f"{mnt}/{stream}"
    for n in range(100):
        write(path + "/new", b"line %05d " % n + b"." * 500 + b"\n")
    touch(f"{mnt}/.checkpoints/pruned")
    at = f"{mnt}/.at/pruned/{stream}"
    times = [os.stat(p).st_mtime_ns for p in (at, f"{mnt}/.at/pruned")]
    for n in range(100, 130):
        write(path + "/new", b"line %05d " % n + b"." * 500 + b"\n")
    text = whole(at + "/.log")
    assert len(text) == 51200
    fd = os.open(at + "/.log", os.O_RDONLY)
    assert sorted(os.listdir(at)) == ["%020d" % n for n in range(100)]
    assert os.stat(at + "/%020d" % 0).st_size == 512
    with open(path + "/.prune", "w") as f:
        f.write("60")
    first = min(int(n) for n in os.listdir(path) if n.isdigit())
    assert 30 < first <= 60
    deadline = time.monotonic() + 10
    while errno_of(lambda: os.stat(at + "/%020d" % 0)) != "ENOENT":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert sorted(os.listdir(at)) == ["%020d" % n for n in range(first, 100)]
    assert whole(at + "/.log") == text[first * 512:]
    assert os.stat(at + "/.log").st_size == (100 - first) * 512
    assert errno_of(lambda: os.stat(f"{at}/.from/{first - 1}")) == "ENOENT"
    assert whole(f"{at}/.from/99") == text[99 * 512:]
    assert os.readlink(at + "/.first") == "%020d" % first
    assert os.readlink(at + "/.last") == "%020d" % 99
    assert [os.stat(p).st_mtime_ns for p in (at, f"{mnt}/.at/pruned")] == times
    assert errno_of(lambda: os.pread(fd, 10, 0)) == "ESTALE"
    assert os.pread(fd, 512, 99 * 512) == text[99 * 512:]
    assert os.fstat(fd).st_size == len(text)
    # all of it
    with open(path + "/.prune", "w") as f:
        f.write("125")
    assert os.listdir(at) == []
    assert whole(at + "/.log") == b""
    assert errno_of(lambda: os.readlink(at + "/.last")) == "ENOENT"
    assert os.fstat(fd).st_size == len(text)
    # what it still has in memory it may give
    assert errno_of(lambda: os.pread(fd, 10, 98 * 512)) == "ESTALE"
    try:
        assert os.pread(fd, 10, 99 * 512) == text[99 * 512:][:10]
    except OSError as e:
        assert e.errno == errno.ESTALE, e
    assert os.pread(fd, 10, len(text)) == b""
    assert os.stat(at).st_mtime_ns == times[1]
    os.close(fd)


def case_many(mnt, stream):
    """Slots are used again: whoever is inside of one never gets into another."""
    names = [f"many-{n:03}" for n in range(150)]
    sizes = {}
    held = {}
    for turn in range(5):
        for n, name in enumerate(names):
            if n % 5 == turn or not turn:
                write(f"{mnt}/{stream}/new", b"x")
                touch(f"{mnt}/.checkpoints/{name}")
                sizes[name] = os.stat(f"{mnt}/{stream}/.log").st_size
        for name in names[turn::10]:
            if name not in held:
                held[name] = sizes[name], os.open(f"{mnt}/.at/{name}/{stream}", os.O_RDONLY | os.O_DIRECTORY)
        for name in names:
            at = f"{mnt}/.at/{name}/{stream}"
            assert len(os.listdir(at)) == sizes[name] == os.stat(at + "/.log").st_size, (turn, name)
        # the kernel forgets what nobody has open
        try:
            with open("/proc/sys/vm/drop_caches", "w") as f:
                f.write("2")
        except OSError:
            pass
        for n, name in enumerate(names):
            if n % 5 == turn + 1:
                os.unlink(f"{mnt}/.checkpoints/{name}")
                assert errno_of(lambda: os.stat(f"{mnt}/.at/{name}")) == "ENOENT"
        for name, (size, fd) in held.items():
            assert len(os.listdir(fd)) == size, (turn, name)
            assert os.stat(".log", dir_fd=fd).st_size == size
            assert os.stat("..", dir_fd=fd).st_ino
    for size, fd in held.values():
        os.close(fd)
    for name in names:
        if os.path.exists(f"{mnt}/.checkpoints/{name}"):
            os.unlink(f"{mnt}/.checkpoints/{name}")


globals()["case_" + sys.argv[1]](*sys.argv[2:])
