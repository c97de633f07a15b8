/* SPDX-License-Identifier: Apache-2.0 */
/* A directory for one run of a target, in memory where the system has such a place. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include <stddef.h>

struct scratch {
	char path[4096];
	int fd;
};

void scratch_make(struct scratch *s);
/* `name` may have one slash; the directory before it is there. */
void scratch_write(const struct scratch *s, const char *name, const void *data, size_t size);
void scratch_remove(struct scratch *s);

#endif
