#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""views.py CASE STREAM [ARGUMENT]...: what views.sh tries by system calls on a stream's .log and .from/ID. An assertion that fails says what."""
import errno
import os
import random
import sys
import threading
import time


def append(stream, data):
    fd = os.open(stream + "/new", os.O_WRONLY)
    try:
        at = 0
        while at < len(data):
            at += os.write(fd, data[at:])
    finally:
        os.close(fd)


def whole(path):
    with open(path, "rb", buffering=0) as f:
        pieces = []
        while piece := f.read(1 << 20):
            pieces.append(piece)
        return b"".join(pieces)


def ids(stream):
    return sorted(int(n) for n in os.listdir(stream) if n.isdigit())


def pread_all(fd, size, offset):
    data = b""
    while len(data) < size and (piece := os.pread(fd, size - len(data), offset + len(data))):
        data += piece
    return data


def errno_of(action):
    try:
        action()
    except OSError as e:
        return errno.errorcode[e.errno]
    return "OK"


def case_random(stream):
    """Reads at random places, by jumps and going on, against the entries joined."""
    rng = random.Random(4711)
    entries = [whole(f"{stream}/{i}") for i in ids(stream)]
    text = b"".join(entries)
    begins = [0]
    for e in entries:
        begins.append(begins[-1] + len(e))
    fd = os.open(stream + "/.log", os.O_RDONLY)
    assert os.fstat(fd).st_size == len(text)
    for n in range(600):
        # many around the edges of entries
        at = rng.randrange(len(text) + 10) if n % 2 else max(0, rng.choice(begins) + rng.randrange(-2, 3))
        size = rng.choice((1, 2, 100, 4096, 70000, 300000))
        for _ in range(rng.choice((1, 1, 5))):
            assert pread_all(fd, size, at) == text[at:at + size], (at, size)
            at += size
    for start in rng.sample(range(len(entries)), 30) + [0, len(entries) - 1]:
        other = os.open(f"{stream}/.from/{start}", os.O_RDONLY)
        assert os.fstat(other).st_size == len(text) - begins[start], start
        at = rng.randrange(len(text) - begins[start] + 1)
        assert pread_all(other, 50000, at) == text[begins[start] + at:begins[start] + at + 50000], (start, at)
        os.close(other)
    assert os.pread(fd, 10, len(text)) == b""
    assert os.pread(fd, 10, 1 << 60) == b""
    assert os.pread(fd, 10, (1 << 63) - 4096) == b""
    assert os.lseek(fd, 0, os.SEEK_END) == len(text)
    os.close(fd)


def case_going_on(stream):
    """Read on by several at once through one handle, each in pieces of its own sizes: every piece is whole, and what belongs there."""
    text = "".join(f"{i} {'x' * (i * 7 % 300)}\n" for i in range(20000)).encode()
    fd = os.open(stream + "/.lines", os.O_WRONLY)
    for at in range(0, len(text), 1 << 20):
        assert os.write(fd, text[at:at + (1 << 20)]) == len(text[at:at + (1 << 20)])
    os.close(fd)
    fd = os.open(stream + "/.log", os.O_RDONLY)
    failures = []

    def read_on(start, sizes):
        at, n = start, 0
        while at < len(text) and not failures:
            size = sizes[n % len(sizes)]
            piece = os.pread(fd, size, at)
            if piece != text[at:at + size]:
                failures.append((start, sizes, at, len(piece)))
            at, n = at + size, n + 1

    ways = [(0, [131072]), (5, [4096]), (0, [1 << 20]), (100000, [65536, 65536, 3]), (1 << 20, [300000, 1, 131072]), (0, [131072, 1000])]
    for way in ways:
        read_on(*way)
    threads = [threading.Thread(target=read_on, args=way) for way in ways + ways[:2]]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures
    os.close(fd)


def case_crowd(stream, other):
    """Several that read at random in each of two files always want something. Others are served beside them."""
    reads = [0]
    limit = [1000]
    failed = []

    def read(fd, size, seed):
        rng = random.Random(seed)
        try:
            while reads[0] < limit[0]:
                assert len(os.pread(fd, 65536, rng.randrange(size - 65536))) == 65536
                reads[0] += 1
        except BaseException as e:
            failed.append(e)
            raise

    fds = [os.open(path, os.O_RDONLY) for s in (stream, other) for path in (s + "/.log", s + "/0")]
    threads = [threading.Thread(target=read, args=(fd, os.fstat(fd).st_size, n)) for n, fd in enumerate(fds * 4)]
    for t in threads:
        t.start()
    while reads[0] < 20 and not failed:
        time.sleep(0.01)
    for n in range(3):
        limit[0] = reads[0] + 1000
        os.mkdir(f"{stream}-{n}")
        os.rmdir(f"{stream}-{n}")
        assert failed or reads[0] < limit[0], "1000 reads came first"
    limit[0] = 0
    for t in threads:
        t.join()
    assert not failed
    for fd in fds:
        os.close(fd)


