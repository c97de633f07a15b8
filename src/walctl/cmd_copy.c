/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "changes.h"
#include "entries.h"
#include "intake.h"
#include "text.h"

enum { OPT_FOLLOW, OPT_INTERVAL, OPT_FULL, OPT_ALLOW_GAPS, OPT_QUIET };

static const struct verb_option options[] = {
	[OPT_FOLLOW] = { "follow", 'f', NULL, "go on until SIGINT or SIGTERM" },
	[OPT_INTERVAL] = { "interval", 0, "SECONDS", "with --follow: look at most so often; 1 if not given" },
	[OPT_FULL] = { "full", 0, NULL, "compare all entries that both have, not the last ones only" },
	[OPT_ALLOW_GAPS] = { "allow-gaps", 0, NULL, "go on where entries are missing; their ids are lost for good" },
	[OPT_QUIET] = { "quiet", 'q', NULL, "no summary" },
	{ 0 },
};

enum {
	COMPARED_LAST = 16,
	PAUSE_MS = 20, /* twice what a writer lets pass at most before it records times, while appends come */
};

#define INTERVAL_USUAL 1.0
#define INTERVAL_MIN 0.05
#define INTERVAL_MAX 86400.0

struct copy {
	const struct command *command; /* of the store that is read */
	struct wal_store *store;       /* as it stood when it was opened */
	struct intake intake;
	bool opened; /* the other */
	bool full;   /* the next round compares all */
	bool lacking; /* something was given up, as --allow-gaps asks */
	bool held_back; /* in this round: entries whose times are yet to be recorded, */
	bool again;	/* for which another one is wanted */

	/* the stream that is being copied */
	struct wal_stream *stream;
	struct intake_stream *to;
};

/* ---- Entries ---- */

struct transfer {
	struct copy *copy;
	enum exit_code code;
};

static bool take_piece(void *arg, const void *data, size_t size)
{
	struct transfer *transfer = arg;

	transfer->code = intake_data(&transfer->copy->intake, data, size);
	return transfer->code == EXIT_OK;
}

static enum exit_code put_entry(void *arg, const struct entry_view *view)
{
	struct copy *copy = arg;
	struct transfer transfer = { copy, intake_begin(&copy->intake, copy->to, view->id, view->time_ns, view->size) };
	char name[TEXT_NAME_MAX];
	int unread;

	if (transfer.code)
		return transfer.code;
	unread = entry_pieces(view, take_piece, &transfer);
	if (unread)
		return command_fail(copy->command, unread, "stream '%s': entry %" PRIu64 ": it could not be read to its end", text_escape(name, copy->to->name), view->id);
	return transfer.code ? transfer.code : intake_end(&copy->intake);
}

static enum exit_code give_up(void *arg, uint64_t id, uint64_t count, int result)
{
	struct copy *copy = arg;

	entries_say(copy->command, copy->stream, id, count, result == WAL_PRUNED ? "pruned" : "damaged");
	copy->lacking = true;
	if (id + count <= copy->to->next)
		return EXIT_OK; /* the copy has them, or has given them up */
	return intake_gap(&copy->intake, copy->to, id + count);
}

static enum exit_code walk(struct copy *copy, uint64_t id, uint64_t end)
{
	const struct entries_user user = { put_entry, give_up, copy };
	enum exit_code code = entries_walk(copy->command, copy->stream, id, end, &user), flushed = intake_flush(&copy->intake);

	return exit_code_worse(code, flushed);
}

/* ---- Streams ---- */

/* EXIT_OK with *ret_same false: size or checksum differ. What is damaged in the source only is no difference: the copy has it. */
static enum exit_code compare_one(struct copy *copy, uint64_t id, bool *ret_same)
{
	char name[TEXT_NAME_MAX];
	uint64_t size = 0, to_size = 0;
	uint32_t crc = 0, to_crc = 0;
	int r = entries_digest(copy->stream, id, &size, &crc), to_r = entries_digest(copy->to->stream, id, &to_size, &to_crc);

