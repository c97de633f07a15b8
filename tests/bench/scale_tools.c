/* SPDX-License-Identifier: Apache-2.0 */
#include "scale.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Figures ---- */

uint64_t scale_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

struct memory memory_of(pid_t pid)
{
	struct memory memory = { 0 };
	char path[64], line[256];
	unsigned long long kib;

	snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
	FILE *file = fopen(path, "re");
	if (!file)
		err(1, "%s", path);
	while (fgets(line, sizeof line, file)) {
		if (sscanf(line, "Rss: %llu", &kib) == 1)
			memory.resident = kib * 1024;
		if (sscanf(line, "Private_Clean: %llu", &kib) == 1 || sscanf(line, "Private_Dirty: %llu", &kib) == 1)
			memory.private += kib * 1024;
	}
	fclose(file);
	return memory;
}

void show_memory(const char *what, struct memory memory)
{
	printf("  %-64s %9.1f MiB resident %9.1f MiB private\n", what, (double)memory.resident / (1 << 20), (double)memory.private / (1 << 20));
	fflush(stdout);
}

void show_time(const char *what, uint64_t begin_ns, uint64_t count)
{
	double took = (double)(scale_now_ns() - begin_ns);

	printf("  %-64s %9.1f ms", what, took / 1e6);
	if (count > 0)
		printf("       %9.2f us each", took / 1e3 / (double)count);
	printf("\n");
	fflush(stdout);
}

void judge(const char *name, double ours, const char *unit, double target)
{
	const char *out = getenv("WALFS_BENCH_OUT");

	printf("  row 14: %-56s %9.0f %s, at most %.0f: %s\n", name, ours, unit, target, ours <= target ? "met" : "NOT MET");
	fflush(stdout);
	if (!out || !*out)
		return;
	FILE *file = fopen(out, "ae");
	if (!file)
		err(1, "%s", out);
	fprintf(file, "{\"row\": 14, \"name\": \"%s\", \"unit\": \"%s\", \"ours\": %.0f, \"base\": null, \"ratio\": null, \"target\": %.0f, \"met\": %s}\n", name,
		unit, ours, target, ours <= target ? "true" : "false");
	fclose(file);
}

void judge_each(const char *name, struct memory memory, struct memory idle, uint64_t count)
{
	uint64_t more = memory.resident > idle.resident ? memory.resident - idle.resident : 0;

	judge(name, (double)more / (double)count, "bytes", TARGET_STREAM);
}

/* ---- Stores ---- */

const char *path_of(const struct scale *s, const char *name, char path[PATH_BYTES])
{
	snprintf(path, PATH_BYTES, "%s/%s", s->base, name);
	return path;
}

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
	(void)sb;
	(void)type;
	(void)ftw;
	return remove(path);
}

void remove_all(const char *path)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
		err(1, "removing '%s'", path);
}

struct wal_store *open_store(const char *path, enum wal_sync sync)
{
	struct wal_options opts = { .sync = sync };
	struct wal_error error;
	struct wal_store *store;

	if (wal_store_open(path, &opts, &store, &error) < 0)
		errx(1, "%s", error.message);
	return store;
}

struct wal_stream *open_stream(struct wal_store *store, const char *name)
{
	struct wal_error error;
	struct wal_stream *st;

	if (wal_stream_open(store, name, WAL_CREATE, &st, &error) < 0)
		errx(1, "%s", error.message);
	return st;
}

void close_store(struct wal_store *store)
{
	if (wal_store_close(store) < 0)
		errx(1, "a store could not be closed");
}

void make_entries(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_stream *st = open_stream(store, "s");
	char entry[ENTRY_BYTES];
	uint64_t begin = scale_now_ns();

	memset(entry, 'x', sizeof entry);
	for (uint64_t i = 0; i < count; i++) {
		if (wal_stream_append(st, entry, sizeof entry, 0, NULL) < 0)
			errx(1, "an append failed");
	}
	show_time("appending them, async, one by one", begin, count);
	wal_stream_close(st);
	close_store(store);
}

char *stream_name(char name[NAME_MAX_BYTES], uint64_t i)
{
	snprintf(name, NAME_MAX_BYTES, "stream-%06" PRIu64, i);
	return name;
}

/* A file's bytes go to each of the streams. */
static void copy_to_all(const char *path, const char *from, const char *name, uint64_t count)
{
	char data[65536], target[700];
	int fd = open(from, O_RDONLY | O_CLOEXEC);
	ssize_t size = fd < 0 ? -1 : read(fd, data, sizeof data);

	if (size < 0)
		err(1, "%s", from);
	close(fd);
	for (uint64_t i = 0; i < count; i++) {
		char stream[NAME_MAX_BYTES];

		snprintf(target, sizeof target, "%s/%s/%s", path, stream_name(stream, i), name);
		fd = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, data, (size_t)size) != size || close(fd) < 0)
			err(1, "%s", target);
	}
}

/* A stream's directory may be copied while nobody has the store open: that is faster than making each durably. */
void make_streams(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_stream *st = open_stream(store, "template");
	char dir[700], file[1000], stream[NAME_MAX_BYTES];
	struct dirent *entry;

	for (int i = 0; i < TEMPLATE_ENTRIES; i++) {
		if (wal_stream_append(st, "an entry", 8, 0, NULL) < 0)
			errx(1, "an append failed");
	}
	wal_stream_close(st);
	close_store(store);
	for (uint64_t i = 0; i < count; i++) {
		snprintf(dir, sizeof dir, "%s/%s", path, stream_name(stream, i));
		if (mkdir(dir, 0700) < 0)
			err(1, "%s", dir);
	}
	snprintf(dir, sizeof dir, "%s/template", path);
	DIR *d = opendir(dir);
	while (d && (entry = readdir(d))) {
		snprintf(file, sizeof file, "%s/%s", dir, entry->d_name);
		if (entry->d_name[0] != '.')
			copy_to_all(path, file, entry->d_name, count);
	}
	if (!d)
		err(1, "%s", dir);
	closedir(d);
	remove_all(dir);
}
