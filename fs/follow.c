/* SPDX-License-Identifier: Apache-2.0 */
#include "follow.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdlib.h>

#include "handle.h"
#include "parking.h"
#include "sync.h"
#include "text.h"

enum follow_state {
	FOLLOW_IDLE,
	FOLLOW_SERVING,
	FOLLOW_WAITING,
};

struct follow {
	struct handle handle;
	uint64_t start_id;
	struct parking parking;

	/* protected by parking.lock */
	enum follow_state state;
	bool ended;    /* closed, or the mount ends */
	bool fired;    /* the watch has called back before the one who set it up was done */
	int result;    /* what the watch said last; if it is negative, nothing more will come */
	uint64_t pos;  /* in the text, of the next byte; moved by who serves */
	uint64_t wait_id; /* waiting: for this one */
	struct fuse_pollhandle *poller; /* somebody is to be told; not when idle */

	/* of who serves */
	struct text text;
	struct job job;
	struct wal_op watch;

	struct follow *next, **link; /* in fs->follows, protected by fs->lock */
};

static struct follow *follow_from(struct handle *handle)
{
	return handle_container(handle, struct follow, handle);
}

/* While it is not idle. */
static void follow_get(struct follow *follow)
{
	walfs_begin(follow->handle.fs);
	handle_ref(&follow->handle);
}

static void follow_put(struct follow *follow)
{
	struct walfs *fs = follow->handle.fs;

	handle_unref(&follow->handle);
	walfs_end(fs);
}

static uint64_t next_id(const struct follow *follow)
{
	uint64_t next;

	wal_stream_bounds(follow->text.stream, NULL, &next, NULL);
	return next;
}

/* The notification takes no lock in the kernel that anybody could hold while waiting for an answer: it may be sent from anywhere. */
static void tell_poller(struct fuse_pollhandle *poller)
{
	if (!poller)
		return;
	fuse_lowlevel_notify_poll(poller);
	fuse_pollhandle_destroy(poller);
}

/* Caller holds the lock. */
static struct fuse_pollhandle *take_poller(struct follow *follow)
{
	struct fuse_pollhandle *poller = follow->poller;

	follow->poller = NULL;
	return poller;
}

/* Whether the text ends at `pos` now. */
static int is_at_end(struct follow *follow, uint64_t pos, bool *ret_at_end)
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

/* ---- Waiting ---- */

static void follow_run(struct job *job);

static void watch_done(struct wal_op *op)
{
	struct follow *follow = op->arg;
	struct fuse_pollhandle *poller;
	bool serve;

	pthread_mutex_lock(&follow->parking.lock);
	follow->result = op->result;
	if (follow->state == FOLLOW_SERVING) {
		follow->fired = true;
		pthread_mutex_unlock(&follow->parking.lock);
		return;
	}
	poller = take_poller(follow);
	serve = follow->parking.first;
	follow->state = serve ? FOLLOW_SERVING : FOLLOW_IDLE;
	pthread_mutex_unlock(&follow->parking.lock);
	tell_poller(poller);
	if (serve)
		pool_submit(&follow->handle.fs->pool, &follow->job);
	else
		follow_put(follow);
}

/* It waits, and is not to. */
static void unwatch(struct follow *follow)
{
	/* Else watch_done() ends it. */
	if (!wal_stream_unwatch(follow->text.stream, &follow->watch))
		return;
	pthread_mutex_lock(&follow->parking.lock);
	follow->state = FOLLOW_IDLE;
	pthread_mutex_unlock(&follow->parking.lock);
	follow_put(follow);
}

static void refuse_nonblocking(struct follow *follow)
{
	struct parked_read *reads;

	pthread_mutex_lock(&follow->parking.lock);
	reads = parking_take_nonblocking(&follow->parking);
	pthread_mutex_unlock(&follow->parking.lock);
	parked_reply_err_all(reads, EAGAIN);
}

/* Whether somebody is there to wait; if not so, or if there is no use in it, serving goes on. */
static bool may_wait(struct follow *follow)
{
	bool may;

	pthread_mutex_lock(&follow->parking.lock);
	follow->fired = false;
	may = !follow->ended && follow->result >= 0 && (follow->parking.first || follow->poller);
	pthread_mutex_unlock(&follow->parking.lock);
	return may;
}

