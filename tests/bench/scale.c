/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory and time against how much there is: an idle store, one of many streams, a stream of many entries, many writers at once; of a process that uses the library, and of walfs (the
 * first argument; without it, or without /dev/fuse, the library alone). Each figure is taken in a process of its own.
 *
 * WALFS_SCALE_STREAMS and WALFS_SCALE_ENTRIES say how many (10,000 and 1,000,000), WALFS_BENCH_DIR where, and to the file WALFS_BENCH_OUT goes a line of JSON for each figure that
 * has a target. The exit status judges nothing.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "wal.h"

enum {
	TEMPLATE_ENTRIES = 3,
	TOUCHED = 1000,
	WRITERS = 64,
	RANDOM_READS = 100000,
	ENTRY_BYTES = 128,
	WAIT_MS = 600 * 1000,
};

static char base[512];
static const char *walfs;

static double target_idle = 8 << 20, target_entries = 24 << 20, target_stream = 2048, target_writers = 96 << 20;

/* ---- Figures ---- */

struct memory {
	uint64_t resident;
	uint64_t private;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static struct memory memory_of(pid_t pid)
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

static void show_memory(const char *what, struct memory memory)
{
	printf("  %-64s %9.1f MiB resident %9.1f MiB private\n", what, (double)memory.resident / (1 << 20), (double)memory.private / (1 << 20));
	fflush(stdout);
}

static void show_time(const char *what, uint64_t begin_ns, uint64_t count)
{
	double took = (double)(now_ns() - begin_ns);

	printf("  %-64s %9.1f ms", what, took / 1e6);
	if (count > 0)
		printf("       %9.2f us each", took / 1e3 / (double)count);
	printf("\n");
	fflush(stdout);
}

static void judge(const char *name, double ours, const char *unit, double target)
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

static void judge_each(const char *name, struct memory memory, struct memory idle, uint64_t count)
{
	uint64_t more = memory.resident > idle.resident ? memory.resident - idle.resident : 0;

	judge(name, (double)more / (double)count, "bytes", target_stream);
}

/* ---- Stores ---- */

static uint64_t number_from_env(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);
	char *end;

	if (!text || !*text)
		return fallback;
	uint64_t value = strtoull(text, &end, 10);
	if (*end || value == 0)
		errx(2, "%s: expected a number above 0, found '%s'", name, text);
	return value;
}

static const char *path_of(const char *name)
{
	static char paths[4][600];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", base, name);
	return path;
}

static int remove_one(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
	(void)sb;
	(void)type;
	(void)ftw;
	return remove(path);
}

static void remove_all(const char *path)
{
	if (nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) < 0 && errno != ENOENT)
		err(1, "removing '%s'", path);
}

static struct wal_store *open_store(const char *path, enum wal_sync sync)
{
	struct wal_options opts = { .sync = sync };
	struct wal_error error;
	struct wal_store *store;

	if (wal_store_open(path, &opts, &store, &error) < 0)
		errx(1, "%s", error.message);
	return store;
}

static struct wal_stream *open_stream(struct wal_store *store, const char *name)
{
	struct wal_error error;
	struct wal_stream *st;

	if (wal_stream_open(store, name, WAL_CREATE, &st, &error) < 0)
		errx(1, "%s", error.message);
	return st;
}

static void close_store(struct wal_store *store)
{
	if (wal_store_close(store) < 0)
		errx(1, "a store could not be closed");
}

static void make_entries(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_stream *st = open_stream(store, "s");
	char entry[ENTRY_BYTES];
	uint64_t begin = now_ns();

	memset(entry, 'x', sizeof entry);
	for (uint64_t i = 0; i < count; i++) {
		if (wal_stream_append(st, entry, sizeof entry, 0, NULL) < 0)
			errx(1, "an append failed");
	}
	show_time("appending them, async, one by one", begin, count);
	wal_stream_close(st);
	close_store(store);
}

static char *stream_name(char name[32], uint64_t i)
{
	snprintf(name, 32, "stream-%06" PRIu64, i);
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
		char stream[32];

		snprintf(target, sizeof target, "%s/%s/%s", path, stream_name(stream, i), name);
		fd = open(target, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 || write(fd, data, (size_t)size) != size || close(fd) < 0)
			err(1, "%s", target);
	}
}

