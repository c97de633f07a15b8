/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stores that are damaged on disk between one open and the next: what is found, what is kept, what is cut and what is told.
 *
 * A crash is a copy of the files taken while the store is open. Entries have the content that entry_content() gives their ids.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bytes.h"
#include "cleanup.h"
#include "damage.h"
#include "faultsys.h"
#include "frame.h"
#include "snapshot.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

#define NSEC_PER_SEC 1000000000

/* Where one test works: a store with the stream "s" under dir/store, and its copies. */
struct place {
	struct tmpdir dir;
	char path[PATH_MAX]; /* of the store that is looked at */
	struct wal_options opts;
	struct logged logged;
	struct wal_store *store;
	struct wal_stream *st;
	bool closed;
};

static void place_open(struct place *p)
{
	p->store = store_open_or_fail(p->path, &p->opts);
	p->st = stream_open_or_fail(p->store, "s");
	p->closed = false;
}

static void place_close(struct place *p)
{
	if (!p->closed) {
		wal_stream_close(p->st);
		store_close_or_fail(p->store);
	}
	p->closed = true;
}

static void place_make(struct place *p, struct wal_options opts)
{
	*p = (struct place){ .logged = LOGGED_INIT, .opts = opts };
	p->opts.log = logged_write;
	p->opts.log_arg = &p->logged;
	tmpdir_make(&p->dir, "recover");
	tmpdir_path(&p->dir, "store", p->path);
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
	logged_release(&p->logged);
	tmpdir_remove(&p->dir);
}

/* From here on the test works on what a crash at this moment leaves. */
static void place_crash(struct place *p)
{
	char copy[PATH_MAX];

	copy_tree(p->path, tmpdir_path(&p->dir, "crashed", copy));
	place_close(p);
	snprintf(p->path, sizeof(p->path), "%s", copy);
	logged_release(&p->logged);
}

static char *file_of(const struct place *p, const char *name, char buf[PATH_MAX])
{
	assert_true(snprintf(buf, PATH_MAX, "%s/s/%s", p->path, name) < PATH_MAX);
	return buf;
}

static char *wal_of(const struct place *p, uint64_t id, char buf[PATH_MAX])
{
	return segment_path(p->path, "s", id, ".wal", buf);
}

static char *meta_of(const struct place *p, uint64_t id, char buf[PATH_MAX])
{
	return segment_path(p->path, "s", id, ".meta", buf);
}

static void remove_file(const char *path)
{
	if (unlink(path) < 0)
		fail_msg("cannot remove '%s': %m", path);
}

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* As a disk does it: the file's time stays what it was. */
static void flip_bit_unseen(const char *path, uint64_t offset, unsigned bit)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT } };
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	damage_flip_bit(path, offset, bit);
	times[1] = st.st_mtim;
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static struct wal_stream_stat stat_of(const struct place *p)
{
	struct wal_stream_stat stat;

	assert_int_equal(wal_stream_stat(p->st, &stat), 0);
	return stat;
}

struct frame_place {
	uint64_t offset;
	uint64_t bytes;
	struct frame_header h;
};

/* The frames of a segment file one after the other, up to the first that is none. */
static size_t frames_in(const char *path, struct frame_place *frames, size_t max)
{
	size_t size, count = 0;
	uint8_t *data = file_read(path, &size);

	for (size_t at = 0; count < max && size - at >= FRAME_HEADER_BYTES; at += frames[count++].bytes) {
		struct frame_header h;

		if (frame_decode_header(data + at, &h) != FRAME_OK || h.disk_size > size - at - FRAME_HEADER_BYTES)
			break;
		frames[count] = (struct frame_place){ at, FRAME_HEADER_BYTES + (uint64_t)h.disk_size, h };
	}
	free(data);
	return count;
}

/* Where the frame of entry `id` is in segment `segment`. */
static struct frame_place frame_of(const struct place *p, uint64_t segment, uint64_t id)
{
	static struct frame_place frames[2000];
	char path[PATH_MAX];
	size_t count = frames_in(wal_of(p, segment, path), frames, TEST_COUNT(frames));

	for (size_t i = 0; i < count; i++) {
		if (id >= frames[i].h.start_id && id - frames[i].h.start_id < frames[i].h.entry_count)
			return frames[i];
	}
	fail_msg("there is no frame of entry %" PRIu64, id);
	return frames[0];
}

static void zero_bytes(const char *path, uint64_t offset, uint64_t bytes)
{
	for (uint64_t i = 0; i < bytes; i++)
		damage_set_byte(path, offset + i, 0);
}

static void append_batch(struct place *p, uint64_t first, size_t count)
{
	uint8_t bufs[16][ENTRY_SIZE_MAX];
	struct iovec iov[16];
	uint64_t id;

	assert_true(count <= 16);
	for (size_t i = 0; i < count; i++) {
		size_t size;

		iov[i].iov_base = (void *)entry_content(first + i, bufs[i], &size);
		iov[i].iov_len = size;
	}
	assert_int_equal(wal_stream_append_batch(p->st, iov, count, 0, &id), 0);
	assert_int_equal(id, first);
}

/* ---- Torn tails ---- */

/* A log that ended before `next` at `offset` and goes on from there, for good. */
static void expect_torn(struct place *p, uint64_t next, uint64_t offset)
{
	char torn[PATH_MAX];

	place_open(p);
	struct wal_stream_stat stat = stat_of(p);
	assert_int_equal(stat.tail, WAL_TAIL_TRUNCATED);
	assert_int_equal(stat.tail_offset, offset);
	assert_true(stat.tail_bytes > 0);
	assert_int_equal(stat.health, WAL_HEALTHY);
	assert_int_equal(file_size(segment_path(p->path, "s", stat.active_segment_id, ".wal.torn.0", torn)), stat.tail_bytes);
	assert_true(logged_has(&p->logged, "tail: truncated at"));
	stream_expect(p->st, 0, next);
	stream_fill(p->st, next, next + 5);
	place_reopen(p);
	assert_int_equal(stat_of(p).tail, WAL_TAIL_CLEAN);
	stream_expect(p->st, 0, next + 5);
	assert_true(exists(torn));
	place_remove(p);
}

/* Ten entries that are durable, ten that are not. */
static void make_unsynced(struct place *p)
{
	place_make(p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p->st, 0, 10);
	assert_int_equal(wal_stream_sync(p->st), 0);
	stream_fill(p->st, 10, 20);
}

static void torn_payload(void **state)
{
	struct frame_place last;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_unsynced(&p);
	place_crash(&p);
	last = frame_of(&p, 0, 19);
	zero_bytes(wal_of(&p, 0, path), last.offset + last.bytes - 10, 10);
	expect_torn(&p, 19, last.offset);
}

static void torn_header(void **state)
{
	struct frame_place last;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_unsynced(&p);
	place_crash(&p);
	last = frame_of(&p, 0, 19);
	zero_bytes(wal_of(&p, 0, path), last.offset + 9, last.bytes - 9);
	expect_torn(&p, 19, last.offset);
}

/* All of a batch is gone when a byte of it is. */
static void torn_batch(void **state)
{
	struct frame_place last;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_unsynced(&p);
	append_batch(&p, 20, 7);
	place_crash(&p);
	last = frame_of(&p, 0, 22);
	assert_int_equal(last.h.entry_count, 7);
	zero_bytes(wal_of(&p, 0, path), last.offset + last.bytes - 1, 1);
	expect_torn(&p, 20, last.offset);
}

/* The kernel wrote the pages in another order: frames behind the tear are whole, and go with it. */
static void unsynced_frame_lost_before_others(void **state)
{
	struct frame_place lost, last;
	uint8_t *torn, *before;
	char path[PATH_MAX];
	struct place p;
	size_t size;

	(void)state;
	make_unsynced(&p);
	place_crash(&p);
	lost = frame_of(&p, 0, 14);
	last = frame_of(&p, 0, 19);
	zero_bytes(wal_of(&p, 0, path), lost.offset, lost.bytes);
	before = file_read(path, &size);
	place_open(&p);
	torn = file_read(segment_path(p.path, "s", 0, ".wal.torn.0", path), &size);
	assert_int_equal(size, last.offset + last.bytes - lost.offset);
	assert_memory_equal(torn, before + lost.offset, size);
	place_close(&p);
	free(torn);
	free(before);
	/* The second open finds nothing any more. */
	place_open(&p);
	assert_int_equal(stat_of(&p).tail, WAL_TAIL_CLEAN);
	stream_expect(p.st, 0, 14);
	place_remove(&p);
}

