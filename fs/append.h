/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending through `new`. One entry is what one writer writes between open and close.
 *
 * The kernel sends FLUSH at every close of every duplicate of a descriptor, by whichever process. WRITE and FLUSH name the process's file
 * table as the *lock owner*. So a handle remembers which owners wrote since the last commit, and a FLUSH from one of them commits; others
 * mean nothing:
 *
 *	                 WRITE                       FLUSH of an owner, FSYNC, O_SYNC WRITE
 *	   +-------+  ----------------->  +---------+  ------------------------------>  commit under way,
 *	   | empty |                      | writing |                                   its requests wait for it
 *	   +-------+  <-----------------  +---------+                                        |
 *	     ^   ^    failed WRITE, then FLUSH  |                                            v  answered, id known
 *	     |   +------------------------------+-- the draft is with the library, the handle is empty again at once
 *	     |
 *	   FLUSH of anybody: nothing, unless it is an owner of a commit under way, which it then waits for
 *
 * The draft is a private file; what is written lands at its offset minus `base`, the offset of the first WRITE since the last commit. For a
 * descriptor that is shared by several programs in turn has one running offset: `(prog1; prog2) > new`.
 *
 * A draft that nobody has written to, but that ftruncate(2) has given a size, is committed by the FLUSH of anybody.
 *
 * A draft whose last WRITE failed is not committed but dropped, and the FLUSH or FSYNC that would have committed it reports the same error:
 * what stands there is not what the writer meant to be the entry. A commit that failed makes the handle fail from then on.
 */
#ifndef WALFS_APPEND_H
#define WALFS_APPEND_H

#include "handle.h"

/* Opens the `new` of a stream. */
void append_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

#endif
