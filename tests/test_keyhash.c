/* SPDX-License-Identifier: Apache-2.0 */
#include "keyhash.h"

#include "test.h"

/* What Rust's DefaultHasher gives for these byte slices. */
static void hashes_of_the_original(void **state)
{
	static const struct {
		const char *key;
		size_t size;
		uint64_t hash;
	} known[] = {
		{ "", 0, 0xbd60acb658c79e45 },
		{ "a", 1, 0xbeb9a6bbf61b58b4 },
		{ "key1", 4, 0xb975d15668133cc2 },
		{ "user_123", 8, 0x3143fdac11e93ab3 },
		{ "user_1000", 9, 0x3f9ff3e67d891c7d },
		{ "order:00000001", 14, 0x3f746ce8b024e14a },
		{ "01234567", 8, 0x919a0a9c421e9086 },
		{ "0123456789abcdef", 16, 0x3750d23093a8f4ad },
		{ "\x00\xff\x10", 3, 0x7835f0a355aaefdc },
		{ "na\xc3\xafve-\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87", 15, 0x63c904825f5ad0ea },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(known); i++)
		assert_true(keyhash(known[i].key, known[i].size) == known[i].hash);
	assert_true(keyhash(NULL, 0) == known[0].hash);
}

/* Some of the 2000 routings in the fixture, which test_routings.c has all of: whole words, rests, bytes over 127. */
static void routings_of_the_original(void **state)
{
	static const struct {
		const char *key;
		size_t size;
		unsigned shard; /* of 8 */
	} known[] = {
		{ "user_400", 8, 3 },	  { "order:00000001", 14, 2 }, { "\x2d\xd8\x3b", 3, 5 }, { "k3", 2, 6 },
		{ "user_1", 6, 4 },	  { "order:00000005", 14, 4 }, { "k7", 2, 3 },		 { "user_382", 8, 7 },
		{ "order:00000009", 14, 7 }, { "k11", 3, 1 },	       { "user_89", 7, 3 },	 { "order:00000013", 14, 2 },
		{ "\x00\xa4\xc3\xff\x47\x50\xa8", 7, 7 },
		{ "\x9c\x25\x6f\xb8\x16\x06\xb1\xdd\xdd\x42\x26", 11, 6 },
		{ "\x57\x2f\xff\xef\x70\x02\x30\xc5\x9c\xe8\x6f\x24\xe4\xb6\x98", 15, 4 },
		{ "\x0c\xcc\xd5\x7c\x7c\x6b\xe9\x3c\x59\x0b\x7b\x27\x8a\x35\x73\x3d\x99\xbc\xde", 19, 0 },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(known); i++)
		assert_int_equal(keyhash(known[i].key, known[i].size) % 8, known[i].shard);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_of_the_original),
		cmocka_unit_test(routings_of_the_original),
	};

	return TEST_RUN(tests);
}
