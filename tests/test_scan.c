/* SPDX-License-Identifier: Apache-2.0 */
/* Going through a segment's bytes: checking frames, finding the next one behind bad bytes, and what counts as evidence. */
#include "scan.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bytes.h"
#include "crc32.h"
#include "test.h"
#include "wal.h"

enum {
	SEGMENT = 100,
	BUFFER = 4096,
};

/* A segment being put together in memory. */
struct image {
	uint8_t data[64 * 1024];
	size_t size;
	uint64_t next_id;
};

enum mark {
	OURS,
	PLAIN,
	ELSEWHERE,
};

static size_t put_frame(uint8_t *at, uint64_t id, uint32_t size, uint8_t unsynced, enum mark mark, uint64_t offset)
{
	struct frame_header h = { .start_id = id, .entry_count = 1, .disk_size = size + FRAME_LENGTH_BYTES, .raw_size = size + FRAME_LENGTH_BYTES };
	uint8_t *payload = at + FRAME_HEADER_BYTES;

	put_le32(payload, size);
	memset(payload + FRAME_LENGTH_BYTES, (int)('a' + id % 26), size);
	h.crc = crc32_update(frame_crc_begin(h.start_id, 1, FRAME_RAW, h.disk_size), payload, h.disk_size);
	h.unsynced = mark == PLAIN ? 0 : unsynced;
	if (mark != PLAIN)
		frame_set_mark(&h, mark == OURS ? SEGMENT : SEGMENT + 1, offset);
	frame_encode_header(at, &h);
	return FRAME_HEADER_BYTES + h.disk_size;
}

static size_t add_frame(struct image *image, uint32_t size, uint8_t unsynced, enum mark mark)
{
	size_t at = image->size;

	image->size += put_frame(image->data + at, image->next_id++, size, unsynced, mark, at);
	return at;
}

static struct image *new_image(void)
{
	struct image *image = calloc(1, sizeof *image);

	assert_non_null(image);
	image->next_id = SEGMENT;
	return image;
}

static int scan_of(const struct image *image, struct scan *scan)
{
	int fd = memfd_create("segment", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, image->data, image->size), (ssize_t)image->size);
	assert_int_equal(scan_init(scan, sys_real(), fd, SEGMENT, image->size, BUFFER), 0);
	return fd;
}

static void end(struct scan *scan, int fd, struct image *image)
{
	scan_release(scan);
	close(fd);
	free(image);
}

static int add_up(void *arg, uint32_t size)
{
	*(uint64_t *)arg += size;
	return 0;
}

/* Frames below and above the buffer's size. */
static void frames_of_all_sizes(void **state)
{
	static const uint32_t sizes[] = { 0, 1, BUFFER - 37, BUFFER - 36, BUFFER - 35, BUFFER, 5 * BUFFER, 7 };
	struct image *image = new_image();
	size_t offsets[TEST_COUNT(sizes)];
	struct frame_header h;
	enum frame_fault fault;
	struct scan scan;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(sizes); i++)
		offsets[i] = add_frame(image, sizes[i], 0, OURS);
	int fd = scan_of(image, &scan);
	for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
		uint64_t sum = 0;

		assert_int_equal(scan_frame(&scan, offsets[i], &h, &fault), 0);
		assert_int_equal(fault, FRAME_OK);
		assert_int_equal(h.start_id, SEGMENT + i);
		assert_int_equal(scan_lengths(&scan, offsets[i], &h, add_up, &sum), 0);
		assert_int_equal(sum, sizes[i]);
	}
	assert_int_equal(scan_frame(&scan, image->size, &h, &fault), 0);
	assert_int_equal(fault, FRAME_BAD_SIZE);
	end(&scan, fd, image);
}

/* Every byte that the checksum covers, and the magic. */
static void every_covered_byte_changed(void **state)
{
	(void)state;
	for (size_t at = 0; at < FRAME_HEADER_BYTES + 4 + 10; at++) {
		struct image *image = new_image();
		struct frame_header h;
		enum frame_fault fault;
		struct scan scan;

		add_frame(image, 10, 0, OURS);
		image->data[at] ^= 0x10;
		int fd = scan_of(image, &scan);
		assert_int_equal(scan_frame(&scan, 0, &h, &fault), 0);
		assert_int_equal(fault == FRAME_OK, at >= FRAME_OFF_RAW_SIZE && at < FRAME_OFF_PAYLOAD);
		end(&scan, fd, image);
	}
}

/* Behind bad bytes the next frame is found wherever it begins, with ids in range. */
static void next_frame_behind_bad_bytes(void **state)
{
	struct image *image = new_image();
	struct frame_header h;
	uint64_t offset;
	struct scan scan;

	(void)state;
	size_t first = add_frame(image, 10, 0, OURS);
	size_t second = add_frame(image, 3 * BUFFER, 0, OURS);
	size_t third = add_frame(image, 10, 0, OURS);
	image->data[first + 40] ^= 1;
	image->data[second + 5000] ^= 1;
	int fd = scan_of(image, &scan);
	assert_int_equal(scan_find(&scan, 0, 0, UINT64_MAX, &offset, &h), 0);
	assert_int_equal(offset, third);
	assert_int_equal(h.start_id, SEGMENT + 2);
	assert_int_equal(scan_find(&scan, 0, SEGMENT + 3, UINT64_MAX, &offset, &h), WAL_END);
	assert_int_equal(scan_find(&scan, 0, 0, SEGMENT + 2, &offset, &h), WAL_END);
	assert_int_equal(scan_find(&scan, third + 1, 0, UINT64_MAX, &offset, &h), WAL_END);
	end(&scan, fd, image);
}

