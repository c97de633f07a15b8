/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include "bytes.h"
#include "crc32.h"
#include "lz4codec.h"

const char *frame_fault_text(enum frame_fault fault)
{
	switch (fault) {
	case FRAME_OK:
		return "no fault";
	case FRAME_BAD_MAGIC:
		return "wrong magic";
	case FRAME_BAD_TYPE:
		return "unknown frame type";
	case FRAME_BAD_COUNT:
		return "impossible entry count";
	case FRAME_BAD_SIZE:
		return "payload beyond the end of the file";
	case FRAME_BAD_CRC:
		return "checksum mismatch";
	case FRAME_BAD_ID:
		return "wrong entry id";
	case FRAME_BAD_PAYLOAD:
		return "entry lengths do not fill the payload";
	case FRAME_BAD_LZ4:
		return "bad LZ4 data";
	}
	return "unknown fault";
}

/* The bytes from start_id to disk_size, which are the crc's prefix and the same bytes of the header. */
static void put_covered(uint8_t *header, uint64_t start_id, uint32_t entry_count, uint8_t type, uint32_t disk_size)
{
	put_le64(header + FRAME_OFF_START_ID, start_id);
	put_le32(header + FRAME_OFF_ENTRY_COUNT, entry_count);
	header[FRAME_OFF_TYPE] = type;
	put_le32(header + FRAME_OFF_DISK_SIZE, disk_size);
}

enum { COVERED_BYTES = FRAME_OFF_RAW_SIZE - FRAME_OFF_START_ID };

uint32_t frame_crc_of(const uint8_t header[FRAME_HEADER_BYTES])
{
	return crc32_update(0, header + FRAME_OFF_START_ID, COVERED_BYTES);
}

uint32_t frame_crc_begin(uint64_t start_id, uint32_t entry_count, uint8_t type, uint32_t disk_size)
{
	uint8_t header[FRAME_HEADER_BYTES];

	put_covered(header, start_id, entry_count, type, disk_size);
	return frame_crc_of(header);
}

uint32_t frame_crc(const uint8_t *frame, uint32_t disk_size)
{
	return crc32_update(frame_crc_of(frame), frame + FRAME_HEADER_BYTES, disk_size);
}

bool frame_is_single(const uint8_t *frame, uint64_t id, uint32_t size)
{
	return get_le32(frame + FRAME_OFF_MAGIC) == FRAME_MAGIC && get_le64(frame + FRAME_OFF_START_ID) == id && id < UINT64_MAX &&
	       get_le32(frame + FRAME_OFF_ENTRY_COUNT) == 1 && frame[FRAME_OFF_TYPE] == FRAME_RAW && get_le32(frame + FRAME_OFF_PAYLOAD) == size &&
	       get_le32(frame + FRAME_OFF_DISK_SIZE) == size + FRAME_LENGTH_BYTES &&
	       get_le32(frame + FRAME_OFF_CRC) == frame_crc(frame, size + FRAME_LENGTH_BYTES);
}

/* Never 0, so that the zeros which ironwal writes are no mark. */
static uint16_t mark_for(const struct frame_header *h, uint64_t segment_id, uint64_t offset)
{
	uint8_t covered[21] = { h->unsynced };
	uint32_t sum;
	uint16_t fold;

	put_le32(covered + 1, h->crc);
	put_le64(covered + 5, segment_id);
	put_le64(covered + 13, offset);
	sum = crc32_update(0, covered, sizeof(covered));
	fold = (uint16_t)(sum ^ sum >> 16);
	return fold ? fold : 0xffff;
}

void frame_set_mark(struct frame_header *h, uint64_t segment_id, uint64_t offset)
{
	h->mark = mark_for(h, segment_id, offset);
}

enum frame_origin frame_origin(const struct frame_header *h, uint64_t segment_id, uint64_t offset)
{
	if (h->mark == 0 && h->unsynced == 0)
		return FRAME_PLAIN;
	return h->mark == mark_for(h, segment_id, offset) ? FRAME_OURS : FRAME_FOREIGN;
}

