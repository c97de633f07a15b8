/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The members in their order: the manifest; each stream, its directory first; the checkpoints, last, so that a restore can make each as it comes. A checkpoint
 * is in it if what it covers is.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_file.h"
#include "export.h"
#include "member_writer.h"
#include "percent.h"
#include "text.h"

struct members {
	struct exporter *exporter;
	struct member_writer *writer;
	const char *stream;
	int result; /* of the writer */
};

static enum exit_code fail(const struct members *members, int r)
{
	const struct exporter *exporter = members->exporter;

	if (exporter->file == exporter->command->out && ferror(exporter->file))
		return EXIT_SYSTEM; /* main() says why, unless its reader has ended */
	if (members->writer->fault[0])
		command_say(exporter->command, "writing %s: %s", exporter->path ? exporter->path : "the archive", members->writer->fault);
	else
		command_fail(exporter->command, r, "writing %s", exporter->path ? exporter->path : "the archive");
	return EXIT_SYSTEM;
}

static int put_whole(struct member_writer *writer, const char *path, const void *data, size_t size, int64_t time_ns, bool fixed)
{
	int r = writer->file(writer, path, size, time_ns, fixed);

	if (r == 0)
		r = writer->data(writer, data, size);
	return r < 0 ? r : writer->end(writer);
}

/* ---- Entries ---- */

static bool put_piece(void *arg, const void *data, size_t size)
{
	struct members *members = arg;

	members->result = members->writer->data(members->writer, data, size);
	return members->result == 0;
}

static enum exit_code put_entry(void *arg, const struct entry_view *view)
{
	struct members *members = arg;
	char path[WAL_STREAM_NAME_MAX + 24], name[TEXT_NAME_MAX];
	int r, unread = 0;

	snprintf(path, sizeof(path), "%s/%020" PRIu64, members->stream, view->id);
	if (view->data) {
		r = put_whole(members->writer, path, view->data, (size_t)view->size, view->time_ns, true);
	} else {
		r = members->writer->file(members->writer, path, view->size, view->time_ns, true);
		members->result = 0;
		if (r == 0)
			unread = entry_pieces(view, put_piece, members);
		/* The member has begun: without the rest there is no going on. */
		if (unread)
			return exit_code_worse(EXIT_SYSTEM, command_fail(members->exporter->command, unread, "stream '%s': entry %" PRIu64 ": it could not be read to its end",
									 text_escape(name, members->stream), view->id));
		r = r ? r : members->result;
		if (r == 0)
			r = members->writer->end(members->writer);
	}
	return r < 0 ? fail(members, r) : EXIT_OK;
}

static enum exit_code put_stream(struct members *members, size_t i)
{
	const struct entries_user user = { put_entry, NULL, members };
	const struct exporter *exporter = members->exporter;
	struct wal_stream *stream;
	enum exit_code code = command_open_stream(exporter->command, exporter->store, exporter->what.streams[i].name, 0, &stream);
	int r;

	if (code)
		return EXIT_SYSTEM;
	members->stream = exporter->what.streams[i].name;
	r = members->writer->dir(members->writer, members->stream, wal_stream_mtime(stream));
	wal_stream_close(stream);
	return r < 0 ? fail(members, r) : export_entries(exporter, i, &user);
}

/* ---- Checkpoints ---- */

/* Whether it is one that comes: all that it covers is here or was pruned, and the other side hasn't got it. */
static bool is_covered(struct exporter *exporter, const struct wal_checkpoint *checkpoint)
{
	for (size_t i = 0; i < checkpoint->cut_count; i++) {
		const struct manifest_stream *stream = manifest_find(&exporter->what, checkpoint->cuts[i].stream);

		if (!stream || checkpoint->cuts[i].next_id > stream->next)
			return false;
	}
	return true;
}

static bool is_known(const struct exporter *exporter, const struct wal_checkpoint *checkpoint)
{
	for (size_t i = 0; i < exporter->known.checkpoint_count; i++) {
		const struct manifest_checkpoint *known = &exporter->known.checkpoints[i];

		if (known->time_ns == checkpoint->time_ns && known->id.size == checkpoint->id_size && !memcmp(known->id.data, checkpoint->id, checkpoint->id_size))
			return true;
	}
	return false;
}

/* Calls use() with each that comes, from the oldest to the newest. Those that are damaged are named. */
static enum exit_code each_checkpoint(struct exporter *exporter, enum exit_code (*use)(void *arg, const struct wal_checkpoint *checkpoint), void *arg)
{
	struct wal_checkpoint *list, *checkpoint;
	enum exit_code code = EXIT_OK;
	size_t count;
	int r = wal_checkpoint_list(exporter->store, &list, &count);

