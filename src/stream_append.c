/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending: ops are prepared without a lock and queued in the order of their submission. Whoever holds `writing` works off the queue, for all (stream_write.c writes, stream_commit.c
 * syncs).
 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "cleanup.h"
#include "crc32.h"
#include "lz4codec.h"
#include "stream_impl.h"

enum { ROUNDS_MAX = 32 }; /* groups that one thread writes on behalf of others */

/* ---- Preparing ---- */

/* What the entries take as they are, with their lengths. -EFBIG. */
static int raw_size_of(const struct wal_op *op, uint32_t *ret_size)
{
	uint64_t size = 0;

	for (size_t i = 0; i < op->count; i++) {
		if (op->entries[i].iov_len > WAL_ENTRY_SIZE_MAX)
			return -EFBIG;
		size += FRAME_LENGTH_BYTES + (uint64_t)op->entries[i].iov_len;
		if (size > UINT32_MAX)
			return -EFBIG;
	}
	*ret_size = (uint32_t)size;
	return 0;
}

static struct wal_payload *join_entries(const struct wal_op *op, uint32_t raw_size)
{
	struct wal_payload *payload = malloc(sizeof *payload + raw_size);

	if (!payload)
		return NULL;
	payload->type = FRAME_RAW;
	payload->raw_size = payload->disk_size = raw_size;
	uint8_t *pos = payload->data;
	for (size_t i = 0; i < op->count; i++) {
		size_t size = op->entries[i].iov_len;

		put_le32(pos, (uint32_t)size);
		if (size > 0)
			memcpy(pos + FRAME_LENGTH_BYTES, op->entries[i].iov_base, size);
		pos += FRAME_LENGTH_BYTES + size;
	}
	return payload;
}

/* Puts the compressed form in place of *payload if it is smaller. */
static int compress(struct wal_payload **payload)
{
	struct wal_payload *raw = *payload;
	size_t bound = lz4frame_bound(raw->raw_size), size;
	struct wal_payload *packed = malloc(sizeof *packed + bound);

	if (!packed)
		return -ENOMEM;
	int result = lz4frame_compress(packed->data, bound, raw->data, raw->raw_size, &size);
	if (result < 0 || size >= raw->raw_size) {
		free(packed);
		return result;
	}
	packed->type = FRAME_LZ4;
	packed->raw_size = raw->raw_size;
	packed->disk_size = (uint32_t)size;
	free(raw);
	/* What is kept until it is written should not be larger than it needs to be. */
	struct wal_payload *smaller = realloc(packed, sizeof *packed + size);
	*payload = smaller ? smaller : packed;
	return 0;
}

/* Checks the op's sizes and brings it into the form that write_group() takes. No lock held. */
static int prepare(struct wal_stream *st, struct wal_op *op)
{
	const struct wal_options *opts = &st->engine->env.opts;

	uint32_t raw_size;
	int result = raw_size_of(op, &raw_size);

	if (result < 0)
		return result;
	bool pack = opts->compression == WAL_COMPRESSION_LZ4 && raw_size >= opts->min_compression_size;
	op->internal.frame_bytes = FRAME_HEADER_BYTES + (uint64_t)raw_size;
	if (op->count == 0 || (op->count == 1 && !pack))
		return 0;

	struct wal_payload *payload = join_entries(op, raw_size);
	if (!payload)
		return -ENOMEM;
	result = pack ? compress(&payload) : 0;
	if (result < 0) {
		free(payload);
		return result;
	}
	payload->crc = crc32_update(0, payload->data, payload->disk_size);
	op->internal.payload = payload;
	op->internal.frame_bytes = FRAME_HEADER_BYTES + (uint64_t)payload->disk_size;
	return 0;
}

/* ---- The holder of `writing` ---- */

