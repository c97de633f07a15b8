/* SPDX-License-Identifier: Apache-2.0 */
#include "ino.h"

#include <string.h>

#include "random.h"
#include "test.h"

/* Where a node of each kind may be. */
enum where {
	IN_STORE,  /* slot 0 */
	IN_STREAM, /* a stream's own slot */
	IN_CUT,	   /* a slot of a checkpoint */
	IN_BOTH,   /* in either */
};

static const struct {
	enum node_kind kind;
	enum where where;
	bool numbered;
} kinds[] = {
	{ NODE_ROOT, IN_STORE, false },
	{ NODE_STREAM, IN_BOTH, false },
	{ NODE_NEW, IN_STREAM, false },
	{ NODE_FIRST, IN_BOTH, false },
	{ NODE_LAST, IN_BOTH, false },
	{ NODE_PRUNE, IN_STREAM, false },
	{ NODE_ROTATE, IN_STREAM, false },
	{ NODE_BATCH, IN_STREAM, false },
	{ NODE_FROM, IN_BOTH, false },
	{ NODE_FOLLOWS, IN_STREAM, false },
	{ NODE_CUT, IN_CUT, false },
	{ NODE_CHECKPOINTS, IN_STORE, false },
	{ NODE_CHECKPOINTS_PRUNE, IN_STORE, false },
	{ NODE_CHECKPOINTS_COMPACT, IN_STORE, false },
	{ NODE_HEAD, IN_STORE, false },
	{ NODE_SHARDS, IN_STORE, false },
	{ NODE_AT, IN_STORE, false },
	{ NODE_ENTRY, IN_STREAM, true },
	{ NODE_CHECKPOINT, IN_STORE, true },
	{ NODE_SHARD, IN_STORE, true },
	{ NODE_LOG, IN_BOTH, true },
	{ NODE_TEXT, IN_BOTH, true },
	{ NODE_LINES, IN_STREAM, true },
	{ NODE_FOLLOW, IN_STREAM, true },
};

static bool fits(enum where where, uint32_t slot)
{
	switch (where) {
	case IN_STORE:
		return !slot;
	case IN_STREAM:
		return slot < NODE_SLOT_CUT;
	case IN_CUT:
		return slot >= NODE_SLOT_CUT;
	default:
		return true;
	}
}

static void every_node_comes_back_from_its_id(void **state)
{
	static const uint32_t slots[] = { 0, 1, 4711, NODE_SLOTS_MAX - 1, NODE_SLOT_CUT, NODE_SLOT_CUT | 1, NODE_SLOT_CUT | (NODE_SLOTS_MAX - 1) };
	static const uint64_t numbers[] = { 0, 1, 4711, UINT32_MAX, NODE_NUMBERS_MAX - 1 };
	uint64_t seen[TEST_COUNT(kinds) * TEST_COUNT(slots) * TEST_COUNT(numbers)];
	size_t count = 0;

	(void)state;
	for (size_t k = 0; k < TEST_COUNT(kinds); k++) {
		for (size_t s = 0; s < TEST_COUNT(slots); s++) {
			for (size_t n = 0; n < (kinds[k].numbered ? TEST_COUNT(numbers) : 1); n++) {
				struct node node = { kinds[k].kind, slots[s], numbers[n] }, back;
				uint64_t id = node_pack(&node);

				assert_int_equal(node_unpack(id, &back), fits(kinds[k].where, slots[s]));
				if (!fits(kinds[k].where, slots[s]))
					continue;
				assert_int_equal(back.kind, node.kind);
				assert_int_equal(back.slot, node.slot);
				assert_int_equal(back.number, node.number);
				assert_int_not_equal(id, 0);
				for (size_t i = 0; i < count; i++)
					assert_int_not_equal(seen[i], id);
				seen[count++] = id;
			}
		}
	}
	assert_int_equal(node_pack(&(struct node){ .kind = NODE_ROOT }), 1);
}

