/* SPDX-License-Identifier: Apache-2.0 */
#include "moment.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "metric.h"
#include "mounts.h"

enum { READ_BYTES = 1 << 20 };

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

struct moment_stream *moment_find(struct moment *moment, const char *name)
{
	for (size_t i = 0; i < moment->count; i++) {
		size_t at = (moment->last + i) % moment->count;

		if (!strcmp(moment->streams[at].name, name)) {
			moment->last = at;
			return &moment->streams[at];
		}
		/* Streams stand in one order in all metrics. */
		if (i == 0 && moment->last + 1 < moment->count && !strcmp(moment->streams[moment->last + 1].name, name))
			return &moment->streams[++moment->last];
	}
	return NULL;
}

static int add(struct moment *moment, const char *name, struct moment_stream **ret)
{
	if (moment->count == moment->capacity) {
		size_t capacity = moment->capacity ? 2 * moment->capacity : 16;
		struct moment_stream *streams = reallocarray(moment->streams, capacity, sizeof(*streams));

		if (!streams)
			return -ENOMEM;
		moment->streams = streams;
		moment->capacity = capacity;
	}
	*ret = &moment->streams[moment->count];
	**ret = (struct moment_stream){ .name = strdup(name) };
	if (!(*ret)->name)
		return -ENOMEM;
	moment->last = moment->count++;
	return 0;
}

void moment_release(struct moment *moment)
{
	for (size_t i = 0; i < moment->count; i++)
		free(moment->streams[i].name);
	free(moment->streams);
	*moment = (struct moment){ 0 };
}

/* ---- From a mount ---- */

static void take_bucket(struct moment_histogram *histogram, const struct metric *metric, uint64_t value)
{
	if (!metric->le || histogram->count == MOMENT_BUCKETS_MAX)
		return;
	histogram->bounds[histogram->count] = !strcmp(metric->le, "+Inf") ? INFINITY : strtod(metric->le, NULL);
	histogram->counts[histogram->count++] = value;
}

static void take_state(struct wal_stream_stat *stat, const struct metric *metric)
{
	static const char *const health[] = { [WAL_HEALTHY] = "healthy", [WAL_READONLY] = "readonly", [WAL_STOPPED] = "stopped" };
	static const char *const tail[] = { [WAL_TAIL_CLEAN] = "clean", [WAL_TAIL_TRUNCATED] = "truncated", [WAL_TAIL_DAMAGED] = "damaged" };

	for (int i = 0; metric->state && i < 3; i++) {
		if (!strcmp(metric->name, "walfs_stream_health") && !strcmp(metric->state, health[i]))
			stat->health = i;
		if (!strcmp(metric->name, "walfs_stream_tail") && !strcmp(metric->state, tail[i]))
			stat->tail = i;
	}
}

static int take(struct moment *moment, const struct metric *metric)
{
	static const struct {
		const char *name;
		size_t offset;
	} numbers[] = {
		{ "walfs_stream_next_id", offsetof(struct moment_stream, next_id) },
		{ "walfs_stream_payload_bytes", offsetof(struct moment_stream, payload_bytes) },
		{ "walfs_stream_appends_total", offsetof(struct moment_stream, appends) },
		{ "walfs_stream_append_bytes_total", offsetof(struct moment_stream, append_bytes) },
		{ "walfs_stream_syncs_total", offsetof(struct moment_stream, syncs) },
		{ "walfs_stream_synced_appends_total", offsetof(struct moment_stream, synced_appends) },
	};
	struct moment_stream *stream;
	uint64_t value;
	int r;

	if (!metric->stream)
		return 0;
	if (!moment->count)
		snprintf(moment->first_metric, sizeof(moment->first_metric), "%s", metric->name);
	/* Looking in vain for each new one of many would take long. */
	stream = strcmp(metric->name, moment->first_metric) ? moment_find(moment, metric->stream) : NULL;
	if (!stream && (r = add(moment, metric->stream, &stream)) < 0)
		return r;
	value = strtoull(metric->value, NULL, 10);
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++)
		if (!strcmp(metric->name, numbers[i].name))
			*(uint64_t *)((char *)stream + numbers[i].offset) = value;
	if (!strcmp(metric->name, "walfs_stream_append_duration_seconds_bucket"))
		take_bucket(&stream->append_time, metric, value);
	else if (!strcmp(metric->name, "walfs_stream_sync_duration_seconds_bucket"))
		take_bucket(&stream->sync_time, metric, value);
	else if (value)
		take_state(&stream->stat, metric);
	return 0;
}

