/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libwal: a store of append-only streams of entries in segment files.
 *
 * A *store* is a directory. It holds *streams*; a stream is an ordered sequence of immutable *entries* with the ids 0, 1, 2 … without
 * gaps. An entry is 0 to WAL_ENTRY_SIZE_MAX bytes. Entries that are committed together form a *batch*: all of them exist, or none.
 * An entry is *durable* once it is on stable storage; it is *visible* (to wal_stream_get(), iterators, wal_stream_bounds()) once it is
 * committed, and with WAL_SYNC_STRICT only once it is durable.
 *
 * The shortest program:
 *
 *	struct wal_store *store;
 *	struct wal_stream *st;
 *	struct wal_error err;
 *	uint64_t id;
 *
 *	if (wal_store_open("/srv/log", NULL, &store, &err) < 0)
 *		errx(1, "%s", err.message);
 *	if (wal_stream_open(store, "orders", WAL_CREATE, &st, &err) < 0)
 *		errx(1, "%s", err.message);
 *	if (wal_stream_append(st, "hello", 5, 0, &id) < 0)
 *		...
 *	wal_stream_close(st);
 *	wal_store_close(store);
 *
 * Results. Every function that returns int returns
 *	0		done;
 *	> 0		one of enum wal_condition, only where the function names it: not a failure, but the caller must look;
 *	< 0		a negative errno. What the system said is passed on unchanged (-ENOSPC, -EDQUOT, -EIO, -EMFILE, -ENOMEM …).
 * What the library itself originates:
 *	-EBADMSG	stored bytes are damaged: a checksum, a length, an id or an LZ4 frame does not hold. One line of the log names stream,
 *			id, segment, offset, what was expected and what was found.
 *	-EIO		also: the stream takes no more appends, because a sync or a write failed or because it is damaged;
 *			struct wal_stream_stat says why.
 *	-EROFS		a change was asked of a store that is open read-only.
 *	-EFBIG		an entry or batch above its limit.
 *	-EINVAL		an argument outside what its function allows.
 * Outputs (named ret_…) are written only when the function returns 0, or the condition that says so.
 *
 * Threads. Every function may be called from any thread at any time, with these exceptions: a struct wal_iter, wal_reader, wal_txn, wal_draft
 * or wal_buf is used by one thread at a time; wal_store_close() is called when no other call is under way. No signal is blocked or
 * handled, no file descriptor is inherited over exec (O_CLOEXEC), nothing is printed: see struct wal_options.log. A process must not use a store
 * that it opened before fork() in the child.
 */
#ifndef WAL_H
#define WAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/statvfs.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WAL_VERSION "0.1.0"

/* The largest entry: its length prefix and its bytes fill a 32-bit payload size. */
#define WAL_ENTRY_SIZE_MAX ((uint64_t)UINT32_MAX - 4)

/* The longest stream name, in bytes, without the terminating NUL. */
#define WAL_STREAM_NAME_MAX 255

enum wal_condition {
	WAL_NOT_FOUND = 1, /* the id has not been written yet */
	WAL_PRUNED,	   /* the id was written and its segment has been dropped since */
	WAL_END,	   /* nothing further now; asking again later may find more */
	WAL_GAP,	   /* ids that exist and cannot be read, because their bytes are damaged */
	WAL_TIMEOUT,	   /* what was waited for did not happen in time */
};

/* "entry not found", "Input/output error" …; for every condition and every negative errno. Static text; any thread. */
const char *wal_strerror(int result);

/*
 * Detail of a failed open, parse or check. `message` is a whole sentence for a person, without a final period or newline: it names the thing,
 * the place, what was expected and what was found. Functions take it as an optional last argument (NULL: no detail) and fill it only
 * when they return < 0.
 */
struct wal_error {
	int code;	 /* the negative errno that was returned */
	pid_t pid;	 /* -EBUSY: the process that holds the store, 0 if unknown */
	uint64_t offset; /* byte offset in `path`, where there is one */
	char path[512];	 /* file or directory concerned, as far as it fits; may be empty */
	char message[768];
};

/* ---- Options -------------------------------------------------------------------------------------------------------------------- */

enum wal_sync {
	WAL_SYNC_STRICT, /* an append is durable before it returns, and visible only then */
	WAL_SYNC_BATCH,	 /* batches and transactions are durable before they return; single appends are in the page cache */
	WAL_SYNC_ASYNC,	 /* everything is in the page cache: it survives the death of the process, not of the machine. Some megabytes behind, a thread makes it durable */
};

enum wal_compression {
	WAL_COMPRESSION_NONE,
	WAL_COMPRESSION_LZ4, /* LZ4 frames, where the result is smaller */
};

enum wal_read {
	WAL_READ_IO,   /* segments are read by pread into buffers: a failing disk is an error that is returned. Sidecars are mapped all the same */
	WAL_READ_MMAP, /* sealed segments are mapped too: faster. Where a map can't be read because the disk fails, the reader gets SIGBUS */
};

enum wal_on_corruption {
	WAL_ON_CORRUPTION_READONLY, /* damage in a stream: what is intact is served, appends to that stream fail with -EIO */
	WAL_ON_CORRUPTION_TRUNCATE, /* damage in the active segment: the log ends before it, as with ironwal; what is cut is kept aside */
	WAL_ON_CORRUPTION_ERROR,    /* damage found at open: wal_store_open() fails with -EBADMSG */
};

enum wal_log_level {
	WAL_LOG_ERROR,	 /* something was lost, refused or stopped */
	WAL_LOG_WARNING, /* something was repaired, cut or ignored */
	WAL_LOG_INFO,	 /* what happened, one line an event */
};

/*
 * All-zero means defaults. The fields are spelled as the mount's and walctl's options are (`-o segment_size=64M`, `--sync=batch`); sizes are bytes.
 * Nothing of it is recorded in the store but `shards`.
 */
