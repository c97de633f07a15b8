/* SPDX-License-Identifier: Apache-2.0 */
#include "ckptlog.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "checkpoints.h"
#include "ckptrecord.h"
#include "cleanup.h"
#include "crc32.h"
#include "damage.h"
#include "snapshot.h"
#include "test.h"

/* ---- What goes in comes out ---- */

static void round_trip_of_named_streams(void **state)
{
	struct tmpdir dir;
	struct ckptlog *cl;
	size_t fds = open_fd_count();

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	cl = ckpt_open(&dir);
	assert_int_equal(ckptlog_count(cl), 0);
	assert_int_equal(ckptlog_shards(cl), 0);
	ckpt_expect_latest(cl, NULL);
	assert_false(dir_has(&dir, CKPT_LOG));
	uint64_t version = ckptlog_version(cl);
	ckpt_add(cl, "one", 1);
	assert_true(ckptlog_version(cl) != version);
	ckpt_add(cl, "two", 20);
	ckpt_add(cl, "three", 300);
	for (int again = 0; again < 2; again++) {
		ckpt_expect_ids(cl, "one two three ");
		ckpt_expect(cl, "one", 1);
		ckpt_expect(cl, "two", 20);
		ckpt_expect(cl, "three", 300);
		ckpt_expect_missing(cl, "four");
		ckpt_expect_missing(cl, "on");
		ckpt_expect_latest(cl, "three");
		assert_int_equal(ckptlog_shards(cl), 0);
		ckptlog_free(cl);
		cl = ckpt_open(&dir);
	}
	ckptlog_free(cl);
	dir_expect_head(&dir, "three");
	assert_false(dir_has(&dir, CKPT_LOG ".tmp"));
	assert_false(dir_has(&dir, "HEAD.tmp"));
	tmpdir_remove(&dir);
	assert_int_equal(open_fd_count(), fds);
}

/* Appending to a log of the original leaves its bytes alone, and what is appended is what it would have written. */
static void continues_a_log_of_the_original(void **state)
{
	struct wal_cut cuts[RAW_SHARDS];
	const struct wal_checkpoint added = { .id = "added", .id_size = 5, .cut_count = RAW_SHARDS, .cuts = cuts };
	uint8_t expected[RAW_BYTES + RECORD_HEADER + 13 + 5 + 8 * RAW_SHARDS], *p = expected + RAW_BYTES;
	struct wal_checkpoint *cp;
	struct tmpdir dir;
	int64_t time_ns;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	dir_write(&dir, CKPT_LOG, raw_log, RAW_BYTES);
	dir_write_head(&dir, "final");
	struct ckptlog *cl = ckpt_open(&dir);
	assert_int_equal(ckptlog_count(cl), 5);
	assert_int_equal(ckptlog_shards(cl), RAW_SHARDS);
	assert_int_equal(ckptlog_load(cl, "\x00\x01\x02\xff", 4, &cp), 0);
	assert_true(cp->time_ns == 1795150527053017935);
	assert_int_equal(cp->cut_count, RAW_SHARDS);
	assert_string_equal(cp->cuts[0].stream, "shard_00");
	assert_int_equal(cp->cuts[0].next_id, 141);
	assert_string_equal(cp->cuts[7].stream, "shard_07");
	assert_int_equal(cp->cuts[7].next_id, 153);
	free(cp);
	for (unsigned i = 0; i < RAW_SHARDS; i++)
		cuts[i] = (struct wal_cut){ .next_id = 1000 + i }; /* names are not looked at */
	assert_int_equal(ckptlog_append(cl, &added, RAW_SHARDS, 0, &time_ns), 0);
	dir_expect_head(&dir, NULL);
	assert_int_equal(ckptlog_close(cl), 0);
	memcpy(expected, raw_log, RAW_BYTES);
	p[RECORD_HEADER] = 1;
	put_le16(p + RECORD_HEADER + 1, 5);
	memcpy(p + RECORD_HEADER + 3, "added", 5);
	put_le64(p + RECORD_HEADER + 8, (uint64_t)time_ns);
	put_le16(p + RECORD_HEADER + 16, RAW_SHARDS);
	for (unsigned i = 0; i < RAW_SHARDS; i++)
		put_le64(p + RECORD_HEADER + 18 + 8 * i, 1000 + i);
	memcpy(p, "CKPT", 4);
	put_le32(p + 8, 18 + 8 * RAW_SHARDS);
	put_le32(p + 4, crc32_update(0, p + RECORD_HEADER, 18 + 8 * RAW_SHARDS));
	dir_expect(&dir, CKPT_LOG, expected, sizeof expected);
	dir_expect_head(&dir, "added");
	tmpdir_remove(&dir);
}

