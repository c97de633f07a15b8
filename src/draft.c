/* SPDX-License-Identifier: Apache-2.0 */
/* One entry being put together: in memory up to MEMORY_MAX, beyond it in an unlinked file. See wal.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "stream_impl.h"

enum {
	MEMORY_MIN = 256,
	MEMORY_MAX = 1 << 20,
};

struct wal_draft {
	struct wal_stream *stream;
	uint8_t *data;	   /* never NULL while fd < 0 */
	size_t capacity;
	int fd;		   /* >= 0: all of it is there */
	uint64_t size;
	uint64_t reserved; /* of the stream's space: the whole frame's as soon as anything was written */
	struct iovec entry;
};

int wal_draft_new(struct wal_stream *st, struct wal_draft **ret_draft)
{
	if (st->engine->env.opts.ro)
		return -EROFS;
	struct wal_draft *d = calloc(1, sizeof *d);
	uint8_t *data = malloc(MEMORY_MIN);
	if (!d || !data) {
		free(d);
		free(data);
		return -ENOMEM;
	}
	stream_ref(st);
	*d = (struct wal_draft){ .stream = st, .data = data, .capacity = MEMORY_MIN, .fd = -1 };
	*ret_draft = d;
	return 0;
}

static void unreserve(struct wal_draft *d)
{
	if (d->reserved > 0)
		stream_unreserve(d->stream, d->reserved);
	d->reserved = 0;
}

uint64_t draft_reserved(const struct wal_draft *d)
{
	return d->reserved;
}

uint64_t draft_spend(struct wal_draft *d)
{
	uint64_t reserved = d->reserved;

	d->reserved = 0;
	return reserved;
}

void draft_source(const struct wal_draft *d, struct draft_source *ret)
{
	*ret = (struct draft_source){ .data = d->fd < 0 ? d->data : NULL, .fd = d->fd, .size = d->size };
}

void wal_draft_free(struct wal_draft *d)
{
	if (!d)
		return;
	unreserve(d);
	sys_close(d->stream->engine->env.sys, &d->fd);
	free(d->data);
	stream_unref(d->stream);
	free(d);
}

uint64_t wal_draft_size(const struct wal_draft *d)
{
	return d->size;
}

/* Room for an entry of `size` bytes in the segment. */
static int reserve(struct wal_draft *d, uint64_t size)
{
	uint64_t need = FRAME_HEADER_BYTES + FRAME_LENGTH_BYTES + size;
	int result = 0;

	if (size > WAL_ENTRY_SIZE_MAX)
		return -EFBIG;
	if (need > d->reserved) {
		result = stream_reserve(d->stream, need - d->reserved);
		if (result == 0)
			d->reserved = need;
	}
	return result;
}

/* From memory to the temporary file. */
static int spill(struct wal_draft *d)
{
	struct engine *engine = d->stream->engine;
	struct sys *sys = engine->env.sys;
	int fd = sys->tmpfile(sys, engine->env.root_fd);

	if (fd < 0)
		return fd;
	int result = sys_pwrite_full(sys, fd, d->data, (size_t)d->size, 0);
	if (result < 0) {
		sys_close(sys, &fd);
		return result;
	}
	free(d->data);
	d->data = NULL;
	d->capacity = 0;
	d->fd = fd;
	return 0;
}

/* Memory for `size` bytes, or the temporary file if that is too much. */
static int make_room(struct wal_draft *d, uint64_t size)
{
	if (d->fd >= 0 || size <= d->capacity)
		return 0;
	if (size > MEMORY_MAX)
		return spill(d);
	size_t capacity = d->capacity;
	while (capacity < size)
		capacity *= 2;
	uint8_t *data = realloc(d->data, capacity);
	if (!data)
		return -ENOMEM;
	d->data = data;
	d->capacity = capacity;
	return 0;
}

static int write_draft(struct wal_draft *d, const void *data, size_t size, uint64_t offset)
{
	struct sys *sys = d->stream->engine->env.sys;
	uint64_t end;

	if (__builtin_add_overflow(offset, size, &end))
		return -EFBIG;
	if (size == 0)
		return 0;
	int result = reserve(d, end > d->size ? end : d->size);
	if (result == 0)
		result = make_room(d, end);
	if (result < 0)
		return result;
	if (d->fd >= 0) {
		result = sys_pwrite_full(sys, d->fd, data, size, offset);
		if (result < 0) {
			/* A part of it may be there: what lies behind the old end must not show up later. */
			int cut = end > d->size ? sys->ftruncate(sys, d->fd, d->size) : 0;

			return cut < 0 ? cut : result;
		}
	} else {
		if (offset > d->size)
			memset(d->data + d->size, 0, (size_t)(offset - d->size));
		memcpy(d->data + offset, data, size);
	}
	if (end > d->size)
		d->size = end;
	return 0;
}

static int truncate_draft(struct wal_draft *d, uint64_t size)
{
	struct sys *sys = d->stream->engine->env.sys;
	int result = reserve(d, size);

	if (result == 0)
		result = make_room(d, size);
	if (result == 0 && d->fd >= 0)
		result = sys->ftruncate(sys, d->fd, size);
	if (result < 0)
		return result;
	if (d->fd < 0 && size > d->size)
		memset(d->data + d->size, 0, (size_t)(size - d->size));
	d->size = size;
	return 0;
}

/* What an append would have failed by. */
static int count(struct wal_draft *d, int result)
{
	if (result < 0)
		stream_count_append_error(d->stream, result);
	return result;
}

int wal_draft_write(struct wal_draft *d, const void *data, size_t size, uint64_t offset)
{
	return count(d, write_draft(d, data, size, offset));
}

int wal_draft_truncate(struct wal_draft *d, uint64_t size)
{
	return count(d, truncate_draft(d, size));
}

void wal_draft_submit(struct wal_draft *d, struct wal_op *op)
{
	stream_submit_draft(d->stream, d, op, &d->entry);
}

int wal_draft_commit(struct wal_draft *d, unsigned flags, uint64_t *ret_id)
{
	return stream_commit_draft(d->stream, d, flags & WAL_DURABLE, ret_id);
}
