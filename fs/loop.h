/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The loop: whoever receives requests. One thread does at a time, and all handlers are called by it, one after the other. But being the loop is a turn that goes from one thread to the other of two: a
 * handler that is about to wait for the disk may hand it over and wait itself, in place. It is answered sooner by the time that waking a worker takes, since the one that is woken here is not the one that
 * somebody waits for.
 *
 * Handing over is done under a lock, so what only the loop looks at needs none of its own. After it the handler is no part of the loop any more.
 */
#ifndef WALFS_LOOP_H
#define WALFS_LOOP_H

#include <pthread.h>
#include <stdbool.h>

struct fuse_session;
struct loop;

struct loop_thread {
	struct loop *loop;
	pthread_t thread;
	void *buffer; /* what requests are received into; its own once it runs */
	bool has_turn; /* changed by itself, or under loop->lock while it waits */
};

struct loop {
	struct fuse_session *session;
	bool alone; /* there is no other thread to hand over to */
	pthread_mutex_t lock;
	pthread_cond_t wake; /* of the one that waits */

	/* protected by lock, but that the one that has the turn may look at `turn` */
	struct loop_thread threads[2]; /* the first is the caller of loop_run() */
	struct loop_thread *turn;
	bool has_other; /* the second has been started */
	bool waits;	/* the one that does not have the turn waits for it */
	bool ending;
	int error;
};

/* `alone`: loop_hand_over() always fails. */
void loop_init(struct loop *loop, bool alone);
void loop_release(struct loop *loop);

/* Handles requests until the mount ends, as fuse_session_loop(), which it returns the result of. */
int loop_run(struct loop *loop, struct fuse_session *session);

/* Called by a handler. True: the caller is not the loop any more until the handler returns. False: the other thread is busy, or cannot be had. */
bool loop_hand_over(struct loop *loop);

/* Sends the signal to the thread that receives; none if there is no loop. From any thread. It does not come while that waits for the disk. */
void loop_kick(struct loop *loop, int signal);

#endif
