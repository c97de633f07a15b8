/* SPDX-License-Identifier: Apache-2.0 */
#include "keyhash.h"

#include "bytes.h"

struct sip {
	uint64_t v0, v1, v2, v3;
};

static inline uint64_t rotl(uint64_t x, unsigned bits)
{
	return x << bits | x >> (64 - bits);
}

static void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v1;
	s->v0 += s->v3;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 = rotl(s->v2, 32);
}

/* The 1 of SipHash-1-3: one round a word. */
static void sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	s->v0 ^= word;
}

uint64_t keyhash(const void *key, size_t size)
{
	/* "somepseudorandomlygeneratedbytes", unchanged by the key 0, 0. */
	struct sip s = { 0x736f6d6570736575, 0x646f72616e646f6d, 0x6c7967656e657261, 0x7465646279746573 };
	const uint8_t *bytes = key;
	/* The low byte of how many bytes are hashed: the 8 of the length leave it as it is but for adding 8. */
	uint64_t last = (uint64_t)(uint8_t)(size + 8) << 56;
	size_t whole = size / 8 * 8;

	sip_word(&s, size);
	for (size_t i = 0; i < whole; i += 8)
		sip_word(&s, get_le64(bytes + i));
	for (size_t i = whole; i < size; i++)
		last |= (uint64_t)bytes[i] << (i - whole) * 8;
	sip_word(&s, last);
	s.v2 ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}