/* The file is shorter than what was written into it. */
static void file_cut_short(void **state)
{
	struct frame_place last;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_unsynced(&p);
	place_crash(&p);
	last = frame_of(&p, 0, 19);
	wal_of(&p, 0, path);
	damage_shrink(path, file_size(path) - (last.offset + last.bytes - 3));
	expect_torn(&p, 19, last.offset);
}

/* Every length that the file of a strict stream without preallocation may have after its last durable frame. */
static void every_length_of_a_torn_frame(void **state)
{
	struct frame_place last;
	char copy[PATH_MAX], segment[PATH_MAX];
	struct place p;

	(void)state;
	make_unsynced(&p);
	place_crash(&p);
	last = frame_of(&p, 0, 19);
	for (uint64_t keep = 0; keep <= last.bytes; keep += keep < 40 ? 1 : 17) {
		struct wal_store *store;
		struct wal_stream *st;

		copy_tree(p.path, tmpdir_path(&p.dir, "cut", copy));
		segment_path(copy, "s", 0, ".wal", segment);
		damage_shrink(segment, file_size(segment) - last.offset - keep);
		store = store_open_or_fail(copy, &p.opts);
		st = stream_open_or_fail(store, "s");
		stream_expect(st, 0, keep == last.bytes ? 20 : 19);
		stream_fill(st, keep == last.bytes ? 20 : 19, 22);
		store_close_or_fail(store);
		struct tmpdir gone = { .fd = dup(p.dir.fd) };
		snprintf(gone.path, sizeof(gone.path), "%s", copy);
		tmpdir_remove(&gone);
	}
	place_remove(&p);
}

/* Zeros to the end are what a crash leaves as a rule: no tear. */
static void zeros_after_the_last_frame(void **state)
{
	struct frame_place last;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_unsynced(&p);
	place_crash(&p);
	last = frame_of(&p, 0, 19);
	assert_true(file_size(wal_of(&p, 0, path)) > last.offset + last.bytes);
	damage_grow_zeros(path, 100000);
	place_open(&p);
	assert_int_equal(stat_of(&p).tail, WAL_TAIL_CLEAN);
	assert_int_equal(stat_of(&p).durable_id, 20);
	stream_expect(p.st, 0, 20);
	stream_fill(p.st, 20, 25);
	place_close(&p);
	/* A clean close leaves none. */
	last = frame_of(&p, 0, 24);
	assert_int_equal(file_size(path), last.offset + last.bytes);
	place_open(&p);
	stream_expect(p.st, 0, 25);
	place_remove(&p);
}

static void garbage_after_the_last_frame(void **state)
{
	struct frame_place last;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_unsynced(&p);
	place_crash(&p);
	last = frame_of(&p, 0, 19);
	for (uint64_t i = 0; i < 1000; i++)
		damage_set_byte(wal_of(&p, 0, path), last.offset + last.bytes + i, (uint8_t)(i * 7 + 1));
	expect_torn(&p, 20, last.offset + last.bytes);
}

/* Each tear is kept in a file of its own. */
static void torn_twice(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_unsynced(&p);
	place_close(&p);
	damage_append(wal_of(&p, 0, path), "first", 5);
	place_reopen(&p);
	place_close(&p);
	damage_append(path, "second", 6);
	place_open(&p);
	stream_expect(p.st, 0, 20);
	assert_int_equal(file_size(segment_path(p.path, "s", 0, ".wal.torn.0", path)), 5);
	assert_int_equal(file_size(segment_path(p.path, "s", 0, ".wal.torn.1", path)), 6);
	/* What was set aside is someone's data: the stream is not deleted over it. */
	place_remove(&p);
}

/* ---- segments.idx and head.state ---- */

enum { SEGMENT_ENTRIES = 10, MANY = 35 };

/* Segments 0, 10, 20, and 30 with five entries. */
static void make_segments(struct place *p)
{
	place_make(p, (struct wal_options){ .segment_entries = SEGMENT_ENTRIES });
	stream_fill(p->st, 0, MANY);
}

static void expect_index(const struct place *p, const uint64_t *ids, size_t count)
{
	char path[PATH_MAX];
	size_t size;
	uint8_t *data = file_read(file_of(p, "segments.idx", path), &size);

	assert_int_equal(size, 8 * count);
	for (size_t i = 0; i < count; i++)
		assert_int_equal(get_le64(data + 8 * i), ids[i]);
	free(data);
	data = file_read(file_of(p, "head.state", path), &size);
	assert_int_equal(size, 26);
	assert_int_equal(data[0], 1);
	assert_int_equal(data[1], 24);
	assert_int_equal(strtoull((char *)data + 2, NULL, 10), ids[count - 1]);
	free(data);
}

/* Whatever the two small files say, the segments count. */
static void expect_all_segments(struct place *p)
{
	static const uint64_t ids[] = { 0, 10, 20, 30 };

	place_open(p);
	stream_expect(p->st, 0, MANY);
	assert_int_equal(stat_of(p).segments, 4);
	assert_int_equal(stat_of(p).health, WAL_HEALTHY);
	expect_index(p, ids, TEST_COUNT(ids));
	place_close(p);
}

static void put_index(struct place *p, const uint64_t *ids, size_t count, size_t cut)
{
	uint8_t bytes[8 * 16];
	char path[PATH_MAX];

	for (size_t i = 0; i < count; i++)
		put_le64(bytes + 8 * i, ids[i]);
	file_write(file_of(p, "segments.idx", path), bytes, 8 * count - cut);
}

static void index_that_does_not_agree(void **state)
{
	static const struct {
		uint64_t ids[6];
		size_t count;
		size_t cut;
	} cases[] = {
		{ { 0 }, 0, 0 },		     /* empty */
		{ { 0, 10 }, 2, 0 },		     /* short */
		{ { 0, 10, 20, 30 }, 4, 3 },	     /* torn */
		{ { 0, 10, 20 }, 3, 0 },	     /* stale: the rotation's id is missing */
		{ { 0, 10, 20, 30, 35 }, 5, 0 },     /* ahead by a rotation, of which nothing else is there */
		{ { 0, 10, 20, 29 }, 4, 0 },	     /* a flipped bit */
		{ { 0, 10, 20, 30, 1ull << 60 }, 5, 0 },
		{ { 0, 10, 20, 30, 31 }, 5, 0 },     /* ahead by one that was given up */
		{ { 0, 0, 10, 20, 30 }, 5, 0 },	     /* ironwal's repetition */
		{ { 30, 20, 10, 0 }, 4, 0 },	     /* out of order */
	};
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		put_index(&p, cases[i].ids, cases[i].count, cases[i].cut);
		expect_all_segments(&p);
	}
	place_remove(&p);
}

/* It does not even list what is there, so what it lists besides proves no loss. */
static void index_of_another_stream(void **state)
{
	static const uint64_t ids[] = { 5, 7, 11 };
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	put_index(&p, ids, TEST_COUNT(ids), 0);
	expect_all_segments(&p);
	place_remove(&p);
}

static void index_missing(void **state)
{
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	remove_file(file_of(&p, "segments.idx", (char[PATH_MAX]){ 0 }));
	expect_all_segments(&p);
	place_remove(&p);
}

static void put_head(struct place *p, uint8_t version, uint64_t id, size_t size)
{
	char bytes[64], path[PATH_MAX];

	snprintf(bytes, sizeof(bytes), "%c%c%020" PRIu64 ".wal", version, 24, id);
	file_write(file_of(p, "head.state", path), bytes, size);
}

static void head_that_does_not_agree(void **state)
{
	static const struct {
		uint8_t version;
		uint64_t id;
		size_t size;
	} cases[] = {
		{ 1, 30, 25 }, /* short */
		{ 1, 30, 1 },  /* shorter */
		{ 1, 30, 0 },  /* empty: with ironwal the whole root failed */
		{ 2, 30, 26 }, /* another version */
		{ 1, 0, 26 },  /* older segments */
		{ 1, 20, 26 },
		{ 1, 33, 26 }, /* one that is not there, and never was: the log went on beyond it */
	};
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		put_head(&p, cases[i].version, cases[i].id, cases[i].size);
		expect_all_segments(&p);
	}
	remove_file(file_of(&p, "head.state", (char[PATH_MAX]){ 0 }));
	expect_all_segments(&p);
	place_remove(&p);
}

/* Both small files gone, and all sidecars: the segments alone tell it all. */
static void only_the_segments_are_left(void **state)
{
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	remove_file(file_of(&p, "segments.idx", (char[PATH_MAX]){ 0 }));
	remove_file(file_of(&p, "head.state", (char[PATH_MAX]){ 0 }));
	for (uint64_t id = 0; id < MANY; id += SEGMENT_ENTRIES)
		remove_file(meta_of(&p, id, (char[PATH_MAX]){ 0 }));
	expect_all_segments(&p);
	place_remove(&p);
}

