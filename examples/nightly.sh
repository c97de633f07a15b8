#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# A nightly backup of a mounted store, for cron or a systemd timer:
#
#	nightly.sh MOUNTPOINT BACKUPS [DAYS]
#
# makes the checkpoint nightly-YYYY-MM-DD, packs the store as it was at that checkpoint into BACKUPS, and lets go of what the checkpoint of DAYS (7) days ago covers: that is in
# the backups since. Writers go on all the while. Run twice on one day it does nothing new.
set -eu

mount=${1:?usage: nightly.sh MOUNTPOINT BACKUPS [DAYS]}
backups=${2:?usage: nightly.sh MOUNTPOINT BACKUPS [DAYS]}
days=${3:-7}
tonight=nightly-$(date +%F)
before=nightly-$(date -d "$days days ago" +%F)

# 1. A consistent cut over all streams, durable when touch returns. An existing one is not moved.
touch "$mount/.checkpoints/$tonight"

# 2. The streams as of that cut. They do not change, however long this takes; the archive gets its name when it is whole.
#    `walctl restore` brings them back with the same ids, and with the same times by virtue of --format=pax.
if ! [ -e "$backups/$tonight.tar.gz" ]; then
	tar --format=pax -C "$mount/.at/$tonight" -czf "$backups/$tonight.tar.gz.part" .
	sync "$backups/$tonight.tar.gz.part"
	mv "$backups/$tonight.tar.gz.part" "$backups/$tonight.tar.gz"
fi

# 3. What was in the store a week ago goes, as far as it is in sealed segments. Only what a backup has is let go of.
if [ -e "$mount/.checkpoints/$before" ] && [ -e "$backups/$before.tar.gz" ]; then
	echo "$before" >"$mount/.checkpoints/.prune"
	rm "$mount/.checkpoints/$before"
fi

# Sealed tonight, the segments can go a week from now, however little is appended.
for stream in "$mount"/*/; do
	[ -d "$stream" ] || continue # there is none at all
	echo >"$stream/.rotate"
done
