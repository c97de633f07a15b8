/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs that look at checkpoints: show, list. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"
#include "text.h"

enum { OPT_JSON };

static const struct verb_option options[] = {
	[OPT_JSON] = { "json", 0, NULL, "one JSON document" },
	{ 0 },
};

/* ---- show ---- */

static int put_lines(FILE *out, const struct wal_checkpoint *checkpoint)
{
	char *word = coding_id_word(checkpoint->id, checkpoint->id_size), time[TEXT_TIME_MAX];

	if (!word)
		return -ENOMEM;
	fprintf(out, "checkpoint %s\ncreated %s\n", word, text_time(time, checkpoint->time_ns, 9));
	free(word);
	for (size_t i = 0; i < checkpoint->cut_count; i++) {
		word = coding_name_word(checkpoint->cuts[i].stream);
		if (!word)
			return -ENOMEM;
		fprintf(out, "%s %" PRIu64 "\n", word, checkpoint->cuts[i].next_id);
		free(word);
	}
	return 0;
}

static int put_json(const struct command *command, const struct wal_checkpoint *checkpoint)
{
	struct json json = { .file = command->out };
	int r;

	json_open(&json, NULL, '{');
	json_name(&json, "store", command->store_path);
	r = checkpoint_json(&json, checkpoint);
	json_open(&json, "streams", '[');
	for (size_t i = 0; i < checkpoint->cut_count; i++) {
		json_open(&json, NULL, '{');
		json_name(&json, "stream", checkpoint->cuts[i].stream);
		json_uint(&json, "next_id", checkpoint->cuts[i].next_id);
		json_close(&json, '}');
	}
	json_close(&json, ']');
	json_close(&json, '}');
	return r;
}

/* Of the checkpoint called `name`; NULL: of the latest. */
static enum exit_code load(const struct command *command, struct wal_store *store, const char *name, struct wal_checkpoint **ret)
{
	enum exit_code code;
	struct bytes id;
	int r;

	if (!name) {
		r = wal_checkpoint_latest(store, ret);
		if (r == WAL_NOT_FOUND) {
			command_say(command, "there is no checkpoint");
			return EXIT_LACKING;
		}
		return r < 0 ? command_fail(command, r, "the latest checkpoint") : EXIT_OK;
	}
	code = checkpoint_read_name(command, name, &id);
	if (code)
		return code;
	r = wal_checkpoint_load(store, id.data, id.size, ret);
	free(id.data);
	if (r == WAL_NOT_FOUND)
		return checkpoint_is_missing(command, name);
	return r < 0 ? command_fail(command, r, "checkpoint '%s'", name) : EXIT_OK;
}

static enum exit_code show(const struct command *command, struct wal_store *store)
{
	struct wal_checkpoint *checkpoint;
	enum exit_code code = load(command, store, command->operands[0], &checkpoint);
	int r;

	if (code)
		return code;
	r = command->given[OPT_JSON] ? put_json(command, checkpoint) : put_lines(command->out, checkpoint);
	free(checkpoint);
	return r < 0 ? command_fail(command, r, "showing a checkpoint") : EXIT_OK;
}

static enum exit_code run_show(struct command *command)
{
	struct wal_store *store;
	enum exit_code code = command_open_store(command, &store);

	return code ? code : command_close_store(command, store, show(command, store));
}

const struct verb verb_checkpoint_show = {
	.name = "checkpoint show",
	.operands = "STORE [NAME]",
	.summary = "Shows a checkpoint, or the latest: its name and time, then a line with name and next id for each stream.",
	.options = options,
	.operands_min = 1,
	.operands_max = 2,
	.run = run_show,
};

/* ---- list ---- */

static const struct column columns[] = { { "CREATED", false }, { "HEAD", false }, { "NAME", false } };

enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };

struct listing {
	const struct command *command;
	const struct wal_checkpoint *checkpoints; /* from the oldest to the newest */
	size_t count;
	const struct wal_checkpoint *latest; /* NULL: there is none */
};

static bool is_latest(const struct listing *listing, const struct wal_checkpoint *checkpoint)
{
	return listing->latest && listing->latest->id_size == checkpoint->id_size &&
	       !memcmp(listing->latest->id, checkpoint->id, checkpoint->id_size);
}

static int put_table(const struct listing *listing)
{
	struct table table = { .columns = columns, .column_count = COLUMNS };
	char time[TEXT_TIME_MAX];
	int r = 0;

	for (size_t i = 0; i < listing->count && r == 0; i++) {
		const struct wal_checkpoint *checkpoint = &listing->checkpoints[i];
		char *word = coding_id_word(checkpoint->id, checkpoint->id_size);

		r = word ? table_add(&table, (const char *const[COLUMNS]){ text_time(time, checkpoint->time_ns, 9),
									   is_latest(listing, checkpoint) ? "*" : "-", word }) :
			   -ENOMEM;
		free(word);
	}
	if (r == 0)
		table_print(&table, listing->command->out);
	table_release(&table);
	return r;
}

static int put_json_list(const struct listing *listing)
{
	struct json json = { .file = listing->command->out };
	int r = 0;

	json_open(&json, NULL, '{');
	json_name(&json, "store", listing->command->store_path);
	json_open(&json, "checkpoints", '[');
	for (size_t i = 0; i < listing->count && r == 0; i++) {
		json_open(&json, NULL, '{');
		r = checkpoint_json(&json, &listing->checkpoints[i]);
		json_bool(&json, "head", is_latest(listing, &listing->checkpoints[i]));
		json_close(&json, '}');
	}
	json_close(&json, ']');
	json_close(&json, '}');
	return r;
}

/* The latest one's record may be damaged: that is no reason not to list the others. */
static enum exit_code list(const struct command *command, struct wal_store *store)
{
	struct listing listing = { .command = command };
	struct wal_checkpoint *checkpoints, *latest = NULL;
	enum exit_code code = EXIT_OK;
	int r = wal_checkpoint_list(store, &checkpoints, &listing.count);

	if (r < 0)
		return command_fail(command, r, "listing checkpoints");
	r = wal_checkpoint_latest(store, &latest);
	if (r < 0)
		code = command_fail(command, r, "the latest checkpoint");
	listing.checkpoints = checkpoints;
	listing.latest = latest;
	r = command->given[OPT_JSON] ? put_json_list(&listing) : put_table(&listing);
	if (r < 0)
		code = exit_code_worse(code, command_fail(command, r, "listing checkpoints"));
	free(latest);
	free(checkpoints);
	return code;
}

static enum exit_code run_list(struct command *command)
{
	struct wal_store *store;
	enum exit_code code = command_open_store(command, &store);

	return code ? code : command_close_store(command, store, list(command, store));
}

const struct verb verb_checkpoint_list = {
	.name = "checkpoint list",
	.operands = "STORE",
	.summary = "Lists the checkpoints from the oldest to the newest, with their times; the one that HEAD names has a star.",
	.options = options,
	.operands_min = 1,
	.operands_max = 1,
	.run = run_list,
};
