/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making streams and checkpoints again that existed elsewhere: entries with their ids and times, ids that are skipped, checkpoints with their times and cuts. Without a crash; those are in
 * test_restore_faults.c.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "checkpoints.h"
#include "damage.h"
#include "faultsys.h"
#include "original.h"
#include "random.h"
#include "snapshot.h"
#include "stores.h"
#include "test.h"
#include "threads.h"
#include "tmpdir.h"

#define SECOND INT64_C(1000000000)
#define LONG_AGO (INT64_C(1000000000) * SECOND)	 /* 2001 */
#define FAR_AHEAD (INT64_C(4000000000) * SECOND) /* 2096 */
#define TIME_MAX (INT64_MAX / 2)

/* Nothing here is about what a crash leaves, so nothing waits for the disk. */
struct sys *__wrap_sys_real(void);
struct sys *__real_sys_real(void);

static int no_sync(struct sys *sys, int fd)
{
	(void)sys;
	(void)fd;
	return 0;
}

/* Looked at in the middle of what is done. */
static struct wal_stream *looked_at;
static uint64_t looks;

static int ftruncate_and_look(struct sys *sys, int fd, uint64_t size)
{
	uint64_t offset;

	if (looked_at) {
		assert_int_equal(wal_stream_offset_of(looked_at, 2, &offset), 0);
		assert_int_equal(wal_stream_id_at(looked_at, offset, &offset, &(uint64_t){ 0 }), 0);
		assert_int_equal(offset, 2);
		looks++;
	}
	return __real_sys_real()->ftruncate(sys, fd, size);
}

struct sys *__wrap_sys_real(void)
{
	static struct sys quick;

	if (!quick.openat) {
		quick = *__real_sys_real();
		quick.fsync = no_sync;
		quick.fdatasync = no_sync;
		quick.ftruncate = ftruncate_and_look;
	}
	return &quick;
}

struct place {
	struct tmpdir dir;
	struct wal_options opts;
	struct wal_store *store;
	struct wal_stream *st;
};

static void place_open(struct place *p)
{
	p->store = store_open_or_fail(p->dir.path, &p->opts);
	p->st = stream_open_or_fail(p->store, "s");
}

static void place_close(struct place *p)
{
	wal_stream_close(p->st);
	store_close_or_fail(p->store);
}

static void place_make(struct place *p, const struct wal_options *opts)
{
	*p = (struct place){ .opts = { .sync = WAL_SYNC_ASYNC } };
	looked_at = NULL;
	if (opts)
		p->opts = *opts;
	tmpdir_make(&p->dir, "restore");
	place_open(p);
}

static void place_reopen(struct place *p)
{
	place_close(p);
	place_open(p);
}

static void place_remove(struct place *p)
{
	place_close(p);
	tmpdir_remove(&p->dir);
}

/* ---- What is restored ---- */

/* Entries with the content of their ids, whose times the caller sets. */
struct given {
	struct wal_entry *entries;
	uint8_t *bytes;
	size_t count;
};

static void given_make(struct given *g, uint64_t first_id, size_t count, int64_t time_ns, int64_t step_ns)
{
	uint8_t buf[ENTRY_SIZE_MAX];

	*g = (struct given){ .entries = calloc(count, sizeof *g->entries), .bytes = malloc(count * ENTRY_SIZE_MAX), .count = count };
	assert_non_null(g->entries);
	assert_non_null(g->bytes);
	for (size_t i = 0; i < count; i++) {
		struct wal_entry *e = &g->entries[i];
		const void *data = entry_content(first_id + i, buf, &e->size);

		e->id = first_id + i;
		e->time_ns = time_ns + (int64_t)i * step_ns;
		e->data = memcpy(g->bytes + i * ENTRY_SIZE_MAX, data, e->size);
	}
}

static void given_release(struct given *g)
{
	free(g->entries);
	free(g->bytes);
}

static void restore(struct wal_stream *st, const struct given *g, unsigned flags)
{
	size_t count = SIZE_MAX;
	int r = wal_stream_restore(st, g->entries, g->count, flags, &count);

	if (r != 0)
		fail_msg("cannot restore from id %" PRIu64 " on: %s", g->entries[0].id, wal_strerror(r));
	assert_int_equal(count, g->count);
}

static int64_t time_of(struct wal_stream *st, uint64_t id)
{
	struct wal_entry_info info;
	int r = wal_stream_lookup(st, id, &info);

	if (r != 0)
		fail_msg("cannot look up id %" PRIu64 ": %s", id, wal_strerror(r));
	return info.time_ns;
}

static void expect_times(struct wal_stream *st, const struct given *g)
{
	for (size_t i = 0; i < g->count; i++) {
		int64_t time = time_of(st, g->entries[i].id);

		if (time != g->entries[i].time_ns)
			fail_msg("entry %" PRIu64 " has the time %" PRId64 ", expected %" PRId64, g->entries[i].id, time, g->entries[i].time_ns);
	}
}

/* ---- Entries ---- */

static void entries_of_long_ago(void **state)
{
	struct place p;
	struct given g;

	(void)state;
	place_make(&p, NULL);
	given_make(&g, 0, 100, LONG_AGO, SECOND);
	restore(p.st, &g, 0);
	for (int round = 0; round < 3; round++) {
		stream_expect(p.st, 0, 100);
		expect_times(p.st, &g);
		assert_int_equal(wal_stream_mtime(p.st), LONG_AGO + 99 * SECOND);
		place_reopen(&p);
	}
	/* What comes now has the present time, which is exact too. */
	stream_fill(p.st, 100, 101);
	assert_true(time_of(p.st, 100) > LONG_AGO + INT64_C(100000000) * SECOND);
	place_reopen(&p);
	expect_times(p.st, &g);
	given_release(&g);
	place_remove(&p);
}

