/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"
#include "table.h"
#include "text.h"

enum { OPT_CHECKPOINT, OPT_JSON };

static const struct verb_option options[] = {
	[OPT_CHECKPOINT] = { "checkpoint", 0, "NAME", "every stream, to its id in this checkpoint" },
	[OPT_JSON] = { "json", 0, NULL, "one JSON document" },
	{ 0 },
};

static void put_result(const struct command *command, const struct wal_prune_result *result)
{
	struct json json = { .file = command->out };

	if (!command->given[OPT_JSON]) {
		fprintf(command->out, "%" PRIu64 " segment%s of %zu stream%s dropped\n", result->segments, result->segments == 1 ? "" : "s",
			result->streams, result->streams == 1 ? "" : "s");
		return;
	}
	json_open(&json, NULL, '{');
	json_name(&json, "store", command->store_path);
	json_uint(&json, "streams", result->streams);
	json_uint(&json, "segments", result->segments);
	json_close(&json, '}');
}

static enum exit_code prune_stream(const struct command *command, struct wal_store *store, uint64_t id)
{
	struct wal_prune_result result = { 0 };
	struct wal_stream *stream;
	enum exit_code code = command_open_stream(command, store, command->operands[0], 0, &stream);
	int r;

	if (code)
		return code;
	r = wal_stream_prune(stream, id, &result.segments);
	if (r < 0)
		code = command_fail_stream(command, r, stream, "pruning");
	wal_stream_close(stream);
	/* What is gone is told on failure too. */
	result.streams = result.segments > 0;
	if (r == 0 || result.segments)
		put_result(command, &result);
	return code;
}

static enum exit_code prune_to_checkpoint(const struct command *command, struct wal_store *store)
{
	const char *name = command->given[OPT_CHECKPOINT];
	struct wal_prune_result result = { 0 };
	struct wal_error error = { 0 };
	struct bytes id;
	enum exit_code code = checkpoint_read_name(command, name, &id);
	int r;

	if (code)
		return code;
	r = wal_checkpoint_prune_before(store, id.data, id.size, &result, &error);
	free(id.data);
	if (r == WAL_NOT_FOUND)
		return checkpoint_is_missing(command, name);
	if (r < 0 && error.message[0])
		command_say(command, "%s", error.message);
	else if (r < 0)
		command_fail(command, r, "pruning to checkpoint '%s'", name);
	if (r == 0 || result.segments)
		put_result(command, &result);
	return exit_code_of(r);
}

static enum exit_code run_prune(struct command *command)
{
	struct wal_store *store;
	uint64_t id = 0;
	enum exit_code code;

	if (command->given[OPT_CHECKPOINT] && command->operand_count)
		return command_usage(command->verb, "with --checkpoint every stream is pruned: expected STORE alone, found '%s' too", command->operands[0]);
	if (!command->given[OPT_CHECKPOINT] && command->operand_count < 2)
		return command_usage(command->verb, "too few arguments: expected %s", command->verb->operands);
	if (!command->given[OPT_CHECKPOINT] && !text_parse_number(command->operands[1], strlen(command->operands[1]), &id))
		return command_usage(command->verb, "'%s' is no id: expected digits", command->operands[1]);
	if (command->given[OPT_CHECKPOINT])
		command->on_mount = (struct mount_way){ "echo NAME >", ".checkpoints/.prune" };
	code = command_open_store(command, &store);
	if (code)
		return code;
	code = command->given[OPT_CHECKPOINT] ? prune_to_checkpoint(command, store) : prune_stream(command, store, id);
	return command_close_store(command, store, code);
}

const struct verb verb_prune = {
	.name = "prune",
	.operands = "STORE {STREAM ID | --checkpoint=NAME}",
	.summary = "Drops the segments whose entries are all below an id, of a stream or of all; says how many. The last segment always stays.",
	.options = options,
	.on_mount = { "echo ID >", "STREAM/.prune" },
	.operands_min = 1,
	.operands_max = 3,
	.writes = true,
	.run = run_prune,
};