struct wal_options {
	/* Rotate before a frame would make the active segment larger than this. 0: 64 MiB. 4 KiB to 1 TiB. One frame larger than
	 * it gets a segment to itself. Smaller segments are pruned in finer steps; larger ones are fewer files. */
	uint64_t segment_size;
	/* Rotate before the active segment would hold more entries than this. 0: no limit. A batch larger than it gets a segment to itself. */
	uint64_t segment_entries;
	enum wal_sync sync;
	enum wal_compression compression;
	/* Payloads (a frame's entries with their 4-byte lengths) below this many bytes are never compressed. 0: 1024. */
	uint64_t min_compression_size;
	enum wal_read read;
	/* Decoded batches and decompressed frames kept in memory, over all streams. 0: 16 MiB. WAL_SIZE_NONE: none. */
	uint64_t block_cache;
	/* Segments held open at once, over all streams; each costs a file descriptor and a mapping. 0: 128. 8 to 1,000,000. A call that needs one
	 * more while all are in use waits for one. */
	uint32_t max_open_segments;
	enum wal_on_corruption on_corruption;
	/* Bytes of frames gathered into one write(2) when several appends wait for their turn. 0: 1 MiB. 4 KiB to 1 GiB. */
	uint64_t write_buffer;
	/* Bytes that iterators and large reads fetch at a time, each. 0: 256 KiB. 4 KiB to 1 GiB. */
	uint64_t read_buffer;
	/* A new store gets the streams shard_00 … and is *sharded*: see "Sharded stores". An existing one must have just these. 0: whatever the store
	 * has; a new one has named streams. At most 65535. */
	uint32_t shards;
	/* Open read-only: nothing on disk is changed, no lock is taken, a store that another process writes is seen as it stood at open. */
	bool ro;
	/* Do not create the store: a missing or empty directory is -ENOENT. */
	bool no_create;
	/* How long to wait for a lock that another process holds, in milliseconds: one that is just closing the store gives it back in a moment. */
	uint32_t lock_wait_ms;
	/* Called for each event, from any thread. It must not call the library, as locks may be held. `message` is one line without newline, valid during
	 * the call. NULL: silent. */
	void (*log)(void *log_arg, enum wal_log_level level, const char *message);
	void *log_arg;
};

/* For options whose 0 means a default and that can be switched off. */
#define WAL_SIZE_NONE UINT64_MAX

/* "64M", "1KiB", "4096", "1G": K, M, G, T (or k, m, g, t) with optional "iB" or "B", powers of 1024. -EINVAL, -ERANGE. Does not block. */
int wal_parse_size(const char *text, uint64_t *ret_bytes);

/*
 * Sets one option from text, by the name of its field: "sync", "batch". A flag ("ro", "no_create") takes NULL, "1"/"yes"/"true" or "0"/"no"/"false".
 * WAL_NOT_FOUND if there is no option of that name (so that a caller can try its own). -EINVAL with detail if the value is not
 * one it takes; `opts` is then unchanged. Ranges are checked by wal_options_validate().
 */
int wal_options_set(struct wal_options *opts, const char *name, const char *value, struct wal_error *err);

/* Checks every field against the ranges above. -EINVAL with the field, the range and the value in `err`. wal_store_open() calls it. */
int wal_options_validate(const struct wal_options *opts, struct wal_error *err);

/* What there is, for help texts: `value` is the form of the value ("SIZE", "strict|batch|async", NULL for a flag), `help` one line. */
struct wal_option_help {
	const char *name;
	const char *value;
	const char *help;
};

/* The table, *ret_count long, static. */
const struct wal_option_help *wal_options_help(size_t *ret_count);

/* ---- Stores --------------------------------------------------------------------------------------------------------------------- */

struct wal_store;

/*
 * Opens the store in directory `path` (`opts` NULL: defaults), recovers every stream in it, and takes the store's lock unless opts->ro.
 * A missing directory (its parent must exist) or an empty one becomes a new store, unless opts->ro or opts->no_create.
 *	-ENOENT		missing, and not to be created	-ENOTDIR	not a directory
 *	-ENOTEMPTY	a non-empty directory that is no store (nothing in it was changed)
 *	-EBUSY		open for writing elsewhere; err->pid says by whom
 *	-EBADMSG	damage, with WAL_ON_CORRUPTION_ERROR
 *	-EINVAL		an option out of range; `shards` is not what the store has; shards are missing that the store tells of (opened with `ro`, such
 *			a store shows the streams there are, and is not sharded)
 * A store that cannot be written (a read-only medium, another user's) is opened read-only, and one line of the log says so: see wal_store_options()->ro.
 * A stream that cannot be opened at all is there with WAL_READONLY, and the reason in its struct wal_stream_stat.
 * Blocks on the disk; syncs what recovery changed. *ret_store belongs to the caller, who ends it with wal_store_close().
 */
int wal_store_open(const char *path, const struct wal_options *opts, struct wal_store **ret_store, struct wal_error *err);

/*
 * Finishes what is under way, makes everything durable, cuts the preallocated space, releases the lock and frees the store, all of it in any
 * case. Returns the first error met: something that was appended without being durable may then be lost. Streams still open are closed
 * with it; using their handles afterwards is a bug. NULL is allowed.
 */
int wal_store_close(struct wal_store *store);

/* Makes everything appended before the call durable, in every stream. Blocks. The first error of any stream, after all were tried. */
int wal_store_sync(struct wal_store *store);

/* The options in force, defaults filled in. Valid as long as the store. */
const struct wal_options *wal_store_options(const struct wal_store *store);

/* statvfs(3) of the file system that holds the store. */
int wal_store_statvfs(struct wal_store *store, struct statvfs *ret);

/* How often something took how long. Class i counts what took at most wal_histogram_bound_ns(i) and more than the class before; the last has no bound. */
enum { WAL_HISTOGRAM_CLASSES = 26 };

