/* SPDX-License-Identifier: Apache-2.0 */
#include "blockcache.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "cleanup.h"

struct blockcache {
	pthread_mutex_t lock;
	/* protected by lock; so are the members' node and refs */
	struct lru lru;
	uint64_t bytes;
	uint64_t bytes_max;
	uint64_t hits;
	uint64_t misses;
};

int blockcache_new(uint64_t bytes_max, struct blockcache **ret_cache)
{
	struct blockcache *cache = calloc(1, sizeof *cache);

	if (!cache)
		return -ENOMEM;
	if (lru_init(&cache->lru) < 0) {
		free(cache);
		return -ENOMEM;
	}
	pthread_mutex_init(&cache->lock, NULL);
	cache->bytes_max = bytes_max;
	*ret_cache = cache;
	return 0;
}

/* Caller holds cache->lock. The cache's own reference goes. */
static void forget(struct blockcache *cache, struct block *block)
{
	lru_remove(&cache->lru, &block->node);
	cache->bytes -= block->size;
	if (--block->refs == 0)
		free(block);
}

void blockcache_free(struct blockcache *cache)
{
	struct lru_node *node;

	if (!cache)
		return;
	while ((node = lru_oldest(&cache->lru)))
		forget(cache, container_of(node, struct block, node));
	lru_release(&cache->lru);
	pthread_mutex_destroy(&cache->lock);
	free(cache);
}

struct block *block_new(size_t size)
{
	struct block *block = malloc(sizeof *block + size);

	if (block) {
		block->refs = 1;
		block->size = size;
	}
	return block;
}

struct block *blockcache_get(struct blockcache *cache, struct lru_key key)
{
	LOCKED_SCOPE(&cache->lock);
	struct lru_node *node = lru_find(&cache->lru, key);

	if (!node) {
		cache->misses++;
		return NULL;
	}
	cache->hits++;
	lru_touch(&cache->lru, node);
	struct block *block = container_of(node, struct block, node);
	block->refs++;
	return block;
}

void blockcache_add(struct blockcache *cache, struct lru_key key, struct block *block)
{
	LOCKED_SCOPE(&cache->lock);

	/* One block must not drive out all others. */
	if (block->size > cache->bytes_max / 2 || lru_find(&cache->lru, key))
		return;
	while (cache->bytes + block->size > cache->bytes_max)
		forget(cache, container_of(lru_oldest(&cache->lru), struct block, node));
	block->node.key = key;
	block->refs++;
	lru_insert(&cache->lru, &block->node);
	cache->bytes += block->size;
}

void blockcache_figures(struct blockcache *cache, uint64_t *ret_hits, uint64_t *ret_misses, uint64_t *ret_bytes)
{
	LOCKED_SCOPE(&cache->lock);
	*ret_hits = cache->hits;
	*ret_misses = cache->misses;
	*ret_bytes = cache->bytes;
}

void blockcache_put(struct blockcache *cache, struct block *block)
{
	if (!block)
		return;
	pthread_mutex_lock(&cache->lock);
	unsigned left = --block->refs;
	pthread_mutex_unlock(&cache->lock);
	if (left == 0)
		free(block);
}
