/* SPDX-License-Identifier: Apache-2.0 */
#include "ckptlog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bytes.h"
#include "ckptrecord.h"
#include "crc32.h"
#include "damage.h"
#include "faultsys.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

#define LOG "checkpoints.log"

/* checkpoints.log of a store of the original, before and, from RAW_COMPACTED on, after it kept the latest three. */
static const uint8_t raw_log[] = {
	0x43, 0x4b, 0x50, 0x54, 0x00, 0x6b, 0x54, 0xbd, 0x5c, 0x00, 0x00, 0x00, 0x01, 0x0f, 0x00, 0x72, 0x61, 0x66, 0x74, 0x5f, 0x69, 0x6e, 0x64, 0x65,
	0x78, 0x5f, 0x35, 0x30, 0x30, 0x30, 0xd1, 0xaa, 0x93, 0xa3, 0xe4, 0xa7, 0xe9, 0x18, 0x08, 0x00, 0x34, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x32, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x32, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x31, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x2e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x2e, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x3c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
	0x2f, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x43, 0x4b, 0x50, 0x54, 0xc2, 0x85, 0xf4, 0x71, 0x53, 0x00, 0x00, 0x00, 0x01, 0x06, 0x00, 0x63,
	0x6b, 0x70, 0x74, 0x2d, 0x32, 0x4b, 0x8f, 0x4d, 0xa7, 0xe4, 0xa7, 0xe9, 0x18, 0x08, 0x00, 0x66, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x67,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x6d, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x66, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x56,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x5c, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x69, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x65,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x43, 0x4b, 0x50, 0x54, 0x1c, 0x06, 0x1e, 0xa0, 0x51, 0x00, 0x00, 0x00, 0x01, 0x04, 0x00, 0x00, 0x01,
	0x02, 0xff, 0x4f, 0xb3, 0x59, 0xab, 0xe4, 0xa7, 0xe9, 0x18, 0x08, 0x00, 0x8d, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x95, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0xa3, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x98, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x86, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x93, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xa1, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x99, 0x00, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x43, 0x4b, 0x50, 0x54, 0x38, 0x07, 0x71, 0x8d, 0x57, 0x00, 0x00, 0x00, 0x01, 0x0a, 0x00, 0x73, 0x6e, 0x61, 0x70, 0x73,
	0x68, 0x6f, 0x74, 0x2f, 0x34, 0xfe, 0xa8, 0x1b, 0xaf, 0xe4, 0xa7, 0xe9, 0x18, 0x08, 0x00, 0xc4, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc8,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc9, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc8, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xad,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xd9, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xcf, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xce,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x43, 0x4b, 0x50, 0x54, 0x09, 0x75, 0xda, 0xf6, 0x52, 0x00, 0x00, 0x00, 0x01, 0x05, 0x00, 0x66, 0x69,
	0x6e, 0x61, 0x6c, 0xab, 0xbc, 0x58, 0xb3, 0xe4, 0xa7, 0xe9, 0x18, 0x08, 0x00, 0xf5, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x05, 0x01, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0xf1, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xd5, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00, 0x0e, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xfb, 0x00, 0x00,
	0x00, 0x00, 0x00, 0x00, 0x00,
};

enum {
	RAW_COMPACTED = 199,
	RAW_SHARDS = 8,
	HEADER = 12,
};

/* ---- Helpers ---- */

static struct ckptlog *open_with(struct sys *sys, const struct tmpdir *dir, bool ro, struct logged *logged)
{
	const struct log log = { logged ? logged_write : NULL, logged };
	struct ckptlog *cl;
	struct wal_error err = { 0 };

	if (ckptlog_open(sys, &log, dir->fd, ro, &cl, &err) != 0)
		fail_msg("cannot open: %s", err.message);
	return cl;
}

static struct ckptlog *open_log(const struct tmpdir *dir)
{
	return open_with(sys_real(), dir, false, NULL);
}

