/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small store of several segments, one bit of it flipped, opened and read in every way: what is served must be right, what cannot be must be -EBADMSG, and a flip must not
 * make any entry unreadable but those of the frame it is in. The same with the names of its files. With a store that was closed, with one as a crash leaves it, whose active
 * segment has no sidecar, and with one that has no sidecars at all. Some entries hold whole valid frames, which must never be taken for frames of the stream. The store has
 * checkpoints: a flip in checkpoints.log may cost the one whose record it is in, one in HEAD none.
 *
 *	WALFS_EVERY_BIT=1	really all bits: else those of payloads and of unused parts of sidecars are sampled
 *	WALFS_TEST_SEED		which of them
 */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bytes.h"
#include "crc32.h"
#include "frame.h"
#include "memfs.h"
#include "meta.h"
#include "names.h"
#include "random.h"
#include "stores.h"
#include "test.h"

#define STORE_NAME "store"
#define STORE "/" STORE_NAME

enum {
	STREAMS = 2,
	ENTRIES_MAX = 64,
	ENTRY_MAX = 512,
	CHECKPOINTS = 3,
	VIOLATIONS_PRINTED = 10,
};

/* One begins as a record does. */
static const struct {
	const char *bytes;
	size_t size;
} checkpoint_ids[CHECKPOINTS] = { { "first", 5 }, { "CKPT\0\1", 6 }, { "z", 1 } };

static const char *const kind_names[] = { "", "crashed ", "bare ", "sharded " };

struct entry {
	uint8_t data[ENTRY_MAX];
	size_t size;
};

/* Which entries of a stream a flip may cost. */
struct toll {
	int stream; /* -1: none */
	uint64_t first;
	uint64_t end;
	bool last_frame; /* of the active segment: a torn end, as far as anyone can tell */
	bool any;	 /* a name of the stream's was changed: nothing is promised but that what is served is right */
	unsigned checkpoints; /* bit i: checkpoint i may be gone */
	bool head;	      /* the latest may be another one */
};

struct bits {
	struct random random;
	bool all;
	enum kind { CLOSED, CRASHED, BARE, SHARDED } kind;
	struct memfs good;
	struct memfs disk;
	struct entry entries[STREAMS][ENTRIES_MAX];
	uint64_t count[STREAMS];
	uint64_t active[STREAMS]; /* first id of the active segment */
	uint64_t cuts[CHECKPOINTS][STREAMS];
	size_t record_ends[CHECKPOINTS]; /* in checkpoints.log */
	struct logged logged;
	/* what came of them */
	uint64_t flips;
	uint64_t with_loss;
	uint64_t checkpoints_lost;
	uint64_t read_only;
	uint64_t cut;
	uint64_t refused;
	uint64_t violations;
	char why[400];
};

__attribute__((format(printf, 2, 3))) static bool violated(struct bits *b, const char *format, ...)
{
	va_list args;

	if (!b->why[0]) {
		va_start(args, format);
		vsnprintf(b->why, sizeof b->why, format, args);
		va_end(args);
	}
	return false;
}

static const char *stream_name(const struct bits *b, int stream)
{
	static const char *const names[STREAMS] = { "s", "t" }, *const shards[STREAMS] = { "shard_00", "shard_01" };

	return b->kind == SHARDED ? shards[stream] : names[stream];
}

/* ---- The store ---- */

enum content { RANDOM, PACKS, IMPOSTOR };

/* A valid frame with the id of the entry that it is in. */
static void fill_impostor(struct entry *e, uint64_t id)
{
	struct frame_header h = { .start_id = id, .entry_count = 1, .type = FRAME_RAW, .disk_size = 12, .raw_size = 12 };
	uint8_t *payload = e->data + FRAME_HEADER_BYTES;

	put_le32(payload, 8);
	memcpy(payload + FRAME_LENGTH_BYTES, "impostor", 8);
	h.crc = crc32_update(frame_crc_begin(h.start_id, h.entry_count, h.type, h.disk_size), payload, h.disk_size);
	/* As ironwal writes them, or as this library does elsewhere. */
	if (id % 2 == 1)
		frame_set_mark(&h, id + 1, 4096);
	frame_encode_header(e->data, &h);
	e->size = FRAME_HEADER_BYTES + h.disk_size;
}

