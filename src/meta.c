/* SPDX-License-Identifier: Apache-2.0 */
#include "meta.h"

#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "frame.h"
#include "wal.h"

/* No clock goes beyond this; what claims to would overflow on the way. */
#define LAST_TIME_MAX (INT64_MAX - ((int64_t)1 << 34))

enum {
	GUESSES_MAX = 6,
	SHORT_MAX = 4, /* bytes of a varint of 28 bits */
	SHORT_RECORD_MAX = 1 + 2 * SHORT_MAX,
};

bool meta_block_valid(const uint8_t block[META_BLOCK_BYTES], uint64_t segment_id)
{
	return get_le32(block + META_OFF_MAGIC) == META_MAGIC && get_le64(block + META_OFF_SEGMENT) == segment_id &&
	       get_le16(block + META_OFF_USED) <= META_RECORD_ROOM &&
	       get_le32(block + META_OFF_CRC) == crc32_update(0, block + META_OFF_SEGMENT, META_BLOCK_BYTES - META_OFF_SEGMENT);
}

bool meta_is_blank(const struct meta_view *view, uint64_t blocks)
{
	for (uint64_t no = 0; no < blocks; no++) {
		if (get_le32(view->map + no * META_BLOCK_BYTES) != 0)
			return false;
	}
	return true;
}

void meta_block_header(const uint8_t block[META_BLOCK_BYTES], struct meta_pos *ret_pos, uint64_t *ret_durable)
{
	*ret_pos = (struct meta_pos){
		.id = get_le64(block + META_OFF_ID),
		.frame_offset = get_le64(block + META_OFF_FRAME_OFFSET),
		.last_time = (int64_t)get_le64(block + META_OFF_LAST_TIME),
		.bytes = get_le64(block + META_OFF_BYTES),
		.payload_pos = get_le64(block + META_OFF_PAYLOAD_POS),
		.index = get_le32(block + META_OFF_INDEX),
		.entry_count = get_le32(block + META_OFF_ENTRY_COUNT),
		.disk_size = get_le32(block + META_OFF_DISK_SIZE),
		.type = block[META_OFF_TYPE],
	};
	if (ret_durable)
		*ret_durable = get_le64(block + META_OFF_DURABLE);
}

static uint64_t view_blocks(const struct meta_view *view)
{
	return view->map_blocks + (view->last != NULL);
}

/* The block, once it is known to hold; NULL if it does not. */
static const uint8_t *view_block(const struct meta_view *view, uint64_t no)
{
	if (no >= view->map_blocks)
		return view->last;

	const uint8_t *block = view->map + no * META_BLOCK_BYTES;
	uint8_t bit = (uint8_t)(1u << (no % 8));

	if (__atomic_load_n((const uint8_t *)&view->verified[no / 8], __ATOMIC_RELAXED) & bit)
		return block;
	if (!meta_block_valid(block, view->segment_id))
		return NULL;
	__atomic_fetch_or((uint8_t *)&view->verified[no / 8], bit, __ATOMIC_RELAXED);
	return block;
}

static uint64_t block_key(const uint8_t *block, enum meta_key by)
{
	switch (by) {
	case META_BY_ID:
		return get_le64(block + META_OFF_ID);
	case META_BY_BYTES:
		return get_le64(block + META_OFF_BYTES);
	case META_BY_FRAME_OFFSET:
		break;
	}
	return get_le64(block + META_OFF_FRAME_OFFSET);
}

static int cursor_load(struct meta_cursor *c, uint64_t no)
{
	const uint8_t *block = view_block(c->view, no);

	if (!block)
		return -EBADMSG;
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

/* Between block `low` with `low_key` and block `high` with `high_key`, the one that has `key` if all entries are of like size. */
static uint64_t guess(uint64_t low, uint64_t low_key, uint64_t high, uint64_t high_key, uint64_t key)
{
	return low + (uint64_t)((double)(high - low) * ((double)(key - low_key) / (double)(high_key - low_key)));
}

/*
 * The last block whose key is <= `key`. A few guesses lead there if entries are of like size; then halving goes on, so that no sidecar takes much longer than by that alone. Results as
 * meta_cursor_seek().
 */
static int find_block(const struct meta_view *view, enum meta_key by, uint64_t key, uint64_t *ret)
{
	uint64_t low = 0, high = view_blocks(view);
	const uint8_t *first = high > 0 ? view_block(view, 0) : NULL, *last = high > 0 ? view_block(view, high - 1) : NULL;

	if (high == 0)
		return WAL_NOT_FOUND;
	if (!first || !last)
		return -EBADMSG;
	uint64_t low_key = block_key(first, by), high_key = block_key(last, by);
	if (key < low_key)
		return WAL_NOT_FOUND;
	if (key >= high_key) {
		*ret = high - 1;
		return 0;
	}
	high--;
	/* low_key <= key < high_key, and so they are different. */
	for (unsigned looks = 0; high - low > 1; looks++) {
		uint64_t mid = looks < GUESSES_MAX ? guess(low, low_key, high, high_key, key) : low + (high - low) / 2;

		if (mid <= low)
			mid = low + 1;
		if (mid >= high)
			mid = high - 1;
		const uint8_t *block = view_block(view, mid);
		if (!block)
			return -EBADMSG;
		uint64_t mid_key = block_key(block, by);
		if (mid_key <= key) {
			low = mid;
			low_key = mid_key;
		} else {
			high = mid;
			high_key = mid_key;
		}
	}
	*ret = low;
	return 0;
}

int meta_cursor_seek(struct meta_cursor *c, const struct meta_view *view, enum meta_key by, uint64_t key)
{
	uint64_t block;
	int result = find_block(view, by, key, &block);

	if (result != 0)
		return result;
	c->view = view;
	return cursor_load(c, block);
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
		if (c->block + 1 >= view_blocks(c->view))
			return WAL_END;

		struct meta_pos before = c->at;
		int result = cursor_load(c, c->block + 1);

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
	if (delta > (uint64_t)(LAST_TIME_MAX - at->last_time) || at->id > UINT64_MAX - count)
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

int meta_find(struct meta_cursor *c, const struct meta_view *view, uint64_t id, struct meta_entry *ret)
{
	int result = meta_cursor_seek(c, view, META_BY_ID, id);

	while (result == 0) {
		skip_towards(c, id);
		result = meta_cursor_next(c, ret);
		if (result == 0 && (ret->gap ? id - ret->id < ret->gap_ids : ret->id == id))
			return 0;
		if (result == 0 && ret->id > id)
			return -EBADMSG;
	}
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
