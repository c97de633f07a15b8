/* SPDX-License-Identifier: Apache-2.0 */
/* Reads a descriptor line by line, many at a time, in bounded memory: a line that does not fit comes in pieces. */
#ifndef WALCTL_LINES_H
#define WALCTL_LINES_H

#include <stdbool.h>
#include <stddef.h>

enum { LINES_BYTES = 1 << 20 };

struct lines {
	int fd;
	char *buf;	/* LINES_BYTES, from lines_init() */
	size_t start;	/* what is before it has been taken */
	size_t size;	/* bytes in `buf` */
	bool end;	/* the input is at its end */
};

/* -ENOMEM. */
int lines_init(struct lines *lines, int fd);
void lines_release(struct lines *lines);

/*
 * Waits for more input, having dropped what was taken; what is left over stays in front. 0; a negative errno of read(2). Sets `end` at the end. Not to be
 * called with a full buffer of which nothing was taken.
 */
int lines_fill(struct lines *lines);

/*
 * Takes the next line of what is in the buffer, without its newline: true. At the end of the input the last line needs none. False: there is no
 * whole line; lines_fill(), or, if the buffer is full, lines_take_rest().
 */
bool lines_next(struct lines *lines, const char **ret_line, size_t *ret_size);

/* The buffer holds the beginning of a line and is full. */
bool lines_is_full(const struct lines *lines);

/* Takes all that is left in the buffer: a piece of a line. */
void lines_take_rest(struct lines *lines, const char **ret_piece, size_t *ret_size);

#endif
