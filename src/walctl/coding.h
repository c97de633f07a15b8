/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes as words: ids of checkpoints, names of streams in a line, keys.
 *
 * As in a URL, %XX stands for a byte by its two hexadecimal digits. The word for an id has no byte but the visible ones of ASCII; in it '/', a '%' that two
 * hexadecimal digits follow, a '.' in front and the H of HEAD are written so too: so it is also a name under .checkpoints of a mount. Reading a word,
 * every %XX is its byte and all else stands for itself: what is printed is read as what it was, and an id that is an ordinary name is typed as it is.
 */
#ifndef WALCTL_CODING_H
#define WALCTL_CODING_H

#include <stddef.h>

struct bytes {
	void *data; /* for free(3); followed by a NUL that does not count */
	size_t size;
};

/* The word for an id, for free(3). NULL: no memory. */
char *coding_id_word(const void *id, size_t size);

/* The reverse of any word. -ENOMEM. */
int coding_read_word(const char *word, struct bytes *ret);

/* The word for a stream's name: as it is, but for blanks, control characters, '%' and what is not UTF-8. For free(3). NULL: no memory. */
char *coding_name_word(const char *name);

/* -EINVAL if it is not an even number of hexadecimal digits, -ENOMEM. */
int coding_read_hex(const char *digits, struct bytes *ret);

#endif
