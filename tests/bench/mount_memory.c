/* SPDX-License-Identifier: Apache-2.0 */
/* What memory a mount takes: idle; with many entries in a stream, listed and read; with many streams; with many writers that have not closed yet. */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mounted.h"

enum {
	ENTRIES = 1000000, /* 10 million with a scale of 10 */
	STREAMS = 2000,    /* 10,000 with a scale of 5, and so on */
	WRITERS = 64,
	PENDING_BYTES = 1 << 20, /* of each writer */
};

static const double mib = 1 << 20;

static double resident(const struct mounted *m)
{
	uint64_t all, anonymous;

	mounted_memory(m, &all, &anonymous);
	return (double)all;
}

static void judge_idle(struct bench *b)
{
	struct mounted m;

	mounted_fill(b, "idle", 1, BENCH_ENTRY_BYTES);
	mounted_walfs(b, &m, "idle", NULL);
	bench_judge(b, "14", "idle, resident", resident(&m) / mib, "MiB", BENCH_AT_MOST, 8);
	mounted_stop(&m);
}

static void judge_entries(struct bench *b)
{
	static const char *const list[] = { "ls", "-U", "s", NULL };
	static const char *const ends[] = { "sh", "-c", "cat s/.first s/.last && tail -c 1000 s/.log && head -c 1000000 s/.log", NULL };
	const uint64_t entries = bench_scaled(b, ENTRIES);
	struct mounted m;
	char what[80];

	mounted_fill(b, "many", entries, BENCH_ENTRY_BYTES);
	mounted_walfs(b, &m, "many", NULL);
	mounted_command(m.dir, list);
	mounted_command(m.dir, ends);
	snprintf(what, sizeof what, "%" PRIu64 " entries, listed, read at both ends: resident", entries);
	bench_judge(b, "14", what, resident(&m) / mib, "MiB", BENCH_AT_MOST, 24);
	mounted_stop(&m);
}

static void judge_streams(struct bench *b)
{
	const uint64_t streams = bench_scaled(b, STREAMS);
	struct wal_store *store = bench_open_store(b, "streams", NULL);
	struct mounted m;
	double idle;
	char name[32];

	mounted_walfs(b, &m, "idle", NULL);
	idle = resident(&m);
	mounted_stop(&m);
	for (uint64_t i = 0; i < streams; i++) {
		snprintf(name, sizeof name, "s%" PRIu64, i);
		wal_stream_close(bench_open_stream(store, name));
	}
	if (wal_store_close(store) < 0)
		errx(1, "closing 'streams' failed");
	mounted_walfs(b, &m, "streams", NULL);
	snprintf(name, sizeof name, "%" PRIu64 " streams, each", streams);
	bench_judge(b, "14", name, (resident(&m) - idle) / 1024 / (double)streams, "KiB", BENCH_AT_MOST, 2);
	mounted_stop(&m);
}

/* An entry belongs together until it is closed, so it is kept; large ones elsewhere than in memory. */
static void judge_writers(struct bench *b)
{
	char *data = malloc(PENDING_BYTES);
	int fds[WRITERS];
	struct mounted m;

	if (!data)
		err(1, "an entry");
	bench_fill_text(data, PENDING_BYTES, 1);
	mounted_walfs(b, &m, "idle", NULL);
	for (unsigned i = 0; i < WRITERS; i++) {
		fds[i] = open(mounted_path(&m, "s/new"), O_WRONLY | O_CLOEXEC);
		if (fds[i] < 0 || write(fds[i], data, PENDING_BYTES) != PENDING_BYTES)
			err(1, "'new'");
	}
	bench_judge(b, "14", "64 writers with 1 MiB each, not closed yet: resident", resident(&m) / mib, "MiB", BENCH_AT_MOST, 0);
	for (unsigned i = 0; i < WRITERS; i++)
		if (close(fds[i]) < 0)
			err(1, "'new'");
	bench_judge(b, "14", "64 writers, all closed: resident", resident(&m) / mib, "MiB", BENCH_AT_MOST, 24);
	mounted_stop(&m);
	free(data);
}

int main(void)
{
	struct bench b;

	mounted_need();
	bench_begin(&b, "mount_memory");
	judge_idle(&b);
	judge_entries(&b);
	judge_streams(&b);
	judge_writers(&b);
	return bench_end(&b);
}
