/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the write-ahead log of oxirs-vec was found to do wrong, by the numbers of a list of it, done here as it was done there: each test shows that a
 * journal does not. (10 is in test_record.c too, 11 in test_journal.c; for 9 see also bincode_1() of test_record.c.)
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "damage.h"
#include "faultsys.h"
#include "journals.h"
#include "snapshot.h"
#include "test.h"

enum { SMALL_SEGMENTS = 8 };

static const struct wal_options small_segments = { .segment_entries = SMALL_SEGMENTS, .sync = WAL_SYNC_ASYNC };

/* There: an error from a log that was just opened, as the newest file is empty. */
static void weakness_1_a_journal_just_opened_can_be_recovered(void **state)
{
	struct journal_test t;

	(void)state;
	journal_setup(&t, &(struct wal_options){ .sync = WAL_SYNC_ASYNC }, NULL);
	expect_replay(&t, "");
	add(&t, "a");
	expect_replay(&t, "a"); /* nothing was flushed */
	assert_int_equal(wal_stream_rotate(wal_journal_stream(t.journal)), 0);
	expect_replay(&t, "a"); /* the newest segment is empty */
	journal_reopen(&t);
	expect_replay(&t, "a");
	journal_teardown(&t);
}

/* There: after a checkpoint of 0, which says that nothing is applied, 16 of 20 inserts were gone. */
static void weakness_2_retention_never_deletes_what_no_checkpoint_covers(void **state)
{
	struct wal_journal_options opts = { .retain_segments = 1 };
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, &small_segments, &opts);
	for (unsigned i = 0; i < 40; i++)
		add(&t, "x");
	assert_int_equal(wal_journal_checkpoint(t.journal, 0, NULL), 0);
	journal_reopen(&t);
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), 0);
	assert_int_equal(given.count, 40);
	/* One of 20 keeps the segment that 21 lies in, though only one is to be retained; restarts drop nothing. */
	assert_int_equal(wal_journal_checkpoint(t.journal, 20, NULL), 0);
	for (unsigned i = 0; i < 5; i++)
		journal_reopen(&t);
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), 0);
	assert_int_equal(given.count, 20);
	assert_int_equal(given.result.after, 20);
	assert_int_equal(replay_with(&t, (struct wal_replay){ .from_start = true }, &given), 0);
	assert_int_equal(given.count, 40 - 2 * SMALL_SEGMENTS + 1);
	journal_teardown(&t);
}

/* There: 4 of 8 records were lost when a log was opened, or rotated, twice in one second. */
static void weakness_3_opening_and_rotating_often_in_a_second_loses_nothing(void **state)
{
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	for (char id[] = "a"; id[0] < 'i'; id[0]++) {
		add(&t, id);
		if (id[0] % 2)
			assert_int_equal(wal_stream_rotate(wal_journal_stream(t.journal)), 0);
		else
			journal_reopen(&t);
	}
	expect_replay(&t, "a b c d e f g h");
	journal_teardown(&t);
}

/* There: 1.0 became infinity without a word. */
static void weakness_4_a_flipped_bit_is_no_value(void **state)
{
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, &small_segments, NULL);
	for (unsigned i = 0; i < 2 * SMALL_SEGMENTS; i++)
		add(&t, i == 2 ? "third" : "x");
	journal_close(&t);
	damage_payload(&t, 0, "third");
	journal_open(&t);
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), -EBADMSG);
	expect_skipping(&t, "x x x x x x x x x x x x x x x", "damaged 3");
	journal_teardown(&t);
}

