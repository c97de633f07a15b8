/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only a stream needs that is used: a store may have a hundred thousand of which few are at a time, so the others keep no more than what is in them.
 *
 * The last block of the sidecar is kept as long as its records are (`meta_compact`) until something is appended. Then the stream has two whole ones, the published and the one that the holder of
 * `writing` works in, and is *warm*. The engine keeps as many streams warm as it keeps segments open; of one more, that which has become warm first is cooled again, unless it is being written. Of
 * counters a stream has none before the first thing that is counted.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "stream_impl.h"

/* ---- The sidecar's last block ---- */

static size_t compact_size(const struct meta_writer *w)
{
	return META_OFF_RECORDS + w->used;
}

int stream_meta_keep(struct wal_stream *st, const struct meta_writer *w)
{
	uint8_t *block = malloc(compact_size(w));

	if (!block)
		return -ENOMEM;
	memcpy(block, w->block, compact_size(w));
	free(st->meta.block);
	st->meta = *w;
	st->meta.block = block;
	st->meta.emit = NULL;
	st->meta_compact = true;
	return 0;
}

/* Caller holds st->lock, and nobody has `writing`. Without memory for less it stays as it is. */
static void cool(struct wal_stream *st)
{
	uint8_t *block = malloc(compact_size(&st->meta));

	free(st->meta_work);
	st->meta_work = NULL;
	if (!block)
		return;
	memcpy(block, st->meta.block, compact_size(&st->meta));
	free(st->meta.block);
	st->meta.block = block;
	st->meta_compact = true;
}

/* Caller holds warm->lock. One that is not at rest just now is asked again later. */
static void cool_oldest(struct warm_streams *warm)
{
	struct wal_stream *st = warm->head;

	warm->head = st->next_warm;
	if (!warm->head)
		warm->tail = &warm->head;
	st->next_warm = NULL;
	/* Against the lock order, so it is only tried. */
	if (pthread_mutex_trylock(&st->lock) == 0) {
		bool at_rest = !st->writing;

		if (at_rest) {
			cool(st);
			st->warm = false;
			warm->count--;
		}
		pthread_mutex_unlock(&st->lock);
		if (at_rest)
			return;
	}
	*warm->tail = st;
	warm->tail = &st->next_warm;
}

/* Caller holds `writing`. */
static void warm_up(struct wal_stream *st)
{
	struct warm_streams *warm = &st->engine->warm;

	LOCKED_SCOPE(&warm->lock);
	if (st->warm)
		return;
	if (warm->count >= st->engine->env.opts.max_open_segments)
		cool_oldest(warm);
	st->warm = true;
	st->next_warm = NULL;
	*warm->tail = st;
	warm->tail = &st->next_warm;
	warm->count++;
}

int stream_meta_begin(struct wal_stream *st, struct meta_writer *ret)
{
	if (!st->meta_work) {
		st->meta_work = malloc(META_BLOCK_BYTES);
		if (!st->meta_work)
			return -ENOMEM;
		st->meta_common = 0;
		warm_up(st);
	}
	/* Mostly it lacks no more than the records of the last write. What comes of this one is to be seen. */
	size_t common = st->meta_common ? META_OFF_RECORDS + st->meta_common : 0;
	st->meta_common = 0;
	memcpy(st->meta_work + common, st->meta.block + common, compact_size(&st->meta) - common);
	*ret = st->meta;
	ret->block = st->meta_work;
	return 0;
}

void stream_meta_publish(struct wal_stream *st, const struct meta_writer *w)
{
	uint8_t *before = st->meta.block;

	/* Records are only added, until a block is begun anew. */
	st->meta_common = w->block_no == st->meta.block_no && w->segment_id == st->meta.segment_id ? st->meta.used : 0;
	st->meta = *w;
	st->meta_work = before;
	if (st->meta_compact) {
		st->meta_work = NULL;
		st->meta_compact = false;
		free(before);
	}
}

void stream_forget_idle(struct wal_stream *st)
{
	struct warm_streams *warm = &st->engine->warm;

	LOCKED_SCOPE(&warm->lock);
	if (!st->warm)
		return;
	struct wal_stream **link = &warm->head;
	while (*link != st)
		link = &(*link)->next_warm;
	*link = st->next_warm;
	if (!*link)
		warm->tail = link;
	warm->count--;
}

void warm_streams_init(struct warm_streams *warm)
{
	*warm = (struct warm_streams){ .tail = &warm->head };
	pthread_mutex_init(&warm->lock, NULL);
}

void warm_streams_release(struct warm_streams *warm)
{
	pthread_mutex_destroy(&warm->lock);
}

/* ---- Counters, and what is wrong ---- */

struct stream_stats *stream_stats_new(struct wal_stream *st)
{
	struct stream_stats *none = NULL, *stats = calloc(1, sizeof *stats);

	if (!stats)
		return &st->engine->uncounted;
	if (atomic_compare_exchange_strong(&st->stats, &none, stats))
		return stats;
	free(stats);
	return none;
}

void stream_set_reason(struct wal_stream *st, const char *reason)
{
	char *text = strndup(reason, sizeof(((struct wal_stream_stat *)0)->reason) - 1);

	free(st->reason);
	st->reason = text;
}

const char *stream_reason(const struct wal_stream *st)
{
	return st->reason ? st->reason : st->health == WAL_HEALTHY ? "" : "no memory to say why";
}
