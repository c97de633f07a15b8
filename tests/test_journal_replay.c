/* SPDX-License-Identifier: Apache-2.0 */
/* What a replay gives: transactions of others, up to a time, and around what is wrong. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "journals.h"
#include "random.h"
#include "test.h"
#include "threads.h"

enum { SMALL_SEGMENTS = 8 };

static const struct wal_options small_segments = { .segment_entries = SMALL_SEGMENTS, .sync = WAL_SYNC_ASYNC };

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
	assert_int_equal(replay_with(&t, (struct wal_replay){ .after = b }, &given), 0);
	assert_string_equal(given.records, "c d e");
	assert_int_equal(replay_with(&t, (struct wal_replay){ .after = 1000 }, &given), 0);
	assert_string_equal(given.records, "");
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

static int give_nothing(void *arg, uint64_t sequence, const struct wal_record *record)
{
	(void)arg;
	(void)sequence;
	(void)record;
	return 0;
}

/* Each bad entry makes it look ahead for the end of what is open: all of them together no more than a few times the journal. */
static void bad_entries_cost_no_more_than_the_journal_is_long(void **state)
{
	enum { MANY = 20000 };
	struct iovec *entries = calloc(2 * MANY, sizeof(*entries));
	struct wal_buf *begins = calloc(MANY, sizeof(*begins));
	char bad[] = "?";
	struct wal_replay_result result;
	struct journal_test t;

	(void)state;
	assert_true(entries && begins);
	journal_setup(&t, NULL, NULL);
	for (size_t i = 0; i < MANY; i++) {
		struct wal_record begin = marker_of(WAL_RECORD_BEGIN, i, 1);

		assert_int_equal(wal_record_encode(&begin, &begins[i], NULL), 0);
		entries[2 * i] = (struct iovec){ begins[i].data, begins[i].size };
		entries[2 * i + 1] = (struct iovec){ bad, 1 };
	}
	assert_int_equal(wal_stream_append_batch(wal_journal_stream(t.journal), entries, (size_t)2 * MANY, 0, NULL), 0);
	struct wal_replay replay = { .record = give_nothing, .policy = WAL_REPLAY_SKIP };
	assert_int_equal(wal_journal_replay(t.journal, &replay, &result, NULL), 0);
	assert_int_equal(result.undecodable, MANY);
	assert_int_equal(result.dropped, MANY);
	for (size_t i = 0; i < MANY; i++)
		wal_buf_release(&begins[i]);
	free(begins);
	free(entries);
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

/* ---- Random journals against a model ---- */

enum { MODEL_ROUNDS = 150, MODEL_ENTRIES = 80, MODEL_NUMBERS = 4 };

struct model {
	struct wal_record records[MODEL_ENTRIES * 4]; /* by id; only type and number matter */
	uint64_t count;
	uint64_t checkpoint;
};

/* The transactions that are open, by their numbers, the last begun one last; and for each record whose it is. */
struct model_open {
	uint64_t numbers[MODEL_NUMBERS];
	size_t count;
};

static bool model_end(struct model_open *open, uint64_t number)
{
	for (size_t i = 0; i < open->count; i++) {
		if (open->numbers[i] == number) {
			memmove(&open->numbers[i], &open->numbers[i + 1], (open->count - i - 1) * sizeof(number));
			open->count--;
			return true;
		}
	}
	return false;
}

/* Where the transaction that contains `id` begins and how it ends is found by going through everything, for each record anew. */
static bool model_owner(const struct model *m, uint64_t from, uint64_t id, uint64_t *ret_number)
{
	struct model_open open = { 0 };

	for (uint64_t i = from; i < m->count; i++) {
		if (m->records[i].type == WAL_RECORD_COMMIT || m->records[i].type == WAL_RECORD_ABORT)
			open.numbers[open.count++] = m->records[i].transaction; /* the end of what was begun before `from` */
		if (m->records[i].type >= WAL_RECORD_BEGIN)
			break;
	}
	if (!from)
		open.count = 0;
	for (uint64_t i = from; i < id; i++) {
		if (m->records[i].type == WAL_RECORD_BEGIN) {
			model_end(&open, m->records[i].transaction);
			open.numbers[open.count++] = m->records[i].transaction;
		} else if (m->records[i].type > WAL_RECORD_BEGIN) {
			model_end(&open, m->records[i].transaction);
		}
	}
	if (!open.count)
		return false;
	*ret_number = open.numbers[open.count - 1];
	return true;
}

/* The id of the commit that gives the record; its own id if it is in no transaction; 0 if nothing gives it. */
static uint64_t model_given_at(const struct model *m, uint64_t from, uint64_t id)
{
	uint64_t number;

	if (!model_owner(m, from, id, &number))
		return id;
	for (uint64_t i = id + 1; i < m->count; i++) {
		if (m->records[i].type >= WAL_RECORD_BEGIN && m->records[i].transaction == number)
			return m->records[i].type == WAL_RECORD_COMMIT ? i : 0;
	}
	return 0;
}

static void model_replay(const struct model *m, uint64_t from, char *ret, size_t size)
{
	size_t used = 0;

	*ret = 0;
	for (uint64_t at = from; at < m->count; at++) {
		for (uint64_t id = from; id <= at; id++) {
			if (m->records[id].type == WAL_RECORD_INSERT && model_given_at(m, from, id) == at)
				used += (size_t)snprintf(ret + used, size - used, "%s%" PRIu64, used ? " " : "", id);
		}
	}
}

static void model_add(struct journal_test *t, struct model *m, struct random *random)
{
	unsigned choice = (unsigned)random_below(random, 20);
	uint64_t number = random_below(random, MODEL_NUMBERS);
	struct wal_record record;
	char id[24];

	snprintf(id, sizeof(id), "%" PRIu64, m->count);
	if (choice < 4)
		record = marker_of(WAL_RECORD_BEGIN, number, 1);
	else if (choice < 7)
		record = marker_of(WAL_RECORD_COMMIT, number, 1);
	else if (choice < 8)
		record = marker_of(WAL_RECORD_ABORT, number, 1);
	else
		record = insert_of(id, 1);
	assert_true(put(t, record) == m->count);
	m->records[m->count++] = record;
}

static void model_checkpoint(struct journal_test *t, struct model *m, struct random *random)
{
	uint64_t applied = m->checkpoint + random_below(random, m->count - m->checkpoint);

	assert_int_equal(wal_journal_checkpoint(t->journal, applied, NULL), 0);
	if (applied > m->checkpoint)
		m->records[m->count++] = marker_of(WAL_RECORD_CHECKPOINT, applied, 1);
	m->checkpoint = applied;
}

/* Orphaned aborts are told, and change nothing: so they are stepped over. */
static void expect_model(struct journal_test *t, const struct model *m)
{
	struct given given = { 0 };
	char expected[sizeof(given.records)];

	given.any_order = true;
	model_replay(m, m->checkpoint ? m->checkpoint + 1 : 0, expected, sizeof(expected));
	assert_int_equal(replay_with(t, (struct wal_replay){ .policy = WAL_REPLAY_SKIP }, &given), 0);
	assert_string_equal(given.records, expected);
	model_replay(m, 0, expected, sizeof(expected));
	assert_int_equal(replay_with(t, (struct wal_replay){ .policy = WAL_REPLAY_SKIP, .from_start = true }, &given), 0);
	assert_string_equal(given.records, expected);
}

static void random_journals_against_a_model(void **state)
{
	uint64_t seed = test_seed(20260719);

	(void)state;
	for (unsigned round = 0; round < MODEL_ROUNDS; round++) {
		struct random random = { seed + round };
		struct model *m = calloc(1, sizeof(*m));
		struct journal_test t;

		assert_non_null(m);
		journal_setup(&t, NULL, NULL);
		m->records[m->count++] = marker_of(WAL_RECORD_CHECKPOINT, 0, 1);
		for (unsigned i = 0; i < MODEL_ENTRIES; i++) {
			model_add(&t, m, &random);
			if (random_below(&random, 25) == 0)
				model_checkpoint(&t, m, &random);
		}
		expect_model(&t, m);
		journal_teardown(&t);
		free(m);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(transactions_of_others),
		cmocka_unit_test(transactions_that_overlap),
		cmocka_unit_test(the_same_number_again_ends_the_first),
		cmocka_unit_test(opening_ends_what_others_left_open),
		cmocka_unit_test(more_open_transactions_than_are_kept),
		cmocka_unit_test(up_to_a_time),
		cmocka_unit_test(the_callback_may_end_it),
		cmocka_unit_test(what_is_no_record_is_told),
		cmocka_unit_test(damage_is_told),
		cmocka_unit_test(what_was_pruned_without_a_checkpoint_is_told),
		cmocka_unit_test(a_broken_transaction_is_dropped),
		cmocka_unit_test(bad_entries_cost_no_more_than_the_journal_is_long),
		cmocka_unit_test(markers_that_can_not_be_are_told),
		cmocka_unit_test(random_journals_against_a_model),
	};

	return TEST_RUN(tests);
}