struct wal_histogram {
	uint64_t classes[WAL_HISTOGRAM_CLASSES];
	uint64_t sum_ns;
};

/* 1000, 2000, 4000 … up to about 17 seconds; UINT64_MAX for the last. */
uint64_t wal_histogram_bound_ns(unsigned class);

struct wal_store_counters {
	uint64_t open_segments;	  /* now */
	uint64_t segment_opens;	  /* since the store was opened; so are those below */
	uint64_t cache_hits;	  /* of decoded batches and compressed frames */
	uint64_t cache_misses;
	uint64_t cache_bytes;	  /* now */
	uint64_t checkpoints;	  /* made */
	uint64_t checkpoint_errors;
	struct wal_histogram checkpoint_time;
};

/* Does not block. */
void wal_store_counters(struct wal_store *store, struct wal_store_counters *ret);

/*
 * The names of all streams, sorted bytewise, as one allocation: a NULL-terminated array whose strings follow it. The caller frees it
 * with free(3). Streams made or deleted meanwhile may or may not be in it.
 */
int wal_store_list(struct wal_store *store, char ***ret_names, size_t *ret_count);

/* ---- Streams -------------------------------------------------------------------------------------------------------------------- */

struct wal_stream;

enum wal_open_flags {
	WAL_CREATE = 1 << 0, /* make the stream if there is none */
	WAL_EXCL = 1 << 1,   /* with WAL_CREATE: -EEXIST if there is one */
};

/*
 * 0, or what is wrong with `name` as a stream's name: -EINVAL (empty, begins with '.', holds '/', or one of the names that the store keeps for
 * itself: LOCK, HEAD, HEAD.tmp, and whatever begins with checkpoints.log), -ENAMETOOLONG (over WAL_STREAM_NAME_MAX). Any other bytes are allowed.
 */
int wal_stream_name_check(const char *name);

/*
 * A handle on stream `name`; close it with wal_stream_close(). Handles are counted, all handles of a stream are the same pointer.
 *	-ENOENT		no such stream, and no WAL_CREATE	-EEXIST	  with WAL_EXCL, or a foreign file or directory is in the way
 *	-EINVAL, -ENAMETOOLONG	see wal_stream_name_check()	-EROFS	  creating in a read-only store
 *	-EPERM		creating in a sharded store, or creating a shard's name (shard_00 …) in one that is not
 * Creating blocks: the stream is durable when it returns.
 */
int wal_stream_open(struct wal_store *store, const char *name, unsigned flags, struct wal_stream **ret_stream, struct wal_error *err);

/* Gives the handle back. Appends under way go on; nothing is synced by it. NULL is allowed. */
void wal_stream_close(struct wal_stream *stream);

/*
 * Deletes a stream that has no entries, durably. Handles that are still open get -ENOENT from then on. Blocks.
 *	-ENOENT		no such stream		-ENOTEMPTY	it has entries, or files that are not the store's own
 *	-EROFS		read-only store		-EIO		it is not healthy, so what it seems to hold may not be all
 *	-EPERM		a shard
 * Checkpoints that name the stream forget it: another stream of its name is not what they tell of. If removing its files fails on the way (-EIO …), it is gone until the next open, which may
 * find it again, without entries.
 */
int wal_stream_delete(struct wal_store *store, const char *name);

/* The stream's name. Valid as long as the handle. */
const char *wal_stream_name(const struct wal_stream *stream);

/*
 * The visible ids are *ret_first … *ret_next - 1; equal means none. Any of the pointers may be NULL. Ids below *ret_durable are durable.
 * Never blocks on the disk; costs a few loads.
 */
void wal_stream_bounds(struct wal_stream *stream, uint64_t *ret_first, uint64_t *ret_next, uint64_t *ret_durable);

/* Time of the last append in nanoseconds of Unix time; for a stream without any, of its creation. Never blocks on the disk. */
int64_t wal_stream_mtime(struct wal_stream *stream);

/*
 * Times of entries below this id are recorded. It is the next id, except in a store that is open read-only: there the times of the newest entries may have been made up when it
 * was opened, because the process that writes the store has not recorded them yet (it does within moments, or when the next append or sync comes), or because they are lost. Never blocks.
 */
uint64_t wal_stream_timed_id(struct wal_stream *stream);

enum wal_tail_state {
	WAL_TAIL_CLEAN,	    /* the log ended with a whole frame (unused preallocated space behind it is clean) */
	WAL_TAIL_TRUNCATED, /* a torn end was cut at open and kept in a file beside the segment; read-only: it was passed over */
	WAL_TAIL_DAMAGED,   /* bytes that had been durable are bad; nothing was cut */
};

enum wal_health {
	WAL_HEALTHY,
	WAL_READONLY, /* damage was found at open, or it could not be opened: what can be read is, appends fail with -EIO */
	WAL_STOPPED,  /* a write or sync failed since: the same, until the store is opened again */
};

struct wal_stream_stat {
	uint64_t first_id;	    /* oldest retained entry; == next_id if there is none */
	uint64_t next_id;	    /* the id after the newest visible entry */
	uint64_t durable_id;	    /* every entry below is on stable storage */
	uint64_t entries;	    /* next_id - first_id */
	uint64_t payload_bytes;	    /* the sizes of the readable retained entries, added up */
	uint64_t disk_bytes;	    /* allocated by all files of the stream */
	uint64_t segments;
	uint64_t active_segment_id; /* the first id of the segment that appends go to */
	int64_t last_append_ns;	    /* as wal_stream_mtime() */
	enum wal_tail_state tail;   /* as the last open found it */
	uint64_t tail_offset;	    /* unless clean: where in the active segment the log ended */
	uint64_t tail_bytes;	    /* unless clean: how many bytes were cut or are bad */
	enum wal_health health;
	char reason[256];	    /* unless healthy: why, in a sentence; truncated if need be */
};

