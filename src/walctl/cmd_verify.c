/* SPDX-License-Identifier: Apache-2.0 */
/* verify and repair: the same walk over a store's files, told in the same way. */
#include <inttypes.h>
#include <stdio.h>

#include "progress.h"
#include "table.h"
#include "text.h"
#include "walctl.h"

enum { OPT_JSON, OPT_QUIET, OPT_DRY_RUN };

static const struct verb_option verify_options[] = {
	[OPT_JSON] = { "json", 0, NULL, "one JSON document" },
	[OPT_QUIET] = { "quiet", 'q', NULL, "no notes and no summary, only what is wrong" },
	{ 0 },
};

static const struct verb_option repair_options[] = {
	[OPT_JSON] = { "json", 0, NULL, "one JSON document" },
	[OPT_QUIET] = { "quiet", 'q', NULL, "no notes and no summary, only what is wrong" },
	[OPT_DRY_RUN] = { "dry-run", 'n', NULL, "say what would be done, and do nothing" },
	{ 0 },
};

static const char *const kinds[WAL_FINDING_KINDS] = {
	[WAL_FINDING_NOTE] = "note",
	[WAL_FINDING_CACHE] = "cache",
	[WAL_FINDING_TORN] = "torn",
	[WAL_FINDING_DAMAGE] = "damage",
	[WAL_FINDING_ERROR] = "error",
};

struct telling {
	struct command *command;
	struct json *json; /* NULL: lines */
	struct progress progress;
};

static void show_progress(void *arg, uint64_t done, uint64_t total)
{
	struct telling *telling = arg;

	progress_show(&telling->progress, done, total);
}

static void tell_json(struct json *json, const struct wal_finding *f)
{
	json_open(json, NULL, '{');
	json_text(json, "kind", kinds[f->kind]);
	if (f->stream)
		json_name(json, "stream", f->stream);
	if (f->file)
		json_name(json, "file", f->file);
	json_uint(json, "offset", f->offset);
	json_uint(json, "bytes", f->bytes);
	json_uint(json, "first_id", f->first_id);
	json_uint(json, "ids", f->ids);
	json_text(json, "expected", f->expected);
	json_text(json, "found", f->found);
	if (f->action)
		json_text(json, "action", f->action);
	json_close(json, '}');
}

static void tell_line(FILE *out, const struct wal_finding *f)
{
	char stream[TEXT_NAME_MAX], file[TEXT_NAME_MAX];

	fprintf(out, "%s: ", kinds[f->kind]);
	if (f->stream)
		fprintf(out, "%s", text_escape(stream, f->stream));
	if (f->file)
		fprintf(out, "%s%s", f->stream ? "/" : "", text_escape(file, f->file));
	if (f->bytes || f->ids || f->kind == WAL_FINDING_DAMAGE)
		fprintf(out, ": offset %" PRIu64 ", %" PRIu64 " bytes", f->offset, f->bytes);
	if (f->ids == 1)
		fprintf(out, ", id %" PRIu64, f->first_id);
	else if (f->ids > 1)
		fprintf(out, ", ids %" PRIu64 " to %" PRIu64, f->first_id, f->first_id + f->ids - 1);
	fprintf(out, ": expected %s, found %s", f->expected, f->found);
	if (f->action)
		fprintf(out, "; %s", f->action);
	putc('\n', out);
}

static void tell(void *arg, const struct wal_finding *f)
{
	struct telling *telling = arg;

	progress_clear(&telling->progress);
	if (f->kind == WAL_FINDING_NOTE && telling->command->given[OPT_QUIET])
		return;
	if (telling->json)
		tell_json(telling->json, f);
	else
		tell_line(telling->command->out, f);
}

