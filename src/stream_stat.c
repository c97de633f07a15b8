/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Figures of a stream, and the stream as one text.
 *
 * st->sums[i] is the number of payload bytes before segment i, counted from the first one retained when they are first asked for. They are then added up from the
 * sidecars: sums_count of them are known. A prune drops the leading ones and leaves the others as they are, so offsets never move.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "names.h"
#include "stream_impl.h"

/* The payload bytes of the sealed segment that begins with `first_id`. */
static int sealed_bytes(struct wal_stream *st, uint64_t first_id, uint64_t *ret_bytes)
{
	struct stream_view view;
	struct meta_cursor c;
	struct meta_pos end;
	int result = stream_view_open(st, first_id, &view);

	/* One that can't be opened has no readable entries. */
	*ret_bytes = 0;
	if (result != 0)
		return result == -EBADMSG ? 0 : result;
	result = meta_cursor_seek(&c, &view.meta, META_BY_FRAME_OFFSET, UINT64_MAX);
	if (result == 0)
		result = meta_cursor_end(&c, &end);
	stream_view_release(&view);
	if (result == 0)
		*ret_bytes = end.bytes;
	return result == WAL_NOT_FOUND ? -EBADMSG : result;
}

/* Caller holds st->lock. */
static int sums_push(struct wal_stream *st, uint64_t sum)
{
	uint64_t *sums = reallocarray(st->sums, st->sums_count + 1, sizeof *sums);

	if (!sums)
		return -ENOMEM;
	st->sums = sums;
	st->sums[st->sums_count++] = sum;
	return 0;
}

int stream_complete_sums(struct wal_stream *st)
{
	int result = st->sums_count == 0 ? sums_push(st, 0) : 0;

	while (result == 0 && st->sums_count < st->segments.count) {
		size_t known = st->sums_count;
		uint64_t id = st->segments.ids[known - 1], bytes;

		pthread_mutex_unlock(&st->lock);
		result = sealed_bytes(st, id, &bytes);
		pthread_mutex_lock(&st->lock);
		if (result == WAL_PRUNED) { /* just now */
			result = 0;
			continue;
		}
		/* Another thread may have been at it as well, or a prune. */
		if (result == 0 && st->sums_count == known && known < st->segments.count && st->segments.ids[known - 1] == id)
			result = sums_push(st, st->sums[known - 1] + bytes);
	}
	return result;
}

/* Where entry `id` begins and ends in the text; it is visible. */
static int extent_of(struct wal_stream *st, uint64_t id, uint64_t *ret_begin, uint64_t *ret_end)
{
	struct stream_view view;
	struct meta_cursor c;
	struct meta_entry e;

	pthread_mutex_lock(&st->lock);
	int result = stream_complete_sums(st);
	ssize_t index = result == 0 ? id_array_find(&st->segments, id) : -1;
	uint64_t sum = index >= 0 ? st->sums[index] : 0;
	pthread_mutex_unlock(&st->lock);
	if (result != 0)
		return result;
	/* A damaged entry has a place in the text too: an empty one. */
	*ret_begin = *ret_end = sum;
	result = stream_view_open(st, id, &view);
	if (result != 0)
		return result == -EBADMSG ? 0 : result;
	result = stream_view_find(&view, id, &c, &e);
	stream_view_release(&view);
	if (result == -EBADMSG && e.gap)
		result = 0;
	if (result == 0) {
		*ret_begin = sum + e.bytes;
		*ret_end = *ret_begin + e.size;
	}
	return result;
}

/* WAL_PRUNED also if it was only in the way that something else was. */
static int offset_of(struct wal_stream *st, uint64_t id, uint64_t *ret_offset)
{
	uint64_t first, next, begin, end;

	wal_stream_bounds(st, &first, &next, NULL);
	if (id < first)
		return WAL_PRUNED;
	if (id > next)
		return WAL_NOT_FOUND;
	if (first == next) {
		/* Nothing was retained, so a segment began there, whatever was appended, sealed or pruned since. */
		pthread_mutex_lock(&st->lock);
		int result = stream_complete_sums(st);
		ssize_t index = result == 0 ? id_array_find(&st->segments, id) : -1;
		if (index >= 0)
			*ret_offset = st->sums[index];
		pthread_mutex_unlock(&st->lock);
		return result == 0 && index < 0 ? WAL_PRUNED : result;
	}
	int result = extent_of(st, id < next ? id : next - 1, &begin, &end);
	if (result == 0)
		*ret_offset = id < next ? begin : end;
	return result;
}