def case_grows(stream):
    """A handle sees each entry as soon as it is there; a stat of the name and of the handle are exact at once."""
    fd = os.open(stream + "/.log", os.O_RDONLY)
    later = os.open(stream + "/.from/next", os.O_RDONLY)
    text = b""
    rng = random.Random(1)
    for n in range(200):
        data = bytes([65 + n % 26]) * rng.choice((1, 10, 4096, 5000, 100000))
        append(stream, data)
        text += data
        assert os.fstat(fd).st_size == os.stat(stream + "/.log").st_size == os.fstat(later).st_size == len(text), n
        assert os.fstat(fd).st_mtime_ns == os.stat(stream).st_mtime_ns
        assert os.lseek(later, 0, os.SEEK_END) == len(text)
        if n % 3 == 0:
            # behind the last read: through a page that was only begun
            position = os.lseek(fd, 0, os.SEEK_CUR)
            got = b""
            while piece := os.read(fd, 1 << 17):
                got += piece
            assert got == text[position:], n
        assert os.pread(later, 10, len(text) - 1) == text[-1:]
    os.close(fd)
    os.close(later)


def case_writers(stream):
    stop = threading.Event()
    failed = []

    def write(letter):
        rng = random.Random(letter)
        fd = os.open(stream + "/new", os.O_WRONLY | os.O_SYNC | os.O_APPEND)
        while not stop.is_set():
            os.write(fd, letter * rng.choice((1, 100, 5000)) + b"\n")
        os.close(fd)

    readings = []

    def read():
        try:
            fd = os.open(stream + "/.log", os.O_RDONLY)
            data = b""
            while not stop.is_set():
                size = os.fstat(fd).st_size
                assert size >= len(data)
                while piece := os.read(fd, 1 << 17):
                    data += piece
                assert len(data) >= size
            readings.append(data)
            os.close(fd)
        except BaseException as e:
            failed.append(e)
            raise

    threads = [threading.Thread(target=write, args=(c,)) for c in (b"a", b"b")] + [threading.Thread(target=read) for _ in range(3)]
    for t in threads:
        t.start()
    time.sleep(3)
    stop.set()
    for t in threads:
        t.join()
    assert not failed and len(readings) == 3
    text = whole(stream + "/.log")
    assert text == b"".join(whole(f"{stream}/{i}") for i in ids(stream))
    for data in readings:
        assert text.startswith(data)
    for line in text.splitlines():
        assert len(set(line)) == 1, "a torn entry"


def case_fill_lines(stream, count):
    for n in range(int(count)):
        append(stream, b"line %05d " % n + b"." * 500 + b"\n")


def case_prune(stream):
    """Places keep their offsets for whoever has it open; what is pruned cannot be read there; a new opener begins later."""
    case_fill_lines(stream, 100)
    text = whole(stream + "/.log")
    fd = os.open(stream + "/.log", os.O_RDONLY)
    fresh = os.open(stream + "/.log", os.O_RDONLY)
    from50 = os.open(stream + "/.from/50", os.O_RDONLY)
    ino = os.fstat(fd).st_ino
    line = len(text) // 100
    assert os.read(fd, 3 * line) == text[:3 * line]
    with open(stream + "/.prune", "w") as f:
        f.write("60\n")
    first = ids(stream)[0]
    assert 30 < first <= 60, first
    assert os.fstat(fd).st_size == len(text)
    assert errno_of(lambda: os.pread(fresh, 10, 0)) == "ESTALE"
    assert errno_of(lambda: os.pread(fresh, 10, (first - 1) * line)) == "ESTALE"
    assert pread_all(fresh, 5 * line, first * line) == text[first * line:(first + 5) * line]
    assert pread_all(fd, 5 * line, 90 * line) == text[90 * line:95 * line]
    assert os.fstat(from50).st_size == 50 * line
    assert pread_all(from50, line, 40 * line) == text[90 * line:91 * line]
    assert whole(stream + "/.log") == text[first * line:]
    assert os.stat(stream + "/.log").st_size == len(text) - first * line
    assert os.stat(stream + "/.log").st_ino == ino
    assert errno_of(lambda: os.stat(f"{stream}/.from/{first - 1}")) == "ENOENT"
    assert whole(f"{stream}/.from/first") == text[first * line:]
    append(stream, b"more\n")
    assert os.fstat(fd).st_size == len(text) + 5
    assert os.pread(fd, 100, len(text)) == b"more\n"
    assert whole(stream + "/.log") == text[first * line:] + b"more\n"
    for f in (fd, fresh, from50):
        os.close(f)


