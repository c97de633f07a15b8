/* SPDX-License-Identifier: Apache-2.0 */
#include "ckptindex.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "ckptrecord.h"
#include "keyhash.h"

enum {
	ENTRIES_MIN = 16,
	BUCKETS_MIN = 64,
};

static uint64_t record_bytes(const struct ckptindex_entry *entry)
{
	return (uint64_t)RECORD_HEADER + entry->size;
}

/* Fails only if there are no buckets at all: it works with longer chains too. */
static bool grow_buckets(struct ckptindex *index)
{
	size_t count = index->bucket_count ? index->bucket_count * 2 : BUCKETS_MIN;
	struct ckptindex_entry **buckets = calloc(count, sizeof *buckets);

	if (!buckets)
		return index->bucket_count > 0;
	for (size_t i = 0; i < index->count; i++) {
		struct ckptindex_entry *e = index->entries[i], **bucket = &buckets[e->hash & (count - 1)];

		e->next = *bucket;
		*bucket = e;
	}
	free(index->buckets);
	index->buckets = buckets;
	index->bucket_count = count;
	return true;
}

struct ckptindex_entry *ckptindex_prepare(struct ckptindex *index, const void *id, size_t id_size)
{
	if (index->count >= index->capacity) {
		size_t capacity = index->capacity ? index->capacity * 2 : ENTRIES_MIN;
		struct ckptindex_entry **entries = reallocarray(index->entries, capacity, sizeof *entries);

		if (!entries)
			return NULL;
		index->entries = entries;
		index->capacity = capacity;
	}
	if (index->count >= index->bucket_count && !grow_buckets(index))
		return NULL;
	struct ckptindex_entry *entry = calloc(1, sizeof *entry + id_size + 1);
	if (!entry)
		return NULL;
	memcpy(entry->id, id, id_size);
	entry->id_size = id_size;
	entry->hash = keyhash(id, id_size);
	return entry;
}

static struct ckptindex_entry **find_link(const struct ckptindex *index, uint64_t hash, const void *id, size_t id_size)
{
	struct ckptindex_entry **link = &index->buckets[hash & (index->bucket_count - 1)];

	while (*link && ((*link)->hash != hash || (*link)->id_size != id_size || memcmp((*link)->id, id, id_size) != 0))
		link = &(*link)->next;
	return link;
}

struct ckptindex_entry *ckptindex_find(const struct ckptindex *index, const void *id, size_t id_size)
{
	return index->count == 0 ? NULL : *find_link(index, keyhash(id, id_size), id, id_size);
}

/* How many have this time or an earlier one. */
static size_t place_of(const struct ckptindex *index, int64_t time_ns)
{
	size_t low = 0, high = index->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (index->entries[mid]->time_ns <= time_ns)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct ckptindex_entry *ckptindex_find_time(const struct ckptindex *index, int64_t time_ns)
{
	size_t at = place_of(index, time_ns);

	return at > 0 && index->entries[at - 1]->time_ns == time_ns ? index->entries[at - 1] : NULL;
}

void ckptindex_add(struct ckptindex *index, struct ckptindex_entry *entry, bool sorted)
{
	struct ckptindex_entry **link = find_link(index, entry->hash, entry->id, entry->id_size), *old = *link;

	entry->order = index->next_order++;
	if (old && !sorted) {
		/* Its place in the array does not matter yet. */
		index->bytes += record_bytes(entry) - record_bytes(old);
		old->offset = entry->offset;
		old->size = entry->size;
		old->shards = entry->shards;
		old->time_ns = entry->time_ns;
		old->order = entry->order;
		free(entry);
		return;
	}
	if (old)
		ckptindex_remove(index, old);
	link = &index->buckets[entry->hash & (index->bucket_count - 1)];
	entry->next = *link;
	*link = entry;
	size_t at = sorted ? place_of(index, entry->time_ns) : index->count;
	memmove(index->entries + at + 1, index->entries + at, (index->count - at) * sizeof *index->entries);
	index->entries[at] = entry;
	index->count++;
	index->bytes += record_bytes(entry);
}

static int compare_entries(const struct ckptindex_entry *x, const struct ckptindex_entry *y)
{
	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return (x->order > y->order) - (x->order < y->order);
}

static int compare_places(const void *a, const void *b)
{
	return compare_entries(*(struct ckptindex_entry *const *)a, *(struct ckptindex_entry *const *)b);
}

void ckptindex_sort(struct ckptindex *index)
{
	if (index->count > 1)
		qsort(index->entries, index->count, sizeof *index->entries, compare_places);
}

static void drop(struct ckptindex *index, struct ckptindex_entry *entry)
{
	struct ckptindex_entry **link = find_link(index, entry->hash, entry->id, entry->id_size);

	assert(*link == entry);
	*link = entry->next;
	index->bytes -= record_bytes(entry);
	free(entry);
}

void ckptindex_remove(struct ckptindex *index, struct ckptindex_entry *entry)
{
	struct ckptindex_entry **place = bsearch(&entry, index->entries, index->count, sizeof *index->entries, compare_places);

	assert(place);
	memmove(place, place + 1, (size_t)(index->entries + index->count - (place + 1)) * sizeof *place);
	index->count--;
	drop(index, entry);
}

void ckptindex_remove_oldest(struct ckptindex *index, size_t count)
{
	for (size_t i = 0; i < count; i++)
		drop(index, index->entries[i]);
	index->count -= count;
	memmove(index->entries, index->entries + count, index->count * sizeof *index->entries);
}

void ckptindex_move(struct ckptindex *index, struct ckptindex_entry *entry, uint64_t offset, uint32_t size)
{
	index->bytes += (uint64_t)size - entry->size;
	entry->offset = offset;
	entry->size = size;
	entry->order = index->next_order++;
}

void ckptindex_release(struct ckptindex *index)
{
	for (size_t i = 0; i < index->count; i++)
		free(index->entries[i]);
	free(index->entries);
	free(index->buckets);
	*index = (struct ckptindex){ 0 };
}
