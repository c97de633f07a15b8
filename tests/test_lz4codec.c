/* SPDX-License-Identifier: Apache-2.0 */
#include "lz4codec.h"

#include <errno.h>
#include <lz4frame.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "test.h"

enum { END_MARK_BYTES = 4 };

/* The payload of a frame that ironwal wrote: one entry of 5000 bytes 'X'. */
static const uint8_t original[] = {
	0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82, 0x23, 0x00, 0x00, 0x00, 0x5f, 0x88, 0x13, 0x00, 0x00, 0x58, 0x01, 0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
	0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x81, 0x60, 0x58, 0x58, 0x58, 0x58, 0x58, 0x58, 0x00, 0x00, 0x00, 0x00,
};

enum pattern { ZEROS, TEXT, NOISE, PATTERNS };

static uint32_t next_random(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

static uint8_t *make_raw(size_t size, enum pattern pattern)
{
	uint8_t *raw = calloc(1, size + 1);
	uint32_t seed = 2463534242u;

	assert_non_null(raw);
	for (size_t i = 0; pattern != ZEROS && i < size; i++)
		raw[i] = (uint8_t)(pattern == NOISE ? next_random(&seed) >> 11 : "a line of some log "[i % 19] + (i / 300) % 7);
	return raw;
}

static void decodes_to(const void *in, size_t size, const void *raw, size_t raw_size)
{
	uint8_t *back = malloc(raw_size + 1);
	uint64_t measured = 4711;

	assert_int_equal(lz4frame_decompress(back, raw_size, in, size), 0);
	assert_memory_equal(back, raw, raw_size);
	assert_int_equal(lz4frame_measure(in, size, raw_size, &measured), 0);
	assert_int_equal(measured, raw_size);
	if (raw_size) {
		assert_int_equal(lz4frame_decompress(back, raw_size - 1, in, size), -EBADMSG);
		assert_int_equal(lz4frame_measure(in, size, raw_size - 1, &measured), -EFBIG);
	}
	assert_int_equal(lz4frame_decompress(back, raw_size + 1, in, size), -EBADMSG);
	free(back);
}

static void is_refused(const void *in, size_t size)
{
	uint8_t back[8192];
	uint64_t measured = 4711;

	assert_int_equal(lz4frame_decompress(back, sizeof(back), in, size), -EBADMSG);
	assert_int_equal(lz4frame_decompress(back, 0, in, size), -EBADMSG);
	assert_int_equal(lz4frame_measure(in, size, UINT64_MAX, &measured), -EBADMSG);
	assert_int_equal(measured, 4711);
}

static void frame_of_the_original(void **state)
{
	uint8_t raw[5004];

	(void)state;
	memset(raw, 'X', sizeof(raw));
	put_le32(raw, 5000);
	decodes_to(original, sizeof(original), raw, sizeof(raw));
}

/* Headers byte for byte as the original's, by payload size. */
static void headers_are_the_originals(void **state)
{
	static const struct {
		size_t raw_size;
		uint8_t header[7];
	} cases[] = {
		{ 1024, { 0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82 } },	  { 65536, { 0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82 } },
		{ 65537, { 0x04, 0x22, 0x4d, 0x18, 0x60, 0x50, 0xfb } },  { 262144, { 0x04, 0x22, 0x4d, 0x18, 0x60, 0x50, 0xfb } },
		{ 262145, { 0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73 } }, { 5 << 20, { 0x04, 0x22, 0x4d, 0x18, 0x60, 0x70, 0x73 } },
	};

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		size_t capacity = lz4frame_bound(cases[i].raw_size), size;
		uint8_t *raw = make_raw(cases[i].raw_size, TEXT), *out = malloc(capacity);

		assert_int_equal(lz4frame_compress(out, capacity, raw, cases[i].raw_size, &size), 0);
		assert_memory_equal(out, cases[i].header, 7);
		assert_int_equal(get_le32(out + size - END_MARK_BYTES), 0);
		/* One block, as far as one can hold it */
		if (cases[i].raw_size <= 4 << 20)
			assert_int_equal(7 + 4 + (get_le32(out + 7) & 0x7fffffff) + 4, size);
		free(raw);
		free(out);
	}
}

