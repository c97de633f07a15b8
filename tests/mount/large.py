#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""large.py CASE PATH [ARGUMENT]...: what large.sh tries by system calls. An assertion that fails says what."""
import errno
import os
import random
import resource
import sys
import threading
import time
import zlib


def append(path, data):
    fd = os.open(path + "/new", os.O_WRONLY)
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


# ---- Streams ----

def case_rename(source, target, old, new):
    for name in os.listdir(source):
        os.rename(f"{source}/{name}", f"{target}/{new}{name.removeprefix(old)}")


# ---- Names ----

NAMES = [
    b" ", b"  two  spaces  ", b"new\nline", b"\n", b"tab\tand\rreturn", "Bestellungen \u00e4\u00f6\u00fc\u00df".encode(), "\u65e5\u672c\u8a9e".encode(),
    "\U0001f4dc\U0001f4dc".encode(),
    b"\xff\xfe no UTF-8 \x80", bytes(range(1, 32)), b"-rf", b"--help", b"*", b"?[a-z]", b"a'b\"c`d$e\\f", b"%41%", b"x" * 255,
    "\u00e4".encode() * 127 + b"y", b"~", b"#", b"new", b"0", b"00000000000000000000", b"a.b.", b"x.wal",
]


def path_of(mnt, name):
    return os.fsencode(mnt) + b"/" + name


def check_names(mnt, count):
    """All that is to be seen of them."""
    root = os.fsencode(mnt)
    assert set(os.listdir(root)) == set(NAMES) | {b".checkpoints"}, set(os.listdir(root)) ^ set(NAMES)
    for name in NAMES:
        for path in (path_of(mnt, name), root + b"/.at/all/" + name):
            n = count if b"/.at/" not in path else 1
            ids = [b"%020d" % i for i in range(n)]
            assert sorted(os.listdir(path)) == ids + ([b"new"] if b"/.at/" not in path else []), path
            assert [whole(path + b"/" + i) for i in ids] == [name + b" %d" % i for i in range(n)], path
            assert whole(path + b"/.log") == b"".join(name + b" %d" % i for i in range(n)), path
    lines = whole(mnt + "/.checkpoints/all").split(b"\n")
    rows = [line.split(b" ") for line in lines if line and not line.startswith(b"created")]
    assert all(len(r) == 2 and r[1] == b"1" for r in rows), rows
    assert len({r[0] for r in rows}) == len(NAMES), rows


def case_names(mnt):
    for name in NAMES:
        os.mkdir(path_of(mnt, name))
        append(os.fsdecode(path_of(mnt, name)), name + b" 0")
    os.close(os.open(mnt + "/.checkpoints/all", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    check_names(mnt, 1)


def case_names_again(mnt):
    check_names(mnt, 1)
    for name in NAMES:
        append(os.fsdecode(path_of(mnt, name)), name + b" 1")
    check_names(mnt, 2)


def case_names_away(mnt):
    """Empty ones of names just as odd are removed; these have entries."""
    for name in NAMES:
        other = name[:253] + b" 2"
        os.mkdir(path_of(mnt, other))
        os.rmdir(path_of(mnt, other))
        try:
            os.rmdir(path_of(mnt, name))
            raise AssertionError(name)
        except OSError as e:
            assert e.errno == errno.ENOTEMPTY, (name, e)
    os.unlink(mnt + "/.checkpoints/all")
    assert set(os.listdir(os.fsencode(mnt))) == set(NAMES) | {b".checkpoints"}


# ---- A thousand handles ----

def case_handles(s):
    """Each has a part of its entry, which nobody sees; they are committed in another order; some are given up."""
    count = 1000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 100:
        count = hard - 100
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, count + 100)), hard))
    fds = []
    for i in range(count):
        fd = os.open(s + "/new", os.O_WRONLY)
        assert os.write(fd, b"begin of %d " % i * (1 + i % 700)) > 0
        fds.append(fd)
    assert os.listdir(s) == ["new"]
    order = list(range(count))
    random.Random(1).shuffle(order)
    committed = []
    for i in order:
        os.write(fds[i], b"end of %d" % i)
        if i % 10 == 3:
            os.ftruncate(fds[i], 0)  # nothing is left to be committed
        else:
            committed.append(i)
        os.close(fds[i])
    names = sorted(n for n in os.listdir(s) if n != "new")
    assert len(names) == len(committed), (len(names), len(committed))
    for name, i in zip(names, committed):
        assert whole(f"{s}/{name}") == b"begin of %d " % i * (1 + i % 700) + b"end of %d" % i, name


# ---- Pruned while it is read ----

