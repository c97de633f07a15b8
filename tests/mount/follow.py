#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""follow.py CASE STREAM [ARGUMENT]...: what follow.sh tries by system calls on a stream's .follow/ID. An assertion that fails says what."""
import ctypes
import errno
import fcntl
import os
import random
import resource
import select
import signal
import sys
import threading
import time

DEADLINE = 60


def append(stream, *entries):
    fd = os.open(stream + "/new", os.O_WRONLY)
    try:
        for data in entries:
            at = 0
            while at < len(data):
                at += os.write(fd, data[at:])
            os.fsync(fd)
    finally:
        os.close(fd)


def follow(stream, name="next", flags=0):
    return os.open(f"{stream}/.follow/{name}", os.O_RDONLY | flags)


def errno_of(action):
    try:
        action()
    except OSError as e:
        return errno.errorcode[e.errno]
    return "OK"


def read_exactly(fd, size, piece=1 << 20):
    data = bytearray()
    while len(data) < size:
        got = os.read(fd, min(piece, size - len(data)))
        assert got, f"the end after {len(data)} of {size} bytes"
        data += got
    return bytes(data)


def until(condition):
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "in vain"
        time.sleep(0.005)


class Worker(threading.Thread):
    """A thread whose failure is not overlooked."""

    def __init__(self, run, *args):
        super().__init__(daemon=True)
        self.action, self.args, self.failure, self.result = run, args, None, None
        self.start()

    def run(self):
        try:
            self.result = self.action(*self.args)
        except BaseException as e:
            self.failure = e

    def done(self):
        self.join(DEADLINE)
        assert not self.is_alive(), "it hangs"
        if self.failure:
            raise self.failure
        return self.result


