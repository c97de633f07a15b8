/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the writers and the checker of the power cut test share: the log of what was tried and acknowledged, which stands on a file system that keeps its
 * power, the content of entries, which says who wrote it, and the two ways to a store.
 */
#ifndef POWER_H
#define POWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum record_kind {
	RECORD_TRIED = 1, /* an append of `count` entries begins */
	RECORD_COMMITTED, /* it came back with this id, perhaps not yet durable */
	RECORD_DURABLE,	  /* it was acknowledged as durable, under `id` (ID_UNKNOWN: the writer was not told) */
	RECORD_SEEN,	  /* a reader saw entry `part` of it under `id`, in a mode in which only durable entries are visible */
	RECORD_CREATING,  /* the stream is about to be made */
	RECORD_CREATED,
	RECORD_DELETING,
	RECORD_DELETED,
	RECORD_PRUNING, /* entries of the stream below `id` may go */
	RECORD_PRUNED,	/* and those below `id` are gone */
	RECORD_CHECKPOINTING, /* the writer's checkpoint `part` is about to be made, or moved */
	RECORD_CHECKPOINTED,  /* it was, and covers what is below `id` in `stream`; one record for each of the common streams */
	RECORD_FORGETTING,    /* it is about to be removed */
	RECORD_FORGOTTEN,
	RECORD_CUT, /* the power goes: what comes after it in the log is not demanded */
};

#define ID_UNKNOWN UINT64_MAX

struct record {
	uint32_t kind;
	uint32_t stream;
	uint32_t round; /* which cut it is before */
	uint32_t writer;
	uint32_t count;
	uint32_t part;
	uint64_t seq; /* of the writer's appends in this round */
	uint64_t id;  /* of the first entry, or of `part` */
};

/* Entry `part` of an append. Returns its size, at most CONTENT_MAX. */
#define CONTENT_MAX 12000
size_t content_make(const struct record *r, uint32_t part, uint8_t *out);
/* Who wrote it, and which part of what; false if these are not just the bytes that were written. */
bool content_parse(const void *data, size_t size, struct record *ret);

#define STREAM_NAME_MAX 16
void stream_name(char name[STREAM_NAME_MAX], uint32_t stream);
/* False if it is none of these names. */
bool stream_number(const char *name, uint32_t *ret);

typedef bool visit_entry(void *arg, uint64_t id, const void *data, size_t size);

/* A store, by the library or through a mount. Results are 0 or a negative errno. Any thread. */
struct target {
	bool strict; /* the mode: what returns is durable */
	bool batches;
	int (*create)(struct target *t, const char *stream);
	int (*remove)(struct target *t, const char *stream);
	/* Appends the r->count entries of `r`, in a way that `dice` decides. *ret_durable: acknowledged as durable. */
	int (*append)(struct target *t, const char *stream, const struct record *r, uint64_t dice, uint64_t *ret_id, bool *ret_durable);
	/* Everything appended before is durable then. */
	int (*sync)(struct target *t, const char *stream);
	/* Every entry from `from` on, in order of ids, up to the first id that is not there; `visit` may end it. */
	int (*read)(struct target *t, const char *stream, uint64_t from, visit_entry *visit, void *arg);
	/* Whether the stream is well and its ids are dense, from *ret_first to *ret_next - 1. -EBADMSG after saying why not. */
	int (*inspect)(struct target *t, const char *stream, uint64_t *ret_first, uint64_t *ret_next);
	/* To `id` at most; *ret_first is what is left then (0: not known). */
	int (*prune)(struct target *t, const char *stream, uint64_t id, uint64_t *ret_first);
	/* Makes or moves it. */
	int (*checkpoint)(struct target *t, const char *name);
	int (*forget)(struct target *t, const char *name);
	/* What the checkpoint covers of the stream; -ENOENT if it is not there. */
	int (*covered)(struct target *t, const char *name, const char *stream, uint64_t *ret_next);
	/* Names, NULL-terminated, one allocation. */
	int (*list)(struct target *t, char ***ret_names);
	int (*close)(struct target *t);
};

/*
 * `seed` decides the options that don't matter; read=mmap is among them only if `mmap` (a disk that fails may then kill the reader, as documented). `lie`: NULL, or
 * "fdatasync" or "fsync", which then does nothing, as a test of the test. NULL if it can't be opened; standard error says why.
 */
struct target *target_library(const char *path, const char *sync, uint64_t seed, bool mmap, const char *lie);
struct target *target_mount(const char *path, const char *sync);

#endif
