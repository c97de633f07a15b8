/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The files in `.checkpoints`. Opening one renders its text, and that is what the open file reads as, whatever becomes of the checkpoint.
 * Making and removing one syncs, so the pool does it. A checkpoint is not written to, and what exists is not moved.
 */
#ifndef WALFS_CHECKPOINT_FILE_H
#define WALFS_CHECKPOINT_FILE_H

#include "handle.h"

/* Opens a checkpoint. -EPERM with O_TRUNC. */
void checkpoint_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

/* Makes the checkpoint `name` and opens it; without O_EXCL also if somebody else was faster. */
void checkpoint_create(struct walfs *fs, const char *name, fuse_req_t req, const struct fuse_file_info *fi);

/* Makes it, for mknod(2). */
void checkpoint_make(struct walfs *fs, const char *name, fuse_req_t req);

/* Removes it. */
void checkpoint_remove(struct walfs *fs, const char *name, fuse_req_t req);

#endif