static void round_trips(void **state)
{
	static const size_t sizes[] = { 0, 1, 4, 13, 1024, 65535, 65536, 65537, 262144, 262145, 4 << 20, (4 << 20) + 1, 9 << 20 };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(sizes); i++) {
		for (enum pattern pattern = ZEROS; pattern < PATTERNS; pattern++) {
			size_t capacity = lz4frame_bound(sizes[i]), size = 4711;
			uint8_t *raw = make_raw(sizes[i], pattern), *out = malloc(capacity);

			assert_int_equal(lz4frame_compress(out, capacity - 1, raw, sizes[i], &size), -ENOBUFS);
			assert_int_equal(size, 4711);
			assert_int_equal(lz4frame_compress(out, capacity, raw, sizes[i], &size), 0);
			assert_true(sizes[i] <= (uint64_t)size * LZ4FRAME_RATIO_MAX);
			decodes_to(out, size, raw, sizes[i]);
			free(raw);
			free(out);
		}
	}
}

/* A frame as other programs write it, made by liblz4 itself in pieces; the caller frees it. */
static uint8_t *make_foreign(const LZ4F_preferences_t *prefs, const uint8_t *raw, size_t raw_size, size_t *ret_size)
{
	size_t capacity = 64 + LZ4F_compressFrameBound(raw_size, prefs), piece = raw_size / 3 + 1, at, n;
	uint8_t *out = malloc(capacity);
	LZ4F_cctx *ctx;

	assert_false(LZ4F_isError(LZ4F_createCompressionContext(&ctx, LZ4F_VERSION)));
	at = LZ4F_compressBegin(ctx, out, capacity, prefs);
	assert_false(LZ4F_isError(at));
	for (size_t done = 0; done < raw_size; done += piece) {
		n = LZ4F_compressUpdate(ctx, out + at, capacity - at, raw + done, raw_size - done < piece ? raw_size - done : piece, NULL);
		assert_false(LZ4F_isError(n));
		at += n;
	}
	n = LZ4F_compressEnd(ctx, out + at, capacity - at, NULL);
	assert_false(LZ4F_isError(n));
	LZ4F_freeCompressionContext(ctx);
	*ret_size = at + n;
	return out;
}

/* Decodes in pieces of the given sizes. */
static void decodes_in_pieces(const uint8_t *in, size_t size, const uint8_t *raw, size_t raw_size, size_t in_piece, size_t out_piece)
{
	struct lz4frame_decoder *dec;
	uint8_t *out = malloc(out_piece);
	size_t used = 0, made = 0;
	bool end = false;

	assert_int_equal(lz4frame_decoder_new(&dec), 0);
	while (!end) {
		size_t n_in = size - used < in_piece ? size - used : in_piece, n_out = out_piece;

		assert_int_equal(lz4frame_decoder_run(dec, in + used, &n_in, out, &n_out, &end), 0);
		assert_true(end || n_in > 0 || n_out > 0);
		assert_true(made + n_out <= raw_size);
		assert_memory_equal(out, raw + made, n_out);
		used += n_in;
		made += n_out;
	}
	assert_int_equal(used, size);
	assert_int_equal(made, raw_size);
	lz4frame_decoder_free(dec);
	free(out);
}

static void check_foreign(const LZ4F_preferences_t *prefs, size_t raw_size, enum pattern pattern, bool tiny_pieces)
{
	uint8_t *raw = make_raw(raw_size, pattern);
	size_t size;
	uint8_t *frame = make_foreign(prefs, raw, raw_size, &size);

	decodes_to(frame, size, raw, raw_size);
	if (tiny_pieces) {
		decodes_in_pieces(frame, size, raw, raw_size, 1, 4099);
		decodes_in_pieces(frame, size, raw, raw_size, 4099, 7);
	}
	decodes_in_pieces(frame, size, raw, raw_size, size, 100000);
	free(raw);
	free(frame);
}

