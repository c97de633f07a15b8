/* SPDX-License-Identifier: Apache-2.0 */
/* Journals: appending, transactions, checkpoints and retention, and what a replay gives. */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "damage.h"
#include "journals.h"
#include "test.h"
#include "threads.h"

enum { SMALL_SEGMENTS = 8 };

static const struct wal_options small_segments = { .segment_entries = SMALL_SEGMENTS };

/* ---- Appending ---- */

static void a_new_journal_begins_with_a_checkpoint_of_nothing(void **state)
{
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	assert_int_equal(wal_journal_current_sequence(t.journal), 1);
	assert_int_equal(wal_journal_last_checkpoint_sequence(t.journal), 0);
	expect_replay(&t, "");
	assert_int_equal(add(&t, "a"), 1);
	journal_reopen(&t);
	assert_int_equal(wal_journal_current_sequence(t.journal), 2);
	expect_replay(&t, "a");
	journal_teardown(&t);
}

static void records_come_back_in_order(void **state)
{
	struct wal_record inner[2] = { insert_of("d", 1), delete_of("e", 2) };
	struct wal_record records[] = {
		insert_of("a", 5),
		delete_of("c", 6),
		{ .type = WAL_RECORD_BATCH, .records = inner, .record_count = 2 },
		{ .type = WAL_RECORD_OPAQUE, .data = "x", .data_size = 1 },
	};
	struct wal_journal_stat stat;
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	for (size_t i = 0; i < TEST_COUNT(records); i++)
		assert_int_equal(wal_journal_append(t.journal, &records[i], 0, NULL), 0);
	assert_int_equal(wal_journal_flush(t.journal), 0);
	expect_replay(&t, "a -c [d -e] ?");
	wal_journal_stat(t.journal, &stat);
	assert_int_equal(stat.records, 4);
	journal_teardown(&t);
}

static int take_time(void *arg, uint64_t sequence, const struct wal_record *record)
{
	uint64_t *times = arg;

	times[sequence] = record->time;
	return 0;
}

static void a_time_of_0_becomes_the_present(void **state)
{
	struct wal_record given = insert_of("a", 7), now = insert_of("b", 0);
	uint64_t times[3] = { 0 }, before = (uint64_t)time(NULL);
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	assert_int_equal(wal_journal_append(t.journal, &given, 0, NULL), 0);
	assert_int_equal(wal_journal_append(t.journal, &now, 0, NULL), 0);
	assert_int_equal(wal_journal_replay(t.journal, &(struct wal_replay){ .record = take_time, .arg = times }, NULL, NULL), 0);
	assert_int_equal(times[1], 7);
	assert_true(times[2] >= before && times[2] <= (uint64_t)time(NULL));
	journal_teardown(&t);
}

static void what_is_refused_leaves_nothing(void **state)
{
	struct wal_record marker = marker_of(WAL_RECORD_COMMIT, 1, 1), bad = insert_of("\xff", 1);
	struct wal_journal_txn *txn;
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	assert_int_equal(wal_journal_append(t.journal, &marker, 0, NULL), -EINVAL);
	assert_int_equal(wal_journal_append(t.journal, &bad, 0, NULL), -EINVAL);
	assert_int_equal(wal_journal_begin(t.journal, &txn), 0);
	assert_int_equal(wal_journal_add(txn, &marker), -EINVAL);
	assert_int_equal(wal_journal_add(txn, &bad), -EINVAL);
	assert_int_equal(wal_journal_commit(txn, 0, NULL, NULL), 0);
	assert_int_equal(wal_journal_current_sequence(t.journal), 1);
	journal_teardown(&t);
}

