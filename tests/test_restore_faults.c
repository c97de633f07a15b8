/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Restoring entries and checkpoints, and skipping ids, with one system call after the other failing, with all failing from some call on, as if the process had died there, and with the power cut at each
 * moment. Whatever came of it, the stream is healthy when it is opened again, has all that it had, and stands where it stood or where it was to go.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crash/powercut.h"
#include "faultsys.h"
#include "stores.h"
#include "test.h"

#define LONG_AGO INT64_C(1000000000000000000)  /* 2001 */
#define FAR_AHEAD INT64_C(4000000000000000000) /* 2096 */

enum {
	SKIP_BY = 20,
	RESTORED = 9,
	SEGMENT_ENTRIES = 4,
};

/* ---- What is there, and what is done ---- */

struct scenario {
	const char *name;
	void (*build)(struct wal_store *store, struct wal_stream *st);
	int (*run)(struct wal_store *store, struct wal_stream *st);
	uint64_t first, next;	  /* of the stream before */
	uint64_t new_first, new_next; /* and after */
	bool in_part;		  /* what fails may have got somewhere */
};

static void build_new(struct wal_store *store, struct wal_stream *st)
{
	(void)store;
	(void)st;
}

static void build_filled(struct wal_store *store, struct wal_stream *st)
{
	stream_fill(st, 0, 6);
	assert_int_equal(wal_store_sync(store), 0);
}

static void build_rotated(struct wal_store *store, struct wal_stream *st)
{
	build_filled(store, st);
	assert_int_equal(wal_stream_rotate(st), 0);
}

static void build_emptied(struct wal_store *store, struct wal_stream *st)
{
	build_rotated(store, st);
	assert_int_equal(wal_stream_prune(st, 6, NULL), 0);
}

static void build_skipped(struct wal_store *store, struct wal_stream *st)
{
	build_filled(store, st);
	assert_int_equal(wal_stream_skip(st, 10), 0);
}

static int run_skip(struct wal_store *store, struct wal_stream *st)
{
	uint64_t next;

	(void)store;
	wal_stream_bounds(st, NULL, &next, NULL);
	return wal_stream_skip(st, next + SKIP_BY);
}

/* Some in a batch, the others alone; no clock could have made them up. */
static int64_t restored_time(unsigned i)
{
	return FAR_AHEAD + (i < 3 ? 10 * (int64_t)i : i < 7 ? 100 + (int64_t)i : 1000 * (int64_t)i);
}

static int run_restore(struct wal_store *store, struct wal_stream *st)
{
	uint8_t content[RESTORED][ENTRY_SIZE_MAX];
	struct wal_entry entries[RESTORED];
	uint64_t next;
	size_t count = SIZE_MAX;

	(void)store;
	wal_stream_bounds(st, NULL, &next, NULL);
	for (unsigned i = 0; i < RESTORED; i++) {
		entries[i] = (struct wal_entry){ .id = next + i, .time_ns = restored_time(i), .data = content[i] };
		entry_content(next + i, content[i], &entries[i].size);
	}
	int result = wal_stream_restore(st, entries, RESTORED, WAL_DURABLE, &count);
	assert_true(result < 0 ? count < RESTORED : count == RESTORED);
	return result;
}

static int run_checkpoint(struct wal_store *store, struct wal_stream *st)
{
	const struct wal_cut cut = { "s", 3 };
	const struct wal_checkpoint cp = { .id = "c", .id_size = 1, .time_ns = LONG_AGO, .cut_count = 1, .cuts = &cut };
	struct wal_error err = { 0 };

	(void)st;
	int result = wal_checkpoint_restore(store, &cp, 0, &err);
	assert_true(result == 0 || err.message[0]);
	return result;
}

static const struct scenario scenarios[] = {
	{ "skip, never used", build_new, run_skip, 0, 0, 20, 20, false },
	{ "skip, emptied", build_emptied, run_skip, 6, 6, 26, 26, false },
	{ "skip, filled", build_filled, run_skip, 0, 6, 0, 26, false },
	{ "skip, rotated", build_rotated, run_skip, 0, 6, 0, 26, false },
	{ "skip, skipped", build_skipped, run_skip, 0, 10, 0, 30, false },
	{ "restore, never used", build_new, run_restore, 0, 0, 0, 9, true },
	{ "restore, filled", build_filled, run_restore, 0, 6, 0, 15, true },
	{ "checkpoint", build_filled, run_checkpoint, 0, 6, 0, 6, true },
};

