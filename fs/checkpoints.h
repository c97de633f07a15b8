/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.checkpoints`: the checkpoints of the store as names, nodes and attributes.
 *
 * A table keeps every id that was ever seen in this mount, and what stat(2) says of its checkpoint; wal_checkpoint_version() tells when
 * that has to be looked at again. The table grows by ids, not by lookups: a name that means no checkpoint is not kept.
 */
#ifndef WALFS_CHECKPOINTS_H
#define WALFS_CHECKPOINTS_H

#include <stdatomic.h>
#include <sys/stat.h>

#include "checkpoint_table.h"
#include "ino.h"
#include "percent.h"
#include "walfs.h"

/* The names as they stood at one moment, from the oldest to the newest. */
struct checkpoint_list {
	atomic_uint refs;
	uint64_t version;
	size_t count;
	struct checkpoint *checkpoints[];
};

/* An id, by a name. */
struct checkpoint_id {
	const void *bytes;
	size_t size;
	char buffer[PERCENT_NAME_MAX];
};

/* -ENOMEM and what wal_checkpoint_latest() returns. */
int checkpoints_new(struct walfs *fs, struct checkpoints **ret_checkpoints);
void checkpoints_free(struct checkpoints *checkpoints);

/* The id that a file name means, whether there is such a checkpoint or not; HEAD means the latest. WAL_NOT_FOUND, -ENAMETOOLONG. May read the disk. */
int checkpoints_resolve(struct walfs *fs, const char *name, struct checkpoint_id *ret_id);

/* The node called `name` in `.checkpoints`. WAL_NOT_FOUND, -ENAMETOOLONG … May read the disk. */
int checkpoints_lookup(struct walfs *fs, const char *name, struct node *ret_node);

/* Type, mode, size and times of NODE_CHECKPOINTS, NODE_HEAD or NODE_CHECKPOINT, and st_ino. WAL_NOT_FOUND … May read the disk. */
int checkpoints_stat(struct walfs *fs, const struct node *node, struct stat *st);

/* The name of the latest, with NUL. WAL_NOT_FOUND: there is none. */
int checkpoints_readlink(struct walfs *fs, char *target);

/* A list of now. It is given back by checkpoint_list_put(). -ENOMEM … */
int checkpoints_list(struct walfs *fs, struct checkpoint_list **ret_list);
void checkpoint_list_put(struct checkpoint_list *list);

/* While it is open its attributes outlive it. */
struct checkpoint *checkpoint_ref(struct walfs *fs, uint64_t index);
void checkpoint_unref(struct walfs *fs, struct checkpoint *checkpoint);

/* Block, for syncs. As wal_checkpoint_create() with WAL_EXCL and wal_checkpoint_remove(); they complain to the log themselves. */
int checkpoints_create(struct walfs *fs, const char *name);
int checkpoints_remove(struct walfs *fs, const char *name);
int checkpoints_compact(struct walfs *fs, size_t keep);

#endif
