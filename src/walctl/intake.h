/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that takes in entries and checkpoints as they were elsewhere, with their ids and times: what restore and copy share.
 *
 * What is there already is compared, and must be the same. What comes goes on where the stream ends. Ids that are missing are refused, or with
 * allow_gaps given up for good. Everything says on stderr why it fails.
 */
#ifndef WALCTL_INTAKE_H
#define WALCTL_INTAKE_H

#include "manifest.h"
#include "spool.h"

struct intake_stream {
	char *name;
	struct wal_stream *stream;
	uint64_t first; /* what it has, with what is still waiting in the batch */
	uint64_t next;
	uint64_t source_first; /* of a stream that is new: the first id that the source had, if source_known */
	bool source_known;
	bool had_entries; /* one came */
	uint64_t untimed_id, untimed_next, goal; /* the caller's, begin as 0 */
};

enum intake_mode {
	INTAKE_NONE,
	INTAKE_COMPARE,
	INTAKE_BATCH,
	INTAKE_SPOOL,
};

struct intake {
	struct command command; /* of the store that takes in */
	struct wal_store *store;
	bool allow_gaps;
	void *streams; /* tsearch(3) */

	/* the entry that is coming */
	enum intake_mode mode;
	struct intake_stream *current; /* also the stream of the batch */
	struct wal_entry entry;
	uint64_t entry_size, entry_got;
	struct wal_reader *reader;
	void *piece; /* of the store's own entry */
	struct spool spool;

	/* those that wait to be appended together */
	struct wal_entry *batch;
	size_t batch_count;
	char *bytes;
	size_t bytes_used;

	/* checkpoints that cover what hasn't come yet */
	struct wal_checkpoint **waiting;
	size_t waiting_count, waiting_capacity;
	uint64_t waiting_bytes;

	/* what was done */
	uint64_t appended, compared, lost, checkpoints, checkpoints_there;
	uint64_t other_times; /* of those compared: a second or more off */
};

/*
 * Opens the store at `path`, or makes it, with so many shards if that isn't 0; of `command` the options are taken. Ended by intake_close() in
 * any case.
 */
enum exit_code intake_open(struct intake *intake, const struct command *command, const char *path, uint32_t shards);

/* Closes the store; `code` or worse. */
enum exit_code intake_close(struct intake *intake, enum exit_code code);

/* The stream, which is made if there is none. */
enum exit_code intake_stream(struct intake *intake, const char *name, struct intake_stream **ret_stream);

/* The next entry of a stream: its bytes then come by intake_data(), entry_size in all, and intake_end(). */
enum exit_code intake_begin(struct intake *intake, struct intake_stream *stream, uint64_t id, int64_t time_ns, uint64_t size);
enum exit_code intake_data(struct intake *intake, const void *data, size_t size);
enum exit_code intake_end(struct intake *intake);

/* The ids up to `next` are there no more. Does what allow_gaps says. */
enum exit_code intake_gap(struct intake *intake, struct intake_stream *stream, uint64_t next);

/* A new stream begins with `first`: what the source had before it was pruned there. Of a stream that has or had entries nothing changes. */
enum exit_code intake_first(struct intake *intake, struct intake_stream *stream, uint64_t first);

/* Appends what waits. */
enum exit_code intake_flush(struct intake *intake);

/*
 * A checkpoint, which becomes the intake's, for free(3). One that covers what has not come yet waits for intake_finish().
 */
enum exit_code intake_checkpoint(struct intake *intake, struct wal_checkpoint *checkpoint);

/* Frees the checkpoints that wait. */
void intake_forget_waiting(struct intake *intake);

/* Everything has come: the checkpoints that waited are made, and streams without entries begin where those say. */
enum exit_code intake_finish(struct intake *intake);

#endif
