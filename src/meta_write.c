/* SPDX-License-Identifier: Apache-2.0 */
#include "meta.h"

#include <errno.h>
#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "frame.h"

#define GAP_IDS_MAX (UINT64_MAX >> 2)

enum {
	FRAME_RECORD_MAX = 3 * VARINT_BYTES_MAX, /* head, time, disk size */
	GAP_RECORD_MAX = 2 * VARINT_BYTES_MAX,
};

static void put_header(uint8_t *block, uint64_t segment_id, const struct meta_pos *at)
{
	put_le32(block + META_OFF_MAGIC, META_MAGIC);
	put_le64(block + META_OFF_SEGMENT, segment_id);
	put_le64(block + META_OFF_ID, at->id);
	put_le64(block + META_OFF_FRAME_OFFSET, at->frame_offset);
	put_le64(block + META_OFF_LAST_TIME, (uint64_t)at->last_time);
	put_le64(block + META_OFF_BYTES, at->bytes);
	put_le64(block + META_OFF_PAYLOAD_POS, at->payload_pos);
	put_le32(block + META_OFF_INDEX, at->index);
	put_le32(block + META_OFF_ENTRY_COUNT, at->entry_count);
	put_le32(block + META_OFF_DISK_SIZE, at->disk_size);
	block[META_OFF_TYPE] = at->type;
	block[META_OFF_TYPE + 1] = 0;
}

void meta_block_seal(uint8_t block[META_BLOCK_BYTES], size_t used, uint64_t durable)
{
	assert(used <= META_RECORD_ROOM);
	memset(block + META_OFF_RECORDS + used, 0, META_RECORD_ROOM - used);
	put_le16(block + META_OFF_USED, (uint16_t)used);
	put_le64(block + META_OFF_DURABLE, durable);
	put_le32(block + META_OFF_CRC, crc32_update(0, block + META_OFF_SEGMENT, META_BLOCK_BYTES - META_OFF_SEGMENT));
}

void meta_writer_begin(struct meta_writer *w, uint64_t segment_id, const struct meta_pos *at, uint64_t block_no, uint8_t *block)
{
	w->segment_id = segment_id;
	w->block_no = block_no;
	w->at = at ? *at : (struct meta_pos){ .id = segment_id };
	w->block = block;
	w->used = 0;
	put_header(block, segment_id, &w->at);
}

int meta_writer_resume(struct meta_writer *w, uint64_t segment_id, uint64_t block_no, uint8_t *block, const uint8_t source[META_BLOCK_BYTES],
		       uint64_t keep_frame_offset)
{
	struct meta_view view = { .segment_id = segment_id, .last = source };
	struct meta_cursor c = { .view = &view };
	struct meta_entry entry;
	int result = meta_cursor_seek(&c, &view, META_BY_ID, UINT64_MAX);

	if (result < 0)
		return result;
	while (!(c.at.entry_count == 0 && c.at.frame_offset >= keep_frame_offset)) {
		if (c.pos == c.end)
			break;
		result = meta_cursor_next(&c, &entry);
		if (result != 0)
			return -EBADMSG;
	}
	if (c.at.frame_offset != keep_frame_offset || c.at.entry_count != 0)
		return -EBADMSG;
	w->segment_id = segment_id;
	w->block_no = block_no;
	w->block = block;
	memmove(block, source, META_BLOCK_BYTES);
	w->used = (size_t)(c.pos - (source + META_OFF_RECORDS));
	w->at = c.at;
	return 0;
}

/* Room for `bytes` more in the block, or a fresh one. */
static int make_room(struct meta_writer *w, size_t bytes)
{
	if (w->used + bytes <= META_RECORD_ROOM)
		return 0;

	meta_block_seal(w->block, w->used, w->durable);
	int result = w->emit(w, w->block_no, w->block);
	if (result < 0)
		return result;
	w->block_no++;
	w->used = 0;
	put_header(w->block, w->segment_id, &w->at);
	return 0;
}

static void put(struct meta_writer *w, uint64_t value)
{
	w->used += put_varint(w->block + META_OFF_RECORDS + w->used, value);
}

