/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record as bytes:
 *
 *	number		0 … 250: that byte; fb and 2 bytes, fc and 4, fd and 8, little-endian; the shortest
 *	text		number of bytes, bytes
 *	vector		number of elements, 4 bytes each
 *	metadata	00, or 01, number of pairs, for each a text and a text
 *
 *	0, 1  insert, update	text id, vector, metadata, number time
 *	2     delete		text id, number time
 *	3     batch		number of records, records, number time
 *	4     checkpoint	number sequence, number time
 *	5, 6, 7  begin, commit, abort	number transaction, number time
 *	250   opaque		number of bytes, bytes, number time
 *
 * each after its type as a number. There is no length and no checksum: an entry of the engine holds just one record.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "le.h"
#include "utf8.h"
#include "wal_journal.h"

struct encoder {
	struct wal_buf *buf;
	struct wal_error *err;
	size_t path[WAL_RECORD_DEPTH_MAX]; /* which record of each batch on the way, for messages */
	size_t depth;
	int result; /* of the first failure; then nothing is written any more */
};

__attribute__((format(printf, 3, 4))) static void fail(struct encoder *e, int result, const char *format, ...)
{
	char where[160] = "record";
	size_t used = strlen(where);
	va_list args;

	if (e->result)
		return;
	e->result = result;
	if (!e->err)
		return;
	*e->err = (struct wal_error){ .code = result, .offset = e->buf->size };
	for (size_t i = 0; i < e->depth && used < sizeof(where) - 32; i++)
		used += (size_t)snprintf(where + used, sizeof(where) - used, "%s%zu", i ? "." : " ", e->path[i]);
	used = (size_t)snprintf(e->err->message, sizeof(e->err->message), "%s: ", where);
	va_start(args, format);
	vsnprintf(e->err->message + used, sizeof(e->err->message) - used, format, args);
	va_end(args);
}

/* Room for `size` more bytes, which then count as in use; NULL after a failure. */
static uint8_t *extend(struct encoder *e, size_t size)
{
	struct wal_buf *buf = e->buf;

	if (e->result)
		return NULL;
	if (size > WAL_RECORD_SIZE_MAX - buf->size) {
		fail(e, -EFBIG, "expected an encoding of at most %d bytes, found more", WAL_RECORD_SIZE_MAX);
		return NULL;
	}
	if (size > buf->capacity - buf->size) {
		size_t capacity = 2 * (buf->size + size) + 64;
		void *data = realloc(buf->data, capacity);

		if (!data) {
			fail(e, -ENOMEM, "no memory for %zu bytes", capacity);
			return NULL;
		}
		buf->data = data;
		buf->capacity = capacity;
	}
	buf->size += size;
	return (uint8_t *)buf->data + buf->size - size;
}

static void put_number(struct encoder *e, uint64_t v)
{
	uint8_t bytes[LE_NUMBER_BYTES_MAX];
	size_t size = le_put_number(bytes, v);
	uint8_t *p = extend(e, size);

	if (p)
		memcpy(p, bytes, size);
}

static void put_bytes(struct encoder *e, const void *data, size_t size)
{
	uint8_t *p;

	put_number(e, size);
	p = extend(e, size);
	if (p && size)
		memcpy(p, data, size);
}

static void put_text(struct encoder *e, const char *what, const char *text, size_t size)
{
	size_t valid = size <= WAL_RECORD_SIZE_MAX ? utf8_valid_size(text, size) : size;

	if (valid < size)
		fail(e, -EINVAL, "expected UTF-8 in %s, found byte 0x%02x at %zu of %zu", what, (uint8_t)text[valid], valid, size);
	put_bytes(e, text, size);
}

static void put_vector(struct encoder *e, const struct wal_record_vector *vector)
{
	uint8_t *p;

	put_number(e, vector->count);
	p = extend(e, vector->count <= WAL_RECORD_SIZE_MAX ? 4 * vector->count : vector->count);
	if (p)
		le_put_floats(p, vector->values, vector->count);
}

static void put_metadata(struct encoder *e, const struct wal_record_metadata *metadata)
{
	uint8_t *p = extend(e, 1);

	if (!p)
		return;
	*p = metadata->present;
	if (!metadata->present)
		return;
	put_number(e, metadata->count);
	for (size_t i = 0; i < metadata->count && !e->result; i++) {
		put_text(e, "a metadata key", metadata->pairs[i].key, metadata->pairs[i].key_size);
		put_text(e, "a metadata value", metadata->pairs[i].value, metadata->pairs[i].value_size);
	}
}

static void put_record(struct encoder *e, const struct wal_record *record);

static void put_records(struct encoder *e, const struct wal_record *records, size_t count)
{
	put_number(e, count);
	if (e->depth == WAL_RECORD_DEPTH_MAX) {
		fail(e, -EINVAL, "expected at most %d batches in each other, found more", WAL_RECORD_DEPTH_MAX);
		return;
	}
	e->depth++;
	for (size_t i = 0; i < count && !e->result; i++) {
		e->path[e->depth - 1] = i;
		put_record(e, &records[i]);
	}
	e->depth--;
}

static void put_record(struct encoder *e, const struct wal_record *record)
{
	put_number(e, (uint64_t)record->type);
	switch (record->type) {
	case WAL_RECORD_INSERT:
	case WAL_RECORD_UPDATE:
		put_text(e, "the id", record->id, record->id_size);
		put_vector(e, &record->vector);
		put_metadata(e, &record->metadata);
		break;
	case WAL_RECORD_DELETE:
		put_text(e, "the id", record->id, record->id_size);
		break;
	case WAL_RECORD_BATCH:
		put_records(e, record->records, record->record_count);
		break;
	case WAL_RECORD_CHECKPOINT:
		put_number(e, record->sequence);
		break;
	case WAL_RECORD_BEGIN:
	case WAL_RECORD_COMMIT:
	case WAL_RECORD_ABORT:
		put_number(e, record->transaction);
		break;
	case WAL_RECORD_OPAQUE:
		put_bytes(e, record->data, record->data_size);
		break;
	default:
		fail(e, -EINVAL, "expected a type of enum wal_record_type, found %d", (int)record->type);
	}
	put_number(e, record->time);
}

int wal_record_encode(const struct wal_record *record, struct wal_buf *buf, struct wal_error *err)
{
	struct encoder e = { .buf = buf, .err = err };

	buf->size = 0;
	put_record(&e, record);
	return e.result;
}
