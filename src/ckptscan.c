/* SPDX-License-Identifier: Apache-2.0 */
#include "ckptscan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32.h"

enum {
	WINDOW_BYTES = 256 * 1024, /* holds any record of 30,000 shards or 1,000 streams whole */
	PIECE_BYTES = 512,
	SAMPLES_MAX = 1 << 20,
	CUT_SHORT_MAX = 1 << 20,
	FOUND_BYTES = 128,
};

struct scanner {
	const struct ckptscan *scan;
	struct sys *sys;
	int fd;
	uint64_t size;

	/* The file's bytes from window_offset on. */
	uint8_t *window;
	uint64_t window_offset;
	size_t window_size;

	/* Of a record that does not fit into the window. */
	uint8_t *large;

	/* The checksum of the first i * stride bytes; NULL until it is needed. */
	uint32_t *samples;
	uint64_t stride;

	/* How many more bytes may be stepped over to find the ends of bad records. */
	uint64_t walk_budget;

	char found[FOUND_BYTES]; /* what stands at the beginning of the bad place at hand */
};

/* Like pread, but what the file has lost since its size was taken reads as zeros: it is not there then, and so does not hold. */
static int read_at(struct scanner *s, void *data, size_t size, uint64_t offset)
{
	ssize_t n = sys_pread_full(s->sys, s->fd, data, size, offset);

	if (n < 0)
		return (int)n;
	memset((uint8_t *)data + n, 0, size - (size_t)n);
	return 0;
}

/* `size` bytes at `offset`, no more than WINDOW_BYTES and not beyond the file's end; valid until the next call. */
static int peek(struct scanner *s, uint64_t offset, size_t size, const uint8_t **ret_data)
{
	if (offset < s->window_offset || offset + size > s->window_offset + s->window_size) {
		uint64_t left = s->size - offset;
		size_t n = left < WINDOW_BYTES ? (size_t)left : WINDOW_BYTES;

		s->window_size = 0;
		int result = read_at(s, s->window, n, offset);
		if (result < 0)
			return result;
		s->window_offset = offset;
		s->window_size = n;
	}
	*ret_data = s->window + (offset - s->window_offset);
	return 0;
}

/* ---- Checksums ---- */

/* Goes on with *crc over the range. */
static int add_range(struct scanner *s, uint64_t offset, uint64_t size, uint32_t *crc)
{
	while (size > 0) {
		size_t n = size < WINDOW_BYTES ? (size_t)size : WINDOW_BYTES;
		const uint8_t *data;
		int result = peek(s, offset, n, &data);

		if (result < 0)
			return result;
		*crc = crc32_update(*crc, data, n);
		offset += n;
		size -= n;
	}
	return 0;
}

static int take_samples(struct scanner *s)
{
	uint32_t crc = 0;
	int result = 0;

	s->stride = PIECE_BYTES;
	while (s->size / s->stride >= SAMPLES_MAX)
		s->stride *= 2;
	size_t count = (size_t)(s->size / s->stride) + 1;
	uint32_t *samples = calloc(count, sizeof *samples);
	if (!samples)
		return -ENOMEM;
	for (size_t i = 1; i < count && result == 0; i++) {
		result = add_range(s, (i - 1) * s->stride, s->stride, &crc);
		samples[i] = crc;
	}
	if (result < 0)
		free(samples);
	else
		s->samples = samples;
	return result;
}

/* Of the first `end` bytes. Leaves the window alone: the search goes on in it. */
static int crc_of_prefix(struct scanner *s, uint64_t end, uint32_t *ret_crc)
{
	uint8_t piece[PIECE_BYTES];
	uint64_t at = end / s->stride * s->stride;
	uint32_t crc = s->samples[end / s->stride];

	while (at < end) {
		size_t n = end - at < PIECE_BYTES ? (size_t)(end - at) : PIECE_BYTES;
		int result = read_at(s, piece, n, at);

		if (result < 0)
			return result;
		crc = crc32_update(crc, piece, n);
		at += n;
	}
	*ret_crc = crc;
	return 0;
}

static int crc_of_payload(struct scanner *s, uint64_t offset, uint32_t size, uint32_t *ret_crc)
{
	uint32_t before, with;

	*ret_crc = 0;
	if (!s->samples)
		return add_range(s, offset, size, ret_crc);
	int result = crc_of_prefix(s, offset, &before);
	if (result == 0)
		result = crc_of_prefix(s, offset + size, &with);
	if (result == 0)
		*ret_crc = with ^ crc32_join(before, 0, size);
	return result;
}

