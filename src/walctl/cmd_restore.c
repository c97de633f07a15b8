/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#include "restore.h"
#include "store_state.h"

enum { OPT_FROM, OPT_ALLOW_GAPS, OPT_STATE, OPT_QUIET };

static const struct verb_option options[] = {
	[OPT_FROM] = { "from", 0, "FILE|DIR|-", "the same as the second argument" },
	[OPT_ALLOW_GAPS] = { "allow-gaps", 0, NULL, "go on where entries are missing; their ids are lost for good" },
	[OPT_STATE] = { "state", 0, NULL, "only say what the store has, for 'walctl export --after'" },
	[OPT_QUIET] = { "quiet", 'q', NULL, "no summary" },
	{ 0 },
};

static bool is_directory(const char *path)
{
	struct stat st;

	return strcmp(path, "-") && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void put_count(FILE *out, uint64_t count, const char *one, const char *several, const char *tail)
{
	fprintf(out, "%" PRIu64 " %s%s", count, count == 1 ? one : several, tail);
}

static void put_result(const struct command *command, const char *source_name, const struct restore_result *result)
{
	FILE *out = command->out;

	if (result->foreign)
		command_say(command, "%s: %" PRIu64 " %s left out", source_name, result->foreign, result->foreign == 1 ? "file is" : "files are");
	if (result->whole_seconds)
		command_say(command, "%s: all times are whole seconds: tar has them exactly with --format=pax only", source_name);
	if (result->other_times)
		command_say(command, "%s: %" PRIu64 " of the entries that were there already %s another time", source_name, result->other_times, result->other_times == 1 ? "has" : "have");
	if (command->given[OPT_QUIET])
		return;
	put_count(out, result->appended, "entry", "entries", " appended, ");
	put_count(out, result->compared, "was", "were", " there, ");
	if (result->lost)
		put_count(out, result->lost, "is", "are", " lost, ");
	put_count(out, result->checkpoints, "checkpoint", "checkpoints", " made, ");
	put_count(out, result->checkpoints_there, "was", "were", " there\n");
}

static enum exit_code run_restore(struct command *command)
{
	const char *from = command->operand_count ? command->operands[0] : command->given[OPT_FROM] ? command->given[OPT_FROM] : "-";
	const char *name = strcmp(from, "-") ? from : "standard input";
	struct restore_result result = { 0 };
	struct source *source = NULL;
	enum exit_code code;
	int r;

	if (command->operand_count && command->given[OPT_FROM])
		return command_usage(command->verb, "--from and '%s' exclude each other", command->operands[0]);
	if (command->given[OPT_STATE])
		return strcmp(from, "-") ? command_usage(command->verb, "--state restores nothing: '%s' is too much", from) : store_state_put(command);
	r = is_directory(from) ? source_dir_open(from, &source) : source_tar_open(from, &source);
	if (r < 0) {
		code = restore_fail_source(command, source, name, r);
	} else {
		code = restore_run(command, source, name, command->given[OPT_ALLOW_GAPS], &result);
		put_result(command, name, &result);
	}
	if (source)
		source->free(source);
	return code;
}

const struct verb verb_restore = {
	.name = "restore",
	.operands = "STORE [FILE.tar|DIR|-]",
	.summary = "Brings streams back with their ids, times and checkpoints, from an export, or a tar archive or a copy of a mount.",
	.options = options,
	.operands_min = 1,
	.operands_max = 2,
	.writes = true,
	.run = run_restore,
};
