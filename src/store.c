/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store: its root and the table of its streams.
 *
 * The crash order of making a stream: directory, segment file (fsync), segments.idx (fsync, rename, fsync of the directory), fsync of the root. A crash may leave an empty
 * directory, which is taken over when the stream is made again. Of deleting one: head.state, sidecar and segment, fsync of the directory, then segments.idx, the
 * directory, fsync of the root; what a crash leaves is a stream without entries that goes on with its next id, or an empty directory.
 */
#include "store.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "names.h"
#include "options.h"
#include "root.h"
#include "stream_impl.h"

enum {
	WORKERS_MAX = 4,
	BUCKETS_MIN = 64,
};

struct stream_slot {
	struct stream_slot *next;
	struct wal_stream *stream;
};

struct wal_store {
	struct engine engine;
	char *path;
	struct root root;

	/* Makes and deletes streams one at a time; held over system calls. Before `lock`. */
	pthread_mutex_t change_lock;

	pthread_mutex_t lock;
	/* protected by lock */
	struct stream_slot **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
};

/* ---- The table ---- */

static size_t hash_name(const char *name)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (const char *p = name; *p; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3u;
	return (size_t)(h ^ h >> 32);
}

/* Caller holds store->lock. */
static struct stream_slot **find_slot(struct wal_store *store, const char *name)
{
	struct stream_slot **link = &store->buckets[hash_name(name) & (store->bucket_count - 1)];

	while (*link && strcmp((*link)->stream->name, name) != 0)
		link = &(*link)->next;
	return link;
}

static void grow_table(struct wal_store *store)
{
	size_t count = store->bucket_count * 2;
	struct stream_slot **buckets = calloc(count, sizeof *buckets);

	if (!buckets)
		return; /* it works with longer chains too */
	for (size_t i = 0; i < store->bucket_count; i++) {
		for (struct stream_slot *slot = store->buckets[i], *next; slot; slot = next) {
			struct stream_slot **bucket = &buckets[hash_name(slot->stream->name) & (count - 1)];

			next = slot->next;
			slot->next = *bucket;
			*bucket = slot;
		}
	}
	free(store->buckets);
	store->buckets = buckets;
	store->bucket_count = count;
}

/* The stream's reference goes to the table. */
static int add_stream(struct wal_store *store, struct wal_stream *st)
{
	struct stream_slot *slot = calloc(1, sizeof *slot);

	if (!slot)
		return -ENOMEM;
	LOCKED_SCOPE(&store->lock);
	if (store->count >= store->bucket_count)
		grow_table(store);
	slot->stream = st;
	st->store = store;
	*find_slot(store, st->name) = slot;
	store->count++;
	return 0;
}

/* With a reference for the caller, or NULL. */
static struct wal_stream *get_stream(struct wal_store *store, const char *name)
{
	LOCKED_SCOPE(&store->lock);
	struct stream_slot *slot = *find_slot(store, name);

	if (!slot)
		return NULL;
	stream_ref(slot->stream);
	return slot->stream;
}

static void remove_stream(struct wal_store *store, struct wal_stream *st)
{
	pthread_mutex_lock(&store->lock);
	struct stream_slot **link = find_slot(store, st->name), *slot = *link;
	*link = slot->next;
	store->count--;
	pthread_mutex_unlock(&store->lock);
	free(slot);
	stream_unref(st);
}

/* ---- Opening ---- */

static int load_stream(struct wal_store *store, const char *name, struct wal_error *err)
{
	const struct log *log = &store->engine.env.log;

	if (wal_stream_name_check(name) < 0) {
		if (root_looks_like_stream(&store->engine.env, name) == 1)
			log_write(log, WAL_LOG_WARNING, "directory '%s' holds segments, but its name can't be a stream's, ignoring it", name);
		return 0;
	}
	struct wal_stream *st = stream_new(&store->engine, name);
	if (!st)
		return error_set(err, -ENOMEM, name, "stream '%s': out of memory", name);
	struct wal_error detail = { 0 };
	int result = stream_recover(st, &detail);
	/* What is wrong with one stream must not keep the others from being used. */
	if (result < 0 && result != -ENOMEM && result != -EMFILE && result != -ENFILE &&
	    store->engine.env.opts.on_corruption == WAL_ON_CORRUPTION_READONLY) {
		log_write(log, WAL_LOG_ERROR, "%s; it is quarantined: what its sealed segments hold can be read", detail.message);
		result = stream_quarantine(st, detail.message);
	}
	if (result < 0 && err)
		*err = detail;
	if (result == 0)
		result = add_stream(store, st);
	if (result != 0)
		stream_unref(st);
	if (result == WAL_NOT_FOUND)
		log_write(log, WAL_LOG_INFO, "directory '%s' holds no stream, ignoring it", name);
	return result == WAL_NOT_FOUND ? 0 : result;
}

