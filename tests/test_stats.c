/* SPDX-License-Identifier: Apache-2.0 */
/* Counters: each is compared before and after something that is known to happen so and so often. */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "damage.h"
#include "faultsys.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum {
	HEADER = 32,
	LENGTH = 4, /* before each entry of a frame */
};

struct place {
	struct faultsys f;
	struct tmpdir dir;
	struct wal_store *store;
	struct wal_stream *st;
	struct wal_stream_counters was; /* when counters_begin() was called */
};

static void place_make(struct place *p, const struct wal_options *opts)
{
	struct wal_error err;

	tmpdir_make(&p->dir, "stats");
	faultsys_init(&p->f);
	assert_int_equal(store_open(&p->f.sys, p->dir.path, opts, &p->store, &err), 0);
	p->st = stream_open_or_fail(p->store, "s");
}

static void place_remove(struct place *p)
{
	wal_stream_close(p->st);
	wal_store_close(p->store);
	tmpdir_remove(&p->dir);
}

static void append(struct place *p, size_t size)
{
	uint8_t data[1000] = { 0 };

	assert_true(size <= sizeof(data));
	assert_int_equal(wal_stream_append(p->st, data, size, 0, NULL), 0);
}

static void append_batch(struct place *p, size_t count, size_t size)
{
	uint8_t data[1000] = { 0 };
	struct iovec entries[8];

	assert_true(count <= 8 && size <= sizeof(data));
	for (size_t i = 0; i < count; i++)
		entries[i] = (struct iovec){ data, size };
	assert_int_equal(wal_stream_append_batch(p->st, entries, count, 0, NULL), 0);
}

static void append_draft(struct place *p, size_t size)
{
	struct wal_draft *draft;
	uint8_t *data = calloc(1, size);

	assert_non_null(data);
	assert_int_equal(wal_draft_new(p->st, &draft), 0);
	assert_int_equal(wal_draft_write(draft, data, size, 0), 0);
	assert_int_equal(wal_draft_commit(draft, 0, NULL), 0);
	free(data);
}

/* ---- Comparing ---- */

static uint64_t histogram_count(const struct wal_histogram *h)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < WAL_HISTOGRAM_CLASSES; i++)
		count += h->classes[i];
	return count;
}

static void counters_begin(struct place *p)
{
	wal_stream_counters(p->st, &p->was);
}

/* What came since, field by field; histograms as their counts, in their first class. */
static struct wal_stream_counters counters_since(struct place *p)
{
	const size_t numbers = offsetof(struct wal_stream_counters, append_time) / sizeof(uint64_t);
	struct wal_stream_counters now, diff = { 0 };

	wal_stream_counters(p->st, &now);
	for (size_t i = 0; i < numbers; i++)
		((uint64_t *)&diff)[i] = ((const uint64_t *)&now)[i] - ((const uint64_t *)&p->was)[i];
	diff.append_time.classes[0] = histogram_count(&now.append_time) - histogram_count(&p->was.append_time);
	diff.sync_time.classes[0] = histogram_count(&now.sync_time) - histogram_count(&p->was.sync_time);
	return diff;
}

/* Since counters_begin() just this happened, and nothing else was counted. */
static void expect_since(struct place *p, const struct wal_stream_counters *expected)
{
	struct wal_stream_counters found = counters_since(p);

#define SAME(field) assert_int_equal(found.field, expected->field)
	SAME(appends);
	SAME(append_bytes);
	SAME(frames);
	SAME(frame_bytes);
	SAME(writes);
	SAME(syncs);
	SAME(synced_appends);
	SAME(append_errors_space);
	SAME(append_errors_size);
	SAME(append_errors_io);
	SAME(append_errors_other);
	SAME(sync_errors);
	SAME(reads);
	SAME(read_bytes);
	SAME(read_errors_damaged);
	SAME(read_errors_other);
	SAME(rotations);
	SAME(pruned_segments);
	SAME(append_time.classes[0]);
	SAME(sync_time.classes[0]);
#undef SAME
}

/* ---- Appending ---- */