static void compacts_as_the_original_did(void **state)
{
	struct tmpdir dir;
	size_t removed = 4711;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	dir_write(&dir, CKPT_LOG, raw_log, RAW_BYTES);
	dir_write_head(&dir, "final");
	struct ckptlog *cl = ckpt_open(&dir);
	assert_int_equal(ckptlog_compact(cl, 0, &removed), -EINVAL);
	assert_int_equal(removed, 4711);
	assert_int_equal(ckptlog_compact(cl, 5, &removed), 0);
	assert_int_equal(removed, 0);
	dir_expect(&dir, CKPT_LOG, raw_log, RAW_BYTES);
	assert_int_equal(ckptlog_compact(cl, 3, &removed), 0);
	assert_int_equal(removed, 2);
	dir_expect(&dir, CKPT_LOG, raw_log + RAW_COMPACTED, RAW_BYTES - RAW_COMPACTED);
	dir_expect_head(&dir, "final");
	assert_int_equal(ckptlog_count(cl), 3);
	ckpt_expect_missing(cl, "ckpt-2");
	ckptlog_free(cl);
	tmpdir_remove(&dir);
}

/* ---- Ids, cuts, times ---- */

static void ids_of_any_bytes(void **state)
{
	static const struct wal_cut cut = { "s", 1 };
	uint8_t *id = malloc(WAL_CHECKPOINT_ID_MAX + 1);
	struct wal_checkpoint cp = { .id = id, .cut_count = 1, .cuts = &cut }, *back;
	const size_t sizes[] = { 1, 2, 255, 256, 257, 4096, WAL_CHECKPOINT_ID_MAX - 1, WAL_CHECKPOINT_ID_MAX };
	struct tmpdir dir;
	int64_t time_ns = 4711;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	for (size_t i = 0; i <= WAL_CHECKPOINT_ID_MAX; i++)
		id[i] = (uint8_t)(i * 7 + i / 256);
	struct ckptlog *cl = ckpt_open(&dir);
	cp.id_size = 0;
	assert_int_equal(ckptlog_append(cl, &cp, 0, 0, &time_ns), -EINVAL);
	cp.id_size = WAL_CHECKPOINT_ID_MAX + 1;
	assert_int_equal(ckptlog_append(cl, &cp, 0, 0, &time_ns), -EINVAL);
	assert_int_equal(time_ns, 4711);
	assert_false(dir_has(&dir, CKPT_LOG));
	for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
		cp.id_size = sizes[i];
		assert_int_equal(ckptlog_append(cl, &cp, 0, 0, &time_ns), 0);
	}
	for (int again = 0; again < 2; again++) {
		assert_int_equal(ckptlog_count(cl), TEST_COUNT(sizes));
		for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
			assert_int_equal(ckptlog_load(cl, id, sizes[i], &back), 0);
			assert_int_equal(back->id_size, sizes[i]);
			assert_memory_equal(back->id, id, sizes[i]);
			assert_int_equal(((const uint8_t *)back->id)[sizes[i]], 0);
			free(back);
		}
		assert_int_equal(ckptlog_load(cl, id, 3, &back), WAL_NOT_FOUND);
		assert_int_equal(ckptlog_latest(cl, &back), 0);
		assert_int_equal(back->id_size, WAL_CHECKPOINT_ID_MAX);
		free(back);
		ckptlog_free(cl);
		cl = ckpt_open(&dir);
	}
	ckptlog_free(cl);
	free(id);
	tmpdir_remove(&dir);
}

