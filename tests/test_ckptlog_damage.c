/* SPDX-License-Identifier: Apache-2.0 */
#include "ckptlog.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bytes.h"
#include "checkpoints.h"
#include "ckptrecord.h"
#include "cleanup.h"
#include "damage.h"
#include "random.h"
#include "snapshot.h"
#include "test.h"

/* ---- Torn and damaged ---- */

/* The log of the records "one", "two" … that ckpt_add() writes; *ret_ends are their ends. */
static uint8_t *make_log(const char *const *ids, size_t count, size_t *ret_ends)
{
	struct tmpdir dir;
	char path[PATH_MAX];
	size_t size;

	tmpdir_make(&dir, "ckptlog");
	struct ckptlog *cl = ckpt_open(&dir);
	for (size_t i = 0; i < count; i++) {
		ckpt_add(cl, ids[i], i);
		ret_ends[i] = (i ? ret_ends[i - 1] : 0) + CKPT_BYTES(ids[i]);
	}
	ckptlog_free(cl);
	uint8_t *data = file_read(tmpdir_path(&dir, CKPT_LOG, path), &size);
	assert_int_equal(size, ret_ends[count - 1]);
	tmpdir_remove(&dir);
	return data;
}

static const char *const three[] = { "one", "two", "three" };

/* However much of the last record is there: it is gone, what was before it is not, and the next one is found again. */
static void torn_at_every_length(void **state)
{
	struct sys quick = ckpt_quick_sys();

	(void)state;
	for (size_t cut = RAW_LAST + 1; cut < RAW_BYTES; cut++) {
		struct tmpdir dir;

		tmpdir_make(&dir, "ckptlog");
		dir_write(&dir, CKPT_LOG, raw_log, cut);
		dir_write_head(&dir, "final");
		struct ckptlog *cl = ckpt_open_with(&quick, &dir, false, NULL);
		assert_int_equal(ckptlog_count(cl), 4);
		ckpt_expect_latest(cl, "snapshot/4");
		dir_expect(&dir, CKPT_LOG, raw_log, RAW_LAST);
		dir_expect(&dir, CKPT_LOG ".torn.0", raw_log + RAW_LAST, cut - RAW_LAST);
		dir_expect_head(&dir, "snapshot/4");
		ckpt_add(cl, "next", 7);
		ckptlog_free(cl);
		cl = ckpt_open_with(&quick, &dir, false, NULL);
		assert_int_equal(ckptlog_count(cl), 5);
		ckpt_expect_latest(cl, "next");
		ckpt_expect(cl, "next", 7);
		assert_false(dir_has(&dir, CKPT_LOG ".torn.1"));
		ckptlog_free(cl);
		tmpdir_remove(&dir);
	}
}

/* One damaged place, kept in a file of its own. */
static void expect_aside(const struct tmpdir *dir, const char *suffix, size_t offset, const uint8_t *data, size_t size)
{
	uint8_t content[256];
	char name[64];
	int n = sprintf((char *)content, CKPT_LOG " offset=%zu bytes=%zu\n", offset, size);

	assert_true((size_t)n + size <= sizeof content);
	memcpy(content + n, data, size);
	sprintf(name, CKPT_LOG "%s", suffix);
	dir_expect(dir, name, content, (size_t)n + size);
}

/* Of three records each bit once: no more than its own is lost, and all bytes of it are kept aside. */
static void every_bit_flipped(void **state)
{
	struct sys quick = ckpt_quick_sys();
	size_t ends[3];
	uint8_t *data = make_log(three, 3, ends);
	struct tmpdir dir;

	(void)state;
	for (size_t bit = 0; bit < ends[2] * 8; bit++) {
		size_t hit = bit / 8 < ends[0] ? 0 : bit / 8 < ends[1] ? 1 : 2, begin = hit ? ends[hit - 1] : 0;

		tmpdir_make(&dir, "ckptlog");
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		dir_write(&dir, CKPT_LOG, data, ends[2]);
		struct ckptlog *cl = ckpt_open_with(&quick, &dir, false, NULL);
		assert_int_equal(ckptlog_count(cl), 2);
		for (size_t i = 0; i < 3; i++) {
			if (i == hit)
				ckpt_expect_missing(cl, three[i]);
			else
				ckpt_expect(cl, three[i], i);
		}
		ckptlog_free(cl);
		if (hit == 2)
			dir_expect(&dir, CKPT_LOG ".torn.0", data + begin, ends[2] - begin);
		else
			expect_aside(&dir, ".damaged.0", begin, data + begin, ends[hit] - begin);
		data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		tmpdir_remove(&dir);
	}
	free(data);
}

/* ---- Bad bytes anywhere ---- */

/* `count` bytes that look random, among them, if `magic`, many times the beginning of a record. */
static void make_junk(uint8_t *data, size_t count, uint64_t seed, bool magic)
{
	struct random r = { seed };

	for (size_t i = 0; i < count; i++)
		data[i] = (uint8_t)random_next(&r);
	for (size_t i = 0; magic && i + 4 <= count; i += 4 + random_below(&r, 20))
		memcpy(data + i, RECORD_MAGIC, 4);
}

