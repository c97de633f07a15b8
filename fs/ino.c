/* SPDX-License-Identifier: Apache-2.0 */
#include "ino.h"

#include <assert.h>
#include <string.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

enum {
	CLASS_SHIFT = NODE_NUMBER_BITS + NODE_SLOT_BITS,
	CLASS_KIND = 0,
	CLASS_ENTRY = 1,
	CLASS_LOG = 4,
	CLASS_TEXT = 5,
};

/* Where the inode numbers of texts are, from those of entries. */
#define TEXT_INO_FLIP (UINT64_C(1) << 61)

static_assert(sizeof(fuse_ino_t) == 8, "node ids are 64 bits wide");
static_assert(CLASS_SHIFT + 3 == 64, "class, slot and number fill a node id");
static_assert(NODE_ROOT == FUSE_ROOT_ID, "the root packs to FUSE_ROOT_ID");
static_assert((uint64_t)NODE_TEXT < NODE_INO_ENTRY, "the inode numbers of kinds end before those of entries");

static uint64_t class_of(enum node_kind kind)
{
	switch (kind) {
	case NODE_ENTRY:
		return CLASS_ENTRY;
	case NODE_LOG:
		return CLASS_LOG;
	case NODE_TEXT:
		return CLASS_TEXT;
	default:
		return CLASS_KIND;
	}
}

uint64_t node_pack(const struct node *node)
{
	uint64_t number = node_has_number(node->kind) ? node->number : (uint64_t)node->kind;

	assert(node->slot < 2 * NODE_SLOTS_MAX && number < NODE_NUMBERS_MAX);
	return class_of(node->kind) << CLASS_SHIFT | (uint64_t)node->slot << NODE_NUMBER_BITS | number;
}

/* Whether such a node can be in such a slot. */
static bool fits_slot(const struct node *node)
{
	switch (node->kind) {
	case NODE_ROOT:
	case NODE_AT:
	case NODE_AT_HEAD:
		return !node->slot;
	case NODE_NEW:
	case NODE_ENTRY:
		return !(node->slot & NODE_SLOT_CUT);
	case NODE_CUT:
		return node->slot & NODE_SLOT_CUT;
	default:
		return true;
	}
}

bool node_unpack(uint64_t ino, struct node *ret_node)
{
	uint64_t number = ino & (NODE_NUMBERS_MAX - 1);
	struct node node = { .slot = ino >> NODE_NUMBER_BITS & (2 * NODE_SLOTS_MAX - 1), .number = number };

	switch (ino >> CLASS_SHIFT) {
	case CLASS_KIND:
		if (number < NODE_ROOT || node_has_number(number))
			return false;
		node.kind = number;
		node.number = 0;
		break;
	case CLASS_ENTRY:
		node.kind = NODE_ENTRY;
		break;
	case CLASS_LOG:
		node.kind = NODE_LOG;
		break;
	case CLASS_TEXT:
		node.kind = NODE_TEXT;
		break;
	default:
		return false;
	}
	if (!fits_slot(&node))
		return false;
	*ret_node = node;
	return true;
}

static uint64_t hash_bytes(uint64_t hash, const void *data, size_t size)
{
	const unsigned char *p = data;

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

static uint64_t hash_end(uint64_t hash)
{
	hash ^= hash >> 33;
	hash *= UINT64_C(0xff51afd7ed558ccd);
	hash ^= hash >> 33;
	hash *= UINT64_C(0xc4ceb9fe1a85ec53);
	hash ^= hash >> 33;
	return (hash & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 62;
}

#define HASH_BEGIN UINT64_C(0xcbf29ce484222325)

uint64_t node_ino_base(const char *stream_name)
{
	return hash_end(hash_bytes(HASH_BEGIN, stream_name, strlen(stream_name)));
}

uint64_t node_ino_base_at(const void *checkpoint_id, size_t id_size, const char *stream_name)
{
	/* No stream's name begins like this, and the length says where the id ends, which may hold any byte. */
	const unsigned char head[] = { 0, (unsigned char)id_size, (unsigned char)(id_size >> 8) };
	uint64_t hash = hash_bytes(HASH_BEGIN, head, sizeof(head));

	hash = hash_bytes(hash, checkpoint_id, id_size);
	return hash_end(hash_bytes(hash, stream_name, strlen(stream_name)));
}

uint64_t node_ino(const struct node *node, uint64_t base)
{
	switch (node->kind) {
	case NODE_ROOT:
		return FUSE_ROOT_ID;
	case NODE_AT:
	case NODE_AT_HEAD:
		return (uint64_t)node->kind;
	case NODE_ENTRY:
		return base + NODE_INO_ENTRY + node->number;
	case NODE_TEXT:
		return (base ^ TEXT_INO_FLIP) + NODE_INO_ENTRY + node->number;
	default:
		return base + (uint64_t)node->kind;
	}
}
