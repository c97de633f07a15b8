/* SPDX-License-Identifier: Apache-2.0 */
/* A stream read as one text, against a model of it. What the mount makes of that, the mount tests see. */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "random.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum {
	ENTRIES_MAX = 4096,
	BIG = 3 << 20, /* larger than a run */
};

struct model {
	struct tmpdir dir;
	char path[PATH_MAX];
	struct wal_store *store;
	struct wal_stream *stream;
	struct random random;
	char *text;
	size_t size;
	size_t begins[ENTRIES_MAX + 1];
	uint64_t count;
	uint64_t first;
};

static void model_open(struct model *m, const struct wal_options *opts)
{
	m->store = store_open_or_fail(m->path, opts);
	m->stream = stream_open_or_fail(m->store, "text");
}

static void model_close(struct model *m)
{
	wal_stream_close(m->stream);
	store_close_or_fail(m->store);
}

static void model_begin(struct model *m, const struct wal_options *opts)
{
	*m = (struct model){ .random = { 4711 } };
	tmpdir_make(&m->dir, "text");
	tmpdir_path(&m->dir, "store", m->path);
	model_open(m, opts);
}

static void model_end(struct model *m)
{
	model_close(m);
	free(m->text);
	tmpdir_remove(&m->dir);
}

static struct iovec model_grow(struct model *m, size_t size)
{
	char *text = realloc(m->text, m->size + size + 1);

	assert_non_null(text);
	m->text = text;
	random_fill(random_next(&m->random), text + m->size, size);
	m->size += size;
	m->begins[++m->count] = m->size;
	return (struct iovec){ (void *)(uintptr_t)(m->size - size), size };
}

static void model_append(struct model *m, size_t size)
{
	struct iovec entry = model_grow(m, size);
	uint64_t id;

	assert_int_equal(wal_stream_append(m->stream, m->text + (uintptr_t)entry.iov_base, size, 0, &id), 0);
	assert_int_equal(id, m->count - 1);
}

static void model_append_batch(struct model *m, size_t count, size_t size_max)
{
	struct iovec entries[64];

	assert_true(count <= TEST_COUNT(entries));
	for (size_t i = 0; i < count; i++)
		entries[i] = model_grow(m, random_size(&m->random, size_max));
	for (size_t i = 0; i < count; i++)
		entries[i].iov_base = m->text + (uintptr_t)entries[i].iov_base;
	assert_int_equal(wal_stream_append_batch(m->stream, entries, count, 0, NULL), 0);
}

static void model_append_some(struct model *m, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		switch (random_below(&m->random, 8)) {
		case 0:
			model_append(m, 0);
			break;
		case 1:
			model_append_batch(m, 1 + random_below(&m->random, 60), 3000);
			break;
		case 2:
			model_append(m, random_size(&m->random, 600000));
			break;
		default:
			model_append(m, random_size(&m->random, 3000));
		}
	}
}

/* The text has the bytes of [begin, end) of the model, read from `offset` on. */
static void expect_read(struct text *text, const struct model *m, size_t begin, size_t end, uint64_t offset, size_t size)
{
	size_t expected = offset >= end - begin ? 0 : end - begin - offset < size ? end - begin - offset : size, got = 4711;
	char *data = malloc(size + 1);

	assert_non_null(data);
	if (text_is_ready(text, size, offset))
		assert_int_equal(expected, size);
	assert_int_equal(text_read(text, data, size, offset, &got), 0);
	assert_int_equal(got, expected);
	if (expected)
		assert_memory_equal(data, m->text + begin + offset, expected);
	free(data);
}

static void expect_text(const struct model *m, struct random *random, uint64_t start_id, uint64_t end_id)
{
	size_t begin = m->begins[start_id], end = m->begins[end_id < m->count ? end_id : m->count];
	static const size_t sizes[] = { 1, 7, 4096, 70000, 131072 };
	struct text text;
	uint64_t at;

	assert_int_equal(text_init(&text, m->stream, start_id, end_id), 0);
	/* from begin to end, or far into it */
	for (at = 0; at <= end - begin && (!start_id || at < 1 << 21); at += 131072) {
		expect_read(&text, m, begin, end, at, 131072);
		text_read_ahead(&text);
	}
	for (int i = 0; i < 30; i++) {
		size_t size = sizes[random_below(random, TEST_COUNT(sizes))];

		at = random_below(random, end - begin + 10);
		if (i % 2)
			at = m->begins[start_id + random_below(random, (end_id < m->count ? end_id : m->count) - start_id + 1)] - begin;
		for (uint64_t n = random_below(random, 4); n < 4; n++, at += size)
			expect_read(&text, m, begin, end, at, size);
	}
	expect_read(&text, m, begin, end, UINT64_MAX, 10);
	expect_read(&text, m, begin, end, UINT64_MAX - text.base, 10);
	expect_read(&text, m, begin, end, 0, 0);
	text_release(&text);
}

