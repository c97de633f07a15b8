/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading a stream as one text, at any offset, fast where one read goes on behind the other.
 *
 * Where a byte is, wal_stream_id_at() says. It is asked at every jump, and then once for a *run*: as many entries as RUN_BYTES surely hold. An
 * iterator goes through them, which reads and checks many at a time. An entry that is larger than a run, or that holds all that a single
 * read wants, is read by a wal_reader, in pieces. So memory stays bounded, whatever the entries are.
 *
 * Of this file's neighbours it needs nothing: it can be tried on a stream without a mount.
 */
#ifndef WALFS_TEXT_H
#define WALFS_TEXT_H

#include "wal.h"

enum text_source {
	TEXT_NOWHERE,
	TEXT_ITER,
	TEXT_READER,
};

/* Used by one thread at a time. */
struct text {
	struct wal_stream *stream; /* the caller's */
	uint64_t base;		   /* where it begins in the stream's text */
	uint64_t end_id;	   /* it ends before this one; UINT64_MAX: it grows */
	uint64_t end;		   /* where that is; UINT64_MAX: it grows */

	/* Where the last read ended: in the stream's text, and in `source`. */
	uint64_t pos;
	bool jumped; /* nothing was read since it was moved there */
	enum text_source source;
	struct wal_iter *iter;
	uint64_t iter_id; /* the id that comes next */
	uint64_t run_end; /* what may be taken of it */
	struct wal_entry entry;
	size_t entry_done;
	struct wal_reader *reader;
	uint64_t reader_id;
	uint64_t reader_size;
	uint64_t reader_done;
	/* Ids that could not be read: a second try would only make a second line in the log. */
	uint64_t bad_id;
	uint64_t bad_end;
};

/*
 * The text from entry `start_id` on, up to `end_id`; nothing is asked of the stream if that is no entry, since an empty cut may end where the stream is
 * pruned. WAL_NOT_FOUND, WAL_PRUNED. May block on the disk, as all of these.
 */
int text_init(struct text *text, struct wal_stream *stream, uint64_t start_id, uint64_t end_id);
void text_release(struct text *text);

/*
 * Up to `size` bytes from `offset` on. Fewer come at the end, and before a place that cannot be read; a read that begins there fails:
 * -EBADMSG, WAL_PRUNED. A place that never had bytes because it is known to be damaged is passed over.
 */
int text_read(struct text *text, void *data, size_t size, uint64_t offset, size_t *ret_size);

/* Whether such a read is answered from memory. */
bool text_is_ready(const struct text *text, size_t size, uint64_t offset);

/* Gets ready what follows the last read. What goes wrong the next read will meet. */
void text_read_ahead(struct text *text);

/* Gives memory back, when nothing is to be read soon. */
void text_rest(struct text *text);

/*
 * Where it goes on behind `offset`, at which text_read() failed with `result`, -EBADMSG or WAL_PRUNED. The same `result`: that cannot be told.
 */
int text_skip(struct text *text, int result, uint64_t offset, uint64_t *ret_offset);

/* Where the text that ends before `end_id` ends, in the stream's text. If `end_id` is UINT64_MAX: now. As wal_stream_offset_of(). */
int text_end(struct wal_stream *stream, uint64_t end_id, uint64_t *ret_offset);

#endif
