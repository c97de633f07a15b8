/* SPDX-License-Identifier: Apache-2.0 */
/* What Rust's DefaultHasher gives for these byte slices: keys of the original's sharded stores. */
#ifndef KEY_HASHES_H
#define KEY_HASHES_H

#include <stddef.h>
#include <stdint.h>

static const struct key_hash {
	const char *key;
	size_t size;
	uint64_t hash;
} key_hashes[] = {
	{ "", 0, 0xbd60acb658c79e45 },
	{ "a", 1, 0xbeb9a6bbf61b58b4 },
	{ "key1", 4, 0xb975d15668133cc2 },
	{ "user_123", 8, 0x3143fdac11e93ab3 },
	{ "user_1000", 9, 0x3f9ff3e67d891c7d },
	{ "order:00000001", 14, 0x3f746ce8b024e14a },
	{ "01234567", 8, 0x919a0a9c421e9086 },
	{ "0123456789abcdef", 16, 0x3750d23093a8f4ad },
	{ "\x00\xff\x10", 3, 0x7835f0a355aaefdc },
	{ "na\xc3\xafve-\xd0\xba\xd0\xbb\xd1\x8e\xd1\x87", 15, 0x63c904825f5ad0ea },
};

#endif
