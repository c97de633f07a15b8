/* SPDX-License-Identifier: Apache-2.0 */
#include "turns.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void turns_init(struct turns *turns, struct handle *handle, void (*run)(struct handle *handle, const struct turn *turn))
{
	*turns = (struct turns){ .handle = handle, .run = run, .last = &turns->first };
	pthread_mutex_init(&turns->lock, NULL);
}

void turns_release(struct turns *turns)
{
	pthread_mutex_destroy(&turns->lock);
}

static void run_job(struct job *job)
{
	struct turn *turn = (struct turn *)job;
	struct turns *turns = turn->turns;

	turns->run(turns->handle, turn);
	free(turn);
}

static struct turn *copy_turn(struct turns *turns, const struct turn *turn)
{
	struct turn *copy = malloc(sizeof(*copy) + turn->size);

	if (!copy)
		return NULL;
	*copy = *turn;
	copy->job.run = run_job;
	copy->turns = turns;
	copy->next = NULL;
	copy->data = (const char *)(copy + 1);
	if (turn->size)
		memcpy(copy + 1, turn->data, turn->size);
	return copy;
}

void turns_submit(struct turns *turns, const struct turn *turn)
{
	struct handle *handle = turns->handle;
	struct turn *copy = NULL;
	bool busy;

	walfs_begin(handle->fs);
	handle_ref(handle);
	pthread_mutex_lock(&turns->lock);
	busy = turns->busy;
	if (busy) {
		copy = copy_turn(turns, turn);
		if (copy) {
			*turns->last = copy;
			turns->last = &copy->next;
		}
	}
	turns->busy = true;
	pthread_mutex_unlock(&turns->lock);
	if (!busy) {
		turns->run(handle, turn);
		return;
	}
	if (copy)
		return;
	if (turn->req)
		walfs_reply_err(turn->req, ENOMEM);
	handle_unref(handle);
	walfs_end(handle->fs);
}

void turns_answer(struct turns *turns, fuse_req_t req, int error, size_t written)
{
	struct handle *handle = turns->handle;
	struct walfs *fs = handle->fs;
	struct turn *turn;

	/* Before the answer: who gets it writes the next line at once, and that should not have to be queued. */
	pthread_mutex_lock(&turns->lock);
	turn = turns->first;
	if (turn) {
		turns->first = turn->next;
		if (!turns->first)
			turns->last = &turns->first;
	} else {
		turns->busy = false;
	}
	pthread_mutex_unlock(&turns->lock);
	if (turn)
		pool_submit(&fs->pool, &turn->job);
	if (req && written && !error)
		fuse_reply_write(req, written);
	else if (req)
		walfs_reply_err(req, error);
	handle_unref(handle);
	walfs_end(fs);
}
