/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Logs of walogs and oxirs as walctl imports them: whatever stands in the files, every byte of them is either in an entry or told of, in order; an entry is what the format says it is; and it ends.
 *
 * An input is a byte of flags, the length of the first of two files (2 bytes), and the files. The seeds are logs that the originals wrote, small ones, and such as tests/test_import.py makes.
 */
#include <stdio.h>
#include <string.h>
#include <zlib.h>

#include "bytes.h"
#include "fuzz.h"
#include "scratch.h"
#include "source.h"
#include "wal_journal.h"
#include "walogs_frame.h"

enum {
	FLAG_OXIRS = 1,
	FLAG_RESYNC = 2,	  /* of oxirs; of walogs: all duplicates */
	FLAG_TRANSACTIONS = 4,
	FLAG_CHECKPOINTS = 8,
	INPUT_HEADER_BYTES = 3,
	OXIRS_HEADER_BYTES = 16,
};

struct file {
	const char *name;
	const uint8_t *data;
	size_t size;
	uint64_t at; /* up to here all is told */
	uint64_t entries;
};

struct log {
	unsigned flags;
	struct file files[2];
	size_t count;
	size_t current;
};

static void split(const uint8_t *data, size_t size, struct log *ret)
{
	size_t first = get_le16(data + 1), rest = size - INPUT_HEADER_BYTES;
	bool is_oxirs = data[0] & FLAG_OXIRS;

	if (first > rest)
		first = rest;
	*ret = (struct log){ .flags = data[0], .count = first < rest ? 2 : 1 };
	ret->files[0] = (struct file){ .name = is_oxirs ? "wal-0000000000000001.log" : "wal-000001.log", .data = data + INPUT_HEADER_BYTES, .size = first };
	ret->files[1] = (struct file){ .name = is_oxirs ? "wal-0000000000000002.log" : "wal-000002.log", .data = data + INPUT_HEADER_BYTES + first, .size = rest - first };
}

static bool is_log(const struct file *file)
{
	return file->size >= OXIRS_HEADER_BYTES && !memcmp(file->data, "WALV\1\0\0", 8);
}

/* Everything of a file has been told when the next one begins. */
static struct file *find(struct log *log, const struct item *item)
{
	while (log->current < log->count && strcmp(log->files[log->current].name, item->file)) {
		CHECK(log->files[log->current].at == log->files[log->current].size, "%s", log->files[log->current].name);
		log->current++;
	}
	CHECK(log->current < log->count, "%s", item->file);
	return &log->files[log->current];
}

static void check_walogs_entry(const struct file *file, const struct item *item)
{
	struct walogs_header header;

	walogs_decode_header(file->data + item->offset, &header);
	CHECK(header.size == item->size && header.lsn == item->sequence && item->bytes == WALOGS_HEADER_BYTES + item->size);
	CHECK(walogs_frame_crc(&header, file->data + item->offset) == header.crc);
	CHECK(!item->size || !memcmp(item->data, file->data + item->offset + WALOGS_HEADER_BYTES, item->size));
}

static void check_oxirs_entry(const struct file *file, const struct item *item)
{
	struct wal_buf memory = { 0 };
	struct wal_record record;

	CHECK(get_le64(file->data + item->offset) == item->sequence);
	CHECK(wal_record_decode(item->data, item->size, WAL_RECORD_VARINT, &memory, &record, NULL) == 0);
	CHECK(record.type != WAL_RECORD_OPAQUE && !strcmp(item->type, wal_record_type_name(record.type)));
	wal_buf_release(&memory);
}

static void check_item(struct log *log, const struct item *item)
{
	/* A gap may be told when it is sure, which is later. */
	if (item->kind == ITEM_FINDING && item->finding == FINDING_GAP)
		return;
	struct file *file = find(log, item);
	CHECK(item->offset <= file->size && item->bytes <= file->size - item->offset);
	CHECK(strlen(item->expected) < sizeof(item->expected) && strlen(item->found) < sizeof(item->found));
	CHECK(item->offset == file->at, "%s at %zu, expected %zu", file->name, (size_t)item->offset, (size_t)file->at);
	file->at += item->bytes;
	if (item->kind != ITEM_ENTRY)
		return;
	file->entries++;
	if (log->flags & FLAG_OXIRS)
		check_oxirs_entry(file, item);
	else
		check_walogs_entry(file, item);
}

