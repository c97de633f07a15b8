/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "checkpoints.h"
#include "export.h"
#include "slurp.h"
#include "text.h"

enum { OPT_TO, OPT_OUTPUT, OPT_CHECKPOINT, OPT_FROM_ID, OPT_TO_ID, OPT_AFTER };

static const struct verb_option options[] = {
	[OPT_TO] = { "to", 0, "tar|files|lines|jsonl", "the form; lines needs a STREAM" },
	[OPT_OUTPUT] = { "output", 'o', "FILE|DIR", "not to standard output; files needs a directory" },
	[OPT_CHECKPOINT] = { "checkpoint", 0, "NAME", "the streams as they were at this checkpoint" },
	[OPT_FROM_ID] = { "from-id", 0, "ID", "with STREAM: begin with this entry" },
	[OPT_TO_ID] = { "to-id", 0, "ID", "with STREAM: end with this entry" },
	[OPT_AFTER] = { "after", 0, "FILE|-", "only what another store lacks, by its 'walctl restore --state'" },
	{ 0 },
};

struct format {
	const char *name;
	enum exit_code (*run)(struct exporter *exporter);
	bool text; /* that its reader ends early is no failure: what it has read is no archive */
};

static const struct format formats[] = {
	{ "tar", export_tar, false },
	{ "files", export_files, false },
	{ "lines", export_lines, true },
	{ "jsonl", export_jsonl, true },
};

enum {
	FORMATS = sizeof(formats) / sizeof(formats[0]),
	SETTLE_TRIES = 10,
};

/* ---- Which entries ---- */

static enum exit_code fail_memory(const struct exporter *exporter)
{
	return command_fail(exporter->command, -ENOMEM, "listing streams");
}

/* One stream, whole, or up to the cut of a checkpoint. */
static enum exit_code add_stream(struct exporter *exporter, const char *name, const struct wal_checkpoint *checkpoint)
{
	struct manifest_stream what = { .name = (char *)name };
	char escaped[TEXT_NAME_MAX];
	struct wal_stream *stream;
	uint64_t cut;
	enum exit_code code;

	if (checkpoint && wal_checkpoint_find(checkpoint, name, &cut) == WAL_NOT_FOUND)
		return EXIT_OK;
	code = command_open_stream(exporter->command, exporter->store, name, 0, &stream);
	if (code)
		return code;
	wal_stream_bounds(stream, &what.first, &what.next, NULL);
	wal_stream_close(stream);
	if (checkpoint && cut > what.next) {
		command_say(exporter->command, "stream '%s': the checkpoint covers ids below %" PRIu64 ", the stream has those below %" PRIu64, text_escape(escaped, name), cut,
			    what.next);
		code = EXIT_LACKING;
	} else if (checkpoint) {
		what.next = cut;
	}
	if (what.first > what.next)
		what.first = what.next; /* all that was covered has been pruned */
	what.from = what.first;
	return manifest_add_stream(&exporter->what, &what) < 0 ? fail_memory(exporter) : code;
}

static enum exit_code add_all(struct exporter *exporter, const struct wal_checkpoint *checkpoint)
{
	enum exit_code code = EXIT_OK;
	char **names;
	size_t count;
	int r = wal_store_list(exporter->store, &names, &count);

	if (r < 0)
		return command_fail(exporter->command, r, "listing streams");
	for (size_t i = 0; i < count && code <= EXIT_LACKING; i++)
		code = exit_code_worse(code, add_stream(exporter, names[i], checkpoint));
	free(names);
	return code;
}

static enum exit_code add_streams(struct exporter *exporter)
{
	const struct command *command = exporter->command;
	const char *name = command->given[OPT_CHECKPOINT], *stream = command->operand_count ? command->operands[0] : NULL;
	struct wal_checkpoint *checkpoint = NULL;
	enum exit_code code = EXIT_OK;
	struct bytes id;
	int r;

