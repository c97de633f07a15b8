/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Power cuts, simulated: workloads run on a file system in memory that writes down what is done to it; at each moment of that the states that a power cut may
 * leave (powercut.h) are built, opened and looked at. Now and then the power is cut again while that goes on. Small workloads: all states of each moment up to a bound, and random
 * ones beyond it; long ones: random states.
 *
 * The death of the process alone, at each moment too and within the workloads ('k' in the scripts), must leave all that was acknowledged.
 *
 * The same with disks and libraries that are broken on purpose shows that the simulator would notice: each must come to a violation.
 *
 *	WALFS_TEST_SEED		another seed; the one in use is printed
 *	WALFS_CRASH_STATES	how many random states (default 8000)
 *	WALFS_TEST_ONLY		only tests whose name matches this (*, ?)
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"
#include "test.h"

enum {
	STATES_RANDOM = 8000,
	STATES_PER_WORKLOAD = 400,
	STATES_BROKEN_MAX = 20000,
	SCRIPT_MAX = 160,
};

static uint64_t environment(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text && *text ? strtoull(text, NULL, 0) : otherwise;
}

/* ---- Workloads ---- */

struct attempt {
	const char *script;
	uint64_t seed;
	size_t size_max;
	struct wal_options opts;
	unsigned breakage;
	bool nested;
	enum script_kind kind;
	uint64_t states; /* random ones; 0: all of each moment */
};

/* Runs one workload and looks at the states it may leave. */
static void sim_attempt(struct sim *sim, const struct attempt *a)
{
	struct memfs fs;
	struct workload w = { .seed = a->seed, .size_max = a->size_max, .nested = a->nested, .sharded = a->kind == SCRIPT_SHARDS, .script = a->script,
			      .opts = a->opts, .fs = &fs };

	memfs_init(&fs);
	w.opts.shards = w.sharded ? SLOTS : 0;
	sim->w = &w;
	workload_run(&w, a->breakage);
	sim->version_count = w.versions.count;
	if (w.why[0])
		fail_msg("script \"%s\", seed %" PRIu64 ", sync %d: %s", a->script, a->seed, a->opts.sync, w.why);
	if (a->states == 0)
		explore_all(sim);
	else
		explore_some(sim, a->states);
	workload_release(&w);
	memfs_release(&fs);
	sim->w = NULL;
}

/* The end of a test: no violation is allowed. */
static void finish(struct sim *sim, const char *what)
{
	uint64_t violations = sim->violations;

	print_message("# %s: %" PRIu64 " different states, %" PRIu64 " of them cut again while they were recovered, %" PRIu64
		      " torn tails, %" PRIu64 " torn logs of checkpoints, %" PRIu64 " violations\n",
		      what, sim->states, sim->nested, sim->truncated, sim->torn_logs, violations);
	sim_free(sim);
	assert_int_equal(violations, 0);
}

static uint64_t base_seed(void)
{
	return environment("WALFS_TEST_SEED", 20251);
}

/* Each kind of step at least once in each sync mode. */
static const char *const small_scripts[] = {
	"0caaa",
	"0cabad",
	"0caasao",
	"0caramra",
	"0caakaasa",
	"0cmka",
	"0cx0ca1cx",
	"0cr0ata1ca2co1b",
	"0clees",
	"0cavkVv",
};

/* The same for what is no append. */
static const char *const small_cut_scripts[] = {
	"0caraPaara",
	"0cararbpaPka",
	"0caCaMarRa",
	"0carCaraCfQ",
	"0caC1ca0anM",
	"0caCPx0caEaC",
	"0ca1caCaCRRRCa",
	"0caraqrqk",
};

static const char *const small_shard_scripts[] = {
	"yCa",
	"arCyPfa",
};

static void attempt_small(struct sim *sim, const char *const *scripts, size_t count, enum script_kind kind)
{
	for (unsigned sync = 0; sync < 3; sync++) {
		for (size_t i = sync % test_thinning(); i < count; i += test_thinning()) {
			struct attempt a = { .script = scripts[i], .seed = base_seed() + i, .size_max = 700, .kind = kind, .opts = { .sync = sync, .segment_size = 4096 } };

			sim_attempt(sim, &a);
		}
	}
}

static void all_states_of_small_workloads(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);

	(void)state;
	attempt_small(sim, small_scripts, TEST_COUNT(small_scripts), SCRIPT_APPENDS);
	finish(sim, "small workloads");
}

static void all_states_of_small_prunes_and_checkpoints(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);

	(void)state;
	attempt_small(sim, small_cut_scripts, TEST_COUNT(small_cut_scripts), SCRIPT_CHECKPOINTS);
	finish(sim, "small workloads with prunes and checkpoints");
}

