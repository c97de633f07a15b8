/* SPDX-License-Identifier: Apache-2.0 */
#include "entries.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <zlib.h>

#include "range.h"
#include "text.h"

enum {
	PIECE_BYTES = 1 << 20, /* entries above it are read in pieces of it, smaller ones together up to it */
	BATCH_COUNT = 512,
};

struct walk {
	const struct command *command;
	struct wal_stream *stream;
	const struct entries_user *user;
	struct wal_buf buf;
	void *piece;
	struct wal_entry entries[BATCH_COUNT];
};

int entry_pieces(const struct entry_view *view, bool (*take)(void *arg, const void *data, size_t size), void *arg)
{
	size_t got;

	if (!view->reader) {
		take(arg, view->data, (size_t)view->size);
		return 0;
	}
	for (uint64_t offset = 0; offset < view->size; offset += got) {
		int r = wal_reader_read(view->reader, view->piece, PIECE_BYTES, offset, &got);

		if (r)
			return r;
		if (!got)
			return -EBADMSG;
		if (!take(arg, view->piece, got))
			return 0;
	}
	return 0;
}

/* The first read checks all of it: what is damaged is known before anything of it is put anywhere. */
static int put_large(struct walk *walk, const struct wal_entry_info *info, enum exit_code *ret_code)
{
	struct entry_view view = { info->id, info->size, info->time_ns, NULL, NULL, NULL };
	size_t got;
	int r;

	if (!walk->piece)
		walk->piece = malloc(PIECE_BYTES);
	if (!walk->piece)
		return -ENOMEM;
	r = wal_reader_open(walk->stream, info->id, &view.reader, NULL);
	if (r)
		return r;
	view.piece = walk->piece;
	r = wal_reader_read(view.reader, view.piece, 1, 0, &got);
	if (r == 0)
		*ret_code = walk->user->put(walk->user->arg, &view);
	wal_reader_close(view.reader);
	return r;
}

static int put_small(struct walk *walk, uint64_t id, size_t count_max, size_t *ret_count, enum exit_code *ret_code)
{
	size_t count;
	int r = wal_stream_get_batch(walk->stream, id, count_max, PIECE_BYTES, &walk->buf, walk->entries, &count);

	if (r)
		return r;
	for (size_t i = 0; i < count && !*ret_code; i++) {
		const struct wal_entry *entry = &walk->entries[i];
		struct entry_view view = { entry->id, entry->size, entry->time_ns, entry->size ? entry->data : "", NULL, NULL };

		*ret_code = walk->user->put(walk->user->arg, &view);
	}
	*ret_count = count;
	return 0;
}

/* Puts out one large entry or several small ones; *id moves over them. */
static int put_next(struct walk *walk, uint64_t *id, uint64_t end, enum exit_code *ret_code)
{
	struct wal_entry_info info;
	size_t count = 1;
	int r = wal_stream_lookup(walk->stream, *id, &info);

	if (r)
		return r;
	if (info.size > PIECE_BYTES)
		r = put_large(walk, &info, ret_code);
	else
		r = put_small(walk, *id, end - *id < BATCH_COUNT ? (size_t)(end - *id) : BATCH_COUNT, &count, ret_code);
	if (!r)
		*id += count;
	return r;
}

int entries_digest(struct wal_stream *stream, uint64_t id, uint64_t *ret_size, uint32_t *ret_crc)
{
	uLong crc = crc32(0, NULL, 0);
	struct wal_entry_info info;
	struct wal_reader *reader;
	void *piece;
	size_t got = 1;
	int r = wal_reader_open(stream, id, &reader, &info);

	if (r)
		return r;
	piece = malloc(PIECE_BYTES);
	r = piece ? 0 : -ENOMEM;
	for (uint64_t offset = 0; r == 0 && got; offset += got) {
		r = wal_reader_read(reader, piece, PIECE_BYTES, offset, &got);
		if (r == 0)
			crc = crc32(crc, piece, (uInt)got);
	}
	free(piece);
	wal_reader_close(reader);
	if (r)
		return r;
	*ret_size = info.size;
	*ret_crc = (uint32_t)crc;
	return 0;
}

void entries_say(const struct command *command, struct wal_stream *stream, uint64_t id, uint64_t count, const char *what)
{
	char name[TEXT_NAME_MAX];

	text_escape(name, wal_stream_name(stream));
	if (count == 1)
		command_say(command, "stream '%s': entry %" PRIu64 " %s", name, id, what);
	else
		command_say(command, "stream '%s': entries %" PRIu64 " to %" PRIu64 " %s", name, id, id + count - 1, what);
}

/* Moves *id over those that can't be had. */
static enum exit_code step_over(const struct walk *walk, int result, uint64_t *id, uint64_t end, bool *ret_go_on)
{
	char name[TEXT_NAME_MAX];
	enum exit_code code = EXIT_LACKING;
	uint64_t count;
	int r = range_of_gap(walk->stream, *id, end, &count);

	*ret_go_on = false;
	if (r < 0)
		return command_fail(walk->command, r, "stream '%s': entry %" PRIu64, text_escape(name, wal_stream_name(walk->stream)), *id);
	if (walk->user->gap) {
		code = walk->user->gap(walk->user->arg, *id, count, result);
		*ret_go_on = code == EXIT_OK;
	} else {
		entries_say(walk->command, walk->stream, *id, count, result == WAL_PRUNED ? "pruned" : "damaged");
		*ret_go_on = true;
	}
	*id += count;
	return code;
}

static enum exit_code walk_all(struct walk *walk, uint64_t id, uint64_t end)
{
	char name[TEXT_NAME_MAX];
	enum exit_code code = EXIT_OK, one;
	bool go_on = true;

	while (id < end && go_on) {
		int r;

		one = EXIT_OK;
		r = put_next(walk, &id, end, &one);
		if (r == -EBADMSG || r == WAL_PRUNED)
			one = step_over(walk, r, &id, end, &go_on);
		else if (r)
			one = command_fail(walk->command, r, "stream '%s': entry %" PRIu64, text_escape(name, wal_stream_name(walk->stream)), id);
		code = exit_code_worse(code, one);
		if (one && r != -EBADMSG && r != WAL_PRUNED)
			break;
	}
	return code;
}

enum exit_code entries_walk(const struct command *command, struct wal_stream *stream, uint64_t id, uint64_t end, const struct entries_user *user)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	enum exit_code code;

	if (!walk)
		return command_fail(command, -ENOMEM, "reading");
	walk->command = command;
	walk->stream = stream;
	walk->user = user;
	code = walk_all(walk, id, end);
	wal_buf_release(&walk->buf);
	free(walk->piece);
	free(walk);
	return code;
}
