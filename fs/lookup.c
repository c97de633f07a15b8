/* SPDX-License-Identifier: Apache-2.0 */
#include "lookup.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"
#include "cut.h"
#include "rejoin.h"
#include "shards.h"
#include "textfile.h"

/* What the store has beside its streams, whose names never begin with a period. */
static int lookup_in_root(struct walfs *fs, const char *name, struct node *ret_node)
{
	if (!strcmp(name, ".checkpoints"))
		*ret_node = (struct node){ .kind = NODE_CHECKPOINTS };
	else if (!strcmp(name, ".at"))
		*ret_node = (struct node){ .kind = NODE_AT };
	else if (!strcmp(name, ".stats"))
		*ret_node = (struct node){ .kind = NODE_STORE_STATS };
	else if (!strcmp(name, ".shard") && wal_store_shards(fs->store))
		*ret_node = (struct node){ .kind = NODE_SHARDS };
	else
		return namespace_find(fs, name, ret_node);
	return 0;
}

/* As of a checkpoint, nothing can be written, nothing comes, and figures are those of now. */
static bool is_there_in(const struct slot *slot, enum node_kind kind)
{
	switch (kind) {
	case NODE_NEW:
	case NODE_BATCH:
	case NODE_LINES:
	case NODE_PRUNE:
	case NODE_ROTATE:
	case NODE_FOLLOWS:
	case NODE_STATS:
		return !slot->cut;
	default:
		return true;
	}
}

static int lookup_in_stream(struct slot *slot, const char *name, struct node *ret_node)
{
	static const struct {
		const char *name;
		enum node_kind kind;
	} fixed[] = {
		{ "new", NODE_NEW },	 { ".first", NODE_FIRST },   { ".last", NODE_LAST },
		{ ".prune", NODE_PRUNE }, { ".rotate", NODE_ROTATE }, { ".from", NODE_FROM },
		{ ".batch", NODE_BATCH }, { ".lines", NODE_LINES }, { ".stats", NODE_STATS },
		{ ".follow", NODE_FOLLOWS },
	};
	struct node node = { .kind = NODE_ENTRY, .slot = slot_of_entries(slot)->index };

	for (size_t i = 0; i < sizeof(fixed) / sizeof(*fixed); i++)
		if (!strcmp(name, fixed[i].name) && is_there_in(slot, fixed[i].kind)) {
			*ret_node = (struct node){ .kind = fixed[i].kind, .slot = slot->index };
			if (fixed[i].kind == NODE_LINES)
				ret_node->number = slot->lines_lookups++ % NODE_NUMBERS_MAX;
			return 0;
		}
	if (!strcmp(name, ".log")) {
		*ret_node = (struct node){ .kind = NODE_LOG, .slot = slot->index };
		return textfile_find(slot, NULL, &ret_node->number);
	}
	if (!entry_parse_id(name, &node.number) || node.number >= slot->end_id)
		return WAL_NOT_FOUND;
	slot_of_entries(slot)->wanted.lookups++;
	*ret_node = node; /* namespace_stat() will find out whether it exists */
	return 0;
}

static int lookup_in_slot(struct walfs *fs, const struct node *parent, const char *name, struct node *ret_node)
{
	struct slot *slot;
	int r;

	r = slot_get(fs, parent->slot, &slot);
	if (r)
		return r;
	/* Of a checkpoint that has been removed nothing is found any more. */
	r = slot->cut ? cut_check(fs, slot) : 0;
	if (r) {
		slot_put(fs, slot);
		return r;
	}
	if (parent->kind == NODE_STREAM) {
		r = lookup_in_stream(slot, name, ret_node);
	} else {
		*ret_node = (struct node){ .kind = parent->kind == NODE_FOLLOWS ? NODE_FOLLOW : NODE_TEXT, .slot = slot->index };
		r = textfile_find(slot, name, &ret_node->number);
	}
	slot_put(fs, slot);
	return r;
}

static struct node parent_of(const struct node *node)
{
	if (node->kind == NODE_CUT)
		return (struct node){ .kind = NODE_AT };
	if (node->kind == NODE_STREAM || !node_has_slot(node))
		return (struct node){ .kind = NODE_ROOT };
	return (struct node){ .kind = NODE_STREAM, .slot = node->slot };
}

static int lookup_any(struct walfs *fs, const struct node *parent, const char *name, struct node *ret_node)
{
	if (strlen(name) > WAL_STREAM_NAME_MAX)
		return -ENAMETOOLONG;
	if (!strcmp(name, ".")) {
		*ret_node = *parent;
		return 0;
	}
	if (!strcmp(name, "..")) {
		*ret_node = parent_of(parent);
		return 0;
	}
	switch (parent->kind) {
	case NODE_ROOT:
		return lookup_in_root(fs, name, ret_node);
	case NODE_STREAM:
	case NODE_FROM:
	case NODE_FOLLOWS:
		return lookup_in_slot(fs, parent, name, ret_node);
	case NODE_CHECKPOINTS:
		return checkpoints_lookup(fs, name, ret_node);
	case NODE_SHARDS:
		return shards_lookup(fs, name, ret_node);
	default:
		return -ENOTDIR;
	}
}