	if (name) {
		code = checkpoint_read_name(command, name, &id);
		if (code)
			return code;
		r = wal_checkpoint_load(exporter->store, id.data, id.size, &checkpoint);
		free(id.data);
		if (r)
			return r == WAL_NOT_FOUND ? checkpoint_is_missing(command, name) : command_fail(command, r, "checkpoint '%s'", name);
	}
	code = stream ? add_stream(exporter, stream, checkpoint) : add_all(exporter, checkpoint);
	if (stream && code <= EXIT_LACKING && !exporter->what.stream_count) {
		command_say(command, "checkpoint '%s' doesn't know the stream '%s'", name, stream);
		code = EXIT_LACKING;
	}
	free(checkpoint);
	return exporter->what.stream_count || !stream ? code : exit_code_worse(code, EXIT_LACKING);
}

/* --from-id and --to-id. What was asked for and is not there is said, and what is there of the range comes all the same. */
static enum exit_code narrow(struct exporter *exporter)
{
	const char *from_text = exporter->command->given[OPT_FROM_ID], *to_text = exporter->command->given[OPT_TO_ID];
	struct manifest_stream *what = exporter->what.streams;
	char name[TEXT_NAME_MAX];
	uint64_t from = 0, to = UINT64_MAX - 1;
	enum exit_code code = EXIT_OK;

	if (!from_text && !to_text)
		return EXIT_OK;
	if ((from_text && !text_parse_number(from_text, strlen(from_text), &from)) || (to_text && !text_parse_number(to_text, strlen(to_text), &to)) ||
	    to == UINT64_MAX)
		return command_usage(exporter->command->verb, "--from-id and --to-id: expected ids in digits");
	if (from_text && to_text && to < from)
		return command_usage(exporter->command->verb, "the range from %s to %s ends before it begins", from_text, to_text);
	text_escape(name, what->name);
	if (from_text && (from < what->first || from > what->next)) {
		command_say(exporter->command, "stream '%s': entry %" PRIu64 " %s: it has those from %" PRIu64 " to below %" PRIu64, name, from,
			    from < what->first ? "pruned" : "not found", what->first, what->next);
		code = EXIT_LACKING;
	}
	if (to_text && to >= what->next) {
		command_say(exporter->command, "stream '%s': entry %" PRIu64 " not found: it has those below %" PRIu64, name, to, what->next);
		code = EXIT_LACKING;
	}
	what->from = from < what->first ? what->first : from > what->next ? what->next : from;
	if (to < what->next)
		what->next = to + 1 < what->from ? what->from : to + 1;
	return code;
}

/* ---- What another store has ---- */

static enum exit_code read_state(struct exporter *exporter)
{
	const char *path = exporter->command->given[OPT_AFTER];
	char *text, fault[128];
	size_t size;
	int r = slurp(path, MANIFEST_BYTES_MAX, &text, &size);

	if (r < 0)
		return command_fail(exporter->command, r, "reading '%s'", path);
	r = manifest_read(text, size, true, &exporter->known, fault);
	free(text);
	if (r == -EBADMSG)
		command_say(exporter->command, "'%s' is no output of 'walctl restore --state': %s", path, fault);
	else if (r < 0)
		command_fail(exporter->command, r, "reading '%s'", path);
	return exit_code_of(r);
}

/* What the last entry that both have says of all before it: where a store was given other entries, they are told by it. */
static enum exit_code compare_last(struct exporter *exporter, const struct manifest_stream *known)
{
	char name[TEXT_NAME_MAX];
	struct wal_stream *stream;
	uint64_t size;
	uint32_t crc;
	enum exit_code code = command_open_stream(exporter->command, exporter->store, known->name, 0, &stream);
	int r;

	if (code)
		return code;
	r = entries_digest(stream, known->next - 1, &size, &crc);
	wal_stream_close(stream);
	text_escape(name, known->name);
	if (r)
		return command_fail(exporter->command, r, "stream '%s': entry %" PRIu64 ", the last one that the other store has", name, known->next - 1);
	if (size == known->last_size && crc == known->last_crc)
		return EXIT_OK;
	command_say(exporter->command,
		    "stream '%s': the stores have diverged: entry %" PRIu64 " has %" PRIu64 " bytes (crc %08" PRIx32 ") here, %" PRIu64 " bytes (crc %08" PRIx32 ") there", name,
		    known->next - 1, size, crc, known->last_size, known->last_crc);
	return EXIT_LACKING;
}

