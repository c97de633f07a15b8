/* SPDX-License-Identifier: Apache-2.0 */
/* Journals for tests: making records, and what a replay gives as a short text. Functions fail the running test when the library does not do as asked. */
#ifndef JOURNALS_H
#define JOURNALS_H

#include "stores.h"
#include "tmpdir.h"
#include "wal_journal.h"

/* A store in a directory of its own with the journal "j". */
struct journal_test {
	struct tmpdir dir;
	struct wal_options store_opts;
	struct wal_journal_options opts;
	struct wal_store *store;
	struct wal_journal *journal;
};

/* Without options: WAL_SYNC_ASYNC, as few of these tests are about disks. */
void journal_setup(struct journal_test *t, const struct wal_options *store_opts, const struct wal_journal_options *opts);
void journal_reopen(struct journal_test *t);
/* Closes both, and opens nothing again. */
void journal_close(struct journal_test *t);
void journal_open(struct journal_test *t);
void journal_teardown(struct journal_test *t);

/* Records with a short id; `time` 0: now. */
struct wal_record insert_of(const char *id, uint64_t time);
struct wal_record delete_of(const char *id, uint64_t time);
struct wal_record marker_of(enum wal_record_type type, uint64_t number, uint64_t time);

/* Appends insert_of(id) through the journal. */
uint64_t add(struct journal_test *t, const char *id);

/* Appends any record to the stream, as another program would. */
uint64_t put(struct journal_test *t, struct wal_record record);
uint64_t put_bytes(struct journal_test *t, const void *data, size_t size);

/* What a replay gave: "a b -c [d e] ?" for inserts a and b, a delete c, a batch of d and e, an opaque one; and what was told: "damaged 3+2, undecodable 7". */
struct given {
	char records[8192];
	char problems[1024];
	struct wal_replay_result result;
	struct wal_error err;
	uint64_t last; /* sequence */
	uint64_t count;
	int give_up;	/* the callback returns it */
	bool any_order; /* transactions lie in each other: sequences need not ascend */
};

int replay_with(struct journal_test *t, struct wal_replay replay, struct given *ret);

/* A strict replay gives just these records. */
void expect_replay(struct journal_test *t, const char *records);

/* A skipping one gives these, and tells of these problems. */
void expect_skipping(struct journal_test *t, const char *records, const char *problems);

/* Writes bytes over a place of the segment that begins with `first_id`, of a store that is closed. */
void damage_payload(struct journal_test *t, uint64_t first_id, const char *text);

#endif
