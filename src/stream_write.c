/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing frames: ops from the queue, several with one write where that fits, get ids, their frames are written, and they are handed on to the commit (stream_commit.c).
 *
 * The order within a write is: room allocated, frames written, sidecar extended, ids published. A failure cuts the file back to where it began.
 *
 * Of entries that are restored the sidecar comes before the frames, its last block too: the times that they have had elsewhere are in nothing else, and if this process dies no entry may be there without its own.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "cleanup.h"
#include "crc32.h"
#include "lz4codec.h"
#include "stream_impl.h"

/* How much of the times of unsynced appends the death of the process may cost. */
enum { META_FLUSH_NS = 10 * 1000000 };

enum { SMALL_BYTES = 4096 };

/* ---- Frames ---- */

/* One write: the ops of a group, and the sidecar as it will be afterwards. */
struct group {
	struct wal_stream *st;
	uint64_t segment_id;
	struct segment *segment; /* of st->hold */
	size_t count;
	uint64_t offset;
	uint64_t bytes;
	uint64_t first_id;
	uint64_t entries;
	uint64_t unsynced; /* frames before the first that are not durable yet */
	uint64_t durable_end;
	bool restarts; /* the stream has no entries, so its first may have any time */
	bool restores; /* entries with times of their own are in it */
	int64_t now;
	struct meta_writer meta;
	int meta_fd;
	struct wal_op *ops[GROUP_OPS_MAX];
};

static void frame_for(const struct group *g, size_t i, struct frame_header *h)
{
	const struct wal_op *op = g->ops[i];
	uint64_t unsynced = g->unsynced + i;

	*h = (struct frame_header){
		.start_id = op->first_id,
		.entry_count = (uint32_t)(op->internal.end_id - op->first_id),
		.unsynced = unsynced < FRAME_UNSYNCED_UNKNOWN ? (uint8_t)unsynced : FRAME_UNSYNCED_UNKNOWN,
	};
}

/* The header at `head` has all but what is known last. */
static void seal_head(const struct group *g, size_t i, struct frame_header *h, uint8_t *head)
{
	frame_set_mark(h, g->segment_id, g->ops[i]->internal.frame_offset);
	frame_encode_seal(head, h);
}

/* The header of a payload that was put together before, in front of it. */
static void put_payload_head(const struct group *g, size_t i)
{
	struct wal_payload *payload = g->ops[i]->internal.payload;
	uint8_t *head = payload->head;
	struct frame_header h;

	frame_for(g, i, &h);
	h.type = payload->type;
	h.raw_size = payload->raw_size;
	h.disk_size = payload->disk_size;
	frame_encode_header(head, &h);
	h.crc = crc32_join_by(&g->st->joint, frame_crc_of(head), payload->crc, payload->disk_size);
	seal_head(g, i, &h, head);
}

static uint32_t entry_disk_size(const struct iovec *entry)
{
	return (uint32_t)entry->iov_len + FRAME_LENGTH_BYTES;
}

/* The header and the length of one entry that stands elsewhere. */
static void put_entry_head(const struct group *g, size_t i, uint8_t *head)
{
	const struct iovec *entry = g->ops[i]->entries;
	uint8_t *length = head + FRAME_HEADER_BYTES;
	struct frame_header h;

	frame_for(g, i, &h);
	h.raw_size = h.disk_size = entry_disk_size(entry);
	frame_encode_header(head, &h);
	put_le32(length, (uint32_t)entry->iov_len);
	h.crc = crc32_update(frame_crc_of(head), length, FRAME_LENGTH_BYTES);
	h.crc = crc32_update(h.crc, entry->iov_base, entry->iov_len);
	seal_head(g, i, &h, head);
}

