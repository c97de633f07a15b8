/* SPDX-License-Identifier: Apache-2.0 */
/* struct cuts, as its own files see it. cuts.lock protects all of it; no function of the library that could wait is called with it. */
#ifndef WALFS_CUT_IMPL_H
#define WALFS_CUT_IMPL_H

#include "cut.h"
#include "fnv.h"

struct cut {
	struct cut *next;
	unsigned slots;	      /* all of it */
	unsigned slots_in_use; /* not those that are only kept */
	struct wal_checkpoint *checkpoint; /* as of `version`; NULL: of its slots none is in use */
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
	bool kept;
	uint32_t older, newer; /* of one that is kept: those kept before and after it, index + 1 */
};

enum {
	CUT_BUCKETS = 1024,
	CUT_KEPT_MAX = 4096,
};

struct cuts {
	pthread_mutex_t lock;

	/* protected by lock */
	struct cut *cuts[CUT_BUCKETS]; /* by id */
	struct place_in_table *table;
	uint32_t count, room;
	uint32_t free; /* index + 1 */
	uint32_t oldest, newest, kept; /* of the slots that are kept: index + 1 of either end, and how many they are */
	struct slot **buckets; /* by ino_base; as many as room, a power of two */
};

/* Caller holds cuts->lock. */
static inline struct cut **cut_bucket(struct cuts *cuts, const void *id, size_t id_size)
{
	return &cuts->cuts[fnv1a(id, id_size) % CUT_BUCKETS];
}

/* ---- cut_slots.c. The caller holds cuts->lock ---- */

/* The slot of `cut` of a stream, by the stream's own slot (its name may have come to mean another), or of the directory (`live` NULL). */
struct slot *cut_slot_find(struct cuts *cuts, const struct cut *cut, const struct slot *live, uint64_t ino_base);

/* One more lookup of it is known to the kernel. */
void cut_slot_know(struct cuts *cuts, struct slot *slot);

/* A new one, which nobody uses yet; takes over the use of `live`. -ENOSPC, -ENOMEM. */
int cut_slot_add(struct cuts *cuts, struct cut *cut, struct slot *live, uint64_t end_id, uint64_t ino_base, struct slot **ret_slot);

/* Frees what a cut holds of the store, where many streams make it large, if of its slots none is in use; and all of it if there is none. */
void cut_drop_unused(struct cuts *cuts, struct cut *cut);

#endif
