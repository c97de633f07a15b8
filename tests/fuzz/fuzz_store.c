/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A whole store (container.h) is opened, listed, read in every way, appended to, closed and opened again. Whatever it holds: an entry is served only if it stands
 * under that id in a frame of the input that holds; appends that succeeded are there; all ways of reading agree, and what was served once is served ever after. The
 * last two only unless checksums hold of what no program wrote: a sidecar that lies about intact frames, a frame whose entries don't fill it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "container.h"
#include "crc32.h"
#include "fuzz.h"
#include "lz4codec.h"
#include "meta.h"
#include "names.h"
#include "scratch.h"
#include "wal.h"

enum {
	STEPS_MAX = 1 << 20,
	APPENDS = 3,
	OPTION_MMAP = 1 << 2,
	OPTION_RO_FIRST = 1 << 3,
	OPTION_LZ4 = 1 << 4,
};

/* Somewhere beyond it the library gives out no more ids. */
#define IDS_END (UINT64_MAX - ((uint64_t)1 << 48))

struct known {
	uint64_t id;
	uint64_t size;
	uint32_t crc;
};

struct known_list {
	struct known *items;
	size_t count, capacity;
};

struct stream_truth {
	struct known_list may;	 /* be served: the input has it, or it was appended */
	struct known_list must; /* be served: it was before */
	bool forged;
};

static const char *const stream_names[CONTAINER_STREAMS] = { "a", "b" };

static void known_add(struct known_list *list, uint64_t id, const void *data, uint64_t size)
{
	if (list->count == list->capacity) {
		list->capacity = list->capacity * 2 + 64;
		list->items = realloc(list->items, list->capacity * sizeof *list->items);
		CHECK(list->items);
	}
	list->items[list->count++] = (struct known){ id, size, crc32_update(0, data, size) };
}

static bool known_has(const struct known_list *list, uint64_t id, const void *data, uint64_t size)
{
	uint32_t crc = crc32_update(0, data, size);

	for (size_t i = 0; i < list->count; i++)
		if (list->items[i].id == id && list->items[i].size == size && list->items[i].crc == crc)
			return true;
	return false;
}

/* What can be had of a payload whose checksum holds, even if not all of it makes sense. */
static uint8_t *unfold(const struct frame_header *h, const uint8_t *payload, size_t *ret_size)
{
	size_t capacity = h->type == FRAME_LZ4 ? (size_t)h->disk_size * LZ4FRAME_RATIO_MAX + 1024 : h->disk_size, used = 0, made = 0, in, out;
	struct lz4frame_decoder *dec;
	uint8_t *raw = malloc(capacity + 1);
	bool end = false;

	CHECK(raw);
	if (h->type == FRAME_RAW) {
		memcpy(raw, payload, capacity);
		made = capacity;
	} else {
		CHECK(lz4frame_decoder_new(&dec) == 0);
		do {
			in = h->disk_size - used;
			out = capacity - made;
			if (lz4frame_decoder_run(dec, payload + used, &in, raw + made, &out, &end) < 0)
				break;
			used += in;
			made += out;
		} while (!end && (in > 0 || out > 0));
		lz4frame_decoder_free(dec);
	}
	*ret_size = made;
	return raw;
}

/* Every entry that stands in a frame whose checksum holds, wherever in the file. */
static void learn(struct stream_truth *truth, const uint8_t *data, size_t size)
{
	for (size_t at = 0; size >= FRAME_HEADER_BYTES && at <= size - FRAME_HEADER_BYTES; at++) {
		struct frame_header h;
		const uint8_t *payload = data + at + FRAME_HEADER_BYTES, *entry;
		size_t raw_size;
		uint32_t entry_size;

		if (frame_decode_header(data + at, &h) != FRAME_OK || h.disk_size > size - at - FRAME_HEADER_BYTES || frame_check_crc(&h, payload) != FRAME_OK)
			continue;
		uint8_t *raw = unfold(&h, payload, &raw_size);
		struct frame_cursor c = { raw, raw + raw_size };
		for (uint64_t id = h.start_id; id - h.start_id < h.entry_count && frame_cursor_next(&c, &entry, &entry_size); id++)
			known_add(&truth->may, id, entry, entry_size);
		truth->forged |= frame_check_payload(raw, raw_size, h.entry_count) != FRAME_OK;
		free(raw);
	}
}

