/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

#include "cleanup.h"

enum { FOR_EACH_THREADS_MAX = 16 };

struct workers {
	pthread_mutex_t lock;
	pthread_cond_t wake;
	/* protected by lock */
	struct worker_task *head;
	struct worker_task **tail;
	unsigned queued;
	unsigned idle;
	bool ending;
	unsigned count;
	unsigned count_max;
	pthread_t threads[];
};

static void *worker_main(void *arg)
{
	struct workers *w = arg;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (!w->head && !w->ending) {
			w->idle++;
			pthread_cond_wait(&w->wake, &w->lock);
			w->idle--;
		}
		struct worker_task *task = w->head;
		if (!task)
			break;
		w->head = task->next;
		if (!w->head)
			w->tail = &w->head;
		w->queued--;
		pthread_mutex_unlock(&w->lock);
		task->run(task);
		pthread_mutex_lock(&w->lock);
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

/* Signals stay with the program's own threads. */
static int create_thread(pthread_t *ret_thread, void *(*main)(void *arg), void *arg)
{
	sigset_t all, before;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	int error = pthread_create(ret_thread, NULL, main, arg);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -error;
}

/* Caller holds w->lock, or nobody else knows w yet. */
static int start_thread(struct workers *w)
{
	int result = create_thread(&w->threads[w->count], worker_main, w);

	if (result == 0)
		w->count++;
	return result;
}

int workers_new(unsigned threads_max, struct workers **ret_workers)
{
	struct workers *w = calloc(1, sizeof *w + threads_max * sizeof w->threads[0]);

	if (!w)
		return -ENOMEM;
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->wake, NULL);
	w->tail = &w->head;
	w->count_max = threads_max;
	int result = start_thread(w);
	if (result < 0) {
		pthread_cond_destroy(&w->wake);
		pthread_mutex_destroy(&w->lock);
		free(w);
		return result;
	}
	*ret_workers = w;
	return 0;
}

void workers_submit(struct workers *w, struct worker_task *task)
{
	pthread_mutex_lock(&w->lock);
	task->next = NULL;
	*w->tail = task;
	w->tail = &task->next;
	w->queued++;
	/* One more thread that can't be had only makes the queue slower: there is always the first. At the end whoever submits comes back for it. */
	if (!w->ending && w->queued > w->idle && w->count < w->count_max)
		start_thread(w);
	pthread_cond_signal(&w->wake);
	pthread_mutex_unlock(&w->lock);
}

void workers_free(struct workers *w)
{
	if (!w)
		return;
	pthread_mutex_lock(&w->lock);
	w->ending = true;
	pthread_cond_broadcast(&w->wake);
	unsigned count = w->count;
	pthread_mutex_unlock(&w->lock);
	for (unsigned i = 0; i < count; i++)
		pthread_join(w->threads[i], NULL);
	pthread_cond_destroy(&w->wake);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

/* ---- One piece of work in several threads ---- */

struct for_each {
	int (*work)(void *arg, size_t index);
	void *arg;
	size_t count;
	pthread_mutex_t lock;
	/* protected by lock */
	size_t next;
	size_t end_index; /* of the call that ended it */
	int result;
};

static void *for_each_main(void *arg)
{
	struct for_each *f = arg;
	LOCKED_SCOPE(&f->lock);

	while (f->next < f->count && f->result == 0) {
		size_t index = f->next++;

		pthread_mutex_unlock(&f->lock);
		int result = f->work(f->arg, index);
		pthread_mutex_lock(&f->lock);
		if (result != 0 && (f->result == 0 || index < f->end_index)) {
			f->result = result;
			f->end_index = index;
		}
	}
	return NULL;
}

int workers_for_each(unsigned threads_max, size_t count, int (*work)(void *arg, size_t index), void *arg)
{
	struct for_each f = { .work = work, .arg = arg, .count = count };
	pthread_t threads[FOR_EACH_THREADS_MAX - 1];
	unsigned started = 0;

	if (threads_max > FOR_EACH_THREADS_MAX)
		threads_max = FOR_EACH_THREADS_MAX;
	pthread_mutex_init(&f.lock, NULL);
	while (started + 1 < threads_max && started + 1 < count && create_thread(&threads[started], for_each_main, &f) == 0)
		started++;
	for_each_main(&f);
	for (unsigned i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	pthread_mutex_destroy(&f.lock);
	return f.result;
}
