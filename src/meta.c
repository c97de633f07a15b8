/* SPDX-License-Identifier: Apache-2.0 */
#include "meta.h"

#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "frame.h"
#include "wal.h"

/* No clock goes beyond this; what claims to would overflow on the way. */
#define LAST_TIME_MAX (INT64_MAX - ((int64_t)1 << 34))

enum {
	SHORT_MAX = 4, /* bytes of a varint of 28 bits */
	SHORT_RECORD_MAX = 1 + 2 * SHORT_MAX,
};

static int cursor_load(struct meta_cursor *c, uint64_t no, uint64_t count)
{
	const uint8_t *block;
	int result = meta_view_block(c->view, no, count, &block);

	if (result < 0)
		return result;
	c->block = no;
	c->pos = block + META_OFF_RECORDS;
	if (get_le16(block + META_OFF_USED) > META_RECORD_ROOM || get_le64(block + META_OFF_ID) < c->view->segment_id)
		return -EBADMSG;
	c->end = c->pos + get_le16(block + META_OFF_USED);
	meta_block_header(block, &c->at, NULL);
	/* The header must go with a frame that can be: everything below relies on index < entry_count inside one. */
	if (c->at.entry_count ? c->at.index >= c->at.entry_count || c->at.type > FRAME_LZ4 : c->at.index != 0)
		return -EBADMSG;
	return c->at.last_time < 0 || c->at.last_time > LAST_TIME_MAX || c->at.payload_pos > UINT32_MAX ? -EBADMSG : 0;
}

static int seek(struct meta_cursor *c, const struct meta_view *view, enum meta_key by, uint64_t key, bool likely)
{
	uint64_t block;
	int result = meta_view_find(view, by, key, likely, &block);

	if (result != 0)
		return result;
	c->view = view;
	return cursor_load(c, block, likely ? 1 : META_WINDOW_BLOCKS);
}

int meta_cursor_seek(struct meta_cursor *c, const struct meta_view *view, enum meta_key by, uint64_t key)
{
	return seek(c, view, by, key, false);
}

/* A number of up to 28 bits at `pos`, of which as many bytes can be read. 0: it is longer. */
static inline size_t take_short(const uint8_t *pos, uint32_t *ret)
{
	if (pos[0] < 0x80) {
		*ret = pos[0];
		return 1;
	}
	if (pos[1] < 0x80) {
		*ret = (pos[0] & 0x7fu) | (uint32_t)pos[1] << 7;
		return 2;
	}
	if (pos[2] < 0x80) {
		*ret = (pos[0] & 0x7fu) | (pos[1] & 0x7fu) << 7 | (uint32_t)pos[2] << 14;
		return 3;
	}
	*ret = (pos[0] & 0x7fu) | (pos[1] & 0x7fu) << 7 | (pos[2] & 0x7fu) << 14 | (uint32_t)pos[3] << 21;
	return pos[3] < 0x80 ? 4 : 0;
}

static inline bool take(struct meta_cursor *c, uint64_t *ret)
{
	uint32_t value;
	size_t n = c->end - c->pos >= SHORT_MAX ? take_short(c->pos, &value) : 0;

	if (n > 0)
		*ret = value;
	else
		n = get_varint(c->pos, c->end, ret);
	c->pos += n;
	return n != 0;
}

void meta_leave_frame(struct meta_pos *at)
{
	at->frame_offset += FRAME_HEADER_BYTES + (uint64_t)at->disk_size;
	at->payload_pos = 0;
	at->index = 0;
	at->entry_count = 0;
	at->disk_size = 0;
	at->type = 0;
}