	*ret_same = r == -EBADMSG || (size == to_size && crc == to_crc);
	if ((r && r != -EBADMSG) || (to_r && !(r == -EBADMSG && to_r == -EBADMSG)))
		return command_fail(r && r != -EBADMSG ? copy->command : &copy->intake.command, r && r != -EBADMSG ? r : to_r, "stream '%s': entry %" PRIu64,
				    text_escape(name, copy->to->name), id);
	return EXIT_OK;
}

/* That the last ones that both have are the same is taken to say that all are; if they aren't, the first one that differs is looked for, and said. */
static enum exit_code compare(struct copy *copy, uint64_t first, uint64_t end)
{
	enum exit_code code = EXIT_OK;
	bool same = !copy->full;

	for (uint64_t id = end; id > first && end - id < COMPARED_LAST && same && !code; id--)
		code = compare_one(copy, id - 1, &same);
	return code || same || first >= end ? code : walk(copy, first, end);
}

/*
 * Entries whose times their writer has not recorded yet would come with times that are made up, and keep those for ever. They are looked at again a moment later; if nothing has happened by then
 * the writer is at rest, or has died, and they come as they are.
 */
static uint64_t end_of_timed(struct copy *copy, uint64_t first, uint64_t next)
{
	struct intake_stream *to = copy->to;
	uint64_t timed = wal_stream_timed_id(copy->stream);

	if (timed >= next || next <= to->next || (timed == to->untimed_id && next == to->untimed_next))
		return next;
	to->untimed_id = timed;
	to->untimed_next = next;
	if (!to->goal)
		to->goal = next;
	copy->held_back = true;
	/* What has come since the beginning need not be waited for, or a copy beside a busy writer would never end. */
	if (copy->command->given[OPT_FOLLOW] || timed < to->goal)
		copy->again = true;
	if (timed < first)
		timed = first;
	return timed > to->next ? timed : to->next;
}

static enum exit_code copy_new(struct copy *copy, uint64_t first, uint64_t next)
{
	char name[TEXT_NAME_MAX];
	enum exit_code code;

	text_escape(name, copy->to->name);
	if (copy->to->next > next) {
		command_say(&copy->intake.command, "stream '%s': the stores have diverged: the next id is %" PRIu64 " here, and %" PRIu64 " in %s", name, copy->to->next, next,
			    copy->command->store_path);
		return EXIT_LACKING;
	}
	if (copy->full || copy->to->next < next) {
		code = compare(copy, first > copy->to->first ? first : copy->to->first, copy->to->next);
		if (code)
			return code;
	}
	code = intake_first(&copy->intake, copy->to, first);
	if (!code && copy->to->next < first) {
		entries_say(copy->command, copy->stream, copy->to->next, first - copy->to->next, "pruned, before it was copied");
		copy->lacking = true;
		code = intake_gap(&copy->intake, copy->to, first);
	}
	return code ? code : walk(copy, copy->to->next, end_of_timed(copy, first, next));
}

static enum exit_code copy_stream(struct copy *copy, const char *name)
{
	uint64_t first, next;
	enum exit_code code = command_open_stream(copy->command, copy->store, name, 0, &copy->stream);

	if (code)
		return code;
	wal_stream_bounds(copy->stream, &first, &next, NULL);
	code = intake_stream(&copy->intake, name, &copy->to);
	if (!code) {
		copy->to->source_known = true;
		copy->to->source_first = first;
		code = copy_new(copy, first, next);
	}
	wal_stream_close(copy->stream);
	copy->stream = NULL;
	return code;
}

/* One that fails does not keep the others from being copied. */
static enum exit_code copy_streams(struct copy *copy)
{
	enum exit_code code = EXIT_OK, one;
	char **names;
	size_t count;
	int r = wal_store_list(copy->store, &names, &count);

	if (r < 0)
		return command_fail(copy->command, r, "listing streams");
	for (size_t i = 0; i < count && code <= EXIT_LACKING; i++) {
		one = copy_stream(copy, names[i]);
		code = exit_code_worse(code, one);
	}
	free(names);
	return code;
}

