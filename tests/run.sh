#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# Installs what is missing from Debian's packages, builds everything, runs every test: from a fresh checkout on Debian 12, even a minimal one. The last
# line is `N passed, N failed, N skipped`.
#
#	tests/run.sh		all of it
#	tests/run.sh --quick	the ordinary build only
#	tests/run.sh SUITE…	only these suites (unit, mount …) in the ordinary build
#
# There are four builds:
#	build/gcc	as it is shipped: all tests
#	build/asan	gcc with ASan, LSan and UBSan: all but the power cuts; walfs and walctl are under the sanitizers too
#	build/tsan	clang with TSan, all compiled without a warning: unit tests but for long ones of one thread, and appending and listing in a mount
#	build/clang	clang: the fuzzers
# A complaint of a sanitizer is a failure wherever it came up. With CI=true so is a test that was skipped, except those that want stores of the original
# ironwal where there are none.
set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
build=$top/build
complaints=$build/complaints
builds=()
failed_builds=()
quick=0
suites=()

say() {
	printf '\n== %s ==\n' "$*"
}

die() {
	echo "tests/run.sh: $*" >&2
	exit 1
}

# ---- What is needed ----

has_header() {
	printf '#include <%s>\nint main(void) { return 0; }\n' "$1" | cc -x c -o /dev/null - 2>/dev/null
}

clang_has_tsan() {
	echo 'int main(void) { return 0; }' | clang -fsanitize=thread -x c -o /dev/null - 2>/dev/null
}

# One line for each thing that is missing: the Debian package that has it.
missing_packages() {
	command -v cc >/dev/null || echo gcc
	command -v meson >/dev/null || echo meson
	command -v ninja >/dev/null || echo ninja-build
	command -v pkg-config >/dev/null || echo pkg-config
	command -v fusermount3 >/dev/null || echo fuse3
	command -v python3 >/dev/null || echo python3
	command -v perl >/dev/null || echo perl
	command -v pgrep >/dev/null || echo procps
	command -v rsync >/dev/null || echo rsync
	command -v restic >/dev/null || echo restic
	command -v borg >/dev/null || echo borgbackup
	command -v strace >/dev/null || echo strace
	command -v git >/dev/null || echo git
	command -v less >/dev/null || echo less
	command -v vi >/dev/null || echo vim-tiny
	PATH=$PATH:/sbin:/usr/sbin command -v rsyslogd >/dev/null || echo rsyslog
	command -v mount >/dev/null || echo mount
	command -v shellcheck >/dev/null || echo shellcheck
	PATH=$PATH:/sbin:/usr/sbin command -v mkfs.ext4 >/dev/null || echo e2fsprogs
	PATH=$PATH:/sbin:/usr/sbin command -v mkfs.xfs >/dev/null || echo xfsprogs
	has_header stdlib.h || echo libc6-dev
	pkg-config --exists 'fuse3 >= 3.14' 2>/dev/null || echo libfuse3-dev
	pkg-config --exists 'liblz4 >= 1.9' 2>/dev/null || echo liblz4-dev
	pkg-config --exists 'zlib >= 1.2.12' 2>/dev/null || echo zlib1g-dev
	pkg-config --exists 'libdeflate >= 1.9' 2>/dev/null || echo libdeflate-dev
	pkg-config --exists 'libarchive >= 3.6' 2>/dev/null || echo libarchive-dev
	pkg-config --exists 'cmocka >= 1.1.5' 2>/dev/null || echo libcmocka-dev
	if [ "$quick" -eq 0 ] && ! clang_has_tsan; then
		# what it depends on is a package with a version in its name
		printf '%s\n' clang libc6-dev "libclang-rt-$(clang -dumpversion 2>/dev/null | cut -d . -f 1 | grep . || echo 14)-dev"
	fi
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
	local packages

	packages=$(missing_packages | sort -u | tr '\n' ' ')
	[ -n "$packages" ] || return 0
	command -v apt-get >/dev/null || die "missing, and there is no apt-get to install it: $packages"
	say "Installing: $packages"
	as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
	# shellcheck disable=SC2086 # several packages
	as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $packages
	packages=$(missing_packages | sort -u | tr '\n' ' ')
	[ -z "$packages" ] || die "still missing after installation: $packages"
}

