/* SPDX-License-Identifier: Apache-2.0 */
/* The names of the files in a store: segments and what stands beside them, and which names a stream cannot have. */
#ifndef WAL_NAMES_H
#define WAL_NAMES_H

#include "wal.h"

#define NAME_LOCK "LOCK"
#define NAME_HEAD "HEAD"
#define NAME_CHECKPOINTS_LOG "checkpoints.log"
#define NAME_SEGMENTS_IDX "segments.idx"
#define NAME_HEAD_STATE "head.state"
#define NAME_TMP_SUFFIX ".tmp"

enum {
	ID_DIGITS = 20,
	NAME_SEGMENT_MAX = 64, /* room for any name made here, NUL included */
};

/* "%020u.wal", "%020u.meta", "%020u.wal.torn.N", "%020u.wal.damaged.N". `buf` holds NAME_SEGMENT_MAX bytes; returned for convenience. */
char *name_segment(char *buf, uint64_t first_id);
char *name_meta(char *buf, uint64_t first_id);
char *name_torn(char *buf, uint64_t first_id, unsigned n);
char *name_damaged(char *buf, uint64_t first_id, unsigned n);

/* The stream of a shard: "shard_%02u". `buf` as above. */
char *name_shard(char *buf, uint32_t shard);

/* True if `name` is exactly name_shard() of some number. */
bool name_is_shard(const char *name, uint32_t *ret_shard);

/* True if `name` is exactly name_segment() of some id, which goes to *ret_id. "1.wal", "+0…1.wal" or an id over 2^64-1 are not. */
bool name_is_segment(const char *name, uint64_t *ret_id);
/* Likewise name_meta(). */
bool name_is_meta(const char *name, uint64_t *ret_id);

/* True for every file that the library itself may leave in a stream's directory: segments, sidecars, index, head, their .tmp, torn and damaged parts. */
bool name_is_ours(const char *name);

/* "checkpoints.log.torn.N", "checkpoints.log.damaged.N": what was put aside of it. */
char *name_checkpoints_torn(char *buf, unsigned n);
char *name_checkpoints_damaged(char *buf, unsigned n);

/* True for names that belong to the store in its root: LOCK, HEAD, HEAD.tmp, and whatever begins with checkpoints.log. */
bool name_is_reserved(const char *name);

/* Decimal digits only, 1 to 20 of them, at most 2^64-1. */
bool parse_id(const char *text, uint64_t *ret_id);

#endif
