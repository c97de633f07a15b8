/* SPDX-License-Identifier: Apache-2.0 */
/* Payloads of batches and compressed frames, checked and decompressed, kept up to a number of bytes. One lock, a leaf. */
#ifndef WAL_BLOCKCACHE_H
#define WAL_BLOCKCACHE_H

#include "lru.h"

struct blockcache;

/* Filled by its maker before anyone else sees it, constant from then on. */
struct block {
	struct lru_node node;
	unsigned refs;
	size_t size;
	uint8_t data[];
};

/* `bytes_max` may be 0. -ENOMEM. */
int blockcache_new(uint64_t bytes_max, struct blockcache **ret_cache);
/* No block may be referenced any more. NULL is allowed. */
void blockcache_free(struct blockcache *cache);

/* A fresh block with one reference, the caller's. NULL: out of memory. */
struct block *block_new(size_t size);

/* The block with one more reference, or NULL. */
struct block *blockcache_get(struct blockcache *cache, struct lru_key key);

/* Remembers `block` under `key`, unless it is too large or the key is there already; the caller's reference stays the caller's. */
void blockcache_add(struct blockcache *cache, struct lru_key key, struct block *block);

/* Lookups that found something and that did not, and the bytes kept now. */
void blockcache_figures(struct blockcache *cache, uint64_t *ret_hits, uint64_t *ret_misses, uint64_t *ret_bytes);

/* Gives a reference back. NULL is allowed. */
void blockcache_put(struct blockcache *cache, struct block *block);

#endif