static void strict_appends_are_synced_one_by_one(void **state)
{
	struct place p;
	unsigned syncs;

	(void)state;
	place_make(&p, NULL);
	append(&p, 1);
	counters_begin(&p);
	syncs = faultsys_count(&p.f, FAULT_FDATASYNC);
	append(&p, 100);
	append(&p, 0);
	append_batch(&p, 3, 10);
	append_draft(&p, 50);
	expect_since(&p, &(struct wal_stream_counters){
		.appends = 6, .append_bytes = 180, .frames = 4, .frame_bytes = 4 * HEADER + 6 * LENGTH + 180, .writes = 4,
		.syncs = 4, .synced_appends = 6, .append_time.classes[0] = 4, .sync_time.classes[0] = 4 });
	assert_int_equal(faultsys_count(&p.f, FAULT_FDATASYNC) - syncs, 4);
	place_remove(&p);
}

/* A draft that went through a temporary file is counted like any other. */
static void spilled_drafts_count_their_bytes(void **state)
{
	const size_t size = (1 << 20) + 7;
	struct place p;

	(void)state;
	place_make(&p, NULL);
	counters_begin(&p);
	append_draft(&p, size);
	expect_since(&p, &(struct wal_stream_counters){
		.appends = 1, .append_bytes = size, .frames = 1, .frame_bytes = HEADER + LENGTH + size, .writes = 1, .syncs = 1, .synced_appends = 1,
		.append_time.classes[0] = 1, .sync_time.classes[0] = 1 });
	place_remove(&p);
}

static void one_sync_covers_all_that_was_not_durable(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	for (int i = 0; i < 32; i++)
		append(&p, 10);
	counters_begin(&p);
	for (int i = 0; i < 32; i++)
		append(&p, 10);
	/* One in 16 is timed. */
	expect_since(&p, &(struct wal_stream_counters){
		.appends = 32, .append_bytes = 320, .frames = 32, .frame_bytes = 32 * (HEADER + LENGTH + 10), .writes = 32, .append_time.classes[0] = 2 });
	counters_begin(&p);
	assert_int_equal(wal_stream_sync(p.st), 0);
	expect_since(&p, &(struct wal_stream_counters){ .syncs = 1, .synced_appends = 64, .sync_time.classes[0] = 1 });
	counters_begin(&p);
	assert_int_equal(wal_stream_sync(p.st), 0);
	expect_since(&p, &(struct wal_stream_counters){ 0 });
	place_remove(&p);
}

static void times_add_up(void **state)
{
	struct wal_stream_counters now;
	struct place p;

	(void)state;
	place_make(&p, NULL);
	append(&p, 1);
	wal_stream_counters(p.st, &now);
	assert_true(now.sync_time.sum_ns > 0);
	assert_true(now.append_time.sum_ns >= now.sync_time.sum_ns);
	for (unsigned i = 0; i < WAL_HISTOGRAM_CLASSES; i++) {
		/* The one there is stands in the class that its time belongs to. */
		if (now.append_time.classes[i] == 0)
			continue;
		assert_true(now.append_time.sum_ns <= wal_histogram_bound_ns(i));
		assert_true(i == 0 || now.append_time.sum_ns > wal_histogram_bound_ns(i - 1));
	}
	place_remove(&p);
}

/* ---- Reading ---- */

