/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names of pruned entries. The kernel was told to remember them for long, so it has to be told to forget them.
 *
 * A notification takes the lock of the directory. Who holds that may be waiting for an answer of the loop's: so neither the loop nor a
 * pool, whose jobs may run inside the loop, can send one, and there is a thread for it, made at the first prune. When a signal makes the loop leave, and
 * nobody will be answered any more, the thread has to have stopped before: expire_stop().
 */
#ifndef WALFS_EXPIRE_H
#define WALFS_EXPIRE_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct walfs;

/* Entries [from, to) of a stream. */
struct expire_range {
	uint32_t slot;
	uint64_t from, to;
};

/* Some of them. */
struct expire_job {
	struct expire_job *next;
	void (*done)(void *arg, int result); /* NULL: has been called */
	void *arg;
	int result;
	size_t at, count; /* ranges[at] is the next */
	struct expire_range ranges[];
};

struct expire {
	pthread_mutex_t lock;
	pthread_cond_t changed;

	/* protected by lock */
	struct expire_job *first, *last;
	pthread_t thread;
	bool started;
	bool busy; /* the thread is sending */
	bool stopped;
};

void expire_init(struct expire *expire);

/* A job for `count` ranges, all zero. NULL: out of memory. */
struct expire_job *expire_job_new(size_t count);

/*
 * Calls done(arg, result) when the names are forgotten, or of many the first 10,000, or after 5 seconds: the rest goes on after that, and ends with the mount. Takes over
 * `job`. From any thread; `done` is called by this one or another.
 */
void expire_submit(struct walfs *fs, struct expire_job *job, void (*done)(void *arg, int result), void *arg, int result);

/* No more notifications from when it returns. Waits for the one that is being sent; so either the loop is running, or the mount has ended. */
void expire_stop(struct expire *expire);

/* After the last expire_submit(). */
void expire_release(struct expire *expire);

#endif
