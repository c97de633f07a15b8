/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a stream: what its directory holds is brought to agreement.
 *
 * The *.wal names are the truth about which segments there are; segments.idx and head.state are made to agree, except that they keep the next id alive
 * when no file is left. Sealed segments are trusted by name until they are read; the end of the active one is found by recover_active.c.
 *
 * Read-only, and of a stream that turns out damaged, the same is found out and nothing is changed.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "names.h"
#include "recovery.h"

enum { SURVEYS_MAX = 10 };

static bool has_suffix(const char *name, const char *suffix)
{
	size_t n = strlen(name), m = strlen(suffix);

	return n >= m && strcmp(name + n - m, suffix) == 0;
}

/* ---- The directory ---- */

static int visit_file(void *arg, const char *name, unsigned char type)
{
	struct recovery *rec = arg;
	uint64_t id;

	(void)type;
	if (name_is_segment(name, &id))
		return id_array_push(&rec->files, id);
	if (name_is_meta(name, &id))
		return id_array_push(&rec->metas, id);
	if (strcmp(name, NAME_HEAD_STATE) == 0)
		rec->head_listed = true;
	if (strstr(name, ".damaged."))
		return recovery_note_record(rec, name);
	/* What an interrupted replacement left. */
	if (!recovery_is_read_only(rec) && name_is_ours(name) && has_suffix(name, NAME_TMP_SUFFIX))
		rec->sys->unlinkat(rec->sys, rec->dir_fd, name, 0);
	return 0;
}

static int list_files(struct recovery *rec)
{
	rec->files.count = rec->metas.count = rec->record_count = 0;
	rec->head_listed = false;
	int result = (rec->listed ? sys_list : sys_list_once)(rec->sys, rec->dir_fd, visit_file, rec);

	rec->listed = true;

	if (result < 0)
		return error_set(rec->err, result, rec->st->name, "stream '%s': cannot list its directory: %s", rec->st->name,
				 wal_strerror(result));
	id_array_sort(&rec->files);
	return 0;
}

static int survey(struct recovery *rec)
{
	int result = list_files(rec);
	size_t before;

	/* Of a store that another process writes, names and what the small files say must be of one moment. */
	for (unsigned tries = 0; result == 0 && tries < SURVEYS_MAX; tries++) {
		id_array_release(&rec->index);
		rec->index_result = segindex_load(rec->sys, rec->dir_fd, &rec->index);
		rec->head_result = rec->head_listed ? headstate_load(rec->sys, rec->dir_fd, &rec->head) : -ENOENT;
		if (!recovery_is_read_only(rec))
			break;
		before = rec->files.count;
		result = list_files(rec);
		if (rec->files.count == before)
			break;
	}
	if (result < 0)
		return result;
	if (rec->files.count == 0 && rec->index_result == -ENOENT && rec->head_result == -ENOENT)
		return WAL_NOT_FOUND;
	return 0;
}

/*
 * The latest segment that the two small files name, if any. Neither has a checksum, so against the files that are there one alone is not believed; in no state that a
 * crash leaves does either name what is not there, but for ironwal's, which names it in both.
 */
static bool named_last(const struct recovery *rec, uint64_t *ret_id)
{
	bool by_index = rec->index_result == 0 && rec->index.count > 0, by_head = rec->head_result == 0;
	uint64_t index = by_index ? rec->index.ids[rec->index.count - 1] : 0, head = by_head ? rec->head : 0;

	*ret_id = head > index ? head : index;
	return rec->files.count == 0 ? by_index || by_head : by_index && by_head && index == head;
}

/* Sidecars of segments that are gone. */
static void remove_orphans(struct recovery *rec)
{
	const struct id_array *segments = &rec->st->segments;
	char name[NAME_SEGMENT_MAX];

	for (size_t i = 0; i < rec->metas.count; i++) {
		ssize_t at = id_array_find(segments, rec->metas.ids[i]);

		if (at < 0 || segments->ids[at] != rec->metas.ids[i])
			rec->sys->unlinkat(rec->sys, rec->dir_fd, name_meta(name, rec->metas.ids[i]), 0);
	}
}

