/* SPDX-License-Identifier: Apache-2.0 */
/* The engine's own way into a store: tests open one over system calls of theirs. */
#ifndef WAL_STORE_H
#define WAL_STORE_H

#include "sys.h"
#include "wal.h"

/* wal_store_open() over `sys`, which outlives the store. */
int store_open(struct sys *sys, const char *path, const struct wal_options *opts, struct wal_store **ret_store, struct wal_error *err);

/* How many segments it has open now. */
size_t store_open_segments(struct wal_store *store);

#endif
