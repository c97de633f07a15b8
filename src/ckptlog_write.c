/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How checkpoints.log and HEAD change, so that every crash leaves a log in which each acknowledged checkpoint holds, and a HEAD that names the latest of them, or none:
 *
 *	append		the record at the end of the file, fdatasync; then, if there is a HEAD, it is removed and the directory fsynced. A crash in between leaves a record that
 *			was not acknowledged, whole or torn, and the old HEAD.
 *	first record	as writing anew.
 *	writing anew	checkpoints.log.tmp, fsync, rename over checkpoints.log, fsync of the directory. A crash leaves the old log or the new one.
 *	closing		if there is no HEAD: HEAD.tmp, fsync, rename over HEAD, fsync of the directory.
 *	removing	if HEAD names what is to go, first HEAD (as above) to the newest that stays, or HEAD is removed and the directory fsynced; then writing anew.
 *
 * A sync that failed is not tried again: what it was for may be lost although the next one succeeds. The whole file is written anew instead, from what was durable before.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "ckptlog_impl.h"
#include "cleanup.h"
#include "crc32.h"
#include "names.h"

#define LOG_TMP NAME_CHECKPOINTS_LOG NAME_TMP_SUFFIX

enum {
	GATHER_BYTES = 256 * 1024,
	FILE_MODE = 0600,
};

void ckptlog_stop(struct ckptlog *log, const char *reason)
{
	if (!log->stopped)
		log_write(&log->log, WAL_LOG_ERROR, "checkpoints: %s; none can be made or removed until the store is opened again", reason);
	log->stopped = true;
}

static int damaged(struct ckptlog *log, const struct ckptindex_entry *entry, const char *found)
{
	log_write(&log->log, WAL_LOG_ERROR, NAME_CHECKPOINTS_LOG ": offset %" PRIu64 ": expected a record with %" PRIu32 " bytes, found %s", entry->offset,
		  entry->size, found);
	return -EBADMSG;
}

int ckptlog_read_payload(struct ckptlog *log, const struct ckptindex_entry *entry, uint8_t **ret_payload, struct record *ret_record)
{
	size_t bytes = RECORD_HEADER + (size_t)entry->size;
	CLEANUP_FREE uint8_t *data = malloc(bytes);
	uint32_t crc, size;

	if (!data)
		return -ENOMEM;
	ssize_t n = sys_pread_full(log->sys, log->fd, data, bytes, entry->offset);
	if (n < 0)
		return (int)n;
	if ((size_t)n < bytes)
		return damaged(log, entry, "the end of the file");
	if (!record_header(data, &crc, &size) || size != entry->size)
		return damaged(log, entry, "another header");
	if (crc32_update(0, data + RECORD_HEADER, size) != crc)
		return damaged(log, entry, "a checksum that does not hold");
	memmove(data, data + RECORD_HEADER, size);
	const char *fault = record_parse(data, size, ret_record);
	if (fault)
		return damaged(log, entry, fault);
	if (ret_record->id_size != entry->id_size || memcmp(ret_record->id, entry->id, entry->id_size) != 0)
		return damaged(log, entry, "another id");
	*ret_payload = steal_ptr(data);
	return 0;
}

/* ---- Writing anew ---- */

struct writer {
	struct ckptlog *log;
	int fd;
	uint64_t offset; /* of what is gathered */
	uint8_t *data;
	size_t used;
};

static int flush(struct writer *w)
{
	int result = sys_pwrite_full(w->log->sys, w->fd, w->data, w->used, w->offset);

	w->offset += w->used;
	w->used = 0;
	return result;
}

static int put(struct writer *w, const uint8_t *data, size_t size)
{
	int result = size > GATHER_BYTES - w->used ? flush(w) : 0;

	if (result < 0)
		return result;
	if (size > GATHER_BYTES) {
		result = sys_pwrite_full(w->log->sys, w->fd, data, size, w->offset);
		w->offset += size;
		return result;
	}
	memcpy(w->data + w->used, data, size);
	w->used += size;
	return 0;
}

