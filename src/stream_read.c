/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The way of a read: the segment that holds the id is pinned, its sidecar says which frame and where in it, the frame is read, its header compared with what the
 * sidecar told and its checksum verified. Batches and compressed frames stay in the block cache.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "cleanup.h"
#include "lz4codec.h"
#include "names.h"
#include "stream_impl.h"

/* ---- Views ---- */

/* Caller holds st->lock. */
static int locate(struct wal_stream *st, uint64_t id, struct stream_view *view, struct segcache_request *rq)
{
	uint64_t next = atomic_load_explicit(&st->pub_next, memory_order_relaxed);

	if (st->deleted || id >= next)
		return st->deleted ? -ENOENT : WAL_NOT_FOUND;
	ssize_t index = id_array_find(&st->segments, id);
	if (index < 0)
		return WAL_PRUNED;
	*rq = stream_segment_request(st, (size_t)index);
	view->stream = st;
	view->first_id = rq->first_id;
	view->end_id = rq->active ? next : rq->end_id;
	view->before_id = rq->before_id;
	view->size = rq->active ? st->active.end : 0;
	view->meta.map_blocks = rq->active ? st->meta.block_no : 0;
	if (rq->active) {
		memcpy(view->last, st->meta.block, META_OFF_RECORDS + st->meta.used);
		put_le16(view->last + META_OFF_USED, (uint16_t)st->meta.used);
	}
	return 0;
}

int stream_view_open(struct wal_stream *st, uint64_t id, struct stream_view *view)
{
	struct engine *engine = st->engine;
	struct segcache_request rq;

	for (;;) {
		pthread_mutex_lock(&st->lock);
		int result = locate(st, id, view, &rq);
		pthread_mutex_unlock(&st->lock);
		if (result != 0)
			return result;
		uint64_t blocks = view->meta.map_blocks;

		/* The state was read before the segment is pinned: what it says is in any file that the segment can have from now on. */
		result = segcache_get(engine->segcache, &rq, &view->segment);
		if (result == -ENOENT && stream_has_segment(st, rq.first_id))
			return stream_missing(st, rq.first_id);
		if (result == -ENOENT)
			continue; /* pruned since */
		if (result < 0)
			return result;
		/* One opened by whoever came before the sidecar moved to a temporary file does not have its later blocks. */
		bool current = view->segment->active == rq.active && (rq.meta_fd < 0 || view->segment->meta_fd == rq.meta_fd);
		if (current) {
			result = segment_view(&engine->env, view->segment, blocks, &view->meta);
			if (result < 0) {
				segcache_put(engine->segcache, view->segment);
				return result;
			}
			if (rq.active)
				view->meta.last = view->last;
			else
				view->size = view->segment->size;
			return 0;
		}
		/* It was sealed between the two, or opened as active by someone who came too late. */
		segcache_forget_this(engine->segcache, view->segment);
		segcache_put(engine->segcache, view->segment);
	}
}

void stream_view_release(struct stream_view *view)
{
	/* NULL if its sidecar could not be made anew. */
	if (view->segment)
		segment_view_end(view->segment, &view->meta);
	segcache_put(view->stream->engine->segcache, view->segment);
	view->segment = NULL;
}

int stream_view_mend(struct stream_view *view, uint64_t id)
{
	struct wal_stream *st = view->stream;
	struct segcache *cache = st->engine->segcache;
	struct segcache_request rq = {
		.stream_key = st->key,
		.stream_name = st->name,
		.first_id = view->first_id,
		.end_id = view->end_id,
		.before_id = view->before_id,
		.distrust = true,
	};

	log_write(&st->engine->env.log, WAL_LOG_WARNING, "stream '%s': the sidecar %020" PRIu64 ".meta does not lead to id %" PRIu64 "%s", st->name,
		  view->first_id, id, view->segment->active ? "; 'walctl repair' makes it anew" : ", it is made anew");
	if (view->segment->active)
		return -EBADMSG;
	int result;
	do {
		segcache_forget_this(cache, view->segment);
		stream_view_release(view);
		result = segcache_get(cache, &rq, &view->segment);
		/* Someone else may have been quicker, and have opened it as it is: only one who had to make it anew has looked at all of it. */
	} while (result == 0 && !view->segment->made_anew);
	if (result == -ENOENT)
		result = stream_has_segment(st, view->first_id) ? stream_missing(st, view->first_id) : WAL_PRUNED;
	if (result == 0)
		result = segment_view(&st->engine->env, view->segment, 0, &view->meta);
	return result;
}

