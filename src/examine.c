/* SPDX-License-Identifier: Apache-2.0 */
#include "examine.h"

#include <errno.h>
#include <stdlib.h>

#include "names.h"

enum { REREADS_MAX = 3 };

/* The sidecar goes along with the frames, entry by entry, as long as it tells the same. */
struct following {
	struct exam *exam;
	struct scan scan;
	struct meta_cursor cursor;
	bool follows;
	uint64_t frame_offset;
	struct frame_header h;
	uint64_t id; /* of the next entry */
};

static int add_extent(struct exam *x, const struct extent *extent)
{
	struct extent *last = x->extent_count > 0 ? &x->extents[x->extent_count - 1] : NULL;

	if (last && last->good && extent->good) {
		last->bytes += extent->bytes;
		last->ids += extent->ids;
		return 0;
	}
	struct extent *extents = reallocarray(x->extents, x->extent_count + 1, sizeof *extents);
	if (!extents)
		return -ENOMEM;
	x->extents = extents;
	x->extents[x->extent_count++] = *extent;
	return 0;
}

static void differs(struct following *f, uint64_t offset)
{
	if (f->follows) {
		f->exam->meta_differs = true;
		f->exam->meta_differs_at = offset;
	}
	f->follows = false;
}

static int compare_entry(void *arg, uint32_t size)
{
	struct following *f = arg;
	struct meta_entry e;
	int result = f->follows ? meta_cursor_next(&f->cursor, &e) : WAL_END;

	/* A sidecar that ends before the last segment does is behind, not wrong. */
	if (result == WAL_END && f->exam->end_id == UINT64_MAX)
		f->follows = false;
	else if (result != 0 || e.gap || e.id != f->id || e.size != size || e.frame_offset != f->frame_offset || e.entry_count != f->h.entry_count ||
		 e.disk_size != f->h.disk_size || e.type != f->h.type)
		differs(f, f->frame_offset);
	f->id++;
	return 0;
}

static int take_frame(struct following *f, uint64_t offset, const struct frame_header *h)
{
	struct exam *x = f->exam;
	struct extent extent = { .good = true, .offset = offset, .bytes = FRAME_HEADER_BYTES + (uint64_t)h->disk_size, .first_id = h->start_id, .ids = h->entry_count };
	int result = add_extent(x, &extent);

	scan_accept(&f->scan, offset, h);
	f->frame_offset = offset;
	f->h = *h;
	f->id = h->start_id;
	if (result == 0 && f->follows)
		result = scan_lengths(&f->scan, offset, h, compare_entry, f);
	x->end_offset = offset + extent.bytes;
	x->next_id = h->start_id + h->entry_count;
	x->frames++;
	x->entries += h->entry_count;
	if (x->progress)
		x->progress(x->arg, extent.bytes);
	return result;
}

/* Damaged bytes up to `offset` cost the ids up to `id`. The sidecar should tell of the same gap. */
static int take_gap(struct following *f, uint64_t offset, uint64_t id, enum frame_fault fault, const struct frame_header *h)
{
	struct exam *x = f->exam;
	struct extent extent = { .offset = x->end_offset, .bytes = offset - x->end_offset, .first_id = x->next_id, .ids = id - x->next_id, .fault = fault, .header = *h };
	struct meta_entry e;
	int result = add_extent(x, &extent);

	/* A sidecar from before the damage still has the entries: that is no fault of it. */
	if (f->follows && (meta_find(&f->cursor, &x->meta, id, &e) != 0 || e.gap || e.frame_offset != offset))
		f->follows = false;
	else if (f->follows && meta_cursor_seek(&f->cursor, &x->meta, META_BY_FRAME_OFFSET, offset) == 0)
		while (f->cursor.at.frame_offset < offset && meta_cursor_next(&f->cursor, &e) == 0)
			;
	if (x->progress)
		x->progress(x->arg, extent.bytes);
	x->end_offset = offset;
	x->next_id = id;
	return result;
}

/* Decides what the bytes from x->end_offset on are, which are no valid frame. 1: frames go on behind them, 0: that was the end, < 0. */
static int take_bad(struct following *f, enum frame_fault fault, const struct frame_header *h)
{
	struct exam *x = f->exam;
	bool last = x->end_id == UINT64_MAX, durable = !last || x->end_offset < x->durable;
	struct frame_header next;
	uint64_t offset;
	int result = scan_is_zero(&f->scan, x->end_offset, x->size);

	if (result < 0)
		return result;
	if (result == 1 && (last ? !durable : x->next_id == x->end_id)) {
		x->end = x->end_offset == x->size ? SEGMENT_EXACT : SEGMENT_ZEROS;
		return 0;
	}
	if (!durable) {
		result = scan_vouched(&f->scan, x->end_offset, x->next_id);
		if (result < 0)
			return result;
		if (result == 0) {
			x->end = SEGMENT_TORN;
			x->end_fault = fault;
			return 0;
		}
	}
	result = x->next_id < x->end_id ? scan_find(&f->scan, x->end_offset, x->next_id, x->end_id, &offset, &next) : WAL_END;
	if (result < 0)
		return result;
	if (result == 0) {
		result = take_gap(f, offset, next.start_id, fault, h);
		return result < 0 ? result : 1;
	}
	/* Nothing more: all that is left is bad, and with it the ids up to the next segment, or those that the sidecar knows of. */
	uint64_t id = last ? x->meta_end_id : x->end_id;
	return take_gap(f, x->size, id > x->next_id ? id : x->next_id, fault, h);
}

