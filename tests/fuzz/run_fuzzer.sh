#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# run_fuzzer.sh TARGET CORPUS [OPTION]…: the target over its corpus and so many inputs made of it as the options say. What it finds goes to $FUZZ_FOUND, if that is a
# directory, else it is dropped; inputs that fail are kept in the present directory.
set -eu
target=$1 corpus=$2
shift 2
if [ -n "${FUZZ_FOUND-}" ]; then
	exec "$target" -error_exitcode=1 -timeout=5 -rss_limit_mb=512 -malloc_limit_mb=256 -print_final_stats=1 "$@" "$FUZZ_FOUND" "$corpus"
fi
found=$(mktemp -d "${TMPDIR:-/tmp}/walfs-fuzz-found.XXXXXX")
trap 'rm -rf "$found"' EXIT
"$target" -error_exitcode=1 -timeout=5 -rss_limit_mb=512 -malloc_limit_mb=256 -print_final_stats=1 "$@" "$found" "$corpus"
