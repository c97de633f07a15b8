/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <errno.h>
#include <string.h>

#include "test.h"

static void sizes_that_parse(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} cases[] = {
		{ "0", 0 }, { "4096", 4096 }, { "64M", 64ull << 20 }, { "1KiB", 1024 }, { "1KB", 1024 }, { "2k", 2048 }, { "1G", 1ull << 30 },
		{ "3GiB", 3ull << 30 }, { "1T", 1ull << 40 }, { "16777215T", 16777215ull << 40 }, { "007", 7 },
		{ "18446744073709551615", UINT64_MAX }, { "18014398509481983K", 18014398509481983ull << 10 },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		uint64_t bytes = 4711;
		assert_int_equal(wal_parse_size(cases[i].text, &bytes), 0);
		assert_true(bytes == cases[i].bytes);
	}
}

static void sizes_that_do_not_parse(void **state)
{
	static const char *const wrong[] = {
		"", "K", "-1", "+1", " 1", "1 ", "1 K", "12Q", "1.5M", "0x10", "1e3", "1KK", "1Ki", "1iB", "1B", "1KiBx",
		"M1", "99999999999999999999Q",
	};
	static const char *const large[] = {
		"18446744073709551616", "99999999999999999999", "18014398509481984K", "16777216T", "18446744073709551615T",
		"99999999999999999999999999G",
	};
	uint64_t bytes = 4711;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(wrong); i++)
		assert_int_equal(wal_parse_size(wrong[i], &bytes), -EINVAL);
	for (size_t i = 0; i < TEST_COUNT(large); i++)
		assert_int_equal(wal_parse_size(large[i], &bytes), -ERANGE);
	assert_int_equal(bytes, 4711);
}

static void every_option_is_set_by_name(void **state)
{
	static const char *const pairs[][2] = {
		{ "segment_size", "8M" }, { "segment_entries", "1000" }, { "sync", "batch" }, { "compression", "lz4" }, { "min_compression_size", "2K" },
		{ "read", "mmap" }, { "block_cache", "1M" }, { "max_open_segments", "9" }, { "on_corruption", "truncate" }, { "write_buffer", "8K" },
		{ "read_buffer", "16K" }, { "shards", "8" }, { "ro", NULL }, { "no_create", "yes" },
	};
	struct wal_options opts = { 0 };
	struct wal_error err;
	size_t count;

	(void)state;
	wal_options_help(&count);
	assert_int_equal(count, TEST_COUNT(pairs));
	for (size_t i = 0; i < TEST_COUNT(pairs); i++) {
		if (wal_options_set(&opts, pairs[i][0], pairs[i][1], &err) != 0)
			fail_msg("%s=%s: %s", pairs[i][0], pairs[i][1], err.message);
		assert_string_equal(wal_options_help(&count)[i].name, pairs[i][0]);
	}
	assert_int_equal(opts.segment_size, 8 << 20);
	assert_int_equal(opts.segment_entries, 1000);
	assert_int_equal(opts.sync, WAL_SYNC_BATCH);
	assert_int_equal(opts.compression, WAL_COMPRESSION_LZ4);
	assert_int_equal(opts.min_compression_size, 2048);
	assert_int_equal(opts.read, WAL_READ_MMAP);
	assert_int_equal(opts.block_cache, 1 << 20);
	assert_int_equal(opts.max_open_segments, 9);
	assert_int_equal(opts.on_corruption, WAL_ON_CORRUPTION_TRUNCATE);
	assert_int_equal(opts.write_buffer, 8192);
	assert_int_equal(opts.read_buffer, 16384);
	assert_int_equal(opts.shards, 8);
	assert_true(opts.ro);
	assert_true(opts.no_create);
	assert_null(opts.log);
	assert_int_equal(wal_options_validate(&opts, &err), 0);
}

static void every_choice_has_its_value(void **state)
{
	struct wal_options opts = { 0 };

	(void)state;
	assert_int_equal(wal_options_set(&opts, "sync", "async", NULL), 0);
	assert_int_equal(opts.sync, WAL_SYNC_ASYNC);
	assert_int_equal(wal_options_set(&opts, "sync", "strict", NULL), 0);
	assert_int_equal(opts.sync, WAL_SYNC_STRICT);
	assert_int_equal(wal_options_set(&opts, "compression", "lz4", NULL), 0);
	assert_int_equal(wal_options_set(&opts, "compression", "none", NULL), 0);
	assert_int_equal(opts.compression, WAL_COMPRESSION_NONE);
	assert_int_equal(wal_options_set(&opts, "read", "mmap", NULL), 0);
	assert_int_equal(wal_options_set(&opts, "read", "io", NULL), 0);
	assert_int_equal(opts.read, WAL_READ_IO);
	assert_int_equal(wal_options_set(&opts, "on_corruption", "error", NULL), 0);
	assert_int_equal(opts.on_corruption, WAL_ON_CORRUPTION_ERROR);
	assert_int_equal(wal_options_set(&opts, "on_corruption", "readonly", NULL), 0);
	assert_int_equal(opts.on_corruption, WAL_ON_CORRUPTION_READONLY);
}