/* What the type and the sizes allow for entry_count, without looking at the payload. */
static bool count_is_possible(const struct frame_header *h)
{
	uint64_t raw_max = h->type == FRAME_LZ4 ? (uint64_t)h->disk_size * LZ4FRAME_RATIO_MAX : h->disk_size;

	return h->entry_count > 0 && (uint64_t)h->entry_count * FRAME_LENGTH_BYTES <= raw_max && h->entry_count <= UINT64_MAX - h->start_id;
}

void frame_encode_seal(uint8_t out[FRAME_HEADER_BYTES], const struct frame_header *h)
{
	put_le32(out + FRAME_OFF_CRC, h->crc);
	out[FRAME_OFF_UNSYNCED] = h->unsynced;
	put_le16(out + FRAME_OFF_MARK, h->mark);
}

void frame_encode_header(uint8_t out[FRAME_HEADER_BYTES], const struct frame_header *h)
{
	assert(h->type == FRAME_RAW || h->type == FRAME_LZ4);
	assert(count_is_possible(h));
	put_le32(out + FRAME_OFF_MAGIC, FRAME_MAGIC);
	put_covered(out, h->start_id, h->entry_count, h->type, h->disk_size);
	put_le32(out + FRAME_OFF_RAW_SIZE, h->raw_size);
	frame_encode_seal(out, h);
}

void frame_encode_before(uint8_t *frame, struct frame_header *h, uint64_t segment_id, uint64_t offset)
{
	uint8_t *covered = frame + FRAME_HEADER_BYTES - COVERED_BYTES;

	/* What the crc covers of the header goes right before the payload for the moment: one piece costs less than two. */
	put_covered(covered - FRAME_OFF_START_ID, h->start_id, h->entry_count, h->type, h->disk_size);
	h->crc = crc32_update(0, covered, COVERED_BYTES + (size_t)h->disk_size);
	frame_set_mark(h, segment_id, offset);
	frame_encode_header(frame, h);
}

enum frame_fault frame_decode_header(const uint8_t in[FRAME_HEADER_BYTES], struct frame_header *ret)
{
	struct frame_header h = {
		.start_id = get_le64(in + FRAME_OFF_START_ID),
		.entry_count = get_le32(in + FRAME_OFF_ENTRY_COUNT),
		.disk_size = get_le32(in + FRAME_OFF_DISK_SIZE),
		.raw_size = get_le32(in + FRAME_OFF_RAW_SIZE),
		.crc = get_le32(in + FRAME_OFF_CRC),
		.type = in[FRAME_OFF_TYPE],
		.unsynced = in[FRAME_OFF_UNSYNCED],
		.mark = get_le16(in + FRAME_OFF_MARK),
	};

	if (get_le32(in + FRAME_OFF_MAGIC) != FRAME_MAGIC)
		return FRAME_BAD_MAGIC;
	*ret = h;
	if (h.type != FRAME_RAW && h.type != FRAME_LZ4)
		return FRAME_BAD_TYPE;
	return count_is_possible(&h) ? FRAME_OK : FRAME_BAD_COUNT;
}

enum frame_fault frame_check_crc(const struct frame_header *h, const void *payload)
{
	uint32_t crc = frame_crc_begin(h->start_id, h->entry_count, h->type, h->disk_size);

	return crc32_update(crc, payload, h->disk_size) == h->crc ? FRAME_OK : FRAME_BAD_CRC;
}

enum frame_fault frame_check_payload(const void *payload, uint64_t size, uint32_t entry_count)
{
	struct frame_cursor c = { .pos = payload, .end = (const uint8_t *)payload + size };
	const uint8_t *data;
	uint32_t data_size;
	uint64_t n = 0;

	while (frame_cursor_next(&c, &data, &data_size))
		n++;
	return c.pos == c.end && n == entry_count ? FRAME_OK : FRAME_BAD_PAYLOAD;
}
