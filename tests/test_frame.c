/* SPDX-License-Identifier: Apache-2.0 */
#include "frame.h"

#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "test.h"

/* The first two worked examples are bytes of files that ironwal wrote. */
/* Where the frames made here are said to stand. */
enum {
	SEGMENT = 1000,
	OFFSET = 4096,
};

static const uint8_t empty_entry[] = {
	0x4c, 0x41, 0x57, 0x4c, 0xf4, 0x12, 0xd8, 0x18, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, /* header */
	0, 0, 0, 0,
};
static const uint8_t one_byte_entry[] = {
	0x4c, 0x41, 0x57, 0x4c, 0x1d, 0xf0, 0x2e, 0x92, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 5, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, /* header */
	1, 0, 0, 0, 0x7b,
};

/* A frame of `count` entries with i bytes each, made by hand; the caller frees it. */
static uint8_t *make_frame(uint64_t start_id, uint32_t count, uint8_t unsynced, size_t *ret_size)
{
	struct frame_header h = { .start_id = start_id, .entry_count = count, .unsynced = unsynced };
	uint8_t *frame, *p;

	for (uint32_t i = 0; i < count; i++)
		h.disk_size += FRAME_LENGTH_BYTES + i;
	h.raw_size = h.disk_size;
	frame = malloc(FRAME_HEADER_BYTES + h.disk_size);
	p = frame + FRAME_OFF_PAYLOAD;
	for (uint32_t i = 0; i < count; i++) {
		put_le32(p, i);
		memset(p + FRAME_LENGTH_BYTES, 'a' + (int)i % 26, i);
		p += FRAME_LENGTH_BYTES + i;
	}
	h.crc = crc32_update(frame_crc_begin(start_id, count, h.type, h.disk_size), frame + FRAME_OFF_PAYLOAD, h.disk_size);
	frame_set_mark(&h, SEGMENT, OFFSET);
	frame_encode_header(frame, &h);
	*ret_size = FRAME_HEADER_BYTES + h.disk_size;
	return frame;
}

static enum frame_fault check_frame(const uint8_t *frame, struct frame_header *h)
{
	enum frame_fault fault = frame_decode_header(frame, h);

	if (fault == FRAME_OK)
		fault = frame_check_crc(h, frame + FRAME_OFF_PAYLOAD);
	if (fault == FRAME_OK && h->type == FRAME_RAW)
		fault = frame_check_payload(frame + FRAME_OFF_PAYLOAD, h->disk_size, h->entry_count);
	return fault;
}

static void frames_of_the_original(void **state)
{
	struct frame_header h;

	(void)state;
	assert_int_equal(check_frame(empty_entry, &h), FRAME_OK);
	assert_int_equal(h.start_id, 0);
	assert_int_equal(h.entry_count, 1);
	assert_int_equal(h.type, FRAME_RAW);
	assert_int_equal(h.disk_size, 4);
	assert_int_equal(h.raw_size, 4);
	assert_int_equal(h.crc, 0x18d812f4);
	assert_int_equal(frame_origin(&h, 0, 0), FRAME_PLAIN);

	assert_int_equal(check_frame(one_byte_entry, &h), FRAME_OK);
	assert_int_equal(h.start_id, 1);
	assert_int_equal(h.disk_size, 5);
	assert_int_equal(frame_origin(&h, 0, 36), FRAME_PLAIN);
}

/* All but the three bytes that ironwal writes as zeros. */
static void our_frame_is_the_originals(void **state)
{
	struct frame_header h = { .start_id = 1, .entry_count = 1, .disk_size = 5, .raw_size = 5, .type = FRAME_RAW };
	uint8_t out[FRAME_HEADER_BYTES];

	(void)state;
	h.crc = crc32_update(frame_crc_begin(1, 1, FRAME_RAW, 5), one_byte_entry + FRAME_OFF_PAYLOAD, 5);
	frame_set_mark(&h, 0, 36);
	frame_encode_header(out, &h);
	assert_memory_equal(out, one_byte_entry, FRAME_OFF_UNSYNCED);
	assert_int_equal(out[FRAME_OFF_UNSYNCED], 0);
	assert_int_not_equal(get_le16(out + FRAME_OFF_MARK), 0);
}

