/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads at one stream and at many. Meant to be run under the thread and address sanitizers; the content checks hold without them. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "damage.h"
#include "random.h"
#include "stores.h"
#include "test.h"
#include "threads.h"
#include "tmpdir.h"

enum {
	APPENDERS = 8,
	READERS = 4,
	APPENDS = 150, /* of each appender, batches count as one */
	BATCH = 3,
	FIRST_APPENDS = 3,
	GROUP_THREADS = 16,
	GROUP_APPENDS = 20,
	STREAMS = 20,
	SEGMENTS_MAX = 8,
	WAIT_SECONDS = 60,
};

/* Each entry says who wrote it and as what number. */
struct mark {
	uint32_t thread;
	uint32_t number;
	uint8_t fill[56];
};

struct shared {
	struct wal_store *store;
	struct wal_stream *st;
	atomic_uint done_appenders;
	atomic_uint fsyncs;
	uint64_t ids[APPENDERS][APPENDS * BATCH]; /* by thread and number */
	unsigned flags;
};

struct thread {
	pthread_t pthread;
	struct shared *shared;
	uint32_t no;
};

static void start_all(struct thread *threads, unsigned count, struct shared *shared, void *(*run)(void *arg))
{
	for (unsigned i = 0; i < count; i++) {
		threads[i] = (struct thread){ .shared = shared, .no = i };
		assert_int_equal(pthread_create(&threads[i].pthread, NULL, run, &threads[i]), 0);
	}
}

static void join_all(struct thread *threads, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(pthread_join(threads[i].pthread, NULL), 0);
}

static void make_mark(struct mark *mark, uint32_t thread, uint32_t number)
{
	*mark = (struct mark){ .thread = thread, .number = number };
	random_fill((uint64_t)thread << 32 | number, mark->fill, sizeof(mark->fill));
}

static bool mark_holds(const void *data, size_t size, struct mark *ret)
{
	struct mark expected;

	if (size != sizeof(*ret))
		return false;
	memcpy(ret, data, sizeof(*ret));
	make_mark(&expected, ret->thread, ret->number);
	return memcmp(ret, &expected, sizeof(expected)) == 0;
}

/* ---- One stream ---- */

struct async_append {
	struct wal_op op;
	struct iovec iov;
	struct mark mark;
	atomic_int calls;
	struct wal_stream *st;
};

static void count_call(struct wal_op *op)
{
	struct async_append *a = container_of(op, struct async_append, op);

	THREAD_CHECK(op->result == 0);
	atomic_fetch_add(&a->calls, 1);
}

static void append_one(struct thread *t, uint32_t number)
{
	struct mark mark;

	make_mark(&mark, t->no, number);
	THREAD_CHECK(wal_stream_append(t->shared->st, &mark, sizeof(mark), t->shared->flags, &t->shared->ids[t->no][number]) == 0);
}

static void append_three(struct thread *t, uint32_t number)
{
	struct mark marks[BATCH];
	struct iovec iov[BATCH];
	uint64_t first;

	for (unsigned i = 0; i < BATCH; i++) {
		make_mark(&marks[i], t->no, number + i);
		iov[i] = (struct iovec){ &marks[i], sizeof(marks[i]) };
	}
	THREAD_CHECK(wal_stream_append_batch(t->shared->st, iov, BATCH, t->shared->flags, &first) == 0);
	for (unsigned i = 0; i < BATCH; i++)
		t->shared->ids[t->no][number + i] = first + i;
}

static void append_three_async(struct thread *t, uint32_t number)
{
	struct async_append appends[BATCH] = { 0 };

	for (unsigned i = 0; i < BATCH; i++) {
		struct async_append *a = &appends[i];

		make_mark(&a->mark, t->no, number + i);
		a->iov = (struct iovec){ &a->mark, sizeof(a->mark) };
		a->op = (struct wal_op){ .done = count_call, .entries = &a->iov, .count = 1, .flags = t->shared->flags };
		wal_stream_submit(t->shared->st, &a->op);
	}
	for (unsigned i = 0; i < BATCH; i++) {
		time_t until = time(NULL) + WAIT_SECONDS;

		while (atomic_load(&appends[i].calls) == 0) {
			THREAD_CHECK(time(NULL) < until);
			sched_yield();
		}
		t->shared->ids[t->no][number + i] = appends[i].op.first_id;
	}
	/* Ops of one stream are written in the order of their submission. */
	for (unsigned i = 0; i < BATCH; i++) {
		THREAD_CHECK(atomic_load(&appends[i].calls) == 1);
		THREAD_CHECK(i == 0 || appends[i].op.first_id > appends[i - 1].op.first_id);
	}
}

