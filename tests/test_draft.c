/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "random.h"
#include "store.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum { MEMORY_MAX = 1 << 20 }; /* beyond this a draft is in a temporary file */

struct place {
	struct tmpdir dir;
	struct wal_store *store;
	struct wal_stream *st;
	struct wal_draft *draft;
};

static void place_make(struct place *p, const struct wal_options *opts)
{
	tmpdir_make(&p->dir, "draft");
	p->store = store_open_or_fail(p->dir.path, opts);
	p->st = stream_open_or_fail(p->store, "s");
	assert_int_equal(wal_draft_new(p->st, &p->draft), 0);
}

static void place_remove(struct place *p)
{
	wal_stream_close(p->st);
	store_close_or_fail(p->store);
	tmpdir_remove(&p->dir);
}

static void commit_and_expect(struct place *p, const void *data, size_t size)
{
	struct wal_buf buf = { 0 };
	uint64_t id = UINT64_MAX;

	assert_int_equal(wal_draft_size(p->draft), size);
	assert_int_equal(wal_draft_commit(p->draft, 0, &id), 0);
	assert_int_equal(id, 0);
	assert_int_equal(wal_stream_get(p->st, 0, &buf), 0);
	assert_int_equal(buf.size, size);
	if (size > 0)
		assert_memory_equal(buf.data, data, size);
	wal_buf_release(&buf);
	place_remove(p);
}

static void holes_are_zeros(void **state)
{
	uint8_t expected[3000] = { 0 };
	struct place p;

	(void)state;
	place_make(&p, NULL);
	assert_int_equal(wal_draft_write(p.draft, "end", 3, 2997), 0);
	assert_int_equal(wal_draft_write(p.draft, "begin", 5, 0), 0);
	memcpy(expected, "begin", 5);
	memcpy(expected + 2997, "end", 3);
	commit_and_expect(&p, expected, sizeof(expected));
}

/* What was cut off does not come back when the draft grows again. */
static void cut_and_extended(void **state)
{
	uint8_t expected[5000] = "four";
	struct place p;

	(void)state;
	place_make(&p, NULL);
	assert_int_equal(wal_draft_write(p.draft, "four and more", 13, 0), 0);
	assert_int_equal(wal_draft_truncate(p.draft, 4), 0);
	assert_int_equal(wal_draft_truncate(p.draft, sizeof(expected)), 0);
	commit_and_expect(&p, expected, sizeof(expected));
}

static void nothing_written(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, NULL);
	assert_int_equal(wal_draft_write(p.draft, "", 0, 1000), 0);
	commit_and_expect(&p, "", 0);
}

/* Around the size at which it moves from memory to the file, and with the same operations on either side of it. */
static void spilled(void **state)
{
	static const size_t sizes[] = { MEMORY_MAX - 1, MEMORY_MAX, MEMORY_MAX + 1, 3 * MEMORY_MAX };
	static const struct wal_options options[] = { { 0 }, { .compression = WAL_COMPRESSION_LZ4 }, { .segment_size = 4096 } };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(sizes) * TEST_COUNT(options); i++) {
		size_t size = sizes[i % TEST_COUNT(sizes)];
		uint8_t *expected = calloc(1, size);
		struct place p;

		assert_non_null(expected);
		place_make(&p, &options[i / TEST_COUNT(sizes)]);
		random_fill(2 * i, expected, size - 5000);
		assert_int_equal(wal_draft_write(p.draft, expected, size / 2, 0), 0);
		assert_int_equal(wal_draft_write(p.draft, expected + size / 2, size - 5000 - size / 2, size / 2), 0);
		assert_int_equal(wal_draft_write(p.draft, "x", 1, size - 1), 0);
		assert_int_equal(wal_draft_write(p.draft, "in the middle", 13, 1000), 0);
		assert_int_equal(wal_draft_truncate(p.draft, size - 1), 0);
		assert_int_equal(wal_draft_truncate(p.draft, size), 0);
		memcpy(expected + 1000, "in the middle", 13);
		commit_and_expect(&p, expected, size);
		free(expected);
	}
}

static void too_large(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, NULL);
	assert_int_equal(wal_draft_write(p.draft, "kept", 4, 0), 0);
	assert_int_equal(wal_draft_write(p.draft, "x", 1, WAL_ENTRY_SIZE_MAX), -EFBIG);
	assert_int_equal(wal_draft_write(p.draft, "x", 1, UINT64_MAX), -EFBIG);
	assert_int_equal(wal_draft_truncate(p.draft, WAL_ENTRY_SIZE_MAX + 1), -EFBIG);
	assert_int_equal(wal_draft_truncate(p.draft, UINT64_MAX), -EFBIG);
	commit_and_expect(&p, "kept", 4);
}

