/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pruning and checkpoints against everything else: who appends, rotates, reads in every way, asks for figures, makes and deletes streams. Meant to be run under the thread
 * and address sanitizers; what is checked holds without them.
 */
#include <dirent.h>
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
#include "random.h"
#include "stores.h"
#include "test.h"
#include "threads.h"
#include "tmpdir.h"

enum {
	APPENDERS = 4,
	PRUNERS = 2,
	APPENDS = UNDER_TSAN ? 200 : 600, /* of each appender, batches count as one */
	BATCH = 3,
	TOTAL_MAX = APPENDERS * APPENDS * BATCH,
	LAG = 150, /* how far behind the end readers look */
	WAIT_SECONDS = 60,
	PAUSE_US_MAX = 200,
	NO_MARK = -1,
};

struct mark {
	uint32_t thread;
	uint32_t number;
	uint8_t fill[56];
};

struct shared {
	struct wal_store *store;
	struct wal_stream *st;
	atomic_uint appending; /* appenders that are not at their end */
	atomic_int marks[TOTAL_MAX]; /* by id: thread and number of what was acknowledged under it */
	atomic_uint_fast64_t pruned_to; /* nobody asked for more */
	atomic_uint_fast64_t segments; /* pruned */
	uint64_t seed;
};

struct thread {
	pthread_t pthread;
	struct shared *shared;
	struct random random;
	uint32_t no;
};

static void start(struct thread *t, struct shared *shared, uint32_t no, void *(*run)(void *arg))
{
	*t = (struct thread){ .shared = shared, .no = no, .random = { shared->seed + no } };
	assert_int_equal(pthread_create(&t->pthread, NULL, run, t), 0);
}

static void join(struct thread *threads, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_int_equal(pthread_join(threads[i].pthread, NULL), 0);
}

static bool going_on(struct thread *t)
{
	return atomic_load(&t->shared->appending) > 0;
}

/* So that nobody is done before the others have begun. */
static void pause_a_little(struct thread *t)
{
	if (random_below(&t->random, 2) == 0)
		usleep((useconds_t)random_below(&t->random, PAUSE_US_MAX));
}

static void make_mark(struct mark *mark, uint32_t thread, uint32_t number)
{
	*mark = (struct mark){ .thread = thread, .number = number };
	random_fill((uint64_t)thread << 32 | number, mark->fill, sizeof(mark->fill));
}

/* The bytes are an entry, and if it is known which one has the id, that one. */
static void check_entry(struct shared *shared, uint64_t id, const void *data, size_t size)
{
	struct mark mark, expected;

	THREAD_CHECK(size == sizeof(mark));
	memcpy(&mark, data, sizeof(mark));
	make_mark(&expected, mark.thread, mark.number);
	THREAD_CHECK(memcmp(&mark, &expected, sizeof(mark)) == 0);
	THREAD_CHECK(id < TOTAL_MAX);
	int known = atomic_load(&shared->marks[id]);
	THREAD_CHECK(known == NO_MARK || known == (int)(mark.thread * APPENDS * BATCH + mark.number));
}

/* ---- Who appends ---- */

static void acknowledge(struct thread *t, uint32_t number, uint64_t id)
{
	THREAD_CHECK(id < TOTAL_MAX);
	THREAD_CHECK(atomic_exchange(&t->shared->marks[id], (int)(t->no * APPENDS * BATCH + number)) == NO_MARK);
}

static void append_one(struct thread *t, uint32_t number)
{
	struct mark mark;
	uint64_t id;

	make_mark(&mark, t->no, number);
	THREAD_CHECK_OK(wal_stream_append(t->shared->st, &mark, sizeof(mark), 0, &id));
	acknowledge(t, number, id);
}

static void append_batch(struct thread *t, uint32_t number)
{
	struct mark marks[BATCH];
	struct iovec iov[BATCH];
	uint64_t first;

	for (uint32_t i = 0; i < BATCH; i++) {
		make_mark(&marks[i], t->no, number + i);
		iov[i] = (struct iovec){ &marks[i], sizeof(marks[i]) };
	}
	THREAD_CHECK_OK(wal_stream_append_batch(t->shared->st, iov, BATCH, 0, &first));
	for (uint32_t i = 0; i < BATCH; i++)
		acknowledge(t, number + i, first + i);
}