/* The record as it stands in the file, which is checked on the way. */
static int copy_record(struct writer *w, const struct ckptindex_entry *entry)
{
	uint64_t at = entry->offset, left = RECORD_HEADER + (uint64_t)entry->size;
	uint32_t want = 0, size = 0, crc = 0;
	int result = GATHER_BYTES - w->used < RECORD_HEADER ? flush(w) : 0;

	for (bool first = true; left > 0 && result == 0; first = false) {
		size_t room = GATHER_BYTES - w->used, n = left < room ? (size_t)left : room, skip = first ? RECORD_HEADER : 0;
		uint8_t *data = w->data + w->used;
		ssize_t got = sys_pread_full(w->log->sys, w->log->fd, data, n, at);

		if (got < 0)
			return (int)got;
		if ((size_t)got < n)
			return damaged(w->log, entry, "the end of the file");
		if (first && (!record_header(data, &want, &size) || size != entry->size))
			return damaged(w->log, entry, "another header");
		crc = crc32_update(crc, data + skip, n - skip);
		w->used += n;
		at += n;
		left -= n;
		if (left > 0)
			result = flush(w);
	}
	return result == 0 && crc != want ? damaged(w->log, entry, "a checksum that does not hold") : result;
}

/* The record without a stream; *ret_size is its payload's size then. */
static int put_without(struct writer *w, const struct ckptindex_entry *entry, const char *stream, uint32_t *ret_size)
{
	CLEANUP_FREE uint8_t *payload = NULL;
	uint8_t header[RECORD_HEADER];
	struct record record;
	uint32_t size = entry->size;
	int result = ckptlog_read_payload(w->log, entry, &payload, &record);

	if (result < 0)
		return result;
	(void)record_forget(payload, &size, &record, stream);
	record_put_header(header, crc32_update(0, payload, size), size);
	result = put(w, header, sizeof header);
	if (result == 0)
		result = put(w, payload, size);
	*ret_size = size;
	return result;
}

/* A file that is to take the place of the old one, and where the records of the entries that stay are in it. */
struct draft {
	int fd;
	uint64_t size;
	struct place {
		uint64_t offset;
		uint32_t size; /* 0: it no longer holds */
	} *places;
	size_t place_count;
	struct ckptlog_place *bad; /* in the old file: those that no longer hold */
	size_t bad_count;
};

static bool stays(const struct ckptlog *log, const struct ckptlog_plan *plan, size_t i)
{
	return i >= plan->from && log->index.entries[i] != plan->without;
}

/* Takes out what has been written of a record, which begins at `offset`. */
static void rewind_to(struct writer *w, uint64_t offset)
{
	w->used = offset > w->offset ? (size_t)(offset - w->offset) : 0;
	w->offset = offset < w->offset ? offset : w->offset;
}

static int leave_out(struct writer *w, const struct ckptindex_entry *entry, struct draft *draft, struct place *place)
{
	struct ckptlog_place *bad = reallocarray(draft->bad, draft->bad_count + 1, sizeof *bad);

	if (!bad)
		return -ENOMEM;
	draft->bad = bad;
	bad[draft->bad_count++] = (struct ckptlog_place){ entry->offset, RECORD_HEADER + (uint64_t)entry->size };
	rewind_to(w, place->offset);
	place->size = 0;
	return 0;
}

static int write_records(struct writer *w, const struct ckptlog_plan *plan, struct draft *draft)
{
	const struct ckptindex *index = &w->log->index;
	struct sys *sys = w->log->sys;
	int result = 0;

	for (size_t i = 0; i < index->count && result == 0; i++) {
		const struct ckptindex_entry *entry = index->entries[i];
		struct place *place = &draft->places[draft->place_count];

		if (!stays(w->log, plan, i))
			continue;
		draft->place_count++;
		*place = (struct place){ w->offset + w->used, entry->size };
		result = plan->forget && entry->shards == 0 ? put_without(w, entry, plan->forget, &place->size) : copy_record(w, entry);
		if (result == -EBADMSG)
			result = leave_out(w, entry, draft, place);
	}
	if (result == 0 && plan->extra)
		result = put(w, plan->extra, plan->extra_size);
	if (result == 0)
		result = flush(w);
	draft->size = w->offset;
	/* Of a large one that was left out at the end, some is there. */
	return result == 0 && draft->bad_count > 0 ? sys->ftruncate(sys, w->fd, draft->size) : result;
}

