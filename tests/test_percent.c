/* SPDX-License-Identifier: Apache-2.0 */
#include "percent.h"

#include <stdio.h>
#include <string.h>

#include "fnv.h"
#include "test.h"

struct pair {
	const char *id;
	size_t id_size;
	const char *name;
};

#define PAIR(id, name) { id, sizeof(id) - 1, name }

/* The name is legal and the only one of its length; what it means is the id again. */
static void round_trip(const void *id, size_t id_size, char *name)
{
	char back[PERCENT_NAME_MAX];
	size_t size = percent_encode(id, id_size, name);

	assert_true(size > 0 && size <= PERCENT_NAME_MAX);
	assert_int_equal(strlen(name), size);
	assert_null(strchr(name, '/'));
	assert_true(name[0] != '.');
	assert_string_not_equal(name, "HEAD");
	if (percent_is_cut(name, size))
		return;
	assert_int_equal(percent_decode(name, size, back), id_size);
	assert_memory_equal(back, id, id_size);
}

static void plain_names_stay(void **state)
{
	static const char *const ids[] = { "before-upgrade", "a", "a.b", "a..", "2026-11-20T09:00:00", " ", "new\nline", "\377\376", "\303\244", "HEADER",
					   "head", "AHEAD", "HEA", "%", "100%", "50%off", "%%", "%4", "%4g", "%g4", "%~", "~", "x%~0123456789abcde",
					   "%~0123456789abcdefg" };
	char name[PERCENT_NAME_MAX + 1];

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(ids); i++) {
		round_trip(ids[i], strlen(ids[i]), name);
		assert_string_equal(name, ids[i]);
	}
}

static void offending_bytes_are_encoded(void **state)
{
	static const struct pair pairs[] = {
		PAIR(".", "%2E"),
		PAIR("..", "%2E."),
		PAIR(".hidden.", "%2Ehidden."),
		PAIR("HEAD", "%48EAD"),
		PAIR("a/b", "a%2Fb"),
		PAIR("/", "%2F"),
		PAIR("\0", "%00"),
		PAIR("\0\377\0", "%00\377%00"),
		PAIR("%41", "%2541"),
		PAIR("%2f%2F", "%252f%252F"),
		PAIR("%%41", "%%2541"),
		PAIR("%4/", "%4%2F"),
		PAIR("%/", "%%2F"),
		PAIR("./HEAD", "%2E%2FHEAD"),
		PAIR("%48EAD", "%2548EAD"),
		PAIR("%~0123456789abcdef", "%25~0123456789abcdef"),
		PAIR("a%~0123456789ABCDEF", "a%25~0123456789ABCDEF"),
	};
	char name[PERCENT_NAME_MAX + 1];

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(pairs); i++) {
		round_trip(pairs[i].id, pairs[i].id_size, name);
		assert_string_equal(name, pairs[i].name);
	}
}

static void every_id_of_two_bytes(void **state)
{
	char name[PERCENT_NAME_MAX + 1];

	(void)state;
	for (unsigned i = 0; i < 65536; i++) {
		unsigned char id[] = { (unsigned char)i, (unsigned char)(i >> 8) };

		round_trip(id, 1, name);
		round_trip(id, 2, name);
	}
}

static void triples_in_either_case_are_decoded(void **state)
{
	char text[] = "%2f%2F%%zz%4%41", back[sizeof(text)];

	(void)state;
	assert_int_equal(percent_decode(text, strlen(text), back), 9);
	assert_memory_equal(back, "//%%zz%4A", 9);
	/* in place, and not beyond the end */
	assert_int_equal(percent_decode(text, 5, text), 3);
	assert_memory_equal(text, "/%2", 3);
	assert_int_equal(percent_decode("", 0, back), 0);
}

static void long_ids_are_cut(void **state)
{
	char id[65535], name[PERCENT_NAME_MAX + 1], other[PERCENT_NAME_MAX + 1];

	(void)state;
	memset(id, 'x', sizeof(id));
	round_trip(id, 255, name);
	assert_int_equal(strlen(name), 255);
	assert_false(percent_is_cut(name, 255));
	for (size_t size = 256; size < 300; size++) {
		assert_int_equal(percent_encode(id, size, name), 255);
		assert_true(percent_is_cut(name, 255));
		assert_int_equal(percent_encode(id, size + 1, other), 255);
		assert_string_not_equal(name, other);
	}
	assert_int_equal(percent_encode(id, sizeof(id), name), 255);
	assert_true(percent_is_cut(name, 255));
}

/* 236 plain bytes and a triple are 239: one too many before the tail. */
static void no_triple_is_cut_in_two(void **state)
{
	char id[300], name[PERCENT_NAME_MAX + 1];

	(void)state;
	memset(id, 'x', sizeof(id));
	for (size_t at = 230; at < 240; at++) {
		size_t size;

		id[at] = '/';
		size = percent_encode(id, sizeof(id), name);
		assert_true(percent_is_cut(name, size));
		assert_int_equal(size, at == 235 || at == 236 ? 18 + at : 255);
		id[at] = 'x';
	}
	memset(id, '/', sizeof(id));
	assert_int_equal(percent_encode(id, 85, name), 255);
	assert_false(percent_is_cut(name, 255));
	assert_int_equal(percent_encode(id, 86, name), 237 + 18);
	assert_true(percent_is_cut(name, 255));
}

/* It stands in names that people keep. */
static void the_hash_is_fnv_1a(void **state)
{
	char id[256], name[PERCENT_NAME_MAX + 1], expected[17];

	(void)state;
	assert_true(fnv1a("", 0) == UINT64_C(0xcbf29ce484222325));
	assert_true(fnv1a("a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
	assert_true(fnv1a("foobar", 6) == UINT64_C(0x85944171f73967e8));
	memset(id, 'x', sizeof(id));
	percent_encode(id, sizeof(id), name);
	snprintf(expected, sizeof(expected), "%016llX", (unsigned long long)fnv1a(id, sizeof(id)));
	assert_string_equal(name + 239, expected);
}

static void columns_are_one_word(void **state)
{
	char column[64];

	(void)state;
	assert_int_equal(percent_encode_column("orders", column), 6);
	assert_string_equal(column, "orders");
	percent_encode_column(" a b\tc\nd\x7f%41%\033", column);
	assert_string_equal(column, "%20a%20b%09c%0Ad%7F%2541%25%1B");
	percent_encode_column("\303\244.HEAD/\377", column);
	assert_string_equal(column, "\303\244.HEAD/\377");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(plain_names_stay),
		cmocka_unit_test(offending_bytes_are_encoded),
		cmocka_unit_test(every_id_of_two_bytes),
		cmocka_unit_test(triples_in_either_case_are_decoded),
		cmocka_unit_test(long_ids_are_cut),
		cmocka_unit_test(no_triple_is_cut_in_two),
		cmocka_unit_test(the_hash_is_fnv_1a),
		cmocka_unit_test(columns_are_one_word),
	};

	return TEST_RUN(tests);
}