	if (r < 0)
		return command_fail(exporter->command, r, "listing checkpoints");
	for (size_t i = 0; i < count && code <= EXIT_LACKING; i++) {
		char *word;

		if (is_known(exporter, &list[i]))
			continue;
		r = wal_checkpoint_load(exporter->store, list[i].id, list[i].id_size, &checkpoint);
		if (r == 0) {
			if (is_covered(exporter, checkpoint))
				code = exit_code_worse(code, use(arg, checkpoint));
			free(checkpoint);
			continue;
		}
		word = coding_id_word(list[i].id, list[i].id_size);
		code = exit_code_worse(code, command_fail(exporter->command, r, "checkpoint '%s'", word ? word : "?"));
		free(word);
	}
	free(list);
	return code;
}

static enum exit_code put_checkpoint(void *arg, const struct wal_checkpoint *checkpoint)
{
	struct members *members = arg;
	char path[sizeof(CHECKPOINT_DIR) + 1 + PERCENT_NAME_MAX + 1] = CHECKPOINT_DIR "/", *text;
	size_t size;
	int r;

	percent_encode(checkpoint->id, checkpoint->id_size, path + strlen(path));
	text = checkpoint_file_text(checkpoint, &size);
	r = text ? put_whole(members->writer, path, text, size, checkpoint->time_ns, false) : -ENOMEM;
	free(text);
	return r < 0 ? fail(members, r) : EXIT_OK;
}

static enum exit_code put_checkpoints(struct members *members)
{
	struct exporter *exporter = members->exporter;
	struct wal_checkpoint *latest;
	int64_t time_ns;
	int r = wal_checkpoint_latest(exporter->store, &latest);

	if (r)
		return r == WAL_NOT_FOUND ? EXIT_OK : command_fail(exporter->command, r, "the latest checkpoint");
	time_ns = latest->time_ns;
	free(latest);
	r = members->writer->dir(members->writer, CHECKPOINT_DIR, time_ns);
	return r < 0 ? fail(members, r) : each_checkpoint(exporter, put_checkpoint, members);
}

/* ---- The manifest ---- */

/* How many there are, and an id that is too long for a name, is told here. */
static enum exit_code note_checkpoint(void *arg, const struct wal_checkpoint *checkpoint)
{
	struct exporter *exporter = arg;
	char name[PERCENT_NAME_MAX + 1];
	size_t length = percent_encode(checkpoint->id, checkpoint->id_size, name);
	struct manifest_checkpoint item = { name, 0, { (void *)checkpoint->id, checkpoint->id_size } };

	exporter->what.checkpoints_told++;
	if (!percent_is_cut(name, length))
		return EXIT_OK;
	return manifest_add_checkpoint(&exporter->what, &item) < 0 ? command_fail(exporter->command, -ENOMEM, "writing") : EXIT_OK;
}

/* Its time is that of the newest stream: an export of the same store is the same archive, byte for byte. */
static int64_t newest_time(const struct exporter *exporter)
{
	struct wal_stream *stream;
	int64_t newest = 0;

	for (size_t i = 0; i < exporter->what.stream_count; i++) {
		if (wal_stream_open(exporter->store, exporter->what.streams[i].name, 0, &stream, NULL) < 0)
			continue;
		if (wal_stream_mtime(stream) > newest)
			newest = wal_stream_mtime(stream);
		wal_stream_close(stream);
	}
	return newest;
}

static enum exit_code put_manifest(struct members *members)
{
	struct exporter *exporter = members->exporter;
	enum exit_code code = each_checkpoint(exporter, note_checkpoint, exporter);
	char *text = NULL;
	size_t size;
	FILE *memory;
	int r = -ENOMEM;

	if (code > EXIT_LACKING)
		return code;
	memory = open_memstream(&text, &size);
	if (memory) {
		manifest_write(&exporter->what, false, memory);
		if (fclose(memory) == 0)
			r = put_whole(members->writer, MANIFEST_NAME, text, size, newest_time(exporter), false);
	}
	free(text);
	return r < 0 ? fail(members, r) : EXIT_OK;
}

static enum exit_code put_all(struct members *members)
{
	enum exit_code code = put_manifest(members);
	int r;

	for (size_t i = 0; i < members->exporter->what.stream_count && code <= EXIT_LACKING; i++)
		code = exit_code_worse(code, put_stream(members, i));
	if (code <= EXIT_LACKING)
		code = exit_code_worse(code, put_checkpoints(members));
	if (code > EXIT_LACKING)
		return code;
	r = members->writer->finish(members->writer);
	return r < 0 ? fail(members, r) : code;
}

enum exit_code export_tar(struct exporter *exporter)
{
	struct members members = { .exporter = exporter };
	enum exit_code code;
	int r = tar_writer_new(exporter->file, &members.writer);

	if (r < 0)
		return command_fail(exporter->command, r, "writing the archive");
	code = put_all(&members);
	members.writer->free(members.writer);
	return code;
}

enum exit_code export_files(struct exporter *exporter)
{
	struct members members = { .exporter = exporter };
	enum exit_code code;
	int r = dir_writer_new(exporter->path, &members.writer);

	if (r < 0)
		return command_fail(exporter->command, r, "the directory '%s'", exporter->path);
	code = put_all(&members);
	members.writer->free(members.writer);
	return code;
}
