/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dropping old segments: which go for which id, and what everybody who looks at the stream sees afterwards. Without a crash and without other threads; those are in the
 * crash tests and in test_threads_prune.c.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "damage.h"
#include "faultsys.h"
#include "fixtures.h"
#include "frames.h"
#include "original.h"
#include "snapshot.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

/* The stream of most tests: segments 0, 10, 20 and the active 30, which holds 30 … 34. */
enum {
	EACH = 10,
	ACTIVE = 30,
	NEXT = 35,
};

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

static void place_make(struct place *p)
{
	*p = (struct place){ .opts = { .segment_entries = EACH, .sync = WAL_SYNC_ASYNC } };
	tmpdir_make(&p->dir, "prune");
	place_open(p);
}

static void place_make_filled(struct place *p)
{
	place_make(p);
	stream_fill(p->st, 0, NEXT);
}

static void place_remove(struct place *p)
{
	place_close(p);
	tmpdir_remove(&p->dir);
}

static void place_reopen(struct place *p)
{
	place_close(p);
	place_open(p);
}

static uint64_t prune(struct place *p, uint64_t id)
{
	uint64_t segments = UINT64_MAX;
	int r = wal_stream_prune(p->st, id, &segments);

	if (r != 0)
		fail_msg("cannot prune to %" PRIu64 ": %s", id, wal_strerror(r));
	return segments;
}

static struct wal_stream_stat stat_of(struct place *p)
{
	struct wal_stream_stat stat;

	assert_int_equal(wal_stream_stat(p->st, &stat), 0);
	return stat;
}

static size_t size_of(uint64_t id)
{
	uint8_t buf[ENTRY_SIZE_MAX];
	size_t size;

	entry_content(id, buf, &size);
	return size;
}

static uint64_t bytes_of(uint64_t first, uint64_t next)
{
	uint64_t bytes = 0;

	for (uint64_t id = first; id < next; id++)
		bytes += size_of(id);
	return bytes;
}

static bool file_there(struct place *p, uint64_t first_id, const char *suffix)
{
	char path[PATH_MAX];

	return access(segment_path(p->dir.path, "s", first_id, suffix, path), F_OK) == 0;
}

/* Of each segment that begins below `first` neither file is there, of each other both are. */
static void expect_files(struct place *p, uint64_t first, uint64_t active)
{
	for (uint64_t id = 0; id <= active; id += EACH) {
		assert_int_equal(file_there(p, id, ".wal"), id >= first);
		assert_int_equal(file_there(p, id, ".meta"), id >= first);
	}
}

/* ---- Which segments go ---- */

static void each_id_drops_what_is_wholly_below_it(void **state)
{
	static const struct {
		uint64_t id, segments;
	} cases[] = {
		{ 0, 0 },  { 1, 0 },  { 9, 0 },	 { 10, 1 }, { 11, 1 },	 { 19, 1 },	  { 20, 2 },	     { 29, 2 },	     { 30, 3 },
		{ 31, 3 }, { 34, 3 }, { 35, 3 }, { 36, 3 }, { 1000, 3 }, { INT64_MAX, 3 }, { UINT64_MAX - 1, 3 }, { UINT64_MAX, 3 },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		uint64_t first = cases[i].segments * EACH;
		struct place p;

		place_make_filled(&p);
		assert_int_equal(prune(&p, cases[i].id), cases[i].segments);
		expect_files(&p, first, ACTIVE);
		stream_expect(p.st, first, NEXT);
		assert_int_equal(prune(&p, cases[i].id), 0);
		place_reopen(&p);
		expect_files(&p, first, ACTIVE);
		stream_expect(p.st, first, NEXT);
		assert_int_equal(prune(&p, cases[i].id), 0);
		place_remove(&p);
	}
}

static void the_count_may_be_left_out(void **state)
{
	struct place p;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(wal_stream_prune(p.st, 25, NULL), 0);
	stream_expect(p.st, 20, NEXT);
	place_remove(&p);
}

static void segment_after_segment(void **state)
{
	struct place p;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(prune(&p, 10), 1);
	assert_int_equal(prune(&p, 5), 0); /* what is gone already */
	assert_int_equal(prune(&p, 25), 1);
	stream_fill(p.st, NEXT, 52);
	assert_int_equal(prune(&p, 52), 3);
	stream_expect(p.st, 50, 52);
	place_reopen(&p);
	stream_expect(p.st, 50, 52);
	place_remove(&p);
}

static void an_empty_stream(void **state)
{
	struct place p;

	(void)state;
	place_make(&p);
	assert_int_equal(prune(&p, 0), 0);
	assert_int_equal(prune(&p, UINT64_MAX), 0);
	expect_files(&p, 0, 0);
	stream_fill(p.st, 0, 1);
	place_remove(&p);
}

