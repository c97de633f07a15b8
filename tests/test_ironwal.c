/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores that the original wrote are opened as they are, read by every way, written to, and left as the original can go on with them. What is left on disk
 * is checked by a reader that shares no code with the engine.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "damage.h"
#include "fixtures.h"
#include "original.h"
#include "snapshot.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

/* ---- Reading ---- */

struct place {
	struct tmpdir dir;
	char path[PATH_MAX];
	struct manifest manifest;
};

static void place_make(struct place *p, const char *fixture)
{
	char original[PATH_MAX];

	tmpdir_make(&p->dir, "ironwal");
	copy_tree(fixture_path(fixture, "store", original), tmpdir_path(&p->dir, "store", p->path));
	manifest_load(fixture, &p->manifest);
}

static void place_remove(struct place *p)
{
	manifest_release(&p->manifest);
	tmpdir_remove(&p->dir);
}

static void expect_bytes(const struct manifest_entry *expected, const void *data, size_t size)
{
	if (size != expected->size || crc32(0, data, (uInt)size) != expected->crc)
		fail_msg("entry %" PRIu64 " of '%s' has %zu bytes, expected %" PRIu64 ", or others", expected->id, expected->stream, size, expected->size);
}

/* The manifest's lines for one stream: *ret_first is the first of them. */
static size_t lines_of(const struct manifest *manifest, const char *stream, const struct manifest_entry **ret_first)
{
	size_t count = 0;

	for (size_t i = 0; i < manifest->count; i++) {
		if (strcmp(manifest->entries[i].stream, stream) == 0 && count++ == 0)
			*ret_first = &manifest->entries[i];
	}
	return count;
}

static void expect_each(struct wal_stream *st, const struct manifest_entry *lines, size_t count)
{
	struct wal_buf buf = { 0 };
	struct wal_entry_info info;

	for (size_t i = 0; i < count; i++) {
		assert_int_equal(wal_stream_get(st, lines[i].id, &buf), 0);
		expect_bytes(&lines[i], buf.data, buf.size);
		assert_int_equal(wal_stream_lookup(st, lines[i].id, &info), 0);
		assert_int_equal(info.size, lines[i].size);
	}
	if (count > 0 && lines[0].id > 0)
		assert_int_equal(wal_stream_get(st, lines[0].id - 1, &buf), WAL_PRUNED);
	wal_buf_release(&buf);
}

static void expect_in_a_row(struct wal_stream *st, const struct manifest_entry *lines, size_t count)
{
	struct wal_entry e[100];
	struct wal_buf buf = { 0 };
	struct wal_iter *it;

	assert_int_equal(wal_iter_new(st, 0, &it), 0);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(wal_iter_next(it, &e[0]), 0);
		assert_int_equal(e[0].id, lines[i].id);
		expect_bytes(&lines[i], e[0].data, e[0].size);
	}
	wal_iter_free(it);
	for (size_t at = 0; at < count;) {
		size_t got;

		assert_int_equal(wal_stream_get_batch(st, lines[at].id, TEST_COUNT(e), 1 << 20, &buf, e, &got), 0);
		for (size_t i = 0; i < got && at < count; i++, at++) {
			assert_int_equal(e[i].id, lines[at].id);
			expect_bytes(&lines[at], e[i].data, e[i].size);
		}
	}
	wal_buf_release(&buf);
}

/* Every stream holds what the manifest says, and then `more` entries. */
static void expect_store(struct wal_store *store, const struct manifest *manifest, uint64_t more)
{
	char **names;
	size_t count, total = 0;

	assert_int_equal(wal_store_list(store, &names, &count), 0);
	for (size_t i = 0; i < count; i++) {
		struct wal_stream *st = stream_open_or_fail(store, names[i]);
		const struct manifest_entry *lines = NULL;
		size_t n = lines_of(manifest, names[i], &lines);
		struct wal_stream_stat stat;

		assert_int_equal(wal_stream_stat(st, &stat), 0);
		assert_int_equal(stat.entries, n + more);
		assert_int_equal(stat.health, WAL_HEALTHY);
		if (n > 0) {
			assert_int_equal(stat.first_id, lines[0].id);
			expect_each(st, lines, n);
			expect_in_a_row(st, lines, n);
		}
		total += n;
		wal_stream_close(st);
	}
	free(names);
	assert_int_equal(total, manifest->count);
}