static void junk_between_records(void **state)
{
	struct sys quick = ckpt_quick_sys();
	size_t ends[3];
	uint8_t *data = make_log(three, 3, ends), *mixed = malloc(1 << 20);
	struct logged logged = LOGGED_INIT;

	(void)state;
	for (uint64_t seed = 0; seed < 60; seed++) {
		struct random r = { seed };
		size_t size = 0, places = 0;
		bool torn = false;
		struct tmpdir dir;

		for (size_t i = 0; i <= 3; i++) {
			size_t junk = random_below(&r, 3) == 0 ? 0 : random_size(&r, 100000) + 1;

			make_junk(mixed + size, junk, seed * 4 + i, seed % 2);
			size += junk;
			places += junk > 0 && i < 3;
			torn = junk > 0;
			if (i < 3) {
				size_t begin = i ? ends[i - 1] : 0;

				memcpy(mixed + size, data + begin, ends[i] - begin);
				size += ends[i] - begin;
			}
		}
		tmpdir_make(&dir, "ckptlog");
		dir_write(&dir, CKPT_LOG, mixed, size);
		/* Read-only first, which changes nothing. */
		char *before = snapshot_take(dir.path);
		struct ckptlog *cl = ckpt_open_with(&quick, &dir, true, &logged);
		ckpt_expect_ids(cl, "one two three ");
		ckptlog_free(cl);
		snapshot_expect(dir.path, before);
		free(before);
		cl = ckpt_open_with(&quick, &dir, false, NULL);
		for (int again = 0; again < 2; again++) {
			ckpt_expect_ids(cl, "one two three ");
			for (size_t i = 0; i < 3; i++)
				ckpt_expect(cl, three[i], i);
			ckptlog_free(cl);
			dir_expect(&dir, CKPT_LOG, data, ends[2]);
			cl = ckpt_open_with(&quick, &dir, false, NULL);
		}
		ckptlog_free(cl);
		assert_int_equal(dir_has(&dir, CKPT_LOG ".damaged.0"), places > 0);
		assert_int_equal(dir_has(&dir, CKPT_LOG ".torn.0"), torn);
		assert_false(dir_has(&dir, CKPT_LOG ".damaged.1"));
		assert_false(dir_has(&dir, CKPT_LOG ".torn.1"));
		tmpdir_remove(&dir);
	}
	assert_true(logged_has(&logged, "damaged bytes: expected a record, found the bytes"));
	assert_true(logged_has(&logged, "torn bytes: expected a record, or the end of the file"));
	assert_true(logged_has(&logged, "ignoring them"));
	logged_release(&logged);
	free(mixed);
	free(data);
}

/* The original does not cut a torn record off: it appends behind it, and finds nothing of that the next time. */
static void records_behind_a_torn_one(void **state)
{
	struct sys quick = ckpt_quick_sys();
	uint8_t data[2 * RAW_BYTES];

	(void)state;
	for (size_t cut = 1; cut < RAW_COMPACTED; cut++) {
		size_t size = cut + RAW_BYTES - RAW_COMPACTED;
		struct tmpdir dir;

		memcpy(data, raw_log, cut);
		memcpy(data + cut, raw_log + RAW_COMPACTED, RAW_BYTES - RAW_COMPACTED);
		tmpdir_make(&dir, "ckptlog");
		dir_write(&dir, CKPT_LOG, data, size);
		struct ckptlog *cl = ckpt_open_with(&quick, &dir, false, NULL);
		assert_int_equal(ckptlog_count(cl), 3 + (cut >= 104));
		ckpt_expect_latest(cl, "final");
		ckptlog_free(cl);
		tmpdir_remove(&dir);
	}
}