static void the_active_segment_stays(void **state)
{
	struct place p;

	(void)state;
	place_make(&p);
	stream_fill(p.st, 0, EACH);
	assert_int_equal(prune(&p, UINT64_MAX), 0); /* full, and still active */
	expect_files(&p, 0, 0);
	stream_fill(p.st, EACH, EACH + 1);
	assert_int_equal(prune(&p, UINT64_MAX), 1);
	stream_expect(p.st, EACH, EACH + 1);
	place_remove(&p);
}

static void expect_empty(struct place *p, uint64_t next)
{
	struct wal_stream_stat stat = stat_of(p);
	struct wal_buf buf = { 0 };
	uint64_t first, end;

	wal_stream_bounds(p->st, &first, &end, NULL);
	assert_int_equal(first, next);
	assert_int_equal(end, next);
	assert_int_equal(stat.first_id, next);
	assert_int_equal(stat.next_id, next);
	assert_int_equal(stat.durable_id, next);
	assert_int_equal(stat.entries, 0);
	assert_int_equal(stat.payload_bytes, 0);
	assert_int_equal(stat.segments, 1);
	assert_int_equal(stat.active_segment_id, next);
	assert_int_equal(wal_stream_get(p->st, next, &buf), WAL_NOT_FOUND);
	assert_int_equal(wal_stream_get(p->st, next - 1, &buf), WAL_PRUNED);
	wal_buf_release(&buf);
}

static void all_of_it_after_a_rotation(void **state)
{
	struct place p;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	assert_int_equal(prune(&p, NEXT - 1), 3); /* the last entry is not below it */
	assert_int_equal(prune(&p, NEXT), 1);
	expect_empty(&p, NEXT);
	place_remove(&p);
}

/* ---- Ids ---- */

/* Nothing but the index remembers where the stream stands, over any number of opens. */
static void ids_go_on_after_everything_was_pruned(void **state)
{
	struct place p;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	assert_int_equal(prune(&p, UINT64_MAX), 4);
	for (int i = 0; i < 3; i++) {
		place_reopen(&p);
		expect_empty(&p, NEXT);
	}
	stream_fill(p.st, NEXT, NEXT + 3);
	place_reopen(&p);
	stream_expect(p.st, NEXT, NEXT + 3);
	place_remove(&p);
}

/* The last segment's files may get lost, the sidecar of an empty one too; the index has its id. */
static void ids_go_on_without_any_segment(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	assert_int_equal(prune(&p, UINT64_MAX), 4);
	place_close(&p);
	assert_int_equal(unlink(segment_path(p.dir.path, "s", NEXT, ".wal", path)), 0);
	assert_int_equal(unlink(segment_path(p.dir.path, "s", NEXT, ".meta", path)), 0);
	place_open(&p);
	stream_fill(p.st, NEXT, NEXT + 3);
	stream_expect(p.st, NEXT, NEXT + 3);
	place_remove(&p);
}

/* A stream that was pruned empty can be deleted; one of its name is another one, from 0 on, with nothing of the first. */
static void deleted_after_everything_was_pruned(void **state)
{
	struct wal_stream *old;
	struct wal_buf buf = { 0 };
	uint64_t segments = 7;
	struct place p;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(prune(&p, UINT64_MAX), 3);
	assert_int_equal(wal_stream_delete(p.store, "s"), -ENOTEMPTY);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	assert_int_equal(prune(&p, UINT64_MAX), 1);
	assert_int_equal(wal_stream_delete(p.store, "s"), 0);
	old = p.st;
	assert_int_equal(wal_stream_prune(old, 0, &segments), -ENOENT);
	assert_int_equal(segments, 0);
	p.st = stream_open_or_fail(p.store, "s");
	assert_ptr_not_equal(p.st, old);
	wal_stream_close(old);
	stream_fill(p.st, 0, 15);
	assert_int_equal(wal_stream_get(p.st, NEXT - 1, &buf), WAL_NOT_FOUND);
	wal_buf_release(&buf);
	place_reopen(&p);
	stream_expect(p.st, 0, 15);
	place_remove(&p);
}

/* ---- What is seen afterwards ---- */