/* The whole frame of one entry; returns where it ends. */
static uint8_t *put_entry(const struct group *g, size_t i, uint8_t *head)
{
	const struct wal_op *op = g->ops[i];
	const struct iovec *entry = op->entries;
	uint8_t *length = head + FRAME_HEADER_BYTES, *data = length + FRAME_LENGTH_BYTES;
	struct frame_header h;

	frame_for(g, i, &h);
	h.raw_size = h.disk_size = entry_disk_size(entry);
	put_le32(length, (uint32_t)entry->iov_len);
	if (entry->iov_len > 0)
		memcpy(data, entry->iov_base, entry->iov_len);
	frame_encode_before(head, &h, g->segment_id, op->internal.frame_offset);
	return data + entry->iov_len;
}

/* What is small costs less to copy than the kernel needs to gather it. */
static inline int write_small(struct group *g)
{
	uint8_t small[SMALL_BYTES], *pos = small;

	for (size_t i = 0; i < g->count; i++) {
		const struct wal_payload *payload = g->ops[i]->internal.payload;
		uint8_t *head = pos;

		if (!payload) {
			pos = put_entry(g, i, head);
			continue;
		}
		put_payload_head(g, i);
		pos = mempcpy(head, payload->head, FRAME_HEADER_BYTES + (size_t)payload->disk_size);
	}
	assert((uint64_t)(pos - small) == g->bytes);
	struct sys *sys = g->st->engine->env.sys;
	return sys_pwrite_full(sys, g->segment->fd, small, (size_t)(pos - small), g->offset);
}

static int write_frames(struct group *g)
{
	uint8_t heads[GROUP_OPS_MAX][FRAME_HEADER_BYTES + FRAME_LENGTH_BYTES];
	struct iovec iov[2 * GROUP_OPS_MAX];
	int iov_count = 0;

	for (size_t i = 0; i < g->count; i++) {
		struct wal_payload *payload = g->ops[i]->internal.payload;
		const struct iovec *entry = g->ops[i]->entries;
		uint8_t *head = heads[i];

		if (payload) {
			put_payload_head(g, i);
			iov[iov_count++] = (struct iovec){ payload->head, FRAME_HEADER_BYTES + (size_t)payload->disk_size };
		} else {
			put_entry_head(g, i, head);
			iov[iov_count++] = (struct iovec){ head, FRAME_HEADER_BYTES + FRAME_LENGTH_BYTES };
			if (entry->iov_len > 0)
				iov[iov_count++] = *entry;
		}
	}
	struct sys *sys = g->st->engine->env.sys;
	return sys_pwritev_full(sys, g->segment->fd, iov, iov_count, g->offset);
}

/* Copies the payload of a draft in a temporary file behind the header's place, compressed if `enc`. *crc goes on from what it is. */
static int copy_payload(struct group *g, const struct draft_source *src, struct lz4frame_encoder *enc, uint32_t *crc, uint64_t *ret_size)
{
	struct sys *sys = g->st->engine->env.sys;
	size_t piece = (size_t)g->st->engine->env.opts.read_buffer;
	size_t out_room = enc ? lz4frame_encoder_bound(enc, piece) : piece;
	CLEANUP_FREE uint8_t *in = malloc(piece);
	CLEANUP_FREE uint8_t *packed = enc ? malloc(out_room) : NULL;
	uint64_t at = g->offset + FRAME_HEADER_BYTES, total = src->size + FRAME_LENGTH_BYTES;

	if (!in || (enc && !packed))
		return -ENOMEM;
	/* The raw payload begins with the length; from then on it is the file. One round more than there is input ends the LZ4 frame. */
	for (uint64_t done = 0;;) {
		size_t prefix = done == 0 ? FRAME_LENGTH_BYTES : 0;
		size_t n = total - done < piece ? (size_t)(total - done) : piece;
		const uint8_t *out = in;
		size_t out_size = n;
		int result = 0;

		if (prefix)
			put_le32(in, (uint32_t)src->size);
		if (n > prefix) {
			ssize_t got = sys_pread_full(sys, src->fd, in + prefix, n - prefix, done + prefix - FRAME_LENGTH_BYTES);
			if (got < 0)
				return (int)got;
			if ((size_t)got != n - prefix)
				return -EIO;
		}
		if (enc) {
			out = packed;
			result = n > 0 ? lz4frame_encoder_add(enc, in, n, packed, out_room, &out_size) :
					 lz4frame_encoder_end(enc, packed, out_room, &out_size);
		}
		/* Compressed it must be smaller, or there is no point (and no room). */
		if (result == 0 && enc && at + out_size >= g->offset + FRAME_HEADER_BYTES + total)
			return WAL_END;
		if (result == 0)
			result = sys_pwrite_full(sys, g->segment->fd, out, out_size, at);
		if (result < 0)
			return result;
		*crc = crc32_update(*crc, out, out_size);
		at += out_size;
		done += n;
		if (done == total && (n == 0 || !enc))
			break;
	}
	*ret_size = at - g->offset - FRAME_HEADER_BYTES;
	return 0;
}