/* A checkpoint `id` with the cuts "a" -> next, "bee" -> next + 1, appended as version 2. */
static int append_named(struct ckptlog *cl, const char *id, uint64_t next, unsigned flags)
{
	const struct wal_cut cuts[] = { { "a", next }, { "bee", next + 1 } };
	const struct wal_checkpoint cp = { .id = id, .id_size = strlen(id), .cut_count = 2, .cuts = cuts };
	int64_t time_ns;

	return ckptlog_append(cl, &cp, 0, flags, &time_ns);
}

static void add_named(struct ckptlog *cl, const char *id, uint64_t next)
{
	assert_int_equal(append_named(cl, id, next, 0), 0);
}

/* It is there with those cuts. */
static void expect_named(struct ckptlog *cl, const char *id, uint64_t next)
{
	struct wal_checkpoint *cp;
	int r = ckptlog_load(cl, id, strlen(id), &cp);

	if (r != 0)
		fail_msg("cannot load '%s': %s", id, wal_strerror(r));
	assert_int_equal(cp->id_size, strlen(id));
	assert_string_equal(cp->id, id);
	assert_int_equal(cp->cut_count, 2);
	assert_string_equal(cp->cuts[0].stream, "a");
	assert_int_equal(cp->cuts[0].next_id, next);
	assert_string_equal(cp->cuts[1].stream, "bee");
	assert_int_equal(cp->cuts[1].next_id, next + 1);
	free(cp);
}

static void expect_missing(struct ckptlog *cl, const char *id)
{
	struct wal_checkpoint *cp;

	assert_int_equal(ckptlog_load(cl, id, strlen(id), &cp), WAL_NOT_FOUND);
}

static void expect_latest(struct ckptlog *cl, const char *id)
{
	struct wal_checkpoint *cp;
	int r = ckptlog_latest(cl, &cp);

	if (!id) {
		assert_int_equal(r, WAL_NOT_FOUND);
		return;
	}
	assert_int_equal(r, 0);
	assert_string_equal(cp->id, id);
	free(cp);
}

/* Their ids from the oldest to the newest, each followed by a space; times increase. To be freed by the caller. */
static char *ids_of(struct ckptlog *cl)
{
	struct wal_checkpoint *list;
	size_t count, size = 1;
	char *text;

	assert_int_equal(ckptlog_list(cl, &list, &count), 0);
	assert_int_equal(count, ckptlog_count(cl));
	for (size_t i = 0; i < count; i++)
		size += list[i].id_size + 1;
	text = calloc(1, size);
	assert_non_null(text);
	for (size_t i = 0; i < count; i++) {
		assert_true(i == 0 || list[i - 1].time_ns < list[i].time_ns);
		assert_null(list[i].cuts);
		strcat(strcat(text, list[i].id), " ");
	}
	free(list);
	return text;
}

static void expect_ids(struct ckptlog *cl, const char *ids)
{
	char *text = ids_of(cl);

	assert_string_equal(text, ids);
	free(text);
}

static void expect_file(const struct tmpdir *dir, const char *name, const void *data, size_t size)
{
	char path[PATH_MAX];
	size_t got;
	uint8_t *content = file_read(tmpdir_path(dir, name, path), &got);

	assert_int_equal(got, size);
	assert_memory_equal(content, data, size);
	free(content);
}