static void unpack(const struct scratch *s, const uint8_t *data, size_t size, struct stream_truth truth[CONTAINER_STREAMS])
{
	struct container_file f;

	for (size_t pos = CONTAINER_HEADER_BYTES; container_next(data, size, &pos, &f);) {
		char name[NAME_SEGMENT_MAX], path[NAME_SEGMENT_MAX + 8];

		switch (f.kind) {
		case FILE_SEGMENT:
			learn(&truth[f.stream], f.data, f.size);
			name_segment(name, f.id);
			break;
		case FILE_META:
			for (size_t at = 0; at + META_BLOCK_BYTES <= f.size; at += META_BLOCK_BYTES)
				truth[f.stream].forged |= meta_block_valid(f.data + at, f.id);
			name_meta(name, f.id);
			break;
		case FILE_INDEX:
			strcpy(name, NAME_SEGMENTS_IDX);
			break;
		case FILE_HEAD:
			strcpy(name, NAME_HEAD_STATE);
			break;
		case FILE_LOCK:
			scratch_write(s, NAME_LOCK, f.data, f.size);
			continue;
		case FILE_TORN:
			name_torn(name, f.id, f.size % 4);
			break;
		case FILE_DIR:
		case FILE_SYMLINK:
		case FILE_KINDS:
			name_segment(name, f.id);
			break;
		}
		mkdirat(s->fd, stream_names[f.stream], 0700);
		snprintf(path, sizeof path, "%s/%s", stream_names[f.stream], name);
		if (f.kind == FILE_DIR)
			mkdirat(s->fd, path, 0700);
		else if (f.kind == FILE_SYMLINK)
			CHECK(symlinkat("/etc/hostname", s->fd, path) == 0 || errno == EEXIST);
		else
			scratch_write(s, path, f.data, f.size);
	}
}

/* ---- Reading in every way ---- */

/* Whether a call succeeded, which it must. */
static bool succeeds(const struct stream_truth *truth, int result, const char *what, uint64_t id)
{
	CHECK(result == 0 || (truth->forged && result == -EBADMSG), "%s of entry %" PRIu64 ": %d", what, id, result);
	return result == 0;
}

static void read_in_pieces(struct wal_stream *st, const struct stream_truth *truth, const struct wal_entry *entry)
{
	struct wal_entry_info info;
	struct wal_reader *reader;
	uint8_t piece[1000];
	size_t n;

	if (!succeeds(truth, wal_reader_open(st, entry->id, &reader, &info), "opening a reader", entry->id))
		return;
	CHECK(info.id == entry->id && (info.size == entry->size || truth->forged));
	for (uint64_t at = 0; at <= entry->size; at += n) {
		if (!succeeds(truth, wal_reader_read(reader, piece, sizeof piece, at, &n), "reading a piece", entry->id))
			break;
		CHECK(n <= entry->size - at && (n > 0) == (at < entry->size) && memcmp(piece, (const uint8_t *)entry->data + at, n) == 0);
		if (n == 0)
			break;
	}
	wal_reader_close(reader);
}

static void read_at_once(struct wal_stream *st, const struct stream_truth *truth, const struct wal_entry *entry, struct wal_buf *buf)
{
	struct wal_entry_info info;
	struct wal_entry batch[4];
	size_t count;

	if (succeeds(truth, wal_stream_get(st, entry->id, buf), "getting", entry->id))
		CHECK(buf->size == entry->size && memcmp(buf->data, entry->data, entry->size) == 0, "entry %" PRIu64, entry->id);
	if (succeeds(truth, wal_stream_lookup(st, entry->id, &info), "looking up", entry->id))
		CHECK(info.id == entry->id && info.size == entry->size && info.time_ns == entry->time_ns, "entry %" PRIu64, entry->id);
	if (succeeds(truth, wal_stream_get_batch(st, entry->id, 4, 4096, buf, batch, &count), "getting several", entry->id))
		CHECK(count > 0 && batch[0].id == entry->id && batch[0].size == entry->size && memcmp(batch[0].data, entry->data, entry->size) == 0);
}