static void fill_entry(struct entry *e, unsigned stream, uint64_t id, size_t size, enum content content)
{
	int n = snprintf((char *)e->data, ENTRY_MAX, "%u:%" PRIu64 ";", stream, id);

	e->size = size;
	if (content == PACKS)
		memset(e->data + n, 'x', ENTRY_MAX - (size_t)n);
	else
		random_fill(2 * id + 1, e->data + n, ENTRY_MAX - (size_t)n);
	if (content == IMPOSTOR)
		fill_impostor(e, id);
}

static void append(struct bits *b, struct wal_stream *st, unsigned stream, size_t size, enum content content)
{
	uint64_t id;
	struct entry *e = &b->entries[stream][b->count[stream]];

	fill_entry(e, stream, b->count[stream], size, content);
	assert_int_equal(wal_stream_append(st, e->data, e->size, 0, &id), 0);
	assert_int_equal(id, b->count[stream]++);
}

static void append_batch(struct bits *b, struct wal_stream *st, unsigned stream, size_t count, size_t size, enum content content)
{
	struct iovec iov[8];
	uint64_t id;

	for (size_t i = 0; i < count; i++) {
		struct entry *e = &b->entries[stream][b->count[stream] + i];

		fill_entry(e, stream, b->count[stream] + i, size + i, content);
		iov[i] = (struct iovec){ e->data, e->size };
	}
	assert_int_equal(wal_stream_append_batch(st, iov, count, 0, &id), 0);
	assert_int_equal(id, b->count[stream]);
	b->count[stream] += count;
}

/* Raw and compressed, single and in batches, with an empty one and one that comes last in its segment. */
static void fill_stream(struct bits *b, struct wal_stream *st, unsigned stream)
{
	append(b, st, stream, 21, RANDOM);
	append(b, st, stream, 0, RANDOM);
	append(b, st, stream, 44, RANDOM);
	assert_int_equal(wal_stream_rotate(st), 0);
	append_batch(b, st, stream, 3, 17, RANDOM);
	append(b, st, stream, 300, PACKS);
	append(b, st, stream, 0, IMPOSTOR);
	append_batch(b, st, stream, 2, 180, PACKS);
	assert_int_equal(wal_stream_rotate(st), 0);
	append(b, st, stream, 0, IMPOSTOR);
	append(b, st, stream, 30, RANDOM);
	assert_int_equal(wal_stream_rotate(st), 0);
	b->active[stream] = b->count[stream];
	append(b, st, stream, 12, RANDOM);
	append(b, st, stream, 0, IMPOSTOR);
	append_batch(b, st, stream, 2, 150, PACKS);
	append_batch(b, st, stream, 3, 5, RANDOM);
	append(b, st, stream, 9, RANDOM);
}

static struct wal_options make_options(const struct bits *b)
{
	return (struct wal_options){ .compression = WAL_COMPRESSION_LZ4, .min_compression_size = 64, .segment_size = 4096, .read_buffer = 4096,
				     .shards = b->kind == SHARDED ? STREAMS : 0 };
}

/* Of the active segment, or of all. */
static void remove_sidecars(struct bits *b, unsigned stream)
{
	struct sys *sys = &b->good.sys;
	int root = sys->openat(sys, AT_FDCWD, STORE, O_RDONLY | O_DIRECTORY, 0);
	int dir = sys->openat(sys, root, stream_name(b, stream), O_RDONLY | O_DIRECTORY, 0);
	char name[NAME_SEGMENT_MAX];

	for (uint64_t id = b->kind == BARE ? 0 : b->active[stream]; b->kind != CLOSED && b->kind != SHARDED && id <= b->active[stream]; id++) {
		int result = sys->unlinkat(sys, dir, name_meta(name, id), 0);

		assert_true(result == 0 || (result == -ENOENT && id < b->active[stream]));
	}
	sys->close(sys, dir);
	sys->close(sys, root);
}

