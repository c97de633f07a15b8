/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams as nodes, and attributes: what stat(2) says about each node.
 *
 * The streams of the store stand in a table of *slots*, from which node ids are made (see ino.h). Only this process changes the store, so
 * what mkdir and rmdir do here is all that ever happens to the table. Nothing is kept for entries. What is below `.at` has slots of its own: see cut.h.
 */
#ifndef WALFS_NAMESPACE_H
#define WALFS_NAMESPACE_H

#include <sys/stat.h>

#include "entry_name.h"
#include "ino.h"
#include "walfs.h"
#include "wanted.h"

/*
 * The time of what has none of its own. `new` must look the same for ever, or rsync would send it each time. 2000-01-01: tar warns about
 * 1970, zip knows nothing before 1980.
 */
#define NAMESPACE_TIME_NS (INT64_C(946684800) * 1000000000)

/* How long the kernel may remember what does not change, in seconds. Below `.at` nobody tells it what is pruned or deleted. */
#define NAMESPACE_TIMEOUT_LONG (365.0 * 24 * 3600)
#define NAMESPACE_TIMEOUT_CUT 1.0

struct cut;
struct textfile;

/*
 * One stream; or a stream as of a checkpoint; or a checkpoint's directory, which has no stream. Used from slot_get() to slot_put(); the constant fields need no lock.
 */
struct slot {
	uint32_t index;
	uint64_t ino_base;
	struct wal_stream *stream;
	struct wanted wanted;
	uint64_t lines_lookups; /* of `.lines`, ever; only the loop looks */
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

/* Whether the slot's stream has been deleted. */
bool slot_is_removed(struct walfs *fs, struct slot *slot);

/* The stream with this name. WAL_NOT_FOUND. */
int namespace_find(struct walfs *fs, const char *name, struct node *ret_node);

/*
 * Copies the name of the first stream at or after slot `index`, and says which that is; false after the last. Deleted streams are stepped
 * over, so a listing that remembers a slot number is not disturbed by mkdir and rmdir. `name` has room for WAL_STREAM_NAME_MAX + 1 bytes.
 */
bool namespace_next(struct walfs *fs, uint32_t index, uint32_t *ret_index, char *name, uint64_t *ret_ino_base);

/* How many streams there are. */
uint32_t namespace_count(struct walfs *fs);

/* mkdir, rmdir. Block. As wal_stream_open() with WAL_CREATE and wal_stream_delete(); -ENOSPC when the slots are used up. */
int namespace_create(struct walfs *fs, const char *name, struct node *ret_node);
int namespace_delete(struct walfs *fs, const char *name);

/* Whether the stream in this slot was deleted, and then its inode numbers and when that was. */
bool namespace_removed(struct walfs *fs, uint32_t index, uint64_t *ret_ino_base, int64_t *ret_removed_ns);

/* How many streams there are, and when one was last made or deleted. */
void namespace_root(struct walfs *fs, uint32_t *ret_streams, int64_t *ret_mtime_ns);

/* ---- namespace_stat.c ---- */

/* Attributes of a node. WAL_NOT_FOUND, WAL_PRUNED, -EBADMSG … */
int namespace_stat(struct walfs *fs, const struct node *node, struct stat *ret);

/* Those of a node in a slot whose stream has been deleted, for whom it is still open: no link, no size. WAL_NOT_FOUND: not deleted, or never there. */
int namespace_stat_removed(struct walfs *fs, const struct node *node, struct stat *ret);

/* The same as namespace_stat() with all that a LOOKUP, MKDIR or READDIRPLUS replies, but for entry_timeout: see lookup_timeout(). */
int namespace_entry(struct walfs *fs, const struct node *node, struct fuse_entry_param *ret);

/* How long the kernel may keep the attributes, in seconds. */
double namespace_attr_timeout(const struct node *node);

enum {
	NAMESPACE_LINK_MAX = WAL_STREAM_NAME_MAX + 4,
};

/* The clock; and all three times of `st`, of which nothing here has more than one. */
int64_t namespace_now_ns(void);
void namespace_set_times(struct stat *st, int64_t ns);

#endif
