/* SPDX-License-Identifier: Apache-2.0 */
#include "loop.h"

#include <errno.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

void loop_init(struct loop *loop, bool alone)
{
	*loop = (struct loop){ .alone = alone };
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->wake, NULL);
}

void loop_release(struct loop *loop)
{
	pthread_cond_destroy(&loop->wake);
	pthread_mutex_destroy(&loop->lock);
}

/* False: the loop has ended. */
static bool wait_for_turn(struct loop_thread *self)
{
	struct loop *loop = self->loop;
	bool ending;

	pthread_mutex_lock(&loop->lock);
	while (loop->turn != self && !loop->ending) {
		loop->waits = true;
		pthread_cond_wait(&loop->wake, &loop->lock);
	}
	self->has_turn = true;
	ending = loop->ending;
	pthread_mutex_unlock(&loop->lock);
	return !ending;
}

static void end(struct loop *loop, int error)
{
	pthread_mutex_lock(&loop->lock);
	loop->ending = true;
	loop->error = error;
	pthread_cond_signal(&loop->wake);
	pthread_mutex_unlock(&loop->lock);
}

static void *run(void *arg)
{
	struct loop_thread *self = arg;
	struct loop *loop = self->loop;
	struct fuse_buf request = { .mem = self->buffer };

	while (self->has_turn || wait_for_turn(self)) {
		int received = fuse_session_exited(loop->session) ? 0 : fuse_session_receive_buf(loop->session, &request);

		self->buffer = request.mem; /* libfuse has made that of the first thread by now */
		if (received == -EINTR)
			continue;
		if (received <= 0) {
			end(loop, received);
			break;
		}
		fuse_session_process_buf(loop->session, &request);
	}
	free(request.mem);
	return NULL;
}

int loop_run(struct loop *loop, struct fuse_session *session)
{
	pthread_mutex_lock(&loop->lock);
	loop->session = session;
	for (int i = 0; i < 2; i++)
		loop->threads[i] = (struct loop_thread){ .loop = loop };
	loop->threads[0].thread = pthread_self();
	loop->threads[0].has_turn = true;
	loop->turn = &loop->threads[0];
	pthread_mutex_unlock(&loop->lock);
	run(&loop->threads[0]);
	if (loop->has_other)
		pthread_join(loop->threads[1].thread, NULL);
	if (loop->error < 0)
		return loop->error;
	/* What libfuse says about a session that has ended: the kernel may have been too old for it. */
	fuse_session_exit(session);
	return fuse_session_loop(session);
}

/* The second thread gets its buffer before it is the loop: libfuse would make it then, and where there is no memory for it that would be the end of the mount. */
static bool start(struct loop_thread *thread, const struct loop_thread *first)
{
	size_t size = malloc_usable_size(first->buffer);

	thread->buffer = size ? malloc(size) : NULL; /* 0: what is spliced needs none */
	if (size && !thread->buffer)
		return false;
	if (!pthread_create(&thread->thread, NULL, run, thread))
		return true;
	free(thread->buffer);
	return false;
}

bool loop_hand_over(struct loop *loop)
{
	struct loop_thread *self = loop->turn, *other = self == &loop->threads[0] ? &loop->threads[1] : &loop->threads[0];
	bool can = false, wake = false;

	if (loop->alone)
		return false;
	pthread_mutex_lock(&loop->lock);
	if (loop->ending) {
		can = false;
	} else if (loop->waits) {
		/* Not by the one that is woken: until it runs, the other may have come back and wait. */
		loop->waits = false;
		can = wake = true;
	} else if (!loop->has_other && start(other, self)) {
		loop->has_other = true;
		can = true;
	}
	if (can) {
		self->has_turn = false;
		loop->turn = other;
	}
	pthread_mutex_unlock(&loop->lock);
	if (wake)
		pthread_cond_signal(&loop->wake); /* or it would run into the lock at once */
	return can;
}

void loop_kick(struct loop *loop, int signal)
{
	struct loop_thread *receiver;

	pthread_mutex_lock(&loop->lock);
	receiver = loop->ending ? &loop->threads[0] : loop->turn;
	if (receiver && (!loop->ending || receiver->has_turn))
		pthread_kill(receiver->thread, signal);
	pthread_mutex_unlock(&loop->lock);
}
