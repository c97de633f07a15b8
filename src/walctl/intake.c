/* SPDX-License-Identifier: Apache-2.0 */
#include "intake.h"

#include <errno.h>
#include <inttypes.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

#include "text.h"

enum {
	BATCH_BYTES = 4 << 20, /* what is larger goes through a file */
	BATCH_COUNT = 4096,
	PIECE_BYTES = 1 << 20,
};

static enum exit_code fail(const struct intake *intake, int result, const struct intake_stream *stream, uint64_t id)
{
	char name[TEXT_NAME_MAX];

	return command_fail(&intake->command, result, "stream '%s': entry %" PRIu64, text_escape(name, stream->name), id);
}

/* ---- Open and close ---- */

enum exit_code intake_open(struct intake *intake, const struct command *command, const char *path, uint32_t shards)
{
	struct wal_options options = command->options;
	struct wal_error error = { 0 };
	int r;

	*intake = (struct intake){ .command = *command, .spool.fd = -1 };
	pthread_mutex_init(&intake->command.log.lock, NULL);
	intake->command.store_path = path;
	command_prepare(&intake->command);
	options = intake->command.options;
	options.ro = options.no_create = false;
	if (shards)
		options.shards = shards;
	intake->batch = calloc(BATCH_COUNT, sizeof(*intake->batch));
	intake->bytes = malloc(BATCH_BYTES);
	intake->piece = malloc(PIECE_BYTES);
	if (!intake->batch || !intake->bytes || !intake->piece)
		return command_fail(&intake->command, -ENOMEM, "opening");
	r = wal_store_open(path, &options, &intake->store, &error);
	if (r < 0)
		return command_fail_open(&intake->command, r, &error);
	if (wal_store_options(intake->store)->ro) {
		command_say(&intake->command, "it can't be written");
		return EXIT_SYSTEM;
	}
	return EXIT_OK;
}

static void free_stream(void *node)
{
	struct intake_stream *stream = node;

	wal_stream_close(stream->stream);
	free(stream->name);
	free(stream);
}

static void drop_entry(struct intake *intake)
{
	wal_reader_close(intake->reader);
	intake->reader = NULL;
	spool_end(&intake->spool);
	intake->mode = INTAKE_NONE;
}

enum exit_code intake_close(struct intake *intake, enum exit_code code)
{
	drop_entry(intake);
	tdestroy(intake->streams, free_stream);
	if (intake->store)
		code = command_close_store(&intake->command, intake->store, code);
	intake_forget_waiting(intake);
	free(intake->batch);
	free(intake->bytes);
	free(intake->piece);
	pthread_mutex_destroy(&intake->command.log.lock);
	return code;
}

/* ---- Streams ---- */

static int by_name(const void *a, const void *b)
{
	const struct intake_stream *left = a, *right = b;

	return strcmp(left->name, right->name);
}

enum exit_code intake_stream(struct intake *intake, const char *name, struct intake_stream **ret_stream)
{
	const struct intake_stream key = { .name = (char *)name };
	struct intake_stream **found = tfind(&key, &intake->streams, by_name), *stream;
	char escaped[TEXT_NAME_MAX];
	struct wal_error error = { 0 };
	int r;

	if (found) {
		*ret_stream = *found;
		return EXIT_OK;
	}
	stream = calloc(1, sizeof(*stream));
	if (!stream)
		return command_fail(&intake->command, -ENOMEM, "stream '%s'", text_escape(escaped, name));
	stream->name = strdup(name);
	r = stream->name ? wal_stream_open(intake->store, name, WAL_CREATE, &stream->stream, &error) : -ENOMEM;
	if (r == 0 && !tsearch(stream, &intake->streams, by_name))
		r = -ENOMEM;
	if (r < 0) {
		free_stream(stream);
		if (r == -EPERM && !wal_store_shards(intake->store))
			command_say(&intake->command, "%s (--shards=N makes a new store with shards)", error.message);
		else
			command_say(&intake->command, "%s", error.message[0] ? error.message : wal_strerror(r));
		return exit_code_of(r);
	}
	wal_stream_bounds(stream->stream, &stream->first, &stream->next, NULL);
	*ret_stream = stream;
	return EXIT_OK;
}

