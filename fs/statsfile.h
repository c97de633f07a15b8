/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.stats`: the figures as they were when the file was opened, whatever is read from it and when. Its size is 0, as with files below /proc, and with direct I/O it is read to its
 * end all the same.
 */
#ifndef WALFS_STATSFILE_H
#define WALFS_STATSFILE_H

#include "handle.h"

/* Opens NODE_STATS or NODE_STORE_STATS, for reading only. The figures are put together on the pool. */
void statsfile_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

/* Mode, size and times. They are of now: collectors of metrics take the time of modification for that of the figures. */
void statsfile_stat(struct stat *st);

#endif
