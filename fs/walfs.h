/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct walfs: one mounted store.
 *
 * The loop, one thread at a time, receives the requests and answers most of them at once. What waits for a sync is answered by the library's threads
 * from struct wal_op.done, or in place by the thread that was the loop when nobody else waits for one (loop.h); what may wait for the disk otherwise by the pool. So every handler that does not answer before it returns is
 * counted between walfs_begin() and walfs_end(), and the session lives until the count is zero.
 *
 * Lock order:  append.lock  ->  walfs.lock | turns.lock | namespace.lock | checkpoints.lock | cuts.lock | pool.lock | expire.lock | parking.lock | loop.lock (leaves). None is held while the library is called, except
 * append.lock, around drafts (which never call back); none while a request is answered.
 */
#ifndef WALFS_H
#define WALFS_H

#define FUSE_USE_VERSION FUSE_MAKE_VERSION(3, 14)
#include <fuse_lowlevel.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "ahead.h"
#include "expire.h"
#include "loop.h"
#include "mount_opts.h"
#include "pool.h"
#include "report.h"
#include "requests.h"
#include "wal.h"

struct checkpoints;
struct cuts;
struct follow;
struct handle;
struct namespace;
struct statsfile;

struct walfs {
	const struct mount_opts *opts;
	struct report *report;
	struct wal_store *store;
	bool ro; /* asked for, or because the store cannot be written */
	struct namespace *names;
	struct checkpoints *checkpoints;
	struct cuts *cuts; /* what is below `.at` */
	struct pool pool;
	struct loop loop;
	struct ahead_memory ahead;
	struct expire expire;
	struct fuse_session *session;
	struct requests requests;
	atomic_uint syncs_waiting; /* begun with callbacks, by sync.h */
	atomic_size_t batch_bytes; /* held by all files that are open as `.batch` */
	size_t read_max; /* what the kernel asks for at once */
	/* Only the loop looks: the thread for which the kernel looks for the name of this unlisted directory; see dir.c */
	pid_t rejoin_pid;
	uint64_t rejoin_ino;
	uint64_t generation; /* of every node; differs from mount to mount as slots do: an NFS client's old handles are stale */

	pthread_mutex_t lock;
	pthread_cond_t idle;
	/* protected by lock */
	uint64_t in_flight;
	struct handle *handles; /* all that are open */
	bool stats_busy;	/* the figures of the store are being put together: */
	struct statsfile *stats_first, *stats_last; /* those who want them too wait for their turn */
	struct follow *follows; /* of those, what follows a stream */
	bool follow_stopped;
};

static inline struct walfs *walfs_from(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* `opts` and `report` must outlive it. The store is opened later. */
void walfs_init(struct walfs *fs, const struct mount_opts *opts, struct report *report);

/* -EIO and the like with detail in `err`, as wal_store_open() and namespace_new(). Afterwards end it by walfs_close(). */
int walfs_open(struct walfs *fs, const char *store_path, struct wal_error *err);

/* Around whatever is answered after its handler returned; from any thread. */
void walfs_begin(struct walfs *fs);
void walfs_end(struct walfs *fs);

/* Waits until everything begun has ended. For when no more requests come in. */
void walfs_drain(struct walfs *fs);

/* Drops what is still open, closes the store. Returns what wal_store_close() does. */
int walfs_close(struct walfs *fs);

/* What a result of the library is as a positive errno for the kernel; 0 for 0. */
int walfs_errno(int result);

/* The same for what is done to a file that is open: its stream may have been deleted (-ENOENT), and it is the file that has become of no use. ESTALE. */
int walfs_errno_open(int result);

/* fuse_reply_err(), counted; 0 is success. */
int walfs_reply_err(fuse_req_t req, int error);

struct timespec walfs_timespec(int64_t ns);

#endif