static bool has_file(const struct tmpdir *dir, const char *name)
{
	return faccessat(dir->fd, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* HEAD with that id, or none for NULL. */
static void expect_head(const struct tmpdir *dir, const char *id)
{
	uint8_t head[1024];

	if (!id)
		assert_false(has_file(dir, "HEAD"));
	else
		expect_file(dir, "HEAD", head, head_encode(head, id, strlen(id)));
}

static void write_file(const struct tmpdir *dir, const char *name, const void *data, size_t size)
{
	char path[PATH_MAX];

	file_write(tmpdir_path(dir, name, path), data, size);
}

static void write_head(const struct tmpdir *dir, const char *id)
{
	uint8_t head[1024];

	write_file(dir, "HEAD", head, head_encode(head, id, strlen(id)));
}

/* ---- What goes in comes out ---- */

static void round_trip_of_named_streams(void **state)
{
	struct tmpdir dir;
	struct ckptlog *cl;
	size_t fds = open_fd_count();

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	cl = open_log(&dir);
	assert_int_equal(ckptlog_count(cl), 0);
	assert_int_equal(ckptlog_shards(cl), 0);
	expect_latest(cl, NULL);
	assert_false(has_file(&dir, LOG));
	uint64_t version = ckptlog_version(cl);
	add_named(cl, "one", 1);
	assert_true(ckptlog_version(cl) != version);
	add_named(cl, "two", 20);
	add_named(cl, "three", 300);
	for (int again = 0; again < 2; again++) {
		expect_ids(cl, "one two three ");
		expect_named(cl, "one", 1);
		expect_named(cl, "two", 20);
		expect_named(cl, "three", 300);
		expect_missing(cl, "four");
		expect_missing(cl, "on");
		expect_latest(cl, "three");
		assert_int_equal(ckptlog_shards(cl), 0);
		ckptlog_free(cl);
		cl = open_log(&dir);
	}
	ckptlog_free(cl);
	expect_head(&dir, "three");
	assert_false(has_file(&dir, LOG ".tmp"));
	assert_false(has_file(&dir, "HEAD.tmp"));
	tmpdir_remove(&dir);
	assert_int_equal(open_fd_count(), fds);
}

/* Appending to a log of the original leaves its bytes alone, and what is appended is what it would have written. */
static void continues_a_log_of_the_original(void **state)
{
	struct wal_cut cuts[RAW_SHARDS];
	const struct wal_checkpoint added = { .id = "added", .id_size = 5, .cut_count = RAW_SHARDS, .cuts = cuts };
	uint8_t expected[sizeof raw_log + HEADER + 13 + 5 + 8 * RAW_SHARDS], *p = expected + sizeof raw_log;
	struct wal_checkpoint *cp;
	struct tmpdir dir;
	int64_t time_ns;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	write_file(&dir, LOG, raw_log, sizeof raw_log);
	write_head(&dir, "final");
	struct ckptlog *cl = open_log(&dir);
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
	ckptlog_free(cl);
	memcpy(expected, raw_log, sizeof raw_log);
	p[HEADER] = 1;
	put_le16(p + HEADER + 1, 5);
	memcpy(p + HEADER + 3, "added", 5);
	put_le64(p + HEADER + 8, (uint64_t)time_ns);
	put_le16(p + HEADER + 16, RAW_SHARDS);
	for (unsigned i = 0; i < RAW_SHARDS; i++)
		put_le64(p + HEADER + 18 + 8 * i, 1000 + i);
	memcpy(p, "CKPT", 4);
	put_le32(p + 8, 18 + 8 * RAW_SHARDS);
	put_le32(p + 4, crc32_update(0, p + HEADER, 18 + 8 * RAW_SHARDS));
	expect_file(&dir, LOG, expected, sizeof expected);
	expect_head(&dir, "added");
	tmpdir_remove(&dir);
}

static void compacts_as_the_original_did(void **state)
{
	struct tmpdir dir;
	size_t removed = 4711;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	write_file(&dir, LOG, raw_log, sizeof raw_log);
	write_head(&dir, "final");
	struct ckptlog *cl = open_log(&dir);
	assert_int_equal(ckptlog_compact(cl, 0, &removed), -EINVAL);
	assert_int_equal(removed, 4711);
	assert_int_equal(ckptlog_compact(cl, 5, &removed), 0);
	assert_int_equal(removed, 0);
	expect_file(&dir, LOG, raw_log, sizeof raw_log);
	assert_int_equal(ckptlog_compact(cl, 3, &removed), 0);
	assert_int_equal(removed, 2);
	expect_file(&dir, LOG, raw_log + RAW_COMPACTED, sizeof raw_log - RAW_COMPACTED);
	expect_head(&dir, "final");
	assert_int_equal(ckptlog_count(cl), 3);
	expect_missing(cl, "ckpt-2");
	ckptlog_free(cl);
	tmpdir_remove(&dir);
}

/* ---- Torn and damaged ---- */

/* However much of the last record is there: it is gone, what was before it is not, and the next one is found again. */
static void torn_at_every_length(void **state)
{
	static const char *const names[] = { "raft_index_5000", "ckpt-2", "", "snapshot/4" };
	enum { FOUR = 485 - 94 };

	(void)state;
	for (size_t cut = FOUR + 1; cut < sizeof raw_log; cut++) {
		struct tmpdir dir;

		tmpdir_make(&dir, "ckptlog");
		write_file(&dir, LOG, raw_log, cut);
		write_head(&dir, "final");
		struct ckptlog *cl = open_log(&dir);
		assert_int_equal(ckptlog_count(cl), 4);
		expect_latest(cl, names[3]);
		expect_file(&dir, LOG, raw_log, FOUR);
		expect_file(&dir, LOG ".torn.0", raw_log + FOUR, cut - FOUR);
		expect_head(&dir, names[3]);
		add_named(cl, "next", 7);
		ckptlog_free(cl);
		cl = open_log(&dir);
		assert_int_equal(ckptlog_count(cl), 5);
		expect_latest(cl, "next");
		expect_named(cl, "next", 7);
		assert_false(has_file(&dir, LOG ".torn.1"));
		ckptlog_free(cl);
		tmpdir_remove(&dir);
	}
}

/* Of three records each bit once: no more than its own is lost, and all bytes of it are kept aside. */
static void every_bit_flipped(void **state)
{
	static const char *const names[] = { "one", "two", "three" };
	struct tmpdir dir;
	char path[PATH_MAX];
	size_t size;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	struct ckptlog *cl = open_log(&dir);
	for (size_t i = 0; i < TEST_COUNT(names); i++)
		add_named(cl, names[i], i);
	ckptlog_free(cl);
	uint8_t *data = file_read(tmpdir_path(&dir, LOG, path), &size);
	tmpdir_remove(&dir);
	size_t ends[] = { 49 + 3, 2 * (49 + 3), 3 * 49 + 11 };
	assert_int_equal(size, ends[2]);
	for (size_t bit = 0; bit < size * 8; bit++) {
		size_t hit = bit / 8 < ends[0] ? 0 : bit / 8 < ends[1] ? 1 : 2, begin = hit ? ends[hit - 1] : 0;

		tmpdir_make(&dir, "ckptlog");
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		write_file(&dir, LOG, data, size);
		cl = open_log(&dir);
		assert_int_equal(ckptlog_count(cl), 2);
		for (size_t i = 0; i < TEST_COUNT(names); i++)
			(i == hit ? (void)expect_missing(cl, names[i]) : expect_named(cl, names[i], i));
		ckptlog_free(cl);
		if (hit == 2) {
			expect_file(&dir, LOG ".torn.0", data + begin, size - begin);
		} else {
			uint8_t line[128 + 64];
			int n = sprintf((char *)line, LOG " offset=%zu bytes=%zu\n", begin, ends[hit] - begin);

			memcpy(line + n, data + begin, ends[hit] - begin);
			expect_file(&dir, LOG ".damaged.0", line, (size_t)n + ends[hit] - begin);
		}
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		tmpdir_remove(&dir);
	}
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip_of_named_streams),
		cmocka_unit_test(continues_a_log_of_the_original),
		cmocka_unit_test(compacts_as_the_original_did),
		cmocka_unit_test(torn_at_every_length),
		cmocka_unit_test(every_bit_flipped),
	};

	return TEST_RUN(tests);
}
