/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <errno.h>
#include <string.h>

enum {
	RUN_BYTES = 1 << 20,
};

int text_end(struct wal_stream *stream, uint64_t end_id, uint64_t *ret_offset)
{
	uint64_t next = end_id;
	int r;

	do {
		if (end_id == UINT64_MAX)
			wal_stream_bounds(stream, NULL, &next, NULL);
		r = wal_stream_offset_of(stream, next, ret_offset);
		/* Between the two it may have been sealed and pruned; then there is a later end. */
	} while (r == WAL_PRUNED && end_id == UINT64_MAX);
	return r;
}

int text_init(struct text *text, struct wal_stream *stream, uint64_t start_id, uint64_t end_id)
{
	uint64_t base = 0, end = UINT64_MAX;
	int r;

	if (start_id < end_id) {
		r = wal_stream_offset_of(stream, start_id, &base);
		if (r == 0 && end_id != UINT64_MAX)
			r = text_end(stream, end_id, &end);
		if (r)
			return r;
	} else {
		end = base;
	}
	*text = (struct text){ .stream = stream, .base = base, .end_id = end_id, .end = end, .pos = base, .jumped = true };
	return 0;
}

void text_release(struct text *text)
{
	wal_iter_free(text->iter);
	wal_reader_close(text->reader);
}

static void leave(struct text *text)
{
	wal_reader_close(text->reader);
	text->reader = NULL;
	text->source = TEXT_NOWHERE;
}

/* The iterator met something else than an entry. WAL_GAP: what comes then is to be looked for anew. */
static int leave_iter(struct text *text, int result, const struct wal_entry *gap)
{
	if (result == WAL_GAP) {
		text->bad_id = gap->id;
		text->bad_end = gap->id + gap->size;
		text->iter_id = text->bad_end;
	} else {
		text->iter_id = UINT64_MAX;
	}
	text->entry.size = 0;
	leave(text);
	return result;
}

/* The iterator's next entry, or a result of leave_iter(). */
static int next_entry(struct text *text)
{
	int r = wal_iter_next(text->iter, &text->entry);

	text->entry_done = 0;
	if (r)
		return leave_iter(text, r, &text->entry);
	text->iter_id = text->entry.id + 1;
	return 0;
}

static int start_iter(struct text *text, uint64_t id, uint64_t skip)
{
	int r;

	if (!text->iter) {
		r = wal_iter_new(text->stream, id, &text->iter);
		if (r)
			return r;
		text->iter_id = UINT64_MAX;
	}
	/* A new one too: it begins later if `id` was pruned just now. */
	if (text->iter_id != id)
		wal_iter_seek(text->iter, id);
	text->iter_id = id;
	text->source = TEXT_ITER;
	text->entry.size = text->entry_done = 0;
	r = skip ? next_entry(text) : 0;
	if (r)
		return r;
	if (skip && skip >= text->entry.size) {
		leave(text);
		return -EBADMSG;
	}
	text->entry_done = skip;
	return 0;
}

/* WAL_END: the entry is not large, and has fewer than `wanted` bytes from there on: better go through many. An iterator would hold all of a large one, however little of it is left. */
static int start_reader(struct text *text, uint64_t id, uint64_t skip, bool large, size_t wanted)
{
	struct wal_entry_info info;
	int r = wal_reader_open(text->stream, id, &text->reader, &info);

	if (r)
		return r;
	large = large || info.size > RUN_BYTES;
	if (skip >= info.size || (!large && info.size - skip < wanted)) {
		leave(text);
		return skip >= info.size ? -EBADMSG : WAL_END;
	}
	text->source = TEXT_READER;
	text->reader_id = id;
	text->reader_size = info.size;
	text->reader_done = skip;
	return 0;
}

/*
 * Where the run ends that begins with entry `id` at text->pos: all entries before it are small. It is `id` itself if that one is large, or if it
 * can't be told.
 */
static uint64_t find_run_end(struct text *text, uint64_t id)
{
	uint64_t next, end, skip;
	int r;

	/* In this order: what came meanwhile is not in the run, as it is not known to be small. */
	wal_stream_bounds(text->stream, NULL, &next, NULL);
	r = wal_stream_id_at(text->stream, text->pos + RUN_BYTES, &end, &skip);
	if (r)
		end = r == WAL_NOT_FOUND ? next : id;
	return end < text->end_id ? end : text->end_id;
}

/* Finds text->pos in the stream. WAL_END; 0: the source goes on there; WAL_GAP: look again. */
static int find(struct text *text, size_t wanted)
{
	uint64_t id, skip, run_end;
	bool large;
	int r;

	r = wal_stream_id_at(text->stream, text->pos, &id, &skip);
	if (r == WAL_NOT_FOUND || (r == 0 && id >= text->end_id))
		return WAL_END;
	if (r)
		return r;
	if (id >= text->bad_id && id < text->bad_end)
		return -EBADMSG;
	run_end = find_run_end(text, id);
	large = run_end <= id;
	if (large || text->jumped || skip) {
		r = start_reader(text, id, skip, large, wanted);
		if (r != WAL_END)
			return r;
	}
	text->run_end = run_end;
	return start_iter(text, id, skip);
}

