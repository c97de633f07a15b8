/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where bad records of checkpoints.log end, by damage to the fields of records of many kinds, also such as have whole records in their ids: what it costs others ("lost"), and what comes up
 * of an id ("invented").
 */
#include "ckptscan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "ckptrecord.h"
#include "random.h"
#include "test.h"

enum { RECORDS = 6, FILE_MAX = 8192 };

struct file {
	uint8_t data[FILE_MAX];
	size_t size;
	unsigned version;
	size_t begin[RECORDS + 1];
	size_t id_size[RECORDS];
	int fd;
};

struct seen {
	const struct file *file;
	bool found[RECORDS];
	unsigned invented;
};

struct tally {
	unsigned runs;
	unsigned lost;
	unsigned invented;
};

static int see_record(void *arg, uint64_t offset, const uint8_t *payload, uint32_t size, const struct record *record)
{
	struct seen *seen = arg;

	(void)payload;
	(void)size;
	(void)record;
	for (size_t i = 0; i < RECORDS; i++) {
		if (offset == seen->file->begin[i]) {
			seen->found[i] = true;
			return 0;
		}
	}
	seen->invented++;
	return 0;
}

static int see_bad(void *arg, const struct ckptscan_bad *bad)
{
	(void)arg;
	assert_true(bad->bytes > 0);
	return 0;
}

enum kind {
	PLAIN,	   /* ids that look like the beginnings of records */
	FORGED,	   /* each second one has two records in its id, with bytes before, between and behind */
	POWERS,	   /* all of 64 bytes: flipped bits of a length lead to other records */
	FORGED_POWERS,
	KINDS,
};

static size_t put_record(uint8_t *at, unsigned version, const void *id, size_t id_size, int64_t time_ns)
{
	static const struct wal_cut cuts[] = { { "alpha", 300 }, { "beta", 7 }, { "g", 1ULL << 40 } };
	const struct wal_checkpoint cp = { .id = id, .id_size = id_size, .cut_count = version == 1 ? 2 : 3, .cuts = cuts };
	uint8_t *data;
	size_t size;

	assert_int_equal(record_encode(&cp, version == 1 ? 2 : 0, time_ns, &data, &size), 0);
	memcpy(at, data, size);
	free(data);
	return size;
}

static size_t make_id(uint8_t *id, enum kind kind, unsigned version, unsigned i)
{
	uint8_t *pos = id;

	if ((kind == FORGED || kind == FORGED_POWERS) && i % 2 == 1) {
		memset(id, 'x', 512);
		pos += i == 1 ? 0 : 20;
		pos += put_record(pos, 3 - version, "forged", 6, 9);
		pos += i == 3 ? 0 : 5;
		pos += put_record(pos, version, "more", 4, 9);
		pos += i == 5 ? 0 : 3;
	} else {
		pos += sprintf((char *)id, "CKPTid-%u%s", i, i % 2 ? "-longer" : "");
	}
	if (kind >= POWERS) {
		/* All that is not id takes 12 + 3 + 8 and 2 + 16, or 4 + 37. */
		size_t rest = version == 1 ? 41 : 64, want = kind == POWERS ? 128 : i % 2 ? 256 : 128;

		memset(pos, 'y', 256);
		pos = id + want - rest;
	}
	return (size_t)(pos - id);
}

static void make_file(struct file *f, enum kind kind, unsigned version)
{
	uint8_t id[1024];

	f->size = 0;
	f->version = version;
	for (unsigned i = 0; i < RECORDS; i++) {
		f->begin[i] = f->size;
		f->id_size[i] = make_id(id, kind, version, i);
		f->size += put_record(f->data + f->size, version, id, f->id_size[i], 1000 + i);
		assert_true(kind < POWERS || f->size % 128 == 0);
	}
	f->begin[RECORDS] = f->size;
}

