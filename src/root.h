/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root directory of a store: whether it is one, its lock, and the directories in it.
 *
 * LOCK holds the pid of the process that has the store open for writing, on its second line what the directory is, and on a third, if the store is sharded, the number of shards;
 * it stays when the store is closed. The lock itself is an flock, so it ends with the process, however that ends.
 */
#ifndef WAL_ROOT_H
#define WAL_ROOT_H

#include "segment.h"

struct root {
	struct env *env;
	const char *path; /* the caller's, which outlives it */
	int lock_fd;	  /* -1: read-only */
	bool fresh;	  /* it was empty */
	uint32_t shards;  /* that LOCK tells of; 0: of none */
	char **dirs;	  /* the names of the directories in it */
	size_t dir_count;
};

/*
 * Opens `path` as env->opts says (ro, no_create, lock_wait_ms): sets env->root_fd, checks that it is a store or may become one, takes the lock unless ro, lists its
 * directories. A store that can't be written makes env->opts.ro true. Errors as wal_store_open(). root_close() in any case.
 */
int root_open(struct root *root, struct env *env, const char *path, struct wal_error *err);

/* Has LOCK tell of `shards` from now on, durably. Not read-only. */
int root_record_shards(struct root *root, uint32_t shards);

/* Releases the lock and all else. */
void root_close(struct root *root);

/* The names are no longer needed. */
void root_forget_dirs(struct root *root);

/* Whether the directory `name` holds any file that makes it a stream: 1, 0, < 0. */
int root_looks_like_stream(const struct env *env, const char *name);

#endif
