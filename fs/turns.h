/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The requests to one open file, one after the other. For files whose requests may have to wait for a commit: the next one finds what the one before
 * has left behind, and a FLUSH is answered when the commits before it are done. The kernel rarely sends a second one meanwhile, as it orders the writes
 * to one open file itself; different open files know nothing of each other.
 */
#ifndef WALFS_TURNS_H
#define WALFS_TURNS_H

#include <fcntl.h>

#include "handle.h"

enum turn_kind {
	TURN_WRITE,
	TURN_FLUSH,
	TURN_FSYNC,
	TURN_RELEASE, /* has no req: nobody waits for it */
};

struct turn {
	struct job job;
	struct turns *turns;
	struct turn *next;
	enum turn_kind kind;
	fuse_req_t req;
	uint64_t owner;
	bool durable; /* a WRITE to a file opened with O_SYNC or O_DSYNC */
	size_t size;  /* of a WRITE */
	const char *data; /* valid until run() returns */
};

struct turns {
	struct handle *handle;
	/* Ends with turns_answer(), then or later. It has the handle's state to itself until then. */
	void (*run)(struct handle *handle, const struct turn *turn);
	pthread_mutex_t lock;

	/* protected by lock */
	bool busy;
	struct turn *first, **last;
};

void turns_init(struct turns *turns, struct handle *handle, void (*run)(struct handle *handle, const struct turn *turn));
void turns_release(struct turns *turns);

/* Runs it now, or copies it and runs it on the pool when its turn comes. The handle is kept until turns_answer(). ENOMEM is answered here. */
void turns_submit(struct turns *turns, const struct turn *turn);

/*
 * Lets the next one go on, and answers `req`: with `written` if it is not 0 and `error` is. NULL: nobody waits, or it is answered elsewhere. From any
 * thread; the handle may be gone afterwards.
 */
void turns_answer(struct turns *turns, fuse_req_t req, int error, size_t written);

static inline void turns_write(struct turns *turns, fuse_req_t req, const char *data, size_t size, const struct fuse_file_info *fi)
{
	turns_submit(turns, &(struct turn){ .kind = TURN_WRITE, .req = req, .owner = fi->lock_owner, .durable = fi->flags & (O_SYNC | O_DSYNC),
					    .size = size, .data = data });
}

#endif
