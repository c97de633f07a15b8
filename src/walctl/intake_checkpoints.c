/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "coding.h"
#include "intake.h"
#include "text.h"

/* What checkpoints that can't be made yet may take of memory. */
#define WAITING_BYTES_MAX ((uint64_t)1 << 30)

/* "checkpoint 'NAME': " and the rest. */
__attribute__((format(printf, 3, 4))) static enum exit_code say(const struct intake *intake, const struct wal_checkpoint *checkpoint, const char *format, ...)
{
	char *word = coding_id_word(checkpoint->id, checkpoint->id_size), message[1024];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(message, sizeof(message), format, arguments);
	va_end(arguments);
	command_say(&intake->command, "checkpoint '%.300s': %s", word ? word : "?", message);
	free(word);
	return EXIT_LACKING;
}

static bool same_cuts(const struct wal_checkpoint *a, const struct wal_checkpoint *b)
{
	uint64_t next_id;

	for (size_t i = 0; i < a->cut_count; i++)
		if (wal_checkpoint_find(b, a->cuts[i].stream, &next_id) != 0 || next_id != a->cuts[i].next_id)
			return false;
	return a->cut_count == b->cut_count;
}

/* Who was killed between a checkpoint and HEAD left one that nobody was told of, and the one before as the latest. */
static bool is_passed_over(const struct intake *intake, const struct wal_checkpoint *own)
{
	struct wal_checkpoint *latest;

	if (wal_checkpoint_latest(intake->store, &latest) != 0)
		return false;
	bool passed_over = latest->time_ns < own->time_ns;
	free(latest);
	return passed_over;
}

/* What the store has under this id decides. One that is older is moved, as making it again does, and so is one that should be the latest and is not. */
static enum exit_code compare_with_own(struct intake *intake, const struct wal_checkpoint *checkpoint, bool *ret_there)
{
	struct wal_checkpoint *own;
	char time[TEXT_TIME_MAX], own_time[TEXT_TIME_MAX];
	enum exit_code code = EXIT_OK;
	int r = wal_checkpoint_load(intake->store, checkpoint->id, checkpoint->id_size, &own);

	*ret_there = false;
	if (r == WAL_NOT_FOUND)
		return EXIT_OK;
	if (r < 0)
		return say(intake, checkpoint, "the one that is there: %s", wal_strerror(r));
	text_time(time, checkpoint->time_ns, 9);
	text_time(own_time, own->time_ns, 9);
	if (own->time_ns > checkpoint->time_ns)
		code = say(intake, checkpoint, "the one that is there is newer: of %s, what comes is of %s", own_time, time);
	else if (own->time_ns == checkpoint->time_ns && !same_cuts(own, checkpoint))
		code = say(intake, checkpoint, "the one that is there is of the same time, %s, and has other ids", time);
	*ret_there = code || (own->time_ns == checkpoint->time_ns && !is_passed_over(intake, own));
	intake->checkpoints_there += *ret_there && !code;
	free(own);
	return code;
}

static enum exit_code make(struct intake *intake, const struct wal_checkpoint *checkpoint)
{
	struct wal_error error = { 0 };
	bool there;
	enum exit_code code = compare_with_own(intake, checkpoint, &there);
	int r;

	if (code || there)
		return code;
	r = wal_checkpoint_restore(intake->store, checkpoint, 0, &error);
	if (r < 0) {
		say(intake, checkpoint, "%s", error.message[0] ? error.message : wal_strerror(r));
		return r == -EINVAL ? EXIT_LACKING : exit_code_of(r);
	}
	intake->checkpoints++;
	return EXIT_OK;
}

/* Whether all that it covers is there. *ret_cut: what isn't. Streams of checkpoints aren't made: what only they name has not come. */
static bool is_covered(struct intake *intake, const struct wal_checkpoint *checkpoint, const struct wal_cut **ret_cut, uint64_t *ret_next)
{
	for (size_t i = 0; i < checkpoint->cut_count; i++) {
		struct wal_stream *stream;
		uint64_t next = 0;
		bool there = wal_stream_open(intake->store, checkpoint->cuts[i].stream, 0, &stream, NULL) == 0;

		if (there) {
			wal_stream_bounds(stream, NULL, &next, NULL);
			wal_stream_close(stream);
		}
		*ret_cut = &checkpoint->cuts[i];
		*ret_next = next;
		if (!there || next < checkpoint->cuts[i].next_id)
			return false;
	}
	return true;
}