static void header_round_trip(void **state)
{
	static const struct frame_header cases[] = {
		{ .start_id = 0, .entry_count = 1, .disk_size = 4, .raw_size = 4, .crc = 0, .unsynced = 0 },
		{ .start_id = UINT64_MAX - 1, .entry_count = 1, .disk_size = UINT32_MAX, .raw_size = UINT32_MAX, .crc = UINT32_MAX, .unsynced = 254 },
		{ .start_id = 0x1122334455667788, .entry_count = 0x3fffffff, .disk_size = UINT32_MAX, .raw_size = 1, .crc = 0x12345678, .unsynced = 255 },
		{ .start_id = 5, .entry_count = UINT32_MAX, .disk_size = UINT32_MAX / 60, .raw_size = 7, .crc = 1, .type = FRAME_LZ4, .unsynced = 3 },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		uint8_t out[FRAME_HEADER_BYTES];
		struct frame_header h, marked = cases[i];

		frame_set_mark(&marked, SEGMENT, OFFSET);
		frame_encode_header(out, &marked);
		assert_int_equal(frame_decode_header(out, &h), FRAME_OK);
		assert_true(h.start_id == cases[i].start_id);
		assert_int_equal(h.entry_count, cases[i].entry_count);
		assert_int_equal(h.disk_size, cases[i].disk_size);
		assert_int_equal(h.raw_size, cases[i].raw_size);
		assert_int_equal(h.crc, cases[i].crc);
		assert_int_equal(h.type, cases[i].type);
		assert_int_equal(h.unsynced, cases[i].unsynced);
		assert_int_equal(frame_origin(&h, SEGMENT, OFFSET), FRAME_OURS);
		assert_int_equal(frame_origin(&h, SEGMENT, OFFSET + 1), FRAME_FOREIGN);
		assert_int_equal(frame_origin(&h, SEGMENT + 1, OFFSET), FRAME_FOREIGN);
	}
}

/* Every value of every header byte: only raw_size, the mark and `unsynced` may differ without the frame being refused. */
/* The header of what stands in memory already is the same as that of what stands elsewhere. */
static void header_before_its_payload(void **state)
{
	uint8_t frame[FRAME_HEADER_BYTES + 700], expected[FRAME_HEADER_BYTES];

	(void)state;
	for (uint32_t size = FRAME_LENGTH_BYTES; size <= sizeof frame - FRAME_HEADER_BYTES; size += 29) {
		struct frame_header h = { .start_id = 0x1122334455667788 + size, .entry_count = 1, .raw_size = size, .disk_size = size, .unsynced = 7 }, alone = h;

		for (uint32_t i = 0; i < size; i++)
			frame[FRAME_HEADER_BYTES + i] = (uint8_t)(i * 7 + size);
		alone.crc = crc32_update(frame_crc_begin(h.start_id, 1, FRAME_RAW, size), frame + FRAME_HEADER_BYTES, size);
		frame_set_mark(&alone, 1234, 5678);
		frame_encode_header(expected, &alone);
		frame_encode_before(frame, &h, 1234, 5678);
		assert_memory_equal(frame, expected, sizeof expected);
		assert_int_equal(frame[FRAME_HEADER_BYTES + size - 1], (uint8_t)((size - 1) * 7 + size));
	}
}