static void every_way_of_reading_counts_an_entry_once(void **state)
{
	struct wal_buf buf = { 0 };
	struct wal_entry entries[8];
	struct wal_reader *reader;
	struct wal_iter *iter;
	struct place p;
	uint8_t data[64];
	size_t size, count;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	append(&p, 100);
	append_batch(&p, 3, 10);
	counters_begin(&p);

	assert_int_equal(wal_stream_get(p.st, 0, &buf), 0);
	expect_since(&p, &(struct wal_stream_counters){ .reads = 1, .read_bytes = 100 });
	assert_int_equal(wal_reader_open(p.st, 0, &reader, NULL), 0);
	assert_int_equal(wal_reader_read(reader, data, sizeof(data), 0, &size), 0);
	assert_int_equal(wal_reader_read(reader, data, sizeof(data), 64, &size), 0);
	assert_int_equal(size, 36);
	wal_reader_close(reader);
	expect_since(&p, &(struct wal_stream_counters){ .reads = 2, .read_bytes = 200 });
	assert_int_equal(wal_iter_new(p.st, 0, &iter), 0);
	while (wal_iter_next(iter, &entries[0]) == 0)
		;
	wal_iter_free(iter);
	expect_since(&p, &(struct wal_stream_counters){ .reads = 6, .read_bytes = 330 });
	assert_int_equal(wal_stream_get_batch(p.st, 1, 2, 1000, &buf, entries, &count), 0);
	assert_int_equal(count, 2);
	expect_since(&p, &(struct wal_stream_counters){ .reads = 8, .read_bytes = 350 });
	/* What is not there is no error. */
	assert_int_equal(wal_stream_lookup(p.st, 4, &(struct wal_entry_info){ 0 }), WAL_NOT_FOUND);
	assert_int_equal(wal_stream_get(p.st, 4, &buf), WAL_NOT_FOUND);
	assert_int_equal(wal_stream_get_batch(p.st, 4, 2, 1000, &buf, entries, &count), WAL_NOT_FOUND);
	expect_since(&p, &(struct wal_stream_counters){ .reads = 8, .read_bytes = 350 });
	wal_buf_release(&buf);
	place_remove(&p);
}

static void failed_reads_are_counted_by_kind(void **state)
{
	struct wal_buf buf = { 0 };
	struct wal_entry entry;
	struct wal_iter *iter;
	char path[PATH_MAX];
	struct place p;
	size_t count;

	(void)state;
	place_make(&p, NULL);
	append(&p, 100);
	append(&p, 100);
	damage_flip_bit(segment_path(p.dir.path, "s", 0, ".wal", path), HEADER + 50, 0);
	counters_begin(&p);
	assert_int_equal(wal_stream_get(p.st, 0, &buf), -EBADMSG);
	expect_since(&p, &(struct wal_stream_counters){ .read_errors_damaged = 1 });
	assert_int_equal(wal_iter_new(p.st, 0, &iter), 0);
	assert_int_equal(wal_iter_next(iter, &entry), WAL_GAP);
	wal_iter_free(iter);
	expect_since(&p, &(struct wal_stream_counters){ .read_errors_damaged = 2 });
	faultsys_fail(&p.f, FAULT_PREAD, 1, EIO);
	assert_int_equal(wal_stream_get(p.st, 1, &buf), -EIO);
	assert_true(faultsys_hit(&p.f));
	expect_since(&p, &(struct wal_stream_counters){ .read_errors_damaged = 2, .read_errors_other = 1 });
	faultsys_fail(&p.f, FAULT_ANY, 0, 0);
	assert_int_equal(wal_stream_get_batch(p.st, 0, 1, 1000, &buf, &entry, &count), -EBADMSG);
	assert_int_equal(counters_since(&p).read_errors_damaged, 3);
	/* Of a segment that is known to have a gap, a lookup finds it too. */
	wal_stream_close(p.st);
	assert_int_equal(wal_store_close(p.store), 0);
	assert_int_equal(unlink(segment_path(p.dir.path, "s", 0, ".meta", path)), 0);
	assert_int_equal(store_open(&p.f.sys, p.dir.path, NULL, &p.store, NULL), 0);
	p.st = stream_open_or_fail(p.store, "s");
	counters_begin(&p);
	assert_int_equal(wal_stream_lookup(p.st, 0, &(struct wal_entry_info){ 0 }), -EBADMSG);
	assert_int_equal(wal_reader_open(p.st, 0, &(struct wal_reader *){ NULL }, NULL), -EBADMSG);
	expect_since(&p, &(struct wal_stream_counters){ .read_errors_damaged = 2 });
	wal_buf_release(&buf);
	place_remove(&p);
}

/* ---- Segments ---- */

static void rotations_and_prunes_are_counted_in_segments(void **state)
{
	uint64_t segments;
	struct place p;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 10 });
	counters_begin(&p);
	stream_fill(p.st, 0, 35);
	assert_int_equal(counters_since(&p).rotations, 3);
	assert_int_equal(counters_since(&p).syncs, 3);
	assert_int_equal(counters_since(&p).synced_appends, 30);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	assert_int_equal(counters_since(&p).rotations, 4);
	assert_int_equal(wal_stream_rotate(p.st), 0); /* there is nothing to seal */
	assert_int_equal(counters_since(&p).rotations, 4);
	assert_int_equal(counters_since(&p).synced_appends, 35);
	assert_int_equal(wal_stream_prune(p.st, 25, &segments), 0);
	assert_int_equal(segments, 2);
	assert_int_equal(counters_since(&p).pruned_segments, 2);
	place_remove(&p);
}

