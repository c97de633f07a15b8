/* SPDX-License-Identifier: Apache-2.0 */
#include "ckptend.h"

#include <string.h>

#include "bytes.h"
#include "ckptrecord.h"

enum {
	WINDOW_BYTES = 4096,
	FIND_COST = 4 * WINDOW_BYTES, /* for going elsewhere and back */
	STEP_COST = 16,
	BUDGET_TIMES = 32,
	BUDGET_MIN = 16 << 20,
	CUT_SHORT_MAX = 1 << 20,
	ID_OFFSET = RECORD_HEADER + 3,
	BEHIND_ID_MIN = 10, /* the time, and a number of shards */
	RECORD_MIN = RECORD_HEADER + RECORD_PAYLOAD_MIN,
	SPENT = 1, /* a result: the budget has come to its end */
};

void ckptend_init(struct ckptend *e, struct ckptbytes *bytes)
{
	*e = (struct ckptend){ .bytes = bytes, .window = { .capacity = WINDOW_BYTES }, .budget = BUDGET_MIN + BUDGET_TIMES * bytes->size };
}

static int spend(struct ckptend *e, uint64_t bytes)
{
	e->budget = bytes < e->budget ? e->budget - bytes : 0;
	return e->budget > 0 ? 0 : SPENT;
}

static int look(struct ckptend *e, uint64_t offset, size_t size, const uint8_t **ret_data)
{
	return ckptbytes_peek(e->bytes, &e->window, offset, size, ret_data);
}

/* ---- What a record says of itself ---- */

struct shape {
	unsigned version;
	bool magic;
	uint32_t crc;
	uint64_t claimed; /* 0: it is beyond the file's end, or no length that a record has */
	bool cut_claimed; /* it is beyond, and not too large */
	uint64_t id_end;
	uint64_t walked; /* 0: there is none */
	bool cut_walked; /* it is beyond the file's end */
};

/* Steps over `count` streams from *at on. *ret_whole: all of them end before the file does. */
static int walk_streams(struct ckptend *e, uint64_t *at, uint32_t count, bool *ret_whole)
{
	const uint8_t *data;
	int result = 0;

	*ret_whole = false;
	for (; count > 0 && *at < e->bytes->size; count--) {
		result = look(e, *at, 1, &data);
		if (result == 0)
			result = data[0] > 0 ? spend(e, STEP_COST) : 0;
		if (result != 0 || data[0] == 0)
			return result;
		*at += 1 + (uint64_t)data[0] + 8;
	}
	*ret_whole = count == 0 && *at <= e->bytes->size;
	return 0;
}

static int walk(struct ckptend *e, struct shape *sh)
{
	size_t count_bytes = sh->version == 1 ? 2 : 4;
	uint64_t at = sh->id_end + 8 + count_bytes, size = e->bytes->size;
	const uint8_t *data;
	bool whole;

	if (at > size) {
		sh->cut_walked = true;
		return 0;
	}
	int result = look(e, at - count_bytes, count_bytes, &data);
	if (result < 0)
		return result;
	uint32_t count = sh->version == 1 ? get_le16(data) : get_le32(data);
	if (sh->version == 1) {
		at += 8 * (uint64_t)count;
		whole = count > 0 && at <= size;
		sh->cut_walked = at > size;
	} else {
		result = walk_streams(e, &at, count, &whole);
		sh->cut_walked = !whole && at >= size;
	}
	sh->walked = whole ? at : 0;
	return result;
}

static int read_shape(struct ckptend *e, uint64_t pos, struct shape *ret)
{
	uint64_t size = e->bytes->size;
	const uint8_t *data;

	*ret = (struct shape){ 0 };
	if (size - pos < ID_OFFSET)
		return 0;
	int result = look(e, pos, ID_OFFSET, &data);
	if (result < 0)
		return result;
	uint32_t length = get_le32(data + 8);
	uint64_t end = pos + RECORD_HEADER + length;
	ret->magic = memcmp(data, RECORD_MAGIC, RECORD_MAGIC_BYTES) == 0;
	ret->crc = get_le32(data + 4);
	if (length >= RECORD_PAYLOAD_MIN && length <= RECORD_PAYLOAD_MAX && end <= size)
		ret->claimed = end;
	ret->cut_claimed = ret->magic && end > size && length <= CUT_SHORT_MAX;
	unsigned id_size = get_le16(data + RECORD_HEADER + 1);
	ret->version = data[RECORD_HEADER];
	if ((ret->version != 1 && ret->version != 2) || id_size == 0)
		return 0;
	ret->id_end = pos + ID_OFFSET + id_size;
	return walk(e, ret);
}

/* ---- Whether that can be ---- */

/* *ret_end: of the record at `pos` if its checksum holds, else 0. */
static int find_holding(struct ckptend *e, uint64_t pos, uint64_t *ret_end)
{
	uint32_t crc, size, computed;
	const uint8_t *data;

	*ret_end = 0;
	int result = look(e, pos, RECORD_HEADER, &data);
	if (result < 0 || !record_header(data, &crc, &size) || size > e->bytes->size - pos - RECORD_HEADER)
		return result;
	result = spend(e, 2 * e->bytes->stride);
	if (result == 0)
		result = ckptbytes_crc(e->bytes, &e->window, pos + RECORD_HEADER, size, &computed);
	if (result == 0 && computed == crc)
		*ret_end = pos + RECORD_HEADER + size;
	return result;
}