/* The `health` alone, and the `tail`. Never block on the disk. */
enum wal_health wal_stream_health(struct wal_stream *stream);
enum wal_tail_state wal_stream_tail(struct wal_stream *stream);

/* All figures at once, consistent with each other but for disk_bytes. Reads the index of each segment the first time: blocks on the disk. */
int wal_stream_stat(struct wal_stream *stream, struct wal_stream_stat *ret);

/* What happened to a stream since the store was opened. Each number goes up only. */
struct wal_stream_counters {
	uint64_t appends;	      /* committed: entries, */
	uint64_t append_bytes;	      /* their sizes, */
	uint64_t frames;	      /* their frames, */
	uint64_t frame_bytes;	      /* on disk, headers and all, */
	uint64_t writes;	      /* and into how many writes those were gathered */
	uint64_t syncs;		      /* of the active segment */
	uint64_t synced_appends;      /* entries that those made durable: by `syncs`, the size of a group */
	uint64_t append_errors_space; /* -ENOSPC, -EDQUOT; of appends, and of what is put into drafts and transactions */
	uint64_t append_errors_size;  /* -EFBIG */
	uint64_t append_errors_io;    /* -EIO */
	uint64_t append_errors_other;
	uint64_t sync_errors;
	uint64_t reads;		      /* entries read, */
	uint64_t read_bytes;	      /* their bytes */
	uint64_t read_errors_damaged; /* -EBADMSG, gaps too; a lookup that finds it counts like a read */
	uint64_t read_errors_other;
	uint64_t rotations;
	uint64_t pruned_segments;
	struct wal_histogram append_time; /* from call to commit: of all that wait for a sync, and of one in 16 of the others */
	struct wal_histogram sync_time;
};

/* Does not block. */
void wal_stream_counters(struct wal_stream *stream, struct wal_stream_counters *ret);

/*
 * Seals the active segment and starts the next one, durably. Nothing happens if the active segment is empty. Blocks for several syncs.
 * Also -ENOSPC and the like: the stream then goes on in the old segment.
 */
int wal_stream_rotate(struct wal_stream *stream);

/*
 * Makes every entry appended before the call durable. Blocks for at most two syncs; calls from several threads share them. -EIO if the sync failed: those entries
 * may be lost, and the stream is WAL_STOPPED. In a read-only store there is nothing to do: 0.
 */
int wal_stream_sync(struct wal_stream *stream);

struct wal_op;

/*
 * A wait that calls back: op->done is called with result 0 when an entry with an id >= `id` is visible, with -ENOENT when the stream is deleted, with -EIO when it takes no
 * more appends (WAL_STOPPED, WAL_READONLY), with -ECANCELED by wal_store_close(). Of the op only `done` and `arg` are read; it belongs to the library as with wal_stream_submit(), until `done` is called, which happens exactly once, from any thread, perhaps
 * before this returns, never with a lock held; or until it is taken back. In a read-only store nothing ever comes. Never blocks on the disk.
 */
void wal_stream_watch(struct wal_stream *stream, uint64_t id, struct wal_op *op);

/* Takes a watch back. True: `done` has not been called and will not be. False: it has been, or is just being called. Costs a walk over the watches of the stream. */
bool wal_stream_unwatch(struct wal_stream *stream, struct wal_op *op);

/*
 * Waits until an entry with an id >= `id` is visible, at most `timeout_ms` (< 0: for ever; 0: just looks). WAL_TIMEOUT. -ENOENT if the stream is deleted meanwhile.
 * In a read-only store nothing ever comes.
 */
int wal_stream_wait(struct wal_stream *stream, uint64_t id, int timeout_ms);

/*
 * Drops every sealed segment whose entries are all below `id`, oldest first, durably; never the active one (wal_stream_rotate() first, to let go of all).
 * Ids are never given out again. *ret_segments (may be NULL) says how many files were dropped, on failure too. Iterators get WAL_PRUNED for what is gone; open readers, and
 * whoever reads just then, finish or get WAL_PRUNED. A crash leaves a part of it done, oldest first. Any `id` is allowed. Blocks for a few syncs and one more for each
 * segment; appends are held up for the first few.
 *	-EROFS	read-only store	   -EIO	 the stream is not healthy	-ENOENT	 it was deleted
 * If removing a file fails it is tried again with the next prune, and what could not be removed may be there again after the next open.
 */
int wal_stream_prune(struct wal_stream *stream, uint64_t id, uint64_t *ret_segments);

/*
 * The first ids of the retained segments, from the oldest to the active one, as one allocation that the caller frees with free(3): what wal_stream_prune() can drop goes
 * from one of them to the next. Does not block on the disk. -ENOMEM.
 */
int wal_stream_segments(struct wal_stream *stream, uint64_t **ret_first_ids, size_t *ret_count);

/* ---- Appending ------------------------------------------------------------------------------------------------------------------ */

enum wal_append_flags {
	WAL_DURABLE = 1 << 0, /* durable before it returns, whatever the sync mode */
	WAL_BATCH = 1 << 1,   /* wal_stream_submit(): the op is a batch even if it has one entry: one frame, and WAL_SYNC_BATCH syncs it */
};

/*
 * Appends one entry and waits until it is committed as the sync mode and `flags` ask. The bytes are read during the call only.
 * *ret_id (may be NULL) is its id.
 *	-EFBIG	over WAL_ENTRY_SIZE_MAX	  -ENOSPC, -EDQUOT  no room; the stream is as before   -EIO, -EROFS, -ENOENT (deleted)
 * A failed append leaves no entry, now or after a reopen, and its id goes to the next one; if that can't be had, the stream stops (-EIO).
 */
int wal_stream_append(struct wal_stream *stream, const void *data, size_t size, unsigned flags, uint64_t *ret_id);

