/* SPDX-License-Identifier: Apache-2.0 */
#include "keyhash.h"

#include "key_hashes.h"
#include "test.h"

static void hashes_of_the_original(void **state)
{
	(void)state;
	for (size_t i = 0; i < TEST_COUNT(key_hashes); i++)
		assert_true(keyhash(key_hashes[i].key, key_hashes[i].size) == key_hashes[i].hash);
	assert_true(keyhash(NULL, 0) == key_hashes[0].hash);
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
