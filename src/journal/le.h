/* SPDX-License-Identifier: Apache-2.0 */
/* Little-endian integers in records, and the tags of their variable-length form. Header only. */
#ifndef WAL_JOURNAL_LE_H
#define WAL_JOURNAL_LE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* A number up to LE_TAG_PLAIN_MAX is one byte. Otherwise the byte says how many follow. */
enum {
	LE_TAG_PLAIN_MAX = 250,
	LE_TAG_U16 = 251,
	LE_TAG_U32 = 252,
	LE_TAG_U64 = 253,
	LE_TAG_U128 = 254, /* never here, as is 255 */
};

enum { LE_NUMBER_BYTES_MAX = 9 };

static inline void le_put(uint8_t *p, uint64_t v, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static inline uint64_t le_get(const uint8_t *p, size_t bytes)
{
	uint64_t v = 0;

	for (size_t i = 0; i < bytes; i++)
		v |= (uint64_t)p[i] << (8 * i);
	return v;
}

/* Writes `v` in its shortest form at `p`, which has room for LE_NUMBER_BYTES_MAX; returns how many bytes. */
static inline size_t le_put_number(uint8_t *p, uint64_t v)
{
	size_t bytes = v <= UINT16_MAX ? 2 : v <= UINT32_MAX ? 4 : 8;

	if (v <= LE_TAG_PLAIN_MAX) {
		p[0] = (uint8_t)v;
		return 1;
	}
	p[0] = bytes == 2 ? LE_TAG_U16 : bytes == 4 ? LE_TAG_U32 : LE_TAG_U64;
	le_put(p + 1, v, bytes);
	return 1 + bytes;
}

/* Floats are moved as the bits they are: a load as a float may change those of a NaN. */
static inline void le_put_floats(uint8_t *p, const float *values, size_t count)
{
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && count) {
		memcpy(p, values, 4 * count);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		uint32_t bits;

		memcpy(&bits, &values[i], sizeof(bits));
		le_put(p + 4 * i, bits, 4);
	}
}

static inline void le_get_floats(float *values, const uint8_t *p, size_t count)
{
	if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && count) {
		memcpy(values, p, 4 * count);
		return;
	}
	for (size_t i = 0; i < count; i++) {
		uint32_t bits = (uint32_t)le_get(p + 4 * i, 4);

		memcpy(&values[i], &bits, sizeof(bits));
	}
}

#endif
