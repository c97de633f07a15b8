/* SPDX-License-Identifier: Apache-2.0 */
/* Group commit: who waits together is synced together, nobody alone waits for others, and when a sync fails all hear of it. */
#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "faultsys.h"
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

/* ---- And rotations ---- */

/* A disk on which writes and syncs of data wait to be let on, one by one. */
struct gated {
	struct sys sys;
	struct tmpdir dir;
	struct wal_store *store;
	struct wal_stream *st;
	atomic_bool closed;
	atomic_uint writes, writes_let, syncs, syncs_let; /* begun, and how many may go on */
};

static void pass(struct gated *g, atomic_uint *begun, atomic_uint *let)
{
	unsigned number;

	if (!atomic_load(&g->closed))
		return;
	number = atomic_fetch_add(begun, 1) + 1;
	while (atomic_load(let) < number)
		sched_yield();
}

static ssize_t gated_pwritev(struct sys *sys, int fd, const struct iovec *iov, int count, uint64_t offset)
{
	struct gated *g = container_of(sys, struct gated, sys);

	pass(g, &g->writes, &g->writes_let);
	return sys_real()->pwritev(sys_real(), fd, iov, count, offset);
}

static int gated_fdatasync(struct sys *sys, int fd)
{
	struct gated *g = container_of(sys, struct gated, sys);

	pass(g, &g->syncs, &g->syncs_let);
	return sys_real()->fdatasync(sys_real(), fd);
}

static void await(atomic_uint *count, unsigned value)
{
	time_t until = time(NULL) + WAIT_SECONDS;

	while (atomic_load(count) != value) {
		assert_true(time(NULL) < until);
		sched_yield();
	}
}

static struct sleeper *leader_of(struct wal_stream *st)
{
	LOCKED_SCOPE(&st->lock);
	return st->leader;
}

struct appender {
	pthread_t thread;
	struct wal_stream *st;
	atomic_uint *ended;
};

static void *run_one_append(void *arg)
{
	struct appender *a = arg;

	THREAD_CHECK_OK(wal_stream_append(a->st, "entry", 5, 0, NULL));
	atomic_fetch_add(a->ended, 1);
	return NULL;
}

static void append_in_thread(struct appender *a, struct gated *g, atomic_uint *ended)
{
	*a = (struct appender){ .st = g->st, .ended = ended };
	assert_int_equal(pthread_create(&a->thread, NULL, run_one_append, a), 0);
}

static void chain_ends(struct wal_op *op)
{
	struct chain *c = container_of(op, struct chain, op);

	THREAD_CHECK_OK(op->result);
	atomic_fetch_add(c->running, 1);
}

/*
 * Who sees to it that the sync comes waits to be written itself, and is told that all are there just when a rotation has begun, which syncs them: it finds nothing to lead. If it went on counting as the one who will,
 * nobody would do the sync for what is written after the rotation.
 */
static void a_rotation_takes_the_sync_over_from_who_was_to_lead_it(void **state)
{
	struct gated g = { .sys = *sys_real() };
	struct appender first, last;
	atomic_uint ended = 0;
	struct chain middle = { .iov = { (void *)"entry", 5 }, .running = &ended };
	time_t until = time(NULL) + WAIT_SECONDS;
	struct sleeper *leader;

	(void)state;
	g.sys.pwritev = gated_pwritev;
	g.sys.fdatasync = gated_fdatasync;
	tmpdir_make(&g.dir, "group");
	assert_int_equal(store_open(&g.sys, g.dir.path, &(struct wal_options){ .segment_entries = 2 }, &g.store, NULL), 0);
	g.st = stream_open_or_fail(g.store, "s");
	/* As if a sync for four had just ended, and the time for which the next one waits for them went by more slowly. */
	g.st->gathering = (struct gathering){ .ended_ns = stats_clock() + 3600000000000, .expected = 4 };
	atomic_store(&g.closed, true);
	append_in_thread(&first, &g, &ended);
	await(&g.writes, 1);
	middle.op = (struct wal_op){ .done = chain_ends, .entries = &middle.iov, .count = 1 };
	wal_stream_submit(g.st, &middle.op);
	atomic_store(&g.writes_let, 1);
	await(&g.writes, 2);
	append_in_thread(&last, &g, &ended);
	while (!(leader = leader_of(g.st))) {
		assert_true(time(NULL) < until);
		sched_yield();
	}
	unsigned asleep;
	while ((asleep = atomic_load(&leader->word)) == 0)
		sched_yield();
	atomic_store(&g.writes_let, 2);
	await(&g.syncs, 1); /* the rotation's */
	sleeper_tell(leader);
	await(&leader->word, asleep);
	atomic_store(&g.closed, false);
	atomic_store(&g.writes_let, UINT_MAX);
	atomic_store(&g.syncs_let, UINT_MAX);
	await(&ended, 3);
	pthread_join(first.thread, NULL);
	pthread_join(last.thread, NULL);
	wal_stream_close(g.st);
	store_close_or_fail(g.store);
	tmpdir_remove(&g.dir);
}

/* Nothing was synced, so nothing is durable, and the next sync has it all to do. */
static void a_rotation_that_can_not_open_its_segment_makes_nothing_durable(void **state)
{
	const struct wal_options opts = { .sync = WAL_SYNC_ASYNC };
	struct wal_store *store;
	struct wal_stream *st;
	struct faultsys f;
	struct tmpdir dir;
	uint64_t next, durable;

	(void)state;
	faultsys_init(&f);
	tmpdir_make(&dir, "group");
	assert_int_equal(store_open(&f.sys, dir.path, &opts, &store, NULL), 0);
	st = stream_open_or_fail(store, "s");
	assert_int_equal(wal_stream_append(st, "entry", 5, 0, NULL), 0);
	/* As when others need the place. */
	segcache_forget(st->engine->segcache, st->key, 0);
	faultsys_fail(&f, FAULT_OPENAT, 1, EMFILE);
	assert_int_equal(wal_stream_rotate(st), -EMFILE);
	assert_true(faultsys_hit(&f));
	wal_stream_bounds(st, NULL, &next, &durable);
	assert_int_equal(next, 1);
	assert_int_equal(durable, 0);
	unsigned syncs = faultsys_count(&f, FAULT_FDATASYNC);
	assert_int_equal(wal_stream_sync(st), 0);
	assert_int_equal(faultsys_count(&f, FAULT_FDATASYNC), syncs + 1);
	wal_stream_close(st);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(writers_that_come_back_share_one_sync),
		cmocka_unit_test(appends_from_callbacks_share_one_sync),
		cmocka_unit_test(one_alone_never_waits_for_others),
		cmocka_unit_test(who_has_gone_is_not_waited_for_twice),
		cmocka_unit_test(a_failed_sync_ends_all_that_wait),
		cmocka_unit_test(a_rotation_takes_the_sync_over_from_who_was_to_lead_it),
		cmocka_unit_test(a_rotation_that_can_not_open_its_segment_makes_nothing_durable),
	};

	alarm(200); /* a deadlock is a failure, not a wait */
	return TEST_RUN(tests);
}
