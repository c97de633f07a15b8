/* SPDX-License-Identifier: Apache-2.0 */
/* Scratch directories. Functions here fail the running test when the system does not do as asked. */
#ifndef TMPDIR_H
#define TMPDIR_H

#include <limits.h>
#include <stddef.h>

struct tmpdir {
	char path[PATH_MAX];
	int fd; /* of the directory itself */
};

/* A new directory under $TMPDIR (or /tmp) with `name` in its own; that of a test that failed stays there to be looked at. */
void tmpdir_make(struct tmpdir *dir, const char *name);

/* Removes it with all that is in it, without following symlinks. */
void tmpdir_remove(struct tmpdir *dir);

/* "<dir>/<name>" in `buf` of PATH_MAX bytes, which is returned. */
char *tmpdir_path(const struct tmpdir *dir, const char *name, char *buf);

/* How many descriptors this process has open. */
size_t open_fd_count(void);

#endif
