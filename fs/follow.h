/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.follow/ID`: the entries of a stream from one on, joined end to end, as a pipe would give them: each open file has its own place, from which reads go on, and a read at the
 * end waits for the next entry. However many wait, they cost no thread: the library calls back.
 *
 * Who *serves* a file reads its text, and there is one at a time: the loop, where that is a matter of memory, else the pool.
 *
 *	              a read                        the end, and a read is left
 *	+------+  -------------->  +---------+  ------------------------------------->  +---------+
 *	| idle |                   | serving |                                          | waiting |
 *	+------+  <--------------  +---------+  <-------------------------------------  +---------+
 *	    ^      no read is left               the watch calls back, a read is left       |
 *	    +-------------------------------------------------------------------------------+
 *	      the watch calls back, no read is left; or it is taken back, because the file is closed or the mount ends
 *
 * Whoever waits in poll(2) has a watch of its own for the next entry, is told when that calls back, and looks again.
 *
 * What is in the way of a reader is told once: ESTALE, entries have been pruned that it had not read; EIO, entries are damaged. The next read goes on behind them.
 * At the end, where nothing more can come: a store that is read-only has an end of file, a stream that is deleted gives ENOENT, one that takes no more appends EIO, and
 * when the mount ends it is ENOTCONN.
 */
#ifndef WALFS_FOLLOW_H
#define WALFS_FOLLOW_H

#include "namespace.h"

/* Opens `node`, a NODE_FOLLOW. As textfile_open(). */
void follow_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

/* The mount ends: wakes all that wait, and from now on nothing waits. From any thread; more than once does no harm. */
void follow_stop(struct walfs *fs);

#endif
