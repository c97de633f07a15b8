/* SPDX-License-Identifier: Apache-2.0 */
/* Splits a damaged segment around its damage. See wal_repair() in wal.h for what it promises. */
#ifndef WAL_REPAIR_H
#define WAL_REPAIR_H

#include "examine.h"

/* True if wal_repair() has something to do in the segment: a damaged extent, of which `known` says whether it is recorded already. */
bool repair_wanted(const struct exam *exam, bool (*known)(void *arg, const struct extent *extent), void *arg);

/* The sidecar alone is wrong: makes it anew, with the times that it still tells. Does nothing unless all frames are good. */
int repair_meta(const struct exam *exam);

/* The last segment's file is missing, and with it the ids first_id … end_id - 1: records the loss, and starts an empty segment with the next id. */
int repair_lost(const struct env *env, int dir_fd, uint64_t first_id, uint64_t end_id);

/* Does it, durably. `known` as above. */
int repair_segment(const struct exam *exam, bool (*known)(void *arg, const struct extent *extent), void *arg);

#endif
