#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs an example on a store of its own that is removed afterwards, and compares what it prints with what is expected: run.sh EXPECTED PROGRAM [ARGUMENT]...
# The store is the last argument that the program gets.
set -eu

expected=$1
shift
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
"$@" "$dir/store" >"$dir/output"
printf '%b' "$expected" | diff -u - "$dir/output"
