/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a segment file really holds, byte by byte: runs of valid frames with the ids that belong there, and what lies between them. For wal_verify(), which
 * reports it, and wal_repair(), which acts on it. Changes nothing.
 */
#ifndef WAL_EXAMINE_H
#define WAL_EXAMINE_H

#include "meta.h"
#include "scan.h"
#include "segment.h"

/* Part of a segment: valid frames, or damaged bytes (perhaps 0) that cost ids (perhaps 0). */
struct extent {
	bool good;
	uint64_t offset;
	uint64_t bytes;
	uint64_t first_id;
	uint64_t ids;
	/* of what stands where a damaged one begins */
	enum frame_fault fault;
	struct frame_header header;
};

enum segment_end {
	SEGMENT_EXACT, /* with its last frame */
	SEGMENT_ZEROS, /* unused room behind it */
	SEGMENT_TORN,  /* bytes of which nothing says that they had been durable: only in the last segment */
};

struct exam {
	const struct env *env;
	int dir_fd;
	void (*progress)(void *arg, uint64_t bytes); /* `bytes` more are done */
	void *arg;

	uint64_t first_id;
	uint64_t end_id; /* where the next segment begins; UINT64_MAX: there is none */
	uint64_t size;
	struct extent *extents; /* in order, without the end; together they cover the ids first_id … next_id - 1 */
	size_t extent_count;
	uint64_t next_id;
	enum segment_end end;
	uint64_t end_offset; /* behind the last extent */
	enum frame_fault end_fault; /* torn: why */
	uint64_t frames;
	uint64_t entries;

	/* the sidecar */
	bool meta_exists;
	int meta_error; /* why it could not be opened */
	uint64_t meta_end_id;	  /* behind the last entry that it tells of; 0: unknown */
	uint64_t durable;	  /* what its last intact block says */
	bool meta_differs;	  /* it tells something else than the frames do, or is not intact: */
	uint64_t meta_differs_at; /* in the segment */
	struct meta_view meta;	  /* of it, mapped; map_blocks is 0 if it can't be used */
	uint64_t meta_map_size;
};

/* The fields up to `arg`, first_id and end_id are set by the caller. < 0: the file could not be opened or read. End it with exam_release() in any case. */
int exam_run(struct exam *exam);
void exam_release(struct exam *exam);

#endif
