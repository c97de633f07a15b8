/* SPDX-License-Identifier: Apache-2.0 */
#include "rebuild.h"

#include <errno.h>

#include "cleanup.h"
#include "wal.h"

#define NSEC_PER_SEC 1000000000

static int write_block(struct meta_writer *w, uint64_t block_no, uint8_t block[META_BLOCK_BYTES])
{
	struct rebuild *r = container_of(w, struct rebuild, writer);

	if (r->write)
		return r->write(r, block_no, block);
	return sys_pwrite_full(r->scan->sys, r->out_fd, block, META_BLOCK_BYTES, block_no * META_BLOCK_BYTES);
}

static void begin(struct rebuild *r)
{
	r->writer.durable = 0;
	r->writer.emit = write_block;
	r->old_usable = false;
}

void rebuild_begin(struct rebuild *r, uint64_t segment_id, const struct meta_pos *at, uint64_t block_no)
{
	meta_writer_begin(&r->writer, segment_id, at, block_no, r->block);
	begin(r);
}

int rebuild_resume(struct rebuild *r, uint64_t segment_id, uint64_t block_no, const uint8_t source[META_BLOCK_BYTES], uint64_t keep_frame_offset)
{
	int result = meta_writer_resume(&r->writer, segment_id, block_no, r->block, source, keep_frame_offset);

	begin(r);
	return result;
}

/* Old blocks that can't be read just now are not bad: their times are not made up for that. */
static bool is_unreadable(int result)
{
	return result < 0 && result != -EBADMSG;
}

/* The time of the frame at r->writer.at: as the old blocks have it if they agree with what is there, else the fallback. Above the one before in any case. */
static int frame_time(struct rebuild *r, const struct frame_header *h, int64_t *ret)
{
	const struct meta_pos *at = &r->writer.at;
	int64_t time = r->fallback_time + (int64_t)(h->start_id % NSEC_PER_SEC);
	struct meta_entry entry;
	bool known = false;

	if (r->old) {
		int result;

		if (r->old_usable && r->old_cursor.at.id == h->start_id)
			result = meta_cursor_next(&r->old_cursor, &entry);
		else
			result = meta_find(&r->old_cursor, r->old, h->start_id, &entry);
		if (is_unreadable(result))
			return result;
		r->old_usable = result == 0;
		if (result == 0 && !entry.gap && entry.id == h->start_id && entry.frame_offset == at->frame_offset + r->old_shift && entry.index == 0) {
			time = entry.time_ns;
			known = true;
			for (uint32_t i = 1; i < h->entry_count && r->old_usable; i++) {
				result = meta_cursor_next(&r->old_cursor, &entry);
				if (is_unreadable(result))
					return result;
				r->old_usable = result == 0;
			}
		}
	}
	if (!known && !r->made_up) {
		r->made_up = true;
		r->made_up_id = h->start_id;
	}
	*ret = time > at->last_time ? time : at->last_time + 1;
	return 0;
}

static int add_length(void *arg, uint32_t size)
{
	struct rebuild *r = arg;

	return meta_writer_length(&r->writer, size);
}

/* The lengths of the entries of the valid frame at `offset`. */
static int add_lengths(struct rebuild *r, uint64_t offset, const struct frame_header *h)
{
	/* Of one entry there is nothing to be read. */
	if (h->type == FRAME_RAW && h->entry_count == 1)
		return meta_writer_length(&r->writer, h->disk_size - FRAME_LENGTH_BYTES);
	return scan_lengths(r->scan, offset, h, add_length, r);
}

int rebuild_frames(struct rebuild *r, uint64_t id_end, enum frame_fault *ret_fault, struct frame_header *ret_header)
{
	const struct meta_pos *at = &r->writer.at;

	*ret_fault = FRAME_OK;
	while (at->frame_offset < r->scan->size && at->id < id_end) {
		struct frame_header h;
		enum frame_fault fault;
		uint64_t offset = at->frame_offset;
		int result = scan_frame(r->scan, offset, &h, &fault);

		if (result < 0)
			return result;
		if (fault == FRAME_OK && (h.start_id != at->id || h.entry_count > id_end - at->id))
			fault = FRAME_BAD_ID;
		if (fault != FRAME_OK) {
			*ret_fault = fault;
			*ret_header = h;
			return 0;
		}
		scan_accept(r->scan, offset, &h);
		int64_t time;
		result = frame_time(r, &h, &time);
		if (result == 0)
			result = meta_writer_frame(&r->writer, h.entry_count, h.type, h.disk_size, time);
		if (result == 0)
			result = add_lengths(r, offset, &h);
		if (result < 0)
			return result;
	}
	return 0;
}

int rebuild_gap(struct rebuild *r, uint64_t offset, uint64_t id)
{
	return meta_writer_gap(&r->writer, id - r->writer.at.id, offset - r->writer.at.frame_offset);
}

int rebuild_finish(struct rebuild *r, uint64_t durable)
{
	meta_block_seal(r->writer.block, r->writer.used, durable);
	int result = write_block(&r->writer, r->writer.block_no, r->writer.block);
	if (result == 0)
		result = r->scan->sys->ftruncate(r->scan->sys, r->out_fd, (r->writer.block_no + 1) * META_BLOCK_BYTES);
	return result;
}

int rebuild_sealed(struct rebuild *r, uint64_t id_end, rebuild_damage *damage, void *arg)
{
	const struct meta_pos *at = &r->writer.at;

	for (;;) {
		struct frame_header h = { 0 }, next;
		enum frame_fault fault;
		uint64_t offset = r->scan->size, id = id_end;
		int result = rebuild_frames(r, id_end, &fault, &h);

		if (result < 0)
			return result;
		if (at->id == id_end && (at->frame_offset == r->scan->size || scan_is_zero(r->scan, at->frame_offset, r->scan->size) == 1))
			break; /* preallocated space that a crash kept from being cut is no damage */
		if (at->id < id_end) {
			/* What can't be searched for ever is given up: the gap then reaches to the end. */
			result = scan_find(r->scan, at->frame_offset, at->id, id_end, &offset, &next);
			if (result < 0)
				return result;
			if (result == 0)
				id = next.start_id;
			else
				offset = r->scan->size;
		}
		damage(arg, at->frame_offset, offset - at->frame_offset, at->id, id - at->id, fault, &h);
		result = rebuild_gap(r, offset, id);
		if (result < 0)
			return result;
		if (offset == r->scan->size)
			break;
	}
	return rebuild_finish(r, r->scan->size);
}
