#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
#
# The mount in other hands: bound to another place, as the lower layer of an overlay, and by handles, as servers of NFS have them. What a server itself says
# to it is in servers.sh, which is not run by default.
. "$(dirname "$0")/common.sh"

[ "$(id -u)" -eq 0 ] || skip_all "only root may mount"

# Many checkpoints, each with its syncs: on a disk that would take long.
on_tmpfs() {
	mkdir "$store"
	mount -t tmpfs tmpfs "$store"
	mount_store
}

reexport() {
	python3 -S -B "$here/reexport.py" "$@"
}

append() {
	local i

	for ((i = 0; i < $1; i++)); do echo "entry $i" >"$s/new"; done
}

# ---- Bind mounts ----

bound() {
	bind=$work/bind
	mkdir -p "$bind"
	mount --bind "$1" "$bind"
}

bind_mounts() {
	new_stream
	append 2
	bound "$mnt"
	echo bound >"$bind/$(basename "$s")/new"
	[ "$(cat "$s/.last")" = bound ]
	mkdir "$bind/through-bind"
	rmdir "$mnt/through-bind"
	touch "$bind/.checkpoints/bound"
	cmp "$mnt/.checkpoints/bound" "$bind/.checkpoints/bound"
	diff -r "$mnt" "$bind"
	# read-only: nothing goes through, and what comes is seen
	mount -o remount,bind,ro "$bind"
	for try in "open-write $bind/$(basename "$s")/new" "mkdir $bind/other" "create $bind/.checkpoints/other" "unlink $bind/.checkpoints/bound" \
		"open-write $bind/$(basename "$s")/.prune" "rmdir $bind/$(basename "$s")"; do
		# shellcheck disable=SC2086
		refused EROFS $try
	done
	echo fourth >"$s/new"
	[ "$(cat "$bind/$(basename "$s")/3")" = fourth ]
	umount "$bind"
}

bind_mounts_of_parts() {
	new_stream
	append 3
	bound "$s"
	[ "$(cat "$bind/.log")" = "$(printf 'entry %d\n' 0 1 2)" ]
	echo four >"$bind/new"
	[ "$(cat "$s/3")" = four ]
	[ "$(stat -c %i "$bind/1")" -eq "$(stat -c %i "$s/1")" ]
	umount "$bind"
	touch "$mnt/.checkpoints/part"
	bound "$mnt/.at/part"
	echo five >"$s/new"
	[ "$(cat "$bind/$(basename "$s")/.last")" = four ]
	umount "$bind"
	# a file at a place of its own
	: >"$work/append-here"
	mount --bind "$s/new" "$work/append-here"
	echo six >"$work/append-here"
	umount "$work/append-here"
	[ "$(cat "$s/.last")" = six ]
}

# A stream that is bound somewhere can be removed all the same; what is bound is a directory without a name.
bound_and_removed() {
	new_stream
	bound "$s"
	(
		cd "$bind"
		rmdir "$s"
		[ "$(stat -c '%h %F' .)" = "0 directory" ]
		refused ENOENT create new
	)
	umount "$bind"
}

# A namespace keeps the mount for itself when it has gone from the others; walfs goes on until the last has let go.
in_a_namespace() {
	new_stream
	append 1
	mkfifo "$work/go"
	# shellcheck disable=SC2016 # for the inner shell
	unshare -m --propagation private sh -c '
		# those of tests that run beside this one, which wait for them to go
		while read -r _ place type _; do
			[ "$type" != fuse.walfs ] || [ "$place" = "$1/mnt" ] || umount -l "$(printf "%b" "$place")"
		done </proc/self/mounts
		touch "$1/ready"
		read -r _ <"$1/go"
		echo inside >"$2/new"
		cat "$2/.last" >"$1/said"' - "$work" "$s" &
	echo $! >"$work/inside.pid"
	within 20 [ -e "$work/ready" ]
	fusermount3 -u "$mnt"
	[ ! -e "$s" ]
	[ ! -f "$work/walfs.status" ]
	echo >"$work/go"
	wait "$(cat "$work/inside.pid")"
	rm "$work/inside.pid" "$work/go"
	[ "$(cat "$work/said")" = inside ]
	walfs_ends 0
	mount_store
	[ "$(cat "$s/1")" = inside ]
}

# ---- Overlays ----

# overlay LOWER: at $merged, which writes to $upper
overlay() {
	merged=$work/merged
	upper=$work/layers/upper
	rm -rf "$work/layers"
	mkdir -p "$merged" "$work/layers"
	mount -t tmpfs tmpfs "$work/layers"
	mkdir "$upper" "$work/layers/work"
	mount -t overlay overlay -o "lowerdir=$1,upperdir=$upper,workdir=$work/layers/work" "$merged"
}

