/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A record of an oxirs log, in one of two encodings. Both are little-endian and begin with the number of the record's kind; then come its fields in order, without names:
 *
 *	Insert, Update	id text, vector of float, metadata optional map text -> text, time
 *	Delete		id text, time
 *	Batch		records, time
 *	Checkpoint	sequence number, time
 *	Begin, Commit, Abort	number of the transaction, time
 *
 *			OXIRS_STANDARD (oxicode, bincode 2)		OXIRS_FIXED (bincode 1)
 *	kind		variable-length integer				4 bytes
 *	length, count	variable-length integer				8 bytes
 *	time, number	variable-length integer				8 bytes
 *	float		4 bytes						4 bytes
 *	optional	a byte: 0, or 1 and what it holds		likewise
 *
 * A variable-length integer is a byte up to 250, or 251, 252, 253 and 2, 4, 8 bytes. Texts are UTF-8. Bytes are a record only if it takes all of them.
 */
#ifndef IMPORT_OXIRS_RECORD_H
#define IMPORT_OXIRS_RECORD_H

#include <stddef.h>
#include <stdint.h>

enum oxirs_encoding { OXIRS_STANDARD, OXIRS_FIXED };

enum oxirs_kind { OXIRS_INSERT, OXIRS_UPDATE, OXIRS_DELETE, OXIRS_BATCH, OXIRS_CHECKPOINT, OXIRS_BEGIN, OXIRS_COMMIT, OXIRS_ABORT };

enum {
	OXIRS_KINDS = OXIRS_ABORT + 1,
	OXIRS_DEPTH_MAX = 64, /* of batches in batches */
};

extern const char *const oxirs_kind_names[OXIRS_KINDS];

struct oxirs_record {
	enum oxirs_kind kind;
	uint64_t time;	 /* seconds, Unix time */
	uint64_t number; /* of a checkpoint the sequence number, of transactions theirs */
};

/* Where the standard encoding of a record goes. */
struct oxirs_sink {
	uint8_t *data;
	size_t size, capacity;
};

/*
 * Reads the record at the beginning of `data`. *ret_used is how many bytes it takes: all of them, or it is none. `sink` (may be NULL) gets it in the standard encoding, appended. NULL; or what is wrong with it, a static text.
 */
const char *oxirs_decode(enum oxirs_encoding encoding, const uint8_t *data, size_t size, struct oxirs_record *ret, size_t *ret_used, struct oxirs_sink *sink);

void oxirs_sink_release(struct oxirs_sink *sink);

#endif
