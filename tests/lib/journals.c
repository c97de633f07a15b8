/* SPDX-License-Identifier: Apache-2.0 */
#include "journals.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "damage.h"
#include "test.h"

void journal_open(struct journal_test *t)
{
	struct wal_error err;

	t->store = store_open_or_fail(t->dir.path, &t->store_opts);
	if (wal_journal_open(t->store, "j", &t->opts, &t->journal, &err))
		fail_msg("%s", err.message);
}

void journal_setup(struct journal_test *t, const struct wal_options *store_opts, const struct wal_journal_options *opts)
{
	*t = (struct journal_test){ 0 };
	tmpdir_make(&t->dir, "journal");
	t->store_opts = store_opts ? *store_opts : (struct wal_options){ .sync = WAL_SYNC_ASYNC };
	if (opts)
		t->opts = *opts;
	journal_open(t);
}

void journal_close(struct journal_test *t)
{
	wal_journal_close(t->journal);
	store_close_or_fail(t->store);
	t->journal = NULL;
}

void journal_reopen(struct journal_test *t)
{
	journal_close(t);
	journal_open(t);
}

void journal_teardown(struct journal_test *t)
{
	if (t->journal)
		journal_close(t);
	tmpdir_remove(&t->dir);
}

struct wal_record insert_of(const char *id, uint64_t time)
{
	static const float values[] = { 1, 2, 3 };

	return (struct wal_record){ .type = WAL_RECORD_INSERT, .time = time, .id = id, .id_size = strlen(id), .vector = { values, 3 } };
}

struct wal_record delete_of(const char *id, uint64_t time)
{
	return (struct wal_record){ .type = WAL_RECORD_DELETE, .time = time, .id = id, .id_size = strlen(id) };
}

struct wal_record marker_of(enum wal_record_type type, uint64_t number, uint64_t time)
{
	struct wal_record record = { .type = type, .time = time };

	if (type == WAL_RECORD_CHECKPOINT)
		record.sequence = number;
	else
		record.transaction = number;
	return record;
}

uint64_t add(struct journal_test *t, const char *id)
{
	struct wal_record record = insert_of(id, 0);
	uint64_t sequence;

	assert_int_equal(wal_journal_append(t->journal, &record, 0, &sequence), 0);
	return sequence;
}

uint64_t put_bytes(struct journal_test *t, const void *data, size_t size)
{
	uint64_t id;

	assert_int_equal(wal_stream_append(wal_journal_stream(t->journal), data, size, 0, &id), 0);
	return id;
}

uint64_t put(struct journal_test *t, struct wal_record record)
{
	struct wal_buf buf = { 0 };
	uint64_t id;

	assert_int_equal(wal_record_encode(&record, &buf, NULL), 0);
	id = put_bytes(t, buf.data, buf.size);
	wal_buf_release(&buf);
	return id;
}

__attribute__((format(printf, 3, 4))) static void note(char *text, size_t size, const char *format, ...)
{
	size_t used = strlen(text);
	va_list args;
	int n;

	va_start(args, format);
	n = vsnprintf(text + used, size - used, format, args);
	va_end(args);
	assert_true(n >= 0 && (size_t)n < size - used);
}

static void note_record(struct given *given, const struct wal_record *record, const char *space)
{
	switch (record->type) {
	case WAL_RECORD_INSERT:
	case WAL_RECORD_UPDATE:
		note(given->records, sizeof(given->records), "%s%s", space, record->id);
		break;
	case WAL_RECORD_DELETE:
		note(given->records, sizeof(given->records), "%s-%s", space, record->id);
		break;
	case WAL_RECORD_BATCH:
		note(given->records, sizeof(given->records), "%s[", space);
		for (size_t i = 0; i < record->record_count; i++)
			note_record(given, &record->records[i], i ? " " : "");
		note(given->records, sizeof(given->records), "]");
		break;
	case WAL_RECORD_OPAQUE:
		note(given->records, sizeof(given->records), "%s?", space);
		break;
	default:
		fail_msg("a replay gave a marker: %s", wal_record_type_name(record->type));
	}
}

static int take_record(void *arg, uint64_t sequence, const struct wal_record *record)
{
	struct given *given = arg;

	if (given->count++ && !given->any_order)
		assert_true(sequence > given->last);
	given->last = sequence;
	note_record(given, record, given->count > 1 ? " " : "");
	return given->give_up;
}

static void take_problem(void *arg, const struct wal_replay_problem *problem)
{
	static const char *const kinds[] = { "damaged", "pruned", "undecodable", "misplaced", "incomplete" };
	struct given *given = arg;

	assert_non_null(strstr(problem->message, "expected"));
	assert_non_null(strstr(problem->message, "found"));
	note(given->problems, sizeof(given->problems), "%s%s %" PRIu64, given->problems[0] ? ", " : "", kinds[problem->kind], problem->sequence);
	if (problem->count != 1)
		note(given->problems, sizeof(given->problems), "+%" PRIu64, problem->count);
}

int replay_with(struct journal_test *t, struct wal_replay replay, struct given *ret)
{
	*ret = (struct given){ .give_up = ret->give_up, .any_order = ret->any_order };
	replay.record = take_record;
	replay.problem = take_problem;
	replay.arg = ret;
	return wal_journal_replay(t->journal, &replay, &ret->result, &ret->err);
}

void expect_replay(struct journal_test *t, const char *records)
{
	struct given given = { 0 };

	if (replay_with(t, (struct wal_replay){ 0 }, &given))
		fail_msg("%s", given.err.message);
	assert_string_equal(given.records, records);
	assert_string_equal(given.problems, "");
	assert_true(given.result.records == given.count);
}

void expect_skipping(struct journal_test *t, const char *records, const char *problems)
{
	struct given given = { 0 };

	assert_int_equal(replay_with(t, (struct wal_replay){ .policy = WAL_REPLAY_SKIP }, &given), 0);
	assert_string_equal(given.records, records);
	assert_string_equal(given.problems, problems);
}

void damage_payload(struct journal_test *t, uint64_t first_id, const char *text)
{
	char path[PATH_MAX];
	size_t size;
	uint8_t *data = file_read(segment_path(t->dir.path, "j", first_id, ".wal", path), &size);
	uint8_t *at = memmem(data, size, text, strlen(text));

	assert_non_null(at);
	damage_flip_bit(path, (uint64_t)(at - data), 0);
	free(data);
}
