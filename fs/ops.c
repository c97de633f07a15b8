/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is not in the table at the end is right as the kernel does it without us: xattrs and fallocate are not supported, locks are local,
 * lseek, copy_file_range and splice fall back to plain reads and writes.
 */
#include "ops.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "append.h"
#include "attributes.h"
#include "batch.h"
#include "checkpoint_file.h"
#include "commands.h"
#include "dir.h"
#include "entry.h"
#include "follow.h"
#include "lines.h"
#include "lookup.h"
#include "snapdir.h"
#include "statsfile.h"
#include "streams.h"
#include "sync.h"
#include "textfile.h"

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct walfs *fs = userdata;

	fuse_apply_conn_info_opts(fs->opts->conn_opts, conn);
	conn->want |= conn->capable & (FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_READDIRPLUS);
	/*
	 * dir.c decides itself when attributes pay. With write-back the kernel would own sizes, times and offsets, and errors would come
	 * too late.
	 */
	conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_WRITEBACK_CACHE | FUSE_CAP_CACHE_SYMLINKS);
	conn->time_gran = 1;
	if (fs->opts->read_max > 0)
		conn->max_read = fs->opts->read_max;
	fs->read_max = conn->max_read && conn->max_read < conn->max_write ? conn->max_read : conn->max_write;
}

static void count_request(fuse_req_t req, enum request kind)
{
	requests_count(&walfs_from(req)->requests, kind);
}

/* An NFS client can ask for a node of an earlier mount, or of none. */
static bool get_node(fuse_req_t req, fuse_ino_t ino, struct node *ret_node)
{
	if (node_unpack(ino, ret_node))
		return true;
	walfs_reply_err(req, ESTALE);
	return false;
}

/* A mount with `ro` never gets as far as here: the kernel refuses. It does not know of a store that turned out to be unwritable. */
static bool may_change(fuse_req_t req)
{
	if (!walfs_from(req)->ro)
		return true;
	walfs_reply_err(req, EROFS);
	return false;
}