/* There: the inserts of a transaction that was aborted, and of one that was never committed, were applied. */
static void weakness_5_only_committed_transactions_are_applied(void **state)
{
	struct wal_record record = insert_of("never", 0), good = insert_of("b", 0);
	struct wal_journal_txn *txn;
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	assert_int_equal(wal_journal_begin(t.journal, &txn), 0);
	assert_int_equal(wal_journal_add(txn, &good), 0);
	assert_int_equal(wal_journal_commit(txn, 0, NULL, NULL), 0);
	assert_int_equal(wal_journal_begin(t.journal, &txn), 0);
	assert_int_equal(wal_journal_add(txn, &record), 0);
	wal_journal_abort(txn);
	put(&t, marker_of(WAL_RECORD_BEGIN, 100, 1));
	put(&t, insert_of("never", 1));
	put(&t, marker_of(WAL_RECORD_ABORT, 100, 1));
	put(&t, marker_of(WAL_RECORD_BEGIN, 101, 1));
	put(&t, insert_of("never", 1));
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), 0);
	assert_string_equal(given.records, "b");
	assert_int_equal(given.result.committed, 1);
	assert_int_equal(given.result.dropped, 2);
	journal_teardown(&t);
}

static int append_meanwhile(void *arg, uint64_t sequence, const struct wal_record *record)
{
	struct journal_test *t = arg;

	(void)sequence;
	assert_int_equal(record->type, WAL_RECORD_BATCH);
	assert_int_equal(record->record_count, 2);
	assert_int_equal(record->records[1].type, WAL_RECORD_BATCH);
	add(t, "b");
	assert_int_equal(wal_journal_checkpoint(t->journal, sequence, NULL), 0);
	return 0;
}

/* There: it never returned. No lock is held over the callback, which gets a batch in one piece. */
static void weakness_6_replaying_a_batch_does_not_dead_lock(void **state)
{
	struct wal_record innermost[1] = { insert_of("a", 1) };
	struct wal_record inner[2] = { insert_of("a", 1), { .type = WAL_RECORD_BATCH, .records = innermost, .record_count = 1 } };
	struct wal_record batch = { .type = WAL_RECORD_BATCH, .records = inner, .record_count = 2 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	assert_int_equal(wal_journal_append(t.journal, &batch, 0, NULL), 0);
	assert_int_equal(wal_journal_replay(t.journal, &(struct wal_replay){ .record = append_meanwhile, .arg = &t }, NULL, NULL), 0);
	expect_replay(&t, "b");
	journal_teardown(&t);
}

/* A program that loses all but what it saved, as it does when it is killed. */
struct program {
	char saved[64];
	char live[64];
	uint64_t applied;
};

static int save(void *arg, uint64_t appended, uint64_t *ret_applied)
{
	struct program *program = arg;

	(void)appended;
	strcpy(program->saved, program->live);
	*ret_applied = program->applied;
	return 0;
}

/* There: of 6 inserts acknowledged with a checkpoint every 4, 2 came back, as a checkpoint was written though nothing was saved. */
static void weakness_7_a_checkpoint_is_only_of_what_the_application_has_saved(void **state)
{
	struct program program = { 0 };
	struct wal_journal_options opts = { .checkpoint_interval = 4, .checkpoint = save, .arg = &program };
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, &opts);
	for (char id[] = "a"; id[0] < 'g'; id[0]++) {
		program.applied = add(&t, id);
		strcat(program.live, id);
	}
	assert_true(program.saved[0]);
	journal_reopen(&t);
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), 0);
	strcpy(program.live, program.saved);
	for (const char *id = given.records; *id; id++) {
		if (*id != ' ')
			strcat(program.live, (char[]){ *id, 0 });
	}
	assert_string_equal(program.live, "abcdef");
	journal_teardown(&t);
}

/* There: the numbers of a second session began at 0, and the first one's checkpoint hid all of its records. */
static void weakness_8_an_old_checkpoint_does_not_hide_a_new_session(void **state)
{
	struct journal_test t;
	uint64_t last = 0;

	(void)state;
	journal_setup(&t, &small_segments, &(struct wal_journal_options){ .retain_segments = 1 });
	for (unsigned i = 0; i < 6; i++)
		last = add(&t, "x");
	assert_int_equal(wal_journal_checkpoint(t.journal, last, NULL), 0);
	journal_reopen(&t);
	assert_true(add(&t, "a") > last);
	add(&t, "b");
	expect_replay(&t, "a b");
	/* also when nothing of the first one is left */
	last = wal_journal_current_sequence(t.journal) - 1;
	assert_int_equal(wal_stream_rotate(wal_journal_stream(t.journal)), 0);
	assert_int_equal(wal_journal_checkpoint(t.journal, last, NULL), 0);
	journal_reopen(&t);
	assert_true(add(&t, "c") > last);
	expect_replay(&t, "c");
	journal_teardown(&t);
}

