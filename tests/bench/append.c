/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending: one thread without and with a sync for each entry, many threads, batches. Compared with write(2) of the same bytes to a plain file, and with SQLite.
 */
#include <err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum {
	ASYNC_ENTRIES = 300000, /* of one segment */
	LONG_ENTRIES = 1000000, /* of several */
	STRICT_ENTRIES = 25, /* in a turn, */
	STRICT_TURNS = 8,    /* for each turn of others */
	THREADS = 16,
	THREAD_ENTRIES = 100, /* of each */
	BATCH_ENTRIES = 100,
	BATCH_FRAME_BYTES = 32 + BATCH_ENTRIES * (4 + BENCH_ENTRY_BYTES),
	BATCHES_ASYNC = 4000,
};

/* How one case appends. */
struct way {
	enum wal_sync sync;
	enum wal_compression compression;
	uint64_t entries;
	bool preallocate;
	unsigned threads;
	unsigned streams;
};

static double ns_each(uint64_t begin, uint64_t count)
{
	return (double)(bench_now_ns() - begin) / (double)count;
}

static double per_second(uint64_t begin, uint64_t count)
{
	return (double)count * 1e9 / (double)(bench_now_ns() - begin);
}

static void write_all(int fd, const void *data, size_t size)
{
	if (write(fd, data, size) != (ssize_t)size)
		err(1, "write");
}

static void synced(int fd)
{
	if (fdatasync(fd) < 0)
		err(1, "fdatasync");
}

static void close_stream(struct bench *b, struct wal_stream *st, struct wal_store *store)
{
	wal_stream_close(st);
	if (wal_store_close(store) < 0)
		errx(1, "closing the store failed");
	bench_remove(b, "store");
}

/* ---- One thread, one entry at a time, in the page cache ---- */

static double raw_async(struct bench *b, const void *arg)
{
	const struct way *way = arg;
	uint8_t frame[BENCH_FRAME_BYTES];
	int fd = bench_open_file(b, "raw", way->preallocate ? way->entries * sizeof frame : 0);

	bench_fill_random(frame, sizeof frame, 1);
	uint64_t begin = bench_now_ns();
	for (uint64_t i = 0; i < way->entries; i++)
		write_all(fd, frame, sizeof frame);
	double each = ns_each(begin, way->entries);
	close(fd);
	bench_remove(b, "raw");
	return each;
}

static double walfs_async(struct bench *b, const void *arg)
{
	const struct way *way = arg;
	struct wal_options opts = { .sync = way->sync };
	struct wal_store *store = bench_open_store(b, "store", &opts);
	struct wal_stream *st = bench_open_stream(store, "s");
	uint8_t entry[BENCH_ENTRY_BYTES];

	bench_fill_random(entry, sizeof entry, 1);
	uint64_t begin = bench_now_ns();
	for (uint64_t i = 0; i < way->entries; i++) {
		if (wal_stream_append(st, entry, sizeof entry, 0, NULL) != 0)
			errx(1, "append failed");
	}
	double each = ns_each(begin, way->entries);
	close_stream(b, st, store);
	return each;
}

static void async(struct bench *b)
{
	struct way growing = { .sync = WAL_SYNC_ASYNC, .entries = ASYNC_ENTRIES }, room = growing;
	struct way more = { .sync = WAL_SYNC_ASYNC, .entries = bench_scaled(b, LONG_ENTRIES) };

	room.preallocate = true;
	struct bench_case a[] = {
		{ .name = "write() of the same frame", .run = raw_async, .arg = &growing },
		{ .name = "write() of the same frame, into allocated space", .run = raw_async, .arg = &room },
		{ .name = "walfs, async", .run = walfs_async, .arg = &growing },
		{ .name = "walfs, async, over several segments", .run = walfs_async, .arg = &more },
	};
	bench_run(b, "Entries of 128 bytes, one thread, in the page cache", "ns an entry", a, 4);
	bench_compare(b, "1", &a[2], &a[0], BENCH_AT_MOST, 1.5);
	bench_compare(b, "1", &a[2], &a[1], BENCH_AT_MOST, 0);
	bench_release(a, 4);
}