/* Makes segments.idx and head.state say what is the case. */
static int agree(struct recovery *rec)
{
	struct wal_stream *st = rec->st;
	const struct id_array *is = &st->segments, *was = &rec->index;
	uint64_t active = is->ids[is->count - 1];
	struct stat sb;
	int result = 0;

	bool index_ok = rec->index_result == 0 && is->count == was->count && memcmp(is->ids, was->ids, is->count * sizeof *is->ids) == 0 &&
			rec->sys->fstatat(rec->sys, rec->dir_fd, NAME_SEGMENTS_IDX, &sb) == 0 && (uint64_t)sb.st_size == 8 * is->count;
	if (!index_ok) {
		if (rec->index_result != 0 || was->count > 0)
			log_write(&rec->env->log, WAL_LOG_WARNING, "stream '%s': %s %s, it is written anew from the %zu segments that are there",
				  st->name, NAME_SEGMENTS_IDX,
				  rec->index_result == 0       ? "does not list what is there" :
				  rec->index_result == -ENOENT ? "is missing" :
								 "is not readable",
				  is->count);
		result = segindex_store(rec->sys, rec->dir_fd, is, 0600);
	}
	/* ironwal writes head.state at the first rotation. */
	bool head_wanted = is->count > 1 || is->ids[0] > 0 || rec->head_result != -ENOENT;
	if (result == 0 && head_wanted && (rec->head_result != 0 || rec->head != active)) {
		log_write(&rec->env->log, WAL_LOG_WARNING, "stream '%s': %s %s, it is written anew for segment %020" PRIu64, st->name, NAME_HEAD_STATE,
			  rec->head_result == 0	      ? "names another segment" :
			  rec->head_result == -ENOENT ? "is missing" :
							"is not readable",
			  active);
		result = headstate_store(rec->sys, rec->dir_fd, active, 0600);
	}
	return result;
}

/* ---- Which one is active ---- */

bool recovery_is_blank(struct recovery *rec, uint64_t id)
{
	char name[NAME_SEGMENT_MAX];
	struct scan scan;
	struct stat sb;
	int fd = sys_open_regular(rec->sys, rec->dir_fd, name_segment(name, id), O_RDONLY, 0), result;

	if (fd < 0)
		return false;
	result = rec->sys->fstat(rec->sys, fd, &sb);
	if (result == 0 && scan_init(&scan, rec->sys, fd, id, (uint64_t)sb.st_size, (size_t)rec->env->opts.read_buffer) == 0) {
		result = scan_is_zero(&scan, 0, (uint64_t)sb.st_size);
		scan_release(&scan);
	}
	sys_close(rec->sys, &fd);
	return result == 1;
}

static int missing_ids(struct recovery *rec, uint64_t before, uint64_t from, uint64_t to)
{
	char text[256];

	snprintf(text, sizeof text,
		 "the ids %" PRIu64 " to %" PRIu64 " are missing between segment %020" PRIu64 ".wal, which ends before them, and %020" PRIu64 ".wal", from,
		 to - 1, before, to);
	return recovery_damage(rec, 0, text);
}

/* The step of a rotation that the crash left out. */
static int cut_to_length(struct recovery *rec, uint64_t id, uint64_t end)
{
	char name[NAME_SEGMENT_MAX];
	int fd = sys_open_regular(rec->sys, rec->dir_fd, name_segment(name, id), O_RDWR, 0);
	int result = fd < 0 ? fd : rec->sys->ftruncate(rec->sys, fd, end);

	if (result == 0)
		result = rec->sys->fsync(rec->sys, fd);
	if (fd >= 0)
		sys_close(rec->sys, &fd);
	return result;
}

/*
 * The last file is empty: a rotation was the last thing that happened, or did not come to its end. 1 if the segment before it is still the active one (and has been
 * recovered), because it went on beyond the id at which the new one was to begin.
 */