static void append_draft(struct thread *t, uint32_t number)
{
	struct wal_draft *draft;
	struct mark mark;
	uint64_t id;

	make_mark(&mark, t->no, number);
	THREAD_CHECK_OK(wal_draft_new(t->shared->st, &draft));
	THREAD_CHECK_OK(wal_draft_write(draft, &mark, sizeof(mark), 0));
	pause_a_little(t);
	THREAD_CHECK_OK(wal_draft_commit(draft, 0, &id));
	acknowledge(t, number, id);
}

static void *run_appender(void *arg)
{
	struct thread *t = arg;

	for (uint32_t n = 0; n < APPENDS; n++) {
		switch (random_below(&t->random, 6)) {
		case 0:
			append_draft(t, n * BATCH);
			break;
		case 1:
			append_batch(t, n * BATCH);
			break;
		default:
			append_one(t, n * BATCH);
		}
		if (random_below(&t->random, 60) == 0)
			THREAD_CHECK_OK(wal_stream_rotate(t->shared->st));
		if (random_below(&t->random, 60) == 0)
			THREAD_CHECK_OK(wal_stream_sync(t->shared->st));
		pause_a_little(t);
	}
	atomic_fetch_sub(&t->shared->appending, 1);
	return NULL;
}

/* ---- Who prunes ---- */

static void raise_to(atomic_uint_fast64_t *value, uint64_t to)
{
	uint64_t old = atomic_load(value);

	while (old < to && !atomic_compare_exchange_weak(value, &old, to))
		continue;
}

/* What is asked for is gone but for the segment that it lies in; what is not is there. */
static void *run_pruner(void *arg)
{
	struct thread *t = arg;
	uint64_t first, next, now, dropped;

	while (going_on(t)) {
		wal_stream_bounds(t->shared->st, &first, &next, NULL);
		uint64_t id = first + random_below(&t->random, next - first + 5);

		raise_to(&t->shared->pruned_to, id);
		THREAD_CHECK_OK(wal_stream_prune(t->shared->st, id, &dropped));
		atomic_fetch_add(&t->shared->segments, dropped);
		wal_stream_bounds(t->shared->st, &now, NULL, NULL);
		THREAD_CHECK(now >= first && now <= atomic_load(&t->shared->pruned_to));
		pause_a_little(t);
	}
	return NULL;
}

/* ---- Who reads ---- */

/* An id that was pruned stays so; one that was there before is found or pruned, and nothing else. */
static void check_answer(struct thread *t, int result, uint64_t id)
{
	uint64_t first;

	wal_stream_bounds(t->shared->st, &first, NULL, NULL);
	if (result == WAL_PRUNED)
		THREAD_CHECK(id < first);
	else
		THREAD_CHECK_OK(result);
}

/* One near the end mostly, where the others are; `next` is not 0. */
static uint64_t choose_id(struct thread *t, uint64_t next)
{
	uint64_t back = 1 + random_below(&t->random, random_below(&t->random, 4) == 0 ? next : LAG);

	return back > next ? 0 : next - back;
}

static void *run_getter(void *arg)
{
	struct thread *t = arg;
	struct wal_buf buf = { 0 };
	struct wal_entry entries[20];
	struct wal_entry_info info;

	while (going_on(t)) {
		uint64_t next;
		size_t count;

		wal_stream_bounds(t->shared->st, NULL, &next, NULL);
		if (next == 0)
			continue;
		uint64_t id = choose_id(t, next);
		int r = wal_stream_get(t->shared->st, id, &buf);
		check_answer(t, r, id);
		if (r == 0)
			check_entry(t->shared, id, buf.data, buf.size);
		r = wal_stream_lookup(t->shared->st, id, &info);
		check_answer(t, r, id);
		THREAD_CHECK(r != 0 || (info.id == id && info.size == sizeof(struct mark)));
		r = wal_stream_get_batch(t->shared->st, id, 20, 100000, &buf, entries, &count);
		check_answer(t, r, id);
		THREAD_CHECK(r != 0 || (count > 0 && count <= 20));
		for (size_t i = 0; r == 0 && i < count; i++) {
			THREAD_CHECK(entries[i].id == id + i);
			check_entry(t->shared, entries[i].id, entries[i].data, entries[i].size);
		}
		r = wal_stream_get(t->shared->st, next + TOTAL_MAX, &buf);
		THREAD_CHECK(r == WAL_NOT_FOUND);
		pause_a_little(t);
	}
	wal_buf_release(&buf);
	return NULL;
}

