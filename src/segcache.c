/* SPDX-License-Identifier: Apache-2.0 */
#include "segcache.h"

#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"

enum {
	LOADED_BYTES_MAX = 8 << 20,
	QUIET_PINS = 1024, /* a segment that was not used while others were this often is not in use */
};

struct segcache {
	const struct env *env;
	pthread_mutex_t lock; /* a leaf: nothing is opened or closed under it */
	pthread_cond_t change;
	/* protected by lock */
	struct lru lru;
	unsigned waiting; /* threads that wait for `change` */
	size_t open; /* in the table, being opened, or forgotten and still pinned */
	uint64_t opens;
	uint64_t clock; /* goes up with each use */
	uint64_t loaded_bytes; /* of all segments in the table */
};

/* Stands in the table while the segment is being opened, so that others wait instead of opening it too. */
struct placeholder {
	struct segment segment; /* only node and opening are used */
};

int segcache_new(const struct env *env, struct segcache **ret_cache)
{
	struct segcache *cache = calloc(1, sizeof *cache);

	if (!cache)
		return -ENOMEM;
	if (lru_init(&cache->lru) < 0) {
		free(cache);
		return -ENOMEM;
	}
	cache->env = env;
	pthread_mutex_init(&cache->lock, NULL);
	pthread_cond_init(&cache->change, NULL);
	*ret_cache = cache;
	return 0;
}