/* A field of a record: its place there and its bytes. */
static void find_field(const struct file *f, unsigned record, unsigned field, size_t *ret_at, size_t *ret_size)
{
	size_t id = f->id_size[record], at = f->begin[record], size = f->begin[record + 1] - at;
	const struct {
		size_t at;
		size_t size;
	} fields[] = {
		{ 0, 4 }, { 4, 4 }, { 8, 4 }, { 12, 1 }, { 13, 2 }, { 15, id }, { 15 + id, 8 },
		{ 23 + id, f->version == 1 ? 2 : 4 },
		/* The cuts, with the names' lengths. */
		{ f->version == 1 ? 25 + id : 27 + id, size - (f->version == 1 ? 25 + id : 27 + id) },
	};

	*ret_at = at + fields[field].at;
	*ret_size = fields[field].size;
}

enum { FIELDS = 9 };

static void damage_field(struct random *r, uint8_t *data, const struct file *f, unsigned record, unsigned field)
{
	size_t at, size;

	find_field(f, record, field, &at, &size);
	size_t byte = random_below(r, size);
	switch (random_below(r, 4)) {
	case 0:
		data[at + byte] = (uint8_t)random_next(r);
		break;
	case 1:
		for (size_t i = 0; i < size; i++)
			data[at + i] = (uint8_t)random_next(r);
		break;
	case 2:
		memset(data + at + byte, 0, size - byte);
		break;
	default:
		data[at + byte] ^= (uint8_t)(1 << random_below(r, 8));
	}
}

/* `may_miss`: those that are damaged themselves. */
static void scan(const struct file *f, const uint8_t *data, size_t size, unsigned may_miss, struct tally *tally)
{
	struct seen seen = { .file = f };
	const struct ckptscan scan = { see_record, see_bad, &seen };
	unsigned lost = 0;
	uint64_t scanned;

	assert_int_equal(ftruncate(f->fd, 0), 0);
	assert_true(pwrite(f->fd, data, size, 0) == (ssize_t)size);
	assert_int_equal(ckptscan_run(&scan, sys_real(), f->fd, &scanned), 0);
	for (unsigned i = 0; i < RECORDS; i++)
		lost += !seen.found[i] && !(may_miss >> i & 1);
	tally->runs++;
	tally->lost += lost > 0;
	tally->invented += seen.invented > 0;
}

/* No record that is not damaged is lost, ever. */
static void for_each_kind(void (*each)(struct file *f, enum kind kind, struct tally *tally), unsigned invented_max_percent)
{
	for (enum kind kind = 0; kind < KINDS; kind++) {
		for (unsigned version = 1; version <= 2; version++) {
			struct tally tally = { 0 };
			struct file f;

			make_file(&f, kind, version);
			f.fd = memfd_create("checkpoints", MFD_CLOEXEC);
			assert_true(f.fd >= 0);
			each(&f, kind, &tally);
			close(f.fd);
			if (tally.lost > 0 || tally.invented * 100 > invented_max_percent * tally.runs)
				fail_msg("kind %d, version %u: of %u runs %u lost records and %u invented some", (int)kind, version, tally.runs, tally.lost,
					 tally.invented);
		}
	}
}

