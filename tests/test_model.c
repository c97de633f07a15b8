/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random operations on a store, each compared with a model in memory: all combinations of sync, compression, read and segment sizes.
 * WALFS_TEST_SEED and WALFS_TEST_STEPS (for each combination) override what is built in; the seed is printed.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "damage.h"
#include "random.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum {
	STREAMS = 3,
	SIZE_MAX_APPEND = 20000,
	SIZE_MAX_DRAFT = 40000,
	BATCH_MAX = 20,
	STEPS = 250,
};

struct model_entry {
	uint8_t *data;
	size_t size;
	int64_t time_ns; /* as it was first seen */
};

struct model_stream {
	bool exists;
	struct wal_stream *st;
	struct model_entry *entries;
	size_t count;
	size_t capacity;
	struct wal_draft *draft;
	uint8_t *draft_data;
	size_t draft_size;
};

struct model {
	struct sys sys; /* with a clock of our own */
	pthread_mutex_t clock_lock;
	int64_t clock_ns; /* protected by clock_lock, as what follows */
	struct random clock_random;
	struct random random;
	struct wal_options opts;
	struct tmpdir dir;
	unsigned generation; /* of the copy that is open */
	struct wal_store *store;
	struct model_stream streams[STREAMS];
	bool times_may_change;
};

static uint64_t environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* No store here is damaged, so there is nothing to complain of. */
static void print_complaint(void *arg, enum wal_log_level level, const char *message)
{
	(void)arg;
	if (level != WAL_LOG_INFO)
		fprintf(stderr, "the library says: %s\n", message);
}

/* Steps of all lengths, now and then back: how large the records in the sidecars are depends on it. Streams that are synced together ask at the same time. */
static int64_t model_now(struct sys *sys)
{
	struct model *m = container_of(sys, struct model, sys);
	LOCKED_SCOPE(&m->clock_lock);
	int64_t step = (int64_t)random_size(&m->clock_random, (size_t)1 << 36);

	m->clock_ns += random_below(&m->clock_random, 20) == 0 ? -step : step;
	return m->clock_ns;
}

static const char *stream_name(size_t i)
{
	static const char *const names[STREAMS] = { "a", "with space and ü", "zz.top" };

	return names[i];
}

static char *store_path(const struct model *m, char buf[PATH_MAX])
{
	char name[32];

	snprintf(name, sizeof(name), "store%u", m->generation);
	return tmpdir_path(&m->dir, name, buf);
}

static struct model_stream *any_stream(struct model *m)
{
	for (;;) {
		struct model_stream *s = &m->streams[random_below(&m->random, STREAMS)];

		if (s->exists)
			return s;
	}
}

static void remember(struct model_stream *s, const void *data, size_t size)
{
	if (s->count == s->capacity) {
		s->capacity = s->capacity ? 2 * s->capacity : 64;
		s->entries = reallocarray(s->entries, s->capacity, sizeof(*s->entries));
		assert_non_null(s->entries);
	}
	uint8_t *copy = malloc(size + 1);
	assert_non_null(copy);
	if (size > 0)
		memcpy(copy, data, size);
	s->entries[s->count++] = (struct model_entry){ copy, size, 0 };
}

static void forget_entries(struct model_stream *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->entries[i].data);
	free(s->entries);
	s->entries = NULL;
	s->count = s->capacity = 0;
}

static uint8_t *random_bytes(struct model *m, size_t size)
{
	uint8_t *data = malloc(size + 1);

	assert_non_null(data);
	random_fill(random_next(&m->random), data, size);
	return data;
}

static unsigned random_flags(struct model *m)
{
	return random_below(&m->random, 8) == 0 ? WAL_DURABLE : 0;
}

/* ---- Changes ---- */

static void step_append(struct model *m)
{
	struct model_stream *s = any_stream(m);
	size_t size = random_size(&m->random, SIZE_MAX_APPEND);
	uint8_t *data = random_bytes(m, size);
	uint64_t id = UINT64_MAX;

	assert_int_equal(wal_stream_append(s->st, data, size, random_flags(m), &id), 0);
	assert_int_equal(id, s->count);
	remember(s, data, size);
	free(data);
}

