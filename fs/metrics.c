/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The format wants all samples of a metric together, so it is metric by metric over all streams. What has to be read from the disk is therefore gathered first, a row for each
 * stream; counters are looked at when they are written. A histogram is written from one look at it, so that its count is that of its buckets.
 */
#include "metrics.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "exposition.h"
#include "handle.h"

/* ---- What there is of a stream ---- */

struct figure {
	const char *name;
	const char *labels; /* beside the stream's; NULL: none */
	const char *help;   /* NULL: one more of the metric before */
	size_t offset;	    /* in the struct that it is a figure of */
};

#define COUNTER(name, help, field) { name, NULL, help, offsetof(struct wal_stream_counters, field) }
#define ERROR(kind, help, field) { "walfs_stream_errors_total", "kind=\"" kind "\"", help, offsetof(struct wal_stream_counters, field) }

static const struct figure counters[] = {
	COUNTER("walfs_stream_appends_total", "Entries appended.", appends),
	COUNTER("walfs_stream_append_bytes_total", "Bytes of the entries appended.", append_bytes),
	COUNTER("walfs_stream_frames_total", "Frames written: single entries and batches.", frames),
	COUNTER("walfs_stream_frame_bytes_total", "Bytes of the frames written, headers and all.", frame_bytes),
	COUNTER("walfs_stream_writes_total", "Writes that those frames were gathered into.", writes),
	COUNTER("walfs_stream_syncs_total", "Syncs of the active segment.", syncs),
	COUNTER("walfs_stream_synced_appends_total", "Entries that those syncs made durable.", synced_appends),
	COUNTER("walfs_stream_reads_total", "Entries read.", reads),
	COUNTER("walfs_stream_read_bytes_total", "Bytes of entries read.", read_bytes),
	COUNTER("walfs_stream_rotations_total", "Segments sealed.", rotations),
	COUNTER("walfs_stream_pruned_segments_total", "Segments dropped by pruning.", pruned_segments),
	ERROR("append_space", "What failed, by kind.", append_errors_space),
	ERROR("append_size", NULL, append_errors_size),
	ERROR("append_io", NULL, append_errors_io),
	ERROR("append_other", NULL, append_errors_other),
	ERROR("sync", NULL, sync_errors),
	ERROR("read_damaged", NULL, read_errors_damaged),
	ERROR("read_other", NULL, read_errors_other),
};

#define GAUGE(name, help, field) { name, NULL, help, offsetof(struct wal_stream_stat, field) }

static const struct figure gauges[] = {
	GAUGE("walfs_stream_first_id", "The oldest entry; the next id if there is none.", first_id),
	GAUGE("walfs_stream_next_id", "The id that the next entry gets.", next_id),
	GAUGE("walfs_stream_durable_id", "Every entry below is on stable storage.", durable_id),
	GAUGE("walfs_stream_entries", "Entries there are.", entries),
	GAUGE("walfs_stream_payload_bytes", "Their bytes.", payload_bytes),
	GAUGE("walfs_stream_disk_bytes", "Bytes allocated on disk.", disk_bytes),
	GAUGE("walfs_stream_segments", "Segment files.", segments),
};

enum {
	COUNTERS = sizeof(counters) / sizeof(*counters),
	GAUGES = sizeof(gauges) / sizeof(*gauges),
};

static uint64_t value_at(const void *figures, size_t offset)
{
	return *(const uint64_t *)((const char *)figures + offset);
}

static const char *const health_states[] = {
	[WAL_HEALTHY] = "state=\"healthy\"",
	[WAL_READONLY] = "state=\"readonly\"",
	[WAL_STOPPED] = "state=\"stopped\"",
};

static const char *const tail_states[] = {
	[WAL_TAIL_CLEAN] = "state=\"clean\"",
	[WAL_TAIL_TRUNCATED] = "state=\"truncated\"",
	[WAL_TAIL_DAMAGED] = "state=\"damaged\"",
};

enum {
	STATES = 3, /* of either */
	/* Of more, the store's file tells only of those that there is something to tell of: 75 values of each of 100,000 are more than any collector wants, and take seconds to gather. */
	STREAMS_ALL = 1000,
};