/* A process that restores [from, to) and dies. */
static void restore_and_die(struct place *p, struct given *g, uint64_t from, uint64_t to)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		struct wal_store *store;
		struct wal_stream *st;
		int r = wal_store_open(p->dir.path, &p->opts, &store, NULL);

		if (r == 0)
			r = wal_stream_open(store, "s", 0, &st, NULL);
		if (r == 0)
			r = wal_stream_restore(st, g->entries + from, to - from, 0, NULL);
		_exit(r != 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* The times of some are in memory only as long as the sidecar's last block is not full: with them those of all that are restored later would be lost. */
static void a_process_that_dies_while_it_restores(void **state)
{
	enum { COUNT = 400, STEP = 37 };
	struct place p;
	struct given g;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 150 });
	place_close(&p);
	given_make(&g, 0, COUNT, LONG_AGO, SECOND);
	for (uint64_t at = 0; at < COUNT; at += STEP)
		restore_and_die(&p, &g, at, at + STEP < COUNT ? at + STEP : COUNT);
	place_open(&p);
	stream_expect(p.st, 0, COUNT);
	expect_times(p.st, &g);
	place_close(&p);
	given_release(&g);
	tmpdir_remove(&p.dir);
}

/* No entry may have the time of the one before, so an append behind them is 1 ns later. */
static void entries_of_the_future(void **state)
{
	struct place p;
	struct given g;

	(void)state;
	place_make(&p, NULL);
	given_make(&g, 0, 5, FAR_AHEAD, 7);
	restore(p.st, &g, 0);
	stream_fill(p.st, 5, 8);
	for (int round = 0; round < 2; round++) {
		expect_times(p.st, &g);
		for (int i = 0; i < 3; i++)
			assert_int_equal(time_of(p.st, (uint64_t)(5 + i)), FAR_AHEAD + 4 * 7 + 1 + i);
		place_reopen(&p);
	}
	given_release(&g);
	place_remove(&p);
}

static void times_that_do_not_increase_are_made_to(void **state)
{
	static const int64_t given[] = { 100, 100, 50, 102, 103, 200, 0, -5 }, expected[] = { 100, 101, 102, 103, 104, 200, 201, 202 };
	struct place p;
	struct given g;

	(void)state;
	place_make(&p, NULL);
	given_make(&g, 0, TEST_COUNT(given), 0, 0);
	for (size_t i = 0; i < g.count; i++)
		g.entries[i].time_ns = LONG_AGO + given[i];
	restore(p.st, &g, 0);
	for (size_t i = 0; i < g.count; i++)
		assert_int_equal(time_of(p.st, i), LONG_AGO + expected[i]);
	given_release(&g);
	/* Behind what is there already, a run of 1 ns steps too. */
	given_make(&g, TEST_COUNT(given), 3, LONG_AGO + 150, 1);
	restore(p.st, &g, 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(time_of(p.st, TEST_COUNT(given) + i), LONG_AGO + 203 + (int64_t)i);
	given_release(&g);
	place_remove(&p);
}

static void times_out_of_bounds(void **state)
{
	static const int64_t given[] = { INT64_MIN, -1, 0, 1, 1000, TIME_MAX, INT64_MAX, INT64_MAX };
	static const int64_t expected[] = { 1, 2, 3, 4, 1000, TIME_MAX, TIME_MAX + 1, TIME_MAX + 2 };
	struct place p;
	struct given g;

	(void)state;
	place_make(&p, NULL);
	given_make(&g, 0, TEST_COUNT(given), 0, 0);
	for (size_t i = 0; i < g.count; i++)
		g.entries[i].time_ns = given[i];
	restore(p.st, &g, 0);
	stream_fill(p.st, g.count, g.count + 2);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < g.count; i++)
			assert_int_equal(time_of(p.st, i), expected[i]);
		assert_int_equal(time_of(p.st, g.count + 1), TIME_MAX + 4);
		place_reopen(&p);
	}
	given_release(&g);
	place_remove(&p);
}

static uint64_t frames_of(struct wal_stream *st)
{
	struct wal_stream_counters c;

	wal_stream_counters(st, &c);
	return c.frames;
}

static void runs_of_one_nanosecond_become_batches(void **state)
{
	struct place p;
	struct given g;

	(void)state;
	place_make(&p, NULL);
	given_make(&g, 0, 100, LONG_AGO, 1);
	/* 40 of a batch, one alone, 59 of another. */
	for (size_t i = 40; i < 100; i++)
		g.entries[i].time_ns += 500;
	for (size_t i = 41; i < 100; i++)
		g.entries[i].time_ns += 500;
	restore(p.st, &g, 0);
	assert_int_equal(frames_of(p.st), 3);
	expect_times(p.st, &g);
	stream_expect(p.st, 0, 100);
	place_reopen(&p);
	expect_times(p.st, &g);
	stream_expect(p.st, 0, 100);
	given_release(&g);
	place_remove(&p);
}

/* A run that no segment has room for is several frames, none larger than a segment. */
static void a_run_larger_than_a_segment(void **state)
{
	struct place p;
	struct given g;
	uint64_t *ids;
	size_t count;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_STRICT, .segment_size = 4096, .segment_entries = 30 });
	given_make(&g, 0, 200, LONG_AGO, 1);
	restore(p.st, &g, WAL_DURABLE);
	expect_times(p.st, &g);
	stream_expect(p.st, 0, 200);
	assert_int_equal(wal_stream_segments(p.st, &ids, &count), 0);
	assert_true(count >= 7);
	for (size_t i = 0; i < count; i++) {
		char path[PATH_MAX];

		assert_true(i == 0 ? ids[i] == 0 : ids[i] > ids[i - 1] && ids[i] - ids[i - 1] <= 30);
		assert_true(file_size(segment_path(p.dir.path, "s", ids[i], ".wal", path)) <= 4096 || i + 1 == count);
	}
	free(ids);
	place_reopen(&p);
	expect_times(p.st, &g);
	stream_expect(p.st, 0, 200);
	given_release(&g);
	place_remove(&p);
}

