/* SPDX-License-Identifier: Apache-2.0 */
/* Where a store is mounted. */
#ifndef WALCTL_MOUNTS_H
#define WALCTL_MOUNTS_H

#include <stdbool.h>

/*
 * The mount point of the walfs that writes to the store in this directory, for free(3). NULL: there is none to be seen, or its source is not the store's path because
 * fsname was given. A mount that is read-only is not meant: it does not hold the store's lock.
 */
char *mounts_find(const char *store_path);

/* Whether a walfs is mounted at this path, whatever its store, read-only or not. */
bool mounts_is_mountpoint(const char *path);

/* The store that is mounted at this path, or what fsname calls it, for free(3). NULL: none. */
char *mounts_store_at(const char *path);

#endif