static void every_mutation_of_a_header(void **state)
{
	size_t size;
	uint8_t *frame = make_frame(1000, 5, 2, &size);
	uint8_t *padded = calloc(1, size + 64);

	(void)state;
	for (unsigned at = 0; at < FRAME_HEADER_BYTES; at++) {
		for (unsigned value = 0; value < 256; value++) {
			struct frame_header h = { 0 };
			enum frame_fault fault;

			memcpy(padded, frame, size);
			padded[at] = (uint8_t)value;
			if (value == frame[at])
				continue;
			fault = frame_decode_header(padded, &h);
			if (at < FRAME_OFF_CRC) {
				assert_int_equal(fault, FRAME_BAD_MAGIC);
				assert_int_equal(h.disk_size, 0);
				continue;
			}
			if (at >= FRAME_OFF_RAW_SIZE) {
				assert_int_equal(fault, FRAME_OK);
				assert_int_equal(frame_check_crc(&h, padded + FRAME_OFF_PAYLOAD), FRAME_OK);
				assert_int_equal(frame_origin(&h, SEGMENT, OFFSET) == FRAME_OURS, at < FRAME_OFF_UNSYNCED);
				continue;
			}
			if (at == FRAME_OFF_TYPE && value > FRAME_LZ4)
				assert_int_equal(fault, FRAME_BAD_TYPE);
			/* A payload that reaches too far is the business of who knows the file's size. */
			if (fault == FRAME_OK && h.disk_size <= size - FRAME_HEADER_BYTES)
				fault = frame_check_crc(&h, padded + FRAME_OFF_PAYLOAD);
			else if (fault == FRAME_OK)
				fault = FRAME_BAD_SIZE;
			assert_int_not_equal(fault, FRAME_OK);
			if (at < FRAME_OFF_START_ID) {
				assert_int_equal(fault, FRAME_BAD_CRC);
				assert_int_equal(frame_origin(&h, SEGMENT, OFFSET), FRAME_FOREIGN);
			}
		}
	}
	free(padded);
	free(frame);
}

static void every_flipped_bit_of_a_payload(void **state)
{
	struct frame_header h;
	size_t size;
	uint8_t *frame = make_frame(1000, 5, 0, &size);

	(void)state;
	for (size_t at = FRAME_OFF_PAYLOAD; at < size; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			frame[at] ^= (uint8_t)(1u << bit);
			assert_int_equal(check_frame(frame, &h), FRAME_BAD_CRC);
			frame[at] ^= (uint8_t)(1u << bit);
		}
	}
	assert_int_equal(check_frame(frame, &h), FRAME_OK);
	free(frame);
}

static enum frame_fault decode_counts(uint64_t start_id, uint32_t count, uint8_t type, uint32_t disk_size, struct frame_header *h)
{
	uint8_t in[FRAME_HEADER_BYTES] = { 0 };

	put_le32(in, FRAME_MAGIC);
	put_le64(in + FRAME_OFF_START_ID, start_id);
	put_le32(in + FRAME_OFF_ENTRY_COUNT, count);
	in[FRAME_OFF_TYPE] = type;
	put_le32(in + FRAME_OFF_DISK_SIZE, disk_size);
	return frame_decode_header(in, h);
}

static void impossible_counts(void **state)
{
	struct frame_header h;

	(void)state;
	assert_int_equal(decode_counts(0, 0, FRAME_RAW, 4, &h), FRAME_BAD_COUNT);
	assert_int_equal(decode_counts(0, 1, FRAME_RAW, 3, &h), FRAME_BAD_COUNT);
	assert_int_equal(h.disk_size, 3);
	assert_int_equal(decode_counts(0, 1, FRAME_RAW, 4, &h), FRAME_OK);
	assert_int_equal(decode_counts(0, 2, FRAME_RAW, 7, &h), FRAME_BAD_COUNT);
	assert_int_equal(decode_counts(0, UINT32_MAX, FRAME_RAW, UINT32_MAX, &h), FRAME_BAD_COUNT);
	/* 0x40000001 * 4 is 4 in 32 bits. */
	assert_int_equal(decode_counts(0, 0x40000001, FRAME_RAW, 8, &h), FRAME_BAD_COUNT);
	assert_int_equal(decode_counts(0, 1, FRAME_LZ4, 0, &h), FRAME_BAD_COUNT);
	assert_int_equal(decode_counts(0, 63, FRAME_LZ4, 1, &h), FRAME_OK);
	assert_int_equal(decode_counts(0, 64, FRAME_LZ4, 1, &h), FRAME_BAD_COUNT);
	assert_int_equal(decode_counts(0, 1, 2, 4, &h), FRAME_BAD_TYPE);
	assert_int_equal(h.type, 2);
}

/* The id after the last one must exist, or it would be 0 again. */
static void ids_do_not_wrap(void **state)
{
	struct frame_header h;

	(void)state;
	assert_int_equal(decode_counts(UINT64_MAX, 1, FRAME_RAW, 4, &h), FRAME_BAD_COUNT);
	assert_int_equal(decode_counts(UINT64_MAX - 1, 1, FRAME_RAW, 4, &h), FRAME_OK);
	assert_int_equal(decode_counts(UINT64_MAX - 1, 2, FRAME_RAW, 8, &h), FRAME_BAD_COUNT);
	assert_int_equal(decode_counts(UINT64_MAX - 2, 2, FRAME_RAW, 8, &h), FRAME_OK);
}

