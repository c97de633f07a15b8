/* SPDX-License-Identifier: Apache-2.0 */
/* Every checkpoint's id that was seen in this mount, by index and by id. Nothing is ever taken out. Not locked. */
#ifndef WALFS_CHECKPOINT_TABLE_H
#define WALFS_CHECKPOINT_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* One id. The constant fields need no lock; valid until the mount ends. */
struct checkpoint {
	uint64_t index;
	uint64_t st_ino;

	/* protected by checkpoints.lock */
	struct checkpoint *chain; /* in the hash table */
	unsigned opens;
	bool there;	  /* it was when it was looked at; the rest stays as it was last found */
	uint64_t version; /* of the set, then */
	int64_t time_ns;
	size_t text_size;

	size_t id_size;
	char id[];
};

/* All-zero: empty. */
struct checkpoint_table {
	struct checkpoint **list; /* by index */
	uint64_t count, room;
	struct checkpoint **buckets; /* by st_ino; as many as room, a power of two */
};

void checkpoint_table_release(struct checkpoint_table *table);

/* NULL: there is none of this id, of this index. */
struct checkpoint *checkpoint_table_find(const struct checkpoint_table *table, const void *id, size_t id_size);
struct checkpoint *checkpoint_table_at(const struct checkpoint_table *table, uint64_t index);

/* The one with this id, a new one if there is none. NULL: out of memory. */
struct checkpoint *checkpoint_table_find_or_add(struct checkpoint_table *table, const void *id, size_t id_size);

#endif
