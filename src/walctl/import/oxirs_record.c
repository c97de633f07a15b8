/* SPDX-License-Identifier: Apache-2.0 */
#include "oxirs_record.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

const char *const oxirs_kind_names[OXIRS_KINDS] = {
	[OXIRS_INSERT] = "insert",     [OXIRS_UPDATE] = "update", [OXIRS_DELETE] = "delete", [OXIRS_BATCH] = "batch",
	[OXIRS_CHECKPOINT] = "checkpoint", [OXIRS_BEGIN] = "begin",   [OXIRS_COMMIT] = "commit", [OXIRS_ABORT] = "abort",
};

struct cursor {
	enum oxirs_encoding encoding;
	const uint8_t *p, *end;
	struct oxirs_sink *sink;
	const char *fault; /* NULL: none yet */
};

static bool fail(struct cursor *c, const char *fault)
{
	if (!c->fault)
		c->fault = fault;
	return false;
}

static size_t left(const struct cursor *c)
{
	return (size_t)(c->end - c->p);
}

static bool emit(struct cursor *c, const void *data, size_t size)
{
	struct oxirs_sink *sink = c->sink;

	if (!sink || !size)
		return true;
	if (size > sink->capacity - sink->size) {
		size_t capacity = sink->capacity ? sink->capacity : 4096;

		while (capacity - sink->size < size)
			capacity *= 2;
		uint8_t *grown = realloc(sink->data, capacity);
		if (!grown)
			return fail(c, "out of memory");
		sink->data = grown;
		sink->capacity = capacity;
	}
	memcpy(sink->data + sink->size, data, size);
	sink->size += size;
	return true;
}

static uint64_t get_le(const uint8_t *p, size_t size)
{
	uint64_t value = 0;

	while (size--)
		value = value << 8 | p[size];
	return value;
}

/* The shortest form, as every writer writes it. */
static bool emit_integer(struct cursor *c, uint64_t value)
{
	size_t size = value <= 250 ? 0 : value <= UINT16_MAX ? 2 : value <= UINT32_MAX ? 4 : 8;
	uint8_t bytes[9] = { size == 0 ? (uint8_t)value : size == 2 ? 251 : size == 4 ? 252 : 253 };

	for (size_t i = 0; i < size; i++)
		bytes[1 + i] = (uint8_t)(value >> (8 * i));
	return emit(c, bytes, 1 + size);
}

/* `fixed_size`: how many bytes it has in the fixed encoding, which is also its limit in the other. */
static bool get_integer(struct cursor *c, size_t fixed_size, uint64_t *ret)
{
	size_t size = fixed_size;
	uint64_t value;

	if (c->encoding == OXIRS_STANDARD) {
		if (!left(c))
			return fail(c, "it ends within a number");
		if (*c->p <= 250) {
			*ret = *c->p++;
			return emit_integer(c, *ret);
		}
		size = *c->p == 251 ? 2 : *c->p == 252 ? 4 : 8;
		if (*c->p > 253 || size > fixed_size)
			return fail(c, "a number of a form that is none");
		c->p++;
	}
	if (left(c) < size)
		return fail(c, "it ends within a number");
	value = get_le(c->p, size);
	c->p += size;
	*ret = value;
	return emit_integer(c, value);
}

static bool get_bytes(struct cursor *c, size_t size)
{
	c->p += size;
	return emit(c, c->p - size, size);
}

/* The bounds on the second byte exclude overlong forms, surrogates and what is above U+10FFFF. */
static size_t utf8_length(const uint8_t *p, size_t size)
{
	static const struct { uint8_t first, last, low, high; uint8_t length; } forms[] = {
		{ 0xc2, 0xdf, 0x80, 0xbf, 2 }, { 0xe0, 0xe0, 0xa0, 0xbf, 3 }, { 0xe1, 0xec, 0x80, 0xbf, 3 }, { 0xed, 0xed, 0x80, 0x9f, 3 },
		{ 0xee, 0xef, 0x80, 0xbf, 3 }, { 0xf0, 0xf0, 0x90, 0xbf, 4 }, { 0xf1, 0xf3, 0x80, 0xbf, 4 }, { 0xf4, 0xf4, 0x80, 0x8f, 4 },
	};

	if (*p < 0x80)
		return 1;
	for (size_t i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		if (*p < forms[i].first || *p > forms[i].last)
			continue;
		if (size < forms[i].length || p[1] < forms[i].low || p[1] > forms[i].high)
			return 0;
		for (size_t k = 2; k < forms[i].length; k++) {
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		}
		return forms[i].length;
	}
	return 0;
}