/* An id that holds a record, whole and with its checksum, is that of a bad record: it must not come up as a checkpoint that nobody made. */
static void what_is_in_an_id_is_no_record(void **state)
{
	struct sys quick = ckpt_quick_sys();
	uint8_t payload[] = "\x02\x06\x00" "forged" "timetime" "\0\0\0\0", forged[64];
	size_t forged_size = ckpt_record(forged, payload, sizeof payload - 1), size;
	const struct wal_cut cut = { "s", 1 };
	char path[PATH_MAX];

	(void)state;
	for (unsigned version = 1; version <= 2; version++) {
		const struct wal_checkpoint cp = { .id = forged, .id_size = forged_size, .cut_count = 1, .cuts = &cut };
		struct tmpdir dir;
		int64_t time_ns;

		tmpdir_make(&dir, "ckptlog");
		struct ckptlog *cl = ckpt_open_with(&quick, &dir, false, NULL);
		ckpt_add(cl, "before", 1);
		assert_int_equal(ckptlog_append(cl, &cp, version == 1, 0, &time_ns), 0);
		ckpt_add(cl, "after", 1);
		ckptlog_free(cl);
		uint8_t *data = file_read(tmpdir_path(&dir, CKPT_LOG, path), &size);
		size_t begin = CKPT_BYTES("before"), end = size - CKPT_BYTES("after");
		cl = ckpt_open_with(&quick, &dir, false, NULL);
		assert_int_equal(ckptlog_count(cl), 3);
		ckptlog_free(cl);
		/* Where no length is hit the record's own end is found: the checksum, the id itself, the time, the cut. */
		for (size_t at = begin + 4; at < end; at++) {
			bool length = (at >= begin + 8 && at < begin + RECORD_HEADER + 3) ||
				      (at >= begin + RECORD_HEADER + 3 + forged_size + 8 && at < end - 8);

			if (length)
				continue;
			data[at] ^= 0x10;
			dir_write(&dir, CKPT_LOG, data, size);
			cl = ckpt_open_with(&quick, &dir, true, NULL);
			ckpt_expect_ids(cl, "before after ");
			ckptlog_free(cl);
			data[at] ^= 0x10;
		}
		/* Cut short: of version 2, where nothing is ever appended behind it. */
		for (size_t cut_at = begin + 1; cut_at < end && version == 2; cut_at++) {
			dir_write(&dir, CKPT_LOG, data, cut_at);
			cl = ckpt_open_with(&quick, &dir, true, NULL);
			ckpt_expect_ids(cl, "before ");
			ckptlog_free(cl);
		}
		free(data);
		tmpdir_remove(&dir);
	}
}

/* A length that, wrongly, leads just to a later record: the ones in between are found all the same. */
static void a_length_that_skips_records(void **state)
{
	struct sys quick = ckpt_quick_sys();
	static const char *const ids[] = { "123456789012345", "223456789012345", "323456789012345", "423456789012345" };
	size_t ends[4];
	uint8_t *data = make_log(ids, 4, ends);
	struct tmpdir dir;

	(void)state;
	assert_int_equal(ends[0], 64);
	put_le32(data + 8, 64 - RECORD_HEADER + 64);
	tmpdir_make(&dir, "ckptlog");
	dir_write(&dir, CKPT_LOG, data, ends[3]);
	struct ckptlog *cl = ckpt_open_with(&quick, &dir, false, NULL);
	assert_int_equal(ckptlog_count(cl), 3);
	ckpt_expect(cl, ids[1], 1);
	ckptlog_free(cl);
	free(data);
	tmpdir_remove(&dir);
}

/* Bytes that are all wrong, from anywhere in a record to anywhere behind, cost no other record. */
static void garbage_over_a_record(void **state)
{
	struct sys quick = ckpt_quick_sys();
	size_t ends[3];
	uint8_t *data = make_log(three, 3, ends), *bad = malloc(ends[2]);
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	for (uint64_t seed = 0; seed < 3000; seed++) {
		struct random r = { seed };
		size_t hit = random_below(&r, 3), begin = hit ? ends[hit - 1] : 0, from = begin + random_below(&r, ends[hit] - begin);
		size_t bytes = 1 + random_below(&r, ends[hit] - from);

		memcpy(bad, data, ends[2]);
		for (size_t i = 0; i < bytes; i++)
			bad[from + i] = (uint8_t)random_next(&r);
		dir_write(&dir, CKPT_LOG, bad, ends[2]);
		struct ckptlog *cl = ckpt_open_with(&quick, &dir, true, NULL);
		for (size_t i = 0; i < 3; i++) {
			if (i != hit)
				ckpt_expect(cl, three[i], i);
			else if (memcmp(bad, data, ends[2]) != 0)
				ckpt_expect_missing(cl, three[i]);
		}
		ckptlog_free(cl);
	}
	free(bad);
	free(data);
	tmpdir_remove(&dir);
}

