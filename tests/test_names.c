/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <errno.h>
#include <string.h>

#include "test.h"

static void names_have_twenty_digits(void **state)
{
	char buf[NAME_SEGMENT_MAX];

	(void)state;
	assert_string_equal(name_segment(buf, 0), "00000000000000000000.wal");
	assert_string_equal(name_segment(buf, UINT64_MAX), "18446744073709551615.wal");
	assert_string_equal(name_meta(buf, 571), "00000000000000000571.meta");
	assert_string_equal(name_torn(buf, 1, 4294967295u), "00000000000000000001.wal.torn.4294967295");
	assert_string_equal(name_checkpoints_torn(buf, 4294967295u), "checkpoints.log.torn.4294967295");
	assert_string_equal(name_checkpoints_damaged(buf, 0), "checkpoints.log.damaged.0");
	assert_string_equal(name_shard(buf, 0), "shard_00");
	assert_string_equal(name_shard(buf, 99), "shard_99");
	assert_string_equal(name_shard(buf, 100), "shard_100");
	assert_string_equal(name_shard(buf, 4294967295u), "shard_4294967295");
}

static void only_the_canonical_name_is_a_segment(void **state)
{
	static const char *const wrong[] = {
		"", ".wal", "1.wal", "0000000000000000001.wal", "000000000000000000001.wal", "+0000000000000000001.wal", " 0000000000000000001.wal",
		"-0000000000000000001.wal", "18446744073709551616.wal", "99999999999999999999.wal", "00000000000000000001", "00000000000000000001.wa",
		"00000000000000000001.wal.tmp", "00000000000000000001.wal ", "00000000000000000001.WAL", "00000000000000000001.meta", "0000000000000000000a.wal",
		"00000000000000000001.wal.torn.0",
	};
	uint64_t id = 4711;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(wrong); i++)
		assert_false(name_is_segment(wrong[i], &id));
	assert_int_equal(id, 4711);
	assert_true(name_is_segment("00000000000000000571.wal", &id));
	assert_int_equal(id, 571);
	assert_true(name_is_segment("18446744073709551615.wal", &id));
	assert_true(id == UINT64_MAX);
}

static void meta_names(void **state)
{
	uint64_t id = 4711;

	(void)state;
	assert_false(name_is_meta("00000000000000000571.wal", &id));
	assert_false(name_is_meta("571.meta", &id));
	assert_false(name_is_meta("00000000000000000571.meta.tmp", &id));
	assert_int_equal(id, 4711);
	assert_true(name_is_meta("00000000000000000571.meta", &id));
	assert_int_equal(id, 571);
}

static void our_files_are_known(void **state)
{
	static const char *const ours[] = {
		"segments.idx", "segments.idx.tmp", "head.state", "head.state.tmp", "00000000000000000571.wal", "00000000000000000571.wal.tmp",
		"00000000000000000571.meta", "00000000000000000571.meta.tmp", "00000000000000000571.wal.torn.0", "00000000000000000571.wal.torn.12",
		"00000000000000000571.wal.damaged.3",
	};
	static const char *const foreign[] = {
		"", "notes.txt", "segments.idx2", "segments.idx.tmp.tmp", "head.stat", "head.state.old", "571.wal", "00000000000000000571",
		"00000000000000000571.wal.torn.", "00000000000000000571.wal.torn.x", "00000000000000000571.wal.torn.-1", "00000000000000000571.wal.torn",
		"00000000000000000571.meta.torn.1", "00000000000000000571.wal.bak", "LOCK", "18446744073709551616.wal",
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(ours); i++) {
		if (!name_is_ours(ours[i]))
			fail_msg("'%s' is ours", ours[i]);
	}
	for (size_t i = 0; i < TEST_COUNT(foreign); i++) {
		if (name_is_ours(foreign[i]))
			fail_msg("'%s' is not ours", foreign[i]);
	}
}

static void ids_in_text(void **state)
{
	static const char *const wrong[] = {
		"", "x", "1x", " 1", "1 ", "+1", "-1", "0x10", "1.0", "18446744073709551616", "000000000000000000001",
		"184467440737095516150",
	};
	uint64_t id = 4711;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(wrong); i++)
		assert_false(parse_id(wrong[i], &id));
	assert_int_equal(id, 4711);
	assert_true(parse_id("0", &id));
	assert_int_equal(id, 0);
	assert_true(parse_id("00000000000000000042", &id));
	assert_int_equal(id, 42);
	assert_true(parse_id("18446744073709551615", &id));
	assert_true(id == UINT64_MAX);
}

static void stream_names_that_are_refused(void **state)
{
	static const char *const refused[] = {
		"", ".", "..", ".hidden", "..x", "a/b", "/", "a/", "LOCK", "HEAD", "HEAD.tmp", "checkpoints.log",
		"checkpoints.log.tmp", "checkpoints.log.torn.0", "checkpoints.log.damaged.7", "checkpoints.logs",
	};
	char name[WAL_STREAM_NAME_MAX + 2];

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(refused); i++)
		assert_int_equal(wal_stream_name_check(refused[i]), -EINVAL);
	memset(name, 'x', sizeof(name));
	name[WAL_STREAM_NAME_MAX + 1] = '\0';
	assert_int_equal(wal_stream_name_check(name), -ENAMETOOLONG);
	name[WAL_STREAM_NAME_MAX] = '\0';
	assert_int_equal(wal_stream_name_check(name), 0);
}

static void stream_names_that_are_allowed(void **state)
{
	static const char *const allowed[] = {
		"a", "orders", "shard_00", "LOCK2", "lock", "head", "a.b", "a..", " ", "a b", "naïve-ключ", "\xff\xfe", "a\nb",
		"-", "segments.idx",
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(allowed); i++)
		assert_int_equal(wal_stream_name_check(allowed[i]), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_have_twenty_digits),
		cmocka_unit_test(only_the_canonical_name_is_a_segment),
		cmocka_unit_test(meta_names),
		cmocka_unit_test(our_files_are_known),
		cmocka_unit_test(ids_in_text),
		cmocka_unit_test(stream_names_that_are_refused),
		cmocka_unit_test(stream_names_that_are_allowed),
	};

	return TEST_RUN(tests);
}
