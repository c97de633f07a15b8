/* SPDX-License-Identifier: Apache-2.0 */
#include "crc32.h"

#include <zlib.h>

#include "test.h"

static void check_value(void **state)
{
	(void)state;
	assert_int_equal(crc32_update(0, "123456789", 9), 0xcbf43926);
}

static void pieces_give_the_whole(void **state)
{
	static const char text[] = "the quick brown fox jumps over the lazy dog";
	uint32_t whole = crc32_update(0, text, sizeof(text));

	(void)state;
	for (size_t at = 0; at <= sizeof(text); at++) {
		uint32_t a = crc32_update(0, text, at), b = crc32_update(0, text + at, sizeof(text) - at);

		assert_int_equal(crc32_update(a, text + at, sizeof(text) - at), whole);
		assert_int_equal(crc32_join(a, b, sizeof(text) - at), whole);
	}
}

/* It goes other ways for short, long and unaligned pieces, and in steps of up to 256 bytes. */
static void the_same_as_zlib(void **state)
{
	enum { BYTES = 4096 };
	uint8_t data[BYTES + 64];

	(void)state;
	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * i >> 3 ^ i);
	for (size_t at = 0; at < 64; at++) {
		for (size_t size = 1; size <= BYTES; size += size < 1100 ? 1 : 97)
			assert_int_equal(crc32_update(0x1234abcd, data + at, size), crc32_z(0x1234abcd, data + at, size));
	}
}

/* libdeflate would start afresh for a null pointer. */
static void nothing_changes_nothing(void **state)
{
	(void)state;
	assert_int_equal(crc32_update(0x12345678, NULL, 0), 0x12345678);
	assert_int_equal(crc32_join(0x12345678, 0, 0), 0x12345678);
}

/* Of the same length again, of others, and of none. */
static void joined_by_what_was_kept(void **state)
{
	static const uint32_t sizes[] = { 0, 1, 7, 7, 4096, 7, 0, 1 << 20, 1 << 20, UINT32_MAX };
	struct crc32_joint joint = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
		assert_int_equal(crc32_join_by(&joint, 0x12345678 + (uint32_t)i, 0x9abcdef0, sizes[i]), crc32_join(0x12345678 + (uint32_t)i, 0x9abcdef0, sizes[i]));
}

/* A length over 32 bits: joined from 2^33 zeros by doubling. */
static void join_of_long_pieces(void **state)
{
	static const uint8_t zero[1];
	uint32_t doubled = crc32_update(0, zero, 1), half = 0;
	uint32_t one = doubled, rest = 0;

	(void)state;
	for (unsigned shift = 0; shift < 33; shift++) {
		half = doubled;
		doubled = crc32_join(half, half, (uint64_t)1 << shift);
	}
	/* 2^33 zeros as 2^32 - 1 and 2^32 + 1 */
	for (unsigned shift = 0; shift < 32; shift++) {
		rest = crc32_join(rest, one, (uint64_t)1 << shift);
		one = crc32_join(one, one, (uint64_t)1 << shift);
	}
	one = crc32_join(half, crc32_update(0, zero, 1), 1);
	assert_int_equal(crc32_join(rest, one, ((uint64_t)1 << 32) + 1), doubled);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(check_value),
		cmocka_unit_test(pieces_give_the_whole),
		cmocka_unit_test(the_same_as_zlib),
		cmocka_unit_test(nothing_changes_nothing),
		cmocka_unit_test(joined_by_what_was_kept),
		cmocka_unit_test(join_of_long_pieces),
	};

	return TEST_RUN(tests);
}
