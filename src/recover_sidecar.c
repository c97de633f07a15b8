/* SPDX-License-Identifier: Apache-2.0 */
/* Opening a stream's active segment: its sidecar, what of it can be kept, and the new one that takes its place. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "names.h"
#include "recovery.h"

enum {
	BLOCKS_AT_A_TIME = 64,
	READ_BLOCKS_MAX = 64, /* a larger one is mapped: for less that costs more than it saves, above all while several threads open streams */
	CHECKED_BLOCKS_MAX = 128, /* of a sidecar at a clean open, which takes well below a millisecond */
};

/*
 * New blocks go to a temporary file. They replace those of the sidecar when it is clear that the stream is healthy: what the sidecar of a damaged one says of
 * durability must stay as it is, or the next open would find nothing wrong.
 */
int recovery_flush_blocks(struct recovery *rec)
{
	struct wal_stream *st = rec->st;

	if (rec->blocks_count == 0)
		return 0;
	if (st->meta_fd < 0) {
		int fd = rec->sys->tmpfile(rec->sys, -1);

		if (fd < 0)
			return fd;
		st->meta_fd = fd;
	}
	int result = sys_pwrite_full(rec->sys, st->meta_fd, rec->blocks, rec->blocks_count * META_BLOCK_BYTES, rec->blocks_no * META_BLOCK_BYTES);
	rec->blocks_count = 0;
	return result;
}

/* They come one after the other. */
static int write_block(struct rebuild *r, uint64_t block_no, const uint8_t block[META_BLOCK_BYTES])
{
	struct recovery *rec = container_of(r, struct recovery, r);
	int result = rec->blocks_count == BLOCKS_AT_A_TIME ? recovery_flush_blocks(rec) : 0;

	if (result == 0 && !rec->blocks)
		rec->blocks = malloc(BLOCKS_AT_A_TIME * META_BLOCK_BYTES);
	if (result < 0 || !rec->blocks)
		return result < 0 ? result : -ENOMEM;
	if (rec->blocks_count == 0)
		rec->blocks_no = block_no;
	assert(block_no == rec->blocks_no + rec->blocks_count);
	memcpy(rec->blocks + rec->blocks_count++ * META_BLOCK_BYTES, block, META_BLOCK_BYTES);
	return 0;
}

/* rec->old becomes the first `blocks` blocks of the sidecar. */
static int read_old_meta(struct recovery *rec, uint64_t blocks)
{
	uint64_t size = blocks * META_BLOCK_BYTES;
	int result = 0;
	void *data;

	rec->old_read = blocks <= READ_BLOCKS_MAX;
	if (rec->old_read) {
		/* What it turns out not to have (someone cut it meanwhile) are zeros, which no check accepts. */
		data = calloc(blocks, META_BLOCK_BYTES);
		ssize_t n = data ? sys_pread_full(rec->sys, rec->meta_fd, data, size, 0) : -ENOMEM;
		if (n < 0) {
			free(data);
			result = (int)n;
		}
	} else {
		result = rec->sys->mmap(rec->sys, rec->meta_fd, size, &data);
	}
	if (result < 0)
		return result;
	rec->old_size = size;
	rec->old = (struct meta_view){ .segment_id = rec->id, .map = data, .verified = calloc(1, blocks / 8 + 1) };
	return rec->old.verified ? 0 : -ENOMEM;
}

