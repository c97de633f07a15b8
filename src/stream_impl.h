/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct wal_stream, as its own files (stream*.c, and the readers and writers over it) see it.
 *
 * Lock order:	store.lock -> stream.meta_lock | stream.space_lock -> stream.lock -> leaves (segcache, blockcache, workers, segment.map_lock, engine.warm)
 *
 * stream.lock		everything that says what the stream is: ids, segments, queues, health. Never held over a system call.
 * stream.space_lock	what of the active segment is allocated and reserved. Held over fallocate, never over a sync.
 * stream.meta_lock	one writer at a time in the sidecar of the active segment, so that an older state of a block never replaces a newer one. Held over
 *			pwrite, never over a sync.
 *
 * Three tokens, booleans under stream.lock, are held over system calls instead of a lock:
 *
 * pruning		its holder alone drops segments. It takes `writing` for as long as it changes the index; no holder of another token waits for it.
 * writing		its holder alone writes frames, extends the sidecar, rotates, and changes which segments there are.
 * syncing		its holder alone syncs the active segment; a rotation takes it too, so that the segment does not change under a sync.
 *			Who holds `writing` may wait for `syncing`, never the other way round.
 *
 * The way of an append:
 *
 *	submitted --> queue --(writing: frame written, id given)--> commits --(durable if it must be, all before it done)--> done
 *		        \--- failed: nothing of it is in the file          \--- failed sync: cut off again, the stream stops
 *
 * `queue` and `commits` are in id order, and so are completion and visibility: an append that needs no sync itself waits behind one that does. `syncs` are
 * those that only wait for a durable id. Whoever finds work to do and may block does it (an appender that waits anyway); else a worker does.
 */
#ifndef WAL_STREAM_IMPL_H
#define WAL_STREAM_IMPL_H

#include <pthread.h>
#include <stdatomic.h>

#include "blockcache.h"
#include "crc32.h"
#include "frame.h"
#include "meta.h"
#include "names.h"
#include "segcache.h"
#include "segindex.h"
#include "sleeper.h"
#include "stats.h"
#include "worker.h"

/* Streams that have their buffers: see stream_idle.c. */
struct warm_streams {
	pthread_mutex_t lock; /* a leaf, but for stream.lock, which is only tried under it */
	/* protected by lock */
	struct wal_stream *head;
	struct wal_stream **tail;
	size_t count;
};

/* What all streams of a store share. */
struct engine {
	struct env env;
	struct segcache *segcache;
	struct blockcache *blockcache;
	struct workers *workers; /* NULL: read-only */
	atomic_uint_fast64_t next_key;
	atomic_uint_fast64_t cut_epoch; /* goes up by one at each cut; see cut.c */
	struct warm_streams warm;
	struct stream_stats uncounted; /* where counters go for which there is no memory; never read */
};

struct op_list {
	struct wal_op *head;
	struct wal_op **tail;
	unsigned count;
};

/* Whether a sync that is due waits a moment for more that need it: see stream_commit.c. */
struct gathering {
	uint64_t ended_ns;  /* when the last sync was over, */
	uint64_t sync_ns;   /* how long it took, */
	unsigned expected;  /* and how many ops there were then, of those that it ended and those that came meanwhile */
	bool decided;	    /* about the sync that is due, */
	bool paused;	    /* and it was to wait, */
	uint64_t until_ns;  /* until then; 0: not at all, or no longer */
	unsigned losses;    /* in a row: not all came that were waited for */
	unsigned left_out;  /* syncs that are not to wait, for that */
};

struct active_segment {
	uint64_t first_id;
	atomic_uint_fast64_t end; /* behind the last whole frame; written by the holder of `writing` under lock, read with space_lock too */
	uint64_t frames;
	uint64_t durable_end;
	uint64_t durable_frames;
};

struct wal_stream {
	/* constant */
	struct engine *engine;
	uint64_t key;		 /* in the caches; never used again */
	struct wal_store *store; /* store.c's */
	struct wal_stream *next_in_bucket; /* store_streams.c's, protected by store.lock */

