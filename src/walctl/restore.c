/* SPDX-License-Identifier: Apache-2.0 */
#include "restore.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_file.h"
#include "percent.h"
#include "place.h"
#include "text.h"

enum {
	PIECE_BYTES = 1 << 20,
	FOREIGN_NAMED = 5, /* so many things that are no part of a store are named, the others counted */
};

struct restore {
	const struct command *command;
	bool allow_gaps;
	struct intake intake;
	struct source *source;
	const char *source_name;
	struct places places;
	struct manifest told; /* by the archive's manifest */
	bool is_told;
	struct manifest seen; /* by reading it through before: of each stream the first id and the one after the last */
	struct manifest names;	/* likewise all streams, also those without entries */
	void *piece;
	uint64_t foreign, files, whole_seconds, checkpoint_files;
	char *gap_stream; /* the first stream of which entries are missing, and which */
	uint64_t gap_from, gap_next;
};

enum exit_code restore_fail_source(const struct command *command, const struct source *source, const char *name, int result)
{
	if (source && source->fault[0])
		command_say(command, "%s: %s", name, source->fault);
	else
		command_fail(command, result, "%s", name);
	return exit_code_of(result);
}

static enum exit_code fail_source(const struct restore *restore, int result)
{
	return restore_fail_source(restore->command, restore->source, restore->source_name, result);
}

static enum exit_code fail_place(const struct restore *restore, const struct member *member, int r)
{
	char path[TEXT_NAME_MAX];

	text_escape(path, member->path);
	if (r != -EBADMSG)
		return command_fail(restore->command, r, "%s: '%s'", restore->source_name, path);
	command_say(restore->command, "%s: '%s' is not below '%s', where the others are", restore->source_name, path, restore->places.prefix ? restore->places.prefix : "");
	return EXIT_LACKING;
}

/* The next member, and what it is. EXIT_OK with *ret_end after the last. */
static enum exit_code next_member(struct restore *restore, struct member *member, struct place *place, bool *ret_end)
{
	int r = restore->source->next(restore->source, member);

	*ret_end = r == WAL_END;
	if (r == WAL_END)
		return EXIT_OK;
	if (r < 0)
		return fail_source(restore, r);
	r = places_find(&restore->places, member, place);
	return r < 0 ? fail_place(restore, member, r) : EXIT_OK;
}

/* All of a small file. */
static enum exit_code read_text(struct restore *restore, const struct member *member, char **ret_text)
{
	char path[TEXT_NAME_MAX], *text;
	size_t got = 1;
	int r = 0;

	text_escape(path, member->path);
	if (member->size > MANIFEST_BYTES_MAX)
		return command_fail(restore->command, -EFBIG, "%s: '%s': expected at most %" PRIu64 " bytes, found %" PRIu64, restore->source_name, path, MANIFEST_BYTES_MAX, member->size);
	text = malloc(member->size + 1);
	if (!text)
		return command_fail(restore->command, -ENOMEM, "%s: '%s'", restore->source_name, path);
	for (uint64_t offset = 0; r == 0 && got; offset += got)
		r = restore->source->read(restore->source, text + offset, (size_t)(member->size + 1 - offset), &got);
	if (r < 0) {
		free(text);
		return fail_source(restore, r);
	}
	*ret_text = text;
	return EXIT_OK;
}

static enum exit_code read_manifest(struct restore *restore, const struct member *member)
{
	char *text = NULL, fault[128];
	enum exit_code code = read_text(restore, member, &text);
	int r;

	if (code)
		return code;
	manifest_release(&restore->told);
	r = manifest_read(text, (size_t)member->size, false, &restore->told, fault);
	free(text);
	restore->is_told = r == 0;
	if (r == -EBADMSG)
		command_say(restore->command, "%s: '%s': %s", restore->source_name, MANIFEST_NAME, fault);
	else if (r < 0)
		command_fail(restore->command, r, "%s: '%s'", restore->source_name, MANIFEST_NAME);
	return exit_code_of(r);
}

/* ---- Reading it through before ---- */

static enum exit_code see_entry(struct restore *restore, const struct place *place, struct manifest_stream **last)
{
	char name[TEXT_NAME_MAX];
	struct manifest_stream *stream = *last && !strcmp((*last)->name, place->name) ? *last : manifest_find(&restore->seen, place->name);