# A minimal system has no /etc/mtab; fusermount3 does not unmount for a user without it.
make_mtab() {
	[ -e /etc/mtab ] || as_root ln -s ../proc/self/mounts /etc/mtab
}

# ---- Builds and tests ----

# make_build NAME COMPILER TARGET [OPTION]…: one that fails is a failed test, and there is nothing to run in it
make_build() {
	local name=$1 compiler=$2 target=$3

	say "Building build/$name"
	shift 3
	if [ ! -f "$build/$name/build.ninja" ] && ! CC=$compiler meson setup "$build/$name" "$top" "$@"; then
		failed_builds+=("--failed-build=$name")
	elif ! ninja -C "$build/$name" "$target"; then
		failed_builds+=("--failed-build=$name")
	else
		return 0
	fi
	return 1
}

# list_tests NAME [ARGUMENT OF meson test]…: their names
list_tests() {
	meson test -C "$build/$1" --no-rebuild --list "${@:2}" | sed -n 's/.* \/ //p'
}

# run_tests NAME [ARGUMENT OF meson test]…
run_tests() {
	local dir=$build/$1 fixed_addresses=() jobs

	say "Testing build/$1"
	shift
	# The sanitizers of today's compilers do not find room for their shadows among addresses as random as new kernels make them.
	if setarch -R true 2>/dev/null; then
		fixed_addresses=(setarch -R)
	fi
	# Twice as many as there are cores: half of the time a test waits, for a disk or for something to end.
	jobs=$((2 * $(nproc)))
	rm -f "$dir/meson-logs/testlog.json"
	list_tests "$(basename "$dir")" "$@" >"$dir/tests.list"
	"${fixed_addresses[@]}" meson test -C "$dir" --no-rebuild --print-errorlogs --num-processes "$jobs" "$@" || true # summary.py reads how it went
	builds+=("$dir")
}

check_scripts() {
	say "Checking scripts"
	mkdir -p "$build"
	find "$top" -path "$build" -prune -o -name .git -prune -o -type f \( -name '*.sh' -o -path '*/.ci/run' -o -path '*/bash-completion/*' \) -print0 |
		xargs -0 shellcheck || return 1
	echo "no complaint"
}

# ---- All ----

for argument in "$@"; do
	case $argument in
	--quick) quick=1 ;;
	-*) die "unknown option '$argument': see the beginning of this script" ;;
	*) suites+=(--suite "$argument") quick=1 ;;
	esac
done

install_missing
make_mtab
# Some systems have a script in front of the interpreter (pyenv), which takes ten times as long as it; the tests start it by the thousand.
PATH=$(dirname "$(python3 -c 'import sys; print(sys.executable)')"):$PATH
export PATH
rm -rf "$complaints"
mkdir -p "$complaints"
# For walfs in the background too, whose standard error is nowhere.
export ASAN_OPTIONS=detect_leaks=1:halt_on_error=1:exitcode=99:log_path=$complaints/asan
export LSAN_OPTIONS=exitcode=99:log_path=$complaints/lsan
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1:exitcode=99:log_path=$complaints/ubsan
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:die_after_fork=0:exitcode=99:log_path=$complaints/tsan

scripts=not-run
if [ "$quick" -eq 0 ]; then
	if check_scripts; then scripts=0; else scripts=1; fi
fi

if make_build gcc gcc all; then
	run_tests gcc "${suites[@]}"
fi
if [ "$quick" -eq 0 ]; then
	# -O1: gcc 12 ends with an internal error on -fsanitize=undefined at -O0
	if make_build asan gcc all -Db_sanitize=address,undefined -Doptimization=1; then
		run_tests asan --no-suite power
	fi
	if make_build tsan clang all -Db_sanitize=thread -Doptimization=1 -Db_lundef=false; then
		# Of the others those that take long have but one thread.
		mapfile -t concurrent < <(list_tests tsan --suite unit | grep -Evx 'ckptlog_damage|ckptlog_ends|ironwal|lz4codec|peer_faults|text')
		run_tests tsan "${concurrent[@]}" 'mount appending' 'mount listing'
	fi
	if make_build clang clang fuzzers -Doptimization=1; then
		run_tests clang --suite fuzz
	fi
fi

say "Summary"
exec python3 "$top/tests/summary.py" --scripts="$scripts" --complaints="$complaints" "${failed_builds[@]}" "${builds[@]}"