/* A stream's directory may be copied while nobody has the store open: that is faster than making each durably. */
static void make_streams(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_stream *st = open_stream(store, "template");
	char dir[700], file[1000], stream[32];
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

/* ---- Processes ---- */

/* Runs `body` in a child, so that what it uses is its own; what it returns is handed up. */
static struct memory in_child(struct memory (*body)(const char *path, uint64_t count), const char *path, uint64_t count)
{
	struct memory memory;
	int ends[2], status;

	fflush(stdout);
	if (pipe2(ends, O_CLOEXEC) < 0)
		err(1, "pipe");
	pid_t pid = fork();
	if (pid == 0) {
		memory = body(path, count);
		_exit(write(ends[1], &memory, sizeof memory) == sizeof memory ? 0 : 1);
	}
	close(ends[1]);
	if (pid < 0 || read(ends[0], &memory, sizeof memory) != sizeof memory || waitpid(pid, &status, 0) < 0 || status != 0)
		errx(1, "a process did not come to its end");
	close(ends[0]);
	return memory;
}

static bool is_mounted(const char *mnt)
{
	struct stat a, b;
	char parent[700];

	snprintf(parent, sizeof parent, "%s/..", mnt);
	return stat(mnt, &a) == 0 && stat(parent, &b) == 0 && a.st_dev != b.st_dev;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

static pid_t mount_store(const char *path, const char *mnt)
{
	uint64_t begin = now_ns();

	if (mkdir(mnt, 0700) < 0 && errno != EEXIST)
		err(1, "%s", mnt);
	pid_t pid = fork();
	if (pid == 0) {
		execl(walfs, walfs, "-f", "-o", "sync=async", path, mnt, (char *)NULL);
		_exit(127);
	}
	while (!is_mounted(mnt)) {
		if (now_ns() - begin > (uint64_t)WAIT_MS * 1000000 || waitpid(pid, NULL, WNOHANG) == pid)
			errx(1, "'%s' was not mounted", path);
		pause_ms(1);
	}
	show_time("mounting it", begin, 0);
	return pid;
}

static void unmount_store(pid_t pid, const char *mnt)
{
	uint64_t begin = now_ns();
	int status;

	if (umount(mnt) < 0)
		err(1, "unmounting '%s'", mnt);
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		errx(1, "walfs ended with status %d", status);
	show_time("unmounting it, until the process has ended", begin, 0);
}

/* ---- The library ---- */

static struct memory opened(const char *path, uint64_t count)
{
	uint64_t begin = now_ns();
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);

	show_time("opening it", begin, count);
	struct memory memory = memory_of(getpid());
	begin = now_ns();
	close_store(store);
	show_time("closing it", begin, count);
	return memory;
}

/* One entry of each read, one appended. */
static void touch_streams(struct wal_store *store, uint64_t count)
{
	struct wal_buf buf = { 0 };
	char name[32];

	for (uint64_t i = 0; i < count; i++) {
		struct wal_stream *st = open_stream(store, stream_name(name, i));

		if (wal_stream_get(st, 0, &buf) != 0 || wal_stream_append(st, "one more", 8, 0, NULL) < 0)
			errx(1, "stream '%s' can't be used", name);
		wal_stream_close(st);
	}
	wal_buf_release(&buf);
}

static struct memory touched_some(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	uint64_t some = count < TOUCHED ? count : TOUCHED, begin = now_ns();

	touch_streams(store, some);
	show_time("1,000 read from and appended to", begin, some);
	struct memory memory = memory_of(getpid());
	close_store(store);
	return memory;
}

static struct memory touched_all(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	uint64_t begin = now_ns();

	touch_streams(store, count);
	show_time("all read from and appended to", begin, count);
	struct memory memory = memory_of(getpid());
	begin = now_ns();
	close_store(store);
	show_time("closing it after that", begin, count);
	return memory;
}

static struct memory checkpointed(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_error error;
	struct stat sb;
	char log[700];
	uint64_t begin = now_ns();

	if (wal_checkpoint_create(store, "all", 3, 0, &error) < 0)
		errx(1, "%s", error.message);
	show_time("a checkpoint of it", begin, count);
	struct memory memory = memory_of(getpid());
	snprintf(log, sizeof log, "%s/checkpoints.log", path);
	if (stat(log, &sb) == 0)
		printf("  %-64s %9.1f KiB\n", "its size", (double)sb.st_size / 1024);
	close_store(store);
	return memory;
}

static struct memory iterated(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_stream *st = open_stream(store, "s");
	struct wal_iter *iter;
	struct wal_entry entry;
	uint64_t begin = now_ns(), n = 0;

	if (wal_iter_new(st, 0, &iter) < 0)
		errx(1, "no iterator");
	while (wal_iter_next(iter, &entry) == 0)
		n++;
	if (n != count)
		errx(1, "%" PRIu64 " entries, expected %" PRIu64, n, count);
	show_time("iterating", begin, n);
	struct memory memory = memory_of(getpid());
	wal_iter_free(iter);
	wal_stream_close(st);
	close_store(store);
	return memory;
}

static struct memory looked_up(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_stream *st = open_stream(store, "s");
	struct wal_entry_info info;
	uint64_t begin = now_ns();

	for (uint64_t i = 0; i < count; i++) {
		if (wal_stream_lookup(st, i, &info) != 0)
			errx(1, "entry %" PRIu64 " is not found", i);
	}
	show_time("looking up each in turn", begin, count);
	struct memory memory = memory_of(getpid());
	wal_stream_close(st);
	close_store(store);
	return memory;
}

static struct memory got_at_random(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct wal_stream *st = open_stream(store, "s");
	struct wal_buf buf = { 0 };
	uint64_t begin = now_ns(), random = 1;

	for (int i = 0; i < RANDOM_READS; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		if (wal_stream_get(st, (random >> 16) % count, &buf) != 0)
			errx(1, "an entry can't be read");
	}
	show_time("100,000 read at random", begin, RANDOM_READS);
	struct memory memory = memory_of(getpid());
	wal_buf_release(&buf);
	wal_stream_close(st);
	close_store(store);
	return memory;
}

struct writer {
	struct wal_stream *stream;
	pthread_t thread;
};

static void *write_entries(void *arg)
{
	struct writer *writer = arg;
	char entry[1024];

	memset(entry, 'w', sizeof entry);
	for (int i = 0; i < 2000; i++) {
		if (wal_stream_append(writer->stream, entry, sizeof entry, 0, NULL) < 0)
			errx(1, "an append failed");
	}
	return NULL;
}

static struct memory written_by_many(const char *path, uint64_t count)
{
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct writer writers[WRITERS];
	uint64_t begin = now_ns();
	char name[32];

	for (int i = 0; i < WRITERS; i++) {
		writers[i].stream = open_stream(store, stream_name(name, i % 8));
		if (pthread_create(&writers[i].thread, NULL, write_entries, &writers[i]) != 0)
			errx(1, "no thread");
	}
	for (int i = 0; i < WRITERS; i++) {
		pthread_join(writers[i].thread, NULL);
		wal_stream_close(writers[i].stream);
	}
	show_time("64 threads that append 2,000 entries of 1 KiB to 8 streams", begin, count);
	struct memory memory = memory_of(getpid());
	close_store(store);
	return memory;
}

/* ---- The mount ---- */

/* How many names there are; `stat_too`: and the attributes of each, as `ls -l` asks for them. */
static uint64_t list(const char *path, bool stat_too)
{
	uint64_t begin = now_ns(), count = 0;
	DIR *d = opendir(path);
	struct dirent *entry;
	struct stat sb;

	if (!d)
		err(1, "%s", path);
	while ((entry = readdir(d))) {
		if (entry->d_name[0] == '.' || strcmp(entry->d_name, "new") == 0)
			continue;
		count++;
		if (stat_too && fstatat(dirfd(d), entry->d_name, &sb, AT_SYMLINK_NOFOLLOW) < 0)
			err(1, "%s/%s", path, entry->d_name);
	}
	closedir(d);
	show_time(stat_too ? "listing with attributes" : "listing", begin, count);
	return count;
}

static void stat_at_random(const char *path, uint64_t count)
{
	uint64_t begin = now_ns(), random = 7;
	char name[800];
	struct stat sb;

	for (int i = 0; i < RANDOM_READS; i++) {
		random = random * 6364136223846793005u + 1442695040888963407u;
		snprintf(name, sizeof name, "%s/%020" PRIu64, path, (random >> 16) % count);
		if (stat(name, &sb) < 0)
			err(1, "%s", name);
	}
	show_time("stat of 100,000 at random", begin, RANDOM_READS);
}

static uint64_t read_all(const char *path, const char *what)
{
	static char data[1 << 20];
	uint64_t begin = now_ns(), total = 0;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = 0;

	while (fd >= 0 && (n = read(fd, data, sizeof data)) > 0)
		total += (uint64_t)n;
	if (fd < 0 || n < 0)
		err(1, "%s", path);
	close(fd);
	show_time(what, begin, 0);
	return total;
}

static void append_through(const char *path)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "one more", 8) != 8 || close(fd) < 0)
		err(1, "%s", path);
}

