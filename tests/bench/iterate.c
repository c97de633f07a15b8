/* SPDX-License-Identifier: Apache-2.0 */
/* Going over all entries of a stream with an iterator, all in the page cache. Compared with memcpy(3) and with zlib's crc32() of the same bytes in memory. */
#include <err.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "bench.h"

enum {
	SINGLES = 1000000,
	BATCHES = 10000,
	BATCH_ENTRIES = 100,
	LARGE = 2000,
	LARGE_BYTES = 64 * 1024,
	MEMORY_BYTES = 32 << 20,
};

struct shape {
	const char *name;
	uint64_t frames;
	unsigned batch; /* entries of each */
	size_t entry_bytes;
	bool text;
	enum wal_compression compression;
};

struct place {
	struct wal_store *store;
	struct wal_stream *st;
	const struct shape *shape;
};

static void fill(struct bench *b, const struct shape *shape)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC, .compression = shape->compression };
	struct wal_store *store = bench_open_store(b, shape->name, &opts);
	struct wal_stream *st = bench_open_stream(store, "s");
	uint8_t *data = malloc(shape->batch * shape->entry_bytes);
	struct iovec entries[BATCH_ENTRIES];

	if (!data)
		err(1, "entries");
	if (shape->text)
		bench_fill_text(data, shape->batch * shape->entry_bytes, 1);
	else
		bench_fill_random(data, shape->batch * shape->entry_bytes, 1);
	for (unsigned i = 0; i < shape->batch; i++)
		entries[i] = (struct iovec){ data + i * shape->entry_bytes, shape->entry_bytes };
	for (uint64_t i = 0; i < shape->frames; i++) {
		if (wal_stream_append_batch(st, entries, shape->batch, 0, NULL) != 0)
			errx(1, "append failed");
	}
	if (wal_stream_rotate(st) != 0)
		errx(1, "rotating failed");
	free(data);
	wal_stream_close(st);
	if (wal_store_close(store) != 0)
		errx(1, "closing the store failed");
}

static void open_place(struct bench *b, struct place *p, const struct shape *shape, enum wal_read read)
{
	struct wal_options opts = { .read = read, .ro = true };

	*p = (struct place){ .store = bench_open_store(b, shape->name, &opts), .shape = shape };
	p->st = bench_open_stream(p->store, "s");
}

static void close_place(struct place *p)
{
	wal_stream_close(p->st);
	wal_store_close(p->store);
}

static double seconds_over_all(const struct place *p)
{
	struct wal_iter *it;
	struct wal_entry e;
	uint64_t count = 0, bytes = 0;
	int result;

	if (wal_iter_new(p->st, 0, &it) != 0)
		errx(1, "making an iterator failed");
	uint64_t begin = bench_now_ns();
	while ((result = wal_iter_next(it, &e)) == 0) {
		count++;
		bytes += e.size;
	}
	double seconds = (double)(bench_now_ns() - begin) / 1e9;
	wal_iter_free(it);
	if (result != WAL_END || count != p->shape->frames * p->shape->batch || bytes != count * p->shape->entry_bytes)
		errx(1, "the iterator ended with %d after %llu entries", result, (unsigned long long)count);
	return seconds;
}

static double entries_a_second(struct bench *b, const void *arg)
{
	const struct place *p = arg;

	(void)b;
	return (double)(p->shape->frames * p->shape->batch) / seconds_over_all(p);
}

static double bytes_a_second(struct bench *b, const void *arg)
{
	const struct place *p = arg;

	(void)b;
	return (double)(p->shape->frames * p->shape->batch * p->shape->entry_bytes) / seconds_over_all(p) / 1e9;
}

struct memory {
	uint8_t *from, *to;
	size_t piece;
	volatile unsigned long *sum;
};

static double zlib_crc(struct bench *b, const void *arg)
{
	const struct memory *m = arg;
	uint64_t begin = bench_now_ns();

	(void)b;
	for (size_t at = 0; at + m->piece <= MEMORY_BYTES; at += m->piece)
		*m->sum += crc32_z(0, m->from + at, m->piece);
	return (double)MEMORY_BYTES / (double)(bench_now_ns() - begin);
}

