/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wal_verify() and wal_repair() over stores that are damaged in every way there is: each thing is found where it is, with its ids; a repair changes nothing but what it
 * says, keeps every byte and every intact entry, and can die anywhere.
 *
 * The store has the stream "s" with the entries 0 … 34 in the segments 0, 10, 20 and 30, and a small stream "t" beside it, which must never be touched. It is linked so that
 * the library's sys_real() comes from here.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <dirent.h>

#include "damage.h"
#include "faultsys.h"
#include "frames.h"
#include "random.h"
#include "snapshot.h"
#include "stores.h"
#include "test.h"
#include "tmpdir.h"

enum {
	SEGMENT_ENTRIES = 10,
	MANY = 35,
	OTHERS = 3, /* entries of the other stream */
	BATCH = 5,
	FOUND_MAX = 32,
	IDS_MAX = 64,
};

/* ---- The system calls that the library gets ---- */

static struct sys *calls; /* NULL: the real ones, without syncs */

struct sys *__real_sys_real(void);
struct sys *__wrap_sys_real(void);

static int no_sync(struct sys *sys, int fd)
{
	(void)sys;
	(void)fd;
	return 0;
}

/* Nothing here loses power, so syncs would only take time. */
struct sys *__wrap_sys_real(void)
{
	static struct sys quick;

	if (!quick.openat) {
		quick = *__real_sys_real();
		quick.fsync = no_sync;
		quick.fdatasync = no_sync;
	}
	return calls ? calls : &quick;
}

/* ---- Stores ---- */

enum layout {
	SINGLES,
	BATCHES,
	SINGLES_LZ4,
	BATCHES_LZ4,
	LAYOUTS,
};

struct place {
	struct tmpdir dir;
	char path[PATH_MAX];
	char pristine[PATH_MAX]; /* a copy, as it was made */
	struct wal_options opts;
	enum layout layout;
	int64_t times[MANY]; /* 0: not known */
	bool lost[IDS_MAX]; /* ids that the damage costs */
};

static void append_batch(struct wal_stream *st, uint64_t first)
{
	uint8_t bufs[BATCH][ENTRY_SIZE_MAX];
	struct iovec iov[BATCH];
	uint64_t id;

	for (size_t i = 0; i < BATCH; i++) {
		size_t size;

		iov[i].iov_base = (void *)entry_content(first + i, bufs[i], &size);
		iov[i].iov_len = size;
	}
	assert_int_equal(wal_stream_append_batch(st, iov, BATCH, 0, &id), 0);
	assert_int_equal(id, first);
}

static void fill(struct place *p)
{
	struct wal_store *store = store_open_or_fail(p->path, &p->opts);
	struct wal_stream *st = stream_open_or_fail(store, "s");
	struct wal_entry_info info;

	if (p->layout == BATCHES || p->layout == BATCHES_LZ4) {
		for (uint64_t id = 0; id < MANY; id += BATCH)
			append_batch(st, id);
	} else {
		stream_fill(st, 0, MANY);
	}
	for (uint64_t id = 0; id < MANY; id++) {
		assert_int_equal(wal_stream_lookup(st, id, &info), 0);
		p->times[id] = info.time_ns;
	}
	wal_stream_close(st);
	st = stream_open_or_fail(store, "t");
	stream_fill(st, 0, OTHERS);
	wal_stream_close(st);
	store_close_or_fail(store);
}

static void place_make(struct place *p, enum layout layout)
{
	*p = (struct place){ .layout = layout, .opts = { .segment_entries = SEGMENT_ENTRIES } };
	if (layout == SINGLES_LZ4 || layout == BATCHES_LZ4) {
		p->opts.compression = WAL_COMPRESSION_LZ4;
		p->opts.min_compression_size = 64;
	}
	tmpdir_make(&p->dir, "check");
	tmpdir_path(&p->dir, "store", p->path);
	tmpdir_path(&p->dir, "pristine", p->pristine);
	fill(p);
	copy_tree(p->path, p->pristine);
}

static void remove_tree(struct place *p, const char *path)
{
	struct tmpdir tree = { .fd = dup(p->dir.fd) };

	assert_true(snprintf(tree.path, sizeof(tree.path), "%s", path) < PATH_MAX);
	tmpdir_remove(&tree);
}

/* Whole again, for the next damage. */
static void place_reset(struct place *p)
{
	remove_tree(p, p->path);
	copy_tree(p->pristine, p->path);
	memset(p->lost, 0, sizeof(p->lost));
}

static void place_remove(struct place *p)
{
	tmpdir_remove(&p->dir);
}

static void lose(struct place *p, uint64_t first, uint64_t count)
{
	for (uint64_t id = first; id < first + count; id++)
		p->lost[id] = true;
}

/* The damage takes the times from the entries `first` … `end` - 1. */
static void forget_times(struct place *p, uint64_t first, uint64_t end)
{
	for (uint64_t id = first; id < end && id < MANY; id++)
		p->times[id] = 0;
}

static char *wal_of(const struct place *p, uint64_t id, char buf[PATH_MAX])
{
	return segment_path(p->path, "s", id, ".wal", buf);
}

static char *meta_of(const struct place *p, uint64_t id, char buf[PATH_MAX])
{
	return segment_path(p->path, "s", id, ".meta", buf);
}

static char *file_of(const struct place *p, const char *name, char buf[PATH_MAX])
{
	assert_true(snprintf(buf, PATH_MAX, "%s/s/%s", p->path, name) < PATH_MAX);
	return buf;
}

static void remove_file(const char *path)
{
	if (unlink(path) < 0)
		fail_msg("cannot remove '%s': %m", path);
}

/* ---- Findings ---- */

struct found {
	enum wal_finding_kind kind;
	char stream[32];
	char file[64];
	uint64_t offset;
	uint64_t bytes;
	uint64_t first_id;
	uint64_t ids;
	char expected[128];
	char found[192];
	bool action;
};

struct findings {
	struct found items[FOUND_MAX];
	size_t count;
	uint64_t progress_done;
	uint64_t progress_total;
	bool progress_wrong; /* it went back, or beyond the end */
	struct wal_check_result result;
	struct wal_error err;
};

static void copy_text(char *to, size_t size, const char *from)
{
	assert_true(snprintf(to, size, "%s", from ? from : "") < (int)size);
}

static void take_finding(void *arg, const struct wal_finding *finding)
{
	struct findings *fs = arg;

	assert_true(fs->count < FOUND_MAX);
	struct found *f = &fs->items[fs->count++];
	*f = (struct found){ finding->kind, "", "", finding->offset, finding->bytes, finding->first_id, finding->ids, "", "", finding->action };
	copy_text(f->stream, sizeof(f->stream), finding->stream);
	copy_text(f->file, sizeof(f->file), finding->file);
	copy_text(f->expected, sizeof(f->expected), finding->expected);
	copy_text(f->found, sizeof(f->found), finding->found);
	assert_true(finding->expected && finding->found);
}

static void take_progress(void *arg, uint64_t done, uint64_t total)
{
	struct findings *fs = arg;

	fs->progress_wrong = fs->progress_wrong || done < fs->progress_done || done > total;
	fs->progress_done = done;
	fs->progress_total = total;
}

typedef int check_function(const char *path, const struct wal_options *opts, const struct wal_check *check, struct wal_check_result *ret_result,
			   struct wal_error *err);

static int run(struct place *p, check_function *function, bool dry_run, struct findings *fs)
{
	struct wal_check check = { .dry_run = dry_run, .finding = take_finding, .progress = take_progress, .arg = fs };
	uint64_t counted[WAL_FINDING_KINDS] = { 0 };

	*fs = (struct findings){ .count = 0 };
	int result = function(p->path, &p->opts, &check, &fs->result, &fs->err);
	if (result < 0) {
		assert_int_equal(fs->err.code, result);
		assert_true(fs->err.message[0] != '\0');
		return result;
	}
	for (size_t i = 0; i < fs->count; i++)
		counted[fs->items[i].kind]++;
	assert_memory_equal(counted, fs->result.findings, sizeof(counted));
	return result;
}

