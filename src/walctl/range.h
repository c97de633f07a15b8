/* SPDX-License-Identifier: Apache-2.0 */
/* Ids as they are typed: digits, "first" and "last", and ranges of them. */
#ifndef WALCTL_RANGE_H
#define WALCTL_RANGE_H

#include "walctl.h"

struct id_range {
	uint64_t from;
	uint64_t end;  /* the id after the last */
	bool from_set; /* `from` and `end` were asked for by number: what is missing of them is a failure */
	bool end_set;
};

/*
 * Reads `text` (NULL: everything) as ID, FROM..TO, FROM.. or ..TO for `stream`. The ids need not exist. EXIT_USAGE if it has another form,
 * EXIT_LACKING if "first" or "last" is asked of a stream without entries.
 */
enum exit_code range_parse(const struct command *command, struct wal_stream *stream, const char *text, struct id_range *ret);

/*
 * How many ids from `id` on, and below `end`, are damaged or pruned together with it. `id` is one of them. So that a damaged segment of any number of
 * ids is one step.
 */
int range_of_gap(struct wal_stream *stream, uint64_t id, uint64_t end, uint64_t *ret_count);

#endif