static void every_kind_of_frame(void **state)
{
	(void)state;
	for (unsigned bits = 0; bits < 64; bits++) {
		for (int id = LZ4F_max64KB; id <= LZ4F_max4MB; id++) {
			enum pattern pattern = id % 2 ? TEXT : NOISE;
			size_t raw_size = bits & 32 ? 300000 : 3000;
			LZ4F_preferences_t prefs = {
				.frameInfo = {
					.blockSizeID = (LZ4F_blockSizeID_t)id,
					.blockMode = bits & 1 ? LZ4F_blockLinked : LZ4F_blockIndependent,
					.blockChecksumFlag = bits & 2 ? LZ4F_blockChecksumEnabled : LZ4F_noBlockChecksum,
					.contentChecksumFlag = bits & 4 ? LZ4F_contentChecksumEnabled : LZ4F_noContentChecksum,
					.contentSize = bits & 8 ? raw_size : 0,
				},
				.compressionLevel = bits & 16 ? 9 : 0,
			};

			check_foreign(&prefs, raw_size, pattern, raw_size < 10000);
		}
	}
}

static void frames_of_several_large_blocks(void **state)
{
	(void)state;
	for (int id = LZ4F_max256KB; id <= LZ4F_max4MB; id++) {
		for (int linked = 0; linked < 2; linked++) {
			LZ4F_preferences_t prefs = {
				.frameInfo = { .blockSizeID = (LZ4F_blockSizeID_t)id, .blockMode = linked ? LZ4F_blockLinked : LZ4F_blockIndependent },
			};
			check_foreign(&prefs, 10 << 20, TEXT, false);
		}
	}
}

/* Whatever is cut, no more is forgiven than the end mark. */
static void truncations(void **state)
{
	uint8_t raw[5004];
	uint64_t measured;

	(void)state;
	memset(raw, 'X', sizeof(raw));
	put_le32(raw, 5000);
	for (size_t size = 0; size < sizeof(original); size++) {
		uint8_t *exact = malloc(size + 1), back[sizeof(raw)];
		int expected = size >= sizeof(original) - END_MARK_BYTES ? 0 : -EBADMSG;

		memcpy(exact, original, size);
		assert_int_equal(lz4frame_decompress(back, sizeof(back), exact, size), expected);
		/* A header alone is a frame of nothing that lacks its end mark. */
		if (size == 7 || (size > 7 && size < 11))
			assert_int_equal(lz4frame_measure(exact, size, UINT64_MAX, &measured), 0);
		else
			assert_int_equal(lz4frame_measure(exact, size, UINT64_MAX, &measured), expected);
		if (expected == 0)
			decodes_to(exact, size, raw, sizeof(raw));
		free(exact);
	}
}

/* Blocks stored as they are come out piece by piece, so a cut one must not pass for a shorter frame. */
static void truncated_stored_blocks(void **state)
{
	enum { RAW_BYTES = 100, FRAME_BYTES = 7 + 4 + RAW_BYTES + 4 };
	uint8_t *raw = make_raw(RAW_BYTES, NOISE), out[1024], back[RAW_BYTES];
	uint64_t measured;
	size_t size;

	(void)state;
	assert_int_equal(lz4frame_compress(out, sizeof(out), raw, RAW_BYTES, &size), 0);
	assert_int_equal(size, FRAME_BYTES);
	for (size_t cut = 12; cut < FRAME_BYTES - END_MARK_BYTES; cut++) {
		assert_int_equal(lz4frame_measure(out, cut, UINT64_MAX, &measured), -EBADMSG);
		for (size_t raw_size = 0; raw_size <= RAW_BYTES; raw_size++)
			assert_int_equal(lz4frame_decompress(back, raw_size, out, cut), -EBADMSG);
	}
	decodes_to(out, FRAME_BYTES - END_MARK_BYTES, raw, RAW_BYTES);
	free(raw);
}