static void append_draft(struct thread *t, uint32_t number)
{
	struct wal_draft *draft;
	struct mark mark;

	make_mark(&mark, t->no, number);
	THREAD_CHECK(wal_draft_new(t->shared->st, &draft) == 0);
	THREAD_CHECK(wal_draft_write(draft, mark.fill, sizeof(mark.fill), offsetof(struct mark, fill)) == 0);
	THREAD_CHECK(wal_draft_write(draft, &mark, offsetof(struct mark, fill), 0) == 0);
	THREAD_CHECK(wal_draft_commit(draft, t->shared->flags, &t->shared->ids[t->no][number]) == 0);
}

static void *run_appender(void *arg)
{
	struct thread *t = arg;
	struct random random = { t->no };

	for (uint32_t number = 0; number < APPENDS * BATCH;) {
		bool room = number + BATCH <= APPENDS * BATCH;

		switch (random_below(&random, room ? 8 : 4)) {
		case 0:
			append_draft(t, number++);
			break;
		case 4:
		case 5:
			append_three(t, number);
			number += BATCH;
			break;
		case 6:
		case 7:
			append_three_async(t, number);
			number += BATCH;
			break;
		default:
			append_one(t, number++);
		}
		if (random_below(&random, 40) == 0)
			THREAD_CHECK(wal_stream_rotate(t->shared->st) == 0);
		if (random_below(&random, 40) == 0)
			THREAD_CHECK(wal_stream_sync(t->shared->st) == 0);
	}
	atomic_fetch_add(&t->shared->done_appenders, 1);
	return NULL;
}

/* Follows the live tail from the first entry to the last. */
static void *run_follower(void *arg)
{
	struct thread *t = arg;
	struct wal_stream *st = t->shared->st;
	uint64_t id = 0, last = (uint64_t)APPENDERS * APPENDS * BATCH;
	int64_t before = INT64_MIN;
	struct wal_iter *it;
	struct wal_entry e;
	struct mark mark;

	THREAD_CHECK(wal_iter_new(st, 0, &it) == 0);
	while (id < last) {
		int r = wal_iter_next(it, &e);

		if (r == WAL_END) {
			THREAD_CHECK(wal_stream_wait(st, id, WAIT_SECONDS * 1000) == 0);
			continue;
		}
		THREAD_CHECK(r == 0);
		THREAD_CHECK(e.id == id++);
		THREAD_CHECK(mark_holds(e.data, e.size, &mark));
		THREAD_CHECK(e.time_ns > before);
		before = e.time_ns;
	}
	wal_iter_free(it);
	return NULL;
}

static void look_at_figures(struct wal_stream *st)
{
	uint64_t first, next, durable, offset;
	struct wal_stream_stat stat;

	wal_stream_bounds(st, &first, &next, &durable);
	THREAD_CHECK(first == 0 && durable <= next);
	THREAD_CHECK(wal_stream_stat(st, &stat) == 0);
	THREAD_CHECK(stat.next_id >= next && stat.durable_id <= stat.next_id && stat.health == WAL_HEALTHY);
	THREAD_CHECK(stat.payload_bytes == stat.entries * sizeof(struct mark));
	THREAD_CHECK(wal_stream_offset_of(st, next, &offset) == 0);
	THREAD_CHECK(offset == next * sizeof(struct mark));
}

static void *run_reader(void *arg)
{
	struct thread *t = arg;
	struct random random = { 1000 + t->no };
	struct wal_buf buf = { 0 };
	struct wal_entry entries[20];
	struct mark mark;
	uint64_t next;
	size_t count;

	while (atomic_load(&t->shared->done_appenders) < APPENDERS) {
		wal_stream_bounds(t->shared->st, NULL, &next, NULL);
		look_at_figures(t->shared->st);
		if (next == 0)
			continue;
		/* What the bounds say is there can be read at once. */
		THREAD_CHECK(wal_stream_get(t->shared->st, next - 1, &buf) == 0);
		THREAD_CHECK(mark_holds(buf.data, buf.size, &mark));
		THREAD_CHECK(wal_stream_get_batch(t->shared->st, random_below(&random, next), 20, 100000, &buf, entries, &count) == 0);
		for (size_t i = 0; i < count; i++)
			THREAD_CHECK(mark_holds(entries[i].data, entries[i].size, &mark));
	}
	wal_buf_release(&buf);
	return NULL;
}