/* ---- What fails ---- */

static void appends_over_the_limit_are_counted_as_size(void **state)
{
	struct wal_draft *draft;
	struct wal_txn *txn;
	struct place p;

	(void)state;
	place_make(&p, NULL);
	counters_begin(&p);
	assert_int_equal(wal_stream_append(p.st, "", WAL_ENTRY_SIZE_MAX + 1, 0, NULL), -EFBIG);
	expect_since(&p, &(struct wal_stream_counters){ .append_errors_size = 1 });
	assert_int_equal(wal_draft_new(p.st, &draft), 0);
	assert_int_equal(wal_draft_write(draft, "x", 1, WAL_ENTRY_SIZE_MAX), -EFBIG);
	assert_int_equal(wal_draft_truncate(draft, WAL_ENTRY_SIZE_MAX + 1), -EFBIG);
	wal_draft_free(draft);
	assert_int_equal(wal_txn_new(p.st, &txn), 0);
	assert_int_equal(wal_txn_add(txn, "", WAL_ENTRY_SIZE_MAX + 1), -EFBIG);
	wal_txn_abort(txn);
	expect_since(&p, &(struct wal_stream_counters){ .append_errors_size = 4 });
	place_remove(&p);
}

static void a_full_disk_is_counted_as_space(void **state)
{
	const size_t size = 1 << 20; /* more than is allocated ahead */
	uint8_t *data = calloc(1, size);
	struct wal_draft *draft;
	struct place p;

	(void)state;
	assert_non_null(data);
	place_make(&p, NULL);
	counters_begin(&p);
	faultsys_fail(&p.f, FAULT_FALLOCATE, 1, ENOSPC);
	p.f.sticky = true;
	assert_int_equal(wal_stream_append(p.st, data, size, 0, NULL), -ENOSPC);
	expect_since(&p, &(struct wal_stream_counters){ .append_errors_space = 1 });
	assert_int_equal(wal_draft_new(p.st, &draft), 0);
	assert_int_equal(wal_draft_write(draft, data, size, 0), -ENOSPC);
	wal_draft_free(draft);
	expect_since(&p, &(struct wal_stream_counters){ .append_errors_space = 2 });
	faultsys_fail(&p.f, FAULT_ANY, 0, 0);
	append(&p, 10);
	assert_int_equal(counters_since(&p).appends, 1);
	free(data);
	place_remove(&p);
}

