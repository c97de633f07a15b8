/* SPDX-License-Identifier: Apache-2.0 */
#include "sync.h"

#include <errno.h>
#include <stdlib.h>

struct stream_sync {
	struct wal_op op;
	struct walfs *fs;
	struct slot *slot;
	fuse_req_t req;
};

bool sync_in_place(struct walfs *fs)
{
	return !atomic_load(&fs->syncs_waiting) && loop_hand_over(&fs->loop);
}

static void stream_sync_done(struct wal_op *op)
{
	struct stream_sync *sync = op->arg;
	struct walfs *fs = sync->fs;

	atomic_fetch_sub(&fs->syncs_waiting, 1);
	walfs_reply_err(sync->req, walfs_errno_open(op->result));
	slot_put(fs, sync->slot);
	free(sync);
	walfs_end(fs);
}

void sync_stream(struct walfs *fs, struct slot *slot, fuse_req_t req)
{
	struct stream_sync *sync = calloc(1, sizeof(*sync));

	if (!sync) {
		walfs_reply_err(req, ENOMEM);
		return;
	}
	walfs_begin(fs);
	slot_ref(fs, slot);
	atomic_fetch_add(&fs->syncs_waiting, 1);
	*sync = (struct stream_sync){ .op = { .done = stream_sync_done, .arg = sync }, .fs = fs, .slot = slot, .req = req };
	wal_stream_submit(slot->stream, &sync->op);
}

void sync_stream_by_loop(struct walfs *fs, struct slot *slot, fuse_req_t req)
{
	walfs_begin(fs);
	slot_ref(fs, slot);
	if (sync_in_place(fs))
		walfs_reply_err(req, walfs_errno_open(wal_stream_sync(slot->stream)));
	else
		sync_stream(fs, slot, req);
	slot_put(fs, slot);
	walfs_end(fs);
}

struct store_sync {
	struct job job;
	struct walfs *fs;
	fuse_req_t req;
};

static void store_sync_run(struct job *job)
{
	struct store_sync *sync = (struct store_sync *)job;
	struct walfs *fs = sync->fs;

	walfs_reply_err(sync->req, walfs_errno(wal_store_sync(fs->store)));
	free(sync);
	walfs_end(fs);
}

void sync_store(struct walfs *fs, fuse_req_t req)
{
	struct store_sync *sync = malloc(sizeof(*sync));

	if (!sync) {
		walfs_reply_err(req, ENOMEM);
		return;
	}
	walfs_begin(fs);
	*sync = (struct store_sync){ .job = { .run = store_sync_run }, .fs = fs, .req = req };
	pool_submit(&fs->pool, &sync->job);
}
