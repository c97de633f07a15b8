/* SPDX-License-Identifier: Apache-2.0 */
/* The entries of a stream one after another, whatever their sizes, in bounded memory. */
#ifndef WALCTL_ENTRIES_H
#define WALCTL_ENTRIES_H

#include "walctl.h"

struct entry_view {
	uint64_t id;
	uint64_t size;
	int64_t time_ns;
	const void *data;	  /* all of it, valid until put() returns; NULL: it is large, see entry_pieces() */
	struct wal_reader *reader; /* of a large one; its checksum has been found right */
	void *piece;
};

/*
 * Calls take() with the bytes from the first to the last, piece by piece, until it returns false. May be called again. 0, or why it could not be
 * read on.
 */
int entry_pieces(const struct entry_view *view, bool (*take)(void *arg, const void *data, size_t size), void *arg);

/* What is done with them. Each returns EXIT_OK to go on, or, having said why, what ends the walk. */
struct entries_user {
	enum exit_code (*put)(void *arg, const struct entry_view *view);
	/* `count` ids from `id` on can't be had: WAL_PRUNED or -EBADMSG. NULL: they are named on stderr, passed over, and the walk returns EXIT_LACKING. */
	enum exit_code (*gap)(void *arg, uint64_t id, uint64_t count, int result);
	void *arg;
};

/* Those with ids from `id` to `end` - 1, which exist. `command` is the one of the store. Returns the worst of what came up. */
enum exit_code entries_walk(const struct command *command, struct wal_stream *stream, uint64_t id, uint64_t end, const struct entries_user *user);

/* Size and CRC-32 of one entry. As wal_stream_lookup(). */
int entries_digest(struct wal_stream *stream, uint64_t id, uint64_t *ret_size, uint32_t *ret_crc);

/* "stream 'orders': entry 7 damaged", for one or several. */
void entries_say(const struct command *command, struct wal_stream *stream, uint64_t id, uint64_t count, const char *what);

#endif
