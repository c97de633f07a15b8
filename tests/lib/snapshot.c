/* SPDX-License-Identifier: Apache-2.0 */
#include "snapshot.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc32.h"
#include "damage.h"
#include "test.h"

static void add_line(FILE *out, const char *path)
{
	char target[PATH_MAX] = "";
	struct stat st;
	uint32_t crc = 0;

	assert_int_equal(lstat(path, &st), 0);
	if (S_ISREG(st.st_mode)) {
		size_t size;
		uint8_t *data = file_read(path, &size);

		crc = crc32_update(0, data, size);
		free(data);
	} else if (S_ISLNK(st.st_mode)) {
		assert_true(readlink(path, target, sizeof(target) - 1) >= 0);
	}
	fprintf(out, "%s mode %o size %" PRIu64 " mtime %" PRIu64 ".%09ld crc %08" PRIx32 " %s\n", path, st.st_mode,
		S_ISDIR(st.st_mode) ? 0 : (uint64_t)st.st_size, (uint64_t)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, crc, target);
}

static void add_tree(FILE *out, const char *path)
{
	struct dirent **names;
	int count;

	add_line(out, path);
	count = scandir(path, &names, NULL, alphasort);
	assert_true(count >= 0);
	for (int i = 0; i < count; i++) {
		char below[PATH_MAX];
		struct stat st;

		if (strcmp(names[i]->d_name, ".") != 0 && strcmp(names[i]->d_name, "..") != 0) {
			assert_true(snprintf(below, sizeof(below), "%s/%s", path, names[i]->d_name) < PATH_MAX);
			assert_int_equal(lstat(below, &st), 0);
			if (S_ISDIR(st.st_mode))
				add_tree(out, below);
			else
				add_line(out, below);
		}
		free(names[i]);
	}
	free(names);
}

char *snapshot_take(const char *path)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	add_tree(out, path);
	assert_int_equal(fclose(out), 0);
	return text;
}

void snapshot_expect(const char *path, const char *before)
{
	char *now = snapshot_take(path);
	const char *a = before, *b = now;

	while (*a && *b) {
		int n = (int)strcspn(a, "\n"), m = (int)strcspn(b, "\n");

		if (n != m || memcmp(a, b, (size_t)n) != 0)
			fail_msg("the tree has changed:\n  was: %.*s\n  is:  %.*s", n, a, m, b);
		a += n + 1;
		b += m + 1;
	}
	if (*a || *b)
		fail_msg("the tree has %s: %s", *a ? "lost" : "gained", *a ? a : b);
	free(now);
}