int stream_view_find(struct stream_view *view, uint64_t id, struct meta_cursor *c, struct meta_entry *ret)
{
	int result = meta_find(c, &view->meta, id, ret);

	if (result == WAL_NOT_FOUND || result == -EBADMSG) {
		ret->gap = false;
		result = stream_view_mend(view, id);
		if (result == 0)
			result = meta_find(c, &view->meta, id, ret);
		if (result == WAL_NOT_FOUND)
			result = -EBADMSG;
	}
	return result == 0 && ret->gap ? -EBADMSG : result;
}

int wal_stream_lookup(struct wal_stream *st, uint64_t id, struct wal_entry_info *ret)
{
	struct stream_view view;
	struct meta_cursor c;
	struct meta_entry e;
	int result = stream_view_open(st, id, &view);

	if (result != 0)
		return stream_count_read(st, result, 0, 0);
	result = stream_view_find(&view, id, &c, &e);
	if (result == 0)
		*ret = (struct wal_entry_info){ .id = id, .size = e.size, .time_ns = e.time_ns };
	stream_view_release(&view);
	return stream_count_read(st, result, 0, 0);
}

/* ---- Frames ---- */

int stream_missing(struct wal_stream *st, uint64_t first_id)
{
	log_write(&st->engine->env.log, WAL_LOG_ERROR, "stream '%s': segment %020" PRIu64 ".wal: expected a regular file, found none", st->name, first_id);
	return -EBADMSG;
}

int stream_damaged(struct wal_stream *st, const struct segment *segment, const struct meta_entry *e, const char *expected, const char *found)
{
	pthread_mutex_lock(&st->lock);
	bool again = st->reported_segment == segment->first_id && st->reported_offset == e->frame_offset + 1;
	st->reported_segment = segment->first_id;
	st->reported_offset = e->frame_offset + 1;
	pthread_mutex_unlock(&st->lock);
	if (!again)
		log_write(&st->engine->env.log, WAL_LOG_ERROR,
			  "stream '%s': id %" PRIu64 " can't be read: segment %020" PRIu64 ".wal, frame at offset %" PRIu64 ": expected %s, found %s",
			  st->name, e->id, segment->first_id, e->frame_offset, expected, found);
	return -EBADMSG;
}

int stream_check_crc(struct wal_stream *st, const struct segment *segment, const struct meta_entry *e, const struct frame_header *h, uint32_t crc)
{
	char expected[32], found[32];

	if (crc == h->crc)
		return 0;
	snprintf(expected, sizeof expected, "crc %08" PRIx32, h->crc);
	snprintf(found, sizeof found, "crc %08" PRIx32, crc);
	return stream_damaged(st, segment, e, expected, found);
}

int stream_check_header(struct wal_stream *st, const struct segment *segment, const struct meta_entry *e, const uint8_t *bytes,
			struct frame_header *ret)
{
	enum frame_fault fault = frame_decode_header(bytes, ret);
	uint64_t start_id = e->id - e->index;

	if (fault == FRAME_OK && ret->start_id == start_id && ret->entry_count == e->entry_count && ret->disk_size == e->disk_size &&
	    ret->type == e->type)
		return 0;

	char expected[128], found[160];
	snprintf(expected, sizeof expected, "the frame of id %" PRIu64 ", %" PRIu32 " entries, type %u, %" PRIu32 " bytes", start_id,
		 e->entry_count, e->type, e->disk_size);
	if (fault == FRAME_BAD_MAGIC)
		snprintf(found, sizeof found, "%s", frame_fault_text(fault));
	else
		snprintf(found, sizeof found, "id %" PRIu64 ", %" PRIu32 " entries, type %u, %" PRIu32 " bytes", ret->start_id, ret->entry_count,
			 ret->type, ret->disk_size);
	return stream_damaged(st, segment, e, expected, found);
}

/* The frame's bytes, header and payload: in the map, or read into `buf`. */
static int fetch_frame(struct stream_view *view, const struct meta_entry *e, struct wal_buf *buf, const uint8_t **ret)
{
	struct sys *sys = view->stream->engine->env.sys;
	size_t size = FRAME_HEADER_BYTES + (size_t)e->disk_size;

	if (e->frame_offset > view->size || size > view->size - e->frame_offset)
		return stream_damaged(view->stream, view->segment, e, "a whole frame", "the end of the file");
	if (view->segment->data) {
		*ret = view->segment->data + e->frame_offset;
		return 0;
	}
	int result = buf_reserve(buf, size);
	if (result < 0)
		return result;
	ssize_t n = sys_pread_full(sys, view->segment->fd, buf->data, size, e->frame_offset);
	if (n < 0)
		return (int)n;
	if ((size_t)n < size)
		return stream_damaged(view->stream, view->segment, e, "a whole frame", "the end of the file");
	*ret = buf->data;
	return 0;
}

