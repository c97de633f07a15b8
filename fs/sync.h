/* SPDX-License-Identifier: Apache-2.0 */
/* fsync(2) of what is not being written: everything appended so far becomes durable, and the request is answered then. */
#ifndef WALFS_SYNC_H
#define WALFS_SYNC_H

#include "namespace.h"
#include "walfs.h"

/*
 * For the loop, before it begins what waits for a sync and is waited for by a client: whether to do that in place, because nobody else waits for one. Then the caller is no part of the loop until its
 * handler returns. Else by a callback: many that wait at once share syncs so, and a few threads do them.
 */
bool sync_in_place(struct walfs *fs);

/* One stream. The caller's use of `slot` is its own to end. */
void sync_stream(struct walfs *fs, struct slot *slot, fuse_req_t req);

/* The same, called by the loop and last of all in a handler: it may be in place. */
void sync_stream_by_loop(struct walfs *fs, struct slot *slot, fuse_req_t req);

/* All of them. */
void sync_store(struct walfs *fs, fuse_req_t req);

#endif