static void flags_in_all_spellings(void **state)
{
	static const char *const on[] = { NULL, "1", "yes", "true" }, *const off[] = { "0", "no", "false" };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(on); i++) {
		struct wal_options opts = { 0 };
		assert_int_equal(wal_options_set(&opts, "ro", on[i], NULL), 0);
		assert_true(opts.ro);
		assert_false(opts.no_create);
	}
	for (size_t i = 0; i < TEST_COUNT(off); i++) {
		struct wal_options opts = { .ro = true };
		assert_int_equal(wal_options_set(&opts, "ro", off[i], NULL), 0);
		assert_false(opts.ro);
	}
}

/* Where 0 in the struct asks for the default, the text "0" must not come to mean the same. */
static void zero_as_text(void **state)
{
	struct wal_options opts = { .segment_entries = 5, .shards = 5 };

	(void)state;
	assert_int_equal(wal_options_set(&opts, "segment_entries", "0", NULL), 0);
	assert_int_equal(opts.segment_entries, 0);
	assert_int_equal(wal_options_set(&opts, "shards", "0", NULL), 0);
	assert_int_equal(opts.shards, 0);
	assert_int_equal(wal_options_set(&opts, "min_compression_size", "0", NULL), 0);
	assert_int_equal(opts.min_compression_size, 1);
	assert_int_equal(wal_options_set(&opts, "block_cache", "0", NULL), 0);
	assert_true(opts.block_cache == WAL_SIZE_NONE);
	opts.block_cache = 1;
	assert_int_equal(wal_options_set(&opts, "block_cache", "none", NULL), 0);
	assert_true(opts.block_cache == WAL_SIZE_NONE);
}

struct refusal {
	const char *name, *value, *message;
};

static void refused_values_name_what_is_wrong(void **state)
{
	static const struct refusal cases[] = {
		{ "segment_size", "0", "segment_size must be 4K to 1T, not 0" },
		{ "segment_size", "12Q", "segment_size must be a size like 65536, 64K or 64M, not '12Q'" },
		{ "segment_size", "", "segment_size must be a size like 65536, 64K or 64M, not ''" },
		{ "segment_size", NULL, "segment_size needs a value: segment_size=SIZE" },
		{ "segment_size", "none", "segment_size must be a size like 65536, 64K or 64M, not 'none'" },
		{ "segment_size", "99999999T", "segment_size must be 4K to 1T, not 99999999T" },
		{ "min_compression_size", "99999999T", "min_compression_size must be below 2^64, not 99999999T" },
		{ "segment_entries", "1K", "segment_entries must be a number, not '1K'" },
		{ "segment_entries", "-1", "segment_entries must be a number, not '-1'" },
		{ "max_open_segments", "0", "max_open_segments must be 8 to 1000000, not 0" },
		{ "max_open_segments", "4294967296", "max_open_segments must be 8 to 1000000, not 4294967296" },
		{ "shards", "4294967297", "shards must be 0 to 65535, not 4294967297" },
		{ "write_buffer", "0K", "write_buffer must be 4K to 1G, not 0K" },
		{ "read_buffer", "0", "read_buffer must be 4K to 1G, not 0" },
		{ "sync", "", "sync must be one of strict|batch|async, not ''" },
		{ "sync", "stric", "sync must be one of strict|batch|async, not 'stric'" },
		{ "sync", "strict|batch", "sync must be one of strict|batch|async, not 'strict|batch'" },
		{ "sync", NULL, "sync needs a value: sync=strict|batch|async" },
		{ "sync", "a\nb", "sync must be one of strict|batch|async, not 'a?b'" },
		{ "ro", "maybe", "ro must be yes or no, not 'maybe'" },
		{ "ro", "", "ro must be yes or no, not ''" },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		struct wal_options opts = { .segment_size = 77, .shards = 77, .ro = true }, before = opts;
		struct wal_error err = { 0 };

		assert_int_equal(wal_options_set(&opts, cases[i].name, cases[i].value, &err), -EINVAL);
		assert_int_equal(err.code, -EINVAL);
		assert_string_equal(err.message, cases[i].message);
		assert_memory_equal(&opts, &before, sizeof(opts));
		assert_int_equal(wal_options_set(&opts, cases[i].name, cases[i].value, NULL), -EINVAL);
	}
}

static void unknown_names_are_for_the_caller(void **state)
{
	static const char *const names[] = { "", "Sync", "sync ", "log", "allow_other", "segment" };
	struct wal_options opts = { 0 };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(names); i++)
		assert_int_equal(wal_options_set(&opts, names[i], "1", NULL), WAL_NOT_FOUND);
}

static void expect_invalid(const struct wal_options *opts, const char *message)
{
	struct wal_error err = { 0 };

	assert_int_equal(wal_options_validate(opts, &err), -EINVAL);
	assert_int_equal(err.code, -EINVAL);
	assert_string_equal(err.message, message);
	assert_int_equal(wal_options_validate(opts, NULL), -EINVAL);
}

