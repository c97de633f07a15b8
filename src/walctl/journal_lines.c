/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "journal_lines.h"
#include "table.h"
#include "text.h"

enum { UNDECODABLE_BYTES_SHOWN = 64 };

void journal_lines_release(struct journal_lines *lines)
{
	wal_buf_release(&lines->memory);
}

static void put_vector(struct json *json, const struct wal_record_vector *vector)
{
	json_open(json, "vector", '[');
	for (size_t i = 0; i < vector->count; i++)
		json_float(json, vector->values[i]);
	json_close(json, ']');
}

static void put_metadata(struct json *json, const struct wal_record_metadata *metadata)
{
	if (!metadata->present)
		return;
	json_open(json, "metadata", '{');
	for (size_t i = 0; i < metadata->count; i++) {
		const struct wal_record_pair *pair = &metadata->pairs[i];

		json_sized(json, pair->key, pair->key_size, pair->value, pair->value_size);
	}
	json_close(json, '}');
}

/* A NUL follows the bytes. */
static void put_data(struct json *json, const char *data, size_t size)
{
	size_t length = 1;

	for (size_t i = 0; i < size && length; i += length)
		length = text_utf8_length(data + i);
	if (length)
		json_sized(json, "data", 4, data, size);
	else
		json_hex(json, "data_hex", data, size);
}

static void put_record(struct json *json, const struct wal_record *record);

static void put_records(struct json *json, const struct wal_record *records, size_t count)
{
	json_open(json, "records", '[');
	for (size_t i = 0; i < count; i++) {
		json_open(json, NULL, '{');
		put_record(json, &records[i]);
		json_close(json, '}');
	}
	json_close(json, ']');
}

static void put_record(struct json *json, const struct wal_record *record)
{
	json_text(json, "type", wal_record_type_name(record->type));
	switch (record->type) {
	case WAL_RECORD_INSERT:
	case WAL_RECORD_UPDATE:
		json_sized(json, "id", 2, record->id, record->id_size);
		put_vector(json, &record->vector);
		put_metadata(json, &record->metadata);
		break;
	case WAL_RECORD_DELETE:
		json_sized(json, "id", 2, record->id, record->id_size);
		break;
	case WAL_RECORD_BATCH:
		put_records(json, record->records, record->record_count);
		break;
	case WAL_RECORD_CHECKPOINT:
		json_uint(json, "covers", record->sequence);
		break;
	case WAL_RECORD_BEGIN:
	case WAL_RECORD_COMMIT:
	case WAL_RECORD_ABORT:
		json_uint(json, "transaction", record->transaction);
		break;
	case WAL_RECORD_OPAQUE:
		put_data(json, record->data, record->data_size);
		break;
	}
	json_uint(json, "time", record->time);
}

static void put_undecodable(struct json *json, const struct wal_entry *entry, const char *why)
{
	json_text(json, "type", "undecodable");
	json_text(json, "error", why);
	json_uint(json, "size", entry->size);
	if (entry->data)
		json_hex(json, "data_hex", entry->data, entry->size < UNDECODABLE_BYTES_SHOWN ? entry->size : UNDECODABLE_BYTES_SHOWN);
}

int journal_lines_entry(struct journal_lines *lines, const struct wal_entry *entry)
{
	struct json json = { .file = lines->out, .one_line = true };
	char appended[TEXT_TIME_MAX];
	struct wal_record record;
	struct wal_error why;
	int r = wal_record_decode(entry->data, entry->size, WAL_RECORD_VARINT, &lines->memory, &record, &why);

	if (r && r != -EBADMSG && r != -EFBIG)
		return r;
	json_open(&json, NULL, '{');
	json_uint(&json, "sequence", entry->id);
	json_text(&json, "appended", text_time(appended, entry->time_ns, 9));
	if (r) {
		put_undecodable(&json, entry, why.message);
		lines->undecodable++;
	} else {
		put_record(&json, &record);
	}
	json_close(&json, '}');
	return 0;
}

void journal_lines_missing(struct journal_lines *lines, uint64_t id, uint64_t count, const char *type)
{
	struct json json = { .file = lines->out, .one_line = true };

	json_open(&json, NULL, '{');
	json_uint(&json, "sequence", id);
	json_text(&json, "type", type);
	json_uint(&json, "entries", count);
	json_close(&json, '}');
}
