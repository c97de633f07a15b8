/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Iteration fetches a window of whole frames at a time, checks them, and hands the entries out of it: as items, which point into it, or by copying them to where the caller wants them. The segment is pinned only while
 * that is done, and the window is the iterator's own, so a call holds nothing of the stream's when it returns.
 *
 * The window stays for the next time: bytes of a segment that were visible once do not change.
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
	SINGLES_MAX = 128,
};

struct wal_iter {
	struct wal_stream *stream;
	uint64_t next_id; /* after the last entry that was handed out */
	struct wal_entry *items;
	size_t item_pos;
	size_t item_count;
	uint64_t read_entries;		   /* handed out and not counted yet */
	uint64_t read_bytes;
	struct wal_buf window;		   /* raw frames, as they are in the segment, */
	uint64_t window_segment;	   /* which one, */
	uint64_t window_offset;		   /* and where in it they begin */
	struct block *blocks[BLOCKS_MAX];  /* payloads of compressed frames */
	size_t block_count;
	struct wal_reader *reader;	   /* of a frame that is too large for either, */
	struct wal_buf large;		   /* and one entry of it */
};

/* Where entries are copied to. */
struct room {
	uint8_t *at;
	size_t left;
	size_t count; /* entries that were */
};

/* A window being filled, and handed out. */
struct filling {
	struct wal_iter *it;
	struct room *room;	/* NULL: all become items */
	struct stream_view view;
	struct meta_cursor cursor;
	struct meta_entry e;	/* the next entry to hand out */
	struct meta_single singles[SINGLES_MAX]; /* what the cursor has gone over behind it */
	size_t single_pos;
	size_t single_count;
	const uint8_t *data;	/* the window, once it is this one's */
	uint64_t end_id;
	bool end;		/* nothing follows in this view */
	bool some;		/* at least one entry was handed out */
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

static inline void add_item(struct wal_iter *it, uint64_t id, int64_t time_ns, const void *data, size_t size)
{
	it->items[it->item_count++] = (struct wal_entry){ .id = id, .time_ns = time_ns, .data = data, .size = size };
}

static void handed_out(struct wal_iter *it, uint64_t id, size_t size)
{
	it->next_id = id + 1;
	it->read_entries++;
	it->read_bytes += size;
}

static bool copy_entry(struct wal_iter *it, struct room *room, uint64_t id, const void *data, size_t size)
{
	if (size > room->left)
		return false;
	if (size > 0) {
		memcpy(room->at, data, size);
		room->at += size;
		room->left -= size;
	}
	room->count++;
	handed_out(it, id, size);
	return true;
}

static inline void hand_out(struct filling *f, uint64_t id, int64_t time_ns, const void *data, size_t size)
{
	struct wal_iter *it = f->it;

	f->some = true;
	if (!f->room || it->item_count > 0 || !copy_entry(it, f->room, id, data, size))
		add_item(it, id, time_ns, data, size);
}

/* Items are wanted by the window; behind copies only what is left of a frame, so that it is not checked twice. */
static inline bool wants_frame(const struct filling *f)
{
	return !f->end && f->it->item_count < (f->room ? 1 : ITEMS_MAX);
}

/* Moves to the next of f->singles. */
static inline void advance_single(struct filling *f)
{
	const struct meta_single *next = &f->singles[f->single_pos++];

	f->e.id++;
	f->e.time_ns = next->time_ns;
	f->e.bytes += f->e.size;
	f->e.frame_offset += FRAME_HEADER_BYTES + (uint64_t)f->e.disk_size;
	f->e.size = next->size;
	f->e.disk_size = next->size + FRAME_LENGTH_BYTES;
}

static inline bool is_single(const struct meta_entry *e)
{
	return e->type == FRAME_RAW && e->entry_count == 1;
}

/* Moves to the next entry. A gap or the end of what is visible ends the window. < 0 if the sidecar does not hold. */
static int advance(struct filling *f)
{
	int result = f->e.id + 1 < f->end_id ? 0 : WAL_END;

	if (result == 0 && f->single_pos < f->single_count) {
		advance_single(f);
		return 0;
	}
	if (result == 0)
		result = meta_cursor_next(&f->cursor, &f->e);
	f->end = result != 0 || f->e.gap;
	f->single_pos = f->single_count = 0;
	if (!f->end && is_single(&f->e))
		f->single_count = meta_cursor_singles(&f->cursor, f->singles, SINGLES_MAX);
	return result < 0 ? result : 0;
}

/* Whether an entry of `entry_size` bytes stands at `pos` of a frame's raw payload of `size`. */
static inline bool is_entry(const uint8_t *payload, size_t size, uint64_t pos, uint64_t entry_size)
{
	return pos + FRAME_LENGTH_BYTES + entry_size <= size && get_le32(payload + pos) == entry_size;
}

static int bad_entry(const struct filling *f)
{
	return stream_damaged(f->it->stream, f->view.segment, &f->e, "the entry's length", "another");
}

/* Hands out the entry of f->e, out of the frame's raw payload. -EBADMSG if its length there is not that of the sidecar. */
static inline int take_entry(struct filling *f, const uint8_t *payload, size_t size)
{
	if (!is_entry(payload, size, f->e.payload_pos, f->e.size))
		return bad_entry(f);
	hand_out(f, f->e.id, f->e.time_ns, payload + f->e.payload_pos + FRAME_LENGTH_BYTES, (size_t)f->e.size);
	return 0;
}

/* Hands out those entries of the frame behind f->e that come in a run, and leaves f->e at the last that was handed out, or at the bad one. */
static int take_run(struct filling *f, const uint8_t *payload, size_t size)
{
	uint32_t sizes[RUN_MAX];
	uint64_t max = f->end_id - f->e.id - 1, pos = f->e.payload_pos, entry_size = f->e.size, bytes = f->e.bytes;
	bool good = true;
	size_t i = 0;

	if (max > RUN_MAX)
		max = RUN_MAX;
	if (max > ITEMS_MAX - f->it->item_count)
		max = ITEMS_MAX - f->it->item_count;
	size_t count = meta_cursor_run(&f->cursor, sizes, (size_t)max);
	while (i < count && good) {
		bytes += entry_size;
		pos += FRAME_LENGTH_BYTES + entry_size;
		entry_size = sizes[i++];
		good = is_entry(payload, size, pos, entry_size);
		if (good)
			hand_out(f, f->e.id + i, f->e.time_ns + (int64_t)i, payload + pos + FRAME_LENGTH_BYTES, (size_t)entry_size);
	}
	f->e.id += i;
	f->e.time_ns += (int64_t)i;
	f->e.index += (uint32_t)i;
	f->e.bytes = bytes;
	f->e.payload_pos = pos;
	f->e.size = entry_size;
	return good ? 0 : bad_entry(f);
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

static bool in_window(const struct filling *f)
{
	const struct wal_iter *it = f->it;
	uint64_t at = f->e.frame_offset - it->window_offset;

	return at <= it->window.size && FRAME_HEADER_BYTES + (uint64_t)f->e.disk_size <= it->window.size - at;
}

/* Reads the bytes from f->e's frame on: as many as a window takes, or the one frame if that is more. */
static int fetch_window(struct filling *f)
{
	struct engine *engine = f->it->stream->engine;
	struct wal_buf *window = &f->it->window;
	uint64_t size = FRAME_HEADER_BYTES + (uint64_t)f->e.disk_size;

	if (f->e.frame_offset > f->view.size || size > f->view.size - f->e.frame_offset)
		return stream_damaged(f->it->stream, f->view.segment, &f->e, "a whole frame", "the end of the file");
	if (size < engine->env.opts.read_buffer)
		size = engine->env.opts.read_buffer;
	if (size > f->view.size - f->e.frame_offset)
		size = f->view.size - f->e.frame_offset;
	window->size = 0;
	int result = buf_reserve(window, (size_t)size);
	if (result < 0)
		return result;
	if (f->view.segment->data) {
		/* The map may go when the segment is unpinned. */
		memcpy(window->data, f->view.segment->data + f->e.frame_offset, (size_t)size);
	} else {
		ssize_t n = sys_pread_full(engine->env.sys, f->view.segment->fd, window->data, (size_t)size, f->e.frame_offset);
		if (n < 0)
			return (int)n;
		size = (uint64_t)n;
	}
	window->size = (size_t)size;
	f->it->window_segment = f->view.first_id;
	f->it->window_offset = f->e.frame_offset;
	return 0;
}

/* Sees to it that f->e's frame, which is raw, is in the window. WAL_END if it is in the next one; -EFBIG if it is too large for any. */
static int reach_frame(struct filling *f)
{
	struct wal_iter *it = f->it;

	if (!f->data) {
		int result = 0;

		if (f->e.disk_size > FRAME_BYTES_LARGE)
			return -EFBIG;
		if (it->window_segment != f->view.first_id || !in_window(f))
			result = fetch_window(f);
		if (result < 0)
			return result;
		f->data = it->window.data;
	}
	if (in_window(f))
		return 0;
	return f->some ? WAL_END : stream_damaged(it->stream, f->view.segment, &f->e, "a whole frame", "the end of the file");
}

/* Takes frames while they are in the window. -EFBIG if the first is too large for one. */
static int take_frames(struct filling *f)
{
	struct wal_iter *it = f->it;
	int result = 0;

	while (result == 0 && wants_frame(f)) {
		if (f->e.type == FRAME_LZ4) {
			if (it->block_count == BLOCKS_MAX)
				break;
			result = take_packed_frame(f);
			continue;
		}
		result = reach_frame(f);
		if (result != 0)
			break;

		const uint8_t *frame = f->data + (f->e.frame_offset - it->window_offset);

		/* What is not as it should be is looked at again to say why. */
		if (is_single(&f->e) && frame_is_single(frame, f->e.id, (uint32_t)f->e.size)) {
			hand_out(f, f->e.id, f->e.time_ns, frame + FRAME_HEADER_BYTES + FRAME_LENGTH_BYTES, (size_t)f->e.size);
			result = advance(f);
		} else {
			result = take_raw_frame(f, frame);
		}
	}
	/* What came before the trouble is handed out first; the trouble is met again then. */
	return f->some ? 0 : result;
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
		add_item(it, e->id, e->time_ns, it->large.data, (size_t)e->size);
	return result;
}

static int report_pruned(struct wal_iter *it, struct wal_entry *ret)
{
	uint64_t first;

	wal_stream_bounds(it->stream, &first, NULL, NULL);
	report_gap(it, first, ret);
	return WAL_PRUNED;
}

/*
 * Fills the window from it->next_id on with entries below `end_id`. A condition of wal_iter_next() that fills *ret, WAL_END, or 0: at least one entry is in `room` (NULL: none is to be there) or among the items.
 */
static int fill(struct wal_iter *it, uint64_t end_id, struct room *room, struct wal_entry *ret)
{
	struct filling f = { .it = it, .room = room };
	uint64_t gap_end = 0;
	int result = stream_view_open(it->stream, it->next_id, &f.view);

	if (result == WAL_NOT_FOUND)
		return WAL_END;
	if (result == WAL_PRUNED)
		return report_pruned(it, ret);
	if (result != 0 && result != -EBADMSG)
		return result;
	f.end_id = f.view.end_id < end_id ? f.view.end_id : end_id;
	/* A segment that can't be opened costs its entries. */
	if (result == -EBADMSG)
		return report_gap(it, f.end_id, ret);
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

static int count_result(struct wal_iter *it, int result)
{
	return stream_count_read(it->stream, result == WAL_GAP ? -EBADMSG : result, 0, 0), result;
}

int wal_iter_next(struct wal_iter *it, struct wal_entry *ret)
{
	if (it->item_pos == it->item_count) {
		empty(it);
		int result = fill(it, UINT64_MAX, NULL, ret);

		if (result != 0)
			return count_result(it, result);
	}
	*ret = it->items[it->item_pos++];
	handed_out(it, ret->id, ret->size);
	return 0;
}

/* Copies of the items what fits. False if one is left. */
static bool copy_items(struct wal_iter *it, uint64_t end_id, struct room *room)
{
	while (it->item_pos < it->item_count) {
		const struct wal_entry *e = &it->items[it->item_pos];

		if (e->id >= end_id || !copy_entry(it, room, e->id, e->data, e->size))
			return false;
		it->item_pos++;
	}
	return true;
}

int wal_iter_copy(struct wal_iter *it, uint64_t end_id, void *buf, size_t size, struct wal_entry *ret, size_t *ret_count)
{
	struct room room = { .at = buf, .left = size };
	uint64_t first_id = it->next_id;

	if (first_id >= end_id)
		return WAL_END;
	while (copy_items(it, end_id, &room) && it->next_id < end_id && (room.left > 0 || room.count == 0)) {
		uint64_t before = it->next_id;

		empty(it);
		int result = fill(it, end_id, &room, ret);
		if (result != 0 && room.count == 0)
			return count_result(it, result);
		if (result != 0) {
			/* What was copied is handed out first; this is met again then. */
			it->next_id = before;
			break;
		}
	}
	*ret = (struct wal_entry){ .id = first_id, .data = buf, .size = size - room.left };
	*ret_count = room.count;
	return 0;
}