static void bytes_after_the_end_mark_are_ignored(void **state)
{
	uint8_t in[2 * sizeof(original)], raw[5004];

	(void)state;
	memset(raw, 'X', sizeof(raw));
	put_le32(raw, 5000);
	memcpy(in, original, sizeof(original));
	memcpy(in + sizeof(original), original, sizeof(original));
	decodes_to(in, sizeof(in), raw, sizeof(raw));
	memset(in + sizeof(original), 0xff, sizeof(original));
	decodes_to(in, sizeof(in), raw, sizeof(raw));
}

static void other_formats_are_refused(void **state)
{
	static const uint8_t skippable[] = { 0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4 };
	static const uint8_t legacy[] = { 0x02, 0x21, 0x4c, 0x18, 3, 0, 0, 0, 0x20, 'a', 'b' };
	uint8_t in[sizeof(skippable) + sizeof(original)];
	struct lz4frame_decoder *dec;
	bool end;

	(void)state;
	is_refused("", 0);
	is_refused(skippable, sizeof(skippable));
	is_refused(legacy, sizeof(legacy));
	is_refused(original, 4);
	is_refused("hello, this is no LZ4 frame", 27);
	memset(in, 0, sizeof(in));
	is_refused(in, sizeof(in));
	memcpy(in, skippable, sizeof(skippable));
	memcpy(in + sizeof(skippable), original, sizeof(original));
	is_refused(in, sizeof(in));
	/* Byte by byte it is no better. */
	assert_int_equal(lz4frame_decoder_new(&dec), 0);
	for (size_t at = 0;; at++) {
		size_t n_in = 1, n_out = 0;
		uint8_t none;
		int r = lz4frame_decoder_run(dec, in + at, &n_in, &none, &n_out, &end);
		if (r == -EBADMSG)
			break;
		assert_true(at < 4);
	}
	lz4frame_decoder_free(dec);
}

static void dictionaries_are_refused(void **state)
{
	LZ4F_preferences_t prefs = { .frameInfo = { .dictID = 7 } };
	uint8_t *raw = make_raw(3000, TEXT);
	size_t size;
	uint8_t *frame = make_foreign(&prefs, raw, 3000, &size);

	(void)state;
	assert_true(frame[4] & 1);
	is_refused(frame, size);
	free(raw);
	free(frame);
}

/* The header carries a checksum of its own. */
static void every_flipped_bit_of_a_header(void **state)
{
	uint8_t in[sizeof(original)];

	(void)state;
	for (size_t at = 0; at < 7; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			memcpy(in, original, sizeof(in));
			in[at] ^= (uint8_t)(1u << bit);
			is_refused(in, sizeof(in));
		}
	}
}

/* Where the frame has checksums, no flipped bit may go unnoticed. */
static void every_flipped_bit_under_checksums(void **state)
{
	enum { RAW_BYTES = 2000 };
	LZ4F_preferences_t prefs = {
		.frameInfo = { .blockChecksumFlag = LZ4F_blockChecksumEnabled, .contentChecksumFlag = LZ4F_contentChecksumEnabled, .contentSize = RAW_BYTES },
	};
	uint8_t *raw = make_raw(RAW_BYTES, TEXT), back[RAW_BYTES];
	size_t size;
	uint8_t *frame = make_foreign(&prefs, raw, RAW_BYTES, &size);

	(void)state;
	for (size_t at = 0; at < size; at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			frame[at] ^= (uint8_t)(1u << bit);
			assert_int_equal(lz4frame_decompress(back, RAW_BYTES, frame, size), -EBADMSG);
			frame[at] ^= (uint8_t)(1u << bit);
		}
	}
	assert_int_equal(lz4frame_decompress(back, RAW_BYTES, frame, size), 0);
	free(raw);
	free(frame);
}

