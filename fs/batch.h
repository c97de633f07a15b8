/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.batch`: each line that is written becomes an entry, newline and all, and all of them are committed as one batch by the FLUSH of an owner that wrote (see
 * append.h), or by FSYNC. What is not a whole line at the end counts as one.
 *
 * A batch is one frame and so has to be in memory to be committed. Hence the bounds: an open file holds at most BATCH_BYTES_MAX in at most BATCH_LINES_MAX lines (EFBIG),
 * all of them together BATCH_BYTES_TOTAL (ENOMEM). Its room on the disk is reserved as it grows, so that a full disk shows at write(2) too. A batch
 * of which a WRITE failed is not committed, whatever was written after it: FLUSH or FSYNC drops it and reports the same error.
 */
#ifndef WALFS_BATCH_H
#define WALFS_BATCH_H

#include "handle.h"

enum {
	BATCH_BYTES_MAX = 64 << 20,
	BATCH_LINES_MAX = 1 << 20,
	BATCH_BYTES_TOTAL = 4 * BATCH_BYTES_MAX,
};

/* Opens the `.batch` of a stream. */
void batch_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

#endif
