/* SPDX-License-Identifier: Apache-2.0 */
/* Going forward over entries, one by one and by copying many: what comes in the places where copying may not simply go on. That both give the right bytes of any stream, test_model.c tries. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "damage.h"
#include "frame.h"
#include "frames.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum { ROOM = 1 << 16 };

struct place {
	struct tmpdir dir;
	struct wal_store *store;
	struct wal_stream *st;
	struct wal_iter *it;
	uint8_t *buf;
};

static void place_make(struct place *p, const struct wal_options *opts)
{
	tmpdir_make(&p->dir, "iter");
	p->store = store_open_or_fail(p->dir.path, opts);
	p->st = stream_open_or_fail(p->store, "s");
	p->buf = malloc(ROOM);
	assert_non_null(p->buf);
	assert_int_equal(wal_iter_new(p->st, 0, &p->it), 0);
}

static void place_remove(struct place *p)
{
	wal_iter_free(p->it);
	wal_stream_close(p->st);
	store_close_or_fail(p->store);
	free(p->buf);
	tmpdir_remove(&p->dir);
}

static size_t size_of(uint64_t id)
{
	uint8_t buf[ENTRY_SIZE_MAX];
	size_t size;

	entry_content(id, buf, &size);
	return size;
}

/* The bytes are those of the entries `first` … `next` - 1 that stream_fill() made. */
static void expect_bytes(const uint8_t *bytes, size_t size, uint64_t first, uint64_t next)
{
	uint8_t buf[ENTRY_SIZE_MAX];
	size_t done = 0, n;

	for (uint64_t id = first; id < next; id++, done += n) {
		const void *content = entry_content(id, buf, &n);

		assert_true(n <= size - done);
		assert_memory_equal(bytes + done, content, n);
	}
	assert_int_equal(done, size);
}

/* A copy to `size` bytes has just the entries `first` … `next` - 1. */
static void expect_copy(struct place *p, uint64_t end_id, size_t size, uint64_t first, uint64_t next)
{
	struct wal_entry e;
	size_t count;
	int r = wal_iter_copy(p->it, end_id, p->buf, size, &e, &count);

	if (r != 0)
		fail_msg("copying from entry %" PRIu64 ": %s", first, wal_strerror(r));
	assert_int_equal(e.id, first);
	assert_int_equal(count, next - first);
	assert_ptr_equal(e.data, p->buf);
	expect_bytes(p->buf, e.size, first, next);
}

static void expect_copy_fails(struct place *p, int result)
{
	struct wal_entry e;
	size_t count;

	assert_int_equal(wal_iter_copy(p->it, UINT64_MAX, p->buf, ROOM, &e, &count), result);
}

/* The ids `first` … `next` - 1 cannot be had, for which `result` is the reason. */
static void expect_lost(struct place *p, int result, uint64_t first, uint64_t next)
{
	struct wal_entry e;
	size_t count;

	assert_int_equal(wal_iter_copy(p->it, UINT64_MAX, p->buf, ROOM, &e, &count), result);
	assert_int_equal(e.id, first);
	assert_int_equal(e.size, next - first);
}

static void expect_next(struct place *p, uint64_t id)
{
	struct wal_entry e;

	assert_int_equal(wal_iter_next(p->it, &e), 0);
	assert_int_equal(e.id, id);
	expect_bytes(e.data, e.size, id, id + 1);
}

/* It is not begun, and not lost: what a copy leaves wal_iter_next() has, and the next copy what is behind that. */
static void entry_that_does_not_fit(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, 20);
	expect_copy(&p, UINT64_MAX, size_of(0) + size_of(1), 0, 2);
	expect_copy(&p, UINT64_MAX, size_of(2) + size_of(3) - 1, 2, 3);
	expect_copy(&p, UINT64_MAX, size_of(3) - 1, 3, 3);
	expect_copy(&p, UINT64_MAX, 0, 3, 3);
	expect_next(&p, 3);
	expect_copy(&p, UINT64_MAX, ROOM, 4, 20);
	expect_copy_fails(&p, WAL_END);
	place_remove(&p);
}