/* Many small frames share a write, as many as one has room for. */
static void small_frames_are_gathered(void **state)
{
	struct place p;
	struct given g;
	struct wal_stream_counters c;

	(void)state;
	place_make(&p, NULL);
	given_make(&g, 0, 640, LONG_AGO, SECOND);
	restore(p.st, &g, 0);
	wal_stream_counters(p.st, &c);
	assert_int_equal(c.frames, 640);
	assert_int_equal(c.writes, 10);
	assert_int_equal(c.syncs, 0);
	given_release(&g);
	place_remove(&p);
}

static void durable_only_if_it_is_asked_for(void **state)
{
	struct place p;
	struct given g;
	uint64_t durable;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_STRICT });
	given_make(&g, 0, 10, LONG_AGO, SECOND);
	restore(p.st, &g, 0);
	stream_expect(p.st, 0, 10);
	wal_stream_bounds(p.st, NULL, NULL, &durable);
	assert_int_equal(durable, 0);
	given_release(&g);
	given_make(&g, 10, 100, LONG_AGO + 20 * SECOND, SECOND);
	restore(p.st, &g, WAL_DURABLE);
	wal_stream_bounds(p.st, NULL, NULL, &durable);
	assert_int_equal(durable, 110);
	given_release(&g);
	place_remove(&p);
}

static void refuse(struct wal_stream *st, struct given *g, int expected)
{
	uint64_t before, after;
	size_t count = SIZE_MAX;

	wal_stream_bounds(st, NULL, &before, NULL);
	assert_int_equal(wal_stream_restore(st, g->entries, g->count, 0, &count), expected);
	assert_int_equal(count, 0);
	assert_int_equal(wal_stream_restore(st, g->entries, g->count, 0, NULL), expected);
	wal_stream_bounds(st, NULL, &after, NULL);
	assert_int_equal(before, after);
}

static void ids_that_do_not_fit(void **state)
{
	struct place p;
	struct given g;

	(void)state;
	place_make(&p, NULL);
	stream_fill(p.st, 0, 10);
	for (uint64_t first = 0; first < 20; first++) {
		given_make(&g, first, 3, LONG_AGO, SECOND);
		if (first != 10)
			refuse(p.st, &g, -EINVAL);
		given_release(&g);
	}
	given_make(&g, 10, 300, LONG_AGO, SECOND);
	for (size_t i = 1; i < g.count; i += 37) {
		g.entries[i].id++;
		refuse(p.st, &g, -EINVAL);
		g.entries[i].id -= 2;
		refuse(p.st, &g, -EINVAL);
		g.entries[i].id++;
	}
	g.entries[299].size = WAL_ENTRY_SIZE_MAX + 1;
	refuse(p.st, &g, -EFBIG);
	given_release(&g);
	stream_expect(p.st, 0, 10);
	place_remove(&p);
}

static void nothing_to_restore(void **state)
{
	struct place p;
	size_t count = 7;
	struct wal_entry e = { .id = 0 };

	(void)state;
	place_make(&p, NULL);
	assert_int_equal(wal_stream_restore(p.st, NULL, 0, 0, &count), 0);
	assert_int_equal(count, 0);
	/* An entry without bytes is one. */
	e.time_ns = LONG_AGO;
	assert_int_equal(wal_stream_restore(p.st, &e, 1, 0, &count), 0);
	assert_int_equal(count, 1);
	assert_int_equal(time_of(p.st, 0), LONG_AGO);
	place_remove(&p);
}

static void a_store_for_reading_only(void **state)
{
	struct place p;
	struct given g;
	char *before;

	(void)state;
	place_make(&p, NULL);
	stream_fill(p.st, 0, 3);
	place_close(&p);
	before = snapshot_take(p.dir.path);
	p.opts.ro = true;
	place_open(&p);
	given_make(&g, 3, 3, LONG_AGO, SECOND);
	refuse(p.st, &g, -EROFS);
	assert_int_equal(wal_stream_skip(p.st, 10), -EROFS);
	assert_int_equal(wal_checkpoint_restore(p.store, &(struct wal_checkpoint){ .id = "a", .id_size = 1 }, 0, NULL), -EROFS);
	place_close(&p);
	snapshot_expect(p.dir.path, before);
	free(before);
	given_release(&g);
	tmpdir_remove(&p.dir);
}

/* ---- With someone else appending ---- */

struct appender {
	struct wal_stream *st;
	atomic_bool stop;
	uint64_t appended;
};

static void *append_all_the_time(void *arg)
{
	struct appender *a = arg;

	while (!atomic_load(&a->stop)) {
		THREAD_CHECK_OK(wal_stream_append(a->st, "mine", 4, 0, NULL));
		a->appended++;
	}
	return NULL;
}

