/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a stream's active segment: only what its sidecar does not vouch for as durable is read, nothing after a clean close, the unsynced end after
 * a crash.
 *
 * Then, at the first bytes that are no valid frame (scan.h says what a crash may leave):
 *	zeros to the end		preallocated space: the log ends there
 *	no evidence that they were durable	a torn tail: what stands there is copied to "<segment>.torn.<n>", the copy is fsynced, only then it is cut off
 *	evidence			damage, handled as on_corruption says
 * Whatever is served from here on has been fdatasynced, so that a frame that is written next can vouch for it.
 *
 * Read-only, the same is found out and nothing is changed: a torn tail is passed over. Nothing of a damaged stream is changed either.
 */
#include "recovery.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "names.h"

enum {
	TORN_FILES_MAX = 10000,
	REREADS_MAX = 3,
};

/* ---- The tail ---- */

/* Copies the file from `offset` on into `fd`, up to its last byte that is not zero. */
static int copy_tail(struct recovery *rec, int fd, uint64_t offset, uint64_t *ret_size)
{
	size_t piece = (size_t)rec->env->opts.read_buffer;
	CLEANUP_FREE uint8_t *buffer = malloc(piece);
	uint64_t size = 0;

	if (!buffer)
		return -ENOMEM;
	for (uint64_t at = 0; at < rec->size - offset; at += piece) {
		ssize_t n = sys_pread_full(rec->sys, rec->fd, buffer, piece, offset + at);
		size_t used = n > 0 ? (size_t)n : 0;

		if (n < 0)
			return (int)n;
		while (used > 0 && buffer[used - 1] == 0)
			used--;
		if (used == 0)
			continue;
		if (fd >= 0) {
			int result = sys_pwrite_full(rec->sys, fd, buffer, used, at);
			if (result < 0)
				return result;
		}
		size = at + used;
	}
	*ret_size = size;
	return 0;
}

