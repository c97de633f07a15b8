/* SPDX-License-Identifier: Apache-2.0 */
#include "bytes.h"

#include <string.h>

#include "test.h"

static void integers_are_little_endian(void **state)
{
	static const uint8_t expected[] = { 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11 };
	uint8_t buf[8];

	(void)state;
	put_le64(buf, 0x1122334455667788u);
	assert_memory_equal(buf, expected, 8);
	assert_int_equal(get_le64(buf), 0x1122334455667788u);
	put_le32(buf, 0x55667788);
	assert_memory_equal(buf, expected, 4);
	assert_int_equal(get_le32(buf), 0x55667788);
	put_le16(buf, 0x7788);
	assert_memory_equal(buf, expected, 2);
	assert_int_equal(get_le16(buf), 0x7788);
}

/* A high top byte must not be sign-extended into the upper half. */
static void integers_of_all_ones(void **state)
{
	uint8_t buf[8];

	(void)state;
	memset(buf, 0xff, sizeof(buf));
	assert_true(get_le64(buf) == UINT64_MAX);
	assert_true(get_le32(buf) == UINT32_MAX);
	assert_true(get_le16(buf) == UINT16_MAX);
}

static void varint_round_trip(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 64; bit++) {
		for (int delta = -1; delta <= 1; delta++) {
			uint64_t v = ((uint64_t)1 << bit) + (uint64_t)(int64_t)delta, back = ~v;
			uint8_t buf[VARINT_BYTES_MAX];
			size_t n = put_varint(buf, v), expected = 1;

			for (uint64_t rest = v >> 7; rest; rest >>= 7)
				expected++;
			assert_int_equal(n, expected);
			assert_int_equal(get_varint(buf, buf + n, &back), n);
			assert_true(back == v);
		}
	}
}

/* A number that goes on beyond the end of the buffer is refused at every length, and the output is left alone. */
static void varint_cut_off(void **state)
{
	static const uint64_t values[] = { 0, 127, 128, UINT32_MAX, UINT64_MAX };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(values); i++) {
		uint8_t buf[VARINT_BYTES_MAX];
		size_t n = put_varint(buf, values[i]);

		for (size_t size = 0; size < n; size++) {
			uint64_t back = 4711;
			assert_int_equal(get_varint(buf, buf + size, &back), 0);
			assert_int_equal(back, 4711);
		}
	}
}

static void varint_over_64_bits(void **state)
{
	uint8_t buf[16];
	uint64_t back = 4711;

	(void)state;
	memset(buf, 0xff, sizeof(buf));
	assert_int_equal(get_varint(buf, buf + sizeof(buf), &back), 0);
	buf[9] = 0x02;
	assert_int_equal(get_varint(buf, buf + sizeof(buf), &back), 0);
	/* A tenth byte that says "more follows" */
	buf[9] = 0x81;
	assert_int_equal(get_varint(buf, buf + sizeof(buf), &back), 0);
	assert_int_equal(back, 4711);
	buf[9] = 0x01;
	assert_int_equal(get_varint(buf, buf + sizeof(buf), &back), VARINT_BYTES_MAX);
	assert_true(back == UINT64_MAX);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_are_little_endian),
		cmocka_unit_test(integers_of_all_ones),
		cmocka_unit_test(varint_round_trip),
		cmocka_unit_test(varint_cut_off),
		cmocka_unit_test(varint_over_64_bits),
	};

	return TEST_RUN(tests);
}
