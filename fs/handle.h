/* SPDX-License-Identifier: Apache-2.0 */
/* An open file or directory: fi->fh points to one of these, embedded in the struct of its kind. */
#ifndef WALFS_HANDLE_H
#define WALFS_HANDLE_H

#include <stdatomic.h>
#include <stddef.h>

#include "namespace.h"
#include "walfs.h"

struct handle;

/* What is open, as metrics tell it. */
enum handle_kind {
	HANDLE_OTHER,
	HANDLE_ENTRY,
	HANDLE_NEW,
	HANDLE_LINES,
	HANDLE_BATCH,
	HANDLE_LOG, /* `.from/ID` too */
	HANDLE_FOLLOW,
	HANDLE_DIRECTORY,
	HANDLE_CHECKPOINT,
	HANDLE_CONTROL,
	HANDLE_STATS,
	HANDLE_KINDS,
};

/*
 * What a kind of handle can do. Called by the loop only. Those that take a request answer it, perhaps later. NULL: read, write, truncate
 * and readdir fail, flush and fsync have nothing to do.
 */
struct handle_ops {
	enum handle_kind kind;
	void (*read)(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset);
	/* Instead of it, for what has no offsets: `flags` are those that the file has now. */
	void (*read_next)(struct handle *handle, fuse_req_t req, size_t size, int flags);
	/* Answers what is ready now, and may notify `poller` (may be NULL), which is its own. NULL: always ready. */
	void (*poll)(struct handle *handle, fuse_req_t req, struct fuse_pollhandle *poller);
	void (*write)(struct handle *handle, fuse_req_t req, const char *data, size_t size, uint64_t offset,
		      const struct fuse_file_info *fi);
	void (*flush)(struct handle *handle, fuse_req_t req, uint64_t lock_owner);
	void (*fsync)(struct handle *handle, fuse_req_t req);
	int (*truncate)(struct handle *handle, uint64_t size); /* 0 or a negative errno */
	void (*readdir)(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset, bool plus);
	void (*release)(struct handle *handle); /* the last close has happened; may be NULL */
	void (*free)(struct handle *handle);	/* nobody has it any more */
};

struct handle {
	const struct handle_ops *ops;
	struct walfs *fs;
	struct slot *slot; /* NULL for the root's */
	atomic_uint refs;
	struct handle *next, **link; /* in fs->handles, protected by fs->lock */
};

#define handle_container(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* Takes over the caller's use of `slot` (may be NULL). One reference is the caller's: the kernel's, until RELEASE. */
void handle_init(struct handle *handle, const struct handle_ops *ops, struct walfs *fs, struct slot *slot);

/* For whoever goes on with a handle after its request's handler returned. */
void handle_ref(struct handle *handle);
void handle_unref(struct handle *handle);

/* How many of each kind there are. */
void handle_count(struct walfs *fs, uint64_t ret_counts[HANDLE_KINDS]);

/* One word. */
const char *handle_kind_name(enum handle_kind kind);

/* Frees what is still open after the mount has ended. Nothing is in flight. */
void handle_free_all(struct walfs *fs);

static inline struct handle *handle_from(const struct fuse_file_info *fi)
{
	return (struct handle *)(uintptr_t)fi->fh;
}

#endif
