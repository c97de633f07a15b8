/* SPDX-License-Identifier: Apache-2.0 */
#include "scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "lz4codec.h"
#include "wal.h"

enum { RAW_BYTES = 64 * 1024 };

#define SEARCH_BUDGET_MIN (64ull << 20)

int scan_init(struct scan *scan, struct sys *sys, int fd, uint64_t segment_id, uint64_t size, size_t buffer_bytes)
{
	*scan = (struct scan){
		.sys = sys,
		.fd = fd,
		.segment_id = segment_id,
		.size = size,
		.marked_behind = -1,
		.capacity = buffer_bytes,
		.search_budget = size > (UINT64_MAX - SEARCH_BUDGET_MIN) / 4 ? UINT64_MAX : 4 * size + SEARCH_BUDGET_MIN,
	};
	/* A small segment needs no more than its size. */
	if (scan->capacity > size && size >= 4096)
		scan->capacity = (size_t)size;
	scan->buffer = malloc(scan->capacity);
	return scan->buffer ? 0 : -ENOMEM;
}

void scan_release(struct scan *scan)
{
	lz4frame_decoder_free(scan->decoder);
	free(scan->buffer);
	free(scan->raw);
	*scan = (struct scan){ .fd = -1 };
}

/*
 * Puts [offset, offset + want) into the buffer, want <= capacity, all inside scan->size. Bytes that the file turns out not to have (someone cut it
 * meanwhile) read as zeros, which no check accepts.
 */
static int window(struct scan *scan, uint64_t offset, size_t want, const uint8_t **ret)
{
	*ret = NULL; /* gcc -O3 does not see that it is not used then */
	if (offset < scan->buffer_offset || offset + want > scan->buffer_offset + scan->buffer_size) {
		size_t size = scan->capacity;

		if (size > scan->size - offset)
			size = (size_t)(scan->size - offset);
		scan->buffer_size = 0;
		ssize_t n = sys_pread_full(scan->sys, scan->fd, scan->buffer, size, offset);
		if (n < 0)
			return (int)n;
		memset(scan->buffer + n, 0, size - (size_t)n);
		scan->buffer_offset = offset;
		scan->buffer_size = size;
	}
	*ret = scan->buffer + (offset - scan->buffer_offset);
	return 0;
}

/* The payload in pieces: calls `piece` until all of it was given or it returns non-zero, which is passed on. */
static int for_pieces(struct scan *scan, uint64_t offset, uint64_t size, int (*piece)(void *arg, const uint8_t *data, size_t size), void *arg)
{
	while (size > 0) {
		const uint8_t *data;
		size_t n = size < scan->capacity ? (size_t)size : scan->capacity;
		/* Take what the buffer has already before it is filled anew. */
		if (offset >= scan->buffer_offset && offset < scan->buffer_offset + scan->buffer_size) {
			uint64_t have = scan->buffer_offset + scan->buffer_size - offset;
			if (have < n)
				n = (size_t)have;
		}
		int result = window(scan, offset, n, &data);
		if (result == 0)
			result = piece(arg, data, n);
		if (result != 0)
			return result;
		offset += n;
		size -= n;
	}
	return 0;
}

static int crc_piece(void *arg, const uint8_t *data, size_t size)
{
	uint32_t *crc = arg;

	*crc = crc32_update(*crc, data, size);
	return 0;
}

/* Splits a raw payload that comes in pieces into its entries' lengths. */
struct length_walk {
	struct scan *scan;
	int (*visit)(void *arg, uint32_t size);
	void *arg;
	uint8_t prefix[FRAME_LENGTH_BYTES];
	unsigned prefix_have;
	uint64_t skip; /* bytes of the present entry still to come */
	uint64_t count;
	uint64_t count_max;
	bool bad;
	bool lz4_end;
};

static int walk_piece(void *arg, const uint8_t *data, size_t size)
{
	struct length_walk *walk = arg;

	while (size > 0) {
		if (walk->skip > 0) {
			size_t n = walk->skip < size ? (size_t)walk->skip : size;

			walk->skip -= n;
			data += n;
			size -= n;
			continue;
		}
		walk->prefix[walk->prefix_have++] = *data++;
		size--;
		if (walk->prefix_have < FRAME_LENGTH_BYTES)
			continue;
		walk->prefix_have = 0;
		walk->skip = get_le32(walk->prefix);
		if (walk->count == walk->count_max) {
			walk->bad = true;
			return WAL_END;
		}
		walk->count++;
		int result = walk->visit ? walk->visit(walk->arg, (uint32_t)walk->skip) : 0;
		if (result < 0)
			return result;
	}
	return 0;
}

