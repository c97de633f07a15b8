/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes that checkpoints.log and HEAD must have, put together by hand from what the format says. Functions fail the running test. */
#ifndef CKPTFILE_H
#define CKPTFILE_H

#include <stddef.h>
#include <stdint.h>

#include "wal.h"

struct ckptfile {
	uint8_t *data;
	size_t size;
};

/* Adds a record of version 1 (the cuts' ids alone) or 2 (names and ids). */
void ckptfile_add(struct ckptfile *file, unsigned version, const struct wal_checkpoint *checkpoint);
/* Adds the record of the checkpoint that the store has under that id. */
void ckptfile_add_from(struct ckptfile *file, unsigned version, struct wal_store *store, const void *id, size_t id_size);
void ckptfile_release(struct ckptfile *file);

/* The checkpoints.log in the directory `store` has these bytes and no others. */
void ckptfile_expect(const struct ckptfile *file, const char *store);
/* Its HEAD names `id`; NULL: it has none. */
void ckptfile_expect_head(const char *store, const void *id, size_t id_size);

#endif
