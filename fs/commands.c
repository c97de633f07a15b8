/* SPDX-License-Identifier: Apache-2.0 */
#include "commands.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "checkpoints.h"
#include "control.h"
#include "expire.h"

/* Of a command, in the log: the line has to hold the reason too. */
enum { SHOWN_BYTES_MAX = 64 };

static void answer(void *arg, int result)
{
	control_answer(arg, result);
}

static void complain(struct control_write *write, const char *command, int result, const char *why)
{
	struct handle *handle = write->handle;
	bool cut = write->size > SHOWN_BYTES_MAX || strlen(write->text) < write->size;

	report_line(handle->fs->report, WAL_LOG_ERROR, "%s%s%s: '%.*s%s' to '%s': %s", handle->slot ? "stream '" : "checkpoints",
		    handle->slot ? handle->slot->name : "", handle->slot ? "'" : "", SHOWN_BYTES_MAX, write->text, cut ? "..." : "", command,
		    why ? why : wal_strerror(result));
}

/* ---- Streams ---- */

static void rotate_run(struct control_write *write)
{
	int r = wal_stream_rotate(write->handle->slot->stream);

	if (r)
		complain(write, ".rotate", r, NULL);
	control_answer(write, r);
}

/* "next", or digits. More than the stream has ids is a slip that would cost all of them. NULL, or what is wrong. */
static const char *parse_prune_id(struct control_write *write, uint64_t *ret_id)
{
	uint64_t next;

	wal_stream_bounds(write->handle->slot->stream, NULL, &next, NULL);
	if (write->size != strlen(write->text))
		return "not an id, nor 'next'";
	if (!strcmp(write->text, "next"))
		*ret_id = next;
	else if (!entry_parse_id(write->text, ret_id))
		return "not an id, nor 'next'";
	return *ret_id > next ? "beyond the next id" : NULL;
}

static void stream_prune_run(struct control_write *write)
{
	struct slot *slot = write->handle->slot;
	struct expire_job *job;
	const char *fault;
	uint64_t id;
	int r;

	if (!write->size) {
		control_answer(write, 0);
		return;
	}
	fault = parse_prune_id(write, &id);
	if (fault) {
		complain(write, ".prune", -EINVAL, fault);
		control_answer(write, -EINVAL);
		return;
	}
	job = expire_job_new(1);
	if (!job) {
		control_answer(write, -ENOMEM);
		return;
	}
	job->ranges[0].slot = slot->index;
	wal_stream_bounds(slot->stream, &job->ranges[0].from, NULL, NULL);
	r = wal_stream_prune(slot->stream, id, NULL);
	if (r)
		complain(write, ".prune", r, NULL);
	wal_stream_bounds(slot->stream, &job->ranges[0].to, NULL, NULL);
	expire_submit(write->handle->fs, job, answer, write, r);
}

/* ---- Checkpoints ---- */

/* Where each stream of the checkpoint begins: to `from` or to `to`. Streams that are not there any more have no names left. */
static void note_bounds(struct walfs *fs, const struct wal_checkpoint *checkpoint, struct expire_job *job, bool before)
{
	for (size_t i = 0; i < checkpoint->cut_count; i++) {
		struct expire_range *range = &job->ranges[i];
		struct slot *slot;
		struct node node;

		if (before) {
			range->from = UINT64_MAX;
			if (namespace_find(fs, checkpoint->cuts[i].stream, &node))
				continue;
			range->slot = node.slot;
		}
		if (slot_get(fs, range->slot, &slot))
			continue;
		wal_stream_bounds(slot->stream, before ? &range->from : &range->to, NULL, NULL);
		slot_put(fs, slot);
	}
}

static void prune_before(struct control_write *write, const struct wal_checkpoint *checkpoint)
{
	struct walfs *fs = write->handle->fs;
	struct expire_job *job = expire_job_new(checkpoint->cut_count);
	struct wal_error err = { 0 };
	int r;

	if (!job) {
		control_answer(write, -ENOMEM);
		return;
	}
	note_bounds(fs, checkpoint, job, true);
	r = wal_checkpoint_prune_before(fs->store, checkpoint->id, checkpoint->id_size, NULL, &err);
	if (r)
		complain(write, ".prune", r, r < 0 && *err.message ? err.message : "no such checkpoint");
	note_bounds(fs, checkpoint, job, false);
	expire_submit(fs, job, answer, write, r);
}

static void checkpoints_prune_run(struct control_write *write)
{
	struct walfs *fs = write->handle->fs;
	struct wal_checkpoint *checkpoint;
	struct checkpoint_id id;
	int r;

	if (!write->size) {
		control_answer(write, 0);
		return;
	}
	r = strlen(write->text) == write->size ? checkpoints_resolve(fs, write->text, &id) : WAL_NOT_FOUND;
	if (r == 0)
		r = wal_checkpoint_load(fs->store, id.bytes, id.size, &checkpoint);
	if (r) {
		complain(write, ".prune", r, r == WAL_NOT_FOUND ? "no such checkpoint" : NULL);
		control_answer(write, r);
		return;
	}
	prune_before(write, checkpoint);
	free(checkpoint);
}

static void checkpoints_compact_run(struct control_write *write)
{
	uint64_t keep;
	int r;

	if (!write->size) {
		control_answer(write, 0);
		return;
	}
	r = strlen(write->text) == write->size && entry_parse_id(write->text, &keep) && keep ? 0 : -EINVAL;
	if (r == 0) {
		r = checkpoints_compact(write->handle->fs, keep < SIZE_MAX ? (size_t)keep : SIZE_MAX);
		if (r)
			complain(write, ".compact", r, NULL);
	} else {
		complain(write, ".compact", r, "not a number of checkpoints to keep, from 1 on");
	}
	control_answer(write, r);
}

void command_open(struct walfs *fs, const struct node *node, fuse_req_t req, struct fuse_file_info *fi)
{
	switch (node->kind) {
	case NODE_PRUNE:
		control_open(fs, node, stream_prune_run, req, fi);
		break;
	case NODE_ROTATE:
		control_open(fs, node, rotate_run, req, fi);
		break;
	case NODE_CHECKPOINTS_PRUNE:
		control_open(fs, node, checkpoints_prune_run, req, fi);
		break;
	default:
		control_open(fs, node, checkpoints_compact_run, req, fi);
	}
}