	atomic_uint refs;	 /* the store's table, handles, ops under way, drafts, readers */

	/* what readers look at most, published under lock */
	atomic_uint_fast64_t pub_first;
	atomic_uint_fast64_t pub_next;
	atomic_uint_fast64_t pub_durable;
	atomic_int_fast64_t pub_mtime;
	uint64_t timed_id; /* see wal_stream_timed_id(); UINT64_MAX: all are. Set when it is opened */

	_Atomic(struct stream_stats *) stats; /* NULL: nothing has happened yet */

	pthread_mutex_t lock;
	pthread_cond_t turn;	/* a token was given back */
	pthread_cond_t changed; /* entries became visible, or the stream is gone */
	/* protected by lock */
	unsigned watchers;	     /* threads that wait for `changed` */
	struct id_array segments;    /* their first ids; the last is the active one */
	uint64_t next_id;	     /* behind the last written entry; ids from pub_next on are not visible yet */
	uint64_t durable_id;
	struct active_segment active;
	struct crc32_joint joint;    /* the holder of `writing`'s */
	struct segcache_hold hold;   /* likewise: of the active segment */
	bool writing;
	bool syncing;
	bool pruning;
	bool index_unsure;	     /* segments.idx may not list just `segments`: it is to be written whole */
	uint64_t born_epoch;	     /* engine.cut_epoch when it was made: no earlier cut has it */
	uint64_t cut_epoch;	     /* the last epoch that an append or a cut has seen, */
	uint64_t cut_id;	     /* and next_id when that began; see cut.c */
	bool sync_assigned;	     /* someone has been told to sync and will, */
	struct sleeper *leader;	     /* this one; NULL: a worker, once it comes to it */
	struct gathering gathering;
	bool touched;		     /* the files are not as a clean close leaves them */
	struct op_list queue;
	struct op_list commits;
	struct op_list syncs;
	struct op_list watches;	     /* op->internal.end_id is the id waited for */
	struct op_list done;	     /* to be called back once the lock is released */
	struct op_list ended;	     /* their submitters are to be woken: by stream_unlock() */
	struct worker_task write_task;
	struct worker_task sync_task;
	bool calling_back;	     /* someone is at st->done */
	bool stopping;		     /* stream_stop() is still to be called */
	bool deleted;
	bool quarantined;	     /* it could not be opened: there may be more than next_id tells of */
	enum wal_health health;
	char *reason;		     /* see stream_reason() */
	enum wal_tail_state tail;
	uint64_t tail_offset;
	uint64_t tail_bytes;
	uint64_t reported_segment;   /* the damaged frame that was last logged, */
	uint64_t reported_offset;    /* + 1, so that 0 is none */
	/* The sidecar's state; meta.block holds its last block as far as it is published. The holder of `writing` alone changes it, or whoever holds the lock while nobody has the token. */
	struct meta_writer meta;
	uint8_t *meta_work;	     /* the other block buffer: the holder of `writing` works in it; NULL until it does */
	size_t meta_common;	     /* as many bytes of records are the same in both, and the header; 0: nothing is */
	bool meta_compact;	     /* meta.block has room for what is in it, no more */
	uint64_t *sums;		     /* payload bytes before each segment, as far as known; see stream_stat.c */
	size_t sums_count;

	struct id_array doomed;	     /* the holder of `pruning`'s: segments that are dropped, and whose files are still to be removed */

	pthread_mutex_t space_lock;
	/* protected by space_lock; atomic are those that the holder of `writing` looks at without, see stream_allocate() */
	atomic_uint_fast64_t allocated; /* the active segment's file has this size */
	atomic_uint_fast64_t reserved; /* bytes of frames of drafts, until those are freed */
	atomic_uint_fast64_t in_flight; /* the holder of `writing`'s: bytes that are being written behind the end, of what was not reserved */
	bool no_fallocate;	     /* the file system can't */
	uint64_t zeroed;	     /* the holder of `writing`'s: zeros have been written up to here, if it is behind the end */

