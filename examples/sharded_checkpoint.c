/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events of many users in a sharded store: each user's events stay in order in the shard of the user's name. A checkpoint remembers how far all shards were at one
 * moment; what it covers can be read again up to there, and pruned when it is no longer wanted.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <wal.h>

enum { SHARDS = 4 };

static void append(struct wal_store *store, const char *user, const char *event)
{
	uint32_t shard;
	uint64_t id;
	int r = wal_shard_append(store, user, strlen(user), event, strlen(event), 0, &shard, &id);

	if (r < 0)
		errx(1, "append for %s: %s", user, wal_strerror(r));
	printf("%s: shard %" PRIu32 ", id %" PRIu64 "\n", user, shard, id);
}

static void append_many(struct wal_store *store)
{
	/* One call, one batch for each shard; all shards at the same time. */
	struct wal_keyed_entry entries[] = {
		{ .key = "ada", .key_size = 3, .data = "reads", .size = 5 },
		{ .key = "bob", .key_size = 3, .data = "writes", .size = 6 },
		{ .key = "ada", .key_size = 3, .data = "leaves", .size = 6 },
	};
	size_t count = sizeof(entries) / sizeof(*entries);
	int r = wal_shard_append_batch(store, entries, count, 0);

	/* A shard's batch is there whole or not at all; those of different shards stand for themselves. */
	for (size_t i = 0; i < count; i++)
		if (entries[i].result < 0)
			warnx("entry %zu is not there: %s", i, wal_strerror(entries[i].result));
	if (r < 0)
		errx(1, "batch: %s", wal_strerror(r));
}

static void show_checkpoint(struct wal_store *store)
{
	struct wal_checkpoint *cp;
	int r = wal_checkpoint_latest(store, &cp);

	if (r != 0)
		errx(1, "checkpoint: %s", wal_strerror(r));
	printf("%.*s:", (int)cp->id_size, (const char *)cp->id);
	for (size_t i = 0; i < cp->cut_count; i++)
		printf(" %s=%" PRIu64, cp->cuts[i].stream, cp->cuts[i].next_id);
	printf("\n");
	free(cp);
}

/* Segments that hold nothing but what the checkpoint covers go; a segment in use never does, so it is sealed first. */
static void prune(struct wal_store *store, const char *id)
{
	struct wal_prune_result pruned;
	struct wal_error error;
	int r;

	for (uint32_t i = 0; i < wal_store_shards(store); i++) {
		struct wal_stream *shard;

		if (wal_shard_open(store, i, &shard) < 0 || wal_stream_rotate(shard) < 0)
			errx(1, "cannot rotate shard %" PRIu32, i);
		wal_stream_close(shard);
	}
	r = wal_checkpoint_prune_before(store, id, strlen(id), &pruned, &error);
	if (r < 0)
		errx(1, "%s", error.message);
	if (r == WAL_NOT_FOUND)
		errx(1, "there is no checkpoint %s", id);
	printf("pruned %" PRIu64 " segments of %zu shards\n", pruned.segments, pruned.streams);
}

int main(int argc, char **argv)
{
	struct wal_options options = { .shards = SHARDS };
	struct wal_store *store;
	struct wal_error error;
	int r;

	if (argc != 2)
		errx(2, "usage: sharded_checkpoint STORE");
	if (wal_store_open(argv[1], &options, &store, &error) < 0)
		errx(1, "%s", error.message);
	append(store, "ada", "comes");
	append(store, "bob", "comes");
	append(store, "eve", "listens");
	append_many(store);
	if (wal_checkpoint_create(store, "evening", strlen("evening"), 0, &error) < 0)
		errx(1, "%s", error.message);
	append(store, "bob", "sleeps"); /* after the checkpoint: not covered */
	show_checkpoint(store);
	prune(store, "evening");
	r = wal_store_close(store);
	if (r < 0)
		errx(1, "close: %s", wal_strerror(r));
	return 0;
}
