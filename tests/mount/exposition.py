# SPDX-License-Identifier: Apache-2.0
"""A strict parser of Prometheus' text exposition format 0.0.4.

exposition.py check FILE                     it is valid; prints how many samples there are
exposition.py get FILE NAME [KEY=VALUE]...   the value of the one sample with just these labels; VALUE as the shell has it, decoded from the label
exposition.py names FILE                     every metric that has HELP and TYPE
exposition.py values FILE KEY                every value of this label, decoded, each followed by a NUL
exposition.py man FILE                       the metrics in the table of a manual page, by the rows that begin with walfs_
"""
import math
import re
import sys

NAME = re.compile(rb"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(rb"[a-zA-Z_][a-zA-Z0-9_]*")
# As Go's strconv.ParseFloat takes them, of what there is a use for.
VALUE = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]+)?|Inf)|NaN")
TYPES = (b"counter", b"gauge", b"histogram", b"summary", b"untyped")
UNITS = ("_seconds", "_bytes", "_total", "_info")


class Invalid(Exception):
    pass


def expect(condition, line, what):
    if not condition:
        raise Invalid(f"{what}: {line!r}")


def parse_labels(line, pos):
    """From behind the opening brace to behind the closing one."""
    labels = {}
    while True:
        match = LABEL.match(line, pos)
        expect(match, line, "a label's name is missing")
        key = match.group().decode()
        pos = match.end()
        expect(line[pos : pos + 2] == b'="', line, "a label without =\"")
        pos += 2
        value = bytearray()
        while line[pos : pos + 1] != b'"':
            expect(pos < len(line), line, "a label without end")
            if line[pos] == ord("\\"):
                escaped = line[pos + 1 : pos + 2]
                expect(escaped in (b"\\", b'"', b"n"), line, "an escape that there is not")
                value += b"\n" if escaped == b"n" else escaped
                pos += 2
            else:
                value.append(line[pos])
                pos += 1
        value.decode("utf-8")
        expect(key not in labels, line, "a label twice")
        labels[key] = bytes(value)
        pos += 1
        following = line[pos : pos + 1]
        expect(following in (b",", b"}"), line, "neither , nor } behind a label")
        pos += 1
        if following == b"}":
            return labels, pos


def parse_sample(line):
    match = NAME.match(line)
    expect(match, line, "no metric's name")
    pos, labels = match.end(), {}
    if line[pos : pos + 1] == b"{":
        labels, pos = parse_labels(line, pos + 1)
    expect(line[pos : pos + 1] == b" ", line, "no blank before the value")
    text = line[pos + 1 :]
    expect(VALUE.fullmatch(text), line, "no number, or something behind it")
    return match.group().decode(), labels, float(text), text.decode()


class Family:
    def __init__(self, name):
        self.name = name
        self.help = self.type = None
        self.samples = []


def belongs(family, name):
    if family.type == "histogram":
        return name in (family.name + "_bucket", family.name + "_sum", family.name + "_count")
    return name == family.name


def parse(data):
    """The families by name; every line is accounted for."""
    expect(data.endswith(b"\n"), data[-50:], "the last line has no newline")
    families, family, seen = {}, None, set()
    data.decode("utf-8")
    for line in data[:-1].split(b"\n"):
        if line.startswith(b"# "):
            words = line.split(b" ", 3)
            expect(words[1] in (b"HELP", b"TYPE") and len(words) == 4, line, "neither HELP nor TYPE")
            expect(NAME.fullmatch(words[2]), line, "no metric's name")
            name = words[2].decode()
            if words[1] == b"HELP":
                expect(name not in families, line, "a metric that was there before: its samples must stand together")
                expect(b"\\" not in words[3] and words[3].endswith(b"."), line, "the help is no sentence")
                family = families[name] = Family(name)
                family.help = words[3].decode()
            else:
                expect(family and family.name == name and not family.type and not family.samples, line, "TYPE is not right behind HELP")
                expect(words[3] in TYPES, line, "no such type")
                family.type = words[3].decode()
            continue
        name, labels, value, text = parse_sample(line)
        expect(family and family.type and belongs(family, name), line, "a sample of another metric")
        key = (name, tuple(sorted(labels.items())))
        expect(key not in seen, line, "a sample twice")
        seen.add(key)
        family.samples.append((name, labels, value, text))
    return families