static struct memfs_node *log_of(struct bits *b)
{
	return memfs_find(&b->good, (unsigned)memfs_lookup(&b->good, MEMFS_ROOT, STORE_NAME), "checkpoints.log");
}

static void make_checkpoint(struct bits *b, struct wal_store *store, unsigned number)
{
	assert_int_equal(wal_checkpoint_create(store, checkpoint_ids[number].bytes, checkpoint_ids[number].size, 0, NULL), 0);
	memcpy(b->cuts[number], b->count, sizeof b->cuts[number]);
	b->record_ends[number] = log_of(b)->size;
}

static void build(struct bits *b)
{
	struct wal_options opts = make_options(b);
	struct wal_store *store;
	struct wal_stream *st;

	assert_int_equal(store_open(&b->good.sys, STORE, &opts, &store, NULL), 0);
	make_checkpoint(b, store, 0);
	for (unsigned s = 0; s < STREAMS; s++) {
		assert_int_equal(wal_stream_open(store, stream_name(b, s), WAL_CREATE, &st, NULL), 0);
		if (s == 0) {
			fill_stream(b, st, s);
		} else {
			append(b, st, s, 10, RANDOM);
			append(b, st, s, 11, RANDOM);
		}
		wal_stream_close(st);
		make_checkpoint(b, store, 1 + s);
	}
	memfs_set_dead(&b->good, b->kind == CRASHED);
	wal_store_close(store);
	memfs_set_dead(&b->good, false);
	for (unsigned s = 0; s < STREAMS; s++)
		remove_sidecars(b, s);
}

/* ---- Reading all of it ---- */

static bool is_right(const struct bits *b, unsigned stream, uint64_t id, const void *data, size_t size)
{
	const struct entry *e = &b->entries[stream][id];

	return size == e->size && (size == 0 || memcmp(data, e->data, size) == 0);
}

/* Marks what can be read, and by all ways alike. */
static bool read_one_by_one(struct bits *b, struct wal_stream *st, unsigned stream, uint64_t next, bool *readable)
{
	struct wal_buf buf = { 0 };
	bool good = true;

	for (uint64_t id = 0; id < next && good; id++) {
		struct wal_entry_info info;
		struct wal_reader *reader;
		uint8_t piece[ENTRY_MAX];
		size_t n = 0;
		int result = wal_stream_get(st, id, &buf);

		if (result != 0 && result != -EBADMSG)
			good = violated(b, "entry %" PRIu64 ": %s", id, wal_strerror(result));
		else if (result == 0 && !is_right(b, stream, id, buf.data, buf.size))
			good = violated(b, "entry %" PRIu64 " is served and is not what was appended", id);
		readable[id] = result == 0;
		result = wal_stream_lookup(st, id, &info);
		if (good && (result != 0 || info.size != b->entries[stream][id].size) && (readable[id] || result != -EBADMSG))
			good = violated(b, "lookup of entry %" PRIu64 ": %s", id, wal_strerror(result));
		result = wal_reader_open(st, id, &reader, NULL);
		if (result == 0) {
			result = wal_reader_read(reader, piece, sizeof piece, 0, &n);
			wal_reader_close(reader);
		}
		if (good && (readable[id] ? result != 0 || !is_right(b, stream, id, piece, n) : result != -EBADMSG))
			good = violated(b, "reading entry %" PRIu64 " in pieces: %s", id, wal_strerror(result));
	}
	wal_buf_release(&buf);
	return good;
}

/* What is served is right; nothing else is asked. Ids that there never were must not be served. */
static bool read_what_there_is(struct bits *b, struct wal_stream *st, unsigned stream)
{
	struct wal_buf buf = { 0 };
	struct wal_entry e;
	struct wal_iter *it;
	bool good = true, end = false;

	for (uint64_t id = 0; id < b->count[stream] && good; id++) {
		if (wal_stream_get(st, id, &buf) == 0 && !is_right(b, stream, id, buf.data, buf.size))
			good = violated(b, "entry %" PRIu64 " is served and is not what was appended", id);
	}
	wal_buf_release(&buf);
	assert_int_equal(wal_iter_new(st, 0, &it), 0);
	for (unsigned i = 0; i < 2 * ENTRIES_MAX && good && !end; i++) {
		int result = wal_iter_next(it, &e);

		if (result == 0 && (e.id >= b->count[stream] || !is_right(b, stream, e.id, e.data, e.size)))
			good = violated(b, "iterating, entry %" PRIu64 " is served and is wrong", e.id);
		end = result != 0 && result != WAL_GAP;
	}
	if (good && !end)
		good = violated(b, "iterating comes to no end");
	wal_iter_free(it);
	return good;
}

