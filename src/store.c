/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing a store, and what concerns it as a whole. */
#include "store.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "names.h"
#include "options.h"
#include "store_impl.h"
#include "syncs.h"

enum {
	WORKERS_MAX = 16, /* what mostly waits for the disk, which does many syncs at once in little more than the time of a few */
	STREAMS_PER_THREAD = 32, /* a thread more for fewer costs more than it brings */
	THREADS_MAX = 8,	 /* that open or close streams: most of the time they wait for the disk */
	BUCKETS_MIN = 64,
};

/* ---- Opening ---- */

static unsigned threads_for(size_t streams)
{
	return streams / STREAMS_PER_THREAD < THREADS_MAX ? (unsigned)(streams / STREAMS_PER_THREAD) : THREADS_MAX;
}

/* What several threads open. */
struct loading {
	struct wal_store *store;
	pthread_mutex_t lock;
	/* protected by lock */
	struct wal_error *err; /* NULL: nobody asks */
	size_t err_index;      /* of the stream that it tells of */
};

/* One thread takes streams in order, several fail in any: the first stream's failure is told. */
static void tell_failure(struct loading *loading, size_t index, const struct wal_error *detail)
{
	LOCKED_SCOPE(&loading->lock);
	if (!loading->err || index >= loading->err_index)
		return;
	*loading->err = *detail;
	loading->err_index = index;
}

static int load_stream(void *arg, size_t index)
{
	struct loading *loading = arg;
	struct wal_store *store = loading->store;
	const char *name = store->root.dirs[index];
	const struct log *log = &store->engine.env.log;

	if (wal_stream_name_check(name) < 0) {
		if (root_looks_like_stream(&store->engine.env, name) == 1)
			log_write(log, WAL_LOG_WARNING, "directory '%s' holds segments, but its name can't be a stream's, ignoring it", name);
		return 0;
	}
	struct wal_error detail = { 0 };
	struct wal_stream *st = stream_new(&store->engine, name);
	int result = st ? stream_recover(st, &detail) : error_set(&detail, -ENOMEM, name, "stream '%s': out of memory", name);
	/* What is wrong with one stream must not keep the others from being used. */
	if (result < 0 && result != -ENOMEM && result != -EMFILE && result != -ENFILE &&
	    store->engine.env.opts.on_corruption == WAL_ON_CORRUPTION_READONLY) {
		log_write(log, WAL_LOG_ERROR, "%s; it is quarantined: what its sealed segments hold can be read", detail.message);
		result = stream_quarantine(st, detail.message);
	}
	if (result < 0)
		tell_failure(loading, index, &detail);
	if (result == 0)
		store_add_stream(store, st);
	else if (st)
		stream_free(st);
	if (result == WAL_NOT_FOUND)
		log_write(log, WAL_LOG_INFO, "directory '%s' holds no stream, ignoring it", name);
	return result == WAL_NOT_FOUND ? 0 : result;
}

static int load_streams(struct wal_store *store, struct wal_error *err)
{
	struct loading loading = { .store = store, .err = err, .err_index = SIZE_MAX };
	size_t count = store->root.dir_count;

	pthread_mutex_init(&loading.lock, NULL);
	int result = workers_for_each(threads_for(count), count, load_stream, &loading);
	pthread_mutex_destroy(&loading.lock);
	root_forget_dirs(&store->root);
	return result;
}

/* The number of shard_NN streams, if they are numbered without gaps from 0. */
static uint32_t count_shards(struct wal_store *store)
{
	uint32_t count = 0;
	char name[NAME_SEGMENT_MAX];

	for (;; count++) {
		struct wal_stream *st = store_get_stream(store, name_shard(name, count));
		if (!st)
			return count;
		wal_stream_close(st);
	}
}

/* Whether there is nothing in the store but some of `want` shards, without any entry and without the first: making it did not come to its end. */
static bool is_unfinished(struct wal_store *store, uint32_t want)
{
	bool unfinished = store->count < want && ckptlog_count(store->checkpoints) == 0 && store->root.shards == 0;
	uint64_t first, next;
	uint32_t shard;

	for (size_t i = 0; i < store->bucket_count; i++) {
		for (struct wal_stream *st = store->buckets[i]; st && unfinished; st = st->next_in_bucket) {
			wal_stream_bounds(st, &first, &next, NULL);
			unfinished = name_is_shard(st->name, &shard) && shard > 0 && shard < want && next == 0;
		}
	}
	return unfinished;
}

/* The first one last: until it is there, the store has no shards, and not fewer than it is to have. */
static int make_shards(struct wal_store *store, uint32_t want, struct wal_error *err)
{
	LOCKED_SCOPE(&store->change_lock);
	int result = 0;

	for (uint32_t i = want; i-- > 0 && result == 0;) {
		char name[NAME_SEGMENT_MAX];
		struct wal_stream *st = store_get_stream(store, name_shard(name, i));

		if (!st)
			result = store_create_stream(store, name, &st, err);
		if (result == 0)
			wal_stream_close(st);
	}
	return result;
}

