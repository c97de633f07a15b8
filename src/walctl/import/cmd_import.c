/* SPDX-License-Identifier: Apache-2.0 */
/* The verb: what is wanted, from where, to where; and what is printed around it all. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "import.h"
#include "text.h"
#include "walctl.h"

enum { OPT_FROM, OPT_POLICY, OPT_DRY_RUN, OPT_REPORT, OPT_JSON, OPT_QUIET, OPT_APPEND, OPT_RECURSIVE, OPT_DUPLICATES, OPT_CHECKPOINTS, OPT_TRANSACTIONS, OPT_RESYNC };

static const struct verb_option options[] = {
	[OPT_FROM] = { "from", 0, "walogs|oxirs|ironwal|files|lines|tar", "what SRC is" },
	[OPT_POLICY] = { "policy", 0, "salvage|prefix|strict", "everything that is intact; up to the first break; all or nothing" },
	[OPT_DRY_RUN] = { "dry-run", 'n', NULL, "only say what would be imported" },
	[OPT_REPORT] = { "report", 0, "FILE", "which entry has which id, and what was found, as JSON lines" },
	[OPT_JSON] = { "json", 0, NULL, "one JSON document" },
	[OPT_QUIET] = { "quiet", 'q', NULL, "no notes and no summary, only what is wrong" },
	[OPT_APPEND] = { "append", 0, "FILE", "behind what STREAM holds; FILE keeps where that was, to go on there" },
	[OPT_RECURSIVE] = { "recursive", 'r', NULL, "files: those in directories below, too" },
	[OPT_DUPLICATES] = { "keep-duplicates", 0, NULL, "walogs: also frames that a later one replaces" },
	[OPT_CHECKPOINTS] = { "checkpoints", 0, "keep|drop|apply", "oxirs: as records; not; nor what they cover" },
	[OPT_TRANSACTIONS] = { "transactions", 0, "keep|apply", "oxirs: all records; not those never committed" },
	[OPT_RESYNC] = { "resync", 0, NULL, "oxirs: behind a wrong length, look for records" },
	{ 0 },
};

/* ---- What is wanted ---- */

/* Which of the words the option was given; 0 if it was not. -1: another one, which has been said. */
static int read_choice(const struct command *command, int option, const char *const *words)
{
	const char *value = command->given[option];
	int i = 0;

	if (!value)
		return 0;
	while (words[i] && strcmp(words[i], value))
		i++;
	if (words[i])
		return i;
	command_usage(command->verb, "--%s=%s: expected %s", options[option].name, value, options[option].value);
	return -1;
}

/* Options that say something about one format only. */
static enum exit_code check_formats(const struct command *command, const char *format)
{
	static const struct { int option; const char *format; } only[] = {
		{ OPT_RECURSIVE, "files" }, { OPT_DUPLICATES, "walogs" }, { OPT_CHECKPOINTS, "oxirs" }, { OPT_TRANSACTIONS, "oxirs" }, { OPT_RESYNC, "oxirs" },
	};

	for (size_t i = 0; i < sizeof(only) / sizeof(only[0]); i++) {
		if (command->given[only[i].option] && strcmp(only[i].format, format))
			return command_usage(command->verb, "--%s is for --from=%s", options[only[i].option].name, only[i].format);
	}
	return EXIT_OK;
}

static enum exit_code read_choices(struct import *import, const struct command *command)
{
	static const char *const policies[] = { "salvage", "prefix", "strict", NULL }, *const checkpoints[] = { "keep", "drop", "apply", NULL },
				*const transactions[] = { "keep", "apply", NULL };
	int policy = read_choice(command, OPT_POLICY, policies), checkpoint = read_choice(command, OPT_CHECKPOINTS, checkpoints),
	    transaction = read_choice(command, OPT_TRANSACTIONS, transactions);
	struct timespec now;

