/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing `.checkpoints` and `.at` (and `.shard`, which lists nothing). Opening and rewinding take a snapshot of the names, and a name's cookie is its
 * place in that: `rm *` can remove them while it reads them.
 *
 * In `.checkpoints` HEAD comes last, so that `rm -r` gets to it when no checkpoint is left for it to point to.
 */
#ifndef WALFS_SNAPDIR_H
#define WALFS_SNAPDIR_H

#include "handle.h"

/* Opens NODE_CHECKPOINTS, NODE_AT or NODE_SHARDS. */
void snapdir_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

#endif
