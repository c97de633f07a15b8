/* SPDX-License-Identifier: Apache-2.0 */
#include "cut.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"

/* Protected by cuts.lock, but for what is constant. */
struct cut {
	struct cut *next;
	unsigned slots;
	struct wal_checkpoint *checkpoint; /* as of `version` */
	uint64_t version;
	bool gone;
	int64_t time_ns; /* constant */
	size_t id_size;	 /* constant */
	char id[];	 /* constant */
};

struct place_in_table {
	struct slot *slot;   /* NULL: free */
	uint32_t next_free;  /* of a free one: its index + 1 */
	uint32_t generation; /* how many slots were here before */
};

struct cuts {
	pthread_mutex_t lock;

	/* protected by lock */
	struct cut *cuts;
	struct place_in_table *table;
	uint32_t count, room;
	uint32_t free; /* index + 1 */
	struct slot **buckets; /* by ino_base; as many as room, a power of two */
};

int cuts_new(struct cuts **ret_cuts)
{
	struct cuts *cuts = calloc(1, sizeof(*cuts));

	if (!cuts)
		return -ENOMEM;
	pthread_mutex_init(&cuts->lock, NULL);
	*ret_cuts = cuts;
	return 0;
}

/* The kernel does not forget all before it lets go. */
void cuts_free(struct walfs *fs)
{
	struct cuts *cuts = fs->cuts;

	for (uint32_t i = 0; i < cuts->count; i++) {
		if (cuts->table[i].slot && cuts->table[i].slot->live)
			slot_put(fs, cuts->table[i].slot->live);
		free(cuts->table[i].slot);
	}
	while (cuts->cuts) {
		struct cut *cut = cuts->cuts;

		cuts->cuts = cut->next;
		free(cut->checkpoint);
		free(cut);
	}
	free(cuts->table);
	free(cuts->buckets);
	pthread_mutex_destroy(&cuts->lock);
	free(cuts);
}

/* ---- The table of slots. Callers hold cuts->lock ---- */

static struct slot **bucket_of(struct cuts *cuts, uint64_t ino_base)
{
	return &cuts->buckets[ino_base & (cuts->room - 1)];
}

/* By the stream's own slot, not by its name: the name may have come to mean another. */
static struct slot *find_slot(struct cuts *cuts, const struct cut *cut, const struct slot *live, uint64_t ino_base)
{
	struct slot *slot = cuts->room ? *bucket_of(cuts, ino_base) : NULL;

	while (slot && (slot->cut != cut || slot->live != live))
		slot = slot->chain;
	return slot;
}