/* Two entries and a batch of two for each stream. */
static void append_to_all(struct wal_store *store)
{
	struct iovec batch[2] = { { (void *)"third", 5 }, { (void *)"", 0 } };
	char **names;
	size_t count;

	assert_int_equal(wal_store_list(store, &names, &count), 0);
	for (size_t i = 0; i < count; i++) {
		struct wal_stream *st = stream_open_or_fail(store, names[i]);
		uint64_t next, id;

		wal_stream_bounds(st, NULL, &next, NULL);
		assert_int_equal(wal_stream_append(st, "first", 5, 0, &id), 0);
		assert_int_equal(id, next);
		assert_int_equal(wal_stream_append(st, "second", 6, 0, &id), 0);
		assert_int_equal(id, next + 1);
		assert_int_equal(wal_stream_append_batch(st, batch, 2, 0, &id), 0);
		assert_int_equal(id, next + 2);
		wal_stream_close(st);
	}
	free(names);
}

static void check_all(const char *path, struct wal_store *store)
{
	char **names;
	size_t count;

	assert_int_equal(wal_store_list(store, &names, &count), 0);
	for (size_t i = 0; i < count; i++) {
		struct wal_stream *st = stream_open_or_fail(store, names[i]);
		uint64_t next;

		wal_stream_bounds(st, NULL, &next, NULL);
		assert_int_equal(original_check_stream(path, names[i], NULL), next);
		wal_stream_close(st);
	}
	free(names);
}

static void read_and_write(const char *fixture, struct wal_options opts)
{
	struct wal_options ro = opts;
	struct wal_store *store;
	struct place p;

	place_make(&p, fixture);
	char *before = snapshot_take(p.path);
	ro.ro = true;
	store = store_open_or_fail(p.path, &ro);
	expect_store(store, &p.manifest, 0);
	store_close_or_fail(store);
	snapshot_expect(p.path, before);
	free(before);

	store = store_open_or_fail(p.path, &opts);
	expect_store(store, &p.manifest, 0);
	append_to_all(store);
	expect_store(store, &p.manifest, 4);
	store_close_or_fail(store);

	store = store_open_or_fail(p.path, &opts);
	expect_store(store, &p.manifest, 4);
	store_close_or_fail(store);
	store = store_open_or_fail(p.path, &ro);
	check_all(p.path, store);
	store_close_or_fail(store);
	place_remove(&p);
}

static void all_by_io(void **state)
{
	(void)state;
	for (size_t i = 0; fixture_names[i]; i++)
		read_and_write(fixture_names[i], (struct wal_options){ .read = WAL_READ_IO });
}

static void all_by_mmap(void **state)
{
	(void)state;
	for (size_t i = 0; fixture_names[i]; i++)
		read_and_write(fixture_names[i], (struct wal_options){ .read = WAL_READ_MMAP, .compression = WAL_COMPRESSION_LZ4, .min_compression_size = 1 });
}

/* Each append is in a segment of its own, the ones before it stay. */
static void rotating_at_once(void **state)
{
	(void)state;
	read_and_write("multi-segment", (struct wal_options){ .segment_entries = 1 });
	read_and_write("truncated", (struct wal_options){ .segment_entries = 1, .sync = WAL_SYNC_ASYNC });
}

