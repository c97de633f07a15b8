/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store in one string of bytes:
 *	0	1	options: on_corruption (modulo 3), bit 2 read=mmap, bit 3 opened read-only first, bit 4 compression=lz4
 *	1	1	segment_size: 4 KiB doubled as often (modulo 5)
 *	2	…	files: kind u8, id u32 little-endian, size u16 little-endian, that many bytes (fewer at the end)
 * The low bits of a kind are one of enum file_kind; with CONTAINER_HIGH_ID the id counts down from the largest one.
 */
#ifndef CONTAINER_H
#define CONTAINER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "bytes.h"

enum {
	CONTAINER_HEADER_BYTES = 2,
	CONTAINER_FILE_BYTES = 7,
	CONTAINER_HIGH_ID = 0x80,
	CONTAINER_STREAMS = 2, /* "a" and "b"; bit 3 of a kind */
	CONTAINER_SECOND = 0x08,
};

enum file_kind {
	FILE_SEGMENT,
	FILE_META,
	FILE_INDEX,
	FILE_HEAD,
	FILE_LOCK,
	FILE_DIR,     /* a directory where a segment should be */
	FILE_SYMLINK, /* a symlink in place of a segment, out of the store */
	FILE_TORN,
	FILE_KINDS,
};

struct container_file {
	enum file_kind kind;
	unsigned stream;
	uint64_t id;
	const uint8_t *data;
	size_t size;
};

/* The file at *pos, and moves behind it; false at the end. */
static inline bool container_next(const uint8_t *data, size_t size, size_t *pos, struct container_file *ret)
{
	if (*pos + CONTAINER_FILE_BYTES > size)
		return false;

	const uint8_t *file = data + *pos;
	size_t room = size - *pos - CONTAINER_FILE_BYTES, want = get_le16(file + 5);
	ret->kind = file[0] % FILE_KINDS;
	ret->stream = (file[0] & CONTAINER_SECOND) != 0;
	ret->id = file[0] & CONTAINER_HIGH_ID ? UINT64_MAX - get_le32(file + 1) : get_le32(file + 1);
	ret->data = file + CONTAINER_FILE_BYTES;
	ret->size = want < room ? want : room;
	*pos += CONTAINER_FILE_BYTES + ret->size;
	return true;
}

#endif
