/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SEGMENT_SUFFIX ".wal"
#define META_SUFFIX ".meta"

char *name_segment(char *buf, uint64_t first_id)
{
	snprintf(buf, NAME_SEGMENT_MAX, "%0*" PRIu64 SEGMENT_SUFFIX, ID_DIGITS, first_id);
	return buf;
}

char *name_meta(char *buf, uint64_t first_id)
{
	snprintf(buf, NAME_SEGMENT_MAX, "%0*" PRIu64 META_SUFFIX, ID_DIGITS, first_id);
	return buf;
}

char *name_torn(char *buf, uint64_t first_id, unsigned n)
{
	snprintf(buf, NAME_SEGMENT_MAX, "%0*" PRIu64 SEGMENT_SUFFIX ".torn.%u", ID_DIGITS, first_id, n);
	return buf;
}

char *name_damaged(char *buf, uint64_t first_id, unsigned n)
{
	snprintf(buf, NAME_SEGMENT_MAX, "%0*" PRIu64 SEGMENT_SUFFIX ".damaged.%u", ID_DIGITS, first_id, n);
	return buf;
}

char *name_checkpoints_torn(char *buf, unsigned n)
{
	snprintf(buf, NAME_SEGMENT_MAX, NAME_CHECKPOINTS_LOG ".torn.%u", n);
	return buf;
}

char *name_checkpoints_damaged(char *buf, unsigned n)
{
	snprintf(buf, NAME_SEGMENT_MAX, NAME_CHECKPOINTS_LOG ".damaged.%u", n);
	return buf;
}

/* Digits up to the first other byte, at most ID_DIGITS of them; returns how many, 0 if there is none or they do not fit 64 bits. */
static size_t scan_id(const char *text, uint64_t *ret_id)
{
	uint64_t id = 0;
	size_t n = 0;

	for (; text[n] >= '0' && text[n] <= '9'; n++) {
		if (n == ID_DIGITS || __builtin_mul_overflow(id, 10u, &id) || __builtin_add_overflow(id, (uint64_t)(text[n] - '0'), &id))
			return 0;
	}
	if (n > 0)
		*ret_id = id;
	return n;
}

bool parse_id(const char *text, uint64_t *ret_id)
{
	uint64_t id;
	size_t n = scan_id(text, &id);

	if (n == 0 || text[n])
		return false;
	*ret_id = id;
	return true;
}

/* What follows the 20 digits of an id, or NULL if `name` does not begin with such. */
static const char *after_id(const char *name, uint64_t *ret_id)
{
	return scan_id(name, ret_id) == ID_DIGITS ? name + ID_DIGITS : NULL;
}

static bool is_id_with(const char *name, const char *suffix, uint64_t *ret_id)
{
	uint64_t id;
	const char *rest = after_id(name, &id);

	if (!rest || strcmp(rest, suffix) != 0)
		return false;
	*ret_id = id;
	return true;
}

bool name_is_segment(const char *name, uint64_t *ret_id)
{
	return is_id_with(name, SEGMENT_SUFFIX, ret_id);
}

bool name_is_meta(const char *name, uint64_t *ret_id)
{
	return is_id_with(name, META_SUFFIX, ret_id);
}

/* `text` without `prefix`, or NULL if it does not begin with it. */
static const char *skip_prefix(const char *text, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

static bool is_empty_or_tmp(const char *rest)
{
	return *rest == '\0' || strcmp(rest, NAME_TMP_SUFFIX) == 0;
}

bool name_is_ours(const char *name)
{
	static const char *const plain[] = { NAME_SEGMENTS_IDX, NAME_HEAD_STATE };
	static const char *const suffixes[] = { SEGMENT_SUFFIX, META_SUFFIX };
	static const char *const parts[] = { SEGMENT_SUFFIX ".torn.", SEGMENT_SUFFIX ".damaged." };
	const char *rest, *tail;
	uint64_t id;

	for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++) {
		tail = skip_prefix(name, plain[i]);
		if (tail && is_empty_or_tmp(tail))
			return true;
	}
	rest = after_id(name, &id);
	if (!rest)
		return false;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		tail = skip_prefix(rest, suffixes[i]);
		if (tail && is_empty_or_tmp(tail))
			return true;
	}
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		tail = skip_prefix(rest, parts[i]);
		if (tail && parse_id(tail, &id))
			return true;
	}
	return false;
}

bool name_is_reserved(const char *name)
{
	return strcmp(name, NAME_LOCK) == 0 || strcmp(name, NAME_HEAD) == 0 || strcmp(name, NAME_HEAD NAME_TMP_SUFFIX) == 0 ||
	       skip_prefix(name, NAME_CHECKPOINTS_LOG);
}

int wal_stream_name_check(const char *name)
{
	if (name[0] == '\0' || name[0] == '.' || strchr(name, '/') || name_is_reserved(name))
		return -EINVAL;
	if (strlen(name) > WAL_STREAM_NAME_MAX)
		return -ENAMETOOLONG;
	return 0;
}

char *name_shard(char *buf, uint32_t shard)
{
	snprintf(buf, NAME_SEGMENT_MAX, "shard_%02" PRIu32, shard);
	return buf;
}

bool name_is_shard(const char *name, uint32_t *ret_shard)
{
	static const char prefix[] = "shard_";
	char again[NAME_SEGMENT_MAX];
	uint64_t shard;

	if (strncmp(name, prefix, sizeof prefix - 1) != 0 || !parse_id(name + sizeof prefix - 1, &shard) || shard > UINT32_MAX ||
	    strcmp(name, name_shard(again, (uint32_t)shard)) != 0)
		return false;
	*ret_shard = (uint32_t)shard;
	return true;
}