/* Whether the file ends at `pos`, or what is there looks like the beginning of a record. */
static int begins(struct ckptend *e, uint64_t pos, bool *ret)
{
	uint64_t left = e->bytes->size - pos;
	const uint8_t *data;
	uint32_t crc, size;

	*ret = true;
	if (left == 0)
		return 0;
	int result = look(e, pos, left < RECORD_HEADER ? (size_t)left : RECORD_HEADER, &data);
	if (result == 0)
		*ret = left >= RECORD_HEADER ? record_header(data, &crc, &size)
					     : memcmp(data, RECORD_MAGIC, left < RECORD_MAGIC_BYTES ? (size_t)left : RECORD_MAGIC_BYTES) == 0;
	return result;
}

/* Whether all from `pos` on are zeros. The file is looked at for that once. */
static int is_zero_from(struct ckptend *e, uint64_t pos, bool *ret)
{
	uint64_t at = e->bytes->size;
	bool found = false;

	while (!e->zeros_known && !found && at > 0) {
		size_t n = at < WINDOW_BYTES ? (size_t)at : WINDOW_BYTES;
		const uint8_t *data;
		int result = look(e, at - n, n, &data);

		if (result < 0)
			return result;
		for (; n > 0 && !found; n--) {
			found = data[n - 1] != 0;
			at -= !found;
		}
	}
	if (!e->zeros_known)
		e->zeros_from = at;
	e->zeros_known = true;
	*ret = pos >= e->zeros_from;
	return 0;
}

struct claim {
	uint64_t pos;
	uint64_t end;
	const struct shape *shape;
	bool id_known; /* its end is relied upon */
	bool cut;
};

/* By a record from `from` to `to` that holds. */
static int is_refuted_by(struct ckptend *e, const struct claim *c, uint64_t from, uint64_t to, bool *ret)
{
	*ret = c->id_known && (from < c->pos + ID_OFFSET || to > c->shape->id_end);
	if (*ret || c->cut) {
		bool near = c->shape->version == 2 && from < c->pos + RECORD_MIN;

		return *ret || near ? 0 : begins(e, to, ret);
	}
	*ret = to > c->end - BEHIND_ID_MIN;
	return 0;
}

static int is_refuted(struct ckptend *e, const struct claim *c, bool *ret)
{
	uint64_t at = c->pos + 1, hit, end;

	*ret = false;
	for (;;) {
		int result = ckptbytes_find_magic(e->bytes, &e->window, at, c->end, &hit);

		if (result < 0 || hit == c->end)
			return result < 0 ? result : spend(e, c->end - at);
		result = spend(e, hit - at + STEP_COST);
		if (result == 0)
			result = find_holding(e, hit, &end);
		if (result == 0 && end > 0)
			result = is_refuted_by(e, c, hit, end, ret);
		if (result != 0 || *ret)
			return result;
		at = end > 0 ? end : hit + 1;
		if (at >= c->end)
			return 0;
	}
}

/* ---- The end ---- */

static int is_proven(struct ckptend *e, uint64_t pos, uint64_t end, uint32_t crc, bool *ret)
{
	uint32_t computed;

	*ret = false;
	if (end == 0)
		return 0;
	int result = spend(e, 2 * e->bytes->stride);
	if (result == 0)
		result = ckptbytes_crc(e->bytes, &e->window, pos + RECORD_HEADER, end - pos - RECORD_HEADER, &computed);
	*ret = result == 0 && computed == crc;
	return result;
}

static int find_proven(struct ckptend *e, uint64_t pos, const struct shape *sh, uint64_t *ret_end)
{
	bool proven;
	int result = is_proven(e, pos, sh->walked, sh->crc, &proven);

	*ret_end = proven ? sh->walked : 0;
	if (result != 0 || proven || sh->magic)
		return result;
	result = is_proven(e, pos, sh->claimed, sh->crc, &proven);
	*ret_end = proven ? sh->claimed : 0;
	return result;
}

static int try_claim(struct ckptend *e, const struct claim *c, bool anywhere, uint64_t *ret_end)
{
	bool good = anywhere, refuted;
	int result = c->end == 0 || anywhere ? 0 : begins(e, c->end, &good);

	if (result < 0 || c->end == 0 || !good)
		return result;
	result = is_refuted(e, c, &refuted);
	if (result == 0 && !refuted)
		*ret_end = c->end;
	return result;
}

static int find(struct ckptend *e, uint64_t pos, uint64_t *ret_end)
{
	struct shape sh;
	int result = spend(e, FIND_COST);

	if (result == 0)
		result = read_shape(e, pos, &sh);
	if (result == 0)
		result = find_proven(e, pos, &sh, ret_end);
	if (result != 0 || *ret_end > 0)
		return result;
	struct claim walked = { .pos = pos, .end = sh.walked, .shape = &sh, .id_known = true }, claimed = { .pos = pos, .end = sh.claimed, .shape = &sh };
	struct claim cut = { .pos = pos, .end = e->bytes->size, .shape = &sh, .id_known = true, .cut = true };
	if (sh.cut_claimed && sh.cut_walked)
		return try_claim(e, &cut, true, ret_end);
	if (sh.walked > 0 && sh.walked == sh.claimed)
		return try_claim(e, &walked, true, ret_end);
	bool walked_first = sh.walked < sh.claimed;
	result = try_claim(e, walked_first ? &walked : &claimed, false, ret_end);
	if (result == 0 && *ret_end == 0)
		result = try_claim(e, walked_first ? &claimed : &walked, false, ret_end);
	if (result != 0 || *ret_end > 0 || sh.claimed == 0 || sh.id_end == 0)
		return result;
	bool zeros;
	result = is_zero_from(e, sh.claimed, &zeros);
	claimed.id_known = true;
	return result == 0 && zeros ? try_claim(e, &claimed, true, ret_end) : result;
}

int ckptend_find(struct ckptend *e, uint64_t pos, uint64_t *ret_end)
{
	*ret_end = 0;
	int result = find(e, pos, ret_end);

	/* Then it is not known. */
	return result == SPENT ? 0 : result;
}
