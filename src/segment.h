/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One segment, open: the descriptors of its file and of its sidecar, or with WAL_READ_MMAP the map of the sidecar, and of the file itself if it is sealed. What is not mapped is read
 * when it is looked for: it is in nobody's memory but the kernel's, and where the disk fails there is an error to return.
 *
 * A sealed segment's sidecar is checked against it when it is opened, and made anew if it does not lead from the first id and offset 0 to the last id
 * and the end of the file. The active segment's sidecar is the stream's affair (recover_active.c): the last block is in the stream's memory, and this file only maps or
 * reads the full ones before it.
 */
#ifndef WAL_SEGMENT_H
#define WAL_SEGMENT_H

#include <pthread.h>
#include <stdatomic.h>

#include "log.h"
#include "lru.h"
#include "meta.h"
#include "sys.h"

/* What every part of the engine needs to get at the disk; one for each store. */
struct env {
	struct sys *sys;
	struct log log;
	int root_fd;
	struct wal_options opts; /* defaults filled in */
};

struct segment_map {
	struct segment_map *retired; /* smaller ones, which readers may still look at */
	const uint8_t *data;
	size_t size;
	_Atomic uint8_t *verified;
};

struct segment {
	/* segcache.c's, protected by its lock */
	struct lru_node node;
	unsigned pins;
	struct segcache_hold *hold; /* one of the pins is this one's */
	bool cached;
	bool opening;
	uint64_t pinned_at;   /* the cache's clock then */
	uint64_t loaded_bytes; /* WAL_READ_MMAP: of its maps that may be in memory, as the cache counts them; 0: see segment_unload() */

	/* constant while it is pinned */
	uint64_t first_id;
	bool active;
	int fd;
	uint64_t size;	     /* sealed: of the file */
	const uint8_t *data; /* sealed and WAL_READ_MMAP: the file, else NULL */
	uint64_t blocks;     /* sealed: of the sidecar */
	bool made_anew;	     /* sealed: the sidecar was, when this was opened */
	int meta_fd;	     /* the sidecar; -1 if it is not needed: sealed and mapped, or `last` is all of it */
	bool meta_borrowed;  /* it is someone else's to close */
	uint8_t *last;	     /* sealed and not mapped: the last block, checked. Most searches begin there, and most sidecars have no other; else NULL */

	/* What was read last of a sidecar that is not mapped. Whoever looks there takes it away and gives it back, so that the next one need not read it again. NULL: nobody has, or someone does */
	_Atomic(struct meta_window *) window;

	pthread_mutex_t map_lock; /* a leaf */
	struct segment_map *map;  /* WAL_READ_MMAP: the sidecar; protected by map_lock while active, constant when sealed */
};

/* The directory of stream `name`. */
int segment_open_dir(const struct env *env, const char *name);

/* Where a sealed segment stands in its stream. */
struct segment_range {
	uint64_t first_id;
	uint64_t end_id;    /* its ids end before */
	uint64_t before_id; /* the first id of the segment before it; its own if it is the first */
};

/*
 * Opens the sealed segment of stream `name` that `range` tells of. -EBADMSG if its file is missing or no regular file; what else is damaged in it costs
 * the entries that it holds, each is logged once when the sidecar is made. `distrust`: the sidecar is known to be bad somewhere, and is made anew. Blocks on the disk.
 */
int segment_open_sealed(const struct env *env, const char *name, const struct segment_range *range, bool distrust, struct segment **ret_segment);

/*
 * Opens the active one; for writing unless the store is read-only. `meta_fd` >= 0 is used for the sidecar (and stays the caller's) instead of the file beside it.
 */
int segment_open_active(const struct env *env, const char *name, uint64_t first_id, int meta_fd, struct segment **ret_segment);

/* Where the sidecar of segment `id` in that directory ends, by its last block. False if it does not tell. */
bool sidecar_end(struct sys *sys, int dir_fd, uint64_t id, struct meta_pos *ret);

/* How much of a sealed segment is mapped. */
uint64_t segment_mapped_bytes(const struct segment *segment);

/*
 * The pages of a sealed segment's maps leave the process: they stay in the kernel's cache and come back when they are looked at. Whoever reads there meanwhile does not notice.
 */
void segment_unload(const struct env *env, struct segment *segment);

/* NULL is allowed. */
void segment_close(const struct env *env, struct segment *segment);

/*
 * A view of the sidecar, of the active segment's first `blocks` blocks, which are full. It is for one thread, and valid while the segment is pinned: segment_view_end() comes before it is unpinned.
 * Thread-safe. -ENOMEM, -EIO.
 */
int segment_view(const struct env *env, struct segment *segment, uint64_t blocks, struct meta_view *ret_view);
void segment_view_end(struct segment *segment, struct meta_view *view);

#endif