/* Caller holds st->lock and `writing`. Someone else goes on, who may block: the next submitter if it waits anyway, or a worker. */
static void hand_over(struct wal_stream *st)
{
	struct wal_op *op = st->queue.head;

	if (op && op->done == stream_op_wakes) {
		struct waiting_op *waiting = container_of(op, struct waiting_op, op);

		waiting->lead_write = true;
		sleeper_tell(&waiting->sleeper);
		return;
	}
	stream_ref(st);
	workers_submit(st->engine->workers, &st->write_task);
}

/* The op at the head of the queue, once it is clear that nothing is to be written for it. */
static void pop_unwritten(struct wal_stream *st, int result)
{
	stream_op_finish(st, op_list_pop(&st->queue), result);
}

/* Caller holds st->lock and `writing`; works off the queue, then gives the token back, or hands it over. */
static void drain(struct wal_stream *st, bool may_block)
{
	bool overshoot = false;
	unsigned rounds = 0;

	while (st->queue.head || st->stopping) {
		struct wal_op *op = st->queue.head;

		if (st->stopping) {
			if (!may_block) {
				hand_over(st);
				return;
			}
			stream_stop(st);
			continue;
		}
		if (st->deleted || (st->health != WAL_HEALTHY && !op_is_sync(op))) {
			pop_unwritten(st, st->deleted ? -ENOENT : -EIO);
			continue;
		}
		if (st->next_id > NEXT_ID_MAX && !op_is_sync(op)) {
			pop_unwritten(st, -EOVERFLOW);
			continue;
		}
		if (!stream_may_restore(st, op, 0)) {
			pop_unwritten(st, -EINVAL);
			continue;
		}
		if (op_is_sync(op)) {
			op_list_pop(&st->queue);
			op->internal.end_id = st->next_id;
			/* Nobody syncs a stream that is not healthy. */
			if (st->health == WAL_STOPPED || (st->health != WAL_HEALTHY && st->durable_id < st->next_id)) {
				stream_op_finish(st, op, -EIO);
			} else {
				op_list_push(&st->syncs, op);
				stream_advance(st);
			}
			continue;
		}
		bool rotate = stream_needs_rotation(st, op, 0, 0) && !overshoot;
		if (((rotate || op_is_spilled(op)) && !may_block) || rounds++ == ROUNDS_MAX) {
			hand_over(st);
			return;
		}
		if (!rotate) {
			stream_write_some(st);
			overshoot = false;
			continue;
		}
		int result = stream_rotate(st);
		/* A full disk must not refuse what was reserved, or what still fits: the segment becomes larger instead. */
		if (result == -ENOSPC || result == -EDQUOT)
			overshoot = true;
		else if (result < 0)
			pop_unwritten(st, result);
	}
	st->writing = false;
	pthread_cond_broadcast(&st->turn);
}

int stream_take_writing(struct wal_stream *st)
{
	while (st->writing)
		pthread_cond_wait(&st->turn, &st->lock);
	if (st->deleted)
		return -ENOENT;
	if (st->health != WAL_HEALTHY)
		return -EIO;
	st->writing = true;
	return 0;
}

void stream_give_writing(struct wal_stream *st)
{
	drain(st, true);
	stream_kick_sync(st);
	if (st->ended.head) {
		stream_unlock(st);
		pthread_mutex_lock(&st->lock);
	}
}

/* Caller holds st->lock. Queues the op and sees to it that someone writes it. */
static void queue_up(struct wal_stream *st, struct wal_op *op, bool may_block)
{
	op_list_push(&st->queue, op);
	if (!st->writing) {
		st->writing = true;
		drain(st, may_block);
	}
}

/* Caller holds st->lock, which is released meanwhile. What `w` can do for all while it waits. Returns until when it may sleep, as stream_leads_sync(). */
static uint64_t lead(struct wal_stream *st, struct waiting_op *w)
{
	uint64_t until_ns = 0;

	if (w->lead_write) {
		w->lead_write = false;
		drain(st, true);
	}
	if (w->finished)
		stream_kick_sync(st);
	else if (stream_leads_sync(st, &w->sleeper, &until_ns))
		stream_sync_lead(st);
	if (st->done.head && !st->calling_back)
		stream_call_back(st);
	return until_ns;
}

