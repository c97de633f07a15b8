/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Checkpoints over few and many streams, in units of one fdatasync(2) of a small append on the same disk; and loading one. What is dirty in many files takes a disk longer than what is in one: so the same is
 * also done to bare files, each synced by one of some threads, and then one that grows, as the record of a checkpoint does.
 */
#include <err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
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
	bool durable;	  /* and are synced then, as in strict mode they always are */
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
	if (p->durable && wal_store_sync(p->store) != 0)
		errx(1, "sync failed");
	snprintf(id, sizeof id, "c%llu", (unsigned long long)bench_now_ns());
	uint64_t begin = bench_now_ns();
	if (wal_checkpoint_create(p->store, id, strlen(id), 0, &error) != 0)
		errx(1, "%s", error.message);
	double ms = (double)(bench_now_ns() - begin) / 1e6;
	bench_latency(b, bench_now_ns() - begin);
	return ms;
}

/* Files of which each gets an append, and threads that sync them. */
struct bare {
	int fds[MANY];
	unsigned count;
	int record;
	pthread_barrier_t begin, end;
	atomic_uint next;
	bool ending;
	pthread_t threads[FEW];
};

static void *bare_main(void *arg)
{
	struct bare *bare = arg;
	unsigned i;

	for (;;) {
		pthread_barrier_wait(&bare->begin);
		if (bare->ending)
			return NULL;
		while ((i = atomic_fetch_add(&bare->next, 1)) < bare->count) {
			if (fdatasync(bare->fds[i]) < 0)
				err(1, "fdatasync");
		}
		pthread_barrier_wait(&bare->end);
	}
}

static void bare_open(struct bench *b, struct bare *bare, unsigned count)
{
	*bare = (struct bare){ .count = count };
	for (unsigned i = 0; i < count; i++) {
		char name[32];

		snprintf(name, sizeof name, "bare-%u-%u", count, i);
		bare->fds[i] = bench_open_file(b, name, 64 << 10);
	}
	bare->record = bench_open_file(b, "record", 0);
	pthread_barrier_init(&bare->begin, NULL, FEW + 1);
	pthread_barrier_init(&bare->end, NULL, FEW + 1);
	for (unsigned i = 0; i < FEW; i++) {
		if (pthread_create(&bare->threads[i], NULL, bare_main, bare) != 0)
			errx(1, "no thread");
	}
}

static void bare_close(struct bare *bare)
{
	bare->ending = true;
	pthread_barrier_wait(&bare->begin);
	for (unsigned i = 0; i < FEW; i++)
		pthread_join(bare->threads[i], NULL);
	for (unsigned i = 0; i < bare->count; i++)
		close(bare->fds[i]);
	close(bare->record);
	pthread_barrier_destroy(&bare->begin);
	pthread_barrier_destroy(&bare->end);
}

static double bare_ms(struct bench *b, const void *arg)
{
	struct bare *bare = (struct bare *)arg;
	uint8_t frame[BENCH_FRAME_BYTES] = { 1 };

	(void)b;
	for (unsigned i = 0; i < bare->count; i++) {
		if (write(bare->fds[i], frame, sizeof frame) != sizeof frame)
			err(1, "write");
	}
	atomic_store(&bare->next, 0);
	uint64_t begin = bench_now_ns();
	pthread_barrier_wait(&bare->begin);
	pthread_barrier_wait(&bare->end);
	if (write(bare->record, frame, sizeof frame) != sizeof frame || fdatasync(bare->record) < 0)
		err(1, "fdatasync");
	return (double)(bench_now_ns() - begin) / 1e6;
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
	struct place few, quiet, durable, many, many_quiet, many_durable;
	struct bare bare_few, bare_many;
	struct bench b;

	bench_begin(&b, "checkpoint");
	int fd = bench_open_file(&b, "raw", (uint64_t)BENCH_REPEATS_MAX * SYNCS * BENCH_FRAME_BYTES);
	open_place(&b, &few, "few", FEW);
	open_place(&b, &many, "many", MANY);
	quiet = few;
	many_quiet = many;
	quiet.touched = many_quiet.touched = 1;
	durable = few;
	many_durable = many;
	durable.durable = many_durable.durable = true;
	bare_open(&b, &bare_few, FEW);
	bare_open(&b, &bare_many, MANY);
	struct bench_case c[] = {
		{ .name = "one fdatasync() of a small append, allocated", .run = sync_ms, .arg = &fd },
		{ .name = "16 streams, one durable entry since in each", .run = checkpoint_ms, .arg = &durable },
		{ .name = "1,000 streams, one durable entry since in each", .run = checkpoint_ms, .arg = &many_durable },
		{ .name = "16 streams, one entry since in one", .run = checkpoint_ms, .arg = &quiet },
		{ .name = "1,000 streams, one entry since in one", .run = checkpoint_ms, .arg = &many_quiet },
		{ .name = "16 streams, one entry since in each", .run = checkpoint_ms, .arg = &few },
		{ .name = "1,000 streams, one entry since in each", .run = checkpoint_ms, .arg = &many },
		{ .name = "fdatasync() of 16 files and of one that grows", .run = bare_ms, .arg = &bare_few },
		{ .name = "fdatasync() of 1,000 files and of one that grows", .run = bare_ms, .arg = &bare_many },
	};
	unsigned repeats = b.repeats;
	b.repeats = repeats * 4 < BENCH_REPEATS_MAX ? repeats * 4 : BENCH_REPEATS_MAX;
	bench_run(&b, "Making a checkpoint", "ms", c, sizeof c / sizeof *c);
	for (unsigned i = 1; i < 7; i++)
		bench_compare(&b, "8", &c[i], &c[0], BENCH_AT_MOST, 3);
	bench_compare(&b, "8", &c[5], &c[7], BENCH_AT_MOST, 0);
	bench_compare(&b, "8", &c[6], &c[8], BENCH_AT_MOST, 0);
	bench_release(c, sizeof c / sizeof *c);
	bare_close(&bare_few);
	bare_close(&bare_many);
	b.repeats = repeats;

	struct bench_case load[] = {
		{ .name = "loading a checkpoint of 16 streams", .run = load_us, .arg = &few },
		{ .name = "loading a checkpoint of 1,000 streams", .run = load_us, .arg = &many },
	};
	bench_run(&b, "Loading the latest checkpoint", "µs", load, 2);
	bench_judge_case(&b, "8", &load[0], BENCH_AT_MOST, 1);
	bench_judge_case(&b, "8", &load[1], BENCH_AT_MOST, 0);
	close(fd);
	close_place(&few);
	close_place(&many);
	return bench_end(&b);
}