static bool iterate(struct bits *b, struct wal_stream *st, unsigned stream, uint64_t next, const bool *readable)
{
	struct wal_entry e;
	struct wal_iter *it;
	uint64_t id = 0;
	bool good = true;

	assert_int_equal(wal_iter_new(st, 0, &it), 0);
	while (id < next && good) {
		int result = wal_iter_next(it, &e);

		if ((result != 0 && result != WAL_GAP) || e.id != id) {
			good = violated(b, "iterating at %" PRIu64 ": %s", id, wal_strerror(result));
		} else if (result == 0) {
			good = (readable[id] && is_right(b, stream, id, e.data, e.size)) ||
			       violated(b, "iterating, entry %" PRIu64 " is served and %s", id, readable[id] ? "is wrong" : "was not by its id");
			id++;
		} else {
			for (uint64_t i = 0; i < e.size && good; i++) {
				good = (id + i < next && !readable[id + i]) ||
				       violated(b, "iterating, entry %" PRIu64 " is passed over", id + i);
			}
			id += e.size;
		}
	}
	if (good && wal_iter_next(it, &e) != WAL_END)
		good = violated(b, "iterating goes on behind the end");
	wal_iter_free(it);
	return good;
}

static bool read_batches(struct bits *b, struct wal_stream *st, unsigned stream, uint64_t next, const bool *readable)
{
	struct wal_entry e[ENTRIES_MAX];
	struct wal_buf buf = { 0 };
	bool good = true;

	for (uint64_t id = 0; id < next && good; id++) {
		size_t count = 0;
		int result = wal_stream_get_batch(st, id, ENTRIES_MAX, 1 << 20, &buf, e, &count);

		if (readable[id] ? result != 0 || count == 0 : result != -EBADMSG)
			good = violated(b, "a batch from entry %" PRIu64 ": %s", id, wal_strerror(result));
		for (size_t i = 0; i < count && good; i++)
			good = (e[i].id == id + i && readable[id + i] && is_right(b, stream, id + i, e[i].data, e[i].size)) ||
			       violated(b, "a batch from entry %" PRIu64 " has a wrong entry", id);
		if (good && count > 0 && id + count < next && readable[id + count])
			good = violated(b, "a batch from entry %" PRIu64 " ends after %zu before an intact one", id, count);
	}
	wal_buf_release(&buf);
	return good;
}

/* They need not make sense around what is damaged, but must come back. */
static void ask_for_offsets(struct wal_stream *st, uint64_t next)
{
	uint64_t offset, id, skip;

	for (uint64_t i = 0; i <= next; i++) {
		if (wal_stream_offset_of(st, i, &offset) == 0)
			(void)wal_stream_id_at(st, offset, &id, &skip);
	}
}

/* ---- What a flip may cost ---- */

static bool check_losses(struct bits *b, unsigned stream, const struct toll *toll, uint64_t next, const bool *readable)
{
	bool own = toll->stream == (int)stream, loss = false;

	if (next != b->count[stream]) {
		if (!own || !toll->last_frame || next != toll->first)
			return violated(b, "stream '%s' has %" PRIu64 " entries, not %" PRIu64, stream_name(b, stream), next, b->count[stream]);
		b->cut++;
		loss = true;
	}
	for (uint64_t id = 0; id < next; id++) {
		if (readable[id])
			continue;
		loss = true;
		if (!own || id < toll->first || id >= toll->end)
			return violated(b, "entry %" PRIu64 " of '%s' can't be read", id, stream_name(b, stream));
	}
	b->with_loss += loss;
	return true;
}

