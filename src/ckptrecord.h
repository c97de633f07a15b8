/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of one record of checkpoints.log, and of HEAD: see ckptlog.h for the format. No I/O. */
#ifndef WAL_CKPTRECORD_H
#define WAL_CKPTRECORD_H

#include "wal.h"

#define RECORD_MAGIC "CKPT"

enum {
	RECORD_MAGIC_BYTES = 4,
	RECORD_HEADER = 12,
	RECORD_PAYLOAD_MIN = 16, /* version 2, an id of one byte, no streams */
	RECORD_PAYLOAD_MAX = 1 << 30, /* 4 million streams with the longest names; a length above it is not believed */
	HEAD_BYTES_MAX = 2 + WAL_CHECKPOINT_ID_MAX,
};

/* Whether a record may begin with these RECORD_HEADER bytes: the magic, and a length within the bounds above. */
bool record_header(const uint8_t *data, uint32_t *ret_crc, uint32_t *ret_size);
void record_put_header(uint8_t *data, uint32_t crc, uint32_t size);

struct record {
	unsigned version;
	const uint8_t *id; /* in the payload */
	size_t id_size;
	int64_t time_ns;
	uint32_t count; /* shards, or streams */
	uint32_t cuts;	/* where in the payload they begin */
	uint32_t end;	/* where they end */
};

/* NULL with *ret filled, all that it tells of being within `size`; or what is wrong with the payload, in words ("an unknown version"). */
const char *record_parse(const uint8_t *payload, size_t size, struct record *ret);

struct record_cut {
	const char *name; /* without NUL; NULL: a shard */
	size_t name_size;
	uint64_t next_id;
};

/* The cut at *at in a payload that record_parse() has found in order; steps over it. */
void record_next_cut(const uint8_t *payload, const struct record *record, uint32_t *at, struct record_cut *ret);

/* A payload that record_parse() has found in order as one allocation. -ENOMEM. */
int record_decode(const uint8_t *payload, const struct record *record, struct wal_checkpoint **ret_checkpoint);

/*
 * Header and payload for the checkpoint, with this time instead of its own, to be freed by the caller. `shards` > 0: version 1, and as many cuts. -EINVAL for what the format does
 * not allow (the id's length, names that are not sorted, not as many cuts as shards), -EFBIG for too many streams, -ENOMEM.
 */
int record_encode(const struct wal_checkpoint *checkpoint, uint32_t shards, int64_t time_ns, uint8_t **ret_data, size_t *ret_size);

/*
 * Takes `stream` out of a payload of version 2, which record_parse() has found in order; all else stays as it is. WAL_NOT_FOUND if it is not in it; the payload is then as
 * before, else *size is its new size.
 */
int record_forget(uint8_t *payload, uint32_t *size, const struct record *record, const char *stream);

/* HEAD: writes it into `data` of HEAD_BYTES_MAX bytes and returns how many; the id in it, NULL if it is torn or empty. */
size_t head_encode(uint8_t *data, const void *id, size_t id_size);
const uint8_t *head_decode(const uint8_t *data, size_t size, size_t *ret_id_size);

#endif
