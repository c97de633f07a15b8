/* SPDX-License-Identifier: Apache-2.0 */
/* A segment's bytes: what the scan says of every place, in pieces through a small buffer, is what the reference says of it in memory. The first byte is the buffer's size. */
#include <stdlib.h>
#include <unistd.h>

#include "fuzz.h"
#include "scan.h"
#include "wal.h"

struct lengths {
	uint64_t bytes;
	uint32_t count;
};

static int add_length(void *arg, uint32_t size)
{
	struct lengths *l = arg;

	l->bytes += size;
	l->count++;
	return 0;
}

static void check_place(struct scan *scan, const uint8_t *data, size_t size, size_t at, bool *ret_valid)
{
	struct frame_header h, expected;
	struct lengths l = { 0 };
	enum frame_fault fault;
	uint8_t *raw;
	uint64_t raw_size;
	bool valid = fuzz_frame_at(data, size, at, &expected, &raw, &raw_size);

	CHECK(scan_frame(scan, at, &h, &fault) == 0);
	CHECK((fault == FRAME_OK) == valid, "at %zu: %s", at, frame_fault_text(fault));
	*ret_valid = valid;
	if (!valid)
		return;
	free(raw);
	CHECK(h.start_id == expected.start_id && h.entry_count == expected.entry_count && h.disk_size == expected.disk_size);
	CHECK(scan_lengths(scan, at, &h, add_length, &l) == 0);
	CHECK(l.count == h.entry_count && l.bytes + (uint64_t)l.count * FRAME_LENGTH_BYTES == raw_size);
}

/* Of the valid frame there. */
static enum frame_origin origin_at(const uint8_t *data, size_t at)
{
	struct frame_header h;

	CHECK(frame_decode_header(data + at, &h) == FRAME_OK);
	return frame_origin(&h, 0, at);
}

static bool any_of_ours(const uint8_t *data, size_t size)
{
	struct frame_header h;
	uint8_t *raw;
	uint64_t raw_size;

	for (size_t at = 0; at < size; at++) {
		if (data[at] != (FRAME_MAGIC & 0xff) || !fuzz_frame_at(data, size, at, &h, &raw, &raw_size))
			continue;
		free(raw);
		if (origin_at(data, at) == FRAME_OURS)
			return true;
	}
	return false;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t found = 0, offset, from = 0, zeros_from = 0;
	struct frame_header h;
	struct scan scan;

	if (size < 1)
		return 0;
	size_t buffer = 4096 + (size_t)data[0] * 64;
	data++;
	size--;
	int fd = fuzz_memfd(data, size);
	CHECK(scan_init(&scan, sys_real(), fd, 0, size, buffer) == 0);
	/* A copy of a frame that was written elsewhere is not one of this segment; one without a mark is, if there is none with one that holds. */
	unsigned origins = 1u << FRAME_OURS | (any_of_ours(data, size) ? 0 : 1u << FRAME_PLAIN);
	/* The search stops where it must and nowhere else. */
	int result = scan_find(&scan, 0, 0, UINT64_MAX, &offset, &h);
	for (size_t at = 0; at < size; at++) {
		bool valid;

		if (data[at] != (FRAME_MAGIC & 0xff) && at % 997 != 0)
			continue;
		check_place(&scan, data, size, at, &valid);
		if (!valid || at < from || !(origins & 1u << origin_at(data, at)))
			continue;
		CHECK(result == 0 && offset == at, "%d, %zu, expected %zu", result, (size_t)offset, at);
		found++;
		from = at + 1;
		result = scan_find(&scan, from, 0, UINT64_MAX, &offset, &h);
	}
	CHECK(result == WAL_END || result == WAL_TIMEOUT, "%d after %zu", result, (size_t)found);
	for (size_t at = size; at > 0 && data[at - 1] == 0; at--)
		zeros_from = at - 1;
	if (size > 0 && data[size - 1] == 0) {
		CHECK(scan_is_zero(&scan, zeros_from, size) == 1);
		if (zeros_from > 0)
			CHECK(scan_is_zero(&scan, zeros_from - 1, size) == 0);
	}
	scan_release(&scan);
	close(fd);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (seed % 2 && size > 1)
		fuzz_fix_frames(data + 1, size - 1, 0, seed);
	return size;
}