static void step_batch(struct model *m)
{
	struct model_stream *s = any_stream(m);
	size_t count = 1 + random_below(&m->random, BATCH_MAX);
	struct iovec iov[BATCH_MAX];
	uint64_t id = UINT64_MAX, first = s->count;

	for (size_t i = 0; i < count; i++) {
		iov[i].iov_len = random_size(&m->random, 1500);
		iov[i].iov_base = random_bytes(m, iov[i].iov_len);
	}
	assert_int_equal(wal_stream_append_batch(s->st, iov, count, random_flags(m), &id), 0);
	assert_int_equal(id, first);
	for (size_t i = 0; i < count; i++) {
		remember(s, iov[i].iov_base, iov[i].iov_len);
		free(iov[i].iov_base);
	}
}

static void step_txn(struct model *m)
{
	struct model_stream *s = any_stream(m);
	size_t count = random_below(&m->random, BATCH_MAX), committed = SIZE_MAX;
	bool commit = random_below(&m->random, 4) > 0;
	uint64_t id = UINT64_MAX, first = s->count;
	struct wal_txn *txn;

	assert_int_equal(wal_txn_new(s->st, &txn), 0);
	for (size_t i = 0; i < count; i++) {
		size_t size = random_size(&m->random, 1500);
		uint8_t *data = random_bytes(m, size);

		assert_int_equal(wal_txn_add(txn, data, size), 0);
		if (commit)
			remember(s, data, size);
		free(data);
	}
	assert_int_equal(wal_txn_count(txn), count);
	if (!commit) {
		wal_txn_abort(txn);
		return;
	}
	assert_int_equal(wal_txn_commit(txn, random_flags(m), &id, &committed), 0);
	assert_int_equal(committed, count);
	if (count > 0)
		assert_int_equal(id, first);
}

static void draft_resize(struct model_stream *s, size_t size)
{
	s->draft_data = realloc(s->draft_data, size + 1);
	assert_non_null(s->draft_data);
	if (size > s->draft_size)
		memset(s->draft_data + s->draft_size, 0, size - s->draft_size);
	s->draft_size = size;
}

static void draft_end(struct model *m, struct model_stream *s, bool commit)
{
	uint64_t id = UINT64_MAX;

	if (!s->draft)
		return;
	assert_int_equal(wal_draft_size(s->draft), s->draft_size);
	if (commit) {
		assert_int_equal(wal_draft_commit(s->draft, random_flags(m), &id), 0);
		assert_int_equal(id, s->count);
		remember(s, s->draft_data, s->draft_size);
	} else {
		wal_draft_free(s->draft);
	}
	free(s->draft_data);
	s->draft = NULL;
	s->draft_data = NULL;
	s->draft_size = 0;
}

static void draft_write(struct model *m, struct model_stream *s)
{
	/* Rarely so far behind that it goes to the temporary file. */
	size_t offset = random_below(&m->random, 40) == 0 ? (1 << 20) + 100 : random_size(&m->random, SIZE_MAX_DRAFT);
	size_t size = random_size(&m->random, SIZE_MAX_DRAFT);
	uint8_t *data = random_bytes(m, size);

	assert_int_equal(wal_draft_write(s->draft, data, size, offset), 0);
	if (size > 0) {
		if (offset + size > s->draft_size)
			draft_resize(s, offset + size);
		memcpy(s->draft_data + offset, data, size);
	}
	free(data);
}

/* A draft stays open over other operations, as a file that is being written does. */
static void step_draft(struct model *m)
{
	struct model_stream *s = any_stream(m);

	if (!s->draft)
		assert_int_equal(wal_draft_new(s->st, &s->draft), 0);
	for (uint64_t n = random_below(&m->random, 4); n > 0; n--) {
		if (random_below(&m->random, 4) > 0) {
			draft_write(m, s);
		} else {
			size_t size = random_size(&m->random, SIZE_MAX_DRAFT);

			assert_int_equal(wal_draft_truncate(s->draft, size), 0);
			draft_resize(s, size);
		}
	}
	if (random_below(&m->random, 2) == 0)
		draft_end(m, s, random_below(&m->random, 5) > 0);
}

