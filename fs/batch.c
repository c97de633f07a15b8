/* SPDX-License-Identifier: Apache-2.0 */
#include "batch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "owners.h"
#include "sync.h"
#include "turns.h"

enum {
	CAPACITY_MIN = 4096,
	LENGTH_BYTES = 4,	   /* that an entry takes in a batch beside its own */
	ROOM_IN_MEMORY = 1 << 20,
	COMMIT_IN_LOOP = 256 << 10, /* larger ones would hold up other requests */
};

struct batch {
	struct handle handle;
	struct turns turns;

	/* of whoever has the turn */
	char *text;
	size_t size, capacity; /* the capacity is counted in walfs.batch_bytes */
	size_t newlines;
	struct wal_draft *room; /* never committed: it reserves what the batch will take. NULL: nothing has been written */
	struct owners owners;
	int write_error; /* of a WRITE since the last commit */
	int failed;	 /* errno of a commit */
	bool durable;	 /* a WRITE was with O_SYNC */

	/* the commit under way */
	struct job job;
	struct wal_op op;
	struct iovec *entries;
	fuse_req_t req;
};

static struct batch *batch_from(struct handle *handle)
{
	return handle_container(handle, struct batch, handle);
}

static size_t line_count(const struct batch *batch)
{
	return batch->newlines + (batch->size && batch->text[batch->size - 1] != '\n');
}

static void drop(struct batch *batch)
{
	wal_draft_free(batch->room);
	free(batch->text);
	free(batch->entries);
	atomic_fetch_sub(&batch->handle.fs->batch_bytes, batch->capacity);
	batch->room = NULL;
	batch->text = NULL;
	batch->entries = NULL;
	batch->size = batch->capacity = batch->newlines = 0;
	batch->owners.count = 0;
	batch->write_error = 0;
	batch->durable = false;
}

static void report_dropped(struct batch *batch, const char *why)
{
	report_line(batch->handle.fs->report, WAL_LOG_WARNING, "stream '%s': a batch of %zu lines, %zu bytes, written to '.batch' was not appended: %s",
		    wal_stream_name(batch->handle.slot->stream), line_count(batch), batch->size, why);
}

/* ---- Writing ---- */

static int grow(struct batch *batch, size_t size)
{
	atomic_size_t *total = &batch->handle.fs->batch_bytes;
	size_t capacity = batch->capacity ? batch->capacity : CAPACITY_MIN, more;
	char *text;

	while (capacity < size)
		capacity *= 2;
	more = capacity - batch->capacity;
	if (!more)
		return 0;
	if (atomic_fetch_add(total, more) + more > BATCH_BYTES_TOTAL || !(text = realloc(batch->text, capacity))) {
		atomic_fetch_sub(total, more);
		return -ENOMEM;
	}
	batch->text = text;
	batch->capacity = capacity;
	return 0;
}

static size_t count_newlines(const char *data, size_t size)
{
	const char *end = data + size, *newline;
	size_t count = 0;

	for (; data < end && (newline = memchr(data, '\n', (size_t)(end - data))); data = newline + 1)
		count++;
	return count;
}

/*
 * A draft that grows beyond what it has in memory writes that to a file, on the disk that may be full. One that begins larger gets a file without
 * any blocks.
 */
static int reserve(struct batch *batch, uint64_t bytes)
{
	if (batch->room && bytes > ROOM_IN_MEMORY && wal_draft_size(batch->room) <= ROOM_IN_MEMORY) {
		wal_draft_free(batch->room);
		batch->room = NULL;
	}
	if (!batch->room) {
		int r = wal_draft_new(batch->handle.slot->stream, &batch->room);

		if (r < 0)
			return r;
	}
	return wal_draft_truncate(batch->room, bytes);
}

static int put(struct batch *batch, const struct turn *turn)
{
	size_t newlines = batch->newlines + count_newlines(turn->data, turn->size), size = batch->size + turn->size;
	size_t lines = newlines + (turn->data[turn->size - 1] != '\n');
	int r;

	if (size > BATCH_BYTES_MAX || lines > BATCH_LINES_MAX)
		return -EFBIG;
	r = owners_reserve(&batch->owners);
	if (r == 0)
		r = grow(batch, size);
	if (r == 0)
		r = reserve(batch, size + LENGTH_BYTES * lines);
	if (r < 0)
		return r;
	memcpy(batch->text + batch->size, turn->data, turn->size);
	batch->size = size;
	batch->newlines = newlines;
	return 0;
}

static void run_write(struct batch *batch, const struct turn *turn)
{
	int error = batch->failed ? batch->failed : batch->write_error;

	if (!error && turn->size) {
		error = walfs_errno_open(put(batch, turn));
		/* Nobody can commit what an owner could not be noted for: RELEASE reports it. */
		if (owners_reserve(&batch->owners) == 0)
			owners_add(&batch->owners, turn->owner);
		batch->write_error = error;
		batch->durable = batch->durable || turn->durable;
	}
	turns_answer(&batch->turns, turn->req, error, turn->size);
}

/* ---- Commit ---- */

