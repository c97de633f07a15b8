/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cut needs the next ids of all streams as of one instant, and no writer is to wait for it. The instant is that at which engine.cut_epoch goes up. Each append looks at the epoch when it
 * gives out its ids, under its stream's lock; the first that sees a new one notes where the stream stood before it (stream_see_cut()). The cut then goes from
 * stream to stream and takes what was noted, or if no append has come since, where the stream stands.
 *
 * So an append is in the cut if and only if it saw the old epoch. One that was acknowledged before the cut began saw it. If B is in the cut and was submitted after A was
 * acknowledged, then A looked at the epoch before B did, and an atomic number that goes up only is never seen to go down: A is in the cut too.
 */
#include "cut.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "names.h"

/* ---- The cut ---- */

void cut_release(struct cut *cut)
{
	for (size_t i = 0; i < cut->count; i++)
		wal_stream_close(cut->streams[i].stream);
	free(cut->streams);
}

/* Whether the stream was there when the epoch began, and where it stood. */
static bool take_next_id(struct wal_stream *st, uint64_t epoch, uint64_t *ret_next_id)
{
	LOCKED_SCOPE(&st->lock);
	stream_see_cut(st);
	*ret_next_id = st->cut_id;
	return st->born_epoch < epoch && !st->deleted;
}

static int compare_streams(const void *a, const void *b)
{
	const struct cut_stream *x = a, *y = b;

	return strcmp(x->stream->name, y->stream->name);
}

/* Of a sharded store the shards only, in their order, which is not that of their names. */
static int compare_shards(const void *a, const void *b)
{
	const struct cut_stream *x = a, *y = b;
	uint32_t m = 0, n = 0;

	name_is_shard(x->stream->name, &m);
	name_is_shard(y->stream->name, &n);
	return m < n ? -1 : m > n;
}

static void sort_streams(const struct wal_store *store, struct cut *cut)
{
	qsort(cut->streams, cut->count, sizeof *cut->streams, store->shards > 0 ? compare_shards : compare_streams);
}

static bool is_covered(const struct wal_store *store, const struct wal_stream *st)
{
	uint32_t shard;

	return store->shards == 0 || (name_is_shard(st->name, &shard) && shard < store->shards);
}

int cut_take(struct wal_store *store, struct cut *cut, struct wal_error *err)
{
	LOCKED_SCOPE(&store->cut_lock);
	uint64_t epoch = atomic_fetch_add(&store->engine.cut_epoch, 1) + 1;
	size_t count;
	CLEANUP_FREE struct wal_stream **streams = store_all_streams(store, &count);

	*cut = (struct cut){ 0 };
	cut->streams = streams ? calloc(count + 1, sizeof *cut->streams) : NULL;
	for (size_t i = 0; streams && i < count; i++) {
		struct cut_stream *cs = cut->streams ? &cut->streams[cut->count] : NULL;

		if (cs && is_covered(store, streams[i]) && take_next_id(streams[i], epoch, &cs->next_id)) {
			cs->stream = streams[i];
			cut->count++;
		} else {
			wal_stream_close(streams[i]);
		}
	}
	if (!cut->streams)
		return error_set(err, -ENOMEM, store->path, "no checkpoint: %s", wal_strerror(-ENOMEM));
	sort_streams(store, cut);
	return 0;
}

/* ---- As a checkpoint had it ---- */

static int no_such_stream(const struct wal_store *store, const char *name, struct wal_error *err)
{
	return error_set(err, -EINVAL, name, store->shards > 0 ? "no checkpoint: the store has no shard '%s'" : "no checkpoint: there is no stream '%s'", name);
}

