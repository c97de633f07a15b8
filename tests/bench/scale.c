/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory and time against how much there is: an idle store, one of many streams, a stream of many entries, many writers at once; of a process that uses the library, and of walfs (the
 * first argument; without it, or without /dev/fuse, the library alone). Each figure is taken in a process of its own.
 *
 * WALFS_SCALE_STREAMS and WALFS_SCALE_ENTRIES say how many (10,000 and 1,000,000), WALFS_BENCH_DIR where, and to the file WALFS_BENCH_OUT goes a line of JSON for each figure that
 * has a target. The exit status judges nothing.
 */
#include "scale.h"

#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Processes ---- */

/* Runs `body` in a child, so that what it uses is its own; what it returns is handed up. */
static struct memory in_child(struct memory (*body)(const char *path, uint64_t count), const char *path, uint64_t count)
{
	struct memory memory;
	int ends[2], status;

	fflush(stdout);
	if (pipe2(ends, O_CLOEXEC) < 0)
		err(1, "pipe");
	pid_t pid = fork();
	if (pid == 0) {
		memory = body(path, count);
		_exit(write(ends[1], &memory, sizeof memory) == sizeof memory ? 0 : 1);
	}
	close(ends[1]);
	if (pid < 0 || read(ends[0], &memory, sizeof memory) != sizeof memory || waitpid(pid, &status, 0) < 0 || status != 0)
		errx(1, "a process did not come to its end");
	close(ends[0]);
	return memory;
}

/* ---- The library ---- */

static struct memory opened(const char *path, uint64_t count)
{
	uint64_t begin = scale_now_ns();
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);

	show_time("opening it", begin, count);
	struct memory memory = memory_of(getpid());
	begin = scale_now_ns();
	close_store(store);
	show_time("closing it", begin, count);
	return memory;
}

/* One entry of each read, one appended. */
static void touch_streams(struct wal_store *store, uint64_t count)
{
	struct wal_buf buf = { 0 };
	char name[NAME_MAX_BYTES];

	for (uint64_t i = 0; i < count; i++) {
		struct wal_stream *st = open_stream(store, stream_name(name, i));

		if (wal_stream_get(st, 0, &buf) != 0 || wal_stream_append(st, "one more", 8, 0, NULL) < 0)
			errx(1, "stream '%s' can't be used", name);
		wal_stream_close(st);
	}
	wal_buf_release(&buf);
}

static struct memory touched_some(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	uint64_t some = count < TOUCHED ? count : TOUCHED, begin = scale_now_ns();

	touch_streams(store, some);
	show_time("1,000 read from and appended to", begin, some);
	struct memory memory = memory_of(getpid());
	close_store(store);
	return memory;
}

static struct memory touched_all(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	uint64_t begin = scale_now_ns();

	touch_streams(store, count);
	show_time("all read from and appended to", begin, count);
	struct memory memory = memory_of(getpid());
	begin = scale_now_ns();
	close_store(store);
	show_time("closing it after that", begin, count);
	return memory;
}

static struct memory checkpointed(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_error error;
	struct stat sb;
	char log[700];
	uint64_t begin = scale_now_ns();

	if (wal_checkpoint_create(store, "all", 3, 0, &error) < 0)
		errx(1, "%s", error.message);
	show_time("a checkpoint of it", begin, count);
	struct memory memory = memory_of(getpid());
	snprintf(log, sizeof log, "%s/checkpoints.log", path);
	if (stat(log, &sb) == 0)
		printf("  %-64s %9.1f KiB\n", "its size", (double)sb.st_size / 1024);
	close_store(store);
	return memory;
}

static struct memory iterated(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_stream *st = open_stream(store, "s");
	struct wal_iter *iter;
	struct wal_entry entry;
	uint64_t begin = scale_now_ns(), n = 0;

	if (wal_iter_new(st, 0, &iter) < 0)
		errx(1, "no iterator");
	while (wal_iter_next(iter, &entry) == 0)
		n++;
	if (n != count)
		errx(1, "%" PRIu64 " entries, expected %" PRIu64, n, count);
	show_time("iterating", begin, n);
	struct memory memory = memory_of(getpid());
	wal_iter_free(iter);
	wal_stream_close(st);
	close_store(store);
	return memory;
}

static struct memory looked_up(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_stream *st = open_stream(store, "s");
	struct wal_entry_info info;
	uint64_t begin = scale_now_ns();

	for (uint64_t i = 0; i < count; i++) {
		if (wal_stream_lookup(st, i, &info) != 0)
			errx(1, "entry %" PRIu64 " is not found", i);
	}
	show_time("looking up each in turn", begin, count);
	struct memory memory = memory_of(getpid());
	wal_stream_close(st);
	close_store(store);
	return memory;
}

static struct memory got_at_random(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_stream *st = open_stream(store, "s");
	struct wal_buf buf = { 0 };
	uint64_t begin = scale_now_ns(), random = 1;

	for (int i = 0; i < RANDOM_READS; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		if (wal_stream_get(st, (random >> 16) % count, &buf) != 0)
			errx(1, "an entry can't be read");
	}
	show_time("100,000 read at random", begin, RANDOM_READS);
	struct memory memory = memory_of(getpid());
	wal_buf_release(&buf);
	wal_stream_close(st);
	close_store(store);
	return memory;
}