/* At the end of a block's records: 0 with the next one, WAL_END behind the last. */
static int cursor_refill(struct meta_cursor *c)
{
	while (c->pos == c->end) {
		if (c->block + 1 >= meta_view_blocks(c->view))
			return WAL_END;

		struct meta_pos before = c->at;
		int result = cursor_load(c, c->block + 1, META_WINDOW_BLOCKS);

		if (result < 0)
			return result;
		/* Records are only put where they fit, so the states agree unless blocks were mixed up. */
		if (c->at.id != before.id || c->at.frame_offset != before.frame_offset || c->at.index != before.index ||
		    c->at.entry_count != before.entry_count)
			return -EBADMSG;
	}
	return 0;
}

/* Reads a record's head: a frame's, whose lengths follow, or a gap's, which is complete in *ret. */
static int cursor_head(struct meta_cursor *c, struct meta_entry *ret)
{
	struct meta_pos *at = &c->at;
	uint64_t head, delta, size;

	if (!take(c, &head))
		return -EBADMSG;

	uint64_t count = head >> 2;
	unsigned kind = head & 3;

	if (kind == META_GAP) {
		if (!take(c, &size))
			return -EBADMSG;
		*ret = (struct meta_entry){
			.gap = true,
			.id = at->id,
			.time_ns = at->last_time,
			.bytes = at->bytes,
			.frame_offset = at->frame_offset,
			.gap_ids = count,
			.gap_bytes = size,
		};
		if (__builtin_add_overflow(at->id, count, &at->id) || __builtin_add_overflow(at->frame_offset, size, &at->frame_offset))
			return -EBADMSG;
		return 0;
	}
	if (kind > FRAME_LZ4 || count == 0 || count > UINT32_MAX || !take(c, &delta))
		return -EBADMSG;
	size = 0;
	if ((kind != FRAME_RAW || count > 1) && (!take(c, &size) || size > UINT32_MAX))
		return -EBADMSG;
	if (at->last_time > LAST_TIME_MAX || delta > (uint64_t)(LAST_TIME_MAX - at->last_time) || at->id > UINT64_MAX - count)
		return -EBADMSG;
	at->last_time += (int64_t)delta;
	at->type = (uint8_t)kind;
	at->entry_count = (uint32_t)count;
	at->disk_size = (uint32_t)size;
	at->index = 0;
	at->payload_pos = 0;
	return 0;
}

int meta_cursor_next(struct meta_cursor *c, struct meta_entry *ret)
{
	struct meta_pos *at = &c->at;
	uint64_t size;
	int result;

	if (at->entry_count == 0) {
		result = cursor_refill(c);
		if (result != 0)
			return result;
		result = cursor_head(c, ret);
		if (result != 0 || at->entry_count == 0)
			return result;
	}
	if (c->pos == c->end) {
		result = cursor_refill(c);
		if (result != 0)
			return result == WAL_END ? -EBADMSG : result;
	}
	/* No frame's raw payload is larger than 32 bits can say. */
	if (!take(c, &size) || size > WAL_ENTRY_SIZE_MAX || at->payload_pos + FRAME_LENGTH_BYTES + size > UINT32_MAX)
		return -EBADMSG;
	if (at->entry_count == 1 && at->type == FRAME_RAW)
		at->disk_size = (uint32_t)size + FRAME_LENGTH_BYTES;
	at->last_time++;
	ret->gap = false;
	ret->id = at->id;
	ret->size = size;
	ret->time_ns = at->last_time;
	ret->bytes = at->bytes;
	ret->frame_offset = at->frame_offset;
	ret->payload_pos = at->payload_pos;
	ret->index = at->index;
	ret->entry_count = at->entry_count;
	ret->disk_size = at->disk_size;
	ret->type = at->type;
	ret->gap_ids = 0;
	ret->gap_bytes = 0;
	at->id++;
	at->bytes += size;
	at->payload_pos += FRAME_LENGTH_BYTES + size;
	if (++at->index == at->entry_count)
		meta_leave_frame(at);
	return 0;
}

