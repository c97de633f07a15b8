#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Keeps a warm copy of a store on another machine, for cron or a loop:
#
#	warm-copy.sh STORE HOST DESTINATION
#
# sends over ssh what DESTINATION, a store on HOST, does not have yet: entries and checkpoints, with the ids and times that they have here. STORE may be mounted, and written to meanwhile.
# DESTINATION is made by the first run, and must not be mounted for writing there; after a failure here it is mounted and goes on where the copy ends. What is pruned here stays there. A run that was
# interrupted is made up for by the next one. If the two have diverged, as after somebody has appended to the copy, nothing is sent and the exit status is not 0.
#
# HOST "-" is this machine. WALCTL says how walctl is called on both.
set -eu

store=${1:?usage: warm-copy.sh STORE HOST DESTINATION}
host=${2:?usage: warm-copy.sh STORE HOST DESTINATION}
destination=${3:?usage: warm-copy.sh STORE HOST DESTINATION}
walctl=${WALCTL:-walctl}

# quoted WORD: as the shell of the other machine takes it
quoted() {
	printf "'%s'" "$(printf '%s' "$1" | sed "s/'/'\\\\''/g")"
}

# there OPTION…: `walctl restore` of the destination
there() {
	if [ "$host" = - ]; then
		"$walctl" restore "$@" -- "$destination"
	else
		ssh -- "$host" "$walctl restore $* -- $(quoted "$destination")"
	fi
}

state=$(mktemp)
sent=$(mktemp)
trap 'rm -f "$state" "$sent"' EXIT

# 1. What it has.
there --state >"$state"

# 2. What it lacks. That the export failed must not be lost in the pipe.
{ "$walctl" export --to=tar --after="$state" -- "$store" || echo $? >"$sent"; } | there --quiet
if [ -s "$sent" ]; then
	exit "$(cat "$sent")"
fi
