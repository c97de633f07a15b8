/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint_file.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "percent.h"
#include "text.h"

char *checkpoint_file_text(const struct wal_checkpoint *checkpoint, size_t *ret_size)
{
	char name[3 * WAL_STREAM_NAME_MAX + 1], time[TEXT_TIME_MAX], *text = NULL;
	FILE *memory = open_memstream(&text, ret_size);

	if (!memory)
		return NULL;
	fprintf(memory, "created %s\n", text_time(time, checkpoint->time_ns, 9));
	for (size_t i = 0; i < checkpoint->cut_count; i++) {
		percent_encode_column(checkpoint->cuts[i].stream, name);
		fprintf(memory, "%s %" PRIu64 "\n", name, checkpoint->cuts[i].next_id);
	}
	if (fclose(memory) == 0)
		return text;
	free(text);
	return NULL;
}

/* "created " and the time as text_time() has it, so that it is exact: what it would print of it is compared. */
static bool read_created(const char *line, int64_t *ret_time_ns)
{
	char again[TEXT_TIME_MAX];
	struct tm tm = { 0 };
	int64_t seconds, ns;
	int year, month, end = 0;
	unsigned fraction;

	if (sscanf(line, "created %d-%d-%dT%d:%d:%d.%9uZ%n", &year, &month, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec, &fraction, &end) != 7 || !end ||
	    line[end] || year < 1600 || year > 2300 || fraction > 999999999)
		return false;
	tm.tm_year = year - 1900;
	tm.tm_mon = month - 1;
	seconds = timegm(&tm);
	if (__builtin_mul_overflow(seconds, (int64_t)1000000000, &ns) || __builtin_add_overflow(ns, (int64_t)fraction, &ns))
		return false;
	*ret_time_ns = ns;
	return !strcmp(line + strlen("created "), text_time(again, ns, 9));
}

/* "NAME ID", in place. */
static bool read_cut(char *line, struct wal_cut *ret)
{
	char *blank = strchr(line, ' ');
	size_t size;

	if (!blank || !text_parse_number(blank + 1, strlen(blank + 1), &ret->next_id))
		return false;
	*blank = '\0';
	size = percent_decode(line, strlen(line), line);
	line[size] = '\0';
	ret->stream = line;
	return strlen(line) == size && wal_stream_name_check(line) == 0;
}

/* `text` is the copy that the checkpoint keeps. */
static bool read_lines(char *text, size_t size, struct wal_checkpoint *checkpoint, struct wal_cut *cuts, size_t *ret_line)
{
	char *end = text + size;

	*ret_line = 1;
	if (!size)
		return false;
	for (char *line = text; line < end; ++*ret_line) {
		char *newline = memchr(line, '\n', (size_t)(end - line));

		if (!newline || memchr(line, '\0', (size_t)(newline - line)))
			return false;
		*newline = '\0';
		if (*ret_line == 1 ? !read_created(line, &checkpoint->time_ns) : !read_cut(line, &cuts[checkpoint->cut_count++]))
			return false;
		line = newline + 1;
	}
	return true;
}

int checkpoint_file_parse(const struct bytes *id, const char *text, size_t size, struct wal_checkpoint **ret_checkpoint, char ret_fault[128])
{
	struct wal_checkpoint *checkpoint;
	struct wal_cut *cuts;
	size_t lines = 0, line;
	char *copy;

	for (size_t i = 0; i < size; i++)
		lines += text[i] == '\n';
	checkpoint = calloc(1, sizeof(*checkpoint) + lines * sizeof(*cuts) + size + id->size + 2);
	if (!checkpoint)
		return -ENOMEM;
	cuts = (struct wal_cut *)(checkpoint + 1);
	copy = (char *)(cuts + lines);
	memcpy(copy, text, size);
	checkpoint->cuts = cuts;
	checkpoint->id = memcpy(copy + size + 1, id->data, id->size);
	checkpoint->id_size = id->size;
	if (!read_lines(copy, size, checkpoint, cuts, &line)) {
		free(checkpoint);
		snprintf(ret_fault, 128, "line %zu: expected %s", line, line == 1 ? "'created ' and a time" : "the name of a stream and an id");
		return -EBADMSG;
	}
	*ret_checkpoint = checkpoint;
	return 0;
}
