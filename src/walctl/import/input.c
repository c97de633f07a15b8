/* SPDX-License-Identifier: Apache-2.0 */
#include "input.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"

enum {
	WINDOW_BYTES = 1 << 20,
	DEPTH_MAX = 64, /* of directories: each level holds a descriptor open */
};

int input_open_fd(int dir_fd, const char *name, int flags)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | O_NOATIME | flags);

	if (fd < 0 && errno == EPERM) /* O_NOATIME is for the owner */
		fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY | flags);
	return fd < 0 ? -errno : fd;
}

int input_open(struct input *input, int dir_fd, const char *name, struct wal_error *err)
{
	struct stat st;
	int fd = input_open_fd(dir_fd, name, 0);

	if (fd < 0)
		return source_fail(err, fd, "opening '%s': %s", name, strerror(-fd));
	if (fstat(fd, &st) < 0) {
		int r = -errno;

		close(fd);
		return source_fail(err, r, "looking at '%s': %s", name, strerror(-r));
	}
	if (!S_ISREG(st.st_mode)) {
		close(fd);
		return source_fail(err, -EINVAL, "'%s' is not a regular file", name);
	}
	input_close(input);
	input->fd = fd;
	input->name = name;
	input->size = (uint64_t)st.st_size;
	input->mtime_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
	input->filled = 0;
	return 0;
}

static int reserve(struct input *input, size_t size)
{
	uint8_t *window;

	if (size <= input->capacity)
		return 0;
	window = realloc(input->window, size);
	if (!window)
		return -ENOMEM;
	input->window = window;
	input->capacity = size;
	return 0;
}

int input_get(struct input *input, uint64_t offset, size_t size, const uint8_t **ret, struct wal_error *err)
{
	uint64_t rest = input->size - offset;
	size_t want = size > WINDOW_BYTES ? size : WINDOW_BYTES;
	int r;

	if (input->window && offset >= input->at && offset - input->at <= input->filled && size <= input->filled - (offset - input->at)) {
		*ret = input->window + (offset - input->at);
		return 0;
	}
	want = want < rest ? want : (size_t)rest;
	r = reserve(input, want ? want : 1);
	if (r < 0)
		return source_fail(err, r, "reading '%s': no memory for %zu bytes", input->name, want);
	input->at = offset;
	input->filled = 0;
	while (input->filled < want) {
		ssize_t got = pread(input->fd, input->window + input->filled, want - input->filled, (off_t)(offset + input->filled));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			r = -errno;
			return source_fail(err, r, "reading '%s' at offset %llu: %s", input->name, (unsigned long long)(offset + input->filled), strerror(-r));
		}
		if (!got)
			return source_fail(err, -EIO, "reading '%s': it ends at offset %llu, and had %llu bytes when it was opened", input->name,
					   (unsigned long long)(offset + input->filled), (unsigned long long)input->size);
		input->filled += (size_t)got;
	}
	*ret = input->window;
	return 0;
}

/* Little at first: most often that tells, and is in the window. */
int input_is_zero(struct input *input, uint64_t offset, struct wal_error *err)
{
	for (size_t piece = 64; offset < input->size; piece = piece < WINDOW_BYTES ? 2 * piece : WINDOW_BYTES) {
		uint64_t rest = input->size - offset;
		size_t size = rest < piece ? (size_t)rest : piece;
		const uint8_t *data = NULL; /* gcc 12 at -O3 does not see that it is set */
		int r = input_get(input, offset, size, &data, err);

		if (r < 0)
			return r;
		if (data[0] || memcmp(data, data + 1, size - 1))
			return 0;
		offset += size;
	}
	return 1;
}

void input_close(struct input *input)
{
	if (input->fd >= 0)
		close(input->fd);
	input->fd = -1;
	input->filled = 0;
}

void input_release(struct input *input)
{
	input_close(input);
	free(input->window);
	*input = INPUT_NONE;
}

/* ---- Listings ---- */

static int add_file(struct listing *listing, const char *prefix, const char *name, uint64_t size, uint64_t number)
{
	struct listed *file;

	if (listing->count == listing->capacity) {
		size_t capacity = listing->capacity ? 2 * listing->capacity : 64;
		struct listed *files = reallocarray(listing->files, capacity, sizeof(*files));

		if (!files)
			return -ENOMEM;
		listing->files = files;
		listing->capacity = capacity;
	}
	file = &listing->files[listing->count];
	if (asprintf(&file->name, "%s%s", prefix, name) < 0)
		return -ENOMEM;
	file->size = size;
	file->number = number;
	listing->count++;
	listing->bytes += size;
	return 0;
}

struct walk {
	struct listing *listing;
	listing_filter *filter;
	bool recursive;
	uint64_t passed;
	struct wal_error *err;
};

static int walk_directory(struct walk *walk, int dir_fd, const char *prefix, unsigned depth);

