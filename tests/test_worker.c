/* SPDX-License-Identifier: Apache-2.0 */
#include "worker.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "test.h"

enum {
	TASKS = 200,
	WAIT_SECONDS = 60,
};

struct counted {
	struct worker_task task;
	atomic_uint *runs;
	unsigned number;
	unsigned *order; /* where it notes its number, if any */
	struct workers *workers;
	unsigned again; /* how often it submits itself again */
};

static void count_run(struct worker_task *task)
{
	struct counted *c = container_of(task, struct counted, task);
	unsigned at = atomic_fetch_add(c->runs, 1);

	if (c->order)
		c->order[at] = c->number;
	if (c->again > 0) {
		c->again--;
		workers_submit(c->workers, task);
	}
}

static struct counted *make_tasks(unsigned count, struct workers *workers, atomic_uint *runs)
{
	struct counted *tasks = calloc(count, sizeof(*tasks));

	assert_non_null(tasks);
	for (unsigned i = 0; i < count; i++)
		tasks[i] = (struct counted){ .task = { .run = count_run }, .runs = runs, .number = i, .workers = workers };
	return tasks;
}

/* One thread, so that the order in which they start is the order in which they end. */
static void tasks_in_order(void **state)
{
	unsigned order[TASKS];
	atomic_uint runs = 0;
	struct workers *workers;

	(void)state;
	assert_int_equal(workers_new(1, &workers), 0);
	struct counted *tasks = make_tasks(TASKS, workers, &runs);
	for (unsigned i = 0; i < TASKS; i++) {
		tasks[i].order = order;
		workers_submit(workers, &tasks[i].task);
	}
	workers_free(workers);
	assert_int_equal(runs, TASKS);
	for (unsigned i = 0; i < TASKS; i++)
		assert_int_equal(order[i], i);
	free(tasks);
}

/* The end waits for what is queued, and for what that queues. Each try may start threads at the last moment. */
static void ended_while_tasks_submit(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 50; n++) {
		atomic_uint runs = 0;
		struct workers *workers;

		assert_int_equal(workers_new(4, &workers), 0);
		struct counted *tasks = make_tasks(8, workers, &runs);
		for (unsigned i = 0; i < 8; i++)
			tasks[i].again = 20;
		for (unsigned i = 0; i < 8; i++)
			workers_submit(workers, &tasks[i].task);
		workers_free(workers);
		assert_int_equal(runs, 8 * 21);
		free(tasks);
	}
}

/* Submits others when the end has begun already. */
struct late {
	struct worker_task task;
	struct workers *workers;
	struct counted *others;
	atomic_bool *ending;
};

static void submit_late(struct worker_task *task)
{
	struct late *late = container_of(task, struct late, task);

	while (!atomic_load(late->ending))
		sched_yield();
	usleep(2000); /* most likely the end waits for this thread by now */
	for (unsigned i = 0; i < 4; i++)
		workers_submit(late->workers, &late->others[i].task);
}

/* No thread may come that the end does not know of: it would outlive what it works with. */
static void tasks_submitted_during_the_end(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 20; n++) {
		atomic_bool ending = false;
		atomic_uint runs = 0;
		struct workers *workers;

		assert_int_equal(workers_new(4, &workers), 0);
		struct counted *tasks = make_tasks(4, workers, &runs);
		struct late late = { { .run = submit_late }, workers, tasks, &ending };
		workers_submit(workers, &late.task);
		atomic_store(&ending, true);
		workers_free(workers);
		assert_int_equal(runs, 4);
		free(tasks);
	}
}

/* Tasks that wait for each other: as many threads as were allowed come, and signals stay with the program's own. */
struct met {
	struct worker_task task;
	atomic_uint *present;
	atomic_uint *signals_blocked;
};

static void meet(struct worker_task *task)
{
	struct met *m = container_of(task, struct met, task);
	time_t until = time(NULL) + WAIT_SECONDS;
	sigset_t mask;

	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	atomic_fetch_add(m->signals_blocked, sigismember(&mask, SIGTERM) == 1 && sigismember(&mask, SIGALRM) == 1);
	atomic_fetch_add(m->present, 1);
	while (atomic_load(m->present) < 4 && time(NULL) < until)
		sched_yield();
}

static void tasks_at_the_same_time(void **state)
{
	atomic_uint present = 0, signals_blocked = 0;
	struct workers *workers;
	struct met tasks[4];

	(void)state;
	assert_int_equal(workers_new(4, &workers), 0);
	for (unsigned i = 0; i < 4; i++) {
		tasks[i] = (struct met){ { .run = meet }, &present, &signals_blocked };
		workers_submit(workers, &tasks[i].task);
	}
	workers_free(workers);
	assert_int_equal(present, 4);
	assert_int_equal(signals_blocked, 4);
	workers_free(NULL);
}

/* ---- One piece of work in several threads ---- */

struct calls {
	atomic_uint made[TASKS];
	size_t fails_from; /* this one and each third behind it */
};

static int note_call(void *arg, size_t index)
{
	struct calls *calls = arg;

	atomic_fetch_add(&calls->made[index], 1);
	sched_yield();
	return index >= calls->fails_from && (index - calls->fails_from) % 3 == 0 ? -(int)index : 0;
}

static void each_index_once(void **state)
{
	(void)state;
	for (unsigned threads = 0; threads <= 20; threads++) {
		struct calls calls = { .fails_from = TASKS };

		assert_int_equal(workers_for_each(threads, TASKS, note_call, &calls), 0);
		for (unsigned i = 0; i < TASKS; i++)
			assert_int_equal(calls.made[i], 1);
		assert_int_equal(workers_for_each(threads, 0, note_call, &calls), 0);
	}
}

static void the_first_that_fails(void **state)
{
	(void)state;
	for (unsigned n = 0; n < 100; n++) {
		struct calls calls = { .fails_from = 20 + n };

		assert_int_equal(workers_for_each(n % 8, TASKS, note_call, &calls), -(int)(20 + n));
		for (unsigned i = 0; i < TASKS; i++)
			assert_true(calls.made[i] == 1 || (calls.made[i] == 0 && i > 20 + n));
		if (n % 8 <= 1) /* one thread */
			assert_int_equal(calls.made[21 + n], 0);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(tasks_in_order),
		cmocka_unit_test(ended_while_tasks_submit),
		cmocka_unit_test(tasks_submitted_during_the_end),
		cmocka_unit_test(tasks_at_the_same_time),
		cmocka_unit_test(each_index_once),
		cmocka_unit_test(the_first_that_fails),
	};

	alarm(120);
	return TEST_RUN(tests);
}
