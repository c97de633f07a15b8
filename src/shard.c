/* SPDX-License-Identifier: Apache-2.0 */
/* Sharded stores: keys to shards. What makes a store sharded is in store.c. */
#include <errno.h>
#include <stdlib.h>

#include "cleanup.h"
#include "keyhash.h"
#include "names.h"
#include "store_impl.h"

uint32_t wal_store_shards(const struct wal_store *store)
{
	return store->shards;
}

uint32_t wal_shard_of(const void *key, size_t key_size, uint32_t shards)
{
	return (uint32_t)(keyhash(key, key_size) % shards);
}

int wal_shard_open(struct wal_store *store, uint32_t shard, struct wal_stream **ret_stream)
{
	char name[NAME_SEGMENT_MAX];

	if (shard >= store->shards)
		return -EINVAL;
	*ret_stream = store_get_stream(store, name_shard(name, shard));
	return *ret_stream ? 0 : -ENOENT;
}

/* The stream of the key's shard. */
static int open_for_key(struct wal_store *store, const void *key, size_t key_size, uint32_t *ret_shard, struct wal_stream **ret_stream)
{
	if (store->shards == 0)
		return -EINVAL;
	*ret_shard = wal_shard_of(key, key_size, store->shards);
	return wal_shard_open(store, *ret_shard, ret_stream);
}

int wal_shard_append(struct wal_store *store, const void *key, size_t key_size, const void *data, size_t size, unsigned flags, uint32_t *ret_shard,
		     uint64_t *ret_id)
{
	struct wal_stream *st;
	uint32_t shard;
	int result = open_for_key(store, key, key_size, &shard, &st);

	if (result < 0)
		return result;
	result = wal_stream_append(st, data, size, flags, ret_id);
	wal_stream_close(st);
	if (result == 0 && ret_shard)
		*ret_shard = shard;
	return result;
}

int wal_shard_append_batch_for_key(struct wal_store *store, const void *key, size_t key_size, const struct iovec *entries, size_t count, unsigned flags,
				   uint32_t *ret_shard, uint64_t *ret_first_id)
{
	struct wal_stream *st;
	uint32_t shard;
	int result = open_for_key(store, key, key_size, &shard, &st);

	if (result < 0)
		return result;
	result = wal_stream_append_batch(st, entries, count, flags, ret_first_id);
	wal_stream_close(st);
	if (result == 0 && ret_shard)
		*ret_shard = shard;
	return result;
}

/* ---- Batches over shards ---- */

/* The entries of one shard, in the order given. */
struct part {
	struct wal_op op;
	struct spread *spread;
	struct wal_stream *stream;
	struct iovec *iov; /* in spread->iov */
	size_t count;
};

struct spread {
	struct part *parts; /* one for each shard */
	struct iovec *iov;

	pthread_mutex_t lock;
	pthread_cond_t done;
	size_t pending; /* protected by lock */
};

static void part_done(struct wal_op *op)
{
	struct part *part = container_of(op, struct part, op);
	struct spread *spread = part->spread;

	LOCKED_SCOPE(&spread->lock);
	if (--spread->pending == 0)
		pthread_cond_signal(&spread->done);
}

/* Counts the entries of each shard, gives each its place in the one array, and fills those. */
static void sort_entries(struct spread *spread, struct wal_keyed_entry *entries, size_t count, uint32_t shards)
{
	struct iovec *place = spread->iov;

	for (size_t i = 0; i < count; i++) {
		entries[i].shard = wal_shard_of(entries[i].key, entries[i].key_size, shards);
		spread->parts[entries[i].shard].count++;
	}
	for (uint32_t s = 0; s < shards; s++) {
		spread->parts[s].iov = place;
		place += spread->parts[s].count;
		spread->parts[s].count = 0;
	}
	for (size_t i = 0; i < count; i++) {
		struct part *part = &spread->parts[entries[i].shard];

		part->iov[part->count++] = (struct iovec){ (void *)entries[i].data, entries[i].size };
	}
}

static void submit_part(struct part *part, unsigned flags)
{
	struct spread *spread = part->spread;

	pthread_mutex_lock(&spread->lock);
	spread->pending++;
	pthread_mutex_unlock(&spread->lock);
	part->op = (struct wal_op){ .done = part_done, .entries = part->iov, .count = part->count, .flags = flags | WAL_BATCH };
	wal_stream_submit(part->stream, &part->op);
}

/* Results in the order of the entries; ids of a shard's batch are consecutive. */
static int give_results(struct spread *spread, struct wal_keyed_entry *entries, size_t count)
{
	int first_error = 0;

	for (size_t i = 0; i < count; i++) {
		struct part *part = &spread->parts[entries[i].shard];

		entries[i].result = part->op.result;
		entries[i].id = part->op.first_id;
		if (part->op.result == 0)
			part->op.first_id++;
		else if (first_error == 0)
			first_error = part->op.result;
	}
	return first_error;
}

/* None was appended. */
static int give_error(struct wal_keyed_entry *entries, size_t count, int result)
{
	for (size_t i = 0; i < count; i++)
		entries[i].result = result;
	return result;
}

int wal_shard_append_batch(struct wal_store *store, struct wal_keyed_entry *entries, size_t count, unsigned flags)
{
	uint32_t shards = store->shards;
	int result = 0;

	if (shards == 0 || count == 0)
		return give_error(entries, count, -EINVAL);
	CLEANUP_FREE struct part *parts = calloc(shards, sizeof *parts);
	CLEANUP_FREE struct iovec *iov = calloc(count, sizeof *iov);
	struct spread spread = { .parts = parts, .iov = iov };
	if (!parts || !iov)
		return give_error(entries, count, -ENOMEM);
	pthread_mutex_init(&spread.lock, NULL);
	pthread_cond_init(&spread.done, NULL);
	sort_entries(&spread, entries, count, shards);
	for (uint32_t s = 0; s < shards && result == 0; s++) {
		parts[s].spread = &spread;
		if (parts[s].count > 0)
			result = wal_shard_open(store, s, &parts[s].stream);
	}
	for (uint32_t s = 0; s < shards && result == 0; s++) {
		if (parts[s].count > 0)
			submit_part(&parts[s], flags);
	}
	pthread_mutex_lock(&spread.lock);
	while (spread.pending > 0)
		pthread_cond_wait(&spread.done, &spread.lock);
	pthread_mutex_unlock(&spread.lock);
	result = result == 0 ? give_results(&spread, entries, count) : give_error(entries, count, result);
	for (uint32_t s = 0; s < shards; s++)
		wal_stream_close(parts[s].stream);
	pthread_cond_destroy(&spread.done);
	pthread_mutex_destroy(&spread.lock);
	return result;
}
