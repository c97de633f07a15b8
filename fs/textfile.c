/* SPDX-License-Identifier: Apache-2.0 */
#include "textfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ahead.h"
#include "readqueue.h"
#include "sync.h"
#include "text.h"

/* `text` is used by whoever has the queue; its base never changes. */
struct textfile {
	struct handle handle;
	uint64_t start_id;
	struct read_queue queue;
	struct ahead ahead;
	/* Only the loop looks at these. */
	uint64_t last_end; /* of the last read: who reads there is likely to go on */
	size_t piece;	   /* how much was last read in advance. It grows while reading goes on */
	struct text text;
	bool told; /* of the prune that overtook it */
	struct textfile *next, **link; /* in slot->texts, protected by fs->lock */
};

int textfile_find(struct slot *slot, const char *name, uint64_t *ret_start_id)
{
	uint64_t first, next, id;

	slot_bounds(slot, &first, &next);
	if (!name || !strcmp(name, "first"))
		id = first;
	else if (!strcmp(name, "next"))
		id = next;
	else if (!strcmp(name, "last") && first < next)
		id = next - 1;
	else if (!entry_parse_id(name, &id) || id > next)
		return WAL_NOT_FOUND;
	if (id < first)
		return WAL_PRUNED;
	*ret_start_id = id;
	return 0;
}

/* ---- Size ---- */

/* Where the text begins and, as of a checkpoint, ends, asked of one who has it open. */
static bool ask_open(struct walfs *fs, const struct slot *slot, uint64_t start_id, uint64_t *ret_base, uint64_t *ret_end)
{
	const struct textfile *file;

	pthread_mutex_lock(&fs->lock);
	for (file = slot->texts; file && file->start_id != start_id; file = file->next)
		;
	if (file) {
		*ret_base = file->text.base;
		*ret_end = file->text.end;
	}
	pthread_mutex_unlock(&fs->lock);
	return file;
}

/* Where the text from `start_id` on begins and ends now. */
static int find_extent(struct slot *slot, uint64_t start_id, uint64_t *ret_base, uint64_t *ret_end)
{
	int r = wal_stream_offset_of(slot->stream, start_id, ret_base);

	return r ? r : text_end(slot->stream, slot->end_id, ret_end);
}

int textfile_size(struct walfs *fs, struct slot *slot, uint64_t start_id, uint64_t *ret_size)
{
	uint64_t base = 0, end = 0;
	int r;

	/* Nothing is asked of the stream where an empty cut ends, which may be pruned. */
	if (start_id >= slot->end_id) {
		*ret_size = 0;
		return 0;
	}
	r = find_extent(slot, start_id, &base, &end);
	if (r == WAL_PRUNED && ask_open(fs, slot, start_id, &base, &end))
		r = slot->end_id == UINT64_MAX ? text_end(slot->stream, UINT64_MAX, &end) : 0;
	if (r == 0)
		*ret_size = end - base;
	return r;
}

/* ---- Reading ---- */

static void fail(struct textfile *file, fuse_req_t req, int result)
{
	if (result == WAL_PRUNED && !file->told) {
		report_line(file->handle.fs->report, WAL_LOG_WARNING, "stream '%s': the text from id %" PRIu64 " on was being read where it has been pruned meanwhile",
			    file->handle.slot->name, file->start_id);
		file->told = true;
	}
	walfs_reply_err(req, result == WAL_PRUNED ? ESTALE : walfs_errno(result));
}

/* What was read ahead, and what comes behind it. */
static int read_text(struct textfile *file, char *data, size_t size, uint64_t offset, size_t *ret_size)
{
	struct ahead_bytes bytes;
	size_t had = 0, got = 0;
	int r = 0;

	while (had < size && ahead_take(&file->ahead, offset + had, 1, &bytes)) {
		size_t n = bytes.size < size - had ? bytes.size : size - had;

		memcpy(data + had, bytes.data + bytes.start, n);
		ahead_skip(&bytes, n);
		ahead_give(&file->ahead, &bytes);
		had += n;
	}
	if (had < size)
		r = text_read(&file->text, data + had, size - had, offset + had, &got);
	if (r && !had)
		return r;
	*ret_size = had + got;
	return 0;
}

static void read_and_reply(struct textfile *file, fuse_req_t req, size_t size, uint64_t offset)
{
	char *data = malloc(size + 1);
	size_t done = 0;
	int r;

	if (!data) {
		walfs_reply_err(req, ENOMEM);
		return;
	}
	r = read_text(file, data, size, offset, &done);
	if (r)
		fail(file, req, r);
	else
		fuse_reply_buf(req, data, done);
	free(data);
}

/*
 * The next piece, for one who has read up to `offset`. Not if that met the end, or if the text is elsewhere since: that is no reason to go on. What goes wrong here the next read will meet.
 */
static void read_ahead(struct textfile *file, size_t size, uint64_t offset)
{
	uint64_t at = file->text.pos - file->text.base;
	struct ahead_bytes bytes;

	if (at < offset || at - offset > AHEAD_MAX || !ahead_take_room(&file->ahead, at, size, &bytes))
		return;
	if (text_read(&file->text, bytes.data, size, at, &bytes.size))
		bytes.size = 0;
	ahead_give(&file->ahead, &bytes);
}

