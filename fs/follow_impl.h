/* SPDX-License-Identifier: Apache-2.0 */
/* Between the parts of `.follow/ID`: follow.c opens, reads and ends it, follow_serve.c answers the reads, follow_poll.c is for poll(2). */
#ifndef WALFS_FOLLOW_IMPL_H
#define WALFS_FOLLOW_IMPL_H

#include "handle.h"
#include "parking.h"
#include "text.h"

enum follow_state {
	FOLLOW_IDLE,
	FOLLOW_SERVING,
	FOLLOW_WAITING,
};

struct follow {
	struct handle handle;
	uint64_t start_id;
	struct parking parking;

	/* protected by parking.lock */
	enum follow_state state;
	bool ended;    /* closed, or the mount ends */
	bool fired;    /* the watch has called back before the one who set it up was done */
	int result;    /* negative: nothing more will come, as a watch has said */
	uint64_t pos;  /* in the text, of the next byte; moved by who serves */
	uint64_t wait_id; /* waiting: for this one */
	struct fuse_pollhandle *poller; /* is to be told of the next entry */
	bool poll_armed; /* there is a watch for that, or will be in a moment; */
	bool poll_set;   /* there is, and it can be taken back */

	/* of who serves */
	struct text text;
	struct job job;
	struct wal_op watch;

	struct wal_op poll_watch; /* the loop's, while not armed */

	struct follow *next, **link; /* in fs->follows, protected by fs->lock */
};

static inline struct follow *follow_from(struct handle *handle)
{
	return handle_container(handle, struct follow, handle);
}

static inline uint64_t follow_next_id(const struct follow *follow)
{
	uint64_t next;

	wal_stream_bounds(follow->text.stream, NULL, &next, NULL);
	return next;
}

/* While it is not idle, and while a poller is to be told, it stays, and the mount too. */
void follow_get(struct follow *follow);
void follow_put(struct follow *follow);

/* Whether the text ends at `pos` now. -ENOENT: the stream is deleted. */
int follow_is_at_end(struct follow *follow, uint64_t pos, bool *ret_at_end);

/* What is to be said of the end. 0: more may come. */
int follow_end_errno(struct follow *follow);

/* ---- follow_serve.c ---- */

/* The loop has pushed a read of `size` bytes, and has made it serving. */
void follow_start(struct follow *follow, size_t size);

/* It waits, and is not to: the watch is taken back. */
void follow_unwatch(struct follow *follow);

/* ---- follow_poll.c ---- */

void follow_poll(struct handle *handle, fuse_req_t req, struct fuse_pollhandle *poller);

/* Caller holds the lock: whom to tell. */
struct fuse_pollhandle *follow_take_poller(struct follow *follow);

/* Without it. NULL is allowed. */
void follow_tell(struct fuse_pollhandle *poller);

/* The poller's watch is set, and is not to be: it is taken back. */
void follow_disarm(struct follow *follow);

#endif
