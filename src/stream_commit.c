/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Group commit. Whatever waits for durability on a stream is covered by the next fdatasync; while one runs, more frames are written and wait for the one after it. No
 * lock is held over it.
 *
 * Writers that append one entry after the other would fall into two halves then: while one half's sync runs the others come, and the first come back when those are synced. So a sync
 * that is due waits until as many are there as waited when the last one was over, those that it ended and the others (`gathering`). The last to come does it, so nobody has to be woken
 * for that; the first only sees to it that it does not wait for longer than the last sync took, nor than GATHER_NS_MAX. Writers that take their time are not worth it: when not all
 * came, the next sync does not wait, then the next three, up to 2^LOSSES_MAX - 1. Who is alone never waits: the last sync ended one append, and one is there.
 *
 * When a sync is over, someone is told to do the next before those that it ended are woken, so that the disk waits for none of them.
 *
 * Where nobody waits, some megabytes are synced behind the writers' backs: so sealing a segment need not wait for all of it to reach the disk, and a crash leaves no more than that to be read and checked at the next open.
 *
 * A failed fdatasync is never tried again: the kernel has marked the pages clean, a second one would succeed and prove nothing. The stream stops, what was
 * not committed is cut off the file so that it can't come back at the next open, and everything that waits fails with -EIO.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "stream_impl.h"

#define UNSYNCED_MAX (8ull << 20) /* bytes of the active segment: a small part of what a disk takes in a second, and much more than costs it a seek */

enum {
	GATHER_NS_MAX = 1000000,
	LOSSES_MAX = 6,
	WORTHWHILE = 4, /* one in so many has to be missing */
};

bool stream_op_syncs(const struct wal_stream *st, const struct wal_op *op)
{
	if (op->internal.restored)
		return op->flags & WAL_DURABLE;
	switch (st->engine->env.opts.sync) {
	case WAL_SYNC_STRICT:
		return true;
	case WAL_SYNC_BATCH:
		return op->flags & (WAL_DURABLE | WAL_BATCH) || op->count > 1;
	case WAL_SYNC_ASYNC:
		break;
	}
	return op->flags & WAL_DURABLE;
}

void stream_advance(struct wal_stream *st)
{
	while (st->commits.head && (!stream_op_syncs(st, st->commits.head) || st->commits.head->internal.end_id <= st->durable_id)) {
		if (st->commits.head->internal.begin_ns)
			stats_took(&stream_stats(st)->append_time, st->commits.head->internal.begin_ns);
		stream_op_finish(st, op_list_pop(&st->commits), 0);
	}
	while (st->syncs.head && st->syncs.head->internal.end_id <= st->durable_id)
		stream_op_finish(st, op_list_pop(&st->syncs), 0);
	stream_publish(st);
}

static struct wal_op *first_to_sync(const struct wal_stream *st)
{
	return st->commits.head ? st->commits.head : st->syncs.head;
}

static unsigned waiting_for_sync(const struct wal_stream *st)
{
	return st->commits.count + st->syncs.count;
}

static bool sync_is_due(const struct wal_stream *st)
{
	bool wanted = first_to_sync(st) || st->active.end - st->active.durable_end > UNSYNCED_MAX;

	return wanted && !st->syncing && st->health == WAL_HEALTHY;
}

/* ---- Gathering ---- */

/* Until when the sync that is due waits for more, who are missing; 0: it does not. */
static uint64_t decide_gathering(struct wal_stream *st)
{
	struct gathering *g = &st->gathering;
	unsigned missing = g->expected - waiting_for_sync(st);
	uint64_t until_ns = g->ended_ns + (g->sync_ns < GATHER_NS_MAX ? g->sync_ns : GATHER_NS_MAX);

	if (missing < g->expected / WORTHWHILE || stats_clock() >= until_ns)
		return 0;
	if (g->left_out > 0) {
		g->left_out--;
		return 0;
	}
	stats_add(&stream_stats(st)->sync_pauses, 1);
	return until_ns;
}

/* A sync is due: whether it is to wait still. */
static bool gathers(struct wal_stream *st)
{
	struct gathering *g = &st->gathering;

	if (waiting_for_sync(st) >= g->expected || !first_to_sync(st))
		return false;
	if (!g->decided) {
		g->decided = true;
		g->until_ns = decide_gathering(st);
		g->paused = g->until_ns != 0;
	}
	return g->until_ns != 0;
}

/* A sync begins. */
static void gathered(struct wal_stream *st)
{
	struct gathering *g = &st->gathering;

	if (g->paused) {
		g->losses = waiting_for_sync(st) >= g->expected ? 0 : g->losses < LOSSES_MAX ? g->losses + 1 : LOSSES_MAX;
		g->left_out = (1u << g->losses) - 1;
	}
	g->decided = g->paused = false;
	g->until_ns = 0;
}

void stream_end_gathering(struct wal_stream *st, const struct sleeper *self)
{
	if (st->leader == self)
		st->gathering.until_ns = 0;
}