static void a_read_only_store_can_be_replayed(void **state)
{
	struct wal_record record = insert_of("b", 0);
	struct wal_journal_txn *txn;
	struct wal_error err;
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	add(&t, "a");
	put(&t, marker_of(WAL_RECORD_BEGIN, 1, 1));
	journal_close(&t);
	t.store_opts.ro = true;
	journal_open(&t);
	expect_replay(&t, "a");
	assert_int_equal(wal_journal_append(t.journal, &record, 0, NULL), -EROFS);
	assert_int_equal(wal_journal_begin(t.journal, &txn), -EROFS);
	assert_int_equal(wal_journal_checkpoint(t.journal, 1, &err), -EROFS);
	assert_int_equal(wal_journal_last_checkpoint_sequence(t.journal), 0);
	journal_teardown(&t);
}

static void the_journal_of_a_shard(void **state)
{
	struct wal_record record = insert_of("a", 0);
	struct wal_journal *journal;
	struct wal_stream *shard;
	struct wal_store *store;
	struct tmpdir dir;
	uint64_t sequence;

	(void)state;
	tmpdir_make(&dir, "journal");
	store = store_open_or_fail(dir.path, &(struct wal_options){ .shards = 2 });
	assert_int_equal(wal_shard_open(store, 1, &shard), 0);
	assert_int_equal(wal_journal_open_stream(shard, NULL, &journal, NULL), 0);
	assert_int_equal(wal_journal_append(journal, &record, 0, &sequence), 0);
	assert_int_equal(sequence, 1);
	wal_journal_close(journal);
	assert_string_equal(wal_stream_name(shard), "shard_01");
	wal_stream_close(shard);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

/* ---- Transactions ---- */

static void commit_of(struct journal_test *t, const char *a, const char *b, uint64_t *ret_first, uint64_t *ret_last)
{
	struct wal_record first = insert_of(a, 0), second = insert_of(b, 0);
	struct wal_journal_txn *txn;

	assert_int_equal(wal_journal_begin(t->journal, &txn), 0);
	assert_int_equal(wal_journal_add(txn, &first), 0);
	assert_int_equal(wal_journal_add(txn, &second), 0);
	assert_int_equal(wal_journal_commit(txn, 0, ret_first, ret_last), 0);
}

static void a_transaction_is_one_frame_with_its_markers(void **state)
{
	static const enum wal_record_type types[] = { WAL_RECORD_BEGIN, WAL_RECORD_INSERT, WAL_RECORD_INSERT, WAL_RECORD_COMMIT };
	struct wal_buf bytes = { 0 }, memory = { 0 };
	struct wal_stream_counters counters;
	struct journal_test t;
	uint64_t first, last, frames;

	(void)state;
	journal_setup(&t, NULL, NULL);
	wal_stream_counters(wal_journal_stream(t.journal), &counters);
	frames = counters.frames;
	commit_of(&t, "a", "b", &first, &last);
	wal_stream_counters(wal_journal_stream(t.journal), &counters);
	assert_int_equal(counters.frames, frames + 1);
	assert_true(first == 2 && last == 4);
	for (uint64_t id = 1; id <= 4; id++) {
		struct wal_record record;

		assert_int_equal(wal_stream_get(wal_journal_stream(t.journal), id, &bytes), 0);
		assert_int_equal(wal_record_decode(bytes.data, bytes.size, WAL_RECORD_VARINT, &memory, &record, NULL), 0);
		assert_int_equal(record.type, types[id - 1]);
	}
	expect_replay(&t, "a b");
	wal_buf_release(&bytes);
	wal_buf_release(&memory);
	journal_teardown(&t);
}

static void what_is_called_off_leaves_nothing(void **state)
{
	struct wal_record record = insert_of("b", 0);
	struct wal_journal_stat stat;
	struct wal_journal_txn *txn;
	struct journal_test t;
	uint64_t next, last = 99;

	(void)state;
	journal_setup(&t, NULL, NULL);
	add(&t, "a");
	next = wal_journal_current_sequence(t.journal);
	assert_int_equal(wal_journal_begin(t.journal, &txn), 0);
	assert_int_equal(wal_journal_add(txn, &record), 0);
	wal_journal_abort(txn);
	wal_journal_abort(NULL);
	assert_int_equal(wal_journal_begin(t.journal, &txn), 0);
	assert_int_equal(wal_journal_commit(txn, 0, NULL, &last), 0);
	assert_int_equal(last, 0);
	assert_int_equal(wal_journal_current_sequence(t.journal), next);
	expect_replay(&t, "a");
	wal_journal_stat(t.journal, &stat);
	assert_true(stat.aborted == 1 && stat.committed == 0 && stat.records == 1);
	journal_teardown(&t);
}

/* As another program writes them: begin, records and commit are entries between others. */
static void transactions_of_others(void **state)
{
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	put(&t, marker_of(WAL_RECORD_BEGIN, 7, 1));
	put(&t, insert_of("a", 1));
	put(&t, marker_of(WAL_RECORD_COMMIT, 7, 1));
	put(&t, insert_of("b", 1));
	put(&t, marker_of(WAL_RECORD_BEGIN, 8, 1));
	put(&t, insert_of("never-aborted", 1));
	put(&t, marker_of(WAL_RECORD_BEGIN, 9, 1));
	put(&t, insert_of("c", 1));
	put(&t, marker_of(WAL_RECORD_COMMIT, 9, 1));
	put(&t, insert_of("never-too", 1));
	put(&t, marker_of(WAL_RECORD_ABORT, 8, 1));
	put(&t, insert_of("d", 1));
	put(&t, marker_of(WAL_RECORD_BEGIN, UINT64_MAX, 1));
	put(&t, insert_of("never-unfinished", 1));
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), 0);
	assert_string_equal(given.records, "a b c d");
	assert_int_equal(given.result.committed, 2);
	assert_int_equal(given.result.dropped, 2);
	assert_int_equal(given.result.dropped_records, 3);
	journal_teardown(&t);
}

