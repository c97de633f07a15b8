/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "checkpoint_file.h"
#include "manifest.h"
#include "members.h"
#include "wal.h"

/* The names in one directory, sorted. A stream may have many millions of entries: their names stand close together. */
struct names {
	char *bytes; /* one after another, each with its NUL */
	size_t size, capacity;
	size_t *offsets;
	size_t count, next;
};

struct source_dir {
	struct source base;
	int root;
	struct names top;
	struct names files;
	int dir; /* of which `files` are; -1: none */
	char dir_name[NAME_MAX + 1];
	char path[2 * NAME_MAX + 2];
	char file_name[NAME_MAX + 1];
	int file_dir; /* where the file is that can be read: `dir` or `root` */
	int fd;	      /* the file that is being read; -1: none yet */
	uint64_t left;
};

static int fail(struct source_dir *source, const char *path, int error)
{
	snprintf(source->base.fault, sizeof(source->base.fault), "'%s': %s", path, strerror(error));
	return -error;
}

/* ---- Names ---- */

static void names_clear(struct names *names)
{
	names->size = names->count = names->next = 0;
}

static void names_release(struct names *names)
{
	free(names->bytes);
	free(names->offsets);
}

static int names_add(struct names *names, const char *name)
{
	size_t size = strlen(name) + 1;

	if (size > names->capacity - names->size) {
		size_t capacity = 2 * names->capacity + 4096;
		char *bytes = realloc(names->bytes, capacity);

		if (!bytes)
			return -ENOMEM;
		names->bytes = bytes;
		names->capacity = capacity;
	}
	memcpy(names->bytes + names->size, name, size);
	names->size += size;
	names->count++;
	return 0;
}

/* The manifest first, what the streams are checked by; .checkpoints last, which tell of all streams. */
static int rank(const char *name)
{
	return !strcmp(name, MANIFEST_NAME) ? 0 : !strcmp(name, CHECKPOINT_DIR) ? 2 : 1;
}

static int compare(const void *a, const void *b, void *bytes)
{
	const char *left = (const char *)bytes + *(const size_t *)a, *right = (const char *)bytes + *(const size_t *)b;
	int by_rank = rank(left) - rank(right);

	return by_rank ? by_rank : strcmp(left, right);
}

static int names_sort(struct names *names)
{
	size_t offset = 0, *offsets = reallocarray(names->offsets, names->count + 1, sizeof(*offsets));

	if (!offsets)
		return -ENOMEM;
	names->offsets = offsets;
	for (size_t i = 0; i < names->count; i++) {
		offsets[i] = offset;
		offset += strlen(names->bytes + offset) + 1;
	}
	qsort_r(offsets, names->count, sizeof(*offsets), compare, names->bytes);
	return 0;
}

static int names_read(struct names *names, int dir)
{
	int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	struct dirent *entry;
	DIR *stream = fd < 0 ? NULL : fdopendir(fd);

	names_clear(names);
	if (!stream) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r;
	}
	errno = 0;
	while (r == 0 && (entry = readdir(stream))) {
		if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			r = names_add(names, entry->d_name);
		errno = 0;
	}
	if (r == 0)
		r = -errno;
	closedir(stream);
	return r < 0 ? r : names_sort(names);
}

/* ---- Members ---- */

static void end_file(struct source_dir *source)
{
	if (source->fd >= 0)
		close(source->fd);
	source->fd = -1;
	source->file_dir = -1;
}

static void end_dir(struct source_dir *source)
{
	if (source->dir >= 0)
		close(source->dir);
	source->dir = -1;
}

static int look(struct source_dir *source, int dir, const char *name, struct member *ret)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(source, source->path, errno);
	*ret = (struct member){ .type = S_ISDIR(st.st_mode) ? MEMBER_DIR : S_ISREG(st.st_mode) ? MEMBER_FILE : MEMBER_OTHER, .path = source->path };
	ret->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
	if (__builtin_mul_overflow((int64_t)st.st_mtim.tv_sec, (int64_t)1000000000, &ret->time_ns) ||
	    __builtin_add_overflow(ret->time_ns, (int64_t)st.st_mtim.tv_nsec, &ret->time_ns))
		return fail(source, source->path, ERANGE);
	snprintf(source->file_name, sizeof(source->file_name), "%s", name);
	source->file_dir = dir;
	source->left = ret->size;
	return 0;
}

static int enter(struct source_dir *source, const char *name)
{
	int r;

	source->dir = openat(source->root, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (source->dir < 0)
		return fail(source, name, errno);
	snprintf(source->dir_name, sizeof(source->dir_name), "%s", name);
	r = names_read(&source->files, source->dir);
	return r < 0 ? fail(source, name, -r) : 0;
}

/* Directories in a stream are named, and not gone into: there is nothing of a store. */
static int next(struct source *base, struct member *ret)
{
	struct source_dir *source = (struct source_dir *)base;
	const char *name;
	int r;

	end_file(source);
	if (source->dir >= 0 && source->files.next < source->files.count) {
		name = source->files.bytes + source->files.offsets[source->files.next++];
		snprintf(source->path, sizeof(source->path), "%s/%s", source->dir_name, name);
		return look(source, source->dir, name, ret);
	}
	end_dir(source);
	if (source->top.next == source->top.count)
		return WAL_END;
	name = source->top.bytes + source->top.offsets[source->top.next++];
	snprintf(source->path, sizeof(source->path), "%s", name);
	r = look(source, source->root, name, ret);
	return r == 0 && ret->type == MEMBER_DIR ? enter(source, name) : r;
}

static int read_data(struct source *base, void *data, size_t size, size_t *ret_size)
{
	struct source_dir *source = (struct source_dir *)base;
	ssize_t got;

	if (source->fd < 0)
		source->fd = openat(source->file_dir, source->file_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (source->fd < 0)
		return fail(source, source->path, errno);
	do {
		got = read(source->fd, data, size);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return fail(source, source->path, errno);
	if ((uint64_t)got > source->left || (!got && source->left)) {
		snprintf(source->base.fault, sizeof(source->base.fault), "'%.500s' has changed while it was read", source->path);
		return -EBADMSG;
	}
	source->left -= (uint64_t)got;
	*ret_size = (size_t)got;
	return 0;
}

static int rewind_dir(struct source *base)
{
	struct source_dir *source = (struct source_dir *)base;

	end_file(source);
	end_dir(source);
	source->top.next = 0;
	return 0;
}

static void source_dir_free(struct source *base)
{
	struct source_dir *source = (struct source_dir *)base;

	end_file(source);
	end_dir(source);
	if (source->root >= 0)
		close(source->root);
	names_release(&source->top);
	names_release(&source->files);
	free(source);
}

int source_dir_open(const char *path, struct source **ret_source)
{
	struct source_dir *source = calloc(1, sizeof(*source));
	int r;

	if (!source)
		return -ENOMEM;
	source->base = (struct source){ next, read_data, rewind_dir, source_dir_free, false, "" };
	source->dir = source->fd = source->file_dir = -1;
	source->root = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*ret_source = &source->base;
	if (source->root < 0)
		return fail(source, path, errno);
	r = names_read(&source->top, source->root);
	return r < 0 ? fail(source, path, -r) : 0;
}
