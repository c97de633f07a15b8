/* SPDX-License-Identifier: Apache-2.0 */
/* Records as bytes: the format's own examples, what is refused and what is said then, and that nothing is allocated before a record is known to be one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "random.h"
#include "test.h"
#include "wal_journal.h"

enum { BYTES_MAX = 512 };

/* "01 74 | 05" as bytes. */
static size_t parse_hex(const char *hex, uint8_t bytes[BYTES_MAX])
{
	size_t size = 0;

	while (*hex) {
		unsigned byte = 0;

		if (*hex == ' ' || *hex == '|') {
			hex++;
			continue;
		}
		assert_true(size < BYTES_MAX && sscanf(hex, "%2x", &byte) == 1);
		bytes[size++] = (uint8_t)byte;
		hex += 2;
	}
	return size;
}

static void expect_same(const struct wal_record *a, const struct wal_record *b);

static void expect_same_metadata(const struct wal_record_metadata *a, const struct wal_record_metadata *b)
{
	assert_int_equal(a->present, b->present);
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		assert_int_equal(a->pairs[i].key_size, b->pairs[i].key_size);
		assert_int_equal(a->pairs[i].value_size, b->pairs[i].value_size);
		assert_memory_equal(a->pairs[i].key, b->pairs[i].key, a->pairs[i].key_size);
		assert_memory_equal(a->pairs[i].value, b->pairs[i].value, a->pairs[i].value_size);
	}
}

static void expect_same_data(const struct wal_record *a, const struct wal_record *b)
{
	if (a->type <= WAL_RECORD_DELETE) {
		assert_int_equal(a->id_size, b->id_size);
		assert_memory_equal(a->id, b->id, a->id_size);
	}
	if (a->type <= WAL_RECORD_UPDATE) {
		assert_int_equal(a->vector.count, b->vector.count);
		if (a->vector.count)
			assert_memory_equal(a->vector.values, b->vector.values, 4 * a->vector.count);
		expect_same_metadata(&a->metadata, &b->metadata);
	} else if (a->type == WAL_RECORD_BATCH) {
		assert_int_equal(a->record_count, b->record_count);
		for (size_t i = 0; i < a->record_count; i++)
			expect_same(&a->records[i], &b->records[i]);
	} else if (a->type == WAL_RECORD_OPAQUE) {
		assert_int_equal(a->data_size, b->data_size);
		assert_memory_equal(a->data, b->data, a->data_size);
	} else if (a->type != WAL_RECORD_DELETE) {
		assert_true(a->type == WAL_RECORD_CHECKPOINT ? a->sequence == b->sequence : a->transaction == b->transaction);
	}
}

static void expect_same(const struct wal_record *a, const struct wal_record *b)
{
	assert_int_equal(a->type, b->type);
	assert_true(a->time == b->time);
	expect_same_data(a, b);
}

static void expect_round_trip(const struct wal_record *record, const char *hex)
{
	struct wal_buf bytes = { 0 }, memory = { 0 };
	uint8_t expected[BYTES_MAX];
	struct wal_record again;
	size_t size = hex ? parse_hex(hex, expected) : 0;

	assert_int_equal(wal_record_encode(record, &bytes, NULL), 0);
	if (hex) {
		assert_int_equal(bytes.size, size);
		assert_memory_equal(bytes.data, expected, size);
	}
	assert_int_equal(wal_record_decode(bytes.data, bytes.size, WAL_RECORD_VARINT, &memory, &again, NULL), 0);
	expect_same(record, &again);
	wal_buf_release(&bytes);
	wal_buf_release(&memory);
}

static struct wal_record insert(const char *id, const float *values, size_t count, uint64_t time)
{
	return (struct wal_record){ .type = WAL_RECORD_INSERT, .time = time, .id = id, .id_size = strlen(id), .vector = { values, count } };
}

