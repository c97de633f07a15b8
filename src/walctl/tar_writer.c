/* SPDX-License-Identifier: Apache-2.0 */
/* Times have their nanoseconds, and names any bytes and lengths, in pax headers. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

#include "member_writer.h"

struct tar_writer {
	struct member_writer base;
	struct archive *archive;
	struct archive_entry *entry;
	FILE *file;
	int error; /* once the file could not be written: nothing more is */
};

/* libarchive is not told that writing failed: it would then let go of memory that it has. */
static la_ssize_t write_out(struct archive *archive, void *arg, const void *data, size_t size)
{
	struct tar_writer *writer = arg;

	(void)archive;
	errno = 0;
	if (!writer->error && fwrite(data, 1, size, writer->file) != size)
		writer->error = errno ? errno : EIO;
	return (la_ssize_t)size;
}

static int fail(struct tar_writer *writer)
{
	const char *text = writer->error ? strerror(writer->error) : archive_error_string(writer->archive);

	snprintf(writer->base.fault, sizeof(writer->base.fault), "%s", text ? text : "the archive can't be written");
	return writer->error ? -writer->error : -EIO;
}

static int check(struct tar_writer *writer, bool good)
{
	return good && !writer->error ? 0 : fail(writer);
}

static bool is_ascii(const char *path)
{
	while (*path && !(*path & 0x80))
		path++;
	return !*path;
}

/* A warning says that a name isn't UTF-8: it is written as the bytes that it is, marked so. Of other names nothing is to be lost. */
static int put_header(struct tar_writer *writer, const char *path, unsigned type, unsigned mode, uint64_t size, int64_t time_ns)
{
	int64_t ns = time_ns % 1000000000;
	int r;

	archive_entry_clear(writer->entry);
	archive_entry_set_pathname(writer->entry, path);
	archive_entry_set_filetype(writer->entry, type);
	archive_entry_set_perm(writer->entry, (__LA_MODE_T)mode);
	archive_entry_set_size(writer->entry, (la_int64_t)size);
	archive_entry_set_mtime(writer->entry, time_ns / 1000000000 - (ns < 0), (long)(ns < 0 ? ns + 1000000000 : ns));
	r = archive_write_header(writer->archive, writer->entry);
	return check(writer, r == ARCHIVE_OK || (r == ARCHIVE_WARN && !is_ascii(path)));
}

static int put_dir(struct member_writer *base, const char *path, int64_t time_ns)
{
	return put_header((struct tar_writer *)base, path, AE_IFDIR, 0755, 0, time_ns);
}

static int put_file(struct member_writer *base, const char *path, uint64_t size, int64_t time_ns, bool fixed)
{
	(void)fixed;
	return put_header((struct tar_writer *)base, path, AE_IFREG, 0444, size, time_ns);
}

static int put_data(struct member_writer *base, const void *data, size_t size)
{
	struct tar_writer *writer = (struct tar_writer *)base;

	if (!size)
		return 0;
	return check(writer, archive_write_data(writer->archive, data, size) == (la_ssize_t)size);
}

static int put_end(struct member_writer *base)
{
	struct tar_writer *writer = (struct tar_writer *)base;

	return check(writer, archive_write_finish_entry(writer->archive) == ARCHIVE_OK);
}

static int finish(struct member_writer *base)
{
	struct tar_writer *writer = (struct tar_writer *)base;

	return check(writer, archive_write_close(writer->archive) == ARCHIVE_OK);
}

/* An archive that was broken off isn't to get an end: it would look whole. */
static void tar_writer_free(struct member_writer *base)
{
	struct tar_writer *writer = (struct tar_writer *)base;

	writer->error = ECANCELED;
	archive_write_free(writer->archive);
	archive_entry_free(writer->entry);
	free(writer);
}

int tar_writer_new(FILE *file, struct member_writer **ret_writer)
{
	struct tar_writer *writer = calloc(1, sizeof(*writer));

	if (!writer)
		return -ENOMEM;
	writer->base = (struct member_writer){ put_dir, put_file, put_data, put_end, finish, tar_writer_free, "" };
	writer->file = file;
	writer->entry = archive_entry_new();
	writer->archive = archive_write_new();
	/* Names that are UTF-8 are then written as such, which is what other programs understand without a warning. */
	setlocale(LC_CTYPE, "C.UTF-8");
	if (!writer->entry || !writer->archive || archive_write_set_format_pax(writer->archive) != ARCHIVE_OK ||
	    archive_write_open(writer->archive, writer, NULL, write_out, NULL) != ARCHIVE_OK) {
		tar_writer_free(&writer->base);
		return -ENOMEM;
	}
	*ret_writer = &writer->base;
	return 0;
}