/* Nothing here has a known result; it must come back, within its buffers. */
static void garbage_behind_a_good_header(void **state)
{
	uint32_t seed = 88172645;

	(void)state;
	for (int round = 0; round < 3000; round++) {
		size_t size = 7 + next_random(&seed) % 200, raw_size = next_random(&seed) % 3000;
		uint8_t *in = malloc(size), *back = malloc(raw_size + 1);
		uint64_t measured;
		int r;

		memcpy(in, original, 7);
		for (size_t i = 7; i < size; i++)
			in[i] = (uint8_t)(next_random(&seed) >> 9);
		/* Let the size of the block often fit. */
		if (size > 11 && round % 4)
			put_le32(in + 7, (uint32_t)(size - 11) | (round % 4 == 3 ? 0x80000000u : 0));
		r = lz4frame_decompress(back, raw_size, in, size);
		assert_true(r == 0 || r == -EBADMSG);
		r = lz4frame_measure(in, size, 100000, &measured);
		assert_true(r == 0 || r == -EBADMSG || r == -EFBIG);
		free(in);
		free(back);
	}
}

static void every_flipped_bit_of_a_plain_frame(void **state)
{
	uint8_t in[sizeof(original)], *back = malloc(5004);

	(void)state;
	for (size_t at = 7; at < sizeof(in); at++) {
		for (unsigned bit = 0; bit < 8; bit++) {
			int r;
			memcpy(in, original, sizeof(in));
			in[at] ^= (uint8_t)(1u << bit);
			r = lz4frame_decompress(back, 5004, in, sizeof(in));
			assert_true(r == 0 || r == -EBADMSG);
		}
	}
	free(back);
}

/* 64 MiB of zeros in a quarter of a MiB: refused as soon as it is too much, in a buffer as small as it was promised to be. */
static void bombs(void **state)
{
	enum { RAW_BYTES = 64 << 20 };
	uint8_t *raw = make_raw(RAW_BYTES, ZEROS), small[1000];
	size_t capacity = lz4frame_bound(RAW_BYTES), size;
	uint8_t *out = malloc(capacity);
	uint64_t measured = 4711;

	(void)state;
	assert_int_equal(lz4frame_compress(out, capacity, raw, RAW_BYTES, &size), 0);
	assert_true(size < 300000);
	assert_int_equal(lz4frame_decompress(small, sizeof(small), out, size), -EBADMSG);
	assert_int_equal(lz4frame_measure(out, size, 1 << 20, &measured), -EFBIG);
	assert_int_equal(measured, 4711);
	assert_int_equal(lz4frame_measure(out, size, RAW_BYTES, &measured), 0);
	assert_int_equal(measured, RAW_BYTES);
	free(raw);
	free(out);
}

static void content_size_that_lies(void **state)
{
	LZ4F_preferences_t prefs = { .frameInfo = { .contentSize = 3000 } };
	uint8_t *raw = make_raw(3000, TEXT), back[3000];
	LZ4F_cctx *ctx;
	uint8_t out[8192];
	size_t at, n;

	(void)state;
	/* The header says 3000, and 2000 follow. */
	assert_false(LZ4F_isError(LZ4F_createCompressionContext(&ctx, LZ4F_VERSION)));
	at = LZ4F_compressBegin(ctx, out, sizeof(out), &prefs);
	n = LZ4F_compressUpdate(ctx, out + at, sizeof(out) - at, raw, 2000, NULL);
	assert_false(LZ4F_isError(n));
	at += n;
	n = LZ4F_flush(ctx, out + at, sizeof(out) - at, NULL);
	assert_false(LZ4F_isError(n));
	at += n;
	put_le32(out + at, 0);
	assert_int_equal(lz4frame_decompress(back, 2000, out, at + END_MARK_BYTES), -EBADMSG);
	assert_int_equal(lz4frame_decompress(back, 3000, out, at + END_MARK_BYTES), -EBADMSG);
	LZ4F_freeCompressionContext(ctx);
	free(raw);
}