/* Pieces of one entry, with prunes between them. */
static void *run_reader(void *arg)
{
	struct thread *t = arg;

	while (going_on(t)) {
		struct wal_reader *reader;
		struct mark mark;
		uint64_t next;
		size_t at = 0, got;

		wal_stream_bounds(t->shared->st, NULL, &next, NULL);
		if (next == 0)
			continue;
		uint64_t id = choose_id(t, next);
		int r = wal_reader_open(t->shared->st, id, &reader, NULL);
		check_answer(t, r, id);
		if (r != 0)
			continue;
		for (; r == 0 && at < sizeof(mark); at += r == 0 ? got : 0) {
			r = wal_reader_read(reader, (uint8_t *)&mark + at, sizeof(mark) / 3, at, &got);
			check_answer(t, r, id);
			THREAD_CHECK(r != 0 || got > 0);
			pause_a_little(t);
		}
		if (r == 0)
			check_entry(t->shared, id, &mark, sizeof(mark));
		wal_reader_close(reader);
	}
	return NULL;
}

/* Each id comes once: as an entry, or as one of those that were pruned before the iterator came to them. */
static void *run_follower(void *arg)
{
	struct thread *t = arg;
	uint64_t id = 0, first, next;
	bool more = true;
	struct wal_iter *it;
	struct wal_entry e;

	THREAD_CHECK_OK(wal_iter_new(t->shared->st, 0, &it));
	wal_iter_seek(it, 0); /* it begins with what is retained by now */
	while (more) {
		bool last = !going_on(t); /* what is there now is all */
		int r = wal_iter_next(it, &e);

		if (r == WAL_END) {
			more = !last;
			if (more)
				wal_stream_wait(t->shared->st, id, 10);
			continue;
		}
		if (r != WAL_PRUNED)
			THREAD_CHECK_OK(r);
		THREAD_CHECK(e.id == id);
		if (r == WAL_PRUNED) {
			wal_stream_bounds(t->shared->st, &first, NULL, NULL);
			THREAD_CHECK(e.size > 0 && e.id + e.size <= first);
			id += e.size;
		} else {
			check_entry(t->shared, e.id, e.data, e.size);
			id++;
		}
		if (t->no % 2)
			pause_a_little(t); /* a slow one is overtaken */
	}
	wal_iter_free(it);
	wal_stream_bounds(t->shared->st, NULL, &next, NULL);
	THREAD_CHECK(id == next);
	return NULL;
}

/* All entries have the same size, so their offsets are known: they never move. */
static void *run_looker(void *arg)
{
	struct thread *t = arg;
	struct wal_stream *st = t->shared->st;

	while (going_on(t)) {
		uint64_t first, next, durable, offset, id, skip;
		struct wal_stream_stat stat;

		THREAD_CHECK_OK(wal_stream_stat(st, &stat));
		THREAD_CHECK(stat.health == WAL_HEALTHY && stat.segments > 0);
		THREAD_CHECK(stat.first_id <= stat.next_id && stat.durable_id <= stat.next_id && stat.active_segment_id >= stat.first_id);
		THREAD_CHECK(stat.entries == stat.next_id - stat.first_id);
		THREAD_CHECK(stat.payload_bytes == stat.entries * sizeof(struct mark));
		wal_stream_bounds(st, &first, &next, &durable);
		THREAD_CHECK(first >= stat.first_id && next >= stat.next_id && first <= next);
		if (next == 0)
			continue;
		uint64_t wanted = choose_id(t, next);
		int r = wal_stream_offset_of(st, wanted, &offset);
		check_answer(t, r, wanted);
		THREAD_CHECK(r != 0 || offset == wanted * sizeof(struct mark));
		offset = wanted * sizeof(struct mark) + 5;
		r = wal_stream_id_at(st, offset, &id, &skip);
		check_answer(t, r, wanted);
		THREAD_CHECK(r != 0 || (id == wanted && skip == 5));
		pause_a_little(t);
	}
	return NULL;
}

/* ---- Together ---- */

static uint64_t count_segments(const char *path)
{
	struct dirent *entry;
	DIR *dir = opendir(path);
	uint64_t count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		count += n > 4 && strcmp(entry->d_name + n - 4, ".wal") == 0;
	}
	closedir(dir);
	return count;
}

