/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "range.h"
#include "text.h"

static bool is_word(const char *text, size_t length, const char *word)
{
	return length == strlen(word) && !memcmp(text, word, length);
}

static enum exit_code parse_bound(const struct command *command, struct wal_stream *stream, const char *text, size_t length, uint64_t *ret)
{
	char name[TEXT_NAME_MAX];
	uint64_t first, next;
	bool last = is_word(text, length, "last");

	if (last || is_word(text, length, "first")) {
		wal_stream_bounds(stream, &first, &next, NULL);
		if (first == next) {
			command_say(command, "stream '%s' has no entries", text_escape(name, wal_stream_name(stream)));
			return EXIT_LACKING;
		}
		*ret = last ? next - 1 : first;
		return EXIT_OK;
	}
	if (!text_parse_number(text, length, ret) || *ret == UINT64_MAX)
		return command_usage(command->verb, "'%.*s' is no entry: expected an id, 'first' or 'last'", (int)length, text);
	return EXIT_OK;
}

enum exit_code range_parse(const struct command *command, struct wal_stream *stream, const char *text, struct id_range *ret)
{
	struct id_range range = { 0 };
	const char *dots = text ? strstr(text, "..") : NULL, *to = dots ? dots + 2 : text;
	size_t from_length = dots ? (size_t)(dots - text) : text ? strlen(text) : 0;
	enum exit_code code = EXIT_OK;

	wal_stream_bounds(stream, &range.from, &range.end, NULL);
	range.from_set = from_length > 0;
	range.end_set = to && *to;
	if (text && !range.from_set && !range.end_set)
		return command_usage(command->verb, "'%s' is no range: expected ID, FROM..TO, FROM.. or ..TO", text);
	if (range.from_set)
		code = parse_bound(command, stream, text, from_length, &range.from);
	if (!code && range.end_set)
		code = parse_bound(command, stream, to, strlen(to), &range.end);
	if (code)
		return code;
	range.end += range.end_set;
	if (range.from_set && range.end_set && range.end <= range.from)
		return command_usage(command->verb, "the range '%s' ends before it begins", text);
	*ret = range;
	return EXIT_OK;
}

int range_of_gap(struct wal_stream *stream, uint64_t id, uint64_t end, uint64_t *ret_count)
{
	struct wal_entry entry;
	struct wal_iter *iter;
	uint64_t count = 1;
	int r = wal_iter_new(stream, id, &iter);

	if (r < 0)
		return r;
	wal_iter_seek(iter, id);
	r = wal_iter_next(iter, &entry);
	wal_iter_free(iter);
	if ((r == WAL_GAP || r == WAL_PRUNED) && entry.id <= id && entry.size > id - entry.id)
		count = entry.size - (id - entry.id);
	*ret_count = count < end - id ? count : end - id;
	return 0;
}
