/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Goes through the bytes of a segment file: checks frames, lists the lengths of their entries, finds the next frame behind bad bytes. In bounded
 * memory whatever the file says: a frame larger than the buffer is checked in pieces.
 *
 * What a crash may leave. Frames are appended to a segment whose space was preallocated as zeros, and the kernel writes pages in any order. So after a power
 * cut any byte written since the last fdatasync may be old (zero) or new, and the file may have any size between what it had then and what it was last.
 * Bytes covered by an fdatasync are as written. Hence three kinds of ends:
 *	zeros to the end of the file	the normal state: preallocated space
 *	a torn tail			bad bytes of which nothing says that they had been durable; intact frames may follow
 *	damage				bad bytes of which something says so
 * What says so: a sealed segment (it is fdatasynced before the next one gets its first frame); the sidecar's `durable`; a later valid frame. That
 * frame's `unsynced` says how many frames right before it were not yet durable when it was written, so anything before those was. A frame without a
 * mark (ironwal's) says nothing of the kind, yet one that follows bad bytes is taken as evidence too: better stop and ask than cut.
 *
 * A later frame has to be searched for, and an entry may hold anything, copies of segments too. So of the frames found by searching only those count whose mark says
 * that they were written there; and those without any mark where ironwal was writing. That is where the frame right before the bad bytes has none either; and
 * if there is none before, where no frame behind them is marked for its place and nothing says that this library made the segment.
 */
#ifndef WAL_SCAN_H
#define WAL_SCAN_H

#include "frame.h"
#include "sys.h"

struct lz4frame_decoder;

struct scan {
	struct sys *sys;
	int fd;
	uint64_t segment_id; /* its first id */
	uint64_t size;	     /* bytes of the file that are looked at */
	bool accepted;	     /* a frame was: see scan_accept(); this was the last one, */
	uint64_t accepted_offset;
	struct frame_header accepted_header;
	bool made_here;	     /* this library made the segment: its sidecar is there and was never told of a sync. Set by who has looked */
	int marked_behind;   /* whether any frame is marked for its place, once it is known; -1: not yet */
	uint8_t *buffer;
	size_t capacity;
	uint64_t buffer_offset;
	size_t buffer_size;
	uint64_t search_budget; /* bytes that scan_find() may still check in vain */
	struct lz4frame_decoder *decoder;
	uint8_t *raw; /* what the decoder gives out */
};

/* `fd` stays the caller's. `buffer_bytes` is at least 4 KiB. -ENOMEM. */
int scan_init(struct scan *scan, struct sys *sys, int fd, uint64_t segment_id, uint64_t size, size_t buffer_bytes);
void scan_release(struct scan *scan);

/*
 * Checks the frame at `offset` in every way that frame.h names but its id. *ret_fault is FRAME_OK or the first thing that does not hold; *ret_header is filled as far
 * as the header could be read (else zeros). < 0: the file could not be read.
 */
int scan_frame(struct scan *scan, uint64_t offset, struct frame_header *ret_header, enum frame_fault *ret_fault);

/* The valid frame at `offset` belongs to the segment: from now on the search behind it looks for frames of the same origin. */
void scan_accept(struct scan *scan, uint64_t offset, const struct frame_header *h);

/* Calls `visit` with the length of each entry of the valid frame at `offset`, in order. A result < 0 of it ends the walk and is returned. */
int scan_lengths(struct scan *scan, uint64_t offset, const struct frame_header *h, int (*visit)(void *arg, uint32_t size), void *arg);

/*
 * The first valid frame at or behind `from` that counts (see above) and whose ids lie in [id_min, id_end). WAL_END if there is none. WAL_TIMEOUT if so many bytes that only look like frames stand there
 * that the search was given up (they are checked at most a few times the size of the file, however it is made).
 */
int scan_find(struct scan *scan, uint64_t from, uint64_t id_min, uint64_t id_end, uint64_t *ret_offset, struct frame_header *ret_header);

/*
 * Whether a frame behind the bad bytes at `offset`, where id `id` was to come, says that they had been durable (see above). 1, 0 or < 0. A search that is
 * given up counts as 1.
 */
int scan_vouched(struct scan *scan, uint64_t offset, uint64_t id);

/* 1 if all bytes in [from, to) are zero, 0 if not. */
int scan_is_zero(struct scan *scan, uint64_t from, uint64_t to);

#endif