/* An inner transaction that ends after the outer one: a record belongs to the one that was begun last and is not ended. */
static void transactions_that_overlap(void **state)
{
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	put(&t, marker_of(WAL_RECORD_BEGIN, 1, 1));
	put(&t, insert_of("a", 1));
	put(&t, marker_of(WAL_RECORD_BEGIN, 2, 1));
	put(&t, insert_of("b", 1));
	put(&t, marker_of(WAL_RECORD_COMMIT, 1, 1));
	put(&t, insert_of("c", 1));
	expect_replay(&t, "a");
	put(&t, marker_of(WAL_RECORD_COMMIT, 2, 1));
	expect_replay(&t, "a b c");
	journal_teardown(&t);
}

static void the_same_number_again_ends_the_first(void **state)
{
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	put(&t, marker_of(WAL_RECORD_BEGIN, 1, 1));
	put(&t, insert_of("never", 1));
	put(&t, marker_of(WAL_RECORD_BEGIN, 1, 1));
	put(&t, insert_of("a", 1));
	put(&t, marker_of(WAL_RECORD_COMMIT, 1, 1));
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), 0);
	assert_string_equal(given.records, "a");
	assert_int_equal(given.result.dropped, 1);
	journal_teardown(&t);
}

/* Without that, whatever is appended from now on would count as part of it, and never be applied. */
static void opening_ends_what_others_left_open(void **state)
{
	struct wal_journal_stat stat;
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	put(&t, marker_of(WAL_RECORD_BEGIN, 1, 1));
	put(&t, marker_of(WAL_RECORD_BEGIN, 2, 1));
	put(&t, insert_of("never", 1));
	journal_reopen(&t);
	wal_journal_stat(t.journal, &stat);
	assert_int_equal(stat.aborted_open, 2);
	add(&t, "a");
	expect_replay(&t, "a");
	journal_reopen(&t);
	wal_journal_stat(t.journal, &stat);
	assert_int_equal(stat.aborted_open, 0);
	expect_replay(&t, "a");
	journal_teardown(&t);
}