static void any_place(const struct wal_options *opts)
{
	struct random random = { 1 };
	struct model m;

	model_begin(&m, opts);
	expect_text(&m, &random, 0, UINT64_MAX);
	model_append_some(&m, 60);
	model_append(&m, BIG);
	model_append(&m, 0);
	model_append(&m, BIG + 1);
	model_append_some(&m, 20);
	expect_text(&m, &random, 0, UINT64_MAX);
	expect_text(&m, &random, m.count, UINT64_MAX);
	for (int i = 0; i < 6; i++) {
		uint64_t start = random_below(&random, m.count), end = start + random_below(&random, m.count - start + 1);

		expect_text(&m, &random, start, UINT64_MAX);
		expect_text(&m, &random, start, end);
	}
	model_close(&m);
	model_open(&m, opts);
	expect_text(&m, &random, 0, UINT64_MAX);
	model_end(&m);
}

static void any_place_of_one_segment(void **state)
{
	(void)state;
	any_place(&(struct wal_options){ .sync = WAL_SYNC_ASYNC });
}

static void any_place_of_many_segments(void **state)
{
	(void)state;
	any_place(&(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_size = 16384, .max_open_segments = 8 });
}

static void any_place_compressed_and_mapped(void **state)
{
	(void)state;
	any_place(&(struct wal_options){ .sync = WAL_SYNC_ASYNC, .compression = WAL_COMPRESSION_LZ4, .read = WAL_READ_MMAP, .segment_size = 1 << 20 });
}

static void any_place_in_small_windows(void **state)
{
	(void)state;
	any_place(&(struct wal_options){ .sync = WAL_SYNC_ASYNC, .compression = WAL_COMPRESSION_LZ4, .read_buffer = 4096, .block_cache = WAL_SIZE_NONE });
}

/* What is appended is read by who has come to the end, also of an empty stream. */
static void grows(void **state)
{
	struct model m;
	struct text text;
	uint64_t end = 0;

	(void)state;
	model_begin(&m, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_size = 65536 });
	assert_int_equal(text_init(&text, m.stream, 0, UINT64_MAX), 0);
	for (int i = 0; i < 300; i++) {
		size_t old = m.size;

		expect_read(&text, &m, 0, m.size, m.size, 100);
		model_append(&m, random_size(&m.random, 20000));
		assert_int_equal(text_end(m.stream, UINT64_MAX, &end), 0);
		assert_int_equal(end, m.size);
		if (i % 3 == 0)
			text_rest(&text);
		expect_read(&text, &m, 0, m.size, old, 1 << 20);
		if (i % 10 == 0)
			expect_read(&text, &m, 0, m.size, 0, 4096);
	}
	text_release(&text);
	model_end(&m);
}

/* Where the end is known, it is an end, and no place that is gone. */
static void prune_overtakes_a_fixed_end(void **state)
{
	char data[512];
	struct model m;
	struct text text, empty;
	uint64_t segments;
	size_t got = 1;

	(void)state;
	model_begin(&m, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_size = 4096, .read_buffer = 4096 });
	for (int i = 0; i < 200; i++)
		model_append(&m, 500);
	assert_int_equal(text_init(&text, m.stream, 0, 100), 0);
	assert_int_equal(wal_stream_prune(m.stream, 150, &segments), 0);
	assert_int_equal(text_read(&text, data, sizeof(data), 100 * 500, &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(text_read(&text, data, sizeof(data), 99 * 500, &got), WAL_PRUNED);
	assert_int_equal(text_init(&empty, m.stream, 100, 100), 0);
	assert_int_equal(text_read(&empty, data, sizeof(data), 0, &got), 0);
	assert_int_equal(got, 0);
	assert_int_equal(text_read(&empty, data, sizeof(data), UINT64_MAX, &got), 0);
	assert_int_equal(got, 0);
	text_release(&text);
	text_release(&empty);
	model_end(&m);
}

/* Places keep their offsets; those whose entries are gone fail, wherever the reader stood. */
static void prune_overtakes(void **state)
{
	char data[512];
	struct model m;
	struct text at_begin, in_middle, late;
	uint64_t segments, first, behind;
	size_t got;

	(void)state;
	model_begin(&m, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_size = 4096, .read_buffer = 4096 });
	for (int i = 0; i < 200; i++)
		model_append(&m, 500);
	assert_int_equal(text_init(&at_begin, m.stream, 0, UINT64_MAX), 0);
	assert_int_equal(text_init(&in_middle, m.stream, 0, UINT64_MAX), 0);
	expect_read(&in_middle, &m, 0, m.size, 50 * 500, 100);
	assert_int_equal(wal_stream_prune(m.stream, 100, &segments), 0);
	wal_stream_bounds(m.stream, &first, NULL, NULL);
	assert_true(first > 80 && first <= 100);
	assert_int_equal(text_init(&late, m.stream, 50, UINT64_MAX), WAL_PRUNED);
	assert_int_equal(text_read(&at_begin, data, sizeof(data), 0, &got), WAL_PRUNED);
	assert_int_equal(text_skip(&at_begin, WAL_PRUNED, 0, &behind), 0);
	assert_int_equal(behind, first * 500);
	assert_int_equal(text_read(&at_begin, data, sizeof(data), (first - 1) * 500 + 499, &got), WAL_PRUNED);
	/* what it has in memory it may give, and nothing else */
	got = 0;
	for (uint64_t at = 50 * 500 + 100; at < first * 500; at += got) {
		int r = text_read(&in_middle, data, sizeof(data), at, &got);

		if (r) {
			assert_int_equal(r, WAL_PRUNED);
			break;
		}
		assert_true(got > 0);
		assert_memory_equal(data, m.text + at, got);
	}
	for (uint64_t id = first; id < m.count; id += 13) {
		expect_read(&at_begin, &m, 0, m.size, id * 500 + 3, 1000);
		expect_read(&in_middle, &m, 0, m.size, id * 500 + 3, 1000);
	}
	assert_int_equal(text_init(&late, m.stream, first, UINT64_MAX), 0);
	expect_read(&late, &m, first * 500, m.size, 0, 100000);
	text_release(&at_begin);
	text_release(&in_middle);
	text_release(&late);
	model_end(&m);
}