/* There: 16 of 16 records of an older release came back as garbage without ids. */
static void weakness_9_another_encoding_is_not_misread(void **state)
{
	static const uint8_t bincode1[] = { 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 'v', 'e', 'c', '1', 0, 0, 0, 0, 0, 0, 0, 0, 0, 57, 48, 0, 0, 0, 0, 0, 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	put_bytes(&t, bincode1, sizeof(bincode1));
	add(&t, "a");
	expect_skipping(&t, "a", "undecodable 1");
	journal_teardown(&t);
}

/* There: the process was gone (see test_record.c), so one bad record was the end of all recovery. */
static void weakness_10_one_bad_record_does_not_prevent_recovery(void **state)
{
	static const uint8_t bad_length[] = { 0, 0xfd, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f, 'a' };
	enum { DEEP = 20000 };
	uint8_t *deep = calloc(1, 3 * DEEP);
	struct journal_test t;

	(void)state;
	assert_non_null(deep);
	for (size_t i = 0; i < DEEP; i++) {
		deep[2 * i] = WAL_RECORD_BATCH;
		deep[2 * i + 1] = 1;
	}
	journal_setup(&t, NULL, NULL);
	add(&t, "a");
	put_bytes(&t, bad_length, sizeof(bad_length));
	put_bytes(&t, deep, 3 * DEEP);
	add(&t, "b");
	expect_skipping(&t, "a b", "undecodable 2, undecodable 3");
	journal_reopen(&t);
	expect_skipping(&t, "a b", "undecodable 2, undecodable 3");
	journal_teardown(&t);
	free(deep);
}

/* There: a panic, then an abort; or a checkpoint at every append. */
static void weakness_12_a_checkpoint_beyond_the_end_is_refused(void **state)
{
	struct wal_error err;
	struct journal_test t;
	uint64_t next;

	(void)state;
	journal_setup(&t, NULL, &(struct wal_journal_options){ .checkpoint_interval = 10, .checkpoint = save, .arg = &(struct program){ .applied = 0 } });
	next = add(&t, "a") + 1;
	assert_int_equal(wal_journal_checkpoint(t.journal, next, &err), -EINVAL);
	assert_int_equal(wal_journal_checkpoint(t.journal, UINT64_MAX, &err), -EINVAL);
	assert_int_equal(wal_journal_current_sequence(t.journal), next);
	add(&t, "b");
	expect_replay(&t, "a b");
	journal_teardown(&t);
}

/* There: old files were unlinked before the checkpoint had reached the disk, and directories were never synced. */
static void weakness_13_nothing_is_dropped_before_the_checkpoint_is_durable(void **state)
{
	struct wal_journal_options opts = { .retain_segments = 1 };
	struct given given = { 0 };
	struct journal_test t;
	struct faultsys f;
	uint64_t last = 0;

	(void)state;
	journal_setup(&t, NULL, NULL);
	journal_close(&t);
	faultsys_init(&f);
	t.store_opts = small_segments;
	assert_int_equal(store_open(&f.sys, t.dir.path, &t.store_opts, &t.store, NULL), 0);
	assert_int_equal(wal_journal_open(t.store, "j", &opts, &t.journal, NULL), 0);
	for (unsigned i = 0; i < 30; i++)
		last = add(&t, "x");
	faultsys_fail(&f, FAULT_FDATASYNC, 1, EIO);
	unsigned unlinks = faultsys_count(&f, FAULT_UNLINKAT);
	assert_int_equal(wal_journal_checkpoint(t.journal, last, NULL), -EIO);
	assert_true(faultsys_hit(&f));
	assert_int_equal(faultsys_count(&f, FAULT_UNLINKAT), unlinks);
	assert_int_equal(wal_journal_last_checkpoint_sequence(t.journal), 0);
	wal_journal_close(t.journal);
	assert_true(wal_store_close(t.store) <= 0);
	t.opts = opts;
	journal_open(&t);
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), 0);
	assert_true(given.count >= 24); /* what sealed segments hold; the rest was not durable */
	/* and when it goes well, the directory is synced for each file that goes */
	last = wal_journal_current_sequence(t.journal) - 1;
	journal_close(&t);
	faultsys_init(&f);
	assert_int_equal(store_open(&f.sys, t.dir.path, &t.store_opts, &t.store, NULL), 0);
	assert_int_equal(wal_journal_open(t.store, "j", &opts, &t.journal, NULL), 0);
	unsigned syncs = faultsys_count(&f, FAULT_FSYNC);
	unlinks = faultsys_count(&f, FAULT_UNLINKAT);
	assert_int_equal(wal_journal_checkpoint(t.journal, last, NULL), 0);
	assert_true(faultsys_count(&f, FAULT_UNLINKAT) > unlinks);
	assert_true(faultsys_count(&f, FAULT_FSYNC) > syncs);
	journal_teardown(&t);
}