static void verify(struct place *p, struct findings *fs)
{
	char *before = snapshot_take(p->path);

	if (run(p, wal_verify, false, fs) != 0)
		fail_msg("verify: %s", fs->err.message);
	for (size_t i = 0; i < fs->count; i++)
		assert_false(fs->items[i].action);
	snapshot_expect(p->path, before);
	free(before);
}

static void print_findings(const struct findings *fs)
{
	static const char *const kinds[] = { "note", "cache", "torn", "damage", "error" };

	for (size_t i = 0; i < fs->count; i++) {
		const struct found *f = &fs->items[i];

		printf("# %s %s/%s offset %" PRIu64 " bytes %" PRIu64 " first_id %" PRIu64 " ids %" PRIu64 ": expected %s, found %s\n", kinds[f->kind],
		       f->stream, f->file, f->offset, f->bytes, f->first_id, f->ids, f->expected, f->found);
	}
	fflush(stdout);
}

/* What a finding in stream "s" must be; `found` is a part of its text. */
struct want {
	enum wal_finding_kind kind;
	const char *file;
	uint64_t offset;
	uint64_t bytes;
	uint64_t first_id;
	uint64_t ids;
	const char *found;
};

static bool is_wanted(const struct found *f, const struct want *want)
{
	return f->kind == want->kind && strcmp(f->stream, "s") == 0 && strcmp(f->file, want->file ? want->file : "") == 0 && f->offset == want->offset &&
	       f->bytes == want->bytes && f->first_id == want->first_id && f->ids == want->ids && (!want->found || strstr(f->found, want->found));
}

/* wal_verify() finds just these, in this order. */
static void expect_findings(struct place *p, const struct want *wants, size_t count)
{
	struct findings fs;

	verify(p, &fs);
	for (size_t i = 0; i < count && i < fs.count; i++) {
		if (!is_wanted(&fs.items[i], &wants[i])) {
			print_findings(&fs);
			fail_msg("finding %zu should be kind %d %s offset %" PRIu64 " bytes %" PRIu64 " first_id %" PRIu64 " ids %" PRIu64 " '%s'", i,
				 (int)wants[i].kind, wants[i].file, wants[i].offset, wants[i].bytes, wants[i].first_id, wants[i].ids,
				 wants[i].found ? wants[i].found : "");
		}
	}
	if (fs.count != count) {
		print_findings(&fs);
		fail_msg("%zu findings, expected %zu", fs.count, count);
	}
}

#define EXPECT_FINDINGS(p, ...) expect_findings((p), (const struct want[]){ __VA_ARGS__ }, TEST_COUNT(((const struct want[]){ __VA_ARGS__ })))

static void expect_nothing(struct place *p)
{
	expect_findings(p, NULL, 0);
}

/* ---- What must hold after a repair ---- */

static void expect_entry(const struct place *p, uint64_t id, const void *data, size_t size, int64_t time)
{
	uint8_t buf[ENTRY_SIZE_MAX];
	size_t expected_size;
	const void *expected = entry_content(id, buf, &expected_size);

	assert_int_equal(size, expected_size);
	assert_memory_equal(data, expected, size);
	if (id < MANY && p->times[id] != 0 && p->times[id] != time)
		fail_msg("entry %" PRIu64 " has another time than it had", id);
}

static void expect_by_id(const struct place *p, struct wal_stream *st, uint64_t next)
{
	struct wal_entry_info info;
	struct wal_buf buf = { 0 };

	for (uint64_t id = 0; id < next; id++) {
		int result = wal_stream_get(st, id, &buf);

		if (result != (p->lost[id] ? -EBADMSG : 0))
			fail_msg("get of entry %" PRIu64 ", which is %s: %s", id, p->lost[id] ? "lost" : "intact", wal_strerror(result));
		if (p->lost[id])
			continue;
		assert_int_equal(wal_stream_lookup(st, id, &info), 0);
		expect_entry(p, id, buf.data, buf.size, info.time_ns);
	}
	assert_int_equal(wal_stream_get(st, next, &buf), WAL_NOT_FOUND);
	wal_buf_release(&buf);
}

static void expect_in_a_row(const struct place *p, struct wal_stream *st, uint64_t next)
{
	struct wal_iter *it;
	struct wal_entry e;
	int result;

	assert_int_equal(wal_iter_new(st, 0, &it), 0);
	for (uint64_t id = 0; id < next; id += result == WAL_GAP ? e.size : 1) {
		result = wal_iter_next(it, &e);
		assert_int_equal(e.id, id);
		if (result == WAL_GAP) {
			for (uint64_t i = id; i < id + e.size; i++)
				assert_true(p->lost[i]);
			continue;
		}
		assert_int_equal(result, 0);
		assert_false(p->lost[id]);
		expect_entry(p, id, e.data, e.size, e.time_ns);
	}
	assert_int_equal(wal_iter_next(it, &e), WAL_END);
	wal_iter_free(it);
}

/* The store holds all but p->lost, and goes on with `next`. */
static void expect_served(struct place *p, uint64_t next)
{
	struct wal_store *store = store_open_or_fail(p->path, &p->opts);
	struct wal_stream *st = stream_open_or_fail(store, "s");
	struct wal_stream_stat stat;

	assert_int_equal(wal_stream_stat(st, &stat), 0);
	if (stat.health != WAL_HEALTHY)
		fail_msg("the stream is not healthy: %s", stat.reason);
	assert_int_equal(stat.next_id, next);
	expect_by_id(p, st, next);
	expect_in_a_row(p, st, next);
	stream_fill(st, next, next + 2);
	expect_in_a_row(p, st, next + 2);
	wal_stream_close(st);
	st = stream_open_or_fail(store, "t");
	stream_expect(st, 0, OTHERS);
	wal_stream_close(st);
	store_close_or_fail(store);
}

/* Nothing is wrong; losses that are known are no more than notes. `caches`: sidecars may be missing until they are next wanted. */
static void expect_whole(struct place *p, bool caches)
{
	struct findings fs;

	verify(p, &fs);
	if (fs.result.findings[WAL_FINDING_DAMAGE] || fs.result.findings[WAL_FINDING_ERROR] || fs.result.findings[WAL_FINDING_TORN] ||
	    (!caches && fs.result.findings[WAL_FINDING_CACHE])) {
		print_findings(&fs);
		fail_msg("something is still wrong");
	}
}

static void expect_repaired(struct place *p, uint64_t next)
{
	expect_whole(p, true);
	expect_served(p, next);
	expect_whole(p, false);
}

/* A file of the stream "s" whose name has `infix` in it ends with these bytes. */
static bool is_kept(struct place *p, const char *infix, const uint8_t *bytes, size_t size)
{
	char path[PATH_MAX];
	DIR *dir = opendir(file_of(p, "", path));
	struct dirent *entry;
	bool kept = false;

	assert_non_null(dir);
	while (!kept && (entry = readdir(dir))) {
		size_t file_bytes;

		if (!strstr(entry->d_name, infix))
			continue;
		uint8_t *data = file_read(file_of(p, entry->d_name, path), &file_bytes);
		kept = file_bytes >= size && memcmp(data + file_bytes - size, bytes, size) == 0;
		free(data);
	}
	closedir(dir);
	return kept;
}

/* The bytes of a file that a finding is about, before they are moved. */
static uint8_t *bytes_of(struct place *p, const struct found *f)
{
	char path[PATH_MAX];
	uint8_t *bytes = malloc(f->bytes + 1);
	size_t size;
	uint8_t *data = file_read(file_of(p, f->file, path), &size);

	assert_non_null(bytes);
	assert_true(f->offset <= size && f->bytes <= size - f->offset);
	memcpy(bytes, data + f->offset, f->bytes);
	free(data);
	return bytes;
}

