/* SPDX-License-Identifier: Apache-2.0 */
/* Each line of a file, or of standard input, is an entry, without its newline; a last line needs none. Its time is the file's, of standard input the present. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "blob.h"
#include "lines.h"
#include "source.h"

struct line_source {
	struct source source;
	const char *name;
	int fd; /* -1: standard input */
	struct lines lines;
	struct blob blob; /* a line that is longer than the buffer */
	bool is_long;
	int64_t time_ns;
	uint64_t number;
};

static int fail(const struct line_source *l, int result, struct wal_error *err)
{
	return source_fail(err, result, "reading line %llu of '%s': %s", (unsigned long long)l->number + 1, l->name, result == -EFBIG ? "longer than an entry can be" : strerror(-result));
}

/* The next line, all of it. */
static int next_line(struct line_source *l, const void **ret, size_t *ret_size)
{
	const char *line;
	size_t size;
	int r;

	for (;;) {
		bool whole = lines_next(&l->lines, &line, &size);

		if (whole && !l->is_long) {
			*ret = line;
			*ret_size = size;
			return 0;
		}
		if (!whole && lines_is_full(&l->lines)) {
			lines_take_rest(&l->lines, &line, &size);
			if (!l->is_long)
				blob_clear(&l->blob);
			l->is_long = true;
			r = blob_add(&l->blob, line, size);
			if (r < 0)
				return r;
		} else if (whole || (l->lines.end && l->is_long)) {
			r = whole ? blob_add(&l->blob, line, size) : 0;
			l->is_long = false;
			*ret_size = (size_t)l->blob.size;
			return r < 0 ? r : blob_data(&l->blob, ret);
		}
		if (l->lines.end)
			return WAL_END;
		r = lines_fill(&l->lines);
		if (r < 0)
			return r;
	}
}

static int lines_source_next(struct source *source, struct item *ret, struct wal_error *err)
{
	struct line_source *l = (struct line_source *)source;
	int r;

	*ret = (struct item){ .kind = ITEM_ENTRY, .file = l->name, .offset = source->done, .time_ns = l->time_ns };
	r = next_line(l, &ret->data, &ret->size);
	if (r != 0)
		return r < 0 ? fail(l, r, err) : r;
	ret->has_sequence = true;
	ret->sequence = ++l->number;
	source->done += ret->size + 1;
	return 0;
}

static void lines_source_free(struct source *source)
{
	struct line_source *l = (struct line_source *)source;

	if (l->fd >= 0)
		close(l->fd);
	lines_release(&l->lines);
	blob_release(&l->blob);
	free(l);
}

int lines_open(const char *path, const struct source_options *options, struct source **ret, struct wal_error *err)
{
	static const struct source_ops ops = { .next = lines_source_next, .free = lines_source_free };
	struct line_source *l = calloc(1, sizeof(*l));
	bool is_stdin = !strcmp(path, "-");
	struct stat st;
	int r = 0;

	if (!l)
		return source_fail(err, -ENOMEM, "out of memory");
	*l = (struct line_source){ .source = { .ops = &ops }, .name = is_stdin ? "standard input" : path, .fd = -1, .time_ns = options->now_ns };
	blob_init(&l->blob, options->spool);
	if (!is_stdin) {
		/* a FIFO is as good here, and is to be waited for */
		l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
		r = l->fd < 0 || fstat(l->fd, &st) < 0 ? -errno : S_ISDIR(st.st_mode) ? -EISDIR : 0;
	}
	if (r == 0 && !is_stdin && S_ISREG(st.st_mode)) {
		l->time_ns = (int64_t)st.st_mtim.tv_sec * 1000000000 + st.st_mtim.tv_nsec;
		l->source.total = (uint64_t)st.st_size;
	}
	if (r == 0)
		r = lines_init(&l->lines, is_stdin ? STDIN_FILENO : l->fd);
	if (r < 0) {
		lines_source_free(&l->source);
		return source_fail(err, r, "opening '%s': %s", path, strerror(-r));
	}
	*ret = &l->source;
	return 0;
}
