/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What an inode number is. There are two, and neither is stored anywhere.
 *
 * The *node id* is what kernel and program call a node while it is mounted. It is computed from what the node is, so that LOOKUP needs no
 * table and FORGET nothing to do, but for what is below `.at`:
 *
 *	 63  61 60                40 39                                0
 *	+------+--------------------+-----------------------------------+
 *	| class|        slot        |              number               |
 *	+------+--------------------+-----------------------------------+
 *
 *	class 0	a node there is one of per slot, or per store (then slot is 0): number is its enum node_kind. The root is slot 0, number 1:
 *		FUSE_ROOT_ID
 *	class 1	an entry: number is its id
 *	class 2	a checkpoint: slot is 0, number an index into the table of checkpoints' ids, given out in order. An id keeps its own until the
 *		mount ends, though the checkpoint be removed and made again
 *	class 3	the link to a shard: slot is 0, number is the shard, whatever key asked for it
 *	class 4	`.log`: number is the id of the entry that it begins with. So it is another node when entries have been pruned, and a place in
 *		it means the same byte for whoever has it open
 *	class 5	`.from/ID`: number is the id
 *	class 6	`.lines`: number counts its lookups, so it is another node each time. The kernel holds a lock on the node over each WRITE until it is
 *		answered: writers that have opened the file one by one share a sync then, instead of waiting for each other's
 *	class 7	`.follow/ID`: number is the id
 *	number	stands there turned on by a multiple of the slot, modulo 2^40: see spread() in ino.c
 *	slot	which stream, or which stream as of which checkpoint: an index into one of two tables
 *
 * The slots below NODE_SLOT_CUT are streams: the namespace's table, given out in order and never used twice in one mount.
 *
 * Those from NODE_SLOT_CUT on stand for what is below `.at`: a checkpoint, or a stream as of a checkpoint (cut.h). Checkpoints are made and dropped all the
 * time, so these slots are used again: of their nodes the kernel's lookups are counted, FORGET takes away from the count, and a slot that neither the kernel nor
 * an open file knows any more is free. Each use has another generation. An entry below `.at` is the node of the live one, in the stream's own slot: it is one file
 * with two names, and nothing needs to be counted for it.
 *
 * So entries with ids from 2^40 on cannot be reached through the mount (-EOVERFLOW; at one append a microsecond the first comes after
 * twelve days), a mount ends giving out streams after 2^20 mkdirs (-ENOSPC), and the kernel can know 2^20 directories below `.at` at a time.
 *
 * Slots differ from mount to mount. Backup tools compare *st_ino*, which must not: it is node_ino_base() of the stream's name plus a small
 * constant or, for entries, plus NODE_INO_ENTRY plus the id. Ascending ids have ascending inode numbers, which is the order tools read them
 * in. A checkpoint's file is node_ino_checkpoint() of its id. What there is one of per store has its number, and HEAD the highest a checkpoint could have: rm(1)
 * takes a directory of many names in the order of their inode numbers, and once the last checkpoint is gone there is no HEAD left to complain about.
 *
 * Below `.at` the base is node_ino_base_at() of the checkpoint and the stream, but for entries, which have one number under both names. `.from/ID` and
 * `.follow/ID` have ranges like that of entries, elsewhere; `.log` has one number always, so that `tail -F` does not take it for another file after a prune.
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
	NODE_FROM, /* the directory `.from` */
	NODE_FOLLOWS, /* the directory `.follow` */
	NODE_CUT,  /* a checkpoint's directory in `.at` */
	NODE_STATS,
	/* of the store */
	NODE_CHECKPOINTS,
	NODE_CHECKPOINTS_PRUNE,
	NODE_CHECKPOINTS_COMPACT,
	NODE_HEAD,
	NODE_SHARDS,
	NODE_AT,
	NODE_STORE_STATS,
	/* those with numbers */
	NODE_ENTRY,
	NODE_CHECKPOINT,
	NODE_SHARD,
	NODE_LOG,
	NODE_TEXT, /* `.from/ID` */
	NODE_LINES,
	NODE_FOLLOW, /* `.follow/ID` */
};

struct node {
	enum node_kind kind;
	uint32_t slot;	 /* 0 for what is not in a stream */
	uint64_t number; /* the id of an entry or of a text's first, the checkpoint's index, the shard, the lookup of `.lines`; else 0 */
};

enum {
	NODE_NUMBER_BITS = 40,
	NODE_SLOT_BITS = 21,
};

#define NODE_SLOT_CUT (UINT32_C(1) << (NODE_SLOT_BITS - 1))
#define NODE_SLOTS_MAX NODE_SLOT_CUT /* of either half */
#define NODE_NUMBERS_MAX (UINT64_C(1) << NODE_NUMBER_BITS)

/* st_ino of a stream's nodes is its base plus the kind, of its entries its base plus this plus the id. */
#define NODE_INO_ENTRY UINT64_C(64)

/* Of a stream or in one, so that node->slot says which. */
bool node_has_slot(const struct node *node);

/* node->slot < 2 * NODE_SLOTS_MAX, node->number < NODE_NUMBERS_MAX. */
uint64_t node_pack(const struct node *node);

/* False if no node_pack() returns `ino`: a client of an NFS export can make the kernel ask for any number. */
bool node_unpack(uint64_t ino, struct node *ret_node);

/*
 * Never changes, backups depend on it: FNV-1a, 64 bits, of the name's bytes, mixed by the finalizer of MurmurHash3, with bits 63-62 set to
 * 01. So it is positive for those who keep it in a signed number, and far from 0 and 1.
 */
uint64_t node_ino_base(const char *stream_name);

/* The same below `.at`: of the checkpoint with this id and, unless that is "", the stream. */
uint64_t node_ino_base_at(const void *checkpoint_id, size_t id_size, const char *stream_name);

/* The same for the id of a checkpoint, with bits 63-61 set to 001: apart from those of streams and entries. Never HEAD's. */
uint64_t node_ino_checkpoint(const void *id, size_t id_size);

/* st_ino of a node in the slot with this base; of a checkpoint `base` itself. Else `base` means nothing. */
uint64_t node_ino(const struct node *node, uint64_t base);

/* Whether it is `.at` or something that is found only below it. */
static inline bool node_is_at(const struct node *node)
{
	return node->kind == NODE_AT || node->slot & NODE_SLOT_CUT;
}

#endif
