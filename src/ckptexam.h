/* SPDX-License-Identifier: Apache-2.0 */
/* What is wrong with checkpoints.log and HEAD, for wal_verify() and wal_repair(). */
#ifndef WAL_CKPTEXAM_H
#define WAL_CKPTEXAM_H

#include "segment.h"

/*
 * Tells of everything found in the store's root, with what ckptexam_mend() would do about it; *ret_mend says whether that is anything. What another process changes meanwhile is looked at again.
 * Changes nothing. -ENOMEM; what can't be read is told.
 */
int ckptexam_run(const struct env *env, void (*tell)(void *arg, const struct wal_finding *finding), void *arg, bool *ret_mend);

/*
 * Does what opening the log for writing does; the caller holds the store's lock. Unlike that, what can't be read or put aside is an error.
 */
int ckptexam_mend(const struct env *env);

#endif
