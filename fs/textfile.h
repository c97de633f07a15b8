/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.log` and `.from/ID`: the entries of a stream from one on as one file, which grows. It is open from that entry on, whatever is pruned
 * meanwhile: places keep their offsets, and those whose entries are gone cannot be read any more (ESTALE).
 *
 * It is read with FOPEN_DIRECT_IO. The kernel's pages cannot be right in a file that grows under several readers: when the kernel hears of a new size it sets it first
 * and drops the last page, which is zeros behind the old end, a moment later. Who reads in between gets zeros. So this file reads ahead itself.
 */
#ifndef WALFS_TEXTFILE_H
#define WALFS_TEXTFILE_H

#include "handle.h"

/* The entry that `.log` (`name` NULL) or `.from/`name begins with. WAL_NOT_FOUND, WAL_PRUNED. */
int textfile_find(struct slot *slot, const char *name, uint64_t *ret_start_id);

/* How long the text from an entry on is now, also if the entry is pruned and the text still open. WAL_NOT_FOUND, WAL_PRUNED. */
int textfile_size(struct walfs *fs, struct slot *slot, uint64_t start_id, uint64_t *ret_size);

/* Opens `node`, a NODE_LOG or NODE_TEXT. ESTALE if its first entry has been pruned: the kernel then looks the name up again. EACCES unless it is for reading only. */
void textfile_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi);

#endif