/* What the original was writing when it died is set aside whole, in a file and not in a directory. */
static void torn_ends_are_kept(void **state)
{
	struct wal_store *store;
	char **names;
	size_t count;
	unsigned torn = 0;
	struct place p;

	(void)state;
	place_make(&p, "torn");
	store = store_open_or_fail(p.path, NULL);
	assert_int_equal(wal_store_list(store, &names, &count), 0);
	for (size_t i = 0; i < count; i++) {
		struct wal_stream *st = stream_open_or_fail(store, names[i]);
		char original[PATH_MAX], rest[PATH_MAX], path[PATH_MAX], segment[PATH_MAX];
		struct wal_stream_stat stat;

		assert_int_equal(wal_stream_stat(st, &stat), 0);
		wal_stream_close(st);
		if (stat.tail == WAL_TAIL_CLEAN)
			continue;
		torn++;
		assert_int_equal(stat.tail, WAL_TAIL_TRUNCATED);
		segment_path("store", names[i], stat.active_segment_id, ".wal", segment);
		size_t size, torn_size;
		uint8_t *data = file_read(fixture_path("torn", segment, original), &size);
		snprintf(rest, sizeof(rest), "%020" PRIu64 ".wal.torn.0", stat.active_segment_id);
		assert_true(snprintf(path, sizeof(path), "%s/%s/%s", p.path, names[i], rest) < PATH_MAX);
		uint8_t *kept = file_read(path, &torn_size);
		/* Zeros at its end are not kept: they are what preallocated space looks like. */
		assert_int_equal(torn_size, stat.tail_bytes);
		assert_true(torn_size <= size - stat.tail_offset);
		assert_memory_equal(kept, data + stat.tail_offset, torn_size);
		for (size_t at = stat.tail_offset + torn_size; at < size; at++)
			assert_int_equal(data[at], 0);
		free(kept);
		free(data);
	}
	free(names);
	assert_int_equal(torn, 4);
	store_close_or_fail(store);
	place_remove(&p);
}

/* Copied without its times, a store has files whose times are in any order; within a segment those of the entries increase all the same. */
static void segments_whose_times_run_backwards(void **state)
{
	static const uint64_t segments[] = { 0, 140, 279, 425, 571 };
	struct wal_entry_info info;
	struct wal_store *store;
	struct wal_stream *st;
	int64_t before = INT64_MIN;
	char path[PATH_MAX];
	uint64_t next;
	struct place p;

	(void)state;
	place_make(&p, "multi-segment");
	for (size_t i = 0; i < TEST_COUNT(segments); i++) {
		struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, { .tv_sec = 1700000000 - 10 * (time_t)i } };

		assert_int_equal(utimensat(AT_FDCWD, segment_path(p.path, "orders", segments[i], ".wal", path), times, 0), 0);
	}
	store = store_open_or_fail(p.path, NULL);
	st = stream_open_or_fail(store, "orders");
	wal_stream_bounds(st, NULL, &next, NULL);
	for (uint64_t id = 0; id < next; id++) {
		for (size_t i = 0; i < TEST_COUNT(segments); i++) {
			if (id == segments[i])
				before = INT64_MIN;
		}
		assert_int_equal(wal_stream_lookup(st, id, &info), 0);
		if (info.time_ns <= before)
			fail_msg("entry %" PRIu64 " is not later than the one before it", id);
		before = info.time_ns;
	}
	store_close_or_fail(store);
	place_remove(&p);
}

/* Our own stores, made from nothing, obey the same rules. */
static void a_store_of_ours(void **state)
{
	struct wal_options opts = { .segment_size = 4096, .compression = WAL_COMPRESSION_LZ4, .min_compression_size = 100 };
	struct wal_store *store;
	struct wal_stream *st;
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "ironwal");
	store = store_open_or_fail(dir.path, &opts);
	st = stream_open_or_fail(store, "s");
	stream_fill(st, 0, 500);
	wal_stream_close(st);
	append_to_all(store);
	store_close_or_fail(store);
	assert_int_equal(original_check_stream(dir.path, "s", NULL), 504);
	tmpdir_remove(&dir);
}

