/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LZ4 frames as ironwal writes them, and any legal one read; over liblz4, whose header has the name that this one would like.
 *
 * Written: independent blocks, no checksums, no content size, an end mark; blocks of 64 KiB if the raw payload is at most that, of 256 KiB if
 * at most that, else of 4 MiB.
 * Read: all block sizes, linked blocks, checksums (verified), content size. What follows the end mark is ignored, a missing end mark is forgiven
 * (the frame's CRC has vouched for the bytes); dictionaries, skippable frames and the legacy frames of before 2013 are refused.
 */
#ifndef WAL_LZ4CODEC_H
#define WAL_LZ4CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No LZ4 frame expands to more than this many times its size (and a constant), so no length that claims more is believed. */
enum { LZ4FRAME_RATIO_MAX = 255 };

/* Room that lz4frame_compress() needs for `raw_size` bytes. */
size_t lz4frame_bound(size_t raw_size);

/* Compresses all of `raw` into `out`. -ENOMEM, -ENOBUFS (capacity below the bound). */
int lz4frame_compress(void *out, size_t capacity, const void *raw, size_t raw_size, size_t *ret_size);

/*
 * Decompresses the frame at `in` into `raw`. Fills exactly `raw_size` bytes: -EBADMSG if it is no legal frame or has more or fewer. -ENOMEM.
 */
int lz4frame_decompress(void *raw, size_t raw_size, const void *in, size_t size);

/* How many bytes the frame decompresses to, without keeping them: memory is bounded by the block size. -EBADMSG, -ENOMEM; -EFBIG if over `raw_max`. */
int lz4frame_measure(const void *in, size_t size, uint64_t raw_max, uint64_t *ret_raw_size);

/* Piecewise, in memory bounded by the block size: */
struct lz4frame_encoder;

/* For just `raw_size` bytes to come. -ENOMEM. */
int lz4frame_encoder_new(uint64_t raw_size, struct lz4frame_encoder **ret);
/* Room that `out` needs when `size` bytes are added, or (0) at the end. */
size_t lz4frame_encoder_bound(const struct lz4frame_encoder *enc, size_t size);
/* Nothing is kept back: what is added comes out at once, in blocks of its own. -ENOBUFS, -ENOMEM; -EINVAL if more bytes, or at the end fewer, than announced. */
int lz4frame_encoder_add(struct lz4frame_encoder *enc, const void *raw, size_t size, void *out, size_t capacity, size_t *ret_size);
int lz4frame_encoder_end(struct lz4frame_encoder *enc, void *out, size_t capacity, size_t *ret_size);
void lz4frame_encoder_free(struct lz4frame_encoder *enc);

struct lz4frame_decoder;

int lz4frame_decoder_new(struct lz4frame_decoder **ret);
/* Back to the start of a frame. */
void lz4frame_decoder_reset(struct lz4frame_decoder *dec);
/*
 * Takes up to *size bytes of `in` and gives up to *raw_size bytes to `raw`; both are set to what was used and made. *ret_end: the end mark was read. -EBADMSG.
 */
int lz4frame_decoder_run(struct lz4frame_decoder *dec, const void *in, size_t *size, void *raw, size_t *raw_size, bool *ret_end);
/* Whether what was taken so far may be all: the end mark was read, or only it is missing. */
bool lz4frame_decoder_may_end(const struct lz4frame_decoder *dec);
void lz4frame_decoder_free(struct lz4frame_decoder *dec);

#endif
