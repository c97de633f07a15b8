/* SPDX-License-Identifier: Apache-2.0 */
/* A store by the library, with small segments so that it rotates often. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "power.h"
#include "random.h"
#include "store.h"

struct library {
	struct target target;
	struct sys sys; /* the real one, but for the call that lies */
	struct wal_store *store;
	enum wal_sync sync;
};

static struct library *library_of(struct target *t)
{
	return (struct library *)((char *)t - offsetof(struct library, target));
}

static int library_create(struct target *t, const char *stream)
{
	struct wal_stream *st;
	int result = wal_stream_open(library_of(t)->store, stream, WAL_CREATE, &st, NULL);

	if (result == 0)
		wal_stream_close(st);
	return result;
}

static int library_remove(struct target *t, const char *stream)
{
	return wal_stream_delete(library_of(t)->store, stream);
}

static int append_draft(struct wal_stream *st, const uint8_t *data, size_t size, unsigned flags, uint64_t *ret_id)
{
	struct wal_draft *draft;
	int result = wal_draft_new(st, &draft);

	if (result < 0)
		return result;
	/* The second half first, as a private file allows. */
	result = wal_draft_write(draft, data + size / 2, size - size / 2, size / 2);
	if (result == 0)
		result = wal_draft_write(draft, data, size / 2, 0);
	if (result == 0)
		return wal_draft_commit(draft, flags, ret_id);
	wal_draft_free(draft);
	return result;
}

static int append_txn(struct wal_stream *st, const struct iovec *parts, size_t count, unsigned flags, uint64_t *ret_id)
{
	struct wal_txn *txn;
	int result = wal_txn_new(st, &txn);

	if (result < 0)
		return result;
	for (size_t i = 0; i < count && result == 0; i++)
		result = wal_txn_add(txn, parts[i].iov_base, parts[i].iov_len);
	if (result == 0)
		return wal_txn_commit(txn, flags, ret_id, NULL);
	wal_txn_abort(txn);
	return result;
}

static int library_append(struct target *t, const char *stream, const struct record *r, uint64_t dice, uint64_t *ret_id, bool *ret_durable)
{
	struct library *lib = library_of(t);
	uint8_t *data = malloc((size_t)r->count * CONTENT_MAX);
	struct iovec *parts = malloc(r->count * sizeof *parts);
	unsigned flags = dice % 8 == 0 ? WAL_DURABLE : 0;
	bool batch = r->count > 1;
	struct wal_stream *st;
	int result = data && parts ? wal_stream_open(lib->store, stream, 0, &st, NULL) : -ENOMEM;

	if (result == 0) {
		for (uint32_t i = 0; i < r->count; i++) {
			parts[i].iov_base = data + (size_t)i * CONTENT_MAX;
			parts[i].iov_len = content_make(r, i, parts[i].iov_base);
		}
		if (batch)
			result = (dice >> 8) % 2 ? wal_stream_append_batch(st, parts, r->count, flags, ret_id) :
						   append_txn(st, parts, r->count, flags, ret_id);
		else if ((dice >> 8) % 4 == 0)
			result = append_draft(st, parts[0].iov_base, parts[0].iov_len, flags, ret_id);
		else
			result = wal_stream_append(st, parts[0].iov_base, parts[0].iov_len, flags, ret_id);
		if (result == 0 && (dice >> 16) % 64 == 0)
			(void)wal_stream_rotate(st);
		wal_stream_close(st);
	}
	*ret_durable = lib->sync == WAL_SYNC_STRICT || flags & WAL_DURABLE || (lib->sync == WAL_SYNC_BATCH && batch);
	free(parts);
	free(data);
	return result;
}

static int library_sync(struct target *t, const char *stream)
{
	struct wal_stream *st;
	int result = wal_stream_open(library_of(t)->store, stream, 0, &st, NULL);

	if (result == 0) {
		result = wal_stream_sync(st);
		wal_stream_close(st);
	}
	return result;
}

static int library_read(struct target *t, const char *stream, uint64_t from, visit_entry *visit, void *arg)
{
	struct wal_stream *st;
	struct wal_iter *iter;
	struct wal_entry entry;
	int result = wal_stream_open(library_of(t)->store, stream, 0, &st, NULL);

	if (result < 0)
		return result;
	result = wal_iter_new(st, from, &iter);
	if (result == 0) {
		while ((result = wal_iter_next(iter, &entry)) == WAL_PRUNED || (result == 0 && visit(arg, entry.id, entry.data, entry.size)))
			;
		if (result > 0 && result != WAL_END)
			result = -EBADMSG;
		wal_iter_free(iter);
	}
	wal_stream_close(st);
	return result < 0 ? result : 0;
}

