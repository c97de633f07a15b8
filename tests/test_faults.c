/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A workload over a whole store with one system call after the other failing: the first, the second … until a run meets no fault; then the same with everything
 * failing from there on, and with writes that are cut short. What a call answered must hold when the store is opened again over the real calls.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "faultsys.h"
#include "random.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum {
	ITEMS_MAX = 64,
	BATCH = 5,
	SPILLED = (1 << 20) + 5000,
	STREAMS = 2,
};

static const char *const stream_names[STREAMS] = { "a", "b" };

/* One entry that the workload tried to append. */
struct item {
	int result;
	uint64_t id;
	unsigned stream;
	size_t size;
	unsigned seen;
};

struct run {
	struct faultsys f;
	struct tmpdir dir;
	struct wal_options opts;
	struct logged logged;
	struct item items[ITEMS_MAX];
	size_t count;
	uint8_t *buffer; /* of SPILLED bytes */
	uint8_t *expected;
	bool ok; /* every call has succeeded so far */
};

/* The content of item `number`: its number, then what is made from it. */
static void fill_item(uint32_t number, uint8_t *data, size_t size)
{
	memcpy(data, &number, sizeof(number));
	random_fill(number, data + sizeof(number), size - sizeof(number));
}

static struct item *new_item(struct run *run, unsigned stream, size_t size)
{
	assert_true(run->count < ITEMS_MAX);
	struct item *item = &run->items[run->count];
	*item = (struct item){ .result = -ECANCELED, .stream = stream, .size = size };
	fill_item((uint32_t)run->count++, run->buffer, size);
	return item;
}

static int note(struct run *run, int result)
{
	run->ok = run->ok && result == 0;
	return result;
}

/* ---- The workload ---- */

static void append(struct run *run, struct wal_stream *st, unsigned stream, size_t size)
{
	struct item *item = new_item(run, stream, size);

	item->result = note(run, wal_stream_append(st, run->buffer, size, 0, &item->id));
}

static void append_batch(struct run *run, struct wal_stream *st, unsigned stream)
{
	static uint8_t bytes[BATCH][200];
	struct iovec iov[BATCH];
	size_t first = run->count;
	uint64_t id = 0;

	for (unsigned i = 0; i < BATCH; i++) {
		new_item(run, stream, sizeof(bytes[i]));
		memcpy(bytes[i], run->buffer, sizeof(bytes[i]));
		iov[i] = (struct iovec){ bytes[i], sizeof(bytes[i]) };
	}
	int result = note(run, wal_stream_append_batch(st, iov, BATCH, 0, &id));
	for (unsigned i = 0; i < BATCH; i++) {
		run->items[first + i].result = result;
		run->items[first + i].id = id + i;
	}
}

static void append_draft(struct run *run, struct wal_stream *st, unsigned stream, size_t size)
{
	struct wal_draft *draft;
	struct item *item = new_item(run, stream, size);
	size_t half = size / 2;

	item->result = note(run, wal_draft_new(st, &draft));
	if (item->result != 0)
		return;
	item->result = note(run, wal_draft_write(draft, run->buffer + half, size - half, half));
	if (item->result == 0)
		item->result = note(run, wal_draft_write(draft, run->buffer, half, 0));
	if (item->result == 0)
		item->result = note(run, wal_draft_commit(draft, 0, &item->id));
	else
		wal_draft_free(draft);
}

/* What comes back is right or an error. */
static void read_all(struct run *run, struct wal_stream *st, unsigned stream)
{
	struct wal_buf buf = { 0 };
	struct wal_stream_stat stat;
	struct wal_iter *it;
	struct wal_entry e;

	for (uint32_t i = 0; i < run->count; i++) {
		if (run->items[i].stream != stream || run->items[i].result != 0)
			continue;
		if (note(run, wal_stream_get(st, run->items[i].id, &buf)) == 0) {
			assert_int_equal(buf.size, run->items[i].size);
			fill_item(i, run->expected, buf.size);
			assert_memory_equal(buf.data, run->expected, buf.size);
		}
	}
	wal_buf_release(&buf);
	note(run, wal_stream_stat(st, &stat));
	if (note(run, wal_iter_new(st, 0, &it)) == 0) {
		int result;

		while ((result = wal_iter_next(it, &e)) == 0)
			continue;
		note(run, result == WAL_END ? 0 : result);
		wal_iter_free(it);
	}
}