/* Records whose checksum holds and that say what can't be. */
static void malformed_records(void **state)
{
	struct sys quick = ckpt_quick_sys();
	static const struct {
		const char *payload;
		size_t size;
		const char *found;
	} wrong[] = {
		{ "\x03\x01\x00" "xtimetime" "\x00\x00\x00\x00", 16, "an unknown version" },
		{ "\x00\x01\x00" "xtimetime" "\x00\x00\x00\x00", 16, "an unknown version" },
		{ "\x02\x00\x00" "timetime" "\x00\x00\x00\x00 ", 16, "an empty id" },
		{ "\x02\x02\x00" "xtimetime" "\x00\x00\x00\x00", 16, "an id beyond its end" },
		{ "\x02\xff\xff" "xtimetime" "\x00\x00\x00\x00", 16, "an id beyond its end" },
		{ "\x02\x01\x00" "xtimetime" "\x01\x00\x00\x00", 16, "streams beyond its end" },
		{ "\x02\x01\x00" "xtimetime" "\xff\xff\xff\xff", 16, "streams beyond its end" },
		{ "\x02\x01\x00" "xtimetime" "\x01\x00\x00\x00\x01" "a1234567", 25, "streams beyond its end" },
		{ "\x02\x01\x00" "xtimetime" "\x01\x00\x00\x00\x00" "12345678", 25, "streams that are not sorted" },
		{ "\x02\x01\x00" "xtimetime" "\x01\x00\x00\x00\x01\x00" "12345678", 26, "a stream's name with a NUL in it" },
		{ "\x02\x01\x00" "xtimetime" "\x02\x00\x00\x00\x01" "b12345678\x01" "a12345678", 36, "streams that are not sorted" },
		{ "\x02\x01\x00" "xtimetime" "\x02\x00\x00\x00\x01" "a12345678\x01" "a12345678", 36, "streams that are not sorted" },
		{ "\x01\x01\x00" "xtimetime" "\x00\x00" "12345678", 22, "no shards" },
		{ "\x01\x01\x00" "xtimetime" "\x02\x00" "12345678", 22, "shards beyond its end" },
		{ "\x01\x01\x00" "xtimetime" "\xff\xff" "12345678", 22, "shards beyond its end" },
	};
	size_t ends[3];
	uint8_t *data = make_log(three, 3, ends);

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(wrong); i++) {
		struct logged logged = LOGGED_INIT;
		struct tmpdir dir;
		uint8_t mixed[512];
		size_t size = ckpt_record(mixed, wrong[i].payload, wrong[i].size);

		memcpy(mixed + size, data, ends[2]);
		tmpdir_make(&dir, "ckptlog");
		dir_write(&dir, CKPT_LOG, mixed, size + ends[2]);
		struct ckptlog *cl = ckpt_open_with(&quick, &dir, false, &logged);
		ckpt_expect_ids(cl, "one two three ");
		ckptlog_free(cl);
		if (!logged_has(&logged, wrong[i].found))
			fail_msg("payload %zu: expected '%s' in the log, found '%s'", i, wrong[i].found, logged.text);
		dir_expect(&dir, CKPT_LOG, data, ends[2]);
		logged_release(&logged);
		tmpdir_remove(&dir);
	}
	free(data);
}

/* Files without any record, and a log that is put aside whole. */
static void files_without_records(void **state)
{
	struct sys quick = ckpt_quick_sys();
	static const uint8_t zeros[5000];
	static const struct {
		const void *data;
		size_t size;
	} files[] = {
		{ "", 0 }, { "C", 1 }, { "CKPT", 4 }, { zeros, 1 }, { zeros, sizeof zeros }, { "CKPT\0\0\0\0\0\0\0\0", 12 }, { "CKPT\0\0\0\0\xff\xff\xff\xff", 12 },
		{ "CKPT\0\0\0\0\xff\xff\xff\x3f" "CKPT\0\0\0\0\0\0\0\x40", 24 }, { "CKPTCKPTCKPTCKPTCKPTCKPT", 24 }, { "not a log at all, but long enough", 33 },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(files); i++) {
		struct tmpdir dir;

		tmpdir_make(&dir, "ckptlog");
		dir_write(&dir, CKPT_LOG, files[i].data, files[i].size);
		struct ckptlog *cl = ckpt_open_with(&quick, &dir, false, NULL);
		assert_int_equal(ckptlog_count(cl), 0);
		dir_expect(&dir, CKPT_LOG, "", 0);
		assert_int_equal(dir_has(&dir, CKPT_LOG ".torn.0"), files[i].size > 0);
		if (files[i].size > 0)
			dir_expect(&dir, CKPT_LOG ".torn.0", files[i].data, files[i].size);
		ckpt_add(cl, "one", 1);
		ckptlog_free(cl);
		cl = ckpt_open_with(&quick, &dir, false, NULL);
		ckpt_expect_ids(cl, "one ");
		ckptlog_free(cl);
		tmpdir_remove(&dir);
	}
}

static void what_was_put_aside_stays(void **state)
{
	struct tmpdir dir;
	struct logged logged = LOGGED_INIT;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	dir_write(&dir, CKPT_LOG ".torn.0", "zero", 4);
	dir_write(&dir, CKPT_LOG ".torn.1", "one", 3);
	dir_write(&dir, CKPT_LOG ".torn.3", "three", 5);
	dir_write(&dir, CKPT_LOG, raw_log, RAW_BYTES - 1);
	ckptlog_free(ckpt_open_with(sys_real(), &dir, false, &logged));
	dir_write(&dir, CKPT_LOG, "torn", 4);
	ckptlog_free(ckpt_open(&dir));
	dir_expect(&dir, CKPT_LOG ".torn.0", "zero", 4);
	dir_expect(&dir, CKPT_LOG ".torn.1", "one", 3);
	dir_expect(&dir, CKPT_LOG ".torn.2", raw_log + RAW_LAST, RAW_BYTES - 1 - RAW_LAST);
	dir_expect(&dir, CKPT_LOG ".torn.3", "three", 5);
	dir_expect(&dir, CKPT_LOG ".torn.4", "torn", 4);
	assert_true(logged_has(&logged, "offset 391: 93 torn bytes: expected a record, or the end of the file, found a record of 82 bytes of which 81 are there; "
					"they are put aside"));
	assert_true(logged_has(&logged, "'checkpoints.log.torn.2'"));
	logged_release(&logged);
	tmpdir_remove(&dir);
}