static void ranges_are_checked(void **state)
{
	(void)state;
	expect_invalid(&(struct wal_options){ .segment_size = 12 }, "segment_size must be 4K to 1T, not 12");
	expect_invalid(&(struct wal_options){ .segment_size = 4095 }, "segment_size must be 4K to 1T, not 4095");
	expect_invalid(&(struct wal_options){ .segment_size = 2ull << 40 }, "segment_size must be 4K to 1T, not 2T");
	expect_invalid(&(struct wal_options){ .segment_size = WAL_SIZE_NONE }, "segment_size must be 4K to 1T, not 18446744073709551615");
	expect_invalid(&(struct wal_options){ .max_open_segments = 7 }, "max_open_segments must be 8 to 1000000, not 7");
	expect_invalid(&(struct wal_options){ .max_open_segments = 1000001 }, "max_open_segments must be 8 to 1000000, not 1000001");
	expect_invalid(&(struct wal_options){ .write_buffer = 2ull << 30 }, "write_buffer must be 4K to 1G, not 2G");
	expect_invalid(&(struct wal_options){ .read_buffer = 1 }, "read_buffer must be 4K to 1G, not 1");
	expect_invalid(&(struct wal_options){ .shards = 65536 }, "shards must be 0 to 65535, not 65536");
	expect_invalid(&(struct wal_options){ .sync = (enum wal_sync)3 }, "sync must be one of strict|batch|async, not the number 3");
	expect_invalid(&(struct wal_options){ .compression = (enum wal_compression)-1 }, "compression must be one of none|lz4, not the number 4294967295");
	expect_invalid(&(struct wal_options){ .read = (enum wal_read)2 }, "read must be one of io|mmap, not the number 2");
	expect_invalid(&(struct wal_options){ .on_corruption = (enum wal_on_corruption)3 },
		       "on_corruption must be one of readonly|truncate|error, not the number 3");
}

static void limits_are_allowed(void **state)
{
	struct wal_options low = {
		.segment_size = 4096, .max_open_segments = 8, .write_buffer = 4096, .read_buffer = 4096, .shards = 1,
		.segment_entries = 1, .min_compression_size = 1, .block_cache = 1,
	};
	struct wal_options high = {
		.segment_size = 1ull << 40, .max_open_segments = 1000000, .write_buffer = 1u << 30, .read_buffer = 1u << 30,
		.shards = 65535, .segment_entries = UINT64_MAX, .min_compression_size = UINT64_MAX,
		.block_cache = WAL_SIZE_NONE,
	};
	struct wal_options zero = { 0 };

	(void)state;
	assert_int_equal(wal_options_validate(&low, NULL), 0);
	assert_int_equal(wal_options_validate(&high, NULL), 0);
	assert_int_equal(wal_options_validate(&zero, NULL), 0);
}

static void defaults_fill_zeros_only(void **state)
{
	struct wal_options opts = { 0 }, kept;

	(void)state;
	options_fill_defaults(&opts);
	assert_int_equal(opts.segment_size, 64 << 20);
	assert_int_equal(opts.segment_entries, 0);
	assert_int_equal(opts.min_compression_size, 1024);
	assert_int_equal(opts.block_cache, 16 << 20);
	assert_int_equal(opts.max_open_segments, 128);
	assert_int_equal(opts.write_buffer, 1 << 20);
	assert_int_equal(opts.read_buffer, 256 << 10);
	assert_int_equal(opts.shards, 0);
	assert_int_equal(opts.sync, WAL_SYNC_STRICT);
	assert_false(opts.ro);
	assert_int_equal(wal_options_validate(&opts, NULL), 0);

	opts = (struct wal_options){
		.segment_size = 4096, .min_compression_size = 1, .block_cache = WAL_SIZE_NONE, .max_open_segments = 8,
		.write_buffer = 4096, .read_buffer = 4096,
	};
	kept = opts;
	options_fill_defaults(&opts);
	assert_memory_equal(&opts, &kept, sizeof(opts));
}

static void help_is_complete(void **state)
{
	const struct wal_option_help *help;
	size_t count = 0;

	(void)state;
	help = wal_options_help(&count);
	for (size_t i = 0; i < count; i++) {
		struct wal_options opts = { 0 };
		assert_true(strlen(help[i].help) > 10);
		assert_null(strchr(help[i].help, '\n'));
		assert_int_not_equal(wal_options_set(&opts, help[i].name, "?", NULL), WAL_NOT_FOUND);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_that_parse),
		cmocka_unit_test(sizes_that_do_not_parse),
		cmocka_unit_test(every_option_is_set_by_name),
		cmocka_unit_test(every_choice_has_its_value),
		cmocka_unit_test(flags_in_all_spellings),
		cmocka_unit_test(zero_as_text),
		cmocka_unit_test(refused_values_name_what_is_wrong),
		cmocka_unit_test(unknown_names_are_for_the_caller),
		cmocka_unit_test(ranges_are_checked),
		cmocka_unit_test(limits_are_allowed),
		cmocka_unit_test(defaults_fill_zeros_only),
		cmocka_unit_test(help_is_complete),
	};

	return TEST_RUN(tests);
}