/* Queues the op and waits for its end, leading where it is told to, or is the first who can. */
static int wait_for(struct wal_stream *st, struct waiting_op *w)
{
	enum sleeper_news news;

	w->op.done = stream_op_wakes;
	w->finished = w->lead_write = false;
	sleeper_init(&w->sleeper);
	pthread_mutex_lock(&st->lock);
	queue_up(st, &w->op, true);
	for (;;) {
		uint64_t until_ns = lead(st, w);

		stream_unlock(st);
		news = sleeper_wait(&w->sleeper, until_ns);
		if (news == SLEEPER_ENDED)
			break;
		pthread_mutex_lock(&st->lock);
		if (news == SLEEPER_TIMEOUT)
			stream_end_gathering(st, &w->sleeper);
	}
	op_release(&w->op);
	return w->op.result;
}

/* ---- Public ---- */

static uint64_t stream_writes(struct wal_stream *st)
{
	struct stream_stats *stats = atomic_load_explicit(&st->stats, memory_order_acquire);

	return stats ? stats_get(&stats->writes) : 0;
}

/* The submitter's part of every append: what needs no lock. */
static int begin(struct wal_stream *st, struct wal_op *op)
{
	memset(&op->internal, 0, sizeof op->internal);
	if (st->engine->env.opts.ro)
		return op->count > 0 ? -EROFS : 0;
	/* Where nothing waits for the disk, the clock would cost more than the figure is worth. */
	if (stream_op_syncs(st, op) || stream_writes(st) % 16 == 0)
		op->internal.begin_ns = stats_clock();
	int result = prepare(st, op);
	if (result < 0)
		stream_count_append_error(st, result);
	return result;
}

static void submit(struct wal_stream *st, struct wal_op *op, int result)
{
	op->result = result;
	if (result < 0 || st->engine->env.opts.ro) {
		op_release(op);
		op->done(op);
		return;
	}
	stream_ref(st); /* the op's */
	stream_ref(st); /* until the lock is released: what the op or its draft held may be the last there was */
	pthread_mutex_lock(&st->lock);
	queue_up(st, op, false);
	stream_kick_sync(st);
	stream_call_back(st);
	stream_unlock(st);
	stream_unref(st);
}

void stream_submit_restored(struct wal_stream *st, struct wal_op *const *ops, const struct wal_restored *restored, size_t count)
{
	int result = 0;

	for (size_t i = 0; i < count; i++) {
		ops[i]->result = result < 0 ? -EINVAL : begin(st, ops[i]);
		if (result == 0)
			result = ops[i]->result;
		ops[i]->internal.restored = &restored[i];
		stream_ref(st); /* the op's */
	}
	stream_ref(st);
	pthread_mutex_lock(&st->lock);
	for (size_t i = 0; i < count; i++) {
		if (ops[i]->result < 0)
			op_list_push(&st->done, ops[i]);
		else
			op_list_push(&st->queue, ops[i]);
	}
	if (st->queue.head && !st->writing) {
		st->writing = true;
		drain(st, true);
	}
	stream_kick_sync(st);
	stream_call_back(st);
	stream_unlock(st);
	stream_unref(st);
}

void wal_stream_submit(struct wal_stream *st, struct wal_op *op)
{
	submit(st, op, begin(st, op));
}

void wal_stream_submit_reserved(struct wal_stream *st, struct wal_op *op, struct wal_draft *room)
{
	int result = begin(st, op);

	op->internal.draft = room;
	submit(st, op, result);
}

