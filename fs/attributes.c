/* SPDX-License-Identifier: Apache-2.0 */
#include "attributes.h"

#include <errno.h>
#include <unistd.h>

#include "handle.h"

/*
 * A path does not lead to what is gone, but an open file does, or a working directory: there it has no name any more and no size, as on other filesystems. WAL_NOT_FOUND for
 * what never was.
 */
static int stat_or_removed(struct walfs *fs, const struct node *node, struct stat *ret)
{
	int r = namespace_stat(fs, node, ret);

	return r == WAL_NOT_FOUND && node_has_slot(node) ? namespace_stat_removed(fs, node, ret) : r;
}

/* The kernel keeps those of an entry for long, unless it was told not to, in order that this is seen. */
static void count(struct walfs *fs, const struct node *node)
{
	struct slot *slot;

	if (node->kind == NODE_ENTRY && slot_get(fs, node->slot, &slot) == 0) {
		slot->wanted.getattrs++;
		slot_put(fs, slot);
	}
}

void attributes_get(struct walfs *fs, const struct node *node, fuse_req_t req)
{
	struct stat st;
	int r = stat_or_removed(fs, node, &st);

	count(fs, node);
	/* By a path the kernel looks up again then, and finds that there is no such name any more. */
	if (r)
		walfs_reply_err(req, r == WAL_PRUNED ? ESTALE : walfs_errno(r));
	else
		fuse_reply_attr(req, &st, namespace_attr_timeout(node));
}

static bool changes_owner_or_mode(const struct stat *now, const struct stat *wanted, int to_set)
{
	return (to_set & FUSE_SET_ATTR_MODE && (wanted->st_mode ^ now->st_mode) & 07777) ||
	       (to_set & FUSE_SET_ATTR_UID && wanted->st_uid != now->st_uid) ||
	       (to_set & FUSE_SET_ATTR_GID && wanted->st_gid != now->st_gid);
}

/*
 * Nothing can be changed. `new` lets pass what `touch`, `cp -p`, `rsync -a` and `> new` do to it as to any file they write, and stays as it
 * is, and so do control files. A checkpoint is not moved by `touch`. Directories let pass what changes nothing, entries not even that.
 */
static int set_attributes(const struct node *node, const struct stat *now, const struct stat *wanted, int to_set,
			  const struct fuse_file_info *fi)
{
	const int times = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_ATIME_NOW | FUSE_SET_ATTR_MTIME_NOW |
			  FUSE_SET_ATTR_CTIME;

	if (node->kind != NODE_NEW && changes_owner_or_mode(now, wanted, to_set))
		return -EPERM;
	switch (node->kind) {
	case NODE_NEW:
		if (!(to_set & FUSE_SET_ATTR_SIZE))
			return 0;
		if (fi && handle_from(fi)->ops->truncate)
			return handle_from(fi)->ops->truncate(handle_from(fi), (uint64_t)wanted->st_size);
		return wanted->st_size ? -EPERM : 0;
	case NODE_PRUNE:
	case NODE_ROTATE:
	case NODE_BATCH:
	case NODE_LINES:
	case NODE_CHECKPOINTS_PRUNE:
	case NODE_CHECKPOINTS_COMPACT:
		return to_set & FUSE_SET_ATTR_SIZE && wanted->st_size ? -EPERM : 0;
	case NODE_CHECKPOINT:
		return to_set & FUSE_SET_ATTR_SIZE ? -EPERM : 0;
	case NODE_ROOT:
	case NODE_STREAM:
	case NODE_FROM:
	case NODE_FOLLOWS:
	case NODE_CHECKPOINTS:
	case NODE_SHARDS:
		return to_set & times ? -EPERM : 0;
	default:
		return -EPERM;
	}
}

void attributes_set(struct walfs *fs, const struct node *node, const struct stat *wanted, int to_set, fuse_req_t req, const struct fuse_file_info *fi)
{
	struct stat st;
	int r = namespace_stat(fs, node, &st);

	if (r == 0)
		r = set_attributes(node, &st, wanted, to_set, fi);
	if (r)
		walfs_reply_err(req, r == WAL_NOT_FOUND ? ESTALE : walfs_errno_open(r));
	else
		fuse_reply_attr(req, &st, namespace_attr_timeout(node));
}

void attributes_access(struct walfs *fs, const struct node *node, int mask, fuse_req_t req)
{
	struct stat st;
	int r = stat_or_removed(fs, node, &st);

	if (r == 0 && ((mask & R_OK && !(st.st_mode & 0444)) || (mask & W_OK && !(st.st_mode & 0222)) || (mask & X_OK && !(st.st_mode & 0111))))
		r = -EACCES;
	walfs_reply_err(req, r == WAL_PRUNED ? ESTALE : walfs_errno(r));
}