static void more_open_transactions_than_are_kept(void **state)
{
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, &(struct wal_options){ .sync = WAL_SYNC_ASYNC }, NULL);
	for (uint64_t i = 0; i < 3000; i++)
		put(&t, marker_of(WAL_RECORD_BEGIN, i, 1));
	put(&t, insert_of("a", 1));
	put(&t, marker_of(WAL_RECORD_COMMIT, 2999, 1));
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), 0);
	assert_string_equal(given.records, "a");
	assert_int_equal(given.result.dropped, 2999);
	journal_teardown(&t);
}

/* ---- Checkpoints ---- */

static void a_checkpoint_hides_what_it_covers(void **state)
{
	struct journal_test t;
	uint64_t b;

	(void)state;
	journal_setup(&t, NULL, NULL);
	add(&t, "a");
	b = add(&t, "b");
	add(&t, "c"); /* appended before the checkpoint, and not covered by it */
	assert_int_equal(wal_journal_checkpoint(t.journal, b, NULL), 0);
	add(&t, "d");
	expect_replay(&t, "c d");
	journal_reopen(&t);
	assert_int_equal(wal_journal_last_checkpoint_sequence(t.journal), b);
	expect_replay(&t, "c d");
	journal_teardown(&t);
}

static void checkpoints_go_forward(void **state)
{
	struct wal_error err;
	struct journal_test t;
	uint64_t a, b, next;

	(void)state;
	journal_setup(&t, NULL, NULL);
	a = add(&t, "a");
	b = add(&t, "b");
	assert_int_equal(wal_journal_checkpoint(t.journal, b, &err), 0);
	next = wal_journal_current_sequence(t.journal);
	assert_int_equal(wal_journal_checkpoint(t.journal, b, &err), 0); /* nothing to record */
	assert_int_equal(wal_journal_current_sequence(t.journal), next);
	assert_int_equal(wal_journal_checkpoint(t.journal, a, &err), -EINVAL);
	assert_string_equal(err.message, "journal 'j': a checkpoint: expected a number not below that of the last checkpoint, 2, found 1");
	assert_int_equal(wal_journal_checkpoint(t.journal, next, &err), -EINVAL);
	assert_string_equal(err.message, "journal 'j': a checkpoint: expected a number below the next one, 4, found 4");
	journal_teardown(&t);
}

/* A checkpoint in the midst of another program's transaction: what is left of it still comes, or does not, as it ends. */
static void a_checkpoint_inside_a_transaction(void **state)
{
	static const enum wal_record_type ends[] = { WAL_RECORD_COMMIT, WAL_RECORD_ABORT };
	static const char *const expected[] = { "b c", "c" };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(ends); i++) {
		struct journal_test t;
		uint64_t a;

		journal_setup(&t, NULL, NULL);
		put(&t, marker_of(WAL_RECORD_BEGIN, 3, 1));
		a = put(&t, insert_of("a", 1));
		assert_int_equal(wal_journal_checkpoint(t.journal, a, NULL), 0);
		put(&t, insert_of("b", 1));
		put(&t, marker_of(ends[i], 3, 1));
		put(&t, insert_of("c", 1));
		expect_replay(&t, expected[i]);
		journal_teardown(&t);
	}
}

struct application {
	unsigned asked;
	uint64_t lag; /* how many it has not made durable */
	uint64_t appended;
	int result;
};

static int make_durable(void *arg, uint64_t appended, uint64_t *ret_applied)
{
	struct application *app = arg;

	app->asked++;
	app->appended = appended;
	if (app->result)
		return app->result;
	*ret_applied = appended - app->lag;
	return 0;
}

