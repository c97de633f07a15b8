/* SPDX-License-Identifier: Apache-2.0 */
#include "lru.h"

#include <errno.h>
#include <stdlib.h>

enum { BUCKETS_MIN = 64 };

static size_t bucket_of(struct lru_key key, size_t bucket_count)
{
	uint64_t h = key.stream * 0x9e3779b97f4a7c15u;

	h = (h ^ key.segment ^ h >> 29) * 0xbf58476d1ce4e5b9u;
	h = (h ^ key.offset ^ h >> 32) * 0x94d049bb133111ebu;
	return (size_t)(h ^ h >> 31) & (bucket_count - 1);
}

int lru_init(struct lru *lru)
{
	*lru = (struct lru){ .bucket_count = BUCKETS_MIN };
	lru->buckets = calloc(lru->bucket_count, sizeof *lru->buckets);
	lru->ends.newer = lru->ends.older = &lru->ends;
	return lru->buckets ? 0 : -ENOMEM;
}

void lru_release(struct lru *lru)
{
	free(lru->buckets);
	lru->buckets = NULL;
}

struct lru_node *lru_find(const struct lru *lru, struct lru_key key)
{
	struct lru_node *node = lru->buckets[bucket_of(key, lru->bucket_count)];

	while (node && !(node->key.stream == key.stream && node->key.segment == key.segment && node->key.offset == key.offset))
		node = node->hash_next;
	return node;
}

/* More buckets that can't be had only make the chains longer. */
static void grow(struct lru *lru)
{
	size_t count = lru->bucket_count * 2;
	struct lru_node **buckets = calloc(count, sizeof *buckets);

	if (!buckets)
		return;
	for (size_t i = 0; i < lru->bucket_count; i++) {
		for (struct lru_node *node = lru->buckets[i], *next; node; node = next) {
			struct lru_node **bucket = &buckets[bucket_of(node->key, count)];

			next = node->hash_next;
			node->hash_next = *bucket;
			*bucket = node;
		}
	}
	free(lru->buckets);
	lru->buckets = buckets;
	lru->bucket_count = count;
}

static void link_newest(struct lru *lru, struct lru_node *node)
{
	node->newer = &lru->ends;
	node->older = lru->ends.older;
	node->older->newer = node;
	lru->ends.older = node;
}

static void unlink_order(struct lru_node *node)
{
	node->newer->older = node->older;
	node->older->newer = node->newer;
}

void lru_insert(struct lru *lru, struct lru_node *node)
{
	if (lru->count >= lru->bucket_count)
		grow(lru);
	struct lru_node **bucket = &lru->buckets[bucket_of(node->key, lru->bucket_count)];
	node->hash_next = *bucket;
	*bucket = node;
	link_newest(lru, node);
	lru->count++;
}

void lru_remove(struct lru *lru, struct lru_node *node)
{
	struct lru_node **link = &lru->buckets[bucket_of(node->key, lru->bucket_count)];

	while (*link != node)
		link = &(*link)->hash_next;
	*link = node->hash_next;
	unlink_order(node);
	lru->count--;
}

void lru_touch(struct lru *lru, struct lru_node *node)
{
	unlink_order(node);
	link_newest(lru, node);
}

struct lru_node *lru_oldest(struct lru *lru)
{
	return lru_newer(lru, &lru->ends);
}

struct lru_node *lru_newer(struct lru *lru, struct lru_node *node)
{
	return node->newer == &lru->ends ? NULL : node->newer;
}