void segcache_free(struct segcache *cache)
{
	struct lru_node *node;

	if (!cache)
		return;
	while ((node = lru_oldest(&cache->lru))) {
		lru_remove(&cache->lru, node);
		segment_close(cache->env, container_of(node, struct segment, node));
	}
	lru_release(&cache->lru);
	pthread_cond_destroy(&cache->change);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

/* Caller holds cache->lock. */
static void take_out(struct segcache *cache, struct segment *segment)
{
	lru_remove(&cache->lru, &segment->node);
	segment->cached = false;
	cache->loaded_bytes -= segment->loaded_bytes;
	segment->loaded_bytes = 0;
}

/* ---- Holds ---- */

/* Caller holds cache->lock. Takes the pin back if it is not in use just now. */
static bool take_back(struct segment *segment)
{
	int idle = SEGCACHE_HOLD_IDLE;

	if (!atomic_compare_exchange_strong_explicit(&segment->hold->state, &idle, SEGCACHE_HOLD_NONE, memory_order_acq_rel, memory_order_relaxed))
		return false;
	segment->hold = NULL;
	segment->pins--;
	return true;
}

/* Caller holds cache->lock. Takes the pin back, or has it given back after this use: then false. */
static bool demand(struct segment *segment)
{
	while (!take_back(segment)) {
		int busy = SEGCACHE_HOLD_BUSY;

		if (atomic_compare_exchange_strong_explicit(&segment->hold->state, &busy, SEGCACHE_HOLD_WANTED, memory_order_relaxed, memory_order_relaxed) ||
		    busy == SEGCACHE_HOLD_WANTED)
			return false;
	}
	return true;
}

void segcache_hold(struct segcache *cache, struct segcache_hold *hold, struct segment *segment)
{
	LOCKED_SCOPE(&cache->lock);
	/* Who waits has not seen this hold and asked for it back, so nobody would be woken at the end of the use. */
	bool keep = !segment->hold && segment->cached && cache->waiting == 0;

	hold->segment = segment;
	if (keep)
		segment->hold = hold;
	atomic_store_explicit(&hold->used, true, memory_order_relaxed);
	atomic_store_explicit(&hold->state, keep ? SEGCACHE_HOLD_BUSY : SEGCACHE_HOLD_WANTED, memory_order_relaxed);
}

void segcache_give_up(struct segcache *cache, struct segcache_hold *hold)
{
	struct segment *segment = hold->segment;

	pthread_mutex_lock(&cache->lock);
	if (segment->hold == hold)
		segment->hold = NULL;
	atomic_store_explicit(&hold->state, SEGCACHE_HOLD_NONE, memory_order_relaxed);
	pthread_mutex_unlock(&cache->lock);
	segcache_put(cache, segment);
}

void segcache_let_go(struct segcache *cache, struct segcache_hold *hold)
{
	if (segcache_resume(hold))
		segcache_give_up(cache, hold);
}

/* ---- Making room ---- */

/* Caller holds cache->lock. Whether only its hold, if anything, keeps the segment from being closed. */
static bool is_at_rest(const struct segment *segment)
{
	return !segment->opening && segment->pins == (segment->hold ? 1 : 0);
}

/* Caller holds cache->lock. A segment that is held is not moved in the list when it is used: it is now. True if it was, since this was last asked. */
static bool was_used(struct segcache *cache, struct segment *segment)
{
	if (!segment->hold || !atomic_exchange_explicit(&segment->hold->used, false, memory_order_relaxed))
		return false;
	lru_touch(&cache->lru, &segment->node);
	return true;
}

/*
 * Caller holds cache->lock. Takes the least recently used segment that nobody uses out of the table, for the caller to close; NULL if all are in use, then those that are held are given back when they are not.
 */
static struct segment *evict(struct segcache *cache)
{
	/* Each comes by twice at most: those that turn out to have been used go to the end. */
	size_t left = 2 * cache->lru.count;

	for (struct lru_node *node = lru_oldest(&cache->lru), *next; node && left > 0; node = next, left--) {
		struct segment *segment = container_of(node, struct segment, node);

		next = lru_newer(&cache->lru, node);
		if (!is_at_rest(segment) || was_used(cache, segment) || (segment->hold && !take_back(segment)))
			continue;
		take_out(cache, segment);
		return segment;
	}
	for (struct lru_node *node = lru_oldest(&cache->lru); node; node = lru_newer(&cache->lru, node)) {
		struct segment *segment = container_of(node, struct segment, node);

		if (!is_at_rest(segment) || (segment->hold && !demand(segment)))
			continue;
		take_out(cache, segment);
		return segment;
	}
	return NULL;
}

/* ---- Opening ---- */

static int open_segment(const struct env *env, const struct segcache_request *rq, struct segment **ret_segment)
{
	if (rq->active)
		return segment_open_active(env, rq->stream_name, rq->first_id, rq->meta_fd, ret_segment);
	const struct segment_range range = { rq->first_id, rq->end_id, rq->before_id };

	return segment_open_sealed(env, rq->stream_name, &range, rq->distrust, ret_segment);
}

/* Caller holds cache->lock, and has it again when this returns; room for one more has been counted. */
static int open_into(struct segcache *cache, const struct segcache_request *rq, struct lru_key key, struct segment *victim,
		     struct segment **ret_segment)
{
	struct placeholder placeholder = { .segment = { .node = { .key = key }, .opening = true, .cached = true } };
	struct segment *segment;

	lru_insert(&cache->lru, &placeholder.segment.node);
	pthread_mutex_unlock(&cache->lock);
	segment_close(cache->env, victim);
	int result = open_segment(cache->env, rq, &segment);
	pthread_mutex_lock(&cache->lock);
	cache->opens += result == 0;

	/* segcache_forget() may have taken the place away meanwhile: then what was opened is for this caller alone. */
	bool cached = placeholder.segment.cached;
	if (cached)
		lru_remove(&cache->lru, &placeholder.segment.node);
	if (result < 0) {
		cache->open--;
	} else {
		segment->pins = 1;
		segment->node.key = key;
		segment->cached = cached;
		if (cached)
			lru_insert(&cache->lru, &segment->node);
		*ret_segment = segment;
	}
	pthread_cond_broadcast(&cache->change);
	return result;
}

/* Caller holds cache->lock. What is used least recently comes first in the list, and so is unloaded first. */
static struct segment *next_to_unload(struct segcache *cache)
{
	if (cache->loaded_bytes <= LOADED_BYTES_MAX)
		return NULL;
	for (struct lru_node *node = lru_oldest(&cache->lru); node; node = lru_newer(&cache->lru, node)) {
		struct segment *segment = container_of(node, struct segment, node);

		if (cache->clock - segment->pinned_at < QUIET_PINS)
			return NULL;
		if (segment->loaded_bytes > 0)
			return segment;
	}
	return NULL;
}

/* Caller holds cache->lock, which is released meanwhile; the segment is pinned. A segment that comes (back) into use pushes out those that no longer are. */
static void note_use(struct segcache *cache, struct segment *segment)
{
	struct segment *other;

	segment->pinned_at = ++cache->clock;
	if (segment->loaded_bytes > 0 || !segment->cached)
		return;
	segment->loaded_bytes = segment_mapped_bytes(segment);
	cache->loaded_bytes += segment->loaded_bytes;
	while ((other = next_to_unload(cache))) {
		cache->loaded_bytes -= other->loaded_bytes;
		other->loaded_bytes = 0;
		other->pins++;
		pthread_mutex_unlock(&cache->lock);
		segment_unload(cache->env, other);
		segcache_put(cache, other);
		pthread_mutex_lock(&cache->lock);
	}
}

/* Caller holds cache->lock, which is released meanwhile. */
static int get(struct segcache *cache, const struct segcache_request *rq, struct segment **ret_segment)
{
	struct lru_key key = { rq->stream_key, rq->first_id, 0 };

	for (;;) {
		struct lru_node *node = lru_find(&cache->lru, key);
		struct segment *segment = node ? container_of(node, struct segment, node) : NULL;

		if (segment && !segment->opening) {
			segment->pins++;
			lru_touch(&cache->lru, node);
			*ret_segment = segment;
			return 0;
		}
		if (!segment) {
			struct segment *victim = NULL;

			if (cache->open < cache->env->opts.max_open_segments) {
				cache->open++;
				return open_into(cache, rq, key, NULL, ret_segment);
			}
			victim = evict(cache);
			if (victim)
				return open_into(cache, rq, key, victim, ret_segment);
		}
		cache->waiting++;
		pthread_cond_wait(&cache->change, &cache->lock);
		cache->waiting--;
	}
}

int segcache_get(struct segcache *cache, const struct segcache_request *rq, struct segment **ret_segment)
{
	LOCKED_SCOPE(&cache->lock);
	int result = get(cache, rq, ret_segment);

	if (result == 0)
		note_use(cache, *ret_segment);
	return result;
}

void segcache_put(struct segcache *cache, struct segment *segment)
{
	bool gone = false;

	if (!segment)
		return;
	pthread_mutex_lock(&cache->lock);
	segment->pins--;
	if (is_at_rest(segment)) {
		gone = segment->pins == 0 && !segment->cached;
		if (cache->open >= cache->env->opts.max_open_segments && !gone)
			pthread_cond_broadcast(&cache->change);
	}
	pthread_mutex_unlock(&cache->lock);
	if (!gone)
		return;
	segment_close(cache->env, segment);
	pthread_mutex_lock(&cache->lock);
	cache->open--;
	pthread_cond_broadcast(&cache->change);
	pthread_mutex_unlock(&cache->lock);
}

void segcache_forget(struct segcache *cache, uint64_t stream_key, uint64_t first_id)
{
	struct lru_key key = { stream_key, first_id, 0 };
	struct segment *unused = NULL;

	pthread_mutex_lock(&cache->lock);
	struct lru_node *node = lru_find(&cache->lru, key);
	if (node) {
		struct segment *segment = container_of(node, struct segment, node);

		take_out(cache, segment);
		if (segment->hold)
			demand(segment);
		if (segment->pins == 0 && !segment->opening) {
			unused = segment;
			cache->open--;
		}
		pthread_cond_broadcast(&cache->change);
	}
	pthread_mutex_unlock(&cache->lock);
	segment_close(cache->env, unused);
}

void segcache_forget_this(struct segcache *cache, struct segment *segment)
{
	LOCKED_SCOPE(&cache->lock);
	if (!segment->cached)
		return;
	take_out(cache, segment);
	if (segment->hold)
		demand(segment);
	pthread_cond_broadcast(&cache->change);
}

uint64_t segcache_opens(struct segcache *cache)
{
	LOCKED_SCOPE(&cache->lock);
	return cache->opens;
}

size_t segcache_count(struct segcache *cache)
{
	LOCKED_SCOPE(&cache->lock);
	return cache->open;
}
