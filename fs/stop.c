/* SPDX-License-Identifier: Apache-2.0 */
#include "stop.h"

#include <errno.h>
#include <time.h>

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

void stop_init(struct stop *stop)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP };
	struct sigaction kick = { .sa_handler = on_kick }; /* no SA_RESTART */
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct sigaction was;

	*stop = (struct stop){ 0 };
	pthread_mutex_init(&stop->lock, NULL);
	pthread_cond_init(&stop->cond, NULL);
	sigemptyset(&stop->signals);
	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		if (!sigaction(signals[i], NULL, &was) && was.sa_handler != SIG_IGN)
			sigaddset(&stop->signals, signals[i]);
	pthread_sigmask(SIG_BLOCK, &stop->signals, NULL);
	sigaction(KICK_SIGNAL, &kick, NULL);
	sigaction(SIGPIPE, &ignore, NULL); /* a log that nobody reads any more is no reason to end */
}

/* Caller holds stop->lock. */
static void kick_until_left(struct stop *stop)
{
	while (!stop->left) {
		struct timespec until;

		pthread_kill(stop->loop, KICK_SIGNAL);
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += KICK_INTERVAL_MS * 1000000L;
		if (until.tv_nsec >= 1000000000L) {
			until.tv_nsec -= 1000000000L;
			until.tv_sec++;
		}
		pthread_cond_timedwait(&stop->cond, &stop->lock, &until);
	}
}

static void *stop_thread(void *arg)
{
	struct stop *stop = arg;
	sigset_t signals = stop->signals;
	int signal;

	sigaddset(&signals, KICK_SIGNAL); /* from stop_unwatch() */
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	do {
		sigwait(&signals, &signal);
		pthread_mutex_lock(&stop->lock);
		if (!stop->left && signal != KICK_SIGNAL) {
			stop->signal = signal;
			fuse_session_exit(stop->session);
			kick_until_left(stop);
		}
		signal = stop->left;
		pthread_mutex_unlock(&stop->lock);
	} while (!signal);
	return NULL;
}

int stop_watch(struct stop *stop, struct fuse_session *session)
{
	stop->session = session;
	stop->loop = pthread_self();
	return -pthread_create(&stop->thread, NULL, stop_thread, stop);
}

int stop_unwatch(struct stop *stop)
{
	pthread_mutex_lock(&stop->lock);
	stop->left = true;
	pthread_cond_signal(&stop->cond);
	pthread_mutex_unlock(&stop->lock);
	pthread_kill(stop->thread, KICK_SIGNAL);
	pthread_join(stop->thread, NULL);
	return stop->signal;
}