static void mount_idle(const char *path)
{
	const char *mnt = path_of("mnt");
	pid_t pid = mount_store(path, mnt);
	struct memory memory = memory_of(pid);

	show_memory("mounted", memory);
	judge("walfs, idle", (double)memory.resident, "bytes", target_idle);
	unmount_store(pid, mnt);
}

static void mount_streams(const char *path, uint64_t count, struct memory idle)
{
	const char *mnt = path_of("mnt");
	pid_t pid = mount_store(path, mnt);
	char name[32], file[700];

	show_memory("mounted", memory_of(pid));
	if (list(mnt, false) != count)
		errx(1, "not all streams are listed");
	list(mnt, true);
	struct memory memory = memory_of(pid);
	show_memory("after that", memory);
	judge_each("walfs, each stream that is listed", memory, idle, count);
	uint64_t begin = now_ns();
	for (uint64_t i = 0; i < TOUCHED && i < count; i++) {
		snprintf(file, sizeof file, "%s/%s/new", mnt, stream_name(name, i));
		append_through(file);
	}
	show_time("1,000 appended to", begin, TOUCHED);
	memory = memory_of(pid);
	show_memory("after that", memory);
	judge_each("walfs, each stream when 1,000 were used", memory, idle, count);
	snprintf(file, sizeof file, "%s/.stats", mnt);
	uint64_t size = read_all(file, "reading .stats");
	printf("  %-64s %9.1f MiB\n", "its size", (double)size / (1 << 20));
	show_memory("after that", memory_of(pid));
	begin = now_ns();
	snprintf(file, sizeof file, "%s/one-more", mnt);
	if (mkdir(file, 0700) < 0 || rmdir(file) < 0)
		err(1, "%s", file);
	show_time("mkdir and rmdir of another", begin, 0);
	snprintf(file, sizeof file, "%s/.checkpoints/c", mnt);
	begin = now_ns();
	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || close(fd) < 0)
		err(1, "%s", file);
	show_time("a checkpoint", begin, 0);
	read_all(file, "reading it");
	show_memory("after that", memory_of(pid));
	unmount_store(pid, mnt);
}

