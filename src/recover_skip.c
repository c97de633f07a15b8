/* SPDX-License-Identifier: Apache-2.0 */
/* What an interrupted wal_stream_skip() leaves, at the opening of a stream; stream_skip.c says in which order that came to be. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "recovery.h"

int recovery_note_record(struct recovery *rec, const char *name)
{
	struct damage_record record;
	int result = damage_record_load(rec->env, rec->dir_fd, name, &record);

	/* What can't be read just now may be what tells a skip from damage. */
	if (result < 0)
		return result == -EBADMSG || result == -ENOENT || result == -ELOOP || result == -EISDIR || result == -EINVAL ? 0 : result;
	if (!record.skipped)
		return 0;
	struct skip_record *records = reallocarray(rec->records, rec->record_count + 1, sizeof *records);
	if (!records)
		return -ENOMEM;
	rec->records = records;
	records[rec->record_count] = (struct skip_record){ .first_id = record.first_id, .end_id = record.first_id + record.ids };
	strncpy(records[rec->record_count].name, name, sizeof records->name - 1);
	rec->record_count++;
	return 0;
}

uint64_t recovery_skipped_from(const struct recovery *rec, uint64_t id)
{
	for (size_t i = 0; i < rec->record_count; i++) {
		if (rec->records[i].end_id == id)
			return rec->records[i].first_id;
	}
	return id;
}

void recovery_drop_skipped(struct recovery *rec)
{
	struct id_array *segments = &rec->st->segments;

	while (segments->count > 1 && recovery_skipped_from(rec, segments->ids[1]) == segments->ids[0] && recovery_is_blank(rec, segments->ids[0])) {
		segments->count--;
		memmove(segments->ids, segments->ids + 1, segments->count * sizeof *segments->ids);
	}
}

/* Nobody will ask for what it tells of: the ids are before the first there is, or it came to nothing. */
static bool is_idle(const struct recovery *rec, const struct skip_record *record)
{
	const struct id_array *segments = &rec->st->segments;
	ssize_t at = id_array_find(segments, record->end_id);

	return at <= 0 || segments->ids[at] != record->end_id;
}

void recovery_finish_skips(struct recovery *rec)
{
	struct sys *sys = rec->sys;
	uint64_t first_id = rec->st->segments.ids[0];
	char name[NAME_SEGMENT_MAX];
	bool changed = false;
	int result = 0;

	if (rec->record_count == 0)
		return;
	for (size_t i = 0; i < rec->files.count && rec->files.ids[i] < first_id && result == 0; i++) {
		result = sys->unlinkat(sys, rec->dir_fd, name_segment(name, rec->files.ids[i]), 0);
		changed = true;
	}
	/* Without the record, what is there must make sense. */
	if (result == 0 && changed)
		result = sys->fsync(sys, rec->dir_fd);
	for (size_t i = 0; i < rec->record_count && result == 0; i++) {
		if (is_idle(rec, &rec->records[i]))
			result = sys->unlinkat(sys, rec->dir_fd, rec->records[i].name, 0);
	}
	if (result < 0)
		log_write(&rec->env->log, WAL_LOG_WARNING, "stream '%s': cannot remove what is left of ids that were skipped: %s", rec->st->name, wal_strerror(result));
}
