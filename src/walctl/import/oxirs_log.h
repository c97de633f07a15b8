/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An oxirs log, record by record: a directory of files wal-*.log, in the order of their names, or one such file.
 *
 *	file	16 bytes: "WALV", version 1 (4 bytes), time in seconds (8 bytes); then records
 *	record	sequence number (8 bytes), length (4 bytes, at most 100,000,000), as many bytes: see wal_journal.h
 *
 * A log that was opened again within the same second has a second header inside the file. Sequence numbers begin at 0 again with each *session* that was opened without a recovery. There are
 * no checksums: a record is one if its bytes decode and are used up; where a length is wrong, nothing tells where the next record begins.
 */
#ifndef IMPORT_OXIRS_LOG_H
#define IMPORT_OXIRS_LOG_H

#include "input.h"
#include "source.h"
#include "wal_journal.h"

enum {
	OXIRS_FILE_HEADER_BYTES = 16,
	OXIRS_RECORD_HEADER_BYTES = 12,
	OXIRS_MISSING_MAX = 32,
};

/* Numbers that were passed over and may still come: several writers do not write in the order of their numbers. */
struct oxirs_missing {
	uint64_t first, count;
	size_t file;
	uint64_t offset;
};

struct oxirs_log {
	struct listing files;
	bool resync;
	int64_t now_ns;
	uint64_t done;
	size_t index; /* of the file that is open, or is the next */
	struct input input;
	bool is_open;
	bool known; /* a record of this file has told its encoding */
	enum wal_record_encoding encoding;
	struct wal_buf record;	 /* what was decoded last */
	struct wal_buf standard; /* the record that was given, if the file has the other encoding */
	uint64_t offset;
	size_t mended; /* not 0: the record at `offset` takes so many bytes, whatever its length says */
	bool unsure;   /* `offset` stands behind such a record */
	uint64_t looked;	/* bytes looked at for records, */
	uint64_t searched;	/* and how many of them to find records behind a wrong length */
	uint64_t searched_max;
	/* numbers */
	bool may_restart; /* at the beginning of a file, and behind a header inside one */
	bool any;
	bool judged;   /* the number at `offset` has been */
	uint64_t last; /* the highest of the session */
	uint64_t session;
	struct oxirs_missing missing[OXIRS_MISSING_MAX];
	size_t missing_count;
};

/* Also -ENOENT: no such files. */
int oxirs_log_open(struct oxirs_log *log, const char *path, const struct source_options *options, struct wal_error *err);

/* Begins again. */
void oxirs_log_rewind(struct oxirs_log *log);

/* As `next` of a source; *ret_record is what an entry holds, as long as that is valid. */
int oxirs_log_next(struct oxirs_log *log, struct item *ret, struct wal_record *ret_record, struct wal_error *err);

void oxirs_log_release(struct oxirs_log *log);

#endif
