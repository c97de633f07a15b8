#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares two stores by what walctl shows of them: same_stores.py [--times=no] [--thorough] WALCTL STORE1 STORE2 [STREAM…]

Streams and their first and next ids; of each entry id, size, time and CRC-32; checkpoints with their times, and the cuts of the latest. With --times=no not the times of
entries. With STREAMs only these, and no checkpoints. What differs is printed, and the exit status 1. Entries are read by `walctl export`; --thorough: by ls and cat, and the cuts of all
checkpoints compared, by many more calls.
"""
import base64
import json
import os
import subprocess
import sys
import zlib


def run(*words):
    return subprocess.run([word if isinstance(word, bytes) else word.encode() for word in words], stdout=subprocess.PIPE, check=True).stdout


def name_of(item):
    return bytes.fromhex(item["stream_hex"]) if "stream_hex" in item else item["stream"].encode()


def entries(walctl, store, name, times):
    listed = json.loads(run(walctl, "ls", "--json", store, "--", name))["entries"]
    data = run(walctl, "cat", store, "--", name)
    at = 0
    for item in listed:
        piece = data[at:at + item["size"]]
        at += item["size"]
        yield item["id"], item["size"], item["time_ns"] if times else None, zlib.crc32(piece)
    assert at == len(data)


def exported(walctl, store, times):
    """As entries(), of all streams."""
    result = {}
    for line in run(walctl, "export", "--to=jsonl", store).splitlines():
        item = json.loads(line)
        data = item["data"].encode() if "data" in item else base64.b64decode(item["data_base64"])
        result.setdefault(name_of(item), []).append((item["id"], len(data), item["time_ns"] if times else None, zlib.crc32(data)))
    return result


def look(walctl, store, only, options):
    result = {}
    times = "--times=no" not in options
    thorough = "--thorough" in options
    found = {} if thorough else exported(walctl, store, times)
    for item in json.loads(run(walctl, "ls", "--json", store))["streams"]:
        name = name_of(item)
        if not only or name in only:
            rows = list(entries(walctl, store, name, times)) if thorough else found.get(name, [])
            result["stream", name] = (item["first_id"], item["next_id"], rows)
    if only:
        return result
    for number, item in enumerate(json.loads(run(walctl, "checkpoint", "list", "--json", store))["checkpoints"]):
        shown = json.loads(run(walctl, "checkpoint", "show", "--json", store, "--", item["id"])) if thorough or item["head"] else {"streams": []}
        result["checkpoint", item["id_hex"]] = (number, item["created_ns"], item["head"], [(name_of(cut), cut["next_id"]) for cut in shown["streams"]])
    return result


def main():
    options = {word for word in sys.argv[1:] if word in ("--times=no", "--thorough")}
    walctl, one, other, *only = [word for word in sys.argv[1:] if word not in options]
    only = [os.fsencode(name) for name in only]
    left, right = look(walctl, one, only, options), look(walctl, other, only, options)
    for key in sorted(set(left) | set(right)):
        if left.get(key) != right.get(key):
            print(f"# {key}: {str(left.get(key))[:300]} is not {str(right.get(key))[:300]}")
    sys.exit(left != right)


main()