/* ---- Work that is bounded ---- */

struct counting {
	struct sys sys;
	uint64_t bytes; /* that were read */
};

static ssize_t counting_pread(struct sys *sys, int fd, void *data, size_t size, uint64_t offset)
{
	ssize_t n = sys_real()->pread(sys_real(), fd, data, size, offset);

	container_of(sys, struct counting, sys)->bytes += n > 0 ? (uint64_t)n : 0;
	return n;
}

/* Files that are made so that each place in them looks like the beginning of a record that reaches to the end. */
static void hostile_files_are_read_in_linear_time(void **state)
{
	enum { SIZE = 1 << 20, TIMES_MAX = 200 };
	static const uint8_t head_v1[] = { 1, 1, 0, 'x', 0, 0, 0, 0, 0, 0, 0, 0, 1, 0 }, head_v2[] = { 2, 1, 0, 'x', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 };
	uint8_t *data = malloc(SIZE);

	(void)state;
	for (int run = 0; run < 12; run++) {
		struct counting counting = { .sys = *sys_real() };
		/* The second time a record that holds reaches the end: it is one that no other can contain. */
		bool last = run >= 6;
		int kind = run % 6;
		size_t step = (const size_t[]){ 4, 15, 26, 28, 284, 264 }[kind];
		struct tmpdir dir;

		counting.sys.pread = counting_pread;
		memset(data, kind == 5 ? 0xff : 'C', SIZE);
		for (size_t at = 0; at + 300 < SIZE; at += step) {
			record_put_header(data + at, 4711, (uint32_t)(SIZE - at - RECORD_HEADER));
			if (kind == 1)
				memcpy(data + at + RECORD_HEADER, head_v2, 3);
			else if (kind == 2)
				memcpy(data + at + RECORD_HEADER, head_v1, sizeof head_v1);
			else if (kind >= 3)
				memcpy(data + at + RECORD_HEADER, head_v2, sizeof head_v2);
			/* Records that hold in between, so that each bad one stands where a record is expected. */
			if (kind == 4) {
				put_le32(data + at + RECORD_HEADER + 12, SIZE);
				ckpt_record(data + at + 40, head_v2, sizeof head_v2);
			}
			/* And names that lead from one bad record to the next, over those that hold. */
			if (kind == 5) {
				put_le32(data + at + RECORD_HEADER + 12, SIZE);
				ckpt_record(data + at + 236, head_v2, sizeof head_v2);
			}
		}
		if (last)
			ckpt_record(data + SIZE - 28, head_v2, sizeof head_v2);
		tmpdir_make(&dir, "ckptlog");
		dir_write(&dir, CKPT_LOG, data, SIZE);
		struct ckptlog *cl = ckpt_open_with(&counting.sys, &dir, true, NULL);
		/* All have the same id. */
		assert_int_equal(ckptlog_count(cl), last);
		ckptlog_free(cl);
		if (counting.bytes > (uint64_t)TIMES_MAX * SIZE)
			fail_msg("run %d: %" PRIu64 " bytes read of a file of %d", run, counting.bytes, SIZE);
		tmpdir_remove(&dir);
	}
	free(data);
}

/* A record that claims 300 MiB, in a file that has that many: nothing is allocated for it, as its checksum does not hold. */
static void a_claim_is_not_allocated(void **state)
{
	struct counting counting = { .sys = *sys_real() };
	struct rusage before, after;
	uint8_t header[RECORD_HEADER];
	char path[PATH_MAX];
	struct tmpdir dir;

	(void)state;
	counting.sys.pread = counting_pread;
	tmpdir_make(&dir, "ckptlog");
	record_put_header(header, 1, 300 << 20);
	dir_write(&dir, CKPT_LOG, header, sizeof header);
	assert_int_equal(truncate(tmpdir_path(&dir, CKPT_LOG, path), 301 << 20), 0);
	getrusage(RUSAGE_SELF, &before);
	struct ckptlog *cl = ckpt_open_with(&counting.sys, &dir, true, NULL);
	getrusage(RUSAGE_SELF, &after);
	assert_true(after.ru_maxrss - before.ru_maxrss < 100 << 10); /* KiB */
	assert_int_equal(ckptlog_count(cl), 0);
	assert_true(counting.bytes < (uint64_t)4 * (301 << 20));
	ckptlog_free(cl);
	tmpdir_remove(&dir);
}

