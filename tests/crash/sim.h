/* SPDX-License-Identifier: Apache-2.0 */
/* One state after another that a power cut may leave: built, opened, and looked at. */
#ifndef SIM_H
#define SIM_H

#include "powercut.h"
#include "workload.h"

enum {
	WHY_BYTES = 600,
	TAILS = 2,
};

/* The end of a segment file, or of checkpoints.log, as an own reading of it finds it. */
struct tail {
	uint64_t segment_id;
	uint64_t offset; /* what is valid ends here */
	uint8_t *bytes;	 /* what stands behind it, up to the last byte that is not zero */
	size_t size;
};

struct sim {
	/* what is being tried */
	struct random random;
	struct workload *w;
	unsigned version_count; /* of its checkpoints */
	struct memfs disk;   /* the state that is looked at */
	struct memfs before; /* a copy of it, if the power is to be cut again */
	struct trace again;  /* what was done to it since */
	struct tail tails[SLOTS][TAILS]; /* of the last segment files */
	struct tail log_tail;
	struct logged logged;
	/* what has been tried */
	uint64_t *seen; /* hashes: a set, 0 is no member */
	size_t seen_count;
	size_t seen_capacity;
	uint64_t states;
	uint64_t nested;
	uint64_t truncated; /* streams that were found with a torn tail */
	uint64_t torn_logs;
	uint64_t violations;
	uint64_t violations_max;
	char why[WHY_BYTES];
	char first[WHY_BYTES]; /* of the first violation */
	bool silent;
};

struct sim *sim_new(uint64_t seed, uint64_t violations_max);
void sim_free(struct sim *sim);

/* The first reason stays. Always false. */
__attribute__((format(printf, 2, 3))) bool violated(struct sim *sim, const char *format, ...);

/* How the files of sim->disk end. */
void read_tails(struct sim *sim);
/* What was torn then is still there, or was put aside. */
bool tails_are_kept(struct sim *sim);

/* What is said read-only must be right too, and nothing may change. */
bool check_read_only(struct sim *sim, const struct expected *x);
/* Opens sim->disk, looks at all of it, and goes on with it; the second time only looks. `x` is what must hold then. */
bool try_store(struct sim *sim, struct expected *x, bool first_open);

/* The states that sim->w may have left: all of each moment, as far as the bound allows. */
void explore_all(struct sim *sim);
/* About `states` random ones, spread evenly over its moments. */
void explore_some(struct sim *sim, uint64_t states);

#endif
