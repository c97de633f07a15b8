/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the programs that measure have in common. A program is a list of tables; a table has cases, of the library and of what it is compared with, that do the same work. They take turns, so
 * that a disk or machine that is slow for a while is slow for all of them, and a comparison is the median of the ratios of one turn each.
 *
 * The environment says how:
 *	WALFS_BENCH_DIR		where the files go; TMPDIR, then /tmp. A tmpfs syncs in no time: only figures of a real file system say something
 *	WALFS_BENCH_REPEATS	turns of each case, 5 to 99; 5
 *	WALFS_BENCH_SCALE	how much more there is of what is marked with it; 1
 *	WALFS_BENCH_JSON	a file to which each case and each comparison is appended as one line of JSON: see bench.c
 *	WALFS_BENCH_CLOCK	cpu: times are those that the process was running, for work on a machine that is busy. What waits for a disk takes no time then
 *
 * A program judges nothing by its exit status: what is not met stands in its tables.
 */
#ifndef WALFS_BENCH_H
#define WALFS_BENCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wal.h"

enum {
	BENCH_REPEATS_MAX = 99,
	BENCH_ENTRY_BYTES = 128,
	BENCH_FRAME_BYTES = 32 + 4 + BENCH_ENTRY_BYTES, /* of one entry, on disk */
};

struct bench;

struct bench_case {
	const char *name;
	/* One turn. Returns the figure, in the table's unit; latencies are handed to bench_latency(). */
	double (*run)(struct bench *b, const void *arg);
	const void *arg;
	bool skip; /* what it needs is not there */

	/* filled by bench_run() */
	double values[BENCH_REPEATS_MAX];
	double median;
	uint64_t *latencies;
	size_t latency_count;
	size_t latency_room;
};

struct bench {
	const char *name;
	const char *table;
	const char *unit;
	char dir[512];
	unsigned repeats;
	double scale;
	int json_fd;
	struct bench_case *running;
};

enum bench_sense {
	BENCH_AT_MOST,
	BENCH_AT_LEAST,
};

void bench_begin(struct bench *b, const char *name);

/* Removes the program's directory. Returns the exit status. */
int bench_end(struct bench *b);

/* Runs the cases and prints the table. `unit` is the unit of their figures. */
void bench_run(struct bench *b, const char *table, const char *unit, struct bench_case *cases, size_t count);
void bench_release(struct bench_case *cases, size_t count);

/* How long one of many took, in the turn that is running. */
void bench_latency(struct bench *b, uint64_t ns);

/* Under the last table: ours / theirs against the target of row `row`. A target of 0 is none. */
void bench_compare(struct bench *b, const char *row, const struct bench_case *ours, const struct bench_case *theirs, enum bench_sense sense, double target);

/* Likewise a figure as it is. */
void bench_judge(struct bench *b, const char *row, const char *what, double value, const char *unit, enum bench_sense sense, double target);

/* ---- Tools ---- */

uint64_t bench_now_ns(void);

/* `count` times the scale, at least 1. */
uint64_t bench_scaled(const struct bench *b, uint64_t count);

/* A path in the program's directory: one of a few static texts, reused in turn. */
const char *bench_path(const struct bench *b, const char *name);
void bench_remove(const struct bench *b, const char *name);

/* Numbers that look random, the same ones each time. */
uint64_t bench_random(uint64_t *state);

/* Bytes that don't compress, or lines of a log, which do. */
void bench_fill_random(void *data, size_t size, uint64_t seed);
void bench_fill_text(void *data, size_t size, uint64_t seed);

/* Errors end the program. */
int bench_open_file(struct bench *b, const char *name, uint64_t preallocate);
struct wal_store *bench_open_store(struct bench *b, const char *name, const struct wal_options *opts);
struct wal_stream *bench_open_stream(struct wal_store *store, const char *name);

/* Resident memory of this process, in bytes: all of it, and the part that is no file's. */
void bench_memory(uint64_t *ret_resident, uint64_t *ret_anonymous);

/* ---- SQLite (sqlite.c) ---- */

struct bench_sqlite;

/* A new database with a table of entries, WAL mode, synchronous=FULL; or off. NULL if this was built without SQLite. */
struct bench_sqlite *bench_sqlite_open(struct bench *b, const char *name, bool synced);
bool bench_sqlite_there(void);
void bench_sqlite_begin(struct bench_sqlite *s);
void bench_sqlite_commit(struct bench_sqlite *s);
void bench_sqlite_insert(struct bench_sqlite *s, const void *data, size_t size);
/* The bytes of row `id` (from 1), into `data`. */
size_t bench_sqlite_select(struct bench_sqlite *s, uint64_t id, void *data, size_t room);
void bench_sqlite_close(struct bench_sqlite *s);

#endif
