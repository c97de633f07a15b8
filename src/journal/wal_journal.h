/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Journals: typed records and transactions on a stream of libwal.
 *
 * A *journal* is a stream whose entries are *records*: what was done to the state of a program (insert, update, delete of a vector; anything else as
 * an opaque record), and *markers* that say something about records: where a transaction begins and ends, and up to where the program's state is
 * durable elsewhere (a checkpoint). The program appends a record, then applies it to its state in memory; now and then it makes that state durable
 * and says so with a checkpoint; after a restart it loads the state and replays what the checkpoint does not cover. A record's *sequence number* is
 * the id of its entry.
 *
 * The bytes of a record are those that oxirs-vec writes (oxicode and bincode 2, standard configuration), so a journal can be read by its decoders;
 * frames, checksums and durability are the engine's.
 *
 *	struct wal_record record = { .type = WAL_RECORD_INSERT, .id = "apple", .id_size = 5, .vector = { vector, 3 } };
 *
 *	if (wal_journal_open(store, "fruit", NULL, &journal, &err) < 0)
 *		errx(1, "%s", err.message);
 *	if (wal_journal_replay(journal, &(struct wal_replay){ .record = apply, .arg = state }, &result, &err) < 0)
 *		errx(1, "%s", err.message);
 *	if (wal_journal_append(journal, &record, 0, &sequence) < 0)
 *		...
 *
 * Results, outputs and errors are as in wal.h. Every function that takes a journal may be called from any thread at any time, but wal_journal_close()
 * only when no other call is under way; a struct wal_journal_txn is used by one thread at a time.
 */
#ifndef WAL_JOURNAL_H
#define WAL_JOURNAL_H

#include "wal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Records -------------------------------------------------------------------------------------------------------------------- */

/* The numbers are those on disk. */
enum wal_record_type {
	WAL_RECORD_INSERT = 0,
	WAL_RECORD_UPDATE = 1,
	WAL_RECORD_DELETE = 2,
	WAL_RECORD_BATCH = 3,	   /* records in a record, all of them one change */
	WAL_RECORD_CHECKPOINT = 4, /* this and what follows are markers … */
	WAL_RECORD_BEGIN = 5,
	WAL_RECORD_COMMIT = 6,
	WAL_RECORD_ABORT = 7,	   /* … to here */
	/*
	 * The application's own bytes. The number is the largest that takes one byte, far from where oxirs-vec counts on: its decoders say "unknown
	 * variant" and step over the record, and those of its first releases, which read four bytes here, find none that they know either, whatever
	 * follows.
	 */
	WAL_RECORD_OPAQUE = 250,
};

/* Of a record's encoding; oxirs-vec stops reading a file at a longer one. */
#define WAL_RECORD_SIZE_MAX 100000000

/* How deep batches may lie in each other, the outermost counted. */
#define WAL_RECORD_DEPTH_MAX 64

/* Texts are UTF-8 and may hold NULs. Those that wal_record_decode() makes are followed by a NUL that does not count. */
struct wal_record_pair {
	const char *key;
	size_t key_size;
	const char *value;
	size_t value_size;
};

struct wal_record_vector {
	const float *values; /* their bits are kept, those of NaNs too */
	size_t count;
};

struct wal_record_metadata {
	bool present; /* none at all, and an empty one, are different on disk */
	const struct wal_record_pair *pairs; /* in the order given; of several with the same key the last one counts */
	size_t count;
};

/* All-zero but for what its type has. What it points to belongs to whoever made it. */
struct wal_record {
	enum wal_record_type type;
	uint64_t time; /* Unix time in seconds, as the application understands it */
	union {
		struct { /* INSERT, UPDATE, DELETE */
			const char *id;
			size_t id_size;
			struct wal_record_vector vector;     /* not DELETE */
			struct wal_record_metadata metadata; /* not DELETE */
		};
		struct { /* BATCH */
			const struct wal_record *records;
			size_t record_count;
		};
		uint64_t sequence;    /* CHECKPOINT: it covers the records up to this one; 0: none */
		uint64_t transaction; /* BEGIN, COMMIT, ABORT */
		struct {	      /* OPAQUE */
			const void *data;
			size_t data_size;
		};
	};
};

