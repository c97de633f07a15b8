/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters. They are atomic so that anyone may look; those that only the holder of a lock changes need no more than a load and a store (stats_add()), the others are
 * added to by stats_add_shared().
 */
#ifndef WAL_STATS_H
#define WAL_STATS_H

#include <stdatomic.h>

#include "wal.h"

typedef atomic_uint_fast64_t stats_counter;

struct stats_histogram {
	stats_counter classes[WAL_HISTOGRAM_CLASSES];
	stats_counter sum_ns;
};

/* As struct wal_stream_counters. */
struct stream_stats {
	/* under stream.lock */
	stats_counter appends, append_bytes, frames, frame_bytes, writes, syncs, synced_appends;
	stats_counter sync_errors, rotations;
	stats_counter sync_pauses; /* syncs that waited for more appends; not among those of wal.h */
	struct stats_histogram append_time, sync_time;
	/* shared */
	stats_counter append_errors_space, append_errors_size, append_errors_io, append_errors_other;
	stats_counter reads, read_bytes, read_errors_damaged, read_errors_other, pruned_segments;
};

static inline void stats_add(stats_counter *counter, uint64_t n)
{
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n, memory_order_relaxed);
}

static inline void stats_add_shared(stats_counter *counter, uint64_t n)
{
	atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static inline uint64_t stats_get(const stats_counter *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

/* CLOCK_MONOTONIC in nanoseconds. */
uint64_t stats_clock(void);

/* One more that took from `begin_ns` to now. The caller holds the lock that the histogram is under. */
void stats_took(struct stats_histogram *h, uint64_t begin_ns);

void stats_read_histogram(const struct stats_histogram *h, struct wal_histogram *ret);

#endif