/*
 * Appends `count` entries as one batch: one frame in one segment, all or none, consecutive ids from *ret_first_id (may be NULL).
 * As wal_stream_append(), and -EFBIG if the entries with 4 bytes each are over UINT32_MAX; -EINVAL if count is 0.
 */
int wal_stream_append_batch(struct wal_stream *stream, const struct iovec *entries, size_t count, unsigned flags, uint64_t *ret_first_id);

struct wal_draft;
struct wal_restored;

/*
 * An append, or a sync, that calls back instead of blocking. The caller owns the struct and all it points to, and leaves them alone from
 * wal_stream_submit() until `done` is called, which happens exactly once, from any thread, perhaps before wal_stream_submit() returns, never with a
 * lock held. `done` may free the op and submit others, but must not block.
 */
struct wal_op {
	/* in */
	void (*done)(struct wal_op *op);
	void *arg;		     /* the caller's */
	const struct iovec *entries; /* the entries; NULL with count 0: a sync of all that was submitted before */
	size_t count;
	unsigned flags;		     /* enum wal_append_flags */
	/* out, valid in `done` */
	int result;		     /* as wal_stream_append_batch() or wal_stream_sync() return */
	uint64_t first_id;
	/* libwal's own */
	struct {
		struct wal_op *next;
		struct wal_draft *draft;
		struct wal_payload *payload;
		const struct wal_restored *restored;
		uint64_t end_id;
		uint64_t frame_offset;
		uint64_t frame_bytes;
		uint64_t begin_ns;
	} internal;
};

/*
 * Appends op->entries (one: an entry; several, or WAL_BATCH: a batch), or syncs. Ops of one stream are written in the order of their submission. Never waits
 * for a sync; may write to the page cache. Failures of any kind come through `done`.
 */
void wal_stream_submit(struct wal_stream *stream, struct wal_op *op);

/*
 * The same, and the op takes over the room that `room`, a draft of the same stream, has reserved: what fits there does not meet a full disk. What the draft holds does not matter. It belongs to the
 * library from here on and is freed before `done` is called. With WAL_BATCH in op->flags the frame of n entries of b bytes in all takes as much as an entry of b + 4 * (n - 1) bytes.
 */
void wal_stream_submit_reserved(struct wal_stream *stream, struct wal_op *op, struct wal_draft *room);

/*
 * A draft is one entry being put together in pieces: a private file that becomes an entry when it is committed. It stays in memory up to a
 * bound, beyond it in an unlinked temporary file in the store, so an entry of 4 GiB costs little memory. Each write first reserves its room in
 * the stream's active segment, so that what can fail fails there (-ENOSPC, -EDQUOT, -EFBIG, -EIO for a stream that is not healthy, -EROFS) and a commit can
 * then only fail by -EIO. Used by one thread at a time.
 */

/* An empty draft for `stream`, which it keeps open. *ret_draft belongs to the caller: commit or free it. */
int wal_draft_new(struct wal_stream *stream, struct wal_draft **ret_draft);

/* Copies `size` bytes to `offset`; a hole left before it reads as zeros. On failure the draft is as before. May write to the temporary file. */
int wal_draft_write(struct wal_draft *draft, const void *data, size_t size, uint64_t offset);

/* Cuts it, or extends it with zeros. */
int wal_draft_truncate(struct wal_draft *draft, uint64_t size);

/* Its size now. */
uint64_t wal_draft_size(const struct wal_draft *draft);

/*
 * Commits the draft as one entry: as wal_stream_submit() with op->entries NULL and count 0; only done, arg and flags of the op are read. The draft belongs to
 * the library from here on and is freed before `done` is called.
 */
void wal_draft_submit(struct wal_draft *draft, struct wal_op *op);

/* The same and waits. *ret_id may be NULL. The draft is freed in any case. */
int wal_draft_commit(struct wal_draft *draft, unsigned flags, uint64_t *ret_id);

/* Drops it and its reservation. NULL is allowed. */
void wal_draft_free(struct wal_draft *draft);

/*
 * A transaction gathers entries in memory and commits them as one batch. Nothing of it is on disk before wal_txn_commit().
 */
struct wal_txn;

/* An empty transaction on `stream`, which it keeps open. The caller ends it with wal_txn_commit() or wal_txn_abort(). */
int wal_txn_new(struct wal_stream *stream, struct wal_txn **ret_txn);

/* Copies one entry into it. -EFBIG if the batch would be over its limit: the entry is not in it, the transaction goes on. -ENOMEM likewise. */
int wal_txn_add(struct wal_txn *txn, const void *data, size_t size);

/* How many entries it has so far. */
size_t wal_txn_count(const struct wal_txn *txn);

/*
 * Commits as wal_stream_append_batch() does, and frees the transaction in any case. An empty one commits nothing: *ret_count is 0.
 * The ids are *ret_first_id … *ret_first_id + *ret_count - 1. Both may be NULL.
 */
int wal_txn_commit(struct wal_txn *txn, unsigned flags, uint64_t *ret_first_id, size_t *ret_count);

/* Drops it. NULL is allowed. */
void wal_txn_abort(struct wal_txn *txn);

/* ---- Reading -------------------------------------------------------------------------------------------------------------------- */

/* What is known of an entry without reading its payload. */
struct wal_entry_info {
	uint64_t id;
	uint64_t size;
	int64_t time_ns; /* of the append, Unix time; strictly increasing with the id within a stream. Kept in a cache beside the log: entries
			    written by ironwal, or whose cache was lost, get times near their segment's modification time, and then they
			    increase within the segment, and from one to the next as far as the files' times do */
};

/* O(log n), no payload is read. WAL_NOT_FOUND, WAL_PRUNED; -EBADMSG for an id whose frame is known to be damaged. May block on the disk. */
int wal_stream_lookup(struct wal_stream *stream, uint64_t id, struct wal_entry_info *ret);

