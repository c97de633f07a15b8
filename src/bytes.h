/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian integers in byte buffers: the only way numbers enter or leave a file. */
#ifndef WAL_BYTES_H
#define WAL_BYTES_H

#include <stddef.h>
#include <stdint.h>

static inline void put_le16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static inline void put_le32(uint8_t *p, uint32_t v)
{
	put_le16(p, (uint16_t)v);
	put_le16(p + 2, (uint16_t)(v >> 16));
}

static inline void put_le64(uint8_t *p, uint64_t v)
{
	put_le32(p, (uint32_t)v);
	put_le32(p + 4, (uint32_t)(v >> 32));
}

static inline uint16_t get_le16(const uint8_t *p)
{
	return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t get_le32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static inline uint64_t get_le64(const uint8_t *p)
{
	return (uint64_t)get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
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
