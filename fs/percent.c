/* SPDX-License-Identifier: Apache-2.0 */
#include "percent.h"

#include <string.h>

#include "fnv.h"

enum {
	CUT_DIGITS = 16,
	CUT_TAIL = 2 + CUT_DIGITS, /* "%~" and the digits */
};

static const char digits[] = "0123456789ABCDEF";

static int digit_value(unsigned char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool is_triple(const unsigned char *p, size_t size)
{
	return size >= 3 && p[0] == '%' && digit_value(p[1]) >= 0 && digit_value(p[2]) >= 0;
}

static bool is_tail(const unsigned char *p, size_t size)
{
	if (size != CUT_TAIL || p[0] != '%' || p[1] != '~')
		return false;
	for (size_t i = 2; i < size; i++)
		if (digit_value(p[i]) < 0)
			return false;
	return true;
}

static bool is_plain(const unsigned char *id, size_t size, size_t i)
{
	switch (id[i]) {
	case '\0':
	case '/':
		return false;
	case '.':
		return i;
	case 'H':
		return i || size != 4 || memcmp(id, "HEAD", 4);
	case '%':
		return !is_triple(id + i, size - i) && !is_tail(id + i, size - i);
	default:
		return true;
	}
}

/* `byte`, plain or as a triple, and a NUL. */
static size_t put(char *at, unsigned char byte, bool plain)
{
	size_t n = 0;

	if (plain) {
		at[n++] = (char)byte;
	} else {
		at[n++] = '%';
		at[n++] = digits[byte >> 4];
		at[n++] = digits[byte & 15];
	}
	at[n] = '\0';
	return n;
}

static size_t put_tail(char *at, uint64_t hash)
{
	at[0] = '%';
	at[1] = '~';
	for (int i = 0; i < CUT_DIGITS; i++)
		at[2 + i] = digits[hash >> (60 - 4 * i) & 15];
	at[CUT_TAIL] = '\0';
	return CUT_TAIL;
}

size_t percent_encode(const void *id, size_t id_size, char *name)
{
	const unsigned char *bytes = id;
	size_t used = 0, cut = 0; /* where a tail would go */

	for (size_t i = 0; i < id_size; i++) {
		bool plain = is_plain(bytes, id_size, i);

		if (used + (plain ? 1 : 3) > PERCENT_NAME_MAX)
			return cut + put_tail(name + cut, fnv1a(id, id_size));
		used += put(name + used, bytes[i], plain);
		if (used <= PERCENT_NAME_MAX - CUT_TAIL)
			cut = used;
	}
	name[used] = '\0';
	return used;
}

bool percent_is_cut(const char *name, size_t name_size)
{
	return name_size >= CUT_TAIL && is_tail((const unsigned char *)name + name_size - CUT_TAIL, CUT_TAIL);
}

size_t percent_decode(const char *name, size_t name_size, void *ret)
{
	const unsigned char *p = (const unsigned char *)name;
	unsigned char *to = ret;
	size_t used = 0;

	for (size_t i = 0; i < name_size;) {
		if (is_triple(p + i, name_size - i)) {
			to[used++] = (unsigned char)(digit_value(p[i + 1]) << 4 | digit_value(p[i + 2]));
			i += 3;
		} else {
			to[used++] = p[i++];
		}
	}
	return used;
}

size_t percent_encode_column(const char *name, char *column)
{
	size_t used = 0;

	for (; *name; name++) {
		unsigned char c = (unsigned char)*name;

		used += put(column + used, c, c > 0x20 && c != 0x7f && c != '%');
	}
	column[used] = '\0';
	return used;
}
