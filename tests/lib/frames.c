/* SPDX-License-Identifier: Apache-2.0 */
#include "frames.h"

#include <string.h>
#include <inttypes.h>
#include <stdlib.h>

#include "crc32.h"
#include "damage.h"
#include "test.h"
#include "names.h"

size_t frames_in(const char *path, struct frame_place *frames, size_t max)
{
	size_t size, count = 0;
	uint8_t *data = file_read(path, &size);

	for (size_t at = 0; count < max && size - at >= FRAME_HEADER_BYTES; at += frames[count++].bytes) {
		struct frame_header h;

		if (frame_decode_header(data + at, &h) != FRAME_OK || h.disk_size > size - at - FRAME_HEADER_BYTES)
			break;
		frames[count] = (struct frame_place){ at, FRAME_HEADER_BYTES + (uint64_t)h.disk_size, h };
	}
	free(data);
	return count;
}

/* The frame of entry `id`, or if `last` the last one. */
static struct frame_place find(const char *path, uint64_t id, int last)
{
	struct frame_place frame = { 0 };
	size_t size;
	uint8_t *data = file_read(path, &size);

	for (uint64_t at = 0; size - at >= FRAME_HEADER_BYTES; at += frame.bytes) {
		struct frame_header h;

		if (frame_decode_header(data + at, &h) != FRAME_OK || h.disk_size > size - at - FRAME_HEADER_BYTES)
			break;
		frame = (struct frame_place){ at, FRAME_HEADER_BYTES + (uint64_t)h.disk_size, h };
		if (!last && id >= h.start_id && id - h.start_id < h.entry_count) {
			free(data);
			return frame;
		}
	}
	free(data);
	if (!last)
		fail_msg("there is no frame of entry %" PRIu64 " in '%s'", id, path);
	return frame;
}

struct frame_place frame_of(const char *path, uint64_t id)
{
	return find(path, id, 0);
}

uint64_t frames_end(const char *path)
{
	struct frame_place last = find(path, 0, 1);

	return last.offset + last.bytes;
}

void frame_forge(const char *path, uint64_t offset, struct frame_header h)
{
	uint8_t head[FRAME_HEADER_BYTES];
	size_t size;
	uint8_t *data = file_read(path, &size);

	assert_true(offset + FRAME_HEADER_BYTES + h.disk_size <= size);
	h.crc = frame_crc_begin(h.start_id, h.entry_count, h.type, h.disk_size);
	h.crc = crc32_update(h.crc, data + offset + FRAME_HEADER_BYTES, h.disk_size);
	const char *base = strrchr(path, '/');
	uint64_t segment;
	assert_true(name_is_segment(base ? base + 1 : path, &segment));
	frame_set_mark(&h, segment, offset);
	frame_encode_header(head, &h);
	for (size_t i = 0; i < sizeof(head); i++)
		damage_set_byte(path, offset + i, head[i]);
	free(data);
}
