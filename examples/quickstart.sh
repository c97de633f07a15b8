#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# From a fresh checkout to a mounted log, on Debian 12.
#
#	examples/quickstart.sh			builds walfs and shows a session on a store that is removed at the end
#	examples/quickstart.sh STORE MOUNTPOINT	builds walfs, mounts STORE (made if it is missing) and leaves it mounted
#
# What is missing to build is installed from Debian's packages; nothing is installed outside of them. WALFS_BUILD names another build directory than build/.
set -eu

here=$(cd "$(dirname "$0")/.." && pwd)
build=${WALFS_BUILD:-$here/build}

die() {
	echo "quickstart: $*" >&2
	exit 1
}

# ---- What is needed ----

has_header() {
	printf '#include <%s>\nint main(void) { return 0; }\n' "$1" | cc -x c -o /dev/null - 2>/dev/null
}

# One line for each thing that is missing: the Debian package that has it.
missing_packages() {
	command -v cc >/dev/null || echo gcc
	command -v meson >/dev/null || echo meson
	command -v ninja >/dev/null || echo ninja-build
	command -v pkg-config >/dev/null || echo pkg-config
	command -v fusermount3 >/dev/null || echo fuse3
	has_header stdlib.h || echo libc6-dev
	pkg-config --exists 'fuse3 >= 3.14' 2>/dev/null || echo libfuse3-dev
	pkg-config --exists 'liblz4 >= 1.9' 2>/dev/null || echo liblz4-dev
	pkg-config --exists 'zlib >= 1.2.12' 2>/dev/null || echo zlib1g-dev
	pkg-config --exists 'libdeflate >= 1.9' 2>/dev/null || echo libdeflate-dev
	pkg-config --exists 'libarchive >= 3.6' 2>/dev/null || echo libarchive-dev
	pkg-config --exists 'cmocka >= 1.1.5' 2>/dev/null || echo libcmocka-dev
}

as_root() {
	if [ "$(id -u)" -eq 0 ]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "to install packages, run as root: $*"
	fi
}

install_missing() {
	packages=$(missing_packages | tr '\n' ' ')
	[ -n "$packages" ] || return 0
	command -v apt-get >/dev/null || die "missing, and there is no apt-get to install it: $packages"
	echo "Installing: $packages"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
	# shellcheck disable=SC2086 # several packages
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
	packages=$(missing_packages | tr '\n' ' ')
	[ -z "$packages" ] || die "still missing after installation: $packages"
}

build_walfs() {
	[ -f "$build/build.ninja" ] || meson setup "$build" "$here"
	ninja -C "$build"
	PATH=$build/fs:$build/src/walctl:$PATH
}

check_fuse() {
	[ -c /dev/fuse ] || die "there is no /dev/fuse: the kernel's module 'fuse' is not loaded, or this container has no access to it"
	if [ ! -r /dev/fuse ] || [ ! -w /dev/fuse ]; then
		die "/dev/fuse is not accessible to $(id -un)"
	fi
}

# ---- The session ----

# Shows a command as it would be typed, and runs it.
run() {
	printf '$ %s\n' "$1"
	eval "$1"
}

say() {
	printf '\n# %s\n' "$*"
}

expect() {
	[ "$2" = "$3" ] || die "$1: expected '$2', found '$3'"
}

cleanup() {
	cd /
	if mountpoint -q "$demo/mnt"; then
		fusermount3 -u "$demo/mnt" || fusermount3 -uz "$demo/mnt"
	fi
	# walfs may still be finishing its writing, and make a file in what is just being removed
	rm -rf --one-file-system "$demo" 2>/dev/null || { sleep 1; rm -rf --one-file-system "$demo"; }
}

# The mount is gone at once; walfs then finishes its writing and gives the store back.
wait_for_store() {
	tries=0
	until walctl sync store 2>/dev/null; do
		tries=$((tries + 1))
		[ "$tries" -lt 200 ] || die "the store is still in use: $(walctl sync store 2>&1)"
		sleep 0.05
	done
}

entry() {
	printf 'mnt/orders/%020d' "$1"
}

append_three() {
	say "A stream is a directory. What is written to its file 'new' becomes its next entry."
	run "mkdir mnt/orders"
	run "echo 'two apples' > mnt/orders/new"
	printf 'Dear shop,\nthree pears, please.\n' >letter.txt
	run "cp letter.txt mnt/orders/new"
	run "seq 1 100000 | gzip > mnt/orders/new"
}

read_back() {
	say "Entries are numbered files that never change."
	run "ls -l mnt/orders"
	run "cat mnt/orders/00000000000000000000"
	run "cat mnt/orders/1"
	run "zcat < mnt/orders/2 | tail -n 1"
}

check_entries() {
	expect "entry 0" "two apples" "$(cat "$(entry 0)")"
	cmp letter.txt "$(entry 1)" || die "entry 1 is not the file that was copied"
	expect "entry 2" 100000 "$(gzip -dc <"$(entry 2)" | tail -n 1)"
	expect "the listing" "3 entries and new" "$(find mnt/orders -name '0*' | wc -l) entries and $(cd mnt/orders && echo n*)"
}

back_up() {
	say "Any backup tool will do."
	run "tar -cf orders.tar -C mnt orders"
	run "tar -tvf orders.tar"
	mkdir copy
	tar -xf orders.tar -C copy
	cmp letter.txt "copy/orders/00000000000000000001" || die "the archive does not hold what was appended"
	expect "the archive" 4 "$(find copy/orders -type f | wc -l)"
}

remount() {
	say "After unmounting, the store can be looked at without a mount."
	run "fusermount3 -u mnt"
	wait_for_store
	run "walctl ls store"
	run "walctl cat store orders 0"
	expect "walctl cat" "two apples" "$(walctl cat store orders 0)"

	say "Mounted again, everything is still there."
	run "walfs store mnt"
	run "ls -l mnt/orders"
	check_entries
	run "tar -df orders.tar -C mnt && echo 'the same as in the archive'"
	run "echo 'one apple back' > mnt/orders/new"
	run "cat mnt/orders/3"
	expect "entry 3" "one apple back" "$(cat "$(entry 3)")"
}

session() {
	demo=$(mktemp -d)
	trap cleanup EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM
	cd "$demo"
	mkdir mnt
	say "A store is a directory; walfs makes it and mounts it. This one is in $demo."
	run "walfs store mnt"
	append_three
	read_back
	check_entries
	back_up
	remount
	say "Done; removing the store. 'examples/quickstart.sh STORE MOUNTPOINT' mounts one that stays."
}

leave_mounted() {
	[ -d "$2" ] || mkdir -p "$2"
	walfs "$1" "$2"
	mountpoint -q "$2" || die "$2 is not mounted"
	cat <<END

$1 is mounted at $2. Try:
  mkdir $2/orders
  echo 'two apples' > $2/orders/new
  ls -l $2/orders
and when done:
  fusermount3 -u $2
END
}

absolute() {
	case $1 in
	/*) echo "$1" ;;
	*) echo "$PWD/$1" ;;
	esac
}

case $# in
0 | 2) ;;
*)
	echo "usage: quickstart.sh [STORE MOUNTPOINT]" >&2
	exit 2
	;;
esac
install_missing
build_walfs
check_fuse
if [ $# -eq 0 ]; then
	session
else
	leave_mounted "$(absolute "$1")" "$(absolute "$2")"
fi