/* A hole of 1 GiB behind a record, put aside, takes no room. */
static void a_hole_is_put_aside_as_one(void **state)
{
	enum { HOLE = 1 << 30 };
	struct sys quick = ckpt_quick_sys();
	struct tmpdir dir;
	char path[PATH_MAX];
	struct stat st;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	dir_write(&dir, CKPT_LOG, raw_log, RAW_BYTES);
	assert_int_equal(truncate(tmpdir_path(&dir, CKPT_LOG, path), RAW_BYTES + HOLE), 0);
	struct ckptlog *cl = ckpt_open_with(&quick, &dir, false, NULL);
	assert_int_equal(ckptlog_count(cl), 5);
	ckptlog_free(cl);
	dir_expect(&dir, CKPT_LOG, raw_log, RAW_BYTES);
	assert_int_equal(stat(tmpdir_path(&dir, CKPT_LOG ".torn.0", path), &st), 0);
	assert_int_equal(st.st_size, HOLE);
	assert_true(st.st_blocks < 1024);
	tmpdir_remove(&dir);
}

/* ---- HEAD ---- */

static void head_that_is_no_good(void **state)
{
	static uint8_t huge[HEAD_BYTES_MAX + 1] = { 1, 0, 'x' };
	static const struct {
		const void *data;
		size_t size;
	} heads[] = { { "", 0 }, { "\x05", 1 }, { "\x00\x00", 2 }, { "\x05\x00" "fina", 6 }, { "\x07\x00" "missing", 9 }, { huge, sizeof huge }, { "ref: refs/heads/main\n", 21 } };

	(void)state;
	for (size_t i = 0; i <= TEST_COUNT(heads) + 2; i++) {
		struct tmpdir dir;
		struct logged logged = LOGGED_INIT;

		tmpdir_make(&dir, "ckptlog");
		dir_write(&dir, CKPT_LOG, raw_log, RAW_BYTES);
		if (i < TEST_COUNT(heads))
			dir_write(&dir, "HEAD", heads[i].data, heads[i].size);
		else if (i == TEST_COUNT(heads))
			assert_int_equal(symlinkat("elsewhere", dir.fd, "HEAD"), 0);
		else if (i == TEST_COUNT(heads) + 1)
			assert_int_equal(mkfifoat(dir.fd, "HEAD", 0600), 0);
		char *before = snapshot_take(dir.path);
		struct ckptlog *cl = ckpt_open_with(sys_real(), &dir, true, NULL);
		ckpt_expect_latest(cl, "final");
		ckptlog_free(cl);
		snapshot_expect(dir.path, before);
		free(before);
		/* The original does not get over it: so it is mended. */
		cl = ckpt_open_with(sys_real(), &dir, false, &logged);
		ckpt_expect_latest(cl, "final");
		dir_expect_head(&dir, "final");
		assert_true(logged_has(&logged, "HEAD: expected the id of a checkpoint, found"));
		assert_int_equal(ckptlog_remove(cl, "final", 5), 0);
		dir_expect_head(&dir, "snapshot/4");
		ckptlog_free(cl);
		logged_release(&logged);
		tmpdir_remove(&dir);
	}
}

/* A HEAD that is good, with more behind it or not that of the latest record, stays as it is. */
static void head_that_is_good(void **state)
{
	static const char *const heads[] = { "\x05\x00" "final", "\x06\x00" "ckpt-2", "\x05\x00" "final and more" };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(heads); i++) {
		size_t size = 2 + strlen(heads[i] + 2);
		struct tmpdir dir;

		tmpdir_make(&dir, "ckptlog");
		dir_write(&dir, CKPT_LOG, raw_log, RAW_BYTES);
		dir_write(&dir, "HEAD", heads[i], size);
		struct ckptlog *cl = ckpt_open(&dir);
		ckpt_expect_latest(cl, i == 1 ? "ckpt-2" : "final");
		ckptlog_free(cl);
		dir_expect(&dir, "HEAD", heads[i], size);
		tmpdir_remove(&dir);
	}
}

/* Without checkpoints nothing is made of a HEAD. */
static void head_alone(void **state)
{
	struct tmpdir dir;

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	dir_write_head(&dir, "gone");
	struct ckptlog *cl = ckpt_open(&dir);
	ckpt_expect_latest(cl, NULL);
	dir_expect_head(&dir, "gone");
	ckpt_add(cl, "one", 1);
	dir_expect_head(&dir, NULL);
	assert_int_equal(ckptlog_close(cl), 0);
	dir_expect_head(&dir, "one");
	tmpdir_remove(&dir);
}

/* ---- What happens to the files while they are in use, and files that are none ---- */

