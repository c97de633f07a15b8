/* SPDX-License-Identifier: Apache-2.0 */
#include "ino.h"

#include <assert.h>

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

enum {
	CLASS_SHIFT = NODE_NUMBER_BITS + NODE_SLOT_BITS,
	CLASS_KIND = 0,
	CLASS_ENTRY = 1,
};

static_assert(sizeof(fuse_ino_t) == 8, "node ids are 64 bits wide");
static_assert(CLASS_SHIFT + 4 == 64, "class, slot and number fill a node id");
static_assert(NODE_ROOT == FUSE_ROOT_ID, "the root packs to FUSE_ROOT_ID");
static_assert((uint64_t)NODE_ENTRY < NODE_INO_ENTRY, "the inode numbers of kinds end before those of entries");

uint64_t node_pack(const struct node *node)
{
	uint64_t class = node->kind == NODE_ENTRY ? CLASS_ENTRY : CLASS_KIND;
	uint64_t number = node->kind == NODE_ENTRY ? node->number : (uint64_t)node->kind;

	assert(node->slot < NODE_SLOTS_MAX && number < NODE_NUMBERS_MAX);
	return class << CLASS_SHIFT | (uint64_t)node->slot << NODE_NUMBER_BITS | number;
}

bool node_unpack(uint64_t ino, struct node *ret_node)
{
	uint64_t number = ino & (NODE_NUMBERS_MAX - 1);
	struct node node = { .slot = ino >> NODE_NUMBER_BITS & (NODE_SLOTS_MAX - 1) };

	switch (ino >> CLASS_SHIFT) {
	case CLASS_KIND:
		if (number < NODE_ROOT || number >= NODE_ENTRY || (number == NODE_ROOT && node.slot))
			return false;
		node.kind = number;
		break;
	case CLASS_ENTRY:
		node.kind = NODE_ENTRY;
		node.number = number;
		break;
	default:
		return false;
	}
	*ret_node = node;
	return true;
}

uint64_t node_ino_base(const char *stream_name)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (const unsigned char *p = (const unsigned char *)stream_name; *p; p++)
		hash = (hash ^ *p) * UINT64_C(0x100000001b3);
	hash ^= hash >> 33;
	hash *= UINT64_C(0xff51afd7ed558ccd);
	hash ^= hash >> 33;
	hash *= UINT64_C(0xc4ceb9fe1a85ec53);
	hash ^= hash >> 33;
	return (hash & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 62;
}

uint64_t node_ino(const struct node *node, uint64_t base)
{
	if (node->kind == NODE_ROOT)
		return FUSE_ROOT_ID;
	return base + (node->kind == NODE_ENTRY ? NODE_INO_ENTRY + node->number : (uint64_t)node->kind);
}
