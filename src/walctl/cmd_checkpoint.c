/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs of checkpoints that change something: create, rm, compact. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"
#include "text.h"

/* ---- create ---- */

enum { OPT_EXCLUSIVE };

static const struct verb_option create_options[] = {
	[OPT_EXCLUSIVE] = { "exclusive", 0, NULL, "fail if there is one of that name, instead of moving it" },
	{ 0 },
};

static enum exit_code create(const struct command *command, struct wal_store *store, const struct bytes *id)
{
	unsigned flags = command->given[OPT_EXCLUSIVE] ? WAL_EXCL : 0;
	struct wal_error error = { 0 };
	int r = wal_checkpoint_create(store, id->data, id->size, flags, &error);

	if (r == -EEXIST)
		command_say(command, "there is a checkpoint '%s' already", command->operands[0]);
	else if (r < 0 && error.message[0])
		command_say(command, "%s", error.message);
	else if (r < 0)
		command_fail(command, r, "creating checkpoint '%s'", command->operands[0]);
	return exit_code_of(r);
}

static enum exit_code run_create(struct command *command)
{
	struct wal_store *store;
	struct bytes id;
	enum exit_code code = checkpoint_read_name(command, command->operands[0], &id);

	if (code)
		return code;
	code = command_open_store(command, &store);
	if (!code)
		code = command_close_store(command, store, create(command, store, &id));
	free(id.data);
	return code;
}

const struct verb verb_checkpoint_create = {
	.name = "checkpoint create",
	.operands = "STORE NAME",
	.summary = "Makes everything durable and records where each stream stands. A name that is in use moves here.",
	.options = create_options,
	.on_mount = { "touch", ".checkpoints/NAME" },
	.operands_min = 2,
	.operands_max = 2,
	.writes = true,
	.run = run_create,
};

/* ---- rm ---- */

static enum exit_code remove_one(const struct command *command, struct wal_store *store, const char *name)
{
	struct bytes id;
	enum exit_code code = checkpoint_read_name(command, name, &id);
	int r;

	if (code)
		return code;
	r = wal_checkpoint_remove(store, id.data, id.size);
	free(id.data);
	if (r == WAL_NOT_FOUND)
		return checkpoint_is_missing(command, name);
	return r < 0 ? command_fail(command, r, "removing checkpoint '%s'", name) : EXIT_OK;
}

static enum exit_code run_rm(struct command *command)
{
	struct wal_store *store;
	enum exit_code code = command_open_store(command, &store);

	if (code)
		return code;
	for (int i = 0; i < command->operand_count; i++)
		code = exit_code_worse(code, remove_one(command, store, command->operands[i]));
	return command_close_store(command, store, code);
}

const struct verb verb_checkpoint_rm = {
	.name = "checkpoint rm",
	.operands = "STORE NAME...",
	.summary = "Removes checkpoints. No entry is touched by it.",
	.on_mount = { "rm", ".checkpoints/NAME" },
	.operands_min = 2,
	.operands_max = -1,
	.writes = true,
	.run = run_rm,
};

/* ---- compact ---- */

enum { OPT_KEEP, OPT_JSON };

static const struct verb_option compact_options[] = {
	[OPT_KEEP] = { "keep", 0, "N", "how many of the newest checkpoints stay; at least 1" },
	[OPT_JSON] = { "json", 0, NULL, "one JSON document" },
	{ 0 },
};

static enum exit_code compact(const struct command *command, struct wal_store *store, size_t keep)
{
	struct json json = { .file = command->out };
	size_t removed, kept;
	int r = wal_checkpoint_compact(store, keep, &removed);

	if (r < 0)
		return command_fail(command, r, "removing all checkpoints but %zu", keep);
	kept = wal_checkpoint_count(store);
	if (!command->given[OPT_JSON]) {
		fprintf(command->out, "%zu checkpoint%s removed, %zu kept\n", removed, removed == 1 ? "" : "s", kept);
		return EXIT_OK;
	}
	json_open(&json, NULL, '{');
	json_name(&json, "store", command->store_path);
	json_uint(&json, "removed", removed);
	json_uint(&json, "kept", kept);
	json_close(&json, '}');
	return EXIT_OK;
}

static enum exit_code run_compact(struct command *command)
{
	const char *text = command->given[OPT_KEEP];
	struct wal_store *store;
	enum exit_code code;
	uint64_t keep;

	if (!text)
		return command_usage(command->verb, "--keep=N is missing");
	if (!text_parse_number(text, strlen(text), &keep) || keep == 0 || keep > SIZE_MAX)
		return command_usage(command->verb, "--keep: expected a number above 0, found '%s'", text);
	code = command_open_store(command, &store);
	return code ? code : command_close_store(command, store, compact(command, store, (size_t)keep));
}

const struct verb verb_checkpoint_compact = {
	.name = "checkpoint compact",
	.operands = "STORE --keep=N",
	.summary = "Removes all checkpoints but the N newest.",
	.options = compact_options,
	.on_mount = { "echo N >", ".checkpoints/.compact" },
	.operands_min = 1,
	.operands_max = 1,
	.writes = true,
	.run = run_compact,
};
