/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes on disk for an entry, sidecar and all. */
#include <dirent.h>
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bench.h"

enum {
	ENTRIES = 100000,
	BATCH_ENTRIES = 100,
};

struct shape {
	const char *what;
	unsigned batch;
	enum wal_compression compression;
	double target;
};

static const struct shape shapes[] = {
	{ "single entries", 1, WAL_COMPRESSION_NONE, 180 },
	{ "batches of 100", BATCH_ENTRIES, WAL_COMPRESSION_NONE, 140 },
	{ "batches of 100 lines of a log, LZ4", BATCH_ENTRIES, WAL_COMPRESSION_LZ4, 0 },
};

static void fill(struct bench *b, const struct shape *shape)
{
	struct wal_options opts = { .sync = WAL_SYNC_ASYNC, .compression = shape->compression };
	struct wal_store *store = bench_open_store(b, "store", &opts);
	struct wal_stream *st = bench_open_stream(store, "s");
	uint8_t data[BATCH_ENTRIES][BENCH_ENTRY_BYTES];
	struct iovec entries[BATCH_ENTRIES];

	for (unsigned i = 0; i < shape->batch; i++)
		entries[i] = (struct iovec){ data[i], sizeof data[i] };
	for (unsigned at = 0; at < ENTRIES; at += shape->batch) {
		if (shape->compression == WAL_COMPRESSION_LZ4)
			bench_fill_text(data, sizeof data, at);
		else
			bench_fill_random(data, sizeof data, at);
		int result = shape->batch == 1 ? wal_stream_append(st, data[0], sizeof data[0], 0, NULL) :
						 wal_stream_append_batch(st, entries, shape->batch, 0, NULL);
		if (result != 0)
			errx(1, "append failed");
	}
	wal_stream_close(st);
	if (wal_store_close(store) != 0)
		errx(1, "closing the store failed");
}

/* What the stream's files hold, and what they take from the file system. */
static void add_up(struct bench *b, uint64_t *ret_bytes, uint64_t *ret_allocated)
{
	DIR *dir = opendir(bench_path(b, "store/s"));
	struct dirent *entry;

	if (!dir)
		err(1, "the stream's directory");
	*ret_bytes = *ret_allocated = 0;
	while ((entry = readdir(dir))) {
		char name[300];
		struct stat sb;

		snprintf(name, sizeof name, "store/s/%s", entry->d_name);
		if (stat(bench_path(b, name), &sb) < 0)
			err(1, "'%s'", name);
		if (S_ISREG(sb.st_mode)) {
			*ret_bytes += (uint64_t)sb.st_size;
			*ret_allocated += (uint64_t)sb.st_blocks * 512;
		}
	}
	closedir(dir);
}

int main(void)
{
	struct bench b;

	bench_begin(&b, "size");
	printf("\n100,000 entries of 128 bytes, after a clean close\n");
	for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
		uint64_t bytes, allocated;
		char what[128];

		fill(&b, &shapes[i]);
		add_up(&b, &bytes, &allocated);
		bench_judge(&b, "15", shapes[i].what, (double)bytes / ENTRIES, "bytes", BENCH_AT_MOST, shapes[i].target);
		snprintf(what, sizeof what, "%s, allocated", shapes[i].what);
		bench_judge(&b, "15", what, (double)allocated / ENTRIES, "bytes", BENCH_AT_MOST, shapes[i].target);
		bench_remove(&b, "store");
	}
	return bench_end(&b);
}