	if (policy < 0 || checkpoint < 0 || transaction < 0)
		return EXIT_USAGE;
	clock_gettime(CLOCK_REALTIME, &now);
	import->options = (struct source_options){
		.policy = (enum policy)policy,
		.recursive = command->given[OPT_RECURSIVE],
		.keep_duplicates = command->given[OPT_DUPLICATES],
		.drop_checkpoints = checkpoint > 0,
		.apply_checkpoints = checkpoint == 2,
		.apply_transactions = transaction == 1,
		.resync = command->given[OPT_RESYNC],
		.now_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec,
	};
	return check_formats(command, import->format->name);
}

/* The stream is named after the source if it is not named. */
static enum exit_code name_stream(struct import *import, const struct command *command)
{
	const char *given = command->operand_count > 1 ? command->operands[1] : NULL;
	char *real = NULL;

	if (import->format->has_streams) {
		import->options.stream = given;
		return EXIT_OK;
	}
	if (!given && !strcmp(import->source_path, "-"))
		return command_usage(command->verb, "standard input has no name: expected STREAM");
	if (!given)
		real = realpath(import->source_path, NULL);
	if (!given && !real)
		return command_fail(command, -errno, "'%s'", import->source_path);
	import->stream = strdup(given ? given : strrchr(real, '/') + 1);
	free(real);
	if (!import->stream)
		return command_fail(command, -ENOMEM, "importing");
	if (wal_stream_name_check(import->stream) < 0)
		return command_usage(command->verb, "'%s' cannot be the name of a stream: expected %s", import->stream, given ? "another one" : "STREAM");
	return EXIT_OK;
}

static enum exit_code read_usage(struct import *import, const struct command *command)
{
	const char *from = command->given[OPT_FROM];
	enum exit_code code;

	if (!from)
		return command_usage(command->verb, "expected --from=%s", options[OPT_FROM].value);
	import->format = source_format_find(from);
	if (!import->format)
		return command_usage(command->verb, "--from=%s: expected %s", from, options[OPT_FROM].value);
	if (!strcmp(import->source_path, "-") && !import->format->from_stdin)
		return command_usage(command->verb, "--from=%s does not read standard input", from);
	if (command->given[OPT_APPEND] && import->format->has_streams)
		return command_usage(command->verb, "--append is not for --from=%s, where entries keep their ids", from);
	code = read_choices(import, command);
	return code ? code : name_stream(import, command);
}

/* ---- From where, to where ---- */

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Where `path` is, or would be made; for free(3). */
static char *real_place(const char *path)
{
	char *real = realpath(path, NULL), *parent, *slash;

	if (real || errno != ENOENT)
		return real;
	parent = strdup(path);
	if (!parent)
		return NULL;
	while ((slash = strrchr(parent, '/')) && slash > parent && !slash[1])
		*slash = '\0';
	if (slash)
		slash[slash == parent] = '\0';
	real = realpath(slash ? parent : ".", NULL);
	free(parent);
	return real;
}

/* Whether `path` is `directory` or somewhere below it. */
static bool is_inside(const char *path, const char *directory)
{
	char *place = real_place(path), *slash;
	bool is = same_file(path, directory);

	while (place && !is) {
		is = same_file(place, directory);
		slash = strrchr(place, '/');
		if (!slash || !slash[1])
			break;
		slash[slash == place] = '\0';
	}
	free(place);
	return is;
}

/* What is written must not be what is read. */
static enum exit_code check_places(const struct import *import, const struct command *command)
{
	const int files[] = { OPT_REPORT, OPT_APPEND };

	if (same_file(import->source_path, command->store_path))
		return command_usage(command->verb, "SRC and STORE are the same: '%s'", import->source_path);
	if (import->options.recursive && is_inside(command->store_path, import->source_path))
		return command_usage(command->verb, "STORE '%s' is in SRC, so that with --recursive it would be imported into itself", command->store_path);
	if (is_inside(import->source_path, command->store_path))
		return command_usage(command->verb, "SRC '%s' is in STORE, which is to be changed", import->source_path);
	for (size_t i = 0; i < 2; i++) {
		const char *file = command->given[files[i]];

		if (file && (is_inside(file, import->source_path) || is_inside(file, command->store_path)))
			return command_usage(command->verb, "--%s=%s: that is in SRC, which is not to be changed, or the STORE", options[files[i]].name, file);
	}
	return EXIT_OK;
}

