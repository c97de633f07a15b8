/* SPDX-License-Identifier: Apache-2.0 */
#include "lz4codec.h"

#include <errno.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"

enum {
	LZ4_MAGIC_BYTES = 4,
	LZ4_FLG_DICTIONARY = 1 << 0,
	LZ4_PREFIX_BYTES = LZ4_MAGIC_BYTES + 1, /* the magic and the byte with the flags */
	LZ4_BLOCK_HEADER_BYTES = 4,
	LZ4_HEADER_BYTES_MAX = 19,
	SCRATCH_BYTES = 16 * 1024,
	RAW_BYTES_AT_ONCE = 256 * 1024,
};

#define LZ4_FRAME_MAGIC 0x184d2204u

/* liblz4 has the codes only in its unstable interface, their names in the stable one. */
static int error_of(size_t lz4_result, int otherwise)
{
	return strcmp(LZ4F_getErrorName(lz4_result), "ERROR_allocation_failed") == 0 ? -ENOMEM : otherwise;
}

static LZ4F_preferences_t preferences_for(uint64_t raw_size)
{
	LZ4F_preferences_t prefs = {
		.frameInfo = { .blockMode = LZ4F_blockIndependent },
		.autoFlush = 1,
	};

	if (raw_size <= 64 * 1024)
		prefs.frameInfo.blockSizeID = LZ4F_max64KB;
	else if (raw_size <= 256 * 1024)
		prefs.frameInfo.blockSizeID = LZ4F_max256KB;
	else
		prefs.frameInfo.blockSizeID = LZ4F_max4MB;
	return prefs;
}

/* ---- Compression ---------------------------------------------------------------------------------------------------------------- */

struct lz4frame_encoder {
	LZ4F_cctx *ctx;
	LZ4F_preferences_t prefs;
	uint64_t remaining; /* raw bytes still to come */
	uint8_t header[LZ4_HEADER_BYTES_MAX];
	size_t header_size; /* 0 once it is out */
};

size_t lz4frame_bound(size_t raw_size)
{
	LZ4F_preferences_t prefs = preferences_for(raw_size);

	return LZ4_HEADER_BYTES_MAX + LZ4F_compressBound(raw_size, &prefs) + LZ4F_compressBound(0, &prefs);
}

int lz4frame_encoder_new(uint64_t raw_size, struct lz4frame_encoder **ret)
{
	struct lz4frame_encoder *enc = calloc(1, sizeof(*enc));
	size_t n;

	if (!enc)
		return -ENOMEM;
	enc->prefs = preferences_for(raw_size);
	enc->remaining = raw_size;
	n = LZ4F_createCompressionContext(&enc->ctx, LZ4F_VERSION);
	if (!LZ4F_isError(n))
		n = LZ4F_compressBegin(enc->ctx, enc->header, sizeof(enc->header), &enc->prefs);
	if (LZ4F_isError(n)) {
		lz4frame_encoder_free(enc);
		return error_of(n, -EINVAL);
	}
	enc->header_size = n;
	*ret = enc;
	return 0;
}

size_t lz4frame_encoder_bound(const struct lz4frame_encoder *enc, size_t size)
{
	return enc->header_size + LZ4F_compressBound(size, &enc->prefs);
}

/* The frame's header goes before the first bytes that come out, whichever call makes them. */
static size_t take_header(struct lz4frame_encoder *enc, void *out)
{
	size_t n = enc->header_size;

	memcpy(out, enc->header, n);
	enc->header_size = 0;
	return n;
}

int lz4frame_encoder_add(struct lz4frame_encoder *enc, const void *raw, size_t size, void *out, size_t capacity, size_t *ret_size)
{
	size_t head, n;

	if (size > enc->remaining)
		return -EINVAL;
	if (capacity < lz4frame_encoder_bound(enc, size))
		return -ENOBUFS;
	head = take_header(enc, out);
	n = LZ4F_compressUpdate(enc->ctx, (uint8_t *)out + head, capacity - head, raw, size, NULL);
	if (LZ4F_isError(n))
		return error_of(n, -EINVAL);
	enc->remaining -= size;
	*ret_size = head + n;
	return 0;
}