/* Each restore gets just its ids, or fails where the other came between; nothing is there twice or under another id. */
static void another_appender_meanwhile(void **state)
{
	enum { EACH = 150, ROUNDS = 40 };
	struct place p;
	struct appender a;
	struct wal_buf buf = { 0 };
	uint64_t next, mine = 0, restored = 0;
	pthread_t thread;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 500 });
	a = (struct appender){ .st = p.st };
	assert_int_equal(pthread_create(&thread, NULL, append_all_the_time, &a), 0);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct given g;
		size_t count = SIZE_MAX;

		wal_stream_bounds(p.st, NULL, &next, NULL);
		given_make(&g, next, EACH, LONG_AGO, round % 2 ? 1 : 3);
		int r = wal_stream_restore(p.st, g.entries, g.count, 0, &count);
		assert_true(r == 0 ? count == EACH : r == -EINVAL && count < EACH);
		restored += count;
		given_release(&g);
	}
	atomic_store(&a.stop, true);
	pthread_join(thread, NULL);
	wal_stream_bounds(p.st, NULL, &next, NULL);
	assert_int_equal(next, restored + a.appended);
	for (uint64_t id = 0; id < next; id++) {
		uint8_t content[ENTRY_SIZE_MAX];
		size_t size;
		const void *data = entry_content(id, content, &size);

		assert_int_equal(wal_stream_get(p.st, id, &buf), 0);
		mine += buf.size == 4 && memcmp(buf.data, "mine", 4) == 0;
		assert_true((buf.size == 4 && memcmp(buf.data, "mine", 4) == 0) || (buf.size == size && memcmp(buf.data, data, size) == 0));
		assert_true(id == 0 || time_of(p.st, id) > time_of(p.st, id - 1));
	}
	assert_int_equal(mine, a.appended);
	wal_buf_release(&buf);
	place_remove(&p);
}

/* ---- Skips ---- */

static void expect_bounds(struct wal_stream *st, uint64_t first, uint64_t next)
{
	uint64_t got_first, got_next;

	wal_stream_bounds(st, &got_first, &got_next, NULL);
	assert_int_equal(got_first, first);
	assert_int_equal(got_next, next);
}

static void skip_to(struct place *p, uint64_t id)
{
	int r = wal_stream_skip(p->st, id);

	if (r != 0)
		fail_msg("cannot skip to id %" PRIu64 ": %s", id, wal_strerror(r));
}

static unsigned findings_of(struct place *p, enum wal_finding_kind kind)
{
	struct wal_check_result result;
	const struct wal_check check = { 0 };

	assert_int_equal(wal_verify(p->dir.path, NULL, &check, &result, NULL), 0);
	return (unsigned)result.findings[kind];
}

static void expect_sound(struct place *p, unsigned notes)
{
	assert_int_equal(findings_of(p, WAL_FINDING_DAMAGE), 0);
	assert_int_equal(findings_of(p, WAL_FINDING_TORN), 0);
	assert_int_equal(findings_of(p, WAL_FINDING_ERROR), 0);
	assert_int_equal(findings_of(p, WAL_FINDING_CACHE), 0);
	assert_int_equal(findings_of(p, WAL_FINDING_NOTE), notes);
}

/* Those from `first` on are lost, and the iterator says so in one step. */
static void expect_lost(struct wal_stream *st, uint64_t first, uint64_t next)
{
	struct wal_entry_info info;
	struct wal_buf buf = { 0 };
	struct wal_entry e;
	struct wal_iter *it;

	assert_int_equal(wal_stream_get(st, first, &buf), -EBADMSG);
	assert_int_equal(wal_stream_get(st, next - 1, &buf), -EBADMSG);
	assert_int_equal(wal_stream_lookup(st, first, &info), -EBADMSG);
	assert_int_equal(wal_iter_new(st, first, &it), 0);
	assert_int_equal(wal_iter_next(it, &e), WAL_GAP);
	assert_int_equal(e.id, first);
	assert_int_equal(e.size, next - first);
	wal_iter_free(it);
	wal_buf_release(&buf);
}

static void expect_healthy(struct wal_stream *st)
{
	struct wal_stream_stat stat;

	assert_int_equal(wal_stream_stat(st, &stat), 0);
	if (stat.health != WAL_HEALTHY)
		fail_msg("the stream is not healthy: %s", stat.reason);
}

static void a_stream_never_used_begins_elsewhere(void **state)
{
	static const uint64_t ids[] = { 1, 1000, UINT64_MAX - (UINT64_C(65) << 32) };
	struct place p;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(ids); i++) {
		uint64_t id = ids[i], first;
		struct wal_buf buf = { 0 };
		struct given g;

		place_make(&p, NULL);
		skip_to(&p, id);
		expect_bounds(p.st, id, id);
		assert_int_equal(wal_stream_get(p.st, id - 1, &buf), WAL_PRUNED);
		wal_buf_release(&buf);
		if (i == 1)
			place_reopen(&p);
		expect_bounds(p.st, id, id);
		given_make(&g, id, 10, LONG_AGO, SECOND);
		restore(p.st, &g, 0);
		stream_expect(p.st, id, id + 10);
		expect_times(p.st, &g);
		place_reopen(&p);
		stream_expect(p.st, id, id + 10);
		expect_times(p.st, &g);
		place_close(&p);
		expect_sound(&p, 0);
		assert_int_equal(original_check_stream(p.dir.path, "s", &first), id + 10);
		assert_int_equal(first, id);
		given_release(&g);
		tmpdir_remove(&p.dir);
	}
}

/* It can be deleted as any that has no entries: nothing is left of the skip. */
static void a_stream_that_skipped_and_has_none_is_deleted(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, NULL);
	skip_to(&p, 5);
	skip_to(&p, 9);
	expect_bounds(p.st, 9, 9);
	wal_stream_close(p.st);
	assert_int_equal(wal_stream_delete(p.store, "s"), 0);
	p.st = stream_open_or_fail(p.store, "s");
	expect_bounds(p.st, 0, 0);
	place_remove(&p);
}

static void a_stream_pruned_to_its_end_goes_on_elsewhere(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 10 });
	stream_fill(p.st, 0, 25);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	assert_int_equal(wal_stream_prune(p.st, 25, NULL), 0);
	skip_to(&p, 40);
	expect_bounds(p.st, 40, 40);
	stream_fill(p.st, 40, 55);
	stream_expect(p.st, 40, 55);
	place_reopen(&p);
	stream_expect(p.st, 40, 55);
	place_close(&p);
	expect_sound(&p, 0);
	assert_int_equal(original_check_stream(p.dir.path, "s", NULL), 55);
	tmpdir_remove(&p.dir);
}

