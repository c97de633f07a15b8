/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "member_writer.h"

/* No stream and no entry has this name. */
#define PART_NAME ".walfs.part"

struct dir_writer {
	struct member_writer base;
	int root;
	int fd;		 /* the file being written; -1: none, or it is there already */
	char *path;	 /* its own */
	int64_t time_ns;
	char *dir;	 /* the directory that was made last, which gets its time when nothing more comes into it */
	int64_t dir_time_ns;
};

static int fail(struct dir_writer *writer, const char *path)
{
	int error = errno;

	snprintf(writer->base.fault, sizeof(writer->base.fault), "'%s': %s", path, strerror(error));
	return -error;
}

static void fill_times(struct timespec times[2], int64_t time_ns)
{
	int64_t ns = time_ns % 1000000000;

	times[1].tv_sec = time_ns / 1000000000 - (ns < 0);
	times[1].tv_nsec = ns < 0 ? ns + 1000000000 : ns;
	times[0] = times[1];
}

static int end_dir(struct dir_writer *writer)
{
	struct timespec times[2];

	if (!writer->dir)
		return 0;
	fill_times(times, writer->dir_time_ns);
	if (utimensat(writer->root, writer->dir, times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(writer, writer->dir);
	free(writer->dir);
	writer->dir = NULL;
	return 0;
}

static int put_dir(struct member_writer *base, const char *path, int64_t time_ns)
{
	struct dir_writer *writer = (struct dir_writer *)base;
	struct stat st;
	int r = end_dir(writer);

	if (r < 0)
		return r;
	if (mkdirat(writer->root, path, 0755) < 0 && errno != EEXIST)
		return fail(writer, path);
	/* A link in its place would lead out of the directory. */
	if (fstatat(writer->root, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(writer, path);
	if (!S_ISDIR(st.st_mode)) {
		errno = ENOTDIR;
		return fail(writer, path);
	}
	writer->dir = strdup(path);
	writer->dir_time_ns = time_ns;
	return writer->dir ? 0 : -ENOMEM;
}

static bool is_there(const struct dir_writer *writer, const char *path, uint64_t size, int64_t time_ns)
{
	struct timespec times[2];
	struct stat st;

	fill_times(times, time_ns);
	return fstatat(writer->root, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size &&
	       st.st_mtim.tv_sec == times[1].tv_sec && st.st_mtim.tv_nsec == times[1].tv_nsec;
}

static int put_file(struct member_writer *base, const char *path, uint64_t size, int64_t time_ns, bool fixed)
{
	struct dir_writer *writer = (struct dir_writer *)base;

	writer->fd = -1;
	if (fixed && is_there(writer, path, size, time_ns))
		return 0;
	writer->path = strdup(path);
	writer->time_ns = time_ns;
	if (!writer->path)
		return -ENOMEM;
	if (unlinkat(writer->root, PART_NAME, 0) < 0 && errno != ENOENT)
		return fail(writer, PART_NAME);
	writer->fd = openat(writer->root, PART_NAME, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	return writer->fd < 0 ? fail(writer, PART_NAME) : 0;
}

static int put_data(struct member_writer *base, const void *data, size_t size)
{
	struct dir_writer *writer = (struct dir_writer *)base;
	const char *bytes = data;

	while (writer->fd >= 0 && size) {
		ssize_t written = write(writer->fd, bytes, size);

		if (written < 0 && errno == EINTR)
			continue;
		if (written < 0)
			return fail(writer, writer->path);
		bytes += written;
		size -= (size_t)written;
	}
	return 0;
}

static int put_end(struct member_writer *base)
{
	struct dir_writer *writer = (struct dir_writer *)base;
	struct timespec times[2];
	int fd = writer->fd, r = 0;

	if (fd < 0)
		return 0;
	writer->fd = -1;
	fill_times(times, writer->time_ns);
	if (futimens(fd, times) < 0)
		r = fail(writer, writer->path);
	if (close(fd) < 0 && r == 0)
		r = fail(writer, writer->path);
	if (r == 0 && renameat(writer->root, PART_NAME, writer->root, writer->path) < 0)
		r = fail(writer, writer->path);
	free(writer->path);
	writer->path = NULL;
	return r;
}

static int finish(struct member_writer *base)
{
	struct dir_writer *writer = (struct dir_writer *)base;
	int r = end_dir(writer);

	if (r == 0 && syncfs(writer->root) < 0)
		r = fail(writer, ".");
	return r;
}

static void dir_writer_free(struct member_writer *base)
{
	struct dir_writer *writer = (struct dir_writer *)base;

	if (writer->fd >= 0) {
		close(writer->fd);
		unlinkat(writer->root, PART_NAME, 0);
	}
	close(writer->root);
	free(writer->path);
	free(writer->dir);
	free(writer);
}

int dir_writer_new(const char *path, struct member_writer **ret_writer)
{
	struct dir_writer *writer;
	int root;

	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -errno;
	root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return -errno;
	writer = calloc(1, sizeof(*writer));
	if (!writer) {
		close(root);
		return -ENOMEM;
	}
	writer->base = (struct member_writer){ put_dir, put_file, put_data, put_end, finish, dir_writer_free, "" };
	writer->root = root;
	writer->fd = -1;
	*ret_writer = &writer->base;
	return 0;
}