/* The same, and nothing is ever changed below `.at`. */
static bool may_change_at(fuse_req_t req, fuse_ino_t ino)
{
	struct node node;

	if (node_unpack(ino, &node) && node_is_at(&node)) {
		walfs_reply_err(req, EROFS);
		return false;
	}
	return may_change(req);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent_ino, const char *name)
{
	struct node parent;

	count_request(req, REQUEST_LOOKUP);
	if (get_node(req, parent_ino, &parent))
		lookup_reply(walfs_from(req), req, &parent, name);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	struct node node;

	count_request(req, REQUEST_FORGET);
	if (node_unpack(ino, &node))
		lookup_forget(walfs_from(req), &node, count);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct node node;

	count_request(req, REQUEST_FORGET);
	for (size_t i = 0; i < count; i++)
		if (node_unpack(forgets[i].ino, &node))
			lookup_forget(walfs_from(req), &node, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node node;

	count_request(req, REQUEST_GETATTR);
	(void)fi;
	if (get_node(req, ino, &node))
		attributes_get(walfs_from(req), &node, req);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set, struct fuse_file_info *fi)
{
	struct node node;

	count_request(req, REQUEST_SETATTR);
	if (get_node(req, ino, &node) && may_change_at(req, ino))
		attributes_set(walfs_from(req), &node, attr, to_set, req, fi);
}

static void op_access(fuse_req_t req, fuse_ino_t ino, int mask)
{
	struct node node;

	count_request(req, REQUEST_ACCESS);
	if (get_node(req, ino, &node) && (!(mask & W_OK) || may_change_at(req, ino)))
		attributes_access(walfs_from(req), &node, mask, req);
}

static bool is_link(const struct node *node)
{
	return node->kind == NODE_FIRST || node->kind == NODE_LAST || node->kind == NODE_HEAD || node->kind == NODE_SHARD;
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[NAMESPACE_LINK_MAX];
	struct node node;
	int r;

	count_request(req, REQUEST_READLINK);
	if (!get_node(req, ino, &node))
		return;
	r = is_link(&node) ? lookup_readlink(walfs_from(req), &node, target) : -EINVAL;
	if (r)
		walfs_reply_err(req, walfs_errno(r));
	else
		fuse_reply_readlink(req, target);
}

/* ---- Making and deleting streams ---- */

static void op_mkdir(fuse_req_t req, fuse_ino_t parent_ino, const char *name, mode_t mode)
{
	int r;

	count_request(req, REQUEST_MKDIR);
	(void)mode; /* every stream has the same */
	if (!may_change_at(req, parent_ino))
		return;
	if (parent_ino != FUSE_ROOT_ID) {
		walfs_reply_err(req, EPERM);
		return;
	}
	r = wal_stream_name_check(name);
	if (r)
		walfs_reply_err(req, walfs_errno(r));
	else
		streams_make(walfs_from(req), name, req);
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent_ino, const char *name)
{
	count_request(req, REQUEST_RMDIR);
	if (!may_change_at(req, parent_ino))
		return;
	if (parent_ino == FUSE_ROOT_ID && name[0] != '.')
		streams_remove(walfs_from(req), name, req);
	else
		walfs_reply_err(req, EPERM);
}

/* ---- Making and removing checkpoints ---- */

static bool is_checkpoints(fuse_ino_t ino)
{
	struct node node;

	return node_unpack(ino, &node) && node.kind == NODE_CHECKPOINTS;
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	count_request(req, REQUEST_MKNOD);
	(void)rdev;
	if (!may_change_at(req, parent))
		return;
	if (is_checkpoints(parent) && S_ISREG(mode))
		checkpoint_make(walfs_from(req), name, req);
	else
		walfs_reply_err(req, EPERM);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, struct fuse_file_info *fi)
{
	count_request(req, REQUEST_CREATE);
	(void)mode; /* every checkpoint has the same */
	if (!may_change_at(req, parent))
		return;
	if (is_checkpoints(parent))
		checkpoint_create(walfs_from(req), name, req, fi);
	else
		walfs_reply_err(req, EPERM);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	count_request(req, REQUEST_UNLINK);
	if (!may_change_at(req, parent))
		return;
	if (is_checkpoints(parent))
		checkpoint_remove(walfs_from(req), name, req);
	else
		walfs_reply_err(req, EPERM);
}

/* ---- What is never allowed ---- */

static void refuse(fuse_req_t req, fuse_ino_t parent)
{
	if (may_change_at(req, parent))
		walfs_reply_err(req, EPERM);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	count_request(req, REQUEST_SYMLINK);
	(void)link, (void)name;
	refuse(req, parent);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
	count_request(req, REQUEST_LINK);
	(void)ino, (void)new_name;
	refuse(req, new_parent);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	count_request(req, REQUEST_RENAME);
	(void)name, (void)new_name, (void)flags;
	if (may_change_at(req, parent))
		refuse(req, new_parent);
}

/* ---- Files and directories that are open ---- */

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct walfs *fs = walfs_from(req);
	struct node node;

	count_request(req, REQUEST_OPEN);
	if (!get_node(req, ino, &node))
		return;
	if (((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC) && !may_change_at(req, ino))
		return;
	switch (node.kind) {
	case NODE_ENTRY:
		entry_open(fs, &node, req, fi);
		break;
	case NODE_NEW:
		append_open(fs, &node, req, fi);
		break;
	case NODE_BATCH:
		batch_open(fs, &node, req, fi);
		break;
	case NODE_LINES:
		lines_open(fs, &node, req, fi);
		break;
	case NODE_LOG:
	case NODE_TEXT:
		textfile_open(fs, &node, req, fi);
		break;
	case NODE_FOLLOW:
		follow_open(fs, &node, req, fi);
		break;
	case NODE_CHECKPOINT:
		checkpoint_open(fs, &node, req, fi);
		break;
	case NODE_PRUNE:
	case NODE_ROTATE:
	case NODE_CHECKPOINTS_PRUNE:
	case NODE_CHECKPOINTS_COMPACT:
		command_open(fs, &node, req, fi);
		break;
	case NODE_STATS:
	case NODE_STORE_STATS:
		statsfile_open(fs, &node, req, fi);
		break;
	default:
		walfs_reply_err(req, is_link(&node) ? ELOOP : EISDIR);
	}
}

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct node node;

	count_request(req, REQUEST_OPENDIR);
	if (!get_node(req, ino, &node))
		return;
	switch (node.kind) {
	case NODE_ROOT:
	case NODE_STREAM:
	case NODE_FROM:
	case NODE_FOLLOWS:
	case NODE_CUT:
		dir_open(walfs_from(req), &node, req, fi);
		break;
	case NODE_CHECKPOINTS:
	case NODE_AT:
	case NODE_SHARDS:
		snapdir_open(walfs_from(req), &node, req, fi);
		break;
	default:
		walfs_reply_err(req, ENOTDIR);
	}
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct handle *handle = handle_from(fi);

	count_request(req, REQUEST_READ);
	(void)ino;
	if (handle->ops->read)
		handle->ops->read(handle, req, size, (uint64_t)offset);
	else if (handle->ops->read_next)
		handle->ops->read_next(handle, req, size, fi->flags);
	else
		walfs_reply_err(req, EISDIR);
}