static void find_offset(struct wal_stream *st, const struct stream_truth *truth, const struct wal_entry *entry)
{
	uint64_t offset, id, skip;

	if (!succeeds(truth, wal_stream_offset_of(st, entry->id, &offset), "the offset", entry->id) || entry->size == 0 || truth->forged)
		return;
	CHECK(wal_stream_id_at(st, offset, &id, &skip) == 0, "offset %" PRIu64 " of entry %" PRIu64, offset, entry->id);
	CHECK(id == entry->id && skip == 0, "offset %" PRIu64 ": %" PRIu64 ", expected %" PRIu64, offset, id, entry->id);
}

static void read_stream(struct wal_stream *st, struct stream_truth *truth)
{
	struct wal_stream_stat stat;
	struct wal_buf buf = { 0 };
	struct wal_entry entry;
	struct wal_iter *iter;
	uint64_t first, next, expected, steps = 0;
	int result;

	wal_stream_bounds(st, &first, &next, NULL);
	CHECK(first <= next);
	if (succeeds(truth, wal_stream_stat(st, &stat), "the figures", 0))
		CHECK(stat.first_id == first && stat.next_id == next && stat.entries == next - first);
	CHECK(wal_iter_new(st, 0, &iter) == 0);
	for (expected = first; (result = wal_iter_next(iter, &entry)) != WAL_END && result >= 0; expected = entry.id + (result == 0 ? 1 : entry.size)) {
		CHECK(entry.id == expected, "%" PRIu64 " after %" PRIu64 " (%d)", entry.id, expected, result);
		CHECK(++steps < STEPS_MAX);
		CHECK(result == 0 || (result == WAL_GAP && entry.size > 0), "%d", result);
		if (result == WAL_GAP) {
			CHECK(wal_stream_get(st, entry.id, &buf) < 0 || truth->forged, "entry %" PRIu64 " is in a gap and can be read", entry.id);
			continue;
		}
		CHECK(known_has(&truth->may, entry.id, entry.data, entry.size), "entry %" PRIu64 " (%zu bytes) is invented", entry.id, entry.size);
		read_at_once(st, truth, &entry, &buf);
		read_in_pieces(st, truth, &entry);
		find_offset(st, truth, &entry);
	}
	CHECK((result == WAL_END && expected == next) || (truth->forged && result == -EBADMSG), "%d, %" PRIu64 " of %" PRIu64, result, expected, next);
	wal_iter_free(iter);
	result = wal_stream_get(st, next, &buf);
	CHECK(result == WAL_NOT_FOUND, "%d", result);
	for (size_t i = 0; i < truth->must.count; i++) {
		const struct known *k = &truth->must.items[i];

		result = wal_stream_get(st, k->id, &buf);
		CHECK(truth->forged || (result == 0 && buf.size == k->size && crc32_update(0, buf.data, buf.size) == k->crc),
		      "entry %" PRIu64 ", served before: %d", k->id, result);
	}
	wal_buf_release(&buf);
}

/* All that is served now. */
static void remember(struct wal_stream *st, struct stream_truth *truth)
{
	struct wal_entry entry;
	struct wal_iter *iter;
	int result;

	truth->must.count = 0;
	CHECK(wal_iter_new(st, 0, &iter) == 0);
	while ((result = wal_iter_next(iter, &entry)) != WAL_END && result >= 0) {
		if (result == 0)
			known_add(&truth->must, entry.id, entry.data, entry.size);
	}
	CHECK(result == WAL_END || truth->forged, "%d", result);
	wal_iter_free(iter);
}