/* Inline: see sys_pwrite_full(). */
static int submit_and_wait(struct wal_stream *st, struct waiting_op *w, int result, uint64_t *ret_first_id)
{
	if (result < 0 || st->engine->env.opts.ro) {
		op_release(&w->op);
		return result;
	}
	result = wait_for(st, w);
	if (result == 0 && ret_first_id)
		*ret_first_id = w->op.first_id;
	return result;
}

/* What the submitter of a waiting op gives. One by one: to clear all of it first would cost as much as a fair part of an append. */
static void fill_op(struct wal_op *op, const struct iovec *entries, size_t count, unsigned flags)
{
	op->entries = entries;
	op->count = count;
	op->flags = flags;
}

int wal_stream_append(struct wal_stream *st, const void *data, size_t size, unsigned flags, uint64_t *ret_id)
{
	struct iovec entry = { (void *)data, size };
	struct waiting_op w;

	fill_op(&w.op, &entry, 1, flags & WAL_DURABLE);
	return submit_and_wait(st, &w, begin(st, &w.op), ret_id);
}

int wal_stream_append_batch(struct wal_stream *st, const struct iovec *entries, size_t count, unsigned flags, uint64_t *ret_first_id)
{
	struct waiting_op w;

	if (count == 0)
		return -EINVAL;
	fill_op(&w.op, entries, count, (flags & WAL_DURABLE) | WAL_BATCH);
	return submit_and_wait(st, &w, begin(st, &w.op), ret_first_id);
}

int wal_stream_sync(struct wal_stream *st)
{
	struct waiting_op w;

	fill_op(&w.op, NULL, 0, 0);
	return submit_and_wait(st, &w, begin(st, &w.op), NULL);
}

/* ---- Drafts ---- */

static int begin_draft(struct wal_stream *st, struct wal_draft *draft, struct wal_op *op, struct iovec *entry)
{
	struct draft_source src;

	draft_source(draft, &src);
	*entry = (struct iovec){ (void *)src.data, (size_t)src.size };
	op->entries = src.data ? entry : NULL;
	op->count = src.data ? 1 : 0;
	op->flags &= WAL_DURABLE;
	int result = begin(st, op);
	op->internal.draft = draft;
	if (!src.data)
		op->internal.frame_bytes = FRAME_HEADER_BYTES + FRAME_LENGTH_BYTES + src.size;
	return result;
}

void stream_submit_draft(struct wal_stream *st, struct wal_draft *draft, struct wal_op *op, struct iovec *entry)
{
	submit(st, op, begin_draft(st, draft, op, entry));
}

int stream_commit_draft(struct wal_stream *st, struct wal_draft *draft, unsigned flags, uint64_t *ret_id)
{
	struct waiting_op w = { .op = { .flags = flags } };
	struct iovec entry;

	return submit_and_wait(st, &w, begin_draft(st, draft, &w.op, &entry), ret_id);
}

/* ---- Workers ---- */

void stream_run_write_task(struct worker_task *task)
{
	struct wal_stream *st = container_of(task, struct wal_stream, write_task);

	pthread_mutex_lock(&st->lock);
	drain(st, true);
	stream_kick_sync(st);
	stream_call_back(st);
	stream_unlock(st);
	stream_unref(st);
}

void stream_run_sync_task(struct worker_task *task)
{
	struct wal_stream *st = container_of(task, struct wal_stream, sync_task);
	struct sleeper self;
	uint64_t until_ns;

	sleeper_init(&self);
	pthread_mutex_lock(&st->lock);
	st->leader = &self;
	/* Someone who waits anyway may have taken it over meanwhile. */
	while (st->leader == &self) {
		if (stream_leads_sync(st, &self, &until_ns) || until_ns == 0) {
			stream_sync_lead(st);
			break;
		}
		stream_unlock(st);
		enum sleeper_news news = sleeper_wait(&self, until_ns);
		pthread_mutex_lock(&st->lock);
		if (news == SLEEPER_TIMEOUT)
			stream_end_gathering(st, &self);
	}
	stream_call_back(st);
	stream_unlock(st);
	stream_unref(st);
}
