/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading an entry. Opening costs next to nothing, because most opens of an entry whose pages the kernel still has are followed by no READ
 * at all; the library's reader is made at the first.
 */
#ifndef WALFS_ENTRY_H
#define WALFS_ENTRY_H

#include "handle.h"

/* EACCES unless it is opened for reading only, for root too: an entry never changes. */
void entry_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

#endif
