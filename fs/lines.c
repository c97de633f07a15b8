/* SPDX-License-Identifier: Apache-2.0 */
#include "lines.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "sync.h"
#include "turns.h"

enum {
	SHADOW_MAX = 64 << 10,
};

/* What follows the last newline. All-zero: nothing. */
struct partial {
	struct wal_draft *draft;
	char *shadow; /* the same bytes, up to SHADOW_MAX of them; NULL: there were more */
};

struct lines {
	struct handle handle;
	struct turns turns;

	/* of whoever has the turn */
	struct partial partial;
	bool skipping;
	int failed; /* errno of a commit that has lost a part of a line */
	bool writer_known;
	uint64_t writer; /* the lock owner that wrote last, and has not closed it since */
	pid_t opener;

	/* the commit under way, for the request below */
	struct wal_op op;
	fuse_req_t req;
	size_t written;		/* what the WRITE is answered; 0: a FLUSH or FSYNC */
	size_t first_written;	/* the same, if only the line in the draft is committed */
	uint64_t draft_bytes;
	struct partial rest;	/* of the WRITE */
	char *text;		/* the lines */
	size_t text_size;
	struct iovec *entries;
	size_t count;
	unsigned flags;
};

static struct lines *lines_from(struct handle *handle)
{
	return handle_container(handle, struct lines, handle);
}

static void report_dropped(struct lines *lines, uint64_t bytes, const char *why)
{
	report_line(lines->handle.fs->report, WAL_LOG_WARNING, "stream '%s': an unfinished line of %" PRIu64 " bytes written to '.lines' was not appended: %s",
		    wal_stream_name(lines->handle.slot->stream), bytes, why);
}

/* ---- The partial line ---- */

static void partial_clear(struct partial *partial)
{
	wal_draft_free(partial->draft);
	free(partial->shadow);
	*partial = (struct partial){ 0 };
}

static uint64_t partial_size(const struct partial *partial)
{
	return partial->draft ? wal_draft_size(partial->draft) : 0;
}

static bool has_shadow(const struct partial *partial)
{
	return !partial->draft || partial->shadow;
}

/* On failure it is as before. */
static int partial_add(struct partial *partial, struct wal_stream *stream, const char *data, size_t size)
{
	uint64_t before = partial_size(partial);
	bool had_shadow = has_shadow(partial), is_new = !partial->draft;
	char *shadow = NULL;
	int r = 0;

	if (had_shadow && before + size <= SHADOW_MAX) {
		shadow = realloc(partial->shadow, before + size);
		if (!shadow)
			return -ENOMEM;
		partial->shadow = shadow;
		memcpy(shadow + before, data, size);
	}
	if (is_new)
		r = wal_draft_new(stream, &partial->draft);
	if (r == 0)
		r = wal_draft_write(partial->draft, data, size, before);
	if (r < 0 && is_new)
		partial_clear(partial);
	if (r == 0 && !shadow) {
		free(partial->shadow);
		partial->shadow = NULL;
	}
	return r;
}

/* ---- Commit ---- */

static void drop_text(struct lines *lines)
{
	free(lines->text);
	free(lines->entries);
	lines->text = NULL;
	lines->entries = NULL;
	lines->count = 0;
}

static void answer(struct lines *lines, int error, size_t written)
{
	fuse_req_t req = lines->req;

	lines->req = NULL;
	drop_text(lines);
	turns_answer(&lines->turns, req, error, written);
}

static void text_done(struct wal_op *op)
{
	struct lines *lines = op->arg;

	if (!op->result) {
		partial_clear(&lines->partial);
		lines->partial = lines->rest;
		lines->rest = (struct partial){ 0 };
		lines->skipping = false;
		answer(lines, 0, lines->written);
	} else {
		partial_clear(&lines->rest);
		answer(lines, walfs_errno_open(op->result), 0);
	}
}

/* The line in the draft is an entry, the lines after it are not: a short write. */
static void text_after_draft_done(struct wal_op *op)
{
	struct lines *lines = op->arg;

	if (op->result) {
		partial_clear(&lines->rest);
		answer(lines, 0, lines->first_written);
	} else {
		text_done(op);
	}
}

static void submit_text(struct lines *lines, void (*done)(struct wal_op *op))
{
	lines->op = (struct wal_op){ .done = done, .arg = lines, .entries = lines->entries, .count = lines->count, .flags = lines->flags };
	wal_stream_submit(lines->handle.slot->stream, &lines->op);
}

