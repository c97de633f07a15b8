/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of checkpoints.log while it is scanned: windows into it, and the checksum of any range. Changes nothing.
 *
 * Once ckptbytes_sample() has gone over the file, a checksum costs no more than two strides of reading, however long the range: those of all prefixes are computed in one pass, one for
 * each stride is kept (no more than 4 MiB of them), and the checksum of a range follows from two of them.
 */
#ifndef WAL_CKPTBYTES_H
#define WAL_CKPTBYTES_H

#include "sys.h"

/* Begin with `capacity` alone; free(3) `data`. */
struct ckptwindow {
	size_t capacity;
	uint8_t *data;
	uint64_t offset; /* in the file */
	size_t size;
};

/* Begin with the first three; end with ckptbytes_release(). */
struct ckptbytes {
	struct sys *sys;
	int fd;
	uint64_t size; /* of the file */

	/* The checksum of the first i * stride bytes; NULL until it is needed. */
	uint32_t *samples;
	uint64_t stride;
};

void ckptbytes_release(struct ckptbytes *b);

/* Like pread, but what the file has lost since its size was taken reads as zeros: it is not there then, and so does not hold. */
int ckptbytes_read(struct ckptbytes *b, void *data, size_t size, uint64_t offset);

/* `size` bytes at `offset`, no more than the window's capacity and not beyond the file's end; valid until the next call with this window. */
int ckptbytes_peek(struct ckptbytes *b, struct ckptwindow *w, uint64_t offset, size_t size, const uint8_t **ret_data);

/* The next place from `pos` on where a record's magic stands with a whole header's room behind it, before `end`; or `end`. */
int ckptbytes_find_magic(struct ckptbytes *b, struct ckptwindow *w, uint64_t pos, uint64_t end, uint64_t *ret_pos);

/* Does nothing if it has been done. */
int ckptbytes_sample(struct ckptbytes *b, struct ckptwindow *w);

/* Of the range, which is within the file. With samples the window is left alone. */
int ckptbytes_crc(struct ckptbytes *b, struct ckptwindow *w, uint64_t offset, uint64_t size, uint32_t *ret_crc);

#endif
