/* SPDX-License-Identifier: Apache-2.0 */
/* What a path in an archive stands for. Archives begin anywhere: "./orders/000…", "mnt/orders/000…", "orders/000…"; what all paths have in front is left off. */
#ifndef WALCTL_PLACE_H
#define WALCTL_PLACE_H

#include "members.h"

enum place_kind {
	PLACE_NOTHING,	  /* a directory that is no stream, or a file that a mount has and that holds nothing */
	PLACE_FOREIGN,	  /* something else */
	PLACE_UNDECIDED,  /* a directory of which only the others can tell what it is: see place_undecided() */
	PLACE_MANIFEST,
	PLACE_STREAM,
	PLACE_ENTRY,
	PLACE_CHECKPOINT,
};

struct place {
	enum place_kind kind;
	const char *name; /* of the stream, or of the checkpoint's file; valid until the next call */
	uint64_t id;
};

/* Begin with zeros, or for a directory with `known`. */
struct places {
	char *prefix; /* "" or "mnt/", once it is known */
	bool known;
	char *clean; /* the path being looked at, and its parts */
	char *undecided; /* paths, one after another, each with its NUL */
	size_t undecided_size, undecided_capacity, undecided_next;
};

void places_release(struct places *places);

/* -EBADMSG: the path goes up, or is not below the directory that the others are in. -ENOMEM, -EFBIG: too many directories before the first file. */
int places_find(struct places *places, const struct member *member, struct place *ret);

/*
 * The streams among those that were undecided: true for each, then false. `end`: nothing more comes, so if there was no file they are told by each
 * other. To be called again after more was found.
 */
bool places_undecided(struct places *places, bool end, struct place *ret);

#endif