def case_race(stream):
    """Readers at all places, beside writers, rotation and prunes: right bytes or ESTALE."""
    stop = threading.Event()
    failed = []

    def guarded(run):
        def wrapped():
            try:
                run()
            except BaseException as e:
                failed.append(e)
                stop.set()
                raise
        return wrapped

    def line(n):
        return b"line %05d " % n + b"." * 500 + b"\n"

    def write():
        n = 100
        while not stop.is_set():
            append(stream, line(n))
            n += 1

    def prune():
        while not stop.is_set():
            keep = max(ids(stream)) - 80
            with open(stream + "/.prune", "w") as f:
                f.write(str(keep))
            time.sleep(0.02)

    def read():
        rng = random.Random(threading.get_ident())
        stale = good = 0
        while not stop.is_set():
            try:
                fd = os.open(stream + "/.log", os.O_RDONLY)
            except FileNotFoundError:
                continue  # pruned between two looks
            base = None
            for _ in range(40):
                at = rng.randrange(200) * 512 + rng.randrange(512)
                size = rng.choice((10, 512, 5000, 60000))
                try:
                    data = os.pread(fd, size, at)
                except OSError as e:
                    assert e.errno == errno.ESTALE, e
                    stale += 1
                    continue
                if len(data) < 512 + 16:
                    continue
                first = data.index(b"line ")
                n = int(data[first + 5:first + 10])
                if base is None:
                    base = n - (at + first) // 512
                assert base == n - (at + first) // 512, "another place"
                whole_lines = b"".join(line(n + i) for i in range(len(data) // 512 + 2))
                assert whole_lines.startswith(data[first:]), "wrong bytes"
                good += 1
            os.close(fd)
        assert good > 10

    case_fill_lines(stream, 100)
    threads = [threading.Thread(target=guarded(f)) for f in (write, prune, read, read, read)]
    for t in threads:
        t.start()
    stop.wait(4)
    stop.set()
    for t in threads:
        t.join()
    assert not failed, failed


def case_deleted(stream):
    fd = os.open(stream + "/.log", os.O_RDONLY)
    assert os.read(fd, 10) == b""
    os.rmdir(stream)
    assert errno_of(lambda: os.read(fd, 10)) == "ENOENT"
    assert os.fstat(fd).st_nlink == 0
    os.close(fd)
    # another of that name is another file
    os.mkdir(stream)
    append(stream, b"x")
    assert whole(stream + "/.log") == b"x"
    with open(stream + "/.rotate", "w") as f:
        f.write("1")
    with open(stream + "/.prune", "w") as f:
        f.write("1")
    assert whole(stream + "/.log") == b""
    os.rmdir(stream)


def case_damaged(stream):
    """Entry 2 of 40 is damaged; its frame is its own."""
    line = 512
    fd = os.open(stream + "/.log", os.O_RDONLY)
    assert os.fstat(fd).st_size == 40 * line
    assert os.read(fd, 100000)[:10] == b"line 00000"
    assert os.pread(fd, 100000, 0) == os.pread(fd, 2 * line, 0)
    assert len(os.pread(fd, 100000, 0)) == 2 * line
    for at in (0, 1, 100, line - 1):
        assert errno_of(lambda: os.pread(fd, 100, 2 * line + at)) == "EIO", at
    assert pread_all(fd, 37 * line, 3 * line)[:10] == b"line 00003"
    assert len(pread_all(fd, 37 * line, 3 * line)) == 37 * line
    os.close(fd)
    assert errno_of(lambda: whole(f"{stream}/.from/2")) == "EIO"
    assert whole(f"{stream}/.from/3")[:10] == b"line 00003"


def case_many(stream):
    case_fill_lines(stream, 30)
    text = whole(stream + "/.log")
    fds = [os.open(stream + "/.log", os.O_RDONLY) for _ in range(100)]
    for n in range(30):
        for fd in fds:
            assert os.read(fd, len(text) // 30 + 1) == text[n * (len(text) // 30 + 1):(n + 1) * (len(text) // 30 + 1)]
    for fd in fds:
        os.close(fd)


globals()["case_" + sys.argv[1]](*sys.argv[2:])