int cut_given(struct wal_store *store, const struct wal_checkpoint *cp, struct cut *cut, struct wal_error *err)
{
	uint64_t next;

	*cut = (struct cut){ 0 };
	cut->streams = calloc(cp->cut_count + 1, sizeof *cut->streams);
	if (!cut->streams)
		return error_set(err, -ENOMEM, store->path, "no checkpoint: %s", wal_strerror(-ENOMEM));
	for (size_t i = 0; i < cp->cut_count; i++) {
		const struct wal_cut *given = &cp->cuts[i];
		struct wal_stream *st = store_get_stream(store, given->stream);

		if (!st)
			return no_such_stream(store, given->stream, err);
		cut->streams[cut->count++] = (struct cut_stream){ .stream = st, .next_id = given->next_id };
		wal_stream_bounds(st, NULL, &next, NULL);
		if (given->next_id > next)
			return error_set(err, -EINVAL, st->name, "no checkpoint: stream '%s' ends before id %" PRIu64 ", not %" PRIu64, st->name, next, given->next_id);
	}
	sort_streams(store, cut);
	for (size_t i = 1; i < cut->count; i++) {
		if (cut->streams[i].stream == cut->streams[i - 1].stream)
			return error_set(err, -EINVAL, cut->streams[i].stream->name, "no checkpoint: stream '%s' is in it twice", cut->streams[i].stream->name);
	}
	if (store->shards > 0 && cut->count != store->shards)
		return error_set(err, -EINVAL, store->path, "no checkpoint: it has to have all %u shards, not %zu", store->shards, cut->count);
	return 0;
}

/* ---- Making it durable ---- */

/* One that could not be opened: what it holds is not known, so no cut is. */
static int refuse_quarantined(const struct cut *cut, struct wal_error *err)
{
	for (size_t i = 0; i < cut->count; i++) {
		const struct wal_stream *st = cut->streams[i].stream;

		if (st->quarantined)
			return error_set(err, -EIO, st->name, "no checkpoint: it is not known what stream '%s' holds: %s", st->name, stream_reason(st));
	}
	return 0;
}

/* A stream that is stopped but for what was durable already does not stand in the way. */
static bool is_durable(struct cut_stream *cs)
{
	uint64_t durable;

	wal_stream_bounds(cs->stream, NULL, NULL, &durable);
	return durable >= cs->next_id;
}

/* Syncs all streams that need it, at once. */
int cut_sync(struct cut *cut, struct wal_error *err)
{
	int first_error = refuse_quarantined(cut, err);
	struct syncs syncs;

	if (first_error < 0)
		return first_error;
	syncs_begin(&syncs);
	for (size_t i = 0; i < cut->count; i++) {
		struct cut_stream *cs = &cut->streams[i];

		cs->durable = is_durable(cs);
		if (!cs->durable)
			syncs_add(&syncs, &cs->sync, cs->stream);
	}
	syncs_wait(&syncs);
	for (size_t i = 0; i < cut->count; i++) {
		struct cut_stream *cs = &cut->streams[i];
		int result = cs->sync.op.result;

		if (cs->durable)
			continue;
		/* What failed and was never visible is no reason; what is gone with its stream is none either. */
		if (result == 0 && !is_durable(cs))
			result = -EIO;
		if (result < 0 && result != -ENOENT && first_error == 0)
			first_error = error_set(err, result, cs->stream->name, "no checkpoint: stream '%s' could not be synced up to id %" PRIu64 ": %s",
						cs->stream->name, cs->next_id, wal_strerror(result));
	}
	return first_error;
}

/* ---- Recording it ---- */

int cut_record(struct wal_store *store, const struct cut *cut, const struct wal_checkpoint *cp, bool given, unsigned flags)
{
	LOCKED_SCOPE(&store->change_lock);
	CLEANUP_FREE struct wal_cut *cuts = calloc(cut->count + 1, sizeof *cuts);
	struct wal_checkpoint record = *cp;

	if (!cuts)
		return -ENOMEM;
	record.cuts = cuts;
	record.cut_count = 0;
	for (size_t i = 0; i < cut->count; i++) {
		struct wal_stream *st = cut->streams[i].stream;

		/* Another one of its name is not what was cut. */
		pthread_mutex_lock(&st->lock);
		bool deleted = st->deleted;
		pthread_mutex_unlock(&st->lock);
		if (deleted && given)
			return -ENOENT;
		if (!deleted)
			cuts[record.cut_count++] = (struct wal_cut){ st->name, cut->streams[i].next_id };
	}
	return given ? ckptlog_restore(store->checkpoints, &record, store->shards, flags) :
		       ckptlog_append(store->checkpoints, &record, store->shards, flags, NULL);
}
