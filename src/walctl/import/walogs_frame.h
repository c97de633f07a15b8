/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A frame of a walogs 0.1 log, little-endian:
 *
 *	offset	size
 *	0	4	length of the data, at most 16 MiB
 *	4	4	CRC-32 of the other bytes: length, number, data
 *	8	8	LSN, from 1 on; 0 is not used
 *	16		the data
 *
 * The next one follows without a gap. A file has nothing but frames; one of no bytes is a log without any.
 */
#ifndef IMPORT_WALOGS_FRAME_H
#define IMPORT_WALOGS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	WALOGS_HEADER_BYTES = 16,
	WALOGS_DATA_MAX = 16 << 20,
};

struct walogs_header {
	uint32_t size; /* of the data */
	uint32_t crc;
	uint64_t lsn;
};

void walogs_decode_header(const uint8_t header[WALOGS_HEADER_BYTES], struct walogs_header *ret);

/* Of the frame that begins at `frame`, all of it: header->size bytes of data behind the header. */
uint32_t walogs_frame_crc(const struct walogs_header *header, const uint8_t *frame);

#endif
