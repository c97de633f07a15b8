/* SPDX-License-Identifier: Apache-2.0 */
#include "ckptrecord.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "names.h"

enum {
	HEADER_OFF_CRC = 4,
	HEADER_OFF_SIZE = 8,
	VERSION_SHARDS = 1,
	VERSION_STREAMS = 2,
	OFF_ID_SIZE = 1,
	OFF_ID = 3,
	/* behind the id */
	REST_OFF_COUNT = 8,
	REST_OFF_SHARDS = 10,
	REST_OFF_STREAMS = 12,
	NEXT_ID_BYTES = 8,
	SHARDS_MAX = 65535,
};

_Static_assert(OFF_ID + 1 + REST_OFF_STREAMS == RECORD_PAYLOAD_MIN, "the shortest payload is one of version 2");

/* ---- Reading ---- */

bool record_header(const uint8_t *data, uint32_t *ret_crc, uint32_t *ret_size)
{
	uint32_t size = get_le32(data + HEADER_OFF_SIZE);

	if (memcmp(data, RECORD_MAGIC, RECORD_MAGIC_BYTES) != 0 || size < RECORD_PAYLOAD_MIN || size > RECORD_PAYLOAD_MAX)
		return false;
	*ret_crc = get_le32(data + HEADER_OFF_CRC);
	*ret_size = size;
	return true;
}

void record_put_header(uint8_t *data, uint32_t crc, uint32_t size)
{
	memcpy(data, RECORD_MAGIC, RECORD_MAGIC_BYTES);
	put_le32(data + HEADER_OFF_CRC, crc);
	put_le32(data + HEADER_OFF_SIZE, size);
}

void record_next_cut(const uint8_t *payload, const struct record *record, uint32_t *at, struct record_cut *ret)
{
	const uint8_t *p = payload + *at;

	*ret = (struct record_cut){ 0 };
	if (record->version == VERSION_STREAMS) {
		ret->name = (const char *)p + 1;
		ret->name_size = p[0];
		p += 1 + ret->name_size;
	}
	ret->next_id = get_le64(p);
	*at = (uint32_t)(p + NEXT_ID_BYTES - payload);
}

static int compare(const void *a, size_t a_size, const void *b, size_t b_size)
{
	int order = memcmp(a, b, a_size < b_size ? a_size : b_size);

	return order ? order : (a_size > b_size) - (a_size < b_size);
}

/* Checks the cuts of version 2 and finds where they end. */
static const char *parse_streams(const uint8_t *payload, size_t size, struct record *r)
{
	struct record_cut cut, last = { .name = "" };
	uint32_t at = r->cuts;

	for (uint32_t i = 0; i < r->count; i++, last = cut) {
		if (at >= size || size - at < 1 + (size_t)payload[at] + NEXT_ID_BYTES)
			return "streams beyond its end";
		record_next_cut(payload, r, &at, &cut);
		if (memchr(cut.name, '\0', cut.name_size))
			return "a stream's name with a NUL in it";
		/* Neither empty nor one of them twice. */
		if (compare(last.name, last.name_size, cut.name, cut.name_size) >= 0)
			return "streams that are not sorted";
	}
	r->end = at;
	return NULL;
}

const char *record_parse(const uint8_t *payload, size_t size, struct record *ret)
{
	struct record r = { 0 };

	if (size < RECORD_PAYLOAD_MIN)
		return "too short a payload";
	r.version = payload[0];
	r.id_size = get_le16(payload + OFF_ID_SIZE);
	r.id = payload + OFF_ID;
	if (r.version != VERSION_SHARDS && r.version != VERSION_STREAMS)
		return "an unknown version";
	if (r.id_size == 0)
		return "an empty id";
	uint32_t rest = OFF_ID + (uint32_t)r.id_size;
	r.cuts = rest + (r.version == VERSION_SHARDS ? REST_OFF_SHARDS : REST_OFF_STREAMS);
	if (r.cuts > size)
		return "an id beyond its end";
	r.time_ns = (int64_t)get_le64(payload + rest);
	if (r.version == VERSION_STREAMS) {
		r.count = get_le32(payload + rest + REST_OFF_COUNT);
		const char *fault = parse_streams(payload, size, &r);
		if (fault)
			return fault;
	} else {
		r.count = get_le16(payload + rest + REST_OFF_COUNT);
		if (r.count == 0)
			return "no shards";
		if ((size - r.cuts) / NEXT_ID_BYTES < r.count)
			return "shards beyond its end";
		r.end = r.cuts + r.count * NEXT_ID_BYTES;
	}
	*ret = r;
	return NULL;
}

/* The bytes that the names take, with their NULs. */
static size_t names_bytes(const uint8_t *payload, const struct record *record)
{
	char name[NAME_SEGMENT_MAX];
	struct record_cut cut;
	uint32_t at = record->cuts;
	size_t bytes = 0;

	for (uint32_t i = 0; i < record->count; i++) {
		record_next_cut(payload, record, &at, &cut);
		bytes += (cut.name ? cut.name_size : strlen(name_shard(name, i))) + 1;
	}
	return bytes;
}