static void mount_entries(const char *path, uint64_t count)
{
	const char *mnt = path_of("mnt");
	pid_t pid = mount_store(path, mnt);
	char file[700];
	struct memory memory;

	show_memory("mounted", memory_of(pid));
	snprintf(file, sizeof file, "%s/s", mnt);
	if (list(file, false) != count)
		errx(1, "not all entries are listed");
	memory = memory_of(pid);
	show_memory("after that", memory);
	judge("walfs, entries listed", (double)memory.resident, "bytes", target_entries);
	stat_at_random(file, count);
	memory = memory_of(pid);
	show_memory("after that", memory);
	judge("walfs, entries looked at", (double)memory.resident, "bytes", target_entries);
	snprintf(file, sizeof file, "%s/s/.log", mnt);
	read_all(file, "reading .log");
	memory = memory_of(pid);
	show_memory("after that", memory);
	judge("walfs, .log read", (double)memory.resident, "bytes", target_entries);
	unmount_store(pid, mnt);
}

/* 64 files are open at once, each written in pieces. */
static void mount_writers(const char *path)
{
	const char *mnt = path_of("mnt");
	pid_t pid = mount_store(path, mnt);
	static char piece[128 << 10];
	char file[700], name[32];
	int fds[WRITERS];
	uint64_t begin = now_ns();

	for (int i = 0; i < WRITERS; i++) {
		snprintf(file, sizeof file, "%s/%s/new", mnt, stream_name(name, i % 8));
		fds[i] = open(file, O_WRONLY | O_CLOEXEC);
		if (fds[i] < 0)
			err(1, "%s", file);
	}
	for (int round = 0; round < 32; round++) {
		for (int i = 0; i < WRITERS; i++) {
			if (write(fds[i], piece, sizeof piece) != sizeof piece)
				err(1, "%s", mnt);
		}
	}
	show_time("64 files written to, 4 MiB each", begin, 0);
	struct memory memory = memory_of(pid);
	show_memory("before they are closed", memory);
	judge("walfs, 64 writers", (double)memory.resident, "bytes", target_writers);
	begin = now_ns();
	for (int i = 0; i < WRITERS; i++) {
		if (close(fds[i]) < 0)
			err(1, "%s", mnt);
	}
	show_time("closing them", begin, 0);
	show_memory("after that", memory_of(pid));
	unmount_store(pid, mnt);
}