static void draft_done(struct wal_op *op)
{
	struct lines *lines = op->arg;

	if (op->result) {
		lines->failed = walfs_errno_open(op->result);
		report_dropped(lines, lines->draft_bytes, wal_strerror(op->result));
		partial_clear(&lines->rest);
		answer(lines, lines->failed, 0);
	} else if (lines->count) {
		submit_text(lines, text_after_draft_done);
	} else {
		lines->partial = lines->rest;
		lines->rest = (struct partial){ 0 };
		answer(lines, 0, lines->written);
	}
}

/* The draft of the partial line becomes an entry, and then lines->text, if any. */
static void submit_draft(struct lines *lines)
{
	struct wal_draft *draft = lines->partial.draft;

	lines->partial.draft = NULL;
	partial_clear(&lines->partial);
	lines->draft_bytes = wal_draft_size(draft);
	lines->op = (struct wal_op){ .done = draft_done, .arg = lines, .flags = lines->flags };
	wal_draft_submit(draft, &lines->op);
}

static void commit_partial(struct lines *lines, fuse_req_t req, unsigned flags)
{
	lines->req = req;
	lines->written = 0;
	lines->flags = flags;
	submit_draft(lines);
}

/* ---- Writing ---- */

/* Copies `size` bytes of whole lines, the first continuing `before`, and notes where each lies. */
static int take_text(struct lines *lines, const struct partial *before, const char *data, size_t size)
{
	size_t before_size = before ? (size_t)partial_size(before) : 0, count = 0;
	const char *end = data + size, *pos, *newline;
	char *line;

	for (pos = data; pos < end && (newline = memchr(pos, '\n', (size_t)(end - pos))); pos = newline + 1)
		count++;
	lines->text = malloc(before_size + size);
	lines->entries = calloc(count, sizeof(*lines->entries));
	if (!lines->text || !lines->entries)
		return -ENOMEM; /* the caller drops the other */
	if (before_size)
		memcpy(lines->text, before->shadow, before_size);
	memcpy(lines->text + before_size, data, size);
	line = lines->text;
	for (size_t i = 0, from = before_size; i < count; i++, from = 0) {
		char *after = (char *)memchr(line + from, '\n', (size_t)(lines->text + before_size + size - line - from)) + 1;

		lines->entries[i] = (struct iovec){ line, (size_t)(after - line) };
		line = after;
	}
	lines->count = count;
	return 0;
}

/* A line that became too long is forgotten, all of it. */
static int skip_line(struct lines *lines)
{
	partial_clear(&lines->partial);
	lines->skipping = true;
	return -EFBIG;
}

/*
 * Takes whole lines and what follows them. 0: a commit is on its way and answers. On failure everything is as before but for a line that is too long.
 */
static int write_lines(struct lines *lines, const struct turn *turn, const char *data, size_t size, const char *last_newline)
{
	struct wal_stream *stream = lines->handle.slot->stream;
	size_t text_size = (size_t)(last_newline - data) + 1, first_size = 0;
	bool joined = has_shadow(&lines->partial);
	int r = 0;

	if (size > text_size)
		r = partial_add(&lines->rest, stream, data + text_size, size - text_size);
	if (r == 0 && !joined)
		first_size = (size_t)((const char *)memchr(data, '\n', text_size) - data) + 1;
	if (r == 0 && text_size > first_size)
		r = take_text(lines, joined ? &lines->partial : NULL, data + first_size, text_size - first_size);
	if (r == 0 && first_size) {
		r = partial_add(&lines->partial, stream, data, first_size);
		if (r == -EFBIG)
			skip_line(lines);
	}
	if (r < 0) {
		partial_clear(&lines->rest);
		drop_text(lines);
		return r;
	}
	lines->req = turn->req;
	lines->written = turn->size;
	lines->first_written = turn->size - size + first_size;
	lines->flags = turn->durable ? WAL_DURABLE : 0;
	if (first_size)
		submit_draft(lines);
	else
		submit_text(lines, text_done);
	return 0;
}

/* 0: as write_lines(). 1: taken, nothing is to be waited for. */
static int write_turn(struct lines *lines, const struct turn *turn)
{
	const char *data = turn->data, *newline;
	size_t size = turn->size;
	int r;

	if (lines->failed)
		return -lines->failed;
	if (lines->skipping && size) {
		newline = memchr(data, '\n', size);
		if (!newline)
			return -EFBIG;
		size -= (size_t)(newline + 1 - data);
		data = newline + 1;
	}
	newline = size ? memrchr(data, '\n', size) : NULL;
	if (newline)
		return write_lines(lines, turn, data, size, newline);
	if (size) {
		r = partial_add(&lines->partial, lines->handle.slot->stream, data, size);
		if (r < 0)
			return r == -EFBIG ? skip_line(lines) : r;
	}
	if (turn->size)
		lines->skipping = false;
	return 1;
}

