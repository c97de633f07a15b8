/* SPDX-License-Identifier: Apache-2.0 */
#include "blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "wal.h"

enum { MEMORY_MAX = 4 << 20, MEMORY_FIRST = 64 << 10 };

void blob_init(struct blob *blob, const char *directory)
{
	*blob = (struct blob){ .directory = directory, .fd = -1 };
}

static void drop_file(struct blob *blob)
{
	if (blob->map)
		munmap(blob->map, blob->mapped);
	if (blob->fd >= 0)
		close(blob->fd);
	blob->map = NULL;
	blob->fd = -1;
}

void blob_clear(struct blob *blob)
{
	drop_file(blob);
	blob->size = 0;
}

static int open_unlinked(const char *directory)
{
	char path[4096];
	int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd >= 0)
		return fd;
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL)
		return -errno;
	/* a file system without O_TMPFILE */
	if ((size_t)snprintf(path, sizeof(path), "%s/walctl-import-XXXXXX", directory) >= sizeof(path))
		return -ENAMETOOLONG;
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	unlink(path);
	return fd;
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
	while (size) {
		ssize_t written = write(fd, data, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return -errno;
		data += written;
		size -= (size_t)written;
	}
	return 0;
}

static int spill(struct blob *blob)
{
	int fd = open_unlinked(blob->directory), r;

	if (fd < 0)
		return fd;
	r = write_all(fd, blob->memory, (size_t)blob->size);
	if (r < 0) {
		close(fd);
		return r;
	}
	blob->fd = fd;
	return 0;
}

static int reserve(struct blob *blob, size_t size)
{
	size_t capacity = blob->capacity ? blob->capacity : MEMORY_FIRST;
	uint8_t *memory;

	if (size <= blob->capacity)
		return 0;
	while (capacity < size)
		capacity *= 2;
	memory = realloc(blob->memory, capacity);
	if (!memory)
		return -ENOMEM;
	blob->memory = memory;
	blob->capacity = capacity;
	return 0;
}

int blob_add(struct blob *blob, const void *data, size_t size)
{
	int r = 0;

	if (size > WAL_ENTRY_SIZE_MAX - blob->size)
		return -EFBIG;
	if (!size)
		return 0;
	if (blob->fd < 0 && blob->size + size > MEMORY_MAX)
		r = spill(blob);
	else if (blob->fd < 0)
		r = reserve(blob, (size_t)blob->size + size);
	if (r < 0)
		return r;
	if (blob->fd < 0)
		memcpy(blob->memory + blob->size, data, size);
	else
		r = write_all(blob->fd, data, size);
	if (r == 0)
		blob->size += size;
	return r;
}

int blob_data(struct blob *blob, const void **ret)
{
	if (blob->fd < 0) {
		*ret = blob->memory ? (const void *)blob->memory : "";
		return 0;
	}
	if (blob->map)
		munmap(blob->map, blob->mapped);
	blob->map = mmap(NULL, (size_t)blob->size, PROT_READ, MAP_PRIVATE, blob->fd, 0);
	if (blob->map == MAP_FAILED) {
		blob->map = NULL;
		return -errno;
	}
	blob->mapped = blob->size;
	*ret = blob->map;
	return 0;
}

void blob_release(struct blob *blob)
{
	drop_file(blob);
	free(blob->memory);
	blob->memory = NULL;
	blob->capacity = 0;
}
