/* SPDX-License-Identifier: Apache-2.0 */
#include "walogs_frame.h"

#include <endian.h>
#include <string.h>
#include <zlib.h>

void walogs_decode_header(const uint8_t header[WALOGS_HEADER_BYTES], struct walogs_header *ret)
{
	uint32_t words[2];
	uint64_t lsn;

	memcpy(words, header, sizeof(words));
	memcpy(&lsn, header + 8, sizeof(lsn));
	*ret = (struct walogs_header){ .size = le32toh(words[0]), .crc = le32toh(words[1]), .lsn = le64toh(lsn) };
}

uint32_t walogs_frame_crc(const struct walogs_header *header, const uint8_t *frame)
{
	uLong crc = crc32(0, frame, 4);

	return (uint32_t)crc32(crc, frame + 8, 8 + header->size);
}
