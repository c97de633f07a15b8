/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going to the background. The fork comes first, because threads and the store's lock do not survive it; the parent waits until the child
 * has opened the store and mounted it, and leaves with the status that tells how that went. Until then the child's messages go to the
 * parent's stderr.
 */
#ifndef WALFS_DAEMON_H
#define WALFS_DAEMON_H

#include "report.h"

struct daemon {
	int ready_fd; /* the child's end of a pipe to the parent; -1: in the foreground */
};

/*
 * 0: this is the child. 1: this is the parent, the child is ready or has ended, and *ret_status is to be the exit status. Negative errno.
 */
int daemon_fork(struct daemon *daemon, int *ret_status);

/* The child is ready: lets the parent go, and leaves the terminal. */
void daemon_ready(struct daemon *daemon, struct report *report);

#endif