/* Loads the sidecar there is, if there is one that can be of any use, up to its last intact block. */
static int load_old_meta(struct recovery *rec)
{
	char name[NAME_SEGMENT_MAX];
	struct stat sb;

	/* It is made only when the stream has turned out healthy: that it is there says something (scan.h). */
	rec->meta_fd = sys_open_regular_stat(rec->sys, rec->dir_fd, name_meta(name, rec->id), recovery_is_read_only(rec) ? O_RDONLY : O_RDWR, 0, &sb);
	/* What is no file in its place is no sidecar: it goes on in a temporary one. */
	rec->old_bad = rec->meta_fd == -ELOOP || rec->meta_fd == -EISDIR || rec->meta_fd == -EINVAL;
	if (rec->meta_fd < 0)
		return recovery_is_read_only(rec) || rec->meta_fd == -ENOENT || rec->old_bad ? 0 : rec->meta_fd;
	uint64_t blocks = (uint64_t)sb.st_size / META_BLOCK_BYTES;
	rec->scan.made_here = blocks == 0;
	if (blocks == 0)
		return 0;
	int result = read_old_meta(rec, blocks);
	if (result < 0)
		return result;
	rec->scan.made_here = meta_is_blank(&rec->old, blocks) == 1;
	while (blocks > 0 && !meta_block_valid(rec->old.map + (blocks - 1) * META_BLOCK_BYTES, rec->id))
		blocks--;
	rec->old.map_blocks = blocks;
	/* One that this library came upon has been synced since, and its sidecar says so. */
	if (blocks > 0) {
		struct meta_pos pos;
		uint64_t durable;

		meta_block_header(rec->old.map + (blocks - 1) * META_BLOCK_BYTES, &pos, &durable);
		rec->scan.made_here = durable == 0;
	}
	return 0;
}

static const uint8_t *old_block(const struct recovery *rec, uint64_t no)
{
	return rec->old.map + no * META_BLOCK_BYTES;
}

/*
 * Puts the rebuild behind the last frame that the sidecar says is durable. A frame whose lengths go on in further blocks has its end in none of those before the
 * last, so the search goes back to one in which a frame begins.
 */
static int resume_rebuild(struct recovery *rec)
{
	struct meta_cursor c;
	struct meta_pos start;
	int result = meta_cursor_seek(&c, &rec->old, META_BY_FRAME_OFFSET, rec->durable);

	if (result != 0)
		return -EBADMSG;
	for (uint64_t no = c.block + 1; no > 0; no--) {
		if (!meta_block_valid(old_block(rec, no - 1), rec->id))
			break;
		result = rebuild_resume(&rec->r, rec->id, no - 1, old_block(rec, no - 1), rec->durable);
		if (result == 0) {
			rec->kept_blocks = no - 1;
			return 0;
		}
		meta_block_header(old_block(rec, no - 1), &start, NULL);
		if (start.entry_count == 0)
			break;
	}
	return -EBADMSG;
}

/* Who wrote the frame that the rebuild goes on from decides what a search behind it looks for. */
static int accept_last_frame(struct recovery *rec)
{
	uint64_t id = rec->r.writer.at.id;
	struct meta_cursor c;
	struct meta_entry e;
	struct frame_header h;
	enum frame_fault fault;

	if (id == rec->id || meta_find(&c, &rec->old, id - 1, &e) != 0 || e.gap)
		return 0;
	int result = scan_frame(&rec->scan, e.frame_offset, &h, &fault);
	if (result == 0 && fault == FRAME_OK)
		scan_accept(&rec->scan, e.frame_offset, &h);
	return result;
}

/* The time of the entry before the segment, by the sidecar of the segment before it; 0 if it does not tell. */
static int64_t time_before(struct recovery *rec)
{
	ssize_t at = rec->id > 0 ? id_array_find(&rec->st->segments, rec->id - 1) : -1;
	struct meta_pos end;

	return at >= 0 && sidecar_end(rec->sys, rec->dir_fd, rec->st->segments.ids[at], &end) ? end.last_time : 0;
}

/*
 * Whether the blocks lead from one to the next: the sidecar is not synced with the segment, so a power cut may have left an older state of one in the middle. After
 * a clean close they do, and only as many are looked at as costs nothing.
 */
