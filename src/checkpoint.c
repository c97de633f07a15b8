/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints: the cut over all streams, and what is done with it.
 *
 * A cut needs the next ids of all streams as of one instant, and no writer is to wait for it. The instant is that at which engine.cut_epoch goes up. Each append looks at the epoch when it
 * gives out its ids, under its stream's lock; the first that sees a new one notes where the stream stood before it (stream_see_cut()). The cut then goes from
 * stream to stream and takes what was noted, or if no append has come since, where the stream stands.
 *
 * So an append is in the cut if and only if it saw the old epoch. One that was acknowledged before the cut began saw it. If B is in the cut and was submitted after A was
 * acknowledged, then A looked at the epoch before B did, and an atomic number that goes up only is never seen to go down: A is in the cut too.
 *
 * The crash order of a checkpoint: everything below the cut durable, then the record, then HEAD (see ckptlog.h).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "names.h"
#include "options.h"
#include "store_impl.h"

/* ---- The cut ---- */

struct cut_stream {
	struct wal_op op; /* syncs it */
	struct cut *cut;
	struct wal_stream *stream;
	uint64_t next_id;
};

struct cut {
	struct cut_stream *streams;
	size_t count;

	pthread_mutex_t lock;
	pthread_cond_t done;
	size_t pending; /* protected by lock */
};