static void what_the_format_does_not_allow(void **state)
{
	char long_name[WAL_STREAM_NAME_MAX + 2];
	const struct wal_cut unsorted[] = { { "b", 1 }, { "a", 2 } }, twice[] = { { "a", 1 }, { "a", 2 } }, empty[] = { { "", 1 } }, longer[] = { { long_name, 1 } };
	const struct {
		const struct wal_cut *cuts;
		size_t count;
		uint32_t shards;
	} wrong[] = { { unsorted, 2, 0 }, { twice, 2, 0 }, { empty, 1, 0 }, { longer, 1, 0 }, { unsorted, 2, 1 }, { unsorted, 2, 3 }, { unsorted, 2, 65536 } };
	struct tmpdir dir;
	int64_t time_ns;

	(void)state;
	memset(long_name, 'x', sizeof long_name);
	long_name[WAL_STREAM_NAME_MAX + 1] = '\0';
	tmpdir_make(&dir, "ckptlog");
	struct ckptlog *cl = ckpt_open(&dir);
	for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
		const struct wal_checkpoint cp = { .id = "x", .id_size = 1, .cut_count = wrong[i].count, .cuts = wrong[i].cuts };

		assert_int_equal(ckptlog_append(cl, &cp, wrong[i].shards, 0, &time_ns), -EINVAL);
	}
	assert_int_equal(ckptlog_count(cl), 0);
	long_name[WAL_STREAM_NAME_MAX] = '\0';
	assert_int_equal(ckptlog_append(cl, &(struct wal_checkpoint){ .id = "x", .id_size = 1, .cut_count = 1, .cuts = longer }, 0, 0, &time_ns), 0);
	assert_int_equal(ckptlog_append(cl, &(struct wal_checkpoint){ .id = "none", .id_size = 4 }, 0, 0, &time_ns), 0);
	for (int again = 0; again < 2; again++) {
		struct wal_checkpoint *cp;

		assert_int_equal(ckptlog_load(cl, "x", 1, &cp), 0);
		assert_string_equal(cp->cuts[0].stream, long_name);
		free(cp);
		assert_int_equal(ckptlog_load(cl, "none", 4, &cp), 0);
		assert_int_equal(cp->cut_count, 0);
		free(cp);
		ckptlog_free(cl);
		cl = ckpt_open(&dir);
	}
	ckptlog_free(cl);
	tmpdir_remove(&dir);
}

