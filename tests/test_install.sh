#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs a build into a directory of this test's own, and looks whether all is there and works from there: test_install.sh BUILD. TAP output.
set -u

build=$1
dir=$(mktemp -d) || exit 99
clean_up() {
	if mountpoint -q "$dir/mnt"; then
		fusermount3 -u "$dir/mnt" || fusermount3 -uz "$dir/mnt"
	fi
	rm -rf --one-file-system "$dir"
}
trap clean_up EXIT
mkdir "$dir/mnt"

number=0
failures=0

# check NAME COMMAND…: every command in it is an assertion
check() {
	local name=$1 status

	shift
	number=$((number + 1))
	(
		set -eux
		"$@"
	) >"$dir/trace" 2>&1 </dev/null
	status=$?
	[ "$status" -eq 0 ] && echo "ok $number - $name" && return
	echo "not ok $number - $name"
	tail -n 30 "$dir/trace" | cut -c 1-400 | sed 's/^/# /'
	failures=$((failures + 1))
}

# gives STATUS COMMAND…
gives() {
	local expected=$1 status=0

	shift
	"$@" || status=$?
	[ "$status" -eq "$expected" ]
}

finish() {
	echo "1..$number"
	exit $((failures > 0))
}

installs() {
	meson install -C "$build" --no-rebuild --quiet --destdir "$dir/root"
}

# What is installed, below the prefix; a library's directory is named as the distribution has it.
everything_is_there() {
	local file

	for file in bin/walfs bin/walctl include/wal.h include/wal_journal.h share/man/man1/walfs.1 share/man/man1/walctl.1 share/bash-completion/completions/walctl \
		share/bash-completion/completions/walfs libexec/walfs/nightly.sh share/doc/walfs/README.md share/doc/walfs/examples/append_read.c; do
		[ -f "$prefix/$file" ]
	done
	[ "$(find "$prefix" -name libwal.a | wc -l)" -eq 1 ]
	[ "$(find "$prefix" -name libwal.pc | wc -l)" -eq 1 ]
	[ "$(find "$dir/root" -name 'walfs*@.*' | wc -l)" -eq 3 ]
	[ -x "$prefix/libexec/walfs/nightly.sh" ]
	[ -z "$(find "$dir/root" -type f -perm /022)" ]
}

# Nothing but paths in them is made at configuration; nothing of where it was built may be left in them.
units_name_what_is_installed() {
	local units

	mapfile -t units < <(find "$dir/root" -name 'walfs*@.service')
	[ "${#units[@]}" -eq 2 ]
	gives 1 grep '^[^#].*@[a-z]*@' "${units[@]}"
	sed -n 's/^ExecStart=\([^ ]*\) .*/\1/p' "${units[@]}" >"$dir/programs"
	[ "$(wc -l <"$dir/programs")" -eq 2 ]
	while read -r file; do
		[ -x "$dir/root$file" ]
	done <"$dir/programs"
}

# With the paths of here, so that the programs are found.
units_are_valid() {
	mkdir -p "$dir/units"
	for unit in "$(find "$dir/root" -name 'walfs@.service')" "$(find "$dir/root" -name 'walfs-backup@.service')" "$(find "$dir/root" -name 'walfs-backup@.timer')"; do
		sed "s|^ExecStart=|&$dir/root|" "$unit" >"$dir/units/$(basename "$unit")"
	done
	cd "$dir/units"
	systemd-analyze verify --man=no ./walfs@test.service ./walfs-backup@test.service ./walfs-backup@test.timer >"$dir/out" 2>&1
	cat "$dir/out"
	# it also speaks of units of the machine it runs on
	gives 1 grep walfs "$dir/out"
}

programs_run() {
	"$prefix/bin/walfs" -V
	"$prefix/bin/walctl" init "$dir/store"
	[ "$(printf x | "$prefix/bin/walctl" append --create "$dir/store" s)" = 0 ]
}

it_mounts() {
	"$prefix/bin/walfs" "$dir/store" "$dir/mnt"
	[ "$(cat "$dir/mnt/s/0")" = x ]
	mkdir "$dir/backups"
	"$prefix/libexec/walfs/nightly.sh" "$dir/mnt" "$dir/backups"
	[ "$(tar -xzOf "$dir/backups/nightly-$(date +%F).tar.gz" ./s/00000000000000000000)" = x ]
	fusermount3 -u "$dir/mnt"
}

a_program_builds() {
	local pc

	pc=$(dirname "$(find "$prefix" -name libwal.pc)")
	# shellcheck disable=SC2046 # several flags
	cc -Werror "$prefix/share/doc/walfs/examples/append_read.c" -o "$dir/append_read" \
		$(PKG_CONFIG_PATH=$pc pkg-config --define-variable=prefix="$prefix" --cflags --libs --static libwal)
	"$dir/append_read" "$dir/store2" | grep -qx 'appended 0'
	# shellcheck disable=SC2046
	cc -Werror "$prefix/share/doc/walfs/examples/vector_store.c" -o "$dir/vector_store" \
		$(PKG_CONFIG_PATH=$pc pkg-config --define-variable=prefix="$prefix" --cflags --libs --static libwal)
	"$dir/vector_store" "$dir/vectors" | grep -q 'opened again'
}

# man complains of what it does not know.
manual_pages_are_clean() {
	local page

	for page in "$prefix"/share/man/man1/*.1; do
		MANWIDTH=80 man --warnings -E UTF-8 -l "$page" >/dev/null 2>"$dir/out"
		# a long page has no page breaks when it is read
		gives 1 grep -v 'will not fit on one page' "$dir/out"
	done
}

check "meson install" installs
prefix=$(find "$dir/root" -path '*/bin/walfs' -printf '%h\n' | sed 's|/bin$||')
[ -n "$prefix" ] || finish
check "everything is there" everything_is_there
check "units name what is installed" units_name_what_is_installed
# What would want systemd, man or an ordinary build is left out without them: none of these is needed otherwise.
if command -v systemd-analyze >/dev/null; then
	check "units are valid" units_are_valid
fi
check "programs run" programs_run
if [ -w /dev/fuse ]; then
	check "it mounts" it_mounts
else
	number=$((number + 1))
	echo "ok $number - it mounts # SKIP /dev/fuse is missing or not accessible"
fi
if [ -f "$build/meson-info/intro-buildoptions.json" ] && grep -q '"name": "b_sanitize", "value": "none"' "$build/meson-info/intro-buildoptions.json"; then
	check "a program with libwal" a_program_builds
fi
if command -v man >/dev/null; then
	check "manual pages" manual_pages_are_clean
fi
finish
