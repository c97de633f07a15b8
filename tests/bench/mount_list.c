/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Listing a stream of many entries, against a filesystem that makes the names up: once as it is asked for names only, once with attributes, each told to the floor
 * in advance, so that it does the best there is for each. Which of the two requests the kernel makes is settled at the mount, and so what can serve both has to answer the larger one, whose answers are
 * nearly four times as long: what that alone costs is measured too. And tar(1) of entries against tar of as many files.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mounted.h"

enum {
	ENTRIES = 100000, /* 1 million with a scale of 10 */
	TARRED = 10000,
};

struct listing {
	const char *floor; /* its option `plus`; NULL: walfs */
	const char *const *argv;
	uint64_t entries;
	const char *store;
};

static double run_listing(struct bench *b, const void *arg)
{
	const struct listing *l = arg;
	struct mounted m;
	double seconds;
	char option[40];

	snprintf(option, sizeof option, "entries=%" PRIu64, l->entries);
	if (l->floor)
		mounted_nothing(b, &m, "nothing", option, l->floor, NULL);
	else
		mounted_walfs(b, &m, l->store, NULL);
	seconds = mounted_command(mounted_path(&m, "s"), l->argv);
	mounted_stop(&m);
	return seconds * 1e6 / (double)l->entries;
}

static void table_listing(struct bench *b, const char *table, const char *const *argv, const char *floor, uint64_t entries, double target)
{
	const struct listing ours = { .argv = argv, .entries = entries, .store = "many" }, theirs = { .argv = argv, .entries = entries, .floor = floor },
			     either = { .argv = argv, .entries = entries, .floor = "plus=2" };
	char name[64];
	struct bench_case cases[] = {
		{ .name = name, .run = run_listing, .arg = &ours },
		{ .name = "a filesystem that does nothing", .run = run_listing, .arg = &theirs },
		{ .name = "the same, asked for attributes, giving none", .run = run_listing, .arg = &either },
	};
	const unsigned count = strcmp(floor, "plus=0") ? 2 : 3;

	snprintf(name, sizeof name, "walfs: %s", table);
	bench_run(b, table, "us an entry", cases, count);
	bench_compare(b, "13", &cases[0], &cases[1], BENCH_AT_MOST, target);
	if (count == 3)
		bench_compare(b, "13", &cases[0], &cases[2], BENCH_AT_MOST, 0);
	bench_release(cases, count);
}

static void make_files(struct bench *b, uint64_t count)
{
	char path[700], data[BENCH_ENTRY_BYTES];

	bench_fill_text(data, sizeof data, 1);
	if (mkdir(bench_path(b, "files"), 0777) < 0 || mkdir(bench_path(b, "files/s"), 0777) < 0)
		err(1, "a directory");
	for (uint64_t i = 0; i < count; i++) {
		int fd;

		snprintf(path, sizeof path, "%s/files/s/%020" PRIu64, b->dir, i);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
		if (fd < 0 || write(fd, data, sizeof data) != (ssize_t)sizeof data || close(fd) < 0)
			err(1, "'%s'", path);
	}
}

static double run_tar_of_files(struct bench *b, const void *arg)
{
	const struct listing *l = arg;

	return mounted_command(bench_path(b, "files/s"), l->argv) * 1e6 / (double)l->entries;
}

/* To a pipe, since what goes to /dev/null is not even read. */
static void table_tar(struct bench *b)
{
	static const char *const argv[] = { "sh", "-c", "tar -cf - . | cat >/dev/null", NULL };
	const uint64_t entries = bench_scaled(b, TARRED);
	const struct listing tar = { .argv = argv, .entries = entries, .store = "tarred" };
	const struct listing floor = { .argv = argv, .entries = entries, .floor = "plus=1" };
	struct bench_case cases[] = {
		{ .name = "walfs: tar", .run = run_listing, .arg = &tar },
		{ .name = "files of ext4, warm", .run = run_tar_of_files, .arg = &tar },
		{ .name = "a filesystem that does nothing", .run = run_listing, .arg = &floor },
	};

	make_files(b, entries);
	mounted_fill(b, "tarred", entries, BENCH_ENTRY_BYTES);
	sync(); /* or it is written out while others are measured */
	bench_run(b, "tar", "us an entry", cases, 3);
	bench_compare(b, "13", &cases[0], &cases[1], BENCH_AT_MOST, 1.5);
	bench_compare(b, "13", &cases[0], &cases[2], BENCH_AT_MOST, 0);
	bench_release(cases, 3);
}

int main(int argc, char **argv)
{
	static const char *const names[] = { "ls", "-U", NULL };
	static const char *const attributes[] = { "ls", "-lU", NULL };
	static const char *const find[] = { "find", ".", NULL };
	static const char *const find_size[] = { "find", ".", "-size", "+1", NULL };
	struct bench b;
	uint64_t entries;

	(void)argc;
	mounted_need();
	bench_begin(&b, "mount_list");
	entries = bench_scaled(&b, ENTRIES);
	mounted_fill(&b, "many", entries, BENCH_ENTRY_BYTES);
	printf("%" PRIu64 " entries\n", entries);
	if (mounted_wants(argv, "ls")) {
		table_listing(&b, "ls -U", names, "plus=0", entries, 1.25);
		table_listing(&b, "ls -lU", attributes, "plus=1", entries, 1.25);
	}
	if (mounted_wants(argv, "find")) {
		table_listing(&b, "find", find, "plus=0", entries, 1.25);
		/* It takes 100,000 names before it asks for the first one's attributes: nobody can know. */
		table_listing(&b, "find -size +1", find_size, "plus=1", entries, 0);
	}
	if (mounted_wants(argv, "tar"))
		table_tar(&b);
	return bench_end(&b);
}
