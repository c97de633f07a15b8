/* SPDX-License-Identifier: Apache-2.0 */
#include "control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

struct control {
	struct handle handle;
	void (*run)(struct control_write *write);
};

static void control_job(struct job *job)
{
	struct control_write *write = (struct control_write *)job;

	write->run(write);
}

static bool is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static void control_write(struct handle *handle, fuse_req_t req, const char *data, size_t size, uint64_t offset, const struct fuse_file_info *fi)
{
	struct control *control = handle_container(handle, struct control, handle);
	struct control_write *write;
	size_t bytes = size;

	(void)offset, (void)fi;
	while (size && is_blank(data[size - 1]))
		size--;
	while (size && is_blank(*data))
		data++, size--;
	write = malloc(sizeof(*write) + size + 1);
	if (!write) {
		walfs_reply_err(req, ENOMEM);
		return;
	}
	*write = (struct control_write){ .job = { .run = control_job }, .handle = handle, .run = control->run, .req = req, .bytes = bytes, .size = size };
	memcpy(write->text, data, size);
	write->text[size] = '\0';
	walfs_begin(handle->fs);
	handle_ref(handle);
	pool_submit(&handle->fs->pool, &write->job);
}

void control_answer(struct control_write *write, int result)
{
	struct walfs *fs = write->handle->fs;

	if (result)
		walfs_reply_err(write->req, walfs_errno_open(result));
	else
		fuse_reply_write(write->req, write->bytes);
	handle_unref(write->handle);
	free(write);
	walfs_end(fs);
}

static void control_free(struct handle *handle)
{
	free(handle_container(handle, struct control, handle));
}

static const struct handle_ops control_ops = {
	.kind = HANDLE_CONTROL,
	.write = control_write,
	.free = control_free,
};

void control_open(struct walfs *fs, const struct node *node, void (*run)(struct control_write *write), fuse_req_t req, struct fuse_file_info *fi)
{
	struct slot *slot = NULL;
	struct control *control;
	int r = 0;

	if ((fi->flags & O_ACCMODE) != O_WRONLY)
		r = -EACCES;
	else if (node_has_slot(node))
		r = slot_get(fs, node->slot, &slot);
	if (r) {
		walfs_reply_err(req, walfs_errno(r));
		return;
	}
	control = calloc(1, sizeof(*control));
	if (!control) {
		if (slot)
			slot_put(fs, slot);
		walfs_reply_err(req, ENOMEM);
		return;
	}
	control->run = run;
	handle_init(&control->handle, &control_ops, fs, slot);
	fi->fh = (uintptr_t)&control->handle;
	fi->direct_io = 1;
	if (fuse_reply_open(req, fi) < 0)
		handle_unref(&control->handle);
}

void control_stat(struct stat *st)
{
	st->st_mode = S_IFREG | 0222;
	namespace_set_times(st, NAMESPACE_TIME_NS);
}