static bool is_frame(const struct file *file, size_t at, bool searching, struct walogs_header *ret)
{
	if (file->size - at < WALOGS_HEADER_BYTES)
		return false;
	walogs_decode_header(file->data + at, ret);
	return ret->size <= WALOGS_DATA_MAX && ret->size <= file->size - at - WALOGS_HEADER_BYTES && !(searching && ret->lsn >> 56) &&
	       walogs_frame_crc(ret, file->data + at) == ret->crc;
}

/* Whether the bad frame there may be over where its length says. Then what its data holds may count or not, which hangs on the numbers around. */
static bool may_end(const struct file *file, size_t at)
{
	struct walogs_header header, next;

	walogs_decode_header(file->data + at, &header);
	if (header.size > WALOGS_DATA_MAX || header.size > file->size - at - WALOGS_HEADER_BYTES)
		return false;
	at += WALOGS_HEADER_BYTES + header.size;
	return at == file->size || is_frame(file, at, false, &next);
}

/* As many as there are: each place behind the last frame is tried, in memory. False: that can't be told so simply. */
static bool count_frames(const struct file *file, uint64_t *ret_count)
{
	bool searching = false;

	*ret_count = 0;
	for (size_t at = 0; file->size - at >= WALOGS_HEADER_BYTES;) {
		struct walogs_header header;

		if (is_frame(file, at, searching, &header)) {
			++*ret_count;
			at += WALOGS_HEADER_BYTES + header.size;
			searching = false;
		} else {
			if (!searching && may_end(file, at))
				return false;
			at++;
			searching = true;
		}
	}
	return true;
}

static void read_all(struct log *log, const char *path)
{
	struct source_options options = {
		.keep_duplicates = log->flags & FLAG_RESYNC,
		.resync = log->flags & FLAG_RESYNC,
		.apply_transactions = log->flags & FLAG_TRANSACTIONS,
		.apply_checkpoints = log->flags & FLAG_CHECKPOINTS,
		.drop_checkpoints = log->flags & FLAG_CHECKPOINTS,
		.now_ns = 1800000000000000000,
	};
	struct wal_error err = { 0 };
	struct source *source;
	struct item item;
	size_t items = 0, items_max = 100 + 4 * (log->files[0].size + log->files[1].size);
	int r = (log->flags & FLAG_OXIRS ? oxirs_open : walogs_open)(path, &options, &source, &err);

	CHECK(r == 0, "%s", err.message);
	while ((r = source->ops->next(source, &item, &err)) == 0) {
		CHECK(++items < items_max);
		check_item(log, &item);
	}
	CHECK(r == WAL_END, "%d: %s", r, err.message);
	CHECK(source->done == source->total);
	source->ops->free(source);
	for (; log->current < log->count; log->current++)
		CHECK(log->files[log->current].at == log->files[log->current].size, "%s", log->files[log->current].name);
	for (size_t i = 0; i < log->count && !(log->flags & FLAG_OXIRS) && log->flags & FLAG_RESYNC; i++) {
		uint64_t count;

		CHECK(!count_frames(&log->files[i], &count) || log->files[i].entries == count);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct scratch s;
	struct log log;

	if (size < INPUT_HEADER_BYTES)
		return 0;
	split(data, size, &log);
	scratch_make(&s);
	for (size_t i = 0; i < log.count; i++) {
		scratch_write(&s, log.files[i].name, log.files[i].data, log.files[i].size);
		/* that is no part of what is told */
		if (log.flags & FLAG_OXIRS && is_log(&log.files[i]))
			log.files[i].at = OXIRS_HEADER_BYTES;
	}
	read_all(&log, s.path);
	scratch_remove(&s);
	return 0;
}

/* So that most frames are whole. */
static void fix_frames(uint8_t *data, size_t size, unsigned seed)
{
	for (size_t at = 0; size - at >= WALOGS_HEADER_BYTES;) {
		struct walogs_header header;

		walogs_decode_header(data + at, &header);
		if (header.size > size - at - WALOGS_HEADER_BYTES) {
			at++;
			continue;
		}
		seed = seed * 1103515245 + 12345;
		if (seed >> 16 & 7)
			put_le32(data + at + 4, walogs_frame_crc(&header, data + at));
		at += WALOGS_HEADER_BYTES + header.size;
	}
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	size = LLVMFuzzerMutate(data, size, max_size);
	if (seed % 2 && size > INPUT_HEADER_BYTES && !(data[0] & FLAG_OXIRS))
		fix_frames(data + INPUT_HEADER_BYTES, size - INPUT_HEADER_BYTES, seed);
	return size;
}