static void first_part(struct run *run, struct wal_store *store)
{
	struct wal_stream *st;

	if (note(run, wal_stream_open(store, "a", WAL_CREATE, &st, NULL)) != 0)
		return;
	append(run, st, 0, 10);
	append(run, st, 0, 2000);
	append_batch(run, st, 0);
	append(run, st, 0, 2000); /* rotates */
	append(run, st, 0, 100);
	append_draft(run, st, 0, SPILLED);
	append_draft(run, st, 0, 500);
	note(run, wal_stream_rotate(st));
	append(run, st, 0, 20);
	read_all(run, st, 0);
	note(run, wal_stream_sync(st));
	append(run, st, 0, 30);
	wal_stream_close(st);
}

static void second_part(struct run *run, struct wal_store *store)
{
	struct wal_stream *st;

	if (note(run, wal_stream_open(store, "a", WAL_CREATE, &st, NULL)) == 0) {
		read_all(run, st, 0);
		append(run, st, 0, 40);
		append_batch(run, st, 0);
		wal_stream_close(st);
	}
	if (note(run, wal_stream_open(store, "b", WAL_CREATE, &st, NULL)) == 0) {
		append(run, st, 1, 50);
		wal_stream_close(st);
	}
	if (note(run, wal_stream_open(store, "c", WAL_CREATE, &st, NULL)) == 0) {
		wal_stream_close(st);
		note(run, wal_stream_delete(store, "c"));
	}
}

static void workload(struct run *run)
{
	void (*const parts[])(struct run *run, struct wal_store *store) = { first_part, second_part };

	for (size_t i = 0; i < TEST_COUNT(parts); i++) {
		struct wal_error err = { 0 };
		struct wal_store *store;
		int result = note(run, store_open(&run->f.sys, run->dir.path, &run->opts, &store, &err));

		if (result != 0) {
			assert_int_equal(err.code, result);
			assert_true(err.message[0] != '\0');
			continue;
		}
		parts[i](run, store);
		note(run, wal_store_close(store));
	}
}

/* ---- What must hold afterwards ---- */

/* What could not be taken back because that failed too may be there: the library says so. */
static bool may_have_more(struct run *run)
{
	return logged_has(&run->logged, "could not be cut off") || logged_has(&run->logged, "taking back a failed write failed");
}

static void expect_entry(struct run *run, unsigned stream, const struct wal_entry *e)
{
	uint32_t number;

	assert_true(e->size >= sizeof(number));
	memcpy(&number, e->data, sizeof(number));
	assert_true(number < run->count);
	struct item *item = &run->items[number];
	assert_int_equal(item->stream, stream);
	assert_int_equal(e->size, item->size);
	fill_item(number, run->expected, item->size);
	assert_memory_equal(e->data, run->expected, item->size);
	if (item->seen++ > 0)
		fail_msg("item %u is there twice, the second time as entry %" PRIu64, number, e->id);
	if (item->result == 0)
		assert_int_equal(e->id, item->id);
	else if (!may_have_more(run))
		fail_msg("item %u is there as entry %" PRIu64 ", but its append failed: %s", number, e->id, wal_strerror(item->result));
}

static void expect_stream(struct run *run, struct wal_store *store, unsigned stream)
{
	struct wal_stream *st = stream_open_or_fail(store, stream_names[stream]);
	struct wal_iter *it;
	struct wal_entry e;
	uint64_t id = 0;
	int result;

	assert_int_equal(wal_iter_new(st, 0, &it), 0);
	while ((result = wal_iter_next(it, &e)) == 0) {
		assert_int_equal(e.id, id++);
		expect_entry(run, stream, &e);
	}
	assert_int_equal(result, WAL_END);
	wal_iter_free(it);
	assert_int_equal(wal_stream_append(st, "works again", 11, 0, &e.id), 0);
	assert_int_equal(e.id, id);
	wal_stream_close(st);
}

static void expect_all(struct run *run)
{
	struct wal_options opts = run->opts;
	struct wal_store *store = store_open_or_fail(run->dir.path, &opts);

	for (unsigned i = 0; i < STREAMS; i++)
		expect_stream(run, store, i);
	store_close_or_fail(store);
	for (uint32_t i = 0; i < run->count; i++) {
		if (run->items[i].result == 0 && run->items[i].seen != 1)
			fail_msg("item %u was acknowledged as entry %" PRIu64 " and is not there", i, run->items[i].id);
	}
}

/* ---- Sweeps ---- */

struct sweep {
	enum fault_call call;
	int error;
	bool sticky;
	bool short_write;
	enum wal_sync sync;
	enum wal_read read;
};

