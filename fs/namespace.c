/* SPDX-License-Identifier: Apache-2.0 */
#include "namespace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cut.h"

struct place_of_slot {
	struct slot *slot; /* NULL: the stream is deleted, */
	uint64_t ino_base; /* and had these inode numbers, */
	int64_t removed_ns; /* until then */
};

struct namespace {
	pthread_mutex_t lock;

	/* protected by lock */
	struct place_of_slot *slots;
	uint32_t slots_count, slots_room;
	struct slot **buckets; /* by name; as many as slots_room, a power of two */
	uint32_t live_count;
	int64_t root_mtime_ns;
};

int64_t namespace_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* ---- The table of slots ---- */

static struct slot **bucket_of(struct namespace *names, uint64_t ino_base)
{
	return &names->buckets[ino_base & (names->slots_room - 1)];
}

static struct slot *find_by_name(struct namespace *names, const char *name)
{
	struct slot *slot = *bucket_of(names, node_ino_base(name));

	while (slot && strcmp(slot->name, name))
		slot = slot->chain;
	return slot;
}

static void unchain(struct namespace *names, struct slot *slot)
{
	struct slot **link = bucket_of(names, slot->ino_base);

	while (*link != slot)
		link = &(*link)->chain;
	*link = slot->chain;
}

static int grow(struct namespace *names)
{
	uint32_t room = names->slots_room ? names->slots_room * 2 : 64;
	struct place_of_slot *slots = realloc(names->slots, room * sizeof(*slots));
	struct slot **buckets;

	if (!slots)
		return -ENOMEM;
	names->slots = slots;
	buckets = calloc(room, sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	free(names->buckets);
	names->buckets = buckets;
	names->slots_room = room;
	for (uint32_t i = 0; i < names->slots_count; i++) {
		struct slot *slot = slots[i].slot;

		if (slot) {
			slot->chain = *bucket_of(names, slot->ino_base);
			*bucket_of(names, slot->ino_base) = slot;
		}
	}
	return 0;
}

/* Caller holds names->lock, or is alone. */
static int add(struct namespace *names, const char *name, struct slot **ret_slot)
{
	size_t name_bytes = strlen(name) + 1;
	struct slot *slot;
	int r;

	if (names->slots_count == NODE_SLOTS_MAX)
		return -ENOSPC;
	if (names->slots_count == names->slots_room && (r = grow(names)) < 0)
		return r;
	slot = calloc(1, sizeof(*slot) + name_bytes);
	if (!slot)
		return -ENOMEM;
	memcpy(slot->name, name, name_bytes);
	slot->ino_base = node_ino_base(name);
	slot->index = names->slots_count;
	slot->end_id = UINT64_MAX;
	slot->chain = *bucket_of(names, slot->ino_base);
	*bucket_of(names, slot->ino_base) = slot;
	names->slots[names->slots_count++] = (struct place_of_slot){ .slot = slot };
	names->live_count++;
	*ret_slot = slot;
	return 0;
}

static void slot_free(struct slot *slot)
{
	if (slot)
		wal_stream_close(slot->stream);
	free(slot);
}

int namespace_new(struct walfs *fs, const char *store_path, struct namespace **ret_names)
{
	struct namespace *names = calloc(1, sizeof(*names));
	char **list = NULL;
	size_t count = 0;
	struct slot *slot;
	struct stat st;
	int r;

	if (!names)
		return -ENOMEM;
	pthread_mutex_init(&names->lock, NULL);
	names->root_mtime_ns = stat(store_path, &st) ? namespace_now_ns() : st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	r = grow(names);
	if (r == 0)
		r = wal_store_list(fs->store, &list, &count);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = add(names, list[i], &slot);
	free(list);
	if (r < 0) {
		namespace_free(names);
		return r;
	}
	*ret_names = names;
	return 0;
}

void namespace_free(struct namespace *names)
{
	for (uint32_t i = 0; i < names->slots_count; i++)
		slot_free(names->slots[i].slot);
	free(names->slots);
	free(names->buckets);
	pthread_mutex_destroy(&names->lock);
	free(names);
}

int slot_get(struct walfs *fs, uint32_t index, struct slot **ret_slot)
{
	struct namespace *names = fs->names;
	struct wal_stream *stream, *surplus;
	struct slot *slot;
	int r;

	if (index & NODE_SLOT_CUT)
		return cut_slot_get(fs, index, ret_slot);
	pthread_mutex_lock(&names->lock);
	slot = index < names->slots_count ? names->slots[index].slot : NULL;
	stream = slot ? slot->stream : NULL;
	if (slot)
		slot->users++;
	pthread_mutex_unlock(&names->lock);
	if (!slot)
		return WAL_NOT_FOUND;
	if (!stream) {
		r = wal_stream_open(fs->store, slot->name, 0, &stream, NULL);
		if (r) {
			slot_put(fs, slot);
			return r;
		}
		pthread_mutex_lock(&names->lock);
		surplus = slot->stream ? stream : NULL;
		if (!surplus)
			slot->stream = stream; /* else another thread was faster */
		pthread_mutex_unlock(&names->lock);
		wal_stream_close(surplus);
	}
	*ret_slot = slot;
	return 0;
}

void slot_ref(struct walfs *fs, struct slot *slot)
{
	if (slot->cut) {
		cut_slot_ref(fs, slot);
		return;
	}
	pthread_mutex_lock(&fs->names->lock);
	slot->users++;
	pthread_mutex_unlock(&fs->names->lock);
}

void slot_put(struct walfs *fs, struct slot *slot)
{
	bool last;

	if (slot->cut) {
		cut_slot_put(fs, slot);
		return;
	}
	pthread_mutex_lock(&fs->names->lock);
	last = !--slot->users && slot->removed;
	pthread_mutex_unlock(&fs->names->lock);
	if (last)
		slot_free(slot);
}

bool slot_is_removed(struct walfs *fs, struct slot *slot)
{
	bool removed;

	pthread_mutex_lock(&fs->names->lock);
	removed = slot->removed;
	pthread_mutex_unlock(&fs->names->lock);
	return removed;
}

void slot_bounds(struct slot *slot, uint64_t *ret_first, uint64_t *ret_next)
{
	uint64_t first, next;

	wal_stream_bounds(slot->stream, &first, &next, NULL);
	if (next > slot->end_id)
		next = slot->end_id;
	if (first > next)
		first = next;
	if (ret_first)
		*ret_first = first;
	if (ret_next)
		*ret_next = next;
}

int namespace_find(struct walfs *fs, const char *name, struct node *ret_node)
{
	struct namespace *names = fs->names;
	struct slot *slot;

	pthread_mutex_lock(&names->lock);
	slot = find_by_name(names, name);
	if (slot)
		*ret_node = (struct node){ .kind = NODE_STREAM, .slot = slot->index };
	pthread_mutex_unlock(&names->lock);
	return slot ? 0 : WAL_NOT_FOUND;
}

bool namespace_next(struct walfs *fs, uint32_t index, uint32_t *ret_index, char *name, uint64_t *ret_ino_base)
{
	struct namespace *names = fs->names;
	struct slot *slot = NULL;

	pthread_mutex_lock(&names->lock);
	while (index < names->slots_count && !(slot = names->slots[index].slot))
		index++;
	if (slot) {
		strcpy(name, slot->name);
		*ret_ino_base = slot->ino_base;
		*ret_index = index;
	}
	pthread_mutex_unlock(&names->lock);
	return slot;
}

uint32_t namespace_count(struct walfs *fs)
{
	uint32_t count;

	pthread_mutex_lock(&fs->names->lock);
	count = fs->names->live_count;
	pthread_mutex_unlock(&fs->names->lock);
	return count;
}

int namespace_create(struct walfs *fs, const char *name, struct node *ret_node)
{
	struct namespace *names = fs->names;
	struct wal_stream *stream;
	struct wal_error err;
	struct slot *slot;
	int r;

	r = wal_stream_open(fs->store, name, WAL_CREATE | WAL_EXCL, &stream, &err);
	if (r < 0) {
		if (r != -EEXIST && r != -EINVAL && r != -ENAMETOOLONG && r != -EPERM && r != -EROFS)
			report_line(fs->report, WAL_LOG_ERROR, "stream '%s' was not created: %s", name, err.message);
		return r;
	}
	pthread_mutex_lock(&names->lock);
	r = add(names, name, &slot);
	if (r == 0) {
		slot->stream = stream;
		names->root_mtime_ns = namespace_now_ns();
		*ret_node = (struct node){ .kind = NODE_STREAM, .slot = slot->index };
	}
	pthread_mutex_unlock(&names->lock);
	if (r < 0) {
		wal_stream_close(stream);
		report_line(fs->report, WAL_LOG_ERROR, "stream '%s' was created, but cannot be shown before the next mount: %s", name,
		       r == -ENOSPC ? "too many streams have been made in this one" : wal_strerror(r));
	}
	return r;
}

int namespace_delete(struct walfs *fs, const char *name)
{
	struct namespace *names = fs->names;
	struct slot *slot;
	bool unused = false;
	int r;

	r = wal_stream_delete(fs->store, name);
	if (r < 0)
		return r;
	pthread_mutex_lock(&names->lock);
	slot = find_by_name(names, name);
	if (slot) {
		unchain(names, slot);
		names->live_count--;
		names->root_mtime_ns = namespace_now_ns();
		names->slots[slot->index] = (struct place_of_slot){ .ino_base = slot->ino_base, .removed_ns = names->root_mtime_ns };
		slot->removed = true;
		unused = !slot->users;
	}
	pthread_mutex_unlock(&names->lock);
	if (unused)
		slot_free(slot);
	return 0;
}

bool namespace_removed(struct walfs *fs, uint32_t index, uint64_t *ret_ino_base, int64_t *ret_removed_ns)
{
	struct namespace *names = fs->names;
	bool removed;

	pthread_mutex_lock(&names->lock);
	removed = index < names->slots_count && !names->slots[index].slot;
	if (removed) {
		*ret_ino_base = names->slots[index].ino_base;
		*ret_removed_ns = names->slots[index].removed_ns;
	}
	pthread_mutex_unlock(&names->lock);
	return removed;
}

void namespace_root(struct walfs *fs, uint32_t *ret_streams, int64_t *ret_mtime_ns)
{
	pthread_mutex_lock(&fs->names->lock);
	*ret_streams = fs->names->live_count;
	*ret_mtime_ns = fs->names->root_mtime_ns;
	pthread_mutex_unlock(&fs->names->lock);
}
