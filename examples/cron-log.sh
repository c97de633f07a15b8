#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Runs a command and appends all it says, with its exit status, as one entry to a stream of a mounted store. For cron:
#
#	17 3 * * *  root  /usr/local/bin/cron-log.sh /mnt/log/backup  /usr/local/bin/backup --all
#
# Everything goes through one `cat`, because an entry is what one program writes: with `{ date; backup; } > new`, `date` and `backup` would each
# append an entry of their own. The script's exit status is the command's, or 74 if the entry could not be written: then cron sends mail.
set -u

if [ $# -lt 2 ]; then
	echo "usage: cron-log.sh STREAM COMMAND [ARGUMENT]..." >&2
	exit 64
fi
stream=$1
shift

# Descriptor 3 carries the command's status past the log. The second cat lets the command finish when the log cannot be written.
status=$(
	{
		{
			echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*"
			"$@" 2>&1 3>&-
			status=$?
			echo "exit status $status"
			echo "$status" >&3
		} | {
			cat >"$stream/new" || {
				echo lost >&3
				cat >/dev/null
			}
		}
	} 3>&1
)
case $status in
*lost*) exit 74 ;;
*) exit "$status" ;;
esac
