/* SPDX-License-Identifier: Apache-2.0 */
/* What can be asked of the checkpoints, and the changes. See ckptlog_write.c for the order in which these reach the disk. */
#include "ckptlog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ckptlog_impl.h"
#include "cleanup.h"

/* Records that no longer count are left in a file that is not larger than this, or where they are less than half of it. */
#define TIDY_BYTES_MIN ((uint64_t)64 << 10)

/* NULL: there is none. Caller holds either lock. */
static struct ckptindex_entry *newest(struct ckptlog *log)
{
	return log->index.count > 0 ? log->index.entries[log->index.count - 1] : NULL;
}

void ckptlog_free(struct ckptlog *log)
{
	if (!log)
		return;
	sys_close(log->sys, &log->fd);
	ckptindex_release(&log->index);
	pthread_mutex_destroy(&log->lock);
	pthread_mutex_destroy(&log->change_lock);
	free(log->head);
	free(log);
}

int ckptlog_close(struct ckptlog *log)
{
	int result = 0;

	pthread_mutex_lock(&log->change_lock);
	const struct ckptindex_entry *last = newest(log);
	if (!log->ro && !log->stopped && !log->head && !log->head_unread && last)
		result = ckptlog_set_head(log, last->id, last->id_size);
	pthread_mutex_unlock(&log->change_lock);
	ckptlog_free(log);
	return result;
}

/* ---- Looking ---- */

/* Caller holds log->lock. */
static int load(struct ckptlog *log, const struct ckptindex_entry *entry, struct wal_checkpoint **ret_checkpoint)
{
	CLEANUP_FREE uint8_t *payload = NULL;
	struct record record;

	if (!entry)
		return WAL_NOT_FOUND;
	int result = ckptlog_read_payload(log, entry, &payload, &record);
	return result < 0 ? result : record_decode(payload, &record, ret_checkpoint);
}

int ckptlog_load(struct ckptlog *log, const void *id, size_t id_size, struct wal_checkpoint **ret_checkpoint)
{
	LOCKED_SCOPE(&log->lock);
	return load(log, ckptindex_find(&log->index, id, id_size), ret_checkpoint);
}

int ckptlog_latest(struct ckptlog *log, struct wal_checkpoint **ret_checkpoint)
{
	LOCKED_SCOPE(&log->lock);
	struct ckptindex_entry *entry = log->head ? ckptindex_find(&log->index, log->head, log->head_size) : NULL;

	return load(log, entry ? entry : newest(log), ret_checkpoint);
}

int ckptlog_list(struct ckptlog *log, struct wal_checkpoint **ret_checkpoints, size_t *ret_count)
{
	LOCKED_SCOPE(&log->lock);
	const struct ckptindex *index = &log->index;
	size_t bytes = (index->count + 1) * sizeof **ret_checkpoints;

	for (size_t i = 0; i < index->count; i++)
		bytes += index->entries[i]->id_size + 1;
	struct wal_checkpoint *list = malloc(bytes);
	if (!list)
		return -ENOMEM;
	char *pos = (char *)(list + index->count + 1);
	for (size_t i = 0; i < index->count; i++) {
		const struct ckptindex_entry *entry = index->entries[i];

		list[i] = (struct wal_checkpoint){ .id = pos, .id_size = entry->id_size, .time_ns = entry->time_ns };
		pos = mempcpy(pos, entry->id, entry->id_size + 1);
	}
	*ret_checkpoints = list;
	*ret_count = index->count;
	return 0;
}

size_t ckptlog_count(struct ckptlog *log)
{
	LOCKED_SCOPE(&log->lock);
	return log->index.count;
}

uint64_t ckptlog_version(struct ckptlog *log)
{
	return atomic_load_explicit(&log->version, memory_order_acquire);
}

uint32_t ckptlog_shards(struct ckptlog *log)
{
	LOCKED_SCOPE(&log->lock);
	const struct ckptindex_entry *last = NULL;

	for (size_t i = 0; i < log->index.count; i++) {
		const struct ckptindex_entry *entry = log->index.entries[i];

		if (entry->shards > 0 && (!last || entry->order > last->order))
			last = entry;
	}
	return last ? last->shards : 0;
}

/* ---- Appending ---- */

static int64_t next_time(struct ckptlog *log)
{
	const struct ckptindex_entry *last = newest(log);
	int64_t now = log->sys->now(log->sys);

	if (!last || last->time_ns < now)
		return now;
	/* With the last time there is, those made later are told apart by their order in the file. */
	return last->time_ns < INT64_MAX ? last->time_ns + 1 : INT64_MAX;
}

