/* SPDX-License-Identifier: Apache-2.0 */
#include "options.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"

enum option_kind {
	OPTION_SIZE,  /* uint64_t, text with a suffix */
	OPTION_COUNT, /* uint64_t */
	OPTION_COUNT32,
	OPTION_CHOICE, /* an enum whose values stand in this order in `value` */
	OPTION_FLAG,
};

/* What the text "0" means where the field's 0 stands for a default. */
enum {
	ZERO_IS_ZERO = 0,
	ZERO_REFUSED = 1,
};

struct option_spec {
	size_t offset;
	enum option_kind kind;
	unsigned zero;	     /* ZERO_… */
	uint64_t zero_value; /* with ZERO_IS_ZERO: what is put into the field for the text "0" */
	uint64_t min, max;   /* of the field when it is not 0 */
	uint64_t standard;   /* for a field that is 0; 0: it stays so */
};

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)

/*
 * name, kind, what "0" means and is kept as, least, most, default, form of the value, help.
 * A min_compression_size of 1 is what "0" asks for: no payload is smaller.
 */
#define OPTIONS(X)                                                                                                                                  \
	X(segment_size, SIZE, ZERO_REFUSED, 0, 4 * KIB, TIB, 64 * MIB, "SIZE", "start a new segment file before one gets larger (64M)")              \
	X(segment_entries, COUNT, ZERO_IS_ZERO, 0, 0, UINT64_MAX, 0, "N", "start a new segment file before one holds more entries (no limit)")       \
	X(sync, CHOICE, 0, 0, 0, WAL_SYNC_ASYNC, 0, "strict|batch|async", "make durable at once: every append, only batches, nothing (strict)")     \
	X(compression, CHOICE, 0, 0, 0, WAL_COMPRESSION_LZ4, 0, "none|lz4", "compress payloads where that makes them smaller (none)")               \
	X(min_compression_size, SIZE, ZERO_IS_ZERO, 1, 0, UINT64_MAX, KIB, "SIZE", "never compress smaller payloads (1K)")                           \
	X(read, CHOICE, 0, 0, 0, WAL_READ_MMAP, 0, "io|mmap", "read by system calls, or map sealed segments (io)")                                  \
	X(block_cache, SIZE, ZERO_IS_ZERO, WAL_SIZE_NONE, 0, UINT64_MAX, 16 * MIB, "SIZE|none", "memory for decoded batches (16M)")                  \
	X(max_open_segments, COUNT32, ZERO_REFUSED, 0, 8, 1000000, 128, "N", "segment files held open at once (128)")                                \
	X(on_corruption, CHOICE, 0, 0, 0, WAL_ON_CORRUPTION_ERROR, 0, "readonly|truncate|error",                                                    \
	  "with a damaged stream: take no appends, cut it as ironwal does, refuse to open (readonly)")                                              \
	X(write_buffer, SIZE, ZERO_REFUSED, 0, 4 * KIB, GIB, MIB, "SIZE", "bytes of waiting appends gathered into one write (1M)")                   \
	X(read_buffer, SIZE, ZERO_REFUSED, 0, 4 * KIB, GIB, 256 * KIB, "SIZE", "bytes read at a time (256K)")                                        \
	X(shards, COUNT32, ZERO_IS_ZERO, 0, 0, 65535, 0, "N", "a store of this many shard streams (named streams)")                                  \
	X(ro, FLAG, 0, 0, 0, 1, 0, NULL, "open read-only: change nothing, take no lock")                                                            \
	X(no_create, FLAG, 0, 0, 0, 1, 0, NULL, "do not create the store if there is none")

/* Two tables with one order, because programs get the second as an array. */
static const struct option_spec specs[] = {
#define SPEC(name_, kind_, zero_, zero_value_, min_, max_, standard_, value_, help_)                                                       \
	{ .offset = offsetof(struct wal_options, name_), .kind = OPTION_##kind_, .zero = zero_, .zero_value = zero_value_, .min = min_, \
	  .max = max_, .standard = standard_ },
	OPTIONS(SPEC)
#undef SPEC
};

static const struct wal_option_help helps[] = {
#define HELP(name_, kind_, zero_, zero_value_, min_, max_, standard_, value_, help_) { #name_, value_, help_ },
	OPTIONS(HELP)
#undef HELP
};

enum { OPTION_COUNT_ALL = sizeof(specs) / sizeof(specs[0]) };

const struct wal_option_help *wal_options_help(size_t *ret_count)
{
	*ret_count = OPTION_COUNT_ALL;
	return helps;
}