static void a_failed_sync_is_an_error_of_its_own_and_of_each_append(void **state)
{
	struct wal_stream_stat stat;
	struct wal_draft *draft;
	struct place p;

	(void)state;
	place_make(&p, NULL);
	append(&p, 10);
	counters_begin(&p);
	faultsys_fail(&p.f, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(wal_stream_append(p.st, "x", 1, 0, NULL), -EIO);
	assert_int_equal(counters_since(&p).syncs, 1);
	assert_int_equal(counters_since(&p).sync_errors, 1);
	assert_int_equal(counters_since(&p).synced_appends, 0);
	assert_int_equal(counters_since(&p).append_errors_io, 1);
	assert_int_equal(wal_stream_stat(p.st, &stat), 0);
	assert_int_equal(stat.health, WAL_STOPPED);
	/* From now on nothing is tried. */
	assert_int_equal(wal_stream_append(p.st, "x", 1, 0, NULL), -EIO);
	assert_int_equal(wal_draft_new(p.st, &draft), 0);
	assert_int_equal(wal_draft_write(draft, "x", 1, 0), -EIO);
	wal_draft_free(draft);
	assert_int_equal(counters_since(&p).append_errors_io, 3);
	assert_int_equal(counters_since(&p).sync_errors, 1);
	place_remove(&p);
}

/* ---- What nobody waits for ---- */

enum {
	BEHIND_SIZE = 9 << 20, /* more than is left unsynced */
	BEHIND_PREADS = 100,   /* fewer than to read all of it, several times as many as to read its end */
};

/* An append may end with `allowed`, and is then the last. */
static void append_much(struct place *p, int allowed)
{
	char data[64 << 10];
	int result = 0;

	memset(data, 'x', sizeof data);
	for (size_t size = 0; size < BEHIND_SIZE && result == 0; size += sizeof data) {
		result = wal_stream_append(p->st, data, sizeof data, 0, NULL);
		assert_true(result == 0 || result == allowed);
	}
}

/* Also the next open is spared reading what was synced so. */
static void much_that_nobody_waits_for_is_synced_behind_the_writer(void **state)
{
	const struct wal_options opts = { .sync = WAL_SYNC_ASYNC };
	struct place p, copy;
	char path[PATH_MAX];
	uint64_t next, durable = 0;
	struct wal_error err;

	(void)state;
	place_make(&p, &opts);
	append(&p, 1000);
	wal_stream_bounds(p.st, NULL, NULL, &durable);
	assert_int_equal(durable, 0);
	append_much(&p, 0);
	for (unsigned ms = 0; durable < 100 && ms < 20000; ms++) {
		usleep(1000);
		wal_stream_bounds(p.st, NULL, &next, &durable);
	}
	assert_true(durable > 100 && durable <= next);
	/* Its block of the sidecar says so once it is written, behind the sync. */
	for (unsigned preads = UINT_MAX, ms = 0; preads > BEHIND_PREADS; ms++) {
		assert_true(ms < 20000);
		usleep(1000);
		tmpdir_make(&copy.dir, "killed");
		copy_tree(p.dir.path, tmpdir_path(&copy.dir, "copy", path));
		faultsys_init(&copy.f);
		assert_int_equal(store_open(&copy.f.sys, path, &opts, &copy.store, &err), 0);
		preads = faultsys_count(&copy.f, FAULT_PREAD);
		copy.st = stream_open_or_fail(copy.store, "s");
		wal_stream_bounds(copy.st, NULL, &durable, NULL);
		assert_int_equal(durable, next);
		wal_stream_close(copy.st);
		store_close_or_fail(copy.store);
		tmpdir_remove(&copy.dir);
	}
	place_remove(&p);
}

static void the_sync_behind_the_writer_fails(void **state)
{
	const struct wal_options opts = { .sync = WAL_SYNC_ASYNC };
	struct wal_stream_stat stat = { .health = WAL_HEALTHY };
	struct place p;

	(void)state;
	place_make(&p, &opts);
	append(&p, 1000);
	faultsys_fail(&p.f, FAULT_FDATASYNC, 1, EIO);
	append_much(&p, -EIO);
	for (unsigned ms = 0; stat.health == WAL_HEALTHY && ms < 20000; ms++) {
		usleep(1000);
		assert_int_equal(wal_stream_stat(p.st, &stat), 0);
	}
	assert_int_equal(stat.health, WAL_STOPPED);
	assert_string_equal(stat.reason, "syncing the active segment failed: Input/output error");
	assert_int_equal(wal_stream_append(p.st, "x", 1, 0, NULL), -EIO);
	assert_int_equal(faultsys_count(&p.f, FAULT_FDATASYNC), 1);
	place_remove(&p);
}

static void a_failed_write_that_was_taken_back_is_counted_once(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, NULL);
	append(&p, 10);
	counters_begin(&p);
	faultsys_fail(&p.f, FAULT_PWRITEV, 1, EIO);
	assert_int_equal(wal_stream_append(p.st, "x", 1, 0, NULL), -EIO);
	expect_since(&p, &(struct wal_stream_counters){ .append_errors_io = 1 });
	append(&p, 10);
	assert_int_equal(counters_since(&p).appends, 1);
	place_remove(&p);
}

/* ---- The store ---- */