static void expect_dry_run_changes_nothing(struct place *p, const struct findings *verified)
{
	char *before = snapshot_take(p->path);
	struct findings fs;

	assert_int_equal(run(p, wal_repair, true, &fs), 0);
	snapshot_expect(p->path, before);
	free(before);
	assert_int_equal(fs.count, verified->count);
	for (size_t i = 0; i < fs.count; i++) {
		assert_int_equal(fs.items[i].kind, verified->items[i].kind);
		assert_int_equal(fs.items[i].offset, verified->items[i].offset);
		if (fs.items[i].kind == WAL_FINDING_DAMAGE || fs.items[i].kind == WAL_FINDING_TORN || fs.items[i].kind == WAL_FINDING_CACHE)
			assert_true(fs.items[i].action);
	}
}

/* Repairs the store; then it holds all but p->lost, goes on with `next`, and what was taken out of it is kept byte for byte. */
static void repair_and_expect(struct place *p, uint64_t next)
{
	uint8_t *bytes[FOUND_MAX] = { NULL };
	struct findings before, fs;
	char stream[PATH_MAX];

	verify(p, &before);
	expect_dry_run_changes_nothing(p, &before);
	for (size_t i = 0; i < before.count; i++) {
		if (before.items[i].kind == WAL_FINDING_DAMAGE || before.items[i].kind == WAL_FINDING_TORN)
			bytes[i] = bytes_of(p, &before.items[i]);
	}
	if (run(p, wal_repair, false, &fs) != 0)
		fail_msg("repair: %s", fs.err.message);
	assert_int_equal(fs.count, before.count);
	for (size_t i = 0; i < before.count; i++) {
		const char *infix = before.items[i].kind == WAL_FINDING_TORN ? ".torn." : ".damaged.";

		if (bytes[i] && !is_kept(p, infix, bytes[i], before.items[i].bytes))
			fail_msg("the %" PRIu64 " bytes at %" PRIu64 " of %s are in no %s file", before.items[i].bytes, before.items[i].offset,
				 before.items[i].file, infix);
		free(bytes[i]);
	}
	expect_repaired(p, next);
	char *settled = snapshot_take(file_of(p, "", stream));
	assert_int_equal(run(p, wal_repair, false, &fs), 0);
	snapshot_expect(stream, settled);
	free(settled);
}

/* ---- Nothing is wrong ---- */

static void clean_stores(void **state)
{
	(void)state;
	for (enum layout layout = 0; layout < LAYOUTS; layout++) {
		struct findings fs;
		struct place p;

		place_make(&p, layout);
		expect_nothing(&p);
		verify(&p, &fs);
		assert_int_equal(fs.result.streams, 2);
		assert_int_equal(fs.result.segments, 5);
		assert_int_equal(fs.result.entries, MANY + OTHERS);
		assert_int_equal(fs.result.frames, (layout == BATCHES || layout == BATCHES_LZ4 ? MANY / BATCH : MANY) + OTHERS);
		assert_int_equal(fs.progress_done, fs.result.bytes);
		assert_int_equal(fs.progress_total, fs.result.bytes);
		assert_false(fs.progress_wrong);
		repair_and_expect(&p, MANY);
		place_remove(&p);
	}
}

static void clean_stores_of_other_modes(void **state)
{
	static const enum wal_sync modes[] = { WAL_SYNC_BATCH, WAL_SYNC_ASYNC };

	(void)state;
	for (size_t i = 0; i < TEST_COUNT(modes); i++) {
		struct wal_store *store;
		struct wal_stream *st;
		struct place p;

		place_make(&p, SINGLES);
		p.opts.sync = modes[i];
		store = store_open_or_fail(p.path, &p.opts);
		st = stream_open_or_fail(store, "s");
		stream_fill(st, MANY, MANY + 4);
		/* While it is open, too: what is preallocated and not yet synced is no fault. */
		expect_nothing(&p);
		wal_stream_close(stream_open_or_fail(store, "empty"));
		assert_int_equal(wal_stream_rotate(st), 0);
		expect_nothing(&p);
		wal_stream_close(st);
		store_close_or_fail(store);
		expect_nothing(&p);
		place_remove(&p);
	}
}

static void store_without_streams(void **state)
{
	struct findings fs;
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	remove_tree(&p, p.path);
	store_close_or_fail(store_open_or_fail(p.path, NULL));
	verify(&p, &fs);
	assert_int_equal(fs.count + fs.result.streams + fs.result.segments, 0);
	assert_int_equal(run(&p, wal_repair, false, &fs), 0);
	assert_int_equal(fs.count, 0);
	place_remove(&p);
}

/* Outside the checksum, and only a hint: nothing is to be found, and nothing is lost by it. */
static void raw_size_is_no_damage(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, BATCHES_LZ4);
	for (unsigned i = 0; i < 4; i++)
		damage_set_byte(wal_of(&p, 10, path), FRAME_OFF_RAW_SIZE + i, 0xff);
	expect_nothing(&p);
	repair_and_expect(&p, MANY);
	place_remove(&p);
}

static void zeros_behind_the_last_frame(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	damage_grow_zeros(wal_of(&p, 30, path), 100000);
	expect_nothing(&p);
	/* A crash may have kept a sealed one from being cut. */
	damage_grow_zeros(wal_of(&p, 20, path), 5000);
	expect_nothing(&p);
	repair_and_expect(&p, MANY);
	place_remove(&p);
}

/* ---- Damaged frames ---- */

static const struct part {
	unsigned offset;
	const char *found;
} parts[] = {
	{ FRAME_OFF_MAGIC, "magic" },	    { FRAME_OFF_MAGIC + 3, "magic" },	    { FRAME_OFF_CRC, "checksum" },	     { FRAME_OFF_START_ID, NULL },
	{ FRAME_OFF_START_ID + 7, NULL },   { FRAME_OFF_ENTRY_COUNT, NULL },	    { FRAME_OFF_ENTRY_COUNT + 3, NULL },     { FRAME_OFF_TYPE, NULL },
	{ FRAME_OFF_DISK_SIZE, NULL },	    { FRAME_OFF_DISK_SIZE + 3, NULL },	    { FRAME_OFF_PAYLOAD, "checksum" },	     { FRAME_OFF_PAYLOAD + 9, "checksum" },
};

/* A flipped bit in the frame of entry `id`: that frame's entries are lost, and nothing else. */
static void flip_in_frame(struct place *p, uint64_t segment, uint64_t id, const struct part *part)
{
	char path[PATH_MAX];
	struct frame_place bad = frame_of(wal_of(p, segment, path), id);

	damage_flip_bit(path, bad.offset + part->offset, 3);
	lose(p, bad.h.start_id, bad.h.entry_count);
	EXPECT_FINDINGS(p, { WAL_FINDING_DAMAGE, strrchr(path, '/') + 1, bad.offset, bad.bytes, bad.h.start_id, bad.h.entry_count, part->found });
}

/* First, middle and last frame of a sealed and of the active segment. */
static const struct spot {
	uint64_t segment;
	uint64_t id;
} spots[] = { { 10, 10 }, { 10, 14 }, { 10, 19 }, { 30, 30 }, { 30, 32 }, { 30, 34 } };

static void every_part_of_a_frame_is_found(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	for (size_t s = 0; s < TEST_COUNT(spots); s++) {
		for (size_t i = 0; i < TEST_COUNT(parts); i++) {
			flip_in_frame(&p, spots[s].segment, spots[s].id, &parts[i]);
			place_reset(&p);
		}
	}
	place_remove(&p);
}

static void repair_of_one_frame(void **state)
{
	(void)state;
	for (enum layout layout = 0; layout < LAYOUTS; layout++) {
		struct place p;

		place_make(&p, layout);
		for (size_t s = 0; s < TEST_COUNT(spots); s++) {
			flip_in_frame(&p, spots[s].segment, spots[s].id, &parts[s % 2 ? TEST_COUNT(parts) - 1 : 0]);
			repair_and_expect(&p, MANY);
			place_reset(&p);
		}
		place_remove(&p);
	}
}

