/* SPDX-License-Identifier: Apache-2.0 */
/* Where each stream of a store stands: taken at one instant, or as a checkpoint had it; and what has to be done before and when it is recorded. */
#ifndef WAL_CUT_H
#define WAL_CUT_H

#include "store_impl.h"
#include "syncs.h"

struct cut_stream {
	struct sync_item sync;
	struct wal_stream *stream;
	uint64_t next_id;
	bool durable; /* so far, before anything was synced for it */
};

struct cut {
	struct cut_stream *streams; /* in the order of a record */
	size_t count;
};

/* Of all streams at this instant. cut_release() in any case. -ENOMEM with detail. */
int cut_take(struct wal_store *store, struct cut *cut, struct wal_error *err);

/* As `checkpoint` has it. cut_release() in any case. -EINVAL with detail if the store can't have stood so; -ENOMEM. */
int cut_given(struct wal_store *store, const struct wal_checkpoint *checkpoint, struct cut *cut, struct wal_error *err);
void cut_release(struct cut *cut);

/* Everything below it is durable when this returns 0. Else `err` names the stream. */
int cut_sync(struct cut *cut, struct wal_error *err);

/*
 * Appends the record of it to the store's checkpoints, with the id of `cp`. `given`: at the time of `cp`, and a stream that was deleted meanwhile is -ENOENT; else with the present
 * time, and without such streams.
 */
int cut_record(struct wal_store *store, const struct cut *cut, const struct wal_checkpoint *cp, bool given, unsigned flags);

#endif