	pthread_mutex_t meta_lock;
	/* protected by meta_lock */
	uint64_t meta_full;	     /* blocks written in full: never written again */
	uint64_t meta_ahead;	     /* what is written of the last block tells of ids below this: no state from before may replace it */
	bool meta_unsynced;	     /* times of restored entries have been written since the sidecar was synced */
	int meta_fd;		     /* >= 0: the sidecar is in this temporary file, for want of a better place */
	struct id_array old_meta_fds; /* of segments that were sealed since: whoever had one pinned may still look there */
	atomic_int_fast64_t meta_flushed_ns; /* when the last block was last written; read without the lock */

	/* protected by engine.warm.lock */
	bool warm;
	struct wal_stream *next_warm;

	char name[]; /* constant */
};

/* ---- stream.c ---- */

/* A stream without any state; stream_recover() or stream_create() fills it. One reference, the caller's. */
struct wal_stream *stream_new(struct engine *engine, const char *name);
void stream_ref(struct wal_stream *st);
void stream_unref(struct wal_stream *st);
/* Whatever references there are: at the end of a store. */
void stream_free(struct wal_stream *st);

/* Caller holds st->lock: makes visible what is, and wakes who waits for it. Watches go to st->done: stream_call_back() is to follow. */
void stream_publish(struct wal_stream *st);

/* Caller holds st->lock: all watches end with `result`. */
void stream_end_watches(struct wal_stream *st, int result);

/*
 * Caller holds st->lock, and is about to change next_id: what it is until then belongs to the last cut, if that has not been here yet. See cut.c.
 */
static inline void stream_see_cut(struct wal_stream *st)
{
	uint64_t epoch = atomic_load_explicit(&st->engine->cut_epoch, memory_order_acquire);

	if (st->cut_epoch != epoch) {
		st->cut_epoch = epoch;
		st->cut_id = st->next_id;
	}
}

/* The request for the segment number `index`. Caller holds st->lock (or nobody else knows the stream). */
struct segcache_request stream_segment_request(const struct wal_stream *st, size_t index);

/* Whether the segment that begins with `first_id` is one of the stream's still. Takes st->lock. */
bool stream_has_segment(struct wal_stream *st, uint64_t first_id);

/* Pins the active segment: of this moment, unless the caller holds `writing` or `syncing`. No lock held. */
int stream_pin_active(struct wal_stream *st, struct segment **ret_segment);

/* ---- stream_idle.c ---- */

/* For recovery, when nobody else knows the stream: the sidecar is as `w` has it, whose last block is copied. -ENOMEM. */
int stream_meta_keep(struct wal_stream *st, const struct meta_writer *w);

/* Caller holds `writing`, and no lock. A writer that goes on from what is published, in a block of its own that has room. -ENOMEM. */
int stream_meta_begin(struct wal_stream *st, struct meta_writer *ret);

/* Caller holds st->lock and `writing`. What was written since stream_meta_begin() is published. */
void stream_meta_publish(struct wal_stream *st, const struct meta_writer *w);

/* The stream is about to be freed. */
void stream_forget_idle(struct wal_stream *st);

void warm_streams_init(struct warm_streams *warm);
void warm_streams_release(struct warm_streams *warm);

struct stream_stats *stream_stats_new(struct wal_stream *st);

/* Its counters, to add to. Who only looks takes st->stats, and NULL for zeros. */
static inline struct stream_stats *stream_stats(struct wal_stream *st)
{
	struct stream_stats *stats = atomic_load_explicit(&st->stats, memory_order_acquire);

	return stats ? stats : stream_stats_new(st);
}

/* Caller holds st->lock, or nobody else knows the stream. It is cut to the length that wal_stream_stat() tells. */
void stream_set_reason(struct wal_stream *st, const char *reason);

/* Why it is not healthy; "" if it is. Caller holds st->lock, or nobody changes it any more. */
const char *stream_reason(const struct wal_stream *st);

