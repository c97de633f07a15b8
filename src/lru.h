/* SPDX-License-Identifier: Apache-2.0 */
/* A hash table whose members also stand in order of last use. Intrusive: it owns nothing but its buckets. Not locked: its user's lock guards it. */
#ifndef WAL_LRU_H
#define WAL_LRU_H

#include <stddef.h>
#include <stdint.h>

/* What the caches of this library are keyed by. Stream keys are never used again while a store is open. */
struct lru_key {
	uint64_t stream;
	uint64_t segment;
	uint64_t offset;
};

struct lru_node {
	struct lru_key key;
	struct lru_node *hash_next;
	struct lru_node *newer;
	struct lru_node *older;
};

struct lru {
	struct lru_node **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
	struct lru_node ends; /* .older is the newest, .newer the oldest */
};

/* -ENOMEM. */
int lru_init(struct lru *lru);
/* The table must be empty. */
void lru_release(struct lru *lru);

/* NULL if there is none. Does not count as a use. */
struct lru_node *lru_find(const struct lru *lru, struct lru_key key);
/* node->key is set and not in the table; it becomes the newest. */
void lru_insert(struct lru *lru, struct lru_node *node);
void lru_remove(struct lru *lru, struct lru_node *node);
/* Makes it the newest. */
void lru_touch(struct lru *lru, struct lru_node *node);
/* The least recently used, then from each the next more recent one; NULL at the end. */
struct lru_node *lru_oldest(struct lru *lru);
struct lru_node *lru_newer(struct lru *lru, struct lru_node *node);

#endif
