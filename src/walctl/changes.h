/* SPDX-License-Identifier: Apache-2.0 */
/*
 * When another process changes a store. A store that is open read-only stands still, so who follows it has to open it again: this says when that is worth it. Told
 * by inotify(7), which costs nothing while nothing happens; where that is not to be had, or where others change files over a network, by time.
 */
#ifndef WALCTL_CHANGES_H
#define WALCTL_CHANGES_H

#include <stdbool.h>

struct changes {
	const char *path; /* of the store */
	int signal_fd;	  /* SIGINT and SIGTERM */
	int inotify_fd;	  /* -1: there is none */
	bool complete;	  /* every directory is watched */
};

/* Blocks SIGINT and SIGTERM: to be called before the library starts threads. A negative errno. */
int changes_init(struct changes *changes, const char *path);
void changes_release(struct changes *changes);

/* To be called before the store is opened: what comes from now on is told by changes_wait(). */
void changes_watch(struct changes *changes);

/* Waits `interval` seconds, and then until something has changed. False: a signal says that it is to end. */
bool changes_wait(struct changes *changes, double interval);

/* Just waits. False likewise. */
bool changes_pause(struct changes *changes, int ms);

#endif
