/* SPDX-License-Identifier: Apache-2.0 */
/* struct wal_store, as its own files (store*.c, checkpoint.c, shard.c) see it. */
#ifndef WAL_STORE_IMPL_H
#define WAL_STORE_IMPL_H

#include "ckptlog.h"
#include "root.h"
#include "stream_impl.h"

/* Lock order: change_lock -> cut_lock | lock -> stream.lock; change_lock -> the lock in struct ckptlog. */
struct wal_store {
	struct engine engine;
	char *path;
	struct root root;
	struct ckptlog *checkpoints;
	uint32_t shards; /* 0: not sharded; constant once it is open */

	/* Makes and deletes streams one at a time, and keeps them from coming and going while a cut is recorded; held over system calls. */
	pthread_mutex_t change_lock;

	pthread_mutex_t cut_lock; /* one cut at a time is taken */
	/* protected by cut_lock */
	stats_counter checkpoints_made, checkpoint_errors;
	struct stats_histogram checkpoint_time;

	pthread_mutex_t lock;
	/* protected by lock */
	struct wal_stream **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
};

/* The stream's reference goes to the table. */
void store_add_stream(struct wal_store *store, struct wal_stream *st);

/* With a reference for the caller, or NULL. */
struct wal_stream *store_get_stream(struct wal_store *store, const char *name);

/* All streams, each with a reference, as an array to be freed with free(3); NULL if out of memory. */
struct wal_stream **store_all_streams(struct wal_store *store, size_t *ret_count);

/* Makes a stream, whatever its name. Caller holds store->change_lock. */
int store_create_stream(struct wal_store *store, const char *name, struct wal_stream **ret_stream, struct wal_error *err);

#endif
