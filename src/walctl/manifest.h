/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The lines that tell what entries as files don't: first ids, also of streams that are empty; shards; which ids a part of a stream goes on from. In an
 * export they are the member MANIFEST_NAME, the first one, whose name no stream can have:
 *
 *	walfs export 1
 *	shards 0
 *	stream orders 0 100 250		(the source had entries from id 0 on; here are those from 100 to 249)
 *	checkpoints 3			(so many follow)
 *	checkpoint NAME 6e6f…		(all of an id, in hexadecimal, that is too long for the name of its file)
 *
 * And what a store holds, so that an export can begin where it ends:
 *
 *	walfs state 1
 *	stream orders 0 100 17 5b0f6a13	(entries from 0 to 99; size and CRC-32 of the last one; 0 and 0 if there is none)
 *	checkpoint 1795150527187172523 6e6f…	(the time in ns and the id)
 *
 * Names of streams as percent_encode_column() writes them.
 */
#ifndef WALCTL_MANIFEST_H
#define WALCTL_MANIFEST_H

#include "coding.h"
#include "walctl.h"

#define MANIFEST_NAME ".walfs"

/* What is read whole into memory, manifests and the texts of checkpoints, is at most so long. */
#define MANIFEST_BYTES_MAX ((uint64_t)256 << 20)

struct manifest_stream {
	char *name;
	uint64_t first; /* the first id there was; of a state likewise */
	uint64_t from;	/* export: the first id here */
	uint64_t next;
	uint64_t last_size; /* state: of the entry next - 1 */
	uint32_t last_crc;
};

struct manifest_checkpoint {
	char *name;	 /* export: in its directory */
	int64_t time_ns; /* state */
	struct bytes id;
};

struct manifest {
	uint32_t shards;
	uint64_t checkpoints_told; /* export: how many files of checkpoints there are */
	struct manifest_stream *streams; /* sorted by name, bytewise */
	size_t stream_count, stream_capacity;
	struct manifest_checkpoint *checkpoints;
	size_t checkpoint_count, checkpoint_capacity;
};

void manifest_release(struct manifest *manifest);

/* Copies name and numbers into it. Pointers to others don't hold any more. -EEXIST: there is one of this name. -ENOMEM. */
int manifest_add_stream(struct manifest *manifest, const struct manifest_stream *stream);

/* Copies all it points to. -ENOMEM. */
int manifest_add_checkpoint(struct manifest *manifest, const struct manifest_checkpoint *checkpoint);

/* NULL if it isn't there. */
struct manifest_stream *manifest_find(const struct manifest *manifest, const char *name);

/* `state`: as a state, not as an export. Write errors are the file's. */
void manifest_write(const struct manifest *manifest, bool state, FILE *file);

/*
 * Reads `size` bytes; `manifest` is all-zero, and to be released in any case. -EBADMSG: they are none, and ret_fault says which line is wrong and what was expected. -ENOMEM.
 */
int manifest_read(const char *text, size_t size, bool state, struct manifest *manifest, char ret_fault[128]);

#endif
