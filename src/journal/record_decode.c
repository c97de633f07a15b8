/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From bytes to a record, in two passes over them. The first checks everything and counts what memory is needed; only then is memory allocated, once,
 * and the second puts texts, vectors and nested records there. Both are the same code, so they cannot disagree about what the bytes mean.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "le.h"
#include "utf8.h"
#include "wal_journal.h"

/* What a pass has used of each kind: the first pass counts, the second takes from arrays of that size. */
struct used {
	size_t records;
	size_t pairs;
	size_t floats;
	size_t chars;
};

struct decoder {
	const uint8_t *data;
	size_t size;
	size_t at;
	enum wal_record_encoding encoding;
	struct wal_error *err;
	struct used used;
	/* second pass; NULL in the first */
	struct wal_record *records;
	struct wal_record_pair *pairs;
	float *floats;
	char *chars;
};

enum {
	RECORD_BYTES_MIN = 3, /* a type, a number or a length, a time */
	PAIR_BYTES_MIN = 2,
	FLOAT_BYTES = 4,
};

/* "byte 17: expected …, found …" */
__attribute__((format(printf, 3, 4))) static int bad(const struct decoder *d, size_t offset, const char *format, ...)
{
	va_list args;
	int used;

	if (!d->err)
		return -EBADMSG;
	*d->err = (struct wal_error){ .code = -EBADMSG, .offset = offset };
	used = snprintf(d->err->message, sizeof(d->err->message), "byte %zu: ", offset);
	va_start(args, format);
	vsnprintf(d->err->message + used, sizeof(d->err->message) - (size_t)used, format, args);
	va_end(args);
	return -EBADMSG;
}

static size_t left(const struct decoder *d)
{
	return d->size - d->at;
}

static int take_fixed(struct decoder *d, const char *what, size_t bytes, uint64_t *ret)
{
	if (left(d) < bytes)
		return bad(d, d->at, "expected %zu bytes for %s, found %zu", bytes, what, left(d));
	*ret = le_get(d->data + d->at, bytes);
	d->at += bytes;
	return 0;
}

/* `bytes` is 4 or 8: how large the number may be, and how long the fixed form is. */
static int take_number(struct decoder *d, const char *what, size_t bytes, uint64_t *ret)
{
	size_t start = d->at;
	uint8_t tag;

	if (d->encoding == WAL_RECORD_FIXED)
		return take_fixed(d, what, bytes, ret);
	if (!left(d))
		return bad(d, start, "expected %s, found the end", what);
	tag = d->data[d->at++];
	if (tag <= LE_TAG_PLAIN_MAX) {
		*ret = tag;
		return 0;
	}
	if (tag >= LE_TAG_U128 || (tag == LE_TAG_U64 && bytes < 8))
		return bad(d, start, "expected a number of at most %zu bytes for %s, found the tag 0x%02x", bytes, what, tag);
	return take_fixed(d, what, tag == LE_TAG_U16 ? 2 : tag == LE_TAG_U32 ? 4 : 8, ret);
}

/* A count of things that take at least `bytes_min` each. */
static int take_count(struct decoder *d, const char *what, size_t bytes_min, size_t *ret)
{
	size_t start = d->at;
	uint64_t count = 0; /* here and below: gcc 12 at -O3 does not see that what fails has a result */
	int r = take_number(d, what, 8, &count);

	if (r)
		return r;
	if (count > left(d) / bytes_min)
		return bad(d, start, "expected for %s at most %zu as %zu bytes follow, found %" PRIu64, what, left(d) / bytes_min, left(d), count);
	*ret = (size_t)count;
	return 0;
}

/* Bytes followed by a NUL of ours. */
static const char *keep_bytes(struct decoder *d, size_t size)
{
	char *p = d->chars ? d->chars + d->used.chars : NULL;

	if (p) {
		memcpy(p, d->data + d->at, size);
		p[size] = 0;
	}
	d->used.chars += size + 1;
	d->at += size;
	return p;
}

static int take_text(struct decoder *d, const char *what, const char *length_what, const char **ret_text, size_t *ret_size)
{
	size_t size = 0, valid;
	int r = take_count(d, length_what, 1, &size);

	if (r)
		return r;
	valid = d->chars ? size : utf8_valid_size(d->data + d->at, size);
	if (valid < size)
		return bad(d, d->at + valid, "expected UTF-8 in %s, found byte 0x%02x", what, d->data[d->at + valid]);
	*ret_text = keep_bytes(d, size);
	*ret_size = size;
	return 0;
}

static int take_vector(struct decoder *d, struct wal_record_vector *ret)
{
	size_t count;
	int r = take_count(d, "the number of a vector's elements", FLOAT_BYTES, &count);

	if (r)
		return r;
	*ret = (struct wal_record_vector){ d->floats ? d->floats + d->used.floats : NULL, count };
	if (d->floats)
		le_get_floats(d->floats + d->used.floats, d->data + d->at, count);
	d->used.floats += count;
	d->at += FLOAT_BYTES * count;
	return 0;
}

static int take_pair(struct decoder *d, struct wal_record_pair *ret)
{
	int r = take_text(d, "a metadata key", "the length of a metadata key", &ret->key, &ret->key_size);

	return r ? r : take_text(d, "a metadata value", "the length of a metadata value", &ret->value, &ret->value_size);
}

