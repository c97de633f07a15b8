/* SPDX-License-Identifier: Apache-2.0 */
#include "stop.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

enum {
	KICK_SIGNAL = SIGUSR1,
	KICK_INTERVAL_MS = 10,
};

/* Being called interrupts the read, that is all. */
static void on_kick(int signal)
{
	(void)signal;
}

static void mask_kick(int how)
{
	sigset_t kick;

	sigemptyset(&kick);
	sigaddset(&kick, KICK_SIGNAL);
	pthread_sigmask(how, &kick, NULL);
}

void stop_init(struct stop *stop)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction kick = { .sa_handler = on_kick }; /* no SA_RESTART */
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction was;

	*stop = (struct stop){ .signal_fd = -1, .left_fd = -1 };
	sigemptyset(&stop->signals);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (!sigaction(signals[i], NULL, &was) && was.sa_handler != SIG_IGN)
			sigaddset(&stop->signals, signals[i]);
	pthread_sigmask(SIG_BLOCK, &stop->signals, NULL);
	mask_kick(SIG_BLOCK);
	sigaction(KICK_SIGNAL, &kick, NULL);
	sigaction(SIGPIPE, &ignore, NULL); /* a log that nobody reads any more is no reason to end */
}

/* A kick right before the loop's read(2) is in vain: so again and again. */
static void kick_until_left(struct stop *stop)
{
	struct pollfd left = { .fd = stop->left_fd, .events = POLLIN };

	do
		stop->kick(stop->arg, KICK_SIGNAL);
	while (poll(&left, 1, KICK_INTERVAL_MS) <= 0);
}

static void *stop_thread(void *arg)
{
	struct stop *stop = arg;
	struct pollfd fds[] = { { .fd = stop->left_fd, .events = POLLIN }, { .fd = stop->signal_fd, .events = POLLIN } };
	struct signalfd_siginfo info;

	for (;;) {
		if (poll(fds, sizeof(fds) / sizeof(*fds), -1) < 0)
			continue;
		if (fds[0].revents)
			return NULL;
		if (read(stop->signal_fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
			break;
	}
	stop->signal = (int)info.ssi_signo;
	stop->before(stop->arg);
	fuse_session_exit(stop->session);
	kick_until_left(stop);
	return NULL;
}

static void close_descriptors(struct stop *stop)
{
	if (stop->signal_fd >= 0)
		close(stop->signal_fd);
	if (stop->left_fd >= 0)
		close(stop->left_fd);
}

int stop_watch(struct stop *stop, struct fuse_session *session, void (*before)(void *arg), void (*kick)(void *arg, int signal), void *arg)
{
	int r;

	stop->session = session;
	stop->before = before;
	stop->arg = arg;
	stop->kick = kick;
	stop->signal_fd = signalfd(-1, &stop->signals, SFD_CLOEXEC | SFD_NONBLOCK);
	stop->left_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (stop->signal_fd < 0 || stop->left_fd < 0)
		r = -errno;
	else
		r = -pthread_create(&stop->thread, NULL, stop_thread, stop);
	if (r < 0) {
		close_descriptors(stop);
		return r;
	}
	/* Only now, so that the new thread has it blocked; and by all means, whatever mask the parent handed down. */
	mask_kick(SIG_UNBLOCK);
	return 0;
}

int stop_unwatch(struct stop *stop)
{
	eventfd_write(stop->left_fd, 1); /* cannot fail: the counter is at 0 */
	pthread_join(stop->thread, NULL);
	close_descriptors(stop);
	return stop->signal;
}
