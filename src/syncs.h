/* SPDX-License-Identifier: Apache-2.0 */
/* Several streams synced at once: a disk takes many syncs together in far less time than one after the other. */
#ifndef WAL_SYNCS_H
#define WAL_SYNCS_H

#include <pthread.h>

#include "wal.h"

struct sync_item {
	struct wal_op op;
	struct syncs *syncs;
	struct wal_stream *stream;
};

struct syncs {
	struct sync_item *own; /* added last: is done by the thread that waits, which leaves a worker for the others */
	pthread_mutex_t lock;
	pthread_cond_t done;
	size_t pending; /* protected by lock */
};

void syncs_begin(struct syncs *syncs);

/* The caller's handle of the stream, and the item, stay until syncs_wait() has returned. */
void syncs_add(struct syncs *syncs, struct sync_item *item, struct wal_stream *stream);

/* Everything that was appended to these streams before they were added is durable when this returns, or item->op.result of one says what failed. Blocks. */
void syncs_wait(struct syncs *syncs);

#endif
