/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry in pieces. A small one is read whole at the first read and served from memory. A large raw one is checked by one pass over its frame, after which
 * pieces come straight from the file. A large compressed one is checked the same way and then decompressed as it is read; going back starts again from the
 * frame's beginning.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "cleanup.h"
#include "crc32.h"
#include "lz4codec.h"
#include "stream_impl.h"

enum {
	WHOLE_MAX = 256 << 10, /* entries up to this are kept in the reader */
	SLOW_MIN = 1 << 20,
	IN_BYTES = 64 << 10,
	SKIP_BYTES = 64 << 10,
};

/* Decompressing a frame from its beginning on. */
struct unpacking {
	struct lz4frame_decoder *decoder;
	uint8_t *in; /* IN_BYTES, then SKIP_BYTES for what is not wanted */
	size_t in_pos;
	size_t in_size;
	uint64_t in_offset; /* of what comes after `in` in the payload */
	uint64_t raw_pos;
};

struct wal_reader {
	struct wal_stream *stream;
	struct meta_entry e;
	bool whole;
	struct wal_buf buf; /* the entry, if `whole` */
	struct block *block; /* its frame's payload, if that is not large */
	bool verified;
	struct unpacking unpacking;
};

int reader_new(struct wal_stream *st, const struct meta_entry *e, struct wal_reader **ret_reader)
{
	struct wal_reader *r = calloc(1, sizeof *r);

	if (!r)
		return -ENOMEM;
	stream_ref(st);
	r->stream = st;
	r->e = *e;
	*ret_reader = r;
	return 0;
}

void reader_move(struct wal_reader *r, const struct meta_entry *e)
{
	if (r->e.frame_offset != e->frame_offset || r->e.id - r->e.index != e->id - e->index) {
		r->verified = false;
		r->unpacking.raw_pos = UINT64_MAX;
	}
	blockcache_put(r->stream->engine->blockcache, r->block);
	r->block = NULL;
	r->whole = false;
	r->e = *e;
}

int wal_reader_open(struct wal_stream *st, uint64_t id, struct wal_reader **ret_reader, struct wal_entry_info *ret_info)
{
	struct stream_view view;
	struct meta_cursor c;
	struct meta_entry e;
	int result = stream_view_open(st, id, &view);

	if (result != 0)
		return stream_count_read(st, result, 0, 0);
	result = stream_view_find(&view, id, &c, &e);
	stream_view_release(&view);
	if (result < 0)
		return stream_count_read(st, result, 0, 0);
	result = reader_new(st, &e, ret_reader);
	if (result == 0 && ret_info)
		*ret_info = (struct wal_entry_info){ .id = id, .size = e.size, .time_ns = e.time_ns };
	return result;
}

void wal_reader_close(struct wal_reader *r)
{
	if (!r)
		return;
	lz4frame_decoder_free(r->unpacking.decoder);
	free(r->unpacking.in);
	wal_buf_release(&r->buf);
	blockcache_put(r->stream->engine->blockcache, r->block);
	stream_unref(r->stream);
	free(r);
}

bool wal_reader_is_slow(const struct wal_reader *r, uint64_t offset)
{
	if (r->whole || r->block || offset >= r->e.size)
		return false;
	if (r->e.type == FRAME_LZ4)
		return r->e.size > WHOLE_MAX || r->e.disk_size > WHOLE_MAX;
	return !r->verified && r->e.disk_size > SLOW_MIN;
}

/* ---- Large frames ---- */

static int read_at(struct stream_view *view, const struct meta_entry *e, void *data, size_t size, uint64_t offset)
{
	struct sys *sys = view->stream->engine->env.sys;

	if (offset > view->size || size > view->size - offset)
		return stream_damaged(view->stream, view->segment, e, "a whole frame", "the end of the file");
	if (view->segment->data) {
		memcpy(data, view->segment->data + offset, size);
		return 0;
	}
	ssize_t n = sys_pread_full(sys, view->segment->fd, data, size, offset);
	if (n < 0)
		return (int)n;
	return (size_t)n == size ? 0 : stream_damaged(view->stream, view->segment, e, "a whole frame", "the end of the file");
}

/* The one pass over a large frame. */
static int verify(struct wal_reader *r, struct stream_view *view)
{
	size_t piece = (size_t)r->stream->engine->env.opts.read_buffer;
	CLEANUP_FREE uint8_t *buffer = malloc(piece);
	uint8_t head[FRAME_HEADER_BYTES];
	struct frame_header h;
	int result = buffer ? read_at(view, &r->e, head, sizeof head, r->e.frame_offset) : -ENOMEM;

	if (result == 0)
		result = stream_check_header(r->stream, view->segment, &r->e, head, &h);
	if (result < 0)
		return result;
	uint32_t crc = frame_crc_begin(h.start_id, h.entry_count, h.type, h.disk_size);
	for (uint64_t at = 0; at < h.disk_size; at += piece) {
		size_t n = h.disk_size - at < piece ? (size_t)(h.disk_size - at) : piece;

		result = read_at(view, &r->e, buffer, n, r->e.frame_offset + FRAME_HEADER_BYTES + at);
		if (result < 0)
			return result;
		crc = crc32_update(crc, buffer, n);
	}
	result = stream_check_crc(r->stream, view->segment, &r->e, &h, crc);
	r->verified = result == 0;
	return result;
}

static int unpacking_restart(struct unpacking *u)
{
	int result = 0;

	if (!u->in)
		u->in = malloc(IN_BYTES + SKIP_BYTES);
	if (!u->in)
		return -ENOMEM;
	if (u->decoder)
		lz4frame_decoder_reset(u->decoder);
	else
		result = lz4frame_decoder_new(&u->decoder);
	u->in_pos = u->in_size = 0;
	u->in_offset = u->raw_pos = 0;
	return result;
}

