/* SPDX-License-Identifier: Apache-2.0 */
/* What stat(2) says about each node. */
#include <errno.h>

#include "checkpoints.h"
#include "control.h"
#include "cut.h"
#include "namespace.h"
#include "shards.h"
#include "statsfile.h"
#include "textfile.h"

enum {
	LISTING_SIZE_MIN = 4096,
	LISTING_SIZE_MAX = 256 << 10,
	LISTED_NAME_BYTES = 176, /* an entry in the reply to a READDIRPLUS */
};

void namespace_set_times(struct stat *st, int64_t ns)
{
	st->st_mtim = walfs_timespec(ns);
	st->st_ctim = st->st_mtim;
	st->st_atim = st->st_mtim;
}

static void stat_root(struct walfs *fs, struct stat *st)
{
	uint32_t streams;
	int64_t mtime_ns;

	namespace_root(fs, &streams, &mtime_ns);
	st->st_nlink = 3 + streams; /* .checkpoints */
	namespace_set_times(st, mtime_ns);
	st->st_mode = S_IFDIR | 0777;
	st->st_size = 4096;
}

static int64_t slot_mtime(struct slot *slot)
{
	return slot->cut ? cut_mtime(slot) : wal_stream_mtime(slot->stream);
}

static mode_t mode_in_slot(const struct node *node)
{
	switch (node->kind) {
	case NODE_STREAM:
		return S_IFDIR | (node_is_at(node) ? 0555 : 0777);
	case NODE_FROM:
	case NODE_FOLLOWS:
	case NODE_CUT:
		return S_IFDIR | 0555;
	case NODE_FIRST:
	case NODE_LAST:
		return S_IFLNK | 0777;
	case NODE_NEW:
		return S_IFREG | 0666;
	case NODE_PRUNE:
	case NODE_ROTATE:
	case NODE_BATCH:
	case NODE_LINES:
		return S_IFREG | 0222;
	default:
		return S_IFREG | 0444;
	}
}

static int stat_directory(struct slot *slot, struct stat *st, nlink_t links)
{
	st->st_nlink = links;
	st->st_size = 4096;
	namespace_set_times(st, slot_mtime(slot));
	return 0;
}

/*
 * What readdir(3) takes from the kernel at once, and so how much a READDIRPLUS asks for (from Linux 6.16 on; before it is a page). Each costs a way to and fro, which at 32 KiB, what the C library takes
 * by itself, is half of the time that a long listing takes. More than this makes others wait for the loop for longer, when attributes go with the names.
 */
static blksize_t listing_size(uint64_t names)
{
	blksize_t size = LISTING_SIZE_MIN;

	while (size < LISTING_SIZE_MAX && (uint64_t)size / LISTED_NAME_BYTES < names)
		size *= 2;
	return size;
}

static int stat_stream(struct slot *slot, struct stat *st)
{
	uint64_t first, next;

	slot_bounds(slot, &first, &next);
	st->st_blksize = listing_size(next - first);
	return stat_directory(slot, st, 2);
}

static int stat_text(struct walfs *fs, struct slot *slot, const struct node *node, struct stat *st)
{
	uint64_t size = 0;
	int r = textfile_size(fs, slot, node->number, &size);

	st->st_size = (off_t)size;
	namespace_set_times(st, slot_mtime(slot));
	return r;
}

static int stat_link(struct slot *slot, struct stat *st)
{
	uint64_t first, next;

	slot_bounds(slot, &first, &next);
	if (first == next)
		return WAL_NOT_FOUND;
	st->st_size = ENTRY_NAME_MAX - 1;
	namespace_set_times(st, slot_mtime(slot));
	return 0;
}

static int stat_entry(struct slot *slot, const struct node *node, struct stat *st)
{
	struct wal_entry_info info;
	int r = wal_stream_lookup(slot->stream, node->number, &info);

	if (r)
		return r;
	st->st_size = (off_t)info.size;
	namespace_set_times(st, info.time_ns);
	return 0;
}

static int stat_in_slot(struct walfs *fs, struct slot *slot, const struct node *node, struct stat *st)
{
	st->st_mode = mode_in_slot(node);
	switch (node->kind) {
	case NODE_STREAM:
		return stat_stream(slot, st);
	case NODE_FROM:
	case NODE_FOLLOWS:
		return stat_directory(slot, st, 2);
	case NODE_CUT:
		return stat_directory(slot, st, 1); /* as .at */
	case NODE_LOG:
	case NODE_TEXT:
		return stat_text(fs, slot, node, st);
	case NODE_FOLLOW:
		namespace_set_times(st, slot_mtime(slot)); /* of no size: it has no end */
		return 0;
	case NODE_NEW:
	case NODE_PRUNE:
	case NODE_ROTATE:
	case NODE_BATCH:
	case NODE_LINES:
		namespace_set_times(st, NAMESPACE_TIME_NS);
		return 0;
	case NODE_STATS:
		namespace_set_times(st, namespace_now_ns());
		return 0;
	case NODE_FIRST:
	case NODE_LAST:
		return stat_link(slot, st);
	default:
		return stat_entry(slot, node, st);
	}
}

