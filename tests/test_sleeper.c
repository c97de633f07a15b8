/* SPDX-License-Identifier: Apache-2.0 */
/* A sleeper hears of each thing once, of its end whatever it was told before, and of the time when it is told nothing. */
#include <pthread.h>
#include <unistd.h>

#include "sleeper.h"
#include "stats.h"
#include "test.h"
#include "threads.h"

enum {
	ROUNDS = 2000,
	PAUSE_NS = 2000000,
};

static void what_was_told_before_is_heard_at_once(void **state)
{
	struct sleeper s;

	(void)state;
	sleeper_init(&s);
	sleeper_tell(&s);
	sleeper_tell(&s);
	assert_int_equal(sleeper_wait(&s, 0), SLEEPER_TOLD);
	/* Both times. */
	assert_int_equal(sleeper_wait(&s, stats_clock()), SLEEPER_TIMEOUT);
	sleeper_tell(&s);
	assert_int_equal(sleeper_wait(&s, 0), SLEEPER_TOLD);
}

static void the_end_is_heard_whatever_was_told(void **state)
{
	struct sleeper s;

	(void)state;
	sleeper_init(&s);
	sleeper_tell(&s);
	sleeper_end(&s);
	assert_int_equal(sleeper_wait(&s, 0), SLEEPER_ENDED);
}

static void nothing_is_heard_until_the_time_has_come(void **state)
{
	uint64_t until_ns = stats_clock() + PAUSE_NS;
	struct sleeper s;

	(void)state;
	sleeper_init(&s);
	assert_int_equal(sleeper_wait(&s, until_ns), SLEEPER_TIMEOUT);
	assert_true(stats_clock() >= until_ns);
	sleeper_tell(&s);
	assert_int_equal(sleeper_wait(&s, until_ns), SLEEPER_TOLD);
}

/* Two that wait for each other, so each is told while it sleeps, before it does, and on the way there. */
struct pair {
	struct sleeper a, b;
};

static void *run_b(void *arg)
{
	struct pair *p = arg;
	enum sleeper_news news;

	while ((news = sleeper_wait(&p->b, 0)) == SLEEPER_TOLD)
		sleeper_tell(&p->a);
	THREAD_CHECK(news == SLEEPER_ENDED);
	return NULL;
}

static void each_wakes_the_other(void **state)
{
	pthread_t thread;
	struct pair p;

	(void)state;
	sleeper_init(&p.a);
	sleeper_init(&p.b);
	assert_int_equal(pthread_create(&thread, NULL, run_b, &p), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		sleeper_tell(&p.b);
		while (sleeper_wait(&p.a, i % 2 ? 0 : stats_clock() + 1000) != SLEEPER_TOLD)
			;
	}
	sleeper_end(&p.b);
	assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_told_before_is_heard_at_once),
		cmocka_unit_test(the_end_is_heard_whatever_was_told),
		cmocka_unit_test(nothing_is_heard_until_the_time_has_come),
		cmocka_unit_test(each_wakes_the_other),
	};

	alarm(60); /* who is not woken fails */
	return TEST_RUN(tests);
}