static void damage(struct model *m, uint64_t first_id, size_t skip, const char *needle, size_t size)
{
	char path[PATH_MAX], *bytes = malloc(1 << 24);
	int fd = open(segment_path(m->path, "text", first_id, ".wal", path), O_RDWR);
	ssize_t n = pread(fd, bytes, 1 << 24, 0);
	char *found = memmem(bytes, (size_t)n, needle, size);

	assert_non_null(found);
	found += skip;
	*found ^= 1;
	assert_int_equal(pwrite(fd, found, 1, found - bytes), 1);
	close(fd);
	free(bytes);
}

/* Up to the damaged entry, and from the next on; not a byte of it, and no other place. */
static void damaged_entries_cost_themselves(void **state)
{
	static const size_t sizes[] = { 1000, 2000, BIG, 300000, 10 };
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC };

	(void)state;
	for (size_t bad = 0; bad < TEST_COUNT(sizes) - 1; bad++) {
		struct model m;
		struct text text;
		char data[4096];
		uint64_t behind;
		size_t got;

		model_begin(&m, &opts);
		for (size_t i = 0; i < TEST_COUNT(sizes); i++)
			model_append(&m, sizes[i]);
		assert_int_equal(wal_stream_rotate(m.stream), 0);
		model_append(&m, 5);
		model_close(&m);
		damage(&m, 0, 100, m.text + m.begins[bad], 200);
		model_open(&m, &opts);
		assert_int_equal(text_init(&text, m.stream, 0, UINT64_MAX), 0);
		for (uint64_t at = 0; at < m.begins[bad]; at += 1000)
			expect_read(&text, &m, 0, m.begins[bad], at, 1 << 20);
		for (int i = 0; i < 3; i++) {
			uint64_t at = m.begins[bad] + (uint64_t)i * (sizes[bad] - 1) / 2;

			assert_int_equal(text_read(&text, data, sizeof(data), at, &got), -EBADMSG);
			assert_int_equal(text_skip(&text, -EBADMSG, at, &behind), 0);
			assert_int_equal(behind, m.begins[bad + 1]);
		}
		/* where nothing is known to be bad, nothing is passed over */
		assert_int_equal(text_skip(&text, -EBADMSG, m.begins[bad + 1], &behind), -EBADMSG);
		text_rest(&text);
		expect_read(&text, &m, 0, m.size, m.begins[bad + 1], sizeof(data));
		expect_read(&text, &m, 0, m.size, m.begins[bad + 1], 1 << 23);
		text_release(&text);
		model_end(&m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_place_of_one_segment),
		cmocka_unit_test(any_place_of_many_segments),
		cmocka_unit_test(any_place_compressed_and_mapped),
		cmocka_unit_test(any_place_in_small_windows),
		cmocka_unit_test(grows),
		cmocka_unit_test(prune_overtakes),
		cmocka_unit_test(prune_overtakes_a_fixed_end),
		cmocka_unit_test(damaged_entries_cost_themselves),
	};

	return TEST_RUN(tests);
}
