/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dropping the oldest segments.
 *
 * The crash order:
 *	1	segments.idx is replaced by one without them
 *	2	in memory they are gone: nobody finds a way to them any more
 *	3	oldest first: the segment is unlinked, the directory fsynced, its sidecar unlinked
 *
 * The sidecar goes last, as a segment that a crash brings back without it would have lost the times of its entries; one that is left behind goes at the next open.
 * The directory is synced after each, because without that a crash could keep the removal of a later one and lose that of an earlier one, and ids would be missing in the middle. So
 * a crash leaves the files from some id on, and those are the truth for the next open: it finds older segments than the index lists, and lists them again. ironwal goes by the index, which
 * never names one that is not there.
 *
 * Step 1 needs `writing`, since a rotation changes the index too. Step 3 needs only `pruning`: appends go on.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "names.h"
#include "stream_impl.h"

/* How many segments are wholly below `id`. Caller holds st->lock. */
static size_t count_below(const struct wal_stream *st, uint64_t id)
{
	size_t count = 0;

	while (count + 1 < st->segments.count && st->segments.ids[count + 1] <= id)
		count++;
	return count;
}

/* Step 1. Caller holds both tokens, and no lock. */
static int replace_index(struct wal_stream *st, size_t drop)
{
	struct sys *sys = st->engine->env.sys;
	const struct id_array rest = { .ids = st->segments.ids + drop, .count = st->segments.count - drop };
	int dir_fd = segment_open_dir(&st->engine->env, st->name);

	if (dir_fd < 0)
		return dir_fd;
	int result = segindex_store(sys, dir_fd, &rest, 0600);
	sys_close(sys, &dir_fd);
	return result;
}

/* Removes the sidecars of those that are to go: they are only caches. */
static int remove_sidecars(struct wal_stream *st, size_t drop)
{
	struct sys *sys = st->engine->env.sys;
	int dir_fd = segment_open_dir(&st->engine->env, st->name);
	char name[NAME_SEGMENT_MAX];

	if (dir_fd < 0)
		return dir_fd;
	for (size_t i = 0; i < drop; i++) {
		segcache_forget(st->engine->segcache, st->key, st->segments.ids[i]);
		sys->unlinkat(sys, dir_fd, name_meta(name, st->segments.ids[i]), 0);
	}
	int result = sys->fsync(sys, dir_fd);
	sys_close(sys, &dir_fd);
	return result;
}

static bool is_full(int result)
{
	return result == -ENOSPC || result == -EDQUOT;
}

/*
 * Step 1 where the disk is full, and pruning is what would make room: what the log itself can spare is given back first. Caller holds both tokens, and no lock.
 */
static int replace_index_on_full_disk(struct wal_stream *st, size_t drop)
{
	int result = stream_give_back_space(st);

	if (result == 0)
		result = replace_index(st, drop);
	if (is_full(result)) {
		result = remove_sidecars(st, drop);
		if (result == 0)
			result = replace_index(st, drop);
	}
	return result;
}

/* Step 2. Caller holds st->lock. */
static void drop_from_memory(struct wal_stream *st, size_t drop)
{
	st->segments.count -= drop;
	memmove(st->segments.ids, st->segments.ids + drop, st->segments.count * sizeof *st->segments.ids);
	if (st->sums_count > drop) {
		st->sums_count -= drop;
		memmove(st->sums, st->sums + drop, st->sums_count * sizeof *st->sums);
	} else if (st->sums_count > 0) {
		/* Someone has begun to add them up meanwhile. No offset has been given out, so they can begin anew. */
		st->sums_count = 1;
		st->sums[0] = 0;
	}
	stream_publish(st);
}