static int library_inspect(struct target *t, const char *stream, uint64_t *ret_first, uint64_t *ret_next)
{
	struct wal_stream *st;
	struct wal_stream_stat stat;
	struct wal_buf buf = { 0 };
	int result = wal_stream_open(library_of(t)->store, stream, 0, &st, NULL);

	if (result < 0)
		return result;
	result = wal_stream_stat(st, &stat);
	if (result == 0 && (stat.health != WAL_HEALTHY || stat.tail == WAL_TAIL_DAMAGED)) {
		fprintf(stderr, "stream %s is not well: health %d, tail %d: %s\n", stream, stat.health, stat.tail, stat.reason);
		result = -EBADMSG;
	}
	for (uint64_t id = stat.first_id; id < stat.next_id && result == 0; id += 7) {
		result = wal_stream_get(st, id, &buf);
		if (result != 0) {
			fprintf(stderr, "stream %s: cannot get entry %" PRIu64 " of %" PRIu64 ": %s\n", stream, id, stat.next_id, wal_strerror(result));
			result = -EBADMSG;
		}
	}
	wal_buf_release(&buf);
	if (result == 0) {
		*ret_first = stat.first_id;
		*ret_next = stat.next_id;
	}
	wal_stream_close(st);
	return result;
}

static int library_prune(struct target *t, const char *stream, uint64_t id, uint64_t *ret_first)
{
	struct wal_stream *st;
	int result = wal_stream_open(library_of(t)->store, stream, 0, &st, NULL);

	if (result < 0)
		return result;
	result = wal_stream_prune(st, id, NULL);
	wal_stream_bounds(st, ret_first, NULL, NULL);
	wal_stream_close(st);
	return result;
}

static int library_checkpoint(struct target *t, const char *name)
{
	return wal_checkpoint_create(library_of(t)->store, name, strlen(name), 0, NULL);
}

static int library_forget(struct target *t, const char *name)
{
	int result = wal_checkpoint_remove(library_of(t)->store, name, strlen(name));

	return result == WAL_NOT_FOUND ? 0 : result;
}

static int library_covered(struct target *t, const char *name, const char *stream, uint64_t *ret_next)
{
	struct wal_checkpoint *c;
	int result = wal_checkpoint_load(library_of(t)->store, name, strlen(name), &c);

	if (result != 0)
		return result == WAL_NOT_FOUND ? -ENOENT : result;
	if (wal_checkpoint_find(c, stream, ret_next) != 0)
		*ret_next = 0;
	free(c);
	return 0;
}

static int library_list(struct target *t, char ***ret_names)
{
	size_t count;

	return wal_store_list(library_of(t)->store, ret_names, &count);
}

static int library_close(struct target *t)
{
	struct library *lib = library_of(t);
	int result = wal_store_close(lib->store);

	free(lib);
	return result;
}

static int no_sync(struct sys *sys, int fd)
{
	(void)sys;
	(void)fd;
	return 0;
}

static void print_log(void *arg, enum wal_log_level level, const char *message)
{
	(void)arg;
	if (level <= WAL_LOG_WARNING)
		fprintf(stderr, "libwal: %s\n", message);
}

struct target *target_library(const char *path, const char *sync, uint64_t seed, bool mmap, const char *lie)
{
	struct random random = { seed };
	struct wal_options opts = {
		.segment_size = (uint64_t)4096 << random_below(&random, 6),
		.segment_entries = random_below(&random, 3) ? 0 : 1 + random_below(&random, 100),
		.compression = random_below(&random, 2) ? WAL_COMPRESSION_LZ4 : WAL_COMPRESSION_NONE,
		.read = mmap && random_below(&random, 2) ? WAL_READ_MMAP : WAL_READ_IO,
		.write_buffer = (uint64_t)4096 << random_below(&random, 9),
		.log = print_log,
	};
	struct wal_error err;
	struct library *lib = malloc(sizeof *lib);

	if (!lib || wal_options_set(&opts, "sync", sync, NULL) != 0)
		abort();
	*lib = (struct library){
		.target = {
			.strict = opts.sync == WAL_SYNC_STRICT,
			.batches = true,
			.create = library_create,
			.remove = library_remove,
			.append = library_append,
			.sync = library_sync,
			.read = library_read,
			.inspect = library_inspect,
			.prune = library_prune,
			.checkpoint = library_checkpoint,
			.forget = library_forget,
			.covered = library_covered,
			.list = library_list,
			.close = library_close,
		},
		.sys = *sys_real(),
		.sync = opts.sync,
	};
	if (lie && strcmp(lie, "fdatasync") == 0)
		lib->sys.fdatasync = no_sync;
	if (lie && strcmp(lie, "fsync") == 0)
		lib->sys.fsync = no_sync;
	if (store_open(&lib->sys, path, &opts, &lib->store, &err) == 0)
		return &lib->target;
	fprintf(stderr, "cannot open the store: %s\n", err.message);
	free(lib);
	return NULL;
}
