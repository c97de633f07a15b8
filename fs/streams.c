/* SPDX-License-Identifier: Apache-2.0 */
#include "streams.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "namespace.h"

struct stream_change {
	struct job job;
	struct walfs *fs;
	fuse_req_t req;
	char name[];
};

static void mkdir_run(struct job *job)
{
	struct stream_change *change = (struct stream_change *)job;
	struct walfs *fs = change->fs;
	struct fuse_entry_param entry;
	struct node node;
	int r;

	r = namespace_create(fs, change->name, &node);
	if (r == 0)
		r = namespace_entry(fs, &node, &entry);
	entry.entry_timeout = NAMESPACE_TIMEOUT_LONG;
	if (r)
		walfs_reply_err(change->req, walfs_errno(r));
	else
		fuse_reply_entry(change->req, &entry);
	free(change);
	walfs_end(fs);
}

static void rmdir_run(struct job *job)
{
	struct stream_change *change = (struct stream_change *)job;
	struct walfs *fs = change->fs;

	walfs_reply_err(change->req, walfs_errno(namespace_delete(fs, change->name)));
	free(change);
	walfs_end(fs);
}

static void submit(struct walfs *fs, const char *name, fuse_req_t req, void (*run)(struct job *job))
{
	size_t name_bytes = strlen(name) + 1;
	struct stream_change *change = malloc(sizeof(*change) + name_bytes);

	if (!change) {
		walfs_reply_err(req, ENOMEM);
		return;
	}
	*change = (struct stream_change){ .job = { .run = run }, .fs = fs, .req = req };
	memcpy(change->name, name, name_bytes);
	walfs_begin(fs);
	pool_submit(&fs->pool, &change->job);
}

void streams_make(struct walfs *fs, const char *name, fuse_req_t req)
{
	submit(fs, name, req, mkdir_run);
}

void streams_remove(struct walfs *fs, const char *name, fuse_req_t req)
{
	submit(fs, name, req, rmdir_run);
}
