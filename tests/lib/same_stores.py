#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares two stores by what walctl shows of them: same_stores.py [--times=no] WALCTL STORE1 STORE2 [STREAM…]

Streams and their first and next ids; of each entry id, size, time and CRC-32; checkpoints with their times and cuts. With --times=no not the times of
entries. With STREAMs only these, and no checkpoints. What differs is printed, and the exit status 1.
"""
import json
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


def look(walctl, store, only, times):
    result = {}
    for item in json.loads(run(walctl, "ls", "--json", store))["streams"]:
        name = name_of(item)
        if not only or name in only:
            result["stream", name] = (item["first_id"], item["next_id"], list(entries(walctl, store, name, times)))
    if only:
        return result
    for number, item in enumerate(json.loads(run(walctl, "checkpoint", "list", "--json", store))["checkpoints"]):
        shown = json.loads(run(walctl, "checkpoint", "show", "--json", store, "--", item["id"])) if len(item["id"]) < 100000 else {"streams": []}
        result["checkpoint", item["id_hex"]] = (number, item["created_ns"], item["head"], [(name_of(cut), cut["next_id"]) for cut in shown["streams"]])
    return result


def main():
    arguments = sys.argv[1:]
    times = arguments[:1] != ["--times=no"]
    walctl, one, other, *only = arguments if times else arguments[1:]
    only = [name.encode(errors="surrogateescape") for name in only]
    left, right = look(walctl, one, only, times), look(walctl, other, only, times)
    for key in sorted(set(left) | set(right)):
        if left.get(key) != right.get(key):
            print(f"# {key}: {str(left.get(key))[:300]} is not {str(right.get(key))[:300]}")
    sys.exit(left != right)


main()