static int rotation_was_given_up(struct recovery *rec)
{
	struct wal_stream *st = rec->st;
	size_t count = st->segments.count;
	char name[NAME_SEGMENT_MAX];

	if (count < 2 || !recovery_is_blank(rec, st->segments.ids[count - 1]))
		return 0;
	uint64_t new_id = st->segments.ids[count - 1], old_id = st->segments.ids[count - 2], from = recovery_skipped_from(rec, new_id);
	/* If head.state names it, the old segment was sealed, unless even taking the rotation back failed: then it is only looked at. */
	bool sealed = rec->head_result == 0 && rec->head == new_id;
	st->segments.count = count - 1;
	rec->probe = sealed;
	rec->sealed_below = from;
	int result = recover_active(rec, old_id);
	rec->probe = false;
	if (result == 0 && st->next_id > from) {
		log_write(&rec->env->log, WAL_LOG_WARNING, "stream '%s': segment %020" PRIu64 ".wal is the empty rest of a rotation that was given up, %s",
			  st->name, new_id, recovery_is_read_only(rec) || st->health != WAL_HEALTHY ? "ignoring it" : "removed");
		if (!recovery_is_read_only(rec) && st->health == WAL_HEALTHY)
			rec->sys->unlinkat(rec->sys, rec->dir_fd, name_segment(name, new_id), 0);
		if (sealed) {
			sys_close(rec->sys, &st->meta_fd);
			result = recover_active(rec, old_id);
		}
		rec->sealed_below = 0;
		return result < 0 ? result : 1;
	}
	if (result == 0 && !sealed && st->next_id < from)
		result = missing_ids(rec, old_id, st->next_id, new_id);
	else if (result == 0 && !sealed && !recovery_is_read_only(rec) && st->health == WAL_HEALTHY)
		result = cut_to_length(rec, old_id, st->active.end);
	rec->sealed_below = 0;
	rec->last_time = st->meta.at.last_time;
	sys_close(rec->sys, &st->meta_fd);
	st->segments.count = count;
	/* What can't be read of a sealed segment costs its entries, when they are read. */
	return sealed ? 0 : result;
}

/* The small files name a segment behind all that there are. */
static int follow_named(struct recovery *rec, uint64_t named)
{
	struct wal_stream *st = rec->st;
	uint64_t last = st->segments.ids[st->segments.count - 1], from = recovery_skipped_from(rec, named);

	if (named <= last || st->next_id > from)
		return 0; /* of a rotation that was given up */
	int result = st->next_id < from ? missing_ids(rec, last, st->next_id, named) : 0;
	rec->last_time = st->meta.at.last_time;
	sys_close(rec->sys, &st->meta_fd);
	if (result == 0)
		result = id_array_push(&st->segments, named);
	return result < 0 ? result : recover_active(rec, named);
}

/* Whether the index lists all that are there: else it is wrong itself, and no witness. */
static bool index_is_complete(const struct recovery *rec)
{
	const struct id_array *files = &rec->files, *index = &rec->index;

	for (size_t i = 0; i < files->count; i++) {
		ssize_t at = id_array_find(index, files->ids[i]);

		if (at < 0 || index->ids[at] != files->ids[i])
			return false;
	}
	return rec->index_result == 0;
}

/* A segment in the middle that the index lists and the directory does not have. */
static int check_missing(struct recovery *rec)
{
	const struct id_array *files = &rec->files;
	char text[256];

	if (!index_is_complete(rec))
		return 0;
	for (size_t i = 0; i < rec->index.count; i++) {
		uint64_t id = rec->index.ids[i];
		ssize_t at = id_array_find(files, id);

		/* Older ones went in a prune, a later one is follow_named()'s. */
		if (at < 0 || files->ids[at] == id || (size_t)at + 1 == files->count)
			continue;
		struct meta_pos end;
		/* The index alone lists it, if the segment before leads to the one behind. */
		if (sidecar_end(rec->sys, rec->dir_fd, files->ids[at], &end) && end.id == files->ids[at + 1])
			continue;
		snprintf(text, sizeof text,
			 "%s lists segment %020" PRIu64 ".wal, which is missing between %020" PRIu64 ".wal and %020" PRIu64 ".wal", NAME_SEGMENTS_IDX, id,
			 files->ids[at], files->ids[at + 1]);
		return recovery_damage(rec, 0, text);
	}
	return 0;
}

static int choose_active(struct recovery *rec)
{
	struct wal_stream *st = rec->st;
	uint64_t named;
	bool any_named = named_last(rec, &named);
	int result = 0;

	for (size_t i = 0; i < rec->files.count && result == 0; i++)
		result = id_array_push(&st->segments, rec->files.ids[i]);
	if (result == 0 && rec->files.count == 0)
		result = id_array_push(&st->segments, named);
	if (result == 0)
		result = check_missing(rec);
	if (result == 0)
		result = rotation_was_given_up(rec);
	if (result == 0)
		result = recover_active(rec, st->segments.ids[st->segments.count - 1]);
	if (result >= 0 && any_named)
		result = follow_named(rec, named);
	if (result >= 0)
		recovery_drop_skipped(rec);
	return result < 0 ? result : 0;
}

