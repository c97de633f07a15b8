/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The entries of a journal as lines of JSON, each an object with
 *
 *	sequence, appended	the entry's id and time
 *	type			"insert", "update", "delete", "batch", "checkpoint", "begin", "commit", "abort", "opaque"; "undecodable", "damaged", "pruned"
 *	id, vector, metadata	of inserts and updates; `metadata` only where there is some. Of deletes the id
 *	records			of a batch: objects like this one, without sequence and appended
 *	covers			of a checkpoint
 *	transaction		of begin, commit, abort
 *	data or data_hex	of an opaque one, as it is UTF-8 or not
 *	time			the record's own, in seconds of Unix time
 *	error, size, data_hex	of an undecodable one; its first bytes
 *	entries			how many are damaged or pruned
 */
#ifndef WALCTL_JOURNAL_LINES_H
#define WALCTL_JOURNAL_LINES_H

#include <stdio.h>

#include "wal_journal.h"

/* Begin with `out` and zeros. */
struct journal_lines {
	FILE *out;
	struct wal_buf memory;
	uint64_t undecodable; /* entries so far */
};

void journal_lines_release(struct journal_lines *lines);

/* One line. entry->data is NULL if it is larger than a record can be. -ENOMEM. */
int journal_lines_entry(struct journal_lines *lines, const struct wal_entry *entry);

/* One line for entries that can't be had. */
void journal_lines_missing(struct journal_lines *lines, uint64_t id, uint64_t count, const char *type);

#endif