/* Whatever call fails while a checkpoint is made and segments are dropped: what it does not cover is there afterwards. */
static bool checkpoint_with_a_fault(unsigned nth)
{
	struct wal_journal_options opts = { .retain_segments = 1 };
	struct given given = { 0 };
	struct journal_test t;
	struct faultsys f;
	uint64_t covered;
	bool hit;

	journal_setup(&t, &small_segments, NULL);
	for (unsigned i = 0; i < 30; i++)
		add(&t, "x");
	journal_close(&t);
	faultsys_init(&f);
	assert_int_equal(store_open(&f.sys, t.dir.path, &t.store_opts, &t.store, NULL), 0);
	assert_int_equal(wal_journal_open(t.store, "j", &opts, &t.journal, NULL), 0);
	faultsys_fail(&f, FAULT_ANY, nth, EIO);
	wal_journal_checkpoint(t.journal, 20, NULL);
	hit = faultsys_hit(&f);
	faultsys_fail(&f, FAULT_ANY, 0, 0);
	covered = wal_journal_last_checkpoint_sequence(t.journal);
	wal_journal_close(t.journal);
	assert_true(wal_store_close(t.store) <= 0);
	t.opts = opts;
	journal_open(&t);
	/* It may have been recorded though it was said to have failed, but not the other way round. */
	assert_true(wal_journal_last_checkpoint_sequence(t.journal) >= covered);
	covered = wal_journal_last_checkpoint_sequence(t.journal);
	assert_true(covered == 0 || covered == 20);
	assert_int_equal(replay_with(&t, (struct wal_replay){ 0 }, &given), 0);
	assert_int_equal(given.count, 30 - covered);
	journal_teardown(&t);
	return hit;
}

static void weakness_13_no_failing_call_loses_what_is_not_covered(void **state)
{
	unsigned nth = 1;

	(void)state;
	while (checkpoint_with_a_fault(nth))
		nth++;
	print_message("# %u calls\n", nth - 1);
	assert_true(nth > 10);
}

/* There: each look made two files. */
static void weakness_14_reading_changes_nothing(void **state)
{
	struct given given = { 0 };
	struct journal_test t;
	char *before;

	(void)state;
	journal_setup(&t, NULL, NULL);
	add(&t, "a");
	journal_close(&t);
	before = snapshot_take(t.dir.path);
	t.store_opts.ro = true;
	journal_open(&t);
	assert_int_equal(replay_with(&t, (struct wal_replay){ .until_time = UINT64_MAX }, &given), 0);
	assert_string_equal(given.records, "a");
	expect_replay(&t, "a");
	journal_close(&t);
	snapshot_expect(t.dir.path, before);
	free(before);
	journal_teardown(&t);
}