/* `size` bytes of the raw payload from `from` on. */
static int unpack(struct wal_reader *r, struct stream_view *view, uint8_t *data, size_t size, uint64_t from)
{
	struct unpacking *u = &r->unpacking;
	int result = !u->in || from < u->raw_pos ? unpacking_restart(u) : 0;

	while (result == 0 && size > 0) {
		bool skip = u->raw_pos < from;
		uint8_t *out = skip ? u->in + IN_BYTES : data;
		size_t made = skip ? SKIP_BYTES : size;
		bool end;

		if (skip && from - u->raw_pos < made)
			made = (size_t)(from - u->raw_pos);
		if (u->in_pos == u->in_size && u->in_offset < r->e.disk_size) {
			u->in_pos = 0;
			u->in_size = r->e.disk_size - u->in_offset < IN_BYTES ? (size_t)(r->e.disk_size - u->in_offset) : IN_BYTES;
			result = read_at(view, &r->e, u->in, u->in_size, r->e.frame_offset + FRAME_HEADER_BYTES + u->in_offset);
			u->in_offset += u->in_size;
			if (result < 0)
				break;
		}
		size_t used = u->in_size - u->in_pos;
		result = lz4frame_decoder_run(u->decoder, u->in + u->in_pos, &used, out, &made, &end);
		u->in_pos += used;
		u->raw_pos += made;
		if (!skip) {
			data += made;
			size -= made;
		}
		if (result == 0 && made == 0 && (end || (used == 0 && u->in_offset >= r->e.disk_size)))
			result = -EBADMSG;
		if (result == -EBADMSG)
			result = stream_damaged(r->stream, view->segment, &r->e, "an LZ4 frame that holds the entry", "another or a shorter one");
	}
	/* Where it stands in the middle of an error is not known. */
	if (result < 0)
		u->raw_pos = UINT64_MAX;
	return result;
}

/* `size` bytes of the frame's raw payload, which is large. */
static int read_raw(struct wal_reader *r, struct stream_view *view, void *data, size_t size, uint64_t from)
{
	if (r->e.type == FRAME_LZ4)
		return unpack(r, view, data, size, from);
	return read_at(view, &r->e, data, size, r->e.frame_offset + FRAME_HEADER_BYTES + from);
}

static int read_large(struct wal_reader *r, struct stream_view *view, void *data, size_t size, uint64_t offset)
{
	uint8_t prefix[FRAME_LENGTH_BYTES];
	int result = r->verified ? 0 : verify(r, view);

	/* Before an entry's first bytes its length is on the way. */
	if (result == 0 && offset == 0) {
		result = read_raw(r, view, prefix, sizeof prefix, r->e.payload_pos);
		if (result == 0 && get_le32(prefix) != r->e.size)
			result = stream_damaged(r->stream, view->segment, &r->e, "the entry's length", "another");
	}
	return result < 0 ? result : read_raw(r, view, data, size, r->e.payload_pos + FRAME_LENGTH_BYTES + offset);
}

/* ---- Any ---- */

static bool is_small(const struct wal_reader *r)
{
	return r->e.size <= WHOLE_MAX && r->e.disk_size <= FRAME_BYTES_LARGE;
}

/* From a frame that is not kept in the reader, or not yet. */
static int read_frame(struct wal_reader *r, void *data, size_t size, uint64_t offset)
{
	struct stream_view view;
	int result = stream_view_open(r->stream, r->e.id, &view);

	if (result != 0)
		return result;
	result = -EFBIG;
	if (r->e.type == FRAME_LZ4 && !r->verified)
		result = stream_read_block(&view, &r->e, &r->block);
	if (result == 0 && (r->e.payload_pos + FRAME_LENGTH_BYTES + r->e.size > r->block->size ||
			    get_le32(r->block->data + r->e.payload_pos) != r->e.size)) {
		result = stream_damaged(r->stream, view.segment, &r->e, "the entry's length", "another");
		blockcache_put(r->stream->engine->blockcache, r->block);
		r->block = NULL;
	}
	if (result == -EFBIG)
		result = read_large(r, &view, data, size, offset);
	stream_view_release(&view);
	return result;
}

static int read_some(struct wal_reader *r, void *data, size_t size, uint64_t offset, size_t *ret_size)
{
	int result = 0;

	/* First, so that an empty entry is checked too. Of a large frame even a small entry comes in another way. */
	if (is_small(r) && !r->whole && !r->block && !r->verified) {
		result = stream_get_whole(r->stream, r->e.id, &r->buf);
		r->whole = result == 0 && r->buf.size == r->e.size;
		if (result == 0 && !r->whole)
			result = -EBADMSG;
		if (result != 0 && result != -EFBIG)
			return result;
	}
	if (offset >= r->e.size || size == 0) {
		*ret_size = 0;
		return 0;
	}
	if (size > r->e.size - offset)
		size = (size_t)(r->e.size - offset);
	result = !r->whole && !r->block ? read_frame(r, data, size, offset) : 0;
	if (result != 0)
		return result;
	if (r->whole)
		memcpy(data, (uint8_t *)r->buf.data + offset, size);
	else if (r->block)
		memcpy(data, r->block->data + r->e.payload_pos + FRAME_LENGTH_BYTES + offset, size);
	*ret_size = size;
	return 0;
}
int wal_reader_read(struct wal_reader *r, void *data, size_t size, uint64_t offset, size_t *ret_size)
{
	int result = read_some(r, data, size, offset, ret_size);

	/* One entry, however many the pieces. */
	return stream_count_read(r->stream, result, offset == 0, result == 0 ? *ret_size : 0);
}