/* The header goes last: until then there is no frame. */
static int write_spilled(struct group *g)
{
	const struct wal_options *opts = &g->st->engine->env.opts;
	struct wal_op *op = g->ops[0];
	uint8_t head[FRAME_HEADER_BYTES];
	struct draft_source src;
	struct frame_header h;
	uint32_t crc = 0;
	uint64_t size = 0;
	int result = WAL_END;

	draft_source(op->internal.draft, &src);
	frame_for(g, 0, &h);
	h.raw_size = (uint32_t)(src.size + FRAME_LENGTH_BYTES);
	if (opts->compression == WAL_COMPRESSION_LZ4 && h.raw_size >= opts->min_compression_size) {
		struct lz4frame_encoder *enc;

		result = lz4frame_encoder_new(h.raw_size, &enc);
		if (result < 0)
			return result;
		h.type = FRAME_LZ4;
		result = copy_payload(g, &src, enc, &crc, &size);
		lz4frame_encoder_free(enc);
	}
	if (result == WAL_END) {
		h.type = FRAME_RAW;
		crc = 0;
		result = copy_payload(g, &src, NULL, &crc, &size);
	}
	if (result < 0)
		return result;
	h.disk_size = (uint32_t)size;
	h.crc = crc32_join(frame_crc_begin(h.start_id, 1, h.type, h.disk_size), crc, size);
	frame_set_mark(&h, g->segment_id, g->offset);
	frame_encode_header(head, &h);
	g->bytes = FRAME_HEADER_BYTES + size;
	struct sys *sys = g->st->engine->env.sys;
	return sys_pwrite_full(sys, g->segment->fd, head, sizeof head, g->offset);
}

static inline int write_all(struct group *g)
{
	if (op_is_spilled(g->ops[0]))
		return write_spilled(g);
	return g->bytes <= SMALL_BYTES ? write_small(g) : write_frames(g);
}

/* ---- The sidecar ---- */

/*
 * The sidecar's place is full or broken, the log is not: it goes on in a temporary file anywhere else, so that what is committed can be found. The next
 * open makes it again beside the segment.
 */
static int move_meta(struct group *g, uint64_t blocks)
{
	struct wal_stream *st = g->st;
	struct sys *sys = st->engine->env.sys;
	int fd = st->meta_fd < 0 ? sys->tmpfile(sys, -1) : -EIO;
	uint8_t block[META_BLOCK_BYTES];
	int result = fd < 0 ? fd : 0;

	for (uint64_t i = 0; i < blocks && result == 0; i++) {
		ssize_t n = sys_pread_full(sys, g->meta_fd, block, sizeof block, i * META_BLOCK_BYTES);

		result = n < 0 ? (int)n : n < META_BLOCK_BYTES ? -EIO : sys_pwrite_full(sys, fd, block, sizeof block, i * META_BLOCK_BYTES);
	}
	if (result < 0) {
		if (fd >= 0)
			sys_close(sys, &fd);
		return result;
	}
	pthread_mutex_lock(&st->lock);
	st->meta_fd = fd;
	pthread_mutex_unlock(&st->lock);
	g->meta_fd = fd;
	/* From now on the active segment is opened with the new file; whoever has it open knows only blocks that are in both. */
	segcache_forget(st->engine->segcache, st->key, g->segment->first_id);
	log_write(&st->engine->env.log, WAL_LOG_WARNING, "stream '%s': no room for its sidecar, which goes on in a temporary file", st->name);
	return 0;
}