static int wait_for_rest(struct intake *intake, struct wal_checkpoint *checkpoint)
{
	if (intake->waiting_count == intake->waiting_capacity) {
		size_t capacity = 2 * intake->waiting_capacity + 16;
		struct wal_checkpoint **larger = reallocarray(intake->waiting, capacity, sizeof(*larger));

		if (!larger)
			return -ENOMEM;
		intake->waiting = larger;
		intake->waiting_capacity = capacity;
	}
	intake->waiting[intake->waiting_count++] = checkpoint;
	return 0;
}

static uint64_t bytes_of(const struct wal_checkpoint *checkpoint)
{
	uint64_t bytes = sizeof(*checkpoint) + checkpoint->id_size;

	for (size_t i = 0; i < checkpoint->cut_count; i++)
		bytes += sizeof(checkpoint->cuts[i]) + strlen(checkpoint->cuts[i].stream) + 24;
	return bytes;
}

enum exit_code intake_checkpoint(struct intake *intake, struct wal_checkpoint *checkpoint)
{
	enum exit_code code = intake_flush(intake);
	const struct wal_cut *cut;
	uint64_t next;

	if (!code && !is_covered(intake, checkpoint, &cut, &next)) {
		intake->waiting_bytes += bytes_of(checkpoint);
		if (intake->waiting_bytes > WAITING_BYTES_MAX)
			code = say(intake, checkpoint, "too many checkpoints before the streams that they cover: unpack the archive and restore from the directory");
		else if (wait_for_rest(intake, checkpoint) == 0)
			return EXIT_OK;
		else
			code = command_fail(&intake->command, -ENOMEM, "reading checkpoints");
		free(checkpoint);
		return exit_code_worse(code, EXIT_SYSTEM);
	}
	if (!code)
		code = make(intake, checkpoint);
	free(checkpoint);
	return code;
}

static int by_time(const void *a, const void *b)
{
	const struct wal_checkpoint *const *left = a, *const *right = b;

	return (*left)->time_ns < (*right)->time_ns ? -1 : (*left)->time_ns > (*right)->time_ns;
}

/* A stream without entries, of which a checkpoint covers some: they had been pruned. */
static enum exit_code begin_empty_streams(struct intake *intake, const struct wal_checkpoint *checkpoint)
{
	enum exit_code code = EXIT_OK;
	struct intake_stream *stream;
	struct wal_stream *there;

	for (size_t i = 0; i < checkpoint->cut_count && !code; i++) {
		if (wal_stream_open(intake->store, checkpoint->cuts[i].stream, 0, &there, NULL) < 0)
			continue;
		wal_stream_close(there);
		code = intake_stream(intake, checkpoint->cuts[i].stream, &stream);
		if (!code && !stream->had_entries && stream->first == stream->next && stream->next < checkpoint->cuts[i].next_id && !stream->source_known) {
			int r = wal_stream_skip(stream->stream, checkpoint->cuts[i].next_id);

			if (r < 0)
				return command_fail_stream(&intake->command, r, stream->stream, "going on with the id that a checkpoint has");
			wal_stream_bounds(stream->stream, &stream->first, &stream->next, NULL);
		}
	}
	return code;
}

static enum exit_code make_waiting(struct intake *intake, const struct wal_checkpoint *checkpoint)
{
	enum exit_code code = begin_empty_streams(intake, checkpoint);
	char name[TEXT_NAME_MAX];
	const struct wal_cut *cut;
	uint64_t next;

	if (code)
		return code;
	if (is_covered(intake, checkpoint, &cut, &next))
		return make(intake, checkpoint);
	return say(intake, checkpoint, "it covers entries of stream '%s' below id %" PRIu64 ", the store has those below %" PRIu64, text_escape(name, cut->stream), cut->next_id, next);
}

void intake_forget_waiting(struct intake *intake)
{
	for (size_t i = 0; i < intake->waiting_count; i++)
		free(intake->waiting[i]);
	free(intake->waiting);
	intake->waiting = NULL;
	intake->waiting_count = intake->waiting_capacity = 0;
	intake->waiting_bytes = 0;
}

enum exit_code intake_finish(struct intake *intake)
{
	enum exit_code code = intake_flush(intake);

	if (intake->waiting_count)
		qsort(intake->waiting, intake->waiting_count, sizeof(intake->waiting[0]), by_time);
	for (size_t i = 0; i < intake->waiting_count && code <= EXIT_LACKING; i++) {
		enum exit_code one = make_waiting(intake, intake->waiting[i]);

		code = exit_code_worse(code, one);
	}
	intake_forget_waiting(intake);
	return code;
}
