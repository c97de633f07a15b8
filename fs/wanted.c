/* SPDX-License-Identifier: Apache-2.0 */
#include "wanted.h"

/* What became of the last listing: most of what would have shown that they are wanted came in, or it did not. One that was broken off early tells nothing. */
static void judge_last(struct wanted *wanted)
{
	bool asked = false;

	if (wanted->bare_names > WANTED_SMALL)
		asked = wanted->lookups - wanted->lookups_before >= wanted->bare_names / 2;
	if (wanted->full_names > WANTED_SMALL)
		asked = asked || wanted->getattrs - wanted->getattrs_before >= wanted->full_names / WANTED_PROBE / 2;
	if (asked)
		wanted->trust = WANTED_LISTINGS;
	else if (wanted->full_names > WANTED_SMALL && wanted->trust)
		wanted->trust--;
}

void wanted_begin(struct wanted *wanted, struct wanting *wanting, uint64_t names)
{
	judge_last(wanted);
	wanted->bare_names = 0;
	wanted->full_names = 0;
	wanted->lookups_before = wanted->lookups;
	wanted->getattrs_before = wanted->getattrs;
	wanting->large = names > WANTED_SMALL;
	wanting->full = !wanting->large || wanted->trust;
	wanting->chunk_names = 0;
	wanting->lookups_seen = wanted->lookups;
}

void wanted_chunk(struct wanted *wanted, struct wanting *wanting)
{
	if (!wanting->full && wanting->chunk_names && wanted->lookups - wanting->lookups_seen >= (wanting->chunk_names + 1) / 2) {
		wanting->full = true;
		wanted->trust = WANTED_LISTINGS;
	}
	wanting->lookups_seen = wanted->lookups;
	wanting->chunk_names = 0;
}

void wanted_listed(struct wanted *wanted, struct wanting *wanting, uint64_t names)
{
	wanting->chunk_names = names;
	if (!wanting->large)
		return; /* it is no question there */
	if (wanting->full)
		wanted->full_names += names;
	else
		wanted->bare_names += names;
}
