/* SPDX-License-Identifier: Apache-2.0 */
/* LZ4 frames: measured, decompressed whole and in pieces, all with the same outcome; and what is compressed comes back. The first two bytes choose the sizes of pieces. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "lz4codec.h"

enum { RAW_MAX = 16 << 20 };

static void in_pieces(const uint8_t *in, size_t size, size_t in_piece, size_t out_piece, const uint8_t *raw, uint64_t raw_size, bool good)
{
	struct lz4frame_decoder *dec;
	uint8_t *out = malloc(out_piece);
	uint64_t made = 0;
	size_t used = 0;
	bool end = false;

	CHECK(out && lz4frame_decoder_new(&dec) == 0);
	for (;;) {
		size_t n_in = size - used < in_piece ? size - used : in_piece, n_out = out_piece, offered = n_in;
		int result = lz4frame_decoder_run(dec, in + used, &n_in, out, &n_out, &end);

		if (result < 0) {
			CHECK(!good, "in pieces of %zu and %zu: %d", in_piece, out_piece, result);
			break;
		}
		CHECK(n_in <= offered && n_out <= out_piece);
		if (good)
			CHECK(made + n_out <= raw_size && memcmp(raw + made, out, n_out) == 0, "at %zu", (size_t)made);
		used += n_in;
		made += n_out;
		if (end || made > RAW_MAX || (n_in == 0 && n_out == 0))
			break;
	}
	CHECK(!good || made == raw_size);
	lz4frame_decoder_free(dec);
	free(out);
}

static void round_trip(const uint8_t *raw, size_t size)
{
	size_t capacity = lz4frame_bound(size), packed;
	uint8_t *out = malloc(capacity), *again = malloc(size + 1);
	uint64_t measured;

	CHECK(out && again);
	CHECK(lz4frame_compress(out, capacity, raw, size, &packed) == 0 && packed <= capacity);
	CHECK(lz4frame_measure(out, packed, size, &measured) == 0 && measured == size);
	CHECK(lz4frame_decompress(again, size, out, packed) == 0 && memcmp(raw, again, size) == 0);
	free(again);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint64_t raw_size = 0;

	if (size < 2)
		return 0;
	size_t in_piece = 1 + data[0], out_piece = 1 + (size_t)data[1] * data[1];
	data += 2;
	size -= 2;
	bool good = lz4frame_measure(data, size, RAW_MAX, &raw_size) == 0;
	uint8_t *raw = malloc(good ? raw_size + 1 : 4096);
	CHECK(raw);
	if (good) {
		CHECK(raw_size <= RAW_MAX && raw_size <= (uint64_t)size * LZ4FRAME_RATIO_MAX);
		CHECK(lz4frame_decompress(raw, raw_size, data, size) == 0);
		CHECK(lz4frame_decompress(raw, raw_size + 1, data, size) < 0);
		if (raw_size > 0)
			CHECK(lz4frame_decompress(raw, raw_size - 1, data, size) < 0);
		CHECK(lz4frame_decompress(raw, raw_size, data, size) == 0);
	} else {
		(void)lz4frame_decompress(raw, 4096, data, size);
	}
	in_pieces(data, size, in_piece, out_piece, raw, raw_size, good);
	free(raw);
	round_trip(data, size);
	return 0;
}
