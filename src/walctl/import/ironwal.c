/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An ironwal root, or any store: opened read-only by the engine, stream by stream, then the checkpoints. Entries keep their ids; ids that are damaged are told of, so that they can be
 * left free.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "blob.h"
#include "range.h"
#include "source.h"

enum {
	BATCH_COUNT = 1024,
	BATCH_BYTES = 1 << 20,
	PIECE_BYTES = 256 << 10,
};

struct ironwal {
	struct source source;
	struct source_options options;
	struct wal_store *store;
	char **names;
	size_t name_count, name;
	/* the stream that is read */
	struct wal_stream *stream;
	struct wal_stream_stat stat;
	bool told_state;
	uint64_t id;
	struct wal_buf buf;
	struct wal_entry entries[BATCH_COUNT];
	size_t entry_count, entry;
	struct blob blob;
	/* checkpoints */
	struct wal_checkpoint *checkpoints; /* NULL: not yet listed */
	size_t checkpoint_count, checkpoint;
	struct wal_checkpoint *loaded;
	char file[64];
};

static void begin_item(struct ironwal *iw, struct item *item)
{
	*item = (struct item){ .stream = iw->stream ? wal_stream_name(iw->stream) : NULL };
	item->file = item->stream;
}

/* ---- Streams ---- */

static int open_stream(struct ironwal *iw, struct item *item, struct wal_error *err)
{
	int r = wal_stream_open(iw->store, iw->names[iw->name], 0, &iw->stream, err);

	if (r == 0)
		r = wal_stream_stat(iw->stream, &iw->stat);
	if (r < 0)
		return err->message[0] ? r : source_fail(err, r, "stream '%s': %s", iw->names[iw->name], wal_strerror(r));
	iw->id = iw->stat.first_id;
	iw->told_state = false;
	iw->entry_count = iw->entry = 0;
	begin_item(iw, item);
	item->kind = ITEM_STREAM;
	item->id = iw->stat.first_id;
	return 0;
}

/* What opening it found. True: there is something to tell. */
static bool tell_state(struct ironwal *iw, struct item *item)
{
	iw->told_state = true;
	if (iw->stat.tail == WAL_TAIL_CLEAN && iw->stat.health == WAL_HEALTHY)
		return false;
	begin_item(iw, item);
	if (iw->stat.tail != WAL_TAIL_CLEAN) {
		snprintf(iw->file, sizeof(iw->file), "%020llu.wal", (unsigned long long)iw->stat.active_segment_id);
		item->file = iw->file;
		item->offset = iw->stat.tail_offset;
		item->bytes = iw->stat.tail_bytes;
	}
	if (iw->stat.health != WAL_HEALTHY)
		finding_set(item, FINDING_DAMAGE, "an intact stream", "%s", iw->stat.reason);
	else
		finding_set(item, FINDING_TORN, "a frame", "an end that was never finished");
	item->ends_prefix = false; /* nothing behind it: what is damaged before it is met on the way */
	return true;
}

static int give_large(struct ironwal *iw, const struct wal_entry_info *info, struct item *item, struct wal_error *err)
{
	struct wal_reader *reader;
	void *piece = malloc(PIECE_BYTES);
	uint64_t offset = 0;
	int r = piece ? wal_reader_open(iw->stream, info->id, &reader, NULL) : -ENOMEM;
	size_t got = 1;

	if (r == 0) {
		blob_clear(&iw->blob);
		while (r == 0 && got) {
			r = wal_reader_read(reader, piece, PIECE_BYTES, offset, &got);
			if (r == 0)
				r = blob_add(&iw->blob, piece, got);
			offset += got;
		}
		wal_reader_close(reader);
	}
	free(piece);
	if (r == 0)
		r = blob_data(&iw->blob, &item->data);
	if (r < 0 && r != -EBADMSG)
		return source_fail(err, r, "reading entry %llu of '%s': %s", (unsigned long long)info->id, wal_stream_name(iw->stream), wal_strerror(r));
	if (r == 0)
		item->size = (size_t)iw->blob.size;
	return r;
}

static int tell_gap(struct ironwal *iw, int why, struct item *item, struct wal_error *err)
{
	uint64_t count;
	int r = range_of_gap(iw->stream, iw->id, iw->stat.next_id, &count);

	if (r < 0)
		return source_fail(err, r, "entry %llu of '%s': %s", (unsigned long long)iw->id, wal_stream_name(iw->stream), wal_strerror(r));
	begin_item(iw, item);
	item->has_id = true;
	item->id = iw->id;
	finding_set(item, why == WAL_PRUNED ? FINDING_GAP : FINDING_DAMAGE, "an entry", "%s", wal_strerror(why));
	item->count = count;
	iw->id += count;
	return 0;
}

static void give(struct ironwal *iw, const struct wal_entry *entry, struct item *item)
{
	begin_item(iw, item);
	item->kind = ITEM_ENTRY;
	item->has_id = item->has_sequence = true;
	item->id = item->sequence = entry->id;
	item->time_ns = entry->time_ns;
	item->data = entry->data;
	item->size = entry->size;
	iw->id = entry->id + 1;
	iw->source.done += entry->size;
}