static void automatic_checkpoints(void **state)
{
	struct application app = { .lag = 3 };
	struct wal_journal_options opts = { .checkpoint_interval = 10, .checkpoint = make_durable, .arg = &app };
	struct wal_journal_stat stat;
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, &opts);
	for (unsigned i = 0; i < 100; i++)
		add(&t, "x");
	assert_true(app.asked >= 8 && app.asked <= 10);
	assert_int_equal(wal_journal_last_checkpoint_sequence(t.journal), app.appended - 3);
	wal_journal_stat(t.journal, &stat);
	assert_int_equal(stat.checkpoints, app.asked);
	journal_reopen(&t);
	assert_int_equal(wal_journal_last_checkpoint_sequence(t.journal), app.appended - 3);
	journal_teardown(&t);
}

static void an_application_that_can_not_is_asked_again_later(void **state)
{
	struct application app = { .result = -ENOSPC };
	struct wal_journal_options opts = { .checkpoint_interval = 10, .checkpoint = make_durable, .arg = &app };
	struct wal_journal_stat stat;
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, &opts);
	for (unsigned i = 0; i < 35; i++)
		add(&t, "x");
	assert_int_equal(app.asked, 3);
	wal_journal_stat(t.journal, &stat);
	assert_int_equal(stat.checkpoint_failures, 3);
	assert_int_equal(stat.checkpoint_result, -ENOSPC);
	assert_int_equal(wal_journal_last_checkpoint_sequence(t.journal), 0);
	app.result = 0;
	for (unsigned i = 0; i < 10; i++)
		add(&t, "x");
	assert_int_equal(app.asked, 4);
	wal_journal_stat(t.journal, &stat);
	assert_int_equal(stat.checkpoint_result, 0);
	assert_int_equal(wal_journal_last_checkpoint_sequence(t.journal), app.appended);
	journal_teardown(&t);
}

static size_t segments_of(struct journal_test *t)
{
	uint64_t *ids;
	size_t count;

	assert_int_equal(wal_stream_segments(wal_journal_stream(t->journal), &ids, &count), 0);
	free(ids);
	return count;
}

static void retention_keeps_so_many_segments(void **state)
{
	struct wal_journal_options opts = { .retain_segments = 3 };
	struct wal_journal_stat stat;
	struct journal_test t;
	uint64_t last = 0;

	(void)state;
	journal_setup(&t, &small_segments, &opts);
	for (unsigned i = 0; i < 10 * SMALL_SEGMENTS; i++)
		last = add(&t, "x");
	assert_true(segments_of(&t) > 9);
	assert_int_equal(wal_journal_checkpoint(t.journal, last, NULL), 0);
	assert_int_equal(segments_of(&t), 3);
	wal_journal_stat(t.journal, &stat);
	assert_true(stat.pruned_segments >= 7);
	add(&t, "a");
	expect_replay(&t, "a");
	journal_reopen(&t);
	expect_replay(&t, "a");
	journal_teardown(&t);
}

/* ---- Replaying ---- */

/* Times of append are those of the clock, and one nanosecond apart at least. */
static int64_t time_of(struct journal_test *t, uint64_t id)
{
	struct wal_entry_info info;

	assert_int_equal(wal_stream_lookup(wal_journal_stream(t->journal), id, &info), 0);
	return info.time_ns;
}