/* The text has no more than what the entries below `id` hold. False: it waits, or has come to its end: it is not the caller's any more. */
static bool wait_for(struct follow *follow, uint64_t id)
{
	bool fired, ended;

	text_rest(&follow->text);
	if (next_id(follow) == id)
		refuse_nonblocking(follow);
	if (!may_wait(follow))
		return true;
	follow->watch = (struct wal_op){ .done = watch_done, .arg = follow };
	wal_stream_watch(follow->text.stream, id, &follow->watch);
	follow_get(follow); /* once it is said to be waiting, it may end */
	pthread_mutex_lock(&follow->parking.lock);
	fired = follow->fired;
	ended = follow->ended;
	if (!fired) {
		follow->state = FOLLOW_WAITING;
		follow->wait_id = id;
	}
	pthread_mutex_unlock(&follow->parking.lock);
	if (!fired && ended)
		unwatch(follow);
	else if (!fired && next_id(follow) == id)
		refuse_nonblocking(follow); /* those that came just now */
	follow_put(follow);
	return fired;
}

/* ---- Serving ---- */

/* Something is in the way, and what is behind it comes next. */
static void report_obstacle(struct follow *follow, int result)
{
	uint64_t pos;
	int r = text_skip(&follow->text, result, follow->pos, &pos);

	if (result == WAL_PRUNED)
		report_line(follow->handle.fs->report, WAL_LOG_WARNING,
			    "stream '%s': a follower from id %" PRIu64 " on was too slow, what it had not read has been pruned", follow->handle.slot->name, follow->start_id);
	if (r)
		return;
	pthread_mutex_lock(&follow->parking.lock);
	follow->pos = pos;
	pthread_mutex_unlock(&follow->parking.lock);
}

/* At the end. 0: more may come. */
static int end_errno(struct follow *follow)
{
	int result;

	pthread_mutex_lock(&follow->parking.lock);
	result = follow->ended || follow->result == -ECANCELED ? -ENOTCONN : follow->result;
	pthread_mutex_unlock(&follow->parking.lock);
	return result < 0 ? -result : 0;
}

/* A read that has come to the end, where nothing was known to be beyond the entries below `id`. */
static bool wait_with(struct follow *follow, struct parked_read *read, uint64_t id)
{
	int error = end_errno(follow);

	if (follow->handle.fs->ro && !error) {
		parked_reply(read, NULL, 0);
		return true;
	}
	if (!error) {
		pthread_mutex_lock(&follow->parking.lock);
		if (follow->ended)
			error = ENOTCONN;
		else if (!parking_put_back(&follow->parking, read))
			error = EINTR;
		pthread_mutex_unlock(&follow->parking.lock);
	}
	if (error) {
		parked_reply_err(read, error);
		return true;
	}
	return wait_for(follow, id);
}

static bool serve_read(struct follow *follow, struct parked_read *read)
{
	uint64_t next = next_id(follow);
	size_t done = 0;
	char *data;
	int r;

	if (slot_is_removed(follow->handle.fs, follow->handle.slot)) {
		parked_reply_err(read, ENOENT);
		return true;
	}
	data = malloc(read->size + 1);
	r = data ? text_read(&follow->text, data, read->size, follow->pos, &done) : -ENOMEM;
	if (r) {
		if (r == WAL_PRUNED || r == -EBADMSG)
			report_obstacle(follow, r);
		parked_reply_err(read, r == WAL_PRUNED ? ESTALE : walfs_errno(r));
	} else if (done || !read->size) {
		pthread_mutex_lock(&follow->parking.lock);
		follow->pos += done;
		pthread_mutex_unlock(&follow->parking.lock);
		parked_reply(read, data, done);
	}
	free(data);
	return r || done || !read->size || wait_with(follow, read, next);
}

static bool serve_poller(struct follow *follow)
{
	struct fuse_pollhandle *poller = NULL;
	uint64_t next = next_id(follow);
	bool at_end = false;

	if (is_at_end(follow, follow->pos, &at_end) == 0 && at_end && !end_errno(follow))
		return wait_for(follow, next);
	pthread_mutex_lock(&follow->parking.lock);
	poller = take_poller(follow);
	pthread_mutex_unlock(&follow->parking.lock);
	tell_poller(poller);
	return true;
}

/* Serves one. False: it is not the caller's any more. */
static bool serve_next(struct follow *follow)
{
	struct parked_read *read;
	bool idle;

	pthread_mutex_lock(&follow->parking.lock);
	read = parking_take(&follow->parking);
	idle = !read && !follow->poller;
	if (idle)
		follow->state = FOLLOW_IDLE;
	pthread_mutex_unlock(&follow->parking.lock);
	if (idle) {
		follow_put(follow);
		return false;
	}
	return read ? serve_read(follow, read) : serve_poller(follow);
}

