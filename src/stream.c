/* SPDX-License-Identifier: Apache-2.0 */
/* What a stream is between the operations: its life, its bounds, and who waits for them to move. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cleanup.h"
#include "stream_impl.h"

struct wal_stream *stream_new(struct engine *engine, const char *name)
{
	struct wal_stream *st = calloc(1, sizeof *st + strlen(name) + 1);

	if (!st)
		return NULL;
	strcpy(st->name, name);
	st->timed_id = UINT64_MAX;
	st->engine = engine;
	st->key = atomic_fetch_add(&engine->next_key, 1);
	st->born_epoch = st->cut_epoch = atomic_load(&engine->cut_epoch);
	st->refs = 1;
	st->meta_fd = -1;
	st->write_task.run = stream_run_write_task;
	st->sync_task.run = stream_run_sync_task;
	op_list_init(&st->queue);
	op_list_init(&st->commits);
	op_list_init(&st->syncs);
	op_list_init(&st->watches);
	op_list_init(&st->done);
	op_list_init(&st->ended);
	pthread_condattr_t monotonic;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&st->lock, NULL);
	pthread_mutex_init(&st->space_lock, NULL);
	pthread_mutex_init(&st->meta_lock, NULL);
	pthread_cond_init(&st->turn, NULL);
	pthread_cond_init(&st->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return st;
}

void stream_ref(struct wal_stream *st)
{
	atomic_fetch_add_explicit(&st->refs, 1, memory_order_relaxed);
}

void stream_unref(struct wal_stream *st)
{
	if (atomic_fetch_sub_explicit(&st->refs, 1, memory_order_acq_rel) == 1)
		stream_free(st);
}

void stream_free(struct wal_stream *st)
{
	stream_forget_idle(st);
	segcache_let_go(st->engine->segcache, &st->hold);
	sys_close(st->engine->env.sys, &st->meta_fd);
	for (size_t i = 0; i < st->old_meta_fds.count; i++)
		st->engine->env.sys->close(st->engine->env.sys, (int)st->old_meta_fds.ids[i]);
	id_array_release(&st->old_meta_fds);
	id_array_release(&st->segments);
	id_array_release(&st->doomed);
	pthread_cond_destroy(&st->changed);
	pthread_cond_destroy(&st->turn);
	pthread_mutex_destroy(&st->meta_lock);
	pthread_mutex_destroy(&st->space_lock);
	pthread_mutex_destroy(&st->lock);
	free(st->sums);
	free(st->meta.block);
	free(st->meta_work);
	free(st->reason);
	free(st->stats);
	free(st);
}

void wal_stream_close(struct wal_stream *st)
{
	if (st)
		stream_unref(st);
}

const char *wal_stream_name(const struct wal_stream *st)
{
	return st->name;
}

/* Caller holds st->lock. Those that wait for an id below `next` end. */
static void end_watches(struct wal_stream *st, uint64_t next, int result)
{
	struct op_list all = st->watches;
	struct wal_op *op;

	if (!all.head)
		return;
	op_list_init(&st->watches);
	while (all.head) {
		op = op_list_pop(&all);
		if (op->internal.end_id < next)
			stream_op_finish(st, op, result);
		else
			op_list_push(&st->watches, op);
	}
}

void stream_end_watches(struct wal_stream *st, int result)
{
	end_watches(st, UINT64_MAX, result);
}

void wal_stream_watch(struct wal_stream *st, uint64_t id, struct wal_op *op)
{
	memset(&op->internal, 0, sizeof op->internal);
	op->count = 0; /* it appends nothing */
	/* The last of all ids is never given out: see NEXT_ID_MAX. */
	op->internal.end_id = id < UINT64_MAX ? id : UINT64_MAX - 1;
	stream_ref(st); /* the op's */
	stream_ref(st); /* until the lock is released */
	pthread_mutex_lock(&st->lock);
	if (st->deleted)
		stream_op_finish(st, op, -ENOENT);
	else if (id < atomic_load_explicit(&st->pub_next, memory_order_relaxed))
		stream_op_finish(st, op, 0);
	else if (st->health != WAL_HEALTHY && !st->engine->env.opts.ro)
		stream_op_finish(st, op, -EIO);
	else
		op_list_push(&st->watches, op);
	stream_call_back(st);
	pthread_mutex_unlock(&st->lock);
	stream_unref(st);
}

bool wal_stream_unwatch(struct wal_stream *st, struct wal_op *op)
{
	bool found = false;

	pthread_mutex_lock(&st->lock);
	struct op_list all = st->watches;
	if (all.head) {
		op_list_init(&st->watches);
		while (all.head) {
			struct wal_op *other = op_list_pop(&all);

			if (other == op)
				found = true;
			else
				op_list_push(&st->watches, other);
		}
	}
	pthread_mutex_unlock(&st->lock);
	if (found)
		stream_unref(st); /* the op's */
	return found;
}

