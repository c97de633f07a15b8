/* SPDX-License-Identifier: Apache-2.0 */
/* Where the store is and where it goes: real paths, and every mistake about them named before anything is touched. */
#ifndef WALFS_PLACE_H
#define WALFS_PLACE_H

#include <limits.h>
#include <stdbool.h>

#include "wal.h"

struct place {
	char store[PATH_MAX];
	char mountpoint[PATH_MAX];
};

/* The absolute path of the store's directory, which may be missing; its parent must exist. Negative errno with a message in `err`. */
int place_find_store(struct place *place, const char *store, struct wal_error *err);

/*
 * After place_find_store(): an empty (unless `nonempty`) directory apart from the store, where no walfs is mounted, and /dev/fuse. Negative
 * errno with a message in `err`.
 */
int place_find_mountpoint(struct place *place, const char *mountpoint, bool nonempty, struct wal_error *err);

#endif