/* There: it was the end of all recovery. */
static void weakness_15_a_stray_file_blocks_nothing(void **state)
{
	static const char *const names[] = { "wal-zz.log", "stray.wal", "00000000000000000007.wal.old" };
	struct journal_test t;
	char path[PATH_MAX];

	(void)state;
	journal_setup(&t, NULL, NULL);
	add(&t, "a");
	journal_close(&t);
	for (size_t i = 0; i < TEST_COUNT(names); i++) {
		snprintf(path, sizeof(path), "%.4000s/j/%s", t.dir.path, names[i]);
		file_write(path, "abc", 3);
	}
	journal_open(&t);
	expect_replay(&t, "a");
	journal_teardown(&t);
}

/* There: strict was the only policy that did anything. */
static void weakness_16_each_policy_does_what_it_says(void **state)
{
	struct given given = { 0 };
	struct journal_test t;

	(void)state;
	journal_setup(&t, NULL, NULL);
	add(&t, "a");
	put_bytes(&t, "?", 1);
	add(&t, "b");
	assert_int_equal(replay_with(&t, (struct wal_replay){ .policy = WAL_REPLAY_STRICT }, &given), -EBADMSG);
	assert_string_equal(given.records, "a");
	assert_int_equal(given.err.code, -EBADMSG);
	assert_int_equal(replay_with(&t, (struct wal_replay){ .policy = WAL_REPLAY_SKIP }, &given), 0);
	assert_string_equal(given.records, "a b");
	assert_int_equal(given.result.undecodable, 1);
	assert_int_equal(given.result.problems, 1);
	journal_teardown(&t);
}

__attribute__((noreturn)) static void append_and_be_killed(const char *path, enum wal_sync sync)
{
	struct wal_options opts = { .sync = sync };
	struct wal_record record = insert_of("a", 0);
	struct wal_journal *journal;
	struct wal_store *store;

	if (wal_store_open(path, &opts, &store, NULL) == 0 && wal_journal_open(store, "j", NULL, &journal, NULL) == 0 &&
	    wal_journal_append(journal, &record, 0, NULL) == 0)
		kill(getpid(), SIGKILL);
	_exit(1);
}

/* There: append had returned, and kill -9 left a file of 0 bytes. */
static void weakness_17_what_append_acknowledged_survives_a_kill(void **state)
{
	static const enum wal_sync modes[] = { WAL_SYNC_STRICT, WAL_SYNC_BATCH, WAL_SYNC_ASYNC };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(modes); i++) {
		struct journal_test t = { 0 };
		int status;
		pid_t pid;

		tmpdir_make(&t.dir, "journal");
		pid = fork();
		if (pid == 0)
			append_and_be_killed(t.dir.path, modes[i]);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		journal_open(&t);
		expect_replay(&t, "a");
		journal_teardown(&t);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(weakness_1_a_journal_just_opened_can_be_recovered),
		cmocka_unit_test(weakness_2_retention_never_deletes_what_no_checkpoint_covers),
		cmocka_unit_test(weakness_3_opening_and_rotating_often_in_a_second_loses_nothing),
		cmocka_unit_test(weakness_4_a_flipped_bit_is_no_value),
		cmocka_unit_test(weakness_5_only_committed_transactions_are_applied),
		cmocka_unit_test(weakness_6_replaying_a_batch_does_not_dead_lock),
		cmocka_unit_test(weakness_7_a_checkpoint_is_only_of_what_the_application_has_saved),
		cmocka_unit_test(weakness_8_an_old_checkpoint_does_not_hide_a_new_session),
		cmocka_unit_test(weakness_9_another_encoding_is_not_misread),
		cmocka_unit_test(weakness_10_one_bad_record_does_not_prevent_recovery),
		cmocka_unit_test(weakness_12_a_checkpoint_beyond_the_end_is_refused),
		cmocka_unit_test(weakness_13_nothing_is_dropped_before_the_checkpoint_is_durable),
		cmocka_unit_test(weakness_13_no_failing_call_loses_what_is_not_covered),
		cmocka_unit_test(weakness_14_reading_changes_nothing),
		cmocka_unit_test(weakness_15_a_stray_file_blocks_nothing),
		cmocka_unit_test(weakness_16_each_policy_does_what_it_says),
		cmocka_unit_test(weakness_17_what_append_acknowledged_survives_a_kill),
	};

	return TEST_RUN(tests);
}
