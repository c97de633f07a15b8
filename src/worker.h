/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads for what a request thread must not wait for: syncs, rotations, long writes. */
#ifndef WAL_WORKER_H
#define WAL_WORKER_H

#include <stddef.h>

struct workers;

/* The submitter's; left alone from workers_submit() until `run` is called, which may free or submit it again. */
struct worker_task {
	struct worker_task *next;
	void (*run)(struct worker_task *task);
};

/* Starts one thread; up to `threads_max` come while tasks wait. All signals are blocked in them. -ENOMEM, -EAGAIN. */
int workers_new(unsigned threads_max, struct workers **ret_workers);

/* Queues a task; tasks start in the order of their submission. Never fails, never blocks, may be called with locks held. */
void workers_submit(struct workers *workers, struct worker_task *task);

/*
 * Calls `work` with each index from 0 to count - 1, in this thread and up to `threads_max` - 1 others that live as long as that takes; fewer if they can't be had. The first call that
 * returns anything but 0, first by its index, ends it: what it returned is returned, all calls with a lower index have been made, none with a higher one is begun any more.
 */
int workers_for_each(unsigned threads_max, size_t count, int (*work)(void *arg, size_t index), void *arg);

/* Runs what is queued, then ends the threads. NULL is allowed. */
void workers_free(struct workers *workers);

#endif