static void step_rotate(struct model *m)
{
	struct model_stream *s = any_stream(m);
	struct wal_stream_stat before, after;

	assert_int_equal(wal_stream_stat(s->st, &before), 0);
	assert_int_equal(wal_stream_rotate(s->st), 0);
	assert_int_equal(wal_stream_stat(s->st, &after), 0);
	assert_int_equal(after.active_segment_id, s->count);
	assert_int_equal(after.segments, before.segments + (before.active_segment_id < s->count));
	assert_int_equal(after.durable_id, s->count);
}

static void step_sync(struct model *m)
{
	struct model_stream *s = any_stream(m);
	uint64_t durable;

	if (random_below(&m->random, 2))
		assert_int_equal(wal_stream_sync(s->st), 0);
	else
		assert_int_equal(wal_store_sync(m->store), 0);
	wal_stream_bounds(s->st, NULL, NULL, &durable);
	assert_int_equal(durable, s->count);
}

static void step_create_or_delete(struct model *m)
{
	size_t i = random_below(&m->random, STREAMS);
	struct model_stream *s = &m->streams[i];
	struct wal_stream *other;

	if (!s->exists) {
		assert_int_equal(wal_stream_delete(m->store, stream_name(i)), -ENOENT);
		assert_int_equal(wal_stream_open(m->store, stream_name(i), 0, &other, NULL), -ENOENT);
		assert_int_equal(wal_stream_open(m->store, stream_name(i), WAL_CREATE | WAL_EXCL, &s->st, NULL), 0);
		s->exists = true;
		return;
	}
	assert_int_equal(wal_stream_open(m->store, stream_name(i), WAL_CREATE | WAL_EXCL, &other, NULL), -EEXIST);
	if (s->count > 0) {
		assert_int_equal(wal_stream_delete(m->store, stream_name(i)), -ENOTEMPTY);
	} else if (i > 0) { /* there is always one */
		draft_end(m, s, false);
		assert_int_equal(wal_stream_delete(m->store, stream_name(i)), 0);
		assert_int_equal(wal_stream_append(s->st, "x", 1, 0, NULL), -ENOENT);
		wal_stream_close(s->st);
		s->exists = false;
		s->st = NULL;
	}
}

/* ---- Looking ---- */

static void expect_entry(const struct model_stream *s, uint64_t id, const void *data, size_t size)
{
	assert_true(id < s->count);
	if (size != s->entries[id].size || memcmp(data, s->entries[id].data, size) != 0)
		fail_msg("entry %" PRIu64 " of %zu has %zu bytes, expected %zu, or they differ", id, s->count, size, s->entries[id].size);
}

static uint64_t random_id(struct model *m, const struct model_stream *s)
{
	return random_below(&m->random, s->count + 2);
}

static void step_get(struct model *m)
{
	struct model_stream *s = any_stream(m);
	struct wal_entry_info info;
	struct wal_buf buf = { 0 };

	for (int n = 0; n < 5; n++) {
		uint64_t id = random_id(m, s);
		int r = wal_stream_get(s->st, id, &buf);

		assert_int_equal(r, id < s->count ? 0 : WAL_NOT_FOUND);
		assert_int_equal(wal_stream_lookup(s->st, id, &info), r);
		if (r == 0) {
			expect_entry(s, id, buf.data, buf.size);
			assert_int_equal(info.size, buf.size);
		}
	}
	wal_buf_release(&buf);
}

static void step_get_batch(struct model *m)
{
	struct model_stream *s = any_stream(m);
	struct wal_entry entries[50];
	size_t want = 1 + random_below(&m->random, TEST_COUNT(entries)), bytes_max = random_size(&m->random, 100000), count = 0, bytes = 0;
	struct wal_buf buf = { 0 };
	uint64_t id = random_id(m, s);
	int r = wal_stream_get_batch(s->st, id, want, bytes_max, &buf, entries, &count);

	assert_int_equal(r, id < s->count ? 0 : WAL_NOT_FOUND);
	if (r == 0)
		assert_true(count > 0 && count <= want);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(entries[i].id, id + i);
		expect_entry(s, id + i, entries[i].data, entries[i].size);
		bytes += entries[i].size;
	}
	assert_true(count <= 1 || bytes <= bytes_max);
	/* Short only for a reason. */
	if (r == 0 && count < want && id + count < s->count)
		assert_true(bytes + s->entries[id + count].size > bytes_max);
	wal_buf_release(&buf);
}

