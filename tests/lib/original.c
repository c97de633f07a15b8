/* SPDX-License-Identifier: Apache-2.0 */
#include "original.h"

#include <dirent.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "damage.h"
#include "stores.h"
#include "test.h"

uint64_t little_endian(const uint8_t *bytes, unsigned count)
{
	uint64_t value = 0;

	while (count-- > 0)
		value = value << 8 | bytes[count];
	return value;
}

/* How many ids are in a segment file, which must be frames from its first byte to its last. */
static uint64_t check_segment(const char *path, uint64_t first_id)
{
	size_t size, at = 0;
	uint8_t *data = file_read(path, &size);
	uint64_t id = first_id;

	while (at < size) {
		const uint8_t *h = data + at;

		assert_true(size - at >= 32);
		assert_memory_equal(h, "LAWL", 4);
		uint64_t disk_size = little_endian(h + 21, 4), count = little_endian(h + 16, 4);
		assert_true(size - at - 32 >= disk_size);
		assert_int_equal(crc32(crc32(0, h + 8, 17), h + 32, (uInt)disk_size), little_endian(h + 4, 4));
		assert_int_equal(little_endian(h + 8, 8), id);
		assert_true(count > 0);
		assert_true(h[20] <= 1);
		if (h[20] == 0)
			assert_int_equal(little_endian(h + 25, 4), disk_size);
		id += count;
		at += 32 + disk_size;
	}
	free(data);
	return id - first_id;
}

/* The original takes a stream without it to go on in the segment 0. */
static void check_head(const char *store, const char *stream, uint64_t active_id)
{
	char path[PATH_MAX], expected[64];
	uint8_t *head;
	size_t size;

	assert_true(snprintf(path, sizeof(path), "%s/%s/head.state", store, stream) < PATH_MAX);
	if (active_id == 0 && access(path, F_OK) != 0)
		return;
	head = file_read(path, &size);
	snprintf(expected, sizeof(expected), "\x01\x18%020" PRIu64 ".wal", active_id);
	assert_int_equal(size, 26);
	assert_memory_equal(head, expected, 26);
	free(head);
}

static uint64_t count_segments(const char *store, const char *stream)
{
	char path[PATH_MAX];
	struct dirent *entry;
	uint64_t count = 0;

	assert_true(snprintf(path, sizeof(path), "%s/%s", store, stream) < PATH_MAX);
	DIR *dir = opendir(path);
	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		size_t n = strlen(entry->d_name);

		count += n > 4 && strcmp(entry->d_name + n - 4, ".wal") == 0;
	}
	closedir(dir);
	return count;
}

uint64_t original_check_stream(const char *store, const char *stream, uint64_t *ret_first)
{
	char path[PATH_MAX];
	uint8_t *index;
	size_t size;
	uint64_t next = 0;

	assert_true(snprintf(path, sizeof(path), "%s/%s/segments.idx", store, stream) < PATH_MAX);
	index = file_read(path, &size);
	assert_true(size > 0 && size % 8 == 0);
	for (size_t at = 0; at < size; at += 8) {
		uint64_t id = little_endian(index + at, 8);

		assert_true(at == 0 || id == next);
		next = id + check_segment(segment_path(store, stream, id, ".wal", path), id);
	}
	/* The files that it lists are there, and there are no more. */
	assert_int_equal(count_segments(store, stream), size / 8);
	check_head(store, stream, little_endian(index + size - 8, 8));
	if (ret_first)
		*ret_first = little_endian(index, 8);
	free(index);
	return next;
}
