/* SPDX-License-Identifier: Apache-2.0 */
#include "follow.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdlib.h>

#include "follow_impl.h"
#include "sync.h"

void follow_get(struct follow *follow)
{
	walfs_begin(follow->handle.fs);
	handle_ref(&follow->handle);
}

void follow_put(struct follow *follow)
{
	struct walfs *fs = follow->handle.fs;

	handle_unref(&follow->handle);
	walfs_end(fs);
}

int follow_is_at_end(struct follow *follow, uint64_t pos, bool *ret_at_end)
{
	uint64_t end;
	int r;

	if (slot_is_removed(follow->handle.fs, follow->handle.slot))
		return -ENOENT;
	r = text_end(follow->text.stream, UINT64_MAX, &end);
	if (r == 0)
		*ret_at_end = pos >= end - follow->text.base;
	return r;
}

int follow_end_errno(struct follow *follow)
{
	int result;

	pthread_mutex_lock(&follow->parking.lock);
	result = follow->ended || follow->result == -ECANCELED ? -ENOTCONN : follow->result;
	pthread_mutex_unlock(&follow->parking.lock);
	return result < 0 ? -result : 0;
}

/* Whether it waits, and has waited in vain so far. */
static bool has_nothing(struct follow *follow)
{
	uint64_t id;
	bool waiting;

	pthread_mutex_lock(&follow->parking.lock);
	waiting = follow->state == FOLLOW_WAITING;
	id = follow->wait_id;
	pthread_mutex_unlock(&follow->parking.lock);
	return waiting && follow_next_id(follow) == id;
}

/*
 * A read(2) larger than what the kernel asks for at once comes as several reads, as long as each gets all it asks for; the next one would wait, though the reader has something. So
 * the largest ones get less.
 */
static size_t bytes_at_once(struct walfs *fs, size_t size)
{
	size_t half = fs->read_max / 2;

	return size > half ? half : size;
}

static void follow_read(struct handle *handle, fuse_req_t req, size_t size, int flags)
{
	struct follow *follow = follow_from(handle);
	struct parked_read *read;
	bool ended, start;

	if (flags & O_NONBLOCK && has_nothing(follow)) {
		walfs_reply_err(req, EAGAIN);
		return;
	}
	size = bytes_at_once(handle->fs, size);
	read = parking_enter(&follow->parking, req, size, flags & O_NONBLOCK);
	if (!read)
		return;
	pthread_mutex_lock(&follow->parking.lock);
	ended = follow->ended;
	start = !ended && follow->state == FOLLOW_IDLE;
	if (!ended)
		parking_push(&follow->parking, read);
	if (start)
		follow->state = FOLLOW_SERVING;
	pthread_mutex_unlock(&follow->parking.lock);
	if (ended)
		parked_reply_err(read, ENOTCONN);
	else if (start)
		follow_start(follow, size);
}

static void follow_fsync(struct handle *handle, fuse_req_t req)
{
	sync_stream(handle->fs, handle->slot, req);
}

/* ---- Opening and ending ---- */

/* Nothing waits any more. */
static void end(struct follow *follow)
{
	struct fuse_pollhandle *poller;
	struct parked_read *reads;
	bool waiting, polling;

	pthread_mutex_lock(&follow->parking.lock);
	waiting = !follow->ended && follow->state == FOLLOW_WAITING;
	polling = !follow->ended && follow->poll_set;
	follow->ended = true;
	reads = parking_take_all(&follow->parking);
	poller = follow_take_poller(follow);
	pthread_mutex_unlock(&follow->parking.lock);
	parked_reply_err_all(reads, ENOTCONN);
	follow_tell(poller);
	if (waiting)
		follow_unwatch(follow);
	if (polling)
		follow_disarm(follow);
}

/* Caller holds fs->lock. */
static void unlist(struct follow *follow)
{
	if (!follow->link)
		return;
	*follow->link = follow->next;
	if (follow->next)
		follow->next->link = follow->link;
	follow->link = NULL;
}

static void follow_release(struct handle *handle)
{
	struct follow *follow = follow_from(handle);

	/* What is listed has a reference of the kernel's. */
	pthread_mutex_lock(&handle->fs->lock);
	unlist(follow);
	pthread_mutex_unlock(&handle->fs->lock);
	end(follow);
}

void follow_stop(struct walfs *fs)
{
	struct follow *follow;

	do {
		pthread_mutex_lock(&fs->lock);
		fs->follow_stopped = true;
		follow = fs->follows;
		if (follow) {
			unlist(follow);
			handle_ref(&follow->handle);
		}
		pthread_mutex_unlock(&fs->lock);
		if (follow) {
			end(follow);
			handle_unref(&follow->handle);
		}
	} while (follow);
}

static void follow_free(struct handle *handle)
{
	struct follow *follow = follow_from(handle);

	text_release(&follow->text);
	parking_release(&follow->parking);
	free(follow);
}

static const struct handle_ops follow_ops = {
	.kind = HANDLE_FOLLOW,
	.read_next = follow_read,
	.poll = follow_poll,
	.fsync = follow_fsync,
	.release = follow_release,
	.free = follow_free,
};

static void enlist(struct walfs *fs, struct follow *follow)
{
	pthread_mutex_lock(&fs->lock);
	follow->ended = fs->follow_stopped;
	if (!follow->ended) {
		follow->next = fs->follows;
		follow->link = &fs->follows;
		if (follow->next)
			follow->next->link = &follow->next;
		fs->follows = follow;
	}
	pthread_mutex_unlock(&fs->lock);
}

static int find_text(struct slot *slot, struct follow *follow)
{
	uint64_t next;

	slot_bounds(slot, NULL, &next);
	return follow->start_id > next ? WAL_NOT_FOUND : text_init(&follow->text, slot->stream, follow->start_id, UINT64_MAX);
}

void follow_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi)
{
	struct fuse_open_out out = { .open_flags = FOPEN_DIRECT_IO | FOPEN_NONSEEKABLE | FOPEN_STREAM | FOPEN_NOFLUSH };
	struct follow *follow;
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
	follow = calloc(1, sizeof(*follow));
	if (follow)
		follow->start_id = node->number;
	r = follow ? find_text(slot, follow) : -ENOMEM;
	if (r) {
		free(follow);
		slot_put(fs, slot);
		walfs_reply_err(req, r == WAL_PRUNED ? ESTALE : walfs_errno(r));
		return;
	}
	parking_init(&follow->parking);
	handle_init(&follow->handle, &follow_ops, fs, slot);
	enlist(fs, follow);
	out.fh = (uintptr_t)&follow->handle;
	/*
	 * fuse_reply_open() of libfuse 3.14 knows no streams. Without it a read that waits holds the lock of the file's position, and others at the
	 * same open file could not be interrupted.
	 */
	if (fuse_reply_buf(req, (const char *)&out, sizeof(out)) < 0) {
		follow_release(&follow->handle);
		handle_unref(&follow->handle);
	}
}
