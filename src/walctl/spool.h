/* SPDX-License-Identifier: Apache-2.0 */
/* One entry that is too large for memory: put together in a file without a name, then mapped. */
#ifndef WALCTL_SPOOL_H
#define WALCTL_SPOOL_H

#include <stddef.h>
#include <stdint.h>

struct spool {
	int fd; /* -1: none */
	void *map;
	size_t map_size;
};

/* An empty one, in the file system of directory `path`, or where that can't have files without names in $TMPDIR or /var/tmp. A negative errno. */
int spool_begin(struct spool *spool, const char *path);
int spool_add(struct spool *spool, const void *data, size_t size);

/* All `size` bytes of it, valid until spool_end(). */
int spool_map(struct spool *spool, size_t size, const void **ret_data);
void spool_end(struct spool *spool);

#endif