/* ---- The same, each durable ---- */

/* What is synced stays open over the turns, which are short: a disk has moods. */
struct strict {
	size_t entries; /* appended together */
	int fd;		/* or */
	struct wal_stream *st; /* or */
	struct bench_sqlite *sqlite;
};

static void append_strict(const struct strict *s, const uint8_t frame[BATCH_FRAME_BYTES])
{
	struct iovec entries[BATCH_ENTRIES];

	if (s->st) {
		for (size_t i = 0; i < s->entries; i++)
			entries[i] = (struct iovec){ (void *)(frame + i * BENCH_ENTRY_BYTES), BENCH_ENTRY_BYTES };
		if (wal_stream_append_batch(s->st, entries, s->entries, 0, NULL) != 0)
			errx(1, "append failed");
		return;
	}
	if (s->sqlite) {
		bench_sqlite_begin(s->sqlite);
		for (size_t i = 0; i < s->entries; i++)
			bench_sqlite_insert(s->sqlite, frame + i * BENCH_ENTRY_BYTES, BENCH_ENTRY_BYTES);
		bench_sqlite_commit(s->sqlite);
		return;
	}
	write_all(s->fd, frame, 32 + s->entries * (4 + BENCH_ENTRY_BYTES));
	synced(s->fd);
}

static double run_strict(struct bench *b, const void *arg)
{
	uint8_t frame[BATCH_FRAME_BYTES];

	bench_fill_random(frame, sizeof frame, 1);
	uint64_t begin = bench_now_ns(), before = begin;
	for (unsigned i = 0; i < STRICT_ENTRIES; i++) {
		append_strict(arg, frame);
		uint64_t now = bench_now_ns();
		bench_latency(b, now - before);
		before = now;
	}
	return ns_each(begin, STRICT_ENTRIES) / 1000;
}

/* `entries` at a time. */
static void strict(struct bench *b, size_t entries, const char *row, double to_write, double to_allocated, double to_sqlite)
{
	struct wal_options opts = { .sync = WAL_SYNC_STRICT };
	struct wal_store *store = bench_open_store(b, "store", &opts);
	uint64_t room = (uint64_t)BENCH_REPEATS_MAX * STRICT_ENTRIES * (32 + entries * (4 + BENCH_ENTRY_BYTES));
	struct strict growing = { .entries = entries, .fd = bench_open_file(b, "growing", 0) };
	struct strict ahead = { .entries = entries, .fd = bench_open_file(b, "ahead", room) };
	struct strict sqlite = { .entries = entries, .sqlite = bench_sqlite_open(b, "db", true) };
	struct strict walfs = { .entries = entries, .st = bench_open_stream(store, "s") };
	unsigned repeats = b->repeats;
	struct bench_case c[] = {
		{ .name = "write() and fdatasync() of the same frame", .run = run_strict, .arg = &growing },
		{ .name = "the same, into allocated space", .run = run_strict, .arg = &ahead },
		{ .name = "SQLite FULL, INSERT", .run = run_strict, .arg = &sqlite, .skip = !bench_sqlite_there() },
		{ .name = "walfs, strict", .run = run_strict, .arg = &walfs },
	};

	b->repeats = repeats * STRICT_TURNS < BENCH_REPEATS_MAX ? repeats * STRICT_TURNS : BENCH_REPEATS_MAX;
	bench_run(b, entries == 1 ? "Entries of 128 bytes, one thread, each durable" : "Batches of 100 entries of 128 bytes, one thread, each durable",
		  entries == 1 ? "µs an entry" : "µs a batch", c, 4);
	bench_compare(b, row, &c[3], &c[0], BENCH_AT_MOST, to_write);
	bench_compare(b, row, &c[3], &c[1], BENCH_AT_MOST, to_allocated);
	bench_compare(b, row, &c[3], &c[2], BENCH_AT_MOST, to_sqlite);
	bench_release(c, 4);
	b->repeats = repeats;
	close(growing.fd);
	close(ahead.fd);
	bench_sqlite_close(sqlite.sqlite);
	bench_remove(b, "db");
	close_stream(b, walfs.st, store);
}

