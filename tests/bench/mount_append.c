/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Appending through a mount: against a filesystem that does nothing, and what must be durable against a file for each entry on the same disk, created, written, fsynced and
 * closed, as one does it without a log.
 */
#include <err.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mounted.h"

enum {
	ASYNC_APPENDS = 5000,
	FSYNCS = 150,
	ECHOES = 1000,
	STRICT_APPENDS = 150,
	WRITERS = 16,
	WRITER_APPENDS = 40,
};

static struct mounted async_walfs, strict_walfs, nothing, syncing;

static double run_append(struct bench *b, const void *arg)
{
	return mounted_append(b, mounted_path(arg, "s/new"), BENCH_ENTRY_BYTES, (unsigned)bench_scaled(b, ASYNC_APPENDS)) * 1e6;
}

static double run_fsync(struct bench *b, const void *arg)
{
	const char *path = mounted_path(arg, "s/new");
	unsigned count = (unsigned)bench_scaled(b, FSYNCS);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	uint64_t begin = bench_now_ns(), before = begin;
	char data[BENCH_ENTRY_BYTES];

	bench_fill_text(data, sizeof data, 3);
	for (unsigned i = 0; i < count; i++) {
		uint64_t now;

		if (fd < 0 || write(fd, data, sizeof data) != (ssize_t)sizeof data || fsync(fd) < 0)
			err(1, "'%s'", path);
		now = bench_now_ns();
		bench_latency(b, now - before);
		before = now;
	}
	if (close(fd) < 0)
		err(1, "'%s'", path);
	return (double)(before - begin) / 1e3 / count;
}

/* A shell that is there already, so that only what it does for each line counts. */
static double run_echo(struct bench *b, const void *arg)
{
	unsigned count = (unsigned)bench_scaled(b, ECHOES);
	char script[300];
	const char *const argv[] = { "bash", "-c", script, NULL };

	snprintf(script, sizeof script,
		 "line=$(printf '%%0127d' 7); for ((i = 0; i < %u; i++)); do echo \"$line\" >new || exit 1; done", count);
	return mounted_command(mounted_path(arg, "s"), argv) * 1e6 / count;
}

/* ---- Durable ---- */

static void append_file(const char *dir, uint64_t number)
{
	char path[1100], data[BENCH_ENTRY_BYTES];
	int fd;

	bench_fill_text(data, sizeof data, number);
	snprintf(path, sizeof path, "%s/%020llu", dir, (unsigned long long)number);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 || write(fd, data, sizeof data) != (ssize_t)sizeof data || fsync(fd) < 0 || close(fd) < 0)
		err(1, "'%s'", path);
}

static const char *make_dir(const struct bench *b, const char *name)
{
	const char *path = bench_path(b, name);

	if (mkdir(path, 0777) < 0)
		err(1, "'%s'", path);
	return path;
}

static double run_strict(struct bench *b, const void *arg)
{
	return mounted_append(b, mounted_path(arg, "s/new"), BENCH_ENTRY_BYTES, (unsigned)bench_scaled(b, STRICT_APPENDS)) * 1e6;
}

static double run_files(struct bench *b, const void *arg)
{
	unsigned count = (unsigned)bench_scaled(b, STRICT_APPENDS);
	const char *dir = make_dir(b, "files");
	uint64_t begin = bench_now_ns(), before = begin;

	(void)arg;
	for (unsigned i = 0; i < count; i++) {
		uint64_t now;

		append_file(dir, i);
		now = bench_now_ns();
		bench_latency(b, now - before);
		before = now;
	}
	bench_remove(b, "files");
	return (double)(before - begin) / 1e3 / count;
}

/* ---- Many writers ---- */

struct writer {
	pthread_t thread;
	char path[1024];
	unsigned count;
	unsigned number;
	bool files;
};

static void *write_all(void *arg)
{
	const struct writer *w = arg;
	char data[BENCH_ENTRY_BYTES];

	bench_fill_text(data, sizeof data, w->number);
	for (unsigned i = 0; i < w->count; i++) {
		int fd;

		if (w->files) {
			append_file(w->path, (uint64_t)w->number * w->count + i);
			continue;
		}
		fd = open(w->path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, data, sizeof data) != (ssize_t)sizeof data || close(fd) < 0)
			err(1, "'%s'", w->path);
	}
	return NULL;
}

/* Appends a second. */
static double run_writers(struct writer *writers, unsigned each)
{
	uint64_t begin = bench_now_ns();

	for (unsigned i = 0; i < WRITERS; i++) {
		writers[i].count = each;
		writers[i].number = i;
		if (pthread_create(&writers[i].thread, NULL, write_all, &writers[i]))
			errx(1, "no thread");
	}
	for (unsigned i = 0; i < WRITERS; i++)
		pthread_join(writers[i].thread, NULL);
	return WRITERS * each / ((double)(bench_now_ns() - begin) / 1e9);
}

static double run_16_on_one(struct bench *b, const void *arg)
{
	struct writer writers[WRITERS] = { 0 };

	for (unsigned i = 0; i < WRITERS; i++)
		snprintf(writers[i].path, sizeof writers[i].path, "%s", mounted_path(arg, "s/new"));
	return run_writers(writers, (unsigned)bench_scaled(b, WRITER_APPENDS));
}

static double run_16_on_16(struct bench *b, const void *arg)
{
	struct writer writers[WRITERS] = { 0 };

	for (unsigned i = 0; i < WRITERS; i++) {
		char name[32];

		snprintf(name, sizeof name, "w%u/new", i);
		snprintf(writers[i].path, sizeof writers[i].path, "%s", mounted_path(arg, name));
	}
	return run_writers(writers, (unsigned)bench_scaled(b, WRITER_APPENDS));
}

