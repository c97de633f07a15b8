/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `.at`: the streams as of each checkpoint.
 *
 * A checkpoint that someone looks at is a *cut*: what wal_checkpoint_load() returned, shared by the slots made of it, freed with the last of them. There is one slot for its
 * directory and one for each stream looked up in it, which says where the stream ends (struct slot.end_id); all the rest is done with these slots as with any.
 *
 * That a cut still is what its checkpoint says is asked at every lookup in it, and costs nothing while wal_checkpoint_version() is the same. Else it is loaded again: with the
 * same time it is the same checkpoint, perhaps with fewer streams, because those were deleted; otherwise the cut is *gone*, nothing can be looked up in it any more, and the name
 * leads to another. What is open stays open.
 *
 * Servers that export the mount hold on to nodes by handles of their own, of which nobody is told, while the kernel forgets them. So a slot that is not used any more is kept, until
 * CUT_KEPT_MAX others have been given up after it: asked for by its number it is there as before.
 */
#ifndef WALFS_CUT_H
#define WALFS_CUT_H

#include "namespace.h"

struct cuts;

/* -ENOMEM. */
int cuts_new(struct cuts **ret_cuts);
void cuts_free(struct walfs *fs);

/* The slot with this index; as slot_get(), slot_ref(), slot_put(), which call these. */
int cut_slot_get(struct walfs *fs, uint32_t index, struct slot **ret_slot);
void cut_slot_ref(struct walfs *fs, struct slot *slot);
void cut_slot_put(struct walfs *fs, struct slot *slot);

/* One more lookup of a node in this slot is known to the kernel; `count` are forgotten. WAL_NOT_FOUND: there is no such slot. */
int cut_know(struct walfs *fs, uint32_t index);
void cut_forget(struct walfs *fs, uint32_t index, uint64_t count);

/* As namespace_removed(); the time is the checkpoint's. */
bool cut_removed(struct walfs *fs, uint32_t index, uint64_t *ret_ino_base, int64_t *ret_time_ns);

/* What makes this use of the slot's index different from those before. */
uint32_t cut_generation(struct walfs *fs, uint32_t index);

/* Whether `name` in `parent` is for cut_lookup(). That may read the disk. */
bool cut_has_name(const struct node *parent, const char *name);

/* As lookup_node(). -ENOSPC when the slots are used up. */
int cut_lookup(struct walfs *fs, const struct node *parent, const char *name, struct node *ret_node);

/* Whether a stream is to be seen in the checkpoint's directory `slot`. */
bool cut_covers(struct walfs *fs, struct slot *slot, const char *stream);

/* Whether the directory `slot` still is its checkpoint's. WAL_NOT_FOUND. May read the disk. */
int cut_check(struct walfs *fs, struct slot *slot);

/* Time of modification of a checkpoint's directory or of a stream in it, which never changes but by a prune. */
int64_t cut_mtime(struct slot *slot);

/* node_ino_base_at() of a stream in the slot's checkpoint, or with "" of the checkpoint's directory. */
uint64_t cut_ino_base(const struct slot *slot, const char *stream);

#endif
