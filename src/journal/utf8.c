/* SPDX-License-Identifier: Apache-2.0 */
#include "utf8.h"

#include <stdint.h>

/* The length of the sequence at `p`, of which `left` (> 0) bytes are there; 0 if it is not valid. */
static size_t sequence_size(const uint8_t *p, size_t left)
{
	size_t size = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;

	if (size > left)
		return 0;
	for (size_t i = 1; i < size; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] >= 0x90))
		return 0;
	return size;
}

size_t utf8_valid_size(const void *text, size_t size)
{
	const uint8_t *p = text;
	size_t at = 0;

	while (at < size) {
		size_t n = sequence_size(p + at, size - at);

		if (!n)
			return at;
		at += n;
	}
	return size;
}