/* Whatever a client of an export asks for: either nobody's, or that of the node it is. */
static void no_other_number_is_a_node(void **state)
{
	struct random random = { 4711 };
	struct node node = { .kind = NODE_ROOT };

	(void)state;
	assert_false(node_unpack(0, &node));
	assert_false(node_unpack(UINT64_MAX, &node));
	assert_int_equal(node.kind, NODE_ROOT);
	for (int i = 0; i < 1000000; i++) {
		/* classes without numbers are hit only where the rest is small */
		uint64_t id = random_next(&random) >> random_below(&random, 60);

		if (i % 2)
			id |= random_next(&random) << 40;
		if (node_unpack(id, &node))
			assert_true(node_pack(&node) == id);
	}
}

static void what_is_below_at(void **state)
{
	(void)state;
	assert_true(node_is_at(&(struct node){ .kind = NODE_AT }));
	assert_true(node_is_at(&(struct node){ .kind = NODE_CUT, .slot = NODE_SLOT_CUT }));
	assert_true(node_is_at(&(struct node){ .kind = NODE_STREAM, .slot = NODE_SLOT_CUT | 7 }));
	assert_true(node_is_at(&(struct node){ .kind = NODE_LOG, .slot = NODE_SLOT_CUT | 7, .number = 3 }));
	assert_false(node_is_at(&(struct node){ .kind = NODE_ROOT }));
	assert_false(node_is_at(&(struct node){ .kind = NODE_STREAM, .slot = NODE_SLOT_CUT - 1 }));
	assert_false(node_is_at(&(struct node){ .kind = NODE_ENTRY, .slot = 7, .number = UINT32_MAX }));
	assert_false(node_is_at(&(struct node){ .kind = NODE_CHECKPOINTS }));
}

/* Backups depend on them: these very numbers. */
static void inode_numbers_never_change(void **state)
{
	uint64_t base = node_ino_base("orders");

	(void)state;
	assert_true(base == UINT64_C(0x72520fbdb4dad5b9));
	assert_true(node_ino_base_at("nightly", 7, "") == UINT64_C(0x42595527b7215413));
	assert_true(node_ino_base_at("nightly", 7, "orders") == UINT64_C(0x6ad6571920c6c54a));
	assert_true(node_ino(&(struct node){ .kind = NODE_ROOT }, 0) == 1);
	assert_true(node_ino(&(struct node){ .kind = NODE_STREAM, .slot = 3 }, base) == base + 2);
	assert_true(node_ino(&(struct node){ .kind = NODE_NEW, .slot = 3 }, base) == base + 3);
	assert_true(node_ino(&(struct node){ .kind = NODE_ENTRY, .slot = 3, .number = 5 }, base) == base + 64 + 5);
	assert_true(node_ino(&(struct node){ .kind = NODE_TEXT, .slot = 3, .number = 5 }, base) == (base ^ UINT64_C(1) << 61) + 64 + 5);
	/* wherever it begins */
	assert_true(node_ino(&(struct node){ .kind = NODE_LOG, .slot = 3, .number = 5 }, base) ==
		    node_ino(&(struct node){ .kind = NODE_LOG, .slot = 3, .number = 6 }, base));
}

static void bases_differ(void **state)
{
	static const struct {
		const char *id;
		size_t id_size;
		const char *stream;
	} at[] = { { "a", 1, "" },	{ "a", 1, "b" }, { "ab", 2, "" },  { "b", 1, "a" },  { "a\0b", 3, "" }, { "a\0", 2, "b" },
		   { "orders", 6, "" }, { "", 0, "a" },	 { "", 0, "" }, { "\0", 1, "" }, { "a", 1, "a" },   { "orders", 6, "orders" } };
	uint64_t bases[TEST_COUNT(at) + 3];
	size_t count = 0;

	(void)state;
	bases[count++] = node_ino_base("a");
	bases[count++] = node_ino_base("b");
	bases[count++] = node_ino_base("orders");
	for (size_t i = 0; i < TEST_COUNT(at); i++)
		bases[count++] = node_ino_base_at(at[i].id, at[i].id_size, at[i].stream);
	for (size_t i = 0; i < count; i++) {
		assert_true(bases[i] >> 62 == 1);
		for (size_t j = 0; j < i; j++)
			assert_true(bases[i] != bases[j]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_node_comes_back_from_its_id), cmocka_unit_test(no_other_number_is_a_node), cmocka_unit_test(what_is_below_at),
		cmocka_unit_test(inode_numbers_never_change),	     cmocka_unit_test(bases_differ),
	};

	return TEST_RUN(tests);
}