static int walk_below(struct walk *walk, int dir_fd, const char *prefix, const char *name, unsigned depth)
{
	char *below;
	int fd, r;

	if (depth + 1 > DEPTH_MAX)
		return source_fail(walk->err, -ELOOP, "'%s%s': more than %d directories deep", prefix, name, DEPTH_MAX);
	fd = input_open_fd(dir_fd, name, O_DIRECTORY | O_NOFOLLOW);
	if (fd < 0)
		return source_fail(walk->err, fd, "opening '%s%s': %s", prefix, name, strerror(-fd));
	if (asprintf(&below, "%s%s/", prefix, name) < 0) {
		close(fd);
		return source_fail(walk->err, -ENOMEM, "out of memory");
	}
	r = walk_directory(walk, fd, below, depth + 1);
	free(below);
	return r;
}

static int walk_name(struct walk *walk, int dir_fd, const char *prefix, const char *name, unsigned depth)
{
	uint64_t number = 0;
	struct stat st;

	if (!strcmp(name, ".") || !strcmp(name, "..") || (walk->filter && !walk->filter(name, &number)))
		return 0;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return source_fail(walk->err, -errno, "looking at '%s%s': %s", prefix, name, strerror(errno));
	if (S_ISDIR(st.st_mode))
		return walk->recursive ? walk_below(walk, dir_fd, prefix, name, depth) : 0;
	if (!S_ISREG(st.st_mode)) {
		walk->passed++;
		return 0;
	}
	return add_file(walk->listing, prefix, name, (uint64_t)st.st_size, number) < 0 ? source_fail(walk->err, -ENOMEM, "out of memory") : 0;
}

/* Takes `dir_fd`. */
static int walk_directory(struct walk *walk, int dir_fd, const char *prefix, unsigned depth)
{
	DIR *dir = fdopendir(dir_fd);
	struct dirent *entry;
	int r = 0;

	if (!dir) {
		r = -errno;
		close(dir_fd);
		return source_fail(walk->err, r, "reading the directory '%s': %s", prefix, strerror(-r));
	}
	while (r == 0 && (errno = 0, entry = readdir(dir)))
		r = walk_name(walk, dirfd(dir), prefix, entry->d_name, depth);
	if (r == 0 && errno) {
		r = -errno;
		source_fail(walk->err, r, "reading the directory '%s': %s", prefix, strerror(-r));
	}
	closedir(dir);
	return r;
}

static int compare_listed(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	if (x->number != y->number)
		return x->number < y->number ? -1 : 1;
	return strcmp(x->name, y->name);
}

static int read_directory(struct listing *listing, int fd, struct walk *walk)
{
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0), r;

	listing->dir_fd = fd;
	if (copy < 0)
		return source_fail(walk->err, -errno, "opening the directory: %s", strerror(errno));
	r = walk_directory(walk, copy, "", 0);
	if (r == 0 && listing->count)
		qsort(listing->files, listing->count, sizeof(*listing->files), compare_listed);
	return r;
}

/* The file's name is its last part, and the directory is the one that it is in. */
static int read_one(struct listing *listing, const char *path, const struct stat *st, listing_filter *filter, struct wal_error *err)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
	char *parent = slash ? strndup(path, (size_t)(slash - path) + 1) : strdup(".");
	uint64_t number = 0;

	if (!parent)
		return source_fail(err, -ENOMEM, "out of memory");
	listing->dir_fd = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	free(parent);
	if (listing->dir_fd < 0)
		return source_fail(err, -errno, "opening the directory of '%s': %s", path, strerror(errno));
	if (filter)
		filter(name, &number);
	return add_file(listing, "", name, (uint64_t)st->st_size, number) < 0 ? source_fail(err, -ENOMEM, "out of memory") : 0;
}

int listing_read(struct listing *listing, const char *path, listing_filter *filter, bool recursive, uint64_t *ret_passed, struct wal_error *err)
{
	struct walk walk = { .listing = listing, .filter = filter, .recursive = recursive, .err = err };
	int fd = input_open_fd(AT_FDCWD, path, 0), r;
	struct stat st;

	if (fd < 0)
		return source_fail(err, fd, "opening '%s': %s", path, strerror(-fd));
	if (fstat(fd, &st) < 0)
		r = source_fail(err, -errno, "looking at '%s': %s", path, strerror(errno));
	else if (S_ISDIR(st.st_mode)) {
		r = read_directory(listing, fd, &walk);
		fd = -1; /* the listing has it */
	} else if (S_ISREG(st.st_mode))
		r = read_one(listing, path, &st, filter, err);
	else
		r = source_fail(err, -EINVAL, "'%s' is neither a directory nor a regular file", path);
	if (fd >= 0)
		close(fd);
	if (r == 0 && ret_passed)
		*ret_passed = walk.passed;
	return r;
}

void listing_release(struct listing *listing)
{
	for (size_t i = 0; i < listing->count; i++)
		free(listing->files[i].name);
	free(listing->files);
	if (listing->dir_fd >= 0)
		close(listing->dir_fd);
	*listing = LISTING_NONE;
}