/* Every acknowledged id is that entry's alone, and together they are all there are. */
static void expect_ids(const struct shared *shared)
{
	enum { TOTAL = APPENDERS * APPENDS * BATCH };
	bool *seen = calloc(TOTAL, 1);
	struct wal_buf buf = { 0 };
	struct mark mark;
	uint64_t next;

	assert_non_null(seen);
	wal_stream_bounds(shared->st, NULL, &next, NULL);
	assert_int_equal(next, TOTAL);
	for (uint32_t t = 0; t < APPENDERS; t++) {
		for (uint32_t n = 0; n < APPENDS * BATCH; n++) {
			uint64_t id = shared->ids[t][n];

			assert_true(id < TOTAL);
			assert_false(seen[id]);
			seen[id] = true;
			assert_int_equal(wal_stream_get(shared->st, id, &buf), 0);
			assert_true(mark_holds(buf.data, buf.size, &mark));
			assert_true(mark.thread == t && mark.number == n);
		}
	}
	wal_buf_release(&buf);
	free(seen);
}

static void appenders_and_readers(struct wal_options opts, unsigned flags)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	struct thread appenders[APPENDERS], followers[READERS / 2], readers[READERS / 2];
	struct tmpdir dir;

	assert_non_null(shared);
	tmpdir_make(&dir, "threads");
	shared->flags = flags;
	shared->store = store_open_or_fail(dir.path, &opts);
	shared->st = stream_open_or_fail(shared->store, "s");
	start_all(followers, TEST_COUNT(followers), shared, run_follower);
	start_all(readers, TEST_COUNT(readers), shared, run_reader);
	start_all(appenders, APPENDERS, shared, run_appender);
	join_all(appenders, APPENDERS);
	join_all(readers, TEST_COUNT(readers));
	join_all(followers, TEST_COUNT(followers));
	expect_ids(shared);
	store_close_or_fail(shared->store);
	shared->store = store_open_or_fail(dir.path, &opts);
	shared->st = stream_open_or_fail(shared->store, "s");
	expect_ids(shared);
	store_close_or_fail(shared->store);
	tmpdir_remove(&dir);
	free(shared);
}

static void one_strict_stream(void **state)
{
	(void)state;
	appenders_and_readers((struct wal_options){ .segment_size = 32 << 10, .max_open_segments = SEGMENTS_MAX }, 0);
}

static void one_async_stream(void **state)
{
	(void)state;
	appenders_and_readers((struct wal_options){ .segment_entries = 100, .sync = WAL_SYNC_ASYNC, .read = WAL_READ_MMAP,
						    .max_open_segments = SEGMENTS_MAX }, 0);
}

/* Completions that wait for a sync before others that do not. */
static void one_stream_with_batches_synced(void **state)
{
	(void)state;
	appenders_and_readers((struct wal_options){ .segment_size = 32 << 10, .sync = WAL_SYNC_BATCH, .compression = WAL_COMPRESSION_LZ4,
						    .min_compression_size = 100 }, 0);
}

static void one_async_stream_with_durable_appends(void **state)
{
	(void)state;
	appenders_and_readers((struct wal_options){ .segment_size = 256 << 10, .sync = WAL_SYNC_ASYNC }, WAL_DURABLE);
}

static void *run_small_appender(void *arg)
{
	struct thread *t = arg;

	for (uint32_t n = 0; n < APPENDS; n++)
		append_one(t, n);
	atomic_fetch_add(&t->shared->done_appenders, 1);
	return NULL;
}

/* A segment that is sealed before any entry of it is visible must not confuse who asks for figures meanwhile. */
static void segments_of_one_entry(void **state)
{
	struct wal_options opts = { .segment_entries = 1 };
	struct shared *shared = calloc(1, sizeof(*shared));
	struct thread threads[READERS];
	struct tmpdir dir;

	(void)state;
	assert_non_null(shared);
	tmpdir_make(&dir, "threads");
	shared->store = store_open_or_fail(dir.path, &opts);
	shared->st = stream_open_or_fail(shared->store, "s");
	start_all(threads, READERS, shared, run_small_appender);
	while (atomic_load(&shared->done_appenders) < READERS)
		look_at_figures(shared->st);
	join_all(threads, READERS);
	look_at_figures(shared->st);
	store_close_or_fail(shared->store);
	tmpdir_remove(&dir);
	free(shared);
}

static void name_stream(char name[32], unsigned no)
{
	snprintf(name, 32, "stream%02u", no);
}

