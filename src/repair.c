/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The crash order, for one segment:
 *	1	each damaged extent is copied to "<segment>.damaged.<n>", a torn end to "<segment>.torn.<n>" (fsync, then fsync of the directory)
 *	2	if the ids at the very end were lost, an empty segment keeps the next id (fsync of the directory)
 *	3	each run of good frames but the one at the file's beginning, the last run first, is copied to "<its first id>.wal.tmp" (fsync) with a sidecar that
 *		keeps the times, then renamed, the directory fsynced: so the old file always has what lies before the first name that is there already
 *	4	the sidecar of the file's beginning is replaced, the file is cut behind it (fsync). It stays even if nothing good is left in it: it says where the lost
 *		ids begin
 *
 * After a crash in the middle the next repair finds the old file's frames from the first new name on a second time, as bytes that belong to no entry there.
 */
#include "repair.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "damagerec.h"
#include "names.h"
#include "rebuild.h"

enum { TORN_FILES_MAX = 1000000 };

/* Whether the extent is the last of the stream, and costs ids that must not be given out again. */
static bool loses_next_id(const struct exam *x, size_t i)
{
	return i + 1 == x->extent_count && x->end_id == UINT64_MAX && !x->extents[i].good && x->extents[i].ids > 0;
}

bool repair_wanted(const struct exam *x, bool (*known)(void *arg, const struct extent *extent), void *arg)
{
	for (size_t i = 0; i < x->extent_count; i++) {
		if (!x->extents[i].good && (!known(arg, &x->extents[i]) || loses_next_id(x, i)))
			return true;
	}
	return false;
}

struct repair {
	const struct exam *x;
	struct sys *sys;
	int fd; /* the segment */
};

static int copy_range(struct repair *rp, int to, uint64_t to_offset, uint64_t offset, uint64_t bytes)
{
	size_t piece = (size_t)rp->x->env->opts.read_buffer;
	CLEANUP_FREE uint8_t *buffer = malloc(piece);

	if (!buffer)
		return -ENOMEM;
	while (bytes > 0) {
		size_t n = bytes < piece ? (size_t)bytes : piece;
		ssize_t got = sys_pread_full(rp->sys, rp->fd, buffer, n, offset);

		if (got <= 0)
			return got < 0 ? (int)got : -EIO;
		int result = sys_pwrite_full(rp->sys, to, buffer, (size_t)got, to_offset);
		if (result < 0)
			return result;
		offset += (uint64_t)got;
		to_offset += (uint64_t)got;
		bytes -= (uint64_t)got;
	}
	return 0;
}

/* Step 1, for one extent. */
static int set_aside(struct repair *rp, const struct extent *extent)
{
	const struct exam *x = rp->x;
	const struct damage_record record = {
		.segment = x->first_id, .offset = extent->offset, .bytes = extent->bytes, .first_id = extent->first_id, .ids = extent->ids
	};
	char name[NAME_SEGMENT_MAX];
	uint64_t size;
	int fd = damage_record_create(x->env, x->dir_fd, &record, name, &size);

	if (fd < 0)
		return fd;
	int result = copy_range(rp, fd, size, extent->offset, extent->bytes);
	if (result == 0)
		result = rp->sys->fsync(rp->sys, fd);
	sys_close(rp->sys, &fd);
	/* A part of what it tells of must not be taken for the whole. */
	if (result < 0)
		rp->sys->unlinkat(rp->sys, x->dir_fd, name, 0);
	return result;
}