/* Copies a few entries from `id` on; returns the id that comes next. */
static uint64_t expect_copied(struct model *m, struct model_stream *s, struct wal_iter *it, uint64_t id)
{
	static uint8_t buf[100000];
	uint64_t end_id = random_below(&m->random, 2) ? random_id(m, s) : UINT64_MAX;
	size_t size = random_size(&m->random, sizeof buf), count = 0, done = 0;
	struct wal_entry e;
	int r = wal_iter_copy(it, end_id, buf, size, &e, &count);

	assert_int_equal(r, id < s->count && id < end_id ? 0 : WAL_END);
	if (r != 0)
		return id;
	assert_int_equal(e.id, id);
	assert_ptr_equal(e.data, buf);
	assert_true(id + count <= end_id);
	for (; count > 0; count--, id++) {
		assert_true(s->entries[id].size <= e.size - done);
		expect_entry(s, id, buf + done, s->entries[id].size);
		done += s->entries[id].size;
	}
	assert_int_equal(done, e.size);
	/* Short only for a reason. */
	if (id < s->count && id < end_id && done < size)
		assert_true(done + s->entries[id].size > size);
	return id;
}

static void step_iterate(struct model *m)
{
	struct model_stream *s = any_stream(m);
	uint64_t id = random_id(m, s);
	struct wal_iter *it;
	struct wal_entry e;

	assert_int_equal(wal_iter_new(s->st, id, &it), 0);
	for (int seeks = 2; seeks > 0; seeks--) {
		for (uint64_t n = random_below(&m->random, 60); n > 0; n--) {
			if (random_below(&m->random, 4) == 0)
				id = expect_copied(m, s, it, id);
			int r = wal_iter_next(it, &e);

			assert_int_equal(r, id < s->count ? 0 : WAL_END);
			if (r != 0)
				break;
			assert_int_equal(e.id, id);
			expect_entry(s, id++, e.data, e.size);
		}
		id = random_id(m, s);
		wal_iter_seek(it, id);
	}
	wal_iter_free(it);
}

static void step_read_pieces(struct model *m)
{
	struct model_stream *s = any_stream(m);
	uint64_t id = random_id(m, s);
	struct wal_entry_info info;
	struct wal_reader *reader;
	uint8_t piece[3000];
	int r = wal_reader_open(s->st, id, &reader, &info);

	assert_int_equal(r, id < s->count ? 0 : WAL_NOT_FOUND);
	if (r != 0)
		return;
	assert_int_equal(info.size, s->entries[id].size);
	for (int n = 0; n < 5; n++) {
		uint64_t offset = random_below(&m->random, info.size + 10);
		size_t want = random_size(&m->random, sizeof(piece)), got = SIZE_MAX;
		size_t there = offset < info.size ? (size_t)(info.size - offset) : 0;

		assert_int_equal(wal_reader_read(reader, piece, want, offset, &got), 0);
		assert_int_equal(got, want < there ? want : there);
		if (got > 0)
			assert_memory_equal(piece, s->entries[id].data + offset, got);
	}
	wal_reader_close(reader);
}

static void expect_offsets(const struct model_stream *s)
{
	uint64_t offset = 0, at, id, skip;

	for (uint64_t i = 0; i <= s->count; i++) {
		assert_int_equal(wal_stream_offset_of(s->st, i, &at), 0);
		assert_int_equal(at, offset);
		if (i == s->count)
			break;
		if (s->entries[i].size > 0) {
			assert_int_equal(wal_stream_id_at(s->st, offset, &id, &skip), 0);
			assert_int_equal(id, i);
			assert_int_equal(skip, 0);
			offset += s->entries[i].size;
			assert_int_equal(wal_stream_id_at(s->st, offset - 1, &id, &skip), 0);
			assert_int_equal(id, i);
			assert_int_equal(skip, s->entries[i].size - 1);
		}
	}
	assert_int_equal(wal_stream_id_at(s->st, offset, &id, &skip), WAL_NOT_FOUND);
	assert_int_equal(wal_stream_offset_of(s->st, s->count + 1, &at), WAL_NOT_FOUND);
}