static void damage_under_an_open_log(void **state)
{
	struct logged logged = LOGGED_INIT;
	struct wal_checkpoint *cp;
	struct tmpdir dir;
	char path[PATH_MAX];

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	tmpdir_path(&dir, CKPT_LOG, path);
	struct ckptlog *cl = ckpt_open_with(sys_real(), &dir, false, &logged);
	for (size_t i = 0; i < 3; i++)
		ckpt_add(cl, three[i], i);
	damage_flip_bit(path, CKPT_BYTES("one") + 20, 3);
	assert_int_equal(ckptlog_load(cl, "two", 3, &cp), -EBADMSG);
	assert_true(logged_has(&logged, "offset 52: expected a record with 40 bytes, found a checksum that does not hold"));
	ckpt_expect(cl, "one", 0);
	ckpt_expect_latest(cl, "three");
	/* It costs itself only: whatever writes the others anew puts it aside. */
	uint64_t version = ckptlog_version(cl);
	size_t size;
	uint8_t *before = file_read(path, &size);
	assert_int_equal(ckptlog_remove(cl, "one", 3), 0);
	ckpt_expect_ids(cl, "three ");
	ckpt_expect(cl, "three", 2);
	ckpt_expect_missing(cl, "two");
	assert_int_equal(ckptlog_version(cl), version + 2);
	expect_aside(&dir, ".damaged.0", CKPT_BYTES("one"), before + CKPT_BYTES("one"), CKPT_BYTES("two"));
	free(before);
	assert_true(logged_has(&logged, "what was damaged is kept in 'checkpoints.log.damaged.0'"));
	damage_shrink(path, 1);
	assert_int_equal(ckptlog_load(cl, "three", 5, &cp), -EBADMSG);
	assert_true(logged_has(&logged, "found the end of the file"));
	ckptlog_free(cl);
	cl = ckpt_open(&dir);
	ckpt_expect_ids(cl, "");
	ckptlog_free(cl);
	logged_release(&logged);
	tmpdir_remove(&dir);
}

static int compact_two(struct ckptlog *log)
{
	size_t removed;
	int r = ckptlog_compact(log, 2, &removed);

	assert_int_equal(removed, 1);
	return r;
}

static int forget_bee(struct ckptlog *log)
{
	return ckptlog_forget_stream(log, "bee");
}

static int forget_none(struct ckptlog *log)
{
	return ckptlog_forget_stream(log, "no such stream");
}

static int remove_one(struct ckptlog *log)
{
	return ckptlog_remove(log, "one", 3);
}

/* Whichever record rots under an open log, also the one that HEAD names, or one that is larger than what is copied at once: changes of the others succeed. */
static void rot_of_another_record(void **state)
{
	static int (*const changes[])(struct ckptlog *log) = { compact_two, forget_bee, forget_none, remove_one };
	struct sys quick = ckpt_quick_sys();
	enum { STREAMS = 30000 };
	char (*names)[16] = calloc(STREAMS, sizeof *names);
	struct wal_cut *cuts = calloc(STREAMS, sizeof *cuts);

	(void)state;
	for (size_t i = 0; i < STREAMS; i++) {
		snprintf(names[i], sizeof names[i], "s%06zu", i);
		cuts[i] = (struct wal_cut){ names[i], i };
	}
	const struct wal_checkpoint large = { .id = "large", .id_size = 5, .cut_count = STREAMS, .cuts = cuts };
	for (int i = 0; i < 8; i++) {
		bool rot_large = i >= 4;
		struct wal_checkpoint *cp;
		struct tmpdir dir;
		char path[PATH_MAX];
		int64_t time_ns;
		size_t size;

		tmpdir_make(&dir, "ckptlog");
		tmpdir_path(&dir, CKPT_LOG, path);
		struct ckptlog *cl = ckpt_open_with(&quick, &dir, false, NULL);
		ckpt_add(cl, "one", 1);
		assert_int_equal(ckptlog_append(cl, &large, 0, 0, &time_ns), 0);
		ckpt_add(cl, "three", 3);
		free(file_read(path, &size));
		/* At its end, when most of it has been copied. */
		damage_flip_bit(path, rot_large ? size - CKPT_BYTES("three") - 1 : size - 1, 3);
		assert_int_equal(changes[i % 4](cl), 0);
		assert_true(dir_has(&dir, CKPT_LOG ".damaged.0"));
		bool one_goes = changes[i % 4] == compact_two || changes[i % 4] == remove_one;
		for (int again = 0; again < 2; again++) {
			assert_int_equal(ckptlog_load(cl, "large", 5, &cp), rot_large ? WAL_NOT_FOUND : 0);
			if (!rot_large)
				free(cp);
			assert_int_equal(ckptlog_load(cl, "three", 5, &cp), rot_large ? 0 : WAL_NOT_FOUND);
			if (rot_large)
				free(cp);
			assert_int_equal(ckptlog_count(cl), 2 - one_goes);
			ckpt_expect_latest(cl, rot_large ? "three" : "large");
			assert_int_equal(ckptlog_close(cl), 0);
			dir_expect_head(&dir, rot_large ? "three" : "large");
			cl = ckpt_open_with(&quick, &dir, false, NULL);
		}
		assert_false(dir_has(&dir, CKPT_LOG ".damaged.1"));
		assert_false(dir_has(&dir, CKPT_LOG ".torn.0"));
		ckptlog_free(cl);
		tmpdir_remove(&dir);
	}
	free(cuts);
	free(names);
}