/* ---- One place ---- */

enum verdict {
	HOLDS,
	NO_RECORD,
	MALFORMED, /* its checksum holds, so its length is right, but not what it says */
};

struct judged {
	enum verdict verdict;
	uint64_t end; /* unless NO_RECORD */
	uint32_t size;
	const uint8_t *payload; /* HOLDS: until the next peek */
	struct record record;
};

/* What does not hold at the beginning of a bad place is what is told of it. */
__attribute__((format(printf, 3, 4))) static void note(struct scanner *s, bool wanted, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	if (wanted && vsnprintf(s->found, sizeof s->found, format, args) < 0)
		s->found[0] = '\0';
	va_end(args);
}

static void note_bytes(struct scanner *s, bool wanted, const uint8_t *data, size_t size)
{
	char text[3 * RECORD_HEADER + 1] = "";

	for (size_t i = 0; i < size && i < RECORD_HEADER; i++)
		snprintf(text + 3 * i, sizeof text - 3 * i, " %02x", data[i]);
	note(s, wanted, "the bytes%s", text);
}

static int get_payload(struct scanner *s, uint64_t offset, uint32_t size, const uint8_t **ret_payload)
{
	if (size <= WINDOW_BYTES)
		return peek(s, offset, size, ret_payload);
	free(s->large);
	s->large = malloc(size);
	if (!s->large)
		return -ENOMEM;
	*ret_payload = s->large;
	return read_at(s, s->large, size, offset);
}

static int judge(struct scanner *s, uint64_t pos, bool wanted, struct judged *ret)
{
	uint64_t left = s->size - pos;
	uint32_t crc, computed, size;
	const uint8_t *data;

	*ret = (struct judged){ .verdict = NO_RECORD };
	int result = peek(s, pos, left < RECORD_HEADER ? (size_t)left : RECORD_HEADER, &data);
	if (result < 0)
		return result;
	if (left < RECORD_HEADER || !record_header(data, &crc, &size)) {
		note_bytes(s, wanted, data, (size_t)left);
		return 0;
	}
	left -= RECORD_HEADER;
	if (size > left) {
		note(s, wanted, "a record of %" PRIu32 " bytes of which %" PRIu64 " are there", size, left);
		return 0;
	}
	result = crc_of_payload(s, pos + RECORD_HEADER, size, &computed);
	if (result < 0)
		return result;
	if (computed != crc) {
		note(s, wanted, "a record of %" PRIu32 " bytes with checksum %08" PRIx32 " instead of %08" PRIx32, size, crc, computed);
		return s->samples ? 0 : take_samples(s);
	}
	result = get_payload(s, pos + RECORD_HEADER, size, &ret->payload);
	if (result < 0)
		return result;
	const char *fault = record_parse(ret->payload, size, &ret->record);
	note(s, wanted && fault, "a record of %" PRIu32 " bytes with %s", size, fault ? fault : "");
	ret->verdict = fault ? MALFORMED : HOLDS;
	ret->size = size;
	ret->end = pos + RECORD_HEADER + size;
	return 0;
}

/* ---- Where a bad record ends ---- */

/* Steps over `count` streams from *at on, to `end` or beyond at most. *ret_whole: all of them were before it. */
static int walk_streams(struct scanner *s, uint64_t *at, uint64_t end, uint32_t count, bool *ret_whole)
{
	const uint8_t *data;

	*ret_whole = false;
	for (; count > 0 && *at < end; count--) {
		int result = peek(s, *at, 1, &data);

		if (result < 0)
			return result;
		uint64_t bytes = 1 + (uint64_t)data[0] + 8;
		if (data[0] == 0 || bytes > s->walk_budget)
			return 0;
		s->walk_budget -= bytes;
		*at += bytes;
	}
	*ret_whole = count == 0 && *at <= end;
	return 0;
}

/*
 * Where the bad record at `pos` ends if all its fields agree on that; the file's end if it is one of version 2 that is cut short there (ironwal, which writes version 1, goes on behind
 * those); 0 if there is no saying. A length that is just garbage mostly is a large one, and must not cost the records behind it: so large ones are not believed to be cut short.
 */
