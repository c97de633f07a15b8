/* SPDX-License-Identifier: Apache-2.0 */
#include "place.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_file.h"
#include "manifest.h"
#include "text.h"

enum {
	ID_DIGITS = 20,
	UNDECIDED_BYTES_MAX = 64 << 20,
};

void places_release(struct places *places)
{
	free(places->prefix);
	free(places->clean);
	free(places->undecided);
	*places = (struct places){ 0 };
}

/* Without what changes nothing: "./", "//", a slash in front or at the end. */
static int clean_path(struct places *places, const char *path)
{
	char *clean = realloc(places->clean, strlen(path) + 2), *to = clean;

	if (!clean)
		return -ENOMEM;
	places->clean = clean;
	while (*path) {
		size_t length = strcspn(path, "/");

		if (length == 2 && !memcmp(path, "..", 2))
			return -EBADMSG;
		if (length && !(length == 1 && *path == '.')) {
			if (to != clean)
				*to++ = '/';
			to = mempcpy(to, path, length);
		}
		path += length + (path[length] == '/');
	}
	*to = '\0';
	return 0;
}

static bool is_stream_name(const char *name)
{
	return wal_stream_name_check(name) == 0;
}

/* What comes before the part at `rest` is the prefix of all. */
static int expect_prefix(struct places *places, const char *clean, const char *rest)
{
	size_t length = (size_t)(rest - clean);

	if (places->known)
		return strlen(places->prefix ? places->prefix : "") == length && !strncmp(places->prefix ? places->prefix : "", clean, length) ? 0 : -EBADMSG;
	places->prefix = strndup(clean, length);
	if (!places->prefix)
		return -ENOMEM;
	places->known = true;
	return 0;
}

/* The last part, and the one before it, which ends with NUL then; NULL if there is none. */
static char *last_part(char *clean)
{
	char *slash = strrchr(clean, '/');

	return slash ? slash + 1 : clean;
}

static int find_file(struct places *places, const struct member *member, struct place *ret)
{
	char *clean = places->clean, *name = last_part(clean), *parent;
	bool numbered = strlen(name) == ID_DIGITS && text_parse_number(name, ID_DIGITS, &ret->id);

	*ret = (struct place){ .kind = PLACE_FOREIGN, .name = name, .id = ret->id };
	if (!strcmp(name, MANIFEST_NAME) && member->type == MEMBER_FILE) {
		ret->kind = PLACE_MANIFEST;
		return expect_prefix(places, clean, name);
	}
	if (name == clean)
		return 0;
	name[-1] = '\0';
	parent = last_part(clean);
	if (!strcmp(parent, CHECKPOINT_DIR)) {
		if (member->type == MEMBER_FILE)
			ret->kind = PLACE_CHECKPOINT;
		else if (!strcmp(name, "HEAD"))
			ret->kind = PLACE_NOTHING;
	} else if (is_stream_name(parent) && member->type == MEMBER_FILE && (numbered || (!strcmp(name, "new") && !member->size))) {
		ret->kind = numbered ? PLACE_ENTRY : PLACE_STREAM;
		ret->name = parent;
	}
	return ret->kind == PLACE_FOREIGN ? 0 : expect_prefix(places, clean, parent);
}

/* `clean` is the path of a directory; the prefix is known. */
static enum place_kind judge_dir(const struct places *places, const char *clean, const char **ret_name)
{
	size_t length = places->prefix ? strlen(places->prefix) : 0;

	if (strncmp(clean, places->prefix ? places->prefix : "", length) || strchr(clean + length, '/') || !is_stream_name(clean + length))
		return PLACE_NOTHING;
	*ret_name = clean + length;
	return PLACE_STREAM;
}

static int keep_undecided(struct places *places)
{
	size_t size = strlen(places->clean) + 1;

	if (size > UNDECIDED_BYTES_MAX - places->undecided_size)
		return -EFBIG;
	if (size > places->undecided_capacity - places->undecided_size) {
		size_t capacity = 2 * places->undecided_capacity + size + 1024;
		char *larger = realloc(places->undecided, capacity);

		if (!larger)
			return -ENOMEM;
		places->undecided = larger;
		places->undecided_capacity = capacity;
	}
	memcpy(places->undecided + places->undecided_size, places->clean, size);
	places->undecided_size += size;
	return 0;
}

int places_find(struct places *places, const struct member *member, struct place *ret)
{
	int r = clean_path(places, member->path);

	if (r < 0)
		return r;
	if (member->type != MEMBER_DIR)
		return find_file(places, member, ret);
	*ret = (struct place){ .kind = PLACE_UNDECIDED };
	if (!places->known)
		return keep_undecided(places);
	ret->kind = judge_dir(places, places->clean, &ret->name);
	return 0;
}

/* The first one is the prefix if all others are below it, as tar puts out the directory that it was given first. */
static void guess_prefix(struct places *places)
{
	const char *first = places->undecided, *end = first + places->undecided_size;
	size_t length = places->undecided_size ? strlen(first) : 0;

	for (const char *path = first; path < end; path += strlen(path) + 1)
		if (path != first && length && (strncmp(path, first, length) || path[length] != '/'))
			length = 0;
	places->prefix = malloc(length + 2);
	if (!places->prefix)
		return;
	memcpy(places->prefix, first ? first : "", length);
	strcpy(places->prefix + length, length ? "/" : "");
	places->known = true;
}

bool places_undecided(struct places *places, bool end, struct place *ret)
{
	if (!places->known && end)
		guess_prefix(places);
	while (places->known && places->undecided_next < places->undecided_size) {
		const char *path = places->undecided + places->undecided_next;

		places->undecided_next += strlen(path) + 1;
		*ret = (struct place){ .kind = judge_dir(places, path, &ret->name), .name = ret->name };
		if (ret->kind == PLACE_STREAM)
			return true;
	}
	return false;
}