static void figures(void **state)
{
	struct wal_stream_stat before, after;
	uint64_t first, next, durable;
	int64_t mtime;
	struct place p;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(wal_stream_sync(p.st), 0);
	before = stat_of(&p);
	mtime = wal_stream_mtime(p.st);
	assert_int_equal(before.segments, 4);
	assert_int_equal(before.payload_bytes, bytes_of(0, NEXT));
	assert_int_equal(prune(&p, 25), 2);
	wal_stream_bounds(p.st, &first, &next, &durable);
	assert_int_equal(first, 20);
	assert_int_equal(next, NEXT);
	assert_int_equal(durable, NEXT);
	after = stat_of(&p);
	assert_int_equal(after.first_id, 20);
	assert_int_equal(after.next_id, NEXT);
	assert_int_equal(after.entries, NEXT - 20);
	assert_int_equal(after.payload_bytes, bytes_of(20, NEXT));
	assert_int_equal(after.segments, 2);
	assert_int_equal(after.active_segment_id, ACTIVE);
	assert_int_equal(after.last_append_ns, before.last_append_ns);
	assert_int_equal(after.health, WAL_HEALTHY);
	assert_int_equal(wal_stream_mtime(p.st), mtime);
	assert_true(after.disk_bytes < before.disk_bytes);
	place_remove(&p);
}

/* Each entry keeps its time. */
static void lookups(void **state)
{
	struct wal_entry_info before[NEXT], after;
	struct place p;

	(void)state;
	place_make_filled(&p);
	for (uint64_t id = 0; id < NEXT; id++)
		assert_int_equal(wal_stream_lookup(p.st, id, &before[id]), 0);
	assert_int_equal(prune(&p, 20), 2);
	for (int round = 0; round < 2; round++) {
		for (uint64_t id = 0; id < 20; id++)
			assert_int_equal(wal_stream_lookup(p.st, id, &after), WAL_PRUNED);
		for (uint64_t id = 20; id < NEXT; id++) {
			assert_int_equal(wal_stream_lookup(p.st, id, &after), 0);
			assert_int_equal(after.id, id);
			assert_int_equal(after.size, before[id].size);
			assert_int_equal(after.time_ns, before[id].time_ns);
		}
		assert_int_equal(wal_stream_lookup(p.st, NEXT, &after), WAL_NOT_FOUND);
		place_reopen(&p);
	}
	place_remove(&p);
}

/* Outputs are written only when something was found. */
static void what_is_gone_is_pruned_for_every_way_of_reading(void **state)
{
	struct wal_entry_info info = { .id = 77 };
	struct wal_reader *reader = NULL;
	struct wal_entry entries[4];
	struct wal_buf buf = { 0 };
	size_t count = 77;
	struct place p;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(prune(&p, 20), 2);
	for (uint64_t id = 0; id < 20; id++) {
		assert_int_equal(wal_stream_get(p.st, id, &buf), WAL_PRUNED);
		assert_int_equal(wal_stream_lookup(p.st, id, &info), WAL_PRUNED);
		assert_int_equal(wal_stream_get_batch(p.st, id, TEST_COUNT(entries), 1 << 20, &buf, entries, &count), WAL_PRUNED);
		assert_int_equal(wal_reader_open(p.st, id, &reader, &info), WAL_PRUNED);
	}
	assert_int_equal(info.id, 77);
	assert_int_equal(count, 77);
	assert_null(reader);
	wal_buf_release(&buf);
	place_remove(&p);
}

/* What was read before is in no cache. */
static void cached_entries_are_gone_too(void **state)
{
	struct iovec iov[3] = { { (void *)"one", 3 }, { (void *)"two", 3 }, { (void *)"three", 5 } };
	struct wal_buf buf = { 0 };
	struct place p;
	uint64_t id;

	(void)state;
	place_make(&p);
	for (uint64_t i = 0; i < 30; i += 3)
		assert_int_equal(wal_stream_append_batch(p.st, iov, 3, 0, &id), 0);
	for (uint64_t i = 0; i < 30; i++)
		assert_int_equal(wal_stream_get(p.st, i, &buf), 0);
	uint64_t segments = prune(&p, 20);
	wal_stream_bounds(p.st, &id, NULL, NULL);
	assert_true(segments == 2 && id == 18); /* nine to a segment */
	for (uint64_t i = 0; i < 30; i++)
		assert_int_equal(wal_stream_get(p.st, i, &buf), i < id ? WAL_PRUNED : 0);
	wal_buf_release(&buf);
	place_remove(&p);
}

/* ---- The stream as one text ---- */

static void expect_offsets(struct place *p, uint64_t first, uint64_t next, uint64_t base)
{
	uint64_t offset = base + bytes_of(0, first), found, skip, at;

	for (uint64_t id = first; id < next; id++) {
		assert_int_equal(wal_stream_offset_of(p->st, id, &at), 0);
		assert_int_equal(at, offset);
		assert_int_equal(wal_stream_id_at(p->st, offset, &found, &skip), 0);
		assert_int_equal(found, id);
		assert_int_equal(skip, 0);
		offset += size_of(id);
		assert_int_equal(wal_stream_id_at(p->st, offset - 1, &found, &skip), 0);
		assert_int_equal(found, id);
		assert_int_equal(skip, size_of(id) - 1);
	}
	assert_int_equal(wal_stream_offset_of(p->st, next, &at), 0);
	assert_int_equal(at, offset);
	assert_int_equal(wal_stream_id_at(p->st, offset, &found, &skip), WAL_NOT_FOUND);
	assert_int_equal(wal_stream_offset_of(p->st, next + 1, &at), WAL_NOT_FOUND);
	for (uint64_t id = 0; id < first; id++)
		assert_int_equal(wal_stream_offset_of(p->st, id, &at), WAL_PRUNED);
	for (uint64_t before = base; before < base + bytes_of(0, first); before++)
		assert_int_equal(wal_stream_id_at(p->st, before, &found, &skip), WAL_PRUNED);
}