static bool check_stream(struct bits *b, struct wal_store *store, unsigned stream, const struct toll *toll)
{
	bool readable[ENTRIES_MAX + 1] = { false };
	struct wal_stream_stat stat = { 0 };
	struct wal_stream *st;
	bool any = toll->any && toll->stream == (int)stream;
	uint64_t next, id;
	int result = wal_stream_open(store, stream_name(b, stream), 0, &st, NULL);

	if (result != 0)
		return any || violated(b, "stream '%s' is gone: %s", stream_name(b, stream), wal_strerror(result));
	result = wal_stream_stat(st, &stat);
	if (result != 0 && !any)
		violated(b, "stream '%s' has no figures: %s", stream_name(b, stream), wal_strerror(result));
	wal_stream_bounds(st, NULL, &next, NULL);
	b->read_only += stat.health != WAL_HEALTHY;
	bool good;
	if (any) {
		good = read_what_there_is(b, st, stream);
	} else {
		uint64_t end = next < b->count[stream] ? next : b->count[stream];

		good = read_one_by_one(b, st, stream, end, readable) && check_losses(b, stream, toll, next, readable) &&
		       iterate(b, st, stream, end, readable) && read_batches(b, st, stream, end, readable);
		ask_for_offsets(st, end);
	}
	if (good && stat.health == WAL_HEALTHY && !wal_store_options(store)->ro && random_below(&b->random, 4) == 0 && !any) {
		result = wal_stream_append(st, "more", 4, 0, &id);
		if (result != 0 || id != next)
			good = violated(b, "appending to '%s': %s, id %" PRIu64, stream_name(b, stream), wal_strerror(result), id);
	}
	wal_stream_close(st);
	return good;
}

/* Checkpoint `number` has its cut: of the streams that were there when it was made. */
static bool check_checkpoint(struct bits *b, struct wal_store *store, unsigned number)
{
	struct wal_checkpoint *c;
	int result = wal_checkpoint_load(store, checkpoint_ids[number].bytes, checkpoint_ids[number].size, &c);

	if (result != 0)
		return violated(b, "checkpoint %u is listed and does not load: %s", number, wal_strerror(result));
	/* Shards are there from the beginning on. */
	size_t known = b->kind == SHARDED ? STREAMS : number;
	bool good = c->cut_count == known;
	for (unsigned s = 0; s < known && good; s++)
		good = strcmp(c->cuts[s].stream, stream_name(b, s)) == 0 && c->cuts[s].next_id == b->cuts[number][s];
	free(c);
	return good || violated(b, "checkpoint %u is there and is not as it was made", number);
}

static int checkpoint_number(const struct wal_checkpoint *c)
{
	for (unsigned i = 0; i < CHECKPOINTS; i++) {
		if (c->id_size == checkpoint_ids[i].size && memcmp(c->id, checkpoint_ids[i].bytes, c->id_size) == 0)
			return (int)i;
	}
	return -1;
}

static bool check_latest(struct bits *b, struct wal_store *store, const struct toll *toll, int newest)
{
	struct wal_checkpoint *c;
	int result = wal_checkpoint_latest(store, &c);

	if (newest < 0)
		return result == WAL_NOT_FOUND || violated(b, "there is no checkpoint, and the latest is: %s", wal_strerror(result));
	if (result != 0)
		return violated(b, "the latest checkpoint: %s", wal_strerror(result));
	int number = checkpoint_number(c);
	free(c);
	return number == newest || (number >= 0 && toll->head) || violated(b, "the latest is checkpoint %d, not %d", number, newest);
}

static bool check_checkpoints(struct bits *b, struct wal_store *store, const struct toll *toll)
{
	struct wal_checkpoint *list;
	size_t count, at = 0;
	int newest = -1;
	bool good = true;

	assert_int_equal(wal_checkpoint_list(store, &list, &count), 0);
	for (unsigned i = 0; i < CHECKPOINTS && good; i++) {
		if (at < count && checkpoint_number(&list[at]) == (int)i) {
			good = check_checkpoint(b, store, i);
			newest = (int)i;
			at++;
		} else if (toll->checkpoints & 1u << i) {
			b->checkpoints_lost++;
		} else {
			good = violated(b, "checkpoint %u is gone", i);
		}
	}
	if (good && at < count)
		good = violated(b, "there is a checkpoint that nobody made");
	free(list);
	return good && check_latest(b, store, toll, newest);
}