/* The three zeros of ironwal must not pass for a mark, whatever the checksum. */
static void mark_is_never_zero(void **state)
{
	uint8_t in[FRAME_HEADER_BYTES], out[FRAME_HEADER_BYTES];
	struct frame_header h = { .entry_count = 1, .disk_size = 4 };
	unsigned folds_to_zero = 0;

	(void)state;
	for (uint32_t i = 0; i < 300000; i++) {
		struct frame_header back;
		uint8_t covered[21] = { 0 };
		uint32_t sum;

		h.crc = i * 2654435761u;
		put_le32(covered + 1, h.crc);
		sum = crc32_update(0, covered, sizeof(covered));
		folds_to_zero += (uint16_t)(sum ^ sum >> 16) == 0;
		frame_set_mark(&h, 0, 0);
		frame_encode_header(out, &h);
		assert_int_not_equal(get_le16(out + FRAME_OFF_MARK), 0);
		memcpy(in, out, sizeof(in));
		memset(in + FRAME_OFF_UNSYNCED, 0, 3);
		assert_int_equal(frame_decode_header(in, &back), FRAME_OK);
		assert_int_equal(frame_origin(&back, 0, 0), FRAME_PLAIN);
	}
	/* Else this has not tried what it is for. */
	assert_true(folds_to_zero > 0);
}

static void payloads_that_do_not_add_up(void **state)
{
	static const uint8_t two[] = { 1, 0, 0, 0, 'a', 0, 0, 0, 0 };
	uint8_t longer[sizeof(two)];

	(void)state;
	assert_int_equal(frame_check_payload(two, sizeof(two), 2), FRAME_OK);
	assert_int_equal(frame_check_payload(two, sizeof(two), 1), FRAME_BAD_PAYLOAD);
	assert_int_equal(frame_check_payload(two, sizeof(two), 3), FRAME_BAD_PAYLOAD);
	assert_int_equal(frame_check_payload(two, 0, 1), FRAME_BAD_PAYLOAD);
	assert_int_equal(frame_check_payload(two, 5, 1), FRAME_OK);
	for (size_t size = 1; size < sizeof(two); size++) {
		uint8_t *exact = malloc(size); /* so that a sanitizer sees a step beyond */
		memcpy(exact, two, size);
		assert_int_equal(frame_check_payload(exact, size, 2), FRAME_BAD_PAYLOAD);
		/* Stray bytes behind the right number of entries */
		assert_int_equal(frame_check_payload(exact, size, 1), size == 5 ? FRAME_OK : FRAME_BAD_PAYLOAD);
		free(exact);
	}
	memcpy(longer, two, sizeof(two));
	for (size_t at = 0; at < 4; at++) {
		longer[at] = 0xff;
		assert_int_equal(frame_check_payload(longer, sizeof(two), 2), FRAME_BAD_PAYLOAD);
		longer[at] = two[at];
	}
}

static void cursor_walks_the_entries(void **state)
{
	size_t size;
	uint8_t *frame = make_frame(0, 30, 0, &size);
	struct frame_cursor c = { frame + FRAME_OFF_PAYLOAD, frame + size };
	const uint8_t *data;
	uint32_t n, data_size;

	(void)state;
	for (n = 0; frame_cursor_next(&c, &data, &data_size); n++) {
		assert_int_equal(data_size, n);
		for (uint32_t i = 0; i < n; i++)
			assert_int_equal(data[i], 'a' + n % 26);
	}
	assert_int_equal(n, 30);
	assert_ptr_equal(c.pos, c.end);
	free(frame);
}

