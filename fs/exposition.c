/* SPDX-License-Identifier: Apache-2.0 */
#include "exposition.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	NS_PER_S = 1000000000,
};

void exposition_family(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* ---- Labels ---- */

/* The length of the UTF-8 sequence at `text`, which ends with NUL: 2 to 4; 0 if it is not one. No surrogates, nothing longer than need be. */
static size_t utf8_length(const unsigned char *text)
{
	unsigned char low = 0x80, high = 0xbf;
	size_t length;

	if (text[0] >= 0xc2 && text[0] <= 0xdf)
		length = 2;
	else if (text[0] >= 0xe0 && text[0] <= 0xef)
		length = 3;
	else if (text[0] >= 0xf0 && text[0] <= 0xf4)
		length = 4;
	else
		return 0;
	if (text[0] == 0xe0)
		low = 0xa0;
	else if (text[0] == 0xed)
		high = 0x9f;
	else if (text[0] == 0xf0)
		low = 0x90;
	else if (text[0] == 0xf4)
		high = 0x8f;
	for (size_t i = 1; i < length; i++) {
		if (text[i] < low || text[i] > high)
			return 0;
		low = 0x80;
		high = 0xbf;
	}
	return length;
}

static bool is_hex(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f');
}

static bool is_plain(const unsigned char *c)
{
	return *c >= 0x20 && *c < 0x7f && !(*c == '%' && is_hex(c[1]) && is_hex(c[2]));
}

char *exposition_label(const char *key, const char *value)
{
	static const char digits[] = "0123456789ABCDEF";
	const unsigned char *from = (const unsigned char *)value;
	char *label = malloc(strlen(key) + 3 * strlen(value) + sizeof("=\"\"")), *to;

	if (!label)
		return NULL;
	to = stpcpy(stpcpy(label, key), "=\"");
	while (*from) {
		size_t length = utf8_length(from);

		if (length) {
			memcpy(to, from, length);
			to += length;
			from += length;
			continue;
		}
		if (*from == '\n') {
			*to++ = '\\';
			*to++ = 'n';
		} else if (is_plain(from)) {
			if (*from == '\\' || *from == '"')
				*to++ = '\\';
			*to++ = (char)*from;
		} else {
			*to++ = '%';
			*to++ = digits[*from >> 4];
			*to++ = digits[*from & 15];
		}
		from++;
	}
	strcpy(to, "\"");
	return label;
}

/* ---- Samples ---- */

static void put_labels(FILE *out, const char *labels, const char *more)
{
	if (labels || more)
		fprintf(out, "{%s%s%s}", labels ? labels : "", labels && more ? "," : "", more ? more : "");
}

void exposition_uint(FILE *out, const char *name, const char *labels, const char *more, uint64_t value)
{
	fputs(name, out);
	put_labels(out, labels, more);
	fprintf(out, " %" PRIu64 "\n", value);
}

static void put_seconds(FILE *out, uint64_t ns)
{
	fprintf(out, " %" PRIu64 ".%09" PRIu64 "\n", ns / NS_PER_S, ns % NS_PER_S);
}

void exposition_seconds(FILE *out, const char *name, const char *labels, int64_t ns)
{
	fputs(name, out);
	put_labels(out, labels, NULL);
	if (ns >= 0)
		put_seconds(out, (uint64_t)ns);
	else
		fprintf(out, " %.9f\n", (double)ns / NS_PER_S);
}

void exposition_histogram(FILE *out, const char *name, const char *labels, const struct wal_histogram *histogram)
{
	uint64_t count = 0;

	for (unsigned i = 0; i < WAL_HISTOGRAM_CLASSES; i++) {
		char le[40] = "le=\"+Inf\"";

		count += histogram->classes[i];
		if (i + 1 < WAL_HISTOGRAM_CLASSES)
			snprintf(le, sizeof(le), "le=\"%.9g\"", (double)wal_histogram_bound_ns(i) / NS_PER_S);
		fprintf(out, "%s_bucket", name);
		put_labels(out, labels, le);
		fprintf(out, " %" PRIu64 "\n", count);
	}
	fprintf(out, "%s_sum", name);
	put_labels(out, labels, NULL);
	put_seconds(out, histogram->sum_ns);
	fprintf(out, "%s_count", name);
	put_labels(out, labels, NULL);
	fprintf(out, " %" PRIu64 "\n", count);
}
