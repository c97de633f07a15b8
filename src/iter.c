/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Iteration fetches a window of whole frames at a time, checks them, and hands the entries out of it. The segment is pinned only while the window is filled, and
 * the window is the iterator's own, so a call holds nothing of the stream's when it returns.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "cleanup.h"
#include "stream_impl.h"

enum {
	ITEMS_MAX = 4096,
	BLOCKS_MAX = 64,
	RUN_MAX = 128,
};

struct wal_iter {
	struct wal_stream *stream;
	uint64_t next_id; /* after the last entry that was handed out */
	struct wal_entry *items;
	size_t item_pos;
	size_t item_count;
	uint64_t read_entries;		   /* handed out and not counted yet */
	uint64_t read_bytes;
	struct wal_buf window;		   /* raw frames, as they are in the segment */
	struct block *blocks[BLOCKS_MAX];  /* payloads of compressed frames */
	size_t block_count;
	struct wal_reader *reader;	   /* of a frame that is too large for either, */
	struct wal_buf large;		   /* and one entry of it */
};

/* A window being filled. */
struct filling {
	struct wal_iter *it;
	struct stream_view view;
	struct meta_cursor cursor;
	struct meta_entry e;	/* the next entry to hand out */
	const uint8_t *data;	/* the window */
	uint64_t data_offset;	/* where it begins in the segment */
	size_t data_size;
	uint64_t end_id;
	bool end;		/* nothing follows in this view */
};

int wal_iter_new(struct wal_stream *st, uint64_t id, struct wal_iter **ret_iter)
{
	struct wal_iter *it = calloc(1, sizeof *it);
	uint64_t first;

	if (!it)
		return -ENOMEM;
	it->items = malloc(ITEMS_MAX * sizeof *it->items);
	if (!it->items) {
		free(it);
		return -ENOMEM;
	}
	wal_stream_bounds(st, &first, NULL, NULL);
	stream_ref(st);
	it->stream = st;
	it->next_id = id > first ? id : first;
	*ret_iter = it;
	return 0;
}

static void empty(struct wal_iter *it)
{
	for (size_t i = 0; i < it->block_count; i++)
		blockcache_put(it->stream->engine->blockcache, it->blocks[i]);
	it->block_count = 0;
	it->item_pos = it->item_count = 0;
	stream_count_read(it->stream, 0, it->read_entries, it->read_bytes);
	it->read_entries = it->read_bytes = 0;
}

void wal_iter_seek(struct wal_iter *it, uint64_t id)
{
	empty(it);
	it->next_id = id;
}

void wal_iter_free(struct wal_iter *it)
{
	if (!it)
		return;
	empty(it);
	wal_buf_release(&it->window);
	wal_reader_close(it->reader);
	wal_buf_release(&it->large);
	free(it->items);
	stream_unref(it->stream);
	free(it);
}

static void add_item(struct wal_iter *it, const struct meta_entry *e, const void *data)
{
	it->items[it->item_count++] = (struct wal_entry){ .id = e->id, .time_ns = e->time_ns, .data = data, .size = (size_t)e->size };
}

/* Moves to the next entry. A gap or the end of what is visible ends the window. < 0 if the sidecar does not hold. */
static int advance(struct filling *f)
{
	int result = f->e.id + 1 < f->end_id ? meta_cursor_next(&f->cursor, &f->e) : WAL_END;

	f->end = result != 0 || f->e.gap;
	return result < 0 ? result : 0;
}

/* Hands out the entry of f->e, out of the frame's raw payload. -EBADMSG if its length there is not that of the sidecar. */
static inline int take_entry(struct filling *f, const uint8_t *payload, size_t size)
{
	uint64_t end = f->e.payload_pos + FRAME_LENGTH_BYTES + f->e.size;

	if (end > size || get_le32(payload + f->e.payload_pos) != f->e.size)
		return stream_damaged(f->it->stream, f->view.segment, &f->e, "the entry's length", "another");
	add_item(f->it, &f->e, payload + f->e.payload_pos + FRAME_LENGTH_BYTES);
	return 0;
}

