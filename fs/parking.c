/* SPDX-License-Identifier: Apache-2.0 */
#include "parking.h"

#include <errno.h>
#include <stdlib.h>

void parking_init(struct parking *parking)
{
	*parking = (struct parking){ 0 };
	pthread_mutex_init(&parking->lock, NULL);
}

void parking_release(struct parking *parking)
{
	pthread_mutex_destroy(&parking->lock);
}

static bool unqueue(struct parking *parking, struct parked_read *read)
{
	struct parked_read **link = &parking->first, *before = NULL;

	if (!read->queued)
		return false;
	for (; *link != read; link = &before->next)
		before = *link;
	*link = read->next;
	if (parking->last == read)
		parking->last = before;
	read->queued = false;
	return true;
}

/* In the loop, with a reference of libfuse's on the request, which so outlives its answer. */
static void on_interrupt(fuse_req_t req, void *data)
{
	struct parked_read *read = data;
	struct parking *parking = read->parking;
	bool mine;

	pthread_mutex_lock(&parking->lock);
	read->interrupted = true;
	mine = unqueue(parking, read);
	pthread_mutex_unlock(&parking->lock);
	if (!mine)
		return;
	walfs_reply_err(req, EINTR);
	free(read);
}

struct parked_read *parking_enter(struct parking *parking, fuse_req_t req, size_t size, bool nonblock)
{
	struct parked_read *read;

	/* Before on_interrupt() is registered: that would be called at once, and without a reference. From here to there no INTERRUPT is read. */
	if (fuse_req_interrupted(req)) {
		walfs_reply_err(req, EINTR);
		return NULL;
	}
	read = malloc(sizeof(*read));
	if (!read) {
		walfs_reply_err(req, ENOMEM);
		return NULL;
	}
	*read = (struct parked_read){ .parking = parking, .req = req, .size = size, .nonblock = nonblock };
	fuse_req_interrupt_func(req, on_interrupt, read);
	return read;
}

void parking_push(struct parking *parking, struct parked_read *read)
{
	read->next = NULL;
	read->queued = true;
	if (parking->first)
		parking->last->next = read;
	else
		parking->first = read;
	parking->last = read;
}

struct parked_read *parking_take(struct parking *parking)
{
	struct parked_read *read = parking->first;

	if (read)
		unqueue(parking, read);
	return read;
}

bool parking_put_back(struct parking *parking, struct parked_read *read)
{
	if (read->interrupted)
		return false;
	read->next = parking->first;
	read->queued = true;
	parking->first = read;
	if (!read->next)
		parking->last = read;
	return true;
}

static struct parked_read *take_those(struct parking *parking, bool all)
{
	struct parked_read *taken = NULL, **end = &taken, *read, *next;

	for (read = parking->first; read; read = next) {
		next = read->next;
		if (!all && !read->nonblock)
			continue;
		unqueue(parking, read);
		read->next = NULL;
		*end = read;
		end = &read->next;
	}
	return taken;
}

struct parked_read *parking_take_all(struct parking *parking)
{
	return take_those(parking, true);
}

struct parked_read *parking_take_nonblocking(struct parking *parking)
{
	return take_those(parking, false);
}

/* Waits for an on_interrupt() that is under way, which finds the read taken; there is none after that. */
static void leave(struct parked_read *read)
{
	fuse_req_interrupt_func(read->req, NULL, NULL);
}

void parked_reply(struct parked_read *read, const char *data, size_t size)
{
	leave(read);
	fuse_reply_buf(read->req, data, size);
	free(read);
}

void parked_reply_err(struct parked_read *read, int error)
{
	leave(read);
	walfs_reply_err(read->req, error);
	free(read);
}

void parked_reply_err_all(struct parked_read *first, int error)
{
	struct parked_read *next;

	for (; first; first = next) {
		next = first->next;
		parked_reply_err(first, error);
	}
}