/* That it goes on: and finds it again. */
static bool check_checkpoints_go_on(struct bits *b, struct wal_store *store)
{
	struct wal_checkpoint *c;
	struct wal_error err;

	if (wal_checkpoint_create(store, "more", 4, 0, &err) != 0)
		return violated(b, "no checkpoint can be made: %s", err.message);
	int result = wal_checkpoint_latest(store, &c);
	if (result != 0)
		return violated(b, "a checkpoint was made, and the latest is: %s", wal_strerror(result));
	bool good = c->id_size == 4 && memcmp(c->id, "more", 4) == 0;
	free(c);
	return good || violated(b, "a checkpoint was made, and is not the latest");
}

/* Opens sim->disk as it is and reads all of it. */
static bool check_disk(struct bits *b, const struct toll *toll)
{
	struct wal_options opts = make_options(b);
	struct wal_error err = { 0 };
	struct wal_store *store;

	opts.read = b->flips % 3 == 0 ? WAL_READ_MMAP : WAL_READ_IO;
	opts.ro = b->flips % 5 == 0;
	opts.log = logged_write;
	opts.log_arg = &b->logged;
	int result = store_open(&b->disk.sys, STORE, &opts, &store, &err);
	if (result < 0) {
		b->refused++;
		return violated(b, "the store does not open: %s", err.message);
	}
	bool good = true;
	for (unsigned s = 0; s < STREAMS && good; s++)
		good = check_stream(b, store, s, toll);
	good = good && check_checkpoints(b, store, toll);
	/* A damaged stream can't be synced. */
	if (good && !opts.ro && toll->checkpoints | toll->head)
		good = check_checkpoints_go_on(b, store);
	result = wal_store_close(store);
	if (good && result != 0)
		good = violated(b, "closing: %s", wal_strerror(result));
	if (good && (b->disk.open_fds != 0 || b->disk.mapped != 0))
		good = violated(b, "%ld descriptors and %ld mappings are left", b->disk.open_fds, b->disk.mapped);
	return good;
}

/* ---- Flipping ---- */

__attribute__((format(printf, 3, 4))) static void try_disk(struct bits *b, const struct toll *toll, const char *format, ...)
{
	va_list args;

	b->why[0] = '\0';
	b->flips++;
	logged_release(&b->logged);
	if (check_disk(b, toll))
		return;
	if (++b->violations > VIOLATIONS_PRINTED)
		return;
	char what[300];
	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	print_message("# violation: %s: %s\n%s", what, b->why, b->logged.text ? b->logged.text : "");
}

/* The frame of a segment in which a byte is, and what a flip there may cost. */
static struct toll toll_of(const struct bits *b, int stream, const struct memfs_node *file, uint64_t id, size_t at)
{
	struct toll toll = { .stream = stream };
	size_t offset = 0;
	struct frame_header h;

	while (offset < file->size && frame_decode_header(file->data + offset, &h) == FRAME_OK) {
		size_t end = offset + FRAME_HEADER_BYTES + h.disk_size;

		if (at < end) {
			bool hint = at >= offset + FRAME_OFF_RAW_SIZE && at < offset + FRAME_HEADER_BYTES;

			toll.first = h.start_id;
			toll.end = hint ? h.start_id : h.start_id + h.entry_count;
			toll.last_frame = b->kind != CLOSED && !hint && id == b->active[stream] && h.start_id + h.entry_count == b->count[stream];
			return toll;
		}
		offset = end;
	}
	return toll; /* preallocated space */
}

static bool in_payload(const struct memfs_node *file, size_t at)
{
	size_t offset = 0;
	struct frame_header h;

	while (offset < file->size && frame_decode_header(file->data + offset, &h) == FRAME_OK) {
		if (at < offset + FRAME_HEADER_BYTES)
			return false;
		offset += FRAME_HEADER_BYTES + h.disk_size;
		if (at < offset)
			return true;
	}
	return true;
}