def check_histogram(family):
    series = {}
    for name, labels, value, _ in family.samples:
        le = labels.get("le")
        key = tuple(sorted((k, v) for k, v in labels.items() if k != "le"))
        one = series.setdefault(key, {"buckets": []})
        if name.endswith("_bucket"):
            expect(le is not None, family.name, "a bucket without le")
            one["buckets"].append((float(le), value))
        else:
            expect(le is None, family.name, "le where it does not belong")
            one[name[len(family.name) + 1 :]] = value
    for one in series.values():
        bounds = [bound for bound, _ in one["buckets"]]
        counts = [count for _, count in one["buckets"]]
        expect(bounds == sorted(set(bounds)) and len(bounds) > 2, family.name, "bounds do not increase")
        expect(counts == sorted(counts), family.name, "buckets are not cumulative")
        expect(bounds[-1] == math.inf and counts[-1] == one["count"], family.name, "+Inf is not the count")
        expect((one["sum"] > 0) == (one["count"] > 0), family.name, "sum and count do not go together")
        # What stands in a bucket took no longer than its bound.
        most = sum((n - m) * b for (b, n), m in zip(one["buckets"], [0] + counts) if b != math.inf)
        expect(counts[-1] != counts[-2] or one["sum"] <= most * 1.000001, family.name, "the sum is more than the buckets allow")


def check(families):
    count = 0
    for family in families.values():
        expect(family.type, family.name, "no TYPE")
        expect(family.name.startswith("walfs_"), family.name, "the name begins otherwise")
        if family.type == "counter":
            expect(family.name.endswith("_total"), family.name, "a counter without _total")
        if family.type == "histogram":
            expect(family.name.endswith("_seconds"), family.name, "a histogram without a unit")
            check_histogram(family)
        for _, _, value, _ in family.samples:
            expect(family.type == "gauge" or value >= 0, family.name, "below zero")
        count += len(family.samples)
    return count


def decode(label):
    """What a name was before bytes of it became %XX."""
    return re.sub(rb"%([0-9A-F]{2})", lambda m: bytes([int(m.group(1), 16)]), label)


def check_the_check():
    """Each kind of fault once."""
    good = b"# HELP walfs_a_total A.\n# TYPE walfs_a_total counter\nwalfs_a_total{k=\"v\\\\\\\"\\n\"} 1\n"
    assert check(parse(good)) == 1
    head = b"# HELP walfs_h_seconds H.\n# TYPE walfs_h_seconds histogram\n"
    histogram = [b'walfs_h_seconds_bucket{le="%s"} %d\n' % pair for pair in ((b"1", 1), (b"2", 3), (b"+Inf", 3))]
    tail = b"walfs_h_seconds_sum 4\nwalfs_h_seconds_count 3\n"
    assert check(parse(head + b"".join(histogram) + tail)) == 5
    bad = [
        good[:-1],
        good + good,
        good + b"walfs_b 1\n",
        good + b"\n",
        good.replace(b"\\n", b"\\t"),
        good.replace(b"v", b"\xff"),
        good.replace(b" 1\n", b" 1 \n"),
        good.replace(b" 1\n", b" 0x1\n"),
        good.replace(b" 1\n", b" -1\n"),
        good.replace(b"_total", b""),
        good.replace(b"counter", b"count"),
        good + good.splitlines(True)[-1],
        head + b"".join(reversed(histogram)) + tail,
        head + b"".join(histogram[:2]) + tail,
        head + b"".join(histogram) + tail.replace(b"3", b"4"),
        head + b"".join(histogram) + tail.replace(b"4", b"40"),
        head + b"".join(histogram).replace(b" 1\n", b" 4\n") + tail,
    ]
    for data in bad:
        try:
            check(parse(data))
        except (Invalid, UnicodeDecodeError):
            continue
        raise SystemExit(f"this check finds nothing wrong with {data!r}")


def man_names(path):
    with open(path, encoding="utf-8") as page:
        return sorted(m.group(1) for m in re.finditer(r"^(walfs_\w+)@", page.read(), re.MULTILINE))


def main():
    check_the_check()
    command, path = sys.argv[1:3]
    if command == "man":
        print("\n".join(man_names(path)))
        return
    with open(path, "rb") as file:
        families = parse(file.read())
    count = check(families)
    if command == "check":
        print(count)
    elif command == "names":
        print("\n".join(sorted(families)))
    elif command == "values":
        values = {labels[sys.argv[3]] for f in families.values() for _, labels, _, _ in f.samples if sys.argv[3] in labels}
        for value in sorted(values):
            sys.stdout.buffer.write(decode(value) + b"\0")
    elif command == "get":
        name = sys.argv[3]
        wanted = dict(arg.encode("utf-8", "surrogateescape").split(b"=", 1) for arg in sys.argv[4:])
        wanted = {key.decode(): value for key, value in wanted.items()}
        found = [text for f in families.values() for n, labels, _, text in f.samples
                 if n == name and {k: decode(v) for k, v in labels.items()} == wanted]
        expect(len(found) == 1, name, f"{len(found)} samples with the labels {wanted}")
        print(found[0])
    else:
        sys.exit(__doc__)


main()