static void *run_first_appends(void *arg)
{
	for (uint32_t n = 0; n < FIRST_APPENDS; n++)
		append_one(arg, n);
	return NULL;
}

/* The first entries come, and their segments are sealed, while someone asks where the empty stream's text ends. */
static void empty_stream_that_begins_to_grow(void **state)
{
	enum { ROUNDS = 40 };
	struct wal_options opts = { .segment_entries = 1, .sync = WAL_SYNC_ASYNC };
	struct shared *shared = calloc(1, sizeof(*shared));
	struct thread thread;
	struct tmpdir dir;

	(void)state;
	assert_non_null(shared);
	tmpdir_make(&dir, "threads");
	shared->store = store_open_or_fail(dir.path, &opts);
	for (unsigned round = 0; round < ROUNDS; round++) {
		char name[32];
		uint64_t offset, next;

		name_stream(name, round);
		shared->st = stream_open_or_fail(shared->store, name);
		start_all(&thread, 1, shared, run_first_appends);
		do {
			offset = UINT64_MAX;
			assert_int_equal(wal_stream_offset_of(shared->st, 0, &offset), 0);
			assert_int_equal(offset, 0);
			wal_stream_bounds(shared->st, NULL, &next, NULL);
		} while (next < FIRST_APPENDS);
		join_all(&thread, 1);
		wal_stream_close(shared->st);
	}
	store_close_or_fail(shared->store);
	tmpdir_remove(&dir);
	free(shared);
}

/* ---- Many streams ---- */

static size_t segment_fd_count(void)
{
	char link[64], target[PATH_MAX];
	size_t count = 0;

	for (int fd = 3; fd < 1024; fd++) {
		snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
		ssize_t n = readlink(link, target, sizeof(target) - 1);
		if (n < 0)
			continue;
		target[n] = '\0';
		count += strstr(target, ".wal") != NULL && strstr(target, "walfs-threads") != NULL;
	}
	return count;
}

static void *run_rover(void *arg)
{
	struct thread *t = arg;
	struct random random = { t->no };
	struct wal_buf buf = { 0 };
	struct mark mark;

	for (uint32_t n = 0; n < APPENDS; n++) {
		struct wal_stream *st;
		char name[32];
		uint64_t id;

		name_stream(name, (unsigned)random_below(&random, STREAMS));
		THREAD_CHECK(wal_stream_open(t->shared->store, name, WAL_CREATE, &st, NULL) == 0);
		make_mark(&mark, t->no, n);
		THREAD_CHECK(wal_stream_append(st, &mark, sizeof(mark), 0, &id) == 0);
		THREAD_CHECK(wal_stream_get(st, random_below(&random, id + 1), &buf) == 0);
		THREAD_CHECK(mark_holds(buf.data, buf.size, &mark));
		if (random_below(&random, 10) == 0)
			THREAD_CHECK(wal_stream_rotate(st) == 0);
		THREAD_CHECK(store_open_segments(t->shared->store) <= SEGMENTS_MAX);
		wal_stream_close(st);
	}
	wal_buf_release(&buf);
	atomic_fetch_add(&t->shared->done_appenders, 1);
	return NULL;
}

/* The bound on open segments holds at every moment, whoever looks. A rotation holds one more file until the new segment has its name. */
static void more_streams_than_segments_may_be_open(void **state)
{
	struct wal_options opts = { .segment_size = 4096, .sync = WAL_SYNC_ASYNC, .max_open_segments = SEGMENTS_MAX };
	struct shared *shared = calloc(1, sizeof(*shared));
	struct thread rovers[APPENDERS];
	uint64_t total = 0;
	struct tmpdir dir;
	char **names;
	size_t count;

	(void)state;
	assert_non_null(shared);
	tmpdir_make(&dir, "threads");
	shared->store = store_open_or_fail(dir.path, &opts);
	start_all(rovers, APPENDERS, shared, run_rover);
	/* A look at all descriptors takes its time, and may count a file that is closed and opened again twice: but not every time. */
	for (unsigned above = 0; atomic_load(&shared->done_appenders) < APPENDERS;) {
		THREAD_CHECK(store_open_segments(shared->store) <= SEGMENTS_MAX);
		above = segment_fd_count() <= SEGMENTS_MAX + APPENDERS ? 0 : above + 1;
		THREAD_CHECK(above < 5);
	}
	join_all(rovers, APPENDERS);
	assert_true(segment_fd_count() <= SEGMENTS_MAX);
	assert_int_equal(wal_store_list(shared->store, &names, &count), 0);
	for (size_t i = 0; i < count; i++) {
		struct wal_stream *st = stream_open_or_fail(shared->store, names[i]);
		struct wal_stream_stat stat;

		assert_int_equal(wal_stream_stat(st, &stat), 0);
		assert_int_equal(stat.payload_bytes, stat.entries * sizeof(struct mark));
		total += stat.entries;
		wal_stream_close(st);
	}
	free(names);
	assert_int_equal(total, APPENDERS * APPENDS);
	store_close_or_fail(shared->store);
	assert_int_equal(segment_fd_count(), 0);
	tmpdir_remove(&dir);
	free(shared);
}