static void expect_stat(const struct model *m, const struct model_stream *s)
{
	struct wal_stream_stat stat;
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->count; i++)
		bytes += s->entries[i].size;
	assert_int_equal(wal_stream_stat(s->st, &stat), 0);
	assert_int_equal(stat.first_id, 0);
	assert_int_equal(stat.next_id, s->count);
	assert_int_equal(stat.entries, s->count);
	assert_int_equal(stat.payload_bytes, bytes);
	assert_true(stat.durable_id <= stat.next_id);
	if (m->opts.sync == WAL_SYNC_STRICT)
		assert_int_equal(stat.durable_id, stat.next_id);
	assert_true(stat.segments >= 1);
	assert_true(stat.active_segment_id <= s->count);
	assert_int_equal(stat.tail, WAL_TAIL_CLEAN);
	assert_int_equal(stat.health, WAL_HEALTHY);
	if (m->opts.segment_entries)
		assert_true(stat.segments >= s->count / (m->opts.segment_entries + BATCH_MAX));
	if (stat.active_segment_id < s->count)
		assert_int_equal(stat.last_append_ns, s->entries[s->count - 1].time_ns);
	assert_int_equal(stat.last_append_ns, wal_stream_mtime(s->st));
}

/* Everything, from one end to the other. */
static void expect_all(struct model *m, struct model_stream *s)
{
	struct wal_entry_info info;
	int64_t time = INT64_MIN;
	struct wal_iter *it;
	struct wal_entry e;

	assert_int_equal(wal_iter_new(s->st, 0, &it), 0);
	for (uint64_t id = 0; id < s->count; id++) {
		assert_int_equal(wal_iter_next(it, &e), 0);
		assert_int_equal(e.id, id);
		expect_entry(s, id, e.data, e.size);
		assert_int_equal(wal_stream_lookup(s->st, id, &info), 0);
		assert_int_equal(info.size, e.size);
		assert_int_equal(info.time_ns, e.time_ns);
		assert_true(e.time_ns > time);
		time = e.time_ns;
		if (s->entries[id].time_ns != 0 && !m->times_may_change)
			assert_int_equal(s->entries[id].time_ns, time);
		s->entries[id].time_ns = time;
	}
	assert_int_equal(wal_iter_next(it, &e), WAL_END);
	wal_iter_free(it);
	expect_stat(m, s);
	expect_offsets(s);
}

static void expect_names(struct model *m)
{
	char **names;
	size_t count, n = 0;

	assert_int_equal(wal_store_list(m->store, &names, &count), 0);
	for (size_t i = 0; i < STREAMS; i++) {
		if (!m->streams[i].exists)
			continue;
		assert_true(n < count);
		assert_string_equal(names[n++], stream_name(i));
	}
	assert_int_equal(n, count);
	assert_null(names[n]);
	free(names);
}

static void step_look(struct model *m)
{
	expect_all(m, any_stream(m));
	expect_names(m);
}

/* ---- Closing and opening ---- */

static void end_handles(struct model *m)
{
	for (size_t i = 0; i < STREAMS; i++) {
		draft_end(m, &m->streams[i], false);
		wal_stream_close(m->streams[i].st);
		m->streams[i].st = NULL;
	}
}

static void open_store(struct model *m)
{
	char path[PATH_MAX];
	struct wal_error err;

	if (store_open(&m->sys, store_path(m, path), &m->opts, &m->store, &err) != 0)
		fail_msg("cannot open '%s': %s", path, err.message);
}

static void begin_handles(struct model *m)
{
	open_store(m);
	for (size_t i = 0; i < STREAMS; i++) {
		if (m->streams[i].exists) {
			assert_int_equal(wal_stream_open(m->store, stream_name(i), 0, &m->streams[i].st, NULL), 0);
			expect_all(m, &m->streams[i]);
		}
	}
	expect_names(m);
	m->times_may_change = false;
}

static void step_reopen(struct model *m)
{
	/* Not all entries have been looked at: what their times are is learnt before. */
	for (size_t i = 0; i < STREAMS; i++) {
		if (m->streams[i].exists)
			expect_all(m, &m->streams[i]);
	}
	end_handles(m);
	store_close_or_fail(m->store);
	begin_handles(m);
}

/* What the death of the process would leave: the files as they are while the store is open. */
static void step_kill(struct model *m)
{
	char old[PATH_MAX], copy[PATH_MAX];
	struct tmpdir gone = { .fd = -1 };

	store_path(m, old);
	m->generation++;
	copy_tree(old, store_path(m, copy));
	end_handles(m);
	store_close_or_fail(m->store);
	snprintf(gone.path, sizeof(gone.path), "%s", old);
	gone.fd = dup(m->dir.fd);
	tmpdir_remove(&gone);
	m->times_may_change = true;
	begin_handles(m);
}

