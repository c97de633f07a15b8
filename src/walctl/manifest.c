/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "percent.h"
#include "text.h"

enum { WORDS_MAX = 6 };

void manifest_release(struct manifest *manifest)
{
	for (size_t i = 0; i < manifest->stream_count; i++)
		free(manifest->streams[i].name);
	for (size_t i = 0; i < manifest->checkpoint_count; i++) {
		free(manifest->checkpoints[i].name);
		free(manifest->checkpoints[i].id.data);
	}
	free(manifest->streams);
	free(manifest->checkpoints);
	*manifest = (struct manifest){ 0 };
}

static int grow(void *array, size_t count, size_t *capacity, size_t item_bytes)
{
	void **items = array;
	size_t more = *capacity ? 2 * *capacity : 16;
	void *larger;

	if (count < *capacity)
		return 0;
	larger = realloc(*items, more * item_bytes);
	if (!larger)
		return -ENOMEM;
	*items = larger;
	*capacity = more;
	return 0;
}

/* Where it is, or belongs. */
static size_t place_of(const struct manifest *manifest, const char *name)
{
	size_t low = 0, high = manifest->stream_count;

	/* They mostly come in their order. */
	if (high && strcmp(manifest->streams[high - 1].name, name) < 0)
		return high;
	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (strcmp(manifest->streams[middle].name, name) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

struct manifest_stream *manifest_find(const struct manifest *manifest, const char *name)
{
	size_t i = place_of(manifest, name);

	return i < manifest->stream_count && !strcmp(manifest->streams[i].name, name) ? &manifest->streams[i] : NULL;
}

int manifest_add_stream(struct manifest *manifest, const struct manifest_stream *stream)
{
	struct manifest_stream copy = *stream;
	size_t i = place_of(manifest, stream->name);

	if (i < manifest->stream_count && !strcmp(manifest->streams[i].name, stream->name))
		return -EEXIST;
	copy.name = strdup(stream->name);
	if (!copy.name || grow(&manifest->streams, manifest->stream_count, &manifest->stream_capacity, sizeof(copy)) < 0) {
		free(copy.name);
		return -ENOMEM;
	}
	memmove(&manifest->streams[i + 1], &manifest->streams[i], (manifest->stream_count - i) * sizeof(copy));
	manifest->streams[i] = copy;
	manifest->stream_count++;
	return 0;
}

int manifest_add_checkpoint(struct manifest *manifest, const struct manifest_checkpoint *checkpoint)
{
	struct manifest_checkpoint copy = *checkpoint;
	int r = grow(&manifest->checkpoints, manifest->checkpoint_count, &manifest->checkpoint_capacity, sizeof(copy));

	copy.name = checkpoint->name ? strdup(checkpoint->name) : NULL;
	copy.id.data = malloc(copy.id.size + 1);
	if (r < 0 || !copy.id.data || (checkpoint->name && !copy.name)) {
		free(copy.name);
		free(copy.id.data);
		return -ENOMEM;
	}
	memcpy(copy.id.data, checkpoint->id.data, copy.id.size);
	((char *)copy.id.data)[copy.id.size] = '\0';
	manifest->checkpoints[manifest->checkpoint_count++] = copy;
	return 0;
}

/* ---- Writing ---- */

static void put_hex(const struct bytes *id, FILE *file)
{
	for (size_t i = 0; i < id->size; i++)
		fprintf(file, "%02x", ((const unsigned char *)id->data)[i]);
	putc('\n', file);
}

void manifest_write(const struct manifest *manifest, bool state, FILE *file)
{
	char name[3 * WAL_STREAM_NAME_MAX + 1];

	fprintf(file, "walfs %s 1\n", state ? "state" : "export");
	if (!state)
		fprintf(file, "shards %" PRIu32 "\ncheckpoints %" PRIu64 "\n", manifest->shards, manifest->checkpoints_told);
	for (size_t i = 0; i < manifest->stream_count; i++) {
		const struct manifest_stream *stream = &manifest->streams[i];

		percent_encode_column(stream->name, name);
		if (state)
			fprintf(file, "stream %s %" PRIu64 " %" PRIu64 " %" PRIu64 " %08" PRIx32 "\n", name, stream->first, stream->next, stream->last_size,
				stream->last_crc);
		else
			fprintf(file, "stream %s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", name, stream->first, stream->from, stream->next);
	}
	for (size_t i = 0; i < manifest->checkpoint_count; i++) {
		const struct manifest_checkpoint *checkpoint = &manifest->checkpoints[i];

		if (state)
			fprintf(file, "checkpoint %" PRId64 " ", checkpoint->time_ns);
		else
			fprintf(file, "checkpoint %s ", checkpoint->name);
		put_hex(&checkpoint->id, file);
	}
}

/* ---- Reading ---- */

/* Cuts the line into its words, in place. How many there are, WORDS_MAX + 1 if too many. */
static int split(char *line, char *words[WORDS_MAX])
{
	int count = 0;

	for (char *word = line; word; count++) {
		char *blank = strchr(word, ' ');

		if (count == WORDS_MAX)
			return WORDS_MAX + 1;
		if (blank)
			*blank++ = '\0';
		words[count] = word;
		word = blank;
	}
	return count;
}

static bool read_number(const char *word, uint64_t *ret)
{
	return text_parse_number(word, strlen(word), ret);
}

static bool read_crc(const char *word, uint32_t *ret)
{
	char *end;

	if (strlen(word) != 8 || strspn(word, "0123456789abcdef") != 8)
		return false;
	*ret = (uint32_t)strtoul(word, &end, 16);
	return true;
}

static int read_stream(char **words, int count, bool state, struct manifest *manifest)
{
	struct manifest_stream stream = { .name = count > 1 ? words[1] : NULL };
	size_t size;
	int r;

	if (count != (state ? 6 : 5) || !read_number(words[2], &stream.first) || !read_number(words[3], state ? &stream.next : &stream.from) ||
	    !read_number(words[4], state ? &stream.last_size : &stream.next) || (state && !read_crc(words[5], &stream.last_crc)))
		return -EBADMSG;
	if (state)
		stream.from = stream.first;
	size = percent_decode(stream.name, strlen(stream.name), stream.name);
	stream.name[size] = '\0';
	if (strlen(stream.name) != size || wal_stream_name_check(stream.name) < 0 || stream.first > stream.from || stream.from > stream.next)
		return -EBADMSG;
	r = manifest_add_stream(manifest, &stream);
	return r == -EEXIST ? -EBADMSG : r;
}

static int read_checkpoint(char **words, int count, bool state, struct manifest *manifest)
{
	struct manifest_checkpoint checkpoint = { 0 };
	uint64_t time = 0;
	int r;

	if (count != 3 || (state && (!read_number(words[1] + (words[1][0] == '-'), &time) || time > INT64_MAX)))
		return -EBADMSG;
	r = coding_read_hex(words[2], &checkpoint.id);
	if (r < 0)
		return r == -EINVAL ? -EBADMSG : r;
	checkpoint.time_ns = words[1][0] == '-' ? -(int64_t)time : (int64_t)time;
	checkpoint.name = state ? NULL : words[1];
	if (checkpoint.id.size && checkpoint.id.size <= WAL_CHECKPOINT_ID_MAX)
		r = manifest_add_checkpoint(manifest, &checkpoint);
	else
		r = -EBADMSG;
	free(checkpoint.id.data);
	return r;
}

static int read_line(char *line, bool state, struct manifest *manifest)
{
	char *words[WORDS_MAX] = { NULL };
	int count = split(line, words);
	uint64_t shards;

	if (!strcmp(words[0], "stream"))
		return read_stream(words, count, state, manifest);
	if (!strcmp(words[0], "checkpoint"))
		return read_checkpoint(words, count, state, manifest);
	if (!state && !strcmp(words[0], "checkpoints") && count == 2)
		return read_number(words[1], &manifest->checkpoints_told) ? 0 : -EBADMSG;
	if (state || strcmp(words[0], "shards") || count != 2 || !read_number(words[1], &shards) || shards > UINT16_MAX)
		return -EBADMSG;
	manifest->shards = (uint32_t)shards;
	return 0;
}

/* Each line ends with a newline: the last one's absence is a cut. */
static int read_lines(char *text, size_t size, bool state, struct manifest *manifest, size_t *ret_line)
{
	char *end = text + size;
	size_t number = 0;
	int r = size ? 0 : -EBADMSG;

	for (char *line = text; r == 0 && line < end; number++) {
		char *newline = memchr(line, '\n', (size_t)(end - line));

		*ret_line = number + 1;
		if (!newline || memchr(line, '\0', (size_t)(newline - line)))
			return -EBADMSG;
		*newline = '\0';
		if (number)
			r = read_line(line, state, manifest);
		else if (strcmp(line, state ? "walfs state 1" : "walfs export 1"))
			r = -EBADMSG;
		line = newline + 1;
	}
	return r;
}

int manifest_read(const char *text, size_t size, bool state, struct manifest *manifest, char ret_fault[128])
{
	char *copy = malloc(size + 1);
	size_t line = 1;
	int r;

	if (!copy)
		return -ENOMEM;
	memcpy(copy, text, size);
	r = read_lines(copy, size, state, manifest, &line);
	free(copy);
	if (r == -EBADMSG)
		snprintf(ret_fault, 128, "line %zu: expected %s", line,
			 line == 1 ? (state ? "'walfs state 1'" : "'walfs export 1'") : state ? "'stream NAME FIRST NEXT SIZE CRC' or 'checkpoint TIME ID'" :
					   "'shards N', 'checkpoints N', 'stream NAME FIRST FROM NEXT' or 'checkpoint NAME ID'");
	return r;
}