/* In the pool. While the reader is busy with what it got, the next is fetched; one that has got all is to keep no memory. */
static void follow_run(struct job *job)
{
	struct follow *follow = handle_container(job, struct follow, job);

	while (serve_next(follow)) {
		text_read_ahead(&follow->text);
		if (!text_is_ready(&follow->text, 1, follow->pos))
			text_rest(&follow->text);
	}
}

/* Whether there is only little to do for the first read, and nothing that may wait for the disk. */
static bool is_quick(struct follow *follow, size_t size)
{
	bool at_end = false;

	return text_is_ready(&follow->text, size, follow->pos) || is_at_end(follow, follow->pos, &at_end) < 0 || at_end;
}

/* In the loop: it was idle. */
static void start_serving(struct follow *follow, bool quick)
{
	bool more;

	follow_get(follow);
	if (quick && !serve_next(follow))
		return;
	pthread_mutex_lock(&follow->parking.lock);
	more = !quick || follow->parking.first || follow->poller;
	if (!more)
		follow->state = FOLLOW_IDLE;
	pthread_mutex_unlock(&follow->parking.lock);
	if (more)
		pool_submit(&follow->handle.fs->pool, &follow->job);
	else
		follow_put(follow);
}

/* ---- Requests ---- */

/* Whether it waits, and has waited in vain so far. */
static bool has_nothing(struct follow *follow)
{
	uint64_t id;
	bool waiting;

	pthread_mutex_lock(&follow->parking.lock);
	waiting = follow->state == FOLLOW_WAITING;
	id = follow->wait_id;
	pthread_mutex_unlock(&follow->parking.lock);
	return waiting && next_id(follow) == id;
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
		fuse_reply_err(req, EAGAIN);
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
		start_serving(follow, is_quick(follow, size));
}

/* Caller holds no lock. */
static unsigned ready_events(struct follow *follow)
{
	bool at_end = false;
	uint64_t pos;
	int error;

	pthread_mutex_lock(&follow->parking.lock);
	pos = follow->pos;
	pthread_mutex_unlock(&follow->parking.lock);
	error = end_errno(follow);
	if (error == ENOTCONN)
		return POLLIN | POLLRDNORM | POLLHUP;
	if (is_at_end(follow, pos, &at_end) || !at_end || error || follow->handle.fs->ro)
		return POLLIN | POLLRDNORM;
	return 0;
}

static void follow_poll(struct handle *handle, fuse_req_t req, struct fuse_pollhandle *poller)
{
	struct follow *follow = follow_from(handle);
	unsigned events = ready_events(follow);
	bool start = false;

	if (!events && poller) {
		struct fuse_pollhandle *before;

		pthread_mutex_lock(&follow->parking.lock);
		before = take_poller(follow); /* of the same open file: one is enough */
		if (!follow->ended) {
			follow->poller = poller;
			poller = NULL;
			start = follow->state == FOLLOW_IDLE;
		}
		if (start)
			follow->state = FOLLOW_SERVING;
		pthread_mutex_unlock(&follow->parking.lock);
		if (before)
			fuse_pollhandle_destroy(before);
		if (start)
			start_serving(follow, true);
	}
	/* Not kept: there is something, or the end came in between. */
	tell_poller(poller);
	fuse_reply_poll(req, events);
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
	bool waiting;

	pthread_mutex_lock(&follow->parking.lock);
	waiting = !follow->ended && follow->state == FOLLOW_WAITING;
	follow->ended = true;
	reads = parking_take_all(&follow->parking);
	poller = take_poller(follow);
	pthread_mutex_unlock(&follow->parking.lock);
	parked_reply_err_all(reads, ENOTCONN);
	tell_poller(poller);
	if (waiting)
		unwatch(follow);
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
		fuse_reply_err(req, EACCES);
		return;
	}
	r = slot_get(fs, node->slot, &slot);
	if (r) {
		fuse_reply_err(req, walfs_errno(r));
		return;
	}
	follow = calloc(1, sizeof(*follow));
	if (follow)
		follow->start_id = node->number;
	r = follow ? find_text(slot, follow) : -ENOMEM;
	if (r) {
		free(follow);
		slot_put(fs, slot);
		fuse_reply_err(req, r == WAL_PRUNED ? ESTALE : walfs_errno(r));
		return;
	}
	follow->job.run = follow_run;
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