/* Entries without bytes need no room at all. */
static void nowhere_to_copy_to(void **state)
{
	struct wal_entry e;
	struct place p;
	size_t count;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(wal_stream_append(p.st, "x", i / 2, 0, NULL), 0);
	assert_int_equal(wal_iter_copy(p.it, UINT64_MAX, NULL, 0, &e, &count), 0);
	assert_int_equal(count, 2);
	assert_int_equal(wal_iter_copy(p.it, UINT64_MAX, NULL, 0, &e, &count), 0);
	assert_int_equal(count, 0);
	assert_int_equal(wal_iter_next(p.it, &e), 0);
	assert_int_equal(e.id, 2);
	place_remove(&p);
}

/* A large one is no more than that: it is not taken into memory for being looked at by a copy that ends before it. */
static void entry_larger_than_the_room(void **state)
{
	static uint8_t large[3 * ROOM];
	struct wal_entry e;
	struct place p;

	(void)state;
	memset(large, 'x', sizeof large);
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .read_buffer = 4096 });
	stream_fill(p.st, 0, 10);
	assert_int_equal(wal_stream_append(p.st, large, sizeof large, 0, NULL), 0);
	stream_fill(p.st, 11, 20);
	expect_copy(&p, UINT64_MAX, ROOM, 0, 10);
	expect_copy(&p, UINT64_MAX, ROOM, 10, 10);
	assert_int_equal(wal_iter_next(p.it, &e), 0);
	assert_int_equal(e.size, sizeof large);
	assert_memory_equal(e.data, large, sizeof large);
	expect_copy(&p, UINT64_MAX, ROOM, 11, 20);
	place_remove(&p);
}

/* Also when the iterator has gone further already. */
static void ends_where_it_is_told(void **state)
{
	struct wal_entry e;
	struct place p;
	size_t count;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 30 });
	stream_fill(p.st, 0, 100);
	expect_copy(&p, 50, ROOM, 0, 50);
	assert_int_equal(wal_iter_copy(p.it, 50, p.buf, ROOM, &e, &count), WAL_END);
	assert_int_equal(wal_iter_copy(p.it, 10, p.buf, ROOM, &e, &count), WAL_END);
	expect_next(&p, 50);
	expect_copy(&p, 53, ROOM, 51, 53);
	assert_int_equal(wal_iter_copy(p.it, 53, p.buf, ROOM, &e, &count), WAL_END);
	expect_copy(&p, UINT64_MAX, ROOM, 53, 100);
	place_remove(&p);
}

/* What came after the last look is read anew, though it stands in bytes that were fetched before. */
static void end_that_grows(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 50 });
	for (uint64_t id = 0; id < 200; id++) {
		expect_copy_fails(&p, WAL_END);
		stream_fill(p.st, id, id + 1);
		expect_copy(&p, UINT64_MAX, ROOM, id, id + 1);
		if (id % 7 == 0)
			wal_iter_seek(p.it, id / 2);
		if (id % 7 == 0)
			expect_copy(&p, UINT64_MAX, ROOM, id / 2, id + 1);
	}
	place_remove(&p);
}

static void pruned_meanwhile(void **state)
{
	struct place p;
	uint64_t segments;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 10, .read_buffer = 4096 });
	stream_fill(p.st, 0, 100);
	expect_copy(&p, 5, ROOM, 0, 5);
	assert_int_equal(wal_stream_prune(p.st, 60, &segments), 0);
	expect_lost(&p, WAL_PRUNED, 5, 60);
	expect_copy(&p, UINT64_MAX, ROOM, 60, 100);
	place_remove(&p);
}

/* Ids that were let go, at the end of a segment. */
static void skipped_ids(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, 10);
	assert_int_equal(wal_stream_skip(p.st, 15), 0);
	stream_fill(p.st, 15, 20);
	expect_copy(&p, UINT64_MAX, ROOM, 0, 10);
	expect_lost(&p, WAL_GAP, 10, 15);
	expect_copy(&p, UINT64_MAX, ROOM, 15, 20);
	expect_copy_fails(&p, WAL_END);
	place_remove(&p);
}

