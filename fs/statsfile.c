/* SPDX-License-Identifier: Apache-2.0 */
#include "statsfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "metrics.h"
#include "spool.h"

struct statsfile {
	struct handle handle;
	struct statsfile *next; /* that waits for its turn */
	struct job job;
	fuse_req_t req; /* of the open */
	struct fuse_file_info fi;
	struct spool spool;
};

static void statsfile_read(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset)
{
	struct statsfile *file = handle_container(handle, struct statsfile, handle);
	char *data = malloc(size + 1);
	size_t got;
	int r;

	r = data ? spool_read(&file->spool, data, size, offset, &got) : -ENOMEM;
	if (r < 0)
		walfs_reply_err(req, walfs_errno(r));
	else
		fuse_reply_buf(req, data, got);
	free(data);
}

static void statsfile_free(struct handle *handle)
{
	struct statsfile *file = handle_container(handle, struct statsfile, handle);

	spool_release(&file->spool);
	free(file);
}

static const struct handle_ops statsfile_ops = {
	.kind = HANDLE_STATS,
	.read = statsfile_read,
	.free = statsfile_free,
};

static int render(struct statsfile *file)
{
	FILE *out = spool_open(&file->spool);
	int r;

	if (!out)
		return -ENOMEM;
	r = metrics_render(file->handle.fs, file->handle.slot, out);
	fclose(out);
	return r ? r : file->spool.error;
}

/*
 * Of a store with very many streams the figures take seconds. Whoever asks for them is not to keep all threads of the pool busy: one at a time. Figures of one stream do not
 * wait.
 */
static void submit(struct statsfile *file)
{
	struct walfs *fs = file->handle.fs;
	bool wait = false;

	if (!file->handle.slot) {
		pthread_mutex_lock(&fs->lock);
		wait = fs->stats_busy;
		fs->stats_busy = true;
		if (wait && fs->stats_first)
			fs->stats_last->next = file;
		else if (wait)
			fs->stats_first = file;
		if (wait)
			fs->stats_last = file;
		pthread_mutex_unlock(&fs->lock);
	}
	if (!wait)
		pool_submit(&fs->pool, &file->job);
}

static void submit_next(struct walfs *fs)
{
	struct statsfile *next;

	pthread_mutex_lock(&fs->lock);
	next = fs->stats_first;
	if (next)
		fs->stats_first = next->next;
	else
		fs->stats_busy = false;
	pthread_mutex_unlock(&fs->lock);
	if (next)
		pool_submit(&fs->pool, &next->job);
}

static void open_job(struct job *job)
{
	struct statsfile *file = handle_container(job, struct statsfile, job);
	struct walfs *fs = file->handle.fs;
	bool is_store = !file->handle.slot;
	int r = render(file);

	if (is_store)
		submit_next(fs);
	if (r < 0)
		walfs_reply_err(file->req, walfs_errno(r));
	/* From the answer on it may be read and released. */
	if (r < 0 || fuse_reply_open(file->req, &file->fi) < 0)
		handle_unref(&file->handle);
	walfs_end(fs);
}

void statsfile_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi)
{
	struct statsfile *file = NULL;
	struct slot *slot = NULL;
	int r = 0;

	if ((fi->flags & O_ACCMODE) != O_RDONLY || fi->flags & O_TRUNC)
		r = -EACCES;
	else if (node_has_slot(node))
		r = slot_get(fs, node->slot, &slot);
	if (r == 0 && !(file = calloc(1, sizeof(*file)))) {
		if (slot)
			slot_put(fs, slot);
		r = -ENOMEM;
	}
	if (r) {
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	handle_init(&file->handle, &statsfile_ops, fs, slot);
	file->job.run = open_job;
	file->req = req;
	file->fi = *fi;
	file->fi.fh = (uintptr_t)&file->handle;
	file->fi.direct_io = 1;
	file->fi.noflush = 1;
	walfs_begin(fs);
	submit(file);
}

void statsfile_stat(struct stat *st)
{
	st->st_mode = S_IFREG | 0444;
	namespace_set_times(st, namespace_now_ns());
}
