/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The segments that are open, at most max_open_segments of them over all streams. A segment is *pinned* while a call uses it and only an unpinned one is
 * closed to make room for another. Who needs one while all are pinned waits; so that this ends, a thread pins one segment at a time, and only for the length of a call.
 * Who uses the same segment all the time can *hold* it: the pin stays between two uses, when the cache may take it back.
 *
 * What is mapped of them (WAL_READ_MMAP) counts as this process's memory as soon as it was looked at, though it is the kernel's to take back: all of a log that someone goes through.
 * So beyond some megabytes the maps of segments that have not been used for a while are unloaded.
 */
#ifndef WAL_SEGCACHE_H
#define WAL_SEGCACHE_H

#include <stdatomic.h>

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

/* Of a hold. Its user goes from IDLE to BUSY and back; the cache from IDLE to NONE, and from BUSY to WANTED. */
enum segcache_hold_state {
	SEGCACHE_HOLD_NONE,
	SEGCACHE_HOLD_IDLE,
	SEGCACHE_HOLD_BUSY,
	SEGCACHE_HOLD_WANTED, /* to be given up after this use */
};

/*
 * A pin that is kept from one use to the next: using it again takes no lock and looks nothing up. Zeros are a hold of nothing; it must be let go before it is freed. Its user is one thread at a time, and knows
 * itself whether the segment is still the one that it wants. In the order of use it counts as used when the cache looks for something to close.
 */
struct segcache_hold {
	atomic_int state;
	atomic_bool used; /* since the cache last looked */
	struct segment *segment; /* the user's: not to be looked at unless BUSY */
};

/* The segment held, pinned for the user until segcache_rest(). NULL: none is held. */
static inline struct segment *segcache_resume(struct segcache_hold *hold)
{
	int idle = SEGCACHE_HOLD_IDLE;

	if (!atomic_compare_exchange_strong_explicit(&hold->state, &idle, SEGCACHE_HOLD_BUSY, memory_order_acquire, memory_order_relaxed))
		return NULL;
	atomic_store_explicit(&hold->used, true, memory_order_relaxed);
	return hold->segment;
}

/* The caller has pinned `segment`, once; it is held from now on, and BUSY. The hold has none before; if another one has the segment already, the pin is as any other. */
void segcache_hold(struct segcache *cache, struct segcache_hold *hold, struct segment *segment);

/* segcache_rest() when someone wants the segment's place. */
void segcache_give_up(struct segcache *cache, struct segcache_hold *hold);

/* The use is over. */
static inline void segcache_rest(struct segcache *cache, struct segcache_hold *hold)
{
	int busy = SEGCACHE_HOLD_BUSY;

	if (!atomic_compare_exchange_strong_explicit(&hold->state, &busy, SEGCACHE_HOLD_IDLE, memory_order_release, memory_order_relaxed))
		segcache_give_up(cache, hold);
}

/* Nothing is held any more. Not by a user that is BUSY. */
void segcache_let_go(struct segcache *cache, struct segcache_hold *hold);

/*
 * Forgets the segment: the next segcache_get() opens it anew. Whoever has it pinned goes on with it, who holds it until the end of this use. For a segment that was sealed or dropped.
 */
void segcache_forget(struct segcache *cache, uint64_t stream_key, uint64_t first_id);

/* The same of this one, which the caller has pinned: not of one that has taken its place since, or is about to. */
void segcache_forget_this(struct segcache *cache, struct segment *segment);

/* How many are open now, and how many have been opened so far. */
size_t segcache_count(struct segcache *cache);
uint64_t segcache_opens(struct segcache *cache);

#endif
