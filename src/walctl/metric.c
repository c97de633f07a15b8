/* SPDX-License-Identifier: Apache-2.0 */
#include "metric.h"

#include <stddef.h>
#include <string.h>

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* What walfs writes as %XX, because it is not to stand in a label as it is. */
static void decode(char *text)
{
	char *to = text;

	while (*text) {
		int high = *text == '%' ? hex_digit(text[1]) : -1, low = high >= 0 ? hex_digit(text[2]) : -1;

		if (low >= 0 && high + low > 0) {
			*to++ = (char)(high << 4 | low);
			text += 3;
		} else {
			*to++ = *text++;
		}
	}
	*to = '\0';
}

/* Takes the label's escapes out, ends it with NUL and returns what is behind the closing quote; NULL if there is none. `text` is behind the opening one. */
static char *unescape(char *text)
{
	char *to = text;

	while (*text && *text != '"') {
		if (*text == '\\' && text[1]) {
			*to++ = (char)(text[1] == 'n' ? '\n' : text[1]);
			text += 2;
		} else {
			*to++ = *text++;
		}
	}
	if (!*text)
		return NULL;
	*to = '\0';
	return text + 1;
}

/* From behind the opening brace to behind the closing one. */
static char *parse_labels(char *text, struct metric *metric)
{
	while (text && *text && *text != '}') {
		char *key = text, *value = strstr(text, "=\"");

		if (!value)
			return NULL;
		*value = '\0';
		value += 2;
		text = unescape(value);
		if (text && *text == ',')
			text++;
		if (!strcmp(key, "stream"))
			metric->stream = value;
		else if (!strcmp(key, "state"))
			metric->state = value;
		else if (!strcmp(key, "le"))
			metric->le = value;
	}
	return text && *text ? text + 1 : NULL;
}

bool metric_parse(char *line, struct metric *ret)
{
	struct metric metric = { .name = line };
	char *text = line + strcspn(line, "{ ");

	if (*line == '#' || !*text)
		return false;
	if (*text == '{') {
		*text++ = '\0';
		text = parse_labels(text, &metric);
	}
	if (!text || *text != ' ')
		return false;
	*text++ = '\0';
	text[strcspn(text, "\n")] = '\0';
	metric.value = text;
	if (metric.stream)
		decode(metric.stream);
	*ret = metric;
	return true;
}