/* checkpoints.log.tmp, synced. draft_release() in any case. */
static int write_draft(struct ckptlog *log, const struct ckptlog_plan *plan, struct draft *draft)
{
	CLEANUP_FREE uint8_t *data = malloc(GATHER_BYTES);
	struct writer w = { .log = log, .data = data };

	draft->places = calloc(log->index.count + 1, sizeof *draft->places);
	if (!data || !draft->places)
		return -ENOMEM;
	draft->fd = sys_open_regular(log->sys, log->root_fd, LOG_TMP, O_RDWR | O_CREAT | O_TRUNC, FILE_MODE);
	if (draft->fd < 0)
		return draft->fd;
	w.fd = draft->fd;
	int result = write_records(&w, plan, draft);
	if (result == 0)
		result = log->sys->fsync(log->sys, draft->fd);
	return result == 0 && draft->bad_count > 0 ? ckptlog_put_aside(log, draft->bad, draft->bad_count, false) : result;
}

static void draft_release(struct ckptlog *log, struct draft *draft)
{
	sys_close(log->sys, &draft->fd);
	free(draft->places);
	free(draft->bad);
}

/* Whether the log's name may be that of the draft's file, after a rename that failed: over a network it may have been done all the same. */
static bool may_be_renamed(struct ckptlog *log, const struct draft *draft)
{
	struct sys *sys = log->sys;
	struct stat mine, named;
	int result = sys->fstatat(sys, log->root_fd, NAME_CHECKPOINTS_LOG, &named);

	if (result == -ENOENT)
		return false;
	return result < 0 || sys->fstat(sys, draft->fd, &mine) < 0 || (mine.st_ino == named.st_ino && mine.st_dev == named.st_dev);
}

/* The draft's file under the log's name, durably. *ret_renamed: on failure too. */
static int put_in_place(struct ckptlog *log, const struct ckptlog_plan *plan, struct draft *draft, bool *ret_renamed)
{
	struct sys *sys = log->sys;
	int result = write_draft(log, plan, draft);

	*ret_renamed = false;
	if (result == 0) {
		result = sys->renameat(sys, log->root_fd, LOG_TMP, NAME_CHECKPOINTS_LOG);
		*ret_renamed = result == 0 || may_be_renamed(log, draft);
	}
	if (result < 0) {
		/* One that stays is only litter: it is truncated the next time. */
		(void)sys->unlinkat(sys, log->root_fd, LOG_TMP, 0);
		return result;
	}
	return sys->fsync(sys, log->root_fd);
}

static void adopt(struct ckptlog *log, const struct ckptlog_plan *plan, struct draft *draft)
{
	struct ckptindex *index = &log->index;

	LOCKED_SCOPE(&log->lock);
	sys_close(log->sys, &log->fd);
	log->fd = draft->fd;
	draft->fd = -1;
	log->size = draft->size;
	if (plan->without)
		ckptindex_remove(index, (struct ckptindex_entry *)plan->without);
	if (plan->from > 0)
		ckptindex_remove_oldest(index, plan->from);
	for (size_t i = 0; i < index->count; i++) {
		if (draft->places[i].size > 0)
			ckptindex_move(index, index->entries[i], draft->places[i].offset, draft->places[i].size);
	}
	for (size_t i = draft->place_count; i-- > 0;) {
		if (draft->places[i].size == 0)
			ckptindex_remove(index, index->entries[i]);
	}
	if (draft->bad_count > 0)
		log->version++;
}

/* After records were put aside: HEAD may have named one of them. If it can't be changed it names none that is there, which the next opening mends. */
static void follow_head(struct ckptlog *log)
{
	const struct ckptindex *index = &log->index;
	const struct ckptindex_entry *newest = index->count > 0 ? index->entries[index->count - 1] : NULL;

	if (log->head && !log->stopped && !ckptindex_find(index, log->head, log->head_size))
		(void)ckptlog_set_head(log, newest ? newest->id : NULL, newest ? newest->id_size : 0);
}

/* The new file has the log's name, but whether a crash leaves it there is not certain: the old content once more, from the old file, which is still open. */
static void restore(struct ckptlog *log)
{
	const struct ckptlog_plan all = { 0 };
	struct draft draft = { .fd = -1 };
	bool renamed;
	int result = put_in_place(log, &all, &draft, &renamed);

	if (result == 0)
		adopt(log, &all, &draft);
	else
		ckptlog_stop(log, "it is not certain which content " NAME_CHECKPOINTS_LOG " has after a crash");
	draft_release(log, &draft);
}

int ckptlog_write_anew(struct ckptlog *log, const struct ckptlog_plan *plan)
{
	struct draft draft = { .fd = -1 };
	bool renamed;
	int result = put_in_place(log, plan, &draft, &renamed);

	if (result == 0) {
		adopt(log, plan, &draft);
		if (draft.bad_count > 0)
			follow_head(log);
	} else {
		log_write(&log->log, WAL_LOG_ERROR, NAME_CHECKPOINTS_LOG ": cannot write it anew: %s", wal_strerror(result));
		if (renamed)
			restore(log);
	}
	draft_release(log, &draft);
	return result;
}