/* ---- Rotations that a crash met ---- */

/* An empty file beyond the log's end: the rotation failed, its file could not be removed, and the old segment went on. */
static void rest_of_a_rotation_given_up(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	file_write(wal_of(&p, 33, path), "", 0);
	damage_grow_zeros(path, 65536);
	expect_all_segments(&p);
	assert_false(exists(path));
	assert_true(logged_has(&p.logged, "given up"));
	place_remove(&p);
}

/* The same, and head.state had been replaced already when the rotation failed. */
static void rest_of_a_rotation_given_up_late(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	file_write(wal_of(&p, 33, path), "", 0);
	put_head(&p, 1, 33, 26);
	expect_all_segments(&p);
	place_remove(&p);
}

/* The new file is there, the small files do not know it yet, and the old one still has its preallocated space. */
static void rotation_to_be_finished(void **state)
{
	static const uint64_t ids[] = { 0, 10, 20, 30, 35 };
	char path[PATH_MAX];
	struct frame_place last;
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	file_write(wal_of(&p, 35, path), "", 0);
	damage_grow_zeros(path, 65536);
	damage_grow_zeros(wal_of(&p, 30, path), 65536);
	place_open(&p);
	stream_expect(p.st, 0, 35);
	assert_int_equal(stat_of(&p).active_segment_id, 35);
	expect_index(&p, ids, TEST_COUNT(ids));
	last = frame_of(&p, 30, 34);
	assert_int_equal(file_size(path), last.offset + last.bytes);
	stream_fill(p.st, 35, 40);
	place_reopen(&p);
	stream_expect(p.st, 0, 40);
	place_remove(&p);
}

/* ---- Segments that are missing ---- */

/* The names in the two small files keep the next id when no segment is left. */
static void no_segment_left(void **state)
{
	for (unsigned keep = 1; keep <= 3; keep++) {
		char path[PATH_MAX];
		struct place p;

		make_segments(&p);
		assert_int_equal(wal_stream_rotate(p.st), 0);
		place_close(&p);
		for (uint64_t id = 0; id <= MANY; id += id < 30 ? 10 : 5) {
			remove_file(wal_of(&p, id, path));
			remove_file(meta_of(&p, id, path));
		}
		if (!(keep & 1))
			remove_file(file_of(&p, "segments.idx", path));
		if (!(keep & 2))
			remove_file(file_of(&p, "head.state", path));
		place_open(&p);
		stream_expect(p.st, MANY, MANY);
		stream_fill(p.st, MANY, MANY + 3);
		place_reopen(&p);
		stream_expect(p.st, MANY, MANY + 3);
		place_remove(&p);
	}
	(void)state;
}

/* The file of the active segment is gone, with entries that nothing else knows. What was before it stays, no id of it is used again. */
static void active_segment_missing(void **state)
{
	struct wal_buf buf = { 0 };
	struct place p;
	uint64_t next;

	(void)state;
	make_segments(&p);
	place_close(&p);
	remove_file(wal_of(&p, 30, (char[PATH_MAX]){ 0 }));
	place_open(&p);
	wal_stream_bounds(p.st, NULL, &next, NULL);
	assert_true(next >= 30);
	for (uint64_t id = 0; id < 30; id++)
		assert_int_equal(wal_stream_get(p.st, id, &buf), 0);
	wal_buf_release(&buf);
	place_remove(&p);
}

/* The same where that is no reason to stop: the ids that were there are not given out again, at any later opening either. */
static void active_segment_missing_and_no_reason_to_stop(void **state)
{
	struct wal_buf buf = { 0 };
	struct place p;
	uint64_t next, id;

	(void)state;
	make_segments(&p);
	place_close(&p);
	remove_file(wal_of(&p, 30, (char[PATH_MAX]){ 0 }));
	p.opts.on_corruption = WAL_ON_CORRUPTION_TRUNCATE;
	for (unsigned i = 0; i < 3; i++) {
		place_open(&p);
		assert_int_equal(stat_of(&p).health, WAL_HEALTHY);
		wal_stream_bounds(p.st, NULL, &next, NULL);
		assert_int_equal(next, MANY);
		place_close(&p);
	}
	place_open(&p);
	assert_int_equal(wal_stream_append(p.st, "x", 1, 0, &id), 0);
	assert_int_equal(id, MANY);
	place_reopen(&p);
	assert_true(wal_stream_get(p.st, MANY - 1, &buf) != 0);
	assert_int_equal(wal_stream_get(p.st, MANY, &buf), 0);
	place_crash(&p);
	remove_file(meta_of(&p, 30, (char[PATH_MAX]){ 0 }));
	remove_file(meta_of(&p, MANY, (char[PATH_MAX]){ 0 }));
	place_open(&p);
	assert_int_equal(wal_stream_get(p.st, MANY, &buf), 0);
	wal_stream_bounds(p.st, NULL, &next, NULL);
	assert_int_equal(next, MANY + 1);
	wal_buf_release(&buf);
	place_remove(&p);
}

/* Reads every id of 0 … next - 1; those from `bad` to `bad_end` - 1 must be damaged and all others intact, also for an iterator. */
static void expect_gap(struct place *p, uint64_t next, uint64_t bad, uint64_t bad_end)
{
	uint8_t content[ENTRY_SIZE_MAX];
	struct wal_buf buf = { 0 };
	struct wal_iter *it;
	struct wal_entry e;
	uint64_t got_next;

	wal_stream_bounds(p->st, NULL, &got_next, NULL);
	assert_int_equal(got_next, next);
	for (uint64_t id = 0; id < next; id++) {
		bool damaged = id >= bad && id < bad_end;
		int r = wal_stream_get(p->st, id, &buf);

		if (r != (damaged ? -EBADMSG : 0))
			fail_msg("get of entry %" PRIu64 ": %s", id, wal_strerror(r));
	}
	assert_int_equal(wal_iter_new(p->st, 0, &it), 0);
	for (uint64_t id = 0; id < next;) {
		int r = wal_iter_next(it, &e);

		assert_int_equal(e.id, id);
		if (r == WAL_GAP) {
			assert_true(id >= bad && id + e.size <= bad_end);
			id += e.size;
			continue;
		}
		assert_int_equal(r, 0);
		assert_false(id >= bad && id < bad_end);
		size_t size;
		const void *data = entry_content(id, content, &size);
		assert_int_equal(e.size, size);
		assert_memory_equal(e.data, data, size);
		id++;
	}
	assert_int_equal(wal_iter_next(it, &e), WAL_END);
	wal_iter_free(it);
	wal_buf_release(&buf);
	assert_true(logged_has(&p->logged, "stream 's'"));
}

static void segment_missing_in_the_middle(void **state)
{
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	remove_file(wal_of(&p, 10, (char[PATH_MAX]){ 0 }));
	logged_release(&p.logged);
	place_open(&p);
	expect_gap(&p, MANY, 10, 20);
	place_reopen(&p);
	expect_gap(&p, MANY, 10, 20);
	place_remove(&p);
}

/* ---- Damage ---- */

/* One entry of an active segment is bad, and frames behind it say that it had been durable. */
static void make_damaged(struct place *p, struct wal_options opts, bool sidecar)
{
	struct frame_place bad;
	char path[PATH_MAX];

	place_make(p, opts);
	stream_fill(p->st, 0, 20);
	place_close(p);
	bad = frame_of(p, 0, 5);
	damage_flip_bit(wal_of(p, 0, path), bad.offset + FRAME_HEADER_BYTES + 6, 3);
	if (!sidecar)
		remove_file(meta_of(p, 0, path));
	logged_release(&p->logged);
}

static void damage_in_the_active_segment(void **state)
{
	struct wal_stream_stat stat;
	struct frame_place bad;
	struct place p;

	(void)state;
	make_damaged(&p, (struct wal_options){ 0 }, false);
	place_open(&p);
	bad = frame_of(&p, 0, 5);
	stat = stat_of(&p);
	assert_int_equal(stat.health, WAL_READONLY);
	assert_int_equal(stat.tail, WAL_TAIL_DAMAGED);
	assert_int_equal(stat.tail_offset, bad.offset);
	assert_non_null(strstr(stat.reason, "damaged"));
	expect_gap(&p, 20, 5, 6);
	assert_int_equal(wal_stream_append(p.st, "x", 1, 0, NULL), -EIO);
	assert_int_equal(wal_stream_rotate(p.st), -EIO);
	/* What is durable is; there is nothing to be synced. */
	place_reopen(&p);
	assert_int_equal(stat_of(&p).health, WAL_READONLY);
	expect_gap(&p, 20, 5, 6);
	place_remove(&p);
}