/* ---- stream_recover.c, recover_active.c ---- */

/*
 * Fills a new stream from its directory, see the comment there. WAL_NOT_FOUND if the directory is no stream's; -EBADMSG with WAL_ON_CORRUPTION_ERROR; other errors as
 * met. Blocks, syncs what it changes.
 */
int stream_recover(struct wal_stream *st, struct wal_error *err);

/*
 * For a stream that stream_recover() could not open: what it has in sealed segments can be read, nothing can be appended, and `reason` says why. -ENOMEM.
 */
int stream_quarantine(struct wal_stream *st, const char *reason);

/*
 * An empty sidecar for a new segment. It is there whenever the segment's name is durable, and so tells who made the segment: see scan.h.
 */
int stream_create_meta(struct wal_stream *st, int dir_fd, uint64_t first_id);

/* Makes the files of an empty stream in the existing empty directory, durably, and fills the new stream. */
int stream_create(struct wal_stream *st);

/* ---- stream_stat.c ---- */

/* Caller holds st->lock, which is released meanwhile: when this returns 0, st->sums has one for each segment. */
int stream_complete_sums(struct wal_stream *st);

/* Counts an append, or a piece of one, that failed. Shared. */
void stream_count_append_error(struct wal_stream *st, int result);

/* Counts a read of entries that ended with `result`; returns that. Shared. */
int stream_count_read(struct wal_stream *st, int result, uint64_t entries, uint64_t bytes);

/* ---- stream_ops.c ---- */

/* A payload that has been put together already: a batch, or anything compressed. */
struct wal_payload {
	uint8_t type;
	uint32_t raw_size;
	uint32_t disk_size;
	uint32_t crc; /* of the payload alone */
	uint8_t head[FRAME_HEADER_BYTES]; /* the frame's, filled in when it is written: so that header and payload are one piece */
	uint8_t data[];
};

static_assert(offsetof(struct wal_payload, data) == offsetof(struct wal_payload, head) + FRAME_HEADER_BYTES, "no padding between header and payload");

/* What an op that restores entries asks for. */
struct wal_restored {
	uint64_t first_id; /* it is not written with another one */
	int64_t time_ns;   /* of the first, unless it has to be later */
	bool *failed;	   /* protected by st->lock: an op before it failed, so neither is this one written */
};

/* Times that are restored lie between these, so that there is always a later one. */
#define RESTORED_TIME_MIN INT64_C(1)
#define RESTORED_TIME_MAX (INT64_MAX / 2)

static inline bool op_is_sync(const struct wal_op *op)
{
	return op->count == 0 && !op->internal.draft;
}

/* In a temporary file: it is copied in pieces, which takes its time. */
static inline bool op_is_spilled(const struct wal_op *op)
{
	return op->internal.draft && op->count == 0;
}

static inline uint64_t op_entries(const struct wal_op *op)
{
	return op_is_spilled(op) ? 1 : op->count;
}

/* Frees what was put together for it; its draft too. */
void op_release(struct wal_op *op);

static inline void op_list_init(struct op_list *list)
{
	list->head = NULL;
	list->tail = &list->head;
	list->count = 0;
}

static inline void op_list_push(struct op_list *list, struct wal_op *op)
{
	op->internal.next = NULL;
	*list->tail = op;
	list->tail = &op->internal.next;
	list->count++;
}

/* NULL if there is none. */
static inline struct wal_op *op_list_pop(struct op_list *list)
{
	struct wal_op *op = list->head;

	if (op) {
		list->count--;
		list->head = op->internal.next;
		if (!list->head)
			list->tail = &list->head;
	}
	return op;
}

/*
 * An op whose submitter waits. `done` is stream_op_wakes, and it is woken through `sleeper`: at the end of the op, which it learns of without the lock, or to lead, as which it does the writing or
 * syncing for all.
 */
struct waiting_op {
	struct wal_op op;
	struct sleeper sleeper;
	/* protected by st->lock */
	bool finished; /* but the submitter goes on only when it has been woken for that: until then it is on st->ended, or in the hands of whoever took that */
	bool lead_write;
};