/* As fetch_frame(), and verified. */
static int fetch_checked(struct stream_view *view, const struct meta_entry *e, struct wal_buf *buf, const uint8_t **ret, struct frame_header *ret_h)
{
	int result = fetch_frame(view, e, buf, ret);

	if (result == 0)
		result = stream_check_header(view->stream, view->segment, e, *ret, ret_h);
	if (result < 0)
		return result;
	return stream_check_crc(view->stream, view->segment, e, ret_h, frame_crc(*ret, ret_h->disk_size));
}

/* How large the payload is when it is decompressed. The header's figure is only a hint: it is outside the checksum. */
static int raw_size(struct stream_view *view, const struct meta_entry *e, const struct frame_header *h, const uint8_t *payload, size_t *ret)
{
	uint64_t size;

	if (h->type == FRAME_RAW) {
		*ret = h->disk_size;
		return 0;
	}
	int result = lz4frame_measure(payload, h->disk_size, FRAME_BYTES_LARGE, &size);
	if (result == -EBADMSG)
		return stream_damaged(view->stream, view->segment, e, "an LZ4 frame", "something else");
	*ret = (size_t)size;
	return result;
}

static int decode_block(struct stream_view *view, const struct meta_entry *e, const struct frame_header *h, const uint8_t *payload,
			struct block **ret_block)
{
	size_t size = h->raw_size;
	int result = 0;

	if (h->type == FRAME_RAW || size > FRAME_BYTES_LARGE)
		result = raw_size(view, e, h, payload, &size);
	if (result < 0)
		return result;
	for (;;) {
		struct block *block = block_new(size);

		if (!block)
			return -ENOMEM;
		if (h->type == FRAME_RAW)
			memcpy(block->data, payload, size);
		else
			result = lz4frame_decompress(block->data, size, payload, h->disk_size);
		if (result == 0 && frame_check_payload(block->data, size, h->entry_count) != FRAME_OK)
			result = -EBADMSG;
		if (result == 0) {
			*ret_block = block;
			return 0;
		}
		free(block);
		size_t hint = size;
		if (result == -EBADMSG && h->type == FRAME_LZ4)
			result = raw_size(view, e, h, payload, &size);
		if (result < 0)
			return result;
		if (size == hint)
			return stream_damaged(view->stream, view->segment, e, "as many entries as the frame announces", "lengths that don't add up");
	}
}

int stream_read_block(struct stream_view *view, const struct meta_entry *e, struct block **ret_block)
{
	struct blockcache *cache = view->stream->engine->blockcache;
	struct lru_key key = { view->stream->key, view->first_id, e->frame_offset };
	struct wal_buf buf = { 0 };
	struct frame_header h;
	const uint8_t *frame;

	*ret_block = blockcache_get(cache, key);
	if (*ret_block)
		return 0;
	if (e->disk_size > FRAME_BYTES_LARGE)
		return -EFBIG;
	int result = fetch_checked(view, e, &buf, &frame, &h);
	if (result == 0)
		result = decode_block(view, e, &h, frame + FRAME_HEADER_BYTES, ret_block);
	wal_buf_release(&buf);
	if (result == 0)
		blockcache_add(cache, key, *ret_block);
	return result;
}

/* ---- Entries ---- */

void wal_buf_release(struct wal_buf *buf)
{
	free(buf->data);
	*buf = (struct wal_buf){ 0 };
}

int buf_reserve(struct wal_buf *buf, size_t size)
{
	if (size <= buf->capacity && buf->data)
		return 0;
	size_t capacity = size < 4096 ? 4096 : size;
	void *data = malloc(capacity);
	if (!data)
		return -ENOMEM;
	free(buf->data);
	*buf = (struct wal_buf){ .data = data, .capacity = capacity };
	return 0;
}

/* The one entry of a raw frame, without a detour through the cache. */
static int get_single(struct stream_view *view, const struct meta_entry *e, struct wal_buf *buf)
{
	struct frame_header h;
	const uint8_t *frame;
	int result = fetch_checked(view, e, buf, &frame, &h);

	if (result < 0)
		return result;
	if (get_le32(frame + FRAME_HEADER_BYTES) != e->size || e->size + FRAME_LENGTH_BYTES != h.disk_size)
		return stream_damaged(view->stream, view->segment, e, "the entry's length", "another");
	result = buf_reserve(buf, (size_t)e->size);
	if (result == 0)
		memmove(buf->data, frame + FRAME_HEADER_BYTES + FRAME_LENGTH_BYTES, (size_t)e->size);
	return result;
}