int wal_stream_offset_of(struct wal_stream *st, uint64_t id, uint64_t *ret_offset)
{
	int result;

	do {
		result = offset_of(st, id, ret_offset);
	} while (result == WAL_PRUNED && id >= atomic_load_explicit(&st->pub_first, memory_order_acquire));
	return result;
}

/* The last segment that begins at or before `offset`; empty ones at the end are passed over only if something follows. */
static uint64_t segment_at(const struct wal_stream *st, uint64_t offset)
{
	size_t low = 0, high = st->sums_count;

	while (high - low > 1) {
		size_t mid = low + (high - low) / 2;

		if (st->sums[mid] <= offset)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* The entry of the view that holds byte `offset` of its segment's text. WAL_END if none does. */
static int find_byte(const struct stream_view *view, uint64_t offset, struct meta_entry *ret)
{
	struct meta_cursor c;
	int result = meta_cursor_seek(&c, &view->meta, META_BY_BYTES, offset);

	while (result == 0) {
		result = meta_cursor_next(&c, ret);
		if (result == 0 && (ret->id >= view->end_id || ret->bytes > offset))
			return WAL_END;
		if (result == 0 && !ret->gap && offset - ret->bytes < ret->size)
			return 0;
	}
	return result;
}

int wal_stream_id_at(struct wal_stream *st, uint64_t offset, uint64_t *ret_id, uint64_t *ret_skip)
{
	struct stream_view view;
	struct meta_entry e;

	pthread_mutex_lock(&st->lock);
	int result = stream_complete_sums(st);
	size_t index = result == 0 ? segment_at(st, offset) : 0;
	uint64_t sum = result == 0 ? st->sums[index] : 0, first_id = st->segments.ids[index];
	pthread_mutex_unlock(&st->lock);
	if (result != 0)
		return result;
	if (offset < sum)
		return WAL_PRUNED;
	result = stream_view_open(st, first_id, &view);
	if (result != 0)
		return result;
	result = find_byte(&view, offset - sum, &e);
	if (result == -EBADMSG) {
		result = stream_view_mend(&view, view.end_id - 1);
		if (result == 0)
			result = find_byte(&view, offset - sum, &e);
	}
	stream_view_release(&view);
	if (result == 0) {
		*ret_id = e.id;
		*ret_skip = offset - sum - e.bytes;
	}
	return result == WAL_END ? WAL_NOT_FOUND : result;
}

/* ---- Counters ---- */

void stream_count_append_error(struct wal_stream *st, int result)
{
	struct stream_stats *stats = stream_stats(st);

	stats_add_shared(result == -ENOSPC || result == -EDQUOT ? &stats->append_errors_space :
			 result == -EFBIG			? &stats->append_errors_size :
			 result == -EIO				? &stats->append_errors_io :
								  &stats->append_errors_other,
			 1);
}

int stream_count_read(struct wal_stream *st, int result, uint64_t entries, uint64_t bytes)
{
	if (result == 0 && entries > 0)
		stats_add_shared(&stream_stats(st)->reads, entries);
	if (result == 0 && bytes > 0)
		stats_add_shared(&stream_stats(st)->read_bytes, bytes);
	if (result < 0)
		stats_add_shared(result == -EBADMSG ? &stream_stats(st)->read_errors_damaged : &stream_stats(st)->read_errors_other, 1);
	return result;
}

void wal_stream_counters(struct wal_stream *st, struct wal_stream_counters *ret)
{
	const struct stream_stats *s = atomic_load_explicit(&st->stats, memory_order_acquire);

	if (!s) {
		*ret = (struct wal_stream_counters){ 0 };
		return;
	}
	*ret = (struct wal_stream_counters){
		.appends = stats_get(&s->appends),
		.append_bytes = stats_get(&s->append_bytes),
		.frames = stats_get(&s->frames),
		.frame_bytes = stats_get(&s->frame_bytes),
		.writes = stats_get(&s->writes),
		.syncs = stats_get(&s->syncs),
		.synced_appends = stats_get(&s->synced_appends),
		.append_errors_space = stats_get(&s->append_errors_space),
		.append_errors_size = stats_get(&s->append_errors_size),
		.append_errors_io = stats_get(&s->append_errors_io),
		.append_errors_other = stats_get(&s->append_errors_other),
		.sync_errors = stats_get(&s->sync_errors),
		.reads = stats_get(&s->reads),
		.read_bytes = stats_get(&s->read_bytes),
		.read_errors_damaged = stats_get(&s->read_errors_damaged),
		.read_errors_other = stats_get(&s->read_errors_other),
		.rotations = stats_get(&s->rotations),
		.pruned_segments = stats_get(&s->pruned_segments),
	};
	stats_read_histogram(&s->append_time, &ret->append_time);
	stats_read_histogram(&s->sync_time, &ret->sync_time);
}

/* ---- Figures ---- */

struct disk_walk {
	struct sys *sys;
	int dir_fd;
	uint64_t bytes;
};

static int add_file(void *arg, const char *name, unsigned char type)
{
	struct disk_walk *walk = arg;
	struct stat sb;

	(void)type;
	int result = walk->sys->fstatat(walk->sys, walk->dir_fd, name, &sb);
	if (result == 0)
		walk->bytes += (uint64_t)sb.st_blocks * 512;
	return result == -ENOENT ? 0 : result;
}

static int disk_bytes(struct wal_stream *st, uint64_t *ret_bytes)
{
	struct disk_walk walk = { .sys = st->engine->env.sys, .dir_fd = segment_open_dir(&st->engine->env, st->name) };

	if (walk.dir_fd < 0)
		return walk.dir_fd;
	int result = sys_list(walk.sys, walk.dir_fd, add_file, &walk);
	sys_close(walk.sys, &walk.dir_fd);
	if (result == 0)
		*ret_bytes = walk.bytes;
	return result;
}

/* All but disk_bytes. WAL_PRUNED, WAL_NOT_FOUND: it changed meanwhile. */
static int figures(struct wal_stream *st, struct wal_stream_stat *s)
{
	uint64_t begin = 0, end = 0, unused;
	int result = 0;

	pthread_mutex_lock(&st->lock);
	if (st->deleted)
		result = -ENOENT;
	s->first_id = st->segments.ids[0];
	s->next_id = st->pub_next;
	s->durable_id = st->durable_id < s->next_id ? st->durable_id : s->next_id;
	s->segments = st->segments.count;
	s->active_segment_id = st->active.first_id;
	s->last_append_ns = st->pub_mtime;
	s->tail = st->tail;
	s->tail_offset = st->tail_offset;
	s->tail_bytes = st->tail_bytes;
	s->health = st->health;
	strcpy(s->reason, stream_reason(st));
	pthread_mutex_unlock(&st->lock);
	s->entries = s->next_id - s->first_id;
	if (result == 0 && s->entries > 0)
		result = extent_of(st, s->next_id - 1, &unused, &end);
	if (result == 0 && s->entries > 0)
		result = extent_of(st, s->first_id, &begin, &unused);
	s->payload_bytes = end - begin;
	return result;
}

enum wal_health wal_stream_health(struct wal_stream *st)
{
	LOCKED_SCOPE(&st->lock);
	return st->health;
}

enum wal_tail_state wal_stream_tail(struct wal_stream *st)
{
	LOCKED_SCOPE(&st->lock);
	return st->tail;
}

int wal_stream_stat(struct wal_stream *st, struct wal_stream_stat *ret)
{
	struct wal_stream_stat s = { 0 };
	/* Of a stream whose directory can't be read the rest is still worth knowing, above all why. */
	int result = disk_bytes(st, &s.disk_bytes);

	if (result == -ENOMEM || result == -EMFILE || result == -ENFILE)
		return result;
	do {
		result = figures(st, &s);
	} while (result == WAL_PRUNED || result == WAL_NOT_FOUND);
	if (result == 0)
		*ret = s;
	return result;
}
