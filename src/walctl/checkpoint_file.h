/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A checkpoint as the file that a mount shows of it: its name below .checkpoints, and
 *
 *	created 2026-11-20T09:00:00.123456789Z
 *	invoices 17
 *	orders 4711
 */
#ifndef WALCTL_CHECKPOINT_FILE_H
#define WALCTL_CHECKPOINT_FILE_H

#include "coding.h"
#include "walctl.h"

#define CHECKPOINT_DIR ".checkpoints"

/* The text, for free(3). NULL: no memory. */
char *checkpoint_file_text(const struct wal_checkpoint *checkpoint, size_t *ret_size);

/*
 * The reverse: the checkpoint of this id, one allocation, for free(3). -EBADMSG: it is none, and ret_fault says which line is wrong and what was
 * expected. -ENOMEM.
 */
int checkpoint_file_parse(const struct bytes *id, const char *text, size_t size, struct wal_checkpoint **ret_checkpoint, char ret_fault[128]);

#endif
