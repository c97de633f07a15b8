/* SPDX-License-Identifier: Apache-2.0 */
/* A store through a mount: nothing but files. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "power.h"

#define FUSE_SUPER_MAGIC 0x65735546

struct mount {
	struct target target;
	int fd;
};

static struct mount *mount_of(struct target *t)
{
	return (struct mount *)((char *)t - offsetof(struct mount, target));
}

static int check(int result)
{
	return result < 0 ? -errno : result;
}

static int mount_create(struct target *t, const char *stream)
{
	int result = check(mkdirat(mount_of(t)->fd, stream, 0700));

	return result == -EEXIST ? 0 : result;
}

static int mount_remove(struct target *t, const char *stream)
{
	return check(unlinkat(mount_of(t)->fd, stream, AT_REMOVEDIR));
}

static int write_all(int fd, const uint8_t *data, size_t size)
{
	while (size > 0) {
		ssize_t n = write(fd, data, size);

		if (n < 0)
			return -errno;
		data += n;
		size -= (size_t)n;
	}
	return 0;
}

static int read_id(int fd, uint64_t *ret_id)
{
	char text[32];
	ssize_t n = pread(fd, text, sizeof text - 1, 0);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	return sscanf(text, "%" SCNu64, ret_id) == 1 ? 0 : -EBADMSG;
}

enum { BY_CLOSE, BY_FSYNC, BY_DSYNC, WAYS };

static int mount_append(struct target *t, const char *stream, const struct record *r, uint64_t dice, uint64_t *ret_id, bool *ret_durable)
{
	char path[STREAM_NAME_MAX + 8];
	uint8_t data[CONTENT_MAX];
	size_t size = content_make(r, 0, data), part = dice % 2 ? size : size / 3;
	unsigned way = dice / 2 % WAYS;
	int flags = way == BY_CLOSE ? O_WRONLY : way == BY_DSYNC ? O_RDWR | O_DSYNC : O_RDWR;

	snprintf(path, sizeof path, "%s/new", stream);
	int fd = check(openat(mount_of(t)->fd, path, flags | O_CLOEXEC));
	if (fd < 0)
		return fd;
	uint64_t id = ID_UNKNOWN;
	int result = write_all(fd, data, way == BY_DSYNC ? size : part); /* with O_DSYNC each write is an entry */
	if (result == 0 && way != BY_DSYNC)
		result = write_all(fd, data + part, size - part);
	if (result == 0 && way == BY_FSYNC)
		result = check(fsync(fd));
	if (result == 0 && way != BY_CLOSE)
		result = read_id(fd, &id);
	int closed = check(close(fd));
	if (result == 0)
		result = closed;
	*ret_id = id;
	*ret_durable = way != BY_CLOSE || t->strict;
	return result;
}

/* A mount has no other way than an append that is synced. */
static int mount_sync(struct target *t, const char *stream)
{
	(void)t;
	(void)stream;
	return -ENOTSUP;
}

/* -ENOENT: it has no entries. */
static int first_of(struct target *t, const char *stream, uint64_t *ret_id)
{
	char path[STREAM_NAME_MAX + 8], to[64] = "";

	snprintf(path, sizeof path, "%s/.first", stream);
	int result = check((int)readlinkat(mount_of(t)->fd, path, to, sizeof to - 1));
	if (result >= 0)
		*ret_id = strtoull(to, NULL, 10);
	return result < 0 ? result : 0;
}

static int mount_read(struct target *t, const char *stream, uint64_t from, visit_entry *visit, void *arg)
{
	uint8_t data[CONTENT_MAX + 1];
	char path[STREAM_NAME_MAX + 24];

	for (;; from++) {
		snprintf(path, sizeof path, "%s/%" PRIu64, stream, from);
		int fd = check(openat(mount_of(t)->fd, path, O_RDONLY | O_CLOEXEC));
		size_t size = 0;
		uint64_t first;
		ssize_t n;

		if (fd == -ENOENT && first_of(t, stream, &first) == 0 && first > from) {
			from = first - 1; /* it was pruned */
			continue;
		}
		if (fd < 0)
			return fd == -ENOENT ? 0 : fd;
		while ((n = read(fd, data + size, sizeof data - size)) > 0)
			size += (size_t)n;
		int result = check((int)n);
		close(fd);
		if (result == -ESTALE)
			continue; /* pruned while it was open */
		if (result < 0)
			return result;
		if (!visit(arg, from, data, size))
			return 0;
	}
}

static bool count_entry(void *arg, uint64_t id, const void *data, size_t size)
{
	uint64_t *next = arg;

	(void)data;
	(void)size;
	*next = id + 1;
	return true;
}