/* A record that is larger than what is read at a time, of both versions. */
static void records_of_many_streams(void **state)
{
	enum { STREAMS = 5000, NAME = 200, SHARDS = 65535 };
	struct wal_cut *cuts = calloc(SHARDS, sizeof *cuts);
	char(*names)[NAME] = calloc(STREAMS, NAME);
	struct wal_checkpoint cp = { .id = "many", .id_size = 4, .cut_count = STREAMS, .cuts = cuts }, *back;
	struct tmpdir dir;
	int64_t time_ns;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	for (unsigned i = 0; i < STREAMS; i++) {
		snprintf(names[i], NAME, "%0*u", (int)(6 + i % 190), i);
		cuts[i] = (struct wal_cut){ names[i], 3 * i };
	}
	struct ckptlog *cl = ckpt_open(&dir);
	assert_int_equal(ckptlog_append(cl, &cp, 0, 0, &time_ns), -EINVAL); /* lengths mix, so they are not sorted */
	for (unsigned i = 0; i < STREAMS; i++)
		snprintf(names[i], NAME, "%06u%0*u", i, (int)(1 + i % 190), 0);
	ckpt_add(cl, "before", 1);
	assert_int_equal(ckptlog_append(cl, &cp, 0, 0, &time_ns), 0);
	ckpt_add(cl, "after", 2);
	for (unsigned i = 0; i < SHARDS; i++)
		cuts[i].next_id = UINT64_MAX - i;
	cp = (struct wal_checkpoint){ .id = "shards", .id_size = 6, .cut_count = SHARDS, .cuts = cuts };
	assert_int_equal(ckptlog_append(cl, &cp, SHARDS, 0, &time_ns), 0);
	for (int again = 0; again < 2; again++) {
		ckpt_expect_ids(cl, "before many after shards ");
		assert_int_equal(ckptlog_load(cl, "many", 4, &back), 0);
		assert_int_equal(back->cut_count, STREAMS);
		for (unsigned i = 0; i < STREAMS; i++) {
			assert_string_equal(back->cuts[i].stream, names[i]);
			assert_int_equal(back->cuts[i].next_id, 3 * i);
		}
		free(back);
		assert_int_equal(ckptlog_load(cl, "shards", 6, &back), 0);
		assert_int_equal(back->cut_count, SHARDS);
		assert_string_equal(back->cuts[99].stream, "shard_99");
		assert_string_equal(back->cuts[SHARDS - 1].stream, "shard_65534");
		assert_true(back->cuts[SHARDS - 1].next_id == UINT64_MAX - (SHARDS - 1));
		free(back);
		assert_int_equal(ckptlog_shards(cl), SHARDS);
		ckptlog_free(cl);
		cl = ckpt_open(&dir);
	}
	/* Copied in pieces, and one of it rewritten. */
	assert_int_equal(ckptlog_remove(cl, "before", 6), 0);
	assert_int_equal(ckptlog_forget_stream(cl, names[17]), 0);
	ckptlog_free(cl);
	cl = ckpt_open(&dir);
	ckpt_expect_ids(cl, "many after shards ");
	assert_int_equal(ckptlog_load(cl, "many", 4, &back), 0);
	assert_int_equal(back->cut_count, STREAMS - 1);
	assert_string_equal(back->cuts[17].stream, names[18]);
	free(back);
	ckptlog_free(cl);
	free(cuts);
	free(names);
	tmpdir_remove(&dir);
}

struct clock {
	struct sys sys;
	int64_t now;
};

static int64_t clock_now(struct sys *sys)
{
	return container_of(sys, struct clock, sys)->now;
}

/* The clock stands still, goes back, or is as far as it can be: what is made later is later. */
static void times_increase(void **state)
{
	static const struct {
		int64_t now, expected;
	} steps[] = { { 100, 100 }, { 100, 101 }, { 50, 102 }, { 102, 103 }, { 1000, 1000 }, { INT64_MAX, INT64_MAX }, { 5, INT64_MAX }, { 6, INT64_MAX } };
	struct clock clock = { .sys = *sys_real() };
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	clock.sys.now = clock_now;
	struct ckptlog *cl = ckpt_open_with(&clock.sys, &dir, false, NULL);
	for (size_t i = 0; i < TEST_COUNT(steps); i++) {
		const char id = (char)('a' + i);
		int64_t time_ns = -1;

		clock.now = steps[i].now;
		assert_int_equal(ckptlog_append(cl, &(struct wal_checkpoint){ .id = &id, .id_size = 1, .time_ns = 9999 }, 0, 0, &time_ns), 0);
		assert_true(time_ns == steps[i].expected);
	}
	ckpt_expect_ids(cl, "a b c d e f g h ");
	ckptlog_free(cl);
	cl = ckpt_open(&dir);
	ckpt_expect_ids(cl, "a b c d e f g h ");
	assert_int_equal(ckptlog_remove(cl, "g", 1), 0);
	ckpt_add(cl, "i", 1);
	ckpt_expect_ids(cl, "a b c d e f h i ");
	ckptlog_free(cl);
	tmpdir_remove(&dir);
}

/* ---- The same id again ---- */

