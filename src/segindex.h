/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segments.idx: the first ids of a stream's segments in ascending order, u64 little-endian each, no header and no checksum. And head.state, which names
 * the active segment: u8 version 1, u8 length, "%020u.wal"; ironwal writes it at the first rotation.
 *
 * Both are ironwal's; for this library the *.wal names in the directory are the truth and these files are checked against them (see
 * stream_recover.c), with one exception: they keep the next id alive when no segment is left.
 */
#ifndef WAL_SEGINDEX_H
#define WAL_SEGINDEX_H

#include "sys.h"

struct id_array {
	uint64_t *ids;
	size_t count;
	size_t capacity;
};

/* Appends one id. -ENOMEM. */
int id_array_push(struct id_array *array, uint64_t id);
/* Ascending, without duplicates. */
void id_array_sort(struct id_array *array);
/* The index of the largest id <= `id`, or -1 if there is none. `array` is sorted. */
ssize_t id_array_find(const struct id_array *array, uint64_t id);
/* Gives back the room that it does not use, as far as that works. */
void id_array_trim(struct id_array *array);
void id_array_release(struct id_array *array);

/*
 * Loads segments.idx into *ret (overwritten; release it). -ENOENT; -EBADMSG if its size is no multiple of 8 or the ids are not ascending (equal
 * neighbours, which ironwal leaves, are allowed and merged); -EINVAL, -ELOOP, -EISDIR if it is no regular file. At most 128 MiB are believed (-EFBIG).
 */
int segindex_load(struct sys *sys, int dirfd, struct id_array *ret);

/* Replaces the file crash-safely (sys_replace_file()). Blocks on syncs. */
int segindex_store(struct sys *sys, int dirfd, const struct id_array *array, mode_t mode);

/*
 * Appends one id behind the first `index` ids of the file (what a torn earlier try left there is cut off) and fdatasyncs. On failure the file is cut
 * back to `index` ids as far as that works. The file must hold the ids one to one: after a load that merged some, segindex_store() comes first.
 * -ENOENT; -EBADMSG if it has fewer than `index` ids.
 */
int segindex_append(struct sys *sys, int dirfd, size_t index, uint64_t id);

/* The id that head.state names. -ENOENT; -EBADMSG if it is short, of another version or no segment's name. Trailing bytes are ignored. */
int headstate_load(struct sys *sys, int dirfd, uint64_t *ret_id);

/* Replaces it crash-safely. Blocks on syncs. */
int headstate_store(struct sys *sys, int dirfd, uint64_t id, mode_t mode);

#endif