static int emit_meta(struct meta_writer *w, uint64_t block_no, uint8_t block[META_BLOCK_BYTES])
{
	struct group *g = container_of(w, struct group, meta);
	struct wal_stream *st = g->st;
	struct sys *sys = st->engine->env.sys;

	LOCKED_SCOPE(&st->meta_lock);
	int result = sys_pwrite_full(sys, g->meta_fd, block, META_BLOCK_BYTES, block_no * META_BLOCK_BYTES);
	if (result < 0) {
		result = move_meta(g, block_no);
		if (result == 0)
			result = sys_pwrite_full(sys, g->meta_fd, block, META_BLOCK_BYTES, block_no * META_BLOCK_BYTES);
	}
	if (result == 0)
		st->meta_full = block_no + 1;
	return result;
}

static int64_t time_of(const struct group *g, const struct wal_op *op)
{
	int64_t time = op->internal.restored ? op->internal.restored->time_ns : g->now;

	return time > g->meta.at.last_time ? time : g->meta.at.last_time + 1;
}

/* Works on a copy of the last block: what is published stays as it is until the ids are. */
static int extend_meta(struct group *g, uint32_t spilled_size)
{
	struct wal_stream *st = g->st;
	uint64_t end = g->offset + g->bytes;
	int result = stream_meta_begin(st, &g->meta);

	if (result < 0)
		return result;
	if (g->restarts)
		meta_writer_begin(&g->meta, g->segment->first_id, NULL, 0, st->meta_work);
	g->now = st->engine->env.sys->now(st->engine->env.sys);
	g->meta.emit = emit_meta;
	g->meta.durable = g->durable_end;
	for (size_t i = 0; i < g->count && result == 0; i++) {
		const struct wal_op *op = g->ops[i];
		const struct wal_payload *payload = op->internal.payload;
		uint64_t frame_end = i + 1 < g->count ? g->ops[i + 1]->internal.frame_offset : end;
		uint32_t entries = (uint32_t)(op->internal.end_id - op->first_id);
		uint64_t disk_size = frame_end - op->internal.frame_offset - FRAME_HEADER_BYTES;
		uint8_t type = payload ? payload->type : FRAME_RAW;

		if (op_is_spilled(op) && disk_size != (uint64_t)spilled_size + FRAME_LENGTH_BYTES)
			type = FRAME_LZ4;
		if (entries == 1 && type == FRAME_RAW) {
			result = meta_writer_entry(&g->meta, (uint32_t)disk_size - FRAME_LENGTH_BYTES, time_of(g, op));
			continue;
		}
		result = meta_writer_frame(&g->meta, entries, type, (uint32_t)disk_size, time_of(g, op));
		if (result == 0)
			result = op_is_spilled(op) ? meta_writer_length(&g->meta, spilled_size) : meta_writer_lengths(&g->meta, op->entries, entries);
	}
	return result;
}

/* ---- Groups ---- */

/* Whether the frame belongs into the next segment, if `bytes` and `entries` come before it into this one. */
bool stream_needs_rotation(const struct wal_stream *st, const struct wal_op *op, uint64_t bytes, uint64_t entries)
{
	const struct wal_options *opts = &st->engine->env.opts;
	uint64_t end = st->active.end + bytes;
	uint64_t count = st->next_id - st->active.first_id + entries;

	if (end == 0)
		return false;
	return end + op->internal.frame_bytes > opts->segment_size || (opts->segment_entries && count + op_entries(op) > opts->segment_entries);
}

