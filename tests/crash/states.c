/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "test.h"

enum {
	STATES_PER_MOMENT = 150, /* of a small workload, one after another */
	RANDOM_PER_MOMENT = 10,	 /* and at random, if those were not all */
};

struct sim *sim_new(uint64_t seed, uint64_t violations_max)
{
	struct sim *sim = calloc(1, sizeof *sim);

	assert_non_null(sim);
	sim->random.state = seed;
	sim->violations_max = violations_max;
	pthread_mutex_init(&sim->logged.lock, NULL);
	memfs_init(&sim->disk);
	memfs_init(&sim->before);
	return sim;
}

void sim_free(struct sim *sim)
{
	for (unsigned i = 0; i < SLOTS * TAILS; i++)
		free(sim->tails[i / TAILS][i % TAILS].bytes);
	free(sim->log_tail.bytes);
	logged_release(&sim->logged);
	pthread_mutex_destroy(&sim->logged.lock);
	memfs_release(&sim->disk);
	memfs_release(&sim->before);
	free(sim->seen);
	free(sim);
}

/* ---- Which there were already ---- */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15u;
	return h ^ h >> 29;
}

static uint64_t hash_bytes(uint64_t h, const void *data, size_t size)
{
	const uint8_t *p = data;

	while (size > 0 && p[size - 1] == 0)
		size--;
	for (size_t i = 0; i < size; i++)
		h = mix(h, p[i]);
	return h;
}

/* Of all that can be seen of it, in whatever order the names are. */
static uint64_t hash_dir(const struct memfs *fs, unsigned number)
{
	const struct memfs_node *dir = &fs->nodes[number];
	uint64_t sum = 0;

	for (size_t i = 0; i < dir->name_count; i++) {
		const struct memfs_node *node = &fs->nodes[dir->names[i].node];
		uint64_t h = hash_bytes(1, dir->names[i].name, strlen(dir->names[i].name));

		h = node->dir ? mix(h, hash_dir(fs, dir->names[i].node)) : mix(hash_bytes(h, node->data, node->size), node->size);
		sum += mix(h, 7);
	}
	return mix(sum, dir->name_count);
}

static uint64_t hash_expected(const struct expected *x)
{
	uint64_t h = 3;

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		h = mix(h, x->slots[slot].exists);
		h = mix(h, x->slots[slot].durable);
		h = mix(h, x->slots[slot].submitted);
		h = mix(h, x->slots[slot].probed);
		h = mix(h, x->slots[slot].base);
		h = mix(h, x->slots[slot].first_min);
		h = mix(h, x->slots[slot].first_max);
	}
	h = hash_bytes(h, &x->cuts, sizeof x->cuts);
	return hash_bytes(h, &x->cuts_next, sizeof x->cuts_next);
}

static void seen_put(struct sim *sim, uint64_t hash)
{
	size_t at = hash & (sim->seen_capacity - 1);

	while (sim->seen[at] != 0 && sim->seen[at] != hash)
		at = (at + 1) & (sim->seen_capacity - 1);
	sim->seen_count += sim->seen[at] == 0;
	sim->seen[at] = hash;
}

/* False if it is new. */
static bool seen_before(struct sim *sim, uint64_t hash)
{
	size_t count = sim->seen_count;

	if (2 * sim->seen_count >= sim->seen_capacity) {
		uint64_t *old = sim->seen;
		size_t capacity = sim->seen_capacity;

		sim->seen_capacity = capacity ? 2 * capacity : 4096;
		sim->seen = calloc(sim->seen_capacity, sizeof *sim->seen);
		assert_non_null(sim->seen);
		sim->seen_count = 0;
		for (size_t i = 0; i < capacity; i++) {
			if (old[i] != 0)
				seen_put(sim, old[i]);
		}
		free(old);
		count = sim->seen_count;
	}
	seen_put(sim, hash | 1);
	return sim->seen_count == count;
}

/* ---- One state ---- */

/* Looks at sim->disk. Twice: the second open finds what the first one left, and takes it from a clean close. */
static bool check_state(struct sim *sim, struct expected x)
{
	sim->why[0] = '\0';
	/* Those that were made in other states are no longer. */
	sim->w->versions.count = sim->version_count;
	read_tails(sim);
	if (random_below(&sim->random, 8) == 0 && !check_read_only(sim, &x))
		return false;
	return try_store(sim, &x, true) && tails_are_kept(sim) && try_store(sim, &x, false);
}

static void report(struct sim *sim, const char *where, size_t at, size_t count)
{
	const struct workload *w = sim->w;

	if (sim->violations++ == 0)
		memcpy(sim->first, sim->why, sizeof sim->first);
	if (sim->silent || sim->violations > sim->violations_max)
		return;
	print_message("# violation: %s\n", sim->why);
	print_message("#   %s before event %zu of %zu; script \"%s\", seed %" PRIu64 ", sync %d, compression %d, segment_size %" PRIu64 ", segment_entries %" PRIu64 "\n",
		      where, at, count, w->script, w->seed, w->opts.sync, w->opts.compression, w->opts.segment_size, w->opts.segment_entries);
	for (char *line = sim->logged.text, *end; line && (end = memchr(line, '\n', sim->logged.size - (size_t)(line - sim->logged.text)));) {
		print_message("#   log: %.*s\n", (int)(end - line), line);
		line = (size_t)(end + 1 - sim->logged.text) < sim->logged.size ? end + 1 : NULL;
	}
}