static void the_examples_of_the_format(void **state)
{
	static const float three[] = { 1, 2, 3 }, half[] = { 0.5F };
	const struct wal_record_pair pair = { "k", 1, "v", 1 };
	struct wal_record vec1 = insert("vec1", three, 3, 12345), a = insert("a", half, 1, 1700000000);
	struct wal_record delete = { .type = WAL_RECORD_DELETE, .time = 5, .id = "t", .id_size = 1 };
	struct wal_record begin = { .type = WAL_RECORD_BEGIN, .time = 1700000014, .transaction = UINT64_MAX };
	struct wal_record checkpoint = { .type = WAL_RECORD_CHECKPOINT, .time = 1700000007, .sequence = 0 };

	(void)state;
	a.metadata = (struct wal_record_metadata){ true, &pair, 1 };
	expect_round_trip(&delete, "02 | 01 74 | 05");
	expect_round_trip(&vec1, "00 | 04 76 65 63 31 | 03 0000803f 00000040 00004040 | 00 | fb 39 30");
	expect_round_trip(&a, "00 | 01 61 | 01 0000003f | 01 01 01 6b 01 76 | fc 00 f1 53 65");
	expect_round_trip(&begin, "05 | fd ff ff ff ff ff ff ff ff | fc 0e f1 53 65");
	expect_round_trip(&checkpoint, "04 | 00 | fc 07 f1 53 65");
}

static void numbers_take_their_shortest_form(void **state)
{
	static const struct {
		uint64_t number;
		const char *hex;
	} cases[] = {
		{ 0, "06 | 00 | 00" },
		{ 250, "06 | fa | 00" },
		{ 251, "06 | fb fb 00 | 00" },
		{ 65535, "06 | fb ff ff | 00" },
		{ 65536, "06 | fc 00 00 01 00 | 00" },
		{ UINT32_MAX, "06 | fc ff ff ff ff | 00" },
		{ (uint64_t)UINT32_MAX + 1, "06 | fd 00 00 00 00 01 00 00 00 | 00" },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		struct wal_record commit = { .type = WAL_RECORD_COMMIT, .transaction = cases[i].number };

		expect_round_trip(&commit, cases[i].hex);
	}
}

static void opaque_records_and_nested_batches(void **state)
{
	struct wal_record inner[3] = {
		{ .type = WAL_RECORD_OPAQUE, .time = 1, .data = "\0\xff", .data_size = 2 },
		{ .type = WAL_RECORD_BATCH, .time = 2 },
		{ .type = WAL_RECORD_ABORT, .time = 3, .transaction = 9 },
	};
	struct wal_record batch = { .type = WAL_RECORD_BATCH, .time = 4, .records = inner, .record_count = 3 };

	(void)state;
	expect_round_trip(&batch, "03 | 03 | fa 02 00 ff 01 | 03 00 02 | 07 09 03 | 04");
	expect_round_trip(&inner[0], "fa | 02 00 ff | 01");
}

static void bits_of_floats_are_kept(void **state)
{
	static const uint32_t bits[] = { 0x7fc00001, 0x7f800001, 0xffffffff, 0x80000000, 0x00000001, 0x7f800000 };
	struct wal_record record = insert("", (const float *)(const void *)bits, TEST_COUNT(bits), 0);

	(void)state;
	expect_round_trip(&record, "00 | 00 | 06 0100c07f 0100807f ffffffff 00000080 01000000 0000807f | 00 | 00");
}

static void texts_end_with_a_nul_and_may_hold_one(void **state)
{
	static const uint8_t data[] = { 0, 3, 'a', 0, 'b', 0, 1, 2, 1, 'k', 1, 'x', 1, 'k', 1, 'y', 7 };
	struct wal_buf memory = { 0 };
	struct wal_record record;

	(void)state;
	assert_int_equal(wal_record_decode(data, sizeof(data), WAL_RECORD_VARINT, &memory, &record, NULL), 0);
	assert_int_equal(record.id_size, 3);
	assert_memory_equal(record.id, "a\0b", 4);
	assert_string_equal(wal_record_find(&record, "k")->value, "y"); /* the last one */
	assert_null(wal_record_find(&record, "x"));
	wal_buf_release(&memory);
}

