/* SPDX-License-Identifier: Apache-2.0 */
#include "chunk.h"

#include <stdlib.h>

#include "test.h"

enum {
	ROOM = 300000,
	BEHIND = 200, /* more than a name takes */
};

/* As libfuse lays out each. */
static void add_each(struct chunk *chunk, uint64_t first, uint64_t ino, uint64_t cookie, uint64_t count)
{
	char name[ENTRY_NAME_MAX];

	for (uint64_t i = 0; i < count; i++) {
		struct fuse_entry_param entry = bare_entry(ino + i, S_IFREG);

		entry_name(first + i, name);
		if (!chunk_add(chunk, name, &entry, cookie + i))
			return;
	}
}

/* The bytes are those of libfuse, and as many, whatever is in front, however large the buffer is. */
static void compare(bool plus, uint64_t first, size_t size, uint64_t count)
{
	const uint64_t ino = UINT64_C(0x7000000000000041), cookie = 17 + first;
	struct chunk expected = { .data = calloc(1, size), .size = size, .plus = plus };
	struct chunk chunk = { .data = malloc(size + BEHIND), .size = size, .plus = plus };
	struct fuse_entry_param new = bare_entry(5, S_IFREG), entry = bare_entry(ino, S_IFREG);
	char name[ENTRY_NAME_MAX];
	uint64_t added = 0;

	assert_non_null(expected.data);
	assert_non_null(chunk.data);
	memset(chunk.data, 0xa5, size + BEHIND);
	assert_true(chunk_add(&expected, "new", &new, 16));
	assert_true(chunk_add(&chunk, "new", &new, 16));
	add_each(&expected, first, ino, cookie, count);
	entry_name(first, name);
	if (chunk_add(&chunk, name, &entry, cookie))
		added = 1 + chunk_add_following(&chunk, name, ino, cookie, count - 1);
	assert_int_equal(chunk.used, expected.used);
	assert_true(chunk.used <= size);
	assert_memory_equal(chunk.data, expected.data, chunk.used);
	assert_true(added <= count);
	for (size_t i = chunk.used; i < size + BEHIND && i < chunk.used + BEHIND; i++)
		assert_int_equal((unsigned char)chunk.data[i], 0xa5);
	free(expected.data);
	free(chunk.data);
}

static void names_that_follow_are_as_libfuse_lays_them_out(void **state)
{
	static const uint64_t firsts[] = { 0, 7, 98, 999999, 123456789, (UINT64_C(1) << 40) - 3, UINT64_C(9999999999999999990) };

	(void)state;
	for (size_t i = 0; i < sizeof(firsts) / sizeof(*firsts); i++) {
		compare(true, firsts[i], ROOM, 1200);
		compare(false, firsts[i], ROOM, 1200);
	}
}

static void room_for_any_number_of_them(void **state)
{
	(void)state;
	for (size_t size = 160; size < 1200; size++)
		compare(true, 8, size, 100);
	for (size_t size = 32; size < 400; size++)
		compare(false, 8, size, 100);
	compare(true, 8, 4096, 1);
	compare(true, 8, 4096, 2);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_follow_are_as_libfuse_lays_them_out),
		cmocka_unit_test(room_for_any_number_of_them),
	};

	return TEST_RUN(tests);
}
