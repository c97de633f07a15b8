/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading through a mount: many small entries, against a filesystem that has them in memory; and a stream as one text, against the same bytes in a file that
 * libfuse's way of passing through shows. Cold: right after mounting, so that neither kernel nor program remembers anything; what is on the disk is in the page cache. Warm: once more.
 */
#include <err.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mounted.h"

enum {
	ENTRIES = 20000,
	TEXT_MIB = 256,
	TEXT_MIB_MAX = 1024,
	LARGE_ENTRY_BYTES = 64 << 10,
	NAME_BYTES = 21,
};

/* ---- Entries ---- */

struct cat {
	const char **argv;
	char *names;
};

/* cat(1) of every entry in one process. */
static struct cat make_cat(uint64_t entries)
{
	struct cat cat = { .argv = calloc(entries + 2, sizeof *cat.argv), .names = malloc(entries * NAME_BYTES) };

	if (!cat.argv || !cat.names)
		err(1, "%" PRIu64 " names", entries);
	cat.argv[0] = "cat";
	for (uint64_t i = 0; i < entries; i++) {
		cat.argv[i + 1] = cat.names + i * NAME_BYTES;
		snprintf(cat.names + i * NAME_BYTES, NAME_BYTES, "%020" PRIu64, i);
	}
	return cat;
}

struct entries {
	bool nothing;
	bool warm;
	struct cat *cat;
};

static void mount_entries(struct bench *b, struct mounted *m, bool nothing)
{
	char option[40];

	snprintf(option, sizeof option, "entries=%d", ENTRIES);
	if (nothing)
		mounted_nothing(b, m, "nothing", option, NULL, NULL);
	else
		mounted_walfs(b, m, "entries", NULL);
}

static double run_cat(struct bench *b, const void *arg)
{
	const struct entries *e = arg;
	struct mounted m;
	double seconds;

	mount_entries(b, &m, e->nothing);
	seconds = mounted_command(mounted_path(&m, "s"), e->cat->argv);
	if (e->warm)
		seconds = mounted_command(mounted_path(&m, "s"), e->cat->argv);
	mounted_stop(&m);
	return seconds * 1e6 / ENTRIES;
}

static void table_entries(struct bench *b)
{
	struct cat cat = make_cat(ENTRIES);
	const struct entries cold = { .cat = &cat }, warm = { .cat = &cat, .warm = true };
	const struct entries nothing_cold = { .cat = &cat, .nothing = true }, nothing_warm = { .cat = &cat, .nothing = true, .warm = true };
	struct bench_case cases[] = {
		{ .name = "walfs: cat of entries, cold", .run = run_cat, .arg = &cold },
		{ .name = "a filesystem that does nothing, cold", .run = run_cat, .arg = &nothing_cold },
		{ .name = "walfs: cat of entries, warm", .run = run_cat, .arg = &warm },
		{ .name = "a filesystem that does nothing, warm", .run = run_cat, .arg = &nothing_warm },
	};

	mounted_fill(b, "entries", ENTRIES, BENCH_ENTRY_BYTES);
	bench_run(b, "cat of 20,000 entries of 128 bytes", "us an entry", cases, 4);
	bench_compare(b, "11", &cases[0], &cases[1], BENCH_AT_MOST, 1.25);
	bench_compare(b, "11", &cases[2], &cases[3], BENCH_AT_MOST, 1.25);
	bench_release(cases, 4);
	free(cat.argv);
	free(cat.names);
}

/* ---- One text ---- */

struct text {
	const char *store; /* NULL: the file, passed through */
	bool warm;
	uint64_t bytes;
};

static double run_text(struct bench *b, const void *arg)
{
	const struct text *t = arg;
	const char *const argv[] = { "cat", t->store ? "s/.log" : "file", NULL };
	struct mounted m;
	double seconds;

	if (t->store) {
		mounted_walfs(b, &m, t->store, NULL);
	} else {
		char option[700];

		snprintf(option, sizeof option, "file=%s", bench_path(b, "text"));
		mounted_nothing(b, &m, "through", option, NULL, NULL);
	}
	seconds = mounted_command(m.dir, argv);
	if (t->warm)
		seconds = mounted_command(m.dir, argv);
	mounted_stop(&m);
	return (double)t->bytes / seconds / 1e9;
}

static void make_text(struct bench *b, uint64_t bytes)
{
	int fd = bench_open_file(b, "text", 0);
	char *data = malloc(1 << 20);

	if (!data)
		err(1, "a text");
	bench_fill_text(data, 1 << 20, 1);
	for (uint64_t done = 0; done < bytes; done += 1 << 20)
		if (write(fd, data, 1 << 20) != 1 << 20)
			err(1, "writing a text");
	free(data);
	close(fd);
}

static void table_text(struct bench *b)
{
	const uint64_t mib = bench_scaled(b, TEXT_MIB), bytes = (mib < TEXT_MIB_MAX ? mib : TEXT_MIB_MAX) << 20;
	const struct text small_cold = { .store = "small", .bytes = bytes }, small_warm = { .store = "small", .bytes = bytes, .warm = true };
	const struct text large_cold = { .store = "large", .bytes = bytes }, large_warm = { .store = "large", .bytes = bytes, .warm = true };
	const struct text file_cold = { .bytes = bytes }, file_warm = { .bytes = bytes, .warm = true };
	struct bench_case cases[] = {
		{ .name = "walfs: .log, entries of 128 bytes, cold", .run = run_text, .arg = &small_cold },
		{ .name = "walfs: .log, entries of 128 bytes, warm", .run = run_text, .arg = &small_warm },
		{ .name = "walfs: .log, entries of 64 KiB, cold", .run = run_text, .arg = &large_cold },
		{ .name = "walfs: .log, entries of 64 KiB, warm", .run = run_text, .arg = &large_warm },
		{ .name = "a file passed through, cold", .run = run_text, .arg = &file_cold },
		{ .name = "a file passed through, warm", .run = run_text, .arg = &file_warm },
	};
	char table[64];

	make_text(b, bytes);
	mounted_fill(b, "small", bytes / BENCH_ENTRY_BYTES, BENCH_ENTRY_BYTES);
	mounted_fill(b, "large", bytes / LARGE_ENTRY_BYTES, LARGE_ENTRY_BYTES);
	sync(); /* or it is written out while others are measured */
	snprintf(table, sizeof table, "cat of %" PRIu64 " MiB of '.log'", bytes >> 20);
	bench_run(b, table, "GB/s", cases, 6);
	bench_compare(b, "12", &cases[0], &cases[4], BENCH_AT_LEAST, 0.8);
	bench_compare(b, "12", &cases[1], &cases[5], BENCH_AT_LEAST, 0.8);
	bench_compare(b, "12", &cases[2], &cases[4], BENCH_AT_LEAST, 0.8);
	bench_compare(b, "12", &cases[3], &cases[5], BENCH_AT_LEAST, 0.8);
	bench_release(cases, 6);
}

int main(int argc, char **argv)
{
	struct bench b;

	(void)argc;
	mounted_need();
	bench_begin(&b, "mount_read");
	if (mounted_wants(argv, "entries"))
		table_entries(&b);
	if (mounted_wants(argv, "text"))
		table_text(&b);
	return bench_end(&b);
}