/* Each bit of the file once. */
static void flip_each_bit(struct file *f, enum kind kind, struct tally *tally)
{
	unsigned record = 0;

	(void)kind;
	for (size_t bit = 0; bit < f->size * 8; bit++) {
		record += bit / 8 == f->begin[record + 1];
		f->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		scan(f, f->data, f->size, 1u << record, tally);
		f->data[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void one_bit(void **state)
{
	(void)state;
	for_each_kind(flip_each_bit, 0);
}

/* One field of one record, in any way. */
static void damage_one(struct file *f, enum kind kind, struct tally *tally)
{
	struct random r = { 100 + (uint64_t)kind };
	uint8_t data[FILE_MAX];

	for (unsigned i = 0; i < 3000; i++) {
		unsigned record = i % RECORDS;

		memcpy(data, f->data, f->size);
		damage_field(&r, data, f, record, i / RECORDS % FIELDS);
		scan(f, data, f->size, 1u << record, tally);
	}
}

static void one_field(void **state)
{
	(void)state;
	for_each_kind(damage_one, 0);
}

/* One field of each of two records, neighbours among them. */
static void damage_two_records(struct file *f, enum kind kind, struct tally *tally)
{
	struct random r = { 200 + (uint64_t)kind };
	uint8_t data[FILE_MAX];

	for (unsigned i = 0; i < 8000; i++) {
		unsigned a = (unsigned)random_below(&r, RECORDS), b = (unsigned)random_below(&r, RECORDS);

		memcpy(data, f->data, f->size);
		damage_field(&r, data, f, a, (unsigned)random_below(&r, FIELDS));
		damage_field(&r, data, f, b, (unsigned)random_below(&r, FIELDS));
		scan(f, data, f->size, a == b ? 0x3f : 1u << a | 1u << b, tally);
	}
}

static void a_field_of_two_records(void **state)
{
	(void)state;
	for_each_kind(damage_two_records, 2);
}

/* Two fields of one record. */
static void damage_two_fields(struct file *f, enum kind kind, struct tally *tally)
{
	struct random r = { 300 + (uint64_t)kind };
	uint8_t data[FILE_MAX];

	for (unsigned i = 0; i < 10000; i++) {
		unsigned record = i % RECORDS;

		memcpy(data, f->data, f->size);
		damage_field(&r, data, f, record, i / RECORDS % FIELDS);
		damage_field(&r, data, f, record, i / RECORDS / FIELDS % FIELDS);
		scan(f, data, f->size, 1u << record, tally);
	}
}

static void two_fields_of_a_record(void **state)
{
	(void)state;
	for_each_kind(damage_two_fields, 5);
}

/* Bytes all over a record, so that nothing of it is to be relied upon: no other is lost. */
static void damage_many_bytes(struct file *f, enum kind kind, struct tally *tally)
{
	struct random r = { 400 + (uint64_t)kind };
	uint8_t data[FILE_MAX];

	for (unsigned i = 0; i < 8000; i++) {
		unsigned record = i % RECORDS;
		size_t begin = f->begin[record], size = f->begin[record + 1] - begin;

		memcpy(data, f->data, f->size);
		for (size_t n = 1 + random_below(&r, 8); n > 0; n--)
			data[begin + random_below(&r, random_below(&r, 2) ? size : 28)] = (uint8_t)random_next(&r);
		scan(f, data, f->size, 1u << record, tally);
	}
}

static void many_bytes(void **state)
{
	(void)state;
	for_each_kind(damage_many_bytes, 5);
}

/* Whether in the bytes from `begin` to `end` there is a record that ends there, or is followed just by the beginning of another: as if those were appended behind a torn one. */
static bool looks_appended(const uint8_t *data, size_t begin, size_t end)
{
	uint32_t crc, size;

	for (size_t at = begin + 1; at + RECORD_HEADER < end; at++) {
		size_t next = record_header(data + at, &crc, &size) ? at + RECORD_HEADER + size : end + 1;

		if (next <= end && memcmp(data + next, RECORD_MAGIC, end - next < RECORD_MAGIC_BYTES ? end - next : RECORD_MAGIC_BYTES) == 0)
			return true;
	}
	return false;
}

/* The file ends, or is zeros, from some place in a record on. */
static void tear(struct file *f, enum kind kind, struct tally *tally)
{
	uint8_t data[FILE_MAX];

	(void)kind;
	for (unsigned record = 0; record < RECORDS; record++) {
		unsigned gone = 0x3f & ~((1u << record) - 1);

		for (size_t at = f->begin[record]; at < f->begin[record + 1]; at++) {
			struct tally cut = { 0 };

			memcpy(data, f->data, f->size);
			scan(f, data, at, gone, &cut);
			if (cut.invented > 0 && !looks_appended(data, f->begin[record], at))
				fail_msg("kind %d, version %u: record %u cut at %zu invents one", (int)kind, f->version, record, at - f->begin[record]);
			tally->lost += cut.lost;
			tally->runs++;
			memset(data + at, 0, f->size - at);
			scan(f, data, f->size, gone, tally);
			scan(f, data, f->begin[record + 1], gone, tally);
		}
	}
}

static void torn(void **state)
{
	(void)state;
	for_each_kind(tear, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_bit),
		cmocka_unit_test(one_field),
		cmocka_unit_test(a_field_of_two_records),
		cmocka_unit_test(two_fields_of_a_record),
		cmocka_unit_test(many_bytes),
		cmocka_unit_test(torn),
	};

	return TEST_RUN(tests);
}
