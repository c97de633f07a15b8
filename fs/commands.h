/* SPDX-License-Identifier: Apache-2.0 */
/* The control files there are: `.prune` and `.rotate` of a stream, `.prune` and `.compact` of `.checkpoints`. */
#ifndef WALFS_COMMANDS_H
#define WALFS_COMMANDS_H

#include "handle.h"

/* Opens the control file `node`. */
void command_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

#endif