static void offsets_do_not_move(void **state)
{
	struct place p;

	(void)state;
	place_make_filled(&p);
	expect_offsets(&p, 0, NEXT, 0);
	assert_int_equal(prune(&p, 15), 1);
	expect_offsets(&p, 10, NEXT, 0);
	assert_int_equal(prune(&p, UINT64_MAX), 2);
	expect_offsets(&p, 30, NEXT, 0);
	stream_fill(p.st, NEXT, 47);
	expect_offsets(&p, 30, 47, 0);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	assert_int_equal(prune(&p, UINT64_MAX), 2);
	expect_offsets(&p, 47, 47, 0);
	stream_fill(p.st, 47, 60);
	expect_offsets(&p, 47, 60, 0);
	place_remove(&p);
}

/* They count from the first entry that is retained when the first of them is asked for. */
static void offsets_first_asked_for_after_a_prune(void **state)
{
	struct place p;
	uint64_t at, found, skip;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(prune(&p, 10), 1);
	assert_int_equal(wal_stream_offset_of(p.st, 10, &at), 0);
	assert_int_equal(at, 0);
	assert_int_equal(prune(&p, 20), 1);
	assert_int_equal(wal_stream_offset_of(p.st, 20, &at), 0);
	assert_int_equal(at, bytes_of(10, 20));
	assert_int_equal(wal_stream_id_at(p.st, 0, &found, &skip), WAL_PRUNED);
	place_reopen(&p);
	assert_int_equal(wal_stream_id_at(p.st, 0, &found, &skip), 0);
	assert_int_equal(found, 20);
	assert_int_equal(wal_stream_offset_of(p.st, 30, &at), 0);
	assert_int_equal(at, bytes_of(20, 30));
	place_remove(&p);
}

/* Sums known of some segments only. */
static void offsets_asked_for_with_more_segments_each_time(void **state)
{
	struct place p;
	uint64_t at;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(wal_stream_offset_of(p.st, 0, &at), 0);
	assert_int_equal(prune(&p, 10), 1);
	stream_fill(p.st, NEXT, 55);
	assert_int_equal(prune(&p, 40), 3);
	expect_offsets(&p, 40, 55, 0);
	stream_fill(p.st, 55, 75);
	assert_int_equal(prune(&p, 70), 3);
	expect_offsets(&p, 70, 75, 0);
	assert_int_equal(stat_of(&p).payload_bytes, bytes_of(70, 75));
	place_remove(&p);
}

/* ---- Iterators and readers ---- */

static struct wal_iter *iter_at(struct place *p, uint64_t id)
{
	struct wal_iter *it;

	assert_int_equal(wal_iter_new(p->st, id, &it), 0);
	return it;
}

static void expect_entry(struct wal_iter *it, uint64_t id)
{
	uint8_t buf[ENTRY_SIZE_MAX];
	struct wal_entry e;
	size_t size;

	assert_int_equal(wal_iter_next(it, &e), 0);
	assert_int_equal(e.id, id);
	entry_content(id, buf, &size);
	assert_int_equal(e.size, size);
	assert_memory_equal(e.data, buf, size);
}

static void expect_pruned(struct wal_iter *it, uint64_t first, uint64_t next)
{
	struct wal_entry e;

	assert_int_equal(wal_iter_next(it, &e), WAL_PRUNED);
	assert_int_equal(e.id, first);
	assert_int_equal(e.size, next - first);
}

static void expect_end(struct wal_iter *it)
{
	struct wal_entry e;

	assert_int_equal(wal_iter_next(it, &e), WAL_END);
}

