/* SPDX-License-Identifier: Apache-2.0 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "members.h"
#include "wal.h"

enum { BLOCK_BYTES = 64 << 10 };

struct source_tar {
	struct source base;
	struct archive *archive;
	int fd;
	off_t start; /* -1: it can't be read again */
	uint64_t left; /* of the file that is being read */
	bool ended;
};

static int fail(struct source_tar *source)
{
	const char *text = archive_error_string(source->archive);

	snprintf(source->base.fault, sizeof(source->base.fault), "%s", text ? text : "the archive can't be read");
	return -EBADMSG;
}

/* A filter that libarchive wasn't built with would be an external program. */
static bool add_filters(struct archive *archive)
{
	return archive_read_support_format_tar(archive) == ARCHIVE_OK && archive_read_support_filter_gzip(archive) == ARCHIVE_OK &&
	       archive_read_support_filter_xz(archive) == ARCHIVE_OK && archive_read_support_filter_zstd(archive) == ARCHIVE_OK;
}

static int begin(struct source_tar *source)
{
	source->archive = archive_read_new();
	if (!source->archive)
		return -ENOMEM;
	if (!add_filters(source->archive) || archive_read_open_fd(source->archive, source->fd, BLOCK_BYTES) != ARCHIVE_OK)
		return fail(source);
	return 0;
}

static bool is_ascii(const char *path)
{
	while (*path && !(*path & 0x80))
		path++;
	return !*path;
}

static int read_time(struct source_tar *source, struct archive_entry *entry, const char *path, int64_t *ret_time_ns)
{
	int64_t ns;

	if (__builtin_mul_overflow((int64_t)archive_entry_mtime(entry), (int64_t)1000000000, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)archive_entry_mtime_nsec(entry), ret_time_ns)) {
		snprintf(source->base.fault, sizeof(source->base.fault), "'%.400s': its time does not fit into 64 bits of nanoseconds", path);
		return -EBADMSG;
	}
	return 0;
}

/* The bytes after the archive's end are taken too, so that who writes them into a pipe isn't killed. */
static int end(struct source_tar *source)
{
	char block[4096];
	struct stat st;

	if (!source->ended && fstat(source->fd, &st) == 0 && !S_ISREG(st.st_mode))
		while (read(source->fd, block, sizeof(block)) > 0)
			;
	source->ended = true;
	return WAL_END;
}

/* A warning about a name that isn't UTF-8 is none here: the bytes are there as they are. Any other tells that something in a header isn't as it should be. */
static int next(struct source *base, struct member *ret)
{
	struct source_tar *source = (struct source_tar *)base;
	struct archive_entry *entry;
	const char *path;
	int r = source->ended ? ARCHIVE_EOF : archive_read_next_header(source->archive, &entry);

	if (r == ARCHIVE_EOF)
		return end(source);
	if (r != ARCHIVE_OK && r != ARCHIVE_WARN)
		return fail(source);
	path = archive_entry_pathname(entry);
	if (!path || (r == ARCHIVE_WARN && is_ascii(path)))
		return fail(source);
	*ret = (struct member){ .type = MEMBER_OTHER, .path = path };
	if (archive_entry_filetype(entry) == AE_IFDIR)
		ret->type = MEMBER_DIR;
	else if (archive_entry_filetype(entry) == AE_IFREG && !archive_entry_hardlink(entry))
		ret->type = MEMBER_FILE;
	ret->size = archive_entry_size(entry) > 0 ? (uint64_t)archive_entry_size(entry) : 0;
	source->left = ret->size;
	return read_time(source, entry, path, &ret->time_ns);
}

static int read_data(struct source *base, void *data, size_t size, size_t *ret_size)
{
	struct source_tar *source = (struct source_tar *)base;
	la_ssize_t got = archive_read_data(source->archive, data, size < source->left ? size : (size_t)source->left);

	if (got < 0)
		return fail(source);
	if (!got && source->left) {
		snprintf(source->base.fault, sizeof(source->base.fault), "the archive ends in the middle of a file");
		return -EBADMSG;
	}
	source->left -= (uint64_t)got;
	*ret_size = (size_t)got;
	return 0;
}

static int rewind_archive(struct source *base)
{
	struct source_tar *source = (struct source_tar *)base;

	archive_read_free(source->archive);
	source->archive = NULL;
	source->ended = false;
	if (lseek(source->fd, source->start, SEEK_SET) < 0)
		return -errno;
	return begin(source);
}

static void source_tar_free(struct source *base)
{
	struct source_tar *source = (struct source_tar *)base;

	archive_read_free(source->archive);
	if (source->fd != STDIN_FILENO)
		close(source->fd);
	free(source);
}

int source_tar_open(const char *path, struct source **ret_source)
{
	struct source_tar *source = calloc(1, sizeof(*source));
	struct stat st;

	if (!source)
		return -ENOMEM;
	source->base = (struct source){ next, read_data, NULL, source_tar_free, true, "" };
	source->fd = strcmp(path, "-") ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
	if (source->fd < 0 || fstat(source->fd, &st) < 0) {
		int r = -errno;

		if (source->fd >= 0)
			source_tar_free(&source->base);
		else
			free(source);
		return r;
	}
	source->start = S_ISREG(st.st_mode) ? lseek(source->fd, 0, SEEK_CUR) : -1;
	if (source->start >= 0)
		source->base.rewind = rewind_archive;
	*ret_source = &source->base;
	return begin(source);
}