/* ---- Many threads ---- */

struct appender {
	pthread_t thread;
	pthread_barrier_t *start;
	struct wal_stream *st; /* or */
	int fd;
	uint64_t entries;
	uint64_t *latencies;
};

static void *append_many(void *arg)
{
	struct appender *a = arg;
	uint8_t entry[BENCH_FRAME_BYTES];

	bench_fill_random(entry, sizeof entry, 1);
	pthread_barrier_wait(a->start);
	uint64_t before = bench_now_ns();
	for (uint64_t i = 0; i < a->entries; i++) {
		if (a->st) {
			if (wal_stream_append(a->st, entry, BENCH_ENTRY_BYTES, 0, NULL) != 0)
				errx(1, "append failed");
		} else {
			write_all(a->fd, entry, sizeof entry);
			synced(a->fd);
		}
		uint64_t now = bench_now_ns();
		a->latencies[i] = now - before;
		before = now;
	}
	return NULL;
}

/* Entries a second of all threads together. */
static double run_threads(struct bench *b, struct appender *appenders, const struct way *way)
{
	pthread_barrier_t start;

	pthread_barrier_init(&start, NULL, way->threads + 1);
	for (unsigned i = 0; i < way->threads; i++) {
		appenders[i].start = &start;
		appenders[i].entries = way->entries;
		appenders[i].latencies = calloc(way->entries, sizeof *appenders[i].latencies);
		if (!appenders[i].latencies || pthread_create(&appenders[i].thread, NULL, append_many, &appenders[i]) != 0)
			errx(1, "starting threads failed");
	}
	pthread_barrier_wait(&start);
	uint64_t begin = bench_now_ns();
	for (unsigned i = 0; i < way->threads; i++)
		pthread_join(appenders[i].thread, NULL);
	double rate = per_second(begin, way->entries * way->threads);
	for (unsigned i = 0; i < way->threads; i++) {
		for (uint64_t k = 0; k < way->entries; k++)
			bench_latency(b, appenders[i].latencies[k]);
		free(appenders[i].latencies);
	}
	pthread_barrier_destroy(&start);
	return rate;
}

static double walfs_threads(struct bench *b, const void *arg)
{
	const struct way *way = arg;
	struct wal_options opts = { .sync = WAL_SYNC_STRICT };
	struct wal_store *store = bench_open_store(b, "store", &opts);
	struct wal_stream *streams[THREADS];
	struct appender appenders[THREADS];

	for (unsigned i = 0; i < way->streams; i++) {
		char name[] = { (char)('a' + (char)i), 0 };

		streams[i] = bench_open_stream(store, name);
	}
	for (unsigned i = 0; i < way->threads; i++)
		appenders[i] = (struct appender){ .st = streams[i % way->streams] };
	double rate = run_threads(b, appenders, way);
	for (unsigned i = 1; i < way->streams; i++)
		wal_stream_close(streams[i]);
	close_stream(b, streams[0], store);
	return rate;
}

static double raw_threads(struct bench *b, const void *arg)
{
	const struct way *way = arg;
	struct appender appenders[THREADS];

	for (unsigned i = 0; i < way->threads; i++) {
		char name[] = { 'r', (char)('a' + (char)i), 0 };

		appenders[i] = (struct appender){ .fd = bench_open_file(b, name, way->entries * BENCH_FRAME_BYTES) };
	}
	double rate = run_threads(b, appenders, way);
	for (unsigned i = 0; i < way->threads; i++) {
		char name[] = { 'r', (char)('a' + (char)i), 0 };

		close(appenders[i].fd);
		bench_remove(b, name);
	}
	return rate;
}

