/* SPDX-License-Identifier: Apache-2.0 */
#include "follow_impl.h"

#include <errno.h>
#include <poll.h>

/* The notification takes no lock in the kernel that anybody could hold while waiting for an answer: it may be sent from anywhere. */
void follow_tell(struct fuse_pollhandle *poller)
{
	if (!poller)
		return;
	fuse_lowlevel_notify_poll(poller);
	fuse_pollhandle_destroy(poller);
}

struct fuse_pollhandle *follow_take_poller(struct follow *follow)
{
	struct fuse_pollhandle *poller = follow->poller;

	follow->poller = NULL;
	return poller;
}

static unsigned ready_events(struct follow *follow)
{
	bool at_end = false;
	uint64_t pos;
	int error;

	pthread_mutex_lock(&follow->parking.lock);
	pos = follow->pos;
	pthread_mutex_unlock(&follow->parking.lock);
	error = follow_end_errno(follow);
	if (error == ENOTCONN)
		return POLLIN | POLLRDNORM | POLLHUP;
	if (follow_is_at_end(follow, pos, &at_end) || !at_end || error || follow->handle.fs->ro)
		return POLLIN | POLLRDNORM;
	return 0;
}

static void poll_done(struct wal_op *op)
{
	struct follow *follow = op->arg;
	struct fuse_pollhandle *poller;

	pthread_mutex_lock(&follow->parking.lock);
	if (op->result < 0)
		follow->result = op->result;
	follow->poll_armed = follow->poll_set = false;
	poller = follow_take_poller(follow);
	pthread_mutex_unlock(&follow->parking.lock);
	follow_tell(poller);
	follow_put(follow);
}

void follow_disarm(struct follow *follow)
{
	/* Else poll_done() does it. */
	if (!wal_stream_unwatch(follow->text.stream, &follow->poll_watch))
		return;
	pthread_mutex_lock(&follow->parking.lock);
	follow->poll_armed = follow->poll_set = false;
	pthread_mutex_unlock(&follow->parking.lock);
	follow_put(follow);
}

static void arm_poll(struct follow *follow, uint64_t id)
{
	bool ended;

	follow_get(follow);
	follow->poll_watch = (struct wal_op){ .done = poll_done, .arg = follow };
	wal_stream_watch(follow->text.stream, id, &follow->poll_watch);
	pthread_mutex_lock(&follow->parking.lock);
	follow->poll_set = follow->poll_armed;
	ended = follow->ended && follow->poll_set;
	pthread_mutex_unlock(&follow->parking.lock);
	if (ended)
		follow_disarm(follow);
}

/*
 * The poller is told of the next entry even if there is something to read now: who waits for edges does not ask again before there is one. Of one open file one poller stands
 * for all.
 */
void follow_poll(struct handle *handle, fuse_req_t req, struct fuse_pollhandle *poller)
{
	struct follow *follow = follow_from(handle);
	uint64_t next = follow_next_id(follow);
	unsigned events = ready_events(follow);
	struct fuse_pollhandle *unused = poller;
	bool arm = false;

	pthread_mutex_lock(&follow->parking.lock);
	if (poller && !follow->ended && follow->result >= 0) {
		unused = follow_take_poller(follow);
		follow->poller = poller;
		arm = !follow->poll_armed;
		follow->poll_armed = true;
	}
	pthread_mutex_unlock(&follow->parking.lock);
	if (arm)
		arm_poll(follow, next);
	if (unused)
		fuse_pollhandle_destroy(unused);
	/* What ended it just now it will be told of by nobody. */
	fuse_reply_poll(req, events ? events : ready_events(follow));
}