/* The lost ids stay lost: that they are the first of all must not make them look like pruned ones. */
static void first_frame_of_all(void **state)
{
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	flip_in_frame(&p, 0, 0, &parts[0]);
	repair_and_expect(&p, MANY);
	place_remove(&p);
}

static void several_places(void **state)
{
	static const uint64_t sealed[] = { 11, 13, 14, 17 }, active[] = { 31, 33 };
	struct frame_place at[MANY];
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	for (size_t i = 0; i < TEST_COUNT(sealed); i++) {
		at[sealed[i]] = frame_of(wal_of(&p, 10, path), sealed[i]);
		lose(&p, sealed[i], 1);
	}
	for (size_t i = 0; i < TEST_COUNT(active); i++) {
		at[active[i]] = frame_of(wal_of(&p, 30, path), active[i]);
		lose(&p, active[i], 1);
	}
	for (size_t i = 0; i < TEST_COUNT(sealed); i++)
		damage_flip_bit(wal_of(&p, 10, path), at[sealed[i]].offset + 2, 1);
	for (size_t i = 0; i < TEST_COUNT(active); i++)
		damage_flip_bit(wal_of(&p, 30, path), at[active[i]].offset + 40, 1);
	EXPECT_FINDINGS(&p, { WAL_FINDING_DAMAGE, "00000000000000000010.wal", at[11].offset, at[11].bytes, 11, 1, "magic" },
			{ WAL_FINDING_DAMAGE, "00000000000000000010.wal", at[13].offset, at[13].bytes + at[14].bytes, 13, 2, "magic" },
			{ WAL_FINDING_DAMAGE, "00000000000000000010.wal", at[17].offset, at[17].bytes, 17, 1, "magic" },
			{ WAL_FINDING_DAMAGE, "00000000000000000030.wal", at[31].offset, at[31].bytes, 31, 1, "checksum" },
			{ WAL_FINDING_DAMAGE, "00000000000000000030.wal", at[33].offset, at[33].bytes, 33, 1, "checksum" });
	repair_and_expect(&p, MANY);
	place_remove(&p);
}

/* No byte of it is good: all its ids are lost, those around it are not. */
static void segment_of_garbage(void **state)
{
	static const uint64_t segments[] = { 10, 30 };
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	for (size_t i = 0; i < TEST_COUNT(segments); i++) {
		uint64_t size = file_size(wal_of(&p, segments[i], path)), ids = segments[i] == 30 ? 5 : 10;
		uint8_t *bytes = malloc(size);

		assert_non_null(bytes);
		random_fill(7, bytes, size);
		file_write(path, bytes, size);
		free(bytes);
		lose(&p, segments[i], ids);
		EXPECT_FINDINGS(&p, { WAL_FINDING_DAMAGE, strrchr(path, '/') + 1, 0, size, segments[i], ids, "magic" });
		repair_and_expect(&p, MANY);
		place_reset(&p);
	}
	place_remove(&p);
}

/* A segment that lost its end, in the middle of a frame: even the active one, as its sidecar knows that it had been durable. */
static void segment_cut_short(void **state)
{
	static const struct spot cuts[] = { { 10, 17 }, { 30, 33 } };
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	for (size_t i = 0; i < TEST_COUNT(cuts); i++) {
		struct frame_place bad = frame_of(wal_of(&p, cuts[i].segment, path), cuts[i].id);
		uint64_t end = cuts[i].segment == 30 ? MANY : cuts[i].segment + SEGMENT_ENTRIES;

		damage_shrink(path, file_size(path) - bad.offset - 20);
		lose(&p, cuts[i].id, end - cuts[i].id);
		EXPECT_FINDINGS(&p, { WAL_FINDING_DAMAGE, strrchr(path, '/') + 1, bad.offset, 20, cuts[i].id, end - cuts[i].id, NULL });
		repair_and_expect(&p, MANY);
		place_reset(&p);

		/* Between two frames. */
		wal_of(&p, cuts[i].segment, path);
		damage_shrink(path, file_size(path) - bad.offset);
		lose(&p, cuts[i].id, end - cuts[i].id);
		EXPECT_FINDINGS(&p, { WAL_FINDING_DAMAGE, strrchr(path, '/') + 1, bad.offset, 0, cuts[i].id, end - cuts[i].id, NULL });
		repair_and_expect(&p, MANY);
		place_reset(&p);
	}
	place_remove(&p);
}

/* ---- Segments ---- */

static void segment_missing_in_the_middle(void **state)
{
	char path[PATH_MAX];
	struct findings fs;
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	uint64_t end = file_size(wal_of(&p, 0, path));
	remove_file(wal_of(&p, 10, path));
	lose(&p, 10, 10);
	verify(&p, &fs);
	assert_int_equal(fs.count, 2);
	assert_true(is_wanted(&fs.items[0], &(struct want){ WAL_FINDING_CACHE, "segments.idx", 0, 0, 0, 0, NULL }));
	assert_true(is_wanted(&fs.items[1], &(struct want){ WAL_FINDING_DAMAGE, "00000000000000000000.wal", end, 0, 10, 10, NULL }));
	repair_and_expect(&p, MANY);
	place_remove(&p);
}

/* That is what pruning leaves if the index was not written any more: nothing is lost. */
static void first_segment_missing(void **state)
{
	char path[PATH_MAX];
	struct wal_store *store;
	struct wal_stream *st;
	struct findings fs;
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	remove_file(wal_of(&p, 0, path));
	EXPECT_FINDINGS(&p, { WAL_FINDING_CACHE, "segments.idx", 0, 0, 0, 0, NULL });
	assert_int_equal(run(&p, wal_repair, false, &fs), 0);
	expect_nothing(&p);
	store = store_open_or_fail(p.path, &p.opts);
	st = stream_open_or_fail(store, "s");
	stream_expect(st, 10, MANY);
	stream_fill(st, MANY, MANY + 1);
	store_close_or_fail(store);
	place_remove(&p);
}

/* head.state is written when the segment is there, so it was: that is no cache which disagrees, and its ids must not come again. */
static void last_segment_missing(void **state)
{
	char path[PATH_MAX];
	struct wal_store *store;
	struct wal_stream *st;
	struct findings fs;
	struct place p;
	uint64_t id;

	(void)state;
	place_make(&p, SINGLES);
	remove_file(wal_of(&p, 30, path));
	verify(&p, &fs);
	if (fs.result.findings[WAL_FINDING_DAMAGE] != 1) {
		print_findings(&fs);
		fail_msg("no damage was found, but the entries 30 to 34 are gone");
	}
	assert_int_equal(run(&p, wal_repair, false, &fs), 0);
	expect_whole(&p, true);
	store = store_open_or_fail(p.path, &p.opts);
	st = stream_open_or_fail(store, "s");
	assert_int_equal(wal_stream_append(st, "x", 1, 0, &id), 0);
	/* Its sidecar knows how far it went. */
	assert_int_equal(id, MANY);
	store_close_or_fail(store);
	place_remove(&p);
}

static void segment_that_is_no_file(void **state)
{
	char path[PATH_MAX], dir[PATH_MAX], aside[PATH_MAX], *before;
	struct findings fs;
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	assert_int_equal(mkdir(tmpdir_path(&p.dir, "elsewhere", dir), 0700), 0);
	for (unsigned link = 0; link < 2; link++) {
		assert_int_equal(rename(wal_of(&p, 10, path), tmpdir_path(&p.dir, "elsewhere/aside", aside)), 0);
		assert_int_equal(link ? symlink(aside, path) : mkdir(path, 0700), 0);
		before = snapshot_take(dir);
		EXPECT_FINDINGS(&p, { WAL_FINDING_ERROR, "00000000000000000010.wal", 0, 0, 0, 0, NULL });
		/* It is not for a repair to say what that was: it stays, and what it stands for too. */
		assert_int_equal(run(&p, wal_repair, false, &fs), 0);
		assert_int_equal(fs.result.findings[WAL_FINDING_ERROR], 1);
		snapshot_expect(dir, before);
		free(before);
		assert_int_equal(link ? unlink(path) : rmdir(path), 0);
		assert_int_equal(rename(aside, path), 0);
		repair_and_expect(&p, MANY);
		place_reset(&p);
	}
	place_remove(&p);
}

