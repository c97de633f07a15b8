/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes read in advance, and who has which buffer when. */
#include "ahead.h"

#include <stdlib.h>
#include <string.h>

#include "test.h"

/* A byte says its offset, so that one from elsewhere shows. */
static void make(struct ahead *ahead, uint64_t offset, size_t size)
{
	struct ahead_bytes bytes;

	assert_true(ahead_take_room(ahead, offset, size, &bytes));
	for (size_t i = 0; i < size; i++)
		bytes.data[i] = (char)(offset + i);
	bytes.size = size;
	ahead_give(ahead, &bytes);
}

static void expect_taken(const struct ahead_bytes *bytes, uint64_t offset, size_t size)
{
	assert_int_equal(bytes->offset, offset);
	assert_true(bytes->size >= size);
	for (size_t i = 0; i < size; i++)
		assert_int_equal(bytes->data[bytes->start + i], (char)(offset + i));
}

static void use(struct ahead *ahead, uint64_t offset, size_t size)
{
	struct ahead_bytes bytes;

	assert_true(ahead_take(ahead, offset, size, &bytes));
	expect_taken(&bytes, offset, size);
	ahead_skip(&bytes, size);
	ahead_give(ahead, &bytes);
}

static void expect_none(struct ahead *ahead, uint64_t offset)
{
	struct ahead_bytes bytes;

	assert_false(ahead_take(ahead, offset, 1, &bytes));
}

/* One piece after the other, each in several parts. */
static void used_in_order(void **state)
{
	struct ahead_memory memory = { 0 };
	struct ahead ahead;

	(void)state;
	ahead_init(&ahead, &memory);
	expect_none(&ahead, 0);
	for (uint64_t at = 0; at < 1000; at += 100) {
		make(&ahead, at, 100);
		for (uint64_t part = 0; part < 100; part += 25)
			use(&ahead, at + part, 25);
		expect_none(&ahead, at + 100);
	}
	ahead_release(&ahead);
	assert_int_equal(memory.bytes, 0);
}

/* While parts of one are used, the next one is made: before, while and after the first is taken out. */
static void next_one_made_meanwhile(void **state)
{
	struct ahead_bytes bytes;
	struct ahead_memory memory = { 0 };
	struct ahead ahead;

	(void)state;
	ahead_init(&ahead, &memory);
	make(&ahead, 0, 100);
	use(&ahead, 0, 10);
	make(&ahead, 100, 100);
	use(&ahead, 10, 90);
	use(&ahead, 100, 10);
	assert_true(ahead_take(&ahead, 110, 50, &bytes));
	make(&ahead, 200, 100);
	ahead_skip(&bytes, 50);
	ahead_give(&ahead, &bytes);
	use(&ahead, 160, 40);
	assert_true(ahead_take(&ahead, 200, 100, &bytes));
	make(&ahead, 300, 100);
	ahead_skip(&bytes, 100);
	ahead_give(&ahead, &bytes);
	use(&ahead, 300, 100);
	ahead_release(&ahead);
	assert_int_equal(memory.bytes, 0);
}

/* More than one that nobody has begun with is not kept. */
static void one_unused_is_enough(void **state)
{
	struct ahead_bytes bytes;
	struct ahead_memory memory = { 0 };
	struct ahead ahead;

	(void)state;
	ahead_init(&ahead, &memory);
	make(&ahead, 0, 100);
	assert_false(ahead_take_room(&ahead, 100, 100, &bytes));
	use(&ahead, 0, 1);
	make(&ahead, 100, 100);
	assert_false(ahead_take_room(&ahead, 200, 100, &bytes));
	use(&ahead, 1, 99);
	assert_false(ahead_take_room(&ahead, 200, 100, &bytes));
	use(&ahead, 100, 1);
	make(&ahead, 200, 100);
	ahead_release(&ahead);
	assert_int_equal(memory.bytes, 0);
}

