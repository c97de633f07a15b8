/* SPDX-License-Identifier: Apache-2.0 */
#include "cut_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	for (size_t i = 0; i < CUT_BUCKETS; i++) {
		while (cuts->cuts[i]) {
			struct cut *cut = cuts->cuts[i];

			cuts->cuts[i] = cut->next;
			free(cut->checkpoint);
			free(cut);
		}
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

struct slot *cut_slot_find(struct cuts *cuts, const struct cut *cut, const struct slot *live, uint64_t ino_base)
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

int cut_slot_add(struct cuts *cuts, struct cut *cut, struct slot *live, uint64_t end_id, uint64_t ino_base, struct slot **ret_slot)
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

void cut_drop_unused(struct cuts *cuts, struct cut *cut)
{
	struct cut **link = cut_bucket(cuts, cut->id, cut->id_size);

	if (!cut->slots_in_use) {
		free(cut->checkpoint);
		cut->checkpoint = NULL;
	}
	if (cut->slots)
		return;
	while (*link != cut)
		link = &(*link)->next;
	*link = cut->next;
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
	cut_drop_unused(cuts, slot->cut);
}

static struct slot *slot_at(struct cuts *cuts, uint32_t index)
{
	uint32_t place = index & ~NODE_SLOT_CUT;

	return place < cuts->count ? cuts->table[place].slot : NULL;
}

/* ---- Slots that are kept ---- */

static uint32_t *link_to_newer(struct cuts *cuts, uint32_t older)
{
	return older ? &cuts->table[older - 1].newer : &cuts->oldest;
}

static uint32_t *link_to_older(struct cuts *cuts, uint32_t newer)
{
	return newer ? &cuts->table[newer - 1].older : &cuts->newest;
}

static void keep(struct cuts *cuts, struct slot *slot)
{
	uint32_t index = (slot->index & ~NODE_SLOT_CUT) + 1;
	struct place_in_table *place = &cuts->table[index - 1];

	place->kept = true;
	place->older = cuts->newest;
	place->newer = 0;
	*link_to_newer(cuts, place->older) = index;
	cuts->newest = index;
	cuts->kept++;
}

static void stop_keeping(struct cuts *cuts, struct slot *slot)
{
	struct place_in_table *place = &cuts->table[slot->index & ~NODE_SLOT_CUT];

	*link_to_newer(cuts, place->older) = place->newer;
	*link_to_older(cuts, place->newer) = place->older;
	place->kept = false;
	cuts->kept--;
}

/* Before it gets its first user or lookup. */
static void begin_use(struct cuts *cuts, struct slot *slot)
{
	if (slot->users || slot->known)
		return;
	if (cuts->table[slot->index & ~NODE_SLOT_CUT].kept)
		stop_keeping(cuts, slot);
	slot->cut->slots_in_use++;
}

/*
 * After a use has ended: if it was the last one the slot is kept, or not worth it. Returns what has to be freed, by free_slot() and without the lock: this slot, or
 * the one that was kept for the longest time.
 */
static struct slot *end_use(struct cuts *cuts, struct slot *slot)
{
	struct cut *cut = slot->cut;

	if (slot->users || slot->known)
		return NULL;
	cut->slots_in_use--;
	cut_drop_unused(cuts, cut);
	if (!cut->gone) {
		keep(cuts, slot);
		if (cuts->kept <= CUT_KEPT_MAX)
			return NULL;
		slot = cuts->table[cuts->oldest - 1].slot;
		stop_keeping(cuts, slot);
	}
	remove_slot(cuts, slot);
	return slot;
}

static void free_slot(struct walfs *fs, struct slot *slot)
{
	if (slot && slot->live)
		slot_put(fs, slot->live);
	free(slot);
}

/* ---- Uses ---- */

void cut_slot_know(struct cuts *cuts, struct slot *slot)
{
	begin_use(cuts, slot);
	slot->known++;
}

static struct slot *take_slot(struct walfs *fs, uint32_t index)
{
	struct slot *slot;

	pthread_mutex_lock(&fs->cuts->lock);
	slot = slot_at(fs->cuts, index);
	if (slot) {
		begin_use(fs->cuts, slot);
		slot->users++;
	}
	pthread_mutex_unlock(&fs->cuts->lock);
	return slot;
}

int cut_slot_get(struct walfs *fs, uint32_t index, struct slot **ret_slot)
{
	struct slot *slot = take_slot(fs, index);

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
	struct slot *surplus;

	pthread_mutex_lock(&fs->cuts->lock);
	slot->users--;
	surplus = end_use(fs->cuts, slot);
	pthread_mutex_unlock(&fs->cuts->lock);
	free_slot(fs, surplus);
}

int cut_know(struct walfs *fs, uint32_t index)
{
	struct slot *slot;

	pthread_mutex_lock(&fs->cuts->lock);
	slot = slot_at(fs->cuts, index);
	if (slot)
		cut_slot_know(fs->cuts, slot);
	pthread_mutex_unlock(&fs->cuts->lock);
	return slot ? 0 : WAL_NOT_FOUND;
}

void cut_forget(struct walfs *fs, uint32_t index, uint64_t count)
{
	struct slot *slot, *surplus = NULL;

	pthread_mutex_lock(&fs->cuts->lock);
	slot = slot_at(fs->cuts, index);
	if (slot && slot->known) {
		slot->known -= count < slot->known ? count : slot->known;
		surplus = end_use(fs->cuts, slot);
	}
	pthread_mutex_unlock(&fs->cuts->lock);
	free_slot(fs, surplus);
}

bool cut_removed(struct walfs *fs, uint32_t index, uint64_t *ret_ino_base, int64_t *ret_time_ns)
{
	struct slot *slot = take_slot(fs, index);
	bool removed = slot && slot->live && slot_is_removed(fs, slot->live);

	if (removed) {
		*ret_ino_base = slot->ino_base;
		*ret_time_ns = slot->cut->time_ns;
	}
	if (slot)
		slot_put(fs, slot);
	return removed;
}

uint32_t cut_generation(struct walfs *fs, uint32_t index)
{
	uint32_t place = index & ~NODE_SLOT_CUT, generation;

	pthread_mutex_lock(&fs->cuts->lock);
	generation = place < fs->cuts->count ? fs->cuts->table[place].generation : 0;
	pthread_mutex_unlock(&fs->cuts->lock);
	/* Far from those of the next mounts, which count milliseconds. */
	return generation * UINT32_C(0x9e3779b1);
}