static void up_to_a_time(void **state)
{
	struct given given = { 0 };
	struct journal_test t;
	uint64_t a, b, d;

	(void)state;
	journal_setup(&t, NULL, NULL);
	a = put(&t, insert_of("a", 100));
	b = put(&t, insert_of("b", 110));
	put(&t, marker_of(WAL_RECORD_CHECKPOINT, a, 115));
	put(&t, insert_of("c", 120));
	put(&t, marker_of(WAL_RECORD_BEGIN, 1, 121));
	d = put(&t, insert_of("d", 122));
	put(&t, marker_of(WAL_RECORD_COMMIT, 1, 125));
	put(&t, marker_of(WAL_RECORD_CHECKPOINT, d, 130));
	put(&t, insert_of("e", 112)); /* later in the journal than its time says */
	journal_reopen(&t);

	/* by the records' own times; the checkpoint made after the time does not count */
	assert_int_equal(replay_with(&t, (struct wal_replay){ .until_time = 112 }, &given), 0);
	assert_string_equal(given.records, "a b e");
	assert_int_equal(given.result.after, 0);
	assert_int_equal(given.result.too_late, 2);
	assert_int_equal(replay_with(&t, (struct wal_replay){ .until_time = 124 }, &given), 0);
	assert_string_equal(given.records, "b c e");
	assert_int_equal(given.result.after, a);
	assert_int_equal(replay_with(&t, (struct wal_replay){ .until_time = 125 }, &given), 0);
	assert_string_equal(given.records, "b c d e");

	/* by number and by time of append: what is behind is not there */
	assert_int_equal(replay_with(&t, (struct wal_replay){ .until_sequence = b }, &given), 0);
	assert_string_equal(given.records, "a b");
	assert_int_equal(replay_with(&t, (struct wal_replay){ .until_sequence = d }, &given), 0);
	assert_string_equal(given.records, "b c");
	assert_int_equal(given.result.dropped, 1); /* its commit is not there yet */
	assert_int_equal(replay_with(&t, (struct wal_replay){ .until_ns = time_of(&t, d + 1) }, &given), 0);
	assert_string_equal(given.records, "b c d");
	assert_int_equal(given.result.after, a);
	assert_int_equal(replay_with(&t, (struct wal_replay){ .until_ns = time_of(&t, b) }, &given), 0);
	assert_string_equal(given.records, "a b");
	assert_int_equal(given.result.next, b + 1);
	assert_int_equal(replay_with(&t, (struct wal_replay){ .until_ns = 1 }, &given), 0);
	assert_string_equal(given.records, "");

	assert_int_equal(replay_with(&t, (struct wal_replay){ .from_start = true }, &given), 0);
	assert_string_equal(given.records, "a b c d e");
	expect_replay(&t, "e");
	journal_teardown(&t);
}

static void the_callback_may_end_it(void **state)
{
	struct given given = { .give_up = -ENOMEDIUM };
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	add(&t, "a");
	add(&t, "b");
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), -ENOMEDIUM);
	assert_string_equal(given.records, "a");
	assert_int_equal(given.result.records, 1);
	given.give_up = 5;
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), 5);
	journal_teardown(&t);
}

static void what_is_no_record_is_told(void **state)
{
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	add(&t, "a");
	put_bytes(&t, "no record", 9);
	put_bytes(&t, "", 0);
	add(&t, "b");
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), -EBADMSG);
	assert_string_equal(given.records, "a");
	assert_string_equal(given.err.message, "journal 'j': entry 2, byte 0: expected a type of record from 0 to 7, or 250, found 110");
	expect_skipping(&t, "a b", "undecodable 2, undecodable 3");
	journal_teardown(&t);
}

static void damage_is_told(void **state)
{
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, &small_segments, NULL);
	for (unsigned i = 1; i < SMALL_SEGMENTS; i++)
		add(&t, i == 3 ? "damaged-one" : "x");
	add(&t, "y");
	add(&t, "z");
	journal_close(&t);
	damage_payload(&t, 0, "damaged-one");
	journal_open(&t);
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), -EBADMSG);
	assert_string_equal(given.records, "x x");
	expect_skipping(&t, "x x x x x x y z", "damaged 3");
	journal_teardown(&t);
}

static void what_was_pruned_without_a_checkpoint_is_told(void **state)
{
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, &small_segments, NULL);
	for (unsigned i = 0; i < SMALL_SEGMENTS; i++)
		add(&t, "x");
	add(&t, "y");
	assert_int_equal(wal_stream_prune(wal_journal_stream(t.journal), SMALL_SEGMENTS, NULL), 0);
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), -EBADMSG);
	expect_skipping(&t, "x y", "pruned 0+8");
	assert_int_equal(replay_with(&t, (struct wal_replay){ .from_start = true }, &given), 0);
	assert_string_equal(given.records, "x y");
	assert_int_equal(wal_stream_rotate(wal_journal_stream(t.journal)), 0);
	assert_int_equal(wal_stream_prune(wal_journal_stream(t.journal), 100, NULL), 0);
	expect_skipping(&t, "", "pruned 0+10");
	journal_teardown(&t);
}