/* The stream is what was acknowledged, from the first that is retained on, and its files are no more than that. */
static void expect_model(struct shared *shared, const char *path)
{
	struct wal_stream_stat stat;
	struct wal_iter *it;
	struct wal_entry e;
	uint64_t next = 0;

	while (next < TOTAL_MAX && atomic_load(&shared->marks[next]) != NO_MARK)
		next++;
	for (uint64_t id = next; id < TOTAL_MAX; id++)
		assert_int_equal(atomic_load(&shared->marks[id]), NO_MARK);
	assert_int_equal(wal_stream_stat(shared->st, &stat), 0);
	assert_int_equal(stat.next_id, next);
	assert_true(stat.first_id <= atomic_load(&shared->pruned_to));
	assert_int_equal(wal_iter_new(shared->st, 0, &it), 0);
	for (uint64_t id = stat.first_id; id < next; id++) {
		assert_int_equal(wal_iter_next(it, &e), 0);
		assert_int_equal(e.id, id);
		check_entry(shared, id, e.data, e.size);
	}
	assert_int_equal(wal_iter_next(it, &e), WAL_END);
	wal_iter_free(it);
	assert_int_equal(count_segments(path), stat.segments);
}

static void everything_at_once(const struct wal_options *opts)
{
	void *(*const others[])(void *arg) = { run_getter, run_getter, run_reader, run_follower, run_follower, run_looker };
	struct thread appenders[APPENDERS], pruners[PRUNERS], readers[TEST_COUNT(others)];
	struct shared *shared = calloc(1, sizeof(*shared));
	char path[PATH_MAX];
	struct tmpdir dir;
	uint64_t offset;

	assert_non_null(shared);
	shared->seed = test_seed((uint64_t)time(NULL));
	for (size_t i = 0; i < TOTAL_MAX; i++)
		atomic_init(&shared->marks[i], NO_MARK);
	tmpdir_make(&dir, "threads-prune");
	shared->store = store_open_or_fail(dir.path, opts);
	shared->st = stream_open_or_fail(shared->store, "s");
	assert_int_equal(wal_stream_offset_of(shared->st, 0, &offset), 0); /* they count from here */
	atomic_store(&shared->appending, APPENDERS);
	for (uint32_t i = 0; i < TEST_COUNT(others); i++)
		start(&readers[i], shared, APPENDERS + PRUNERS + i, others[i]);
	for (uint32_t i = 0; i < PRUNERS; i++)
		start(&pruners[i], shared, APPENDERS + i, run_pruner);
	for (uint32_t i = 0; i < APPENDERS; i++)
		start(&appenders[i], shared, i, run_appender);
	join(appenders, APPENDERS);
	join(pruners, PRUNERS);
	join(readers, TEST_COUNT(others));
	print_message("# %" PRIu64 " segments pruned\n", atomic_load(&shared->segments));
	assert_true(atomic_load(&shared->segments) > 5);
	tmpdir_path(&dir, "s", path);
	expect_model(shared, path);
	wal_stream_close(shared->st);
	store_close_or_fail(shared->store);
	shared->store = store_open_or_fail(dir.path, opts);
	shared->st = stream_open_or_fail(shared->store, "s");
	expect_model(shared, path);
	wal_stream_close(shared->st);
	store_close_or_fail(shared->store);
	tmpdir_remove(&dir);
	free(shared);
}

static void a_strict_stream(void **state)
{
	(void)state;
	everything_at_once(&(struct wal_options){ .segment_entries = 20, .max_open_segments = 8 });
}

static void an_async_stream(void **state)
{
	(void)state;
	everything_at_once(&(struct wal_options){ .segment_entries = 15, .sync = WAL_SYNC_ASYNC, .read = WAL_READ_MMAP });
}

static void an_async_stream_without_a_cache(void **state)
{
	(void)state;
	everything_at_once(&(struct wal_options){ .segment_entries = 9, .sync = WAL_SYNC_ASYNC, .block_cache = WAL_SIZE_NONE, .read_buffer = 4096,
						  .compression = WAL_COMPRESSION_LZ4, .min_compression_size = 1, .max_open_segments = 8 });
}

/* ---- Many prunes of one stream ---- */

enum { PRUNED_SEGMENTS = 60, PRUNERS_AT_ONCE = 6 };