static bool has_entry(const struct text *text)
{
	return text->entry_done < text->entry.size;
}

/* Sees to it that there is a source that goes on: with bytes of an entry, or with entries behind that. */
static int find_source(struct text *text, size_t wanted)
{
	int r = 0;

	while (r == 0 || r == WAL_GAP) {
		switch (text->source) {
		case TEXT_ITER:
			if (has_entry(text) || text->iter_id < text->run_end)
				return 0;
			leave(text);
			break;
		case TEXT_READER:
			if (text->reader_done < text->reader_size)
				return 0;
			leave(text);
			break;
		default:
			r = find(text, wanted);
		}
	}
	leave(text);
	return r;
}

/* Of small entries as many as fit wholly. If the next one does not it is got ready, and nothing may be taken yet. */
static int take_entries(struct text *text, void *data, size_t size, size_t *ret_size)
{
	struct wal_entry entries;
	size_t count;
	int r = wal_iter_copy(text->iter, text->run_end, data, size, &entries, &count);

	if (r)
		return leave_iter(text, r, &entries);
	text->iter_id = entries.id + count;
	*ret_size = entries.size;
	return count ? 0 : next_entry(text);
}

static size_t take_part(struct text *text, void *data, size_t size)
{
	size_t left = text->entry.size - text->entry_done, n = left < size ? left : size;

	memcpy(data, (const char *)text->entry.data + text->entry_done, n);
	text->entry_done += n;
	return n;
}

static int take_from_reader(struct text *text, void *data, size_t size, size_t *ret_size)
{
	int r = wal_reader_read(text->reader, data, size, text->reader_done, ret_size);

	if (r == 0 && !*ret_size)
		r = -EBADMSG;
	if (r == -EBADMSG) {
		text->bad_id = text->reader_id;
		text->bad_end = text->reader_id + 1;
	}
	if (r)
		leave(text);
	else
		text->reader_done += *ret_size;
	return r;
}

/* Some of what the source has, perhaps nothing. WAL_GAP: look for the source again. */
static int take(struct text *text, void *data, size_t size, size_t *ret_size)
{
	size_t n = 0;
	int r = 0;

	if (text->source == TEXT_READER)
		r = take_from_reader(text, data, size, &n);
	else if (has_entry(text))
		n = take_part(text, data, size);
	else
		r = take_entries(text, data, size, &n);
	if (r)
		return r;
	text->pos += n;
	if (n)
		text->jumped = false;
	*ret_size = n;
	return 0;
}

/* Inside of an entry its reader stays: it has checked the whole entry, and another would have to do so again. */
static void jump(struct text *text, uint64_t pos)
{
	uint64_t begin = text->pos - text->reader_done;

	if (text->source == TEXT_READER && pos >= begin && pos - begin < text->reader_size) {
		text->reader_done = pos - begin;
	} else {
		leave(text);
		text->jumped = true;
	}
	text->pos = pos;
}

int text_read(struct text *text, void *data, size_t size, uint64_t offset, size_t *ret_size)
{
	size_t done = 0, n = 0;
	int r = 0;

	/* A fixed end is known: the stream may have been pruned up to there, and then cannot tell. */
	if (offset >= text->end - text->base)
		size = 0;
	else if (size > text->end - text->base - offset)
		size = text->end - text->base - offset;
	if (offset > UINT64_MAX - text->base - RUN_BYTES)
		size = 0;
	else if (size && text->base + offset != text->pos)
		jump(text, text->base + offset);
	while ((r == 0 || r == WAL_GAP) && done < size) {
		r = find_source(text, size - done);
		if (r == 0)
			r = take(text, (char *)data + done, size - done, &n);
		if (r == 0)
			done += n;
	}
	if (r && r != WAL_END && !done)
		return r;
	*ret_size = done;
	return 0;
}

bool text_is_ready(const struct text *text, size_t size, uint64_t offset)
{
	if (text->base + offset != text->pos)
		return false;
	if (text->source == TEXT_ITER)
		return text->entry.size - text->entry_done >= size;
	return text->source == TEXT_READER && text->reader_size - text->reader_done >= size && !wal_reader_is_slow(text->reader, text->reader_done);
}

void text_read_ahead(struct text *text)
{
	if (!text->jumped && find_source(text, 0) == 0 && text->source == TEXT_ITER && !has_entry(text))
		next_entry(text);
}

void text_rest(struct text *text)
{
	leave(text);
	wal_iter_free(text->iter);
	text->iter = NULL;
}

int text_skip(struct text *text, int result, uint64_t offset, uint64_t *ret_offset)
{
	uint64_t id, skip, end;
	int r = result;

	if (result == -EBADMSG)
		r = wal_stream_id_at(text->stream, text->base + offset, &id, &skip);
	if (r == 0) {
		if (id < text->bad_id || id >= text->bad_end)
			return result;
		r = wal_stream_offset_of(text->stream, text->bad_end, &end);
	}
	while (r == WAL_PRUNED) {
		wal_stream_bounds(text->stream, &id, NULL, NULL);
		r = wal_stream_offset_of(text->stream, id, &end);
	}
	if (r || end <= text->base + offset)
		return result;
	*ret_offset = end - text->base;
	return 0;
}