static int lz4_piece(void *arg, const uint8_t *data, size_t size)
{
	struct length_walk *walk = arg;
	struct scan *scan = walk->scan;

	for (;;) {
		size_t used = size, made = RAW_BYTES;

		if (walk->lz4_end)
			return 0;
		int result = lz4frame_decoder_run(scan->decoder, data, &used, scan->raw, &made, &walk->lz4_end);
		if (result == -EBADMSG) {
			walk->bad = true;
			return WAL_END;
		}
		if (result < 0)
			return result;
		data += used;
		size -= used;
		result = walk_piece(walk, scan->raw, made);
		if (result != 0)
			return result;
		/* The decoder may hold more than fitted, so it is asked again until it neither takes nor gives. */
		if (size == 0 && made < RAW_BYTES)
			return 0;
		if (used == 0 && made == 0 && !walk->lz4_end) {
			walk->bad = true;
			return WAL_END;
		}
	}
}

static int start_decoder(struct scan *scan)
{
	if (!scan->raw) {
		scan->raw = malloc(RAW_BYTES);
		if (!scan->raw)
			return -ENOMEM;
	}
	if (scan->decoder) {
		lz4frame_decoder_reset(scan->decoder);
		return 0;
	}
	return lz4frame_decoder_new(&scan->decoder);
}

/* Walks all entries. 0; WAL_END if the payload does not hold just entry_count of them (or is no LZ4 frame); < 0. */
static int walk_lengths(struct scan *scan, uint64_t offset, const struct frame_header *h, int (*visit)(void *arg, uint32_t size), void *arg)
{
	struct length_walk walk = { .scan = scan, .visit = visit, .arg = arg, .count_max = h->entry_count };
	int result = h->type == FRAME_LZ4 ? start_decoder(scan) : 0;

	if (result < 0)
		return result;
	result = for_pieces(scan, offset + FRAME_HEADER_BYTES, h->disk_size, h->type == FRAME_LZ4 ? lz4_piece : walk_piece, &walk);
	if (result < 0)
		return result;
	if (h->type == FRAME_LZ4 && !lz4frame_decoder_may_end(scan->decoder))
		walk.bad = true;
	return walk.bad || walk.skip > 0 || walk.prefix_have > 0 || walk.count != h->entry_count ? WAL_END : 0;
}

int scan_frame(struct scan *scan, uint64_t offset, struct frame_header *ret_header, enum frame_fault *ret_fault)
{
	struct frame_header h = { 0 };
	const uint8_t *data;
	int result;

	*ret_header = h;
	if (scan->size < FRAME_HEADER_BYTES || offset > scan->size - FRAME_HEADER_BYTES) {
		*ret_fault = FRAME_BAD_SIZE;
		return 0;
	}
	result = window(scan, offset, FRAME_HEADER_BYTES, &data);
	if (result < 0)
		return result;
	*ret_fault = frame_decode_header(data, &h);
	*ret_header = h;
	if (*ret_fault != FRAME_OK)
		return 0;
	if (h.disk_size > scan->size - offset - FRAME_HEADER_BYTES) {
		*ret_fault = FRAME_BAD_SIZE;
		return 0;
	}

	/* Most frames fit the buffer: then both checks are over memory. */
	if (h.disk_size <= scan->capacity - FRAME_HEADER_BYTES) {
		result = window(scan, offset, FRAME_HEADER_BYTES + (size_t)h.disk_size, &data);
		if (result < 0)
			return result;
		*ret_fault = frame_crc(data, h.disk_size) == h.crc ? FRAME_OK : FRAME_BAD_CRC;
		if (*ret_fault == FRAME_OK && h.type == FRAME_RAW)
			*ret_fault = frame_check_payload(data + FRAME_HEADER_BYTES, h.disk_size, h.entry_count);
		if (*ret_fault != FRAME_OK || h.type == FRAME_RAW)
			return 0;
	} else {
		uint32_t crc = frame_crc_begin(h.start_id, h.entry_count, h.type, h.disk_size);

		result = for_pieces(scan, offset + FRAME_HEADER_BYTES, h.disk_size, crc_piece, &crc);
		if (result < 0)
			return result;
		if (crc != h.crc) {
			*ret_fault = FRAME_BAD_CRC;
			return 0;
		}
	}
	result = walk_lengths(scan, offset, &h, NULL, NULL);
	if (result == WAL_END)
		*ret_fault = h.type == FRAME_LZ4 ? FRAME_BAD_LZ4 : FRAME_BAD_PAYLOAD;
	return result < 0 ? result : 0;
}

void scan_accept(struct scan *scan, uint64_t offset, const struct frame_header *h)
{
	/* Where it came from is found out if someone asks, which is seldom. */
	scan->accepted = true;
	scan->accepted_offset = offset;
	scan->accepted_header = *h;
}

int scan_lengths(struct scan *scan, uint64_t offset, const struct frame_header *h, int (*visit)(void *arg, uint32_t size), void *arg)
{
	int result = walk_lengths(scan, offset, h, visit, arg);

	/* The frame was valid a moment ago. */
	return result == WAL_END ? -EBADMSG : result;
}

