/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The checkpoints that a workload made: which of them must be there at a moment, and whether they are.
 *
 * Each call that makes one makes a *version*; its number says when. One operation at a time is under way: what is there is what was before it, or what it makes of that,
 * wholly.
 */
#ifndef CUTS_H
#define CUTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wal.h"

enum {
	CUT_STREAMS = 4,
	CUT_IDS = 6,
	CUT_ID_LARGE = CUT_IDS - 1, /* 20000 bytes: a few of its records, and the log is written anew */
	CUT_WHY_BYTES = 256,
};

/* The bytes of id 0 … CUT_IDS - 1. */
const void *cut_id(unsigned id, size_t *ret_size);

struct cut_version {
	unsigned id;
	bool knows[CUT_STREAMS];
	uint64_t next_id[CUT_STREAMS];
};

struct cut_versions {
	struct cut_version *items; /* [0] is not used: 0 says "none" */
	unsigned count;
	unsigned capacity;
};

/* The next version's number. */
unsigned cut_versions_next(const struct cut_versions *versions);
/* All-zero, with that number. Valid until the next one is added. */
struct cut_version *cut_versions_add(struct cut_versions *versions);
void cut_versions_release(struct cut_versions *versions);

/* What is there. */
struct cut_state {
	unsigned version[CUT_IDS]; /* 0: none */
	unsigned latest;	   /* the version that HEAD names */
	unsigned forgotten[CUT_STREAMS]; /* versions before this one say nothing of the stream */
};

void cut_state_create(struct cut_state *s, unsigned id, unsigned version);
void cut_state_remove(struct cut_state *s, unsigned id);
/* Returns how many it removes. */
size_t cut_state_compact(struct cut_state *s, size_t keep);
size_t cut_state_count(const struct cut_state *s);
/* The one of the versions in `s` that is number `nth` from the oldest, nth < cut_state_count(). */
unsigned cut_state_nth(const struct cut_state *s, size_t nth);

/*
 * Whether the store has just the checkpoints of `now` or just those of `next` (*ret_found gets which, and what is the latest), each with its cut, in their order, and whether every
 * entry that they cover is there. `names` are those of the streams. If not, `why` says what is wrong.
 */
bool cuts_check(struct wal_store *store, const char *const names[CUT_STREAMS], const struct cut_versions *versions, const struct cut_state *now,
		const struct cut_state *next, struct cut_state *ret_found, char why[CUT_WHY_BYTES]);

#endif
