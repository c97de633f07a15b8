/* SPDX-License-Identifier: Apache-2.0 */
#include "ckptbytes.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ckptrecord.h"
#include "crc32.h"

enum {
	PIECE_BYTES = 512,
	SAMPLES_MAX = 1 << 20,
};

void ckptbytes_release(struct ckptbytes *b)
{
	free(b->samples);
	b->samples = NULL;
}

int ckptbytes_read(struct ckptbytes *b, void *data, size_t size, uint64_t offset)
{
	ssize_t n = sys_pread_full(b->sys, b->fd, data, size, offset);

	if (n < 0)
		return (int)n;
	memset((uint8_t *)data + n, 0, size - (size_t)n);
	return 0;
}

int ckptbytes_peek(struct ckptbytes *b, struct ckptwindow *w, uint64_t offset, size_t size, const uint8_t **ret_data)
{
	if (!w->data) {
		w->data = malloc(w->capacity);
		if (!w->data)
			return -ENOMEM;
	}
	if (offset < w->offset || offset + size > w->offset + w->size) {
		uint64_t left = b->size - offset;
		size_t n = left < w->capacity ? (size_t)left : w->capacity;

		w->size = 0;
		int result = ckptbytes_read(b, w->data, n, offset);
		if (result < 0)
			return result;
		w->offset = offset;
		w->size = n;
	}
	*ret_data = w->data + (offset - w->offset);
	return 0;
}

int ckptbytes_find_magic(struct ckptbytes *b, struct ckptwindow *w, uint64_t pos, uint64_t end, uint64_t *ret_pos)
{
	while (pos < end && b->size - pos >= RECORD_HEADER) {
		const uint8_t *data;
		int result = ckptbytes_peek(b, w, pos, RECORD_HEADER, &data);

		if (result < 0)
			return result;
		uint64_t in_window = w->offset + w->size - pos, wanted = end - pos + RECORD_MAGIC_BYTES - 1;
		if (in_window > wanted)
			in_window = wanted;
		const uint8_t *hit = memmem(data, (size_t)in_window, RECORD_MAGIC, RECORD_MAGIC_BYTES);
		if (hit) {
			pos += (uint64_t)(hit - data);
			*ret_pos = pos < end && b->size - pos >= RECORD_HEADER ? pos : end;
			return 0;
		}
		pos += in_window - (RECORD_MAGIC_BYTES - 1);
	}
	*ret_pos = end;
	return 0;
}

/* Goes on with *crc over the range. */
static int add_range(struct ckptbytes *b, struct ckptwindow *w, uint64_t offset, uint64_t size, uint32_t *crc)
{
	while (size > 0) {
		size_t n = size < w->capacity ? (size_t)size : w->capacity;
		const uint8_t *data;
		int result = ckptbytes_peek(b, w, offset, n, &data);

		if (result < 0)
			return result;
		*crc = crc32_update(*crc, data, n);
		offset += n;
		size -= n;
	}
	return 0;
}

int ckptbytes_sample(struct ckptbytes *b, struct ckptwindow *w)
{
	uint32_t crc = 0;
	int result = 0;

	if (b->samples)
		return 0;
	b->stride = PIECE_BYTES;
	while (b->size / b->stride >= SAMPLES_MAX)
		b->stride *= 2;
	size_t count = (size_t)(b->size / b->stride) + 1;
	uint32_t *samples = calloc(count, sizeof *samples);
	if (!samples)
		return -ENOMEM;
	for (size_t i = 1; i < count && result == 0; i++) {
		result = add_range(b, w, (i - 1) * b->stride, b->stride, &crc);
		samples[i] = crc;
	}
	if (result < 0)
		free(samples);
	else
		b->samples = samples;
	return result;
}

/* Of the first `end` bytes. */
static int crc_of_prefix(struct ckptbytes *b, uint64_t end, uint32_t *ret_crc)
{
	uint8_t piece[PIECE_BYTES];
	uint64_t at = end / b->stride * b->stride;
	uint32_t crc = b->samples[end / b->stride];

	while (at < end) {
		size_t n = end - at < PIECE_BYTES ? (size_t)(end - at) : PIECE_BYTES;
		int result = ckptbytes_read(b, piece, n, at);

		if (result < 0)
			return result;
		crc = crc32_update(crc, piece, n);
		at += n;
	}
	*ret_crc = crc;
	return 0;
}

int ckptbytes_crc(struct ckptbytes *b, struct ckptwindow *w, uint64_t offset, uint64_t size, uint32_t *ret_crc)
{
	uint32_t before, with;

	*ret_crc = 0;
	if (!b->samples)
		return add_range(b, w, offset, size, ret_crc);
	int result = crc_of_prefix(b, offset, &before);
	if (result == 0)
		result = crc_of_prefix(b, offset + size, &with);
	if (result == 0)
		*ret_crc = with ^ crc32_join(before, 0, size);
	return result;
}
