/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint as its file shows it, made for awk:
 *
 *	created 2026-11-20T09:00:00.123456789Z
 *	invoices 17
 *	orders 4711
 *
 * The time is UTC with nine digits of the second; then, for each stream, its name as percent_encode_column() writes it and the id
 * below which the checkpoint covers it.
 */
#ifndef WALFS_CHECKPOINT_TEXT_H
#define WALFS_CHECKPOINT_TEXT_H

#include "wal.h"

/* How long the text is. */
size_t checkpoint_text_size(const struct wal_checkpoint *checkpoint);

/* The text, without NUL, *ret_size bytes long; the caller frees it. NULL: out of memory. */
char *checkpoint_text(const struct wal_checkpoint *checkpoint, size_t *ret_size);

#endif