void stream_op_wakes(struct wal_op *op);

/* Caller holds st->lock. Ends an op: stream_unlock() and stream_call_back() are to follow, which tell its submitter. */
void stream_op_finish(struct wal_stream *st, struct wal_op *op, int result);

/* Releases st->lock, then wakes those whose ops have ended: they find it free if they come back. */
void stream_unlock(struct wal_stream *st);

/* Caller holds st->lock, which is released meanwhile: calls back what is on st->done, and wakes what is on st->ended. */
void stream_call_back(struct wal_stream *st);

/* ---- stream_write.c ---- */

enum { GROUP_OPS_MAX = 64 }; /* ops that one write holds */

/* Ids do not wrap: appends end where the next group could. Only a segment's forged name leads there. */
#define NEXT_ID_MAX (UINT64_MAX - ((uint64_t)GROUP_OPS_MAX << 32))

/* Whether the frame belongs into the next segment, if `bytes` and `entries` come before it into this one. Caller holds st->lock. */
bool stream_needs_rotation(const struct wal_stream *st, const struct wal_op *op, uint64_t bytes, uint64_t entries);

/* False if the op restores entries and can't any more, with `entries` before it. Caller holds st->lock. */
bool stream_may_restore(const struct wal_stream *st, const struct wal_op *op, uint64_t entries);

/* Caller holds st->lock, which is released meanwhile, and `writing`; the queue is not empty. Writes what one write can hold. */
void stream_write_some(struct wal_stream *st);

/* ---- stream_append.c ---- */

/*
 * Submits the ops together, each to be written as restored[i] of it says. The caller is one that waits for them: rotations are done by it. As after wal_stream_submit() each `done` is called.
 */
void stream_submit_restored(struct wal_stream *st, struct wal_op *const *ops, const struct wal_restored *restored, size_t count);

/* The engine's side of wal_draft_submit() and wal_draft_commit(). `entry` is room that lives as long as the draft. */
void stream_submit_draft(struct wal_stream *st, struct wal_draft *draft, struct wal_op *op, struct iovec *entry);
int stream_commit_draft(struct wal_stream *st, struct wal_draft *draft, unsigned flags, uint64_t *ret_id);

/* What st->write_task and st->sync_task run; they hold a reference of their own. */
void stream_run_write_task(struct worker_task *task);
void stream_run_sync_task(struct worker_task *task);

/* Caller holds st->lock. Waits for the token and takes it; -EIO, -ENOENT at once if the stream takes no more appends. Gives it back and lets others go on. */
int stream_take_writing(struct wal_stream *st);
void stream_give_writing(struct wal_stream *st);

/* ---- stream_commit.c ---- */

/* Caller holds st->lock. True if `op` must be durable before it is done. */
bool stream_op_syncs(const struct wal_stream *st, const struct wal_op *op);

/* Caller holds st->lock: ends all ops whose turn has come, and publishes. */
void stream_advance(struct wal_stream *st);

/* Caller holds st->lock: if someone waits for a sync, or much is not durable, and nobody is about to do one, tells the first that may block, or a worker. */
void stream_kick_sync(struct wal_stream *st);

/*
 * The same by someone who may do it, and sleeps in `self` otherwise. True: stream_sync_lead() is to follow. Else, if *ret_until_ns is not 0, `self` is who sees to it that there is a sync even if
 * nobody else comes until then: at that time stream_end_gathering() and this again.
 */
bool stream_leads_sync(struct wal_stream *st, struct sleeper *self, uint64_t *ret_until_ns);
void stream_end_gathering(struct wal_stream *st, const struct sleeper *self);

/* Caller holds st->lock, which is released meanwhile, and has been told to. Does one sync if one is wanted and nobody is at it. */
void stream_sync_lead(struct wal_stream *st);

