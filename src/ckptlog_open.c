/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening checkpoints.log. The order in which it is mended: the bad bytes in files of their own, fsync of those and of the directory; the log written anew without them (see
 * ckptlog_write.c); HEAD. After a crash in between the bad bytes are put aside once more.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ckptlog.h"
#include "ckptlog_impl.h"
#include "ckptscan.h"
#include "cleanup.h"
#include "names.h"

enum {
	LINES_MAX = 100,
};

struct opening {
	struct ckptlog *log;
	struct ckptlog_place *damaged;
	size_t damaged_count;
	struct ckptlog_place torn; /* bytes 0: the end is in order */
	struct wal_error *err;
};

/* Of the machine, not of the file: the next try may find it in order. */
static bool is_shortage(int error)
{
	return error == -ENOMEM || error == -EMFILE || error == -ENFILE;
}

static int fail(struct opening *o, int error, const char *what)
{
	return error_set(o->err, error, NAME_CHECKPOINTS_LOG, "'" NAME_CHECKPOINTS_LOG "': cannot %s: %s", what, wal_strerror(error));
}

/* ---- Reading ---- */

static int visit_record(void *arg, uint64_t offset, const uint8_t *payload, uint32_t size, const struct record *record)
{
	struct opening *o = arg;
	struct ckptindex_entry *entry = ckptindex_prepare(&o->log->index, record->id, record->id_size);

	(void)payload;
	if (!entry)
		return -ENOMEM;
	entry->offset = offset;
	entry->size = size;
	entry->shards = record->version == 1 ? record->count : 0;
	entry->time_ns = record->time_ns;
	ckptindex_add(&o->log->index, entry, false);
	return 0;
}

static int visit_bad(void *arg, const struct ckptscan_bad *bad)
{
	struct opening *o = arg;
	struct ckptlog_place place = { bad->offset, bad->bytes };

	if (bad->at_end) {
		o->torn = place;
	} else {
		struct ckptlog_place *places = reallocarray(o->damaged, o->damaged_count + 1, sizeof *places);

		if (!places)
			return -ENOMEM;
		o->damaged = places;
		places[o->damaged_count++] = place;
	}
	if (bad->at_end || o->damaged_count <= LINES_MAX)
		log_write(&o->log->log, WAL_LOG_WARNING, NAME_CHECKPOINTS_LOG ": offset %" PRIu64 ": %" PRIu64 " %s bytes: expected %s, found %s; %s", bad->offset,
			  bad->bytes, bad->at_end ? "torn" : "damaged", bad->expected, bad->found, o->log->ro ? "ignoring them" : "they are put aside");
	return 0;
}

/* The streams are to be had all the same. Records that were met before are not shown: those behind them could be of the same ids. */
static void give_up(struct opening *o, int error)
{
	struct ckptlog *log = o->log;

	log_write(&log->log, WAL_LOG_ERROR, NAME_CHECKPOINTS_LOG ": cannot read it: %s; the store is opened without its checkpoints", wal_strerror(error));
	ckptindex_release(&log->index);
	log->index = (struct ckptindex){ 0 };
	sys_close(log->sys, &log->fd);
	log->size = 0;
	log->unread = true;
	log->open_error = error;
	o->damaged_count = 0;
	o->torn.bytes = 0;
	if (!log->ro)
		ckptlog_stop(log, "what " NAME_CHECKPOINTS_LOG " holds is not known");
}

static int read_log(struct opening *o)
{
	struct ckptlog *log = o->log;
	const struct ckptscan scan = { .record = visit_record, .bad = visit_bad, .arg = o };

	log->fd = sys_open_regular(log->sys, log->root_fd, NAME_CHECKPOINTS_LOG, log->ro ? O_RDONLY : O_RDWR, 0);
	if (log->fd == -ENOENT)
		return 0;
	if (log->fd == -EISDIR) {
		/* ironwal takes any name for a stream. That store is to be had all the same. */
		log_write(&log->log, WAL_LOG_WARNING, NAME_CHECKPOINTS_LOG ": expected a file, found a directory; no checkpoints can be made");
		return 0;
	}
	int result = log->fd < 0 ? log->fd : ckptscan_run(&scan, log->sys, log->fd, &log->size);
	if (is_shortage(result))
		return fail(o, result, "read it");
	if (result < 0) {
		give_up(o, result);
		return 0;
	}
	ckptindex_sort(&log->index);
	if (o->damaged_count > LINES_MAX)
		log_write(&log->log, WAL_LOG_WARNING, NAME_CHECKPOINTS_LOG ": %zu more damaged places", o->damaged_count - LINES_MAX);
	return 0;
}

