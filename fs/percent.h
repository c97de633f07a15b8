/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names that can't stand as they are: ids of checkpoints as file names, keys of shards, names of streams in a column of text. As in a URL,
 * %XX is a byte by its two hexadecimal digits.
 *
 * The name of a checkpoint is its id, where that is a plain name. Written as %XX are: '/', NUL, the first '.' (a name that begins with a
 * period is not listed), the H of HEAD (the link to the latest), and every '%' that would be taken for the begin of such a triple. So
 * percent_decode() of a name is the id, and no two ids have the same name.
 *
 * A name holds 255 bytes, an id more. Of a name that gets too long the first part stays, whole triples of it, followed by "%~" and the
 * 16 digits of its fnv1a(). It can't be decoded: such a *cut* name is resolved by searching the list of checkpoints for it. An id that itself ends
 * like one has that '%' as %25.
 */
#ifndef WALFS_PERCENT_H
#define WALFS_PERCENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	PERCENT_NAME_MAX = 255,
};

/* The file name of an id. `name` has room for PERCENT_NAME_MAX + 1 bytes and gets a NUL. Returns its length. */
size_t percent_encode(const void *id, size_t id_size, char *name);

/* Whether `name` is cut: to be searched for, not decoded. */
bool percent_is_cut(const char *name, size_t name_size);

/* Every %XX becomes its byte, all else stays. `ret` has room for name_size bytes, and may be `name`. Returns how many it got. */
size_t percent_decode(const char *name, size_t name_size, void *ret);

/* A name as one word of a line: blanks, control characters and '%' as %XX. `column` has room for 3 * strlen(name) + 1 bytes. Returns its length. */
size_t percent_encode_column(const char *name, char *column);

#endif