static void run_write(struct lines *lines, const struct turn *turn)
{
	int r;

	lines->writer = turn->owner;
	lines->writer_known = true;
	r = write_turn(lines, turn);
	if (r)
		turns_answer(&lines->turns, turn->req, r < 0 ? walfs_errno_open(r) : 0, turn->size);
}

/* ---- Closing and syncing ---- */

static void run_flush(struct lines *lines, const struct turn *turn)
{
	if (lines->writer_known && lines->writer == turn->owner)
		lines->writer_known = false;
	if (lines->partial.draft && fuse_req_ctx(turn->req)->pid == lines->opener && !lines->writer_known)
		commit_partial(lines, turn->req, 0);
	else
		turns_answer(&lines->turns, turn->req, lines->failed, 0);
}

static void run_fsync(struct lines *lines, const struct turn *turn)
{
	if (lines->partial.draft) {
		commit_partial(lines, turn->req, WAL_DURABLE);
		return;
	}
	if (!lines->failed)
		sync_stream(lines->handle.fs, lines->handle.slot, turn->req);
	turns_answer(&lines->turns, lines->failed ? turn->req : NULL, lines->failed, 0);
}

static void lines_run(struct handle *handle, const struct turn *turn)
{
	struct lines *lines = lines_from(handle);

	switch (turn->kind) {
	case TURN_WRITE:
		run_write(lines, turn);
		break;
	case TURN_FLUSH:
		run_flush(lines, turn);
		break;
	case TURN_FSYNC:
		run_fsync(lines, turn);
		break;
	case TURN_RELEASE:
		if (lines->partial.draft)
			commit_partial(lines, NULL, 0);
		else
			turns_answer(&lines->turns, NULL, 0, 0);
	}
}

static void lines_write(struct handle *handle, fuse_req_t req, const char *data, size_t size, uint64_t offset, const struct fuse_file_info *fi)
{
	(void)offset; /* the file has none of its own */
	turns_write(&lines_from(handle)->turns, req, data, size, fi);
}

static void lines_flush(struct handle *handle, fuse_req_t req, uint64_t lock_owner)
{
	turns_submit(&lines_from(handle)->turns, &(struct turn){ .kind = TURN_FLUSH, .req = req, .owner = lock_owner });
}

static void lines_fsync(struct handle *handle, fuse_req_t req)
{
	turns_submit(&lines_from(handle)->turns, &(struct turn){ .kind = TURN_FSYNC, .req = req });
}

static void lines_release(struct handle *handle)
{
	turns_submit(&lines_from(handle)->turns, &(struct turn){ .kind = TURN_RELEASE });
}

/* Also comes without a release, when the mount has gone while the file was open. */
static void lines_free(struct handle *handle)
{
	struct lines *lines = lines_from(handle);

	if (lines->partial.draft)
		report_dropped(lines, partial_size(&lines->partial), "the mount ended before the file was closed");
	partial_clear(&lines->partial);
	turns_release(&lines->turns);
	free(lines);
}

static const struct handle_ops lines_ops = {
	.kind = HANDLE_LINES,
	.write = lines_write,
	.flush = lines_flush,
	.fsync = lines_fsync,
	.release = lines_release,
	.free = lines_free,
};

void lines_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi)
{
	struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES };
	struct lines *lines = NULL;
	struct slot *slot;
	int r = (fi->flags & O_ACCMODE) == O_WRONLY ? slot_get(fs, node->slot, &slot) : -EACCES;

	if (r == 0) {
		lines = calloc(1, sizeof(*lines));
		if (!lines) {
			slot_put(fs, slot);
			r = -ENOMEM;
		}
	}
	if (r) {
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	handle_init(&lines->handle, &lines_ops, fs, slot);
	turns_init(&lines->turns, &lines->handle, lines_run);
	lines->opener = fuse_req_ctx(req)->pid;
	out.fh = (uintptr_t)&lines->handle;
	/* As in append_open(): fuse_reply_open() of libfuse 3.14 knows no parallel direct writes. */
	if (fuse_reply_buf(req, (const char *)&out, sizeof(out)) < 0)
		handle_unref(&lines->handle);
}