	if (!stream) {
		struct manifest_stream new = { (char *)place->name, place->id, place->id, place->id, 0, 0 };

		if (manifest_add_stream(&restore->seen, &new) < 0)
			return command_fail(restore->command, -ENOMEM, "%s", restore->source_name);
		stream = manifest_find(&restore->seen, place->name);
	}
	*last = stream;
	text_escape(name, place->name);
	if (place->id < stream->next) {
		command_say(restore->command, "%s: stream '%s': entry %" PRIu64 " comes after %" PRIu64 ": entries must come in the order of their ids (unpack the archive and restore from the directory)",
			    restore->source_name, name, place->id, stream->next - 1);
		return EXIT_LACKING;
	}
	/* Perhaps they come later, which is another fault. */
	if (place->id > stream->next && !restore->gap_stream) {
		restore->gap_stream = strdup(place->name);
		restore->gap_from = stream->next;
		restore->gap_next = place->id;
	}
	stream->next = place->id + 1;
	return EXIT_OK;
}

static int see_name(struct restore *restore, const char *name)
{
	const struct manifest_stream stream = { .name = (char *)name };
	int r = manifest_add_stream(&restore->names, &stream);

	return r == -EEXIST ? 0 : r;
}

static enum exit_code see_undecided(struct restore *restore)
{
	struct place place;

	while (places_undecided(&restore->places, true, &place))
		if (see_name(restore, place.name) < 0)
			return command_fail(restore->command, -ENOMEM, "%s", restore->source_name);
	return EXIT_OK;
}

static enum exit_code see_member(struct restore *restore, const struct member *member, const struct place *place, struct manifest_stream **last)
{
	if (place->kind == PLACE_MANIFEST)
		return read_manifest(restore, member);
	if (place->kind != PLACE_ENTRY && place->kind != PLACE_STREAM)
		return EXIT_OK;
	if (see_name(restore, place->name) < 0)
		return command_fail(restore->command, -ENOMEM, "%s", restore->source_name);
	return place->kind == PLACE_ENTRY ? see_entry(restore, place, last) : EXIT_OK;
}

/* An export tells at once what is in it, and is in order. */
static enum exit_code read_through(struct restore *restore)
{
	struct manifest_stream *last = NULL;
	enum exit_code code = EXIT_OK;
	struct member member;
	struct place place;
	char name[TEXT_NAME_MAX];
	bool end = false;
	int r;

	while (!code && !end && !(restore->is_told && restore->source->is_archive)) {
		code = next_member(restore, &member, &place, &end);
		if (!code && !end)
			code = see_member(restore, &member, &place, &last);
	}
	if (!code)
		code = see_undecided(restore);
	if (!code && restore->gap_stream && !restore->allow_gaps) {
		command_say(restore->command, "%s: stream '%s': entries %" PRIu64 " to %" PRIu64 " are missing (--allow-gaps gives them up)", restore->source_name,
			    text_escape(name, restore->gap_stream), restore->gap_from, restore->gap_next - 1);
		code = EXIT_LACKING;
	}
	if (code)
		return code;
	places_release(&restore->places);
	restore->places.known = !restore->source->is_archive;
	r = restore->source->rewind(restore->source);
	return r < 0 ? fail_source(restore, r) : EXIT_OK;
}

/* The shards of a store that only its streams tell of: shard_00 … and nothing else. */
static uint32_t count_shards(const struct restore *restore)
{
	char name[32];
	size_t count = restore->names.stream_count;

	if (restore->is_told)
		return restore->told.shards;
	for (size_t i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "shard_%02zu", i);
		if (!manifest_find(&restore->names, name))
			return 0;
	}
	return count <= UINT16_MAX ? (uint32_t)count : 0;
}

/* ---- Bringing it back ---- */

static enum exit_code open_stream(struct restore *restore, const char *name, struct intake_stream **ret_stream)
{
	enum exit_code code = intake_stream(&restore->intake, name, ret_stream);
	const struct manifest_stream *known;

	if (code || (*ret_stream)->source_known)
		return code;
	known = manifest_find(restore->is_told ? &restore->told : &restore->seen, name);
	if (known) {
		(*ret_stream)->source_known = true;
		(*ret_stream)->source_first = known->first;
	}
	return EXIT_OK;
}