int lz4frame_encoder_end(struct lz4frame_encoder *enc, void *out, size_t capacity, size_t *ret_size)
{
	size_t head, n;

	if (enc->remaining > 0)
		return -EINVAL;
	if (capacity < lz4frame_encoder_bound(enc, 0))
		return -ENOBUFS;
	head = take_header(enc, out);
	n = LZ4F_compressEnd(enc->ctx, (uint8_t *)out + head, capacity - head, NULL);
	if (LZ4F_isError(n))
		return error_of(n, -EINVAL);
	*ret_size = head + n;
	return 0;
}

void lz4frame_encoder_free(struct lz4frame_encoder *enc)
{
	if (!enc)
		return;
	LZ4F_freeCompressionContext(enc->ctx);
	free(enc);
}

static void cleanup_encoder(struct lz4frame_encoder **enc)
{
	lz4frame_encoder_free(*enc);
}

int lz4frame_compress(void *out, size_t capacity, const void *raw, size_t raw_size, size_t *ret_size)
{
	__attribute__((cleanup(cleanup_encoder))) struct lz4frame_encoder *enc = NULL;
	size_t body, end;
	int r;

	if (capacity < lz4frame_bound(raw_size))
		return -ENOBUFS;
	/* The same bytes, without a context on the heap; of what is larger it would make smaller blocks. */
	if (raw_size <= RAW_BYTES_AT_ONCE) {
		LZ4F_preferences_t prefs = preferences_for(raw_size);
		size_t n = LZ4F_compressFrame(out, capacity, raw, raw_size, &prefs);

		if (LZ4F_isError(n))
			return error_of(n, -EINVAL);
		*ret_size = n;
		return 0;
	}
	r = lz4frame_encoder_new(raw_size, &enc);
	if (r < 0)
		return r;
	r = lz4frame_encoder_add(enc, raw, raw_size, out, capacity, &body);
	if (r < 0)
		return r;
	r = lz4frame_encoder_end(enc, (uint8_t *)out + body, capacity - body, &end);
	if (r < 0)
		return r;
	*ret_size = body + end;
	return 0;
}

/* ---- Decompression -------------------------------------------------------------------------------------------------------------- */

struct lz4frame_decoder {
	LZ4F_dctx *ctx;
	size_t prefix_seen; /* bytes of the frame taken so far, up to LZ4_PREFIX_BYTES */
	size_t wanted;	    /* how many bytes liblz4 expects next */
	bool ended;
	bool failed;	    /* liblz4's state is undefined until it is reset */
};

int lz4frame_decoder_new(struct lz4frame_decoder **ret)
{
	struct lz4frame_decoder *dec = calloc(1, sizeof(*dec));
	size_t n;

	if (!dec)
		return -ENOMEM;
	n = LZ4F_createDecompressionContext(&dec->ctx, LZ4F_VERSION);
	if (LZ4F_isError(n)) {
		free(dec);
		return error_of(n, -EINVAL);
	}
	lz4frame_decoder_reset(dec);
	*ret = dec;
	return 0;
}

void lz4frame_decoder_reset(struct lz4frame_decoder *dec)
{
	LZ4F_resetDecompressionContext(dec->ctx);
	dec->prefix_seen = 0;
	dec->wanted = SIZE_MAX;
	dec->ended = false;
	dec->failed = false;
}

/* liblz4 would pass over a skippable frame and decode without the dictionary that a frame names; both must fail. */
static bool prefix_is_legal(const struct lz4frame_decoder *dec, const uint8_t *in, size_t size)
{
	uint8_t magic[LZ4_MAGIC_BYTES];

	put_le32(magic, LZ4_FRAME_MAGIC);
	for (size_t i = 0; i < size && dec->prefix_seen + i < LZ4_PREFIX_BYTES; i++) {
		size_t at = dec->prefix_seen + i;
		if (at < LZ4_MAGIC_BYTES ? in[i] != magic[at] : in[i] & LZ4_FLG_DICTIONARY)
			return false;
	}
	return true;
}