/* ---- Appending ---- */

static void write_old_anew(struct ckptlog *log)
{
	const struct ckptlog_plan all = { 0 };

	if (ckptlog_write_anew(log, &all) < 0)
		ckptlog_stop(log, "an unfinished record can't be taken out of " NAME_CHECKPOINTS_LOG);
}

void ckptlog_cut(struct ckptlog *log, uint64_t size)
{
	struct sys *sys = log->sys;

	log->size = size;
	if (sys->ftruncate(sys, log->fd, size) < 0 || sys->fdatasync(sys, log->fd) < 0)
		write_old_anew(log);
}

int ckptlog_add_record(struct ckptlog *log, const uint8_t *data, size_t size)
{
	struct sys *sys = log->sys;

	if (log->fd < 0)
		return ckptlog_write_anew(log, &(struct ckptlog_plan){ .extra = data, .extra_size = size });
	int result = sys_pwrite_full(sys, log->fd, data, size, log->size);
	if (result < 0) {
		ckptlog_cut(log, log->size);
		return result;
	}
	result = sys->fdatasync(sys, log->fd);
	if (result < 0) {
		/* Cutting the file would need a sync of it, and the kernel has just taken for clean what is not on the disk. */
		write_old_anew(log);
		return result;
	}
	log->size += size;
	return 0;
}

/* ---- HEAD ---- */

int ckptlog_read_head(struct ckptlog *log, uint8_t **ret_id, size_t *ret_id_size)
{
	CLEANUP_FREE uint8_t *data = malloc(HEAD_BYTES_MAX);
	const uint8_t *id = NULL;
	size_t size, id_size = 0;

	if (!data)
		return -ENOMEM;
	int result = sys_read_file(log->sys, log->root_fd, NAME_HEAD, data, HEAD_BYTES_MAX, &size);
	if (result == 0)
		id = head_decode(data, size, &id_size);
	else if (result != -ENOENT && result != -EFBIG && result != -EISDIR && result != -ELOOP && result != -EINVAL)
		return result;
	*ret_id = NULL;
	*ret_id_size = 0;
	if (id) {
		memmove(data, id, id_size);
		*ret_id = steal_ptr(data);
		*ret_id_size = id_size;
	}
	return 0;
}

static int write_head(struct ckptlog *log, const uint8_t *id, size_t id_size)
{
	struct sys *sys = log->sys;
	int result;

	if (!id) {
		result = sys->unlinkat(sys, log->root_fd, NAME_HEAD, 0);
		return result < 0 && result != -ENOENT ? result : sys->fsync(sys, log->root_fd);
	}
	CLEANUP_FREE uint8_t *data = malloc(HEAD_BYTES_MAX);
	if (!data)
		return -ENOMEM;
	return sys_replace_file(sys, log->root_fd, NAME_HEAD, FILE_MODE, data, head_encode(data, id, id_size));
}

/* After a change that failed: it may have been done all the same. */
static int restore_head(struct ckptlog *log)
{
	CLEANUP_FREE uint8_t *id = NULL;
	size_t id_size;
	if (log->head_unread)
		return -EIO;
	int result = ckptlog_read_head(log, &id, &id_size);
	if (result == 0 && id_size == log->head_size && (id_size == 0 || memcmp(id, log->head, id_size) == 0))
		return 0;
	return write_head(log, log->head, log->head_size);
}

int ckptlog_set_head(struct ckptlog *log, const uint8_t *id, size_t id_size)
{
	CLEANUP_FREE uint8_t *copy = id ? malloc(id_size) : NULL;

	if (id && !copy)
		return -ENOMEM;
	if (id)
		memcpy(copy, id, id_size);
	int result = write_head(log, id, id_size);
	if (result == 0) {
		LOCKED_SCOPE(&log->lock);
		free(log->head);
		log->head = steal_ptr(copy);
		log->head_size = id ? id_size : 0;
		log->head_unread = false;
		return 0;
	}
	log_write(&log->log, WAL_LOG_ERROR, NAME_HEAD ": cannot %s it: %s", id ? "replace" : "remove", wal_strerror(result));
	if (restore_head(log) < 0)
		ckptlog_stop(log, "what " NAME_HEAD " names is not certain");
	return result;
}