/* Nothing but the unsynced end is read at open, so what was durable is found to be bad when it is read. */
static void damage_under_an_intact_sidecar(void **state)
{
	struct place p;

	(void)state;
	make_damaged(&p, (struct wal_options){ 0 }, true);
	place_open(&p);
	expect_gap(&p, 20, 5, 6);
	stream_fill(p.st, 20, 25);
	place_reopen(&p);
	expect_gap(&p, 25, 5, 6);
	place_remove(&p);
}

static void damage_is_cut_off_if_asked(void **state)
{
	struct frame_place bad;
	struct place p;

	(void)state;
	make_damaged(&p, (struct wal_options){ .on_corruption = WAL_ON_CORRUPTION_TRUNCATE }, false);
	bad = frame_of(&p, 0, 5);
	expect_torn(&p, 5, bad.offset);
}

static void damage_keeps_the_store_closed_if_asked(void **state)
{
	struct wal_error err = { 0 };
	struct frame_place bad;
	struct wal_store *store;
	struct place p;

	(void)state;
	make_damaged(&p, (struct wal_options){ .on_corruption = WAL_ON_CORRUPTION_ERROR }, false);
	bad = frame_of(&p, 0, 5);
	assert_int_equal(wal_store_open(p.path, &p.opts, &store, &err), -EBADMSG);
	assert_int_equal(err.code, -EBADMSG);
	assert_int_equal(err.offset, bad.offset);
	assert_non_null(strstr(err.message, "'s'"));
	assert_non_null(strstr(err.message, "00000000000000000000.wal"));
	/* The lock is free again, and nothing was cut: the other way of opening finds all. */
	p.opts.on_corruption = WAL_ON_CORRUPTION_READONLY;
	place_open(&p);
	expect_gap(&p, 20, 5, 6);
	place_remove(&p);
}

/* ---- Syncs at open ---- */

/* What a crash left was found, and cannot be synced: from `durable` on it may be lost yet, though it can be read. `f` is the store's from here on. */
static void expect_not_durable(struct place *p, struct faultsys *f, uint64_t durable, uint64_t next)
{
	struct wal_error err = { 0 };
	struct wal_stream_stat stat;
	uint64_t bound;

	faultsys_init(f);
	faultsys_fail(f, FAULT_FDATASYNC, 1, EIO);
	assert_int_equal(store_open(&f->sys, p->path, &p->opts, &p->store, NULL), 0);
	assert_true(faultsys_hit(f));
	p->st = stream_open_or_fail(p->store, "s");
	p->closed = false;
	/* A second sync would succeed and prove nothing. */
	stat = stat_of(p);
	assert_int_equal(stat.health, WAL_READONLY);
	assert_int_equal(stat.next_id, next);
	assert_int_equal(stat.durable_id, durable);
	wal_stream_bounds(p->st, NULL, NULL, &bound);
	assert_int_equal(bound, durable);
	assert_int_equal(wal_stream_sync(p->st), -EIO);
	assert_int_equal(wal_store_sync(p->store), -EIO);
	assert_int_equal(wal_checkpoint_create(p->store, "one", 3, 0, &err), -EIO);
	assert_non_null(strstr(err.message, "'s'"));
	assert_int_equal(wal_checkpoint_count(p->store), 0);
}

/* The next open finds it again, and syncs it. */
static void expect_durable_after_all(struct place *p, uint64_t next)
{
	struct wal_checkpoint *cp;
	uint64_t cut;

	place_reopen(p);
	assert_int_equal(stat_of(p).durable_id, next);
	assert_int_equal(wal_stream_sync(p->st), 0);
	assert_int_equal(wal_checkpoint_create(p->store, "one", 3, 0, NULL), 0);
	assert_int_equal(wal_checkpoint_load(p->store, "one", 3, &cp), 0);
	assert_int_equal(wal_checkpoint_find(cp, "s", &cut), 0);
	assert_int_equal(cut, next);
	free(cp);
}

static void what_was_found_cannot_be_synced(void **state)
{
	struct faultsys f;
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, 20);
	place_crash(&p);
	expect_not_durable(&p, &f, 0, 20);
	stream_expect(p.st, 0, 20);
	expect_durable_after_all(&p, 20);
	stream_expect(p.st, 0, 20);
	stream_fill(p.st, 20, 25);
	place_remove(&p);
}

/* Sealed segments had been synced before the next one began. */
static void the_end_of_several_segments_cannot_be_synced(void **state)
{
	struct faultsys f;
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = 10 });
	stream_fill(p.st, 0, 25);
	place_crash(&p);
	expect_not_durable(&p, &f, 20, 25);
	stream_expect(p.st, 0, 25);
	expect_durable_after_all(&p, 25);
	place_remove(&p);
}

/* One entry of ten that were synced is bad; ten that were not follow. */
static void make_damaged_unsynced(struct place *p)
{
	struct frame_place bad;
	char path[PATH_MAX];

	make_unsynced(p);
	place_crash(p);
	bad = frame_of(p, 0, 5);
	damage_flip_bit(wal_of(p, 0, path), bad.offset + FRAME_HEADER_BYTES + 6, 3);
	remove_file(meta_of(p, 0, path));
}

static void a_damaged_end_cannot_be_synced(void **state)
{
	struct faultsys f;
	struct place p;

	(void)state;
	make_damaged_unsynced(&p);
	expect_not_durable(&p, &f, 0, 20);
	assert_non_null(strstr(stat_of(&p).reason, "damaged"));
	expect_gap(&p, 20, 5, 6);
	expect_durable_after_all(&p, 20);
	expect_gap(&p, 20, 5, 6);
	place_remove(&p);
}

/* Counts the syncs of one file. */
struct sync_counter {
	struct sys sys;
	struct stat file;
	atomic_uint syncs;
};

static void count_sync(struct sys *sys, int fd)
{
	struct sync_counter *c = container_of(sys, struct sync_counter, sys);
	struct stat sb;

	if (fstat(fd, &sb) == 0 && sb.st_dev == c->file.st_dev && sb.st_ino == c->file.st_ino)
		atomic_fetch_add(&c->syncs, 1);
}

static int counted_fsync(struct sys *sys, int fd)
{
	count_sync(sys, fd);
	return sys_real()->fsync(sys_real(), fd);
}

static int counted_fdatasync(struct sys *sys, int fd)
{
	count_sync(sys, fd);
	return sys_real()->fdatasync(sys_real(), fd);
}

/* A checkpoint covers it, so what is behind the damage must be on the disk like anything else. */
static void a_damaged_end_is_synced(void **state)
{
	struct sync_counter c = { .sys = *sys_real() };
	char path[PATH_MAX];
	struct place p;

	(void)state;
	c.sys.fsync = counted_fsync;
	c.sys.fdatasync = counted_fdatasync;
	make_damaged_unsynced(&p);
	assert_int_equal(stat(wal_of(&p, 0, path), &c.file), 0);
	assert_int_equal(store_open(&c.sys, p.path, &p.opts, &p.store, NULL), 0);
	p.st = stream_open_or_fail(p.store, "s");
	p.closed = false;
	assert_int_equal(stat_of(&p).health, WAL_READONLY);
	assert_int_equal(stat_of(&p).durable_id, 20);
	assert_int_equal(atomic_load(&c.syncs), 1);
	assert_int_equal(wal_checkpoint_create(p.store, "one", 3, 0, NULL), 0);
	place_close(&p);
	place_remove(&p);
}

/* A byte of each part of a frame, one after the other: always that frame's entries are lost and no others, wherever the sidecar comes from. */
static void every_part_of_a_frame_in_a_sealed_segment(void **state)
{
	static const unsigned offsets[] = { 0, 4, 8, 15, 16, 19, 20, 21, 24, 32, 35, 36, 40 };
	char path[PATH_MAX];
	struct place p;

	(void)state;
	for (unsigned sidecar = 0; sidecar < 2; sidecar++) {
		for (unsigned mmap = 0; mmap < 2; mmap++) {
			make_segments(&p);
			p.opts.read = mmap ? WAL_READ_MMAP : WAL_READ_IO;
			place_close(&p);
			struct frame_place bad = frame_of(&p, 10, 14);
			for (size_t i = 0; i < TEST_COUNT(offsets); i++) {
				if (!sidecar)
					unlink(meta_of(&p, 10, path));
				flip_bit_unseen(wal_of(&p, 10, path), bad.offset + offsets[i], 2);
				place_open(&p);
				expect_gap(&p, MANY, 14, 15);
				assert_int_equal(stat_of(&p).health, WAL_HEALTHY);
				place_close(&p);
				/* A gap in the sidecar stays when the damage is mended: it is a cache of what was found. */
				unlink(meta_of(&p, 10, path));
				flip_bit_unseen(wal_of(&p, 10, path), bad.offset + offsets[i], 2);
				place_open(&p);
				stream_expect(p.st, 0, MANY);
				place_close(&p);
			}
			place_remove(&p);
		}
	}
}