static void bincode_1(void **state)
{
	static const char *const hex = "00000000 0400000000000000 76656331 0300000000000000 0000803f 00000040 00004040 00 3930000000000000";
	static const float three[] = { 1, 2, 3 };
	struct wal_record expected = insert("vec1", three, 3, 12345), record;
	struct wal_buf memory = { 0 };
	uint8_t bytes[BYTES_MAX];
	size_t size = parse_hex(hex, bytes);
	struct wal_error err;

	(void)state;
	assert_int_equal(wal_record_decode(bytes, size, WAL_RECORD_FIXED, &memory, &record, NULL), 0);
	expect_same(&expected, &record);
	/* Exact consumption tells the two apart. */
	assert_int_equal(wal_record_decode(bytes, size, WAL_RECORD_VARINT, &memory, &record, &err), -EBADMSG);
	assert_int_equal(wal_record_decode(bytes, size - 1, WAL_RECORD_FIXED, &memory, &record, &err), -EBADMSG);
	bytes[0] = 250;
	assert_int_equal(wal_record_decode(bytes, size, WAL_RECORD_FIXED, &memory, &record, &err), -EBADMSG);
	assert_string_equal(err.message, "byte 0: expected a type of record from 0 to 7, found 250");
	wal_buf_release(&memory);
}

/* Each message says where, what was expected and what was found, and nothing has been allocated. */
static void refused_with_place_and_reason(void **state)
{
	static const struct {
		const char *hex;
		size_t offset;
		const char *message;
	} cases[] = {
		{ "", 0, "byte 0: expected the type of a record, found the end" },
		{ "08 00 00", 0, "byte 0: expected a type of record from 0 to 7, or 250, found 8" },
		{ "fe 00", 0, "byte 0: expected a number of at most 4 bytes for the type of a record, found the tag 0xfe" },
		{ "fd 00 00 00 00 00 00 00 00", 0, "byte 0: expected a number of at most 4 bytes for the type of a record, found the tag 0xfd" },
		{ "fc ff ff ff ff", 0, "byte 0: expected a type of record from 0 to 7, or 250, found 4294967295" },
		{ "02", 1, "byte 1: expected the length of an id, found the end" },
		{ "02 ff", 1, "byte 1: expected a number of at most 8 bytes for the length of an id, found the tag 0xff" },
		{ "02 fb 01", 2, "byte 2: expected 2 bytes for the length of an id, found 1" },
		{ "02 05 61", 1, "byte 1: expected for the length of an id at most 1 as 1 bytes follow, found 5" },
		{ "02 fd 00 00 00 00 00 00 00 40 61", 1, "byte 1: expected for the length of an id at most 1 as 1 bytes follow, found 4611686018427387904" },
		{ "02 02 61 ff 05", 3, "byte 3: expected UTF-8 in an id, found byte 0xff" },
		{ "02 02 c0 80 05", 2, "byte 2: expected UTF-8 in an id, found byte 0xc0" },
		{ "02 03 ed a0 80 05", 2, "byte 2: expected UTF-8 in an id, found byte 0xed" },
		{ "02 04 f4 90 80 80 05", 2, "byte 2: expected UTF-8 in an id, found byte 0xf4" },
		{ "02 01 61", 3, "byte 3: expected a time, found the end" },
		{ "02 01 61 fd 00", 4, "byte 4: expected 8 bytes for a time, found 1" },
		{ "02 01 61 05 00", 4, "byte 4: expected the end of the record, found 1 bytes more" },
		{ "00 01 61 02 00000000 00 00", 3, "byte 3: expected for the number of a vector's elements at most 1 as 6 bytes follow, found 2" },
		{ "00 01 61 00", 4, "byte 4: expected 1 bytes for whether there is metadata, found 0" },
		{ "00 01 61 00 02 00", 4, "byte 4: expected 0 or 1 for whether there is metadata, found 2" },
		{ "00 01 61 00 01 02 00 00", 5, "byte 5: expected for the number of metadata pairs at most 1 as 2 bytes follow, found 2" },
		{ "00 01 61 00 01 01 01 6b 01 80 00", 9, "byte 9: expected UTF-8 in a metadata value, found byte 0x80" },
		{ "03 02 02 00 00 00", 1, "byte 1: expected for the number of a batch's records at most 1 as 4 bytes follow, found 2" },
		{ "03 01 2a 00 00", 2, "byte 2: expected a type of record from 0 to 7, or 250, found 42" },
		{ "fa 03 00 00", 1, "byte 1: expected for the size of an opaque record at most 2 as 2 bytes follow, found 3" },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		struct wal_buf memory = { 0 };
		struct wal_record record;
		struct wal_error err;
		uint8_t bytes[BYTES_MAX], *exact;
		size_t size = parse_hex(cases[i].hex, bytes);

		exact = malloc(size + !size); /* so that a sanitizer sees a read beyond it */
		assert_non_null(exact);
		memcpy(exact, bytes, size);
		assert_int_equal(wal_record_decode(exact, size, WAL_RECORD_VARINT, &memory, &record, &err), -EBADMSG);
		assert_string_equal(err.message, cases[i].message);
		assert_int_equal(err.offset, cases[i].offset);
		assert_int_equal(err.code, -EBADMSG);
		assert_null(memory.data);
		free(exact);
	}
}

