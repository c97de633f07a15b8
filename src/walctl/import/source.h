/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What can be imported: a source gives, one after the other, the entries of something that exists elsewhere, and what it finds wrong on the way.
 *
 * A source only reads: it opens files read-only, takes no locks, and leaves even the times of access alone where it may. It needs memory for one entry at a time; a large one
 * is kept in an unlinked file. Files are taken as long as they were when they were opened, so that a log that is being written is read up to there.
 */
#ifndef IMPORT_SOURCE_H
#define IMPORT_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "wal.h"

enum item_kind {
	ITEM_ENTRY,
	ITEM_FINDING,
	ITEM_STREAM,	 /* what follows belongs to the stream `stream`, as ids from `id` on */
	ITEM_CHECKPOINT, /* `checkpoint`, of the streams that came before */
};

enum finding_kind {
	FINDING_LEFT_OUT,  /* an entry that an option leaves out */
	FINDING_NOTE,	   /* nothing is wrong with any entry */
	FINDING_DUPLICATE, /* an entry that a later one replaces: it is left out */
	FINDING_RESTART,   /* sequence numbers begin anew */
	FINDING_ORDER,	   /* a sequence number that is lower than the one before */
	FINDING_GAP,	   /* sequence numbers, or files, are missing */
	FINDING_TORN,	   /* an end that was never finished */
	FINDING_DAMAGE,	   /* bytes that are nothing */
};

enum { FINDING_KINDS = FINDING_DAMAGE + 1 };

extern const char *const finding_names[FINDING_KINDS];

/* One thing that a source gives. Pointers are valid until its next call. */
struct item {
	enum item_kind kind;
	/* where it stands */
	const char *file;
	uint64_t offset;
	/* an entry */
	const void *data;
	size_t size;
	int64_t time_ns;
	bool has_sequence;
	uint64_t sequence; /* the number it has there; of a finding the first number concerned */
	const char *type;  /* of records that have types, else NULL */
	bool has_id;	   /* it keeps this id; of a finding: the ids concerned, which stay lost, or of a pruned beginning never were */
	uint64_t id;
	/* a finding */
	enum finding_kind finding;
	uint64_t bytes; /* concerned, from `offset` on */
	uint64_t count; /* numbers or ids concerned; 0: none, or unknown */
	bool ends_prefix; /* nothing behind it follows without a break */
	bool fails_strict; /* the source is not just as it should be */
	bool lost;	   /* something is not there that was */
	char expected[128];
	char found[192];
	/* a stream, a checkpoint */
	const char *stream;
	const struct wal_checkpoint *checkpoint;
};

enum policy {
	POLICY_SALVAGE, /* everything that is intact */
	POLICY_PREFIX,	/* what comes before the first break */
	POLICY_STRICT,	/* everything or nothing */
};

struct source_options {
	enum policy policy;
	bool recursive;		 /* files */
	bool keep_duplicates;	 /* walogs */
	bool apply_checkpoints;	 /* oxirs: leave out what a checkpoint of its session covers */
	bool drop_checkpoints;	 /* oxirs: leave out checkpoints themselves */
	bool apply_transactions; /* oxirs: leave out what was aborted or never committed */
	bool resync;		 /* oxirs: where a length is wrong, look for records behind it */
	const char *stream;	 /* ironwal: only this one; NULL: all */
	const char *spool;	 /* the directory for unlinked files */
	int64_t now_ns;
};

struct source;

struct source_ops {
	/* 0; WAL_END; a negative errno with `err` filled. */
	int (*next)(struct source *source, struct item *ret, struct wal_error *err);
	void (*free)(struct source *source);
};

/* The first member of each kind of source. */
struct source {
	const struct source_ops *ops;
	uint64_t done, total; /* bytes read, and to read as far as it is known */
	uint32_t shards;      /* of a sharded store */
};

typedef int source_open_function(const char *path, const struct source_options *options, struct source **ret, struct wal_error *err);

source_open_function walogs_open, oxirs_open, ironwal_open, files_open, lines_open, tar_open;

struct source_format {
	const char *name;
	source_open_function *open;
	bool from_stdin;    /* takes "-" */
	bool has_streams;   /* gives ITEM_STREAM: the source names its streams */
	const char *remark; /* what is to be said about all that comes from there; may be NULL */
};

/* NULL: there is none of that name. */
const struct source_format *source_format_find(const char *name);

/* Ends with an all-zero finding. `what` and `found` are printf's. */
__attribute__((format(printf, 4, 5))) void finding_set(struct item *item, enum finding_kind kind, const char *expected, const char *found, ...);

/* Fills `err` and returns `result`. */
__attribute__((format(printf, 3, 4))) int source_fail(struct wal_error *err, int result, const char *format, ...);

#endif
