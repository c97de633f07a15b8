/* SPDX-License-Identifier: Apache-2.0 */
/* Journals: appending, alone and in transactions, from one thread and from many. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "journals.h"
#include "test.h"
#include "threads.h"

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

/* Of oxirs-vec, as test_journal_weaknesses.c has the others: there 11 of 16,000 numbers came out of order. */
static void weakness_11_numbers_are_in_order_under_threads(void **state)
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

/* ---- Replaying meanwhile ---- */

struct replaying {
	struct journal_test *t;
	pthread_t thread;
	atomic_bool *done;
	uint64_t last;
	uint64_t replays, records;
};

static int check_ascending(void *arg, uint64_t sequence, const struct wal_record *record)
{
	struct replaying *r = arg;

	THREAD_CHECK(sequence > r->last && record->type == WAL_RECORD_INSERT);
	r->last = sequence;
	r->records++;
	return 0;
}

/* Checkpoints let go of what it has not come to yet: only that may be missing. */
static void check_pruned(void *arg, const struct wal_replay_problem *problem)
{
	(void)arg;
	THREAD_CHECK(problem->kind == WAL_REPLAY_PRUNED || problem->kind == WAL_REPLAY_INCOMPLETE || problem->kind == WAL_REPLAY_MISPLACED);
}

static void *replay_often(void *arg)
{
	struct replaying *r = arg;
	struct wal_replay replay = { .record = check_ascending, .problem = check_pruned, .arg = r, .policy = WAL_REPLAY_SKIP };

	for (bool last = false; !last;) {
		last = atomic_load(r->done);
		r->last = 0;
		THREAD_CHECK_OK(wal_journal_replay(r->t->journal, &replay, NULL, NULL));
		r->replays++;
	}
	return NULL;
}

static void threads_append_while_others_replay(void **state)
{
	struct appender *appenders = calloc(THREADS, sizeof(*appenders));
	struct replaying replaying[2];
	atomic_uint inside = 0;
	atomic_bool done = false;
	struct wal_journal_options opts = { .checkpoint_interval = 100, .checkpoint = slow_checkpoint, .arg = &inside, .retain_segments = 1 };
	struct wal_journal_stat stat;
	struct journal_test t;

	(void)state;
	assert_non_null(appenders);
	journal_setup(&t, &(struct wal_options){ .sync = WAL_SYNC_BATCH, .segment_entries = 64 }, &opts);
	for (unsigned i = 0; i < TEST_COUNT(replaying); i++) {
		replaying[i] = (struct replaying){ .t = &t, .done = &done };
		assert_int_equal(pthread_create(&replaying[i].thread, NULL, replay_often, &replaying[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		appenders[i] = (struct appender){ .t = &t, .no = i };
		assert_int_equal(pthread_create(&appenders[i].thread, NULL, append_many, &appenders[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(appenders[i].thread, NULL), 0);
	atomic_store(&done, true);
	for (unsigned i = 0; i < TEST_COUNT(replaying); i++) {
		assert_int_equal(pthread_join(replaying[i].thread, NULL), 0);
		print_message("# %" PRIu64 " replays, %" PRIu64 " records\n", replaying[i].replays, replaying[i].records);
		assert_true(replaying[i].records > 0);
	}
	wal_journal_stat(t.journal, &stat);
	assert_true(stat.pruned_segments > 0);
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
		cmocka_unit_test(weakness_11_numbers_are_in_order_under_threads),
		cmocka_unit_test(threads_append_while_others_replay),
	};

	return TEST_RUN(tests);
}
