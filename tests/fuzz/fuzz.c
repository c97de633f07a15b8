/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "crc32.h"
#include "lz4codec.h"
#include "meta.h"

void fuzz_fail(const char *file, int line, const char *condition, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%d: %s does not hold:", file, line, condition);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	abort();
}

bool fuzz_frame_at(const uint8_t *data, size_t size, size_t at, struct frame_header *ret_header, uint8_t **ret_raw, uint64_t *ret_raw_size)
{
	struct frame_header h;

	if (size < FRAME_HEADER_BYTES || at > size - FRAME_HEADER_BYTES || frame_decode_header(data + at, &h) != FRAME_OK)
		return false;

	const uint8_t *payload = data + at + FRAME_HEADER_BYTES;
	uint64_t raw_size = h.disk_size;
	if (h.disk_size > size - at - FRAME_HEADER_BYTES || frame_check_crc(&h, payload) != FRAME_OK)
		return false;
	if (h.type == FRAME_LZ4 && lz4frame_measure(payload, h.disk_size, UINT32_MAX, &raw_size) < 0)
		return false;
	uint8_t *raw = malloc(raw_size + 1);
	CHECK(raw);
	if (h.type == FRAME_RAW)
		memcpy(raw, payload, h.disk_size);
	else
		CHECK(lz4frame_decompress(raw, raw_size, payload, h.disk_size) == 0);
	if (frame_check_payload(raw, raw_size, h.entry_count) != FRAME_OK) {
		free(raw);
		return false;
	}
	*ret_header = h;
	*ret_raw = raw;
	*ret_raw_size = raw_size;
	return true;
}

static bool toss(unsigned *seed, unsigned sides)
{
	*seed = *seed * 1103515245 + 12345;
	return (*seed >> 16) % sides == 0;
}

void fuzz_fix_frames(uint8_t *data, size_t size, uint64_t segment_id, unsigned seed)
{
	for (size_t at = 0; size >= FRAME_HEADER_BYTES && at <= size - FRAME_HEADER_BYTES; at++) {
		struct frame_header h;

		if (get_le32(data + at) != FRAME_MAGIC)
			continue;
		/* A size that leads beyond the end mostly comes from something having been cut out. */
		uint64_t room = size - at - FRAME_HEADER_BYTES;
		if (get_le32(data + at + FRAME_OFF_DISK_SIZE) > room && toss(&seed, 2))
			put_le32(data + at + FRAME_OFF_DISK_SIZE, (uint32_t)room);
		if (frame_decode_header(data + at, &h) != FRAME_OK || h.disk_size > room)
			continue;
		h.crc = crc32_update(frame_crc_begin(h.start_id, h.entry_count, h.type, h.disk_size), data + at + FRAME_HEADER_BYTES, h.disk_size);
		if ((h.mark == 0 && h.unsynced == 0) || toss(&seed, 8))
			h.mark = h.unsynced = 0;
		else if (!toss(&seed, 8))
			frame_set_mark(&h, segment_id, at);
		frame_encode_header(data + at, &h);
		at += h.disk_size;
	}
}

void fuzz_fix_meta(uint8_t *data, size_t size)
{
	for (size_t at = 0; at + META_BLOCK_BYTES <= size; at += META_BLOCK_BYTES) {
		uint8_t *block = data + at;

		put_le32(block, META_MAGIC);
		put_le32(block + META_OFF_CRC, crc32_update(0, block + META_OFF_SEGMENT, META_BLOCK_BYTES - META_OFF_SEGMENT));
	}
}

int fuzz_memfd(const uint8_t *data, size_t size)
{
	int fd = memfd_create("fuzz", MFD_CLOEXEC);

	CHECK(fd >= 0);
	for (size_t done = 0; done < size;) {
		ssize_t n = write(fd, data + done, size - done);

		CHECK(n > 0);
		done += (size_t)n;
	}
	return fd;
}
