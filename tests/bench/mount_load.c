/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A steady load: 64 MiB a second of entries of 1 KiB, by `.lines` in async mode, for six seconds (a minute with a scale of 10), beside a follower that gets all of them, a reader of
 * entries here and there, and a checkpoint every second. First each write(2) has 16 lines, as a program's buffer or a pipe has; then one, which is a way to the daemon
 * and back for each KiB: how far that gets depends on how many others want the processors. What a late write waited for its turn, behind a slow one, counts too.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "mounted.h"

enum {
	SECONDS = 6,
	WRITERS = 2,
	LINE_BYTES = 1024,
	LINES_A_WRITE_MAX = 16,
	LINES_A_SECOND = 64 << 10,
	READS_A_SECOND = 500,
	SECONDS_MAX = 3600,
};

struct load {
	struct mounted m;
	unsigned seconds;
	unsigned lines_a_write;
	uint64_t begin, end;
	atomic_uint_least64_t written; /* lines of this load */
	atomic_uint_least64_t followed; /* bytes */
	atomic_uint_least64_t reads;
};

struct writer {
	struct load *load;
	pthread_t thread;
	uint32_t *took_ns, *late_ns; /* of each write: from its beginning; from when it was due */
	uint64_t count;
};

static void sleep_until(uint64_t ns)
{
	struct timespec t = { .tv_sec = (time_t)(ns / 1000000000), .tv_nsec = (long)(ns % 1000000000) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

static uint32_t clamp(uint64_t ns)
{
	return ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

static void fill_lines(char *lines, size_t size)
{
	bench_fill_text(lines, size, 5);
	for (size_t i = 0; i < size; i++)
		if (i % LINE_BYTES == LINE_BYTES - 1)
			lines[i] = '\n';
		else if (lines[i] == '\n')
			lines[i] = ' ';
}

/* Sleeps a millisecond when it is a millisecond ahead: as many lines as are due then come at once. */
static void *write_lines(void *arg)
{
	struct writer *w = arg;
	struct load *load = w->load;
	const uint64_t interval = UINT64_C(1000000000) * WRITERS * load->lines_a_write / LINES_A_SECOND;
	const size_t size = (size_t)load->lines_a_write * LINE_BYTES;
	const char *path = mounted_path(&load->m, "s/.lines");
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	char lines[LINES_A_WRITE_MAX * LINE_BYTES];

	fill_lines(lines, size);
	for (uint64_t due = load->begin; due < load->end && bench_now_ns() < load->end; due += interval, w->count++) {
		uint64_t before = bench_now_ns(), after;

		if (due > before + 1000000) {
			sleep_until(due);
			before = bench_now_ns();
		}
		if (fd < 0 || write(fd, lines, size) != (ssize_t)size)
			err(1, "'%s'", path);
		after = bench_now_ns();
		w->took_ns[w->count] = clamp(after - before);
		w->late_ns[w->count] = clamp(after > due ? after - due : 0);
		atomic_fetch_add(&load->written, load->lines_a_write);
	}
	if (close(fd) < 0)
		err(1, "'%s'", path);
	return NULL;
}

static void *follow(void *arg)
{
	struct load *load = arg;
	const char *path = mounted_path(&load->m, "s/.follow/first");
	struct pollfd pollfd = { .fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), .events = POLLIN };
	static char data[128 << 10];

	if (pollfd.fd < 0)
		err(1, "'%s'", path);
	while (bench_now_ns() < load->end) {
		ssize_t n = read(pollfd.fd, data, sizeof data);

		if (n < 0 && errno != EAGAIN)
			err(1, "'%s'", path);
		if (n > 0)
			atomic_fetch_add(&load->followed, (uint64_t)n);
		else
			poll(&pollfd, 1, 100);
	}
	close(pollfd.fd);
	return NULL;
}

/* Entries anywhere, each read for the first time, mostly. */
static void *read_entries(void *arg)
{
	struct load *load = arg;
	char name[40], data[LINE_BYTES];
	uint64_t seed = 1;

	for (uint64_t due = load->begin; due < load->end; due += 1000000000 / READS_A_SECOND) {
		uint64_t written = atomic_load(&load->written);
		const char *path;
		int fd;

		if (due > bench_now_ns())
			sleep_until(due);
		if (!written)
			continue; /* there is only what the store was made with */
		snprintf(name, sizeof name, "s/%020" PRIu64, bench_random(&seed) % written);
		path = mounted_path(&load->m, name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || read(fd, data, sizeof data) < LINE_BYTES - 1 || close(fd) < 0)
			err(1, "'%s'", path);
		atomic_fetch_add(&load->reads, 1);
	}
	return NULL;
}

static void *make_checkpoints(void *arg)
{
	struct load *load = arg;
	char name[40];

	for (unsigned i = 1; i < load->seconds; i++) {
		const char *path;
		int fd;

		sleep_until(load->begin + i * UINT64_C(1000000000));
		snprintf(name, sizeof name, ".checkpoints/%u.%u", load->lines_a_write, i);
		path = mounted_path(&load->m, name);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd < 0 || close(fd) < 0)
			err(1, "'%s'", path);
	}
	return NULL;
}

/* ---- Results ---- */

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* With how many lines a write has. */
static void judge(struct bench *b, unsigned lines_a_write, const char *what, double value, const char *unit, enum bench_sense sense, double target)
{
	char name[128];

	snprintf(name, sizeof name, "%u lines a write: %s", lines_a_write, what);
	bench_judge(b, "16", name, value, unit, sense, target);
}

/* `part` in 1000 of them took at most so many milliseconds. */
static double percentile_ms(const uint32_t *sorted, uint64_t count, unsigned part)
{
	return (double)sorted[(count - 1) * part / 1000] / 1e6;
}

static void judge_latencies(struct bench *b, const struct writer *writers, unsigned lines_a_write)
{
	uint64_t count = 0;
	uint32_t *took, *late;

	for (unsigned i = 0; i < WRITERS; i++)
		count += writers[i].count;
	took = malloc(count * sizeof *took);
	late = malloc(count * sizeof *late);
	if (!took || !late)
		err(1, "latencies");
	count = 0;
	for (unsigned i = 0; i < WRITERS; i++) {
		memcpy(took + count, writers[i].took_ns, writers[i].count * sizeof *took);
		memcpy(late + count, writers[i].late_ns, writers[i].count * sizeof *late);
		count += writers[i].count;
	}
	qsort(took, count, sizeof *took, compare_u32);
	qsort(late, count, sizeof *late, compare_u32);
	judge(b, lines_a_write, "p50", percentile_ms(took, count, 500), "ms", BENCH_AT_MOST, 0);
	judge(b, lines_a_write, "p99", percentile_ms(took, count, 990), "ms", BENCH_AT_MOST, 0);
	judge(b, lines_a_write, "p99.9", percentile_ms(took, count, 999), "ms", BENCH_AT_MOST, 50);
	judge(b, lines_a_write, "the slowest", percentile_ms(took, count, 1000), "ms", BENCH_AT_MOST, 0);
	if (lines_a_write > 1)
		judge(b, lines_a_write, "from when it was due, p99", percentile_ms(late, count, 990), "ms", BENCH_AT_MOST, 0);
	free(took);
	free(late);
}

/* Each second how much was written and what memory there is; a line for each of the first ten, then for every tenth. */
static void watch(struct bench *b, struct load *load)
{
	static double rates[SECONDS_MAX], memory[SECONDS_MAX];
	double slowest = 1e9, rate_sum = 0, least = 1e9, most = 0;
	uint64_t written = 0, resident = 0, anonymous = 0;

	printf("\n%u lines a write\n  %8s %12s %14s %14s\n", load->lines_a_write, "second", "MiB written", "resident KiB", "anonymous KiB");
	for (unsigned i = 0; i < load->seconds; i++) {
		uint64_t now;

		sleep_until(load->begin + (i + 1) * UINT64_C(1000000000));
		now = atomic_load(&load->written);
		mounted_memory(&load->m, &resident, &anonymous);
		rates[i] = (double)(now - written) * LINE_BYTES / (1 << 20);
		memory[i] = (double)anonymous / (1 << 20);
		written = now;
		if (i < 10 || i % 10 == 9)
			printf("  %8u %12.1f %14" PRIu64 " %14" PRIu64 "\n", i + 1, rates[i], resident >> 10, anonymous >> 10);
		fflush(stdout);
	}
	for (unsigned i = 1; i < load->seconds; i++) {
		slowest = rates[i] < slowest ? rates[i] : slowest;
		rate_sum += rates[i];
		least = memory[i] < least ? memory[i] : least;
		most = memory[i] > most ? memory[i] : most;
	}
	judge(b, load->lines_a_write, "rate", rate_sum / (load->seconds - 1), "MiB/s", BENCH_AT_LEAST, load->lines_a_write > 1 ? 63 : 0);
	judge(b, load->lines_a_write, "the slowest second", slowest, "MiB/s", BENCH_AT_LEAST, load->lines_a_write > 1 ? 56 : 0);
	judge(b, load->lines_a_write, "memory: anonymous, at most", most, "MiB", BENCH_AT_MOST, 0);
	/* Once the cache of decoded entries is full. */
	judge(b, load->lines_a_write, "memory: it grew in the second half by", memory[load->seconds - 1] - memory[(load->seconds - 1) / 2], "MiB", BENCH_AT_MOST, 2);
}

static void start(pthread_t *thread, void *(*run)(void *arg), void *arg)
{
	if (pthread_create(thread, NULL, run, arg))
		errx(1, "no thread");
}

static void run(struct bench *b, struct load *load)
{
	struct writer writers[WRITERS] = { 0 };
	const uint64_t room = (uint64_t)(load->seconds + 1) * LINES_A_SECOND / WRITERS;
	pthread_t follower, reader, maker;

	load->begin = bench_now_ns() + 100000000;
	load->end = load->begin + load->seconds * UINT64_C(1000000000);
	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i].load = load;
		writers[i].took_ns = malloc(room * sizeof *writers[i].took_ns);
		writers[i].late_ns = malloc(room * sizeof *writers[i].late_ns);
		if (!writers[i].took_ns || !writers[i].late_ns)
			err(1, "latencies");
		start(&writers[i].thread, write_lines, &writers[i]);
	}
	start(&follower, follow, load);
	start(&reader, read_entries, load);
	start(&maker, make_checkpoints, load);
	watch(b, load);
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	pthread_join(follower, NULL);
	pthread_join(reader, NULL);
	pthread_join(maker, NULL);
	judge_latencies(b, writers, load->lines_a_write);
	judge(b, load->lines_a_write, "followed", (double)atomic_load(&load->followed) / (1 << 20) / load->seconds, "MiB/s", BENCH_AT_LEAST, 0);
	judge(b, load->lines_a_write, "entries read", (double)atomic_load(&load->reads) / load->seconds, "a second", BENCH_AT_LEAST, 0);
	for (unsigned i = 0; i < WRITERS; i++) {
		free(writers[i].took_ns);
		free(writers[i].late_ns);
	}
}

int main(void)
{
	struct load load = { 0 };
	struct bench b;
	uint64_t seconds;

	mounted_need();
	bench_begin(&b, "mount_load");
	seconds = bench_scaled(&b, SECONDS);
	load.seconds = (unsigned)(seconds < 3 ? 3 : seconds > SECONDS_MAX ? SECONDS_MAX : seconds);
	for (unsigned lines = LINES_A_WRITE_MAX; lines; lines = lines > 1 ? 1 : 0) {
		load.lines_a_write = lines;
		load.written = load.followed = load.reads = 0;
		mounted_fill(&b, "store", 1, LINE_BYTES);
		mounted_walfs(&b, &load.m, "store", "sync=async");
		run(&b, &load);
		mounted_stop(&load.m);
		bench_remove(&b, "store");
	}
	return bench_end(&b);
}