static int grow(struct cuts *cuts)
{
	uint32_t room = cuts->room ? cuts->room * 2 : 64;
	struct place_in_table *table = realloc(cuts->table, room * sizeof(*table));
	struct slot **buckets;

	if (!table)
		return -ENOMEM;
	cuts->table = table;
	buckets = calloc(room, sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	free(cuts->buckets);
	cuts->buckets = buckets;
	cuts->room = room;
	for (uint32_t i = 0; i < cuts->count; i++) {
		struct slot *slot = table[i].slot;

		if (slot) {
			slot->chain = *bucket_of(cuts, slot->ino_base);
			*bucket_of(cuts, slot->ino_base) = slot;
		}
	}
	return 0;
}

static int take_place(struct cuts *cuts, uint32_t *ret_index)
{
	int r;

	if (cuts->free) {
		*ret_index = cuts->free - 1;
		cuts->free = cuts->table[*ret_index].next_free;
		return 0;
	}
	if (cuts->count == NODE_SLOTS_MAX)
		return -ENOSPC;
	if (cuts->count == cuts->room && (r = grow(cuts)) < 0)
		return r;
	*ret_index = cuts->count++;
	cuts->table[*ret_index] = (struct place_in_table){ 0 };
	return 0;
}

/* A slot of `cut`: of its directory (`live` NULL), or of the stream whose use it takes over. */
static int add_slot(struct cuts *cuts, struct cut *cut, struct slot *live, uint64_t end_id, uint64_t ino_base, struct slot **ret_slot)
{
	const char *name = live ? live->name : "";
	size_t name_bytes = strlen(name) + 1;
	struct slot *slot = calloc(1, sizeof(*slot) + name_bytes);
	uint32_t place = 0;
	int r = slot ? take_place(cuts, &place) : -ENOMEM;

	if (r) {
		free(slot);
		return r;
	}
	memcpy(slot->name, name, name_bytes);
	slot->index = NODE_SLOT_CUT | place;
	slot->ino_base = ino_base;
	slot->stream = live ? live->stream : NULL;
	slot->end_id = end_id;
	slot->cut = cut;
	slot->live = live;
	slot->chain = *bucket_of(cuts, ino_base);
	*bucket_of(cuts, ino_base) = slot;
	cuts->table[place].slot = slot;
	cut->slots++;
	*ret_slot = slot;
	return 0;
}

/* Drops the cut if it was made for a slot that could not be had. */
static void drop_unused_cut(struct cuts *cuts, struct cut *cut)
{
	struct cut **link = &cuts->cuts;

	if (cut->slots)
		return;
	while (*link != cut)
		link = &(*link)->next;
	*link = cut->next;
	free(cut->checkpoint);
	free(cut);
}

static void remove_slot(struct cuts *cuts, struct slot *slot)
{
	uint32_t place = slot->index & ~NODE_SLOT_CUT;
	struct slot **link = bucket_of(cuts, slot->ino_base);

	while (*link != slot)
		link = &(*link)->chain;
	*link = slot->chain;
	cuts->table[place] = (struct place_in_table){ .next_free = cuts->free, .generation = cuts->table[place].generation + 1 };
	cuts->free = place + 1;
	slot->cut->slots--;
	drop_unused_cut(cuts, slot->cut);
}

static struct slot *slot_at(struct cuts *cuts, uint32_t index)
{
	uint32_t place = index & ~NODE_SLOT_CUT;

	return place < cuts->count ? cuts->table[place].slot : NULL;
}

/* Releases the lock. */
static void unlock_and_drop(struct walfs *fs, struct slot *slot)
{
	bool unused = !slot->users && !slot->known;

	if (unused)
		remove_slot(fs->cuts, slot);
	pthread_mutex_unlock(&fs->cuts->lock);
	if (unused) {
		if (slot->live)
			slot_put(fs, slot->live);
		free(slot);
	}
}

int cut_slot_get(struct walfs *fs, uint32_t index, struct slot **ret_slot)
{
	struct slot *slot;

	pthread_mutex_lock(&fs->cuts->lock);
	slot = slot_at(fs->cuts, index);
	if (slot)
		slot->users++;
	pthread_mutex_unlock(&fs->cuts->lock);
	if (!slot)
		return WAL_NOT_FOUND;
	if (slot->live && slot_is_removed(fs, slot->live)) {
		slot_put(fs, slot);
		return WAL_NOT_FOUND;
	}
	*ret_slot = slot;
	return 0;
}

void cut_slot_ref(struct walfs *fs, struct slot *slot)
{
	pthread_mutex_lock(&fs->cuts->lock);
	slot->users++;
	pthread_mutex_unlock(&fs->cuts->lock);
}

void cut_slot_put(struct walfs *fs, struct slot *slot)
{
	pthread_mutex_lock(&fs->cuts->lock);
	slot->users--;
	unlock_and_drop(fs, slot);
}

int cut_know(struct walfs *fs, uint32_t index)
{
	struct slot *slot;

	pthread_mutex_lock(&fs->cuts->lock);
	slot = slot_at(fs->cuts, index);
	if (slot)
		slot->known++;
	pthread_mutex_unlock(&fs->cuts->lock);
	return slot ? 0 : WAL_NOT_FOUND;
}

void cut_forget(struct walfs *fs, uint32_t index, uint64_t count)
{
	struct slot *slot;

	pthread_mutex_lock(&fs->cuts->lock);
	slot = slot_at(fs->cuts, index);
	if (!slot) {
		pthread_mutex_unlock(&fs->cuts->lock);
		return;
	}
	slot->known -= count < slot->known ? count : slot->known;
	unlock_and_drop(fs, slot);
}

uint32_t cut_generation(struct walfs *fs, uint32_t index)
{
	uint32_t place = index & ~NODE_SLOT_CUT, generation;

	pthread_mutex_lock(&fs->cuts->lock);
	generation = place < fs->cuts->count ? fs->cuts->table[place].generation : 0;
	pthread_mutex_unlock(&fs->cuts->lock);
	/* Far from those of the next mounts, which count seconds. */
	return generation * UINT32_C(0x9e3779b1);
}

/* ---- Cuts ---- */

/*
 * Enters what was loaded as of `version`, or that there is nothing (`checkpoint` NULL), for this id. A checkpoint is used or freed. Caller holds cuts->lock. *ret_cut may be
 * NULL only if `checkpoint` is.
 */
static int enter(struct cuts *cuts, const void *id, size_t id_size, struct wal_checkpoint *checkpoint, uint64_t version, struct cut **ret_cut)
{
	struct cut *cut, *found = NULL;

	for (cut = cuts->cuts; cut; cut = cut->next) {
		if (cut->gone || cut->id_size != id_size || memcmp(cut->id, id, id_size))
			continue;
		if (checkpoint && checkpoint->time_ns == cut->time_ns)
			found = cut;
		else if (cut->version < version) /* not what another thread has loaded later */
			cut->gone = true;
	}
	if (found && found->version < version) {
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
	cut->next = cuts->cuts;
	cuts->cuts = cut;
	*ret_cut = cut;
	return 0;
}

/* Caller holds cuts->lock. */
static struct cut *find_current(struct cuts *cuts, const void *id, size_t id_size, uint64_t version)
{
	struct cut *cut = cuts->cuts;

	while (cut && (cut->gone || cut->version != version || cut->id_size != id_size || memcmp(cut->id, id, id_size)))
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
	struct slot *slot = find_slot(fs->cuts, cut, live, ino_base), *surplus = slot ? live : NULL;
	int r = slot ? 0 : add_slot(fs->cuts, cut, live, end_id, ino_base, &slot);

	if (r == 0)
		slot->known++;
	else
		drop_unused_cut(fs->cuts, cut);
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
		drop_unused_cut(fs->cuts, cut);
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

bool cut_has_name(const struct node *parent, const char *name)
{
	bool dots = !strcmp(name, ".") || !strcmp(name, "..");

	switch (parent->kind) {
	case NODE_AT:
	case NODE_CUT:
		return !dots;
	case NODE_STREAM:
		return parent->slot & NODE_SLOT_CUT && !strcmp(name, "..");
	default:
		return false;
	}
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
	if (parent->kind == NODE_CUT)
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
		drop_unused_cut(fs->cuts, cut);
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