int lz4frame_decoder_run(struct lz4frame_decoder *dec, const void *in, size_t *size, void *raw, size_t *raw_size, bool *ret_end)
{
	size_t used = dec->ended ? 0 : *size, made = dec->ended ? 0 : *raw_size;

	if (dec->failed)
		return -EBADMSG;
	if (!dec->ended) {
		if (!prefix_is_legal(dec, in, *size)) {
			dec->failed = true;
			return -EBADMSG;
		}
		dec->wanted = LZ4F_decompress(dec->ctx, raw, &made, in, &used, NULL);
		if (LZ4F_isError(dec->wanted)) {
			dec->failed = true;
			return error_of(dec->wanted, -EBADMSG);
		}
		dec->prefix_seen += used < LZ4_PREFIX_BYTES - dec->prefix_seen ? used : LZ4_PREFIX_BYTES - dec->prefix_seen;
		dec->ended = dec->wanted == 0;
	}
	*size = used;
	*raw_size = made;
	*ret_end = dec->ended;
	return 0;
}

void lz4frame_decoder_free(struct lz4frame_decoder *dec)
{
	if (!dec)
		return;
	LZ4F_freeDecompressionContext(dec->ctx);
	free(dec);
}

static void cleanup_decoder(struct lz4frame_decoder **dec)
{
	lz4frame_decoder_free(*dec);
}

/* Between two blocks, where only the end mark may be missing; in the middle of a block liblz4 always wants that block's rest and the next header. */
bool lz4frame_decoder_may_end(const struct lz4frame_decoder *dec)
{
	return dec->ended || dec->wanted <= LZ4_BLOCK_HEADER_BYTES;
}

int lz4frame_decompress(void *raw, size_t raw_size, const void *in, size_t size)
{
	__attribute__((cleanup(cleanup_decoder))) struct lz4frame_decoder *dec = NULL;
	size_t used = 0, made = 0, n_in, n_out;
	uint8_t beyond;
	bool end = false;
	int r = lz4frame_decoder_new(&dec);

	if (r < 0)
		return r;
	do {
		bool full = made == raw_size;

		n_in = size - used;
		n_out = full ? 1 : raw_size - made;
		r = lz4frame_decoder_run(dec, (const uint8_t *)in + used, &n_in, full ? &beyond : (uint8_t *)raw + made, &n_out, &end);
		if (r < 0)
			return r;
		if (full && n_out > 0)
			return -EBADMSG;
		used += n_in;
		made += n_out;
	} while (!end && (n_in > 0 || n_out > 0));
	return made == raw_size && lz4frame_decoder_may_end(dec) ? 0 : -EBADMSG;
}

int lz4frame_measure(const void *in, size_t size, uint64_t raw_max, uint64_t *ret_raw_size)
{
	__attribute__((cleanup(cleanup_decoder))) struct lz4frame_decoder *dec = NULL;
	uint8_t scratch[SCRATCH_BYTES];
	uint64_t made = 0;
	size_t used = 0, n_in, n_out;
	bool end = false;
	int r = lz4frame_decoder_new(&dec);

	if (r < 0)
		return r;
	do {
		n_in = size - used;
		n_out = sizeof(scratch);
		r = lz4frame_decoder_run(dec, (const uint8_t *)in + used, &n_in, scratch, &n_out, &end);
		if (r < 0)
			return r;
		used += n_in;
		made += n_out;
		if (made > raw_max)
			return -EFBIG;
	} while (!end && (n_in > 0 || n_out > 0));
	if (!lz4frame_decoder_may_end(dec))
		return -EBADMSG;
	*ret_raw_size = made;
	return 0;
}
