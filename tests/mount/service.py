#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""service.py SOCKET FILE: receives datagrams at a socket (`@name`: an abstract one) until it is killed, and writes each as a line to the file, as JSON."""
import json
import socket
import sys

name, path = sys.argv[1:]
receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
with open(path, "w", encoding="utf-8") as out:
    receiver.bind("\0" + name[1:] if name.startswith("@") else name)
    print("ready", file=out, flush=True)
    while True:
        print(json.dumps(receiver.recv(65536).decode()), file=out, flush=True)
