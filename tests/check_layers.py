#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that includes only go down the layers: check_layers.py SOURCE_ROOT

A file in src/ may include its own header and headers of lower ranks. src/journal/, fs/, src/walctl/ and examples/ may include the headers beside them, and of
src/ only wal.h; all but src/journal/ and fs/ may include wal_journal.h too, which is as public; src/walctl/import/ also the headers of src/walctl/, which include none of its; src/walctl/ also what SHARED names, so that names in archives are those of the mount. A
file that the table does not know is a fault, and so is an entry of the table without a file.
"""
import pathlib
import re
import sys
import tempfile

LAYERS = [
    ["wal", "bytes", "cleanup"],
    ["crc32", "keyhash", "log", "lru", "lz4codec", "names", "sleeper", "stats", "syncs", "sys", "worker"],
    ["blockcache", "ckptrecord", "frame", "options", "segindex"],
    ["ckptbytes", "ckptindex", "meta", "scan"],
    ["ckptend", "ckptlog_impl", "meta_blocks", "meta_write", "rebuild"],
    ["ckptlog", "ckptlog_aside", "ckptlog_write", "ckptscan", "segment"],
    ["ckptexam", "ckptlog_open", "damagerec", "examine", "root", "segcache"],
    ["repair", "stream_impl"],
    ["recovery"],
    ["check", "draft", "iter", "reader", "recover_active", "recover_sidecar", "recover_skip", "stream", "stream_append", "stream_commit", "stream_idle", "stream_ops", "stream_prune", "stream_read", "stream_recover", "stream_restore",
     "stream_rotate", "stream_skip", "stream_space", "stream_stat", "stream_write", "txn"],
    ["store_impl"],
    ["cut"],
    ["checkpoint", "shard", "store", "store_streams"],
]

SHARED = {"src/walctl": {"percent.h": "fs"}}

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*(["<])([^">]+)[">]', re.MULTILINE)


def sources(folder):
    return sorted(path for path in folder.glob("*.[ch]")) if folder.is_dir() else []


def includes(path):
    return INCLUDE.findall(path.read_text(encoding="utf-8"))


def check_engine(root, layers):
    ranks = {name: rank for rank, names in enumerate(layers) for name in names}
    paths = sources(root / "src")
    headers = {path.name for path in paths if path.suffix == ".h"}
    faults = []
    for path in paths:
        own = path.stem
        if own not in ranks:
            faults.append(f"{path}: not in the table of layers")
            continue
        for quote, name in includes(path):
            stem = name.removesuffix(".h")
            if quote == "<":
                if name in headers:
                    faults.append(f'{path}: includes <{name}>, which is a header of ours: write "{name}"')
            elif name not in headers:
                faults.append(f'{path}: includes "{name}", which is not in src/')
            elif stem in ranks and stem != own and ranks[stem] >= ranks[own]:
                faults.append(f'{path}: rank {ranks[own]} includes "{name}" of rank {ranks[stem]}')
    present = {path.stem for path in paths}
    faults += [f"table of layers: '{name}' has no file in src/" for name in ranks if name not in present]
    return faults


def check_user(root, folder, public=("wal.h",), under=None):
    """A folder that sees the engine only through public headers, and those of the folder it is in if that is given."""
    paths = sources(root / folder)
    allowed = {path.name for path in paths + (sources(root / under) if under else []) if path.suffix == ".h"} | set(public)
    allowed |= {name for name, owner in SHARED.get(folder, {}).items() if (root / owner / name).is_file()}
    engine = {path.name for path in sources(root / "src") if path.suffix == ".h"}
    faults = []
    for path in paths:
        for quote, name in includes(path):
            if quote == '"' and name not in allowed:
                faults.append(f'{path}: includes "{name}"; of the engine only "wal.h" is to be seen here')
            elif quote == "<" and name in engine - allowed:
                faults.append(f"{path}: includes <{name}>, a header of the engine")
    return faults


def check(root, layers):
    faults = check_engine(root, layers)
    for folder in ("fs", "src/journal"):
        faults += check_user(root, folder)
    for folder in ("src/walctl", "examples"):
        faults += check_user(root, folder, public=("wal.h", "wal_journal.h"))
    faults += check_user(root, "src/walctl/import", public=("wal.h", "wal_journal.h"), under="src/walctl")
    return faults


def check_the_check():
    """Each kind of fault once, in a tree made for it."""
    layers = [["low"], ["mid", "twin"], ["gone"]]
    files = {
        "src/low.h": "",
        "src/low.c": '#include "low.h"\n#include <stdio.h>\n# include "mid.h"\n',
        "src/mid.h": '#include "low.h"\n',
        "src/twin.c": '#include "mid.h"\n#include <low.h>\n#include "nowhere.h"\n',
        "src/new.c": "",
        "fs/main.c": '#include "wal.h"\n#include "ops.h"\n#include "low.h"\n',
        "fs/ops.h": "#include <low.h>\n",
        "fs/dir.c": '#include "wal_journal.h"\n',
        "src/journal/wal_journal.h": '#include "wal.h"\n',
        "src/journal/record.c": '#include "wal_journal.h"\n#include "../low.h"\n#include "mid.h"\n',
        "src/walctl/cat.c": '#include "wal_journal.h"\n#include "le.h"\n',
        "src/walctl/text.h": '#include "source.h"\n',
        "src/walctl/import/source.h": '#include "text.h"\n#include "mid.h"\n',
    }
    expected = ["low.c: rank 0", "twin.c: rank 1", "twin.c: includes <low.h>", 'twin.c: includes "nowhere.h"', "new.c: not in", "'gone' has no file",
                'main.c: includes "low.h"', "ops.h: includes <low.h>", 'dir.c: includes "wal_journal.h"', 'record.c: includes "../low.h"', 'record.c: includes "mid.h"',
                'cat.c: includes "le.h"', 'text.h: includes "source.h"', 'import/source.h: includes "mid.h"']
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text, encoding="utf-8")
        found = check(root, layers)
    return [f"this check does not find '{text}'" for text in expected if not any(text in fault for fault in found)] + (
        [f"this check finds more than it should: {found}"] if len(found) != len(expected) else [])


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    faults = check_the_check() or check(pathlib.Path(sys.argv[1]), LAYERS)
    for fault in faults:
        print(fault)
    sys.exit(1 if faults else 0)


main()
