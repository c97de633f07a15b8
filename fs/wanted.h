/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a listing of entries gives attributes with the names. Given, they save a request each when somebody wants them, which costs fifteen times as much as giving them; and they cost
 * ten times the listing when nobody does. Who lists does not say. So: a small directory always, a large one from the moment on that names just listed are looked up, or from
 * the beginning if one of its last few listings was followed by questions, since what walks over all attributes (tar, du, find -size) takes many names, or all, before it asks for the first.
 *
 * Whether attributes that were given are of use is seen by probes: of one name in a thousand the kernel may not keep them, and asks when somebody wants them.
 *
 * Only the loop looks at any of this. A wrong guess costs time and nothing else.
 */
#ifndef WALFS_WANTED_H
#define WALFS_WANTED_H

#include <stdbool.h>
#include <stdint.h>

enum {
	WANTED_SMALL = 32768,	/* up to so many names attributes are given from the beginning: who wants only names waits a tenth of a second longer at most */
	WANTED_PROBE = 1024,	/* one name in so many, in a larger one */
	WANTED_LISTINGS = 4,	/* of which nobody wants attributes, until they are not given any more */
};

/* What is known of a stream. */
struct wanted {
	uint64_t lookups, getattrs; /* of entries, ever */
	unsigned trust;		    /* so many listings are still to be begun with attributes */
	/* the last listing */
	uint64_t bare_names, full_names;
	uint64_t lookups_before, getattrs_before;
};

/* One listing. */
struct wanting {
	bool full;  /* give attributes */
	bool large; /* and probe */
	uint64_t chunk_names, lookups_seen;
};

/* A listing of about `names` begins, or begins again. */
void wanted_begin(struct wanted *wanted, struct wanting *wanting, uint64_t names);

/* The next chunk is asked for: says in wanting->full what it is to be like. */
void wanted_chunk(struct wanted *wanted, struct wanting *wanting);

/* So many names were put into it. */
void wanted_listed(struct wanted *wanted, struct wanting *wanting, uint64_t names);

/* Whether the kernel may not keep the attributes that are given of this one. */
static inline bool wanted_is_probe(const struct wanting *wanting, uint64_t id)
{
	return wanting->large && id % WANTED_PROBE == 0;
}

#endif