/*
 * The stream as one text: all readable entries joined end to end. *ret_offset is where entry `id` begins in it, for `id` == next id where it
 * ends. Offsets count from the first entry retained when the first was asked for, and do not move when entries are pruned. O(log n), but the first call on a stream
 * reads the index of every segment. WAL_NOT_FOUND, WAL_PRUNED. May block on the disk.
 */
int wal_stream_offset_of(struct wal_stream *stream, uint64_t id, uint64_t *ret_offset);

/*
 * The reverse: the entry that holds byte `offset`, and which of its bytes that is. Empty and damaged entries hold none. WAL_NOT_FOUND beyond the end,
 * WAL_PRUNED before the first retained entry. Costs as wal_stream_offset_of().
 */
int wal_stream_id_at(struct wal_stream *stream, uint64_t offset, uint64_t *ret_id, uint64_t *ret_skip);

/* A buffer that grows as needed and is reused from call to call. Begin with all-zero, end with wal_buf_release(). */
struct wal_buf {
	void *data;
	size_t size;	 /* in use */
	size_t capacity; /* allocated */
};

/* Frees the memory and zeroes the struct. */
void wal_buf_release(struct wal_buf *buf);

/*
 * Reads entry `id` whole into `buf` (its checksum verified). WAL_NOT_FOUND, WAL_PRUNED; -EBADMSG if it is damaged. Large entries are better read
 * through a struct wal_reader. May block on the disk.
 */
int wal_stream_get(struct wal_stream *stream, uint64_t id, struct wal_buf *buf);

/* An entry in memory. `data` points into a buffer that the function which fills the struct names. */
struct wal_entry {
	uint64_t id;
	int64_t time_ns;
	const void *data;
	size_t size;
};

/*
 * Reads up to `count` consecutive entries from `id` on, and no more than `bytes_max` bytes of payload unless the first alone is larger. *ret_count
 * of them are put into `entries`, their bytes into `buf`, valid until it is used again. Fewer than asked for come back at the end of the stream,
 * and before a damaged entry. For the first entry: WAL_NOT_FOUND, WAL_PRUNED, -EBADMSG. May block on the disk.
 */
int wal_stream_get_batch(struct wal_stream *stream, uint64_t id, size_t count, size_t bytes_max, struct wal_buf *buf, struct wal_entry *entries,
			 size_t *ret_count);

/*
 * An iterator runs forward over the entries of a stream. It holds no lock and no descriptor between calls, and sees entries that were
 * appended since.
 */
struct wal_iter;

/* An iterator whose next entry is `id`, or the first retained one if that is later. The stream stays open as long as it. */
int wal_iter_new(struct wal_stream *stream, uint64_t id, struct wal_iter **ret_iter);

/*
 * The next entry. ret->data is valid until the next call on this iterator.
 *	WAL_END		no more now; call again later
 *	WAL_GAP		the ids ret->id … ret->id + ret->size - 1 are damaged (ret->data is NULL); the iterator has stepped over them
 *	WAL_PRUNED	the ids ret->id … ret->id + ret->size - 1 were pruned meanwhile; likewise
 *	< 0		the iterator stays where it is
 * May block on the disk.
 */
int wal_iter_next(struct wal_iter *iter, struct wal_entry *ret);

/* Moves it: the next entry is `id`. */
void wal_iter_seek(struct wal_iter *iter, uint64_t id);

/* NULL is allowed. */
void wal_iter_free(struct wal_iter *iter);

/*
 * A reader reads one entry in pieces, at any offsets, in bounded memory. What it returns has been verified: opening reads nothing; the first
 * wal_reader_read() of a large entry reads it through once to check it. Used by one thread at a time.
 */
struct wal_reader;

/* *ret_reader belongs to the caller; ret_info may be NULL. As wal_stream_lookup(). */
int wal_reader_open(struct wal_stream *stream, uint64_t id, struct wal_reader **ret_reader, struct wal_entry_info *ret_info);

/*
 * Whether the next wal_reader_read() may take long (a first pass over more than 1 MiB, or decompression of as much), so that a caller that must
 * not stall can hand it to another thread.
 */
bool wal_reader_is_slow(const struct wal_reader *reader, uint64_t offset);

/*
 * Up to `size` bytes from `offset` on; *ret_size says how many: fewer only at the end of the entry, 0 from there on. -EBADMSG: damaged.
 * WAL_PRUNED: its segment is gone. May block on the disk.
 */
int wal_reader_read(struct wal_reader *reader, void *data, size_t size, uint64_t offset, size_t *ret_size);

/* NULL is allowed. */
void wal_reader_close(struct wal_reader *reader);

/* ---- Checkpoints ----------------------------------------------------------------------------------------------------------------- */

/*
 * A checkpoint is a named, durable, consistent cut: for each stream the next id at one instant. An append that was acknowledged before wal_checkpoint_create() was called
 * is in it, one submitted after it returned is not, and if an append is in it, so is every append, to any stream, that was acknowledged before that one was submitted.
 *
 * Ids are 1 to WAL_CHECKPOINT_ID_MAX bytes of any content. Checkpoints are ordered by their times, which are made to increase. What is kept in memory of each is its id
 * and a few words.
 */
#define WAL_CHECKPOINT_ID_MAX 65535

/* Entries of `stream` with an id below `next_id` are covered. */
struct wal_cut {
	const char *stream;
	uint64_t next_id;
};

struct wal_checkpoint {
	const void *id; /* followed by a NUL that does not count */
	size_t id_size;
	int64_t time_ns; /* when it was made, Unix time */
	size_t cut_count;
	const struct wal_cut *cuts; /* sorted by stream, bytewise; of a sharded store by shard */
};

