/* SPDX-License-Identifier: Apache-2.0 */
/* Names, sizes, times and ids as text. */
#ifndef WALCTL_TEXT_H
#define WALCTL_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	TEXT_NAME_MAX = 4 * 255 + 1, /* any stream name escaped, NUL included */
	TEXT_SIZE_MAX = 24,
	TEXT_TIME_MAX = 48,
};

/* The length of the UTF-8 sequence at `text`, which ends with NUL; 0 if there is no valid one. */
size_t text_utf8_length(const char *text);

bool text_is_utf8(const char *text);

/* Whether the character at `text` is a control character: U+0000 to U+001F, U+007F to U+009F. */
bool text_is_control(const char *text);

/* How many columns of a terminal it takes, counting a character as one. */
size_t text_width(const char *text);

/*
 * `name` in a form that is safe on a terminal and stays on its line: a backslash is doubled; control characters, and bytes that are not UTF-8, become
 * \xHH for each byte. Cut after TEXT_NAME_MAX - 1 bytes. Returns `buf`.
 */
char *text_escape(char buf[TEXT_NAME_MAX], const char *name);

/* Plain digits, or with `human` as "1.5K", "64M". Returns `buf`. */
char *text_size(char buf[TEXT_SIZE_MAX], uint64_t bytes, bool human);

/* RFC 3339 in UTC with `digits` (0 to 9) of the second's fraction. Returns `buf`. */
char *text_time(char buf[TEXT_TIME_MAX], int64_t time_ns, int digits);

/* Decimal digits only, at most 2^64 - 1. The first `length` bytes of `text`. */
bool text_parse_number(const char *text, size_t length, uint64_t *ret);

#endif