bool stream_may_restore(const struct wal_stream *st, const struct wal_op *op, uint64_t entries)
{
	const struct wal_restored *restored = op->internal.restored;

	return !restored || (!*restored->failed && restored->first_id == st->next_id + entries);
}

/* Whether its room is its own already. */
static bool has_room(const struct wal_op *op)
{
	return op->internal.draft && draft_reserved(op->internal.draft) >= op->internal.frame_bytes;
}

/*
 * Caller holds st->lock. Takes ops from the queue that one write can hold. What meets a full disk fails as one: so those whose room is reserved are not together with others.
 */
static void gather(struct wal_stream *st, struct group *g)
{
	/* One by one: to clear all of it would cost as much as the rest of this. */
	g->st = st;
	g->segment_id = st->active.first_id;
	g->count = 0;
	g->offset = st->active.end;
	g->bytes = g->entries = 0;
	g->first_id = st->next_id;
	g->unsynced = st->active.frames - st->active.durable_frames;
	g->durable_end = st->active.durable_end;
	g->restarts = st->queue.head->internal.restored && st->segments.count == 1 && st->next_id == st->active.first_id && st->active.end == 0;
	g->restores = false;
	while (g->count < GROUP_OPS_MAX && st->queue.head) {
		struct wal_op *op = st->queue.head;

		if (g->count > 0 && (op_is_sync(op) || op_is_spilled(op) || stream_needs_rotation(st, op, g->bytes, g->entries) ||
				     has_room(op) != has_room(g->ops[0]) || !stream_may_restore(st, op, g->entries) ||
				     g->bytes + op->internal.frame_bytes > st->engine->env.opts.write_buffer))
			break;
		op->first_id = st->next_id + g->entries;
		op->internal.end_id = op->first_id + op_entries(op);
		op->internal.frame_offset = g->offset + g->bytes;
		g->ops[g->count++] = op_list_pop(&st->queue);
		g->bytes += op->internal.frame_bytes;
		g->entries += op_entries(op);
		g->restores |= op->internal.restored != NULL;
		if (op_is_spilled(op))
			break;
	}
}

static void spend_room(struct group *g)
{
	uint64_t reserved = 0;

	for (size_t i = 0; i < g->count; i++)
		reserved += g->ops[i]->internal.draft ? draft_spend(g->ops[i]->internal.draft) : 0;
	/* Without, all of it has been in flight since it was allocated. */
	if (reserved > 0)
		stream_spend(g->st, reserved, g->bytes);
}

/* Mostly it still is from the last time. Nobody else changes which segment is active. */
static int use_segment(struct group *g)
{
	struct wal_stream *st = g->st;
	struct segcache *cache = st->engine->segcache;

	g->segment = segcache_resume(&st->hold);
	if (g->segment && g->segment->first_id == g->segment_id)
		return 0;
	if (g->segment)
		segcache_give_up(cache, &st->hold);
	int result = stream_pin_active(st, &g->segment);
	if (result == 0)
		segcache_hold(cache, &st->hold, g->segment);
	return result;
}

/* Nothing of such a group is spilled, so how many bytes it has is known before they are written. */
static int extend_meta_ahead(struct group *g)
{
	int result = extend_meta(g, 0);

	if (result == 0)
		stream_meta_write_ahead(g->st, g->meta_fd, &g->meta);
	return result;
}