/* ---- Ids and lengths that do not fit, with a checksum that does ---- */

static void id_that_repeats(void **state)
{
	static const struct spot here[] = { { 10, 14 }, { 30, 32 } };
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	for (size_t i = 0; i < TEST_COUNT(here); i++) {
		struct frame_place bad = frame_of(wal_of(&p, here[i].segment, path), here[i].id);

		bad.h.start_id = here[i].id - 1;
		frame_forge(path, bad.offset, bad.h);
		lose(&p, here[i].id, 1);
		EXPECT_FINDINGS(&p, { WAL_FINDING_DAMAGE, strrchr(path, '/') + 1, bad.offset, bad.bytes, here[i].id, 1, "id" });
		repair_and_expect(&p, MANY);
		place_reset(&p);
	}
	place_remove(&p);
}

/* Copies bytes of a segment to another place in it. */
static void move_bytes(const char *path, uint64_t from, uint64_t to, uint64_t keep)
{
	size_t size;
	uint8_t *data = file_read(path, &size);
	uint8_t *spliced = malloc(size * 2);

	assert_true(spliced && from <= size && to <= size && keep <= size - from);
	memcpy(spliced, data, to);
	memcpy(spliced + to, data + from, keep);
	file_write(path, spliced, to + keep);
	free(spliced);
	free(data);
}

/* Frames count only where they were written: these were. */
static void mark_again(const char *path)
{
	struct frame_place frames[SEGMENT_ENTRIES + 2];
	size_t count = frames_in(path, frames, TEST_COUNT(frames));

	for (size_t i = 0; i < count; i++)
		frame_forge(path, frames[i].offset, frames[i].h);
}

static void frame_that_comes_twice(void **state)
{
	struct frame_place twice;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	/* 14, and from there on all once more: behind the 19 nothing belongs there. */
	twice = frame_of(wal_of(&p, 10, path), 14);
	uint64_t end = file_size(path);
	move_bytes(path, twice.offset, end, end - twice.offset);
	EXPECT_FINDINGS(&p, { WAL_FINDING_DAMAGE, "00000000000000000010.wal", end, end - twice.offset, 20, 0, "id" });
	repair_and_expect(&p, MANY);
	place_reset(&p);

	/* 14 twice in the middle: what follows is not where the sidecar says. */
	forget_times(&p, 15, 20);
	uint64_t behind = twice.offset + twice.bytes;
	move_bytes(wal_of(&p, 10, path), twice.offset, behind, end - twice.offset);
	mark_again(path);
	EXPECT_FINDINGS(&p, { WAL_FINDING_DAMAGE, "00000000000000000010.wal", behind, twice.bytes, 15, 0, "id" });
	repair_and_expect(&p, MANY);
	place_remove(&p);
}

static void ids_that_jump(void **state)
{
	static const struct spot here[] = { { 10, 14 }, { 30, 32 } };
	char path[PATH_MAX], other[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	for (size_t i = 0; i < TEST_COUNT(here); i++) {
		struct frame_place gone = frame_of(wal_of(&p, here[i].segment, path), here[i].id);
		uint64_t behind = gone.offset + gone.bytes;

		move_bytes(path, behind, gone.offset, file_size(path) - behind);
		mark_again(path);
		lose(&p, here[i].id, 1);
		/* The sidecar of the active one would say that its file is too short; of the other, it does not say any more where the rest is. */
		forget_times(&p, here[i].segment, here[i].segment + SEGMENT_ENTRIES);
		if (here[i].segment == 30)
			remove_file(meta_of(&p, 30, other));
		EXPECT_FINDINGS(&p, { WAL_FINDING_DAMAGE, strrchr(path, '/') + 1, gone.offset, 0, here[i].id, 1, "later id" });
		repair_and_expect(&p, MANY);
		place_reset(&p);
	}
	place_remove(&p);
}

static void entry_count_that_lies(void **state)
{
	static const int lies[] = { -1, 1, 50 };
	char path[PATH_MAX];
	struct place p;

	(void)state;
	for (enum layout layout = BATCHES; layout < LAYOUTS; layout += 2) {
		place_make(&p, layout);
		for (size_t i = 0; i < TEST_COUNT(lies); i++) {
			struct frame_place bad = frame_of(wal_of(&p, 10, path), 15);

			assert_int_equal(bad.h.type, layout == BATCHES ? FRAME_RAW : FRAME_LZ4);
			bad.h.entry_count = (uint32_t)(BATCH + lies[i]);
			frame_forge(path, bad.offset, bad.h);
			lose(&p, 15, BATCH);
			EXPECT_FINDINGS(&p, { WAL_FINDING_DAMAGE, "00000000000000000010.wal", bad.offset, bad.bytes, 15, BATCH, NULL });
			repair_and_expect(&p, MANY);
			place_reset(&p);
		}
		place_remove(&p);
	}
}

static void lz4_that_can_not_be_expanded(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, BATCHES_LZ4);
	struct frame_place bad = frame_of(wal_of(&p, 20, path), 20);
	assert_int_equal(bad.h.type, FRAME_LZ4);
	for (unsigned i = 0; i < 8; i++)
		damage_set_byte(path, bad.offset + FRAME_HEADER_BYTES + 15 + i, 0xff);
	frame_forge(path, bad.offset, bad.h);
	lose(&p, 20, BATCH);
	EXPECT_FINDINGS(&p, { WAL_FINDING_DAMAGE, "00000000000000000020.wal", bad.offset, bad.bytes, 20, BATCH, "LZ4" });
	repair_and_expect(&p, MANY);
	place_remove(&p);
}

/* ---- Ends ---- */

static void torn_tail(void **state)
{
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	uint64_t end = file_size(wal_of(&p, 30, path));
	damage_append(path, "half a frame", 12);
	EXPECT_FINDINGS(&p, { WAL_FINDING_TORN, "00000000000000000030.wal", end, 12, MANY, 0, NULL });
	repair_and_expect(&p, MANY);
	place_remove(&p);
}

/* Without a sidecar nothing says that the last frame had been durable. */
static void last_frame_without_evidence(void **state)
{
	struct frame_place last;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	last = frame_of(wal_of(&p, 30, path), 34);
	remove_file(meta_of(&p, 30, path));
	damage_flip_bit(wal_of(&p, 30, path), last.offset + 40, 1);
	EXPECT_FINDINGS(&p, { WAL_FINDING_TORN, "00000000000000000030.wal", last.offset, last.bytes, 34, 0, NULL });
	struct findings fs;
	assert_int_equal(run(&p, wal_repair, false, &fs), 0);
	struct wal_store *store = store_open_or_fail(p.path, &p.opts);
	struct wal_stream *st = stream_open_or_fail(store, "s");
	stream_expect(st, 0, 34);
	stream_fill(st, 34, 36);
	wal_stream_close(st);
	store_close_or_fail(store);
	expect_nothing(&p);
	place_remove(&p);
}

/* Both in one segment: the torn bytes must not go when the segment is split. */
static void torn_tail_behind_damage(void **state)
{
	struct frame_place bad;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	bad = frame_of(wal_of(&p, 30, path), 32);
	uint64_t end = file_size(path);
	damage_flip_bit(path, bad.offset + 40, 1);
	damage_append(path, "half a frame", 12);
	lose(&p, 32, 1);
	EXPECT_FINDINGS(&p, { WAL_FINDING_DAMAGE, "00000000000000000030.wal", bad.offset, bad.bytes, 32, 1, "checksum" },
			{ WAL_FINDING_TORN, "00000000000000000030.wal", end, 12, MANY, 0, NULL });
	repair_and_expect(&p, MANY);
	place_remove(&p);
}

/* ---- Caches ---- */

