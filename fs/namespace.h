/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names, nodes and attributes: which node a name is, and what stat(2) says about it.
 *
 * The streams of the store stand in a table of *slots*, from which node ids are made (see ino.h). Only this process changes the store, so
 * what mkdir and rmdir do here is all that ever happens to the table. Nothing is kept for entries. What is below `.at` has slots of its own, see cut.h.
 */
#ifndef WALFS_NAMESPACE_H
#define WALFS_NAMESPACE_H

#include <sys/stat.h>

#include "ino.h"
#include "walfs.h"

struct cut;
struct textfile;

/*
 * One stream; or a stream as of a checkpoint; or a checkpoint's directory, which has no stream. Used from slot_get() to slot_put(); the constant fields need no lock.
 */
struct slot {
	uint32_t index;
	uint64_t ino_base;
	struct wal_stream *stream;
	uint64_t lookups; /* of entries' names, ever; only the loop looks */
	uint64_t end_id;  /* entries from this one on are not to be seen; UINT64_MAX: all are */
	struct cut *cut;  /* the checkpoint; NULL in a stream's own slot */
	struct slot *live; /* the stream's own slot; NULL in that itself */

	struct textfile *texts; /* those that are open, protected by fs->lock */

	/* protected by namespace.lock, or of those with a cut by cuts.lock */
	unsigned users;
	bool removed;
	struct slot *chain; /* in the hash table */
	uint64_t known;	    /* the kernel's lookups; only of those with a cut */
	char name[];
};

/* Lists the store. -ENOMEM and what wal_store_list() returns. */
int namespace_new(struct walfs *fs, const char *store_path, struct namespace **ret_names);
void namespace_free(struct namespace *names);

/* The stream of a slot, opened. WAL_NOT_FOUND: it is deleted, or never was. Whatever wal_stream_open() returns. */
int slot_get(struct walfs *fs, uint32_t index, struct slot **ret_slot);
void slot_put(struct walfs *fs, struct slot *slot);

/* One more user of a slot that the caller uses. */
void slot_ref(struct walfs *fs, struct slot *slot);

/* The ids that are to be seen in it, as wal_stream_bounds(). */
void slot_bounds(struct slot *slot, uint64_t *ret_first, uint64_t *ret_next);

/* The slot that the entries' nodes are in. */
static inline struct slot *slot_of_entries(struct slot *slot)
{
	return slot->live ? slot->live : slot;
}

/* The stream with this name, as slot_get(). */
int namespace_get(struct walfs *fs, const char *name, struct slot **ret_slot);

/* Whether the slot's stream has been deleted. */
bool slot_is_removed(struct walfs *fs, struct slot *slot);

/*
 * Copies the name of the first stream at or after slot `index`, and says which that is; false after the last. Deleted streams are stepped
 * over, so a listing that remembers a slot number is not disturbed by mkdir and rmdir. `name` has room for WAL_STREAM_NAME_MAX + 1 bytes.
 */
bool namespace_next(struct walfs *fs, uint32_t index, uint32_t *ret_index, char *name, uint64_t *ret_ino_base);

/* mkdir, rmdir. Block. As wal_stream_open() with WAL_CREATE and wal_stream_delete(); -ENOSPC when the slots are used up. */
int namespace_create(struct walfs *fs, const char *name, struct node *ret_node);
int namespace_delete(struct walfs *fs, const char *name);

/*
 * The node called `name` in `parent`; also "." and "..". WAL_NOT_FOUND, WAL_PRUNED, -ENAMETOOLONG, -EOVERFLOW … The lookup is counted: if the kernel does not get to know
 * of it, namespace_forget() it.
 */
int namespace_lookup(struct walfs *fs, const struct node *parent, const char *name, struct node *ret_node);
void namespace_forget(struct walfs *fs, const struct node *node, uint64_t count);

/* Attributes of a node. WAL_NOT_FOUND, WAL_PRUNED, -EBADMSG … */
int namespace_stat(struct walfs *fs, const struct node *node, struct stat *ret);

/* The same with all that a LOOKUP, MKDIR or READDIRPLUS replies, time-outs included. */
int namespace_entry(struct walfs *fs, const struct node *node, struct fuse_entry_param *ret);

/* For an entry that is replied for a name in `parent`: below `.at` names do not last as long as what they name. */
void namespace_limit_entry(const struct node *parent, struct fuse_entry_param *entry);

/* How long the kernel may keep the attributes, in seconds. */
double namespace_attr_timeout(const struct node *node);

/* What the symlink `node` holds, with NUL, at most LINK_MAX_BYTES. WAL_NOT_FOUND: the stream is empty. */
int namespace_readlink(struct walfs *fs, const struct node *node, char *target);

enum {
	ENTRY_NAME_MAX = 21, /* 20 digits and NUL */
	LINK_MAX_BYTES = WAL_STREAM_NAME_MAX + 1,
};

/* The name that entry `id` is listed by. */
void entry_name(uint64_t id, char *name);

/* The id that an entry can be looked up by: digits only, 1 to 20 of them, below 2^64. */
bool entry_id(const char *name, uint64_t *ret_id);

#endif