static void *run_prune_all(void *arg)
{
	struct thread *t = arg;

	for (uint64_t id = 1 + random_below(&t->random, 5); id <= PRUNED_SEGMENTS; id += 1 + random_below(&t->random, 5)) {
		uint64_t dropped;

		THREAD_CHECK_OK(wal_stream_prune(t->shared->st, id, &dropped));
		atomic_fetch_add(&t->shared->segments, dropped);
	}
	return NULL;
}

/* Each segment is dropped once, and counted once. */
static void prunes_at_once(void **state)
{
	struct wal_options opts = { .segment_entries = 1, .sync = WAL_SYNC_ASYNC };
	struct shared *shared = calloc(1, sizeof(*shared));
	struct thread threads[PRUNERS_AT_ONCE];
	struct wal_stream_stat stat;
	struct tmpdir dir;

	(void)state;
	assert_non_null(shared);
	shared->seed = test_seed((uint64_t)time(NULL));
	tmpdir_make(&dir, "threads-prune");
	shared->store = store_open_or_fail(dir.path, &opts);
	shared->st = stream_open_or_fail(shared->store, "s");
	stream_fill(shared->st, 0, PRUNED_SEGMENTS);
	for (uint32_t i = 0; i < PRUNERS_AT_ONCE; i++)
		start(&threads[i], shared, i, run_prune_all);
	join(threads, PRUNERS_AT_ONCE);
	assert_int_equal(wal_stream_stat(shared->st, &stat), 0);
	assert_int_equal(stat.first_id, atomic_load(&shared->segments));
	assert_int_equal(stat.segments, PRUNED_SEGMENTS - stat.first_id);
	stream_expect(shared->st, stat.first_id, PRUNED_SEGMENTS);
	wal_stream_close(shared->st);
	store_close_or_fail(shared->store);
	tmpdir_remove(&dir);
	free(shared);
}

/* ---- Streams that come and go ---- */

enum {
	NAMES = 4, /* each with an owner that makes, fills and deletes it */
	GENERATIONS = UNDER_TSAN ? 8 : 30,
	GENERATION_ENTRIES = 12,
	CHECKPOINTS_MIN = 8, /* the owners go on until there are so many */
	CHECKPOINTS_MAX = 2000,
};

struct coming {
	struct wal_store *store;
	atomic_uint owners;
	atomic_uint_fast64_t clock;
	atomic_uint_fast64_t born[NAMES]; /* ticket from before the stream was last made; 0: it is not there */
	struct {
		char id[16];
		uint64_t after; /* ticket */
	} checkpoints[CHECKPOINTS_MAX];
	atomic_uint checkpoint_count;
	uint64_t seed;
};

struct comer {
	pthread_t pthread;
	struct coming *coming;
	struct random random;
	uint32_t no;
};

static void name_of(char name[16], uint32_t no)
{
	snprintf(name, 16, "comes%u", no);
}

/* The only one that appends to it, so what it holds is known, whatever the others do. */
static void live_once(struct comer *c, const char *name, bool last)
{
	uint64_t count = random_below(&c->random, GENERATION_ENTRIES), first, next;
	struct wal_stream *st;

	atomic_store(&c->coming->born[c->no], atomic_fetch_add(&c->coming->clock, 1));
	THREAD_CHECK_OK(wal_stream_open(c->coming->store, name, WAL_CREATE | WAL_EXCL, &st, NULL));
	for (uint64_t i = 0; i < count; i++) {
		uint64_t id;

		THREAD_CHECK_OK(wal_stream_append(st, &i, sizeof(i), 0, &id));
		THREAD_CHECK(id == i);
	}
	wal_stream_bounds(st, &first, &next, NULL);
	THREAD_CHECK(next == count && first <= count);
	if (!last) {
		if (first < count)
			THREAD_CHECK_OK(wal_stream_rotate(st));
		THREAD_CHECK_OK(wal_stream_prune(st, UINT64_MAX, NULL));
		THREAD_CHECK_OK(wal_stream_delete(c->coming->store, name));
		THREAD_CHECK(wal_stream_append(st, "x", 1, 0, NULL) == -ENOENT);
	}
	wal_stream_close(st);
}

static void *run_owner(void *arg)
{
	struct comer *c = arg;
	char name[16];

	name_of(name, c->no);
	for (unsigned g = 1; g < GENERATIONS || atomic_load(&c->coming->checkpoint_count) < CHECKPOINTS_MIN; g++)
		live_once(c, name, false);
	live_once(c, name, true);
	atomic_fetch_sub(&c->coming->owners, 1);
	return NULL;
}