/* False if the workload met no fault. */
static bool run_once(struct run *run, const struct sweep *sweep, unsigned nth)
{
	size_t fds = open_fd_count();
	bool hit;

	run->count = 0;
	run->ok = true;
	run->logged = (struct logged)LOGGED_INIT;
	run->opts = (struct wal_options){ .segment_size = 4096, .sync = sweep->sync, .read = sweep->read, .max_open_segments = 8, .log = logged_write,
					  .log_arg = &run->logged };
	tmpdir_make(&run->dir, "faults");
	faultsys_init(&run->f);
	faultsys_fail(&run->f, sweep->call, nth, sweep->error);
	run->f.sticky = sweep->sticky;
	run->f.short_write = sweep->short_write;
	workload(run);
	hit = faultsys_hit(&run->f);
	if (!hit)
		assert_true(run->ok);
	assert_int_equal(run->f.open_fds, 0);
	expect_all(run);
	tmpdir_remove(&run->dir);
	assert_int_equal(open_fd_count(), fds);
	logged_release(&run->logged);
	return hit;
}

static void sweep(const struct sweep *sweep)
{
	struct run *run = calloc(1, sizeof(*run));
	const char *only = getenv("WALFS_TEST_NTH");
	unsigned nth = only ? (unsigned)strtoul(only, NULL, 0) : 1;

	assert_non_null(run);
	run->buffer = malloc(SPILLED);
	run->expected = malloc(SPILLED);
	assert_true(run->buffer && run->expected);
	/* The number of a run that fails is the last that is printed. */
	while (printf("# call %u\n", nth), fflush(stdout), run_once(run, sweep, nth) && !only)
		nth += test_thinning();
	assert_true(only || nth > 1);
	free(run->expected);
	free(run->buffer);
	free(run);
}

static void each_call_fails_strict(void **state)
{
	(void)state;
	sweep(&(struct sweep){ .call = FAULT_ANY, .error = EIO });
}

static void each_call_fails_async(void **state)
{
	(void)state;
	sweep(&(struct sweep){ .call = FAULT_ANY, .error = ENOSPC, .sync = WAL_SYNC_ASYNC, .read = WAL_READ_MMAP });
}

static void each_open_meets_the_limit_of_descriptors(void **state)
{
	(void)state;
	sweep(&(struct sweep){ .call = FAULT_OPENAT, .error = EMFILE });
}

static void each_write_is_cut_short(void **state)
{
	(void)state;
	sweep(&(struct sweep){ .call = FAULT_PWRITEV, .error = ENOSPC, .short_write = true });
	sweep(&(struct sweep){ .call = FAULT_PWRITEV, .error = EIO, .short_write = true, .sync = WAL_SYNC_ASYNC });
}

/* A full disk: what needs no room goes on. */
static void no_room_from_some_call_on(void **state)
{
	(void)state;
	sweep(&(struct sweep){ .call = FAULT_FALLOCATE, .error = ENOSPC, .sticky = true });
	sweep(&(struct sweep){ .call = FAULT_PWRITEV, .error = ENOSPC, .sticky = true, .short_write = true });
}

static void syncs_fail_from_some_call_on(void **state)
{
	(void)state;
	sweep(&(struct sweep){ .call = FAULT_FDATASYNC, .error = EIO, .sticky = true });
	sweep(&(struct sweep){ .call = FAULT_FSYNC, .error = EIO, .sticky = true });
	sweep(&(struct sweep){ .call = FAULT_FDATASYNC, .error = EIO, .sticky = true, .sync = WAL_SYNC_BATCH });
}

/* The disk is gone. */
static void everything_fails_from_some_call_on(void **state)
{
	(void)state;
	sweep(&(struct sweep){ .call = FAULT_ANY, .error = EIO, .sticky = true });
	sweep(&(struct sweep){ .call = FAULT_ANY, .error = EIO, .sticky = true, .sync = WAL_SYNC_ASYNC });
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_call_fails_strict),
		cmocka_unit_test(each_call_fails_async),
		cmocka_unit_test(each_open_meets_the_limit_of_descriptors),
		cmocka_unit_test(each_write_is_cut_short),
		cmocka_unit_test(no_room_from_some_call_on),
		cmocka_unit_test(syncs_fail_from_some_call_on),
		cmocka_unit_test(everything_fails_from_some_call_on),
	};

	/* Nothing here loses power, so syncs may cost nothing. */
	if (access("/dev/shm", W_OK) == 0)
		setenv("TMPDIR", "/dev/shm", 0);
	alarm(500); /* a hang is a failure, not a wait */
	return TEST_RUN(tests);
}
