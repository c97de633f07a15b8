/* SPDX-License-Identifier: Apache-2.0 */
/* Group commit: who waits together is synced together, nobody alone waits for others, and when a sync fails all hear of it. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "stores.h"
#include "stream_impl.h"
#include "test.h"
#include "threads.h"
#include "tmpdir.h"

enum {
	WRITERS = 16,
	ROUND = 20, /* appends of each */
	ALONE = 100,
	WAIT_SECONDS = 30,
};

/* A disk that takes its time, and fails for good once it is told to. */
struct slow {
	struct sys sys;
	struct tmpdir dir;
	struct wal_store *store;
	struct wal_stream *st;
	atomic_uint syncs;
	atomic_bool broken;
};

static int slow_fdatasync(struct sys *sys, int fd)
{
	struct slow *s = container_of(sys, struct slow, sys);

	atomic_fetch_add(&s->syncs, 1);
	usleep(3000); /* as a disk takes its time; nothing waits for this to be over */
	return atomic_load(&s->broken) ? -EIO : sys_real()->fdatasync(sys_real(), fd);
}

static void slow_make(struct slow *s)
{
	*s = (struct slow){ .sys = *sys_real() };
	s->sys.fdatasync = slow_fdatasync;
	tmpdir_make(&s->dir, "group");
	assert_int_equal(store_open(&s->sys, s->dir.path, NULL, &s->store, NULL), 0);
	s->st = stream_open_or_fail(s->store, "s");
}

static void slow_remove(struct slow *s)
{
	wal_stream_close(s->st);
	wal_store_close(s->store);
	tmpdir_remove(&s->dir);
}

static uint64_t pauses(struct slow *s)
{
	return stats_get(&stream_stats(s->st)->sync_pauses);
}

/* ---- Writers that wait ---- */

static void *run_writer(void *arg)
{
	struct slow *s = arg;
	uint64_t id, durable;

	for (unsigned i = 0; i < ROUND; i++) {
		THREAD_CHECK_OK(wal_stream_append(s->st, "entry", 5, 0, &id));
		wal_stream_bounds(s->st, NULL, NULL, &durable);
		THREAD_CHECK(durable > id);
	}
	return NULL;
}

static void write_a_round(struct slow *s)
{
	pthread_t threads[WRITERS];

	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_writer, s), 0);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
}

/* ---- And those that are called back, and write the next then ---- */

struct chain {
	struct wal_op op;
	struct iovec iov;
	struct slow *slow;
	unsigned left;
	atomic_uint *running;
};

static void chain_go_on(struct wal_op *op)
{
	struct chain *c = container_of(op, struct chain, op);
	struct wal_stream *st = c->slow->st;

	THREAD_CHECK_OK(op->result);
	if (--c->left == 0)
		atomic_fetch_sub(c->running, 1);
	else
		wal_stream_submit(st, &c->op);
}

static void call_back_a_round(struct slow *s)
{
	struct chain chains[WRITERS];
	atomic_uint running = WRITERS;
	time_t until = time(NULL) + WAIT_SECONDS;

	for (unsigned i = 0; i < WRITERS; i++) {
		chains[i] = (struct chain){ .iov = { (void *)"entry", 5 }, .slow = s, .left = ROUND, .running = &running };
		chains[i].op = (struct wal_op){ .done = chain_go_on, .entries = &chains[i].iov, .count = 1 };
	}
	for (unsigned i = 0; i < WRITERS; i++)
		wal_stream_submit(s->st, &chains[i].op);
	while (atomic_load(&running) > 0) {
		assert_true(time(NULL) < until);
		sched_yield();
	}
}

/*
 * Half of them would be in each group if the next sync began with those who came while the last one ran. How soon the others are back is the scheduler's affair, so a round may fail.
 */
static void expect_shared_syncs(void (*round)(struct slow *s))
{
	time_t until = time(NULL) + WAIT_SECONDS;
	unsigned syncs;
	struct slow s;

	slow_make(&s);
	do {
		unsigned before = atomic_load(&s.syncs);

		round(&s);
		syncs = atomic_load(&s.syncs) - before;
		print_message("# %d strict appends, %u fdatasyncs\n", WRITERS * ROUND, syncs);
		assert_true(time(NULL) < until);
	} while (syncs * WRITERS * 3 / 4 > WRITERS * ROUND);
	assert_true(syncs >= ROUND);
	assert_true(pauses(&s) > 0);
	slow_remove(&s);
}

static void writers_that_come_back_share_one_sync(void **state)
{
	(void)state;
	expect_shared_syncs(write_a_round);
}

static void appends_from_callbacks_share_one_sync(void **state)
{
	(void)state;
	expect_shared_syncs(call_back_a_round);
}

/* ---- One alone ---- */

static void one_alone_never_waits_for_others(void **state)
{
	struct slow s;

	(void)state;
	slow_make(&s);
	s.sys.fdatasync = sys_real()->fdatasync;
	for (unsigned i = 0; i < ALONE; i++) {
		assert_int_equal(wal_stream_append(s.st, "entry", 5, 0, NULL), 0);
		if (i % 10 == 0)
			assert_int_equal(wal_stream_sync(s.st), 0);
	}
	assert_int_equal(pauses(&s), 0);
	slow_remove(&s);
}

/* Of those that do not come back, soon none is waited for. */
static void who_has_gone_is_not_waited_for_twice(void **state)
{
	uint64_t before;
	struct slow s;

	(void)state;
	slow_make(&s);
	write_a_round(&s);
	before = pauses(&s);
	for (unsigned i = 0; i < ALONE; i++)
		assert_int_equal(wal_stream_append(s.st, "entry", 5, 0, NULL), 0);
	assert_in_range(pauses(&s) - before, 0, 1);
	slow_remove(&s);
}

/* ---- A sync that fails ---- */

static void *run_until_broken(void *arg)
{
	struct slow *s = arg;
	int result;

	while ((result = wal_stream_append(s->st, "entry", 5, 0, NULL)) == 0)
		;
	THREAD_CHECK(result == -EIO);
	return NULL;
}

static void a_failed_sync_ends_all_that_wait(void **state)
{
	pthread_t threads[WRITERS];
	struct wal_stream_stat stat;
	uint64_t durable;
	struct slow s;

	(void)state;
	slow_make(&s);
	for (unsigned i = 0; i < WRITERS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_until_broken, &s), 0);
	while (atomic_load(&s.syncs) < 10)
		sched_yield();
	atomic_store(&s.broken, true);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(wal_stream_stat(s.st, &stat), 0);
	assert_int_equal(stat.health, WAL_STOPPED);
	wal_stream_bounds(s.st, NULL, NULL, &durable);
	assert_int_equal(stat.next_id, durable);
	slow_remove(&s);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(writers_that_come_back_share_one_sync),
		cmocka_unit_test(appends_from_callbacks_share_one_sync),
		cmocka_unit_test(one_alone_never_waits_for_others),
		cmocka_unit_test(who_has_gone_is_not_waited_for_twice),
		cmocka_unit_test(a_failed_sync_ends_all_that_wait),
	};

	alarm(200); /* a deadlock is a failure, not a wait */
	return TEST_RUN(tests);
}
