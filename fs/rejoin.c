/* SPDX-License-Identifier: Apache-2.0 */
#include "rejoin.h"

#include <stddef.h>

static const char *unlisted_name(enum node_kind kind)
{
	switch (kind) {
	case NODE_AT:
		return ".at";
	case NODE_SHARDS:
		return ".shard";
	case NODE_FROM:
		return ".from";
	case NODE_FOLLOWS:
		return ".follow";
	default:
		return NULL;
	}
}

void rejoin_begin(struct walfs *fs, fuse_req_t req, const struct node *dir)
{
	if (!unlisted_name(dir->kind))
		return;
	fs->rejoin_pid = fuse_req_ctx(req)->pid;
	fs->rejoin_ino = node_pack(dir);
}

const char *rejoin_name(struct walfs *fs, fuse_req_t req, const struct node *dir, struct node *ret_node)
{
	struct node node;

	if (!fs->rejoin_ino || fs->rejoin_pid != fuse_req_ctx(req)->pid || !node_unpack(fs->rejoin_ino, &node) || node.slot != dir->slot ||
	    dir->kind != (node_has_slot(&node) ? NODE_STREAM : NODE_ROOT))
		return NULL;
	fs->rejoin_ino = 0;
	*ret_node = node;
	return unlisted_name(node.kind);
}