def waits_in_kernel(pid, tid=None):
    """Whether that thread is asleep in a read or poll."""
    try:
        with open(f"/proc/{pid}/task/{tid or pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[0] in "SD"
    except FileNotFoundError:
        return False


def blocked_reader(fd, size=1 << 16):
    """A thread that is in read(2)."""
    tid = []

    def run():
        tid.append(threading.get_native_id())
        return errno_of_read(fd, size)

    worker = Worker(run)
    until(lambda: tid and waits_in_kernel(os.getpid(), tid[0]))
    time.sleep(0.01)
    return worker


def errno_of_read(fd, size=1 << 16):
    try:
        return os.read(fd, size)
    except OSError as e:
        return errno.errorcode[e.errno]


def task_count(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def memory(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS")) * 1024


def print_latencies(what, seconds):
    seconds = sorted(seconds)
    print(f"# {what}: median {seconds[len(seconds) // 2] * 1e3:.2f} ms, 99 % {seconds[len(seconds) * 99 // 100] * 1e3:.2f} ms, longest {seconds[-1] * 1e3:.2f} ms",
          file=sys.stderr)


def case_waits(stream):
    """A read at the end returns each entry when it comes, alone."""
    fd = follow(stream, "first")
    took = []
    for n in range(50):
        reader = blocked_reader(fd)
        data = b"entry %d" % n
        before = time.monotonic()
        append(stream, data)
        assert reader.done() == data, n
        took.append(time.monotonic() - before)
    print_latencies("append to read", took)
    assert took[0] < 30
    os.close(fd)


def case_stream(stream):
    append(stream, b"12345")
    fd = follow(stream, "0")
    for action in (lambda: os.lseek(fd, 0, os.SEEK_CUR), lambda: os.lseek(fd, 0, os.SEEK_END), lambda: os.pread(fd, 1, 0)):
        assert errno_of(action) == "ESPIPE"
    assert [os.read(fd, 2), os.read(fd, 2), os.read(fd, 2)] == [b"12", b"34", b"5"]
    other = follow(stream, "0")
    assert os.read(other, 100) == b"12345"
    # an entry of no bytes is nothing to read
    empty = os.open(stream + "/new", os.O_WRONLY)
    os.ftruncate(empty, 0)
    os.fsync(empty)
    os.close(empty)
    os.set_blocking(fd, False)
    assert errno_of_read(fd) == "EAGAIN"
    append(stream, b"67")
    assert os.read(fd, 100) == b"67"
    os.close(fd)
    os.close(other)


def case_sizes(stream):
    """Entries of all sizes, already there and coming, by reads of all sizes: the same bytes as in the entries."""
    rng = random.Random(11)
    sizes = [1, 0, 100, 4096, 131072, 262144, 262145, 1048576, 1048577, 3000000, 7, 5000000, 524288, 2097152, 1]
    entries = [rng.randbytes(size) for size in sizes]
    text = b"".join(entries)
    append(stream, *(e for e in entries[:8] if e))
    fds = [(follow(stream, "first"), piece) for piece in (4096, 131072, 1 << 20, 5 << 20)]
    readers = [Worker(read_exactly, fd, 2 * len(text), piece) for fd, piece in fds]
    append(stream, *(e for e in entries[8:] if e))
    append(stream, *(e for e in entries if e))
    for reader in readers:
        assert reader.done() == text + text
    for fd, _ in fds:
        os.close(fd)


def case_returns_what_there_is(stream):
    """A read(2) of more than the kernel asks for at once must not wait for the rest of it."""
    fd = follow(stream)
    for size in (65536, 131072, 524288, 524287, 1 << 20, (1 << 20) - 4096, 2 << 20, 3 << 20):
        append(stream, b"x" * size)
        left = size
        while left:
            reader = Worker(os.read, fd, 8 << 20)
            left -= len(reader.done())
    os.close(fd)


def case_nonblocking(stream):
    fd = follow(stream, "next", os.O_NONBLOCK)
    assert errno_of_read(fd) == "EAGAIN"
    for n in range(300):
        append(stream, b"%d" % n)
        # what has been appended is there
        assert errno_of_read(fd) == b"%d" % n, n
        assert errno_of_read(fd) == "EAGAIN"
    # the flag may be changed while it is open
    os.set_blocking(fd, True)
    reader = blocked_reader(fd)
    append(stream, b"y")
    assert reader.done() == b"y"
    # beside a read that waits, one that does not
    reader = blocked_reader(fd)
    os.set_blocking(fd, False)
    assert errno_of_read(fd) == "EAGAIN"
    append(stream, b"z")
    assert reader.done() == b"z"
    os.close(fd)


def case_poll(stream):
    fd = follow(stream, "next", os.O_NONBLOCK)
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLPRI)
    assert not poll.poll(0) and not poll.poll(20)
    assert select.select([fd], [], [], 0)[0] == []
    took = []
    for n in range(100):
        came = Worker(lambda: (poll.poll(DEADLINE * 1000), time.monotonic()))
        time.sleep(0.002)
        append(stream, b"abc")
        now = time.monotonic()
        events, when = came.done()
        assert events == [(fd, select.POLLIN)], events
        took.append(max(0, when - now))
        assert select.select([fd], [], [], 0)[0] == [fd]
        assert poll.poll(0) == [(fd, select.POLLIN)]
        assert os.read(fd, 2) == b"ab" and poll.poll(0) and os.read(fd, 2) == b"c"
        assert not poll.poll(0)
    print_latencies("append to poll", took)
    os.close(fd)
    # other files are always ready
    with open(stream + "/0", "rb") as entry:
        assert select.select([entry], [], [], 0)[0]
    with open(stream + "/new", "wb") as new:
        assert select.select([], [new], [], 0)[1]


def case_epoll(stream):
    for flags in (0, select.EPOLLET, select.EPOLLONESHOT):
        fd = follow(stream, "next", os.O_NONBLOCK)
        with select.epoll() as epoll:
            epoll.register(fd, select.EPOLLIN | flags)
            assert epoll.poll(0.02) == []
            for n in range(50):
                waiter = Worker(epoll.poll, DEADLINE)
                append(stream, b"%d" % n)
                assert waiter.done() == [(fd, select.EPOLLIN)], n
                if flags == select.EPOLLET:
                    assert epoll.poll(0) == [], n
                assert os.read(fd, 100) == b"%d" % n
                if flags == select.EPOLLONESHOT:
                    epoll.modify(fd, select.EPOLLIN | flags)
        os.close(fd)


def case_epoll_many(stream):
    """1,000 open files in one epoll set, one writer."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    fds = [follow(stream, "next", os.O_NONBLOCK) for _ in range(1000)]
    got = dict.fromkeys(fds, b"")
    entries = [b"entry %04d " % n * 20 for n in range(20)]
    text = b"".join(entries)
    writer = Worker(lambda: [append(stream, e) for e in entries])
    with select.epoll() as epoll:
        for fd in fds:
            epoll.register(fd, select.EPOLLIN)
        deadline = time.monotonic() + 2 * DEADLINE
        while any(len(data) < len(text) for data in got.values()):
            assert time.monotonic() < deadline, "in vain"
            for fd, _ in epoll.poll(1):
                data = errno_of_read(fd)
                assert isinstance(data, bytes) or data == "EAGAIN", data
                got[fd] += data if isinstance(data, bytes) else b""
    writer.done()
    assert set(got.values()) == {text}
    for fd in fds:
        os.close(fd)


class Interrupted(Exception):
    pass


def case_signals(stream):
    """EINTR; and what comes later is for the next read."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = follow(stream)
    buffer = ctypes.create_string_buffer(100)
    signal.signal(signal.SIGALRM, lambda *_: None)
    for delay in (0.05, 0.001, 0.0003, 0.0001, 0.00005) * 20:
        signal.setitimer(signal.ITIMER_REAL, delay, 0.05)
        ctypes.set_errno(0)
        assert libc.read(fd, buffer, 100) == -1 and ctypes.get_errno() == errno.EINTR, (delay, ctypes.get_errno())
    # signals and entries at the same time: no byte is lost
    stop = threading.Event()
    text = b"".join(b"%06d" % n for n in range(300))
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    writer = Worker(lambda: [append(stream, b"%06d" % n) for n in range(300)])
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGALRM])
    signal.setitimer(signal.ITIMER_REAL, 0.0007, 0.0007)
    got, interruptions = b"", 0
    while len(got) < len(text):
        n = libc.read(fd, buffer, 100)
        if n < 0:
            assert ctypes.get_errno() == errno.EINTR
            interruptions += 1
        else:
            got += buffer.raw[:n]
    signal.setitimer(signal.ITIMER_REAL, 0)
    stop.set()
    writer.done()
    assert got == text
    print(f"# {interruptions} interruptions", file=sys.stderr)
    os.close(fd)