/*
 * Caller holds st->lock. From now on the stream takes no more appends, and nobody syncs it. The rest is for the holder of `writing`, who finds st->stopping set: it
 * calls stream_stop(), which fails what is not committed and cuts it off the file (the lock is released meanwhile).
 */
void stream_mark_stopped(struct wal_stream *st, int error, const char *what);
void stream_stop(struct wal_stream *st);

/* Caller holds st->lock: counts a sync of the active segment that began at `begin_ns` and was to make everything below `durable_id` durable, before that is noted. */
void stream_count_sync(struct wal_stream *st, uint64_t begin_ns, uint64_t durable_id, int result);

/* Caller holds st->lock: waits until nobody syncs and takes `syncing`. */
void stream_take_syncing(struct wal_stream *st);
void stream_give_syncing(struct wal_stream *st);

/* Writes the sidecar's last block as it is published now, for the next open to find. Errors only cost that. No lock held. */
void stream_flush_meta(struct wal_stream *st);

/*
 * Caller holds `writing`, and no lock. Writes the last block of `w` to the sidecar `fd` before the frames that it tells of, and before it is published. Errors cost the times of these if the process dies before the block is
 * written again.
 */
void stream_meta_write_ahead(struct wal_stream *st, int fd, const struct meta_writer *w);

/* Likewise. Nothing came of the frames: the sidecar is as it is published again, or the next ones could be taken for them. */
void stream_meta_take_back(struct wal_stream *st, int fd);

/* ---- stream_space.c ---- */

/* Extends the active segment's allocation so that what is reserved and `bytes` more fit behind its end. Caller holds `writing`. -ENOSPC, -EDQUOT … */
int stream_allocate(struct wal_stream *st, struct segment *segment, uint64_t bytes);

/*
 * A group of frames is about to be written up to `end`; the last `unsynced` bytes before that will not be durable then. Writes zeros behind it where that makes the syncs to come shorter. Errors
 * only cost that. Caller holds `writing`, and no lock.
 */
void stream_write_zeros(struct wal_stream *st, struct segment *segment, uint64_t end, uint64_t unsynced);

/* Reserves `bytes` for a frame that is still to come; from any thread. Fails for what an append would fail for now. */
int stream_reserve(struct wal_stream *st, uint64_t bytes);
void stream_unreserve(struct wal_stream *st, uint64_t bytes);

/*
 * Frames of `bytes` have been written behind the active segment's end, and what was reserved for them is used up: at once, or the same bytes would be counted twice until they are published,
 * and the next reservation seem not to fit. No lock held.
 */
void stream_spend(struct wal_stream *st, uint64_t reserved, uint64_t bytes);

/* Cuts the active segment's file at `offset`, and what was allocated behind it, except what is reserved. Caller holds `writing`. */
int stream_cut(struct wal_stream *st, struct segment *segment, uint64_t offset);

/* Cuts off what is allocated behind the active segment's end, except what is reserved: a full disk needs it more. Caller holds `writing`, and no lock. */
int stream_give_back_space(struct wal_stream *st);

/* How far to allocate a file that has frames up to `end`. */
uint64_t stream_allocation_step(uint64_t end, uint64_t segment_size);

/* ---- stream_rotate.c ---- */

/* Caller holds st->lock, which is released meanwhile, and `writing`. See the crash order there. -ENOSPC, -EDQUOT …: the stream goes on in the old segment. */
int stream_rotate(struct wal_stream *st);

struct stream_skip {
	bool drops_old;		       /* the stream has no entries: the old segment is not one of it any more */
	char record[NAME_SEGMENT_MAX]; /* out: the name of the file that tells of the ids */
};

/* The same, and the stream goes on with `id`, above its next one. A failure leaves it where it was, or stopped. */
int stream_rotate_skipping(struct wal_stream *st, uint64_t id, struct stream_skip *skip);

/* At the end of a store: everything durable, the file cut to its length, the sidecar complete. No lock held, nothing else under way. */
int stream_finish(struct wal_stream *st);

/* ---- stream_prune.c ---- */

