/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads that wait for something to be there, in the order of their coming.
 *
 * A signal to the reader, kill -9 too, makes the kernel send an INTERRUPT, and the read is to be answered then, as the kernel waits for it. libfuse calls
 * back for that, in the loop, with a lock of the request's held; so such a read is answered by whoever has taken it out of the queue under the parking's lock, and by
 * nobody else: the one who was interrupted while someone has it out hears of that at parking_put_back().
 */
#ifndef WALFS_PARKING_H
#define WALFS_PARKING_H

#include "walfs.h"

struct parking;

struct parked_read {
	struct parked_read *next;
	struct parking *parking;
	fuse_req_t req;
	size_t size;
	bool nonblock; /* it asks not to wait */
	bool queued;
	bool interrupted;
};

struct parking {
	pthread_mutex_t lock; /* for its owner to use too; a leaf */

	/* protected by lock */
	struct parked_read *first, *last;
};

void parking_init(struct parking *parking);
void parking_release(struct parking *parking);

/* A read that is not in the queue yet. NULL: it has been answered. Called by the loop, without the lock. */
struct parked_read *parking_enter(struct parking *parking, fuse_req_t req, size_t size, bool nonblock);

/* These are called with the lock. */
void parking_push(struct parking *parking, struct parked_read *read);

/* NULL: there is none. */
struct parked_read *parking_take(struct parking *parking);

/* To the front. False: it was interrupted meanwhile, the caller still has it. */
bool parking_put_back(struct parking *parking, struct parked_read *read);

/* All of them, or those that ask not to wait, as a list by `next`. */
struct parked_read *parking_take_all(struct parking *parking);
struct parked_read *parking_take_nonblocking(struct parking *parking);

/* Answers a read that was taken out, and frees it. Without the lock. */
void parked_reply(struct parked_read *read, const char *data, size_t size);
void parked_reply_err(struct parked_read *read, int error);
void parked_reply_err_all(struct parked_read *first, int error);

#endif