/* A store that is missing is made, as wal_store_open() does it, but not for a look. */
static enum exit_code open_store(struct import *import, struct command *command)
{
	struct wal_error error = { 0 };
	int r;

	command->options.ro = command->options.no_create = import->dry;
	if (import->source->shards && !command->options.shards && !import->options.stream)
		command->options.shards = import->source->shards;
	command_prepare(command);
	r = wal_store_open(command->store_path, &command->options, &import->store, &error);
	if (r == -ENOENT && import->dry)
		return EXIT_OK;
	return r < 0 ? command_fail_open(command, r, &error) : EXIT_OK;
}

static enum exit_code open_report(struct import *import, const struct command *command)
{
	const char *path = command->given[OPT_REPORT];
	struct json json;

	if (!path)
		return EXIT_OK;
	import->report = fopen(path, "we");
	if (!import->report)
		return command_fail(command, -errno, "making the report '%s'", path);
	report_open_line(&json, import->report, "import");
	json_text(&json, "from", import->format->name);
	json_name(&json, "source", import->source_path);
	json_name(&json, "store", command->store_path);
	json_bool(&json, "dry_run", import->dry);
	report_close_line(&json);
	return EXIT_OK;
}

/* ---- What came of it ---- */

static void put_counts(const struct import *import, struct json *json)
{
	json_uint(json, "checkpoints", import->checkpoints);
	json_open(json, "counts", '{');
	for (int kind = 0; kind < FINDING_KINDS; kind++)
		json_uint(json, finding_names[kind], import->counts[kind]);
	json_close(json, '}');
}

static void put_summary(const struct import *import, FILE *out)
{
	bool any = false;

	if (import->checkpoints)
		fprintf(out, "%" PRIu64 " checkpoints\n", import->checkpoints);
	for (int kind = FINDING_KINDS - 1; kind >= 0; kind--) {
		if (!import->counts[kind])
			continue;
		fprintf(out, "%s%" PRIu64 " %s", any ? ", " : "", import->counts[kind], finding_names[kind]);
		any = true;
	}
	fputs(any ? "\n" : "nothing is wrong with the source\n", out);
	if (import->format->remark)
		fprintf(out, "note: %s: %s\n", import->format->name, import->format->remark);
	if (import->moved_checkpoints)
		fprintf(out, "note: %" PRIu64 " checkpoints name records by numbers that are not their ids now: see --checkpoints before a journal reads them\n", import->moved_checkpoints);
	if (import->refused)
		fputs("nothing was imported: see --policy\n", out);
	else if (import->ever_cut)
		fputs("what comes behind the break was not looked at: see --policy\n", out);
}

static void begin_json(struct import *import, const struct command *command, struct json *json)
{
	*json = (struct json){ .file = command->out };
	json_open(json, NULL, '{');
	json_name(json, "store", command->store_path);
	json_text(json, "from", import->format->name);
	json_name(json, "source", import->source_path);
	json_bool(json, "dry_run", import->dry);
	json_open(json, "findings", '[');
	import->json = json;
}

static void end_json(struct import *import, bool complete)
{
	struct json *json = import->json;

	json_close(json, ']');
	json_raw(json, "streams", import->streams_text);
	put_counts(import, json);
	if (import->format->remark)
		json_text(json, "remark", import->format->remark);
	json_bool(json, "complete", complete && !import->refused && !import->ever_cut && !import->lost);
	json_close(json, '}');
}

static enum exit_code end_report(struct import *import, const struct command *command, bool complete)
{
	struct json json;
	int r = 0;

	if (!import->report)
		return EXIT_OK;
	report_open_line(&json, import->report, "summary");
	json_raw(&json, "streams", import->streams_text);
	put_counts(import, &json);
	json_bool(&json, "complete", complete && !import->refused && !import->ever_cut && !import->lost);
	report_close_line(&json);
	/* a report may also go to a pipe */
	if (fflush(import->report) || ferror(import->report) || (fsync(fileno(import->report)) < 0 && errno != EINVAL && errno != EROFS))
		r = -errno;
	if (fclose(import->report) && r == 0)
		r = -errno;
	import->report = NULL;
	return r < 0 ? command_fail(command, r, "writing the report '%s'", command->given[OPT_REPORT]) : EXIT_OK;
}