static void put_summary(FILE *out, const struct wal_check_result *r)
{
	fprintf(out, "%" PRIu64 " streams, %" PRIu64 " segments, %" PRIu64 " frames, %" PRIu64 " entries, %" PRIu64 " bytes read: ", r->streams,
		r->segments, r->frames, r->entries, r->bytes);
	bool any = false;
	for (int kind = WAL_FINDING_KINDS - 1; kind >= 0; kind--) {
		if (r->findings[kind] == 0)
			continue;
		fprintf(out, "%s%" PRIu64 " %s", any ? ", " : "", r->findings[kind], kinds[kind]);
		any = true;
	}
	fprintf(out, "%s\n", any ? "" : "clean");
}

static void put_json_summary(struct json *json, const struct wal_check_result *r)
{
	json_uint(json, "streams", r->streams);
	json_uint(json, "segments", r->segments);
	json_uint(json, "frames", r->frames);
	json_uint(json, "entries", r->entries);
	json_uint(json, "bytes", r->bytes);
	json_open(json, "counts", '{');
	for (int kind = 0; kind < WAL_FINDING_KINDS; kind++)
		json_uint(json, kinds[kind], r->findings[kind]);
	json_close(json, '}');
	json_bool(json, "clean", r->findings[WAL_FINDING_DAMAGE] == 0 && r->findings[WAL_FINDING_ERROR] == 0);
}

/* The two functions of the library have the same form. */
typedef int check_function(const char *path, const struct wal_options *opts, const struct wal_check *check, struct wal_check_result *ret_result,
			   struct wal_error *err);

/* `mends`: damage that is told of is dealt with. */
static enum exit_code run_check(struct command *command, check_function *function, bool dry_run, bool mends)
{
	struct json json = { .file = command->out };
	struct telling telling = {
		.command = command,
		.json = command->given[OPT_JSON] ? &json : NULL,
	};
	struct wal_check check = {
		.stream = command->operand_count ? command->operands[0] : NULL,
		.dry_run = dry_run,
		.finding = tell,
		.progress = show_progress,
		.arg = &telling,
	};
	struct wal_check_result result;
	struct wal_error error = { 0 };

	if (telling.json) {
		json_open(&json, NULL, '{');
		json_name(&json, "store", command->store_path);
		json_open(&json, "findings", '[');
	}
	progress_init(&telling.progress);
	command_prepare(command);
	int r = function(command->store_path, &command->options, &check, &result, &error);
	progress_clear(&telling.progress);
	if (telling.json) {
		json_close(&json, ']');
		if (r == 0)
			put_json_summary(&json, &result);
		json_close(&json, '}');
	}
	if (r == WAL_NOT_FOUND) {
		char escaped[TEXT_NAME_MAX];

		command_say(command, "there is no stream '%s'", text_escape(escaped, check.stream));
		return EXIT_LACKING;
	}
	if (r < 0)
		return command_fail_open(command, r, &error);
	if (!telling.json && !command->given[OPT_QUIET])
		put_summary(command->out, &result);
	if (result.findings[WAL_FINDING_ERROR])
		return EXIT_SYSTEM;
	return result.findings[WAL_FINDING_DAMAGE] && !mends ? EXIT_LACKING : EXIT_OK;
}

static enum exit_code run_verify(struct command *command)
{
	return run_check(command, wal_verify, false, false);
}

static enum exit_code run_repair(struct command *command)
{
	bool dry_run = command->given[OPT_DRY_RUN];

	return run_check(command, wal_repair, dry_run, !dry_run);
}

const struct verb verb_verify = {
	.name = "verify",
	.operands = "STORE [STREAM]",
	.summary = "Reads every byte and says what is damaged; exit status 1 if anything is.",
	.options = verify_options,
	.operands_min = 1,
	.operands_max = 2,
	.run = run_verify,
};

const struct verb verb_repair = {
	.name = "repair",
	.operands = "STORE [STREAM]",
	.summary = "Sets damaged bytes aside, so that the rest is whole again; nothing is deleted.",
	.options = repair_options,
	.operands_min = 1,
	.operands_max = 2,
	.writes = true,
	.run = run_repair,
};