/* ---- What must hold ---- */

static const struct wal_options options = { .sync = WAL_SYNC_ASYNC, .segment_entries = SEGMENT_ENTRIES };

static bool is_lost(const struct scenario *s, uint64_t id)
{
	return (s->build == build_skipped && id >= 6 && id < 10) || (s->run == run_skip && id >= s->next && id < s->new_next);
}

static void expect_entries(const struct scenario *s, struct wal_stream *st, uint64_t first, uint64_t next)
{
	uint8_t content[ENTRY_SIZE_MAX];
	struct wal_buf buf = { 0 };

	for (uint64_t id = first; id < next; id++) {
		size_t size;
		const void *data = entry_content(id, content, &size);
		int r = wal_stream_get(st, id, &buf);

		if (r != (is_lost(s, id) ? -EBADMSG : 0))
			fail_msg("%s: id %" PRIu64 ": %s", s->name, id, wal_strerror(r));
		if (r == 0) {
			assert_int_equal(buf.size, size);
			assert_memory_equal(buf.data, data, size);
		}
	}
	wal_buf_release(&buf);
}

/* Those that were restored have the times that they had. */
static void expect_times(const struct scenario *s, struct wal_stream *st, const char *when)
{
	uint64_t next;

	wal_stream_bounds(st, NULL, &next, NULL);
	for (uint64_t id = s->next; s->run == run_restore && id < next && id < s->new_next; id++) {
		struct wal_entry_info info;

		assert_int_equal(wal_stream_lookup(st, id, &info), 0);
		if (info.time_ns != restored_time((unsigned)(id - s->next)))
			fail_msg("%s, %s: id %" PRIu64 " has the time %" PRId64 ", expected %" PRId64, s->name, when, id, info.time_ns,
				 restored_time((unsigned)(id - s->next)));
	}
}

static bool is_healthy(struct wal_stream *st, char reason[256])
{
	struct wal_stream_stat stat;

	assert_int_equal(wal_stream_stat(st, &stat), 0);
	strcpy(reason, stat.reason);
	return stat.health == WAL_HEALTHY;
}

/* The stream stands where it stood (if `old`), or where it was to go. Returns its next id. */
static uint64_t expect_state(const struct scenario *s, struct wal_store *store, bool old, bool power_cut, const char *when)
{
	struct wal_stream *st = stream_open_or_fail(store, "s");
	char reason[256];
	uint64_t first, next;

	wal_stream_bounds(st, &first, &next, NULL);
	if (!is_healthy(st, reason))
		fail_msg("%s, %s: %s", s->name, when, reason);
	bool is_new = first == s->new_first && next == s->new_next, is_old = first == s->first && next == s->next;
	if (!is_new && !(old && (is_old || (s->in_part && first == s->first && next > s->next && next < s->new_next))))
		fail_msg("%s, %s: ids %" PRIu64 " to %" PRIu64, s->name, when, first, next);
	expect_entries(s, st, first, next);
	/* The death of the process costs none; a power cut those that were not acknowledged. */
	if (!power_cut || !old)
		expect_times(s, st, when);
	if (s->run == run_checkpoint) {
		struct wal_checkpoint *cp;
		int r = wal_checkpoint_load(store, "c", 1, &cp);

		assert_true(r == 0 || (old && r == WAL_NOT_FOUND));
		if (r == 0) {
			assert_int_equal(cp->time_ns, LONG_AGO);
			assert_int_equal(cp->cuts[0].next_id, 3);
			free(cp);
		}
	}
	wal_stream_close(st);
	return next;
}

/* It goes on, and is as it was left when it is opened again; what was lost stays so. */
static void expect_goes_on(const struct scenario *s, struct sys *sys, uint64_t next)
{
	struct wal_store *store;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t end;
		char reason[256];

		assert_int_equal(store_open(sys, "/store", &options, &store, NULL), 0);
		struct wal_stream *st = stream_open_or_fail(store, "s");
		wal_stream_bounds(st, NULL, &end, NULL);
		assert_int_equal(end, next + 5 * i);
		/* If the ids to be skipped are there after all, they are no loss. */
		if (next >= s->new_next)
			expect_entries(s, st, s->new_first, end);
		stream_fill(st, end, end + 5);
		assert_true(is_healthy(st, reason));
		wal_stream_close(st);
		assert_int_equal(wal_store_close(store), 0);
	}
}

