/* SPDX-License-Identifier: Apache-2.0 */
#include "fixtures.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test.h"

const char *const fixture_names[] = { "binary", "lz4", "multi-segment", "raw-small", "sharded", "torn", "truncated", NULL };

static const char *fixtures_root(void)
{
	const char *root = getenv("WALFS_FIXTURES");

	return root && *root ? root : WALFS_FIXTURES_DEFAULT;
}

bool fixtures_or_skip(void)
{
	if (access(fixtures_root(), F_OK) == 0)
		return true;
	printf("1..0 # SKIP no stores of the original in '%s' (see WALFS_FIXTURES)\n", fixtures_root());
	return false;
}

char *fixture_path(const char *name, const char *rest, char *buf)
{
	int n = snprintf(buf, PATH_MAX, "%s/ironwal/%s/%s", fixtures_root(), name, rest);

	assert_true(n > 0 && n < PATH_MAX);
	return buf;
}

/* Streams compare by name, ids by value. */
static int compare_entries(const void *a, const void *b)
{
	const struct manifest_entry *x = a, *y = b;
	int order = strcmp(x->stream, y->stream);

	return order ? order : (x->id > y->id) - (x->id < y->id);
}

static void push_entry(struct manifest *manifest, size_t *capacity, const struct manifest_entry *entry)
{
	if (manifest->count == *capacity) {
		*capacity = *capacity ? *capacity * 2 : 1024;
		manifest->entries = reallocarray(manifest->entries, *capacity, sizeof(*manifest->entries));
		assert_non_null(manifest->entries);
	}
	manifest->entries[manifest->count++] = *entry;
}

void manifest_load(const char *name, struct manifest *ret)
{
	char path[PATH_MAX], line[1024];
	struct manifest manifest = { 0 };
	size_t capacity = 0;
	FILE *file = fopen(fixture_path(name, "MANIFEST.txt", path), "re");

	if (!file)
		fail_msg("cannot open '%s': %m", path);
	while (fgets(line, sizeof(line), file)) {
		struct manifest_entry entry;
		if (line[0] == '#' || line[0] == '@')
			continue;
		if (sscanf(line, "%255s %" SCNu64 " %" SCNu64 " %" SCNx32, entry.stream, &entry.id, &entry.size, &entry.crc) != 4)
			fail_msg("'%s' has the line '%s'", path, line);
		push_entry(&manifest, &capacity, &entry);
	}
	fclose(file);
	assert_true(manifest.count > 0);
	qsort(manifest.entries, manifest.count, sizeof(*manifest.entries), compare_entries);
	*ret = manifest;
}

void manifest_release(struct manifest *manifest)
{
	free(manifest->entries);
	*manifest = (struct manifest){ 0 };
}

const struct manifest_entry *manifest_find(const struct manifest *manifest, const char *stream, uint64_t id)
{
	struct manifest_entry key = { .id = id };

	snprintf(key.stream, sizeof(key.stream), "%s", stream);
	return bsearch(&key, manifest->entries, manifest->count, sizeof(key), compare_entries);
}