static void moved_and_exclusive(void **state)
{
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	struct ckptlog *cl = ckpt_open(&dir);
	ckpt_add(cl, "one", 1);
	ckpt_add(cl, "two", 2);
	assert_int_equal(ckpt_append(cl, "one", 7, WAL_EXCL), -EEXIST);
	assert_int_equal(ckpt_append(cl, "three", 3, WAL_EXCL), 0);
	uint64_t version = ckptlog_version(cl);
	ckpt_add(cl, "one", 10);
	assert_true(ckptlog_version(cl) != version);
	for (int again = 0; again < 2; again++) {
		ckpt_expect_ids(cl, "two three one ");
		ckpt_expect(cl, "one", 10);
		ckpt_expect(cl, "two", 2);
		ckpt_expect_latest(cl, "one");
		ckptlog_free(cl);
		cl = ckpt_open(&dir);
	}
	assert_int_equal(ckptlog_remove(cl, "one", 3), 0);
	ckptlog_free(cl);
	cl = ckpt_open(&dir);
	/* Not the one it was before. */
	ckpt_expect_ids(cl, "two three ");
	ckptlog_free(cl);
	tmpdir_remove(&dir);
}

/* A checkpoint that is moved for ever does not fill the disk. */
static void superseded_records_are_dropped(void **state)
{
	struct tmpdir dir;
	char path[PATH_MAX], id[600];
	uint64_t largest = 0;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	memset(id, 'i', sizeof id - 1);
	id[sizeof id - 1] = '\0';
	tmpdir_path(&dir, CKPT_LOG, path);
	struct ckptlog *cl = ckpt_open(&dir);
	ckpt_add(cl, "stays", 1);
	for (unsigned i = 0; i < 500; i++) {
		ckpt_add(cl, id, i);
		uint64_t size = file_size(path);
		largest = size > largest ? size : largest;
	}
	assert_in_range(largest, (64 << 10) - CKPT_BYTES(id), 64 << 10);
	assert_in_range(file_size(path), CKPT_BYTES("stays"), 64 << 10);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(ckptlog_count(cl), 2);
		ckpt_expect(cl, "stays", 1);
		ckpt_expect(cl, id, 499);
		ckptlog_free(cl);
		cl = ckpt_open(&dir);
	}
	ckptlog_free(cl);
	tmpdir_remove(&dir);
}

/* ---- Removing ---- */

static void removing_moves_head(void **state)
{
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	struct ckptlog *cl = ckpt_open(&dir);
	for (unsigned i = 0; i < 4; i++)
		ckpt_add(cl, (const char *[]){ "one", "two", "three", "four" }[i], i);
	uint64_t version = ckptlog_version(cl);
	assert_int_equal(ckptlog_remove(cl, "five", 4), WAL_NOT_FOUND);
	assert_int_equal(ckptlog_remove(cl, "", 0), WAL_NOT_FOUND);
	assert_true(ckptlog_version(cl) == version);
	assert_int_equal(ckptlog_remove(cl, "two", 3), 0);
	assert_true(ckptlog_version(cl) != version);
	ckpt_expect_ids(cl, "one three four ");
	assert_int_equal(ckptlog_close(cl), 0);
	dir_expect_head(&dir, "four");
	cl = ckpt_open(&dir);
	assert_int_equal(ckptlog_remove(cl, "four", 4), 0);
	dir_expect_head(&dir, "three");
	ckpt_expect_latest(cl, "three");
	ckpt_expect(cl, "three", 2);
	ckptlog_free(cl);
	cl = ckpt_open(&dir);
	ckpt_expect_ids(cl, "one three ");
	assert_int_equal(ckptlog_remove(cl, "three", 5), 0);
	assert_int_equal(ckptlog_remove(cl, "one", 3), 0);
	dir_expect_head(&dir, NULL);
	dir_expect(&dir, CKPT_LOG, "", 0);
	ckpt_expect_latest(cl, NULL);
	assert_int_equal(ckptlog_count(cl), 0);
	ckpt_add(cl, "again", 5);
	ckptlog_free(cl);
	cl = ckpt_open(&dir);
	ckpt_expect_ids(cl, "again ");
	ckpt_expect(cl, "again", 5);
	ckptlog_free(cl);
	tmpdir_remove(&dir);
}