/* A repair and a look at every entry leave nothing to be found. */
static void expect_cache_is_made_anew(struct place *p)
{
	struct findings fs;

	assert_int_equal(run(p, wal_repair, false, &fs), 0);
	expect_served(p, MANY);
	expect_nothing(p);
	place_reset(p);
}

static void sidecar_of_a_sealed_segment(void **state)
{
	char path[PATH_MAX], other[PATH_MAX];
	struct place p;
	uint8_t *data;
	size_t size;

	(void)state;
	place_make(&p, SINGLES);
	const struct want want = { WAL_FINDING_CACHE, "00000000000000000010.meta", 0, 0, 0, 0, NULL };

	data = file_read(meta_of(&p, 20, other), &size);
	file_write(meta_of(&p, 10, path), data, size);
	free(data);
	expect_findings(&p, &want, 1);
	place_reset(&p);

	damage_flip_bit(meta_of(&p, 10, path), 90, 2);
	expect_findings(&p, &want, 1);
	place_reset(&p);

	file_write(meta_of(&p, 10, path), "", 0);
	expect_findings(&p, &want, 1);
	place_reset(&p);

	remove_file(meta_of(&p, 10, path));
	expect_findings(&p, &want, 1);
	place_remove(&p);
}

/* Its times are lost with it, and nothing else. */
static void sidecar_is_made_anew(void **state)
{
	static const uint64_t segments[] = { 10, 30 };
	char path[PATH_MAX];
	struct findings fs;
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	for (size_t i = 0; i < TEST_COUNT(segments); i++) {
		forget_times(&p, segments[i], segments[i] + SEGMENT_ENTRIES);
		for (unsigned how = 0; how < 3; how++) {
			meta_of(&p, segments[i], path);
			if (how == 0)
				remove_file(path);
			else if (how == 1)
				damage_flip_bit(path, 90, 2);
			else
				file_write(path, "", 0);
			assert_int_equal(run(&p, wal_repair, false, &fs), 0);
			assert_int_equal(fs.result.findings[WAL_FINDING_DAMAGE], 0);
			expect_served(&p, MANY);
			expect_nothing(&p);
			place_reset(&p);
		}
	}
	place_remove(&p);
}

/* A directory where the sidecar should be: the entries are in the segment. */
static void sidecar_that_is_no_file(void **state)
{
	char path[PATH_MAX];
	struct findings fs;
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	remove_file(meta_of(&p, 10, path));
	assert_int_equal(mkdir(path, 0700), 0);
	verify(&p, &fs);
	assert_int_equal(fs.count, 1);
	assert_string_equal(fs.items[0].file, "00000000000000000010.meta");
	assert_int_equal(fs.result.entries, MANY + OTHERS);
	place_remove(&p);
}

static void index_and_head(void **state)
{
	static const struct {
		const char *file;
		const char *bytes; /* NULL: the file is missing */
		size_t size;
	} cases[] = {
		{ "segments.idx", NULL, 0 },
		{ "segments.idx", "", 0 },
		{ "segments.idx", "odd", 3 },
		{ "segments.idx", "\0\0\0\0\0\0\0\0\7\0\0\0\0\0\0\0", 16 },
		{ "head.state", NULL, 0 },
		{ "head.state", "", 0 },
		{ "head.state", "\1", 1 },
		{ "head.state", "\2\30" "00000000000000000030.wal", 26 },
		{ "head.state", "\1\30" "00000000000000000020.wal", 26 },
		{ "head.state", "\1\30" "../../../../etc/passwd.w", 26 },
	};
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	for (size_t i = 0; i < TEST_COUNT(cases); i++) {
		if (cases[i].bytes)
			file_write(file_of(&p, cases[i].file, path), cases[i].bytes, cases[i].size);
		else
			remove_file(file_of(&p, cases[i].file, path));
		EXPECT_FINDINGS(&p, { WAL_FINDING_CACHE, cases[i].file, 0, 0, 0, 0, NULL });
		expect_cache_is_made_anew(&p);
	}
	place_remove(&p);
}

/* ---- What is not the store's ---- */

static void foreign_files(void **state)
{
	char path[PATH_MAX], *before;
	struct findings fs;
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	file_write(file_of(&p, "notes.txt", path), "mine", 4);
	EXPECT_FINDINGS(&p, { WAL_FINDING_NOTE, "notes.txt", 0, 0, 0, 0, NULL });
	assert_int_equal(run(&p, wal_repair, false, &fs), 0);
	EXPECT_FINDINGS(&p, { WAL_FINDING_NOTE, "notes.txt", 0, 0, 0, 0, NULL });
	remove_file(path);
	/* "1.wal" is no segment's name. */
	file_write(file_of(&p, "1.wal", path), "mine", 4);
	EXPECT_FINDINGS(&p, { WAL_FINDING_NOTE, "1.wal", 0, 0, 0, 0, NULL });
	remove_file(path);
	/* In the root they are nobody's business. */
	assert_true(snprintf(path, sizeof(path), "%s/somewhere", p.path) > 0);
	assert_int_equal(mkdir(path, 0700), 0);
	before = snapshot_take(path);
	expect_nothing(&p);
	assert_int_equal(run(&p, wal_repair, false, &fs), 0);
	snapshot_expect(path, before);
	free(before);
	place_remove(&p);
}

/* A record of an earlier repair that says nothing, or too much, makes no loss a known one. */
static void forged_record_of_a_loss(void **state)
{
	static const char *const texts[] = {
		"",
		"libwal: damaged bytes of segment",
		"libwal: damaged bytes of segment 00000000000000000000 from offset 0, 0 bytes, first id 10, 9 ids\n",
		"libwal: damaged bytes of segment 00000000000000000000 from offset 0, 0 bytes, first id 11, 18446744073709551615 ids\n",
	};
	char path[PATH_MAX];
	struct findings fs;
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	for (size_t i = 0; i < TEST_COUNT(texts); i++) {
		remove_file(wal_of(&p, 10, path));
		file_write(file_of(&p, "00000000000000000000.wal.damaged.0", path), texts[i], strlen(texts[i]));
		verify(&p, &fs);
		assert_int_equal(fs.result.findings[WAL_FINDING_DAMAGE], 1);
		lose(&p, 10, 10);
		repair_and_expect(&p, MANY);
		place_reset(&p);
	}
	place_remove(&p);
}

static void one_stream_alone(void **state)
{
	struct wal_check check = { .stream = "t" };
	struct wal_check_result result;
	char path[PATH_MAX], *before;
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	damage_flip_bit(wal_of(&p, 10, path), 40, 1);
	before = snapshot_take(file_of(&p, "", path));
	assert_int_equal(wal_verify(p.path, NULL, &check, &result, NULL), 0);
	assert_int_equal(result.streams, 1);
	assert_int_equal(result.entries, OTHERS);
	assert_int_equal(result.findings[WAL_FINDING_DAMAGE], 0);
	assert_int_equal(wal_repair(p.path, NULL, &check, &result, NULL), 0);
	snapshot_expect(path, before);
	check.stream = "s";
	assert_int_equal(wal_verify(p.path, NULL, &check, &result, NULL), 0);
	assert_int_equal(result.findings[WAL_FINDING_DAMAGE], 1);
	check.stream = "nothing";
	assert_int_equal(wal_verify(p.path, NULL, &check, &result, NULL), WAL_NOT_FOUND);
	assert_int_equal(wal_repair(p.path, NULL, &check, &result, NULL), WAL_NOT_FOUND);
	check.stream = "../store/s";
	assert_int_equal(wal_verify(p.path, NULL, &check, &result, NULL), WAL_NOT_FOUND);
	free(before);
	place_remove(&p);
}