static int run(struct following *f)
{
	struct exam *x = f->exam;
	unsigned rereads = 0;

	while (x->next_id < x->end_id || x->end_offset < x->size) {
		struct frame_header h = { 0 };
		enum frame_fault fault = FRAME_BAD_SIZE;
		int result = x->end_offset < x->size ? scan_frame(&f->scan, x->end_offset, &h, &fault) : 0;

		if (result < 0)
			return result;
		if (x->end_offset == x->size && x->end_id == UINT64_MAX && x->end_offset >= x->durable)
			break;
		if (fault == FRAME_OK && (h.start_id != x->next_id || h.entry_count > x->end_id - x->next_id))
			fault = FRAME_BAD_ID;
		/* Someone may be appending to the last segment: what is half there at one moment is whole at the next. */
		if (fault != FRAME_OK && x->end_id == UINT64_MAX && rereads++ < REREADS_MAX) {
			f->scan.buffer_size = 0;
			continue;
		}
		rereads = 0;
		result = fault == FRAME_OK ? take_frame(f, x->end_offset, &h) : take_bad(f, fault, &h);
		if (result < 0)
			return result;
		if (fault != FRAME_OK && result == 0)
			break;
	}
	return 0;
}

/* Maps the sidecar, counts its intact blocks. */
static int load_meta(struct exam *x)
{
	struct sys *sys = x->env->sys;
	char name[NAME_SEGMENT_MAX];
	struct stat sb;
	void *data;
	int fd = sys_open_regular(sys, x->dir_fd, name_meta(name, x->first_id), O_RDONLY, 0);

	if (fd == -ENOENT)
		return 0;
	x->meta_exists = true;
	/* It is a cache: that it can't be used must not keep the frames from being checked. */
	if (fd == -ELOOP || fd == -EISDIR || fd == -EINVAL)
		x->meta_differs = true;
	else if (fd < 0)
		x->meta_error = fd;
	if (fd < 0)
		return 0;
	int result = sys->fstat(sys, fd, &sb);
	uint64_t blocks = result == 0 ? (uint64_t)sb.st_size / META_BLOCK_BYTES : 0;
	if (blocks > 0)
		result = sys->mmap(sys, fd, blocks * META_BLOCK_BYTES, &data);
	sys_close(sys, &fd);
	if (result < 0 || blocks == 0)
		return result;
	x->meta_map_size = blocks * META_BLOCK_BYTES;
	x->meta = (struct meta_view){ .segment_id = x->first_id, .map = data, .verified = calloc(1, blocks / 8 + 1) };
	if (!x->meta.verified)
		return -ENOMEM;
	for (uint64_t no = 0; no < blocks; no++) {
		if (!meta_block_valid(x->meta.map + no * META_BLOCK_BYTES, x->first_id)) {
			x->meta_differs = true;
			break;
		}
		x->meta.map_blocks++;
	}
	for (uint64_t no = blocks; no > 0 && x->durable == 0; no--) {
		struct meta_pos pos;

		if (meta_block_valid(x->meta.map + (no - 1) * META_BLOCK_BYTES, x->first_id))
			meta_block_header(x->meta.map + (no - 1) * META_BLOCK_BYTES, &pos, &x->durable);
	}
	struct meta_cursor c;
	struct meta_pos end;
	if (x->meta.map_blocks > 0 && meta_cursor_seek(&c, &x->meta, META_BY_FRAME_OFFSET, UINT64_MAX) == 0 && meta_cursor_end(&c, &end) == 0)
		x->meta_end_id = end.id;
	return 0;
}

int exam_run(struct exam *x)
{
	struct sys *sys = x->env->sys;
	struct following f = { .exam = x };
	char name[NAME_SEGMENT_MAX];
	struct stat sb;
	int fd = sys_open_regular(sys, x->dir_fd, name_segment(name, x->first_id), O_RDONLY, 0);
	int result = fd < 0 ? fd : load_meta(x);

	/* In this order: what a sidecar tells of, the segment of a store that is being written has too. */
	if (result == 0)
		result = sys->fstat(sys, fd, &sb);
	x->next_id = x->first_id;
	if (result == 0) {
		x->size = (uint64_t)sb.st_size;
		result = scan_init(&f.scan, sys, fd, x->first_id, x->size, (size_t)x->env->opts.read_buffer);
	}
	/* As at recovery. */
	f.scan.made_here = x->meta_exists && !x->meta_error && x->durable == 0 &&
			   (x->meta.map_blocks > 0 || meta_is_blank(&x->meta, x->meta_map_size / META_BLOCK_BYTES) == 1);
	if (result == 0) {
		f.follows = x->meta.map_blocks > 0 && meta_cursor_seek(&f.cursor, &x->meta, META_BY_ID, x->first_id) == 0 &&
			    f.cursor.block == 0;
		/* The last segment's may not have got its first block yet. */
		if (x->meta_exists && !x->meta_error && !f.follows && x->size > 0 && (x->meta_map_size > 0 || x->end_id != UINT64_MAX))
			x->meta_differs = true;
		result = run(&f);
		/* Both must end together, where it matters. */
		if (result == 0 && f.follows && x->end_id != UINT64_MAX) {
			struct meta_entry e;

			if (meta_cursor_next(&f.cursor, &e) != WAL_END)
				differs(&f, x->end_offset);
		}
	}
	scan_release(&f.scan);
	if (fd >= 0)
		sys_close(sys, &fd);
	return result;
}

void exam_release(struct exam *x)
{
	if (x->meta.map)
		x->env->sys->munmap(x->env->sys, (void *)x->meta.map, x->meta_map_size);
	free((void *)x->meta.verified);
	free(x->extents);
	x->meta = (struct meta_view){ 0 };
	x->extents = NULL;
	x->extent_count = 0;
}
