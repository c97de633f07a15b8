/* SPDX-License-Identifier: Apache-2.0 */
/*
 * make_seeds CORPUS [STREAM-DIRECTORY]…: writes the seeds of every target below CORPUS: of small stores that the library makes here, and of streams that are there
 * already, cut to a small size. The committed corpus is that, and what fuzzing found beside it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "fuzz.h"
#include "names.h"
#include "random.h"
#include "scratch.h"
#include "wal_journal.h"

enum { FILE_MAX = 9000, SEED_MAX = 24000, ENTRY_MAX = 700 };

struct packer {
	const char *corpus;
	const char *name;
	uint8_t seed[SEED_MAX + FILE_MAX + 64];
	size_t size;
	unsigned files;
};

static void write_seed(const struct packer *p, const char *target, const char *part, const uint8_t *prefix, size_t prefix_size, const uint8_t *data, size_t size)
{
	char path[4096];

	snprintf(path, sizeof path, "%s/%s", p->corpus, target);
	mkdir(path, 0777);
	snprintf(path, sizeof path, "%s/%s/%s%s", p->corpus, target, p->name, part);
	FILE *file = fopen(path, "wb");
	CHECK(file, "%s", path);
	CHECK(fwrite(prefix, 1, prefix_size, file) == prefix_size && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

static size_t read_file(int dir_fd, const char *name, uint8_t *data)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, data, FILE_MAX);

	CHECK(n >= 0, "%s", name);
	close(fd);
	return (size_t)n;
}

/* The parts of a segment for the targets that take one alone. */
static void split_segment(const struct packer *p, const uint8_t *data, size_t size)
{
	static const uint8_t no = 0, pieces[2] = { 30, 12 };
	struct frame_header h;
	uint8_t *raw;
	uint64_t raw_size;
	char part[32];

	snprintf(part, sizeof part, "-%u", p->files);
	if (size > 0)
		write_seed(p, "scan", part, &no, 1, data, size < 6000 ? size : 6000);
	if (!fuzz_frame_at(data, size, 0, &h, &raw, &raw_size))
		return;
	free(raw);
	if (h.disk_size > 4000)
		return;
	write_seed(p, "frame", part, NULL, 0, data, FRAME_HEADER_BYTES + h.disk_size);
	if (h.type == FRAME_LZ4)
		write_seed(p, "lz4", part, pieces, sizeof pieces, data + FRAME_HEADER_BYTES, h.disk_size);
}