/* What a crash between a record and its HEAD leaves: HEAD names an older one, which is among those that go. */
static void compacting_what_head_names(void **state)
{
	struct tmpdir dir;
	size_t removed;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	dir_write(&dir, CKPT_LOG, raw_log, RAW_BYTES);
	dir_write_head(&dir, "ckpt-2");
	struct ckptlog *cl = ckpt_open(&dir);
	ckpt_expect_latest(cl, "ckpt-2");
	assert_int_equal(ckptlog_compact(cl, 4, &removed), 0);
	assert_int_equal(removed, 1);
	dir_expect_head(&dir, "ckpt-2");
	assert_int_equal(ckptlog_compact(cl, 3, NULL), 0);
	dir_expect_head(&dir, "final");
	ckpt_expect_latest(cl, "final");
	assert_int_equal(ckptlog_compact(cl, SIZE_MAX, &removed), 0);
	assert_int_equal(removed, 0);
	ckptlog_free(cl);
	tmpdir_remove(&dir);
}

/* A log of records by hand, whose times are in another order than they are. */
static void compaction_goes_by_time(void **state)
{
	uint8_t data[512], payload[64];
	size_t size = 0, records[3];
	const uint64_t times[] = { 300, 100, 200 };
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	for (unsigned i = 0; i < 3; i++) {
		memcpy(payload, "\x02\x01\x00", 3);
		payload[3] = (uint8_t)('a' + i);
		put_le64(payload + 4, times[i]);
		put_le32(payload + 12, 0);
		memcpy(payload + 16, "unknown", 7);
		records[i] = size;
		size += ckpt_record(data + size, payload, 23);
	}
	dir_write(&dir, CKPT_LOG, data, size);
	struct ckptlog *cl = ckpt_open(&dir);
	ckpt_expect_ids(cl, "b c a ");
	ckpt_expect_latest(cl, "a");
	assert_int_equal(ckptlog_compact(cl, 2, NULL), 0);
	ckpt_expect_ids(cl, "c a ");
	ckptlog_free(cl);
	/* The records are as they were, with what they hold that is not known. */
	memcpy(data + size, data + records[2], 35);
	memcpy(data + size + 35, data + records[0], 35);
	dir_expect(&dir, CKPT_LOG, data + size, 70);
	tmpdir_remove(&dir);
}

static void forgets_a_stream(void **state)
{
	static const struct wal_cut cuts[] = { { "a", 1 }, { "ab", 2 }, { "b", 3 } };
	const struct wal_checkpoint all = { .id = "all", .id_size = 3, .cut_count = 3, .cuts = cuts }, last = { .id = "last", .id_size = 4, .cut_count = 1, .cuts = cuts + 2 };
	struct tmpdir dir;
	char path[PATH_MAX], *text;
	size_t size;
	int64_t time_ns;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	dir_write(&dir, CKPT_LOG, raw_log, RAW_BYTES);
	struct ckptlog *cl = ckpt_open(&dir);
	assert_int_equal(ckptlog_append(cl, &all, 0, 0, &time_ns), 0);
	assert_int_equal(ckptlog_append(cl, &last, 0, 0, &time_ns), 0);
	uint8_t *before = file_read(tmpdir_path(&dir, CKPT_LOG, path), &size);
	uint64_t version = ckptlog_version(cl);
	/* None of these: the names of shards are not in their records. */
	assert_int_equal(ckptlog_forget_stream(cl, "shard_00"), 0);
	assert_int_equal(ckptlog_forget_stream(cl, "aa"), 0);
	assert_int_equal(ckptlog_forget_stream(cl, ""), 0);
	dir_expect(&dir, CKPT_LOG, before, size);
	assert_true(ckptlog_version(cl) == version);
	assert_int_equal(ckptlog_forget_stream(cl, "ab"), 0);
	assert_true(ckptlog_version(cl) != version);
	assert_int_equal(ckptlog_forget_stream(cl, "b"), 0);
	for (int again = 0; again < 2; again++) {
		text = ckpt_dump(cl, true);
		assert_non_null(strstr(text, " all(a=1) last() | last"));
		assert_non_null(strstr(text, " final(shard_00=245 shard_01=261 "));
		free(text);
		assert_int_equal(ckptlog_count(cl), 7);
		ckptlog_free(cl);
		cl = ckpt_open(&dir);
	}
	ckptlog_free(cl);
	free(before);
	before = file_read(path, &size);
	assert_memory_equal(before, raw_log, RAW_BYTES);
	free(before);
	tmpdir_remove(&dir);
}