/* EXIT_LACKING with *ret_gap: what is between the two is nowhere; the rest can go all the same. */
static enum exit_code begin_after(struct exporter *exporter, struct manifest_stream *what, bool *ret_gap)
{
	const struct manifest_stream *known = manifest_find(&exporter->known, what->name);
	char name[TEXT_NAME_MAX];

	if (!known || !known->next)
		return EXIT_OK;
	text_escape(name, what->name);
	if (known->next > what->next) {
		command_say(exporter->command, "stream '%s': the stores have diverged: there the next id is %" PRIu64 ", here it is %" PRIu64, name, known->next, what->next);
		return EXIT_LACKING;
	}
	if (known->next < what->first) {
		command_say(exporter->command, "stream '%s': entries %" PRIu64 " to %" PRIu64 " have been pruned here, and are not there either: the other store can go on with --allow-gaps only",
			    name, known->next, what->first - 1);
		*ret_gap = true;
		return EXIT_LACKING;
	}
	what->from = known->next;
	return known->next > known->first && known->next > what->first ? compare_last(exporter, known) : EXIT_OK;
}

/* If a stream has diverged nothing is sent: *ret_stop. */
static enum exit_code skip_known(struct exporter *exporter, bool *ret_stop)
{
	enum exit_code code = read_state(exporter), one;

	*ret_stop = code != EXIT_OK;
	for (size_t i = 0; i < exporter->what.stream_count && !*ret_stop; i++) {
		bool gap = false;

		one = begin_after(exporter, &exporter->what.streams[i], &gap);
		*ret_stop = one && !gap;
		code = exit_code_worse(code, one);
	}
	return code;
}

/* ---- Where it goes ---- */

static enum exit_code fail_file(const struct exporter *exporter, const char *path)
{
	return command_fail(exporter->command, -errno, "writing '%s'", path);
}

/* The file gets its name when it is whole. */
static enum exit_code run_to_file(struct exporter *exporter, const struct format *format)
{
	size_t length = strlen(exporter->path);
	char *part = malloc(length + sizeof(".part"));
	enum exit_code code;

	if (!part)
		return fail_memory(exporter);
	memcpy(mempcpy(part, exporter->path, length), ".part", sizeof(".part"));
	exporter->file = fopen(part, "we");
	if (!exporter->file) {
		code = fail_file(exporter, part);
		free(part);
		return code;
	}
	code = format->run(exporter);
	if (code <= EXIT_LACKING && (fflush(exporter->file) || fsync(fileno(exporter->file)) < 0))
		code = fail_file(exporter, part);
	if (fclose(exporter->file) && code <= EXIT_LACKING)
		code = fail_file(exporter, part);
	if (code <= EXIT_LACKING && rename(part, exporter->path) < 0)
		code = fail_file(exporter, exporter->path);
	if (code > EXIT_LACKING)
		unlink(part);
	free(part);
	return code;
}

static enum exit_code run_format(struct exporter *exporter, const struct format *format)
{
	enum exit_code code;

	if (exporter->path && format->run != export_files)
		return run_to_file(exporter, format);
	exporter->file = format->run == export_files ? NULL : exporter->command->out;
	code = format->run(exporter);
	/* main() tells of other failures than that the reader has ended. */
	if (format->text && code == EXIT_SYSTEM && ferror(exporter->file))
		return EXIT_OK;
	return code;
}

/* ---- The verb ---- */

static const struct format *find_format(const char *name)
{
	for (size_t i = 0; name && i < FORMATS; i++)
		if (!strcmp(formats[i].name, name))
			return &formats[i];
	return NULL;
}

static enum exit_code check_usage(const struct command *command, const struct format *format)
{
	const char *const *given = command->given;
	bool stream = command->operand_count;

