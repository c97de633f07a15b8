/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of a handle that are left to the pool.
 *
 * What a handle reads with is used by one thread at a time. While its queue is idle that is the loop; a read that may be slow is pushed, and
 * until the pool has answered it and all that came in behind it, every read of this handle goes to the queue.
 */
#ifndef WALFS_READQUEUE_H
#define WALFS_READQUEUE_H

#include "handle.h"

struct pending_read;

struct read_queue {
	struct job job;
	struct handle *handle;
	void (*serve)(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset); /* answers a read; called in the order of the pushes, one at a time */
	pthread_mutex_t lock;

	/* protected by lock */
	bool busy;
	struct pending_read *first, *last;
};

/* For a queue inside of what `handle` is embedded in. */
void read_queue_init(struct read_queue *queue, struct handle *handle,
		     void (*serve)(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset));
void read_queue_release(struct read_queue *queue);

/* Whether the pool is at it. Nobody else can make it so than the loop, which asks. */
bool read_queue_is_busy(struct read_queue *queue);

/* Has the read served by the pool. Called by the loop. `req` may be NULL, for what `serve` does of its own accord: then it may be dropped if there is no memory. */
void read_queue_push(struct read_queue *queue, fuse_req_t req, size_t size, uint64_t offset);

#endif