static void longer_forms_of_numbers_are_read(void **state)
{
	static const char *const forms[] = { "06 07 05", "fb0600 fb0700 fb0500", "fc06000000 fc07000000 fc05000000", "06 fd0700000000000000 fd0500000000000000" };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(forms); i++) {
		struct wal_buf memory = { 0 };
		struct wal_record record;
		uint8_t bytes[BYTES_MAX];
		size_t size = parse_hex(forms[i], bytes);

		assert_int_equal(wal_record_decode(bytes, size, WAL_RECORD_VARINT, &memory, &record, NULL), 0);
		assert_int_equal(record.type, WAL_RECORD_COMMIT);
		assert_true(record.transaction == 7 && record.time == 5);
		wal_buf_release(&memory);
	}
}

/* `depth` batches in each other, as bytes: the same count of 03 01, an empty one, and times. */
static size_t nested(uint8_t *bytes, size_t depth)
{
	for (size_t i = 0; i < depth; i++) {
		bytes[2 * i] = 3;
		bytes[2 * i + 1] = i + 1 < depth;
	}
	memset(bytes + 2 * depth, 1, depth);
	return 3 * depth;
}

static void weakness_10_a_deeply_nested_batch_is_refused_not_a_stack_overflow(void **state)
{
	enum { DEEP = 20000 };
	uint8_t *bytes = malloc(3 * DEEP);
	struct wal_record record, chain[WAL_RECORD_DEPTH_MAX + 1];
	struct wal_buf memory = { 0 }, out = { 0 };
	struct wal_error err;

	(void)state;
	assert_non_null(bytes);
	assert_int_equal(wal_record_decode(bytes, nested(bytes, WAL_RECORD_DEPTH_MAX), WAL_RECORD_VARINT, &memory, &record, NULL), 0);
	assert_int_equal(wal_record_encode(&record, &out, NULL), 0);
	assert_int_equal(out.size, 3 * WAL_RECORD_DEPTH_MAX);
	assert_memory_equal(out.data, bytes, out.size);
	assert_int_equal(wal_record_decode(bytes, nested(bytes, WAL_RECORD_DEPTH_MAX + 1), WAL_RECORD_VARINT, &memory, &record, &err), -EBADMSG);
	assert_string_equal(err.message, "byte 129: expected at most 64 batches in each other, found another");
	assert_int_equal(wal_record_decode(bytes, nested(bytes, DEEP), WAL_RECORD_VARINT, &memory, &record, &err), -EBADMSG);
	for (size_t i = 0; i < TEST_COUNT(chain); i++)
		chain[i] = (struct wal_record){ .type = WAL_RECORD_BATCH, .records = &chain[i + 1], .record_count = i + 1 < TEST_COUNT(chain) };
	assert_int_equal(wal_record_encode(chain, &out, &err), -EINVAL);
	assert_non_null(strstr(err.message, "expected at most 64 batches in each other"));
	wal_buf_release(&out);
	wal_buf_release(&memory);
	free(bytes);
}