	if (!format)
		return command_usage(command->verb, "--to: expected tar, files, lines or jsonl, found '%s'", given[OPT_TO] ? given[OPT_TO] : "nothing");
	if (format->run == export_files && !given[OPT_OUTPUT])
		return command_usage(command->verb, "--to=files needs --output=DIR");
	if (format->run == export_lines && !stream)
		return command_usage(command->verb, "--to=lines needs a STREAM: lines of several could not be told apart");
	if ((given[OPT_FROM_ID] || given[OPT_TO_ID]) && !stream)
		return command_usage(command->verb, "--from-id and --to-id need a STREAM");
	if (given[OPT_AFTER] && (given[OPT_FROM_ID] || given[OPT_TO_ID] || given[OPT_CHECKPOINT]))
		return command_usage(command->verb, "--after says where each stream begins: no --from-id, --to-id or --checkpoint with it");
	return EXIT_OK;
}

static enum exit_code export_store(struct exporter *exporter, const struct format *format)
{
	enum exit_code code = add_streams(exporter), more = EXIT_OK;
	bool stop = false;

	if (code > EXIT_LACKING || (exporter->command->operand_count && !exporter->what.stream_count))
		return code;
	exporter->what.shards = wal_store_shards(exporter->store);
	if (exporter->command->operand_count)
		more = narrow(exporter);
	if (more <= EXIT_LACKING && exporter->command->given[OPT_AFTER])
		more = skip_known(exporter, &stop);
	code = exit_code_worse(code, more);
	if (stop || code > EXIT_LACKING)
		return code;
	more = run_format(exporter, format);
	return exit_code_worse(code, more);
}

/* Adds up which entries of which streams have times that are not recorded; 0: none. */
static enum exit_code find_untimed(const struct command *command, struct wal_store *store, uint64_t *ret_sum)
{
	char **names;
	size_t count;
	uint64_t sum = 0;
	int r = wal_store_list(store, &names, &count);

	for (size_t i = 0; r == 0 && i < count; i++) {
		struct wal_stream *stream;
		uint64_t next, timed;

		if (wal_stream_open(store, names[i], 0, &stream, NULL) < 0)
			continue; /* whoever reads it will say so */
		wal_stream_bounds(stream, NULL, &next, NULL);
		timed = wal_stream_timed_id(stream);
		if (timed < next)
			sum += (i + 1) * (next + timed + 1);
		wal_stream_close(stream);
	}
	if (r < 0)
		return command_fail(command, r, "listing streams");
	free(names);
	*ret_sum = sum;
	return EXIT_OK;
}

/*
 * A store that is being written may hold entries whose times its writer has not recorded yet: those would go out with times that are made up. So it is opened again a moment later,
 * until there are none, or nothing happens any more, or the writer is too busy to wait for.
 */
static enum exit_code open_settled(struct command *command, struct wal_store **ret_store)
{
	struct timespec pause = { .tv_nsec = 20 * 1000000 };
	enum exit_code code = command_open_store(command, ret_store);
	uint64_t sum = 0, before = 0;

	for (unsigned i = 0; !code && i < SETTLE_TRIES; i++) {
		before = sum;
		code = find_untimed(command, *ret_store, &sum);
		if (!code && (!sum || sum == before))
			break;
		code = command_close_store(command, *ret_store, code);
		nanosleep(&pause, NULL);
		if (!code)
			code = command_open_store(command, ret_store);
	}
	return code;
}

static enum exit_code run_export(struct command *command)
{
	const struct format *format = find_format(command->given[OPT_TO]);
	struct exporter exporter = { .command = command, .path = command->given[OPT_OUTPUT] };
	enum exit_code code = check_usage(command, format);

	if (code)
		return code;
	if (exporter.path && !strcmp(exporter.path, "-") && format->run != export_files)
		exporter.path = NULL;
	code = open_settled(command, &exporter.store);
	if (code)
		return code;
	code = command_close_store(command, exporter.store, export_store(&exporter, format));
	manifest_release(&exporter.what);
	manifest_release(&exporter.known);
	return code;
}

const struct verb verb_export = {
	.name = "export",
	.operands = "STORE [STREAM]",
	.summary = "Writes streams, with ids, times and checkpoints, as a tar archive or as files, or their entries as lines or JSON.",
	.options = options,
	.operands_min = 1,
	.operands_max = 2,
	.run = run_export,
};
