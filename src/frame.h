/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The unit on disk: a header of 32 bytes and a payload with one entry or a batch. Byte for byte the frame of ironwal 0.6.
 *
 * Header, little-endian, no alignment:
 *
 *	offset	size	field
 *	0	4	magic "LAWL"
 *	4	4	crc32 over bytes 8 … 24 and the payload as it stands on disk
 *	8	8	start_id: id of the first entry
 *	16	4	entry_count, at least 1
 *	20	1	type: 0 raw, 1 one LZ4 frame
 *	21	4	disk_size: payload bytes that follow
 *	25	4	raw_size: payload bytes before compression; outside the crc, so only a hint
 *	29	1	unsynced: how many frames right before this one in the segment were not durable when it was written; 255: unknown
 *	30	2	mark: a check over unsynced, crc and the frame's place (its segment's first id, its offset there), never 0
 *
 * ironwal writes three zeros for the last two and ignores them.
 *
 * Raw payload: for each entry a u32 length and as many bytes, to the end; just entry_count of them.
 *
 * A frame is *valid* where it stands if the magic, type, count and sizes hold, the crc holds, start_id is the id expected there and the payload
 * is used up by exactly entry_count entries. raw_size and the last three bytes do not matter for that.
 *
 * What a crash may leave and what the last three bytes are for: see scan.h. The mark knows the place because an entry may hold anything, a copy of a segment too: a
 * frame that is found in its bytes is not one of the segment that they stand in.
 */
#ifndef WAL_FRAME_H
#define WAL_FRAME_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frame_offset {
	FRAME_OFF_MAGIC = 0,
	FRAME_OFF_CRC = 4,
	FRAME_OFF_START_ID = 8,
	FRAME_OFF_ENTRY_COUNT = 16,
	FRAME_OFF_TYPE = 20,
	FRAME_OFF_DISK_SIZE = 21,
	FRAME_OFF_RAW_SIZE = 25,
	FRAME_OFF_UNSYNCED = 29,
	FRAME_OFF_MARK = 30,
	FRAME_OFF_PAYLOAD = 32,
};

static_assert(FRAME_OFF_PAYLOAD == FRAME_OFF_MARK + 2, "the header ends with the mark");

enum {
	FRAME_HEADER_BYTES = FRAME_OFF_PAYLOAD,
	FRAME_LENGTH_BYTES = 4,		/* before each entry in a payload */
	FRAME_UNSYNCED_UNKNOWN = 255,
};

#define FRAME_MAGIC 0x4c57414cu

enum frame_type {
	FRAME_RAW = 0,
	FRAME_LZ4 = 1,
};

struct frame_header {
	uint64_t start_id;
	uint32_t entry_count;
	uint32_t disk_size;
	uint32_t raw_size;
	uint32_t crc;
	uint8_t type;	  /* enum frame_type */
	uint8_t unsynced; /* means something if frame_origin() is FRAME_OURS */
	uint16_t mark;
};

enum frame_origin {
	FRAME_OURS,    /* this library wrote it here */
	FRAME_PLAIN,   /* without a mark, as ironwal writes */
	FRAME_FOREIGN, /* with a mark that does not hold: it was written elsewhere, or the mark is damaged */
};

/* Why a frame is not valid; 0 is valid. */
enum frame_fault {
	FRAME_OK = 0,
	FRAME_BAD_MAGIC,
	FRAME_BAD_TYPE,
	FRAME_BAD_COUNT,     /* entry_count 0, more than disk_size can hold, or start_id + entry_count does not fit 64 bits */
	FRAME_BAD_SIZE,	     /* the payload reaches beyond the end of the file */
	FRAME_BAD_CRC,
	FRAME_BAD_ID,	     /* not the id expected here */
	FRAME_BAD_PAYLOAD,   /* the entries' lengths do not fill it, or are not entry_count many */
	FRAME_BAD_LZ4,
};

/* "wrong magic", "checksum mismatch" …; static. */
const char *frame_fault_text(enum frame_fault fault);

/* The crc of the header's part; go on with crc32_update() over the payload. */
uint32_t frame_crc_begin(uint64_t start_id, uint32_t entry_count, uint8_t type, uint32_t disk_size);

/* The same, of a header that frame_encode_header() has written already, with whatever crc. */
uint32_t frame_crc_of(const uint8_t header[FRAME_HEADER_BYTES]);

/* The crc of a whole frame that stands in memory as on disk. */
uint32_t frame_crc(const uint8_t *frame, uint32_t disk_size);

/* Whether the whole frame in memory is one of a single raw entry, `id`, of `size` bytes, as it was written: all that frame_decode_header() and the crc tell. */
bool frame_is_single(const uint8_t *frame, uint64_t id, uint32_t size);

/* Sets h->mark for a frame at `offset` of the segment that begins with `segment_id`; crc and unsynced are set. */
void frame_set_mark(struct frame_header *h, uint64_t segment_id, uint64_t offset);

/* Who wrote the frame that stands there, by its last three bytes. */
enum frame_origin frame_origin(const struct frame_header *h, uint64_t segment_id, uint64_t offset);

/* Writes the header, h->crc, h->unsynced and h->mark included. */
void frame_encode_header(uint8_t out[FRAME_HEADER_BYTES], const struct frame_header *h);

/*
 * Writes the header of a raw frame of which the payload stands behind the header's place already. Sets h->crc and the mark, for a frame at `offset` of the segment that begins with `segment_id`.
 */
void frame_encode_before(uint8_t *frame, struct frame_header *h, uint64_t segment_id, uint64_t offset);

/* Writes h->crc, h->unsynced and h->mark into a header that has all else. */
void frame_encode_seal(uint8_t out[FRAME_HEADER_BYTES], const struct frame_header *h);

/*
 * Reads a header and checks what can be checked without the payload: magic, type, count. For a raw frame entry_count * 4 <= disk_size; for LZ4 the
 * most it can expand to (255 bytes for each) counts. FRAME_OK fills *ret; FRAME_BAD_TYPE and FRAME_BAD_COUNT fill it too.
 */
enum frame_fault frame_decode_header(const uint8_t in[FRAME_HEADER_BYTES], struct frame_header *ret);

/* FRAME_OK, or FRAME_BAD_CRC. `payload` is h->disk_size bytes as on disk. */
enum frame_fault frame_check_crc(const struct frame_header *h, const void *payload);

/* Walks the entries of a raw payload. */
struct frame_cursor {
	const uint8_t *pos;
	const uint8_t *end;
};

/* True with the next entry; false at the end and where a length reaches beyond it: then c->pos != c->end. */
static inline bool frame_cursor_next(struct frame_cursor *c, const uint8_t **ret_data, uint32_t *ret_size)
{
	if (c->end - c->pos < FRAME_LENGTH_BYTES)
		return false;
	uint32_t size = (uint32_t)c->pos[0] | (uint32_t)c->pos[1] << 8 | (uint32_t)c->pos[2] << 16 | (uint32_t)c->pos[3] << 24;
	if ((uint64_t)(c->end - c->pos) - FRAME_LENGTH_BYTES < size)
		return false;
	*ret_data = c->pos + FRAME_LENGTH_BYTES;
	*ret_size = size;
	c->pos += FRAME_LENGTH_BYTES + (size_t)size;
	return true;
}

/* FRAME_OK if just `entry_count` entries fill the raw payload, else FRAME_BAD_PAYLOAD. */
enum frame_fault frame_check_payload(const void *payload, uint64_t size, uint32_t entry_count);

#endif
