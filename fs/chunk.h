/* SPDX-License-Identifier: Apache-2.0 */
/* What a READDIR or READDIRPLUS is answered with, while it is filled. */
#ifndef WALFS_CHUNK_H
#define WALFS_CHUNK_H

#include <assert.h>
#include <linux/fuse.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>

#include "entry_name.h"
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

/* Where struct fuse_dirent is in what chunk_add() adds. The kernel's interface, which never changes. */
static_assert(offsetof(struct fuse_direntplus, dirent) == 128 && offsetof(struct fuse_dirent, name) == 24, "as libfuse lays them out");

static inline void chunk_put(char *at, uint64_t value)
{
	memcpy(at, &value, sizeof(value));
}

/*
 * After an entry's `name` was added as bare_entry(ino, …): adds up to `count` more of the kind, with the names, inode numbers and cookies that follow, and returns how many. They differ in nothing else
 * from the first, which is copied: putting together each anew takes several times as long.
 */
static inline uint64_t chunk_add_following(struct chunk *chunk, const char *first_name, uint64_t ino, uint64_t cookie, uint64_t count)
{
	const size_t dirent = chunk->plus ? offsetof(struct fuse_direntplus, dirent) : 0;
	const size_t bytes = FUSE_DIRENT_ALIGN(dirent + FUSE_NAME_OFFSET + ENTRY_NAME_MAX - 1);
	const size_t room = (chunk->size - chunk->used) / bytes;
	char first[FUSE_DIRENT_ALIGN(FUSE_NAME_OFFSET_DIRENTPLUS + ENTRY_NAME_MAX - 1)], name[ENTRY_NAME_MAX];
	char *at = chunk->data + chunk->used;

	memcpy(first, at - bytes, bytes);
	memcpy(name, first_name, sizeof(name));
	if (count > room)
		count = room;
	for (uint64_t i = 1; i <= count; i++, at += bytes) {
		memcpy(at, first, bytes);
		if (chunk->plus)
			chunk_put(at + offsetof(struct fuse_direntplus, entry_out.attr.ino), ino + i);
		chunk_put(at + dirent + offsetof(struct fuse_dirent, ino), ino + i);
		chunk_put(at + dirent + offsetof(struct fuse_dirent, off), cookie + i);
		entry_name_next(name);
		memcpy(at + dirent + offsetof(struct fuse_dirent, name), name, ENTRY_NAME_MAX - 1);
	}
	chunk->used += count * bytes;
	return count;
}

/* With node id 0 the kernel takes name, type and inode number only. */
static inline struct fuse_entry_param bare_entry(uint64_t st_ino, mode_t type)
{
	return (struct fuse_entry_param){ .attr = { .st_ino = st_ino, .st_mode = type } };
}

#endif
