/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sidecar "<first id>.meta": for every frame of a segment its offset, the time of its append, the lengths of its entries and the running
 * total of payload bytes, so that an entry is found by id, by byte offset or by frame offset in O(log n) without touching a payload.
 *
 * The file is an array of blocks of META_BLOCK_BYTES. A block begins with the state of the decoder before its first record, so it can be read without the ones
 * before it, and binary search over the blocks finds anything. All blocks but the last are full; the last is written again, in place, as it grows.
 *
 *	offset	size	field
 *	0	4	magic "WMB1"
 *	4	4	crc32 of all that follows in the block, unused bytes (zeros) included
 *	8	8	first id of the segment, so that a file of another name is not believed
 *	16	8	id		next entry
 *	24	8	frame_offset	where the frame that holds it is, or begins
 *	32	8	last_time	time of the entry before it
 *	40	8	bytes		payload bytes of the segment's entries before it
 *	48	8	payload_pos	where it stands in its frame's raw payload	} zero
 *	56	4	index		which of its frame's entries it is		} between
 *	60	4	entry_count	of its frame					} frames
 *	64	4	disk_size	of its frame					}
 *	68	1	type		of its frame					}
 *	69	1	zero
 *	70	2	used: bytes of records
 *	72	8	durable: every frame that ends at or below this offset of the segment was on stable storage when the block was written
 *	80	…	records, all numbers as varints:
 *
 *		(entry_count << 2 | kind), then
 *		kind 0, 1 (frame type raw, LZ4):  time - last_time - 1, [disk_size, unless raw with one entry], entry_count lengths; the entry number k
 *			of a frame has the time of the frame + k ns, so that times are strictly increasing
 *		kind 2 (gap):  bytes. Damaged bytes in the segment that held (or should have held) entry_count entries, perhaps 0
 *
 *	A frame's lengths may go on in the next block.
 *
 * It is a cache. It is not synced with the segment and may be missing, short, torn or older than the segment after a crash; a block whose crc does not hold, or
 * what does not lead to the segment's end, is made again from the frames. Only `durable` is a fact that the frames don't have: a
 * block that says it was written after the sync that it tells of.
 */
#ifndef WAL_META_H
#define WAL_META_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "sys.h"

enum meta_offset {
	META_OFF_MAGIC = 0,
	META_OFF_CRC = 4,
	META_OFF_SEGMENT = 8,
	META_OFF_ID = 16,
	META_OFF_FRAME_OFFSET = 24,
	META_OFF_LAST_TIME = 32,
	META_OFF_BYTES = 40,
	META_OFF_PAYLOAD_POS = 48,
	META_OFF_INDEX = 56,
	META_OFF_ENTRY_COUNT = 60,
	META_OFF_DISK_SIZE = 64,
	META_OFF_TYPE = 68,
	META_OFF_USED = 70,
	META_OFF_DURABLE = 72,
	META_OFF_RECORDS = 80,
};

enum {
	META_BLOCK_BYTES = 1024,
	META_RECORD_ROOM = META_BLOCK_BYTES - META_OFF_RECORDS,
};

static_assert(META_RECORD_ROOM >= 64, "a block holds at least one record of each kind");

#define META_MAGIC 0x31424d57u

enum { META_GAP = 2 }; /* the third kind of record, beside enum frame_type */

/* A place between two entries of a segment: all that the decoder and the encoder need to go on from there. */
struct meta_pos {
	uint64_t id;
	uint64_t frame_offset;
	int64_t last_time;
	uint64_t bytes;
	uint64_t payload_pos;
	uint32_t index;
	uint32_t entry_count; /* 0: between frames */
	uint32_t disk_size;
	uint8_t type;
};

