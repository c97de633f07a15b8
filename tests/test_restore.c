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

static void restored_entries_keep_their_times_over_a_reopen(void **state)
{
	struct place p;
	struct given g;

	(void)state;
	place_make(&p, NULL);
	given_make(&g, 0, 100, LONG_AGO, SECOND);
	restore(p.st, &g, 0);
	stream_expect(p.st, 0, 100);
	expect_times(p.st, &g);
	assert_int_equal(wal_stream_mtime(p.st), LONG_AGO + 99 * SECOND);
	place_reopen(&p);
	stream_expect(p.st, 0, 100);
	expect_times(p.st, &g);
	assert_int_equal(wal_stream_mtime(p.st), LONG_AGO + 99 * SECOND);
	given_release(&g);
	place_remove(&p);
}

static void skip_in_a_new_stream_makes_the_first_id(void **state)
{
	struct place p;
	uint64_t first, next;

	(void)state;
	place_make(&p, NULL);
	assert_int_equal(wal_stream_skip(p.st, 1000), 0);
	wal_stream_bounds(p.st, &first, &next, NULL);
	assert_int_equal(first, 1000);
	assert_int_equal(next, 1000);
	stream_fill(p.st, 1000, 1010);
	stream_expect(p.st, 1000, 1010);
	place_reopen(&p);
	stream_expect(p.st, 1000, 1010);
	place_close(&p);
	assert_int_equal(original_check_stream(p.dir.path, "s", &first), 1010);
	assert_int_equal(first, 1000);
	place_open(&p);
	place_remove(&p);
}

static void skip_behind_entries_loses_the_ids_between(void **state)
{
	struct place p;
	struct wal_buf buf = { 0 };
	struct wal_stream_stat stat;

	(void)state;
	place_make(&p, NULL);
	stream_fill(p.st, 0, 10);
	assert_int_equal(wal_stream_skip(p.st, 50), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(wal_stream_get(p.st, 9, &buf), 0);
		assert_int_equal(wal_stream_get(p.st, 10, &buf), -EBADMSG);
		assert_int_equal(wal_stream_get(p.st, 49, &buf), -EBADMSG);
		assert_int_equal(wal_stream_get(p.st, 50, &buf), round == 0 ? WAL_NOT_FOUND : 0);
		assert_int_equal(wal_stream_stat(p.st, &stat), 0);
		assert_int_equal(stat.health, WAL_HEALTHY);
		if (round == 0)
			stream_fill(p.st, 50, 60);
		place_reopen(&p);
	}
	wal_buf_release(&buf);
	place_remove(&p);
}

static void restored_checkpoint_keeps_time_and_cuts(void **state)
{
	struct place p;
	struct wal_checkpoint *cp;
	struct wal_cut cut = { "s", 5 };
	struct wal_checkpoint given = { .id = "old", .id_size = 3, .time_ns = LONG_AGO, .cut_count = 1, .cuts = &cut };
	struct wal_error err;

	(void)state;
	place_make(&p, NULL);
	stream_fill(p.st, 0, 10);
	assert_int_equal(wal_checkpoint_restore(p.store, &given, 0, &err), 0);
	for (int round = 0; round < 2; round++) {
		assert_int_equal(wal_checkpoint_load(p.store, "old", 3, &cp), 0);
		assert_int_equal(cp->time_ns, LONG_AGO);
		assert_int_equal(cp->cut_count, 1);
		assert_int_equal(cp->cuts[0].next_id, 5);
		free(cp);
		place_reopen(&p);
	}
	place_remove(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(restored_entries_keep_their_times_over_a_reopen),
		cmocka_unit_test(skip_in_a_new_stream_makes_the_first_id),
		cmocka_unit_test(skip_behind_entries_loses_the_ids_between),
		cmocka_unit_test(restored_checkpoint_keeps_time_and_cuts),
	};

	return TEST_RUN(tests);
}
