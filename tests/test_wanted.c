/* SPDX-License-Identifier: Apache-2.0 */
#include "wanted.h"

#include "test.h"

enum {
	MANY = 1000000,
	CHUNK = 1489,
	FTS = 100000, /* names that find and du take before they ask */
};

/* When a program asks for attributes, and for those of how many names at once. */
struct program {
	bool asks;
	uint64_t takes;
};

static const struct program names_only = { false, MANY }, one_by_one = { true, 1 }, finder = { true, FTS }, archiver = { true, MANY };

/* It asks for names [from, to), of which a part was given attributes: that is a LOOKUP for each of the others, and a GETATTR for each probe. */
static void ask(struct wanted *wanted, const struct wanting *wanting, const bool *given, uint64_t from, uint64_t to)
{
	for (uint64_t id = from; id < to; id++) {
		if (!given[id])
			wanted->lookups++;
		else if (wanted_is_probe(wanting, id))
			wanted->getattrs++;
	}
}

/* Lists `names`, breaking off after `stop`. Returns how many were given attributes. */
static uint64_t list_some(struct wanted *wanted, const struct program *program, uint64_t names, uint64_t stop)
{
	static bool given[MANY];
	struct wanting wanting = { 0 };
	uint64_t asked = 0, full = 0, id = 0;

	wanted_begin(wanted, &wanting, names); /* opendir(3) */
	wanted_begin(wanted, &wanting, names); /* and the first readdir(3) */
	while (id < names && id < stop) {
		uint64_t count = names - id < CHUNK ? names - id : CHUNK;

		wanted_chunk(wanted, &wanting);
		for (uint64_t i = 0; i < count; i++)
			given[id + i] = wanting.full;
		full += wanting.full ? count : 0;
		wanted_listed(wanted, &wanting, count);
		id += count;
		if (program->asks && id - asked >= program->takes) {
			ask(wanted, &wanting, given, asked, id);
			asked = id;
		}
	}
	if (program->asks)
		ask(wanted, &wanting, given, asked, id);
	return full;
}

static uint64_t list(struct wanted *wanted, const struct program *program)
{
	return list_some(wanted, program, MANY, MANY);
}

static void small_directory_always_has_attributes(void **state)
{
	struct wanted wanted = { 0 };

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(list_some(&wanted, &names_only, WANTED_SMALL, MANY), WANTED_SMALL);
	assert_int_equal(list_some(&wanted, &names_only, WANTED_SMALL + 1, MANY), 0);
}

static void who_wants_names_gets_names(void **state)
{
	struct wanted wanted = { 0 };

	(void)state;
	for (int i = 0; i < 10; i++)
		assert_int_equal(list(&wanted, &names_only), 0);
}

static void who_asks_meanwhile_gets_attributes_from_then_on(void **state)
{
	struct wanted wanted = { 0 };

	(void)state;
	assert_int_equal(list(&wanted, &one_by_one), MANY - CHUNK);
	wanted = (struct wanted){ 0 };
	assert_in_range(list(&wanted, &finder), MANY - FTS - CHUNK, MANY - FTS);
}

static void who_asked_the_last_time_gets_them_from_the_beginning(void **state)
{
	const struct program *const programs[] = { &one_by_one, &finder, &archiver };

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct wanted wanted = { 0 };

		list(&wanted, programs[i]);
		for (int again = 0; again < 10; again++)
			assert_int_equal(list(&wanted, programs[i]), MANY);
	}
}

/* One who wants only names, between those who want all, does not make the next of them wait. */
static void listings_of_names_between_do_not_forget(void **state)
{
	struct wanted wanted = { 0 };

	(void)state;
	list(&wanted, &archiver);
	for (int i = 0; i < 10; i++) {
		list(&wanted, &names_only);
		list(&wanted, &names_only);
		assert_int_equal(list(&wanted, &archiver), MANY);
	}
}

static void nobody_wants_them_any_more(void **state)
{
	struct wanted wanted = { 0 };

	(void)state;
	list(&wanted, &archiver);
	for (int i = 0; i < WANTED_LISTINGS; i++)
		assert_int_equal(list(&wanted, &names_only), MANY);
	assert_int_equal(list(&wanted, &names_only), 0);
}

/* Of a few names nothing can be told: neither that they are wanted nor that they are not. */
static void listing_that_is_broken_off_tells_nothing(void **state)
{
	struct wanted wanted = { 0 };

	(void)state;
	list_some(&wanted, &archiver, MANY, 2 * CHUNK);
	assert_int_equal(list(&wanted, &names_only), 0);
	list(&wanted, &archiver);
	for (int i = 0; i < 3 * WANTED_LISTINGS; i++)
		list_some(&wanted, &names_only, MANY, 2 * CHUNK);
	assert_int_equal(list(&wanted, &archiver), MANY);
}

/* The last of the names may come alone, and what follows is asked for all the same. */
static void chunk_of_one_name_that_nobody_asks_for(void **state)
{
	struct wanted wanted = { 0 };
	struct wanting wanting = { 0 };

	(void)state;
	wanted_begin(&wanted, &wanting, MANY);
	wanted_chunk(&wanted, &wanting);
	wanted_listed(&wanted, &wanting, 1);
	wanted_chunk(&wanted, &wanting);
	assert_false(wanting.full);
	assert_int_equal(list(&wanted, &names_only), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_directory_always_has_attributes),
		cmocka_unit_test(who_wants_names_gets_names),
		cmocka_unit_test(who_asks_meanwhile_gets_attributes_from_then_on),
		cmocka_unit_test(who_asked_the_last_time_gets_them_from_the_beginning),
		cmocka_unit_test(listings_of_names_between_do_not_forget),
		cmocka_unit_test(nobody_wants_them_any_more),
		cmocka_unit_test(listing_that_is_broken_off_tells_nothing),
		cmocka_unit_test(chunk_of_one_name_that_nobody_asks_for),
	};

	return TEST_RUN(tests);
}