static int believed_end(struct scanner *s, uint64_t pos, uint64_t *ret_end)
{
	uint64_t payload = pos + RECORD_HEADER, at;
	uint32_t crc, size, count;
	const uint8_t *data;
	bool whole;

	*ret_end = 0;
	if (s->size - pos < RECORD_HEADER + 3)
		return 0;
	int result = peek(s, pos, RECORD_HEADER + 3, &data);
	if (result < 0 || !record_header(data, &crc, &size))
		return result;
	unsigned version = data[RECORD_HEADER];
	uint64_t end = payload + size < s->size ? payload + size : s->size;
	bool cut = payload + size > s->size;
	/* The number of streams or shards, behind id and time. */
	at = payload + 3 + get_le16(data + RECORD_HEADER + 1) + 8;
	size_t count_bytes = version == 1 ? 2 : 4;
	if ((version != 1 && version != 2) || (cut && (version == 1 || size > CUT_SHORT_MAX)))
		return 0;
	if (at + count_bytes > end) {
		*ret_end = cut ? end : 0;
		return 0;
	}
	result = peek(s, at, count_bytes, &data);
	if (result < 0)
		return result;
	count = version == 1 ? get_le16(data) : get_le32(data);
	at += count_bytes;
	if (version == 1) {
		at += 8 * (uint64_t)count;
		whole = true;
	} else {
		result = walk_streams(s, &at, end, count, &whole);
	}
	if (result == 0 && (cut ? !whole && at >= end : whole && at == end))
		*ret_end = end;
	return result;
}

/* The next place at or behind `pos` where the magic stands, or the file's end. */
static int find_magic(struct scanner *s, uint64_t pos, uint64_t *ret_pos)
{
	while (s->size - pos >= RECORD_HEADER) {
		const uint8_t *data;
		int result = peek(s, pos, RECORD_HEADER, &data);

		if (result < 0)
			return result;
		uint64_t in_window = s->window_offset + s->window_size - pos;
		const uint8_t *hit = memmem(data, (size_t)in_window, RECORD_MAGIC, RECORD_MAGIC_BYTES);
		if (hit) {
			*ret_pos = pos + (uint64_t)(hit - data);
			return 0;
		}
		pos += in_window - (RECORD_MAGIC_BYTES - 1);
	}
	*ret_pos = s->size;
	return 0;
}

/* Where to look next when no record holds at `pos`; `expected`: one should begin there. */
static int step(struct scanner *s, uint64_t pos, bool expected, uint64_t *ret_pos, bool *ret_expected)
{
	struct judged next;
	uint64_t end = 0;
	int result = expected ? believed_end(s, pos, &end) : 0;

	if (result == 0 && end > 0 && end < s->size)
		result = judge(s, end, false, &next);
	if (result < 0)
		return result;
	*ret_expected = end > 0 && (end == s->size || next.verdict != NO_RECORD);
	if (!*ret_expected)
		return find_magic(s, pos + 1, ret_pos);
	*ret_pos = end;
	return 0;
}

/* ---- The whole ---- */

static int tell_bad(struct scanner *s, uint64_t from, uint64_t to, bool at_end)
{
	struct ckptscan_bad bad = { .offset = from, .bytes = to - from, .at_end = at_end, .found = s->found };

	bad.expected = at_end ? "a record, or the end of the file" : "a record";
	return s->scan->bad(s->scan->arg, &bad);
}

static int run(struct scanner *s)
{
	uint64_t pos = 0, bad_from = 0;
	bool expected = true;
	int result = 0;

	while (pos < s->size && result == 0) {
		struct judged here;

		result = judge(s, pos, pos == bad_from, &here);
		if (result < 0)
			return result;
		if (here.verdict == HOLDS) {
			if (bad_from < pos)
				result = tell_bad(s, bad_from, pos, false);
			if (result == 0)
				result = s->scan->record(s->scan->arg, pos, here.payload, here.size, &here.record);
			bad_from = here.end;
		}
		if (here.verdict == NO_RECORD && result == 0) {
			result = step(s, pos, expected, &pos, &expected);
		} else {
			pos = here.end;
			expected = true;
		}
	}
	if (result == 0 && bad_from < s->size)
		result = tell_bad(s, bad_from, s->size, true);
	return result;
}

int ckptscan_run(const struct ckptscan *scan, struct sys *sys, int fd, uint64_t *ret_size)
{
	struct scanner s = { .scan = scan, .sys = sys, .fd = fd };
	struct stat sb;
	int result = sys->fstat(sys, fd, &sb);

	if (result < 0)
		return result;
	s.size = (uint64_t)sb.st_size;
	/* Those that are bad by accident are stepped over once. */
	s.walk_budget = s.size * 4;
	s.window = malloc(WINDOW_BYTES);
	result = s.window ? run(&s) : -ENOMEM;
	free(s.window);
	free(s.large);
	free(s.samples);
	if (result == 0)
		*ret_size = s.size;
	return result;
}