/* Opens what is there, prunes it, closes it: what it finds may be gone in between. */
static void *run_meddler(void *arg)
{
	struct comer *c = arg;
	char name[16];

	while (atomic_load(&c->coming->owners) > 0) {
		struct wal_stream *st;

		name_of(name, (uint32_t)random_below(&c->random, NAMES));
		int r = wal_stream_open(c->coming->store, name, 0, &st, NULL);
		if (r == -ENOENT)
			continue;
		THREAD_CHECK_OK(r);
		r = wal_stream_prune(st, random_below(&c->random, GENERATION_ENTRIES), NULL);
		THREAD_CHECK(r == 0 || r == -ENOENT);
		wal_stream_close(st);
	}
	return NULL;
}

static void *run_cutter(void *arg)
{
	struct comer *c = arg;

	while (atomic_load(&c->coming->owners) > 0) {
		unsigned n = atomic_load(&c->coming->checkpoint_count);
		struct wal_checkpoint *cp;

		if (n >= CHECKPOINTS_MAX)
			break;
		char *id = c->coming->checkpoints[n].id;
		snprintf(id, sizeof(c->coming->checkpoints[n].id), "c%u", n);
		THREAD_CHECK_OK(wal_checkpoint_create(c->coming->store, id, strlen(id), WAL_EXCL, NULL));
		c->coming->checkpoints[n].after = atomic_fetch_add(&c->coming->clock, 1);
		atomic_store(&c->coming->checkpoint_count, n + 1);
		THREAD_CHECK_OK(wal_checkpoint_load(c->coming->store, id, strlen(id), &cp));
		for (size_t i = 0; i < cp->cut_count; i++)
			THREAD_CHECK(cp->cuts[i].next_id <= GENERATION_ENTRIES);
		int r = wal_checkpoint_prune_before(c->coming->store, id, strlen(id), NULL, NULL);
		THREAD_CHECK_OK(r);
		free(cp);
	}
	return NULL;
}

/* A checkpoint tells of no stream that is not there, nor of one that was made after it, and of no more than that has. */
static void expect_checkpoints_of_what_is_there(struct coming *coming)
{
	for (unsigned n = 0; n < atomic_load(&coming->checkpoint_count); n++) {
		struct wal_checkpoint *cp;

		assert_int_equal(wal_checkpoint_load(coming->store, coming->checkpoints[n].id, strlen(coming->checkpoints[n].id), &cp), 0);
		for (size_t i = 0; i < cp->cut_count; i++) {
			struct wal_stream *st;
			unsigned no;
			uint64_t next;

			assert_int_equal(sscanf(cp->cuts[i].stream, "comes%u", &no), 1);
			if (coming->checkpoints[n].after < atomic_load(&coming->born[no]))
				fail_msg("checkpoint '%s' tells of a stream '%s' that was made after it", coming->checkpoints[n].id, cp->cuts[i].stream);
			assert_int_equal(wal_stream_open(coming->store, cp->cuts[i].stream, 0, &st, NULL), 0);
			wal_stream_bounds(st, NULL, &next, NULL);
			assert_true(cp->cuts[i].next_id <= next);
			wal_stream_close(st);
		}
		free(cp);
	}
	assert_int_equal(wal_checkpoint_count(coming->store), atomic_load(&coming->checkpoint_count));
}

static void streams_that_come_and_go(void **state)
{
	void *(*const runs[])(void *arg) = { run_owner, run_owner, run_owner, run_owner, run_meddler, run_meddler, run_cutter };
	struct wal_options opts = { .segment_entries = 3, .sync = WAL_SYNC_ASYNC };
	struct coming *coming = calloc(1, sizeof(*coming));
	struct comer comers[TEST_COUNT(runs)];
	struct tmpdir dir;

	(void)state;
	assert_non_null(coming);
	coming->seed = test_seed((uint64_t)time(NULL));
	tmpdir_make(&dir, "threads-prune");
	coming->store = store_open_or_fail(dir.path, &opts);
	atomic_store(&coming->owners, NAMES);
	atomic_store(&coming->clock, 1);
	for (uint32_t i = 0; i < TEST_COUNT(runs); i++) {
		comers[i] = (struct comer){ .coming = coming, .no = i, .random = { coming->seed + i } };
		assert_int_equal(pthread_create(&comers[i].pthread, NULL, runs[i], &comers[i]), 0);
	}
	for (uint32_t i = 0; i < TEST_COUNT(runs); i++)
		assert_int_equal(pthread_join(comers[i].pthread, NULL), 0);
	print_message("# %u checkpoints\n", atomic_load(&coming->checkpoint_count));
	expect_checkpoints_of_what_is_there(coming);
	store_close_or_fail(coming->store);
	coming->store = store_open_or_fail(dir.path, &opts);
	expect_checkpoints_of_what_is_there(coming);
	store_close_or_fail(coming->store);
	tmpdir_remove(&dir);
	free(coming);
}