static void an_iterator_that_has_not_begun(void **state)
{
	struct place p;

	(void)state;
	place_make_filled(&p);
	struct wal_iter *at_0 = iter_at(&p, 0), *at_5 = iter_at(&p, 5), *at_19 = iter_at(&p, 19), *at_20 = iter_at(&p, 20), *at_end = iter_at(&p, NEXT);

	assert_int_equal(prune(&p, 20), 2);
	expect_pruned(at_0, 0, 20);
	expect_entry(at_0, 20);
	expect_pruned(at_5, 5, 20);
	expect_entry(at_5, 20);
	expect_pruned(at_19, 19, 20);
	expect_entry(at_19, 20);
	expect_entry(at_20, 20);
	expect_end(at_end);
	struct wal_iter *later = iter_at(&p, 5);
	expect_entry(later, 20); /* made after the prune: nothing was pruned meanwhile */
	wal_iter_seek(later, 3);
	expect_pruned(later, 3, 20);
	expect_entry(later, 20);
	wal_iter_seek(later, 33);
	expect_entry(later, 33);
	wal_iter_free(later);
	wal_iter_free(at_0);
	wal_iter_free(at_5);
	wal_iter_free(at_19);
	wal_iter_free(at_20);
	wal_iter_free(at_end);
	place_remove(&p);
}

/* It may have read ahead: what it still gives is right, and then it says what it passed over, up to the first that is retained. */
static void expect_rest(struct wal_iter *it, uint64_t id, uint64_t first, uint64_t next)
{
	uint8_t buf[ENTRY_SIZE_MAX];
	bool said = false;
	struct wal_entry e;
	size_t size;
	int r;

	while ((r = wal_iter_next(it, &e)) != WAL_END) {
		assert_int_equal(e.id, id);
		if (r == WAL_PRUNED) {
			assert_false(said);
			assert_true(e.size > 0);
			assert_int_equal(e.id + e.size, first);
			id = first;
			said = true;
			continue;
		}
		assert_int_equal(r, 0);
		entry_content(id, buf, &size);
		assert_int_equal(e.size, size);
		assert_memory_equal(e.data, buf, size);
		id++;
	}
	assert_int_equal(id, next);
}

static void an_iterator_in_the_middle(void **state)
{
	static const enum wal_read reads[] = { WAL_READ_IO, WAL_READ_MMAP };
	static const uint64_t prunes[] = { 10, 20, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(reads) * TEST_COUNT(prunes); i++) {
		for (uint64_t at = 0; at <= NEXT; at += 3) {
			uint64_t first;
			struct place p;

			place_make_filled(&p);
			p.opts.read = reads[i % 2];
			place_reopen(&p);
			struct wal_iter *it = iter_at(&p, 0);
			for (uint64_t id = 0; id < at; id++)
				expect_entry(it, id);
			prune(&p, prunes[i / 2]);
			wal_stream_bounds(p.st, &first, NULL, NULL);
			expect_rest(it, at, first, NEXT);
			stream_fill(p.st, NEXT, NEXT + 1);
			expect_entry(it, NEXT);
			wal_iter_free(it);
			place_remove(&p);
		}
	}
}

static void an_iterator_over_all_of_it(void **state)
{
	struct place p;

	(void)state;
	place_make_filled(&p);
	struct wal_iter *it = iter_at(&p, 0), *end = iter_at(&p, NEXT);

	expect_entry(it, 0);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	assert_int_equal(prune(&p, UINT64_MAX), 4);
	expect_rest(it, 1, NEXT, NEXT);
	expect_end(end);
	stream_fill(p.st, NEXT, NEXT + 2);
	expect_entry(it, NEXT);
	expect_entry(end, NEXT);
	expect_entry(end, NEXT + 1);
	wal_iter_free(it);
	wal_iter_free(end);
	place_remove(&p);
}

/* Each prune is told of by itself. */
static void an_iterator_that_lags_behind_twice(void **state)
{
	struct place p;

	(void)state;
	place_make_filled(&p);
	struct wal_iter *it = iter_at(&p, 0);
	assert_int_equal(prune(&p, 10), 1);
	expect_pruned(it, 0, 10);
	assert_int_equal(prune(&p, 30), 2);
	expect_pruned(it, 10, 30);
	expect_entry(it, 30);
	wal_iter_free(it);
	place_remove(&p);
}

enum { LARGE = 9 << 20 };

static void append_large(struct place *p, uint8_t *data)
{
	uint64_t id;

	for (size_t i = 0; i < LARGE; i++)
		data[i] = (uint8_t)(i * 7 ^ i >> 11);
	assert_int_equal(wal_stream_append(p->st, data, LARGE, 0, &id), 0);
	assert_int_equal(id, 0);
}

/* Reads all of it from `offset` on, or until WAL_PRUNED. */
static void expect_right_or_pruned(struct wal_reader *reader, const uint8_t *data, size_t offset)
{
	uint8_t buf[40000];
	size_t got;

	for (; offset < LARGE; offset += got) {
		int r = wal_reader_read(reader, buf, sizeof(buf), offset, &got);

		if (r == WAL_PRUNED)
			return;
		assert_int_equal(r, 0);
		assert_true(got > 0);
		assert_memory_equal(buf, data + offset, got);
	}
	assert_int_equal(wal_reader_read(reader, buf, sizeof(buf), LARGE, &got), 0);
	assert_int_equal(got, 0);
}

