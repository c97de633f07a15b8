/* SPDX-License-Identifier: Apache-2.0 */
/* wal_stream_watch() and wal_stream_unwatch(): a watch calls back once, or is taken back. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "faultsys.h"
#include "stores.h"
#include "test.h"
#include "threads.h"
#include "tmpdir.h"

enum {
	MANY = 5000,
	WAIT_SECONDS = 60,
	RACE_ROUNDS = UNDER_TSAN ? 300 : 2000,
	RACE_WATCHES = 20,
	CHAIN = UNDER_TSAN ? 300 : 2000,
};

/* What has been called back. */
struct watch {
	struct wal_op op;
	struct wal_stream *st;
	uint64_t id;
	atomic_uint calls;
	atomic_int result;
	atomic_uint *total;
};

static void note_call(struct wal_op *op)
{
	struct watch *w = container_of(op, struct watch, op);

	w->result = op->result;
	if (w->total)
		atomic_fetch_add(w->total, 1);
	atomic_fetch_add(&w->calls, 1); /* the last: who waits for it may free the watch */
}

static void watch_init(struct watch *w, struct wal_stream *st, uint64_t id)
{
	*w = (struct watch){ .op = { .done = note_call }, .st = st, .id = id };
}

static void watch(struct watch *w, struct wal_stream *st, uint64_t id)
{
	watch_init(w, st, id);
	wal_stream_watch(st, id, &w->op);
}

static void expect_calls(struct watch *w, unsigned calls, int result)
{
	assert_int_equal(w->calls, calls);
	if (calls)
		assert_int_equal(w->result, result);
}

/* Callbacks of others' commits may still be under way when an append returns. */
static void until(atomic_uint *counter, unsigned count)
{
	for (unsigned i = 0; i < WAIT_SECONDS * 1000 && atomic_load(counter) < count; i++)
		usleep(1000);
	assert_int_equal(atomic_load(counter), count);
}

static uint64_t append_one(struct wal_stream *st)
{
	uint64_t id;

	THREAD_CHECK_OK(wal_stream_append(st, "entry", 5, 0, &id));
	return id;
}

struct fixture {
	struct tmpdir dir;
	struct wal_store *store;
	struct wal_stream *st;
};

static void setup_with(struct fixture *f, const struct wal_options *opts)
{
	tmpdir_make(&f->dir, "watch");
	f->store = store_open_or_fail(f->dir.path, opts);
	f->st = stream_open_or_fail(f->store, "s");
}

static void teardown(struct fixture *f)
{
	wal_stream_close(f->st);
	store_close_or_fail(f->store);
	tmpdir_remove(&f->dir);
}

/* ---- When it calls back ---- */

static void at_once_if_the_entry_is_visible(void **state)
{
	struct fixture f;
	struct watch w;

	(void)state;
	setup_with(&f, NULL);
	append_one(f.st);
	append_one(f.st);
	for (uint64_t id = 0; id < 2; id++) {
		watch(&w, f.st, id);
		expect_calls(&w, 1, 0);
		assert_false(wal_stream_unwatch(f.st, &w.op));
	}
	teardown(&f);
}

static void once_when_the_entry_comes(void **state)
{
	static const enum wal_sync modes[] = { WAL_SYNC_STRICT, WAL_SYNC_BATCH, WAL_SYNC_ASYNC };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(modes); i++) {
		struct watch next, later;
		struct fixture f;

		setup_with(&f, &(struct wal_options){ .sync = modes[i] });
		watch(&next, f.st, 0);
		watch(&later, f.st, 2);
		expect_calls(&next, 0, 0);
		append_one(f.st);
		until(&next.calls, 1);
		append_one(f.st);
		expect_calls(&later, 0, 0);
		append_one(f.st);
		until(&later.calls, 1);
		append_one(f.st);
		expect_calls(&next, 1, 0);
		expect_calls(&later, 1, 0);
		teardown(&f);
	}
}

