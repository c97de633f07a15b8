/* SPDX-License-Identifier: Apache-2.0 */
#include "entry.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "readqueue.h"
#include "sync.h"

/* The reader is used by whoever has the queue. */
struct entry {
	struct handle handle;
	uint64_t id;
	struct wal_reader *reader; /* NULL before the first read */
	int damaged;		   /* -EBADMSG once it was found: the kernel tries each failed page again, the log need not say so */
	uint64_t size;
	struct read_queue queue;
};

static int reader_get(struct entry *entry)
{
	struct wal_entry_info info;
	int r;

	if (entry->reader)
		return entry->damaged;
	r = wal_reader_open(entry->handle.slot->stream, entry->id, &entry->reader, &info);
	if (r == 0)
		entry->size = info.size;
	return r;
}

/* What a handle finds that had been opened before its entry was pruned. */
static int read_errno(int result)
{
	return result == WAL_PRUNED ? ESTALE : walfs_errno(result);
}

static void read_and_reply(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset)
{
	struct entry *entry = handle_container(handle, struct entry, handle);
	size_t done = 0;
	char *data;
	int r;

	r = reader_get(entry);
	if (r) {
		walfs_reply_err(req, read_errno(r));
		return;
	}
	if (offset >= entry->size)
		size = 0;
	else if (size > entry->size - offset)
		size = entry->size - offset;
	data = malloc(size + 1);
	if (!data) {
		walfs_reply_err(req, ENOMEM);
		return;
	}
	r = wal_reader_read(entry->reader, data, size, offset, &done);
	if (r == -EBADMSG)
		entry->damaged = r;
	if (r)
		walfs_reply_err(req, read_errno(r));
	else
		fuse_reply_buf(req, data, done);
	free(data);
}

static void entry_read(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset)
{
	struct entry *entry = handle_container(handle, struct entry, handle);
	int r;

	if (read_queue_is_busy(&entry->queue)) {
		read_queue_push(&entry->queue, req, size, offset);
		return;
	}
	r = reader_get(entry);
	if (r)
		walfs_reply_err(req, read_errno(r));
	else if (wal_reader_is_slow(entry->reader, offset))
		read_queue_push(&entry->queue, req, size, offset);
	else
		read_and_reply(handle, req, size, offset);
}

static void entry_fsync(struct handle *handle, fuse_req_t req)
{
	sync_stream(handle->fs, handle->slot, req);
}

static void entry_free(struct handle *handle)
{
	struct entry *entry = handle_container(handle, struct entry, handle);

	wal_reader_close(entry->reader);
	read_queue_release(&entry->queue);
	free(entry);
}

static const struct handle_ops entry_ops = {
	.kind = HANDLE_ENTRY,
	.read = entry_read,
	.fsync = entry_fsync,
	.free = entry_free,
};

static int entry_exists(struct slot *slot, uint64_t id)
{
	uint64_t first, next;

	wal_stream_bounds(slot->stream, &first, &next, NULL);
	return id < first ? WAL_PRUNED : id >= next ? WAL_NOT_FOUND : 0;
}

void entry_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi)
{
	struct entry *entry = NULL;
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
	r = entry_exists(slot, node->number);
	if (r == 0 && !(entry = calloc(1, sizeof(*entry))))
		r = -ENOMEM;
	if (r) {
		slot_put(fs, slot);
		walfs_reply_err(req, read_errno(r)); /* upon ESTALE the kernel looks the name up again, and finds none */
		return;
	}
	entry->id = node->number;
	read_queue_init(&entry->queue, &entry->handle, read_and_reply);
	handle_init(&entry->handle, &entry_ops, fs, slot);
	fi->fh = (uintptr_t)&entry->handle;
	fi->keep_cache = 1;
	fi->noflush = 1;
	if (fuse_reply_open(req, fi) < 0)
		handle_unref(&entry->handle);
}