/* ---- Runs ---- */

static void step(struct model *m)
{
	static const struct {
		void (*run)(struct model *m);
		unsigned weight;
	} steps[] = {
		{ step_append, 40 }, { step_batch, 12 }, { step_txn, 6 },	  { step_draft, 12 },	   { step_rotate, 3 },
		{ step_sync, 4 },    { step_get, 10 },	 { step_get_batch, 8 },  { step_iterate, 8 },	   { step_read_pieces, 6 },
		{ step_look, 3 },    { step_reopen, 2 }, { step_kill, 2 },	  { step_create_or_delete, 5 },
	};
	unsigned total = 0;

	for (size_t i = 0; i < TEST_COUNT(steps); i++)
		total += steps[i].weight;
	uint64_t at = random_below(&m->random, total);
	for (size_t i = 0; i < TEST_COUNT(steps); i++) {
		if (at < steps[i].weight) {
			steps[i].run(m);
			return;
		}
		at -= steps[i].weight;
	}
}

static void run(const struct wal_options *opts, uint64_t seed)
{
	uint64_t steps = environment("WALFS_TEST_STEPS", STEPS);
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	m->random.state = seed;
	m->clock_random.state = seed ^ 1;
	/* Long ago: what a crash costs of the times comes from the files, and they must not be before it. */
	m->clock_ns = sys_real()->now(sys_real()) - 1000 * 86400 * (int64_t)1000000000;
	m->sys = *sys_real();
	m->sys.now = model_now;
	pthread_mutex_init(&m->clock_lock, NULL);
	m->opts = *opts;
	tmpdir_make(&m->dir, "model");
	m->streams[0].exists = true;
	open_store(m);
	m->streams[0].st = stream_open_or_fail(m->store, stream_name(0));
	for (uint64_t i = 0; i < steps; i++)
		step(m);
	step_reopen(m);
	end_handles(m);
	store_close_or_fail(m->store);
	for (size_t i = 0; i < STREAMS; i++)
		forget_entries(&m->streams[i]);
	tmpdir_remove(&m->dir);
	pthread_mutex_destroy(&m->clock_lock);
	free(m);
}

static void all_combinations(enum wal_sync sync)
{
	static const struct {
		uint64_t size, entries;
	} segments[] = { { 0, 0 }, { 4096, 0 }, { 64 << 10, 7 } };
	uint64_t seed = environment("WALFS_TEST_SEED", 20251);

	print_message("# seed %" PRIu64 "\n", seed);
	for (unsigned i = (unsigned)environment("WALFS_TEST_COMBINATION", 0); i < 4 * TEST_COUNT(segments); i++) {
		struct wal_options opts = {
			.sync = sync,
			.compression = i & 1 ? WAL_COMPRESSION_LZ4 : WAL_COMPRESSION_NONE,
			.min_compression_size = 64,
			.read = i & 2 ? WAL_READ_MMAP : WAL_READ_IO,
			.segment_size = segments[i / 4].size,
			.segment_entries = segments[i / 4].entries,
			.block_cache = i & 1 ? 64 << 10 : 0,
			.max_open_segments = 8,
			.read_buffer = i & 2 ? 4096 : 0,
			.log = print_complaint,
		};

		print_message("# sync %d, combination %u\n", sync, i);
		run(&opts, seed + 100 * (unsigned)sync + i);
	}
}

/* Durable before each call returns. */
static void strict_stores(void **state)
{
	(void)state;
	all_combinations(WAL_SYNC_STRICT);
}

static void batch_stores(void **state)
{
	(void)state;
	all_combinations(WAL_SYNC_BATCH);
}

/* All in the page cache: it must all the same survive the death of the process. */
static void async_stores(void **state)
{
	(void)state;
	all_combinations(WAL_SYNC_ASYNC);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(strict_stores),
		cmocka_unit_test(batch_stores),
		cmocka_unit_test(async_stores),
	};

	/* Nothing here loses power, so syncs may cost nothing. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	alarm(300); /* a hang is a failure, not a wait */
	return TEST_RUN(tests);
}