/* wal_verify() looks at the disk of the test. */
static struct sys *disk_of_the_test;
struct sys *__wrap_sys_real(void);

struct sys *__wrap_sys_real(void)
{
	return disk_of_the_test;
}

static void expect_verified(const struct scenario *s, struct sys *sys)
{
	struct wal_check_result result;
	const struct wal_check check = { 0 };

	disk_of_the_test = sys;
	assert_int_equal(wal_verify("/store", NULL, &check, &result, NULL), 0);
	if (result.findings[WAL_FINDING_DAMAGE] || result.findings[WAL_FINDING_ERROR] || result.findings[WAL_FINDING_CACHE])
		fail_msg("%s: wal_verify() finds %" PRIu64 " damages", s->name, result.findings[WAL_FINDING_DAMAGE]);
}

/* ---- Calls that fail ---- */

enum what_fails { ONE, ALL_FROM_THERE, WRITE_SHORT };

/* True if the fault came up. */
static bool try_fault(struct memfs *fs, const struct scenario *s, unsigned nth, enum what_fails what, int error)
{
	struct faultsys f;
	struct wal_store *store;
	uint64_t next;
	char when[64], reason[256];

	snprintf(when, sizeof when, "call %u, kind %u, error %d", nth, what, error);
	memfs_reset(fs);
	faultsys_init(&f);
	f.real = &fs->sys;
	assert_int_equal(store_open(&f.sys, "/store", &options, &store, NULL), 0);
	struct wal_stream *st = stream_open_or_fail(store, "s");
	s->build(store, st);
	faultsys_fail(&f, what == WRITE_SHORT ? FAULT_PWRITEV : FAULT_ANY, nth, error);
	f.sticky = what == ALL_FROM_THERE;
	f.short_write = what == WRITE_SHORT;
	int result = s->run(store, st);
	bool hit = faultsys_hit(&f);
	if (result != 0 && !hit)
		fail_msg("%s, %s: %s", s->name, when, wal_strerror(result));
	wal_stream_bounds(st, NULL, &next, NULL);
	assert_true(result != 0 || next == s->new_next);
	assert_true(result == 0 || s->in_part || next == s->next);
	/* As it goes on, the fault being gone. */
	uint64_t appended = 0;
	if (what != ALL_FROM_THERE)
		faultsys_fail(&f, FAULT_ANY, 0, 0);
	if (what != ALL_FROM_THERE && is_healthy(st, reason)) {
		stream_fill(st, next, next + 3);
		appended = 3;
	}
	wal_stream_close(st);
	wal_store_close(store);
	faultsys_fail(&f, FAULT_ANY, 0, 0);
	assert_int_equal(f.open_fds, 0);
	assert_int_equal(f.mapped, 0);

	assert_int_equal(store_open(&fs->sys, "/store", &options, &store, NULL), 0);
	if (appended > 0) {
		uint64_t got;

		st = stream_open_or_fail(store, "s");
		wal_stream_bounds(st, NULL, &got, NULL);
		if (!is_healthy(st, reason))
			fail_msg("%s, %s: %s", s->name, when, reason);
		assert_int_equal(got, next + appended);
		wal_stream_close(st);
		next = got;
	} else {
		next = expect_state(s, store, result != 0, false, when);
	}
	store_close_or_fail(store);
	if (result == 0 || appended == 0)
		expect_goes_on(s, &fs->sys, next);
	expect_verified(s, &fs->sys);
	return hit;
}

static void sweep(enum what_fails what, int error)
{
	struct memfs fs;

	memfs_init(&fs);
	for (size_t i = 0; i < TEST_COUNT(scenarios); i++) {
		unsigned nth = 1;

		while (try_fault(&fs, &scenarios[i], nth, what, error))
			nth++;
		assert_true(nth > 1);
	}
	memfs_release(&fs);
}

static void each_call_fails(void **state)
{
	(void)state;
	sweep(ONE, EIO);
}

static void the_disk_is_full_from_some_call_on(void **state)
{
	(void)state;
	sweep(ALL_FROM_THERE, ENOSPC);
}

static void each_write_is_cut_short(void **state)
{
	(void)state;
	sweep(WRITE_SHORT, ENOSPC);
}

