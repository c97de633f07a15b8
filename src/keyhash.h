/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hash that decides which shard a key belongs to. It is part of the format: SipHash-1-3 with the key 0, 0 over the length of the key as u64 little-endian and its bytes,
 * which is what Rust's DefaultHasher makes of a byte slice on 64-bit machines.
 */
#ifndef WAL_KEYHASH_H
#define WAL_KEYHASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t keyhash(const void *key, size_t size);

#endif
