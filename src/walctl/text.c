/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "text.h"

/* The bounds on the second byte exclude overlong forms, surrogates and what is above U+10FFFF. */
size_t text_utf8_length(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	unsigned char low = 0x80, high = 0xbf;
	size_t length;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		length = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		length = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < length; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	return length;
}

bool text_is_utf8(const char *text)
{
	while (*text) {
		size_t length = text_utf8_length(text);
		if (!length)
			return false;
		text += length;
	}
	return true;
}

size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

/* C1 controls (U+0080 to U+009F) drive terminals as C0 does. */
bool text_is_control(const char *text)
{
	unsigned char first = (unsigned char)text[0];

	return first < 0x20 || first == 0x7f || (first == 0xc2 && (unsigned char)text[1] < 0xa0);
}

char *text_escape(char buf[TEXT_NAME_MAX], const char *name)
{
	size_t used = 0;

	while (*name) {
		char piece[4 * 4 + 1];
		size_t length = text_utf8_length(name), piece_length = 0;

		if (length && !text_is_control(name)) {
			if (*name == '\\')
				piece[piece_length++] = '\\';
			memcpy(piece + piece_length, name, length);
			piece_length += length;
		} else {
			length = length ? length : 1;
			for (size_t i = 0; i < length; i++)
				piece_length += (size_t)sprintf(piece + piece_length, "\\x%02x", (unsigned char)name[i]);
		}
		if (used + piece_length > TEXT_NAME_MAX - 1)
			break;
		memcpy(buf + used, piece, piece_length);
		used += piece_length;
		name += length;
	}
	buf[used] = '\0';
	return buf;
}

char *text_size(char buf[TEXT_SIZE_MAX], uint64_t bytes, bool human)
{
	static const char units[] = "KMGTPE";
	unsigned unit = 0;
	double value = (double)bytes / 1024;

	if (!human || bytes < 1024) {
		snprintf(buf, TEXT_SIZE_MAX, "%" PRIu64, bytes);
		return buf;
	}
	while (value >= 1023.5 && units[unit + 1]) {
		value /= 1024;
		unit++;
	}
	snprintf(buf, TEXT_SIZE_MAX, value < 9.95 ? "%.1f%c" : "%.0f%c", value, units[unit]);
	return buf;
}

char *text_time(char buf[TEXT_TIME_MAX], int64_t time_ns, int digits)
{
	int64_t fraction = time_ns % 1000000000;
	time_t seconds = (time_t)(time_ns / 1000000000);
	char fraction_text[16];
	struct tm tm;
	size_t used;

	if (fraction < 0) {
		fraction += 1000000000;
		seconds--;
	}
	gmtime_r(&seconds, &tm); /* 64 bits of nanoseconds are the years 1677 to 2262: cannot fail */
	used = strftime(buf, TEXT_TIME_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(fraction_text, sizeof(fraction_text), ".%09d", (int)fraction);
	snprintf(buf + used, TEXT_TIME_MAX - used, "%.*sZ", digits ? digits + 1 : 0, fraction_text);
	return buf;
}

bool text_parse_number(const char *text, size_t length, uint64_t *ret)
{
	uint64_t value = 0;

	if (!length)
		return false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		if (__builtin_mul_overflow(value, 10, &value) || __builtin_add_overflow(value, (uint64_t)(text[i] - '0'), &value))
			return false;
	}
	*ret = value;
	return true;
}