/* The original allocated what an inner length said before it looked whether it could be: 4 EiB, and the process was gone. */
static void weakness_10_a_wrong_inner_length_allocates_nothing(void **state)
{
	static const char *const hex[] = {
		"00 fd ff ff ff ff ff ff ff 3f 61",	      /* an id */
		"00 01 61 fd ff ff ff ff ff ff ff 3f 00",     /* a vector: four times that is over 2^64 */
		"00 01 61 00 01 fd ff ff ff ff ff ff ff ff",  /* metadata */
		"03 fd ff ff ff ff ff ff ff ff 00",	      /* a batch */
		"fa fd ff ff ff ff ff ff ff ff 00",	      /* opaque */
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(hex); i++) {
		struct wal_buf memory = { 0 };
		struct wal_record record;
		uint8_t bytes[BYTES_MAX];

		assert_int_equal(wal_record_decode(bytes, parse_hex(hex[i], bytes), WAL_RECORD_VARINT, &memory, &record, NULL), -EBADMSG);
		assert_null(memory.data);
	}
}

static void what_can_not_be_encoded(void **state)
{
	struct wal_record bad_id = { .type = WAL_RECORD_DELETE, .id = "a\xff", .id_size = 2 };
	struct wal_record batch = { .type = WAL_RECORD_BATCH, .records = &bad_id, .record_count = 1 };
	struct wal_record type = { .type = (enum wal_record_type)8 };
	struct wal_record large = { .type = WAL_RECORD_OPAQUE, .data = "", .data_size = (size_t)1 << 40 };
	struct wal_buf out = { 0 };
	struct wal_error err;

	(void)state;
	assert_int_equal(wal_record_encode(&batch, &out, &err), -EINVAL);
	assert_string_equal(err.message, "record 0: expected UTF-8 in the id, found byte 0xff at 1 of 2");
	assert_int_equal(wal_record_encode(&type, &out, &err), -EINVAL);
	assert_string_equal(err.message, "record: expected a type of enum wal_record_type, found 8");
	assert_int_equal(wal_record_encode(&large, &out, &err), -EFBIG);
	assert_int_equal(wal_record_decode("", (size_t)1 << 40, WAL_RECORD_VARINT, &out, &type, &err), -EFBIG);
	assert_int_equal(err.code, -EFBIG);
	wal_buf_release(&out);
}

/* Memory is used again, and grows when it has to. */
static void many_records_through_one_memory(void **state)
{
	struct wal_buf bytes = { 0 }, memory = { 0 };
	struct random random = { 7 };
	float values[300];
	char id[300];

	(void)state;
	for (unsigned i = 0; i < 2000; i++) {
		struct wal_record record = insert("", values, random_next(&random) % TEST_COUNT(values), i), again;

		random_fill(i, values, sizeof(values));
		memset(id, 'a' + (int)(i % 26), sizeof(id));
		record.id = id;
		record.id_size = random_next(&random) % sizeof(id);
		assert_int_equal(wal_record_encode(&record, &bytes, NULL), 0);
		assert_int_equal(wal_record_decode(bytes.data, bytes.size, WAL_RECORD_VARINT, &memory, &again, NULL), 0);
		expect_same(&record, &again);
	}
	assert_true(memory.capacity < 4096);
	wal_buf_release(&bytes);
	wal_buf_release(&memory);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_examples_of_the_format),
		cmocka_unit_test(numbers_take_their_shortest_form),
		cmocka_unit_test(opaque_records_and_nested_batches),
		cmocka_unit_test(bits_of_floats_are_kept),
		cmocka_unit_test(texts_end_with_a_nul_and_may_hold_one),
		cmocka_unit_test(bincode_1),
		cmocka_unit_test(refused_with_place_and_reason),
		cmocka_unit_test(longer_forms_of_numbers_are_read),
		cmocka_unit_test(weakness_10_a_deeply_nested_batch_is_refused_not_a_stack_overflow),
		cmocka_unit_test(weakness_10_a_wrong_inner_length_allocates_nothing),
		cmocka_unit_test(what_can_not_be_encoded),
		cmocka_unit_test(many_records_through_one_memory),
	};

	return TEST_RUN(tests);
}