static void reply_from(struct textfile *file, fuse_req_t req, size_t size, struct ahead_bytes *bytes)
{
	fuse_reply_buf(req, bytes->data + bytes->start, size);
	ahead_skip(bytes, size);
	ahead_give(&file->ahead, bytes);
}

/* In the pool. Without a request there is something to be read ahead. */
static void serve(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset)
{
	struct textfile *file = handle_container(handle, struct textfile, handle);
	struct ahead_bytes bytes;

	if (!req) {
		read_ahead(file, size, offset);
	} else if (ahead_take(&file->ahead, offset, size, &bytes)) {
		reply_from(file, req, size, &bytes);
	} else {
		read_and_reply(file, req, size, offset);
		if (size > AHEAD_MAX)
			text_read_ahead(&file->text);
	}
}

/* So that whoever waits at the end for more costs no more than a look. -ENOENT: no more will come. */
static int is_at_end(struct textfile *file, uint64_t offset, bool *ret_at_end)
{
	uint64_t end = file->text.end;
	int r = 0;

	if (slot_is_removed(file->handle.fs, slot_of_entries(file->handle.slot)))
		return -ENOENT;
	if (file->text.end_id == UINT64_MAX)
		r = text_end(file->text.stream, UINT64_MAX, &end);
	if (r == 0)
		*ret_at_end = offset >= end - file->text.base;
	return r;
}

static void push_piece(struct textfile *file, size_t size, uint64_t offset)
{
	if (file->piece < size)
		file->piece = size;
	else if (file->piece <= AHEAD_MAX / 2)
		file->piece *= 2;
	read_queue_push(&file->queue, NULL, file->piece, offset);
}

static bool reply_from_ahead(struct textfile *file, fuse_req_t req, size_t size, uint64_t offset)
{
	struct ahead_bytes bytes;

	if (!ahead_take(&file->ahead, offset, size, &bytes))
		return false;
	/* It begins: time for the next one. */
	if (!bytes.start)
		push_piece(file, size, offset + size);
	reply_from(file, req, size, &bytes);
	return true;
}

static void textfile_read(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset)
{
	struct textfile *file = handle_container(handle, struct textfile, handle);
	bool goes_on = offset == file->last_end && size <= AHEAD_MAX;
	bool at_end = false;
	int r;

	file->last_end = offset + size;
	if (!goes_on)
		file->piece = 0;
	if (reply_from_ahead(file, req, size, offset))
		return;
	if (!read_queue_is_busy(&file->queue)) {
		if (text_is_ready(&file->text, size, offset)) {
			read_and_reply(file, req, size, offset);
			return;
		}
		r = is_at_end(file, offset, &at_end);
		if (r || at_end) {
			ahead_rest(&file->ahead);
			if (r)
				fail(file, req, r);
			else
				fuse_reply_buf(req, NULL, 0);
			return;
		}
	}
	read_queue_push(&file->queue, req, size, offset);
	if (goes_on)
		push_piece(file, size, offset + size);
}

static void textfile_fsync(struct handle *handle, fuse_req_t req)
{
	sync_stream(handle->fs, handle->slot, req);
}

/* ---- Opening ---- */

static void textfile_free(struct handle *handle)
{
	struct textfile *file = handle_container(handle, struct textfile, handle);
	struct walfs *fs = handle->fs;

	pthread_mutex_lock(&fs->lock);
	*file->link = file->next;
	if (file->next)
		file->next->link = file->link;
	pthread_mutex_unlock(&fs->lock);
	text_release(&file->text);
	ahead_release(&file->ahead);
	read_queue_release(&file->queue);
	free(file);
}

static const struct handle_ops textfile_ops = {
	.kind = HANDLE_LOG,
	.read = textfile_read,
	.fsync = textfile_fsync,
	.free = textfile_free,
};

/* What the node stands for may have gone since it was looked up. */
static int find_text(struct slot *slot, struct textfile *file)
{
	uint64_t next;

	slot_bounds(slot, NULL, &next);
	return file->start_id > next ? WAL_NOT_FOUND : text_init(&file->text, slot->stream, file->start_id, slot->end_id);
}

static void enlist(struct textfile *file, struct slot *slot)
{
	struct walfs *fs = file->handle.fs;

	pthread_mutex_lock(&fs->lock);
	file->next = slot->texts;
	file->link = &slot->texts;
	if (file->next)
		file->next->link = &file->next;
	slot->texts = file;
	pthread_mutex_unlock(&fs->lock);
}

void textfile_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi)
{
	struct textfile *file = NULL;
	struct slot *slot;
	int r;

	if ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC) {
		walfs_reply_err(req, EACCES);
		return;
	}
	r = slot_get(fs, node->slot, &slot);
	if (r) {
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	file = calloc(1, sizeof(*file));
	if (file)
		file->start_id = node->number;
	r = file ? find_text(slot, file) : -ENOMEM;
	if (r) {
		free(file);
		slot_put(fs, slot);
		walfs_reply_err(req, r == WAL_PRUNED ? ESTALE : walfs_errno(r));
		return;
	}
	handle_init(&file->handle, &textfile_ops, fs, slot);
	read_queue_init(&file->queue, &file->handle, serve);
	ahead_init(&file->ahead, &fs->ahead);
	enlist(file, slot);
	fi->fh = (uintptr_t)&file->handle;
	fi->direct_io = 1;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi) < 0)
		handle_unref(&file->handle);
}