/* One that has begun and one that has not; with a mapping under them and without. */
static void open_readers(void **state)
{
	static const struct wal_options variants[] = {
		{ .segment_entries = 1, .sync = WAL_SYNC_ASYNC },
		{ .segment_entries = 1, .sync = WAL_SYNC_ASYNC, .read = WAL_READ_MMAP },
		{ .segment_entries = 1, .sync = WAL_SYNC_ASYNC, .compression = WAL_COMPRESSION_LZ4, .read = WAL_READ_MMAP },
	};
	uint8_t *data = malloc(LARGE);

	(void)state;
	assert_non_null(data);
	for (size_t i = 0; i < TEST_COUNT(variants); i++) {
		struct wal_reader *begun, *fresh;
		struct wal_entry_info info;
		uint8_t buf[1000];
		size_t got;
		struct place p;

		place_make(&p);
		p.opts = variants[i];
		place_reopen(&p);
		append_large(&p, data);
		stream_fill(p.st, 1, 3);
		assert_int_equal(wal_reader_open(p.st, 0, &begun, &info), 0);
		assert_int_equal(info.size, LARGE);
		assert_int_equal(wal_reader_open(p.st, 0, &fresh, NULL), 0);
		assert_int_equal(wal_reader_read(begun, buf, sizeof(buf), 0, &got), 0);
		assert_memory_equal(buf, data, got);
		assert_int_equal(prune(&p, 1), 1);
		expect_right_or_pruned(begun, data, got);
		expect_right_or_pruned(fresh, data, 0);
		wal_reader_close(begun);
		wal_reader_close(fresh);
		assert_int_equal(wal_reader_open(p.st, 0, &fresh, NULL), WAL_PRUNED);
		place_remove(&p);
	}
	free(data);
}

/* Descriptors and maps of what was dropped are given back. */
static void nothing_of_it_stays_open(void **state)
{
	struct wal_buf buf = { 0 };
	struct place p;

	(void)state;
	place_make_filled(&p);
	for (uint64_t id = 0; id < NEXT; id++)
		assert_int_equal(wal_stream_get(p.st, id, &buf), 0);
	size_t fds = open_fd_count(), segments = store_open_segments(p.store);
	assert_int_equal(prune(&p, UINT64_MAX), 3);
	assert_true(store_open_segments(p.store) + 3 <= segments);
	assert_true(open_fd_count() + 3 <= fds);
	wal_buf_release(&buf);
	place_remove(&p);
}

static void drafts_and_transactions_go_on(void **state)
{
	struct wal_draft *draft, *dropped;
	struct wal_txn *txn;
	struct place p;
	uint64_t id;
	size_t count;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(wal_draft_new(p.st, &draft), 0);
	assert_int_equal(wal_draft_write(draft, "half", 4, 0), 0);
	assert_int_equal(wal_draft_new(p.st, &dropped), 0);
	assert_int_equal(wal_draft_write(dropped, "dropped", 7, 0), 0);
	assert_int_equal(wal_txn_new(p.st, &txn), 0);
	assert_int_equal(wal_txn_add(txn, "one", 3), 0);
	assert_int_equal(prune(&p, UINT64_MAX), 3);
	assert_int_equal(wal_draft_write(draft, "half", 4, 4), 0);
	assert_int_equal(wal_draft_commit(draft, 0, &id), 0);
	assert_int_equal(id, NEXT);
	wal_draft_free(dropped);
	assert_int_equal(wal_txn_commit(txn, 0, &id, &count), 0);
	assert_int_equal(id, NEXT + 1);
	struct wal_buf buf = { 0 };
	assert_int_equal(wal_stream_get(p.st, NEXT, &buf), 0);
	assert_int_equal(buf.size, 8);
	assert_memory_equal(buf.data, "halfhalf", 8);
	wal_buf_release(&buf);
	place_remove(&p);
}

/* ---- Refused ---- */

static void a_read_only_store(void **state)
{
	uint64_t segments = 7;
	struct place p;

	(void)state;
	place_make_filled(&p);
	place_close(&p);
	char *before = snapshot_take(p.dir.path);
	p.opts.ro = true;
	place_open(&p);
	assert_int_equal(wal_stream_prune(p.st, 20, &segments), -EROFS);
	assert_int_equal(segments, 0);
	assert_int_equal(wal_stream_prune(p.st, 20, NULL), -EROFS);
	stream_expect(p.st, 0, NEXT);
	place_close(&p);
	snapshot_expect(p.dir.path, before);
	free(before);
	tmpdir_remove(&p.dir);
}

