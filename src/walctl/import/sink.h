/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an import goes: one stream after the other.
 *
 * What the stream holds already must be what the source gives first, entry for entry; it is compared, byte for byte, and nothing is appended before that is done. So an import that was ended by anything goes
 * on where it was when it is run again, without a record of its own, and running it once more appends what the source has got since.
 */
#ifndef IMPORT_SINK_H
#define IMPORT_SINK_H

#include "source.h"

enum {
	SINK_WAVE_COUNT = 1024,
	SINK_WAVE_BYTES = 1 << 20,
};

struct sink {
	struct wal_store *store; /* NULL: there is none, and none is to be made */
	bool dry;		 /* only compare and count */
	struct wal_stream *stream;
	char *name;
	uint64_t first_id, next_id; /* of the stream, when it was begun */
	uint64_t position;	    /* the id that comes next */
	uint64_t left_free_to;	    /* ids below stay free, if there is no entry for them */
	uint64_t appended;	    /* entries, in all streams, */
	uint64_t present;	    /* and such as were there already */
	uint64_t bytes;		    /* of both */
	/* entries that are there, read ahead */
	struct wal_buf buf;
	struct wal_entry there[SINK_WAVE_COUNT];
	size_t there_count;
	/* entries that are not yet appended */
	struct wal_entry wave[SINK_WAVE_COUNT];
	size_t wave_count, wave_bytes;
	uint8_t *wave_data; /* SINK_WAVE_BYTES */
};

/* -ENOMEM. */
int sink_init(struct sink *sink, struct wal_store *store, bool dry);

/*
 * Begins the stream `name`, which is made if there is none. The entries come from the id *base on, with those that are there being the first of them; NULL: from the first id it has. With `first_id` entries have ids of their own: a stream without entries gets that as its first id.
 */
int sink_begin(struct sink *sink, const char *name, const uint64_t *base, const uint64_t *first_id, struct wal_error *err);

/* Takes an entry; *ret_id is its id, *ret_present whether it was there. -EEXIST: something else is there; nothing was changed. */
int sink_put(struct sink *sink, const struct item *item, uint64_t *ret_id, bool *ret_present, struct wal_error *err);

/* The ids from `id` on, `count` of them, stay free. */
void sink_leave_free(struct sink *sink, uint64_t id, uint64_t count);

/* All that has come is appended and durable. -EEXIST: the stream holds more than that. */
int sink_finish(struct sink *sink, struct wal_error *err);

/* Leaves the stream, so that another one can be begun. */
void sink_leave(struct sink *sink);

/* Drops what is not appended. */
void sink_release(struct sink *sink);

#endif
