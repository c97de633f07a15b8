/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes that were read before they were asked for. They come in pieces, each for several requests: one thread gets the next piece while another answers out of the last. So there are two buffers, and who
 * uses one has taken it out.
 */
#ifndef WALFS_AHEAD_H
#define WALFS_AHEAD_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	AHEAD_MAX = 512 << 10, /* of a piece; each file that is open keeps two */
	AHEAD_ALL_MAX = 64 << 20, /* of all files together: beyond that what has no pieces yet is read without */
};

/* What the pieces of all files take. Zeros to begin with. */
struct ahead_memory {
	atomic_size_t bytes;
};

struct ahead_bytes {
	char *data; /* NULL: there is none */
	size_t room;
	size_t start, size; /* what is there, of that */
	uint64_t offset;    /* and where in the file that begins */
};

/* Any thread may call these. */
struct ahead {
	struct ahead_memory *memory;
	pthread_mutex_t lock;

	/* protected by lock */
	struct ahead_bytes ready;
	struct ahead_bytes next; /* right behind it */
	struct ahead_bytes spare;
};

/* `memory` outlives it. */
void ahead_init(struct ahead *ahead, struct ahead_memory *memory);
void ahead_release(struct ahead *ahead);

/* Takes out what there is, if it begins at `offset` and is at least `size` bytes. *ret goes back by ahead_give(). */
bool ahead_take(struct ahead *ahead, uint64_t offset, size_t size, struct ahead_bytes *ret);

/*
 * An empty buffer with room for `size` bytes, to be filled with what comes from `offset` on. False: it is not needed, since there is a piece of which nothing has been used yet; or there is no memory.
 */
bool ahead_take_room(struct ahead *ahead, uint64_t offset, size_t size, struct ahead_bytes *ret);

/* The first `size` bytes of it have been used. */
void ahead_skip(struct ahead_bytes *bytes, size_t size);

/* Gives back either, with the bytes that are in it now. What is there and neither ends nor begins where they begin or end is dropped: the reader has jumped. */
void ahead_give(struct ahead *ahead, struct ahead_bytes *bytes);

/* Gives memory back, when nothing is to be read soon. */
void ahead_rest(struct ahead *ahead);

#endif