/* ---- Group commit ---- */

struct slow_sys {
	struct sys sys;
	atomic_uint fdatasyncs;
};

static int slow_fdatasync(struct sys *sys, int fd)
{
	struct slow_sys *slow = container_of(sys, struct slow_sys, sys);

	atomic_fetch_add(&slow->fdatasyncs, 1);
	usleep(5000); /* as a disk takes its time; nothing waits for this to be over */
	return sys_real()->fdatasync(sys_real(), fd);
}

/* The real table's functions ask nothing of it but to be called. */
static void slow_sys_init(struct slow_sys *slow)
{
	slow->sys = *sys_real();
	slow->sys.fdatasync = slow_fdatasync;
	atomic_init(&slow->fdatasyncs, 0);
}

static void *run_group_appender(void *arg)
{
	struct thread *t = arg;

	for (uint32_t n = 0; n < GROUP_APPENDS; n++) {
		struct mark mark;
		uint64_t id, durable;

		make_mark(&mark, t->no, n);
		THREAD_CHECK(wal_stream_append(t->shared->st, &mark, sizeof(mark), 0, &id) == 0);
		wal_stream_bounds(t->shared->st, NULL, NULL, &durable);
		THREAD_CHECK(durable > id);
	}
	return NULL;
}

/* Sixteen that wait for the disk at once wait for one sync, not for sixteen. */
static void appends_share_a_slow_sync(void **state)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	struct thread threads[GROUP_THREADS];
	struct slow_sys slow;
	struct tmpdir dir;
	uint64_t next;

	(void)state;
	assert_non_null(shared);
	slow_sys_init(&slow);
	tmpdir_make(&dir, "threads");
	assert_int_equal(store_open(&slow.sys, dir.path, NULL, &shared->store, NULL), 0);
	shared->st = stream_open_or_fail(shared->store, "s");
	start_all(threads, GROUP_THREADS, shared, run_group_appender);
	join_all(threads, GROUP_THREADS);
	wal_stream_bounds(shared->st, NULL, &next, NULL);
	assert_int_equal(next, GROUP_THREADS * GROUP_APPENDS);
	unsigned syncs = atomic_load(&slow.fdatasyncs);
	print_message("# %d strict appends, %u fdatasyncs\n", GROUP_THREADS * GROUP_APPENDS, syncs);
	assert_true(syncs >= GROUP_APPENDS);
	assert_true(syncs <= GROUP_THREADS * GROUP_APPENDS / 4);
	store_close_or_fail(shared->store);
	tmpdir_remove(&dir);
	free(shared);
}

/* ---- The end ---- */

static void submit_many(struct wal_stream *st, struct async_append *appends, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct async_append *a = &appends[i];

		make_mark(&a->mark, 0, i);
		a->iov = (struct iovec){ &a->mark, sizeof(a->mark) };
		a->op = (struct wal_op){ .done = count_call, .entries = i % 10 == 9 ? NULL : &a->iov, .count = i % 10 == 9 ? 0 : 1 };
		wal_stream_submit(st, &a->op);
	}
}

/* What was submitted is finished by the close, each called back once, and is there afterwards. */
static void closed_with_operations_in_flight(void **state)
{
	enum { COUNT = 300 };
	struct async_append *appends = calloc(COUNT, sizeof(*appends));
	struct wal_options opts = { .segment_size = 4096 };
	struct wal_store *store;
	struct wal_stream *st;
	struct slow_sys slow;
	struct tmpdir dir;
	uint64_t next;

	(void)state;
	assert_non_null(appends);
	slow_sys_init(&slow);
	tmpdir_make(&dir, "threads");
	assert_int_equal(store_open(&slow.sys, dir.path, &opts, &store, NULL), 0);
	st = stream_open_or_fail(store, "s");
	submit_many(st, appends, COUNT);
	store_close_or_fail(store);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(atomic_load(&appends[i].calls), 1);
	store = store_open_or_fail(dir.path, &opts);
	st = stream_open_or_fail(store, "s");
	wal_stream_bounds(st, NULL, &next, NULL);
	assert_int_equal(next, COUNT - COUNT / 10);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
	free(appends);
}

