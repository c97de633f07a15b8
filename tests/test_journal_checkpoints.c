/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints of journals: what they hide, what they let go of, how the last one is found. */
#include <errno.h>
#include <stdlib.h>

#include "faultsys.h"
#include "journals.h"
#include "test.h"

enum { SMALL_SEGMENTS = 8 };

static const struct wal_options small_segments = { .segment_entries = SMALL_SEGMENTS, .sync = WAL_SYNC_ASYNC };

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

/* Opening a journal in which another program left a transaction open, while the nth read fails: it fails, or what is appended next is replayed. */
static bool opened_with_a_fault(unsigned nth, unsigned *failures)
{
	struct wal_stream *stream;
	struct journal_test t;
	struct faultsys f;
	bool hit;
	int r;

	journal_setup(&t, &small_segments, NULL);
	add(&t, "a");
	put(&t, marker_of(WAL_RECORD_BEGIN, 77, 1));
	for (unsigned i = 0; i < 4 * SMALL_SEGMENTS; i++)
		put(&t, insert_of("never", 1));
	journal_close(&t);
	faultsys_init(&f);
	assert_int_equal(store_open(&f.sys, t.dir.path, &t.store_opts, &t.store, NULL), 0);
	stream = stream_open_or_fail(t.store, "j");
	faultsys_fail(&f, FAULT_PREAD, nth, EIO);
	r = wal_journal_open_stream(stream, NULL, &t.journal, NULL);
	hit = faultsys_hit(&f);
	assert_true(r == 0 || (hit && r == -EIO));
	*failures += r != 0;
	faultsys_fail(&f, FAULT_PREAD, 0, 0);
	if (r)
		assert_int_equal(wal_journal_open_stream(stream, NULL, &t.journal, NULL), 0);
	add(&t, "b");
	expect_replay(&t, "a b");
	wal_journal_close(t.journal);
	wal_stream_close(stream);
	t.journal = NULL;
	store_close_or_fail(t.store);
	journal_teardown(&t);
	return hit;
}

static void no_failing_read_leaves_a_transaction_open(void **state)
{
	unsigned nth = 1, failures = 0;

	(void)state;
	while (opened_with_a_fault(nth, &failures))
		nth++;
	print_message("# %u reads, %u failures\n", nth - 1, failures);
	assert_true(failures > 0);
}

/* What is large is not read on the way to a checkpoint. */
static void a_checkpoint_behind_and_before_large_records(void **state)
{
	char *data = calloc(1, 40000);
	struct wal_record large = { .type = WAL_RECORD_OPAQUE, .data = data, .data_size = 40000 };
	struct journal_test t;
	uint64_t sequence = 0;

	(void)state;
	assert_non_null(data);
	journal_setup(&t, NULL, NULL);
	for (unsigned i = 0; i < 10; i++) {
		assert_int_equal(wal_journal_append(t.journal, &large, 0, &sequence), 0);
		if (i == 4)
			assert_int_equal(wal_journal_checkpoint(t.journal, sequence, NULL), 0);
		if (i == 5)
			put(&t, marker_of(WAL_RECORD_BEGIN, 77, 1));
	}
	journal_reopen(&t);
	assert_int_equal(wal_journal_last_checkpoint_sequence(t.journal), 5);
	add(&t, "a");
	expect_replay(&t, "? a"); /* what is in the transaction that was left open is not */
	journal_teardown(&t);
	free(data);
}

/* Many blocks of the search lie behind it. */
static void a_checkpoint_far_back(void **state)
{
	struct journal_test t;
	uint64_t a;

	(void)state;
	journal_setup(&t, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 1000 }, NULL);
	a = add(&t, "a");
	assert_int_equal(wal_journal_checkpoint(t.journal, a, NULL), 0);
	for (unsigned i = 0; i < 20000; i++)
		put_bytes(&t, "\002\001x\001", 4);
	journal_reopen(&t);
	assert_int_equal(wal_journal_last_checkpoint_sequence(t.journal), a);
	journal_teardown(&t);
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

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_checkpoint_hides_what_it_covers),
		cmocka_unit_test(checkpoints_go_forward),
		cmocka_unit_test(a_checkpoint_inside_a_transaction),
		cmocka_unit_test(no_failing_read_leaves_a_transaction_open),
		cmocka_unit_test(a_checkpoint_behind_and_before_large_records),
		cmocka_unit_test(a_checkpoint_far_back),
		cmocka_unit_test(automatic_checkpoints),
		cmocka_unit_test(an_application_that_can_not_is_asked_again_later),
		cmocka_unit_test(retention_keeps_so_many_segments),
	};

	return TEST_RUN(tests);
}
