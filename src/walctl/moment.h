/* SPDX-License-Identifier: Apache-2.0 */
/* The figures of all streams at one moment, as a mount tells them in `.stats`, or as far as the store's files show them. */
#ifndef WALCTL_MOMENT_H
#define WALCTL_MOMENT_H

#include "walctl.h"

enum { MOMENT_BUCKETS_MAX = 64 };

/* How many took at most so many seconds, the last of them without a bound; cumulative. */
struct moment_histogram {
	size_t count;
	double bounds[MOMENT_BUCKETS_MAX];
	uint64_t counts[MOMENT_BUCKETS_MAX];
};

struct moment_stream {
	char *name;
	uint64_t next_id, payload_bytes;
	struct wal_stream_stat stat; /* tail and health */
	/* counters, all 0 if it is not a mount that tells */
	uint64_t appends, append_bytes, syncs, synced_appends;
	struct moment_histogram append_time, sync_time;
};

struct moment {
	bool counted; /* a mount has told: the counters are there */
	int64_t time_ns; /* CLOCK_MONOTONIC */
	struct moment_stream *streams;
	size_t count, capacity;
	size_t last; /* found: the next one asked for is mostly the one behind */
	char first_metric[64]; /* that names streams: each of its samples is a new one */
};

/*
 * Looks at the store `command` is about, or at its mount if there is one, or if it is the mount point itself that was given. Says what is wrong, but with `again` not what
 * the library has to say about streams, which it said at the first look. Ends with moment_release() in any case.
 */
enum exit_code moment_look(struct command *command, bool again, struct moment *ret);

/* The stream of this name, or NULL. */
struct moment_stream *moment_find(struct moment *moment, const char *name);

void moment_release(struct moment *moment);

#endif