/* No lock held. All of the group is in the file and in the (unpublished) sidecar, or nothing is; *ret_cut < 0 if taking it back failed too. */
static int write_group(struct group *g, int *ret_cut)
{
	struct wal_stream *st = g->st;
	uint32_t spilled_size = op_is_spilled(g->ops[0]) ? (uint32_t)(g->ops[0]->internal.frame_bytes - FRAME_HEADER_BYTES - FRAME_LENGTH_BYTES) : 0;
	uint64_t room = 0;
	bool began = false;

	*ret_cut = 0;
	for (size_t i = 0; i < g->count; i++) {
		const struct wal_op *op = g->ops[i];
		uint64_t reserved = op->internal.draft ? draft_reserved(op->internal.draft) : 0;

		room += op->internal.frame_bytes > reserved ? op->internal.frame_bytes - reserved : 0;
	}
	int result = use_segment(g);
	if (result < 0)
		return result;
	g->meta_fd = st->meta_fd >= 0 ? st->meta_fd : g->segment->meta_fd;
	result = stream_allocate(st, g->segment, room);
	if (result == 0) {
		began = true;
		/* None of it is durable in a new segment, nor in one that is never synced. */
		if (g->durable_end > 0)
			stream_write_zeros(st, g->segment, g->offset + g->bytes, g->offset + g->bytes - g->durable_end);
		result = g->restores ? extend_meta_ahead(g) : 0;
	}
	if (result == 0)
		result = write_all(g);
	if (result == 0 && !g->restores)
		result = extend_meta(g, spilled_size);
	if (result == 0)
		spend_room(g);
	if (result < 0 && began)
		*ret_cut = stream_cut(st, g->segment, g->offset);
	if (result < 0 && began && g->restores && *ret_cut == 0)
		stream_meta_take_back(st, g->meta_fd);
	segcache_rest(st->engine->segcache, &st->hold);
	return result;
}

/* Caller holds st->lock. */
static void count_group(struct wal_stream *st, const struct group *g)
{
	struct stream_stats *stats = stream_stats(st);
	uint64_t bytes = 0;

	for (size_t i = 0; i < g->count; i++) {
		const struct wal_op *op = g->ops[i];
		const struct wal_payload *payload = op->internal.payload;

		if (op_is_spilled(op))
			bytes += op->internal.frame_bytes - FRAME_HEADER_BYTES - FRAME_LENGTH_BYTES;
		else
			bytes += payload ? payload->raw_size - FRAME_LENGTH_BYTES * (uint64_t)op->count : op->entries[0].iov_len;
	}
	stats_add(&stats->appends, g->entries);
	stats_add(&stats->append_bytes, bytes);
	stats_add(&stats->frames, g->count);
	stats_add(&stats->frame_bytes, g->bytes);
	stats_add(&stats->writes, 1);
}

/* Caller holds st->lock. */
static void publish_group(struct wal_stream *st, struct group *g)
{
	stream_meta_publish(st, &g->meta);
	count_group(st, g);
	stream_see_cut(st);
	st->next_id += g->entries;
	atomic_store_explicit(&st->active.end, g->offset + g->bytes, memory_order_release);
	atomic_store_explicit(&st->in_flight, 0, memory_order_release);
	st->active.frames += g->count;
	for (size_t i = 0; i < g->count; i++)
		op_list_push(&st->commits, g->ops[i]);
	stream_advance(st);
}

/* Caller holds st->lock and `writing`. Writes what one write can hold. */
void stream_write_some(struct wal_stream *st)
{
	struct group g;
	int cut;

	gather(st, &g);
	st->touched = true;
	stream_unlock(st);
	int result = write_group(&g, &cut);
	pthread_mutex_lock(&st->lock);
	if (result == 0) {
		publish_group(st, &g);
		if (!st->commits.head && g.now - st->meta_flushed_ns > META_FLUSH_NS) {
			stream_unlock(st);
			stream_flush_meta(st);
			pthread_mutex_lock(&st->lock);
		}
		return;
	}
	st->in_flight = 0;
	for (size_t i = 0; i < g.count; i++)
		stream_op_finish(st, g.ops[i], result);
	if (cut < 0)
		stream_mark_stopped(st, cut, "taking back a failed write");
}
