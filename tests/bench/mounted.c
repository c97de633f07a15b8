/* SPDX-License-Identifier: Apache-2.0 */
#include "mounted.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	MOUNT_SECONDS = 60,
	PATHS = 64,
	SKIPPED = 77,
};

void mounted_need(void)
{
	if (access("/dev/fuse", R_OK | W_OK) < 0) {
		warn("/dev/fuse");
		exit(SKIPPED);
	}
}

bool mounted_wants(char **argv, const char *part)
{
	for (char **said = argv + 1; *said; said++)
		if (!strcmp(*said, part))
			return true;
	return !argv[1];
}

/* `name` from the directory of this program, or what the environment says. */
static const char *program(const char *variable, const char *name)
{
	static char paths[2][1024];
	char *path = paths[!strcmp(variable, "WALFS")];
	const char *said = getenv(variable);
	ssize_t bytes;
	char *slash;

	if (said && *said)
		return said;
	bytes = readlink("/proc/self/exe", path, sizeof paths[0] - 64);
	if (bytes < 0)
		err(1, "/proc/self/exe");
	path[bytes] = '\0';
	slash = strrchr(path, '/');
	strcpy(slash + 1, name);
	return path;
}

static dev_t device_of(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		err(1, "'%s'", path);
	return st.st_dev;
}

/* Until it is another device than before. */
static void wait_for(const struct mounted *m, dev_t before)
{
	uint64_t deadline = bench_now_ns() + MOUNT_SECONDS * UINT64_C(1000000000);
	int status;

	while (device_of(m->dir) == before) {
		if (waitpid(m->pid, &status, WNOHANG) == m->pid)
			errx(1, "what was to be mounted at '%s' ended", m->dir);
		if (bench_now_ns() > deadline)
			errx(1, "nothing was mounted at '%s' within %d seconds", m->dir, MOUNT_SECONDS);
		usleep(1000);
	}
}

static void start(struct bench *b, struct mounted *m, const char *name, const char *const *argv)
{
	char log_path[700];
	dev_t before;

	snprintf(log_path, sizeof log_path, "%s/%s.err", b->dir, name);
	if (mkdir(m->dir, 0777) < 0 && errno != EEXIST)
		err(1, "'%s'", m->dir);
	before = device_of(m->dir);
	fflush(stdout);
	m->pid = fork();
	if (m->pid < 0)
		err(1, "fork");
	if (m->pid == 0) {
		int log = open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);

		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (log < 0 || dup2(log, 2) < 0)
			err(127, "'%s'", log_path);
		execv(argv[0], (char *const *)argv);
		err(127, "'%s'", argv[0]);
	}
	wait_for(m, before);
}

static void set_dir(const struct bench *b, struct mounted *m, const char *name)
{
	snprintf(m->dir, sizeof m->dir, "%s/%s.mnt", b->dir, name);
}

void mounted_walfs(struct bench *b, struct mounted *m, const char *name, const char *options)
{
	const char *argv[] = { program("WALFS", "../../fs/walfs"), "-f", bench_path(b, name), m->dir, options ? "-o" : NULL, options, NULL };

	set_dir(b, m, name);
	start(b, m, name, argv);
}

void mounted_nothing(struct bench *b, struct mounted *m, const char *name, const char *first, const char *second, const char *third)
{
	const char *argv[] = { program("NOTHING_FS", "nothing_fs"), m->dir, first, first ? second : NULL, second ? third : NULL, NULL };

	set_dir(b, m, name);
	start(b, m, name, argv);
}

/* Somebody who looks at every mount there is may hold it for a moment. */
static void unmount(const char *dir)
{
	uint64_t deadline = bench_now_ns() + MOUNT_SECONDS * UINT64_C(1000000000);
	char command[700];

	snprintf(command, sizeof command, "fusermount3 -u '%s'", dir);
	while (umount2(dir, 0) < 0 && system(command)) {
		if (bench_now_ns() > deadline)
			errx(1, "'%s' cannot be unmounted", dir);
		usleep(10000);
	}
}

void mounted_stop(struct mounted *m)
{
	int status;

	if (!m->pid)
		return;
	unmount(m->dir);
	if (waitpid(m->pid, &status, 0) < 0 || status)
		errx(1, "what was mounted at '%s' ended with status %x", m->dir, status);
	m->pid = 0;
}

void mounted_memory(const struct mounted *m, uint64_t *ret_resident, uint64_t *ret_anonymous)
{
	char path[64], line[256];
	unsigned long long kib;
	FILE *file;

	snprintf(path, sizeof path, "/proc/%d/status", (int)m->pid);
	file = fopen(path, "re");
	if (!file)
		err(1, "'%s'", path);
	while (fgets(line, sizeof line, file)) {
		if (sscanf(line, "VmRSS: %llu", &kib) == 1)
			*ret_resident = kib * 1024;
		if (sscanf(line, "RssAnon: %llu", &kib) == 1)
			*ret_anonymous = kib * 1024;
	}
	fclose(file);
}

const char *mounted_path(const struct mounted *m, const char *name)
{
	static char paths[PATHS][1024];
	static unsigned next;
	char *path = paths[next++ % PATHS];

	snprintf(path, sizeof paths[0], "%s/%s", m->dir, name);
	return path;
}

void mounted_fill(struct bench *b, const char *name, uint64_t entries, size_t size)
{
	const struct wal_options opts = { .sync = WAL_SYNC_ASYNC };
	struct wal_store *store = bench_open_store(b, name, &opts);
	struct wal_stream *st = bench_open_stream(store, "s");
	char *data = malloc(size);

	if (!data)
		err(1, "an entry");
	bench_fill_text(data, size, 1);
	for (uint64_t i = 0; i < entries; i++)
		if (wal_stream_append(st, data, size, 0, NULL) < 0)
			errx(1, "filling '%s' failed", name);
	free(data);
	wal_stream_close(st);
	if (wal_store_close(store) < 0)
		errx(1, "closing '%s' failed", name);
}

double mounted_command(const char *dir, const char *const *argv)
{
	uint64_t before = bench_now_ns();
	int status;
	pid_t pid = fork();

	if (pid < 0)
		err(1, "fork");
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		if (null < 0 || dup2(null, 1) < 0 || chdir(dir) < 0)
			err(127, "'%s'", dir);
		execvp(argv[0], (char *const *)argv);
		err(127, "'%s'", argv[0]);
	}
	if (waitpid(pid, &status, 0) < 0 || status)
		errx(1, "'%s' in '%s' ended with status %x", argv[0], dir, status);
	return (double)(bench_now_ns() - before) / 1e9;
}

double mounted_append(struct bench *b, const char *path, size_t size, unsigned count)
{
	uint64_t begin = bench_now_ns(), before = begin;
	char *data = malloc(size);

	if (!data)
		err(1, "an entry");
	bench_fill_text(data, size, 2);
	for (unsigned i = 0; i < count; i++) {
		int fd = open(path, O_WRONLY | O_CLOEXEC);
		uint64_t now;

		if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) < 0)
			err(1, "'%s'", path);
		now = bench_now_ns();
		bench_latency(b, now - before);
		before = now;
	}
	free(data);
	return (double)(before - begin) / 1e9 / count;
}

void mounted_compare_p50(struct bench *b, const char *row, const struct bench_case *ours, const struct bench_case *theirs)
{
	char what[256];

	snprintf(what, sizeof what, "the same by p50: %s", ours->name);
	bench_judge(b, row, what, (double)ours->latencies[ours->latency_count / 2] / (double)theirs->latencies[theirs->latency_count / 2], "x", BENCH_AT_MOST, 0);
}