/* ---- Mending ---- */

static int mend_log(struct opening *o)
{
	const struct ckptlog_plan all = { 0 };
	int result = 0;

	if (o->damaged_count > 0)
		result = ckptlog_put_aside(o->log, o->damaged, o->damaged_count, false);
	if (result == 0 && o->torn.bytes > 0)
		result = ckptlog_put_aside(o->log, &o->torn, 1, true);
	if (result == 0)
		result = ckptlog_write_anew(o->log, &all);
	if (is_shortage(result))
		return fail(o, result, "put aside what is bad in it");
	if (result < 0) {
		/* What there is can be used without it. */
		log_write(&o->log->log, WAL_LOG_ERROR, NAME_CHECKPOINTS_LOG ": cannot put aside what is bad in it: %s", wal_strerror(result));
		o->log->open_error = result;
		ckptlog_stop(o->log, "what is bad in " NAME_CHECKPOINTS_LOG " is still in it");
	}
	return 0;
}

/* Whoever wrote it may have died before a sync: what is shown must not be gone after the next crash. */
static void sync_log(struct ckptlog *log)
{
	int result = log->sys->fdatasync(log->sys, log->fd);

	if (result == 0)
		result = log->sys->fsync(log->sys, log->root_fd);
	if (result == 0)
		return;
	log_write(&log->log, WAL_LOG_ERROR, NAME_CHECKPOINTS_LOG ": cannot sync it: %s", wal_strerror(result));
	log->open_error = result;
	ckptlog_stop(log, "whether those there are outlast a crash is not certain");
}

/* HEAD, which has been read, names the newest if it names none that is there. ironwal would not find that one. */
static void mend_head(struct ckptlog *log)
{
	const struct ckptindex *index = &log->index;
	bool dangles = log->head && !ckptindex_find(index, log->head, log->head_size);

	if (index->count == 0 || log->stopped || (log->head && !dangles))
		return;
	const struct ckptindex_entry *newest = index->entries[index->count - 1];
	/* None is what the death of whoever made a checkpoint leaves. */
	log_write(&log->log, dangles ? WAL_LOG_WARNING : WAL_LOG_INFO, NAME_HEAD ": expected the id of a checkpoint, found %s; it gets that of the newest",
		  dangles ? "one that is not there" : "none");
	/* Without it the newest is found by its time. */
	(void)ckptlog_set_head(log, newest->id, newest->id_size);
}

static int open_files(struct opening *o)
{
	struct ckptlog *log = o->log;
	struct sys *sys = log->sys;
	int result = read_log(o);

	if (result < 0)
		return result;
	if (!log->ro) {
		/* What a crash has left of a replacement; one that stays does no harm. */
		(void)sys->unlinkat(sys, log->root_fd, NAME_CHECKPOINTS_LOG NAME_TMP_SUFFIX, 0);
		(void)sys->unlinkat(sys, log->root_fd, NAME_HEAD NAME_TMP_SUFFIX, 0);
		if (o->damaged_count > 0 || o->torn.bytes > 0)
			result = mend_log(o);
		else if (log->fd >= 0)
			sync_log(log);
	}
	if (result < 0)
		return result;
	result = ckptlog_read_head(log, &log->head, &log->head_size);
	if (is_shortage(result))
		return fail(o, result, "read " NAME_HEAD);
	log->head_unread = result < 0;
	if (result < 0)
		log_write(&log->log, WAL_LOG_ERROR, NAME_HEAD ": cannot read it: %s; the newest checkpoint counts as the latest", wal_strerror(result));
	else if (!log->ro)
		mend_head(log);
	return 0;
}

int ckptlog_open_error(const struct ckptlog *log)
{
	return log->open_error;
}

int ckptlog_open(struct sys *sys, const struct log *log, int root_fd, bool ro, struct ckptlog **ret_log, struct wal_error *err)
{
	struct opening o = { .log = calloc(1, sizeof *o.log), .err = err };

	if (!o.log)
		return fail(&o, -ENOMEM, "read it");
	o.log->sys = sys;
	o.log->log = *log;
	o.log->root_fd = root_fd;
	o.log->ro = ro;
	o.log->fd = -1;
	pthread_mutex_init(&o.log->lock, NULL);
	pthread_mutex_init(&o.log->change_lock, NULL);
	int result = open_files(&o);
	free(o.damaged);
	if (result < 0) {
		ckptlog_free(o.log);
		return result;
	}
	*ret_log = o.log;
	return 0;
}
