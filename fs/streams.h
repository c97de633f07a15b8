/* SPDX-License-Identifier: Apache-2.0 */
/* mkdir(2) and rmdir(2) of streams. Both sync, so the pool does them. */
#ifndef WALFS_STREAMS_H
#define WALFS_STREAMS_H

#include "walfs.h"

/* Answer the request. */
void streams_make(struct walfs *fs, const char *name, fuse_req_t req);
void streams_remove(struct walfs *fs, const char *name, fuse_req_t req);

#endif
