/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long opening a store takes: after a clean close and after the death of the process, against the number of sealed segments and against what was
 * not yet durable. It must not grow with sealed data. Printed as a table, medians of several opens; nothing is judged.
 */
#include <err.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "wal.h"

enum { REPEATS = 7 };

struct shape {
	const char *what;
	uint64_t segment_size;
	unsigned segments;	 /* sealed */
	unsigned tail_entries;	 /* in the active one */
	enum wal_sync sync;
	bool crash;
};

static const struct shape shapes[] = {
	{ "empty", 64 << 20, 0, 0, WAL_SYNC_STRICT, false },
	{ "10 segments of 64 KiB, clean", 64 << 10, 10, 100, WAL_SYNC_ASYNC, false },
	{ "100 segments of 64 KiB, clean", 64 << 10, 100, 100, WAL_SYNC_ASYNC, false },
	{ "1000 segments of 64 KiB, clean", 64 << 10, 1000, 100, WAL_SYNC_ASYNC, false },
	{ "10 segments of 4 MiB, clean", 4 << 20, 10, 100, WAL_SYNC_ASYNC, false },
	{ "100 segments of 4 MiB, clean", 4 << 20, 100, 100, WAL_SYNC_ASYNC, false },
	{ "400,000 entries in the active segment, clean", 128 << 20, 0, 400000, WAL_SYNC_ASYNC, false },
	{ "the same, killed, all unsynced", 128 << 20, 0, 400000, WAL_SYNC_ASYNC, true },
	{ "2,000 strict entries, killed", 64 << 20, 0, 2000, WAL_SYNC_STRICT, true },
};

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void fill(const char *path, const struct shape *shape)
{
	struct wal_options opts = { .segment_size = shape->segment_size, .sync = shape->sync };
	struct wal_store *store;
	struct wal_stream *st;
	struct wal_error error;
	char entry[128];

	memset(entry, 'x', sizeof entry);
	if (wal_store_open(path, &opts, &store, &error) < 0 || wal_stream_open(store, "s", WAL_CREATE, &st, &error) < 0)
		errx(1, "%s", error.message);
	for (unsigned i = 0; i < shape->segments; i++) {
		for (uint64_t bytes = 0; bytes < shape->segment_size * 9 / 10; bytes += 164) {
			if (wal_stream_append(st, entry, sizeof entry, 0, NULL) < 0)
				errx(1, "append failed");
		}
		if (wal_stream_rotate(st) < 0)
			errx(1, "rotation failed");
	}
	for (unsigned i = 0; i < shape->tail_entries; i++) {
		if (wal_stream_append(st, entry, sizeof entry, 0, NULL) < 0)
			errx(1, "append failed");
	}
	if (shape->crash)
		_exit(0);
	wal_stream_close(st);
	if (wal_store_close(store) < 0)
		errx(1, "close failed");
	_exit(0);
}

static int compare(const void *a, const void *b)
{
	int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* Read-only, so that each open finds what the first one found. */
static void measure(const char *path, const struct shape *shape)
{
	struct wal_options opts = { .ro = true };
	int64_t times[REPEATS];
	struct wal_error error;

	for (int i = 0; i < REPEATS; i++) {
		struct wal_store *store;
		int64_t before = now_ns();

		if (wal_store_open(path, &opts, &store, &error) < 0)
			errx(1, "%s", error.message);
		times[i] = now_ns() - before;
		wal_store_close(store);
	}
	qsort(times, REPEATS, sizeof times[0], compare);
	printf("%-46s %10.3f ms  (%.3f to %.3f)\n", shape->what, (double)times[REPEATS / 2] / 1e6, (double)times[0] / 1e6,
	       (double)times[REPEATS - 1] / 1e6);
	fflush(stdout);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");
	char dir[512], command[600], path[600];

	snprintf(dir, sizeof dir, "%s/walfs-recovery-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(dir))
		err(1, "%s", dir);
	printf("%-46s %10s\n", "opening a store with", "median");
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		int status;

		fflush(stdout);
		snprintf(path, sizeof path, "%s/%zu", dir, i);
		pid_t pid = fork();
		if (pid == 0)
			fill(path, &shapes[i]);
		if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
			errx(1, "filling '%s' failed", path);
		measure(path, &shapes[i]);
	}
	snprintf(command, sizeof command, "rm -rf '%s'", dir);
	return system(command) ? 1 : 0;
}