/* Who asks what was damaged may want the entries before it. */
static void a_damaged_stream(void **state)
{
	char path[PATH_MAX];
	uint64_t segments = 7;
	struct place p;

	(void)state;
	place_make(&p);
	p.opts.sync = WAL_SYNC_STRICT; /* so that the frames after it vouch for the one that is damaged */
	place_reopen(&p);
	stream_fill(p.st, 0, NEXT);
	place_close(&p);
	segment_path(p.dir.path, "s", ACTIVE, ".wal", path);
	damage_flip_bit(path, frame_of(path, 31).offset + FRAME_HEADER_BYTES + 6, 3);
	assert_int_equal(unlink(segment_path(p.dir.path, "s", ACTIVE, ".meta", path)), 0);
	place_open(&p);
	assert_int_equal(stat_of(&p).health, WAL_READONLY);
	char *before = snapshot_take(p.dir.path);
	assert_int_equal(wal_stream_prune(p.st, 20, &segments), -EIO);
	assert_int_equal(segments, 0);
	snapshot_expect(p.dir.path, before);
	free(before);
	place_remove(&p);
}

static void a_stopped_stream(void **state)
{
	struct faultsys f;
	uint64_t segments = 7;
	struct place p = { .opts = { .segment_entries = EACH } };

	(void)state;
	tmpdir_make(&p.dir, "prune");
	faultsys_init(&f);
	assert_int_equal(store_open(&f.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
	p.st = stream_open_or_fail(p.store, "s");
	stream_fill(p.st, 0, NEXT);
	faultsys_fail(&f, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(wal_stream_append(p.st, "x", 1, 0, NULL), -EIO);
	assert_int_equal(wal_stream_prune(p.st, 20, &segments), -EIO);
	assert_int_equal(segments, 0);
	expect_files(&p, 0, ACTIVE);
	wal_stream_close(p.st);
	wal_store_close(p.store);
	place_open(&p);
	stream_expect(p.st, 0, NEXT);
	place_remove(&p);
}

/* A damaged frame in a sealed segment is known only when it is read, and goes with its segment like any other. */
static void damage_in_what_is_dropped(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make_filled(&p);
	place_close(&p);
	segment_path(p.dir.path, "s", 0, ".wal", path);
	damage_flip_bit(path, frame_of(path, 4).offset + FRAME_HEADER_BYTES + 6, 3);
	place_open(&p);
	assert_int_equal(prune(&p, 10), 1);
	stream_expect(p.st, 10, NEXT);
	place_remove(&p);
}

/* What can't be removed now is, with the next prune; meanwhile it is gone for who looks. */
static void a_file_that_cannot_be_removed(void **state)
{
	struct faultsys f;
	uint64_t segments = 77, first;
	struct place p = { .opts = { .segment_entries = EACH, .sync = WAL_SYNC_ASYNC } };

	(void)state;
	tmpdir_make(&p.dir, "prune");
	faultsys_init(&f);
	assert_int_equal(store_open(&f.sys, p.dir.path, &p.opts, &p.store, NULL), 0);
	p.st = stream_open_or_fail(p.store, "s");
	stream_fill(p.st, 0, NEXT);
	faultsys_fail(&f, FAULT_UNLINKAT, 1, EACCES);
	assert_int_equal(wal_stream_prune(p.st, 30, &segments), -EACCES);
	assert_true(segments <= 3);
	wal_stream_bounds(p.st, &first, NULL, NULL);
	assert_true(first % EACH == 0 && first <= 30);
	assert_int_equal(wal_stream_prune(p.st, 30, &segments), 0);
	expect_files(&p, 30, ACTIVE);
	stream_expect(p.st, 30, NEXT);
	stream_fill(p.st, NEXT, NEXT + 1);
	place_reopen(&p);
	stream_expect(p.st, 30, NEXT + 1);
	place_remove(&p);
}

/* ---- The directory ---- */

/* What a recovery or repair set aside is someone's data, and no cache of a segment. */
static void files_put_aside_stay(void **state)
{
	static const char *const suffixes[] = { ".wal.torn.0", ".wal.torn.1", ".wal.damaged.0" };
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make_filled(&p);
	for (size_t i = 0; i < TEST_COUNT(suffixes); i++)
		file_write(segment_path(p.dir.path, "s", EACH * i, suffixes[i], path), "kept", 4);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	assert_int_equal(prune(&p, UINT64_MAX), 4);
	for (int round = 0; round < 2; round++) {
		for (size_t i = 0; i < TEST_COUNT(suffixes); i++)
			assert_int_equal(file_size(segment_path(p.dir.path, "s", EACH * i, suffixes[i], path)), 4);
		place_reopen(&p);
	}
	place_remove(&p);
}

/* A sidecar without its segment, as a crash between the two may leave it. */
static void orphan_sidecars_do_not_stay(void **state)
{
	char path[PATH_MAX];
	struct place p;
	uint8_t *meta;
	size_t size;

	(void)state;
	place_make_filled(&p);
	place_reopen(&p);
	meta = file_read(segment_path(p.dir.path, "s", 0, ".meta", path), &size);
	assert_int_equal(prune(&p, 10), 1);
	place_close(&p);
	assert_false(file_there(&p, 0, ".meta"));
	file_write(path, meta, size);
	free(meta);
	place_open(&p);
	assert_int_equal(prune(&p, 20), 1);
	place_close(&p);
	assert_false(file_there(&p, 0, ".meta"));
	expect_files(&p, 20, ACTIVE);
	place_open(&p);
	stream_expect(p.st, 20, NEXT);
	place_remove(&p);
}

/* A missing sidecar is none that must be removed. */
static void without_sidecars(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make_filled(&p);
	place_reopen(&p);
	for (uint64_t id = 0; id < ACTIVE; id += EACH)
		assert_int_equal(unlink(segment_path(p.dir.path, "s", id, ".meta", path)), 0);
	assert_int_equal(prune(&p, 20), 2);
	stream_expect(p.st, 20, NEXT);
	place_reopen(&p);
	stream_expect(p.st, 20, NEXT);
	place_remove(&p);
}

/* ---- As the original leaves it ---- */

static void the_original_goes_on_with_ours(void **state)
{
	uint64_t first;
	struct place p;

	(void)state;
	for (uint64_t id = 0; id <= 40; id += 5) {
		place_make_filled(&p);
		if (id == 40)
			assert_int_equal(wal_stream_rotate(p.st), 0);
		prune(&p, id);
		stream_fill(p.st, NEXT, NEXT + 7);
		place_close(&p);
		assert_int_equal(original_check_stream(p.dir.path, "s", &first), NEXT + 7);
		assert_int_equal(first, id == 40 ? NEXT : id < ACTIVE ? id / EACH * EACH : ACTIVE);
		tmpdir_remove(&p.dir);
	}
}

/* The last segment is empty then; the index and head.state still name it. */
static void the_original_goes_on_with_an_emptied_stream(void **state)
{
	uint64_t first;
	struct place p;

	(void)state;
	place_make_filled(&p);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	prune(&p, UINT64_MAX);
	place_close(&p);
	assert_int_equal(original_check_stream(p.dir.path, "s", &first), NEXT);
	assert_int_equal(first, NEXT);
	tmpdir_remove(&p.dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_id_drops_what_is_wholly_below_it),
		cmocka_unit_test(the_count_may_be_left_out),
		cmocka_unit_test(segment_after_segment),
		cmocka_unit_test(an_empty_stream),
		cmocka_unit_test(the_active_segment_stays),
		cmocka_unit_test(all_of_it_after_a_rotation),
		cmocka_unit_test(ids_go_on_after_everything_was_pruned),
		cmocka_unit_test(ids_go_on_without_any_segment),
		cmocka_unit_test(deleted_after_everything_was_pruned),
		cmocka_unit_test(figures),
		cmocka_unit_test(lookups),
		cmocka_unit_test(what_is_gone_is_pruned_for_every_way_of_reading),
		cmocka_unit_test(cached_entries_are_gone_too),
		cmocka_unit_test(offsets_do_not_move),
		cmocka_unit_test(offsets_first_asked_for_after_a_prune),
		cmocka_unit_test(offsets_asked_for_with_more_segments_each_time),
		cmocka_unit_test(an_iterator_that_has_not_begun),
		cmocka_unit_test(an_iterator_in_the_middle),
		cmocka_unit_test(an_iterator_over_all_of_it),
		cmocka_unit_test(an_iterator_that_lags_behind_twice),
		cmocka_unit_test(open_readers),
		cmocka_unit_test(nothing_of_it_stays_open),
		cmocka_unit_test(drafts_and_transactions_go_on),
		cmocka_unit_test(a_read_only_store),
		cmocka_unit_test(a_damaged_stream),
		cmocka_unit_test(a_stopped_stream),
		cmocka_unit_test(damage_in_what_is_dropped),
		cmocka_unit_test(a_file_that_cannot_be_removed),
		cmocka_unit_test(files_put_aside_stay),
		cmocka_unit_test(orphan_sidecars_do_not_stay),
		cmocka_unit_test(without_sidecars),
		cmocka_unit_test(the_original_goes_on_with_ours),
		cmocka_unit_test(the_original_goes_on_with_an_emptied_stream),
	};

	/* Nothing here loses power, so syncs may cost nothing. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	alarm(120); /* a hang is a failure, not a wait */
	return TEST_RUN(tests);
}
