/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "figures.h"
#include "range.h"
#include "table.h"
#include "text.h"
#include "walctl.h"

enum { OPT_FROM, OPT_COUNT, OPT_HUMAN, OPT_JSON };

static const struct verb_option options[] = {
	[OPT_FROM] = { "from", 0, "ID", "with STREAM: begin with this entry; digits, 'first' or 'last'" },
	[OPT_COUNT] = { "count", 0, "N", "with STREAM: show at most this many entries" },
	[OPT_HUMAN] = { "human-readable", 'h', NULL, "sizes as 1.5K, 64M" },
	[OPT_JSON] = { "json", 0, NULL, "one JSON document" },
	{ 0 },
};

/* ---- All streams ---- */

static const struct column stream_columns[] = {
	{ "STREAM", false }, { "FIRST", true },	   { "NEXT", true },	     { "ENTRIES", true },
	{ "BYTES", true },   { "SEGMENTS", true }, { "LAST APPEND", false }, { "STATE", false },
};

enum { STREAM_COLUMNS = sizeof(stream_columns) / sizeof(stream_columns[0]) };

static int add_stream_row(struct table *table, const char *name, const struct wal_stream_stat *stat, bool human)
{
	char escaped[TEXT_NAME_MAX], first[24], next[24], entries[24], segments[24], bytes[TEXT_SIZE_MAX], time[TEXT_TIME_MAX];

	snprintf(first, sizeof(first), "%" PRIu64, stat->first_id);
	snprintf(next, sizeof(next), "%" PRIu64, stat->next_id);
	snprintf(entries, sizeof(entries), "%" PRIu64, stat->entries);
	snprintf(segments, sizeof(segments), "%" PRIu64, stat->segments);
	return table_add(table, (const char *const[STREAM_COLUMNS]){
		text_escape(escaped, name), first, next, entries, text_size(bytes, stat->payload_bytes, human), segments,
		text_time(time, stat->last_append_ns, 0), stat_state(stat) });
}

/* -ENOENT if it was deleted meanwhile. */
static int stat_by_name(struct wal_store *store, const char *name, struct wal_stream_stat *ret)
{
	struct wal_stream *stream;
	int r = wal_stream_open(store, name, 0, &stream, NULL);

	if (r < 0)
		return r;
	r = wal_stream_stat(stream, ret);
	wal_stream_close(stream);
	return r;
}

/* Into the table, or into `json` if that is not NULL. */
static enum exit_code list_stream(const struct command *command, struct wal_store *store, const char *name, struct table *table,
				  struct json *json)
{
	char escaped[TEXT_NAME_MAX];
	struct wal_stream_stat stat;
	int r = stat_by_name(store, name, &stat);

	if (r == -ENOENT)
		return EXIT_OK;
	if (r < 0)
		return command_fail(command, r, "stream '%s'", text_escape(escaped, name));
	if (json) {
		json_open(json, NULL, '{');
		stat_json(json, name, &stat);
		json_close(json, '}');
	} else {
		r = add_stream_row(table, name, &stat, command->given[OPT_HUMAN]);
		if (r < 0)
			return command_fail(command, r, "listing streams");
	}
	return stat_is_damaged(&stat) ? EXIT_LACKING : EXIT_OK;
}

static enum exit_code list_streams(struct command *command, struct wal_store *store)
{
	struct table table = { .columns = stream_columns, .column_count = STREAM_COLUMNS };
	struct json json = { .file = command->out };
	bool as_json = command->given[OPT_JSON];
	enum exit_code code = EXIT_OK;
	char **names;
	size_t count;
	int r = wal_store_list(store, &names, &count);

	if (r < 0)
		return command_fail(command, r, "listing streams");
	if (as_json) {
		json_open(&json, NULL, '{');
		json_name(&json, "store", command->store_path);
		json_open(&json, "streams", '[');
	}
	for (size_t i = 0; i < count; i++)
		code = exit_code_worse(code, list_stream(command, store, names[i], &table, as_json ? &json : NULL));
	if (as_json) {
		json_close(&json, ']');
		json_close(&json, '}');
	} else {
		table_print(&table, command->out);
	}
	table_release(&table);
	free(names);
	return command_met_damage(command) ? exit_code_worse(code, EXIT_LACKING) : code;
}

/* ---- The entries of one stream ---- */

struct entry_list {
	const struct command *command;
	struct wal_stream *stream;
	struct json *json; /* NULL: columns */
	int id_width;	   /* printed row by row: a stream may have more entries than memory */
};

static void put_entry(const struct entry_list *list, const struct wal_entry_info *info)
{
	char size[TEXT_SIZE_MAX], time[TEXT_TIME_MAX];

	text_time(time, info->time_ns, 9);
	if (!list->json) {
		fprintf(list->command->out, "%*" PRIu64 "  %10s  %s\n", list->id_width, info->id, text_size(size, info->size, list->command->given[OPT_HUMAN]),
		       time);
		return;
	}
	json_open(list->json, NULL, '{');
	json_uint(list->json, "id", info->id);
	json_uint(list->json, "size", info->size);
	json_text(list->json, "time", time);
	json_int(list->json, "time_ns", info->time_ns);
	json_close(list->json, '}');
}