/* Of each 8 bits how many are tried there. */
static unsigned density(const struct bits *b, const char *name, const struct memfs_node *file, size_t at)
{
	uint64_t id;

	if (b->all)
		return 8;
	if (name_is_segment(name, &id))
		return in_payload(file, at) ? 1 : 8;
	if (name_is_meta(name, &id))
		return at % META_BLOCK_BYTES < META_OFF_RECORDS + 48 ? 2 : 1;
	return 8;
}

/* In a file of the root. */
static struct toll toll_in_root(const struct bits *b, const char *name, size_t at)
{
	struct toll toll = { .stream = -1, .head = strcmp(name, "HEAD") == 0 };

	for (unsigned i = 0; strcmp(name, "checkpoints.log") == 0 && toll.checkpoints == 0 && i < CHECKPOINTS; i++)
		toll.checkpoints = at < b->record_ends[i] ? 1u << i : 0;
	return toll;
}

static void flip_bits_of(struct bits *b, int stream, const char *name, unsigned number)
{
	const struct memfs_node *file = &b->good.nodes[number];
	size_t size = file->size;
	uint64_t id = 0, flips = b->flips, loss = b->with_loss, read_only = b->read_only, cut = b->cut, violations = b->violations;
	uint64_t lost = b->checkpoints_lost;
	bool segment = name_is_segment(name, &id);

	/* Of the space allocated ahead a little. */
	while (segment && !b->all && size > 0 && file->data[size - 1] == 0)
		size--;
	size = segment && size + 40 < file->size ? size + 40 : size;
	for (size_t at = number % test_thinning(); at < size; at += test_thinning()) {
		struct toll toll = segment ? toll_of(b, stream, file, id, at) : toll_in_root(b, stream < 0 ? name : "", at);
		unsigned bits = density(b, name, file, at), skip = (unsigned)random_below(&b->random, 8);

		for (unsigned i = 0; i < bits; i++) {
			unsigned bit = (skip + i) % 8;

			memfs_copy(&b->good, &b->disk);
			b->disk.nodes[number].data[at] ^= (uint8_t)(1u << bit);
			try_disk(b, &toll, "%s%s/%s, byte %zu, bit %u", kind_names[b->kind], stream < 0 ? "" : stream_name(b, stream), name, at, bit);
		}
	}
	if (stream < 0)
		print_message("# %s%s: %" PRIu64 " flips, %" PRIu64 " cost the checkpoint whose record they are in\n", kind_names[b->kind], name, b->flips - flips,
			      b->checkpoints_lost - lost);
	else
		print_message("# %s%s/%s: %" PRIu64 " flips: %" PRIu64 " cost entries of their frame, %" PRIu64 " left the stream read-only, %" PRIu64
		      " cut the last frame off, %" PRIu64 " violations\n",
		      kind_names[b->kind], stream < 0 ? "" : stream_name(b, stream), name, b->flips - flips, b->with_loss - loss, b->read_only - read_only, b->cut - cut,
		      b->violations - violations);
}

static void for_files(struct bits *b, void (*visit)(struct bits *, int stream, const char *name, unsigned number))
{
	int root = memfs_lookup(&b->good, MEMFS_ROOT, STORE_NAME);
	const struct memfs_node *dir = &b->good.nodes[root];

	for (size_t i = 0; i < dir->name_count; i++) {
		const struct memfs_node *node = &b->good.nodes[dir->names[i].node];
		int stream = strcmp(dir->names[i].name, stream_name(b, 0)) == 0 ? 0 : 1;

		if (!node->dir)
			visit(b, -1, dir->names[i].name, dir->names[i].node);
		for (size_t n = 0; node->dir && n < node->name_count; n++)
			visit(b, stream, node->names[n].name, node->names[n].node);
	}
}

