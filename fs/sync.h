/* SPDX-License-Identifier: Apache-2.0 */
/* fsync(2) of what is not being written: everything appended so far becomes durable, and the request is answered then. */
#ifndef WALFS_SYNC_H
#define WALFS_SYNC_H

#include "namespace.h"
#include "walfs.h"

/* One stream. The caller's use of `slot` is its own to end. */
void sync_stream(struct walfs *fs, struct slot *slot, fuse_req_t req);

/* All of them. */
void sync_store(struct walfs *fs, fuse_req_t req);

#endif