static enum exit_code restore_entry(struct restore *restore, const struct member *member, const struct place *place)
{
	struct intake_stream *stream;
	enum exit_code code = open_stream(restore, place->name, &stream);
	size_t got = 1;

	restore->files++;
	restore->whole_seconds += member->time_ns % 1000000000 == 0;
	if (!code)
		code = intake_begin(&restore->intake, stream, place->id, member->time_ns, member->size);
	while (!code && got) {
		int r = restore->source->read(restore->source, restore->piece, PIECE_BYTES, &got);

		code = r < 0 ? fail_source(restore, r) : intake_data(&restore->intake, restore->piece, got);
	}
	return code ? code : intake_end(&restore->intake);
}

/* The name of its file is the id, but for one that is too long: that the manifest tells. */
static enum exit_code read_id(struct restore *restore, const char *name, struct bytes *ret)
{
	size_t size = strlen(name);

	ret->data = NULL;
	if (!percent_is_cut(name, size)) {
		ret->data = malloc(size + 1);
		if (!ret->data)
			return command_fail(restore->command, -ENOMEM, "%s", restore->source_name);
		ret->size = percent_decode(name, size, ret->data);
		return EXIT_OK;
	}
	for (size_t i = 0; i < restore->told.checkpoint_count; i++) {
		struct manifest_checkpoint *told = &restore->told.checkpoints[i];

		if (strcmp(told->name, name))
			continue;
		ret->data = malloc(told->id.size + 1);
		if (!ret->data)
			return command_fail(restore->command, -ENOMEM, "%s", restore->source_name);
		ret->size = told->id.size;
		memcpy(ret->data, told->id.data, told->id.size);
		return EXIT_OK;
	}
	command_say(restore->command, "%s: checkpoint '%s': its id is longer than the name of a file can be, and only an archive by 'walctl export' has all of it", restore->source_name,
		    name);
	return EXIT_LACKING;
}

static enum exit_code restore_checkpoint(struct restore *restore, const struct member *member, const struct place *place)
{
	struct wal_checkpoint *checkpoint;
	char *text = NULL, fault[128], path[TEXT_NAME_MAX];
	struct bytes id;
	enum exit_code code = read_id(restore, place->name, &id);
	int r;

	if (code)
		return code;
	code = read_text(restore, member, &text);
	if (!code) {
		r = checkpoint_file_parse(&id, text, (size_t)member->size, &checkpoint, fault);
		if (r == -EBADMSG)
			command_say(restore->command, "%s: '%s' is no checkpoint: %s", restore->source_name, text_escape(path, member->path), fault);
		else if (r < 0)
			command_fail(restore->command, r, "%s: '%s'", restore->source_name, text_escape(path, member->path));
		code = r < 0 ? exit_code_of(r) : intake_checkpoint(&restore->intake, checkpoint);
	}
	free(text);
	free(id.data);
	return code;
}

static enum exit_code name_foreign(struct restore *restore, const struct member *member)
{
	char path[TEXT_NAME_MAX];

	if (restore->foreign++ < FOREIGN_NAMED)
		command_say(restore->command, "%s: '%s' is no part of a store, and left out", restore->source_name, text_escape(path, member->path));
	return EXIT_LACKING;
}

static enum exit_code make_undecided(struct restore *restore, bool end)
{
	enum exit_code code = EXIT_OK;
	struct intake_stream *stream;
	struct place place;

	while (!code && places_undecided(&restore->places, end, &place))
		code = open_stream(restore, place.name, &stream);
	return code;
}

/* Faults that concern a checkpoint, or what is no part of a store, don't stop it: *ret_go_on. */
static enum exit_code restore_member(struct restore *restore, const struct member *member, const struct place *place, bool *ret_go_on)
{
	enum exit_code code = EXIT_OK;
	struct intake_stream *stream;