static double copy(struct bench *b, const void *arg)
{
	const struct memory *m = arg;
	uint64_t begin = bench_now_ns();

	(void)b;
	for (size_t at = 0; at + m->piece <= MEMORY_BYTES; at += m->piece)
		memcpy(m->to + at, m->from + at, m->piece);
	return (double)MEMORY_BYTES / (double)(bench_now_ns() - begin);
}

static void small(struct bench *b)
{
	static const struct shape shapes[] = {
		{ "singles", SINGLES, 1, BENCH_ENTRY_BYTES, false, WAL_COMPRESSION_NONE },
		{ "batches", BATCHES, BATCH_ENTRIES, BENCH_ENTRY_BYTES, false, WAL_COMPRESSION_NONE },
		{ "packed", BATCHES, BATCH_ENTRIES, BENCH_ENTRY_BYTES, true, WAL_COMPRESSION_LZ4 },
	};
	struct place io[3], map[3];

	for (size_t i = 0; i < 3; i++) {
		fill(b, &shapes[i]);
		open_place(b, &io[i], &shapes[i], WAL_READ_IO);
		open_place(b, &map[i], &shapes[i], WAL_READ_MMAP);
	}
	struct bench_case c[] = {
		{ .name = "1,000,000 single entries, io", .run = entries_a_second, .arg = &io[0] },
		{ .name = "1,000,000 single entries, mmap", .run = entries_a_second, .arg = &map[0] },
		{ .name = "10,000 batches of 100, io", .run = entries_a_second, .arg = &io[1] },
		{ .name = "10,000 batches of 100, mmap", .run = entries_a_second, .arg = &map[1] },
		{ .name = "10,000 batches of 100, LZ4, io", .run = entries_a_second, .arg = &io[2] },
	};
	bench_run(b, "Iterating over entries of 128 bytes, warm", "entries a second", c, 5);
	for (size_t i = 0; i < 2; i++)
		bench_judge(b, "6", c[i].name, c[i].median, "entries/s", BENCH_AT_LEAST, 10e6);
	for (size_t i = 2; i < 4; i++)
		bench_judge(b, "6", c[i].name, c[i].median, "entries/s", BENCH_AT_LEAST, 25e6);
	bench_release(c, 5);
	for (size_t i = 0; i < 3; i++) {
		close_place(&io[i]);
		close_place(&map[i]);
		bench_remove(b, shapes[i].name);
	}
}

static void large(struct bench *b)
{
	static const struct shape shape = { "large", LARGE, 1, LARGE_BYTES, false, WAL_COMPRESSION_NONE };
	volatile unsigned long sum = 0;
	struct memory memory = { malloc(MEMORY_BYTES), malloc(MEMORY_BYTES), LARGE_BYTES, &sum };
	struct place io, map;

	if (!memory.from || !memory.to)
		err(1, "memory");
	bench_fill_random(memory.from, MEMORY_BYTES, 1);
	memset(memory.to, 1, MEMORY_BYTES);
	fill(b, &shape);
	open_place(b, &io, &shape, WAL_READ_IO);
	open_place(b, &map, &shape, WAL_READ_MMAP);
	struct bench_case c[] = {
		{ .name = "memcpy()", .run = copy, .arg = &memory },
		{ .name = "zlib's crc32()", .run = zlib_crc, .arg = &memory },
		{ .name = "walfs, io", .run = bytes_a_second, .arg = &io },
		{ .name = "walfs, mmap", .run = bytes_a_second, .arg = &map },
	};
	bench_run(b, "Iterating over 2,000 entries of 64 KiB, warm", "GB a second", c, 4);
	bench_compare(b, "6", &c[2], &c[1], BENCH_AT_LEAST, 0.9);
	bench_compare(b, "6", &c[3], &c[1], BENCH_AT_LEAST, 0.9);
	bench_compare(b, "6", &c[3], &c[0], BENCH_AT_LEAST, 0);
	bench_release(c, 4);
	close_place(&io);
	close_place(&map);
	free(memory.from);
	free(memory.to);
}

int main(void)
{
	struct bench b;

	bench_begin(&b, "iterate");
	small(&b);
	large(&b);
	return bench_end(&b);
}