void stream_publish(struct wal_stream *st)
{
	uint64_t next = st->commits.head ? st->commits.head->first_id : st->next_id;
	uint64_t before = atomic_load_explicit(&st->pub_next, memory_order_relaxed);

	atomic_store_explicit(&st->pub_first, st->segments.ids[0], memory_order_release);
	atomic_store_explicit(&st->pub_durable, st->durable_id, memory_order_release);
	if (next == before)
		return;
	atomic_store_explicit(&st->pub_mtime, st->meta.at.last_time, memory_order_release);
	atomic_store_explicit(&st->pub_next, next, memory_order_release);
	if (st->watchers > 0)
		pthread_cond_broadcast(&st->changed);
	end_watches(st, next, 0);
}

void wal_stream_bounds(struct wal_stream *st, uint64_t *ret_first, uint64_t *ret_next, uint64_t *ret_durable)
{
	/* In this order each bound holds when it is read together with those before: durable <= next, first <= next. */
	uint64_t durable = atomic_load_explicit(&st->pub_durable, memory_order_acquire);
	uint64_t first = atomic_load_explicit(&st->pub_first, memory_order_acquire);
	uint64_t next = atomic_load_explicit(&st->pub_next, memory_order_acquire);

	if (ret_durable)
		*ret_durable = durable < next ? durable : next;
	if (ret_first)
		*ret_first = first;
	if (ret_next)
		*ret_next = next;
}

int64_t wal_stream_mtime(struct wal_stream *st)
{
	return atomic_load_explicit(&st->pub_mtime, memory_order_acquire);
}

uint64_t wal_stream_timed_id(struct wal_stream *st)
{
	uint64_t next;

	wal_stream_bounds(st, NULL, &next, NULL);
	return st->timed_id < next ? st->timed_id : next;
}

struct segcache_request stream_segment_request(const struct wal_stream *st, size_t index)
{
	bool active = index + 1 == st->segments.count;

	return (struct segcache_request){
		.stream_key = st->key,
		.stream_name = st->name,
		.first_id = st->segments.ids[index],
		.end_id = active ? 0 : st->segments.ids[index + 1],
		.before_id = st->segments.ids[index > 0 ? index - 1 : 0],
		.active = active,
		.meta_fd = active ? st->meta_fd : -1,
	};
}

bool stream_has_segment(struct wal_stream *st, uint64_t first_id)
{
	LOCKED_SCOPE(&st->lock);
	ssize_t index = id_array_find(&st->segments, first_id);

	return index >= 0 && st->segments.ids[index] == first_id;
}

static bool stream_is_deleted(struct wal_stream *st)
{
	LOCKED_SCOPE(&st->lock);
	return st->deleted;
}

int stream_pin_active(struct wal_stream *st, struct segment **ret_segment)
{
	struct segcache *cache = st->engine->segcache;

	for (;;) {
		struct segment *segment;

		pthread_mutex_lock(&st->lock);
		struct segcache_request rq = stream_segment_request(st, st->segments.count - 1);
		pthread_mutex_unlock(&st->lock);
		int result = segcache_get(cache, &rq, &segment);
		if (result == -ENOENT && stream_is_deleted(st))
			return result;
		if (result == -ENOENT && stream_has_segment(st, rq.first_id))
			return stream_missing(st, rq.first_id);
		if (result == -ENOENT)
			continue; /* sealed and pruned since */
		if (result < 0)
			return result;
		if (segment->active) {
			*ret_segment = segment;
			return 0;
		}
		/* A reader opened it between two states of the stream. */
		segcache_forget_this(cache, segment);
		segcache_put(cache, segment);
	}
}

int wal_stream_wait(struct wal_stream *st, uint64_t id, int timeout_ms)
{
	struct timespec until;
	int error = 0;

	if (atomic_load_explicit(&st->pub_next, memory_order_acquire) > id)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &until);
	if (timeout_ms > 0) {
		until.tv_sec += timeout_ms / 1000;
		until.tv_nsec += timeout_ms % 1000 * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000L;
		}
	}
	LOCKED_SCOPE(&st->lock);
	st->watchers++;
	while (!st->deleted && atomic_load_explicit(&st->pub_next, memory_order_relaxed) <= id && error == 0) {
		if (timeout_ms < 0)
			pthread_cond_wait(&st->changed, &st->lock);
		else
			error = timeout_ms == 0 ? ETIMEDOUT : pthread_cond_timedwait(&st->changed, &st->lock, &until);
	}
	st->watchers--;
	if (atomic_load_explicit(&st->pub_next, memory_order_relaxed) > id)
		return 0;
	return st->deleted ? -ENOENT : WAL_TIMEOUT;
}