/* Keeps the bytes from `offset` on in a file of its own. */
static int keep_tail(struct recovery *rec, uint64_t offset, char *ret_name, uint64_t *ret_size)
{
	int fd = -EEXIST;

	for (unsigned n = 0; fd == -EEXIST && n < TORN_FILES_MAX; n++)
		fd = rec->sys->openat(rec->sys, rec->dir_fd, name_torn(ret_name, rec->id, n), O_RDWR | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return fd;
	int result = copy_tail(rec, fd, offset, ret_size);
	if (result == 0)
		result = rec->sys->fsync(rec->sys, fd);
	if (result == 0)
		result = rec->sys->fsync(rec->sys, rec->dir_fd);
	sys_close(rec->sys, &fd);
	if (result < 0)
		rec->sys->unlinkat(rec->sys, rec->dir_fd, ret_name, 0);
	return result;
}

void recovery_read_only(struct wal_stream *st, const char *reason)
{
	if (st->health == WAL_HEALTHY)
		stream_set_reason(st, reason);
	st->health = WAL_READONLY;
	log_write(&st->engine->env.log, WAL_LOG_ERROR,
		  "stream '%s': %s; it is open for reading only ('walctl repair' sets what is damaged aside and goes on around it)", st->name, reason);
}

/* The log ends at `offset`: what stands behind it is set aside and cut off. */
static int end_log(struct recovery *rec, uint64_t offset, enum frame_fault fault)
{
	struct wal_stream *st = rec->st;
	char name[NAME_SEGMENT_MAX] = "";
	uint64_t size;
	int result;

	if (recovery_is_read_only(rec))
		result = copy_tail(rec, -1, offset, &size);
	else
		result = keep_tail(rec, offset, name, &size);
	/* A sidecar that says that what is cut was durable must not come back after the next crash. */
	if (result == 0 && !recovery_is_read_only(rec) && offset < rec->durable && rec->meta_fd >= 0) {
		result = rec->sys->ftruncate(rec->sys, rec->meta_fd, 0);
		if (result == 0)
			result = rec->sys->fsync(rec->sys, rec->meta_fd);
		rec->r.old = NULL;
		rec->kept_blocks = 0;
	}
	if (result == 0 && !recovery_is_read_only(rec))
		result = rec->sys->ftruncate(rec->sys, rec->fd, offset);
	if (result == 0 && !recovery_is_read_only(rec))
		result = rec->sys->fsync(rec->sys, rec->fd);
	/* Without room for what is set aside nothing is cut: the log ends there for now. */
	if (result == -ENOSPC || result == -EDQUOT) {
		recovery_read_only(st, "no room to set its torn end aside");
		size = rec->size - offset;
		result = 0;
	} else if (result == 0 && !recovery_is_read_only(rec)) {
		rec->size = offset;
	}
	if (result < 0)
		return result;
	st->tail = WAL_TAIL_TRUNCATED;
	st->tail_offset = offset;
	st->tail_bytes = size;
	log_write(&rec->env->log, WAL_LOG_WARNING,
		  "stream '%s': tail: truncated at %" PRIu64 " of segment %020" PRIu64 ".wal, %" PRIu64 " bytes (%s)%s%s", st->name, offset, rec->id,
		  size, frame_fault_text(fault), name[0] ? ", kept in " : ", left there: read-only", name);
	return 0;
}

/* Damage, and the stream is served as far as it is intact: the ids up to the next valid frame are lost. 1 if there is one, 0 if not, < 0. */
static int step_over(struct recovery *rec, uint64_t offset, uint64_t id)
{
	struct frame_header h;
	uint64_t next;
	int result = scan_find(&rec->scan, offset, id, UINT64_MAX, &next, &h);

	if (result == WAL_END || result == WAL_TIMEOUT)
		return 0;
	if (result == 0)
		result = rebuild_gap(&rec->r, next, h.start_id);
	return result < 0 ? result : 1;
}

static void describe(const struct recovery *rec, uint64_t offset, uint64_t id, enum frame_fault fault, const struct frame_header *h, char *text,
		     size_t size)
{
	snprintf(text, size,
		 "segment %020" PRIu64 ".wal is damaged at offset %" PRIu64 ": expected the frame of id %" PRIu64 ", found %s (id %" PRIu64 ", %" PRIu32
		 " entries, %" PRIu32 " bytes)",
		 rec->id, offset, id, frame_fault_text(fault), h->start_id, h->entry_count, h->disk_size);
}

int recovery_damage(struct recovery *rec, uint64_t offset, const char *text)
{
	if (rec->env->opts.on_corruption == WAL_ON_CORRUPTION_READONLY) {
		recovery_read_only(rec->st, text);
		return 0;
	}
	if (rec->env->opts.on_corruption == WAL_ON_CORRUPTION_TRUNCATE) {
		log_write(&rec->env->log, WAL_LOG_ERROR, "stream '%s': %s; going on, as on_corruption=truncate asks", rec->st->name, text);
		return 0;
	}
	error_set(rec->err, -EBADMSG, rec->st->name, "stream '%s': %s", rec->st->name, text);
	if (rec->err)
		rec->err->offset = offset;
	return -EBADMSG;
}

/* What to do about bytes at r.writer.at that are no valid frame. 1: go on behind them, 0: the log ends here, < 0. */
static int judge(struct recovery *rec, enum frame_fault fault, const struct frame_header *h)
{
	struct wal_stream *st = rec->st;
	uint64_t offset = rec->r.writer.at.frame_offset, id = rec->r.writer.at.id;
	char text[256];
	int result = scan_is_zero(&rec->scan, offset, rec->size);

	if (result < 0)
		return result;
	bool durable = offset < rec->durable || id < rec->sealed_below;
	if ((result == 1 && !durable) || rec->probe)
		return 0;
	if (!durable) {
		result = scan_vouched(&rec->scan, offset, id);
		if (result < 0)
			return result;
		durable = result == 1;
	}
	/* Nothing of a damaged stream is cut: what would go may be what tells of the damage. The log ends there all the same. */
	if (!durable && st->health != WAL_HEALTHY)
		return 0;
	if (!durable)
		return end_log(rec, offset, fault);

	describe(rec, offset, id, fault, h, text, sizeof text);
	result = recovery_damage(rec, offset, text);
	if (result < 0)
		return result;
	if (rec->env->opts.on_corruption == WAL_ON_CORRUPTION_TRUNCATE)
		return end_log(rec, offset, fault);
	if (st->tail != WAL_TAIL_DAMAGED) {
		st->tail = WAL_TAIL_DAMAGED;
		st->tail_offset = offset;
		st->tail_bytes = rec->size - offset;
	}
	return step_over(rec, offset, id);
}

/* ---- The segment ---- */

static int create_file(struct recovery *rec)
{
	char name[NAME_SEGMENT_MAX];

	rec->fd = rec->sys->openat(rec->sys, rec->dir_fd, name_segment(name, rec->id), O_RDWR | O_CREAT | O_EXCL, 0600);
	if (rec->fd < 0)
		return rec->fd;
	int result = rec->sys->fsync(rec->sys, rec->fd);
	if (result == 0)
		result = stream_create_meta(rec->st, rec->dir_fd, rec->id);
	return result < 0 ? result : rec->sys->fsync(rec->sys, rec->dir_fd);
}

/* There is no file of that name; but if its sidecar tells of entries, there was one. */
static int check_lost(struct recovery *rec, const char *name)
{
	struct meta_pos end;
	char text[256];

	if (!sidecar_end(rec->sys, rec->dir_fd, rec->id, &end) || end.id <= rec->id)
		return 0;
	rec->lost_end = end.id;
	snprintf(text, sizeof text, "segment %s is missing, and with it the ids %" PRIu64 " to %" PRIu64 " that its sidecar tells of", name, rec->id,
		 end.id - 1);
	return recovery_damage(rec, 0, text);
}

static int open_file(struct recovery *rec)
{
	char name[NAME_SEGMENT_MAX];
	struct stat sb;

	rec->fd = sys_open_regular_stat(rec->sys, rec->dir_fd, name_segment(name, rec->id), recovery_is_read_only(rec) ? O_RDONLY : O_RDWR, 0, &sb);
	if (rec->fd == -ENOENT) {
		int result = check_lost(rec, name);
		if (result < 0)
			return result;
	}
	if (rec->fd == -ENOENT && rec->st->health == WAL_HEALTHY && !recovery_is_read_only(rec)) {
		int result = create_file(rec);
		if (result == 0)
			result = rec->sys->fstat(rec->sys, rec->fd, &sb);
		if (result < 0)
			return error_set(rec->err, result, rec->st->name, "stream '%s': cannot create %s: %s", rec->st->name, name,
					 wal_strerror(result));
	}
	if (rec->fd == -ENOENT)
		return 0; /* read-only: it has no entries yet */
	if (rec->fd < 0)
		return error_set(rec->err, rec->fd == -ELOOP || rec->fd == -EISDIR || rec->fd == -EINVAL ? -EBADMSG : rec->fd, rec->st->name,
				 "stream '%s': cannot open %s: expected a regular file: %s", rec->st->name, name, wal_strerror(rec->fd));
	rec->size = (uint64_t)sb.st_size;
	rec->mtime = sys_mtime_ns(&sb);
	return 0;
}

/* Everything that was found is made durable, and the sidecar says so. */
static int settle(struct recovery *rec)
{
	struct wal_stream *st = rec->st;
	uint64_t end = rec->r.writer.at.frame_offset;
	bool writable = !recovery_is_read_only(rec);

	if (rec->probe)
		return 0;
	int result = recovery_flush_blocks(rec);
	if (result < 0)
		return result;
	/* Of a damaged stream too: a checkpoint covers it like any other. */
	if (writable && rec->fd >= 0 && end > rec->durable && rec->sys->fdatasync(rec->sys, rec->fd) < 0) {
		recovery_read_only(st, "syncing what was found after a crash failed");
		rec->unsynced = true;
	}
	bool healthy = writable && st->health == WAL_HEALTHY;
	if (healthy && end == rec->durable && end == rec->size && !rec->old_bad)
		return 0;
	st->touched = healthy;
	if (healthy && recovery_replace_meta(rec) == 0)
		return 0;
	/* A damaged stream keeps the sidecar that it has, even if that is none. */
	if (!recovery_is_read_only(rec) && st->meta_fd < 0) {
		int fd = rec->sys->tmpfile(rec->sys, -1);

		if (fd < 0)
			return fd;
		st->meta_fd = fd;
	}
	/* The temporary file, if it was needed, is the sidecar until the store is closed. */
	if (st->meta_fd >= 0 && rec->kept_blocks > 0)
		return sys_pwrite_full(rec->sys, st->meta_fd, rec->old.map, (size_t)rec->kept_blocks * META_BLOCK_BYTES, 0);
	return 0;
}

static int take_over(struct recovery *rec)
{
	struct wal_stream *st = rec->st;
	uint64_t end = rec->r.writer.at.frame_offset;
	int result = stream_meta_keep(st, &rec->r.writer);

	if (result < 0)
		return result;
	st->meta_full = st->meta.block_no;
	st->active.first_id = rec->id;
	st->active.end = st->active.durable_end = end;
	st->allocated = rec->size;
	st->next_id = st->meta.at.id;
	if (rec->r.made_up && recovery_is_read_only(rec))
		st->timed_id = rec->r.made_up_id;
	/* At least what is in sealed segments. */
	st->durable_id = rec->unsynced ? rec->id : st->next_id;
	return 0;
}

static void forget_active(struct recovery *rec)
{
	if (rec->old_read)
		free((void *)rec->old.map);
	else if (rec->old.map)
		rec->sys->munmap(rec->sys, (void *)rec->old.map, rec->old_size);
	free((void *)rec->old.verified);
	free(rec->blocks);
	rec->blocks = NULL;
	rec->blocks_count = 0;
	rec->old = (struct meta_view){ 0 };
	scan_release(&rec->scan);
	sys_close(rec->sys, &rec->fd);
	sys_close(rec->sys, &rec->meta_fd);
}

int recover_active(struct recovery *rec, uint64_t id)
{
	enum frame_fault fault;
	struct frame_header h;

	rec->id = id;
	rec->fd = rec->meta_fd = -1;
	rec->size = rec->durable = rec->kept_blocks = 0;
	rec->old_bad = rec->unsynced = false;
	rec->lost_end = 0;
	int result = open_file(rec);
	if (result == 0)
		result = scan_init(&rec->scan, rec->sys, rec->fd, id, rec->size, (size_t)rec->env->opts.read_buffer);
	if (result == 0)
		result = recovery_begin_rebuild(rec);
	/* The ids of a file that is missing are not given out again. Where the stream goes on nevertheless, that they are skipped is to be told by more than a sidecar: see stream_recover(). */
	if (result == 0 && rec->lost_end > 0 && (recovery_is_read_only(rec) || rec->st->health != WAL_HEALTHY))
		result = rebuild_gap(&rec->r, 0, rec->lost_end);
	/* After an fdatasync that failed the kernel shows in memory what never reached the disk. */
	if (result == 0 && rec->fd >= 0 && !recovery_is_read_only(rec) && rec->durable < rec->size && rec->sys->forget)
		rec->sys->forget(rec->sys, rec->fd, rec->durable);
	bool more = result == 0 && rec->lost_end == 0;
	while (more) {
		result = rebuild_frames(&rec->r, UINT64_MAX, &fault, &h);
		/* Someone may be writing this store: what is half there at one moment is whole at the next. */
		if (result == 0 && fault != FRAME_OK && recovery_is_read_only(rec) && rec->rereads++ < REREADS_MAX) {
			rec->scan.buffer_size = 0;
			continue;
		}
		rec->rereads = 0;
		/* A file that ends before what was durable lacks something, however tidily. */
		if (result == 0 && (fault != FRAME_OK || rec->r.writer.at.frame_offset < rec->durable))
			result = judge(rec, fault == FRAME_OK ? FRAME_BAD_SIZE : fault, &h);
		else if (result == 0)
			break;
		more = result == 1;
	}
	if (result >= 0) {
		/* An empty segment: what comes first has a time that is not before the file's. */
		if (rec->r.writer.at.frame_offset == 0 && rec->r.writer.at.id == id) {
			struct meta_pos at = { .id = id, .last_time = rec->r.writer.at.last_time };

			if (at.last_time == 0)
				at.last_time = rec->last_time ? rec->last_time : rec->mtime;
			rebuild_begin(&rec->r, id, &at, 0);
		}
		result = settle(rec);
	}
	if (result == 0)
		result = take_over(rec);
	if (result < 0 && rec->err && rec->err->code != result)
		error_set(rec->err, result, rec->st->name, "stream '%s': cannot read segment %020" PRIu64 ".wal: %s", rec->st->name, id,
			  wal_strerror(result));
	forget_active(rec);
	return result;
}
