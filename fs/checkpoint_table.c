/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ino.h"

enum {
	ROOM_MIN = 64,
};

static struct checkpoint **bucket_of(const struct checkpoint_table *table, uint64_t st_ino)
{
	return &table->buckets[st_ino & (table->room - 1)];
}

void checkpoint_table_release(struct checkpoint_table *table)
{
	for (uint64_t i = 0; i < table->count; i++)
		free(table->list[i]);
	free(table->list);
	free(table->buckets);
	*table = (struct checkpoint_table){ 0 };
}

static struct checkpoint *find(const struct checkpoint_table *table, const void *id, size_t id_size, uint64_t st_ino)
{
	struct checkpoint *checkpoint = table->room ? *bucket_of(table, st_ino) : NULL;

	while (checkpoint && (checkpoint->st_ino != st_ino || checkpoint->id_size != id_size || memcmp(checkpoint->id, id, id_size)))
		checkpoint = checkpoint->chain;
	return checkpoint;
}

struct checkpoint *checkpoint_table_find(const struct checkpoint_table *table, const void *id, size_t id_size)
{
	return find(table, id, id_size, node_ino_checkpoint(id, id_size));
}

struct checkpoint *checkpoint_table_at(const struct checkpoint_table *table, uint64_t index)
{
	return index < table->count ? table->list[index] : NULL;
}

static void chain(struct checkpoint_table *table, struct checkpoint *checkpoint)
{
	struct checkpoint **bucket = bucket_of(table, checkpoint->st_ino);

	checkpoint->chain = *bucket;
	*bucket = checkpoint;
}

static int grow(struct checkpoint_table *table)
{
	uint64_t room = table->room ? table->room * 2 : ROOM_MIN;
	struct checkpoint **list = realloc(table->list, room * sizeof(*list));
	struct checkpoint **buckets;

	if (!list)
		return -ENOMEM;
	table->list = list;
	buckets = calloc(room, sizeof(*buckets));
	if (!buckets)
		return -ENOMEM;
	free(table->buckets);
	table->buckets = buckets;
	table->room = room;
	for (uint64_t i = 0; i < table->count; i++)
		chain(table, list[i]);
	return 0;
}

struct checkpoint *checkpoint_table_find_or_add(struct checkpoint_table *table, const void *id, size_t id_size)
{
	uint64_t st_ino = node_ino_checkpoint(id, id_size);
	struct checkpoint *checkpoint = find(table, id, id_size, st_ino);

	if (checkpoint || table->count == NODE_NUMBERS_MAX || (table->count == table->room && grow(table) < 0))
		return checkpoint;
	checkpoint = calloc(1, sizeof(*checkpoint) + id_size);
	if (!checkpoint)
		return NULL;
	memcpy(checkpoint->id, id, id_size);
	checkpoint->id_size = id_size;
	checkpoint->st_ino = st_ino;
	checkpoint->index = table->count;
	chain(table, checkpoint);
	table->list[table->count++] = checkpoint;
	return checkpoint;
}
