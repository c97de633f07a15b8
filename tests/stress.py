#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""stress.py load MOUNTPOINT NOTES SECONDS		writers, readers and others on a mount for so long, with what was acknowledged noted in the directory NOTES
stress.py verify MOUNTPOINT NOTES		that all of it is there, once, in order and unharmed

Each writer writes records to one stream, as lines that tell who wrote them, their number and their checksum; each line is in one entry. What happened is counted in
memory that all processes share, and printed. Streams of even numbers are pruned all the time, the others never: those must have everything.
"""
import collections
import errno
import mmap
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import time
import zlib

STREAMS = 8
WRITERS = READERS = 64
HANDLES = 1000
KEPT = 20000  # entries that pruning leaves
COUNTERS = ["appended", "batches", "killed", "read", "listed", "followed", "texts", "pipelines", "pruned", "pruned while open", "checkpoints", "held"]
GONE = (errno.ENOENT, errno.ESTALE, errno.EIO)


class Stress:
    def __init__(self, mnt, notes, seconds):
        self.mnt, self.notes = mnt, notes
        self.deadline = time.monotonic() + seconds
        self.shared = mmap.mmap(-1, 8 * len(COUNTERS) * (WRITERS + READERS + 16))
        self.place = 0
        self.rng = random.Random()

    def count(self, name, by=1):
        at = 8 * (self.place * len(COUNTERS) + COUNTERS.index(name))
        struct.pack_into("Q", self.shared, at, struct.unpack_from("Q", self.shared, at)[0] + by)

    def counted(self):
        return {name: sum(struct.unpack_from("Q", self.shared, 8 * at)[0] for at in range(i, len(self.shared) // 8, len(COUNTERS)))
                for i, name in enumerate(COUNTERS)}

    def stream(self, number=None):
        return f"{self.mnt}/stress-{self.rng.randrange(STREAMS) if number is None else number % STREAMS}"

    def running(self):
        return time.monotonic() < self.deadline


def record(writer, number, size):
    body = b"x" * size
    head = b"%s %d " % (writer.encode(), number)
    return head + b"%08x " % zlib.crc32(head + body) + body + b"\n"


def parse(line):
    """(writer, number) of a record, which is whole."""
    writer, number, checksum, body = line.rstrip(b"\n").split(b" ")
    assert int(checksum, 16) == zlib.crc32(writer + b" " + number + b" " + body), line[:200]
    return writer.decode(), int(number)


def write_all(fd, data):
    while data:
        data = data[os.write(fd, data):]


# ---- Who does what ----

def writer(stress, name, number):
    """In a way that it keeps. What it has been told is there stands in its notes: the number of the next record, and of those that it tries to write."""
    path = stress.stream(number)
    way = stress.rng.choice(("new", "new held", "lines", "lines held", "batch", "batch fsync"))
    notes = os.open(f"{stress.notes}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(notes, b"%d\n" % (number % STREAMS))
    file = {"new": "/new", "lines": "/.lines", "batch": "/.batch"}[way.split()[0]]
    fd = os.open(path + file, os.O_WRONLY | (os.O_SYNC if way == "new held" else 0)) if "held" in way or "fsync" in way else -1
    following = 0
    # One write(2) of less than 1 MiB reaches the mount whole or not at all, so nobody who is killed leaves a part of a record.
    while stress.running():
        count = 1 if "new" in way else stress.rng.randrange(1, 30)
        size = stress.rng.choice((0, 10, 100, 100, 1000, 10000)) if count < 10 else 80
        data = b"".join(record(name, following + i, size) for i in range(count))
        if fd < 0:
            once = os.open(path + file, os.O_WRONLY)
            write_all(once, data)
            os.close(once)
        else:
            write_all(fd, data)
            if "fsync" in way:
                os.fsync(fd)
        following += count
        os.write(notes, b"%d\n" % following)
        stress.count("appended", count)
        stress.count("batches")
    if fd >= 0:
        os.close(fd)


def read_entries(stress):
    path = stress.stream()
    names = sorted(name for name in os.listdir(path) if name.isdigit())
    stress.count("listed", len(names))
    for name in stress.rng.sample(names, min(100, len(names))):
        try:
            with open(f"{path}/{name}", "rb", buffering=0) as f:
                size, data = os.fstat(f.fileno()).st_size, f.read()
        except OSError as e:
            assert e.errno in GONE and path.endswith(("0", "2", "4", "6")), (path, name, e)
            continue
        assert len(data) == size, (path, name)
        parse(data)
        stress.count("read")


def read_text(stress):
    """Whatever is pruned meanwhile: lines are whole, or there is an error."""
    path = stress.stream()
    try:
        first = int(os.readlink(path + "/.last")) - stress.rng.randrange(3000)
        with open(f"{path}/.from/{max(first, 0)}", "rb") as f:
            for line in f.read(4 << 20).splitlines(True)[:-1]:
                parse(line)
    except OSError as e:
        assert e.errno in GONE, (path, e)
    stress.count("texts")


def follow(stress):
    path = stress.stream()
    fd = os.open(path + "/.follow/next", os.O_RDONLY)
    text, until = b"", time.monotonic() + 3
    signal.setitimer(signal.ITIMER_REAL, 3)
    try:
        while time.monotonic() < until:
            text += os.read(fd, 65536)
            *lines, text = text.split(b"\n")
            for line in lines:
                parse(line)
                stress.count("followed")
    except (OSError, InterruptedError) as e:
        assert isinstance(e, TimeoutError) or e.errno in (errno.EINTR, errno.ESTALE), (path, e)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.close(fd)


def on_alarm(*_):
    raise TimeoutError


def pipeline(stress):
    """What people have in their shells: the records of a checkpoint or of the end of a stream through a dozen programs."""
    path = stress.stream()
    command = f"tail -c 300000 {path}/.log | tail -n +2 | cat | grep -a . | sed s/x*$// | tee /dev/null | sort | uniq | tac | cut -d ' ' -f 1-3 | head -n 1000 | wc -l"
    out = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True).stdout
    assert int(out) >= 0
    stress.count("pipelines")


def reader(stress, name, number):
    while stress.running():
        stress.rng.choice((read_entries, read_entries, read_text, follow, pipeline))(stress)


def pruner(stress, name, number):
    """Holds entries of the segments that it drops."""
    while stress.running():
        path = stress.stream(2 * stress.rng.randrange(STREAMS // 2))
        try:
            first, last = int(os.readlink(path + "/.first")), int(os.readlink(path + "/.last"))
        except OSError:
            time.sleep(0.1)
            continue
        if last - first > KEPT:
            held = [(os.open(f"{path}/{first + i}", os.O_RDONLY), os.stat(f"{path}/{first + i}").st_size) for i in range(50)]
            with open(path + "/.prune", "w") as f:
                f.write(str(last - KEPT))
            for fd, size in held:
                try:
                    data = os.pread(fd, size + 1, 0)
                    assert len(data) == size
                    parse(data)
                except OSError as e:
                    assert e.errno in GONE, e
                os.close(fd)
                stress.count("pruned while open")
            stress.count("pruned")
        time.sleep(0.2)


def checkpointer(stress, name, number):
    """A cut holds as many records as it says, and those of a writer in it have no gap."""
    turn = 0
    while stress.running():
        turn += 1
        os.close(os.open(f"{stress.mnt}/.checkpoints/stress-{turn}", os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        with open(f"{stress.mnt}/.checkpoints/stress-{turn}") as f:
            cut = dict(line.split() for line in f.read().splitlines()[1:])
        stream = os.path.basename(stress.stream(2 * stress.rng.randrange(STREAMS // 2) + 1))
        at = f"{stress.mnt}/.at/stress-{turn}/{stream}"
        assert int(os.readlink(at + "/.last")) + 1 == int(cut[stream]), (turn, stream)
        seen = {}
        with open(f"{at}/.from/{max(int(cut[stream]) - 2000, 0)}", "rb") as f:
            for line in f:
                who, n = parse(line)
                assert seen.get(who, n) == n, (who, n, seen[who])
                seen[who] = n + 1
        if turn > 20:
            os.unlink(f"{stress.mnt}/.checkpoints/stress-{turn - 20}")
        stress.count("checkpoints")
        time.sleep(0.5)


def holder(stress, name, number):
    """Many open handles on `new`, each of which becomes an entry at last."""
    path = stress.stream(number)
    notes = os.open(f"{stress.notes}/{name}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(notes, b"%d\n" % (number % STREAMS))
    handles = collections.deque()
    following = 0
    while stress.running():
        while len(handles) < HANDLES:
            handles.append(os.open(path + "/new", os.O_WRONLY))
        fd = handles.popleft()
        write_all(fd, record(name, following, stress.rng.choice((1, 5000))))
        os.close(fd)
        following += 1
        os.write(notes, b"%d\n" % following)
        stress.count("held")
        time.sleep(0.005)
    for fd in handles:
        os.close(fd)


# ---- The load ----

def start(stress, kind, name, number, place):
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        stress.place = place
        stress.rng = random.Random(name)
        signal.signal(signal.SIGALRM, on_alarm)
        kind(stress, name, number)
        status = 0
    except BaseException as e:  # also what an alarm raised too late
        if isinstance(e, TimeoutError) and kind is reader:
            status = 0
        else:
            print(f"{name}: {type(e).__name__}: {e}", file=sys.stderr, flush=True)
    finally:
        os._exit(status)


def load(mnt, notes, seconds):
    resource.setrlimit(resource.RLIMIT_NOFILE, (HANDLES + 200, HANDLES + 200))
    stress = Stress(mnt, notes, int(seconds))
    for number in range(STREAMS):
        os.mkdir(stress.stream(number))
    jobs = [(writer, n) for n in range(WRITERS)] + [(reader, n) for n in range(READERS)] + [(pruner, 0), (checkpointer, 0), (holder, 0), (holder, 1)]
    running, failed, started, told = {}, 0, 0, time.monotonic()
    for place, (kind, number) in enumerate(jobs):
        running[start(stress, kind, f"{kind.__name__}{number}.{started}", number, place)] = place
        started += 1
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            time.sleep(0.2)
            if stress.running() and stress.rng.random() < 0.3:
                victim = stress.rng.choice([pid for pid, place in running.items() if jobs[place][0] in (writer, reader)])
                os.kill(victim, signal.SIGKILL)
            if time.monotonic() - told > 30:
                told = time.monotonic()
                print("# " + ", ".join(f"{n} {name}" for name, n in stress.counted().items()), flush=True)
            if time.monotonic() > stress.deadline + 120:
                print(f"{len(running)} processes do not end", file=sys.stderr)
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                failed += len(running)
            continue
        place = running.pop(pid)
        kind, number = jobs[place]
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
            stress.place = len(jobs)
            stress.count("killed")
        elif status:
            failed += 1
        if stress.running():
            running[start(stress, kind, f"{kind.__name__}{number}.{started}", number, place)] = place
            started += 1
    print("# " + ", ".join(f"{n} {name}" for name, n in stress.counted().items()), flush=True)
    return failed


# ---- Afterwards ----

def verify(mnt, notes):
    noted = {}
    for name in os.listdir(notes):
        with open(f"{notes}/{name}") as f:
            stream, *numbers = map(int, f.read().split())
        noted[name] = stream, numbers[-1] if numbers else 0
    seen = collections.defaultdict(list)
    entries = 0
    for number in range(STREAMS):
        path = f"{mnt}/stress-{number}"
        with open(path + "/.log", "rb") as f:
            for line in f:
                who, n = parse(line)
                assert noted[who][0] == number, (who, path)
                seen[who].append(n)
                entries += 1
        names = [name for name in os.listdir(path) if name.isdigit()]
        assert len(names) == int(os.readlink(path + "/.last")) - int(os.readlink(path + "/.first")) + 1, path
        entries -= len(names)
    assert entries == 0, "each record is an entry, and each entry a record"
    lost = 0
    for who, (number, acknowledged) in noted.items():
        numbers = seen[who]
        if numbers != list(range(numbers[0] if numbers else 0, numbers[0] + len(numbers) if numbers else 0)):
            print(f"{who}: a gap, or something twice, in {numbers[:5]} … {numbers[-5:]}", file=sys.stderr)
            lost += 1
        # Of what was never pruned, all. A writer that was killed may have written one batch more than it noted.
        missing = acknowledged > 0 and (numbers[:1] != [0] or numbers[-1] < acknowledged - 1) if number % 2 else numbers and numbers[-1] < acknowledged - 1
        if missing or (numbers and numbers[-1] >= acknowledged + 30):
            print(f"{who}: {acknowledged} were acknowledged, there are {numbers[:1]} to {numbers[-1:]}", file=sys.stderr)
            lost += 1
    print(f"# {len(noted)} writers, {sum(n for _, n in noted.values())} acknowledged records, {sum(map(len, seen.values()))} there after pruning")
    return lost


if __name__ == "__main__":
    sys.exit(1 if {"load": load, "verify": verify}[sys.argv[1]](*sys.argv[2:]) else 0)