/* Times are written before the entries that they are for. When these come to nothing, others that get their ids do not get their times. */
static void a_process_that_dies_after_a_restore_that_failed(void **state)
{
	const struct scenario *s = &scenarios[5];
	struct wal_entry_info info;
	struct wal_store *store;
	struct faultsys f;
	struct memfs fs;
	uint64_t next;

	(void)state;
	memfs_init(&fs);
	faultsys_init(&f);
	f.real = &fs.sys;
	assert_int_equal(store_open(&f.sys, "/store", &options, &store, NULL), 0);
	struct wal_stream *st = stream_open_or_fail(store, "s");
	faultsys_fail(&f, FAULT_PWRITEV, 2, EIO);
	assert_int_equal(s->run(store, st), -EIO);
	assert_true(faultsys_hit(&f));
	faultsys_fail(&f, FAULT_ANY, 0, 0);
	wal_stream_bounds(st, NULL, &next, NULL);
	assert_int_equal(next, 0);
	stream_fill(st, 0, 2);
	wal_stream_close(st);
	memfs_set_dead(&fs, true);
	wal_store_close(store);
	memfs_set_dead(&fs, false);

	assert_int_equal(store_open(&fs.sys, "/store", &options, &store, NULL), 0);
	st = stream_open_or_fail(store, "s");
	stream_expect(st, 0, 2);
	for (uint64_t id = 0; id < 2; id++) {
		assert_int_equal(wal_stream_lookup(st, id, &info), 0);
		assert_true(info.time_ns < FAR_AHEAD);
	}
	wal_stream_close(st);
	store_close_or_fail(store);
	memfs_release(&fs);
}

/* ---- Power cuts ---- */

enum { STATES = 5 };

static void look_after_power_cut(const struct scenario *s, struct memfs *disk, bool acknowledged, size_t at)
{
	struct wal_store *store;
	char when[64];

	snprintf(when, sizeof when, "power cut at event %zu%s", at, acknowledged ? ", when it was done" : "");
	/* Looking changes nothing, and sees the same. */
	struct wal_options ro = options;
	ro.ro = true;
	assert_int_equal(store_open(&disk->sys, "/store", &ro, &store, NULL), 0);
	uint64_t seen = expect_state(s, store, !acknowledged, true, when);
	assert_int_equal(wal_store_close(store), 0);
	assert_int_equal(store_open(&disk->sys, "/store", &options, &store, NULL), 0);
	uint64_t next = expect_state(s, store, !acknowledged, true, when);
	assert_int_equal(next, seen);
	assert_int_equal(wal_store_close(store), 0);
	expect_goes_on(s, &disk->sys, next);
}

static void cut_power(const struct scenario *s)
{
	struct trace trace = { 0 };
	struct chooser c = { 0 };
	struct wal_store *store;
	struct powercut pc;
	struct memfs fs, empty, disk;

	memfs_init(&fs);
	memfs_init(&empty);
	memfs_init(&disk);
	fs.trace = &trace;
	assert_int_equal(store_open(&fs.sys, "/store", &options, &store, NULL), 0);
	struct wal_stream *st = stream_open_or_fail(store, "s");
	s->build(store, st);
	size_t begin = trace.count;
	assert_int_equal(s->run(store, st), 0);
	size_t end = trace.count;
	wal_stream_close(st);
	memfs_set_dead(&fs, true);
	wal_store_close(store);
	memfs_set_dead(&fs, false);

	powercut_init(&pc, &empty, &trace);
	while (pc.at < begin)
		powercut_step(&pc);
	for (;; powercut_step(&pc)) {
		chooser_begin(&c);
		for (unsigned i = 0; i < STATES; i++) {
			if (i > 0)
				chooser_randomize(&c, i % 5 * 25);
			powercut_state(&pc, &c, &disk);
			look_after_power_cut(s, &disk, pc.at == end, pc.at);
		}
		if (pc.at == end)
			break;
	}
	chooser_release(&c);
	powercut_release(&pc);
	memfs_release(&fs);
	memfs_release(&empty);
	memfs_release(&disk);
	trace_release(&trace);
}

static void power_cut_at_each_moment(void **state)
{
	(void)state;
	for (size_t i = 0; i < TEST_COUNT(scenarios); i++)
		cut_power(&scenarios[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_call_fails),
		cmocka_unit_test(the_disk_is_full_from_some_call_on),
		cmocka_unit_test(each_write_is_cut_short),
		cmocka_unit_test(a_process_that_dies_after_a_restore_that_failed),
		cmocka_unit_test(power_cut_at_each_moment),
	};

	return TEST_RUN(tests);
}
