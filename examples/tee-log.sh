#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Shows what comes on standard input and keeps it as one entry of a stream of a mounted store:
#
#	make 2>&1 | tee-log.sh /mnt/log/builds
#
# The entry is there when the input ends. To have it durable at that moment, mount with sync=strict, which is the default.
set -eu

if [ $# -ne 1 ]; then
	echo "usage: tee-log.sh STREAM" >&2
	exit 64
fi
exec tee -a "$1/new"
