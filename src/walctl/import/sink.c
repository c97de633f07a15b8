/* SPDX-License-Identifier: Apache-2.0 */
#include "sink.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

int sink_init(struct sink *sink, struct wal_store *store, bool dry)
{
	*sink = (struct sink){ .store = store, .dry = dry, .wave_data = malloc(SINK_WAVE_BYTES) };
	return sink->wave_data ? 0 : -ENOMEM;
}

static int fail(const struct sink *sink, int result, struct wal_error *err, const char *what)
{
	char name[TEXT_NAME_MAX];

	return source_fail(err, result, "stream '%s': %s: %s", text_escape(name, sink->name), what, wal_strerror(result));
}

static int open_stream(struct sink *sink, struct wal_error *err)
{
	int r = 0;

	if (sink->store)
		r = wal_stream_open(sink->store, sink->name, sink->dry ? 0 : WAL_CREATE, &sink->stream, err);
	return sink->dry && r == -ENOENT ? 0 : r;
}

/* A stream that holds nothing, and whose ids are to begin where the source's do. */
static int move_begin(struct sink *sink, uint64_t first_id, struct wal_error *err)
{
	int r;

	if (!sink->dry && first_id > sink->next_id) {
		r = wal_stream_skip(sink->stream, first_id);
		if (r < 0)
			return fail(sink, r, err, "beginning with the source's first id");
	}
	if (first_id > sink->next_id)
		sink->first_id = sink->next_id = first_id;
	return 0;
}

int sink_begin(struct sink *sink, const char *name, const uint64_t *base, const uint64_t *first_id, struct wal_error *err)
{
	int r;

	sink->name = strdup(name);
	if (!sink->name)
		return source_fail(err, -ENOMEM, "out of memory");
	sink->stream = NULL;
	sink->first_id = sink->next_id = 0;
	r = open_stream(sink, err);
	if (r < 0)
		return r;
	if (sink->stream)
		wal_stream_bounds(sink->stream, &sink->first_id, &sink->next_id, NULL);
	if (first_id && sink->first_id == sink->next_id)
		r = move_begin(sink, *first_id, err);
	sink->position = base ? *base : first_id ? *first_id : sink->first_id;
	return r;
}

/* ---- What is there ---- */

static int differs(const struct sink *sink, const struct item *item, uint64_t id, const char *how, struct wal_error *err)
{
	char name[TEXT_NAME_MAX], file[TEXT_NAME_MAX];

	return source_fail(err, -EEXIST, "stream '%s' is not a beginning of what would be imported: its entry %" PRIu64 " %s the one at offset %" PRIu64 " of '%s'; it was not changed",
			   text_escape(name, sink->name), id, how, item->offset, text_escape(file, item->file ? item->file : ""));
}

/* 1: its bytes are those of the entry; 0: they are not. */
static int compare_large(struct sink *sink, const struct item *item, uint64_t id)
{
	enum { PIECE_BYTES = 256 << 10 };
	void *piece = malloc(PIECE_BYTES);
	struct wal_reader *reader;
	size_t done = 0, got;
	int r = piece ? wal_reader_open(sink->stream, id, &reader, NULL) : -ENOMEM;

	if (r != 0) {
		free(piece);
		return r;
	}
	while (r == 0 && done < item->size) {
		r = wal_reader_read(reader, piece, PIECE_BYTES, done, &got);
		if (r == 0 && (!got || got > item->size - done || memcmp(piece, (const uint8_t *)item->data + done, got)))
			break;
		done += got;
	}
	wal_reader_close(reader);
	free(piece);
	return r < 0 ? r : r == 0 && done == item->size;
}

/* The entry of that id, read with those behind it: *ret is valid until the next call; NULL: a large one. As wal_stream_get_batch(). */
static int look_up(struct sink *sink, uint64_t id, const struct wal_entry **ret)
{
	struct wal_entry_info info;
	int r;

	*ret = NULL;
	if (!sink->there_count || id < sink->there[0].id || id - sink->there[0].id >= sink->there_count) {
		sink->there_count = 0;
		r = wal_stream_lookup(sink->stream, id, &info);
		if (r != 0 || info.size > SINK_WAVE_BYTES)
			return r;
		r = wal_stream_get_batch(sink->stream, id, SINK_WAVE_COUNT, SINK_WAVE_BYTES, &sink->buf, sink->there, &sink->there_count);
		if (r != 0)
			return r;
	}
	*ret = &sink->there[id - sink->there[0].id];
	return 0;
}

