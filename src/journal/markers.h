/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finding markers, without reading what is large. Entries that are damaged, or no records, are passed over: a replay tells of them.
 */
#ifndef WAL_JOURNAL_MARKERS_H
#define WAL_JOURNAL_MARKERS_H

#include "wal_journal.h"

struct txns;

/* Which checkpoints count; 0: all. */
struct checkpoint_limits {
	int64_t until_ns;    /* entries appended later are not there */
	uint64_t until_time; /* by their own time */
};

struct checkpoint_found {
	uint64_t sequence; /* it covers up to here; 0: nothing, or there is none */
	uint64_t id;	   /* its entry; 0 if there is none */
	uint64_t end;	   /* the id after the last entry that is not later than until_ns */
};

/* The last one that counts among `first` … `end` - 1. Negative errno. */
int markers_find_checkpoint(struct wal_stream *stream, uint64_t first, uint64_t end, const struct checkpoint_limits *limits, struct checkpoint_found *ret);

/* What is open at `end` of what began at `from` or later, into `open`, which is empty. */
int markers_follow(struct wal_stream *stream, uint64_t from, uint64_t end, struct txns *open);

/*
 * The first begin, commit or abort among `from` … `end` - 1, with `number` only of that transaction; *ret_found says whether there is one. Looks at
 * MARKERS_AHEAD_MAX entries at most, and at *budget, from which it takes those it has looked at: so that a journal can't be made to be read over and over.
 */
enum { MARKERS_AHEAD_MAX = 100000 };
int markers_next(struct wal_stream *stream, uint64_t from, uint64_t end, const uint64_t *number, uint64_t *budget, struct wal_record *ret, bool *ret_found);

#endif
