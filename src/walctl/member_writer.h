/* SPDX-License-Identifier: Apache-2.0 */
/* What puts directories and files somewhere: into an archive, or as they are. */
#ifndef WALCTL_MEMBER_WRITER_H
#define WALCTL_MEMBER_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Paths are relative. Functions return 0 or a negative errno, and then `fault` says more, if it isn't empty. Nothing is to be called after a failure
 * but free().
 */
struct member_writer {
	int (*dir)(struct member_writer *writer, const char *path, int64_t time_ns);
	/* A file, whose bytes then come through data(), `size` in all, and end(). `fixed`: one of this path, size and time holds the same already. */
	int (*file)(struct member_writer *writer, const char *path, uint64_t size, int64_t time_ns, bool fixed);
	int (*data)(struct member_writer *writer, const void *data, size_t size);
	int (*end)(struct member_writer *writer);
	int (*finish)(struct member_writer *writer);
	void (*free)(struct member_writer *writer);
	char fault[512];
};

/* A tar archive with pax headers, to `file`, which stays the caller's. -ENOMEM. */
int tar_writer_new(FILE *file, struct member_writer **ret_writer);

/* Files below the directory `path`, which is made if its parent is there. What is there already stays or is replaced; each gets its name when it is whole. */
int dir_writer_new(const char *path, struct member_writer **ret_writer);

#endif
