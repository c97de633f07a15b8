/* SPDX-License-Identifier: Apache-2.0 */
/* The part of `scale` that looks at walfs. */
#include "scale.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WAIT_MS = 600 * 1000 };

/* ---- Mounting ---- */

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

static pid_t mount_store(const struct scale *s, const char *path, const char *mnt)
{
	uint64_t begin = scale_now_ns();

	if (mkdir(mnt, 0700) < 0 && errno != EEXIST)
		err(1, "%s", mnt);
	pid_t pid = fork();
	if (pid == 0) {
		execl(s->walfs, s->walfs, "-f", "-o", "sync=async", path, mnt, (char *)NULL);
		_exit(127);
	}
	while (!is_mounted(mnt)) {
		if (scale_now_ns() - begin > (uint64_t)WAIT_MS * 1000000 || waitpid(pid, NULL, WNOHANG) == pid)
			errx(1, "'%s' was not mounted", path);
		pause_ms(1);
	}
	show_time("mounting it", begin, 0);
	return pid;
}

static void unmount_store(pid_t pid, const char *mnt)
{
	uint64_t begin = scale_now_ns();
	int status;

	if (umount(mnt) < 0)
		err(1, "unmounting '%s'", mnt);
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		errx(1, "walfs ended with status %d", status);
	show_time("unmounting it, until the process has ended", begin, 0);
}

/* ---- What it does ---- */

/* How many names there are; `stat_too`: and the attributes of each, as `ls -l` asks for them. */
static uint64_t list(const char *path, bool stat_too)
{
	uint64_t begin = scale_now_ns(), count = 0;
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
	uint64_t begin = scale_now_ns(), random = 7;
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
	uint64_t begin = scale_now_ns(), total = 0;
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

/* As `ls -U | head` does. */
static void list_some(const char *path)
{
	uint64_t begin = scale_now_ns();
	DIR *d = opendir(path);

	for (int i = 0; d && i < 10; i++) {
		if (!readdir(d))
			err(1, "%s", path);
	}
	if (!d)
		err(1, "%s", path);
	closedir(d);
	show_time("the first ten names", begin, 0);
}

/* As `tail` does; then what comes next, as `tail -f`. */
static void read_tail(const char *log, const char *new)
{
	char data[4096];
	uint64_t begin = scale_now_ns();
	int fd = open(log, O_RDONLY | O_CLOEXEC);
	off_t end = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (end < (off_t)sizeof data || pread(fd, data, sizeof data, end - (off_t)sizeof data) != (ssize_t)sizeof data)
		err(1, "%s", log);
	show_time("the last 4 KiB of .log", begin, 0);
	begin = scale_now_ns();
	append_through(new);
	if (pread(fd, data, sizeof data, end) != 8)
		err(1, "%s: what was appended is not in it", log);
	show_time("one more appended, and read there", begin, 0);
	close(fd);
}

void mount_idle(const struct scale *s, const char *path)
{
	char mnt[PATH_BYTES];
	pid_t pid = mount_store(s, path, path_of(s, "mnt", mnt));
	struct memory memory = memory_of(pid);

	show_memory("mounted", memory);
	judge("walfs, idle", (double)memory.resident, "bytes", TARGET_IDLE);
	unmount_store(pid, mnt);
}

void mount_streams(const struct scale *s, const char *path, uint64_t count, struct memory idle)
{
	char mnt[PATH_BYTES];
	pid_t pid = mount_store(s, path, path_of(s, "mnt", mnt));
	char name[NAME_MAX_BYTES], file[700];

	show_memory("mounted", memory_of(pid));
	if (list(mnt, false) != count)
		errx(1, "not all streams are listed");
	list(mnt, true);
	struct memory memory = memory_of(pid);
	show_memory("after that", memory);
	judge_each("walfs, each stream that is listed", memory, idle, count);
	uint64_t begin = scale_now_ns();
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
	begin = scale_now_ns();
	snprintf(file, sizeof file, "%s/one-more", mnt);
	if (mkdir(file, 0700) < 0 || rmdir(file) < 0)
		err(1, "%s", file);
	show_time("mkdir and rmdir of another", begin, 0);
	snprintf(file, sizeof file, "%s/.checkpoints/c", mnt);
	begin = scale_now_ns();
	int fd = open(file, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || close(fd) < 0)
		err(1, "%s", file);
	show_time("a checkpoint", begin, 0);
	read_all(file, "reading it");
	show_memory("after that", memory_of(pid));
	unmount_store(pid, mnt);
}

void mount_entries(const struct scale *s, const char *path, uint64_t count)
{
	char mnt[PATH_BYTES];
	pid_t pid = mount_store(s, path, path_of(s, "mnt", mnt));
	char file[700], new[700];
	struct memory memory;

	show_memory("mounted", memory_of(pid));
	snprintf(file, sizeof file, "%s/s", mnt);
	list_some(file);
	if (list(file, false) != count)
		errx(1, "not all entries are listed");
	memory = memory_of(pid);
	show_memory("after that", memory);
	judge("walfs, entries listed", (double)memory.resident, "bytes", TARGET_ENTRIES);
	stat_at_random(file, count);
	memory = memory_of(pid);
	show_memory("after that", memory);
	judge("walfs, entries looked at", (double)memory.resident, "bytes", TARGET_ENTRIES);
	snprintf(file, sizeof file, "%s/s/.log", mnt);
	read_all(file, "reading .log");
	memory = memory_of(pid);
	show_memory("after that", memory);
	judge("walfs, .log read", (double)memory.resident, "bytes", TARGET_ENTRIES);
	snprintf(new, sizeof new, "%s/s/new", mnt);
	read_tail(file, new);
	unmount_store(pid, mnt);
}

/* 64 files are open at once, each written in pieces. */
void mount_writers(const struct scale *s, const char *path)
{
	char mnt[PATH_BYTES];
	pid_t pid = mount_store(s, path, path_of(s, "mnt", mnt));
	static char piece[128 << 10];
	char file[700], name[NAME_MAX_BYTES];
	int fds[WRITERS];
	uint64_t begin = scale_now_ns();

	for (int i = 0; i < WRITERS; i++) {
		snprintf(file, sizeof file, "%s/%s/new", mnt, stream_name(name, i % WRITTEN_STREAMS));
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
	judge("walfs, 64 writers", (double)memory.resident, "bytes", TARGET_WRITERS);
	begin = scale_now_ns();
	for (int i = 0; i < WRITERS; i++) {
		if (close(fds[i]) < 0)
			err(1, "%s", mnt);
	}
	show_time("closing them", begin, 0);
	show_memory("after that", memory_of(pid));
	unmount_store(pid, mnt);
}
