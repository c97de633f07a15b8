/* SPDX-License-Identifier: Apache-2.0 */
/* Reading entries by id, at random, all in the page cache. Compared with pread(2) of the same bytes and with SQLite. */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum {
	FEW = 100000,
	MANY = 1000000, /* times the scale */
	GETS = 20000,
};

struct place {
	struct wal_store *store;
	struct wal_stream *st;
	struct bench_sqlite *sqlite;
	int fd;
	uint64_t entries;
};

static void fill_entry(uint8_t entry[BENCH_ENTRY_BYTES], uint64_t id)
{
	bench_fill_random(entry, BENCH_ENTRY_BYTES, id);
}

/* Frames of one entry each. */
static void fill(struct bench *b, const char *name, uint64_t entries)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC };
	struct wal_store *store = bench_open_store(b, name, &opts);
	struct wal_stream *st = bench_open_stream(store, "s");
	uint8_t entry[BENCH_ENTRY_BYTES];

	for (uint64_t id = 0; id < entries; id++) {
		fill_entry(entry, id);
		if (wal_stream_append(st, entry, sizeof entry, 0, NULL) != 0)
			errx(1, "append failed");
	}
	/* So that all is in sealed segments, which are what WAL_READ_MMAP maps. */
	if (wal_stream_rotate(st) != 0)
		errx(1, "rotating failed");
	wal_stream_close(st);
	if (wal_store_close(store) != 0)
		errx(1, "closing the store failed");
}

static void open_place(struct bench *b, struct place *p, const char *name, enum wal_read read, uint64_t entries)
{
	struct wal_options opts = { .read = read, .ro = true };

	*p = (struct place){ .store = bench_open_store(b, name, &opts), .fd = -1, .entries = entries };
	p->st = bench_open_stream(p->store, "s");
}

/* One that has its entries in the active segment. */
static void open_active(struct bench *b, struct place *p, uint64_t entries)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC };
	uint8_t entry[BENCH_ENTRY_BYTES];

	*p = (struct place){ .store = bench_open_store(b, "active", &opts), .fd = -1, .entries = entries };
	p->st = bench_open_stream(p->store, "s");
	for (uint64_t id = 0; id < entries; id++) {
		fill_entry(entry, id);
		if (wal_stream_append(p->st, entry, sizeof entry, 0, NULL) != 0)
			errx(1, "append failed");
	}
}

static void open_sqlite(struct bench *b, struct place *p, uint64_t entries)
{
	uint8_t entry[BENCH_ENTRY_BYTES];

	*p = (struct place){ .sqlite = bench_sqlite_open(b, "db", false), .fd = -1, .entries = entries };
	if (!p->sqlite)
		return;
	bench_sqlite_begin(p->sqlite);
	for (uint64_t id = 0; id < entries; id++) {
		fill_entry(entry, id);
		bench_sqlite_insert(p->sqlite, entry, sizeof entry);
	}
	bench_sqlite_commit(p->sqlite);
}

static void close_place(struct place *p)
{
	wal_stream_close(p->st);
	wal_store_close(p->store);
	bench_sqlite_close(p->sqlite);
	if (p->fd >= 0)
		close(p->fd);
}

static void check(const void *data, size_t size, uint64_t id)
{
	uint64_t word, expected;

	/* That it is the right entry; that all of it is right, the library has verified. */
	memcpy(&word, data, sizeof word);
	bench_fill_random(&expected, sizeof expected, id);
	if (size != BENCH_ENTRY_BYTES || word != expected)
		errx(1, "entry %llu is not what was written", (unsigned long long)id);
}

/* µs each. */
static double get(struct bench *b, const void *arg)
{
	const struct place *p = arg;
	struct wal_buf buf = { 0 };
	uint64_t state = 7, begin = bench_now_ns(), before = begin;

	for (unsigned i = 0; i < GETS; i++) {
		uint64_t id = bench_random(&state) % p->entries;

		if (wal_stream_get(p->st, id, &buf) != 0)
			errx(1, "getting entry %llu failed", (unsigned long long)id);
		check(buf.data, buf.size, id);
		uint64_t now = bench_now_ns();
		bench_latency(b, now - before);
		before = now;
	}
	double each = (double)(bench_now_ns() - begin) / GETS / 1000;
	wal_buf_release(&buf);
	return each;
}

static double lookup(struct bench *b, const void *arg)
{
	const struct place *p = arg;
	uint64_t state = 7, begin = bench_now_ns();

	(void)b;
	for (unsigned i = 0; i < GETS; i++) {
		struct wal_entry_info info;

		if (wal_stream_lookup(p->st, bench_random(&state) % p->entries, &info) != 0 || info.size != BENCH_ENTRY_BYTES)
			errx(1, "lookup failed");
	}
	return (double)(bench_now_ns() - begin) / GETS / 1000;
}

