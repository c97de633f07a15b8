/* SPDX-License-Identifier: Apache-2.0 */
/* Makes a sidecar's blocks from a segment's frames. What is known of the times already is kept. */
#ifndef WAL_REBUILD_H
#define WAL_REBUILD_H

#include "meta.h"
#include "scan.h"

struct rebuild {
	struct scan *scan;
	int (*write)(struct rebuild *r, uint64_t block_no, const uint8_t block[META_BLOCK_BYTES]); /* NULL: into out_fd */
	int out_fd; /* the sidecar */
	/* The blocks there were, for their times; NULL: none. They may hold anything. */
	const struct meta_view *old;
	uint64_t old_shift; /* a frame stood this much further on in the segment that they tell of */
	/* Entries without a known time get this, and their id in nanoseconds so that no two are equal. */
	int64_t fallback_time;
	bool made_up;	     /* whether any did, */
	uint64_t made_up_id; /* and the first */
	struct meta_writer writer;
	uint8_t block[META_BLOCK_BYTES];
	struct meta_cursor old_cursor;
	bool old_usable;
};

/* Begins at `at` in block `block_no` of the sidecar (NULL, 0: from the start). The fields above `writer` are set by the caller before. */
void rebuild_begin(struct rebuild *r, uint64_t segment_id, const struct meta_pos *at, uint64_t block_no);

/*
 * Begins behind the frames that end at or below `keep_frame_offset` and are in the intact block `block_no` (its content `source`). -EBADMSG if no frame of it ends there.
 */
int rebuild_resume(struct rebuild *r, uint64_t segment_id, uint64_t block_no, const uint8_t source[META_BLOCK_BYTES], uint64_t keep_frame_offset);

/*
 * Takes up frames from r->writer.at on while they are valid, have the id that is expected and stay below `id_end`. *ret_fault says why it stopped at r->writer.at:
 * FRAME_OK at the end of the scan, or at id_end. *ret_header is the header of what did not hold.
 */
int rebuild_frames(struct rebuild *r, uint64_t id_end, enum frame_fault *ret_fault, struct frame_header *ret_header);

/* The bytes from here to `offset` are damaged, and with them the ids up to `id`. */
int rebuild_gap(struct rebuild *r, uint64_t offset, uint64_t id);

/* Writes the last block and cuts the sidecar behind it. */
int rebuild_finish(struct rebuild *r, uint64_t durable);

/* Told of each gap while rebuild_sealed() runs. */
typedef void rebuild_damage(void *arg, uint64_t offset, uint64_t bytes, uint64_t first_id, uint64_t ids, enum frame_fault fault,
			    const struct frame_header *h);

/*
 * All of a sealed segment, whose entries are known to be r->writer.at.id … id_end - 1: what is bad becomes gaps. Finishes.
 */
int rebuild_sealed(struct rebuild *r, uint64_t id_end, rebuild_damage *damage, void *arg);

#endif
