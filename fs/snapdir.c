/* SPDX-License-Identifier: Apache-2.0 */
#include "snapdir.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"
#include "chunk.h"

struct snapdir {
	struct handle handle;
	struct node node;
	struct checkpoint_list *list; /* NULL: nothing is listed */
};

/* A cookie is the place to go on from: ".", "..", then the list's names, then HEAD. */
enum {
	COOKIE_DOT = 0,
	COOKIE_DOTDOT = 1,
	COOKIE_FIRST = 2,
};

/* False when all is listed. */
static bool name_at(struct snapdir *dir, uint64_t cookie, char *name, struct fuse_entry_param *entry)
{
	static const struct node root = { .kind = NODE_ROOT }, head = { .kind = NODE_HEAD }, cut = { .kind = NODE_CUT };
	size_t count = dir->list ? dir->list->count : 0;

	if (cookie == COOKIE_DOT || cookie == COOKIE_DOTDOT) {
		strcpy(name, cookie == COOKIE_DOT ? "." : "..");
		*entry = bare_entry(node_ino(cookie == COOKIE_DOT ? &dir->node : &root, 0), S_IFDIR);
		return true;
	}
	if (cookie - COOKIE_FIRST < count) {
		struct checkpoint *checkpoint = dir->list->checkpoints[cookie - COOKIE_FIRST];

		percent_encode(checkpoint->id, checkpoint->id_size, name);
		if (dir->node.kind == NODE_AT)
			*entry = bare_entry(node_ino(&cut, node_ino_base_at(checkpoint->id, checkpoint->id_size, "")), S_IFDIR);
		else
			*entry = bare_entry(checkpoint->st_ino, S_IFREG);
		return true;
	}
	strcpy(name, "HEAD");
	*entry = bare_entry(node_ino(&head, 0), S_IFLNK);
	return count && dir->node.kind == NODE_CHECKPOINTS && cookie - COOKIE_FIRST == count;
}

static int take_snapshot(struct snapdir *dir)
{
	struct checkpoint_list *list;
	int r;

	if (dir->node.kind == NODE_SHARDS)
		return 0;
	r = checkpoints_list(dir->handle.fs, &list);
	if (r == 0) {
		checkpoint_list_put(dir->list);
		dir->list = list;
	}
	return r;
}

static void snapdir_readdir(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset, bool plus)
{
	struct snapdir *dir = handle_container(handle, struct snapdir, handle);
	struct chunk chunk = { .req = req, .size = size, .plus = plus };
	struct fuse_entry_param entry;
	char name[PERCENT_NAME_MAX + 1];
	int r = 0;

	if (offset == COOKIE_DOT)
		r = take_snapshot(dir);
	if (r == 0 && !(chunk.data = malloc(size)))
		r = -ENOMEM;
	if (r) {
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	while (name_at(dir, offset, name, &entry) && chunk_add(&chunk, name, &entry, offset + 1))
		offset++;
	fuse_reply_buf(req, chunk.data, chunk.used);
	free(chunk.data);
}

static void snapdir_free(struct handle *handle)
{
	struct snapdir *dir = handle_container(handle, struct snapdir, handle);

	checkpoint_list_put(dir->list);
	free(dir);
}

static const struct handle_ops snapdir_ops = {
	.kind = HANDLE_DIRECTORY,
	.readdir = snapdir_readdir,
	.free = snapdir_free,
};

void snapdir_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi)
{
	struct snapdir *dir = calloc(1, sizeof(*dir));
	int r;

	if (!dir) {
		walfs_reply_err(req, ENOMEM);
		return;
	}
	dir->node = *node;
	handle_init(&dir->handle, &snapdir_ops, fs, NULL);
	r = take_snapshot(dir);
	if (r) {
		handle_unref(&dir->handle);
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	fi->fh = (uintptr_t)&dir->handle;
	if (fuse_reply_open(req, fi) < 0)
		handle_unref(&dir->handle);
}