/* The manifest without what a prune of `stream` to `id` has dropped, whose segments begin at `segments`; *ret_dropped of them. */
static void manifest_prune(struct manifest *manifest, const char *stream, const uint64_t *segments, size_t count, uint64_t id, size_t *ret_dropped)
{
	size_t kept = 0, dropped = 0;

	while (dropped + 1 < count && segments[dropped + 1] <= id)
		dropped++;
	for (size_t i = 0; i < manifest->count; i++) {
		const struct manifest_entry *e = &manifest->entries[i];

		if (strcmp(e->stream, stream) != 0 || e->id >= segments[dropped])
			manifest->entries[kept++] = *e;
	}
	manifest->count = kept;
	*ret_dropped = dropped;
}

/* Pruned, it holds the rest, and is left as the original would leave it, which can go on with it; again and again. */
static void pruned_stores(void **state)
{
	static const uint64_t segments[] = { 0, 140, 279, 425, 571 };
	static const uint64_t ids[] = { 139, 140, 300, UINT64_MAX };
	struct wal_store *store;
	struct wal_stream *st;
	uint64_t first, next, count;
	size_t dropped;
	struct place p;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(ids); i++) {
		place_make(&p, "multi-segment");
		store = store_open_or_fail(p.path, NULL);
		st = stream_open_or_fail(store, "orders");
		wal_stream_bounds(st, NULL, &next, NULL);
		assert_int_equal(wal_stream_prune(st, ids[i], &count), 0);
		manifest_prune(&p.manifest, "orders", segments, TEST_COUNT(segments), ids[i], &dropped);
		assert_int_equal(count, dropped);
		expect_store(store, &p.manifest, 0);
		store_close_or_fail(store);
		assert_int_equal(original_check_stream(p.path, "orders", &first), next);
		assert_int_equal(first, segments[dropped]);
		assert_int_equal(original_check_stream(p.path, "user_ledger", &first), 700);
		assert_int_equal(first, 0);
		store = store_open_or_fail(p.path, NULL);
		append_to_all(store);
		expect_store(store, &p.manifest, 4);
		store_close_or_fail(store);
		store = store_open_or_fail(p.path, &(struct wal_options){ .ro = true });
		check_all(p.path, store);
		store_close_or_fail(store);
		place_remove(&p);
	}
}

/* One that the original has pruned already. */
static void pruned_after_the_original(void **state)
{
	struct wal_store *store;
	struct wal_stream *st;
	uint64_t first, next, count;
	struct place p;

	(void)state;
	place_make(&p, "truncated");
	store = store_open_or_fail(p.path, NULL);
	st = stream_open_or_fail(store, "hist");
	assert_int_equal(wal_stream_prune(st, 300, &count), 0); /* to which the original has pruned it */
	assert_int_equal(count, 0);
	expect_store(store, &p.manifest, 0);
	assert_int_equal(wal_stream_rotate(st), 0);
	wal_stream_bounds(st, NULL, &next, NULL);
	assert_int_equal(wal_stream_prune(st, next, &count), 0);
	assert_true(count >= 2);
	store_close_or_fail(store);
	assert_int_equal(original_check_stream(p.path, "hist", &first), next);
	assert_int_equal(first, next);
	store = store_open_or_fail(p.path, NULL);
	append_to_all(store);
	store_close_or_fail(store);
	assert_int_equal(original_check_stream(p.path, "hist", NULL), next + 4);
	place_remove(&p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_by_io),
		cmocka_unit_test(all_by_mmap),
		cmocka_unit_test(rotating_at_once),
		cmocka_unit_test(torn_ends_are_kept),
		cmocka_unit_test(segments_whose_times_run_backwards),
		cmocka_unit_test(a_store_of_ours),
		cmocka_unit_test(pruned_stores),
		cmocka_unit_test(pruned_after_the_original),
	};

	if (!fixtures_or_skip())
		return 0;
	/* Nothing here loses power, so syncs may cost nothing. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	alarm(300);
	return TEST_RUN(tests);
}
