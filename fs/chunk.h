/* SPDX-License-Identifier: Apache-2.0 */
/* What a READDIR or READDIRPLUS is answered with, while it is filled. */
#ifndef WALFS_CHUNK_H
#define WALFS_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "walfs.h"

struct chunk {
	fuse_req_t req;
	char *data;
	size_t size, used;
	bool plus;
};

/* False if there is no room. `entry` has at least st_ino and the type. */
static inline bool chunk_add(struct chunk *chunk, const char *name, const struct fuse_entry_param *entry, uint64_t next_cookie)
{
	char *at = chunk->data + chunk->used;
	size_t room = chunk->size - chunk->used;
	size_t bytes = chunk->plus ? fuse_add_direntry_plus(chunk->req, at, room, name, entry, (off_t)next_cookie) :
				     fuse_add_direntry(chunk->req, at, room, name, &entry->attr, (off_t)next_cookie);

	if (bytes > room)
		return false;
	chunk->used += bytes;
	return true;
}

/* With node id 0 the kernel takes name, type and inode number only. */
static inline struct fuse_entry_param bare_entry(uint64_t st_ino, mode_t type)
{
	return (struct fuse_entry_param){ .attr = { .st_ino = st_ino, .st_mode = type } };
}

#endif