static bool is_utf8(const uint8_t *p, size_t size)
{
	while (size) {
		size_t length = utf8_length(p, size);

		if (!length)
			return false;
		p += length;
		size -= length;
	}
	return true;
}

static bool get_text(struct cursor *c)
{
	uint64_t size;

	if (!get_integer(c, 8, &size))
		return false;
	if (size > left(c))
		return fail(c, "a text longer than the record");
	if (!is_utf8(c->p, (size_t)size))
		return fail(c, "a text that is not UTF-8");
	return get_bytes(c, (size_t)size);
}

static bool get_vector(struct cursor *c)
{
	uint64_t count;

	if (!get_integer(c, 8, &count))
		return false;
	if (count > left(c) / 4)
		return fail(c, "a vector longer than the record");
	return get_bytes(c, (size_t)count * 4);
}

static bool get_metadata(struct cursor *c)
{
	uint64_t count;

	if (!left(c))
		return fail(c, "it ends before the metadata");
	if (*c->p > 1)
		return fail(c, "metadata that are neither there nor not");
	if (!get_bytes(c, 1))
		return false;
	if (!c->p[-1])
		return true;
	if (!get_integer(c, 8, &count))
		return false;
	/* each pair takes two bytes at least: so this ends with the record */
	for (; count; count--) {
		if (!get_text(c) || !get_text(c))
			return false;
	}
	return true;
}

static bool get_record(struct cursor *c, unsigned depth, struct oxirs_record *ret);

static bool get_records(struct cursor *c, unsigned depth)
{
	struct oxirs_record record;
	uint64_t count;

	if (!get_integer(c, 8, &count))
		return false;
	if (count && depth + 1 > OXIRS_DEPTH_MAX)
		return fail(c, "batches within batches, too deep");
	for (; count; count--) {
		if (!get_record(c, depth + 1, &record))
			return false;
	}
	return true;
}

static bool get_record(struct cursor *c, unsigned depth, struct oxirs_record *ret)
{
	uint64_t kind;
	bool ok = true;

	*ret = (struct oxirs_record){ 0 };
	if (!get_integer(c, 4, &kind))
		return false;
	if (kind >= OXIRS_KINDS)
		return fail(c, "a record of no known kind");
	ret->kind = (enum oxirs_kind)kind;
	switch (ret->kind) {
	case OXIRS_INSERT:
	case OXIRS_UPDATE:
		ok = get_text(c) && get_vector(c) && get_metadata(c);
		break;
	case OXIRS_DELETE:
		ok = get_text(c);
		break;
	case OXIRS_BATCH:
		ok = get_records(c, depth);
		break;
	case OXIRS_CHECKPOINT:
	case OXIRS_BEGIN:
	case OXIRS_COMMIT:
	case OXIRS_ABORT:
		ok = get_integer(c, 8, &ret->number);
		break;
	}
	return ok && get_integer(c, 8, &ret->time);
}

const char *oxirs_decode(enum oxirs_encoding encoding, const uint8_t *data, size_t size, struct oxirs_record *ret, size_t *ret_used, struct oxirs_sink *sink)
{
	struct cursor c = { .encoding = encoding, .p = data, .end = data + size, .sink = sink };
	struct oxirs_record record;

	*ret_used = 0;
	if (!size)
		return "no bytes";
	if (!get_record(&c, 0, &record))
		return c.fault;
	*ret_used = size - left(&c);
	if (left(&c))
		return "bytes behind its last field";
	*ret = record;
	return NULL;
}

void oxirs_sink_release(struct oxirs_sink *sink)
{
	free(sink->data);
	*sink = (struct oxirs_sink){ 0 };
}
