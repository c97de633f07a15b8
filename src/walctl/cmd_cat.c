/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "journal_lines.h"
#include "range.h"
#include "text.h"
#include "walctl.h"

enum { OPT_NEWLINE, OPT_JOURNAL };

static const struct verb_option options[] = {
	[OPT_NEWLINE] = { "newline", 'n', NULL, "a newline after each entry" },
	[OPT_JOURNAL] = { "journal", 'j', NULL, "each entry as a line of JSON: the record of a journal that it is" },
	{ 0 },
};

enum {
	PIECE_BYTES = 1 << 20, /* entries above it are read in pieces of it, smaller ones together up to it */
	BATCH_COUNT = 512,
};

struct cat {
	const struct command *command;
	struct wal_stream *stream;
	struct wal_buf buf;
	void *piece;
	struct journal_lines *journal; /* NULL: entries as they are */
	struct wal_entry entries[BATCH_COUNT];
};

/* False once standard output fails: then there is nothing more to do. */
static bool put(struct cat *cat, const void *data, size_t size, bool ends)
{
	FILE *out = cat->command->out;

	fwrite(data, 1, size, out);
	if (ends && cat->command->given[OPT_NEWLINE])
		putc('\n', out);
	return !ferror(out);
}

static int put_pieces(struct cat *cat, struct wal_reader *reader, uint64_t size)
{
	size_t got;

	for (uint64_t offset = 0; offset < size; offset += got) {
		int r = wal_reader_read(reader, cat->piece, PIECE_BYTES, offset, &got);
		if (r)
			return r;
		if (!got)
			return -EBADMSG;
		if (!put(cat, cat->piece, got, offset + got == size))
			return 0;
	}
	return 0;
}

static int put_large(struct cat *cat, uint64_t id, uint64_t size)
{
	struct wal_reader *reader;
	int r;

	if (!cat->piece)
		cat->piece = malloc(PIECE_BYTES);
	if (!cat->piece)
		return -ENOMEM;
	r = wal_reader_open(cat->stream, id, &reader, NULL);
	if (r)
		return r;
	r = put_pieces(cat, reader, size);
	wal_reader_close(reader);
	return r;
}

static int put_small(struct cat *cat, uint64_t id, size_t count_max, size_t *ret_count)
{
	size_t count;
	int r = wal_stream_get_batch(cat->stream, id, count_max, PIECE_BYTES, &cat->buf, cat->entries, &count);

	if (r)
		return r;
	for (size_t i = 0; i < count && !r; i++) {
		if (cat->journal)
			r = journal_lines_entry(cat->journal, &cat->entries[i]);
		else if (!put(cat, cat->entries[i].data, cat->entries[i].size, true))
			break;
	}
	*ret_count = count;
	return r;
}

/* A record is decoded whole. One that is too large is not read at all. */
static int put_large_record(struct cat *cat, const struct wal_entry_info *info)
{
	struct wal_entry entry = { .id = info->id, .time_ns = info->time_ns, .size = (size_t)info->size };
	int r = info->size > WAL_RECORD_SIZE_MAX ? 0 : wal_stream_get(cat->stream, info->id, &cat->buf);

	if (r)
		return r;
	entry.data = info->size > WAL_RECORD_SIZE_MAX ? NULL : cat->buf.data;
	return journal_lines_entry(cat->journal, &entry);
}

/* Puts out one large entry or several small ones; *id moves over them. */
static int put_next(struct cat *cat, uint64_t *id, uint64_t end)
{
	struct wal_entry_info info;
	size_t count = 1;
	int r = wal_stream_lookup(cat->stream, *id, &info);

	if (r)
		return r;
	if (info.size > PIECE_BYTES && cat->journal)
		r = put_large_record(cat, &info);
	else if (info.size > PIECE_BYTES)
		r = put_large(cat, *id, info.size);
	else
		r = put_small(cat, *id, end - *id < BATCH_COUNT ? (size_t)(end - *id) : BATCH_COUNT, &count);
	if (!r)
		*id += count;
	return r;
}

static void say_entries(const struct cat *cat, uint64_t id, uint64_t count, const char *what)
{
	char name[TEXT_NAME_MAX];

	text_escape(name, wal_stream_name(cat->stream));
	if (count == 1)
		command_say(cat->command, "stream '%s': entry %" PRIu64 " %s", name, id, what);
	else
		command_say(cat->command, "stream '%s': entries %" PRIu64 " to %" PRIu64 " %s", name, id, id + count - 1, what);
}