static void pack_file(struct packer *p, int dir_fd, const char *name)
{
	uint8_t data[FILE_MAX], *at = p->seed + p->size, which = 0;
	enum file_kind kind;
	uint64_t id = 0;

	if (name_is_segment(name, &id))
		kind = FILE_SEGMENT;
	else if (name_is_meta(name, &id))
		kind = FILE_META;
	else if (strcmp(name, NAME_SEGMENTS_IDX) == 0)
		kind = FILE_INDEX;
	else if (strcmp(name, NAME_HEAD_STATE) == 0)
		kind = FILE_HEAD;
	else
		return;
	size_t size = read_file(dir_fd, name, data);
	while (kind == FILE_SEGMENT && size > 64 && data[size - 1] == 0 && data[size - 64] == 0)
		size--; /* preallocated: a few zeros do */
	char part[32];
	snprintf(part, sizeof part, "-%u", p->files);
	if (kind == FILE_SEGMENT)
		split_segment(p, data, size);
	if (kind == FILE_META && size > 0)
		write_seed(p, "meta", part, &which, 1, data, size < 4096 ? size : 4096);
	which = kind == FILE_HEAD;
	if (kind == FILE_INDEX || kind == FILE_HEAD)
		write_seed(p, "index", part, &which, 1, data, size);
	p->files++;
	if (p->size + CONTAINER_FILE_BYTES + size > SEED_MAX)
		return;
	at[0] = (uint8_t)kind;
	put_le32(at + 1, (uint32_t)id);
	put_le16(at + 5, (uint16_t)size);
	memcpy(at + CONTAINER_FILE_BYTES, data, size);
	p->size += CONTAINER_FILE_BYTES + size;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void pack_stream(const char *corpus, const char *name, uint8_t options, const char *path)
{
	struct packer p = { .corpus = corpus, .name = name, .seed = { options, 0 }, .size = CONTAINER_HEADER_BYTES };
	struct dirent **files;
	int count = scandir(path, &files, NULL, by_name), fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	CHECK(count >= 0 && fd >= 0, "%s", path);
	for (int i = 0; i < count; i++) {
		pack_file(&p, fd, files[i]->d_name);
		free(files[i]);
	}
	free(files);
	close(fd);
	write_seed(&p, "store", "", NULL, 0, p.seed, p.size);
}

/* Appends of all kinds; the store is closed unless `crash`: then what is in the files is as if the process had died. */
static void make_store(const char *corpus, const char *name, uint8_t options, struct wal_options opts, unsigned appends, bool crash)
{
	struct random random = { options };
	uint8_t data[8][ENTRY_MAX];
	struct iovec parts[8];
	struct scratch s;
	struct wal_store *store;
	struct wal_stream *st;
	char path[4200];

	scratch_make(&s);
	CHECK(wal_store_open(s.path, &opts, &store, NULL) == 0 && wal_stream_open(store, "a", WAL_CREATE, &st, NULL) == 0);
	for (unsigned i = 0; i < appends; i++) {
		size_t count = i % 4 == 3 ? 2 + i % 7 : 1;

		for (size_t k = 0; k < count; k++) {
			parts[k].iov_base = data[k];
			parts[k].iov_len = random_size(&random, ENTRY_MAX);
			random_fill(random_next(&random), data[k], parts[k].iov_len);
		}
		CHECK(wal_stream_append_batch(st, parts, count, i % 5 ? 0 : WAL_DURABLE, NULL) == 0);
	}
	snprintf(path, sizeof path, "%s/a", s.path);
	if (crash)
		pack_stream(corpus, name, options, path);
	wal_stream_close(st);
	CHECK(wal_store_close(store) == 0);
	if (!crash)
		pack_stream(corpus, name, options, path);
	scratch_remove(&s);
}

static void make_record(const char *corpus, const char *name, const struct wal_record *record)
{
	struct packer p = { .corpus = corpus, .name = name };
	static const uint8_t varint = 0;
	struct wal_buf buf = { 0 };

	CHECK(wal_record_encode(record, &buf, NULL) == 0);
	write_seed(&p, "record", "", &varint, 1, buf.data, buf.size);
	wal_buf_release(&buf);
}

static void make_records(const char *corpus)
{
	static const float values[] = { 1, -0.25F, 1e30F };
	static const uint8_t fixed[] = { 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 'v', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 128, 63, 1, 1, 0, 0, 0, 0, 0, 0, 0,
					 1, 0, 0, 0, 0, 0, 0, 0, 'k', 1, 0, 0, 0, 0, 0, 0, 0, 'v', 57, 48, 0, 0, 0, 0, 0, 0 };
	const struct wal_record_pair pairs[] = { { "k", 1, "v", 1 }, { "lang", 4, "\xc3\xa9", 2 } };
	struct wal_record inner[5] = {
		{ .type = WAL_RECORD_INSERT, .time = 1700000000, .id = "doc:1", .id_size = 5, .vector = { values, 3 }, .metadata = { true, pairs, 2 } },
		{ .type = WAL_RECORD_UPDATE, .time = 5, .id = "", .vector = { values, 1 } },
		{ .type = WAL_RECORD_DELETE, .time = 1000, .id = "doc:1", .id_size = 5 },
		{ .type = WAL_RECORD_OPAQUE, .time = 70000, .data = "bytes", .data_size = 5 },
		{ .type = WAL_RECORD_COMMIT, .time = 1, .transaction = UINT64_MAX },
	};
	struct wal_record batch = { .type = WAL_RECORD_BATCH, .time = 9, .records = inner, .record_count = 5 };
	struct wal_record outer[2] = { batch, { .type = WAL_RECORD_CHECKPOINT, .time = 3, .sequence = 300 } };

	make_record(corpus, "insert", &inner[0]);
	make_record(corpus, "update", &inner[1]);
	make_record(corpus, "delete", &inner[2]);
	make_record(corpus, "opaque", &inner[3]);
	make_record(corpus, "commit", &inner[4]);
	make_record(corpus, "checkpoint", &outer[1]);
	make_record(corpus, "batch", &batch);
	make_record(corpus, "batches", &(struct wal_record){ .type = WAL_RECORD_BATCH, .records = outer, .record_count = 2 });
	write_seed(&(struct packer){ .corpus = corpus, .name = "fixed" }, "record", "", NULL, 0, fixed, sizeof fixed);
}

/* libFuzzer's are not there. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
{
	(void)data;
	(void)max_size;
	return size;
}

int main(int argc, char **argv)
{
	struct wal_options plain = { .segment_size = 4096 }, lz4 = { .segment_size = 4096, .compression = WAL_COMPRESSION_LZ4, .min_compression_size = 1 };
	struct wal_options async = { .segment_size = 4096, .sync = WAL_SYNC_ASYNC }, large = { .sync = WAL_SYNC_BATCH };

	if (argc < 2)
		return 2;
	make_records(argv[1]);
	make_store(argv[1], "empty", 0, plain, 0, false);
	make_store(argv[1], "one", 1, plain, 1, false);
	make_store(argv[1], "few", 2, plain, 6, false);
	make_store(argv[1], "rotated", 4, plain, 40, false);
	make_store(argv[1], "lz4", 16, lz4, 40, false);
	make_store(argv[1], "crashed", 8, async, 30, true);
	make_store(argv[1], "crashed-batch", 0, large, 12, true);
	make_store(argv[1], "crashed-lz4", 28, lz4, 20, true);
	make_store(argv[1], "unsynced", 9, async, 8, true);
	for (int i = 2; i < argc; i++) {
		char name[32];

		snprintf(name, sizeof name, "given-%d", i - 2);
		pack_stream(argv[1], name, 0, argv[i]);
	}
	return 0;
}
