/* SPDX-License-Identifier: Apache-2.0 */
/* checkpoints.log and HEAD for tests: writing them, and comparing what they hold. Functions fail the running test. */
#ifndef CHECKPOINTS_H
#define CHECKPOINTS_H

#include "ckptlog.h"
#include "stores.h"
#include "tmpdir.h"

#define CKPT_LOG "checkpoints.log"

/* A checkpoints.log of the original, of 8 shards: the whole, and from RAW_COMPACTED on what it became when the original kept the latest three of the five. */
enum {
	RAW_BYTES = 485,
	RAW_LAST = 391, /* where the last record begins */
	RAW_COMPACTED = 199,
	RAW_SHARDS = 8,
};
extern const uint8_t raw_log[RAW_BYTES];

/* `logged` may be NULL. */
struct ckptlog *ckpt_open_with(struct sys *sys, const struct tmpdir *dir, bool ro, struct logged *logged);
struct ckptlog *ckpt_open(const struct tmpdir *dir);

/* The real system calls without syncs, for tests that open a great many logs. */
struct sys ckpt_quick_sys(void);

/* A checkpoint `id` with the cuts "a" -> next, "bee" -> next + 1, of version 2; the size of its record is CKPT_BYTES(id). */
int ckpt_append(struct ckptlog *log, const char *id, uint64_t next, unsigned flags);
void ckpt_add(struct ckptlog *log, const char *id, uint64_t next);
#define CKPT_BYTES(id) (49 + strlen(id))

/* It is there with those cuts; it is not there; it is the latest (NULL: there is none). */
void ckpt_expect(struct ckptlog *log, const char *id, uint64_t next);
void ckpt_expect_missing(struct ckptlog *log, const char *id);
void ckpt_expect_latest(struct ckptlog *log, const char *id);

/* Their ids from the oldest to the newest, each followed by a space. */
void ckpt_expect_ids(struct ckptlog *log, const char *ids);

/*
 * All that can be asked, as text: each "id(stream=next stream=next …) ", then "| " and the latest id. Times must increase. To be freed by the caller. `latest` false:
 * without what follows the last ")".
 */
char *ckpt_dump(struct ckptlog *log, bool latest);

/* A record with a checksum that holds over `payload`, at `data`; returns its size. */
size_t ckpt_record(uint8_t *data, const void *payload, size_t size);

void dir_write(const struct tmpdir *dir, const char *name, const void *data, size_t size);
bool dir_has(const struct tmpdir *dir, const char *name);
void dir_expect(const struct tmpdir *dir, const char *name, const void *data, size_t size);
/* HEAD with that id; expected: NULL for none. */
void dir_write_head(const struct tmpdir *dir, const char *id);
void dir_expect_head(const struct tmpdir *dir, const char *id);

#endif
