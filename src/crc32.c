/* SPDX-License-Identifier: Apache-2.0 */
#include "crc32.h"

#include <assert.h>
#include <libdeflate.h>
#include <zlib.h>

uint32_t crc32_update(uint32_t crc, const void *data, size_t size)
{
	/* A null pointer asks for the initial value, and `crc` would be forgotten. */
	if (size == 0)
		return crc;
	return libdeflate_crc32(crc, data, size);
}

uint32_t crc32_join(uint32_t crc_a, uint32_t crc_b, uint64_t size_b)
{
	/* zlib's length is signed, and a negative one never ends. */
	assert(size_b <= INT64_MAX);
	return (uint32_t)crc32_combine(crc_a, crc_b, (z_off_t)size_b);
}