static void the_cache_counts_what_it_was_asked_for(void **state)
{
	struct wal_store_counters was, now;
	struct wal_buf buf = { 0 };
	struct place p;

	(void)state;
	place_make(&p, NULL);
	append_batch(&p, 3, 10);
	wal_store_counters(p.store, &was);
	assert_int_equal(wal_stream_get(p.st, 0, &buf), 0);
	wal_store_counters(p.store, &now);
	assert_int_equal(now.cache_misses - was.cache_misses, 1);
	assert_int_equal(now.cache_hits - was.cache_hits, 0);
	assert_true(now.cache_bytes > was.cache_bytes);
	assert_int_equal(wal_stream_get(p.st, 1, &buf), 0);
	assert_int_equal(wal_stream_get(p.st, 2, &buf), 0);
	wal_store_counters(p.store, &now);
	assert_int_equal(now.cache_misses - was.cache_misses, 1);
	assert_int_equal(now.cache_hits - was.cache_hits, 2);
	wal_buf_release(&buf);
	place_remove(&p);
}

static void segments_are_counted_when_they_are_opened(void **state)
{
	struct wal_store_counters was, now;
	struct wal_buf buf = { 0 };
	struct place p;

	(void)state;
	place_make(&p, &(struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 10 });
	stream_fill(p.st, 0, 25);
	wal_store_counters(p.store, &was);
	assert_int_equal(wal_stream_get(p.st, 0, &buf), 0);
	assert_int_equal(wal_stream_get(p.st, 1, &buf), 0);
	wal_store_counters(p.store, &now);
	assert_int_equal(now.segment_opens - was.segment_opens, 1);
	assert_int_equal(now.open_segments - was.open_segments, 1);
	assert_int_equal(now.open_segments, store_open_segments(p.store));
	wal_buf_release(&buf);
	place_remove(&p);
}

static void checkpoints_made_and_failed(void **state)
{
	struct wal_store_counters now;
	struct place p;

	(void)state;
	place_make(&p, NULL);
	append(&p, 10);
	assert_int_equal(wal_checkpoint_create(p.store, "one", 3, 0, NULL), 0);
	faultsys_fail(&p.f, FAULT_PWRITEV, 1, ENOSPC);
	p.f.sticky = true;
	assert_int_equal(wal_checkpoint_create(p.store, "two", 3, 0, NULL), -ENOSPC);
	faultsys_fail(&p.f, FAULT_ANY, 0, 0);
	wal_store_counters(p.store, &now);
	assert_int_equal(now.checkpoints, 1);
	assert_int_equal(now.checkpoint_errors, 1);
	assert_int_equal(histogram_count(&now.checkpoint_time), 2);
	assert_true(now.checkpoint_time.sum_ns > 0);
	place_remove(&p);
}

/* ---- Histograms ---- */

static void bounds_double_and_the_last_has_none(void **state)
{
	(void)state;
	assert_int_equal(wal_histogram_bound_ns(0), 1000);
	for (unsigned i = 1; i + 1 < WAL_HISTOGRAM_CLASSES; i++)
		assert_int_equal(wal_histogram_bound_ns(i), 2 * wal_histogram_bound_ns(i - 1));
	assert_true(wal_histogram_bound_ns(WAL_HISTOGRAM_CLASSES - 1) == UINT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(strict_appends_are_synced_one_by_one),
		cmocka_unit_test(spilled_drafts_count_their_bytes),
		cmocka_unit_test(one_sync_covers_all_that_was_not_durable),
		cmocka_unit_test(times_add_up),
		cmocka_unit_test(every_way_of_reading_counts_an_entry_once),
		cmocka_unit_test(failed_reads_are_counted_by_kind),
		cmocka_unit_test(rotations_and_prunes_are_counted_in_segments),
		cmocka_unit_test(appends_over_the_limit_are_counted_as_size),
		cmocka_unit_test(a_full_disk_is_counted_as_space),
		cmocka_unit_test(a_failed_sync_is_an_error_of_its_own_and_of_each_append),
		cmocka_unit_test(a_failed_write_that_was_taken_back_is_counted_once),
		cmocka_unit_test(much_that_nobody_waits_for_is_synced_behind_the_writer),
		cmocka_unit_test(the_sync_behind_the_writer_fails),
		cmocka_unit_test(the_cache_counts_what_it_was_asked_for),
		cmocka_unit_test(segments_are_counted_when_they_are_opened),
		cmocka_unit_test(checkpoints_made_and_failed),
		cmocka_unit_test(bounds_double_and_the_last_has_none),
	};

	return TEST_RUN(tests);
}