static void dropped(void **state)
{
	struct wal_stream_stat stat;
	uint64_t next;
	struct place p;

	(void)state;
	place_make(&p, NULL);
	assert_int_equal(wal_draft_write(p.draft, "x", 1, 2 * MEMORY_MAX), 0);
	wal_draft_free(p.draft);
	wal_draft_free(NULL);
	wal_stream_bounds(p.st, NULL, &next, NULL);
	assert_int_equal(next, 0);
	stream_fill(p.st, 0, 2);
	place_remove(&p);
	/* Its reservation went with it: nothing of it is left on disk. */
	place_make(&p, NULL);
	assert_int_equal(wal_draft_write(p.draft, "x", 1, 2 * MEMORY_MAX), 0);
	wal_draft_free(p.draft);
	stream_fill(p.st, 0, 1);
	wal_stream_close(p.st);
	store_close_or_fail(p.store);
	p.store = store_open_or_fail(p.dir.path, NULL);
	p.st = stream_open_or_fail(p.store, "s");
	assert_int_equal(wal_stream_stat(p.st, &stat), 0);
	assert_true(stat.disk_bytes < 64 << 10);
	place_remove(&p);
}

/* On a file system of 4 MiB of its own. */
static bool mount_small(const char *path)
{
	return geteuid() == 0 && mount("tmpfs", path, "tmpfs", 0, "size=4M") == 0;
}

/* A full disk is met when bytes are handed over; what has been taken can be committed all the same. */
static void no_room_shows_at_the_write(void **state)
{
	struct wal_draft *other;
	uint8_t *data = malloc(MEMORY_MAX);
	struct tmpdir dir;
	uint64_t id;
	int r = 0;

	(void)state;
	assert_non_null(data);
	random_fill(1, data, MEMORY_MAX);
	tmpdir_make(&dir, "draft");
	if (!mount_small(dir.path)) {
		print_message("# not allowed to mount a small tmpfs, so the full disk is not tried\n");
		tmpdir_remove(&dir);
		free(data);
		return;
	}
	struct wal_store *store = store_open_or_fail(dir.path, NULL);
	struct wal_stream *st = stream_open_or_fail(store, "s");
	struct wal_draft *draft;
	assert_int_equal(wal_draft_new(st, &draft), 0);
	assert_int_equal(wal_draft_write(draft, data, 500000, 0), 0);
	assert_int_equal(wal_draft_new(st, &other), 0);
	uint64_t at = 0;
	while (r == 0 && at < 8 << 20) {
		r = wal_draft_write(other, data, 100000, at);
		at += r == 0 ? 100000 : 0;
	}
	assert_int_equal(r, -ENOSPC);
	assert_int_equal(wal_draft_size(other), at);
	/* The failed write has changed nothing for the one that had its room. */
	assert_int_equal(wal_draft_commit(draft, 0, &id), 0);
	assert_int_equal(id, 0);
	wal_draft_free(other);
	struct wal_buf buf = { 0 };
	assert_int_equal(wal_stream_get(st, 0, &buf), 0);
	assert_int_equal(buf.size, 500000);
	assert_memory_equal(buf.data, data, buf.size);
	wal_buf_release(&buf);
	/* With the room given back it goes on. */
	assert_int_equal(wal_stream_append(st, data, 300000, 0, &id), 0);
	assert_int_equal(id, 1);
	wal_stream_close(st);
	store_close_or_fail(store);
	assert_int_equal(umount(dir.path), 0);
	tmpdir_remove(&dir);
	free(data);
}

/* ---- A full disk ---- */

struct full_sys {
	struct sys sys;
	atomic_bool full;
};

static int full_fallocate(struct sys *sys, int fd, uint64_t offset, uint64_t size)
{
	struct full_sys *full = container_of(sys, struct full_sys, sys);

	return atomic_load(&full->full) ? -ENOSPC : sys_real()->fallocate(sys_real(), fd, offset, size);
}

/* So that frames are written while those before them are being synced. */
static int slow_fdatasync(struct sys *sys, int fd)
{
	(void)sys;
	usleep(1000);
	return sys_real()->fdatasync(sys_real(), fd);
}

struct full_commit {
	struct wal_op op;
	atomic_int *left;
};

static void full_commit_done(struct wal_op *op)
{
	atomic_fetch_sub(container_of(op, struct full_commit, op)->left, 1);
}

