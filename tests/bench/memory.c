/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much memory the library takes, as this process sees it: each figure is of a process of its own. Resident counts the pages of mapped files too, which the kernel can take back at any time.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

enum {
	BATCH_ENTRIES = 100,
	ENTRIES = 1000000, /* times the scale */
	STREAMS = 1000,	   /* times the scale */
	READS = 20000,
};

struct figures {
	uint64_t resident, anonymous;
};

static struct wal_store *open_async(struct bench *b, const char *name)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC };

	return bench_open_store(b, name, &opts);
}

static void idle(struct bench *b)
{
	wal_stream_close(bench_open_stream(open_async(b, "idle"), "s"));
}

static void fill_one(struct bench *b)
{
	struct wal_store *store = open_async(b, "one");
	struct wal_stream *st = bench_open_stream(store, "s");
	uint8_t data[BATCH_ENTRIES][BENCH_ENTRY_BYTES];
	struct iovec entries[BATCH_ENTRIES];

	for (unsigned i = 0; i < BATCH_ENTRIES; i++)
		entries[i] = (struct iovec){ data[i], sizeof data[i] };
	bench_fill_random(data, sizeof data, 1);
	for (uint64_t at = 0; at < bench_scaled(b, ENTRIES); at += BATCH_ENTRIES) {
		if (wal_stream_append_batch(st, entries, BATCH_ENTRIES, 0, NULL) != 0)
			errx(1, "append failed");
	}
	wal_stream_close(st);
	if (wal_store_close(store) != 0)
		errx(1, "closing the store failed");
}

static void open_one(struct bench *b)
{
	bench_open_stream(open_async(b, "one"), "s");
}

/* All of them, and some at random. */
static void read_one(struct bench *b)
{
	struct wal_stream *st = bench_open_stream(open_async(b, "one"), "s");
	struct wal_buf buf = { 0 };
	struct wal_iter *it;
	struct wal_entry e;
	uint64_t next, state = 1;

	if (wal_iter_new(st, 0, &it) != 0)
		errx(1, "making an iterator failed");
	while (wal_iter_next(it, &e) == 0)
		;
	wal_stream_bounds(st, NULL, &next, NULL);
	for (unsigned i = 0; i < READS; i++) {
		if (wal_stream_get(st, bench_random(&state) % next, &buf) != 0)
			errx(1, "getting an entry failed");
	}
}

static void fill_streams(struct bench *b)
{
	struct wal_store *store = open_async(b, "streams");

	for (uint64_t i = 0; i < bench_scaled(b, STREAMS); i++) {
		char name[32];

		snprintf(name, sizeof name, "stream-%06llu", (unsigned long long)i);
		struct wal_stream *st = bench_open_stream(store, name);
		if (wal_stream_append(st, name, sizeof name, 0, NULL) != 0)
			errx(1, "append failed");
		wal_stream_close(st);
	}
	if (wal_store_close(store) != 0)
		errx(1, "closing the store failed");
}

static void open_streams(struct bench *b)
{
	open_async(b, "streams");
}

/* Runs `what` in a process of its own and asks how much memory it took then. */
static struct figures figures_of(struct bench *b, void (*what)(struct bench *b))
{
	struct figures f;
	int ends[2], status;

	fflush(stdout);
	if (pipe(ends) < 0)
		err(1, "pipe");
	pid_t pid = fork();
	if (pid == 0) {
		what(b);
		bench_memory(&f.resident, &f.anonymous);
		_exit(write(ends[1], &f, sizeof f) != sizeof f);
	}
	close(ends[1]);
	if (pid < 0 || read(ends[0], &f, sizeof f) != sizeof f || waitpid(pid, &status, 0) < 0 || status != 0)
		errx(1, "measuring failed");
	close(ends[0]);
	return f;
}

int main(void)
{
	const double mib = 1 << 20;
	char what[128];
	struct bench b;

	bench_begin(&b, "memory");
	struct figures f = figures_of(&b, idle), empty = f;
	printf("\nMemory of a process\n");
	bench_judge(&b, "14", "an open store, idle: resident", (double)f.resident / mib, "MiB", BENCH_AT_MOST, 8);

	figures_of(&b, fill_one);
	f = figures_of(&b, open_one);
	snprintf(what, sizeof what, "%llu entries in one stream, opened: resident", (unsigned long long)bench_scaled(&b, ENTRIES));
	bench_judge(&b, "14", what, (double)f.resident / mib, "MiB", BENCH_AT_MOST, 24);
	f = figures_of(&b, read_one);
	bench_judge(&b, "14", "the same, all read once: anonymous", (double)f.anonymous / mib, "MiB", BENCH_AT_MOST, 24);
	bench_judge(&b, "14", "the same, all read once: resident", (double)f.resident / mib, "MiB", BENCH_AT_MOST, 24);

	figures_of(&b, fill_streams);
	f = figures_of(&b, open_streams);
	snprintf(what, sizeof what, "%llu streams, opened: each", (unsigned long long)bench_scaled(&b, STREAMS));
	bench_judge(&b, "14", what, (double)(f.anonymous - empty.anonymous) / (double)bench_scaled(&b, STREAMS) / 1024, "KiB", BENCH_AT_MOST, 2);
	return bench_end(&b);
}
