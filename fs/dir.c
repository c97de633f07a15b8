/* SPDX-License-Identifier: Apache-2.0 */
#include "dir.h"

#include <errno.h>
#include <stdlib.h>

#include "chunk.h"
#include "cut.h"
#include "lookup.h"
#include "rejoin.h"
#include "sync.h"

struct dir {
	struct handle handle;
	struct node node;
	uint64_t end_id;       /* a stream's listing ends here, or it would never end beside a fast writer */
	struct wanting wanting; /* whether attributes go with a stream's entries */
	const char *unlisted;  /* a name that is listed this once, see rejoin.h; NULL: none */
	struct node unlisted_node;
};

/*
 * A cookie is the place to go on from. Below COOKIE_FIRST stand the names that every directory has or may once have, from there on slots or
 * ids.
 */
enum {
	COOKIE_DOT = 0,
	COOKIE_DOTDOT = 1,
	COOKIE_UNLISTED = 2,
	COOKIE_NEW = 3,
	COOKIE_FIRST = 16,
};

/* What the first request for a long listing without attributes is answered with: a program that asks for them as it goes along shows it by then, and only so many were looked up. */
enum {
	TRIAL_BYTES = 32 << 10,
};

/* The attributes too, if they can be had. */
static struct fuse_entry_param listed_entry(struct dir *dir, const char *name, bool full, const struct node *node, uint64_t ino_base, mode_t type)
{
	struct fuse_entry_param entry;

	if (full && namespace_entry(dir->handle.fs, node, &entry) == 0) {
		entry.entry_timeout = lookup_timeout(&dir->node, name, node);
		return entry;
	}
	return bare_entry(node_ino(node, ino_base), type);
}

static uint64_t parent_ino(const struct dir *dir)
{
	const struct slot *slot = dir->handle.slot;

	if (dir->node.kind == NODE_FROM || dir->node.kind == NODE_FOLLOWS)
		return node_ino(&(struct node){ .kind = NODE_STREAM }, slot->ino_base);
	if (dir->node.kind == NODE_CUT)
		return node_ino(&(struct node){ .kind = NODE_AT }, 0);
	if (slot && slot->cut)
		return node_ino(&(struct node){ .kind = NODE_CUT }, cut_ino_base(slot, ""));
	return node_ino(&(struct node){ .kind = NODE_ROOT }, 0);
}

static bool add_fixed(struct dir *dir, struct chunk *chunk, uint64_t *cookie)
{
	uint64_t base = dir->handle.slot ? dir->handle.slot->ino_base : 0;
	struct fuse_entry_param self = bare_entry(node_ino(&dir->node, base), S_IFDIR);
	struct fuse_entry_param parent = bare_entry(parent_ino(dir), S_IFDIR);

	if (*cookie == COOKIE_DOT) {
		if (!chunk_add(chunk, ".", &self, COOKIE_DOTDOT))
			return false;
		*cookie = COOKIE_DOTDOT;
	}
	if (*cookie == COOKIE_DOTDOT) {
		if (!chunk_add(chunk, "..", &parent, COOKIE_UNLISTED))
			return false;
		*cookie = COOKIE_UNLISTED;
	}
	if (*cookie == COOKIE_UNLISTED) {
		struct fuse_entry_param unlisted = bare_entry(node_ino(&dir->unlisted_node, base), S_IFDIR);

		if (dir->unlisted && !chunk_add(chunk, dir->unlisted, &unlisted, COOKIE_NEW))
			return false;
		*cookie = COOKIE_NEW;
	}
	return true;
}

static void list_root(struct dir *dir, struct chunk *chunk, uint64_t cookie)
{
	char name[WAL_STREAM_NAME_MAX + 1];
	uint64_t ino_base;
	uint32_t index = cookie > COOKIE_FIRST ? (uint32_t)(cookie - COOKIE_FIRST) : 0;

	if (cookie < COOKIE_FIRST) {
		struct node node = { .kind = NODE_CHECKPOINTS };
		struct fuse_entry_param entry = listed_entry(dir, ".checkpoints", chunk->plus, &node, 0, S_IFDIR);

		if (!chunk_add(chunk, ".checkpoints", &entry, COOKIE_FIRST))
			return;
	}
	while (namespace_next(dir->handle.fs, index, &index, name, &ino_base)) {
		struct node node = { .kind = NODE_STREAM, .slot = index };
		struct fuse_entry_param entry = listed_entry(dir, name, chunk->plus, &node, ino_base, S_IFDIR);

		if (!chunk_add(chunk, name, &entry, COOKIE_FIRST + (uint64_t)index + 1))
			return;
		index++;
	}
}

/* Of the streams those that the checkpoint covers. A listing of such with attributes would make slots of them that the kernel may never ask for. */
static void list_cut(struct dir *dir, struct chunk *chunk, uint64_t cookie)
{
	static const struct node node = { .kind = NODE_STREAM };
	struct slot *slot = dir->handle.slot;
	char name[WAL_STREAM_NAME_MAX + 1];
	uint64_t ino_base;
	uint32_t index = cookie > COOKIE_FIRST ? (uint32_t)(cookie - COOKIE_FIRST) : 0;

	for (; namespace_next(dir->handle.fs, index, &index, name, &ino_base); index++) {
		struct fuse_entry_param entry = bare_entry(node_ino(&node, cut_ino_base(slot, name)), S_IFDIR);

		if (cut_covers(dir->handle.fs, slot, name) && !chunk_add(chunk, name, &entry, COOKIE_FIRST + (uint64_t)index + 1))
			return;
	}
}

