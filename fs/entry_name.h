/* SPDX-License-Identifier: Apache-2.0 */
/* Ids as names of entries. */
#ifndef WALFS_ENTRY_NAME_H
#define WALFS_ENTRY_NAME_H

#include <stdbool.h>
#include <stdint.h>

enum {
	ENTRY_NAME_MAX = 21, /* 20 digits and NUL */
};

/* The name that entry `id` is listed by. */
void entry_name(uint64_t id, char *name);

/* Makes the name of an entry that of the next: a listing would divide twenty times for each. */
void entry_name_next(char *name);

/* Digits only, 1 to 20 of them, below 2^64. */
bool entry_parse_id(const char *name, uint64_t *ret_id);

#endif