static int mount_inspect(struct target *t, const char *stream, uint64_t *ret_first, uint64_t *ret_next)
{
	uint64_t listed = 0, first = UINT64_MAX, end = 0, next = 0;
	struct dirent *d;
	int fd = check(openat(mount_of(t)->fd, stream, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!dir)
		return fd < 0 ? fd : -errno;
	while ((d = readdir(dir))) {
		if (d->d_name[0] < '0' || d->d_name[0] > '9')
			continue;
		uint64_t id = strtoull(d->d_name, NULL, 10);

		listed++;
		if (id >= end)
			end = id + 1;
		if (id < first)
			first = id;
	}
	closedir(dir);
	first = listed > 0 ? first : 0;
	int result = mount_read(t, stream, first, count_entry, &next);
	if (result == 0 && (listed != end - first || next != end)) {
		fprintf(stderr, "stream %s: %" PRIu64 " entries are listed, from %" PRIu64 " to before %" PRIu64 ", and those before %" PRIu64 " are there by name\n",
			stream, listed, first, end, next);
		result = -EBADMSG;
	}
	if (result == 0) {
		*ret_first = first;
		*ret_next = next;
	}
	return result;
}

static int mount_prune(struct target *t, const char *stream, uint64_t id, uint64_t *ret_first)
{
	char path[STREAM_NAME_MAX + 8], text[32];
	int size = snprintf(text, sizeof text, "%" PRIu64 "\n", id);

	snprintf(path, sizeof path, "%s/.prune", stream);
	int fd = check(openat(mount_of(t)->fd, path, O_WRONLY | O_CLOEXEC));
	if (fd < 0)
		return fd;
	int result = write_all(fd, (const uint8_t *)text, (size_t)size), closed = check(close(fd));
	if (result == 0)
		result = closed;
	if (result == 0 && first_of(t, stream, ret_first) < 0)
		*ret_first = 0;
	return result;
}

static char *checkpoint_path(const char *name, char path[64])
{
	snprintf(path, 64, ".checkpoints/%s", name);
	return path;
}

static int mount_forget(struct target *t, const char *name)
{
	char path[64];
	int result = check(unlinkat(mount_of(t)->fd, checkpoint_path(name, path), 0));

	return result == -ENOENT ? 0 : result;
}

/* It is never moved: an old one goes first. */
static int mount_checkpoint(struct target *t, const char *name)
{
	char path[64];
	int result = mount_forget(t, name);

	if (result < 0)
		return result;
	int fd = check(openat(mount_of(t)->fd, checkpoint_path(name, path), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
	return fd < 0 ? fd : check(close(fd));
}

static int mount_covered(struct target *t, const char *name, const char *stream, uint64_t *ret_next)
{
	char path[64], of[256];
	uint64_t next;
	int fd = check(openat(mount_of(t)->fd, checkpoint_path(name, path), O_RDONLY | O_CLOEXEC));
	FILE *file = fd < 0 ? NULL : fdopen(fd, "r");

	if (!file)
		return fd < 0 ? fd : -errno;
	*ret_next = 0;
	/* The first line is the time. */
	int n = fscanf(file, "%*s %*s");
	while (n >= 0 && (n = fscanf(file, "%255s %" SCNu64, of, &next)) == 2) {
		if (strcmp(of, stream) == 0)
			*ret_next = next;
	}
	int result = ferror(file) ? -EIO : n == EOF ? 0 : -EBADMSG;
	fclose(file);
	return result;
}

static int mount_list(struct target *t, char ***ret_names)
{
	enum { NAMES_MAX = 10000 };
	char **names = malloc(NAMES_MAX * (sizeof *names + STREAM_NAME_MAX));
	char *text = (char *)(names + NAMES_MAX);
	size_t count = 0;
	struct dirent *d;
	int fd = check(openat(mount_of(t)->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);

	if (!names || !dir)
		abort();
	while ((d = readdir(dir)) && count < NAMES_MAX - 1) {
		if (d->d_name[0] == '.')
			continue;
		names[count] = text + count * STREAM_NAME_MAX;
		snprintf(names[count++], STREAM_NAME_MAX, "%.*s", STREAM_NAME_MAX - 1, d->d_name);
	}
	names[count] = NULL;
	closedir(dir);
	*ret_names = names;
	return 0;
}

static int mount_close(struct target *t)
{
	struct mount *m = mount_of(t);
	int result = check(close(m->fd));

	free(m);
	return result;
}

struct target *target_mount(const char *path, const char *sync)
{
	struct mount *m = malloc(sizeof *m);
	struct statfs fs;

	if (!m)
		abort();
	*m = (struct mount){
		.target = {
			.strict = strcmp(sync, "strict") == 0,
			.create = mount_create,
			.remove = mount_remove,
			.append = mount_append,
			.sync = mount_sync,
			.read = mount_read,
			.inspect = mount_inspect,
			.prune = mount_prune,
			.checkpoint = mount_checkpoint,
			.forget = mount_forget,
			.covered = mount_covered,
			.list = mount_list,
			.close = mount_close,
		},
		.fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC),
	};
	/* A writer may come when the mount is gone already; the directory below it must stay empty. */
	bool opened = m->fd >= 0, mounted = opened && fstatfs(m->fd, &fs) == 0 && fs.f_type == FUSE_SUPER_MAGIC;
	if (mounted)
		return &m->target;
	fprintf(stderr, "cannot open the mount: %s\n", opened ? "nothing is mounted there" : strerror(errno));
	if (opened)
		close(m->fd);
	free(m);
	return NULL;
}