/* ---- Gathering ---- */

struct row {
	struct slot *slot;
	char *labels;
	bool known; /* all that follows */
	uint64_t gauges[GAUGES];
	int64_t last_append_ns;
	enum wal_tail_state tail;
	enum wal_health health;
	char *reason; /* as a label; NULL: it is healthy */
};

struct rows {
	struct row *first;
	size_t count, room;
	size_t left_out;
	bool is_store; /* all streams, not one */
};

static void row_release(struct walfs *fs, struct row *row)
{
	free(row->labels);
	free(row->reason);
	slot_put(fs, row->slot);
}

static void rows_release(struct walfs *fs, struct rows *rows)
{
	for (size_t i = 0; i < rows->count; i++)
		row_release(fs, &rows->first[i]);
	free(rows->first);
}

/* A stream whose figures can't be had still has counters. */
static int row_fill(struct row *row)
{
	struct wal_stream_stat stat;
	int r = wal_stream_stat(row->slot->stream, &stat);

	row->labels = exposition_label("stream", row->slot->name);
	if (!row->labels || r == -ENOMEM)
		return -ENOMEM;
	if (r < 0)
		return 0;
	for (size_t i = 0; i < GAUGES; i++)
		row->gauges[i] = value_at(&stat, gauges[i].offset);
	row->last_append_ns = stat.last_append_ns;
	row->tail = stat.tail;
	row->health = stat.health;
	row->known = true;
	if (stat.health != WAL_HEALTHY && !(row->reason = exposition_label("reason", stat.reason)))
		return -ENOMEM;
	return 0;
}

/* Takes over the caller's use of `slot`. */
static int rows_add(struct walfs *fs, struct rows *rows, struct slot *slot)
{
	struct row row = { .slot = slot };
	size_t room = rows->room ? rows->room * 2 : 1;
	struct row *first = rows->first;
	int r = row_fill(&row);

	if (r == 0 && rows->count == rows->room) {
		first = reallocarray(rows->first, room, sizeof(*first));
		if (first) {
			rows->first = first;
			rows->room = room;
		} else {
			r = -ENOMEM;
		}
	}
	if (r < 0)
		row_release(fs, &row);
	else
		rows->first[rows->count++] = row;
	return r;
}

/* Whether nothing has happened to it since the mount, nothing is wrong with it, and nothing was when it was mounted. */
static bool is_idle(struct slot *slot)
{
	static const struct wal_stream_counters none;
	struct wal_stream_counters now;

	wal_stream_counters(slot->stream, &now);
	return memcmp(&now, &none, sizeof(now)) == 0 && wal_stream_health(slot->stream) == WAL_HEALTHY &&
	       wal_stream_tail(slot->stream) == WAL_TAIL_CLEAN;
}

/* A stream that was deleted meanwhile is not in it. */
static int rows_add_all(struct walfs *fs, struct rows *rows)
{
	bool busy_only = namespace_count(fs) > STREAMS_ALL;
	char name[WAL_STREAM_NAME_MAX + 1];
	struct slot *slot;
	uint64_t ino_base;
	int r = 0;

	for (uint32_t i = 0; r == 0 && namespace_next(fs, i, &i, name, &ino_base); i++) {
		r = slot_get(fs, i, &slot);
		if (r == 0 && busy_only && is_idle(slot)) {
			rows->left_out++;
			slot_put(fs, slot);
		} else if (r == 0) {
			r = rows_add(fs, rows, slot);
		} else if (r != -ENOMEM) {
			r = 0;
		}
	}
	return r;
}

/* ---- Streams ---- */

static void put_counters(FILE *out, const struct rows *rows)
{
	struct wal_stream_counters now;

	for (size_t c = 0; c < COUNTERS; c++) {
		if (c && !strcmp(counters[c].name, counters[c - 1].name))
			continue; /* written with the first of them */
		exposition_family(out, counters[c].name, "counter", counters[c].help);
		for (size_t i = 0; i < rows->count; i++) {
			wal_stream_counters(rows->first[i].slot->stream, &now);
			for (size_t k = c; k < COUNTERS && !strcmp(counters[k].name, counters[c].name); k++)
				exposition_uint(out, counters[k].name, rows->first[i].labels, counters[k].labels, value_at(&now, counters[k].offset));
		}
	}
}

