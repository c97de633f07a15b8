/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each regular file in a tar archive is an entry, with its time of change. Compressed archives are read as far as libarchive does that itself; no program is started for it. In a file that was changed or cut, what comes
 * before is good.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blob.h"
#include "source.h"

enum { READ_BYTES = 256 << 10 };

struct tar {
	struct source source;
	const char *path;
	int fd;
	bool is_stdin;
	struct archive *archive;
	struct blob blob;
	bool over;
	int64_t time_ns; /* of the archive, for members without a time that can be */
	char name[4096];
	char piece[READ_BYTES];
};

static const char *why(struct tar *t)
{
	const char *text = archive_error_string(t->archive);

	return text ? text : "no reason given";
}

/* What the archive says is damaged comes as a finding, what the system says ends the import. */
static int fail(struct tar *t, struct item *item, struct wal_error *err)
{
	int code = archive_errno(t->archive);

	t->over = true;
	if (code == EIO || code == ENOMEM || code == EISDIR)
		return source_fail(err, -code, "reading '%s': %s", t->path, why(t));
	item->bytes = 0;
	finding_set(item, FINDING_DAMAGE, "a tar archive", "%s; nothing behind it can be read", why(t));
	return 0;
}

static int64_t member_time(const struct tar *t, struct archive_entry *member)
{
	int64_t seconds = archive_entry_mtime_is_set(member) ? (int64_t)archive_entry_mtime(member) : -1;

	if (seconds < 0 || seconds > INT64_MAX / 1000000000 - 1)
		return t->time_ns;
	return seconds * 1000000000 + archive_entry_mtime_nsec(member);
}

static int read_member(struct tar *t, struct archive_entry *member, struct item *item, struct wal_error *err)
{
	ssize_t got;
	int r = 0;

	blob_clear(&t->blob);
	while (r == 0 && (got = archive_read_data(t->archive, t->piece, sizeof(t->piece))) != 0) {
		if (got < 0)
			return fail(t, item, err);
		r = blob_add(&t->blob, t->piece, (size_t)got);
	}
	if (r == 0)
		r = blob_data(&t->blob, &item->data);
	if (r < 0)
		return source_fail(err, r, "reading '%s' in '%s': %s", t->name, t->path, strerror(-r));
	item->kind = ITEM_ENTRY;
	item->size = (size_t)t->blob.size;
	item->time_ns = member_time(t, member);
	return 0;
}

static void take_name(struct tar *t, struct archive_entry *member)
{
	const char *name = archive_entry_pathname(member);

	if (!name)
		name = archive_entry_pathname_utf8(member);
	snprintf(t->name, sizeof(t->name), "%s", name ? name : "(a name that cannot be read)");
}

static int tar_next(struct source *source, struct item *ret, struct wal_error *err)
{
	struct tar *t = (struct tar *)source;
	struct archive_entry *member;

	while (!t->over) {
		int r = archive_read_next_header(t->archive, &member);

		*ret = (struct item){ .file = t->path };
		source->done = (uint64_t)archive_filter_bytes(t->archive, -1);
		ret->offset = (uint64_t)archive_read_header_position(t->archive);
		if (r == ARCHIVE_EOF) {
			t->over = true;
			break;
		}
		if (r < ARCHIVE_WARN)
			return fail(t, ret, err);
		take_name(t, member);
		ret->file = t->name;
		ret->bytes = archive_entry_size_is_set(member) ? (uint64_t)archive_entry_size(member) : 0; /* one below 0 is too large, too */
		if (archive_entry_hardlink(member)) {
			finding_set(ret, FINDING_NOTE, "a file", "a hard link to another member, passed over");
			return 0;
		}
		if (archive_entry_filetype(member) != AE_IFREG)
			continue;
		if (ret->bytes > WAL_ENTRY_SIZE_MAX) {
			finding_set(ret, FINDING_DAMAGE, "a file of at most 4294967291 bytes", "%llu bytes", (unsigned long long)ret->bytes);
			return 0;
		}
		return read_member(t, member, ret, err);
	}
	return WAL_END;
}

static void tar_free(struct source *source)
{
	struct tar *t = (struct tar *)source;

	if (t->archive)
		archive_read_free(t->archive);
	if (t->fd >= 0 && !t->is_stdin)
		close(t->fd);
	blob_release(&t->blob);
	free(t);
}

/* Where libarchive was built without a library, what it says is a warning that it would start a program: that one is left out. */
static int set_up(struct tar *t)
{
	static int (*const filters[])(struct archive *) = { archive_read_support_filter_gzip, archive_read_support_filter_xz, archive_read_support_filter_zstd,
							    archive_read_support_filter_bzip2, archive_read_support_filter_lz4 };
	struct archive *probe = archive_read_new();
	int r = ARCHIVE_OK;

	t->archive = archive_read_new();
	if (!t->archive || !probe)
		r = ARCHIVE_FATAL;
	for (size_t i = 0; r == ARCHIVE_OK && i < sizeof(filters) / sizeof(filters[0]); i++) {
		if (filters[i](probe) == ARCHIVE_OK)
			r = filters[i](t->archive);
	}
	if (probe)
		archive_read_free(probe);
	if (r == ARCHIVE_OK)
		r = archive_read_support_format_tar(t->archive);
	return r == ARCHIVE_OK ? 0 : -ENOMEM;
}

int tar_open(const char *path, const struct source_options *options, struct source **ret, struct wal_error *err)
{
	static const struct source_ops ops = { .next = tar_next, .free = tar_free };
	struct tar *t = calloc(1, sizeof(*t));
	struct stat st;
	int r;

	if (!t)
		return source_fail(err, -ENOMEM, "out of memory");
	t->source.ops = &ops;
	t->is_stdin = !strcmp(path, "-");
	t->path = t->is_stdin ? "standard input" : path;
	blob_init(&t->blob, options->spool);
	t->fd = t->is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	r = t->fd < 0 || fstat(t->fd, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? -EISDIR : set_up(t);
	if (r < 0) {
		source_fail(err, r, "opening '%s': %s", path, strerror(-r));
	} else if (archive_read_open_fd(t->archive, t->fd, READ_BYTES) != ARCHIVE_OK) {
		r = source_fail(err, archive_errno(t->archive) == EIO ? -EIO : -EBADMSG, "opening '%s': %s", path, why(t));
	} else {
		t->source.total = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
		t->time_ns = S_ISREG(st.st_mode) ? (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec : options->now_ns;
		*ret = &t->source;
		return 0;
	}
	tar_free(&t->source);
	return r;
}