def case_pruned(s):
    """Who reads goes on with what was there, or is told ESTALE; what is read is never something else."""
    size = 3000000
    contents = [random.Random(i).randbytes(size) for i in range(6)]
    for content in contents:
        append(s, content)
    append(s, b"the last")
    fds = [os.open(f"{s}/{i}", os.O_RDONLY) for i in range(6)]
    for fd, content in zip(fds, contents):
        assert os.pread(fd, 1000, 0) == content[:1000]
    fresh = os.open(f"{s}/2", os.O_RDONLY)
    results = []

    def read_on(fd, content):
        rng = random.Random(fd)
        try:
            while not done.is_set():
                at = rng.randrange(size)
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
                assert os.pread(fd, 5000, at) == content[at:at + 5000], at
            results.append("read")
        except OSError as e:
            assert e.errno == errno.ESTALE, e
            results.append("stale")
        except AssertionError as e:
            results.append(f"wrong at {e}")

    done = threading.Event()
    threads = [threading.Thread(target=read_on, args=pair) for pair in zip(fds, contents)]
    for t in threads:
        t.start()
    for upto in ("2", "5", "6"):
        fd = os.open(s + "/.prune", os.O_WRONLY)
        os.write(fd, upto.encode())
        os.close(fd)
        deadline = time.monotonic() + 5
        while os.path.exists(f"{s}/{int(upto) - 2}"):
            assert time.monotonic() < deadline, upto
    done.set()
    for t in threads:
        t.join()
    assert len(results) == 6 and all(r in ("read", "stale") for r in results), results
    try:
        assert whole(f"/proc/self/fd/{fresh}") == contents[2]
    except OSError as e:
        assert e.errno in (errno.ESTALE, errno.ENOENT), e
    try:
        data = os.pread(fresh, size, 0)
        assert data == contents[2][:len(data)]
    except OSError as e:
        assert e.errno == errno.ESTALE, e
    assert whole(s + "/.last") == b"the last"
    assert sorted(os.listdir(s))[-2:] == [f"{6:020}", "new"]


# ---- A crowd ----

def record(writer, number, rng):
    size = rng.choice((0, 10, 100, 1000, 1000, 5000, 40000, 200000)) if rng.random() < 0.95 else 1500000
    body = b"%d %d " % (writer, number) + b"%x" % rng.getrandbits(64) * (size // 16)
    return b"%08x " % zlib.crc32(body) + body


def verified(data, where):
    assert int(data[:8], 16) == zlib.crc32(data[9:]), where
    writer, number = data[9:].split(b" ", 2)[:2]
    return int(writer), int(number)


def write_along(s, writer, deadline):
    rng = random.Random(writer)
    number = 0
    stay = os.open(s + "/new", os.O_WRONLY | os.O_APPEND) if writer % 3 == 0 else -1
    while time.monotonic() < deadline:
        data = record(writer, number, rng)
        if stay >= 0:
            at = 0
            while at < len(data):
                at += os.write(stay, data[at:])
            os.fsync(stay)
        else:
            append(s, data)
        number += 1
    if stay >= 0:
        os.close(stay)
    return number


def read_along(s, reader, deadline):
    rng = random.Random(1000 + reader)
    number = 0
    while time.monotonic() < deadline:
        try:
            last = int(os.readlink(s + "/.last"))
        except FileNotFoundError:
            continue
        i = last if rng.random() < 0.3 else rng.randrange(last + 1)
        verified(whole(f"{s}/{i:020}" if rng.random() < 0.5 else f"{s}/{i}"), i)
        if rng.random() < 0.02:
            assert len(os.listdir(s)) > last
        number += 1
    return number


def process(s, kind, first, count, deadline):
    """One of several, with some threads; its exit status tells, and what it did goes to the pipe."""
    done, failures = {}, []

    def run(i):
        try:
            done[i] = kind(s, i, deadline)
        except BaseException as e:
            failures.append(e)
            print(f"{kind.__name__} {i}: {e!r}", file=sys.stderr)

    threads = [threading.Thread(target=run, args=(i,)) for i in range(first, first + count)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    return None if failures else done


def case_crowd(s, seconds):
    """32 writers and 32 readers in 8 processes. Then: each entry is one that was written, each that was acknowledged is there once,
    each writer's in its order."""
    deadline = time.monotonic() + float(seconds)
    children = []
    for n in range(8):
        r, w = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(r)
            done = process(s, write_along if n < 4 else read_along, n % 4 * 8, 8, deadline)
            if done is not None:
                os.write(w, " ".join(f"{i}:{c}" for i, c in done.items()).encode())
            os._exit(0 if done is not None else 1)
        os.close(w)
        children.append((pid, r, n < 4))
    written, reads = {}, 0
    for pid, r, is_writer in children:
        text = b""
        while piece := os.read(r, 65536):
            text += piece
        assert os.waitpid(pid, 0)[1] == 0, "a process failed"
        for pair in text.decode().split():
            i, c = map(int, pair.split(":"))
            if is_writer:
                written[i] = c
            else:
                reads += c
    total = sum(written.values())
    print(f"# {total} entries by 32 writers, {reads} reads by 32 readers, in {seconds} s")
    assert total > 32 and reads > 32
    names = sorted(n for n in os.listdir(s) if n != "new")
    assert names == [f"{i:020}" for i in range(total)], (len(names), total)
    expect = dict.fromkeys(range(32), 0)
    for name in names:
        writer, number = verified(whole(f"{s}/{name}"), name)
        assert number == expect[writer], (name, writer, number, expect[writer])
        expect[writer] += 1
    assert expect == written


if __name__ == "__main__":
    globals()["case_" + sys.argv[1]](*sys.argv[2:])