static void append_some(struct wal_stream *st, struct stream_truth *truth)
{
	struct wal_stream_stat stat;
	uint8_t data[200];
	uint64_t id;

	if (!succeeds(truth, wal_stream_stat(st, &stat), "the figures", 0))
		return;
	for (int i = 0; i < APPENDS; i++) {
		size_t size = (size_t)i * 90;

		memset(data, 'x' + i, sizeof data);
		int result = wal_stream_append(st, data, size, 0, &id);
		if (stat.health != WAL_HEALTHY)
			CHECK(result == -EIO, "%d", result);
		if (result < 0) {
			CHECK(stat.health != WAL_HEALTHY || (result == -EOVERFLOW && stat.next_id > IDS_END), "appending to %" PRIu64 ": %d", stat.next_id,
			      result);
			return;
		}
		CHECK(id == stat.next_id + (uint64_t)i);
		known_add(&truth->may, id, data, size);
	}
}

static void use_store(const struct scratch *s, const struct wal_options *opts, bool append, struct stream_truth truth[CONTAINER_STREAMS])
{
	struct wal_store *store;
	struct wal_stream *st;
	struct wal_error err = { 0 };
	size_t count;
	char **names;

	int result = wal_store_open(s->path, opts, &store, &err);
	if (result < 0) {
		CHECK(err.message[0] && err.code == result, "%d, %d", result, err.code);
		return;
	}
	CHECK(wal_store_list(store, &names, &count) == 0 && count <= CONTAINER_STREAMS);
	free(names);
	for (unsigned i = 0; i < CONTAINER_STREAMS; i++) {
		if (wal_stream_open(store, stream_names[i], 0, &st, NULL) < 0) {
			CHECK(truth[i].must.count == 0 || truth[i].forged);
			continue;
		}
		read_stream(st, &truth[i]);
		if (append) {
			append_some(st, &truth[i]);
			read_stream(st, &truth[i]);
		}
		remember(st, &truth[i]);
		wal_stream_close(st);
	}
	result = wal_store_close(store);
	CHECK(result == 0, "%d", result);
}

static void print_log(void *arg, enum wal_log_level level, const char *message)
{
	(void)arg;
	fprintf(stderr, "%d: %s\n", level, message);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct stream_truth truth[CONTAINER_STREAMS] = { 0 };
	struct scratch s;

	if (size < CONTAINER_HEADER_BYTES)
		return 0;
	struct wal_options opts = {
		.segment_size = (uint64_t)4096 << data[1] % 5,
		.on_corruption = data[0] % 3,
		.read = data[0] & OPTION_MMAP ? WAL_READ_MMAP : WAL_READ_IO,
		.compression = data[0] & OPTION_LZ4 ? WAL_COMPRESSION_LZ4 : WAL_COMPRESSION_NONE,
		.min_compression_size = 16,
		.read_buffer = 4096,
		.block_cache = 65536,
		.ro = data[0] & OPTION_RO_FIRST,
		/* For a look at an input that failed. */
		.log = getenv("FUZZ_LOG") ? print_log : NULL,
	};
	scratch_make(&s);
	unpack(&s, data, size, truth);
	if (opts.ro)
		use_store(&s, &opts, false, truth);
	/* What on_corruption=truncate cuts off could be read before. */
	for (unsigned i = 0; i < CONTAINER_STREAMS && opts.on_corruption == WAL_ON_CORRUPTION_TRUNCATE; i++)
		truth[i].must.count = 0;
	opts.ro = false;
	use_store(&s, &opts, true, truth);
	use_store(&s, &opts, false, truth);
	scratch_remove(&s);
	for (unsigned i = 0; i < CONTAINER_STREAMS; i++) {
		free(truth[i].may.items);
		free(truth[i].must.items);
	}
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	struct container_file f;

	size = LLVMFuzzerMutate(data, size, max_size);
	if (seed % 4 == 0 || size < CONTAINER_HEADER_BYTES)
		return size;
	for (size_t pos = CONTAINER_HEADER_BYTES; container_next(data, size, &pos, &f);) {
		uint8_t *bytes = data + (f.data - data);

		if (f.kind == FILE_SEGMENT)
			fuzz_fix_frames(bytes, f.size, f.id, seed / 4);
		else if (f.kind == FILE_META && seed % 8 < 3)
			fuzz_fix_meta(bytes, f.size);
		seed = seed * 1103515245 + 12345;
	}
	return size;
}
