/* SPDX-License-Identifier: Apache-2.0 */
#include "checkpoint_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoint_text.h"
#include "checkpoints.h"

struct checkpoint_file {
	struct handle handle;
	struct checkpoint *checkpoint;
	char *text;
	size_t size;
};

static void file_read(struct handle *handle, fuse_req_t req, size_t size, uint64_t offset)
{
	struct checkpoint_file *file = handle_container(handle, struct checkpoint_file, handle);

	if (offset > file->size)
		offset = file->size;
	if (size > file->size - offset)
		size = file->size - offset;
	fuse_reply_buf(req, file->text + offset, size);
}

static void file_write(struct handle *handle, fuse_req_t req, const char *data, size_t size, uint64_t offset, const struct fuse_file_info *fi)
{
	(void)handle, (void)data, (void)size, (void)offset, (void)fi;
	walfs_reply_err(req, EPERM);
}

static void file_free(struct handle *handle)
{
	struct checkpoint_file *file = handle_container(handle, struct checkpoint_file, handle);

	checkpoint_unref(handle->fs, file->checkpoint);
	free(file->text);
	free(file);
}

static const struct handle_ops file_ops = {
	.kind = HANDLE_CHECKPOINT,
	.read = file_read,
	.write = file_write,
	.free = file_free,
};

static int file_new(struct walfs *fs, uint64_t index, struct checkpoint_file **ret_file)
{
	struct checkpoint *checkpoint = checkpoint_ref(fs, index);
	struct wal_checkpoint *record = NULL;
	struct checkpoint_file *file = NULL;
	char *text = NULL;
	size_t size;
	int r;

	if (!checkpoint)
		return WAL_NOT_FOUND;
	r = wal_checkpoint_load(fs->store, checkpoint->id, checkpoint->id_size, &record);
	if (r == 0) {
		file = calloc(1, sizeof(*file));
		text = checkpoint_text(record, &size);
		free(record);
		r = file && text ? 0 : -ENOMEM;
	}
	if (r) {
		free(file);
		free(text);
		checkpoint_unref(fs, checkpoint);
		return r;
	}
	file->checkpoint = checkpoint;
	file->text = text;
	file->size = size;
	handle_init(&file->handle, &file_ops, fs, NULL);
	*ret_file = file;
	return 0;
}

/* Pages are not to be kept: a checkpoint of the same name may say something else the next time. */
static void fill_info(struct checkpoint_file *file, struct fuse_file_info *fi)
{
	fi->fh = (uintptr_t)&file->handle;
	fi->direct_io = 1;
}

void checkpoint_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi)
{
	struct checkpoint_file *file;
	int r;

	r = fi->flags & O_TRUNC ? -EPERM : file_new(fs, node->number, &file);
	if (r) {
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	fill_info(file, fi);
	if (fuse_reply_open(req, fi) < 0)
		handle_unref(&file->handle);
}

/* ---- Making and removing ---- */

struct checkpoint_change {
	struct job job;
	struct walfs *fs;
	fuse_req_t req;
	bool open;
	struct fuse_file_info info;
	char name[];
};

/* The node called `name`, and all that its LOOKUP would say. */
static int look_up(struct walfs *fs, const char *name, struct node *ret_node, struct fuse_entry_param *ret_entry)
{
	int r = checkpoints_lookup(fs, name, ret_node);

	return r ? r : namespace_entry(fs, ret_node, ret_entry);
}

static void make_run(struct job *job)
{
	struct checkpoint_change *change = (struct checkpoint_change *)job;
	struct walfs *fs = change->fs;
	struct fuse_entry_param entry;
	struct checkpoint_file *file = NULL;
	struct node node;
	int r;

	r = checkpoints_create(fs, change->name);
	if (r == -EEXIST && change->open && !(change->info.flags & O_EXCL))
		r = 0;
	if (r == 0)
		r = look_up(fs, change->name, &node, &entry);
	if (r == 0 && change->open)
		r = file_new(fs, node.number, &file);
	if (r) {
		walfs_reply_err(change->req, walfs_errno(r));
	} else if (!change->open) {
		fuse_reply_entry(change->req, &entry);
	} else {
		fill_info(file, &change->info);
		if (fuse_reply_create(change->req, &entry, &change->info) < 0)
			handle_unref(&file->handle);
	}
	free(change);
	walfs_end(fs);
}

static void remove_run(struct job *job)
{
	struct checkpoint_change *change = (struct checkpoint_change *)job;
	struct walfs *fs = change->fs;

	walfs_reply_err(change->req, walfs_errno(checkpoints_remove(fs, change->name)));
	free(change);
	walfs_end(fs);
}

static void submit(struct walfs *fs, const char *name, fuse_req_t req, const struct fuse_file_info *fi, void (*run)(struct job *job))
{
	size_t name_bytes = strlen(name) + 1;
	struct checkpoint_change *change = calloc(1, sizeof(*change) + name_bytes);

	if (!change) {
		walfs_reply_err(req, ENOMEM);
		return;
	}
	change->job.run = run;
	change->fs = fs;
	change->req = req;
	if (fi) {
		change->open = true;
		change->info = *fi;
	}
	memcpy(change->name, name, name_bytes);
	walfs_begin(fs);
	pool_submit(&fs->pool, &change->job);
}

void checkpoint_create(struct walfs *fs, const char *name, fuse_req_t req, const struct fuse_file_info *fi)
{
	submit(fs, name, req, fi, make_run);
}

void checkpoint_make(struct walfs *fs, const char *name, fuse_req_t req)
{
	submit(fs, name, req, NULL, make_run);
}

void checkpoint_remove(struct walfs *fs, const char *name, fuse_req_t req)
{
	submit(fs, name, req, NULL, remove_run);
}