static enum exit_code skip_to(struct intake *intake, struct intake_stream *stream, uint64_t next)
{
	enum exit_code code = intake_flush(intake);
	char what[64];
	int r;

	if (code)
		return code;
	r = wal_stream_skip(stream->stream, next);
	snprintf(what, sizeof(what), "going on with id %" PRIu64, next);
	if (r < 0)
		return command_fail_stream(&intake->command, r, stream->stream, what);
	wal_stream_bounds(stream->stream, &stream->first, &stream->next, NULL);
	return EXIT_OK;
}

enum exit_code intake_first(struct intake *intake, struct intake_stream *stream, uint64_t first)
{
	if (stream->next || !first)
		return EXIT_OK;
	return skip_to(intake, stream, first);
}

enum exit_code intake_gap(struct intake *intake, struct intake_stream *stream, uint64_t next)
{
	char name[TEXT_NAME_MAX];
	uint64_t from = stream->next;

	if (next <= from)
		return EXIT_OK;
	text_escape(name, stream->name);
	if (!intake->allow_gaps) {
		command_say(&intake->command, "stream '%s': entries %" PRIu64 " to %" PRIu64 " are missing: expected to go on with %" PRIu64 ", found %" PRIu64 " (--allow-gaps gives them up)",
			    name, from, next - 1, from, next);
		return EXIT_LACKING;
	}
	command_say(&intake->command, "stream '%s': entries %" PRIu64 " to %" PRIu64 " are missing, and given up", name, from, next - 1);
	intake->lost += next - from;
	return skip_to(intake, stream, next);
}

/* ---- Entries ---- */

enum exit_code intake_flush(struct intake *intake)
{
	size_t done = 0;
	char what[96];
	int r;

	if (!intake->batch_count)
		return EXIT_OK;
	r = wal_stream_restore(intake->current->stream, intake->batch, intake->batch_count, 0, &done);
	intake->appended += done;
	snprintf(what, sizeof(what), "appending entries %" PRIu64 " to %" PRIu64, intake->batch[0].id, intake->batch[intake->batch_count - 1].id);
	intake->batch_count = intake->bytes_used = 0;
	if (r < 0)
		return command_fail_stream(&intake->command, r, intake->current->stream, what);
	return EXIT_OK;
}

static enum exit_code differ(struct intake *intake, const char *how)
{
	char name[TEXT_NAME_MAX];

	command_say(&intake->command, "stream '%s': entry %" PRIu64 " is there already, and is another: %s", text_escape(name, intake->current->name), intake->entry.id, how);
	drop_entry(intake);
	return EXIT_LACKING;
}

/* The store's own entry is read beside the one that comes. */
static enum exit_code begin_compare(struct intake *intake)
{
	struct intake_stream *stream = intake->current;
	uint64_t id = intake->entry.id;
	struct wal_entry_info info;
	char name[TEXT_NAME_MAX], how[96];
	enum exit_code code = intake_flush(intake); /* it may be one of those that wait */
	int r;

	if (code)
		return code;
	if (id < stream->first) {
		command_say(&intake->command, "stream '%s': entry %" PRIu64 " is older than what the store has: that begins with %" PRIu64, text_escape(name, stream->name), id,
			    stream->first);
		return EXIT_LACKING;
	}
	r = wal_reader_open(stream->stream, id, &intake->reader, &info);
	if (r)
		return fail(intake, r, stream, id);
	intake->mode = INTAKE_COMPARE;
	intake->other_times += info.time_ns / 1000000000 - intake->entry.time_ns / 1000000000 > 1 || intake->entry.time_ns / 1000000000 - info.time_ns / 1000000000 > 1;
	if (info.size == intake->entry_size)
		return EXIT_OK;
	snprintf(how, sizeof(how), "it has %" PRIu64 " bytes, what comes has %" PRIu64, info.size, intake->entry_size);
	return differ(intake, how);
}

static enum exit_code begin_append(struct intake *intake)
{
	uint64_t size = intake->entry_size;
	enum exit_code code = EXIT_OK;
	int r;

