/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One entry that comes in pieces and is wanted in one piece: in memory as long as it is small, else in an unlinked file that is mapped, so that an entry of 4 GiB does not
 * have to fit into memory.
 */
#ifndef IMPORT_BLOB_H
#define IMPORT_BLOB_H

#include <stddef.h>
#include <stdint.h>

struct blob {
	const char *directory; /* for the file */
	uint64_t size;
	/* its own */
	uint8_t *memory;
	size_t capacity;
	int fd; /* -1: still in memory */
	void *map;
	uint64_t mapped;
};

void blob_init(struct blob *blob, const char *directory);

/* Begins the next one; the bytes of the one before are gone. */
void blob_clear(struct blob *blob);

/* -EFBIG: more than an entry may have. -ENOSPC … from the file. */
int blob_add(struct blob *blob, const void *data, size_t size);

/* All of it, valid until the next call. */
int blob_data(struct blob *blob, const void **ret);

void blob_release(struct blob *blob);

#endif
