/* SPDX-License-Identifier: Apache-2.0 */
/* The two threads of the loop, with a session that is made up here: what it receives is taken from a list, and handlers do as that says. */
#include "loop.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include "test.h"

enum {
	BUFFER_BYTES = 1 << 20,
	DEADLINE_SECONDS = 30,
	ROUNDS = 20000,
};

/* What a request makes its handler do. */
enum what {
	PLAIN,
	WAIT, /* hands the loop over, and waits for a PLAIN that comes later */
	CANNOT, /* would hand over, while the other thread waits for something */
	UNMOUNT,
	BREAK,
};

struct fuse_session {
	struct loop loop;
	const enum what *requests;
	size_t count, at;
	pthread_t first;
	bool exited;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned plain, waited, refused, receiving;
};

/* In any thread, where cmocka cannot leave the test. */
static void must(bool holds)
{
	if (!holds)
		abort();
}

int fuse_session_exited(struct fuse_session *se)
{
	return se->exited;
}

void fuse_session_exit(struct fuse_session *se)
{
	se->exited = true;
}

int fuse_session_loop(struct fuse_session *se)
{
	must(se->exited);
	return 0;
}

/* As libfuse, which makes a buffer where there is none; but there is no memory after the first. */
int fuse_session_receive_buf(struct fuse_session *se, struct fuse_buf *buf)
{
	int received = (int)sizeof(enum what);

	if (!buf->mem && !pthread_equal(pthread_self(), se->first))
		return -ENOMEM;
	if (!buf->mem)
		buf->mem = malloc(BUFFER_BYTES);
	must(buf->mem != NULL);
	((char *)buf->mem)[BUFFER_BYTES - 1] = 0;
	pthread_mutex_lock(&se->lock);
	must(++se->receiving == 1);
	pthread_mutex_unlock(&se->lock);
	must(se->at < se->count);
	memcpy(buf->mem, &se->requests[se->at], sizeof(enum what));
	if (se->requests[se->at] == UNMOUNT)
		received = 0;
	if (se->requests[se->at] == BREAK)
		received = -EIO;
	se->at++;
	pthread_mutex_lock(&se->lock);
	se->receiving--;
	pthread_mutex_unlock(&se->lock);
	return received;
}

static void wait_for_plain(struct fuse_session *se, unsigned seen)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += DEADLINE_SECONDS;
	pthread_mutex_lock(&se->lock);
	while (se->plain == seen)
		must(pthread_cond_timedwait(&se->changed, &se->lock, &deadline) == 0);
	se->waited++;
	pthread_mutex_unlock(&se->lock);
}

void fuse_session_process_buf(struct fuse_session *se, const struct fuse_buf *buf)
{
	enum what what;
	unsigned seen;

	memcpy(&what, buf->mem, sizeof(what));
	pthread_mutex_lock(&se->lock);
	seen = se->plain;
	if (what == PLAIN)
		se->plain++;
	pthread_cond_broadcast(&se->changed);
	pthread_mutex_unlock(&se->lock);
	if (what == CANNOT && !loop_hand_over(&se->loop))
		se->refused++;
	if (what == WAIT) {
		if (loop_hand_over(&se->loop))
			wait_for_plain(se, seen);
		else
			se->refused++;
	}
}

/* Returns what the loop does. */
static int run(struct fuse_session *se, bool alone, const enum what *requests, size_t count)
{
	int r;

	*se = (struct fuse_session){ .requests = requests, .count = count, .first = pthread_self() };
	pthread_mutex_init(&se->lock, NULL);
	pthread_cond_init(&se->changed, NULL);
	loop_init(&se->loop, alone);
	r = loop_run(&se->loop, se);
	loop_release(&se->loop);
	pthread_cond_destroy(&se->changed);
	pthread_mutex_destroy(&se->lock);
	assert_int_equal(se->at, count);
	return r;
}

static void who_waits_lets_another_receive(void **state)
{
	static const enum what requests[] = { PLAIN, WAIT, CANNOT, CANNOT, PLAIN, UNMOUNT };
	struct fuse_session se;

	(void)state;
	assert_int_equal(run(&se, false, requests, sizeof(requests) / sizeof(*requests)), 0);
	assert_int_equal(se.plain, 2);
	assert_int_equal(se.waited, 1);
	assert_int_equal(se.refused, 2);
}

static void loop_that_is_alone_hands_nothing_over(void **state)
{
	static const enum what requests[] = { WAIT, PLAIN, UNMOUNT };
	struct fuse_session se;

	(void)state;
	assert_int_equal(run(&se, true, requests, sizeof(requests) / sizeof(*requests)), 0);
	assert_int_equal(se.refused, 1);
	assert_false(se.loop.has_other);
}

static void broken_connection_is_told_by_whoever_sees_it(void **state)
{
	static const enum what by_first[] = { BREAK }, by_second[] = { WAIT, PLAIN, BREAK };
	struct fuse_session se;

	(void)state;
	assert_int_equal(run(&se, false, by_first, 1), -EIO);
	assert_int_equal(run(&se, false, by_second, 3), -EIO);
}

/* Whoever has waited may be back before the other has seen that it is its turn, or not. */
static void turns_to_and_fro(void **state)
{
	static enum what requests[2 * ROUNDS + 1];
	struct fuse_session se;

	(void)state;
	for (size_t i = 0; i < ROUNDS; i++) {
		requests[2 * i] = WAIT;
		requests[2 * i + 1] = PLAIN;
	}
	requests[2 * ROUNDS] = UNMOUNT;
	assert_int_equal(run(&se, false, requests, 2 * ROUNDS + 1), 0);
	assert_int_equal(se.plain, ROUNDS);
	assert_int_equal(se.waited + se.refused, ROUNDS);
	assert_true(se.waited > 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_waits_lets_another_receive),
		cmocka_unit_test(loop_that_is_alone_hands_nothing_over),
		cmocka_unit_test(broken_connection_is_told_by_whoever_sees_it),
		cmocka_unit_test(turns_to_and_fro),
	};

	return TEST_RUN(tests);
}
