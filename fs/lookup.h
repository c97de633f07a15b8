/* SPDX-License-Identifier: Apache-2.0 */
/* Which node a name is, and what a symlink holds. */
#ifndef WALFS_LOOKUP_H
#define WALFS_LOOKUP_H

#include "namespace.h"

/* Answers a LOOKUP of `name` in `parent`; also of "." and "..". */
void lookup_reply(struct walfs *fs, fuse_req_t req, const struct node *parent, const char *name);

/* The kernel has forgotten `count` lookups of the node. */
void lookup_forget(struct walfs *fs, const struct node *node, uint64_t count);

/* How long the kernel may remember that `name` in `parent` is `node`, in seconds. */
double lookup_timeout(const struct node *parent, const char *name, const struct node *node);

/* What the symlink `node` holds, with NUL, at most NAMESPACE_LINK_MAX bytes. WAL_NOT_FOUND: the stream is empty, there is no checkpoint. */
int lookup_readlink(struct walfs *fs, const struct node *node, char *target);

#endif