static void no_store(void **state)
{
	struct wal_options opts = { .segment_size = 1 };
	struct wal_error err;
	char path[PATH_MAX];
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	assert_int_equal(wal_verify(p.path, &opts, NULL, NULL, &err), -EINVAL);
	assert_int_equal(wal_verify(tmpdir_path(&p.dir, "nowhere", path), NULL, NULL, NULL, &err), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_int_equal(wal_repair(path, NULL, NULL, NULL, &err), -ENOENT);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(wal_repair(path, NULL, NULL, NULL, &err), -ENOENT);
	file_write(tmpdir_path(&p.dir, "nowhere/mine", path), "mine", 4);
	assert_int_equal(wal_repair(tmpdir_path(&p.dir, "nowhere", path), NULL, NULL, NULL, &err), -ENOTEMPTY);
	assert_int_equal(wal_verify(tmpdir_path(&p.dir, "nowhere/mine", path), NULL, NULL, NULL, &err), -ENOTDIR);
	place_remove(&p);
}

static void store_in_use(void **state)
{
	struct wal_store *store;
	struct findings fs;
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	store = store_open_or_fail(p.path, &p.opts);
	char *before = snapshot_take(p.path);
	assert_int_equal(run(&p, wal_repair, false, &fs), -EBUSY);
	assert_int_equal(fs.err.pid, getpid());
	assert_int_equal(run(&p, wal_repair, true, &fs), 0);
	assert_int_equal(run(&p, wal_verify, false, &fs), 0);
	snapshot_expect(p.path, before);
	free(before);
	store_close_or_fail(store);
	place_remove(&p);
}

/* ---- Failing system calls ---- */

/* A call that fails is an error or is told of as one: never does it make an intact store look damaged. */
static void verify_with_failing_calls(void **state)
{
	struct faultsys f;
	struct place p;
	char *before;
	bool hit = true;

	(void)state;
	place_make(&p, BATCHES_LZ4);
	before = snapshot_take(p.path);
	for (unsigned n = 1; hit; n += test_thinning()) {
		struct findings fs;

		faultsys_init(&f);
		faultsys_fail(&f, FAULT_ANY, n, EIO);
		calls = &f.sys;
		int result = run(&p, wal_verify, false, &fs);
		calls = NULL;
		hit = faultsys_hit(&f);
		assert_int_equal(f.open_fds, 0);
		if (result == 0 && (fs.result.findings[WAL_FINDING_DAMAGE] || fs.result.findings[WAL_FINDING_TORN])) {
			print_findings(&fs);
			fail_msg("call %u that failed was taken for damage", n);
		}
		if (!hit) {
			assert_int_equal(result, 0);
			assert_int_equal(fs.count, 0);
		}
	}
	snapshot_expect(p.path, before);
	free(before);
	place_remove(&p);
}

/* Each makes a damage for the sweeps; returns the id that comes next. */
static void damage_three_places(struct place *p)
{
	static const uint64_t ids[] = { 11, 14, 17 };
	char path[PATH_MAX];

	for (size_t i = 0; i < TEST_COUNT(ids); i++) {
		struct frame_place bad = frame_of(wal_of(p, 10, path), ids[2 - i]);

		damage_flip_bit(path, bad.offset + 40, 1);
		lose(p, ids[2 - i], 1);
	}
}

static void damage_first_and_last(struct place *p)
{
	char path[PATH_MAX];
	struct frame_place last = frame_of(wal_of(p, 30, path), 34);

	damage_flip_bit(path, last.offset + 40, 1);
	damage_flip_bit(path, 40, 1);
	damage_append(path, "torn", 4);
	lose(p, 30, 1);
	lose(p, 34, 1);
}

static void damage_missing_segment(struct place *p)
{
	char path[PATH_MAX];

	remove_file(wal_of(p, 10, path));
	lose(p, 10, 10);
}

static void damage_cut_active(struct place *p)
{
	char path[PATH_MAX];
	struct frame_place cut = frame_of(wal_of(p, 30, path), 33);

	damage_shrink(path, file_size(path) - cut.offset);
	lose(p, 33, 2);
}

/* One run with the nth call failing (and if `dies` all behind it, which is what the end of the process at that point leaves). False if it met no fault. */
static bool repair_fails_once(struct place *p, unsigned n, bool dies)
{
	size_t fds = open_fd_count();
	struct findings fs;
	struct faultsys f;

	faultsys_init(&f);
	faultsys_fail(&f, FAULT_ANY, n, EIO);
	f.sticky = dies;
	calls = &f.sys;
	int result = run(p, wal_repair, false, &fs);
	calls = NULL;
	bool hit = faultsys_hit(&f);
	assert_int_equal(f.open_fds, 0);
	assert_int_equal(open_fd_count(), fds);
	if (!hit)
		assert_int_equal(result, 0);
	return hit;
}

static void sweep_repairs(void (*damage)(struct place *p), bool dies)
{
	const char *only = getenv("WALFS_TEST_NTH");
	unsigned n = only ? (unsigned)strtoul(only, NULL, 0) : 1;
	bool hit = true;
	struct place p;

	place_make(&p, SINGLES);
	for (; hit; n += test_thinning()) {
		struct findings fs;

		/* The number of a run that fails is the last that is printed. */
		printf("# call %u\n", n);
		fflush(stdout);
		damage(&p);
		hit = repair_fails_once(&p, n, dies) && !only;
		if (run(&p, wal_repair, false, &fs) != 0)
			fail_msg("the repair after it: %s", fs.err.message);
		expect_repaired(&p, MANY);
		place_reset(&p);
	}
	assert_true(only || n > 2);
	place_remove(&p);
}

static void repair_that_dies_with_three_places_to_mend(void **state)
{
	(void)state;
	sweep_repairs(damage_three_places, true);
}

static void repair_that_dies_with_both_ends_to_mend(void **state)
{
	(void)state;
	sweep_repairs(damage_first_and_last, true);
}

static void repair_that_dies_with_a_segment_missing(void **state)
{
	(void)state;
	sweep_repairs(damage_missing_segment, true);
}

static void repair_that_dies_with_an_end_missing(void **state)
{
	(void)state;
	sweep_repairs(damage_cut_active, true);
}

static void repair_with_one_failing_call(void **state)
{
	(void)state;
	sweep_repairs(damage_three_places, false);
	sweep_repairs(damage_first_and_last, false);
}

/* ---- While it is written ---- */

struct appender {
	struct wal_stream *st;
	atomic_bool stop;
	int result;
};

static void *append_on(void *arg)
{
	static uint8_t bytes[400000];
	struct appender *a = arg;
	struct random r = { 1 };

	random_fill(3, bytes, sizeof(bytes));
	while (!atomic_load(&a->stop) && a->result == 0) {
		size_t size = random_below(&r, 8) == 0 ? sizeof(bytes) : random_size(&r, 5000);

		a->result = wal_stream_append(a->st, bytes, size, 0, NULL);
	}
	return NULL;
}

/* What is half written at the moment is at most an unfinished end; rotations go on too. */
static void verify_while_appending(void **state)
{
	enum { ROUNDS = 60 };
	struct wal_options opts = { .segment_size = 4 << 20, .sync = WAL_SYNC_ASYNC };
	struct appender a = { .result = 0 };
	struct wal_store *store;
	struct findings fs;
	pthread_t thread;
	bool progress_wrong = false;
	struct place p;

	(void)state;
	place_make(&p, SINGLES);
	store = store_open_or_fail(p.path, &opts);
	a.st = stream_open_or_fail(store, "s");
	p.opts.segment_entries = 0;
	assert_int_equal(pthread_create(&thread, NULL, append_on, &a), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct wal_stream_stat stat;

		assert_int_equal(run(&p, wal_verify, false, &fs), 0);
		if (fs.result.findings[WAL_FINDING_DAMAGE] || fs.result.findings[WAL_FINDING_ERROR]) {
			atomic_store(&a.stop, true);
			pthread_join(thread, NULL);
			print_findings(&fs);
			fail_msg("round %u: an entry that was being written was taken for damage", i);
		}
		progress_wrong = progress_wrong || fs.progress_wrong;
		/* It must not take ever longer: a new stream's worth of data is enough to look at. */
		assert_int_equal(wal_stream_stat(a.st, &stat), 0);
		if (stat.disk_bytes > 48 << 20)
			break;
	}
	atomic_store(&a.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(a.result, 0);
	assert_false(progress_wrong);
	wal_stream_close(a.st);
	store_close_or_fail(store);
	expect_nothing(&p);
	place_remove(&p);
}

/* The real calls, before one of which something else happens. */
struct interrupted {
	struct sys sys;
	unsigned countdown;
	struct wal_stream *st;
	bool rotate;
	bool hit;
};

/* More than was allocated before, durable and in the sidecar. */
static void append_much(struct wal_stream *st, bool rotate)
{
	static uint8_t bytes[90000];

	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(wal_stream_append(st, bytes, sizeof(bytes), 0, NULL), 0);
	for (unsigned i = 0; i < 150; i++)
		assert_int_equal(wal_stream_append(st, bytes, 400, 0, NULL), 0);
	assert_int_equal(wal_stream_sync(st), 0);
	if (rotate) {
		assert_int_equal(wal_stream_rotate(st), 0);
		assert_int_equal(wal_stream_append(st, bytes, 400, WAL_DURABLE, NULL), 0);
	}
}

static struct sys *interrupt(struct sys *sys)
{
	struct interrupted *in = (struct interrupted *)sys;

	if (in->countdown > 0 && --in->countdown == 0) {
		in->hit = true;
		append_much(in->st, in->rotate);
	}
	return __real_sys_real();
}

static int interrupted_openat(struct sys *sys, int dirfd, const char *name, int flags, mode_t mode)
{
	struct sys *real = interrupt(sys);

	return real->openat(real, dirfd, name, flags, mode);
}

static ssize_t interrupted_pread(struct sys *sys, int fd, void *data, size_t size, uint64_t offset)
{
	struct sys *real = interrupt(sys);

	return real->pread(real, fd, data, size, offset);
}

static int interrupted_fstat(struct sys *sys, int fd, struct stat *ret)
{
	struct sys *real = interrupt(sys);

	return real->fstat(real, fd, ret);
}

static ssize_t interrupted_getdents(struct sys *sys, int fd, void *buf, size_t size)
{
	struct sys *real = interrupt(sys);

	return real->getdents(real, fd, buf, size);
}

/* For the `n`th of the calls from now on. */
static void interrupt_nth(struct interrupted *in, unsigned n, struct wal_stream *st, bool rotate)
{
	*in = (struct interrupted){ .sys = *__wrap_sys_real(), .countdown = n, .st = st, .rotate = rotate };
	in->sys.openat = interrupted_openat;
	in->sys.pread = interrupted_pread;
	in->sys.fstat = interrupted_fstat;
	in->sys.getdents = interrupted_getdents;
}

static void verify_live(struct place *p, struct interrupted *in)
{
	struct findings fs;

	calls = &in->sys;
	assert_int_equal(run(p, wal_verify, false, &fs), 0);
	calls = NULL;
	if (fs.result.findings[WAL_FINDING_DAMAGE] || fs.result.findings[WAL_FINDING_ERROR]) {
		print_findings(&fs);
		fail_msg("what was appended meanwhile was taken for damage");
	}
}

/* Another process, which sees the store as it stands, looks at everything. */
static void read_live(struct place *p, struct interrupted *in)
{
	struct wal_options opts = { .ro = true };
	struct wal_stream_stat stat;
	struct wal_store *store;
	struct wal_stream *st;
	struct wal_iter *it;
	struct wal_entry e;
	struct wal_error err;
	uint64_t next = 0;
	int result;

	if (store_open(&in->sys, p->path, &opts, &store, &err) != 0)
		fail_msg("open: %s", err.message);
	st = stream_open_or_fail(store, "s");
	assert_int_equal(wal_stream_stat(st, &stat), 0);
	if (stat.health != WAL_HEALTHY)
		fail_msg("what was appended meanwhile was taken for damage: %s", stat.reason);
	assert_true(stat.next_id >= MANY);
	assert_int_equal(wal_iter_new(st, 0, &it), 0);
	while ((result = wal_iter_next(it, &e)) == 0)
		assert_int_equal(e.id, next++);
	assert_int_equal(result, WAL_END);
	assert_int_equal(next, stat.next_id);
	wal_iter_free(it);
	wal_stream_close(st);
	store_close_or_fail(store);
}

/* Appends between any two calls, and rotations: what was seen before is not what is seen then. */
static void interrupt_everywhere(void (*what)(struct place *p, struct interrupted *in))
{
	struct place p;

	place_make(&p, SINGLES);
	for (unsigned rotate = 0; rotate < 2; rotate++) {
		bool hit = true;

		for (unsigned n = 1; hit; n += test_thinning()) {
			struct wal_options opts = { .sync = WAL_SYNC_ASYNC };
			struct wal_store *store = store_open_or_fail(p.path, &opts);
			struct wal_stream *st = stream_open_or_fail(store, "s");
			struct interrupted in;

			printf("# call %u\n", n);
			fflush(stdout);
			stream_fill(st, MANY, MANY + 3);
			interrupt_nth(&in, n, st, rotate);
			what(&p, &in);
			hit = in.hit;
			wal_stream_close(st);
			store_close_or_fail(store);
			place_reset(&p);
		}
	}
	place_remove(&p);
}

static void appends_between_any_two_calls_of_a_verify(void **state)
{
	(void)state;
	interrupt_everywhere(verify_live);
}

static void appends_between_any_two_calls_of_a_reader(void **state)
{
	(void)state;
	interrupt_everywhere(read_live);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean_stores),
		cmocka_unit_test(clean_stores_of_other_modes),
		cmocka_unit_test(store_without_streams),
		cmocka_unit_test(raw_size_is_no_damage),
		cmocka_unit_test(zeros_behind_the_last_frame),
		cmocka_unit_test(every_part_of_a_frame_is_found),
		cmocka_unit_test(repair_of_one_frame),
		cmocka_unit_test(first_frame_of_all),
		cmocka_unit_test(several_places),
		cmocka_unit_test(segment_of_garbage),
		cmocka_unit_test(segment_cut_short),
		cmocka_unit_test(segment_missing_in_the_middle),
		cmocka_unit_test(first_segment_missing),
		cmocka_unit_test(last_segment_missing),
		cmocka_unit_test(segment_that_is_no_file),
		cmocka_unit_test(id_that_repeats),
		cmocka_unit_test(frame_that_comes_twice),
		cmocka_unit_test(ids_that_jump),
		cmocka_unit_test(entry_count_that_lies),
		cmocka_unit_test(lz4_that_can_not_be_expanded),
		cmocka_unit_test(torn_tail),
		cmocka_unit_test(last_frame_without_evidence),
		cmocka_unit_test(torn_tail_behind_damage),
		cmocka_unit_test(sidecar_of_a_sealed_segment),
		cmocka_unit_test(sidecar_is_made_anew),
		cmocka_unit_test(sidecar_that_is_no_file),
		cmocka_unit_test(index_and_head),
		cmocka_unit_test(foreign_files),
		cmocka_unit_test(forged_record_of_a_loss),
		cmocka_unit_test(one_stream_alone),
		cmocka_unit_test(no_store),
		cmocka_unit_test(store_in_use),
		cmocka_unit_test(verify_with_failing_calls),
		cmocka_unit_test(repair_that_dies_with_three_places_to_mend),
		cmocka_unit_test(repair_that_dies_with_both_ends_to_mend),
		cmocka_unit_test(repair_that_dies_with_a_segment_missing),
		cmocka_unit_test(repair_that_dies_with_an_end_missing),
		cmocka_unit_test(repair_with_one_failing_call),
		cmocka_unit_test(verify_while_appending),
		cmocka_unit_test(appends_between_any_two_calls_of_a_verify),
		cmocka_unit_test(appends_between_any_two_calls_of_a_reader),
	};

	__wrap_sys_real(); /* before there are threads */
	alarm(500); /* a hang is a failure, not a wait */
	cmocka_set_test_filter(getenv("WALFS_TEST_ONLY"));
	return TEST_RUN(tests);
}