/* Not sharded as it was asked for, or as the checkpoints tell. With another number keys would go to other shards than before. */
static int refuse_shards(struct wal_store *store, uint32_t have, uint32_t told, struct wal_error *err)
{
	const char *teller = store->root.shards > 0 && have != store->root.shards ? "LOCK file tells" : "checkpoints tell";
	uint32_t want = store->engine.env.opts.shards;
	size_t others = store->count - have;

	if (want > 0 && have != want)
		return error_set(err, -EINVAL, store->path, "'%s' has %u shards, not %u: the number is fixed when a store is made", store->path, have,
				 want);
	if (told > 0 && have != told)
		return error_set(err, -EINVAL, store->path, "'%s': its %s of %u shards, but there are %u (shard_%02u is %s)", store->path, teller, told,
				 have, have < told ? have : told, have < told ? "missing" : "one too many");
	return error_set(err, -EINVAL, store->path, "'%s' has %u shards, and %zu other streams, which a store with shards has not", store->path, have,
			 others);
}

/* Finds out whether the store is sharded; nobody else uses it yet. */
static int set_up_shards(struct wal_store *store, struct wal_error *err)
{
	const struct env *env = &store->engine.env;
	uint32_t want = env->opts.shards, told = ckptlog_shards(store->checkpoints);
	struct wal_error detail;

	if (want > 0 && !env->opts.ro && is_unfinished(store, want)) {
		int result = make_shards(store, want, err);
		if (result < 0)
			return result;
	}
	uint32_t have = count_shards(store);
	/* If the two tell of different numbers, one of them is not that of the shards there are. */
	if (store->root.shards > 0 && (told == 0 || told == have))
		told = store->root.shards;
	bool expected = want > 0 || told > 0;
	if (have == store->count && (want == 0 || have == want) && (told == 0 || have == told)) {
		store->shards = have;
		if (have > 0 && !env->opts.ro && store->root.shards != have) {
			int result = root_record_shards(&store->root, have);
			if (result < 0)
				return error_set(err, result, store->path, "'%s': cannot record in its LOCK file that it has %u shards: %s", store->path, have,
						 wal_strerror(result));
		}
		return 0;
	}
	if (!expected && have == 0)
		return 0;
	int result = refuse_shards(store, have, told, &detail);
	/* What there is can be looked at. */
	if (want == 0 && (env->opts.ro || told == 0)) {
		log_write(&env->log, env->opts.ro && told > 0 ? WAL_LOG_ERROR : WAL_LOG_WARNING, "%s: it is not taken for a sharded store", detail.message);
		return 0;
	}
	if (err)
		*err = detail;
	return result;
}

static void store_free(struct wal_store *store)
{
	for (size_t i = 0; store->buckets && i < store->bucket_count; i++) {
		while (store->buckets[i]) {
			struct wal_stream *st = store->buckets[i];

			store->buckets[i] = st->next_in_bucket;
			stream_free(st);
		}
	}
	ckptlog_free(store->checkpoints);
	segcache_free(store->engine.segcache);
	blockcache_free(store->engine.blockcache);
	if (store->root.env)
		root_close(&store->root);
	warm_streams_release(&store->engine.warm);
	pthread_mutex_destroy(&store->lock);
	pthread_mutex_destroy(&store->cut_lock);
	pthread_mutex_destroy(&store->change_lock);
	free(store->buckets);
	free(store->path);
	free(store);
}

static struct wal_store *store_new(struct sys *sys, const char *path, const struct wal_options *opts)
{
	struct wal_store *store = calloc(1, sizeof *store);

	if (!store)
		return NULL;
	store->engine.env = (struct env){ .sys = sys, .root_fd = -1 };
	if (opts)
		store->engine.env.opts = *opts;
	options_fill_defaults(&store->engine.env.opts);
	store->engine.env.log = (struct log){ store->engine.env.opts.log, store->engine.env.opts.log_arg };
	warm_streams_init(&store->engine.warm);
	pthread_mutex_init(&store->lock, NULL);
	pthread_mutex_init(&store->cut_lock, NULL);
	pthread_mutex_init(&store->change_lock, NULL);
	store->bucket_count = BUCKETS_MIN;
	store->buckets = calloc(store->bucket_count, sizeof *store->buckets);
	store->path = strdup(path);
	return store;
}

static int start(struct wal_store *store)
{
	struct engine *engine = &store->engine;
	uint64_t cache_bytes = engine->env.opts.block_cache;
	int result = store->buckets && store->path ? 0 : -ENOMEM;

	if (result == 0)
		result = segcache_new(&engine->env, &engine->segcache);
	if (result == 0)
		result = blockcache_new(cache_bytes == WAL_SIZE_NONE ? 0 : cache_bytes, &engine->blockcache);
	if (result == 0 && !engine->env.opts.ro)
		result = workers_new(WORKERS_MAX, &engine->workers);
	return result;
}