/* The active segment's file is missing, and that is no reason to stop: the stream goes on behind the ids that were in it. */
static int skip_lost(struct recovery *rec)
{
	struct wal_stream *st = rec->st;
	int result = wal_stream_skip(st, rec->lost_end);

	if (result == -ENOSPC || result == -EDQUOT) {
		recovery_read_only(st, "no room to leave out the ids of its missing segment");
		return 0;
	}
	return result == 0 ? 0 : error_set(rec->err, result, st->name, "stream '%s': cannot leave out the ids of its missing segment: %s", st->name, wal_strerror(result));
}

int stream_recover(struct wal_stream *st, struct wal_error *err)
{
	struct recovery rec = { .st = st, .env = &st->engine->env, .sys = st->engine->env.sys, .err = err, .fd = -1, .meta_fd = -1 };
	int result;

	rec.dir_fd = segment_open_dir(rec.env, st->name);
	if (rec.dir_fd < 0)
		return error_set(err, rec.dir_fd, st->name, "stream '%s': cannot open its directory: %s", st->name, wal_strerror(rec.dir_fd));
	result = survey(&rec);
	if (result == 0)
		result = choose_active(&rec);
	if (result == 0 && !rec.env->opts.ro && st->health == WAL_HEALTHY) {
		result = agree(&rec);
		if (result == 0) {
			recovery_finish_skips(&rec);
			remove_orphans(&rec);
		} else if (result == -ENOSPC || result == -EDQUOT) {
			recovery_read_only(st, "no room to write its index anew");
			result = 0;
		} else {
			error_set(err, result, st->name, "stream '%s': cannot write its index: %s", st->name, wal_strerror(result));
		}
	}
	if (result == 0) {
		id_array_trim(&st->segments);
		st->pub_mtime = st->meta.at.last_time ? st->meta.at.last_time : rec.mtime;
		stream_publish(st);
		if (rec.lost_end > st->next_id && !rec.env->opts.ro && st->health == WAL_HEALTHY)
			result = skip_lost(&rec);
	}
	id_array_release(&rec.files);
	id_array_release(&rec.metas);
	id_array_release(&rec.index);
	free(rec.records);
	sys_close(rec.sys, &rec.dir_fd);
	return result;
}

int stream_create_meta(struct wal_stream *st, int dir_fd, uint64_t first_id)
{
	struct sys *sys = st->engine->env.sys;
	char name[NAME_SEGMENT_MAX];
	int fd = sys_open_regular(sys, dir_fd, name_meta(name, first_id), O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		return fd;
	sys_close(sys, &fd);
	return 0;
}

int stream_quarantine(struct wal_stream *st, const char *reason)
{
	int result = st->segments.count == 0 ? id_array_push(&st->segments, 0) : 0;

	if (result < 0)
		return result;
	uint64_t last = st->segments.ids[st->segments.count - 1];
	uint8_t block[META_BLOCK_BYTES];
	struct meta_writer w = { 0 };
	sys_close(st->engine->env.sys, &st->meta_fd);
	meta_writer_begin(&w, last, NULL, 0, block);
	result = stream_meta_keep(st, &w);
	if (result < 0)
		return result;
	st->active = (struct active_segment){ .first_id = last };
	st->next_id = st->durable_id = last;
	st->tail = WAL_TAIL_DAMAGED;
	st->health = WAL_READONLY;
	st->quarantined = true;
	stream_set_reason(st, reason);
	stream_publish(st);
	return 0;
}

int stream_create(struct wal_stream *st)
{
	struct sys *sys = st->engine->env.sys;
	char name[NAME_SEGMENT_MAX];
	struct id_array index = { 0 };
	int dir_fd = segment_open_dir(&st->engine->env, st->name);

	if (dir_fd < 0)
		return dir_fd;
	int fd = sys->openat(sys, dir_fd, name_segment(name, 0), O_RDWR | O_CREAT | O_EXCL, 0600);
	int result = fd < 0 ? fd : sys->fsync(sys, fd);
	if (result == 0)
		result = stream_create_meta(st, dir_fd, 0);
	if (result == 0)
		result = id_array_push(&index, 0);
	/* This fsyncs the directory too. */
	if (result == 0)
		result = segindex_store(sys, dir_fd, &index, 0600);
	id_array_release(&index);
	if (fd >= 0)
		sys_close(sys, &fd);
	sys_close(sys, &dir_fd);
	return result == 0 ? stream_recover(st, NULL) : result;
}