/* A sealed segment that lost its end: the ids that were there are damaged, those of the next segment are not. */
static void sealed_segment_cut_short(void **state)
{
	struct frame_place bad;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	bad = frame_of(&p, 10, 17);
	wal_of(&p, 10, path);
	damage_shrink(path, file_size(path) - bad.offset - 20);
	place_open(&p);
	expect_gap(&p, MANY, 17, 20);
	place_remove(&p);
}

/* ---- Sidecars ---- */

/* Nothing but time is lost with a sidecar; and not even that if it is only stale. */
static void expect_sidecar_is_made_anew(struct place *p)
{
	struct wal_stream_stat stat;
	uint64_t bytes = 0;
	uint8_t buf[ENTRY_SIZE_MAX];
	size_t size;

	for (uint64_t id = 0; id < MANY; id++) {
		entry_content(id, buf, &size);
		bytes += size;
	}
	place_open(p);
	stream_expect(p->st, 0, MANY);
	stat = stat_of(p);
	assert_int_equal(stat.payload_bytes, bytes);
	assert_int_equal(stat.health, WAL_HEALTHY);
	assert_int_equal(stat.tail, WAL_TAIL_CLEAN);
	place_close(p);
}

static void sidecar_lost_or_damaged(void **state)
{
	static const uint64_t segments[] = { 10, 30 }; /* sealed, active */
	char path[PATH_MAX], other[PATH_MAX];
	struct place p;
	uint8_t *data;
	size_t size;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(segments); i++) {
		make_segments(&p);
		place_close(&p);
		meta_of(&p, segments[i], path);
		remove_file(path);
		expect_sidecar_is_made_anew(&p);

		file_write(path, "", 0);
		expect_sidecar_is_made_anew(&p);

		damage_shrink(path, 1000);
		expect_sidecar_is_made_anew(&p);

		zero_bytes(path, 0, file_size(path));
		expect_sidecar_is_made_anew(&p);

		data = file_read(meta_of(&p, 20, other), &size);
		file_write(path, data, size);
		free(data);
		expect_sidecar_is_made_anew(&p);

		damage_append(path, "some bytes that are no block", 28);
		expect_sidecar_is_made_anew(&p);

		damage_grow_zeros(path, 4096);
		expect_sidecar_is_made_anew(&p);

		for (unsigned bit = 0; bit < 8 * 120; bit += 7) {
			damage_flip_bit(path, bit / 8, bit % 8);
			expect_sidecar_is_made_anew(&p);
		}
		place_remove(&p);
	}
}

/* Of the active segment, from before the last appends: as after a crash. */
static void sidecar_that_is_stale(void **state)
{
	char path[PATH_MAX];
	struct place p;
	uint8_t *data;
	size_t size;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	stream_fill(p.st, 0, 12);
	place_close(&p);
	data = file_read(meta_of(&p, 0, path), &size);
	place_open(&p);
	stream_fill(p.st, 12, MANY);
	place_close(&p);
	file_write(path, data, size);
	free(data);
	expect_sidecar_is_made_anew(&p);
	place_remove(&p);
}

/* Many blocks, of which one in the middle is bad: found when it is looked at, or at open. */
static void block_in_the_middle_of_a_sidecar(void **state)
{
	enum { ENTRIES = 1500 };
	uint64_t segments[] = { 0, ENTRIES };
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_entries = ENTRIES });
	stream_fill(p.st, 0, 2 * ENTRIES);
	place_close(&p);
	for (size_t i = 0; i < TEST_COUNT(segments); i++) {
		struct wal_buf buf = { 0 };
		uint64_t blocks = file_size(meta_of(&p, segments[i], path)) / 1024;

		assert_true(blocks > 4);
		damage_flip_bit(path, blocks / 2 * 1024 + 100, 1);
		place_open(&p);
		/* One read may fail on it; then it is made anew. */
		for (uint64_t id = 0; id < 2 * ENTRIES; id++) {
			if (wal_stream_get(p.st, id, &buf) != 0)
				assert_int_equal(wal_stream_get(p.st, id, &buf), 0);
		}
		wal_buf_release(&buf);
		place_reopen(&p);
		stream_expect(p.st, 0, 2 * ENTRIES);
		place_close(&p);
	}
	place_remove(&p);
}

/* ---- Times ---- */

static void times_of(const struct place *p, int64_t *times, uint64_t next)
{
	for (uint64_t id = 0; id < next; id++) {
		struct wal_entry_info info;

		assert_int_equal(wal_stream_lookup(p->st, id, &info), 0);
		times[id] = info.time_ns;
		assert_true(id == 0 || times[id] > times[id - 1]);
	}
}

static void times_are_kept(void **state)
{
	int64_t before[MANY + 3], after[MANY + 3];
	struct place p;

	(void)state;
	make_segments(&p);
	times_of(&p, before, MANY);
	assert_int_equal(wal_stream_mtime(p.st), before[MANY - 1]);
	place_reopen(&p);
	times_of(&p, after, MANY);
	assert_memory_equal(before, after, MANY * sizeof(*before));
	assert_int_equal(wal_stream_mtime(p.st), before[MANY - 1]);
	/* A crash after a sync costs none either. */
	stream_fill(p.st, MANY, MANY + 3);
	times_of(&p, before, MANY + 3);
	place_crash(&p);
	place_open(&p);
	times_of(&p, after, MANY + 3);
	assert_memory_equal(before, after, sizeof(before));
	place_remove(&p);
}

/* The time of the last append is that of an entry, not of the file that was made after it. */
static void time_of_a_stream_that_ends_with_a_rotation(void **state)
{
	int64_t times[MANY];
	struct place p;

	(void)state;
	make_segments(&p);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	times_of(&p, times, MANY);
	assert_int_equal(wal_stream_mtime(p.st), times[MANY - 1]);
	place_reopen(&p);
	assert_int_equal(wal_stream_mtime(p.st), times[MANY - 1]);
	place_remove(&p);
}

struct clock_sys {
	struct sys sys;
	int64_t ns;
};

static int64_t clock_now(struct sys *sys)
{
	return container_of(sys, struct clock_sys, sys)->ns;
}

/* Times go on where they were, in the same segment and in an empty one, over a reopen, whatever the clock says. */
static void clock_set_back(void **state)
{
	struct clock_sys clock = { .sys = *sys_real(), .ns = sys_real()->now(sys_real()) + 3600 * (int64_t)NSEC_PER_SEC };
	struct tmpdir dir;
	int64_t before = 0;

	(void)state;
	clock.sys.now = clock_now;
	tmpdir_make(&dir, "recover");
	for (uint64_t id = 0; id < 6; id++) {
		struct wal_entry_info info;
		struct wal_store *store;
		struct wal_stream *st;

		assert_int_equal(store_open(&clock.sys, dir.path, NULL, &store, NULL), 0);
		st = stream_open_or_fail(store, "s");
		stream_fill(st, id, id + 1);
		assert_int_equal(wal_stream_lookup(st, id, &info), 0);
		assert_true(info.time_ns > before);
		before = info.time_ns;
		if (id % 2 == 1)
			assert_int_equal(wal_stream_rotate(st), 0);
		clock.ns -= 7000 * (int64_t)NSEC_PER_SEC;
		wal_stream_close(st);
		store_close_or_fail(store);
	}
	tmpdir_remove(&dir);
}

static void times_without_sidecars(void **state)
{
	int64_t times[MANY + 5];
	char path[PATH_MAX];
	struct place p;
	struct stat st;

	(void)state;
	make_segments(&p);
	place_close(&p);
	for (uint64_t id = 0; id < MANY; id += SEGMENT_ENTRIES)
		remove_file(meta_of(&p, id, path));
	assert_int_equal(stat(wal_of(&p, 10, path), &st), 0);
	place_open(&p);
	stream_fill(p.st, MANY, MANY + 5);
	times_of(&p, times, MANY + 5);
	assert_true(llabs(times[15] - ((int64_t)st.st_mtim.tv_sec * NSEC_PER_SEC + st.st_mtim.tv_nsec)) < NSEC_PER_SEC);
	place_remove(&p);
}

