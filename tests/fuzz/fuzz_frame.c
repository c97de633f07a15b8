/* SPDX-License-Identifier: Apache-2.0 */
/* One frame: its header, its checksum, the entries of its payload. */
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "fuzz.h"

static void walk(const uint8_t *payload, uint64_t size, uint32_t entry_count)
{
	struct frame_cursor c = { .pos = payload, .end = payload + size };
	const uint8_t *data, *at = payload;
	uint32_t data_size;
	uint64_t n = 0;

	for (; frame_cursor_next(&c, &data, &data_size); n++) {
		CHECK(data == at + FRAME_LENGTH_BYTES && data_size <= (uint64_t)(payload + size - data));
		at = data + data_size;
	}
	bool whole = at == payload + size && n == entry_count;
	CHECK((frame_check_payload(payload, size, entry_count) == FRAME_OK) == whole);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t again[FRAME_HEADER_BYTES];
	struct frame_header h = { 0 };

	if (size < FRAME_HEADER_BYTES)
		return 0;
	enum frame_fault fault = frame_decode_header(data, &h);
	CHECK(frame_fault_text(fault));
	walk(data + FRAME_HEADER_BYTES, size - FRAME_HEADER_BYTES, h.entry_count);
	if (fault != FRAME_OK)
		return 0;
	CHECK(h.entry_count > 0 && h.start_id <= UINT64_MAX - h.entry_count);
	frame_encode_header(again, &h);
	CHECK(memcmp(again, data, FRAME_HEADER_BYTES) == 0);
	if (h.disk_size <= size - FRAME_HEADER_BYTES)
		(void)frame_check_crc(&h, data + FRAME_HEADER_BYTES);

	uint8_t *raw;
	uint64_t raw_size;
	if (fuzz_frame_at(data, size, 0, &h, &raw, &raw_size)) {
		walk(raw, raw_size, h.entry_count);
		free(raw);
	}
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (seed % 2)
		fuzz_fix_frames(data, size, 0, seed);
	return size;
}
