/* SPDX-License-Identifier: Apache-2.0 */
#include "cut_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"

/* ---- Cuts ---- */

/*
 * Enters what was loaded as of `version`, or that there is nothing (`checkpoint` NULL), for this id. A checkpoint is used or freed. Caller holds cuts->lock. *ret_cut may be
 * NULL only if `checkpoint` is.
 */
static int enter(struct cuts *cuts, const void *id, size_t id_size, struct wal_checkpoint *checkpoint, uint64_t version, struct cut **ret_cut)
{
	struct cut *cut, *found = NULL;

	for (cut = *cut_bucket(cuts, id, id_size); cut; cut = cut->next) {
		if (cut->gone || cut->id_size != id_size || memcmp(cut->id, id, id_size))
			continue;
		if (checkpoint && checkpoint->time_ns == cut->time_ns)
			found = cut;
		else if (cut->version < version) /* not what another thread has loaded later */
			cut->gone = true;
	}
	if (found && (!found->checkpoint || found->version < version)) {
		struct wal_checkpoint *old = found->checkpoint;

		found->checkpoint = checkpoint;
		found->version = version;
		checkpoint = old;
	}
	if (found || !checkpoint) {
		free(checkpoint);
		*ret_cut = found;
		return 0;
	}
	cut = calloc(1, sizeof(*cut) + id_size);
	if (!cut) {
		free(checkpoint);
		return -ENOMEM;
	}
	cut->checkpoint = checkpoint;
	cut->version = version;
	cut->time_ns = checkpoint->time_ns;
	cut->id_size = id_size;
	memcpy(cut->id, id, id_size);
	cut->next = *cut_bucket(cuts, id, id_size);
	*cut_bucket(cuts, id, id_size) = cut;
	*ret_cut = cut;
	return 0;
}

/* Caller holds cuts->lock. */
static struct cut *find_current(struct cuts *cuts, const void *id, size_t id_size, uint64_t version)
{
	struct cut *cut = *cut_bucket(cuts, id, id_size);

	while (cut && (cut->gone || !cut->checkpoint || cut->version != version || cut->id_size != id_size || memcmp(cut->id, id, id_size)))
		cut = cut->next;
	return cut;
}

/* The cut of the checkpoint as it is now. On success holds cuts->lock, which is the caller's to release. */
static int find_and_lock(struct walfs *fs, const void *id, size_t id_size, struct cut **ret_cut)
{
	struct cuts *cuts = fs->cuts;
	uint64_t version = wal_checkpoint_version(fs->store);
	struct wal_checkpoint *checkpoint = NULL;
	struct cut *cut = NULL;
	int r;

	pthread_mutex_lock(&cuts->lock);
	cut = find_current(cuts, id, id_size, version);
	if (cut) {
		*ret_cut = cut;
		return 0;
	}
	pthread_mutex_unlock(&cuts->lock);
	r = wal_checkpoint_load(fs->store, id, id_size, &checkpoint);
	if (r && r != WAL_NOT_FOUND)
		return r;
	pthread_mutex_lock(&cuts->lock);
	r = enter(cuts, id, id_size, r == 0 ? checkpoint : NULL, version, &cut);
	if (r || !cut) {
		pthread_mutex_unlock(&cuts->lock);
		return r ? r : WAL_NOT_FOUND;
	}
	*ret_cut = cut;
	return 0;
}

/* Adds or finds a slot, counts a lookup in it, and releases the lock. `live` is a use of the stream's own slot, taken over on success; NULL for the directory. */
static int know_slot_and_unlock(struct walfs *fs, struct cut *cut, struct slot *live, uint64_t end_id, struct slot **ret_slot)
{
	const char *stream = live ? live->name : "";
	uint64_t ino_base = node_ino_base_at(cut->id, cut->id_size, stream);
	struct slot *slot = cut_slot_find(fs->cuts, cut, live, ino_base), *surplus = slot ? live : NULL;
	int r = slot ? 0 : cut_slot_add(fs->cuts, cut, live, end_id, ino_base, &slot);

	if (r == 0)
		cut_slot_know(fs->cuts, slot);
	else
		cut_drop_unused(fs->cuts, cut);
	pthread_mutex_unlock(&fs->cuts->lock);
	if (surplus)
		slot_put(fs, surplus);
	if (r == 0)
		*ret_slot = slot;
	return r;
}

/* ---- Names ---- */

static int look_up_checkpoint(struct walfs *fs, const char *name, struct node *ret_node)
{
	char canonical[PERCENT_NAME_MAX + 1];
	struct checkpoint_id id;
	struct slot *slot;
	struct cut *cut;
	int r;

	if (!strcmp(name, "HEAD")) {
		*ret_node = (struct node){ .kind = NODE_HEAD };
		return 0;
	}
	r = checkpoints_resolve(fs, name, &id);
	if (r)
		return r;
	/* A directory with two names would confuse the kernel. */
	percent_encode(id.bytes, id.size, canonical);
	if (strcmp(canonical, name))
		return WAL_NOT_FOUND;
	r = find_and_lock(fs, id.bytes, id.size, &cut);
	if (r == 0)
		r = know_slot_and_unlock(fs, cut, NULL, UINT64_MAX, &slot);
	if (r == 0)
		*ret_node = (struct node){ .kind = NODE_CUT, .slot = slot->index };
	return r;
}

