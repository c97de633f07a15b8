/* SPDX-License-Identifier: Apache-2.0 */
/* Where an import that appends behind other entries began: the only thing about it that the stream does not tell. Kept in a file of its own, outside the store. */
#ifndef IMPORT_STATE_H
#define IMPORT_STATE_H

#include "walctl.h"

/* What the file must be about; the texts stand in it. */
struct import_state {
	const char *from, *source, *stream;
	uint64_t base; /* the id of the first entry */
};

/* Reads it. WAL_NOT_FOUND: there is none; -EINVAL: it is about something else, or is none of ours. */
int state_load(const char *path, struct import_state *state, struct wal_error *err);

/* Writes it, durably. */
int state_save(const char *path, const struct import_state *state, struct wal_error *err);

#endif
