/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segments that are open, at most max_open_segments of them over all streams. A segment is *pinned* while a call uses it and only an unpinned one is
 * closed to make room for another. Who needs one while all are pinned waits; so that this ends, a thread pins one segment at a time, and only for the length of a call.
 *
 * What is mapped of them (WAL_READ_MMAP) counts as this process's memory as soon as it was looked at, though it is the kernel's to take back: all of a log that someone goes through.
 * So beyond some megabytes the maps of segments that have not been used for a while are unloaded.
 */
#ifndef WAL_SEGCACHE_H
#define WAL_SEGCACHE_H

#include "segment.h"

struct segcache;

/* `env` outlives it. -ENOMEM. */
int segcache_new(const struct env *env, struct segcache **ret_cache);
/* Closes all; none may be pinned. NULL is allowed. */
void segcache_free(struct segcache *cache);

/* What identifies a segment and how to open it. */
struct segcache_request {
	uint64_t stream_key;
	const char *stream_name;
	uint64_t first_id;
	uint64_t end_id;    /* sealed: see struct segment_range */
	uint64_t before_id;
	bool distrust;	 /* sealed: see segment_open_sealed() */
	bool active;
	int meta_fd;	 /* active: see segment_open_active() */
};

/* The segment, pinned. Opens it if need be: blocks on the disk, or until one can be closed. Two threads that ask for the same one open it once. */
int segcache_get(struct segcache *cache, const struct segcache_request *request, struct segment **ret_segment);

/* Unpins it. NULL is allowed. */
void segcache_put(struct segcache *cache, struct segment *segment);

/*
 * Forgets the segment: the next segcache_get() opens it anew. Whoever has it pinned goes on with it. For a segment that was sealed or dropped.
 */
void segcache_forget(struct segcache *cache, uint64_t stream_key, uint64_t first_id);

/* How many are open now, and how many have been opened so far. */
size_t segcache_count(struct segcache *cache);
uint64_t segcache_opens(struct segcache *cache);

#endif
