/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Going to the background. The fork comes first, because threads and the store's lock do not survive it; the parent waits until the child
 * has opened the store and mounted it, and leaves with the status that tells how that went. Until then the child's messages go to the
 * parent's stderr, and the child gives up if the parent is interrupted.
 */
#ifndef WALFS_DAEMON_H
#define WALFS_DAEMON_H

#include <stdbool.h>

#include "report.h"

struct daemon {
	int ready_fd; /* the child's end of a pipe to the parent; -1: in the foreground */
};

/*
 * Closes every descriptor above 2 first: what was inherited is not to be kept open for as long as the mount lasts. 0: this is the child.
 * 1: this is the parent, the child is ready or has ended, and *ret_status is to be the exit status. Negative errno.
 */
int daemon_fork(struct daemon *daemon, int *ret_status);

/* The parent has ended before the child was ready: whoever started it has given up. */
bool daemon_is_abandoned(const struct daemon *daemon);

/* The child is ready: lets the parent go, and leaves the terminal. -EPIPE: it is abandoned. */
int daemon_ready(struct daemon *daemon, struct report *report);

#endif