static double select_rows(struct bench *b, const void *arg)
{
	const struct place *p = arg;
	uint8_t entry[BENCH_ENTRY_BYTES];
	uint64_t state = 7, begin = bench_now_ns(), before = begin;

	for (unsigned i = 0; i < GETS; i++) {
		uint64_t id = bench_random(&state) % p->entries;

		check(entry, bench_sqlite_select(p->sqlite, id + 1, entry, sizeof entry), id);
		uint64_t now = bench_now_ns();
		bench_latency(b, now - before);
		before = now;
	}
	return (double)(bench_now_ns() - begin) / GETS / 1000;
}

static double raw_pread(struct bench *b, const void *arg)
{
	const struct place *p = arg;
	uint8_t frame[BENCH_FRAME_BYTES];
	uint64_t state = 7, begin = bench_now_ns(), before = begin;

	for (unsigned i = 0; i < GETS; i++) {
		uint64_t id = bench_random(&state) % p->entries;

		if (pread(p->fd, frame, sizeof frame, (off_t)(id * sizeof frame)) != sizeof frame)
			err(1, "pread");
		uint64_t now = bench_now_ns();
		bench_latency(b, now - before);
		before = now;
	}
	return (double)(bench_now_ns() - begin) / GETS / 1000;
}

static void few(struct bench *b)
{
	struct place io, map, active, sqlite, raw = { .entries = FEW };

	fill(b, "few", FEW);
	raw.fd = open(bench_path(b, "few/s/00000000000000000000.wal"), O_RDONLY | O_CLOEXEC);
	open_place(b, &io, "few", WAL_READ_IO, FEW);
	open_place(b, &map, "few", WAL_READ_MMAP, FEW);
	open_active(b, &active, FEW);
	open_sqlite(b, &sqlite, FEW);
	struct bench_case c[] = {
		{ .name = "pread() of the same frame at a known place", .run = raw_pread, .arg = &raw, .skip = raw.fd < 0 },
		{ .name = "SQLite, SELECT by id", .run = select_rows, .arg = &sqlite, .skip = !sqlite.sqlite },
		{ .name = "walfs, io", .run = get, .arg = &io },
		{ .name = "walfs, io, from the active segment", .run = get, .arg = &active },
		{ .name = "walfs, mmap", .run = get, .arg = &map },
		{ .name = "walfs, lookup only", .run = lookup, .arg = &io },
	};
	bench_run(b, "Random entries among 100,000, warm", "µs an entry", c, 6);
	bench_judge(b, "5", "walfs, io", c[2].median, "µs", BENCH_AT_MOST, 3);
	bench_judge(b, "5", "walfs, io, from the active segment", c[3].median, "µs", BENCH_AT_MOST, 3);
	bench_judge(b, "5", "walfs, mmap", c[4].median, "µs", BENCH_AT_MOST, 1);
	bench_compare(b, "5", &c[2], &c[1], BENCH_AT_MOST, 0);
	bench_release(c, 6);
	close_place(&io);
	close_place(&map);
	close_place(&active);
	close_place(&sqlite);
	close_place(&raw);
	bench_remove(b, "few");
	bench_remove(b, "active");
}

static void many(struct bench *b)
{
	uint64_t entries = bench_scaled(b, MANY);
	struct place io, map, few_io, few_map;
	char table[128];

	fill(b, "few", FEW);
	fill(b, "many", entries);
	open_place(b, &few_io, "few", WAL_READ_IO, FEW);
	open_place(b, &few_map, "few", WAL_READ_MMAP, FEW);
	open_place(b, &io, "many", WAL_READ_IO, entries);
	open_place(b, &map, "many", WAL_READ_MMAP, entries);
	struct bench_case c[] = {
		{ .name = "walfs, io, among 100,000", .run = get, .arg = &few_io },
		{ .name = "walfs, mmap, among 100,000", .run = get, .arg = &few_map },
		{ .name = "walfs, io, among many", .run = get, .arg = &io },
		{ .name = "walfs, mmap, among many", .run = get, .arg = &map },
	};
	snprintf(table, sizeof table, "Random entries among %llu, warm", (unsigned long long)entries);
	bench_run(b, table, "µs an entry", c, 4);
	bench_judge(b, "5", "walfs, io, among many", c[2].median, "µs", BENCH_AT_MOST, 3);
	bench_judge(b, "5", "walfs, mmap, among many", c[3].median, "µs", BENCH_AT_MOST, 1);
	bench_compare(b, "5", &c[2], &c[0], BENCH_AT_MOST, 0);
	bench_compare(b, "5", &c[3], &c[1], BENCH_AT_MOST, 0);
	bench_release(c, 4);
	close_place(&io);
	close_place(&map);
	close_place(&few_io);
	close_place(&few_map);
}

int main(void)
{
	struct bench b;

	bench_begin(&b, "get");
	few(&b);
	many(&b);
	return bench_end(&b);
}
