/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing. The cookie of a name says where it stands (an entry's id, a stream's slot), not how far a listing has come, so listings are
 * stable while streams and entries come and go, and going on costs the same anywhere.
 *
 * Attributes with the names save a LOOKUP each when somebody wants them and cost four times the listing when nobody does. READDIRPLUS is
 * always asked for by the kernel; it is answered without attributes until LOOKUPs come in for the names just listed.
 */
#ifndef WALFS_DIR_H
#define WALFS_DIR_H

#include "handle.h"

/* Opens `node`, a directory of streams or of entries. */
void dir_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

#endif
