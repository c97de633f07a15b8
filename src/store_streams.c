/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of a store's streams: finding, listing, making and deleting them.
 *
 * The crash order of making a stream: directory, segment file (fsync), segments.idx (fsync, rename, fsync of the directory), fsync of the root. A crash may leave an empty
 * directory, which is taken over when the stream is made again. Of deleting one: the checkpoints forget it, then head.state, segments.idx and sidecar, fsync of the directory, then
 * the segment, the directory, fsync of the root; what a crash leaves is a stream without entries that goes on with its next id, or an empty directory.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "names.h"
#include "options.h"
#include "store_impl.h"

enum { DELETE_TRIES_MAX = 3 };

/* ---- The table ---- */

static size_t hash_name(const char *name)
{
	uint64_t h = 0xcbf29ce484222325u;

	for (const char *p = name; *p; p++)
		h = (h ^ (uint8_t)*p) * 0x100000001b3u;
	return (size_t)(h ^ h >> 32);
}

/* Caller holds store->lock. */
static struct wal_stream **find_link(struct wal_store *store, const char *name)
{
	struct wal_stream **link = &store->buckets[hash_name(name) & (store->bucket_count - 1)];

	while (*link && strcmp((*link)->name, name) != 0)
		link = &(*link)->next_in_bucket;
	return link;
}

static void grow_table(struct wal_store *store)
{
	size_t count = store->bucket_count * 2;
	struct wal_stream **buckets = calloc(count, sizeof *buckets);

	if (!buckets)
		return; /* it works with longer chains too */
	for (size_t i = 0; i < store->bucket_count; i++) {
		for (struct wal_stream *st = store->buckets[i], *next; st; st = next) {
			struct wal_stream **bucket = &buckets[hash_name(st->name) & (count - 1)];

			next = st->next_in_bucket;
			st->next_in_bucket = *bucket;
			*bucket = st;
		}
	}
	free(store->buckets);
	store->buckets = buckets;
	store->bucket_count = count;
}

/* The stream's reference goes to the table. */
void store_add_stream(struct wal_store *store, struct wal_stream *st)
{
	LOCKED_SCOPE(&store->lock);
	if (store->count >= store->bucket_count)
		grow_table(store);
	st->store = store;
	*find_link(store, st->name) = st;
	store->count++;
}

/* With a reference for the caller, or NULL. */
struct wal_stream *store_get_stream(struct wal_store *store, const char *name)
{
	LOCKED_SCOPE(&store->lock);
	struct wal_stream *st = *find_link(store, name);

	if (st)
		stream_ref(st);
	return st;
}

static void remove_stream(struct wal_store *store, struct wal_stream *st)
{
	pthread_mutex_lock(&store->lock);
	*find_link(store, st->name) = st->next_in_bucket;
	store->count--;
	pthread_mutex_unlock(&store->lock);
	stream_unref(st);
}

/* All streams, each with a reference, NULL if out of memory. */
struct wal_stream **store_all_streams(struct wal_store *store, size_t *ret_count)
{
	LOCKED_SCOPE(&store->lock);
	struct wal_stream **streams = calloc(store->count + 1, sizeof *streams);
	size_t n = 0;