/* ---- Marks ---- */

static void expect_marks(const struct place *p, uint64_t segment, const uint8_t *unsynced, size_t count)
{
	static struct frame_place frames[2000];
	char path[PATH_MAX];

	assert_int_equal(frames_in(wal_of(p, segment, path), frames, TEST_COUNT(frames)), count);
	for (size_t i = 0; i < count; i++) {
		assert_int_equal(frame_origin(&frames[i].h, segment, frames[i].offset), FRAME_OURS);
		if (frames[i].h.unsynced != unsynced[i])
			fail_msg("frame %zu says %u, expected %u", i, frames[i].h.unsynced, unsynced[i]);
	}
}

/* Each frame says how many right before it were not durable when it was written. */
static void marks_in_headers(void **state)
{
	static uint8_t unsynced[320];
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	stream_fill(p.st, 0, 20);
	expect_marks(&p, 0, unsynced, 20);
	place_remove(&p);

	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream_fill(p.st, 0, 300);
	for (unsigned i = 0; i < 300; i++)
		unsynced[i] = i < 255 ? (uint8_t)i : 255;
	expect_marks(&p, 0, unsynced, 300);
	assert_int_equal(wal_stream_sync(p.st), 0);
	stream_fill(p.st, 300, 310);
	for (unsigned i = 0; i < 10; i++)
		unsynced[300 + i] = (uint8_t)i;
	expect_marks(&p, 0, unsynced, 310);
	place_reopen(&p);
	stream_fill(p.st, 310, 320);
	for (unsigned i = 0; i < 10; i++)
		unsynced[310 + i] = (uint8_t)i;
	expect_marks(&p, 0, unsynced, 320);
	assert_int_equal(wal_stream_rotate(p.st), 0);
	stream_fill(p.st, 320, 325);
	expect_marks(&p, 320, unsynced, 5);
	place_remove(&p);
}

struct counted_op {
	struct wal_op op;
	struct iovec iov;
	uint8_t buf[ENTRY_SIZE_MAX];
	atomic_int done;
};

static void mark_done(struct wal_op *op)
{
	atomic_store((atomic_int *)op->arg, op->result == 0 ? 1 : -1);
}

/* Frames that are written together, or while a sync is under way, never claim more than was so: a later one counts those before it that wait too. */
static void marks_of_appends_in_a_group(void **state)
{
	enum { COUNT = 200 };
	static struct frame_place frames[COUNT];
	struct counted_op *ops = calloc(COUNT, sizeof(*ops));
	char path[PATH_MAX];
	struct place p;

	(void)state;
	assert_non_null(ops);
	place_make(&p, (struct wal_options){ 0 });
	for (uint64_t i = 0; i < COUNT; i++) {
		size_t size;

		ops[i].iov.iov_base = (void *)entry_content(i, ops[i].buf, &size);
		ops[i].iov.iov_len = size;
		ops[i].op = (struct wal_op){ .done = mark_done, .arg = &ops[i].done, .entries = &ops[i].iov, .count = 1 };
		wal_stream_submit(p.st, &ops[i].op);
	}
	assert_int_equal(wal_stream_sync(p.st), 0);
	place_close(&p);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(ops[i].done, 1);
	assert_int_equal(frames_in(wal_of(&p, 0, path), frames, COUNT), COUNT);
	for (unsigned i = 0; i < COUNT; i++) {
		assert_int_equal(frame_origin(&frames[i].h, 0, frames[i].offset), FRAME_OURS);
		assert_true(frames[i].h.unsynced <= i);
		/* From one frame to the next it grows by one, or shrinks because a sync came to its end. */
		assert_true(i == 0 || frames[i].h.unsynced <= frames[i - 1].h.unsynced + 1);
	}
	free(ops);
	place_open(&p);
	stream_expect(p.st, 0, COUNT);
	place_remove(&p);
}

/* ---- Read-only ---- */

static void expect_read_only_changes_nothing(struct place *p, uint64_t next)
{
	struct wal_options before_opts = p->opts;
	char *before = snapshot_take(p->path);
	uint64_t got_next;

	p->opts.ro = true;
	for (unsigned mmap = 0; mmap < 2; mmap++) {
		p->opts.read = mmap ? WAL_READ_MMAP : WAL_READ_IO;
		place_open(p);
		wal_stream_bounds(p->st, NULL, &got_next, NULL);
		assert_int_equal(got_next, next);
		stream_expect(p->st, 0, next);
		stat_of(p);
		assert_int_equal(wal_stream_append(p->st, "x", 1, 0, NULL), -EROFS);
		assert_int_equal(wal_stream_rotate(p->st), -EROFS);
		assert_int_equal(wal_stream_sync(p->st), 0);
		assert_int_equal(wal_stream_delete(p->store, "s"), -EROFS);
		assert_int_equal(wal_stream_open(p->store, "other", WAL_CREATE, &p->st, NULL), -EROFS);
		p->st = stream_open_or_fail(p->store, "s");
		place_close(p);
		snapshot_expect(p->path, before);
	}
	p->opts = before_opts;
	free(before);
}

static void read_only_after_a_clean_close(void **state)
{
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	expect_read_only_changes_nothing(&p, MANY);
	place_remove(&p);
}

static void read_only_without_sidecars_and_index(void **state)
{
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	for (uint64_t id = 0; id < MANY; id += SEGMENT_ENTRIES)
		remove_file(meta_of(&p, id, (char[PATH_MAX]){ 0 }));
	remove_file(file_of(&p, "segments.idx", (char[PATH_MAX]){ 0 }));
	put_head(&p, 7, 1, 5);
	expect_read_only_changes_nothing(&p, MANY);
	place_remove(&p);
}

static void read_only_after_a_crash(void **state)
{
	struct frame_place last;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_unsynced(&p);
	place_crash(&p);
	expect_read_only_changes_nothing(&p, 20);
	last = frame_of(&p, 0, 19);
	zero_bytes(wal_of(&p, 0, path), last.offset + last.bytes - 10, 10);
	file_write(file_of(&p, "segments.idx.tmp", path), "x", 1);
	expect_read_only_changes_nothing(&p, 19);
	p.opts.ro = true;
	place_open(&p);
	assert_int_equal(stat_of(&p).tail, WAL_TAIL_TRUNCATED);
	place_close(&p);
	p.opts.ro = false;
	place_remove(&p);
}

static void read_only_during_rotations(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	file_write(wal_of(&p, 33, path), "", 0);
	expect_read_only_changes_nothing(&p, MANY);
	remove_file(path);
	file_write(wal_of(&p, 35, path), "", 0);
	expect_read_only_changes_nothing(&p, MANY);
	remove_file(path);
	put_head(&p, 1, 35, 26);
	expect_read_only_changes_nothing(&p, MANY);
	place_remove(&p);
}

/* What cannot be read-only: a store that is not there. */
static void read_only_needs_a_store(void **state)
{
	struct wal_options opts = { .ro = true };
	struct wal_store *store;
	struct tmpdir dir;
	char path[PATH_MAX];

	(void)state;
	tmpdir_make(&dir, "recover");
	assert_int_equal(wal_store_open(dir.path, &opts, &store, NULL), -ENOENT);
	assert_int_equal(wal_store_open(tmpdir_path(&dir, "none", path), &opts, &store, NULL), -ENOENT);
	opts = (struct wal_options){ .no_create = true };
	assert_int_equal(wal_store_open(dir.path, &opts, &store, NULL), -ENOENT);
	assert_int_equal(wal_store_open(path, &opts, &store, NULL), -ENOENT);
	file_write(path, "", 0);
	assert_int_equal(wal_store_open(path, &opts, &store, NULL), -ENOTDIR);
	tmpdir_remove(&dir);
}

/* A store that is being written, seen as it stands at each open. */
struct writer {
	struct place *p;
	uint64_t next;
	atomic_bool done;
};

static void *run_writer(void *arg)
{
	struct writer *w = arg;

	stream_fill(w->p->st, 0, w->next);
	atomic_store(&w->done, true);
	return NULL;
}