/* An op may submit the next from its own callback, and be freed there. */
struct chain {
	struct wal_op op;
	struct iovec iov;
	struct wal_stream *st;
	unsigned left;
	atomic_uint *finished;
};

static void chain_next(struct wal_op *op)
{
	struct chain *c = container_of(op, struct chain, op), *next;
	atomic_uint *finished = c->finished;

	THREAD_CHECK(op->result == 0);
	if (c->left == 0) {
		free(c);
		atomic_store(finished, 1);
		return;
	}
	next = malloc(sizeof(*next));
	THREAD_CHECK(next != NULL);
	*next = (struct chain){ .iov = c->iov, .st = c->st, .left = c->left - 1, .finished = finished };
	next->op = (struct wal_op){ .done = chain_next, .entries = &next->iov, .count = 1 };
	free(c);
	wal_stream_submit(next->st, &next->op);
}

static void callbacks_that_submit(struct wal_options opts, unsigned count)
{
	struct wal_store *store;
	struct tmpdir dir;
	atomic_uint finished = 0;
	struct chain *first = malloc(sizeof(*first));
	time_t until = time(NULL) + WAIT_SECONDS;

	assert_non_null(first);
	tmpdir_make(&dir, "threads");
	store = store_open_or_fail(dir.path, &opts);
	*first = (struct chain){ .iov = { (void *)"link", 4 }, .st = stream_open_or_fail(store, "s"), .left = count, .finished = &finished };
	first->op = (struct wal_op){ .done = chain_next, .entries = &first->iov, .count = 1 };
	wal_stream_submit(first->st, &first->op);
	while (!atomic_load(&finished)) {
		assert_true(time(NULL) < until);
		sched_yield();
	}
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

static void strict_callbacks_that_submit(void **state)
{
	(void)state;
	callbacks_that_submit((struct wal_options){ .segment_size = 64 << 10 }, 500);
}

/* So many that a stack would not hold them if each were called from within the one before. */
static void async_callbacks_that_submit(void **state)
{
	(void)state;
	callbacks_that_submit((struct wal_options){ .sync = WAL_SYNC_ASYNC }, 50000);
}

/* Who waits for an entry is woken when the stream is deleted instead. */
static void *run_waiter(void *arg)
{
	struct thread *t = arg;

	THREAD_CHECK(wal_stream_wait(t->shared->st, 0, -1) == -ENOENT);
	return NULL;
}

static void deleted_under_a_waiter(void **state)
{
	struct shared *shared = calloc(1, sizeof(*shared));
	struct thread waiters[2];
	struct tmpdir dir;

	(void)state;
	assert_non_null(shared);
	tmpdir_make(&dir, "threads");
	shared->store = store_open_or_fail(dir.path, NULL);
	shared->st = stream_open_or_fail(shared->store, "s");
	assert_int_equal(wal_stream_wait(shared->st, 0, 0), WAL_TIMEOUT);
	assert_int_equal(wal_stream_wait(shared->st, 0, 20), WAL_TIMEOUT);
	start_all(waiters, TEST_COUNT(waiters), shared, run_waiter);
	assert_int_equal(wal_stream_delete(shared->store, "s"), 0);
	join_all(waiters, TEST_COUNT(waiters));
	wal_stream_close(shared->st);
	store_close_or_fail(shared->store);
	tmpdir_remove(&dir);
	free(shared);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_strict_stream),
		cmocka_unit_test(one_async_stream),
		cmocka_unit_test(one_stream_with_batches_synced),
		cmocka_unit_test(one_async_stream_with_durable_appends),
		cmocka_unit_test(segments_of_one_entry),
		cmocka_unit_test(empty_stream_that_begins_to_grow),
		cmocka_unit_test(more_streams_than_segments_may_be_open),
		cmocka_unit_test(appends_share_a_slow_sync),
		cmocka_unit_test(closed_with_operations_in_flight),
		cmocka_unit_test(strict_callbacks_that_submit),
		cmocka_unit_test(async_callbacks_that_submit),
		cmocka_unit_test(deleted_under_a_waiter),
	};

	alarm(300); /* a deadlock is a failure, not a wait */
	return TEST_RUN(tests);
}