static void shards_of_the_last_record(void **state)
{
	static const struct wal_cut cuts[9] = { 0 };
	struct tmpdir dir;
	int64_t time_ns;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	dir_write(&dir, CKPT_LOG, raw_log, RAW_BYTES);
	struct ckptlog *cl = ckpt_open(&dir);
	assert_int_equal(ckptlog_append(cl, &(struct wal_checkpoint){ .id = "nine", .id_size = 4, .cut_count = 9, .cuts = cuts }, 9, 0, &time_ns), 0);
	assert_int_equal(ckptlog_shards(cl), 9);
	ckpt_add(cl, "named", 1);
	assert_int_equal(ckptlog_shards(cl), 9);
	assert_int_equal(ckptlog_remove(cl, "nine", 4), 0);
	assert_int_equal(ckptlog_shards(cl), RAW_SHARDS);
	ckptlog_free(cl);
	tmpdir_remove(&dir);
}

static void read_only_changes_nothing(void **state)
{
	struct tmpdir dir;
	size_t removed;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	dir_write(&dir, CKPT_LOG, raw_log, RAW_BYTES);
	dir_write_head(&dir, "dangling");
	dir_write(&dir, CKPT_LOG ".tmp", "x", 1);
	dir_write(&dir, "HEAD.tmp", "x", 1);
	char *before = snapshot_take(dir.path);
	struct ckptlog *cl = ckpt_open_with(sys_real(), &dir, true, NULL);
	assert_int_equal(ckptlog_count(cl), 5);
	ckpt_expect_latest(cl, "final");
	assert_int_equal(ckpt_append(cl, "no", 1, 0), -EROFS);
	assert_int_equal(ckptlog_remove(cl, "final", 5), -EROFS);
	assert_int_equal(ckptlog_compact(cl, 1, &removed), -EROFS);
	assert_int_equal(ckptlog_forget_stream(cl, "a"), -EROFS);
	ckptlog_free(cl);
	snapshot_expect(dir.path, before);
	free(before);
	tmpdir_remove(&dir);
	/* Nor where there is nothing. */
	tmpdir_make(&dir, "ckptlog");
	before = snapshot_take(dir.path);
	cl = ckpt_open_with(sys_real(), &dir, true, NULL);
	ckpt_expect_latest(cl, NULL);
	ckptlog_free(cl);
	snapshot_expect(dir.path, before);
	free(before);
	tmpdir_remove(&dir);
}

static void opening_removes_what_a_crash_left(void **state)
{
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	dir_write(&dir, CKPT_LOG ".tmp", "half", 4);
	dir_write(&dir, "HEAD.tmp", "half", 4);
	ckptlog_free(ckpt_open(&dir));
	assert_false(dir_has(&dir, CKPT_LOG ".tmp"));
	assert_false(dir_has(&dir, "HEAD.tmp"));
	assert_false(dir_has(&dir, CKPT_LOG));
	tmpdir_remove(&dir);
}

/* ---- Threads ---- */

enum { WRITERS = 3, PER_WRITER = 60, KEEP = 20 };

struct shared {
	struct ckptlog *log;
	atomic_bool stop;
	int64_t times[WRITERS][PER_WRITER];
	unsigned number;
};

struct writer {
	struct shared *shared;
	unsigned number;
};