/* ---- Checkpoints ---- */

/* One that was made since the streams were looked at covers more than they had, or what is held back: it comes next time. */
static bool is_for_later(struct copy *copy, const struct wal_checkpoint *checkpoint)
{
	struct intake_stream *to;

	for (size_t i = 0; i < checkpoint->cut_count; i++) {
		struct wal_stream *stream;
		uint64_t next;

		if (wal_stream_open(copy->store, checkpoint->cuts[i].stream, 0, &stream, NULL) < 0)
			return true;
		wal_stream_bounds(stream, NULL, &next, NULL);
		wal_stream_close(stream);
		if (copy->held_back && intake_stream(&copy->intake, checkpoint->cuts[i].stream, &to) == EXIT_OK && to->next < next)
			next = to->next;
		if (checkpoint->cuts[i].next_id > next)
			return true;
	}
	return false;
}

static enum exit_code copy_checkpoint(struct copy *copy, const struct wal_checkpoint *listed)
{
	struct wal_checkpoint *checkpoint;
	int r = wal_checkpoint_load(copy->store, listed->id, listed->id_size, &checkpoint);

	if (r)
		return command_fail(copy->command, r, "reading a checkpoint");
	if (!is_for_later(copy, checkpoint))
		return intake_checkpoint(&copy->intake, checkpoint);
	free(checkpoint);
	return EXIT_OK;
}

static bool is_same(const struct wal_checkpoint *a, const struct wal_checkpoint *b)
{
	return a->time_ns == b->time_ns && a->id_size == b->id_size && !memcmp(a->id, b->id, a->id_size);
}

/* Both lists are in the order of their times, so those that are there already are passed over side by side; but the last, of which it is asked whether it is the latest there too. */
static enum exit_code copy_checkpoints(struct copy *copy)
{
	struct wal_checkpoint *list, *there = NULL;
	enum exit_code code = EXIT_OK, one;
	size_t count, there_count = 0, k = 0;
	int r = wal_checkpoint_list(copy->store, &list, &count);

	if (r == 0) {
		r = wal_checkpoint_list(copy->intake.store, &there, &there_count);
		if (r < 0)
			free(list);
	}
	if (r < 0)
		return command_fail(copy->command, r, "listing checkpoints");
	for (size_t i = 0; i < count && code <= EXIT_LACKING; i++) {
		while (k < there_count && there[k].time_ns < list[i].time_ns)
			k++;
		if (k < there_count && is_same(&there[k], &list[i]) && i + 1 < count)
			continue;
		one = copy_checkpoint(copy, &list[i]);
		code = exit_code_worse(code, one);
	}
	free(list);
	free(there);
	one = intake_finish(&copy->intake);
	return exit_code_worse(code, one);
}

/* ---- Rounds ---- */

/* Half-written ends, which are passed over, are nothing to tell of a store that is being written. */
static void print_errors(void *arg, enum wal_log_level level, const char *message)
{
	if (level == WAL_LOG_ERROR)
		command_say(arg, "%s", message);
}

static enum exit_code open_source(struct copy *copy)
{
	struct wal_options source = copy->command->options;
	struct wal_error error = { 0 };
	int r;

	source.ro = source.no_create = true;
	source.log = print_errors;
	source.log_arg = (void *)copy->command;
	r = wal_store_open(copy->command->store_path, &source, &copy->store, &error);
	return r < 0 ? command_fail_open(copy->command, r, &error) : EXIT_OK;
}

/* The other store is made, if need be, like the first one. */
static enum exit_code copy_round(struct copy *copy)
{
	enum exit_code code = open_source(copy), one;
	int r;

