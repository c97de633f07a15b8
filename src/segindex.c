/* SPDX-License-Identifier: Apache-2.0 */
#include "segindex.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "cleanup.h"
#include "names.h"

enum {
	ID_BYTES = 8,
	IDS_PER_READ = 512,
	HEADSTATE_VERSION = 1,
	HEADSTATE_OFF_LENGTH = 1,
	HEADSTATE_OFF_NAME = 2,
	HEADSTATE_NAME_MAX = 255,
};

/* 16 million segments. */
#define SEGINDEX_BYTES_MAX ((uint64_t)128 << 20)

int id_array_push(struct id_array *array, uint64_t id)
{
	if (array->count == array->capacity) {
		size_t capacity = array->capacity ? array->capacity * 2 : 16;
		uint64_t *ids = reallocarray(array->ids, capacity, sizeof(*ids));
		if (!ids)
			return -ENOMEM;
		array->ids = ids;
		array->capacity = capacity;
	}
	array->ids[array->count++] = id;
	return 0;
}

static int compare_ids(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

void id_array_sort(struct id_array *array)
{
	size_t kept = 0;

	if (array->count == 0)
		return;
	qsort(array->ids, array->count, sizeof(*array->ids), compare_ids);
	for (size_t i = 1; i < array->count; i++) {
		if (array->ids[i] != array->ids[kept])
			array->ids[++kept] = array->ids[i];
	}
	array->count = kept + 1;
}

ssize_t id_array_find(const struct id_array *array, uint64_t id)
{
	size_t low = 0, high = array->count;

	/* ids[low - 1] <= id < ids[high] */
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (array->ids[middle] <= id)
			low = middle + 1;
		else
			high = middle;
	}
	return (ssize_t)low - 1;
}

void id_array_trim(struct id_array *array)
{
	uint64_t *ids = array->count > 0 ? reallocarray(array->ids, array->count, sizeof(*ids)) : NULL;

	if (ids) {
		array->ids = ids;
		array->capacity = array->count;
	}
}

void id_array_release(struct id_array *array)
{
	free(array->ids);
	*array = (struct id_array){ 0 };
}

/* Adds the ids in `buf`, which must ascend from those already there. */
static int push_ids(struct id_array *array, const uint8_t *buf, size_t size)
{
	for (size_t at = 0; at < size; at += ID_BYTES) {
		uint64_t id = get_le64(buf + at);
		uint64_t last = array->count ? array->ids[array->count - 1] : 0;
		int r;

		if (id < last)
			return -EBADMSG;
		if (array->count && id == last)
			continue;
		r = id_array_push(array, id);
		if (r < 0)
			return r;
	}
	return 0;
}

static int read_ids(struct sys *sys, int fd, struct id_array *array)
{
	uint8_t buf[IDS_PER_READ * ID_BYTES];
	uint64_t offset = 0;
	ssize_t n;
	int r;

	do {
		n = sys_pread_full(sys, fd, buf, sizeof(buf), offset);
		if (n < 0)
			return (int)n;
		if (n % ID_BYTES)
			return -EBADMSG;
		offset += (uint64_t)n;
		if (offset > SEGINDEX_BYTES_MAX)
			return -EFBIG;
		r = push_ids(array, buf, (size_t)n);
		if (r < 0)
			return r;
	} while (n == sizeof(buf));
	return 0;
}

int segindex_load(struct sys *sys, int dirfd, struct id_array *ret)
{
	struct id_array array = { 0 };
	int fd = sys_open_regular(sys, dirfd, NAME_SEGMENTS_IDX, O_RDONLY, 0);
	int r;

	if (fd < 0)
		return fd;
	r = read_ids(sys, fd, &array);
	sys_close(sys, &fd);
	if (r < 0) {
		id_array_release(&array);
		return r;
	}
	*ret = array;
	return 0;
}

int segindex_store(struct sys *sys, int dirfd, const struct id_array *array, mode_t mode)
{
	CLEANUP_FREE uint8_t *buf = malloc(array->count ? array->count * ID_BYTES : 1);

	if (!buf)
		return -ENOMEM;
	for (size_t i = 0; i < array->count; i++) {
		assert(i == 0 || array->ids[i - 1] < array->ids[i]);
		put_le64(buf + i * ID_BYTES, array->ids[i]);
	}
	return sys_replace_file(sys, dirfd, NAME_SEGMENTS_IDX, mode, buf, array->count * ID_BYTES);
}

/* Leaves the file `size` bytes long. One that is shorter lacks ids, which a write behind its end would turn into zeros. */
static int cut_to(struct sys *sys, int fd, uint64_t size)
{
	struct stat st;
	int r = sys->fstat(sys, fd, &st);

	if (r < 0)
		return r;
	if ((uint64_t)st.st_size < size)
		return -EBADMSG;
	return (uint64_t)st.st_size > size ? sys->ftruncate(sys, fd, size) : 0;
}

int segindex_append(struct sys *sys, int dirfd, size_t index, uint64_t id)
{
	uint64_t size = (uint64_t)index * ID_BYTES;
	uint8_t buf[ID_BYTES];
	int fd = sys_open_regular(sys, dirfd, NAME_SEGMENTS_IDX, O_WRONLY, 0);
	int r;

	if (fd < 0)
		return fd;
	put_le64(buf, id);
	r = cut_to(sys, fd, size);
	if (r == 0) {
		r = sys_pwrite_full(sys, fd, buf, sizeof(buf), size);
		if (r == 0)
			r = sys->fdatasync(sys, fd);
		/* If this fails too, the next append overwrites it, and the next open sees an id without its segment. */
		if (r < 0)
			(void)sys->ftruncate(sys, fd, size);
	}
	sys_close(sys, &fd);
	return r;
}

int headstate_load(struct sys *sys, int dirfd, uint64_t *ret_id)
{
	uint8_t buf[HEADSTATE_OFF_NAME + HEADSTATE_NAME_MAX + 1];
	size_t length;
	ssize_t n;
	int fd = sys_open_regular(sys, dirfd, NAME_HEAD_STATE, O_RDONLY, 0);

	if (fd < 0)
		return fd;
	n = sys_pread_full(sys, fd, buf, sizeof(buf) - 1, 0);
	sys_close(sys, &fd);
	if (n < 0)
		return (int)n;
	if (n < HEADSTATE_OFF_NAME || buf[0] != HEADSTATE_VERSION)
		return -EBADMSG;
	length = buf[HEADSTATE_OFF_LENGTH];
	if ((size_t)n < HEADSTATE_OFF_NAME + length || memchr(buf + HEADSTATE_OFF_NAME, '\0', length))
		return -EBADMSG;
	buf[HEADSTATE_OFF_NAME + length] = '\0';
	return name_is_segment((const char *)buf + HEADSTATE_OFF_NAME, ret_id) ? 0 : -EBADMSG;
}

int headstate_store(struct sys *sys, int dirfd, uint64_t id, mode_t mode)
{
	uint8_t buf[HEADSTATE_OFF_NAME + NAME_SEGMENT_MAX] = { HEADSTATE_VERSION };
	size_t length = strlen(name_segment((char *)buf + HEADSTATE_OFF_NAME, id));

	buf[HEADSTATE_OFF_LENGTH] = (uint8_t)length;
	return sys_replace_file(sys, dirfd, NAME_HEAD_STATE, mode, buf, HEADSTATE_OFF_NAME + length);
}