enum wal_record_encoding {
	WAL_RECORD_VARINT, /* what is written here, and what oxirs-vec has written since its 0.1.0-rc.1 */
	WAL_RECORD_FIXED,  /* bincode 1, as its releases before that: integers of 4 and 8 bytes. It has no opaque records */
};

/*
 * Puts the encoding of `record` into `buf`, whose content is replaced. The same record gives the same bytes. -EINVAL: no such type, a text that is
 * not UTF-8, batches deeper than WAL_RECORD_DEPTH_MAX; -EFBIG: it would be over WAL_RECORD_SIZE_MAX; `err` (may be NULL) says where in the record.
 * -ENOMEM. Does not block.
 */
int wal_record_encode(const struct wal_record *record, struct wal_buf *buf, struct wal_error *err);

/*
 * Reads a record that takes just `size` bytes. What *ret_record points to lies in `memory`, as one allocation, valid until it is used again; it holds
 * copies, so `data` may go. It is checked whole before anything is allocated: each length against the bytes that are left, depth, texts, and that
 * nothing follows. Memory is at most about 26 bytes for each byte of `data`.
 *	-EBADMSG  it is no record: err->offset is the byte of `data`, err->message says what was expected and what was found (`err` may be NULL)
 *	-EFBIG	  over WAL_RECORD_SIZE_MAX	-ENOMEM
 * Longer forms of numbers than the shortest are read too. Does not block.
 */
int wal_record_decode(const void *data, size_t size, enum wal_record_encoding encoding, struct wal_buf *memory, struct wal_record *ret_record,
		      struct wal_error *err);

/* The value that counts of a metadata key (a text with NUL at its end); NULL if there is none, or if the record has no metadata. */
const struct wal_record_pair *wal_record_find(const struct wal_record *record, const char *key);

/* "insert", "update", "delete", "batch", "checkpoint", "begin", "commit", "abort", "opaque". Static text; NULL for another number. */
const char *wal_record_type_name(enum wal_record_type type);

/* ---- Journals ------------------------------------------------------------------------------------------------------------------- */

/*
 * What stands in the stream of a journal. Each entry is one record. A transaction is begin, its records, commit, in one batch of the stream: all
 * there or not at all; nothing is written of one that is called off. A checkpoint says up to which entry id the application's state is durable
 * elsewhere; one of 0 covers nothing. The first entry of a new journal is such a one: so 0 is never the number of a record.
 *
 * A journal may also hold what others wrote, where begin, records and commit are entries between others. A record belongs to the transaction that was
 * begun last and is not ended yet; beginning one with the number of one that is open ends that one without effect. wal_journal_open() ends what it
 * finds open with an abort, as whoever began it is gone. It looks behind the last checkpoint only: one that was begun before that and never ended
 * ends with the checkpoint for a replay that begins there, and stays open for one from the start, which drops what is appended next with it.
 *
 * Checkpoints count only if they speak of entries before themselves. Who puts records from elsewhere into a stream, where entries have other ids than
 * the numbers they had, translates the numbers in checkpoints, or leaves checkpoints out; those in batches do not count.
 */
struct wal_journal;

struct wal_journal_options {
	/* After so many entries behind the last checkpoint the next append asks `checkpoint` for another one. 0: never. */
	uint64_t checkpoint_interval;
	/*
	 * Makes the application's state durable and says what it holds: everything up to *ret_applied, a number that wal_journal_append() or
	 * wal_journal_commit() returned (0: nothing; then no checkpoint is recorded). `appended` is the last one in the journal. Called by the thread
	 * that appends, before it does, with whatever locks of its own that holds, one at a time and with no lock of the library held. It must not
	 * end the journal. < 0: it could not; the append goes on, struct wal_journal_stat counts it, and it is asked again after as many entries
	 * more.
	 */
	int (*checkpoint)(void *arg, uint64_t appended, uint64_t *ret_applied);
	void *arg;
	/* After a checkpoint, drop the oldest segments that hold only what it covers, but keep the newest so many (the active one counts). 0: drop none. */
	uint32_t retain_segments;
};

