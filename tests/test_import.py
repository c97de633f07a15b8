#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""walctl import, against logs that others wrote and logs made here: test_import.py WALCTL SOURCE_ROOT

Each log under SOURCE_ROOT/tests/data/import and under $WALFS_FIXTURES (or beside the source) is imported with each policy, and compared entry by entry with
what its MANIFEST.txt says. TAP output.
"""
import binascii
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tarfile
import tempfile

WALCTL = sys.argv[1]
ROOT = pathlib.Path(sys.argv[2])
FIXTURES = pathlib.Path(os.environ.get("WALFS_FIXTURES") or os.environ.get("WALFS_FIXTURES_DEFAULT") or ROOT.parent / "shared" / "fixtures")
cases = []


def case(function):
    cases.append((function.__name__.replace("_", " "), function))
    return function


def run(*arguments, code=0, data=None):
    done = subprocess.run([WALCTL, *map(str, arguments)], input=data, capture_output=True, check=False, timeout=120)
    if code is not None and done.returncode != code:
        raise AssertionError(f"walctl {' '.join(map(str, arguments))}: expected exit code {code}, got {done.returncode}\n{done.stdout.decode()}{done.stderr.decode()}")
    return done


def equal(found, expected, what):
    if found != expected:
        raise AssertionError(f"{what}: expected {str(expected)[:600]}, found {str(found)[:600]}")


def crc(data):
    return f"{binascii.crc32(data):08x}"


def tree(path):
    """All that stands in a directory, times of change too."""
    found = []
    for item in sorted(path.rglob("*")):
        st = item.lstat()
        found.append((str(item), st.st_mode, st.st_size, st.st_mtime_ns, st.st_ino, item.read_bytes() if item.is_file() else b""))
    return found


def entries(store, stream):
    """(id, bytes, time) of each entry that can be read."""
    listed = [e for e in json.loads(run("ls", "--json", store, stream, code=None).stdout)["entries"] if "size" in e]
    text = run("cat", store, stream, code=None).stdout
    found, at = [], 0
    for entry in listed:
        found.append((entry["id"], text[at:at + entry["size"]], entry["time_ns"]))
        at += entry["size"]
    equal(at, len(text), "bytes of all entries")
    return found


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Imported:
    """One run into a store of its own, and what it left."""

    def __init__(self, form, source, *options, code=None, store=None, stream="s", read=True):
        self.dir = pathlib.Path(tempfile.mkdtemp(dir=os.getcwd()))
        self.store = store or self.dir / "store"
        self.done = run("import", f"--from={form}", f"--report={self.dir / 'report'}", *options, source, self.store, *([stream] if stream else []), code=code)
        report = lines(self.dir / "report") if (self.dir / "report").exists() else []
        self.mapped = [line for line in report if line["kind"] == "entry"]
        self.findings = [line for line in report if line["kind"] not in ("import", "entry", "summary")]
        self.entries = entries(self.store, stream) if read and stream and self.store.exists() else []

    def data(self):
        return [data for _, data, _ in self.entries]

    def kinds(self):
        return [finding["kind"] for finding in self.findings]


def covered(findings, file, offset):
    return any(f.get("file") == file and f["offset"] <= offset <= f["offset"] + f["bytes"] for f in findings)


def rows_of(folder):
    return [line.split("\t") for line in (folder / "MANIFEST.txt").read_text().splitlines() if line and not line.startswith("#")]


# ---- walogs -------------------------------------------------------------------------------------------------------------------------

def walogs_expected(rows):
    """What each policy is to import, by the manifest: (file, offset, lsn, size, crc) of each."""
    intact = [(r[0], int(r[1]), int(r[2]), int(r[4]), r[5]) for r in rows if not r[7].startswith("damaged")]
    bad = [(r[0], int(r[1])) for r in rows if r[7].startswith("damaged")]
    salvage = [row for row, after in zip(intact, intact[1:] + [None]) if not after or after[2] != row[2]]
    prefix, strict, before = [], not bad, None
    for row in intact:
        number = int(row[0][4:-4] or 0) if row[0] != "wal.log" else 0
        broken = before and before[0] != row[0] and (number != int(before[0][4:-4] or 0) + 1 or row[2] not in (before[2], before[2] + 1))
        if broken or any(before_bad <= (row[0], row[1]) for before_bad in bad):
            strict = False
            break
        if before and row[2] not in (before[2], before[2] + 1):
            strict = False
        before = row
        if row in salvage:
            prefix.append(row)
    return {"salvage": salvage, "prefix": prefix, "strict": salvage if strict else []}, bad, strict


def check_walogs(folder):
    expected, bad, is_clean = walogs_expected(rows_of(folder))
    before = tree(folder)
    for policy, wanted in expected.items():
        done = Imported("walogs", folder, f"--policy={policy}", read=policy == "salvage")
        if policy == "salvage":  # what is in the report is what is in the store: looked at once, not for each policy
            equal([(len(data), crc(data)) for data in done.data()], [row[3:] for row in wanted], f"{policy}: entries")
            run("verify", "-q", done.store)
        if policy == "strict" and not is_clean:
            equal((done.done.returncode, done.store.exists()), (1, False), "strict: exit code, store")
            continue
        equal([(m["file"], m["offset"], m["sequence"], m["size"], m["crc32"], m["id"]) for m in done.mapped], [(*row, i) for i, row in enumerate(wanted)], f"{policy}: report")
        mtimes = [int((folder / row[0]).stat().st_mtime_ns) for row in wanted]
        equal([m["time_ns"] for m in done.mapped], mtimes, f"{policy}: times in the report")
        if done.entries:
            equal(done.entries[0][2], mtimes[0], f"{policy}: time of the first entry")
        for file, offset in bad[:None if policy == "salvage" else 1]:
            assert covered(done.findings, file, offset), f"{policy}: nothing is said about {file} at {offset}"
        if not bad:
            assert not {"damage", "torn"} & set(done.kinds()), f"{policy}: invented damage: {done.findings}"
        assert done.done.returncode == (1 if {"damage", "gap"} & set(done.kinds()) else 0), f"{policy}: exit code {done.done.returncode}"
    equal(tree(folder), before, "the source")


# ---- oxirs --------------------------------------------------------------------------------------------------------------------------

def check_oxirs(folder):
    rows = rows_of(folder)
    order = {name: i for i, name in enumerate(sorted({row[0] for row in rows}))}
    wanted, bad = [], []
    for row in sorted(rows, key=lambda r: (order[r[0]], int(r[1]))):
        file, offset, status = row[0], int(row[1]), row[6]
        if status == "damaged" or "trailing" in status:
            harmless = row[3] == "BAD-FILE-HEADER" and not (folder / file).stat().st_size
            bad.append((file, offset, harmless))
        if status == "damaged" or row[3].startswith("FILE-HEADER"):
            continue
        size = int(row[4]) - (int(status.split("+")[1].split("-")[0]) if "trailing" in status else 0)
        payload = (folder / file).read_bytes()[offset + 12:offset + 12 + size]
        if "trailing" not in status:
            equal(crc(payload), row[5], "the fixture itself")
        wanted.append((file, offset, int(row[2]), payload, json.loads(row[7])["timestamp"]))
    breaks = [(order[file], offset) for file, offset, harmless in bad if not harmless]
    expected = {"salvage": wanted, "prefix": [w for w in wanted if not any(b <= (order[w[0]], w[1]) for b in breaks)], "strict": [] if breaks else wanted}
    before = tree(folder)
    for policy, rows_wanted in expected.items():
        done = Imported("oxirs", folder, f"--policy={policy}", read=policy == "salvage")
        if policy == "salvage":
            equal(done.data(), [w[3] for w in rows_wanted], f"{policy}: entries")
        if policy == "strict" and breaks:
            equal((done.done.returncode, done.store.exists()), (1, False), "strict: exit code, store")
            continue
        equal([(m["file"], m["offset"], m["sequence"], m["crc32"], m["id"]) for m in done.mapped], [(*w[:3], crc(w[3]), i) for i, w in enumerate(rows_wanted)], f"{policy}: report")
        for mapped, (file, _, _, _, seconds) in zip(done.mapped, rows_wanted):
            expected_time = seconds * 10**9 if 0 < seconds < 1790000000 else (folder / file).stat().st_mtime_ns
            equal(mapped["time_ns"], expected_time, f"{policy}: time")
        latest = 0
        for (_, _, time_ns), mapped in zip(done.entries, done.mapped):
            latest = max(latest + 1, mapped["time_ns"])
            equal(time_ns, latest, f"{policy}: time of the entry")
        for file, offset, _ in bad[:None if policy == "salvage" else 1]:
            assert covered(done.findings, file, offset), f"{policy}: nothing is said about {file} at {offset}: {done.findings}"
        if not bad:
            assert not {"damage", "torn"} & set(done.kinds()), f"{policy}: invented damage: {done.findings}"
    equal(tree(folder), before, "the source")


# ---- ironwal ------------------------------------------------------------------------------------------------------------------------

def check_ironwal(folder):
    source = folder / "store"
    wanted = {}
    for line in (folder / "MANIFEST.txt").read_text().splitlines():
        if line[:1] not in ("#", "@", ""):
            stream, number, size, checksum = line.split()
            wanted.setdefault(stream, []).append((int(number), int(size), checksum))
    before = tree(source)
    for policy in ("salvage", "prefix", "strict"):
        done = Imported("ironwal", source, f"--policy={policy}", stream=None)
        torn = "torn" in done.kinds()
        if policy == "strict" and folder.name == "torn":
            equal(done.done.returncode, 1, "strict: exit code")
            assert not done.store.exists(), "strict: something was made"
            continue
        equal(done.done.returncode, 0, f"{policy}: exit code")
        equal(torn, folder.name == "torn", f"{policy}: a torn end")
        for stream, rows in wanted.items():
            found = entries(done.store, stream)
            equal([(number, len(data), crc(data)) for number, data, _ in found], sorted(rows), f"{policy}: {stream}")
            there = json.loads(run("ls", "--json", source, stream, code=None).stdout)["entries"]
            equal([time for _, _, time in found], [e["time_ns"] for e in there], f"{policy}: times of {stream}")
        equal(run("checkpoint", "list", done.store).stdout, run("checkpoint", "list", source).stdout, f"{policy}: checkpoints")
        run("verify", "-q", done.store)
        run("import", "--from=ironwal", source, done.store)
    one = sorted(wanted)[0]
    if folder.name != "sharded":
        done = Imported("ironwal", source, stream=one)
        equal(list(p.name for p in done.store.iterdir() if p.is_dir()), [one], "one stream")
    equal(tree(source), before, "the source")


def add_fixture_cases():
    checks = {"walogs": check_walogs, "oxirs": check_oxirs, "ironwal": check_ironwal}
    for base, where in ((ROOT / "tests" / "data" / "import", "kept here"), (FIXTURES, "fixture")):
        for form, check in checks.items():
            for folder in sorted((base / form).glob("*")) if (base / form).is_dir() else []:
                cases.append((f"{where}: {form}/{folder.name}", lambda check=check, folder=folder: check(folder)))


# ---- logs made here -----------------------------------------------------------------------------------------------------------------

def frame(lsn, data):
    length, number = struct.pack("<I", len(data)), struct.pack("<Q", lsn)
    return length + struct.pack("<I", binascii.crc32(length + number + data)) + number + data


def write_log(name, files):
    folder = pathlib.Path(tempfile.mkdtemp(dir=os.getcwd())) / name
    folder.mkdir()
    for file, content in files.items():
        (folder / file).write_bytes(content)
    return folder


def payloads(first, last):
    return [b"entry %d" % number for number in range(first, last + 1)]


def frames(first, last):
    return b"".join(frame(number, b"entry %d" % number) for number in range(first, last + 1))


def flip(data, at):
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1:]


@case
def damage_in_the_last_segment_is_stepped_over():
    head = len(frames(1, 3))
    done = Imported("walogs", write_log("log", {"wal-000001.log": flip(frames(1, 20), head + 18)}), code=1)
    equal(done.data(), payloads(1, 3) + payloads(5, 20), "entries")
    equal([(f["kind"], f["offset"], f["bytes"], f["sequence"], f["count"]) for f in done.findings], [("damage", head, 16 + 7, 4, 1)], "findings")
    done = Imported("walogs", write_log("log", {"wal-000001.log": flip(frames(1, 20), head + 18)}), "--policy=prefix", code=1)
    equal(done.data(), payloads(1, 3), "entries before the damage")


@case
def a_wrong_length_is_stepped_over():
    for wrong in (b"\xff\xff\xff\x7f", b"\x00\x10\x00\x00", b"\x09\x00\x00\x00", b"\x00\x00\x00\x00"):
        head = frames(1, 9)
        log = head + wrong + frame(10, b"entry 10")[4:] + frames(11, 30)
        done = Imported("walogs", write_log("log", {"wal-000001.log": log}), code=1)
        equal(done.data(), payloads(1, 9) + payloads(11, 30), "entries")
        equal([(f["kind"], f["offset"], f["sequence"], f["count"]) for f in done.findings], [("damage", len(head), 10, 1)], "findings")


@case
def frames_inside_the_data_of_a_bad_one():
    inner = b"".join(frame(number, b"inner %d" % number) for number in range(1, 9))
    bad = flip(frame(4, b"a log in a log: " + inner + b"."), 20)
    for log in (frames(1, 3) + bad + frames(5, 9), frames(1, 3) + flip(bad, 9) + frames(5, 9)):
        done = Imported("walogs", write_log("log", {"wal-000001.log": log}), code=1)
        equal(done.data(), payloads(1, 3) + payloads(5, 9), "entries")
        equal([(f["kind"], f["sequence"], f["count"]) for f in done.findings], [("damage", 4, 1)], "findings")
    done = Imported("walogs", write_log("log", {"wal-000001.log": frames(1, 3) + bad}), code=0)
    equal((done.data(), done.kinds()), (payloads(1, 3), ["torn"]), "at the end")
    done = Imported("walogs", write_log("log", {"wal-000001.log": frames(1, 3) + bad, "wal-000002.log": frames(5, 6)}), code=1)
    equal((done.data(), done.kinds()), (payloads(1, 3) + payloads(5, 6), ["damage"]), "at the end of a segment")


@case
def much_damage_that_looks_like_large_frames():
    gap, log = b"\0\xff" * 48, bytearray(frames(1, 1))
    for number in range(2, 2002):
        log += gap + frame(number, b"x")
    done = Imported("walogs", write_log("log", {"wal-000001.log": log + frame(2002, bytes(16 << 20))}), "-n", code=1, read=False)
    assert len(done.mapped) > 1 and done.mapped[0]["sequence"] == 1, len(done.mapped)


@case
def a_header_that_is_torn():
    done = Imported("walogs", write_log("log", {"wal-000001.log": frames(1, 5) + frame(6, b"x")[:9]}), code=0)
    equal(done.data(), payloads(1, 5), "entries")
    equal([(f["kind"], f["bytes"]) for f in done.findings], [("torn", 9)], "findings")


@case
def of_two_frames_with_a_number_the_later_counts():
    log = write_log("log", {"wal-000001.log": frames(1, 2) + frame(3, b"failed") + frame(3, b"failed too") + frames(3, 4), "wal-000002.log": frame(4, b"in the next segment") + frames(5, 5)})
    done = Imported("walogs", log, "--policy=strict", code=0)
    equal(done.data(), payloads(1, 3) + [b"in the next segment"] + payloads(5, 5), "entries")
    equal([(f["kind"], f["sequence"]) for f in done.findings], [("duplicate", 3), ("duplicate", 3), ("duplicate", 4)], "findings")
    done = Imported("walogs", log, "--keep-duplicates", code=0)
    equal(len(done.entries), 8, "all of them")


@case
def numbers_that_begin_again_after_a_checkpoint():
    for policy in ("salvage", "prefix", "strict"):
        done = Imported("walogs", write_log("log", {"wal-000002.log": frames(1, 6)}), f"--policy={policy}", code=0)
        equal(done.data(), payloads(1, 6), "entries")
        equal(done.kinds(), ["restart"], "findings")
    log = write_log("log", {"wal-000002.log": frames(1, 6), "wal-000003.log": frames(1, 3)})
    equal(Imported("walogs", log, code=0).data(), payloads(1, 6) + payloads(1, 3), "entries")
    equal(Imported("walogs", log, "--policy=prefix", code=0).data(), payloads(1, 6), "entries before the numbers began again")
    equal(Imported("walogs", log, "--policy=strict", code=1).data(), [], "strict")


@case
def both_versions_side_by_side():
    log = write_log("log", {"wal.log": frames(1, 4), "wal-000001.log": frames(5, 8)})
    done = Imported("walogs", log, code=1)
    equal(done.data(), payloads(1, 8), "entries")
    equal(done.kinds(), ["gap"], "findings")
    equal(Imported("walogs", log, "--policy=strict", code=1).data(), [], "strict")


@case
def what_is_no_segment_is_left_alone():
    log = write_log("log", {"wal-000001.log": frames(1, 2), "wal-+00001.log": b"x", "wal-1.log": b"x", "wal-0000001.log": b"x", "notes": b"x", "wal-1000000.log": frames(3, 4)})
    equal(Imported("walogs", log, code=1).data(), payloads(1, 4), "entries")
    log = write_log("log", {f"wal-{n}.log": frames(n, n) for n in (999998, 999999, 1000000, 1000001)})
    done = Imported("walogs", log, code=0)
    equal(done.data(), payloads(999998, 1000001), "numbers with seven digits")


@case
def a_single_file_of_any_name():
    log = write_log("log", {"wal-000007.log": frames(11, 14)})
    equal(Imported("walogs", log / "wal-000007.log", code=0).data(), payloads(11, 14), "entries")
    (log / "copy").write_bytes(frames(1, 2))
    equal(Imported("walogs", log / "copy", code=0, stream=None).done.stdout.split(b":")[0], b"copy", "the stream's name")


@case
def the_largest_frame_and_junk_of_that_size():
    large = random.Random(1).randbytes(16 << 20)
    log = write_log("log", {"wal-000001.log": frame(1, large) + large + frame(3, b"behind")})
    done = Imported("walogs", log, code=1)
    equal([crc(data) for data in done.data()], [crc(large), crc(b"behind")], "entries")


def varint(number):
    if number <= 250:
        return bytes([number])
    for tag, size in ((251, 2), (252, 4), (253, 8)):
        if number < 1 << (8 * size):
            return bytes([tag]) + number.to_bytes(size, "little")
    raise ValueError(number)


class Standard:
    kind = staticmethod(varint)
    number = staticmethod(varint)


class Fixed:
    kind = staticmethod(lambda number: struct.pack("<I", number))
    number = staticmethod(lambda number: struct.pack("<Q", number))


def text(form, value):
    return form.number(len(value.encode())) + value.encode()


def record(form, kind, *, name="", vector=(), metadata=None, number=0, parts=(), seconds=0):
    data = form.kind(kind)
    if kind < 3:
        data += text(form, name)
    if kind < 2:
        data += form.number(len(vector)) + b"".join(struct.pack("<f", f) for f in vector)
        data += b"\0" if metadata is None else b"\1" + form.number(len(metadata)) + b"".join(text(form, k) + text(form, v) for k, v in metadata)
    if kind == 3:
        data += form.number(len(parts)) + b"".join(record(form, **part) for part in parts)
    if kind > 3:
        data += form.number(number)
    return data + form.number(seconds)


SAMPLE = [
    {"kind": 0, "name": "vec1", "vector": (1, 2, 3), "seconds": 1700000000},
    {"kind": 0, "name": "κλειδί", "vector": (), "metadata": [("a", ""), ("b", "x" * 300)], "seconds": 1700000001},
    {"kind": 1, "name": "n" * 70000, "vector": tuple(range(1000)), "metadata": [], "seconds": 1700000002},
    {"kind": 2, "name": "vec1", "seconds": 1700000003},
    {"kind": 3, "parts": [{"kind": 2, "name": "b", "seconds": 250}, {"kind": 3, "parts": [], "seconds": 251}, {"kind": 5, "number": 65536, "seconds": 65535}], "seconds": 1700000004},
    {"kind": 4, "number": 2, "seconds": 1700000005},
    {"kind": 5, "number": 2**64 - 1, "seconds": 1700000006},
    {"kind": 6, "number": 2**64 - 1, "seconds": 1700000007},
    {"kind": 7, "number": 2**32, "seconds": 2**64 - 1},
]
HEADER = b"WALV" + struct.pack("<IQ", 1, 0x68000000)


def records(payload_list, first=0):
    return b"".join(struct.pack("<QI", first + i, len(p)) + p for i, p in enumerate(payload_list))


def inserts(first, last):
    return [record(Standard, 0, name=f"doc:{n}", vector=(n, n / 2), seconds=1700000000 + n) for n in range(first, last + 1)]


@case
def both_encodings_become_the_standard_one():
    standard = [record(Standard, **r) for r in SAMPLE]
    for form in (Standard, Fixed):
        done = Imported("oxirs", write_log("log", {"wal-1.log": HEADER + records([record(form, **r) for r in SAMPLE])}), "--policy=strict", code=0)
        equal(done.data(), standard, "records")
        equal([m["type"] for m in done.mapped], ["insert", "insert", "update", "delete", "batch", "checkpoint", "begin", "commit", "abort"], "types")
        shown = [json.loads(line) for line in run("cat", "--journal", done.store, "s").stdout.splitlines()]
        equal([r["type"] for r in shown], [m["type"] for m in done.mapped], "records as a journal has them")
        equal([m["time_ns"] for m in done.mapped[:8]], [(1700000000 + i) * 10**9 for i in range(8)], "times")
    each = {"wal-1.log": HEADER + records([record(Fixed, **r) for r in SAMPLE]), "wal-2.log": HEADER + records(standard, len(SAMPLE))}
    equal(Imported("oxirs", write_log("log", each), code=0).data(), standard + standard, "a file of each")


@case
def longer_forms_of_numbers_are_kept():
    payload = b"\x02" + b"\xfb\x01\x00" + b"t" + b"\xfd" + struct.pack("<Q", 1700000000)
    equal(Imported("oxirs", write_log("log", {"wal-1.log": HEADER + records([payload])}), code=0).data(), [payload], "record")


@case
def a_second_header_inside_a_file():
    log = HEADER + records(inserts(0, 3)) + HEADER + records(inserts(4, 7), 4) + HEADER + HEADER + records(inserts(8, 9))
    done = Imported("oxirs", write_log("log", {"wal-1.log": log}), "--policy=strict", code=0)
    equal(done.data(), inserts(0, 9), "records")
    equal(done.kinds(), ["note", "note", "note", "restart"], "findings")
    legacy = HEADER + HEADER + records([record(Fixed, **r) for r in SAMPLE])
    equal(len(Imported("oxirs", write_log("log", {"wal-1.log": legacy}), code=0).data()), len(SAMPLE), "the older encoding behind two headers")


@case
def a_length_that_is_wrong():
    for wrong, whole in ((200000000, 0), (10, 0), (0, 0), (500, 1), (len(inserts(7, 7)[0]) + 1, 1)):
        good, bad, rest = records(inserts(0, 6)), struct.pack("<QI", 7, wrong) + inserts(7, 7)[0], records(inserts(8, 40), 8)
        log = write_log("log", {"wal-1.log": HEADER + good + bad + rest, "wal-2.log": HEADER + records(inserts(41, 42), 41)})
        done = Imported("oxirs", log, code=1)
        equal(done.data(), inserts(0, 6 + whole) + inserts(41, 42), f"length {wrong}: records")
        assert covered(done.findings, "wal-1.log", 16 + len(good)) and "gap" in done.kinds(), done.findings
        done = Imported("oxirs", log, "--resync", code=1)
        assert done.data() in (inserts(0, 42), inserts(0, 6) + inserts(8, 42)), f"length {wrong}: {len(done.data())} with --resync"


@case
def a_search_where_each_place_looks_like_a_large_record():
    size = 32 << 20
    places = b"".join(struct.pack("<QI2sI", 1, size - at - 12, b"\xfa\xfc", size - at - 12 - 7) for at in range(0, 18 * 50000, 18))
    log = HEADER + records(inserts(0, 0)) + struct.pack("<QI", 1, 200000000) + places + bytes(size - len(places))
    done = Imported("oxirs", write_log("log", {"wal-1.log": log}), "--resync", code=1)
    equal((done.data(), done.kinds()), (inserts(0, 0), ["damage"]), "what is before it")


@case
def many_records_of_no_known_type():
    log = HEADER + records(inserts(0, 0) + [b"\x09junk"] * 500000)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = Imported("oxirs", write_log("log", {"wal-1.log": log}), "-q", "-n", code=1, read=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    assert used < 8, f"{used} s of the processor for a file of {len(log)} bytes: it is read over and over"
    equal((len(done.mapped), len(done.findings)), (1, 500000), "records, and what is none")


@case
def the_end_of_a_middle_file_is_torn():
    log = write_log("log", {"wal-1.log": HEADER + records(inserts(0, 9))[:-5], "wal-2.log": HEADER + records(inserts(10, 12), 10)})
    done = Imported("oxirs", log, code=1)
    equal(done.data(), inserts(0, 8) + inserts(10, 12), "records")
    equal([(f["kind"], f.get("sequence")) for f in done.findings], [("torn", None), ("gap", 9)], "findings")
    equal(Imported("oxirs", log, "--policy=prefix", code=0).data(), inserts(0, 8), "before it")


@case
def numbers_that_threads_wrote_out_of_order():
    order = [0, 1, 3, 2, 4, 7, 5, 6, 8]
    log = HEADER + b"".join(records(inserts(n, n), n) for n in order)
    done = Imported("oxirs", write_log("log", {"wal-1.log": log}), "--policy=strict", code=0)
    equal(done.kinds(), [], "findings")
    done = Imported("oxirs", write_log("log", {"wal-1.log": HEADER + b"".join(records(inserts(n, n), n) for n in (0, 1, 5, 3, 6))}), code=1)
    equal([(f["kind"], f["sequence"], f["count"]) for f in done.findings], [("gap", 2, 1), ("gap", 4, 1)], "findings")


@case
def hostile_records():
    deep = b"\x03\x01" * 20000 + b"\x03\x00\x00" + b"\x00" * 20000
    long_text = b"\x02" + b"\xfd" + struct.pack("<Q", 2**62) + b"x" * 30
    opaque = b"\xfa" + b"\x01x" + b"\x05"
    for payload in (deep, long_text, opaque, b"\x03\x01" + opaque + b"\x05", b"\x08\x00\x00", b"\x02\xfe" + b"\0" * 16, b"\x02\xff"):
        done = Imported("oxirs", write_log("log", {"wal-1.log": HEADER + records(inserts(0, 3) + [payload] + inserts(5, 9))}), code=1)
        equal(done.data(), inserts(0, 3) + inserts(5, 9), "records around it")
        equal(done.kinds(), ["damage"], "findings")


def transaction_log():
    def mark(kind, number):
        return record(Standard, kind, number=number, seconds=1700000000)
    one = inserts(0, 99)
    session = [one[0], mark(5, 7), one[1], mark(6, 7), mark(5, 8), one[2], mark(7, 8), one[3], mark(5, 9), one[4]]
    second = [one[5], mark(5, 9), one[6], mark(5, 10), one[7], mark(6, 9), one[8], mark(6, 10), mark(6, 11), one[9]]
    return session, second, mark


@case
def transactions_that_were_not_committed():
    session, second, _ = transaction_log()
    log = write_log("log", {"wal-1.log": HEADER + records(session), "wal-2.log": HEADER + records(second)})
    equal(Imported("oxirs", log, code=0).data(), session + second, "all records")
    done = Imported("oxirs", log, "--transactions=apply", code=0)
    equal(done.data(), session[:4] + session[7:8] + second, "without what was aborted or not finished")
    equal(done.kinds().count("left out"), 5, "left out")


@case
def a_checkpoint_covers_its_own_session():
    def mark(number):
        return record(Standard, 4, number=number, seconds=1700000000)
    first, second = inserts(0, 7) + [mark(5)], inserts(10, 13) + [mark(1), mark(2)] + inserts(14, 14)
    log = write_log("log", {"wal-1.log": HEADER + records(first), "wal-2.log": HEADER + records(second), "wal-3.log": HEADER + records(inserts(20, 22))})
    equal(Imported("oxirs", log, code=0).data(), first + second + inserts(20, 22), "all records")
    equal(Imported("oxirs", log, "--checkpoints=drop", code=0).data(), inserts(0, 7) + inserts(10, 14) + inserts(20, 22), "no marks")
    equal(Imported("oxirs", log, "--checkpoints=apply", code=0).data(), inserts(6, 7) + inserts(13, 14) + inserts(20, 22), "what is not covered")


# ---- stores -------------------------------------------------------------------------------------------------------------------------

def make_store(count):
    folder = pathlib.Path(tempfile.mkdtemp(dir=os.getcwd())) / "store"
    run("init", folder)
    run("append", "--create", "--lines", "--segment-entries=10", folder, "s", data=b"".join(b"%d\n" % (1000000 + i) for i in range(count)))
    return folder


@case
def damaged_ids_stay_free():
    source = make_store(40)
    for segment, at in ((10, 3), (10, 4), (20, 9)):
        path = source / "s" / f"{segment:020}.wal"
        path.write_bytes(flip(path.read_bytes(), at * 43 + 40))
    before = tree(source)
    done = Imported("ironwal", source, stream=None, code=1)
    lost = {13, 14, 29}
    equal([(number, data) for number, data, _ in entries(done.store, "s")], [(i, b"%d" % (1000000 + i)) for i in range(40) if i not in lost], "entries")
    equal({f["first_id"] + i for f in done.findings if "first_id" in f for i in range(f["count"])}, lost, "ids in findings")
    run("verify", "-q", done.store)
    run("import", "--from=ironwal", source, done.store, code=1)
    done = Imported("ironwal", source, "--policy=prefix", stream=None, code=1)
    equal(len(entries(done.store, "s")), 13, "before the damage")
    done = Imported("ironwal", source, "--policy=strict", stream=None, code=1)
    assert not done.store.exists(), "strict: something was made"
    equal(tree(source), before, "the source")


@case
def ids_that_were_pruned():
    source = make_store(40)
    run("prune", source, "s", 20)
    done = Imported("ironwal", source, "--policy=strict", code=0)
    equal([number for number, _, _ in done.entries], list(range(20, 40)), "ids")
    run("rotate", source, "s")
    run("prune", source, "s", 40)
    done = Imported("ironwal", source, stream=None, code=0)
    equal(json.loads(run("stat", "--json", done.store, "s").stdout)["streams"][0]["next_id"], 40, "next id of a stream without entries")


# ---- files, lines, tar --------------------------------------------------------------------------------------------------------------

def make_files():
    folder = write_log("files", {"b": b"two", "a": b"", "c\n": b"three", ".hidden": b"four"})
    (folder / "deep").mkdir()
    (folder / "deep" / "d").write_bytes(bytes(range(256)) * 20000)
    (folder / "link").symlink_to("b")
    os.mkfifo(folder / "fifo")
    for i, name in enumerate((".hidden", "a", "b", "c\n", "deep/d")):
        os.utime(folder / name, ns=(5, 1600000000000000007 + i * 10**9))
    return folder


@case
def files_of_a_directory():
    folder = make_files()
    done = Imported("files", folder, code=0)
    equal([(data, time) for _, data, time in done.entries], [(data, 1600000000000000007 + i * 10**9) for i, data in enumerate((b"four", b"", b"two", b"three"))], "entries")
    equal([m["file"] for m in done.mapped], [".hidden", "a", "b", "c\n"], "names")
    equal(done.kinds(), ["note"], "findings")
    done = Imported("files", folder, "--recursive", code=0)
    equal(done.data()[4:], [(folder / "deep" / "d").read_bytes()], "below")
    equal(done.mapped[4]["file"], "deep/d", "its name")
    equal(os.stat(folder / "b").st_atime_ns, 5, "time of access")


@case
def lines_of_a_file_and_of_standard_input():
    wanted = [b"one", b"", b"x" * (3 << 20), b"y" * (1 << 20), b"\xff\0z", b"last"]
    folder = write_log("lines", {"text": b"\n".join(wanted)})
    os.utime(folder / "text", ns=(0, 1500000000123456789))
    done = Imported("lines", folder / "text", code=0)
    equal(done.data(), wanted, "lines")
    equal(done.entries[0][2], 1500000000123456789, "time")
    store = folder / "store"
    for _ in range(2):
        run("import", "--from=lines", "-", store, "t", data=b"\n".join(wanted) + b"\n")
        equal([data for _, data, _ in entries(store, "t")], wanted, "lines of standard input")


@case
def members_of_a_tar():
    folder = make_files()
    for kind, suffix in (("w:", ""), ("w:gz", ".gz"), ("w:xz", ".xz")):
        path = folder.parent / f"a.tar{suffix}"
        with tarfile.open(path, kind) as archive:
            archive.add(folder, "f", filter=lambda member: None if member.isfifo() else member)
            archive.add(folder / "deep" / "d", "link to d")
        done = Imported("tar", path, code=0)
        with tarfile.open(path) as archive:
            members = [m for m in archive.getmembers() if m.isreg()]
            equal(done.data(), [archive.extractfile(m).read() for m in members], "members")
        names = [m.name for m in members]
        equal([m["file"] for m in done.mapped], names, "names")
        equal({m["file"]: m["time_ns"] // 10**9 for m in done.mapped}["f/b"], 1600000002, "time")
    data = (folder.parent / "a.tar").read_bytes()
    store = folder.parent / "store"
    run("import", "--from=tar", "-", store, "t", data=data)
    equal(len(entries(store, "t")), len(names), "from standard input")
    (folder.parent / "cut.tar").write_bytes(data[:len(data) // 2])
    done = Imported("tar", folder.parent / "cut.tar", code=1)
    equal(done.kinds(), ["damage"], "findings of one that was cut")
    equal(Imported("tar", folder.parent / "cut.tar", "--policy=strict", code=1).data(), [], "strict")
    (folder.parent / "no.tar").write_bytes(b"this is no archive" * 100)
    equal(Imported("tar", folder.parent / "no.tar", code=1).data(), [], "what is no archive")


# ---- again, and behind others -------------------------------------------------------------------------------------------------------

@case
def once_more_imports_what_is_new():
    log = write_log("log", {"wal-000001.log": frames(1, 2000)})
    done = Imported("walogs", log, code=0)
    again = Imported("walogs", log, code=0, store=done.store)
    equal(again.entries, done.entries, "entries")
    equal({m["present"] for m in again.mapped}, {True}, "what the report says of them")
    (log / "wal-000002.log").write_bytes(frames(2001, 2003))
    again = Imported("walogs", log, code=0, store=done.store)
    equal(again.data(), payloads(1, 2003), "entries with the new ones")
    equal([m["present"] for m in again.mapped].count(False), 3, "new ones")


@case
def a_stream_that_holds_something_else_is_refused():
    log = write_log("log", {"wal-000001.log": frames(1, 20)})
    for there in (b"other\n", b"entry 1\nentry 3\n", b"".join(data + b"\n" for data in payloads(1, 21)), b"entry 1\nentry X\n"):
        store = log.parent / f"store-{binascii.crc32(there)}"
        run("init", store)
        run("append", "--create", "--lines", store, "s", data=there)
        before = entries(store, "s")
        for options in ((), ("--dry-run",), ("--policy=strict",)):
            refused = run("import", "--from=walogs", *options, log, store, "s", code=3)
            assert b"not a beginning" in refused.stderr, refused.stderr
            equal(entries(store, "s"), before, "the stream")


@case
def dry_runs_change_nothing():
    log = write_log("log", {"wal-000001.log": frames(1, 20) + b"torn"})
    store = log.parent / "store"
    done = run("import", "--from=walogs", "--dry-run", log, store, "s")
    assert b"20 entries would be imported" in done.stdout and not store.exists(), done.stdout
    run("init", store)
    before = tree(store)
    done = json.loads(run("import", "--from=walogs", "-n", "--json", log, store, "s").stdout)
    equal(tree(store), before, "the store")
    equal((done["dry_run"], done["complete"], done["counts"]["torn"], done["findings"][0]["offset"]), (True, True, 1, len(frames(1, 20))), "JSON")
    equal(done["streams"], [{"stream": "s", "entries": 20, "present": 0, "bytes": len(b"".join(payloads(1, 20))), "first_id": 0, "next_id": 20}], "JSON")


def start_and_kill(arguments, folder, count):
    """Reads so many lines of the report, as the import writes it, then kills it. False: it was through before."""
    fifo = folder / "fifo"
    if not fifo.exists():
        os.mkfifo(fifo)
    with subprocess.Popen([WALCTL, "import", f"--report={fifo}", *map(str, arguments)], stdout=subprocess.DEVNULL) as process:
        with open(fifo, "rb", buffering=0) as report:
            seen = 0
            while seen < count:
                piece = report.read(4096)
                if not piece:
                    break
                seen += piece.count(b"\n")
            process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


@case
def killed_and_run_again():
    count = 20000
    log = write_log("log", {"wal-000001.log": frames(1, count) + b"torn", "text": b"".join(b"entry %d\n" % n for n in range(1, count + 1))})
    for form, source in (("walogs", log), ("lines", log / "text")):
        store = log.parent / f"store-{form}"
        killed = [start_and_kill([f"--from={form}", source, store, "s"], log.parent, lines_read) for lines_read in (1, 2500, 5000, 9000, 15000)]
        assert any(killed), "never killed"
        part = entries(store, "s")
        equal([data for _, data, _ in part], payloads(1, len(part)), "what is there after the last kill")
        assert 1024 < len(part) < count, f"{len(part)} entries: the kills hit nothing"
        run("import", f"--from={form}", source, store, "s")
        equal([data for _, data, _ in entries(store, "s")], payloads(1, count), "in the end")
        run("verify", "-q", store)


@case
def appended_behind_others_and_killed():
    count = 20000
    log = write_log("log", {"wal-000001.log": frames(1, count)})
    store, state = log.parent / "store", log.parent / "state"
    run("init", store)
    run("append", "--create", "--lines", store, "s", data=b"before\nentry 1\n")
    arguments = ["--from=walogs", f"--append={state}", log, store, "s"]
    assert start_and_kill(arguments, log.parent, 6000) and start_and_kill(arguments, log.parent, 9000), "never killed"
    for _ in range(2):
        run("import", *arguments)
        equal([data for _, data, _ in entries(store, "s")], [b"before", b"entry 1"] + payloads(1, count), "entries")
    run("import", "--from=walogs", f"--append={state}", log, store, "other", code=2)
    run("import", "--from=walogs", f"--append={log.parent / 'new'}", "--dry-run", log, store, "s")
    assert not (log.parent / "new").exists(), "a dry run keeps nothing"


@case
def what_cannot_be_meant():
    log = write_log("log", {"wal-000001.log": frames(1, 2)})
    store = log.parent / "store"
    for arguments in ((log, store), ("--from=nothing", log, store), ("--from=walogs", log), ("--from=walogs", "--policy=some", log, store), ("--from=lines", "-", store), ("--from=walogs", "-", store, "s"),
                      ("--from=walogs", "--recursive", log, store), ("--from=lines", "--resync", log, store), ("--from=walogs", f"--report={log}/report", log, store),
                      ("--from=walogs", f"--append={log}/state", log, store, "s"), ("--from=ironwal", "--append=x", log, store), ("--from=files", log, log, "s"), ("--from=walogs", log, store, ".s"),
                      ("--from=oxirs", "--checkpoints=some", log, store)):
        run("import", *arguments, code=2)
        assert not store.exists(), f"{arguments}: made a store"
    run("import", "--from=lines", log / "wal-000001.log", store, "s")
    for arguments in (("files", "-r", log, log / "store", "s"), ("files", "-r", log.parent, store, "s"), ("files", store / "s", store, "t"), ("lines", store / "LOCK", store, "t"),
                      ("files", f"--report={store}/s/report", log, store, "s")):
        before = tree(log.parent)
        run("import", f"--from={arguments[0]}", *arguments[1:], code=2)
        equal(tree(log.parent), before, f"{arguments}: all there is")
    shutil.rmtree(store)
    run("import", "--from=walogs", log / "none", store, code=1)
    run("import", "--from=walogs", log.parent, store, code=1)
    run("import", "--from=oxirs", log.parent / "none", store, code=1)
    run("import", "--from=ironwal", log, store, code=3)
    assert not store.exists(), "made a store"
    equal(sorted(p.name for p in log.iterdir()), ["wal-000001.log"], "the source")


def main():
    if not FIXTURES.is_dir():
        print(f"# no logs of others in '{FIXTURES}' (see WALFS_FIXTURES): only those kept in tests/data/import are imported")
    add_fixture_cases()
    # memory is as good: what is killed here is a process
    memory = "/dev/shm" if "TMPDIR" not in os.environ and os.access("/dev/shm", os.W_OK) else None
    directory = tempfile.mkdtemp(prefix="walfs-import.", dir=memory)
    os.chdir(directory)
    failures = 0
    try:
        for number, (name, function) in enumerate(cases, 1):
            try:
                function()
                print(f"ok {number} - {name}")
            except (AssertionError, subprocess.TimeoutExpired) as fault:
                failures += 1
                print(f"not ok {number} - {name}\n# " + str(fault).replace("\n", "\n# "))
            sys.stdout.flush()
            for left in pathlib.Path(directory).iterdir():
                shutil.rmtree(left)
    finally:
        os.chdir("/")
        shutil.rmtree(directory, ignore_errors=True)
    if not FIXTURES.is_dir():
        print(f"ok {len(cases) + 1} - fixtures # SKIP none in '{FIXTURES}'")
    print(f"1..{len(cases) + (0 if FIXTURES.is_dir() else 1)}")
    sys.exit(1 if failures else 0)


main()