static int get_from_block(struct stream_view *view, const struct meta_entry *e, struct wal_buf *buf)
{
	struct block *block;
	int result = stream_read_block(view, e, &block);

	if (result < 0)
		return result;
	uint64_t end = e->payload_pos + FRAME_LENGTH_BYTES + e->size;
	if (end > block->size || get_le32(block->data + e->payload_pos) != e->size)
		result = stream_damaged(view->stream, view->segment, e, "the entry's length", "another");
	if (result == 0)
		result = buf_reserve(buf, (size_t)e->size);
	if (result == 0)
		memcpy(buf->data, block->data + e->payload_pos + FRAME_LENGTH_BYTES, (size_t)e->size);
	blockcache_put(view->stream->engine->blockcache, block);
	return result;
}

static int get_in_pieces(struct wal_stream *st, uint64_t id, struct wal_buf *buf)
{
	struct wal_entry_info info;
	struct wal_reader *reader;
	size_t got = 0;
	int result = wal_reader_open(st, id, &reader, &info);

	if (result != 0)
		return result;
	result = buf_reserve(buf, (size_t)info.size);
	for (uint64_t at = 0; result == 0 && at < info.size; at += got) {
		result = wal_reader_read(reader, (uint8_t *)buf->data + at, (size_t)(info.size - at), at, &got);
		if (result == 0 && got == 0)
			result = -EBADMSG;
	}
	buf->size = (size_t)info.size;
	wal_reader_close(reader);
	return result;
}

int stream_get_whole(struct wal_stream *st, uint64_t id, struct wal_buf *buf)
{
	struct stream_view view;
	struct meta_cursor c;
	struct meta_entry e;
	int result = stream_view_open(st, id, &view);

	if (result != 0)
		return result;
	result = stream_view_find(&view, id, &c, &e);
	if (result == 0) {
		bool single = e.type == FRAME_RAW && e.entry_count == 1;

		if (single && e.disk_size <= FRAME_BYTES_LARGE)
			result = get_single(&view, &e, buf);
		else
			result = single ? -EFBIG : get_from_block(&view, &e, buf);
	}
	stream_view_release(&view);
	if (result == 0)
		buf->size = (size_t)e.size;
	return result;
}

int wal_stream_get(struct wal_stream *st, uint64_t id, struct wal_buf *buf)
{
	int result = stream_get_whole(st, id, buf);

	if (result == -EFBIG)
		return get_in_pieces(st, id, buf);
	return stream_count_read(st, result, 1, buf->size);
}

int wal_stream_get_batch(struct wal_stream *st, uint64_t id, size_t count, size_t bytes_max, struct wal_buf *buf, struct wal_entry *entries,
			 size_t *ret_count)
{
	struct wal_iter *iter;
	struct wal_entry_info info;
	size_t n = 0, bytes = 0;
	int result = wal_stream_lookup(st, id, &info);

	if (result == 0)
		result = wal_iter_new(st, id, &iter);
	if (result != 0)
		return result;
	wal_iter_seek(iter, id); /* it would begin with a later one if that has been pruned just now */
	buf->size = 0;
	while (n < count) {
		struct wal_entry e;

		result = wal_iter_next(iter, &e);
		if (result != 0 || (n > 0 && (e.id != id + n || bytes + e.size > bytes_max)))
			break;
		/* Growing moves what is there already: keep offsets until all is in. */
		if (bytes + e.size > buf->capacity || !buf->data) {
			size_t capacity = 2 * (bytes + e.size) + 4096;
			void *data = realloc(buf->data, capacity);

			if (!data) {
				result = -ENOMEM;
				break;
			}
			buf->data = data;
			buf->capacity = capacity;
		}
		if (e.size > 0)
			memcpy((uint8_t *)buf->data + bytes, e.data, e.size);
		entries[n++] = e;
		bytes += e.size;
	}
	wal_iter_free(iter);
	if (n == 0 && count > 0)
		return result == WAL_GAP ? -EBADMSG : result == WAL_END ? WAL_NOT_FOUND : result;
	if (result < 0 && result != -EBADMSG)
		return result;
	buf->size = bytes;
	for (size_t i = 0, at = 0; i < n; at += entries[i++].size)
		entries[i].data = (uint8_t *)buf->data + at;
	*ret_count = n;
	return 0;
}
