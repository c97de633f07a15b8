/* SPDX-License-Identifier: Apache-2.0 */
/* Making checkpoints, and what else can be asked of them. The crash order of making one: everything below the cut durable (cut.c), then the record, then HEAD (see ckptlog.h). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "cut.h"
#include "names.h"
#include "options.h"

/* ---- Making one ---- */

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

static int record(struct wal_store *store, const struct cut *cut, const struct wal_checkpoint *cp, bool given, unsigned flags, struct wal_error *err)
{
	int result = cut_record(store, cut, cp, given, flags);

	if (result == -EEXIST)
		return refuse_present(cp->id, cp->id_size, err);
	if (result == -EINVAL && given)
		return error_set(err, result, NAME_CHECKPOINTS_LOG, "no checkpoint: another one has the same time");
	if (result == -ENOENT && given)
		return error_set(err, -EINVAL, store->path, "no checkpoint: one of its streams has been deleted meanwhile");
	return result < 0 ? error_set(err, result, NAME_CHECKPOINTS_LOG, "no checkpoint: cannot record it: %s", wal_strerror(result)) : 0;
}

/* `given`: with the time and the cuts that it has. */
static int make(struct wal_store *store, const struct wal_checkpoint *cp, bool given, unsigned flags, struct wal_error *err)
{
	int result = check_id(cp->id, cp->id_size, err);
	uint64_t begin_ns = stats_clock();
	struct cut cut;

	if (result < 0)
		return result;
	if (store->engine.env.opts.ro)
		return error_set(err, -EROFS, store->path, "no checkpoint: the store is open for reading only");
	if ((flags & WAL_EXCL) && check_exclusive(store, cp->id, cp->id_size) < 0)
		return refuse_present(cp->id, cp->id_size, err);
	result = given ? cut_given(store, cp, &cut, err) : cut_take(store, &cut, err);
	if (result == 0)
		result = cut_sync(&cut, err);
	if (result == 0)
		result = record(store, &cut, cp, given, flags, err);
	cut_release(&cut);
	LOCKED_SCOPE(&store->cut_lock);
	stats_add(result == 0 ? &store->checkpoints_made : &store->checkpoint_errors, 1);
	stats_took(&store->checkpoint_time, begin_ns);
	return result;
}

int wal_checkpoint_create(struct wal_store *store, const void *id, size_t id_size, unsigned flags, struct wal_error *err)
{
	return make(store, &(struct wal_checkpoint){ .id = id, .id_size = id_size }, false, flags, err);
}

int wal_checkpoint_restore(struct wal_store *store, const struct wal_checkpoint *cp, unsigned flags, struct wal_error *err)
{
	return make(store, cp, true, flags, err);
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