end_overlay() {
	umount "$merged"
	umount "$work/layers"
}

an_overlay() {
	local name

	new_stream
	name=$(basename "$s")
	append 3
	overlay "$mnt"
	# all is there to be read
	[ "$(cat "$merged/$name/1")" = "entry 1" ]
	[ "$(cat "$merged/$name/.last")" = "entry 2" ]
	cmp "$merged/$name/.log" "$s/.log"
	[ "$(cat "$merged/$name/.from/2")" = "entry 2" ]
	diff -r "$s" "$merged/$name"
	echo "entry 3" >"$s/new"
	[ "$(cat "$merged/$name/3")" = "entry 3" ]
	# What is changed is changed above: an entry is copied up, one removed is hidden, and `new` is a file like any other.
	echo more >>"$merged/$name/$(entry 0)"
	[ "$(cat "$merged/$name/$(entry 0)")" = "$(printf 'entry 0\nmore')" ]
	rm "$merged/$name/$(entry 1)"
	[ ! -e "$merged/$name/$(entry 1)" ]
	[ "$(stat -c %F "$upper/$name/$(entry 1)")" = "character special file" ]
	echo nowhere >"$merged/$name/new"
	[ "$(cat "$merged/$name/new")" = nowhere ]
	[ "$(cat "$upper/$name/new")" = nowhere ]
	mkdir "$merged/directory"
	touch "$merged/.checkpoints/above"
	[ ! -e "$mnt/.checkpoints/above" ]
	[ ! -e "$mnt/directory" ]
	echo 2 >/proc/sys/vm/drop_caches
	[ "$(cat "$merged/$name/2")" = "entry 2" ]
	[ "$(cat "$merged/$name/new")" = nowhere ]
	end_overlay
	# the log has not noticed
	holds 'entry 0\n' 'entry 1\n' 'entry 2\n' 'entry 3\n'
	[ "$(stat -c %s "$s/new")" -eq 0 ]
}

an_overlay_of_a_checkpoint() {
	local name

	new_stream
	name=$(basename "$s")
	append 3
	touch "$mnt/.checkpoints/lower"
	overlay "$mnt/.at/lower"
	echo "entry 3" >"$s/new"
	rm "$mnt/.checkpoints/bound"
	[ "$(cat "$merged/$name/.log")" = "$(printf 'entry %d\n' 0 1 2)" ]
	[ ! -e "$merged/$name/$(entry 3)" ]
	[ ! -e "$merged/$name/new" ]
	echo mine >"$merged/$name/new"
	sed -i s/entry/ENTRY/ "$merged/$name/$(entry 2)"
	echo 2 >/proc/sys/vm/drop_caches
	[ "$(cat "$merged/$name/"*)" = "$(printf 'entry 0\nentry 1\nENTRY 2\nmine')" ]
	rm -r "${merged:?}/$name"
	[ ! -e "$merged/$name" ]
	end_overlay
	has_entries 4
}

# ---- Handles ----

handles() {
	new_stream
	reexport "$1" "$mnt" "${2:-$(basename "$s")}"
}

many_handles() {
	local i

	for ((i = 0; i < 65; i++)); do mkdir "$mnt/$i"; done
	reexport many_handles "$mnt" 65
}

# What a handle was of is another one after the next mount: a client is told so, and looks again.
handles_of_an_earlier_mount() {
	reexport keep_handles "$mnt" "$work/handles"
	remount
	reexport kept_handles "$mnt" "$work/handles"
}

check "mount" on_tmpfs
mountpoint -q "$mnt" || finish
check "bind mounts, also read-only" bind_mounts
check "bind mounts of a stream, a checkpoint and a file" bind_mounts_of_parts
check "a bound stream is removed" bound_and_removed
check "a mount namespace" in_a_namespace
if grep -qw overlay /proc/filesystems; then
	check "an overlay" an_overlay
	check "an overlay of a checkpoint" an_overlay_of_a_checkpoint
else
	skip "an overlay" "the kernel has no overlayfs"
fi
if [ -w /proc/sys/vm/drop_caches ]; then
	check "handles of what the kernel has forgotten" handles handles
	check "handles while it forgets" handles forgetting
	check "handles of very many directories" many_handles
else
	skip "handles of what the kernel has forgotten" "/proc/sys/vm/drop_caches cannot be written"
fi
check "handles of an earlier mount" handles_of_an_earlier_mount
unmount_at_end