/*
 * Opens stream `name` as a journal, and makes it if there is none and the store is not read-only. `opts` may be NULL. *ret_journal belongs to the
 * caller, who ends it with wal_journal_close(), before the store. Finds the last checkpoint from the end backwards, in steps of some thousand
 * entries, and what is open behind it: two passes over the entries behind the last checkpoint, which read those up to 16 KiB and look up the others.
 * So it costs less than the replay that follows, and automatic checkpoints bound both; without any checkpoint that is for every retained entry (a
 * million small ones: about a second). As wal_stream_open(); -EIO and the like if a read fails; what appending returns, if there is a first entry, or
 * an abort, to write, unless nothing can be appended at all: then it can be replayed. Damage there is no failure: see wal_journal_replay().
 */
int wal_journal_open(struct wal_store *store, const char *name, const struct wal_journal_options *opts, struct wal_journal **ret_journal,
		     struct wal_error *err);

/* The same for a stream that is open already, one of a sharded store for instance. It stays the caller's, and open as long as the journal. */
int wal_journal_open_stream(struct wal_stream *stream, const struct wal_journal_options *opts, struct wal_journal **ret_journal, struct wal_error *err);

/* Gives it back; nothing is synced by it. NULL is allowed. */
void wal_journal_close(struct wal_journal *journal);

/* The stream under it: for rotating, statistics, bounds, watches. Valid as long as the journal. */
struct wal_stream *wal_journal_stream(struct wal_journal *journal);

/*
 * Appends a record, not a marker (-EINVAL), as wal_stream_append() does with `flags`. A time of 0 becomes the present. *ret_sequence (may be NULL) is
 * its number. Also as wal_record_encode() (use it for the detail).
 */
int wal_journal_append(struct wal_journal *journal, const struct wal_record *record, unsigned flags, uint64_t *ret_sequence);

/* Makes everything appended before the call durable. As wal_stream_sync(). */
int wal_journal_flush(struct wal_journal *journal);

/* Transactions gather records in memory. Nothing of one is in the journal before it is committed; then all of it is, in one piece. */
struct wal_journal_txn;

/* An empty transaction. The caller ends it with wal_journal_commit() or wal_journal_abort(), before the journal. -EROFS, -ENOMEM. */
int wal_journal_begin(struct wal_journal *journal, struct wal_journal_txn **ret_txn);

/*
 * Copies a record into it. On failure it is not in it, and the transaction goes on. As wal_journal_append(); -EFBIG also if the transaction would be
 * over 4 GiB.
 */
int wal_journal_add(struct wal_journal_txn *txn, const struct wal_record *record);

/*
 * Commits, and frees the transaction in any case. Its records have the numbers from *ret_first on; *ret_last is that of the commit, which is what
 * counts as applied when all of them are. An empty one commits nothing: both are 0. Both may be NULL. As wal_txn_commit().
 */
int wal_journal_commit(struct wal_journal_txn *txn, unsigned flags, uint64_t *ret_first, uint64_t *ret_last);

/* Drops it. NULL is allowed. */
void wal_journal_abort(struct wal_journal_txn *txn);

/*
 * Records that the application's state is durable up to `applied`, a number that wal_journal_append() or wal_journal_commit() returned. When the
 * checkpoint is durable, segments are dropped as the options say. 0 also if the last checkpoint covers as much: nothing is recorded then. -EINVAL: it
 * is not in the journal yet, or below what the last checkpoint covers (`err` says which). As wal_stream_append() and wal_stream_prune(); if
 * pruning failed, the checkpoint counts. Blocks for syncs.
 */
int wal_journal_checkpoint(struct wal_journal *journal, uint64_t applied, struct wal_error *err);

/* The number that the next record gets. Never blocks on the disk. */
uint64_t wal_journal_current_sequence(struct wal_journal *journal);

/* What the last checkpoint covers; 0: nothing, or there is none. Does not block. */
uint64_t wal_journal_last_checkpoint_sequence(struct wal_journal *journal);

/* Since it was opened. */
struct wal_journal_stat {
	uint64_t records;      /* appended, those of transactions counted, but no markers */
	uint64_t bytes;	       /* their encodings */
	uint64_t committed;    /* transactions */
	uint64_t aborted;      /* transactions called off, or that failed to commit */
	uint64_t aborted_open; /* transactions of others that were found open and ended when it was opened */
	uint64_t checkpoints;
	uint64_t checkpoint_failures;
	int checkpoint_result; /* of the last time that one was made or asked for: 0, or the negative errno */
	uint64_t pruned_segments;
};

