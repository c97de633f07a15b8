/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.lines`: each complete line that is written becomes an entry, newline and all, before its write(2) returns. So the entries joined are the text.
 *
 * The complete lines of one WRITE are committed as one frame: all of them or none, with one sync. What follows the last newline is the *partial line*. It belongs
 * to the open file, whoever wrote it, and is held in a draft, which has reserved its room on the disk; the next WRITE continues it:
 *
 *	            WRITE without newline               WRITE with newlines
 *	+-------+  ---------------------->  +---------+  ---------------->  commit: the partial line with what came up to the last newline.
 *	| empty |                           | partial |                     The partial line is replaced by what came after it when that
 *	+-------+  <----------------------  +---------+                     has succeeded, and else is what it was before the WRITE
 *	             FSYNC, RELEASE, FLUSH       |
 *	             of the opener, commit it    |  a WRITE that makes it longer than an entry may be: EFBIG
 *	                                         v
 *	                                    +----------+  WRITE without newline: EFBIG
 *	                                    | skipping |  WRITE with newlines: what follows the first is taken as if nothing had been before
 *	                                    +----------+
 *
 * FLUSH does not say whether it is the last close, and RELEASE, which does, comes when close(2) has returned. So the partial line is committed by the FLUSH of the *opener*, whose close
 * is mostly the last: the thread that called open(2). Children that inherited the file end no line, so that `{ prog1; prog2; } >> .lines` writes what it would write
 * to any file. Nor does the opener, if somebody else was the last to write and has not closed the file since, as in `{ prog & } >> .lines`: then it is RELEASE.
 *
 * A partial line beyond SHADOW_MAX cannot be joined with the lines after it: it is committed by itself, and they after it.
 */
#ifndef WALFS_LINES_H
#define WALFS_LINES_H

#include "handle.h"

/* Opens the `.lines` of a stream. */
void lines_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

#endif