/* The power is cut again at a random moment of what check_state() did, and the store opened once more. */
static bool cut_again(struct sim *sim, struct expected x)
{
	struct chooser c = { .seed = { random_next(&sim->random) } };
	struct powercut pc;
	size_t at = random_below(&sim->random, sim->again.count + 1);

	powercut_init(&pc, &sim->before, &sim->again);
	for (size_t i = 0; i < at; i++) {
		expected_step(&x, &sim->again.events[i]);
		powercut_step(&pc);
	}
	chooser_randomize(&c, (unsigned)random_below(&sim->random, 5) * 25);
	powercut_state(&pc, &c, &sim->disk);
	powercut_release(&pc);
	chooser_release(&c);
	sim->nested++;
	sim->why[0] = '\0';
	/* Those of the first cut. */
	bool good = tails_are_kept(sim);
	logged_release(&sim->logged);
	if (good) {
		read_tails(sim);
		good = try_store(sim, &x, true) && try_store(sim, &x, false);
	}
	if (!good)
		report(sim, "in the second power cut,", at, sim->again.count);
	return good;
}

/* Builds the state that `c` chooses and looks at it. */
static void try_state(struct sim *sim, const struct powercut *pc, struct chooser *c, const struct expected *x)
{
	powercut_state(pc, c, &sim->disk);
	if (seen_before(sim, mix(hash_dir(&sim->disk, MEMFS_ROOT), hash_expected(x))))
		return;
	sim->states++;
	logged_release(&sim->logged);
	bool again = random_below(&sim->random, 4) == 0;
	if (again) {
		memfs_copy(&sim->disk, &sim->before);
		sim->disk.trace = &sim->again;
		sim->disk.breakage = sim->w->fs->breakage;
	}
	if (!check_state(sim, *x))
		report(sim, "power cut", pc->at, pc->trace->count);
	else if (again)
		cut_again(sim, *x);
	trace_release(&sim->again);
}

/* ---- Exploring ---- */

/* The next event is a note that only makes more of this very state certain. */
static bool says_more(const struct powercut *pc)
{
	const struct trace_event *next = pc->at < pc->trace->count ? &pc->trace->events[pc->at] : NULL;

	return next && next->kind == TRACE_NOTE &&
	       (next->node == NOTE_ACKED || next->node == NOTE_DURABLE || next->node == NOTE_CREATED || next->node == NOTE_DELETED ||
		next->node == NOTE_PRUNED || next->node == NOTE_CUTS_CHANGED);
}

static void start_disk(struct sim *sim, struct powercut *pc, struct expected *x)
{
	memfs_reset(&sim->disk);
	powercut_init(pc, &sim->disk, &sim->w->trace);
	expected_init(x);
	/* An open makes them. */
	for (unsigned slot = 0; slot < SLOTS && sim->w->sharded; slot++)
		x->slots[slot].exists = MAYBE;
}

static void one_further(struct powercut *pc, struct expected *x)
{
	expected_step(x, &pc->trace->events[pc->at]);
	powercut_step(pc);
}

/* The death of the process alone: all that was done is there, and so must be all that was acknowledged. */
static void try_killed(struct sim *sim, const struct powercut *pc, struct chooser *c, const struct expected *x)
{
	struct expected killed = *x;

	for (unsigned slot = 0; slot < SLOTS; slot++) {
		struct expected_slot *s = &killed.slots[slot];

		s->durable = s->acked > s->durable ? s->acked : s->durable;
	}
	chooser_randomize(c, 100);
	try_state(sim, pc, c, &killed);
}

void explore_all(struct sim *sim)
{
	struct chooser c = { .seed = { random_next(&sim->random) } };
	struct powercut pc;
	struct expected x;

	start_disk(sim, &pc, &x);
	while (pc.at < pc.trace->count && sim->violations < sim->violations_max) {
		one_further(&pc, &x);
		if (says_more(&pc))
			continue;
		bool more = true;
		unsigned n = 0;
		for (chooser_begin(&c); more && n < STATES_PER_MOMENT; n++) {
			try_state(sim, &pc, &c, &x);
			more = chooser_next(&c);
		}
		for (n = 0; more && n < RANDOM_PER_MOMENT; n++) {
			chooser_randomize(&c, n % 5 * 25);
			try_state(sim, &pc, &c, &x);
		}
		try_killed(sim, &pc, &c, &x);
	}
	chooser_release(&c);
	powercut_release(&pc);
}

void explore_some(struct sim *sim, uint64_t states)
{
	struct chooser c = { .seed = { random_next(&sim->random) } };
	struct powercut pc;
	struct expected x;

	start_disk(sim, &pc, &x);
	while (pc.at < pc.trace->count && sim->violations < sim->violations_max) {
		one_further(&pc, &x);
		if (says_more(&pc))
			continue;
		uint64_t n = states / pc.trace->count + (random_below(&sim->random, pc.trace->count) < states % pc.trace->count);
		for (uint64_t i = 0; i < n; i++) {
			chooser_randomize(&c, (unsigned)random_below(&sim->random, 5) * 25);
			try_state(sim, &pc, &c, &x);
		}
		if (n > 0)
			try_killed(sim, &pc, &c, &x);
	}
	chooser_release(&c);
	powercut_release(&pc);
}