/* Does not block. */
void wal_journal_stat(struct wal_journal *journal, struct wal_journal_stat *ret);

/* ---- Recovery ------------------------------------------------------------------------------------------------------------------- */

enum wal_replay_policy {
	WAL_REPLAY_STRICT, /* the first thing that is wrong ends the replay: -EBADMSG */
	WAL_REPLAY_SKIP,   /* what is wrong is told, counted and stepped over */
};

enum wal_replay_problem_kind {
	WAL_REPLAY_DAMAGED,	/* entries that cannot be read */
	WAL_REPLAY_PRUNED,	/* entries that no checkpoint covers and that are gone */
	WAL_REPLAY_UNDECODABLE, /* an entry that is no record */
	WAL_REPLAY_MISPLACED,	/* a checkpoint that speaks of what comes after it, or the abort of a transaction that was not begun */
	WAL_REPLAY_INCOMPLETE,	/* a transaction of which entries are damaged or undecodable: it is dropped as a whole */
};

/* Valid during the call that gets it. */
struct wal_replay_problem {
	enum wal_replay_problem_kind kind;
	uint64_t sequence; /* the entry, or the first of them */
	uint64_t count;	   /* entries concerned */
	const char *message; /* a sentence without a final period: what was expected and what was found */
};

/* What to replay, and who gets it. All-zero but for `record`: everything after the last checkpoint, strictly. */
struct wal_replay {
	/*
	 * One record to be applied: an insert, update, delete, batch or opaque one, in the order of the journal; the records of a transaction come
	 * when its commit is reached. `record` is valid during the call. Not 0: the replay ends and returns it.
	 */
	int (*record)(void *arg, uint64_t sequence, const struct wal_record *record);
	void (*problem)(void *arg, const struct wal_replay_problem *problem); /* may be NULL */
	void *arg;
	enum wal_replay_policy policy;
	/* Where from: after the last checkpoint, or … */
	bool from_start; /* from the oldest entry retained on, whatever checkpoints say; */
	uint64_t after;	 /* not 0: after this one, as the application's state has everything up to it */
	/* Up to where; 0: to the end. The last checkpoint made until then counts: that is the state to begin with, see `after` in the result. */
	uint64_t until_sequence; /* records with a number up to this one. A transaction has that of its commit */
	int64_t until_ns;	 /* records appended up to this Unix time in nanoseconds; likewise */
	/*
	 * Records whose own time in seconds is up to this one; a transaction has that of its commit. As these times need not ascend, what is behind a later
	 * one is looked at too.
	 */
	uint64_t until_time;
};

/* Filled when it returns 0, and as far as it got when something was wrong or the callback ended it. */
struct wal_replay_result {
	uint64_t after;	       /* what was given came after this one, which is what the checkpoint that counts covers; 0: all did */
	uint64_t first;	       /* the first entry looked at */
	uint64_t next;	       /* the entry after the last one looked at */
	uint64_t records;      /* given to the callback */
	uint64_t bytes;	       /* their encodings */
	uint64_t committed;    /* transactions whose records were given */
	uint64_t dropped;      /* transactions that were aborted, not finished or incomplete, */
	uint64_t dropped_records; /* and their records */
	uint64_t checkpoints;  /* markers met */
	uint64_t too_late;     /* records left out because their own time is after until_time */
	uint64_t damaged;      /* entries that cannot be read, or are gone */
	uint64_t undecodable;  /* entries that are no records */
	uint64_t problems;     /* told */
	uint64_t duration_ns;
};

/*
 * Reads the journal and gives what counts to replay->record, in order, once. Changes nothing. What is appended meanwhile is not looked at; what a
 * checkpoint lets go of meanwhile is told as pruned. `err` (may be NULL) says what was wrong with WAL_REPLAY_STRICT. What the callback returned, if
 * it was not 0; -EBADMSG; -ENOMEM, -EIO … Blocks on the disk.
 */
int wal_journal_replay(struct wal_journal *journal, const struct wal_replay *replay, struct wal_replay_result *ret_result, struct wal_error *err);

#ifdef __cplusplus
}
#endif

#endif
