/* SPDX-License-Identifier: Apache-2.0 */
#include "pool.h"

#include <stddef.h>

void pool_init(struct pool *pool, unsigned threads_max)
{
	*pool = (struct pool){ .threads_max = threads_max };
	pthread_mutex_init(&pool->lock, NULL);
	pthread_cond_init(&pool->wake, NULL);
}

static void *pool_thread(void *arg)
{
	struct pool *pool = arg;

	pthread_mutex_lock(&pool->lock);
	for (;;) {
		struct job *job = pool->first;

		if (!job && pool->stopping)
			break;
		if (!job) {
			pool->idle_count++;
			pthread_cond_wait(&pool->wake, &pool->lock);
			pool->idle_count--;
			continue;
		}
		pool->first = job->next;
		pool->queued_count--;
		pthread_mutex_unlock(&pool->lock);
		job->run(job);
		pthread_mutex_lock(&pool->lock);
	}
	pthread_mutex_unlock(&pool->lock);
	return NULL;
}

void pool_submit(struct pool *pool, struct job *job)
{
	bool alone;

	job->next = NULL;
	pthread_mutex_lock(&pool->lock);
	/* A thread counts as idle until it has taken the job it was woken for. */
	if (pool->queued_count >= pool->idle_count && pool->threads_count < pool->threads_max &&
	    !pthread_create(&pool->threads[pool->threads_count], NULL, pool_thread, pool))
		pool->threads_count++;
	alone = !pool->threads_count;
	if (!alone) {
		if (pool->first)
			pool->last->next = job;
		else
			pool->first = job;
		pool->last = job;
		pool->queued_count++;
		pthread_cond_signal(&pool->wake);
	}
	pthread_mutex_unlock(&pool->lock);
	if (alone)
		job->run(job);
}

bool pool_is_wanted(struct pool *pool)
{
	bool wanted;

	pthread_mutex_lock(&pool->lock);
	wanted = pool->first;
	pthread_mutex_unlock(&pool->lock);
	return wanted;
}

void pool_release(struct pool *pool)
{
	pthread_mutex_lock(&pool->lock);
	pool->stopping = true;
	pthread_cond_broadcast(&pool->wake);
	pthread_mutex_unlock(&pool->lock);
	for (unsigned i = 0; i < pool->threads_count; i++)
		pthread_join(pool->threads[i], NULL);
	pthread_cond_destroy(&pool->wake);
	pthread_mutex_destroy(&pool->lock);
}