static void read_only_while_another_appends(void **state)
{
	struct wal_options ro = { .ro = true };
	struct place p;
	struct writer w = { .p = &p, .next = 1500 };
	pthread_t thread;
	bool done = false;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC, .segment_size = 16 << 10 });
	assert_int_equal(pthread_create(&thread, NULL, run_writer, &w), 0);
	while (!done) {
		struct wal_store *store;
		struct wal_stream *st;
		uint64_t next;

		done = atomic_load(&w.done);
		store = store_open_or_fail(p.path, &ro);
		st = stream_open_or_fail(store, "s");
		wal_stream_bounds(st, NULL, &next, NULL);
		stream_expect(st, 0, next);
		if (done)
			assert_int_equal(next, w.next);
		wal_stream_close(st);
		store_close_or_fail(store);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
	stream_expect(p.st, 0, w.next);
	place_remove(&p);
}

/* ---- The store ---- */

/* In a process of its own: a thread of this one would not be another opener. */
static int in_child(int (*run)(const char *path), const char *path)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		_exit(run(path));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int child_is_refused(const char *path)
{
	struct wal_error err = { 0 };
	struct wal_store *store;
	int r = wal_store_open(path, NULL, &store, &err);

	return r == -EBUSY && err.code == -EBUSY && err.pid == getppid() ? 0 : 1;
}

static int child_reads(const char *path)
{
	struct wal_options opts = { .ro = true };
	struct wal_store *store;
	struct wal_stream *st;
	struct wal_buf buf = { 0 };

	if (wal_store_open(path, &opts, &store, NULL) != 0 || wal_stream_open(store, "s", 0, &st, NULL) != 0)
		return 1;
	int r = wal_stream_get(st, 9, &buf);
	wal_buf_release(&buf);
	wal_stream_close(st);
	wal_store_close(store);
	return r == 0 ? 0 : 2;
}

static void opened_twice(void **state)
{
	struct wal_store *store;
	struct wal_error err;
	struct place p;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	stream_fill(p.st, 0, 10);
	assert_int_equal(wal_store_open(p.path, NULL, &store, &err), -EBUSY);
	assert_int_equal(err.pid, getpid());
	assert_int_equal(in_child(child_is_refused, p.path), 0);
	assert_int_equal(in_child(child_reads, p.path), 0);
	/* The refused ones have not loosened the lock. */
	assert_int_equal(in_child(child_is_refused, p.path), 0);
	stream_fill(p.st, 10, 12);
	place_reopen(&p);
	stream_expect(p.st, 0, 12);
	place_remove(&p);
}

static char *below(const struct tmpdir *dir, const char *name, char buf[PATH_MAX])
{
	return tmpdir_path(dir, name, buf);
}

/* ironwal took every directory for a stream and wrote into it. */
static void foreign_directories(void **state)
{
	char path[PATH_MAX], *foreign, *empty;
	struct wal_stream *st;
	struct wal_error err;
	struct place p;
	char **names;
	size_t count;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	place_close(&p);
	assert_int_equal(mkdir(below(&p.dir, "store/foreign", path), 0755), 0);
	file_write(below(&p.dir, "store/foreign/notes.txt", path), "mine", 4);
	assert_int_equal(mkdir(below(&p.dir, "store/empty", path), 0755), 0);
	assert_int_equal(mkdir(below(&p.dir, "store/lost+found", path), 0700), 0);
	file_write(below(&p.dir, "store/readme", path), "mine", 4);
	assert_int_equal(symlink("/etc", below(&p.dir, "store/link", path)), 0);
	foreign = snapshot_take(below(&p.dir, "store/foreign", path));
	empty = snapshot_take(below(&p.dir, "store/empty", path));
	place_open(&p);
	assert_int_equal(wal_store_list(p.store, &names, &count), 0);
	assert_int_equal(count, 1);
	assert_string_equal(names[0], "s");
	free(names);
	assert_int_equal(wal_stream_open(p.store, "foreign", 0, &st, &err), -ENOENT);
	assert_int_equal(wal_stream_open(p.store, "foreign", WAL_CREATE, &st, &err), -EEXIST);
	assert_int_equal(wal_stream_open(p.store, "readme", WAL_CREATE, &st, &err), -EEXIST);
	assert_int_equal(wal_stream_open(p.store, "link", WAL_CREATE, &st, &err), -EEXIST);
	assert_int_equal(wal_stream_delete(p.store, "foreign"), -ENOENT);
	snapshot_expect(below(&p.dir, "store/foreign", path), foreign);
	snapshot_expect(below(&p.dir, "store/empty", path), empty);
	/* An empty one is what a crash leaves of making a stream: it may become one. */
	assert_int_equal(wal_stream_open(p.store, "empty", WAL_CREATE, &st, &err), 0);
	wal_stream_close(st);
	free(foreign);
	free(empty);
	place_remove(&p);
}

static void foreign_directory_as_a_store(void **state)
{
	char path[PATH_MAX], *before;
	struct wal_store *store;
	struct wal_error err;
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "recover");
	assert_int_equal(mkdir(below(&dir, "lost+found", path), 0700), 0);
	store_close_or_fail(store_open_or_fail(dir.path, NULL)); /* a fresh file system */
	tmpdir_remove(&dir);

	tmpdir_make(&dir, "recover");
	file_write(below(&dir, "photo.jpg", path), "jpg", 3);
	before = snapshot_take(dir.path);
	assert_int_equal(wal_store_open(dir.path, NULL, &store, &err), -ENOTEMPTY);
	assert_int_equal(err.code, -ENOTEMPTY);
	assert_non_null(strstr(err.message, dir.path));
	snapshot_expect(dir.path, before);
	free(before);
	remove_file(path);
	/* Someone else's LOCK does not make it ours. */
	file_write(below(&dir, "LOCK", path), "1234\n", 5);
	before = snapshot_take(dir.path);
	assert_int_equal(wal_store_open(dir.path, NULL, &store, &err), -ENOTEMPTY);
	snapshot_expect(dir.path, before);
	free(before);
	tmpdir_remove(&dir);
}

static void deleting_streams(void **state)
{
	char path[PATH_MAX];
	struct wal_stream *st, *again;
	struct place p;
	char **names;
	size_t count;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	stream_fill(p.st, 0, 1);
	assert_int_equal(wal_stream_delete(p.store, "s"), -ENOTEMPTY);
	assert_int_equal(wal_stream_delete(p.store, "t"), -ENOENT);
	assert_int_equal(wal_stream_open(p.store, "t", WAL_CREATE | WAL_EXCL, &st, NULL), 0);
	assert_int_equal(wal_stream_open(p.store, "t", WAL_CREATE, &again, NULL), 0);
	assert_ptr_equal(st, again);
	wal_stream_close(again);
	/* Files that are not the store's own, and what recovery set aside, keep it. */
	file_write(below(&p.dir, "store/t/notes.txt", path), "mine", 4);
	assert_int_equal(wal_stream_delete(p.store, "t"), -ENOTEMPTY);
	remove_file(path);
	file_write(below(&p.dir, "store/t/00000000000000000000.wal.torn.0", path), "torn", 4);
	assert_int_equal(wal_stream_delete(p.store, "t"), -ENOTEMPTY);
	remove_file(path);
	assert_int_equal(wal_stream_append(st, "", 0, 0, NULL), 0);
	assert_int_equal(wal_stream_delete(p.store, "t"), -ENOTEMPTY);
	wal_stream_close(st);
	assert_int_equal(wal_stream_open(p.store, "u", WAL_CREATE, &st, NULL), 0);
	assert_int_equal(wal_stream_delete(p.store, "u"), 0);
	assert_false(exists(below(&p.dir, "store/u", path)));
	/* Handles that are still open know. */
	assert_int_equal(wal_stream_append(st, "x", 1, 0, NULL), -ENOENT);
	assert_int_equal(wal_stream_sync(st), -ENOENT);
	assert_int_equal(wal_stream_rotate(st), -ENOENT);
	assert_int_equal(wal_stream_delete(p.store, "u"), -ENOENT);
	/* A new one of that name is another. */
	assert_int_equal(wal_stream_open(p.store, "u", WAL_CREATE, &again, NULL), 0);
	stream_fill(again, 0, 3);
	assert_int_equal(wal_stream_append(st, "x", 1, 0, NULL), -ENOENT);
	wal_stream_close(st);
	stream_expect(again, 0, 3);
	wal_stream_close(again);
	place_reopen(&p);
	assert_int_equal(wal_store_list(p.store, &names, &count), 0);
	assert_int_equal(count, 3);
	free(names);
	place_remove(&p);
}