/*
 * Makes a checkpoint over all streams. First the cut is taken (no writer waits for that), then everything below it made durable whatever the sync mode, then the checkpoint
 * recorded: it is there only if all of that is durable. With an id that is in use the checkpoint moves here, or with WAL_EXCL in
 * `flags`: -EEXIST. Several may be under way at once.
 *	-EINVAL	 no id, or it is too long    -EROFS  read-only store	-EIO  something below the cut could not be made durable: the detail names the stream
 *	-ENOSPC … the checkpoint is not there, one that had the id still is
 * Blocks for the syncs.
 */
int wal_checkpoint_create(struct wal_store *store, const void *id, size_t id_size, unsigned flags, struct wal_error *err);

/*
 * The checkpoint, as one allocation that the caller frees with free(3). WAL_NOT_FOUND; -EBADMSG if its record is damaged. May read the disk; neither this nor _latest, _list or _count waits for
 * a sync of others.
 */
int wal_checkpoint_load(struct wal_store *store, const void *id, size_t id_size, struct wal_checkpoint **ret_checkpoint);

/*
 * The one that was made last. Of a store that another program left: the one that its HEAD names; where HEAD is missing (as it is as long as this library has the store open and makes checkpoints),
 * torn or names none that is there, the one with the latest time. As wal_checkpoint_load(); WAL_NOT_FOUND if there is none.
 */
int wal_checkpoint_latest(struct wal_store *store, struct wal_checkpoint **ret_checkpoint);

/*
 * All of them, from the oldest to the newest, as one allocation that the caller frees with free(3); cut_count and cuts are 0 and NULL: wal_checkpoint_load() has them.
 * Does not read the disk.
 */
int wal_checkpoint_list(struct wal_store *store, struct wal_checkpoint **ret_checkpoints, size_t *ret_count);

size_t wal_checkpoint_count(struct wal_store *store);

/* A number that is another one after any checkpoint was made, moved, removed, or forgot a stream; for caches over what the functions above return. Never waits. */
uint64_t wal_checkpoint_version(struct wal_store *store);

/* The cut of a stream. WAL_NOT_FOUND if the checkpoint knows none of that name. */
int wal_checkpoint_find(const struct wal_checkpoint *checkpoint, const char *stream, uint64_t *ret_next_id);

/* Removes it, durably. WAL_NOT_FOUND; -EROFS, -ENOSPC …: then it is still there. Blocks for a few syncs. */
int wal_checkpoint_remove(struct wal_store *store, const void *id, size_t id_size);

/* Keeps the `keep` newest, durably. *ret_removed (may be NULL). -EINVAL for 0; else as wal_checkpoint_remove(). */
int wal_checkpoint_compact(struct wal_store *store, size_t keep, size_t *ret_removed);

struct wal_prune_result {
	size_t streams;	   /* of which something was dropped */
	uint64_t segments; /* files dropped */
};

/*
 * wal_stream_prune() of every stream to the checkpoint's ids; streams that the checkpoint does not know are left alone. *ret (may be NULL) is filled on failure
 * too, and the first error returned after all were tried; `err` names the stream. WAL_NOT_FOUND if there is no such checkpoint.
 */
int wal_checkpoint_prune_before(struct wal_store *store, const void *id, size_t id_size, struct wal_prune_result *ret, struct wal_error *err);

/* ---- Restoring ------------------------------------------------------------------------------------------------------------------- */

/*
 * What makes a stream or a checkpoint again that existed elsewhere, with the ids and times it had there; for restores, copies and imports. Programs that
 * only log have no use for it.
 */

/*
 * Appends entries with the ids and times that they have: entries[0].id must be the stream's next id, each following one goes on without a gap, otherwise -EINVAL and nothing is
 * appended. A time that is not later than that of the entry before is made one nanosecond later; in a stream that holds no entries the first may have any. What lies before 1 or behind
 * INT64_MAX / 2 (the year 2116) counts as that. An append that follows goes on from there: it is 1 ns later if its own time would not be. Each becomes a frame of its own; but a run of entries that are 1 ns apart, as
 * the entries of a batch are, becomes a batch again, which is as good and smaller. Committed as WAL_SYNC_ASYNC does, or with WAL_DURABLE in `flags` durable when it returns, their times too. On
 * failure some of the first may be there: wal_stream_bounds() tells. Another append to the stream meanwhile makes it fail with -EINVAL. *ret_count (may be NULL) is how many were appended, on failure too. As
 * wal_stream_append_batch() otherwise; a count of 0 is nothing to do.
 */
int wal_stream_restore(struct wal_stream *stream, const struct wal_entry *entries, size_t count, unsigned flags, size_t *ret_count);

/*
 * The stream goes on with `next_id`, durably. Of a stream that holds no entries it becomes the first id, and those before count as pruned. In one that holds some, the ids from its next id up to
 * it are lost for good: reading them gives -EBADMSG, iterators WAL_GAP, wal_verify() notes them as known. 0 also if it is the next id already; -EINVAL if it lies before, or so
 * far on that ids would end. A crash leaves it done or not done. Blocks for several syncs. -ENOSPC and the like: the stream is as before.
 */
int wal_stream_skip(struct wal_stream *stream, uint64_t next_id);

/*
 * Records a checkpoint with the time and the cuts it has (in any order; of a sharded store: one for each shard). Everything below the cuts is made durable first. One that has the id is replaced, or with WAL_EXCL in `flags`: -EEXIST.
 * It is the latest if no other is newer. -EINVAL: no id, a stream twice, none of that name, a cut beyond its next id, shards missing, another checkpoint of the same time; `err` says which. Otherwise as wal_checkpoint_create().
 */
int wal_checkpoint_restore(struct wal_store *store, const struct wal_checkpoint *checkpoint, unsigned flags, struct wal_error *err);

/* ---- Sharded stores -------------------------------------------------------------------------------------------------------------- */