/* The lookup is counted: if the kernel does not get to know of it, lookup_forget() it. */
static int find(struct walfs *fs, const struct node *parent, const char *name, struct node *ret_node)
{
	int r;

	if (cut_has_name(parent, name))
		return cut_lookup(fs, parent, name, ret_node);
	r = lookup_any(fs, parent, name, ret_node);
	if (r == 0 && ret_node->slot & NODE_SLOT_CUT)
		r = cut_know(fs, ret_node->slot);
	return r;
}

void lookup_forget(struct walfs *fs, const struct node *node, uint64_t count)
{
	if (node->slot & NODE_SLOT_CUT)
		cut_forget(fs, node->slot, count);
}

double lookup_timeout(const struct node *parent, const char *name, const struct node *node)
{
	switch (node->kind) {
	case NODE_FIRST:
	case NODE_LAST:
	case NODE_HEAD:
	case NODE_CHECKPOINT:
	case NODE_CUT:
	case NODE_LOG:
	case NODE_TEXT:
	case NODE_LINES:
	case NODE_FOLLOW:
		return 0;
	case NODE_ENTRY:
		/* Any number of zeros before an id: those names could not all be forgotten when the entry is pruned. */
		if (strlen(name) != ENTRY_NAME_MAX - 1)
			return 0;
		break;
	default:
		break;
	}
	return node_is_at(parent) ? NAMESPACE_TIMEOUT_CUT : NAMESPACE_TIMEOUT_LONG;
}

static void reply(struct walfs *fs, fuse_req_t req, const struct node *parent, const char *name)
{
	struct fuse_entry_param entry;
	struct node node;
	int r;

	r = find(fs, parent, name, &node);
	if (r == 0) {
		r = namespace_entry(fs, &node, &entry);
		if (r)
			lookup_forget(fs, &node, 1);
	}
	/* ENOENT by an error, not by a node id of 0, is not remembered: the name may be there the next moment. */
	if (r) {
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	entry.entry_timeout = lookup_timeout(parent, name, &node);
	if (fuse_reply_entry(req, &entry) < 0)
		lookup_forget(fs, &node, 1);
}

struct slow_lookup {
	struct job job;
	struct walfs *fs;
	fuse_req_t req;
	struct node parent;
	char name[];
};

static void slow_lookup_run(struct job *job)
{
	struct slow_lookup *lookup = (struct slow_lookup *)job;
	struct walfs *fs = lookup->fs;

	reply(fs, lookup->req, &lookup->parent, lookup->name);
	free(lookup);
	walfs_end(fs);
}

static void reply_in_pool(struct walfs *fs, fuse_req_t req, const struct node *parent, const char *name)
{
	size_t name_bytes = strlen(name) + 1;
	struct slow_lookup *lookup = malloc(sizeof(*lookup) + name_bytes);

	if (!lookup) {
		walfs_reply_err(req, ENOMEM);
		return;
	}
	*lookup = (struct slow_lookup){ .job = { .run = slow_lookup_run }, .fs = fs, .req = req, .parent = *parent };
	memcpy(lookup->name, name, name_bytes);
	walfs_begin(fs);
	pool_submit(&fs->pool, &lookup->job);
}

/* What may read the disk: checkpoints, and for where a text begins and ends, the first time, the index of every segment. */
static bool is_slow(const struct node *parent, const char *name)
{
	return cut_has_name(parent, name) || parent->kind == NODE_FROM || (parent->kind == NODE_STREAM && !strcmp(name, ".log"));
}

void lookup_reply(struct walfs *fs, fuse_req_t req, const struct node *parent, const char *name)
{
	if (!strcmp(name, ".."))
		rejoin_begin(fs, req, parent);
	if (is_slow(parent, name))
		reply_in_pool(fs, req, parent, name);
	else
		reply(fs, req, parent, name);
}

int lookup_readlink(struct walfs *fs, const struct node *node, char *target)
{
	uint64_t first, next;
	struct slot *slot;
	int r;

	if (node->kind == NODE_HEAD)
		return checkpoints_readlink(fs, target);
	if (node->kind == NODE_SHARD)
		return shards_readlink(fs, node, target);
	r = slot_get(fs, node->slot, &slot);
	if (r)
		return r;
	slot_bounds(slot, &first, &next);
	slot_put(fs, slot);
	if (first == next)
		return WAL_NOT_FOUND;
	entry_name(node->kind == NODE_FIRST ? first : next - 1, target);
	return 0;
}