	for (size_t i = 0; streams && i < store->bucket_count; i++) {
		for (struct wal_stream *st = store->buckets[i]; st; st = st->next_in_bucket) {
			stream_ref(st);
			streams[n++] = st;
		}
	}
	*ret_count = n;
	return streams;
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
		for (struct wal_stream *st = store->buckets[i]; st; st = st->next_in_bucket)
			bytes += strlen(st->name) + 1;
	}
	char **names = malloc(bytes);
	if (!names)
		return -ENOMEM;
	char *pos = (char *)(names + store->count + 1);
	for (size_t i = 0; i < store->bucket_count; i++) {
		for (struct wal_stream *st = store->buckets[i]; st; st = st->next_in_bucket) {
			names[n++] = pos;
			pos = stpcpy(pos, st->name) + 1;
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

struct deletion {
	struct sys *sys;
	int dir_fd;
	char last[NAME_SEGMENT_MAX];
};

static int visit_delete(void *arg, const char *name, unsigned char type)
{
	struct deletion *d = arg;

	(void)type;
	return strcmp(name, d->last) == 0 ? 0 : d->sys->unlinkat(d->sys, d->dir_fd, name, 0);
}

/* The active segment goes last: its name keeps the next id. */
static int delete_files(struct wal_store *store, const char *name, uint64_t active_id)
{
	struct env *env = &store->engine.env;
	struct deletion d = { .sys = env->sys, .dir_fd = segment_open_dir(env, name) };

	if (d.dir_fd < 0)
		return d.dir_fd;
	name_segment(d.last, active_id);
	int result = sys_list(d.sys, d.dir_fd, visit_delete, &d);
	if (result == 0)
		result = d.sys->fsync(d.sys, d.dir_fd);
	if (result == 0)
		result = d.sys->unlinkat(d.sys, d.dir_fd, d.last, 0);
	if (result == -ENOENT)
		result = 0;
	sys_close(d.sys, &d.dir_fd);
	if (result == 0)
		result = env->sys->unlinkat(env->sys, env->root_fd, name, AT_REMOVEDIR);
	return result < 0 ? result : env->sys->fsync(env->sys, env->root_fd);
}

int store_create_stream(struct wal_store *store, const char *name, struct wal_stream **ret_stream, struct wal_error *err)
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
	if (result < 0) {
		/* Half a stream would keep its name from being used. */
		if (st) {
			segcache_forget(store->engine.segcache, st->key, 0);
			stream_unref(st);
		}
		delete_files(store, name, 0);
		return error_set(err, result, name, "stream '%s': cannot make its files: %s", name, wal_strerror(result));
	}
	store_add_stream(store, st);
	stream_ref(st);
	*ret_stream = st;
	return 0;
}

int wal_stream_open(struct wal_store *store, const char *name, unsigned flags, struct wal_stream **ret_stream, struct wal_error *err)
{
	int result = wal_stream_name_check(name);
	uint32_t shard;

	if (result == -ENAMETOOLONG)
		return error_set(err, result, NULL, "a stream's name has at most %d bytes, not %zu", WAL_STREAM_NAME_MAX, strlen(name));
	if (result < 0)
		return error_set(err, result, name, "'%s' can't be a stream's name: it is empty, begins with '.', holds '/', or is kept for the store",
				 name);
	struct wal_stream *st = store_get_stream(store, name);
	if (!st && !(flags & WAL_CREATE))
		return error_set(err, -ENOENT, name, "there is no stream '%s'", name);
	if (!st && store->engine.env.opts.ro)
		return error_set(err, -EROFS, name, "stream '%s': the store is open for reading only", name);
	if (!st && store->shards > 0)
		return error_set(err, -EPERM, name, "stream '%s': a store with shards has no other streams", name);
	if (!st && name_is_shard(name, &shard))
		return error_set(err, -EPERM, name, "stream '%s': this name is kept for stores made with shards", name);
	if (!st) {
		LOCKED_SCOPE(&store->change_lock);
		st = store_get_stream(store, name);
		if (!st)
			return store_create_stream(store, name, ret_stream, err);
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

/* Waits until nobody writes or syncs, and takes `writing` if it has no entries, so that it gets none. WAL_TIMEOUT if it is being pruned, which may take long. */
static int hold_empty(struct wal_stream *st)
{
	LOCKED_SCOPE(&st->lock);
	int result = 0;

	do {
		if (st->deleted)
			result = -ENOENT;
		else if (st->next_id != st->segments.ids[0] || st->commits.head)
			result = -ENOTEMPTY;
		/* One that could not be opened, or not wholly, only looks empty. */
		else if (st->health != WAL_HEALTHY)
			result = -EIO;
		else if (st->pruning)
			result = WAL_TIMEOUT;
		else if (!st->writing && !st->syncing)
			break;
		else
			pthread_cond_wait(&st->turn, &st->lock);
	} while (result == 0);
	if (result == 0)
		st->writing = true;
	return result;
}

/* Appends that came meanwhile fail if it is `deleted`, or go on; call_back() is to follow. */
static void let_go(struct wal_stream *st, bool deleted)
{
	LOCKED_SCOPE(&st->lock);
	if (deleted) {
		st->deleted = true;
		pthread_cond_broadcast(&st->changed);
		stream_end_watches(st, -ENOENT);
	}
	stream_give_writing(st);
}

/* Once no lock of the store's is held. */
static void call_back(struct wal_stream *st)
{
	LOCKED_SCOPE(&st->lock);
	stream_call_back(st);
}

/* Caller holds store->change_lock. */
static int delete_stream(struct wal_store *store, struct wal_stream *st)
{
	int result = hold_empty(st);

	if (result != 0)
		return result;
	result = check_foreign(store, st->name);
	if (result == 0)
		result = ckptlog_forget_stream(store->checkpoints, st->name);
	let_go(st, result == 0);
	if (result < 0)
		return result;
	/* A sync that has just ended may have made the sidecar again. */
	for (unsigned tries = 0; tries == 0 || (result == -ENOTEMPTY && tries < DELETE_TRIES_MAX); tries++)
		result = delete_files(store, st->name, st->active.first_id);
	/* Now nobody can open it any more. */
	segcache_forget(store->engine.segcache, st->key, st->active.first_id);
	if (result < 0)
		log_write(&store->engine.env.log, WAL_LOG_ERROR, "stream '%s' is not deleted wholly: %s", st->name, wal_strerror(result));
	remove_stream(store, st);
	return result;
}

static int delete_named(struct wal_store *store, const char *name, struct wal_stream **ret_stream)
{
	LOCKED_SCOPE(&store->change_lock);
	struct wal_stream *st = *ret_stream = store_get_stream(store, name);

	return !st ? -ENOENT : store->shards > 0 ? -EPERM : delete_stream(store, st);
}

/* With no lock of the store's held: others make streams and checkpoints meanwhile. */
static void wait_for_prune(struct wal_stream *st)
{
	LOCKED_SCOPE(&st->lock);
	while (st->pruning)
		pthread_cond_wait(&st->turn, &st->lock);
}

int wal_stream_delete(struct wal_store *store, const char *name)
{
	struct wal_stream *st;
	int result;

	if (store->engine.env.opts.ro)
		return -EROFS;
	for (;;) {
		result = delete_named(store, name, &st);
		if (result != WAL_TIMEOUT)
			break;
		wait_for_prune(st);
		wal_stream_close(st);
	}
	if (st)
		call_back(st);
	wal_stream_close(st);
	return result;
}
