/* SPDX-License-Identifier: Apache-2.0 */
/* A few threads for what may wait for the disk: long reads, mkdir, rmdir, sync of the store. They are started when first needed. */
#ifndef WALFS_POOL_H
#define WALFS_POOL_H

#include <pthread.h>
#include <stdbool.h>

enum {
	POOL_THREADS_MAX = 2,
};

/* Embedded in what is to be done. `run` may free it. */
struct job {
	struct job *next;
	void (*run)(struct job *job);
};

struct pool {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	unsigned threads_max; /* 0: jobs run inside pool_submit() */

	/* protected by lock */
	pthread_t threads[POOL_THREADS_MAX];
	unsigned threads_count;
	unsigned idle_count;
	unsigned queued_count;
	struct job *first, *last;
	bool stopping;
};

/* `threads_max` is at most POOL_THREADS_MAX. */
void pool_init(struct pool *pool, unsigned threads_max);

/* Runs the job soon, jobs being begun in the order of their submission. If no thread can be had it is run here. */
void pool_submit(struct pool *pool, struct job *job);

/* Whether a job waits for a thread: one that may go on for long submits itself again then, and returns. */
bool pool_is_wanted(struct pool *pool);

/* Runs what was submitted and ends the threads. */
void pool_release(struct pool *pool);

#endif