static void put_gauges(FILE *out, const struct rows *rows)
{
	for (size_t g = 0; g < GAUGES; g++) {
		exposition_family(out, gauges[g].name, "gauge", gauges[g].help);
		for (size_t i = 0; i < rows->count; i++)
			if (rows->first[i].known)
				exposition_uint(out, gauges[g].name, rows->first[i].labels, NULL, rows->first[i].gauges[g]);
	}
	exposition_family(out, "walfs_stream_last_append_timestamp_seconds", "gauge", "Time of the last append; of the stream's creation if there was none.");
	for (size_t i = 0; i < rows->count; i++)
		if (rows->first[i].known)
			exposition_seconds(out, "walfs_stream_last_append_timestamp_seconds", rows->first[i].labels, rows->first[i].last_append_ns);
}

static void put_states(FILE *out, const struct rows *rows)
{
	exposition_family(out, "walfs_stream_health", "gauge", "1 for the present state: only a healthy stream takes appends.");
	for (size_t i = 0; i < rows->count; i++)
		for (int state = 0; rows->first[i].known && state < STATES; state++)
			exposition_uint(out, "walfs_stream_health", rows->first[i].labels, health_states[state], (int)rows->first[i].health == state);
	exposition_family(out, "walfs_stream_unhealthy_info", "gauge", "1 for a stream that is not healthy: why.");
	for (size_t i = 0; i < rows->count; i++)
		if (rows->first[i].reason)
			exposition_uint(out, "walfs_stream_unhealthy_info", rows->first[i].labels, rows->first[i].reason, 1);
	exposition_family(out, "walfs_stream_tail", "gauge", "1 for the state in which opening the store found the end of the log.");
	for (size_t i = 0; i < rows->count; i++)
		for (int state = 0; rows->first[i].known && state < STATES; state++)
			exposition_uint(out, "walfs_stream_tail", rows->first[i].labels, tail_states[state], (int)rows->first[i].tail == state);
}

static bool is_empty(const struct wal_histogram *histogram)
{
	for (unsigned i = 0; i < WAL_HISTOGRAM_CLASSES; i++)
		if (histogram->classes[i])
			return false;
	return true;
}

/* Of many streams most are idle: their empty histograms would be the most of the text. */
static void put_histogram(FILE *out, const struct rows *rows, const char *name, const char *help, size_t offset)
{
	struct wal_stream_counters now;
	const struct wal_histogram *histogram = (const void *)((const char *)&now + offset);

	exposition_family(out, name, "histogram", help);
	for (size_t i = 0; i < rows->count; i++) {
		wal_stream_counters(rows->first[i].slot->stream, &now);
		if (!rows->is_store || !is_empty(histogram))
			exposition_histogram(out, name, rows->first[i].labels, histogram);
	}
}

static void put_streams(FILE *out, const struct rows *rows)
{
	put_gauges(out, rows);
	put_states(out, rows);
	put_counters(out, rows);
	put_histogram(out, rows, "walfs_stream_append_duration_seconds",
		      "Time from the call to the commit, of all appends that wait for a sync and of one in 16 of the others.",
		      offsetof(struct wal_stream_counters, append_time));
	put_histogram(out, rows, "walfs_stream_sync_duration_seconds", "Time that a sync took.", offsetof(struct wal_stream_counters, sync_time));
}

/* ---- The store and the mount ---- */

static void put_one(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
	exposition_family(out, name, type, help);
	exposition_uint(out, name, NULL, NULL, value);
}

static int put_checkpoints(struct walfs *fs, FILE *out)
{
	struct wal_checkpoint *latest;
	int r = wal_checkpoint_latest(fs->store, &latest);

	if (r == -ENOMEM)
		return r;
	exposition_family(out, "walfs_store_latest_checkpoint_timestamp_seconds", "gauge", "When the latest checkpoint was made.");
	if (r == 0) {
		exposition_seconds(out, "walfs_store_latest_checkpoint_timestamp_seconds", NULL, latest->time_ns);
		free(latest);
	}
	put_one(out, "walfs_store_checkpoints", "gauge", "Checkpoints there are.", wal_checkpoint_count(fs->store));
	return 0;
}