/* Hands out those entries of the frame behind f->e that come in a run, and leaves f->e at the last that was handed out. */
static int take_run(struct filling *f, const uint8_t *payload, size_t size)
{
	uint32_t sizes[RUN_MAX];
	uint64_t max = f->end_id - f->e.id - 1;
	int result = 0;

	if (max > RUN_MAX)
		max = RUN_MAX;
	if (max > ITEMS_MAX - f->it->item_count)
		max = ITEMS_MAX - f->it->item_count;
	size_t count = meta_cursor_run(&f->cursor, sizes, (size_t)max);
	for (size_t i = 0; i < count && result == 0; i++) {
		f->e.id++;
		f->e.time_ns++;
		f->e.index++;
		f->e.bytes += f->e.size;
		f->e.payload_pos += FRAME_LENGTH_BYTES + f->e.size;
		f->e.size = sizes[i];
		result = take_entry(f, payload, size);
	}
	return result;
}

/* Hands out the entries of a frame from f->e on, out of its checked raw payload, and moves behind them. */
static int take_entries(struct filling *f, const uint8_t *payload, size_t size)
{
	uint64_t frame_offset = f->e.frame_offset;

	while (!f->end && f->e.frame_offset == frame_offset && f->it->item_count < ITEMS_MAX) {
		int result = take_entry(f, payload, size);

		if (result == 0 && f->e.index + 1 < f->e.entry_count)
			result = take_run(f, payload, size);
		if (result == 0)
			result = advance(f);
		if (result < 0)
			return result;
	}
	return 0;
}

static int take_raw_frame(struct filling *f, const uint8_t *frame)
{
	struct frame_header h;
	int result = stream_check_header(f->it->stream, f->view.segment, &f->e, frame, &h);

	if (result == 0)
		result = stream_check_crc(f->it->stream, f->view.segment, &f->e, &h, frame_crc(frame, h.disk_size));
	return result < 0 ? result : take_entries(f, frame + FRAME_HEADER_BYTES, h.disk_size);
}

static int take_packed_frame(struct filling *f)
{
	struct block *block;
	int result = stream_read_block(&f->view, &f->e, &block);

	if (result < 0)
		return result;
	f->it->blocks[f->it->block_count++] = block;
	return take_entries(f, block->data, block->size);
}

/* Reads the bytes from f->e's frame on: as many as a window takes, or the one frame if that is more. */
static int fetch_window(struct filling *f)
{
	struct engine *engine = f->it->stream->engine;
	uint64_t size = FRAME_HEADER_BYTES + (uint64_t)f->e.disk_size;

	if (f->e.frame_offset > f->view.size || size > f->view.size - f->e.frame_offset)
		return stream_damaged(f->it->stream, f->view.segment, &f->e, "a whole frame", "the end of the file");
	if (size < engine->env.opts.read_buffer)
		size = engine->env.opts.read_buffer;
	if (size > f->view.size - f->e.frame_offset)
		size = f->view.size - f->e.frame_offset;
	int result = buf_reserve(&f->it->window, (size_t)size);
	if (result < 0)
		return result;
	if (f->view.segment->data) {
		/* The map may go when the segment is unpinned. */
		memcpy(f->it->window.data, f->view.segment->data + f->e.frame_offset, (size_t)size);
	} else {
		ssize_t n = sys_pread_full(engine->env.sys, f->view.segment->fd, f->it->window.data, (size_t)size, f->e.frame_offset);
		if (n < 0)
			return (int)n;
		size = (uint64_t)n;
	}
	f->data = f->it->window.data;
	f->data_offset = f->e.frame_offset;
	f->data_size = (size_t)size;
	return 0;
}

static bool in_window(const struct filling *f)
{
	uint64_t at = f->e.frame_offset - f->data_offset;

	return f->data && at <= f->data_size && FRAME_HEADER_BYTES + (uint64_t)f->e.disk_size <= f->data_size - at;
}

