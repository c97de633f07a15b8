/* SPDX-License-Identifier: Apache-2.0 */
#include "append.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <string.h>

#include "owners.h"
#include "sync.h"

/* A request that a commit will answer. */
struct waiter {
	struct waiter *next;
	fuse_req_t req;
	size_t written; /* a WRITE of so many bytes; 0: a FLUSH or FSYNC */
};

struct append {
	struct handle handle;
	pthread_mutex_t lock;

	/* protected by lock; all but the last five are changed by the loop only */
	struct wal_draft *draft; /* NULL: empty */
	struct owners owners;	 /* of the draft */
	bool base_known;
	uint64_t base;	 /* the file offset of the draft's first byte */
	bool made_empty; /* by ftruncate(0): fsync is to commit an entry of no bytes */
	int write_error; /* of the last WRITE, if it failed and there is a draft */
	uint64_t read_base; /* the file offset where the text that READ gives begins */
	struct commit *commits; /* under way, the latest first */
	int failed;		/* errno of a commit */
	bool committed;		/* last_id is valid */
	bool unread;		/* no READ since it was set */
	uint64_t last_id;
};

/* A draft that the library has. */
struct commit {
	struct wal_op op;
	struct append *append;
	struct commit *next;
	struct owners owners;
	struct waiter *waiters; /* protected by append->lock */
	struct waiter first_waiter;
	struct wal_draft *draft;
	uint64_t bytes;
	bool syncs; /* counted in fs->syncs_waiting */
};

static struct append *append_from(struct handle *handle)
{
	return handle_container(handle, struct append, handle);
}

/* Back to empty; the draft is freed or somebody else's. */
static void forget_draft(struct append *append)
{
	append->draft = NULL;
	append->owners.count = 0;
	append->made_empty = false;
	append->write_error = 0;
}

/* Caller holds append->lock. An empty draft counts as nothing written: the running offset still begins where it did. */
static void drop_draft(struct append *append)
{
	if (append->draft && wal_draft_size(append->draft))
		append->base_known = false;
	wal_draft_free(append->draft);
	forget_draft(append);
}

static void report_dropped(struct append *append, uint64_t bytes, const char *why)
{
	report_line(append->handle.fs->report, WAL_LOG_WARNING, "stream '%s': %" PRIu64 " bytes written to 'new' were not appended: %s",
	       wal_stream_name(append->handle.slot->stream), bytes, why);
}

/* ---- Commit ---- */

static void unlink_commit(struct append *append, struct commit *commit)
{
	struct commit **link = &append->commits;

	while (*link != commit)
		link = &(*link)->next;
	*link = commit->next;
}

static void answer(struct commit *commit, struct waiter *waiters, int error)
{
	while (waiters) {
		struct waiter *waiter = waiters;

		waiters = waiter->next;
		if (waiter->written && !error)
			fuse_reply_write(waiter->req, waiter->written);
		else
			walfs_reply_err(waiter->req, error);
		if (waiter != &commit->first_waiter)
			free(waiter);
	}
}

static void commit_done(struct wal_op *op)
{
	struct commit *commit = op->arg;
	struct append *append = commit->append;
	struct walfs *fs = append->handle.fs;
	int error = walfs_errno_open(op->result);
	struct waiter *waiters;

	if (commit->syncs)
		atomic_fetch_sub(&fs->syncs_waiting, 1);
	pthread_mutex_lock(&append->lock);
	unlink_commit(append, commit);
	waiters = commit->waiters;
	if (error) {
		append->failed = error;
	} else if (!append->committed || op->first_id >= append->last_id) {
		append->committed = true;
		append->unread = true;
		append->last_id = op->first_id;
	}
	pthread_mutex_unlock(&append->lock);
	if (error)
		report_dropped(append, commit->bytes, wal_strerror(op->result));
	answer(commit, waiters, error);
	free(commit->owners.list);
	free(commit);
	handle_unref(&append->handle);
	walfs_end(fs);
}

/*
 * Takes the draft off the handle, for `req` (NULL: nobody waits). Caller holds append->lock, and hands the result to submit() when it has
 * let go of it. NULL: no memory, nothing has changed.
 */
static struct commit *detach(struct append *append, unsigned flags, fuse_req_t req, size_t written)
{
	struct commit *commit = calloc(1, sizeof(*commit));

	if (!commit)
		return NULL;
	commit->op = (struct wal_op){ .done = commit_done, .arg = commit, .flags = flags };
	commit->append = append;
	commit->draft = append->draft;
	commit->bytes = wal_draft_size(append->draft);
	commit->owners = append->owners;
	append->owners = (struct owners){ 0 };
	if (req) {
		commit->first_waiter = (struct waiter){ .req = req, .written = written };
		commit->waiters = &commit->first_waiter;
	}
	commit->next = append->commits;
	append->commits = commit;
	append->base_known = false;
	forget_draft(append);
	handle_ref(&append->handle);
	walfs_begin(append->handle.fs);
	return commit;
}

