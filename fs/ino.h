/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an inode number is. There are two, and neither is stored anywhere.
 *
 * The *node id* is what kernel and program call a node while it is mounted. It is computed from what the node is, so that LOOKUP needs no
 * table and FORGET nothing to do:
 *
 *	 63      60 59              40 39                                0
 *	+----------+------------------+-----------------------------------+
 *	|  class   |       slot       |              number               |
 *	+----------+------------------+-----------------------------------+
 *
 *	slot	which stream: an index into the namespace's table, given out in order and never used twice in one mount
 *	class 0	a node there is one of per slot, or per store (then slot is 0): number is its enum node_kind. The root is slot 0, number 1:
 *		FUSE_ROOT_ID
 *	class 1	an entry: number is its id
 *	class 2	a checkpoint: slot is 0, number an index into the table of checkpoints' ids, given out in order. An id keeps its own until the
 *		mount ends, though the checkpoint be removed and made again
 *	class 3	the link to a shard: slot is 0, number is the shard, whatever key asked for it
 *	class 7	`.lines`: another node each time it is looked up, number counts them. The kernel holds a lock on the node over each WRITE, until it is
 *		answered; so writers that opened the file one by one share a sync instead of waiting for each other's
 *
 * So entries with ids from 2^40 on cannot be reached through the mount (-EOVERFLOW; at one append a microsecond the first comes after
 * twelve days), and a mount ends giving out streams after 2^20 mkdirs (-ENOSPC).
 *
 * Slots differ from mount to mount. Backup tools compare *st_ino*, which must not: it is node_ino_base() of the stream's name plus a small
 * constant or, for entries, plus NODE_INO_ENTRY plus the id. Ascending ids have ascending inode numbers, which is the order tools read them
 * in. A checkpoint's is node_ino_checkpoint() of its id. What there is one of per store has its number, and HEAD the highest a checkpoint could have: rm(1)
 * takes a directory of many names in the order of their inode numbers, and once the last checkpoint is gone there is no HEAD left to complain about.
 */
#ifndef WALFS_INO_H
#define WALFS_INO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum node_kind {
	NODE_ROOT = 1,
	NODE_STREAM,
	NODE_NEW,
	NODE_FIRST,
	NODE_LAST,
	NODE_PRUNE,
	NODE_ROTATE,
	NODE_BATCH,
	/* of the store */
	NODE_CHECKPOINTS,
	NODE_CHECKPOINTS_PRUNE,
	NODE_CHECKPOINTS_COMPACT,
	NODE_HEAD,
	NODE_SHARDS,
	/* those with numbers */
	NODE_ENTRY,
	NODE_CHECKPOINT,
	NODE_SHARD,
	NODE_LINES,
};

struct node {
	enum node_kind kind;
	uint32_t slot;	 /* 0 for what is not in a stream */
	uint64_t number; /* the entry's id, the checkpoint's index, the shard, which `.lines`; else 0 */
};

enum {
	NODE_NUMBER_BITS = 40,
	NODE_SLOT_BITS = 20,
};

#define NODE_SLOTS_MAX (UINT32_C(1) << NODE_SLOT_BITS)
#define NODE_NUMBERS_MAX (UINT64_C(1) << NODE_NUMBER_BITS)

/* st_ino of a stream's nodes is its base plus the kind, of its entries its base plus this plus the id. */
#define NODE_INO_ENTRY UINT64_C(64)

/* Of a stream or in one, so that node->slot says which. */
bool node_has_slot(const struct node *node);

/* node->slot < NODE_SLOTS_MAX, node->number < NODE_NUMBERS_MAX. */
uint64_t node_pack(const struct node *node);

/* False if no node_pack() returns `ino`: a client of an NFS export can make the kernel ask for any number. */
bool node_unpack(uint64_t ino, struct node *ret_node);

/*
 * Never changes, backups depend on it: FNV-1a, 64 bits, of the name's bytes, mixed by the finalizer of MurmurHash3, with bits 63-62 set to
 * 01. So it is positive for those who keep it in a signed number, and far from 0 and 1.
 */
uint64_t node_ino_base(const char *stream_name);

/* The same for the id of a checkpoint, with bits 63-61 set to 001: apart from those of streams and entries. Never HEAD's. */
uint64_t node_ino_checkpoint(const void *id, size_t id_size);

/* st_ino of a node in the stream with this base; of a checkpoint `base` itself. Else `base` means nothing. */
uint64_t node_ino(const struct node *node, uint64_t base);

#endif