/* Takes frames while they are in the window. -EFBIG if the first is too large for one. */
static int take_frames(struct filling *f)
{
	struct wal_iter *it = f->it;
	int result = 0;

	while (result == 0 && !f->end && it->item_count < ITEMS_MAX) {
		if (f->e.type == FRAME_LZ4) {
			if (it->block_count == BLOCKS_MAX)
				break;
			result = take_packed_frame(f);
		} else {
			if (!f->data && f->e.disk_size <= FRAME_BYTES_LARGE)
				result = fetch_window(f);
			if (result == 0 && !in_window(f)) {
				if (!f->data)
					result = -EFBIG;
				else if (it->item_count == 0)
					result = stream_damaged(it->stream, f->view.segment, &f->e, "a whole frame", "the end of the file");
				break;
			}
			if (result == 0)
				result = take_raw_frame(f, f->data + (f->e.frame_offset - f->data_offset));
		}
	}
	/* What came before the trouble is handed out first; the trouble is met again then. */
	return it->item_count > 0 ? 0 : result;
}

/* The damaged ids from it->next_id on, and the step over them. */
static int report_gap(struct wal_iter *it, uint64_t end_id, struct wal_entry *ret)
{
	*ret = (struct wal_entry){ .id = it->next_id, .size = (size_t)(end_id - it->next_id) };
	it->next_id = end_id;
	return WAL_GAP;
}

/* Large frames are read entry by entry; the reader stays, so that the frame is checked once. */
static int take_large(struct wal_iter *it, const struct meta_entry *e)
{
	size_t got = 0;
	int result = 0;

	if (it->reader)
		reader_move(it->reader, e);
	else
		result = reader_new(it->stream, e, &it->reader);
	if (result == 0)
		result = buf_reserve(&it->large, (size_t)e->size);
	for (uint64_t at = 0; result == 0 && (at < e->size || at == 0); at += got) {
		result = wal_reader_read(it->reader, (uint8_t *)it->large.data + at, (size_t)(e->size - at), at, &got);
		if (result != 0 || e->size == 0)
			break;
		if (got == 0)
			result = -EBADMSG;
	}
	if (result == 0)
		add_item(it, e, it->large.data);
	return result;
}

static int report_pruned(struct wal_iter *it, struct wal_entry *ret)
{
	uint64_t first;

	wal_stream_bounds(it->stream, &first, NULL, NULL);
	report_gap(it, first, ret);
	return WAL_PRUNED;
}

/* Fills the window from it->next_id on. A condition of wal_iter_next() that fills *ret, WAL_END, or 0 with at least one item. */
static int fill(struct wal_iter *it, struct wal_entry *ret)
{
	struct filling f = { .it = it };
	uint64_t gap_end = 0;
	int result = stream_view_open(it->stream, it->next_id, &f.view);

	if (result == WAL_NOT_FOUND)
		return WAL_END;
	if (result == WAL_PRUNED)
		return report_pruned(it, ret);
	/* A segment that can't be opened costs its entries. */
	if (result == -EBADMSG)
		return report_gap(it, f.view.end_id, ret);
	if (result != 0)
		return result;
	f.end_id = f.view.end_id;
	result = stream_view_find(&f.view, it->next_id, &f.cursor, &f.e);
	if (result == -EBADMSG && f.e.gap && f.e.gap_ids > it->next_id - f.e.id) {
		gap_end = f.e.id + f.e.gap_ids;
	} else if (result == 0) {
		struct meta_entry first = f.e;

		result = take_frames(&f);
		if (result == -EBADMSG)
			gap_end = first.id - first.index + first.entry_count;
		f.e = first;
	}
	stream_view_release(&f.view);
	if (result == -EFBIG) {
		result = take_large(it, &f.e);
		if (result == -EBADMSG)
			gap_end = f.e.id - f.e.index + f.e.entry_count;
	}
	if (result == WAL_PRUNED) /* just now */
		return report_pruned(it, ret);
	if (result == -EBADMSG && gap_end > it->next_id)
		return report_gap(it, gap_end < f.end_id ? gap_end : f.end_id, ret);
	return result;
}

int wal_iter_next(struct wal_iter *it, struct wal_entry *ret)
{
	if (it->item_pos == it->item_count) {
		empty(it);
		int result = fill(it, ret);

		if (result != 0) {
			stream_count_read(it->stream, result == WAL_GAP ? -EBADMSG : result, 0, 0);
			return result;
		}
	}
	*ret = it->items[it->item_pos++];
	it->next_id = ret->id + 1;
	it->read_entries++;
	it->read_bytes += ret->size;
	return 0;
}
