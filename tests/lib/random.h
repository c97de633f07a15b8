/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers that look random and are the same for the same seed everywhere (splitmix64). Header only. */
#ifndef RANDOM_H
#define RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct random {
	uint64_t state;
};

static inline uint64_t random_next(struct random *r)
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15u;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
	z = (z ^ z >> 27) * 0x94d049bb133111ebu;
	return z ^ z >> 31;
}

/* 0 … limit - 1; `limit` is not 0. */
static inline uint64_t random_below(struct random *r, uint64_t limit)
{
	return random_next(r) % limit;
}

/* Up to `max`, mostly small: each power of two is as likely as the next. */
static inline size_t random_size(struct random *r, size_t max)
{
	uint64_t bits = random_below(r, 65 - (uint64_t)__builtin_clzll(max | 1));
	uint64_t size = random_below(r, (uint64_t)2 << bits) / 2;

	return size < max ? (size_t)size : max;
}

/* Bytes made from `seed`; half of all seeds make text that compresses. */
static inline void random_fill(uint64_t seed, void *data, size_t size)
{
	struct random r = { seed };
	uint8_t *bytes = data;
	uint64_t word = 0;

	for (size_t i = 0; i < size; i++) {
		if (i % 8 == 0)
			word = random_next(&r);
		bytes[i] = seed & 1 ? (uint8_t)(word >> i % 8 * 8) : (uint8_t)("abcd"[word >> i % 8 * 2 & 3]);
	}
}

#endif