/* Wherever an entry cannot be had, those before it come, then that it is lost, then those behind it, both ways. */
static void expect_one_lost(struct place *p, uint64_t lost, uint64_t next)
{
	struct wal_entry e;

	wal_iter_seek(p->it, 0);
	expect_copy(p, UINT64_MAX, ROOM, 0, lost);
	expect_lost(p, WAL_GAP, lost, lost + 1);
	expect_copy(p, UINT64_MAX, ROOM, lost + 1, next);
	expect_copy_fails(p, WAL_END);
	wal_iter_seek(p->it, 0);
	for (uint64_t id = 0; id < lost; id++)
		expect_next(p, id);
	assert_int_equal(wal_iter_next(p->it, &e), WAL_GAP);
	assert_int_equal(e.id, lost);
	assert_int_equal(e.size, 1);
	for (uint64_t id = lost + 1; id < next; id++)
		expect_next(p, id);
}

/* Of a frame in the middle of many. The bytes after the header's checksum that it does not cover do not matter. */
static void every_flipped_bit_of_a_frame(void **state)
{
	enum { LOST = 9, NEXT = 30 };
	struct frame_place frame;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, NEXT);
	segment_path(p.dir.path, "s", 0, ".wal", path);
	frame = frame_of(path, LOST);
	for (uint64_t at = 0; at < frame.bytes; at++) {
		for (unsigned bit = 0; bit < 8; bit += test_thinning()) {
			damage_flip_bit(path, frame.offset + at, bit);
			/* A new one, which remembers nothing. */
			wal_iter_free(p.it);
			assert_int_equal(wal_iter_new(p.st, 0, &p.it), 0);
			if (at >= FRAME_OFF_RAW_SIZE && at < FRAME_OFF_PAYLOAD)
				expect_copy(&p, UINT64_MAX, ROOM, 0, NEXT);
			else
				expect_one_lost(&p, LOST, NEXT);
			damage_flip_bit(path, frame.offset + at, bit);
		}
	}
	place_remove(&p);
}

/* A frame that is whole and right in itself, but not the one of the sidecar. */
static void frame_of_another_id(void **state)
{
	enum { LOST = 3, NEXT = 8 };
	struct frame_place frame;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, NEXT);
	segment_path(p.dir.path, "s", 0, ".wal", path);
	frame = frame_of(path, LOST);
	frame.h.start_id += 1;
	frame_forge(path, frame.offset, frame.h);
	expect_one_lost(&p, LOST, NEXT);
	place_remove(&p);
}

/* The file is shorter than the sidecar says: what is there is read. */
static void segment_cut_short(void **state)
{
	struct frame_place frame;
	char path[PATH_MAX];
	struct wal_entry e;
	struct place p;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, 20);
	segment_path(p.dir.path, "s", 0, ".wal", path);
	frame = frame_of(path, 12);
	damage_shrink(path, file_size(path) - frame.offset - frame.bytes + 1);
	expect_copy(&p, UINT64_MAX, ROOM, 0, 12);
	for (uint64_t id = 12; id < 20; id++)
		expect_lost(&p, WAL_GAP, id, id + 1);
	assert_int_equal(wal_iter_next(p.it, &e), WAL_END);
	place_remove(&p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(entry_that_does_not_fit),
		cmocka_unit_test(nowhere_to_copy_to),
		cmocka_unit_test(entry_larger_than_the_room),
		cmocka_unit_test(ends_where_it_is_told),
		cmocka_unit_test(end_that_grows),
		cmocka_unit_test(pruned_meanwhile),
		cmocka_unit_test(skipped_ids),
		cmocka_unit_test(every_flipped_bit_of_a_frame),
		cmocka_unit_test(frame_of_another_id),
		cmocka_unit_test(segment_cut_short),
	};

	return TEST_RUN(tests);
}
