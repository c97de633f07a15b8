/* SPDX-License-Identifier: Apache-2.0 */
#include "stores.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "random.h"
#include "test.h"

void logged_write(void *arg, enum wal_log_level level, const char *message)
{
	struct logged *logged = arg;
	LOCKED_SCOPE(&logged->lock);
	size_t size = strlen(message);
	char *text = realloc(logged->text, logged->size + size + 2);

	(void)level;
	if (!text)
		abort();
	memcpy(text + logged->size, message, size);
	memcpy(text + logged->size + size, "\n", 2);
	logged->text = text;
	logged->size += size + 1;
}

bool logged_has(struct logged *logged, const char *text)
{
	LOCKED_SCOPE(&logged->lock);

	return logged->text && strstr(logged->text, text);
}

void logged_release(struct logged *logged)
{
	free(logged->text);
	logged->text = NULL;
	logged->size = 0;
}

struct wal_store *store_open_or_fail(const char *path, const struct wal_options *opts)
{
	struct wal_store *store;
	struct wal_error err;

	if (wal_store_open(path, opts, &store, &err) != 0)
		fail_msg("cannot open '%s': %s", path, err.message);
	return store;
}

void store_close_or_fail(struct wal_store *store)
{
	assert_int_equal(wal_store_close(store), 0);
}

struct wal_stream *stream_open_or_fail(struct wal_store *store, const char *name)
{
	struct wal_stream *st;
	struct wal_error err;

	if (wal_stream_open(store, name, wal_store_options(store)->ro ? 0 : WAL_CREATE, &st, &err) != 0)
		fail_msg("cannot open stream '%s': %s", name, err.message);
	return st;
}

const void *entry_content(uint64_t id, uint8_t buf[ENTRY_SIZE_MAX], size_t *ret_size)
{
	int n = snprintf((char *)buf, ENTRY_SIZE_MAX, "entry %" PRIu64 ";", id);
	size_t more = (size_t)(id * 37 % 211);

	random_fill(id, buf + n, more);
	*ret_size = (size_t)n + more;
	return buf;
}

void stream_fill(struct wal_stream *st, uint64_t first, uint64_t next)
{
	uint8_t buf[ENTRY_SIZE_MAX];

	for (uint64_t i = first; i < next; i++) {
		uint64_t id = UINT64_MAX;
		size_t size;
		const void *data = entry_content(i, buf, &size);
		int r = wal_stream_append(st, data, size, 0, &id);

		if (r != 0)
			fail_msg("cannot append entry %" PRIu64 ": %s", i, wal_strerror(r));
		assert_int_equal(id, i);
	}
}

static void expect_content(uint64_t id, const void *data, size_t size)
{
	uint8_t buf[ENTRY_SIZE_MAX];
	size_t expected_size;
	const void *expected = entry_content(id, buf, &expected_size);

	if (size != expected_size || memcmp(data, expected, size) != 0)
		fail_msg("entry %" PRIu64 " has %zu bytes '%.*s', expected %zu", id, size, (int)(size < 30 ? size : 30), (const char *)data, expected_size);
}

static void expect_one_by_one(struct wal_stream *st, uint64_t first, uint64_t next)
{
	struct wal_entry_info info;
	struct wal_buf buf = { 0 };
	uint64_t offset = 0;
	int64_t before = INT64_MIN;

	for (uint64_t id = first; id < next; id++) {
		uint64_t start, found, skip;
		int r = wal_stream_get(st, id, &buf);

		if (r != 0)
			fail_msg("cannot get entry %" PRIu64 ": %s", id, wal_strerror(r));
		expect_content(id, buf.data, buf.size);
		assert_int_equal(wal_stream_lookup(st, id, &info), 0);
		assert_int_equal(info.id, id);
		assert_int_equal(info.size, buf.size);
		assert_true(info.time_ns > before);
		before = info.time_ns;
		assert_int_equal(wal_stream_offset_of(st, id, &start), 0);
		assert_int_equal(start, offset);
		assert_int_equal(wal_stream_id_at(st, offset + buf.size - 1, &found, &skip), 0);
		assert_int_equal(found, id);
		assert_int_equal(skip, buf.size - 1);
		offset += buf.size;
	}
	assert_int_equal(wal_stream_lookup(st, next, &info), WAL_NOT_FOUND);
	assert_int_equal(wal_stream_get(st, next, &buf), WAL_NOT_FOUND);
	if (first > 0)
		assert_int_equal(wal_stream_get(st, first - 1, &buf), WAL_PRUNED);
	wal_buf_release(&buf);
}

static void expect_in_a_row(struct wal_stream *st, uint64_t first, uint64_t next)
{
	struct wal_entry e[64];
	struct wal_buf buf = { 0 };
	struct wal_iter *it;

	assert_int_equal(wal_iter_new(st, first, &it), 0);
	for (uint64_t id = first; id < next; id++) {
		int r = wal_iter_next(it, e);

		if (r != 0)
			fail_msg("iteration at entry %" PRIu64 ": %s", id, wal_strerror(r));
		assert_int_equal(e[0].id, id);
		expect_content(id, e[0].data, e[0].size);
	}
	assert_int_equal(wal_iter_next(it, e), WAL_END);
	wal_iter_free(it);
	for (uint64_t id = first; id < next;) {
		size_t count;

		assert_int_equal(wal_stream_get_batch(st, id, TEST_COUNT(e), 4096, &buf, e, &count), 0);
		assert_true(count > 0);
		for (size_t i = 0; i < count; i++, id++) {
			assert_int_equal(e[i].id, id);
			expect_content(id, e[i].data, e[i].size);
		}
	}
	wal_buf_release(&buf);
}

void stream_expect(struct wal_stream *st, uint64_t first, uint64_t next)
{
	uint64_t got_first, got_next;

	wal_stream_bounds(st, &got_first, &got_next, NULL);
	assert_int_equal(got_first, first);
	assert_int_equal(got_next, next);
	expect_one_by_one(st, first, next);
	expect_in_a_row(st, first, next);
}

char *segment_path(const char *store, const char *stream, uint64_t first_id, const char *suffix, char *buf)
{
	int n = snprintf(buf, PATH_MAX, "%s/%s/%020" PRIu64 "%s", store, stream, first_id, suffix);

	assert_true(n > 0 && n < PATH_MAX);
	return buf;
}