	if (code)
		return code;
	if (!copy->opened) {
		copy->opened = true;
		code = intake_open(&copy->intake, copy->command, copy->command->operands[0], wal_store_shards(copy->store));
		copy->intake.allow_gaps = copy->command->given[OPT_ALLOW_GAPS];
	}
	if (!code)
		code = copy_streams(copy);
	if (code <= EXIT_LACKING && copy->intake.store) {
		one = copy_checkpoints(copy);
		code = exit_code_worse(code, one);
		r = wal_store_sync(copy->intake.store);
		if (r < 0)
			code = exit_code_worse(code, command_fail(&copy->intake.command, r, "making the copy durable"));
	}
	copy->full = false;
	return command_close_store(copy->command, copy->store, code);
}

static void put_summary(struct copy *copy, uint64_t appended, uint64_t checkpoints)
{
	const struct intake *intake = &copy->intake;

	if (copy->command->given[OPT_QUIET] || (copy->command->given[OPT_FOLLOW] && intake->appended == appended && intake->checkpoints == checkpoints))
		return;
	appended = intake->appended - appended;
	checkpoints = intake->checkpoints - checkpoints;
	fprintf(copy->command->out, "%" PRIu64 " %s and %" PRIu64 " %s copied\n", appended, appended == 1 ? "entry" : "entries", checkpoints,
		checkpoints == 1 ? "checkpoint" : "checkpoints");
	fflush(copy->command->out);
}

/* False: a signal says that it is to end. */
static bool pause_briefly(struct changes *changes)
{
	struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000 };

	if (changes)
		return changes_pause(changes, PAUSE_MS);
	nanosleep(&pause, NULL);
	return true;
}

static enum exit_code run_rounds(struct copy *copy, double interval, struct changes *changes)
{
	enum exit_code code;
	uint64_t appended = 0, checkpoints = 0;
	bool more;

	do {
		copy->held_back = copy->again = false;
		if (changes)
			changes_watch(changes);
		code = copy_round(copy);
		if (copy->again && !code) {
			more = pause_briefly(changes);
			continue;
		}
		put_summary(copy, appended, checkpoints);
		appended = copy->intake.appended;
		checkpoints = copy->intake.checkpoints;
		more = changes && changes_wait(changes, interval);
	} while (!code && more);
	if (copy->again)
		put_summary(copy, appended, checkpoints);
	return copy->lacking ? exit_code_worse(code, EXIT_LACKING) : code;
}

static enum exit_code check_usage(const struct command *command, double *ret_interval)
{
	const char *interval = command->given[OPT_INTERVAL];
	struct stat from, to;
	char *end;

	*ret_interval = INTERVAL_USUAL;
	if (interval) {
		*ret_interval = strtod(interval, &end);
		if (!*interval || *end || !(*ret_interval >= INTERVAL_MIN && *ret_interval <= INTERVAL_MAX))
			return command_usage(command->verb, "--interval: expected a number of seconds from 0.05 to 86400, found '%s'", interval);
		if (!command->given[OPT_FOLLOW])
			return command_usage(command->verb, "--interval needs --follow");
	}
	if (stat(command->store_path, &from) == 0 && stat(command->operands[0], &to) == 0 && from.st_dev == to.st_dev && from.st_ino == to.st_ino)
		return command_usage(command->verb, "both are the same store");
	return EXIT_OK;
}

static enum exit_code run_copy(struct command *command)
{
	struct copy copy = { .command = command, .full = command->given[OPT_FULL], .intake.spool.fd = -1 };
	struct changes changes;
	double interval;
	enum exit_code code = check_usage(command, &interval);
	int r;

	if (code)
		return code;
	command_prepare(command);
	if (!command->given[OPT_FOLLOW])
		return intake_close(&copy.intake, run_rounds(&copy, interval, NULL));
	r = changes_init(&changes, command->store_path);
	if (r < 0)
		return command_fail(command, r, "waiting for signals");
	code = intake_close(&copy.intake, run_rounds(&copy, interval, &changes));
	changes_release(&changes);
	return code;
}

const struct verb verb_copy = {
	.name = "copy",
	.operands = "STORE1 STORE2",
	.summary = "Brings the second store up to the first: new entries and checkpoints, with their ids and times.",
	.options = options,
	.operands_min = 2,
	.operands_max = 2,
	.run = run_copy,
};
