/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.shard` of a sharded store: `.shard/KEY` is a link to the directory of the shard that the key KEY belongs to. A key that can't be a file name is
 * written with %XX for bytes.
 */
#ifndef WALFS_SHARDS_H
#define WALFS_SHARDS_H

#include <sys/stat.h>

#include "ino.h"
#include "walfs.h"

/* Every name is one of a key. */
int shards_lookup(struct walfs *fs, const char *name, struct node *ret_node);

/* Type, mode, size and times of NODE_SHARDS or NODE_SHARD. WAL_NOT_FOUND: no such shard. */
int shards_stat(struct walfs *fs, const struct node *node, struct stat *st);

/* "../" and the name of the shard's stream, with NUL. */
int shards_readlink(struct walfs *fs, const struct node *node, char *target);

#endif