int store_open(struct sys *sys, const char *path, const struct wal_options *opts, struct wal_store **ret_store, struct wal_error *err)
{
	const struct wal_options none = { 0 };
	struct wal_error detail = { 0 };
	int result = wal_options_validate(opts ? opts : &none, err);

	if (result < 0)
		return result;
	struct wal_store *store = store_new(sys, path, opts);
	if (!store)
		return error_set(err, -ENOMEM, path, "'%s': out of memory", path);
	result = start(store);
	if (result < 0)
		error_set(&detail, result, path, "'%s': cannot start: %s", path, wal_strerror(result));
	if (result == 0)
		result = root_open(&store->root, &store->engine.env, store->path, &detail);
	if (result == 0)
		result = ckptlog_open(sys, &store->engine.env.log, store->engine.env.root_fd, store->engine.env.opts.ro, &store->checkpoints, &detail);
	if (result == 0)
		result = load_streams(store, &detail);
	if (result == 0)
		result = set_up_shards(store, &detail);
	if (result < 0) {
		workers_free(store->engine.workers);
		store_free(store);
		if (err) {
			*err = detail;
			err->code = result;
		}
		return result;
	}
	*ret_store = store;
	return 0;
}

int wal_store_open(const char *path, const struct wal_options *opts, struct wal_store **ret_store, struct wal_error *err)
{
	return store_open(sys_real(), path, opts, ret_store, err);
}

static void end_watches(struct wal_store *store)
{
	for (size_t i = 0; i < store->bucket_count; i++) {
		for (struct wal_stream *st = store->buckets[i]; st; st = st->next_in_bucket) {
			LOCKED_SCOPE(&st->lock);
			stream_end_watches(st, -ECANCELED);
			stream_call_back(st);
		}
	}
}

struct finishing {
	struct wal_store *store;
	pthread_mutex_t lock;
	/* protected by lock */
	int error; /* the first one's, by its bucket */
	size_t error_index;
};

/* Those of one bucket. The others are finished whatever becomes of these. */
static int finish_streams(void *arg, size_t index)
{
	struct finishing *finishing = arg;
	int first_error = 0;

	for (struct wal_stream *st = finishing->store->buckets[index]; st; st = st->next_in_bucket) {
		int result = stream_finish(st);

		if (result < 0 && first_error == 0)
			first_error = result;
	}
	if (first_error < 0) {
		LOCKED_SCOPE(&finishing->lock);
		if (index < finishing->error_index) {
			finishing->error = first_error;
			finishing->error_index = index;
		}
	}
	return 0;
}

static int finish_all(struct wal_store *store)
{
	struct finishing finishing = { .store = store, .error_index = SIZE_MAX };
	size_t touched = 0;

	for (size_t i = 0; i < store->bucket_count; i++) {
		for (struct wal_stream *st = store->buckets[i]; st; st = st->next_in_bucket)
			touched += st->touched;
	}
	pthread_mutex_init(&finishing.lock, NULL);
	workers_for_each(threads_for(touched), store->bucket_count, finish_streams, &finishing);
	pthread_mutex_destroy(&finishing.lock);
	return finishing.error;
}

int wal_store_close(struct wal_store *store)
{
	if (!store)
		return 0;
	end_watches(store);
	/* Ends what was submitted and not yet called back. */
	workers_free(store->engine.workers);
	store->engine.workers = NULL;
	int result = finish_all(store), closed = ckptlog_close(store->checkpoints);
	store->checkpoints = NULL;
	store_free(store);
	return result < 0 ? result : closed;
}

/* ---- The whole ---- */

int wal_store_sync(struct wal_store *store)
{
	size_t count;
	int first_error = 0;
	CLEANUP_FREE struct wal_stream **streams = store_all_streams(store, &count);
	CLEANUP_FREE struct sync_item *items = streams ? calloc(count + 1, sizeof *items) : NULL;
	struct syncs syncs;

	if (!streams)
		return -ENOMEM;
	syncs_begin(&syncs);
	for (size_t i = 0; items && i < count; i++)
		syncs_add(&syncs, &items[i], streams[i]);
	syncs_wait(&syncs);
	for (size_t i = 0; i < count; i++) {
		int result = items ? items[i].op.result : -ENOMEM;

		if (result < 0 && result != -ENOENT && first_error == 0)
			first_error = result;
		wal_stream_close(streams[i]);
	}
	return first_error;
}

const struct wal_options *wal_store_options(const struct wal_store *store)
{
	return &store->engine.env.opts;
}

int wal_store_statvfs(struct wal_store *store, struct statvfs *ret)
{
	struct env *env = &store->engine.env;

	return env->sys->fstatvfs(env->sys, env->root_fd, ret);
}

void wal_store_counters(struct wal_store *store, struct wal_store_counters *ret)
{
	*ret = (struct wal_store_counters){
		.open_segments = segcache_count(store->engine.segcache),
		.segment_opens = segcache_opens(store->engine.segcache),
		.checkpoints = stats_get(&store->checkpoints_made),
		.checkpoint_errors = stats_get(&store->checkpoint_errors),
	};
	blockcache_figures(store->engine.blockcache, &ret->cache_hits, &ret->cache_misses, &ret->cache_bytes);
	stats_read_histogram(&store->checkpoint_time, &ret->checkpoint_time);
}

size_t store_open_segments(struct wal_store *store)
{
	return segcache_count(store->engine.segcache);
}