static void commit_done(struct wal_op *op)
{
	struct batch *batch = op->arg;

	batch->failed = walfs_errno_open(op->result);
	if (batch->failed)
		report_dropped(batch, wal_strerror(op->result));
	drop(batch);
	turns_answer(&batch->turns, batch->req, batch->failed, 0);
}

static void fill_entries(struct batch *batch, size_t count)
{
	char *line = batch->text, *end = batch->text + batch->size;

	for (size_t i = 0; i < count; i++) {
		char *newline = memchr(line, '\n', (size_t)(end - line)), *after = newline ? newline + 1 : end;

		batch->entries[i] = (struct iovec){ line, (size_t)(after - line) };
		line = after;
	}
}

static void commit_run(struct job *job)
{
	struct batch *batch = handle_container(job, struct batch, job);
	size_t count = line_count(batch);

	batch->op.done = commit_done;
	batch->op.arg = batch;
	batch->entries = calloc(count, sizeof(*batch->entries));
	if (!batch->entries) {
		batch->op.result = -ENOMEM;
		commit_done(&batch->op);
		return;
	}
	fill_entries(batch, count);
	batch->op.entries = batch->entries;
	batch->op.count = count;
	struct wal_draft *room = batch->room;

	batch->room = NULL;
	wal_stream_submit_reserved(batch->handle.slot->stream, &batch->op, room);
}

static void commit(struct batch *batch, fuse_req_t req, unsigned flags)
{
	batch->req = req;
	batch->op = (struct wal_op){ .flags = WAL_BATCH | flags | (batch->durable ? WAL_DURABLE : 0) };
	batch->job.run = commit_run;
	if (batch->size <= COMMIT_IN_LOOP)
		commit_run(&batch->job);
	else
		pool_submit(&batch->handle.fs->pool, &batch->job);
}

/* The batch is not to be committed, and this is why: 0 if it may be. */
static int refuse(struct batch *batch)
{
	int error = batch->failed ? batch->failed : batch->write_error;

	if (batch->write_error && batch->size)
		report_dropped(batch, strerror(batch->write_error));
	if (batch->write_error)
		drop(batch);
	return error;
}

static void batch_run(struct handle *handle, const struct turn *turn)
{
	struct batch *batch = batch_from(handle);
	int error = 0;

	if (turn->kind == TURN_WRITE) {
		run_write(batch, turn);
		return;
	}
	if (turn->kind != TURN_FLUSH || batch->failed || owners_has(&batch->owners, turn->owner)) {
		error = refuse(batch);
		if (!error && batch->size) {
			commit(batch, turn->req, turn->kind == TURN_FSYNC ? WAL_DURABLE : 0);
			return;
		}
	}
	if (turn->kind == TURN_FSYNC && !error) {
		sync_stream(handle->fs, handle->slot, turn->req); /* covers what this handle has appended */
		turns_answer(&batch->turns, NULL, 0, 0);
	} else {
		turns_answer(&batch->turns, turn->req, error, 0);
	}
}

static void batch_write(struct handle *handle, fuse_req_t req, const char *data, size_t size, uint64_t offset, const struct fuse_file_info *fi)
{
	(void)offset; /* the file has none of its own */
	turns_write(&batch_from(handle)->turns, req, data, size, fi);
}

static void batch_flush(struct handle *handle, fuse_req_t req, uint64_t lock_owner)
{
	turns_submit(&batch_from(handle)->turns, &(struct turn){ .kind = TURN_FLUSH, .req = req, .owner = lock_owner });
}

static void batch_fsync(struct handle *handle, fuse_req_t req)
{
	turns_submit(&batch_from(handle)->turns, &(struct turn){ .kind = TURN_FSYNC, .req = req });
}

static void batch_release(struct handle *handle)
{
	turns_submit(&batch_from(handle)->turns, &(struct turn){ .kind = TURN_RELEASE });
}

/* Also comes without a release, when the mount has gone while the file was open. */
static void batch_free(struct handle *handle)
{
	struct batch *batch = batch_from(handle);

	if (batch->size)
		report_dropped(batch, "the mount ended before the file was closed");
	drop(batch);
	free(batch->owners.list);
	turns_release(&batch->turns);
	free(batch);
}

static const struct handle_ops batch_ops = {
	.kind = HANDLE_BATCH,
	.write = batch_write,
	.flush = batch_flush,
	.fsync = batch_fsync,
	.release = batch_release,
	.free = batch_free,
};

void batch_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi)
{
	struct batch *batch = NULL;
	struct slot *slot;
	int r = (fi->flags & O_ACCMODE) == O_WRONLY ? slot_get(fs, node->slot, &slot) : -EACCES;

	if (r == 0) {
		batch = calloc(1, sizeof(*batch));
		if (!batch) {
			slot_put(fs, slot);
			r = -ENOMEM;
		}
	}
	if (r) {
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	handle_init(&batch->handle, &batch_ops, fs, slot);
	turns_init(&batch->turns, &batch->handle, batch_run);
	fi->fh = (uintptr_t)&batch->handle;
	fi->direct_io = 1;
	if (fuse_reply_open(req, fi) < 0)
		handle_unref(&batch->handle);
}
