/* SPDX-License-Identifier: Apache-2.0 */
/* Checkpoints over few and many streams, in units of one fdatasync(2) of a small append on the same disk; and loading one. */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

enum {
	FEW = 16,
	MANY = 1000,
	LOADS = 100000,
	SYNCS = 20,
};

struct place {
	struct wal_store *store;
	struct wal_stream **streams;
	unsigned count;
	unsigned touched; /* streams that get an entry before each checkpoint */
};

static void append(struct wal_stream *st)
{
	uint8_t entry[BENCH_ENTRY_BYTES];

	bench_fill_random(entry, sizeof entry, 1);
	if (wal_stream_append(st, entry, sizeof entry, 0, NULL) != 0)
		errx(1, "append failed");
}

static void open_place(struct bench *b, struct place *p, const char *name, unsigned count)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC };

	*p = (struct place){ .store = bench_open_store(b, name, &opts), .count = count, .touched = count };
	p->streams = calloc(count, sizeof *p->streams);
	if (!p->streams)
		err(1, "streams");
	for (unsigned i = 0; i < count; i++) {
		char stream[16];

		snprintf(stream, sizeof stream, "s%04u", i);
		p->streams[i] = bench_open_stream(p->store, stream);
		append(p->streams[i]);
	}
	if (wal_store_sync(p->store) != 0)
		errx(1, "sync failed");
}

static void close_place(struct place *p)
{
	for (unsigned i = 0; i < p->count; i++)
		wal_stream_close(p->streams[i]);
	free(p->streams);
	wal_store_close(p->store);
}

static double sync_ms(struct bench *b, const void *arg)
{
	const int *fd = arg;
	uint8_t frame[BENCH_FRAME_BYTES] = { 1 };
	uint64_t begin = bench_now_ns();

	(void)b;
	for (unsigned i = 0; i < SYNCS; i++) {
		if (write(*fd, frame, sizeof frame) != sizeof frame || fdatasync(*fd) < 0)
			err(1, "fdatasync");
	}
	return (double)(bench_now_ns() - begin) / SYNCS / 1e6;
}

static double checkpoint_ms(struct bench *b, const void *arg)
{
	const struct place *p = arg;
	struct wal_error error;
	char id[32];

	for (unsigned i = 0; i < p->touched; i++)
		append(p->streams[i]);
	snprintf(id, sizeof id, "c%llu", (unsigned long long)bench_now_ns());
	uint64_t begin = bench_now_ns();
	if (wal_checkpoint_create(p->store, id, strlen(id), 0, &error) != 0)
		errx(1, "%s", error.message);
	double ms = (double)(bench_now_ns() - begin) / 1e6;
	bench_latency(b, bench_now_ns() - begin);
	return ms;
}

static double load_us(struct bench *b, const void *arg)
{
	const struct place *p = arg;
	struct wal_checkpoint *checkpoint;
	uint64_t begin = bench_now_ns();

	(void)b;
	for (unsigned i = 0; i < LOADS; i++) {
		if (wal_checkpoint_latest(p->store, &checkpoint) != 0)
			errx(1, "loading failed");
		free(checkpoint);
	}
	return (double)(bench_now_ns() - begin) / LOADS / 1000;
}

int main(void)
{
	struct place few, quiet, many;
	struct bench b;

	bench_begin(&b, "checkpoint");
	int fd = bench_open_file(&b, "raw", (uint64_t)BENCH_REPEATS_MAX * SYNCS * BENCH_FRAME_BYTES);
	open_place(&b, &few, "few", FEW);
	open_place(&b, &many, "many", MANY);
	quiet = few;
	quiet.touched = 1;
	struct bench_case c[] = {
		{ .name = "one fdatasync() of a small append, allocated", .run = sync_ms, .arg = &fd },
		{ .name = "16 streams, one entry since in one", .run = checkpoint_ms, .arg = &quiet },
		{ .name = "16 streams, one entry since in each", .run = checkpoint_ms, .arg = &few },
		{ .name = "1,000 streams, one entry since in each", .run = checkpoint_ms, .arg = &many },
	};
	unsigned repeats = b.repeats;
	b.repeats = repeats * 4 < BENCH_REPEATS_MAX ? repeats * 4 : BENCH_REPEATS_MAX;
	bench_run(&b, "Making a checkpoint", "ms", c, 4);
	bench_compare(&b, "8", &c[1], &c[0], BENCH_AT_MOST, 3);
	bench_compare(&b, "8", &c[2], &c[0], BENCH_AT_MOST, 3);
	bench_compare(&b, "8", &c[3], &c[0], BENCH_AT_MOST, 3);
	bench_release(c, 4);
	b.repeats = repeats;

	struct bench_case load[] = {
		{ .name = "of 16 streams", .run = load_us, .arg = &few },
		{ .name = "of 1,000 streams", .run = load_us, .arg = &many },
	};
	bench_run(&b, "Loading the latest checkpoint", "µs", load, 2);
	bench_judge(&b, "8", "loading a checkpoint of 16 streams", load[0].median, "µs", BENCH_AT_MOST, 1);
	bench_judge(&b, "8", "loading a checkpoint of 1,000 streams", load[1].median, "µs", BENCH_AT_MOST, 0);
	close(fd);
	close_place(&few);
	close_place(&many);
	return bench_end(&b);
}
