/* SPDX-License-Identifier: Apache-2.0 */
/* Every record that the original wrote decodes to what its manifest says, and comes back byte by byte. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "oxirs.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"
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

/* ---- As journals ---- */

struct expected {
	const struct oxirs_line *lines; /* of records alone: the number of one is its place */
	size_t count;
	uint64_t next;
};

static bool is_data(const struct oxirs_line *line)
{
	return strcmp(line->type, "Insert") == 0 || strcmp(line->type, "Update") == 0 || strcmp(line->type, "Delete") == 0;
}

static int expect_next(void *arg, uint64_t sequence, const struct wal_record *record)
{
	struct expected *expected = arg;
	char *json = oxirs_json(record);

	while (expected->next < expected->count && !(expected->lines[expected->next].recovered && is_data(&expected->lines[expected->next])))
		expected->next++;
	assert_true(sequence == expected->next++);
	assert_string_equal(json, expected->lines[sequence].json);
	free(json);
	return 0;
}

static size_t fill(struct wal_stream *stream, const char *name, struct oxirs_line *lines, size_t count)
{
	size_t records = 0, size;

	for (size_t i = 0; i < count; i++) {
		uint8_t *data = lines[i].readable ? oxirs_payload(name, &lines[i], &size) : NULL;
		uint64_t id;

		if (!data)
			continue;
		assert_int_equal(wal_stream_append(stream, data, size, 0, &id), 0);
		assert_int_equal(id, records);
		lines[records++] = lines[i];
		free(data);
	}
	return records;
}

static void expect_replay_as_recovered(const char *name)
{
	struct expected expected = { 0 };
	struct wal_journal *journal;
	struct wal_stream *stream;
	struct wal_store *store;
	struct oxirs_line *lines;
	struct tmpdir dir;
	size_t count;

	tmpdir_make(&dir, "journal");
	store = store_open_or_fail(dir.path, &(struct wal_options){ .sync = WAL_SYNC_ASYNC });
	stream = stream_open_or_fail(store, name);
	lines = oxirs_manifest(name, &count);
	expected = (struct expected){ lines, fill(stream, name, lines, count), 0 };
	assert_int_equal(wal_journal_open_stream(stream, NULL, &journal, NULL), 0);
	assert_int_equal(wal_journal_replay(journal, &(struct wal_replay){ .record = expect_next, .arg = &expected }, NULL, NULL), 0);
	for (; expected.next < expected.count; expected.next++)
		assert_false(lines[expected.next].recovered && is_data(&lines[expected.next]));
	free(lines);
	wal_journal_close(journal);
	wal_stream_close(stream);
	store_close_or_fail(store);
	tmpdir_remove(&dir);
}

/* Logs of one session, whose numbers are the ids they get, come back as the original recovers them. (Where there are transactions it does not heed them.) */
static void logs_replay_as_the_original_recovers_them(void **state)
{
	static const char *const names[] = { "clean-small", "rotated", "checkpoint-middle", "auto-checkpoint" };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(names); i++)
		expect_replay_as_recovered(names[i]);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_records_are_as_the_manifests_say),
		cmocka_unit_test(no_beginning_of_a_record_is_one),
		cmocka_unit_test(logs_replay_as_the_original_recovers_them),
	};

	if (!oxirs_or_skip())
		return 0;
	return TEST_RUN(tests);
}
