/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing. The cookie of a name says where it stands (an entry's id, a stream's slot), not how far a listing has come, so listings are
 * stable while streams and entries come and go, and going on costs the same anywhere.
 *
 * READDIRPLUS is always asked for by the kernel, and answered with attributes or without: wanted.h says which. To let the kernel choose (FUSE_CAP_READDIRPLUS_AUTO) would save nothing worth having, since
 * it is the number of requests that counts, and would cost tar, du and find -size ten times the time: attributes come then with those names only that follow a lookup.
 */
#ifndef WALFS_DIR_H
#define WALFS_DIR_H

#include "handle.h"

/* Opens `node`, a directory of streams or of entries. */
void dir_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

#endif