/* Fields of all four enum types are read and written as unsigned. */
static_assert(sizeof(unsigned) == sizeof(enum wal_sync) && sizeof(unsigned) == sizeof(enum wal_on_corruption), "enums are as large as unsigned");

static uint64_t field_get(const struct wal_options *opts, const struct option_spec *spec)
{
	const char *field = (const char *)opts + spec->offset;
	unsigned choice;

	switch (spec->kind) {
	case OPTION_SIZE:
	case OPTION_COUNT:
		return *(const uint64_t *)field;
	case OPTION_COUNT32:
		return *(const uint32_t *)field;
	case OPTION_CHOICE:
		memcpy(&choice, field, sizeof(choice));
		return choice;
	case OPTION_FLAG:
		return *(const bool *)field;
	}
	abort();
}

static void field_set(struct wal_options *opts, const struct option_spec *spec, uint64_t value)
{
	char *field = (char *)opts + spec->offset;
	unsigned choice = (unsigned)value;

	switch (spec->kind) {
	case OPTION_SIZE:
	case OPTION_COUNT:
		*(uint64_t *)field = value;
		break;
	case OPTION_COUNT32:
		*(uint32_t *)field = (uint32_t)value;
		break;
	case OPTION_CHOICE:
		memcpy(field, &choice, sizeof(choice));
		break;
	case OPTION_FLAG:
		*(bool *)field = value;
		break;
	}
}

void options_fill_defaults(struct wal_options *opts)
{
	for (size_t i = 0; i < OPTION_COUNT_ALL; i++) {
		if (specs[i].standard && field_get(opts, &specs[i]) == 0)
			field_set(opts, &specs[i], specs[i].standard);
	}
}

/* Decimal digits: returns what follows them, NULL if there is none. *ret_overflow: they do not fit 64 bits, and *ret is meaningless. */
static const char *scan_digits(const char *text, uint64_t *ret, bool *ret_overflow)
{
	uint64_t value = 0;
	bool overflow = false;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		if (__builtin_mul_overflow(value, 10u, &value) || __builtin_add_overflow(value, (uint64_t)(*p - '0'), &value))
			overflow = true;
	}
	*ret = value;
	*ret_overflow = overflow;
	return p > text ? p : NULL;
}

/* The power of two that a suffix stands for, -1 if it is none. */
static int suffix_shift(const char *suffix)
{
	static const char letters[] = "KMGTkmgt";
	const char *letter;

	if (!*suffix)
		return 0;
	letter = strchr(letters, *suffix);
	if (!letter || (strcmp(suffix + 1, "") != 0 && strcmp(suffix + 1, "B") != 0 && strcmp(suffix + 1, "iB") != 0))
		return -1;
	return 10 * (int)((letter - letters) % 4 + 1);
}

int wal_parse_size(const char *text, uint64_t *ret_bytes)
{
	uint64_t value;
	bool overflow;
	const char *suffix = scan_digits(text, &value, &overflow);
	int shift = suffix ? suffix_shift(suffix) : -1;

	if (shift < 0)
		return -EINVAL;
	if (overflow || value > UINT64_MAX >> shift)
		return -ERANGE;
	*ret_bytes = value << shift;
	return 0;
}

static int parse_count(const char *text, uint64_t *ret)
{
	uint64_t value;
	bool overflow;
	const char *end = scan_digits(text, &value, &overflow);

	if (!end || *end)
		return -EINVAL;
	if (overflow)
		return -ERANGE;
	*ret = value;
	return 0;
}

/* The number of `text` in "first|second|third". */
static int parse_choice(const char *choices, const char *text, uint64_t *ret)
{
	size_t size = strlen(text);

	for (uint64_t i = 0;; i++) {
		size_t n = strcspn(choices, "|");
		if (n == size && memcmp(choices, text, n) == 0) {
			*ret = i;
			return 0;
		}
		if (!choices[n])
			return -EINVAL;
		choices += n + 1;
	}
}

static int parse_flag(const char *text, uint64_t *ret)
{
	uint64_t i = 1;

	if (text && parse_choice("0|no|false|1|yes|true", text, &i) < 0)
		return -EINVAL;
	*ret = text ? i >= 3 : 1;
	return 0;
}