/* What was reserved is there for each of them, however many are being committed at once, and whatever else meets the full disk meanwhile. */
static void drafts_are_committed_on_a_full_disk(void **state)
{
	enum { DRAFTS_MAX = 64, DRAFT_BYTES = 30000 };
	struct full_sys full = { .sys = *sys_real() };
	struct wal_options opts = { .segment_size = 9 << 20 }; /* so that little is allocated ahead */
	static struct full_commit commits[2 * DRAFTS_MAX], first;
	struct wal_draft *drafts[DRAFTS_MAX], *large;
	char data[DRAFT_BYTES] = "x";
	struct iovec entry = { data, sizeof(data) };
	unsigned count = 0, refused = 0;
	struct wal_store *store;
	struct wal_stream *st;
	struct tmpdir dir;
	atomic_int left;

	(void)state;
	full.sys.fallocate = full_fallocate;
	full.sys.fdatasync = slow_fdatasync;
	tmpdir_make(&dir, "draft");
	assert_int_equal(store_open(&full.sys, dir.path, &opts, &store, NULL), 0);
	st = stream_open_or_fail(store, "s");
	assert_int_equal(wal_stream_append(st, "first", 5, 0, NULL), 0);
	/* While this one is copied, the others gather behind it. */
	assert_int_equal(wal_draft_new(st, &large), 0);
	assert_int_equal(wal_draft_truncate(large, 8 * MEMORY_MAX), 0);
	for (; count < DRAFTS_MAX; count++) {
		atomic_store(&full.full, count >= 8);
		assert_int_equal(wal_draft_new(st, &drafts[count]), 0);
		int result = wal_draft_write(drafts[count], data, sizeof(data), 0);
		if (result != 0) {
			assert_int_equal(result, -ENOSPC);
			wal_draft_free(drafts[count]);
			break;
		}
	}
	assert_true(count >= 8 && count < DRAFTS_MAX);
	atomic_init(&left, 1 + (int)(2 * count));
	first = (struct full_commit){ .op = { .done = full_commit_done }, .left = &left };
	wal_draft_submit(large, &first.op);
	for (unsigned i = 0; i < 2 * count; i++) {
		struct full_commit *c = &commits[i];

		*c = (struct full_commit){ .op = { .done = full_commit_done }, .left = &left };
		if (i % 2 == 0) {
			wal_draft_submit(drafts[i / 2], &c->op);
			continue;
		}
		c->op.entries = &entry;
		c->op.count = 1;
		wal_stream_submit(st, &c->op);
	}
	for (time_t until = time(NULL) + 60; atomic_load(&left) > 0;) {
		assert_true(time(NULL) < until);
		usleep(1000);
	}
	assert_int_equal(first.op.result, 0);
	for (unsigned i = 0; i < 2 * count; i++) {
		if (i % 2 == 0)
			assert_int_equal(commits[i].op.result, 0);
		else
			refused += commits[i].op.result == -ENOSPC;
	}
	assert_int_equal(refused, count);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

/* A batch takes the room that a draft has reserved. */
static void batch_with_reserved_room_on_a_full_disk(void **state)
{
	enum { LINES = 10, LINE_BYTES = 6000 };
	struct full_sys full = { .sys = *sys_real() };
	static char data[LINE_BYTES] = "x";
	struct full_commit c = { .op = { .done = full_commit_done, .flags = WAL_BATCH } };
	struct iovec entries[LINES];
	struct wal_draft *room;
	struct wal_store *store;
	struct wal_stream *st;
	struct tmpdir dir;
	atomic_int left;

	(void)state;
	full.sys.fallocate = full_fallocate;
	tmpdir_make(&dir, "draft");
	assert_int_equal(store_open(&full.sys, dir.path, NULL, &store, NULL), 0);
	st = stream_open_or_fail(store, "s");
	assert_int_equal(wal_stream_append(st, "first", 5, 0, NULL), 0);
	assert_int_equal(wal_draft_new(st, &room), 0);
	assert_int_equal(wal_draft_truncate(room, LINES * LINE_BYTES + 4 * (LINES - 1)), 0);
	atomic_store(&full.full, true);
	while (wal_stream_append(st, data, sizeof(data), 0, NULL) == 0)
		;
	for (unsigned i = 0; i < LINES; i++)
		entries[i] = (struct iovec){ data, sizeof(data) };
	atomic_init(&left, 1);
	c.left = &left;
	c.op.entries = entries;
	c.op.count = LINES;
	wal_stream_submit_reserved(st, &c.op, room);
	for (time_t until = time(NULL) + 60; atomic_load(&left) > 0;) {
		assert_true(time(NULL) < until);
		usleep(1000);
	}
	assert_int_equal(c.op.result, 0);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(holes_are_zeros),
		cmocka_unit_test(cut_and_extended),
		cmocka_unit_test(nothing_written),
		cmocka_unit_test(spilled),
		cmocka_unit_test(too_large),
		cmocka_unit_test(dropped),
		cmocka_unit_test(no_room_shows_at_the_write),
		cmocka_unit_test(drafts_are_committed_on_a_full_disk),
		cmocka_unit_test(batch_with_reserved_room_on_a_full_disk),
	};

	return TEST_RUN(tests);
}