/* At every cut the cursor stops before the entry that is not whole, and says so by its position. */
static void cursor_at_a_cut_payload(void **state)
{
	size_t size;
	uint8_t *frame = make_frame(0, 6, 0, &size);

	(void)state;
	for (size_t cut = 0; cut < size - FRAME_HEADER_BYTES; cut++) {
		struct frame_cursor c;
		const uint8_t *data;
		uint32_t data_size;
		uint8_t *exact = malloc(cut + 1);

		memcpy(exact, frame + FRAME_OFF_PAYLOAD, cut);
		c = (struct frame_cursor){ exact, exact + cut };
		while (frame_cursor_next(&c, &data, &data_size))
			assert_true(data + data_size <= exact + cut);
		assert_int_equal(frame_check_payload(exact, cut, 6), FRAME_BAD_PAYLOAD);
		free(exact);
	}
	free(frame);
}

/* As decoding and comparing field by field would have it: not a byte that matters may differ, nor may the id or the size. */
static void single_entries_at_once(void **state)
{
	size_t size;
	uint8_t *batch = make_frame(1000, 2, 0, &size), *frame = make_frame(1000, 1, 7, &size);

	(void)state;
	/* make_frame() makes the first entry empty. */
	assert_int_equal(size, FRAME_HEADER_BYTES + FRAME_LENGTH_BYTES);
	assert_true(frame_is_single(frame, 1000, 0));
	assert_false(frame_is_single(frame, 1001, 0));
	assert_false(frame_is_single(frame, 1000, 1));
	assert_false(frame_is_single(batch, 1000, 0));
	for (unsigned at = 0; at < size; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			frame[at] ^= (uint8_t)(1u << bit);
			assert_int_equal(frame_is_single(frame, 1000, 0), at >= FRAME_OFF_RAW_SIZE && at < FRAME_OFF_PAYLOAD);
			frame[at] ^= (uint8_t)(1u << bit);
		}
	}
	free(batch);
	free(frame);
	assert_true(frame_is_single(one_byte_entry, 1, 1));
}

/* A header that frame_encode_header() would not make, with a crc that holds. */
static void single_entries_that_cannot_be(void **state)
{
	uint8_t frame[FRAME_HEADER_BYTES + FRAME_LENGTH_BYTES] = { 0 };

	(void)state;
	for (uint64_t id = UINT64_MAX - 1; id != 0; id++) {
		for (unsigned count = 1; count <= 2; count++) {
			for (unsigned type = 0; type <= 2; type++) {
				struct frame_header h;

				put_le32(frame + FRAME_OFF_MAGIC, FRAME_MAGIC);
				put_le64(frame + FRAME_OFF_START_ID, id);
				put_le32(frame + FRAME_OFF_ENTRY_COUNT, count);
				frame[FRAME_OFF_TYPE] = (uint8_t)type;
				put_le32(frame + FRAME_OFF_DISK_SIZE, FRAME_LENGTH_BYTES);
				put_le32(frame + FRAME_OFF_CRC, frame_crc(frame, FRAME_LENGTH_BYTES));
				assert_int_equal(frame_is_single(frame, id, 0), type == FRAME_RAW && frame_decode_header(frame, &h) == FRAME_OK);
			}
		}
	}
}

static void every_fault_has_a_text(void **state)
{
	(void)state;
	for (int a = FRAME_OK; a <= FRAME_BAD_LZ4; a++) {
		assert_true(strlen(frame_fault_text((enum frame_fault)a)) > 0);
		assert_string_not_equal(frame_fault_text((enum frame_fault)a), "unknown fault");
		for (int b = FRAME_OK; b < a; b++)
			assert_string_not_equal(frame_fault_text((enum frame_fault)a), frame_fault_text((enum frame_fault)b));
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_of_the_original),
		cmocka_unit_test(our_frame_is_the_originals),
		cmocka_unit_test(header_round_trip),
		cmocka_unit_test(header_before_its_payload),
		cmocka_unit_test(every_mutation_of_a_header),
		cmocka_unit_test(every_flipped_bit_of_a_payload),
		cmocka_unit_test(impossible_counts),
		cmocka_unit_test(ids_do_not_wrap),
		cmocka_unit_test(mark_is_never_zero),
		cmocka_unit_test(payloads_that_do_not_add_up),
		cmocka_unit_test(cursor_walks_the_entries),
		cmocka_unit_test(cursor_at_a_cut_payload),
		cmocka_unit_test(single_entries_at_once),
		cmocka_unit_test(single_entries_that_cannot_be),
		cmocka_unit_test(every_fault_has_a_text),
	};

	return TEST_RUN(tests);
}
