/* SPDX-License-Identifier: Apache-2.0 */
/* FNV-1a, 64 bits. Inode numbers and names of long ids are made with it: it never changes. */
#ifndef WALFS_FNV_H
#define WALFS_FNV_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t fnv1a(const void *data, size_t size)
{
	const unsigned char *p = data;
	uint64_t hash = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < size; i++)
		hash = (hash ^ p[i]) * UINT64_C(0x100000001b3);
	return hash;
}

#endif
