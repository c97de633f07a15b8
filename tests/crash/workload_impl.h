/* SPDX-License-Identifier: Apache-2.0 */
/* What the two halves of a workload's steps share: workload.c has appends and streams, workload_cuts.c prunes and checkpoints. */
#ifndef WORKLOAD_IMPL_H
#define WORKLOAD_IMPL_H

#include "workload.h"

enum {
	BATCH_MAX = 4,
	SUBMITTED_AT_ONCE = 6,
	RESTORED_AT_ONCE = 3,
};

struct submitted {
	struct wal_op op;
	struct iovec iov[BATCH_MAX];
	struct workload *w;
	struct submission *all;
	unsigned slot;
	uint64_t first;
	uint64_t end;
};

struct submission {
	pthread_mutex_t lock;
	pthread_cond_t all_done;
	unsigned left;
	struct submitted ops[SUBMITTED_AT_ONCE];
};

/* Remembers the first thing that goes wrong. */
__attribute__((format(printf, 2, 3))) void wrong(struct workload *w, const char *format, ...);
void note(struct workload *w, enum note what, unsigned slot, uint64_t value);
/* After a call that returned: all of the slot's entries are acknowledged, and what the stream says of durability is a promise. */
void note_done(struct workload *w, unsigned slot, int result, bool durable, uint64_t first, uint64_t got_first);
/* Whether the mode promises that what was appended is durable. */
bool is_durable(const struct workload *w, unsigned flags, bool batch);
void new_batch(struct workload *w, unsigned slot, size_t count, struct iovec *iov);
/* Hands them over; await_many() must follow. */
void submit_many(struct workload *w, unsigned slot, struct submission *all);
void await_many(struct workload *w, unsigned slot, struct submission *all);

/* The store has just the checkpoints that it must have. */
void expect_cuts(struct workload *w);
void do_prune(struct workload *w, unsigned slot, bool all);
/* While appends are under way. */
void do_prune_amid(struct workload *w, unsigned slot);
void do_checkpoint_amid(struct workload *w, unsigned slot);
/* A step that is about no one stream. */
void step_all(struct workload *w, char what);

#endif