/* A batch makes several visible at once, and an op that is submitted commits as one that is waited for. */
static void by_batches_and_submitted_appends(void **state)
{
	char letters[] = "abc";
	struct iovec iov[] = { { letters, 1 }, { letters + 1, 1 }, { letters + 2, 1 } };
	struct watch w[3], submitted;
	struct fixture f;

	(void)state;
	setup_with(&f, NULL);
	for (uint64_t i = 0; i < 3; i++)
		watch(&w[i], f.st, i);
	watch_init(&submitted, f.st, 0);
	submitted.op.entries = iov;
	submitted.op.count = 3;
	wal_stream_submit(f.st, &submitted.op);
	for (unsigned i = 0; i < 3; i++)
		until(&w[i].calls, 1);
	until(&submitted.calls, 1);
	teardown(&f);
}

/* What the callback finds when it is called is what it was called for. */
static void look_at_bounds(struct wal_op *op)
{
	struct watch *w = container_of(op, struct watch, op);
	struct wal_buf buf = { 0 };
	uint64_t next;

	wal_stream_bounds(w->st, NULL, &next, NULL);
	THREAD_CHECK(next > w->id);
	THREAD_CHECK_OK(wal_stream_get(w->st, w->id, &buf));
	wal_buf_release(&buf);
	note_call(op);
}

static void the_entry_can_be_read_in_the_callback(void **state)
{
	struct fixture f;
	struct watch w;

	(void)state;
	setup_with(&f, NULL);
	for (uint64_t id = 0; id < 20; id++) {
		watch_init(&w, f.st, id);
		w.op.done = look_at_bounds;
		wal_stream_watch(f.st, id, &w.op);
		append_one(f.st);
		until(&w.calls, 1);
	}
	teardown(&f);
}

static void not_by_rotating_or_pruning(void **state)
{
	struct fixture f;
	struct watch w;

	(void)state;
	setup_with(&f, NULL);
	append_one(f.st);
	watch(&w, f.st, 1);
	assert_int_equal(wal_stream_rotate(f.st), 0);
	assert_int_equal(wal_stream_prune(f.st, 1, NULL), 0);
	assert_int_equal(wal_stream_sync(f.st), 0);
	expect_calls(&w, 0, 0);
	append_one(f.st);
	until(&w.calls, 1);
	expect_calls(&w, 1, 0);
	teardown(&f);
}

/* ---- When nothing comes any more ---- */

static void the_stream_is_deleted(void **state)
{
	struct watch before, after;
	struct fixture f;

	(void)state;
	setup_with(&f, NULL);
	watch(&before, f.st, 0);
	assert_int_equal(wal_stream_delete(f.store, "s"), 0);
	until(&before.calls, 1);
	expect_calls(&before, 1, -ENOENT);
	watch(&after, f.st, 0);
	expect_calls(&after, 1, -ENOENT);
	assert_false(wal_stream_unwatch(f.st, &before.op));
	teardown(&f);
}

static void the_store_is_closed(void **state)
{
	struct watch w[3], last;
	struct fixture f;

	(void)state;
	setup_with(&f, NULL);
	for (unsigned i = 0; i < 3; i++)
		watch(&w[i], f.st, i);
	watch(&last, f.st, UINT64_MAX);
	/* the op has a reference of its own */
	wal_stream_close(f.st);
	store_close_or_fail(f.store);
	for (unsigned i = 0; i < 3; i++)
		expect_calls(&w[i], 1, -ECANCELED);
	expect_calls(&last, 1, -ECANCELED);
	tmpdir_remove(&f.dir);
}

