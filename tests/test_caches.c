/* SPDX-License-Identifier: Apache-2.0 */
/* The list behind the caches (lru), and the cache of decoded payloads (blockcache). */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "blockcache.h"
#include "cleanup.h"
#include "test.h"

static struct lru_key key_of(uint64_t i)
{
	return (struct lru_key){ .stream = i % 7, .segment = i % 3, .offset = i };
}

/* More members than the table begins with buckets: it grows and forgets none. */
static void more_members_than_buckets(void **state)
{
	enum { COUNT = 1000 };
	static struct lru_node nodes[COUNT];
	struct lru lru;

	(void)state;
	assert_int_equal(lru_init(&lru), 0);
	for (uint64_t i = 0; i < COUNT; i++) {
		nodes[i].key = key_of(i);
		assert_null(lru_find(&lru, nodes[i].key));
		lru_insert(&lru, &nodes[i]);
	}
	assert_int_equal(lru.count, COUNT);
	assert_true(lru.bucket_count > COUNT / 2);
	for (uint64_t i = 0; i < COUNT; i++)
		assert_ptr_equal(lru_find(&lru, key_of(i)), &nodes[i]);
	/* Each part of the key counts. */
	assert_null(lru_find(&lru, (struct lru_key){ 1, 1, 2 }));
	for (uint64_t i = 0; i < COUNT; i += 2)
		lru_remove(&lru, &nodes[i]);
	for (uint64_t i = 0; i < COUNT; i++)
		assert_ptr_equal(lru_find(&lru, key_of(i)), i % 2 ? &nodes[i] : NULL);
	lru_release(&lru);
}

static void order_of_use(void **state)
{
	static const uint64_t expected[] = { 1, 3, 0, 2 };
	struct lru_node nodes[4];
	struct lru lru;
	size_t at = 0;

	(void)state;
	assert_int_equal(lru_init(&lru), 0);
	assert_null(lru_oldest(&lru));
	for (uint64_t i = 0; i < 4; i++) {
		nodes[i].key = key_of(i);
		lru_insert(&lru, &nodes[i]);
	}
	lru_touch(&lru, &nodes[0]);
	lru_touch(&lru, &nodes[2]);
	/* Looking is no use. */
	assert_non_null(lru_find(&lru, key_of(1)));
	for (struct lru_node *node = lru_oldest(&lru); node; node = lru_newer(&lru, node))
		assert_ptr_equal(node, &nodes[expected[at++]]);
	assert_int_equal(at, 4);
	lru_release(&lru);
}

static void add(struct blockcache *cache, uint64_t i, size_t size)
{
	struct block *block = block_new(size);

	assert_non_null(block);
	memset(block->data, (int)i, size);
	blockcache_add(cache, key_of(i), block);
	blockcache_put(cache, block);
}

static bool has(struct blockcache *cache, uint64_t i)
{
	struct block *block = blockcache_get(cache, key_of(i));

	if (block)
		assert_true(block->size == 0 || block->data[block->size - 1] == (uint8_t)i);
	blockcache_put(cache, block);
	return block != NULL;
}

/* The budget holds: the least recently used go. */
static void budget_used_up(void **state)
{
	struct blockcache *cache;

	(void)state;
	assert_int_equal(blockcache_new(1000, &cache), 0);
	for (uint64_t i = 0; i < 10; i++)
		add(cache, i, 100);
	assert_true(has(cache, 0));
	add(cache, 10, 100);
	assert_true(has(cache, 0));
	assert_false(has(cache, 1));
	add(cache, 11, 450);
	assert_true(has(cache, 11));
	assert_false(has(cache, 2));
	assert_true(has(cache, 0) && has(cache, 10));
	blockcache_free(cache);
}

/* One block must not drive out all others, and without a budget nothing is kept. */
static void block_too_large(void **state)
{
	struct blockcache *cache;

	(void)state;
	assert_int_equal(blockcache_new(1000, &cache), 0);
	add(cache, 1, 100);
	add(cache, 2, 501);
	assert_true(has(cache, 1));
	assert_false(has(cache, 2));
	blockcache_free(cache);
	assert_int_equal(blockcache_new(0, &cache), 0);
	add(cache, 1, 1);
	assert_false(has(cache, 1));
	blockcache_free(cache);
}

/* Who holds a block goes on reading it, even if it was driven out meanwhile. */
static void block_in_use_driven_out(void **state)
{
	struct blockcache *cache;
	struct block *held;

	(void)state;
	assert_int_equal(blockcache_new(200, &cache), 0);
	add(cache, 1, 100);
	held = blockcache_get(cache, key_of(1));
	assert_non_null(held);
	add(cache, 2, 100);
	add(cache, 3, 100);
	assert_false(has(cache, 1));
	assert_int_equal(held->data[99], 1);
	blockcache_put(cache, held);
	blockcache_free(cache);
}

/* Two readers decoded the same frame: the first one's block stays. */
static void added_twice(void **state)
{
	struct blockcache *cache;
	struct block *first;

	(void)state;
	assert_int_equal(blockcache_new(1000, &cache), 0);
	add(cache, 1, 100);
	first = blockcache_get(cache, key_of(1));
	add(cache, 1, 200);
	struct block *again = blockcache_get(cache, key_of(1));
	assert_ptr_equal(again, first);
	blockcache_put(cache, again);
	blockcache_put(cache, first);
	blockcache_free(cache);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(more_members_than_buckets),
		cmocka_unit_test(order_of_use),
		cmocka_unit_test(budget_used_up),
		cmocka_unit_test(block_too_large),
		cmocka_unit_test(block_in_use_driven_out),
		cmocka_unit_test(added_twice),
	};

	return TEST_RUN(tests);
}
