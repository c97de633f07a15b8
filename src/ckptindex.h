/* SPDX-License-Identifier: Apache-2.0 */
/* The checkpoints of a store in memory: by id, and in the order of their times. Not locked. */
#ifndef WAL_CKPTINDEX_H
#define WAL_CKPTINDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ckptindex_entry {
	struct ckptindex_entry *next; /* in its bucket */
	uint64_t hash;
	uint64_t offset; /* of its record in checkpoints.log */
	uint32_t size;	 /* of the record's payload */
	uint32_t shards; /* 0: a record of version 2 */
	int64_t time_ns;
	uint64_t order; /* a record further on in the file has a larger one */
	size_t id_size;
	uint8_t id[]; /* and a NUL */
};

/* Begin with all-zero, end with ckptindex_release(). */
struct ckptindex {
	struct ckptindex_entry **entries; /* by time, those of the same time by order */
	size_t count;
	size_t capacity;
	struct ckptindex_entry **buckets;
	size_t bucket_count; /* 0 or a power of two */
	uint64_t bytes;	     /* that the entries' records take, headers included */
	uint64_t next_order;
};

/* An entry that is in no index, and room for it in this one. NULL if there is no memory. free(3) it, or hand it to ckptindex_add(). */
struct ckptindex_entry *ckptindex_prepare(struct ckptindex *index, const void *id, size_t id_size);

/*
 * Takes the entry in, in place of one of the same id. While a file is read, times come in any order: `sorted` false, and ckptindex_sort() before anything but further
 * such calls.
 */
void ckptindex_add(struct ckptindex *index, struct ckptindex_entry *entry, bool sorted);
void ckptindex_sort(struct ckptindex *index);

/* NULL if there is none. */
struct ckptindex_entry *ckptindex_find(const struct ckptindex *index, const void *id, size_t id_size);

/* The last one of this time; NULL if there is none. */
struct ckptindex_entry *ckptindex_find_time(const struct ckptindex *index, int64_t time_ns);

/* Frees it, or the `count` oldest. */
void ckptindex_remove(struct ckptindex *index, struct ckptindex_entry *entry);
void ckptindex_remove_oldest(struct ckptindex *index, size_t count);

/* The record of this entry is now one of `size` bytes at `offset`, behind all others. */
void ckptindex_move(struct ckptindex *index, struct ckptindex_entry *entry, uint64_t offset, uint32_t size);

void ckptindex_release(struct ckptindex *index);

#endif