/* The log shows nothing, changes nothing, and says why. */
static void expect_unread(struct sys *sys, const struct tmpdir *dir, const char *why)
{
	char *before = snapshot_take(dir->path);

	for (int ro = 0; ro < 2; ro++) {
		struct logged logged = LOGGED_INIT;
		struct ckptlog *cl = ckpt_open_with(sys, dir, ro, &logged);

		assert_true(logged_has(&logged, why));
		assert_true(ckptlog_open_error(cl) < 0);
		assert_int_equal(ckptlog_count(cl), 0);
		ckpt_expect_latest(cl, NULL);
		ckpt_expect_missing(cl, "one");
		assert_int_equal(ckpt_append(cl, "one", 1, 0), ro ? -EROFS : -EIO);
		assert_int_equal(ckptlog_remove(cl, "one", 3), ro ? -EROFS : -EIO);
		assert_int_equal(ckptlog_compact(cl, 1, NULL), ro ? -EROFS : -EIO);
		assert_int_equal(ckptlog_forget_stream(cl, "a"), ro ? -EROFS : -EIO);
		ckptlog_free(cl);
		logged_release(&logged);
	}
	snapshot_expect(dir->path, before);
	free(before);
}

struct bad_sector {
	struct sys sys;
	int fd;
};

static int bad_openat(struct sys *sys, int dirfd, const char *name, int flags, mode_t mode)
{
	int fd = sys_real()->openat(sys_real(), dirfd, name, flags, mode);

	if (strcmp(name, CKPT_LOG) == 0)
		container_of(sys, struct bad_sector, sys)->fd = fd;
	return fd;
}

static ssize_t bad_pread(struct sys *sys, int fd, void *data, size_t size, uint64_t offset)
{
	/* Records before it could be read. */
	if (fd == container_of(sys, struct bad_sector, sys)->fd && offset + size > (400 << 10))
		return -EIO;
	return sys_real()->pread(sys_real(), fd, data, size, offset);
}

/* Streams are not to be out of reach because checkpoints are. */
static void files_of_other_kinds(void **state)
{
	struct bad_sector bad = { .sys = *sys_real(), .fd = -1 };
	struct ckptlog *cl;
	struct tmpdir dir;
	char id[60001];

	(void)state;
	tmpdir_make(&dir, "ckptlog");
	assert_int_equal(symlinkat("/etc/passwd", dir.fd, CKPT_LOG), 0);
	expect_unread(sys_real(), &dir, "checkpoints.log: cannot read it: Too many levels of symbolic links; the store is opened without its checkpoints");
	tmpdir_remove(&dir);
	tmpdir_make(&dir, "ckptlog");
	assert_int_equal(mkfifoat(dir.fd, CKPT_LOG, 0600), 0);
	expect_unread(sys_real(), &dir, "checkpoints.log: cannot read it: Invalid argument");
	tmpdir_remove(&dir);
	tmpdir_make(&dir, "ckptlog");
	cl = ckpt_open(&dir);
	for (char c = 'a'; c < 'k'; c++) {
		memset(id, c, sizeof id - 1);
		id[sizeof id - 1] = '\0';
		ckpt_add(cl, id, 1);
	}
	ckptlog_free(cl);
	bad.sys.openat = bad_openat;
	bad.sys.pread = bad_pread;
	expect_unread(&bad.sys, &dir, "checkpoints.log: cannot read it: Input/output error");
	cl = ckpt_open(&dir);
	assert_int_equal(ckptlog_count(cl), 10);
	ckptlog_free(cl);
	tmpdir_remove(&dir);
	/* The original takes any name for a stream: that store can be opened, but has no room for checkpoints. */
	tmpdir_make(&dir, "ckptlog");
	assert_int_equal(mkdirat(dir.fd, CKPT_LOG, 0700), 0);
	cl = ckpt_open(&dir);
	assert_int_equal(ckptlog_count(cl), 0);
	assert_int_equal(ckpt_append(cl, "one", 1, 0), -EISDIR);
	assert_int_equal(ckptlog_count(cl), 0);
	assert_false(dir_has(&dir, "HEAD"));
	assert_false(dir_has(&dir, CKPT_LOG ".tmp"));
	ckptlog_free(cl);
	tmpdir_remove(&dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(torn_at_every_length),
		cmocka_unit_test(every_bit_flipped),
		cmocka_unit_test(junk_between_records),
		cmocka_unit_test(records_behind_a_torn_one),
		cmocka_unit_test(what_is_in_an_id_is_no_record),
		cmocka_unit_test(a_length_that_skips_records),
		cmocka_unit_test(garbage_over_a_record),
		cmocka_unit_test(malformed_records),
		cmocka_unit_test(files_without_records),
		cmocka_unit_test(what_was_put_aside_stays),
		cmocka_unit_test(hostile_files_are_read_in_linear_time),
		cmocka_unit_test(a_claim_is_not_allocated),
		cmocka_unit_test(head_that_is_no_good),
		cmocka_unit_test(head_that_is_good),
		cmocka_unit_test(head_alone),
		cmocka_unit_test(damage_under_an_open_log),
		cmocka_unit_test(rot_of_another_record),
		cmocka_unit_test(a_hole_is_put_aside_as_one),
		cmocka_unit_test(files_of_other_kinds),
	};

	return TEST_RUN(tests);
}