/* A sync that began at `begin_ns` is over, and what it ends has not ended yet. */
static void expect(struct wal_stream *st, uint64_t begin_ns)
{
	struct gathering *g = &st->gathering;

	g->ended_ns = stats_clock();
	g->sync_ns = g->ended_ns - begin_ns;
	g->expected = waiting_for_sync(st);
	if (st->queue.head && stream_op_syncs(st, st->queue.head))
		g->expected += st->queue.count;
}

/* ---- Who syncs ---- */

void stream_kick_sync(struct wal_stream *st)
{
	if (!sync_is_due(st))
		return;
	bool now = !gathers(st);
	if (st->sync_assigned) {
		if (now && st->leader)
			sleeper_tell(st->leader);
		return;
	}
	struct wal_op *op = first_to_sync(st);
	st->sync_assigned = true;
	if (op && op->done == stream_op_wakes) {
		st->leader = &container_of(op, struct waiting_op, op)->sleeper;
		sleeper_tell(st->leader);
		return;
	}
	stream_ref(st);
	workers_submit(st->engine->workers, &st->sync_task);
}

bool stream_leads_sync(struct wal_stream *st, struct sleeper *self, uint64_t *ret_until_ns)
{
	*ret_until_ns = 0;
	/* A worker that was told comes to it, and its task must not be queued twice. */
	if (!sync_is_due(st) || (st->sync_assigned && !st->leader))
		return false;
	/* What nobody waits for keeps nobody who does: it may be that `self` waits to be written. */
	if (!first_to_sync(st)) {
		stream_kick_sync(st);
		return false;
	}
	bool now = !gathers(st);
	if (now || !st->sync_assigned) {
		st->sync_assigned = true;
		st->leader = self;
	}
	if (!now && st->leader == self)
		*ret_until_ns = st->gathering.until_ns;
	return now;
}

void stream_take_syncing(struct wal_stream *st)
{
	/* Those whose ops have ended do not wait for that. */
	if (st->ended.head) {
		stream_unlock(st);
		pthread_mutex_lock(&st->lock);
	}
	while (st->syncing)
		pthread_cond_wait(&st->turn, &st->lock);
	st->syncing = true;
	/*
	 * This does the sync that is due, and who was to lead that may wait for longer: to be written. Counted on still, it would not be told of the next one until all that are expected are there, nor have a time
	 * at which it wakes by itself.
	 */
	if (st->leader) {
		st->leader = NULL;
		st->sync_assigned = false;
	}
	st->gathering.until_ns = 0;
}

void stream_give_syncing(struct wal_stream *st)
{
	st->syncing = false;
	pthread_cond_broadcast(&st->turn);
}

/*
 * The times of restored entries are in the sidecar alone, where they were written before the frames. Of the others they are never far from those that the next open makes up. A temporary file in
 * its place does not outlast the process anyhow.
 */
static void sync_times(struct wal_stream *st, const struct segment *segment)
{
	struct sys *sys = st->engine->env.sys;

	pthread_mutex_lock(&st->meta_lock);
	bool wanted = st->meta_unsynced && st->meta_fd < 0;
	st->meta_unsynced = false;
	pthread_mutex_unlock(&st->meta_lock);
	int result = wanted ? sys->fdatasync(sys, segment->meta_fd) : 0;
	if (result < 0)
		log_write(&st->engine->env.log, WAL_LOG_WARNING, "stream '%s': a power failure may cost the times of entries that were restored: syncing the sidecar failed: %s",
			  st->name, wal_strerror(result));
}

static int sync_active(struct wal_stream *st)
{
	struct sys *sys = st->engine->env.sys;
	struct segment *segment;
	int result = stream_pin_active(st, &segment);

	if (result < 0)
		return result;
	sync_times(st, segment);
	result = sys->fdatasync(sys, segment->fd);
	segcache_put(st->engine->segcache, segment);
	return result;
}

void stream_count_sync(struct wal_stream *st, uint64_t begin_ns, uint64_t durable_id, int result)
{
	struct stream_stats *stats = stream_stats(st);

	stats_took(&stats->sync_time, begin_ns);
	stats_add(&stats->syncs, 1);
	if (result < 0)
		stats_add(&stats->sync_errors, 1);
	else if (durable_id > st->durable_id)
		stats_add(&stats->synced_appends, durable_id - st->durable_id);
}

void stream_mark_stopped(struct wal_stream *st, int error, const char *what)
{
	char reason[256];

	if (st->health != WAL_HEALTHY)
		return;
	st->health = WAL_STOPPED;
	st->stopping = true;
	snprintf(reason, sizeof reason, "%s failed: %s", what, wal_strerror(error));
	stream_set_reason(st, reason);
}

