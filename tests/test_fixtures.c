/* SPDX-License-Identifier: Apache-2.0 */
/* Every frame in every segment that the original wrote, decoded straight from the files and compared with the manifests; and its two small files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crc32.h"
#include "damage.h"
#include "fixtures.h"
#include "frame.h"
#include "lz4codec.h"
#include "names.h"
#include "segindex.h"
#include "test.h"

struct walk {
	struct manifest manifest;
	const char *stream;
	uint64_t entries; /* compared so far */
	unsigned frames[2]; /* by type */
	unsigned torn;	  /* segments with bytes behind the last whole frame */
};

static void compare_entries(struct walk *walk, const uint8_t *payload, uint64_t size, const struct frame_header *h)
{
	struct frame_cursor c = { payload, payload + size };
	uint64_t id = h->start_id;
	const uint8_t *data;
	uint32_t data_size;

	assert_int_equal(frame_check_payload(payload, size, h->entry_count), FRAME_OK);
	for (; frame_cursor_next(&c, &data, &data_size); id++) {
		const struct manifest_entry *expected = manifest_find(&walk->manifest, walk->stream, id);
		if (!expected)
			fail_msg("%s %llu is not in the manifest", walk->stream, (unsigned long long)id);
		assert_int_equal(data_size, expected->size);
		assert_int_equal(crc32_update(0, data, data_size), expected->crc);
		walk->entries++;
	}
}

/* ironwal's size is right although its crc does not cover it, so it must also be what the frame measures. */
static void compare_lz4(struct walk *walk, const uint8_t *payload, const struct frame_header *h)
{
	uint8_t *raw = malloc(h->raw_size);
	uint64_t measured;

	assert_int_equal(lz4frame_measure(payload, h->disk_size, UINT32_MAX, &measured), 0);
	assert_int_equal(measured, h->raw_size);
	assert_int_equal(lz4frame_decompress(raw, h->raw_size, payload, h->disk_size), 0);
	compare_entries(walk, raw, h->raw_size, h);
	free(raw);
}

/* The whole frame at `data`: its length, or 0 if there is none. */
static size_t compare_frame(struct walk *walk, const uint8_t *data, size_t size, uint64_t expected_id)
{
	uint8_t again[FRAME_HEADER_BYTES];
	struct frame_header h;

	if (size < FRAME_HEADER_BYTES || frame_decode_header(data, &h) != FRAME_OK || h.disk_size > size - FRAME_HEADER_BYTES)
		return 0;
	assert_int_equal(frame_check_crc(&h, data + FRAME_OFF_PAYLOAD), FRAME_OK);
	assert_int_equal(h.start_id, expected_id);
	assert_int_equal(h.mark, 0);
	frame_encode_header(again, &h);
	assert_memory_equal(again, data, FRAME_OFF_UNSYNCED);
	walk->frames[h.type]++;
	if (h.type == FRAME_LZ4)
		compare_lz4(walk, data + FRAME_OFF_PAYLOAD, &h);
	else
		compare_entries(walk, data + FRAME_OFF_PAYLOAD, h.disk_size, &h);
	return FRAME_HEADER_BYTES + h.disk_size;
}

static void compare_segment(struct walk *walk, const char *path, uint64_t first_id)
{
	size_t size, at = 0, n;
	uint8_t *data = file_read(path, &size);
	uint64_t before = walk->entries;

	while ((n = compare_frame(walk, data + at, size - at, first_id + walk->entries - before)) > 0)
		at += n;
	walk->torn += at < size;
	free(data);
}

static void compare_stream(struct walk *walk, const char *dir_path)
{
	struct dirent **names;
	int count = scandir(dir_path, &names, NULL, alphasort);

	assert_true(count > 0);
	for (int i = 0; i < count; i++) {
		char path[PATH_MAX];
		uint64_t id;

		assert_true(snprintf(path, sizeof(path), "%s/%s", dir_path, names[i]->d_name) < PATH_MAX);
		if (name_is_segment(names[i]->d_name, &id))
			compare_segment(walk, path, id);
		free(names[i]);
	}
	free(names);
}

static void compare_store(const char *fixture, struct walk *walk)
{
	char store[PATH_MAX], path[PATH_MAX];
	DIR *dir;
	struct dirent *entry;

	*walk = (struct walk){ 0 };
	dir = opendir(fixture_path(fixture, "store", store));
	assert_non_null(dir);
	manifest_load(fixture, &walk->manifest);
	while ((entry = readdir(dir))) {
		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		walk->stream = entry->d_name;
		assert_true(snprintf(path, sizeof(path), "%s/%s", store, entry->d_name) < PATH_MAX);
		compare_stream(walk, path);
	}
	closedir(dir);
	assert_int_equal(walk->entries, walk->manifest.count);
	manifest_release(&walk->manifest);
}

static void every_entry_of_every_store(void **state)
{
	struct walk walk;

	(void)state;
	for (size_t i = 0; fixture_names[i]; i++) {
		compare_store(fixture_names[i], &walk);
		assert_int_equal(walk.torn, strcmp(fixture_names[i], "torn") == 0 ? 4 : 0);
	}
}

static void lz4_store_has_both_types(void **state)
{
	struct walk walk;

	(void)state;
	compare_store("lz4", &walk);
	assert_true(walk.frames[FRAME_RAW] > 0);
	assert_true(walk.frames[FRAME_LZ4] > 0);
}

static int open_stream(const char *fixture, const char *stream)
{
	char path[PATH_MAX];
	int fd = open(fixture_path(fixture, stream, path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void expect_index(int fd, const uint64_t *ids, size_t count)
{
	struct id_array array;

	assert_int_equal(segindex_load(sys_real(), fd, &array), 0);
	assert_int_equal(array.count, count);
	assert_memory_equal(array.ids, ids, count * sizeof(*ids));
	id_array_release(&array);
}

static void index_and_head(void **state)
{
	static const uint64_t ids[] = { 0, 140, 279, 425, 571 }, truncated[] = { 291, 349, 409, 468, 521, 574 }, single[] = { 0 };
	uint64_t id = 4711;
	int fd;

	(void)state;
	fd = open_stream("multi-segment", "store/orders");
	expect_index(fd, ids, TEST_COUNT(ids));
	assert_int_equal(headstate_load(sys_real(), fd, &id), 0);
	assert_int_equal(id, 571);
	close(fd);
	fd = open_stream("truncated", "store/hist");
	expect_index(fd, truncated, TEST_COUNT(truncated));
	assert_int_equal(headstate_load(sys_real(), fd, &id), 0);
	assert_int_equal(id, 574);
	close(fd);
	fd = open_stream("raw-small", "store/events");
	expect_index(fd, single, TEST_COUNT(single));
	assert_int_equal(headstate_load(sys_real(), fd, &id), -ENOENT);
	close(fd);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_entry_of_every_store),
		cmocka_unit_test(lz4_store_has_both_types),
		cmocka_unit_test(index_and_head),
	};

	if (!fixtures_or_skip())
		return 0;
	return TEST_RUN(tests);
}