static void ids_behind_entries_are_lost(void **state)
{
	struct place p;
	struct given g;

	(void)state;
	/* In the middle of a segment, and where the active one is empty. */
	for (int rotated = 0; rotated < 2; rotated++) {
		place_make(&p, NULL);
		given_make(&g, 0, 10, LONG_AGO, SECOND);
		restore(p.st, &g, 0);
		if (rotated)
			assert_int_equal(wal_stream_rotate(p.st), 0);
		skip_to(&p, 50);
		given_release(&g);
		given_make(&g, 50, 10, LONG_AGO + 100 * SECOND, SECOND);
		restore(p.st, &g, 0);
		for (int round = 0; round < 3; round++) {
			expect_bounds(p.st, 0, 60);
			expect_healthy(p.st);
			expect_lost(p.st, 10, 50);
			expect_times(p.st, &g);
			assert_int_equal(time_of(p.st, 9), LONG_AGO + 9 * SECOND);
			expect_sound(&p, 1);
			if (round == 1)
				p.opts.read = WAL_READ_MMAP;
			place_reopen(&p);
		}
		/* The sidecar is only a cache here too. */
		char path[PATH_MAX];
		place_close(&p);
		assert_int_equal(unlink(segment_path(p.dir.path, "s", rotated ? 10 : 0, ".meta", path)), 0);
		place_open(&p);
		expect_lost(p.st, 10, 50);
		expect_healthy(p.st);
		given_release(&g);
		place_remove(&p);
	}
}

static void skips_one_after_the_other(void **state)
{
	struct place p;
	struct wal_iter *it;
	struct wal_entry e;
	uint64_t lost = 0, read = 0;

	(void)state;
	place_make(&p, NULL);
	stream_fill(p.st, 0, 3);
	skip_to(&p, 10);
	skip_to(&p, 20);
	skip_to(&p, 20);
	stream_fill(p.st, 20, 22);
	skip_to(&p, 100);
	place_reopen(&p);
	skip_to(&p, 200);
	stream_fill(p.st, 200, 201);
	assert_int_equal(wal_stream_skip(p.st, 200), -EINVAL);
	assert_int_equal(wal_stream_skip(p.st, 0), -EINVAL);
	assert_int_equal(wal_stream_skip(p.st, UINT64_MAX), -EINVAL);
	skip_to(&p, 201);
	for (int round = 0; round < 2; round++) {
		expect_bounds(p.st, 0, 201);
		expect_healthy(p.st);
		assert_int_equal(wal_iter_new(p.st, 0, &it), 0);
		lost = read = 0;
		for (int r; (r = wal_iter_next(it, &e)) != WAL_END;) {
			assert_true(r == 0 || r == WAL_GAP);
			lost += r == WAL_GAP ? e.size : 0;
			read += r == 0;
		}
		wal_iter_free(it);
		assert_int_equal(read, 6);
		assert_int_equal(lost, 195);
		place_reopen(&p);
	}
	expect_sound(&p, 4);
	place_remove(&p);
}

/* The segment that is sealed by the second skip has no entries, and for a moment began where the ids ended. */
static void offsets_are_asked_for_during_a_skip(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, NULL);
	stream_fill(p.st, 0, 3);
	skip_to(&p, 10);
	looked_at = p.st;
	skip_to(&p, 20);
	looked_at = NULL;
	assert_true(looks >= 2);
	place_remove(&p);
}

/* When what was lost is pruned, nothing is left that says so, and the stream can be deleted once the store has been opened again. */
static void a_skip_is_pruned(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, NULL);
	stream_fill(p.st, 0, 3);
	skip_to(&p, 10);
	assert_int_equal(wal_stream_prune(p.st, 10, NULL), 0);
	expect_bounds(p.st, 10, 10);
	place_reopen(&p);
	expect_bounds(p.st, 10, 10);
	wal_stream_close(p.st);
	assert_int_equal(wal_stream_delete(p.store, "s"), 0);
	p.st = stream_open_or_fail(p.store, "s");
	place_remove(&p);
}

static void a_draft_over_a_skip(void **state)
{
	struct place p;
	struct wal_draft *draft;
	struct wal_buf buf = { 0 };
	uint64_t id;

	(void)state;
	place_make(&p, NULL);
	stream_fill(p.st, 0, 3);
	assert_int_equal(wal_draft_new(p.st, &draft), 0);
	assert_int_equal(wal_draft_write(draft, "draft", 5, 0), 0);
	skip_to(&p, 10);
	assert_int_equal(wal_draft_write(draft, "ed", 2, 5), 0);
	assert_int_equal(wal_draft_commit(draft, 0, &id), 0);
	assert_int_equal(id, 10);
	assert_int_equal(wal_stream_get(p.st, 10, &buf), 0);
	assert_memory_equal(buf.data, "drafted", 7);
	wal_buf_release(&buf);
	place_close(&p);
	expect_sound(&p, 1);
	tmpdir_remove(&p.dir);
}

static void a_checkpoint_covers_what_was_skipped(void **state)
{
	struct place p;
	struct wal_checkpoint *cp;
	uint64_t next;

	(void)state;
	place_make(&p, NULL);
	stream_fill(p.st, 0, 3);
	skip_to(&p, 10);
	assert_int_equal(wal_checkpoint_create(p.store, "c", 1, 0, NULL), 0);
	assert_int_equal(wal_checkpoint_load(p.store, "c", 1, &cp), 0);
	assert_int_equal(wal_checkpoint_find(cp, "s", &next), 0);
	assert_int_equal(next, 10);
	free(cp);
	place_remove(&p);
}