static int read_stats(FILE *file, struct moment *moment)
{
	struct metric metric;
	char *line = NULL;
	size_t capacity = 0;
	int r = 0;

	errno = 0;
	while (r == 0 && getline(&line, &capacity, file) >= 0)
		if (metric_parse(line, &metric))
			r = take(moment, &metric);
	if (r == 0 && ferror(file))
		r = errno ? -errno : -EIO;
	free(line);
	return r;
}

static enum exit_code look_at_mount(const struct command *command, const char *mountpoint, struct moment *moment)
{
	char *path = NULL;
	FILE *file;
	int r;

	if (asprintf(&path, "%s/.stats", mountpoint) < 0)
		return command_fail(command, -ENOMEM, "reading figures");
	file = fopen(path, "re");
	r = file ? 0 : -errno;
	moment->counted = true;
	moment->time_ns = now_ns(); /* the figures are those of the opening */
	if (file) {
		setvbuf(file, NULL, _IOFBF, READ_BYTES);
		r = read_stats(file, moment);
		fclose(file);
	}
	/* There is a mount: it is not the user who asked for what is not there. */
	if (r < 0)
		command_say(command, "reading '%s': %s", path, strerror(-r));
	free(path);
	return r < 0 ? EXIT_SYSTEM : EXIT_OK;
}

/* ---- From the store ---- */

static int stat_one(struct wal_store *store, const char *name, struct moment *moment)
{
	struct moment_stream *entry;
	struct wal_stream *stream;
	int r = wal_stream_open(store, name, 0, &stream, NULL);

	if (r < 0)
		return r == -ENOENT ? 0 : r;
	r = add(moment, name, &entry);
	if (r == 0)
		r = wal_stream_stat(stream, &entry->stat);
	if (r == 0) {
		entry->next_id = entry->stat.next_id;
		entry->payload_bytes = entry->stat.payload_bytes;
	}
	wal_stream_close(stream);
	return r;
}

static enum exit_code open_again(struct command *command, struct wal_store **ret_store)
{
	struct wal_error error = { 0 };
	int r;

	command->options.log = NULL;
	r = wal_store_open(command->store_path, &command->options, ret_store, &error);
	return r < 0 ? command_fail_open(command, r, &error) : EXIT_OK;
}

static enum exit_code look_at_store(struct command *command, bool again, struct moment *moment)
{
	struct wal_store *store;
	enum exit_code code = again && command->options.ro ? open_again(command, &store) : command_open_store(command, &store);
	char **names;
	size_t count;
	int r;

	if (code)
		return code;
	moment->time_ns = now_ns();
	r = wal_store_list(store, &names, &count);
	for (size_t i = 0; r == 0 && i < count; i++)
		r = stat_one(store, names[i], moment);
	if (r < 0)
		code = command_fail(command, r, "reading figures");
	else
		free(names);
	return command_close_store(command, store, code);
}

enum exit_code moment_look(struct command *command, bool again, struct moment *ret)
{
	char *mountpoint = mounts_is_mountpoint(command->store_path) ? strdup(command->store_path) : mounts_find(command->store_path);
	enum exit_code code;

	*ret = (struct moment){ 0 };
	code = mountpoint ? look_at_mount(command, mountpoint, ret) : look_at_store(command, again, ret);
	free(mountpoint);
	return code;
}