static void put_gap(const struct entry_list *list, uint64_t id, uint64_t count, const char *what)
{
	if (!list->json) {
		fprintf(list->command->out, "%*" PRIu64 "  %10s  %s", list->id_width, id, "-", what);
		if (count > 1)
			fprintf(list->command->out, " to %" PRIu64, id + count - 1);
		putc('\n', list->command->out);
		return;
	}
	json_open(list->json, NULL, '{');
	json_uint(list->json, "id", id);
	json_uint(list->json, "count", count);
	json_bool(list->json, what, true);
	json_close(list->json, '}');
}

/* *id moves over what was shown. */
static enum exit_code list_next(const struct entry_list *list, uint64_t *id, uint64_t end)
{
	char name[TEXT_NAME_MAX];
	struct wal_entry_info info;
	uint64_t count = 1;
	int r = wal_stream_lookup(list->stream, *id, &info), gap_r;

	if (r == 0) {
		put_entry(list, &info);
		++*id;
		return EXIT_OK;
	}
	if (r == -EBADMSG || r == WAL_PRUNED) {
		gap_r = range_of_gap(list->stream, *id, end, &count);
		if (gap_r < 0)
			r = gap_r;
		else
			put_gap(list, *id, count, r == WAL_PRUNED ? "pruned" : "damaged");
		if (gap_r == 0) {
			*id += count;
			return r == WAL_PRUNED ? EXIT_OK : EXIT_LACKING;
		}
	}
	return command_fail(list->command, r, "stream '%s': entry %" PRIu64, text_escape(name, wal_stream_name(list->stream)), *id);
}

static enum exit_code list_range(const struct entry_list *list, uint64_t id, uint64_t end)
{
	enum exit_code code = EXIT_OK;

	while (id < end && code <= EXIT_LACKING && !ferror(list->command->out)) {
		enum exit_code one = list_next(list, &id, end);

		code = exit_code_worse(code, one);
	}
	return code;
}

static enum exit_code entry_range(const struct command *command, struct wal_stream *stream, uint64_t *ret_id, uint64_t *ret_end)
{
	struct id_range range;
	uint64_t count = UINT64_MAX, first, next;
	enum exit_code code;

	if (command->given[OPT_COUNT] && !text_parse_number(command->given[OPT_COUNT], strlen(command->given[OPT_COUNT]), &count))
		return command_usage(command->verb, "--count: expected a number, found '%s'", command->given[OPT_COUNT]);
	if (command->given[OPT_FROM] && strstr(command->given[OPT_FROM], ".."))
		return command_usage(command->verb, "--from: expected one entry, found '%s'", command->given[OPT_FROM]);
	wal_stream_bounds(stream, &first, &next, NULL);
	code = range_parse(command, stream, command->given[OPT_FROM], &range);
	if (code)
		return code;
	*ret_id = range.from < first ? first : range.from;
	*ret_end = *ret_id < next && count < next - *ret_id ? *ret_id + count : next;
	return EXIT_OK;
}

static enum exit_code list_entries(const struct command *command, struct wal_stream *stream)
{
	struct json json = { .file = command->out };
	struct entry_list list = { command, stream, command->given[OPT_JSON] ? &json : NULL, 0 };
	char last[24];
	uint64_t id = 0, end = 0;
	enum exit_code code = entry_range(command, stream, &id, &end);

	if (code)
		return code;
	list.id_width = snprintf(last, sizeof(last), "%" PRIu64, end);
	if (!list.json) {
		fprintf(command->out, "%*s  %10s  TIME\n", list.id_width, "ID", "SIZE");
		return list_range(&list, id, end);
	}
	json_open(&json, NULL, '{');
	json_name(&json, "store", command->store_path);
	json_name(&json, "stream", wal_stream_name(stream));
	json_open(&json, "entries", '[');
	code = list_range(&list, id, end);
	json_close(&json, ']');
	json_close(&json, '}');
	return code;
}

static enum exit_code run_ls(struct command *command)
{
	struct wal_stream *stream;
	struct wal_store *store;
	enum exit_code code;

	if (!command->operand_count && (command->given[OPT_FROM] || command->given[OPT_COUNT]))
		return command_usage(command->verb, "--from and --count need a STREAM");
	code = command_open_store(command, &store);
	if (code)
		return code;
	if (!command->operand_count)
		return command_close_store(command, store, list_streams(command, store));
	code = command_open_stream(command, store, command->operands[0], 0, &stream);
	if (!code) {
		code = list_entries(command, stream);
		wal_stream_close(stream);
	}
	return command_close_store(command, store, code);
}

const struct verb verb_ls = {
	.name = "ls",
	.operands = "STORE [STREAM]",
	.summary = "Lists the streams, or the entries of one.",
	.options = options,
	.operands_min = 1,
	.operands_max = 2,
	.run = run_ls,
};