static void a_stream_that_is_stopped(void **state)
{
	struct place p = { .opts = { .sync = WAL_SYNC_ASYNC } };
	struct faultsys f;
	struct given g;

	(void)state;
	tmpdir_make(&p.dir, "restore");
	faultsys_init(&f);
	assert_int_equal(store_open(&f.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
	p.st = stream_open_or_fail(p.store, "s");
	stream_fill(p.st, 0, 3);
	faultsys_fail(&f, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(wal_stream_sync(p.st), -EIO);
	given_make(&g, 3, 3, LONG_AGO, SECOND);
	refuse(p.st, &g, -EIO);
	assert_int_equal(wal_stream_skip(p.st, 10), -EIO);
	given_release(&g);
	wal_stream_close(p.st);
	assert_int_equal(wal_store_close(p.store), -EIO);
	tmpdir_remove(&p.dir);
}

/* ---- Compared with a model ---- */

enum { MODEL_IDS = 1600 };

struct model {
	uint64_t first;
	uint64_t next;
	bool lost[MODEL_IDS];
	int64_t time[MODEL_IDS];
};

static void model_compare(struct wal_stream *st, struct model *m)
{
	uint8_t content[ENTRY_SIZE_MAX];
	struct wal_buf buf = { 0 };

	expect_bounds(st, m->first, m->next);
	expect_healthy(st);
	for (uint64_t id = m->first; id < m->next; id++) {
		size_t size;
		const void *data = entry_content(id, content, &size);
		int r = wal_stream_get(st, id, &buf);

		if (r != (m->lost[id] ? -EBADMSG : 0))
			fail_msg("entry %" PRIu64 ": %s, %s", id, wal_strerror(r), m->lost[id] ? "and it is lost" : "and it is there");
		if (m->lost[id])
			continue;
		assert_int_equal(buf.size, size);
		assert_memory_equal(buf.data, data, size);
		int64_t time = time_of(st, id);
		if (time != m->time[id])
			fail_msg("entry %" PRIu64 " has the time %" PRId64 ", expected %" PRId64, id, time, m->time[id]);
	}
	wal_buf_release(&buf);
}

static void model_restore(struct wal_stream *st, struct model *m, struct random *r)
{
	size_t count = 1 + (size_t)random_below(r, 90);
	bool empty = m->first == m->next;
	int64_t last = empty ? 0 : m->time[m->next - 1];
	int64_t steps[] = { 1, 1, 1, 0, -3, 17, SECOND };
	struct given g;

	/* What is before the present entries may be lost ids, whose times nobody knows: so it is always later than those. */
	given_make(&g, m->next, count, 0, 0);
	int64_t time = (last > LONG_AGO ? last : LONG_AGO) + (int64_t)random_below(r, 100) - 20;
	for (size_t i = 0; i < count; i++) {
		time += steps[random_below(r, TEST_COUNT(steps))];
		g.entries[i].time_ns = time;
		m->time[m->next + i] = last = time > last ? time : last + 1;
	}
	restore(st, &g, random_below(r, 4) == 0 ? WAL_DURABLE : 0);
	m->next += count;
	given_release(&g);
}

static void model_append(struct wal_stream *st, struct model *m)
{
	stream_fill(st, m->next, m->next + 1);
	m->time[m->next] = time_of(st, m->next);
	assert_true(m->first == m->next || m->time[m->next] > m->time[m->next - 1]);
	m->next++;
}

static void model_skip(struct place *p, struct model *m, uint64_t by)
{
	bool empty = m->first == m->next;

	skip_to(p, m->next + by);
	for (uint64_t i = 0; i < by; i++) {
		m->lost[m->next + i] = true;
		m->time[m->next + i] = m->next + i > 0 ? m->time[m->next + i - 1] : 0;
	}
	m->next += by;
	if (empty)
		m->first = m->next;
}

static void model_run(const struct wal_options *opts, uint64_t seed)
{
	struct random r = { seed };
	struct model *m = calloc(1, sizeof *m);
	struct place p;

	assert_non_null(m);
	place_make(&p, opts);
	while (m->next < MODEL_IDS - 200) {
		switch (random_below(&r, 9)) {
		case 0:
			model_skip(&p, m, 1 + random_below(&r, 40));
			break;
		case 1:
			assert_int_equal(wal_stream_rotate(p.st), 0);
			break;
		case 2:
			if (random_below(&r, 4) == 0) {
				assert_int_equal(wal_stream_prune(p.st, m->next - random_below(&r, m->next - m->first + 1), NULL), 0);
				wal_stream_bounds(p.st, &m->first, NULL, NULL);
			}
			break;
		case 3:
			model_append(p.st, m);
			break;
		case 4:
			if (random_below(&r, 3) == 0) {
				place_reopen(&p);
				/* Lost ids at the beginning may be gone by then. */
				uint64_t first;
				wal_stream_bounds(p.st, &first, NULL, NULL);
				for (uint64_t id = m->first; id < first; id++)
					assert_true(m->lost[id]);
				m->first = first;
				model_compare(p.st, m);
			}
			break;
		default:
			model_restore(p.st, m, &r);
			break;
		}
	}
	model_compare(p.st, m);
	place_reopen(&p);
	place_close(&p);
	assert_int_equal(findings_of(&p, WAL_FINDING_DAMAGE) + findings_of(&p, WAL_FINDING_CACHE), 0);
	tmpdir_remove(&p.dir);
	free(m);
}

static void any_order_of_steps_in_every_mode(void **state)
{
	(void)state;
	for (unsigned sync = 0; sync < 3; sync++) {
		for (unsigned lz4 = 0; lz4 < 2; lz4++) {
			struct wal_options opts = { .sync = sync, .compression = lz4, .min_compression_size = 64, .segment_size = 8192, .segment_entries = sync == 1 ? 50 : 0 };

			model_run(&opts, 100 + sync * 2 + lz4);
		}
	}
	model_run(&(struct wal_options){ .sync = WAL_SYNC_ASYNC }, 7);
}

/* ---- Checkpoints ---- */

static int restore_checkpoint(struct wal_store *store, const char *id, int64_t time, const struct wal_cut *cuts, size_t count, unsigned flags, struct wal_error *err)
{
	const struct wal_checkpoint cp = { .id = id, .id_size = strlen(id), .time_ns = time, .cut_count = count, .cuts = cuts };

	*err = (struct wal_error){ 0 };
	return wal_checkpoint_restore(store, &cp, flags, err);
}

static void expect_checkpoint(struct wal_store *store, const char *id, int64_t time, const struct wal_cut *cuts, size_t count)
{
	struct wal_checkpoint *cp;
	int r = wal_checkpoint_load(store, id, strlen(id), &cp);

	if (r != 0)
		fail_msg("checkpoint '%s': %s", id, wal_strerror(r));
	assert_int_equal(cp->time_ns, time);
	assert_int_equal(cp->cut_count, count);
	for (size_t i = 0; i < count; i++) {
		assert_string_equal(cp->cuts[i].stream, cuts[i].stream);
		assert_int_equal(cp->cuts[i].next_id, cuts[i].next_id);
	}
	free(cp);
}

/* Their ids in order, and which is the latest. */
static void expect_order(struct wal_store *store, const char *ids, const char *latest)
{
	struct wal_checkpoint *list, *cp;
	char text[256] = "";
	size_t count;

	assert_int_equal(wal_checkpoint_list(store, &list, &count), 0);
	for (size_t i = 0; i < count; i++) {
		assert_true(i == 0 || list[i].time_ns > list[i - 1].time_ns);
		strcat(strcat(text, list[i].id), " ");
	}
	assert_string_equal(text, ids);
	free(list);
	assert_int_equal(wal_checkpoint_latest(store, &cp), 0);
	assert_string_equal(cp->id, latest);
	free(cp);
}

static void checkpoints_in_any_order(void **state)
{
	static const struct wal_cut five[] = { { "s", 5 } }, both[] = { { "t", 2 }, { "s", 7 } }, sorted[] = { { "s", 7 }, { "t", 2 } };
	struct place p;
	struct wal_error err;
	struct wal_stream *t;

	(void)state;
	place_make(&p, NULL);
	t = stream_open_or_fail(p.store, "t");
	stream_fill(p.st, 0, 10);
	stream_fill(t, 0, 3);
	wal_stream_close(t);
	assert_int_equal(restore_checkpoint(p.store, "mid", LONG_AGO + 20, five, 1, 0, &err), 0);
	expect_order(p.store, "mid ", "mid");
	assert_int_equal(restore_checkpoint(p.store, "old", LONG_AGO + 10, both, 2, WAL_EXCL, &err), 0);
	expect_order(p.store, "old mid ", "mid");
	assert_int_equal(restore_checkpoint(p.store, "new", LONG_AGO + 30, NULL, 0, 0, &err), 0);
	expect_order(p.store, "old mid new ", "new");
	/* The one that is the latest gets an older time. */
	assert_int_equal(restore_checkpoint(p.store, "new", LONG_AGO + 15, five, 1, 0, &err), 0);
	expect_order(p.store, "old new mid ", "mid");
	assert_int_equal(restore_checkpoint(p.store, "old", LONG_AGO + 40, both, 2, 0, &err), 0);
	expect_order(p.store, "new mid old ", "old");
	/* With the same time it may be made again. */
	assert_int_equal(restore_checkpoint(p.store, "mid", LONG_AGO + 20, both, 2, 0, &err), 0);
	for (int round = 0; round < 2; round++) {
		expect_order(p.store, "new mid old ", "old");
		expect_checkpoint(p.store, "new", LONG_AGO + 15, five, 1);
		expect_checkpoint(p.store, "mid", LONG_AGO + 20, sorted, 2);
		expect_checkpoint(p.store, "old", LONG_AGO + 40, sorted, 2);
		place_reopen(&p);
	}
	dir_expect_head(&p.dir, "old");
	/* One that is made now is later than all, whatever the clock says. */
	assert_int_equal(restore_checkpoint(p.store, "far", FAR_AHEAD, five, 1, 0, &err), 0);
	assert_int_equal(wal_checkpoint_create(p.store, "now", 3, 0, NULL), 0);
	expect_order(p.store, "new mid old far now ", "now");
	place_remove(&p);
}

static void checkpoints_that_can_not_be(void **state)
{
	static const struct wal_cut cut[] = { { "s", 5 } }, beyond[] = { { "s", 11 } }, twice[] = { { "s", 1 }, { "t", 0 }, { "s", 2 } }, none[] = { { "nobody", 0 } };
	struct place p;
	struct wal_error err;
	char *before;

	(void)state;
	place_make(&p, NULL);
	wal_stream_close(stream_open_or_fail(p.store, "t"));
	stream_fill(p.st, 0, 10);
	assert_int_equal(restore_checkpoint(p.store, "a", LONG_AGO, cut, 1, 0, &err), 0);
	place_reopen(&p); /* so that no sidecar is still being written */
	before = snapshot_take(p.dir.path);
	assert_int_equal(restore_checkpoint(p.store, "", LONG_AGO + 1, cut, 1, 0, &err), -EINVAL);
	assert_non_null(strstr(err.message, "1 to 65535 bytes"));
	assert_int_equal(restore_checkpoint(p.store, "b", LONG_AGO + 1, beyond, 1, 0, &err), -EINVAL);
	assert_non_null(strstr(err.message, "ends before id 10, not 11"));
	assert_int_equal(restore_checkpoint(p.store, "b", LONG_AGO + 1, twice, 3, 0, &err), -EINVAL);
	assert_non_null(strstr(err.message, "'s' is in it twice"));
	assert_int_equal(restore_checkpoint(p.store, "b", LONG_AGO + 1, none, 1, 0, &err), -EINVAL);
	assert_non_null(strstr(err.message, "no stream 'nobody'"));
	assert_int_equal(restore_checkpoint(p.store, "b", LONG_AGO, cut, 1, 0, &err), -EINVAL);
	assert_non_null(strstr(err.message, "same time"));
	assert_int_equal(restore_checkpoint(p.store, "a", LONG_AGO + 1, cut, 1, WAL_EXCL, &err), -EEXIST);
	snapshot_expect(p.dir.path, before);
	free(before);
	expect_order(p.store, "a ", "a");
	place_remove(&p);
}

/* What a cut covers is durable when it returns, what is behind it need not be. */
static void the_cut_is_made_durable(void **state)
{
	static const struct wal_cut cut[] = { { "s", 5 } };
	struct place p;
	struct wal_error err;
	uint64_t durable;

	(void)state;
	place_make(&p, NULL);
	stream_fill(p.st, 0, 10);
	wal_stream_bounds(p.st, NULL, NULL, &durable);
	assert_int_equal(durable, 0);
	assert_int_equal(restore_checkpoint(p.store, "a", LONG_AGO, cut, 1, 0, &err), 0);
	wal_stream_bounds(p.st, NULL, NULL, &durable);
	assert_true(durable >= 5);
	place_remove(&p);
}

static void checkpoints_of_a_sharded_store(void **state)
{
	static const struct wal_cut all[] = { { "shard_02", 3 }, { "shard_00", 1 }, { "shard_01", 2 } }, sorted[] = { { "shard_00", 1 }, { "shard_01", 2 }, { "shard_02", 3 } };
	struct place p = { .opts = { .sync = WAL_SYNC_ASYNC, .shards = 3 } };
	struct wal_error err;
	char path[PATH_MAX];
	size_t size;

	(void)state;
	tmpdir_make(&p.dir, "restore");
	p.store = store_open_or_fail(p.dir.path, &p.opts);
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(wal_shard_open(p.store, i, &p.st), 0);
		assert_int_equal(wal_stream_skip(p.st, i), 0);
		stream_fill(p.st, i, i + 4);
		wal_stream_close(p.st);
	}
	assert_int_equal(restore_checkpoint(p.store, "a", LONG_AGO, all, 2, 0, &err), -EINVAL);
	assert_non_null(strstr(err.message, "all 3 shards, not 2"));
	assert_int_equal(restore_checkpoint(p.store, "a", LONG_AGO, (const struct wal_cut[]){ { "shard_03", 0 } }, 1, 0, &err), -EINVAL);
	assert_non_null(strstr(err.message, "no shard 'shard_03'"));
	assert_int_equal(restore_checkpoint(p.store, "a", LONG_AGO, all, 3, 0, &err), 0);
	for (int round = 0; round < 2; round++) {
		expect_checkpoint(p.store, "a", LONG_AGO, sorted, 3);
		store_close_or_fail(p.store);
		p.store = store_open_or_fail(p.dir.path, &p.opts);
	}
	/* As the original writes it. */
	uint8_t *log = file_read(tmpdir_path(&p.dir, CKPT_LOG, path), &size);
	assert_int_equal(size, 12 + 1 + 2 + 1 + 8 + 2 + 3 * 8);
	assert_int_equal(log[12], 1);
	free(log);
	store_close_or_fail(p.store);
	tmpdir_remove(&p.dir);
}

/* ---- Segments ---- */

static void the_segments_that_are_retained(void **state)
{
	struct place p;
	uint64_t *ids;
	size_t count;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 10 });
	stream_fill(p.st, 0, 35);
	assert_int_equal(wal_stream_prune(p.st, 15, NULL), 0);
	skip_to(&p, 100);
	assert_int_equal(wal_stream_segments(p.st, &ids, &count), 0);
	assert_int_equal(count, 4);
	assert_memory_equal(ids, ((const uint64_t[]){ 10, 20, 30, 100 }), sizeof(uint64_t[4]));
	free(ids);
	place_remove(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_of_long_ago),
		cmocka_unit_test(a_process_that_dies_while_it_restores),
		cmocka_unit_test(entries_of_the_future),
		cmocka_unit_test(times_that_do_not_increase_are_made_to),
		cmocka_unit_test(times_out_of_bounds),
		cmocka_unit_test(runs_of_one_nanosecond_become_batches),
		cmocka_unit_test(a_run_larger_than_a_segment),
		cmocka_unit_test(small_frames_are_gathered),
		cmocka_unit_test(durable_only_if_it_is_asked_for),
		cmocka_unit_test(ids_that_do_not_fit),
		cmocka_unit_test(nothing_to_restore),
		cmocka_unit_test(a_store_for_reading_only),
		cmocka_unit_test(another_appender_meanwhile),
		cmocka_unit_test(a_stream_never_used_begins_elsewhere),
		cmocka_unit_test(a_stream_that_skipped_and_has_none_is_deleted),
		cmocka_unit_test(a_stream_pruned_to_its_end_goes_on_elsewhere),
		cmocka_unit_test(ids_behind_entries_are_lost),
		cmocka_unit_test(skips_one_after_the_other),
		cmocka_unit_test(offsets_are_asked_for_during_a_skip),
		cmocka_unit_test(a_skip_is_pruned),
		cmocka_unit_test(a_draft_over_a_skip),
		cmocka_unit_test(a_checkpoint_covers_what_was_skipped),
		cmocka_unit_test(a_stream_that_is_stopped),
		cmocka_unit_test(any_order_of_steps_in_every_mode),
		cmocka_unit_test(checkpoints_in_any_order),
		cmocka_unit_test(checkpoints_that_can_not_be),
		cmocka_unit_test(the_cut_is_made_durable),
		cmocka_unit_test(checkpoints_of_a_sharded_store),
		cmocka_unit_test(the_segments_that_are_retained),
	};

	return TEST_RUN(tests);
}
