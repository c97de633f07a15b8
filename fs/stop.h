/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGINT, SIGTERM and SIGHUP end the loop.
 *
 * libfuse's own handlers are not used: the kernel may deliver the signal to one of the library's threads, and then nothing would wake the
 * loop from its read(2), nor if it came right before that read. Here the signals are blocked in every thread; one thread waits for them at
 * a descriptor, and kicks the loop until it has left. That the loop has left comes by a descriptor too: it stays readable, so it does not
 * matter how far the thread was.
 */
#ifndef WALFS_STOP_H
#define WALFS_STOP_H

#include <pthread.h>
#include <signal.h>

struct fuse_session;

struct stop {
	sigset_t signals; /* those that end the loop; not what the parent had ignored, as nohup(1) does */
	struct fuse_session *session;
	void (*before)(void *arg); /* what is to happen while the loop still runs */
	void (*kick)(void *arg, int signal);
	void *arg;
	pthread_t thread;
	int signal_fd;
	int left_fd; /* an eventfd: the loop has ended */
	int signal;  /* the thread's, until it is joined */
};

/* Blocks the signals, and the one for kicks, in this thread and those it will make: call it before the first. */
void stop_init(struct stop *stop);

/*
 * Starts watching; the caller is going to run the loop, and it and the threads that it makes from now on are those that can be kicked. before(arg) is called, by another thread, when a
 * signal is going to end the loop: requests are still answered. kick(arg, signal) sends that signal to the one that receives. Negative errno.
 */
int stop_watch(struct stop *stop, struct fuse_session *session, void (*before)(void *arg), void (*kick)(void *arg, int signal), void *arg);

/* The loop has ended. Returns the signal that did it, 0 if none. */
int stop_unwatch(struct stop *stop);

#endif