/* A part that is wanted but not there whole is left alone; so is what lies elsewhere. */
static void only_what_is_asked_for(void **state)
{
	struct ahead_bytes bytes;
	struct ahead_memory memory = { 0 };
	struct ahead ahead;

	(void)state;
	ahead_init(&ahead, &memory);
	make(&ahead, 1000, 100);
	assert_false(ahead_take(&ahead, 1000, 101, &bytes));
	assert_false(ahead_take(&ahead, 1001, 1, &bytes));
	assert_false(ahead_take(&ahead, 999, 1, &bytes));
	use(&ahead, 1000, 100);
	ahead_release(&ahead);
	assert_int_equal(memory.bytes, 0);
}

/* What was made for another place goes, whichever of the two is given back later. */
static void reader_that_jumps(void **state)
{
	struct ahead_bytes bytes, made;
	struct ahead_memory memory = { 0 };
	struct ahead ahead;

	(void)state;
	ahead_init(&ahead, &memory);
	make(&ahead, 0, 100);
	use(&ahead, 0, 10);
	make(&ahead, 100, 100);
	use(&ahead, 10, 90);
	make(&ahead, 5000, 100);
	expect_none(&ahead, 100);
	use(&ahead, 5000, 10);
	assert_true(ahead_take(&ahead, 5010, 10, &bytes));
	assert_true(ahead_take_room(&ahead, 9000, 100, &made));
	memset(made.data, 1, 100);
	made.size = 100;
	ahead_give(&ahead, &made);
	ahead_skip(&bytes, 10);
	ahead_give(&ahead, &bytes);
	expect_none(&ahead, 9000);
	use(&ahead, 5020, 80);
	ahead_release(&ahead);
	assert_int_equal(memory.bytes, 0);
}

/* Nothing came: the room is used again. */
static void nothing_to_be_read(void **state)
{
	struct ahead_bytes bytes;
	struct ahead_memory memory = { 0 };
	struct ahead ahead;
	const char *data;

	(void)state;
	ahead_init(&ahead, &memory);
	assert_true(ahead_take_room(&ahead, 0, 100, &bytes));
	data = bytes.data;
	ahead_give(&ahead, &bytes);
	expect_none(&ahead, 0);
	assert_true(ahead_take_room(&ahead, 50, 100, &bytes));
	assert_ptr_equal(bytes.data, data);
	ahead_give(&ahead, &bytes);
	ahead_rest(&ahead);
	make(&ahead, 7, 3);
	use(&ahead, 7, 3);
	ahead_release(&ahead);
	assert_int_equal(memory.bytes, 0);
}

/* Those that come when there is no more are read without, and can read in advance again when others have ended. */
static void more_files_than_memory(void **state)
{
	enum { FILES = AHEAD_ALL_MAX / AHEAD_MAX };
	struct ahead_memory memory = { 0 };
	struct ahead *files = calloc(FILES + 1, sizeof *files), *late = &files[FILES];
	struct ahead_bytes bytes;

	(void)state;
	assert_non_null(files);
	for (size_t i = 0; i <= FILES; i++)
		ahead_init(&files[i], &memory);
	for (size_t i = 0; i < FILES; i++)
		make(&files[i], 0, AHEAD_MAX);
	assert_false(ahead_take_room(late, 0, AHEAD_MAX, &bytes));
	assert_false(ahead_take_room(&files[0], AHEAD_MAX, AHEAD_MAX, &bytes));
	use(&files[0], 0, AHEAD_MAX);
	make(&files[0], AHEAD_MAX, AHEAD_MAX);
	ahead_release(&files[1]);
	make(late, 0, AHEAD_MAX);
	for (size_t i = 0; i <= FILES; i++) {
		if (i != 1)
			ahead_release(&files[i]);
	}
	assert_int_equal(memory.bytes, 0);
	free(files);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(used_in_order),
		cmocka_unit_test(next_one_made_meanwhile),
		cmocka_unit_test(one_unused_is_enough),
		cmocka_unit_test(only_what_is_asked_for),
		cmocka_unit_test(reader_that_jumps),
		cmocka_unit_test(nothing_to_be_read),
		cmocka_unit_test(more_files_than_memory),
	};

	return TEST_RUN(tests);
}