/* ---- One id, many that want it ---- */

enum { CLAIMANTS = 6, CLAIMS = UNDER_TSAN ? 5 : 15 };

struct claims {
	struct wal_store *store;
	pthread_barrier_t barrier;
	atomic_uint made[CLAIMS];
};

static void *run_claimant(void *arg)
{
	struct claims *claims = arg;

	for (unsigned i = 0; i < CLAIMS; i++) {
		pthread_barrier_wait(&claims->barrier);
		int r = wal_checkpoint_create(claims->store, &i, sizeof(i), WAL_EXCL, NULL);
		THREAD_CHECK(r == 0 || r == -EEXIST);
		atomic_fetch_add(&claims->made[i], r == 0);
		THREAD_CHECK_OK(wal_checkpoint_create(claims->store, "moves", 5, 0, NULL));
	}
	return NULL;
}

static void one_id_for_many(void **state)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC };
	struct claims claims = { 0 };
	pthread_t threads[CLAIMANTS];
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "threads-prune");
	claims.store = store_open_or_fail(dir.path, &opts);
	stream_fill(stream_open_or_fail(claims.store, "s"), 0, 5);
	pthread_barrier_init(&claims.barrier, NULL, CLAIMANTS);
	for (unsigned i = 0; i < CLAIMANTS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, run_claimant, &claims), 0);
	for (unsigned i = 0; i < CLAIMANTS; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (unsigned i = 0; i < CLAIMS; i++)
		assert_int_equal(atomic_load(&claims.made[i]), 1);
	assert_int_equal(wal_checkpoint_count(claims.store), CLAIMS + 1);
	pthread_barrier_destroy(&claims.barrier);
	store_close_or_fail(claims.store);
	claims.store = store_open_or_fail(dir.path, &opts);
	assert_int_equal(wal_checkpoint_count(claims.store), CLAIMS + 1);
	store_close_or_fail(claims.store);
	tmpdir_remove(&dir);
}

/* ---- Looking while a sync takes its time ---- */

/* Holds the calling thread up in one of its syncs until the gate is opened. */
struct gate {
	struct sys sys;
	struct wal_store *store;
	int (*change)(struct wal_store *store); /* what is held up */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* protected by lock */
	unsigned countdown; /* to the sync that is held up; 0: none is */
	bool held;
	bool open;
	bool finished;
};

static void pass_gate(struct gate *gate)
{
	pthread_mutex_lock(&gate->lock);
	if (gate->countdown > 0 && --gate->countdown == 0) {
		gate->held = true;
		pthread_cond_broadcast(&gate->changed);
		while (!gate->open)
			pthread_cond_wait(&gate->changed, &gate->lock);
	}
	pthread_mutex_unlock(&gate->lock);
}

static int gate_fsync(struct sys *sys, int fd)
{
	pass_gate(container_of(sys, struct gate, sys));
	return sys_real()->fsync(sys_real(), fd);
}

static int gate_fdatasync(struct sys *sys, int fd)
{
	pass_gate(container_of(sys, struct gate, sys));
	return sys_real()->fdatasync(sys_real(), fd);
}

static void *run_change(void *arg)
{
	struct gate *gate = arg;

	THREAD_CHECK_OK(gate->change(gate->store));
	pthread_mutex_lock(&gate->lock);
	gate->finished = true;
	pthread_cond_broadcast(&gate->changed);
	pthread_mutex_unlock(&gate->lock);
	return NULL;
}

static int change_create(struct wal_store *store)
{
	return wal_checkpoint_create(store, "new", 3, 0, NULL);
}

static int change_remove(struct wal_store *store)
{
	return wal_checkpoint_remove(store, "b", 1);
}