/* An entry that holds a copy of frames: only those count that were written where they stand. */
static void frames_inside_of_an_entry(void **state)
{
	struct image *image = new_image();
	struct frame_header h;
	uint64_t offset;
	struct scan scan;

	(void)state;
	size_t outer = add_frame(image, 2000, 0, OURS);
	put_frame(image->data + outer + 100, SEGMENT, 20, 0, PLAIN, 0);
	put_frame(image->data + outer + 500, SEGMENT, 20, 0, ELSEWHERE, outer + 500);
	size_t after = add_frame(image, 10, 0, OURS);
	int fd = scan_of(image, &scan);
	assert_int_equal(scan_find(&scan, 0, 0, UINT64_MAX, &offset, &h), 0);
	assert_int_equal(offset, after);
	end(&scan, fd, image);
}

/* A segment that ironwal wrote has no marks at all: there they count, unless something says that it is ours. */
static void frames_without_marks(void **state)
{
	struct image *image = new_image();
	struct frame_header h;
	uint64_t offset;
	struct scan scan;

	(void)state;
	add_frame(image, 10, 0, PLAIN);
	size_t second = add_frame(image, 10, 0, PLAIN);
	image->data[40] ^= 1;
	int fd = scan_of(image, &scan);
	assert_int_equal(scan_find(&scan, 0, 0, UINT64_MAX, &offset, &h), 0);
	assert_int_equal(offset, second);
	assert_int_equal(scan_vouched(&scan, 0, SEGMENT), 1);
	scan.made_here = true;
	assert_int_equal(scan_find(&scan, 0, 0, UINT64_MAX, &offset, &h), WAL_END);
	assert_int_equal(scan_vouched(&scan, 0, SEGMENT), 0);
	end(&scan, fd, image);
}

/* The first of `count` frames is bad; the others say how many before them were not yet durable. */
static int vouched(const uint8_t *unsynced, size_t count)
{
	struct image *image = new_image();
	struct scan scan;

	for (size_t i = 0; i < count; i++)
		add_frame(image, 10, unsynced[i], OURS);
	image->data[40] ^= 1;
	int fd = scan_of(image, &scan);
	int result = scan_vouched(&scan, 0, SEGMENT);
	end(&scan, fd, image);
	return result;
}

static void later_frames_vouch_or_not(void **state)
{
	(void)state;
	/* Written one by one, each durable before the next. */
	assert_int_equal(vouched((const uint8_t[]){ 0, 0 }, 2), 1);
	/* Both of one sync that never came to its end. */
	assert_int_equal(vouched((const uint8_t[]){ 0, 1 }, 2), 0);
	assert_int_equal(vouched((const uint8_t[]){ 0, 1, 2, 3 }, 4), 0);
	/* The last one was written after the sync of the first. */
	assert_int_equal(vouched((const uint8_t[]){ 0, 1, 1 }, 3), 1);
	assert_int_equal(vouched((const uint8_t[]){ 0, 1, 2, 0 }, 4), 1);
	/* So many that nobody counted. */
	assert_int_equal(vouched((const uint8_t[]){ 0, 255, 255 }, 3), 0);
	/* Nothing behind. */
	assert_int_equal(vouched((const uint8_t[]){ 0 }, 1), 0);
}

static void zeros_and_not(void **state)
{
	struct image *image = new_image();
	struct scan scan;

	(void)state;
	image->size = 5 * BUFFER;
	image->data[3 * BUFFER] = 1;
	int fd = scan_of(image, &scan);
	assert_int_equal(scan_is_zero(&scan, 0, 3 * BUFFER), 1);
	assert_int_equal(scan_is_zero(&scan, 0, 3 * BUFFER + 1), 0);
	assert_int_equal(scan_is_zero(&scan, 3 * BUFFER, image->size), 0);
	assert_int_equal(scan_is_zero(&scan, 3 * BUFFER + 1, image->size), 1);
	assert_int_equal(scan_is_zero(&scan, image->size, image->size), 1);
	end(&scan, fd, image);
}

/* Headers that announce much and hold nothing: the search ends, one way or another, after a bounded number of bytes. */
static void forged_headers_everywhere(void **state)
{
	struct image *image = new_image();
	struct frame_header h;
	uint64_t offset;
	struct scan scan;

	(void)state;
	image->size = sizeof image->data;
	for (size_t at = 0; at + 64 <= image->size; at += 33) {
		h = (struct frame_header){ .start_id = SEGMENT, .entry_count = 1, .disk_size = (uint32_t)(image->size - at - FRAME_HEADER_BYTES) };
		frame_set_mark(&h, SEGMENT, at);
		frame_encode_header(image->data + at, &h);
	}
	int fd = scan_of(image, &scan);
	scan.search_budget = 4 * image->size;
	assert_int_equal(scan_find(&scan, 0, 0, UINT64_MAX, &offset, &h), WAL_TIMEOUT);
	end(&scan, fd, image);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_of_all_sizes),
		cmocka_unit_test(every_covered_byte_changed),
		cmocka_unit_test(next_frame_behind_bad_bytes),
		cmocka_unit_test(frames_inside_of_an_entry),
		cmocka_unit_test(frames_without_marks),
		cmocka_unit_test(later_frames_vouch_or_not),
		cmocka_unit_test(zeros_and_not),
		cmocka_unit_test(forged_headers_everywhere),
	};

	return TEST_RUN(tests);
}
