/* SPDX-License-Identifier: Apache-2.0 */
#include "coding.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

static int digit_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that two digits stand for, -1 if they are none. Does not look at the second if the first is none. */
static int pair_value(const unsigned char *p)
{
	int high = digit_value(p[0]), low = high < 0 ? -1 : digit_value(p[1]);

	return low < 0 ? -1 : high << 4 | low;
}

static char *put_byte(char *at, unsigned char byte, bool plain)
{
	static const char digits[] = "0123456789ABCDEF";

	if (plain) {
		*at++ = (char)byte;
	} else {
		*at++ = '%';
		*at++ = digits[byte >> 4];
		*at++ = digits[byte & 15];
	}
	return at;
}

/* `id` is followed by a NUL, so that the two bytes behind a '%' can be looked at. */
static bool is_plain_in_id(const unsigned char *id, size_t size, size_t i)
{
	switch (id[i]) {
	case '/':
		return false;
	case '.':
		return i > 0;
	case '%':
		return pair_value(id + i + 1) < 0;
	case 'H':
		return i > 0 || size != 4 || memcmp(id, "HEAD", 4) != 0;
	default:
		return id[i] > 0x20 && id[i] < 0x7f;
	}
}

char *coding_id_word(const void *id, size_t size)
{
	char *word = malloc(3 * size + 1), *at = word;

	if (!word)
		return NULL;
	for (size_t i = 0; i < size; i++)
		at = put_byte(at, ((const unsigned char *)id)[i], is_plain_in_id(id, size, i));
	*at = '\0';
	return word;
}

int coding_read_word(const char *word, struct bytes *ret)
{
	const unsigned char *p = (const unsigned char *)word;
	unsigned char *data = malloc(strlen(word) + 1);
	size_t size = 0;

	if (!data)
		return -ENOMEM;
	while (*p) {
		int value = *p == '%' ? pair_value(p + 1) : -1;

		data[size++] = value < 0 ? *p : (unsigned char)value;
		p += value < 0 ? 1 : 3;
	}
	data[size] = '\0';
	*ret = (struct bytes){ data, size };
	return 0;
}

char *coding_name_word(const char *name)
{
	char *word = malloc(3 * strlen(name) + 1), *at = word;

	if (!word)
		return NULL;
	while (*name) {
		size_t length = text_utf8_length(name);
		bool plain = length && !text_is_control(name) && *name != ' ' && *name != '%';

		for (length = length ? length : 1; length; length--)
			at = put_byte(at, (unsigned char)*name++, plain);
	}
	*at = '\0';
	return word;
}

int coding_read_hex(const char *digits, struct bytes *ret)
{
	size_t size = strlen(digits) / 2;
	unsigned char *data;

	if (strlen(digits) % 2)
		return -EINVAL;
	data = malloc(size + 1);
	if (!data)
		return -ENOMEM;
	for (size_t i = 0; i < size; i++) {
		int value = pair_value((const unsigned char *)digits + 2 * i);

		if (value < 0) {
			free(data);
			return -EINVAL;
		}
		data[i] = (unsigned char)value;
	}
	data[size] = '\0';
	*ret = (struct bytes){ data, size };
	return 0;
}
