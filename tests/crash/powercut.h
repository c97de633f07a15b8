/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a power cut may leave of what was done to a file system. What has been synced is there. Of everything else
 *	each sector of a file holds what it held at any moment since the last sync of the file, whatever the others hold: so data is missing, kept, or torn, in
 *		any order;
 *	its size is one that it had since then, or one between them (if the file was allocated ahead any, else a whole number of pages), whatever the data: what is
 *		inside it and was never written is zeros;
 *	each name made, removed or replaced in a directory since the last sync of the directory is so or is not, in any combination.
 * An fsync of a file says nothing of its name. File systems keep more order than that; which, differs.
 */
#ifndef POWERCUT_H
#define POWERCUT_H

#include "memfs.h"
#include "random.h"

enum { SECTOR_BYTES = 512 };

/* The decisions that make one state of the many. Either all sequences of them one after another, or random ones. */
struct chooser {
	bool random;
	struct random seed;
	unsigned percent_last; /* random: how often what was done last is kept; else anything is as likely */
	struct chooser_digit {
		unsigned value;
		unsigned choices;
	} *digits;
	size_t depth;
	size_t count;
	size_t capacity;
};

/* Back to the first sequence. */
void chooser_begin(struct chooser *c);
/* The next one; false if there is none. */
bool chooser_next(struct chooser *c);
/* Random from now on. */
void chooser_randomize(struct chooser *c, unsigned percent_last);
void chooser_release(struct chooser *c);

/* The disk behind a trace at one moment of it: what is on stable storage of each node, and the events since. */
struct powercut {
	const struct trace *trace;
	size_t at; /* the events before it have happened */
	struct powercut_node *nodes;
	unsigned count;
	int64_t time; /* of the last event */
};

/* With all that is in `start` on stable storage. `trace` must outlive it. */
void powercut_init(struct powercut *pc, const struct memfs *start, const struct trace *trace);
void powercut_release(struct powercut *pc);
/* One event further. */
void powercut_step(struct powercut *pc);
/* Fills `fs` (which is reset) with the state that `c` chooses. */
void powercut_state(const struct powercut *pc, struct chooser *c, struct memfs *fs);

#endif