static void with_store(enum kind kind, void (*work)(struct bits *b))
{
	const char *seed = getenv("WALFS_TEST_SEED"), *all = getenv("WALFS_EVERY_BIT");
	struct bits *b = calloc(1, sizeof *b);

	assert_non_null(b);
	b->random.state = seed && *seed ? strtoull(seed, NULL, 0) : 20251;
	b->all = all && *all && strcmp(all, "0") != 0;
	b->kind = kind;
	pthread_mutex_init(&b->logged.lock, NULL);
	memfs_init(&b->good);
	memfs_init(&b->disk);
	build(b);
	/* It is whole before anything is flipped. */
	memfs_copy(&b->good, &b->disk);
	try_disk(b, &(struct toll){ .stream = -1 }, "nothing");
	b->flips = 0;
	work(b);
	uint64_t violations = b->violations;
	memfs_release(&b->good);
	memfs_release(&b->disk);
	logged_release(&b->logged);
	pthread_mutex_destroy(&b->logged.lock);
	free(b);
	assert_int_equal(violations, 0);
}

static void flip_contents(struct bits *b)
{
	for_files(b, flip_bits_of);
	print_message("# %" PRIu64 " bits flipped\n", b->flips);
}

static void every_bit_of_a_closed_store(void **state)
{
	(void)state;
	with_store(CLOSED, flip_contents);
}

static void every_bit_of_a_store_after_a_crash(void **state)
{
	(void)state;
	with_store(CRASHED, flip_contents);
}

static void flip_root(struct bits *b)
{
	int root = memfs_lookup(&b->good, MEMFS_ROOT, STORE_NAME);
	const struct memfs_node *dir = &b->good.nodes[root];

	for (size_t i = 0; i < dir->name_count; i++) {
		if (!b->good.nodes[dir->names[i].node].dir)
			flip_bits_of(b, -1, dir->names[i].name, dir->names[i].node);
	}
}

/* Whose checkpoints are written in another way. */
static void every_bit_of_the_root_of_a_sharded_store(void **state)
{
	(void)state;
	with_store(SHARDED, flip_root);
}

static void every_bit_of_a_store_without_sidecars(void **state)
{
	(void)state;
	with_store(BARE, flip_contents);
}

/* ---- Names ---- */

/* False if the name can't be, or is there already. */
static bool rename_in(struct bits *b, int stream, const char *name, const char *other)
{
	struct sys *sys = &b->disk.sys;
	int root = sys->openat(sys, AT_FDCWD, STORE, O_RDONLY | O_DIRECTORY, 0);
	int dir = sys->openat(sys, root, stream < 0 ? "." : stream_name(b, stream), O_RDONLY | O_DIRECTORY, 0);
	struct stat sb;
	bool can = strlen(other) == strlen(name) && !strchr(other, '/') && sys->fstatat(sys, dir, other, &sb) == -ENOENT;

	if (can)
		assert_int_equal(sys->renameat(sys, dir, name, other), 0);
	sys->close(sys, dir);
	sys->close(sys, root);
	return can;
}

/* One bit of a file's name: it may be anything then. Entries may be missing, none may be wrong, and nothing outside of the stream may suffer. */
static void flip_bits_of_name(struct bits *b, int stream, const char *name, unsigned number)
{
	const struct toll toll = { .stream = stream, .any = true, .checkpoints = stream < 0 ? (1u << CHECKPOINTS) - 1 : 0, .head = true };
	char other[NAME_SEGMENT_MAX];

	(void)number;
	for (size_t bit = 0; bit < 8 * strlen(name); bit++) {
		snprintf(other, sizeof other, "%s", name);
		other[bit / 8] ^= (char)(1u << bit % 8);
		memfs_copy(&b->good, &b->disk);
		if (rename_in(b, stream, name, other))
			try_disk(b, &toll, "%s/%s named %s", stream < 0 ? "" : stream_name(b, stream), name, other);
	}
}

static void flip_names(struct bits *b)
{
	for_files(b, flip_bits_of_name);
	print_message("# %" PRIu64 " names changed: %" PRIu64 " streams read-only\n", b->flips, b->read_only);
}

static void every_bit_of_every_name(void **state)
{
	(void)state;
	with_store(CLOSED, flip_names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_bit_of_a_closed_store),
		cmocka_unit_test(every_bit_of_a_store_after_a_crash),
		cmocka_unit_test(every_bit_of_a_store_without_sidecars),
		cmocka_unit_test(every_bit_of_the_root_of_a_sharded_store),
		cmocka_unit_test(every_bit_of_every_name),
	};

	return TEST_RUN(tests);
}
