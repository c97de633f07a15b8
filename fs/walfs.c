/* SPDX-License-Identifier: Apache-2.0 */
#include "walfs.h"

#include <errno.h>

#include "checkpoints.h"
#include "cut.h"
#include "handle.h"
#include "namespace.h"

void walfs_init(struct walfs *fs, const struct mount_opts *opts, struct report *report)
{
	*fs = (struct walfs){ .opts = opts, .report = report };
	pthread_mutex_init(&fs->lock, NULL);
	pthread_cond_init(&fs->idle, NULL);
}

int walfs_open(struct walfs *fs, const char *store_path, struct wal_error *err)
{
	struct wal_options options = fs->opts->wal;
	int r;

	options.log = report_wal;
	options.log_arg = fs->report;
	/* Who unmounts and mounts again at once meets the one before still closing. */
	options.lock_wait_ms = 2000;
	r = wal_store_open(store_path, &options, &fs->store, err);
	if (r < 0)
		return r;
	r = namespace_new(fs, store_path, &fs->names);
	if (r == 0 && (r = cuts_new(&fs->cuts)) < 0)
		namespace_free(fs->names);
	if (r < 0) {
		snprintf(err->message, sizeof(err->message), "store '%s' cannot be listed: %s", store_path, wal_strerror(r));
		wal_store_close(fs->store);
		return r;
	}
	r = checkpoints_new(fs, &fs->checkpoints);
	if (r < 0) {
		snprintf(err->message, sizeof(err->message), "checkpoints of store '%s' cannot be read: %s", store_path, wal_strerror(r));
		cuts_free(fs);
		namespace_free(fs->names);
		wal_store_close(fs->store);
		return r;
	}
	fs->ro = wal_store_options(fs->store)->ro;
	fs->generation = (uint32_t)(namespace_now_ns() >> 20); /* about milliseconds: 32 bits are all that the kernel compares */
	pool_init(&fs->pool, fs->opts->single_thread ? 0 : POOL_THREADS_MAX);
	expire_init(&fs->expire);
	loop_init(&fs->loop, fs->opts->single_thread);
	return 0;
}

void walfs_begin(struct walfs *fs)
{
	pthread_mutex_lock(&fs->lock);
	fs->in_flight++;
	pthread_mutex_unlock(&fs->lock);
}

void walfs_end(struct walfs *fs)
{
	pthread_mutex_lock(&fs->lock);
	if (!--fs->in_flight)
		pthread_cond_broadcast(&fs->idle);
	pthread_mutex_unlock(&fs->lock);
}

void walfs_drain(struct walfs *fs)
{
	pthread_mutex_lock(&fs->lock);
	while (fs->in_flight)
		pthread_cond_wait(&fs->idle, &fs->lock);
	pthread_mutex_unlock(&fs->lock);
}

int walfs_close(struct walfs *fs)
{
	int r;

	loop_release(&fs->loop);
	pool_release(&fs->pool);
	expire_release(&fs->expire);
	handle_free_all(fs);
	cuts_free(fs);
	checkpoints_free(fs->checkpoints);
	namespace_free(fs->names);
	r = wal_store_close(fs->store);
	pthread_cond_destroy(&fs->idle);
	pthread_mutex_destroy(&fs->lock);
	return r;
}

int walfs_errno(int result)
{
	switch (result) {
	case 0:
		return 0;
	case WAL_NOT_FOUND:
	case WAL_PRUNED:
		return ENOENT;
	case -EBADMSG:
		return EIO;
	default:
		return result < 0 ? -result : EIO;
	}
}

int walfs_errno_open(int result)
{
	return result == -ENOENT ? ESTALE : walfs_errno(result);
}

int walfs_reply_err(fuse_req_t req, int error)
{
	if (error)
		requests_count_error(&walfs_from(req)->requests, error);
	return fuse_reply_err(req, error);
}

struct timespec walfs_timespec(int64_t ns)
{
	const int64_t second = 1000000000;
	int64_t rest = ns % second;

	if (rest < 0)
		rest += second;
	return (struct timespec){ .tv_sec = (ns - rest) / second, .tv_nsec = rest };
}