static bool blocks_are_bad(struct recovery *rec)
{
	struct meta_cursor c;
	struct meta_pos end;
	int result;

	if (rec->durable == rec->size && rec->old.map_blocks > CHECKED_BLOCKS_MAX)
		return false;
	result = meta_cursor_seek(&c, &rec->old, META_BY_ID, rec->id);
	if (result != 0 || c.block != 0 || c.at.id != rec->id || c.at.frame_offset != 0)
		return true;
	return meta_cursor_end(&c, &end) != 0;
}

/* Of a store that another process writes the size is asked for again: it has to have what the sidecar tells of. */
static int take_size_again(struct recovery *rec)
{
	struct stat sb;
	int result = rec->fd < 0 ? 0 : rec->sys->fstat(rec->sys, rec->fd, &sb);

	if (result == 0 && rec->fd >= 0 && (uint64_t)sb.st_size > rec->size)
		rec->size = rec->scan.size = (uint64_t)sb.st_size;
	return result;
}

int recovery_begin_rebuild(struct recovery *rec)
{
	struct meta_pos pos;
	int result = load_old_meta(rec);

	if (result == 0 && recovery_is_read_only(rec))
		result = take_size_again(rec);

	if (result < 0)
		return result;
	rec->r = (struct rebuild){ .scan = &rec->scan, .write = write_block, .fallback_time = rec->mtime };
	result = -EBADMSG;
	if (rec->old.map_blocks > 0) {
		meta_block_header(old_block(rec, rec->old.map_blocks - 1), &pos, &rec->durable);
		rec->old_bad = blocks_are_bad(rec);
		if (rec->durable <= rec->size && !rec->old_bad)
			result = resume_rebuild(rec);
	}
	if (result < 0) {
		struct meta_pos start = { .id = rec->id, .last_time = time_before(rec) };

		rebuild_begin(&rec->r, rec->id, &start, 0);
	}
	if (rec->old.map_blocks > 0)
		rec->r.old = &rec->old;
	/* Nothing will be searched for where all is known to be durable. */
	return result == 0 && rec->durable < rec->size ? accept_last_frame(rec) : 0;
}

int recovery_replace_meta(struct recovery *rec)
{
	const struct meta_writer *w = &rec->r.writer;
	struct wal_stream *st = rec->st;
	uint8_t block[META_BLOCK_BYTES];
	char name[NAME_SEGMENT_MAX];
	int result = 0;

	if (rec->meta_fd < 0)
		rec->meta_fd = sys_open_regular(rec->sys, rec->dir_fd, name_meta(name, rec->id), O_RDWR | O_CREAT, 0600);
	if (rec->meta_fd < 0)
		result = rec->meta_fd;
	if (result == 0 && rec->kept_blocks < w->block_no && (st->meta_fd < 0 || !rec->blocks))
		result = -EIO; /* the blocks before were thought to be durable, and are not */

	for (uint64_t no = rec->kept_blocks, count; no < w->block_no && result == 0; no += count) {
		count = w->block_no - no < BLOCKS_AT_A_TIME ? w->block_no - no : BLOCKS_AT_A_TIME;
		size_t size = (size_t)count * META_BLOCK_BYTES;
		ssize_t n = sys_pread_full(rec->sys, st->meta_fd, rec->blocks, size, no * META_BLOCK_BYTES);

		result = n < 0 ? (int)n : (size_t)n < size ? -EIO : sys_pwrite_full(rec->sys, rec->meta_fd, rec->blocks, size, no * META_BLOCK_BYTES);
	}
	memcpy(block, rec->r.block, sizeof block);
	meta_block_seal(block, w->used, w->at.frame_offset);
	if (result == 0)
		result = sys_pwrite_full(rec->sys, rec->meta_fd, block, sizeof block, w->block_no * META_BLOCK_BYTES);
	if (result == 0)
		result = rec->sys->ftruncate(rec->sys, rec->meta_fd, (w->block_no + 1) * META_BLOCK_BYTES);
	if (result == 0)
		sys_close(rec->sys, &st->meta_fd);
	return result;
}