int meta_writer_frame(struct meta_writer *w, uint32_t entry_count, uint8_t type, uint32_t disk_size, int64_t time_ns)
{
	assert(w->at.entry_count == 0 && entry_count > 0 && type <= FRAME_LZ4 && time_ns > w->at.last_time);
	int result = make_room(w, FRAME_RECORD_MAX);
	if (result < 0)
		return result;
	put(w, (uint64_t)entry_count << 2 | type);
	put(w, (uint64_t)time_ns - (uint64_t)w->at.last_time - 1);
	if (type != FRAME_RAW || entry_count > 1)
		put(w, disk_size);
	w->at.last_time = time_ns - 1;
	w->at.type = type;
	w->at.entry_count = entry_count;
	w->at.disk_size = disk_size;
	w->at.index = 0;
	w->at.payload_pos = 0;
	return 0;
}

/* As many of the lengths as certainly have room in the block; returns how many. */
static size_t put_lengths(struct meta_writer *w, const struct iovec *entries, size_t count)
{
	uint8_t *begin = w->block + META_OFF_RECORDS + w->used, *pos = begin;
	size_t fit = (META_RECORD_ROOM - w->used) / VARINT_BYTES_MAX;
	uint64_t bytes = 0;

	if (count > fit)
		count = fit;
	for (size_t i = 0; i < count; i++) {
		pos += put_varint(pos, entries[i].iov_len);
		bytes += entries[i].iov_len;
	}
	w->used += (size_t)(pos - begin);
	w->at.id += count;
	w->at.last_time += (int64_t)count;
	w->at.bytes += bytes;
	w->at.payload_pos += FRAME_LENGTH_BYTES * (uint64_t)count + bytes;
	w->at.index += (uint32_t)count;
	return count;
}

int meta_writer_lengths(struct meta_writer *w, const struct iovec *entries, size_t count)
{
	assert(count <= w->at.entry_count - w->at.index);
	while (count > 0) {
		int result = make_room(w, VARINT_BYTES_MAX);
		if (result < 0)
			return result;
		size_t done = put_lengths(w, entries, count);
		entries += done;
		count -= done;
	}
	if (w->at.index == w->at.entry_count)
		meta_leave_frame(&w->at);
	return 0;
}

int meta_writer_length(struct meta_writer *w, uint32_t size)
{
	struct iovec entry = { .iov_len = size };

	return meta_writer_lengths(w, &entry, 1);
}

int meta_writer_entry(struct meta_writer *w, uint32_t size, int64_t time_ns)
{
	assert(w->at.entry_count == 0 && time_ns > w->at.last_time);
	int result = make_room(w, FRAME_RECORD_MAX + VARINT_BYTES_MAX);
	if (result < 0)
		return result;
	uint8_t *begin = w->block + META_OFF_RECORDS + w->used, *pos = begin;
	pos += put_varint(pos, 1 << 2 | FRAME_RAW);
	pos += put_varint(pos, (uint64_t)time_ns - (uint64_t)w->at.last_time - 1);
	pos += put_varint(pos, size);
	w->used += (size_t)(pos - begin);
	w->at.id++;
	w->at.last_time = time_ns;
	w->at.bytes += size;
	w->at.frame_offset += FRAME_HEADER_BYTES + FRAME_LENGTH_BYTES + (uint64_t)size;
	return 0;
}

static int put_gap(struct meta_writer *w, uint64_t ids, uint64_t bytes)
{
	int result = make_room(w, GAP_RECORD_MAX);
	if (result < 0)
		return result;
	put(w, ids << 2 | META_GAP);
	put(w, bytes);
	w->at.id += ids;
	w->at.frame_offset += bytes;
	return 0;
}

int meta_writer_gap(struct meta_writer *w, uint64_t ids, uint64_t bytes)
{
	int result = 0;

	assert(w->at.entry_count == 0);
	/* A segment's name can be anything, so there may be more ids between two than a record has room for. */
	for (; ids > GAP_IDS_MAX && result == 0; ids -= GAP_IDS_MAX)
		result = put_gap(w, GAP_IDS_MAX, 0);
	return result < 0 ? result : put_gap(w, ids, bytes);
}