static int change_compact(struct wal_store *store)
{
	return wal_checkpoint_compact(store, 2, NULL);
}

static int change_prune(struct wal_store *store)
{
	return wal_checkpoint_prune_before(store, "c", 1, NULL, NULL);
}

/* Someone who only looks gets an answer: of the checkpoints, and of the streams. */
static void look_at_all(struct wal_store *store, struct wal_stream *st)
{
	struct wal_checkpoint *list, *c;
	uint64_t first, next;
	size_t count;

	assert_int_equal(wal_checkpoint_list(store, &list, &count), 0);
	assert_true(count >= 2 && count <= 4);
	free(list);
	count = wal_checkpoint_count(store);
	assert_true(count >= 2 && count <= 4);
	wal_checkpoint_version(store);
	assert_int_equal(wal_checkpoint_load(store, "c", 1, &c), 0);
	free(c);
	assert_int_equal(wal_checkpoint_load(store, "none", 4, &c), WAL_NOT_FOUND);
	assert_int_equal(wal_checkpoint_latest(store, &c), 0);
	free(c);
	wal_stream_bounds(st, &first, &next, NULL);
	struct wal_buf buf = { 0 };
	assert_int_equal(wal_stream_get(st, next - 1, &buf), 0);
	wal_buf_release(&buf);
	struct wal_stream_stat stat;
	assert_int_equal(wal_stream_stat(st, &stat), 0);
}

/* Holds up the sync number `nth` of the change; false if it has not so many. */
static bool look_during_sync(int (*change)(struct wal_store *store), unsigned nth)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC, .segment_entries = 10 };
	static const char *const ids[] = { "a", "b", "c" };
	struct gate gate = { .sys = *sys_real(), .change = change };
	struct wal_stream *st;
	struct tmpdir dir;
	pthread_t thread;

	gate.sys.fsync = gate_fsync;
	gate.sys.fdatasync = gate_fdatasync;
	pthread_mutex_init(&gate.lock, NULL);
	pthread_cond_init(&gate.changed, NULL);
	tmpdir_make(&dir, "threads-prune");
	assert_int_equal(store_open(&gate.sys, dir.path, &opts, &gate.store, NULL), 0);
	st = stream_open_or_fail(gate.store, "s");
	for (size_t i = 0; i < TEST_COUNT(ids); i++) {
		stream_fill(st, 11 * i, 11 * (i + 1));
		assert_int_equal(wal_checkpoint_create(gate.store, ids[i], 1, 0, NULL), 0);
	}
	stream_fill(st, 33, 35);
	gate.countdown = nth;
	assert_int_equal(pthread_create(&thread, NULL, run_change, &gate), 0);
	pthread_mutex_lock(&gate.lock);
	while (!gate.held && !gate.finished)
		pthread_cond_wait(&gate.changed, &gate.lock);
	bool held = gate.held;
	pthread_mutex_unlock(&gate.lock);
	look_at_all(gate.store, st);
	pthread_mutex_lock(&gate.lock);
	gate.open = true;
	pthread_cond_broadcast(&gate.changed);
	pthread_mutex_unlock(&gate.lock);
	assert_int_equal(pthread_join(thread, NULL), 0);
	look_at_all(gate.store, st);
	wal_stream_close(st);
	store_close_or_fail(gate.store);
	pthread_cond_destroy(&gate.changed);
	pthread_mutex_destroy(&gate.lock);
	tmpdir_remove(&dir);
	return held;
}

/* Who waits for a sync here waits for ever, until alarm() ends it. */
static void lookers_wait_for_no_sync(void **state)
{
	static int (*const changes[])(struct wal_store *store) = { change_create, change_remove, change_compact, change_prune };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(changes); i++) {
		unsigned nth = 1;

		while (look_during_sync(changes[i], nth))
			nth++;
		assert_true(nth > 2); /* the file and the directory at least */
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_strict_stream),
		cmocka_unit_test(an_async_stream),
		cmocka_unit_test(an_async_stream_without_a_cache),
		cmocka_unit_test(prunes_at_once),
		cmocka_unit_test(streams_that_come_and_go),
		cmocka_unit_test(one_id_for_many),
		cmocka_unit_test(lookers_wait_for_no_sync),
	};

	/* Nothing here loses power, so syncs may cost nothing. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	alarm(300); /* a deadlock is a failure, not a wait */
	return TEST_RUN(tests);
}