/* Writes the file anew if most of it no longer counts. If that fails nothing is lost by it. */
static void tidy(struct ckptlog *log)
{
	const struct ckptlog_plan all = { 0 };

	if (log->size <= TIDY_BYTES_MIN || log->size < log->tidy_from || log->index.bytes >= log->size / 2)
		return;
	if (ckptlog_write_anew(log, &all) < 0)
		log->tidy_from = log->size * 2;
}

static bool is_head(const struct ckptlog *log, const void *id, size_t id_size)
{
	return log->head && log->head_size == id_size && memcmp(log->head, id, id_size) == 0;
}

/* The newest but one. Caller holds either lock. */
static struct ckptindex_entry *newest_but(const struct ckptlog *log, const struct ckptindex_entry *entry)
{
	const struct ckptindex *index = &log->index;
	size_t n = index->count;

	if (n > 0 && index->entries[n - 1] == entry)
		n--;
	return n > 0 ? index->entries[n - 1] : NULL;
}

/* The record, then HEAD goes if it would name another one than the latest; both or, after a failure, neither. */
static int write_checkpoint(struct ckptlog *log, const struct wal_checkpoint *checkpoint, int64_t time_ns, const uint8_t *data, size_t size)
{
	const struct ckptindex_entry *last = newest_but(log, ckptindex_find(&log->index, checkpoint->id, checkpoint->id_size));
	bool latest = !last || last->time_ns <= time_ns, moves = is_head(log, checkpoint->id, checkpoint->id_size);
	uint64_t before = log->size;
	int result = ckptlog_add_record(log, data, size);

	if (result < 0)
		return result;
	/* One that is not the latest leaves HEAD to name what it names, unless it is that. */
	if ((latest || moves) && (log->head || log->head_unread))
		result = ckptlog_set_head(log, NULL, 0);
	/* If HEAD could not be put back it may name the record, which must stay for that. */
	if (result < 0 && !log->stopped)
		ckptlog_cut(log, before);
	return result;
}

/* Caller holds log->change_lock. */
static int add(struct ckptlog *log, const struct wal_checkpoint *checkpoint, uint32_t shards, int64_t time_ns)
{
	CLEANUP_FREE uint8_t *data = NULL;
	size_t size;
	int result = record_encode(checkpoint, shards, time_ns, &data, &size);

	if (result < 0)
		return result;
	/* What memory it takes is had before anything is written. */
	pthread_mutex_lock(&log->lock);
	struct ckptindex_entry *entry = ckptindex_prepare(&log->index, checkpoint->id, checkpoint->id_size);
	pthread_mutex_unlock(&log->lock);
	if (!entry)
		return -ENOMEM;
	result = write_checkpoint(log, checkpoint, time_ns, data, size);
	if (result < 0) {
		free(entry);
		return result;
	}
	entry->offset = log->size - size;
	entry->size = (uint32_t)(size - RECORD_HEADER);
	entry->shards = shards;
	entry->time_ns = time_ns;
	pthread_mutex_lock(&log->lock);
	ckptindex_add(&log->index, entry, true);
	pthread_mutex_unlock(&log->lock);
	log->version++;
	tidy(log);
	return 0;
}

/* Caller holds log->change_lock. */
static int check_new(const struct ckptlog *log, const struct wal_checkpoint *checkpoint, unsigned flags)
{
	if (log->stopped)
		return -EIO;
	return (flags & WAL_EXCL) && ckptindex_find(&log->index, checkpoint->id, checkpoint->id_size) ? -EEXIST : 0;
}

static bool id_is_valid(const struct wal_checkpoint *checkpoint)
{
	return checkpoint->id_size > 0 && checkpoint->id_size <= WAL_CHECKPOINT_ID_MAX;
}

int ckptlog_append(struct ckptlog *log, const struct wal_checkpoint *checkpoint, uint32_t shards, unsigned flags, int64_t *ret_time_ns)
{
	if (log->ro || !id_is_valid(checkpoint))
		return log->ro ? -EROFS : -EINVAL;
	LOCKED_SCOPE(&log->change_lock);
	int64_t time_ns = next_time(log);
	int result = check_new(log, checkpoint, flags);
	if (result == 0)
		result = add(log, checkpoint, shards, time_ns);
	if (result == 0 && ret_time_ns)
		*ret_time_ns = time_ns;
	return result;
}