/* ---- The verb ---- */

static enum exit_code fail(struct import *import, const struct command *command, int result, const struct wal_error *error)
{
	progress_clear(&import->progress);
	command_say(command, "%s", error->message);
	if (!import->dry && import->sink->appended)
		command_say(command, "what was imported stays; the same command goes on behind it");
	return exit_code_of(result);
}

static enum exit_code import_and_tell(struct import *import, const struct command *command)
{
	struct wal_error error = { 0 };
	enum exit_code code = EXIT_OK;
	struct json json;
	FILE *streams = open_memstream(&import->streams_text, &import->streams_size);
	int r;

	if (!streams)
		return command_fail(command, -ENOMEM, "importing");
	import->streams = (struct json){ .file = streams, .depth = 3 };
	if (command->given[OPT_JSON])
		begin_json(import, command, &json);
	r = import_all(import, &error);
	fclose(streams);
	if (r < 0)
		code = fail(import, command, r, &error);
	progress_clear(&import->progress);
	if (import->json)
		end_json(import, r == 0);
	else if (r == 0 && !import->quiet)
		put_summary(import, command->out);
	code = exit_code_worse(code, end_report(import, command, r == 0));
	free(import->streams_text);
	return exit_code_worse(code, import->lost || import->refused ? EXIT_LACKING : EXIT_OK);
}

static enum exit_code run_opened(struct import *import, struct command *command)
{
	struct sink *sink = malloc(sizeof(*sink));
	enum exit_code code = open_store(import, command);

	if (!code && (!sink || sink_init(sink, import->store, import->dry) < 0))
		code = command_fail(command, -ENOMEM, "importing");
	if (!code) {
		import->sink = sink;
		code = open_report(import, command);
		if (!code)
			code = import_and_tell(import, command);
		sink_release(sink);
	}
	free(sink);
	return import->store ? command_close_store(command, import->store, code) : code;
}

/* Large entries are put together in the store's file system; where there is no store yet, or none that is to be changed, elsewhere. */
static const char *spool_elsewhere(void)
{
	const char *directory = getenv("TMPDIR");

	return directory && *directory ? directory : "/tmp";
}

static enum exit_code run_source(struct import *import, struct command *command)
{
	struct wal_error error = { 0 };
	enum exit_code code;
	int r = 0;

	progress_init(&import->progress);
	import->options.spool = spool_elsewhere();
	if (import->options.policy == POLICY_STRICT && strcmp(import->source_path, "-"))
		r = import_look_through(import, &error);
	import->dry |= import->refused;
	if (!import->dry)
		import->options.spool = command->store_path;
	if (r == 0)
		r = import->format->open(import->source_path, &import->options, &import->source, &error);
	progress_clear(&import->progress);
	if (r < 0) {
		command_say(command, "%s", error.message);
		return exit_code_of(r);
	}
	code = run_opened(import, command);
	import->source->ops->free(import->source);
	return code;
}

static enum exit_code run_import(struct command *command)
{
	struct import import = { .out = command->out, .source_path = command->store_path };
	enum exit_code code;

	command->store_path = command->operands[0];
	import.quiet = command->given[OPT_QUIET];
	import.dry = command->given[OPT_DRY_RUN];
	import.append = command->given[OPT_APPEND];
	code = read_usage(&import, command);
	if (!code)
		code = check_places(&import, command);
	if (!code)
		code = run_source(&import, command);
	free(import.stream);
	return code;
}

const struct verb verb_import = {
	.name = "import",
	.operands = "SRC STORE [STREAM]",
	.summary = "Moves in from another log: entries with their times, as SRC has them, into STREAM.",
	.options = options,
	.operands_min = 2,
	.operands_max = 3,
	.writes = true,
	.run = run_import,
};