/* Step 1, for a torn end. */
static int set_torn_aside(struct repair *rp)
{
	const struct exam *x = rp->x;
	char name[NAME_SEGMENT_MAX];
	int fd = -EEXIST;

	for (unsigned n = 0; fd == -EEXIST && n < TORN_FILES_MAX; n++)
		fd = rp->sys->openat(rp->sys, x->dir_fd, name_torn(name, x->first_id, n), O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return fd;
	int result = copy_range(rp, fd, 0, x->end_offset, x->size - x->end_offset);
	if (result == 0)
		result = rp->sys->fsync(rp->sys, fd);
	sys_close(rp->sys, &fd);
	return result;
}

static void no_damage(void *arg, uint64_t offset, uint64_t bytes, uint64_t first_id, uint64_t ids, enum frame_fault fault,
		      const struct frame_header *h)
{
	int *found = arg;

	(void)offset;
	(void)bytes;
	(void)first_id;
	(void)ids;
	(void)fault;
	(void)h;
	*found = 1;
}

/* A sidecar for the good frames at the beginning of `fd`, which stood `shift` further on in the segment. */
static int write_meta(struct repair *rp, int fd, const struct extent *extent, uint64_t shift)
{
	const struct exam *x = rp->x;
	char name[NAME_SEGMENT_MAX], tmp[NAME_SEGMENT_MAX + sizeof NAME_TMP_SUFFIX];
	int found = 0;
	struct scan scan;
	struct stat sb;
	struct rebuild r = { .scan = &scan, .old = x->meta.map_blocks > 0 ? &x->meta : NULL, .old_shift = shift };

	name_meta(name, extent->first_id);
	strcat(strcpy(tmp, name), NAME_TMP_SUFFIX);
	int result = rp->sys->fstat(rp->sys, rp->fd, &sb);
	if (result == 0)
		result = scan_init(&scan, rp->sys, fd, extent->first_id, extent->bytes, (size_t)x->env->opts.read_buffer);
	if (result < 0)
		return result;
	r.fallback_time = sys_mtime_ns(&sb);
	r.out_fd = sys_open_regular(rp->sys, x->dir_fd, tmp, O_RDWR | O_CREAT | O_TRUNC, 0600);
	result = r.out_fd < 0 ? r.out_fd : 0;
	if (result == 0) {
		rebuild_begin(&r, extent->first_id, NULL, 0);
		result = rebuild_sealed(&r, extent->first_id + extent->ids, no_damage, &found);
		if (result == 0)
			result = rp->sys->fsync(rp->sys, r.out_fd);
		sys_close(rp->sys, &r.out_fd);
	}
	scan_release(&scan);
	if (result == 0 && found)
		result = -EBADMSG;
	if (result == 0)
		result = rp->sys->renameat(rp->sys, x->dir_fd, tmp, name);
	/* What the old one said of durability must not come back once the segment is cut. */
	return result < 0 ? result : rp->sys->fsync(rp->sys, x->dir_fd);
}

/* The frames at the beginning of `fd` have come to another place: their marks must say so. All of it is made durable before it counts, hence unsynced 0. */
static int mark_again(struct repair *rp, int fd, const struct extent *extent)
{
	for (uint64_t at = 0; at < extent->bytes;) {
		uint8_t bytes[FRAME_HEADER_BYTES];
		struct frame_header h;
		ssize_t n = sys_pread_full(rp->sys, fd, bytes, sizeof bytes, at);

		if (n < 0)
			return (int)n;
		if (n < (ssize_t)sizeof bytes || frame_decode_header(bytes, &h) != FRAME_OK)
			return -EBADMSG;
		if (frame_origin(&h, rp->x->first_id, extent->offset + at) != FRAME_PLAIN) {
			h.unsynced = 0;
			frame_set_mark(&h, extent->first_id, at);
			frame_encode_header(bytes, &h);
			int result = sys_pwrite_full(rp->sys, fd, bytes, sizeof bytes, at);
			if (result < 0)
				return result;
		}
		at += FRAME_HEADER_BYTES + (uint64_t)h.disk_size;
	}
	return 0;
}

/* Step 3, for one extent. */
static int move_out(struct repair *rp, const struct extent *extent)
{
	const struct exam *x = rp->x;
	char name[NAME_SEGMENT_MAX], tmp[NAME_SEGMENT_MAX + sizeof NAME_TMP_SUFFIX];

	name_segment(name, extent->first_id);
	strcat(strcpy(tmp, name), NAME_TMP_SUFFIX);
	int fd = sys_open_regular(rp->sys, x->dir_fd, tmp, O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0)
		return fd;
	int result = copy_range(rp, fd, 0, extent->offset, extent->bytes);
	if (result == 0)
		result = mark_again(rp, fd, extent);
	if (result == 0)
		result = rp->sys->fsync(rp->sys, fd);
	if (result == 0)
		result = write_meta(rp, fd, extent, extent->offset);
	sys_close(rp->sys, &fd);
	if (result == 0)
		result = rp->sys->renameat(rp->sys, x->dir_fd, tmp, name);
	return result < 0 ? result : rp->sys->fsync(rp->sys, x->dir_fd);
}

/* Step 4. */
static int keep_beginning(struct repair *rp)
{
	const struct exam *x = rp->x;
	const struct extent *first = &x->extents[0];
	char name[NAME_SEGMENT_MAX];
	int result;

	if (first->good) {
		result = write_meta(rp, rp->fd, first, 0);
		if (result == 0)
			result = rp->sys->ftruncate(rp->sys, rp->fd, first->bytes);
		return result < 0 ? result : rp->sys->fsync(rp->sys, rp->fd);
	}
	/* An extent without ids leaves the first id to the good frames behind it: those have taken this file's name in step 3. */
	if (x->extent_count > 1 && x->extents[1].first_id == x->first_id)
		return 0;
	result = rp->sys->unlinkat(rp->sys, x->dir_fd, name_meta(name, x->first_id), 0);
	if (result == 0 || result == -ENOENT)
		result = rp->sys->ftruncate(rp->sys, rp->fd, 0);
	return result < 0 ? result : rp->sys->fsync(rp->sys, rp->fd);
}

/* Step 2. */
static int keep_next_id(struct repair *rp)
{
	const struct exam *x = rp->x;
	char name[NAME_SEGMENT_MAX];

	if (!loses_next_id(x, x->extent_count - 1))
		return 0;
	int fd = rp->sys->openat(rp->sys, x->dir_fd, name_segment(name, x->next_id), O_RDWR | O_CREAT, 0600);
	if (fd < 0)
		return fd;
	int result = rp->sys->fsync(rp->sys, fd);
	sys_close(rp->sys, &fd);
	return result < 0 ? result : rp->sys->fsync(rp->sys, x->dir_fd);
}

int repair_segment(const struct exam *x, bool (*known)(void *arg, const struct extent *extent), void *arg)
{
	struct repair rp = { .x = x, .sys = x->env->sys };
	char name[NAME_SEGMENT_MAX];
	int result = 0;

	rp.fd = sys_open_regular(rp.sys, x->dir_fd, name_segment(name, x->first_id), O_RDWR, 0);
	if (rp.fd < 0)
		return rp.fd;
	for (size_t i = 0; i < x->extent_count && result == 0; i++) {
		if (!x->extents[i].good && !known(arg, &x->extents[i]))
			result = set_aside(&rp, &x->extents[i]);
	}
	if (result == 0 && x->end == SEGMENT_TORN)
		result = set_torn_aside(&rp);
	if (result == 0)
		result = rp.sys->fsync(rp.sys, x->dir_fd);
	if (result == 0)
		result = keep_next_id(&rp);
	for (size_t i = x->extent_count - 1; i > 0 && result == 0; i--) {
		if (x->extents[i].good)
			result = move_out(&rp, &x->extents[i]);
	}
	if (result == 0)
		result = keep_beginning(&rp);
	sys_close(rp.sys, &rp.fd);
	return result;
}

int repair_meta(const struct exam *x)
{
	struct repair rp = { .x = x, .sys = x->env->sys };
	char name[NAME_SEGMENT_MAX];

	if (x->extent_count != 1 || !x->extents[0].good || x->end == SEGMENT_TORN)
		return 0;
	rp.fd = sys_open_regular(rp.sys, x->dir_fd, name_segment(name, x->first_id), O_RDWR, 0);
	if (rp.fd < 0)
		return rp.fd;
	int result = write_meta(&rp, rp.fd, &x->extents[0], 0);
	sys_close(rp.sys, &rp.fd);
	return result;
}

int repair_lost(const struct env *env, int dir_fd, uint64_t first_id, uint64_t end_id)
{
	struct extent lost = { .first_id = first_id, .ids = end_id - first_id };
	const struct exam x = { .env = env, .dir_fd = dir_fd, .first_id = first_id, .end_id = UINT64_MAX, .extents = &lost, .extent_count = 1, .next_id = end_id };
	struct repair rp = { .x = &x, .sys = env->sys, .fd = -1 };
	char name[NAME_SEGMENT_MAX];
	int result = set_aside(&rp, &lost);

	if (result == 0)
		result = env->sys->fsync(env->sys, dir_fd);
	if (result == 0)
		result = keep_next_id(&rp);
	if (result == 0)
		result = env->sys->unlinkat(env->sys, dir_fd, name_meta(name, first_id), 0);
	return result < 0 ? result : env->sys->fsync(env->sys, dir_fd);
}