/* A transaction is dropped as a whole when something of it is missing, and what follows it is not. */
static void a_broken_transaction_is_dropped(void **state)
{
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	put(&t, marker_of(WAL_RECORD_BEGIN, 1, 1));
	put(&t, insert_of("never", 1));
	put_bytes(&t, "?", 1);
	put(&t, insert_of("never", 1));
	put(&t, marker_of(WAL_RECORD_COMMIT, 1, 1));
	put(&t, insert_of("a", 1));
	put(&t, marker_of(WAL_RECORD_BEGIN, 2, 1));
	put(&t, insert_of("never", 1));
	put_bytes(&t, "?", 1); /* perhaps its commit: none follows */
	put(&t, insert_of("b", 1));
	expect_skipping(&t, "a b", "undecodable 3, incomplete 1, undecodable 9, incomplete 7");
	assert_int_equal(replay_with(&t, (struct wal_replay){ .policy = WAL_REPLAY_SKIP }, &given), 0);
	assert_int_equal(given.result.dropped, 2);
	assert_int_equal(given.result.dropped_records, 3);
	assert_int_equal(given.result.problems, 4);
	journal_teardown(&t);
}

static void markers_that_can_not_be_are_told(void **state)
{
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	put(&t, insert_of("a", 1));
	put(&t, marker_of(WAL_RECORD_CHECKPOINT, 100, 1)); /* of what comes after it */
	put(&t, marker_of(WAL_RECORD_BEGIN, 1, 1));
	put(&t, marker_of(WAL_RECORD_COMMIT, 1, 1));
	put(&t, marker_of(WAL_RECORD_ABORT, 5, 1));
	put(&t, insert_of("b", 1));
	expect_skipping(&t, "a b", "misplaced 2, misplaced 5");
	journal_reopen(&t);
	assert_int_equal(wal_journal_last_checkpoint_sequence(t.journal), 0);
	journal_teardown(&t);
}

/* ---- Threads ---- */

enum { THREADS = 6, THREAD_APPENDS = UNDER_TSAN ? 60 : 200 };

struct appender {
	struct journal_test *t;
	pthread_t thread;
	unsigned no;
	uint64_t sequences[THREAD_APPENDS];
};

static void append_transaction(struct wal_journal *journal, const struct wal_record *record, uint64_t *ret)
{
	struct wal_journal_txn *txn;

	THREAD_CHECK_OK(wal_journal_begin(journal, &txn));
	THREAD_CHECK_OK(wal_journal_add(txn, record));
	THREAD_CHECK_OK(wal_journal_add(txn, record));
	THREAD_CHECK_OK(wal_journal_commit(txn, 0, ret, NULL));
}

static void *append_many(void *arg)
{
	struct appender *a = arg;
	char id[32];

	for (unsigned i = 0; i < THREAD_APPENDS; i++) {
		struct wal_record record;

		snprintf(id, sizeof(id), "%u-%u", a->no, i);
		record = insert_of(id, 0);
		if (i % 5 == 4)
			append_transaction(a->t->journal, &record, &a->sequences[i]);
		else
			THREAD_CHECK_OK(wal_journal_append(a->t->journal, &record, 0, &a->sequences[i]));
	}
	return NULL;
}

/* What each thread last got, in the order of the journal. */
struct order {
	unsigned next[THREADS];
	unsigned again; /* the second record of a transaction */
	uint64_t last;
	struct appender *appenders;
};