static int take_pairs(struct decoder *d, struct wal_record_metadata *ret)
{
	struct wal_record_pair scratch, *pairs = NULL;
	size_t count;
	int r = take_count(d, "the number of metadata pairs", PAIR_BYTES_MIN, &count);

	if (d->pairs)
		pairs = d->pairs + d->used.pairs;
	if (!r) {
		d->used.pairs += count;
		*ret = (struct wal_record_metadata){ true, pairs, count };
	}
	for (size_t i = 0; !r && i < count; i++)
		r = take_pair(d, pairs ? &pairs[i] : &scratch);
	return r;
}

static int take_metadata(struct decoder *d, struct wal_record_metadata *ret)
{
	size_t start = d->at;
	uint64_t present = 0;
	int r = take_fixed(d, "whether there is metadata", 1, &present);

	if (r)
		return r;
	if (present > 1)
		return bad(d, start, "expected 0 or 1 for whether there is metadata, found %" PRIu64, present);
	return present ? take_pairs(d, ret) : 0;
}

static int take_record(struct decoder *d, size_t depth, struct wal_record *ret);

static int take_records(struct decoder *d, size_t depth, struct wal_record *ret)
{
	struct wal_record scratch, *records = NULL;
	size_t start = d->at, count;
	int r;

	if (depth == WAL_RECORD_DEPTH_MAX)
		return bad(d, start, "expected at most %d batches in each other, found another", WAL_RECORD_DEPTH_MAX);
	r = take_count(d, "the number of a batch's records", RECORD_BYTES_MIN, &count);
	if (d->records)
		records = d->records + d->used.records;
	if (!r) {
		d->used.records += count;
		ret->records = records;
		ret->record_count = count;
	}
	for (size_t i = 0; !r && i < count; i++)
		r = take_record(d, depth + 1, records ? &records[i] : &scratch);
	return r;
}

static int take_opaque(struct decoder *d, struct wal_record *ret)
{
	int r = take_count(d, "the size of an opaque record", 1, &ret->data_size);

	if (!r)
		ret->data = keep_bytes(d, ret->data_size);
	return r;
}

static int take_data(struct decoder *d, size_t depth, struct wal_record *ret)
{
	int r;

	if (ret->type <= WAL_RECORD_DELETE) {
		r = take_text(d, "an id", "the length of an id", &ret->id, &ret->id_size);
		if (!r && ret->type != WAL_RECORD_DELETE)
			r = take_vector(d, &ret->vector);
		if (!r && ret->type != WAL_RECORD_DELETE)
			r = take_metadata(d, &ret->metadata);
	} else if (ret->type == WAL_RECORD_BATCH) {
		r = take_records(d, depth, ret);
	} else if (ret->type == WAL_RECORD_CHECKPOINT) {
		r = take_number(d, "the sequence number of a checkpoint", 8, &ret->sequence);
	} else if (ret->type == WAL_RECORD_OPAQUE) {
		r = take_opaque(d, ret);
	} else {
		r = take_number(d, "the number of a transaction", 8, &ret->transaction);
	}
	return r ? r : take_number(d, "a time", 8, &ret->time);
}

static int take_record(struct decoder *d, size_t depth, struct wal_record *ret)
{
	size_t start = d->at;
	uint64_t type = 0;
	int r = take_number(d, "the type of a record", 4, &type);

	if (r)
		return r;
	if (type > WAL_RECORD_ABORT && (type != WAL_RECORD_OPAQUE || d->encoding == WAL_RECORD_FIXED))
		return bad(d, start, "expected a type of record from 0 to %d%s, found %" PRIu64, WAL_RECORD_ABORT,
			   d->encoding == WAL_RECORD_FIXED ? "" : ", or 250", type);
	*ret = (struct wal_record){ .type = (enum wal_record_type)type };
	return take_data(d, depth, ret);
}

/* The arrays side by side, those with the widest alignment first. `d` is ready for the second pass then. */
static int allocate(struct decoder *d, struct wal_buf *memory)
{
	struct used need = d->used;
	size_t records = need.records * sizeof(*d->records), pairs = need.pairs * sizeof(*d->pairs), floats = need.floats * sizeof(*d->floats);
	size_t bytes = records + pairs + floats + need.chars;

	if (!memory->data || bytes > memory->capacity) {
		size_t capacity = bytes < 256 ? 256 : bytes;
		void *data = malloc(capacity);

		if (!data)
			return -ENOMEM;
		free(memory->data);
		memory->data = data;
		memory->capacity = capacity;
	}
	memory->size = bytes;
	d->records = memory->data;
	d->pairs = (void *)((char *)memory->data + records);
	d->floats = (void *)((char *)memory->data + records + pairs);
	d->chars = (char *)memory->data + records + pairs + floats;
	d->used = (struct used){ 0 };
	d->at = 0;
	return 0;
}

int wal_record_decode(const void *data, size_t size, enum wal_record_encoding encoding, struct wal_buf *memory, struct wal_record *ret_record,
		      struct wal_error *err)
{
	struct decoder d = { .data = data, .size = size, .encoding = encoding, .err = err };
	struct wal_record record;
	int r;

	if (size > WAL_RECORD_SIZE_MAX) {
		bad(&d, 0, "expected a record of at most %d bytes, found %zu", WAL_RECORD_SIZE_MAX, size);
		if (err)
			err->code = -EFBIG;
		return -EFBIG;
	}
	r = take_record(&d, 0, &record);
	if (!r && left(&d))
		r = bad(&d, d.at, "expected the end of the record, found %zu bytes more", left(&d));
	if (!r)
		r = allocate(&d, memory);
	if (!r)
		r = take_record(&d, 0, &record);
	if (!r)
		*ret_record = record;
	return r;
}