/*
 * A store made with `shards=N` has the N streams shard_00 … and no others, for ever: the number is recorded in its LOCK file, and what the directory shows is compared with that, with the option
 * and with the checkpoints at every open. A key (any bytes, none too) belongs to one shard: SipHash-1-3 of its length (8 bytes) and its bytes, modulo N, as ironwal does it
 * on 64-bit machines. The functions below return -EINVAL for a store that is not sharded.
 */

/* How many shards the store has; 0: it is not sharded. */
uint32_t wal_store_shards(const struct wal_store *store);

/* The shard of a key among `shards` (> 0). */
uint32_t wal_shard_of(const void *key, size_t key_size, uint32_t shards);

/* The stream of a shard, as wal_stream_open() gives it. Its name is wal_stream_name(). -EINVAL also: there is no such shard. */
int wal_shard_open(struct wal_store *store, uint32_t shard, struct wal_stream **ret_stream);

/* wal_stream_append() to the key's shard. ret_shard and ret_id may be NULL. */
int wal_shard_append(struct wal_store *store, const void *key, size_t key_size, const void *data, size_t size, unsigned flags, uint32_t *ret_shard,
		     uint64_t *ret_id);

/* One entry of wal_shard_append_batch(). */
struct wal_keyed_entry {
	const void *key;
	size_t key_size;
	const void *data;
	size_t size;
	/* out */
	int result; /* as wal_stream_append_batch() returned for its shard's batch */
	uint32_t shard;
	uint64_t id; /* if result is 0 */
};

/*
 * Appends each entry to the shard of its key, as one batch for each shard, in the order given; the shards' batches go in parallel. Atomic for each shard only: some may be
 * committed while others fail. Returns 0 if all were, else the first error in the order of `entries`. -EINVAL if count is 0.
 */
int wal_shard_append_batch(struct wal_store *store, struct wal_keyed_entry *entries, size_t count, unsigned flags);

/* wal_stream_append_batch() to the key's shard: atomic. ret_shard and ret_first_id may be NULL. */
int wal_shard_append_batch_for_key(struct wal_store *store, const void *key, size_t key_size, const struct iovec *entries, size_t count, unsigned flags,
				   uint32_t *ret_shard, uint64_t *ret_first_id);

/* ---- Checking and repairing ----------------------------------------------------------------------------------------------------- */

enum wal_finding_kind {
	WAL_FINDING_NOTE,   /* nothing is wrong: something known or foreign is there */
	WAL_FINDING_CACHE,  /* an index or sidecar that is missing or disagrees; the next open for writing makes it anew */
	WAL_FINDING_TORN,   /* an unfinished end, as a crash leaves it; the next open for writing sets it aside */
	WAL_FINDING_DAMAGE, /* entries or checkpoints that cannot be read */
	WAL_FINDING_ERROR,  /* something that could not be checked */
};

enum { WAL_FINDING_KINDS = WAL_FINDING_ERROR + 1 };

/* One thing found. The texts are valid during the call that gets it. */
struct wal_finding {
	enum wal_finding_kind kind;
	const char *stream;   /* NULL: the store as a whole */
	const char *file;     /* in the stream's directory or the store's; NULL: the directory */
	uint64_t offset;      /* in the file */
	uint64_t bytes;	      /* concerned, from there on */
	uint64_t first_id;    /* the entries concerned: */
	uint64_t ids;	      /* how many; 0: none */
	const char *expected; /* "the frame of id 7" */
	const char *found;    /* "checksum mismatch (id 7, 1 entries, 11 bytes)" */
	const char *action;   /* what wal_repair() does about it (or did); NULL: nothing */
};

/* What to check, and who is told. All-zero: everything, nobody. */
struct wal_check {
	const char *stream; /* only this one; NULL: all */
	bool dry_run;	    /* wal_repair(): change nothing */
	void (*finding)(void *arg, const struct wal_finding *finding);
	void (*progress)(void *arg, uint64_t done_bytes, uint64_t total_bytes); /* after every MiB or so */
	void *arg;
};

struct wal_check_result {
	uint64_t streams;
	uint64_t segments;
	uint64_t frames;
	uint64_t entries;
	uint64_t bytes; /* of segments read */
	uint64_t findings[WAL_FINDING_KINDS];
};

/*
 * Reads every byte of the store's streams: frames, checksums, ids, lengths, sidecars, index; and, unless it is asked for one stream, of its checkpoints. Changes nothing, takes no
 * lock; a store that is open for writing meanwhile is checked as far as it stands still. `opts` may be NULL; its log and read_buffer matter. 0 also if there are findings:
 * *ret_result has them counted; WAL_NOT_FOUND if there is no stream check->stream. Errors as wal_store_open(). Blocks on the disk for as long as reading takes.
 */
int wal_verify(const char *path, const struct wal_options *opts, const struct wal_check *check, struct wal_check_result *ret_result,
	       struct wal_error *err);

/*
 * Makes a damaged store whole again around the damage. Each finding is reported first, with what is done about it. Nothing is deleted: damaged bytes go to files
 * "<segment>.damaged.<n>" (a line that says what they were, then the bytes), a torn end to "<segment>.torn.<n>". A segment with damage in its middle is split around it, so
 * that intact entries keep their ids; the lost ids stay lost: reading them gives -EBADMSG, wal_verify() notes them as known. Bad bytes among the checkpoints go to
 * "checkpoints.log.damaged.<n>" and "checkpoints.log.torn.<n>" in the store's directory. Takes the store's lock (-EBUSY), syncs what it changes; a crash at any point leaves a store that can be repaired again. *ret_result counts the findings.
 */
int wal_repair(const char *path, const struct wal_options *opts, const struct wal_check *check, struct wal_check_result *ret_result,
	       struct wal_error *err);

#ifdef __cplusplus
}
#endif

#endif