void stream_sync_lead(struct wal_stream *st)
{
	st->sync_assigned = false;
	st->leader = NULL;
	if (!sync_is_due(st))
		return; /* whoever syncs or stops now looks again afterwards */
	st->syncing = true;
	gathered(st);
	uint64_t id = st->next_id, end = st->active.end, frames = st->active.frames, begin_ns = stats_clock();
	pthread_mutex_unlock(&st->lock);

	int result = sync_active(st);

	pthread_mutex_lock(&st->lock);
	stream_count_sync(st, begin_ns, id, result);
	/* Before anyone else can sync: that would succeed and prove nothing. */
	if (result < 0)
		stream_mark_stopped(st, result, "syncing the active segment");
	stream_give_syncing(st);
	if (result == 0) {
		st->durable_id = id;
		st->active.durable_end = end;
		st->active.durable_frames = frames;
		expect(st, begin_ns);
		stream_advance(st);
	} else if (!st->writing) {
		st->writing = true;
		stream_give_writing(st);
	}
	/* The next sync is not to wait for what is still to be done for this one. */
	stream_kick_sync(st);
	if (st->done.head)
		stream_call_back(st);
	if (result < 0)
		return;
	stream_unlock(st);
	stream_flush_meta(st);
	pthread_mutex_lock(&st->lock);
}

void stream_stop(struct wal_stream *st)
{
	struct wal_op *op = st->commits.head;
	/* Without any, what is behind the end may be the rest of a write that could not be taken back. */
	uint64_t offset = op ? op->internal.frame_offset : (uint64_t)st->active.end;
	struct segment *segment;

	st->stopping = false;
	stream_see_cut(st);
	if (op)
		st->next_id = op->first_id;
	while ((op = op_list_pop(&st->commits)))
		stream_op_finish(st, op, -EIO);
	while ((op = op_list_pop(&st->syncs)))
		stream_op_finish(st, op, -EIO);
	stream_end_watches(st, -EIO);
	stream_unlock(st);

	log_write(&st->engine->env.log, WAL_LOG_ERROR, "stream '%s': %s; it takes no more appends until the store is opened again", st->name,
		  stream_reason(st));
	int result = stream_pin_active(st, &segment);
	if (result == 0) {
		result = stream_cut(st, segment, offset);
		segcache_put(st->engine->segcache, segment);
	}
	if (result < 0)
		log_write(&st->engine->env.log, WAL_LOG_ERROR,
			  "stream '%s': what failed could not be cut off either (%s), it may be there at the next open", st->name, wal_strerror(result));
	pthread_mutex_lock(&st->lock);
	st->active.end = offset;
}

void stream_flush_meta(struct wal_stream *st)
{
	struct sys *sys = st->engine->env.sys;
	uint8_t block[META_BLOCK_BYTES];
	struct segment *segment;

	if (stream_pin_active(st, &segment) < 0)
		return;
	pthread_mutex_lock(&st->meta_lock);
	pthread_mutex_lock(&st->lock);
	/* Not of a segment that was left meanwhile; and what a stopped stream has in memory is not in the file. */
	bool wanted = segment->first_id == st->active.first_id && st->health == WAL_HEALTHY;
	uint64_t block_no = st->meta.block_no, durable = st->active.durable_end, id = st->meta.at.id;
	size_t used = st->meta.used;
	memcpy(block, st->meta.block, META_OFF_RECORDS + used);
	pthread_mutex_unlock(&st->lock);
	/* The appender may have written this block in full already, or ahead of the frames, and not published it yet. */
	if (wanted && block_no >= st->meta_full && id >= st->meta_ahead) {
		meta_block_seal(block, used, durable);
		sys_pwrite_full(sys, st->meta_fd >= 0 ? st->meta_fd : segment->meta_fd, block, sizeof block, block_no * META_BLOCK_BYTES);
		st->meta_flushed_ns = sys->now(sys);
	}
	pthread_mutex_unlock(&st->meta_lock);
	segcache_put(st->engine->segcache, segment);
}

void stream_meta_write_ahead(struct wal_stream *st, int fd, const struct meta_writer *w)
{
	uint8_t block[META_BLOCK_BYTES];

	memcpy(block, w->block, META_OFF_RECORDS + w->used);
	meta_block_seal(block, w->used, w->durable);
	LOCKED_SCOPE(&st->meta_lock);
	st->meta_ahead = w->at.id;
	st->meta_unsynced = true;
	sys_pwrite_full(st->engine->env.sys, fd, block, sizeof block, w->block_no * META_BLOCK_BYTES);
}

void stream_meta_take_back(struct wal_stream *st, int fd)
{
	struct sys *sys = st->engine->env.sys;

	/* The holder of `writing` alone changes st->meta, and that is the caller. */
	pthread_mutex_lock(&st->meta_lock);
	st->meta_ahead = 0;
	st->meta_full = st->meta.block_no;
	sys->ftruncate(sys, fd, (st->meta.block_no + 1) * META_BLOCK_BYTES);
	pthread_mutex_unlock(&st->meta_lock);
	stream_flush_meta(st);
}
