/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long opening a store takes: after a clean close and after the death of the process, against the number and size of sealed segments and against what was not yet
 * durable. It must not grow with sealed data.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"

struct shape {
	const char *what;
	uint64_t segment_size;
	unsigned segments; /* sealed, */
	unsigned entries;  /* of as many each */
	unsigned tail;	   /* entries in the active one */
	enum wal_sync sync;
	bool crash;
	uint64_t sealed_size; /* the sealed files are made this large, of nothing */
	const char *row;
	double target_ms;
};

static const struct shape shapes[] = {
	{ "an empty stream", 64 << 20, 0, 0, 0, WAL_SYNC_STRICT, false, 0, "7", 0 },
	{ "1,000 segments of 10 entries, clean", 64 << 20, 1000, 10, 0, WAL_SYNC_ASYNC, false, 0, "7", 2 },
	{ "1,000 segments of 10 entries, killed", 64 << 20, 1000, 10, 0, WAL_SYNC_ASYNC, true, 0, "7", 0 },
	{ "10 segments of 1,000 entries, clean", 64 << 20, 10, 1000, 0, WAL_SYNC_ASYNC, false, 0, "7", 0 },
	{ "10 segments of 10 GiB each, clean", 64 << 20, 10, 1000, 0, WAL_SYNC_ASYNC, false, 10ull << 30, "7", 0 },
	{ "400,000 entries in one active segment, clean", 128 << 20, 0, 0, 400000, WAL_SYNC_ASYNC, false, 0, "7", 2 },
	{ "the same, killed", 128 << 20, 0, 0, 400000, WAL_SYNC_ASYNC, true, 0, "7", 15 },
	{ "2,000 strict entries, killed", 64 << 20, 0, 0, 2000, WAL_SYNC_STRICT, true, 0, "7", 2 },
};

enum { SHAPES = sizeof shapes / sizeof shapes[0] };

static void append(struct wal_stream *st, unsigned count)
{
	uint8_t entry[BENCH_ENTRY_BYTES];

	bench_fill_random(entry, sizeof entry, 1);
	for (unsigned i = 0; i < count; i++) {
		if (wal_stream_append(st, entry, sizeof entry, 0, NULL) != 0)
			errx(1, "append failed");
	}
}

/* In a process of its own, which may die. */
static void fill(struct bench *b, const char *name, const struct shape *shape)
{
	struct wal_options opts = { .segment_size = shape->segment_size, .segment_entries = shape->entries, .sync = shape->sync };
	struct wal_store *store = bench_open_store(b, name, &opts);
	struct wal_stream *st = bench_open_stream(store, "s");

	append(st, shape->segments * shape->entries + shape->tail);
	if (shape->crash)
		_exit(0);
	wal_stream_close(st);
	_exit(wal_store_close(store) != 0);
}

/* 100 GiB of sealed data without the data: what opening must not look at. */
static void enlarge(struct bench *b, const char *name, const struct shape *shape)
{
	for (unsigned i = 0; i + 1 < shape->segments; i++) {
		char file[256];

		snprintf(file, sizeof file, "%s/s/%020u.wal", name, i * shape->entries);
		if (truncate(bench_path(b, file), (off_t)shape->sealed_size) < 0)
			err(1, "'%s'", file);
	}
}

struct place {
	char name[16];
	const struct shape *shape;
};

/* Read-only, so that each finds what the first one found; a killed one as it is opened for writing too, from a copy. */
static double open_ms(struct bench *b, const void *arg)
{
	const struct place *p = arg;
	struct wal_options opts = { .segment_size = p->shape->segment_size, .segment_entries = p->shape->entries, .ro = true };
	uint64_t begin = bench_now_ns();
	struct wal_store *store = bench_open_store(b, p->name, &opts);
	double ms = (double)(bench_now_ns() - begin) / 1e6;

	wal_store_close(store);
	return ms;
}

static void copy_file(const char *from, const char *to)
{
	static uint8_t piece[1 << 20];
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	ssize_t n;

	if (in < 0 || out < 0)
		err(1, "copying '%s'", from);
	while ((n = read(in, piece, sizeof piece)) > 0) {
		if (write(out, piece, (size_t)n) != n)
			err(1, "'%s'", to);
	}
	close(in);
	/* On disk, as what is dirty here would be synced by whoever opens it. */
	if (n < 0 || fsync(out) < 0 || close(out) < 0)
		err(1, "'%s'", to);
}

/* For writing: the tail is read, synced and its sidecar written. From a copy of the one stream with one segment, as opening changes it. */
static double open_for_writing_ms(struct bench *b, const void *arg)
{
	static const char *const files[] = { "00000000000000000000.wal", "00000000000000000000.meta", "segments.idx" };
	const struct place *p = arg;
	struct wal_options opts = { .segment_size = p->shape->segment_size };

	bench_remove(b, "copy");
	if (mkdir(bench_path(b, "copy"), 0700) < 0 || mkdir(bench_path(b, "copy/s"), 0700) < 0)
		err(1, "copy");
	for (size_t i = 0; i < 3; i++) {
		char from[256], to[256];

		snprintf(from, sizeof from, "%s/s/%s", p->name, files[i]);
		snprintf(to, sizeof to, "copy/s/%s", files[i]);
		copy_file(bench_path(b, from), bench_path(b, to));
	}
	uint64_t begin = bench_now_ns();
	struct wal_store *store = bench_open_store(b, "copy", &opts);
	double ms = (double)(bench_now_ns() - begin) / 1e6;
	wal_store_close(store);
	return ms;
}

int main(void)
{
	struct place places[SHAPES];
	struct bench_case cases[SHAPES + 1];
	struct bench b;

	bench_begin(&b, "open");
	for (size_t i = 0; i < SHAPES; i++) {
		struct place *p = &places[i];
		int status;

		*p = (struct place){ .shape = &shapes[i] };
		snprintf(p->name, sizeof p->name, "%zu", i);
		cases[i] = (struct bench_case){ .name = shapes[i].what, .run = open_ms, .arg = p };
		fflush(stdout);
		pid_t pid = fork();
		if (pid == 0)
			fill(&b, p->name, p->shape);
		if (pid < 0 || waitpid(pid, &status, 0) < 0 || status != 0)
			errx(1, "filling '%s' failed", p->name);
		if (p->shape->sealed_size > 0)
			enlarge(&b, p->name, p->shape);
	}
	struct bench_case *writing = &cases[SHAPES];
	*writing = (struct bench_case){ .name = "killed, opened for writing", .run = open_for_writing_ms, .arg = &places[SHAPES - 2] };
	bench_run(&b, "Opening a store", "ms", cases, SHAPES + 1);
	for (size_t i = 0; i < SHAPES; i++) {
		if (shapes[i].target_ms > 0)
			bench_judge_case(&b, shapes[i].row, &cases[i], BENCH_AT_MOST, shapes[i].target_ms);
	}
	bench_judge_case(&b, "7", writing, BENCH_AT_MOST, 15);
	bench_compare(&b, "7", &cases[4], &cases[3], BENCH_AT_MOST, 1.25);
	return bench_end(&b);
}