static int next_entry(struct ironwal *iw, struct item *item, struct wal_error *err)
{
	struct wal_entry_info info;
	int r;

	if (iw->entry < iw->entry_count) {
		give(iw, &iw->entries[iw->entry++], item);
		return 0;
	}
	iw->entry_count = iw->entry = 0;
	r = wal_stream_lookup(iw->stream, iw->id, &info);
	if (r == 0 && info.size > BATCH_BYTES) {
		struct wal_entry large = { .id = info.id, .time_ns = info.time_ns };

		r = give_large(iw, &info, item, err);
		if (r == 0) {
			large.data = item->data;
			large.size = item->size;
			give(iw, &large, item);
			return 0;
		}
		if (err->message[0])
			return r;
	} else if (r == 0) {
		r = wal_stream_get_batch(iw->stream, iw->id, BATCH_COUNT, BATCH_BYTES, &iw->buf, iw->entries, &iw->entry_count);
		if (r == 0)
			return next_entry(iw, item, err);
	}
	if (r == -EBADMSG || r == WAL_PRUNED)
		return tell_gap(iw, r, item, err);
	return source_fail(err, r < 0 ? r : -EIO, "entry %llu of '%s': %s", (unsigned long long)iw->id, wal_stream_name(iw->stream), wal_strerror(r));
}

/* ---- Checkpoints ---- */

static int next_checkpoint(struct ironwal *iw, struct item *item, struct wal_error *err)
{
	const struct wal_checkpoint *listed;
	int r = 0;

	if (iw->options.stream)
		return WAL_END;
	if (!iw->checkpoints)
		r = wal_checkpoint_list(iw->store, &iw->checkpoints, &iw->checkpoint_count);
	if (r < 0)
		return source_fail(err, r, "listing its checkpoints: %s", wal_strerror(r));
	if (iw->checkpoint == iw->checkpoint_count)
		return WAL_END;
	listed = &iw->checkpoints[iw->checkpoint++];
	free(iw->loaded);
	iw->loaded = NULL;
	r = wal_checkpoint_load(iw->store, listed->id, listed->id_size, &iw->loaded);
	*item = (struct item){ .kind = ITEM_CHECKPOINT, .file = "checkpoints.log", .checkpoint = iw->loaded };
	if (r == -EBADMSG || r == WAL_NOT_FOUND)
		finding_set(item, FINDING_DAMAGE, "a checkpoint", "%s", wal_strerror(r));
	else if (r < 0)
		return source_fail(err, r, "reading a checkpoint: %s", wal_strerror(r));
	return 0;
}

/* ---- The source ---- */

static int ironwal_next(struct source *source, struct item *ret, struct wal_error *err)
{
	struct ironwal *iw = (struct ironwal *)source;

	for (;;) {
		if (!iw->stream && iw->name == iw->name_count)
			return next_checkpoint(iw, ret, err);
		if (!iw->stream)
			return open_stream(iw, ret, err);
		if (!iw->told_state && tell_state(iw, ret))
			return 0;
		if (iw->id < iw->stat.next_id)
			return next_entry(iw, ret, err);
		wal_stream_close(iw->stream);
		iw->stream = NULL;
		iw->name++;
	}
}

static void ironwal_free(struct source *source)
{
	struct ironwal *iw = (struct ironwal *)source;

	wal_stream_close(iw->stream);
	if (iw->store)
		wal_store_close(iw->store);
	free(iw->names);
	free(iw->checkpoints);
	free(iw->loaded);
	wal_buf_release(&iw->buf);
	blob_release(&iw->blob);
	free(iw);
}

static int choose_streams(struct ironwal *iw, struct wal_error *err)
{
	int r = wal_store_list(iw->store, &iw->names, &iw->name_count);
	size_t i = 0;

	if (r < 0)
		return source_fail(err, r, "listing its streams: %s", wal_strerror(r));
	if (!iw->options.stream)
		return 0;
	while (i < iw->name_count && strcmp(iw->names[i], iw->options.stream))
		i++;
	if (i == iw->name_count)
		return source_fail(err, -ENOENT, "it has no stream '%s'", iw->options.stream);
	iw->name = i;
	iw->name_count = i + 1;
	return 0;
}

/* For the progress bar alone: what cannot be told counts nothing. */
static uint64_t count_bytes(struct ironwal *iw)
{
	struct wal_stream_stat stat;
	struct wal_stream *stream;
	uint64_t bytes = 0;

	for (size_t i = iw->name; i < iw->name_count; i++) {
		if (wal_stream_open(iw->store, iw->names[i], 0, &stream, NULL) < 0)
			continue;
		if (wal_stream_stat(stream, &stat) == 0)
			bytes += stat.payload_bytes;
		wal_stream_close(stream);
	}
	return bytes;
}

int ironwal_open(const char *path, const struct source_options *options, struct source **ret, struct wal_error *err)
{
	static const struct source_ops ops = { .next = ironwal_next, .free = ironwal_free };
	struct wal_options engine = { .ro = true, .no_create = true };
	struct ironwal *iw = calloc(1, sizeof(*iw));
	int r;

	if (!iw)
		return source_fail(err, -ENOMEM, "out of memory");
	iw->source.ops = &ops;
	iw->options = *options;
	blob_init(&iw->blob, options->spool);
	r = wal_store_open(path, &engine, &iw->store, err);
	if (r == 0)
		r = choose_streams(iw, err);
	if (r < 0) {
		ironwal_free(&iw->source);
		return r;
	}
	iw->source.shards = wal_store_shards(iw->store);
	iw->source.total = count_bytes(iw);
	*ret = &iw->source;
	return 0;
}
