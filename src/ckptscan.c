/* SPDX-License-Identifier: Apache-2.0 */
#include "ckptscan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckptend.h"

enum {
	WINDOW_BYTES = 256 * 1024, /* holds any record of 30,000 shards or 1,000 streams whole */
	FOUND_BYTES = 128,
};

struct scanner {
	const struct ckptscan *scan;
	struct ckptbytes bytes;
	struct ckptwindow window; /* where the scan is */
	struct ckptend end;

	/* Of a record that does not fit into the window. */
	uint8_t *large;

	char found[FOUND_BYTES]; /* what stands at the beginning of the bad place at hand */
};

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
		return ckptbytes_peek(&s->bytes, &s->window, offset, size, ret_payload);
	free(s->large);
	s->large = malloc(size);
	if (!s->large)
		return -ENOMEM;
	*ret_payload = s->large;
	return ckptbytes_read(&s->bytes, s->large, size, offset);
}

static int judge(struct scanner *s, uint64_t pos, bool wanted, struct judged *ret)
{
	uint64_t left = s->bytes.size - pos;
	uint32_t crc, computed, size;
	const uint8_t *data;

	*ret = (struct judged){ .verdict = NO_RECORD };
	int result = ckptbytes_peek(&s->bytes, &s->window, pos, left < RECORD_HEADER ? (size_t)left : RECORD_HEADER, &data);
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
	result = ckptbytes_crc(&s->bytes, &s->window, pos + RECORD_HEADER, size, &computed);
	if (result < 0)
		return result;
	if (computed != crc) {
		note(s, wanted, "a record of %" PRIu32 " bytes with checksum %08" PRIx32 " instead of %08" PRIx32, size, crc, computed);
		return 0;
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

/* Where to look next when no record holds at `pos`; `expected`: one should begin there. */
static int step(struct scanner *s, uint64_t pos, bool expected, uint64_t *ret_pos, bool *ret_expected)
{
	uint64_t end = 0;
	/* What comes now are checksums that mostly do not hold. */
	int result = ckptbytes_sample(&s->bytes, &s->window);

	if (result == 0 && expected)
		result = ckptend_find(&s->end, pos, &end);
	if (result < 0)
		return result;
	*ret_expected = end > 0;
	*ret_pos = end;
	return end > 0 ? 0 : ckptbytes_find_magic(&s->bytes, &s->window, pos + 1, s->bytes.size, ret_pos);
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

	while (pos < s->bytes.size && result == 0) {
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
	if (result == 0 && bad_from < s->bytes.size)
		result = tell_bad(s, bad_from, s->bytes.size, true);
	return result;
}

int ckptscan_run(const struct ckptscan *scan, struct sys *sys, int fd, uint64_t *ret_size)
{
	struct scanner s = { .scan = scan, .bytes = { .sys = sys, .fd = fd }, .window = { .capacity = WINDOW_BYTES } };
	struct stat sb;
	int result = sys->fstat(sys, fd, &sb);

	if (result < 0)
		return result;
	s.bytes.size = (uint64_t)sb.st_size;
	ckptend_init(&s.end, &s.bytes);
	result = run(&s);
	ckptbytes_release(&s.bytes);
	free(s.window.data);
	free(s.end.window.data);
	free(s.large);
	if (result == 0)
		*ret_size = s.bytes.size;
	return result;
}