/* Of what is not in a stream. */
static int stat_in_store(struct walfs *fs, const struct node *node, struct stat *st)
{
	int r;

	st->st_ino = node_ino(node, 0);
	switch (node->kind) {
	case NODE_ROOT:
		stat_root(fs, st);
		return 0;
	case NODE_CHECKPOINTS:
	case NODE_HEAD:
	case NODE_CHECKPOINT:
		return checkpoints_stat(fs, node, st);
	case NODE_AT:
		r = checkpoints_stat(fs, node, st);
		st->st_mode = S_IFDIR | 0555;
		st->st_nlink = 1; /* any number of directories */
		return r;
	case NODE_SHARDS:
	case NODE_SHARD:
		return shards_stat(fs, node, st);
	case NODE_STORE_STATS:
		statsfile_stat(st);
		return 0;
	default:
		control_stat(st);
		return 0;
	}
}

/* What all have in common, before and after the rest. */
static struct stat stat_begin(const struct walfs *fs)
{
	return (struct stat){ .st_nlink = 1, .st_uid = fs->opts->uid, .st_gid = fs->opts->gid, .st_blksize = 4096 };
}

static void stat_end(const struct walfs *fs, struct stat *st)
{
	if (!S_ISLNK(st->st_mode))
		st->st_mode &= ~fs->opts->umask;
	/* Fewer than the size needs would make cp and tar look for holes. */
	st->st_blocks = (st->st_size + 511) / 512;
}

int namespace_stat(struct walfs *fs, const struct node *node, struct stat *ret)
{
	struct stat st = stat_begin(fs);
	struct slot *slot;
	int r;

	if (node_has_slot(node)) {
		r = slot_get(fs, node->slot, &slot);
		if (r)
			return r;
		st.st_ino = node_ino(node, slot->ino_base);
		r = stat_in_slot(fs, slot, node, &st);
		slot_put(fs, slot);
	} else {
		r = stat_in_store(fs, node, &st);
	}
	if (r)
		return r;
	stat_end(fs, &st);
	*ret = st;
	return 0;
}

int namespace_stat_removed(struct walfs *fs, const struct node *node, struct stat *ret)
{
	struct stat st = stat_begin(fs);
	uint64_t ino_base;
	int64_t removed_ns;

	if (!(node->slot & NODE_SLOT_CUT ? cut_removed(fs, node->slot, &ino_base, &removed_ns) : namespace_removed(fs, node->slot, &ino_base, &removed_ns)))
		return WAL_NOT_FOUND;
	st.st_ino = node_ino(node, ino_base);
	st.st_mode = mode_in_slot(node);
	st.st_nlink = 0;
	namespace_set_times(&st, removed_ns);
	stat_end(fs, &st);
	*ret = st;
	return 0;
}

double namespace_attr_timeout(const struct node *node)
{
	if (node->kind == NODE_ENTRY)
		return NAMESPACE_TIMEOUT_LONG;
	return node->slot & NODE_SLOT_CUT && node->kind != NODE_LOG && node->kind != NODE_TEXT ? NAMESPACE_TIMEOUT_CUT : 0;
}

int namespace_entry(struct walfs *fs, const struct node *node, struct fuse_entry_param *ret)
{
	struct fuse_entry_param entry = { .generation = fs->generation, .attr_timeout = namespace_attr_timeout(node) };
	int r;

	if (node->number >= NODE_NUMBERS_MAX) {
		uint64_t next;
		struct slot *slot;

		r = slot_get(fs, node->slot, &slot);
		if (r)
			return r;
		slot_bounds(slot, NULL, &next);
		slot_put(fs, slot);
		return node->kind != NODE_ENTRY || node->number < next ? -EOVERFLOW : WAL_NOT_FOUND;
	}
	r = namespace_stat(fs, node, &entry.attr);
	if (r)
		return r;
	entry.ino = node_pack(node);
	if (node->slot & NODE_SLOT_CUT)
		entry.generation += cut_generation(fs, node->slot);
	*ret = entry;
	return 0;
}
