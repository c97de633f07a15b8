/* SPDX-License-Identifier: Apache-2.0 */
#include "expire.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "namespace.h"
#include "walfs.h"

enum {
	PIECE_IDS = 10000, /* about 20 ms, */
	PIECE_SECONDS = 5, /* unless many list the directory all the time: each notification has to get its lock */
};

void expire_init(struct expire *expire)
{
	*expire = (struct expire){ 0 };
	pthread_mutex_init(&expire->lock, NULL);
	pthread_cond_init(&expire->changed, NULL);
}

struct expire_job *expire_job_new(size_t count)
{
	struct expire_job *job = calloc(1, sizeof(*job) + count * sizeof(*job->ranges));

	if (job)
		job->count = count;
	return job;
}

/* False when told to stop. */
static bool may_send(struct expire *expire)
{
	bool may;

	pthread_mutex_lock(&expire->lock);
	may = !expire->stopped;
	expire->busy = may;
	pthread_mutex_unlock(&expire->lock);
	return may;
}

static void has_sent(struct expire *expire)
{
	pthread_mutex_lock(&expire->lock);
	expire->busy = false;
	if (expire->stopped)
		pthread_cond_broadcast(&expire->changed);
	pthread_mutex_unlock(&expire->lock);
}

/* False if there is nobody any more to be told. */
static bool forget_name(struct walfs *fs, uint32_t slot, uint64_t id)
{
	struct node stream = { .kind = NODE_STREAM, .slot = slot };
	char name[ENTRY_NAME_MAX];
	int r;

	entry_name(id, name);
	if (!may_send(&fs->expire))
		return false;
	r = fuse_lowlevel_notify_inval_entry(fs->session, node_pack(&stream), name, ENTRY_NAME_MAX - 1);
	has_sent(&fs->expire);
	/* ENOENT: not remembered. ENOTDIR, ENOTEMPTY, EBUSY: not of this file system's making. */
	return r != -ENODEV && r != -ENOTCONN && r != -EBADF;
}

static time_t seconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

/* Whether there is more to do. */
static bool do_piece(struct walfs *fs, struct expire_job *job)
{
	time_t end = seconds() + PIECE_SECONDS;
	unsigned left = PIECE_IDS;

	for (; job->at < job->count; job->at++) {
		struct expire_range *range = &job->ranges[job->at];

		for (; range->from < range->to && range->from < NODE_NUMBERS_MAX; range->from++, left--) {
			if (!left || seconds() >= end)
				return true;
			if (!forget_name(fs, range->slot, range->from))
				return false;
		}
	}
	return false;
}

static void finish(struct expire_job *job)
{
	if (job->done)
		job->done(job->arg, job->result);
	job->done = NULL;
}

/* Caller holds expire->lock. */
static void queue(struct expire *expire, struct expire_job *job)
{
	job->next = NULL;
	if (expire->first)
		expire->last->next = job;
	else
		expire->first = job;
	expire->last = job;
}

static struct expire_job *take(struct expire *expire)
{
	struct expire_job *job;

	pthread_mutex_lock(&expire->lock);
	while (!expire->first && !expire->stopped)
		pthread_cond_wait(&expire->changed, &expire->lock);
	job = expire->first;
	if (job)
		expire->first = job->next;
	pthread_mutex_unlock(&expire->lock);
	return job;
}

/* What is not finished in one piece goes to the end of the queue: no write waits for more than a piece of each other. */
static void *expire_thread(void *arg)
{
	struct walfs *fs = arg;
	struct expire_job *job;
	bool more;

	while ((job = take(&fs->expire))) {
		more = do_piece(fs, job);
		finish(job);
		if (more) {
			pthread_mutex_lock(&fs->expire.lock);
			queue(&fs->expire, job);
			pthread_mutex_unlock(&fs->expire.lock);
		} else {
			free(job);
		}
	}
	return NULL;
}

static bool is_empty(const struct expire_job *job)
{
	for (size_t i = 0; i < job->count; i++)
		if (job->ranges[i].from < job->ranges[i].to)
			return false;
	return true;
}

void expire_submit(struct walfs *fs, struct expire_job *job, void (*done)(void *arg, int result), void *arg, int result)
{
	struct expire *expire = &fs->expire;
	bool queued = false;
	int error = 0;

	job->done = done;
	job->arg = arg;
	job->result = result;
	if (!is_empty(job)) {
		pthread_mutex_lock(&expire->lock);
		if (!expire->stopped && !expire->started) {
			error = pthread_create(&expire->thread, NULL, expire_thread, fs);
			expire->started = !error;
		}
		queued = expire->started && !expire->stopped;
		if (queued) {
			queue(expire, job);
			pthread_cond_broadcast(&expire->changed);
		}
		pthread_mutex_unlock(&expire->lock);
	}
	if (error)
		report_line(fs->report, WAL_LOG_WARNING, "pruned entries may still seem to be there, no thread to tell the kernel: %s", wal_strerror(-error));
	if (!queued) {
		finish(job);
		free(job);
	}
}

void expire_stop(struct expire *expire)
{
	pthread_mutex_lock(&expire->lock);
	expire->stopped = true;
	pthread_cond_broadcast(&expire->changed);
	while (expire->busy)
		pthread_cond_wait(&expire->changed, &expire->lock);
	pthread_mutex_unlock(&expire->lock);
}

void expire_release(struct expire *expire)
{
	expire_stop(expire);
	if (expire->started)
		pthread_join(expire->thread, NULL);
	pthread_cond_destroy(&expire->changed);
	pthread_mutex_destroy(&expire->lock);
}
