/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done to a store while its file system writes a trace, and what is known of the store at each moment of it.
 *
 * A workload is a text, so that one that fails can be printed and run again. A digit chooses the stream that what follows is done to;
 *	c x		make it, delete it (if it has no entries, or none any more)
 *	a A		append an entry, durably
 *	e l		append an empty entry, one of 964 bytes: the header behind that lies across two sectors in an awkward place
 *	b B		a batch of 2 to 4, durably
 *	t		a transaction
 *	v V		restore three entries, durably
 *	d		a draft in three writes
 *	D		a draft of more than a megabyte, which goes over a temporary file
 *	m		six ops submitted at once, some of them batches, and waited for
 *	s S		sync the stream, the store
 *	r		rotate
 *	p P		prune about half of the stream; rotate and prune all of it
 *	C M E		make a checkpoint: with a new id if there is one, moved, exclusively
 *	L		make or move one with a large id
 *	n q		m with a checkpoint, with a prune in the middle of it
 *	R Q		remove a checkpoint, compact
 *	f		prune every stream to a checkpoint
 *	y		a batch over all shards
 *	o		close the store and open it
 *	k		kill the process, and open the store
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include "cuts.h"
#include "memfs.h"
#include "random.h"
#include "stores.h"

enum { SLOTS = CUT_STREAMS }; /* streams */

#define STORE_NAME "store"
#define STORE_PATH "/" STORE_NAME

struct known_entry {
	uint8_t *data;
	size_t size;
	uint64_t batch_first; /* the ids of its frame */
	uint64_t batch_end;
};

struct slot {
	struct wal_stream *stream; /* NULL: it does not exist, or the store is closed */
	bool exists;
	struct known_entry *entries; /* all that were ever submitted, to any stream of this name */
	size_t count;
	size_t capacity;
	size_t base;	/* where those of the present one begin */
	uint64_t first; /* the ids below were pruned */
};

struct workload {
	uint64_t seed;	  /* of sizes and contents */
	size_t size_max;  /* of an entry */
	bool nested;	  /* entries hold whole valid frames */
	bool sharded;	  /* the streams are the shards of the store; opts.shards is SLOTS */
	const char *script;
	struct wal_options opts;
	struct memfs *fs;
	struct trace trace;
	struct wal_store *store;
	struct slot slots[SLOTS];
	struct cut_versions versions; /* all checkpoints that were ever asked for */
	struct cut_state cuts;	      /* those that are there */
	unsigned turn;		      /* for choices that only have to differ */
	char why[256]; /* what went wrong while it ran: empty if nothing */
};

/* The numbers of notes in the trace; they come with a slot and a value. */
enum note {
	NOTE_CREATING, /* a stream; the value is where its entries begin among those of its slot */
	NOTE_CREATED,
	NOTE_DELETING, /* the value is the number that the next version of a checkpoint will get */
	NOTE_DELETED,
	NOTE_SUBMITTED, /* entries below this id were handed over */
	NOTE_ACKED,	/* and these were reported done */
	NOTE_DURABLE,	/* and these reported durable, in whatever way */
	NOTE_FOUND,	/* an open reported just the entries below this one: others never come back */
	NOTE_PROBED,	/* the entry with this id is handed over, and it is probe_content() */
	NOTE_PRUNING,	/* what is below this id may go */
	NOTE_PRUNED,	/* and what is below this one is gone */
	NOTE_CHECKPOINTING, /* the slot is the id, the value the version that is being made */
	NOTE_REMOVING,	    /* the slot is the id */
	NOTE_COMPACTING,    /* the value says how many are kept */
	NOTE_CUTS_CHANGED,  /* that is done */
	NOTE_CUTS_FOUND,    /* an open found: slot 0 those from before, 1 those as if it had been done; the value is the latest */
};

enum existence { GONE, MAYBE, THERE };

/* What must hold of a stream. */
struct expected_slot {
	enum existence exists;
	uint64_t durable;
	uint64_t acked;
	uint64_t submitted;
	uint64_t probed; /* from this id on entries are probe_content() */
	uint64_t base;	 /* of the entries in struct slot */
	uint64_t first_min; /* those below are pruned */
	uint64_t first_max; /* those from here on are not, and no prune under way may take them */
};

struct expected {
	struct expected_slot slots[SLOTS];
	struct cut_state cuts;
	struct cut_state cuts_next; /* what the operation under way makes of them */
};

void expected_init(struct expected *e);
/* After one more event of the trace. */
void expected_step(struct expected *e, const struct trace_event *event);

/* The name of the stream. */
const char *slot_name(const struct workload *w, unsigned slot);
/* The ids that were ever given out to it are those below. */
uint64_t slot_next(const struct slot *s);

/* Runs it on w->fs (which is reset); seed, size_max, nested, sharded, script, opts and fs are set. What goes wrong is in w->why. */
void workload_run(struct workload *w, unsigned breakage);
void workload_release(struct workload *w);

/* An entry that is appended to see whether that works. */
size_t probe_content(unsigned slot, uint64_t id, char buf[64]);

enum script_kind { SCRIPT_APPENDS, SCRIPT_CHECKPOINTS, SCRIPT_SHARDS };

/* A script of `length` letters. */
void workload_make_script(struct random *random, enum script_kind kind, char *script, size_t length);

#endif