static bool will_sync(const struct commit *commit)
{
	return commit->op.flags & WAL_DURABLE || wal_store_options(commit->append->handle.fs->store)->sync == WAL_SYNC_STRICT;
}

/* To be called by the loop, last of all: it may be no part of the loop afterwards. */
static void submit(struct commit *commit)
{
	struct walfs *fs = commit->append->handle.fs;
	bool syncs = will_sync(commit);

	if (syncs && commit->first_waiter.req && sync_in_place(fs)) {
		commit->op.result = wal_draft_commit(commit->draft, commit->op.flags, &commit->op.first_id);
		commit_done(&commit->op);
		return;
	}
	commit->syncs = syncs;
	if (syncs)
		atomic_fetch_add(&fs->syncs_waiting, 1);
	wal_draft_submit(commit->draft, &commit->op);
}

/* ---- Requests ---- */

static int put(struct append *append, const char *data, size_t size, uint64_t offset, const struct fuse_file_info *fi)
{
	uint64_t base = append->base_known ? append->base : offset;
	int r;

	if (!append->draft && (r = wal_draft_new(append->handle.slot->stream, &append->draft)) < 0)
		return r;
	r = owners_reserve(&append->owners);
	if (r < 0)
		return r;
	/* With O_APPEND the kernel's offset is made from a file size that this file does not have. */
	if (!(fi->flags & O_APPEND) && offset < base)
		return -EINVAL;
	r = wal_draft_write(append->draft, data, size, fi->flags & O_APPEND ? wal_draft_size(append->draft) : offset - base);
	if (r < 0)
		return r;
	append->base = base;
	append->base_known = true;
	append->made_empty = false;
	append->write_error = 0;
	owners_add(&append->owners, fi->lock_owner);
	return 0;
}

/* Every WRITE with O_SYNC is an entry; one system call above 1 MiB is several WRITEs. */
static void append_write(struct handle *handle, fuse_req_t req, const char *data, size_t size, uint64_t offset,
			 const struct fuse_file_info *fi)
{
	struct append *append = append_from(handle);
	struct commit *commit = NULL;
	int error;

	pthread_mutex_lock(&append->lock);
	error = append->failed;
	if (!error)
		error = walfs_errno_open(put(append, data, size, offset, fi));
	if (!error && fi->flags & (O_SYNC | O_DSYNC)) {
		commit = detach(append, WAL_DURABLE, req, size);
		error = commit ? 0 : ENOMEM;
	}
	if (error && append->draft) {
		append->write_error = error;
		if (!wal_draft_size(append->draft) && !append->made_empty)
			drop_draft(append);
	}
	pthread_mutex_unlock(&append->lock);
	if (commit)
		submit(commit);
	else if (error)
		walfs_reply_err(req, error);
	else
		fuse_reply_write(req, size);
}

/* Caller holds append->lock. The draft is not to be committed, and this is why: 0 if it may be. */
static int refuse_draft(struct append *append)
{
	int error = append->failed ? append->failed : append->write_error;

	if (error && append->draft) {
		if (wal_draft_size(append->draft))
			report_dropped(append, wal_draft_size(append->draft), strerror(error));
		drop_draft(append);
	}
	return error;
}

/* Lets `req` wait for the latest commit under way that holds something of `owner`. 1: there is none. */
static int join_commit(struct append *append, fuse_req_t req, uint64_t owner)
{
	struct commit *commit = append->commits;
	struct waiter *waiter;

	while (commit && !owners_has(&commit->owners, owner))
		commit = commit->next;
	if (!commit)
		return 1;
	waiter = malloc(sizeof(*waiter));
	if (!waiter)
		return -ENOMEM;
	*waiter = (struct waiter){ .next = commit->waiters, .req = req };
	commit->waiters = waiter;
	return 0;
}

/*
 * Caller holds append->lock. A draft that was only given a size, by ftruncate(2), has no owner, because that request does not say whose it
 * is: then whoever closes means it.
 */
static bool is_to_commit(const struct append *append, uint64_t owner)
{
	if (owners_has(&append->owners, owner))
		return true;
	return append->draft && !append->owners.count && wal_draft_size(append->draft);
}

static void append_flush(struct handle *handle, fuse_req_t req, uint64_t lock_owner)
{
	struct append *append = append_from(handle);
	struct commit *commit = NULL;
	int error = 0, joined = 1;

	pthread_mutex_lock(&append->lock);
	if (append->failed || is_to_commit(append, lock_owner))
		error = refuse_draft(append);
	if (!error && is_to_commit(append, lock_owner)) {
		if (wal_draft_size(append->draft)) {
			commit = detach(append, 0, req, 0);
			error = commit ? 0 : ENOMEM;
		} else {
			drop_draft(append);
		}
	}
	if (!error && !commit) {
		joined = join_commit(append, req, lock_owner);
		error = joined < 0 ? -joined : 0;
	}
	pthread_mutex_unlock(&append->lock);
	if (commit)
		submit(commit);
	else if (error || joined)
		walfs_reply_err(req, error);
}