/* Caller holds st->lock. */
void stream_take_pruning(struct wal_stream *st);
void stream_give_pruning(struct wal_stream *st);

/* Removes the files of what is in st->doomed. Caller holds `pruning`, and no lock. */
int stream_remove_doomed(struct wal_stream *st, uint64_t *ret_removed);

/* ---- stream_read.c ---- */

/* A place in a stream for reading: the segment is pinned until stream_view_release(). */
struct stream_view {
	struct wal_stream *stream;
	struct segment *segment;
	struct meta_view meta;
	uint64_t first_id; /* of the segment */
	uint64_t end_id;   /* visible ids of it end here */
	uint64_t before_id; /* of the segment before it */
	uint64_t size;	   /* bytes of it that may be read */
	uint8_t last[META_BLOCK_BYTES];
};

/* The segment that holds visible id `id`. WAL_NOT_FOUND, WAL_PRUNED. */
int stream_view_open(struct wal_stream *st, uint64_t id, struct stream_view *view);
void stream_view_release(struct stream_view *view);

/*
 * The sidecar of the view's segment turned out to be bad, where `id` was looked for: it is only a cache, so it is made anew, once, and the view goes on with that. The active one's is not:
 * -EBADMSG.
 */
int stream_view_mend(struct stream_view *view, uint64_t id);

/* The entry in the view. -EBADMSG if it lies in a gap; its bounds are then in *ret. */
int stream_view_find(struct stream_view *view, uint64_t id, struct meta_cursor *c, struct meta_entry *ret);

/* Logs that the frame of `e` can't be read, unless that is the last thing that was logged of the stream; returns -EBADMSG. */
int stream_damaged(struct wal_stream *st, const struct segment *segment, const struct meta_entry *e, const char *expected, const char *found);

/* 0 if the crc computed is that of the header, else as stream_damaged(). */
int stream_check_crc(struct wal_stream *st, const struct segment *segment, const struct meta_entry *e, const struct frame_header *h, uint32_t crc);

/* Logs that the file of a segment is not there; returns -EBADMSG. */
int stream_missing(struct wal_stream *st, uint64_t first_id);

enum { FRAME_BYTES_LARGE = 4 << 20 }; /* frames above this are not read whole, nor kept in the block cache */

/* Checks that the header is the one that the sidecar tells of, for the frame of `e`. */
int stream_check_header(struct wal_stream *st, const struct segment *segment, const struct meta_entry *e, const uint8_t *bytes,
			struct frame_header *ret);

/*
 * The verified raw payload of the frame of `e`, from the block cache if it is there. Give it back with blockcache_put(). -EFBIG if the frame is large, on disk
 * or in memory.
 */
int stream_read_block(struct stream_view *view, const struct meta_entry *e, struct block **ret_block);

/* wal_stream_get(), but -EFBIG if the entry's frame is large. */
int stream_get_whole(struct wal_stream *st, uint64_t id, struct wal_buf *buf);

/* ---- reader.c ---- */

/* A reader of the entry that `e` tells of. */
int reader_new(struct wal_stream *st, const struct meta_entry *e, struct wal_reader **ret_reader);

/* Goes on with another entry; what was checked or decompressed of a large frame stays, if it is of the same one. */
void reader_move(struct wal_reader *reader, const struct meta_entry *e);

/* Makes room for `size` bytes in `buf`; what is in it may be lost. -ENOMEM. */
int buf_reserve(struct wal_buf *buf, size_t size);

/* ---- draft.c ---- */

struct draft_source {
	const uint8_t *data; /* or NULL: */
	int fd;		     /* the temporary file */
	uint64_t size;
};

/* What it holds; valid until it is freed. */
void draft_source(const struct wal_draft *draft, struct draft_source *ret);
/* The bytes that are reserved for its frame: all of it once something was written. */
uint64_t draft_reserved(const struct wal_draft *draft);
/* The same, and it has none any more: stream_spend() is to follow. */
uint64_t draft_spend(struct wal_draft *draft);

#endif
