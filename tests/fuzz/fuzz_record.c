/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of journals, in both encodings: what decodes takes all bytes, keeps within its memory, and comes back the same; what does not says where.
 * The first byte chooses the encoding.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "wal_journal.h"

enum { MEMORY_FACTOR = 26 };

static void check_inside(const struct wal_buf *memory, const void *data, size_t size)
{
	uintptr_t begin = (uintptr_t)memory->data, at = (uintptr_t)data;

	CHECK(at >= begin && at + size <= begin + memory->size);
}

static void check_text(const struct wal_buf *memory, const char *text, size_t size)
{
	check_inside(memory, text, size + 1);
	CHECK(text[size] == 0);
}

static void check_vector(const struct wal_buf *memory, const struct wal_record *record)
{
	const struct wal_record_metadata *metadata = &record->metadata;

	check_inside(memory, record->vector.values, 4 * record->vector.count);
	CHECK((uintptr_t)record->vector.values % 4 == 0);
	CHECK(metadata->present || metadata->count == 0);
	for (size_t i = 0; i < metadata->count; i++) {
		check_text(memory, metadata->pairs[i].key, metadata->pairs[i].key_size);
		check_text(memory, metadata->pairs[i].value, metadata->pairs[i].value_size);
	}
}

/* What it points to lies in `memory`. */
static void check_record(const struct wal_buf *memory, const struct wal_record *record, unsigned depth)
{
	CHECK(depth <= WAL_RECORD_DEPTH_MAX && wal_record_type_name(record->type));
	if (record->type <= WAL_RECORD_DELETE)
		check_text(memory, record->id, record->id_size);
	if (record->type <= WAL_RECORD_UPDATE)
		check_vector(memory, record);
	if (record->type == WAL_RECORD_OPAQUE)
		check_text(memory, record->data, record->data_size);
	if (record->type == WAL_RECORD_BATCH) {
		check_inside(memory, record->records, record->record_count * sizeof(*record));
		for (size_t i = 0; i < record->record_count; i++)
			check_record(memory, &record->records[i], depth + 1);
	}
}

/* Encoded, decoded and encoded again: the same bytes, and no longer than what it was made of unless that was the other encoding or opaque. */
static void round_trip(const struct wal_record *record, const uint8_t *data, size_t size, enum wal_record_encoding encoding)
{
	struct wal_buf bytes = { 0 }, memory = { 0 }, again = { 0 };
	struct wal_record decoded;
	struct wal_error err;

	CHECK(wal_record_encode(record, &bytes, &err) == 0, "%s", err.message);
	CHECK(bytes.size <= size);
	if (encoding == WAL_RECORD_VARINT && bytes.size == size)
		CHECK(memcmp(bytes.data, data, size) == 0);
	CHECK(wal_record_decode(bytes.data, bytes.size, WAL_RECORD_VARINT, &memory, &decoded, &err) == 0, "%s", err.message);
	check_record(&memory, &decoded, 0);
	CHECK(wal_record_encode(&decoded, &again, NULL) == 0);
	CHECK(again.size == bytes.size && memcmp(again.data, bytes.data, bytes.size) == 0);
	wal_buf_release(&again);
	wal_buf_release(&memory);
	wal_buf_release(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum wal_record_encoding encoding;
	struct wal_buf memory = { 0 };
	struct wal_record record;
	struct wal_error err = { 0 };
	int r;

	if (!size)
		return 0;
	encoding = data[0] & 1 ? WAL_RECORD_FIXED : WAL_RECORD_VARINT;
	data++;
	size--;
	r = wal_record_decode(data, size, encoding, &memory, &record, &err);
	if (r) {
		CHECK(r == -EBADMSG && err.code == r && err.offset <= size && !memory.data, "%d", r);
		CHECK(strstr(err.message, "expected") && strstr(err.message, "found"), "%s", err.message);
	} else {
		CHECK(memory.size <= MEMORY_FACTOR * size + 64, "%zu of %zu", memory.size, size);
		check_record(&memory, &record, 0);
		round_trip(&record, data, size, encoding);
		/* A part of it is none, and neither is more. */
		CHECK(wal_record_decode(data, size - 1, encoding, &memory, &record, NULL) == -EBADMSG);
	}
	wal_buf_release(&memory);
	return 0;
}