	if (size > BATCH_BYTES || size > BATCH_BYTES - intake->bytes_used || intake->batch_count == BATCH_COUNT)
		code = intake_flush(intake);
	if (code)
		return code;
	if (size <= BATCH_BYTES) {
		intake->mode = INTAKE_BATCH;
		intake->entry.data = intake->bytes + intake->bytes_used;
		return EXIT_OK;
	}
	r = spool_begin(&intake->spool, intake->command.store_path);
	if (r < 0)
		return command_fail(&intake->command, r, "a temporary file for a large entry");
	intake->mode = INTAKE_SPOOL;
	return EXIT_OK;
}

enum exit_code intake_begin(struct intake *intake, struct intake_stream *stream, uint64_t id, int64_t time_ns, uint64_t size)
{
	enum exit_code code = stream == intake->current ? EXIT_OK : intake_flush(intake);

	drop_entry(intake); /* one that came to no end */
	if (code)
		return code;
	intake->current = stream;
	intake->entry = (struct wal_entry){ .id = id, .time_ns = time_ns, .size = (size_t)size };
	intake->entry_size = size;
	intake->entry_got = 0;
	if (size > WAL_ENTRY_SIZE_MAX || id == UINT64_MAX)
		return fail(intake, -EFBIG, stream, id);
	if (!stream->next && id && (!stream->source_known || id == stream->source_first))
		code = intake_first(intake, stream, id);
	else if (id > stream->next)
		code = intake_gap(intake, stream, id);
	if (code)
		return code;
	if (id < stream->next)
		code = begin_compare(intake);
	else
		code = begin_append(intake);
	stream->had_entries = true;
	return code;
}

static enum exit_code compare(struct intake *intake, const char *data, size_t size)
{
	uint64_t offset = intake->entry_got;
	char how[96];
	size_t got;

	for (size_t i = 0; i < size; i += got, offset += got) {
		int r = wal_reader_read(intake->reader, intake->piece, size - i < PIECE_BYTES ? size - i : PIECE_BYTES, offset, &got);

		if (r || !got)
			return fail(intake, r ? r : -EBADMSG, intake->current, intake->entry.id);
		if (!memcmp(intake->piece, data + i, got))
			continue;
		for (size_t k = 0; ((char *)intake->piece)[k] == data[i + k]; k++)
			offset++;
		snprintf(how, sizeof(how), "both have %" PRIu64 " bytes, the one at offset %" PRIu64 " is not the same", intake->entry_size, offset);
		return differ(intake, how);
	}
	return EXIT_OK;
}

enum exit_code intake_data(struct intake *intake, const void *data, size_t size)
{
	enum exit_code code = EXIT_OK;
	int r = 0;

	if (size > intake->entry_size - intake->entry_got)
		return fail(intake, -EBADMSG, intake->current, intake->entry.id);
	if (intake->mode == INTAKE_COMPARE)
		code = compare(intake, data, size);
	else if (intake->mode == INTAKE_BATCH)
		memcpy(intake->bytes + intake->bytes_used + intake->entry_got, data, size);
	else
		r = spool_add(&intake->spool, data, size);
	intake->entry_got += size;
	return r < 0 ? command_fail(&intake->command, r, "a temporary file for a large entry") : code;
}

static enum exit_code append_spooled(struct intake *intake)
{
	size_t done = 0;
	char what[64];
	int r = spool_map(&intake->spool, intake->entry.size, &intake->entry.data);

	if (r < 0)
		return command_fail(&intake->command, r, "a temporary file for a large entry");
	r = wal_stream_restore(intake->current->stream, &intake->entry, 1, 0, &done);
	intake->appended += done;
	snprintf(what, sizeof(what), "appending entry %" PRIu64, intake->entry.id);
	if (r < 0)
		return command_fail_stream(&intake->command, r, intake->current->stream, what);
	intake->current->next++;
	return EXIT_OK;
}

enum exit_code intake_end(struct intake *intake)
{
	enum exit_code code = EXIT_OK;

	if (intake->entry_got != intake->entry_size)
		return fail(intake, -EBADMSG, intake->current, intake->entry.id);
	if (intake->mode == INTAKE_COMPARE) {
		intake->compared++;
	} else if (intake->mode == INTAKE_BATCH) {
		intake->batch[intake->batch_count++] = intake->entry;
		intake->bytes_used += intake->entry.size;
		intake->current->next++;
	} else {
		code = append_spooled(intake);
	}
	drop_entry(intake);
	return code;
}