int record_decode(const uint8_t *payload, const struct record *record, struct wal_checkpoint **ret_checkpoint)
{
	size_t cuts_bytes = record->count * sizeof(struct wal_cut);
	struct wal_checkpoint *cp = malloc(sizeof *cp + cuts_bytes + record->id_size + 1 + names_bytes(payload, record));
	char name[NAME_SEGMENT_MAX];
	struct record_cut cut;
	uint32_t at = record->cuts;

	if (!cp)
		return -ENOMEM;
	struct wal_cut *cuts = (struct wal_cut *)(cp + 1);
	char *pos = (char *)cuts + cuts_bytes;
	*cp = (struct wal_checkpoint){ .id = pos, .id_size = record->id_size, .time_ns = record->time_ns, .cut_count = record->count, .cuts = cuts };
	pos = mempcpy(pos, record->id, record->id_size);
	*pos++ = '\0';
	for (uint32_t i = 0; i < record->count; i++) {
		record_next_cut(payload, record, &at, &cut);
		if (!cut.name) {
			cut.name = name_shard(name, i);
			cut.name_size = strlen(name);
		}
		cuts[i] = (struct wal_cut){ .stream = pos, .next_id = cut.next_id };
		pos = mempcpy(pos, cut.name, cut.name_size);
		*pos++ = '\0';
	}
	*ret_checkpoint = cp;
	return 0;
}

/* ---- Writing ---- */

/* The size of the payload, or why there can't be one. */
static int payload_size(const struct wal_checkpoint *cp, uint32_t shards, size_t *ret_size)
{
	size_t size = OFF_ID + cp->id_size + (shards ? REST_OFF_SHARDS : REST_OFF_STREAMS);

	if (cp->id_size == 0 || cp->id_size > WAL_CHECKPOINT_ID_MAX || shards > SHARDS_MAX || (shards && cp->cut_count != shards))
		return -EINVAL;
	for (size_t i = 0; i < cp->cut_count && !shards; i++) {
		size_t length = strlen(cp->cuts[i].stream);

		if (length == 0 || length > UINT8_MAX || (i > 0 && strcmp(cp->cuts[i - 1].stream, cp->cuts[i].stream) >= 0))
			return -EINVAL;
		size += 1 + length + NEXT_ID_BYTES;
		if (size > RECORD_PAYLOAD_MAX)
			return -EFBIG;
	}
	*ret_size = size + shards * NEXT_ID_BYTES;
	return 0;
}

static void put_payload(uint8_t *p, const struct wal_checkpoint *cp, uint32_t shards, int64_t time_ns)
{
	*p++ = shards ? VERSION_SHARDS : VERSION_STREAMS;
	put_le16(p, (uint16_t)cp->id_size);
	p = mempcpy(p + 2, cp->id, cp->id_size);
	put_le64(p, (uint64_t)time_ns);
	if (shards)
		put_le16(p + REST_OFF_COUNT, (uint16_t)shards);
	else
		put_le32(p + REST_OFF_COUNT, (uint32_t)cp->cut_count);
	p += shards ? REST_OFF_SHARDS : REST_OFF_STREAMS;
	for (size_t i = 0; i < cp->cut_count; i++) {
		size_t length = shards ? 0 : strlen(cp->cuts[i].stream);

		if (!shards) {
			*p++ = (uint8_t)length;
			p = mempcpy(p, cp->cuts[i].stream, length);
		}
		put_le64(p, cp->cuts[i].next_id);
		p += NEXT_ID_BYTES;
	}
}

int record_encode(const struct wal_checkpoint *checkpoint, uint32_t shards, int64_t time_ns, uint8_t **ret_data, size_t *ret_size)
{
	struct record record;
	size_t size;
	int result = payload_size(checkpoint, shards, &size);

	if (result < 0)
		return result;
	uint8_t *data = malloc(RECORD_HEADER + size);
	if (!data)
		return -ENOMEM;
	put_payload(data + RECORD_HEADER, checkpoint, shards, time_ns);
	assert(!record_parse(data + RECORD_HEADER, size, &record) && record.end == size);
	record_put_header(data, crc32_update(0, data + RECORD_HEADER, size), (uint32_t)size);
	*ret_data = data;
	*ret_size = RECORD_HEADER + size;
	return 0;
}

int record_forget(uint8_t *payload, uint32_t *size, const struct record *record, const char *stream)
{
	uint32_t at = record->cuts, begin;
	struct record_cut cut;
	size_t length = strlen(stream);

	for (uint32_t i = 0; record->version == VERSION_STREAMS && i < record->count; i++) {
		begin = at;
		record_next_cut(payload, record, &at, &cut);
		if (cut.name_size != length || memcmp(cut.name, stream, length) != 0)
			continue;
		memmove(payload + begin, payload + at, *size - at);
		put_le32(payload + OFF_ID + record->id_size + REST_OFF_COUNT, record->count - 1);
		*size -= at - begin;
		return 0;
	}
	return WAL_NOT_FOUND;
}

/* ---- HEAD ---- */

size_t head_encode(uint8_t *data, const void *id, size_t id_size)
{
	assert(id_size > 0 && id_size <= WAL_CHECKPOINT_ID_MAX);
	put_le16(data, (uint16_t)id_size);
	memcpy(data + 2, id, id_size);
	return 2 + id_size;
}

const uint8_t *head_decode(const uint8_t *data, size_t size, size_t *ret_id_size)
{
	size_t id_size = size < 2 ? 0 : get_le16(data);

	if (id_size == 0 || size - 2 < id_size)
		return NULL;
	*ret_id_size = id_size;
	return data + 2;
}