def spawn(action):
    pid = os.fork()
    if pid:
        return pid
    try:
        action()
    except BaseException as e:
        print(e, file=sys.stderr)
        os._exit(1)
    os._exit(0)


def reap(pids):
    deadline = time.monotonic() + DEADLINE
    left = set(pids)
    while left:
        assert time.monotonic() < deadline, f"{len(left)} do not end"
        pid, _ = os.waitpid(-1, os.WNOHANG)
        left.discard(pid)
        if not pid:
            time.sleep(0.005)


def case_killed(stream, walfs):
    """kill -9 in masses, while entries come; of several threads at one open file too."""
    def forever(fd):
        while True:
            os.read(fd, 100)

    def several():
        fd = follow(stream)
        for _ in range(3):
            Worker(forever, fd)
        forever(fd)

    stop = threading.Event()

    def write():
        while not stop.is_set():
            append(stream, b"something")
            time.sleep(0.001)

    append(stream, b"first")
    base = task_count(walfs)
    rng = random.Random(5)
    for round_no in range(5):
        pids = [spawn(several if n % 3 == 0 else lambda: forever(follow(stream))) for n in range(40)]
        stop.clear()
        writer = Worker(write)
        time.sleep(0.1)
        rng.shuffle(pids)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        reap(pids)
        stop.set()
        writer.done()
    # and when none comes
    pids = [spawn(lambda: forever(follow(stream))) for _ in range(100)]
    until(lambda: all(waits_in_kernel(pid) for pid in pids))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    reap(pids)
    assert task_count(walfs) <= base + 4, (base, task_count(walfs))
    fd = follow(stream)
    reader = blocked_reader(fd)
    append(stream, b"the last")
    assert reader.done() == b"the last"