/* Names the entries at *id that cannot be had, and moves it over them. */
static enum exit_code skip_gap(const struct cat *cat, int result, uint64_t *id, uint64_t end)
{
	char name[TEXT_NAME_MAX];
	uint64_t count;
	int r = range_of_gap(cat->stream, *id, end, &count);

	if (r < 0)
		return command_fail(cat->command, r, "stream '%s': entry %" PRIu64, text_escape(name, wal_stream_name(cat->stream)), *id);
	say_entries(cat, *id, count, result == WAL_PRUNED ? "pruned" : "damaged");
	if (cat->journal)
		journal_lines_missing(cat->journal, *id, count, result == WAL_PRUNED ? "pruned" : "damaged");
	*id += count;
	return EXIT_LACKING;
}

static enum exit_code put_range(struct cat *cat, uint64_t id, uint64_t end)
{
	char name[TEXT_NAME_MAX];
	enum exit_code code = EXIT_OK;

	while (id < end && !ferror(cat->command->out) && code <= EXIT_LACKING) {
		int r = put_next(cat, &id, end);

		if (r == -EBADMSG || r == WAL_PRUNED)
			code = exit_code_worse(code, skip_gap(cat, r, &id, end));
		else if (r)
			return command_fail(cat->command, r, "stream '%s': entry %" PRIu64,
					    text_escape(name, wal_stream_name(cat->stream)), id);
	}
	return code;
}

/* What was asked for by number and is outside of the stream is a failure; what is there of the range comes out all the same. */
static enum exit_code cat_range(struct cat *cat, struct id_range range)
{
	enum exit_code code = EXIT_OK, put_code;
	uint64_t first, next, missing;

	wal_stream_bounds(cat->stream, &first, &next, NULL);
	if (range.from < first) {
		missing = range.end_set && range.end < first ? range.end : first;
		if (range.from_set) {
			say_entries(cat, range.from, missing - range.from, "pruned");
			code = EXIT_LACKING;
		}
		range.from = first;
	}
	put_code = put_range(cat, range.from, range.end < next ? range.end : next);
	code = exit_code_worse(code, put_code);
	missing = range.from > next ? range.from : next;
	if (range.end_set && range.end > next)
		say_entries(cat, missing, range.end - missing, "not found");
	else if (range.from > next)
		say_entries(cat, range.from, 1, "not found");
	else
		return code;
	return exit_code_worse(code, EXIT_LACKING);
}

static enum exit_code cat_journal(struct cat *cat, struct id_range range)
{
	struct journal_lines journal = { .out = cat->command->out };
	char name[TEXT_NAME_MAX];
	enum exit_code code;

	cat->journal = &journal;
	code = cat_range(cat, range);
	if (journal.undecodable) {
		command_say(cat->command, "stream '%s': %" PRIu64 " entries are no records", text_escape(name, wal_stream_name(cat->stream)), journal.undecodable);
		code = exit_code_worse(code, EXIT_LACKING);
	}
	journal_lines_release(&journal);
	return code;
}

static enum exit_code cat_stream(struct command *command, struct wal_stream *stream)
{
	struct cat *cat = calloc(1, sizeof(*cat));
	struct id_range range;
	enum exit_code code;

	if (!cat)
		return command_fail(command, -ENOMEM, "reading");
	cat->command = command;
	cat->stream = stream;
	code = range_parse(command, stream, command->operands[1], &range);
	if (!code && command->given[OPT_JOURNAL])
		code = cat_journal(cat, range);
	else if (!code)
		code = cat_range(cat, range);
	wal_buf_release(&cat->buf);
	free(cat->piece);
	free(cat);
	return code;
}

static enum exit_code run_cat(struct command *command)
{
	struct wal_stream *stream;
	struct wal_store *store;
	enum exit_code code = command_open_store(command, &store);

	if (code)
		return code;
	code = command_open_stream(command, store, command->operands[0], 0, &stream);
	if (!code) {
		code = cat_stream(command, stream);
		wal_stream_close(stream);
	}
	return command_close_store(command, store, code);
}

const struct verb verb_cat = {
	.name = "cat",
	.operands = "STORE STREAM [ID | FROM..TO | FROM.. | ..TO]",
	.summary = "Writes entries to standard output as they are: all, one, or a range. 'first' and 'last' are ids too.",
	.options = options,
	.operands_min = 2,
	.operands_max = 3,
	.run = run_cat,
};