/* One entry, or one gap. */
struct meta_entry {
	bool gap;
	uint64_t id;	       /* gap: the first of `gap_ids` */
	uint64_t size;	       /* of the entry; gap: 0 */
	int64_t time_ns;
	uint64_t bytes;	       /* payload bytes before it in the segment */
	uint64_t frame_offset; /* of its frame; gap: of the damaged bytes */
	uint64_t payload_pos;  /* of its length prefix in the frame's raw payload */
	uint32_t index;
	uint32_t entry_count;
	uint32_t disk_size;
	uint8_t type;
	uint64_t gap_ids;
	uint64_t gap_bytes;
};

/* ---- Reading ---- */

enum { META_WINDOW_BLOCKS = 4 };

/*
 * What has been read of a sidecar's file: some blocks that stand one after the other. The crc of each is checked once, in this copy, before it is used; so nothing that happens to the file after that does harm.
 */
struct meta_window {
	struct sys *sys;
	int fd;
	unsigned count;
	unsigned valid; /* a bit for each block whose crc has been checked */
	uint64_t first; /* the number of the first one */
	uint8_t data[META_WINDOW_BLOCKS * META_BLOCK_BYTES];
};

/*
 * The blocks of one sidecar: `map_blocks` full or final ones, in memory or in a file, then perhaps `last`, in memory too: a copy of the block being filled, or one that was checked before.
 *
 * In memory (`map`) they are a whole or a part of a sidecar. `verified` is a bitmap over them, set when a block's crc has been checked; it may be shared between threads.
 *
 * Read from a file (`window`) they are its first ones, and the search takes it for granted that they begin where the segment does. A read moves the window, so such a view has one cursor at a time, and none of a copy.
 */
struct meta_view {
	uint64_t segment_id;
	const uint8_t *map;
	uint64_t map_blocks;
	_Atomic uint8_t *verified;
	struct meta_window *window; /* NULL: `map` has them */
	const uint8_t *last; /* NULL: none. Its crc is not looked at. */
};

/* An empty window on the file `fd`, which stays the caller's. */
void meta_window_init(struct meta_window *window, struct sys *sys, int fd);

/* ---- Blocks (meta_blocks.c) ---- */

enum meta_key {
	META_BY_ID,
	META_BY_BYTES,
	META_BY_FRAME_OFFSET,
};

/* True if the block's magic, crc, segment and sizes hold. */
bool meta_block_valid(const uint8_t block[META_BLOCK_BYTES], uint64_t segment_id);

/* The state at the start of a block, and its `durable`. */
void meta_block_header(const uint8_t block[META_BLOCK_BYTES], struct meta_pos *ret_pos, uint64_t *ret_durable);

/* 1 if none of the first `blocks` blocks was ever written: all have no magic. 0, or < 0 if one can't be read. */
int meta_is_blank(const struct meta_view *view, uint64_t blocks);

/* How many there are. */
uint64_t meta_view_blocks(const struct meta_view *view);

/* Block number `no` of them, which is in the view and holds; if it has to be read, it is the first of `count`. Valid until another is asked for. -EBADMSG if it does not hold. */
int meta_view_block(const struct meta_view *view, uint64_t no, uint64_t count, const uint8_t **ret_block);

/*
 * The number of the last block whose key is <= `key`. Results as meta_cursor_seek(). With `likely` it ends at a block that the next guess would be again: it begins with the key or before it, and only
 * what is in it tells whether it is the last such one.
 */
int meta_view_find(const struct meta_view *view, enum meta_key by, uint64_t key, bool likely, uint64_t *ret_block);

/* ---- Entries ---- */

/* Goes through the records of the blocks from some place on. Points into the view, which must outlive it. */
struct meta_cursor {
	const struct meta_view *view;
	uint64_t block; /* the block that pos/end are in */
	const uint8_t *pos;
	const uint8_t *end;
	struct meta_pos at;
};

/*
 * Puts the cursor at the start of the last block whose first key is <= `key`. WAL_NOT_FOUND if there is no block or the first one's key is larger; -EBADMSG if
 * a block that it has to look at is not valid, or is not there any more. Here and below, an error of reading one is passed on as it is.
 */