/* Steps 1 and 2. Caller holds both tokens and st->lock, which is released meanwhile. */
static int drop_below(struct wal_stream *st, uint64_t id)
{
	size_t drop = count_below(st, id), doomed = st->doomed.count;
	/* If offsets have been given out, those of what stays must be known before what they count from is gone. */
	int result = drop > 0 && st->sums_count > 0 ? stream_complete_sums(st) : 0;

	for (size_t i = 0; i < drop && result == 0; i++)
		result = id_array_push(&st->doomed, st->segments.ids[i]);
	if (drop > 0 && result == 0) {
		pthread_mutex_unlock(&st->lock);
		result = replace_index(st, drop);
		if (is_full(result))
			result = replace_index_on_full_disk(st, drop);
		pthread_mutex_lock(&st->lock);
		/* It may have been replaced all the same. */
		st->index_unsure = result < 0;
	}
	if (result < 0)
		st->doomed.count = doomed;
	else
		drop_from_memory(st, drop);
	return result;
}

static int remove_segment(struct wal_stream *st, int dir_fd, uint64_t id)
{
	struct sys *sys = st->engine->env.sys;
	char name[NAME_SEGMENT_MAX];
	int result = sys->unlinkat(sys, dir_fd, name_segment(name, id), 0);

	if (result == 0 || result == -ENOENT)
		result = sys->fsync(sys, dir_fd);
	if (result == 0)
		result = sys->unlinkat(sys, dir_fd, name_meta(name, id), 0);
	return result == -ENOENT ? 0 : result;
}

/* Step 3. */
int stream_remove_doomed(struct wal_stream *st, uint64_t *ret_removed)
{
	struct sys *sys = st->engine->env.sys;
	int dir_fd = st->doomed.count > 0 ? segment_open_dir(&st->engine->env, st->name) : -1;
	int result = st->doomed.count > 0 && dir_fd < 0 ? dir_fd : 0;
	size_t removed = 0;

	for (; removed < st->doomed.count && result == 0; removed += result == 0) {
		result = remove_segment(st, dir_fd, st->doomed.ids[removed]);
		/* Now no reader can open it any more. */
		segcache_forget(st->engine->segcache, st->key, st->doomed.ids[removed]);
	}
	st->doomed.count -= removed;
	if (removed > 0)
		memmove(st->doomed.ids, st->doomed.ids + removed, st->doomed.count * sizeof *st->doomed.ids);
	stats_add_shared(&stream_stats(st)->pruned_segments, removed);
	*ret_removed = removed;
	sys_close(sys, &dir_fd);
	return result;
}

void stream_take_pruning(struct wal_stream *st)
{
	while (st->pruning)
		pthread_cond_wait(&st->turn, &st->lock);
	st->pruning = true;
}

void stream_give_pruning(struct wal_stream *st)
{
	st->pruning = false;
	pthread_cond_broadcast(&st->turn);
}

int wal_stream_prune(struct wal_stream *st, uint64_t id, uint64_t *ret_segments)
{
	uint64_t removed = 0;
	int result;

	if (ret_segments)
		*ret_segments = 0;
	if (st->engine->env.opts.ro)
		return -EROFS;
	pthread_mutex_lock(&st->lock);
	stream_take_pruning(st);
	result = stream_take_writing(st);
	if (result == 0) {
		result = drop_below(st, id);
		stream_give_writing(st);
	}
	stream_give_pruning(st);
	/* What ended meanwhile is not to wait for files to be removed; and with the token held a callback could wait for someone who waits for that. */
	stream_call_back(st);
	if (result == 0) {
		stream_take_pruning(st);
		/* Deleted in between, its directory may be another stream's by now. With the token held it cannot be. */
		result = st->deleted ? -ENOENT : 0;
		pthread_mutex_unlock(&st->lock);
		if (result == 0)
			result = stream_remove_doomed(st, &removed);
		pthread_mutex_lock(&st->lock);
		stream_give_pruning(st);
	}
	pthread_mutex_unlock(&st->lock);
	if (ret_segments)
		*ret_segments = removed;
	return result;
}

int wal_stream_segments(struct wal_stream *st, uint64_t **ret_first_ids, size_t *ret_count)
{
	LOCKED_SCOPE(&st->lock);
	uint64_t *ids = calloc(st->segments.count, sizeof *ids);

	if (!ids)
		return -ENOMEM;
	memcpy(ids, st->segments.ids, st->segments.count * sizeof *ids);
	*ret_first_ids = ids;
	*ret_count = st->segments.count;
	return 0;
}