/* -ERANGE: a number, but not one that the field can keep. */
static int parse_value(const struct option_spec *spec, const struct wal_option_help *help, const char *text, uint64_t *ret)
{
	uint64_t value = 0;
	int r = -EINVAL;

	switch (spec->kind) {
	case OPTION_SIZE:
		/* The only size that can be switched off by a word is the one whose form says so. */
		if (strcmp(text, "none") == 0 && strcmp(help->value, "SIZE|none") == 0) {
			*ret = WAL_SIZE_NONE;
			return 0;
		}
		r = wal_parse_size(text, &value);
		break;
	case OPTION_COUNT:
	case OPTION_COUNT32:
		r = parse_count(text, &value);
		if (r == 0 && spec->kind == OPTION_COUNT32 && value > UINT32_MAX)
			r = -ERANGE;
		break;
	case OPTION_CHOICE:
		return parse_choice(help->value, text, ret);
	case OPTION_FLAG:
		return parse_flag(text, ret);
	}
	if (r < 0)
		return r;
	if (value == 0 && spec->zero == ZERO_REFUSED)
		return -ERANGE;
	*ret = value ? value : spec->zero_value;
	return 0;
}

/* "64M", "1000": the shortest text that wal_parse_size() turns into `value`. `buf` holds 32 bytes. */
static const char *format_size(char *buf, uint64_t value)
{
	static const char *const suffixes[] = { "", "K", "M", "G", "T" };
	size_t n = 0;

	while (value && value % 1024 == 0 && n < 4) {
		value /= 1024;
		n++;
	}
	snprintf(buf, 32, "%" PRIu64 "%s", value, suffixes[n]);
	return buf;
}

static const char *format_value(char *buf, const struct option_spec *spec, uint64_t value)
{
	if (spec->kind == OPTION_SIZE)
		return format_size(buf, value);
	snprintf(buf, 32, "%" PRIu64, value);
	return buf;
}

/* "segment_size must be 4K to 1T, not …" */
static int refuse_range(const struct option_spec *spec, const struct wal_option_help *help, const char *found, struct wal_error *err)
{
	char min[32], max[32];

	if (spec->max == UINT64_MAX)
		return error_set(err, -EINVAL, NULL, "%s must be below 2^64, not %s", help->name, found);
	return error_set(err, -EINVAL, NULL, "%s must be %s to %s, not %s", help->name, format_value(min, spec, spec->min),
			 format_value(max, spec, spec->max), found);
}

static int refuse_text(const struct option_spec *spec, const struct wal_option_help *help, const char *text, struct wal_error *err)
{
	switch (spec->kind) {
	case OPTION_SIZE:
		return error_set(err, -EINVAL, NULL, "%s must be a size like 65536, 64K or 64M, not '%s'", help->name, text);
	case OPTION_COUNT:
	case OPTION_COUNT32:
		return error_set(err, -EINVAL, NULL, "%s must be a number, not '%s'", help->name, text);
	case OPTION_CHOICE:
		return error_set(err, -EINVAL, NULL, "%s must be one of %s, not '%s'", help->name, help->value, text);
	case OPTION_FLAG:
		return error_set(err, -EINVAL, NULL, "%s must be yes or no, not '%s'", help->name, text);
	}
	abort();
}

int wal_options_set(struct wal_options *opts, const char *name, const char *value, struct wal_error *err)
{
	for (size_t i = 0; i < OPTION_COUNT_ALL; i++) {
		const struct option_spec *spec = &specs[i];
		const struct wal_option_help *help = &helps[i];
		uint64_t parsed = 0;
		int r;

		if (strcmp(help->name, name) != 0)
			continue;
		if (!value && spec->kind != OPTION_FLAG)
			return error_set(err, -EINVAL, NULL, "%s needs a value: %s=%s", help->name, help->name, help->value);
		r = parse_value(spec, help, value, &parsed);
		if (r == -ERANGE)
			return refuse_range(spec, help, value, err);
		if (r < 0)
			return refuse_text(spec, help, value, err);
		field_set(opts, spec, parsed);
		return 0;
	}
	return WAL_NOT_FOUND;
}

int wal_options_validate(const struct wal_options *opts, struct wal_error *err)
{
	for (size_t i = 0; i < OPTION_COUNT_ALL; i++) {
		const struct option_spec *spec = &specs[i];
		uint64_t value = field_get(opts, spec);
		char found[32];

		if (value == 0 || (value >= spec->min && value <= spec->max))
			continue;
		if (spec->kind == OPTION_CHOICE)
			return error_set(err, -EINVAL, NULL, "%s must be one of %s, not the number %" PRIu64, helps[i].name, helps[i].value, value);
		return refuse_range(spec, &helps[i], format_value(found, spec, value), err);
	}
	return 0;
}
