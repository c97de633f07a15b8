/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Unlisted directories that are asked for by a handle.
 *
 * Who exports the mount by NFS comes back with a handle to a directory that the kernel may have forgotten. The kernel then has to join it to the tree again: it looks up "..",
 * lists what it has got, and takes the name whose inode number is the directory's. Of `.at`, `.shard`, `.from` and `.follow` it would find none, and the handle would be
 * stale. "..", which is never looked up otherwise, and the listing come from one thread, one right after the other: so that one listing has the name.
 */
#ifndef WALFS_REJOIN_H
#define WALFS_REJOIN_H

#include "ino.h"
#include "walfs.h"

/* By the loop only. ".." of `dir` is looked up. */
void rejoin_begin(struct walfs *fs, fuse_req_t req, const struct node *dir);

/* The directory is opened: the name to list, and whose it is; NULL: none. */
const char *rejoin_name(struct walfs *fs, fuse_req_t req, const struct node *dir, struct node *ret_node);

#endif
