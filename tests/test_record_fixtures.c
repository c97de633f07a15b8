/* SPDX-License-Identifier: Apache-2.0 */
/* Every record that the original wrote decodes to what its manifest says, and comes back byte by byte. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "oxirs.h"
#include "test.h"
#include "wal_journal.h"

static void expect_record(const char *name, const struct oxirs_line *line, const uint8_t *data, size_t size)
{
	enum wal_record_encoding encoding = strcmp(name, "legacy-bincode1") == 0 ? WAL_RECORD_FIXED : WAL_RECORD_VARINT;
	struct wal_buf memory = { 0 }, again = { 0 };
	struct wal_record record;
	struct wal_error err;
	char *json;

	if (wal_record_decode(data, size, encoding, &memory, &record, &err))
		fail_msg("%s: %s at %zu: %s", name, line->file, (size_t)line->offset, err.message);
	json = oxirs_json(&record);
	assert_string_equal(json, line->json);
	assert_int_equal(wal_record_encode(&record, &again, NULL), 0);
	if (encoding == WAL_RECORD_VARINT) {
		assert_int_equal(again.size, size);
		assert_memory_equal(again.data, data, size);
	}
	free(json);
	wal_buf_release(&again);
	wal_buf_release(&memory);
}

static void expect_refused(const struct oxirs_line *line, const uint8_t *data, size_t size)
{
	struct wal_buf memory = { 0 };
	struct wal_record record;
	struct wal_error err;

	assert_int_equal(wal_record_decode(data, size, WAL_RECORD_VARINT, &memory, &record, &err), -EBADMSG);
	assert_non_null(strstr(err.message, "expected"));
	assert_non_null(strstr(err.message, "found"));
	assert_true(err.offset <= size);
	assert_null(memory.data);
	(void)line;
}

/* A record that the original read with a byte too many is none here: a decode counts only if it takes everything. */
static void expect_line(const char *name, const struct oxirs_line *line, size_t *ret_records)
{
	size_t size;
	uint8_t *data = oxirs_payload(name, line, &size);

	if (line->readable && strcmp(name, "corrupt-length-off") == 0 && line->offset == 343) {
		expect_refused(line, data, size);
		expect_record(name, line, data, size - 1);
	} else if (line->readable) {
		assert_int_equal(size, line->size);
		assert_int_equal(crc32(0, data, (unsigned)size), line->crc);
		expect_record(name, line, data, size);
		(*ret_records)++;
	} else if (strcmp(line->type, "UNDECODABLE") == 0) {
		expect_refused(line, data, size);
	}
	free(data);
}

static void all_records_are_as_the_manifests_say(void **state)
{
	char **names = oxirs_names();
	size_t records = 0;

	(void)state;
	for (size_t i = 0; names[i]; i++) {
		size_t count;
		struct oxirs_line *lines = oxirs_manifest(names[i], &count);

		for (size_t k = 0; k < count; k++)
			expect_line(names[i], &lines[k], &records);
		free(lines);
	}
	free(names);
	print_message("# %zu records\n", records);
	assert_true(records > 200);
}

/* What is cut off anywhere is no record: so a torn tail can't be taken for a shorter one. */
static void no_beginning_of_a_record_is_one(void **state)
{
	struct oxirs_line *lines;
	size_t count, size;

	(void)state;
	lines = oxirs_manifest("all-variants", &count);
	for (size_t i = 0; i < count; i++) {
		uint8_t *data = oxirs_payload("all-variants", &lines[i], &size);

		for (size_t n = 0; lines[i].readable && n < size; n++)
			expect_refused(&lines[i], data, n);
		free(data);
	}
	free(lines);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_records_are_as_the_manifests_say),
		cmocka_unit_test(no_beginning_of_a_record_is_one),
	};

	if (!oxirs_or_skip())
		return 0;
	return TEST_RUN(tests);
}
