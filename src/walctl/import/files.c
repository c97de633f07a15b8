/* SPDX-License-Identifier: Apache-2.0 */
/* The regular files of a directory, in the order of their names, each an entry with the file's time of change. Symbolic links are not followed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "blob.h"
#include "input.h"
#include "source.h"

enum { PIECE_BYTES = 1 << 20 };

struct files {
	struct source source;
	struct listing files;
	size_t index;
	struct input input;
	struct blob blob;
	uint64_t passed; /* things that are no files: to be told */
};

static int read_file(struct files *f, struct item *item, struct wal_error *err)
{
	const uint8_t *piece;

	blob_clear(&f->blob);
	for (uint64_t offset = 0; offset < f->input.size;) {
		uint64_t rest = f->input.size - offset;
		size_t size = rest < PIECE_BYTES ? (size_t)rest : PIECE_BYTES;
		int r = input_get(&f->input, offset, size, &piece, err);

		if (r < 0)
			return r;
		r = blob_add(&f->blob, piece, size);
		if (r < 0)
			return source_fail(err, r, "reading '%s': %s", f->input.name, strerror(-r));
		offset += size;
		f->source.done += size;
	}
	int r = blob_data(&f->blob, &item->data);
	if (r < 0)
		return source_fail(err, r, "reading '%s': %s", f->input.name, strerror(-r));
	item->kind = ITEM_ENTRY;
	item->size = (size_t)f->blob.size;
	item->time_ns = f->input.mtime_ns;
	return 0;
}

static int files_next(struct source *source, struct item *ret, struct wal_error *err)
{
	struct files *f = (struct files *)source;
	struct listed *file;
	int r;

	*ret = (struct item){ 0 };
	if (f->passed) {
		finding_set(ret, FINDING_NOTE, "regular files", "also %llu symbolic links or special files, passed over", (unsigned long long)f->passed);
		f->passed = 0;
		return 0;
	}
	if (f->index == f->files.count)
		return WAL_END;
	file = &f->files.files[f->index++];
	r = input_open(&f->input, f->files.dir_fd, file->name, err);
	if (r < 0)
		return r;
	ret->file = file->name;
	ret->bytes = f->input.size;
	if (f->input.size > WAL_ENTRY_SIZE_MAX) {
		finding_set(ret, FINDING_DAMAGE, "a file of at most 4294967291 bytes", "%llu bytes", (unsigned long long)f->input.size);
		f->source.done += f->input.size;
		return 0;
	}
	return read_file(f, ret, err);
}

static void files_free(struct source *source)
{
	struct files *f = (struct files *)source;

	input_release(&f->input);
	listing_release(&f->files);
	blob_release(&f->blob);
	free(f);
}

int files_open(const char *path, const struct source_options *options, struct source **ret, struct wal_error *err)
{
	static const struct source_ops ops = { .next = files_next, .free = files_free };
	struct files *f = calloc(1, sizeof(*f));
	int r;

	if (!f)
		return source_fail(err, -ENOMEM, "out of memory");
	*f = (struct files){ .source = { .ops = &ops }, .files = LISTING_NONE, .input = INPUT_NONE };
	blob_init(&f->blob, options->spool);
	r = listing_read(&f->files, path, NULL, options->recursive, &f->passed, err);
	if (r < 0) {
		files_free(&f->source);
		return r;
	}
	f->source.total = f->files.bytes;
	*ret = &f->source;
	return 0;
}
