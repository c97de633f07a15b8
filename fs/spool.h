/* SPDX-License-Identifier: Apache-2.0 */
/* A text being written, then read at any offset: in memory up to SPOOL_MEMORY_MAX, beyond it in an unlinked temporary file. */
#ifndef WALFS_SPOOL_H
#define WALFS_SPOOL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
	SPOOL_MEMORY_MAX = 1 << 20,
};

/* All zeros is empty. */
struct spool {
	char *data;
	size_t capacity;
	FILE *file; /* NULL: all of it is in `data` */
	uint64_t size;
	int error; /* the negative errno of the first write that failed; nothing is written after it */
};

/* A stream that writes to its end. The caller closes it before the first spool_read(), and looks at `error` then. NULL: out of memory. */
FILE *spool_open(struct spool *spool);

/* *ret_size bytes from `offset` on; 0 at the end. A negative errno of pread(2). */
int spool_read(const struct spool *spool, void *data, size_t size, uint64_t offset, size_t *ret_size);

void spool_release(struct spool *spool);

#endif
