/* SPDX-License-Identifier: Apache-2.0 */
#include "spool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	STREAM_BUFFER_BYTES = 64 << 10,
};

static int grow(struct spool *spool, size_t need)
{
	size_t capacity = spool->capacity ? spool->capacity : STREAM_BUFFER_BYTES;
	char *data;

	while (capacity < need)
		capacity *= 2;
	if (capacity == spool->capacity)
		return 0;
	data = realloc(spool->data, capacity);
	if (!data)
		return -ENOMEM;
	spool->data = data;
	spool->capacity = capacity;
	return 0;
}

/* fwrite(3) may leave errno alone when memory is short. */
static int write_file(FILE *file, const char *data, size_t size)
{
	errno = 0;
	return fwrite(data, 1, size, file) == size ? 0 : errno ? -errno : -EIO;
}

static int spill(struct spool *spool)
{
	int r;

	spool->file = tmpfile();
	if (!spool->file)
		return -errno;
	r = write_file(spool->file, spool->data, spool->size);
	free(spool->data);
	spool->data = NULL;
	spool->capacity = 0;
	return r;
}

static int append(struct spool *spool, const char *data, size_t size)
{
	int r = 0;

	if (!spool->file && spool->size + size > SPOOL_MEMORY_MAX)
		r = spill(spool);
	if (r < 0)
		return r;
	if (spool->file)
		return write_file(spool->file, data, size);
	r = grow(spool, spool->size + size);
	if (r == 0)
		memcpy(spool->data + spool->size, data, size);
	return r;
}

/* What fails is remembered, not told: the rest is then thrown away without a system call for each piece. */
static ssize_t spool_write(void *cookie, const char *data, size_t size)
{
	struct spool *spool = cookie;

	if (!spool->error)
		spool->error = append(spool, data, size);
	if (!spool->error)
		spool->size += size;
	return (ssize_t)size;
}

static int spool_finish(void *cookie)
{
	struct spool *spool = cookie;

	if (spool->file && fflush(spool->file) && !spool->error)
		spool->error = -errno;
	return 0;
}

FILE *spool_open(struct spool *spool)
{
	FILE *out = fopencookie(spool, "w", (cookie_io_functions_t){ .write = spool_write, .close = spool_finish });

	if (out)
		setvbuf(out, NULL, _IOFBF, STREAM_BUFFER_BYTES);
	return out;
}

int spool_read(const struct spool *spool, void *data, size_t size, uint64_t offset, size_t *ret_size)
{
	ssize_t got;

	if (offset >= spool->size)
		size = 0;
	else if (size > spool->size - offset)
		size = spool->size - offset;
	if (size && spool->file) {
		got = pread(fileno(spool->file), data, size, (off_t)offset);
		if (got < 0)
			return -errno;
		size = (size_t)got;
	} else if (size) {
		memcpy(data, spool->data + offset, size);
	}
	*ret_size = size;
	return 0;
}

void spool_release(struct spool *spool)
{
	if (spool->file)
		fclose(spool->file);
	free(spool->data);
}