	*ret_go_on = false;
	switch (place->kind) {
	case PLACE_STREAM:
		code = open_stream(restore, place->name, &stream);
		break;
	case PLACE_ENTRY:
		code = restore_entry(restore, member, place);
		break;
	case PLACE_MANIFEST:
		code = read_manifest(restore, member);
		break;
	case PLACE_CHECKPOINT:
		*ret_go_on = true;
		restore->checkpoint_files++;
		return restore_checkpoint(restore, member, place);
	case PLACE_FOREIGN:
		*ret_go_on = true;
		return name_foreign(restore, member);
	case PLACE_NOTHING:
	case PLACE_UNDECIDED:
		break;
	}
	if (!code)
		code = make_undecided(restore, false);
	*ret_go_on = code == EXIT_OK;
	return code;
}

/* What the manifest told must have come, save what had been pruned. */
static enum exit_code check_told(struct restore *restore)
{
	enum exit_code code = EXIT_OK;
	struct intake_stream *stream;

	for (size_t i = 0; i < restore->told.stream_count && !code; i++) {
		const struct manifest_stream *told = &restore->told.streams[i];

		code = open_stream(restore, told->name, &stream);
		if (!code)
			code = intake_first(&restore->intake, stream, told->first);
		if (!code)
			code = intake_gap(&restore->intake, stream, told->next);
	}
	if (!code && restore->checkpoint_files < restore->told.checkpoints_told) {
		command_say(restore->command, "%s: expected %" PRIu64 " checkpoints, found %" PRIu64 ": it is not whole", restore->source_name, restore->told.checkpoints_told,
			    restore->checkpoint_files);
		return EXIT_LACKING;
	}
	return code;
}

static enum exit_code finish(struct restore *restore)
{
	enum exit_code code = intake_flush(&restore->intake), one;

	if (!code)
		code = make_undecided(restore, true);
	if (!code)
		code = check_told(restore);
	if (code)
		return code;
	if (!restore->is_told && !restore->intake.streams && !restore->intake.waiting_count) {
		command_say(restore->command, "%s: there are no streams in it", restore->source_name);
		return EXIT_LACKING;
	}
	one = intake_finish(&restore->intake);
	return one;
}

/* The store is opened when it is known how many shards it is to have. */
static enum exit_code restore_members(struct restore *restore)
{
	struct member member = { 0 };
	struct place place = { 0 };
	bool end = false, go_on;
	enum exit_code code = next_member(restore, &member, &place, &end), one;

	if (!code && !end && place.kind == PLACE_MANIFEST) {
		code = read_manifest(restore, &member);
		place.kind = PLACE_NOTHING;
	}
	if (!code)
		code = intake_open(&restore->intake, restore->command, restore->command->store_path, count_shards(restore));
	restore->intake.allow_gaps = restore->allow_gaps;
	go_on = !code;
	while (go_on && !end) {
		one = restore_member(restore, &member, &place, &go_on);
		code = exit_code_worse(code, one);
		if (!go_on)
			break;
		one = next_member(restore, &member, &place, &end);
		code = exit_code_worse(code, one);
		go_on = !one;
	}
	if (!go_on)
		return code;
	one = finish(restore);
	return exit_code_worse(code, one);
}

static void fill_result(const struct restore *restore, struct restore_result *ret)
{
	const struct intake *intake = &restore->intake;

	*ret = (struct restore_result){
		.appended = intake->appended,
		.compared = intake->compared,
		.lost = intake->lost,
		.checkpoints = intake->checkpoints,
		.checkpoints_there = intake->checkpoints_there,
		.other_times = intake->other_times,
		.foreign = restore->foreign,
		.whole_seconds = restore->files > 1 && restore->whole_seconds == restore->files,
	};
}

enum exit_code restore_run(const struct command *command, struct source *source, const char *name, bool allow_gaps, struct restore_result *ret)
{
	struct restore restore = { .command = command, .allow_gaps = allow_gaps, .source = source, .source_name = name, .piece = malloc(PIECE_BYTES), .intake.spool.fd = -1 };
	enum exit_code code = EXIT_OK;

	if (!restore.piece)
		return command_fail(command, -ENOMEM, "restoring");
	restore.places.known = !source->is_archive;
	if (source->rewind)
		code = read_through(&restore);
	if (!code) {
		code = restore_members(&restore);
		code = intake_close(&restore.intake, code);
	}
	fill_result(&restore, ret);
	places_release(&restore.places);
	manifest_release(&restore.told);
	manifest_release(&restore.seen);
	manifest_release(&restore.names);
	free(restore.gap_stream);
	free(restore.piece);
	return code;
}