static void many_threads(struct bench *b)
{
	struct way one = { .entries = 4 * THREAD_ENTRIES, .threads = 1, .streams = 1 };
	struct way shared = { .entries = THREAD_ENTRIES, .threads = THREADS, .streams = 1 }, own = shared;

	own.streams = THREADS;
	struct bench_case c[] = {
		{ .name = "16 threads, a file of its own each, allocated: fdatasync()", .run = raw_threads, .arg = &own },
		{ .name = "walfs, 1 thread", .run = walfs_threads, .arg = &one },
		{ .name = "walfs, 16 threads on one stream", .run = walfs_threads, .arg = &shared },
		{ .name = "walfs, 16 threads on 16 streams", .run = walfs_threads, .arg = &own },
	};
	bench_run(b, "Entries of 128 bytes, each durable, by several threads", "entries a second", c, 4);
	bench_compare(b, "3", &c[2], &c[1], BENCH_AT_LEAST, 6);
	bench_compare(b, "3", &c[3], &c[1], BENCH_AT_LEAST, 1);
	bench_compare(b, "3", &c[3], &c[0], BENCH_AT_LEAST, 0);
	bench_release(c, 4);
}

/* ---- Batches ---- */

static double raw_batches(struct bench *b, const void *arg)
{
	const struct way *way = arg;
	uint8_t frame[BATCH_FRAME_BYTES];
	int fd = bench_open_file(b, "raw", way->preallocate ? way->entries * sizeof frame : 0);

	bench_fill_random(frame, sizeof frame, 1);
	uint64_t begin = bench_now_ns();
	for (uint64_t i = 0; i < way->entries; i++)
		write_all(fd, frame, sizeof frame);
	double rate = per_second(begin, way->entries * BATCH_ENTRIES);
	close(fd);
	bench_remove(b, "raw");
	return rate;
}

static double walfs_batches(struct bench *b, const void *arg)
{
	const struct way *way = arg;
	struct wal_options opts = { .sync = way->sync, .compression = way->compression };
	struct wal_store *store = bench_open_store(b, "store", &opts);
	struct wal_stream *st = bench_open_stream(store, "s");
	static uint8_t data[BATCH_ENTRIES][BENCH_ENTRY_BYTES];
	struct iovec entries[BATCH_ENTRIES];

	bench_fill_text(data, sizeof data, 1);
	for (unsigned i = 0; i < BATCH_ENTRIES; i++)
		entries[i] = (struct iovec){ data[i], BENCH_ENTRY_BYTES };
	uint64_t begin = bench_now_ns();
	for (uint64_t i = 0; i < way->entries; i++) {
		if (wal_stream_append_batch(st, entries, BATCH_ENTRIES, 0, NULL) != 0)
			errx(1, "append failed");
	}
	double rate = per_second(begin, way->entries * BATCH_ENTRIES);
	close_stream(b, st, store);
	return rate;
}

static void batches(struct bench *b)
{
	struct way async = { .sync = WAL_SYNC_ASYNC, .entries = BATCHES_ASYNC }, room = async, packed = async;

	room.preallocate = true;
	packed.compression = WAL_COMPRESSION_LZ4;
	struct bench_case c[] = {
		{ .name = "write() of the same frame", .run = raw_batches, .arg = &async },
		{ .name = "write() of the same frame, into allocated space", .run = raw_batches, .arg = &room },
		{ .name = "walfs, async", .run = walfs_batches, .arg = &async },
		{ .name = "walfs, async, LZ4", .run = walfs_batches, .arg = &packed },
	};
	bench_run(b, "Batches of 100 entries of 128 bytes, one thread, in the page cache", "entries a second", c, 4);
	bench_compare(b, "4", &c[2], &c[0], BENCH_AT_LEAST, 0);
	bench_judge(b, "4", c[2].name, c[2].median, "entries/s", BENCH_AT_LEAST, 12e6);
	bench_judge(b, "4", c[3].name, c[3].median, "entries/s", BENCH_AT_LEAST, 8e6);
	bench_release(c, 4);
}

int main(void)
{
	struct bench b;

	bench_begin(&b, "append");
	async(&b);
	strict(&b, 1, "2", 0.85, 0, 0.75);
	many_threads(&b);
	batches(&b);
	strict(&b, BATCH_ENTRIES, "4", 1.1, 0, 0);
	return bench_end(&b);
}
