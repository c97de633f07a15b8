/* SPDX-License-Identifier: Apache-2.0 */
/* The CRC-32 of zlib and ironwal (reflected, polynomial 0xEDB88320), over libdeflate, which computes it 4 to 8 times as fast as zlib, and for long pieces our own where the processor has wide vectors; joining is zlib's. */
#ifndef WAL_CRC32_H
#define WAL_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* The CRC of what `crc` covers followed by `size` bytes at `data`; begin with 0. */
uint32_t crc32_update(uint32_t crc, const void *data, size_t size);

/* The CRC of A followed by B, from the CRC of A, the CRC of B and B's length. */
uint32_t crc32_join(uint32_t crc_a, uint32_t crc_b, uint64_t size_b);

/* What joining takes for one length of B, kept for the next of the same length; begin with all-zero. */
struct crc32_joint {
	uint32_t size_b;
	uint32_t shift;
};

/* The same, by `joint`, which is made for this length if it is not yet. */
uint32_t crc32_join_by(struct crc32_joint *joint, uint32_t crc_a, uint32_t crc_b, uint32_t size_b);

#endif