/* 1: it has the same bytes; 0: others; otherwise as reading it. */
static int compare_bytes(struct sink *sink, const struct item *item, uint64_t id)
{
	const struct wal_entry *entry;
	struct wal_entry_info info;
	int r;

	if (item->size > SINK_WAVE_BYTES) {
		r = wal_stream_lookup(sink->stream, id, &info);
		if (r != 0)
			return r == WAL_PRUNED ? 1 : r;
		return info.size == item->size ? compare_large(sink, item, id) : 0;
	}
	r = look_up(sink, id, &entry);
	if (r != 0)
		return r == WAL_PRUNED ? 1 : r; /* it was there, and has been let go since */
	return entry && entry->size == item->size && (!item->size || !memcmp(entry->data, item->data, item->size));
}

static int compare(struct sink *sink, const struct item *item, uint64_t id, struct wal_error *err)
{
	int r = compare_bytes(sink, item, id);

	if (r == 1)
		return 0;
	if (r == 0)
		return differs(sink, item, id, "has other bytes than", err);
	if (r == -EBADMSG)
		return differs(sink, item, id, "is damaged, unlike", err);
	return fail(sink, r < 0 ? r : -EIO, err, "reading an entry");
}

/* ---- What is appended ---- */

static int append(struct sink *sink, const struct wal_entry *entries, size_t count, struct wal_error *err)
{
	size_t done = 0;
	int r = wal_stream_restore(sink->stream, entries, count, 0, &done);

	sink->appended += done;
	return r < 0 ? fail(sink, r, err, "appending") : 0;
}

static int flush(struct sink *sink, struct wal_error *err)
{
	size_t count = sink->wave_count;

	sink->wave_count = sink->wave_bytes = 0;
	return count ? append(sink, sink->wave, count, err) : 0;
}

static int skip_to(struct sink *sink, uint64_t id, struct wal_error *err)
{
	uint64_t next;
	int r;

	if (sink->dry)
		return 0;
	r = flush(sink, err);
	if (r < 0)
		return r;
	wal_stream_bounds(sink->stream, NULL, &next, NULL);
	if (id <= next)
		return 0;
	r = wal_stream_skip(sink->stream, id);
	return r < 0 ? fail(sink, r, err, "leaving ids free") : 0;
}

static int add(struct sink *sink, const struct item *item, uint64_t id, struct wal_error *err)
{
	struct wal_entry entry = { .id = id, .time_ns = item->time_ns, .data = item->data, .size = item->size };
	int r = 0;

	if (sink->dry) {
		sink->appended++;
		return 0;
	}
	if (sink->wave_count == SINK_WAVE_COUNT || item->size > SINK_WAVE_BYTES - sink->wave_bytes)
		r = flush(sink, err);
	if (r < 0)
		return r;
	if (item->size > SINK_WAVE_BYTES)
		return append(sink, &entry, 1, err);
	if (item->size)
		memcpy(sink->wave_data + sink->wave_bytes, item->data, item->size);
	entry.data = sink->wave_data + sink->wave_bytes;
	sink->wave[sink->wave_count++] = entry;
	sink->wave_bytes += item->size;
	return 0;
}

int sink_put(struct sink *sink, const struct item *item, uint64_t *ret_id, bool *ret_present, struct wal_error *err)
{
	uint64_t id = item->has_id ? item->id : sink->position;
	bool present = id < sink->next_id;
	int r = 0;

	if (present) {
		r = compare(sink, item, id, err);
	} else {
		if (item->has_id && id > sink->position)
			r = skip_to(sink, id, err);
		if (r == 0)
			r = add(sink, item, id, err);
	}
	if (r < 0)
		return r;
	sink->present += present;
	sink->bytes += item->size;
	sink->position = id + 1;
	*ret_id = id;
	*ret_present = present;
	return 0;
}

void sink_leave_free(struct sink *sink, uint64_t id, uint64_t count)
{
	if (id + count > sink->position)
		sink->left_free_to = id + count;
}

int sink_finish(struct sink *sink, struct wal_error *err)
{
	char name[TEXT_NAME_MAX];
	int r;

	if (sink->position < sink->next_id && sink->left_free_to < sink->next_id)
		return source_fail(err, -EEXIST, "stream '%s' is not a beginning of what would be imported: it goes on up to id %" PRIu64 ", behind all of it; it was not changed",
				   text_escape(name, sink->name), sink->next_id - 1);
	if (sink->dry)
		return 0;
	r = flush(sink, err);
	if (r == 0 && sink->left_free_to > sink->position)
		r = skip_to(sink, sink->left_free_to, err);
	if (r < 0)
		return r;
	r = wal_stream_sync(sink->stream);
	return r < 0 ? fail(sink, r, err, "making it durable") : 0;
}

void sink_leave(struct sink *sink)
{
	wal_stream_close(sink->stream);
	free(sink->name);
	sink->stream = NULL;
	sink->name = NULL;
	sink->left_free_to = 0;
	sink->there_count = 0;
}

void sink_release(struct sink *sink)
{
	sink_leave(sink);
	free(sink->wave_data);
	wal_buf_release(&sink->buf);
	*sink = (struct sink){ 0 };
}