static int load_streams(struct wal_store *store, struct wal_error *err)
{
	int result = 0;

	for (size_t i = 0; i < store->root.dir_count && result == 0; i++)
		result = load_stream(store, store->root.dirs[i], err);
	root_forget_dirs(&store->root);
	return result;
}

/* The number of shard_NN streams, if they are numbered without gaps from 0. */
static unsigned count_shards(struct wal_store *store)
{
	unsigned count = 0;
	char name[NAME_SEGMENT_MAX];

	for (;; count++) {
		name_shard(name, count);
		struct wal_stream *st = get_stream(store, name);
		if (!st)
			return count;
		wal_stream_close(st);
	}
}

/* Whether there is nothing in the store but the first `shards` shards, without any entry: making it did not come to its end. */
static bool is_unfinished(struct wal_store *store, unsigned shards)
{
	bool empty = store->count == shards;

	for (unsigned i = 0; i < shards && empty; i++) {
		uint64_t first, next;
		char name[NAME_SEGMENT_MAX];

		name_shard(name, i);
		struct wal_stream *st = get_stream(store, name);
		wal_stream_bounds(st, &first, &next, NULL);
		empty = first == 0 && next == 0;
		wal_stream_close(st);
	}
	return empty;
}

static int set_up_shards(struct wal_store *store, bool fresh, struct wal_error *err)
{
	unsigned want = store->engine.env.opts.shards, have = count_shards(store);
	int result = 0;

	if (want == 0)
		return 0;
	/* A crash in the middle of this leaves fewer than all: they hold nothing yet, so the rest can be made. */
	fresh = !store->engine.env.opts.ro && (fresh || (have < want && is_unfinished(store, have)));
	for (unsigned i = have; fresh && i < want && result == 0; i++) {
		struct wal_stream *st;
		char name[NAME_SEGMENT_MAX];

		name_shard(name, i);
		result = wal_stream_open(store, name, WAL_CREATE, &st, err);
		if (result == 0)
			wal_stream_close(st);
	}
	if (result == 0 && !fresh && have != want)
		result = error_set(err, -EINVAL, store->path, "'%s' has %u shards, not %u: the number is fixed when a store is made", store->path,
				   have, want);
	return result;
}