static void a_sync_failed(void **state)
{
	struct watch before, visible, after;
	struct faultsys fault;
	struct wal_store *store;
	struct wal_stream *st;
	struct tmpdir dir;
	uint64_t id;

	(void)state;
	tmpdir_make(&dir, "watch");
	faultsys_init(&fault);
	assert_int_equal(store_open(&fault.sys, dir.path, NULL, &store, NULL), 0);
	st = stream_open_or_fail(store, "s");
	append_one(st);
	watch(&before, st, 1);
	faultsys_fail(&fault, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(wal_stream_append(st, "x", 1, 0, &id), -EIO);
	faultsys_fail(&fault, FAULT_FDATASYNC, 0, 0);
	until(&before.calls, 1);
	expect_calls(&before, 1, -EIO);
	watch(&after, st, 1);
	expect_calls(&after, 1, -EIO);
	/* what there is, there is */
	watch(&visible, st, 0);
	expect_calls(&visible, 1, 0);
	wal_stream_close(st);
	wal_store_close(store);
	tmpdir_remove(&dir);
}

static void a_read_only_store_waits(void **state)
{
	struct fixture f;
	struct watch w;

	(void)state;
	setup_with(&f, NULL);
	append_one(f.st);
	wal_stream_close(f.st);
	store_close_or_fail(f.store);
	f.store = store_open_or_fail(f.dir.path, &(struct wal_options){ .ro = true });
	f.st = stream_open_or_fail(f.store, "s");
	watch(&w, f.st, 0);
	expect_calls(&w, 1, 0);
	watch(&w, f.st, 1);
	expect_calls(&w, 0, 0);
	assert_true(wal_stream_unwatch(f.st, &w.op));
	expect_calls(&w, 0, 0);
	teardown(&f);
}

/* ---- Taking back ---- */

static void taken_back_it_does_not_call(void **state)
{
	struct watch w[5];
	struct fixture f;

	(void)state;
	setup_with(&f, NULL);
	for (unsigned i = 0; i < 5; i++)
		watch(&w[i], f.st, 0);
	/* in the middle, the last, the first, and again */
	assert_true(wal_stream_unwatch(f.st, &w[2].op));
	assert_true(wal_stream_unwatch(f.st, &w[4].op));
	assert_true(wal_stream_unwatch(f.st, &w[0].op));
	assert_false(wal_stream_unwatch(f.st, &w[2].op));
	append_one(f.st);
	for (unsigned i = 0; i < 5; i++) {
		if (i % 2)
			until(&w[i].calls, 1);
		expect_calls(&w[i], i % 2, 0);
	}
	/* the same op may be used again */
	watch(&w[2], f.st, 1);
	append_one(f.st);
	until(&w[2].calls, 1);
	teardown(&f);
}

static void thousands(void **state)
{
	struct watch *w = calloc(MANY, sizeof(*w));
	atomic_uint total = 0;
	struct fixture f;

	(void)state;
	assert_non_null(w);
	setup_with(&f, NULL);
	for (unsigned i = 0; i < MANY; i++) {
		watch_init(&w[i], f.st, i % 10);
		w[i].total = &total;
		wal_stream_watch(f.st, i % 10, &w[i].op);
	}
	for (unsigned i = 0; i < MANY; i += 5)
		assert_true(wal_stream_unwatch(f.st, &w[i].op));
	for (unsigned id = 0; id < 10; id++) {
		append_one(f.st);
		until(&total, (id - (id >= 5)) * (MANY / 10));
	}
	for (unsigned i = 0; i < MANY; i++)
		expect_calls(&w[i], i % 5 != 0, 0);
	teardown(&f);
	free(w);
}

/* ---- Callbacks that watch ---- */

static void watch_the_next(struct wal_op *op)
{
	struct watch *w = container_of(op, struct watch, op);

	THREAD_CHECK(op->result == 0);
	atomic_fetch_add(&w->calls, 1);
	w->id++;
	if (w->id < CHAIN)
		wal_stream_watch(w->st, w->id, op);
}

static void a_callback_that_watches_again(void **state)
{
	struct watch chains[10], again;
	struct fixture f;

	(void)state;
	setup_with(&f, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	for (unsigned i = 0; i < 10; i++) {
		watch_init(&chains[i], f.st, 0);
		chains[i].op.done = watch_the_next;
		wal_stream_watch(f.st, 0, &chains[i].op);
	}
	for (unsigned i = 0; i < CHAIN; i++)
		append_one(f.st);
	for (unsigned i = 0; i < 10; i++)
		until(&chains[i].calls, CHAIN);
	/* all of it visible already: the stack does not grow with it */
	watch_init(&again, f.st, 0);
	again.op.done = watch_the_next;
	wal_stream_watch(f.st, 0, &again.op);
	until(&again.calls, CHAIN);
	teardown(&f);
}

/* ---- Races ---- */

struct race {
	struct wal_stream *st;
	atomic_bool stop;
	atomic_uint called, taken;
};

static void *keep_appending(void *arg)
{
	struct race *race = arg;

	while (!race->stop)
		append_one(race->st);
	return NULL;
}

/* Each is either called or taken back, and its memory is free to go once it is known which. */
static void *watch_and_take_back(void *arg)
{
	struct race *race = arg;
	uint64_t next;

	for (unsigned round = 0; round < RACE_ROUNDS; round++) {
		struct watch *w = calloc(RACE_WATCHES, sizeof(*w));

		THREAD_CHECK(w);
		wal_stream_bounds(race->st, NULL, &next, NULL);
		for (unsigned i = 0; i < RACE_WATCHES; i++)
			watch(&w[i], race->st, next + i % 3);
		for (unsigned i = 0; i < RACE_WATCHES; i++) {
			if (wal_stream_unwatch(race->st, &w[i].op)) {
				THREAD_CHECK(w[i].calls == 0);
				atomic_fetch_add(&race->taken, 1);
				continue;
			}
			while (w[i].calls == 0)
				usleep(10);
			THREAD_CHECK(w[i].calls == 1 && w[i].result == 0);
			atomic_fetch_add(&race->called, 1);
		}
		free(w);
	}
	return NULL;
}

static void appends_against_taking_back(void **state)
{
	struct race race = { 0 };
	pthread_t watchers[3], appender;
	struct fixture f;

	(void)state;
	setup_with(&f, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	race.st = f.st;
	assert_int_equal(pthread_create(&appender, NULL, keep_appending, &race), 0);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&watchers[i], NULL, watch_and_take_back, &race), 0);
	for (unsigned i = 0; i < 3; i++)
		pthread_join(watchers[i], NULL);
	race.stop = true;
	pthread_join(appender, NULL);
	print_message("# %u called, %u taken back\n", race.called, race.taken);
	assert_int_equal(race.called + race.taken, 3 * RACE_ROUNDS * RACE_WATCHES);
	teardown(&f);
}

static void *watch_until_deleted(void *arg)
{
	struct race *race = arg;

	for (int result = 0; result != -ENOENT;) {
		struct watch w;

		watch(&w, race->st, 0);
		if (wal_stream_unwatch(race->st, &w.op))
			continue;
		while (w.calls == 0)
			usleep(10);
		result = w.result;
		THREAD_CHECK(result == -ENOENT);
	}
	return NULL;
}

static void deleting_against_taking_back(void **state)
{
	struct fixture f;

	(void)state;
	setup_with(&f, NULL);
	for (unsigned round = 0; round < 30; round++) {
		struct race race = { .st = stream_open_or_fail(f.store, "gone") };
		pthread_t watchers[3];

		for (unsigned i = 0; i < 3; i++)
			assert_int_equal(pthread_create(&watchers[i], NULL, watch_until_deleted, &race), 0);
		assert_int_equal(wal_stream_delete(f.store, "gone"), 0);
		for (unsigned i = 0; i < 3; i++)
			pthread_join(watchers[i], NULL);
		wal_stream_close(race.st);
	}
	teardown(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_once_if_the_entry_is_visible),
		cmocka_unit_test(once_when_the_entry_comes),
		cmocka_unit_test(by_batches_and_submitted_appends),
		cmocka_unit_test(the_entry_can_be_read_in_the_callback),
		cmocka_unit_test(not_by_rotating_or_pruning),
		cmocka_unit_test(the_stream_is_deleted),
		cmocka_unit_test(the_store_is_closed),
		cmocka_unit_test(a_sync_failed),
		cmocka_unit_test(a_read_only_store_waits),
		cmocka_unit_test(taken_back_it_does_not_call),
		cmocka_unit_test(thousands),
		cmocka_unit_test(a_callback_that_watches_again),
		cmocka_unit_test(appends_against_taking_back),
		cmocka_unit_test(deleting_against_taking_back),
	};

	return TEST_RUN(tests);
}
