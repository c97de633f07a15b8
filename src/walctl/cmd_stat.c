/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "checkpoints.h"
#include "figures.h"
#include "text.h"
#include "watch.h"

enum { OPT_HUMAN, OPT_JSON, OPT_WATCH, OPT_COUNT };

static const struct verb_option options[] = {
	[OPT_HUMAN] = { "human-readable", 'h', NULL, "sizes as 1.5K, 64M" },
	[OPT_JSON] = { "json", 0, NULL, "one JSON document; with --watch one each time" },
	[OPT_WATCH] = { "watch", 0, "SECONDS", "show rates, again and again, every 2 seconds", true },
	[OPT_COUNT] = { "count", 0, "N", "with --watch: so many times" },
	{ 0 },
};

static void put_stat(FILE *out, const char *name, const struct wal_stream_stat *stat, bool human)
{
	char escaped[TEXT_NAME_MAX], size[TEXT_SIZE_MAX], time[TEXT_TIME_MAX];

	fprintf(out, "stream          %s\n", text_escape(escaped, name));
	fprintf(out, "first id        %" PRIu64 "\n", stat->first_id);
	fprintf(out, "next id         %" PRIu64 "\n", stat->next_id);
	fprintf(out, "durable id      %" PRIu64 "\n", stat->durable_id);
	fprintf(out, "entries         %" PRIu64 "\n", stat->entries);
	fprintf(out, "payload bytes   %s\n", text_size(size, stat->payload_bytes, human));
	fprintf(out, "disk bytes      %s\n", text_size(size, stat->disk_bytes, human));
	fprintf(out, "segments        %" PRIu64 "\n", stat->segments);
	fprintf(out, "active segment  %" PRIu64 "\n", stat->active_segment_id);
	fprintf(out, "last append     %s\n", text_time(time, stat->last_append_ns, 9));
	fprintf(out, "tail            %s", stat_tail(stat));
	if (stat->tail != WAL_TAIL_CLEAN)
		fprintf(out, " at offset %" PRIu64 ", %" PRIu64 " bytes", stat->tail_offset, stat->tail_bytes);
	fprintf(out, "\nhealth          %s", stat_health(stat));
	if (stat->health != WAL_HEALTHY)
		fprintf(out, ": %s", stat->reason);
	putc('\n', out);
}

static enum exit_code stat_stream(const struct command *command, struct wal_store *store, const char *name, struct json *json, bool first)
{
	struct wal_stream_stat stat;
	struct wal_stream *stream;
	enum exit_code code = command_open_stream(command, store, name, 0, &stream);
	int r;

	if (code)
		return code;
	r = wal_stream_stat(stream, &stat);
	wal_stream_close(stream);
	if (r < 0) {
		char escaped[TEXT_NAME_MAX];

		return command_fail(command, r, "stream '%s'", text_escape(escaped, name));
	}
	if (json) {
		json_open(json, NULL, '{');
		stat_json(json, name, &stat);
		json_close(json, '}');
	} else {
		if (!first)
			putc('\n', command->out);
		put_stat(command->out, name, &stat, command->given[OPT_HUMAN]);
	}
	return stat_is_damaged(&stat) ? EXIT_LACKING : EXIT_OK;
}

/* ---- The store ---- */

/* `latest` is NULL if there is none, or if its record is damaged. */
static int put_store(const struct command *command, struct wal_store *store, const struct wal_checkpoint *latest)
{
	uint32_t shards = wal_store_shards(store);
	char time[TEXT_TIME_MAX], *word = NULL;

	if (latest) {
		word = coding_id_word(latest->id, latest->id_size);
		if (!word)
			return -ENOMEM;
	}
	if (shards)
		fprintf(command->out, "shards          %" PRIu32 "\n", shards);
	else
		fputs("shards          none\n", command->out);
	fprintf(command->out, "checkpoints     %zu\n", wal_checkpoint_count(store));
	if (latest)
		fprintf(command->out, "latest          %s, of %s\n", word, text_time(time, latest->time_ns, 9));
	free(word);
	return 0;
}

static int put_store_json(struct json *json, struct wal_store *store, const struct wal_checkpoint *latest)
{
	int r = 0;

	json_uint(json, "shards", wal_store_shards(store));
	json_uint(json, "checkpoints", wal_checkpoint_count(store));
	if (latest) {
		json_open(json, "latest_checkpoint", '{');
		r = checkpoint_json(json, latest);
		json_close(json, '}');
	}
	return r;
}

/* Into `json`, or if that is NULL in lines. */
static enum exit_code stat_store(const struct command *command, struct wal_store *store, struct json *json)
{
	struct wal_checkpoint *latest = NULL;
	enum exit_code code = EXIT_OK;
	int r = wal_checkpoint_latest(store, &latest);

	if (r < 0)
		code = command_fail(command, r, "the latest checkpoint");
	r = json ? put_store_json(json, store, latest) : put_store(command, store, latest);
	free(latest);
	return r < 0 ? command_fail(command, r, "showing the latest checkpoint") : code;
}

/* ---- All of it ---- */

/* Columns are of the streams alone if some were named; JSON has the store's figures in any case. */
static enum exit_code stat_streams(struct command *command, struct wal_store *store, char **names, size_t count)
{
	struct json json = { .file = command->out };
	bool as_json = command->given[OPT_JSON];
	enum exit_code code = EXIT_OK;

	if (as_json) {
		json_open(&json, NULL, '{');
		json_name(&json, "store", command->store_path);
	}
	if (as_json || !command->operand_count)
		code = stat_store(command, store, as_json ? &json : NULL);
	if (as_json)
		json_open(&json, "streams", '[');
	for (size_t i = 0; i < count; i++)
		code = exit_code_worse(code, stat_stream(command, store, names[i], as_json ? &json : NULL, i == 0 && command->operand_count));
	if (as_json) {
		json_close(&json, ']');
		json_close(&json, '}');
	}
	return command_met_damage(command) ? exit_code_worse(code, EXIT_LACKING) : code;
}

static enum exit_code run_stat(struct command *command)
{
	struct wal_store *store;
	char **names;
	size_t count;
	enum exit_code code;
	int r;

	if (command->given[OPT_WATCH])
		return watch_run(command, &(struct watch_options){ .interval = command->given[OPT_WATCH], .count = command->given[OPT_COUNT],
								   .json = command->given[OPT_JSON], .human = command->given[OPT_HUMAN] });
	if (command->given[OPT_COUNT])
		return command_usage(command->verb, "--count goes with --watch");
	code = command_open_store(command, &store);
	if (code)
		return code;
	if (command->operand_count) {
		code = stat_streams(command, store, command->operands, (size_t)command->operand_count);
		return command_close_store(command, store, code);
	}
	r = wal_store_list(store, &names, &count);
	if (r < 0) {
		code = command_fail(command, r, "listing streams");
	} else {
		code = stat_streams(command, store, names, count);
		free(names);
	}
	return command_close_store(command, store, code);
}

const struct verb verb_stat = {
	.name = "stat",
	.operands = "STORE [STREAM]...",
	.summary = "Shows all figures of the streams named, or of the store and every stream; with --watch, as rates, also of a mount point.",
	.options = options,
	.operands_min = 1,
	.operands_max = -1,
	.run = run_stat,
};