static void append_fsync(struct handle *handle, fuse_req_t req)
{
	struct append *append = append_from(handle);
	struct commit *commit = NULL;
	bool nothing = false;
	int error;

	pthread_mutex_lock(&append->lock);
	error = refuse_draft(append);
	if (!error) {
		nothing = !append->draft || (!wal_draft_size(append->draft) && !append->made_empty);
		if (!nothing) {
			commit = detach(append, WAL_DURABLE, req, 0);
			error = commit ? 0 : ENOMEM;
		}
	}
	pthread_mutex_unlock(&append->lock);
	if (commit)
		submit(commit);
	else if (nothing)
		sync_stream_by_loop(handle->fs, handle->slot, req); /* covers what this handle has appended */
	else
		walfs_reply_err(req, error);
}

static int truncate_draft(struct append *append, uint64_t size)
{
	uint64_t base = append->base_known ? append->base : 0;
	int r;

	if (!append->draft && (r = wal_draft_new(append->handle.slot->stream, &append->draft)) < 0)
		return r;
	if (!size) {
		/* The running offset may go on, and then so does the next entry; only before the first commit is it known to be 0. */
		append->base_known = append->base_known && !append->base;
	} else if (size < base) {
		return -EINVAL;
	}
	r = wal_draft_truncate(append->draft, size ? size - base : 0);
	if (r < 0)
		return r;
	append->made_empty = !wal_draft_size(append->draft);
	if (size) {
		append->base = base;
		append->base_known = true;
	} else {
		append->write_error = 0;
	}
	return 0;
}

static int append_truncate(struct handle *handle, uint64_t size)
{
	struct append *append = append_from(handle);
	int r;

	pthread_mutex_lock(&append->lock);
	r = append->failed ? -append->failed : truncate_draft(append, size);
	if (r < 0 && append->draft && !wal_draft_size(append->draft) && !append->made_empty)
		drop_draft(append);
	pthread_mutex_unlock(&append->lock);
	return r;
}

/*
 * The id of the last entry that this handle committed, as a line. The first READ after the commit begins it, wherever the shared offset
 * stands.
 */
static void append_read(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset)
{
	struct append *append = append_from(handle);
	char text[ENTRY_NAME_MAX + 1];
	size_t text_bytes = 0, at = 0;

	pthread_mutex_lock(&append->lock);
	if (append->committed) {
		text_bytes = (size_t)snprintf(text, sizeof(text), "%" PRIu64 "\n", append->last_id);
		if (append->unread || offset < append->read_base)
			append->read_base = offset;
		append->unread = false;
		at = offset - append->read_base < text_bytes ? offset - append->read_base : text_bytes;
	}
	pthread_mutex_unlock(&append->lock);
	fuse_reply_buf(req, text + at, text_bytes - at < size ? text_bytes - at : size);
}

static void append_release(struct handle *handle)
{
	struct append *append = append_from(handle);
	struct commit *commit = NULL;

	pthread_mutex_lock(&append->lock);
	if (append->draft && !refuse_draft(append)) {
		if (wal_draft_size(append->draft)) {
			commit = detach(append, 0, NULL, 0);
			if (!commit)
				report_dropped(append, wal_draft_size(append->draft), strerror(ENOMEM));
		}
		if (!commit)
			drop_draft(append);
	}
	pthread_mutex_unlock(&append->lock);
	if (commit)
		submit(commit);
}

/* Also comes without a release, when the mount has gone while the file was open. */
static void append_free(struct handle *handle)
{
	struct append *append = append_from(handle);

	if (append->draft && wal_draft_size(append->draft))
		report_dropped(append, wal_draft_size(append->draft), "the mount ended before the file was closed");
	wal_draft_free(append->draft);
	free(append->owners.list);
	pthread_mutex_destroy(&append->lock);
	free(append);
}

static const struct handle_ops append_ops = {
	.kind = HANDLE_NEW,
	.read = append_read,
	.write = append_write,
	.flush = append_flush,
	.fsync = append_fsync,
	.truncate = append_truncate,
	.release = append_release,
	.free = append_free,
};

void append_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi)
{
	struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES };
	struct append *append;
	struct slot *slot;
	int r;

	(void)fi; /* O_TRUNC: there is nothing to cut */
	r = slot_get(fs, node->slot, &slot);
	if (r) {
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	append = calloc(1, sizeof(*append));
	if (!append) {
		slot_put(fs, slot);
		walfs_reply_err(req, ENOMEM);
		return;
	}
	append->base_known = true;
	pthread_mutex_init(&append->lock, NULL);
	handle_init(&append->handle, &append_ops, fs, slot);
	out.fh = (uintptr_t)&append->handle;
	/*
	 * fuse_reply_open() of libfuse 3.14 knows no parallel direct writes; without them a WRITE that waits for its sync holds up all
	 * other writers.
	 */
	if (fuse_reply_buf(req, (const char *)&out, sizeof(out)) < 0)
		handle_unref(&append->handle);
}