static void put_disk(struct walfs *fs, FILE *out)
{
	struct statvfs disk;
	bool known = wal_store_statvfs(fs->store, &disk) == 0;

	exposition_family(out, "walfs_store_free_bytes", "gauge", "Free bytes of the filesystem that holds the store, as an ordinary user sees them.");
	if (known)
		exposition_uint(out, "walfs_store_free_bytes", NULL, NULL, (uint64_t)disk.f_bavail * disk.f_frsize);
	exposition_family(out, "walfs_store_size_bytes", "gauge", "Size of that filesystem.");
	if (known)
		exposition_uint(out, "walfs_store_size_bytes", NULL, NULL, (uint64_t)disk.f_blocks * disk.f_frsize);
}

static void put_store_counters(struct walfs *fs, FILE *out)
{
	struct wal_store_counters now;

	wal_store_counters(fs->store, &now);
	put_one(out, "walfs_store_open_segments", "gauge", "Segment files that are open.", now.open_segments);
	put_one(out, "walfs_store_segment_opens_total", "counter", "Segment files opened.", now.segment_opens);
	put_one(out, "walfs_store_cache_bytes", "gauge", "Bytes in the block cache.", now.cache_bytes);
	put_one(out, "walfs_store_cache_hits_total", "counter", "Decoded batches and compressed frames found in the block cache.", now.cache_hits);
	put_one(out, "walfs_store_cache_misses_total", "counter", "Those not found there.", now.cache_misses);
	put_one(out, "walfs_store_checkpoints_made_total", "counter", "Checkpoints made.", now.checkpoints);
	put_one(out, "walfs_store_checkpoint_errors_total", "counter", "Checkpoints that could not be made.", now.checkpoint_errors);
	exposition_family(out, "walfs_store_checkpoint_duration_seconds", "histogram", "Time that a checkpoint took, its syncs and all.");
	exposition_histogram(out, "walfs_store_checkpoint_duration_seconds", NULL, &now.checkpoint_time);
}

static void put_handles(struct walfs *fs, FILE *out)
{
	uint64_t counts[HANDLE_KINDS];

	handle_count(fs, counts);
	exposition_family(out, "walfs_mount_open_handles", "gauge", "Files and directories that are open through the mount.");
	for (int kind = 0; kind < HANDLE_KINDS; kind++) {
		char label[40];

		snprintf(label, sizeof(label), "kind=\"%s\"", handle_kind_name(kind));
		exposition_uint(out, "walfs_mount_open_handles", label, NULL, counts[kind]);
	}
}

static int put_store(struct walfs *fs, FILE *out, const struct rows *rows)
{
	exposition_family(out, "walfs_build_info", "gauge", "Always 1: the version.");
	exposition_uint(out, "walfs_build_info", "version=\"" WAL_VERSION "\"", NULL, 1);
	put_one(out, "walfs_store_readonly", "gauge", "1 if the store is open for reading only.", fs->ro);
	put_one(out, "walfs_store_streams", "gauge", "Streams there are.", rows->count + rows->left_out);
	put_one(out, "walfs_store_streams_left_out", "gauge", "Those of them that have no values here, because nothing has happened to them yet.", rows->left_out);
	put_one(out, "walfs_store_shards", "gauge", "Shards; 0: the store is not sharded.", wal_store_shards(fs->store));
	put_disk(fs, out);
	put_store_counters(fs, out);
	put_handles(fs, out);
	requests_put(&fs->requests, out);
	return put_checkpoints(fs, out);
}

int metrics_render(struct walfs *fs, struct slot *slot, FILE *out)
{
	struct rows rows = { .is_store = !slot };
	int r;

	if (slot) {
		slot_ref(fs, slot);
		r = rows_add(fs, &rows, slot);
	} else {
		r = rows_add_all(fs, &rows);
		if (r == 0)
			r = put_store(fs, out, &rows);
	}
	if (r == 0)
		put_streams(out, &rows);
	rows_release(fs, &rows);
	return r;
}
