/* SPDX-License-Identifier: Apache-2.0 */
/* stat(2), access(2), and what chmod(2), chown(2), utimensat(2) and truncate(2) are answered. */
#ifndef WALFS_ATTRIBUTES_H
#define WALFS_ATTRIBUTES_H

#include "namespace.h"

/* Each answers its request, as the functions of struct fuse_lowlevel_ops with the like names. */
void attributes_get(struct walfs *fs, const struct node *node, fuse_req_t req);
void attributes_set(struct walfs *fs, const struct node *node, const struct stat *wanted, int to_set, fuse_req_t req, const struct fuse_file_info *fi);

/*
 * access(2) and chdir(2). With default_permissions the kernel answers them itself; without, nobody but who mounted gets in, so it counts what
 * anybody may. If an entry were said to be writable, editors would find out only when they save.
 */
void attributes_access(struct walfs *fs, const struct node *node, int mask, fuse_req_t req);

#endif
