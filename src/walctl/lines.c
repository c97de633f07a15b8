/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lines.h"

int lines_init(struct lines *lines, int fd)
{
	*lines = (struct lines){ .fd = fd, .buf = malloc(LINES_BYTES) };
	return lines->buf ? 0 : -ENOMEM;
}

void lines_release(struct lines *lines)
{
	free(lines->buf);
	lines->buf = NULL;
}

int lines_fill(struct lines *lines)
{
	ssize_t got;

	lines->size -= lines->start;
	memmove(lines->buf, lines->buf + lines->start, lines->size);
	lines->start = 0;
	do {
		got = read(lines->fd, lines->buf + lines->size, LINES_BYTES - lines->size);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	lines->end = got == 0;
	lines->size += (size_t)got;
	return 0;
}

bool lines_next(struct lines *lines, const char **ret_line, size_t *ret_size)
{
	const char *line = lines->buf + lines->start;
	size_t rest = lines->size - lines->start;
	const char *newline = memchr(line, '\n', rest);

	if (!newline && !(lines->end && rest))
		return false;
	*ret_line = line;
	*ret_size = newline ? (size_t)(newline - line) : rest;
	lines->start += *ret_size + (newline ? 1 : 0);
	return true;
}

bool lines_is_full(const struct lines *lines)
{
	return lines->start == 0 && lines->size == LINES_BYTES;
}

void lines_take_rest(struct lines *lines, const char **ret_piece, size_t *ret_size)
{
	*ret_piece = lines->buf + lines->start;
	*ret_size = lines->size - lines->start;
	lines->start = lines->size;
}