/* The next place in [from, size) where a header could stand, by its first magic byte. WAL_END. */
static int next_candidate(struct scan *scan, uint64_t from, uint64_t *ret)
{
	while (scan->size >= FRAME_HEADER_BYTES && from <= scan->size - FRAME_HEADER_BYTES) {
		const uint8_t *data, *hit;
		int result = window(scan, from, FRAME_HEADER_BYTES, &data);
		if (result < 0)
			return result;
		size_t have = (size_t)(scan->buffer_offset + scan->buffer_size - from);

		hit = memchr(data, FRAME_MAGIC & 0xff, have);
		if (hit) {
			*ret = from + (uint64_t)(hit - data);
			return *ret <= scan->size - FRAME_HEADER_BYTES ? 0 : WAL_END;
		}
		from += have;
	}
	return WAL_END;
}

/* As scan_find(), of the frames whose origin is among `origins`, a set of bits. */
static int find(struct scan *scan, uint64_t from, uint64_t id_min, uint64_t id_end, unsigned origins, uint64_t *ret_offset, struct frame_header *ret_header)
{
	for (;; from++) {
		struct frame_header h;
		enum frame_fault fault;
		const uint8_t *data;
		int result = next_candidate(scan, from, &from);

		if (result == 0)
			result = window(scan, from, FRAME_HEADER_BYTES, &data);
		if (result != 0)
			return result;
		if (frame_decode_header(data, &h) != FRAME_OK || h.disk_size > scan->size - from - FRAME_HEADER_BYTES ||
		    h.start_id < id_min || h.start_id >= id_end || h.entry_count > id_end - h.start_id ||
		    !(origins & 1u << frame_origin(&h, scan->segment_id, from)))
			continue;
		if (h.disk_size > scan->search_budget)
			return WAL_TIMEOUT;
		result = scan_frame(scan, from, &h, &fault);
		if (result < 0)
			return result;
		if (fault == FRAME_OK) {
			*ret_offset = from;
			*ret_header = h;
			return 0;
		}
		scan->search_budget -= h.disk_size;
	}
}

/* Which frames count behind `from`: 1 if those without a mark do too, 0 if not, < 0. */
static int plain_counts(struct scan *scan, uint64_t from)
{
	struct frame_header h;
	uint64_t offset;

	if (scan->accepted)
		return frame_origin(&scan->accepted_header, scan->segment_id, scan->accepted_offset) == FRAME_PLAIN;
	if (scan->made_here)
		return 0;
	if (scan->marked_behind < 0) {
		int result = find(scan, from, 0, UINT64_MAX, 1u << FRAME_OURS, &offset, &h);

		if (result < 0)
			return result;
		scan->marked_behind = result != WAL_END;
	}
	return !scan->marked_behind;
}

int scan_find(struct scan *scan, uint64_t from, uint64_t id_min, uint64_t id_end, uint64_t *ret_offset, struct frame_header *ret_header)
{
	int plain = plain_counts(scan, from);

	if (plain < 0)
		return plain;
	return find(scan, from, id_min, id_end, 1u << FRAME_OURS | (plain ? 1u << FRAME_PLAIN : 0), ret_offset, ret_header);
}

/* 1 if the frame says that what lies before the `passed` frames in front of it had been durable, 0 if not. */
static int vouches(struct scan *scan, uint64_t offset, const struct frame_header *h, uint64_t id, uint64_t passed)
{
	uint64_t payload = offset + FRAME_HEADER_BYTES;

	if (h->start_id < id)
		return 1;
	if (frame_origin(h, scan->segment_id, offset) == FRAME_OURS)
		return h->unsynced < FRAME_UNSYNCED_UNKNOWN && h->unsynced <= passed;
	/* A frame of empty entries stays valid if a power cut takes the sector that begins between its disk_size and its mark. */
	int result = scan_is_zero(scan, payload, payload + h->disk_size);
	return result < 0 ? result : !result;
}

int scan_vouched(struct scan *scan, uint64_t offset, uint64_t id)
{
	uint64_t passed = 0; /* the frames behind the bad bytes and before the one that is asked */
	int plain = plain_counts(scan, offset);

	if (plain < 0)
		return plain;
	for (uint64_t from = offset;;) {
		struct frame_header h;
		int result = find(scan, from, 0, UINT64_MAX, 1u << FRAME_OURS | (plain ? 1u << FRAME_PLAIN : 0), &from, &h);

		if (result == WAL_END || result < 0)
			return result < 0 ? result : 0;
		result = result == WAL_TIMEOUT ? 1 : vouches(scan, from, &h, id, passed);
		if (result != 0)
			return result;
		passed++;
		from += FRAME_HEADER_BYTES + (uint64_t)h.disk_size;
	}
}

static int zero_piece(void *arg, const uint8_t *data, size_t size)
{
	(void)arg;
	/* Each byte equals the next one, and the first is zero. */
	return data[0] != 0 || memcmp(data, data + 1, size - 1) != 0 ? WAL_END : 0;
}

int scan_is_zero(struct scan *scan, uint64_t from, uint64_t to)
{
	int result = from < to ? for_pieces(scan, from, to - from, zero_piece, NULL) : 0;

	return result < 0 ? result : result == 0;
}