static void *write_checkpoints(void *arg)
{
	struct writer *w = arg;

	for (unsigned i = 0; i < PER_WRITER; i++) {
		char id[32];
		const struct wal_checkpoint cp = { .id = id, .id_size = (size_t)sprintf(id, "%u-%u", w->number, i) };

		if (ckptlog_append(w->shared->log, &cp, 0, WAL_EXCL, &w->shared->times[w->number][i]) != 0)
			abort();
	}
	return NULL;
}

static void *compact_always(void *arg)
{
	struct shared *s = arg;

	while (!atomic_load(&s->stop)) {
		if (ckptlog_compact(s->log, KEEP, NULL) != 0 || ckptlog_forget_stream(s->log, "none") != 0)
			abort();
	}
	return NULL;
}

static void *look_always(void *arg)
{
	struct shared *s = arg;

	while (!atomic_load(&s->stop)) {
		struct wal_checkpoint *list, *cp;
		size_t count;

		if (ckptlog_list(s->log, &list, &count) != 0)
			abort();
		for (size_t i = 0; i < count; i++) {
			int r = ckptlog_load(s->log, list[i].id, list[i].id_size, &cp);

			/* The compaction may have been there in between. */
			if (r == 0)
				free(cp);
			else if (r != WAL_NOT_FOUND)
				abort();
		}
		free(list);
		if (ckptlog_latest(s->log, &cp) == 0)
			free(cp);
		(void)ckptlog_count(s->log);
		(void)ckptlog_version(s->log);
		(void)ckptlog_shards(s->log);
	}
	return NULL;
}

static int compare_times(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Compaction beside writers: the original lost one in twenty. Here the latest of all that were acknowledged are there. */
static void compaction_loses_no_new_one(void **state)
{
	static struct shared shared;
	struct writer writers[WRITERS];
	pthread_t threads[WRITERS], compactor, looker;
	struct wal_checkpoint *list;
	struct tmpdir dir;
	size_t count;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	shared.log = ckpt_open(&dir);
	assert_int_equal(pthread_create(&compactor, NULL, compact_always, &shared), 0);
	assert_int_equal(pthread_create(&looker, NULL, look_always, &shared), 0);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i] = (struct writer){ &shared, i };
		assert_int_equal(pthread_create(&threads[i], NULL, write_checkpoints, &writers[i]), 0);
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(threads[i], NULL);
	atomic_store(&shared.stop, true);
	pthread_join(compactor, NULL);
	pthread_join(looker, NULL);
	assert_int_equal(ckptlog_compact(shared.log, KEEP, NULL), 0);
	qsort(shared.times, WRITERS * PER_WRITER, sizeof(int64_t), compare_times);
	for (int again = 0; again < 2; again++) {
		assert_int_equal(ckptlog_list(shared.log, &list, &count), 0);
		assert_int_equal(count, KEEP);
		for (unsigned i = 0; i < KEEP; i++)
			assert_true(list[i].time_ns == ((int64_t *)shared.times)[WRITERS * PER_WRITER - KEEP + i]);
		free(list);
		ckptlog_free(shared.log);
		shared.log = ckpt_open(&dir);
	}
	ckptlog_free(shared.log);
	tmpdir_remove(&dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip_of_named_streams),
		cmocka_unit_test(continues_a_log_of_the_original),
		cmocka_unit_test(compacts_as_the_original_did),
		cmocka_unit_test(ids_of_any_bytes),
		cmocka_unit_test(what_the_format_does_not_allow),
		cmocka_unit_test(records_of_many_streams),
		cmocka_unit_test(times_increase),
		cmocka_unit_test(moved_and_exclusive),
		cmocka_unit_test(superseded_records_are_dropped),
		cmocka_unit_test(removing_moves_head),
		cmocka_unit_test(compacting_what_head_names),
		cmocka_unit_test(compaction_goes_by_time),
		cmocka_unit_test(forgets_a_stream),
		cmocka_unit_test(shards_of_the_last_record),
		cmocka_unit_test(read_only_changes_nothing),
		cmocka_unit_test(opening_removes_what_a_crash_left),
		cmocka_unit_test(compaction_loses_no_new_one),
	};

	return TEST_RUN(tests);
}