static void encode_in_pieces(size_t raw_size, size_t piece)
{
	struct lz4frame_encoder *enc;
	uint8_t *raw = make_raw(raw_size, TEXT), *out = NULL;
	size_t at = 0, n;

	assert_int_equal(lz4frame_encoder_new(raw_size, &enc), 0);
	for (size_t done = 0; done < raw_size; done += piece) {
		size_t size = raw_size - done < piece ? raw_size - done : piece, bound = lz4frame_encoder_bound(enc, size);

		out = realloc(out, at + bound);
		assert_int_equal(lz4frame_encoder_add(enc, raw + done, size, out + at, bound - 1, &n), -ENOBUFS);
		if (done + size < raw_size)
			assert_int_equal(lz4frame_encoder_end(enc, out + at, bound, &n), -EINVAL);
		assert_int_equal(lz4frame_encoder_add(enc, raw + done, size, out + at, bound, &n), 0);
		assert_true(n <= bound);
		at += n;
	}
	n = lz4frame_encoder_bound(enc, 1);
	out = realloc(out, at + n);
	assert_int_equal(lz4frame_encoder_add(enc, raw, 1, out + at, n, &n), -EINVAL);
	n = lz4frame_encoder_bound(enc, 0);
	out = realloc(out, at + n);
	assert_int_equal(lz4frame_encoder_end(enc, out + at, n - 1, &n), -ENOBUFS);
	assert_int_equal(lz4frame_encoder_end(enc, out + at, n, &n), 0);
	at += n;
	lz4frame_encoder_free(enc);
	decodes_to(out, at, raw, raw_size);
	free(raw);
	free(out);
}

static void encoding_in_pieces(void **state)
{
	(void)state;
	encode_in_pieces(0, 1);
	encode_in_pieces(100, 1);
	encode_in_pieces(65536, 65536);
	encode_in_pieces(65536, 1000);
	encode_in_pieces(300000, 7777);
	encode_in_pieces(10 << 20, 1 << 20);
	lz4frame_encoder_free(NULL);
}

static void decoder_after_end_failure_and_reset(void **state)
{
	struct lz4frame_decoder *dec;
	uint8_t raw[8192];
	size_t n_in = sizeof(original), n_out = sizeof(raw);
	bool end = false;

	(void)state;
	lz4frame_decoder_free(NULL);
	assert_int_equal(lz4frame_decoder_new(&dec), 0);
	for (int round = 0; round < 2; round++) {
		n_in = sizeof(original);
		n_out = sizeof(raw);
		assert_int_equal(lz4frame_decoder_run(dec, original, &n_in, raw, &n_out, &end), 0);
		assert_true(end);
		assert_int_equal(n_out, 5004);
		/* After its end it takes and gives nothing, not even of another frame. */
		n_in = sizeof(original);
		n_out = sizeof(raw);
		assert_int_equal(lz4frame_decoder_run(dec, original, &n_in, raw, &n_out, &end), 0);
		assert_true(end);
		assert_int_equal(n_in, 0);
		assert_int_equal(n_out, 0);
		lz4frame_decoder_reset(dec);
		/* Once it has failed it goes on failing. */
		n_in = 7;
		n_out = sizeof(raw);
		assert_int_equal(lz4frame_decoder_run(dec, "garbage", &n_in, raw, &n_out, &end), -EBADMSG);
		n_in = sizeof(original);
		n_out = sizeof(raw);
		assert_int_equal(lz4frame_decoder_run(dec, original, &n_in, raw, &n_out, &end), -EBADMSG);
		lz4frame_decoder_reset(dec);
	}
	lz4frame_decoder_free(dec);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(frame_of_the_original),
		cmocka_unit_test(headers_are_the_originals),
		cmocka_unit_test(round_trips),
		cmocka_unit_test(every_kind_of_frame),
		cmocka_unit_test(frames_of_several_large_blocks),
		cmocka_unit_test(truncations),
		cmocka_unit_test(truncated_stored_blocks),
		cmocka_unit_test(bytes_after_the_end_mark_are_ignored),
		cmocka_unit_test(other_formats_are_refused),
		cmocka_unit_test(dictionaries_are_refused),
		cmocka_unit_test(every_flipped_bit_of_a_header),
		cmocka_unit_test(every_flipped_bit_under_checksums),
		cmocka_unit_test(garbage_behind_a_good_header),
		cmocka_unit_test(every_flipped_bit_of_a_plain_frame),
		cmocka_unit_test(bombs),
		cmocka_unit_test(content_size_that_lies),
		cmocka_unit_test(encoding_in_pieces),
		cmocka_unit_test(decoder_after_end_failure_and_reset),
	};

	return TEST_RUN(tests);
}
