/* SPDX-License-Identifier: Apache-2.0 */
/*
 * "<segment>.damaged.<n>": a line that says which ids of a stream can't be read any more, then the bytes that stood there, if any did. wal_repair() writes them, and
 * wal_stream_skip() for ids that it lets go.
 */
#ifndef WAL_DAMAGEREC_H
#define WAL_DAMAGEREC_H

#include "segment.h"

/* The line. */
struct damage_record {
	bool skipped; /* by wal_stream_skip(), which always starts the segment that begins behind them */
	uint64_t segment;
	uint64_t offset;
	uint64_t bytes;
	uint64_t first_id;
	uint64_t ids;
};

/* -ENOENT; -EBADMSG if it does not begin with such a line. */
int damage_record_load(const struct env *env, int dir_fd, const char *file, struct damage_record *ret);

/*
 * Makes the next free file of record->segment with the line in it, and returns its descriptor, open for what is to follow; `name` (NAME_SEGMENT_MAX bytes) is its
 * name, *ret_size the size of the line. Nothing is synced. A failure leaves no file.
 */
int damage_record_create(const struct env *env, int dir_fd, const struct damage_record *record, char *name, uint64_t *ret_size);

#endif