static void all_states_of_small_sharded_stores(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);

	(void)state;
	attempt_small(sim, small_shard_scripts, TEST_COUNT(small_shard_scripts), SCRIPT_SHARDS);
	finish(sim, "small sharded stores");
}

/* Options that make for many rotations, or few, and all modes. */
static void random_options(struct random *random, struct wal_options *opts)
{
	static const uint64_t sizes[] = { 4096, 8192, 65536, 1 << 20 };

	*opts = (struct wal_options){
		.sync = (enum wal_sync)random_below(random, 3),
		.compression = random_below(random, 2) ? WAL_COMPRESSION_LZ4 : WAL_COMPRESSION_NONE,
		.min_compression_size = 64,
		.segment_size = sizes[random_below(random, TEST_COUNT(sizes))],
		.segment_entries = random_below(random, 3) == 0 ? 5 : 0,
		.read = random_below(random, 2) ? WAL_READ_MMAP : WAL_READ_IO,
	};
}

/* With a script, sizes and options at random; the rest is in `like`. */
static void random_attempt(struct sim *sim, struct random *random, const struct attempt *like)
{
	char script[SCRIPT_MAX + 1];
	struct attempt a = *like;

	workload_make_script(random, like->kind, script, 24 + random_below(random, SCRIPT_MAX - 24));
	a.script = script;
	a.seed = random_next(random);
	a.size_max = (size_t)64 << random_below(random, 8);
	random_options(random, &a.opts);
	sim_attempt(sim, &a);
}

static void random_states_of_long_workloads(void **state)
{
	uint64_t seed = base_seed(), states = environment("WALFS_CRASH_STATES", STATES_RANDOM / test_thinning());
	struct sim *sim = sim_new(seed, 5);
	struct random random = { seed };

	(void)state;
	print_message("# seed %" PRIu64 "\n", seed);
	while (sim->states + sim->nested < states && sim->violations < sim->violations_max)
		random_attempt(sim, &random, &(struct attempt){ .states = STATES_PER_WORKLOAD });
	finish(sim, "long workloads");
}

static void random_states_with(enum script_kind kind, const char *what)
{
	uint64_t states = environment("WALFS_CRASH_STATES", STATES_RANDOM / test_thinning());
	struct sim *sim = sim_new(base_seed(), 5);
	struct random random = { base_seed() };

	while (sim->states + sim->nested < states && sim->violations < sim->violations_max)
		random_attempt(sim, &random, &(struct attempt){ .kind = kind, .states = STATES_PER_WORKLOAD });
	finish(sim, what);
}

static void random_states_of_prunes_and_checkpoints(void **state)
{
	(void)state;
	random_states_with(SCRIPT_CHECKPOINTS, "prunes and checkpoints");
}

static void random_states_of_sharded_stores(void **state)
{
	(void)state;
	random_states_with(SCRIPT_SHARDS, "sharded stores");
}

/* Of the records in the log most no longer count, so it is written anew behind one that was appended. */
static void states_of_a_log_that_is_tidied(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);

	(void)state;
	for (unsigned sync = 0; sync < 3; sync++) {
		struct attempt a = { .script = "0caCLaLaLnLaMLaC", .seed = base_seed() + sync, .size_max = 700, .states = 300, .opts = { .sync = sync } };

		sim_attempt(sim, &a);
	}
	finish(sim, "a log that is tidied");
}

/* Its payload goes into the segment before its header does, and in pieces. */
static void states_of_an_entry_from_a_temporary_file(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);

	(void)state;
	for (unsigned sync = 0; sync < 3; sync++) {
		struct attempt a = { .script = "0caDaDa", .seed = base_seed(), .size_max = 700, .states = 40,
				     .opts = { .sync = sync, .read_buffer = 256 << 10, .segment_size = 3 << 20 } };

		sim_attempt(sim, &a);
	}
	finish(sim, "large entries");
}

/* Copies of segment files, say: what is inside of an entry is no frame of the stream, however much it looks like one. */
static void states_with_frames_inside_of_entries(void **state)
{
	struct sim *sim = sim_new(base_seed(), 5);
	struct random random = { base_seed() };

	(void)state;
	while (sim->states + sim->nested < environment("WALFS_CRASH_STATES", STATES_RANDOM / test_thinning()) / 4 && sim->violations < sim->violations_max)
		random_attempt(sim, &random, &(struct attempt){ .nested = true, .states = STATES_PER_WORKLOAD });
	finish(sim, "frames inside of entries");
}

/* ---- Broken disks ---- */