struct writer {
	struct wal_stream *stream;
	pthread_t thread;
};

static void *write_entries(void *arg)
{
	struct writer *writer = arg;
	char entry[1024];

	memset(entry, 'w', sizeof entry);
	for (int i = 0; i < 2000; i++) {
		if (wal_stream_append(writer->stream, entry, sizeof entry, 0, NULL) < 0)
			errx(1, "an append failed");
	}
	return NULL;
}

static struct memory written_by_many(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct writer writers[WRITERS];
	uint64_t begin = scale_now_ns();
	char name[NAME_MAX_BYTES];

	for (int i = 0; i < WRITERS; i++) {
		writers[i].stream = open_stream(store, stream_name(name, i % WRITTEN_STREAMS));
		if (pthread_create(&writers[i].thread, NULL, write_entries, &writers[i]) != 0)
			errx(1, "no thread");
	}
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		wal_stream_close(writers[i].stream);
	}
	show_time("64 threads that append 2,000 entries of 1 KiB to 8 streams", begin, count);
	struct memory memory = memory_of(getpid());
	close_store(store);
	return memory;
}

/* ---- All of it ---- */

static uint64_t number_from_env(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);
	char *end;

	if (!text || !*text)
		return fallback;
	uint64_t value = strtoull(text, &end, 10);
	if (*end || value == 0)
		errx(2, "%s: expected a number above 0, found '%s'", name, text);
	return value;
}

static struct memory measure_idle(const struct scale *s)
{
	char path[PATH_BYTES];

	path_of(s, "idle", path);
	printf("an idle store\n");
	close_store(open_store(path, WAL_SYNC_ASYNC));
	struct memory idle = in_child(opened, path, 0);
	show_memory("open", idle);
	judge("library, idle", (double)idle.resident, "bytes", TARGET_IDLE);
	if (s->walfs)
		mount_idle(s, path);
	return idle;
}

static void measure_streams(const struct scale *s, uint64_t count, struct memory idle)
{
	char path[PATH_BYTES];
	struct memory memory;

	path_of(s, "streams", path);
	printf("%" PRIu64 " streams of %d entries\n", count, TEMPLATE_ENTRIES);
	make_streams(path, count);
	memory = in_child(opened, path, count);
	show_memory("open", memory);
	judge_each("library, each stream", memory, idle, count);
	memory = in_child(touched_some, path, count);
	show_memory("1,000 used", memory);
	judge_each("library, each stream when 1,000 were used", memory, idle, count);
	show_memory("checkpoint made", in_child(checkpointed, path, count));
	if (s->walfs)
		mount_streams(s, path, count, idle);
	memory = in_child(touched_all, path, count);
	show_memory("all used", memory);
	judge_each("library, each stream when all were used", memory, idle, count);
	remove_all(path);
}

static void measure_entries(const struct scale *s, uint64_t count)
{
	char path[PATH_BYTES];
	struct memory memory;

	path_of(s, "entries", path);
	printf("one stream of %" PRIu64 " entries\n", count);
	make_entries(path, count);
	show_memory("open", in_child(opened, path, 0));
	memory = in_child(iterated, path, count);
	show_memory("iterated over", memory);
	judge("library, entries iterated over", (double)memory.resident, "bytes", TARGET_ENTRIES);
	memory = in_child(looked_up, path, count);
	show_memory("looked up", memory);
	judge("library, entries looked up", (double)memory.resident, "bytes", TARGET_ENTRIES);
	memory = in_child(got_at_random, path, count);
	show_memory("read at random", memory);
	judge("library, entries read at random", (double)memory.resident, "bytes", TARGET_ENTRIES);
	if (s->walfs)
		mount_entries(s, path, count);
	remove_all(path);
}

static void measure_writers(const struct scale *s)
{
	char path[PATH_BYTES];
	struct wal_store *store = open_store(path_of(s, "writers", path), WAL_SYNC_ASYNC);
	struct memory memory;
	char name[NAME_MAX_BYTES];

	printf("64 writers\n");
	for (uint64_t i = 0; i < WRITTEN_STREAMS; i++)
		wal_stream_close(open_stream(store, stream_name(name, i)));
	close_store(store);
	memory = in_child(written_by_many, path, 2000 * WRITERS);
	show_memory("written by 64 threads", memory);
	judge("library, 64 writers", (double)memory.resident, "bytes", TARGET_WRITERS);
	if (s->walfs)
		mount_writers(s, path);
	remove_all(path);
}

int main(int argc, char **argv)
{
	const char *dir = getenv("WALFS_BENCH_DIR");
	uint64_t streams = number_from_env("WALFS_SCALE_STREAMS", 10000), entries = number_from_env("WALFS_SCALE_ENTRIES", 1000000);
	struct scale s = { .walfs = argc > 1 && access("/dev/fuse", R_OK | W_OK) == 0 ? argv[1] : NULL };

	if (!dir || !*dir)
		dir = getenv("TMPDIR");
	snprintf(s.base, sizeof s.base, "%s/walfs-scale-XXXXXX", dir && *dir ? dir : "/tmp");
	if (!mkdtemp(s.base))
		err(1, "%s", s.base);
	struct memory idle = measure_idle(&s);
	measure_streams(&s, streams, idle);
	measure_entries(&s, entries);
	measure_writers(&s);
	remove_all(s.base);
	return 0;
}
