/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian integers in byte buffers: the only way numbers enter or leave a file. */
#ifndef WAL_BYTES_H
#define WAL_BYTES_H

#include <endian.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Through memcpy(), as compilers make one load or store of that, and of single bytes only sometimes. */

static inline void put_le16(uint8_t *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof v);
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof v);
}

static inline void put_le64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof v);
}

static inline uint16_t get_le16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof v);
	return le16toh(v);
}

static inline uint32_t get_le32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof v);
	return le32toh(v);
}

static inline uint64_t get_le64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof v);
	return le64toh(v);
}

/* A varint is 1 to 10 bytes, 7 bits each, low bits first, the high bit set in all but the last. */
enum { VARINT_BYTES_MAX = 10 };

/* Writes `v` at `p`, which has room for VARINT_BYTES_MAX; returns how many bytes. */
static inline size_t put_varint(uint8_t *p, uint64_t v)
{
	size_t n = 0;

	while (v >= 0x80) {
		p[n++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	p[n++] = (uint8_t)v;
	return n;
}

/* Reads one at `p`, not beyond `end`; returns how many bytes it took, 0 if it is cut off or does not fit 64 bits. */
static inline size_t get_varint(const uint8_t *p, const uint8_t *end, uint64_t *ret)
{
	uint64_t v = 0;
	size_t n = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (p + n >= end)
			return 0;
		uint8_t byte = p[n++];
		if (shift == 63 && byte > 1)
			return 0;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = v;
			return n;
		}
	}
	return 0;
}

#endif