static void store_free(struct wal_store *store)
{
	for (size_t i = 0; store->buckets && i < store->bucket_count; i++) {
		while (store->buckets[i]) {
			struct stream_slot *slot = store->buckets[i];

			store->buckets[i] = slot->next;
			stream_free(slot->stream);
			free(slot);
		}
	}
	segcache_free(store->engine.segcache);
	blockcache_free(store->engine.blockcache);
	if (store->root.env)
		root_close(&store->root);
	pthread_mutex_destroy(&store->lock);
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
	pthread_mutex_init(&store->lock, NULL);
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
		result = load_streams(store, &detail);
	if (result == 0)
		result = set_up_shards(store, store->root.fresh, &detail);
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

int wal_store_close(struct wal_store *store)
{
	int first_error = 0;

	if (!store)
		return 0;
	/* Ends what was submitted and not yet called back. */
	workers_free(store->engine.workers);
	store->engine.workers = NULL;
	for (size_t i = 0; i < store->bucket_count; i++) {
		for (struct stream_slot *slot = store->buckets[i]; slot; slot = slot->next) {
			int result = stream_finish(slot->stream);

			if (result < 0 && first_error == 0)
				first_error = result;
		}
	}
	store_free(store);
	return first_error;
}

/* ---- The whole ---- */

/* All streams, each with a reference, NULL if out of memory. */
static struct wal_stream **all_streams(struct wal_store *store, size_t *ret_count)
{
	LOCKED_SCOPE(&store->lock);
	struct wal_stream **streams = calloc(store->count + 1, sizeof *streams);
	size_t n = 0;

	for (size_t i = 0; streams && i < store->bucket_count; i++) {
		for (struct stream_slot *slot = store->buckets[i]; slot; slot = slot->next) {
			stream_ref(slot->stream);
			streams[n++] = slot->stream;
		}
	}
	*ret_count = n;
	return streams;
}

int wal_store_sync(struct wal_store *store)
{
	size_t count;
	int first_error = 0;
	CLEANUP_FREE struct wal_stream **streams = all_streams(store, &count);

	if (!streams)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		int result = wal_stream_sync(streams[i]);

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

size_t store_open_segments(struct wal_store *store)
{
	return segcache_count(store->engine.segcache);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int wal_store_list(struct wal_store *store, char ***ret_names, size_t *ret_count)
{
	LOCKED_SCOPE(&store->lock);
	size_t bytes = (store->count + 1) * sizeof(char *), n = 0;

	for (size_t i = 0; i < store->bucket_count; i++) {
		for (struct stream_slot *slot = store->buckets[i]; slot; slot = slot->next)
			bytes += strlen(slot->stream->name) + 1;
	}
	char **names = malloc(bytes);
	if (!names)
		return -ENOMEM;
	char *pos = (char *)(names + store->count + 1);
	for (size_t i = 0; i < store->bucket_count; i++) {
		for (struct stream_slot *slot = store->buckets[i]; slot; slot = slot->next) {
			names[n++] = pos;
			pos = stpcpy(pos, slot->stream->name) + 1;
		}
	}
	qsort(names, n, sizeof *names, compare_names);
	names[n] = NULL;
	*ret_names = names;
	*ret_count = n;
	return 0;
}

/* ---- Making and deleting streams ---- */

/* What was set aside at a recovery or repair is someone's data. */
static bool is_set_aside(const char *name)
{
	return strstr(name, ".torn.") || strstr(name, ".damaged.");
}

/* Ends at anything but what a crash may leave of a stream that was being made or deleted. */
static int visit_leftover(void *arg, const char *name, unsigned char type)
{
	uint64_t id;

	(void)arg;
	(void)type;
	return !name_is_ours(name) || name_is_segment(name, &id) || is_set_aside(name) ? WAL_END : 0;
}

static int visit_remove(void *arg, const char *name, unsigned char type)
{
	void **args = arg;
	struct env *env = args[0];
	int *dir_fd = args[1];

	(void)type;
	return env->sys->unlinkat(env->sys, *dir_fd, name, 0);
}

/* The directory of a new stream: made, or one of that name taken over that holds nothing of value. */
static int make_dir(struct wal_store *store, const char *name)
{
	struct env *env = &store->engine.env;
	int result = env->sys->mkdirat(env->sys, env->root_fd, name, 0700), fd;
	void *args[] = { env, &fd };

	if (result != -EEXIST)
		return result;
	fd = segment_open_dir(env, name);
	if (fd < 0)
		return fd == -ENOTDIR || fd == -ELOOP ? -EEXIST : fd;
	result = sys_list(env->sys, fd, visit_leftover, NULL);
	if (result == 0)
		result = sys_list(env->sys, fd, visit_remove, args);
	sys_close(env->sys, &fd);
	return result == WAL_END ? -EEXIST : result;
}

static int visit_delete(void *arg, const char *name, unsigned char type)
{
	void **args = arg;
	struct env *env = args[0];
	int *dir_fd = args[1];

	(void)type;
	if (strcmp(name, NAME_SEGMENTS_IDX) == 0)
		return 0; /* last: it keeps the next id */
	return env->sys->unlinkat(env->sys, *dir_fd, name, 0);
}

static int delete_files(struct wal_store *store, const char *name)
{
	struct env *env = &store->engine.env;
	int dir_fd = segment_open_dir(env, name);
	void *args[] = { env, &dir_fd };

	if (dir_fd < 0)
		return dir_fd;
	int result = sys_list(env->sys, dir_fd, visit_delete, args);
	if (result == 0)
		result = env->sys->fsync(env->sys, dir_fd);
	if (result == 0)
		result = env->sys->unlinkat(env->sys, dir_fd, NAME_SEGMENTS_IDX, 0);
	if (result == -ENOENT)
		result = 0;
	sys_close(env->sys, &dir_fd);
	if (result == 0)
		result = env->sys->unlinkat(env->sys, env->root_fd, name, AT_REMOVEDIR);
	return result < 0 ? result : env->sys->fsync(env->sys, env->root_fd);
}

/* Caller holds store->change_lock. */
static int create_stream(struct wal_store *store, const char *name, struct wal_stream **ret_stream, struct wal_error *err)
{
	struct env *env = &store->engine.env;
	int result = make_dir(store, name);

	if (result == -EEXIST)
		return error_set(err, result, name, "stream '%s': a file or directory that is no stream has this name in the store", name);
	if (result < 0)
		return error_set(err, result, name, "stream '%s': cannot make its directory: %s", name, wal_strerror(result));
	struct wal_stream *st = stream_new(&store->engine, name);
	result = st ? stream_create(st) : -ENOMEM;
	if (result == 0)
		result = env->sys->fsync(env->sys, env->root_fd);
	if (result == 0)
		result = add_stream(store, st);
	if (result < 0) {
		/* Half a stream would keep its name from being used. */
		if (st) {
			segcache_forget(store->engine.segcache, st->key, 0);
			stream_unref(st);
		}
		delete_files(store, name);
		return error_set(err, result, name, "stream '%s': cannot make its files: %s", name, wal_strerror(result));
	}
	stream_ref(st);
	*ret_stream = st;
	return 0;
}

int wal_stream_open(struct wal_store *store, const char *name, unsigned flags, struct wal_stream **ret_stream, struct wal_error *err)
{
	int result = wal_stream_name_check(name);

	if (result == -ENAMETOOLONG)
		return error_set(err, result, NULL, "a stream's name has at most %d bytes, not %zu", WAL_STREAM_NAME_MAX, strlen(name));
	if (result < 0)
		return error_set(err, result, name, "'%s' can't be a stream's name: it is empty, begins with '.', holds '/', or is kept for the store",
				 name);
	struct wal_stream *st = get_stream(store, name);
	if (!st && !(flags & WAL_CREATE))
		return error_set(err, -ENOENT, name, "there is no stream '%s'", name);
	if (!st && store->engine.env.opts.ro)
		return error_set(err, -EROFS, name, "stream '%s': the store is open for reading only", name);
	if (!st) {
		LOCKED_SCOPE(&store->change_lock);
		st = get_stream(store, name);
		if (!st)
			return create_stream(store, name, ret_stream, err);
	}
	if (flags & WAL_EXCL) {
		wal_stream_close(st);
		return error_set(err, -EEXIST, name, "stream '%s' exists", name);
	}
	*ret_stream = st;
	return 0;
}

static int visit_foreign(void *arg, const char *name, unsigned char type)
{
	const char **ret_name = arg;

	(void)type;
	if (name_is_ours(name) && !is_set_aside(name))
		return 0;
	*ret_name = strdup(name);
	return WAL_END;
}

/* -ENOTEMPTY if the directory holds anything that deleting the stream must not take along. */
static int check_foreign(struct wal_store *store, const char *name)
{
	struct env *env = &store->engine.env;
	int dir_fd = segment_open_dir(env, name);
	char *foreign = NULL;

	if (dir_fd < 0)
		return dir_fd;
	int result = sys_list(env->sys, dir_fd, visit_foreign, &foreign);
	sys_close(env->sys, &dir_fd);
	if (result == WAL_END) {
		log_write(&env->log, WAL_LOG_WARNING, "stream '%s' is not deleted: its directory holds '%s'", name, foreign ? foreign : "?");
		result = -ENOTEMPTY;
	}
	free(foreign);
	return result;
}

/* Takes the stream out of use if it has no entries. */
static int retire(struct wal_stream *st)
{
	pthread_mutex_lock(&st->lock);
	while (st->writing || st->syncing)
		pthread_cond_wait(&st->turn, &st->lock);
	int result = st->deleted ? -ENOENT : st->next_id != st->segments.ids[0] || st->commits.head ? -ENOTEMPTY : 0;
	/* One that could not be opened, or not wholly, only looks empty. */
	if (result == 0 && st->health != WAL_HEALTHY)
		result = -EIO;
	if (result == 0) {
		st->deleted = true;
		pthread_cond_broadcast(&st->changed);
	}
	pthread_mutex_unlock(&st->lock);
	return result;
}

int wal_stream_delete(struct wal_store *store, const char *name)
{
	if (store->engine.env.opts.ro)
		return -EROFS;
	LOCKED_SCOPE(&store->change_lock);
	struct wal_stream *st = get_stream(store, name);
	if (!st)
		return -ENOENT;
	int result = check_foreign(store, name);
	if (result == 0)
		result = retire(st);
	if (result == 0) {
		segcache_forget(store->engine.segcache, st->key, st->active.first_id);
		result = delete_files(store, name);
		if (result < 0)
			log_write(&store->engine.env.log, WAL_LOG_ERROR, "stream '%s' is not deleted wholly: %s", name, wal_strerror(result));
		remove_stream(store, st);
	}
	wal_stream_close(st);
	return result;
}