/*
 * The stream's own slot first, the checkpoint after: if the stream is deleted and made again in between, the checkpoint does not know the name any more, and if later, the slot is
 * that of the one that is deleted.
 */
static int look_up_stream(struct walfs *fs, struct slot *dir, const char *name, struct node *ret_node)
{
	struct slot *live, *slot;
	struct node stream;
	uint64_t end_id = 0;
	struct cut *cut;
	int r;

	r = namespace_find(fs, name, &stream);
	if (r == 0)
		r = slot_get(fs, stream.slot, &live);
	if (r)
		return r;
	r = find_and_lock(fs, dir->cut->id, dir->cut->id_size, &cut);
	if (r) {
		slot_put(fs, live);
		return r;
	}
	if (cut == dir->cut)
		r = wal_checkpoint_find(cut->checkpoint, name, &end_id);
	else
		r = WAL_NOT_FOUND; /* the checkpoint has been moved away from this directory */
	if (r) {
		cut_drop_unused(fs->cuts, cut);
		pthread_mutex_unlock(&fs->cuts->lock);
	} else {
		r = know_slot_and_unlock(fs, cut, live, end_id, &slot);
	}
	if (r)
		slot_put(fs, live);
	else
		*ret_node = (struct node){ .kind = NODE_STREAM, .slot = slot->index };
	return r;
}

/* Whatever has become of the checkpoint: a directory's parent is there. */
static int look_up_parent(struct walfs *fs, struct slot *stream, struct node *ret_node)
{
	struct slot *slot;
	int r;

	pthread_mutex_lock(&fs->cuts->lock);
	r = know_slot_and_unlock(fs, stream->cut, NULL, UINT64_MAX, &slot);
	if (r == 0)
		*ret_node = (struct node){ .kind = NODE_CUT, .slot = slot->index };
	return r;
}

/* Something is asked for by its handle: it has been here, but the checkpoint may have gone since. */
static int look_up_again(struct walfs *fs, struct slot *slot, const struct node *node, struct node *ret_node)
{
	int r = cut_check(fs, slot);

	if (r == 0)
		r = cut_know(fs, node->slot);
	if (r == 0)
		*ret_node = *node;
	return r;
}

bool cut_has_name(const struct node *parent, const char *name)
{
	bool up = !strcmp(name, ".."), self = !strcmp(name, ".");

	if (parent->kind == NODE_AT)
		return !up && !self;
	if (!(parent->slot & NODE_SLOT_CUT))
		return false;
	return self || (parent->kind == NODE_CUT && !up) || (parent->kind == NODE_STREAM && up);
}

int cut_lookup(struct walfs *fs, const struct node *parent, const char *name, struct node *ret_node)
{
	struct slot *slot;
	int r;

	if (strlen(name) > PERCENT_NAME_MAX)
		return -ENAMETOOLONG;
	if (parent->kind == NODE_AT)
		return look_up_checkpoint(fs, name, ret_node);
	r = slot_get(fs, parent->slot, &slot);
	if (r)
		return r;
	if (!strcmp(name, "."))
		r = look_up_again(fs, slot, parent, ret_node);
	else if (parent->kind == NODE_CUT)
		r = look_up_stream(fs, slot, name, ret_node);
	else
		r = look_up_parent(fs, slot, ret_node);
	slot_put(fs, slot);
	return r;
}

bool cut_covers(struct walfs *fs, struct slot *slot, const char *stream)
{
	uint64_t end_id;
	bool covers;

	pthread_mutex_lock(&fs->cuts->lock);
	covers = wal_checkpoint_find(slot->cut->checkpoint, stream, &end_id) == 0;
	pthread_mutex_unlock(&fs->cuts->lock);
	return covers;
}

int cut_check(struct walfs *fs, struct slot *slot)
{
	struct cut *cut;
	int r;

	r = find_and_lock(fs, slot->cut->id, slot->cut->id_size, &cut);
	if (r)
		return r;
	if (cut != slot->cut) {
		cut_drop_unused(fs->cuts, cut);
		r = WAL_NOT_FOUND;
	}
	pthread_mutex_unlock(&fs->cuts->lock);
	return r;
}

/* ---- Attributes ---- */

uint64_t cut_ino_base(const struct slot *slot, const char *stream)
{
	return node_ino_base_at(slot->cut->id, slot->cut->id_size, stream);
}

int64_t cut_mtime(struct slot *slot)
{
	struct wal_entry_info info;

	if (slot->stream && slot->end_id && wal_stream_lookup(slot->stream, slot->end_id - 1, &info) == 0)
		return info.time_ns;
	return slot->cut->time_ns;
}
