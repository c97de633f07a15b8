/* SPDX-License-Identifier: Apache-2.0 */
#include "ino.h"

#include <assert.h>
#include <string.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include "fnv.h"

enum {
	CLASS_SHIFT = NODE_NUMBER_BITS + NODE_SLOT_BITS,
	CLASS_KIND = 0,
	CLASS_ENTRY = 1,
	CLASS_CHECKPOINT = 2,
	CLASS_SHARD = 3,
	CLASS_LOG = 4,
	CLASS_TEXT = 5,
	CLASS_LINES = 6,
	CLASS_FOLLOW = 7,
};

/* Bits 63-61 are 001. */
#define CHECKPOINT_INO_MIN (UINT64_C(1) << 61)
#define CHECKPOINT_INO_MAX ((UINT64_C(1) << 62) - 1)

/* Where the inode numbers of texts and of what follows are, from those of entries. */
#define TEXT_INO_FLIP (UINT64_C(1) << 61)
#define FOLLOW_INO_FLIP (UINT64_C(1) << 60)

static_assert(sizeof(fuse_ino_t) == 8, "node ids are 64 bits wide");
static_assert(CLASS_SHIFT + 3 == 64, "class, slot and number fill a node id");
static_assert(NODE_ROOT == FUSE_ROOT_ID, "the root packs to FUSE_ROOT_ID");
static_assert((uint64_t)NODE_FOLLOW < NODE_INO_ENTRY, "the inode numbers of kinds end before those of entries");

static uint64_t class_of(enum node_kind kind)
{
	switch (kind) {
	case NODE_ENTRY:
		return CLASS_ENTRY;
	case NODE_CHECKPOINT:
		return CLASS_CHECKPOINT;
	case NODE_SHARD:
		return CLASS_SHARD;
	case NODE_LOG:
		return CLASS_LOG;
	case NODE_TEXT:
		return CLASS_TEXT;
	case NODE_LINES:
		return CLASS_LINES;
	case NODE_FOLLOW:
		return CLASS_FOLLOW;
	default:
		return CLASS_KIND;
	}
}

bool node_has_slot(const struct node *node)
{
	switch (node->kind) {
	case NODE_ROOT:
	case NODE_CHECKPOINTS:
	case NODE_CHECKPOINTS_PRUNE:
	case NODE_CHECKPOINTS_COMPACT:
	case NODE_HEAD:
	case NODE_SHARDS:
	case NODE_AT:
	case NODE_STORE_STATS:
	case NODE_CHECKPOINT:
	case NODE_SHARD:
		return false;
	default:
		return true;
	}
}

/*
 * The kernel finds its inodes by a hash that hardly looks at the high bits. Were they all that tells one stream's directory from another's, 100,000 of them would be in some hundred chains, and each
 * lookup take tens of microseconds. The same with their entries, which all begin with id 0.
 */
static uint64_t spread(uint64_t slot)
{
	return slot * UINT64_C(0x9e3779b97f4a7c15);
}

uint64_t node_pack(const struct node *node)
{
	uint64_t class = class_of(node->kind);
	uint64_t number = class == CLASS_KIND ? (uint64_t)node->kind : node->number;

	assert(node->slot < 2 * NODE_SLOTS_MAX && number < NODE_NUMBERS_MAX);
	return class << CLASS_SHIFT | (uint64_t)node->slot << NODE_NUMBER_BITS | ((number + spread(node->slot)) & (NODE_NUMBERS_MAX - 1));
}

/* Whether such a node can be in such a slot. */
static bool fits_slot(const struct node *node)
{
	bool is_cut = node->slot & NODE_SLOT_CUT;

	switch (node->kind) {
	case NODE_STREAM:
	case NODE_FIRST:
	case NODE_LAST:
	case NODE_FROM:
	case NODE_LOG:
	case NODE_TEXT:
		return true;
	case NODE_CUT:
		return is_cut;
	default:
		return node_has_slot(node) ? !is_cut : !node->slot;
	}
}

bool node_unpack(uint64_t ino, struct node *ret_node)
{
	uint32_t slot = ino >> NODE_NUMBER_BITS & (2 * NODE_SLOTS_MAX - 1);
	uint64_t number = (ino - spread(slot)) & (NODE_NUMBERS_MAX - 1);
	struct node node = { .slot = slot, .number = number };

	switch (ino >> CLASS_SHIFT) {
	case CLASS_KIND:
		if (number < NODE_ROOT || number >= NODE_ENTRY)
			return false;
		node.kind = number;
		node.number = 0;
		break;
	case CLASS_ENTRY:
		node.kind = NODE_ENTRY;
		break;
	case CLASS_CHECKPOINT:
		node.kind = NODE_CHECKPOINT;
		break;
	case CLASS_SHARD:
		node.kind = NODE_SHARD;
		break;
	case CLASS_LOG:
		node.kind = NODE_LOG;
		break;
	case CLASS_TEXT:
		node.kind = NODE_TEXT;
		break;
	case CLASS_LINES:
		node.kind = NODE_LINES;
		break;
	case CLASS_FOLLOW:
		node.kind = NODE_FOLLOW;
		break;
	default:
		return false;
	}
	if (!fits_slot(&node))
		return false;
	*ret_node = node;
	return true;
}

/* The finalizer of MurmurHash3: FNV-1a alone leaves the high bits of short names alike. */
static uint64_t mix(uint64_t hash)
{
	hash ^= hash >> 33;
	hash *= UINT64_C(0xff51afd7ed558ccd);
	hash ^= hash >> 33;
	hash *= UINT64_C(0xc4ceb9fe1a85ec53);
	return hash ^ hash >> 33;
}

uint64_t node_ino_base(const char *stream_name)
{
	uint64_t hash = mix(fnv1a(stream_name, strlen(stream_name)));

	return (hash & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 62;
}

uint64_t node_ino_base_at(const void *checkpoint_id, size_t id_size, const char *stream_name)
{
	uint64_t hash = mix(mix(fnv1a(checkpoint_id, id_size)) ^ fnv1a(stream_name, strlen(stream_name)));

	return (hash & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 62;
}

uint64_t node_ino_checkpoint(const void *id, size_t id_size)
{
	uint64_t ino = (mix(fnv1a(id, id_size)) & (CHECKPOINT_INO_MIN - 1)) | CHECKPOINT_INO_MIN;

	return ino < CHECKPOINT_INO_MAX ? ino : CHECKPOINT_INO_MAX - 1;
}

uint64_t node_ino(const struct node *node, uint64_t base)
{
	switch (node->kind) {
	case NODE_ENTRY:
		return base + NODE_INO_ENTRY + node->number;
	case NODE_TEXT:
		return (base ^ TEXT_INO_FLIP) + NODE_INO_ENTRY + node->number;
	case NODE_FOLLOW:
		return (base ^ FOLLOW_INO_FLIP) + NODE_INO_ENTRY + node->number;
	case NODE_SHARD:
		return NODE_INO_ENTRY + node->number;
	case NODE_CHECKPOINT:
		return base;
	case NODE_HEAD:
		return CHECKPOINT_INO_MAX;
	default:
		return node_has_slot(node) ? base + (uint64_t)node->kind : (uint64_t)node->kind;
	}
}