def case_shared(stream):
    """Threads at one open file: each record goes to one of them, to each in order."""
    fd = follow(stream)
    count, readers = 400, 8

    def read():
        got = []
        while True:
            data = os.read(fd, 8)
            assert len(data) == 8, data
            if data == b"........":
                return got
            got.append(int(data))

    workers = [Worker(read) for _ in range(readers)]
    append(stream, *(b"%08d" % n for n in range(count)))
    append(stream, b"........" * readers)
    parts = [w.done() for w in workers]
    assert sorted(sum(parts, [])) == list(range(count))
    assert all(part == sorted(part) for part in parts)
    os.close(fd)


def case_thousand(stream, walfs):
    """1,000 reads that wait, one writer: all get everything, and no thread is made for them."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    threading.stack_size(256 << 10)
    append(stream, b"first")
    os.close(follow(stream))
    tasks, bytes_before = task_count(walfs), memory(walfs)
    entries = 20
    size = 100
    latencies = []
    received = [0]
    lock = threading.Lock()

    def read(fd):
        got, took = 0, []
        while got < entries * size:
            data = os.read(fd, 65536)
            now = time.monotonic_ns()
            assert data and len(data) % size == 0
            took += [(now - int(data[at:at + size])) / 1e9 for at in range(0, len(data), size)]
            got += len(data)
            with lock:
                received[0] += len(data)
        assert got == entries * size
        with lock:
            latencies.extend(took)

    fds = [follow(stream) for _ in range(1000)]
    workers = [Worker(read, fd) for fd in fds]
    until(lambda: all(waits_in_kernel(os.getpid(), w.native_id) for w in workers))
    waiting = memory(walfs)
    assert task_count(walfs) <= tasks + 4, (tasks, task_count(walfs))
    for n in range(entries):
        append(stream, b"%*d" % (size, time.monotonic_ns()))
        if n % 2:
            until(lambda: received[0] == 1000 * (n + 1) * size)
    for w in workers:
        w.done()
    assert len(latencies) == 1000 * entries
    assert task_count(walfs) <= tasks + 4, (tasks, task_count(walfs))
    print_latencies("1,000 followers, from before the append", latencies)
    print(f"# walfs: {tasks} threads, then {task_count(walfs)}; {(waiting - bytes_before) >> 10} KiB more for 1,000 that wait, "
          f"{(memory(walfs) - bytes_before) >> 10} KiB more at the end", file=sys.stderr)
    if os.environ.get("SANITIZED") != "1":
        assert waiting - bytes_before < 8 << 20, waiting - bytes_before
        assert memory(walfs) - bytes_before < 24 << 20, memory(walfs) - bytes_before
    for fd in fds:
        os.close(fd)


def case_prune(stream):
    """Who fell behind hears of it once, and goes on with what there is."""
    line = 512
    text = b"".join((b"line %05d " % n).ljust(line - 1, b".") + b"\n" for n in range(100))
    lines = [text[at:at + line] for at in range(0, len(text), line)]
    append(stream, *lines)
    slow, slower, fast = follow(stream, "first"), follow(stream, "first"), follow(stream, "first")
    assert os.read(slow, 3 * line) == text[:3 * line]
    assert read_exactly(fast, len(text)) == text
    waiting = blocked_reader(fast)
    with open(stream + "/.prune", "w") as f:
        f.write("60\n")
    first = min(int(n) for n in os.listdir(stream) if n.isdigit())
    assert 30 < first <= 60, first
    for fd in (slow, slower):
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        assert poll.poll(0) == [(fd, select.POLLIN)]
        if fd == slow:
            # some had been fetched ahead
            data = b""
            while isinstance(piece := errno_of_read(fd, line), bytes):
                assert text.startswith(data + piece, 3 * line)
                data += piece
                assert len(data) < len(text)
            assert piece == "ESTALE"
        else:
            assert errno_of_read(fd) == "ESTALE"
        assert read_exactly(fd, (100 - first) * line) == text[first * line:]
    append(stream, b"more")
    assert waiting.done() == b"more"
    assert os.read(slow, 100) == os.read(slower, 100) == b"more"
    assert errno_of(lambda: follow(stream, str(first - 1))) == "ENOENT"
    for fd in (slow, slower, fast):
        os.close(fd)


def case_damaged(stream):
    """Entry 2 of 40 is damaged: it is told once. The stream is in use."""
    line = 512
    fd = follow(stream, "first")
    assert len(read_exactly(fd, 2 * line)) == 2 * line
    assert errno_of_read(fd) == "EIO"
    rest = read_exactly(fd, 37 * line)
    assert rest[:10] == b"line 00003" and rest[-line:][:10] == b"line 00039"
    append(stream, b"more")
    assert os.read(fd, 100) == b"more"
    os.close(fd)


def case_stopped(stream):
    """It takes no more appends, as damage was found at its end: nothing will come."""
    fd = follow(stream, "next")
    for _ in range(3):
        assert errno_of_read(fd) == "EIO"
        assert select.select([fd], [], [], 0)[0] == [fd]
    os.close(fd)


def case_deleted(stream):
    fd, polled, late = follow(stream), follow(stream), follow(stream)
    reader = blocked_reader(fd)
    poll = select.poll()
    poll.register(polled, select.POLLIN)
    assert not poll.poll(0)
    waiter = Worker(poll.poll, DEADLINE * 1000)
    time.sleep(0.02)
    os.rmdir(stream)
    assert reader.done() == "ENOENT"
    assert waiter.done()
    for f in (fd, polled, late):
        assert errno_of_read(f) == "ENOENT"
        os.close(f)
    os.mkdir(stream)
    fd = follow(stream)
    reader = blocked_reader(fd)
    append(stream, b"another")
    assert reader.done() == b"another"
    os.close(fd)


def case_wait_for_end(stream, count, expected, ready):
    """`count` that wait in read(2) and `count` in poll(2). All end; a read does with one of these."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))
    threading.stack_size(256 << 10)
    fds = [follow(stream) for _ in range(2 * int(count))]
    readers = [Worker(errno_of_read, fd) for fd in fds[:int(count)]]

    def poll_one(fd):
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return poll.poll(DEADLINE * 1000)

    pollers = [Worker(poll_one, fd) for fd in fds[int(count):]]
    until(lambda: all(waits_in_kernel(os.getpid(), w.native_id) for w in readers + pollers))
    time.sleep(0.1)
    with open(ready, "w"):
        pass
    found = {r.done() for r in readers}
    assert found <= set(expected.split(",")), found
    assert all(p.done() for p in pollers)
    found = errno_of_read(fds[-1])
    assert found in ("ENOTCONN", "ECONNABORTED"), found


def case_read_only(stream):
    fd = follow(stream, "first")
    data = b""
    while piece := os.read(fd, 1 << 16):
        data += piece
    with open(stream + "/.log", "rb") as log:
        assert data == log.read()
    assert select.select([fd], [], [], 0)[0] == [fd]
    os.close(fd)


def case_fill_lines(stream, count):
    append(stream, *((b"line %05d " % n).ljust(511, b".") + b"\n" for n in range(int(count))))


globals()["case_" + sys.argv[1]](*sys.argv[2:])
