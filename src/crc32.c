/* SPDX-License-Identifier: Apache-2.0 */
#include "crc32.h"

#include <assert.h>
#include <libdeflate.h>
#include <stdbool.h>
#include <zlib.h>

#ifdef __x86_64__
#include <immintrin.h>

#define FOLDS __attribute__((target("pclmul,avx512f,vpclmulqdq")))

enum {
	LANES_BYTES = 4 * 64, /* each multiplication has to wait for the one before it, so four go on at a time */
	FOLD_MIN = 2 * LANES_BYTES, /* for less it is not worth it */
	FOLDED_BYTES = 16,
};

/*
 * The message is a polynomial. 16 bytes of it that stand n bits before other 16 are multiplied by x^n mod P, and what that gives can be added to those (Gopal and others, "Fast CRC Computation for Generic Polynomials Using
 * PCLMULQDQ Instruction"). All is reflected: the first byte is the lowest, and the constant for x^n is its 32 bits in reverse order, shifted left by one. These are x^(n-32) and x^(n+32), for the high and the low half.
 */
#define X_128 0x0ccaa009e, 0x1751997d0
#define X_256 0x15a546366, 0x0f1da05aa
#define X_384 0x174359406, 0x03db1ecdc
#define X_512 0x1c6e41596, 0x154442bd4
#define X_2048 0x1322d1430, 0x11542778a

FOLDS static inline __m512i load(const uint8_t *data)
{
	return _mm512_loadu_si512(data);
}

/* `before` moved to where `next` stands, and added; four times side by side. */
FOLDS static inline __m512i fold(__m512i before, __m512i x, __m512i next)
{
	enum { ADD_THREE = 0x96 };

	return _mm512_ternarylogic_epi64(_mm512_clmulepi64_epi128(before, x, 0x00), _mm512_clmulepi64_epi128(before, x, 0x11), next, ADD_THREE);
}

FOLDS static inline __m128i fold_one(__m128i before, __m128i x, __m128i next)
{
	return _mm_xor_si128(_mm_xor_si128(_mm_clmulepi64_si128(before, x, 0x00), _mm_clmulepi64_si128(before, x, 0x11)), next);
}

FOLDS static inline __m512i all_four(__m128i x)
{
	return _mm512_broadcast_i32x4(x);
}

/*
 * At least FOLD_MIN bytes, a multiple of 64. *ret_folded are 16 bytes with the same remainder as all of them behind what `crc` covers.
 */
FOLDS static void fold_down(uint32_t crc, const uint8_t *data, size_t size, uint8_t ret_folded[FOLDED_BYTES])
{
	const __m512i x_2048 = all_four(_mm_set_epi64x(X_2048)), x_512 = all_four(_mm_set_epi64x(X_512));
	/* A crc goes on as if it stood in the first four bytes; it is kept inverted. */
	__m512i a = _mm512_xor_si512(load(data), _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)~crc)));
	__m512i b = load(data + 64), c = load(data + 128), last = load(data + 192);

	for (data += LANES_BYTES, size -= LANES_BYTES; size >= LANES_BYTES; data += LANES_BYTES, size -= LANES_BYTES) {
		a = fold(a, x_2048, load(data));
		b = fold(b, x_2048, load(data + 64));
		c = fold(c, x_2048, load(data + 128));
		last = fold(last, x_2048, load(data + 192));
	}
	last = fold(fold(fold(a, x_512, b), x_512, c), x_512, last);
	for (; size > 0; data += 64, size -= 64)
		last = fold(last, x_512, load(data));
	__m128i one = fold_one(_mm512_extracti32x4_epi32(last, 0), _mm_set_epi64x(X_384), _mm512_extracti32x4_epi32(last, 3));
	one = fold_one(_mm512_extracti32x4_epi32(last, 1), _mm_set_epi64x(X_256), one);
	one = fold_one(_mm512_extracti32x4_epi32(last, 2), _mm_set_epi64x(X_128), one);
	_mm_storeu_si128((__m128i *)ret_folded, one);
}

static bool can_fold(void)
{
	return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq");
}

/* By vectors of 64 bytes, as far as that goes; libdeflate does no more than 16 at a time. */
static uint32_t update_long(uint32_t crc, const uint8_t *data, size_t size)
{
	uint8_t folded[FOLDED_BYTES];
	size_t whole = size & ~(size_t)63;

	fold_down(crc, data, whole, folded);
	/* What stood before is in them already: they are the first, with nothing inverted. */
	crc = libdeflate_crc32(UINT32_MAX, folded, sizeof folded);
	return whole < size ? libdeflate_crc32(crc, data + whole, size - whole) : crc;
}

#else

enum { FOLD_MIN = 0 };

static bool can_fold(void)
{
	return false;
}

static uint32_t update_long(uint32_t crc, const uint8_t *data, size_t size)
{
	return libdeflate_crc32(crc, data, size);
}

#endif

uint32_t crc32_update(uint32_t crc, const void *data, size_t size)
{
	/* A null pointer asks for the initial value, and `crc` would be forgotten. */
	if (size == 0)
		return crc;
	return size >= FOLD_MIN && can_fold() ? update_long(crc, data, size) : libdeflate_crc32(crc, data, size);
}

uint32_t crc32_join(uint32_t crc_a, uint32_t crc_b, uint64_t size_b)
{
	/* zlib's length is signed, and a negative one never ends. */
	assert(size_b <= INT64_MAX);
	return (uint32_t)crc32_combine(crc_a, crc_b, (z_off_t)size_b);
}

uint32_t crc32_join_by(struct crc32_joint *joint, uint32_t crc_a, uint32_t crc_b, uint32_t size_b)
{
	/* No length has the shift 0. */
	if (joint->shift == 0 || joint->size_b != size_b)
		*joint = (struct crc32_joint){ size_b, (uint32_t)crc32_combine_gen64(size_b) };
	return (uint32_t)crc32_combine_op(crc_a, crc_b, joint->shift);
}
