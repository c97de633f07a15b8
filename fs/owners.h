/* SPDX-License-Identifier: Apache-2.0 */
/* A set of lock owners, as WRITE and FLUSH name the writing process's file table; nearly always one. All-zero: none. */
#ifndef WALFS_OWNERS_H
#define WALFS_OWNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct owners {
	uint64_t *list; /* the holder of the struct frees it */
	size_t count, room;
};

bool owners_has(const struct owners *owners, uint64_t owner);

/* Room for one more, so that adding it cannot fail. */
int owners_reserve(struct owners *owners);
void owners_add(struct owners *owners, uint64_t owner);

#endif
