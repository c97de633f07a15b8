# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# For tests that mount as another user: `. "$(dirname "$0")/as_user.sh"` before common.sh. The test then goes on in a mount namespace of its own, in which /dev/fuse is open to all (on
# some machines it is not), walfs is in /usr/local/bin, where mount(8) finds it and everyone may run it, and what the test binds over files in /etc is seen by nobody else.
#
#	as UID COMMAND…		$user, $stranger	two users, neither of them root

# shellcheck disable=SC2034 # for the test
user=65534
# shellcheck disable=SC2034
stranger=65533

if [ "$(id -u)" -ne 0 ] || ! unshare -m true 2>/dev/null; then
	echo "1..0 # SKIP only root may, with mount namespaces"
	echo "$(basename "$0") SKIPPED: only root may, with mount namespaces" >&2
	exit 0
fi
if [ "${WALFS_TEST_NAMESPACE:-}" != yes ]; then
	WALFS_TEST_NAMESPACE=yes exec unshare -m --propagation private "$0" "$@"
fi

# The copies of mounts that other tests have at this moment: a walfs does not end while one is left.
while read -r _ place type _; do
	[ "$type" != fuse.walfs ] || umount -l "$(printf '%b' "$place")"
done </proc/self/mounts

mount -t tmpfs -o mode=755 tmpfs /usr/local/bin || exit 99
cp "${WALFS:?}" /usr/local/bin/walfs || exit 99
WALFS=/usr/local/bin/walfs
if [ -c /dev/fuse ]; then
	mkdir /usr/local/bin/dev
	mknod -m 666 /usr/local/bin/dev/fuse c 10 229 && mount --bind /usr/local/bin/dev/fuse /dev/fuse || exit 99
fi

as() {
	local uid=$1

	shift
	setpriv --reuid "$uid" --regid "$uid" --clear-groups "$@"
}

# The process that has $store; this and $work are common.sh's.
# shellcheck disable=SC2154
holder() {
	tr -dc '0-9\n' <"$store/LOCK"
}

# A process that has ended, but that init has not yet asked about, is a zombie, and counts as ended.
is_gone() {
	[ ! -e "/proc/$1" ] || grep -q '^State:[[:space:]]*Z' "/proc/$1/status"
}

# shellcheck disable=SC2154
holder_ends() {
	within 60 is_gone "$(cat "$work/background.pid")"
	rm "$work/background.pid"
}

# For holder_ends, and for clean_up.
note_holder() {
	holder >"$work/background.pid"
	[ -s "$work/background.pid" ]
}