static double run_16_files(struct bench *b, const void *arg)
{
	struct writer writers[WRITERS] = { 0 };
	const bool *apart = arg;
	double rate;

	make_dir(b, "files");
	for (unsigned i = 0; i < WRITERS; i++) {
		char name[32];

		snprintf(name, sizeof name, *apart ? "files/%u" : "files", i);
		snprintf(writers[i].path, sizeof writers[i].path, "%s", *apart ? make_dir(b, name) : bench_path(b, name));
		writers[i].files = true;
	}
	rate = run_writers(writers, (unsigned)bench_scaled(b, WRITER_APPENDS));
	bench_remove(b, "files");
	return rate;
}

/* ---- Tables ---- */

static void table_append(struct bench *b)
{
	struct bench_case cases[] = {
		{ .name = "walfs: open, write, close", .run = run_append, .arg = &async_walfs },
		{ .name = "a filesystem that does nothing", .run = run_append, .arg = &nothing },
	};

	bench_run(b, "open, write 128 bytes, close on 'new'", "us an append", cases, 2);
	bench_compare(b, "9", &cases[0], &cases[1], BENCH_AT_MOST, 1.25);
	mounted_compare_p50(b, "9", &cases[0], &cases[1]);
	bench_release(cases, 2);
}

static void table_fsync(struct bench *b)
{
	struct bench_case cases[] = {
		{ .name = "walfs: write, fsync", .run = run_fsync, .arg = &async_walfs },
		{ .name = "does nothing but pwrite and fdatasync", .run = run_fsync, .arg = &syncing },
		{ .name = "does nothing, no sync either", .run = run_fsync, .arg = &nothing },
	};

	bench_run(b, "write 128 bytes, fsync on an open 'new'", "us an append", cases, 3);
	bench_compare(b, "9", &cases[0], &cases[1], BENCH_AT_MOST, 1.25);
	mounted_compare_p50(b, "9", &cases[0], &cases[1]);
	bench_release(cases, 3);
}

static void table_echo(struct bench *b)
{
	struct bench_case cases[] = {
		{ .name = "walfs: echo from bash", .run = run_echo, .arg = &async_walfs },
		{ .name = "a filesystem that does nothing", .run = run_echo, .arg = &nothing },
	};

	bench_run(b, "bash: echo \"$line\" >new", "us an append", cases, 2);
	bench_compare(b, "9", &cases[0], &cases[1], BENCH_AT_MOST, 1.25);
	bench_release(cases, 2);
}

static void table_strict(struct bench *b)
{
	struct bench_case cases[] = {
		{ .name = "walfs: one writer, strict", .run = run_strict, .arg = &strict_walfs },
		{ .name = "a file each, fsynced", .run = run_files },
	};

	bench_run(b, "one writer, each entry durable", "us an append", cases, 2);
	bench_compare(b, "10", &cases[0], &cases[1], BENCH_AT_MOST, 0.75);
	mounted_compare_p50(b, "10", &cases[0], &cases[1]);
	bench_release(cases, 2);
}

static void table_many(struct bench *b)
{
	static const bool apart = true, together = false;
	struct bench_case cases[] = {
		{ .name = "walfs: 16 on one stream, strict", .run = run_16_on_one, .arg = &strict_walfs },
		{ .name = "walfs: 16 on 16 streams, strict", .run = run_16_on_16, .arg = &strict_walfs },
		{ .name = "16 in one directory, a file each", .run = run_16_files, .arg = &together },
		{ .name = "16 in 16 directories, a file each", .run = run_16_files, .arg = &apart },
	};

	bench_run(b, "16 writers, each entry durable", "appends/s", cases, 4);
	bench_compare(b, "10", &cases[0], &cases[2], BENCH_AT_LEAST, 4);
	bench_compare(b, "10", &cases[1], &cases[3], BENCH_AT_LEAST, 4);
	bench_release(cases, 4);
}

static void make_stream(const struct mounted *m, const char *name)
{
	const char *path = mounted_path(m, name);

	if (mkdir(path, 0777) < 0)
		err(1, "'%s'", path);
}

int main(int argc, char **argv)
{
	char log[700];
	struct bench b;

	(void)argc;
	mounted_need();
	bench_begin(&b, "mount_append");
	snprintf(log, sizeof log, "log=%s", bench_path(&b, "log"));
	mounted_walfs(&b, &async_walfs, "async", "sync=async");
	mounted_walfs(&b, &strict_walfs, "strict", "sync=strict");
	mounted_nothing(&b, &nothing, "nothing", NULL, NULL, NULL);
	mounted_nothing(&b, &syncing, "syncing", log, NULL, NULL);
	make_stream(&async_walfs, "s");
	make_stream(&strict_walfs, "s");
	for (unsigned i = 0; i < WRITERS; i++) {
		char name[16];

		snprintf(name, sizeof name, "w%u", i);
		make_stream(&strict_walfs, name);
	}
	if (mounted_wants(argv, "append"))
		table_append(&b);
	if (mounted_wants(argv, "fsync"))
		table_fsync(&b);
	if (mounted_wants(argv, "echo"))
		table_echo(&b);
	if (mounted_wants(argv, "strict"))
		table_strict(&b);
	if (mounted_wants(argv, "many"))
		table_many(&b);
	mounted_stop(&async_walfs);
	mounted_stop(&strict_walfs);
	mounted_stop(&nothing);
	mounted_stop(&syncing);
	return bench_end(&b);
}