static int check_order(void *arg, uint64_t sequence, const struct wal_record *record)
{
	struct order *order = arg;
	unsigned no, i;

	assert_true(sscanf(record->id, "%u-%u", &no, &i) == 2 && no < THREADS);
	assert_true(sequence > order->last);
	order->last = sequence;
	if (i + 1 == order->next[no] && i % 5 == 4) {
		assert_true(order->appenders[no].sequences[i] + 1 == sequence);
		order->again++;
		return 0;
	}
	assert_int_equal(i, order->next[no]);
	assert_true(order->appenders[no].sequences[i] == sequence);
	order->next[no]++;
	return 0;
}

static int slow_checkpoint(void *arg, uint64_t appended, uint64_t *ret_applied)
{
	atomic_uint *inside = arg;

	THREAD_CHECK(atomic_fetch_add(inside, 1) == 0);
	*ret_applied = appended > 50 ? appended - 50 : 0;
	atomic_fetch_sub(inside, 1);
	return 0;
}

static void many_threads_append(void **state)
{
	struct appender *appenders = calloc(THREADS, sizeof(*appenders));
	struct order order = { .appenders = appenders };
	atomic_uint inside = 0;
	struct wal_journal_options opts = { .checkpoint_interval = 100, .checkpoint = slow_checkpoint, .arg = &inside };
	struct wal_journal_stat stat;
	struct journal_test t;

	(void)state;
	assert_non_null(appenders);
	journal_setup(&t, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 64 }, &opts);
	for (unsigned i = 0; i < THREADS; i++) {
		appenders[i] = (struct appender){ .t = &t, .no = i };
		assert_int_equal(pthread_create(&appenders[i].thread, NULL, append_many, &appenders[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(appenders[i].thread, NULL), 0);
	assert_int_equal(wal_journal_replay(t.journal, &(struct wal_replay){ .record = check_order, .arg = &order, .from_start = true }, NULL, NULL), 0);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(order.next[i], THREAD_APPENDS);
	assert_int_equal(order.again, THREADS * (THREAD_APPENDS / 5));
	wal_journal_stat(t.journal, &stat);
	assert_true(stat.checkpoints > 0);
	assert_int_equal(stat.checkpoint_failures, 0);
	journal_teardown(&t);
	free(appenders);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_journal_begins_with_a_checkpoint_of_nothing),
		cmocka_unit_test(records_come_back_in_order),
		cmocka_unit_test(a_time_of_0_becomes_the_present),
		cmocka_unit_test(what_is_refused_leaves_nothing),
		cmocka_unit_test(a_read_only_store_can_be_replayed),
		cmocka_unit_test(the_journal_of_a_shard),
		cmocka_unit_test(a_transaction_is_one_frame_with_its_markers),
		cmocka_unit_test(what_is_called_off_leaves_nothing),
		cmocka_unit_test(transactions_of_others),
		cmocka_unit_test(transactions_that_overlap),
		cmocka_unit_test(the_same_number_again_ends_the_first),
		cmocka_unit_test(opening_ends_what_others_left_open),
		cmocka_unit_test(more_open_transactions_than_are_kept),
		cmocka_unit_test(a_checkpoint_hides_what_it_covers),
		cmocka_unit_test(checkpoints_go_forward),
		cmocka_unit_test(a_checkpoint_inside_a_transaction),
		cmocka_unit_test(automatic_checkpoints),
		cmocka_unit_test(an_application_that_can_not_is_asked_again_later),
		cmocka_unit_test(retention_keeps_so_many_segments),
		cmocka_unit_test(up_to_a_time),
		cmocka_unit_test(the_callback_may_end_it),
		cmocka_unit_test(what_is_no_record_is_told),
		cmocka_unit_test(damage_is_told),
		cmocka_unit_test(what_was_pruned_without_a_checkpoint_is_told),
		cmocka_unit_test(a_broken_transaction_is_dropped),
		cmocka_unit_test(markers_that_can_not_be_are_told),
		cmocka_unit_test(many_threads_append),
	};

	return TEST_RUN(tests);
}