/* Runs until the simulator complains, and returns how many states it took; 0 if it never did. */
static uint64_t states_until_caught(unsigned breakage, enum script_kind kind, uint64_t states_max, char why[WHY_BYTES])
{
	struct sim *sim = sim_new(base_seed(), 1);
	struct random random = { base_seed() };
	uint64_t states = 0;

	sim->silent = true;
	while (sim->violations == 0 && sim->states + sim->nested < states_max)
		random_attempt(sim, &random, &(struct attempt){ .breakage = breakage, .kind = kind, .states = STATES_PER_WORKLOAD });
	if (sim->violations > 0)
		states = sim->states + sim->nested;
	memcpy(why, sim->first, WHY_BYTES);
	sim_free(sim);
	return states;
}

static const struct broken {
	unsigned breakage;
	const char *what;
	enum script_kind kind;
} broken[] = {
	{ BREAK_FDATASYNC, "no fdatasync" },
	{ BREAK_DIR_FSYNC, "no fsync of directories" },
	{ BREAK_SEGMENT_FSYNC, "no fsync of segments (their fdatasync is done)" },
	{ BREAK_SYNC_EARLY, "each fdatasync before the last write" },
	{ BREAK_RECOVERY_SYNC, "no fdatasync when a store is opened" },
	{ BREAK_TORN_SYNC, "no fsync of the copy of a torn end" },
	{ BREAK_LOCK_SYNC, "no fsync of LOCK" },
	{ BREAK_DIR_FSYNC, "no fsync of directories, with checkpoints", SCRIPT_CHECKPOINTS },
	{ BREAK_CUT_SYNC, "no sync of what a checkpoint covers", SCRIPT_CHECKPOINTS },
	{ BREAK_CUT_SYNC, "no sync of what a checkpoint of shards covers", SCRIPT_SHARDS },
	{ BREAK_CKPTLOG_SYNC, "no sync of checkpoints.log", SCRIPT_CHECKPOINTS },
};

static void broken_disks_are_noticed(void **state)
{
	char why[WHY_BYTES];
	unsigned missed = 0;

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(broken); i++) {
		uint64_t states = states_until_caught(broken[i].breakage, broken[i].kind, STATES_BROKEN_MAX, why);

		if (states > 0)
			print_message("# %s: noticed after %" PRIu64 " states: %s\n", broken[i].what, states, why);
		else
			print_message("# %s: NOT NOTICED\n", broken[i].what);
		missed += states == 0;
	}
	assert_int_equal(missed, 0);
}

/*
 * segments.idx and head.state hold nothing that the names of the segments don't say, as long as there is a segment; and there always is one, the active. A crash may leave
 * them empty, of zeros, or old: they are written anew. So it does not matter if their syncs are lost, or come after the rename. It would if an id were
 * taken from them. HEAD, if it can't be read, is the checkpoint with the latest time.
 */
static void small_files_may_be_lost(void **state)
{
	static const struct broken may[] = {
		{ BREAK_SMALL_SYNC, "no syncs of small files", SCRIPT_APPENDS },
		{ BREAK_SMALL_SYNC, "no syncs of small files, with prunes", SCRIPT_CHECKPOINTS },
		{ BREAK_RENAME_FIRST, "small files renamed before their sync", SCRIPT_APPENDS },
		{ BREAK_RENAME_FIRST, "small files renamed before their sync, with prunes", SCRIPT_CHECKPOINTS },
		{ BREAK_HEAD_SYNC, "no syncs of HEAD", SCRIPT_CHECKPOINTS },
	};
	char why[WHY_BYTES];

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(may); i++) {
		uint64_t states = states_until_caught(may[i].breakage, may[i].kind, environment("WALFS_CRASH_STATES", STATES_RANDOM / test_thinning()) / 6, why);

		if (states > 0)
			fail_msg("%s: after %" PRIu64 " states: %s", may[i].what, states, why);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_states_of_small_workloads),
		cmocka_unit_test(random_states_of_long_workloads),
		cmocka_unit_test(all_states_of_small_prunes_and_checkpoints),
		cmocka_unit_test(all_states_of_small_sharded_stores),
		cmocka_unit_test(random_states_of_prunes_and_checkpoints),
		cmocka_unit_test(random_states_of_sharded_stores),
		cmocka_unit_test(states_of_a_log_that_is_tidied),
		cmocka_unit_test(states_of_an_entry_from_a_temporary_file),
		cmocka_unit_test(states_with_frames_inside_of_entries),
		cmocka_unit_test(broken_disks_are_noticed),
		cmocka_unit_test(small_files_may_be_lost),
	};

	cmocka_set_test_filter(getenv("WALFS_TEST_ONLY"));
	return TEST_RUN(tests);
}
