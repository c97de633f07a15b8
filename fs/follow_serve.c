/* SPDX-License-Identifier: Apache-2.0 */
#include "follow_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* ---- Waiting ---- */

static void watch_done(struct wal_op *op)
{
	struct follow *follow = op->arg;
	bool serve;

	pthread_mutex_lock(&follow->parking.lock);
	if (op->result < 0)
		follow->result = op->result;
	if (follow->state == FOLLOW_SERVING) {
		follow->fired = true;
		pthread_mutex_unlock(&follow->parking.lock);
		return;
	}
	serve = follow->parking.first;
	follow->state = serve ? FOLLOW_SERVING : FOLLOW_IDLE;
	pthread_mutex_unlock(&follow->parking.lock);
	if (serve)
		pool_submit(&follow->handle.fs->pool, &follow->job);
	else
		follow_put(follow);
}

void follow_unwatch(struct follow *follow)
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
	may = !follow->ended && follow->result >= 0 && follow->parking.first;
	pthread_mutex_unlock(&follow->parking.lock);
	return may;
}

/* The text has no more than what the entries below `id` hold. False: it waits, or has come to its end: it is not the caller's any more. */
static bool wait_for(struct follow *follow, uint64_t id)
{
	bool fired, ended;

	text_rest(&follow->text);
	if (follow_next_id(follow) == id)
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
		follow_unwatch(follow);
	else if (!fired && follow_next_id(follow) == id)
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

/* A read that has come to the end, where nothing was known to be beyond the entries below `id`. */
static bool wait_with(struct follow *follow, struct parked_read *read, uint64_t id)
{
	int error = follow_end_errno(follow);

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
	uint64_t next = follow_next_id(follow);
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

/* Serves one. False: it is not the caller's any more. */
static bool serve_next(struct follow *follow)
{
	struct parked_read *read;

	pthread_mutex_lock(&follow->parking.lock);
	read = parking_take(&follow->parking);
	if (!read)
		follow->state = FOLLOW_IDLE;
	pthread_mutex_unlock(&follow->parking.lock);
	if (read)
		return serve_read(follow, read);
	follow_put(follow);
	return false;
}

/* In the pool. While the reader is busy with what it got, the next is fetched; one that has got all is to keep no memory. */
static void follow_run(struct job *job)
{
	struct follow *follow = handle_container(job, struct follow, job);

	while (serve_next(follow)) {
		text_read_ahead(&follow->text);
		if (!text_is_ready(&follow->text, 1, follow->pos))
			text_rest(&follow->text);
		if (pool_is_wanted(&follow->handle.fs->pool)) {
			pool_submit(&follow->handle.fs->pool, &follow->job);
			return;
		}
	}
}

/* Whether there is only little to do for the first read, and nothing that may wait for the disk. */
static bool is_quick(struct follow *follow, size_t size)
{
	bool at_end = false;

	return text_is_ready(&follow->text, size, follow->pos) || follow_is_at_end(follow, follow->pos, &at_end) < 0 || at_end;
}

void follow_start(struct follow *follow, size_t size)
{
	bool quick = is_quick(follow, size);
	bool more;

	follow_get(follow);
	follow->job.run = follow_run;
	if (quick && !serve_next(follow))
		return;
	pthread_mutex_lock(&follow->parking.lock);
	more = !quick || follow->parking.first;
	if (!more)
		follow->state = FOLLOW_IDLE;
	pthread_mutex_unlock(&follow->parking.lock);
	if (more)
		pool_submit(&follow->handle.fs->pool, &follow->job);
	else
		follow_put(follow);
}