/* ---- All of it ---- */

static struct memory measure_idle(void)
{
	const char *path = path_of("idle");

	printf("an idle store\n");
	close_store(open_store(path, WAL_SYNC_ASYNC));
	struct memory idle = in_child(opened, path, 0);
	show_memory("open", idle);
	judge("library, idle", (double)idle.resident, "bytes", target_idle);
	if (walfs)
		mount_idle(path);
	return idle;
}

static void measure_streams(uint64_t count, struct memory idle)
{
	const char *path = path_of("streams");
	struct memory memory;

	printf("%" PRIu64 " streams of %d entries\n", count, TEMPLATE_ENTRIES);
	make_streams(path, count);
	memory = in_child(opened, path, count);
	show_memory("open", memory);
	judge_each("library, each stream", memory, idle, count);
	memory = in_child(touched_some, path, count);
	show_memory("1,000 used", memory);
	judge_each("library, each stream when 1,000 were used", memory, idle, count);
	show_memory("checkpoint made", in_child(checkpointed, path, count));
	if (walfs)
		mount_streams(path, count, idle);
	memory = in_child(touched_all, path, count);
	show_memory("all used", memory);
	judge_each("library, each stream when all were used", memory, idle, count);
	remove_all(path);
}

static void measure_entries(uint64_t count)
{
	const char *path = path_of("entries");
	struct memory memory;

	printf("one stream of %" PRIu64 " entries\n", count);
	make_entries(path, count);
	show_memory("open", in_child(opened, path, 0));
	memory = in_child(iterated, path, count);
	show_memory("iterated over", memory);
	judge("library, entries iterated over", (double)memory.resident, "bytes", target_entries);
	memory = in_child(looked_up, path, count);
	show_memory("looked up", memory);
	judge("library, entries looked up", (double)memory.resident, "bytes", target_entries);
	memory = in_child(got_at_random, path, count);
	show_memory("read at random", memory);
	judge("library, entries read at random", (double)memory.resident, "bytes", target_entries);
	if (walfs)
		mount_entries(path, count);
	remove_all(path);
}

static void measure_writers(void)
{
	const char *path = path_of("writers");
	struct wal_store *store = open_store(path, WAL_SYNC_ASYNC);
	struct memory memory;
	char name[32];

	printf("64 writers\n");
	for (uint64_t i = 0; i < 8; i++)
		wal_stream_close(open_stream(store, stream_name(name, i)));
	close_store(store);
	memory = in_child(written_by_many, path, 2000 * WRITERS);
	show_memory("written by 64 threads", memory);
	judge("library, 64 writers", (double)memory.resident, "bytes", target_writers);
	if (walfs)
		mount_writers(path);
	remove_all(path);
}

int main(int argc, char **argv)
{
	const char *dir = getenv("WALFS_BENCH_DIR");
	uint64_t streams = number_from_env("WALFS_SCALE_STREAMS", 10000), entries = number_from_env("WALFS_SCALE_ENTRIES", 1000000);

	if (!dir || !*dir)
		dir = getenv("TMPDIR");
	snprintf(base, sizeof base, "%s/walfs-scale-XXXXXX", dir && *dir ? dir : "/tmp");
	if (!mkdtemp(base))
		err(1, "%s", base);
	walfs = argc > 1 && access("/dev/fuse", R_OK | W_OK) == 0 ? argv[1] : NULL;
	struct memory idle = measure_idle();
	measure_streams(streams, idle);
	measure_entries(entries);
	measure_writers();
	remove_all(base);
	return 0;
}