/* ENOSYS would be for all files and for ever. */
static void op_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi, struct fuse_pollhandle *poller)
{
	struct handle *handle = handle_from(fi);

	count_request(req, REQUEST_POLL);
	(void)ino;
	if (handle->ops->poll) {
		handle->ops->poll(handle, req, poller);
		return;
	}
	if (poller)
		fuse_pollhandle_destroy(poller);
	fuse_reply_poll(req, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct handle *handle = handle_from(fi);

	count_request(req, REQUEST_WRITE);
	(void)ino;
	if (handle->ops->write)
		handle->ops->write(handle, req, data, size, (uint64_t)offset, fi);
	else
		walfs_reply_err(req, EBADF);
}

static void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *handle = handle_from(fi);

	count_request(req, REQUEST_FLUSH);
	(void)ino;
	if (handle->ops->flush)
		handle->ops->flush(handle, req, fi->lock_owner);
	else
		walfs_reply_err(req, 0);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct handle *handle = handle_from(fi);

	count_request(req, REQUEST_FSYNC);
	(void)ino, (void)datasync;
	if (handle->ops->fsync)
		handle->ops->fsync(handle, req);
	else
		walfs_reply_err(req, 0);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct handle *handle = handle_from(fi);

	count_request(req, REQUEST_READDIR);
	(void)ino;
	if (handle->ops->readdir)
		handle->ops->readdir(handle, req, size, (uint64_t)offset, false);
	else
		walfs_reply_err(req, ENOTDIR);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	struct handle *handle = handle_from(fi);

	count_request(req, REQUEST_READDIRPLUS);
	(void)ino;
	if (handle->ops->readdir)
		handle->ops->readdir(handle, req, size, (uint64_t)offset, true);
	else
		walfs_reply_err(req, ENOTDIR);
}

static void op_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct handle *handle = handle_from(fi);

	count_request(req, REQUEST_RELEASE);
	(void)ino;
	if (handle->ops->release)
		handle->ops->release(handle);
	handle_unref(handle);
	walfs_reply_err(req, 0);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct statvfs st;
	int r;

	count_request(req, REQUEST_STATFS);
	(void)ino;
	r = wal_store_statvfs(walfs_from(req)->store, &st);
	if (r) {
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	st.f_namemax = WAL_STREAM_NAME_MAX;
	fuse_reply_statfs(req, &st);
}

const struct fuse_lowlevel_ops walfs_ops = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
	.access = op_access,
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.release = op_release,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.releasedir = op_release,
	.fsyncdir = op_fsync,
	.statfs = op_statfs,
	.poll = op_poll,
	.create = op_create,
};