int meta_cursor_seek(struct meta_cursor *c, const struct meta_view *view, enum meta_key by, uint64_t key);

/* The next entry or gap, and moves behind it. WAL_END behind the last one; -EBADMSG: a block or record does not hold, the cursor is of no more use. */
int meta_cursor_next(struct meta_cursor *c, struct meta_entry *ret);

/*
 * Goes over up to `max` entries of the frame that the cursor is in, without its last one, as far as that takes no more than adding up: perhaps none. Their lengths go to `sizes`, which may be
 * NULL. Returns how many.
 */
size_t meta_cursor_run(struct meta_cursor *c, uint32_t *sizes, size_t max);

/* A raw frame of one entry. */
struct meta_single {
	int64_t time_ns;
	uint32_t size;
};

/*
 * Goes over up to `max` raw frames of one entry each, the most common ones, as far as they stand one behind the other and that takes no more than adding up: perhaps none. `singles` may be NULL. Returns
 * how many.
 */
size_t meta_cursor_singles(struct meta_cursor *c, struct meta_single *singles, size_t max);

/*
 * Finds the entry or gap that holds `id`. The cursor is left behind it. WAL_NOT_FOUND if the blocks end before it, or begin after it. -EBADMSG.
 */
int meta_find(struct meta_cursor *c, const struct meta_view *view, uint64_t id, struct meta_entry *ret);

/* Runs to the end; *ret is the state there. -EBADMSG. Put the cursor at the last block first for it to be quick. */
int meta_cursor_end(struct meta_cursor *c, struct meta_pos *ret);

/* The place behind the frame that `at` is at the end of. */
void meta_leave_frame(struct meta_pos *at);

/* ---- Writing (meta_write.c) ---- */

/*
 * Builds blocks. `at` is the place behind the last record. The block being filled is in `block`; whenever it is full it is
 * sealed and given to `emit` together with its number, before anything further is added.
 */
struct meta_writer {
	uint64_t segment_id;
	uint64_t block_no;
	struct meta_pos at;
	uint8_t *block; /* META_BLOCK_BYTES, the caller's; may be exchanged between two calls, and by `emit` */
	size_t used;
	uint64_t durable;
	int (*emit)(struct meta_writer *w, uint64_t block_no, uint8_t block[META_BLOCK_BYTES]);
};

/* Begins at the start of a segment, or with `at` != NULL at that place, in block number `block_no`. Set durable and emit first. */
void meta_writer_begin(struct meta_writer *w, uint64_t segment_id, const struct meta_pos *at, uint64_t block_no, uint8_t *block);

/*
 * Takes up a partly filled block again: `source` is copied into w->block, and what stands in it behind the place `keep` (a place between two frames inside
 * it) is dropped. -EBADMSG.
 */
int meta_writer_resume(struct meta_writer *w, uint64_t segment_id, uint64_t block_no, uint8_t *block, const uint8_t source[META_BLOCK_BYTES],
		       uint64_t keep_frame_offset);

/* A frame begins; meta_writer_length() must follow `entry_count` times. `time_ns` must be above at.last_time. Passes on what emit returns. */
int meta_writer_frame(struct meta_writer *w, uint32_t entry_count, uint8_t type, uint32_t disk_size, int64_t time_ns);
int meta_writer_length(struct meta_writer *w, uint32_t size);
/* The same for `count` entries one after the other, all of one frame. */
int meta_writer_lengths(struct meta_writer *w, const struct iovec *entries, size_t count);
/* meta_writer_frame() and meta_writer_length() of a raw frame with one entry. */
int meta_writer_entry(struct meta_writer *w, uint32_t size, int64_t time_ns);
int meta_writer_gap(struct meta_writer *w, uint64_t ids, uint64_t bytes);

/* Fills in the header, zeros the rest and computes the crc of a block with `used` bytes of records, so that it can be written. */
void meta_block_seal(uint8_t block[META_BLOCK_BYTES], size_t used, uint64_t durable);

#endif