/* Entries from `id` on. Return how many there was room for. */

static uint64_t list_bare(struct dir *dir, struct chunk *chunk, uint64_t id)
{
	const struct node node = { .kind = NODE_ENTRY, .number = id };
	struct fuse_entry_param entry = bare_entry(node_ino(&node, slot_of_entries(dir->handle.slot)->ino_base), S_IFREG);
	char name[ENTRY_NAME_MAX];

	entry_name(id, name);
	if (id >= dir->end_id || !chunk_add(chunk, name, &entry, COOKIE_FIRST + id + 1))
		return 0;
	return 1 + chunk_add_following(chunk, name, entry.attr.st_ino, COOKIE_FIRST + id + 1, dir->end_id - id - 1);
}

static uint64_t list_full(struct dir *dir, struct chunk *chunk, uint64_t id)
{
	const struct slot *entries = slot_of_entries(dir->handle.slot);
	struct node node = { .kind = NODE_ENTRY, .slot = entries->index, .number = id };
	char name[ENTRY_NAME_MAX];

	entry_name(id, name);
	for (; node.number < dir->end_id; node.number++, entry_name_next(name)) {
		struct fuse_entry_param entry = listed_entry(dir, name, true, &node, entries->ino_base, S_IFREG);

		if (wanted_is_probe(&dir->wanting, node.number))
			entry.attr_timeout = 0;
		if (!chunk_add(chunk, name, &entry, COOKIE_FIRST + node.number + 1))
			break;
	}
	return node.number - id;
}

static void list_stream(struct dir *dir, struct chunk *chunk, uint64_t cookie)
{
	struct slot *slot = dir->handle.slot, *entries = slot_of_entries(slot);
	struct node node = { .kind = NODE_NEW, .slot = entries->index };
	struct fuse_entry_param entry;
	uint64_t first, id;
	bool full;

	wanted_chunk(&entries->wanted, &dir->wanting);
	full = chunk->plus && dir->wanting.full;
	if (!full && cookie <= COOKIE_FIRST && chunk->size > TRIAL_BYTES)
		chunk->size = TRIAL_BYTES;
	if (cookie == COOKIE_NEW && !slot->cut) {
		entry = listed_entry(dir, "new", chunk->plus, &node, slot->ino_base, S_IFREG);
		if (!chunk_add(chunk, "new", &entry, COOKIE_FIRST))
			return;
	}
	slot_bounds(slot, &first, NULL);
	id = cookie > COOKIE_FIRST ? cookie - COOKIE_FIRST : 0;
	if (id < first)
		id = first;
	wanted_listed(&entries->wanted, &dir->wanting, full ? list_full(dir, chunk, id) : list_bare(dir, chunk, id));
}

static void set_end(struct dir *dir)
{
	uint64_t first;

	if (dir->node.kind != NODE_STREAM)
		return;
	slot_bounds(dir->handle.slot, &first, &dir->end_id);
	wanted_begin(&slot_of_entries(dir->handle.slot)->wanted, &dir->wanting, dir->end_id - first);
}

static void list(struct dir *dir, struct chunk *chunk, uint64_t cookie)
{
	switch (dir->node.kind) {
	case NODE_ROOT:
		list_root(dir, chunk, cookie);
		break;
	case NODE_CUT:
		list_cut(dir, chunk, cookie);
		break;
	case NODE_STREAM:
		list_stream(dir, chunk, cookie);
		break;
	default:
		break; /* `.from` and `.follow` have a name for every id, and list none */
	}
}

static void dir_readdir(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset, bool plus)
{
	struct dir *dir = handle_container(handle, struct dir, handle);
	struct chunk chunk = { .req = req, .size = size, .plus = plus, .data = malloc(size) };

	if (!chunk.data) {
		walfs_reply_err(req, ENOMEM);
		return;
	}
	if (offset == COOKIE_DOT)
		set_end(dir); /* rewinddir(3) is to show what has come since */
	if (add_fixed(dir, &chunk, &offset))
		list(dir, &chunk, offset);
	fuse_reply_buf(req, chunk.data, chunk.used);
	free(chunk.data);
}

static void dir_fsync(struct handle *handle, fuse_req_t req)
{
	struct dir *dir = handle_container(handle, struct dir, handle);

	if (node_is_at(&dir->node))
		walfs_reply_err(req, 0); /* a checkpoint is durable */
	else if (handle->slot)
		sync_stream_by_loop(handle->fs, handle->slot, req);
	else
		sync_store(handle->fs, req);
}

static void dir_free(struct handle *handle)
{
	free(handle_container(handle, struct dir, handle));
}

static const struct handle_ops dir_ops = {
	.kind = HANDLE_DIRECTORY,
	.readdir = dir_readdir,
	.fsync = dir_fsync,
	.free = dir_free,
};

void dir_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi)
{
	struct slot *slot = NULL;
	struct dir *dir = NULL;
	int r = 0;

	if (node->kind != NODE_ROOT && (r = slot_get(fs, node->slot, &slot))) {
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	if (slot && slot->cut)
		r = cut_check(fs, slot);
	if (r == 0 && !(dir = calloc(1, sizeof(*dir))))
		r = -ENOMEM;
	if (r) {
		if (slot)
			slot_put(fs, slot);
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	dir->node = *node;
	dir->unlisted = rejoin_name(fs, req, node, &dir->unlisted_node);
	handle_init(&dir->handle, &dir_ops, fs, slot);
	set_end(dir);
	fi->fh = (uintptr_t)&dir->handle;
	if (fuse_reply_open(req, fi) < 0)
		handle_unref(&dir->handle);
}