static void cut_release(struct cut *cut)
{
	for (size_t i = 0; i < cut->count; i++)
		wal_stream_close(cut->streams[i].stream);
	free(cut->streams);
	pthread_cond_destroy(&cut->done);
	pthread_mutex_destroy(&cut->lock);
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

static bool is_covered(const struct wal_store *store, const struct wal_stream *st)
{
	uint32_t shard;

	return store->shards == 0 || (name_is_shard(st->name, &shard) && shard < store->shards);
}

static int cut_take(struct wal_store *store, struct cut *cut)
{
	LOCKED_SCOPE(&store->cut_lock);
	uint64_t epoch = atomic_fetch_add(&store->engine.cut_epoch, 1) + 1;
	size_t count;
	CLEANUP_FREE struct wal_stream **streams = store_all_streams(store, &count);

	*cut = (struct cut){ 0 };
	pthread_mutex_init(&cut->lock, NULL);
	pthread_cond_init(&cut->done, NULL);
	cut->streams = streams ? calloc(count + 1, sizeof *cut->streams) : NULL;
	for (size_t i = 0; streams && i < count; i++) {
		struct cut_stream *cs = cut->streams ? &cut->streams[cut->count] : NULL;

		if (cs && is_covered(store, streams[i]) && take_next_id(streams[i], epoch, &cs->next_id)) {
			cs->cut = cut;
			cs->stream = streams[i];
			cut->count++;
		} else {
			wal_stream_close(streams[i]);
		}
	}
	if (!cut->streams)
		return -ENOMEM;
	qsort(cut->streams, cut->count, sizeof *cut->streams, store->shards > 0 ? compare_shards : compare_streams);
	return 0;
}

/* ---- Making it durable ---- */

static void sync_done(struct wal_op *op)
{
	struct cut_stream *cs = container_of(op, struct cut_stream, op);
	struct cut *cut = cs->cut;

	LOCKED_SCOPE(&cut->lock);
	if (--cut->pending == 0)
		pthread_cond_signal(&cut->done);
}

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
static int cut_sync(struct cut *cut, struct wal_error *err)
{
	int first_error = 0;

	for (size_t i = 0; i < cut->count; i++) {
		struct cut_stream *cs = &cut->streams[i];

		if (is_durable(cs))
			continue;
		pthread_mutex_lock(&cut->lock);
		cut->pending++;
		pthread_mutex_unlock(&cut->lock);
		cs->op = (struct wal_op){ .done = sync_done };
		wal_stream_submit(cs->stream, &cs->op);
	}
	pthread_mutex_lock(&cut->lock);
	while (cut->pending > 0)
		pthread_cond_wait(&cut->done, &cut->lock);
	pthread_mutex_unlock(&cut->lock);
	for (size_t i = 0; i < cut->count; i++) {
		struct cut_stream *cs = &cut->streams[i];
		int result = cs->op.result;

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

/* Streams that were deleted meanwhile are left out: another one of their name is not what was cut. */
static int cut_record(struct wal_store *store, const struct cut *cut, struct wal_checkpoint *cp, unsigned flags)
{
	LOCKED_SCOPE(&store->change_lock);
	CLEANUP_FREE struct wal_cut *cuts = calloc(cut->count + 1, sizeof *cuts);
	int64_t time_ns;

	if (!cuts)
		return -ENOMEM;
	cp->cuts = cuts;
	cp->cut_count = 0;
	for (size_t i = 0; i < cut->count; i++) {
		struct wal_stream *st = cut->streams[i].stream;

		pthread_mutex_lock(&st->lock);
		if (!st->deleted)
			cuts[cp->cut_count++] = (struct wal_cut){ st->name, cut->streams[i].next_id };
		pthread_mutex_unlock(&st->lock);
	}
	return ckptlog_append(store->checkpoints, cp, store->shards, flags, &time_ns);
}

/* As much of the id as a message has room for. */
static const char *printable(char *buf, size_t room, const void *id, size_t id_size)
{
	const uint8_t *bytes = id;
	size_t n = 0;

	for (; n < id_size && n + 4 < room; n++)
		buf[n] = bytes[n] >= 0x20 && bytes[n] < 0x7f ? (char)bytes[n] : '?';
	strcpy(buf + n, n < id_size ? "..." : "");
	return buf;
}

static int refuse_present(const void *id, size_t id_size, struct wal_error *err)
{
	char text[128];

	return error_set(err, -EEXIST, NAME_CHECKPOINTS_LOG, "there is a checkpoint '%s'", printable(text, sizeof text, id, id_size));
}

static int check_id(const void *id, size_t id_size, struct wal_error *err)
{
	if (id && id_size > 0 && id_size <= WAL_CHECKPOINT_ID_MAX)
		return 0;
	return error_set(err, -EINVAL, NULL, "a checkpoint's id has 1 to %d bytes, not %zu", WAL_CHECKPOINT_ID_MAX, id ? id_size : 0);
}

/* Before the work; ckptlog_append() looks again. */
static int check_exclusive(struct wal_store *store, const void *id, size_t id_size)
{
	struct wal_checkpoint *there;
	int result = ckptlog_load(store->checkpoints, id, id_size, &there);

	if (result == 0)
		free(there);
	return result == WAL_NOT_FOUND ? 0 : -EEXIST;
}

int wal_checkpoint_create(struct wal_store *store, const void *id, size_t id_size, unsigned flags, struct wal_error *err)
{
	struct wal_checkpoint cp = { .id = id, .id_size = id_size };
	int result = check_id(id, id_size, err);
	uint64_t begin_ns = stats_clock();
	struct cut cut;

	if (result < 0)
		return result;
	if (store->engine.env.opts.ro)
		return error_set(err, -EROFS, store->path, "no checkpoint: the store is open for reading only");
	if ((flags & WAL_EXCL) && check_exclusive(store, id, id_size) < 0)
		return refuse_present(id, id_size, err);
	result = cut_take(store, &cut);
	if (result < 0)
		error_set(err, result, store->path, "no checkpoint: %s", wal_strerror(result));
	else
		result = refuse_quarantined(&cut, err);
	if (result == 0)
		result = cut_sync(&cut, err);
	if (result == 0) {
		result = cut_record(store, &cut, &cp, flags);
		if (result == -EEXIST)
			refuse_present(id, id_size, err);
		else if (result < 0)
			error_set(err, result, NAME_CHECKPOINTS_LOG, "no checkpoint: cannot record it: %s", wal_strerror(result));
	}
	cut_release(&cut);
	LOCKED_SCOPE(&store->cut_lock);
	stats_add(result == 0 ? &store->checkpoints_made : &store->checkpoint_errors, 1);
	stats_took(&store->checkpoint_time, begin_ns);
	return result;
}

/* ---- The rest ---- */

int wal_checkpoint_load(struct wal_store *store, const void *id, size_t id_size, struct wal_checkpoint **ret_checkpoint)
{
	return ckptlog_load(store->checkpoints, id, id_size, ret_checkpoint);
}

int wal_checkpoint_latest(struct wal_store *store, struct wal_checkpoint **ret_checkpoint)
{
	return ckptlog_latest(store->checkpoints, ret_checkpoint);
}

int wal_checkpoint_list(struct wal_store *store, struct wal_checkpoint **ret_checkpoints, size_t *ret_count)
{
	return ckptlog_list(store->checkpoints, ret_checkpoints, ret_count);
}

size_t wal_checkpoint_count(struct wal_store *store)
{
	return ckptlog_count(store->checkpoints);
}

uint64_t wal_checkpoint_version(struct wal_store *store)
{
	return ckptlog_version(store->checkpoints);
}

static int compare_cuts(const void *a, const void *b)
{
	const struct wal_cut *x = a, *y = b;

	return strcmp(x->stream, y->stream);
}

int wal_checkpoint_find(const struct wal_checkpoint *cp, const char *stream, uint64_t *ret_next_id)
{
	const struct wal_cut wanted = { .stream = stream }, *cut = NULL;
	uint32_t shard;

	/* Those of shards stand in the order of their numbers, which from 100 on is not that of their names. */
	if (name_is_shard(stream, &shard) && shard < cp->cut_count && strcmp(cp->cuts[shard].stream, stream) == 0)
		cut = &cp->cuts[shard];
	else if (cp->cut_count > 0)
		cut = bsearch(&wanted, cp->cuts, cp->cut_count, sizeof *cp->cuts, compare_cuts);
	if (!cut)
		return WAL_NOT_FOUND;
	*ret_next_id = cut->next_id;
	return 0;
}

int wal_checkpoint_remove(struct wal_store *store, const void *id, size_t id_size)
{
	return store->engine.env.opts.ro ? -EROFS : ckptlog_remove(store->checkpoints, id, id_size);
}

int wal_checkpoint_compact(struct wal_store *store, size_t keep, size_t *ret_removed)
{
	if (keep == 0)
		return -EINVAL;
	return store->engine.env.opts.ro ? -EROFS : ckptlog_compact(store->checkpoints, keep, ret_removed);
}

/*
 * The checkpoint and handles on its streams, one for each cut (NULL: it is gone), of one moment: a stream that is made later under the name of one that was deleted is not meant.
 */
static int load_with_streams(struct wal_store *store, const void *id, size_t id_size, struct wal_checkpoint **ret_cp, struct wal_stream ***ret_streams)
{
	LOCKED_SCOPE(&store->change_lock);
	struct wal_checkpoint *cp;
	int result = ckptlog_load(store->checkpoints, id, id_size, &cp);

	if (result != 0)
		return result;
	struct wal_stream **streams = calloc(cp->cut_count + 1, sizeof *streams);
	if (!streams) {
		free(cp);
		return -ENOMEM;
	}
	for (size_t i = 0; i < cp->cut_count; i++)
		streams[i] = store_get_stream(store, cp->cuts[i].stream);
	*ret_cp = cp;
	*ret_streams = streams;
	return 0;
}

int wal_checkpoint_prune_before(struct wal_store *store, const void *id, size_t id_size, struct wal_prune_result *ret, struct wal_error *err)
{
	struct wal_prune_result pruned = { 0 };
	struct wal_stream **streams;
	struct wal_checkpoint *cp;
	int first_error = 0;

	if (ret)
		*ret = pruned;
	if (store->engine.env.opts.ro)
		return error_set(err, -EROFS, store->path, "nothing pruned: the store is open for reading only");
	int result = load_with_streams(store, id, id_size, &cp, &streams);
	if (result != 0)
		return result < 0 ? error_set(err, result, store->path, "nothing pruned: cannot load the checkpoint: %s", wal_strerror(result)) : result;
	for (size_t i = 0; i < cp->cut_count; i++) {
		uint64_t segments = 0;

		if (!streams[i])
			continue;
		result = wal_stream_prune(streams[i], cp->cuts[i].next_id, &segments);
		pruned.streams += segments > 0;
		pruned.segments += segments;
		if (result < 0 && result != -ENOENT && first_error == 0)
			first_error = error_set(err, result, cp->cuts[i].stream, "stream '%s' could not be pruned: %s", cp->cuts[i].stream,
						wal_strerror(result));
		wal_stream_close(streams[i]);
	}
	free(streams);
	free(cp);
	if (ret)
		*ret = pruned;
	return first_error;
}