int ckptlog_restore(struct ckptlog *log, const struct wal_checkpoint *checkpoint, uint32_t shards, unsigned flags)
{
	if (log->ro || !id_is_valid(checkpoint))
		return log->ro ? -EROFS : -EINVAL;
	LOCKED_SCOPE(&log->change_lock);
	int result = check_new(log, checkpoint, flags);
	const struct ckptindex_entry *same = ckptindex_find_time(&log->index, checkpoint->time_ns);
	if (result == 0 && same && (same->id_size != checkpoint->id_size || memcmp(same->id, checkpoint->id, same->id_size) != 0))
		result = -EINVAL;
	return result == 0 ? add(log, checkpoint, shards, checkpoint->time_ns) : result;
}

/* ---- Removing ---- */

/*
 * Removes what `plan` leaves out. `heir` is the newest that stays, NULL if none does; `head_goes`: HEAD names one that does not. A crash between the two leaves all of them,
 * and a HEAD that names another one.
 */
static int remove_planned(struct ckptlog *log, const struct ckptlog_plan *plan, bool head_goes, const struct ckptindex_entry *heir)
{
	CLEANUP_FREE uint8_t *id = NULL;
	size_t id_size = log->head_size;
	int result = 0;

	if (head_goes) {
		id = malloc(id_size);
		if (!id)
			return -ENOMEM;
		memcpy(id, log->head, id_size);
		result = ckptlog_set_head(log, heir ? heir->id : NULL, heir ? heir->id_size : 0);
	}
	if (result < 0)
		return result;
	result = ckptlog_write_anew(log, plan);
	if (result == 0)
		log->version++;
	else if (head_goes && !log->stopped)
		(void)ckptlog_set_head(log, id, id_size); /* else HEAD names the heir, which is there too */
	return result;
}

int ckptlog_remove(struct ckptlog *log, const void *id, size_t id_size)
{
	if (log->ro)
		return -EROFS;
	LOCKED_SCOPE(&log->change_lock);
	struct ckptindex_entry *entry = ckptindex_find(&log->index, id, id_size);

	if (!entry)
		return log->unread ? -EIO : WAL_NOT_FOUND;
	if (log->stopped)
		return -EIO;
	return remove_planned(log, &(struct ckptlog_plan){ .without = entry }, is_head(log, id, id_size), newest_but(log, entry));
}

int ckptlog_compact(struct ckptlog *log, size_t keep, size_t *ret_removed)
{
	if (keep == 0)
		return -EINVAL;
	if (log->ro)
		return -EROFS;
	LOCKED_SCOPE(&log->change_lock);
	size_t removed = log->index.count > keep ? log->index.count - keep : 0;
	bool head_goes = false;
	int result = 0;

	if (log->stopped && (removed > 0 || log->unread))
		return -EIO;
	for (size_t i = 0; i < removed && log->head; i++) {
		const struct ckptindex_entry *entry = log->index.entries[i];

		head_goes |= entry->id_size == log->head_size && memcmp(entry->id, log->head, log->head_size) == 0;
	}
	if (removed > 0)
		result = remove_planned(log, &(struct ckptlog_plan){ .from = removed }, head_goes, newest(log));
	if (result == 0 && ret_removed)
		*ret_removed = removed;
	return result;
}

/* 0 if the record names the stream, or is to be put aside; WAL_NOT_FOUND. */
static int find_stream(struct ckptlog *log, const struct ckptindex_entry *entry, const char *stream)
{
	CLEANUP_FREE uint8_t *payload = NULL;
	struct record record;
	uint32_t size = entry->size;
	int result = ckptlog_read_payload(log, entry, &payload, &record);

	if (result == -EBADMSG)
		return 0;
	return result < 0 ? result : record_forget(payload, &size, &record, stream);
}

int ckptlog_forget_stream(struct ckptlog *log, const char *stream)
{
	if (log->ro)
		return -EROFS;
	LOCKED_SCOPE(&log->change_lock);
	int result = log->unread ? -EIO : WAL_NOT_FOUND;

	for (size_t i = 0; i < log->index.count && result == WAL_NOT_FOUND; i++) {
		if (log->index.entries[i]->shards == 0)
			result = find_stream(log, log->index.entries[i], stream);
	}
	if (result == WAL_NOT_FOUND)
		return 0;
	if (result < 0 || log->stopped)
		return result < 0 ? result : -EIO;
	result = ckptlog_write_anew(log, &(struct ckptlog_plan){ .forget = stream });
	if (result == 0)
		log->version++;
	return result;
}
