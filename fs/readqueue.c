/* SPDX-License-Identifier: Apache-2.0 */
#include "readqueue.h"

#include <errno.h>
#include <stdlib.h>

struct pending_read {
	struct pending_read *next;
	fuse_req_t req;
	size_t size;
	uint64_t offset;
};

static struct pending_read *pop(struct read_queue *queue)
{
	struct pending_read *pending;

	pthread_mutex_lock(&queue->lock);
	pending = queue->first;
	if (pending)
		queue->first = pending->next;
	else
		queue->busy = false;
	pthread_mutex_unlock(&queue->lock);
	return pending;
}

static void read_queue_run(struct job *job)
{
	struct read_queue *queue = handle_container(job, struct read_queue, job);
	struct handle *handle = queue->handle;
	struct walfs *fs = handle->fs;
	struct pending_read *pending;

	while ((pending = pop(queue))) {
		queue->serve(handle, pending->req, pending->size, pending->offset);
		free(pending);
		/* Where several read from one file there is always a next one. Others are not to wait until they have all they want. */
		if (pool_is_wanted(&fs->pool)) {
			pool_submit(&fs->pool, &queue->job);
			return;
		}
	}
	handle_unref(handle);
	walfs_end(fs);
}

void read_queue_init(struct read_queue *queue, struct handle *handle,
		     void (*serve)(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset))
{
	*queue = (struct read_queue){ .job = { .run = read_queue_run }, .handle = handle, .serve = serve };
	pthread_mutex_init(&queue->lock, NULL);
}

void read_queue_release(struct read_queue *queue)
{
	pthread_mutex_destroy(&queue->lock);
}

bool read_queue_is_busy(struct read_queue *queue)
{
	bool busy;

	pthread_mutex_lock(&queue->lock);
	busy = queue->busy;
	pthread_mutex_unlock(&queue->lock);
	return busy;
}

void read_queue_push(struct read_queue *queue, fuse_req_t req, size_t size, uint64_t offset)
{
	struct pending_read *pending = malloc(sizeof(*pending));
	bool was_busy;

	if (!pending) {
		if (req)
			walfs_reply_err(req, ENOMEM);
		return;
	}
	*pending = (struct pending_read){ .req = req, .size = size, .offset = offset };
	pthread_mutex_lock(&queue->lock);
	if (queue->first)
		queue->last->next = pending;
	else
		queue->first = pending;
	queue->last = pending;
	was_busy = queue->busy;
	queue->busy = true;
	pthread_mutex_unlock(&queue->lock);
	if (!was_busy) {
		walfs_begin(queue->handle->fs);
		handle_ref(queue->handle);
		pool_submit(&queue->handle->fs->pool, &queue->job);
	}
}