static void names_of_streams(void **state)
{
	static const char *const bad[] = { "", ".", "..", ".x", ".checkpoints", "a/b", "/", "a/", "LOCK", "HEAD", "checkpoints.log", "HEAD.tmp",
					   "checkpoints.log.tmp" };
	static const char *const good[] = { "a", "LOCK2", "head.state", "segments.idx", "new", " ", "-", "\x01", "\xff\xfe", "a.b", "x..", "a\nb", "lock" };
	char name[WAL_STREAM_NAME_MAX + 2];
	struct wal_stream *st;
	struct place p;
	char **names;
	size_t count;

	(void)state;
	place_make(&p, (struct wal_options){ 0 });
	for (size_t i = 0; i < TEST_COUNT(bad); i++) {
		struct wal_error err = { 0 };

		assert_int_equal(wal_stream_name_check(bad[i]), -EINVAL);
		assert_int_equal(wal_stream_open(p.store, bad[i], WAL_CREATE, &st, &err), -EINVAL);
		assert_int_equal(err.code, -EINVAL);
	}
	for (size_t i = 0; i < TEST_COUNT(good); i++) {
		assert_int_equal(wal_stream_name_check(good[i]), 0);
		st = stream_open_or_fail(p.store, good[i]);
		assert_string_equal(wal_stream_name(st), good[i]);
		stream_fill(st, 0, 2);
		wal_stream_close(st);
	}
	memset(name, 'n', sizeof(name));
	name[WAL_STREAM_NAME_MAX + 1] = '\0';
	assert_int_equal(wal_stream_name_check(name), -ENAMETOOLONG);
	assert_int_equal(wal_stream_open(p.store, name, WAL_CREATE, &st, NULL), -ENAMETOOLONG);
	name[WAL_STREAM_NAME_MAX] = '\0';
	st = stream_open_or_fail(p.store, name);
	stream_fill(st, 0, 2);
	wal_stream_close(st);
	place_reopen(&p);
	assert_int_equal(wal_store_list(p.store, &names, &count), 0);
	assert_int_equal(count, TEST_COUNT(good) + 2);
	for (size_t i = 1; i < count; i++)
		assert_true(strcmp(names[i - 1], names[i]) < 0);
	free(names);
	for (size_t i = 0; i < TEST_COUNT(good); i++) {
		st = stream_open_or_fail(p.store, good[i]);
		stream_expect(st, 0, 2);
		wal_stream_close(st);
	}
	place_remove(&p);
}

/* A segment that is a symlink or a directory leads nowhere: it must not be followed out of the store. */
/* Its writer keeps the times of the newest entries in memory for some moments: who reads the store then can tell which those are. */
static void store_read_beside_its_writer(void **state)
{
	struct wal_options ro = { .ro = true };
	struct wal_entry_info info, seen;
	struct wal_stream *st;
	struct wal_store *store;
	struct place p;
	uint64_t timed = 0, next = 0;

	(void)state;
	place_make(&p, (struct wal_options){ .sync = WAL_SYNC_ASYNC });
	/* On a machine that is slow just then all may be recorded at once. */
	for (unsigned i = 0; i < 100 && timed == next; i++) {
		stream_fill(p.st, next, next + 100);
		assert_int_equal(wal_stream_timed_id(p.st), next + 100);
		store = store_open_or_fail(p.path, &ro);
		st = stream_open_or_fail(store, "s");
		timed = wal_stream_timed_id(st);
		wal_stream_bounds(st, NULL, &next, NULL);
		for (uint64_t id = 0; id < timed; id++) {
			assert_int_equal(wal_stream_lookup(p.st, id, &info), 0);
			assert_int_equal(wal_stream_lookup(st, id, &seen), 0);
			assert_int_equal(seen.time_ns, info.time_ns);
		}
		wal_stream_close(st);
		store_close_or_fail(store);
	}
	assert_true(timed < next);
	/* Once it is closed all are recorded. */
	place_close(&p);
	store = store_open_or_fail(p.path, &ro);
	st = stream_open_or_fail(store, "s");
	assert_int_equal(wal_stream_timed_id(st), next);
	wal_stream_close(st);
	store_close_or_fail(store);
	place_remove(&p);
}

static void segments_that_are_no_files(void **state)
{
	char path[PATH_MAX], aside[PATH_MAX];
	struct wal_buf buf = { 0 };
	struct wal_store *store;
	struct wal_error err;
	struct place p;

	(void)state;
	make_segments(&p);
	place_close(&p);
	assert_int_equal(rename(wal_of(&p, 10, path), below(&p.dir, "aside.wal", aside)), 0);
	assert_int_equal(symlink(aside, path), 0);
	place_open(&p);
	assert_int_equal(wal_stream_get(p.st, 15, &buf), -EBADMSG);
	assert_int_equal(wal_stream_get(p.st, 25, &buf), 0);
	place_close(&p);
	remove_file(path);
	assert_int_equal(rename(aside, path), 0);
	assert_int_equal(rename(wal_of(&p, 30, path), aside), 0);
	assert_int_equal(symlink(aside, path), 0);
	place_open(&p);
	assert_int_equal(stat_of(&p).health, WAL_READONLY);
	assert_non_null(strstr(stat_of(&p).reason, "00000000000000000030.wal"));
	assert_int_equal(wal_stream_append(p.st, "x", 1, 0, NULL), -EIO);
	place_close(&p);
	p.opts.on_corruption = WAL_ON_CORRUPTION_ERROR;
	assert_int_equal(wal_store_open(p.path, &p.opts, &store, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "00000000000000000030.wal"));
	wal_buf_release(&buf);
	place_remove(&p);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(torn_payload),
		cmocka_unit_test(torn_header),
		cmocka_unit_test(torn_batch),
		cmocka_unit_test(unsynced_frame_lost_before_others),
		cmocka_unit_test(file_cut_short),
		cmocka_unit_test(every_length_of_a_torn_frame),
		cmocka_unit_test(zeros_after_the_last_frame),
		cmocka_unit_test(garbage_after_the_last_frame),
		cmocka_unit_test(torn_twice),
		cmocka_unit_test(index_that_does_not_agree),
		cmocka_unit_test(index_of_another_stream),
		cmocka_unit_test(index_missing),
		cmocka_unit_test(head_that_does_not_agree),
		cmocka_unit_test(only_the_segments_are_left),
		cmocka_unit_test(rest_of_a_rotation_given_up),
		cmocka_unit_test(rest_of_a_rotation_given_up_late),
		cmocka_unit_test(rotation_to_be_finished),
		cmocka_unit_test(no_segment_left),
		cmocka_unit_test(active_segment_missing),
		cmocka_unit_test(active_segment_missing_and_no_reason_to_stop),
		cmocka_unit_test(segment_missing_in_the_middle),
		cmocka_unit_test(damage_in_the_active_segment),
		cmocka_unit_test(damage_under_an_intact_sidecar),
		cmocka_unit_test(damage_is_cut_off_if_asked),
		cmocka_unit_test(damage_keeps_the_store_closed_if_asked),
		cmocka_unit_test(what_was_found_cannot_be_synced),
		cmocka_unit_test(the_end_of_several_segments_cannot_be_synced),
		cmocka_unit_test(a_damaged_end_cannot_be_synced),
		cmocka_unit_test(a_damaged_end_is_synced),
		cmocka_unit_test(every_part_of_a_frame_in_a_sealed_segment),
		cmocka_unit_test(sealed_segment_cut_short),
		cmocka_unit_test(sidecar_lost_or_damaged),
		cmocka_unit_test(sidecar_that_is_stale),
		cmocka_unit_test(block_in_the_middle_of_a_sidecar),
		cmocka_unit_test(times_are_kept),
		cmocka_unit_test(time_of_a_stream_that_ends_with_a_rotation),
		cmocka_unit_test(clock_set_back),
		cmocka_unit_test(times_without_sidecars),
		cmocka_unit_test(marks_in_headers),
		cmocka_unit_test(marks_of_appends_in_a_group),
		cmocka_unit_test(read_only_after_a_clean_close),
		cmocka_unit_test(read_only_without_sidecars_and_index),
		cmocka_unit_test(read_only_after_a_crash),
		cmocka_unit_test(read_only_during_rotations),
		cmocka_unit_test(read_only_needs_a_store),
		cmocka_unit_test(read_only_while_another_appends),
		cmocka_unit_test(opened_twice),
		cmocka_unit_test(foreign_directories),
		cmocka_unit_test(foreign_directory_as_a_store),
		cmocka_unit_test(deleting_streams),
		cmocka_unit_test(names_of_streams),
		cmocka_unit_test(store_read_beside_its_writer),
		cmocka_unit_test(segments_that_are_no_files),
	};

	alarm(300); /* a hang is a failure, not a wait */
	return TEST_RUN(tests);
}
