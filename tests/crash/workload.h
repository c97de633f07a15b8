/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is done to a store while its file system writes a trace, and what is known of the store at each moment of it.
 *
 * A workload is a text, so that one that fails can be printed and run again. A digit chooses the stream that what follows is done to;
 *	c x		make it, delete it (if it has no entries)
 *	a A		append an entry, durably
 *	e l		append an empty entry, one of 964 bytes: the header behind that lies across two sectors in an awkward place
 *	b B		a batch of 2 to 4, durably
 *	t		a transaction
 *	d		a draft in three writes
 *	D		a draft of more than a megabyte, which goes over a temporary file
 *	m		six ops submitted at once, some of them batches, and waited for
 *	s S		sync the stream, the store
 *	r		rotate
 *	o		close the store and open it
 *	k		kill the process, and open the store
 */
#ifndef WORKLOAD_H
#define WORKLOAD_H

#include "memfs.h"
#include "random.h"
#include "stores.h"

enum { SLOTS = 4 }; /* streams */

extern const char *const slot_names[SLOTS];

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
	struct known_entry *entries; /* by id; all that were ever submitted */
	size_t count;
	size_t capacity;
};

struct workload {
	uint64_t seed;	  /* of sizes and contents */
	size_t size_max;  /* of an entry */
	bool nested;	  /* entries hold whole valid frames */
	const char *script;
	struct wal_options opts;
	struct memfs *fs;
	struct trace trace;
	struct wal_store *store;
	struct slot slots[SLOTS];
	char why[256]; /* what went wrong while it ran: empty if nothing */
};

/* The numbers of notes in the trace; they come with a slot and a value. */
enum note {
	NOTE_CREATING,
	NOTE_CREATED,
	NOTE_DELETING,
	NOTE_DELETED,
	NOTE_SUBMITTED, /* entries below this id were handed over */
	NOTE_ACKED,	/* and these were reported done */
	NOTE_DURABLE,	/* and these reported durable, in whatever way */
	NOTE_FOUND,	/* an open reported just the entries below this one: others never come back */
	NOTE_PROBED,	/* the entry with this id is handed over, and it is probe_content() */
};

enum existence { GONE, MAYBE, THERE };

/* What must hold of a stream. */
struct expected_slot {
	enum existence exists;
	uint64_t durable;
	uint64_t acked;
	uint64_t submitted;
	uint64_t probed; /* from this id on entries are probe_content() */
};

struct expected {
	struct expected_slot slots[SLOTS];
};

void expected_init(struct expected *e);
/* After one more event of the trace. */
void expected_step(struct expected *e, const struct trace_event *event);

/* Runs it on w->fs (which is reset); seed, size_max, nested, script, opts and fs are set. What goes wrong is in w->why. */
void workload_run(struct workload *w, unsigned breakage);
void workload_release(struct workload *w);

/* An entry that is appended to see whether that works. */
size_t probe_content(unsigned slot, uint64_t id, char buf[64]);

/* A script of `length` letters. */
void workload_make_script(struct random *random, char *script, size_t length);

#endif