size_t meta_cursor_run(struct meta_cursor *c, uint32_t *sizes, size_t max)
{
	struct meta_pos *at = &c->at;
	const uint8_t *pos = c->pos;
	size_t count = 0, left = at->entry_count ? at->entry_count - at->index - 1 : 0;
	uint64_t bytes = 0, payload_pos = at->payload_pos;

	if (max > left)
		max = left;
	while (count < max && c->end - pos >= SHORT_MAX) {
		uint32_t size;
		size_t n = take_short(pos, &size);

		if (n == 0 || payload_pos + FRAME_LENGTH_BYTES + size > UINT32_MAX)
			break;
		pos += n;
		bytes += size;
		payload_pos += FRAME_LENGTH_BYTES + (uint64_t)size;
		if (sizes)
			sizes[count] = size;
		count++;
	}
	c->pos = pos;
	at->id += count;
	at->last_time += (int64_t)count;
	at->bytes += bytes;
	at->payload_pos = payload_pos;
	at->index += (uint32_t)count;
	return count;
}

size_t meta_cursor_singles(struct meta_cursor *c, struct meta_single *singles, size_t max)
{
	struct meta_pos *at = &c->at;
	const uint8_t *pos = c->pos;
	size_t count = 0;
	uint64_t bytes = 0;

	if (at->entry_count > 0)
		return 0;
	while (count < max && c->end - pos >= SHORT_RECORD_MAX && pos[0] == (1 << 2 | FRAME_RAW)) {
		uint32_t delta, size;
		size_t n = take_short(pos + 1, &delta), m = n ? take_short(pos + 1 + n, &size) : 0;

		if (m == 0 || delta > LAST_TIME_MAX - at->last_time)
			break;
		pos += 1 + n + m;
		bytes += size;
		at->last_time += (int64_t)delta + 1;
		if (singles)
			singles[count] = (struct meta_single){ at->last_time, size };
		count++;
	}
	c->pos = pos;
	at->id += count;
	at->bytes += bytes;
	at->frame_offset += count * (FRAME_HEADER_BYTES + FRAME_LENGTH_BYTES) + bytes;
	return count;
}

/*
 * Goes on towards `id` over what needs no more than adding up. It stops at anything else, for meta_cursor_next(), which goes on from any place that this leaves.
 */
static void skip_towards(struct meta_cursor *c, uint64_t id)
{
	struct meta_pos *at = &c->at;

	if (at->id < id)
		meta_cursor_singles(c, NULL, id - at->id);
	if (at->entry_count > 1 && at->id < id)
		meta_cursor_run(c, NULL, id - at->id < UINT32_MAX ? (size_t)(id - at->id) : UINT32_MAX);
}

/* From where the cursor is on. WAL_END behind the last block, or with `here` behind the one that it is in. */
static int cursor_find(struct meta_cursor *c, uint64_t id, bool here, struct meta_entry *ret)
{
	for (;;) {
		skip_towards(c, id);
		if (here && c->pos == c->end)
			return WAL_END;
		int result = meta_cursor_next(c, ret);
		if (result != 0 || (ret->gap ? id - ret->id < ret->gap_ids : ret->id == id))
			return result;
		if (ret->id > id)
			return -EBADMSG;
	}
}

int meta_find(struct meta_cursor *c, const struct meta_view *view, uint64_t id, struct meta_entry *ret)
{
	/* The likely block most often has it: then no other had to be looked at. */
	if (seek(c, view, META_BY_ID, id, true) == 0 && cursor_find(c, id, true, ret) == 0)
		return 0;
	int result = meta_cursor_seek(c, view, META_BY_ID, id);
	if (result == 0)
		result = cursor_find(c, id, false, ret);
	return result == WAL_END ? WAL_NOT_FOUND : result;
}

int meta_cursor_end(struct meta_cursor *c, struct meta_pos *ret)
{
	struct meta_entry entry;
	int result;

	do {
		skip_towards(c, UINT64_MAX);
		result = meta_cursor_next(c, &entry);
	} while (result == 0);
	if (result != WAL_END)
		return result;
	*ret = c->at;
	return 0;
}
